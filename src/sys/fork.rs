//! What `fork` does to the library. A lock belongs to an open file description, which a child shares with its parent.
//! The child therefore closes the descriptors of all locks, or it would keep the locks of a dead parent; and it never
//! locks or unlocks through one of them, since that would change the lock of its living parent.
//!
//! A process knows that it is a child by a page that `fork` wipes: a process number proves nothing. Whatever looks at
//! that page first in the child does what the child has to do: usually that is the handler of `pthread_atfork`. A
//! handler that the calling process registered earlier runs before it, and `_Fork` or a raw `clone` runs none.
use super::Os;
use super::alloc::try_box;
use super::call::{errno, once, set_errno};
use super::file::{Fd, Ident, Meta};
use super::process::{monotonic_ns, sleep};
use super::sync::atomic::{AtomicI32, AtomicPtr, AtomicU64, Ordering::Relaxed, Ordering::SeqCst, fence};
use super::sync::{Mutex, TryLockError, shared_static};
use super::thread;
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, BorrowedFd};
use std::sync::atomic as process;
use std::time::Duration;

shared_static! {
    /// Forks that began in this process.
    BEGUN: AtomicU64 = AtomicU64::new(0);
}
shared_static! {
    /// Forks that are over.
    OVER: AtomicU64 = AtomicU64::new(0);
}

/// How long the openings of one call wait, together, for forks of other threads, which take long in big processes.
const FORK_TIMEOUT: Duration = Duration::from_secs(5);

/// Slots for the descriptors of locks, never given back, so that the child's handler can walk them
/// without a lock.
struct Slots {
    each: [Slot; SLOTS_EACH],
    next: AtomicPtr<Slots>,
}

/// A descriptor, and which file it stands for: the calling process may close it, and use the number for a file of its
/// own.
///
/// What tells the file is not of loom's types: threads do not meet in it, and loom would try all values that each look may
/// see.
struct Slot {
    fd: AtomicI32,
    dev: process::AtomicU64,
    ino: process::AtomicU64,
    /// When the file was noted, in the order of all slots. 0: it was not, since the descriptor is held for a moment only.
    noted: process::AtomicU64,
}

/// How often a file was noted.
static NOTED: process::AtomicU64 = process::AtomicU64::new(0);

/// Added to the number of a descriptor that a forked child keeps. No number is as large.
const KEPT: i32 = 1 << 30;

const FREE: i32 = -1;
const CLAIMED: i32 = -2;
/// A child closed it; its `LockFd` is still there.
const CLOSED: i32 = -3;

const SLOTS_EACH: usize = if cfg!(loom) { 1 } else { 64 };

impl Slots {
    #[cfg(not(loom))]
    const fn new() -> Slots {
        Slots { each: [const { Slot::new() }; SLOTS_EACH], next: AtomicPtr::new(std::ptr::null_mut()) }
    }

    #[cfg(loom)]
    fn new() -> Slots {
        Slots { each: [(); SLOTS_EACH].map(|()| Slot::new()), next: AtomicPtr::new(std::ptr::null_mut()) }
    }

    fn next(&self) -> Option<&'static Slots> {
        // SAFETY: null, or leaked by `claim` and never freed.
        unsafe { self.next.load(SeqCst).as_ref() }
    }

    fn claim() -> Os<&'static Slot> {
        let mut slots: &'static Slots = &SLOTS;
        loop {
            for slot in &slots.each {
                // (to look first is cheaper)
                if slot.fd.load(SeqCst) == FREE && slot.fd.compare_exchange(FREE, CLAIMED, SeqCst, SeqCst).is_ok() {
                    slot.noted.store(0, Relaxed); // before the number, which is stored later
                    return Ok(slot);
                }
            }
            slots = match slots.next() {
                Some(next) => next,
                None => {
                    let fresh = Box::into_raw(try_box(Slots::new()).map_err(|_| libc::ENOMEM)?);
                    let null = std::ptr::null_mut();
                    match slots.next.compare_exchange(null, fresh, SeqCst, SeqCst) {
                        // SAFETY: never freed from here on.
                        Ok(_) => unsafe { &*fresh },
                        // SAFETY: `fresh` is still ours alone; `theirs` is never freed.
                        Err(theirs) => unsafe {
                            drop(Box::from_raw(fresh));
                            &*theirs
                        },
                    }
                }
            };
        }
    }
}

shared_static! { SLOTS: Slots = Slots::new(); }

impl Slot {
    #[cfg(not(loom))]
    const fn new() -> Slot {
        let [dev, ino, noted] = [const { process::AtomicU64::new(0) }; 3];
        Slot { fd: AtomicI32::new(FREE), dev, ino, noted }
    }

    #[cfg(loom)]
    fn new() -> Slot {
        let [dev, ino, noted] = [const { process::AtomicU64::new(0) }; 3];
        Slot { fd: AtomicI32::new(FREE), dev, ino, noted }
    }

    /// The descriptor; EBADF where a forked child closed it.
    fn get(&self) -> Os<i32> {
        let fd = self.fd.load(SeqCst);
        if fd >= 0 { Ok(fd & !KEPT) } else { Err(libc::EBADF) }
    }

    fn note(&self, ident: Ident) {
        self.dev.store(ident.dev, SeqCst);
        self.ino.store(ident.ino, SeqCst);
        self.noted.store(NOTED.fetch_add(1, SeqCst) + 1, SeqCst);
    }

    fn ident(&self) -> Option<Ident> {
        let noted = self.noted.load(SeqCst) != 0;
        noted.then(|| Ident { dev: self.dev.load(SeqCst), ino: self.ino.load(SeqCst) })
    }

    /// Whether the descriptor still is the file that was noted. True where that was not noted or cannot be told.
    fn is_same(&self, fd: i32) -> bool {
        let Some(noted) = self.ident() else { return true };
        let mut stat = MaybeUninit::uninit();
        // Not through the seam: where this fails, all goes on as if it had not been asked.
        // SAFETY: `stat` is filled where the call succeeds.
        match unsafe { libc::fstat(fd, stat.as_mut_ptr()) } {
            // SAFETY: as above.
            0 => Meta::of(unsafe { stat.assume_init_ref() }).ident == noted,
            _ => errno() != libc::EBADF,
        }
    }

    /// EBADF where the calling process closed the descriptor, or uses the number for a file of its own.
    fn check(&self) -> Os<()> {
        let fd = self.get()?;
        if self.is_same(fd) { Ok(()) } else { Err(libc::EBADF) }
    }

    /// Whether the descriptor is this slot's to unlock and close: not where the calling process closed it, and uses the
    /// number for a file of its own, or a later opening of the same file has it.
    fn is_ours(&self, fd: i32) -> bool {
        self.is_same(fd) && !self.has_successor(fd)
    }

    fn has_successor(&self, fd: i32) -> bool {
        if cfg!(loom) {
            return false; // nobody closes a number behind the library there
        }
        let (Some(ident), since) = (self.ident(), self.noted.load(SeqCst)) else { return false };
        let mut slots: Option<&'static Slots> = Some(&SLOTS);
        while let Some(some) = slots {
            if some
                .each
                .iter()
                .any(|other| other.get() == Ok(fd) && other.noted.load(SeqCst) > since && other.ident() == Some(ident))
            {
                return true;
            }
            slots = some.next();
        }
        false
    }
}

/// What a child that is forked now would find in the first slot, and close.
#[cfg(all(test, loom))]
pub(super) fn known_descriptor() -> i32 {
    // At one instant, as a child sees memory: by an operation that cannot see an older value.
    SLOTS.each[0].fd.fetch_or(0, SeqCst)
}

/// A descriptor through which a lock is held. A forked child closes it and never uses it.
pub struct LockFd {
    slot: &'static Slot,
    process: Kin,
}

impl LockFd {
    /// Opens with `open`, again where a fork of another thread came between that and its entry in the slots: that
    /// child would keep the descriptor. Take the lock only afterwards. Fails with EBUSY where forks go on for too long.
    pub fn open(mut open: impl FnMut() -> Os<Fd>) -> Os<LockFd> {
        let process = Kin::here()?;
        let lock = LockFd { slot: Slots::claim()?, process };
        loop {
            let begun = BEGUN.load(SeqCst);
            // A fork of this very thread has not begun yet, or is over: one of its handlers calls.
            if OVER.load(SeqCst) + forks_of_this_thread() == begun {
                let fd = open()?;
                lock.slot.fd.store(fd.into_raw(), SeqCst);
                fence(SeqCst); // the fork's child sees the slot, or we see the fork
                if BEGUN.load(SeqCst) == begun {
                    return Ok(lock);
                }
                lock.close(CLAIMED);
            }
            if !may_wait_for_forks() {
                return Err(libc::EBUSY); // this process does nothing but fork
            }
            sleep(Duration::from_micros(200));
        }
    }

    /// The descriptor; EBADF in a forked child.
    pub fn get(&self) -> Os<i32> {
        if self.process.in_child() {
            return Err(libc::EBADF); // the child's handler may not have run yet
        }
        self.slot.get()
    }

    /// Notes which file it is, for one that is held for long.
    pub fn note(&self, ident: Ident) {
        self.slot.note(ident);
    }

    /// EBADF where the calling process closed the descriptor, or uses the number for a file of its own.
    pub fn check(&self) -> Os<()> {
        self.slot.check()
    }

    /// The descriptor, for calls that want it borrowed.
    pub fn borrow(&self) -> Os<BorrowedFd<'_>> {
        // SAFETY: open for as long as `self` lives, but in a forked child, where nothing asks again.
        self.get().map(|fd| unsafe { BorrowedFd::borrow_raw(fd) })
    }

    fn close(&self, then: i32) {
        // First, since a child that is forked once the slot is empty does not know what to close.
        if let Ok(fd) = self.get()
            && self.slot.is_ours(fd)
        {
            // SAFETY: no memory is passed; the descriptor is ours.
            unsafe { libc::flock(fd, libc::LOCK_UN) };
        }
        empty(self.slot, then);
    }
}

/// Whether the call of this thread may wait for forks a little longer.
fn may_wait_for_forks() -> bool {
    let now = (monotonic_ns() / 1_000_000) as usize;
    let began = match thread::FORK_WAIT.get() {
        0 => now.max(1),
        began => began,
    };
    // Without memory for the mark each opening would wait anew: then none waits.
    thread::FORK_WAIT.set(began) && now.abs_diff(began) < FORK_TIMEOUT.as_millis() as usize
}

/// Forks that this thread is making: 1 inside a handler of `pthread_atfork`, else 0.
fn forks_of_this_thread() -> u64 {
    if cfg!(loom) {
        return 0; // its threads share one thread of the system
    }
    thread::FORKS.get() as u64
}

/// Closes what a slot has, which is nothing in a forked child. A file of the calling process is left alone.
fn empty(slot: &Slot, then: i32) {
    let ours = slot.get().is_ok_and(|fd| slot.is_ours(fd));
    let fd = slot.fd.swap(then, SeqCst);
    if fd >= 0 && ours {
        // SAFETY: ours, and no longer in the slot.
        unsafe { libc::close(fd & !KEPT) };
    }
}

impl Drop for LockFd {
    fn drop(&mut self) {
        self.close(FREE);
    }
}

/// A descriptor of a draft or a blob. A forked child that keeps it keeps the bytes too, whatever becomes of the name.
pub enum BlobFd {
    /// Held for so short a time that a child which meets it is let pass: nothing but room hangs on it.
    Brief(Fd),
    /// Closed in a forked child as those of locks are.
    Noted(NotedFd),
}

pub struct NotedFd {
    slot: &'static Slot,
}

impl BlobFd {
    /// One that is held for longer.
    pub fn noted(fd: Fd) -> Os<BlobFd> {
        let slot = Slots::claim()?;
        slot.fd.store(fd.into_raw(), SeqCst);
        Ok(BlobFd::Noted(NotedFd { slot }))
    }

    /// Notes which file it is, for one that is held from one call of the library to the next.
    pub fn note(&self, ident: Ident) {
        if let BlobFd::Noted(noted) = self {
            noted.slot.note(ident);
        }
    }

    /// Which file it is, if that was noted.
    pub fn ident(&self) -> Option<Ident> {
        match self {
            BlobFd::Brief(_) => None,
            BlobFd::Noted(noted) => noted.slot.ident(),
        }
    }

    /// EBADF where the calling process closed the descriptor, or uses the number for a file of its own. Asks the system
    /// only where it was noted which file it is.
    pub fn check(&self) -> Os<()> {
        match self {
            BlobFd::Noted(noted) if noted.slot.ident().is_some() => noted.slot.check(),
            _ => Ok(()),
        }
    }
}

impl AsFd for BlobFd {
    fn as_fd(&self) -> BorrowedFd<'_> {
        match self {
            BlobFd::Brief(fd) => fd.as_fd(),
            // SAFETY: open for as long as `self` lives, but in a forked child, where it is a number that no descriptor has.
            BlobFd::Noted(noted) => unsafe { BorrowedFd::borrow_raw(noted.slot.fd.load(SeqCst)) },
        }
    }
}

impl Drop for NotedFd {
    fn drop(&mut self) {
        empty(self.slot, FREE);
    }
}

/// A descriptor that is held for long, and that a forked child keeps: to look through it changes no lock.
pub struct KeptFd {
    slot: &'static Slot,
}

impl KeptFd {
    /// Keeps the descriptor of the file `ident`.
    pub fn new(fd: Fd, ident: Ident) -> Os<KeptFd> {
        let slot = Slots::claim()?;
        slot.note(ident);
        slot.fd.store(fd.into_raw() | KEPT, SeqCst);
        Ok(KeptFd { slot })
    }

    /// EBADF where the calling process closed the descriptor, or uses the number for a file of its own.
    pub fn check(&self) -> Os<()> {
        self.slot.check()
    }
}

impl AsFd for KeptFd {
    fn as_fd(&self) -> BorrowedFd<'_> {
        // SAFETY: open for as long as `self` lives, unless the calling process closes what it did not open.
        unsafe { BorrowedFd::borrow_raw(self.slot.fd.load(SeqCst) & !KEPT) }
    }
}

impl Drop for KeptFd {
    fn drop(&mut self) {
        empty(self.slot, FREE);
    }
}

unsafe extern "C" {
    fn pthread_atfork(
        prepare: Option<unsafe extern "C" fn()>,
        parent: Option<unsafe extern "C" fn()>,
        child: Option<unsafe extern "C" fn()>,
    ) -> i32;
}

pub(super) unsafe extern "C" fn before_fork() {
    count_fork_of_this_thread(1);
    BEGUN.fetch_add(1, SeqCst);
    fence(SeqCst);
}

pub(super) unsafe extern "C" fn after_fork_in_parent() {
    OVER.fetch_add(1, SeqCst);
    count_fork_of_this_thread(0);
}

/// Where there is no memory for the mark, openings in handlers of `pthread_atfork` wait, and fail.
fn count_fork_of_this_thread(forks: usize) {
    if !cfg!(loom) {
        thread::FORKS.set(forks);
    }
}

unsafe extern "C" fn after_fork_in_child() {
    // SAFETY: null, or mapped and never unmapped.
    if let Some(page) = unsafe { PAGE.load(SeqCst).as_ref() } {
        if !WIPED.load(SeqCst) {
            page.store(FRESH, SeqCst);
        }
        current_generation(page);
    }
}

/// A call begins, maybe inside of another one: what earlier ones waited for does not count. The first call in a forked child
/// does what a child has to do: one that only reads, or gives back what it inherited, keeps no owner of its parent alive
/// either.
#[inline]
pub fn begin_call() {
    // SAFETY: null, or mapped and never unmapped.
    if let Some(page) = unsafe { PAGE.load(SeqCst).as_ref() } {
        current_generation(page);
    }
    thread::forget_waits();
}

/// The generation of processes that this one is. The first call in a forked child does what a child has to do.
#[inline]
fn current_generation(page: &process::AtomicU64) -> u64 {
    match page.load(SeqCst) {
        FRESH | ENTERING => enter_process(page),
        generation => generation,
    }
}

#[cold]
fn enter_process(page: &process::AtomicU64) -> u64 {
    loop {
        match page.load(SeqCst) {
            FRESH if page.compare_exchange(FRESH, ENTERING, SeqCst, SeqCst).is_ok() => {
                close_inherited();
                let fresh = LAST_GENERATION.fetch_add(1, SeqCst) + 1;
                page.store(fresh, SeqCst);
                return fresh;
            }
            FRESH | ENTERING => sleep(Duration::from_micros(200)), // another thread of this child does it
            generation => return generation,
        }
    }
}

/// Closes what a child must not keep. Takes no lock and no memory: another thread of the parent may have held either.
fn close_inherited() {
    let kept = errno();
    OVER.store(BEGUN.load(SeqCst), SeqCst);
    count_fork_of_this_thread(0);
    let mut slots: Option<&'static Slots> = Some(&SLOTS);
    while let Some(some) = slots {
        for slot in &some.each {
            let fd = slot.fd.load(SeqCst);
            if (0..KEPT).contains(&fd) {
                let same = slot.is_same(fd);
                slot.fd.store(CLOSED, SeqCst);
                if same {
                    // SAFETY: a descriptor of ours, no longer in its slot.
                    unsafe { libc::close(fd) };
                }
            } else if fd == CLAIMED {
                slot.fd.store(CLOSED, SeqCst); // its thread is not in this process
            }
        }
        slots = some.next();
    }
    set_errno(kept);
}

/// A page that `fork` wipes; it holds the generation of processes that this one is.
static PAGE: process::AtomicPtr<process::AtomicU64> = process::AtomicPtr::new(std::ptr::null_mut());
/// The kernel wipes it; else the child's handler does.
static WIPED: process::AtomicBool = process::AtomicBool::new(false);
static LAST_GENERATION: process::AtomicU64 = process::AtomicU64::new(1);
static REGISTERED: process::AtomicBool = process::AtomicBool::new(false);

/// What a wiped page holds.
const FRESH: u64 = 0;
/// A thread of a child closes what the child must not keep. No process has this generation.
const ENTERING: u64 = 1;

/// The process that opened a handle.
#[derive(Clone, Copy, Debug)]
pub struct Kin {
    generation: u64,
}

impl Kin {
    /// This process.
    pub fn here() -> Os<Kin> {
        if !REGISTERED.load(SeqCst) {
            // Twice, by two threads at once, does no harm.
            // SAFETY: the handlers stay loaded (`-z nodelete`).
            let failed =
                unsafe { pthread_atfork(Some(before_fork), Some(after_fork_in_parent), Some(after_fork_in_child)) };
            if failed != 0 {
                return Err(failed);
            }
            REGISTERED.store(true, SeqCst);
        }
        if PAGE.load(SeqCst).is_null() {
            map_page()?;
        }
        // SAFETY: mapped above and never unmapped.
        Ok(Kin { generation: current_generation(unsafe { &*PAGE.load(SeqCst) }) })
    }

    /// Another one in a forked child; never 0.
    pub fn generation(&self) -> u64 {
        self.generation
    }

    /// Whether this process is a forked child of that one.
    pub fn in_child(&self) -> bool {
        // SAFETY: `here` mapped it, and it is never unmapped.
        current_generation(unsafe { &*PAGE.load(SeqCst) }) != self.generation
    }
}

/// For a forked child that frees a handle: what a thread of the parent was changing just then may be half-done, and is
/// left as it is.
pub fn leave_if_locked<T>(mutex: &mut Mutex<T>, instead: T) {
    let locked = matches!(mutex.try_lock(), Err(TryLockError::WouldBlock));
    if locked {
        std::mem::forget(std::mem::replace(mutex, Mutex::new(instead)));
    }
}

fn map_page() -> Os<()> {
    let size = super::page_size();
    let mut page = libc::MAP_FAILED;
    once("mmap", || {
        let flags = libc::MAP_PRIVATE | libc::MAP_ANONYMOUS;
        // SAFETY: a new mapping; no existing memory changes.
        page = unsafe { libc::mmap(std::ptr::null_mut(), size, libc::PROT_READ | libc::PROT_WRITE, flags, -1, 0) };
        if page == libc::MAP_FAILED { -1 } else { 0 }
    })?;
    // SAFETY: our own page. A kernel that cannot wipe it leaves that to the child's handler.
    let wiped = unsafe { libc::madvise(page, size, libc::MADV_WIPEONFORK) } == 0;
    let generation: *const process::AtomicU64 = page.cast();
    // SAFETY: our own page, zeroed and aligned. It is this process's from the start: a wiped one is a child's.
    unsafe { (*generation).store(LAST_GENERATION.fetch_add(1, SeqCst) + 1, SeqCst) };
    WIPED.store(wiped, SeqCst);
    if PAGE.compare_exchange(std::ptr::null_mut(), page.cast(), SeqCst, SeqCst).is_err() {
        // SAFETY: another thread was faster; this page is known to nobody.
        unsafe { libc::munmap(page, size) };
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sys::{KeyLockMode, Open, flock, open};
    use std::os::fd::{AsFd, AsRawFd};

    /// A child that inherits a lock's descriptor keeps the lock; ours has closed it, and knows what it is.
    #[test]
    fn a_forked_child_keeps_no_lock_and_knows_that_it_is_a_child() {
        let _alone = crate::sys::faults::FORKING.write().unwrap_or_else(|e| e.into_inner());
        let dir = tempfile::tempdir().unwrap();
        let path = std::ffi::CString::new(dir.path().to_str().unwrap()).unwrap();
        let kin = Kin::here().unwrap();
        let lock = LockFd::open(|| open(None, &path, Open::Dir)).unwrap();
        flock(lock.borrow().unwrap(), KeyLockMode::Exclusive).unwrap();
        let (mut from_child, to_parent) = std::io::pipe().unwrap();
        let (from_parent, to_child) = std::io::pipe().unwrap();
        // SAFETY: the child calls nothing but system calls and `_exit`.
        let child = unsafe { libc::fork() };
        if child == 0 {
            let told = [u8::from(kin.in_child() && lock.get() == Err(libc::EBADF))];
            // SAFETY: plain system calls on descriptors that are open.
            unsafe {
                libc::write(to_parent.as_raw_fd(), told.as_ptr().cast(), 1);
                libc::close(to_child.as_raw_fd());
                libc::read(from_parent.as_raw_fd(), told.as_ptr().cast_mut().cast(), 1);
                libc::_exit(0);
            }
        }
        let mut told = [0];
        std::io::Read::read_exact(&mut from_child, &mut told).unwrap();
        assert_eq!(told, [1]);
        assert!(!kin.in_child());
        drop(lock); // the child lives on
        let again = open(None, &path, Open::Dir).unwrap();
        let free = flock(again.as_fd(), KeyLockMode::Exclusive);
        drop(to_child);
        // SAFETY: our own child.
        unsafe { libc::waitpid(child, std::ptr::null_mut(), 0) };
        assert_eq!(free, Ok(()));
    }

    /// Each opening of a lock waited for 5 s of its own: `vfs_open` on three tiers took a minute.
    #[test]
    fn forks_cost_a_call_one_wait() {
        let _alone = crate::sys::faults::FORKING.write().unwrap_or_else(|e| e.into_inner());
        let path = c"/dev/null";
        let open_lock = || LockFd::open(|| open(None, path, Open::Read)).map(drop);
        Kin::here().unwrap();
        let skipped = crate::sys::faults::skipped_ns;
        let another = |handler: unsafe extern "C" fn()| {
            // SAFETY: as the C library calls it, on a thread that forks.
            std::thread::spawn(move || unsafe { handler() }).join().unwrap();
        };
        thread::enter();
        another(before_fork);
        let (waited, _) = crate::sys::faults::run(0, None, 0, false, || {
            let began = skipped();
            assert_eq!(open_lock(), Err(libc::EBUSY));
            let once = skipped() - began;
            assert_eq!([open_lock(), open_lock()], [Err(libc::EBUSY); 2]);
            (once, skipped() - began)
        });
        another(after_fork_in_parent);
        let afterwards = open_lock();
        thread::leave();
        assert!(waited.0 >= FORK_TIMEOUT.as_nanos() as u64, "the first opening waits");
        assert_eq!(waited.0, waited.1, "the others do not");
        assert_eq!(afterwards, Ok(()));
        // A handler of the thread that forks is not kept waiting for its own fork.
        // SAFETY: as the C library calls them.
        unsafe { before_fork() };
        let (within, _) = crate::sys::faults::run(0, None, 0, false, || (open_lock(), skipped()));
        // SAFETY: as above.
        unsafe { after_fork_in_parent() };
        assert_eq!(within, (Ok(()), skipped()));
    }
}

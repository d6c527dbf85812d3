//! What each thread keeps: its last failure in words, and how deep it is in our calls.
//!
//! With pthread keys, not Rust's thread-locals: for a library loaded at run time the dynamic linker
//! allocates those at first use, and aborts the host where memory is missing.
use super::alloc::{Text, try_box};
use std::ffi::c_char;
use std::fmt::{self, Write};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

/// The last failure: its errno, and its sentence.
struct Last {
    errno: i32,
    text: Text<1024>,
}

/// A pthread key that is made at first use; 0 while it is not (keys are stored plus one).
pub(super) struct ThreadKey {
    key: AtomicU32,
    free: Option<unsafe extern "C" fn(*mut libc::c_void)>,
}

static LAST: ThreadKey = ThreadKey { key: AtomicU32::new(0), free: Some(free_last) };
static MARKS: ThreadKey = ThreadKey { key: AtomicU32::new(0), free: None };
static DEPTH: ThreadKey = ThreadKey { key: AtomicU32::new(0), free: None };
/// Forks that the thread is making.
pub(super) static FORKS: ThreadKey = ThreadKey { key: AtomicU32::new(0), free: None };
/// When the thread's call began to wait for forks of other threads, in milliseconds of the monotonic clock; 0: it did not.
pub(super) static FORK_WAIT: ThreadKey = ThreadKey { key: AtomicU32::new(0), free: None };
/// How long the thread's call waited for processes that remove directories of stores, in microseconds.
static REMOVER_WAIT: ThreadKey = ThreadKey { key: AtomicU32::new(0), free: None };

impl ThreadKey {
    fn key(&self) -> Option<libc::pthread_key_t> {
        let known = self.key.load(Ordering::Acquire);
        if known != 0 {
            return Some(known - 1);
        }
        let mut made = 0;
        // SAFETY: `made` outlives the call; the destructor stays loaded (`-z nodelete`).
        if unsafe { libc::pthread_key_create(&mut made, self.free) } != 0 {
            return None;
        }
        match self.key.compare_exchange(0, made + 1, Ordering::AcqRel, Ordering::Acquire) {
            Ok(_) => Some(made),
            Err(theirs) => {
                // SAFETY: nobody else knows this key.
                unsafe { libc::pthread_key_delete(made) };
                Some(theirs - 1)
            }
        }
    }

    pub(super) fn get(&self) -> usize {
        // SAFETY: a key of ours.
        self.key().map_or(0, |key| unsafe { libc::pthread_getspecific(key) } as usize)
    }

    pub(super) fn set(&self, value: usize) -> bool {
        // SAFETY: a key of ours; the value is ours to interpret.
        self.key().is_some_and(|key| unsafe { libc::pthread_setspecific(key, value as *const _) } == 0)
    }
}

/// Without memory for the words, the value is the errno alone: an odd number, which no address of
/// a `Last` is.
enum Slot {
    Nothing,
    Errno(i32),
    Words(*mut Last),
}

fn slot() -> Slot {
    match LAST.get() {
        0 => Slot::Nothing,
        odd if odd & 1 == 1 => Slot::Errno((odd >> 1) as i32),
        address => Slot::Words(address as *mut Last),
    }
}

unsafe extern "C" fn free_last(value: *mut libc::c_void) {
    if value as usize & 1 == 0 && !value.is_null() {
        // SAFETY: boxed by `set_last`, and this thread ends.
        unsafe { drop(Box::from_raw(value.cast::<Last>())) }
    }
}

/// Keeps a failure of this thread, in place of the one before.
pub fn set_last(errno: i32, text: fmt::Arguments) {
    let last = match slot() {
        Slot::Words(last) => last,
        Slot::Nothing | Slot::Errno(_) => {
            let fresh = try_box(Last { errno, text: Text::new() }).ok().map(Box::into_raw);
            match fresh {
                Some(last) if LAST.set(last as usize) => last,
                Some(last) => {
                    // SAFETY: just boxed, and known to nobody.
                    return unsafe { drop(Box::from_raw(last)) };
                }
                None => {
                    LAST.set((errno as usize) << 1 | 1);
                    return;
                }
            }
        }
    };
    // SAFETY: this thread's own, freed when it ends.
    let last = unsafe { &mut *last };
    last.errno = errno;
    last.text = Text::new();
    let _ = last.text.write_fmt(text); // what does not fit is cut
}

/// The sentence of this thread's last failure, good until its next one; empty where there was none.
pub fn last_text() -> *const c_char {
    match slot() {
        Slot::Nothing => c"".as_ptr(),
        Slot::Errno(_) => c"no memory to say in words what failed".as_ptr(),
        // SAFETY: as in `set_last`.
        Slot::Words(last) => unsafe { (*last).text.as_c_str().as_ptr() },
    }
}

/// The errno of this thread's last failure; 0 where there was none.
pub fn last_errno() -> i32 {
    match slot() {
        Slot::Nothing => 0,
        Slot::Errno(errno) => errno,
        // SAFETY: as in `set_last`.
        Slot::Words(last) => unsafe { (*last).errno },
    }
}

/// What a thread is inside of, on its stack.
struct Mark {
    tag: usize,
    outer: usize,
}

impl Drop for Mark {
    fn drop(&mut self) {
        MARKS.set(self.outer);
    }
}

/// Runs `body`, within which [`marks`] counts `tag` once more on this thread.
pub fn marked<T>(tag: usize, body: impl FnOnce() -> T) -> T {
    let mark = Mark { tag, outer: MARKS.get() };
    MARKS.set(std::ptr::from_ref(&mark) as usize);
    let answer = body();
    drop(mark);
    answer
}

/// How many bodies marked with `tag` this thread is inside of.
pub fn marks(tag: usize) -> usize {
    let (mut at, mut count) = (MARKS.get(), 0);
    // SAFETY: a mark on this thread's stack, whose body is not over.
    while let Some(mark) = unsafe { (at as *const Mark).as_ref() } {
        count += usize::from(mark.tag == tag);
        at = mark.outer;
    }
    count
}

/// This thread goes into a call of ours.
pub fn enter() {
    forget_waits();
    DEPTH.set(DEPTH.get() + 1);
}

/// What earlier calls of this thread waited for does not count, unless it is inside of one.
pub(super) fn forget_waits() {
    if DEPTH.get() == 0 {
        for wait in [&FORK_WAIT, &REMOVER_WAIT] {
            if wait.get() != 0 {
                wait.set(0);
            }
        }
    }
}

/// How long this thread's call waited for removers of stores' directories until now.
pub fn waited_for_removers() -> Duration {
    Duration::from_micros(REMOVER_WAIT.get() as u64)
}

/// The call waited so much longer. Without memory for the mark that is forgotten.
pub fn wait_for_removers(more: Duration) {
    REMOVER_WAIT.set((waited_for_removers() + more).as_micros() as usize);
}

/// This thread comes out again.
pub fn leave() {
    DEPTH.set(DEPTH.get().saturating_sub(1));
}

/// How many calls of ours this thread is in: more than one inside a callback.
pub fn depth() -> usize {
    DEPTH.get()
}

//! What a directory tier stands on: the descriptors of its directories, the lock file, and whether they are still
//! what their path leads to. A ground never changes; a stale one is replaced, and lives on for whoever still uses it.
use super::names::is_of_removed_file;
use super::probe::is_name_forbidden;
use super::store_dir::{self, OBJECTS, OWNERS, StoreDir};
use crate::error::{BaseName, Fault, NO_WAY_IN, NOT_OURS, OTHERS, OUR_MODE};
use crate::key::Key;
use crate::sys::sync::atomic::{AtomicBool, Ordering::Relaxed};
use crate::sys::{self, Fd, Ident, KeptFd, KeyLockMode, LockFd, Meta, Open, Os, Shared, Space, Text};
use crate::tier::Found;
use std::ffi::CStr;
use std::fmt::Write;
use std::os::fd::{AsFd, BorrowedFd};

/// The file whose bytes are locked: a name that no store can have.
const LOCK_FILE: &CStr = c"\\lock";

/// A path below a tier's directory: names of up to 255 bytes and a little between them.
pub type Path = Text<600>;

/// Puts the parts of a relative path together. In line, as all that answers a path, so that it is not copied around.
#[inline(always)]
pub fn path(parts: &[&[u8]]) -> Path {
    let mut path = Path::new();
    for part in parts {
        path.push(part);
    }
    path
}

/// What is made where it is missing.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Mode {
    /// All of it, to store.
    Create,
    /// No directory: use what is there, and change no mode.
    Existing,
    /// What is missing in a store's directory that is there: to empty the rooms in it.
    Repair,
    /// Nothing, and change nothing.
    ReadOnly,
}

pub struct Ground {
    uid: u32,
    /// Ours on this tier, held with a shared lock, which keeps systemd-tmpfiles away.
    pub base: LockFd,
    /// That lock was taken.
    kept: AtomicBool,
    pub base_ident: Ident,
    /// When its mode was asked for after a miss, by the monotonic clock.
    base_asked_at: std::sync::atomic::AtomicU64,
    /// `None` where it is missing and may not be made.
    pub lock: Option<LockFd>,
    /// The store's own directory; `None` where nothing may be changed.
    store: Option<StoreDir>,
    name: Key,
    pub objects: KeptFd,
    objects_ident: Ident,
    objects_path: Box<[u8]>,
    /// Of our directory on the tier, where `base` was found.
    lock_path: Box<[u8]>,
    lock_ident: Option<Ident>,
    /// `NAME/objects/`, below `base`.
    place: Box<[u8]>,
    pub owners: KeptFd,
    pub owners_ident: Ident,
    /// A filesystem whose files are memory.
    pub in_memory: bool,
    /// Whether keys can be locked for change, and what is missing can be made.
    pub mode: Mode,
}

impl Drop for Ground {
    /// Whoever is the last to use a ground takes the store's directories along: a handle, a room where the tier's path led
    /// before, a reap.
    fn drop(&mut self) {
        self.remove_store_if_empty();
    }
}

/// A key's byte on a ground that a tier's path may no longer lead to, held.
pub struct StaleHold<'a> {
    ground: &'a Ground,
    number: u64,
}

impl Drop for StaleHold<'_> {
    fn drop(&mut self) {
        if let Ok(fd) = self.ground.lock() {
            sys::ofd_unlock(fd, self.number);
        }
    }
}

/// The name of our directory on a tier.
fn base_name(uid: u32) -> Text<32> {
    let mut name = Text::new();
    let _ = write!(name, "{}", BaseName(uid)); // fits
    name
}

impl Ground {
    /// Opens the ground of the store `name` on the tier at `dir`.
    pub fn open(dir: &CStr, uid: u32, name: &Key, mode: Mode) -> Result<Shared<Ground>, Fault> {
        // Somebody may remove what was just made, or make what was just missing: once more then.
        match Self::try_open(dir, uid, name, mode) {
            Err(fault) if fault.is_lost_ground() && mode == Mode::Create => Self::try_open(dir, uid, name, mode),
            answer => answer,
        }
    }

    fn try_open(dir: &CStr, uid: u32, name: &Key, mode: Mode) -> Result<Shared<Ground>, Fault> {
        let tier = sys::open(None, dir, Open::Tier).map_err(|e| match e {
            libc::EACCES => Fault::os(e, NO_WAY_IN),
            e => Fault::os(e, "opening the tier's directory"),
        })?;
        let opening = "opening our directory on the tier";
        let base_name = base_name(uid);
        let base = LockFd::open(|| own_dir(tier.as_fd(), base_name.as_c_str(), mode, uid)).map_err(|e| match e {
            libc::ENOTDIR | libc::ELOOP => Fault::os(e, NOT_OURS), // a file or a link under our name
            libc::EACCES => why_denied(tier.as_fd(), base_name.as_c_str(), uid, opening),
            libc::EOPNOTSUPP => Fault::os(e, NO_MODES),
            e => Fault::os(e, opening),
        })?;
        let base_fd = base.borrow().map_err(|e| Fault::os(e, opening))?;
        let meta = sys::stat_fd(base_fd).map_err(|e| Fault::os(e, "checking our directory on the tier"))?;
        if meta.uid != uid {
            return Err(Fault::os(libc::EPERM, NOT_OURS));
        }
        if let Err(exposed) = check_closed(&meta) {
            // Its maker was killed before it removed it again.
            if mode == Mode::Create && keeps_no_modes(base_fd, &meta) {
                let _ = sys::remove_dir(tier.as_fd(), base_name.as_c_str()); // unless something is in it
                return Err(Fault::os(libc::EOPNOTSUPP, NO_MODES));
            }
            return Err(exposed);
        }
        let is_kept = match sys::flock(base_fd, KeyLockMode::Shared) {
            Ok(()) => true,
            Err(libc::EWOULDBLOCK) => false, // a cleaner is just looking at it: it lets go on its own
            Err(_) if mode == Mode::ReadOnly => false,
            Err(e) => return Err(Fault::os(e, "locking our directory on the tier")),
        };
        let how = if mode == Mode::ReadOnly { Open::LockToShare } else { Open::Lock };
        let lock = match LockFd::open(|| sys::open(Some(base_fd), LOCK_FILE, how)) {
            Ok(lock) => Some(lock),
            Err(_) if mode == Mode::ReadOnly => None,
            Err(e) => return Err(Fault::os(e, "opening the lock file")),
        };
        // What may fail comes before anything of the store is made.
        let objects_path =
            [dir.to_bytes(), b"/", base_name.as_bytes(), b"/", name.as_bytes(), b"/", OBJECTS.to_bytes_with_nul()];
        if objects_path.iter().map(|part| part.len()).sum::<usize>() > libc::PATH_MAX as usize {
            return Err(Fault::os(libc::ENAMETOOLONG, "opening a tier: its path is too long"));
        }
        let lock_path = [dir.to_bytes(), b"/", base_name.as_bytes(), b"/", LOCK_FILE.to_bytes_with_nul()];
        let place = [name.as_bytes(), b"/", OBJECTS.to_bytes(), b"/"];
        let no_memory = |_| Fault::memory("opening a tier");
        let lock_ident = lock.as_ref().map(|lock| check_lock(lock, mode)).transpose()?;
        let objects_path = sys::try_concat(&objects_path).map_err(no_memory)?;
        let lock_path = sys::try_concat(&lock_path).map_err(no_memory)?;
        let place = sys::try_concat(&place).map_err(no_memory)?;
        let opened = StoreDir::open(base_fd, name.as_c_str(), mode, &meta)
            .and_then(|store| open_inner(&store, mode, &meta).map(|inner| (store, inner)));
        let (store, inner) = opened.inspect_err(|fault| {
            if mode == Mode::Create && fault.what != NOT_OURS {
                let _ = store_dir::remove_unused(base_fd, name); // a call that fails leaves nothing
            }
        })?;
        let ((objects, objects_ident), (owners, owners_ident), space) = inner;
        base.note(meta.ident);
        let kept = |fd, ident| KeptFd::new(fd, ident).map_err(|e| Fault::os(e, "opening a tier"));
        Shared::try_new(Ground {
            uid,
            base,
            kept: AtomicBool::new(is_kept),
            base_ident: meta.ident,
            base_asked_at: std::sync::atomic::AtomicU64::new(0),
            lock,
            store: (mode != Mode::ReadOnly).then_some(store),
            name: *name,
            objects: kept(objects, objects_ident)?,
            objects_ident,
            objects_path,
            lock_path,
            lock_ident,
            place,
            owners: kept(owners, owners_ident)?,
            owners_ident,
            in_memory: space.in_memory,
            mode,
        })
        .map_err(no_memory)
    }

    /// Who owns the directories, as this process sees it now: in another user namespace the same user has another number.
    pub fn user(&self) -> Os<u32> {
        sys::stat_fd(self.owners.as_fd()).map(|meta| meta.uid)
    }

    /// Whether what was just made here is of the user who owns the directories.
    pub fn is_of_user(&self, made: &Meta) -> Os<bool> {
        Ok(made.uid == self.uid || made.uid == self.user()?)
    }

    /// EBADF where the process closed a descriptor of these, or uses the number for a file of its own.
    pub fn check(&self) -> Os<()> {
        self.base.check()?;
        self.lock.as_ref().map_or(Ok(()), LockFd::check)?;
        self.objects.check()?;
        self.owners.check()
    }

    /// Our directory on the tier; fails in a forked child.
    pub fn base(&self) -> Result<BorrowedFd<'_>, Fault> {
        self.base.borrow().map_err(|e| Fault::os(e, "using a tier"))
    }

    /// Where the blob of a key is published: a path below our directory on the tier, so that under the key's lock,
    /// which lies there, nothing is missed that a removed and remade directory would hide.
    #[inline(always)]
    pub fn place(&self, key: &Key) -> Path {
        path(&[&self.place, key.as_bytes()])
    }

    /// The blob that is published here under a key; for whoever holds its lock.
    pub fn look(&self, key: &Key) -> Result<Option<Found>, Fault> {
        if is_of_removed_file(key.as_bytes()) {
            return Ok(None);
        }
        let (base, place) = (self.base()?, self.place(key));
        match sys::stat(Some(base), place.as_c_str()) {
            Ok(meta) => found(&meta).map(Some),
            Err(e) => absent_in(base, place.as_c_str(), e, "looking for a blob"),
        }
    }

    /// What a file on this ground says of the blob that it is. Blobs are made closed to others; where one is open, all of
    /// the tier's directories may be.
    pub fn found(&self, meta: &Meta) -> Result<Found, Fault> {
        if meta.permissions() & OTHERS != 0 {
            self.check_closed()?;
        }
        found(meta)
    }

    /// Fails where others can reach our directories by now.
    pub fn check_closed(&self) -> Result<(), Fault> {
        let (objects, owners) = (self.objects.as_fd(), self.owners.as_fd());
        // By a way that a forked child has too, where the descriptor of `base` is closed.
        for (at, dir) in [(owners, c"../.."), (owners, c".."), (objects, c"."), (owners, c".")] {
            if let Ok(meta) = sys::stat(Some(at), dir)
                && meta.uid == self.uid
            {
                check_closed(&meta)?;
            }
        }
        Ok(())
    }

    /// Removes the name of a blob; it may be gone. For whoever holds its lock.
    pub fn unlink(&self, key: &Key) -> Result<(), Fault> {
        match sys::unlink(self.base()?, self.place(key).as_c_str()) {
            Ok(()) | Err(libc::ENOENT) => Ok(()),
            Err(e) => Err(Fault::os(e, "removing a blob")),
        }
    }

    /// Locks the byte of a key here, whether or not a path leads here; `None` where another has it.
    pub fn try_hold(&self, number: u64) -> Result<Option<StaleHold<'_>>, Fault> {
        match self.lock().and_then(|fd| sys::ofd_lock(fd, number, KeyLockMode::Exclusive)) {
            Ok(()) => Ok(Some(StaleHold { ground: self, number })),
            Err(libc::EAGAIN) => Ok(None),
            Err(e) => Err(Fault::os(e, "locking a key")),
        }
    }

    /// Removes the store's directories here if nothing lies in them and no other handle has them open. For who changes
    /// nothing through this ground any more. Does nothing in a forked child.
    pub fn remove_store_if_empty(&self) {
        if let (Some(store), Ok(base), Ok(())) = (&self.store, self.base.borrow(), self.base.check()) {
            store.remove_if_empty(base, self.name.as_c_str());
        }
    }

    /// Takes the locks on our directory and on the store's that a cleaner kept us from when this was opened.
    pub fn keep_cleaners_away(&self) {
        if let Some(store) = &self.store {
            store.keep();
        }
        if !self.kept.load(Relaxed) && self.base.borrow().is_ok_and(|fd| sys::flock(fd, KeyLockMode::Shared).is_ok()) {
            self.kept.store(true, Relaxed);
        }
    }

    /// Whether the tier's path still leads here, to a directory that is closed to others.
    pub fn is_current(&self) -> bool {
        let named = sys::stat(None, c_str(&self.objects_path));
        named.is_ok_and(|meta| meta.ident == self.objects_ident && check_closed(&meta).is_ok())
    }

    /// Whether the outermost directory is closed to others, for a miss: asked for once a millisecond at most, so that many
    /// misses cost no more. [`Ground::check_closed`] asks for all directories.
    pub fn is_base_closed(&self) -> bool {
        let (now, last) = (sys::monotonic_ns(), self.base_asked_at.load(Relaxed));
        if now.abs_diff(last) < 1_000_000 {
            return true;
        }
        self.base_asked_at.store(now, Relaxed);
        let base = match self.base.borrow() {
            Ok(fd) => sys::stat_fd(fd),
            Err(_) => sys::stat(Some(self.owners.as_fd()), c"../.."), // in a forked child
        };
        base.map_or(true, |meta| check_closed(&meta).is_ok())
    }

    /// Whether the tier's path still leads to this lock file: asked once a lock in it was taken. Where the mode of the lock
    /// file was changed, as a `chmod -R` does, those of the directories are asked for too.
    pub fn is_lock_current(&self) -> bool {
        self.named_lock().is_some_and(|meta| meta.permissions() & OTHERS == 0 || self.check_closed().is_ok())
    }

    /// Whether the tier's path still leads to this lock file, whatever its mode.
    pub fn has_named_lock(&self) -> bool {
        self.named_lock().is_some()
    }

    fn named_lock(&self) -> Option<Meta> {
        let named = sys::stat(None, self.lock_path()).ok();
        named.filter(|meta| self.lock_ident.is_none_or(|ours| ours == meta.ident))
    }

    /// The descriptor of the lock file; EBADF where there is none, as in a forked child.
    pub fn lock(&self) -> Os<BorrowedFd<'_>> {
        self.lock.as_ref().map_or(Err(libc::EBADF), LockFd::borrow)
    }

    /// The path of the lock file, for a forked child, whose own descriptor of it was closed.
    pub fn lock_path(&self) -> &CStr {
        c_str(&self.lock_path)
    }
}

type Inner = ((Fd, Ident), (Fd, Ident), Space);

/// Opens what lies in a store's directory, and asks for the filesystem's space.
fn open_inner(store: &StoreDir, mode: Mode, base: &Meta) -> Result<Inner, Fault> {
    let store = store.borrow().map_err(|e| Fault::os(e, "opening the store's directories"))?;
    let mode = if mode == Mode::Repair { Mode::Create } else { mode };
    let objects = inner_dir(store, OBJECTS, mode, base)?;
    let owners = inner_dir(store, OWNERS, mode, base)?;
    let space = sys::space(objects.0.as_fd()).map_err(|e| Fault::os(e, "querying free space"))?;
    Ok((objects, owners, space))
}

/// Which file the lock file is; a new one may need the bits that a umask took.
fn check_lock(lock: &LockFd, mode: Mode) -> Result<Ident, Fault> {
    let opening = |e| Fault::os(e, "opening the lock file");
    let fd = lock.borrow().map_err(opening)?;
    let meta = sys::stat_fd(fd).map_err(opening)?;
    if !meta.is_file() {
        return Err(opening(libc::EINVAL));
    }
    if mode == Mode::Create && meta.permissions() & 0o600 != 0o600 {
        sys::set_mode(fd, meta.permissions() | 0o600).map_err(opening)?;
    }
    lock.note(meta.ident);
    Ok(meta.ident)
}

fn c_str(bytes: &[u8]) -> &CStr {
    CStr::from_bytes_with_nul(bytes).unwrap_or(c"")
}

/// What a file says of the blob that it is.
fn found(meta: &Meta) -> Result<Found, Fault> {
    if !meta.is_file() {
        return Err(Fault::os(libc::EINVAL, "looking at a blob: not a regular file"));
    }
    let has_owner = meta.links > 1;
    Ok(Found { ident: meta.ident, size: meta.size, stored_at_ns: meta.modified_ns, has_owner, generation: 0 })
}

/// A name that the filesystem cannot have is not there either.
pub fn absent<T>(errno: i32, what: &'static str) -> Result<Option<T>, Fault> {
    match errno {
        libc::ENOENT | libc::ENAMETOOLONG => Ok(None),
        e => Err(Fault::os(e, what)),
    }
}

/// The same, for a look-up of `name` in `dir` that failed: EINVAL and EILSEQ say that the filesystem does not allow the name,
/// if they say so again and the directory itself can be looked at.
pub fn absent_in<T>(dir: BorrowedFd, name: &CStr, errno: i32, what: &'static str) -> Result<Option<T>, Fault> {
    let is_forbidden = is_name_forbidden(errno)
        && sys::stat(Some(dir), name).is_err_and(|again| again == errno)
        && sys::stat(Some(dir), c".").is_ok();
    if is_forbidden { Ok(None) } else { absent(errno, what) }
}

/// Opens a directory below ours. One that somebody else made or mounted there, or that others can reach, is not used:
/// what lies in it would be taken for ours, and removed.
pub fn inner_dir(at: BorrowedFd, name: &CStr, mode: Mode, base: &Meta) -> Result<(Fd, Ident), Fault> {
    let what = "opening the store's directories";
    let opening = |e| match e {
        libc::ENOTDIR | libc::ELOOP => Fault::os(e, NOT_OURS), // a file or a link under our name
        libc::EACCES => match why_denied(at, name, base.uid, what) {
            // Into our own directory, which may have something.
            fault if fault.what == NO_WAY_IN => match sys::stat_fd(at) {
                Ok(meta) => Fault::mode(e, what, meta.permissions()),
                Err(_) => Fault::os(e, what),
            },
            fault => fault,
        },
        libc::EOPNOTSUPP => Fault::os(e, NO_MODES),
        e => Fault::os(e, what),
    };
    let dir = own_dir(at, name, mode, base.uid).map_err(opening)?;
    let meta = sys::stat_fd(dir.as_fd()).map_err(opening)?;
    if meta.uid != base.uid || meta.ident.dev != base.ident.dev {
        return Err(Fault::os(libc::EPERM, NOT_OURS));
    }
    check_closed(&meta)?;
    // What lets itself be listed need not let itself be entered.
    let may_not_be_entered = || sys::stat(Some(dir.as_fd()), c".").is_err_and(|e| e == libc::EACCES);
    if meta.permissions() & 0o100 == 0 && name == OBJECTS && may_not_be_entered() {
        return Err(Fault::mode(libc::EACCES, what, meta.permissions()));
    }
    Ok((dir, meta.ident))
}

/// Fails where others can reach a directory of ours. A bit that a group's directory hands down does no harm.
fn check_closed(meta: &Meta) -> Result<(), Fault> {
    match meta.permissions() {
        mode if mode & OTHERS == 0 => Ok(()),
        mode => Err(Fault::mode(libc::EPERM, "other users can reach our directory on the tier", mode)),
    }
}

/// Why a directory that was just made is not private.
const NO_MODES: &str = "creating a private directory: the filesystem does not keep the modes that it is given";

/// Whether an empty directory keeps rights for others whatever mode it is given. Leaves its mode as it was.
fn keeps_no_modes(dir: BorrowedFd, meta: &Meta) -> bool {
    if !store_dir::is_empty(dir, c".").unwrap_or(false) {
        return false;
    }
    let _ = sys::set_mode(dir, OUR_MODE); // looked at next
    let is_open_still = sys::stat_fd(dir).is_ok_and(|now| now.permissions() & OTHERS != 0);
    if !is_open_still {
        let _ = sys::set_mode(dir, meta.permissions()); // somebody chose it; nothing lies in it
    }
    is_open_still
}

/// Why a directory of ours could not be opened or made, which the system denied.
fn why_denied(at: BorrowedFd, name: &CStr, uid: u32, what: &'static str) -> Fault {
    match sys::stat(Some(at), name) {
        Err(libc::EACCES) => Fault::os(libc::EACCES, NO_WAY_IN),
        Ok(meta) if meta.uid != uid || !meta.is_dir() => Fault::os(libc::EPERM, NOT_OURS),
        Ok(meta) if meta.permissions() & OUR_MODE != OUR_MODE || meta.permissions() & OTHERS != 0 => {
            Fault::mode(libc::EACCES, what, meta.permissions())
        }
        Err(libc::ENOENT) => Fault::os(libc::EACCES, "creating this user's directory on the tier"),
        _ => Fault::os(libc::EACCES, what),
    }
}

/// Whether a directory is ours and closed to others. Ours is what the user who opened the store owns: below our directory
/// on the tier, whoever owns that one, as it is seen at the same time. The process may be another user by now.
pub fn is_closed_dir(meta: &Meta, owner: u32) -> bool {
    meta.is_dir() && meta.uid == owner && meta.permissions() & OTHERS == 0
}

/// Opens a directory of ours, making it where that is wanted.
fn own_dir(at: BorrowedFd, name: &CStr, mode: Mode, owner: u32) -> Os<Fd> {
    match sys::open(Some(at), name, Open::OwnDir) {
        Err(libc::ENOENT) if mode == Mode::Create => {}
        // Its maker was killed before it gave the mode back.
        Err(libc::EACCES) if mode == Mode::Create => {
            give_mode_back(at, name, owner)?;
            return sys::open(Some(at), name, Open::OwnDir);
        }
        Ok(dir) if mode == Mode::Create => {
            let meta = sys::stat_fd(dir.as_fd())?;
            if lacks_mode(&meta, owner) {
                sys::set_mode(dir.as_fd(), OUR_MODE)?;
            }
            return Ok(dir);
        }
        answer => return answer,
    }
    match make_own_dir(at, name, owner) {
        Ok(()) | Err(libc::EEXIST) => sys::open(Some(at), name, Open::OwnDir),
        Err(e) => Err(e),
    }
}

/// Whether a directory is ours and closed to others, but not open enough to us.
fn lacks_mode(meta: &Meta, owner: u32) -> bool {
    is_closed_dir(meta, owner) && meta.permissions() & OUR_MODE != OUR_MODE
}

/// Makes a directory of ours, and gives its mode back where the process's umask takes some of it. EPERM where it became
/// another user's: the process is another user by now, or the filesystem makes it so. EOPNOTSUPP where others can reach
/// it: the filesystem does not keep modes. Neither is left under our name.
pub fn make_own_dir(at: BorrowedFd, name: &CStr, owner: u32) -> Os<()> {
    sys::make_dir(at, name)?;
    match give_mode_back(at, name, owner) {
        Err(libc::ENOENT) => Ok(()), // removed again: whoever uses it will see
        Ok(meta) if meta.uid != owner => {
            let _ = sys::remove_dir(at, name); // else it is found to be not ours
            Err(libc::EPERM)
        }
        Ok(meta) if meta.permissions() & OTHERS != 0 => {
            let _ = sys::remove_dir(at, name); // else an empty one, which the next one removes
            Err(libc::EOPNOTSUPP)
        }
        answer => answer.map(drop),
    }
}

pub fn give_mode_back(at: BorrowedFd, name: &CStr, owner: u32) -> Os<Meta> {
    let place = sys::open(Some(at), name, Open::Place)?;
    let meta = sys::stat_fd(place.as_fd())?;
    if lacks_mode(&meta, owner) {
        sys::set_mode_of_place(place.as_fd(), OUR_MODE)?;
    }
    Ok(meta)
}

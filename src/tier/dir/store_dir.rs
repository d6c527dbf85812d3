//! The directory of one store on a tier, `NAME/`, and how it is removed once the store is empty.
//!
//! Every handle that may change the store holds a shared lock on `NAME/`. Who removes it holds the lock exclusively, so
//! that nobody stands on what is removed. A handle that only reads holds no lock: it needs no directory to find nothing,
//! and opens the store again after each miss whose path leads elsewhere.
use super::ground::{self, Mode, inner_dir, is_closed_dir, path};
use super::room::is_room_name;
use crate::error::Fault;
use crate::key::Key;
use crate::sys::sync::atomic::{AtomicBool, Ordering::Relaxed};
use crate::sys::{self, Deadline, Ident, KeyLockMode, Kin, LockFd, Meta, Names, Open, Os};
use std::ffi::CStr;
use std::os::fd::BorrowedFd;
use std::time::Duration;

pub const OBJECTS: &CStr = c"objects";
pub const OWNERS: &CStr = c"owners";

/// How often a store is opened again that others remove meanwhile. Each time another process has got on.
const TRIES: usize = 1000;

/// How long all openings of one call wait for processes that remove a store's directories, which takes some microseconds. One
/// that was stopped in between keeps nobody from the store: it is used without the lock then.
const PATIENCE: Duration = Duration::from_millis(250);

pub struct StoreDir {
    fd: LockFd,
    /// The shared lock was taken; or is not wanted any more.
    kept: AtomicBool,
    given_up: AtomicBool,
    kin: Kin,
}

impl StoreDir {
    /// Opens the directory of a store below ours, `of`, and locks it where `mode` allows changes.
    pub fn open(base: BorrowedFd, name: &CStr, mode: Mode, of: &Meta) -> Result<StoreDir, Fault> {
        let opening = |e| Fault::os(e, "opening the store's directories");
        let kin = Kin::here().map_err(opening)?;
        let new = |fd, kept| StoreDir { fd, kept: AtomicBool::new(kept), given_up: AtomicBool::new(false), kin };
        let mut wait = Wait::default();
        let mut removed = 0;
        while removed < TRIES {
            let (fd, ident) = match open_dir(base, name, mode, of) {
                // Removed between our making and our opening it, unless it could not be made since ours is gone.
                Err(fault) if mode == Mode::Create && fault.errno == libc::ENOENT && is_linked(base) => {
                    removed += 1;
                    continue;
                }
                answer => answer?,
            };
            if mode == Mode::ReadOnly {
                return Ok(new(fd, false));
            }
            match sys::flock(fd.borrow().map_err(opening)?, KeyLockMode::Shared) {
                Ok(()) => match sys::stat(Some(base), name) {
                    Ok(named) if named.ident == ident => return Ok(new(fd, true)),
                    Ok(_) | Err(libc::ENOENT) => removed += 1, // before it was locked
                    Err(e) => return Err(opening(e)),
                },
                Err(libc::EWOULDBLOCK) => {
                    if wait.is_over() {
                        return Ok(new(fd, false));
                    }
                    drop(fd);
                    sys::sleep(Duration::from_micros(50));
                }
                Err(e) => return Err(Fault::os(e, "locking the store's directory")),
            }
        }
        Err(Fault::os(libc::ESTALE, "opening the store's directories: they are removed again and again"))
    }

    pub fn borrow(&self) -> Os<BorrowedFd<'_>> {
        self.fd.borrow()
    }

    /// Takes the shared lock that another process kept us from when this was opened.
    pub fn keep(&self) {
        if !self.kept.load(Relaxed) && self.borrow().is_ok_and(|fd| sys::flock(fd, KeyLockMode::Shared).is_ok()) {
            self.kept.store(true, Relaxed);
        }
    }

    /// Removes the store's directories if nothing lies in them and no other handle has them open. For a handle that needs
    /// them no more: its own lock is released in any case. Once; a forked child does nothing.
    pub fn remove_if_empty(&self, base: BorrowedFd, name: &CStr) {
        let Ok(fd) = self.borrow() else { return };
        // (the host may have closed the descriptor, and use its number)
        if self.kin.in_child() || self.fd.check().is_err() || self.given_up.swap(true, Relaxed) {
            return;
        }
        self.kept.store(true, Relaxed); // not to be taken again
        // Of handles that do this at the same time, the last one finds no other's lock: the kernel drops one's shared lock
        // before it looks for those of others.
        if sys::flock(fd, KeyLockMode::Exclusive).is_ok() {
            let _ = remove_dirs(base, name, fd); // what is left is for a reap
        }
        sys::funlock(fd);
    }
}

/// An opening's wait for removers, of which its call knows the sum: a reap opens one store after the other.
#[derive(Default)]
struct Wait {
    until: Option<Deadline>,
}

impl Wait {
    fn is_over(&mut self) -> bool {
        let left = || PATIENCE.saturating_sub(sys::thread::waited_for_removers());
        self.until.get_or_insert_with(|| Deadline::after(left())).is_over()
    }
}

impl Drop for Wait {
    fn drop(&mut self) {
        if let Some(until) = &self.until {
            sys::thread::wait_for_removers(until.waited());
        }
    }
}

/// Whether a directory still has a name.
fn is_linked(dir: BorrowedFd) -> bool {
    sys::stat_fd(dir).is_ok_and(|meta| meta.links != 0)
}

/// Opens the directory of a store, again where a fork came in between. What is wrong with it counts, not its errno.
fn open_dir(base: BorrowedFd, name: &CStr, mode: Mode, of: &Meta) -> Result<(LockFd, Ident), Fault> {
    let (mut ident, mut wrong) = (None, None);
    let opened = LockFd::open(|| match inner_dir(base, name, mode, of) {
        Ok((fd, found)) => {
            ident = Some(found);
            Ok(fd)
        }
        Err(fault) => {
            wrong = Some(fault);
            Err(fault.errno)
        }
    });
    match (opened, ident) {
        (Ok(fd), Some(ident)) => {
            fd.note(ident);
            Ok((fd, ident))
        }
        (Err(e), _) => Err(wrong.unwrap_or(Fault::os(e, "opening the store's directories"))),
        (Ok(_), None) => Err(Fault::os(libc::ENOENT, "opening the store's directories")), // never
    }
}

/// Removes the directories of a store that no handle has open, if nothing lies in them. True where they are gone. A store
/// with blobs costs three calls and is not locked.
pub fn remove_unused(base: BorrowedFd, name: &Key) -> Os<bool> {
    if !may_be_empty(base, path(&[name.as_bytes(), b"/", OBJECTS.to_bytes()]).as_c_str())? {
        return Ok(false);
    }
    let (name, of) = (name.as_c_str(), sys::stat_fd(base)?);
    let open = || sys::open(Some(base), name, Open::OwnDir);
    let fd = match LockFd::open(open) {
        // Its maker was killed before it gave the mode back.
        Err(libc::EACCES) => {
            ground::give_mode_back(base, name, of.uid)?;
            LockFd::open(open)?
        }
        answer => answer?,
    };
    let meta = sys::stat_fd(fd.borrow()?)?;
    if !is_closed_dir(&meta, of.uid) || meta.ident.dev != of.ident.dev {
        return Ok(false);
    }
    match sys::flock(fd.borrow()?, KeyLockMode::Exclusive) {
        Err(libc::EWOULDBLOCK) => Ok(false), // in use
        answer => answer.and_then(|()| remove_dirs(base, name, fd.borrow()?)),
    }
}

/// Removes `objects`, `owners` and the store's directory in this order, so that a blob that is still there is never hidden
/// by a missing directory. For whoever holds the directory's lock alone. Killed in between, the next one goes on from there.
fn remove_dirs(base: BorrowedFd, name: &CStr, store: BorrowedFd) -> Os<bool> {
    let ours = sys::stat_fd(store)?.ident;
    match sys::stat(Some(base), name) {
        Ok(named) if named.ident == ours => {}
        Err(libc::ENOENT) => return Ok(true),
        Ok(_) => return Ok(false), // another one by now
        Err(e) => return Err(e),
    }
    if !is_empty(store, OWNERS)? {
        return Ok(false);
    }
    let gone = |answer| match answer {
        Ok(()) | Err(libc::ENOENT) => Ok(true),
        Err(libc::ENOTEMPTY | libc::EEXIST) => Ok(false),
        Err(e) => Err(e),
    };
    let objects = || gone(sys::remove_dir(store, OBJECTS));
    let objects_gone = objects()? || (remove_probes(store)? && objects()?);
    Ok(objects_gone && gone(sys::remove_dir(store, OWNERS))? && gone(sys::remove_dir(base, name))?)
}

/// Whether a directory that may be missing has nothing in it.
pub fn is_empty(at: BorrowedFd, name: &CStr) -> Os<bool> {
    match Names::open_for_few(at, name) {
        Err(libc::ENOENT) => Ok(true),
        answer => Ok(answer?.next()?.is_none()),
    }
}

/// Whether a directory of blobs has none. Looks at the first name that is not a probe's.
fn may_be_empty(at: BorrowedFd, objects: &CStr) -> Os<bool> {
    let mut names = match Names::open_for_few(at, objects) {
        // (missing, or its maker was killed before it gave the mode back)
        Err(libc::ENOENT | libc::EACCES) => return Ok(true),
        answer => answer?,
    };
    while let Some(name) = names.next()? {
        if !is_probe(name) {
            return Ok(false);
        }
    }
    Ok(true)
}

/// Removes links that owners tried in `objects`, killed before they removed them: there are no owners any more. False where
/// something else is there.
fn remove_probes(store: BorrowedFd) -> Os<bool> {
    let mut names = Names::open_for_few(store, OBJECTS)?;
    while let Some(name) = names.next()? {
        if !is_probe(name) {
            return Ok(false);
        }
        match sys::unlink(store, path(&[OBJECTS.to_bytes(), b"/", name.to_bytes()]).as_c_str()) {
            Ok(()) | Err(libc::ENOENT) => {}
            Err(e) => return Err(e),
        }
    }
    Ok(true)
}

/// Whether a name in `objects` is one under which an owner tries links: a backslash and its ID.
fn is_probe(name: &CStr) -> bool {
    name.to_bytes().strip_prefix(b"\\").is_some_and(is_room_name)
}

/// Whether a store has owners here, dead or alive. Each is a directory, which counts as a link of the one it lies in; in a
/// filesystem that does not count so, that has one link.
pub fn has_owners(base: BorrowedFd, name: &Key) -> Os<bool> {
    let owners = path(&[name.as_bytes(), b"/", OWNERS.to_bytes()]);
    let meta = sys::stat(Some(base), owners.as_c_str())?;
    match meta.links {
        _ if !meta.is_dir() => Ok(false),
        1 => Ok(!is_empty(base, owners.as_c_str())?),
        links => Ok(links != 2),
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;
    use std::os::fd::AsFd;

    /// Removers that were stopped: a call that opens many stores, as a reap does, waited for each of them anew.
    #[test]
    fn stopped_removers_cost_a_call_one_wait() {
        let _no_fork = sys::faults::FORKING.read().unwrap_or_else(|e| e.into_inner()); // its child would hold the locks
        let dir = tempfile::tempdir().unwrap();
        let at = |name: &str| std::ffi::CString::new(dir.path().join(name).to_str().unwrap()).unwrap();
        let open = |path: &CStr| sys::open(None, path, Open::Dir).unwrap();
        std::fs::set_permissions(dir.path(), std::os::unix::fs::PermissionsExt::from_mode(0o700)).unwrap();
        let base = open(&at("."));
        let meta = sys::stat_fd(base.as_fd()).unwrap();
        let names = ["one", "two", "three"];
        let removers: Vec<_> = names
            .iter()
            .map(|name| {
                ground::make_own_dir(base.as_fd(), &std::ffi::CString::new(*name).unwrap(), meta.uid).unwrap();
                let remover = open(&at(name));
                sys::flock(remover.as_fd(), KeyLockMode::Exclusive).unwrap();
                remover
            })
            .collect();
        let open_store = |name: &str| {
            let name = std::ffi::CString::new(name).unwrap();
            let store = StoreDir::open(base.as_fd(), &name, Mode::Create, &meta);
            store.map(|store| store.kept.load(Relaxed)).map_err(|fault| fault.errno)
        };
        let skipped = sys::faults::skipped_ns;
        let ((opened, first, all), _) = sys::faults::run(0, None, 0, false, || {
            sys::thread::enter();
            let began = skipped();
            let one = open_store("one");
            let first = skipped() - began;
            let opened = [one, open_store("two"), open_store("three")];
            sys::thread::leave();
            (opened, first, skipped() - began)
        });
        assert_eq!(opened, [Ok(false); 3], "they are used without the lock");
        assert!(first >= PATIENCE.as_nanos() as u64, "the first opening waits");
        assert_eq!(first, all, "the others do not");
        // The next call waits again.
        let (again, _) = sys::faults::run(0, None, 0, false, || {
            sys::thread::enter();
            let began = skipped();
            let opened = open_store("one");
            sys::thread::leave();
            (opened, skipped() - began >= PATIENCE.as_nanos() as u64)
        });
        assert_eq!(again, (Ok(false), true));
        drop(removers);
        assert_eq!(open_store("one"), Ok(true));
    }
}

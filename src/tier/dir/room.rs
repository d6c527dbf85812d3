//! The room of an owner: a directory held with a lock for as long as the owner lives. Each name in it is the
//! owner's own link to a published blob, or a draft; when the owner is dead, a reaper finds here all that it left.
use super::ground::{Ground, Path, is_closed_dir, make_own_dir, path};
use super::names::is_of_removed_file;
use super::probe::{Probed, is_name_forbidden, probe, probe_links, remove_leftover};
use crate::error::Fault;
use crate::key::Key;
use crate::sys::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering};
use crate::sys::sync::{Mutex, MutexGuard, PoisonError};
use crate::sys::{self, Deadline, Ident, KeyLockMode, LockFd, Meta, Names, Open, Os, Shared, Text};
use std::ffi::CStr;
use std::fmt::Write;
use std::os::fd::{AsFd, BorrowedFd};
use std::time::Duration;

/// Tries to make a room before giving up: a reaper may take one in the moment before it is locked.
const TRIES: usize = 64;
/// Drafts of one key that an owner can have at once.
const SUB_ROOMS: u32 = 10_000;
/// Sub-rooms that stay, empty or not.
const SUBS_KEPT: u32 = if cfg!(loom) { 0 } else { 8 };

pub struct Room {
    dir: LockFd,
    pub id: Text<32>,
    /// What it was made on.
    pub ground: Shared<Ground>,
    /// Sub-rooms that are there: `\1` to `\N`. Changed under the lock of `drafts`: made upward and removed downward, so that
    /// other processes see all of them up to the first that is missing, whenever this one is killed.
    subs: AtomicU32,
    links: AtomicU64,
    /// Names of drafts that this process is writing, sorted. A file's name is no proof of that: somebody may delete it, and a
    /// draft that took the name would be published, half written, in place of the first.
    drafts: Mutex<Vec<(Key, u32)>>,
    /// The process's umask takes bits of 0600 from new files: give them back.
    fix_mode: bool,
    /// The filesystem keeps all times up to this one to the nanosecond; 0: not even those of today.
    pub exact_until_ns: u64,
    /// Publishing failed for want of the right to link between directories: the process entered a sandbox since.
    pub links_refused: AtomicBool,
}

/// The path of a key's file in a room: sub-room 0 is the room itself.
#[inline(always)]
pub fn file(sub: u32, key: &[u8]) -> Path {
    let mut file = Path::new();
    if sub != 0 {
        let _ = write!(file, "\\{sub}/"); // fits
    }
    file.push(key);
    file
}

/// The name of a sub-room.
#[inline(always)]
fn sub_room(sub: u32) -> Path {
    let mut name = Path::new();
    let _ = write!(name, "\\{sub}"); // fits
    name
}

impl Room {
    /// Makes a room and locks it. Finds out here, before any bytes are written, whether the filesystem has locks and
    /// links at all.
    pub fn make(ground: &Shared<Ground>) -> Result<Shared<Room>, Fault> {
        let owners = ground.owners.as_fd();
        let user =
            ground.check().and_then(|()| ground.user()).map_err(|e| Fault::os(e, "creating the owner directory"))?;
        for _ in 0..TRIES {
            let mut id = Text::new();
            let random = sys::random().map_err(|e| Fault::os(e, "naming the owner directory"))?;
            let _ = write!(id, "{random:016x}"); // fits
            match make_own_dir(owners, id.as_c_str(), user) {
                Err(libc::EEXIST) => continue,
                answer => answer.map_err(|e| Fault::os(e, "creating the owner directory"))?,
            }
            match Self::take(owners, &id) {
                Ok(Some(dir)) => {
                    let using = |e| Fault::os(e, "using the owner directory");
                    let probed = dir.borrow().map_err(using).and_then(|dir| probe(ground, id.as_bytes(), dir));
                    let Probed { fix_mode, exact_until_ns } = probed.inspect_err(|_| remove_refused(owners, &id))?;
                    let (subs, links) = (AtomicU32::new(0), AtomicU64::new(0));
                    let (drafts, links_refused) = (Mutex::new(Vec::new()), AtomicBool::new(false));
                    let room = Room {
                        dir,
                        id,
                        ground: ground.clone(),
                        subs,
                        links,
                        drafts,
                        fix_mode,
                        exact_until_ns,
                        links_refused,
                    };
                    return Shared::try_new(room).map_err(|_| Fault::memory("creating the owner directory"));
                }
                // Who has it may have looked only whether its owner lives, and will not remove it.
                Ok(None) => drop(sys::remove_dir(owners, id.as_c_str())),
                Err(e) => {
                    let _ = sys::remove_dir(owners, id.as_c_str());
                    return Err(Fault::os(e, "locking the owner directory"));
                }
            }
        }
        Err(Fault::os(libc::EBUSY, "creating the owner directory: reapers took each one"))
    }

    /// Opens and locks a room just made; `None` where a reaper took it for a dead owner's.
    fn take(owners: BorrowedFd, id: &Text<32>) -> Os<Option<LockFd>> {
        let dir = match LockFd::open(|| sys::open(Some(owners), id.as_c_str(), Open::OwnDir)) {
            Err(libc::ENOENT) => return Ok(None),
            answer => answer?,
        };
        let fd = dir.borrow()?;
        match sys::flock(fd, KeyLockMode::Exclusive) {
            Err(libc::EWOULDBLOCK) => return Ok(None),
            answer => answer?,
        }
        let meta = sys::stat_fd(fd)?;
        match sys::stat(Some(owners), id.as_c_str()) {
            Ok(named) if named.ident == meta.ident => {
                dir.note(meta.ident);
                Ok(Some(dir))
            }
            Ok(_) | Err(libc::ENOENT) => Ok(None),
            Err(e) => Err(e),
        }
    }

    /// The directory; fails in a forked child, which has no rooms.
    pub fn dir(&self) -> Result<BorrowedFd<'_>, Fault> {
        self.dir.borrow().map_err(|e| Fault::os(e, "using the owner directory"))
    }

    /// EBADF where the process closed a descriptor of these, or uses the number for a file of its own.
    pub fn check(&self) -> Result<(), Fault> {
        self.dir.check().and_then(|()| self.ground.check()).map_err(|e| Fault::os(e, "using the owner directory"))
    }

    /// Tries links again where publishing failed for want of them. One call at a time.
    pub fn check_links(&self) -> Result<(), Fault> {
        if self.links_refused.load(Ordering::Relaxed) {
            probe_links(&self.ground, self.id.as_bytes(), self.dir()?)?;
            self.links_refused.store(false, Ordering::Relaxed);
        }
        Ok(())
    }

    /// The room, to be emptied: certainly ours, since all that lies in it is removed.
    pub fn as_ref(&self) -> Result<RoomRef<'_>, Fault> {
        self.check()?;
        Ok(RoomRef { dir: self.dir()?, id: self.id.as_c_str(), ground: &self.ground })
    }

    /// Whether the room was removed under us.
    pub fn is_gone(&self) -> bool {
        self.dir.borrow().and_then(sys::stat_fd).is_ok_and(|meta| meta.links == 0)
    }

    /// A new file for a draft of `key`, under the key's own name, in the first sub-room where that is free. The name is
    /// the draft's until [`Room::end_draft`].
    pub fn new_file(&self, key: &Key) -> Result<(sys::BlobFd, u32), Fault> {
        let making = |e| match is_name_forbidden(e) {
            true => Fault::os(e, "making a draft: the filesystem does not allow a file of this name"),
            false => Fault::os(e, "making a draft"),
        };
        let dir = self.dir()?;
        let mut from = 0;
        while let Some(sub) = self.begin_draft(key, from)? {
            match self.try_file(dir, key, sub) {
                Ok(Some(fd)) => return Ok((fd, sub)),
                Ok(None) => self.end_draft(key, sub),
                Err(e) => {
                    self.end_draft(key, sub);
                    return Err(making(e));
                }
            }
            from = sub + 1;
        }
        Err(Fault::os(libc::EMLINK, "making a draft: too many of one key"))
    }

    fn drafts(&self) -> MutexGuard<'_, Vec<(Key, u32)>> {
        self.drafts.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes the first name for a draft, from this sub-room on, that no other draft has.
    fn begin_draft(&self, key: &Key, from: u32) -> Result<Option<u32>, Fault> {
        let mut drafts = self.drafts();
        let mut at = drafts.partition_point(|draft| *draft < (*key, from));
        let mut sub = from;
        while drafts.get(at) == Some(&(*key, sub)) {
            (at, sub) = (at + 1, sub + 1);
        }
        if sub >= SUB_ROOMS {
            return Ok(None);
        }
        drafts.try_reserve(1).map_err(|_| Fault::memory("making a draft"))?;
        for missing in self.subs.load(Ordering::Acquire) + 1..=sub {
            self.make_sub_room(missing).map_err(|e| Fault::os(e, "making a draft"))?;
            self.subs.store(missing, Ordering::Release);
        }
        drafts.insert(at, (*key, sub));
        Ok(Some(sub))
    }

    /// Gives a draft's name back: it is a blob's link now, or gone.
    pub fn end_draft(&self, key: &Key, sub: u32) {
        let mut drafts = self.drafts();
        if let Ok(at) = drafts.binary_search(&(*key, sub)) {
            drafts.remove(at);
        }
        if sub > SUBS_KEPT {
            self.remove_empty_subs(&drafts);
        }
    }

    /// Gives up what many drafts of one key at a time needed: who looks for a blob of ours looks into each sub-room. No
    /// draft begins meanwhile.
    fn remove_empty_subs(&self, drafts: &[(Key, u32)]) {
        loop {
            let last = self.subs.load(Ordering::Acquire);
            if last <= SUBS_KEPT || drafts.iter().any(|&(_, sub)| sub >= last) {
                return;
            }
            let removed = self.dir.borrow().and_then(|dir| sys::remove_dir(dir, sub_room(last).as_c_str()));
            if !matches!(removed, Ok(()) | Err(libc::ENOENT)) {
                return;
            }
            self.subs.store(last - 1, Ordering::Release);
        }
    }

    /// The file for a draft; `None` where the name is taken.
    fn try_file(&self, dir: BorrowedFd, key: &Key, sub: u32) -> Os<Option<sys::BlobFd>> {
        let path = file(sub, key.as_bytes());
        let opened = match sys::open(Some(dir), path.as_c_str(), Open::New) {
            Err(libc::ENOENT) if sub > 0 && self.mend_sub_rooms().is_ok() => {
                sys::open(Some(dir), path.as_c_str(), Open::New)
            }
            answer => answer,
        };
        let made = match opened {
            Err(libc::EEXIST) => return Ok(None),
            answer => answer?,
        };
        let ready = if self.fix_mode { sys::set_mode(made.as_fd(), 0o600) } else { Ok(()) };
        ready.and_then(|()| sys::BlobFd::noted(made)).map(Some).inspect_err(|_| {
            let _ = sys::unlink(dir, path.as_c_str()); // else it goes with the room
        })
    }

    /// Makes a sub-room, for whoever holds the lock of `drafts`.
    fn make_sub_room(&self, sub: u32) -> Os<()> {
        let (dir, name) = (self.dir.borrow()?, sub_room(sub));
        match make_own_dir(dir, name.as_c_str(), self.ground.user()?) {
            Ok(()) | Err(libc::EEXIST) => Ok(()),
            Err(e) => {
                let _ = sys::remove_dir(dir, name.as_c_str()); // it may be there, without its mode
                Err(e)
            }
        }
    }

    /// Makes the sub-rooms that somebody removed by hand.
    fn mend_sub_rooms(&self) -> Os<()> {
        let _drafts = self.drafts();
        (1..=self.subs.load(Ordering::Acquire)).try_for_each(|sub| self.make_sub_room(sub))
    }

    /// Where our link to the blob `ident` of `key` lies, if it is ours.
    pub fn find(&self, key: &Key, ident: Ident) -> Result<Option<Path>, Fault> {
        let dir = self.dir()?;
        for sub in 0..=self.subs.load(Ordering::Acquire) {
            let path = file(sub, key.as_bytes());
            match sys::stat(Some(dir), path.as_c_str()) {
                Ok(meta) if meta.ident == ident => return Ok(Some(path)),
                Ok(_) | Err(libc::ENOENT) => {}
                Err(e) => return Err(Fault::os(e, "looking into the owner directory")),
            }
        }
        Ok(None)
    }

    /// A name for a link that is about to be moved over a published one.
    pub fn spare(&self) -> Path {
        let mut name = Path::new();
        let _ = write!(name, "\\{}.link", self.links.fetch_add(1, Ordering::Relaxed)); // fits
        name
    }
}

/// Removes a room on a filesystem that refused it. Names that the filesystem itself added go a moment after the file was
/// closed; what stays is for the next reap.
fn remove_refused(owners: BorrowedFd, id: &Text<32>) {
    for _ in 0..10 {
        if sys::remove_dir(owners, id.as_c_str()) != Err(libc::ENOTEMPTY) {
            break;
        }
        sys::sleep(Duration::from_millis(1));
    }
}

/// A room of our own, or a dead owner's that we locked.
#[derive(Clone, Copy)]
pub struct RoomRef<'a> {
    pub dir: BorrowedFd<'a>,
    pub id: &'a CStr,
    pub ground: &'a Ground,
}

/// What a reaper or a shutdown finds in a room.
#[allow(clippy::large_enum_variant)] // handed on one at a time, on the stack
pub enum Entry {
    /// A key's file: a blob's link, or a draft.
    File { key: Key, path: Path, meta: Meta },
    /// A spare link or a probe.
    Spare(Path),
    /// A sub-room, empty once its files are gone.
    SubRoom(Path),
    /// A directory that somebody put or mounted there.
    NotOurs,
}

impl RoomRef<'_> {
    /// Whether the room's file at `path` is, now, the one with this identity.
    pub fn has(&self, path: &Path, ident: Ident) -> Result<bool, Fault> {
        match sys::stat(Some(self.dir), path.as_c_str()) {
            Ok(meta) => Ok(meta.ident == ident),
            Err(libc::ENOENT) => Ok(false),
            Err(e) => Err(Fault::os(e, "looking into the owner directory")),
        }
    }

    /// Removes all that lies here, then the room. `each` hears of every file before it goes, and what it cannot
    /// clear stays, without stopping the rest; the first such failure is the answer.
    pub fn empty(&self, mut each: impl FnMut(&Key, &Path, &Meta) -> Result<(), Fault>) -> Result<(), Fault> {
        let removing = |answer: Os<()>| match answer {
            Ok(()) | Err(libc::ENOENT) => Ok(()),
            Err(e) => Err(Fault::os(e, "removing the owner directory")),
        };
        let mut found = false;
        // A draft may come in while we list, until the room itself is gone.
        for _ in 0..1000 {
            let mut first = None;
            each_entry(self.dir, |entry| {
                found |= !matches!(entry, Entry::SubRoom(_));
                let gone = match entry {
                    Entry::File { key, path, meta } => {
                        each(&key, &path, &meta).and_then(|()| removing(sys::unlink(self.dir, path.as_c_str())))
                    }
                    Entry::Spare(path) => removing(sys::unlink(self.dir, path.as_c_str())),
                    Entry::SubRoom(path) => match sys::remove_dir(self.dir, path.as_c_str()) {
                        Err(libc::ENOTEMPTY) => Ok(()),
                        answer => removing(answer),
                    },
                    Entry::NotOurs => {
                        Err(Fault::os(libc::EPERM, "removing the owner directory: it has a directory of somebody else"))
                    }
                };
                if let Err(fault) = gone {
                    first.get_or_insert(fault);
                }
                Ok(())
            })?;
            let leftover = || removing(remove_leftover(self.ground, self.id.to_bytes()));
            let emptied = first.map_or(Ok(()), Err).and_then(|()| leftover()).and_then(|()| {
                match sys::remove_dir(self.ground.owners.as_fd(), self.id) {
                    Err(libc::ENOTEMPTY | libc::EEXIST) => Ok(false),
                    answer => removing(answer).map(|()| true),
                }
            });
            match emptied {
                Ok(false) => {}
                // There was nothing to remove, so it is no failure that nothing can be removed there by now.
                Err(fault) if !found && matches!(fault.errno, libc::EROFS | libc::EACCES | libc::EPERM) => {
                    return Ok(());
                }
                answer => return answer.map(drop),
            }
        }
        Err(Fault::os(libc::ENOTEMPTY, "removing the owner directory"))
    }
}

/// Calls `each` for all that lies in a room, files before the sub-rooms that hold them.
pub fn each_entry(room: BorrowedFd, mut each: impl FnMut(Entry) -> Result<(), Fault>) -> Result<(), Fault> {
    let reading = |e| Fault::os(e, "reading the owner directory");
    let mut names = match Names::open(room, c".") {
        Err(libc::ENOENT) => return Ok(()), // removed
        answer => answer.map_err(reading)?,
    };
    let whole = sys::stat_fd(room).map_err(reading)?;
    // Where somebody gave all our directories another mode, the sub-rooms of a living owner's room are what they were.
    let is_loose = !is_closed_dir(&whole, whole.uid);
    while let Some(name) = names.next().map_err(reading)? {
        let top = path(&[name.to_bytes()]);
        let Ok(meta) = sys::stat(Some(room), name) else {
            continue;
        }; // gone meanwhile
        if is_of_removed_file(name.to_bytes()) && !meta.is_dir() {
            each(Entry::Spare(top))?;
        } else if let Ok(key) = Key::new(name.to_bytes()) {
            each(Entry::File { key, path: top, meta })?;
        } else if !meta.is_dir() {
            each(Entry::Spare(top))?;
        } else if !(is_closed_dir(&meta, whole.uid) || is_loose && meta.uid == whole.uid)
            || meta.ident.dev != whole.ident.dev
        {
            each(Entry::NotOurs)?;
        } else {
            let mut inner = match Names::open(room, name) {
                Err(libc::ENOENT) => continue,
                answer => answer.map_err(reading)?,
            };
            while let Some(name) = inner.next().map_err(reading)? {
                let path = path(&[top.as_bytes(), b"/", name.to_bytes()]);
                let Ok(meta) = sys::stat(Some(room), path.as_c_str()) else {
                    continue;
                };
                match Key::new(name.to_bytes()) {
                    Ok(key) => each(Entry::File { key, path, meta })?,
                    Err(_) => each(Entry::Spare(path))?,
                }
            }
            each(Entry::SubRoom(top))?;
        }
    }
    Ok(())
}

/// The owner of a blob, and where its link lies below the directory of rooms.
pub struct Owner {
    pub id: Text<300>,
    pub link: Path,
}

/// Who owns the blob `ident` of `key`: looks once at each owner. Where none seems to have it, those are searched whose
/// sub-rooms have a gap, which somebody made by hand.
pub fn owner_of(owners: BorrowedFd, key: &Key, ident: Ident) -> Os<Option<Owner>> {
    let mut first = None;
    for search in [walk, search_beyond_gap] {
        let mut names = match Names::open(owners, c".") {
            Err(libc::ENOENT) => return Ok(None), // removed, and the owners' links with it
            answer => answer?,
        };
        while let Some(name) = names.next()? {
            match search(owners, name.to_bytes(), key, ident) {
                Ok(Some(link)) => {
                    let mut id = Text::new();
                    id.push(name.to_bytes());
                    return Ok(Some(Owner { id, link }));
                }
                Ok(None) => {}
                Err(e) => {
                    first.get_or_insert(e); // it may be another's
                }
            }
        }
    }
    first.map_or(Ok(None), Err)
}

/// Where the owner `id` has its link to the blob `ident` of `key`, if it has one.
pub fn link_of(owners: BorrowedFd, id: &[u8], key: &Key, ident: Ident) -> Os<Option<Path>> {
    match walk(owners, id, key, ident)? {
        None => search_beyond_gap(owners, id, key, ident),
        link => Ok(link),
    }
}

/// What lies at a path below the directory of rooms.
fn look(owners: BorrowedFd, path: &Path) -> Os<Option<Meta>> {
    match sys::stat(Some(owners), path.as_c_str()) {
        Ok(meta) => Ok(Some(meta)),
        Err(libc::ENOENT | libc::ENOTDIR) => Ok(None), // gone meanwhile, or no owner
        Err(e) => Err(e),
    }
}

/// The path of `name` in the room `id`.
fn in_room(id: &[u8], name: &Path) -> Path {
    path(&[id, b"/", name.as_bytes()])
}

/// Looks into the room `id` and its sub-rooms up to the first that is missing.
fn walk(owners: BorrowedFd, id: &[u8], key: &Key, ident: Ident) -> Os<Option<Path>> {
    for sub in 0.. {
        let link = in_room(id, &file(sub, key.as_bytes()));
        if look(owners, &link)?.is_some_and(|meta| meta.ident == ident) {
            return Ok(Some(link));
        }
        if look(owners, &in_room(id, &sub_room(sub + 1)))?.is_none() {
            break;
        }
    }
    Ok(None)
}

/// Looks into all sub-rooms of the room `id`, if some lie behind a missing one. Each directory counts as a link of the room;
/// a filesystem that does not count so says 1.
fn search_beyond_gap(owners: BorrowedFd, id: &[u8], key: &Key, ident: Ident) -> Os<Option<Path>> {
    let Some(room) = look(owners, &path(&[id]))?.filter(|room| room.is_dir() && room.links != 2) else {
        return Ok(None);
    };
    if room.links > 2 {
        let mut walked = 0;
        while look(owners, &in_room(id, &sub_room(walked + 1)))?.is_some() {
            walked += 1;
        }
        if room.links <= 2 + u64::from(walked) {
            return Ok(None);
        }
    }
    let mut names = match Names::open(owners, path(&[id]).as_c_str()) {
        Err(libc::ENOENT | libc::ENOTDIR) => return Ok(None),
        answer => answer?,
    };
    while let Some(name) = names.next()? {
        if name.to_bytes().starts_with(b"\\") {
            let link = path(&[id, b"/", name.to_bytes(), b"/", key.as_bytes()]);
            if look(owners, &link)?.is_some_and(|meta| meta.ident == ident) {
                return Ok(Some(link));
            }
        }
    }
    Ok(None)
}

/// Whether a name is one that [`Room::make`] gives.
pub fn is_room_name(name: &[u8]) -> bool {
    name.len() == 16 && name.iter().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'))
}

/// Takes the room `id` if its owner is dead. The lock is held by what is answered. What is not a room of ours, but a
/// directory that somebody put or mounted there, is never taken: all that is taken is emptied. Waits for those who look at
/// the room, until the deadline of the whole reap.
pub fn take_dead(ground: &Ground, id: &CStr, deadline: Deadline) -> Os<Option<LockFd>> {
    if !is_room_name(id.to_bytes()) {
        return Ok(None);
    }
    let dir = LockFd::open(|| sys::open(Some(ground.owners.as_fd()), id, Open::OwnDir))?;
    let fd = dir.borrow()?;
    loop {
        match sys::flock(fd, KeyLockMode::Exclusive) {
            Ok(()) => {
                let meta = sys::stat_fd(fd)?;
                let ours = is_closed_dir(&meta, ground.user()?) && meta.ident.dev == ground.owners_ident.dev;
                return if ours { Ok(Some(dir)) } else { Err(libc::EPERM) };
            }
            Err(libc::EWOULDBLOCK) => {}
            Err(e) => return Err(e),
        }
        // A look at whether the owner lives holds it shared for a moment; an owner or another reaper does not share.
        match sys::flock(fd, KeyLockMode::Shared) {
            Ok(()) => sys::funlock(fd), // another reaper that waits would wait for us
            Err(libc::EWOULDBLOCK) => return Ok(None),
            Err(e) => return Err(e),
        }
        if deadline.is_over() {
            return Err(libc::EBUSY); // one that looks at it was stopped
        }
        sys::sleep(Duration::from_micros(200));
    }
}

/// Whether the owner of the room `id` is dead.
pub fn is_dead(owners: BorrowedFd, id: &CStr) -> Os<bool> {
    if !is_room_name(id.to_bytes()) {
        return Ok(false);
    }
    let taken = LockFd::open(|| sys::open(Some(owners), id, Open::OwnDir))
        .and_then(|dir| sys::flock(dir.borrow()?, KeyLockMode::Shared));
    match taken {
        Ok(()) => Ok(true),
        Err(libc::EWOULDBLOCK | libc::ENOENT | libc::ENOTDIR) => Ok(false), // alive, gone meanwhile, or no owner
        Err(e) => Err(e),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A sub-room that somebody deletes by hand hides nothing that lies behind it from other processes.
    #[test]
    fn a_gap_among_subdirectories_hides_no_link() {
        let dir = tempfile::tempdir().unwrap();
        let path = std::ffi::CString::new(dir.path().to_str().unwrap()).unwrap();
        let owners = sys::open(None, &path, Open::Tier).unwrap();
        let key = Key::new("k").unwrap();
        for id in ["0123456789abcdee", "0123456789abcdef"] {
            std::fs::create_dir(dir.path().join(id)).unwrap();
        }
        let room = dir.path().join("0123456789abcdef");
        let below = |path: Path| room.join(std::str::from_utf8(path.as_bytes()).unwrap());
        for last in [1, 2, 11, 12] {
            for missing in 0..last {
                (1..=last)
                    .filter(|&sub| sub != missing)
                    .for_each(|sub| std::fs::create_dir(below(sub_room(sub))).unwrap());
                std::fs::write(below(file(last, b"k")), "").unwrap();
                std::fs::write(below(file(0, b"k")), "another").unwrap();
                let at = std::ffi::CString::new(format!("0123456789abcdef/\\{last}/k")).unwrap();
                let ident = sys::stat(Some(owners.as_fd()), &at).unwrap().ident;
                let owner = owner_of(owners.as_fd(), &key, ident).unwrap().map(|owner| owner.link);
                assert_eq!(owner.unwrap().as_c_str(), at.as_c_str(), "{missing} of {last} is missing");
                let link = link_of(owners.as_fd(), b"0123456789abcdef", &key, ident).unwrap();
                assert_eq!(link.unwrap().as_c_str(), at.as_c_str(), "{missing} of {last} is missing");
                std::fs::remove_dir_all(&room).unwrap();
                std::fs::create_dir(&room).unwrap();
            }
        }
    }

    #[test]
    fn a_look_for_an_owners_link_that_fails_is_not_taken_for_its_end() {
        let dir = tempfile::tempdir().unwrap();
        let room = dir.path().join("0123456789abcdef");
        let below = |path: Path| room.join(std::str::from_utf8(path.as_bytes()).unwrap());
        std::fs::create_dir(&room).unwrap();
        std::fs::create_dir(below(sub_room(1))).unwrap();
        std::fs::create_dir(below(sub_room(2))).unwrap();
        std::fs::write(below(file(2, b"k")), "").unwrap();
        let path = std::ffi::CString::new(dir.path().to_str().unwrap()).unwrap();
        let owners = sys::open(None, &path, Open::Tier).unwrap();
        let key = Key::new("k").unwrap();
        let ident = sys::stat(Some(owners.as_fd()), c"0123456789abcdef/\\2/k").unwrap().ident;
        for nth in 1.. {
            let find = || owner_of(owners.as_fd(), &key, ident).map(|owner| owner.map(|owner| owner.link));
            let (answer, calls) = sys::faults::run(nth, Some("newfstatat"), libc::EIO, false, find);
            match answer {
                Ok(Some(link)) => assert_eq!(link.as_bytes(), b"0123456789abcdef/\\2/k"),
                other => assert_eq!(other.err(), Some(libc::EIO), "call {nth}"),
            }
            if calls.iter().filter(|&&call| call == "newfstatat").count() < nth {
                break;
            }
        }
    }
}

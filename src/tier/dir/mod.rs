//! A tier that is a directory: shared memory is the directory whose filesystem is memory, a disk's is any other.
//!
//! Its bytes are placed with `write`, which answers ENOSPC, never through a mapping of pages that nobody reserved.
mod blobs;
mod budget;
mod draft;
mod ground;
mod names;
mod probe;
mod room;
mod store_dir;

use budget::Granted;
pub use budget::{Budget, MAX, beyond};
pub use draft::Draft;
pub use ground::{Ground, Mode, StaleHold};

use super::Found;
use crate::error::{ANOTHER_USER, Code, Fault};
use crate::key::Key;
use crate::options::TierSpec;
use crate::sys::sync::atomic::{AtomicBool, AtomicU64, Ordering::SeqCst};
use crate::sys::sync::{Mutex, MutexGuard, TryLockError, shared_static};
use crate::sys::{self, Deadline, KeyLockMode, Kin, Names, NoMemory, Open, Shared, Space};
use ground::absent;
use room::Entry;
pub use room::{Room, RoomRef};
use std::ffi::CStr;
use std::os::fd::AsFd;

/// How often directories that were removed under us are made anew before that is given up.
const GROUND_TRIES: usize = 8;

const SECOND_NS: u64 = 1_000_000_000;

/// Added to a key's number for the byte that a waiting writer holds; numbers are smaller.
const TURN: u64 = 1 << 62;

/// Rooms that a handle keeps on a tier: where its path leads now, and where it led before.
const ROOMS: usize = 8;

pub struct DirTier {
    dir: Box<[u8]>,
    shm: bool,
    uid: u32,
    name: Key,
    mode: Mode,
    kin: Kin,
    pub budget: Shared<Budget>,
    ground: Mutex<Option<Shared<Ground>>>,
    rooms: Mutex<Rooms>,
    /// The handle was shut down.
    closed: AtomicBool,
    /// The process has a second user, to change to and back.
    second_user: bool,
    /// The tier had a ground once.
    stood: AtomicBool,
    /// When a draft was watched last.
    watched_at: AtomicU64,
}

shared_static! {
    /// The process changed under a handle: a draft was another user's, or a room's descriptor not ours any more.
    CHANGED: AtomicBool = AtomicBool::new(false);
}

/// Our rooms, the last used first; each on another ground. One that the tier's path no longer leads to is kept, for its
/// lock says that the owner of what lies there is alive.
enum Rooms {
    Open(RoomList),
    /// The handle was shut down: nothing is made any more.
    Closed,
}

type RoomList = [Option<Shared<Room>>; ROOMS];

const NO_ROOMS: RoomList = [const { None }; ROOMS];

/// Gives up rooms that were removed under us; true where there were some.
fn forget_lost(rooms: &mut RoomList) -> bool {
    let lost = rooms.iter_mut().filter(|room| room.as_ref().is_some_and(|room| room.is_gone()));
    lost.map(|room| *room = None).count() != 0
}

/// A key's byte of the lock file, held.
pub struct Hold {
    pub ground: Shared<Ground>,
    number: u64,
    /// In a forked child, whose descriptor of the lock file was closed: another one.
    own: Option<sys::Fd>,
}

impl Drop for Hold {
    fn drop(&mut self) {
        if self.own.is_none()
            && let Ok(fd) = self.ground.lock()
        {
            sys::ofd_unlock(fd, self.number);
        }
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(|poisoned| poisoned.into_inner())
}

impl DirTier {
    pub fn new(spec: &TierSpec, dir: &[u8], uid: u32, name: Key, mode: Mode, kin: Kin) -> Result<DirTier, NoMemory> {
        budget::enter_process(kin);
        Ok(DirTier {
            dir: sys::try_concat(&[dir])?,
            shm: spec.shm,
            uid,
            name,
            mode,
            kin,
            budget: Shared::try_new(Budget::new(spec.max, spec.reserve))?,
            ground: Mutex::new(None),
            rooms: Mutex::new(Rooms::Open(NO_ROOMS)),
            closed: AtomicBool::new(false),
            second_user: sys::has_second_user(),
            stood: AtomicBool::new(false),
            watched_at: AtomicU64::new(0),
        })
    }

    /// Whether it was named `shm`.
    pub fn is_shm(&self) -> bool {
        self.shm
    }

    pub fn dir(&self) -> &CStr {
        CStr::from_bytes_with_nul(&self.dir).unwrap_or(c"")
    }

    fn open_ground(&self, mode: Mode) -> Result<Shared<Ground>, Fault> {
        // The directories are those of the user who opened the store: another one makes nothing in them, nor locks.
        let same = sys::effective_uid() == self.uid;
        if !same && mode == Mode::Create {
            return Err(Fault::os(libc::EPERM, ANOTHER_USER));
        }
        let opened = Ground::open(self.dir(), self.uid, &self.name, if same { mode } else { Mode::ReadOnly });
        match opened {
            Ok(_) => self.stood.store(true, SeqCst),
            // What was there once is not missing because this thread acts as another user.
            Err(fault)
                if matches!(fault.errno, libc::EACCES | libc::EPERM)
                    && (!same || (self.stood.load(SeqCst) && sys::acting_uid() != self.uid)) =>
            {
                return Err(Fault::os(libc::EPERM, ANOTHER_USER));
            }
            Err(_) => {}
        }
        opened
    }

    /// `None` in a forked child whose parent's thread held it at that moment.
    fn known(&self) -> Option<MutexGuard<'_, Option<Shared<Ground>>>> {
        match self.ground.try_lock() {
            Ok(ground) => Some(ground),
            Err(TryLockError::Poisoned(poisoned)) => Some(poisoned.into_inner()),
            Err(TryLockError::WouldBlock) if self.kin.in_child() => None,
            Err(TryLockError::WouldBlock) => Some(lock(&self.ground)),
        }
    }

    /// What the tier stands on, to change things or only to look. To look makes nothing.
    pub fn ground(&self, to_change: bool) -> Result<Shared<Ground>, Fault> {
        let Some(mut ground) = self.known() else {
            return self.open_ground(Mode::ReadOnly);
        };
        if let Some(known) = &*ground
            && (!to_change || known.mode != Mode::ReadOnly)
        {
            return Ok(known.clone());
        }
        let fresh = self.open_ground(match self.mode {
            _ if !to_change || self.kin.in_child() => Mode::ReadOnly,
            Mode::Create if self.closed.load(SeqCst) => Mode::Existing,
            mode => mode,
        })?;
        *ground = Some(fresh.clone());
        Ok(fresh)
    }

    /// The same as [`DirTier::refresh`], and asks whether others can reach any of our directories by now.
    pub fn compare(&self) -> Result<bool, Fault> {
        if let Ok(known) = self.ground(false)
            && known.check_closed().is_err()
        {
            self.forget(&known);
        }
        self.renew(|known| known.is_current())
    }

    /// Compares the ground with the tier's path; true where it was replaced.
    pub fn refresh(&self) -> Result<bool, Fault> {
        self.renew(|known| known.is_current() && known.is_base_closed())
    }

    /// Replaces the ground unless it is still good.
    fn renew(&self, is_good: impl FnOnce(&Ground) -> bool) -> Result<bool, Fault> {
        match self.ground(false) {
            Ok(known) if is_good(&known) => {
                known.keep_cleaners_away();
                Ok(false)
            }
            Ok(known) => {
                self.forget(&known);
                match self.ground(false) {
                    Ok(_) => Ok(true),
                    Err(fault) if fault.is_nothing_here() => Ok(true),
                    Err(fault) => Err(fault),
                }
            }
            Err(fault) if fault.is_nothing_here() => Ok(false),
            Err(fault) => Err(fault),
        }
    }

    /// Gives the ground up where the process closed its descriptors, or uses their numbers for files of its own.
    pub fn leave_lost(&self) {
        let known = self.known().and_then(|ground| ground.clone());
        if let Some(known) = known
            && (known.objects.check().is_err() || (!self.kin.in_child() && known.check().is_err()))
        {
            self.forget(&known);
        }
    }

    /// Gives a stale ground up; the next call opens another.
    fn forget(&self, stale: &Shared<Ground>) {
        if let Some(mut ground) = self.known()
            && ground.as_ref().is_some_and(|known| Shared::same(known, stale))
        {
            *ground = None;
        }
    }

    /// Our room on this ground, made at first need.
    fn room(&self, ground: &Shared<Ground>) -> Result<Shared<Room>, Fault> {
        let mut rooms = lock(&self.rooms);
        let Rooms::Open(rooms) = &mut *rooms else {
            return Err(Fault::last(Code::Shutdown, 0, "creating the owner directory"));
        };
        let here = |room: &Shared<Room>| room.ground.owners_ident == ground.owners_ident;
        if let Some(at) = rooms.iter().position(|room| room.as_ref().is_some_and(here)) {
            rooms[..=at].rotate_right(1);
            rooms[0].as_ref().map_or(Ok(()), |room| room.check_links())?;
        } else {
            forget_lost(rooms);
            let room = Room::make(ground)?;
            // Where there are too many, the oldest is a dead owner's from now on: a path that is switched without end
            // must not cost descriptors without end.
            let at = rooms.iter().position(Option::is_none).unwrap_or(ROOMS - 1);
            rooms[..=at].rotate_right(1);
            rooms[0] = Some(room);
        }
        rooms[0].clone().ok_or(Fault::os(libc::ENOENT, "creating the owner directory"))
    }

    /// Our rooms, the last used first. Who has none owns nothing here.
    pub fn rooms(&self) -> impl Iterator<Item = Shared<Room>> {
        let rooms = match &*lock(&self.rooms) {
            Rooms::Open(rooms) => rooms.clone(),
            Rooms::Closed => NO_ROOMS,
        };
        rooms.into_iter().flatten()
    }

    /// Where our own link to a blob lies, if it is ours.
    fn find_own(&self, key: &Key, found: &Found) -> Result<Option<(Shared<Room>, ground::Path)>, Fault> {
        for room in self.rooms() {
            if let Some(path) = room.find(key, found.ident)? {
                return Ok(Some((room, path)));
            }
        }
        Ok(None)
    }

    /// Whether the next draft is watched: that it is ours is found out for each where the process has a second user to
    /// change to, or has changed before, and else once a second.
    fn is_watched(&self) -> bool {
        let (now, last) = (sys::monotonic_ns(), self.watched_at.load(SeqCst));
        let due = now.abs_diff(last) >= SECOND_NS;
        if due {
            self.watched_at.store(now, SeqCst);
        }
        due || self.second_user || CHANGED.load(SeqCst)
    }

    fn draft_on(&self, ground: &Shared<Ground>, key: &Key) -> Result<Box<Draft>, Fault> {
        let room = self.room(ground)?;
        let watched = self.is_watched();
        if watched {
            room.check().inspect_err(|_| CHANGED.store(true, SeqCst))?;
        }
        let (file, sub) = room.new_file(key)?;
        let mut draft = Draft {
            room,
            sub,
            key: *key,
            file,
            len: 0,
            charged: 0,
            budget: self.budget.clone(),
            published: false,
            changing: false,
            torn: false,
            in_memory: ground.in_memory,
            kin: self.kin,
        };
        if watched {
            draft.watch().inspect_err(|_| CHANGED.store(true, SeqCst))?;
        }
        sys::try_box(draft).map_err(|_| Fault::memory("making a draft"))
    }

    /// Whether the blob `found` under `key` is this handle's own.
    pub fn owns(&self, key: &Key, found: &Found) -> Result<bool, Fault> {
        if !found.has_owner || self.kin.in_child() {
            return Ok(false);
        }
        Ok(self.find_own(key, found)?.is_some())
    }

    /// Whether the blob `found` under `key` belongs to an owner that is dead. Looks once at each owner.
    pub fn is_orphan(&self, key: &Key, found: &Found) -> Result<bool, Fault> {
        let ground = self.ground(false)?;
        let owners = ground.owners.as_fd();
        room::owner_of(owners, key, found.ident)
            .and_then(|owner| owner.map_or(Ok(false), |owner| room::is_dead(owners, owner.id.as_c_str())))
            .map_err(|e| Fault::os(e, "looking for a blob's owner"))
    }

    /// The owners that are dead but not reaped yet, for a listing, which asks for many blobs.
    pub fn dead_owners(&self) -> Result<Vec<Box<[u8]>>, Fault> {
        let looking = |e| Fault::os(e, "looking for dead owners");
        let ground = self.ground(false)?;
        let mut dead = Vec::new();
        let mut names = match Names::open(ground.owners.as_fd(), c".") {
            Err(libc::ENOENT) => return Ok(dead),
            answer => answer.map_err(looking)?,
        };
        while let Some(id) = names.next().map_err(looking)? {
            let is_dead = match room::is_dead(ground.owners.as_fd(), id) {
                Err(e) if !looking(e).is_final() => false, // not to be told, which must not hide all blobs
                answer => answer.map_err(looking)?,
            };
            if is_dead {
                let copy = sys::try_concat(&[id.to_bytes()]);
                let kept = copy.and_then(|copy| sys::try_push(&mut dead, copy));
                kept.map_err(|NoMemory| Fault::memory("looking for dead owners"))?;
            }
        }
        Ok(dead)
    }

    /// Whether one of these owners has the blob `found` under `key`.
    pub fn is_owned_by(&self, ids: &[Box<[u8]>], key: &Key, found: &Found) -> Result<bool, Fault> {
        if ids.is_empty() {
            return Ok(false);
        }
        let ground = self.ground(false)?;
        for id in ids {
            let link = room::link_of(ground.owners.as_fd(), id, key, found.ident);
            if link.map_err(|e| Fault::os(e, "looking for a blob's owner"))?.is_some() {
                return Ok(true);
            }
        }
        Ok(false)
    }

    /// Whether a store has owners here, dead or alive.
    pub fn has_owners(&self, name: &Key) -> Result<bool, Fault> {
        let found = self.ground(false).and_then(|ground| {
            store_dir::has_owners(ground.base()?, name).map_err(|e| Fault::os(e, "looking for a store"))
        });
        match found {
            Err(fault) if fault.is_nothing_here() => Ok(false),
            answer => answer,
        }
    }

    /// Removes the directories of a store that no handle has open, if nothing lies in them. True where they are gone.
    pub fn remove_unused_store(&self, name: &Key) -> bool {
        let removed = self.ground(false).and_then(|ground| {
            store_dir::remove_unused(ground.base()?, name).map_err(|e| Fault::os(e, "removing a store's directories"))
        });
        removed.unwrap_or(false)
    }

    /// Removes the directories of this handle's store, if nothing lies in them and no other handle has them open. For a
    /// handle that was shut down; never in a forked child.
    pub fn remove_own_store(&self) {
        // Under the lock: an opening that began before the end is over, and none that comes later makes anything.
        if let Some(ground) = &*lock(&self.ground) {
            ground.remove_store_if_empty();
        }
    }

    /// The filesystem's room.
    pub fn space(&self) -> Result<Space, Fault> {
        let asking = |e| Fault::os(e, "querying free space");
        match self.ground(false) {
            Ok(ground) => sys::space(ground.objects.as_fd()).map_err(asking),
            Err(_) => {
                let dir = sys::open(None, self.dir(), Open::Tier).map_err(asking)?;
                sys::space(dir.as_fd()).map_err(asking)
            }
        }
    }

    /// Number and bytes of the blobs that this handle owns here, counted now.
    pub fn count_owned(&self) -> Result<(u64, u64), Fault> {
        let (mut blobs, mut bytes) = (0, 0);
        for room in self.rooms() {
            room.check()?;
            room::each_entry(room.dir()?, |entry| {
                if let Entry::File { meta, .. } = entry
                    && meta.links > 1
                {
                    blobs += 1;
                    bytes += meta.size;
                }
                Ok(())
            })?;
        }
        Ok((blobs, bytes))
    }

    /// Fails where `bytes` would not fit here now.
    pub fn check_room(&self, bytes: u64) -> Result<(), Fault> {
        let ground = self.ground(true)?;
        let space = sys::space(ground.objects.as_fd()).map_err(|e| Fault::os(e, "querying free space"))?;
        if space.total_inodes != 0 && space.free_inodes == 0 {
            return Err(Fault::os(libc::ENOSPC, "finding an inode for a blob"));
        }
        self.budget.check(&space, bytes)
    }

    /// Nothing is made here any more. Answers the rooms that are to be emptied, the last used first.
    pub fn close(&self) -> impl Iterator<Item = Shared<Room>> {
        self.closed.store(true, SeqCst);
        let rooms = match std::mem::replace(&mut *lock(&self.rooms), Rooms::Closed) {
            Rooms::Open(rooms) => rooms,
            Rooms::Closed => NO_ROOMS,
        };
        rooms.into_iter().flatten()
    }

    /// Lists the keys that are published here.
    pub fn names(&self) -> Result<Option<Names>, Fault> {
        let _ = self.compare()?;
        match self.ground(false) {
            Ok(ground) => {
                let kept = || {
                    ground.objects.check()?;
                    Names::open(ground.objects.as_fd(), c".")?.kept()
                };
                kept().map(Some).or_else(|e| absent(e, "listing the store"))
            }
            Err(fault) if fault.is_nothing_here() => Ok(None),
            Err(fault) => Err(fault),
        }
    }

    /// Charges a draft with `more` bytes if the tier's limits allow them.
    fn allow(&self, draft: &mut Draft, more: u64) -> Result<Option<Granted>, Fault> {
        let granted = self.budget.allow(draft.file.as_fd(), draft.in_memory, draft.len, more)?;
        self.budget.charge(more, || self.count_owned().ok().map(|(_, bytes)| bytes))?;
        draft.charged += more;
        Ok(granted)
    }

    /// Takes dead owners' rooms on a ground one after the other.
    pub fn each_dead_room(
        &self,
        ground: &Ground,
        deadline: Deadline,
        mut each: impl FnMut(RoomRef) -> Result<(), Fault>,
    ) -> Result<(), Fault> {
        let reading = |e| Fault::os(e, "reading the owner directories");
        ground.check().map_err(reading)?;
        let mut names = match Names::open(ground.owners.as_fd(), c".") {
            Err(libc::ENOENT) => return Ok(()), // removed
            answer => answer.map_err(reading)?,
        };
        let mut first = None;
        while let Some(id) = names.next().map_err(reading)? {
            let emptied = match room::take_dead(ground, id, deadline) {
                Ok(Some(dir)) => dir.borrow().map_err(reading).and_then(|dir| each(RoomRef { dir, id, ground })),
                Ok(None) | Err(libc::ENOENT | libc::ENOTDIR) => Ok(()), // alive, or gone meanwhile, or none of ours
                Err(e) => Err(reading(e)),
            };
            if let Err(fault) = emptied {
                first.get_or_insert(fault);
            }
        }
        first.map_or(Ok(()), Err)
    }

    /// The stores on this tier.
    pub fn stores(&self) -> Result<Option<Names>, Fault> {
        let ground = match self.ground(false) {
            Err(fault) if fault.is_nothing_here() => return Ok(None),
            answer => answer?,
        };
        let reading = |e| Fault::os(e, "reading the stores on a tier");
        ground.check().map_err(reading)?;
        Names::open(ground.base.borrow().map_err(reading)?, c".").map(Some).map_err(reading)
    }

    /// Gives up rooms that were removed under us; true where there were some.
    fn forget_lost_rooms(&self) -> bool {
        match &mut *lock(&self.rooms) {
            Rooms::Open(rooms) => forget_lost(rooms),
            Rooms::Closed => false,
        }
    }

    /// Removes the owner's link to a blob whose name is gone: our own, or by a look at each owner.
    pub fn unlink_owner(&self, ground: &Ground, key: &Key, found: &Found) -> Result<(), Fault> {
        if !found.has_owner {
            self.budget.removed_persistent(found.size);
            return Ok(());
        }
        if let Some((room, path)) = self.find_own(key, found)? {
            self.budget.removed(found.size);
            return sys::unlink(room.dir()?, path.as_c_str()).map_err(|e| Fault::os(e, "removing a blob's bytes"));
        }
        let owners = ground.owners.as_fd();
        room::owner_of(owners, key, found.ident)
            .and_then(|owner| owner.map_or(Ok(()), |owner| sys::unlink(owners, owner.link.as_c_str())))
            .map_err(|e| Fault::os(e, "removing a blob's bytes"))
    }

    /// The place of a writer in the queue for a key, until it goes; `None` where another waits already, or nothing can
    /// be locked.
    pub fn queue(&self, number: u64) -> Option<Hold> {
        let ground = self.ground(true).ok()?;
        sys::ofd_lock(ground.lock().ok()?, number | TURN, KeyLockMode::Exclusive).ok()?;
        Some(Hold { ground, number: number | TURN, own: None })
    }

    /// Locks the byte of a key on the current ground; `None` where another has it.
    fn try_hold(&self, ground: Shared<Ground>, number: u64, mode: KeyLockMode) -> Result<Option<Hold>, Fault> {
        let locking = |e| Fault::os(e, "locking a key");
        let own = match ground.lock() {
            Ok(_) => None,
            Err(_) => Some(sys::open(None, ground.lock_path(), Open::LockToShare).map_err(locking)?),
        };
        let fd = match &own {
            Some(own) => own.as_fd(),
            None => ground.lock().map_err(locking)?,
        };
        // Readers that come and go without end would keep a writer out for ever.
        if mode == KeyLockMode::InTurn && sys::ofd_is_locked(fd, number | TURN).map_err(locking)? {
            return Ok(None);
        }
        match sys::ofd_lock(fd, number, mode) {
            Ok(()) => Ok(Some(Hold { ground, number, own })),
            Err(libc::EAGAIN) => Ok(None),
            Err(e) => Err(locking(e)),
        }
    }
}

impl Drop for DirTier {
    fn drop(&mut self) {
        if self.kin.in_child() {
            sys::leave_if_locked(&mut self.ground, None);
            sys::leave_if_locked(&mut self.rooms, Rooms::Closed);
        }
    }
}

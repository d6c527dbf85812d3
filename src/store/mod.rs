//! Floor 3: the store. Which tier takes a blob, falling through to the next, one value per key, and lifetimes.
mod change;
mod health;
mod keys;
mod list;
#[cfg(all(test, loom))]
mod orders;
mod place;
mod reap;
mod stack;
#[cfg(test)]
mod tests;
mod view;
mod writer;

pub use list::List;
pub use view::View;
pub use writer::Writer;

use crate::error::{Code, Error, Fault, Repair, Result, WrongMode, lacks_room};
use crate::key::Key;
use crate::options::{Options, TierSpec};
use crate::sys::sync::atomic::{AtomicBool, Ordering::SeqCst};
use crate::sys::{self, Kin, NoMemory, Shared};
use crate::tier::any::AnyTier;
use crate::tier::dir::Mode;
use crate::tier::{Blob, Found, Tier};
use health::Logger;
use place::Placement;
use stack::{PATIENCE, Stack};
use std::ffi::CStr;
use std::mem::MaybeUninit;
use std::time::Duration;

/// How long opening waits for keys of dead owners that others hold.
const OPEN_PATIENCE: Duration = Duration::from_millis(100);

/// How many stores without blobs and handles opening removes from each tier.
const OPEN_STORES: usize = 1000;

/// How a blob is stored.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Flags {
    /// Over an existing key, atomically.
    pub replace: bool,
    /// Without an owner: it lives until it is removed.
    pub persist: bool,
}

/// What is known of a blob.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Stat {
    /// In bytes.
    pub size: u64,
    /// Since the Unix epoch; 0 if it is not known, since the filesystem did not keep it.
    pub stored_at_ns: u64,
    /// Differs between any two blobs that a key ever held.
    pub id: u64,
    /// The number of its tier, for [`Store::tier_stat`].
    pub tier: u32,
    /// Owned by this handle.
    pub owned: bool,
    /// It has no owner.
    pub persistent: bool,
    /// Its owner is dead. Told by [`Store::stat`] and [`List::next`] alone, since it costs a look at each owner.
    pub orphan: bool,
}

/// What a tier is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u32)]
pub enum TierKind {
    /// A directory whose filesystem is memory.
    Shm = 1,
    /// Any other directory.
    Dir = 2,
    /// This process's own memory.
    Memory = 3,
}

/// How a tier does.
#[derive(Clone, Copy, Debug)]
pub struct TierStat<'a> {
    /// It could be used when last tried.
    pub usable: bool,
    /// What it is.
    pub kind: TierKind,
    /// The errno of the last change that it refused or failed; 0: none yet.
    pub last_errno: i32,
    /// `None` for memory.
    pub dir: Option<&'a CStr>,
    /// Why the directories of this user on the tier are not used as they are.
    pub trouble: Option<Trouble<'a>>,
    /// Blobs of this handle's own that are there now.
    pub blobs: u64,
    /// Their bytes.
    pub bytes: u64,
    /// Blobs that this handle stored there since it was opened.
    pub stored: u64,
    /// Blobs that the tier refused since then.
    pub refused: u64,
    /// Of the filesystem; all 0 where there is none.
    pub free_bytes: u64,
    /// Of the filesystem.
    pub total_bytes: u64,
    /// Of the filesystem.
    pub free_inodes: u64,
    /// Of the filesystem.
    pub total_inodes: u64,
}

/// What keeps a tier from being used, and the command that mends it where there is one: its `Display` is the sentence.
#[derive(Clone, Copy, Debug)]
pub struct Trouble<'a> {
    fault: Fault,
    dir: &'a CStr,
    uid: u32,
}

impl std::fmt::Display for Trouble<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter) -> std::fmt::Result {
        write!(f, "{}", self.fault.what)?;
        if let Some(mode) = self.fault.mode {
            write!(f, ": {}", WrongMode(mode))?;
        }
        if self.fault.mode.is_some() {
            let aim = if self.fault.is_exposed() { "make it private again" } else { "give it its mode again" };
            write!(f, "; {aim}: {}", Repair { dir: self.dir.to_bytes(), uid: self.uid })?;
        }
        Ok(())
    }
}

/// What a store, its writers and its listings share.
struct Inner {
    stack: Stack,
    specs: Vec<TierSpec>,
    uid: u32,
    read_only: bool,
    logger: Logger,
    shut: AtomicBool,
    /// The shutdown is over.
    shut_down: AtomicBool,
    poisoned: AtomicBool,
}

/// An open store: a handle, and the owner of what it stores.
///
/// All methods may be called by any number of threads. Dropping it shuts it down: its own blobs are removed.
pub struct Store {
    inner: Shared<Inner>,
}

/// How a blob's stat tells whether its owner is dead: a look at each owner is not for every call.
#[derive(Clone, Copy)]
enum Orphans<'a> {
    Untold,
    Ask,
    /// These are the dead owners of its tier.
    Of(&'a [Box<[u8]>]),
}

impl Inner {
    /// Whether the handle can be read through.
    fn check_open(&self) -> Result<()> {
        sys::begin_call();
        match self.shut.load(SeqCst) {
            true => Err(Error::new(Code::Shutdown, "using a store")),
            false => Ok(()),
        }
    }

    /// Whether the handle may change the store.
    fn check_change(&self) -> Result<()> {
        if self.stack.kin.in_child() {
            return Err(Error::new(Code::Forked, "changing a store"));
        }
        if self.read_only {
            return Err(Error::new(Code::ReadOnly, "changing a store that was opened read-only"));
        }
        if self.poisoned.load(SeqCst) {
            return Err(Error::new(Code::Panic, "changing a store after an internal failure"));
        }
        self.check_open()
    }

    fn find(&self, key: &Key) -> Result<(usize, Blob)> {
        self.check_open()?;
        self.stack.find(key, |tier| tier.find(key))
    }

    fn look(&self, key: &Key) -> Result<(usize, Found)> {
        self.check_open()?;
        self.stack.find(key, |tier| tier.look(key))
    }

    fn stat(&self, index: usize, key: &Key, found: &Found, orphans: Orphans) -> Result<Stat> {
        let mut stat = Stat {
            size: found.size,
            stored_at_ns: found.known_time_ns(),
            id: found.id(),
            tier: index as u32,
            ..Stat::default()
        };
        let on_tier = |fault| self.stack.error(index, fault);
        match &self.stack.layers[index].tier {
            AnyTier::Memory(_) => (stat.owned, stat.persistent) = (found.has_owner, !found.has_owner),
            AnyTier::Dir(tier) if found.has_owner => {
                stat.owned = tier.owns(key, found).map_err(on_tier)?;
                stat.orphan = match orphans {
                    _ if stat.owned => false,
                    Orphans::Untold => false,
                    Orphans::Ask => tier.is_orphan(key, found).map_err(on_tier)?,
                    Orphans::Of(dead) => tier.is_owned_by(dead, key, found).map_err(on_tier)?,
                };
            }
            // One link may also mean that it is being removed just now.
            AnyTier::Dir(tier) => {
                stat.persistent = tier.look(key).ok().flatten().is_some_and(|now| now.ident == found.ident);
            }
        }
        Ok(stat)
    }

    /// Notes a failed change in the statistics of the tier that failed.
    fn note_failed(&self, error: Error) -> Error {
        if let Some(layer) = error.tier().and_then(|index| self.stack.layers.get(index))
            && error.errno() != 0
        {
            layer.health.failed(error.errno());
        }
        error
    }

    /// The first tier's refusal that counts once all have refused: one that hides what it has, one for lack of room, else
    /// the first.
    fn refusal(&self, faults: &[(usize, Fault)]) -> Error {
        let exposed = faults.iter().find(|(_, fault)| fault.is_exposed());
        let lacking = faults.iter().find(|(_, fault)| lacks_room(fault.errno));
        match (exposed.or(lacking), faults.first()) {
            (Some(&(index, fault)), _) if !fault.is_exposed() => self.stack.error(index, fault).meaning(Code::NoSpace),
            (Some(&(index, fault)), _) | (None, Some(&(index, fault))) => self.stack.error(index, fault),
            (None, None) => Error::new(Code::Io, "the store has no tier"),
        }
    }
}

fn no_memory(_: NoMemory) -> Error {
    Error::new(Code::NoMemory, "opening a store")
}

impl Store {
    /// Opens a store and removes what dead owners left on its tiers, in any store of this user.
    pub fn open(options: Options) -> Result<Store> {
        sys::begin_call();
        let name = options.name()?;
        let specs = options.tiers()?;
        let kin = Kin::here().map_err(|e| Fault::last(Code::NoMemory, e, "preparing for fork"))?;
        let (uid, read_only) = (sys::effective_uid(), options.read_only);
        if !sys::is_one_user(uid) {
            return Err(Error::new(Code::Permission, "opening a store as a user whom the user namespace does not map"));
        }
        let logger = Logger::new(options.log);
        let mode = if read_only { Mode::ReadOnly } else { Mode::Create };
        let stack = Stack::new(&specs, name, uid, mode, kin, Some(&logger))?;
        let [shut, shut_down, poisoned] = [(); 3].map(|()| AtomicBool::new(false));
        let inner = Inner { stack, specs, uid, read_only, logger, shut, shut_down, poisoned };
        inner.try_tiers()?;
        if !read_only {
            let _ = inner.reap(OPEN_PATIENCE, OPEN_STORES); // what cannot be removed now is for the next one
        }
        Ok(Store { inner: Shared::try_new(inner).map_err(no_memory)? })
    }

    /// Removes all that this handle owns and ends its use. A second one is `Ok`.
    pub fn shutdown(&self) -> Result<()> {
        self.inner.shutdown()
    }

    /// Stores `data` under `key` in the first tier that can take it.
    pub fn store(&self, key: &Key, data: &[u8], flags: Flags) -> Result<()> {
        let inner = &*self.inner;
        inner.check_change()?;
        let mut placement = Placement::new(inner, key, flags, data.len() as u64)?;
        let mut fill = |tier: &AnyTier, draft: &mut _, _: Option<place::Old>| tier.append(draft, data);
        let (index, draft) = placement.draft(0, 0, None, &mut fill)?;
        placement.publish(index, draft, &mut fill)
    }

    /// Reads from `offset` on into `buf`, as much as there is and fits. `stat` is of the very blob that was read.
    pub fn read_into(
        &self,
        key: &Key,
        offset: u64,
        buf: &mut [MaybeUninit<u8>],
        stat: Option<&mut Stat>,
    ) -> Result<usize> {
        let (index, blob) = self.inner.find(key)?;
        let told = match stat {
            Some(_) => self.inner.stat(index, key, &blob.found(), Orphans::Untold)?,
            None => Stat::default(),
        };
        let len = blob.read(offset, buf).map_err(|fault| self.inner.stack.error(index, fault))?;
        if let Some(stat) = stat {
            *stat = told;
        }
        Ok(len)
    }

    /// The whole blob, in memory of the caller's own.
    pub fn read(&self, key: &Key) -> Result<Vec<u8>> {
        let (index, blob) = self.inner.find(key)?;
        let no_memory = |_| Error::new(Code::NoMemory, "reading a blob");
        let size = usize::try_from(blob.found().size).map_err(|_| Error::new(Code::NoMemory, "reading a blob"))?;
        let mut bytes = Vec::new();
        bytes.try_reserve_exact(size).map_err(no_memory)?;
        sys::fill(&mut bytes, size, |space| blob.read(0, space))
            .map_err(|fault| self.inner.stack.error(index, fault))?;
        Ok(bytes)
    }

    /// Whether the key is there.
    pub fn has(&self, key: &Key) -> Result<bool> {
        match self.inner.look(key) {
            Ok(_) => Ok(true),
            Err(error) if error.code() == Code::NotFound => Ok(false),
            Err(error) => Err(error),
        }
    }

    /// What is known of the blob.
    pub fn stat(&self, key: &Key) -> Result<Stat> {
        let (index, found) = match self.inner.look(key)? {
            // What tells it from an earlier blob is asked of the open file.
            (_, found) if found.is_coarse() => self.inner.find(key).map(|(index, blob)| (index, blob.found()))?,
            seen => seen,
        };
        self.inner.stat(index, key, &found, Orphans::Ask)
    }

    /// Removes the key, whoever owns it.
    pub fn remove(&self, key: &Key) -> Result<()> {
        self.inner.check_change()?;
        let deadline = self.deadline();
        loop {
            let lock = self.inner.stack.lock(key, deadline.left())?;
            self.inner.check_open()?;
            if self.inner.stack.remove(&lock, key).map_err(|error| self.inner.note_failed(error))? {
                return Ok(());
            }
            drop(lock);
            // There was nothing to remove, so what a tier that cannot be changed says does not count: a look-up answers.
            self.inner.look(key)?;
            // Somebody stored it meanwhile.
            if deadline.is_over() {
                return Err(Error::new(Code::NotFound, "looking for a key"));
            }
        }
    }

    /// Removes the key if this handle owns it; else does nothing.
    pub fn remove_owned(&self, key: &Key) -> Result<()> {
        self.remove_owned_until(key, self.deadline())
    }

    /// How long one call may wait, from now on.
    pub(crate) fn deadline(&self) -> sys::Deadline {
        sys::Deadline::after(PATIENCE)
    }

    /// The same; the deadline is that of all keys of one call.
    pub(crate) fn remove_owned_until(&self, key: &Key, deadline: sys::Deadline) -> Result<()> {
        self.inner.check_change()?;
        self.inner.remove_owned(key, deadline)
    }

    /// The blob in place, read-only, for as long as the view lives.
    pub fn map(&self, key: &Key, stat: Option<&mut Stat>) -> Result<View> {
        let (index, blob) = self.inner.find(key)?;
        let told = match stat {
            Some(_) => self.inner.stat(index, key, &blob.found(), Orphans::Untold)?,
            None => Stat::default(),
        };
        let view = View::of(blob).map_err(|fault| self.inner.stack.error(index, fault))?;
        if let Some(stat) = stat {
            *stat = told;
        }
        Ok(view)
    }

    /// Begins a blob whose bytes come in parts. `size_hint` picks the first tier with room for that much; 0: unknown.
    pub fn create(&self, key: &Key, size_hint: u64, flags: Flags) -> Result<Writer> {
        self.inner.check_change()?;
        Writer::new(self.inner.clone(), key, size_hint, flags)
    }

    /// Lists the keys.
    pub fn list(&self) -> Result<List> {
        self.inner.check_open()?;
        List::new(self.inner.clone())
    }

    /// Removes what dead owners left on these tiers, in any store of this user; answers how many blobs and drafts.
    pub fn reap(&self) -> Result<u64> {
        self.inner.check_change()?;
        self.inner.reap(PATIENCE, usize::MAX)
    }

    /// How the tier `index` does; `None` past the last.
    pub fn tier_stat(&self, index: u32) -> Result<Option<TierStat<'_>>> {
        self.inner.check_open()?;
        self.inner.tier_stat(index)
    }

    /// After a panic nothing is changed through this handle any more.
    #[cfg(feature = "capi")]
    pub(crate) fn poison(&self) {
        self.inner.poisoned.store(true, SeqCst);
    }
}

impl Drop for Store {
    fn drop(&mut self) {
        if !self.inner.stack.kin.in_child() {
            /// Also after a bug in the shutdown: the host's callback must not be called any more.
            struct Closing<'a>(&'a Logger);
            impl Drop for Closing<'_> {
                fn drop(&mut self) {
                    self.0.close();
                }
            }
            let _closing = Closing(&self.inner.logger);
            let _ = self.inner.shutdown(); // what cannot be removed now is for a reaper
        }
    }
}

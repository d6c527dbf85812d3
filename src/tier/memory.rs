//! A tier in this process's own memory: its blobs are seen by their handle alone, and live until they are removed or
//! it is closed.
use super::dir::{MAX, beyond};
use super::{Blob, Found, Publish, Tier};
use crate::error::{Code, Fault};
use crate::key::Key;
use crate::sys::sync::atomic::{AtomicU64, Ordering};
use crate::sys::sync::{Mutex, MutexGuard};
use crate::sys::{self, Block, Ident, KeyLockMode, Kin, NoMemory, Region, Shared};
use std::collections::HashMap;
use std::hash::{BuildHasher, DefaultHasher, Hasher};
use std::ops::Deref;

/// A published blob.
pub struct Bytes {
    block: Block,
    ident: Ident,
    stored_at_ns: u64,
    persistent: bool,
}

impl Bytes {
    pub fn found(&self) -> Found {
        Found {
            ident: self.ident,
            size: self.block.len() as u64,
            stored_at_ns: self.stored_at_ns,
            has_owner: !self.persistent,
            generation: 0,
        }
    }
}

impl Deref for Bytes {
    type Target = [u8];
    fn deref(&self) -> &[u8] {
        &self.block
    }
}

/// Hashes with a secret, so that nobody chooses keys that collide.
struct Seeded(u64);

impl BuildHasher for Seeded {
    type Hasher = DefaultHasher;
    fn build_hasher(&self) -> DefaultHasher {
        let mut hasher = DefaultHasher::new();
        hasher.write_u64(self.0);
        hasher
    }
}

type Map = HashMap<Box<[u8]>, Shared<Bytes>, Seeded>;

struct State {
    blobs: Map,
    owned: (u64, u64),
    closed: bool,
}

pub struct MemoryTier {
    max: Option<u64>,
    state: Mutex<State>,
    /// Bytes of blobs and drafts.
    used: Shared<AtomicU64>,
    last_ident: AtomicU64,
    seed: u64,
    kin: Kin,
}

pub struct Draft {
    key: Key,
    block: Block,
    charged: u64,
    used: Shared<AtomicU64>,
}

impl Draft {
    pub fn bytes(&self) -> &[u8] {
        &self.block
    }
}

impl Drop for Draft {
    fn drop(&mut self) {
        self.used.fetch_sub(self.charged, Ordering::SeqCst);
    }
}

impl MemoryTier {
    pub fn new(max: Option<u64>, kin: Kin) -> Result<MemoryTier, NoMemory> {
        let seed = sys::random().unwrap_or(sys::monotonic_ns());
        Ok(MemoryTier {
            max,
            state: Mutex::new(State { blobs: HashMap::with_hasher(Seeded(seed)), owned: (0, 0), closed: false }),
            used: Shared::try_new(AtomicU64::new(0))?,
            last_ident: AtomicU64::new(0),
            seed,
            kin,
        })
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(|poisoned| poisoned.into_inner())
    }

    /// Whether it can hold no blob, so that a forked child, which cannot look, knows that it misses none.
    pub fn is_empty(&self) -> bool {
        self.used.load(Ordering::SeqCst) == 0 && self.last_ident.load(Ordering::SeqCst) == 0
    }

    /// Number and bytes of the blobs that the handle owns here.
    pub fn count_owned(&self) -> (u64, u64) {
        self.state().owned
    }

    /// Fails where `bytes` would not fit now.
    pub fn check_room(&self, bytes: u64) -> Result<(), Fault> {
        match self.max.map(|max| max.saturating_sub(self.used.load(Ordering::SeqCst))) {
            Some(left) if left < bytes => Err(beyond(libc::EDQUOT, MAX, left)),
            _ => Ok(()),
        }
    }

    /// Removes a key if it is owned.
    pub fn remove_owned(&self, key: &Key) -> Result<(), Fault> {
        let mut state = self.state();
        if state.blobs.get(key.as_bytes()).is_some_and(|bytes| !bytes.persistent) {
            self.forget(&mut state, key);
        }
        Ok(())
    }

    /// Removes what is owned and takes nothing any more.
    pub fn close(&self) {
        let mut state = self.state();
        state.closed = true;
        let used = &self.used;
        state.blobs.retain(|_, bytes| {
            if !bytes.persistent {
                used.fetch_sub(bytes.len() as u64, Ordering::SeqCst);
            }
            bytes.persistent
        });
        state.owned = (0, 0);
    }

    /// All keys, for a listing.
    pub fn keys(&self) -> Result<Vec<(Key, Found)>, NoMemory> {
        let state = self.state();
        let mut keys = Vec::new();
        keys.try_reserve_exact(state.blobs.len()).map_err(|_| NoMemory)?;
        keys.extend(state.blobs.iter().filter_map(|(key, bytes)| Some((Key::new(key).ok()?, bytes.found()))));
        Ok(keys)
    }

    fn charge(&self, draft: &mut Draft, more: u64) -> Result<(), Fault> {
        let before = self.used.fetch_add(more, Ordering::SeqCst);
        draft.charged += more;
        match self.max {
            Some(max) if before.saturating_add(more) > max => {
                self.uncharge(draft, more);
                Err(beyond(libc::EDQUOT, MAX, max.saturating_sub(before)))
            }
            _ => Ok(()),
        }
    }

    fn uncharge(&self, draft: &mut Draft, bytes: u64) {
        draft.charged -= bytes;
        self.used.fetch_sub(bytes, Ordering::SeqCst);
    }

    fn forget(&self, state: &mut State, key: &Key) {
        if let Some(old) = state.blobs.remove(key.as_bytes()) {
            self.used.fetch_sub(old.len() as u64, Ordering::SeqCst);
            if !old.persistent {
                state.owned.0 -= 1;
                state.owned.1 -= old.len() as u64;
            }
        }
    }
}

impl Drop for MemoryTier {
    fn drop(&mut self) {
        if self.kin.in_child() {
            let nothing = State { blobs: HashMap::with_hasher(Seeded(0)), owned: (0, 0), closed: true };
            sys::leave_if_locked(&mut self.state, nothing);
        }
    }
}

impl Tier for MemoryTier {
    /// The store's own lock inside the process is enough.
    type Hold = ();
    type Draft = Box<Draft>;

    fn find(&self, key: &Key) -> Result<Option<Blob>, Fault> {
        Ok(self.state().blobs.get(key.as_bytes()).cloned().map(Blob::Memory))
    }

    fn look(&self, key: &Key) -> Result<Option<Found>, Fault> {
        Ok(self.state().blobs.get(key.as_bytes()).map(|bytes| bytes.found()))
    }

    fn look_held(&self, _hold: &(), key: &Key) -> Result<Option<Found>, Fault> {
        self.look(key)
    }

    fn hold(&self, _number: u64, _mode: KeyLockMode) -> Result<Option<()>, Fault> {
        Ok(Some(()))
    }

    fn draft(&self, key: &Key) -> Result<Box<Draft>, Fault> {
        if self.state().closed {
            return Err(Fault::last(Code::Shutdown, 0, "making a draft"));
        }
        let draft = Draft { key: *key, block: Block::new(), charged: 0, used: self.used.clone() };
        sys::try_box(draft).map_err(|_| Fault::memory("making a draft"))
    }

    fn append(&self, draft: &mut Box<Draft>, data: &[u8]) -> Result<(), Fault> {
        let more = data.len() as u64;
        self.charge(draft, more)?;
        draft.block.append(data).map_err(|_| {
            self.uncharge(draft, more);
            Fault::os(libc::ENOMEM, "placing bytes in this process's memory")
        })
    }

    fn reserve(&self, draft: &mut Box<Draft>, len: usize) -> Result<Region, Fault> {
        self.charge(draft, len as u64)?;
        self.uncharge(draft, len as u64); // until it is appended
        Region::private(len).map_err(|_| Fault::memory("reserving memory for a writer"))
    }

    fn settle(&self, draft: &mut Box<Draft>, region: &Region) -> Result<(), Fault> {
        self.append(draft, region.bytes())
    }

    fn publish(&self, _hold: &(), draft: &mut Box<Draft>, how: Publish) -> Result<(), Fault> {
        let no_memory = |_| Fault::os(libc::ENOMEM, "publishing a blob in this process's memory");
        let mut state = self.state();
        if state.closed {
            return Err(Fault::last(Code::Shutdown, 0, "publishing a blob"));
        }
        if !how.over && state.blobs.contains_key(draft.key.as_bytes()) {
            return Err(Fault::os(libc::EEXIST, "publishing a blob"));
        }
        let key = sys::try_concat(&[draft.key.as_bytes()]).map_err(no_memory)?;
        state.blobs.try_reserve(1).map_err(|_| no_memory(NoMemory))?;
        let ino = self.last_ident.fetch_add(1, Ordering::SeqCst) + 1;
        let bytes = Bytes {
            block: std::mem::take(&mut draft.block),
            ident: Ident { dev: self.seed, ino },
            stored_at_ns: sys::clock_ns(libc::CLOCK_REALTIME),
            persistent: how.persist,
        };
        let len = bytes.len() as u64;
        // Where this fails the draft's bytes are lost with it, and the call fails.
        let blob = Shared::try_new(bytes).map_err(|_| Fault::memory("publishing a blob"))?;
        self.forget(&mut state, &draft.key);
        state.blobs.insert(key, blob);
        if !how.persist {
            state.owned.0 += 1;
            state.owned.1 += len;
        }
        draft.charged -= len; // the blob's charge from here on
        Ok(())
    }

    fn withdraw(&self, hold: &(), draft: &mut Box<Draft>) -> Result<(), Fault> {
        let key = draft.key;
        if let Some(found) = self.look(&key)? {
            self.remove(hold, &key, &found)?;
        }
        Ok(())
    }

    fn remove(&self, _hold: &(), key: &Key, _found: &Found) -> Result<(), Fault> {
        self.forget(&mut self.state(), key);
        Ok(())
    }

    /// `publish` has freed them already.
    fn release(&self, _hold: &(), _key: &Key, _found: &Found) {}
}

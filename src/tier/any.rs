//! Any of the tiers, so that a store can keep a list of them.
use super::dir::{self, DirTier};
use super::memory::{self, MemoryTier};
use super::{Blob, Found, Publish, Tier};
use crate::error::Fault;
use crate::key::Key;
use crate::sys::{KeyLockMode, Region};
use std::mem::MaybeUninit;
use std::os::fd::AsFd;

#[allow(clippy::large_enum_variant)] // there are a few of them in a process
pub enum AnyTier {
    Dir(DirTier),
    Memory(MemoryTier),
}

pub enum Hold {
    Dir(dir::Hold),
    Memory,
}

impl Hold {
    /// Whether it is a hold on what lies on this ground.
    pub fn is_on(&self, ground: &dir::Ground) -> bool {
        matches!(self, Hold::Dir(hold) if hold.ground.base_ident == ground.base_ident)
    }
}

pub enum Draft {
    // In boxes, since they are handed on.
    Dir(Box<dir::Draft>),
    Memory(Box<memory::Draft>),
}

impl Draft {
    pub fn len(&self) -> u64 {
        match self {
            Draft::Dir(draft) => draft.len,
            Draft::Memory(draft) => draft.bytes().len() as u64,
        }
    }

    /// Copies from `offset` on, as much as there is and fits: to move it to another tier.
    pub fn read(&self, offset: u64, buf: &mut [MaybeUninit<u8>]) -> Result<usize, Fault> {
        let rest = usize::try_from(self.len().saturating_sub(offset)).unwrap_or(usize::MAX);
        let want = rest.min(buf.len());
        match self {
            Draft::Dir(draft) => crate::sys::read_full(draft.file.as_fd(), &mut buf[..want], offset)
                .map_err(|e| Fault::os(e, "reading a draft back")),
            Draft::Memory(draft) => {
                for (to, &byte) in buf.iter_mut().zip(&draft.bytes()[offset as usize..][..want]) {
                    to.write(byte);
                }
                Ok(want)
            }
        }
    }

    /// For a draft that is held from one call of the library to the next: finds out which file it is, and whose.
    pub fn watch(&mut self) -> Result<(), Fault> {
        match self {
            Draft::Dir(draft) => draft.watch(),
            Draft::Memory(_) => Ok(()),
        }
    }

    /// Fails where what is watched was closed behind our back.
    pub fn check(&self) -> Result<(), Fault> {
        match self {
            Draft::Dir(draft) => draft.check(),
            Draft::Memory(_) => Ok(()),
        }
    }

    /// Sets its time to now.
    pub fn stamp(&self) -> Result<(), Fault> {
        match self {
            Draft::Dir(draft) => draft.stamp(),
            Draft::Memory(_) => Ok(()), // gets its time when it is published
        }
    }

    /// Sets its time to one that is certainly older than `old_ns`.
    pub fn stamp_before(&self, old_ns: u64) -> Result<(), Fault> {
        match self {
            Draft::Dir(draft) => draft.stamp_before(old_ns),
            Draft::Memory(_) => Ok(()),
        }
    }

    /// Sets its time to now, and in any case so that `old_ns` is certainly older.
    pub fn stamp_after(&self, old_ns: u64) -> Result<(), Fault> {
        match self {
            Draft::Dir(draft) => draft.stamp_after(old_ns),
            Draft::Memory(_) => Ok(()),
        }
    }
}

/// A draft or hold of another kind of tier: the store never mixes them.
const MIXED: Fault = Fault::os(libc::EINVAL, "using another tier's draft");

impl Tier for AnyTier {
    type Hold = Hold;
    type Draft = Draft;

    fn find(&self, key: &Key) -> Result<Option<Blob>, Fault> {
        match self {
            AnyTier::Dir(tier) => tier.find(key),
            AnyTier::Memory(tier) => tier.find(key),
        }
    }

    fn look(&self, key: &Key) -> Result<Option<Found>, Fault> {
        match self {
            AnyTier::Dir(tier) => tier.look(key),
            AnyTier::Memory(tier) => tier.look(key),
        }
    }

    fn look_held(&self, hold: &Hold, key: &Key) -> Result<Option<Found>, Fault> {
        match (self, hold) {
            (AnyTier::Dir(tier), Hold::Dir(hold)) => tier.look_held(hold, key),
            (AnyTier::Memory(tier), Hold::Memory) => tier.look_held(&(), key),
            _ => Err(MIXED),
        }
    }

    fn hold(&self, number: u64, mode: KeyLockMode) -> Result<Option<Hold>, Fault> {
        match self {
            AnyTier::Dir(tier) => Ok(tier.hold(number, mode)?.map(Hold::Dir)),
            AnyTier::Memory(tier) => Ok(tier.hold(number, mode)?.map(|()| Hold::Memory)),
        }
    }

    fn draft(&self, key: &Key) -> Result<Draft, Fault> {
        match self {
            AnyTier::Dir(tier) => tier.draft(key).map(Draft::Dir),
            AnyTier::Memory(tier) => tier.draft(key).map(Draft::Memory),
        }
    }

    fn append(&self, draft: &mut Draft, data: &[u8]) -> Result<(), Fault> {
        match (self, draft) {
            (AnyTier::Dir(tier), Draft::Dir(draft)) => tier.append(draft, data),
            (AnyTier::Memory(tier), Draft::Memory(draft)) => tier.append(draft, data),
            _ => Err(MIXED),
        }
    }

    fn reserve(&self, draft: &mut Draft, len: usize) -> Result<Region, Fault> {
        match (self, draft) {
            (AnyTier::Dir(tier), Draft::Dir(draft)) => tier.reserve(draft, len),
            (AnyTier::Memory(tier), Draft::Memory(draft)) => tier.reserve(draft, len),
            _ => Err(MIXED),
        }
    }

    fn settle(&self, draft: &mut Draft, region: &Region) -> Result<(), Fault> {
        match (self, draft) {
            (AnyTier::Dir(tier), Draft::Dir(draft)) => tier.settle(draft, region),
            (AnyTier::Memory(tier), Draft::Memory(draft)) => tier.settle(draft, region),
            _ => Err(MIXED),
        }
    }

    fn publish(&self, hold: &Hold, draft: &mut Draft, how: Publish) -> Result<(), Fault> {
        match (self, hold, draft) {
            (AnyTier::Dir(tier), Hold::Dir(hold), Draft::Dir(draft)) => tier.publish(hold, draft, how),
            (AnyTier::Memory(tier), Hold::Memory, Draft::Memory(draft)) => tier.publish(&(), draft, how),
            _ => Err(MIXED),
        }
    }

    fn withdraw(&self, hold: &Hold, draft: &mut Draft) -> Result<(), Fault> {
        match (self, hold, draft) {
            (AnyTier::Dir(tier), Hold::Dir(hold), Draft::Dir(draft)) => tier.withdraw(hold, draft),
            (AnyTier::Memory(tier), Hold::Memory, Draft::Memory(draft)) => tier.withdraw(&(), draft),
            _ => Err(MIXED),
        }
    }

    fn remove(&self, hold: &Hold, key: &Key, found: &Found) -> Result<(), Fault> {
        match (self, hold) {
            (AnyTier::Dir(tier), Hold::Dir(hold)) => tier.remove(hold, key, found),
            (AnyTier::Memory(tier), Hold::Memory) => tier.remove(&(), key, found),
            _ => Err(MIXED),
        }
    }

    fn release(&self, hold: &Hold, key: &Key, found: &Found) {
        if let (AnyTier::Dir(tier), Hold::Dir(hold)) = (self, hold) {
            tier.release(hold, key, found);
        }
    }
}

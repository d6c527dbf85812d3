//! Floor 2: one tier, a place that keeps blobs. It speaks of drafts, blobs and owners, not of files: a tier that
//! keeps its blobs in an arena, or behind a network, must fit [`Tier`].
pub mod any;
pub mod dir;
pub mod memory;
mod time;

use crate::error::Fault;
use crate::key::Key;
use crate::sys::{Ident, KeyLockMode, Region, Shared};
use std::mem::MaybeUninit;
use std::os::fd::AsFd;

/// A published blob as found under a key. A key that leads to another `ident` later leads to another blob.
#[derive(Clone, Copy, Debug)]
pub struct Found {
    pub ident: Ident,
    pub size: u64,
    pub stored_at_ns: u64,
    /// An owner holds on to it; without one it is persistent.
    pub has_owner: bool,
    /// Of the inode, where its number may have come back within the time's granularity; else 0. Only `find` tells it.
    pub generation: u32,
}

impl Found {
    /// A number that differs between any two blobs that a key ever held: which file it is and when it was written.
    pub fn id(&self) -> u64 {
        let mut id = self.ident.ino ^ self.ident.dev.rotate_left(40);
        for part in [self.stored_at_ns, self.size ^ u64::from(self.generation) << 32] {
            // One round of splitmix64 for each part.
            id = (id ^ part).wrapping_add(0x9E37_79B9_7F4A_7C15);
            id = (id ^ (id >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
            id = (id ^ (id >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
            id ^= id >> 31;
        }
        id
    }

    /// When it was stored; 0 where the filesystem did not keep that.
    pub fn known_time_ns(&self) -> u64 {
        if time::is_known(self.stored_at_ns) { self.stored_at_ns } else { 0 }
    }

    /// Whether its time alone does not tell it from an earlier blob that had its inode's number.
    pub fn is_coarse(&self) -> bool {
        time::is_coarse(self.stored_at_ns)
    }

    /// Whether it is certainly older than another blob. By times that a filesystem did not keep nothing is.
    pub fn is_older_than(&self, other: &Found) -> bool {
        time::is_older(self.stored_at_ns, other.stored_at_ns)
    }
}

/// A blob held open: its bytes stay, whatever happens to its name.
pub enum Blob {
    File(crate::sys::BlobFd, Found),
    Memory(Shared<memory::Bytes>),
}

impl Blob {
    pub fn found(&self) -> Found {
        match self {
            Blob::File(_, found) => *found,
            Blob::Memory(bytes) => bytes.found(),
        }
    }

    /// Copies from `offset` on, as much as there is and fits.
    pub fn read(&self, offset: u64, buf: &mut [MaybeUninit<u8>]) -> Result<usize, Fault> {
        let rest = self.found().size.saturating_sub(offset);
        let len = usize::try_from(rest).unwrap_or(usize::MAX).min(buf.len());
        match self {
            _ if len == 0 => Ok(0),
            Blob::File(fd, _) => {
                crate::sys::read_full(fd.as_fd(), &mut buf[..len], offset).map_err(|e| Fault::os(e, "reading a blob"))
            }
            Blob::Memory(bytes) => {
                let from = &bytes[offset as usize..][..len];
                for (to, &byte) in buf.iter_mut().zip(from) {
                    to.write(byte);
                }
                Ok(len)
            }
        }
    }
}

/// How a draft becomes a blob.
#[derive(Clone, Copy, Debug)]
pub struct Publish {
    /// Over the blob that has the key.
    pub over: bool,
    /// Without an owner.
    pub persist: bool,
}

/// The contract of a tier.
///
/// 1. A draft is seen by nobody. It has no bytes until `append` or `settle` says so, and what either refuses is not
///    in it: the same call may be tried again, or the draft read back and moved to another tier.
/// 2. `publish` makes the whole draft the blob of its key at one instant, or changes nothing.
/// 3. `find` and `look` need no lock and never see a draft, nor part of a blob.
/// 4. A blob once found stays readable through what was answered, whatever happens to its key.
/// 5. `publish`, `withdraw` and `remove` are called under a `hold` of the key; between a `look` under the same hold
///    and them, nobody else changes the key.
/// 6. Holds fall with the process. `hold` never waits: `None` says that another has it.
/// 7. What an owner published, and its drafts, can be told from others' and are gone after `close` and the removal
///    of what it lists, or after a reap once the owner is dead.
/// 8. A tier refuses with a [`Fault`]; it never raises a signal, waits without bound, or half-does.
pub trait Tier {
    /// A key held against others' changes.
    type Hold;
    /// A blob being written.
    type Draft;

    /// Opens a published blob.
    fn find(&self, key: &Key) -> Result<Option<Blob>, Fault>;
    /// Looks at a published blob.
    fn look(&self, key: &Key) -> Result<Option<Found>, Fault>;
    /// The same, of a key that is held: what a hold excludes is where this looks.
    fn look_held(&self, hold: &Self::Hold, key: &Key) -> Result<Option<Found>, Fault>;
    /// Holds a key by its number, for all stores on this tier.
    fn hold(&self, number: u64, mode: KeyLockMode) -> Result<Option<Self::Hold>, Fault>;
    /// Begins a draft.
    fn draft(&self, key: &Key) -> Result<Self::Draft, Fault>;
    /// Puts bytes behind the draft's end.
    fn append(&self, draft: &mut Self::Draft, data: &[u8]) -> Result<(), Fault>;
    /// Memory for `len` bytes behind the draft's end, that cannot fault.
    fn reserve(&self, draft: &mut Self::Draft, len: usize) -> Result<Region, Fault>;
    /// Makes the bytes of such memory part of the draft.
    fn settle(&self, draft: &mut Self::Draft, region: &Region) -> Result<(), Fault>;
    /// Makes the draft the blob of its key.
    fn publish(&self, hold: &Self::Hold, draft: &mut Self::Draft, how: Publish) -> Result<(), Fault>;
    /// Takes back what `publish` just did.
    fn withdraw(&self, hold: &Self::Hold, draft: &mut Self::Draft) -> Result<(), Fault>;
    /// Removes the blob that `look` found under this hold.
    fn remove(&self, hold: &Self::Hold, key: &Key, found: &Found) -> Result<(), Fault>;
    /// Frees the bytes of a blob that `publish` replaced under this hold.
    fn release(&self, hold: &Self::Hold, key: &Key, found: &Found);
}

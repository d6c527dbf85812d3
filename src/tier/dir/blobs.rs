//! What a directory tier does with drafts, blobs and holds: the contract of [`Tier`].
use super::draft::Draft;
use super::ground::absent_in;
use super::names::is_of_removed_file;
use super::{DirTier, GROUND_TRIES, Hold};
use crate::error::Fault;
use crate::key::Key;
use crate::sys::sync::atomic::Ordering::Relaxed;
use crate::sys::{self, BlobFd, KeyLockMode, Open, Region};
use crate::tier::{Blob, Found, Publish, Tier};
use std::os::fd::AsFd;

/// A blob of so many bytes is read for so long that a fork may well come in between.
const LONG_TO_READ: u64 = 64 << 10;

impl Tier for DirTier {
    type Hold = Hold;
    type Draft = Box<Draft>;

    fn find(&self, key: &Key) -> Result<Option<Blob>, Fault> {
        let opening = "opening a blob";
        if is_of_removed_file(key.as_bytes()) {
            return Ok(None);
        }
        let ground = match self.ground(false) {
            Err(fault) if fault.is_nothing_here() => return Ok(None),
            answer => answer?,
        };
        let file = match sys::open(Some(ground.objects.as_fd()), key.as_c_str(), Open::Read) {
            Ok(file) => file,
            Err(e) => return absent_in(ground.objects.as_fd(), key.as_c_str(), e, opening),
        };
        let mut found = ground.found(&sys::stat_fd(file.as_fd()).map_err(|e| Fault::os(e, opening))?)?;
        if found.is_coarse() {
            found.generation = sys::generation(file.as_fd()).unwrap_or(0); // most filesystems in user space have none
        }
        let file = match found.size {
            ..LONG_TO_READ => BlobFd::Brief(file),
            _ => BlobFd::noted(file).map_err(|_| Fault::memory(opening))?,
        };
        Ok(Some(Blob::File(file, found)))
    }

    fn look(&self, key: &Key) -> Result<Option<Found>, Fault> {
        if is_of_removed_file(key.as_bytes()) {
            return Ok(None);
        }
        let ground = match self.ground(false) {
            Err(fault) if fault.is_nothing_here() => return Ok(None),
            answer => answer?,
        };
        match sys::stat(Some(ground.objects.as_fd()), key.as_c_str()) {
            Ok(meta) => ground.found(&meta).map(Some),
            Err(e) => absent_in(ground.objects.as_fd(), key.as_c_str(), e, "looking for a blob"),
        }
    }

    fn look_held(&self, hold: &Hold, key: &Key) -> Result<Option<Found>, Fault> {
        hold.ground.look(key)
    }

    fn hold(&self, number: u64, mode: KeyLockMode) -> Result<Option<Hold>, Fault> {
        let to_change = mode == KeyLockMode::Exclusive;
        for _ in 0..GROUND_TRIES {
            let ground = self.ground(to_change)?;
            let Some(hold) = self.try_hold(ground.clone(), number, mode)? else {
                return Ok(None);
            };
            // Only now: while we waited the lock file, or all of it, may have been removed or hidden.
            if ground.is_lock_current() {
                ground.keep_cleaners_away();
                return Ok(Some(hold));
            }
            drop(hold);
            self.forget(&ground);
        }
        Err(Fault::os(libc::ESTALE, "locking a key: the tier's directories go away again and again"))
    }

    fn draft(&self, key: &Key) -> Result<Box<Draft>, Fault> {
        if is_of_removed_file(key.as_bytes()) {
            return Err(Fault::os(libc::EINVAL, "making a draft: filesystems give such names to removed files"));
        }
        let mut last = Fault::os(libc::ESTALE, "making a draft");
        for _ in 0..GROUND_TRIES {
            let ground = self.ground(true)?;
            match self.draft_on(&ground, key) {
                // Somebody removed our directories: make them anew.
                Err(fault) if fault.is_lost_ground() => {
                    last = fault;
                    if !self.forget_lost_rooms() || !ground.is_current() {
                        self.forget(&ground);
                    }
                }
                answer => return answer,
            }
        }
        Err(last)
    }

    fn append(&self, draft: &mut Box<Draft>, data: &[u8]) -> Result<(), Fault> {
        let more = data.len() as u64;
        let _until_written = self.allow(draft, more)?;
        if let Err(e) = sys::write_all(draft.file.as_fd(), data, draft.len) {
            draft.uncharge(more);
            let free = sys::space(draft.file.as_fd()).ok().map(|space| space.free_bytes);
            draft.torn = sys::truncate(draft.file.as_fd(), draft.len).is_err(); // gives back what was written of it
            return Err(Fault { free, ..Fault::os(e, "writing a blob") });
        }
        draft.len += more;
        Ok(())
    }

    fn reserve(&self, draft: &mut Box<Draft>, len: usize) -> Result<Region, Fault> {
        let no_memory = |_| Fault::memory("reserving memory for a writer");
        let more = len as u64;
        let _until_written = self.allow(draft, more)?;
        if !draft.in_memory {
            draft.uncharge(more); // until it is written
            return Region::private(len).map_err(no_memory);
        }
        let reserved = sys::reserve(draft.file.as_fd(), draft.len, more);
        let fault = match reserved {
            Ok(()) => match Region::of_file(draft.file.as_fd(), draft.len, len) {
                Ok(region) => return Ok(region),
                Err(e) => no_memory(e),
            },
            Err(e) => {
                let free = sys::space(draft.file.as_fd()).ok().map(|space| space.free_bytes);
                Fault { free, ..Fault::os(e, "reserving space for a writer") }
            }
        };
        draft.uncharge(more);
        if reserved.is_ok() {
            // It made the file longer: what is not handed out must not become part of the blob.
            let given_back = sys::truncate(draft.file.as_fd(), draft.len);
            draft.torn = given_back.is_err();
            given_back.map_err(|e| Fault::os(e, "releasing reserved space"))?;
        }
        match reserved {
            Err(libc::EOPNOTSUPP | libc::ENOSYS | libc::EPERM | libc::EINVAL | libc::EINTR) => {
                Region::private(len).map_err(no_memory)
            }
            _ => Err(fault),
        }
    }

    fn settle(&self, draft: &mut Box<Draft>, region: &Region) -> Result<(), Fault> {
        if region.is_private() {
            return self.append(draft, region.bytes());
        }
        draft.len += region.len() as u64;
        Ok(())
    }

    fn publish(&self, hold: &Hold, draft: &mut Box<Draft>, how: Publish) -> Result<(), Fault> {
        let publishing = |e| Fault::os(e, "publishing a blob");
        if hold.ground.owners_ident != draft.room.ground.owners_ident {
            return Err(publishing(libc::ESTALE));
        }
        if draft.torn {
            sys::truncate(draft.file.as_fd(), draft.len).map_err(publishing)?;
        }
        draft.begin_change();
        let room = draft.room.dir()?;
        let (objects, to) = (hold.ground.base()?, hold.ground.place(&draft.key));
        let from = draft.path();
        let (from, to) = (from.as_c_str(), to.as_c_str());
        let published = match how {
            Publish { over: false, persist: false } => sys::link(room, from, objects, to),
            Publish { over: true, persist: false } => {
                let spare = draft.room.spare();
                let moved = sys::link(room, from, room, spare.as_c_str())
                    .and_then(|()| sys::rename(room, spare.as_c_str(), objects, to));
                if moved.is_err() {
                    let _ = sys::unlink(room, spare.as_c_str()); // else it goes with the room
                }
                moved
            }
            Publish { over: false, persist: true } => match sys::rename_new(room, from, objects, to) {
                // Under the key's lock a look is as good; EPERM is what an old filter of system calls answers.
                Err(libc::EINVAL | libc::ENOSYS | libc::EOPNOTSUPP | libc::EPERM) => match sys::stat(Some(objects), to)
                {
                    Err(libc::ENOENT) => sys::rename(room, from, objects, to),
                    Ok(_) => Err(libc::EEXIST),
                    Err(e) => Err(e),
                },
                answer => answer,
            },
            Publish { over: true, persist: true } => sys::rename(room, from, objects, to),
        };
        if published == Err(libc::EXDEV) {
            draft.room.links_refused.store(true, Relaxed);
        }
        published.map_err(publishing).inspect_err(|_| draft.end_change())?;
        draft.published = true;
        draft.budget.published(draft.charged, draft.len, how.persist);
        Ok(())
    }

    fn withdraw(&self, hold: &Hold, draft: &mut Box<Draft>) -> Result<(), Fault> {
        hold.ground.unlink(&draft.key)?;
        match draft.room.dir().map(|dir| sys::unlink(dir, draft.path().as_c_str())) {
            Ok(Err(libc::ENOENT)) => draft.budget.removed_persistent(draft.len), // it has no link there
            _ => draft.budget.removed(draft.len),
        }
        Ok(())
    }

    fn remove(&self, hold: &Hold, key: &Key, found: &Found) -> Result<(), Fault> {
        self.budget.changing(|| {
            hold.ground.unlink(key)?;
            self.release(hold, key, found);
            Ok(())
        })
    }

    fn release(&self, hold: &Hold, key: &Key, found: &Found) {
        // Bytes that cannot be freed now go with their owner.
        let _ = self.unlink_owner(&hold.ground, key, found);
    }
}

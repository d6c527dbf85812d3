//! A blob being written: a file in its owner's room, and the bytes it is charged with.
use super::budget::Budget;
use super::room::{self, Room};
use crate::error::{Code, Fault};
use crate::key::Key;
use crate::sys::{self, Kin, Shared};
use crate::tier::time;
use std::os::fd::AsFd;

pub struct Draft {
    pub room: Shared<Room>,
    pub sub: u32,
    pub key: Key,
    pub file: sys::BlobFd,
    /// Bytes written.
    pub len: u64,
    /// Bytes reserved or written, as the budget knows them.
    pub charged: u64,
    pub budget: Shared<Budget>,
    /// It became a blob, and its name in the room is that blob's link now.
    pub published: bool,
    /// It is being published, and what it replaces not counted off yet: until it goes.
    pub changing: bool,
    /// Bytes that were refused are in the file, and could not be taken out.
    pub torn: bool,
    pub in_memory: bool,
    pub kin: Kin,
}

impl Draft {
    /// Finds out which file it is, and whose: this thread may act as another user than the one who opened the store, and
    /// nothing of another user may become a blob here.
    pub fn watch(&mut self) -> Result<(), Fault> {
        let looking = |e| Fault::os(e, "making a draft");
        let made = sys::stat_fd(self.file.as_fd()).map_err(looking)?;
        self.file.note(made.ident);
        match self.room.ground.is_of_user(&made).map_err(looking)? {
            true => Ok(()),
            false => Err(Fault::os(libc::EPERM, "making a draft: it became another user's file")),
        }
    }

    /// Fails where the process closed the descriptor of a draft that is watched: nothing is written to the file that has
    /// the number now, nor read from it.
    pub fn check(&self) -> Result<(), Fault> {
        self.file.check().map_err(|e| Fault::last(Code::Io, e, "going on with a blob"))
    }

    /// Takes back a charge for bytes that were refused.
    pub fn uncharge(&mut self, bytes: u64) {
        self.charged -= bytes;
        self.budget.refund(bytes);
    }

    pub fn begin_change(&mut self) {
        if !std::mem::replace(&mut self.changing, true) {
            self.budget.begin_change();
        }
    }

    pub fn end_change(&mut self) {
        if std::mem::take(&mut self.changing) {
            self.budget.end_change();
        }
    }

    /// Sets its time to now. Where the filesystem does not keep that, it is not known.
    pub fn stamp(&self) -> Result<(), Fault> {
        let now = sys::clock_ns(libc::CLOCK_REALTIME);
        let kept = self.set_time(now)?;
        self.keep_or_forget(now, kept)
    }

    /// Sets its time to now, and in any case so that `old_ns` is certainly older, if that is known.
    pub fn stamp_after(&self, old_ns: u64) -> Result<(), Fault> {
        if !time::is_known(old_ns) {
            return self.stamp();
        }
        let mut at = time::later(old_ns, sys::clock_ns(libc::CLOCK_REALTIME));
        let mut kept = self.set_time(at)?;
        if !time::is_older(old_ns, kept) {
            at = time::coarsely_later(old_ns);
            kept = self.set_time(at)?;
        }
        self.keep_or_forget(at, kept)
    }

    /// Sets its time to one that is certainly older than `old_ns`, if that is known: until the old blob is gone.
    pub fn stamp_before(&self, old_ns: u64) -> Result<(), Fault> {
        if !time::is_known(old_ns) {
            return self.stamp();
        }
        for at in [time::earlier(old_ns), time::coarsely_earlier(old_ns), time::earliest()] {
            if time::is_older(self.set_time(at)?, old_ns) {
                break;
            }
        }
        Ok(())
    }

    /// Sets its time, and answers what the filesystem kept of it.
    fn set_time(&self, at_ns: u64) -> Result<u64, Fault> {
        let stamping = |e| Fault::os(e, "setting a blob's time");
        sys::set_modified(self.file.as_fd(), at_ns).map_err(stamping)?;
        if at_ns <= self.room.exact_until_ns {
            return Ok(at_ns);
        }
        Ok(sys::stat_fd(self.file.as_fd()).map_err(stamping)?.modified_ns)
    }

    fn keep_or_forget(&self, set_ns: u64, kept_ns: u64) -> Result<(), Fault> {
        if time::is_kept(set_ns, kept_ns) {
            return Ok(());
        }
        let random = sys::random().map_err(|e| Fault::os(e, "setting a blob's time"))?;
        self.set_time(time::unknown(random)).map(drop)
    }

    /// Its name in the room.
    #[inline(always)]
    pub fn path(&self) -> super::ground::Path {
        room::file(self.sub, self.key.as_bytes())
    }
}

impl Drop for Draft {
    fn drop(&mut self) {
        self.end_change();
        if self.kin.in_child() {
            return; // a thread that is not in this process may hold what the rest needs
        }
        if !self.published {
            self.give_up();
        }
        self.room.end_draft(&self.key, self.sub);
    }
}

impl Draft {
    fn give_up(&mut self) {
        self.budget.refund(self.charged);
        let path = self.path();
        // By inode, not by name alone: somebody may have removed the file, and a thread made another of that name.
        let ours = self.file.ident().map_or_else(|| sys::stat_fd(self.file.as_fd()).map(|meta| meta.ident), Ok);
        if let (Ok(dir), Ok(ours)) = (self.room.dir(), ours)
            && sys::stat(Some(dir), path.as_c_str()).is_ok_and(|named| named.ident == ours)
        {
            let _ = sys::unlink(dir, path.as_c_str()); // else it dies with the room
        }
    }
}

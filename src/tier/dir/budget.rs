//! How much one handle may hold on a tier, and how much it leaves to others.
use crate::error::Fault;
use crate::options::Reserve;
use crate::sys::{self, MemoryLimit};
use std::os::fd::BorrowedFd;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering::SeqCst};

/// From this size on, a blob asks the filesystem of memory and the control group before it is written.
const BIG: u64 = 1 << 20;
const SECOND_NS: u64 = 1_000_000_000;

pub struct Budget {
    max: Option<u64>,
    reserve: Reserve,
    /// Bytes of drafts; of blobs that this handle owns; of persistent ones that it stored.
    drafts: AtomicU64,
    owned: AtomicU64,
    persistent: AtomicU64,
    /// Counts publishes and removals: a recount that saw one is thrown away.
    changes: AtomicU64,
    recounted_at: AtomicU64,
    group: Mutex<GroupLimit>,
}

/// What the control group left when last asked, and what was charged since.
struct GroupLimit {
    asked_at: u64,
    free: Option<u64>,
}

impl Budget {
    pub fn new(max: Option<u64>, reserve: Reserve) -> Budget {
        Budget {
            max,
            reserve,
            drafts: AtomicU64::new(0),
            owned: AtomicU64::new(0),
            persistent: AtomicU64::new(0),
            changes: AtomicU64::new(0),
            recounted_at: AtomicU64::new(0),
            group: Mutex::new(GroupLimit { asked_at: 0, free: None }),
        }
    }

    fn used(&self) -> u64 {
        self.drafts.load(SeqCst) + self.owned.load(SeqCst) + self.persistent.load(SeqCst)
    }

    /// Bytes that `max` leaves.
    pub fn left(&self) -> Option<u64> {
        self.max.map(|max| max.saturating_sub(self.used()))
    }

    /// Charges a draft with `bytes` more, or refuses. `recount` adds up what this handle owns.
    pub fn charge(&self, bytes: u64, recount: impl FnOnce() -> Option<u64>) -> Result<(), Fault> {
        let Some(max) = self.max else {
            self.drafts.fetch_add(bytes, SeqCst);
            return Ok(());
        };
        if self.try_charge(bytes, max) {
            return Ok(());
        }
        // Others may have removed blobs of ours; look again, but at most once a second.
        let now = sys::monotonic_ns();
        let last = self.recounted_at.load(SeqCst);
        if (last == 0 || now.saturating_sub(last) >= SECOND_NS)
            && self.recounted_at.compare_exchange(last, now, SeqCst, SeqCst).is_ok()
        {
            let before = self.changes.load(SeqCst);
            if let Some(owned) = recount()
                && self.changes.load(SeqCst) == before
            {
                self.owned.store(owned, SeqCst);
            }
            if self.try_charge(bytes, max) {
                return Ok(());
            }
        }
        let fault = Fault::os(libc::EDQUOT, "placing bytes within the tier's max=");
        Err(Fault { free: Some(max.saturating_sub(self.used())), ..fault })
    }

    fn try_charge(&self, bytes: u64, max: u64) -> bool {
        let after = self.drafts.fetch_add(bytes, SeqCst).saturating_add(bytes);
        let fits = after.saturating_add(self.owned.load(SeqCst)).saturating_add(self.persistent.load(SeqCst)) <= max;
        if !fits {
            self.refund(bytes);
        }
        fits
    }

    /// A draft gives bytes back.
    pub fn refund(&self, bytes: u64) {
        self.drafts.fetch_sub(bytes, SeqCst);
    }

    /// A draft of `charged` bytes became a blob of `len`.
    pub fn published(&self, charged: u64, len: u64, persist: bool) {
        let count = if persist { &self.persistent } else { &self.owned };
        count.fetch_add(len, SeqCst);
        self.refund(charged);
        self.changes.fetch_add(1, SeqCst);
    }

    /// A blob of this handle's is gone.
    pub fn removed(&self, len: u64) {
        let _ = self.owned.fetch_update(SeqCst, SeqCst, |owned| Some(owned.saturating_sub(len)));
        self.changes.fetch_add(1, SeqCst);
    }

    /// A persistent blob is gone: whoever stored it, since nothing tells. At worst another handle's is not counted here.
    pub fn removed_persistent(&self, len: u64) {
        let _ = self.persistent.fetch_update(SeqCst, SeqCst, |held| Some(held.saturating_sub(len)));
    }

    /// Refuses what would leave less than the reserve, go beyond the file-size limit (whose signal kills), or
    /// beyond the control group's memory (whose killer does).
    pub fn allow(&self, file: BorrowedFd, in_memory: bool, len: u64, more: u64) -> Result<(), Fault> {
        let limit = sys::file_size_limit();
        if len.saturating_add(more) > limit.min(i64::MAX as u64) {
            let fault = Fault::os(libc::EFBIG, "placing bytes within the process's file-size limit");
            return Err(Fault { free: Some(limit.saturating_sub(len)), ..fault });
        }
        let big = in_memory && len.saturating_add(more) >= BIG;
        // A big blob asks first: filling shared memory to its brim before it goes elsewhere would hurt others.
        if big || self.reserve != Reserve::Bytes(0) {
            self.leave_reserve(file, more)?;
        }
        if big {
            self.ask_group(more)?;
        }
        Ok(())
    }

    /// Bytes free above the reserve, or `None` where the filesystem reports no size.
    fn above_reserve(&self, space: &sys::Space) -> Option<u64> {
        let reserve = match self.reserve {
            Reserve::Bytes(bytes) => bytes,
            Reserve::Percent(percent) => (u128::from(space.total_bytes) * u128::from(percent) / 100) as u64,
        };
        (space.total_bytes != 0).then(|| space.free_bytes.saturating_sub(reserve))
    }

    fn leave_reserve(&self, file: BorrowedFd, more: u64) -> Result<(), Fault> {
        let asking = |e| Fault::os(e, "asking the filesystem for its room");
        match self.above_reserve(&sys::space(file).map_err(asking)?) {
            Some(free) if free < more => {
                let what = match self.reserve {
                    Reserve::Bytes(0) => "placing bytes in the filesystem's free space",
                    _ => "placing bytes above the tier's reserve=",
                };
                let fault = Fault::os(libc::ENOSPC, what);
                Err(Fault { free: Some(free), ..fault })
            }
            _ => Ok(()),
        }
    }

    fn ask_group(&self, more: u64) -> Result<(), Fault> {
        let now = sys::monotonic_ns();
        let mut group = self.group.lock().unwrap_or_else(|e| e.into_inner());
        if group.asked_at == 0 || now.saturating_sub(group.asked_at) >= SECOND_NS {
            *group = GroupLimit { asked_at: now, free: MemoryLimit { root: b"" }.free() };
        }
        match &mut group.free {
            Some(free) if *free < more => {
                let fault = Fault::os(libc::ENOMEM, "placing bytes within the control group's memory");
                Err(Fault { free: Some(*free), ..fault })
            }
            Some(free) => {
                *free -= more;
                Ok(())
            }
            None => Ok(()),
        }
    }

    /// Whether `bytes` more would fit now, as far as can be told without writing them.
    pub fn has_room(&self, space: &sys::Space, bytes: u64) -> bool {
        self.left().is_none_or(|left| left >= bytes)
            && self.above_reserve(space).is_none_or(|free| free >= bytes)
            && bytes <= sys::file_size_limit()
            && (!space.in_memory || bytes < BIG || MemoryLimit { root: b"" }.free().is_none_or(|free| free >= bytes))
    }
}

//! How much one handle may hold on a tier, and how much it leaves to others.
use crate::error::Fault;
use crate::options::Reserve;
use crate::sys::sync::atomic::{AtomicU64, Ordering::SeqCst};
use crate::sys::sync::shared_static;
use crate::sys::{self, Kin, MemoryLimit};
use std::os::fd::BorrowedFd;

/// From this size on, a blob asks the filesystem of memory and the control group before it is written.
const BIG: u64 = 1 << 20;
const SECOND_NS: u64 = 1_000_000_000;

pub const MAX: &str = "placing bytes within the tier's max=";
const FILE_SIZE: &str = "placing bytes within the process's file-size limit";
const GROUP_LIMIT: &str = "placing bytes within the control group's memory";

/// More was wanted than is free.
pub fn beyond(errno: i32, what: &'static str, free: u64) -> Fault {
    Fault { free: Some(free), ..Fault::os(errno, what) }
}

pub struct Budget {
    max: Option<u64>,
    reserve: Reserve,
    /// Bytes of drafts; of blobs that this handle owns; of persistent ones that it stored.
    drafts: AtomicU64,
    owned: AtomicU64,
    persistent: AtomicU64,
    /// Publishes and removals that began, and that are over: a recount that met one is thrown away.
    begun: AtomicU64,
    over: AtomicU64,
    recounted_at: AtomicU64,
}

/// What the control group left when last asked, and what was granted since, by all handles of this process. No lock: a
/// forked child would find it taken for ever. Sums only grow, and wrap.
struct GroupLimit {
    /// 0: never.
    asked_at: AtomicU64,
    /// Bytes granted so far; and those of them that are written, or were given back.
    granted: AtomicU64,
    written: AtomicU64,
    /// What was written when last asked, and what may be granted by then; `u64::MAX`: no limit.
    since: AtomicU64,
    until: AtomicU64,
    /// The process of these sums.
    generation: AtomicU64,
}

shared_static! {
    GROUP: GroupLimit = GroupLimit::new();
}

/// Bytes that the control group granted and that it does not know of yet: while this lives, they are being written.
#[must_use]
pub struct Granted {
    group: &'static GroupLimit,
    bytes: u64,
}

impl Drop for Granted {
    fn drop(&mut self) {
        self.group.wrote(self.bytes);
    }
}

/// A handle is opened in this process. In a forked child, what the parent's other threads were writing is written by
/// nobody.
pub fn enter_process(kin: Kin) {
    GROUP.enter(kin.generation());
}

impl GroupLimit {
    #[cfg(not(loom))]
    const fn new() -> GroupLimit {
        GroupLimit {
            asked_at: AtomicU64::new(0),
            granted: AtomicU64::new(0),
            written: AtomicU64::new(0),
            since: AtomicU64::new(0),
            until: AtomicU64::new(0),
            generation: AtomicU64::new(0),
        }
    }

    #[cfg(loom)]
    fn new() -> GroupLimit {
        let [asked_at, granted, written, since, until, generation] = [(); 6].map(|()| AtomicU64::new(0));
        GroupLimit { asked_at, granted, written, since, until, generation }
    }

    fn enter(&self, generation: u64) {
        let unwritten = self.granted.load(SeqCst).wrapping_sub(self.written.load(SeqCst));
        let before = self.generation.swap(generation, SeqCst);
        if before != generation && before != 0 {
            self.wrote(unwritten);
        }
    }

    fn wrote(&self, bytes: u64) {
        self.written.fetch_add(bytes, SeqCst);
    }

    /// How much may be granted beyond `granted`; `None`: no limit.
    fn left(&self, granted: u64) -> Option<u64> {
        let until = self.until.load(SeqCst);
        (until != u64::MAX).then(|| (until.wrapping_sub(granted) as i64).max(0) as u64)
    }

    /// Grants `more` bytes; or answers how many are left, where that is fewer. `ask` finds out anew: once a second, and
    /// after an eighth of what was left, since other processes of the group fill it too. Whoever finds it due asks, and
    /// waits for nobody; what was granted and was not written when it began to ask is taken off the answer.
    fn charge(&self, more: u64, now: u64, ask: impl FnOnce() -> Option<u64>) -> Result<(), u64> {
        let (last, since) = (self.asked_at.load(SeqCst), self.since.load(SeqCst));
        let granted = self.granted.load(SeqCst).wrapping_sub(since).saturating_add(more);
        let often = self.left(since).is_some_and(|free| granted > (free / 8).max(BIG));
        if last == 0 || now.abs_diff(last) >= SECOND_NS || often {
            let written = self.written.load(SeqCst);
            let until = ask().map_or(u64::MAX, |free| written.wrapping_add(free.min(i64::MAX as u64)));
            self.until.store(until, SeqCst);
            self.since.store(written, SeqCst);
            self.asked_at.store(now.max(1), SeqCst);
        }
        let mut left = 0;
        let granted = self.granted.fetch_update(SeqCst, SeqCst, |granted| {
            let free = self.left(granted);
            left = free.unwrap_or(0);
            free.is_none_or(|free| more <= free).then(|| granted.wrapping_add(more))
        });
        granted.map(|_| ()).map_err(|_| left)
    }
}

impl Budget {
    pub fn new(max: Option<u64>, reserve: Reserve) -> Budget {
        Budget {
            max,
            reserve,
            drafts: AtomicU64::new(0),
            owned: AtomicU64::new(0),
            persistent: AtomicU64::new(0),
            begun: AtomicU64::new(0),
            over: AtomicU64::new(0),
            recounted_at: AtomicU64::new(0),
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
        // Others may have removed blobs of ours; look again, but at most once a second (a test of races wants it often).
        let now = sys::monotonic_ns();
        let last = self.recounted_at.load(SeqCst);
        if (last == 0 || cfg!(test) || now.abs_diff(last) >= SECOND_NS)
            && self.recounted_at.compare_exchange(last, now, SeqCst, SeqCst).is_ok()
        {
            self.recount(recount);
            self.recounted_at.store(sys::monotonic_ns(), SeqCst); // of many blobs it takes long
            if self.try_charge(bytes, max) {
                return Ok(());
            }
        }
        Err(beyond(libc::EDQUOT, MAX, max.saturating_sub(self.used())))
    }

    /// Takes what `count` adds up for what is owned, unless a blob came or went meanwhile that the sum may have or lack.
    fn recount(&self, count: impl FnOnce() -> Option<u64>) {
        let over = self.over.load(SeqCst);
        let begun = self.begun.load(SeqCst);
        let before = self.owned.load(SeqCst);
        if over == begun
            && let Some(sum) = count()
            && self.begun.load(SeqCst) == begun
        {
            // What comes or goes from here on is counted from the sum on, or has been already and is counted next time.
            let _ = self.owned.compare_exchange(before, sum, SeqCst, SeqCst);
        }
    }

    /// Blobs of this handle come or go from here on, until `end_change`: first their files, then what is counted.
    pub fn begin_change(&self) {
        self.begun.fetch_add(1, SeqCst);
    }

    pub fn end_change(&self) {
        self.over.fetch_add(1, SeqCst);
    }

    /// The same, around `work`.
    pub fn changing<T>(&self, work: impl FnOnce() -> T) -> T {
        self.begin_change();
        let answer = work();
        self.end_change();
        answer
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
    }

    /// A blob of this handle's is gone.
    pub fn removed(&self, len: u64) {
        let _ = self.owned.fetch_update(SeqCst, SeqCst, |owned| Some(owned.saturating_sub(len)));
    }

    /// A persistent blob is gone: whoever stored it, since nothing tells. At worst another handle's is not counted here.
    pub fn removed_persistent(&self, len: u64) {
        let _ = self.persistent.fetch_update(SeqCst, SeqCst, |held| Some(held.saturating_sub(len)));
    }

    /// Refuses what would leave less than the reserve, go beyond the file-size limit (whose signal kills), or
    /// beyond the control group's memory (whose killer does). The answer lives until the bytes are written.
    pub fn allow(&self, file: BorrowedFd, in_memory: bool, len: u64, more: u64) -> Result<Option<Granted>, Fault> {
        let limit = sys::file_size_limit();
        if len.saturating_add(more) > limit.min(i64::MAX as u64) {
            return Err(beyond(libc::EFBIG, FILE_SIZE, limit.saturating_sub(len)));
        }
        let big = in_memory && len.saturating_add(more) >= BIG;
        // A big blob asks first: filling shared memory to its brim before it goes elsewhere would hurt others.
        if big || self.reserve != Reserve::Bytes(0) {
            self.leave_reserve(file, more)?;
        }
        if !big {
            return Ok(None);
        }
        GROUP
            .charge(more, sys::monotonic_ns(), || MemoryLimit { root: b"" }.free())
            .map_err(|free| beyond(libc::ENOMEM, GROUP_LIMIT, free))?;
        Ok(Some(Granted { group: &GROUP, bytes: more }))
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
        let asking = |e| Fault::os(e, "querying free space");
        self.check_reserve(&sys::space(file).map_err(asking)?, more)
    }

    fn check_reserve(&self, space: &sys::Space, more: u64) -> Result<(), Fault> {
        match self.above_reserve(space) {
            Some(free) if free < more => {
                let what = match self.reserve {
                    Reserve::Bytes(0) => "placing bytes in the filesystem's free space",
                    _ => "placing bytes above the tier's reserve=",
                };
                Err(beyond(libc::ENOSPC, what, free))
            }
            _ => Ok(()),
        }
    }

    /// Fails where `bytes` more would not fit now, as far as can be told without writing them.
    pub fn check(&self, space: &sys::Space, bytes: u64) -> Result<(), Fault> {
        let limit = sys::file_size_limit();
        if let Some(left) = self.left().filter(|&left| left < bytes) {
            return Err(beyond(libc::EDQUOT, MAX, left));
        }
        if bytes > limit {
            return Err(beyond(libc::EFBIG, FILE_SIZE, limit));
        }
        self.check_reserve(space, bytes)?;
        if !space.in_memory || bytes < BIG {
            return Ok(());
        }
        match (MemoryLimit { root: b"" }).free() {
            Some(free) if free < bytes => Err(beyond(libc::ENOMEM, GROUP_LIMIT, free)),
            _ => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn budget() -> Budget {
        let budget = Budget::new(Some(100), Reserve::Bytes(0));
        budget.charge(60, || None).unwrap();
        budget.published(60, 60, false);
        budget
    }

    #[test]
    fn what_others_removed_is_found_by_a_recount() {
        let budget = budget();
        assert!(budget.charge(50, || Some(60)).is_err());
        budget.charge(50, || Some(0)).unwrap();
        assert_eq!(budget.left(), Some(50));
    }

    #[test]
    fn a_recount_amid_a_change_neither_misses_nor_doubles_it() {
        // Its file is gone, but it is not counted yet.
        let leaving = budget();
        leaving.changing(|| {
            let _ = leaving.charge(50, || Some(0));
            leaving.removed(60);
        });
        assert_eq!(leaving.used(), 0);
        // It is there, but not counted yet.
        let coming = budget();
        coming.charge(30, || None).unwrap();
        coming.changing(|| {
            let _ = coming.charge(50, || Some(90));
            coming.published(30, 30, false);
        });
        assert_eq!(coming.used(), 90);
        // It came and went while the files were added up.
        for (then, sum) in [(0, 60), (0, 0), (90, 60), (90, 90)] {
            let meanwhile = budget();
            let _ = meanwhile.charge(50, || {
                meanwhile.changing(|| match then {
                    0 => meanwhile.removed(60),
                    _ => meanwhile.published(0, 30, false),
                });
                Some(sum)
            });
            let drafts = meanwhile.drafts.load(SeqCst);
            assert_eq!(meanwhile.used() - drafts, then, "the files summed to {sum}");
        }
    }

    #[test]
    fn the_groups_memory_is_asked_for_seldom_and_more_often_as_it_runs_out() {
        let group = GroupLimit::new();
        let mut asked = 0;
        let mut held = 0;
        let mut now = 7;
        // A stream in parts, and nobody else: it stops before the end, and has asked a few times.
        while group.charge(BIG, now, || {
            asked += 1;
            Some((64 * BIG) - held)
        }) == Ok(())
        {
            held += BIG;
            group.wrote(BIG);
        }
        assert!((60 * BIG..=64 * BIG).contains(&held), "{held}");
        assert!((3..40).contains(&asked), "{asked}");
        // Refused until it is asked again.
        assert!(group.charge(BIG, now, || Some(0)).is_err());
        now += SECOND_NS;
        assert_eq!(group.charge(BIG, now, || Some(10 * BIG)), Ok(()));
        group.wrote(BIG);
        assert_eq!(group.charge(20 * BIG, now + SECOND_NS, || Some(10 * BIG)), Err(10 * BIG));
    }

    #[test]
    fn eight_processes_that_fill_one_group_at_a_time_stay_within_it() {
        let groups: [GroupLimit; 8] = std::array::from_fn(|_| GroupLimit::new());
        let (all, mut held) = (256 * BIG, 0);
        let mut taking = true;
        while taking {
            taking = false;
            for group in &groups {
                if group.charge(BIG, 7, || Some(all - held.min(all))).is_ok() {
                    group.wrote(BIG);
                    (held, taking) = (held + BIG, true);
                }
            }
        }
        assert!(held <= all + 8 * BIG, "{} MiB of {}", held / BIG, all / BIG);
        assert!(held >= all / 2);
    }

    #[test]
    fn without_a_limit_nothing_is_refused() {
        let group = GroupLimit::new();
        assert_eq!(group.charge(1 << 50, 7, || None), Ok(()));
        assert_eq!(group.charge(1 << 50, 7, || unreachable!("asked a second time")), Ok(()));
    }

    #[test]
    fn what_is_granted_but_not_written_yet_is_not_granted_again() {
        let group = GroupLimit::new();
        let free = || Some(60 * BIG);
        // Another thread, while the first one asks: the first has not written when the other is granted.
        let first = group.charge(36 * BIG, 7, || {
            assert_eq!(group.charge(36 * BIG, 7, free), Ok(()));
            free()
        });
        assert_eq!(first, Err(24 * BIG));
        // Nor is it at the next answer, nor in a second; but what was refused counts for nothing.
        assert_eq!(group.charge(36 * BIG, 7 + SECOND_NS, free), Err(24 * BIG));
        assert_eq!(group.charge(20 * BIG, 7 + 2 * SECOND_NS, free), Ok(()));
        group.wrote(56 * BIG);
        assert_eq!(group.charge(36 * BIG, 7 + 3 * SECOND_NS, free), Ok(()));
        // A child that was forked while it was written: no thread of the child writes it.
        group.enter(1);
        assert_eq!(group.charge(36 * BIG, 7 + 4 * SECOND_NS, free), Err(24 * BIG));
        group.enter(2);
        assert_eq!(group.charge(36 * BIG, 7 + 5 * SECOND_NS, free), Ok(()));
    }
}

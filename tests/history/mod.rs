//! Eight threads on few keys of one store, through several handles and forked children. Every answer is kept with the times
//! at which its call began and ended, and must fit some order of all calls (`check.rs`).
//!
//! `VFS_MODEL_SECONDS` says how long, `VFS_MODEL_SEED` which calls; how the threads meet is the machine's. A round is some
//! hundred calls of each thread, after which all handles are closed, and nothing may be left; a failure tells its seed. In
//! three rounds of four the calls that make, remove and find names are delayed, and in two of these all threads read and
//! replace two keys alone, whose values move up and down between tiers.
//!
//! `tests/c/soak.c` has another model: it goes on for hours, across processes that are killed, and keeps for each key only
//! the time before which values are known to be gone. That lets pass what goes wrong among calls at the same time, such as
//! a key that is missing for a moment while it is replaced and others remove it, or two values seen back and forth. Here
//! whole histories are kept, which would not fit beside kills and hours.
mod check;
mod delays;

use crate::fuzzed::{self, last_error, new_stat, options, tier_of};
use check::{Act, Call, End, Owner, Value, check};
use std::collections::HashMap;
use std::ffi::{CStr, CString, c_void};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::PathBuf;
use std::ptr::null_mut;
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering::SeqCst};
use std::sync::{Mutex, RwLock};
use std::time::{Duration, Instant};
use vfs::ffi::vfs_code::*;
use vfs::ffi::*;

const REPLACE: u32 = vfs_store_flag::VFS_REPLACE as u32;
const PERSIST: u32 = vfs_store_flag::VFS_PERSIST as u32;
const READ_ONLY: u32 = vfs_open_flag::VFS_READ_ONLY as u32;

const THREADS: usize = 8;
const CALLS: usize = 250;
const LONGEST: usize = 20_000;
/// How long a round may take before it counts as one that hangs.
const PATIENCE: Duration = Duration::from_secs(120);

/// Who uses a key. Handles whose lists have the same tiers in the same order see the same; so a key that only they use has
/// one value for all of them. One whose tiers are some of these sees less, and stores what others do not see.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Kind {
    /// Is only ever replaced, by values whose owners do not end in the round: it is never missing.
    Kept,
    Strong,
    Shared,
    /// Of the handle with a memory tier alone: what lies there is seen by nobody else.
    Private,
}

const KEYS: [(&CStr, Kind); 9] = [
    (c"kept-0", Kind::Kept),
    (c"kept-1", Kind::Kept),
    (c"strong-0", Kind::Strong),
    (c"\xFF strong", Kind::Strong),
    (c"shared-0", Kind::Shared),
    (c"shared-1", Kind::Shared),
    (c"lock", Kind::Shared),
    (c"private-0", Kind::Private),
    (c"objects", Kind::Private),
];

/// The first of those that are strong.
const STRONG: usize = 2;

/// A handle: its tiers, whether it sees what the strong ones see, and whether it has all the tiers.
struct List {
    tiers: &'static str,
    strong: bool,
    whole: bool,
    flags: u32,
}

const LISTS: [List; 8] = [
    List { tiers: "A?max=9K,B?max=40K,C", strong: true, whole: true, flags: 0 },
    List { tiers: "A?max=2K,B,C", strong: true, whole: true, flags: 0 },
    List { tiers: "A,B,C?reserve=1", strong: true, whole: true, flags: 0 },
    List { tiers: "A,B,C", strong: true, whole: true, flags: READ_ONLY },
    List { tiers: "B?max=9K,C", strong: false, whole: false, flags: 0 },
    List { tiers: "C,A", strong: false, whole: false, flags: 0 },
    List { tiers: "A?max=16K", strong: false, whole: false, flags: 0 },
    List { tiers: "memory?max=9K,A?max=9K,B,C", strong: false, whole: true, flags: 0 },
];
const WITH_MEMORY: usize = 7;

#[derive(Clone, Copy)]
struct Dice(u64);

impl Dice {
    fn roll(&mut self, sides: usize) -> usize {
        self.0 = self.0.wrapping_mul(6364136223846793005).wrapping_add(1442695040888963407);
        ((self.0 >> 33) % sides as u64) as usize
    }
}

fn now() -> u64 {
    let mut time = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    // SAFETY: filled by the call. (A child of a fork asks too, of the same clock.)
    unsafe { libc::clock_gettime(libc::CLOCK_MONOTONIC, &mut time) };
    time.tv_sec as u64 * 1_000_000_000 + time.tv_nsec as u64
}

/// What a value is: its key, its number, its length, and bytes that follow from these. Allocates nothing.
fn fill(bytes: &mut [u8], key: usize, value: Value) {
    let len = bytes.len() as u64;
    let mut dice = Dice(value ^ (bytes.len() as u64) << 40 ^ (key as u64) << 32);
    for chunk in bytes.chunks_mut(8) {
        let word = dice.0.wrapping_mul(0x9E37_79B9_7F4A_7C15).to_ne_bytes();
        dice.roll(2);
        chunk.copy_from_slice(&word[..chunk.len()]);
    }
    bytes[..8].copy_from_slice(&value.to_ne_bytes());
    bytes[8..16].copy_from_slice(&(len | (key as u64) << 48).to_ne_bytes());
}

/// The number of the value that these bytes are; 0 where they are none of this key, or not whole. `space` is as long.
fn value_of(bytes: &[u8], key: usize, space: &mut [u8]) -> Value {
    if bytes.len() < 16 || bytes.len() > space.len() {
        return 0;
    }
    let value = u64::from_ne_bytes(bytes[..8].try_into().unwrap_or_default());
    let want = &mut space[..bytes.len()];
    fill(want, key, value);
    if want == bytes { value } else { 0 }
}

/// A handle that is open. Given back once, by whoever opens it anew.
struct Live {
    store: *mut vfs_t,
    owner: Owner,
}

// SAFETY: any number of threads may use a store.
unsafe impl Send for Live {}
// SAFETY: as above.
unsafe impl Sync for Live {}

/// What a round is like.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Round {
    Plain,
    Slow,
    Narrow,
}

const KINDS: [Round; 4] = [Round::Plain, Round::Narrow, Round::Slow, Round::Narrow];

impl Round {
    /// In a narrow round some read slowly, with time between two tiers for whole calls of others, some write, and some
    /// read as fast as they can what is there amid a write.
    fn pace(self, thread: usize) -> delays::Pace {
        let (makes, removes, looks, longest) = match (self, thread) {
            (Round::Plain, _) | (Round::Narrow, 6..) => (0, 0, 0, 0),
            (Round::Slow, _) => (4, 4, 12, 1500),
            (Round::Narrow, 4..6) => (0, 1, 0, 3000),
            (Round::Narrow, _) => (0, 0, 2, 12_000),
        };
        delays::Pace { makes, removes, looks, longest }
    }
}

struct World {
    kind: Round,
    tiers: Vec<CString>,
    handles: Vec<RwLock<Live>>,
    values: AtomicU64,
    owners: AtomicU32,
    failed: AtomicBool,
    /// Threads of a narrow round that are slow, and not done.
    slow: AtomicU32,
}

/// What a thread saw.
#[derive(Default)]
struct Seen {
    calls: Vec<(usize, usize, Call)>,
    ends: Vec<End>,
    owners: HashMap<Value, Owner>,
    /// The id of each value that was read.
    ids: Vec<(u64, (usize, Value))>,
    answers: HashMap<i32, u64>,
    forks: u64,
}

impl World {
    fn open(&self, list: usize) -> Live {
        let (mut store, mut tries) = (null_mut(), 0);
        loop {
            // SAFETY: valid options; `store` is ours.
            let status = unsafe { vfs_open(&options(None, &self.tiers[list], LISTS[list].flags), &mut store) };
            if status == 0 {
                break;
            }
            tries += 1;
            assert!(status == VFS_ERR_BUSY as i32 && tries < 3, "opening {:?}: {}", self.tiers[list], last_error());
        }
        Live { store, owner: self.owners.fetch_add(1, SeqCst) + 1 }
    }
}

/// What a forked child did, in memory that it shares with its parent.
#[repr(C)]
struct Report {
    steps: [Step; 8],
    count: usize,
    /// Where it went wrong; 0: nowhere.
    line: u32,
    status: i32,
}

#[repr(C)]
#[derive(Clone, Copy, Default)]
struct Step {
    key: usize,
    from: u64,
    to: u64,
    /// Read, or stored.
    value: Value,
    stored: bool,
    status: i32,
    id: u64,
}

struct Thread<'a> {
    world: &'a World,
    number: usize,
    dice: Dice,
    seen: Seen,
    data: Vec<u8>,
    space: Vec<u8>,
    report: *mut Report,
    view: Option<(vfs_view_t, usize, Value)>,
}

impl Thread<'_> {
    /// Notes a call on a key; fails where no handle may get such an answer.
    fn answered(&mut self, list: usize, how: &str, status: i32) {
        *self.seen.answers.entry(status.min(0)).or_default() += 1;
        let fine = [VFS_OK, VFS_ERR_NOT_FOUND, VFS_ERR_EXISTS, VFS_ERR_SHUTDOWN, VFS_ERR_BUSY].map(|code| code as i32);
        let read_only = status == VFS_ERR_READ_ONLY as i32 && LISTS[list].flags == READ_ONLY;
        // Where its lists ends with a limit; and a key that is in memory stays there.
        let full = status == VFS_ERR_NO_SPACE as i32 && (list == 6 || list == WITH_MEMORY);
        let fine = status > 0 || fine.contains(&status) || read_only || full;
        assert!(fine, "{how} through {:?}: {}", LISTS[list].tiers, last_error());
    }

    fn note(&mut self, list: usize, key: usize, from: u64, how: &'static str, act: Act) {
        let call = Call { from, to: now(), thread: self.number, how, act };
        self.seen.calls.push((key, list, call));
    }

    fn key_for(&mut self, list: usize, may_go: bool) -> usize {
        if self.world.kind == Round::Narrow {
            return self.dice.roll(2);
        }
        loop {
            let key = self.dice.roll(KEYS.len());
            let fits = match KEYS[key].1 {
                Kind::Kept => LISTS[list].strong && !may_go,
                Kind::Strong => LISTS[list].strong,
                Kind::Shared => list != WITH_MEMORY,
                Kind::Private => list == WITH_MEMORY,
            };
            if fits {
                return key;
            }
        }
    }

    /// What was read of a key is a whole value of it.
    fn judge(&mut self, key: usize, len: usize, id: u64, how: &str) -> Value {
        let value = value_of(&self.data[..len], key, &mut self.space);
        assert!(value != 0, "{how} of {:?}: {len} bytes that are no value of it", KEYS[key].0);
        self.seen.ids.push((id, (key, value)));
        value
    }

    fn read(&mut self, list: usize, store: *mut vfs_t) {
        let key = self.key_for(list, false);
        let (mut len, mut stat, from) = (0, new_stat(), now());
        let (into, cap) = (self.data.as_mut_ptr().cast(), self.data.len());
        // SAFETY: a buffer of that size.
        let status = unsafe { vfs_read(store, KEYS[key].0.as_ptr(), 0, into, cap, &mut len, &mut stat) };
        self.answered(list, "vfs_read", status);
        if status == 0 {
            assert_eq!(stat.size, len as u64);
            let to = now();
            let value = self.judge(key, len, stat.id, "vfs_read");
            let call = Call { from, to, thread: self.number, how: "vfs_read", act: Act::Read(value) };
            self.seen.calls.push((key, list, call));
        } else if status == VFS_ERR_NOT_FOUND as i32 {
            self.note(list, key, from, "vfs_read", Act::Absent);
        }
    }

    fn end_view(&mut self) {
        if let Some((mut view, key, value)) = self.view.take() {
            // SAFETY: a view of that many bytes, until it is given back.
            let bytes = unsafe { std::slice::from_raw_parts(view.data.cast::<u8>(), view.len) };
            assert_eq!(value_of(bytes, key, &mut self.space), value, "a view of {:?} changed", KEYS[key].0);
            // SAFETY: given back once.
            unsafe { vfs_unmap(&mut view) };
        }
    }

    fn map(&mut self, list: usize, store: *mut vfs_t) {
        self.end_view();
        let key = self.key_for(list, false);
        let (mut stat, from) = (new_stat(), now());
        let mut view = vfs_view_t { data: null_mut(), len: 0, owner: null_mut() };
        // SAFETY: outputs of ours.
        let status = unsafe { vfs_map(store, KEYS[key].0.as_ptr(), &mut view, &mut stat) };
        self.answered(list, "vfs_map", status);
        if status == 0 {
            let to = now();
            // SAFETY: a view of that many bytes.
            self.data[..view.len].copy_from_slice(unsafe { std::slice::from_raw_parts(view.data.cast(), view.len) });
            let value = self.judge(key, view.len, stat.id, "vfs_map");
            let call = Call { from, to, thread: self.number, how: "vfs_map", act: Act::Read(value) };
            self.seen.calls.push((key, list, call));
            self.view = Some((view, key, value));
        } else if status == VFS_ERR_NOT_FOUND as i32 {
            self.note(list, key, from, "vfs_map", Act::Absent);
        }
    }

    fn look(&mut self, list: usize, store: *mut vfs_t) {
        let (key, from, mut stat) = (self.key_for(list, false), now(), new_stat());
        let name = KEYS[key].0.as_ptr();
        let has = self.dice.roll(2) == 0;
        // SAFETY: a key; an output of ours.
        let status = unsafe { if has { vfs_has(store, name) } else { vfs_stat(store, name, &mut stat) } };
        self.answered(list, "vfs_stat or vfs_has", status);
        if status == i32::from(has) {
            self.note(list, key, from, "vfs_stat or vfs_has", Act::Present);
        } else if status == 0 || status == VFS_ERR_NOT_FOUND as i32 {
            self.note(list, key, from, "vfs_stat or vfs_has", Act::Absent);
        }
    }

    /// What a listing tells was there at some time since it began.
    fn list(&mut self, list: usize, store: *mut vfs_t) {
        let (mut listing, from) = (null_mut(), now());
        // SAFETY: an output of ours.
        let mut status = unsafe { vfs_list_open(store, &mut listing) };
        self.answered(list, "vfs_list_open", status);
        while status == 0 {
            let (mut key, mut stat) = (std::ptr::null(), new_stat());
            // SAFETY: a listing that is open; outputs of ours.
            status = unsafe { vfs_list_next(listing, &mut key, &mut stat) };
            self.answered(list, "vfs_list_next", status);
            if status != 0 {
                break;
            }
            // SAFETY: NUL-terminated, until the next call on this listing.
            let told = unsafe { CStr::from_ptr(key) };
            let key = KEYS.iter().position(|(name, _)| *name == told).expect("a key that was stored");
            assert!(stat.size >= 16 && stat.size <= LONGEST as u64, "{told:?} of {} bytes is listed", stat.size);
            let visible = KEYS[key].1 != Kind::Private || list == WITH_MEMORY;
            let strong = matches!(KEYS[key].1, Kind::Kept | Kind::Strong);
            if visible && (!strong || LISTS[list].strong) {
                self.note(list, key, from, "vfs_list_next", Act::Present);
            }
        }
        // SAFETY: given back once; NULL does nothing.
        unsafe { vfs_list_close(listing) };
    }

    /// A new value of a key, in `data`.
    fn new_value(&mut self, key: usize, owner: Owner, flags: u32) -> (Value, usize) {
        let value = self.world.values.fetch_add(1, SeqCst) + 1;
        let len = match self.dice.roll(12) {
            // (more than the first tier takes of this one, so that what it replaces moves down)
            _ if self.world.kind == Round::Narrow && self.number == 4 => 3000 + self.dice.roll(2000),
            0 => 16 + self.dice.roll(LONGEST - 16),
            1..=4 => 16 + self.dice.roll(5000),
            _ => 16 + self.dice.roll(400),
        };
        fill(&mut self.data[..len], key, value);
        if flags & PERSIST == 0 {
            self.seen.owners.insert(value, owner);
        }
        (value, len)
    }

    fn stored(&mut self, list: usize, key: usize, from: u64, how: &'static str, act: Act, status: i32) {
        self.answered(list, how, status);
        if status == 0 {
            self.note(list, key, from, how, act);
        } else if status == VFS_ERR_EXISTS as i32 {
            self.note(list, key, from, how, Act::Exists);
        } else if let Act::Store { value, .. } = act {
            self.seen.owners.insert(value, 0); // nobody may ever see it
        }
    }

    fn flags(&mut self, list: usize, key: usize) -> u32 {
        if KEYS[key].1 == Kind::Kept {
            // (no owner ends in a narrow round)
            let owned = self.world.kind == Round::Narrow && key == 1;
            return if owned { REPLACE } else { REPLACE | PERSIST };
        }
        // (in memory, what has no owner ends with the handle all the same)
        let any = if list == WITH_MEMORY { REPLACE } else { REPLACE | PERSIST };
        self.dice.roll(4) as u32 & any
    }

    fn store(&mut self, list: usize, store: *mut vfs_t, owner: Owner) {
        let key = self.key_for(list, false);
        let flags = self.flags(list, key);
        let (value, len) = self.new_value(key, owner, flags);
        let from = now();
        // SAFETY: that many bytes.
        let status = unsafe { vfs_store(store, KEYS[key].0.as_ptr(), self.data.as_ptr().cast(), len, flags) };
        let act = Act::Store { value, over: flags & REPLACE != 0 };
        self.stored(list, key, from, "vfs_store", act, status);
    }

    fn stream(&mut self, list: usize, store: *mut vfs_t, owner: Owner) {
        let key = self.key_for(list, false);
        let flags = self.flags(list, key);
        let (value, len) = self.new_value(key, owner, flags);
        let hint = if self.dice.roll(2) == 0 { len as u64 } else { 0 };
        let (mut writer, mut at, from) = (null_mut(), 0, now());
        // SAFETY: an output of ours.
        let mut status = unsafe { vfs_create(store, KEYS[key].0.as_ptr(), hint, flags, &mut writer) };
        while status == 0 && at < len {
            let part = (1 + self.dice.roll(len)).min(len - at);
            if self.dice.roll(3) == 0 {
                let mut memory: *mut c_void = null_mut();
                // SAFETY: the writer is this thread's own; that many bytes are writable.
                unsafe {
                    status = vfs_reserve(writer, part, &mut memory);
                    if status == 0 {
                        std::ptr::copy_nonoverlapping(self.data[at..].as_ptr(), memory.cast(), part);
                    }
                }
            } else {
                // SAFETY: that many bytes.
                status = unsafe { vfs_write(writer, self.data[at..].as_ptr().cast(), part) };
            }
            at += part;
        }
        if status == 0 && self.dice.roll(10) == 0 {
            status = VFS_ERR_SHUTDOWN as i32; // given up
        }
        // SAFETY: ended once; NULL does nothing.
        unsafe {
            match status {
                0 => status = vfs_seal(writer),
                _ => vfs_abort(writer),
            }
        }
        let act = Act::Store { value, over: flags & REPLACE != 0 };
        self.stored(list, key, from, "vfs_seal", act, status);
    }

    fn remove(&mut self, list: usize, store: *mut vfs_t) {
        let (key, from) = (self.key_for(list, true), now());
        // SAFETY: a key.
        let status = unsafe { vfs_remove(store, KEYS[key].0.as_ptr()) };
        self.answered(list, "vfs_remove", status);
        if status == 0 {
            self.note(list, key, from, "vfs_remove", Act::Remove);
        } else if status == VFS_ERR_NOT_FOUND as i32 {
            self.note(list, key, from, "vfs_remove", Act::Absent);
        }
    }

    fn remove_owned(&mut self, list: usize, store: *mut vfs_t, owner: Owner) {
        let (key, from) = (self.key_for(list, true), now());
        let keys = [KEYS[key].0.as_ptr()];
        // SAFETY: one key.
        let status = unsafe { vfs_remove_owned(store, keys.as_ptr(), 1) };
        self.answered(list, "vfs_remove_owned", status);
        if status == 0 {
            self.note(list, key, from, "vfs_remove_owned", Act::RemoveOwned(owner));
        }
    }

    /// Shuts a handle down while others use it; once they are out, closes it and opens another.
    fn reopen(&mut self, list: usize) {
        let handle = &self.world.handles[list];
        let (store, owner, from) = {
            let live = handle.read().unwrap_or_else(|e| e.into_inner());
            let from = now();
            // SAFETY: open for as long as the lock is held.
            let status = unsafe { vfs_shutdown(live.store) };
            self.answered(list, "vfs_shutdown", status);
            // What could not be removed is there until it is reaped.
            let to = if status == 0 { now() } else { u64::MAX };
            self.seen.ends.push(End { owner: live.owner, from, to });
            (live.store, live.owner, from)
        };
        let mut live = handle.write().unwrap_or_else(|e| e.into_inner());
        if live.owner == owner {
            // SAFETY: nobody uses it, and nobody else closes it.
            unsafe { vfs_close(store) };
            self.seen.ends.push(End { owner, from, to: now() });
            *live = self.world.open(list);
        }
    }

    /// A child reads through the handle that it inherits, is refused changes, closes it or not, has a store of its own, and
    /// closes that or not. It calls the library and the system alone, since other threads may hold anything.
    fn fork(&mut self, list: usize, store: *mut vfs_t) {
        let owner = self.world.owners.fetch_add(1, SeqCst) + 1;
        let (key, other) = (self.key_for(list, false), STRONG + self.dice.roll(2));
        let (value, len) = self.new_value(other, owner, 0);
        let dice = self.dice;
        self.dice.roll(2);
        let from = now();
        // SAFETY: shared with the child, which alone writes to it until it is waited for.
        unsafe { self.report.write_bytes(0, 1) };
        // SAFETY: see above of what the child does.
        let child = unsafe { libc::fork() };
        if child == 0 {
            // SAFETY: mapped; nobody else uses it now.
            let report = unsafe { &mut *self.report };
            let done = self.be_child(list, store, [key, other], (value, len), dice, report);
            // SAFETY: ends this process at once.
            unsafe { libc::_exit(if done { 0 } else { 1 }) }
        }
        assert!(child > 0, "fork: {}", std::io::Error::last_os_error());
        self.seen.forks += 1;
        let (mut state, until) = (0, Instant::now() + PATIENCE / 2);
        // SAFETY: our own child.
        while unsafe { libc::waitpid(child, &mut state, libc::WNOHANG) } == 0 {
            if Instant::now() > until {
                // SAFETY: our own child, which was not waited for.
                unsafe { libc::kill(child, libc::SIGKILL) };
                panic!("a forked child hangs");
            }
            std::thread::sleep(Duration::from_micros(300));
        }
        // SAFETY: the child is over.
        let report = unsafe { &*self.report };
        assert!(state == 0, "a forked child ended with {state:#x}: line {}, status {}", report.line, report.status);
        // What it did not remove at its end is there until somebody reaps.
        self.seen.ends.push(End { owner, from, to: u64::MAX });
        for step in &report.steps[..report.count] {
            // What the parent puts into its memory from the fork on, the child never sees.
            if KEYS[step.key].1 == Kind::Private {
                continue;
            }
            let act = match step.status {
                0 if step.stored => Act::Store { value: step.value, over: true },
                0 => Act::Read(step.value),
                -3 => Act::Absent,
                _ => continue,
            };
            let how = if step.stored { "vfs_store of a child" } else { "vfs_read of a child" };
            if matches!(act, Act::Read(_)) {
                self.seen.ids.push((step.id, (step.key, step.value)));
            }
            let call = Call { from: step.from, to: step.to, thread: self.number, how, act };
            // (its own store has the list 0)
            self.seen.calls.push((step.key, if step.stored { 0 } else { list }, call));
        }
    }

    /// In the child: false, with the line in the report, where something is not as it should be. Nothing here panics.
    fn be_child(
        &mut self,
        list: usize,
        store: *mut vfs_t,
        [key, other]: [usize; 2],
        (value, len): (Value, usize),
        mut dice: Dice,
        report: &mut Report,
    ) -> bool {
        macro_rules! unless {
            ($fine:expr, $status:expr) => {
                if !$fine {
                    (report.line, report.status) = (line!(), $status);
                    return false;
                }
            };
        }
        let mut read = |store: *mut vfs_t, key: usize, report: &mut Report, data: &mut [u8]| {
            let (mut got, mut stat, from) = (0, new_stat(), now());
            let (into, cap) = (data.as_mut_ptr().cast(), data.len());
            // SAFETY: a buffer of that size.
            let status = unsafe { vfs_read(store, KEYS[key].0.as_ptr(), 0, into, cap, &mut got, &mut stat) };
            let (to, value) = (now(), if status == 0 { value_of(&data[..got], key, &mut self.space) } else { 0 });
            if let Some(step) = report.steps.get_mut(report.count) {
                *step = Step { key, from, to, value, stored: false, status, id: stat.id };
                report.count += 1;
            }
            (status, status != 0 || value != 0)
        };
        // A second buffer would have to be allocated: the value is made again once it is needed.
        let fine = [VFS_OK, VFS_ERR_NOT_FOUND, VFS_ERR_SHUTDOWN, VFS_ERR_BUSY].map(|code| code as i32);
        let mut shut = false;
        for _ in 0..1 + dice.roll(2) {
            let (status, whole) = read(store, key, report, &mut self.data);
            unless!(whole, status);
            // What may be in the parent's memory cannot be told.
            unless!(fine.contains(&status) || status == VFS_ERR_FORKED as i32 && list == WITH_MEMORY, status);
            shut |= status == VFS_ERR_SHUTDOWN as i32;
        }
        // SAFETY: one byte.
        let status = unsafe { vfs_store(store, c"of a child".as_ptr(), [0u8].as_ptr().cast(), 1, REPLACE) };
        unless!(status == VFS_ERR_FORKED as i32 || shut && status < 0, status);
        // SAFETY: a key.
        let status = unsafe { vfs_remove(store, KEYS[key].0.as_ptr()) };
        unless!(status == VFS_ERR_FORKED as i32 || shut && status < 0, status);
        if dice.roll(2) == 0 {
            // SAFETY: closed once in this process.
            unsafe { vfs_close(store) };
        }
        if dice.roll(3) == 0 {
            return true; // ends amid all
        }
        let mut own = null_mut();
        // SAFETY: valid options.
        let status = unsafe { vfs_open(&options(None, &self.world.tiers[0], 0), &mut own) };
        unless!(status == 0 || status == VFS_ERR_BUSY as i32, status);
        if status != 0 {
            return true;
        }
        let (status, whole) = read(own, other, report, &mut self.data);
        unless!(whole && fine.contains(&status), status);
        if dice.roll(2) == 0 {
            fill(&mut self.data[..len], other, value);
            let from = now();
            // SAFETY: that many bytes.
            let status = unsafe { vfs_store(own, KEYS[other].0.as_ptr(), self.data.as_ptr().cast(), len, REPLACE) };
            unless!(status == 0 || status == VFS_ERR_BUSY as i32, status);
            if let Some(step) = report.steps.get_mut(report.count) {
                *step = Step { key: other, from, to: now(), value, stored: true, status, id: 0 };
                report.count += 1;
            }
            let (status, whole) = read(own, other, report, &mut self.data);
            unless!(whole && fine.contains(&status), status);
        }
        if dice.roll(3) != 0 {
            // SAFETY: closed once.
            unsafe { vfs_close(own) };
        }
        true
    }

    fn run(&mut self) {
        let waits = self.world.kind == Round::Narrow && self.number >= 4;
        let calls = if self.world.kind == Round::Narrow { CALLS / 3 } else { CALLS };
        for call in 0.. {
            // Those that are fast go on until the slow ones are done.
            let done = if waits { self.world.slow.load(SeqCst) == 0 || call > 40 * CALLS } else { call >= calls };
            if done || self.world.failed.load(SeqCst) {
                break;
            }
            let mut what = self.dice.roll(1000);
            // The strong ones most of the time.
            let mut list = if self.dice.roll(10) < 7 { self.dice.roll(4) } else { self.dice.roll(LISTS.len()) };
            if self.world.kind == Round::Narrow {
                let writes = (4..6).contains(&self.number);
                if self.number >= 6 {
                    std::thread::sleep(Duration::from_micros(50)); // to last as long as the slow ones
                }
                what = if writes { 480 } else { [16, 300][self.dice.roll(2)] }; // store, read, map
                list = if writes { self.number - 3 } else { 1 + self.dice.roll(3) };
            }
            if what < 8 {
                self.reopen(list);
                continue;
            }
            let live = self.world.handles[list].read().unwrap_or_else(|e| e.into_inner());
            let (store, owner) = (live.store, live.owner);
            match what {
                ..16 => self.fork(list, store),
                16..300 => self.read(list, store),
                300..380 => self.map(list, store),
                380..460 => self.look(list, store),
                460..480 => self.list(list, store),
                480..700 => self.store(list, store, owner),
                700..790 => self.stream(list, store, owner),
                790..930 => self.remove(list, store),
                930..970 => self.remove_owned(list, store, owner),
                970..985 => {
                    // SAFETY: NULL is allowed.
                    let status = unsafe { vfs_reap(store, null_mut()) };
                    self.answered(list, "vfs_reap", status);
                }
                _ => {
                    let mut stat = fuzzed::new_tier_stat();
                    // SAFETY: an output of ours.
                    let status = unsafe { vfs_tier_stat(store, self.dice.roll(4) as u32, &mut stat) };
                    self.answered(list, "vfs_tier_stat", status);
                }
            }
            drop(live);
        }
        self.end_view();
        if !waits {
            self.world.slow.fetch_sub(1, SeqCst);
        }
    }
}

/// Memory that children share.
fn shared_report() -> *mut Report {
    let (both, shared) = (libc::PROT_READ | libc::PROT_WRITE, libc::MAP_SHARED | libc::MAP_ANONYMOUS);
    // SAFETY: a new mapping, of zeroes, which are a report.
    let memory = unsafe { libc::mmap(null_mut(), size_of::<Report>(), both, shared, -1, 0) };
    assert_ne!(memory, libc::MAP_FAILED);
    memory.cast()
}

/// What lists that share only some tiers may see of a key: whole values (which was checked before), none of a call that
/// failed, of an owner that had ended, or from before a call that is known to have cleared all the tiers.
fn check_shared(calls: &[(usize, Call)], ends: &[End], owners: &HashMap<Value, Owner>) -> Result<(), String> {
    let stores: HashMap<Value, &Call> = calls
        .iter()
        .filter_map(|(_, call)| match call.act {
            Act::Store { value, .. } => Some((value, call)),
            _ => None,
        })
        .collect();
    let clears = calls.iter().filter(|(list, call)| {
        let all = matches!(call.act, Act::Remove | Act::Absent if call.how == "vfs_remove");
        LISTS[*list].whole && (all || matches!(call.act, Act::Store { over: true, .. }))
    });
    let clears: Vec<_> = clears.collect();
    for (_, call) in calls {
        let Act::Read(value) = call.act else { continue };
        let Some(store) = stores.get(&value) else {
            return Err(format!("{call:?}: that value was never stored, or its call failed"));
        };
        if store.from > call.to {
            return Err(format!("{call:?}: that value was stored later: {store:?}"));
        }
        let ended = ends.iter().find(|end| owners.get(&value) == Some(&end.owner) && end.to < call.from);
        if let Some(end) = ended {
            return Err(format!("{call:?}: that value's owner had ended: {store:?}, {end:?}"));
        }
        let cleared = clears.iter().find(|(_, clear)| clear.from > store.to && clear.to < call.from);
        if let Some(clear) = cleared {
            return Err(format!("{call:?}: that value was gone: {store:?}, {clear:?}"));
        }
    }
    Ok(())
}

/// All that the threads of a round saw fits together.
fn check_round(mut all: Seen) -> Result<(), String> {
    let mut values: HashMap<u64, (usize, Value)> = HashMap::new();
    for (id, value) in all.ids {
        if let Some(other) = values.insert(id, value).filter(|other| *other != value) {
            return Err(format!("the id {id:#x} is that of two values: {value:?} and {other:?}"));
        }
    }
    all.owners.retain(|_, owner| *owner != 0);
    for (key, (name, kind)) in KEYS.iter().enumerate() {
        let calls: Vec<_> =
            all.calls.iter().filter(|call| call.0 == key).map(|&(_, list, call)| (list, call)).collect();
        let checked = match kind {
            Kind::Shared => check_shared(&calls, &all.ends, &all.owners),
            Kind::Kept | Kind::Strong | Kind::Private => {
                let calls: Vec<_> = calls.into_iter().map(|(_, call)| call).collect();
                check(&calls, &all.ends, &all.owners)
            }
        };
        checked.map_err(|why| format!("{name:?}: {why}"))?;
    }
    Ok(())
}

/// One round; answers how many calls were checked, and how many forks there were.
fn round(seed: u64, kind: Round) -> (usize, u64) {
    let descriptors = fuzzed::open_descriptors();
    let scratch = tempfile::tempdir().expect("a scratch directory");
    let dirs = ["a", "b", "c"].map(|name| scratch.path().join(name));
    dirs.iter().for_each(|dir| std::fs::create_dir(dir).expect("a directory for a tier"));
    let named = |list: &List| {
        let at = |letter: &str, dir: &PathBuf, list: String| list.replace(letter, &tier_of(dir));
        // (the scratch directory's name may have these letters)
        let marks = list.tiers.replace('A', "\x01").replace('B', "\x02").replace('C', "\x03");
        let list = at("\x01", &dirs[0], marks);
        CString::new(at("\x03", &dirs[2], at("\x02", &dirs[1], list))).expect("no NUL")
    };
    let mut world = World {
        kind,
        tiers: LISTS.iter().map(named).collect(),
        handles: Vec::new(),
        values: AtomicU64::new(0),
        owners: AtomicU32::new(0),
        failed: AtomicBool::new(false),
        slow: AtomicU32::new(if kind == Round::Narrow { 4 } else { THREADS as u32 }),
    };
    world.handles = (0..LISTS.len()).map(|list| RwLock::new(world.open(list))).collect();
    let seen = Mutex::new(Seen::default());
    std::thread::scope(|scope| {
        for number in 0..THREADS {
            let (world, seen) = (&world, &seen);
            scope.spawn(move || {
                let (data, space) = (vec![0; LONGEST + 1], vec![0; LONGEST + 1]);
                let dice = Dice((seed ^ (number as u64 + 1) << 56).wrapping_mul(0x9E37_79B9_7F4A_7C15));
                let (report, own) = (shared_report(), Seen::default());
                let mut thread = Thread { world, number, dice, seen: own, data, space, report, view: None };
                delays::set(kind.pace(number));
                let ended = catch_unwind(AssertUnwindSafe(|| thread.run()));
                delays::set(delays::Pace::default());
                if let Err(panic) = ended {
                    world.failed.store(true, SeqCst);
                    std::panic::resume_unwind(panic);
                }
                // SAFETY: its own mapping.
                unsafe { libc::munmap(report.cast(), size_of::<Report>()) };
                let (mut all, own) = (seen.lock().unwrap(), thread.seen);
                all.calls.extend(own.calls);
                all.ends.extend(own.ends);
                all.owners.extend(own.owners);
                all.ids.extend(own.ids);
                all.forks += own.forks;
                own.answers.iter().for_each(|(status, count)| *all.answers.entry(*status).or_default() += count);
            });
        }
    });
    let mut all = seen.into_inner().unwrap();
    for handle in std::mem::take(&mut world.handles) {
        let live = handle.into_inner().unwrap();
        let from = now();
        // SAFETY: closed once.
        unsafe { vfs_close(live.store) };
        all.ends.push(End { owner: live.owner, from, to: now() });
    }
    // What dead children left is reaped now: what is left then has no owner.
    let last = world.open(2);
    // SAFETY: NULL is allowed.
    assert_eq!(unsafe { vfs_reap(last.store, null_mut()) }, 0, "{}", last_error());
    let reaped = now();
    all.ends.iter_mut().for_each(|end| end.to = end.to.min(reaped));
    assert!(all.owners.values().all(|&owner| owner == 0 || all.ends.iter().any(|end| end.owner == owner)));
    let (mut data, mut space) = (vec![0; LONGEST + 1], vec![0; LONGEST + 1]);
    for (key, (name, kind)) in KEYS.iter().enumerate() {
        let (mut len, mut stat, from) = (0, new_stat(), now());
        // SAFETY: a buffer of that size.
        let status = unsafe {
            vfs_read(last.store, name.as_ptr(), 0, data.as_mut_ptr().cast(), data.len(), &mut len, &mut stat)
        };
        let act = match status {
            0 => Act::Read(value_of(&data[..len], key, &mut space)),
            _ => Act::Absent,
        };
        assert!(status == 0 || status == VFS_ERR_NOT_FOUND as i32, "{}", last_error());
        all.calls.push((key, 2, Call { from, to: now(), thread: THREADS, how: "the last vfs_read", act }));
        if status == 0 {
            assert_eq!(stat.flags, vfs_stat_flag::VFS_STAT_PERSISTENT as u32, "{name:?} outlived its owner");
            assert_ne!(*kind, Kind::Private, "{name:?} outlived its handle");
            // SAFETY: a key.
            assert_eq!(unsafe { vfs_remove(last.store, name.as_ptr()) }, 0, "{}", last_error());
        }
    }
    assert_eq!(fuzzed::listed(last.store), Vec::<Vec<u8>>::new());
    // SAFETY: closed once.
    unsafe { vfs_close(last.store) };
    dirs.iter().for_each(|dir| fuzzed::assert_nothing_left(dir));
    assert_eq!(fuzzed::open_descriptors(), descriptors, "descriptors were left open");
    let (calls, forks) = (all.calls.len(), all.forks);
    if let Err(why) = check_round(all) {
        panic!("{why}");
    }
    (calls, forks)
}

fn number(name: &str) -> Option<u64> {
    std::env::var(name).ok().map(|text| text.parse().unwrap_or_else(|_| panic!("{name} is {text:?}")))
}

pub fn run() {
    let told = number("VFS_MODEL_SEED");
    let seconds = Duration::from_secs(number("VFS_MODEL_SECONDS").unwrap_or(20));
    let (begun, beginning) = (Instant::now(), told.unwrap_or(now()));
    let (mut rounds, mut calls, mut forks) = (0, 0, 0);
    while rounds == 0 || begun.elapsed() < seconds {
        // A seed that is told is that of each round: the threads meet in another way each time.
        let seed = if told.is_some() { beginning } else { beginning.wrapping_add(rounds) };
        let over = AtomicBool::new(false);
        let outcome = std::thread::scope(|scope| {
            scope.spawn(|| {
                let until = Instant::now() + PATIENCE;
                while !over.load(SeqCst) {
                    std::thread::park_timeout(Duration::from_millis(20));
                    if Instant::now() > until {
                        eprintln!("VFS_MODEL_SEED={seed}: the threads hang");
                        std::process::abort();
                    }
                }
            });
            let outcome = catch_unwind(|| round(seed, KINDS[rounds as usize % KINDS.len()]));
            over.store(true, SeqCst);
            outcome
        });
        let Ok((checked, forked)) = outcome else { panic!("failed with VFS_MODEL_SEED={seed}, after {rounds} rounds") };
        (rounds, calls, forks) = (rounds + 1, calls + checked, forks + forked);
    }
    println!("threads: {rounds} rounds, {calls} answers checked, {forks} forks");
}

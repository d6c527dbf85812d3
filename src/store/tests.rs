//! Every system call of every operation fails once, and from then on, with every errno that means something: the call
//! answers a documented code or goes to the next tier, a failed one has changed nothing, the next one works, and nothing
//! is left behind: no byte, no name, no descriptor.
//!
//! Each test prints how many points it tried (`-- --nocapture`). With `VFS_EVERY_FAULT=1` each errno also comes from the
//! N-th call on; else only one of each kind does.
#![allow(clippy::join_absolute_paths)] // a backslash is part of names of ours
mod blame;
mod operations;

use super::*;
use crate::options::{Level, Log};
use crate::sys::faults;
use operations::{NEW, OLD, OPERATIONS, Operation, PERSIST, REPLACE};
use std::collections::HashMap;
use std::fs;
use std::os::unix::fs::{DirBuilderExt, MetadataExt};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

/// One of each kind that the code tells from others.
const KINDS: &[i32] = &[
    libc::ENOSPC,
    libc::ENOMEM,
    libc::EACCES,
    libc::EIO,
    libc::EOPNOTSUPP,
    libc::ENOENT,
    libc::EINTR,
    libc::EMFILE,
    libc::EEXIST,
    libc::EAGAIN,
];
/// Others that `docs/DESIGN.md` names.
const OTHERS: &[i32] = &[
    libc::EDQUOT,
    libc::EFBIG,
    libc::EROFS,
    libc::EPERM,
    libc::EMLINK,
    libc::ENOLCK,
    libc::ENOSYS,
    libc::ENAMETOOLONG,
    libc::ENOTDIR,
    libc::ESTALE,
    libc::ENFILE,
    libc::EINVAL,
    libc::ELOOP,
    libc::EXDEV,
    libc::EBUSY,
    libc::ENOTEMPTY,
];

/// Each errno, once and from then on.
fn errnos() -> impl Iterator<Item = (i32, bool)> {
    let every = std::env::var_os("VFS_EVERY_FAULT").is_some();
    let from_then_on = KINDS.iter().chain(OTHERS.iter().filter(move |_| every));
    let once = KINDS.iter().chain(OTHERS);
    once.map(|&errno| (errno, false)).chain(from_then_on.map(|&errno| (errno, true)))
}

/// The codes that an errno may become: those of the table in `docs/DESIGN.md`, where some calls take it for an answer.
fn documented(errno: i32) -> &'static [Code] {
    match errno {
        libc::ENOSPC | libc::EDQUOT | libc::EFBIG => &[Code::NoSpace],
        libc::ENOMEM => &[Code::NoMemory, Code::NoSpace],
        libc::EMFILE | libc::ENFILE => &[Code::Limit],
        libc::EPERM => &[Code::Permission],
        // Of the tier's own directory: one that cannot be entered counts as missing.
        libc::EACCES => &[Code::Permission, Code::NotFound],
        // Of our directory: a link or a file in its place, in which nothing of ours can be.
        libc::ELOOP => &[Code::Permission, Code::NotFound],
        libc::ENOTDIR => &[Code::Io, Code::Permission, Code::NotFound],
        libc::EROFS => &[Code::ReadOnly],
        libc::EBUSY => &[Code::Busy],
        libc::EAGAIN => &[Code::Busy, Code::Io], // an answer to a lock alone
        libc::ENOSYS | libc::EOPNOTSUPP | libc::ENOLCK | libc::EINVAL | libc::EXDEV | libc::EMLINK => {
            &[Code::Unsupported]
        }
        libc::ENAMETOOLONG => &[Code::Unsupported, Code::NotFound],
        libc::EEXIST => &[Code::Exists, Code::Io, Code::Busy, Code::Unsupported],
        libc::ENOENT => &[Code::Io, Code::NotFound],
        _ => &[Code::Io],
    }
}

/// Whether a kernel that answers this to a look says of a blob that it is not there, though it is: then it is forgotten.
fn lies(errno: i32) -> bool {
    matches!(errno, libc::ENOENT | libc::ENAMETOOLONG)
}

fn key(name: &str) -> Key {
    Key::new(name).unwrap()
}

fn value_of(store: &Store, name: &str) -> Option<Vec<u8>> {
    match store.read(&key(name)) {
        Ok(bytes) => Some(bytes),
        Err(error) if error.code() == Code::NotFound => None,
        Err(error) => panic!("{error}"),
    }
}

fn value(store: &Store) -> Option<Vec<u8>> {
    value_of(store, "k")
}

fn open_descriptors() -> usize {
    fs::read_dir("/proc/thread-self/fd").unwrap().count()
}

fn options(tiers: &str, read_only: bool) -> Options<'_> {
    Options { tiers: Some(tiers.as_bytes()), read_only, ..Options::default() }
}

/// Directories for tiers, on a filesystem of this thread's own where that is allowed.
struct Ground {
    a: PathBuf,
    b: PathBuf,
    c: PathBuf,
    _scratch: tempfile::TempDir,
}

impl Ground {
    fn new() -> Ground {
        let scratch = tempfile::tempdir().unwrap();
        faults::own_tmpfs(scratch.path()); // for speed
        let [a, b, c] = ["a", "b", "c"].map(|name| scratch.path().join(name));
        [&a, &b, &c].into_iter().for_each(|dir| fs::create_dir(dir).unwrap());
        Ground { a, b, c, _scratch: scratch }
    }

    fn tiers(&self, list: &str) -> String {
        let dirs = [('A', &self.a), ('B', &self.b), ('C', &self.c)];
        let part = |part: &str| {
            let named =
                dirs.iter().find_map(|(name, dir)| Some(format!("{}{}", dir.display(), part.strip_prefix(*name)?)));
            named.unwrap_or(part.to_owned())
        };
        list.split(',').map(part).collect::<Vec<_>>().join(",")
    }

    fn open(&self, list: &str) -> Store {
        Store::open(options(&self.tiers(list), false)).unwrap()
    }

    fn default_store(tier: &Path) -> Option<PathBuf> {
        let base = fs::read_dir(tier).unwrap().next()?.unwrap().path();
        Some(base.join("default"))
    }

    /// What an owner leaves that is killed while it replaces a blob, streams two, and moves a link.
    fn leave_dead_owner(&self) {
        Self::leave_dead_owner_on(&self.a);
    }

    fn leave_dead_owner_on(tier: &Path) {
        let store = Self::default_store(tier).unwrap();
        let room = store.join("owners/00000000000000dd");
        for dir in [room.join("\\1"), store.join("objects")] {
            fs::DirBuilder::new().recursive(true).mode(0o700).create(dir).unwrap();
        }
        fs::write(room.join("dead"), "a dead one's").unwrap();
        fs::hard_link(room.join("dead"), store.join("objects/dead")).unwrap();
        fs::write(room.join("draft"), "half").unwrap();
        fs::write(room.join("\\1/dead"), "a draft of the same").unwrap();
        fs::hard_link(room.join("\\1/dead"), room.join("\\7.link")).unwrap();
    }

    /// The files of ours, by inode, with their sizes, but for the lock files.
    fn files(&self) -> HashMap<u64, (u64, PathBuf)> {
        fn walk(dir: &Path, all: &mut HashMap<u64, (u64, PathBuf)>) {
            for entry in fs::read_dir(dir).unwrap() {
                let entry = entry.unwrap();
                let meta = entry.metadata().unwrap();
                match meta.is_dir() {
                    true => walk(&entry.path(), all),
                    false if entry.file_name() == "\\lock" => assert_eq!(meta.len(), 0),
                    false => drop(all.insert(meta.ino(), (meta.len(), entry.path()))),
                }
            }
        }
        let mut all = HashMap::new();
        walk(&self.a, &mut all);
        walk(&self.b, &mut all);
        walk(&self.c, &mut all);
        all
    }

    fn bytes(&self) -> u64 {
        self.files().values().map(|(size, _)| size).sum()
    }

    /// Only the empty lock files may stay, once the last handle closed without a fault.
    fn assert_clean(&self, what: &str) {
        assert_eq!(self.files(), HashMap::new(), "{what}: files were left behind");
        for store in [&self.a, &self.b, &self.c].into_iter().filter_map(|tier| Self::default_store(tier)) {
            let stores = fs::read_dir(store.parent().unwrap()).into_iter().flatten().flatten();
            let left: Vec<_> = stores.map(|entry| entry.file_name()).filter(|name| name != "\\lock").collect();
            assert!(left.is_empty(), "{what}: directories were left behind: {left:?}");
        }
    }
}

/// Runs `test` on a thread whose descriptors and mounts are its own.
fn alone(test: impl FnOnce(&Ground) + Send) {
    std::thread::scope(|scope| {
        let thread = std::thread::Builder::new().name(std::thread::current().name().unwrap_or("").to_owned());
        let done = thread.spawn_scoped(scope, || {
            let _guard = faults::own_descriptors();
            test(&Ground::new());
        });
        if let Err(panic) = done.unwrap().join() {
            std::panic::resume_unwind(panic);
        }
    });
}

/// Calls `point` for the first call, the second, … until there is none, for each errno; answers how many there were.
fn each_point(mut point: impl FnMut(usize, i32, bool) -> bool) -> usize {
    errnos().map(|(errno, on)| (1..).take_while(|&nth| point(nth, errno, on)).count()).sum()
}

fn describe(name: &str, nth: usize, errno: i32, from_then_on: bool) -> String {
    let errno = crate::error::ErrnoName(errno);
    format!("{name}: call {nth} answers {errno}{}", if from_then_on { " from then on" } else { "" })
}

/// The calls that failed.
fn failed<'a>(calls: &'a [&'a str], nth: usize, from_then_on: bool) -> &'a [&'a str] {
    &calls[nth - 1..if from_then_on { calls.len() } else { nth }]
}

/// Fails unless a failed call says so as documented. `failed` are the calls that may have failed.
fn check_code(what: &str, error: &Error, errno: i32, failed: &[&str], also: &[Code]) {
    let code = error.code();
    if code == Code::NoMemory && failed.iter().any(|name| matches!(*name, "mmap" | "madvise")) {
        return; // whatever the errno
    }
    assert!(documented(errno).contains(&code) || also.contains(&code), "{what}: {code:?} is not documented: {error}");
    assert!(error.to_string().len() > code.text().len(), "{what}: {error}");
}

/// Runs one operation with the N-th call failing; false once there is no N-th call.
fn try_once(ground: &Ground, operation: &Operation, nth: usize, errno: i32, from_then_on: bool) -> bool {
    let what = describe(operation.name, nth, errno, from_then_on);
    let descriptors = open_descriptors();
    let in_memory = operation.tiers.iter().any(|tiers| tiers.contains("memory"));
    // The old value's owner lives on in a handle of its own, unless it is the one whose calls fail.
    let other = ground.open(operation.tiers[0]);
    other.store(&key("bystander"), b"whole", Flags::default()).unwrap();
    let store = Store::open(options(&ground.tiers(operation.tiers[1]), operation.read_only)).unwrap();
    if !operation.read_only {
        store.store(&key("warm"), b"", Flags::default()).unwrap();
    }
    (operation.prepare)(if operation.own { &store } else { &other });
    if operation.dead {
        ground.leave_dead_owner();
    }
    let (before, bytes) = (value(&store), ground.bytes());
    let (answer, calls) = faults::run(nth, None, errno, from_then_on, || (operation.run)(&store));
    let hit = calls.len() >= nth;
    let lied = hit && lies(errno);
    let after = value(&store);
    if !in_memory {
        assert_eq!(value(&other), after, "{what}: two handles see two values");
    }
    match &answer {
        _ if lied => {
            let known = [None, before.as_deref(), operation.after];
            assert!(known.contains(&after.as_deref()), "{what}: the value is {after:?}");
        }
        Ok(()) => assert_eq!(after.as_deref(), operation.after, "{what}: done, but the value is wrong after {calls:?}"),
        Err(error) => {
            // Only what takes a publish back can fail a second time; and one tier may have lost its blob already when it
            // cannot be told whether another one has one too.
            let half = from_then_on || operation.name.starts_with("remove_owned");
            assert!(
                after == before || half && after.as_deref() == operation.after,
                "{what}: failed with {error}, and the value is {after:?}"
            );
        }
    }
    if let Err(error) = &answer {
        assert!(hit, "{what}: {error}");
        // A tier that has no room by its `max=` speaks for all.
        let limited = operation.tiers[1].contains("max=");
        check_code(
            &what,
            error,
            errno,
            failed(&calls, nth, from_then_on),
            if limited { &[Code::NoSpace] } else { &[] },
        );
        if !from_then_on && !operation.dead && after == before {
            assert_eq!(ground.bytes(), bytes, "{what}: failed with {error}, and bytes are left");
        }
    }
    assert_eq!(other.read(&key("bystander")).unwrap(), b"whole", "{what}");
    // The next call of each kind works.
    if !operation.read_only {
        let works = |answer: Result<()>| answer.unwrap_or_else(|error| panic!("{what}: then {error}"));
        works(store.store(&key("next"), NEW, Flags::default()));
        works(store.store(&key("k"), NEW, REPLACE));
        assert_eq!(value(&store).as_deref(), Some(NEW), "{what}");
        works(if in_memory { store.remove(&key("k")) } else { other.remove(&key("k")) });
        works(store.reap().map(drop));
        assert!(lied || value_of(&store, "dead").is_none(), "{what}: a dead one's blob is there after a reap");
        assert!(lied || value(&store).is_none(), "{what}: something came up again");
    }
    drop(other);
    assert!(lied || operation.read_only || value(&store).is_none(), "{what}: something came up again");
    drop(store);
    let last = ground.open("A,B"); // reaps
    for name in ["k", "dead"] {
        while lied && value_of(&last, name).is_some() {
            last.remove(&key(name)).unwrap();
        }
    }
    drop(last);
    ground.assert_clean(&what);
    assert_eq!(open_descriptors(), descriptors, "{what}: descriptors were left open");
    hit
}

fn every_fault_of(names: &[&str]) {
    let chosen = |operation: &&Operation| names.iter().any(|name| operation.name.starts_with(name));
    alone(|ground| {
        for operation in OPERATIONS.iter().filter(chosen) {
            let points = each_point(|nth, errno, on| try_once(ground, operation, nth, errno, on));
            println!("{}: {points} points", operation.name);
            let calls_none = operation.name.contains("memory");
            assert!(calls_none || points > KINDS.len(), "no call of \"{}\" went through the seam", operation.name);
        }
    });
}

/// Errnos that say nothing of this process, and are no answer to a lock.
fn of_a_tier() -> impl Iterator<Item = i32> {
    let others = [libc::EMFILE, libc::ENFILE, libc::EAGAIN, libc::EINTR, libc::ENOMEM];
    errnos().map(|(errno, _)| errno).filter(move |errno| !others.contains(errno))
}

/// A removal needs a lock, one that finds nothing does not: it reported the tier that it could not lock.
#[test]
fn a_tier_that_cannot_be_locked_hides_no_answer() {
    alone(|ground| {
        let (store, other) = (ground.open("A,B"), ground.open("B"));
        other.store(&key("k"), OLD, Flags::default()).unwrap();
        for errno in of_a_tier() {
            let what = crate::error::ErrnoName(errno);
            for (nth, on) in [(1, false), (2, false), (1, true)] {
                let locks = Some("fcntl");
                let code = |answer: Result<()>| answer.err().map(|error| error.code());
                let failing = |work: &dyn Fn() -> Result<()>| code(faults::run(nth, locks, errno, on, work).0);
                assert_eq!(failing(&|| store.remove(&key("none"))), Some(Code::NotFound), "{what}");
                assert_eq!(failing(&|| store.remove_owned(&key("none"))), None, "{what}");
                assert_eq!(failing(&|| store.remove_owned(&key("k"))), None, "{what}");
                assert_eq!(failing(&|| store.store(&key("k"), NEW, Flags::default())), Some(Code::Exists), "{what}");
                assert_eq!(failing(&|| store.has(&key("none")).map(drop)), None, "{what}");
                assert_eq!(failing(&|| store.reap().map(drop)), None, "{what}");
                assert_eq!(value(&store).as_deref(), Some(OLD), "{what}");
            }
        }
    });
}

/// A handle that owns nothing has nothing to remove at its end, though its own directory stays where nothing can be
/// removed any more.
#[test]
fn an_owner_of_nothing_shuts_down_on_a_read_only_tier() {
    alone(|ground| {
        for errno in [libc::EROFS, libc::EACCES, libc::EPERM] {
            for holds in [false, true] {
                let store = ground.open("A,B");
                store.store(&key("k"), NEW, Flags::default()).unwrap();
                if !holds {
                    store.remove(&key("k")).unwrap();
                }
                let (answer, _) = faults::run(1, Some("unlinkat"), errno, true, || store.shutdown());
                assert_eq!(answer.is_err(), holds, "{}: {answer:?}", crate::error::ErrnoName(errno));
                drop(store);
                drop(ground.open("A,B")); // which reaps
                ground.assert_clean("then");
            }
        }
    });
}

#[test]
fn every_operation_is_tried() {
    let families = ["store", "replace", "persist", "stream", "remove", "reap", "look"];
    assert!(OPERATIONS.iter().all(|operation| families.iter().any(|name| operation.name.starts_with(name))));
}

#[test]
fn a_failed_store_changes_nothing_whichever_call_fails() {
    every_fault_of(&["store"]);
}

#[test]
fn a_failed_replace_leaves_the_old_value_whichever_call_fails() {
    every_fault_of(&["replace"]);
}

#[test]
fn a_failed_persistent_replace_leaves_the_old_value_whichever_call_fails() {
    every_fault_of(&["persist"]);
}

#[test]
fn a_failed_stream_changes_nothing_whichever_call_fails() {
    every_fault_of(&["stream"]);
}

#[test]
fn a_failed_remove_or_reap_loses_nothing_else_whichever_call_fails() {
    every_fault_of(&["remove", "reap"]);
}

#[test]
fn reading_fails_with_a_code_or_not_at_all_whichever_call_fails() {
    every_fault_of(&["look"]);
}

#[test]
fn a_store_opens_or_says_why_whichever_call_fails() {
    alone(|ground| {
        let points = each_point(|nth, errno, from_then_on| {
            let what = describe("open", nth, errno, from_then_on);
            let descriptors = open_descriptors();
            // On the first directory a dead owner's blobs, on the second nothing at all.
            drop(ground.open("A"));
            ground.leave_dead_owner();
            let tiers = ground.tiers("A,B");
            let (answer, calls) = faults::run(nth, None, errno, from_then_on, || Store::open(options(&tiers, false)));
            match answer {
                Ok(store) => {
                    store.store(&key("k"), NEW, Flags::default()).unwrap_or_else(|e| panic!("{what}: then {e}"));
                    assert_eq!(value(&store).as_deref(), Some(NEW), "{what}");
                }
                Err(error) => {
                    assert!(calls.len() >= nth, "{what}: {error}");
                    check_code(&what, &error, errno, failed(&calls, nth, from_then_on), &[]);
                }
            }
            let last = ground.open("A,B");
            if calls.len() >= nth && lies(errno) && value_of(&last, "dead").is_some() {
                last.remove(&key("dead")).unwrap();
            }
            drop(last);
            ground.assert_clean(&what);
            for dir in [&ground.a, &ground.b] {
                fs::remove_dir_all(dir).unwrap();
                fs::create_dir(dir).unwrap();
            }
            assert_eq!(open_descriptors(), descriptors, "{what}: descriptors were left open");
            calls.len() >= nth
        });
        println!("open: {points} points");
        assert!(points > KINDS.len());
    });
}

/// Ends a handle that owns blobs on both tiers, a draft, and a persistent blob.
fn every_fault_at_the_end(name: &str, end: fn(&Store) -> Result<()>) {
    alone(|ground| {
        let points = each_point(|nth, errno, from_then_on| {
            let what = describe(name, nth, errno, from_then_on);
            let descriptors = open_descriptors();
            let other = ground.open("A,B");
            other.store(&key("bystander"), b"whole", Flags::default()).unwrap();
            let store = ground.open("A?max=40,B,memory");
            for name in ["k", "l", "m", "n"] {
                store.store(&key(name), OLD, Flags::default()).unwrap();
            }
            store.store(&key("l"), NEW, REPLACE).unwrap();
            store.store(&key("kept"), b"", PERSIST).unwrap();
            let mut writer = store.create(&key("draft"), 0, Flags::default()).unwrap();
            writer.write(OLD).unwrap();
            let (answer, calls) = faults::run(nth, None, errno, from_then_on, || end(&store));
            let hit = calls.len() >= nth;
            if let Err(error) = &answer {
                assert!(hit, "{what}: {error}");
                check_code(&what, error, errno, failed(&calls, nth, from_then_on), &[]);
            }
            assert_eq!(writer.write(NEW).unwrap_err().code(), Code::Shutdown, "{what}");
            assert_eq!(writer.seal().unwrap_err().code(), Code::Shutdown, "{what}");
            assert_eq!(store.shutdown().ok(), Some(()), "{what}: a second one");
            assert_eq!(store.read(&key("kept")).unwrap_err().code(), Code::Shutdown, "{what}");
            drop(store);
            assert_eq!(other.read(&key("bystander")).unwrap(), b"whole", "{what}");
            drop(other);
            let next = ground.open("A,B");
            let mut list = next.list().unwrap();
            let mut left = Vec::new();
            while let Some((name, _)) = list.next().unwrap() {
                left.push(name.to_str().unwrap().to_owned());
            }
            drop(list);
            // A kernel that says of an owner's link that it is not there, though it is, has the blob outlive its owner.
            assert!(left == ["kept"] || hit && lies(errno), "{what}: {answer:?} left {left:?}");
            left.iter().for_each(|name| next.remove(&key(name)).unwrap());
            drop(next);
            ground.assert_clean(&what);
            assert_eq!(open_descriptors(), descriptors, "{what}: descriptors were left open");
            hit
        });
        println!("{name}: {points} points");
        assert!(points > KINDS.len());
    });
}

#[test]
fn a_sub_room_that_somebody_removed_is_made_anew() {
    let dir = tempfile::tempdir().unwrap();
    let tiers = dir.path().to_str().unwrap();
    let store = Store::open(options(tiers, false)).unwrap();
    for round in 0..3 {
        store.store(&key("k"), OLD, REPLACE).unwrap();
        store.store(&key("k"), NEW, REPLACE).unwrap_or_else(|error| panic!("{round}: {error}"));
        let rooms = Ground::default_store(dir.path()).unwrap().join("owners");
        let room = fs::read_dir(rooms).unwrap().next().unwrap().unwrap().path();
        fs::remove_dir_all(room.join("\\1")).unwrap();
    }
    assert_eq!(value(&store).as_deref(), Some(NEW));
    store.shutdown().unwrap();
}

/// Somebody moves a tier to another disk with `cp`. What the header says of both kinds of copies holds.
#[test]
fn a_copied_tier_has_what_the_header_says() {
    let scratch = tempfile::tempdir().unwrap();
    let at = |name: &str| scratch.path().join(name);
    fs::create_dir(at("original")).unwrap();
    let store = Store::open(options(at("original").to_str().unwrap(), false)).unwrap();
    store.store(&key("owned"), OLD, Flags::default()).unwrap();
    store.store(&key("persistent"), OLD, PERSIST).unwrap();
    let mut draft = store.create(&key("draft"), 0, Flags::default()).unwrap();
    draft.write(OLD).unwrap();
    for (how, links) in [("-r", false), ("-a", true)] {
        let copied = std::process::Command::new("cp").arg(how).arg(at("original")).arg(at(how)).status().unwrap();
        assert!(copied.success());
        let tiers = at(how).to_str().unwrap().to_owned();
        for _ in 0..2 {
            let copy = Store::open(options(&tiers, false)).unwrap(); // reaps
            copy.reap().unwrap();
            let persistent = |name| copy.stat(&key(name)).map(|stat| stat.persistent).ok();
            assert_eq!(persistent("persistent"), Some(true), "cp {how}");
            assert_eq!(persistent("owned"), if links { None } else { Some(true) }, "cp {how}");
            assert_eq!(persistent("draft"), None, "cp {how}");
        }
        let rooms = Ground::default_store(&at(how)).unwrap().join("owners");
        assert_eq!(
            fs::read_dir(rooms).map(|rooms| rooms.count()).unwrap_or(0),
            0,
            "cp {how}: an owner's directory stays"
        );
    }
    drop(draft);
    store.shutdown().unwrap();
}

/// While an operation stores, replaces or removes, another thread's refusal has all added up anew, before any of its
/// calls: what is counted in the end is what is there.
#[test]
fn what_max_counts_is_what_is_there_whenever_it_is_added_up() {
    type Change = fn(&Store) -> Result<()>;
    let changes: [Change; 5] = [
        |s| s.store(&key("k"), NEW, Flags::default()),
        |s| s.store(&key("k"), OLD, REPLACE),
        |s| s.store(&key("k"), NEW, REPLACE),
        |s| s.remove(&key("k")),
        |s| s.store(&key("k"), OLD, Flags::default()).and_then(|()| s.remove_owned(&key("k"))),
    ];
    let dir = tempfile::tempdir().unwrap();
    let tiers = format!("{}?max=1000", dir.path().display());
    let store: &Store = Box::leak(Box::new(Store::open(options(&tiers, false)).unwrap()));
    let (_, tier) = store.inner.stack.dirs().next().unwrap();
    let count = || tier.count_owned().unwrap().1;
    store.store(&key("bystander"), NEW, Flags::default()).unwrap();
    let add_up: &'static dyn Fn() = Box::leak(Box::new(move || {
        assert!(tier.budget.charge(1001, || Some(count())).is_err());
    }));
    let mut points = 0;
    for nth in 1.. {
        let mut met = false;
        for change in changes {
            met |= faults::interrupt(nth, add_up, || change(store).unwrap());
            assert_eq!(tier.budget.left(), Some(1000 - count()), "added up before call {nth}");
            points += 1;
        }
        if !met {
            break;
        }
    }
    println!("added up amid a change: {points} points");
    store.shutdown().unwrap();
}

#[test]
fn a_shutdown_goes_on_whichever_call_fails_and_a_reap_does_the_rest() {
    every_fault_at_the_end("shutdown", |store| store.shutdown());
}

/// The host frees what its callback uses once its store is closed.
#[test]
fn the_callback_is_not_called_once_a_close_is_over_whatever_broke_in_it() {
    struct Host(Arc<AtomicUsize>);
    impl Log for Host {
        fn log(&self, _: Level, _: &CStr) {
            self.0.fetch_add(1, Ordering::Relaxed);
        }
    }
    for nth in 1.. {
        let scratch = tempfile::tempdir().unwrap();
        let heard = Arc::new(AtomicUsize::new(0));
        let log: Option<Box<dyn Log>> = Some(Box::new(Host(heard.clone())));
        let tiers = scratch.path().to_str().unwrap().as_bytes();
        let store = Store::open(Options { tiers: Some(tiers), log, ..Options::default() }).unwrap();
        store.store(&Key::new("k").unwrap(), b"value", Flags::default()).unwrap();
        let under_way = store.inner.clone(); // as another thread's call has it
        under_way.logger.say(Level::Info, format_args!("heard"));
        let close = || catch_unwind(AssertUnwindSafe(|| drop(store)));
        let (closed, calls) = faults::run(nth, None, faults::PANIC, false, close);
        assert_eq!(closed.is_err(), calls.len() >= nth, "call {nth}");
        under_way.logger.say(Level::Info, format_args!("not heard"));
        assert_eq!(heard.load(Ordering::Relaxed), 1, "call {nth}");
        if closed.is_ok() {
            assert!(nth > 5);
            break;
        }
    }
}

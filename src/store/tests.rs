//! Every system call of every operation fails once, and from then on, with every errno that means something: the call
//! answers a documented code or goes to the next tier, a failed one has changed nothing, the next one works, and nothing
//! is left behind.
use super::*;
use crate::sys::faults;
use std::path::Path;

const ERRNOS: [i32; 9] = [
    libc::ENOSPC,
    libc::EIO,
    libc::EACCES,
    libc::ENOENT,
    libc::ESTALE,
    libc::EMFILE,
    libc::ENOMEM,
    libc::EOPNOTSUPP,
    libc::EEXIST,
];

/// A kernel that says of a blob that it is not there, though it is, has it forgotten.
fn errnos(lies_forget: bool) -> impl Iterator<Item = i32> {
    ERRNOS.into_iter().filter(move |&errno| errno != libc::ENOENT || !lies_forget)
}

const OLD: &[u8] = b"the old value";
const NEW: &[u8] = b"the new value, which is longer";

struct Ground {
    dirs: [tempfile::TempDir; 2],
}

impl Ground {
    fn new() -> Ground {
        Ground { dirs: [tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap()] }
    }

    fn open(&self, first: &str) -> Store {
        let [a, b] = self.dirs.each_ref().map(|dir| dir.path().display());
        let tiers = format!("{a}{first},{b}");
        Store::open(Options { tiers: Some(tiers.as_bytes()), ..Options::default() }).unwrap()
    }

    /// Only directories and empty files may stay.
    fn assert_clean(&self, what: &str) {
        fn walk(dir: &Path, what: &str) {
            for entry in std::fs::read_dir(dir).unwrap() {
                let path = entry.unwrap().path();
                match path.is_dir() {
                    true => walk(&path, what),
                    false => assert_eq!(path.file_name().unwrap(), "\\lock", "{what}: {path:?} was left behind"),
                }
            }
        }
        self.dirs.iter().for_each(|dir| walk(dir.path(), what));
        let rooms = |dir: &tempfile::TempDir| {
            let owners = glob(dir.path());
            owners.iter().map(|owners| std::fs::read_dir(owners).unwrap().count()).sum::<usize>()
        };
        assert_eq!(self.dirs.iter().map(rooms).sum::<usize>(), 0, "{what}: a room was left behind");
    }
}

/// The directories of rooms on a tier.
fn glob(tier: &Path) -> Vec<std::path::PathBuf> {
    let bases = std::fs::read_dir(tier).unwrap().map(|base| base.unwrap().path());
    bases.map(|base| base.join("default/owners")).filter(|path| path.is_dir()).collect()
}

fn key(name: &str) -> Key {
    Key::new(name).unwrap()
}

fn value(store: &Store) -> Option<Vec<u8>> {
    match store.read(&key("k")) {
        Ok(bytes) => Some(bytes),
        Err(error) if error.code() == Code::NotFound => None,
        Err(error) => panic!("{error}"),
    }
}

const REPLACE: Flags = Flags { replace: true, persist: false };
const PERSIST: Flags = Flags { replace: false, persist: true };

/// An operation on the key "k": how it is prepared, what it does, and whether it leaves the new value, the old, or none.
struct Operation {
    name: &'static str,
    /// Limits of the first tier, so that values go where the operation wants them.
    before: &'static str,
    during: &'static str,
    prepare: fn(&Store),
    run: fn(&Store) -> Result<()>,
    after: Option<&'static [u8]>,
}

fn stream(store: &Store, flags: Flags) -> Result<()> {
    let mut writer = store.create(&key("k"), 0, flags)?;
    writer.write(&NEW[..5])?;
    for (to, from) in writer.reserve(NEW.len() - 10)?.iter_mut().zip(&NEW[5..]) {
        to.write(*from);
    }
    writer.write(&NEW[NEW.len() - 5..])?;
    writer.seal()
}

const OPERATIONS: [Operation; 12] = [
    Operation {
        name: "store",
        before: "",
        during: "",
        prepare: |_| (),
        run: |s| s.store(&key("k"), NEW, Flags::default()),
        after: Some(NEW),
    },
    Operation {
        name: "store persistent",
        before: "",
        during: "",
        prepare: |_| (),
        run: |s| s.store(&key("k"), NEW, PERSIST),
        after: Some(NEW),
    },
    Operation {
        name: "replace within a tier",
        before: "",
        during: "",
        prepare: |s| s.store(&key("k"), OLD, Flags::default()).unwrap(),
        run: |s| s.store(&key("k"), NEW, REPLACE),
        after: Some(NEW),
    },
    Operation {
        name: "replace upwards",
        before: "?max=0",
        during: "",
        prepare: |s| s.store(&key("k"), OLD, Flags::default()).unwrap(),
        run: |s| s.store(&key("k"), NEW, REPLACE),
        after: Some(NEW),
    },
    Operation {
        name: "replace downwards",
        before: "",
        during: "?max=0",
        prepare: |s| s.store(&key("k"), OLD, Flags::default()).unwrap(),
        run: |s| s.store(&key("k"), NEW, REPLACE),
        after: Some(NEW),
    },
    Operation {
        name: "replace by a persistent one",
        before: "",
        during: "",
        prepare: |s| s.store(&key("k"), OLD, Flags::default()).unwrap(),
        run: |s| s.store(&key("k"), NEW, Flags { replace: true, persist: true }),
        after: Some(NEW),
    },
    Operation {
        name: "replace a persistent one",
        before: "",
        during: "",
        prepare: |s| s.store(&key("k"), OLD, PERSIST).unwrap(),
        run: |s| s.store(&key("k"), NEW, REPLACE),
        after: Some(NEW),
    },
    Operation {
        name: "stream",
        before: "",
        during: "",
        prepare: |_| (),
        run: |s| stream(s, Flags::default()),
        after: Some(NEW),
    },
    Operation {
        name: "stream that moves on",
        before: "",
        during: "?max=6",
        prepare: |_| (),
        run: |s| stream(s, Flags::default()),
        after: Some(NEW),
    },
    Operation {
        name: "remove",
        before: "",
        during: "",
        prepare: |s| s.store(&key("k"), OLD, PERSIST).unwrap(),
        run: |s| s.remove(&key("k")),
        after: None,
    },
    Operation {
        name: "read, stat and list",
        before: "",
        during: "",
        prepare: |s| s.store(&key("k"), OLD, Flags::default()).unwrap(),
        run: |s| {
            let mut stat = Stat::default();
            assert_eq!(s.read(&key("k"))?, OLD);
            assert_eq!(&*s.map(&key("k"), Some(&mut stat))?, OLD);
            assert_eq!(s.stat(&key("k"))?.id, stat.id);
            assert!(!s.has(&key("none"))?);
            let mut list = s.list()?;
            while list.next()?.is_some() {}
            Ok(())
        },
        after: Some(OLD),
    },
    Operation {
        name: "reap",
        before: "",
        during: "",
        prepare: |s| s.store(&key("k"), OLD, Flags::default()).unwrap(),
        run: |s| s.reap().map(drop),
        after: Some(OLD),
    },
];

/// Runs one operation with the N-th call failing; false once there is no N-th call.
fn try_once(operation: &Operation, nth: usize, errno: i32, from_then_on: bool) -> bool {
    let what = format!("{}, call {nth}, errno {errno}, from then on {from_then_on}", operation.name);
    let ground = Ground::new();
    // The old value's owner lives on in a handle of its own; the other one's fate is its own.
    let owner = ground.open(operation.before);
    owner.store(&key("bystander"), b"whole", Flags::default()).unwrap();
    (operation.prepare)(&owner);
    let before = value(&owner);
    let store = ground.open(operation.during);
    store.store(&key("warm"), b"", Flags::default()).unwrap();
    let (answer, calls) = faults::run(nth, None, errno, from_then_on, || (operation.run)(&store));
    let hit = calls.len() >= nth;
    let after = value(&owner);
    assert_eq!(value(&store), after, "{what}: two handles see two values");
    match &answer {
        Ok(()) => assert_eq!(after.as_deref(), operation.after, "{what}: done, but the value is wrong after {calls:?}"),
        Err(error) => {
            assert!(hit, "{what}: {error}");
            assert_ne!(error.code(), Code::Panic, "{what}");
            assert!(error.to_string().len() > error.code().text().len(), "{what}: {error}");
            // Only what takes a publish back can fail a second time.
            let taken_back = from_then_on && after.as_deref() == operation.after;
            assert!(after == before || taken_back, "{what}: failed with {error}, and the value is {after:?}");
        }
    }
    assert_eq!(owner.read(&key("bystander")).unwrap(), b"whole", "{what}");
    // The next call of each kind works.
    store.store(&key("next"), NEW, Flags::default()).unwrap_or_else(|error| panic!("{what}: then {error}"));
    store.store(&key("k"), NEW, REPLACE).unwrap_or_else(|error| panic!("{what}: then {error}"));
    assert_eq!(value(&owner).as_deref(), Some(NEW), "{what}");
    owner.remove(&key("k")).unwrap_or_else(|error| panic!("{what}: then {error}"));
    assert_eq!(value(&store), None, "{what}: something came up again");
    drop(owner);
    assert_eq!(value(&store), None, "{what}: something came up again");
    drop(store);
    drop(ground.open("")); // reaps
    ground.assert_clean(&what);
    hit
}

fn every_fault_of(names: &[&str]) {
    for operation in OPERATIONS.iter().filter(|operation| names.contains(&operation.name)) {
        let mut points = 0;
        for errno in errnos(operation.name.starts_with("re")) {
            for from_then_on in [false, true] {
                points += (1..).take_while(|&nth| try_once(operation, nth, errno, from_then_on)).count();
            }
        }
        println!("{}: {points} points", operation.name);
        assert!(points > ERRNOS.len(), "no call of \"{}\" went through the seam", operation.name);
    }
}

#[test]
fn a_failed_store_changes_nothing_whichever_call_fails() {
    every_fault_of(&["store", "store persistent"]);
}

#[test]
fn a_failed_replace_leaves_the_old_value_whichever_call_fails() {
    every_fault_of(&["replace within a tier", "replace upwards", "replace downwards"]);
}

#[test]
fn a_failed_replace_across_owners_leaves_the_old_value_whichever_call_fails() {
    every_fault_of(&["replace by a persistent one", "replace a persistent one"]);
}

#[test]
fn a_failed_stream_changes_nothing_whichever_call_fails() {
    every_fault_of(&["stream", "stream that moves on"]);
}

#[test]
fn a_failed_remove_or_reap_loses_nothing_else_whichever_call_fails() {
    every_fault_of(&["remove", "reap"]);
}

#[test]
fn reading_fails_with_a_code_or_not_at_all_whichever_call_fails() {
    every_fault_of(&["read, stat and list"]);
}

#[test]
fn a_store_opens_or_says_why_whichever_call_fails() {
    for errno in ERRNOS {
        for from_then_on in [false, true] {
            for nth in 1.. {
                let ground = Ground::new();
                let dirs = ground.dirs.each_ref().map(|dir| dir.path().to_str().unwrap());
                let tiers = dirs.join(",");
                let options = Options { tiers: Some(tiers.as_bytes()), ..Options::default() };
                let (answer, calls) = faults::run(nth, None, errno, from_then_on, || Store::open(options));
                if let Ok(store) = answer {
                    store.store(&key("k"), NEW, Flags::default()).unwrap();
                    assert_eq!(value(&store).as_deref(), Some(NEW));
                } else {
                    assert!(calls.len() >= nth, "call {nth}, errno {errno}: it failed on its own");
                }
                ground.assert_clean("open");
                if calls.len() < nth {
                    break;
                }
            }
        }
    }
}

#[test]
fn a_shutdown_goes_on_whichever_call_fails_and_a_reap_does_the_rest() {
    for errno in errnos(true) {
        for from_then_on in [false, true] {
            for nth in 1.. {
                let what = format!("shutdown, call {nth}, errno {errno}, from then on {from_then_on}");
                let ground = Ground::new();
                let store = ground.open("?max=20");
                for name in ["k", "l", "m"] {
                    store.store(&key(name), OLD, Flags::default()).unwrap();
                }
                store.store(&key("l"), NEW, REPLACE).unwrap();
                store.store(&key("kept"), b"", PERSIST).unwrap();
                let (answer, calls) = faults::run(nth, None, errno, from_then_on, || store.shutdown());
                assert_eq!(store.shutdown().ok(), Some(()), "{what}: a second one");
                assert_eq!(store.read(&key("kept")).unwrap_err().code(), Code::Shutdown, "{what}");
                drop(store);
                let next = ground.open("");
                let mut list = next.list().unwrap();
                let mut left = Vec::new();
                while let Some((name, _)) = list.next().unwrap() {
                    left.push(name.to_str().unwrap().to_owned());
                }
                assert_eq!(left, ["kept"], "{what}: {answer:?}");
                next.remove(&key("kept")).unwrap();
                drop(next);
                ground.assert_clean(&what);
                if calls.len() < nth {
                    answer.unwrap_or_else(|error| panic!("{what}: {error}"));
                    break;
                }
            }
        }
    }
}

//! What is done to a store while its system calls fail: each operation works on the key "k".
use super::*;

pub const OLD: &[u8] = b"the old value";
pub const NEW: &[u8] = b"the new value, which is longer";

pub const REPLACE: Flags = Flags { replace: true, persist: false };
pub const PERSIST: Flags = Flags { replace: false, persist: true };
pub const REPLACE_PERSIST: Flags = Flags { replace: true, persist: true };
const PLAIN: Flags = Flags { replace: false, persist: false };

/// How it is prepared, what it does, and whether it leaves the new value, the old, or none.
pub struct Operation {
    pub name: &'static str,
    /// The tiers of the handle that prepares it and of the one whose calls fail. `A` and `B` stand for the two
    /// directories.
    pub tiers: [&'static str; 2],
    /// Both of the above are one handle.
    pub own: bool,
    /// The handle whose calls fail is read-only.
    pub read_only: bool,
    /// An owner lies dead on the first directory, with blobs and drafts.
    pub dead: bool,
    pub prepare: fn(&Store),
    pub run: fn(&Store) -> Result<()>,
    pub after: Option<&'static [u8]>,
}

const BOTH: [&str; 2] = ["A,B", "A,B"];
/// The first tier takes the old value, not the new one; the other way round, for one handle and for two.
const DOWN: [&str; 2] = ["A?max=20,B", "A?max=20,B"];
const UP: [&str; 2] = ["A?max=0,B", "A,B"];
const UP_OWN: [&str; 2] = ["A?max=40,B", "A?max=40,B"];

const NOTHING: Operation = Operation {
    name: "",
    tiers: BOTH,
    own: false,
    read_only: false,
    dead: false,
    prepare: |_| (),
    run: |_| Ok(()),
    after: None,
};

fn store(s: &Store, value: &[u8], flags: Flags) -> Result<()> {
    s.store(&key("k"), value, flags)
}

fn old_one(s: &Store) {
    store(s, OLD, PLAIN).unwrap();
}

fn old_persistent_one(s: &Store) {
    store(s, OLD, PERSIST).unwrap();
}

/// In the second tier, though there is room in the first one now.
fn old_one_below(s: &Store) {
    s.store(&key("filler"), &[7; 40], PLAIN).unwrap();
    old_one(s);
    s.remove(&key("filler")).unwrap();
}

fn stream(store: &Store, flags: Flags) -> Result<()> {
    let mut writer = store.create(&key("k"), 0, flags)?;
    writer.write(&NEW[..5])?;
    for (to, from) in writer.reserve(NEW.len() - 10)?.iter_mut().zip(&NEW[5..]) {
        *to = *from;
    }
    writer.write(&NEW[NEW.len() - 5..])?;
    writer.seal()
}

/// Everything that looks and changes nothing.
fn look(s: &Store) -> Result<()> {
    let mut stat = Stat::default();
    assert_eq!(s.read(&key("k"))?, OLD);
    assert_eq!(&*s.map(&key("k"), Some(&mut stat))?, OLD);
    assert_eq!(s.stat(&key("k"))?.id, stat.id);
    assert!(!s.has(&key("none"))?);
    let mut list = s.list()?;
    while list.next()?.is_some() {}
    for index in 0..s.inner.stack.layers.len() as u32 {
        s.tier_stat(index)?.expect("a tier");
    }
    Ok(())
}

pub const OPERATIONS: &[Operation] = &[
    // Storing.
    Operation { name: "store", run: |s| store(s, NEW, PLAIN), after: Some(NEW), ..NOTHING },
    Operation { name: "store persistent", run: |s| store(s, NEW, PERSIST), after: Some(NEW), ..NOTHING },
    Operation {
        name: "store below",
        tiers: ["A,B", "A?max=0,B"],
        run: |s| store(s, NEW, PLAIN),
        after: Some(NEW),
        ..NOTHING
    },
    Operation {
        name: "store persistent below",
        tiers: ["A,B", "A?max=0,B"],
        run: |s| store(s, NEW, PERSIST),
        after: Some(NEW),
        ..NOTHING
    },
    Operation {
        name: "store in memory first",
        tiers: ["A", "memory,A"],
        run: |s| store(s, NEW, PLAIN),
        after: Some(NEW),
        ..NOTHING
    },
    Operation {
        name: "store in memory last",
        tiers: ["A", "A?max=0,memory"],
        run: |s| store(s, NEW, PLAIN),
        after: Some(NEW),
        ..NOTHING
    },
    // Replacing, within a tier.
    Operation {
        name: "replace one's own",
        own: true,
        prepare: old_one,
        run: |s| store(s, NEW, REPLACE),
        after: Some(NEW),
        ..NOTHING
    },
    Operation {
        name: "replace another's",
        prepare: old_one,
        run: |s| store(s, NEW, REPLACE),
        after: Some(NEW),
        ..NOTHING
    },
    Operation {
        name: "replace a persistent one",
        prepare: old_persistent_one,
        run: |s| store(s, NEW, REPLACE),
        after: Some(NEW),
        ..NOTHING
    },
    Operation {
        name: "persist over one's own",
        own: true,
        prepare: old_one,
        run: |s| store(s, NEW, REPLACE_PERSIST),
        after: Some(NEW),
        ..NOTHING
    },
    Operation {
        name: "persist over another's",
        prepare: old_one,
        run: |s| store(s, NEW, REPLACE_PERSIST),
        after: Some(NEW),
        ..NOTHING
    },
    Operation {
        name: "persist over a persistent one",
        prepare: old_persistent_one,
        run: |s| store(s, NEW, REPLACE_PERSIST),
        after: Some(NEW),
        ..NOTHING
    },
    // Downwards.
    Operation {
        name: "replace one's own downwards",
        tiers: DOWN,
        own: true,
        prepare: old_one,
        run: |s| store(s, NEW, REPLACE),
        after: Some(NEW),
        ..NOTHING
    },
    Operation {
        name: "replace another's downwards",
        tiers: DOWN,
        prepare: old_one,
        run: |s| store(s, NEW, REPLACE),
        after: Some(NEW),
        ..NOTHING
    },
    Operation {
        name: "replace a persistent one downwards",
        tiers: DOWN,
        prepare: old_persistent_one,
        run: |s| store(s, NEW, REPLACE),
        after: Some(NEW),
        ..NOTHING
    },
    Operation {
        name: "persist downwards over one's own",
        tiers: DOWN,
        own: true,
        prepare: old_one,
        run: |s| store(s, NEW, REPLACE_PERSIST),
        after: Some(NEW),
        ..NOTHING
    },
    Operation {
        name: "persist downwards over another's",
        tiers: DOWN,
        prepare: old_one,
        run: |s| store(s, NEW, REPLACE_PERSIST),
        after: Some(NEW),
        ..NOTHING
    },
    // Upwards.
    Operation {
        name: "replace one's own upwards",
        tiers: UP_OWN,
        own: true,
        prepare: old_one_below,
        run: |s| store(s, NEW, REPLACE),
        after: Some(NEW),
        ..NOTHING
    },
    Operation {
        name: "replace another's upwards",
        tiers: UP,
        prepare: old_one,
        run: |s| store(s, NEW, REPLACE),
        after: Some(NEW),
        ..NOTHING
    },
    Operation {
        name: "replace a persistent one upwards",
        tiers: UP,
        prepare: old_persistent_one,
        run: |s| store(s, NEW, REPLACE),
        after: Some(NEW),
        ..NOTHING
    },
    Operation {
        name: "persist upwards over one's own",
        tiers: UP_OWN,
        own: true,
        prepare: old_one_below,
        run: |s| store(s, NEW, REPLACE_PERSIST),
        after: Some(NEW),
        ..NOTHING
    },
    Operation {
        name: "persist upwards over another's",
        tiers: UP,
        prepare: old_one,
        run: |s| store(s, NEW, REPLACE_PERSIST),
        after: Some(NEW),
        ..NOTHING
    },
    Operation {
        name: "replace in memory",
        tiers: ["memory,A", "memory,A"],
        own: true,
        prepare: old_one,
        run: |s| store(s, NEW, REPLACE),
        after: Some(NEW),
        ..NOTHING
    },
    Operation {
        name: "replace in memory, which is last",
        tiers: ["A?max=0,memory", "A?max=0,memory"],
        own: true,
        prepare: old_one,
        run: |s| store(s, NEW, REPLACE),
        after: Some(NEW),
        ..NOTHING
    },
    // In parts.
    Operation { name: "stream", run: |s| stream(s, PLAIN), after: Some(NEW), ..NOTHING },
    Operation {
        name: "stream that moves on",
        tiers: ["A,B", "A?max=6,B"],
        run: |s| stream(s, PLAIN),
        after: Some(NEW),
        ..NOTHING
    },
    Operation {
        name: "stream over another's, moving on",
        tiers: ["A,B", "A?max=6,B"],
        prepare: old_one,
        run: |s| stream(s, REPLACE_PERSIST),
        after: Some(NEW),
        ..NOTHING
    },
    Operation {
        name: "stream that moves to memory",
        tiers: ["A", "A?max=6,memory"],
        run: |s| stream(s, PLAIN),
        after: Some(NEW),
        ..NOTHING
    },
    Operation {
        name: "stream that moves from memory",
        tiers: ["A", "memory?max=6,A"],
        run: |s| stream(s, PLAIN),
        after: Some(NEW),
        ..NOTHING
    },
    Operation {
        name: "stream with a hint, given up",
        run: |s| {
            let mut writer = s.create(&key("k"), NEW.len() as u64, PLAIN)?;
            writer.write(NEW)?;
            writer.reserve(5)?;
            Ok(())
        },
        ..NOTHING
    },
    // Removing.
    Operation { name: "remove one's own", own: true, prepare: old_one, run: |s| s.remove(&key("k")), ..NOTHING },
    Operation { name: "remove another's", prepare: old_one, run: |s| s.remove(&key("k")), ..NOTHING },
    Operation { name: "remove a persistent one", prepare: old_persistent_one, run: |s| s.remove(&key("k")), ..NOTHING },
    Operation { name: "remove from below", tiers: UP, prepare: old_one, run: |s| s.remove(&key("k")), ..NOTHING },
    Operation {
        name: "remove from memory",
        tiers: ["A,memory", "A?max=0,memory"],
        own: true,
        prepare: old_one,
        run: |s| s.remove(&key("k")),
        ..NOTHING
    },
    Operation { name: "remove_owned", own: true, prepare: old_one, run: |s| s.remove_owned(&key("k")), ..NOTHING },
    Operation {
        name: "remove_owned below",
        tiers: UP_OWN,
        own: true,
        prepare: old_one_below,
        run: |s| s.remove_owned(&key("k")),
        ..NOTHING
    },
    Operation {
        name: "remove_owned of another's",
        prepare: old_one,
        run: |s| s.remove_owned(&key("k")),
        after: Some(OLD),
        ..NOTHING
    },
    // Reaping.
    Operation { name: "reap, nobody dead", prepare: old_one, run: |s| s.reap().map(drop), after: Some(OLD), ..NOTHING },
    Operation { name: "reap", dead: true, prepare: old_one, run: |s| s.reap().map(drop), after: Some(OLD), ..NOTHING },
    // Looking.
    Operation { name: "look", prepare: old_one, run: look, after: Some(OLD), ..NOTHING },
    Operation { name: "look below", tiers: UP, prepare: old_one, run: look, after: Some(OLD), ..NOTHING },
    Operation {
        name: "look in memory",
        tiers: ["memory,A", "memory,A"],
        own: true,
        prepare: old_one,
        run: look,
        after: Some(OLD),
        ..NOTHING
    },
    Operation {
        name: "look, read-only",
        read_only: true,
        prepare: old_one,
        run: |s| {
            look(s)?;
            assert_eq!(store(s, NEW, REPLACE).map_err(|e| e.code()), Err(Code::ReadOnly));
            assert_eq!(s.remove(&key("k")).map_err(|e| e.code()), Err(Code::ReadOnly));
            Ok(())
        },
        after: Some(OLD),
        ..NOTHING
    },
];

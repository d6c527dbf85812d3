//! Random operations, through several handles at once, against a map as the model.
use proptest::prelude::*;
use std::collections::BTreeMap;
use vfs::{Code, Flags, Key, Options, Store};

const HANDLES: usize = 3;
const KEYS: [&str; 4] = ["a", "b", "c", "d"];

#[derive(Clone, Debug)]
enum Op {
    Store { by: usize, key: usize, len: usize, replace: bool, persist: bool, streamed: bool },
    Remove { by: usize, key: usize },
    RemoveOwned { by: usize, key: usize },
    Reopen { by: usize },
    Reap { by: usize },
}

fn op() -> impl Strategy<Value = Op> {
    let by = 0..HANDLES;
    let key = 0..KEYS.len();
    // Around the limits of the first two tiers, and empty ones.
    let len = prop_oneof![Just(0usize), 1..100usize, 4000..4200usize, 9000..10000usize];
    prop_oneof![
        6 => (by.clone(), key.clone(), len, any::<bool>(), any::<bool>(), any::<bool>()).prop_map(
            |(by, key, len, replace, persist, streamed)| Op::Store { by, key, len, replace, persist, streamed }
        ),
        2 => (by.clone(), key.clone()).prop_map(|(by, key)| Op::Remove { by, key }),
        1 => (by.clone(), key).prop_map(|(by, key)| Op::RemoveOwned { by, key }),
        1 => by.clone().prop_map(|by| Op::Reopen { by }),
        1 => by.prop_map(|by| Op::Reap { by }),
    ]
}

/// What the model knows of a blob.
struct Blob {
    bytes: Vec<u8>,
    owner: Option<usize>,
    id: u64,
}

fn put(store: &Store, key: &Key, bytes: &[u8], flags: Flags, streamed: bool) -> vfs::Result<()> {
    if !streamed {
        return store.store(key, bytes, flags);
    }
    let (head, tail) = bytes.split_at(bytes.len() / 2);
    let mut writer = store.create(key, 0, flags)?;
    writer.write(head)?;
    for (to, from) in writer.reserve(tail.len())?.iter_mut().zip(tail) {
        to.write(*from);
    }
    writer.seal()
}

/// All that can be seen through a handle agrees with the model.
fn compare(store: &Store, by: usize, model: &mut BTreeMap<usize, Blob>, ids: &mut Vec<u64>) {
    for (number, name) in KEYS.iter().enumerate() {
        let key = Key::new(name).unwrap();
        let Some(blob) = model.get_mut(&number) else {
            assert!(!store.has(&key).unwrap(), "{name} came from nowhere");
            assert_eq!(store.read(&key).unwrap_err().code(), Code::NotFound);
            continue;
        };
        assert_eq!(store.read(&key).unwrap(), blob.bytes, "{name}");
        let stat = store.stat(&key).unwrap();
        if blob.id == 0 {
            assert!(!ids.contains(&stat.id), "an id came back");
            blob.id = stat.id;
            ids.push(stat.id);
        }
        assert_eq!(stat.id, blob.id, "{name}");
        assert_eq!(stat.size, blob.bytes.len() as u64);
        assert_eq!((stat.owned, stat.persistent), (blob.owner == Some(by), blob.owner.is_none()), "{name}");
        assert!(!stat.orphan);
        assert_eq!(&*store.map(&key, None).unwrap(), blob.bytes);
    }
    let mut listed = Vec::new();
    let mut list = store.list().unwrap();
    while let Some((key, _)) = list.next().unwrap() {
        listed.push(key.to_str().unwrap().to_owned());
    }
    listed.sort();
    assert_eq!(listed, model.keys().map(|&number| KEYS[number].to_owned()).collect::<Vec<_>>());
}

fn files_below(dir: &std::path::Path) -> Vec<std::path::PathBuf> {
    let entries = std::fs::read_dir(dir).unwrap().map(|entry| entry.unwrap().path());
    entries.flat_map(|path| if path.is_dir() { files_below(&path) } else { vec![path] }).collect()
}

fn run(ops: &[Op]) {
    let dirs = [(); 3].map(|()| tempfile::tempdir().unwrap());
    let [a, b, c] = dirs.each_ref().map(|dir| dir.path().display());
    let tiers = format!("{a}?max=4100,{b}?max=12000,{c}");
    let open = || Store::open(Options { tiers: Some(tiers.as_bytes()), ..Options::default() }).unwrap();
    let mut handles = [(); HANDLES].map(|()| open());
    let mut model: BTreeMap<usize, Blob> = BTreeMap::new();
    let mut ids = Vec::new();
    for (step, op) in ops.iter().enumerate() {
        match *op {
            Op::Store { by, key, len, replace, persist, streamed } => {
                let bytes: Vec<u8> = (0..len).map(|at| (at * 31 + step * 7) as u8).collect();
                let flags = Flags { replace, persist };
                let answer = put(&handles[by], &Key::new(KEYS[key]).unwrap(), &bytes, flags, streamed);
                match answer {
                    Ok(()) => {
                        let old = model.insert(key, Blob { bytes, owner: (!persist).then_some(by), id: 0 });
                        assert!(replace || old.is_none(), "two values for one key");
                    }
                    Err(error) => {
                        assert_eq!(error.code(), Code::Exists, "{error}");
                        assert!(!replace && model.contains_key(&key));
                    }
                }
            }
            Op::Remove { by, key } => match handles[by].remove(&Key::new(KEYS[key]).unwrap()) {
                Ok(()) => assert!(model.remove(&key).is_some()),
                Err(error) => {
                    assert_eq!(error.code(), Code::NotFound, "{error}");
                    assert!(!model.contains_key(&key));
                }
            },
            Op::RemoveOwned { by, key } => {
                handles[by].remove_owned(&Key::new(KEYS[key]).unwrap()).unwrap();
                if model.get(&key).is_some_and(|blob| blob.owner == Some(by)) {
                    model.remove(&key);
                }
            }
            Op::Reopen { by } => {
                handles[by].shutdown().unwrap();
                handles[by] = open();
                model.retain(|_, blob| blob.owner != Some(by));
            }
            Op::Reap { by } => assert_eq!(handles[by].reap().unwrap(), 0, "a living owner was reaped"),
        }
        compare(&handles[step % HANDLES], step % HANDLES, &mut model, &mut ids);
    }
    for key in model.iter().filter(|(_, blob)| blob.owner.is_none()).map(|(&key, _)| key) {
        handles[0].remove(&Key::new(KEYS[key]).unwrap()).unwrap();
    }
    drop(handles);
    let left: Vec<_> = dirs.iter().flat_map(|dir| files_below(dir.path())).collect();
    assert!(left.iter().all(|path| path.ends_with("\\lock")), "left behind: {left:?}");
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 200, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn any_sequence_of_operations_agrees_with_a_map(ops in prop::collection::vec(op(), 1..60)) {
        run(&ops);
    }
}

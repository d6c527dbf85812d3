//! Of three tiers one fails, at each of its system calls: the error, the log and the statistics name that tier, and never
//! one that works.
use super::operations::REPLACE_PERSIST;
use super::*;
use std::sync::Mutex;

/// No operation takes any of these for an answer. EPROTO means nothing to the library.
const ERRNOS: [i32; 5] = [libc::EIO, libc::EPROTO, libc::EACCES, libc::ENOSPC, NOBODYS];
/// The process has no descriptors left: that is no tier's failure, whichever tier it was met on.
const NOBODYS: i32 = libc::EMFILE;
/// What a tier answers by its own `max=`, which no call is made to answer here.
const BY_MAX: i32 = libc::EDQUOT;

struct Case {
    name: &'static str,
    /// The tiers of the handle whose calls fail.
    tiers: &'static str,
    /// Lists of handles that each store the old value first, and live on; "" is the handle whose calls fail.
    old: &'static [&'static str],
    /// Owners lie dead on all tiers.
    dead: bool,
    run: fn(&Store) -> Result<()>,
    /// It changes something: the statistics have its failures.
    changes: bool,
}

const ALL: &str = "A,B,C";
const CASE: Case = Case { name: "", tiers: ALL, old: &[], dead: false, run: |_| Ok(()), changes: true };

fn replace(s: &Store) -> Result<()> {
    s.store(&key("k"), NEW, REPLACE)
}

fn stream(s: &Store, hint: u64, flags: Flags) -> Result<()> {
    let mut writer = s.create(&key("k"), hint, flags)?;
    writer.write(&NEW[..5])?;
    for (to, from) in writer.reserve(10)?.iter_mut().zip(&NEW[5..]) {
        *to = *from;
    }
    writer.write(&NEW[15..])?;
    writer.seal()
}

/// A part fails and is not tried again: the seal says why.
fn stream_regardless(s: &Store) -> Result<()> {
    let mut writer = s.create(&key("k"), 0, Flags::default())?;
    let parts = [writer.write(&NEW[..5]), writer.write(&NEW[5..15]), writer.write(&NEW[15..])];
    let sealed = writer.seal();
    assert!(parts[2].is_ok() || sealed.is_err());
    sealed
}

fn look(s: &Store) -> Result<()> {
    s.read(&key("k"))?;
    s.map(&key("k"), Some(&mut Stat::default()))?;
    s.stat(&key("k"))?;
    s.has(&key("none"))?;
    let mut list = s.list()?;
    while list.next()?.is_some() {}
    for index in 0..3 {
        s.tier_stat(index)?.expect("a tier");
    }
    Ok(())
}

const CASES: &[Case] = &[
    Case { name: "store", run: |s| s.store(&key("k"), NEW, Flags::default()), ..CASE },
    Case { name: "store persistent", run: |s| s.store(&key("k"), NEW, PERSIST), ..CASE },
    Case {
        name: "store below",
        tiers: "A?max=5,B?max=5,C",
        run: |s| s.store(&key("k"), NEW, Flags::default()),
        ..CASE
    },
    Case { name: "store nowhere", tiers: "A?max=5,B?max=5,C?max=5", run: |s| s.store(&key("k"), NEW, PERSIST), ..CASE },
    Case { name: "store what is there", old: &["C"], run: |s| s.store(&key("k"), NEW, PERSIST), ..CASE },
    Case { name: "replace one's own", old: &[""], run: replace, ..CASE },
    Case { name: "replace another's", old: &[ALL], run: replace, ..CASE },
    Case { name: "replace upwards", old: &["C"], run: replace, ..CASE },
    Case { name: "replace downwards", tiers: "A?max=20,B?max=20,C", old: &[""], run: replace, ..CASE },
    Case { name: "replace another's downwards", tiers: "A?max=5,B,C", old: &[ALL], run: replace, ..CASE },
    Case { name: "replace three", old: &["C", "B", "A"], run: replace, ..CASE },
    Case { name: "replace into the middle", tiers: "A?max=5,B,C", old: &["C", "A"], run: replace, ..CASE },
    Case {
        name: "replace three with a persistent one",
        old: &["C", "B", "A"],
        run: |s| s.store(&key("k"), NEW, REPLACE_PERSIST),
        ..CASE
    },
    Case { name: "stream", run: |s| stream(s, 0, Flags::default()), ..CASE },
    Case { name: "stream that moves on", tiers: "A?max=6,B?max=16,C", run: |s| stream(s, 0, Flags::default()), ..CASE },
    Case {
        name: "stream that moves to memory",
        tiers: "A?max=6,B?max=16,memory",
        run: |s| stream(s, 0, PERSIST),
        ..CASE
    },
    Case { name: "stream that moves back", tiers: "A,B?max=6,C?max=6", run: |s| stream(s, 0, PERSIST), ..CASE },
    Case {
        name: "stream over three",
        tiers: "A?max=6,B,C",
        old: &["C", "B", "A"],
        run: |s| stream(s, 0, REPLACE),
        ..CASE
    },
    Case { name: "stream with a hint", tiers: "A?max=6,B,C", run: |s| stream(s, 28, Flags::default()), ..CASE },
    Case { name: "stream regardless", tiers: "A?max=6,B?max=16,C", run: stream_regardless, ..CASE },
    Case { name: "remove one's own", old: &[""], run: |s| s.remove(&key("k")), ..CASE },
    Case { name: "remove another's", old: &["C"], run: |s| s.remove(&key("k")), ..CASE },
    Case { name: "remove three", old: &["C", "B", "A"], run: |s| s.remove(&key("k")), ..CASE },
    Case { name: "remove_owned", old: &[""], run: |s| s.remove_owned(&key("k")), ..CASE },
    Case { name: "remove_owned above others'", old: &["C", "B", ""], run: |s| s.remove_owned(&key("k")), ..CASE },
    Case { name: "shutdown", old: &["C", "B", ""], run: |s| s.shutdown(), changes: false, ..CASE },
    Case { name: "reap", old: &["C"], dead: true, run: |s| s.reap().map(drop), changes: false, ..CASE },
    Case { name: "look", old: &[""], run: look, changes: false, ..CASE },
    Case { name: "look below", old: &["C"], run: look, changes: false, ..CASE },
    Case { name: "miss", run: |s| s.has(&key("k")).map(drop), changes: false, ..CASE },
];

/// Keeps what it hears.
struct Ears(Arc<Mutex<Vec<String>>>);

impl Log for Ears {
    fn log(&self, _: Level, message: &CStr) {
        self.0.lock().unwrap().push(message.to_str().unwrap().to_owned());
    }
}

/// How the tier does, as the caller sees it.
fn figures(store: &Store, index: usize) -> (bool, i32, u64) {
    let health = &store.inner.stack.layers[index].health;
    let of = |count: &crate::sys::sync::atomic::AtomicU64| count.load(Ordering::SeqCst);
    (health.usable.load(Ordering::SeqCst), health.last_errno.load(Ordering::SeqCst), of(&health.refused))
}

/// What is wrong with an answer, so that all that is wrong is seen at once.
#[derive(Default)]
struct Complaints(Vec<String>);

impl Complaints {
    fn unless(&mut self, fine: bool, complaint: std::fmt::Arguments) {
        if !fine {
            self.0.push(complaint.to_string());
        }
    }
}

/// Complains unless a message names `at` if it speaks of the errno, no tier if it speaks of none, and others by their `max=`.
fn check_words(wrong: &mut Complaints, what: &str, words: &str, errno: i32, at: &str, others: &[String]) {
    let says = |errno| words.contains(crate::error::ErrnoName(errno).to_string().as_str());
    let fails = errno != NOBODYS && (says(errno) || words.ends_with("takes blobs again"));
    wrong.unless(!fails || words.contains(at), format_args!("{what}: not {at}: {words}"));
    if !says(BY_MAX) {
        let named = others.iter().find(|other| words.contains(other.as_str()));
        wrong.unless(named.is_none(), format_args!("{what}: {named:?} did not fail: {words}"));
        wrong.unless(fails || !words.contains("tier "), format_args!("{what}: no tier failed: {words}"));
    }
}

fn try_once(
    wrong: &mut Complaints,
    ground: &Ground,
    case: &Case,
    bad: usize,
    nth: usize,
    errno: i32,
    from_then_on: bool,
) -> bool {
    let dirs = [&ground.a, &ground.b, &ground.c];
    let what = format!("{} on tier {bad}", describe(case.name, nth, errno, from_then_on));
    let heard = Arc::new(Mutex::new(Vec::new()));
    let list = ground.tiers(case.tiers);
    let log: Option<Box<dyn Log>> = Some(Box::new(Ears(heard.clone())));
    let store = Store::open(Options { log, ..options(&list, false) }).unwrap();
    store.store(&key("w"), b"", Flags::default()).unwrap();
    let olds: Vec<_> = case.old.iter().filter(|list| !list.is_empty()).map(|list| ground.open(list)).collect();
    if case.old.contains(&"") {
        store.store(&key("k"), OLD, Flags::default()).unwrap();
    }
    olds.iter().for_each(|old| old.store(&key("k"), OLD, Flags::default()).unwrap());
    for dir in &dirs[1..] {
        // What lies below is older, as if the one above had been stored last.
        if let Ok(file) = fs::File::open(Ground::default_store(dir).unwrap_or_default().join("objects/k")) {
            file.set_modified(std::time::UNIX_EPOCH + Duration::from_secs(1)).unwrap();
        }
    }
    for dir in dirs.into_iter().filter(|_| case.dead) {
        let skeleton = Store::open(options(dir.to_str().unwrap(), false)).unwrap();
        skeleton.store(&key("x"), b"", Flags::default()).unwrap();
        Ground::leave_dead_owner_on(dir);
    }
    let before: Vec<_> = (0..3).map(|index| figures(&store, index)).collect();
    assert!(before.iter().all(|&(usable, errno, refused)| usable && errno == 0 && refused == 0), "{what}: {before:?}");
    let (answer, calls) = faults::run_below(dirs[bad], nth, errno, from_then_on, || (case.run)(&store));
    let hit = calls.len() >= nth;
    let name = |index: usize| {
        let place = store.inner.stack.place(index).unwrap();
        format!("tier {index} ({})", std::str::from_utf8(place.bytes()).unwrap())
    };
    let names: Vec<_> = (0..3).map(name).collect();
    let others: Vec<_> = (0..3).filter(|&index| index != bad).map(|index| names[index].clone()).collect();
    let is_by_max = |index: usize| case.tiers.split(',').nth(index).unwrap().contains("max=");
    let (_, last_errno, refused) = figures(&store, bad);
    if let Err(error) = &answer {
        check_words(wrong, &what, &error.to_string(), errno, &names[bad], &others);
        if hit && case.changes && error.errno() == errno && errno != NOBODYS {
            wrong.unless(last_errno == errno, format_args!("{what}: {error}: the statistics have {last_errno}"));
        }
    }
    for words in &*heard.lock().unwrap() {
        check_words(wrong, &what, words, errno, &names[bad], &others);
    }
    for index in (0..3).filter(|&index| index != bad) {
        let (usable, errno, refused) = figures(&store, index);
        let fine = usable && (errno == 0 && refused == 0 || errno == BY_MAX && refused > 0 && is_by_max(index));
        wrong.unless(
            fine,
            format_args!("{what}: tier {index} has {:?}, though it did not fail", (usable, errno, refused)),
        );
    }
    wrong.unless(
        refused == 0 || last_errno == errno || is_by_max(bad),
        format_args!("{what}: {refused} refusals, but errno {last_errno}"),
    );
    wrong.unless(errno != NOBODYS || last_errno != errno, format_args!("{what}: the statistics have {last_errno}"));
    wrong.unless(
        last_errno == 0 || last_errno == errno || last_errno == BY_MAX && is_by_max(bad),
        format_args!("{what}: {last_errno}"),
    );
    drop((store, olds));
    let last = ground.open(ALL); // reaps
    while value(&last).is_some() {
        last.remove(&key("k")).unwrap(); // a persistent one
    }
    drop(last);
    ground.assert_clean(&what);
    hit
}

/// Some once, and some from then on; with `VFS_EVERY_FAULT=1` each in both ways.
fn ways() -> impl Iterator<Item = (i32, bool)> {
    let every = std::env::var_os("VFS_EVERY_FAULT").is_some();
    let few = [(libc::EIO, false), (libc::ENOSPC, false), (NOBODYS, false), (libc::EIO, true), (NOBODYS, true)];
    let all = ERRNOS.into_iter().flat_map(|errno| [(errno, false), (errno, true)]);
    all.filter(move |way| every || few.contains(way))
}

/// Opening, too: what could not be used is told by its own number.
#[test]
fn a_tier_that_cannot_be_opened_is_named_and_no_other() {
    alone(|ground| {
        let dirs = [&ground.a, &ground.b, &ground.c];
        let (list, mut points) = (ground.tiers(ALL), 0);
        for (bad, (errno, on)) in (0..3).flat_map(|bad| ways().map(move |way| (bad, way))) {
            for nth in 1.. {
                let what = format!("{} on tier {bad}", describe("open", nth, errno, on));
                let (opened, calls) =
                    faults::run_below(dirs[bad], nth, errno, on, || Store::open(options(&list, false)));
                match &opened {
                    Ok(store) => {
                        for index in 0..3 {
                            let (usable, last_errno, _) = figures(store, index);
                            let failed = index == bad && calls.len() >= nth && errno != NOBODYS;
                            assert!(usable && last_errno == 0 || failed && last_errno == errno, "{what}: tier {index}");
                        }
                    }
                    Err(error) => {
                        assert!(errno == NOBODYS && !error.to_string().contains("tier "), "{what}: {error}");
                    }
                }
                drop(opened);
                drop(ground.open(ALL)); // a directory that could not be removed goes now
                ground.assert_clean(&what);
                for dir in dirs {
                    fs::remove_dir_all(dir).unwrap();
                    fs::create_dir(dir).unwrap();
                }
                if calls.len() < nth {
                    break;
                }
                points += 1;
            }
        }
        println!("one tier of three that cannot be opened: {points} points");
        assert!(points > 100);
    });
}

/// A reap looks into stores of other names too, through the same list read anew. A path that leads to an earlier tier by
/// then is dropped from it, and what follows has other numbers there.
#[test]
fn a_reap_names_a_tier_by_its_own_number() {
    alone(|ground| {
        let path = ground.a.with_file_name("switched");
        std::os::unix::fs::symlink(&ground.b, &path).unwrap();
        let list = format!("{},{},{}", ground.a.display(), path.display(), ground.c.display());
        let store = Store::open(options(&list, false)).unwrap();
        let other = Options { name: Some(b"other"), ..options(&list, false) };
        Store::open(other).unwrap().store(&key("k"), OLD, Flags::default()).unwrap();
        let base = Ground::default_store(&ground.c).unwrap().parent().unwrap().join("other");
        let room = base.join("owners/00000000000000dd");
        fs::DirBuilder::new().recursive(true).mode(0o700).create(base.join("objects")).unwrap();
        fs::DirBuilder::new().recursive(true).mode(0o700).create(&room).unwrap();
        fs::write(room.join("dead"), "a dead one's").unwrap();
        fs::hard_link(room.join("dead"), base.join("objects/dead")).unwrap();
        fs::remove_file(&path).unwrap();
        std::os::unix::fs::symlink(&ground.a, &path).unwrap();
        let fail = |nth| faults::run_below(&room, nth, libc::EPROTO, true, || store.reap().map(drop));
        let (answer, _) = fail(1);
        let words = answer.unwrap_err().to_string();
        assert!(words.contains(&format!("tier 2 ({})", ground.c.display())), "{words}");
        assert_eq!(store.reap().ok(), Some(1));
        fs::remove_file(&path).unwrap();
        drop(store);
    });
}

#[test]
fn the_tier_that_failed_is_named_and_no_other() {
    alone(|ground| {
        let (mut points, mut wrong) = (0, Complaints::default());
        for case in CASES {
            for (bad, (errno, on)) in (0..3).flat_map(|bad| ways().map(move |way| (bad, way))) {
                if case.tiers.ends_with("memory") && bad == 2 {
                    continue;
                }
                points += (1..).take_while(|&nth| try_once(&mut wrong, ground, case, bad, nth, errno, on)).count();
            }
        }
        println!("one tier of three: {points} points");
        assert!(points > 1000);
        let count = wrong.0.len();
        wrong.0.truncate(30);
        assert!(count == 0, "{count} times: {:#?}", wrong.0);
    });
}

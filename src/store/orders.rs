//! What the threads of one handle share, in every order that they can come in (`make loom`). The store runs as it is, on
//! directories of its own or in memory: each system call is a moment at which another thread may come first.
use super::health::{Logger, due};
use super::keys::KeyTable;
use super::*;
use crate::options::{Level, Log, Reserve};
use crate::sys::sync::atomic::AtomicU64;
use crate::tier::dir::Budget;
use loom::cell::UnsafeCell;
use loom::model::Builder;
use loom::sync::Arc;
use std::path::PathBuf;

const FOR_EVER: Duration = Duration::MAX;

/// What a lock is to keep one thread at a time from.
struct Guarded(UnsafeCell<u32>);

// SAFETY: loom fails where two threads are in it at once.
#[allow(unsafe_code)]
unsafe impl Sync for Guarded {}

impl Guarded {
    #[allow(unsafe_code)]
    fn enter(&self) {
        // SAFETY: loom fails where another thread is in it.
        self.0.with_mut(|count| unsafe { *count += 1 });
    }
}

#[test]
fn threads_exclude_each_other_on_one_key() {
    loom::model(|| {
        let shared = Arc::new((KeyTable::new(), Guarded(UnsafeCell::new(0))));
        let work = |shared: &(KeyTable, Guarded)| {
            let _taken = shared.0.take(7, FOR_EVER).unwrap();
            shared.1.enter();
        };
        let others = [(); 2].map(|()| {
            let shared = shared.clone();
            loom::thread::spawn(move || work(&shared))
        });
        work(&shared);
        others.into_iter().for_each(|other| other.join().unwrap());
    });
}

/// It need not wait for another thread to let go of what it does not ask for.
#[test]
fn who_waits_for_a_key_gets_it_whoever_else_waits() {
    loom::model(|| {
        let table = Arc::new(KeyTable::new());
        let held = [1, 2].map(|number| table.take(number, FOR_EVER).unwrap());
        let others = [1, 2].map(|number| {
            let table = table.clone();
            loom::thread::spawn(move || drop(table.take(number, FOR_EVER).unwrap()))
        });
        let ([first, second], [waits_for_first, waits_for_second]) = (held, others);
        drop(second);
        waits_for_second.join().unwrap();
        drop(first);
        waits_for_first.join().unwrap();
    });
}

/// Loom fails where a thread waits and nobody will wake it.
#[test]
fn each_thread_that_waits_for_a_full_table_gets_in() {
    loom::model(|| {
        let table = Arc::new(KeyTable::new()); // of two
        let others = [1, 2].map(|number| {
            let table = table.clone();
            loom::thread::spawn(move || drop(table.take(number, FOR_EVER).unwrap()))
        });
        drop(table.take(2, FOR_EVER).unwrap());
        others.into_iter().for_each(|other| other.join().unwrap());
        assert!([1, 2].map(|number| table.take(number, Duration::ZERO)).iter().all(Option::is_some));
    });
}

#[test]
fn a_thread_that_gives_up_leaves_the_table_as_it_was() {
    loom::model(|| {
        let table = Arc::new(KeyTable::new());
        let other = table.clone();
        let other = loom::thread::spawn(move || drop(other.take(1, Duration::ZERO)));
        drop(table.take(1, FOR_EVER).unwrap());
        other.join().unwrap();
        assert!(table.take(1, Duration::ZERO).is_some());
        assert!(table.take(1, Duration::ZERO).is_some());
    });
}

/// The host's data, of which its callback makes use, and which it frees after the store is closed.
struct Host(Arc<Guarded>);

impl Log for Host {
    fn log(&self, _: Level, _: &CStr) {
        self.0.enter();
    }
}

#[test]
fn nobody_is_in_the_callback_once_the_logger_is_closed() {
    loom::model(|| {
        let host = Arc::new(Guarded(UnsafeCell::new(0)));
        let logger = Arc::new(Logger::new(Some(Box::new(Host(host.clone())))));
        let other = logger.clone();
        let other = loom::thread::spawn(move || other.say(Level::Info, format_args!("full")));
        logger.close();
        host.enter();
        other.join().unwrap();
    });
}

#[test]
fn of_two_threads_one_may_say_it() {
    loom::model(|| {
        let told = Arc::new(AtomicU64::new(0));
        let other = told.clone();
        let other = loom::thread::spawn(move || due(&other));
        let ours = due(&told);
        assert!(ours != other.join().unwrap(), "both, or neither");
    });
}

#[test]
fn a_budget_is_not_overdrawn_and_all_comes_back() {
    loom::model(|| {
        let budget = Arc::new(Budget::new(Some(10), Reserve::Bytes(0)));
        let held = Arc::new(AtomicU64::new(0));
        let work = |budget: &Budget, held: &AtomicU64| {
            let charged = budget.charge(6, || None).is_ok();
            if charged {
                assert_eq!(held.fetch_add(6, SeqCst), 0, "one at a time fits");
                budget.published(6, 6, false);
                held.fetch_sub(6, SeqCst);
                budget.removed(6);
            }
            charged
        };
        let (other, theirs) = (budget.clone(), held.clone());
        let other = loom::thread::spawn(move || work(&other, &theirs));
        let ours = work(&budget, &held);
        assert!(ours | other.join().unwrap(), "neither was let in");
        assert_eq!(budget.left(), Some(10));
    });
}

/// A store on directories that are made anew for each order that is tried.
struct World {
    scratch: tempfile::TempDir,
}

impl World {
    fn new() -> World {
        World { scratch: tempfile::tempdir().unwrap() }
    }

    fn open(&self) -> Arc<Store> {
        let tiers = self.scratch.path().to_str().unwrap();
        Arc::new(Store::open(Options { tiers: Some(tiers.as_bytes()), ..Options::default() }).unwrap())
    }

    /// Our directory on the tier.
    fn base(&self) -> PathBuf {
        self.scratch.path().join(format!("vfs1-{}", sys::effective_uid()))
    }

    /// Only the empty lock file may stay.
    fn assert_clean(&self) {
        for entry in std::fs::read_dir(self.base()).into_iter().flatten() {
            let path = entry.unwrap().path();
            assert!(path.ends_with("\\lock"), "left behind: {path:?}");
        }
    }

    /// The overflow subdirectories that another process sees now are `\1` to `\N`.
    fn assert_no_gap(&self) {
        for room in std::fs::read_dir(self.base().join("default/owners")).unwrap() {
            let room = room.unwrap().path();
            let names = std::fs::read_dir(&room).unwrap().map(|name| name.unwrap().file_name().into_string().unwrap());
            let subs: Vec<_> = names.filter(|name| name[1..].parse::<u32>().is_ok()).collect();
            for sub in 1..=subs.len() {
                assert!(room.join(format!("\\{sub}")).is_dir(), "a gap: {subs:?}");
            }
        }
    }
}

fn key(name: &str) -> Key {
    Key::new(name).unwrap()
}

/// Runs a thread on a stack that a store needs.
fn spawn<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> loom::thread::JoinHandle<T> {
    loom::thread::Builder::new().stack_size(64 << 10).spawn(work).unwrap()
}

/// All orders in which threads are interrupted up to so many times where they would not have to wait.
fn every_order(preemptions: usize, model: impl Fn() + Send + Sync + Copy + 'static) {
    loom::model(|| assert!(Kin::here().is_ok())); // what a process does once, so that the first order is like the others
    let mut builder = Builder::new();
    builder.preemption_bound = Some(preemptions);
    builder.max_branches = 100_000;
    let orders = std::sync::Arc::new(std::sync::atomic::AtomicUsize::new(0));
    let counter = orders.clone();
    builder.check(move || {
        counter.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
        spawn(model).join().unwrap();
    });
    println!("{} orders", orders.load(std::sync::atomic::Ordering::Relaxed));
}

#[test]
fn a_shutdown_amid_a_store_leaves_nothing() {
    every_order(4, || {
        let world = World::new();
        let store = world.open();
        let other = store.clone();
        let storing = spawn(move || other.store(&key("k"), b"value", Flags::default()).map_err(|error| error.code()));
        store.shutdown().unwrap();
        let answer = storing.join().unwrap();
        assert!(matches!(answer, Ok(()) | Err(Code::Shutdown)), "{answer:?}");
        drop(store);
        world.assert_clean();
    });
}

#[test]
fn a_shutdown_amid_a_store_leaves_nothing_in_memory() {
    every_order(5, || {
        let store = Arc::new(Store::open(Options { tiers: Some(b"memory"), ..Options::default() }).unwrap());
        let other = store.clone();
        let storing = spawn(move || other.store(&key("k"), b"value", Flags::default()).map_err(|error| error.code()));
        store.shutdown().unwrap();
        let answer = storing.join().unwrap();
        assert!(matches!(answer, Ok(()) | Err(Code::Shutdown)), "{answer:?}");
        let AnyTier::Memory(tier) = &store.inner.stack.layers[0].tier else { unreachable!() };
        assert_eq!((tier.count_owned(), tier.keys().unwrap().len()), ((0, 0), 0));
    });
}

#[test]
fn nothing_is_made_once_a_shutdown_is_over() {
    every_order(3, || {
        let world = World::new();
        let store = world.open();
        let other = store.clone();
        let storing = spawn(move || drop(other.store(&key("k"), b"value", Flags::default())));
        store.shutdown().unwrap();
        std::fs::remove_dir_all(world.base()).unwrap();
        storing.join().unwrap();
        assert!(!world.base().exists(), "a store under way made directories after the shutdown");
    });
}

#[test]
fn two_threads_that_find_the_ground_gone_stand_on_one_new_one() {
    every_order(1, || {
        let world = World::new();
        let store = world.open();
        store.store(&key("warm"), b"", Flags::default()).unwrap();
        std::fs::remove_dir_all(world.base()).unwrap();
        let other = store.clone();
        let storing = spawn(move || other.store(&key("k"), b"theirs", Flags::default()));
        store.store(&key("l"), b"ours", Flags::default()).unwrap();
        storing.join().unwrap().unwrap();
        assert_eq!(
            (store.read(&key("k")).unwrap(), store.read(&key("l")).unwrap()),
            (b"theirs".into(), b"ours".into())
        );
        drop(store);
        world.assert_clean();
    });
}

#[test]
fn of_two_threads_that_store_a_key_one_wins() {
    every_order(2, || {
        let world = World::new();
        let store = world.open();
        let other = store.clone();
        let storing = spawn(move || other.store(&key("k"), b"theirs", Flags::default()).is_ok());
        let ours = store.store(&key("k"), b"ours", Flags::default()).is_ok();
        let theirs = storing.join().unwrap();
        assert!(ours != theirs, "both, or neither");
        assert_eq!(store.read(&key("k")).unwrap(), if ours { &b"ours"[..] } else { b"theirs" });
        drop(store);
        world.assert_clean();
    });
}

/// Other processes look into the overflow subdirectories up to the first that is missing: none is missing at any instant,
/// while drafts of one key come and go.
#[test]
fn subdirectories_never_have_a_gap() {
    every_order(2, || {
        let world = Arc::new(World::new());
        let store = world.open();
        let first = store.create(&key("k"), 0, Flags::default()).unwrap();
        let work = |store: &Store, world: &World| {
            let writer = store.create(&key("k"), 0, Flags::default()).unwrap();
            world.assert_no_gap();
            drop(writer);
            world.assert_no_gap();
        };
        let (other, theirs) = (store.clone(), world.clone());
        let writing = spawn(move || work(&other, &theirs));
        work(&store, &world);
        writing.join().unwrap();
        drop(first);
        world.assert_no_gap();
        drop(store);
        world.assert_clean();
    });
}

//! What threads share on this floor, in every order that they can come in (`make loom`).
use super::fork::{after_fork_in_parent, before_fork, known_descriptor};
use super::{LockFd, Shared, open};
use loom::cell::UnsafeCell;
use loom::thread;
use std::os::fd::AsRawFd;
use std::sync::atomic::{AtomicI32, Ordering};

/// Each thread writes a part without a lock; whoever is the last to let go reads all of them.
struct Parts([UnsafeCell<u32>; 2]);

impl Drop for Parts {
    fn drop(&mut self) {
        // SAFETY: nobody else has it any more; loom fails where that is not so.
        let sum: u32 = self.0.iter().map(|part| part.with_mut(|part| unsafe { *part })).sum();
        assert!(sum <= 3);
    }
}

#[test]
fn the_last_reference_drops_after_all_that_others_did() {
    loom::model(|| {
        let first = Shared::try_new(Parts([UnsafeCell::new(0), UnsafeCell::new(0)])).unwrap();
        let other = first.clone();
        let thread = thread::spawn(move || {
            let again = other.clone();
            drop(other);
            // SAFETY: this thread's part alone.
            again.0[1].with_mut(|part| unsafe { *part = 2 });
        });
        // SAFETY: as above.
        first.0[0].with_mut(|part| unsafe { *part = 1 });
        drop(first);
        thread.join().unwrap();
    });
}

#[test]
fn a_forked_child_knows_of_every_lock_that_it_has() {
    loom::model(|| {
        // What the kernel knows, which is no loom type since it orders nothing: how many were opened, and the last one.
        static OPENED: AtomicI32 = AtomicI32::new(0);
        static LAST: AtomicI32 = AtomicI32::new(-1);
        OPENED.store(0, Ordering::Relaxed);
        LAST.store(-1, Ordering::Relaxed);
        let forker = thread::spawn(|| {
            // SAFETY: as the C library calls it.
            unsafe { before_fork() };
            // The kernel copies memory and descriptors at one instant: that of the slot's look.
            let slot = known_descriptor();
            let (opened, last) = (OPENED.load(Ordering::Relaxed), LAST.load(Ordering::Relaxed));
            // SAFETY: as above.
            unsafe { after_fork_in_parent() };
            (opened, slot == last)
        });
        let lock = LockFd::open(|| {
            let file = open(None, c"/dev/null", super::Open::Read)?;
            OPENED.fetch_add(1, Ordering::Relaxed);
            LAST.store(file.as_raw_fd(), Ordering::Relaxed);
            Ok(file)
        });
        let (inherited, known) = forker.join().unwrap();
        // What it opened before, it has closed again.
        let kept = OPENED.load(Ordering::Relaxed);
        assert!(inherited != kept || known, "a child has a lock's descriptor and does not close it");
        drop(lock.unwrap());
    });
}

#[test]
fn two_locks_have_two_slots_and_give_them_back() {
    loom::model(|| {
        let lock = || LockFd::open(|| open(None, c"/dev/null", super::Open::Read)).unwrap();
        let other = thread::spawn(move || lock().get().unwrap());
        let ours = lock();
        let (fd, theirs) = (ours.get().unwrap(), other.join().unwrap());
        assert!(fd > 2 && theirs > 2);
        assert_eq!(ours.get(), Ok(fd), "another lock took our slot");
        drop(ours);
        let again = lock();
        assert_eq!(again.get(), Ok(known_descriptor()), "the first slot was not given back");
    });
}

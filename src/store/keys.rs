//! Which keys the threads of one handle are changing: file locks do not exclude threads that share a descriptor.
use crate::sys::sync::{Condvar, Mutex, PoisonError};
use crate::sys::{Deadline, try_push};
use std::time::Duration;

/// Keys that can be held at once; more wait for one of them.
const HELD_MAX: usize = if cfg!(loom) { 2 } else { 64 };

pub struct KeyTable {
    held: Mutex<Held>,
    released: Condvar,
}

struct Held {
    /// Threads that wait: only then is waking them worth a system call.
    waiting: usize,
    /// What they wait for, in the order in which they came. One that finds no memory to stand here waits all the same.
    queue: Vec<(u64, u64)>,
    tickets: u64,
    count: usize,
    numbers: [u64; HELD_MAX],
}

/// A key's number, taken until this goes.
pub struct Taken<'a> {
    table: &'a KeyTable,
    number: u64,
}

impl KeyTable {
    pub fn new() -> KeyTable {
        let held = Held { waiting: 0, queue: Vec::new(), tickets: 0, count: 0, numbers: [0; HELD_MAX] };
        KeyTable { held: Mutex::new(held), released: Condvar::new() }
    }

    /// Takes a number, waiting for at most `patience`; `None` where another thread kept it. Who came first gets it first.
    pub fn take(&self, number: u64, patience: Duration) -> Option<Taken<'_>> {
        let mut held = self.held.lock().unwrap_or_else(PoisonError::into_inner);
        let busy = |held: &Held, ticket: u64| {
            held.count == HELD_MAX
                || held.numbers[..held.count].contains(&number)
                || held.queue.iter().any(|&(other, earlier)| other == number && earlier < ticket)
        };
        if busy(&held, u64::MAX) {
            let ticket = held.tickets;
            held.tickets += 1;
            held.waiting += 1;
            let _ = try_push(&mut held.queue, (number, ticket));
            let deadline = Deadline::after(patience);
            let mut free = false;
            while !free && !deadline.is_over() {
                let waited = self.released.wait_timeout(held, deadline.left());
                held = waited.unwrap_or_else(PoisonError::into_inner).0;
                free = !busy(&held, ticket);
            }
            held.waiting -= 1;
            held.queue.retain(|&(_, other)| other != ticket);
            if !free {
                let waiting = held.waiting > 0;
                drop(held);
                if waiting {
                    self.released.notify_all(); // they need not wait for this one any more
                }
                return None;
            }
        }
        let count = held.count;
        held.numbers[count] = number;
        held.count += 1;
        Some(Taken { table: self, number })
    }
}

impl Drop for Taken<'_> {
    fn drop(&mut self) {
        let mut held = self.table.held.lock().unwrap_or_else(PoisonError::into_inner);
        let count = held.count;
        if let Some(at) = held.numbers[..count].iter().position(|&n| n == self.number) {
            held.numbers[at] = held.numbers[count - 1];
            held.count -= 1;
        }
        let waiting = held.waiting > 0;
        drop(held);
        if waiting {
            self.table.released.notify_all();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::atomic::{AtomicUsize, Ordering};

    #[test]
    fn threads_exclude_each_other_on_one_key_and_not_on_two() {
        let table = KeyTable::new();
        let first = table.take(7, Duration::ZERO).unwrap();
        assert!(table.take(7, Duration::from_millis(1)).is_none());
        assert!(table.take(8, Duration::ZERO).is_some());
        drop(first);
        let inside = AtomicUsize::new(0);
        std::thread::scope(|scope| {
            for _ in 0..4 {
                scope.spawn(|| {
                    for _ in 0..1000 {
                        let _taken = table.take(9, Duration::from_secs(60)).unwrap();
                        assert_eq!(inside.fetch_add(1, Ordering::SeqCst), 0);
                        inside.fetch_sub(1, Ordering::SeqCst);
                    }
                });
            }
        });
    }

    #[test]
    fn who_waits_for_a_key_comes_before_who_asks_later() {
        let table = KeyTable::new();
        let first = table.take(7, Duration::ZERO).unwrap();
        std::thread::scope(|scope| {
            let waiting = scope.spawn(|| table.take(7, Duration::from_secs(60)).is_some());
            while table.held.lock().unwrap().waiting == 0 {
                std::thread::yield_now();
            }
            drop(first);
            // Until the one that waits has had it, nobody else gets it at once.
            while table.take(7, Duration::ZERO).is_none() {}
            assert!(table.held.lock().unwrap().queue.is_empty(), "it was overtaken");
            assert!(waiting.join().unwrap());
        });
        // Who gave up holds nobody back.
        let held = table.take(7, Duration::ZERO).unwrap();
        assert!(table.take(7, Duration::from_millis(1)).is_none());
        drop(held);
        assert!(table.take(7, Duration::ZERO).is_some());
    }

    #[test]
    fn a_full_table_waits_and_goes_on() {
        let table = KeyTable::new();
        let mut taken: Vec<_> = (0..HELD_MAX as u64).map(|n| table.take(n, Duration::ZERO).unwrap()).collect();
        assert!(table.take(1000, Duration::from_millis(1)).is_none());
        taken.pop();
        assert!(table.take(1000, Duration::ZERO).is_some());
    }
}

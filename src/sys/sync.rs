//! What threads share is made of these: the standard library's, or, with `--cfg loom`, those of loom, which runs the
//! tests named `orders` in every order that threads can come in (`make loom`).
#[cfg(loom)]
pub use loom::sync::{Condvar, Mutex, MutexGuard, atomic};
#[cfg(not(loom))]
pub use std::sync::{Condvar, Mutex, MutexGuard, atomic};
pub use std::sync::{PoisonError, TryLockError};

/// A static of such types: loom makes it anew for every order that it tries.
macro_rules! shared_static {
    ($(#[$doc:meta])* $name:ident: $type:ty = $value:expr;) => {
        #[cfg(not(loom))]
        $(#[$doc])*
        static $name: $type = $value;
        #[cfg(loom)]
        loom::lazy_static! {
            static ref $name: $type = $value;
        }
    };
}
pub(crate) use shared_static;

/// Under loom, each system call is a moment at which another thread may come first. It orders nothing.
#[cfg(loom)]
pub fn meet_others() {
    shared_static! { KERNEL: atomic::AtomicUsize = atomic::AtomicUsize::new(0); }
    KERNEL.fetch_add(1, atomic::Ordering::Relaxed);
}

//! Floor 1: the operating system. Every call goes through [`call::retry`] or [`call::once`], where a test can make
//! the N-th one fail; each answers `Ok` or the errno, and nothing here decides what that means.
//!
//! This is the one place that another platform would change.
mod alloc;
mod call;
mod cgroup;
mod file;
mod fork;
mod lock;
mod memory;
mod names;
#[cfg(all(test, loom))]
mod orders;
mod process;
pub mod sync;
pub mod thread;

pub use alloc::{Block, NoMemory, Shared, Text, fill, try_box, try_concat, try_push, try_text};
#[cfg(test)]
pub use call::faults;
#[cfg(feature = "capi")]
pub use call::{errno, set_errno};
pub use cgroup::MemoryLimit;
pub use file::*;
pub use fork::{BlobFd, KeptFd, Kin, LockFd, begin_call, leave_if_locked};
pub use lock::{KeyLockMode, flock, funlock, ofd_is_locked, ofd_lock, ofd_unlock};
pub use memory::{Mapping, Region, map_blob};
pub use names::Names;
pub use process::*;

/// What a call answers: the errno where it failed.
pub type Os<T> = Result<T, i32>;

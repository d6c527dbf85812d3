//! `libvfs`: a store of named, immutable blobs that any process on the host reads by key.
//!
//! A blob goes to the first *tier* that can take it: shared memory, then disk. No daemon, no
//! threads, no signal handlers. [`Store`] is the whole of the Rust API; the C ABI in
//! `include/vfs.h` is a thin skin over it.
//!
//! ```
//! use vfs::{Flags, Key, Options, Store};
//!
//! let dir = tempfile::tempdir()?;
//! let tiers = dir.path().to_str().unwrap();
//! let store = Store::open(Options { tiers: Some(tiers.as_bytes()), ..Options::default() })?;
//! let key = Key::new("plot.png")?;
//! store.store(&key, b"some bytes", Flags::default())?;
//!
//! // Any other process of this user that opens the same store on the same tiers does this too.
//! let view = store.map(&key, None)?;
//! assert_eq!(&view[..4], b"some");
//! drop(store); // what it stored is gone, but what is held stays
//! assert_eq!(&view[5..], b"bytes");
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! # The floors
//!
//! ```text
//! ffi      the C ABI: check, call, map the result
//! store    which tier, falling through, one value per key, lifetimes
//! tier     drafts, blobs, owners on one tier: a directory, or this process's memory
//! sys      the system calls, behind a seam where a test can make one fail
//! ```
//!
//! Arrows run only downward; `key`, `error` and `options` are leaves. `unsafe` is in `ffi` and
//! `sys` alone.
//!
//! # On a tier
//!
//! ```text
//! /dev/shm/vfs1-1000/       0700, ours. 1 = layout version, 1000 = user id; every handle holds a shared flock on it
//!   \lock                   empty, never removed: byte-range locks, one byte a key
//!   NAME/                   the store
//!     objects/KEY           a published blob: exactly its bytes, 0600, never written again
//!     owners/ID/            the room of one owner, held with flock for as long as the owner lives
//!       KEY                 the owner's hard link to objects/KEY, or a draft of it that is not published yet
//!       \1/KEY, \2/KEY      the same, where KEY is taken: by the blob being replaced, by another draft
//!       \N.link             a spare link on its way over an existing objects/KEY
//! ```
//!
//! `docs/DESIGN.md` has the protocols and the reasons.
#![deny(unsafe_code)]
#![warn(missing_docs)]

#[cfg(all(panic = "abort", feature = "capi"))]
compile_error!("the C ABI turns panics into VFS_ERR_PANIC, which needs panic = \"unwind\"");

pub mod error;
#[cfg(feature = "capi")]
#[allow(unsafe_code)]
pub mod ffi;
pub mod key;
pub mod options;
pub mod store;
#[allow(unsafe_code)]
#[cfg_attr(not(feature = "capi"), allow(dead_code, unused_imports))]
// some of it serves the C ABI alone
mod sys;
mod tier;

pub use error::{Code, Error, Result};
pub use key::Key;
pub use options::{Level, Log, Options};
pub use store::{Flags, List, Stat, Store, TierKind, TierStat, Trouble, View, Writer};

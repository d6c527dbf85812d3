//! The C ABI of `include/vfs.h`: each function checks its arguments, calls the store and maps the
//! result. The doc comments of what is public here are the header's, which a test generates and
//! compares (`tests/header.rs`), so they speak to a reader of C.
//!
//! Every exported body runs inside `guard`: panics become `VFS_ERR_PANIC`, errno is kept,
//! cancellation is put off, and the thread's last error is set where the call fails. No exported
//! function calls another exported one, since a host's own symbol could be in the way.
#![allow(
    clippy::missing_safety_doc,
    reason = "the header's contract, which the doc comments are, says what C must keep"
)]
#![deny(unsafe_op_in_unsafe_fn)]

mod args;
mod blob;
mod guard;
mod list;
mod open;
mod text;
mod tiers;
mod types;
mod view;
mod writer;

#[cfg(test)]
mod tests;

pub use blob::{vfs_has, vfs_read, vfs_remove, vfs_remove_owned, vfs_stat, vfs_store};
pub use list::{vfs_list_close, vfs_list_next, vfs_list_open};
pub use open::{vfs_close, vfs_open, vfs_shutdown};
pub use text::{vfs_last_errno, vfs_last_error, vfs_strerror, vfs_version};
pub use tiers::{vfs_reap, vfs_tier_stat};
pub use types::{
    vfs_code, vfs_list_t, vfs_log_level, vfs_open_flag, vfs_options_t, vfs_stat_flag, vfs_stat_t, vfs_status_t,
    vfs_store_flag, vfs_t, vfs_tier_flag, vfs_tier_kind, vfs_tier_stat_t, vfs_view_t, vfs_writer_t,
};
pub use view::{vfs_map, vfs_unmap};
pub use writer::{vfs_abort, vfs_create, vfs_reserve, vfs_seal, vfs_write};

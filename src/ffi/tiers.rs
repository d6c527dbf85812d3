//! What lies under the blobs: dead owners, and the tiers.
use super::args::{self, Out};
use super::guard::{self, Failure};
use super::types::{vfs_status_t, vfs_t, vfs_tier_stat_t};
use crate::error::Code;

/// Removes what dead owners left, finished or not, in any of this user's stores on these tiers.
/// vfs_open does this too; a host that runs for long may call it now and then.
///
/// A living owner's blobs and persistent blobs are never touched. `out_removed` may be NULL; on
/// success it is how many blobs, finished or not, were removed.
///
/// Returns:
/// - VFS_OK: no dead owner is left on a tier that can be used, but what another is reaping now.
/// - VFS_ERR_INVALID: `store` is NULL.
/// - VFS_ERR_READ_ONLY: the store was opened with VFS_READ_ONLY, or a filesystem is read-only.
/// - VFS_ERR_PERMISSION, VFS_ERR_IO, VFS_ERR_UNSUPPORTED, VFS_ERR_NO_SPACE, VFS_ERR_BUSY,
///   VFS_ERR_LIMIT, VFS_ERR_NO_MEMORY: something could not be removed; the rest is. The next reap
///   tries again.
/// - VFS_ERR_SHUTDOWN, VFS_ERR_FORKED: the handle is of no more use for this.
/// - VFS_ERR_PANIC: a bug, caught.
///
/// Threads: any. Fork: VFS_ERR_FORKED in the child.
/// Since: 0.1.0
#[unsafe(no_mangle)]
pub unsafe extern "C" fn vfs_reap(store: *mut vfs_t, out_removed: *mut u64) -> vfs_status_t {
    // SAFETY: the header's contract for each pointer.
    unsafe {
        guard::status("vfs_reap", store, |_| {
            let removed = args::handle(store, "store is NULL")?.store.reap()?;
            if !out_removed.is_null() {
                out_removed.write_unaligned(removed);
            }
            Ok(())
        })
    }
}

/// Tells where the tier of this index lies and how it fares: 0 is the first of the list, and
/// dropped ones are not counted. `*out` is filled on success only. A filesystem that cannot be
/// asked is no failure: its sizes are 0.
///
/// Returns:
/// - VFS_OK: `*out` is filled.
/// - VFS_ERR_NOT_FOUND: `index` is past the last tier.
/// - VFS_ERR_INVALID: `store` or `out` is NULL, or struct_size of `out` is wrong.
/// - VFS_ERR_PERMISSION, VFS_ERR_IO, VFS_ERR_UNSUPPORTED, VFS_ERR_NO_SPACE, VFS_ERR_LIMIT,
///   VFS_ERR_NO_MEMORY: the handle's own blobs there could not be counted.
/// - VFS_ERR_SHUTDOWN: the store was shut down.
/// - VFS_ERR_PANIC: a bug, caught.
///
/// Threads: any. Fork: allowed in the child, which owns nothing: blobs and bytes are 0.
/// Since: 0.1.0
#[unsafe(no_mangle)]
pub unsafe extern "C" fn vfs_tier_stat(store: *mut vfs_t, index: u32, out: *mut vfs_tier_stat_t) -> vfs_status_t {
    // SAFETY: the header's contract for each pointer.
    unsafe {
        guard::status("vfs_tier_stat", store, |_| {
            let store = args::handle(store, "store is NULL")?;
            let out = Out::new(out, "out is NULL")?;
            match store.store.tier_stat(index)? {
                Some(tier) => {
                    out.fill(tier.into());
                    Ok(())
                }
                None => Err(Failure::Boundary(Code::NotFound, "index is past the last tier")),
            }
        })
    }
}

//! Blobs in place.
use super::args::{self, Out};
use super::guard;
use super::types::{vfs_stat_t, vfs_status_t, vfs_t, vfs_view_t};
use crate::store::{Stat, View};
use crate::sys::{self, NoMemory};
use std::ffi::{c_char, c_void};
use std::ptr::{null, null_mut};

/// Shows a blob's bytes in place, without copying them, however large it is.
///
/// On success `*out` is the caller's to give back with vfs_unmap, once, from the same place. The
/// bytes must not be written. They stay whatever becomes of the key, its owner and the store,
/// until vfs_unmap; see Caveats for failing media and truncation from outside. An empty blob is
/// data NULL and len 0. `stat`, which may be NULL, is filled for the very blob that is shown.
/// After a failure `*out` and `*stat` are as they were: set the view to zeroes first if it will be
/// given back in any case.
///
/// Returns:
/// - VFS_OK: `*out` is filled.
/// - VFS_ERR_INVALID: `store`, `key` or `out` is NULL, or struct_size of `stat` is wrong.
/// - VFS_ERR_KEY: `key` is not a key.
/// - VFS_ERR_NOT_FOUND: no blob has this key.
/// - VFS_ERR_PERMISSION, VFS_ERR_IO, VFS_ERR_UNSUPPORTED, VFS_ERR_NO_SPACE: a tier could not be
///   looked into or mapped, and no other has the key.
/// - VFS_ERR_BUSY: no tier had the key at first sight, and another process holds the key's lock.
/// - VFS_ERR_LIMIT, VFS_ERR_NO_MEMORY: no descriptors; no memory, or no room among the addresses.
/// - VFS_ERR_FORKED: not found on a directory, and the parent's memory tier may have it.
/// - VFS_ERR_SHUTDOWN: the store was shut down.
/// - VFS_ERR_PANIC: a bug, caught.
///
/// Threads: any; all may read the bytes. Fork: in the child it maps what lies on directories, and
/// the parent's views are there too, to be given back in each process.
/// Since: 0.1.0
#[unsafe(no_mangle)]
pub unsafe extern "C" fn vfs_map(
    store: *mut vfs_t,
    key: *const c_char,
    out: *mut vfs_view_t,
    stat: *mut vfs_stat_t,
) -> vfs_status_t {
    // SAFETY: the header's contract for each pointer.
    unsafe {
        guard::status("vfs_map", store, |call| {
            let store = args::handle(store, "store is NULL")?;
            args::not_null(out, "out is NULL")?;
            let stat = Out::optional(stat)?;
            let key = args::key(call, key)?;
            let mut seen = Stat::default();
            let view = store.store.map(key, stat.is_some().then_some(&mut seen))?;
            out.write_unaligned(lend(view)?);
            if let Some(stat) = stat {
                stat.fill(seen.into());
            }
            Ok(())
        })
    }
}

/// The C struct of a view, which owns it until `vfs_unmap`.
fn lend(view: View) -> Result<vfs_view_t, NoMemory> {
    if view.is_empty() {
        return Ok(vfs_view_t { data: null(), len: 0, owner: null_mut() });
    }
    let (data, len) = (view.as_ptr().cast(), view.len()); // these stay where they are while the view moves
    Ok(vfs_view_t { data, len, owner: Box::into_raw(sys::try_box(view)?).cast() })
}

/// Gives back a view and sets it to zeroes; its bytes must not be touched afterwards.
///
/// NULL, and a view of zeroes, do nothing, so a second call does nothing. The store may be closed
/// already.
///
/// Threads: one at a time for a view. Fork: allowed in the child, where it gives back the child's
/// copy.
/// Since: 0.1.0
#[unsafe(no_mangle)]
pub unsafe extern "C" fn vfs_unmap(view: *mut vfs_view_t) {
    guard::quietly(|| {
        // SAFETY: NULL, zeroes, or filled by `vfs_map` and not copied, says the header.
        unsafe {
            if view.is_null() {
                return;
            }
            let vfs_view_t { owner, .. } = view.read_unaligned();
            view.write_unaligned(vfs_view_t { data: null::<c_void>(), len: 0, owner: null_mut() });
            if !owner.is_null() {
                drop(Box::from_raw(owner.cast::<View>()));
            }
        }
    });
}

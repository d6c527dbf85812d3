//! Listing what a store holds.
use super::args::{self, Out};
use super::guard::{self, Failure};
use super::types::{vfs_list_t, vfs_stat_t, vfs_status_t, vfs_t};
use crate::error::Code;
use crate::sys;
use std::ffi::c_char;

/// Begins a listing of all blobs of the store, in no order.
///
/// `*out` is set to NULL first and, on success, to a listing that is the caller's to give back
/// with vfs_list_close. A blob that is there all the while is listed exactly once. One that is
/// stored, removed or replaced meanwhile may be listed, or not, or twice.
///
/// Returns:
/// - VFS_OK: `*out` is the listing.
/// - VFS_ERR_INVALID: `store` or `out` is NULL.
/// - VFS_ERR_PERMISSION, VFS_ERR_IO, VFS_ERR_UNSUPPORTED: no tier could be listed.
/// - VFS_ERR_LIMIT, VFS_ERR_NO_MEMORY: no descriptors, no memory.
/// - VFS_ERR_SHUTDOWN: the store was shut down.
/// - VFS_ERR_PANIC: a bug, caught.
///
/// Threads: any. Fork: in the child it lists what lies on directories.
/// Since: 0.1.0
#[unsafe(no_mangle)]
pub unsafe extern "C" fn vfs_list_open(store: *mut vfs_t, out: *mut *mut vfs_list_t) -> vfs_status_t {
    // SAFETY: the header's contract for each pointer.
    unsafe {
        args::clear(out);
        guard::status("vfs_list_open", store, |_| {
            let store = args::handle(store, "store is NULL")?;
            args::not_null(out, "out is NULL")?;
            let list = store.store.list()?;
            out.write_unaligned(Box::into_raw(sys::try_box(vfs_list_t { list })?));
            Ok(())
        })
    }
}

/// Tells the next blob of a listing.
///
/// On success `*key` is its key, ours and valid until the next call on this listing, and `*stat`
/// is filled. After a failure both are as they were.
///
/// Returns:
/// - VFS_OK: here is one.
/// - VFS_ERR_NOT_FOUND: there are no more, and every tier was listed.
/// - VFS_ERR_INVALID: `list`, `key` or `stat` is NULL, or struct_size of `stat` is wrong.
/// - VFS_ERR_PERMISSION, VFS_ERR_IO, VFS_ERR_UNSUPPORTED: there are no more, but a tier could not be
///   listed to its end. Told once, in place of VFS_ERR_NOT_FOUND.
/// - VFS_ERR_LIMIT, VFS_ERR_NO_MEMORY: no descriptors, no memory; the next call goes on.
/// - VFS_ERR_FORKED: the parent began this listing.
/// - VFS_ERR_SHUTDOWN: the store was shut down or closed.
/// - VFS_ERR_PANIC: a bug, caught; the listing is of no more use but to be given back.
///
/// Threads: one at a time for a listing. Fork: VFS_ERR_FORKED for a listing that the parent began.
/// Since: 0.1.0
#[unsafe(no_mangle)]
pub unsafe extern "C" fn vfs_list_next(
    list: *mut vfs_list_t,
    key: *mut *const c_char,
    stat: *mut vfs_stat_t,
) -> vfs_status_t {
    // SAFETY: the header's contract for each pointer.
    unsafe {
        guard::status("vfs_list_next", list, |_| {
            let list = args::handle_mut(list, "list is NULL")?;
            args::not_null(key, "key is NULL")?;
            let stat = Out::new(stat, "stat is NULL")?;
            match list.list.next()? {
                Some((name, seen)) => {
                    key.write_unaligned(name.as_ptr());
                    stat.fill(seen.into());
                    Ok(())
                }
                None => Err(Failure::Boundary(Code::NotFound, "the listing is at its end")),
            }
        })
    }
}

/// Gives back a listing, at its end or before; NULL does nothing. The store may be closed already.
///
/// Threads: one at a time for a listing. Fork: allowed in the child, where it frees the child's
/// copy.
/// Since: 0.1.0
#[unsafe(no_mangle)]
pub unsafe extern "C" fn vfs_list_close(list: *mut vfs_list_t) {
    // SAFETY: NULL, or made by `vfs_list_open` and closed once, says the header.
    let list = (!list.is_null()).then(|| unsafe { Box::from_raw(list) });
    guard::quietly(move || drop(list));
}

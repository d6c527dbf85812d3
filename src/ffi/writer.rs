//! Blobs written in parts.
use super::args;
use super::guard;
use super::types::{vfs_status_t, vfs_t, vfs_writer_t};
use crate::sys;
use std::ffi::{c_char, c_void};
use std::ptr::null_mut;

/// Begins a blob that is written in parts: vfs_write and vfs_reserve append, vfs_seal publishes
/// it, vfs_abort gives it up. Until it is sealed nobody sees it, and it dies with its process.
///
/// `size_hint` picks the first tier with room for that many bytes; 0, or more than fits anywhere,
/// means that the size is not known. The blob may become smaller or larger. `flags` are those of
/// vfs_store. `*out` is set to NULL first and, on success, to a writer that is the caller's to end
/// with vfs_seal or vfs_abort. After a failure nothing has changed.
///
/// Returns:
/// - VFS_OK: `*out` is the writer.
/// - VFS_ERR_INVALID: `store`, `key` or `out` is NULL, or a flag is unknown.
/// - VFS_ERR_KEY: `key` is not a key.
/// - VFS_ERR_EXISTS: a blob has this key, and VFS_REPLACE was not given. Told as early as it is
///   known; vfs_seal decides.
/// - VFS_ERR_NO_SPACE: every tier refused, one at least for lack of room.
/// - VFS_ERR_PERMISSION, VFS_ERR_IO, VFS_ERR_UNSUPPORTED, VFS_ERR_READ_ONLY: every tier refused,
///   the first one for this reason; or the store was opened with VFS_READ_ONLY; or other users can
///   reach the store's directories on a tier (see the caveats): VFS_ERR_PERMISSION.
/// - VFS_ERR_BUSY: another process holds what this needs.
/// - VFS_ERR_LIMIT, VFS_ERR_NO_MEMORY: no descriptors, no memory.
/// - VFS_ERR_SHUTDOWN, VFS_ERR_FORKED: the handle is of no more use for this.
/// - VFS_ERR_PANIC: a bug, caught.
///
/// Threads: any. Fork: VFS_ERR_FORKED in the child.
/// Since: 0.1.0
#[unsafe(no_mangle)]
pub unsafe extern "C" fn vfs_create(
    store: *mut vfs_t,
    key: *const c_char,
    size_hint: u64,
    flags: u32,
    out: *mut *mut vfs_writer_t,
) -> vfs_status_t {
    // SAFETY: the header's contract for each pointer.
    unsafe {
        args::clear(out);
        guard::status("vfs_create", store, |call| {
            let store = args::handle(store, "store is NULL")?;
            args::not_null(out, "out is NULL")?;
            let key = args::key(call, key)?;
            let flags = args::store_flags(flags)?;
            let writer = store.store.create(key, size_hint, flags)?;
            out.write_unaligned(Box::into_raw(sys::try_box(vfs_writer_t { writer, key: *key })?));
            Ok(())
        })
    }
}

/// Appends `len` bytes at `data`. When the tier has no more room, what is written so far moves to
/// the next tier that can take it all.
///
/// `data` is read during the call only, and may be NULL if `len` is 0. After a failure nothing is
/// appended, and the call may be tried again.
///
/// Returns:
/// - VFS_OK: appended.
/// - VFS_ERR_INVALID: `writer` or `data` is NULL, or `len` is beyond SIZE_MAX / 2.
/// - VFS_ERR_NO_SPACE: every tier refused, one at least for lack of room.
/// - VFS_ERR_PERMISSION, VFS_ERR_IO, VFS_ERR_UNSUPPORTED, VFS_ERR_READ_ONLY: every tier refused,
///   the first one for this reason.
/// - VFS_ERR_LIMIT, VFS_ERR_NO_MEMORY: no descriptors, no memory.
/// - VFS_ERR_SHUTDOWN, VFS_ERR_FORKED: the writer is of no more use but to be ended.
/// - VFS_ERR_PANIC: a bug, caught; the writer is of no more use but to be ended.
///
/// Threads: one at a time for a writer. Fork: VFS_ERR_FORKED in the child.
/// Since: 0.1.0
#[unsafe(no_mangle)]
pub unsafe extern "C" fn vfs_write(writer: *mut vfs_writer_t, data: *const c_void, len: usize) -> vfs_status_t {
    // SAFETY: the header's contract for each pointer.
    unsafe {
        guard::status("vfs_write", writer, |call| {
            let vfs_writer_t { writer, key } = args::handle_mut(writer, "writer is NULL")?;
            call.key = Some(*key);
            let data = args::bytes(data, len).inspect_err(|failure| writer.lacks(failure.code()))?;
            Ok(writer.write(data)?)
        })
    }
}

/// Appends `len` bytes of memory that the caller fills in place, as an encoder or a reader of a
/// socket would.
///
/// On success `*out` is that memory, to be written until the next call on this writer, which is
/// when its bytes count; what it holds before is unspecified. It is ours, and not there in a forked
/// child. A `len` of 0 is NULL. After a failure nothing is appended, `*out` is as it was, and the
/// call may be tried again. What was reserved before is appended by this call, which may fail for
/// it.
///
/// Returns:
/// - VFS_OK: `*out` is the memory.
/// - VFS_ERR_INVALID: `writer` or `out` is NULL, or `len` is beyond SIZE_MAX / 2.
/// - VFS_ERR_NO_SPACE: every tier refused, one at least for lack of room.
/// - VFS_ERR_PERMISSION, VFS_ERR_IO, VFS_ERR_UNSUPPORTED, VFS_ERR_READ_ONLY: every tier refused,
///   the first one for this reason.
/// - VFS_ERR_LIMIT, VFS_ERR_NO_MEMORY: no descriptors; no memory, or no room among the addresses.
/// - VFS_ERR_SHUTDOWN, VFS_ERR_FORKED: the writer is of no more use but to be ended.
/// - VFS_ERR_PANIC: a bug, caught; the writer is of no more use but to be ended.
///
/// Threads: one at a time for a writer. Fork: VFS_ERR_FORKED in the child.
/// Since: 0.1.0
#[unsafe(no_mangle)]
pub unsafe extern "C" fn vfs_reserve(writer: *mut vfs_writer_t, len: usize, out: *mut *mut c_void) -> vfs_status_t {
    // SAFETY: the header's contract for each pointer.
    unsafe {
        guard::status("vfs_reserve", writer, |call| {
            let vfs_writer_t { writer, key } = args::handle_mut(writer, "writer is NULL")?;
            call.key = Some(*key);
            let checked = args::not_null(out, "out is NULL").and_then(|()| args::length(len));
            let len = checked.inspect_err(|failure| writer.lacks(failure.code()))?;
            let memory = writer.reserve(len)?;
            out.write_unaligned(if memory.is_empty() { null_mut() } else { memory.as_mut_ptr().cast() });
            Ok(())
        })
    }
}

/// Publishes the blob, and ends the writer whatever it returns: `writer` is gone afterwards.
///
/// On success the blob is there for every process, whole, just as vfs_store leaves it. After a
/// failure nothing of it is left, and what the key held before is as it was. A blob whose last
/// vfs_write or vfs_reserve failed is not published: the answer is that failure's code, unless a
/// later part was taken.
///
/// Returns:
/// - VFS_OK: published.
/// - VFS_ERR_INVALID: `writer` is NULL.
/// - VFS_ERR_EXISTS: a blob has this key, and VFS_REPLACE was not given.
/// - VFS_ERR_NO_SPACE: every tier refused, one at least for lack of room.
/// - VFS_ERR_PERMISSION, VFS_ERR_IO, VFS_ERR_UNSUPPORTED, VFS_ERR_READ_ONLY: every tier refused,
///   the first one for this reason; or other users can reach the store's directories on a tier (see
///   the caveats): VFS_ERR_PERMISSION.
/// - VFS_ERR_BUSY: another process holds this key's lock.
/// - VFS_ERR_LIMIT, VFS_ERR_NO_MEMORY: no descriptors, no memory.
/// - VFS_ERR_SHUTDOWN, VFS_ERR_FORKED: the handle is of no more use for this.
/// - VFS_ERR_PANIC: a bug, caught.
///
/// Threads: one at a time for a writer. Fork: VFS_ERR_FORKED in the child, where it frees the
/// child's copy.
/// Since: 0.1.0
#[unsafe(no_mangle)]
pub unsafe extern "C" fn vfs_seal(writer: *mut vfs_writer_t) -> vfs_status_t {
    // SAFETY: the header's contract: NULL, or a writer that nobody uses any more.
    let status = unsafe {
        guard::status("vfs_seal", writer, |call| {
            let vfs_writer_t { writer, key } = args::handle_mut(writer, "writer is NULL")?;
            call.key = Some(*key);
            Ok(writer.finish()?)
        })
    };
    // Only now: a panic must still find the store that it makes useless.
    // SAFETY: NULL, or made by `vfs_create`, and ended once.
    let writer = (!writer.is_null()).then(|| unsafe { Box::from_raw(writer) });
    guard::quietly(move || drop(writer));
    status
}

/// Gives up the blob and ends the writer: `writer` is gone afterwards, and nothing is left of it.
/// NULL does nothing.
///
/// Threads: one at a time for a writer. Fork: in the child it frees memory and removes nothing.
/// Since: 0.1.0
#[unsafe(no_mangle)]
pub unsafe extern "C" fn vfs_abort(writer: *mut vfs_writer_t) {
    // SAFETY: NULL, or made by `vfs_create` and not sealed, says the header.
    let writer = (!writer.is_null()).then(|| unsafe { Box::from_raw(writer) });
    guard::quietly(move || drop(writer));
}

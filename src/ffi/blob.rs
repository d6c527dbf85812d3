//! Whole blobs, by key.
use super::args::{self, Out};
use super::guard::{self, Failure};
use super::types::{vfs_stat_t, vfs_status_t, vfs_t};
use crate::error::Code;
use crate::key::Key;
use crate::store::Stat;
use std::ffi::{c_char, c_void};

/// Stores a copy of `len` bytes at `data` under `key`, on the first tier that can take them now.
///
/// On success every process that opens the store by this name on these tiers sees the blob, whole,
/// and this handle owns it: it is removed when the handle shuts down or closes or the process
/// dies. With VFS_PERSIST it has no owner and lives until it is removed. With VFS_REPLACE it takes
/// the place of a blob that has the key. Of any number of callers that store one key at once
/// without VFS_REPLACE, exactly one gets VFS_OK. `data` is read during the call only, and may be
/// NULL if `len` is 0: an empty blob is a blob. After a failure nothing has changed.
///
/// Returns:
/// - VFS_OK: stored.
/// - VFS_ERR_INVALID: `store`, `key` or `data` is NULL, `len` is beyond SIZE_MAX / 2, or a flag is
///   unknown.
/// - VFS_ERR_KEY: `key` is not a key.
/// - VFS_ERR_EXISTS: a blob has this key, and VFS_REPLACE was not given.
/// - VFS_ERR_NO_SPACE: every tier refused, one at least for lack of room.
/// - VFS_ERR_PERMISSION, VFS_ERR_IO, VFS_ERR_UNSUPPORTED, VFS_ERR_READ_ONLY: every tier refused,
///   the first one for this reason; or the store was opened with VFS_READ_ONLY; or other users can
///   reach the store's directories on a tier (see the caveats): VFS_ERR_PERMISSION.
/// - VFS_ERR_BUSY: another process holds this key's lock.
/// - VFS_ERR_LIMIT, VFS_ERR_NO_MEMORY: no descriptors, no memory.
/// - VFS_ERR_SHUTDOWN, VFS_ERR_FORKED: the handle is of no more use for this.
/// - VFS_ERR_PANIC: a bug, caught.
///
/// Threads: any. Fork: VFS_ERR_FORKED in the child.
/// Since: 0.1.0
#[unsafe(no_mangle)]
pub unsafe extern "C" fn vfs_store(
    store: *mut vfs_t,
    key: *const c_char,
    data: *const c_void,
    len: usize,
    flags: u32,
) -> vfs_status_t {
    // SAFETY: the header's contract for each pointer.
    unsafe {
        guard::status("vfs_store", store, |call| {
            let store = args::handle(store, "store is NULL")?;
            let data = args::bytes(data, len)?;
            let key = args::key(call, key)?;
            let flags = args::store_flags(flags)?;
            Ok(store.store.store(key, data, flags)?)
        })
    }
}

/// Copies bytes of a blob: as many as there are from `offset` on, but no more than `cap`.
///
/// On success `*out_len` is how many were copied to `buf`; at or beyond the blob's end that is 0,
/// and still VFS_OK. `stat`, which may be NULL, is filled for the very blob that the bytes came
/// from: who reads in parts compares its id from part to part, since the key may be replaced in
/// between. `buf` may be NULL if `cap` is 0. One call reads one blob, whatever is done to the key
/// meanwhile. After a failure `*out_len` and `*stat` are as they were, and what `buf` holds is not
/// told.
///
/// Returns:
/// - VFS_OK: copied.
/// - VFS_ERR_INVALID: `store`, `key`, `buf` or `out_len` is NULL, `cap` is beyond SIZE_MAX / 2, or
///   struct_size of `stat` is wrong.
/// - VFS_ERR_KEY: `key` is not a key.
/// - VFS_ERR_NOT_FOUND: no blob has this key.
/// - VFS_ERR_PERMISSION, VFS_ERR_IO, VFS_ERR_UNSUPPORTED, VFS_ERR_NO_SPACE: a tier could not be
///   looked into or read, and no other has the key.
/// - VFS_ERR_BUSY: no tier had the key at first sight, and another process holds the key's lock.
/// - VFS_ERR_LIMIT, VFS_ERR_NO_MEMORY: no descriptors, no memory.
/// - VFS_ERR_FORKED: not found on a directory, and the parent's memory tier may have it.
/// - VFS_ERR_SHUTDOWN: the store was shut down.
/// - VFS_ERR_PANIC: a bug, caught.
///
/// Threads: any. Fork: in the child it reads what lies on directories.
/// Since: 0.1.0
#[unsafe(no_mangle)]
pub unsafe extern "C" fn vfs_read(
    store: *mut vfs_t,
    key: *const c_char,
    offset: u64,
    buf: *mut c_void,
    cap: usize,
    out_len: *mut usize,
    stat: *mut vfs_stat_t,
) -> vfs_status_t {
    // SAFETY: the header's contract for each pointer.
    unsafe {
        guard::status("vfs_read", store, |call| {
            let store = args::handle(store, "store is NULL")?;
            args::not_null(out_len, "out_len is NULL")?;
            let stat = Out::optional(stat)?;
            let buf = args::room(buf, cap)?;
            let key = args::key(call, key)?;
            let mut seen = Stat::default();
            let len = store.store.read_into(key, offset, buf, stat.is_some().then_some(&mut seen))?;
            out_len.write_unaligned(len);
            if let Some(stat) = stat {
                stat.fill(seen.into());
            }
            Ok(())
        })
    }
}

/// Whether a blob has this key. Compare with 1: an error is not 0 either.
///
/// Returns:
/// - 1: there is one.
/// - 0: there is none; also for what is not a key.
/// - VFS_ERR_INVALID: `store` or `key` is NULL.
/// - VFS_ERR_PERMISSION, VFS_ERR_IO, VFS_ERR_UNSUPPORTED, VFS_ERR_NO_SPACE: a tier could not be
///   looked into, and no other has the key.
/// - VFS_ERR_BUSY: no tier had the key at first sight, and another process holds the key's lock.
/// - VFS_ERR_LIMIT, VFS_ERR_NO_MEMORY: no descriptors, no memory.
/// - VFS_ERR_FORKED: not found on a directory, and the parent's memory tier may have it.
/// - VFS_ERR_SHUTDOWN: the store was shut down.
/// - VFS_ERR_PANIC: a bug, caught.
///
/// Threads: any. Fork: in the child it sees what lies on directories.
/// Since: 0.1.0
#[unsafe(no_mangle)]
pub unsafe extern "C" fn vfs_has(store: *mut vfs_t, key: *const c_char) -> i32 {
    // SAFETY: the header's contract for each pointer.
    unsafe {
        guard::answer("vfs_has", store, |call| {
            let store = args::handle(store, "store is NULL")?;
            match args::key(call, key) {
                Ok(key) => Ok(store.store.has(key)?.into()),
                Err(Failure::Store(error)) if error.code() == Code::Key => Ok(0),
                Err(null) => Err(null),
            }
        })
    }
}

/// Tells what is known of the blob that has this key, without reading it. `*out` is filled on
/// success only. Nobody is notified of a new blob: who waits for one asks again, and compares `id`.
///
/// Returns:
/// - VFS_OK: `*out` is filled.
/// - VFS_ERR_INVALID: `store`, `key` or `out` is NULL, or struct_size of `out` is wrong.
/// - VFS_ERR_KEY: `key` is not a key.
/// - VFS_ERR_NOT_FOUND: no blob has this key.
/// - VFS_ERR_PERMISSION, VFS_ERR_IO, VFS_ERR_UNSUPPORTED, VFS_ERR_NO_SPACE: a tier could not be
///   looked into, and no other has the key.
/// - VFS_ERR_BUSY: no tier had the key at first sight, and another process holds the key's lock.
/// - VFS_ERR_LIMIT, VFS_ERR_NO_MEMORY: no descriptors, no memory.
/// - VFS_ERR_FORKED: not found on a directory, and the parent's memory tier may have it.
/// - VFS_ERR_SHUTDOWN: the store was shut down.
/// - VFS_ERR_PANIC: a bug, caught.
///
/// Threads: any. Fork: in the child it sees what lies on directories.
/// Since: 0.1.0
#[unsafe(no_mangle)]
pub unsafe extern "C" fn vfs_stat(store: *mut vfs_t, key: *const c_char, out: *mut vfs_stat_t) -> vfs_status_t {
    // SAFETY: the header's contract for each pointer.
    unsafe {
        guard::status("vfs_stat", store, |call| {
            let store = args::handle(store, "store is NULL")?;
            let out = Out::new(out, "out is NULL")?;
            let key = args::key(call, key)?;
            out.fill(store.store.stat(key)?.into());
            Ok(())
        })
    }
}

/// Removes the blob that has this key, whoever owns it.
///
/// On success no process finds it any more; views of it, and reads under way, stay good. After a
/// failure it is still there.
///
/// Returns:
/// - VFS_OK: removed.
/// - VFS_ERR_INVALID: `store` or `key` is NULL.
/// - VFS_ERR_KEY: `key` is not a key.
/// - VFS_ERR_NOT_FOUND: no blob has this key, whether or not each tier can be changed.
/// - VFS_ERR_PERMISSION, VFS_ERR_IO, VFS_ERR_UNSUPPORTED, VFS_ERR_NO_SPACE: a tier could not be
///   looked into, or its blob not be removed.
/// - VFS_ERR_READ_ONLY: the store was opened with VFS_READ_ONLY, or the blob's filesystem is
///   read-only.
/// - VFS_ERR_BUSY: another process holds this key's lock.
/// - VFS_ERR_LIMIT, VFS_ERR_NO_MEMORY: no descriptors, no memory.
/// - VFS_ERR_SHUTDOWN, VFS_ERR_FORKED: the handle is of no more use for this.
/// - VFS_ERR_PANIC: a bug, caught.
///
/// Threads: any. Fork: VFS_ERR_FORKED in the child.
/// Since: 0.1.0
#[unsafe(no_mangle)]
pub unsafe extern "C" fn vfs_remove(store: *mut vfs_t, key: *const c_char) -> vfs_status_t {
    // SAFETY: the header's contract for each pointer.
    unsafe {
        guard::status("vfs_remove", store, |call| {
            let store = args::handle(store, "store is NULL")?;
            let key = args::key(call, key)?;
            Ok(store.store.remove(key)?)
        })
    }
}

/// Removes, of the blobs that have these keys, those that this handle owns. Others, and keys
/// without a blob, are left as they are, which is no failure.
///
/// `keys` has `count` entries, all of which are tried; the first failure is reported. A `count` of
/// 0 does nothing, and `keys` may be NULL then. The keys are the caller's and read during the call
/// only.
///
/// Returns:
/// - VFS_OK: this handle owns no blob of these keys any more.
/// - VFS_ERR_INVALID: `store` or `keys` is NULL, and nothing has changed; or an entry is NULL, and
///   the other entries are done.
/// - VFS_ERR_KEY: an entry is not a key; the others are done.
/// - VFS_ERR_PERMISSION, VFS_ERR_IO, VFS_ERR_UNSUPPORTED, VFS_ERR_NO_SPACE, VFS_ERR_BUSY,
///   VFS_ERR_LIMIT, VFS_ERR_NO_MEMORY: an entry's blob could not be removed and is still there,
///   or a tier could not be looked into for it; the others are done.
/// - VFS_ERR_READ_ONLY: the same; or the store was opened with VFS_READ_ONLY.
/// - VFS_ERR_SHUTDOWN, VFS_ERR_FORKED: the handle is of no more use for this.
/// - VFS_ERR_PANIC: a bug, caught.
///
/// Threads: any. Fork: VFS_ERR_FORKED in the child.
/// Since: 0.1.0
#[unsafe(no_mangle)]
pub unsafe extern "C" fn vfs_remove_owned(store: *mut vfs_t, keys: *const *const c_char, count: usize) -> vfs_status_t {
    // SAFETY: the header's contract for each pointer.
    unsafe {
        guard::status("vfs_remove_owned", store, |call| {
            let store = args::handle(store, "store is NULL")?;
            let mut first: Result<(), (Failure, Option<Key>)> = Ok(());
            let deadline = store.store.deadline();
            for key in args::keys(keys, count)? {
                let done = args::key(call, key).and_then(|key| Ok(store.store.remove_owned_until(key, deadline)?));
                first = first.and(done.map_err(|failure| (failure, call.key)));
            }
            first.map_err(|(failure, key)| {
                call.key = key;
                failure
            })
        })
    }
}

//! Opening and ending a store.
use super::args;
use super::guard::{self, Failure};
use super::types::{vfs_open_flag, vfs_options_t, vfs_status_t, vfs_t};
use crate::options::{Level, Log, Options};
use crate::store::Store;
use crate::sys;
use std::ffi::{CStr, c_char, c_void};

/// The host's log callback.
struct Callback {
    function: unsafe extern "C" fn(user: *mut c_void, level: i32, message: *const c_char),
    user: *mut c_void,
}

// SAFETY: the header says that the callback is called on any thread, maybe on several at once, and
// that `log_user` is only passed on.
unsafe impl Send for Callback {}
// SAFETY: as above.
unsafe impl Sync for Callback {}

impl Log for Callback {
    fn log(&self, level: Level, message: &CStr) {
        // SAFETY: the header's contract for `log`; the message lives during the call.
        unsafe { (self.function)(self.user, level as i32, message.as_ptr()) }
    }
}

/// Opens a store, and makes it on every tier that can be used and does not have it. What dead
/// owners left in any of this user's stores on these tiers is removed.
///
/// `options` may be NULL: all defaults. `*out` is set to NULL first and, on success, to a handle
/// that is the caller's to give back with vfs_close. A tier that cannot be used is skipped, with
/// the reason in vfs_tier_stat, and tried again later; that is no failure while another can be
/// used. After a failure there is no handle. With VFS_READ_ONLY nothing is made or removed, no
/// mode is changed, and only bad options fail.
///
/// Returns:
/// - VFS_OK: the store is open.
/// - VFS_ERR_INVALID: `out` is NULL; struct_size, a flag, the name or the list of tiers is not
///   allowed, or a field that this version does not know is set.
/// - VFS_ERR_NO_SPACE, VFS_ERR_PERMISSION, VFS_ERR_IO, VFS_ERR_UNSUPPORTED, VFS_ERR_READ_ONLY,
///   VFS_ERR_BUSY: no tier can be used; the code is VFS_ERR_PERMISSION if other users can reach the
///   store's directories on one (see the caveats), else VFS_ERR_NO_SPACE if one lacked room, else
///   the first tier's: VFS_ERR_IO, with vfs_last_errno ENOENT, for a directory that is not there.
/// - VFS_ERR_LIMIT, VFS_ERR_NO_MEMORY: no descriptors, no memory.
/// - VFS_ERR_PANIC: a bug, caught.
///
/// Threads: any. Fork: allowed in the child, where it opens a store of the child's own.
/// Since: 0.1.0
#[unsafe(no_mangle)]
pub unsafe extern "C" fn vfs_open(options: *const vfs_options_t, out: *mut *mut vfs_t) -> vfs_status_t {
    // SAFETY: the header's contract for both pointers.
    unsafe {
        args::clear(out);
        guard::status("vfs_open", std::ptr::null::<vfs_t>(), |_| {
            args::not_null(out, "out is NULL")?;
            guard::silence_panics();
            let store = Store::open(read_options(options)?)?;
            out.write_unaligned(Box::into_raw(sys::try_box(vfs_t { store })?));
            Ok(())
        })
    }
}

/// # Safety NULL, or what the header asks for; the strings live for `'a`.
pub(super) unsafe fn read_options<'a>(options: *const vfs_options_t) -> Result<Options<'a>, Failure> {
    if options.is_null() {
        return Ok(Options::default());
    }
    // SAFETY: not NULL, and as the caller promised.
    let options = unsafe { args::input(options) }?;
    const READ_ONLY: u32 = vfs_open_flag::VFS_READ_ONLY as u32;
    if options.flags & !READ_ONLY != 0 {
        return Err(Failure::invalid("flags has a bit that is not VFS_READ_ONLY"));
    }
    // SAFETY: NULL or NUL-terminated, says the header.
    let (name, tiers) = unsafe {
        let name = (!options.name.is_null()).then(|| args::name(options.name));
        let tiers = (!options.tiers.is_null()).then(|| CStr::from_ptr(options.tiers).to_bytes());
        (name, tiers)
    };
    if tiers == Some(b"") {
        return Err(Failure::invalid("the list of tiers is empty: NULL means the default"));
    }
    let log: Option<Box<dyn Log>> = match options.log {
        Some(function) => Some(sys::try_box(Callback { function, user: options.log_user })?),
        None => None,
    };
    Ok(Options { name, tiers, read_only: options.flags & READ_ONLY != 0, log })
}

/// Removes all blobs that this handle owns and ends its use: from then on every call with it, or
/// with one of its writers and listings, answers VFS_ERR_SHUTDOWN, but vfs_shutdown itself. Views
/// stay good. Persistent blobs stay (in the memory tier, until vfs_close). A blob that another
/// thread is storing is either removed too or answers VFS_ERR_SHUTDOWN there.
///
/// A key or a tier that fails does not stop the rest, and the first failure is reported. What
/// could not be removed is an orphan, which the next reap removes. The handle remains to be
/// closed.
///
/// Returns:
/// - VFS_OK: nothing that this handle owned is left; also if the store was shut down before, and
///   for a store opened with VFS_READ_ONLY.
/// - VFS_ERR_INVALID: `store` is NULL.
/// - VFS_ERR_FORKED: the handle is the parent's; nothing has changed.
/// - VFS_ERR_BUSY, VFS_ERR_PERMISSION, VFS_ERR_IO, VFS_ERR_NO_SPACE, VFS_ERR_UNSUPPORTED,
///   VFS_ERR_READ_ONLY, VFS_ERR_LIMIT, VFS_ERR_NO_MEMORY: shut down all the same, but something
///   could not be removed.
/// - VFS_ERR_PANIC: a bug, caught.
///
/// Threads: any. Fork: VFS_ERR_FORKED in the child.
/// Since: 0.1.0
#[unsafe(no_mangle)]
pub unsafe extern "C" fn vfs_shutdown(store: *mut vfs_t) -> vfs_status_t {
    // SAFETY: the header's contract: NULL or a live handle.
    unsafe { guard::status("vfs_shutdown", store, |_| Ok(args::handle(store, "store is NULL")?.store.shutdown()?)) }
}

/// Shuts down as vfs_shutdown does, then frees the handle. Call vfs_shutdown before it to learn of
/// failures.
///
/// `store` is gone afterwards, for every thread; NULL does nothing. Writers, listings and views
/// may outlive it: the first two answer VFS_ERR_SHUTDOWN and are given back by their own calls, a
/// view stays good. The log callback is not called after it returns.
///
/// The last handle of a store also removes the store's directories from each tier, if no blob is
/// left there. A handle with VFS_READ_ONLY neither keeps nor removes them. The directory vfs1-UID
/// stays, with an empty lock file in it.
///
/// Threads: one, when no other uses the handle any more. Fork: in the child it frees memory and
/// removes nothing.
/// Since: 0.1.0
#[unsafe(no_mangle)]
pub unsafe extern "C" fn vfs_close(store: *mut vfs_t) {
    // SAFETY: NULL, or made by `vfs_open`, and closed once, says the header.
    let store = (!store.is_null()).then(|| unsafe { Box::from_raw(store) });
    guard::quietly(move || drop(store));
}

//! Checks of what C passed. What it points to, but for handles, may lie at any address: bindings pack structs.
use super::guard::{Call, Failure};
use super::types::{vfs_options_t, vfs_stat_t, vfs_store_flag, vfs_tier_stat_t};
use crate::key::{KEY_MAX, Key};
use crate::store::Flags;
use std::ffi::{c_char, c_void};
use std::mem::{MaybeUninit, offset_of};

type Checked<T> = Result<T, Failure>;

/// The longest struct of a later version that is believed; more is a `struct_size` nobody set.
const STRUCT_MAX: usize = 64 * 1024;

/// What a handle points to.
///
/// # Safety
/// NULL, or live for `'a`.
pub(super) unsafe fn handle<'a, T>(handle: *const T, null: &'static str) -> Checked<&'a T> {
    // SAFETY: as the caller promised.
    unsafe { handle.as_ref() }.ok_or(Failure::invalid(null))
}

/// The same for a handle that one thread at a time uses.
///
/// # Safety
/// NULL, or live and not used by another thread for `'a`.
pub(super) unsafe fn handle_mut<'a, T>(handle: *mut T, null: &'static str) -> Checked<&'a mut T> {
    // SAFETY: as the caller promised.
    unsafe { handle.as_mut() }.ok_or(Failure::invalid(null))
}

/// Sets the handle that a call will make to NULL, so that a caller who forgets to look at the
/// status does not use what was there.
///
/// # Safety
/// NULL, or writable.
pub(super) unsafe fn clear<T>(out: *mut *mut T) {
    if !out.is_null() {
        // SAFETY: writable, says the caller.
        unsafe { out.write_unaligned(std::ptr::null_mut()) }
    }
}

/// Refuses NULL.
pub(super) fn not_null<T>(pointer: *const T, null: &'static str) -> Checked<()> {
    if pointer.is_null() { Err(Failure::invalid(null)) } else { Ok(()) }
}

/// Whether `(pointer, len)` can be memory: NULL is an empty buffer and nothing else.
fn is_buffer(pointer: *const c_void, len: usize) -> Checked<()> {
    if len > isize::MAX as usize {
        return Err(Failure::invalid("a length beyond the half of the address space"));
    }
    if pointer.is_null() && len != 0 {
        return Err(Failure::invalid("a buffer is NULL but its length is not 0"));
    }
    Ok(())
}

/// The bytes of `(data, len)`.
///
/// # Safety
/// NULL, or `len` readable bytes for `'a`.
pub(super) unsafe fn bytes<'a>(data: *const c_void, len: usize) -> Checked<&'a [u8]> {
    is_buffer(data, len)?;
    if len == 0 {
        return Ok(&[]);
    }
    // SAFETY: not NULL, not too long, and readable, says the caller.
    Ok(unsafe { std::slice::from_raw_parts(data.cast(), len) })
}

/// The room of `(buf, cap)`.
///
/// # Safety
/// NULL, or `cap` writable bytes that nobody else uses for `'a`.
pub(super) unsafe fn room<'a>(buf: *mut c_void, cap: usize) -> Checked<&'a mut [MaybeUninit<u8>]> {
    is_buffer(buf, cap)?;
    if cap == 0 {
        return Ok(&mut []);
    }
    // SAFETY: not NULL, not too long, and ours to write, says the caller.
    Ok(unsafe { std::slice::from_raw_parts_mut(buf.cast(), cap) })
}

/// Refuses a length that no memory can have.
pub(super) fn length(len: usize) -> Checked<usize> {
    is_buffer(std::ptr::dangling(), len).map(|()| len)
}

/// The bytes of a key or of a store's name. No more of them are looked at than tell that it is too long.
///
/// # Safety
/// Not NULL; NUL-terminated, or readable to beyond the longest key, for `'a`.
pub(super) unsafe fn name<'a>(text: *const c_char) -> &'a [u8] {
    // SAFETY: readable up to the NUL or the limit, says the caller.
    unsafe { std::slice::from_raw_parts(text.cast(), libc::strnlen(text, KEY_MAX + 1)) }
}

/// The key, which is noted for the sentence of the call.
///
/// # Safety
/// NULL, or as for [`name`].
pub(super) unsafe fn key(call: &mut Call, key: *const c_char) -> Checked<&Key> {
    call.key = None;
    not_null(key, "the key is NULL")?;
    // SAFETY: not NULL, and as the caller promised.
    let key = Key::new(unsafe { name(key) })?;
    Ok(call.key.insert(key))
}

/// The entries of a list of keys.
///
/// # Safety
/// NULL, or `count` readable entries, until all were told.
pub(super) unsafe fn keys(keys: *const *const c_char, count: usize) -> Checked<impl Iterator<Item = *const c_char>> {
    if count != 0 {
        not_null(keys, "keys is NULL but count is not 0")?;
    }
    if count > isize::MAX as usize / size_of::<*const c_char>() {
        return Err(Failure::invalid("count is more than memory can hold"));
    }
    // SAFETY: not NULL where there is one, not too long, and readable, says the caller.
    Ok((0..count).map(move |at| unsafe { keys.add(at).read_unaligned() }))
}

/// The flags of storing.
pub(super) fn store_flags(flags: u32) -> Checked<Flags> {
    const REPLACE: u32 = vfs_store_flag::VFS_REPLACE as u32;
    const PERSIST: u32 = vfs_store_flag::VFS_PERSIST as u32;
    if flags & !(REPLACE | PERSIST) != 0 {
        return Err(Failure::invalid("flags has a bit that is neither VFS_REPLACE nor VFS_PERSIST"));
    }
    Ok(Flags { replace: flags & REPLACE != 0, persist: flags & PERSIST != 0 })
}

/// A struct that grows from version to version and begins with `uint32_t struct_size`.
///
/// # Safety
/// `repr(C)`, begins with a `u32`, and is valid when all its bytes are zero.
pub(super) unsafe trait Growing: Sized {
    /// Its size in the version that brought it; frozen, since callers of that version live on.
    const FIRST: usize;
}

// SAFETY: as demanded.
unsafe impl Growing for vfs_options_t {
    const FIRST: usize = offset_of!(vfs_options_t, log_user) + size_of::<*mut c_void>();
}

// SAFETY: as demanded.
unsafe impl Growing for vfs_stat_t {
    const FIRST: usize = offset_of!(vfs_stat_t, reserved) + size_of::<u32>();
}

// SAFETY: as demanded.
unsafe impl Growing for vfs_tier_stat_t {
    const FIRST: usize = offset_of!(vfs_tier_stat_t, total_inodes) + size_of::<u64>();
}

/// The size that the caller's struct says it has, if that can be.
///
/// # Safety
/// Not NULL, readable as its first field.
unsafe fn struct_size<T: Growing>(of: *const T) -> Checked<usize> {
    // SAFETY: readable, says the caller, and `Growing` begins so.
    let size = unsafe { of.cast::<u32>().read_unaligned() } as usize;
    if !(T::FIRST..=STRUCT_MAX).contains(&size) {
        return Err(Failure::invalid("struct_size is not the size of the struct: begin with the _INIT macro"));
    }
    Ok(size)
}

/// A copy of an input struct, as this version knows it.
///
/// # Safety
/// Not NULL, and `struct_size` bytes are readable.
pub(super) unsafe fn input<T: Growing>(from: *const T) -> Checked<T> {
    // SAFETY: as the caller promised.
    unsafe {
        let size = struct_size(from)?;
        let known = size.min(size_of::<T>());
        let unknown = std::slice::from_raw_parts(from.cast::<u8>().add(known), size - known);
        if unknown.iter().any(|&byte| byte != 0) {
            return Err(Failure::invalid("a field is set that this version of the library does not know"));
        }
        let mut copy = MaybeUninit::<T>::zeroed();
        copy.as_mut_ptr().cast::<u8>().copy_from_nonoverlapping(from.cast(), known);
        Ok(copy.assume_init()) // all zeroes is valid, and the rest came from a valid one
    }
}

/// An output struct of the caller's, looked at before the call and filled after it.
pub(super) struct Out<T> {
    place: *mut T,
    size: usize,
}

impl<T: Growing> Out<T> {
    /// # Safety
    /// NULL, or readable as its first field and writable for `struct_size` bytes until it is filled.
    pub unsafe fn new(place: *mut T, null: &'static str) -> Checked<Out<T>> {
        not_null(place, null)?;
        // SAFETY: not NULL, and as the caller promised.
        let size = unsafe { struct_size(place) }?;
        Ok(Out { place, size })
    }

    /// The same where NULL means that the caller does not want it.
    ///
    /// # Safety
    /// As for [`Out::new`].
    pub unsafe fn optional(place: *mut T) -> Checked<Option<Out<T>>> {
        if place.is_null() {
            return Ok(None);
        }
        // SAFETY: as the caller promised.
        unsafe { Out::new(place, "") }.map(Some)
    }

    /// Writes as much as both versions know, zeroes for the rest, and how much that was.
    pub fn fill(self, value: T) {
        let known = self.size.min(size_of::<T>());
        // SAFETY: `new` was promised that `size` bytes are writable.
        unsafe {
            let place = self.place.cast::<u8>();
            place.copy_from((&raw const value).cast(), known);
            place.add(known).write_bytes(0, self.size - known);
            self.place.cast::<u32>().write_unaligned(known as u32);
        }
    }
}

//! Mappings: blobs to read in place, and memory for a writer to fill.
use super::Os;
use super::alloc::Shared;
use super::call::{On, once, once_on};
use std::ffi::c_void;
use std::mem::ManuallyDrop;
use std::mem::MaybeUninit;
use std::os::fd::{AsRawFd, BorrowedFd};
use std::ptr::NonNull;

fn map(len: usize, protection: i32, flags: i32, fd: i32, offset: u64) -> Os<NonNull<u8>> {
    let mut place = libc::MAP_FAILED;
    let on = if fd == -1 { On::Nothing } else { On::Fd(fd) };
    once_on("mmap", on, || {
        // SAFETY: a new mapping where the kernel likes; no existing memory changes.
        place = unsafe { libc::mmap64(std::ptr::null_mut(), len, protection, flags, fd, offset as i64) };
        if place == libc::MAP_FAILED { -1 } else { 0 }
    })?;
    NonNull::new(place.cast()).ok_or(libc::ENOMEM)
}

/// A blob's bytes, read-only, for as long as this lives, whatever happens to its name.
pub struct Mapping {
    data: NonNull<u8>,
    len: usize,
}

// SAFETY: it owns its mapping, which is only read.
unsafe impl Send for Mapping {}
// SAFETY: as above.
unsafe impl Sync for Mapping {}

/// Maps `len` bytes, which are not 0, of a file that is never written again.
pub fn map_blob(fd: BorrowedFd, len: usize) -> Os<Mapping> {
    let data = map(len, libc::PROT_READ, libc::MAP_SHARED, fd.as_raw_fd(), 0)?;
    Ok(Mapping { data, len })
}

impl Mapping {
    pub fn bytes(&self) -> &[u8] {
        // SAFETY: mapped, and a published blob does not change.
        unsafe { std::slice::from_raw_parts(self.data.as_ptr(), self.len) }
    }
}

impl Drop for Mapping {
    fn drop(&mut self) {
        // SAFETY: our own mapping, reached by nobody any more.
        unsafe { libc::munmap(self.data.as_ptr().cast(), self.len) };
    }
}

/// Bytes that stay where they are for as long as this lives: for a view.
pub enum Pinned<T> {
    Nothing,
    Mapped(Mapping),
    Kept(Shared<T>),
}

impl<T> Pinned<T> {
    /// The word that stands for this in a C struct, beside the address `data` of its bytes: the mapping's own
    /// address, the counter's, or NULL.
    pub fn into_raw(self) -> *mut c_void {
        match self {
            Pinned::Nothing => std::ptr::null_mut(),
            Pinned::Mapped(mapping) => ManuallyDrop::new(mapping).data.as_ptr().cast(),
            Pinned::Kept(bytes) => bytes.into_raw().cast_mut().cast(),
        }
    }

    /// # Safety
    /// `owner` came from `into_raw` of the same `T`, with `data` and `len` those of its bytes, and is taken back once.
    pub unsafe fn from_raw(data: *const c_void, len: usize, owner: *mut c_void) -> Pinned<T> {
        match NonNull::new(owner) {
            None => Pinned::Nothing,
            Some(start) if std::ptr::eq(start.as_ptr(), data) => Pinned::Mapped(Mapping { data: start.cast(), len }),
            // SAFETY: as the caller says.
            Some(_) => unsafe { Shared::from_raw(owner.cast_const().cast()) }.map_or(Pinned::Nothing, Pinned::Kept),
        }
    }
}

/// Memory for a writer to fill: part of a draft on a filesystem of memory, or private.
pub struct Region {
    start: NonNull<u8>,
    mapped: usize,
    skip: usize,
    len: usize,
    private: bool,
}

// SAFETY: it owns its mapping.
unsafe impl Send for Region {}

impl Region {
    /// `len` bytes of a file from `offset` on. They must have been reserved, or touching them kills.
    pub fn of_file(fd: BorrowedFd, offset: u64, len: usize) -> Os<Region> {
        let skip = (offset % super::page_size() as u64) as usize;
        let mapped = len.checked_add(skip).ok_or(libc::ENOMEM)?;
        Region::new(mapped, skip, len, libc::MAP_SHARED, fd.as_raw_fd(), offset - skip as u64)
    }

    /// `len` zeroed bytes of this process's own.
    pub fn private(len: usize) -> Os<Region> {
        Region::new(len, 0, len, libc::MAP_PRIVATE | libc::MAP_ANONYMOUS, -1, 0)
    }

    fn new(mapped: usize, skip: usize, len: usize, flags: i32, fd: i32, offset: u64) -> Os<Region> {
        let start = map(mapped, libc::PROT_READ | libc::PROT_WRITE, flags, fd, offset)?;
        let region = Region { start, mapped, skip, len, private: fd == -1 };
        // SAFETY: our own mapping.
        once("madvise", || unsafe { libc::madvise(start.as_ptr().cast(), mapped, libc::MADV_DONTFORK) })?;
        Ok(region)
    }

    pub fn is_private(&self) -> bool {
        self.private
    }

    pub fn bytes_mut(&mut self) -> &mut [MaybeUninit<u8>] {
        // SAFETY: mapped, and borrowed from `self`.
        unsafe { std::slice::from_raw_parts_mut(self.start.as_ptr().add(self.skip).cast(), self.len) }
    }

    pub fn bytes(&self) -> &[u8] {
        // SAFETY: mapped; the kernel handed it out zeroed, so all of it has a value.
        unsafe { std::slice::from_raw_parts(self.start.as_ptr().add(self.skip), self.len) }
    }

    pub fn len(&self) -> usize {
        self.len
    }

    /// Forgets the mapping: in a forked child it was never there.
    pub fn forget(self) {
        std::mem::forget(self);
    }
}

impl Drop for Region {
    fn drop(&mut self) {
        // SAFETY: our own mapping, reached by nobody any more.
        unsafe { libc::munmap(self.start.as_ptr().cast(), self.mapped) };
    }
}

//! A blob's bytes in place, without a copy.
use crate::error::Fault;
use crate::sys::{self, Pinned};
use crate::tier::Blob;
use crate::tier::memory::Bytes;
use std::ops::Deref;
use std::os::fd::AsFd;

/// A blob's bytes, read-only. They stay, whatever happens to the key, its owner or the store. 64-byte aligned.
pub struct View {
    pinned: Pinned<Bytes>,
}

impl View {
    pub(super) fn of(blob: Blob) -> Result<View, Fault> {
        let size = blob.found().size;
        let pinned = match blob {
            _ if size == 0 => Pinned::Nothing,
            Blob::File(file, _) => {
                let mapping = |e| Fault::os(e, "mapping a blob");
                let len = usize::try_from(size).map_err(|_| mapping(libc::EOVERFLOW))?;
                match sys::map_blob(file.as_fd(), len) {
                    // (EAGAIN: the host locks its memory, and may lock no more)
                    Err(libc::ENOMEM | libc::EAGAIN) => return Err(Fault::memory("mapping a blob")),
                    answer => Pinned::Mapped(answer.map_err(mapping)?),
                }
            }
            Blob::Memory(bytes) => Pinned::Kept(bytes),
        };
        Ok(View { pinned })
    }
}

/// For a C struct: address, length, and the word that keeps both.
#[cfg(feature = "capi")]
impl View {
    pub(crate) fn into_raw(self) -> (*const u8, usize, *mut std::ffi::c_void) {
        let (data, len) = match self.is_empty() {
            true => (std::ptr::null(), 0),
            false => (self.as_ptr(), self.len()),
        };
        (data, len, self.pinned.into_raw())
    }

    pub(crate) fn from_pinned(pinned: Pinned<Bytes>) -> View {
        View { pinned }
    }
}

impl Deref for View {
    type Target = [u8];
    fn deref(&self) -> &[u8] {
        match &self.pinned {
            Pinned::Nothing => &[],
            Pinned::Mapped(mapping) => mapping.bytes(),
            Pinned::Kept(bytes) => bytes,
        }
    }
}

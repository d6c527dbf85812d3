//! A blob's bytes in place, without a copy.
use crate::error::Fault;
use crate::sys::{self, Mapping, Shared};
use crate::tier::Blob;
use crate::tier::memory::Bytes;
use std::ops::Deref;
use std::os::fd::AsFd;

/// A blob's bytes, read-only. They stay, whatever happens to the key, its owner or the store. 64-byte aligned.
pub struct View {
    bytes: Source,
}

/// What keeps the bytes where they are.
enum Source {
    Empty,
    Mapped(Mapping),
    Kept(Shared<Bytes>),
}

impl View {
    pub(super) fn of(blob: Blob) -> Result<View, Fault> {
        let size = blob.found().size;
        let bytes = match blob {
            _ if size == 0 => Source::Empty,
            Blob::File(file, _) => {
                let mapping = |e| Fault::os(e, "mapping a blob");
                let len = usize::try_from(size).map_err(|_| mapping(libc::EOVERFLOW))?;
                match sys::map_blob(file.as_fd(), len) {
                    // (EAGAIN: the host locks its memory, and may lock no more)
                    Err(libc::ENOMEM | libc::EAGAIN) => return Err(Fault::memory("mapping a blob")),
                    answer => Source::Mapped(answer.map_err(mapping)?),
                }
            }
            Blob::Memory(bytes) => Source::Kept(bytes),
        };
        Ok(View { bytes })
    }
}

impl Deref for View {
    type Target = [u8];
    fn deref(&self) -> &[u8] {
        match &self.bytes {
            Source::Empty => &[],
            Source::Mapped(mapping) => mapping,
            Source::Kept(bytes) => bytes,
        }
    }
}

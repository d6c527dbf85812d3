//! Mappings: blobs to read in place, and memory for a writer to fill.
//!
//! `memmap2` is given a length always: else it asks for the file's size, which the seam would not see. A length beyond
//! `isize::MAX` is refused before: `memmap2` says so on the heap.
use super::Os;
use super::call::{On, once, once_on, set_errno};
use memmap2::{Advice, Mmap, MmapMut, MmapOptions};
use std::io;
use std::os::fd::{AsRawFd, BorrowedFd};

/// A blob's bytes, read-only, for as long as this lives, whatever happens to its name.
pub type Mapping = Mmap;

fn map<T>(len: usize, on: On, make: impl FnOnce(&MmapOptions) -> io::Result<T>) -> Os<T> {
    if len > isize::MAX as usize {
        return Err(libc::ENOMEM);
    }
    let mut made = None;
    once_on("mmap", on, || match make(MmapOptions::new().len(len)) {
        Ok(mapping) => {
            made = Some(mapping);
            0
        }
        Err(error) => {
            set_errno(error.raw_os_error().unwrap_or(libc::ENOMEM));
            -1
        }
    })?;
    made.ok_or(libc::ENOMEM)
}

/// Maps `len` bytes, which are not 0, of a file that is never written again.
pub fn map_blob(fd: BorrowedFd, len: usize) -> Os<Mapping> {
    // SAFETY: a published blob does not change. Whoever truncates it from outside raises SIGBUS here: a caveat of the
    // header.
    map(len, On::Fd(fd.as_raw_fd()), |options| unsafe { options.map(fd.as_raw_fd()) })
}

/// Memory for a writer to fill: part of a draft on a filesystem of memory, or private. A forked child does not have it.
pub struct Region {
    bytes: MmapMut,
    private: bool,
}

impl Region {
    /// `len` bytes of a file from `offset` on. They must have been reserved, or touching them kills.
    pub fn of_file(fd: BorrowedFd, offset: u64, len: usize) -> Os<Region> {
        // SAFETY: the draft's owner alone writes to the file, through this.
        let map_part = |options: &MmapOptions| unsafe { options.clone().offset(offset).map_mut(fd.as_raw_fd()) };
        Region::new(map(len, On::Fd(fd.as_raw_fd()), map_part)?, false)
    }

    /// `len` zeroed bytes of this process's own.
    pub fn private(len: usize) -> Os<Region> {
        Region::new(map(len, On::Nothing, MmapOptions::map_anon)?, true)
    }

    fn new(bytes: MmapMut, private: bool) -> Os<Region> {
        once("madvise", || match bytes.advise(Advice::DontFork) {
            Ok(()) => 0,
            Err(error) => {
                set_errno(error.raw_os_error().unwrap_or(libc::EINVAL));
                -1
            }
        })?;
        Ok(Region { bytes, private })
    }

    pub fn is_private(&self) -> bool {
        self.private
    }

    pub fn bytes_mut(&mut self) -> &mut [u8] {
        &mut self.bytes
    }

    pub fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    pub fn len(&self) -> usize {
        self.bytes.len()
    }

    /// Forgets the mapping: in a forked child it was never there.
    pub fn forget(self) {
        std::mem::forget(self);
    }
}

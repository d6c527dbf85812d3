//! The names in a directory.
use super::Os;
use super::call::retry_on;
use super::file::{Fd, Open, on_fd, open, stat_fd};
use super::fork::BlobFd;
use std::ffi::CStr;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd};

/// The names in a directory, read through a descriptor of its own.
pub struct Names {
    fd: BlobFd,
    buffer: Vec<u64>, // aligned as the kernel's records are
    at: usize,
    end: usize,
}

impl Names {
    /// Takes a descriptor that nobody else reads names through. `Err(ENOMEM)` without memory.
    pub fn of(fd: Fd) -> Os<Names> {
        Names::with_buffer(fd, 4096)
    }

    /// The buffer has this many words of 8 bytes.
    fn with_buffer(fd: Fd, words: usize) -> Os<Names> {
        let mut buffer = Vec::new();
        buffer.try_reserve_exact(words).map_err(|_| libc::ENOMEM)?;
        buffer.resize(words, 0);
        Ok(Names { fd: BlobFd::Brief(fd), buffer, at: 0, end: 0 })
    }

    /// The same, to be read on in later calls of the library. The process may close the descriptor meanwhile.
    pub fn kept(self) -> Os<Names> {
        let ident = stat_fd(self.fd.as_fd())?.ident;
        let BlobFd::Brief(fd) = self.fd else { return Ok(self) };
        let fd = BlobFd::noted(fd)?;
        fd.note(ident);
        Ok(Names { fd, ..self })
    }

    /// Opens `path` below `dir` to read its names.
    pub fn open(dir: BorrowedFd, path: &CStr) -> Os<Names> {
        Names::of(open(Some(dir), path, Open::OwnDir)?)
    }

    /// The same for a caller that needs only the first names: the kernel copies a few at a time. One record has at most 280
    /// bytes.
    pub fn open_for_few(dir: BorrowedFd, path: &CStr) -> Os<Names> {
        Names::with_buffer(open(Some(dir), path, Open::OwnDir)?, 64)
    }

    /// The next name but `.` and `..`; `None` at the end.
    pub fn next(&mut self) -> Os<Option<&CStr>> {
        loop {
            if self.at == self.end {
                self.fd.check()?;
                // SAFETY: the pointer and length are those of the buffer.
                let got = match retry_on("getdents64", on_fd(self.fd.as_fd()), || unsafe {
                    let bytes = self.buffer.len() * 8;
                    libc::syscall(libc::SYS_getdents64, self.fd.as_fd().as_raw_fd(), self.buffer.as_mut_ptr(), bytes)
                }) {
                    Err(libc::ENOENT) => 0, // the directory was removed: nothing is in it
                    answer => answer?,
                };
                if got == 0 {
                    return Ok(None);
                }
                (self.at, self.end) = (0, got as usize);
            }
            // SAFETY: the kernel filled `end` bytes with records; each starts on a multiple of 8, says its
            // own length, and holds a NUL-terminated name.
            let name = unsafe {
                let record = self.buffer.as_ptr().cast::<u8>().add(self.at).cast::<libc::dirent64>();
                self.at += usize::from((*record).d_reclen);
                CStr::from_ptr((&raw const (*record).d_name).cast())
            };
            if name != c"." && name != c".." {
                return Ok(Some(name));
            }
        }
    }
}

//! The two kinds of file lock that the kernel drops at death.
use super::Os;
use super::call::{On, retry_on};
use std::os::fd::{AsRawFd, BorrowedFd};

/// How a byte of the lock file is held.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum KeyLockMode {
    /// As `Shared`, but a key that a writer waits for is his first.
    InTurn,
    Shared,
    Exclusive,
}

/// Takes a whole-file lock without waiting: EWOULDBLOCK where another holds it. Falls with the
/// last descriptor of this opening.
pub fn flock(fd: BorrowedFd, mode: KeyLockMode) -> Os<()> {
    let how = match mode {
        KeyLockMode::InTurn | KeyLockMode::Shared => libc::LOCK_SH,
        KeyLockMode::Exclusive => libc::LOCK_EX,
    };
    // SAFETY: no memory is passed.
    retry_on("flock", On::Fd(fd.as_raw_fd()), || unsafe { libc::flock(fd.as_raw_fd(), how | libc::LOCK_NB) }).map(drop)
}

/// Releases a whole-file lock. Not through the seam: it takes no memory and no waiting, so the kernel has no failure for it.
pub fn funlock(fd: BorrowedFd) {
    // SAFETY: no memory is passed.
    unsafe { libc::flock(fd.as_raw_fd(), libc::LOCK_UN) };
}

fn range(byte: u64, kind: i32) -> libc::flock64 {
    // SAFETY: all zero is a valid `flock`, and its pid must be 0 here.
    let mut range: libc::flock64 = unsafe { std::mem::zeroed() };
    range.l_type = kind as _;
    range.l_whence = libc::SEEK_SET as _;
    range.l_start = byte as i64;
    range.l_len = 1;
    range
}

fn ofd(fd: BorrowedFd, byte: u64, kind: i32) -> i32 {
    // SAFETY: the struct outlives the call.
    unsafe { libc::fcntl(fd.as_raw_fd(), libc::F_OFD_SETLK, &range(byte, kind)) }
}

/// Whether another opening holds one byte exclusively.
pub fn ofd_is_locked(fd: BorrowedFd, byte: u64) -> Os<bool> {
    let mut range = range(byte, libc::F_RDLCK);
    // SAFETY: the struct outlives the call.
    retry_on("fcntl", On::Fd(fd.as_raw_fd()), || unsafe {
        libc::fcntl(fd.as_raw_fd(), libc::F_OFD_GETLK, &mut range)
    })?;
    Ok(range.l_type != libc::F_UNLCK as libc::c_short)
}

/// Takes one byte without waiting: EAGAIN where another opening holds it. Does not
/// exclude other users of the same descriptor.
pub fn ofd_lock(fd: BorrowedFd, byte: u64, mode: KeyLockMode) -> Os<()> {
    let kind = match mode {
        KeyLockMode::InTurn | KeyLockMode::Shared => libc::F_RDLCK,
        KeyLockMode::Exclusive => libc::F_WRLCK,
    };
    retry_on("fcntl", On::Fd(fd.as_raw_fd()), || ofd(fd, byte, kind)).map(drop)
}

/// Lets one byte go. Not through the seam: to unlock the very range that one holds takes no memory and no waiting, so
/// the kernel has no failure for it.
pub fn ofd_unlock(fd: BorrowedFd, byte: u64) {
    ofd(fd, byte, libc::F_UNLCK);
}

//! The two kinds of file lock that the kernel drops at death.
use super::Os;
use super::call::{once, retry};
use std::os::fd::{AsRawFd, BorrowedFd};

/// How a byte of the lock file is held.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum KeyLockMode {
    Shared,
    Exclusive,
}

/// Takes a whole-file lock without waiting: EWOULDBLOCK where another holds it. Falls with the
/// last descriptor of this opening.
pub fn flock(fd: BorrowedFd, mode: KeyLockMode) -> Os<()> {
    let how = match mode {
        KeyLockMode::Shared => libc::LOCK_SH,
        KeyLockMode::Exclusive => libc::LOCK_EX,
    };
    // SAFETY: no memory is passed.
    retry("flock", || unsafe { libc::flock(fd.as_raw_fd(), how | libc::LOCK_NB) }).map(drop)
}

fn ofd(fd: BorrowedFd, byte: u64, kind: i32) -> Os<()> {
    // SAFETY: all zero is a valid `flock`, and its pid must be 0 here.
    let mut range: libc::flock64 = unsafe { std::mem::zeroed() };
    range.l_type = kind as _;
    range.l_whence = libc::SEEK_SET as _;
    range.l_start = byte as i64;
    range.l_len = 1;
    // SAFETY: the struct outlives the call.
    once("fcntl", || unsafe { libc::fcntl(fd.as_raw_fd(), libc::F_OFD_SETLK, &range) }).map(drop)
}

/// Takes one byte without waiting: EAGAIN or EACCES where another opening holds it. Does not
/// exclude other users of the same descriptor.
pub fn ofd_lock(fd: BorrowedFd, byte: u64, mode: KeyLockMode) -> Os<()> {
    let kind = match mode {
        KeyLockMode::Shared => libc::F_RDLCK,
        KeyLockMode::Exclusive => libc::F_WRLCK,
    };
    loop {
        match ofd(fd, byte, kind) {
            Err(libc::EINTR) => {}
            answer => return answer,
        }
    }
}

pub fn ofd_unlock(fd: BorrowedFd, byte: u64) -> Os<()> {
    ofd(fd, byte, libc::F_UNLCK)
}

//! What the program was started with, seen before Rust's runtime changes it.
//!
//! The only unsafe code of vfsctl. The runtime opens `/dev/null` on each of the descriptors 0, 1 and 2 that is closed,
//! before `main`. From then on, a closed standard stream looks like one that was sent to `/dev/null` on purpose. So what is
//! closed is noted, and filled with something that cannot be written to.
use std::os::fd::RawFd;
use std::sync::atomic::{AtomicU8, Ordering::Relaxed};

/// Bit N is set if descriptor N could not serve as the standard stream N at the start.
static UNUSABLE: AtomicU8 = AtomicU8::new(0);

/// Whether the standard stream of this number was closed when the program started, or open in the wrong direction.
pub fn was_unusable(stream: RawFd) -> bool {
    UNUSABLE.load(Relaxed) & 1 << stream != 0
}

/// Whether the caller left this descriptor open for us. What a process opens for itself is closed when another program
/// takes its place, and both we and the library open everything so.
pub fn is_inherited(fd: RawFd) -> bool {
    // SAFETY: a system call on a number; it reads and writes no memory, and a closed descriptor is an answer.
    let flags = unsafe { libc::fcntl(fd, libc::F_GETFD) };
    flags != -1 && flags & libc::FD_CLOEXEC == 0
}

extern "C" fn look_at_streams() {
    for (stream, needed) in [(0, libc::O_RDONLY), (1, libc::O_WRONLY), (2, libc::O_WRONLY)] {
        // SAFETY: a system call on a number; it reads and writes no memory, and a closed descriptor is an answer.
        let flags = unsafe { libc::fcntl(stream, libc::F_GETFL) };
        let mode = flags & libc::O_ACCMODE;
        if flags == -1 || flags & libc::O_PATH != 0 || mode != libc::O_RDWR && mode != needed {
            UNUSABLE.fetch_or(1 << stream, Relaxed);
        }
        if flags == -1 {
            // This takes no bytes and gives none, by whatever name of the descriptor it is opened.
            // SAFETY: a system call on a constant. It takes this number, the lowest that is free. Where it fails, the
            // runtime has its way.
            unsafe { libc::epoll_create1(libc::EPOLL_CLOEXEC) };
        }
    }
}

// SAFETY: the loader calls each function in this section once, on the only thread, before the runtime starts. This one
// has the type that it expects, and uses nothing of the runtime: system calls and a static of its own.
#[used]
#[unsafe(link_section = ".init_array")]
static BEFORE_MAIN: extern "C" fn() = look_at_streams;

//! The standard streams. One that was closed is an error for who uses it, not `/dev/null`.
//!
//! `std::io::stdout` is not used: it takes EBADF for success.
use crate::show;
use crate::sys;
use rustix::io::Errno;
use std::fs::File;
use std::io::{self, Write};
use std::os::fd::{AsFd, BorrowedFd};
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};

pub const INPUT: &str = "standard input";
pub const OUTPUT: &str = "standard output";
pub const ERROR: &str = "standard error";

/// Something could not be written to the standard error.
static UNSAID: AtomicBool = AtomicBool::new(false);

/// The descriptor of a standard stream, where it is of use.
fn usable(number: i32, fd: BorrowedFd) -> io::Result<BorrowedFd> {
    match sys::was_unusable(number) {
        true => Err(Errno::BADF.into()),
        false => Ok(fd),
    }
}

pub fn input() -> io::Result<File> {
    usable(0, io::stdin().as_fd())?.try_clone_to_owned().map(File::from)
}

/// Whether the standard output can be written to at all.
pub fn has_output() -> io::Result<()> {
    usable(1, io::stdout().as_fd()).map(|_| ())
}

/// The same of the standard error.
pub fn has_error() -> io::Result<()> {
    usable(2, io::stderr().as_fd()).map(|_| ())
}

/// The standard output or the standard error. Nothing is kept back: each write is a system call.
pub struct Output {
    is_error: bool,
}

impl Output {
    pub fn new() -> Output {
        Output { is_error: false }
    }

    pub fn error() -> Output {
        Output { is_error: true }
    }
}

impl Write for Output {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let written = match self.is_error {
            true => rustix::io::write(usable(2, io::stderr().as_fd())?, bytes),
            false => rustix::io::write(usable(1, io::stdout().as_fd())?, bytes),
        };
        Ok(written?)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// What a filesystem reports only when a file is closed: one across a network may find out then that it is full.
pub fn close_error(file: BorrowedFd) -> io::Result<()> {
    match nix::unistd::close(file.try_clone_to_owned()?) {
        Ok(()) | Err(nix::errno::Errno::EINTR) => Ok(()),
        Err(error) => Err(error.into()),
    }
}

/// To be called when all is written to the standard output.
pub fn end_output() -> io::Result<()> {
    usable(1, io::stdout().as_fd()).and_then(close_error)
}

/// Says a line on the standard error, with what is not printable escaped. A failure is kept for [`all_said`].
pub fn say(line: &str) {
    say_raw(&format!("vfsctl: {}\n", show::line(line)));
}

/// The same with text that is fit to be shown.
pub fn say_raw(text: &str) {
    if Output::error().write_all(text.as_bytes()).is_err() {
        UNSAID.store(true, Relaxed);
    }
}

/// Whether all that was said could be written.
pub fn all_said() -> bool {
    !UNSAID.load(Relaxed)
}

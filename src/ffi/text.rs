//! Codes and failures in words.
use super::types::{vfs_code, vfs_status_t};
use crate::error::Code;
use crate::sys;
use std::ffi::{CStr, c_char};

/// Ties each code of the header to the crate's, and to the text of `vfs_strerror`.
macro_rules! codes {
    ($($name:ident $code:ident $text:literal,)+) => {
        $(const _: () = assert!(vfs_code::$name as i32 == Code::$code as i32);)+
        #[cfg(test)]
        pub(super) const CODES: &[Code] = &[$(Code::$code),+];

        fn text_of(status: vfs_status_t) -> &'static CStr {
            $(const $name: i32 = vfs_code::$name as i32;)+
            match status {
                0 => c"success",
                $($name => $text,)+
                _ => c"unknown status",
            }
        }
    };
}

codes! {
    VFS_ERR_INVALID Invalid c"an argument is not allowed",
    VFS_ERR_KEY Key c"not a key: 1 to 255 bytes, no '/', '\\' or control characters, not '.' or '..'",
    VFS_ERR_NOT_FOUND NotFound c"no blob has this key",
    VFS_ERR_EXISTS Exists c"a blob has this key already",
    VFS_ERR_NO_SPACE NoSpace c"no tier has room for it",
    VFS_ERR_SHUTDOWN Shutdown c"the store was shut down",
    VFS_ERR_PERMISSION Permission c"not permitted",
    VFS_ERR_IO Io c"input/output failure",
    VFS_ERR_NO_MEMORY NoMemory c"out of memory",
    VFS_ERR_LIMIT Limit c"out of file descriptors",
    VFS_ERR_FORKED Forked c"the store belongs to the parent of this forked process",
    VFS_ERR_UNSUPPORTED Unsupported c"not supported here",
    VFS_ERR_READ_ONLY ReadOnly c"read-only",
    VFS_ERR_BUSY Busy c"held by another process for too long",
    VFS_ERR_PANIC Panic c"internal failure, caught",
}

/// One sentence on a status alone; "unknown status" for a number that this version does not know.
///
/// Returns static text, never NULL.
///
/// Threads: any. Fork: allowed in the child.
/// Since: 0.1.0
#[unsafe(no_mangle)]
pub extern "C" fn vfs_strerror(status: vfs_status_t) -> *const c_char {
    text_of(status).as_ptr()
}

/// This thread's last failure in words: the function, the key, what was being done, on which tier
/// and directory, how much was wanted, how much is free, and the errno by its name.
///
/// Calls that succeed, and those that return void, leave it as it was.
///
/// Returns text in UTF-8 that is ours and valid until the next failure on this thread; "" if there
/// was none yet. Never NULL. Where the host's threads of execution move between those of the
/// system (Go, virtual threads of Java), pin them for both calls, or do with the status, which
/// says enough.
///
/// Threads: any, each has its own. Fork: allowed in the child.
/// Since: 0.1.0
#[unsafe(no_mangle)]
pub extern "C" fn vfs_last_error() -> *const c_char {
    sys::thread::last_text()
}

/// The errno behind this thread's last failure; 0 if the operating system was not asked, or if
/// there was no failure yet. Kept even where there was no memory for the words. Limits of our own
/// have one too: EDQUOT is the tier's max, ENOSPC its reserve or the filesystem, EFBIG the limit on
/// file sizes, ENOMEM the control group's memory.
///
/// Threads: any, each has its own. Fork: allowed in the child.
/// Since: 0.1.0
#[unsafe(no_mangle)]
pub extern "C" fn vfs_last_errno() -> i32 {
    sys::thread::last_errno()
}

/// The version of the library that is loaded, such as "0.1.0"; VFS_VERSION is that of the header.
///
/// Returns static text, never NULL.
///
/// Threads: any. Fork: allowed in the child.
/// Since: 0.1.0
#[unsafe(no_mangle)]
pub extern "C" fn vfs_version() -> *const c_char {
    concat!(env!("CARGO_PKG_VERSION"), "\0").as_ptr().cast()
}

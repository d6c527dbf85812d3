//! Codes and failures in words.
use super::types::{vfs_code, vfs_status_t};
use crate::error::Code;
use crate::sys;
use std::ffi::{CStr, c_char};

/// Ties each code of the header to the crate's.
macro_rules! same_codes {
    ($($name:ident $code:ident,)+) => {
        $(const _: () = assert!(vfs_code::$name as i32 == Code::$code as i32);)+
        const _: () = assert!([$(Code::$code),+].len() == Code::ALL.len());
    };
}

same_codes! {
    VFS_ERR_INVALID Invalid,
    VFS_ERR_KEY Key,
    VFS_ERR_NOT_FOUND NotFound,
    VFS_ERR_EXISTS Exists,
    VFS_ERR_NO_SPACE NoSpace,
    VFS_ERR_SHUTDOWN Shutdown,
    VFS_ERR_PERMISSION Permission,
    VFS_ERR_IO Io,
    VFS_ERR_NO_MEMORY NoMemory,
    VFS_ERR_LIMIT Limit,
    VFS_ERR_FORKED Forked,
    VFS_ERR_UNSUPPORTED Unsupported,
    VFS_ERR_READ_ONLY ReadOnly,
    VFS_ERR_BUSY Busy,
    VFS_ERR_PANIC Panic,
}

fn text_of(status: vfs_status_t) -> &'static CStr {
    match Code::ALL.iter().find(|&&code| code as i32 == status) {
        Some(code) => code.message(),
        None if status == vfs_code::VFS_OK as i32 => c"success",
        None => c"unknown status",
    }
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

//! What is done with bytes that a fuzzer, or a test, made up: each becomes a key, a list of tiers, or a sequence of
//! calls of the C ABI. `tests/model.rs` runs it in every test run, `fuzz/` for as long as one likes.
mod calls;
mod key;
mod tiers;

pub use calls::calls;
pub use key::key;
pub use tiers::tiers;

use std::ffi::{CStr, CString};
use std::path::{Path, PathBuf};
use std::ptr::null_mut;
use vfs::ffi::*;

/// The errno that no call may touch.
const ERRNO_MARK: i32 = 4242;

/// Calls a function of the C ABI: errno stays as it was, and a failure has a sentence that begins with its name.
macro_rules! status {
    ($function:ident($($arg:expr),* $(,)?)) => {{
        crate::fuzzed::mark_errno();
        // SAFETY: as the header asks, or what it says is refused.
        let status: i32 = unsafe { $function($($arg),*) };
        crate::fuzzed::check_call(stringify!($function), status);
        status
    }};
}

/// The same, and what it must answer.
macro_rules! is {
    ($function:ident($($arg:expr),* $(,)?), $want:expr) => {{
        let (status, want) = (status!($function($($arg),*)), $want as i32);
        assert_eq!(status, want, "{}: {}", stringify!($function($($arg),*)), crate::fuzzed::last_error());
    }};
}

use {is, status};

fn mark_errno() {
    // SAFETY: this thread's own.
    unsafe { *libc::__errno_location() = ERRNO_MARK }
}

pub fn last_error() -> String {
    // SAFETY: NUL-terminated, until the next failure of this thread.
    unsafe { CStr::from_ptr(vfs_last_error()) }.to_str().expect("the last error is UTF-8").into()
}

fn check_call(function: &str, status: i32) {
    // SAFETY: this thread's own.
    let errno = unsafe { *libc::__errno_location() };
    assert_eq!(errno, ERRNO_MARK, "{function} changed errno; status {status}");
    if status < 0 {
        let said = last_error();
        assert!(said.starts_with(function), "{function} failed with {status}, but the last error is {said:?}");
        assert_ne!(status, vfs_code::VFS_ERR_PANIC as i32, "{said}");
    }
}

pub fn options(name: Option<&CStr>, tiers: &CStr, flags: u32) -> vfs_options_t {
    vfs_options_t {
        struct_size: size_of::<vfs_options_t>() as u32,
        flags,
        name: name.map_or(std::ptr::null(), CStr::as_ptr),
        tiers: tiers.as_ptr(),
        log: None,
        log_user: null_mut(),
    }
}

pub fn new_stat() -> vfs_stat_t {
    let struct_size = size_of::<vfs_stat_t>() as u32;
    vfs_stat_t { struct_size, flags: 0, size: 0, stored_at_ns: 0, id: 0, tier: 0, reserved: 0 }
}

pub fn new_tier_stat() -> vfs_tier_stat_t {
    // SAFETY: valid when zero.
    let zero: vfs_tier_stat_t = unsafe { std::mem::zeroed() };
    vfs_tier_stat_t { struct_size: size_of::<vfs_tier_stat_t>() as u32, ..zero }
}

/// The bytes up to the first NUL, as C passes them.
fn c_string(bytes: &[u8]) -> CString {
    let end = bytes.iter().position(|&byte| byte == 0).unwrap_or(bytes.len());
    CString::new(&bytes[..end]).expect("no NUL")
}

/// What a list of tiers has for a directory.
pub fn tier_of(dir: &Path) -> String {
    let dir = dir.to_str().expect("a path of text");
    dir.replace('%', "%25").replace(',', "%2C").replace('?', "%3F")
}

/// All keys of a store, as a listing tells them.
pub fn listed(store: *mut vfs_t) -> Vec<Vec<u8>> {
    let (mut list, mut keys) = (null_mut(), Vec::new());
    is!(vfs_list_open(store, &mut list), 0);
    loop {
        let (mut key, mut stat) = (std::ptr::null(), new_stat());
        match status!(vfs_list_next(list, &mut key, &mut stat)) {
            // SAFETY: NUL-terminated, until the next call on this listing.
            0 => keys.push(unsafe { CStr::from_ptr(key) }.to_bytes().to_vec()),
            end => {
                assert_eq!(end, vfs_code::VFS_ERR_NOT_FOUND as i32, "{}", last_error());
                break;
            }
        }
    }
    // SAFETY: given back once.
    unsafe { vfs_list_close(list) };
    keys.sort();
    keys
}

/// Nothing of ours may lie on a tier but its directory and the empty lock file: no store's directory either.
pub fn assert_nothing_left(tier: &Path) {
    fn entries(dir: &Path) -> impl Iterator<Item = PathBuf> + use<> {
        std::fs::read_dir(dir).expect("a directory of ours").map(|entry| entry.expect("its entry").path())
    }
    let is_empty_file = |path: &PathBuf| path.metadata().is_ok_and(|meta| meta.is_file() && meta.len() == 0);
    let is_lock = |path: &PathBuf| path.ends_with("\\lock") && is_empty_file(path);
    let left: Vec<_> = entries(tier).flat_map(|own| entries(&own)).filter(|path| !is_lock(path)).collect();
    assert!(left.is_empty(), "left behind: {left:?}");
}

pub fn open_descriptors() -> usize {
    std::fs::read_dir("/proc/self/fd").expect("the list of descriptors").count()
}

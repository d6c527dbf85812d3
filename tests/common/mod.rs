//! What the integration tests share.
#![allow(dead_code)] // each test uses a part of it
pub mod c;
pub mod python;

use std::io::Write;
use std::path::PathBuf;

/// Says why a test could not run. Under CI that is a failure: there everything must run.
///
/// Written past the capture of the test harness, so that it is seen though the test passes.
pub fn skip(reason: &str) {
    let _ = writeln!(std::io::stderr(), "SKIPPED: {reason}");
    assert!(std::env::var_os("CI").is_none_or(|ci| ci != "true"), "skipped under CI: {reason}");
}

/// The directory of the `libvfs.so` that cargo built for this test run, with the soname link
/// (`libvfs.so.0`) that the loader looks for.
pub fn cdylib_dir() -> PathBuf {
    let exe = std::env::current_exe().expect("the path of this test");
    let deps = exe.parent().expect("the directory of this test");
    let dir = [deps, deps.parent().unwrap_or(deps)]
        .into_iter()
        .find(|dir| dir.join("libvfs.so").exists())
        .unwrap_or_else(|| panic!("no libvfs.so near {}", exe.display()));
    match std::os::unix::fs::symlink("libvfs.so", dir.join("libvfs.so.0")) {
        Err(e) if e.kind() != std::io::ErrorKind::AlreadyExists => panic!("the soname link: {e}"),
        _ => dir.to_path_buf(),
    }
}

//! The shared library exports what the header promises and nothing else, from the release build too,
//! and is linked as a host needs it.
#![cfg(all(feature = "capi", target_os = "linux"))]
mod common;
use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::process::Command;

/// Names are only ever added.
const PROMISED: [&str; 25] = [
    "vfs_open",
    "vfs_shutdown",
    "vfs_close",
    "vfs_store",
    "vfs_read",
    "vfs_has",
    "vfs_stat",
    "vfs_remove",
    "vfs_remove_owned",
    "vfs_map",
    "vfs_unmap",
    "vfs_create",
    "vfs_write",
    "vfs_reserve",
    "vfs_seal",
    "vfs_abort",
    "vfs_list_open",
    "vfs_list_next",
    "vfs_list_close",
    "vfs_reap",
    "vfs_tier_stat",
    "vfs_strerror",
    "vfs_last_error",
    "vfs_last_errno",
    "vfs_version",
];

fn run(program: &str, arguments: &[&str], file: &Path) -> String {
    let output = Command::new(program)
        .args(arguments)
        .arg(file)
        .output()
        .unwrap_or_else(|e| panic!("this test needs `{program}` of the system's binutils: {e}"));
    assert!(output.status.success(), "{program}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap()
}

/// The library of this test run.
fn built() -> PathBuf {
    common::cdylib_dir().join("libvfs.so")
}

/// The library of a release build, made here.
fn released() -> PathBuf {
    let built = built();
    let profile = built.ancestors().find(|dir| dir.ends_with("debug") || dir.ends_with("release"));
    let target = profile.and_then(Path::parent).expect("cargo's target directory");
    let output = Command::new(env!("CARGO"))
        .args(["build", "--quiet", "--release", "--package", "libvfs", "--lib", "--target-dir"])
        .arg(target)
        .args(["--manifest-path", concat!(env!("CARGO_MANIFEST_DIR"), "/Cargo.toml")])
        .env_remove("CARGO_BUILD_TARGET")
        .output()
        .expect("cargo runs");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    target.join("release/libvfs.so")
}

fn check(library: &Path) {
    let listed = run("nm", &["-D", "--defined-only", "-P"], library);
    let exported: BTreeSet<_> = listed.lines().filter_map(|line| line.split_whitespace().next()).collect();
    assert_eq!(exported, BTreeSet::from(PROMISED), "{}", library.display());

    let dynamic = run("readelf", &["-dW"], library);
    assert!(dynamic.contains("Library soname: [libvfs.so.0]"), "{dynamic}");
    let flags: Vec<_> = dynamic.lines().filter(|line| line.contains("(FLAGS_1)")).collect();
    assert!(flags.iter().any(|line| line.contains("NODELETE")), "{dynamic}");

    // A host's own symbol of one of these names must not catch a call of ours.
    let relocations = run("readelf", &["-rW"], library);
    let caught: Vec<_> = relocations.lines().filter(|line| line.contains(" vfs_")).collect();
    assert!(caught.is_empty(), "{caught:#?}");
}

#[test]
fn the_library_of_this_profile_exports_what_was_promised() {
    check(&built());
}

#[test]
fn the_release_library_exports_what_was_promised() {
    check(&released());
}

#[test]
fn the_header_declares_what_was_promised() {
    let header = std::fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/include/vfs.h")).unwrap();
    let functions = header.split("extern \"C\" {").nth(1).unwrap();
    let code: String = functions.split("/**").filter_map(|part| part.split("*/").nth(1)).collect();
    let words = code.split(|c: char| !(c.is_alphanumeric() || c == '_'));
    let declared: BTreeSet<_> = words.filter(|w| w.starts_with("vfs_") && !w.ends_with("_t")).collect();
    assert_eq!(declared, BTreeSet::from(PROMISED));
}

#[test]
fn the_library_depends_on_three_crates_alone() {
    // (what a procedural macro is made of does not get into the library)
    let tree =
        ["tree", "--package", "libvfs", "--edges", "normal,build,no-proc-macro", "--prefix", "none", "--offline"];
    let output = Command::new(env!("CARGO")).args(tree).current_dir(env!("CARGO_MANIFEST_DIR")).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let tree = String::from_utf8(output.stdout).unwrap();
    let names: BTreeSet<_> = tree.lines().filter_map(|line| line.split_whitespace().next()).collect();
    assert_eq!(names, BTreeSet::from(["libvfs", "libc", "memmap2", "thiserror"]));
}

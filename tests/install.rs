//! `make install` gives a tree that a C program builds against with pkg-config alone.
mod common;

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

const PREFIX: &str = "/opt/vfs";
const PROGRAM: &str = r#"
#include <stdio.h>
#include <string.h>
#include <vfs.h>
int main(void) {
  vfs_t *store;
  char text[8];
  size_t len;
  if (vfs_open(NULL, &store) != VFS_OK || vfs_store(store, "key", "value", 5, 0) != VFS_OK ||
      vfs_read(store, "key", 0, text, sizeof text, &len, NULL) != VFS_OK || len != 5 || memcmp(text, "value", 5) != 0) {
    printf("%s\n", vfs_last_error());
    return 1;
  }
  vfs_close(store);
  printf("%s %s\n", VFS_VERSION, vfs_version());
  return 0;
}
"#;

/// Runs to the end; panics with what it said unless it ended with 0.
fn run(command: &mut Command) -> String {
    let Output { status, stdout, stderr } = command.output().unwrap_or_else(|e| panic!("{command:?}: {e}"));
    let (stdout, stderr) = (String::from_utf8_lossy(&stdout), String::from_utf8_lossy(&stderr));
    assert!(status.success(), "{command:?}: {status}\n{stdout}{stderr}");
    stdout.into_owned()
}

fn has(program: &str) -> bool {
    Command::new(program).arg("--version").output().is_ok_and(|out| out.status.success())
}

fn make(arguments: &[String]) -> String {
    let mut make = Command::new("make");
    for inherited in ["MAKEFLAGS", "MFLAGS", "MAKELEVEL", "PREFIX", "DESTDIR", "LIBDIR", "INCLUDEDIR"] {
        make.env_remove(inherited); // of the make that may have started this test
    }
    run(make.current_dir(env!("CARGO_MANIFEST_DIR")).args(arguments))
}

/// The installed tree in a directory that goes away with it.
fn install(more: &[&str]) -> (tempfile::TempDir, PathBuf) {
    let dest = tempfile::tempdir().unwrap();
    let mut arguments = vec!["install".to_string(), format!("DESTDIR={}", dest.path().display())];
    arguments.push(format!("PREFIX={PREFIX}"));
    arguments.extend(more.iter().map(|m| m.to_string()));
    make(&arguments);
    let prefix = dest.path().join(&PREFIX[1..]);
    (dest, prefix)
}

fn pkg_config(dest: &Path, libdir: &Path, arguments: &[&str]) -> Vec<String> {
    let out = run(Command::new("pkg-config")
        .env_remove("PKG_CONFIG_PATH")
        .env("PKG_CONFIG_LIBDIR", libdir.join("pkgconfig"))
        .env("PKG_CONFIG_SYSROOT_DIR", dest)
        .args(arguments)
        .arg("vfs"));
    out.split_whitespace().map(str::to_string).collect()
}

/// Builds the program with these flags and runs it in a store of its own.
fn build_and_run(flags: &[String], first: &[&str], libraries: Option<&Path>) -> (tempfile::TempDir, PathBuf) {
    let work = tempfile::tempdir().unwrap();
    let (source, program, tier) = (work.path().join("p.c"), work.path().join("p"), work.path().join("tier"));
    fs::write(&source, PROGRAM).unwrap();
    fs::create_dir(&tier).unwrap();
    run(Command::new("cc").args(first).arg(&source).arg("-o").arg(&program).args(flags));
    let mut command = Command::new(&program);
    command.env("VFS_TIERS", &tier).env_remove("LD_LIBRARY_PATH"); // cargo's points at its own build
    if let Some(libraries) = libraries {
        command.env("LD_LIBRARY_PATH", libraries);
    }
    let version = env!("CARGO_PKG_VERSION");
    assert_eq!(run(&mut command), format!("{version} {version}\n"));
    (work, program)
}

fn needed(program: &Path) -> String {
    run(Command::new("readelf").arg("-d").arg(program))
}

#[test]
fn the_installed_tree_is_what_a_loader_and_a_packager_expect() {
    let (_dest, prefix) = install(&[]);
    let lib = prefix.join("lib");
    let version = env!("CARGO_PKG_VERSION");
    let real = format!("libvfs.so.{version}");
    let soname = format!("libvfs.so.{}", env!("CARGO_PKG_VERSION_MAJOR"));
    assert!(lib.join(&real).symlink_metadata().unwrap().is_file());
    assert_eq!(fs::read_link(lib.join(&soname)).unwrap(), Path::new(&real));
    assert_eq!(fs::read_link(lib.join("libvfs.so")).unwrap(), Path::new(&soname));
    assert!(needed(&lib.join(&real)).contains(&format!("soname: [{soname}]")));
    for (file, mode) in [
        (lib.join("libvfs.a"), 0o644),
        (lib.join(&real), 0o755),
        (lib.join("pkgconfig/vfs.pc"), 0o644),
        (prefix.join("include/vfs.h"), 0o644),
    ] {
        assert_eq!(file.metadata().unwrap().permissions().mode() & 0o777, mode, "{}", file.display());
    }
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let header = prefix.join("include/vfs.h");
    assert_eq!(fs::read(header).unwrap(), fs::read(root.join("include/vfs.h")).unwrap());
    let pc = fs::read_to_string(lib.join("pkgconfig/vfs.pc")).unwrap();
    assert!(!pc.contains('@'), "{pc}");
}

#[test]
fn uninstall_takes_away_every_file_that_install_made() {
    let (dest, prefix) = install(&[]);
    make(&["uninstall".into(), format!("DESTDIR={}", dest.path().display()), format!("PREFIX={PREFIX}")]);
    for dir in ["include", "lib", "lib/pkgconfig"] {
        let mut files = fs::read_dir(prefix.join(dir)).unwrap().map(Result::unwrap);
        let left = files.find(|f| !f.file_type().unwrap().is_dir());
        assert!(left.is_none(), "{left:?}");
    }
}

#[test]
fn a_program_builds_with_pkg_config_alone_and_runs_with_the_shared_library() {
    if !has("pkg-config") {
        return common::skip("no pkg-config");
    }
    let (dest, prefix) = install(&[]);
    let lib = prefix.join("lib");
    assert_eq!(pkg_config(dest.path(), &lib, &["--modversion"]), [env!("CARGO_PKG_VERSION")]);
    let flags = pkg_config(dest.path(), &lib, &["--cflags", "--libs"]);
    let (_work, program) = build_and_run(&flags, &[], Some(&lib));
    assert!(needed(&program).contains(&format!("libvfs.so.{}", env!("CARGO_PKG_VERSION_MAJOR"))));
}

#[test]
fn directories_of_the_installers_choice_are_what_pkg_config_tells() {
    if !has("pkg-config") {
        return common::skip("no pkg-config");
    }
    let (dest, prefix) = install(&["LIBDIR=/opt/vfs/lib64/x", "INCLUDEDIR=/elsewhere/include"]);
    let lib = prefix.join("lib64/x");
    let flags = pkg_config(dest.path(), &lib, &["--cflags", "--libs"]);
    assert!(dest.path().join("elsewhere/include/vfs.h").is_file());
    build_and_run(&flags, &[], Some(&lib));
}

#[test]
fn a_program_builds_with_pkg_config_static_and_runs_alone() {
    if !has("pkg-config") {
        return common::skip("no pkg-config");
    }
    let (dest, prefix) = install(&[]);
    let lib = prefix.join("lib");
    let flags = pkg_config(dest.path(), &lib, &["--static", "--cflags", "--libs"]);
    // With the C library static too, and, where only that of vfs is there, with it shared.
    let (_work, program) = build_and_run(&flags, &["-static"], None);
    assert!(!needed(&program).contains("NEEDED"), "{}", needed(&program));
    for shared in fs::read_dir(&lib).unwrap().map(Result::unwrap) {
        if shared.file_name().to_string_lossy().starts_with("libvfs.so") {
            fs::remove_file(shared.path()).unwrap();
        }
    }
    let (_work, program) = build_and_run(&flags, &[], None);
    assert!(!needed(&program).contains("libvfs"), "{}", needed(&program));
}

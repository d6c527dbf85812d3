//! `make install` gives a tree that C and C++ programs build against with pkg-config alone, or with CMake alone.
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
    for inherited in
        ["MAKEFLAGS", "MFLAGS", "MAKELEVEL", "PREFIX", "DESTDIR", "BINDIR", "LIBDIR", "INCLUDEDIR", "DATADIR"]
    {
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
        (lib.join("cmake/vfs/vfsConfig.cmake"), 0o644),
        (lib.join("cmake/vfs/vfsConfigVersion.cmake"), 0o644),
        (prefix.join("include/vfs.h"), 0o644),
        (prefix.join("include/vfs.hpp"), 0o644),
        (prefix.join("bin/vfsctl"), 0o755),
        (prefix.join("share/man/man1/vfsctl.1"), 0o644),
        (prefix.join("share/man/man1/vfsctl-put.1"), 0o644),
        (prefix.join("share/bash-completion/completions/vfsctl"), 0o644),
        (prefix.join("share/zsh/site-functions/_vfsctl"), 0o644),
        (prefix.join("share/fish/vendor_completions.d/vfsctl.fish"), 0o644),
    ] {
        assert_eq!(file.metadata().unwrap().permissions().mode() & 0o777, mode, "{}", file.display());
    }
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    for header in ["include/vfs.h", "include/vfs.hpp"] {
        assert_eq!(fs::read(prefix.join(header)).unwrap(), fs::read(root.join(header)).unwrap());
    }
    for filled in ["pkgconfig/vfs.pc", "cmake/vfs/vfsConfig.cmake", "cmake/vfs/vfsConfigVersion.cmake"] {
        let text = fs::read_to_string(lib.join(filled)).unwrap();
        assert!(!text.contains('@'), "{text}");
    }
}

#[test]
fn the_installed_vfsctl_runs_alone() {
    let (_dest, prefix) = install(&[]);
    let program = prefix.join("bin/vfsctl");
    let out = run(Command::new(&program).arg("--version").env_remove("LD_LIBRARY_PATH"));
    assert_eq!(out, format!("vfsctl {}\n", env!("CARGO_PKG_VERSION")));
    assert!(!needed(&program).contains("libvfs"), "{}", needed(&program));
}

#[test]
fn uninstall_takes_away_every_file_that_install_made() {
    let (dest, prefix) = install(&[]);
    make(&["uninstall".into(), format!("DESTDIR={}", dest.path().display()), format!("PREFIX={PREFIX}")]);
    let mut dirs = vec![prefix];
    while let Some(dir) = dirs.pop() {
        for entry in fs::read_dir(dir).unwrap().map(Result::unwrap) {
            assert!(entry.file_type().unwrap().is_dir(), "{entry:?}");
            dirs.push(entry.path());
        }
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

/// README.md's own line, as it stands there.
#[test]
fn the_readmes_line_builds_the_example_against_what_is_installed() {
    if !has("pkg-config") {
        return common::skip("no pkg-config");
    }
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let readme = fs::read_to_string(root.join("README.md")).unwrap();
    let mut after = readme.lines().skip_while(|line| !line.starts_with("sudo make install "));
    let line = after.nth(1).unwrap();
    let (dest, prefix) = install(&[]);
    let work = tempfile::tempdir().unwrap();
    std::os::unix::fs::symlink(root.join("examples"), work.path().join("examples")).unwrap();
    let mut sh = Command::new("sh");
    sh.arg("-c").arg(format!("{line}\n./hello")).current_dir(work.path());
    sh.env_remove("PKG_CONFIG_PATH").env("PKG_CONFIG_LIBDIR", prefix.join("lib/pkgconfig"));
    sh.env("PKG_CONFIG_SYSROOT_DIR", dest.path()).env("LD_LIBRARY_PATH", prefix.join("lib"));
    assert_eq!(run(sh.env("VFS_TIERS", work.path())), "hello, world\n");
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

/// A C and a C++ program, each with the library in its two forms. `ask` is what stands in `find_package(vfs ...)`.
const CMAKE_PROJECT: &str = r#"
cmake_minimum_required(VERSION 3.16)
project(consumer C CXX)
set(CMAKE_CXX_STANDARD 17)
find_package(vfs ${ask} REQUIRED)
foreach(target ${targets})
  add_executable(c-${target} p.c)
  target_link_libraries(c-${target} PRIVATE vfs::${target})
  add_executable(cxx-${target} p.cpp)
  target_link_libraries(cxx-${target} PRIVATE vfs::${target})
endforeach()
"#;
const CXX_PROGRAM: &str = r#"
#include <cstdio>
#include <vfs.hpp>
int main() {
  vfs::Store store;
  store.put("key", "value");
  if (store.read<std::string>("key") != "value") return 1;
  std::printf("%s %s\n", VFS_VERSION, vfs::version());
}
"#;

/// Configures the project in an empty directory; what CMake says, and whether it went well.
fn configure(prefix: &Path, ask: &str, targets: &str) -> (tempfile::TempDir, Output) {
    let work = tempfile::tempdir().unwrap();
    fs::write(work.path().join("p.c"), PROGRAM).unwrap();
    fs::write(work.path().join("p.cpp"), CXX_PROGRAM).unwrap();
    fs::write(work.path().join("CMakeLists.txt"), CMAKE_PROJECT).unwrap();
    let output = Command::new("cmake")
        .current_dir(work.path())
        .env_remove("CMAKE_PREFIX_PATH")
        .args(["-S", ".", "-B", "build", "-DCMAKE_FIND_USE_PACKAGE_REGISTRY=OFF"])
        .args([format!("-DCMAKE_PREFIX_PATH={}", prefix.display()), format!("-Dask={ask}")])
        .arg(format!("-Dtargets={targets}"))
        .output()
        .unwrap();
    (work, output)
}

#[test]
fn programs_build_with_cmake_alone_wherever_the_tree_was_moved() {
    if !has("cmake") {
        return common::skip("no cmake");
    }
    let triplet = run(Command::new("cc").arg("-print-multiarch")); // empty but on Debian and its like
    let (dest, _prefix) =
        install(&[&format!("LIBDIR={}", format!("{PREFIX}/lib/{triplet}").trim().trim_end_matches('/'))]);
    let moved = dest.path().join("elsewhere");
    fs::rename(dest.path().join("opt/vfs"), &moved).unwrap();
    let (work, output) = configure(&moved, env!("CARGO_PKG_VERSION"), "vfs;vfs_static");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    run(Command::new("cmake").args(["--build", "build"]).current_dir(work.path()).env_remove("MAKEFLAGS"));
    let (tier, version) = (work.path().join("tier"), env!("CARGO_PKG_VERSION"));
    fs::create_dir(&tier).unwrap();
    for program in ["c-vfs", "cxx-vfs", "c-vfs_static", "cxx-vfs_static"] {
        let path = work.path().join("build").join(program);
        // By the rpath that CMake gives what it builds.
        let said = run(Command::new(&path).env("VFS_TIERS", &tier).env_remove("LD_LIBRARY_PATH"));
        assert_eq!(said, format!("{version} {version}\n"), "{program}");
        let soname = format!("libvfs.so.{}", env!("CARGO_PKG_VERSION_MAJOR"));
        assert_eq!(needed(&path).contains(&soname), !program.ends_with("static"), "{program}");
    }
}

#[test]
fn cmake_takes_the_versions_that_the_soname_promises() {
    if !has("cmake") {
        return common::skip("no cmake");
    }
    let (_dest, prefix) = install(&["LIBDIR=/opt/vfs/lib"]);
    let package = prefix.join("lib/cmake/vfs/vfsConfigVersion.cmake");
    let (major, minor): (u32, u32) =
        (env!("CARGO_PKG_VERSION_MAJOR").parse().unwrap(), env!("CARGO_PKG_VERSION_MINOR").parse().unwrap());
    let version = env!("CARGO_PKG_VERSION");
    let (next, later) = (format!("{}", major + 1), format!("{major}.{}", minor + 1));
    // What find_package sets before it asks the file, for a version and for a range.
    let script = |min: &str, max: Option<(&str, &str)>| {
        let mut script = format!(
            "set(PACKAGE_FIND_VERSION {min})\nset(PACKAGE_FIND_VERSION_MAJOR {0})\n\
             set(PACKAGE_FIND_VERSION_MIN {min})\nset(PACKAGE_FIND_VERSION_MIN_MAJOR {0})\n",
            min.split('.').next().unwrap()
        );
        if let Some((end, max)) = max {
            script += &format!(
                "set(PACKAGE_FIND_VERSION_RANGE {min}...{max})\nset(PACKAGE_FIND_VERSION_RANGE_MAX {end})\n\
                 set(PACKAGE_FIND_VERSION_MAX {max})\n"
            );
        }
        script + &format!("include({})\nmessage(STATUS \"${{PACKAGE_VERSION_COMPATIBLE}}\")\n", package.display())
    };
    let work = tempfile::tempdir().unwrap();
    for (min, max, want) in [
        (version, None, true),
        (&format!("{major}.{minor}"), None, true),
        (&format!("{major}"), None, true),
        (&later, None, false),
        (&next, None, false),
        (&format!("{major}"), Some(("INCLUDE", version)), true),
        (&format!("{major}"), Some(("EXCLUDE", version)), false),
        (&format!("{major}"), Some(("EXCLUDE", &next)), true),
        (&later, Some(("INCLUDE", &next)), false),
    ] {
        let file = work.path().join("ask.cmake");
        fs::write(&file, script(min, max)).unwrap();
        let said = run(Command::new("cmake").arg("-P").arg(&file));
        assert_eq!(said.trim(), if want { "-- TRUE" } else { "-- FALSE" }, "{min} {max:?}");
    }
    // Asked for too much, find_package itself says no.
    let (_work, output) = configure(&prefix, &later, "vfs");
    assert!(!output.status.success() && String::from_utf8_lossy(&output.stderr).contains(version));
}

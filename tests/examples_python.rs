//! The Python module does what it says, against the library of this test run.
//!
//! `PYTHON` names the interpreter; default `python3`.
mod common;

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("examples/python")
}

/// The interpreter, with directories of its own to write to and nothing written beside the sources;
/// or none, which is said.
fn python(work: &Path) -> Option<Command> {
    let name = std::env::var("PYTHON").unwrap_or("python3".into());
    let probe = "import sys; sys.exit(sys.version_info < (3, 9) or sys.implementation.name != 'cpython')";
    if !Command::new(&name).args(["-c", probe]).output().is_ok_and(|out| out.status.success()) {
        common::skip(&format!("{name}: no CPython 3.9 or later"));
        return None;
    }
    for tier in ["first", "second"] {
        fs::create_dir_all(work.join(tier)).unwrap();
    }
    let mut command = Command::new(name);
    command
        .env("VFS_LIBRARY", common::cdylib_dir().join("libvfs.so"))
        .env("VFS_TIERS", format!("{}?max=1M,{}", work.join("first").display(), work.join("second").display()))
        .env("TMPDIR", work)
        .env("PYTHONDONTWRITEBYTECODE", "1")
        .env_remove("PYTHONPATH")
        .current_dir(work);
    Some(command)
}

fn text(out: &Output) -> String {
    format!("{}{}", String::from_utf8_lossy(&out.stdout), String::from_utf8_lossy(&out.stderr))
}

/// Runs one class of test_vfs.py, with the interpreter's own checks on.
fn holds(class: &str) {
    let work = tempfile::tempdir().unwrap();
    let Some(mut command) = python(work.path()) else { return };
    let out = command.args(["-X", "dev"]).arg(folder().join("test_vfs.py")).args(["-v", class]).output().unwrap();
    assert!(out.status.success(), "{class}: {}\n{}", out.status, text(&out));
    let said = text(&out);
    assert!(said.contains(" ... ok") && said.trim_end().ends_with("OK"), "{class}:\n{said}");
}

#[test]
fn bytes_of_every_size_and_kind_come_back() {
    holds("Bytes");
}

#[test]
fn a_view_stays_good_while_anything_made_of_it_lives() {
    holds("Views");
}

#[test]
fn a_writer_publishes_all_or_nothing() {
    holds("Writers");
}

#[test]
fn each_failure_is_an_exception_of_its_own() {
    holds("Errors");
}

#[test]
fn a_key_is_never_cut_and_has_one_str() {
    holds("Keys");
}

#[test]
fn stat_listing_tiers_and_log_tell_what_is() {
    holds("Asking");
}

#[test]
fn blobs_go_with_their_owner_however_it_ends() {
    holds("Lifetimes");
}

#[test]
fn processes_share_by_fork_and_by_spawn() {
    holds("Processes");
}

#[test]
fn threads_share_a_store_and_wait_without_stopping_others() {
    holds("Threads");
}

#[test]
fn the_binding_is_that_of_the_header() {
    holds("Binding");
}

#[test]
fn the_demo_shares_an_image_and_a_table_with_another_process() {
    let work = tempfile::tempdir().unwrap();
    let Some(mut command) = python(work.path()) else { return };
    let out = command.arg(folder().join("demo.py")).output().unwrap();
    let said = text(&out);
    assert!(out.status.success(), "{}\n{said}", out.status);
    // The table outgrows the first tier.
    for line in [
        format!("bytes in {}\n", work.path().join("first").display()),
        format!("table: 3200000 bytes in {}\n", work.path().join("second").display()),
        "the same bytes, read in ".into(),
        "adds up to 9999950000.0\n".into(),
        "no blob has this key\n".into(),
        "and 0 blobs are left\n".into(),
    ] {
        assert!(said.contains(&line), "{line:?} is not in:\n{said}");
    }
}

#[test]
fn the_types_are_strict() {
    let work = tempfile::tempdir().unwrap();
    let Some(mut command) = python(work.path()) else { return };
    if !command.args(["-c", "import mypy"]).output().unwrap().status.success() {
        return common::skip("mypy is not there");
    }
    let mut command = python(work.path()).unwrap();
    let files = ["vfs.py", "demo.py", "test_vfs.py"].map(|file| folder().join(file));
    let out = command.args(["-m", "mypy", "--strict", "--cache-dir", "/dev/null"]).args(files).output().unwrap();
    assert!(out.status.success(), "{}", text(&out));
}

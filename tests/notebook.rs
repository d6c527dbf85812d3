//! The notebook server marimo, unmodified, with libvfs beneath its virtual files: `examples/notebook`.
//!
//! `PYTHON` names the interpreter that has marimo; default `python3`. Each test has process numbers and a `/dev/shm` of
//! its own, and when it ends, so does all that it started. With `-- --nocapture` one sees what became of marimo without
//! libvfs.
mod common;

use common::python::{interpreter, text};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

/// The version of which README.md there tells, and `.ci/run` installs.
const TOLD: &str = "0.25.2";

/// The version of marimo; or none, which is said.
fn marimo() -> Option<String> {
    let probe = "import numpy, PIL, psutil, pyarrow, websockets, marimo; print(marimo.__version__)";
    let out = Command::new(interpreter()).args(["-c", probe]).output();
    match out {
        Ok(out) if out.status.success() => Some(String::from_utf8_lossy(&out.stdout).trim().into()),
        _ => {
            common::skip(&format!("{} lacks any of marimo, numpy, pillow, pyarrow", interpreter()));
            None
        }
    }
}

/// `unshare` with what makes the namespaces here; or none, which is said.
fn unshare() -> Option<Vec<&'static str>> {
    for user in [&[][..], &["-Ur"]] {
        let arguments = [user, &["-m", "-p", "-f", "--kill-child", "--mount-proc"]].concat();
        let mut probe = Command::new("unshare");
        probe.args(&arguments).args(["mount", "-t", "tmpfs", "shm", "/dev/shm"]);
        if probe.output().is_ok_and(|out| out.status.success()) {
            return Some(arguments);
        }
    }
    common::skip("no namespaces of mounts and processes here");
    None
}

/// Runs one class of test_notebook.py.
fn holds(class: &str) {
    let Some(namespaces) = unshare() else { return };
    let script: PathBuf = Path::new(env!("CARGO_MANIFEST_DIR")).join("examples/notebook/test_notebook.py");
    let work = tempfile::tempdir().unwrap();
    let mut command = Command::new("timeout"); // of the whole, which no step of the script comes near
    command.args(["-s", "KILL", "300", "unshare"]).args(namespaces);
    command.args(["sh", "-c", r#"mount -t tmpfs -o size=8m shm /dev/shm && exec "$@""#, "sh", &interpreter()]);
    command.arg(script).args(["-v", class]);
    command
        .env("VFS_LIBRARY", common::cdylib_dir().join("libvfs.so"))
        .env("TMPDIR", work.path())
        .env("PYTHONDONTWRITEBYTECODE", "1")
        .env_remove("PYTHONPATH")
        .env_remove("VFS_TIERS")
        .current_dir(work.path())
        .stdin(Stdio::null());
    let out = command.output().unwrap();
    let said = text(&out);
    assert!(out.status.success(), "{class}: {}\n{said}", out.status);
    assert!(said.contains("\nok\n") || said.contains(" ... ok\n"), "{class}:\n{said}");
    said.lines().filter(|line| line.contains("as seen: ")).for_each(|line| println!("{line}"));
}

#[test]
fn the_storage_keeps_marimos_protocol() {
    if marimo().is_some() {
        holds("Protocol");
    }
}

#[test]
fn images_and_tables_are_served_past_a_full_shm_and_nothing_is_left_after_kills() {
    if marimo().is_some() {
        holds("Edited");
    }
}

#[test]
fn sessions_of_an_app_have_their_files_removed_one_by_one() {
    if marimo().is_some() {
        holds("App");
    }
}

#[test]
fn without_libvfs_it_is_as_the_readme_tells() {
    match marimo() {
        Some(version) if version == TOLD => holds("Unpatched"),
        Some(version) => common::skip(&format!("marimo is {version}; what is told is of {TOLD}")),
        None => (),
    }
}

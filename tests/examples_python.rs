//! The Python module, and cffi without it, do what they say, against the library of this test run.
mod common;

use common::python::{python, text};
use std::path::{Path, PathBuf};

/// Those whose memory is shared with blobs.
const ARRAYS: [&str; 3] = ["numpy", "pyarrow", "PIL"];

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

fn folder() -> PathBuf {
    root().join("examples/python")
}

/// Runs one class of test_vfs.py, with the interpreter's own checks on.
fn holds(class: &str) {
    run("test_vfs.py", class, &[]);
}

/// The same, of test_arrays.py.
fn holds_with_arrays(class: &str) {
    run("test_arrays.py", class, &ARRAYS);
}

fn run(file: &str, class: &str, modules: &[&str]) {
    let work = tempfile::tempdir().unwrap();
    let Some(mut command) = python(work.path(), modules) else { return };
    let out = command.args(["-X", "dev"]).arg(folder().join(file)).args(["-v", class]).output().unwrap();
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
fn a_writer_is_a_file_object() {
    holds("Files");
}

#[test]
fn numpy_arrays_are_the_blob_itself() {
    holds_with_arrays("NumPy");
}

#[test]
fn arrow_tables_are_the_blob_itself() {
    holds_with_arrays("Arrow");
}

#[test]
fn arrays_and_tables_are_released_in_any_order() {
    holds_with_arrays("Release");
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
fn an_interrupted_call_leaves_nothing_behind() {
    holds("Interrupts");
}

#[test]
fn the_binding_is_that_of_the_header() {
    holds("Binding");
}

#[test]
fn the_demo_shares_an_image_and_a_table_with_another_process() {
    let work = tempfile::tempdir().unwrap();
    let Some(mut command) = python(work.path(), &[]) else { return };
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
    let Some(mut command) = python(work.path(), &[&["mypy", "cffi", "hatchling"], &ARRAYS[..]].concat()) else {
        return;
    };
    command.args(["-m", "mypy", "--cache-dir", "/dev/null", "--config-file"]).arg(root().join("pyproject.toml"));
    let files = ["vfs.py", "demo.py", "test_vfs.py", "test_arrays.py", "hatch_build.py", "../cffi/store.py"];
    let out = command.args(files.map(|file| folder().join(file))).output().unwrap();
    assert!(out.status.success(), "{}", text(&out));
}

/// The arguments of examples/cffi/store.py.
fn library_and_header() -> [PathBuf; 2] {
    [common::cdylib_dir().join("libvfs.so"), root().join("include/vfs.h")]
}

#[test]
fn cffi_stores_and_maps_straight_from_the_header() {
    let work = tempfile::tempdir().unwrap();
    let Some(mut command) = python(work.path(), &["cffi"]) else { return };
    let program = root().join("examples/cffi/store.py");
    let out = command.args(["-X", "dev"]).arg(&program).args(library_and_header()).arg(&program).output().unwrap();
    let said = text(&out);
    assert!(out.status.success(), "{}\n{said}", out.status);
    let size = program.metadata().unwrap().len();
    let expected = [
        format!("libvfs {}", env!("CARGO_PKG_VERSION")),
        format!("whole: {size} bytes in place, the same: True"),
        "whole: shown after vfs_remove: True".into(),
        "nobody: VFS_ERR_NOT_FOUND is True: vfs_map \"nobody\": looking for a key: no blob has this key".into(),
        "refused: an embedded NUL: 'a\\x00b'".into(),
        format!("parts: {size} of {size} bytes, the same: True"),
        format!("parts: in {}", work.path().join("first").display()),
        "parts: there after vfs_close: False".into(),
    ];
    assert_eq!(said.lines().collect::<Vec<_>>(), expected);
}

#[test]
fn what_cffi_maps_stays_while_anything_made_of_it_lives() {
    let work = tempfile::tempdir().unwrap();
    let Some(mut command) = python(work.path(), &["cffi"]) else { return };
    let program = r#"
import gc, pathlib, sys, store
def mapped(): return sum("/objects/" in line for line in pathlib.Path("/proc/self/maps").read_text().splitlines())
vfs = store.Vfs(*sys.argv[1:])
handle = vfs.open("lives")
for size in (0, 1, 100_000):
    vfs.check(vfs.lib.vfs_store(handle, b"k", b"x" * size, size, vfs.lib.VFS_REPLACE))
    whole = vfs.map(handle, "k")
    assert whole == b"x" * size and whole.readonly
assert mapped() == 1
part = whole[1:].cast("B")
vfs.ffi.release(handle)
whole.release()
del whole, handle
gc.collect()
assert mapped() == 1 and part == b"x" * 99_999
del part
gc.collect()
assert mapped() == 0
"#;
    command.env("PYTHONPATH", root().join("examples/cffi"));
    let out = command.args(["-X", "dev", "-c", program]).args(library_and_header()).output().unwrap();
    assert!(out.status.success() && text(&out).is_empty(), "{}\n{}", out.status, text(&out));
}

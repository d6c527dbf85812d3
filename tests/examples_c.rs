//! The C examples do what they say, against the library of this test run.
mod common;

use std::fs;
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

/// Compiles `examples/c/NAME.c` as strictly as a user might.
fn compile(name: &str, into: &Path) -> PathBuf {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let libraries = common::cdylib_dir();
    let program = into.join(name);
    let cc = std::env::var("CC").unwrap_or("cc".into());
    let out = Command::new(cc)
        .args(["-std=c99", "-Wall", "-Wextra", "-Wpedantic", "-Werror", "-O2", "-I"])
        .arg(root.join("include"))
        .arg(root.join(format!("examples/c/{name}.c")))
        .arg("-o")
        .arg(&program)
        .arg("-L")
        .arg(&libraries)
        .arg(format!("-Wl,-rpath,{}", libraries.display()))
        .args(["-lvfs", "-lrt"])
        .output()
        .expect("the C compiler");
    assert!(out.status.success(), "{name}.c:\n{}", String::from_utf8_lossy(&out.stderr));
    program
}

/// A command with two tiers of its own, the first of 1 MiB.
fn command(program: &Path, work: &Path) -> Command {
    for tier in ["first", "second"] {
        fs::create_dir_all(work.join(tier)).unwrap();
    }
    let mut command = Command::new(program);
    let tiers = format!("{}?max=1M,{}", work.join("first").display(), work.join("second").display());
    command.env("VFS_TIERS", tiers).env_remove("LD_LIBRARY_PATH");
    command
}

fn text(out: &Output) -> String {
    format!("{}{}", String::from_utf8_lossy(&out.stdout), String::from_utf8_lossy(&out.stderr))
}

/// The regular files below a directory that have bytes or are blobs.
fn left(dir: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in fs::read_dir(dir).unwrap().map(Result::unwrap) {
        let kind = entry.file_type().unwrap();
        let lock = entry.file_name().to_string_lossy().ends_with("lock") && entry.metadata().unwrap().len() == 0;
        if kind.is_dir() {
            found.extend(left(&entry.path()));
        } else if !lock {
            found.push(entry.path());
        }
    }
    found
}

#[test]
fn hello_reads_what_it_stored_and_leaves_nothing() {
    let work = tempfile::tempdir().unwrap();
    let out = command(&compile("hello", work.path()), work.path()).output().unwrap();
    assert_eq!((out.status.code(), &*text(&out)), (Some(0), "hello, world\n"));
    for tier in ["first", "second"] {
        assert_eq!(left(&work.path().join(tier)), [] as [PathBuf; 0]);
    }
}

#[test]
fn hello_says_in_words_why_no_store_can_be_opened() {
    let work = tempfile::tempdir().unwrap();
    let missing = work.path().join("missing");
    let out = command(&compile("hello", work.path()), work.path()).env("VFS_TIERS", &missing).output().unwrap();
    assert_eq!(out.status.code(), Some(1));
    assert!(text(&out).contains(missing.to_str().unwrap()), "{}", text(&out));
}

#[test]
fn what_store_holds_fetch_reads_and_compares_until_store_ends() {
    let work = tempfile::tempdir().unwrap();
    let (store, fetch) = (compile("store", work.path()), compile("fetch", work.path()));
    let file = work.path().join("file");
    fs::write(&file, vec![7u8; 300_000]).unwrap();
    let empty = work.path().join("empty");
    fs::write(&empty, "").unwrap();
    // The table outgrows the first tier midway.
    let mut items =
        vec![format!("file={}", file.display()), format!("empty={}", empty.display()), "table=rows:40000".to_string()];
    let mut storer =
        command(&store, work.path()).args(&items).stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
    let said: Vec<String> = BufReader::new(storer.stdout.take().unwrap())
        .lines()
        .map(Result::unwrap)
        .take_while(|line| line != "holding")
        .collect();
    let place = |key: &str| said.iter().find(|line| line.trim_start().starts_with(key)).cloned().unwrap_or_default();
    assert!(place("file").contains(" 300000  0 "), "{said:?}");
    assert!(place("empty").contains(" 0  0 "), "{said:?}");
    assert!(place("table").contains(" 2560000  1 "), "{said:?}");

    let out = command(&fetch, work.path()).args(&items).output().unwrap();
    assert_eq!(out.status.code(), Some(0), "{}", text(&out));
    assert_eq!(text(&out).matches("same bytes").count(), 3, "{}", text(&out));

    // One byte differs; one is missing at the end; a key is not there.
    let mut bytes = vec![7u8; 300_000];
    bytes[299_999] = 8;
    fs::write(&file, &bytes).unwrap();
    let out = command(&fetch, work.path()).args(&items[..1]).output().unwrap();
    assert_eq!(out.status.code(), Some(1), "{}", text(&out));
    fs::write(&file, &bytes[..299_999]).unwrap();
    let out = command(&fetch, work.path()).args(&items[..1]).output().unwrap();
    assert_eq!(out.status.code(), Some(1), "{}", text(&out));
    items[0] = "table=rows:39999".into();
    let out = command(&fetch, work.path()).args(&items[..1]).output().unwrap();
    assert_eq!(out.status.code(), Some(1), "{}", text(&out));
    items[0] = "nobody=rows:1".into();
    let out = command(&fetch, work.path()).args(&items[..1]).output().unwrap();
    assert_eq!(out.status.code(), Some(1), "{}", text(&out));

    drop(storer.stdin.take());
    assert!(storer.wait().unwrap().success());
    for tier in ["first", "second"] {
        assert_eq!(left(&work.path().join(tier)), [] as [PathBuf; 0]);
    }
}

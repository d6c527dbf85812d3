//! `make docs` makes reference pages of both headers, without a warning (Doxygen fails at one).
mod common;

use std::fs;
use std::path::Path;
use std::process::Command;

#[test]
fn the_reference_pages_have_every_function_and_no_warning() {
    if !common::c::have("doxygen") {
        return common::skip("no doxygen");
    }
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let out = tempfile::tempdir().unwrap();
    let mut make = Command::new("make");
    for inherited in ["MAKEFLAGS", "MFLAGS", "MAKELEVEL"] {
        make.env_remove(inherited); // of the make that may have started this test
    }
    let made = make.current_dir(root).args(["docs", &format!("DOCS={}", out.path().display())]).output().unwrap();
    let said = String::from_utf8_lossy(&made.stderr);
    assert!(made.status.success() && said.is_empty(), "{said}");

    let page =
        |name: &str| fs::read_to_string(out.path().join("html").join(name)).unwrap_or_else(|e| panic!("{name}: {e}"));
    let c = page("vfs_8h.html");
    let header = fs::read_to_string(root.join("include/vfs.h")).unwrap();
    let functions: Vec<_> = header
        .split("extern \"C\" {")
        .nth(1)
        .unwrap()
        .split(';')
        .filter_map(|part| part.rsplit_once("*/")?.1.split_once('(')?.0.rsplit([' ', '*', '\n']).next())
        .collect();
    assert_eq!(functions.len(), 25);
    for function in functions {
        let heading = format!("</a></span>{function}()</h2>");
        let (_, text) = c.split_once(&heading).unwrap_or_else(|| panic!("no part on {function}"));
        assert!(text.split("</h2>").next().unwrap().contains("Threads: "), "{function} is not told");
    }
    for caveat in ["RemoveIPC", "A hung network or FUSE filesystem", "takes the place"] {
        assert!(c.contains(caveat), "the page of vfs.h lacks {caveat:?}");
    }
    for (class, word) in [("Store", "try_map"), ("View", "text"), ("Writer", "try_reserve"), ("List", "try_next")] {
        assert!(page(&format!("classvfs_1_1{class}.html")).contains(word), "{class} lacks {word}");
    }
}

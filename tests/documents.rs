//! What the documents say of this project is so.
use std::fmt::Write;
use std::fs;
use std::path::Path;
use std::process::Command;

/// All Rust text of the tests that `file` stands for: `tests/FILE.rs`, the directory `src/...`, or `vfsctl/tests/FILE.rs`.
fn sources(file: &str) -> String {
    fn below(path: &Path, text: &mut String) {
        if path.is_dir() {
            for entry in fs::read_dir(path).unwrap() {
                below(&entry.unwrap().path(), text);
            }
        } else if path.extension().is_some_and(|ext| ext == "rs") {
            text.push_str(&fs::read_to_string(path).unwrap_or_default());
        }
    }
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let is_path = file.starts_with("src") || file.starts_with("vfsctl/");
    let path = if is_path { root.join(file) } else { root.join("tests").join(file) };
    let mut text = String::new();
    below(&if path.is_dir() { path } else { path.with_extension("rs") }, &mut text);
    text
}

#[test]
fn every_test_that_the_documents_name_is_there() {
    let mut named = 0;
    for document in ["docs/RELIABILITY.md", "docs/DESIGN.md", "docs/HOSTS.md"] {
        let text = fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join(document)).unwrap();
        for quoted in text.split('`').skip(1).step_by(2) {
            let Some((file, name)) = quoted.split_once("::") else { continue };
            let word = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || "_/.".contains(c);
            if !file.chars().all(word) || !name.chars().all(word) {
                continue; // a type, or the first words of several names
            }
            named += 1;
            let text = sources(file);
            let there = text.contains(&format!("fn {name}(")) || text.contains(&format!(" {name}: \""));
            assert!(there, "{document} names {quoted:?}, which is not there");
        }
    }
    assert!(named > 50, "only {named} tests are named");
}

/// Each struct of the header is told with all its fields, and a C compiler agrees on each size, offset and type.
#[cfg(target_pointer_width = "64")]
#[test]
fn the_layouts_told_to_bindings_are_those_of_the_header() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let text = fs::read_to_string(root.join("docs/HOSTS.md")).unwrap();
    let table = text.split("```text\n").nth(1).unwrap().split("```").next().unwrap();
    // A struct is a line of its name and size, a field one of its offset, type and name.
    let (mut program, mut structs) = (String::from("#include <stddef.h>\n#include <vfs.h>\n"), Vec::new());
    let mut claim = |claim: String| writeln!(program, "_Static_assert({claim}, \"\");").unwrap();
    for line in table.lines() {
        if line.starts_with(' ') {
            let (offset, field) = line.trim().split_once(' ').unwrap();
            let (kind, name) = field.trim().rsplit_once(' ').unwrap();
            let (of, end) = structs.last_mut().expect("a struct before its fields");
            claim(format!("offsetof({of}, {name}) == {offset} && {offset} == {end}"));
            claim(format!("_Generic((({of} *)0)->{name}, {}: 1, default: 0)", kind.trim()));
            *end = format!("{offset} + sizeof((({of} *)0)->{name})"); // the next one begins there: no field is left out
        } else {
            let (name, size) = line.split_once(' ').unwrap();
            claim(format!("sizeof({name}) == {size}"));
            structs.push((name, "0".to_string()));
        }
    }
    for (name, end) in &structs {
        claim(format!("{end} == sizeof({name})"));
    }
    let header = fs::read_to_string(root.join("include/vfs.h")).unwrap();
    let defined = header.lines().filter(|line| line.starts_with("typedef struct ") && line.ends_with('{'));
    let mut defined: Vec<&str> = defined.map(|line| line.split(' ').nth(2).unwrap()).collect();
    let mut told: Vec<&str> = structs.iter().map(|(name, _)| *name).collect();
    defined.sort();
    told.sort();
    assert_eq!(told, defined);

    let work = tempfile::tempdir().unwrap();
    let source = work.path().join("layouts.c");
    fs::write(&source, &program).unwrap();
    let mut cc = Command::new(std::env::var_os("CC").unwrap_or("cc".into()));
    cc.args(["-std=c11", "-fsyntax-only", "-I"]).arg(root.join("include")).arg(&source);
    let out = cc.output().expect("the C compiler");
    assert!(out.status.success(), "{program}\n{}", String::from_utf8_lossy(&out.stderr));
}

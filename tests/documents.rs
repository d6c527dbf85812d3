//! What the documents say of this project is so.
use std::fs;
use std::path::Path;

/// All Rust text of the tests that `file` stands for: `tests/FILE.rs`, or the directory `src/...`.
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
    let path = if file.starts_with("src") { root.join(file) } else { root.join("tests").join(file) };
    let mut text = String::new();
    below(&if path.is_dir() { path } else { path.with_extension("rs") }, &mut text);
    text
}

#[test]
fn every_test_that_the_documents_name_is_there() {
    let mut named = 0;
    for document in ["docs/RELIABILITY.md", "docs/DESIGN.md"] {
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

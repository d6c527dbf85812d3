//! Each block of code in README.md does what it says, as it stands there, against the library of this test run.
mod common;

use common::c::find_left;
use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

/// Under which heading, in which language, and what runs it: a test here that takes it by its place, or one elsewhere.
const BLOCKS: &[(&str, &str, &str)] = &[
    ("libvfs", "c", "the_program_at_the_top_is_the_example"),
    ("libvfs", "sh", "the_quick_start_says_hello"),
    ("Install", "sh", "install.rs: the_readmes_line_builds_the_example_against_what_is_installed"),
    ("vfsctl", "sh", "what_is_told_of_vfsctl_stores_shows_and_removes"),
    ("Hosts", "c", "c_works_as_pasted"),
    ("Hosts", "cpp", "cpp_works_as_pasted"),
    ("Hosts", "sh", "rust_works_as_pasted"),
    ("Hosts", "rust", "rust_works_as_pasted"),
    ("Hosts", "python", "python_works_as_pasted"),
    ("Hosts", "python", "cffi_works_as_pasted"),
    ("Hosts", "sh", "shells_work_as_pasted"),
];

struct Block {
    heading: String,
    language: String,
    code: String,
}

fn blocks() -> Vec<Block> {
    let text = fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("README.md")).unwrap();
    let (mut blocks, mut heading) = (Vec::new(), String::new());
    let mut lines = text.lines();
    while let Some(line) = lines.next() {
        if let Some(language) = line.strip_prefix("```") {
            let code = lines.by_ref().take_while(|line| *line != "```").flat_map(|line| [line, "\n"]).collect();
            blocks.push(Block { heading: heading.clone(), language: language.into(), code });
        } else if line.starts_with('#') {
            heading = line.trim_start_matches('#').trim().into();
        }
    }
    blocks
}

/// The code of the block that this test runs.
fn block(test: &str) -> String {
    let at: Vec<usize> = (0..BLOCKS.len()).filter(|&at| BLOCKS[at].2 == test).collect();
    let blocks = blocks();
    at.iter().map(|&at| blocks[at].code.as_str()).collect()
}

/// A directory that looks like the project after `make`, with two tiers beside it, to run in what a reader would paste.
struct Place {
    dir: tempfile::TempDir,
}

impl Place {
    fn new() -> Place {
        let place = Place { dir: tempfile::tempdir().unwrap() };
        let (root, libraries) = (Path::new(env!("CARGO_MANIFEST_DIR")), common::cdylib_dir());
        let release = place.project().join("target/release");
        fs::create_dir_all(&release).unwrap();
        for name in ["Cargo.toml", "Cargo.lock", "build.rs", "src", "include", "examples", "vfsctl"] {
            symlink(root.join(name), place.project().join(name)).unwrap();
        }
        for name in ["libvfs.so", "libvfs.a"] {
            symlink(libraries.join(name), release.join(name)).unwrap();
        }
        for tier in ["first", "second"] {
            fs::create_dir(place.dir.path().join(tier)).unwrap();
        }
        place
    }

    fn project(&self) -> PathBuf {
        self.dir.path().join("project")
    }

    fn tier(&self, name: &str) -> String {
        self.dir.path().join(name).display().to_string()
    }

    /// Puts the `vfsctl` of this run where `make` would.
    fn with_vfsctl(self) -> Place {
        let libraries = common::cdylib_dir();
        let built = if libraries.ends_with("deps") { libraries.parent().unwrap() } else { &libraries };
        let profile = match built.file_name().unwrap().to_str().unwrap() {
            "debug" => "dev",
            other => other,
        };
        // It is there already if all packages are tested.
        let mut cargo = Command::new(std::env::var_os("CARGO").unwrap_or("cargo".into()));
        cargo.args(["build", "--quiet", "--offline", "--package", "vfsctl", "--profile", profile]);
        let out = cargo.current_dir(env!("CARGO_MANIFEST_DIR")).output().expect("cargo");
        assert!(out.status.success(), "{}", said(&out));
        symlink(built.join("vfsctl"), self.project().join("target/release/vfsctl")).unwrap();
        self
    }

    /// Runs what a reader would paste into a shell that is in the project's directory.
    fn sh(&self, commands: &str, tiers: &str) -> Output {
        let mut sh = Command::new("sh");
        for inherited in ["LD_LIBRARY_PATH", "PYTHONPATH", "VFS_LIBRARY"] {
            sh.env_remove(inherited);
        }
        sh.env("VFS_TIERS", tiers)
            .env("PYTHONDONTWRITEBYTECODE", "1") // the module lies among the sources
            .env("CARGO_NET_OFFLINE", "true")
            .env("CARGO_TARGET_DIR", self.dir.path().join("rust"))
            .current_dir(self.project());
        sh.arg("-c").arg(commands).output().unwrap()
    }

    /// The same on the tiers of this place; what it prints, if all went well and nothing was left behind.
    fn runs(&self, commands: &str) -> String {
        let out = self.sh(commands, &format!("{},{}", self.tier("first"), self.tier("second")));
        assert!(out.status.success(), "{commands}\n{}\n{}", out.status, said(&out));
        let mut left = Vec::new();
        find_left(self.dir.path(), false, &mut left);
        assert!(left.is_empty(), "{commands}\nleft behind {left:?}");
        String::from_utf8(out.stdout).unwrap()
    }

    /// Puts a block into the file that its first line names, and gives the command that follows the name.
    fn paste(&self, block: &str) -> String {
        let first = block.lines().next().unwrap();
        let (file, command) = first.trim_start_matches(['/', '#', ' ']).split_once(": ").expect(first);
        fs::write(self.project().join(file), block).unwrap();
        command.into()
    }

    /// Pastes the block and runs it, for what it prints; then where there is no tier, for why it fails.
    fn works(&self, block: &str, prints: &str) {
        let command = self.paste(block);
        assert_eq!(self.runs(&command), prints, "{command}");
        let out = self.sh(&command, &self.tier("missing"));
        assert!(!out.status.success(), "{command}\n{}", said(&out));
        let why = "opening the tier's directory";
        assert!(String::from_utf8_lossy(&out.stderr).contains(why), "{command}\n{}", said(&out));
    }
}

fn said(out: &Output) -> String {
    format!("{}{}", String::from_utf8_lossy(&out.stdout), String::from_utf8_lossy(&out.stderr))
}

/// Whether `python3` is a CPython that has this module and is new enough for ours.
fn python_has(module: &str) -> bool {
    let probe =
        format!("import sys, {module}; sys.exit(sys.version_info < (3, 9) or sys.implementation.name != 'cpython')");
    let there = Command::new("python3").args(["-c", &probe]).output().is_ok_and(|out| out.status.success());
    if !there {
        common::skip(&format!("python3: no CPython 3.9 or later with {module}"));
    }
    there
}

#[test]
fn no_block_of_code_is_run_by_nobody() {
    let blocks = blocks();
    let found: Vec<_> = blocks.iter().map(|block| (&*block.heading, &*block.language)).collect();
    let known: Vec<_> = BLOCKS.iter().map(|&(heading, language, _)| (heading, language)).collect();
    assert_eq!(found, known, "a block was added, moved or taken away: name here what runs it");
    for block in blocks.iter().filter(|block| block.heading == "Hosts") {
        assert!(block.code.lines().count() <= 10, "more than ten lines:\n{}", block.code);
        assert!(block.code.lines().all(|line| line.chars().count() <= 120), "a long line:\n{}", block.code);
    }
}

#[test]
fn the_program_at_the_top_is_the_example() {
    let example = fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("examples/c/hello.c")).unwrap();
    assert_eq!(block("the_program_at_the_top_is_the_example"), example);
}

#[test]
fn the_quick_start_says_hello() {
    let block = block("the_quick_start_says_hello");
    let after_make = block.strip_prefix("make\n").expect("it begins with make");
    assert_eq!(Place::new().runs(after_make), "hello, world\n");
}

#[test]
fn what_is_told_of_vfsctl_stores_shows_and_removes() {
    let place = Place::new().with_vfsctl();
    // To be packed and unpacked: files of its own, not the sources.
    let file = place.project().join("src/file");
    fs::remove_file(place.project().join("src")).unwrap();
    fs::create_dir(place.project().join("src")).unwrap();
    fs::write(&file, "as it was").unwrap();
    let block = block("what_is_told_of_vfsctl_stores_shows_and_removes");
    let lines: Vec<&str> = block.lines().filter(|line| !line.starts_with("vfsctl watch ")).collect(); // it has no end
    assert_eq!(lines.len(), block.lines().count() - 1);
    let (put, rest) = lines.split_at(1);
    let found = "PATH=$PWD/target/release:$PATH"; // as if it were installed
    let told = place.runs(&format!("{found}\n{}\necho changed > src/file\n{}\n", put[0], rest.join("\n")));
    assert_eq!(fs::read_to_string(&file).unwrap(), "as it was", "{told}");
    let listed: Vec<&str> = told.lines().nth(1).unwrap().split_whitespace().collect();
    assert!(listed.contains(&"persistent") && listed.ends_with(&["src.tar"]), "{told}");
    assert!(told.contains(&place.tier("first")) && told.contains(&place.tier("second")), "{told}");
}

#[test]
fn c_works_as_pasted() {
    Place::new().works(&block("c_works_as_pasted"), "from C\n");
}

#[test]
fn cpp_works_as_pasted() {
    let missing = "vfs_map \"nobody\": looking for a key: no blob has this key\n";
    Place::new().works(&block("cpp_works_as_pasted"), &format!("from C++\n{missing}"));
}

#[test]
fn rust_works_as_pasted() {
    let (place, both) = (Place::new(), block("rust_works_as_pasted"));
    let (new, program) = both.split_at(both.find("//").unwrap());
    place.runs(new);
    place.works(program, "from Rust\nlooking for a key: no blob has this key\n");
    let manifest = fs::read_to_string(place.dir.path().join("host/Cargo.toml")).unwrap();
    assert!(manifest.contains("default-features = false"), "{manifest}");
}

#[test]
fn python_works_as_pasted() {
    if python_has("ctypes") {
        let missing = "vfs_stat \"nobody\": looking for a key: no blob has this key\n";
        Place::new().works(&block("python_works_as_pasted"), &format!("from Python\n{missing}"));
    }
}

#[test]
fn cffi_works_as_pasted() {
    if python_has("cffi") {
        Place::new().works(&block("cffi_works_as_pasted"), "from cffi\n");
    }
}

#[test]
fn shells_work_as_pasted() {
    let place = Place::new().with_vfsctl();
    let command = place.paste(&block("shells_work_as_pasted"));
    let told = place.runs(&format!("{command} 2>&1"));
    let lines: Vec<&str> = told.lines().collect();
    let listed: Vec<&str> = lines[2].split_whitespace().collect();
    assert_eq!(lines[0], "from a shell");
    assert_eq!((&listed[..2], listed[3], listed[5]), (&["13", "B"][..], "persistent", "plot"), "{told}");
    assert_eq!(lines[3..], ["vfsctl: nobody: looking for a key: no blob has this key", "status 1"]);
    let out = place.sh(&command, &place.tier("missing"));
    let why = String::from_utf8_lossy(&out.stderr).into_owned();
    assert!(!out.status.success() && why.contains("opening the tier's directory"), "{why}");
}

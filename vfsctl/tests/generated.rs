//! The man pages and completions that come from the definition: there, well-formed, and of use to their readers.
mod common;

use common::has;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

const COMMANDS: [&str; 8] = ["ls", "stat", "put", "get", "rm", "reap", "tiers", "watch"];

fn vfsctl(arguments: &[&str]) -> String {
    let out = Command::new(env!("CARGO_BIN_EXE_vfsctl")).args(arguments).output().unwrap();
    assert!(out.status.success() && out.stderr.is_empty(), "{arguments:?}: {out:?}");
    String::from_utf8(out.stdout).unwrap()
}

fn generated() -> (tempfile::TempDir, PathBuf) {
    let work = tempfile::tempdir().unwrap();
    let share = work.path().join("share");
    assert_eq!(vfsctl(&["generate", share.to_str().unwrap()]), "");
    (work, share)
}

/// What it said, if it ended well.
fn run(program: &str, arguments: &[&str], file: &Path) -> String {
    let out = Command::new(program).args(arguments).arg(file).output().unwrap();
    let said = String::from_utf8_lossy(&[out.stdout, out.stderr].concat()).into_owned();
    assert!(out.status.success(), "{program} {arguments:?} {}: {said}", file.display());
    said
}

#[test]
fn each_help_tells_what_it_does_with_examples() {
    let help = vfsctl(&["--help"]);
    for section in ["Keys:\n", "JSON:\n", "Exit status:\n", "Environment:\n", "Examples:\n"] {
        assert!(help.contains(section), "{section:?} is not in {help}");
    }
    for command in COMMANDS {
        assert!(help.contains(&format!("\n  {command} ")), "{command} is not in {help}");
        let own = vfsctl(&[command, "--help"]);
        assert!(own.contains("Examples:\n  ") && own.contains("JSON:\n  "), "{own}");
        assert!(own.lines().all(|line| line.chars().count() <= 100), "{own}");
        assert!(vfsctl(&[command, "-h"]).len() < own.len());
    }
    assert!(!help.contains("generate"), "what serves `make` alone is not shown");
    assert_eq!(vfsctl(&["--version"]), format!("vfsctl {}\n", env!("CARGO_PKG_VERSION")));
}

#[test]
fn there_is_a_man_page_for_each_command_and_it_names_each_option() {
    let (_work, share) = generated();
    let pages = share.join("man/man1");
    let names = std::iter::once("vfsctl.1".to_string()).chain(COMMANDS.map(|command| format!("vfsctl-{command}.1")));
    let mut names: Vec<String> = names.collect();
    names.sort();
    let mut there: Vec<_> =
        fs::read_dir(&pages).unwrap().map(|page| page.unwrap().file_name().into_string().unwrap()).collect();
    there.sort();
    assert_eq!(there, names);
    let page = |name: &str| fs::read_to_string(pages.join(name)).unwrap();
    for (name, parts) in [
        ("vfsctl.1", &["\\-\\-tiers", "\\-\\-json", ".SH \"EXIT STATUS\"", ".SH KEYS", "vfsctl\\-put(1)"][..]),
        ("vfsctl-put.1", &["\\-\\-replace", ".SH EXAMPLES", "tar c src | vfsctl put src.tar"]),
        ("vfsctl-get.1", &["\\-\\-offset", "\\-\\-length"]),
        ("vfsctl-tiers.1", &["\\-\\-try", ".SH JSON"]),
        ("vfsctl-watch.1", &["\\-\\-interval", "\\-\\-count"]),
    ] {
        for part in parts {
            assert!(page(name).contains(part), "{part} is not in {name}:\n{}", page(name));
        }
    }
    if !has("mandoc") {
        return common::skip("mandoc is not there");
    }
    for name in names {
        let said = run("mandoc", &["-T", "lint", "-W", "warning"], &pages.join(&name));
        assert_eq!(said, "", "{name}");
        assert!(run("mandoc", &["-T", "utf8"], &pages.join(name)).contains("E\u{8}EX\u{8}XA\u{8}AM\u{8}M"), "examples");
    }
}

#[test]
fn bash_completes_commands_and_options() {
    let (_work, share) = generated();
    let script = share.join("bash-completion/completions/vfsctl");
    let complete = |words: &str, last: usize| {
        let ask = format!(
            "source \"$0\" && COMP_WORDS=({words}) COMP_CWORD={last} && _vfsctl vfsctl \"${{COMP_WORDS[{last}]}}\" \
             \"${{COMP_WORDS[{last} - 1]}}\"; echo \"${{COMPREPLY[@]}}\""
        );
        run("bash", &["--norc", "-c", &ask], &script)
    };
    assert_eq!(complete("vfsctl st", 1), "stat\n");
    assert_eq!(complete("vfsctl put --rep", 2), "--replace\n");
    assert_eq!(complete("vfsctl tiers --t", 2).split_whitespace().collect::<Vec<_>>(), ["--try", "--tiers"]);
}

#[test]
fn zsh_and_fish_understand_their_completions() {
    let (_work, share) = generated();
    for (shell, script) in [("zsh", "zsh/site-functions/_vfsctl"), ("fish", "fish/vendor_completions.d/vfsctl.fish")] {
        let script = share.join(script);
        let text = fs::read_to_string(&script).unwrap();
        assert!(COMMANDS.iter().all(|command| text.contains(command)), "{text}");
        match has(shell) {
            true => assert_eq!(run(shell, &["-n"], &script), ""),
            false => common::skip(&format!("{shell} is not there")),
        }
    }
}

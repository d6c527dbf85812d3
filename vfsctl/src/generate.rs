//! Man pages and shell completions, from the definition of the command line.
use crate::cli::Cli;
use crate::failure::{Answer, Failure};
use crate::output::{Contents, Failed, Files, PARTIAL};
use crate::show;
use clap::{Command, CommandFactory};
use clap_complete::Shell;
use clap_mangen::Man;
use clap_mangen::roff::{Roff, roman};
use std::fs;
use std::io::{self, Write};
use std::path::Path;

/// Where the shells look, below the directory of what does not depend on the machine.
const SHELLS: [(Shell, &str); 3] = [
    (Shell::Bash, "bash-completion/completions/vfsctl"),
    (Shell::Zsh, "zsh/site-functions/_vfsctl"),
    (Shell::Fish, "fish/vendor_completions.d/vfsctl.fish"),
];

/// The text behind the options: a line that ends with a colon begins a section; what is indented stands as it is.
fn sections(roff: &mut Roff, text: &str) {
    let mut verbatim = false;
    for line in text.lines().chain([""]) {
        let indented = line.strip_prefix("  ");
        if verbatim && indented.is_none() {
            roff.control("fi", []).control("RE", []);
        } else if !verbatim && indented.is_some() {
            roff.control("RS", []).control("nf", []);
        }
        verbatim = indented.is_some();
        match (indented, line.strip_suffix(':')) {
            (Some(line), _) => roff.text([roman(line)]),
            (None, Some(title)) => roff.control("SH", [title.to_uppercase().as_str()]),
            (None, None) => roff,
        };
    }
}

/// When the text last changed. Without a date, what comes behind it in a page's title would take its place.
const DATE: &str = "2026-12-01";

fn page(command: &Command) -> io::Result<(String, String)> {
    let source = format!("vfsctl {}", env!("CARGO_PKG_VERSION"));
    let man = Man::new(command.clone()).date(DATE).manual("libvfs").source(source);
    let mut page = Vec::new();
    man.render_title(&mut page)?;
    man.render_name_section(&mut page)?;
    man.render_synopsis_section(&mut page)?;
    man.render_description_section(&mut page)?;
    man.render_options_section(&mut page)?;
    if command.has_subcommands() {
        man.render_subcommands_section(&mut page)?;
    }
    let mut roff = Roff::new();
    if let Some(text) = command.get_after_long_help() {
        sections(&mut roff, &text.to_string());
    }
    roff.to_writer(&mut page)?;
    // A backslash of the text: this is how all readers of the format know it.
    Ok((man.get_filename(), String::from_utf8_lossy(&page).replace("\\\\", "\\e")))
}

/// Writes each file as `get` does, for those who make and install at the same time.
pub fn write(dir: &Path) -> Answer {
    let files = Files::new(None)?;
    let mut command = Cli::command();
    for (shell, place) in SHELLS {
        let mut script = Vec::new();
        clap_complete::generate(shell, &mut command, "vfsctl", &mut script);
        put(&files, &dir.join(place), &script)?;
    }
    command.build();
    let visible = command.get_subcommands().filter(|sub| !sub.is_hide_set());
    // The first page is the last file: where it is there, all are.
    for command in visible.chain([&command]) {
        let (name, page) = page(command).map_err(|error| Failure::io("writing a man page", error))?;
        put(&files, &dir.join("man/man1").join(name), page.as_bytes())?;
    }
    Ok(())
}

fn put(files: &Files, file: &Path, text: &[u8]) -> Answer {
    let shown = show::text(file.as_os_str().as_encoded_bytes());
    let made = file.parent().map_or(Ok(()), fs::create_dir_all).map_err(Failed::from);
    let contents = &mut Contents { len: text.len() as u64, fill: &mut |out: &mut dyn Write| out.write_all(text) };
    let written = made.and_then(|()| files.write(file, &shown, contents));
    written.map_err(|Failed { error, in_place }| match in_place {
        true => Failure::io(shown, error).and(PARTIAL),
        false => Failure::io(shown, error),
    })
}

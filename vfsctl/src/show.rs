//! What people and programs read: keys, sizes, ages, JSON.
//!
//! A key may hold any bytes but control characters, `/` and `\`, and other users' programs may choose it, so a terminal
//! gets it with all that is not printable UTF-8 escaped as `\xNN`. Since no key has a backslash, that is unambiguous,
//! and [`key`] reads it back.
use crate::failure::Answer;
use crate::streams::{self, Output};
use serde::Serialize;
use std::ffi::OsStr;
use std::fmt::Write as _;
use std::io::{self, Write};
use std::os::unix::ffi::OsStrExt;
use std::time::{Duration, SystemTime, UNIX_EPOCH};
use vfs::{Key, Stat};

/// The standard output. What is not flushed is lost: see [`Out::end`].
pub struct Out {
    out: io::BufWriter<Output>,
    used: bool,
}

impl Out {
    pub fn new() -> Out {
        Out { out: io::BufWriter::new(Output::new()), used: false }
    }

    /// One object, on a line of its own.
    pub fn json(&mut self, what: &impl Serialize) -> io::Result<()> {
        serde_json::to_writer(&mut *self, what)?;
        self.write_all(b"\n")
    }

    pub fn end(mut self) -> Answer {
        self.out.flush()?;
        match self.used {
            true => Ok(streams::end_output()?),
            false => Ok(()),
        }
    }
}

impl Write for Out {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.used = true;
        self.out.write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.out.flush()
    }
}

/// Whether a character has a shape of its own: no control, no format character such as one that turns the direction
/// of writing, none that is not assigned. One that joins the character before it is printable.
fn is_printable(char: char) -> bool {
    matches!(char, '\\' | '"' | '\'') || format!("a{char}").escape_debug().count() == 2
}

/// Bytes as text, with `\xNN` for what is not printable.
pub fn text(bytes: &[u8]) -> String {
    let mut text = String::with_capacity(bytes.len());
    let escape = |text: &mut String, bytes: &[u8]| {
        for byte in bytes {
            let _ = write!(text, "\\x{byte:02x}"); // a String takes all
        }
    };
    for chunk in bytes.utf8_chunks() {
        for char in chunk.valid().chars() {
            match is_printable(char) {
                true => text.push(char),
                false => escape(&mut text, char.encode_utf8(&mut [0; 4]).as_bytes()),
            }
        }
        escape(&mut text, chunk.invalid());
    }
    text
}

/// A sentence that may have parts of others' making.
pub fn line(sentence: &str) -> String {
    text(sentence.as_bytes())
}

/// The same, of a line that ends with a newline or is the last.
pub fn with_newline(sentence: &str) -> String {
    match sentence.strip_suffix('\n') {
        Some(sentence) => line(sentence) + "\n",
        None => line(sentence),
    }
}

/// A key as it is given on the command line: its bytes, or as [`text`] shows it.
pub fn key(argument: &OsStr) -> Answer<Key> {
    let mut bytes = Vec::with_capacity(argument.len());
    let mut rest = argument.as_bytes();
    while let Some((&first, tail)) = rest.split_first() {
        let hex = rest.strip_prefix(b"\\x").and_then(|hex| std::str::from_utf8(hex.get(..2)?).ok());
        match hex.filter(|hex| hex.bytes().all(|b| b.is_ascii_hexdigit())).map(|hex| u8::from_str_radix(hex, 16)) {
            Some(Ok(byte)) => {
                bytes.push(byte);
                rest = &rest[4..];
            }
            _ => {
                bytes.push(first);
                rest = tail;
            }
        }
    }
    Ok(Key::new(&bytes)?)
}

/// Bytes, in people's units.
pub fn size(bytes: u64) -> String {
    indicatif::BinaryBytes(bytes).to_string()
}

/// The operating system's words, without the number.
pub fn io_error(error: &io::Error) -> String {
    let text = error.to_string();
    match text.find(" (os error ") {
        Some(at) => text[..at].to_string(),
        None => text,
    }
}

pub fn errno(errno: i32) -> String {
    io_error(&io::Error::from_raw_os_error(errno))
}

/// How long ago that is, as in `3m`.
pub fn age(age_ms: u64) -> String {
    const UNITS: [(u64, &str); 5] = [(7 * 86_400, "w"), (86_400, "d"), (3_600, "h"), (60, "m"), (1, "s")];
    let seconds = age_ms / 1_000;
    let unit = UNITS.iter().find(|(unit, _)| seconds >= *unit);
    unit.map_or("now".into(), |(unit, name)| format!("{}{name}", seconds / unit))
}

/// Why a blob is still there.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum State {
    /// Its owner lives, and takes it along when it ends.
    Owned,
    /// It has no owner.
    Persistent,
    /// Its owner is dead; the next reap removes it.
    Orphan,
}

impl State {
    pub fn name(self) -> &'static str {
        match self {
            State::Owned => "owned",
            State::Persistent => "persistent",
            State::Orphan => "orphan",
        }
    }

    pub fn meaning(self) -> &'static str {
        match self {
            State::Owned => "owned: it goes with the process that stored it",
            State::Persistent => "persistent: it lives until it is removed",
            State::Orphan => "orphan: its owner is dead, and the next reap removes it",
        }
    }
}

/// A blob, as `--json` tells it. Fields are only ever added.
#[derive(Debug, Serialize)]
pub struct Blob {
    pub key: String,
    pub size: u64,
    pub state: State,
    pub tier: u32,
    pub dir: String,
    /// `None`, as the age, where the filesystem did not keep it.
    pub stored_at: Option<String>,
    pub age_ms: Option<u64>,
    /// In hexadecimal: as a number it is more than JSON's readers can be trusted with.
    pub id: String,
}

impl Blob {
    /// `dirs`: where each tier lies.
    pub fn new(key: &[u8], stat: &Stat, dirs: &[String]) -> Blob {
        let stored_at = (stat.stored_at_ns != 0).then(|| UNIX_EPOCH + Duration::from_nanos(stat.stored_at_ns));
        let age = |at| SystemTime::now().duration_since(at).unwrap_or_default().as_millis();
        Blob {
            key: text(key),
            size: stat.size,
            state: match (stat.persistent, stat.orphan) {
                (true, _) => State::Persistent,
                (_, true) => State::Orphan,
                _ => State::Owned,
            },
            tier: stat.tier,
            dir: dirs.get(stat.tier as usize).cloned().unwrap_or_default(),
            stored_at: stored_at.map(|at| humantime::format_rfc3339_nanos(at).to_string()),
            age_ms: stored_at.map(|at| u64::try_from(age(at)).unwrap_or(u64::MAX)),
            id: format!("{:016x}", stat.id),
        }
    }
}

/// Rows under a head, each column as wide as its widest cell, the last one free. Columns of numbers are flush right.
pub fn table(out: &mut impl Write, head: &[&str], right: &[bool], rows: &[Vec<String>]) -> io::Result<()> {
    let mut widths: Vec<usize> = head.iter().map(|cell| cell.len()).collect();
    for row in rows {
        for (width, cell) in widths.iter_mut().zip(row) {
            *width = (*width).max(cell.chars().count());
        }
    }
    let head: Vec<String> = head.iter().map(|cell| cell.to_string()).collect();
    for row in std::iter::once(&head).chain(rows) {
        let last = row.len() - 1;
        for (column, cell) in row.iter().enumerate() {
            let width = widths[column];
            match (column == last, right[column]) {
                (true, _) => writeln!(out, "{cell}")?,
                (_, true) => write!(out, "{cell:>width$}  ")?,
                (_, false) => write!(out, "{cell:<width$}  ")?,
            }
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::failure::Failure;

    #[test]
    fn what_is_not_printable_is_escaped_and_read_back() {
        for (bytes, shown) in [
            (&b"plot 1.png"[..], "plot 1.png"),
            ("naïve \u{65}\u{301} 図".as_bytes(), "naïve \u{65}\u{301} 図"),
            (b"it's \"so\"", "it's \"so\""),
            (b"caf\xe9", "caf\\xe9"),
            ("\u{9b}31m".as_bytes(), "\\xc2\\x9b31m"),
            ("a\u{202e}b".as_bytes(), "a\\xe2\\x80\\xaeb"),
        ] {
            assert_eq!(text(bytes), shown);
            assert_eq!(key(OsStr::new(shown)).unwrap().as_bytes(), bytes);
            assert_eq!(key(OsStr::from_bytes(bytes)).unwrap().as_bytes(), bytes);
        }
        assert_eq!(line("\x1b[31mred\n"), "\\x1b[31mred\\x0a");
        for bad in ["a\\b", "\\x", "\\xg0", "\\x2f", "\\x1b", "\\x+1", ""] {
            assert!(matches!(key(OsStr::new(bad)), Err(Failure::Said(2, _))), "{bad:?}");
        }
    }

    #[test]
    fn a_time_that_is_not_known_is_told_as_null() {
        let blob = |stored_at_ns| Blob::new(b"k", &Stat { stored_at_ns, ..Stat::default() }, &[]);
        let json = serde_json::to_value(blob(0)).unwrap();
        assert!(json["stored_at"].is_null() && json["age_ms"].is_null());
        let json = serde_json::to_value(blob(1_000_000_000_000_000_001)).unwrap();
        assert_eq!(json["stored_at"], "2001-09-09T01:46:40.000000001Z");
        assert!(json["age_ms"].is_u64());
    }

    #[test]
    fn ages_have_the_largest_unit_that_fits() {
        for (ms, shown) in [(0, "now"), (999, "now"), (59_999, "59s"), (60_000, "1m"), (86_399_999, "23h")] {
            assert_eq!(age(ms), shown);
        }
        assert_eq!(age(86_400_000), "1d");
        assert_eq!(age(u64::MAX), "30500568904w");
    }
}

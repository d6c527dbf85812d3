//! What a store is opened with: its name, and the list of tiers with their limits.
use crate::error::{Code, Error, Result, Shown};
use crate::key::Key;
use crate::sys::{self, NoMemory};
use std::ffi::CStr;

/// The tiers of a store whose caller and environment name none.
pub const DEFAULT_TIERS: &str = "shm,/var/tmp,/tmp";
/// The name of a store whose caller names none.
pub const DEFAULT_NAME: &str = "default";
/// The environment variable that names the tiers where the caller does not (not in set-uid programs).
pub const TIERS_VARIABLE: &CStr = c"VFS_TIERS";
/// The directory that `shm` stands for.
const SHM_DIR: &[u8] = b"/dev/shm";
/// What `shm` leaves free for other programs unless told otherwise, in percent.
const SHM_RESERVE_PERCENT: u64 = 5;

/// How weighty a message to the [`Log`] is. The numbers are those of the C ABI.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(i32)]
pub enum Level {
    /// No tier takes blobs any more.
    Error = 1,
    /// A tier began to refuse.
    Warning = 2,
    /// A tier takes blobs again; a tier was dropped from the list.
    Info = 3,
}

/// Hears of changes of state. Called on the thread of the call under way, with no lock held.
pub trait Log: Send + Sync {
    /// One message, without a newline.
    fn log(&self, level: Level, message: &CStr);
}

/// What [`crate::Store::open`] takes. The default is a read-write store named "default" on the
/// tiers that `VFS_TIERS` names, else `shm,/var/tmp,/tmp`.
#[derive(Default)]
pub struct Options<'a> {
    /// The store's name, by the rules of keys.
    pub name: Option<&'a [u8]>,
    /// The tiers: a comma-separated list of `shm`, `memory` or absolute directories, each with
    /// `?max=SIZE` and `reserve=SIZE` or `reserve=N%` joined by `&`.
    pub tiers: Option<&'a [u8]>,
    /// Create and change nothing.
    pub read_only: bool,
    /// Hears of changes of state.
    pub log: Option<Box<dyn Log>>,
}

/// How much of a filesystem is left to others.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Reserve {
    Bytes(u64),
    Percent(u64),
}

/// One entry of the list of tiers.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct TierSpec {
    /// The directory, NUL-terminated; `None` for memory.
    pub dir: Option<Box<[u8]>>,
    /// Whether it was named `shm`.
    pub shm: bool,
    /// Bytes that this handle may hold there.
    pub max: Option<u64>,
    /// Free space to leave to others.
    pub reserve: Reserve,
}

impl Options<'_> {
    pub(crate) fn name(&self) -> Result<Key> {
        let name = self.name.unwrap_or(DEFAULT_NAME.as_bytes());
        Key::new(name).map_err(|_| {
            let shown = &name[..name.len().min(300)];
            Error::new(Code::Invalid, "the store's name").naming(format_args!("\"{}\"", Shown(shown)))
        })
    }

    pub(crate) fn tiers(&self) -> Result<Vec<TierSpec>> {
        match self.tiers {
            Some(list) => parse_tiers(list),
            None => match sys::environment(TIERS_VARIABLE) {
                Ok(Some(list)) if !list.is_empty() => parse_tiers(&list),
                Ok(_) => parse_tiers(DEFAULT_TIERS.as_bytes()),
                Err(NoMemory) => Err(Error::new(Code::NoMemory, "reading the environment's VFS_TIERS")),
            },
        }
    }
}

/// Reads a list of tiers; a bad one is refused whole, naming the part at fault.
fn parse_tiers(list: &[u8]) -> Result<Vec<TierSpec>> {
    let mut specs = Vec::new();
    for part in list.split(|&b| b == b',') {
        let spec = parse_tier(part).map_err(|why| {
            let shown = &part[..part.len().min(300)];
            match why {
                Some(why) => Error::new(Code::Invalid, why).naming(format_args!("\"{}\"", Shown(shown))),
                None => Error::new(Code::NoMemory, "reading the list of tiers"),
            }
        })?;
        sys::try_push(&mut specs, spec).map_err(|_| Error::new(Code::NoMemory, "reading the list of tiers"))?;
    }
    Ok(specs)
}

/// One entry. Fails with what is wrong with it, or with `None` for want of memory.
fn parse_tier(part: &[u8]) -> std::result::Result<TierSpec, Option<&'static str>> {
    let (place, settings) = match part.iter().position(|&b| b == b'?') {
        Some(at) => (&part[..at], Some(&part[at + 1..])),
        None => (part, None),
    };
    let shm = place == b"shm";
    let dir = match place {
        b"shm" => Some(with_nul(SHM_DIR).map_err(|_| None)?),
        b"memory" => None,
        b"" => return Err(Some("the list of tiers: an entry is empty")),
        [b'/', ..] => Some(decode_path(place)?),
        _ => {
            return Err(Some("the list of tiers: neither \"shm\", \"memory\" nor an absolute directory"));
        }
    };
    let default = if shm { Reserve::Percent(SHM_RESERVE_PERCENT) } else { Reserve::Bytes(0) };
    let mut spec = TierSpec { dir, shm, max: None, reserve: default };
    let (mut seen_max, mut seen_reserve) = (false, false);
    for setting in settings.into_iter().flat_map(|s| s.split(|&b| b == b'&')) {
        if let Some(size) = setting.strip_prefix(b"max=") {
            if std::mem::replace(&mut seen_max, true) {
                return Err(Some("the list of tiers: max= twice"));
            }
            spec.max = Some(parse_size(size).ok_or(Some("the list of tiers: max= wants a size such as 64M"))?);
        } else if let Some(size) = setting.strip_prefix(b"reserve=") {
            if std::mem::replace(&mut seen_reserve, true) {
                return Err(Some("the list of tiers: reserve= twice"));
            }
            if spec.dir.is_none() {
                return Err(Some("the list of tiers: memory has no reserve="));
            }
            let bad = Some("the list of tiers: reserve= wants a size such as 64M, or 0% to 100%");
            spec.reserve = match size.strip_suffix(b"%") {
                Some(percent) => Reserve::Percent(parse_number(percent).filter(|&p| p <= 100).ok_or(bad)?),
                None => Reserve::Bytes(parse_size(size).ok_or(bad)?),
            };
        } else {
            return Err(Some("the list of tiers: after '?' come max=SIZE and reserve=SIZE, joined by '&'"));
        }
    }
    Ok(spec)
}

/// A path with `%2C` for a comma, `%3F` for a question mark and `%25` for a percent sign. A percent sign before anything
/// else stands for itself. What an escape stands for is not decoded again.
fn decode_path(text: &[u8]) -> std::result::Result<Box<[u8]>, Option<&'static str>> {
    if text.contains(&0) {
        return Err(Some("the list of tiers: a directory with a NUL"));
    }
    if text.len() >= libc::PATH_MAX as usize {
        return Err(Some("the list of tiers: a directory's path is too long"));
    }
    let mut path = Vec::new();
    path.try_reserve_exact(text.len() + 1).map_err(|_| None)?;
    let mut rest = text;
    while let Some((&first, tail)) = rest.split_first() {
        let escaped = match rest.get(..3) {
            Some(code) if code.eq_ignore_ascii_case(b"%2C") => Some(b','),
            Some(code) if code.eq_ignore_ascii_case(b"%3F") => Some(b'?'),
            Some(b"%25") => Some(b'%'),
            _ => None,
        };
        path.push(escaped.unwrap_or(first));
        rest = if escaped.is_some() { &rest[3..] } else { tail };
    }
    path.push(0);
    Ok(path.into_boxed_slice())
}

fn with_nul(bytes: &[u8]) -> std::result::Result<Box<[u8]>, NoMemory> {
    sys::try_concat(&[bytes, b"\0"])
}

fn parse_number(text: &[u8]) -> Option<u64> {
    if text.is_empty() || !text.iter().all(u8::is_ascii_digit) {
        return None;
    }
    std::str::from_utf8(text).ok()?.parse().ok()
}

/// A number with an optional unit `K`, `M`, `G` or `T` (powers of 1024).
fn parse_size(text: &[u8]) -> Option<u64> {
    let (&last, head) = text.split_last()?;
    let shift = match last.to_ascii_uppercase() {
        b'K' => 10,
        b'M' => 20,
        b'G' => 30,
        b'T' => 40,
        _ => return parse_number(text),
    };
    parse_number(head)?.checked_mul(1 << shift)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn dir(path: &str) -> Option<Box<[u8]>> {
        Some(with_nul(path.as_bytes()).unwrap())
    }

    #[test]
    fn a_list_of_tiers_is_read_as_written() {
        let specs = parse_tiers(b"shm,/a%2Cb%3f?max=64M&reserve=1%,memory?max=5,/c?reserve=2G,shm?reserve=0").unwrap();
        let want = [
            TierSpec { dir: dir("/dev/shm"), shm: true, max: None, reserve: Reserve::Percent(5) },
            TierSpec { dir: dir("/a,b?"), shm: false, max: Some(64 << 20), reserve: Reserve::Percent(1) },
            TierSpec { dir: None, shm: false, max: Some(5), reserve: Reserve::Bytes(0) },
            TierSpec { dir: dir("/c"), shm: false, max: None, reserve: Reserve::Bytes(2 << 30) },
            TierSpec { dir: dir("/dev/shm"), shm: true, max: None, reserve: Reserve::Bytes(0) },
        ];
        assert_eq!(specs, want);
    }

    /// `/a%2Cb` is a directory's name too, and so is what a URL left there.
    #[test]
    fn a_percent_sign_in_a_path_can_be_escaped() {
        for (text, path) in [
            ("/a%252Cb", "/a%2Cb"),
            ("/a%253fb", "/a%3fb"),
            ("/a%2525", "/a%25"),
            ("/%25%25%2C", "/%%,"),
            ("/100%", "/100%"),
            ("/%2", "/%2"),
            ("/%%2C", "/%,"),
            ("/%20%zz%2c", "/%20%zz,"),
            ("/%252", "/%2"),
        ] {
            let specs = parse_tiers(text.as_bytes()).unwrap();
            assert_eq!(specs.first().and_then(|spec| spec.dir.clone()), dir(path), "{text}");
        }
    }

    #[test]
    fn a_bad_list_is_refused_naming_the_part_at_fault() {
        for bad in [
            "",
            ",",
            "shm,",
            "tmp",
            "./x",
            "shm?",
            "shm?max",
            "shm?max=",
            "shm?max=1X",
            "shm?max=-1",
            "shm?max=K",
            "shm?reserve=101%",
            "shm?max=1&max=2",
            "shm?reserve=1&reserve=2",
            "memory?reserve=1",
            "/a?b=1",
            "Shm",
            "shm?max=99999999999T",
            "shm?max=1&",
            "memory?max= 1",
            "/a?reserve=%",
        ] {
            let list = format!("/ok,{bad}");
            let error = parse_tiers(list.as_bytes()).unwrap_err();
            assert_eq!(error.code(), Code::Invalid, "{bad:?}");
            let part = bad.rsplit(',').next().unwrap(); // what comes before it is good, or the same
            assert!(error.to_string().contains(&format!("\"{part}\"")), "{error}");
        }
    }
}

//! Any bytes as a list of tiers: refused whole, naming the first part at fault, or taken as the header says. Opened to
//! read only, which makes nothing: a list may name any directory of the machine.
use super::*;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::MetadataExt;
use vfs::ffi::vfs_code::*;

/// A tier as the header's text has it: its directory (`None`: memory), and `max`.
struct Tier {
    dir: Option<Vec<u8>>,
    max: Option<u64>,
}

fn number(text: &[u8]) -> Option<u64> {
    let digits = !text.is_empty() && text.iter().all(u8::is_ascii_digit);
    let number = |sum: u64, digit: &u8| sum.checked_mul(10)?.checked_add(u64::from(digit - b'0'));
    if digits { text.iter().try_fold(0, number) } else { None }
}

fn size(text: &[u8]) -> Option<u64> {
    let unit = text.last().and_then(|last| b"KMGT".iter().position(|unit| *unit == last.to_ascii_uppercase()));
    match unit {
        Some(unit) => number(&text[..text.len() - 1])?.checked_mul(1024u64.pow(unit as u32 + 1)),
        None => number(text),
    }
}

/// One entry of a list, or `None` where it is not one.
fn entry(part: &[u8]) -> Option<Tier> {
    let mut halves = part.splitn(2, |&byte| byte == b'?');
    let (place, settings) = (halves.next()?, halves.next());
    let dir = match place {
        b"shm" => Some(b"/dev/shm".to_vec()),
        b"memory" => None,
        _ if place.first() == Some(&b'/') && place.len() < 4096 => {
            let text: String = place.iter().map(|&byte| char::from(byte)).collect();
            // (what an escaped percent sign begins is no escape)
            let pieces = text
                .split("%25")
                .map(|piece| piece.replace("%2C", ",").replace("%2c", ",").replace("%3F", "?").replace("%3f", "?"));
            Some(pieces.collect::<Vec<_>>().join("%").chars().map(|char| char as u8).collect())
        }
        _ => return None,
    };
    let (mut max, mut reserve) = (None, None);
    for setting in settings.iter().flat_map(|settings| settings.split(|&byte| byte == b'&')) {
        let at = setting.iter().position(|&byte| byte == b'=')?;
        let value = &setting[at + 1..];
        match &setting[..at] {
            b"max" if max.is_none() => max = Some(size(value)?),
            b"reserve" if reserve.is_none() && dir.is_some() => {
                reserve = Some(match value.strip_suffix(b"%") {
                    Some(percent) => number(percent).filter(|&percent| percent <= 100)?,
                    None => size(value)?,
                });
            }
            _ => return None,
        }
    }
    Some(Tier { dir, max })
}

/// Which directory it is, where there is one.
fn identity(dir: &[u8]) -> Option<(u64, u64)> {
    let meta = std::fs::metadata(std::ffi::OsStr::from_bytes(dir)).ok()?;
    Some((meta.dev(), meta.ino()))
}

pub fn tiers(data: &[u8]) {
    let list = c_string(data);
    let parts: Vec<&[u8]> = list.to_bytes().split(|&byte| byte == b',').collect();
    let read: Vec<_> = parts.iter().map(|part| entry(part)).collect();
    let mut store = std::ptr::dangling_mut::<vfs_t>();
    let read_only = vfs_open_flag::VFS_READ_ONLY as u32;
    let opened = status!(vfs_open(&options(None, &list, read_only), &mut store));
    if let Some(at) = read.iter().position(Option::is_none) {
        assert_eq!(opened, VFS_ERR_INVALID as i32, "{list:?} has a part that is no tier: {:?}", parts[at]);
        assert!(store.is_null());
        let plain = |byte: &u8| matches!(byte, b' '..=b'~') && !matches!(byte, b'"' | b'\\');
        if parts[at].len() <= 300 && parts[at].iter().all(plain) && !list.is_empty() {
            let part = format!("\"{}\"", String::from_utf8_lossy(parts[at]));
            assert!(last_error().contains(&part), "{} does not name {part}", last_error());
        }
        return;
    }
    assert_eq!(opened, 0, "{list:?}: {}", last_error());
    let mut seen = Vec::new();
    let mut want = Vec::new();
    for tier in read.into_iter().flatten() {
        let identity = tier.dir.as_ref().map(|dir| identity(dir));
        // A directory counts once, whatever its names, and so does memory; one that is not there is not compared.
        if identity != Some(None) {
            if seen.contains(&identity) {
                continue;
            }
            seen.push(identity);
        }
        want.push(tier);
    }
    let mut stat = new_tier_stat();
    for (index, tier) in want.iter().enumerate() {
        is!(vfs_tier_stat(store, index as u32, &mut stat), 0);
        // SAFETY: NULL, or NUL-terminated until the store is closed.
        let dir = (!stat.dir.is_null()).then(|| unsafe { CStr::from_ptr(stat.dir) }.to_bytes());
        assert_eq!(dir, tier.dir.as_deref(), "{list:?}, tier {index}");
        assert_eq!(dir.is_none(), stat.kind == vfs_tier_kind::VFS_TIER_MEMORY as u32);
    }
    is!(vfs_tier_stat(store, want.len() as u32, &mut stat), VFS_ERR_NOT_FOUND);
    // SAFETY: closed once.
    unsafe { vfs_close(store) };

    // Memory alone may be stored into: its `max` is what it says.
    if let [Tier { dir: None, max }] = &want[..] {
        const SOME: u64 = 1 << 16;
        let bytes = vec![7u8; SOME as usize + 1];
        let fits = max.unwrap_or(SOME).min(SOME) as usize;
        is!(vfs_open(&options(None, &list, 0), &mut store), 0);
        if max.is_some_and(|max| max < SOME) {
            let key = c"over".as_ptr();
            is!(vfs_store(store, key, bytes.as_ptr().cast(), fits + 1, 0), VFS_ERR_NO_SPACE);
        }
        is!(vfs_store(store, c"fits".as_ptr(), bytes.as_ptr().cast(), fits, 0), 0);
        // SAFETY: closed once.
        unsafe { vfs_close(store) };
    }
}

//! Keys, and store names, which follow the same rules: what can be the name of one file in one
//! directory and nothing else. The bytes lie in a fixed buffer, so making one needs no memory.
use crate::error::{Code, Error, Result, Shown};
use std::ffi::CStr;
use std::fmt;

/// The most bytes a key can have.
pub const KEY_MAX: usize = 255;

/// A key: 1 to 255 bytes; any but `/`, `\`, 0x00 to 0x1F and 0x7F; not `.` or `..`.
#[derive(Clone, Copy)]
pub struct Key {
    len: u8,
    bytes: [u8; KEY_MAX + 1],
}

impl Key {
    /// Checks the rules. Fails with [`Code::Key`].
    #[inline]
    pub fn new(key: impl AsRef<[u8]>) -> Result<Key> {
        let key = key.as_ref();
        let bad = key.is_empty() || key.len() > KEY_MAX || key == b"." || key == b"..";
        if bad || key.iter().any(|&b| b < 0x20 || matches!(b, 0x7F | b'/' | b'\\')) {
            let shown = &key[..key.len().min(KEY_MAX)];
            return Err(Error::new(Code::Key, "checking a key").naming(format_args!("\"{}\"", Shown(shown))));
        }
        let mut bytes = [0; KEY_MAX + 1];
        bytes[..key.len()].copy_from_slice(key);
        Ok(Key { len: key.len() as u8, bytes })
    }

    /// The bytes, without a NUL.
    pub fn as_bytes(&self) -> &[u8] {
        &self.bytes[..self.len as usize]
    }

    /// The bytes as a C string.
    pub fn as_c_str(&self) -> &CStr {
        // The rules leave no NUL inside, and the buffer ends with one.
        CStr::from_bytes_until_nul(&self.bytes).unwrap_or(c"")
    }
}

impl PartialEq for Key {
    fn eq(&self, other: &Key) -> bool {
        self.as_bytes() == other.as_bytes()
    }
}

impl Eq for Key {}

impl PartialOrd for Key {
    fn partial_cmp(&self, other: &Key) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Key {
    fn cmp(&self, other: &Key) -> std::cmp::Ordering {
        self.as_bytes().cmp(other.as_bytes())
    }
}

impl std::hash::Hash for Key {
    fn hash<H: std::hash::Hasher>(&self, state: &mut H) {
        self.as_bytes().hash(state);
    }
}

impl fmt::Debug for Key {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        write!(f, "\"{}\"", Shown(self.as_bytes()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_is_one_file_name_and_nothing_that_leaves_the_directory() {
        for good in ["a", "...", "a.b", " ", "k\u{e9}", "-", "lock", "default"] {
            assert_eq!(Key::new(good).unwrap().as_bytes(), good.as_bytes());
        }
        let longest = [b'x'; KEY_MAX];
        assert_eq!(Key::new(longest).unwrap().as_c_str().to_bytes(), longest);
        assert!(Key::new([0xFF, 0x80]).is_ok());
        for bad in ["", ".", "..", "a/b", "/", "a\\b", "\\1", "a\0b", "a\n", "\x7F", "\x1F"] {
            assert_eq!(Key::new(bad).unwrap_err().code(), Code::Key, "{bad:?}");
        }
        assert_eq!(Key::new([b'x'; KEY_MAX + 1]).unwrap_err().code(), Code::Key);
    }
}

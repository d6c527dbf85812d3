//! Names that a network or user-space filesystem gives to a file that is removed while it is open. Such a file is no blob,
//! though it lies beside the blobs: a machine that exports the directory, or a second mount of it, shows it like any other.

/// What such a name begins with, and how many hexadecimal digits follow: at least, at most.
const PREFIXES: [(&[u8], usize, usize); 5] =
    [(b".nfs", 24, 24), (b".fuse_hidden", 16, 16), (b".ghost-ntfs-3g-", 20, 20), (b".__afs", 4, 8), (b".__smb", 4, 8)];

/// Whether a filesystem may have made this name. No directory tier stores a key of such a name, finds it or lists it.
pub fn is_of_removed_file(name: &[u8]) -> bool {
    name.starts_with(b".")
        && PREFIXES.iter().any(|&(prefix, least, most)| {
            name.strip_prefix(prefix)
                .is_some_and(|rest| (least..=most).contains(&rest.len()) && rest.iter().all(u8::is_ascii_hexdigit))
        })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_removed_files_are_told_from_keys() {
        let of_removed: [&[u8]; 6] = [
            b".nfs00000000000a1b2c0000001f",
            b".fuse_hidden0000000a0000000f",
            b".ghost-ntfs-3g-00000000000000000017",
            b".__afs01AF",
            b".__smb0001",
            b".__smb00010002",
        ];
        for name in of_removed {
            assert!(is_of_removed_file(name));
            assert!(!is_of_removed_file(&name[1..]) && !is_of_removed_file(&name[..6]));
            assert!(!is_of_removed_file(&[name, b"g"].concat()) && !is_of_removed_file(&[name, b"00000"].concat()));
        }
        let keys: [&[u8]; 5] = [b".", b".nfs", b".nfs0123456789abcdef0123456", b".fuse_hidden", b"k"];
        for key in keys {
            assert!(!is_of_removed_file(key));
        }
    }
}

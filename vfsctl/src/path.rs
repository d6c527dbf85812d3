//! Where a path leads, step by step, so that what is found there is opened without following any further link.
//!
//! The kernel protects who follows a symbolic link in a directory that everybody may write to, or who opens another
//! user's file there to create it (`fs.protected_symlinks` and its like, proc_sys_fs(5)). Replacing a file by `rename`
//! never meets these checks. So each path is first looked up by the kernel, which may refuse; the last links are then
//! followed here by the same rule, whether the kernel applies it or not.
use crate::sys;
use rustix::fs::{AtFlags, Mode, OFlags, PROC_SUPER_MAGIC, Stat, fstat, fstatfs, openat, readlinkat, stat, statat};
use rustix::io::Errno;
use std::ffi::{OsStr, OsString};
use std::fs::File;
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::Path;

/// As many links as the kernel follows.
const LINKS: usize = 40;
/// What the kernel calls a directory in which anybody may create names and nobody may remove another's.
const STICKY_AND_WRITABLE: u32 = 0o1002;

pub struct Place {
    /// The directory, for look-ups alone.
    pub dir: OwnedFd,
    pub name: OsString,
    pub found: Found,
}

pub enum Found {
    Nothing,
    /// No link.
    Entry,
    /// A link of procfs to an open descriptor of this process.
    Descriptor(i32),
    /// Another link of procfs, which the kernel alone can follow.
    Magic,
}

/// The directory and the name, or `None` where the path names a directory by its form.
fn split(path: &[u8]) -> Option<(&[u8], &OsStr)> {
    let (dir, name) = match path.iter().rposition(|&byte| byte == b'/') {
        Some(slash) => (&path[..=slash], &path[slash + 1..]),
        None => (&b"."[..], path),
    };
    (!matches!(name, b"" | b"." | b"..")).then_some((dir, OsStr::from_bytes(name)))
}

/// `fs.protected_symlinks` of proc_sys_fs(5).
fn may_follow(link: &Stat, dir: &Stat) -> bool {
    link.st_uid == nix::unistd::geteuid().as_raw()
        || dir.st_mode & STICKY_AND_WRITABLE != STICKY_AND_WRITABLE
        || dir.st_uid == link.st_uid
}

/// The number of the descriptor that a name in a directory of procfs stands for.
fn descriptor(dir: BorrowedFd, name: &OsStr) -> io::Result<Option<i32>> {
    let dir = fstat(dir)?;
    let is_own = |own: Stat| (own.st_dev, own.st_ino) == (dir.st_dev, dir.st_ino);
    let number = name.to_str().and_then(|name| name.parse().ok().filter(|number: &i32| number.to_string() == name));
    let own = is_own(stat("/proc/self/fd")?) || stat("/proc/thread-self/fd").is_ok_and(is_own);
    Ok(number.filter(|_| own))
}

impl Place {
    /// Fails with what the kernel says of the path, unless that is only that nothing is there.
    pub fn find(path: &Path) -> io::Result<Place> {
        let look = OFlags::PATH | OFlags::CLOEXEC;
        match rustix::fs::open(path, look, Mode::empty()) {
            Ok(_) | Err(Errno::NOENT) => {}
            Err(error) => return Err(error.into()),
        }
        let mut base: Option<OwnedFd> = None;
        let mut path = path.as_os_str().to_os_string();
        for _ in 0..=LINKS {
            if path.is_empty() {
                return Err(Errno::NOENT.into());
            }
            let Some((parent, name)) = split(path.as_bytes()) else { return Err(Errno::ISDIR.into()) };
            let from = base.as_ref().map_or(rustix::fs::CWD, |dir| dir.as_fd());
            let dir = openat(from, OsStr::from_bytes(parent), look | OFlags::DIRECTORY, Mode::empty())?;
            let place = |found| Ok(Place { dir: dir.try_clone()?, name: name.to_os_string(), found });
            let is_procfs = fstatfs(&dir)?.f_type == PROC_SUPER_MAGIC;
            if let Some(number) = if is_procfs { descriptor(dir.as_fd(), name)? } else { None } {
                return match number <= 2 || sys::is_inherited(number) {
                    true => place(Found::Descriptor(number)),
                    // To the caller it is not there, whether we have opened it since or not.
                    false => Err(Errno::NOENT.into()),
                };
            }
            let entry = match statat(&dir, name, AtFlags::SYMLINK_NOFOLLOW) {
                Ok(entry) => entry,
                Err(Errno::NOENT) => return place(Found::Nothing),
                Err(error) => return Err(error.into()),
            };
            if !is_link(&entry) {
                return place(Found::Entry);
            }
            if is_procfs {
                return place(Found::Magic);
            }
            if !may_follow(&entry, &fstat(&dir)?) {
                return Err(Errno::ACCESS.into());
            }
            let to = OsString::from_vec(readlinkat(&dir, name, Vec::new())?.into_bytes());
            base = Some(dir);
            path = to;
        }
        Err(Errno::LOOP.into())
    }

    /// Opens what was found there. If a link has taken its place since, that is an error.
    pub fn open(&self, flags: OFlags) -> io::Result<File> {
        let follow = match self.found {
            // What `sys` put in its place.
            Found::Descriptor(stream @ 0..=2) if sys::was_unusable(stream) => return Err(Errno::BADF.into()),
            Found::Nothing | Found::Entry => OFlags::NOFOLLOW,
            Found::Descriptor(_) | Found::Magic => OFlags::empty(),
        };
        let mode = Mode::from_raw_mode(0o666); // less the umask
        Ok(openat(&self.dir, &self.name, flags | follow | OFlags::CLOEXEC | OFlags::NOCTTY, mode)?.into())
    }
}

fn is_link(entry: &Stat) -> bool {
    rustix::fs::FileType::from_raw_mode(entry.st_mode).is_symlink()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_is_split_before_its_last_name() {
        let halves = |path: &'static [u8]| split(path).map(|(dir, name)| (dir, name.as_bytes()));
        assert_eq!(halves(b"a"), Some((&b"."[..], &b"a"[..])));
        assert_eq!(halves(b"/a"), Some((&b"/"[..], &b"a"[..])));
        assert_eq!(halves(b"a//b"), Some((&b"a//"[..], &b"b"[..])));
        assert_eq!(halves(b"../...b"), Some((&b"../"[..], &b"...b"[..])));
        for directory in [&b"/"[..], b"a/", b".", "..".as_bytes(), b"a/.", b"a/.."] {
            assert_eq!(halves(directory), None);
        }
    }
}

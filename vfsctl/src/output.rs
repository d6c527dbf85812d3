//! Writing a file: whole or not at all where that can be done without anybody losing what the file was to them.
//!
//! A file is replaced only if the new one cannot be told from it but by its contents: it belongs to this user, has one
//! name and no set-user-ID, set-group-ID or sticky bit, its group and extended attributes (an access control list is
//! one) can be given to another file, it has the flags (`chattr`) of a new file, and names in its directory can be made
//! and changed. The draft is private until all bytes are written; then it gets the mode of the old file, and takes its
//! name. Any other file is written in place, as `cp` does: the kernel then keeps owner, mode, links and attributes, or
//! drops what a write has to drop.
use crate::failure::Answer;
use crate::path::{Found, Place};
use crate::signals;
use crate::streams::{self, Output, close_error};
use nix::sys::resource::{Resource, getrlimit};
use rustix::fs::{AtFlags, FallocateFlags, IFlags, Mode, OFlags, RenameFlags, StatxAttributes, StatxFlags, XattrFlags};
use rustix::io::Errno;
use std::ffi::{CStr, OsStr, OsString};
use std::fs::{File, Metadata, Permissions};
use std::hash::{BuildHasher, Hasher, RandomState};
use std::io::{self, Write};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::fs::{MetadataExt, PermissionsExt, fchown};
use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// How often a file is begun again because another program put something else in its place meanwhile.
const ATTEMPTS: usize = 8;
/// How many names are tried for a draft.
const NAMES: usize = 64;
const PREFIX: &str = ".vfsctl-";
const SPECIAL_BITS: u32 = 0o7000;
const ACL: &CStr = c"system.posix_acl_access";
/// What the kernel takes away from a file that is written to, or keeps up by itself.
const NOT_COPIED: [&[u8]; 3] = [b"security.capability", b"security.ima", b"security.evm"];

/// Why a file was not written.
#[derive(Debug)]
pub struct Failed {
    pub error: io::Error,
    /// The old contents are gone: the file was written in place, and has a part of the new ones.
    pub in_place: bool,
}

impl<E: Into<io::Error>> From<E> for Failed {
    fn from(error: E) -> Failed {
        Failed { error: error.into(), in_place: false }
    }
}

/// What is to be written: how much that is, and the function that writes it, which may be called again.
pub struct Contents<'a> {
    pub len: u64,
    pub fill: &'a mut dyn FnMut(&mut dyn Write) -> io::Result<()>,
}

/// What a signal must not leave as it is.
enum Doing {
    Nothing,
    /// A file that nobody knows yet.
    Draft {
        dir: OwnedFd,
        name: OsString,
    },
    /// The file of this name has a part of its contents.
    InPlace(String),
}

/// What tells a blob's own file, which may have names outside of its store: its time is set to the nanosecond, and is no
/// other blob's.
pub struct Source {
    size: u64,
    stored_at_ns: u64,
}

impl Source {
    pub fn of(stat: &vfs::Stat) -> Source {
        Source { size: stat.size, stored_at_ns: stat.stored_at_ns }
    }

    fn is(&self, file: &Metadata) -> bool {
        let time = i128::from(file.mtime()) * 1_000_000_000 + i128::from(file.mtime_nsec());
        file.len() == self.size && time == i128::from(self.stored_at_ns)
    }
}

/// Writes files, one after the other. A signal that ends the process takes a draft away, or says what it leaves.
pub struct Files {
    doing: Arc<Mutex<Doing>>,
    source: Option<Source>,
}

fn hold(doing: &Mutex<Doing>) -> MutexGuard<'_, Doing> {
    doing.lock().unwrap_or_else(PoisonError::into_inner)
}

/// What is said of a file that has lost its old contents and has not all of the new ones.
pub const PARTIAL: &str = "it was written in place, and has a part of the bytes";

impl Files {
    /// `source` is what the bytes come from. It is never written to.
    pub fn new(source: Option<Source>) -> Answer<Files> {
        let doing = Arc::new(Mutex::new(Doing::Nothing));
        let interrupted = Arc::clone(&doing);
        signals::on_interrupt(move || {
            let doing = hold(&interrupted);
            match &*doing {
                Doing::Nothing => {}
                Doing::Draft { dir, name } => drop(rustix::fs::unlinkat(dir, name, AtFlags::empty())),
                Doing::InPlace(file) => streams::say(&format!("{file}: interrupted; {PARTIAL}")),
            }
            std::mem::forget(doing); // nobody goes on
        })?;
        Ok(Files { doing, source })
    }

    /// Writes one file. `shown` is how messages name it.
    pub fn write(&self, path: &Path, shown: &str, contents: &mut Contents) -> Result<(), Failed> {
        for _ in 0..ATTEMPTS {
            let place = Place::find(path)?;
            let written = match place.found {
                Found::Nothing => self.make(&place, shown, contents)?,
                Found::Descriptor(1) => (contents.fill)(&mut Output::new()).map(|()| true)?,
                Found::Descriptor(2) => (contents.fill)(&mut Output::error()).map(|()| true)?,
                Found::Entry => self.over(&place, shown, contents)?,
                Found::Descriptor(_) | Found::Magic => in_place_alone(self, &place, shown, contents)?,
            };
            if written {
                return Ok(());
            }
        }
        Err(Errno::BUSY.into())
    }

    /// A new file, of a mode like any other's. Answers whether the name was still free at the end.
    fn make(&self, place: &Place, shown: &str, contents: &mut Contents) -> Result<bool, Failed> {
        if keeps_names(&place.dir) {
            let file = match place.open(OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL) {
                Err(error) if Errno::from_io_error(&error) == Some(Errno::EXIST) => return Ok(false),
                file => file?,
            };
            return self.in_place(file, shown, contents);
        }
        let mut draft = Draft::new(self, &place.dir, 0o666)?;
        (contents.fill)(&mut draft.file)?;
        draft.publish(&place.name)
    }

    /// Over what is there. Answers `false` where that has changed meanwhile.
    fn over(&self, place: &Place, shown: &str, contents: &mut Contents) -> Result<bool, Failed> {
        // As `>` of a shell opens it, but that it keeps its contents: so the kernel has its say.
        let mut file = place.open(OFlags::WRONLY | OFlags::CREATE)?;
        let old = file.metadata()?;
        if !old.is_file() {
            (contents.fill)(&mut file)?;
            return Ok(true);
        }
        if self.source.as_ref().is_some_and(|source| source.is(&old)) {
            return Err(io::Error::other("it is the blob itself").into());
        }
        if let Some(mut draft) = self.draft_like(place, &file, &old)? {
            (contents.fill)(&mut draft.file)?;
            close_error(draft.file.as_fd())?;
            match draft.replace(&place.name, &old) {
                Ok(done) => return Ok(done),
                // Something is mounted there, or the directory lets nobody remove this name.
                Err(Errno::BUSY | Errno::XDEV | Errno::PERM | Errno::ACCESS) => {}
                Err(error) => return Err(error.into()),
            }
        }
        self.in_place(file, shown, contents)
    }

    fn in_place(&self, mut file: File, shown: &str, contents: &mut Contents) -> Result<bool, Failed> {
        look_for_room(&file, contents.len)?;
        *hold(&self.doing) = Doing::InPlace(shown.into());
        let written =
            file.set_len(0).and_then(|()| (contents.fill)(&mut file)).and_then(|()| close_error(file.as_fd()));
        *hold(&self.doing) = Doing::Nothing;
        match written {
            Ok(()) => Ok(true),
            Err(error) => Err(Failed { error, in_place: true }),
        }
    }

    /// An empty, private file that needs only its mode to be like the old one, if there can be one.
    fn draft_like(&self, place: &Place, file: &File, old: &Metadata) -> io::Result<Option<Draft<'_>>> {
        if old.nlink() != 1 || old.mode() & SPECIAL_BITS != 0 || old.uid() != nix::unistd::geteuid().as_raw() {
            return Ok(None);
        }
        if keeps_names(&place.dir) {
            return Ok(None);
        }
        let draft = match Draft::new(self, &place.dir, 0o600) {
            Ok(draft) => draft,
            Err(error) => {
                return match Errno::from_io_error(&error) {
                    Some(Errno::MFILE | Errno::NFILE | Errno::NOMEM | Errno::INTR | Errno::IO) => Err(error),
                    // No file can be made there, whatever a filesystem says of that. The old one is there.
                    _ => Ok(None),
                };
            }
        };
        let new = draft.file.metadata()?;
        let same_group = new.gid() == old.gid() || fchown(&draft.file, None, Some(old.gid())).is_ok();
        let same = new.uid() == old.uid() && same_group && flags(file) == flags(&draft.file);
        if !same || copy_attributes(file, &draft.file).is_err() {
            return Ok(None);
        }
        // An access control list that was copied gave the group its rights. The file is still empty.
        draft.file.set_permissions(Permissions::from_mode(0o600))?;
        Ok(Some(draft))
    }
}

/// What only the kernel can follow: an open file, by its name in procfs.
fn in_place_alone(files: &Files, place: &Place, shown: &str, contents: &mut Contents) -> Result<bool, Failed> {
    let mut file = place.open(OFlags::WRONLY | OFlags::CREATE)?;
    match file.metadata()?.is_file() {
        true => files.in_place(file, shown, contents),
        false => (contents.fill)(&mut file).map(|()| true).map_err(Failed::from),
    }
}

/// Fails if there is no room for so many bytes, while the old ones are still there. It promises nothing: others may take
/// the room.
fn look_for_room(file: &File, len: u64) -> io::Result<()> {
    let (limit, _) = getrlimit(Resource::RLIMIT_FSIZE)?;
    if len > limit {
        return Err(Errno::FBIG.into());
    }
    let old = file.metadata()?.len();
    if len <= old {
        return Ok(());
    }
    match rustix::fs::fallocate(file, FallocateFlags::KEEP_SIZE, 0, len) {
        Err(error @ (Errno::NOSPC | Errno::DQUOT | Errno::FBIG)) => {
            let _ = file.set_len(old); // gives back what it took behind the end
            Err(error.into())
        }
        _ => Ok(()),
    }
}

/// Whether names can be made in a directory, and no name can be removed or given to another file (`chattr +a`).
fn keeps_names(dir: &OwnedFd) -> bool {
    let about = rustix::fs::statx(dir, c"", AtFlags::EMPTY_PATH, StatxFlags::empty());
    about.is_ok_and(|about| about.stx_attributes.contains(StatxAttributes::APPEND))
}

/// The flags of a file (`chattr`), where its filesystem has any. How its bytes and attributes lie there is no property of
/// the file: in extents, in the inode, in an inode of their own.
fn flags(file: &File) -> Option<IFlags> {
    const LAYOUT: u32 = 0x0008_0000 | 0x1000_0000 | 0x0020_0000;
    rustix::fs::ioctl_getflags(file).ok().map(|flags| flags.difference(IFlags::from_bits_retain(LAYOUT)))
}

fn attribute(file: &File, name: &CStr) -> rustix::io::Result<Vec<u8>> {
    let mut value = vec![0; 64 << 10]; // XATTR_SIZE_MAX
    let len = rustix::fs::fgetxattr(file, name, &mut value[..])?;
    value.truncate(len);
    Ok(value)
}

/// The names of a file's extended attributes.
fn attributes(file: &File) -> rustix::io::Result<Vec<u8>> {
    let mut names = vec![0; 64 << 10]; // XATTR_LIST_MAX
    match rustix::fs::flistxattr(file, &mut names[..]) {
        Ok(len) => names.truncate(len),
        Err(Errno::OPNOTSUPP | Errno::NOSYS) => names.clear(),
        Err(error) => return Err(error),
    }
    Ok(names)
}

fn names(list: &[u8]) -> impl Iterator<Item = &CStr> {
    let names = list.split_inclusive(|&byte| byte == 0).filter_map(|name| CStr::from_bytes_with_nul(name).ok());
    names.filter(|name| !NOT_COPIED.contains(&name.to_bytes()))
}

/// Gives one file the extended attributes of another, and no others.
fn copy_attributes(from: &File, to: &File) -> rustix::io::Result<()> {
    let (wanted, inherited) = (attributes(from)?, attributes(to)?);
    for name in names(&inherited).filter(|name| !names(&wanted).any(|wanted| wanted == *name)) {
        rustix::fs::fremovexattr(to, name)?;
    }
    // An inherited list that a directory gives its files may be missing from the list of names.
    if !names(&wanted).any(|name| name == ACL) {
        match rustix::fs::fremovexattr(to, ACL) {
            Ok(()) | Err(Errno::NODATA | Errno::OPNOTSUPP | Errno::NOSYS) => {}
            Err(error) => return Err(error),
        }
    }
    for name in names(&wanted) {
        let value = attribute(from, name)?;
        if attribute(to, name).as_ref() != Ok(&value) {
            rustix::fs::fsetxattr(to, name, &value, XattrFlags::empty())?;
        }
    }
    Ok(())
}

/// A file of a name that nobody else knows. It goes away unless it takes another name.
struct Draft<'a> {
    files: &'a Files,
    file: File,
}

impl Draft<'_> {
    fn new<'a>(files: &'a Files, dir: &OwnedFd, mode: u32) -> io::Result<Draft<'a>> {
        // Made, and later named, while it is held: so a signal finds it there, or not made yet.
        let mut doing = hold(&files.doing);
        let kept = dir.try_clone()?;
        for _ in 0..NAMES {
            let name = OsString::from(format!("{PREFIX}{:016x}", RandomState::new().build_hasher().finish()));
            let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
            match rustix::fs::openat(dir, &name, flags, Mode::from_raw_mode(mode)) {
                Ok(file) => {
                    *doing = Doing::Draft { dir: kept, name };
                    drop(doing);
                    return Ok(Draft { files, file: file.into() });
                }
                Err(Errno::EXIST) => {}
                Err(error) => return Err(error.into()),
            }
        }
        Err(Errno::EXIST.into())
    }

    /// Gives it a name that is free. Answers `false` if it is not free any more.
    fn publish(self, to: &OsStr) -> Result<bool, Failed> {
        close_error(self.file.as_fd())?;
        let named = |dir: &OwnedFd, name: &OsStr| {
            match rustix::fs::renameat_with(dir, name, dir, to, RenameFlags::NOREPLACE) {
                // This filesystem cannot, or a filter of system calls has it so. A second link replaces nothing either, and
                // the first one goes.
                Err(Errno::INVAL | Errno::NOSYS | Errno::OPNOTSUPP | Errno::PERM) => {
                    match rustix::fs::linkat(dir, name, dir, to, AtFlags::empty()) {
                        Ok(()) => rustix::fs::unlinkat(dir, name, AtFlags::empty()),
                        Err(Errno::EXIST) => Err(Errno::EXIST),
                        Err(_) => match rustix::fs::statat(dir, to, AtFlags::SYMLINK_NOFOLLOW) {
                            Ok(_) => Err(Errno::EXIST),
                            Err(Errno::NOENT) => rustix::fs::renameat(dir, name, dir, to),
                            Err(error) => Err(error),
                        },
                    }
                }
                renamed => renamed,
            }
        };
        match self.name_by(named) {
            Ok(()) => Ok(true),
            Err(Errno::EXIST) => Ok(false),
            Err(error) => Err(error.into()),
        }
    }

    /// Gives it the mode of the old file, then its name. Answers `false` where something else bears that by now.
    fn replace(self, to: &OsStr, old: &Metadata) -> rustix::io::Result<bool> {
        rustix::fs::fchmod(&self.file, Mode::from_raw_mode(old.mode() & 0o777))?;
        self.name_by(|dir, name| {
            let now = rustix::fs::statat(dir, to, AtFlags::SYMLINK_NOFOLLOW)?;
            // The same file, or one that another vfsctl has put there, which has the same owner and mode.
            let same = (now.st_uid, now.st_gid, now.st_mode, now.st_nlink as u64)
                == (old.uid(), old.gid(), old.mode(), old.nlink());
            match same {
                true => rustix::fs::renameat(dir, name, dir, to),
                false => Err(Errno::NOENT),
            }
        })
        .map(|()| true)
        .or_else(|error| if error == Errno::NOENT { Ok(false) } else { Err(error) })
    }

    fn name_by(self, name_it: impl FnOnce(&OwnedFd, &OsStr) -> rustix::io::Result<()>) -> rustix::io::Result<()> {
        let mut doing = hold(&self.files.doing);
        let Doing::Draft { dir, name } = &*doing else { return Err(Errno::INTR) }; // not reached: there is one
        name_it(dir, name)?;
        *doing = Doing::Nothing;
        Ok(())
    }
}

impl Drop for Draft<'_> {
    fn drop(&mut self) {
        let mut doing = hold(&self.files.doing);
        if let Doing::Draft { dir, name } = &*doing {
            let _ = rustix::fs::unlinkat(dir, name, AtFlags::empty()); // what cannot be removed stays, private
        }
        *doing = Doing::Nothing;
    }
}

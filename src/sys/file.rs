//! Files and directories, by descriptor and relative name.
use super::Os;
use super::alloc::Text;
use super::call::{On, once_on, retry_on};
use std::ffi::CStr;
use std::fmt::Write;
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, RawFd};

/// The most bytes that one `read` or `write` moves on Linux; more is asked for in parts.
const CALL_MAX: usize = 0x7FFF_F000;

/// Which file it is, whatever its name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ident {
    pub dev: u64,
    pub ino: u64,
}

/// What `stat` tells.
#[derive(Clone, Copy, Debug)]
pub struct Meta {
    pub ident: Ident,
    pub size: u64,
    pub mode: u32,
    pub uid: u32,
    pub links: u64,
    /// Time of the last write, since the Unix epoch.
    pub modified_ns: u64,
}

impl Meta {
    #[allow(clippy::unnecessary_cast)] // the widths differ between platforms
    pub(super) fn of(stat: &libc::stat) -> Meta {
        let seconds = u64::try_from(stat.st_mtime).unwrap_or(0);
        Meta {
            ident: Ident { dev: stat.st_dev as u64, ino: stat.st_ino as u64 },
            size: u64::try_from(stat.st_size).unwrap_or(0),
            mode: stat.st_mode as u32,
            uid: stat.st_uid,
            links: stat.st_nlink as u64,
            modified_ns: seconds.saturating_mul(1_000_000_000).saturating_add(stat.st_mtime_nsec as u64),
        }
    }

    pub fn is_file(&self) -> bool {
        self.mode & libc::S_IFMT == libc::S_IFREG
    }

    pub fn is_dir(&self) -> bool {
        self.mode & libc::S_IFMT == libc::S_IFDIR
    }

    pub fn permissions(&self) -> u32 {
        self.mode & 0o7777
    }
}

/// Room on a filesystem.
#[derive(Clone, Copy, Debug, Default)]
pub struct Space {
    pub free_bytes: u64,
    pub total_bytes: u64,
    pub free_inodes: u64,
    pub total_inodes: u64,
    /// Its files are memory: tmpfs or ramfs.
    pub in_memory: bool,
}

/// How a file or directory is opened.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Open {
    /// A directory, through symbolic links: one that the user named. By its place alone: to go through it to a name in it
    /// takes no right to read it.
    Tier,
    /// The same, to lock it.
    #[cfg(test)]
    Dir,
    /// A directory of ours: no symbolic link.
    OwnDir,
    /// The place of a directory of ours, whatever its mode.
    Place,
    /// A blob, to read. Does not hang on a fifo.
    Read,
    /// A new file, to write and read back.
    New,
    /// The lock file, made where it is missing.
    Lock,
    /// The lock file, where it is, to share it with others.
    LockToShare,
}

impl Open {
    fn flags(self) -> i32 {
        let flags = match self {
            Open::Tier => libc::O_PATH | libc::O_DIRECTORY,
            #[cfg(test)]
            Open::Dir => libc::O_RDONLY | libc::O_DIRECTORY,
            Open::OwnDir => libc::O_RDONLY | libc::O_DIRECTORY | libc::O_NOFOLLOW,
            Open::Place => libc::O_PATH | libc::O_DIRECTORY | libc::O_NOFOLLOW,
            Open::Read => libc::O_RDONLY | libc::O_NOFOLLOW | libc::O_NONBLOCK,
            Open::New => libc::O_RDWR | libc::O_CREAT | libc::O_EXCL | libc::O_NOFOLLOW,
            Open::Lock => libc::O_RDWR | libc::O_CREAT | libc::O_NOFOLLOW | libc::O_NONBLOCK,
            Open::LockToShare => libc::O_RDONLY | libc::O_NOFOLLOW | libc::O_NONBLOCK,
        };
        flags | libc::O_CLOEXEC
    }
}

fn at(dir: Option<BorrowedFd>) -> i32 {
    dir.map_or(libc::AT_FDCWD, |fd| fd.as_raw_fd())
}

/// What a call on `path`, relative to `dir` or absolute, works on.
fn on<'a>(dir: Option<BorrowedFd>, path: &'a CStr) -> On<'a> {
    dir.map_or(On::Path(path), |fd| On::Fd(fd.as_raw_fd()))
}

pub(super) fn on_fd(fd: BorrowedFd) -> On<'static> {
    On::Fd(fd.as_raw_fd())
}

/// A descriptor of ours, closed with this. The standard library's own aborts the host, in debug builds, where somebody
/// closed it behind our back.
#[derive(Debug)]
pub struct Fd(RawFd);

impl Fd {
    /// The number alone, which is not closed any more.
    pub fn into_raw(self) -> RawFd {
        std::mem::ManuallyDrop::new(self).0
    }
}

impl AsRawFd for Fd {
    fn as_raw_fd(&self) -> RawFd {
        self.0
    }
}

impl AsFd for Fd {
    fn as_fd(&self) -> BorrowedFd<'_> {
        // SAFETY: open for as long as `self` lives, unless the host closes what it did not open.
        unsafe { BorrowedFd::borrow_raw(self.0) }
    }
}

impl Drop for Fd {
    fn drop(&mut self) {
        // SAFETY: no memory is passed; the descriptor is ours.
        unsafe { libc::close(self.0) };
    }
}

/// Opens `path`, relative to `dir` or (`None`) absolute.
pub fn open(dir: Option<BorrowedFd>, path: &CStr, how: Open) -> Os<Fd> {
    // SAFETY: a valid C string.
    let fd = retry_on("openat", on(dir, path), || unsafe { libc::openat(at(dir), path.as_ptr(), how.flags(), 0o600) })
        .map(Fd)?;
    if fd.as_raw_fd() > 2 {
        return Ok(fd);
    }
    // A host that closed its standard streams would print into our file.
    // SAFETY: no memory is passed.
    retry_on("fcntl", on_fd(fd.as_fd()), || unsafe { libc::fcntl(fd.as_raw_fd(), libc::F_DUPFD_CLOEXEC, 3) }).map(Fd)
}

pub fn make_dir(dir: BorrowedFd, path: &CStr) -> Os<()> {
    // SAFETY: a valid C string.
    once_on("mkdirat", on_fd(dir), || unsafe { libc::mkdirat(dir.as_raw_fd(), path.as_ptr(), 0o700) }).map(drop)
}

pub fn unlink(dir: BorrowedFd, path: &CStr) -> Os<()> {
    // SAFETY: a valid C string.
    once_on("unlinkat", on_fd(dir), || unsafe { libc::unlinkat(dir.as_raw_fd(), path.as_ptr(), 0) }).map(drop)
}

pub fn remove_dir(dir: BorrowedFd, path: &CStr) -> Os<()> {
    // SAFETY: a valid C string.
    once_on("unlinkat", on_fd(dir), || unsafe { libc::unlinkat(dir.as_raw_fd(), path.as_ptr(), libc::AT_REMOVEDIR) })
        .map(drop)
}

/// A second name for a file; fails with EEXIST where the name is taken.
pub fn link(from: BorrowedFd, old: &CStr, to: BorrowedFd, new: &CStr) -> Os<()> {
    // SAFETY: valid C strings.
    once_on("linkat", on_fd(from), || unsafe {
        libc::linkat(from.as_raw_fd(), old.as_ptr(), to.as_raw_fd(), new.as_ptr(), 0)
    })
    .map(drop)
}

/// Moves a name, over another one where that exists.
pub fn rename(from: BorrowedFd, old: &CStr, to: BorrowedFd, new: &CStr) -> Os<()> {
    // SAFETY: valid C strings.
    once_on("renameat", on_fd(from), || unsafe {
        libc::renameat(from.as_raw_fd(), old.as_ptr(), to.as_raw_fd(), new.as_ptr())
    })
    .map(drop)
}

/// Moves a name; fails with EEXIST where the new one is taken, with EINVAL, ENOSYS or EOPNOTSUPP where the
/// filesystem cannot promise that.
pub fn rename_new(from: BorrowedFd, old: &CStr, to: BorrowedFd, new: &CStr) -> Os<()> {
    // SAFETY: valid C strings.
    once_on("renameat2", on_fd(from), || unsafe {
        libc::syscall(
            libc::SYS_renameat2,
            from.as_raw_fd(),
            old.as_ptr(),
            to.as_raw_fd(),
            new.as_ptr(),
            libc::RENAME_NOREPLACE,
        )
    })
    .map(drop)
}

/// What lies at `path`: a link itself where `dir` is ours, what it leads to where the user named the path.
pub fn stat(dir: Option<BorrowedFd>, path: &CStr) -> Os<Meta> {
    let flags = if dir.is_some() { libc::AT_SYMLINK_NOFOLLOW } else { 0 };
    let mut stat = MaybeUninit::uninit();
    // SAFETY: a valid C string; `stat` is filled where the call succeeds.
    unsafe {
        retry_on("newfstatat", on(dir, path), || libc::fstatat(at(dir), path.as_ptr(), stat.as_mut_ptr(), flags))?;
        Ok(Meta::of(stat.assume_init_ref()))
    }
}

pub fn stat_fd(fd: BorrowedFd) -> Os<Meta> {
    let mut stat = MaybeUninit::uninit();
    // SAFETY: `stat` is filled where the call succeeds.
    unsafe {
        retry_on("fstat", on_fd(fd), || libc::fstat(fd.as_raw_fd(), stat.as_mut_ptr()))?;
        Ok(Meta::of(stat.assume_init_ref()))
    }
}

/// Sets the mode of what a descriptor stands for that was opened by its place alone.
pub fn set_mode_of_place(fd: BorrowedFd, mode: u32) -> Os<()> {
    const FCHMODAT2: libc::c_long = 452;
    let mut path = Text::<40>::new();
    let _ = write!(path, "/proc/self/fd/{}", fd.as_raw_fd()); // fits
    // SAFETY: a valid C string.
    match retry_on("fchmodat", on_fd(fd), || unsafe { libc::chmod(path.as_c_str().as_ptr(), mode) }) {
        // There is no /proc, as after a `chroot`: Linux 6.6 and later do without.
        // SAFETY: a valid C string.
        Err(libc::ENOENT | libc::ENOTDIR) => retry_on("fchmodat2", on_fd(fd), || unsafe {
            libc::syscall(FCHMODAT2, fd.as_raw_fd(), c"".as_ptr(), mode, libc::AT_EMPTY_PATH)
        })
        .map(drop),
        answer => answer.map(drop),
    }
}

pub fn set_mode(fd: BorrowedFd, mode: u32) -> Os<()> {
    // SAFETY: no memory is passed.
    retry_on("fchmod", on_fd(fd), || unsafe { libc::fchmod(fd.as_raw_fd(), mode) }).map(drop)
}

/// The generation of a file's inode, which differs between two files that had one inode number.
pub fn generation(fd: BorrowedFd) -> Os<u32> {
    const FS_IOC_GETVERSION: libc::Ioctl = libc::_IOR::<libc::c_long>(b'v' as u32, 1);
    let mut generation = [0u32; 2]; // the kernel writes an int, though it is declared as a long
    // SAFETY: as large as what the call may write.
    retry_on("ioctl", on_fd(fd), || unsafe {
        libc::ioctl(fd.as_raw_fd(), FS_IOC_GETVERSION, generation.as_mut_ptr())
    })?;
    Ok(generation[0])
}

/// Sets the time of the last write.
pub fn set_modified(fd: BorrowedFd, at_ns: u64) -> Os<()> {
    let keep = libc::timespec { tv_sec: 0, tv_nsec: libc::UTIME_OMIT };
    let at = libc::timespec { tv_sec: (at_ns / 1_000_000_000) as _, tv_nsec: (at_ns % 1_000_000_000) as _ };
    // SAFETY: two times, as the call wants.
    retry_on("utimensat", on_fd(fd), || unsafe { libc::futimens(fd.as_raw_fd(), [keep, at].as_ptr()) }).map(drop)
}

/// Writes all of `data` at `offset`. Answers how much was written before it failed.
pub fn write_all(fd: BorrowedFd, mut data: &[u8], mut offset: u64) -> Os<()> {
    while !data.is_empty() {
        let part = data.len().min(CALL_MAX);
        // SAFETY: the pointer and length are those of a slice.
        let done = retry_on("pwrite64", on_fd(fd), || unsafe {
            libc::pwrite64(fd.as_raw_fd(), data.as_ptr().cast(), part, offset as i64)
        })?;
        if done == 0 {
            return Err(libc::EIO); // a regular file never does that
        }
        data = &data[done as usize..];
        offset += done as u64;
    }
    Ok(())
}

/// Reads from `offset` until `buf` is full or the file ends; answers the number of bytes.
pub fn read_full(fd: BorrowedFd, buf: &mut [MaybeUninit<u8>], offset: u64) -> Os<usize> {
    let mut done = 0;
    while done < buf.len() {
        let rest = &mut buf[done..];
        let part = rest.len().min(CALL_MAX);
        // SAFETY: the pointer and length are those of a slice.
        let got = retry_on("pread64", on_fd(fd), || unsafe {
            libc::pread64(fd.as_raw_fd(), rest.as_mut_ptr().cast(), part, (offset + done as u64) as i64)
        })?;
        if got == 0 {
            break;
        }
        done += got as usize;
    }
    Ok(done)
}

pub fn truncate(fd: BorrowedFd, len: u64) -> Os<()> {
    // SAFETY: no memory is passed.
    retry_on("ftruncate", on_fd(fd), || unsafe { libc::ftruncate64(fd.as_raw_fd(), len as i64) }).map(drop)
}

/// Reserves bytes, so that writing to them through a mapping cannot fail. A signal that comes
/// again and again cannot hold it up for ever: after some tries the answer is EINTR.
pub fn reserve(fd: BorrowedFd, offset: u64, len: u64) -> Os<()> {
    for _ in 0..16 {
        // SAFETY: no memory is passed.
        match once_on("fallocate", on_fd(fd), || unsafe {
            libc::fallocate64(fd.as_raw_fd(), 0, offset as i64, len as i64)
        }) {
            Err(libc::EINTR) => {}
            answer => return answer.map(drop),
        }
    }
    Err(libc::EINTR)
}

pub fn space(fd: BorrowedFd) -> Os<Space> {
    let mut stat = MaybeUninit::uninit();
    // SAFETY: `stat` is filled where the call succeeds.
    let stat: libc::statfs64 = unsafe {
        retry_on("fstatfs", on_fd(fd), || libc::fstatfs64(fd.as_raw_fd(), stat.as_mut_ptr()))?;
        stat.assume_init()
    };
    const RAMFS_MAGIC: i64 = 0x8584_58F6;
    // Blocks are counted in fragments where the filesystem has those.
    let block = if stat.f_frsize > 0 { stat.f_frsize } else { stat.f_bsize } as u64;
    #[allow(clippy::unnecessary_cast)] // the widths differ between platforms
    let kind: i64 = stat.f_type as _;
    Ok(Space {
        free_bytes: stat.f_bavail.saturating_mul(block),
        total_bytes: stat.f_blocks.saturating_mul(block),
        free_inodes: stat.f_ffree,
        total_inodes: stat.f_files,
        in_memory: kind == libc::TMPFS_MAGIC || kind == RAMFS_MAGIC,
    })
}

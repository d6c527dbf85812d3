//! Why a call failed: a frozen code, what was being done, on which tier, how much was wanted and
//! free, and what the operating system answered. Building one needs no memory that could be
//! missing, since errors are what one gets when memory is missing.
use crate::sys::Shared;
use std::ffi::CStr;
use std::fmt;

/// What a call answers. The numbers are those of the C ABI and are frozen.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, thiserror::Error)]
#[error("{}", self.text())]
#[repr(i32)]
pub enum Code {
    /// An argument is not allowed.
    Invalid = -1,
    /// The key is not a key.
    Key = -2,
    /// No blob has this key.
    NotFound = -3,
    /// A blob has this key already.
    Exists = -4,
    /// Every tier refused, one at least for lack of room.
    NoSpace = -5,
    /// The store was shut down.
    Shutdown = -6,
    /// The operating system forbids it, or a name of ours belongs to somebody else.
    Permission = -7,
    /// The operating system or the device failed.
    Io = -8,
    /// Memory of this process could not be had.
    NoMemory = -9,
    /// The process or the system is out of file descriptors.
    Limit = -10,
    /// The handle was opened by the parent of this forked process.
    Forked = -11,
    /// The filesystem or platform cannot do it.
    Unsupported = -12,
    /// The store, or the filesystem, is read-only.
    ReadOnly = -13,
    /// Another process holds what this call needs, and did not let go in time.
    Busy = -14,
    /// A bug of ours, caught at the boundary.
    Panic = -99,
}

impl Code {
    /// Every code.
    #[cfg_attr(not(any(test, feature = "capi")), allow(dead_code))]
    pub(crate) const ALL: [Code; 15] = [
        Code::Invalid,
        Code::Key,
        Code::NotFound,
        Code::Exists,
        Code::NoSpace,
        Code::Shutdown,
        Code::Permission,
        Code::Io,
        Code::NoMemory,
        Code::Limit,
        Code::Forked,
        Code::Unsupported,
        Code::ReadOnly,
        Code::Busy,
        Code::Panic,
    ];

    /// One sentence on the code alone: the text of `vfs_strerror` too.
    pub(crate) const fn message(self) -> &'static CStr {
        match self {
            Code::Invalid => c"an argument is not allowed",
            Code::Key => c"not a key: 1 to 255 bytes, no '/', '\\' or control characters, not '.' or '..'",
            Code::NotFound => c"no blob has this key",
            Code::Exists => c"a blob has this key already",
            Code::NoSpace => c"no tier has room for it",
            Code::Shutdown => c"the store was shut down",
            Code::Permission => c"not permitted",
            Code::Io => c"input/output failure",
            Code::NoMemory => c"out of memory",
            Code::Limit => c"out of file descriptors",
            Code::Forked => c"the store belongs to the parent of this forked process",
            Code::Unsupported => c"not supported here",
            Code::ReadOnly => c"read-only",
            Code::Busy => c"held by another process for too long",
            Code::Panic => c"internal failure, caught",
        }
    }

    /// The same as a string.
    pub fn text(self) -> &'static str {
        self.message().to_str().unwrap_or("")
    }

    /// The code that an errno of a tier stands for (`docs/DESIGN.md`, "When a tier refuses").
    pub(crate) fn of_errno(errno: i32) -> Code {
        match errno {
            libc::ENOMEM => Code::NoMemory, // for placing a blob it is a lack of room instead: see `refusal`
            e if lacks_room(e) => Code::NoSpace,
            libc::EMFILE | libc::ENFILE => Code::Limit,
            libc::EACCES | libc::EPERM | libc::ELOOP => Code::Permission,
            libc::EROFS => Code::ReadOnly,
            libc::EBUSY => Code::Busy,
            libc::ENOSYS
            | libc::EOPNOTSUPP
            | libc::ENOLCK
            | libc::EINVAL
            | libc::EXDEV
            | libc::EMLINK
            | libc::EILSEQ
            | libc::ENAMETOOLONG => Code::Unsupported,
            _ => Code::Io,
        }
    }
}

/// Whether an errno says that a tier has no room, as against that it is broken or forbidden.
pub(crate) fn lacks_room(errno: i32) -> bool {
    matches!(errno, libc::ENOSPC | libc::EDQUOT | libc::EFBIG | libc::ENOMEM)
}

/// Whose failure a fault is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Culprit {
    /// The tier that was asked.
    Asked,
    /// The tier of this number, though another one was asked: a blob's older value lies there, or the draft that moves on.
    Tier(u32),
    /// No tier: this process has no memory, or another one holds what is needed.
    Nobody,
}

/// What one tier, or this process, could not do: small, copied, made without memory.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Fault {
    /// A code that holds whatever other tiers say; `None`: this tier's answer alone, by its errno.
    pub code: Option<Code>,
    /// What the operating system answered, or the errno that our own limit stands for.
    pub errno: i32,
    /// What was being done.
    pub what: &'static str,
    /// Bytes free for us when it was refused, where that was asked.
    pub free: Option<u64>,
    /// The permission bits of a directory of this user that keep us from using it.
    pub mode: Option<u32>,
    pub culprit: Culprit,
}

/// Why a directory under our name is not used: another user made it, or it is no directory.
pub(crate) const NOT_OURS: &str =
    "vfs1-UID, this user's directory on the tier, belongs to another user or is not a directory";

/// Why a tier is not used whose own directory this process may not search: to look for our directory there is not
/// allowed.
pub(crate) const NO_WAY_IN: &str = "the tier's directory cannot be entered";

/// The permission bits that each directory of ours has.
pub(crate) const OUR_MODE: u32 = 0o700;
/// Those that let other users in.
pub(crate) const OTHERS: u32 = 0o077;

/// Why a tier's directories are not opened anew.
pub(crate) const ANOTHER_USER: &str = "using a tier: another user opened the store";

/// What a message adds where the process changed under an open store.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Changed {
    /// Who opened the store, and as whom the thread acts.
    User { opener: u32, now: u32 },
    /// A descriptor of ours is not open.
    Descriptors,
}

impl fmt::Display for Changed {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        match self {
            Changed::User { opener, now } => {
                write!(f, "; user {opener} opened the store, and this thread acts as user {now} now")
            }
            Changed::Descriptors => write!(f, "; the process closed a descriptor that the library had opened"),
        }
    }
}

impl Fault {
    /// A tier's own failure.
    pub const fn os(errno: i32, what: &'static str) -> Fault {
        Fault { code: None, errno, what, free: None, mode: None, culprit: Culprit::Asked }
    }

    /// A failure of no tier, or one that no other tier can mend.
    pub const fn last(code: Code, errno: i32, what: &'static str) -> Fault {
        Fault { code: Some(code), errno, what, free: None, mode: None, culprit: Culprit::Nobody }
    }

    /// The same, of the tier that the draft or blob lies on: no other one has these bytes.
    pub fn of_source(self, index: usize) -> Fault {
        Fault { code: Some(self.code()), culprit: Culprit::Tier(index as u32), ..self }
    }

    /// A directory of this user has permission bits with which it is not used.
    pub const fn mode(errno: i32, what: &'static str, mode: u32) -> Fault {
        Fault { mode: Some(mode), ..Fault::os(errno, what) }
    }

    /// This process has no memory for `what`.
    pub const fn memory(what: &'static str) -> Fault {
        Fault::last(Code::NoMemory, libc::ENOMEM, what)
    }

    /// The code of this fault, taken alone.
    pub fn code(&self) -> Code {
        match self.code {
            Some(code) => code,
            None if self.what == NOT_OURS => Code::Permission,
            None => Code::of_errno(self.errno),
        }
    }

    /// Whether the next tier would fail just so: final codes, and no descriptors.
    pub fn is_final(&self) -> bool {
        self.code.is_some() || self.lacks_descriptors()
    }

    fn lacks_descriptors(&self) -> bool {
        matches!(self.errno, libc::EMFILE | libc::ENFILE)
    }

    /// The number of the tier that failed, where the tier `asked` was asked.
    pub fn tier(&self, asked: usize) -> Option<usize> {
        match self.culprit {
            _ if self.lacks_descriptors() => None, // this process's, or the machine's
            Culprit::Asked => Some(asked),
            Culprit::Tier(index) => Some(index as usize),
            Culprit::Nobody => None,
        }
    }

    /// Whether nothing of ours can be there: no directory, one that is not ours, or no way to it.
    pub fn is_nothing_here(&self) -> bool {
        let missing = matches!(self.errno, libc::ENOENT | libc::ENOTDIR | libc::ELOOP);
        self.code.is_none() && (missing || self.what == NOT_OURS || self.what == NO_WAY_IN)
    }

    /// Whether a directory of ours is not used because other users can reach it. What is in it is hidden, so that nothing
    /// may be stored elsewhere: that would be a second value of its key.
    pub fn is_exposed(&self) -> bool {
        self.mode.is_some_and(|mode| mode & OTHERS != 0)
    }

    /// Whether something lies at our directory's place, or on the way to it, that we may not use as it is.
    pub fn is_barred(&self) -> bool {
        self.mode.is_some() || self.what == NOT_OURS || self.what == NO_WAY_IN
    }

    /// Whether the directories under us may have been removed or replaced.
    pub fn is_lost_ground(&self) -> bool {
        self.code.is_none()
            && self.what != NOT_OURS
            && matches!(self.errno, libc::ENOENT | libc::ENOTDIR | libc::ESTALE)
    }
}

/// Where a tier lies, for messages: its number and directory.
#[derive(Debug)]
pub(crate) struct Place {
    pub index: u32,
    /// Whose store it is.
    pub uid: u32,
    /// NUL-terminated; "memory" for this process's heap.
    pub dir: Box<[u8]>,
}

impl Place {
    pub fn bytes(&self) -> &[u8] {
        self.dir.strip_suffix(&[0]).unwrap_or(&self.dir)
    }
}

/// A failed call, in words and numbers: its `Display` is the sentence.
#[derive(Debug)]
pub struct Error {
    code: Code,
    errno: i32,
    what: &'static str,
    tier: Option<Shared<Place>>,
    wanted: Option<u64>,
    free: Option<u64>,
    mode: Option<u32>,
    detail: Option<Box<str>>,
    changed: Option<Changed>,
}

/// `Result` with this crate's [`Error`].
pub type Result<T> = std::result::Result<T, Error>;

impl Error {
    pub(crate) fn new(code: Code, what: &'static str) -> Error {
        Error { code, errno: 0, what, tier: None, wanted: None, free: None, mode: None, detail: None, changed: None }
    }

    /// A fault, told with the tier on which it happened.
    pub(crate) fn on(fault: Fault, tier: Option<&Shared<Place>>) -> Error {
        Error {
            code: fault.code(),
            errno: fault.errno,
            what: fault.what,
            tier: tier.cloned(),
            wanted: None,
            free: fault.free,
            mode: fault.mode,
            detail: None,
            changed: None,
        }
    }

    /// The same, with how many bytes were to be placed.
    pub(crate) fn wanting(mut self, bytes: u64) -> Error {
        self.wanted = Some(bytes);
        self
    }

    /// The same, with the part of the input at fault; left out where there is no memory for it.
    pub(crate) fn naming(mut self, part: fmt::Arguments) -> Error {
        self.detail = crate::sys::try_text(part);
        self
    }

    /// The same, with how the process changed.
    pub(crate) fn noting(mut self, changed: Option<Changed>) -> Error {
        self.changed = changed;
        self
    }

    /// The same, as what all tiers together answer to a blob.
    pub(crate) fn meaning(mut self, code: Code) -> Error {
        self.code = code;
        self
    }

    /// The frozen code.
    pub fn code(&self) -> Code {
        self.code
    }

    /// The same, to be told again as the failure of the tier that it names, if it names one.
    pub(crate) fn to_fault(&self) -> Fault {
        let culprit = self.tier().map_or(Culprit::Nobody, |index| Culprit::Tier(index as u32));
        let Error { code, errno, what, free, mode, .. } = *self;
        Fault { code: Some(code), errno, what, free, mode, culprit }
    }

    /// The number of the tier that failed.
    pub(crate) fn tier(&self) -> Option<usize> {
        self.tier.as_ref().map(|place| place.index as usize)
    }

    /// The same error of another list of tiers, in which a directory may have another number.
    pub(crate) fn renumbered(mut self, places: impl Iterator<Item = Shared<Place>>) -> Error {
        if let Some(tier) = &self.tier {
            self.tier = places.into_iter().find(|place| place.dir == tier.dir).or(self.tier);
        }
        self
    }

    /// What the operating system answered; 0 where it was not asked.
    pub fn errno(&self) -> i32 {
        self.errno
    }
}

impl From<Fault> for Error {
    fn from(fault: Fault) -> Error {
        Error::on(fault, None)
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        write!(f, "{}", self.what)?;
        if let Some(detail) = &self.detail {
            write!(f, ": {detail}")?;
        }
        write!(f, ": {}", self.code.text())?;
        if let Some(tier) = &self.tier {
            write!(f, "; tier {} ({})", tier.index, Shown(tier.bytes()))?;
        }
        if let Some(wanted) = self.wanted {
            write!(f, ", wanted {wanted} bytes")?;
        }
        if let Some(free) = self.free {
            write!(f, ", free {free} bytes")?;
        }
        if let Some(mode) = self.mode {
            write!(f, ", {}", WrongMode(mode))?;
        }
        if self.errno != 0 {
            write!(f, ", {}", ErrnoName(self.errno))?;
        }
        if let (Some(_), Some(tier)) = (self.mode, &self.tier) {
            write!(f, "; to repair: {}", Repair { dir: tier.bytes(), uid: tier.uid })?;
        }
        self.changed.map_or(Ok(()), |changed| write!(f, "{changed}"))
    }
}

impl std::error::Error for Error {}

/// Bytes that need not be text, as people want to read them: text as it is, the rest escaped.
pub(crate) struct Shown<'a>(pub &'a [u8]);

impl fmt::Display for Shown<'_> {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        for chunk in self.0.utf8_chunks() {
            for char in chunk.valid().chars() {
                match char {
                    '"' | '\\' => write!(f, "\\{char}")?,
                    _ if char.is_control() => write!(f, "{}", char.escape_default())?,
                    _ => write!(f, "{char}")?,
                }
            }
            for byte in chunk.invalid() {
                write!(f, "\\x{byte:02x}")?;
            }
        }
        Ok(())
    }
}

/// A path as a shell takes it. What is not printable becomes `\ooo` between `$'` and `'`, which bash, ksh and zsh know.
pub(crate) struct Quoted<'a>(pub &'a [u8]);

impl fmt::Display for Quoted<'_> {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        let plain = |byte: &u8| byte.is_ascii_alphanumeric() || b"/._-+,:@".contains(byte);
        if self.0.iter().all(plain) {
            return write!(f, "{}", Shown(self.0));
        }
        let is_printable =
            |part: std::str::Utf8Chunk| part.invalid().is_empty() && !part.valid().contains(char::is_control);
        if !self.0.utf8_chunks().all(is_printable) {
            write!(f, "$'")?;
            for part in self.0.utf8_chunks() {
                for char in part.valid().chars() {
                    match char {
                        '\\' | '\'' => write!(f, "\\{char}")?,
                        _ if char.is_control() => {
                            char.encode_utf8(&mut [0; 4]).bytes().try_for_each(|byte| write!(f, "\\{byte:03o}"))?;
                        }
                        _ => write!(f, "{char}")?,
                    }
                }
                part.invalid().iter().try_for_each(|byte| write!(f, "\\{byte:03o}"))?;
            }
            return write!(f, "'");
        }
        write!(f, "'")?;
        for (at, part) in self.0.split(|&byte| byte == b'\'').enumerate() {
            if at > 0 {
                write!(f, "'\\''")?;
            }
            write!(f, "{}", String::from_utf8_lossy(part))?;
        }
        write!(f, "'")
    }
}

/// The command that gives the directories of a user on a tier their modes again.
pub(crate) struct Repair<'a> {
    pub dir: &'a [u8],
    pub uid: u32,
}

impl fmt::Display for Repair<'_> {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        write!(f, "chmod -R u=rwX,go=,g-s {}/{}", Quoted(self.dir), BaseName(self.uid))
    }
}

/// The name of a user's directory on a tier: the version of the layout there, and who it is.
pub(crate) struct BaseName(pub u32);

impl fmt::Display for BaseName {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        write!(f, "vfs1-{}", self.0)
    }
}

/// The permission bits that a directory of ours has, beside those that it should have.
pub(crate) struct WrongMode(pub u32);

impl fmt::Display for WrongMode {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        write!(f, "mode {:04o}, expected {OUR_MODE:04o}", self.0)
    }
}

/// An errno by its name, without asking the C library, which may allocate or translate. Every errno of Linux has one; where
/// two names have one number (EWOULDBLOCK, EDEADLOCK, ENOTSUP), the name that `errno` prints.
pub(crate) struct ErrnoName(pub i32);

macro_rules! errno_names {
    ($f:expr, $errno:expr, $($name:ident)*) => {
        match $errno {
            $(libc::$name => write!($f, "{}", stringify!($name)),)*
            other => write!($f, "errno {other}"),
        }
    };
}

impl fmt::Display for ErrnoName {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        errno_names!(f, self.0,
            EPERM ENOENT ESRCH EINTR EIO ENXIO E2BIG ENOEXEC EBADF ECHILD EAGAIN ENOMEM EACCES EFAULT ENOTBLK EBUSY
            EEXIST EXDEV ENODEV ENOTDIR EISDIR EINVAL ENFILE EMFILE ENOTTY ETXTBSY EFBIG ENOSPC ESPIPE EROFS EMLINK
            EPIPE EDOM ERANGE EDEADLK ENAMETOOLONG ENOLCK ENOSYS ENOTEMPTY ELOOP ENOMSG EIDRM ECHRNG EL2NSYNC EL3HLT
            EL3RST ELNRNG EUNATCH ENOCSI EL2HLT EBADE EBADR EXFULL ENOANO EBADRQC EBADSLT EBFONT ENOSTR ENODATA ETIME
            ENOSR ENONET ENOPKG EREMOTE ENOLINK EADV ESRMNT ECOMM EPROTO EMULTIHOP EDOTDOT EBADMSG EOVERFLOW ENOTUNIQ
            EBADFD EREMCHG ELIBACC ELIBBAD ELIBSCN ELIBMAX ELIBEXEC EILSEQ ERESTART ESTRPIPE EUSERS ENOTSOCK
            EDESTADDRREQ EMSGSIZE EPROTOTYPE ENOPROTOOPT EPROTONOSUPPORT ESOCKTNOSUPPORT EOPNOTSUPP EPFNOSUPPORT
            EAFNOSUPPORT EADDRINUSE EADDRNOTAVAIL ENETDOWN ENETUNREACH ENETRESET ECONNABORTED ECONNRESET ENOBUFS
            EISCONN ENOTCONN ESHUTDOWN ETOOMANYREFS ETIMEDOUT ECONNREFUSED EHOSTDOWN EHOSTUNREACH EALREADY
            EINPROGRESS ESTALE EUCLEAN ENOTNAM ENAVAIL EISNAM EREMOTEIO EDQUOT ENOMEDIUM EMEDIUMTYPE ECANCELED ENOKEY
            EKEYEXPIRED EKEYREVOKED EKEYREJECTED EOWNERDEAD ENOTRECOVERABLE ERFKILL EHWPOISON)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The table of `docs/DESIGN.md`, chapter 6, read from the document itself.
    #[test]
    fn each_errno_becomes_the_code_of_the_documents_table() {
        let text = include_str!("../docs/DESIGN.md");
        let table = text.split("| errno | code |\n|---|---|\n").nth(1).unwrap().split("\n\n").next().unwrap();
        let mut named = Vec::new();
        for row in table.lines() {
            let mut cells = row.trim_matches('|').split('|').map(str::trim);
            let (errnos, code) = (cells.next().unwrap(), cells.next().unwrap().split('`').nth(1).unwrap());
            let code = [
                ("VFS_ERR_NO_SPACE", Code::NoSpace),
                ("VFS_ERR_NO_MEMORY", Code::NoMemory),
                ("VFS_ERR_LIMIT", Code::Limit),
                ("VFS_ERR_PERMISSION", Code::Permission),
                ("VFS_ERR_READ_ONLY", Code::ReadOnly),
                ("VFS_ERR_UNSUPPORTED", Code::Unsupported),
                ("VFS_ERR_BUSY", Code::Busy),
                ("VFS_ERR_IO", Code::Io),
            ]
            .into_iter()
            .find_map(|(name, it)| (name == code).then_some(it))
            .unwrap();
            for errno in 1..134 {
                let name = ErrnoName(errno).to_string();
                if errnos.split(", ").any(|listed| listed == name) {
                    named.push(errno);
                    assert_eq!(Fault::os(errno, "testing").code(), code, "{name}");
                } else if errnos == "others" && !named.contains(&errno) {
                    assert_eq!(Fault::os(errno, "testing").code(), Code::Io, "{name} is not in the table");
                }
            }
        }
        assert_eq!(named.len(), 19, "{named:?}");
    }

    /// Against the C library's own header, not against the table that is tried. 41 and 58 are numbers that no errno has.
    #[test]
    fn every_errno_of_linux_has_its_name() {
        let header = ["/usr/include/asm-generic/errno-base.h", "/usr/include/asm-generic/errno.h"];
        let header: String = header.iter().filter_map(|path| std::fs::read_to_string(path).ok()).collect();
        let mut seen = std::collections::BTreeMap::new();
        for line in header.lines() {
            let mut words = line.split_whitespace();
            if let (Some("#define"), Some(name), Some(Ok(number))) =
                (words.next(), words.next(), words.next().map(str::parse::<i32>))
            {
                assert_eq!(ErrnoName(number).to_string(), name);
                seen.insert(number, name.to_owned());
            }
        }
        for errno in 1..=133 {
            let name = ErrnoName(errno).to_string();
            match errno {
                41 | 58 => assert_eq!(name, format!("errno {errno}")),
                _ => assert!(name.starts_with('E') && seen.get(&errno).is_none_or(|seen| *seen == name), "{name}"),
            }
        }
        assert!(seen.is_empty() || seen.len() == 131, "the header names {} numbers", seen.len());
        for (alias, name) in [
            (libc::EWOULDBLOCK, "EAGAIN"),
            (libc::EDEADLOCK, "EDEADLK"),
            (libc::ENOTSUP, "EOPNOTSUPP"),
            (libc::EHWPOISON, "EHWPOISON"),
            (libc::ERESTART, "ERESTART"),
            (libc::ECANCELED, "ECANCELED"),
            (libc::EUCLEAN, "EUCLEAN"),
        ] {
            assert_eq!(ErrnoName(alias).to_string(), name);
        }
        for unknown in [-1, 134, 512, 4095, i32::MAX, i32::MIN] {
            assert_eq!(ErrnoName(unknown).to_string(), format!("errno {unknown}"));
        }
    }

    #[test]
    fn what_lacks_room_and_what_is_final_are_told_from_the_rest() {
        for errno in 1..134 {
            let room = [libc::ENOSPC, libc::EDQUOT, libc::EFBIG, libc::ENOMEM];
            assert_eq!(lacks_room(errno), room.contains(&errno), "{}", ErrnoName(errno));
            let fault = Fault::os(errno, "testing");
            assert_eq!(fault.is_final(), [libc::EMFILE, libc::ENFILE].contains(&errno), "{}", ErrnoName(errno));
            let lost = [libc::ENOENT, libc::ENOTDIR, libc::ESTALE];
            assert_eq!(fault.is_lost_ground(), lost.contains(&errno), "{}", ErrnoName(errno));
            assert!(Fault::last(Code::Io, errno, "testing").is_final());
            assert!(!Fault::last(Code::Io, errno, "testing").is_lost_ground());
        }
    }
}

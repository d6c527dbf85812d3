//! What a filesystem must do so that a tier can be on it. It is tried in a new owner directory, before any bytes are written:
//! a tier that fails refuses to store, with a message that says what it lacks, and the next tier takes the blob.
use super::ground::{Ground, Path, path};
use crate::error::Fault;
use crate::key::KEY_MAX;
use crate::sys::{self, Names, Open, Os};
use crate::tier::time;
use std::ffi::CStr;
use std::os::fd::{AsFd, BorrowedFd};

const LINKS: &str = "trying links and renames on the filesystem";
const LINKS_ACROSS: &str =
    "trying a link between directories, which a sandbox (Landlock: the right to refer) or a project quota may forbid";

const TIMES: &str = "trying whether the filesystem keeps the time that a file is given";
const CASE: &str = "trying names: on this filesystem, letters of another case make the same name";
const TAIL: &str = "trying names: on this filesystem, a dot or a space at the end makes no other name";
const NORMALIZATION: &str = "trying names: on this filesystem, names that differ in Unicode normalization are the same";
const CHANGED: &str = "trying names: this filesystem shortens or changes names";
const COUNTS: &str = "trying links: this filesystem counts other names of a renamed or removed file";
const HIDDEN: &str = "trying names: this filesystem keeps a removed file under another name while it is open";

/// The file that everything is tried with. All names here begin with a backslash, as no key does.
const PROBE: &CStr = c"\\probe";
/// Another link to it.
const PROBE_LINK: &CStr = c"\\probe.link";
/// As long as a key may be.
const LONG: [u8; KEY_MAX + 1] = {
    let mut name = [b'n'; KEY_MAX + 1];
    (name[0], name[KEY_MAX]) = (b'\\', 0);
    name
};
/// Links whose names a filesystem may forbid; but what it takes, it must keep byte for byte.
const ODD_NAMES: [&CStr; 3] = [
    match CStr::from_bytes_with_nul(&LONG) {
        Ok(name) => name,
        Err(_) => c"",
    },
    COMPOSED,
    c"\\\xFF", // not UTF-8
];
/// A letter beyond ASCII, and other spellings of it.
const COMPOSED: &CStr = c"\\\u{e9}";
const DECOMPOSED: &CStr = c"\\e\u{301}";
const CAPITAL: &CStr = c"\\\u{c9}";
/// What must not be found, and what it means if it is.
const OTHER_SPELLINGS: [(&CStr, &str); 3] = [(c"\\PROBE", CASE), (c"\\probe.", TAIL), (c"\\probe ", TAIL)];
const OTHER_LETTERS: [(&CStr, &str); 2] = [(CAPITAL, CASE), (DECOMPOSED, NORMALIZATION)];

/// What was found out.
pub struct Probed {
    /// The process's umask takes bits of 0600 from new files: give them back.
    pub fix_mode: bool,
    /// All times up to this one are kept to the nanosecond; 0: not even those of today.
    pub exact_until_ns: u64,
}

/// The name that the owner `id` uses in `objects/` while it tries links. No key is that, and no other owner uses it.
fn outer_name(id: &[u8]) -> Path {
    path(&[b"\\", id, b"p"])
}

/// Removes the name that the owner `id` has in `objects/` if it was killed while it tried links.
pub fn remove_leftover(ground: &Ground, id: &[u8]) -> Os<()> {
    match sys::unlink(ground.objects.as_fd(), outer_name(id).as_c_str()) {
        Err(libc::ENOENT) => Ok(()),
        answer => answer,
    }
}

/// Whether an errno means that the filesystem does not allow a name, which has nothing to do with the rest of it.
pub fn is_name_forbidden(errno: i32) -> bool {
    matches!(errno, libc::ENAMETOOLONG | libc::EINVAL | libc::EILSEQ)
}

/// Tries the filesystem in `dir`, the new and locked directory of the owner `id`. Where this fails it removes its names; what
/// it cannot remove stays for the reap of that owner, whose directory the caller must then leave.
pub fn probe(ground: &Ground, id: &[u8], dir: BorrowedFd) -> Result<Probed, Fault> {
    let file = sys::open(Some(dir), PROBE, Open::New).map_err(|e| Fault::os(e, LINKS))?;
    let outer_capital = path(&[b"\\", id, b"P"]);
    let probe = Probe { dir, objects: ground.objects.as_fd(), outer: outer_name(id), outer_capital, file };
    let tried = probe.times().and_then(|exact_until_ns| {
        probe.links()?;
        Ok(Probed { fix_mode: probe.names()? != 0o600, exact_until_ns })
    });
    match tried {
        Ok(probed) => Ok(probed),
        Err(fault) => {
            probe.clean_up();
            Err(fault)
        }
    }
}

/// Tries links alone, in the directory of an owner that uses it already.
pub fn probe_links(ground: &Ground, id: &[u8], dir: BorrowedFd) -> Result<(), Fault> {
    let file = sys::open(Some(dir), PROBE, Open::New).map_err(|e| Fault::os(e, LINKS))?;
    let outer_capital = path(&[b"\\", id, b"P"]);
    let probe = Probe { dir, objects: ground.objects.as_fd(), outer: outer_name(id), outer_capital, file };
    let tried = probe.links();
    probe.clean_up();
    tried
}

struct Probe<'a> {
    /// The owner's directory.
    dir: BorrowedFd<'a>,
    objects: BorrowedFd<'a>,
    /// Our name in `objects`.
    outer: Path,
    /// The same in another case: some filesystems fold letters in one directory and not in another.
    outer_capital: Path,
    file: sys::Fd,
}

impl Probe<'_> {
    /// Finds out how the filesystem keeps times. Answers until when it keeps them exactly; 0 where it does not.
    fn times(&self) -> Result<u64, Fault> {
        let kept = |at| {
            let kept = sys::set_modified(self.file.as_fd(), at).and_then(|()| sys::stat_fd(self.file.as_fd()));
            kept.map(|meta| meta.modified_ns).map_err(|e| Fault::os(e, TIMES))
        };
        let now = sys::clock_ns(libc::CLOCK_REALTIME);
        for years in [100, 1] {
            let far = time::years_after(now, years);
            if kept(far)? == far {
                return Ok(far);
            }
        }
        // What it must keep all the same is the time that says that a time is not known.
        let unknown = time::unknown(now);
        match time::is_kept(unknown, kept(unknown)?) {
            true => Ok(0),
            false => Err(Fault::os(libc::EOPNOTSUPP, TIMES)),
        }
    }

    /// Links and renames between the two directories as publishing does. Two names must be one inode with two links at once:
    /// whose a blob is is told by that. A filesystem that knows files by their paths, as many in user space do, says of two
    /// links that they are two files, or knows of the second one late.
    fn links(&self) -> Result<(), Fault> {
        let (dir, objects, outer) = (self.dir, self.objects, self.outer.as_c_str());
        let between = |e| Fault::os(e, if e == libc::EXDEV { LINKS_ACROSS } else { LINKS });
        sys::link(dir, PROBE, objects, outer).map_err(between)?;
        let one = sys::stat(Some(dir), PROBE).map_err(between)?;
        let two = sys::stat(Some(objects), outer).map_err(between)?;
        if one.ident != two.ident || one.links != 2 || two.links != 2 {
            return Err(Fault::os(libc::EOPNOTSUPP, LINKS));
        }
        match sys::stat(Some(objects), self.outer_capital.as_c_str()) {
            Ok(_) => return Err(Fault::os(libc::EOPNOTSUPP, CASE)),
            Err(libc::ENOENT) => {}
            Err(e) => return Err(between(e)),
        }
        sys::unlink(objects, outer).map_err(between)?;
        sys::link(dir, PROBE, dir, PROBE_LINK).map_err(between)?;
        sys::rename(dir, PROBE_LINK, objects, outer).map_err(between)?;
        // A wrong count would make a persistent blob an owned one.
        if sys::stat(Some(objects), outer).map_err(between)?.links != 2 {
            return Err(Fault::os(libc::EOPNOTSUPP, COUNTS));
        }
        sys::unlink(objects, outer).map_err(between)
    }

    /// Removes all names, and finds out meanwhile whether the filesystem takes and lists each name as it is and no other for
    /// it. Answers the file's mode.
    fn names(&self) -> Result<u32, Fault> {
        let (dir, trying) = (self.dir, |e| Fault::os(e, "trying names on the filesystem"));
        let refuse = |what| Err(Fault::os(libc::EOPNOTSUPP, what));
        let mut made = [false; ODD_NAMES.len()];
        for (made, name) in made.iter_mut().zip(ODD_NAMES) {
            *made = match sys::link(dir, PROBE, dir, name) {
                Ok(()) => true,
                Err(e) if is_name_forbidden(e) => false,
                Err(libc::EEXIST) => return refuse(CHANGED),
                Err(e) => return Err(trying(e)),
            };
        }
        let letters = if made[1] { &OTHER_LETTERS[..] } else { &[] };
        for &(name, what) in OTHER_SPELLINGS.iter().chain(letters) {
            match sys::stat(Some(dir), name) {
                Ok(_) => return refuse(what),
                Err(libc::ENOENT) => {}
                Err(e) if is_name_forbidden(e) => {}
                Err(e) => return Err(trying(e)),
            }
        }
        sys::unlink(dir, PROBE).map_err(trying)?; // while it is open
        self.check_listing(&made)?;
        for (_, name) in made.iter().zip(ODD_NAMES).filter(|(made, _)| **made) {
            sys::unlink(dir, name).map_err(trying)?;
        }
        let meta = sys::stat_fd(self.file.as_fd()).map_err(trying)?;
        if meta.links != 0 {
            self.check_listing(&[false; ODD_NAMES.len()])?; // it may have got another name
        }
        Ok(meta.permissions())
    }

    /// Whether these of the odd names are listed, and nothing else.
    fn check_listing(&self, made: &[bool; ODD_NAMES.len()]) -> Result<(), Fault> {
        const LISTING: &str = "listing a new owner directory";
        let listing = |e| if e == libc::ENOMEM { Fault::memory(LISTING) } else { Fault::os(e, LISTING) };
        let mut missing = *made;
        let mut other = false;
        let mut names = Names::open_for_few(self.dir, c".").map_err(listing)?;
        while let Some(name) = names.next().map_err(listing)? {
            match ODD_NAMES.iter().position(|&odd| odd == name) {
                Some(at) if made[at] => missing[at] = false,
                _ => other = true,
            }
        }
        if let Some(at) = missing.iter().position(|&missing| missing) {
            // It may be that the directory was removed.
            sys::stat(Some(self.dir), ODD_NAMES[at]).map_err(listing)?;
            return Err(Fault::os(libc::EOPNOTSUPP, CHANGED));
        }
        if other { Err(Fault::os(libc::EOPNOTSUPP, HIDDEN)) } else { Ok(()) }
    }

    fn clean_up(self) {
        let Probe { dir, objects, outer, file, .. } = self;
        drop(file); // what a filesystem keeps for it goes too
        let outer_gone = matches!(sys::unlink(objects, outer.as_c_str()), Ok(()) | Err(libc::ENOENT));
        for name in [PROBE_LINK].into_iter().chain(ODD_NAMES) {
            let _ = sys::unlink(dir, name);
        }
        // The last name stays where the one outside does: a reaper must find this owner.
        if outer_gone {
            let _ = sys::unlink(dir, PROBE);
        }
    }
}

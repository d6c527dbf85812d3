//! What a filesystem must do so that a tier can be on it. It is tried in a new owner directory, before any bytes are written:
//! a tier that fails refuses to store, with a message that says what it lacks, and the next tier takes the blob.
use super::ground::{Ground, Path, path};
use crate::error::Fault;
use crate::sys::{self, Open, Os};
use std::ffi::CStr;
use std::os::fd::{AsFd, BorrowedFd};

const LINKS: &str = "trying links and renames on the filesystem";
const LINKS_ACROSS: &str =
    "trying a link between directories, which a sandbox (Landlock: the right to refer) or a project quota may forbid";

/// The file that everything is tried with.
const PROBE: &CStr = c"\\probe";
/// Another link to it.
const PROBE_LINK: &CStr = c"\\probe.link";

/// What was found out.
pub struct Probed {
    /// The process's umask takes bits of 0600 from new files: give them back.
    pub fix_mode: bool,
}

/// The name that the owner `id` uses in `objects/` while it tries links. No key is that, and no other owner uses it.
fn outer_name(id: &[u8]) -> Path {
    path(&[b"\\", id])
}

/// Removes the name that the owner `id` has in `objects/` if it was killed while it tried links.
pub fn remove_leftover(ground: &Ground, id: &[u8]) -> Os<()> {
    match sys::unlink(ground.objects.as_fd(), outer_name(id).as_c_str()) {
        Err(libc::ENOENT) => Ok(()),
        answer => answer,
    }
}

/// Tries the filesystem in `dir`, the new and locked directory of the owner `id`. Where this fails it removes its names; what
/// it cannot remove stays for the reap of that owner, whose directory the caller must then leave.
pub fn probe(ground: &Ground, id: &[u8], dir: BorrowedFd) -> Result<Probed, Fault> {
    let file = sys::open(Some(dir), PROBE, Open::New).map_err(|e| Fault::os(e, LINKS))?;
    let probe = Probe { dir, objects: ground.objects.as_fd(), outer: outer_name(id), file };
    let tried = probe.links();
    if tried.is_err() {
        probe.clean_up();
    }
    tried?;
    let mode = sys::stat_fd(probe.file.as_fd()).map(|meta| meta.permissions());
    sys::unlink(dir, PROBE).map_err(|e| Fault::os(e, LINKS))?;
    Ok(Probed { fix_mode: mode.map_err(|e| Fault::os(e, LINKS))? != 0o600 })
}

struct Probe<'a> {
    /// The owner's directory.
    dir: BorrowedFd<'a>,
    objects: BorrowedFd<'a>,
    /// Our name in `objects`.
    outer: Path,
    file: sys::Fd,
}

impl Probe<'_> {
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
        sys::unlink(objects, outer).map_err(between)?;
        sys::link(dir, PROBE, dir, PROBE_LINK).map_err(between)?;
        sys::rename(dir, PROBE_LINK, objects, outer).map_err(between)?;
        sys::unlink(objects, outer).map_err(between)
    }

    fn clean_up(&self) {
        let outer_gone = matches!(sys::unlink(self.objects, self.outer.as_c_str()), Ok(()) | Err(libc::ENOENT));
        for name in [PROBE_LINK, PROBE] {
            // The last name stays where the one outside does: a reaper must find this owner.
            if outer_gone || name != PROBE {
                let _ = sys::unlink(self.dir, name);
            }
        }
    }
}

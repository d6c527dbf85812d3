//! Other users' stores: who has some on a tier, and becoming another user to work on theirs.
//!
//! vfsctl gives up its own rights for good before it opens anything. So a store is as that user would have made it, and
//! no file that this user cannot open is read or written, whatever a link leads to.
use crate::failure::{Answer, Failure};
use crate::show;
use nix::errno::Errno;
use nix::unistd::{self, Gid, Uid, User};
use serde::Serialize;
use std::ffi::{CString, OsStr};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::{fs, io};

/// What a directory of the library's begins with; the user's number follows.
const PREFIX: &str = "vfs1-";
/// The group of a user who is in no database: nobody's (`overflowgid`).
const NO_GROUP: Gid = Gid::from_raw(65_534);

/// A user who has stores on a tier, as `--json` tells it. Fields are only ever added.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub struct Other {
    pub uid: u32,
    pub name: Option<String>,
}

impl std::fmt::Display for Other {
    fn fmt(&self, out: &mut std::fmt::Formatter) -> std::fmt::Result {
        match &self.name {
            Some(name) => write!(out, "{name} ({})", self.uid),
            None => write!(out, "{}", self.uid),
        }
    }
}

/// The other users who have stores in a tier's directory. Only root is told: no one else could look at them.
pub fn others(tier: &Path) -> Vec<Other> {
    let me = unistd::geteuid();
    if !me.is_root() {
        return Vec::new();
    }
    let entries = fs::read_dir(tier).into_iter().flatten().flatten();
    let uid_of = |name: &OsStr| name.to_str()?.strip_prefix(PREFIX)?.parse().ok();
    let named = entries.filter_map(|entry| Some((uid_of(&entry.file_name())?, entry.path())));
    let theirs = named.filter(|(uid, path)| *uid != me.as_raw() && has_store(path, *uid));
    let mut others: Vec<_> = theirs.map(|(uid, _)| Other { uid, name: name_of(uid) }).collect();
    others.sort();
    others
}

/// Whether a directory is really this user's, and a store is in it. What is not a store begins with a backslash.
fn has_store(dir: &Path, uid: u32) -> bool {
    if !fs::symlink_metadata(dir).is_ok_and(|meta| meta.is_dir() && meta.uid() == uid) {
        return false;
    }
    let entries = fs::read_dir(dir).into_iter().flatten().flatten();
    entries.filter(|entry| entry.file_type().is_ok_and(|kind| kind.is_dir())).any(|entry| {
        let name = entry.file_name();
        !name.as_bytes().starts_with(b"\\")
    })
}

fn name_of(uid: u32) -> Option<String> {
    let user = User::from_uid(Uid::from_raw(uid)).ok().flatten()?;
    Some(show::text(user.name.as_bytes()))
}

/// A list of users in words.
pub fn list(others: &[Other]) -> String {
    others.iter().map(Other::to_string).collect::<Vec<_>>().join(", ")
}

/// Who a name or a number means, by the user database; a number need not be in it.
fn look_up(name: &OsStr) -> Answer<(Uid, Option<User>)> {
    let shown = format!("--user {}", show::text(name.as_bytes()));
    let looking = |errno: Errno| Failure::io(format!("{shown}: the user database"), io::Error::from(errno));
    let found = match name.to_str() {
        Some(name) => User::from_name(name).map_err(looking)?,
        None => None,
    };
    if let Some(user) = found {
        return Ok((user.uid, Some(user)));
    }
    let digits = name.to_str().filter(|name| !name.is_empty() && name.bytes().all(|byte| byte.is_ascii_digit()));
    // The last number means "no change" to the kernel.
    match digits.and_then(|digits| digits.parse().ok()).filter(|&uid| uid != u32::MAX) {
        Some(uid) => Ok((Uid::from_raw(uid), User::from_uid(Uid::from_raw(uid)).map_err(looking)?)),
        None => Err(Failure::usage(format!("{shown}: no such user"))),
    }
}

/// From here on this process is that user's, with that user's groups and no way back.
pub fn become_user(name: &OsStr) -> Answer {
    let (uid, user) = look_up(name)?;
    if uid == unistd::geteuid() && uid == unistd::getuid() {
        return Ok(());
    }
    let shown = show::text(name.as_bytes());
    if !unistd::getuid().is_root() || !unistd::geteuid().is_root() {
        let error = io::Error::from(Errno::EPERM);
        return Err(Failure::io(format!("--user {shown}: only root may work on another user's stores"), error));
    }
    let changed = match user {
        Some(user) => CString::new(user.name).map_err(|_| Errno::EINVAL).and_then(|name| {
            unistd::initgroups(&name, user.gid)?;
            unistd::setresgid(user.gid, user.gid, user.gid)
        }),
        None => unistd::setgroups(&[NO_GROUP]).and_then(|()| unistd::setresgid(NO_GROUP, NO_GROUP, NO_GROUP)),
    };
    match changed.and_then(|()| unistd::setresuid(uid, uid, uid)) {
        // Where a security bit keeps capabilities over the change, they would still be those of root.
        Ok(()) if unistd::setuid(Uid::from_raw(0)).is_ok() => {
            Err(Failure::io(format!("--user {shown}: giving up the rights of root"), io::Error::from(Errno::EPERM)))
        }
        Ok(()) => Ok(()),
        Err(Errno::EINVAL) => {
            Err(Failure::usage(format!("--user {shown}: this user namespace does not have that user")))
        }
        Err(errno) => Err(Failure::io(format!("--user {shown}: becoming that user"), io::Error::from(errno))),
    }
}

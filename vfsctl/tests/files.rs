//! What `get` and `generate` do to files that are there: what a file is to others stays as `cp` leaves it, and links
//! that others planted lead nowhere.
mod common;

use common::{Ground, Run};
use rustix::fs::XattrFlags;
use std::fs::{self, File, Permissions};
use std::io::Read;
use std::os::unix::fs::{MetadataExt, OpenOptionsExt, PermissionsExt, chown, symlink};
use std::os::unix::net::UnixListener;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Command, Stdio};

const BIG: usize = 32 << 20;
/// Two users who are nobody else.
const USER: u32 = 54_321;
const OTHER: u32 = 54_322;
const ACL: &str = "system.posix_acl_access";
const DEFAULT_ACL: &str = "system.posix_acl_default";

fn chmod(path: &Path, mode: u32) {
    fs::set_permissions(path, Permissions::from_mode(mode)).unwrap();
}

fn set_attribute(path: &Path, name: &str, value: &[u8]) {
    rustix::fs::setxattr(path, name, value, XattrFlags::empty()).unwrap();
}

fn attribute(path: &Path, name: &str) -> Option<Vec<u8>> {
    let mut value = vec![0; 4096];
    let len = rustix::fs::getxattr(path, name, &mut value[..]).ok()?;
    value.truncate(len);
    Some(value)
}

/// An access control list that gives one user these rights, and owner, group and others the ones of a mode. The mask
/// is that user's.
fn acl(user: u32, rights: u16, mode: u16) -> Vec<u8> {
    const NONE: u32 = u32::MAX;
    let entries = [
        (0x01, mode >> 6 & 7, NONE),
        (0x02, rights, user),
        (0x04, mode >> 3 & 7, NONE),
        (0x10, rights, NONE),
        (0x20, mode & 7, NONE),
    ];
    let mut list = 2_u32.to_le_bytes().to_vec();
    for (tag, rights, id) in entries {
        let tag: u16 = tag;
        list.extend([&tag.to_le_bytes()[..], &rights.to_le_bytes(), &id.to_le_bytes()].concat());
    }
    list
}

/// What a file is to others, but for its contents.
#[derive(Debug, PartialEq)]
struct Kept {
    owner: (u32, u32),
    mode: u32,
    links: u64,
    acl: Option<Vec<u8>>,
    note: Option<Vec<u8>>,
}

fn kept(path: &Path) -> Kept {
    let meta = fs::symlink_metadata(path).unwrap();
    Kept {
        owner: (meta.uid(), meta.gid()),
        mode: meta.mode(),
        links: meta.nlink(),
        acl: attribute(path, ACL),
        note: attribute(path, "user.note"),
    }
}

fn no_drafts(dir: &Path) -> bool {
    common::none_begins(dir, ".vfsctl") && common::none_begins(dir, ".tmp")
}

/// The draft was readable by all until it took the place of the file.
#[test]
fn no_byte_of_a_private_file_is_open_meanwhile() {
    let ground = Ground::new();
    let bytes = common::bytes(BIG);
    ground.keep("key", &bytes);
    let (dir, file) = (ground.path("open"), ground.path("open/file"));
    fs::create_dir(&dir).unwrap();
    // What the directory gives to new files by itself is not the old file's either.
    set_attribute(&dir, DEFAULT_ACL, &acl(USER, 7, 0o777));
    for mode in [0o600, 0o640, 0o400 | 0o200] {
        let mut seen = 0;
        for _ in 0..100 {
            let _ = fs::remove_file(&file);
            File::create(&file).unwrap();
            rustix::fs::removexattr(&file, ACL).unwrap();
            chmod(&file, mode);
            let before = kept(&file);
            let mut child = ground.command(&["get", "key", "open/file"]).spawn().unwrap();
            while child.try_wait().unwrap().is_none() {
                for entry in fs::read_dir(&dir).unwrap().map(Result::unwrap) {
                    let Ok(meta) = entry.metadata() else { continue }; // it has its name by now
                    let allowed = if meta.len() == 0 || meta.len() == BIG as u64 { mode } else { 0o600 };
                    assert_eq!(meta.mode() & 0o777 & !allowed, 0, "{:?}: {:o}", entry.path(), meta.mode());
                    seen += usize::from(entry.path() != file && meta.len() > 0);
                }
            }
            assert_eq!(Run::of(child.wait_with_output().unwrap()).text(), "");
            assert_eq!(kept(&file), before);
            assert!(fs::read(&file).unwrap() == bytes);
            if seen > 0 {
                break;
            }
        }
        assert!(seen > 0, "no draft was met while it was written");
    }
}

/// A user's set-user-ID file became one of root's.
#[test]
fn a_file_is_to_others_what_cp_leaves() {
    if !common::is_root("a_file_is_to_others_what_cp_leaves") {
        return;
    }
    let ground = Ground::new();
    ground.keep("key", b"bytes");
    fs::write(ground.path("bytes"), b"bytes").unwrap();
    assert_eq!(ground.command_as(USER, &["put", "key", "bytes"]).status().unwrap().code(), Some(0));
    let modes = [0o600, 0o644, 0o666, 0o777, 0o1777, 0o2755, 0o2745, 0o4755, 0o4711, 0o4777, 0o6777];
    for runner in [0, USER] {
        for owner in [(0, 0), (0, USER), (USER, USER), (USER, 0), (USER, OTHER), (OTHER, OTHER), (OTHER, USER)] {
            for mode in modes {
                let [got, copied] = ["got", "copied"].map(|name| {
                    let path = ground.path(name);
                    let _ = fs::remove_file(&path);
                    fs::write(&path, b"before").unwrap();
                    chown(&path, Some(owner.0), Some(owner.1)).unwrap();
                    chmod(&path, mode);
                    path
                });
                let cp = || {
                    let mut cp = Command::new("cp");
                    cp.args(["bytes", "copied"]).current_dir(ground.dir.path()).stderr(Stdio::null());
                    cp.uid(runner).gid(runner).status().unwrap().success()
                };
                let (run, cp) = (ground.run_as(runner, &["get", "key", "got"]), cp());
                let what = format!("{runner} over {owner:?} {mode:o}: {run:?}");
                assert_eq!(run.status, Some(if cp { 0 } else { 5 }), "{what}");
                assert_eq!(kept(&got), kept(&copied), "{what}");
                assert_eq!(fs::read(&got).unwrap(), fs::read(&copied).unwrap(), "{what}");
            }
        }
    }
    assert!(no_drafts(ground.dir.path()));
}

#[test]
fn a_file_that_is_replaced_keeps_its_attributes() {
    let ground = Ground::new();
    ground.keep("key", b"bytes");
    let (dir, file) = (ground.path("dir"), ground.path("dir/file"));
    fs::create_dir(&dir).unwrap();
    for default in [None, Some(acl(OTHER, 7, 0o777))] {
        for list in [None, Some(acl(USER, 4, 0o640))] {
            let _ = fs::remove_file(&file);
            fs::write(&file, b"before").unwrap();
            let _ = rustix::fs::removexattr(&file, ACL);
            match &list {
                Some(list) => set_attribute(&file, ACL, list),
                None => chmod(&file, 0o640),
            }
            set_attribute(&file, "user.note", b"mine");
            if let Some(default) = &default {
                set_attribute(&dir, DEFAULT_ACL, default);
            }
            let (before, inode) = (kept(&file), fs::metadata(&file).unwrap().ino());
            assert_eq!(ground.run(&["get", "key", "dir/file"]).text(), "");
            assert_eq!(kept(&file), before, "{default:?} {list:?}");
            assert_ne!(fs::metadata(&file).unwrap().ino(), inode, "it was replaced whole");
            assert_eq!(fs::read(&file).unwrap(), b"bytes");
        }
    }
    // A new file has what its directory gives it, as any other.
    assert_eq!(ground.run(&["get", "key", "dir/new"]).text(), "");
    File::create(ground.path("dir/other")).unwrap();
    assert_eq!(kept(&ground.path("dir/new")), kept(&ground.path("dir/other")));
    assert!(kept(&ground.path("dir/new")).acl.is_some());
}

#[test]
fn capabilities_of_a_file_end_with_its_contents() {
    if !common::is_root("capabilities_of_a_file_end_with_its_contents") {
        return;
    }
    let ground = Ground::new();
    ground.keep("key", b"bytes");
    // Effective CAP_NET_RAW, in the second version of `vfs_cap_data`.
    let mut value = 0x0200_0001_u32.to_le_bytes().to_vec();
    value.extend((1_u32 << 13).to_le_bytes());
    value.resize(20, 0);
    let (one, two) = (ground.path("one"), ground.path("two"));
    for (links, inode_stays) in [(1, false), (2, true)] {
        let _ = [&one, &two].map(fs::remove_file);
        fs::write(&one, b"before").unwrap();
        chmod(&one, 0o755);
        if links == 2 {
            fs::hard_link(&one, &two).unwrap();
        }
        set_attribute(&one, "security.capability", &value);
        let inode = fs::metadata(&one).unwrap().ino();
        assert_eq!(ground.run(&["get", "key", "one"]).text(), "");
        assert_eq!(attribute(&one, "security.capability"), None, "{links}");
        assert_eq!(fs::metadata(&one).unwrap().mode() & 0o7777, 0o755);
        assert_eq!(fs::metadata(&one).unwrap().ino() == inode, inode_stays);
    }
}

#[test]
fn the_names_of_a_file_stay_names_of_one_file() {
    let ground = Ground::new();
    ground.keep("key", b"bytes");
    fs::write(ground.path("one"), b"before, and longer").unwrap();
    fs::hard_link(ground.path("one"), ground.path("two")).unwrap();
    symlink("two", ground.path("link")).unwrap();
    let before = kept(&ground.path("one"));
    assert_eq!(ground.run(&["get", "key", "link"]).text(), "");
    assert_eq!(kept(&ground.path("one")), before);
    assert_eq!(fs::read(ground.path("one")).unwrap(), b"bytes");
    assert_eq!(fs::metadata(ground.path("one")).unwrap().ino(), fs::metadata(ground.path("two")).unwrap().ino());
}

/// `rename` over what a planted link led to, or a file made there, met no protection of the kernel.
#[test]
fn a_link_that_another_user_planted_is_not_followed() {
    if !common::is_root("a_link_that_another_user_planted_is_not_followed") {
        return;
    }
    let ground = Ground::new();
    ground.keep("key", b"bytes");
    fs::create_dir(ground.path("root")).unwrap();
    fs::create_dir(ground.path("shared")).unwrap();
    chmod(&ground.path("shared"), 0o1777);
    fs::write(ground.path("root/precious"), b"precious").unwrap();
    let link = |to: &str, name: &str, uid: u32| {
        let path = ground.path(name);
        let _ = fs::remove_file(&path);
        symlink(to, &path).unwrap();
        std::os::unix::fs::lchown(&path, Some(uid), Some(uid)).unwrap();
    };
    link("../root/precious", "shared/there", USER);
    link("../root/new", "shared/nothing", USER);
    link("there", "shared/own", 0); // a link of one's own to another's
    link("shared/nothing", "outside", 0);
    link(ground.path("root/precious").to_str().unwrap(), "shared/absolute", USER);
    link("/dev/null", "shared/device", USER);
    link("/dev/stdout", "shared/stream", USER);
    for name in
        ["shared/there", "shared/nothing", "shared/own", "outside", "shared/absolute", "shared/device", "shared/stream"]
    {
        ground.run(&["get", "key", name]).fails(5, &format!("{name}: Permission denied"));
        ground.run(&["put", "new", name]).fails(5, &format!("{name}: Permission denied"));
    }
    assert_eq!(fs::read(ground.path("root/precious")).unwrap(), b"precious");
    assert_eq!(fs::read_dir(ground.path("root")).unwrap().count(), 1);
    assert_eq!(fs::read_dir(ground.path("shared")).unwrap().count(), 6);
    // Whose link it is, or the directory's owner's, and where nobody else can plant one: as the kernel has it.
    let followed = |name: &str| {
        fs::write(ground.path("root/precious"), b"precious").unwrap();
        assert_eq!(ground.run(&["get", "key", name]).text(), "");
        assert_eq!(fs::read(ground.path("root/precious")).unwrap(), b"bytes", "{name}");
    };
    link("../root/precious", "shared/mine", 0);
    followed("shared/mine");
    chown(ground.path("shared"), Some(USER), None).unwrap();
    followed("shared/there");
    chown(ground.path("shared"), Some(0), None).unwrap();
    for mode in [0o777, 0o1775] {
        chmod(&ground.path("shared"), mode);
        followed("shared/there");
    }
    // The user's own.
    chmod(&ground.path("shared"), 0o1777);
    fs::write(ground.path("shared/theirs"), b"before").unwrap();
    chown(ground.path("shared/theirs"), Some(USER), Some(USER)).unwrap();
    link("theirs", "shared/there", USER);
    fs::write(ground.path("in"), b"bytes").unwrap();
    assert_eq!(ground.run_as(USER, &["put", "key", "in"]).text(), "");
    assert_eq!(ground.run_as(USER, &["get", "key", "shared/there"]).text(), "");
    assert_eq!(fs::read(ground.path("shared/theirs")).unwrap(), b"bytes");
}

/// Between the look at the target and the last step, another user has time.
#[test]
fn a_link_that_is_planted_meanwhile_is_not_followed() {
    if !common::is_root("a_link_that_is_planted_meanwhile_is_not_followed") {
        return;
    }
    if !common::has("strace") {
        return common::skip("strace is not there");
    }
    let ground = Ground::new();
    ground.keep("key", b"bytes");
    let (shared, precious) = (ground.path("shared"), ground.path("precious"));
    fs::create_dir(&shared).unwrap();
    chmod(&shared, 0o1777);
    fs::write(&precious, b"precious").unwrap();
    let target = shared.join("target");
    for there in [false, true] {
        let _ = fs::remove_file(&target);
        if there {
            fs::write(&target, b"before").unwrap();
        }
        let inner = ground.command(&["get", "key", "shared/target"]);
        let mut strace = Command::new("strace");
        strace.args(["-f", "-e", "quiet=all", "-o", "/dev/null"]);
        strace.args(["-e", "inject=renameat,renameat2:delay_enter=1000000"]);
        strace.arg(inner.get_program()).args(inner.get_args()).current_dir(ground.dir.path());
        let child = strace.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        common::until("the draft", || {
            let drafts = fs::read_dir(&shared).unwrap().map(|entry| entry.unwrap());
            drafts
                .filter(|entry| entry.path() != target)
                .any(|draft| draft.metadata().unwrap().len() == 5)
                .then_some(())
        });
        let _ = fs::remove_file(&target);
        symlink(&precious, &target).unwrap();
        std::os::unix::fs::lchown(&target, Some(USER), Some(USER)).unwrap();
        let run = common::end(child);
        assert_eq!(fs::read(&precious).unwrap(), b"precious", "{run:?}");
        let is_file = fs::symlink_metadata(&target).unwrap().is_file();
        match run.status {
            Some(0) => assert!(is_file && fs::read(&target).unwrap() == b"bytes", "{run:?}"),
            _ => run.fails(5, "shared/target: Permission denied"),
        }
        assert!(no_drafts(&shared));
    }
}

#[test]
fn a_filesystem_without_exclusive_renames_will_do() {
    if !common::has("strace") {
        return common::skip("strace is not there");
    }
    let ground = Ground::new();
    ground.keep("key", b"bytes");
    for inject in ["renameat2:error=EINVAL", "renameat2,linkat:error=EPERM", "renameat2,linkat:error=ENOSYS"] {
        let _ = fs::remove_file(ground.path("new"));
        let run = ground.shell(&format!("strace -f -e quiet=all -o /dev/null -e inject={inject} $V get key new"));
        assert_eq!(run.text(), "", "{inject}");
        assert_eq!(fs::read(ground.path("new")).unwrap(), b"bytes");
        assert!(no_drafts(ground.dir.path()));
    }
}

/// What `fs.protected_regular` and `fs.protected_fifos` of this machine refuse to a shell, they refuse to vfsctl.
#[test]
fn anothers_file_in_a_shared_directory_as_a_shell() {
    if !common::is_root("anothers_file_in_a_shared_directory_as_a_shell") {
        return;
    }
    let ground = Ground::new();
    ground.keep("key", b"bytes");
    let shared = ground.path("shared");
    fs::create_dir(&shared).unwrap();
    chmod(&shared, 0o1777);
    for name in ["file", "same", "fifo"] {
        let path = shared.join(name);
        match name {
            "fifo" => rustix::fs::mkfifoat(rustix::fs::CWD, &path, 0o666.into()).unwrap(),
            _ => fs::write(&path, b"before").unwrap(),
        }
        chown(&path, Some(USER), Some(USER)).unwrap();
        chmod(&path, 0o666);
    }
    let _reader = File::options().read(true).custom_flags(libc::O_NONBLOCK).open(shared.join("fifo")).unwrap();
    for (name, twin) in [("shared/file", "shared/same"), ("shared/fifo", "shared/fifo")] {
        let shell = ground.shell(&format!("printf bytes > {twin}"));
        let run = ground.run(&["get", "key", name]);
        match shell.status {
            Some(0) => assert_eq!(run.text(), ""),
            _ => run.fails(5, "Permission denied"),
        }
    }
    assert_eq!(kept(&shared.join("file")), kept(&shared.join("same")));
    assert_eq!(fs::read(shared.join("file")).unwrap(), fs::read(shared.join("same")).unwrap());
}

/// Any failure of the look at the target was taken for "nothing is there".
#[test]
fn only_what_is_missing_is_made() {
    let ground = Ground::new();
    ground.keep("key", b"bytes");
    fs::write(ground.path("file"), b"before").unwrap();
    let long = "n".repeat(300);
    symlink("file/", ground.path("slash")).unwrap();
    for (name, status, why) in [
        ("file/below", 6, "Not a directory"),
        ("file/", 6, "Not a directory"),
        ("slash", 6, "Not a directory"),
        ("new/", 6, "Is a directory"),
        (".", 6, "Is a directory"),
        ("/", 6, "Is a directory"),
        ("no/file", 6, "No such file or directory"),
        (&long, 6, "File name too long"),
    ] {
        ground.run(&["get", "key", name]).fails(status, why);
        assert!(ground.run(&["put", "key", name, "-r"]).status != Some(0), "{name}");
    }
    if !common::has("strace") {
        return common::skip("strace is not there");
    }
    // A filesystem that fails: each look at the file does.
    let file = ground.path("file");
    for error in ["EIO", "EACCES", "ESTALE", "EOVERFLOW"] {
        let inner = ground.command(&["get", "key", "file"]);
        let mut strace = Command::new("strace");
        strace
            .args(["-f", "-o", "/dev/null", "-e", "quiet=attach,exit,path-resolution", "-P"])
            .arg(&file)
            .args(["-P", "file"]);
        strace
            .args(["-e", &format!("inject=stat,lstat,newfstatat,statx,open,openat,readlink,readlinkat:error={error}")]);
        strace.arg(inner.get_program()).args(inner.get_args()).current_dir(ground.dir.path()).env_remove("VFS_TIERS");
        let run = Run::of(strace.output().unwrap());
        run.fails(if error == "EACCES" { 5 } else { 6 }, "file: ");
        assert_eq!(fs::read(&file).unwrap(), b"before", "{error}");
    }
    assert!(no_drafts(ground.dir.path()));
}

#[test]
fn what_cannot_be_replaced_is_written_in_place() {
    if !common::is_root("what_cannot_be_replaced_is_written_in_place") {
        return;
    }
    let ground = Ground::new();
    ground.keep("root's", b"bytes");
    fs::write(ground.path("in"), b"bytes").unwrap();
    assert_eq!(ground.run_as(USER, &["put", "key", "in"]).text(), "");
    let dir = ground.path("closed");
    fs::create_dir(&dir).unwrap();
    let file = dir.join("file");
    fs::write(&file, b"before").unwrap();
    chown(&file, Some(USER), Some(USER)).unwrap();
    chmod(&file, 0o600);
    let (before, inode) = (kept(&file), fs::metadata(&file).unwrap().ino());
    // No right to the directory, so that no draft can be in it.
    assert_eq!(ground.run_as(USER, &["get", "key", "closed/file"]).text(), "");
    assert_eq!((kept(&file), fs::metadata(&file).unwrap().ino()), (before, inode));
    assert_eq!(fs::read(&file).unwrap(), b"bytes");
    ground.run_as(USER, &["get", "key", "closed/new"]).fails(5, "closed/new: Permission denied");
    // A directory in which a draft can be made, but the name of a file not be given to another: others' are sticky.
    // The directory is the file's owner's, so that `fs.protected_regular` has nothing against it.
    chown(&dir, Some(OTHER), Some(OTHER)).unwrap();
    chmod(&dir, 0o1777);
    fs::write(&file, b"before").unwrap();
    chown(&file, Some(OTHER), Some(USER)).unwrap();
    chmod(&file, 0o660);
    assert_eq!(ground.run_as(USER, &["get", "key", "closed/file"]).text(), "");
    assert_eq!(fs::metadata(&file).unwrap().uid(), OTHER);
    assert_eq!(fs::read(&file).unwrap(), b"bytes");
    // No right to the file itself is a refusal, though the directory would allow to replace it.
    chmod(&dir, 0o777);
    fs::write(&file, b"before").unwrap();
    for (owner, mode) in [(USER, 0o444), (OTHER, 0o644)] {
        chown(&file, Some(owner), Some(owner)).unwrap();
        chmod(&file, mode);
        ground.run_as(USER, &["get", "key", "closed/file"]).fails(5, "closed/file: Permission denied");
        assert_eq!(fs::read(&file).unwrap(), b"before");
    }
    assert!(no_drafts(&dir));
}

/// A directory in which names can be made and none be removed or changed, as one for logs.
#[test]
fn in_an_append_only_directory_no_draft_is_left() {
    if !common::is_root("in_an_append_only_directory_no_draft_is_left") {
        return;
    }
    let ground = Ground::new();
    ground.keep("key", b"bytes");
    fs::create_dir(ground.path("log")).unwrap();
    fs::write(ground.path("log/old"), b"before, and longer").unwrap();
    let inode = fs::metadata(ground.path("log/old")).unwrap().ino();
    if ground.shell("chattr +a log").status != Some(0) {
        return common::skip("chattr +a is not possible here");
    }
    let run = ground.shell("for file in new old; do umask 027; $V get key log/$file || exit; done");
    let failed = ground.shell("ulimit -f 0; $V get key log/more");
    ground.shell("chattr -a log").text();
    assert_eq!(run.text(), "");
    for (name, mode) in [("new", 0o640), ("old", 0o644)] {
        let file = ground.path("log").join(name);
        assert_eq!(fs::read(&file).unwrap(), b"bytes", "{name}");
        assert_eq!((kept(&file).mode & 0o7777, kept(&file).links), (mode, 1), "{name}");
    }
    assert_eq!(fs::metadata(ground.path("log/old")).unwrap().ino(), inode);
    // The name that was made stays, as it does for `cp`.
    failed.fails(4, "log/more: File too large");
    assert!(no_drafts(&ground.path("log")));
}

/// Flags of a file, as `chattr` sets them, are none of its extended attributes.
#[test]
fn a_file_that_is_written_to_keeps_its_flags() {
    if !common::is_root("a_file_that_is_written_to_keeps_its_flags") {
        return;
    }
    let ground = Ground::new();
    ground.keep("key", b"bytes");
    fs::write(ground.path("file"), b"before").unwrap();
    if ground.shell("chattr +dA file").status != Some(0) {
        return common::skip("chattr +dA is not possible here");
    }
    let flags = || ground.shell("lsattr file").text();
    let before = flags();
    assert_eq!(ground.run(&["get", "key", "file"]).text(), "");
    assert_eq!(flags(), before);
    assert_eq!(fs::read(ground.path("file")).unwrap(), b"bytes");
    // Neither of these lets anybody write.
    for flag in ["a", "i"] {
        ground.shell(&format!("chattr +{flag} file")).text();
        let run = ground.run(&["get", "key", "file"]);
        ground.shell(&format!("chattr -{flag} file")).text();
        run.fails(5, "file: Operation not permitted");
    }
}

/// Where no file can be made, one that is there can still be written to, as the kernel's own files are.
#[test]
fn a_file_beside_which_none_can_be_made_is_written() {
    let ground = Ground::new();
    ground.keep("key", b"0\n");
    // In procfs nothing can be made, and it says that nothing is there.
    assert_eq!(ground.shell("$V get key /proc/self/oom_score_adj").text(), "");
    if !common::is_root("a_file_beside_which_none_can_be_made_is_written") {
        return;
    }
    let line = "mount -t tmpfs -o nr_inodes=2,size=64k none second && echo before > second/file && \
                $V get key second/file && cat second/file && ls -A second";
    let run = ground.shell(&format!("unshare -m --propagation private sh -c '{line}'"));
    assert_eq!(run.text(), "0\nfile\n");
}

#[test]
fn a_file_that_is_mounted_is_written_in_place() {
    if !common::is_root("a_file_that_is_mounted_is_written_in_place") {
        return;
    }
    let ground = Ground::new();
    ground.keep("key", b"bytes");
    for name in ["below", "mounted"] {
        fs::write(ground.path(name), b"before").unwrap();
    }
    let run = ground.shell(
        "unshare -m sh -ec 'mount --make-rprivate /; mount --bind below mounted; $V get key mounted; cat mounted
         mount -o remount,bind,ro mounted; $V get key mounted || echo $?'",
    );
    assert_eq!(run.status, Some(0), "{run:?}");
    assert_eq!(run.out, b"bytes5\n");
    assert!(run.err.contains("mounted: Read-only file system"), "{run:?}");
    assert_eq!(fs::read(ground.path("below")).unwrap(), b"bytes");
    assert_eq!(fs::read(ground.path("mounted")).unwrap(), b"before");
    assert!(no_drafts(ground.dir.path()));
}

#[test]
fn a_program_that_runs_is_not_overwritten() {
    let ground = Ground::new();
    ground.keep("key", b"bytes");
    let sleep = ground.shell("command -v sleep").text();
    fs::copy(sleep.trim_end(), ground.path("program")).unwrap();
    let mut child = Command::new(ground.path("program")).arg("60").spawn().unwrap();
    ground.run(&["get", "key", "program"]).fails(6, "program: Text file busy");
    child.kill().unwrap();
    child.wait().unwrap();
}

#[test]
fn a_failure_in_place_is_told_as_such() {
    if !common::has("strace") {
        return common::skip("strace is not there");
    }
    let ground = Ground::new();
    ground.keep("key", &common::bytes(3 << 20));
    fs::write(ground.path("file"), b"before").unwrap();
    fs::hard_link(ground.path("file"), ground.path("second-name")).unwrap();
    let call = "strace -f -e quiet=all -o /dev/null -P file -e inject=write:error=EIO:when=2";
    let run = ground.shell(&format!("{call} $V get key file"));
    run.fails(6, "file: Input/output error; it was written in place, and has a part of the bytes");
    assert!(fs::read(ground.path("file")).unwrap() == common::bytes(1 << 20));
}

#[test]
fn want_of_room_in_place_leaves_the_old_file() {
    let ground = Ground::new();
    ground.keep("key", &common::bytes(3 << 20));
    fs::write(ground.path("file"), b"before").unwrap();
    fs::hard_link(ground.path("file"), ground.path("second-name")).unwrap();
    let run = ground.shell("ulimit -f 64; $V get key file");
    run.fails(4, "vfsctl: file: File too large\n");
    assert_eq!(fs::read(ground.path("file")).unwrap(), b"before");
    if !common::is_root("want_of_room_in_place_leaves_the_old_file") {
        return;
    }
    let run = ground.shell(
        "mkdir small; unshare -m sh -ec 'mount --make-rprivate /; mount -t tmpfs -o size=1m tmpfs small; cd small
         printf before > file; ln file second-name; ! $V get key file; cat file; test $(df --output=used file | tail -1) = 4'",
    );
    assert_eq!((run.status, run.out.as_slice()), (Some(0), &b"before"[..]), "{run:?}");
    assert_eq!(run.err, "vfsctl: file: No space left on device\n");
}

#[test]
fn an_interrupt_in_place_is_told_as_such() {
    let ground = Ground::new();
    let bytes = common::bytes(BIG);
    ground.keep("key", &bytes);
    // The moment must be met while the file is written, which may take some tries.
    let met = (0..100).any(|_| {
        for name in ["file", "second-name"] {
            let _ = fs::remove_file(ground.path(name));
        }
        fs::write(ground.path("file"), b"before").unwrap();
        fs::hard_link(ground.path("file"), ground.path("second-name")).unwrap();
        let child = ground.command(&["get", "key", "file"]).spawn().unwrap();
        common::until("a part of the file", || (fs::metadata(ground.path("file")).unwrap().len() > 6).then_some(()));
        common::signal(&child, libc::SIGTERM);
        let run = common::end(child);
        let whole = fs::read(ground.path("file")).unwrap() == bytes;
        let said = run.err.contains("file: interrupted; it was written in place, and has a part of the bytes\n");
        assert!(whole || said && run.signal == Some(libc::SIGTERM), "{run:?}");
        !whole
    });
    assert!(met);
}

#[test]
fn what_is_no_file_gets_the_bytes() {
    let ground = Ground::new();
    ground.keep("key", b"bytes");
    let fifo = ground.path("fifo");
    rustix::fs::mkfifoat(rustix::fs::CWD, &fifo, 0o600.into()).unwrap();
    let child = ground.command(&["get", "key", "fifo"]).spawn().unwrap(); // it waits for a reader
    let mut got = Vec::new();
    File::open(&fifo).unwrap().read_to_end(&mut got).unwrap();
    assert_eq!((common::end(child).text(), got), (String::new(), b"bytes".to_vec()));
    let _socket = UnixListener::bind(ground.path("socket")).unwrap();
    ground.run(&["get", "key", "socket"]).fails(6, "socket: No such device or address");
    ground.run(&["get", "key", "/dev/full"]).fails(4, "/dev/full: No space left on device");
    assert_eq!(ground.run(&["get", "key", "/dev/null"]).text(), "");
    for name in ["fifo", "socket"] {
        assert!(!fs::metadata(ground.path(name)).unwrap().is_file(), "{name}");
    }
    assert!(no_drafts(ground.dir.path()));
}

/// A file that the standard output leads to was replaced: what others write there went nowhere.
#[test]
fn a_file_behind_a_standard_stream_is_not_replaced() {
    let ground = Ground::new();
    ground.keep("key", b"bytes");
    for (name, to) in [("/dev/stdout", 1), ("/proc/self/fd/1", 1), ("/dev/fd/1", 1), ("/dev/stderr", 2), ("link", 1)] {
        let _ = fs::remove_file(ground.path("link"));
        symlink("/dev/stdout", ground.path("link")).unwrap();
        fs::write(ground.path("log"), b"before\n").unwrap();
        let line = format!("{{ $V get key {name}; echo; $V get key {name}; echo; }} {to}>> log");
        assert_eq!(ground.shell(&line).status, Some(0));
        let want: &[u8] = if to == 1 { b"before\nbytes\nbytes\n" } else { b"before\nbytesbytes" };
        assert_eq!(fs::read(ground.path("log")).unwrap(), want, "{name}");
    }
    // What is told of it goes elsewhere, as with "-".
    let run = ground.run(&["get", "key", "/dev/stdout", "--json"]);
    assert!(run.out == b"bytes" && run.err.starts_with('{'), "{run:?}");
    // Any other descriptor is a file to the kernel, written in place.
    let run = ground.shell("exec 5> five; $V get key /dev/fd/5; cat five; cat /dev/fd/5");
    assert_eq!(run.out, b"bytesbytes", "{run:?}");
}

/// A hard link to a blob's own file is written in place, which would cut the blob short and then read from it.
#[test]
fn a_blob_is_not_written_over_itself() {
    let ground = Ground::new();
    ground.keep("key", b"bytes");
    ground.keep("other", b"others");
    let blob = ground.files().into_iter().find(|(path, _)| path.ends_with("key")).unwrap().0;
    fs::hard_link(&blob, ground.path("link")).unwrap();
    for name in ["link", blob.to_str().unwrap()] {
        ground.run(&["get", "key", name]).fails(6, &format!("{name}: it is the blob itself"));
    }
    assert_eq!(ground.run(&["get", "key"]).text(), "bytes");
    // A copy is another file.
    assert_eq!(ground.shell("cp link copy && $V get other copy && cat copy").text(), "others");
}

/// A filesystem across a network reports only then that it is full.
#[test]
fn what_closing_reports_is_a_failure() {
    if !common::has("strace") {
        return common::skip("strace is not there");
    }
    let ground = Ground::new();
    ground.keep("key", b"bytes");
    for name in ["one", "two", "old", "out"] {
        fs::write(ground.path(name), b"before").unwrap();
    }
    fs::remove_file(ground.path("two")).unwrap();
    fs::hard_link(ground.path("one"), ground.path("two")).unwrap();
    // Each close fails in turn. Most are of no account; one is that of the file.
    let strace = "strace -f -qqq -o /dev/null -e inject=close:error=ENOSPC:when=";
    for (call, name) in [("$V get key one", "one"), ("$V get key old", "old"), ("$V get key new", "new")] {
        let told = (1..60).any(|number| {
            fs::write(ground.path("old"), b"before").unwrap();
            let _ = fs::remove_file(ground.path("new"));
            let run = ground.shell(&format!("{strace}{number} {call}"));
            let whole = fs::read(ground.path("old")).unwrap() == b"before" && !ground.path("new").exists();
            let told = run.status == Some(4) && run.err.contains(&format!("{name}: No space left on device"));
            assert!(!told || whole, "{run:?}");
            told && run.err.contains("in place") == (name == "one")
        });
        assert!(told, "{call}");
    }
    for command in ["get key", "ls", "stat key", "tiers", "--help"] {
        let told = (1..200).any(|number| {
            let run = ground.shell(&format!("{strace}{number} $V {command} > out"));
            run.status == Some(4) && run.err.contains("standard output: No space left on device")
        });
        assert!(told, "{command}");
    }
    assert!(no_drafts(ground.dir.path()));
}

#[test]
fn many_that_get_into_one_file_leave_one_whole() {
    let ground = Ground::new();
    let blobs: Vec<_> = (0..8).map(|number| common::bytes((1 << 20) + number)).collect();
    for (number, bytes) in blobs.iter().enumerate() {
        ground.keep(number.to_string(), bytes);
    }
    for round in 0..5 {
        let _ = fs::remove_file(ground.path("file"));
        if round % 2 == 1 {
            fs::write(ground.path("file"), b"before").unwrap();
        }
        let children: Vec<_> =
            (0..8).map(|number| ground.command(&["get", &number.to_string(), "file"]).spawn().unwrap()).collect();
        for child in children {
            assert_eq!(common::end(child).text(), "");
        }
        let file = fs::read(ground.path("file")).unwrap();
        assert!(blobs.contains(&file), "{} bytes", file.len());
    }
    assert!(no_drafts(ground.dir.path()));
}

/// The draft of `generate` had a name that others could know, and its bytes went where a link of that name led.
#[test]
fn generate_writes_as_get_does() {
    let ground = Ground::new();
    fs::write(ground.path("precious"), b"precious").unwrap();
    let page = ground.path("share/man/man1/vfsctl.1");
    let generate = "mkdir -p share && ln -s ../precious share/.$$ && exec $V generate share";
    assert_eq!(ground.shell(generate).text(), "");
    assert_eq!(fs::read(ground.path("precious")).unwrap(), b"precious");
    let text = fs::read(&page).unwrap();
    // What is there keeps what it is to others.
    fs::write(&page, b"before").unwrap();
    chmod(&page, 0o600);
    let second = ground.path("share/second-name");
    fs::hard_link(&page, &second).unwrap();
    let before = kept(&page);
    assert_eq!(ground.run(&["generate", "share"]).text(), "");
    assert_eq!(kept(&page), before);
    assert_eq!(fs::read(&second).unwrap(), text);
    assert!(no_drafts(&ground.path("share")) && no_drafts(page.parent().unwrap()));
    // A failure names the file.
    fs::remove_file(&page).unwrap();
    fs::create_dir(&page).unwrap();
    ground.run(&["generate", "share"]).fails(6, "share/man/man1/vfsctl.1: Is a directory");
    ground.run(&["generate", "precious"]).fails(6, "precious/bash-completion/completions/vfsctl: Not a directory");
}

//! Root and other users' stores: who has some is told, and `--user` works on theirs as they would.
mod common;

use common::{Ground, Run};
use serde_json::json;
use std::fs::{self, Permissions};
use std::os::unix::fs::{MetadataExt, PermissionsExt, chown, symlink};

/// A user of the database who has no rights, and one who is in none.
const NOBODY: u32 = 65_534;
const USER: u32 = 54_321;

fn ground_of_users() -> Ground {
    let ground = Ground::new();
    fs::write(ground.path("input"), b"of a user").unwrap();
    for uid in [USER, NOBODY] {
        assert_eq!(ground.run_as(uid, &["put", "theirs", "input"]).text(), "");
    }
    ground
}

/// All below the directory of a user on the first tier, and to whom it belongs.
fn owners(ground: &Ground, uid: u32) -> Vec<(u32, u32, u32)> {
    let mut found = Vec::new();
    let mut left = vec![ground.path("first").join(format!("vfs1-{uid}"))];
    while let Some(path) = left.pop() {
        let meta = fs::symlink_metadata(&path).unwrap();
        found.push((meta.uid(), meta.gid(), meta.mode() & 0o777));
        if meta.is_dir() {
            left.extend(fs::read_dir(&path).unwrap().map(|entry| entry.unwrap().path()));
        }
    }
    found
}

/// To root, tiers full of other users' blobs looked as if nothing were there.
#[test]
fn root_is_told_who_else_has_stores() {
    if !common::is_root("root_is_told_who_else_has_stores") {
        return;
    }
    let ground = ground_of_users();
    let who = format!("{USER}, nobody ({NOBODY})");
    let note = format!("vfsctl: note: other users have stores here: {who}; see --user\n");
    for command in [&["ls"][..], &["ls", "-k"], &["reap", "-n"], &["reap"]] {
        let run = ground.run(command);
        assert_eq!((run.status, run.err.as_str()), (Some(0), note.as_str()), "{command:?}");
    }
    for command in [&["get", "theirs"][..], &["stat", "theirs"], &["rm", "theirs"], &["--json", "stat", "theirs"]] {
        let missing = format!("no blob has this key; other users have stores here: {who}; see --user\n");
        ground.run(command).fails(1, &missing);
        let run = ground.run_as(USER, &[&["--store", "other"], command].concat());
        assert!(run.status == Some(1) && run.err.ends_with("no blob has this key\n"), "{run:?}");
    }
    let first = ground.path("first").display().to_string();
    let told = ground.run(&["tiers"]).text();
    let line = format!("tier 0 ({first}) has stores of other users: {who}; see --user\n");
    assert!(told.contains(&line), "{told}");
    let users = json!([{"uid": USER, "name": null}, {"uid": NOBODY, "name": "nobody"}]);
    let tiers = ground.run(&["tiers", "--json"]).json();
    assert_eq!(tiers[0]["other_users"], users);
    assert_eq!(ground.run(&["watch", "-n", "1", "--json"]).json()[0]["tiers"][0]["other_users"], users);
    // In JSON nothing is said beside it; nor to those who could not look, nor of what is no store of that user.
    assert_eq!(ground.run(&["ls", "--json"]).text(), "");
    assert_eq!(ground.run_as(USER, &["tiers", "--json"]).json()[0]["other_users"], json!([]));
    assert_eq!(ground.run_as(USER, &["ls", "-k"]).text(), "theirs\n");
    let ground = Ground::new();
    for (name, owner) in [("vfs1-77", 78), ("vfs1-79", 79), ("vfs1-x", 80), ("vfs2-81", 81), ("vfs1-4294967296", 0)] {
        let dir = ground.path("first").join(name);
        fs::create_dir_all(dir.join(if name == "vfs1-79" { "\\odd" } else { "store" })).unwrap();
        chown(dir, Some(owner), None).unwrap();
    }
    symlink("vfs1-77", ground.path("first").join("vfs1-82")).unwrap();
    assert_eq!(ground.run(&["ls"]).text(), "");
    assert_eq!(ground.run(&["tiers", "--json"]).json()[0]["other_users"], json!([]));
}

#[test]
fn root_works_on_the_stores_of_a_named_user() {
    if !common::is_root("root_works_on_the_stores_of_a_named_user") {
        return;
    }
    let ground = ground_of_users();
    for (uid, names) in [(NOBODY, &["nobody", "65534"][..]), (USER, &["54321", "054321"])] {
        for name in names {
            let as_user = |arguments: &[&str]| ground.run(&[&["--user", name], arguments].concat());
            assert_eq!(as_user(&["ls", "-k"]).text(), "theirs\n");
            assert_eq!(as_user(&["get", "theirs"]).text(), "of a user");
            assert_eq!(as_user(&["put", "new", "input"]).text(), "");
            assert_eq!(ground.run_as(uid, &["get", "new"]).text(), "of a user");
            assert_eq!(as_user(&["tiers", "--json"]).json()[0]["blobs"], 2);
            // Made by that user, and of use to no one else.
            let found = owners(&ground, uid);
            assert!(found.iter().all(|&(owner, _, mode)| owner == uid && mode & 0o77 == 0), "{found:?}");
            assert!(found.iter().all(|&(_, group, _)| group == NOBODY || group == uid), "{found:?}");
            assert_eq!(as_user(&["rm", "new"]).text(), "");
            assert_eq!(as_user(&["reap", "--json"]).json()[0]["blobs"], 0);
        }
    }
    // Root's own are apart, and root is somebody too.
    ground.keep("mine", b"of root");
    assert_eq!(ground.run(&["ls", "-k", "--user", "root"]).out, b"mine\n");
    assert_eq!(ground.run(&["ls", "-k", "--user", "0"]).out, b"mine\n");
    assert_eq!(ground.run(&["ls", "-k", "--user", "nobody"]).text(), "theirs\n");
}

#[test]
fn with_a_user_files_are_opened_with_its_rights() {
    if !common::is_root("with_a_user_files_are_opened_with_its_rights") {
        return;
    }
    let ground = ground_of_users();
    let (secret, out) = (ground.path("secret"), ground.path("out"));
    fs::write(&secret, b"of root").unwrap();
    fs::set_permissions(&secret, Permissions::from_mode(0o600)).unwrap();
    let as_user = |arguments: &[&str]| ground.run(&[&["--user", "54321"], arguments].concat());
    // What this user may not read or write, root's call does not either, wherever a link leads.
    symlink("secret", ground.path("link")).unwrap();
    for name in ["secret", "link"] {
        as_user(&["put", "new", name]).fails(5, &format!("{name}: Permission denied"));
        as_user(&["get", "theirs", name]).fails(5, &format!("{name}: Permission denied"));
    }
    assert_eq!(fs::read(&secret).unwrap(), b"of root");
    // A file that is made is this user's, as is one that is replaced.
    for _ in 0..2 {
        assert_eq!(as_user(&["get", "theirs", "out"]).text(), "");
        let meta = fs::metadata(&out).unwrap();
        assert_eq!((meta.uid(), meta.gid(), meta.mode() & 0o777), (USER, NOBODY, 0o644));
    }
    // What the shell of root has opened stays open.
    assert_eq!(ground.shell("$V --user 54321 put r < secret && $V --user 54321 get r > root-out").text(), "");
    assert_eq!(fs::read(ground.path("root-out")).unwrap(), b"of root");
    assert_eq!(fs::metadata(ground.path("root-out")).unwrap().uid(), 0);
    // No group of root's is kept, nor any way back.
    let run = ground.shell(
        "mkfifo pipe; $V --user nobody put new - < pipe & exec 3> pipe
         until test -n \"$(find first/vfs1-65534 -name new)\"; do sleep 0.01; done
         cat /proc/$!/status; exec 3>&-; wait $!",
    );
    let status = String::from_utf8(run.out).unwrap();
    let line = |name: &str| {
        status.lines().find_map(|line| line.strip_prefix(name)).unwrap().split_whitespace().collect::<Vec<_>>()
    };
    assert_eq!((line("Uid:"), line("Gid:")), (vec!["65534"; 4], vec!["65534"; 4]));
    assert_eq!(line("Groups:"), ["65534"]);
    assert_eq!((line("CapEff:"), line("CapPrm:")), (vec!["0000000000000000"], vec!["0000000000000000"]));
}

#[test]
fn a_user_that_cannot_be_is_a_failure() {
    let ground = Ground::new();
    for name in ["no-such-user", "", "-1", "+1", "4294967295", "4294967296", "1x", "\x1b[31m"] {
        let run = ground.run(&["ls", "--user", name]);
        let shown = name.replace('\x1b', "\\x1b");
        // An empty one, and one that looks like an option, is found by the command line.
        match name {
            "" | "-1" => assert_eq!(run.status, Some(2), "{run:?}"),
            _ => run.fails(2, &format!("--user {shown}: no such user")),
        }
    }
    if !common::is_root("a_user_that_cannot_be_is_a_failure") {
        return;
    }
    let refusal = "only root may work on another user's stores: Operation not permitted";
    for name in ["root", "0", "nobody"] {
        ground.run_as(USER, &["--user", name, "ls"]).fails(5, &format!("--user {name}: {refusal}"));
    }
    assert_eq!(ground.run_as(USER, &["--user", "54321", "ls"]).text(), "");
    let root_alone =
        format!("unshare -r {} --tiers {} --user 54321 ls", ground.path("vfsctl").display(), ground.tiers());
    let run = ground.shell(&root_alone);
    assert!(run.err.contains("--user 54321: ") && [Some(2), Some(5)].contains(&run.status), "{run:?}");
    // A root who keeps the rights of root over the change is no such user.
    let keeps = ground.shell("setpriv --securebits +no_setuid_fixup $V --user nobody ls");
    keeps.fails(5, "--user nobody: giving up the rights of root: Operation not permitted");
    // A program with the rights of its owner is not a root who calls.
    let program = ground.path("set-uid");
    common::copy_program(&program);
    fs::set_permissions(&program, Permissions::from_mode(0o4755)).unwrap();
    let mut command = std::process::Command::new("setpriv");
    command.args(["--reuid", "54321", "--regid", "54321", "--clear-groups"]).arg(&program);
    command.args(["--tiers", &ground.tiers(), "--user", "nobody", "ls"]);
    Run::of(command.output().unwrap()).fails(5, refusal);
}

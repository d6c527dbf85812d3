//! Each command, by real runs: what it prints, in words and as JSON, what it changes, and how it ends.
mod common;

use common::{Ground, Run};
use serde_json::{Value, json};
use std::collections::BTreeSet;
use std::ffi::OsStr;
use std::fs;
use std::os::fd::AsRawFd;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};
use vfs::{Flags, Key};

#[test]
#[ignore = "begun by other tests"]
fn an_owner_for_the_other_tests() {
    common::own();
}

/// The objects without what differs from run to run, which must be there.
fn steady(objects: Vec<Value>) -> Vec<Value> {
    let steady = |mut object: Value| {
        let fields = object.as_object_mut().unwrap();
        let stored_at = fields.remove("stored_at").unwrap();
        assert!(stored_at.as_str().unwrap().ends_with('Z'), "{stored_at}");
        assert!(fields.remove("age_ms").unwrap().as_u64().unwrap() < 3_600_000);
        assert_eq!(fields.remove("id").unwrap().as_str().unwrap().len(), 16);
        object
    };
    objects.into_iter().map(steady).collect()
}

#[test]
fn what_is_put_is_listed_told_got_and_removed() {
    let ground = Ground::new();
    let (first, file, copy) = (ground.path("first"), ground.path("in"), ground.path("out"));
    fs::write(&file, b"from a file").unwrap();
    assert_eq!(ground.run(&["put", "b", file.to_str().unwrap()]).text(), "");
    assert_eq!(ground.feed(&["put", "a"], b"from a pipe").text(), "");
    assert_eq!(ground.feed(&["put", "empty", "-"], b"").text(), "");

    let of = |key: &str, size: u64| json!({"key": key, "size": size, "state": "persistent", "tier": 0, "dir": first});
    assert_eq!(steady(ground.run(&["ls", "--json"]).json()), [of("a", 11), of("b", 11), of("empty", 0)]);
    assert_eq!(ground.run(&["ls", "--keys"]).text(), "a\nb\nempty\n");
    let listed = ground.run(&["ls"]).text();
    let words: Vec<Vec<&str>> = listed.lines().map(|line| line.split_whitespace().collect()).collect();
    assert_eq!(words[0], ["SIZE", "AGE", "STATE", "TIER", "KEY"]);
    assert_eq!(words[2][..2], ["11", "B"]);
    assert_eq!(words[2][3..], ["persistent", first.to_str().unwrap(), "b"]);
    assert_eq!(words.len(), 4);

    assert_eq!(steady(ground.run(&["--json", "stat", "b", "a"]).json()), [of("b", 11), of("a", 11)]);
    let told = ground.run(&["stat", "b"]).text();
    for line in [
        "   key: b\n",
        "  size: 11 B (11 bytes)\n",
        " state: persistent: it lives until it is removed\n",
        &format!("  tier: 0 ({})\n", first.display()),
    ] {
        assert!(told.contains(line), "{line:?} is not in {told}");
    }

    assert_eq!(ground.run(&["get", "a"]).text(), "from a pipe");
    assert_eq!(ground.run(&["get", "empty"]).text(), "");
    assert_eq!(ground.run(&["get", "b", copy.to_str().unwrap()]).text(), "");
    assert_eq!(fs::read(&copy).unwrap(), b"from a file");

    assert_eq!(ground.run(&["rm", "a", "--json"]).json(), [json!({"key": "a", "removed": true})]);
    assert_eq!(ground.run(&["rm", "b", "empty"]).text(), "");
    assert_eq!(ground.run(&["ls"]).text(), "");
    assert_eq!(ground.files(), []);
}

#[test]
fn commands_that_look_make_nothing() {
    let ground = Ground::new();
    for arguments in [&["ls"][..], &["tiers"], &["watch", "-n", "1"], &["reap", "--dry-run"]] {
        assert_eq!(ground.run(arguments).status, Some(0), "{arguments:?}");
    }
    for arguments in [["stat", "key"], ["get", "key"]] {
        ground.run(&arguments).fails(1, "key: looking for a key: no blob has this key");
    }
    for tier in ["first", "second"] {
        assert_eq!(fs::read_dir(ground.path(tier)).unwrap().count(), 0, "{tier}");
    }
}

#[test]
fn whose_a_blob_is_is_told_and_only_what_the_dead_left_is_reaped() {
    let ground = Ground::new();
    ground.keep("kept", b"persistent");
    let living = ground.owner("living");
    ground.owner("dead").kill();
    let states = || {
        let listed = ground.run(&["ls", "--json"]).json();
        listed.iter().map(|b| format!("{} {}", b["key"], b["state"]).replace('"', "")).collect::<Vec<_>>()
    };
    let all = ["dead orphan", "kept persistent", "living owned"];
    assert_eq!(states(), all);
    assert!(ground.run(&["stat", "dead"]).text().contains(" state: orphan: its owner is dead"));
    assert_eq!(ground.run(&["get", "dead"]).text(), "of an owner");
    assert_eq!(ground.run(&["get", "dead", "copy", "--json"]).json()[0]["state"], "orphan");
    assert_eq!(ground.run(&["tiers", "--json"]).json()[0]["orphans"], 1);
    assert!(ground.run(&["watch", "-n", "1"]).text().contains(": 3 blobs, 32 B, 1 orphans; free "));
    let told = |dry_run: bool| json!({"blobs": 1, "bytes": 11, "keys": ["dead"], "dry_run": dry_run});
    assert_eq!(ground.run(&["reap", "--dry-run", "--json"]).json(), [told(true)]);
    assert_eq!(ground.run(&["reap", "-n"]).text(), "1 blob of a dead owner, 11 B, would be removed:\ndead\n");
    assert_eq!(states(), all, "none of these removed anything");

    assert_eq!(ground.run(&["reap", "--json"]).json(), [told(false)]);
    assert_eq!(states(), all[1..]);
    assert_eq!(ground.run(&["reap"]).text(), "no blob had a dead owner; what dead owners had not finished is gone\n");
    ground.owner("dead again").kill();
    assert_eq!(ground.run(&["reap"]).text(), "1 blob of a dead owner, 11 B, removed:\ndead again\n");
    living.kill();
}

#[test]
fn a_key_that_is_taken_is_replaced_only_if_told_so() {
    let ground = Ground::new();
    ground.keep("key", b"old");
    ground.feed(&["put", "key"], b"new").fails(3, "key: storing a key: a blob has this key already");
    assert_eq!(ground.run(&["get", "key"]).text(), "old");
    let put = ground.feed(&["put", "--replace", "key", "--json"], b"newer").json();
    assert_eq!((&put[0]["size"], &put[0]["state"]), (&json!(5), &json!("persistent")));
    assert_eq!(ground.run(&["get", "key"]).text(), "newer");
    assert_eq!(ground.files().len(), 1);
}

#[test]
fn a_part_of_a_blob_is_written_and_told() {
    let ground = Ground::new();
    let bytes = common::bytes(10_000);
    ground.keep("key", &bytes);
    for (arguments, part) in [
        (&["--offset", "4K"][..], &bytes[4096..]),
        (&["--length", "1K"], &bytes[..1024]),
        (&["-o", "9999", "-l", "5"], &bytes[9999..]),
        (&["-o", "5", "-l", "0"], &[]),
        (&["-o", "10000"], &[]),
        (&["-o", "16777215T"], &[]),
        (&["-l", "16777215T"], &bytes),
    ] {
        let run = ground.run(&[&["get", "key"], arguments].concat());
        assert_eq!((run.status, run.err.as_str()), (Some(0), ""));
        assert!(run.out == part, "{arguments:?}");
    }
    let got = ground.run(&["get", "key", "part", "-o", "9K", "-l", "9K", "--json"]).json();
    let want = json!({"key": "key", "size": 10_000, "state": "persistent", "tier": 0, "dir": ground.path("first"),
        "offset": 9216, "length": 784});
    assert_eq!(steady(got), [want]);
    assert!(fs::read(ground.path("part")).unwrap() == bytes[9216..]);
    // Where the standard output has the blob, the object is on the standard error.
    let run = ground.run(&["get", "key", "--json"]);
    assert!(run.out == bytes);
    assert_eq!(serde_json::from_str::<Value>(&run.err).unwrap()["length"], 10_000);
}

#[test]
fn a_file_is_made_like_any_other_and_takes_a_files_place() {
    let ground = Ground::new();
    ground.keep("key", b"bytes");
    let mode = |name: &str| fs::metadata(ground.path(name)).unwrap().permissions().mode() & 0o777;
    let got = ground.after("umask 027", &["get", "key", "new"]).output().unwrap();
    assert_eq!(Run::of(got).text(), "");
    assert_eq!(mode("new"), 0o640);
    // One that is there keeps its mode, also behind a link, which stays one.
    fs::write(ground.path("old"), b"before").unwrap();
    fs::set_permissions(ground.path("old"), fs::Permissions::from_mode(0o604)).unwrap();
    symlink("old", ground.path("link")).unwrap();
    assert_eq!(ground.run(&["get", "key", "link"]).text(), "");
    assert_eq!(fs::read(ground.path("old")).unwrap(), b"bytes");
    assert_eq!(mode("old"), 0o604);
    assert!(ground.path("link").symlink_metadata().unwrap().is_symlink());
    // So does one that leads to what is not there yet, over another.
    fs::create_dir(ground.path("dir")).unwrap();
    symlink("dir/second", ground.path("first-link")).unwrap();
    symlink("new", ground.path("dir/second")).unwrap();
    assert_eq!(ground.run(&["get", "key", "first-link"]).text(), "");
    assert_eq!(fs::read(ground.path("dir/new")).unwrap(), fs::read(ground.path("old")).unwrap());
    assert!(ground.path("first-link").symlink_metadata().unwrap().is_symlink());
    symlink("round", ground.path("round")).unwrap();
    ground.run(&["get", "key", "round"]).fails(6, "round: ");
    // What is no file is written to.
    assert_eq!(ground.run(&["get", "key", "/dev/null"]).text(), "");
    assert_eq!(ground.run(&["get", "key", "/dev/stdout"]).text(), "bytes");
    ground.run(&["get", "key", "first"]).fails(6, "first: Is a directory");
    ground.run(&["get", "key", "not/there"]).fails(6, "not/there: No such file or directory");
    assert!(common::none_begins(ground.dir.path(), ".vfsctl"));
}

#[test]
fn what_is_not_printable_reaches_nobody_raw_and_every_key_can_be_named() {
    let ground = Ground::new();
    // A key cannot have control characters of ASCII; it can have those of Latin-1, as UTF-8 and as bytes.
    let keys: [(&[u8], &str); 4] = [
        (b"caf\xe9", "caf\\xe9"),
        ("\u{9b}31mred".as_bytes(), "\\xc2\\x9b31mred"),
        ("gpj.\u{202e}exe".as_bytes(), "gpj.\\xe2\\x80\\xaeexe"),
        ("naïve 図 \"1\"".as_bytes(), "naïve 図 \"1\""),
    ];
    for (key, _) in keys {
        ground.keep(key, key);
    }
    let shown: BTreeSet<_> = keys.iter().map(|(_, shown)| shown.to_string()).collect();
    let listed = ground.run(&["ls", "--json"]).json();
    assert_eq!(listed.iter().map(|b| b["key"].as_str().unwrap().to_string()).collect::<BTreeSet<_>>(), shown);
    assert_eq!(ground.run(&["ls", "--keys"]).text().lines().map(str::to_string).collect::<BTreeSet<_>>(), shown);
    for (key, shown) in keys {
        assert!(ground.run(&["ls"]).text().contains(&format!(" {shown}\n")), "{shown}");
        assert!(ground.run(&["stat", shown]).text().contains(&format!("key: {shown}\n")), "{shown}");
        for name in [OsStr::new(shown), OsStr::from_bytes(key)] {
            let got = ground.command(&["get"]).arg(name).output().unwrap();
            assert_eq!(got.stdout, key, "{shown}");
        }
    }
    let raw = OsStr::from_bytes(b"no\xe9");
    Run::of(ground.command(&["rm"]).arg(raw).output().unwrap()).fails(1, "no\\xe9: ");
    let hostile = ["stat", "\x1b[31m\n"];
    ground.run(&hostile).fails(2, "not a key");
    for arguments in [&hostile[..], &["\x1b[31m"], &["get", "key", "\x1b[31m/x"], &["--store", "\x1b[31m", "ls"]] {
        let run = ground.run(arguments);
        assert!(run.status != Some(0) && !run.err.contains('\x1b'), "{run:?}");
    }
}

#[test]
fn a_blob_goes_where_there_is_room_and_without_room_nothing_changes() {
    let ground = Ground::with("?max=64K", "?max=1M");
    let put = |key: &str, len: usize| ground.feed(&["put", key, "--json"], &common::bytes(len));
    assert_eq!(put("small", 10_000).json()[0]["tier"], 0);
    assert_eq!(put("big", 500_000).json()[0]["tier"], 1);
    fs::write(ground.path("file"), common::bytes(500_000)).unwrap();
    assert_eq!(ground.run(&["put", "file", "file", "--json"]).json()[0]["tier"], 1);
    put("huge", 2_000_000).fails(4, "huge: ");
    assert_eq!(ground.run(&["ls", "--keys"]).text(), "big\nfile\nsmall\n");
    assert_eq!(ground.files().len(), 3, "of what failed nothing is left");
    // Only with -v is heard what the tiers have to say.
    let loud = ground.feed(&["-v", "put", "loud"], &common::bytes(500_000));
    assert_eq!(loud.status, Some(0));
    let first = ground.path("first");
    let refusal = format!("tier 0 ({}) refuses blobs: placing bytes within the tier's max=: ", first.display());
    assert!(loud.err.starts_with(&format!("vfsctl: warning: {refusal}")), "{loud:?}");

    // What each tier holds is told by the listing, what it refuses by trying.
    let plain = ground.run(&["tiers", "--json"]).json();
    let tier = |index: usize, of: &[Value]| {
        ["state", "blobs", "bytes", "takes", "errno"].map(|field| of[index][field].clone())
    };
    assert_eq!(tier(0, &plain), [json!("ready"), json!(1), json!(10_000), Value::Null, json!(0)]);
    assert_eq!(tier(1, &plain), [json!("ready"), json!(3), json!(1_500_000), Value::Null, json!(0)]);
    assert!(plain[0]["total_bytes"].as_u64().unwrap() > 0 && plain[0]["free_bytes"].is_u64());
    let tried = ground.run(&["tiers", "--try", "100K", "--json"]).json();
    assert_eq!(tier(0, &tried), [json!("refused"), json!(1), json!(10_000), json!(false), json!(libc::EDQUOT)]);
    assert_eq!(tier(1, &tried), [json!("ready"), json!(3), json!(1_500_000), json!(true), json!(0)]);
    assert!(tried[0]["reason"].as_str().unwrap().starts_with(&refusal), "{}", tried[0]["reason"]);
    let told = ground.run(&["tiers", "--try", "100K"]).text();
    assert!(told.contains(&refusal), "{told}");
    let taker = format!("a blob of 100.00 KiB goes to tier 1 ({})\n", ground.path("second").display());
    assert!(told.ends_with(&taker), "{told}");
    let none = ground.run(&["tiers", "--try", "2M"]);
    none.fails(4, "no tier has room for it");
    assert!(String::from_utf8(none.out).unwrap().lines().count() == 5, "the table and two refusals");
    assert_eq!(ground.files().len(), 4, "nothing is left of what was tried");
}

#[test]
fn a_tier_that_cannot_be_used_is_told_with_its_reason() {
    let ground = Ground::new();
    fs::remove_dir(ground.path("first")).unwrap();
    ground.keep("key", b"bytes");
    let tiers = ground.run(&["tiers", "--json"]).json();
    assert_eq!((&tiers[0]["state"], &tiers[0]["errno"]), (&json!("refused"), &json!(libc::ENOENT)));
    assert_eq!(tiers[0]["reason"], "No such file or directory");
    assert_eq!((&tiers[1]["state"], &tiers[1]["blobs"]), (&json!("ready"), &json!(1)));
    let told = ground.run(&["tiers"]).text();
    assert!(told.contains(" refused: No such file or directory\n"), "{told}");
    fs::create_dir(ground.path("first")).unwrap();
    assert_eq!(ground.run(&["tiers", "--json"]).json()[0]["state"], "unused");
}

#[test]
fn tiers_that_cannot_be_looked_into_are_no_empty_store() {
    let ground = Ground::new();
    ground.keep("key", b"bytes");
    let missing = ground.path("missing").display().to_string();
    for look in [&["ls"][..], &["get", "key"], &["stat", "key"]] {
        let run = ground.run(&[&["--tiers", &missing], look].concat());
        run.fails(6, "is not looked into: No such file or directory");
        // One that is there is enough,
        let list = format!("{missing},{}", ground.tiers());
        let run = ground.run(&[&["--tiers", &list], look].concat());
        assert_eq!((run.status, run.err.as_str()), (Some(0), ""));
    }
    // but what is ours and cannot be used is told.
    let second = ground.path("second");
    let ours = second.join(format!("vfs1-{}", fs::metadata(&second).unwrap().uid()));
    fs::set_permissions(ours, fs::Permissions::from_mode(0o755)).unwrap();
    let run = ground.run(&["ls", "--keys"]);
    assert_eq!((run.status, run.out.as_slice()), (Some(5), &b"key\n"[..]), "there may be more");
    assert!(run.err.contains("tier 1 (") && run.err.contains("is not looked into"), "{}", run.err);
}

/// A recursive `chmod`, as for a pod's fsGroup, hid all blobs as missing, and `tiers` said "Operation not permitted".
#[test]
fn a_tier_that_others_can_reach_is_told_with_its_cure() {
    let dir = tempfile::Builder::new().prefix("a tier's ").tempdir().unwrap(); // which a shell takes apart
    let ground = Ground { dir, first: "", second: "" };
    let shell = |command: &str| {
        let status = std::process::Command::new("sh")
            .arg("-c")
            .arg(command)
            .arg("sh")
            .arg(ground.path("first"))
            .status()
            .unwrap();
        assert!(status.success(), "{command}");
    };
    for tier in ["first", "second"] {
        fs::create_dir(ground.path(tier)).unwrap();
    }
    ground.keep("key", b"bytes");
    shell("chmod -R g+rwX,g+s \"$1\"");
    for arguments in [&["get", "key"][..], &["get", "none"], &["stat", "key"], &["rm", "none"], &["rm", "key"]] {
        let run = ground.run(arguments);
        let last = run.err.lines().last().unwrap_or_default();
        assert!(run.status == Some(5) && last.contains("mode 2770, expected 0700"), "{arguments:?}: {run:?}");
    }
    ground.feed(&["put", "new"], b"second").fails(5, "mode 2770, expected 0700");
    for arguments in [&["tiers", "--json"][..], &["tiers", "--json", "--try", "1K"]] {
        let tiers = ground.run(arguments);
        assert_eq!(tiers.status, Some(5), "{tiers:?}");
        let told = String::from_utf8(tiers.out).unwrap();
        let told: Vec<Value> = told.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
        assert_eq!((&told[0]["state"], &told[0]["errno"]), (&json!("refused"), &json!(libc::EPERM)));
        assert_ne!(told[1]["state"], "refused");
        let (what, command) = told[0]["reason"].as_str().unwrap().split_once("; make it private again: ").unwrap();
        assert_eq!(what, "other users can reach our directory on the tier: mode 2770, expected 0700");
        assert!(command.starts_with("chmod -R u=rwX,go=,g-s '"), "{command}");
    }
    let table = String::from_utf8(ground.run(&["tiers"]).out).unwrap();
    shell(table.split_once("; make it private again: ").unwrap().1.lines().next().unwrap());
    let own = fs::read_dir(ground.path("first")).unwrap().next().unwrap().unwrap().path();
    let (mut below, mut seen) = (vec![own], 0);
    while let Some(path) = below.pop() {
        let meta = fs::symlink_metadata(&path).unwrap();
        let want = if meta.is_dir() { 0o700 } else { 0o600 };
        assert_eq!(meta.permissions().mode() & 0o7777, want, "{}", path.display());
        if meta.is_dir() {
            below.extend(fs::read_dir(&path).unwrap().map(|entry| entry.unwrap().path()));
        }
        seen += 1;
    }
    assert!(seen >= 6, "the directories, the lock file and a blob");
    assert_eq!(ground.run(&["get", "key"]).text(), "bytes");
    assert_eq!(ground.run(&["tiers", "--json"]).json()[0]["state"], "ready");
}

#[test]
fn a_tier_of_the_wrong_mode_says_how_to_mend_it() {
    let ground = Ground::new();
    ground.keep("key", b"bytes");
    let first = ground.path("first");
    let ours = first.join(format!("vfs1-{}", fs::metadata(&first).unwrap().uid()));
    fs::set_permissions(&ours, fs::Permissions::from_mode(0o775)).unwrap();
    let told = ground.run(&["tiers"]);
    let told = String::from_utf8(told.out).unwrap();
    let (reason, repair) = told.split_once("; make it private again: ").expect(&told);
    assert!(reason.ends_with("mode 0775, expected 0700"), "{told}");
    let repair = repair.lines().next().unwrap();
    let looked = ground.run(&["get", "key"]);
    assert!(looked.status == Some(5) && looked.err.contains(&format!("{repair}\n")), "nothing behind it: {looked:?}");
    let tiers = ground.run(&["tiers", "--json"]);
    assert!(String::from_utf8(tiers.out).unwrap().contains(repair));
    assert_eq!(ground.shell(repair).text(), "");
    assert_eq!(ground.run(&["get", "key"]).text(), "bytes");
}

/// The command took what is too much and did not give what is missing.
#[test]
fn the_command_that_mends_a_tier_mends_all_modes() {
    let dir = tempfile::Builder::new().prefix("it's \"a\" $(tier) ").tempdir().unwrap();
    let ground = Ground { dir, first: "", second: "" };
    for tier in ["first", "second"] {
        fs::create_dir(ground.path(tier)).unwrap();
    }
    let uid = fs::metadata(ground.path("first")).unwrap().uid();
    // Root can read a directory of any mode.
    let user = if uid == 0 { 54_321 } else { uid };
    let run = |arguments: &[&str]| ground.run_as(user, arguments);
    fs::write(ground.path("input"), b"bytes").unwrap();
    let ours = ground.path("first").join(format!("vfs1-{user}"));
    for (dirs, files) in [
        ("2770", "0660"),
        ("0077", "0660"),
        ("0070", "0000"),
        ("0000", "0000"),
        ("0400", "0600"),
        ("0600", "0600"),
        ("0200", "0600"),
        ("0755", "0044"),
        ("7777", "0777"),
    ] {
        assert_eq!(run(&["put", "-r", "key", "input"]).text(), "");
        for (kind, mode) in [("d", dirs), ("f", files)] {
            let mut find = std::process::Command::new("find");
            find.arg(&ours).args(["-depth", "-type", kind, "-exec", "chmod", mode, "{}", "+"]);
            assert!(find.status().unwrap().success(), "{mode}");
        }
        let told = run(&["tiers", "--json"]);
        let told: Value = serde_json::from_slice(told.out.split(|&byte| byte == b'\n').next().unwrap()).unwrap();
        let reason = told["reason"].as_str().unwrap_or_default();
        assert!(told["state"] == "refused" && reason.contains(&format!("mode {dirs}, expected 0700; ")), "{told}");
        let mut shell = std::process::Command::new("sh");
        shell.arg("-c").arg(&reason[reason.find("chmod ").unwrap()..]);
        if uid == 0 {
            std::os::unix::process::CommandExt::uid(&mut shell, user);
        }
        assert!(shell.status().unwrap().success(), "{reason}");
        assert_eq!(run(&["get", "key"]).text(), "bytes", "{dirs} {files}");
        assert_eq!(run(&["put", "new", "input"]).text(), "", "{dirs} {files}");
        assert_eq!(run(&["ls", "-k"]).text(), "key\nnew\n");
        assert_eq!(run(&["rm", "new"]).text(), "");
        assert_eq!(run(&["tiers", "--json"]).json()[0]["state"], "ready");
    }
}

/// A path with control characters was printed as it is.
#[test]
fn the_command_that_mends_a_tier_is_fit_to_be_shown() {
    let dir = tempfile::Builder::new().prefix("it's \x1b[1m\n\\").tempdir().unwrap();
    let ground = Ground { dir, first: "", second: "" };
    for tier in ["first", "second"] {
        fs::create_dir(ground.path(tier)).unwrap();
    }
    ground.keep("key", b"bytes");
    let ours = fs::read_dir(ground.path("first")).unwrap().next().unwrap().unwrap().path();
    fs::set_permissions(&ours, fs::Permissions::from_mode(0o750)).unwrap();
    let told = String::from_utf8(ground.run(&["tiers"]).out).unwrap();
    assert!(!told.contains('\x1b') && told.lines().count() == 3, "{told:?}");
    if !common::has("bash") {
        return common::skip("bash is not there");
    }
    let command = told.lines().nth(1).unwrap();
    let command = &command[command.find("chmod ").expect(command)..];
    assert!(std::process::Command::new("bash").args(["-c", command]).status().unwrap().success(), "{command}");
    assert_eq!(ground.run(&["get", "key"]).text(), "bytes");
}

/// The directory that can be listed and not entered looked usable, and each blob in it failed without a mode.
#[test]
fn a_store_that_cannot_be_entered_tells_its_mode() {
    let ground = Ground::new();
    let uid = fs::metadata(ground.path("first")).unwrap().uid();
    let user = if uid == 0 { 54_321 } else { uid };
    fs::write(ground.path("input"), b"bytes").unwrap();
    assert_eq!(ground.run_as(user, &["put", "key", "input"]).text(), "");
    let objects = ground.path("first").join(format!("vfs1-{user}/default/objects"));
    for mode in [0o400, 0o600] {
        fs::set_permissions(&objects, fs::Permissions::from_mode(mode)).unwrap();
        let wrong = format!("mode {mode:04o}, expected 0700; ");
        for arguments in [&["ls"][..], &["get", "key"], &["stat", "key"], &["get", "none"], &["reap", "-n"]] {
            let run = ground.run_as(user, arguments);
            assert!(run.status == Some(5) && run.err.contains(&wrong), "{arguments:?}: {run:?}");
        }
        assert_eq!(fs::metadata(&objects).unwrap().permissions().mode() & 0o7777, mode, "to look changes no mode");
    }
    fs::set_permissions(&objects, fs::Permissions::from_mode(0o500)).unwrap();
    assert_eq!(ground.run_as(user, &["get", "key"]).text(), "bytes");
    assert_eq!(ground.run_as(user, &["reap", "-n"]).text(), "no blob has a dead owner\n");
}

/// Where no tier can be changed, `rm` of a key that `get` does not find was a refusal, with --force too.
#[test]
fn to_remove_what_is_not_there_needs_no_right() {
    let ground = Ground::new();
    let uid = fs::metadata(ground.path("first")).unwrap().uid();
    let user = if uid == 0 { 54_321 } else { uid };
    fs::write(ground.path("input"), b"bytes").unwrap();
    assert_eq!(ground.run_as(user, &["put", "key", "input"]).text(), "");
    fs::remove_dir_all(ground.path("second")).unwrap();
    let lock = ground.path("first").join(format!("vfs1-{user}/\\lock"));
    fs::set_permissions(lock, fs::Permissions::from_mode(0o400)).unwrap();
    let run = |arguments: &[&str]| {
        let mut command = std::process::Command::new(ground.path("vfsctl"));
        command.args(["--tiers", ground.path("first").to_str().unwrap()]).args(arguments);
        if uid == 0 {
            std::os::unix::process::CommandExt::uid(&mut command, user);
        }
        Run::of(command.output().unwrap())
    };
    run(&["rm", "none"]).fails(1, "none: ");
    assert_eq!(run(&["rm", "--force", "none"]).text(), "");
    run(&["rm", "key"]).fails(5, "opening the lock file");
    let both = run(&["rm", "--json", "none", "key"]);
    assert_eq!((both.status, both.err.lines().count()), (Some(1), 2), "{both:?}");
    let removed = b"{\"key\":\"none\",\"removed\":false}\n{\"key\":\"key\",\"removed\":false}\n";
    assert_eq!(both.out, removed);
    assert_eq!(run(&["get", "key"]).text(), "bytes");
}

/// That nothing is left of the dead was said of a tier that nobody had looked into.
#[test]
fn a_reap_says_which_tier_it_did_not_look_into() {
    let ground = Ground::new();
    ground.keep("key", b"bytes");
    fs::remove_dir_all(ground.path("second")).unwrap();
    fs::write(ground.path("second"), b"no directory").unwrap();
    for arguments in [&["reap"][..], &["reap", "-n"]] {
        let run = ground.run(arguments);
        assert!(
            run.status == Some(0) && run.err.contains("tier 1 (") && run.err.contains("is not looked into"),
            "{run:?}"
        );
    }
    fs::remove_dir_all(ground.path("first")).unwrap();
    for arguments in [&["reap"][..], &["reap", "-n"], &["reap", "--json"]] {
        ground.run(arguments).fails(6, "is not looked into");
    }
}

#[test]
fn watch_tells_again_and_again() {
    let ground = Ground::new();
    ground.keep("key", b"bytes");
    let moments = ground.run(&["watch", "--json", "--interval", "10ms", "--count", "3"]).json();
    assert_eq!(moments.len(), 3);
    for moment in moments {
        assert!(moment["at"].as_str().unwrap().ends_with('Z'));
        assert_eq!((&moment["tiers"][0]["blobs"], &moment["tiers"][1]["blobs"]), (&json!(1), &json!(0)));
    }
    let lines = ground.run(&["watch", "-i", "0.01", "-n", "2"]).text();
    assert!(!lines.contains('\x1b'), "{lines:?}");
    assert_eq!(lines.lines().count(), 4);
    let first = format!(" tier 0 ({}): 1 blob, 5 B, 0 orphans; free ", ground.path("first").display());
    assert_eq!(lines.matches(&first).count(), 2, "{lines}");
}

#[test]
fn stores_are_apart_and_the_environment_names_the_tiers() {
    let ground = Ground::new();
    ground.feed(&["--store", "other", "put", "key"], b"there").text();
    ground.run(&["get", "key"]).fails(1, "key: ");
    ground.run(&["get", "key", "--store", "third"]).fails(1, "key: ");
    assert_eq!(ground.run(&["get", "key", "--store", "other"]).text(), "there");
    let without = |tiers: &str, arguments: &[&str]| {
        let mut command = std::process::Command::new(env!("CARGO_BIN_EXE_vfsctl"));
        Run::of(command.args(arguments).env("VFS_TIERS", tiers).output().unwrap())
    };
    assert_eq!(without(&ground.tiers(), &["--store", "other", "ls", "--keys"]).text(), "key\n");
    // Each process has a memory of its own: what is stored in ours would be lost at once.
    let with_memory = format!("memory?max=1M,{},memory", ground.tiers());
    assert_eq!(without(&with_memory, &["put", "key", "/dev/null"]).text(), "");
    assert_eq!(ground.run(&["ls", "--keys"]).text(), "key\n");
    without("memory", &["ls"]).fails(2, "the list of tiers has only \"memory\"");
    // The last word counts, so that an alias may have options.
    assert_eq!(
        ground.run(&["--tiers", &ground.tiers(), "--store", "a", "--store", "other", "ls", "-k"]).text(),
        "key\n"
    );
}

#[test]
fn what_others_have_on_a_tier_is_neither_shown_nor_touched() {
    let ground = Ground::new();
    ground.keep("mine", b"mine");
    let me = fs::metadata(ground.dir.path()).unwrap().uid();
    let theirs = ground.path("first").join(format!("vfs1-{}", me + 1));
    let (objects, owners) = (theirs.join("default/objects"), theirs.join("default/owners/0123456789abcdef"));
    fs::create_dir_all(&objects).unwrap();
    fs::create_dir_all(&owners).unwrap();
    fs::write(objects.join("theirs"), b"theirs").unwrap();
    fs::hard_link(objects.join("theirs"), owners.join("theirs")).unwrap();
    assert_eq!(ground.run(&["ls", "-k"]).text(), "mine\n");
    ground.run(&["get", "theirs"]).fails(1, "theirs: ");
    ground.run(&["rm", "theirs"]).fails(1, "theirs: ");
    assert_eq!(ground.run(&["reap", "--json"]).json()[0]["blobs"], 0);
    assert_eq!(fs::read(owners.join("theirs")).unwrap(), b"theirs");
    if me == 0 {
        // A real other user, who can look into the tiers, sees nothing of ours.
        let other = |arguments: &[&str]| ground.run_as(65_534, arguments);
        assert_eq!(other(&["ls"]).text(), "");
        other(&["get", "mine"]).fails(1, "mine: ");
        assert_eq!(other(&["put", "mine", "/dev/null"]).text(), "");
        assert_eq!(other(&["rm", "mine"]).text(), "");
    }
    assert_eq!(ground.run(&["get", "mine"]).text(), "mine");
}

#[test]
fn each_kind_of_failure_has_its_exit_status_and_one_line() {
    let ground = Ground::new();
    ground.keep("key", b"bytes");
    // 1: the others are removed all the same; with --force it is no failure.
    ground.keep("other", b"bytes");
    ground.run(&["rm", "nope", "other"]).fails(1, "nope: looking for a key: no blob has this key");
    ground.run(&["get", "other"]).fails(1, "other: ");
    assert_eq!(ground.run(&["rm", "--force", "nope", "--json"]).json(), [json!({"key": "nope", "removed": false})]);
    ground.run(&["stat", "nope"]).fails(1, "nope: ");
    // 2: where the command line is not understood, there is help behind the line.
    for bad in [&["frobnicate"][..], &["get"], &["ls", "--frob"], &["get", "key", "-o", "-1"], &["watch", "-i", "0"]] {
        let run = ground.run(bad);
        assert!(run.status == Some(2) && run.err.starts_with("error: ") && run.out.is_empty(), "{run:?}");
    }
    ground.run(&["get", "a/b"]).fails(2, "not a key");
    ground.run(&["--store", "a/b", "ls"]).fails(2, "the store's name");
    ground.run(&["--tiers", "relative", "ls"]).fails(2, "nor an absolute directory");
    // 5 and 6: a file.
    ground.run(&["put", "new", "nope"]).fails(6, "nope: No such file or directory");
    ground.run(&["put", "new", "first"]).fails(6, "first: Is a directory");
    // 7: without descriptors.
    let few = ground.after("ulimit -n 4", &["get", "key"]).output().unwrap();
    Run::of(few).fails(7, "EMFILE");
    // 5: our directory is not ours alone.
    let uid = fs::metadata(ground.dir.path()).unwrap().uid();
    let grounds = ["first", "second"].map(|tier| ground.path(tier).join(format!("vfs1-{uid}")));
    for dir in &grounds {
        fs::set_permissions(dir, fs::Permissions::from_mode(0o755)).unwrap();
    }
    ground.run(&["put", "new", "/dev/null"]).fails(5, "other users can reach our directory");
    for dir in &grounds {
        fs::set_permissions(dir, fs::Permissions::from_mode(0o700)).unwrap();
    }
    assert_eq!(ground.run(&["ls", "-k"]).text(), "key\n");
    // 8: another process holds the key.
    let lock = fs::File::options().write(true).open(format!("{}/\\lock", grounds[0].display())).unwrap();
    // SAFETY: all zeroes are a `flock`; the descriptor is ours, and the struct lives during the call.
    let held = unsafe {
        let mut whole: libc::flock = std::mem::zeroed();
        whole.l_type = libc::F_WRLCK as _;
        libc::fcntl(lock.as_raw_fd(), libc::F_OFD_SETLK, &whole)
    };
    assert_eq!(held, 0);
    ground.run(&["rm", "key"]).fails(8, "key: ");
    drop(lock);
    assert_eq!(ground.run(&["rm", "key"]).text(), "");
}

#[test]
fn an_owned_blob_can_be_replaced_and_removed_by_its_key() {
    let ground = Ground::new();
    let store = ground.store();
    for key in ["replaced", "removed"] {
        store.store(&Key::new(key).unwrap(), b"owned", Flags::default()).unwrap();
    }
    assert_eq!(ground.feed(&["put", "-r", "replaced"], b"persistent").text(), "");
    assert_eq!(ground.run(&["rm", "removed"]).text(), "");
    drop(store);
    assert_eq!(ground.run(&["get", "replaced"]).text(), "persistent");
    assert_eq!(ground.run(&["ls", "-k"]).text(), "replaced\n");
}

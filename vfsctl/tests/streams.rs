//! Standard streams that are closed, of the wrong direction, full or failing: never a silent success.
mod common;

use common::{Ground, Run};
use std::fs::{self, File};
use std::process::Command;

/// What needs the standard output.
const TELLING: [&str; 16] = [
    "get key",
    "get key -",
    "get key /dev/stdout",
    "get key /dev/fd/1",
    "get key file --json",
    "ls",
    "ls --json",
    "ls --keys",
    "stat key",
    "tiers",
    "tiers --try 1K",
    "watch -n 1",
    "reap",
    "reap --dry-run --json",
    "--help",
    "get --help",
];

fn ground() -> Ground {
    let ground = Ground::new();
    ground.keep("key", b"bytes");
    ground
}

/// The runtime opens `/dev/null` where a standard stream is closed, and each of these was a success.
#[test]
fn a_closed_output_is_a_failure_that_names_ebadf() {
    let ground = ground();
    fs::write(ground.path("input"), b"input").unwrap();
    for redirection in [">&-", "1</dev/null", "<&- >&-"] {
        for command in TELLING.into_iter().chain(["--version", "rm --json key", "put --json new input"]) {
            ground.shell(&format!("$V {command} {redirection}")).fails(6, "Bad file descriptor");
        }
        // Nothing was changed by what could not be told.
        assert_eq!(ground.run(&["ls", "-k"]).text(), "key\n");
        assert!(!ground.path("file").exists());
    }
    // What tells nothing needs none.
    for command in ["put new input", "get new copy", "rm new", "generate share"] {
        assert_eq!(ground.shell(&format!("$V {command} <&- >&-")).text(), "", "{command}");
    }
    assert_eq!(fs::read(ground.path("copy")).unwrap(), b"input");
    // A store without blobs has as little to tell, and says it to nobody.
    ground.run(&["rm", "key"]).text();
    ground.shell("$V ls >&-").fails(6, "Bad file descriptor");
    // What was sent away on purpose is no failure.
    assert_eq!(ground.shell("$V ls >/dev/null; $V ls <>/dev/null 1>&0; $V put new </dev/null").text(), "");
}

/// An empty blob was stored.
#[test]
fn a_closed_input_is_a_failure_and_stores_nothing() {
    let ground = ground();
    fs::write(ground.path("unreadable"), b"").unwrap();
    for redirection in ["<&-", "0>unreadable", "<&- >&-"] {
        for command in ["put new", "put new -", "put -r key", "put new /dev/stdin", "put new /dev/fd/0"] {
            ground.shell(&format!("$V {command} {redirection}")).fails(6, "Bad file descriptor");
        }
        assert_eq!(ground.run(&["ls", "-k"]).text(), "key\n");
        assert_eq!(ground.run(&["get", "key"]).text(), "bytes");
        // Who reads nothing needs none.
        assert_eq!(ground.shell(&format!("$V get key {}", redirection.replace(" >&-", ""))).text(), "bytes");
    }
    ground.shell("$V get key /dev/stdin <&-").fails(6, "/dev/stdin: Bad file descriptor");
    ground.shell("$V put new first").fails(6, "first: Is a directory");
    ground.shell("$V put new < first").fails(6, "standard input: Is a directory");
    ground.shell("$V put new /dev/stdout >&-").fails(6, "/dev/stdout: Bad file descriptor");
    assert_eq!(ground.files().len(), 1);
}

/// There are more ways to name a stream. Behind these was the runtime's own `/dev/null`, which took every blob.
#[test]
fn a_closed_output_is_closed_by_all_its_names() {
    let ground = ground();
    for (name, reason) in [
        ("/proc/self/fd/1", "Bad file descriptor"),
        ("/dev/../dev/fd/1", "Bad file descriptor"),
        ("/proc/thread-self/fd/1", "Bad file descriptor"),
        ("/proc/self/task/$$/fd/1", "Bad file descriptor"),
    ] {
        ground.shell(&format!("exec $V get key {name} >&-")).fails(6, reason);
        assert_eq!(ground.shell(&format!("exec $V get key {name}")).text(), "bytes", "{name}");
    }
    // These are no numbers of descriptors to the kernel.
    for name in ["/dev/fd/01", "/dev/fd/+1", "/dev/fd/-1"] {
        ground.shell(&format!("$V get key {name}")).fails(6, "No such file or directory");
    }
    ground.shell("exec $V put new /proc/thread-self/fd/0 <&-").fails(6, "Bad file descriptor");
    assert_eq!(ground.run(&["ls", "-k"]).text(), "key\n");
}

/// Without `/dev/null`, the runtime ended the process by SIGABRT.
#[test]
fn a_closed_stream_needs_no_dev_null() {
    if !common::is_root("a_closed_stream_needs_no_dev_null") {
        return;
    }
    let ground = ground();
    for (redirection, status) in [(">&-", 6), ("<&-", 0), ("2>&-", 0), ("<&- >&- 2>&-", 6)] {
        let line = format!("mount -t tmpfs none /dev && exec $V ls -k {redirection}");
        let run = ground.shell(&format!("unshare -m --propagation private sh -c '{line}'"));
        assert_eq!((run.status, run.signal), (Some(status), None), "{redirection}: {run:?}");
    }
}

/// A descriptor that the caller had closed was one that vfsctl had opened for itself by then: the lock file of the tier
/// got the bytes of the blob.
#[test]
fn a_descriptor_of_our_own_is_not_the_callers() {
    let ground = ground();
    for dir in ["/dev/fd", "/proc/self/fd", "/proc/thread-self/fd"] {
        for number in 3..10 {
            let path = format!("{dir}/{number}");
            let missing = format!("{path}: No such file or directory");
            for command in ["get key", "put -r key"] {
                let run = ground.shell(&format!("exec {number}>&-; exec $V {command} {path}"));
                run.fails(6, &missing);
            }
        }
    }
    assert_eq!(ground.files().len(), 1); // and the lock file has no byte
    assert_eq!(ground.run(&["get", "key"]).text(), "bytes");
    // One that the caller has opened is its own.
    assert_eq!(ground.shell("$V get key /dev/fd/7 7>out; $V put new /dev/fd/7 7<out; $V get new").text(), "bytes");
}

#[test]
fn a_closed_error_stream_keeps_the_exit_status() {
    let ground = ground();
    for redirection in ["2>&-", "2</dev/null", "2>/dev/full", "<&- 2>&-"] {
        for (command, status) in [
            ("get nope", 1),
            ("frobnicate", 2),
            ("put new nope", 6),
            ("get key file", 0),
            ("ls", 0),
            ("get key", 0),
            // What is to be said there, and cannot be.
            ("get key --json", if redirection == "2>/dev/full" { 4 } else { 6 }),
        ] {
            let run = ground.shell(&format!("$V {command} {redirection}"));
            assert_eq!((run.status, run.err.as_str()), (Some(status), ""), "{command} {redirection}");
        }
    }
    // To be told of what happens was asked for.
    ground.shell("$V -v put loud /dev/null 2>&-").fails_silently(6);
    assert_eq!(ground.run(&["ls", "-k"]).text(), "key\n");
    // A tier that is not looked into is said beside what the others have.
    fs::remove_dir_all(ground.path("second")).unwrap();
    fs::write(ground.path("second"), b"no directory").unwrap();
    let run = ground.run(&["ls", "-k"]);
    assert!(run.status == Some(0) && run.err.contains("is not looked into"), "{run:?}");
    for redirection in ["2>&-", "2>/dev/full"] {
        let run = ground.shell(&format!("$V ls -k {redirection}"));
        assert_eq!((run.status, run.out.as_slice()), (Some(6), &b"key\n"[..]), "{redirection}");
    }
}

#[test]
fn a_full_output_is_a_failure_of_each_command() {
    let ground = ground();
    for command in TELLING.into_iter().chain(["--version", "stat --json key", "rm --json nope --force"]) {
        // What `get key file --json` tells comes after the file is whole.
        ground.shell(&format!("$V {command} >/dev/full")).fails(4, "No space left on device");
    }
}

#[test]
fn an_input_that_fails_midway_stores_nothing() {
    let ground = ground();
    // The kernel's own: at the address 0 nothing can be read.
    ground.run(&["put", "new", "/proc/self/mem"]).fails(6, "/proc/self/mem: Input/output error");
    assert_eq!(ground.files().len(), 1);
    if !common::has("strace") {
        return common::skip("strace is not there");
    }
    fs::write(ground.path("input"), common::bytes(3 << 20)).unwrap();
    for arguments in [&["put", "new", "input"][..], &["put", "new"], &["put", "-r", "key"]] {
        let inner = ground.command(arguments);
        let mut strace = Command::new("strace");
        strace.args(["-f", "-o", "/dev/null", "-P"]).arg(ground.path("input"));
        strace.args(["-e", "inject=read:error=EIO:when=3"]).arg(inner.get_program()).args(inner.get_args());
        strace.current_dir(ground.dir.path()).env_remove("VFS_TIERS").stdin(File::open(ground.path("input")).unwrap());
        Run::of(strace.output().unwrap()).fails(6, "Input/output error");
        assert_eq!(ground.run(&["ls", "-k"]).text(), "key\n");
        assert_eq!(ground.run(&["get", "key"]).text(), "bytes");
        assert_eq!(ground.files().len(), 1);
    }
}

/// `vfsctl ls --keys | xargs vfsctl rm` took such a key for an option.
#[test]
fn a_key_that_looks_like_an_option_can_be_named() {
    let ground = ground();
    for key in ["--json", "-", "--", "-k"] {
        assert_eq!(ground.feed(&["put", "--", key], b"dashes").text(), "", "{key}");
        assert_eq!(ground.run(&["get", "--", key]).text(), "dashes");
    }
    assert_eq!(ground.run(&["ls", "-k"]).text(), "-\n--\n--json\n-k\nkey\n");
    assert_eq!(ground.shell("$V ls --keys | xargs -d '\\n' $V rm --").text(), "");
    assert_eq!(ground.run(&["ls", "-k"]).text(), "");
}

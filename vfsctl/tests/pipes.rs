//! `put` and `get` with pipes, signals and files that fail: all bytes or none, and nothing left behind.
mod common;

use common::{Ground, Run};
use std::fs;
use std::io::{Read, Write};
use std::process::Stdio;

const BIG: usize = 64 << 20;

#[test]
fn a_long_pipe_moves_on_when_it_outgrows_its_tier_and_comes_back_whole() {
    let ground = Ground::with("?max=16M", "");
    let bytes = common::bytes(BIG);
    let put = ground.feed(&["put", "big", "--json"], &bytes).json();
    assert_eq!((put[0]["size"].as_u64(), put[0]["tier"].as_u64()), (Some(BIG as u64), Some(1)));
    let got = ground.run(&["get", "big"]);
    assert_eq!((got.status, got.err.as_str()), (Some(0), ""));
    assert!(got.out == bytes);
    assert_eq!(ground.files().len(), 1, "the draft on the first tier is gone");
}

#[test]
fn a_part_of_standard_input_that_was_read_already_is_not_stored() {
    let ground = Ground::with("?max=10", ""); // room for the rest, not for all
    fs::write(ground.path("lines"), "first\nsecond\n").unwrap();
    // `read` of a shell takes one line of a file and no byte more.
    let mut command = ground.after("read line", &["put", "rest", "--json"]);
    let run = Run::of(command.stdin(fs::File::open(ground.path("lines")).unwrap()).output().unwrap());
    let put = run.json();
    assert_eq!((put[0]["size"].as_u64(), put[0]["tier"].as_u64()), (Some(7), Some(0)));
    assert_eq!(ground.run(&["get", "rest"]).text(), "second\n");
}

#[test]
fn a_blob_that_is_replaced_while_it_is_got_is_got_as_it_was() {
    let ground = Ground::new();
    let bytes = common::bytes(8 << 20);
    ground.keep("key", &bytes);
    let mut child = ground.command(&["get", "key"]).spawn().unwrap();
    let mut out = child.stdout.take().unwrap();
    let mut got = vec![0; 1000];
    out.read_exact(&mut got).unwrap();
    ground.keep("key", b"another");
    out.read_to_end(&mut got).unwrap();
    assert_eq!(Run::of(child.wait_with_output().unwrap()).text(), "");
    assert!(got == bytes);
}

#[test]
fn a_blob_that_is_truncated_while_it_is_got_is_a_failure_and_no_signal() {
    let ground = Ground::new();
    ground.keep("key", &common::bytes(8 << 20));
    let mut child = ground.command(&["get", "key"]).spawn().unwrap();
    let mut out = child.stdout.take().unwrap();
    out.read_exact(&mut [0; 1000]).unwrap();
    let (blob, _) = &ground.files()[0];
    fs::File::options().write(true).open(blob).unwrap().set_len(0).unwrap();
    let mut rest = Vec::new();
    out.read_to_end(&mut rest).unwrap();
    assert!(rest.len() < 8 << 20);
    Run::of(child.wait_with_output().unwrap()).fails(6, "key: the blob was cut short");
}

#[test]
fn who_closes_the_pipe_hears_nothing_more() {
    let ground = Ground::new();
    ground.keep("key", &common::bytes(1 << 20));
    let store = ground.store();
    for number in 0..1000 {
        let key = vfs::Key::new(format!("{number:0200}")).unwrap();
        store.store(&key, b"", vfs::Flags::default()).unwrap();
    }
    for arguments in [&["get", "key"][..], &["ls"], &["ls", "--json"], &["watch", "-i", "1ms"], &["--help"]] {
        let mut child = ground.command(arguments).spawn().unwrap();
        drop(child.stdout.take());
        let run = Run::of(child.wait_with_output().unwrap());
        assert_eq!((run.signal, run.err.as_str()), (Some(libc::SIGPIPE), ""), "{arguments:?}");
    }
}

#[test]
fn output_that_cannot_be_written_is_a_failure() {
    let ground = Ground::new();
    ground.keep("key", b"bytes");
    for arguments in [&["get", "key"][..], &["ls"], &["stat", "key"], &["tiers"], &["watch"], &["rm", "--json", "key"]]
    {
        let full = fs::File::options().write(true).open("/dev/full").unwrap();
        let run = Run::of(ground.command(arguments).stdout(full).output().unwrap());
        run.fails(4, "standard output: No space left on device");
    }
}

#[test]
fn a_file_is_written_whole_or_not_at_all() {
    let ground = Ground::new();
    ground.keep("key", &common::bytes(1 << 20));
    fs::write(ground.path("file"), b"before").unwrap();
    // A file may grow to 64 blocks of 512 or 1024 bytes.
    for name in ["file", "new"] {
        for setup in ["ulimit -f 64", "trap '' XFSZ && ulimit -f 64"] {
            let mut limited = ground.after(setup, &["get", "key", name]);
            Run::of(limited.output().unwrap()).fails(4, "File too large");
        }
    }
    assert_eq!(fs::read(ground.path("file")).unwrap(), b"before");
    assert!(!ground.path("new").exists());
    assert!(common::none_begins(ground.dir.path(), ".vfsctl"));
}

#[test]
fn an_interrupted_get_leaves_no_part_of_a_file() {
    let ground = Ground::new();
    let bytes = common::bytes(BIG);
    ground.keep("key", &bytes);
    fs::write(ground.path("file"), b"before").unwrap();
    // The moment must be met while the file is written, which may take some tries.
    let met = (0..100).any(|_| {
        let child = ground.command(&["get", "key", "file"]).spawn().unwrap();
        common::until("the part of a file", || {
            let begun = !common::none_begins(ground.dir.path(), ".vfsctl");
            (begun || fs::metadata(ground.path("file")).unwrap().len() > 6).then_some(())
        });
        common::signal(&child, libc::SIGINT);
        let run = common::end(child);
        assert!(common::none_begins(ground.dir.path(), ".vfsctl"), "{run:?}");
        let file = fs::read(ground.path("file")).unwrap();
        let interrupted = run.signal == Some(libc::SIGINT);
        assert!(file == bytes || interrupted && file == b"before", "{run:?}");
        fs::write(ground.path("file"), b"before").unwrap();
        interrupted && file == b"before" && run.err.is_empty()
    });
    assert!(met);
}

#[test]
fn an_interrupted_put_leaves_nothing_in_the_store() {
    let ground = Ground::new();
    for signal in
        [libc::SIGINT, libc::SIGTERM, libc::SIGHUP, libc::SIGQUIT, libc::SIGALRM, libc::SIGUSR1, libc::SIGXCPU]
    {
        let mut child = ground.command(&["put", "key"]).stdin(Stdio::piped()).spawn().unwrap();
        let mut input = child.stdin.take().unwrap();
        input.write_all(&common::bytes(100_000)).unwrap();
        common::until("the draft", || ground.files().iter().any(|(_, size)| *size == 100_000).then_some(()));
        common::signal(&child, signal);
        let run = common::end(child);
        assert_eq!((run.signal, run.err.as_str()), (Some(signal), ""));
        assert_eq!(ground.files(), []);
    }
}

#[test]
fn an_interrupted_try_of_the_tiers_leaves_nothing_in_the_store() {
    let ground = Ground::new();
    // The moment must be met while the bytes are written, which may take some tries.
    let met = (0..100).any(|_| {
        let child = ground.command(&["tiers", "--try", "64M"]).spawn().unwrap();
        common::until("the owner's room", || (!ground.files().is_empty()).then_some(()));
        common::signal(&child, libc::SIGINT);
        let run = common::end(child);
        assert_eq!(ground.files(), [], "{run:?}");
        run.signal == Some(libc::SIGINT)
    });
    assert!(met);
}

#[test]
fn a_signal_that_was_to_be_ignored_is_ignored() {
    let ground = Ground::new();
    let mut child = ground.after("trap '' HUP", &["put", "key"]).stdin(Stdio::piped()).spawn().unwrap();
    let mut input = child.stdin.take().unwrap();
    input.write_all(b"before, ").unwrap();
    common::until("the draft", || ground.files().iter().any(|(_, size)| *size == 8).then_some(()));
    common::signal(&child, libc::SIGHUP);
    input.write_all(b"after").unwrap();
    drop(input);
    assert_eq!(common::end(child).text(), "");
    assert_eq!(ground.run(&["get", "key"]).text(), "before, after");
}

//! What a person sees: a bar for what takes long, and the tiers live, on a terminal and nowhere else.
mod common;

use common::{Ground, LONG, Run, until};
use std::fs::File;
use std::io::{ErrorKind, Read, Write};
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};
use std::os::unix::process::CommandExt;
use std::process::{Child, Stdio};
use std::time::{Duration, Instant};

/// A terminal: what types and sees, and what a program has of it. The first does not wait.
fn terminal() -> (File, OwnedFd) {
    let (mut person, mut program) = (-1, -1);
    let size = libc::winsize { ws_row: 24, ws_col: 100, ws_xpixel: 0, ws_ypixel: 0 };
    // SAFETY: two places for descriptors, which are ours once it has answered 0, and a size that is only read.
    let (person, program) = unsafe {
        let none = std::ptr::null_mut();
        assert_eq!(libc::openpty(&mut person, &mut program, none, none.cast(), &size), 0);
        libc::fcntl(person, libc::F_SETFL, libc::O_NONBLOCK);
        libc::fcntl(person, libc::F_SETFD, libc::FD_CLOEXEC);
        libc::fcntl(program, libc::F_SETFD, libc::FD_CLOEXEC);
        (OwnedFd::from_raw_fd(person), OwnedFd::from_raw_fd(program))
    };
    (File::from(person), program)
}

/// Takes what is shown so far.
fn see(person: &mut File, seen: &mut Vec<u8>) {
    match person.read_to_end(seen) {
        Ok(_) => {}
        Err(e) if matches!(e.kind(), ErrorKind::WouldBlock) || e.raw_os_error() == Some(libc::EIO) => {}
        Err(e) => panic!("{e}"),
    }
}

fn shows(seen: &[u8], what: &str) -> bool {
    String::from_utf8_lossy(seen).contains(what)
}

/// Writes a KiB now and then until `enough`.
fn trickle(child: &mut Child, mut enough: impl FnMut() -> bool) -> usize {
    let mut input = child.stdin.take().unwrap();
    let begun = Instant::now();
    let mut written = 0;
    while !enough() {
        assert!(begun.elapsed() < LONG, "not seen");
        input.write_all(&[0; 1024]).unwrap();
        written += 1024;
        std::thread::sleep(Duration::from_millis(20));
    }
    written
}

#[test]
fn a_long_put_shows_how_far_it_is_and_clears_it_at_the_end() {
    let ground = Ground::new();
    let (mut person, program) = terminal();
    let mut seen = Vec::new();
    let mut child = ground.command(&["put", "key"]).stdin(Stdio::piped()).stderr(program).spawn().unwrap();
    let written = trickle(&mut child, || {
        see(&mut person, &mut seen);
        shows(&seen, "KiB, ") && shows(&seen, "KiB/s")
    });
    let run = Run::of(child.wait_with_output().unwrap());
    assert_eq!((run.status, run.out), (Some(0), vec![]));
    see(&mut person, &mut seen);
    assert!(seen.ends_with(b"\r\x1b[2K"), "the line is cleared: {:?}", String::from_utf8_lossy(&seen));
    assert_eq!(ground.run(&["stat", "--json", "key"]).json()[0]["size"], written);
}

#[test]
fn a_long_get_shows_how_much_there_is_in_all() {
    let ground = Ground::new();
    let bytes = common::bytes(4 << 20);
    ground.keep("key", &bytes);
    let (mut person, program) = terminal();
    let mut seen = Vec::new();
    let mut child = ground.command(&["get", "key"]).stderr(program).spawn().unwrap();
    let mut out = child.stdout.take().unwrap();
    let mut got = vec![0; 64 << 10];
    out.read_exact(&mut got).unwrap();
    // Who reads makes it wait for longer than a bar does.
    std::thread::sleep(Duration::from_millis(1100));
    let mut part = vec![0; 64 << 10];
    loop {
        match out.read(&mut part).unwrap() {
            0 => break,
            len => got.extend(&part[..len]),
        }
        see(&mut person, &mut seen);
    }
    assert_eq!(child.wait().unwrap().code(), Some(0));
    see(&mut person, &mut seen);
    assert!(got == bytes);
    assert!(shows(&seen, " of 4.00 MiB"), "{:?}", String::from_utf8_lossy(&seen));
}

#[test]
fn without_a_terminal_there_is_no_bar() {
    let ground = Ground::new();
    let mut child = ground.command(&["put", "key"]).stdin(Stdio::piped()).spawn().unwrap();
    let begun = Instant::now();
    trickle(&mut child, || begun.elapsed() > Duration::from_millis(1500));
    assert_eq!(Run::of(child.wait_with_output().unwrap()).text(), "");
}

#[test]
fn what_is_soon_done_shows_no_bar() {
    let ground = Ground::new();
    let (mut person, program) = terminal();
    ground.keep("key", b"bytes");
    let run = Run::of(ground.command(&["get", "key"]).stderr(program).output().unwrap());
    let mut seen = Vec::new();
    see(&mut person, &mut seen);
    assert_eq!((run.status, run.out, seen), (Some(0), b"bytes".to_vec(), vec![]));
}

#[test]
fn watch_draws_over_what_it_drew_until_the_interrupt_key() {
    let ground = Ground::new();
    let (mut person, program) = terminal();
    let mut command = ground.command(&["watch", "--interval", "10ms"]);
    let [input, out, error] = [(); 3].map(|()| program.try_clone().unwrap());
    command.stdin(input).stdout(out).stderr(error);
    let fd = program.as_raw_fd();
    // SAFETY: both are system calls alone, which may be called between fork and exec; the descriptor is open there.
    unsafe {
        command.pre_exec(move || match (libc::setsid(), libc::ioctl(fd, libc::TIOCSCTTY, 0)) {
            (-1, _) | (_, -1) => Err(std::io::Error::last_os_error()),
            _ => Ok(()),
        });
    }
    let mut child = command.spawn().unwrap();
    drop((program, command));
    let mut seen = Vec::new();
    let mut wait_for = |what: &str| {
        until(what, || {
            see(&mut person, &mut seen);
            String::from_utf8_lossy(&seen).replace("\x1b[K", "").contains(what).then_some(())
        });
    };
    wait_for("\x1b[2J\x1b[Hstore default at ");
    wait_for("\x1b[J\x1b[Hstore default at "); // the second picture over the first
    ground.keep("key", b"bytes");
    wait_for("   0  dir       1    5 B        0  ");
    person.write_all(b"\x03").unwrap();
    let ended = until("the end", || child.try_wait().unwrap());
    assert_eq!(std::os::unix::process::ExitStatusExt::signal(&ended), Some(libc::SIGINT));
}

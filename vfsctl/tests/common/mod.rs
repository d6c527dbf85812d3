//! What the tests of vfsctl share: tiers of their own, runs of the real program, and an owner that can be killed.
#![allow(dead_code)] // each test uses a part of it

use serde_json::Value;
use std::ffi::OsStr;
use std::fs;
use std::io::{BufRead, BufReader, Read, Write};
use std::os::unix::fs::PermissionsExt;
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::time::{Duration, Instant};
use vfs::{Flags, Key, Options, Store};

/// Longer than anything here takes: a bound against hanging, no more.
pub const LONG: Duration = Duration::from_secs(60);

/// Says why a test could not run. Under CI that is a failure: there everything must run.
pub fn skip(reason: &str) {
    let _ = writeln!(std::io::stderr(), "SKIPPED: {reason}"); // past the capture, to be seen though the test passes
    assert!(std::env::var_os("CI").is_none_or(|ci| ci != "true"), "skipped under CI: {reason}");
}

/// Copied by another process: a child of this one that has not reached `exec` yet would keep it open for writing, and
/// then it could not be run.
pub fn copy_program(to: &Path) {
    let copied = Command::new("cp").arg(env!("CARGO_BIN_EXE_vfsctl")).arg(to).status().unwrap();
    assert!(copied.success());
}

pub fn has(program: &str) -> bool {
    Command::new("sh").args(["-c", "command -v \"$0\"", program]).output().unwrap().status.success()
}

/// Whether this test is root's, who can be several users. Else it is run again as root where that needs no password.
pub fn is_root(test: &str) -> bool {
    // SAFETY: a call of the system without arguments.
    if unsafe { libc::geteuid() } == 0 {
        return true;
    }
    let sudo = |arguments: &[&OsStr]| Command::new("sudo").arg("-n").args(arguments).status();
    if sudo(&["true".as_ref()]).is_ok_and(|status| status.success()) {
        let program = std::env::current_exe().unwrap();
        let ended = sudo(&[program.as_os_str(), "--exact".as_ref(), test.as_ref()]).unwrap();
        assert!(ended.success(), "{test} as root");
    } else {
        skip(&format!("{test} needs root"));
    }
    false
}

/// Two tiers below a directory that goes away with them.
pub struct Ground {
    pub dir: tempfile::TempDir,
    /// Settings of the first tier, such as `?max=64K`.
    pub first: &'static str,
    /// Settings of the second one.
    pub second: &'static str,
}

/// How a run ended and what it said.
#[derive(Debug)]
pub struct Run {
    pub status: Option<i32>,
    pub signal: Option<i32>,
    pub out: Vec<u8>,
    pub err: String,
}

impl Run {
    pub fn of(output: Output) -> Run {
        let err = String::from_utf8(output.stderr).expect("UTF-8 on the standard error");
        Run { status: output.status.code(), signal: output.status.signal(), out: output.stdout, err }
    }

    /// What it printed; panics unless it ended well and had nothing to say otherwise.
    pub fn text(self) -> String {
        assert_eq!((self.status, self.err.as_str()), (Some(0), ""), "{self:?}");
        String::from_utf8(self.out).expect("UTF-8 on the standard output")
    }

    /// The objects that it printed, one a line.
    pub fn json(self) -> Vec<Value> {
        self.text().lines().map(|line| serde_json::from_str(line).expect(line)).collect()
    }

    /// Panics unless it failed so and could say nothing.
    pub fn fails_silently(&self, status: i32) {
        assert_eq!((self.status, self.out.as_slice(), self.err.as_str()), (Some(status), &b""[..], ""), "{self:?}");
    }

    /// Panics unless it failed so, with one line on the standard error that has this in it.
    pub fn fails(&self, status: i32, with: &str) {
        assert_eq!(self.status, Some(status), "{self:?}");
        assert!(self.err.starts_with("vfsctl: ") && self.err.contains(with), "{with:?} is not in {self:?}");
        assert!(self.err.ends_with('\n') && self.err.lines().count() == 1, "{self:?}");
    }
}

impl Ground {
    pub fn new() -> Ground {
        Ground::with("", "")
    }

    pub fn with(first: &'static str, second: &'static str) -> Ground {
        let dir = tempfile::tempdir().unwrap();
        for tier in ["first", "second"] {
            fs::create_dir(dir.path().join(tier)).unwrap();
        }
        Ground { dir, first, second }
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    pub fn tiers(&self) -> String {
        format!("{}{},{}{}", self.path("first").display(), self.first, self.path("second").display(), self.second)
    }

    /// The store as a program has it.
    pub fn store(&self) -> Store {
        Store::open(Options { tiers: Some(self.tiers().as_bytes()), ..Options::default() }).unwrap()
    }

    /// A blob that lives on.
    pub fn keep(&self, key: impl AsRef<[u8]>, bytes: &[u8]) {
        let flags = Flags { persist: true, replace: true };
        self.store().store(&Key::new(key).unwrap(), bytes, flags).unwrap();
    }

    pub fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_vfsctl"));
        command.arg("--tiers").arg(self.tiers()).args(arguments).env_remove("VFS_TIERS").env("TERM", "xterm");
        self.prepare(&mut command);
        command
    }

    /// The same, begun by a shell that first does something.
    pub fn after(&self, setup: &str, arguments: &[&str]) -> Command {
        let inner = self.command(arguments);
        let mut command = Command::new("sh");
        command.arg("-c").arg(format!("{setup} && exec \"$0\" \"$@\"")).arg(inner.get_program()).args(inner.get_args());
        self.prepare(command.env_remove("VFS_TIERS"));
        command
    }

    /// What another user runs, in the same directory and on the same tiers, which are opened to all. The group has the
    /// user's number.
    pub fn command_as(&self, uid: u32, arguments: &[&str]) -> Command {
        for dir in [self.dir.path().to_path_buf(), self.path("first"), self.path("second")] {
            fs::set_permissions(&dir, fs::Permissions::from_mode(0o777)).unwrap();
        }
        let program = self.path("vfsctl");
        if !program.exists() {
            copy_program(&program); // where it was built nobody else may look
        }
        let mut command = Command::new(program);
        command.arg("--tiers").arg(self.tiers()).args(arguments).env_remove("VFS_TIERS");
        self.prepare(command.uid(uid).gid(uid));
        command
    }

    pub fn run_as(&self, uid: u32, arguments: &[&str]) -> Run {
        Run::of(self.command_as(uid, arguments).output().unwrap())
    }

    /// What a line of a shell does there; `$V` is vfsctl with the tiers.
    pub fn shell(&self, line: &str) -> Run {
        let mut command = Command::new("sh");
        command.args(["-c", line]).env_remove("VFS_TIERS");
        command.env("V", format!("{} --tiers {}", env!("CARGO_BIN_EXE_vfsctl"), self.tiers()));
        self.prepare(&mut command);
        Run::of(command.output().unwrap())
    }

    fn prepare(&self, command: &mut Command) {
        command.current_dir(self.dir.path()).stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        // Tests that a shell runs in the background have the interrupt key ignored, and so would what they start.
        // SAFETY: `signal` is a system call alone, which may be called between fork and exec.
        unsafe {
            command.pre_exec(|| {
                for signal in [libc::SIGINT, libc::SIGQUIT, libc::SIGTERM, libc::SIGHUP] {
                    libc::signal(signal, libc::SIG_DFL);
                }
                Ok(())
            });
        }
    }

    pub fn run(&self, arguments: &[&str]) -> Run {
        Run::of(self.command(arguments).output().unwrap())
    }

    /// The same, with these bytes on its standard input.
    pub fn feed(&self, arguments: &[&str], bytes: &[u8]) -> Run {
        let mut child = self.command(arguments).stdin(Stdio::piped()).spawn().unwrap();
        let mut input = child.stdin.take().unwrap();
        std::thread::scope(|scope| {
            // It may end before it has read all.
            scope.spawn(move || drop(input.write_all(bytes)));
            Run::of(child.wait_with_output().unwrap())
        })
    }

    /// All files on the tiers, with their sizes, and the rooms of owners; else of the library's own only files with bytes.
    pub fn files(&self) -> Vec<(PathBuf, u64)> {
        let mut files = Vec::new();
        let mut dirs = vec![self.path("first"), self.path("second")];
        while let Some(dir) = dirs.pop() {
            for entry in fs::read_dir(&dir).unwrap().map(Result::unwrap) {
                let meta = entry.metadata().unwrap();
                match meta.is_dir() {
                    true => {
                        files.extend(dir.ends_with("owners").then(|| (entry.path(), 0)));
                        dirs.push(entry.path());
                    }
                    false if entry.file_name() == "\\lock" => assert_eq!(meta.len(), 0),
                    false => files.push((entry.path(), meta.len())),
                }
            }
        }
        files
    }

    /// Another process, which owns a blob of this key until it is killed.
    pub fn owner(&self, key: &str) -> Owner {
        let mut child = Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "an_owner_for_the_other_tests", "--ignored", "--nocapture"])
            .env("OWNER_KEY", key)
            .env("OWNER_TIERS", self.tiers())
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
        assert!(lines.any(|line| line.unwrap().contains("stored")), "the owner stores");
        Owner(child)
    }
}

pub struct Owner(Child);

impl Owner {
    pub fn kill(mut self) {
        self.0.kill().unwrap();
        self.0.wait().unwrap();
    }
}

/// What an [`Owner`] does. A file of tests that has owners calls it in a test of this name:
/// `an_owner_for_the_other_tests`, ignored else.
pub fn own() {
    let [Ok(key), Ok(tiers)] = ["OWNER_KEY", "OWNER_TIERS"].map(std::env::var) else { return };
    let store = Store::open(Options { tiers: Some(tiers.as_bytes()), ..Options::default() }).unwrap();
    store.store(&Key::new(&key).unwrap(), b"of an owner", Flags::default()).unwrap();
    println!("stored");
    let _ = std::io::stdin().read(&mut [0]); // until it is killed, or the test has ended
}

/// Bytes that differ everywhere.
pub fn bytes(len: usize) -> Vec<u8> {
    let mut state = 0x9E37_79B9_7F4A_7C15_u64;
    let mut bytes = Vec::with_capacity(len + 8);
    while bytes.len() < len {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        bytes.extend(state.to_le_bytes());
    }
    bytes.truncate(len);
    bytes
}

/// Looks until something is there; panics if it does not come.
pub fn until<T>(what: &str, mut look: impl FnMut() -> Option<T>) -> T {
    let begun = Instant::now();
    loop {
        if let Some(found) = look() {
            return found;
        }
        assert!(begun.elapsed() < LONG, "{what} did not come");
        std::thread::sleep(Duration::from_millis(1));
    }
}

/// How a process ended that had something short to say, if it ends.
pub fn end(mut child: Child) -> Run {
    let begun = Instant::now();
    while child.try_wait().unwrap().is_none() {
        if begun.elapsed() > LONG {
            child.kill().unwrap();
            panic!("it does not end: {:?}", Run::of(child.wait_with_output().unwrap()));
        }
        std::thread::sleep(Duration::from_millis(1));
    }
    Run::of(child.wait_with_output().unwrap())
}

pub fn signal(child: &Child, signal: i32) {
    // SAFETY: `kill` takes numbers alone; the child has not been waited for, so the number is its own.
    assert_eq!(unsafe { libc::kill(child.id() as i32, signal) }, 0);
}

/// Whether no name in a directory begins so.
pub fn none_begins(dir: &Path, prefix: &str) -> bool {
    fs::read_dir(dir).unwrap().all(|entry| !entry.unwrap().file_name().to_string_lossy().starts_with(prefix))
}

//! Compiles and runs the programs of `tests/c` and `tests/cpp`: each in a scratch directory and a process group of
//! its own, with a limit of time, and judged by its exit code, its silence and what it leaves.
use super::{cdylib_dir, skip};
use std::collections::HashMap;
use std::fs;
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::path::{Path, PathBuf};
use std::process::{Command, ExitStatus, Stdio};
use std::sync::Mutex;
use std::time::{Duration, Instant};

/// How long a program may take: a bound on hanging, not a measure.
const PATIENCE: Duration = Duration::from_secs(300);

/// Defines tests, each a run of one program in one mode: `name: "program" "mode";`
#[macro_export]
macro_rules! c_tests {
    ($($(#[$doc:meta])* $name:ident: $program:literal $mode:literal;)*) => {
        $($(#[$doc])* #[test] fn $name() { common::c::run($program, &[$mode]); })*
    };
}

/// How a program ended, and all that it wrote.
pub struct Outcome {
    pub status: ExitStatus,
    pub stdout: String,
    pub stderr: String,
    /// Its scratch directory, which goes with this.
    pub dir: tempfile::TempDir,
}

/// What checks each access to memory, and that what was allocated is freed.
pub const ASAN: &[&str] = &["-fsanitize=address", "-fno-omit-frame-pointer"];
pub const VALGRIND: &[&str] = &[
    "valgrind",
    "-q",
    "--fair-sched=yes",
    "--error-exitcode=99",
    "--leak-check=full",
    "--errors-for-leak-kinds=definite",
    "--num-callers=30",
];

/// Those that the tools themselves do not survive: refused memory, a fork while a thread allocates, failing calls. For
/// valgrind, storms of processes are too slow, and a mapping at a given address is not to be had.
fn survives(tool: &str, program: &str, args: &[&str]) -> bool {
    match (program, args) {
        ("no_memory", _) | ("forking", ["amid-threads"]) | ("kill_matrix", [_, _, ..]) => false,
        ("lifetimes", ["reaped-by-many" | "start-storm"]) | ("mutant_owner", ["reserved-and-forked"]) => tool == "asan",
        _ => true,
    }
}

/// Whether the C compiler has AddressSanitizer. Where it has, checks that it catches what it should.
pub fn asan_works() -> bool {
    let supported = Command::new(std::env::var_os("CC").unwrap_or("cc".into()))
        .args(ASAN)
        .args(["-D_GNU_SOURCE", "-o", "/dev/null"])
        .arg(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/c/sanitizer_is_on.c"))
        .output()
        .is_ok_and(|output| output.status.success());
    if !supported {
        skip("the C compiler has no AddressSanitizer");
        return false;
    }
    for bug in ["overflow", "leak"] {
        let caught = start(&compile("sanitizer_is_on", "asan", ASAN), &[], &[bug]);
        assert!(
            !caught.status.success() && caught.stderr.contains("Sanitizer"),
            "the sanitizer is not on: {}",
            caught.stderr
        );
    }
    true
}

/// Compiles and runs a program, which must exit with 0, print nothing, and leave nothing.
///
/// With `VFS_TEST_UNDER=asan` or `valgrind` in the environment, the programs of all tests run under that.
pub fn run(program: &str, args: &[&str]) {
    match std::env::var("VFS_TEST_UNDER").as_deref() {
        Ok(tool) if !survives(tool, program, args) => run_variant("plain", &[], program, args),
        Ok("asan") => run_variant("asan", ASAN, program, args),
        // (whoever dies without closing, on purpose, has lost what it had)
        Ok("valgrind") => run_under(&[VALGRIND, &["--leak-check=no"]].concat(), program, args),
        Ok(other) => panic!("VFS_TEST_UNDER is {other:?}"),
        Err(_) => run_variant("plain", &[], program, args),
    }
}

/// The same under a tool such as valgrind.
pub fn run_under(tool: &[&str], program: &str, args: &[&str]) {
    let outcome = start(&compile(program, "plain", &[]), tool, args);
    judge(program, args, &outcome);
}

/// The same, compiled with these flags more; `variant` tells such programs apart.
pub fn run_variant(variant: &str, flags: &[&str], program: &str, args: &[&str]) {
    let outcome = start(&compile(program, variant, flags), &[], args);
    judge(program, args, &outcome);
}

/// Fails unless all went well.
fn judge(program: &str, args: &[&str], outcome: &Outcome) {
    let Outcome { status, stdout, stderr, dir } = outcome;
    assert!(status.success() && stderr.is_empty(), "{program} {args:?}: {status}\n{stdout}{stderr}");
    for line in stdout.lines() {
        let reason = line.strip_prefix("SKIPPED: ");
        let reason = reason.unwrap_or_else(|| panic!("{program} {args:?} printed {line:?}"));
        skip(&format!("{program} {reason}"));
    }
    let mut left = Vec::new();
    find_left(&dir.path().join("scratch"), false, &mut left);
    // The machine's own shared memory is no test's: a store of the C tests there was made by mistake.
    for base in fs::read_dir("/dev/shm").into_iter().flatten().flatten() {
        let ours = base.file_name().to_string_lossy().starts_with("vfs1-") && base.path().join("harness").exists();
        left.extend(ours.then(|| base.path()));
    }
    assert!(left.is_empty(), "{program} {args:?} left behind {left:?}");
}

/// All that is ours below a directory, but for empty lock files.
pub fn find_left(dir: &Path, ours: bool, left: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(dir).into_iter().flatten().flatten() {
        let name = entry.file_name();
        let ours = ours || name.to_string_lossy().starts_with("vfs1-");
        match entry.file_type() {
            Ok(kind) if kind.is_dir() => {
                let base = dir.file_name().is_some_and(|name| name.to_string_lossy().starts_with("vfs1-"));
                left.extend(base.then(|| entry.path()));
                find_left(&entry.path(), ours, left);
            }
            _ if ours && !(name == "\\lock" && entry.metadata().is_ok_and(|m| m.len() == 0)) => left.push(entry.path()),
            _ => {}
        }
    }
}

/// Compiles `tests/c/PROGRAM.c` or `tests/cpp/PROGRAM.cpp` against this run's library, once, and returns its path.
pub fn compile(program: &str, variant: &str, flags: &[&str]) -> PathBuf {
    static BUILT: Mutex<Option<HashMap<String, PathBuf>>> = Mutex::new(None);
    let mut built = BUILT.lock().unwrap_or_else(|e| e.into_inner());
    let built = built.get_or_insert_default();
    let name = format!("{program}-{variant}");
    if let Some(path) = built.get(&name) {
        return path.clone();
    }
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let dir = Path::new(env!("CARGO_TARGET_TMPDIR")).join("c");
    fs::create_dir_all(&dir).expect("the directory for programs");
    let (lib, path) = (cdylib_dir(), dir.join(&name));
    // Other runs of cargo may use the same directory: the finished program takes its name at once.
    let fresh = dir.join(format!("{name}.{}", std::process::id()));
    let cxx = root.join("tests/cpp").join(program).with_extension("cpp");
    let mut cc = if cxx.exists() {
        let mut cxx = Command::new(std::env::var_os("CXX").unwrap_or("c++".into()));
        cxx.args(["-std=c++17", "-Wpedantic", "-Wshadow", "-Wconversion", "-O0"]);
        cxx
    } else {
        let mut cc = Command::new(std::env::var_os("CC").unwrap_or("cc".into()));
        cc.args(["-std=c11", "-D_GNU_SOURCE", "-O1"]);
        cc
    };
    let source = if cxx.exists() { cxx } else { root.join("tests/c").join(program).with_extension("c") };
    cc.args(["-Wall", "-Wextra", "-Werror", "-g", "-I"]).arg(root.join("include"));
    cc.args(flags).arg(source).arg("-o").arg(&fresh);
    cc.args(["-lpthread", "-ldl"]);
    if !matches!(program, "naive" | "unload" | "copies" | "sanitizer_is_on") {
        cc.arg("-L").arg(&lib).arg(format!("-Wl,-rpath,{}", lib.display())).arg("-lvfs");
    }
    if variant == "static" {
        cc.arg(lib.join("libvfs.a")).arg("-lm");
    }
    let output = cc.output().expect("the C compiler");
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success() && said.is_empty(), "compiling {program}: {said}");
    fs::rename(&fresh, &path).expect("naming the program");
    built.insert(name, path.clone());
    path
}

/// Runs `TOOL... PROGRAM SCRATCH ARGS...` to its end, or kills it when it takes too long.
pub fn start(path: &Path, tool: &[&str], args: &[&str]) -> Outcome {
    let dir = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).expect("a scratch directory");
    let scratch = dir.path().join("scratch");
    fs::create_dir(&scratch).expect("a scratch directory");
    let file = |name: &str| fs::File::create(dir.path().join(name)).expect("a file for output");
    let mut command = match tool {
        [] => Command::new(path),
        [first, rest @ ..] => {
            let mut command = Command::new(first);
            command.args(rest).arg(path);
            command
        }
    };
    command.arg(&scratch).args(args).env_remove("LD_LIBRARY_PATH").env_remove("VFS_TIERS");
    command.stdin(Stdio::null()).stdout(file("stdout")).stderr(file("stderr")).process_group(0);
    let mut child = command.spawn().unwrap_or_else(|e| panic!("running {command:?}: {e}"));
    let pid = child.id() as libc::pid_t;
    let until = Instant::now() + if tool.is_empty() { PATIENCE } else { 10 * PATIENCE };
    let ended = loop {
        // SAFETY: all zero is a valid `siginfo_t`.
        let mut info: libc::siginfo_t = unsafe { std::mem::zeroed() };
        let wait = libc::WEXITED | libc::WNOHANG | libc::WNOWAIT;
        // SAFETY: `info` is ours to fill. The child is left unreaped, so its number stays its own.
        let got = unsafe { libc::waitid(libc::P_PID, pid as libc::id_t, &mut info, wait) };
        // SAFETY: filled, or still zero.
        if got == 0 && unsafe { info.si_pid() } == pid {
            break true;
        }
        if Instant::now() > until {
            break false;
        }
        std::thread::sleep(Duration::from_millis(5));
    };
    // SAFETY: the group is that of the child, which is not reaped yet: none but ours is in it.
    unsafe { libc::kill(-pid, libc::SIGKILL) };
    let status = child.wait().expect("waiting for the program");
    let read = |name: &str| String::from_utf8_lossy(&fs::read(dir.path().join(name)).expect("its output")).into_owned();
    let (stdout, mut stderr) = (read("stdout"), read("stderr"));
    if !ended {
        stderr.push_str("killed: it took too long\n");
    }
    Outcome { status: if ended { status } else { ExitStatus::from_raw(libc::SIGKILL) }, stdout, stderr, dir }
}

/// Whether a program is there to be run.
pub fn have(tool: &str) -> bool {
    Command::new(tool).arg("--version").stdout(Stdio::null()).stderr(Stdio::null()).status().is_ok_and(|s| s.success())
}

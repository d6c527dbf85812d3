//! What the tests of Python run: `PYTHON` names the interpreter; default `python3`.
use super::{cdylib_dir, skip};
use std::fs;
use std::path::Path;
use std::process::{Command, Output};

/// The name of the interpreter.
pub fn interpreter() -> String {
    std::env::var("PYTHON").unwrap_or("python3".into())
}

/// The interpreter with the library of this test run, directories of its own to write to, and nothing written beside
/// the sources; or none, which is said, also where one of these modules is missing.
pub fn python(work: &Path, modules: &[&str]) -> Option<Command> {
    let name = interpreter();
    let answers = |program: &str| Command::new(&name).args(["-c", program]).output().is_ok_and(|o| o.status.success());
    if !answers("import sys; sys.exit(sys.version_info < (3, 9) or sys.implementation.name != 'cpython')") {
        skip(&format!("{name}: no CPython 3.9 or later"));
        return None;
    }
    if let Some(missing) = modules
        .iter()
        .find(|module| !answers(&format!("import sys, importlib.util as i; sys.exit(i.find_spec({module:?}) is None)")))
    {
        skip(&format!("{name} has no {missing}"));
        return None;
    }
    for tier in ["first", "second"] {
        fs::create_dir_all(work.join(tier)).unwrap();
    }
    let mut command = Command::new(name);
    command
        .env("VFS_LIBRARY", cdylib_dir().join("libvfs.so"))
        .env("VFS_TIERS", format!("{}?max=1M,{}", work.join("first").display(), work.join("second").display()))
        .env("TMPDIR", work)
        .env("PYTHONDONTWRITEBYTECODE", "1")
        .env_remove("PYTHONPATH")
        .current_dir(work);
    Some(command)
}

/// All that a program wrote.
pub fn text(out: &Output) -> String {
    format!("{}{}", String::from_utf8_lossy(&out.stdout), String::from_utf8_lossy(&out.stderr))
}

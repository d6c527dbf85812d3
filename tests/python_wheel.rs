//! The Python package that pyproject.toml describes: what is in it, and that it needs nothing but itself.
mod common;

use common::python::{python, text};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

const ROOT: &str = env!("CARGO_MANIFEST_DIR");

/// Runs to a good end; tells what was written.
fn done(command: &mut Command) -> String {
    let out = command.env_remove("VFS_LIBRARY").env("CARGO_NET_OFFLINE", "true").output().unwrap();
    assert!(out.status.success(), "{command:?}: {}\n{}", out.status, text(&out));
    String::from_utf8(out.stdout).unwrap()
}

/// Builds a package of this kind below `work`, as `python -m build` does when all that it needs is there. The wheel's
/// hook has cargo build into this project's target directory, as `make` does.
fn build(work: &Path, kind: &str) -> Option<PathBuf> {
    let out = work.join("dist");
    let mut python = python(work, &["build", "hatchling"])?;
    python.args(["-m", "build", "--no-isolation", "--outdir"]).arg(&out).args([kind, ROOT]);
    // Cargo's for its tests, which names the libraries of this build.
    done(python.env_remove("LD_LIBRARY_PATH"));
    let made: Vec<_> = fs::read_dir(out).unwrap().map(|entry| entry.unwrap().path()).collect();
    assert_eq!(made.len(), 1, "{made:?}");
    Some(made[0].clone())
}

/// What a program prints that is run by the interpreter at `python` in an empty directory, and hears of nothing else.
fn run(python: &Path, work: &Path, file: &Path) -> String {
    let empty = work.join("empty");
    fs::create_dir_all(&empty).unwrap();
    let mut command = Command::new(python);
    command.env_clear().args(["-I", "-B", "-X", "dev"]).arg(file).current_dir(&empty);
    command.env("VFS_TIERS", format!("{},{}", work.join("first").display(), work.join("second").display()));
    // The loader would find this one.
    command.env("LD_LIBRARY_PATH", common::cdylib_dir());
    let said = done(&mut command);
    assert!(fs::read_dir(empty).unwrap().next().is_none(), "something was left");
    said
}

/// Uses the package by each way of making a process.
const USES: &str = r#"
from __future__ import annotations
import importlib.metadata
import multiprocessing
import pathlib
import subprocess
import sys
from typing import Any
import vfs

def child(name: str) -> None:
    with vfs.Store("wheel") as store, store.map("parent's") as view:
        store.store(name, bytes(view.data)[::-1], persist=True)

if __name__ == "__main__":
    print("packages:", *sorted(d.name for d in importlib.metadata.distributions()))
    print("module:", vfs.__file__, "of", importlib.metadata.version("libvfs"), "with", vfs.version())
    lines = pathlib.Path("/proc/self/maps").read_text().splitlines()
    print("library:", *{line.split()[-1] for line in lines if "libvfs" in line})
    with vfs.Store("wheel") as store:
        store.store("parent's", b"stored")
        program = "import vfs, sys; sys.stdout.buffer.write(vfs.Store('wheel').read(\"parent's\"))"
        other = subprocess.run([sys.executable, "-I", "-B", "-c", program], stdout=subprocess.PIPE, check=True)
        print("another process:", other.stdout.decode())
        for method in ("fork", "spawn"):
            context: Any = multiprocessing.get_context(method)
            process = context.Process(target=child, args=(method,))
            process.start()
            process.join()
            print(f"{method}: {process.exitcode}", store.read(method).decode())
            store.remove(method)
        with store.create("file") as writer:
            writer.writelines([b"one, ", b"two"])
        print("writer:", store.read("file").decode())
"#;

#[test]
fn an_empty_environment_runs_on_what_the_wheel_carries() {
    let work = tempfile::tempdir().unwrap();
    let work = work.path();
    let Some(wheel) = build(work, "--wheel") else { return };
    let version = env!("CARGO_PKG_VERSION");
    let platform = format!("linux_{}", std::env::consts::ARCH);
    assert_eq!(wheel.file_name().unwrap().to_str().unwrap(), format!("libvfs-{version}-py3-none-{platform}.whl"));

    let Some(mut venv) = python(work, &["venv", "pip"]) else { return };
    done(venv.args(["-m", "venv", "--without-pip", "env"]));
    let env = work.join("env/bin/python");
    let mut pip = python(work, &[]).unwrap();
    pip.args(["-m", "pip", "--isolated", "--disable-pip-version-check", "--python"]).arg(&env);
    done(pip.args(["install", "--no-index", "--no-compile"]).arg(wheel));

    let site = PathBuf::from(
        done(Command::new(&env).args(["-c", "import sysconfig; print(sysconfig.get_path('platlib'))"])).trim(),
    );
    let mut files = Vec::new();
    find(&site, &site, &mut files);
    let info = format!("libvfs-{version}.dist-info");
    let expected = ["INSTALLER", "METADATA", "RECORD", "REQUESTED", "WHEEL", "direct_url.json"]
        .map(|file| format!("{info}/{file}"))
        .into_iter()
        .chain(["LICENSE-APACHE", "LICENSE-MIT"].map(|file| format!("{info}/licenses/{file}")))
        .chain(["__init__.py", "libvfs.so", "py.typed"].map(|file| format!("vfs/{file}")));
    assert_eq!(files, expected.collect::<Vec<_>>());
    for licence in ["LICENSE-APACHE", "LICENSE-MIT"] {
        let [ours, theirs] = [Path::new(ROOT).join(licence), site.join(&info).join("licenses").join(licence)];
        assert_eq!(fs::read(ours).unwrap(), fs::read(theirs).unwrap());
    }
    let module = site.join("vfs/__init__.py");
    assert_eq!(fs::read(&module).unwrap(), fs::read(Path::new(ROOT).join("examples/python/vfs.py")).unwrap());

    let uses = work.join("uses.py");
    fs::write(&uses, USES).unwrap();
    let expected = [
        "packages: libvfs".into(),
        format!("module: {} of {version} with {version}", module.display()),
        format!("library: {}", site.join("vfs/libvfs.so").display()),
        "another process: stored".into(),
        "fork: 0 derots".into(),
        "spawn: 0 derots".into(),
        "writer: one, two".into(),
    ];
    assert_eq!(run(&env, work, &uses).lines().collect::<Vec<_>>(), expected);

    // Type checkers take the types of an installed package only where py.typed is.
    let Some(mut mypy) = python(work, &["mypy"]) else { return };
    fs::write(work.join("wrong.py"), "import vfs\nvfs.Store().read(5)\nreveal_type(vfs.Store().read('k'))\n").unwrap();
    mypy.args(["-m", "mypy", "--strict", "--cache-dir", "/dev/null", "--python-executable"]).arg(&env);
    let said = text(&mypy.args(["uses.py", "wrong.py"]).output().unwrap());
    for line in ["wrong.py:2: error: Argument 1 to \"read\"", "Revealed type is \"bytes\"", "Found 1 error in 1 file "]
    {
        assert!(said.contains(line), "{line:?} is not in:\n{said}");
    }
}

/// All files below a directory, sorted.
fn find(site: &Path, dir: &Path, files: &mut Vec<String>) {
    for entry in fs::read_dir(dir).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            find(site, &path, files);
        } else {
            files.push(path.strip_prefix(site).unwrap().to_str().unwrap().into());
        }
    }
    files.sort();
}

#[test]
fn the_source_package_has_all_that_cargo_builds_the_library_of() {
    let work = tempfile::tempdir().unwrap();
    let work = work.path();
    let Some(package) = build(work, "--sdist") else { return };
    done(Command::new("tar").arg("xf").arg(package).current_dir(work));
    let source = work.join(format!("libvfs-{}", env!("CARGO_PKG_VERSION")));
    let files = |root: &Path, dir: &str| {
        let mut files = Vec::new();
        find(root, &root.join(dir), &mut files);
        files
    };
    assert_eq!(files(&source, "src"), files(Path::new(ROOT), "src"));
    for file in ["Cargo.lock", "build.rs", "LICENSE-APACHE", "LICENSE-MIT", "examples/python/vfs.py"] {
        assert_eq!(fs::read(source.join(file)).unwrap(), fs::read(Path::new(ROOT).join(file)).unwrap(), "{file}");
    }
    // And nothing that was built.
    let strange: Vec<_> = files(&source, "").into_iter().filter(|file| !Path::new(ROOT).join(file).exists()).collect();
    assert_eq!(strange, ["PKG-INFO"]);
    // Reads each manifest of the workspace, and finds the files that they name.
    let mut cargo = Command::new(std::env::var_os("CARGO").unwrap_or("cargo".into()));
    let graph = done(cargo.args(["metadata", "--no-deps", "--format-version", "1"]).current_dir(&source));
    assert!(graph.contains(&format!("{}/src/lib.rs", source.display())), "{graph}");
}

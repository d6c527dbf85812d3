//! `make demo` shows what it says, with a small `/dev/shm` and without.
mod common;

use std::process::Command;
use std::sync::{Mutex, PoisonError};

/// Both demos build the same programs.
static ONE_AT_A_TIME: Mutex<()> = Mutex::new(());

fn demo(plain: bool) -> String {
    let _alone = ONE_AT_A_TIME.lock().unwrap_or_else(PoisonError::into_inner);
    // In a place of its own, to see that nothing stays behind.
    let place = tempfile::tempdir().unwrap();
    let mut make = Command::new("make");
    for inherited in ["MAKEFLAGS", "MFLAGS", "MAKELEVEL", "VFS_TIERS", "VFS_DEMO_INSIDE", "VFS_DEMO_PLAIN"] {
        make.env_remove(inherited);
    }
    make.env_remove("LD_LIBRARY_PATH").env("TMPDIR", place.path());
    if plain {
        make.env("VFS_DEMO_PLAIN", "1");
    }
    let out = make.current_dir(env!("CARGO_MANIFEST_DIR")).arg("demo").output().expect("make");
    let said = String::from_utf8_lossy(&out.stdout).into_owned();
    assert!(out.status.success(), "{said}\n{}", String::from_utf8_lossy(&out.stderr));
    let left: Vec<_> = std::fs::read_dir(place.path()).unwrap().collect();
    assert!(left.is_empty(), "{left:?}");
    said
}

/// What both demos show: `first` is the kind of the first tier.
fn check(said: &str, first: &str) {
    for key in ["libvfs.so", "libvfs.a", "table", "libvfs.rlib", "vfs.h"] {
        let verdicts = |verdict: &str| {
            let lines = said.lines().filter(|line| line.trim_start().starts_with(&format!("{key} ")));
            lines.filter(|line| line.trim_end().ends_with(verdict)).count()
        };
        assert!(verdicts("stored") >= 1, "{key}: {said}");
        assert_eq!(verdicts("same bytes"), 1, "{key}: {said}");
    }
    let place = |key: &str| said.lines().find(|line| line.trim_start().starts_with(&format!("{key} "))).unwrap();
    assert!(place("vfs.h").contains(&format!("  0  {first}")), "{said}");
    assert!(place("table").contains("    67108864  1  directory"), "{said}");
    assert!(!said.contains("DIFFERS"), "{said}");
    assert_eq!(said.matches("nothing is left in the tiers").count(), 2, "{said}");
    assert!(said.ends_with("demo: ok\n"), "{said}");
}

#[test]
fn in_a_small_dev_shm_blobs_fall_through_to_disk_where_the_usual_way_dies() {
    let said = demo(false);
    if said.contains("FALLBACK") {
        check(&said, "directory");
        return common::skip("no private mounts: the demo fell back to a limit");
    }
    check(&said, "shared memory");
    assert!(said.contains("killed by SIGBUS"), "{said}");
}

#[test]
fn where_no_namespace_is_allowed_a_limit_shows_the_same() {
    let said = demo(true);
    assert!(said.contains("FALLBACK"), "{said}");
    check(&said, "directory");
}

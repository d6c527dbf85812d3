//! How much memory the control group leaves us: beyond it a write to a filesystem of memory is not answered with an
//! error but with the kernel's killer. Versions 1 and 2, the tightest of all ancestors, what can be reclaimed taken
//! off. Best effort: where nothing can be read there is no limit.
use super::alloc::Text;
use super::{Open, open, read_full};
use std::ffi::CStr;
use std::mem::MaybeUninit;
use std::os::fd::AsFd;

/// What is left to the process itself, and for moving a draft elsewhere that outgrows the limit: this part of it, and no
/// more than so many bytes.
const MARGIN_PART: u64 = 8;
const MARGIN_MAX: u64 = 64 << 20;

/// A longer path counts as not to be read. Small, since a thread's stack may be.
type Path = Text<512>;

/// Reads the limits below `root`, which is "" but in tests.
pub struct MemoryLimit<'a> {
    pub root: &'a [u8],
}

/// Calls `line` for each line of a file; one that does not fit the buffer is left out. False where it cannot be read.
pub(super) fn lines(path: &CStr, mut line: impl FnMut(&[u8])) -> bool {
    let Ok(file) = open(None, path, Open::Read) else {
        return false;
    };
    let mut buffer = [MaybeUninit::<u8>::uninit(); 1024];
    // Each read goes on where the last one ended: for any other place the kernel makes the file anew from its beginning,
    // and with thousands of mounts that takes it seconds.
    let (mut offset, mut kept, mut skip) = (0, 0, false);
    loop {
        let Ok(got) = read_full(file.as_fd(), &mut buffer[kept..], offset) else {
            return true;
        };
        offset += got as u64;
        let filled = kept + got;
        // SAFETY: `read_full` filled `got` bytes behind those that were kept.
        let mut rest = unsafe { std::slice::from_raw_parts(buffer.as_ptr().cast::<u8>(), filled) };
        while let Some(end) = rest.iter().position(|&b| b == b'\n') {
            if !std::mem::take(&mut skip) {
                line(&rest[..end]);
            }
            rest = &rest[end + 1..];
        }
        kept = rest.len();
        if filled < buffer.len() {
            if kept > 0 && !skip {
                line(rest);
            }
            return true;
        }
        if kept == filled {
            (kept, skip) = (0, true);
        }
        buffer.copy_within(filled - kept..filled, 0);
    }
}

fn number(text: &[u8]) -> Option<u64> {
    std::str::from_utf8(text).ok()?.trim().parse().ok()
}

/// A group hierarchy that limits memory: where it is mounted and which of its groups is ours.
struct Group {
    mount: Path,
    below: Path,
}

impl MemoryLimit<'_> {
    fn path(&self, parts: &[&[u8]]) -> Option<Path> {
        let mut path = Path::new();
        let fits = path.push(self.root) && parts.iter().all(|part| path.push(part));
        fits.then_some(path)
    }

    /// Bytes that can still be had; `None` where there is no limit, or none to be read.
    pub fn free(&self) -> Option<u64> {
        let [v1, v2] = [self.group(false), self.group(true)];
        let v1 = v1.and_then(|g| {
            self.tightest(&g, b"/memory.limit_in_bytes", b"/memory.usage_in_bytes", b"total_inactive_file ")
        });
        let v2 = v2.and_then(|g| self.tightest(&g, b"/memory.max", b"/memory.current", b"inactive_file "));
        [v1, v2].into_iter().flatten().min()
    }

    /// Our group, from `/proc/self/cgroup` and `/proc/self/mountinfo`.
    fn group(&self, v2: bool) -> Option<Group> {
        let mut ours = None;
        lines(self.path(&[b"/proc/self/cgroup"])?.as_c_str(), |line| {
            // "ID:CONTROLLERS:PATH"; version 2 is ID 0 without controllers
            let mut fields = line.splitn(3, |&b| b == b':');
            let (Some(id), Some(controllers), Some(path)) = (fields.next(), fields.next(), fields.next()) else {
                return;
            };
            let memory = controllers.split(|&b| b == b',').any(|c| c == b"memory");
            if if v2 { id == b"0" && controllers.is_empty() } else { memory } {
                let mut copy = Path::new();
                ours = copy.push(path).then_some(copy);
            }
        });
        let ours = ours?;
        let mut found = None;
        lines(self.path(&[b"/proc/self/mountinfo"])?.as_c_str(), |line| {
            // "ID PARENT DEV ROOT MOUNT OPTIONS … - TYPE SOURCE SUPER-OPTIONS"
            let mut fields = line.split(|&b| b == b' ');
            let (Some(root), Some(mount)) = (fields.nth(3), fields.next()) else {
                return;
            };
            let mut rest = fields.skip_while(|&f| f != b"-").skip(1);
            let (kind, options) = (rest.next(), rest.nth(1).unwrap_or_default());
            let right = match kind {
                Some(b"cgroup2") => v2,
                Some(b"cgroup") => !v2 && options.split(|&b| b == b',').any(|o| o == b"memory"),
                _ => false,
            };
            let root = root.strip_suffix(b"/").unwrap_or(root);
            // A container may see its own group at the mount's top, whatever /proc calls it.
            let below = ours.as_bytes().strip_prefix(root).filter(|b| b.is_empty() || b[0] == b'/').unwrap_or(b"");
            let mut copy = Path::new();
            if right && found.is_none() && copy.push(below.strip_suffix(b"/").unwrap_or(below)) {
                found = self.path(&[mount]).map(|mount| Group { mount, below: copy });
            }
        });
        found
    }

    /// The least that our group and its ancestors leave.
    fn tightest(&self, group: &Group, limit: &[u8], usage: &[u8], reclaimable: &[u8]) -> Option<u64> {
        let mut below = group.below.as_bytes();
        let mut least: Option<u64> = None;
        loop {
            let file = |name: &[u8]| {
                let mut path = Path::new();
                let fits = path.push(group.mount.as_bytes()) && path.push(below) && path.push(name);
                fits.then_some(path)
            };
            let value = |name: &[u8]| {
                let mut value = None;
                lines(file(name)?.as_c_str(), |line| value = value.or(number(line)));
                value
            };
            if let (Some(limit), Some(usage)) = (value(limit), value(usage)) {
                let mut cache = 0;
                if let Some(path) = file(b"/memory.stat") {
                    lines(path.as_c_str(), |line| {
                        if let Some(bytes) = line.strip_prefix(reclaimable).and_then(number) {
                            cache = bytes;
                        }
                    });
                }
                let margin = (limit / MARGIN_PART).min(MARGIN_MAX);
                let free = limit.saturating_sub(usage.saturating_sub(cache)).saturating_sub(margin);
                least = Some(least.map_or(free, |other| other.min(free)));
            }
            match below.iter().rposition(|&b| b == b'/') {
                Some(cut) => below = &below[..cut],
                None => return least,
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;

    fn tree(files: &[(&str, &str)]) -> tempfile::TempDir {
        let dir = tempfile::tempdir().unwrap();
        for (name, text) in files {
            let path = dir.path().join(name);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, text).unwrap();
        }
        dir
    }

    fn free(files: &[(&str, &str)]) -> Option<u64> {
        let dir = tree(files);
        MemoryLimit { root: dir.path().to_str().unwrap().as_bytes() }.free()
    }

    #[test]
    fn the_tightest_ancestor_of_version_2_counts_less_what_can_be_reclaimed() {
        let files = [
            ("proc/self/cgroup", "0::/a/b\n"),
            ("proc/self/mountinfo", "30 20 0:26 / /sys/fs/cgroup rw,nosuid shared:4 - cgroup2 cgroup2 rw\n"),
            ("sys/fs/cgroup/a/b/memory.max", "max\n"),
            ("sys/fs/cgroup/a/b/memory.current", "500\n"),
            ("sys/fs/cgroup/a/memory.max", "1000\n"),
            ("sys/fs/cgroup/a/memory.current", "900\n"),
            ("sys/fs/cgroup/a/memory.stat", "anon 7\ninactive_anon 5\ninactive_file 300\nactive_file 50\n"),
        ];
        assert_eq!(free(&files), Some(400 - 1000 / 8));
        assert_eq!(free(&files[..4]), None);
    }

    #[test]
    fn a_container_of_version_1_sees_its_own_group_at_the_top_of_the_mount() {
        let files = [
            ("proc/self/cgroup", "5:cpu,cpuacct:/docker/x\n4:memory:/docker/x\n0::/\n"),
            (
                "proc/self/mountinfo",
                "29 20 0:25 /docker/x /sys/fs/cgroup/cpu ro - cgroup cgroup rw,cpu\n\
                 30 20 0:26 /docker/x /sys/fs/cgroup/memory ro,nosuid master:11 - cgroup cgroup rw,memory\n",
            ),
            ("sys/fs/cgroup/memory/memory.limit_in_bytes", "67108864\n"),
            ("sys/fs/cgroup/memory/memory.usage_in_bytes", "60000000\n"),
            ("sys/fs/cgroup/memory/memory.stat", "cache 9\ninactive_file 1\ntotal_inactive_file 1000000\n"),
        ];
        assert_eq!(free(&files), Some(0)); // an eighth of the limit is left to the process, which is more than there is
        let usage = ("sys/fs/cgroup/memory/memory.usage_in_bytes", "30000000\n");
        assert_eq!(free(&[files[0], files[1], files[2], usage, files[4]]), Some(67108864 / 8 * 7 - 29000000));
        // And a group that it made below that.
        let below = [
            ("proc/self/cgroup", "4:memory:/docker/x/own\n"),
            ("sys/fs/cgroup/memory/own/memory.limit_in_bytes", "8000\n"),
            ("sys/fs/cgroup/memory/own/memory.usage_in_bytes", "3000\n"),
        ];
        assert_eq!(free(&[below[0], files[1], files[2], usage, below[1], below[2]]), Some(4000));
    }

    #[test]
    fn without_control_groups_there_is_no_limit() {
        assert_eq!(free(&[]), None);
        assert_eq!(free(&[("proc/self/cgroup", "garbage\n0::/\n"), ("proc/self/mountinfo", "1 2 3\n")]), None);
    }

    const V1: (&str, &str) =
        ("proc/self/mountinfo", "30 20 0:26 / /sys/fs/cgroup/memory rw - cgroup cgroup rw,memory\n");
    const V2: (&str, &str) = ("proc/self/mountinfo", "30 20 0:26 / /sys/fs/cgroup rw - cgroup2 cgroup2 rw\n");

    #[test]
    fn the_tightest_ancestor_of_version_1_counts() {
        let files = [
            ("proc/self/cgroup", "4:memory:/a/b/c\n"),
            V1,
            ("sys/fs/cgroup/memory/a/b/c/memory.limit_in_bytes", "9223372036854771712\n"),
            ("sys/fs/cgroup/memory/a/b/c/memory.usage_in_bytes", "100\n"),
            ("sys/fs/cgroup/memory/a/b/memory.limit_in_bytes", "8000\n"),
            ("sys/fs/cgroup/memory/a/b/memory.usage_in_bytes", "1000\n"),
            ("sys/fs/cgroup/memory/a/memory.limit_in_bytes", "4000\n"),
            ("sys/fs/cgroup/memory/a/memory.usage_in_bytes", "1500\n"),
        ];
        assert_eq!(free(&files), Some(4000 - 1500 - 500));
        assert_eq!(free(&files[..6]), Some(8000 - 1000 - 1000));
        let all = free(&files[..4]).unwrap();
        assert_eq!(all, 9223372036854771712 - 100 - MARGIN_MAX, "a margin is no part of what has no limit");
        // Also where those above leave more.
        let loose = ("sys/fs/cgroup/memory/a/memory.limit_in_bytes", "80000\n");
        assert_eq!(free(&[files[0], V1, files[4], files[5], loose, files[7]]), Some(8000 - 1000 - 1000));
    }

    /// Version 1 limits memory while version 2 is mounted for something else, and the other way round.
    #[test]
    fn of_a_hybrid_the_version_that_limits_memory_counts() {
        let groups = ("proc/self/cgroup", "4:memory:/m\n1:name=systemd:/s\n0::/u\n");
        let mounts = (
            "proc/self/mountinfo",
            "30 20 0:26 / /sys/fs/cgroup/memory rw - cgroup cgroup rw,memory\n\
             31 20 0:27 / /sys/fs/cgroup/unified rw - cgroup2 cgroup2 rw\n",
        );
        let v1 = [
            ("sys/fs/cgroup/memory/m/memory.limit_in_bytes", "8000\n"),
            ("sys/fs/cgroup/memory/m/memory.usage_in_bytes", "3000\n"),
        ];
        let v2 = [("sys/fs/cgroup/unified/u/memory.max", "800\n"), ("sys/fs/cgroup/unified/u/memory.current", "300\n")];
        assert_eq!(free(&[groups, mounts, v1[0], v1[1]]), Some(4000));
        assert_eq!(free(&[groups, mounts, v2[0], v2[1]]), Some(400));
        assert_eq!(free(&[groups, mounts, v1[0], v1[1], v2[0], v2[1]]), Some(400));
        assert_eq!(free(&[groups, mounts]), None);
    }

    /// A namespace of control groups calls its own group "/"; one entered from outside sees names that are above it.
    #[test]
    fn in_a_namespace_the_top_that_is_seen_counts() {
        let top = [("sys/fs/cgroup/memory.max", "8000\n"), ("sys/fs/cgroup/memory.current", "3000\n")];
        assert_eq!(free(&[("proc/self/cgroup", "0::/\n"), V2, top[0], top[1]]), Some(4000));
        let above = ("proc/self/mountinfo", "30 20 0:26 /../.. /sys/fs/cgroup rw - cgroup2 cgroup2 rw\n");
        assert_eq!(free(&[("proc/self/cgroup", "0::/../x\n"), above, top[0], top[1]]), Some(4000));
        let similar = ("proc/self/mountinfo", "30 20 0:26 /a/b /sys/fs/cgroup rw - cgroup2 cgroup2 rw\n");
        assert_eq!(free(&[("proc/self/cgroup", "0::/a/bc\n"), similar, top[0], top[1]]), Some(4000));
    }

    #[test]
    fn what_cannot_be_read_is_no_limit_and_garbage_neither() {
        let group = ("proc/self/cgroup", "0::/a\n");
        let (limit, usage) = (("sys/fs/cgroup/a/memory.max", "8000\n"), ("sys/fs/cgroup/a/memory.current", "3000\n"));
        assert_eq!(free(&[group, V2, limit, usage]), Some(4000));
        assert_eq!(free(&[group, V2, limit]), None);
        assert_eq!(free(&[group, V2, usage]), None);
        for garbage in ["", "\n", "max", "-1\n", "8000 bytes\n", "99999999999999999999999\n", "\0\0\n"] {
            assert_eq!(free(&[group, V2, (limit.0, garbage), usage]), None, "{garbage:?}");
            assert_eq!(free(&[group, V2, limit, (usage.0, garbage)]), None, "{garbage:?}");
            let stat = ("sys/fs/cgroup/a/memory.stat", garbage);
            assert_eq!(free(&[group, V2, limit, usage, stat]), Some(4000), "{garbage:?}");
        }
        // More used than allowed, and more to be reclaimed than used.
        assert_eq!(free(&[group, V2, limit, (usage.0, "9000\n")]), Some(0));
        let stat = ("sys/fs/cgroup/a/memory.stat", "inactive_file 5000\n");
        assert_eq!(free(&[group, V2, limit, usage, stat]), Some(7000));
        // Where a directory is in place of a file, and where the process may not look.
        let dir = tree(&[group, V2, usage]);
        fs::create_dir(dir.path().join(limit.0)).unwrap();
        assert_eq!(MemoryLimit { root: dir.path().to_str().unwrap().as_bytes() }.free(), None);
        // A name that does not fit is not taken for another; what comes after a line that does not fit is read.
        let long = format!("0::/{}\n", "x".repeat(600));
        assert_eq!(free(&[("proc/self/cgroup", &long), V2, limit, usage]), None);
        let mounts = format!("29 20 0:25 / /{} rw - overlay overlay rw\n{}", "y".repeat(3000), V2.1);
        assert_eq!(free(&[group, (V2.0, &mounts), limit, usage]), Some(4000));
        // Nor is the end of such a line one of its own, or a second mount the first.
        let other = V2.1.replace("/sys/fs/cgroup", "/other");
        let others = [("other/a/memory.max", "800\n"), ("other/a/memory.current", "300\n")];
        for mounts in [format!("{}{other}{}", "y".repeat(1024), V2.1), format!("{}{other}", V2.1)] {
            assert_eq!(free(&[group, (V2.0, &mounts), limit, usage, others[0], others[1]]), Some(4000));
        }
    }
}

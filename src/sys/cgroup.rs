//! How much memory the control group leaves us: beyond it a write to a filesystem of memory is not answered with an
//! error but with the kernel's killer. Versions 1 and 2, the tightest of all ancestors, what can be reclaimed taken
//! off. Best effort: where nothing can be read there is no limit.
use super::alloc::Text;
use super::{Open, open, read_full};
use std::ffi::CStr;
use std::mem::MaybeUninit;
use std::os::fd::AsFd;

/// A longer path counts as not to be read. Small, since a thread's stack may be.
type Path = Text<512>;

/// Reads the limits below `root`, which is "" but in tests.
pub struct MemoryLimit<'a> {
    pub root: &'a [u8],
}

/// Calls `line` for each line of a file; one that does not fit the buffer is left out. False where it cannot be read.
fn lines(path: &CStr, mut line: impl FnMut(&[u8])) -> bool {
    let Ok(file) = open(None, path, Open::Read) else {
        return false;
    };
    let mut buffer = [MaybeUninit::<u8>::uninit(); 1024];
    let (mut offset, mut skip) = (0, false);
    loop {
        let Ok(got @ 1..) = read_full(file.as_fd(), &mut buffer, offset) else {
            return true;
        };
        // SAFETY: `read_full` filled that many.
        let text = unsafe { std::slice::from_raw_parts(buffer.as_ptr().cast::<u8>(), got) };
        match text.iter().rposition(|&b| b == b'\n') {
            Some(end) => {
                for (n, part) in text[..end].split(|&b| b == b'\n').enumerate() {
                    if n > 0 || !std::mem::take(&mut skip) {
                        line(part);
                    }
                }
                offset += end as u64 + 1;
            }
            None => {
                if got < buffer.len() && !skip {
                    line(text);
                }
                skip = true;
                offset += got as u64;
            }
        }
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
                let free = limit.saturating_sub(usage.saturating_sub(cache));
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
        assert_eq!(free(&files), Some(400));
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
        assert_eq!(free(&files), Some(67108864 - 59000000));
    }

    #[test]
    fn without_control_groups_there_is_no_limit() {
        assert_eq!(free(&[]), None);
        assert_eq!(free(&[("proc/self/cgroup", "garbage\n0::/\n"), ("proc/self/mountinfo", "1 2 3\n")]), None);
    }
}

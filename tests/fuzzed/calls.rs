//! Any bytes as a sequence of calls of the C ABI, through several handles, on two tiers of which the first takes
//! little: every status and every byte is compared with a map, and nothing may be left at the end.
use super::*;
use std::collections::{BTreeMap, BTreeSet};
use vfs::ffi::vfs_code::*;

const REPLACE: u32 = vfs_store_flag::VFS_REPLACE as u32;
const PERSIST: u32 = vfs_store_flag::VFS_PERSIST as u32;
const READ_ONLY: u32 = vfs_open_flag::VFS_READ_ONLY as u32;

/// What the first tier takes of one handle.
const SMALL: usize = 4100;
const HANDLES: usize = 4;
/// Writers, views and listings under way: as many of each.
const HELD: usize = 3;
const NAMES: [&CStr; 2] = [c"one", c"lock"];
/// How many calls are made of one input at most.
const CALLS_MAX: usize = 300;

/// Keys, the last of which are none.
fn keys() -> &'static [CString] {
    static KEYS: std::sync::OnceLock<Vec<CString>> = std::sync::OnceLock::new();
    KEYS.get_or_init(|| {
        let longest = [b'k'; 255];
        let good: [&[u8]; 5] = [b"a", b"b", b"objects", b"\xFF\xFE .", &longest];
        let bad: [&[u8]; 4] = [b"", b"..", b"a/b", &[b'k'; 256]];
        good.iter().chain(&bad).map(|&key| CString::new(key).expect("no NUL")).collect()
    })
}
const GOOD_KEYS: usize = 5;

/// The bytes of the input, one after the other.
struct Input<'a>(&'a [u8]);

impl Input<'_> {
    fn next(&mut self) -> Option<u8> {
        let (&first, rest) = self.0.split_first()?;
        self.0 = rest;
        Some(first)
    }

    fn byte(&mut self) -> usize {
        self.next().unwrap_or(0).into()
    }

    fn below(&mut self, end: usize) -> usize {
        self.byte() % end
    }

    /// A length: none, some, around what the first tier takes, around what is looked at once more.
    fn len(&mut self) -> usize {
        let byte = self.byte();
        match byte % 8 {
            0 => 0,
            1..=3 => byte,
            4 => SMALL - 16 + byte / 8,
            5 => byte * 17,
            6 => (64 << 10) - 16 + byte / 8,
            _ => 4096 + byte / 8,
        }
    }

    /// Flags of storing: seldom with a bit that is none.
    fn flags(&mut self) -> u32 {
        let byte = self.byte() as u32;
        byte & 3 | if byte >= 0xF0 { 1 << (2 + byte % 30) } else { 0 }
    }
}

fn are_flags(flags: u32) -> bool {
    flags & !(REPLACE | PERSIST) == 0
}

struct Blob {
    bytes: Vec<u8>,
    /// The number of the handle that owns it.
    owner: Option<usize>,
    /// 0 until it is seen.
    id: u64,
}

struct Handle {
    store: *mut vfs_t,
    /// Its own, which none had before.
    number: usize,
    name: usize,
    read_only: bool,
    shut: bool,
    /// Blobs that it stored.
    stored: u64,
}

struct Writer {
    writer: *mut vfs_writer_t,
    number: usize,
    name: usize,
    key: usize,
    flags: u32,
    bytes: Vec<u8>,
    /// What was reserved last: it counts at the next call.
    pending: Vec<u8>,
    /// Why the last part was not taken.
    refused: Option<i32>,
}

struct Listing {
    list: *mut vfs_list_t,
    number: usize,
    name: usize,
    /// Keys that were there all the while, and are not told yet.
    due: BTreeSet<usize>,
    /// Keys that were there at some moment.
    may: BTreeSet<usize>,
}

struct World {
    tiers: [CString; 2],
    handles: [Option<Handle>; HANDLES],
    writers: [Option<Writer>; HELD],
    views: [Option<(Box<vfs_view_t>, Vec<u8>)>; HELD],
    lists: [Option<Listing>; HELD],
    /// What each store holds.
    model: [BTreeMap<usize, Blob>; NAMES.len()],
    ids: BTreeSet<u64>,
    /// Numbers of handles that are of use no more.
    ended: BTreeSet<usize>,
    numbers: usize,
    step: usize,
}

/// A struct of the caller's with whatever size it says it has, and some bytes behind it.
struct Room(Vec<u64>);

impl Room {
    fn new(struct_size: u32) -> Room {
        let covered = if struct_size > 65536 { 0 } else { struct_size as usize };
        let mut room = Room(vec![0xA5A5_A5A5_A5A5_A5A5; covered.max(128) / 8 + 8]);
        // SAFETY: the vector's own first four bytes.
        unsafe { room.place::<u32>().write(struct_size) };
        room
    }

    fn place<T>(&mut self) -> *mut T {
        self.0.as_mut_ptr().cast()
    }

    /// Whether it was filled as far as both sides know it, zeroed from there on, and not written beyond.
    fn check(&self, struct_size: u32, known: usize, filled: bool) {
        let bytes: Vec<u8> = self.0.iter().flat_map(|word| word.to_ne_bytes()).collect();
        let told = u32::from_ne_bytes([bytes[0], bytes[1], bytes[2], bytes[3]]);
        if !filled {
            assert_eq!(told, struct_size, "a failure wrote an output");
            assert!(bytes[4..].iter().all(|&byte| byte == 0xA5), "a failure wrote an output");
            return;
        }
        assert_eq!(told as usize, known);
        let size = struct_size as usize;
        assert!(bytes[known..size].iter().all(|&byte| byte == 0), "what is not known is not zero");
        assert!(bytes[size..].iter().all(|&byte| byte == 0xA5), "written beyond struct_size");
    }
}

fn struct_size(input: &mut Input, known: usize) -> (u32, bool) {
    let byte = input.byte();
    let size = match byte {
        0..=127 => known as u32,
        128..=191 => (known + byte - 160) as u32, // 32 less to 31 more
        192..=223 => byte as u32 - 192,
        224..=239 => 65536 + byte as u32 - 232,
        _ => u32::MAX << (byte % 32),
    };
    (size, (known..=65536).contains(&(size as usize)))
}

impl World {
    fn new(tiers: [CString; 2]) -> World {
        World {
            tiers,
            handles: [const { None }; HANDLES],
            writers: [const { None }; HELD],
            views: [const { None }; HELD],
            lists: [const { None }; HELD],
            model: [const { BTreeMap::new() }; NAMES.len()],
            ids: BTreeSet::new(),
            ended: BTreeSet::new(),
            numbers: 0,
            step: 0,
        }
    }

    fn open(&mut self, at: usize, name: usize, order: usize, flags: u32) {
        let mut store = null_mut();
        is!(vfs_open(&options(Some(NAMES[name]), &self.tiers[order], flags), &mut store), 0);
        self.numbers += 1;
        let (number, read_only) = (self.numbers, flags & READ_ONLY != 0);
        self.handles[at] = Some(Handle { store, number, name, read_only, shut: false, stored: 0 });
    }

    /// What a value of this length is now.
    fn value(&self, len: usize) -> Vec<u8> {
        static PATTERN: std::sync::OnceLock<Vec<u8>> = std::sync::OnceLock::new();
        let pattern = PATTERN.get_or_init(|| (0..70_000usize).map(|at| (at * 31 + at / 256) as u8).collect());
        let from = self.step * 7 % 2000; // so that no two values in a row are alike
        pattern[from..from + len].to_vec()
    }

    /// A key of a store was stored, replaced or removed.
    fn touched(&mut self, name: usize, key: usize) {
        for list in self.lists.iter_mut().flatten().filter(|list| list.name == name) {
            list.due.remove(&key);
            list.may.insert(key);
        }
    }

    fn stored(&mut self, name: usize, key: usize, bytes: Vec<u8>, owner: Option<usize>) {
        self.model[name].insert(key, Blob { bytes, owner, id: 0 });
        self.touched(name, key);
    }

    /// A handle owns nothing any more.
    fn end(&mut self, number: usize, name: usize) {
        self.ended.insert(number);
        let (model, mut gone) = (&mut self.model[name], Vec::new());
        model.retain(|&key, blob| {
            let stays = blob.owner != Some(number);
            if !stays {
                gone.push(key);
            }
            stays
        });
        gone.into_iter().for_each(|key| self.touched(name, key));
    }

    /// Why a handle refuses to change anything.
    fn refuses_change(handle: &Handle) -> Option<vfs_code> {
        match handle {
            Handle { read_only: true, .. } => Some(VFS_ERR_READ_ONLY),
            Handle { shut: true, .. } => Some(VFS_ERR_SHUTDOWN),
            _ => None,
        }
    }

    /// Checks what is told of a blob that is there.
    fn check_stat(&mut self, at: usize, key: usize, stat: &vfs_stat_t) {
        let Some(handle) = &self.handles[at] else { return };
        let blob = self.model[handle.name].get_mut(&key).expect("a blob that is told is there");
        if blob.id == 0 {
            assert!(self.ids.insert(stat.id), "an id came back");
            blob.id = stat.id;
        }
        assert_eq!((stat.id, stat.size), (blob.id, blob.bytes.len() as u64));
        let owned = if blob.owner == Some(handle.number) { vfs_stat_flag::VFS_STAT_OWNED as u32 } else { 0 };
        let persistent = if blob.owner.is_none() { vfs_stat_flag::VFS_STAT_PERSISTENT as u32 } else { 0 };
        assert_eq!(stat.flags, owned | persistent);
        let mut tier = new_tier_stat();
        is!(vfs_tier_stat(handle.store, stat.tier, &mut tier), 0);
        // SAFETY: NUL-terminated until the store is closed.
        let dir = unsafe { CStr::from_ptr(tier.dir) }.to_bytes();
        let small = dir.ends_with(b"small");
        assert!(!small || blob.bytes.len() <= SMALL, "{} bytes on the small tier", blob.bytes.len());
    }

    /// All that can be seen through a handle agrees with the model.
    fn compare(&mut self, at: usize) {
        let Some(Handle { store, name, shut: false, .. }) = self.handles[at] else { return };
        let longest = self.model[name].values().map(|blob| blob.bytes.len()).max().unwrap_or(0);
        let mut room = vec![0u8; longest + 8];
        for (number, key) in keys().iter().enumerate().take(GOOD_KEYS) {
            let (mut len, mut stat, mut view) =
                (0, new_stat(), vfs_view_t { data: null_mut(), len: 0, owner: null_mut() });
            let key = key.as_ptr();
            let (into, cap) = (room.as_mut_ptr().cast(), room.len());
            let Some(blob) = self.model[name].get(&number) else {
                is!(vfs_has(store, key), 0);
                is!(vfs_read(store, key, 0, into, cap, &mut len, &mut stat), VFS_ERR_NOT_FOUND);
                continue;
            };
            let bytes = blob.bytes.clone();
            is!(vfs_has(store, key), 1);
            is!(vfs_read(store, key, 0, into, cap, &mut len, null_mut()), 0);
            assert!(room[..len] == bytes, "{number}: {len} bytes read are not the {} stored", bytes.len());
            is!(vfs_map(store, key, &mut view, &mut stat), 0);
            check_view(&view, &bytes);
            // SAFETY: given back once.
            unsafe { vfs_unmap(&mut view) };
            self.check_stat(at, number, &stat);
            is!(vfs_stat(store, key, &mut stat), 0);
            self.check_stat(at, number, &stat);
        }
        let mut want: Vec<_> = self.model[name].keys().map(|&key| keys()[key].to_bytes().to_vec()).collect();
        want.sort();
        assert_eq!(listed(store), want);
    }

    /// One call; false at the end of the input.
    fn call(&mut self, input: &mut Input) -> bool {
        let Some(which) = input.next() else { return false };
        let at = input.below(HANDLES);
        let Some(handle) = &self.handles[at] else {
            let (name, order) = (input.below(NAMES.len()), input.below(2));
            let flags = if input.byte() >= 0xE0 { READ_ONLY } else { 0 };
            self.open(at, name, order, flags);
            return true;
        };
        match which % 24 {
            0..=5 => self.store(at, input),
            6 => self.read(at, input),
            7 => self.stat(at, input),
            8 => self.map(at, input),
            9 => {
                if let Some((mut view, bytes)) = self.views[input.below(HELD)].take() {
                    check_view(&view, &bytes);
                    // SAFETY: given back once; what is zero does nothing.
                    unsafe {
                        vfs_unmap(&mut *view);
                        vfs_unmap(&mut *view);
                    }
                    assert!(view.data.is_null() && view.len == 0 && view.owner.is_null());
                }
            }
            10 | 11 => self.create(at, input),
            12 => self.write(input),
            13 => self.reserve(input),
            14 => self.seal(input),
            15 => {
                if let Some(writer) = self.writers[input.below(HELD)].take() {
                    // SAFETY: given back once.
                    unsafe { vfs_abort(writer.writer) }
                }
            }
            16 | 17 => self.remove(at, input),
            18 => self.remove_owned(at, input),
            19 => self.begin_list(at, input),
            20 => self.next_of_list(at, input),
            21 => self.look_at_tiers(at, input),
            22 => {
                let (store, number, name) = (handle.store, handle.number, handle.name);
                match input.byte() {
                    0..=99 => {
                        let mut removed = 77;
                        let refused = Self::refuses_change(handle);
                        is!(vfs_reap(store, &mut removed), refused.map_or(0, |code| code as i32));
                        assert_eq!(removed, if refused.is_some() { 77 } else { 0 }, "a living owner was reaped");
                    }
                    100..=179 => {
                        is!(vfs_shutdown(store), 0);
                        self.handles[at].as_mut().expect("looked at above").shut = true;
                        self.end(number, name);
                    }
                    _ => {
                        // SAFETY: closed once.
                        unsafe { vfs_close(store) };
                        self.handles[at] = None;
                        self.end(number, name);
                    }
                }
            }
            _ => self.nonsense(at, input),
        }
        true
    }

    fn store(&mut self, at: usize, input: &mut Input) {
        let Some(handle) = &self.handles[at] else { return };
        let (key, len, flags) = (input.below(keys().len()), input.len(), input.flags());
        let (store, name, number) = (handle.store, handle.name, handle.number);
        let taken = flags & REPLACE == 0 && self.model[name].contains_key(&key);
        let want = match () {
            _ if key >= GOOD_KEYS => VFS_ERR_KEY,
            _ if !are_flags(flags) => VFS_ERR_INVALID,
            _ => match Self::refuses_change(handle) {
                Some(code) => code,
                None if taken => VFS_ERR_EXISTS,
                None => VFS_OK,
            },
        };
        let bytes = self.value(len);
        // At any address.
        let mut shifted = vec![0; self.step % 8];
        let shift = shifted.len();
        shifted.extend(&bytes);
        let data = if len == 0 { null_mut() } else { shifted[shift..].as_ptr().cast_mut().cast() };
        is!(vfs_store(store, keys()[key].as_ptr(), data, len, flags), want);
        if want as i32 == 0 {
            self.handles[at].as_mut().expect("looked at above").stored += 1;
            self.stored(name, key, bytes, (flags & PERSIST == 0).then_some(number));
        }
    }

    fn read(&mut self, at: usize, input: &mut Input) {
        let Some(handle) = &self.handles[at] else { return };
        let (key, cap) = (input.below(keys().len()), input.len());
        let offset = match input.byte() {
            byte @ 0..=199 => byte as u64 * 37,
            byte => u64::MAX >> (byte - 200),
        };
        let (size, known) = struct_size(input, size_of::<vfs_stat_t>());
        let mut room = Room::new(size);
        let (mut buffer, mut len) = (vec![0x5Au8; cap + 9], 77);
        let blob = self.model[handle.name].get(&key);
        let want = match () {
            _ if !known => VFS_ERR_INVALID,
            _ if key >= GOOD_KEYS => VFS_ERR_KEY,
            _ if handle.shut => VFS_ERR_SHUTDOWN,
            _ if blob.is_none() => VFS_ERR_NOT_FOUND,
            _ => VFS_OK,
        };
        let stat = room.place();
        let into = buffer[1..].as_mut_ptr().cast();
        is!(vfs_read(handle.store, keys()[key].as_ptr(), offset, into, cap, &mut len, stat), want);
        room.check(size, size_of::<vfs_stat_t>(), want as i32 == 0);
        if want as i32 != 0 {
            assert_eq!(len, 77, "a failure wrote an output");
        } else if let Some(blob) = blob {
            let from = usize::try_from(offset).unwrap_or(usize::MAX).min(blob.bytes.len());
            let part = &blob.bytes[from..blob.bytes.len().min(from.saturating_add(cap))];
            assert!(len == part.len() && buffer[1..][..len] == *part, "{len} bytes read at {offset} are others");
        }
        assert!(buffer[0] == 0x5A && buffer[1 + cap..].iter().all(|&byte| byte == 0x5A), "written beyond the buffer");
    }

    fn stat(&mut self, at: usize, input: &mut Input) {
        let Some(handle) = &self.handles[at] else { return };
        let key = input.below(keys().len());
        let (size, known) = struct_size(input, size_of::<vfs_stat_t>());
        let mut room = Room::new(size);
        let there = self.model[handle.name].contains_key(&key);
        let want = match () {
            _ if !known => VFS_ERR_INVALID,
            _ if key >= GOOD_KEYS => VFS_ERR_KEY,
            _ if handle.shut => VFS_ERR_SHUTDOWN,
            _ if !there => VFS_ERR_NOT_FOUND,
            _ => VFS_OK,
        };
        is!(vfs_stat(handle.store, keys()[key].as_ptr(), room.place()), want);
        room.check(size, size_of::<vfs_stat_t>(), want as i32 == 0);
        if want as i32 == 0 {
            // SAFETY: filled, and aligned.
            self.check_stat(at, key, unsafe { &*room.place() });
        }
    }

    fn map(&mut self, at: usize, input: &mut Input) {
        let Some(handle) = &self.handles[at] else { return };
        let (key, slot) = (input.below(keys().len()), input.below(HELD));
        if self.views[slot].is_some() {
            return;
        }
        let mut view = Box::new(vfs_view_t { data: null_mut(), len: 0, owner: null_mut() });
        let blob = self.model[handle.name].get(&key);
        let want = match blob {
            _ if key >= GOOD_KEYS => VFS_ERR_KEY,
            _ if handle.shut => VFS_ERR_SHUTDOWN,
            None => VFS_ERR_NOT_FOUND,
            Some(_) => VFS_OK,
        };
        is!(vfs_map(handle.store, keys()[key].as_ptr(), &mut *view, null_mut()), want);
        if let Some(blob) = blob.filter(|_| want as i32 == 0) {
            check_view(&view, &blob.bytes);
            self.views[slot] = Some((view, blob.bytes.clone()));
        } else {
            assert!(view.data.is_null() && view.len == 0 && view.owner.is_null(), "a failure wrote an output");
        }
    }

    fn create(&mut self, at: usize, input: &mut Input) {
        let Some(handle) = &self.handles[at] else { return };
        let (key, slot, flags) = (input.below(keys().len()), input.below(HELD), input.flags());
        let hint = match input.byte() {
            byte @ 0..=127 => byte as u64 * 64,
            byte => u64::MAX >> (byte % 64),
        };
        if self.writers[slot].is_some() {
            return;
        }
        let (name, number) = (handle.name, handle.number);
        let want = match () {
            _ if key >= GOOD_KEYS => VFS_ERR_KEY,
            _ if !are_flags(flags) => VFS_ERR_INVALID,
            _ => match Self::refuses_change(handle) {
                Some(code) => code,
                None if flags & REPLACE == 0 && self.model[name].contains_key(&key) => VFS_ERR_EXISTS,
                None => VFS_OK,
            },
        };
        let mut writer = std::ptr::dangling_mut();
        is!(vfs_create(handle.store, keys()[key].as_ptr(), hint, flags, &mut writer), want);
        assert_eq!(writer.is_null(), want as i32 != 0);
        if want as i32 == 0 {
            let (bytes, pending) = (Vec::new(), Vec::new());
            self.writers[slot] = Some(Writer { writer, number, name, key, flags, bytes, pending, refused: None });
        }
    }

    fn write(&mut self, input: &mut Input) {
        let (slot, len, how) = (input.below(HELD), input.len(), input.byte());
        let bytes = self.value(len);
        let Some(writer) = &mut self.writers[slot] else { return };
        let (data, told) = match how {
            0xF0..=0xF7 => (null_mut::<std::ffi::c_void>(), len),
            0xF8.. => (bytes.as_ptr().cast_mut().cast(), usize::MAX >> (how % 2)),
            _ => (bytes.as_ptr().cast_mut().cast(), len),
        };
        let bad = told > isize::MAX as usize || data.is_null() && told > 0;
        let want = match () {
            _ if bad => VFS_ERR_INVALID as i32,
            _ if told > len => return, // not ours to read
            _ if self.ended.contains(&writer.number) => VFS_ERR_SHUTDOWN as i32,
            _ => 0,
        };
        is!(vfs_write(writer.writer, data, told), want);
        if want == 0 {
            let pending = std::mem::take(&mut writer.pending);
            writer.bytes.extend(pending);
            writer.bytes.extend(bytes);
            if len > 0 {
                writer.refused = None;
            }
        } else if bad {
            writer.refused = Some(want);
        }
    }

    fn reserve(&mut self, input: &mut Input) {
        let (slot, len, how) = (input.below(HELD), input.len(), input.byte());
        let bytes = self.value(len);
        let Some(writer) = &mut self.writers[slot] else { return };
        // Beyond half of the addresses; more than there can be; what there is.
        let (told, refused) = match how {
            0xF0..=0xF7 => (usize::MAX >> (how % 2), how % 2 == 0),
            0xF8.. => (1 << 50, true),
            _ => (len, false),
        };
        let mut memory = std::ptr::dangling_mut();
        let before = memory;
        let status = status!(vfs_reserve(writer.writer, told, &mut memory));
        let shut = self.ended.contains(&writer.number);
        if status == 0 {
            assert!(!refused && !shut && told == len, "{told} bytes were reserved");
            writer.bytes.append(&mut writer.pending);
            assert_eq!(memory.is_null(), len == 0);
            if len > 0 {
                // SAFETY: that many bytes, until the next call on this writer.
                unsafe { std::slice::from_raw_parts_mut(memory.cast::<u8>(), len) }.copy_from_slice(&bytes);
                writer.refused = None;
            }
            writer.pending = bytes;
            return;
        }
        assert_eq!(memory, before, "a failure wrote an output");
        if told > isize::MAX as usize {
            assert_eq!(status, VFS_ERR_INVALID as i32);
            writer.refused = Some(status);
        } else if shut {
            assert_eq!(status, VFS_ERR_SHUTDOWN as i32);
        } else {
            assert!(told > len, "{len} bytes were not reserved: {}", last_error());
            assert!([VFS_ERR_NO_MEMORY as i32, VFS_ERR_NO_SPACE as i32].contains(&status), "{}", last_error());
            writer.bytes.append(&mut writer.pending); // it was taken before
            writer.refused = Some(status);
        }
    }

    fn seal(&mut self, input: &mut Input) {
        let Some(writer) = self.writers[input.below(HELD)].take() else { return };
        let Writer { name, key, number, flags, .. } = writer;
        let want = match writer.refused {
            _ if self.ended.contains(&number) => VFS_ERR_SHUTDOWN as i32,
            Some(status) => status,
            None if flags & REPLACE == 0 && self.model[name].contains_key(&key) => VFS_ERR_EXISTS as i32,
            None => 0,
        };
        is!(vfs_seal(writer.writer), want);
        if want == 0 {
            if let Some(handle) = self.handles.iter_mut().flatten().find(|handle| handle.number == number) {
                handle.stored += 1;
            }
            let bytes = [writer.bytes, writer.pending].concat();
            self.stored(name, key, bytes, (flags & PERSIST == 0).then_some(number));
        }
    }

    fn remove(&mut self, at: usize, input: &mut Input) {
        let Some(handle) = &self.handles[at] else { return };
        let (key, name) = (input.below(keys().len()), handle.name);
        let want = match Self::refuses_change(handle) {
            _ if key >= GOOD_KEYS => VFS_ERR_KEY,
            Some(code) => code,
            None if self.model[name].contains_key(&key) => VFS_OK,
            None => VFS_ERR_NOT_FOUND,
        };
        is!(vfs_remove(handle.store, keys()[key].as_ptr()), want);
        if want as i32 == 0 {
            self.model[name].remove(&key);
            self.touched(name, key);
        }
    }

    fn remove_owned(&mut self, at: usize, input: &mut Input) {
        let Some(handle) = &self.handles[at] else { return };
        let (store, name, number) = (handle.store, handle.name, handle.number);
        let refuses = Self::refuses_change(handle);
        let mut want = 0;
        let (mut pointers, mut gone) = (Vec::new(), Vec::new());
        for _ in 0..input.below(6) {
            let key = input.below(keys().len() + 1);
            let (pointer, status) = match keys().get(key) {
                None => (std::ptr::null(), VFS_ERR_INVALID as i32),
                Some(bad) if key >= GOOD_KEYS => (bad.as_ptr(), VFS_ERR_KEY as i32),
                Some(good) => (good.as_ptr(), refuses.map_or(0, |code| code as i32)),
            };
            pointers.push(pointer);
            if want == 0 {
                want = status;
            }
            if status == 0 && self.model[name].get(&key).is_some_and(|blob| blob.owner == Some(number)) {
                gone.push(key);
            }
        }
        is!(vfs_remove_owned(store, pointers.as_ptr(), pointers.len()), want);
        for key in gone {
            self.model[name].remove(&key);
            self.touched(name, key);
        }
    }

    fn begin_list(&mut self, at: usize, input: &mut Input) {
        let Some(Handle { store, name, number, shut, .. }) = self.handles[at] else { return };
        let slot = input.below(HELD);
        if let Some(listing) = self.lists[slot].take() {
            // SAFETY: given back once.
            unsafe { vfs_list_close(listing.list) }
            return;
        }
        let mut list = std::ptr::dangling_mut();
        is!(vfs_list_open(store, &mut list), if shut { VFS_ERR_SHUTDOWN } else { VFS_OK });
        assert_eq!(list.is_null(), shut);
        if !shut {
            let due: BTreeSet<_> = self.model[name].keys().copied().collect();
            self.lists[slot] = Some(Listing { list, number, name, may: due.clone(), due });
        }
    }

    fn next_of_list(&mut self, at: usize, input: &mut Input) {
        let slot = input.below(HELD);
        let (size, known) = struct_size(input, size_of::<vfs_stat_t>());
        let Some(listing) = &mut self.lists[slot] else { return };
        let (mut key, mut room) = (std::ptr::null(), Room::new(size));
        let status = status!(vfs_list_next(listing.list, &mut key, room.place()));
        room.check(size, size_of::<vfs_stat_t>(), status == 0);
        let ended = self.ended.contains(&listing.number);
        match status {
            _ if !known => assert_eq!(status, VFS_ERR_INVALID as i32),
            _ if ended => assert_eq!(status, VFS_ERR_SHUTDOWN as i32),
            0 => {
                // SAFETY: NUL-terminated, until the next call on this listing.
                let told = unsafe { CStr::from_ptr(key) };
                let told = keys().iter().position(|key| key.as_c_str() == told).expect("a key that was stored");
                let was_due = listing.due.remove(&told);
                assert!(was_due || listing.may.contains(&told), "a listing tells what was not there");
                if was_due {
                    listing.may.remove(&told); // once, unless it is touched
                }
                let same = self.handles[at].as_ref().is_some_and(|handle| handle.number == listing.number);
                if was_due && same {
                    // SAFETY: filled, and aligned.
                    self.check_stat(at, told, unsafe { &*room.place() });
                }
            }
            end => {
                assert_eq!(end, VFS_ERR_NOT_FOUND as i32, "{}", last_error());
                assert!(listing.due.is_empty(), "a listing lacks what was there all the while: {:?}", listing.due);
            }
        }
    }

    fn look_at_tiers(&mut self, at: usize, input: &mut Input) {
        let Some(handle) = &self.handles[at] else { return };
        let (index, shut) = (input.byte() as u32, handle.shut);
        let (size, known) = struct_size(input, size_of::<vfs_tier_stat_t>());
        let mut room = Room::new(size);
        let want = match () {
            _ if !known => VFS_ERR_INVALID,
            _ if shut => VFS_ERR_SHUTDOWN,
            _ if index >= 2 => VFS_ERR_NOT_FOUND,
            _ => VFS_OK,
        };
        is!(vfs_tier_stat(handle.store, index, room.place()), want);
        room.check(size, size_of::<vfs_tier_stat_t>(), want as i32 == 0);
        if shut {
            return;
        }
        let own = self.model[handle.name].values().filter(|blob| blob.owner == Some(handle.number));
        let own = own.fold((0, 0), |(blobs, bytes), blob| (blobs + 1, bytes + blob.bytes.len() as u64));
        let (mut blobs, mut bytes, mut stored) = (0, 0, 0);
        for index in 0..2 {
            let mut stat = new_tier_stat();
            is!(vfs_tier_stat(handle.store, index, &mut stat), 0);
            (blobs, bytes, stored) = (blobs + stat.blobs, bytes + stat.bytes, stored + stat.stored);
        }
        assert_eq!((blobs, bytes, stored), (own.0, own.1, handle.stored));
    }

    /// What no caller should pass: it is refused and changes nothing.
    fn nonsense(&mut self, at: usize, input: &mut Input) {
        let Some(handle) = &self.handles[at] else { return };
        let (s, k) = (handle.store, keys()[input.below(GOOD_KEYS)].as_ptr());
        let (mut stat, mut tier, mut view) =
            (new_stat(), new_tier_stat(), vfs_view_t { data: null_mut(), len: 7, owner: null_mut() });
        let (mut len, mut byte, mut key) = (77, 0x5Au8, std::ptr::null());
        let buffer = (&raw mut byte).cast();
        let (mut store, mut writer, mut list) =
            (std::ptr::dangling_mut(), std::ptr::dangling_mut(), std::ptr::dangling_mut());
        let huge = isize::MAX as usize + 1 + input.byte();
        match input.below(26) {
            0 => is!(vfs_open(&options(None, &self.tiers[0], 0), null_mut()), VFS_ERR_INVALID),
            1 => {
                let bit = 1 << (1 + input.below(31));
                is!(vfs_open(&options(None, &self.tiers[0], bit), &mut store), VFS_ERR_INVALID);
                assert!(store.is_null());
            }
            2 => {
                let (struct_size, fits) = struct_size(input, size_of::<vfs_options_t>());
                if !fits {
                    let options = vfs_options_t { struct_size, ..options(None, &self.tiers[0], 0) };
                    is!(vfs_open(&options, &mut store), VFS_ERR_INVALID);
                    assert!(store.is_null());
                }
            }
            3 => is!(vfs_shutdown(null_mut()), VFS_ERR_INVALID),
            4 => is!(vfs_store(null_mut(), k, buffer, 1, 0), VFS_ERR_INVALID),
            5 => is!(vfs_store(s, null_mut(), buffer, 1, 0), VFS_ERR_INVALID),
            6 => is!(vfs_store(s, k, null_mut(), 1, 0), VFS_ERR_INVALID),
            7 => is!(vfs_store(s, k, buffer, huge, REPLACE), VFS_ERR_INVALID),
            8 => is!(vfs_read(s, k, 0, null_mut(), 1, &mut len, &mut stat), VFS_ERR_INVALID),
            9 => is!(vfs_read(s, k, 0, buffer, 1, null_mut(), &mut stat), VFS_ERR_INVALID),
            10 => is!(vfs_read(s, k, 0, buffer, huge, &mut len, &mut stat), VFS_ERR_INVALID),
            11 => is!(vfs_has(null_mut(), k), VFS_ERR_INVALID),
            12 => is!(vfs_stat(s, k, null_mut()), VFS_ERR_INVALID),
            13 => is!(vfs_remove(s, null_mut()), VFS_ERR_INVALID),
            14 => is!(vfs_remove_owned(s, null_mut(), 1 + input.byte()), VFS_ERR_INVALID),
            15 => is!(vfs_remove_owned(s, &k, usize::MAX / 4), VFS_ERR_INVALID),
            16 => is!(vfs_map(s, k, null_mut(), &mut stat), VFS_ERR_INVALID),
            17 => is!(vfs_map(null_mut(), k, &mut view, &mut stat), VFS_ERR_INVALID),
            18 => is!(vfs_create(s, k, 0, 0, null_mut()), VFS_ERR_INVALID),
            19 => {
                is!(vfs_create(s, null_mut(), 0, 0, &mut writer), VFS_ERR_INVALID);
                assert!(writer.is_null());
            }
            20 => is!(vfs_write(null_mut(), buffer, 1), VFS_ERR_INVALID),
            21 => is!(vfs_seal(null_mut()), VFS_ERR_INVALID),
            22 => {
                is!(vfs_list_open(null_mut(), &mut list), VFS_ERR_INVALID);
                assert!(list.is_null());
            }
            23 => is!(vfs_list_next(null_mut(), &mut key, &mut stat), VFS_ERR_INVALID),
            24 => is!(vfs_tier_stat(null_mut(), 0, &mut tier), VFS_ERR_INVALID),
            // SAFETY: NULL does nothing.
            _ => unsafe {
                vfs_close(null_mut());
                vfs_abort(null_mut());
                vfs_unmap(null_mut());
                vfs_list_close(null_mut());
            },
        }
        assert_eq!((len, byte, stat.size, view.len, tier.blobs), (77, 0x5A, 0, 7, 0), "a failure wrote an output");
    }

    /// Gives all back and removes what has no owner.
    fn finish(mut self) {
        // What outlives its handles is given back after them, or before: by the number of calls.
        let handles_first = self.step.is_multiple_of(2);
        if handles_first {
            self.close_handles();
        }
        // SAFETY: each is given back once.
        unsafe {
            self.writers.iter_mut().filter_map(Option::take).for_each(|writer| vfs_abort(writer.writer));
            self.lists.iter_mut().filter_map(Option::take).for_each(|list| vfs_list_close(list.list));
            for (mut view, bytes) in self.views.iter_mut().filter_map(Option::take) {
                check_view(&view, &bytes);
                vfs_unmap(&mut *view);
            }
        }
        self.close_handles();
        for name in 0..NAMES.len() {
            self.open(0, name, 0, 0);
            self.compare(0);
            let Some(Handle { store, .. }) = self.handles[0] else { return };
            for key in std::mem::take(&mut self.model[name]).into_keys() {
                is!(vfs_remove(store, keys()[key].as_ptr()), 0);
            }
            self.close_handles();
        }
    }

    fn close_handles(&mut self) {
        for at in 0..HANDLES {
            if let Some(Handle { store, number, name, .. }) = self.handles[at].take() {
                // SAFETY: closed once.
                unsafe { vfs_close(store) };
                self.end(number, name);
            }
        }
    }
}

fn check_view(view: &vfs_view_t, bytes: &[u8]) {
    assert_eq!(view.len, bytes.len());
    assert_eq!((view.data.is_null(), view.data as usize % 64), (bytes.is_empty(), 0));
    if !bytes.is_empty() {
        // SAFETY: a view of that many bytes.
        assert!(unsafe { std::slice::from_raw_parts(view.data.cast::<u8>(), view.len) } == bytes, "a view changed");
    }
}

pub fn calls(data: &[u8]) {
    let descriptors = open_descriptors();
    let scratch = tempfile::tempdir().expect("a scratch directory");
    let dirs = ["small", "large"].map(|name| scratch.path().join(name));
    dirs.iter().for_each(|dir| std::fs::create_dir(dir).expect("a directory for a tier"));
    let [small, large] = dirs.each_ref().map(|dir| tier_of(dir));
    let lists = [format!("{small}?max={SMALL},{large}"), format!("{large},{small}?max={SMALL}")];
    let mut world = World::new(lists.map(|list| CString::new(list).expect("no NUL")));
    let mut input = Input(data);
    while world.step < CALLS_MAX && world.call(&mut input) {
        world.step += 1;
        if world.step.is_multiple_of(4) {
            world.compare(world.step / 4 % HANDLES);
        }
    }
    world.finish();
    dirs.iter().for_each(|dir| assert_nothing_left(dir));
    assert_eq!(open_descriptors(), descriptors, "descriptors were left open");
}

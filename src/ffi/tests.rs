//! The boundary, called as C calls it.
use super::guard::{Failure, quietly, status};
use super::types::vfs_code::*;
use super::*;
use crate::error::Code;
use crate::options::Level;
use crate::sys;
use std::cell::Cell;
use std::ffi::{CStr, CString, c_char, c_void};
use std::ptr::{dangling, null, null_mut};

thread_local! {
    static ARMED: Cell<bool> = const { Cell::new(false) };
}

/// Called inside each exported body.
pub fn panic_if_armed() {
    if ARMED.replace(false) {
        panic!("armed {}", 7);
    }
}

const OPTIONS: vfs_options_t = vfs_options_t {
    struct_size: size_of::<vfs_options_t>() as u32,
    flags: 0,
    name: null(),
    tiers: null(),
    log: None,
    log_user: null_mut(),
};

fn stat() -> vfs_stat_t {
    let struct_size = size_of::<vfs_stat_t>() as u32;
    vfs_stat_t { struct_size, flags: 7, size: 7, stored_at_ns: 7, id: 7, tier: 7, reserved: 7 }
}

fn tier_stat() -> vfs_tier_stat_t {
    // SAFETY: valid when zero.
    let zero: vfs_tier_stat_t = unsafe { std::mem::zeroed() };
    vfs_tier_stat_t { struct_size: size_of::<vfs_tier_stat_t>() as u32, ..zero }
}

/// A store on a directory of its own.
struct Opened {
    store: *mut vfs_t,
    _dir: tempfile::TempDir,
}

impl Opened {
    fn new() -> Opened {
        let dir = tempfile::tempdir().unwrap();
        let tiers = CString::new(dir.path().to_str().unwrap()).unwrap();
        let options = vfs_options_t { tiers: tiers.as_ptr(), ..OPTIONS };
        let mut store = null_mut();
        // SAFETY: as the header asks.
        assert_eq!(unsafe { vfs_open(&options, &mut store) }, 0, "{}", last());
        Opened { store, _dir: dir }
    }

    fn put(&self, key: &CStr, data: &[u8]) -> i32 {
        // SAFETY: as the header asks.
        unsafe { vfs_store(self.store, key.as_ptr(), data.as_ptr().cast(), data.len(), 0) }
    }

    fn has(&self, key: &CStr) -> i32 {
        // SAFETY: as the header asks.
        unsafe { vfs_has(self.store, key.as_ptr()) }
    }

    fn create(&self, key: &CStr) -> *mut vfs_writer_t {
        let mut writer = null_mut();
        // SAFETY: as the header asks.
        assert_eq!(unsafe { vfs_create(self.store, key.as_ptr(), 0, 0, &mut writer) }, 0, "{}", last());
        writer
    }
}

impl Drop for Opened {
    fn drop(&mut self) {
        // SAFETY: closed once.
        unsafe { vfs_close(self.store) }
    }
}

fn last() -> String {
    // SAFETY: NUL-terminated, until the next failure.
    unsafe { CStr::from_ptr(vfs_last_error()) }.to_str().unwrap().into()
}

/// Checks the code, and that the sentence says why.
#[track_caller]
fn fails(status: i32, code: vfs_code, why: &str) {
    assert_eq!(status, code as i32, "{}", last());
    assert!(last().contains(why), "{:?} does not say {why:?}", last());
}

#[test]
fn what_is_not_allowed_is_invalid_and_says_why() {
    let at = Opened::new();
    let s = at.store;
    let k = c"k".as_ptr();
    let data = dangling::<c_void>();
    let (mut len, mut view) = (0, vfs_view_t { data: null(), len: 0, owner: null_mut() });
    let (mut writer, mut list, mut name, mut memory) = (null_mut(), null_mut(), null(), null_mut());
    // SAFETY: what the header forbids here is what it says is checked.
    unsafe {
        fails(vfs_open(null(), null_mut()), VFS_ERR_INVALID, "vfs_open: out is NULL");
        fails(vfs_shutdown(null_mut()), VFS_ERR_INVALID, "vfs_shutdown: store is NULL");
        fails(vfs_store(null_mut(), k, data, 0, 0), VFS_ERR_INVALID, "store is NULL");
        fails(vfs_store(s, null(), data, 0, 0), VFS_ERR_INVALID, "key is NULL");
        fails(vfs_store(s, k, null(), 1, 0), VFS_ERR_INVALID, "vfs_store: a buffer is NULL");
        fails(vfs_store(s, k, data, isize::MAX as usize + 1, 0), VFS_ERR_INVALID, "length");
        fails(vfs_store(s, k, data, 0, 4), VFS_ERR_INVALID, "vfs_store \"k\": flags");
        fails(vfs_store(s, c"/".as_ptr(), data, 0, 4), VFS_ERR_KEY, "\"/\"");
        fails(vfs_read(s, k, 0, null_mut(), 1, &mut len, null_mut()), VFS_ERR_INVALID, "buffer is NULL");
        fails(vfs_read(s, k, 0, null_mut(), 0, null_mut(), null_mut()), VFS_ERR_INVALID, "out_len is NULL");
        fails(vfs_has(s, null()), VFS_ERR_INVALID, "key is NULL");
        fails(vfs_has(null_mut(), c"/".as_ptr()), VFS_ERR_INVALID, "store is NULL");
        fails(vfs_stat(s, k, null_mut()), VFS_ERR_INVALID, "out is NULL");
        fails(vfs_remove(s, null()), VFS_ERR_INVALID, "key is NULL");
        fails(vfs_remove_owned(s, null(), 1), VFS_ERR_INVALID, "keys is NULL");
        fails(vfs_remove_owned(s, dangling(), usize::MAX / 8), VFS_ERR_INVALID, "count");
        fails(vfs_map(s, k, null_mut(), null_mut()), VFS_ERR_INVALID, "out is NULL");
        fails(vfs_map(s, c"..".as_ptr(), &mut view, null_mut()), VFS_ERR_KEY, "\"..\"");
        fails(vfs_create(s, k, 0, 0, null_mut()), VFS_ERR_INVALID, "out is NULL");
        fails(vfs_create(s, k, 0, 8, &mut writer), VFS_ERR_INVALID, "flags");
        fails(vfs_write(null_mut(), data, 0), VFS_ERR_INVALID, "writer is NULL");
        fails(vfs_reserve(null_mut(), 0, &mut memory), VFS_ERR_INVALID, "writer is NULL");
        fails(vfs_seal(null_mut()), VFS_ERR_INVALID, "writer is NULL");
        fails(vfs_list_open(s, null_mut()), VFS_ERR_INVALID, "out is NULL");
        fails(vfs_list_next(null_mut(), &mut name, &mut stat()), VFS_ERR_INVALID, "list is NULL");
        fails(vfs_reap(null_mut(), null_mut()), VFS_ERR_INVALID, "store is NULL");
        fails(vfs_tier_stat(s, 0, null_mut()), VFS_ERR_INVALID, "out is NULL");
        assert_eq!(vfs_last_errno(), 0);

        let w = at.create(c"w");
        fails(vfs_write(w, null(), 1), VFS_ERR_INVALID, "vfs_write \"w\": a buffer is NULL");
        fails(vfs_reserve(w, 1, null_mut()), VFS_ERR_INVALID, "out is NULL");
        fails(vfs_reserve(w, usize::MAX, &mut memory), VFS_ERR_INVALID, "length");
        assert_eq!(vfs_reserve(w, 0, &mut memory), 0);
        assert!(memory.is_null());
        vfs_abort(w);
        assert_eq!(vfs_list_open(s, &mut list), 0);
        fails(vfs_list_next(list, null_mut(), &mut stat()), VFS_ERR_INVALID, "key is NULL");
        fails(vfs_list_next(list, &mut name, null_mut()), VFS_ERR_INVALID, "stat is NULL");
        fails(vfs_list_next(list, &mut name, &mut stat()), VFS_ERR_NOT_FOUND, "end");
        vfs_list_close(list);
    }
    assert_eq!(at.has(c"k"), 0);
}

#[test]
fn bad_options_are_refused_and_make_no_handle() {
    let refused = |options: vfs_options_t, why| {
        let mut store = dangling::<vfs_t>() as *mut vfs_t;
        // SAFETY: as the header asks.
        fails(unsafe { vfs_open(&options, &mut store) }, VFS_ERR_INVALID, why);
        assert!(store.is_null());
    };
    let long = CString::new([b'n'; 300]).unwrap();
    refused(vfs_options_t { flags: 2, ..OPTIONS }, "VFS_READ_ONLY");
    refused(vfs_options_t { name: c"".as_ptr(), ..OPTIONS }, "name");
    refused(vfs_options_t { name: c"a/b".as_ptr(), ..OPTIONS }, "a/b");
    refused(vfs_options_t { name: long.as_ptr(), ..OPTIONS }, "name");
    refused(vfs_options_t { tiers: c"".as_ptr(), ..OPTIONS }, "empty");
    refused(vfs_options_t { tiers: c"memory,tmp".as_ptr(), ..OPTIONS }, "\"tmp\"");
    for struct_size in [0, 4, size_of::<vfs_options_t>() as u32 - 1, 64 * 1024 + 1, u32::MAX] {
        refused(vfs_options_t { struct_size, ..OPTIONS }, "struct_size");
    }
}

#[test]
fn structs_of_a_later_version_are_met_halfway() {
    #[repr(C)]
    struct Later<T> {
        known: T,
        more: [u64; 2],
    }
    let struct_size = size_of::<Later<vfs_options_t>>() as u32;
    let known = vfs_options_t { struct_size, tiers: c"memory".as_ptr(), ..OPTIONS };
    let mut options = Later { known, more: [0, 1] };
    let mut store = null_mut();
    // SAFETY: as the header asks.
    unsafe {
        fails(vfs_open((&raw const options).cast(), &mut store), VFS_ERR_INVALID, "does not know");
        options.more = [0; 2];
        assert_eq!(vfs_open((&raw const options).cast(), &mut store), 0, "{}", last());
        vfs_close(store);

        let at = Opened::new();
        assert_eq!(at.put(c"k", b"bytes"), 0);
        let mut later = Later { known: stat(), more: [9; 2] };
        later.known.struct_size = size_of::<Later<vfs_stat_t>>() as u32;
        assert_eq!(vfs_stat(at.store, c"k".as_ptr(), (&raw mut later).cast()), 0);
        assert_eq!(later.known.struct_size as usize, size_of::<vfs_stat_t>());
        assert_eq!((later.known.size, later.known.reserved, later.more), (5, 0, [0; 2]));

        for struct_size in [0, size_of::<vfs_stat_t>() as u32 - 1, 64 * 1024 + 1] {
            let mut early = vfs_stat_t { struct_size, ..stat() };
            fails(vfs_stat(at.store, c"k".as_ptr(), &mut early), VFS_ERR_INVALID, "struct_size");
            assert_eq!((early.struct_size, early.size), (struct_size, 7));
        }
    }
}

#[test]
fn structs_of_an_earlier_version_are_not_overrun() {
    #[repr(C)]
    #[derive(Clone, Copy, Debug, PartialEq)]
    struct Grown {
        struct_size: u32,
        old: u32,
        new: u64,
    }
    // SAFETY: begins with a `u32`, and is valid when zero.
    unsafe impl args::Growing for Grown {
        const FIRST: usize = 8;
    }
    let mut caller = Grown { struct_size: 8, old: 1, new: 2 };
    // SAFETY: writable for more than `struct_size` bytes.
    unsafe {
        assert_eq!(args::input(&caller).ok().unwrap(), Grown { struct_size: 8, old: 1, new: 0 });
        let out = args::Out::new(&mut caller, "").ok().unwrap();
        out.fill(Grown { struct_size: 16, old: 3, new: 4 });
    }
    assert_eq!(caller, Grown { struct_size: 8, old: 3, new: 2 });
}

#[test]
fn outputs_are_written_on_success_only() {
    let at = Opened::new();
    let missing = c"missing".as_ptr();
    let mark = dangling::<c_void>() as *mut c_void;
    let (mut len, mut seen, mut tier) = (7, stat(), tier_stat());
    let mut view = vfs_view_t { data: mark, len: 7, owner: mark };
    let mut writer = mark.cast();
    // SAFETY: as the header asks.
    unsafe {
        fails(vfs_read(at.store, missing, 0, null_mut(), 0, &mut len, &mut seen), VFS_ERR_NOT_FOUND, "vfs_read");
        fails(vfs_map(at.store, missing, &mut view, &mut seen), VFS_ERR_NOT_FOUND, "vfs_map \"missing\"");
        fails(vfs_tier_stat(at.store, 99, &mut tier), VFS_ERR_NOT_FOUND, "past the last");
        fails(vfs_create(null_mut(), missing, 0, 0, &mut writer), VFS_ERR_INVALID, "store");
        assert_eq!((len, seen.size, seen.reserved, view.len, view.owner), (7, 7, 7, 7, mark));
        assert!(writer.is_null());

        assert_eq!(at.put(c"k", b"0123456789"), 0);
        let mut buf = [0u8; 4];
        let k = c"k".as_ptr();
        assert_eq!(vfs_read(at.store, k, 8, buf.as_mut_ptr().cast(), 4, &mut len, &mut seen), 0);
        assert_eq!((len, &buf[..2], seen.size, seen.reserved), (2, &b"89"[..], 10, 0));
        assert_eq!(vfs_read(at.store, k, u64::MAX, buf.as_mut_ptr().cast(), 4, &mut len, null_mut()), 0);
        assert_eq!(len, 0);
        assert_eq!(vfs_tier_stat(at.store, 0, &mut tier), 0);
        assert_eq!(tier.flags, vfs_tier_flag::VFS_TIER_USABLE as u32);
        fails(at.put(c"k", b""), VFS_ERR_EXISTS, "vfs_store \"k\"");
        let sentence = last();
        assert_eq!(at.has(c"k"), 1);
        assert_eq!(last(), sentence); // success leaves it
    }
}

#[test]
fn a_key_is_looked_at_no_further_than_it_can_be_long() {
    let at = Opened::new();
    let longest = CString::new([b'x'; 255]).unwrap();
    let endless = [b'x' as c_char; 256]; // without a NUL
    assert_eq!(at.put(&longest, b""), 0, "{}", last());
    assert_eq!(at.has(&longest), 1);
    // SAFETY: as many bytes as are looked at.
    unsafe {
        fails(vfs_stat(at.store, endless.as_ptr(), &mut stat()), VFS_ERR_KEY, "vfs_stat");
        assert_eq!(vfs_has(at.store, endless.as_ptr()), 0);
        assert_eq!(vfs_has(at.store, c"".as_ptr()), 0);
    }
}

#[test]
fn a_blob_that_lacks_a_part_is_not_sealed_whyever_the_part_was_refused() {
    let at = Opened::new();
    let some = b"some".as_ptr().cast::<c_void>();
    let mut memory = null_mut();
    // SAFETY: as the header asks, or what it says is refused.
    unsafe {
        let w = at.create(c"w");
        fails(vfs_write(w, null(), 1), VFS_ERR_INVALID, "vfs_write");
        assert_eq!(vfs_write(w, some, 0), 0); // nothing is no part
        fails(vfs_seal(w), VFS_ERR_INVALID, "vfs_seal \"w\"");
        for refused in [0, 1, 2] {
            let w = at.create(c"w");
            assert_eq!(vfs_write(w, some, 4), 0);
            let status = match refused {
                0 => vfs_write(w, some, usize::MAX),
                1 => vfs_reserve(w, usize::MAX, &mut memory),
                _ => vfs_reserve(w, 4, null_mut()),
            };
            assert_eq!(status, VFS_ERR_INVALID as i32);
            fails(vfs_seal(w), VFS_ERR_INVALID, "last part was refused");
            assert_eq!(at.has(c"w"), 0);
        }
        let w = at.create(c"w");
        fails(vfs_write(w, null(), 1), VFS_ERR_INVALID, "vfs_write");
        assert_eq!(vfs_write(w, some, 1), 0); // a later part
        assert_eq!(vfs_seal(w), 0, "{}", last());
    }
    assert_eq!(at.has(c"w"), 1);
}

#[test]
fn removing_many_tries_them_all_and_tells_the_first_failure() {
    let at = Opened::new();
    for key in [c"a", c"b", c"c"] {
        assert_eq!(at.put(key, b"1"), 0);
    }
    let keys = [c"a".as_ptr(), c"x/y".as_ptr(), c"none".as_ptr(), null(), c"b".as_ptr()];
    // SAFETY: as the header asks.
    unsafe {
        fails(vfs_remove_owned(at.store, keys.as_ptr(), keys.len()), VFS_ERR_KEY, "\"x/y\"");
        assert_eq!([at.has(c"a"), at.has(c"b"), at.has(c"c")], [0, 0, 1]);
        fails(vfs_remove_owned(at.store, keys[2..].as_ptr(), 3), VFS_ERR_INVALID, "vfs_remove_owned: the key is NULL");
        assert_eq!(vfs_remove_owned(at.store, null(), 0), 0);
        assert_eq!(vfs_remove_owned(at.store, [c"c".as_ptr()].as_ptr(), 1), 0);
    }
    assert_eq!(at.has(c"c"), 0);
}

#[test]
fn closing_nothing_is_nothing_and_what_is_held_outlives_the_store() {
    let at = Opened::new();
    let w = at.create(c"w");
    let (mut list, mut view) = (null_mut(), vfs_view_t { data: null(), len: 0, owner: null_mut() });
    // SAFETY: as the header asks.
    unsafe {
        vfs_close(null_mut());
        vfs_abort(null_mut());
        vfs_list_close(null_mut());
        vfs_unmap(null_mut());
        vfs_unmap(&mut view);
        assert_eq!(at.put(c"empty", b""), 0);
        assert_eq!(vfs_map(at.store, c"empty".as_ptr(), &mut view, null_mut()), 0);
        assert!(view.data.is_null() && view.len == 0);
        vfs_unmap(&mut view);
        assert_eq!(at.put(c"k", b"held"), 0);
        assert_eq!(vfs_map(at.store, c"k".as_ptr(), &mut view, null_mut()), 0);
        assert_eq!(view.data as usize % 64, 0);
        assert_eq!(vfs_list_open(at.store, &mut list), 0);
        drop(at);
        let mut name = null();
        fails(vfs_list_next(list, &mut name, &mut stat()), VFS_ERR_SHUTDOWN, "vfs_list_next");
        fails(vfs_write(w, b"x".as_ptr().cast(), 1), VFS_ERR_SHUTDOWN, "vfs_write \"w\"");
        fails(vfs_seal(w), VFS_ERR_SHUTDOWN, "vfs_seal \"w\"");
        vfs_list_close(list);
        assert_eq!(std::slice::from_raw_parts(view.data.cast::<u8>(), view.len), b"held");
        vfs_unmap(&mut view);
        assert!(view.data.is_null() && view.len == 0 && view.owner.is_null());
        vfs_unmap(&mut view);
    }
}

#[test]
fn every_status_has_its_sentence() {
    // SAFETY: static text.
    let text = |status| unsafe { CStr::from_ptr(vfs_strerror(status)) }.to_str().unwrap();
    for code in Code::ALL {
        assert_eq!(text(code as i32), code.text());
    }
    assert_eq!(text(0), "success");
    for unknown in [1, -15, -98, i32::MIN, i32::MAX] {
        assert_eq!(text(unknown), "unknown status");
    }
}

#[test]
fn a_thread_is_left_as_it_was_found() {
    const ENABLED: i32 = 0;
    let cancel = || {
        let state = sys::cancel_off();
        sys::cancel_restore(state);
        state
    };
    let inside = || {
        sys::set_errno(libc::EIO);
        assert!(cancel() != ENABLED && sys::thread::depth() == 1);
    };
    let at = Opened::new();
    sys::set_errno(77);
    // SAFETY: NULL, or live.
    unsafe {
        let done = status("done", null::<vfs_t>(), |_| {
            inside();
            Ok(())
        });
        let failed = status("failed", null::<vfs_t>(), |_| {
            inside();
            Err(Failure::Boundary(Code::Busy, "why"))
        });
        quietly(inside);
        let missing = vfs_stat(at.store, c"none".as_ptr(), &mut stat());
        assert_eq!((sys::errno(), cancel(), sys::thread::depth()), (77, ENABLED, 0));
        assert_eq!((done, failed), (0, Code::Busy as i32));
        fails(missing, VFS_ERR_NOT_FOUND, "vfs_stat \"none\"");
    }
}

#[test]
fn the_log_callback_gets_its_user_its_level_and_the_message() {
    unsafe extern "C" fn note(user: *mut c_void, level: i32, message: *const c_char) {
        // SAFETY: `user` is the list below, and the message a C string.
        unsafe { (*user.cast::<Vec<(i32, CString)>>()).push((level, CStr::from_ptr(message).into())) }
    }
    let mut heard: Vec<(i32, CString)> = Vec::new();
    let options = vfs_options_t { log: Some(note), log_user: (&raw mut heard).cast(), ..OPTIONS };
    // SAFETY: as the header asks.
    let options = unsafe { open::read_options(&options) }.ok().unwrap();
    options.log.unwrap().log(Level::Warning, c"full");
    assert_eq!(heard, [(vfs_log_level::VFS_LOG_WARNING as i32, c"full".into())]);
}

#[test]
fn a_panic_becomes_a_status_and_the_handle_is_of_no_more_use() {
    let at = Opened::new();
    let other = Opened::new();
    assert_eq!(at.put(c"k", b"1"), 0);
    let w = other.create(c"w");
    ARMED.set(true);
    fails(at.put(c"p", b"2"), VFS_ERR_PANIC, "vfs_store: internal failure, caught: panic at src/ffi/tests.rs:");
    assert!(last().ends_with(": armed 7"), "{}", last());
    assert!(at.put(c"q", b"3") < 0);
    // SAFETY: as the header asks.
    unsafe {
        ARMED.set(true);
        fails(vfs_write(w, b"x".as_ptr().cast(), 1), VFS_ERR_PANIC, "armed 7");
        assert!(vfs_write(w, b"x".as_ptr().cast(), 1) < 0);
        vfs_abort(w);
        let mut list = dangling::<vfs_list_t>() as *mut vfs_list_t;
        ARMED.set(true);
        fails(vfs_list_open(other.store, &mut list), VFS_ERR_PANIC, "vfs_list_open");
        assert!(list.is_null());
    }
    quietly(|| std::panic::panic_any(7)); // caught too
    assert_eq!(sys::thread::depth(), 0);
}

/// What a function of the ABI is called on: a store that has "k", a writer, a listing and a view, each maybe to be ended
/// by it; and what it makes.
struct Held {
    options: vfs_options_t,
    store: *mut vfs_t,
    writer: *mut vfs_writer_t,
    list: *mut vfs_list_t,
    view: vfs_view_t,
    new_store: *mut vfs_t,
    new_writer: *mut vfs_writer_t,
    new_list: *mut vfs_list_t,
    new_view: vfs_view_t,
}

/// Which of them it takes away.
#[derive(Clone, Copy, PartialEq)]
enum Takes {
    Nothing,
    Store,
    Writer,
    List,
}

const K: *const c_char = c"k".as_ptr();
const NEW: *const c_void = b"new".as_ptr().cast();
const NO_VIEW: vfs_view_t = vfs_view_t { data: null(), len: 0, owner: null_mut() };

/// Calls a function that takes a handle or makes one.
///
/// # Safety
/// Each handle is live, or was taken by the call before, which is the last one.
unsafe fn call(name: &str, held: &mut Held) -> i32 {
    let Held { store: s, writer: w, list: l, .. } = *held;
    // SAFETY: as the header asks, says the caller.
    unsafe {
        match name {
            "open" => vfs_open(&held.options, &mut held.new_store),
            "create" => vfs_create(s, c"n".as_ptr(), 3, 0, &mut held.new_writer),
            "map" => vfs_map(s, K, &mut held.new_view, &mut stat()),
            "list_open" => vfs_list_open(s, &mut held.new_list),
            "store" => vfs_store(s, c"l".as_ptr(), NEW, 3, 2),
            "replace" => vfs_store(s, K, NEW, 3, 1),
            "read" => vfs_read(s, K, 0, [0u8; 9].as_mut_ptr().cast(), 9, &mut 0, &mut stat()),
            "has" => vfs_has(s, K).min(0),
            "stat" => vfs_stat(s, K, &mut stat()),
            "remove" => vfs_remove(s, K),
            "remove_owned" => vfs_remove_owned(s, &K, 1),
            "write" => vfs_write(w, NEW, 3),
            "reserve" => vfs_reserve(w, 3, &mut null_mut()),
            "seal" => vfs_seal(w),
            "list_next" => vfs_list_next(l, &mut null(), &mut stat()),
            "reap" => vfs_reap(s, null_mut()),
            "tier_stat" => vfs_tier_stat(s, 0, &mut tier_stat()),
            "shutdown" => vfs_shutdown(s),
            nothing_answered => {
                match nothing_answered {
                    "close" => vfs_close(s),
                    "abort" => vfs_abort(w),
                    "list_close" => vfs_list_close(l),
                    "unmap" => vfs_unmap(&mut held.view),
                    _ => unreachable!("{name}"),
                }
                0
            }
        }
    }
}

const FUNCTIONS: [(&str, Takes); 22] = [
    ("open", Takes::Nothing),
    ("create", Takes::Nothing),
    ("map", Takes::Nothing),
    ("list_open", Takes::Nothing),
    ("store", Takes::Nothing),
    ("replace", Takes::Nothing),
    ("read", Takes::Nothing),
    ("has", Takes::Nothing),
    ("stat", Takes::Nothing),
    ("remove", Takes::Nothing),
    ("remove_owned", Takes::Nothing),
    ("write", Takes::Nothing),
    ("reserve", Takes::Nothing),
    ("seal", Takes::Writer),
    ("list_next", Takes::Nothing),
    ("reap", Takes::Nothing),
    ("tier_stat", Takes::Nothing),
    ("shutdown", Takes::Nothing),
    ("close", Takes::Store),
    ("abort", Takes::Writer),
    ("list_close", Takes::List),
    ("unmap", Takes::Nothing),
];

/// Panics at the entry of a function (0), or at one of its system calls; false where it makes fewer.
fn panic_at(name: &str, takes: Takes, nth: usize) -> bool {
    let what = format!("{name}, call {nth}");
    let other = Opened::new();
    assert_eq!((other.put(c"bystander", b"whole"), other.put(c"k", b"old")), (0, 0));
    let tiers = CString::new(other._dir.path().to_str().unwrap()).unwrap();
    let options = vfs_options_t { tiers: tiers.as_ptr(), ..OPTIONS };
    let mut held = Held {
        options,
        store: null_mut(),
        writer: null_mut(),
        list: null_mut(),
        view: NO_VIEW,
        new_store: null_mut(),
        new_writer: null_mut(),
        new_list: null_mut(),
        new_view: NO_VIEW,
    };
    // SAFETY: as the header asks.
    unsafe {
        assert_eq!(vfs_open(&options, &mut held.store), 0);
        let s = held.store;
        assert_eq!(vfs_create(s, c"w".as_ptr(), 0, 0, &mut held.writer), 0);
        assert_eq!(vfs_write(held.writer, NEW, 3), 0);
        assert_eq!(vfs_list_open(s, &mut held.list), 0);
        assert_eq!(vfs_map(s, c"bystander".as_ptr(), &mut held.view, null_mut()), 0);
        assert_eq!(vfs_store(s, K, NEW, 3, 1), 0);
        ARMED.set(nth == 0);
        let (status, calls) = sys::faults::run(nth, None, sys::faults::PANIC, false, || call(name, &mut held));
        let hit = nth == 0 || calls.len() >= nth;
        assert!(!ARMED.replace(false), "{what}: the hook was not met");
        let void = matches!(name, "close" | "abort" | "list_close" | "unmap");
        if hit && !void {
            fails(status, VFS_ERR_PANIC, "armed");
            let none = held.new_store.is_null() && held.new_writer.is_null() && held.new_list.is_null();
            assert!(none && held.new_view.owner.is_null(), "{what}: a failure made something");
        }
        // Others go on at once: no lock is kept, and what they see is whole.
        let mut buf = [0u8; 9];
        let mut len = 0;
        let read = vfs_read(other.store, K, 0, buf.as_mut_ptr().cast(), 9, &mut len, null_mut());
        assert!(read == VFS_ERR_NOT_FOUND as i32 || read == 0 && &buf[..len] == b"new", "{what}: {read}");
        assert_eq!(vfs_store(other.store, K, NEW, 3, 1), 0, "{what}: {}", last());
        assert_eq!(other.has(c"bystander"), 1, "{what}");
        if name == "open" && hit {
            // There is no handle that could be harmed.
            assert_eq!(vfs_store(s, c"x".as_ptr(), NEW, 3, 0), 0, "{what}: {}", last());
        } else if takes != Takes::Store && hit && !void {
            // The handle reads on, unless it was shut down, and changes nothing.
            let shut = VFS_ERR_SHUTDOWN as i32;
            let has = vfs_has(s, c"bystander".as_ptr());
            assert!(has == 1 || name == "shutdown" && has == shut, "{what}: {has}");
            fails(vfs_store(s, K, NEW, 3, 1), VFS_ERR_PANIC, "internal failure");
            fails(vfs_remove(s, K), VFS_ERR_PANIC, "internal failure");
        }
        vfs_unmap(&mut held.view);
        vfs_unmap(&mut held.new_view);
        vfs_list_close(held.new_list);
        vfs_abort(held.new_writer);
        vfs_close(held.new_store);
        if takes != Takes::List {
            vfs_list_close(held.list);
        }
        if takes != Takes::Writer {
            vfs_abort(held.writer);
        }
        if takes != Takes::Store {
            vfs_close(s);
        }
        // The next open removes what a broken end left.
        let mut s = null_mut();
        assert_eq!(vfs_open(&options, &mut s), 0);
        for key in [c"w", c"l", c"n", c"x"] {
            let _ = vfs_remove(s, key.as_ptr()); // a persistent one may be there
            assert_eq!(vfs_has(s, key.as_ptr()), 0);
        }
        vfs_close(s);
        assert_eq!(vfs_remove(other.store, K), 0, "{what}");
        assert_eq!((other.has(c"bystander"), sys::thread::depth()), (1, 0), "{what}");
        hit
    }
}

#[test]
fn a_panic_anywhere_in_any_function_harms_nobody_else() {
    let mut points = 0;
    for (name, takes) in FUNCTIONS {
        points += (0..).take_while(|&nth| panic_at(name, takes, nth)).count();
    }
    println!("{points} points");
    assert!(points > 150);
}

/// They are outside of the guard, since nothing in them can panic: static text, and words of this thread's that lie
/// behind a pthread key.
#[test]
fn functions_without_a_handle_answer_before_any_failure() {
    let fresh = std::thread::spawn(|| {
        // SAFETY: NUL-terminated, says the header.
        let text = |text| unsafe { CStr::from_ptr(text) }.to_str().map(str::len);
        assert_eq!((vfs_last_errno(), text(vfs_last_error())), (0, Ok(0)));
        for status in [0, -1, -99, i32::MIN, i32::MAX] {
            assert!(text(vfs_strerror(status)).is_ok_and(|len| len > 0));
        }
        assert_eq!(text(vfs_version()), Ok(env!("CARGO_PKG_VERSION").len()));
    });
    fresh.join().unwrap();
}

/// Run by the test below in a process of its own, whose standard error is looked at.
#[test]
#[ignore = "prints on purpose"]
fn panics_inside_and_outside() {
    let at = Opened::new();
    ARMED.set(true);
    assert_eq!(at.put(c"k", b""), VFS_ERR_PANIC as i32);
    assert!(std::panic::catch_unwind(|| panic!("the host's own")).is_err());
}

#[test]
fn a_panic_of_ours_prints_nothing_and_one_of_the_hosts_as_ever() {
    let run = |test: &str| {
        let output = std::process::Command::new(std::env::current_exe().unwrap())
            .args(["--exact", &format!("ffi::tests::{test}"), "--include-ignored", "--nocapture"])
            .env("RUST_BACKTRACE", "1")
            .output()
            .unwrap();
        let [out, err] = [output.stdout, output.stderr].map(|bytes| String::from_utf8_lossy(&bytes).into_owned());
        assert!(output.status.success() && out.contains("1 passed"), "{out}{err}");
        assert!(!err.contains("armed") && !out.contains("armed"), "{out}{err}");
        err
    };
    assert!(run("panics_inside_and_outside").contains("the host's own"));
    // Wherever it is, and whichever function.
    assert_eq!(run("a_panic_anywhere_in_any_function_harms_nobody_else"), "");
}

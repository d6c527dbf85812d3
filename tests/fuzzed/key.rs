//! Any bytes as a key and as the name of a store: taken if and only if the header's rules allow them, and what is taken
//! comes back from store, read and listing as it was.
use super::*;
use vfs::ffi::vfs_code::*;

/// The rules of keys, as `vfs.h` has them.
fn is_key(bytes: &[u8]) -> bool {
    let bad = |byte: &u8| matches!(byte, b'/' | b'\\' | 0..=0x1F | 0x7F);
    (1..=255).contains(&bytes.len()) && !bytes.iter().any(bad) && bytes != b"." && bytes != b".."
}

pub fn key(data: &[u8]) {
    assert_eq!(vfs::Key::new(data).is_ok(), is_key(data), "{data:?}");
    let scratch = tempfile::tempdir().expect("a scratch directory");
    let dir = scratch.path().join("tier");
    std::fs::create_dir(&dir).expect("a directory for the tier");
    let (tiers, key) = (CString::new(tier_of(&dir)).expect("no NUL"), c_string(data));
    let good = is_key(key.to_bytes());

    let (mut store, mut named) = (null_mut(), null_mut());
    let refused = if good { 0 } else { VFS_ERR_INVALID as i32 };
    is!(vfs_open(&options(Some(&key), &tiers, 0), &mut named), refused);
    assert_eq!(named.is_null(), !good);
    // SAFETY: NULL, or open.
    unsafe { vfs_close(named) };
    is!(vfs_open(&options(None, &tiers, 0), &mut store), 0);

    let (bytes, flags) = (key.to_bytes(), u32::from(data.len().is_multiple_of(4)) * vfs_store_flag::VFS_PERSIST as u32);
    let refused = if good { 0 } else { VFS_ERR_KEY as i32 };
    let key = key.as_ptr();
    is!(vfs_has(store, key), 0);
    is!(vfs_store(store, key, bytes.as_ptr().cast(), bytes.len(), flags), refused);
    is!(vfs_has(store, key), good);
    let (mut room, mut len, mut view) = ([0u8; 256], 0, vfs_view_t { data: key.cast(), len: 7, owner: null_mut() });
    let mut stat = new_stat();
    is!(vfs_read(store, key, 0, room.as_mut_ptr().cast(), room.len(), &mut len, &mut stat), refused);
    is!(vfs_map(store, key, &mut view, &mut stat), refused);
    is!(vfs_stat(store, key, &mut stat), refused);
    let mut writer = null_mut();
    is!(vfs_create(store, key, 0, 0, &mut writer), if good { VFS_ERR_EXISTS } else { VFS_ERR_KEY });
    if good {
        assert_eq!((&room[..len], stat.size, view.len), (bytes, bytes.len() as u64, bytes.len()));
        // SAFETY: a view of that many bytes.
        assert_eq!(unsafe { std::slice::from_raw_parts(view.data.cast::<u8>(), view.len) }, bytes);
        // SAFETY: given back once.
        unsafe { vfs_unmap(&mut view) };
        assert_eq!(listed(store), [bytes.to_vec()]);
        is!(vfs_store(store, key, null_mut(), 0, 0), VFS_ERR_EXISTS);
    } else {
        assert_eq!((len, stat.size, view.len), (0, 0, 7), "outputs of a failure");
        assert!(listed(store).is_empty());
    }
    is!(vfs_remove_owned(store, &key, 1), refused);
    is!(vfs_remove(store, key), if good && flags == 0 { VFS_ERR_NOT_FOUND as i32 } else { refused });
    assert!(listed(store).is_empty());
    // SAFETY: closed once.
    unsafe { vfs_close(store) };
    assert_nothing_left(&dir);
    let names = |dir: &Path| std::fs::read_dir(dir).expect("ours").map(|e| e.unwrap().file_name()).collect::<Vec<_>>();
    assert_eq!(names(scratch.path()), ["tier"], "something left the tier");
    assert_eq!(names(&dir).len(), 1, "more than one directory on the tier: {:?}", names(&dir));
}

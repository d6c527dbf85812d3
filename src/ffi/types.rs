//! Constants and structs of the header.
#![allow(non_camel_case_types, clippy::enum_variant_names, reason = "the names of the C header")]
use crate::key::Key;
use crate::store::{List, Stat, Store, TierStat, Writer};
use std::ffi::{c_char, c_void};
use std::mem::offset_of;
use std::ptr::null;

/// What a call answers, as a vfs_status_t. The numbers are frozen; later versions may add some, so
/// take any other negative number for a failure too.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum vfs_code {
    /// It is done.
    VFS_OK = 0,
    /// An argument is not allowed: NULL, an unknown flag, a bad name or list of tiers, a
    /// struct_size that is wrong.
    VFS_ERR_INVALID = -1,
    /// The key is not a key. See Keys above.
    VFS_ERR_KEY = -2,
    /// No blob has this key; or a listing, or the list of tiers, is at its end.
    VFS_ERR_NOT_FOUND = -3,
    /// A blob has this key already, and VFS_REPLACE was not given.
    VFS_ERR_EXISTS = -4,
    /// Every tier refused, and one at least for lack of room: space, inodes, quota, max, reserve,
    /// or a limit of the process or its control group.
    VFS_ERR_NO_SPACE = -5,
    /// The store was shut down or closed.
    VFS_ERR_SHUTDOWN = -6,
    /// The operating system forbids it, or a name that we need belongs to somebody else.
    VFS_ERR_PERMISSION = -7,
    /// The operating system or the device failed.
    VFS_ERR_IO = -8,
    /// Memory of this process could not be had.
    VFS_ERR_NO_MEMORY = -9,
    /// The process or the system is out of file descriptors.
    VFS_ERR_LIMIT = -10,
    /// The handle was opened by the parent of this forked process.
    VFS_ERR_FORKED = -11,
    /// The filesystem or the platform cannot do it.
    VFS_ERR_UNSUPPORTED = -12,
    /// The store was opened with VFS_READ_ONLY, or the filesystem is read-only.
    VFS_ERR_READ_ONLY = -13,
    /// Another process, maybe a stopped one, or another thread holds what this call needs, and did
    /// not let go within five seconds.
    VFS_ERR_BUSY = -14,
    /// A bug of this library, caught before it reached the host. From then on the handle may be
    /// read through, but refuses to change anything; close it. Please report what vfs_last_error
    /// says.
    VFS_ERR_PANIC = -99,
}

/// Bits of vfs_options_t.flags.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum vfs_open_flag {
    /// Create nothing, change nothing, reap nothing. A store that does not exist yet is found
    /// empty, and looked for again at each call.
    VFS_READ_ONLY = 1,
}

/// Bits of the flags of vfs_store and vfs_create.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum vfs_store_flag {
    /// Take the place of a blob that has the key, if there is one, whoever owns it. At no moment
    /// does a reader find neither.
    VFS_REPLACE = 1,
    /// The blob gets no owner: it lives until it is removed.
    VFS_PERSIST = 2,
}

/// Bits of vfs_stat_t.flags.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum vfs_stat_flag {
    /// This very handle owns the blob.
    VFS_STAT_OWNED = 1,
    /// The blob has no owner.
    VFS_STAT_PERSISTENT = 2,
    /// The blob's owner is dead; the next reap removes it. Told by vfs_stat and vfs_list_next
    /// alone, since it costs a look at the owners: vfs_read and vfs_map never set it.
    VFS_STAT_ORPHAN = 4,
}

/// Values of vfs_tier_stat_t.kind. Later versions may add some.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum vfs_tier_kind {
    /// A directory whose filesystem is memory (tmpfs, ramfs), under whatever name it was listed.
    VFS_TIER_SHM = 1,
    /// Any other directory.
    VFS_TIER_DIR = 2,
    /// The heap of this process; its blobs are seen through their handle alone.
    VFS_TIER_MEMORY = 3,
}

/// Bits of vfs_tier_stat_t.flags.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum vfs_tier_flag {
    /// The tier could be used when it was last tried.
    VFS_TIER_USABLE = 1,
}

/// Values of the level that vfs_options_t.log is called with. Later versions may add some.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum vfs_log_level {
    /// No tier takes blobs any more.
    VFS_LOG_ERROR = 1,
    /// A tier began to refuse: blobs go to the next one.
    VFS_LOG_WARNING = 2,
    /// A tier takes blobs again, or was dropped from the list.
    VFS_LOG_INFO = 3,
}

/// What a call answers: VFS_OK or a negative code of vfs_code.
pub type vfs_status_t = i32;

/// An open store. Any number of threads may use it at a time.
pub struct vfs_t {
    pub(super) store: Store,
}

/// A blob being written. One thread at a time uses it.
pub struct vfs_writer_t {
    pub(super) writer: Writer,
    /// For the sentence of a call that fails.
    pub(super) key: Key,
}

/// A listing under way. One thread at a time uses it.
pub struct vfs_list_t {
    pub(super) list: List,
}

/// How to open a store. Begin with VFS_OPTIONS_INIT and set what you need; zero means the default,
/// everywhere. Nothing of it is kept after vfs_open, but log and log_user.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct vfs_options_t {
    /// sizeof(vfs_options_t), as the caller was compiled.
    pub struct_size: u32,
    /// VFS_READ_ONLY, or 0.
    pub flags: u32,
    /// The store's name, by the rules of keys. Default: "default".
    pub name: *const c_char,
    /// Where blobs go, in this order; see Tiers above. Default: what the environment variable
    /// VFS_TIERS says, if that is not empty (not in set-uid programs), else "shm,/var/tmp,/tmp".
    pub tiers: *const c_char,
    /// Is called when a tier begins to refuse or recovers, at most once in 10 s for a tier and
    /// direction. It is called on the thread whose call is under way, maybe on several at once,
    /// with no lock of ours held: it may call this library, but must not throw, longjmp, close
    /// this store, or use the writer or listing whose call is under way. It must not end its thread
    /// either: pthread_exit there, or a cancellation that it lets in, unwinds the stack through
    /// this library, and the C library ends the process. Set a flag instead, and end the thread
    /// when the call has returned. `message` has no newline and is valid during the call. Not
    /// called after vfs_close returns: vfs_close waits for calls in progress on other threads, for
    /// five seconds at most. Default: nobody.
    pub log: Option<unsafe extern "C" fn(user: *mut c_void, level: i32, message: *const c_char)>,
    /// Passed to log.
    pub log_user: *mut c_void,
}

/// What is known of one blob. Begin with VFS_STAT_INIT. Filled on success only, with struct_size
/// set to what was filled, so it may be used again as it is.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct vfs_stat_t {
    /// In: sizeof(vfs_stat_t), as the caller was compiled. Out: how much of it was filled.
    pub struct_size: u32,
    /// VFS_STAT_OWNED, VFS_STAT_PERSISTENT, VFS_STAT_ORPHAN.
    pub flags: u32,
    /// Bytes.
    pub size: u64,
    /// When it was stored, in nanoseconds since the Unix epoch, by the clock of the host. 0 if that
    /// is not known, since the filesystem did not keep it.
    pub stored_at_ns: u64,
    /// Differs between any two blobs that a key ever held: same key and same id, same bytes.
    pub id: u64,
    /// Where it lies: an index for vfs_tier_stat.
    pub tier: u32,
    /// 0.
    pub reserved: u32,
}

/// A blob's bytes, in place. Filled by vfs_map and given back with vfs_unmap, from the very place
/// that was filled: it must not be copied. Its layout is frozen.
#[repr(C)]
pub struct vfs_view_t {
    /// The bytes, read-only, aligned to 64; NULL if the blob is empty.
    pub data: *const c_void,
    /// How many.
    pub len: usize,
    /// Ours. NULL if the blob is empty.
    pub owner: *mut c_void,
}

/// What is known of one tier. Begin with VFS_TIER_STAT_INIT. Filled on success only, with
/// struct_size set to what was filled, so it may be used again as it is.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct vfs_tier_stat_t {
    /// In: sizeof(vfs_tier_stat_t), as the caller was compiled. Out: how much of it was filled.
    pub struct_size: u32,
    /// VFS_TIER_USABLE, or 0.
    pub flags: u32,
    /// VFS_TIER_SHM, VFS_TIER_DIR or VFS_TIER_MEMORY.
    pub kind: u32,
    /// The errno of the last change that it refused or failed; 0 if there was none yet.
    pub last_errno: i32,
    /// Its directory, valid until vfs_close; NULL for memory.
    pub dir: *const c_char,
    /// Blobs of this handle that are there now.
    pub blobs: u64,
    /// Their bytes.
    pub bytes: u64,
    /// Blobs that this handle stored there since it was opened.
    pub stored: u64,
    /// How often it refused a blob of this handle since then, or a part of one.
    pub refused: u64,
    /// Bytes free on the filesystem; 0 if that is not known.
    pub free_bytes: u64,
    /// Bytes on the filesystem; 0 if that is not known.
    pub total_bytes: u64,
    /// Inodes free on the filesystem; 0 if that is not known.
    pub free_inodes: u64,
    /// Inodes on the filesystem; 0 if it has no limit or that is not known.
    pub total_inodes: u64,
}

impl From<Stat> for vfs_stat_t {
    fn from(stat: Stat) -> vfs_stat_t {
        let flag = |set: bool, flag: vfs_stat_flag| if set { flag as u32 } else { 0 };
        vfs_stat_t {
            struct_size: size_of::<vfs_stat_t>() as u32,
            flags: flag(stat.owned, vfs_stat_flag::VFS_STAT_OWNED)
                | flag(stat.persistent, vfs_stat_flag::VFS_STAT_PERSISTENT)
                | flag(stat.orphan, vfs_stat_flag::VFS_STAT_ORPHAN),
            size: stat.size,
            stored_at_ns: stat.stored_at_ns,
            id: stat.id,
            tier: stat.tier,
            reserved: 0,
        }
    }
}

impl From<TierStat<'_>> for vfs_tier_stat_t {
    fn from(tier: TierStat<'_>) -> vfs_tier_stat_t {
        vfs_tier_stat_t {
            struct_size: size_of::<vfs_tier_stat_t>() as u32,
            flags: if tier.usable { vfs_tier_flag::VFS_TIER_USABLE as u32 } else { 0 },
            kind: tier.kind as u32,
            last_errno: tier.last_errno,
            dir: tier.dir.map_or(null(), |dir| dir.as_ptr()),
            blobs: tier.blobs,
            bytes: tier.bytes,
            stored: tier.stored,
            refused: tier.refused,
            free_bytes: tier.free_bytes,
            total_bytes: tier.total_bytes,
            free_inodes: tier.free_inodes,
            total_inodes: tier.total_inodes,
        }
    }
}

/// Asserts that the fields lie end to end from 0 to the size of the struct: no hole, nothing
/// moved.
#[cfg(target_pointer_width = "64")]
macro_rules! no_holes {
    ($name:ident, $size:literal: $($field:ident $width:literal),+) => {
        const _: () = {
            let mut at = 0;
            $(
                assert!(offset_of!($name, $field) == at);
                at += $width;
            )+
            assert!(at == $size && size_of::<$name>() == $size && align_of::<$name>() == 8);
        };
    };
}

#[cfg(target_pointer_width = "64")]
mod layout {
    use super::*;
    no_holes!(vfs_options_t, 40: struct_size 4, flags 4, name 8, tiers 8, log 8, log_user 8);
    no_holes!(vfs_stat_t, 40: struct_size 4, flags 4, size 8, stored_at_ns 8, id 8, tier 4, reserved 4);
    no_holes!(vfs_view_t, 24: data 8, len 8, owner 8);
    no_holes!(vfs_tier_stat_t, 88: struct_size 4, flags 4, kind 4, last_errno 4, dir 8, blobs 8, bytes 8,
        stored 8, refused 8, free_bytes 8, total_bytes 8, free_inodes 8, total_inodes 8);
}

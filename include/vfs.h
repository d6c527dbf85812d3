/*
 * vfs.h: libvfs, a store of virtual files.
 *
 * A store holds blobs: named, immutable strings of bytes, which any process of the same user on
 * this host reads by key, with no daemon. A blob goes to the first tier that can take it, shared
 * memory first, then disk. When shared memory is full, missing, forbidden or too small, it lands
 * on disk, and nobody notices but the statistics.
 *
 *   vfs_t *store;
 *   if (vfs_open(NULL, &store) != VFS_OK) return fail(vfs_last_error());
 *   if (vfs_store(store, "plot.png", data, len, VFS_REPLACE) != VFS_OK) complain(vfs_last_error());
 *   vfs_close(store);
 *
 * This file is generated; its text stands in src/ffi and cbindgen.toml.
 *
 *
 * CAVEATS
 *
 * What no library can promise. All else holds whatever is full, missing, read-only or killed.
 *
 * - A hung network or FUSE filesystem hangs the calls that touch it. Every other wait is bounded.
 *
 * - A view (vfs_map) is memory of the kernel's: touching it raises SIGBUS if the media below
 *   fails, or if a program of the same user truncates the file behind our back. vfs_read answers
 *   with a code instead. We never truncate or write a blob that was published.
 *
 * - Nothing is synced. After a power cut a persistent blob on disk may be short or gone. A
 *   process that is killed, at whatever instruction, leaves whole blobs or none. A network
 *   filesystem that takes bytes now and finds room for them later may report ENOSPC only after
 *   the blob was published, leaving it truncated: name local directories.
 *
 * - A filesystem must keep names byte for byte, have hard links, and keep the times of files at
 *   least in whole seconds. This is tried before the first blob is written. A tier refuses to
 *   store where letters of another case make the same name, where Unicode is normalized, or where
 *   a removed file that is open gets another name (NFS, many FUSE filesystems). It also refuses
 *   in a sandbox (Landlock) that may not link between directories.
 *
 * - A process made by _Fork or by a raw clone, and a child of a process that loaded the library
 *   with dlmopen, run no fork handler of the library. Such a child keeps the owners of its parent
 *   alive until it calls the library for the first time, executes a program, or ends. If its
 *   parent had several threads, it must not call the library: it may call async-signal-safe
 *   functions only. A child that shares the descriptors of its parent (CLONE_FILES) must not use
 *   the parent's handles: it would close the parent's descriptors. fork, vfork with exec, and
 *   posix_spawn are fine.
 *
 * - libvfs.so stays loaded after dlclose. libvfs.a inside a plugin does not: never unload such a
 *   plugin.
 *
 * - Load the library by linking or dlopen. LD_PRELOAD is not supported: it puts us into programs
 *   that know nothing of us.
 *
 * - systemd-logind with RemoveIPC=yes, its default, deletes what an ordinary user has in /dev/shm
 *   when the user's last session ends, even under a running service. The keys are then not found;
 *   the store goes on. Name other tiers, set RemoveIPC=no, or run as a system user.
 *
 * - A container has its own /dev/shm, often of 64 MiB. Processes in different containers share
 *   only the tiers that are mounted into both; name them in `tiers`.
 *
 * - Shared memory counts against the memory limit of the container or service. We ask for the
 *   limit before big blobs and send them to disk, but that is best effort: many small ones, two
 *   processes that each store a big one at the same moment, or the host's own growth, can still
 *   wake the OOM killer. Give the tier a `max`.
 *
 * - If a directory of a tier is mounted over or moved, new blobs go to what the path now leads
 *   to, and what lay below is no longer found by name. What a reader already holds, a view or a
 *   read under way, stays.
 *
 * - A copy of a tier's vfs1-UID that was made without hard links (cp -r, or rsync without -H) has
 *   persistent blobs only: whose they were is lost, and no end of an owner and no reap removes
 *   them. With hard links (cp -a, rsync -aH, tar) the owned ones are orphans in the copy, and the
 *   next open or reap there removes them. Copy blobs by key instead, with vfs_read or vfsctl get.
 *   A copy of vfs1-UID must belong to the user UID: cp -r by root gives it to root. The tier is
 *   then not used by that user until `chown -R UID TIER/vfs1-UID`.
 *
 * - If a directory below a tier's vfs1-UID has rights for other users, because somebody changed its
 *   mode, what lies there is neither read nor taken for missing. Look-ups that find nothing
 *   elsewhere, and all calls that store, return VFS_ERR_PERMISSION. The repair is
 *   `chmod -R u=rwX,go=,g-s TIER/vfs1-UID`.
 *   Kubernetes does that to a volume of a pod with securityContext.fsGroup, again with each start,
 *   and in subdirectories too. For a volume with a tier, set fsGroupChangePolicy: OnRootMismatch,
 *   which leaves the volume alone once its root directory has the group, or set no fsGroup.
 *   A tier refuses to store on a filesystem that does not keep the modes of directories, such as
 *   ntfs-3g without the options permissions and umask=077.
 *
 * - Delete all of a tier's vfs1-UID or nothing. Whoever deletes the directory `owners` alone makes
 *   persistent blobs of those that had an owner: nothing else tells whose they were. A link put in
 *   place of a directory in there is refused by those who open the store, but followed by those
 *   who have it open.
 *
 * - A process that closes descriptors which it did not open (closefrom, close_range, dup2) closes
 *   the library's too. Close stores first. Else calls on open handles return VFS_ERR_IO, and what
 *   the handles own is an orphan. If the process uses such a number for a file of its own, no
 *   writer writes to it, and vfs_close neither unlocks nor closes it. The library finds that out
 *   within a second. Until then a lookup may search, and a store may make a file in, a directory of
 *   the process that has such a number.
 *
 * - A process that gave up root but kept CAP_DAC_OVERRIDE may store files of its new user for up to
 *   one second, in directories that its old user owns. It is checked at each store only if it has
 *   a second user ID when it opens the store.
 *
 * - A umask that takes rights from the owner too (as 0777 does) must be set before the store is
 *   used, not later: blobs stored then could not be read. Umasks that leave those do no harm.
 *
 * - If the clock is set back, a blob that a process with fewer tiers stored below another's may be
 *   taken for what that one replaced, and go with it.
 *
 * - A filesystem may keep no times beyond some year (ext4 with inodes of 128 bytes: 2038). Blobs
 *   that are stored there later have the time 0, not known. No blob is removed because of such a
 *   time. If a process is killed while a replace of its moves a key to or from such a tier, the
 *   old value may therefore reappear when the new one is removed with its owner.
 *
 * - Where a filesystem keeps times in whole seconds and its inodes have no generations, two blobs
 *   that a key has within two seconds may have one id. ext2, ext3 and ext4 have generations.
 *
 * - Where lists of tiers differ, an old value may reappear. A process is killed while its replace
 *   moves a key to an upper tier. Another process has that tier alone, and then removes the key or
 *   reaps. The replaced value is then visible to processes that have the lower tier too. While a
 *   key is moved, a process that lists the tiers in another order may see the old value a moment
 *   longer.
 *
 *
 * CONVENTIONS
 *
 * Ownership. What a function makes (a store, a writer, a listing, a view) is the caller's, to be
 * given back by the function named there; giving back NULL does nothing. What is passed in is
 * read during the call only, and may lie at any address, aligned or not. Strings that are
 * returned are ours.
 *
 * Status. Functions answer VFS_OK, which is 0, or a negative code. Take any negative number for a
 * failure. A function that fails has changed nothing, unless it says otherwise. Outputs are
 * written on success only; but where a handle is made, its place is set to NULL first. A NULL
 * that is not said to be allowed, and an unknown flag, are VFS_ERR_INVALID; (NULL, 0) is an empty
 * buffer.
 *
 * Words. vfs_last_error says what failed: which key, tier and directory, how much was wanted, how
 * much is free, which errno. It is for people; programs go by the code. Nothing is ever printed.
 *
 * Threads. Any number of threads may use a store at a time. A writer, a listing and a view are
 * used by one thread at a time, not always the same one. We start no threads, and install no
 * signal handlers and no atexit. A thread that calls us has a stack of 64 KiB at least. Do not
 * call the library from a signal handler: what it interrupted may hold what the call needs.
 *
 * Guests' manners. errno is as it was before the call. pthread_cancel, of the deferred kind that
 * is its default, is put off until the call is over. No descriptor is held per blob. No SIGBUS,
 * SIGPIPE, SIGXFSZ or abort comes from us.
 *
 * Fork. A child may go on with the handles it inherited: they read what lies on directories. What
 * would change the store, keys of the memory tier, and listings that the parent began, are
 * VFS_ERR_FORKED. vfs_close in the child frees memory and removes nothing. A store that the child
 * opens is its own. A child never keeps its parent's blobs alive, and no call in a child changes a
 * lock of its parent. All functions may
 * be called in handlers of pthread_atfork: before the fork and in the parent as the parent, in the
 * child as the child. A call that opens files waits up to five seconds for forks of other threads,
 * and then returns VFS_ERR_BUSY.
 *
 * Processes that change after vfs_open:
 *   - A handle belongs to the effective user of the thread that opened it.
 *   - If a thread acts as another user, calls return VFS_ERR_PERMISSION where the kernel refuses.
 *     The message names both users. vfs_write may succeed until its bytes go to a tier; vfs_seal
 *     fails then.
 *   - Where the kernel lets the other user in, as it lets root, reading and removing work. Storing
 *     returns VFS_ERR_PERMISSION: no file of another user is left in a store.
 *   - If the list has a memory tier, what the other tiers refuse is stored there.
 *   - When the change is undone, the handle works as before.
 *   - setuid and seteuid of the C library change all threads. setfsuid and the raw system calls
 *     change the calling thread alone.
 *   - vfs_shutdown and vfs_close return. What they may not remove is an orphan: the next vfs_open
 *     or vfs_reap of the user who opened the store removes it.
 *   - Dropped capabilities do no harm, nor does a changed working directory.
 *   - After chroot, pivot_root or a mount, new blobs go to what a tier's path leads to then.
 *     vfs_shutdown and vfs_close remove the handle's blobs where they are. /proc is not needed.
 *   - In a user namespace that the process enters later, open handles work, but vfs_reap reaps
 *     their own store alone. vfs_open returns VFS_ERR_PERMISSION until the namespace maps the user.
 *   - In a sandbox (Landlock, seccomp) the error of the kernel decides the code. A filter that
 *     kills, instead of returning an error, ends the process.
 *   - A lowered RLIMIT_NOFILE is VFS_ERR_LIMIT until it is raised again.
 *   - All threads that use a handle share one table of descriptors. A thread that has its own
 *     (unshare, CLOSE_RANGE_UNSHARE) opens stores of its own.
 *
 * struct_size. Structs that may grow begin with it. Begin with the _INIT macro, which sets it and
 * zeroes the rest; zero means the default. An older library refuses options that it does not
 * know, and zeroes outputs that it does not know.
 *
 * Stability. Codes, fields and functions are only ever added.
 *
 * Keys. 1 to 255 bytes and a NUL; any bytes but '/', '\', 0x01 to 0x1F and 0x7F; not "." or "..".
 * Bytes are compared as they are. A tier refuses a key that its filesystem does not allow as a
 * name, and the next tier takes the blob. No directory takes ".nfs" with 24 hexadecimal digits,
 * ".fuse_hidden" with 16, ".ghost-ntfs-3g-" with 20, or ".__afs" and ".__smb" with 4 to 8:
 * filesystems give such names to removed files.
 *
 * Owners. A blob belongs to the handle that stored it, and lives until it is removed, or that
 * handle shuts down or closes, or its process dies. Readers never own. Liveness is a lock that
 * the kernel drops at death. With VFS_PERSIST a blob has no owner.
 *
 * Tiers. A comma-separated list, tried in this order: "shm", which is /dev/shm; "memory", the
 * heap of this process; or an absolute directory, which must exist. There is no space before or
 * after a comma. In a path %2C is a comma, %3F a question mark and %25 a percent sign; %2c and %3f
 * mean the same. A percent sign before anything else stands for itself. A program that builds a
 * list from paths replaces '%' first, then ',' and '?'. TMPDIR is not read; a shell that wants it
 * writes VFS_TIERS="shm,${TMPDIR:-/var/tmp}". Each entry may be followed by settings, as in
 * "shm?max=64M&reserve=10%,/var/tmp?max=2G":
 *   max=SIZE       how many bytes this handle may hold there. An owned blob that others removed
 *                  counts for one more second at most. A persistent blob counts until the handle
 *                  removes or replaces it, or closes.
 *   reserve=SIZE   how much free space is left to others, or reserve=10% of the filesystem;
 *                  default 5% for shm, else 0: a disk is filled to its last byte, and by root
 *                  beyond what others may have
 * SIZE is a number of bytes, or has a unit K, M, G or T (powers of 1024). A bad list is refused
 * whole, and vfs_last_error names the part at fault. A directory that is listed twice, under
 * whatever names, counts once. The memory tier is seen by its handle alone, which looks there
 * first.
 *
 * In each directory tier, all stores of a user lie in one directory, vfs1-UID. UID is the number of
 * the effective user. The library makes that directory with mode 0700. For this the user needs the
 * rights to enter the tier's directory and to make a directory in it. Where vfs1-UID exists, with
 * this owner and mode 0700, the right to enter is enough. A tier whose vfs1-UID belongs to another
 * user, or is not a directory, is not used: blobs go to the next tier.
 */
#ifndef VFS_H
#define VFS_H

/* Of <stddef.h> only size_t and NULL, where the compiler knows these names: what else it has,
 * tools that read declarations after the preprocessor cannot parse. */
#define __need_size_t
#define __need_NULL
#include <stddef.h>

#include <stdint.h>

/** The version of this header; vfs_version tells that of the library. */
#define VFS_VERSION_MAJOR 0
#define VFS_VERSION_MINOR 1
#define VFS_VERSION_PATCH 0
#define VFS_VERSION "0.1.0"

/** Initialisers, for global and local variables alike: vfs_stat_t stat = VFS_STAT_INIT; */
#define VFS_OPTIONS_INIT { sizeof(vfs_options_t), 0, NULL, NULL, NULL, NULL }
#define VFS_STAT_INIT { sizeof(vfs_stat_t), 0, 0, 0, 0, 0, 0 }
#define VFS_TIER_STAT_INIT { sizeof(vfs_tier_stat_t), 0, 0, 0, NULL, 0, 0, 0, 0, 0, 0, 0, 0 }

/**
 * What a call answers, as a vfs_status_t. The numbers are frozen; later versions may add some, so
 * take any other negative number for a failure too.
 */
typedef enum vfs_code {
  /** It is done. */
  VFS_OK = 0,
  /**
   * An argument is not allowed: NULL, an unknown flag, a bad name or list of tiers, a
   * struct_size that is wrong.
   */
  VFS_ERR_INVALID = -1,
  /** The key is not a key. See Keys above. */
  VFS_ERR_KEY = -2,
  /** No blob has this key; or a listing, or the list of tiers, is at its end. */
  VFS_ERR_NOT_FOUND = -3,
  /** A blob has this key already, and VFS_REPLACE was not given. */
  VFS_ERR_EXISTS = -4,
  /**
   * Every tier refused, and one at least for lack of room: space, inodes, quota, max, reserve,
   * or a limit of the process or its control group.
   */
  VFS_ERR_NO_SPACE = -5,
  /** The store was shut down or closed. */
  VFS_ERR_SHUTDOWN = -6,
  /** The operating system forbids it, or a name that we need belongs to somebody else. */
  VFS_ERR_PERMISSION = -7,
  /** The operating system or the device failed. */
  VFS_ERR_IO = -8,
  /** Memory of this process could not be had. */
  VFS_ERR_NO_MEMORY = -9,
  /** The process or the system is out of file descriptors. */
  VFS_ERR_LIMIT = -10,
  /** The handle was opened by the parent of this forked process. */
  VFS_ERR_FORKED = -11,
  /** The filesystem or the platform cannot do it. */
  VFS_ERR_UNSUPPORTED = -12,
  /** The store was opened with VFS_READ_ONLY, or the filesystem is read-only. */
  VFS_ERR_READ_ONLY = -13,
  /**
   * Another process, maybe a stopped one, or another thread holds what this call needs, and did
   * not let go within five seconds.
   */
  VFS_ERR_BUSY = -14,
  /**
   * A bug of this library, caught before it reached the host. From then on the handle may be
   * read through, but refuses to change anything; close it. Please report what vfs_last_error
   * says.
   */
  VFS_ERR_PANIC = -99,
} vfs_code;

/** Bits of vfs_options_t.flags. */
typedef enum vfs_open_flag {
  /**
   * Create nothing, change nothing, reap nothing. A store that does not exist yet is found
   * empty, and looked for again at each call.
   */
  VFS_READ_ONLY = 1,
} vfs_open_flag;

/** Bits of the flags of vfs_store and vfs_create. */
typedef enum vfs_store_flag {
  /**
   * Take the place of a blob that has the key, if there is one, whoever owns it. At no moment
   * does a reader find neither.
   */
  VFS_REPLACE = 1,
  /** The blob gets no owner: it lives until it is removed. */
  VFS_PERSIST = 2,
} vfs_store_flag;

/** Bits of vfs_stat_t.flags. */
typedef enum vfs_stat_flag {
  /** This very handle owns the blob. */
  VFS_STAT_OWNED = 1,
  /** The blob has no owner. */
  VFS_STAT_PERSISTENT = 2,
  /**
   * The blob's owner is dead; the next reap removes it. Told by vfs_stat and vfs_list_next
   * alone, since it costs a look at the owners: vfs_read and vfs_map never set it.
   */
  VFS_STAT_ORPHAN = 4,
} vfs_stat_flag;

/** Values of vfs_tier_stat_t.kind. Later versions may add some. */
typedef enum vfs_tier_kind {
  /** A directory whose filesystem is memory (tmpfs, ramfs), under whatever name it was listed. */
  VFS_TIER_SHM = 1,
  /** Any other directory. */
  VFS_TIER_DIR = 2,
  /** The heap of this process; its blobs are seen through their handle alone. */
  VFS_TIER_MEMORY = 3,
} vfs_tier_kind;

/** Bits of vfs_tier_stat_t.flags. */
typedef enum vfs_tier_flag {
  /** The tier could be used when it was last tried. */
  VFS_TIER_USABLE = 1,
} vfs_tier_flag;

/** Values of the level that vfs_options_t.log is called with. Later versions may add some. */
typedef enum vfs_log_level {
  /** No tier takes blobs any more. */
  VFS_LOG_ERROR = 1,
  /** A tier began to refuse: blobs go to the next one. */
  VFS_LOG_WARNING = 2,
  /** A tier takes blobs again, or was dropped from the list. */
  VFS_LOG_INFO = 3,
} vfs_log_level;

/** A listing under way. One thread at a time uses it. */
typedef struct vfs_list_t vfs_list_t;

/** An open store. Any number of threads may use it at a time. */
typedef struct vfs_t vfs_t;

/** A blob being written. One thread at a time uses it. */
typedef struct vfs_writer_t vfs_writer_t;

/** What a call answers: VFS_OK or a negative code of vfs_code. */
typedef int32_t vfs_status_t;

/**
 * How to open a store. Begin with VFS_OPTIONS_INIT and set what you need; zero means the default,
 * everywhere. Nothing of it is kept after vfs_open, but log and log_user.
 */
typedef struct vfs_options_t {
  /** sizeof(vfs_options_t), as the caller was compiled. */
  uint32_t struct_size;
  /** VFS_READ_ONLY, or 0. */
  uint32_t flags;
  /** The store's name, by the rules of keys. Default: "default". */
  const char *name;
  /**
   * Where blobs go, in this order; see Tiers above. Default: what the environment variable
   * VFS_TIERS says, if that is not empty (not in set-uid programs), else "shm,/var/tmp,/tmp".
   */
  const char *tiers;
  /**
   * Is called when a tier begins to refuse or recovers, at most once in 10 s for a tier and
   * direction. It is called on the thread whose call is under way, maybe on several at once,
   * with no lock of ours held: it may call this library, but must not throw, longjmp, close
   * this store, or use the writer or listing whose call is under way. It must not end its thread
   * either: pthread_exit there, or a cancellation that it lets in, unwinds the stack through
   * this library, and the C library ends the process. Set a flag instead, and end the thread
   * when the call has returned. `message` has no newline and is valid during the call. Not
   * called after vfs_close returns: vfs_close waits for calls in progress on other threads, for
   * five seconds at most. Default: nobody.
   */
  void (*log)(void *user, int32_t level, const char *message);
  /** Passed to log. */
  void *log_user;
} vfs_options_t;

/**
 * What is known of one blob. Begin with VFS_STAT_INIT. Filled on success only, with struct_size
 * set to what was filled, so it may be used again as it is.
 */
typedef struct vfs_stat_t {
  /** In: sizeof(vfs_stat_t), as the caller was compiled. Out: how much of it was filled. */
  uint32_t struct_size;
  /** VFS_STAT_OWNED, VFS_STAT_PERSISTENT, VFS_STAT_ORPHAN. */
  uint32_t flags;
  /** Bytes. */
  uint64_t size;
  /**
   * When it was stored, in nanoseconds since the Unix epoch, by the clock of the host. 0 if that
   * is not known, since the filesystem did not keep it.
   */
  uint64_t stored_at_ns;
  /** Differs between any two blobs that a key ever held: same key and same id, same bytes. */
  uint64_t id;
  /** Where it lies: an index for vfs_tier_stat. */
  uint32_t tier;
  /** 0. */
  uint32_t reserved;
} vfs_stat_t;

/**
 * A blob's bytes, in place. Filled by vfs_map and given back with vfs_unmap, from the very place
 * that was filled: it must not be copied. Its layout is frozen.
 */
typedef struct vfs_view_t {
  /** The bytes, read-only, aligned to 64; NULL if the blob is empty. */
  const void *data;
  /** How many. */
  size_t len;
  /** Ours. NULL if the blob is empty. */
  void *owner;
} vfs_view_t;

/**
 * What is known of one tier. Begin with VFS_TIER_STAT_INIT. Filled on success only, with
 * struct_size set to what was filled, so it may be used again as it is.
 */
typedef struct vfs_tier_stat_t {
  /** In: sizeof(vfs_tier_stat_t), as the caller was compiled. Out: how much of it was filled. */
  uint32_t struct_size;
  /** VFS_TIER_USABLE, or 0. */
  uint32_t flags;
  /** VFS_TIER_SHM, VFS_TIER_DIR or VFS_TIER_MEMORY. */
  uint32_t kind;
  /** The errno of the last change that it refused or failed; 0 if there was none yet. */
  int32_t last_errno;
  /** Its directory, valid until vfs_close; NULL for memory. */
  const char *dir;
  /** Blobs of this handle that are there now. */
  uint64_t blobs;
  /** Their bytes. */
  uint64_t bytes;
  /** Blobs that this handle stored there since it was opened. */
  uint64_t stored;
  /** How often it refused a blob of this handle since then, or a part of one. */
  uint64_t refused;
  /** Bytes free on the filesystem; 0 if that is not known. */
  uint64_t free_bytes;
  /** Bytes on the filesystem; 0 if that is not known. */
  uint64_t total_bytes;
  /** Inodes free on the filesystem; 0 if that is not known. */
  uint64_t free_inodes;
  /** Inodes on the filesystem; 0 if it has no limit or that is not known. */
  uint64_t total_inodes;
} vfs_tier_stat_t;

#ifdef __cplusplus
extern "C" {
#endif /* __cplusplus */

/**
 * Opens a store, and makes it on every tier that can be used and does not have it. What dead
 * owners left in any of this user's stores on these tiers is removed.
 *
 * `options` may be NULL: all defaults. `*out` is set to NULL first and, on success, to a handle
 * that is the caller's to give back with vfs_close. A tier that cannot be used is skipped, with
 * the reason in vfs_tier_stat, and tried again later; that is no failure while another can be
 * used. After a failure there is no handle. With VFS_READ_ONLY nothing is made or removed, no
 * mode is changed, and only bad options fail.
 *
 * Returns:
 * - VFS_OK: the store is open.
 * - VFS_ERR_INVALID: `out` is NULL; struct_size, a flag, the name or the list of tiers is not
 *   allowed, or a field that this version does not know is set.
 * - VFS_ERR_NO_SPACE, VFS_ERR_PERMISSION, VFS_ERR_IO, VFS_ERR_UNSUPPORTED, VFS_ERR_READ_ONLY,
 *   VFS_ERR_BUSY: no tier can be used; the code is VFS_ERR_PERMISSION if other users can reach the
 *   store's directories on one (see the caveats), else VFS_ERR_NO_SPACE if one lacked room, else
 *   the first tier's: VFS_ERR_IO, with vfs_last_errno ENOENT, for a directory that is not there.
 * - VFS_ERR_LIMIT, VFS_ERR_NO_MEMORY: no descriptors, no memory.
 * - VFS_ERR_PANIC: a bug, caught.
 *
 * Threads: any. Fork: allowed in the child, where it opens a store of the child's own.
 * Since: 0.1.0
 */
vfs_status_t vfs_open(const vfs_options_t *options, vfs_t **out);

/**
 * Removes all blobs that this handle owns and ends its use: from then on every call with it, or
 * with one of its writers and listings, answers VFS_ERR_SHUTDOWN, but vfs_shutdown itself. Views
 * stay good. Persistent blobs stay (in the memory tier, until vfs_close). A blob that another
 * thread is storing is either removed too or answers VFS_ERR_SHUTDOWN there.
 *
 * A key or a tier that fails does not stop the rest, and the first failure is reported. What
 * could not be removed is an orphan, which the next reap removes. The handle remains to be
 * closed.
 *
 * Returns:
 * - VFS_OK: nothing that this handle owned is left; also if the store was shut down before, and
 *   for a store opened with VFS_READ_ONLY.
 * - VFS_ERR_INVALID: `store` is NULL.
 * - VFS_ERR_FORKED: the handle is the parent's; nothing has changed.
 * - VFS_ERR_BUSY, VFS_ERR_PERMISSION, VFS_ERR_IO, VFS_ERR_NO_SPACE, VFS_ERR_UNSUPPORTED,
 *   VFS_ERR_READ_ONLY, VFS_ERR_LIMIT, VFS_ERR_NO_MEMORY: shut down all the same, but something
 *   could not be removed.
 * - VFS_ERR_PANIC: a bug, caught.
 *
 * Threads: any. Fork: VFS_ERR_FORKED in the child.
 * Since: 0.1.0
 */
vfs_status_t vfs_shutdown(vfs_t *store);

/**
 * Shuts down as vfs_shutdown does, then frees the handle. Call vfs_shutdown before it to learn of
 * failures.
 *
 * `store` is gone afterwards, for every thread; NULL does nothing. Writers, listings and views
 * may outlive it: the first two answer VFS_ERR_SHUTDOWN and are given back by their own calls, a
 * view stays good. The log callback is not called after it returns.
 *
 * The last handle of a store also removes the store's directories from each tier, if no blob is
 * left there. A handle with VFS_READ_ONLY neither keeps nor removes them. The directory vfs1-UID
 * stays, with an empty lock file in it.
 *
 * Threads: one, when no other uses the handle any more. Fork: in the child it frees memory and
 * removes nothing.
 * Since: 0.1.0
 */
void vfs_close(vfs_t *store);

/**
 * Stores a copy of `len` bytes at `data` under `key`, on the first tier that can take them now.
 *
 * On success every process that opens the store by this name on these tiers sees the blob, whole,
 * and this handle owns it: it is removed when the handle shuts down or closes or the process
 * dies. With VFS_PERSIST it has no owner and lives until it is removed. With VFS_REPLACE it takes
 * the place of a blob that has the key. Of any number of callers that store one key at once
 * without VFS_REPLACE, exactly one gets VFS_OK. `data` is read during the call only, and may be
 * NULL if `len` is 0: an empty blob is a blob. After a failure nothing has changed.
 *
 * Returns:
 * - VFS_OK: stored.
 * - VFS_ERR_INVALID: `store`, `key` or `data` is NULL, `len` is beyond SIZE_MAX / 2, or a flag is
 *   unknown.
 * - VFS_ERR_KEY: `key` is not a key.
 * - VFS_ERR_EXISTS: a blob has this key, and VFS_REPLACE was not given.
 * - VFS_ERR_NO_SPACE: every tier refused, one at least for lack of room.
 * - VFS_ERR_PERMISSION, VFS_ERR_IO, VFS_ERR_UNSUPPORTED, VFS_ERR_READ_ONLY: every tier refused,
 *   the first one for this reason; or the store was opened with VFS_READ_ONLY; or other users can
 *   reach the store's directories on a tier (see the caveats): VFS_ERR_PERMISSION.
 * - VFS_ERR_BUSY: another process holds this key's lock.
 * - VFS_ERR_LIMIT, VFS_ERR_NO_MEMORY: no descriptors, no memory.
 * - VFS_ERR_SHUTDOWN, VFS_ERR_FORKED: the handle is of no more use for this.
 * - VFS_ERR_PANIC: a bug, caught.
 *
 * Threads: any. Fork: VFS_ERR_FORKED in the child.
 * Since: 0.1.0
 */
vfs_status_t vfs_store(vfs_t *store,
                       const char *key,
                       const void *data,
                       size_t len,
                       uint32_t flags);

/**
 * Copies bytes of a blob: as many as there are from `offset` on, but no more than `cap`.
 *
 * On success `*out_len` is how many were copied to `buf`; at or beyond the blob's end that is 0,
 * and still VFS_OK. `stat`, which may be NULL, is filled for the very blob that the bytes came
 * from: who reads in parts compares its id from part to part, since the key may be replaced in
 * between. `buf` may be NULL if `cap` is 0. One call reads one blob, whatever is done to the key
 * meanwhile. After a failure `*out_len` and `*stat` are as they were, and what `buf` holds is not
 * told.
 *
 * Returns:
 * - VFS_OK: copied.
 * - VFS_ERR_INVALID: `store`, `key`, `buf` or `out_len` is NULL, `cap` is beyond SIZE_MAX / 2, or
 *   struct_size of `stat` is wrong.
 * - VFS_ERR_KEY: `key` is not a key.
 * - VFS_ERR_NOT_FOUND: no blob has this key.
 * - VFS_ERR_PERMISSION, VFS_ERR_IO, VFS_ERR_UNSUPPORTED, VFS_ERR_NO_SPACE: a tier could not be
 *   looked into or read, and no other has the key.
 * - VFS_ERR_BUSY: no tier had the key at first sight, and another process holds the key's lock.
 * - VFS_ERR_LIMIT, VFS_ERR_NO_MEMORY: no descriptors, no memory.
 * - VFS_ERR_FORKED: not found on a directory, and the parent's memory tier may have it.
 * - VFS_ERR_SHUTDOWN: the store was shut down.
 * - VFS_ERR_PANIC: a bug, caught.
 *
 * Threads: any. Fork: in the child it reads what lies on directories.
 * Since: 0.1.0
 */
vfs_status_t vfs_read(vfs_t *store,
                      const char *key,
                      uint64_t offset,
                      void *buf,
                      size_t cap,
                      size_t *out_len,
                      vfs_stat_t *stat);

/**
 * Whether a blob has this key. Compare with 1: an error is not 0 either.
 *
 * Returns:
 * - 1: there is one.
 * - 0: there is none; also for what is not a key.
 * - VFS_ERR_INVALID: `store` or `key` is NULL.
 * - VFS_ERR_PERMISSION, VFS_ERR_IO, VFS_ERR_UNSUPPORTED, VFS_ERR_NO_SPACE: a tier could not be
 *   looked into, and no other has the key.
 * - VFS_ERR_BUSY: no tier had the key at first sight, and another process holds the key's lock.
 * - VFS_ERR_LIMIT, VFS_ERR_NO_MEMORY: no descriptors, no memory.
 * - VFS_ERR_FORKED: not found on a directory, and the parent's memory tier may have it.
 * - VFS_ERR_SHUTDOWN: the store was shut down.
 * - VFS_ERR_PANIC: a bug, caught.
 *
 * Threads: any. Fork: in the child it sees what lies on directories.
 * Since: 0.1.0
 */
int32_t vfs_has(vfs_t *store, const char *key);

/**
 * Tells what is known of the blob that has this key, without reading it. `*out` is filled on
 * success only. Nobody is notified of a new blob: who waits for one asks again, and compares `id`.
 *
 * Returns:
 * - VFS_OK: `*out` is filled.
 * - VFS_ERR_INVALID: `store`, `key` or `out` is NULL, or struct_size of `out` is wrong.
 * - VFS_ERR_KEY: `key` is not a key.
 * - VFS_ERR_NOT_FOUND: no blob has this key.
 * - VFS_ERR_PERMISSION, VFS_ERR_IO, VFS_ERR_UNSUPPORTED, VFS_ERR_NO_SPACE: a tier could not be
 *   looked into, and no other has the key.
 * - VFS_ERR_BUSY: no tier had the key at first sight, and another process holds the key's lock.
 * - VFS_ERR_LIMIT, VFS_ERR_NO_MEMORY: no descriptors, no memory.
 * - VFS_ERR_FORKED: not found on a directory, and the parent's memory tier may have it.
 * - VFS_ERR_SHUTDOWN: the store was shut down.
 * - VFS_ERR_PANIC: a bug, caught.
 *
 * Threads: any. Fork: in the child it sees what lies on directories.
 * Since: 0.1.0
 */
vfs_status_t vfs_stat(vfs_t *store, const char *key, vfs_stat_t *out);

/**
 * Removes the blob that has this key, whoever owns it.
 *
 * On success no process finds it any more; views of it, and reads under way, stay good. After a
 * failure it is still there.
 *
 * Returns:
 * - VFS_OK: removed.
 * - VFS_ERR_INVALID: `store` or `key` is NULL.
 * - VFS_ERR_KEY: `key` is not a key.
 * - VFS_ERR_NOT_FOUND: no blob has this key, whether or not each tier can be changed.
 * - VFS_ERR_PERMISSION, VFS_ERR_IO, VFS_ERR_UNSUPPORTED, VFS_ERR_NO_SPACE: a tier could not be
 *   looked into, or its blob not be removed.
 * - VFS_ERR_READ_ONLY: the store was opened with VFS_READ_ONLY, or the blob's filesystem is
 *   read-only.
 * - VFS_ERR_BUSY: another process holds this key's lock.
 * - VFS_ERR_LIMIT, VFS_ERR_NO_MEMORY: no descriptors, no memory.
 * - VFS_ERR_SHUTDOWN, VFS_ERR_FORKED: the handle is of no more use for this.
 * - VFS_ERR_PANIC: a bug, caught.
 *
 * Threads: any. Fork: VFS_ERR_FORKED in the child.
 * Since: 0.1.0
 */
vfs_status_t vfs_remove(vfs_t *store, const char *key);

/**
 * Removes, of the blobs that have these keys, those that this handle owns. Others, and keys
 * without a blob, are left as they are, which is no failure.
 *
 * `keys` has `count` entries, all of which are tried; the first failure is reported. A `count` of
 * 0 does nothing, and `keys` may be NULL then. The keys are the caller's and read during the call
 * only.
 *
 * Returns:
 * - VFS_OK: this handle owns no blob of these keys any more.
 * - VFS_ERR_INVALID: `store` or `keys` is NULL, and nothing has changed; or an entry is NULL, and
 *   the other entries are done.
 * - VFS_ERR_KEY: an entry is not a key; the others are done.
 * - VFS_ERR_PERMISSION, VFS_ERR_IO, VFS_ERR_UNSUPPORTED, VFS_ERR_NO_SPACE, VFS_ERR_BUSY,
 *   VFS_ERR_LIMIT, VFS_ERR_NO_MEMORY: an entry's blob could not be removed and is still there,
 *   or a tier could not be looked into for it; the others are done.
 * - VFS_ERR_READ_ONLY: the same; or the store was opened with VFS_READ_ONLY.
 * - VFS_ERR_SHUTDOWN, VFS_ERR_FORKED: the handle is of no more use for this.
 * - VFS_ERR_PANIC: a bug, caught.
 *
 * Threads: any. Fork: VFS_ERR_FORKED in the child.
 * Since: 0.1.0
 */
vfs_status_t vfs_remove_owned(vfs_t *store, const char *const *keys, size_t count);

/**
 * Shows a blob's bytes in place, without copying them, however large it is.
 *
 * On success `*out` is the caller's to give back with vfs_unmap, once, from the same place. The
 * bytes must not be written. They stay whatever becomes of the key, its owner and the store,
 * until vfs_unmap; see Caveats for failing media and truncation from outside. An empty blob is
 * data NULL and len 0. `stat`, which may be NULL, is filled for the very blob that is shown.
 * After a failure `*out` and `*stat` are as they were: set the view to zeroes first if it will be
 * given back in any case.
 *
 * Returns:
 * - VFS_OK: `*out` is filled.
 * - VFS_ERR_INVALID: `store`, `key` or `out` is NULL, or struct_size of `stat` is wrong.
 * - VFS_ERR_KEY: `key` is not a key.
 * - VFS_ERR_NOT_FOUND: no blob has this key.
 * - VFS_ERR_PERMISSION, VFS_ERR_IO, VFS_ERR_UNSUPPORTED, VFS_ERR_NO_SPACE: a tier could not be
 *   looked into or mapped, and no other has the key.
 * - VFS_ERR_BUSY: no tier had the key at first sight, and another process holds the key's lock.
 * - VFS_ERR_LIMIT, VFS_ERR_NO_MEMORY: no descriptors; no memory, or no room among the addresses.
 * - VFS_ERR_FORKED: not found on a directory, and the parent's memory tier may have it.
 * - VFS_ERR_SHUTDOWN: the store was shut down.
 * - VFS_ERR_PANIC: a bug, caught.
 *
 * Threads: any; all may read the bytes. Fork: in the child it maps what lies on directories, and
 * the parent's views are there too, to be given back in each process.
 * Since: 0.1.0
 */
vfs_status_t vfs_map(vfs_t *store,
                     const char *key,
                     vfs_view_t *out,
                     vfs_stat_t *stat);

/**
 * Gives back a view and sets it to zeroes; its bytes must not be touched afterwards.
 *
 * NULL, and a view of zeroes, do nothing, so a second call does nothing. The store may be closed
 * already.
 *
 * Threads: one at a time for a view. Fork: allowed in the child, where it gives back the child's
 * copy.
 * Since: 0.1.0
 */
void vfs_unmap(vfs_view_t *view);

/**
 * Begins a blob that is written in parts: vfs_write and vfs_reserve append, vfs_seal publishes
 * it, vfs_abort gives it up. Until it is sealed nobody sees it, and it dies with its process.
 *
 * `size_hint` picks the first tier with room for that many bytes; 0, or more than fits anywhere,
 * means that the size is not known. The blob may become smaller or larger. `flags` are those of
 * vfs_store. `*out` is set to NULL first and, on success, to a writer that is the caller's to end
 * with vfs_seal or vfs_abort. After a failure nothing has changed.
 *
 * Returns:
 * - VFS_OK: `*out` is the writer.
 * - VFS_ERR_INVALID: `store`, `key` or `out` is NULL, or a flag is unknown.
 * - VFS_ERR_KEY: `key` is not a key.
 * - VFS_ERR_EXISTS: a blob has this key, and VFS_REPLACE was not given. Told as early as it is
 *   known; vfs_seal decides.
 * - VFS_ERR_NO_SPACE: every tier refused, one at least for lack of room.
 * - VFS_ERR_PERMISSION, VFS_ERR_IO, VFS_ERR_UNSUPPORTED, VFS_ERR_READ_ONLY: every tier refused,
 *   the first one for this reason; or the store was opened with VFS_READ_ONLY; or other users can
 *   reach the store's directories on a tier (see the caveats): VFS_ERR_PERMISSION.
 * - VFS_ERR_BUSY: another process holds what this needs.
 * - VFS_ERR_LIMIT, VFS_ERR_NO_MEMORY: no descriptors, no memory.
 * - VFS_ERR_SHUTDOWN, VFS_ERR_FORKED: the handle is of no more use for this.
 * - VFS_ERR_PANIC: a bug, caught.
 *
 * Threads: any. Fork: VFS_ERR_FORKED in the child.
 * Since: 0.1.0
 */
vfs_status_t vfs_create(vfs_t *store,
                        const char *key,
                        uint64_t size_hint,
                        uint32_t flags,
                        vfs_writer_t **out);

/**
 * Appends `len` bytes at `data`. When the tier has no more room, what is written so far moves to
 * the next tier that can take it all.
 *
 * `data` is read during the call only, and may be NULL if `len` is 0. After a failure nothing is
 * appended, and the call may be tried again.
 *
 * Returns:
 * - VFS_OK: appended.
 * - VFS_ERR_INVALID: `writer` or `data` is NULL, or `len` is beyond SIZE_MAX / 2.
 * - VFS_ERR_NO_SPACE: every tier refused, one at least for lack of room.
 * - VFS_ERR_PERMISSION, VFS_ERR_IO, VFS_ERR_UNSUPPORTED, VFS_ERR_READ_ONLY: every tier refused,
 *   the first one for this reason.
 * - VFS_ERR_LIMIT, VFS_ERR_NO_MEMORY: no descriptors, no memory.
 * - VFS_ERR_SHUTDOWN, VFS_ERR_FORKED: the writer is of no more use but to be ended.
 * - VFS_ERR_PANIC: a bug, caught; the writer is of no more use but to be ended.
 *
 * Threads: one at a time for a writer. Fork: VFS_ERR_FORKED in the child.
 * Since: 0.1.0
 */
vfs_status_t vfs_write(vfs_writer_t *writer, const void *data, size_t len);

/**
 * Appends `len` bytes of memory that the caller fills in place, as an encoder or a reader of a
 * socket would.
 *
 * On success `*out` is that memory, to be written until the next call on this writer, which is
 * when its bytes count; what it holds before is unspecified. It is ours, and not there in a forked
 * child. A `len` of 0 is NULL. After a failure nothing is appended, `*out` is as it was, and the
 * call may be tried again. What was reserved before is appended by this call, which may fail for
 * it.
 *
 * Returns:
 * - VFS_OK: `*out` is the memory.
 * - VFS_ERR_INVALID: `writer` or `out` is NULL, or `len` is beyond SIZE_MAX / 2.
 * - VFS_ERR_NO_SPACE: every tier refused, one at least for lack of room.
 * - VFS_ERR_PERMISSION, VFS_ERR_IO, VFS_ERR_UNSUPPORTED, VFS_ERR_READ_ONLY: every tier refused,
 *   the first one for this reason.
 * - VFS_ERR_LIMIT, VFS_ERR_NO_MEMORY: no descriptors; no memory, or no room among the addresses.
 * - VFS_ERR_SHUTDOWN, VFS_ERR_FORKED: the writer is of no more use but to be ended.
 * - VFS_ERR_PANIC: a bug, caught; the writer is of no more use but to be ended.
 *
 * Threads: one at a time for a writer. Fork: VFS_ERR_FORKED in the child.
 * Since: 0.1.0
 */
vfs_status_t vfs_reserve(vfs_writer_t *writer, size_t len, void **out);

/**
 * Publishes the blob, and ends the writer whatever it returns: `writer` is gone afterwards.
 *
 * On success the blob is there for every process, whole, just as vfs_store leaves it. After a
 * failure nothing of it is left, and what the key held before is as it was. A blob whose last
 * vfs_write or vfs_reserve failed is not published: the answer is that failure's code, unless a
 * later part was taken.
 *
 * Returns:
 * - VFS_OK: published.
 * - VFS_ERR_INVALID: `writer` is NULL.
 * - VFS_ERR_EXISTS: a blob has this key, and VFS_REPLACE was not given.
 * - VFS_ERR_NO_SPACE: every tier refused, one at least for lack of room.
 * - VFS_ERR_PERMISSION, VFS_ERR_IO, VFS_ERR_UNSUPPORTED, VFS_ERR_READ_ONLY: every tier refused,
 *   the first one for this reason; or other users can reach the store's directories on a tier (see
 *   the caveats): VFS_ERR_PERMISSION.
 * - VFS_ERR_BUSY: another process holds this key's lock.
 * - VFS_ERR_LIMIT, VFS_ERR_NO_MEMORY: no descriptors, no memory.
 * - VFS_ERR_SHUTDOWN, VFS_ERR_FORKED: the handle is of no more use for this.
 * - VFS_ERR_PANIC: a bug, caught.
 *
 * Threads: one at a time for a writer. Fork: VFS_ERR_FORKED in the child, where it frees the
 * child's copy.
 * Since: 0.1.0
 */
vfs_status_t vfs_seal(vfs_writer_t *writer);

/**
 * Gives up the blob and ends the writer: `writer` is gone afterwards, and nothing is left of it.
 * NULL does nothing.
 *
 * Threads: one at a time for a writer. Fork: in the child it frees memory and removes nothing.
 * Since: 0.1.0
 */
void vfs_abort(vfs_writer_t *writer);

/**
 * Begins a listing of all blobs of the store, in no order.
 *
 * `*out` is set to NULL first and, on success, to a listing that is the caller's to give back
 * with vfs_list_close. A blob that is there all the while is listed exactly once. One that is
 * stored, removed or replaced meanwhile may be listed, or not, or twice.
 *
 * Returns:
 * - VFS_OK: `*out` is the listing.
 * - VFS_ERR_INVALID: `store` or `out` is NULL.
 * - VFS_ERR_PERMISSION, VFS_ERR_IO, VFS_ERR_UNSUPPORTED: no tier could be listed.
 * - VFS_ERR_LIMIT, VFS_ERR_NO_MEMORY: no descriptors, no memory.
 * - VFS_ERR_SHUTDOWN: the store was shut down.
 * - VFS_ERR_PANIC: a bug, caught.
 *
 * Threads: any. Fork: in the child it lists what lies on directories.
 * Since: 0.1.0
 */
vfs_status_t vfs_list_open(vfs_t *store, vfs_list_t **out);

/**
 * Tells the next blob of a listing.
 *
 * On success `*key` is its key, ours and valid until the next call on this listing, and `*stat`
 * is filled. After a failure both are as they were.
 *
 * Returns:
 * - VFS_OK: here is one.
 * - VFS_ERR_NOT_FOUND: there are no more, and every tier was listed.
 * - VFS_ERR_INVALID: `list`, `key` or `stat` is NULL, or struct_size of `stat` is wrong.
 * - VFS_ERR_PERMISSION, VFS_ERR_IO, VFS_ERR_UNSUPPORTED: there are no more, but a tier could not be
 *   listed to its end. Told once, in place of VFS_ERR_NOT_FOUND.
 * - VFS_ERR_LIMIT, VFS_ERR_NO_MEMORY: no descriptors, no memory; the next call goes on.
 * - VFS_ERR_FORKED: the parent began this listing.
 * - VFS_ERR_SHUTDOWN: the store was shut down or closed.
 * - VFS_ERR_PANIC: a bug, caught; the listing is of no more use but to be given back.
 *
 * Threads: one at a time for a listing. Fork: VFS_ERR_FORKED for a listing that the parent began.
 * Since: 0.1.0
 */
vfs_status_t vfs_list_next(vfs_list_t *list, const char **key, vfs_stat_t *stat);

/**
 * Gives back a listing, at its end or before; NULL does nothing. The store may be closed already.
 *
 * Threads: one at a time for a listing. Fork: allowed in the child, where it frees the child's
 * copy.
 * Since: 0.1.0
 */
void vfs_list_close(vfs_list_t *list);

/**
 * Removes what dead owners left, finished or not, in any of this user's stores on these tiers.
 * vfs_open does this too; a host that runs for long may call it now and then.
 *
 * A living owner's blobs and persistent blobs are never touched. `out_removed` may be NULL; on
 * success it is how many blobs, finished or not, were removed.
 *
 * Returns:
 * - VFS_OK: no dead owner is left on a tier that can be used, but what another is reaping now.
 * - VFS_ERR_INVALID: `store` is NULL.
 * - VFS_ERR_READ_ONLY: the store was opened with VFS_READ_ONLY, or a filesystem is read-only.
 * - VFS_ERR_PERMISSION, VFS_ERR_IO, VFS_ERR_UNSUPPORTED, VFS_ERR_NO_SPACE, VFS_ERR_BUSY,
 *   VFS_ERR_LIMIT, VFS_ERR_NO_MEMORY: something could not be removed; the rest is. The next reap
 *   tries again.
 * - VFS_ERR_SHUTDOWN, VFS_ERR_FORKED: the handle is of no more use for this.
 * - VFS_ERR_PANIC: a bug, caught.
 *
 * Threads: any. Fork: VFS_ERR_FORKED in the child.
 * Since: 0.1.0
 */
vfs_status_t vfs_reap(vfs_t *store, uint64_t *out_removed);

/**
 * Tells where the tier of this index lies and how it fares: 0 is the first of the list, and
 * dropped ones are not counted. `*out` is filled on success only. A filesystem that cannot be
 * asked is no failure: its sizes are 0.
 *
 * Returns:
 * - VFS_OK: `*out` is filled.
 * - VFS_ERR_NOT_FOUND: `index` is past the last tier.
 * - VFS_ERR_INVALID: `store` or `out` is NULL, or struct_size of `out` is wrong.
 * - VFS_ERR_PERMISSION, VFS_ERR_IO, VFS_ERR_UNSUPPORTED, VFS_ERR_NO_SPACE, VFS_ERR_LIMIT,
 *   VFS_ERR_NO_MEMORY: the handle's own blobs there could not be counted.
 * - VFS_ERR_SHUTDOWN: the store was shut down.
 * - VFS_ERR_PANIC: a bug, caught.
 *
 * Threads: any. Fork: allowed in the child, which owns nothing: blobs and bytes are 0.
 * Since: 0.1.0
 */
vfs_status_t vfs_tier_stat(vfs_t *store, uint32_t index, vfs_tier_stat_t *out);

/**
 * One sentence on a status alone; "unknown status" for a number that this version does not know.
 *
 * Returns static text, never NULL.
 *
 * Threads: any. Fork: allowed in the child.
 * Since: 0.1.0
 */
const char *vfs_strerror(vfs_status_t status);

/**
 * This thread's last failure in words: the function, the key, what was being done, on which tier
 * and directory, how much was wanted, how much is free, and the errno by its name.
 *
 * Calls that succeed, and those that return void, leave it as it was.
 *
 * Returns text in UTF-8 that is ours and valid until the next failure on this thread; "" if there
 * was none yet. Never NULL. Where the host's threads of execution move between those of the
 * system (Go, virtual threads of Java), pin them for both calls, or do with the status, which
 * says enough.
 *
 * Threads: any, each has its own. Fork: allowed in the child.
 * Since: 0.1.0
 */
const char *vfs_last_error(void);

/**
 * The errno behind this thread's last failure; 0 if the operating system was not asked, or if
 * there was no failure yet. Kept even where there was no memory for the words. Limits of our own
 * have one too: EDQUOT is the tier's max, ENOSPC its reserve or the filesystem, EFBIG the limit on
 * file sizes, ENOMEM the control group's memory.
 *
 * Threads: any, each has its own. Fork: allowed in the child.
 * Since: 0.1.0
 */
int32_t vfs_last_errno(void);

/**
 * The version of the library that is loaded, such as "0.1.0"; VFS_VERSION is that of the header.
 *
 * Returns static text, never NULL.
 *
 * Threads: any. Fork: allowed in the child.
 * Since: 0.1.0
 */
const char *vfs_version(void);

#ifdef __cplusplus
}  // extern "C"
#endif  /* __cplusplus */

#endif /* VFS_H */

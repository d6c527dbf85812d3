/* What the C test programs share.
 *
 * Each program is called as `PROGRAM SCRATCH MODE [ARGS]`: SCRATCH is an empty directory of its own. It exits 0 and
 * prints nothing, or prints what failed and exits 1. Lines that begin with "SKIPPED: " are allowed on stdout.
 * Every call of the library goes through a macro that also checks that errno is as it was before. */
#ifndef HARNESS_H
#define HARNESS_H

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <limits.h>
#include <poll.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/mman.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#ifndef HARNESS_NO_VFS
#include "vfs.h"
#endif

#define UNUSED __attribute__((unused))
#define PRINTF(a, b) __attribute__((format(printf, a, b)))

/* How long anything may take that should take no time: bounds, not measures. */
enum { PATIENCE_MS = 100 * 1000 };

static char scratch[PATH_MAX];
static const char *mode = "";
static int report = 2; /* survives a test that closes stderr */
static pid_t started_as;
static unsigned started_with; /* descriptors */

/* ---- failing ---- */

UNUSED PRINTF(3, 4) __attribute__((noreturn)) static void fail_at(const char *file, int line, const char *format, ...)
{
    char text[4096];
    va_list args;
    va_start(args, format);
    int at = snprintf(text, sizeof text, "%s:%d: [%s] ", file, line, mode);
    at += vsnprintf(text + at, sizeof text - (size_t)at - 1, format, args);
    va_end(args);
    if (at > (int)sizeof text - 2)
        at = (int)sizeof text - 2;
    text[at++] = '\n';
    ssize_t wrote = write(report, text, (size_t)at);
    _exit(wrote == at ? 1 : 2);
}

#define FAIL(...) fail_at(__FILE__, __LINE__, __VA_ARGS__)

#define CHECK(condition)                                                                                               \
    do {                                                                                                               \
        if (!(condition))                                                                                              \
            FAIL("not so: %s%s%s", #condition, LAST_WORDS());                                                          \
    } while (0)

#define CHECK_INT(actual, expected)                                                                                    \
    do {                                                                                                               \
        long long h_actual = (long long)(actual), h_expected = (long long)(expected);                                  \
        if (h_actual != h_expected)                                                                                    \
            FAIL("%s: expected %lld (%s), got %lld%s%s", #actual, h_expected, #expected, h_actual, LAST_WORDS());      \
    } while (0)

#define CHECK_STR(actual, expected)                                                                                    \
    do {                                                                                                               \
        const char *h_actual = (actual), *h_expected = (expected);                                                     \
        if (strcmp(h_actual, h_expected) != 0)                                                                         \
            FAIL("%s: expected \"%s\", got \"%s\"", #actual, h_expected, h_actual);                                    \
    } while (0)

/* A call of the operating system that must work. */
#define SYS(call)                                                                                                      \
    do {                                                                                                               \
        if ((call) < 0)                                                                                                \
            FAIL("%s: %s", #call, strerror(errno));                                                                    \
    } while (0)

#ifdef HARNESS_NO_VFS
#define LAST_WORDS() "", ""
#else
#ifndef LAST_WORDS
#define LAST_WORDS() "\n    last error: ", vfs_last_error()
#endif

static const char *status_name(int32_t status)
{
    switch (status) {
    case VFS_OK: return "VFS_OK";
    case VFS_ERR_INVALID: return "VFS_ERR_INVALID";
    case VFS_ERR_KEY: return "VFS_ERR_KEY";
    case VFS_ERR_NOT_FOUND: return "VFS_ERR_NOT_FOUND";
    case VFS_ERR_EXISTS: return "VFS_ERR_EXISTS";
    case VFS_ERR_NO_SPACE: return "VFS_ERR_NO_SPACE";
    case VFS_ERR_SHUTDOWN: return "VFS_ERR_SHUTDOWN";
    case VFS_ERR_PERMISSION: return "VFS_ERR_PERMISSION";
    case VFS_ERR_IO: return "VFS_ERR_IO";
    case VFS_ERR_NO_MEMORY: return "VFS_ERR_NO_MEMORY";
    case VFS_ERR_LIMIT: return "VFS_ERR_LIMIT";
    case VFS_ERR_FORKED: return "VFS_ERR_FORKED";
    case VFS_ERR_UNSUPPORTED: return "VFS_ERR_UNSUPPORTED";
    case VFS_ERR_READ_ONLY: return "VFS_ERR_READ_ONLY";
    case VFS_ERR_BUSY: return "VFS_ERR_BUSY";
    case VFS_ERR_PANIC: return "VFS_ERR_PANIC";
    default: return "an unknown status";
    }
}

/* The status of a call, after checking that it left errno alone. */
enum { ERRNO_MARK = 4242 };
#define STATUS(call)                                                                                                   \
    __extension__({                                                                                                    \
        errno = ERRNO_MARK;                                                                                            \
        int32_t h_status = (call);                                                                                     \
        if (errno != ERRNO_MARK)                                                                                       \
            FAIL("%s changed errno to %d; status %s", #call, errno, status_name(h_status));                            \
        h_status;                                                                                                      \
    })

#define CHECK_IS(call, expected)                                                                                       \
    do {                                                                                                               \
        int32_t h_got = STATUS(call), h_want = (expected);                                                             \
        if (h_got != h_want)                                                                                           \
            FAIL("%s: expected %s, got %s (%d)\n    last error: %s (errno %d)", #call, status_name(h_want),            \
                 status_name(h_got), h_got, vfs_last_error(), vfs_last_errno());                                       \
    } while (0)

#define CHECK_OK(call) CHECK_IS(call, VFS_OK)

/* It fails, with whatever code: where the code depends on the kernel. */
#define CHECK_FAILS(call)                                                                                              \
    do {                                                                                                               \
        int32_t h_got = STATUS(call);                                                                                  \
        if (h_got >= 0)                                                                                                \
            FAIL("%s: expected a failure, got %d", #call, h_got);                                                      \
    } while (0)

#define CHECK_SAYS(part)                                                                                               \
    do {                                                                                                               \
        const char *h_part = (part);                                                                                   \
        if (!strstr(vfs_last_error(), h_part))                                                                         \
            FAIL("the last error does not mention \"%s\": %s", h_part, vfs_last_error());                              \
    } while (0)

/* A call that returns nothing. */
#define QUIET(call)                                                                                                    \
    do {                                                                                                               \
        errno = ERRNO_MARK;                                                                                            \
        call;                                                                                                          \
        if (errno != ERRNO_MARK)                                                                                       \
            FAIL("%s changed errno to %d", #call, errno);                                                              \
    } while (0)
#endif

/* ---- starting ---- */

static unsigned descriptors(void);
static void check_end(void);

UNUSED static void start(int argc, char **argv)
{
    if (argc < 2 || !realpath(argv[1], scratch)) {
        fprintf(stderr, "usage: %s SCRATCH [MODE [ARGS]]\n", argv[0]);
        exit(2);
    }
    if (argc > 2)
        mode = argv[2];
    report = fcntl(2, F_DUPFD_CLOEXEC, 60);
    if (report < 0)
        report = 2;
    SYS(setenv("ASAN_OPTIONS", "detect_leaks=0", 1)); /* of what we execute: it cannot look for leaks below strace */
    started_as = getpid();
    started_with = descriptors();
    SYS(atexit(check_end));
}

/* What this process leaves is its parent's to look at, or is there on purpose. */
UNUSED static void leave_at_end(void)
{
    started_as = 0;
}

UNUSED PRINTF(1, 2) static void skipped(const char *format, ...)
{
    char text[1024];
    va_list args;
    va_start(args, format);
    int at = snprintf(text, sizeof text, "SKIPPED: [%s] ", mode);
    at += vsnprintf(text + at, sizeof text - (size_t)at - 1, format, args);
    va_end(args);
    text[at++] = '\n';
    if (write(1, text, (size_t)at) != at)
        _exit(2);
}

/* Formats into one of a ring of buffers: good for an argument, not for keeping. */
UNUSED PRINTF(1, 2) static char *say(const char *format, ...)
{
    static _Thread_local char ring[6][1200];
    static _Thread_local unsigned next;
    char *text = ring[next++ % 6];
    va_list args;
    va_start(args, format);
    int len = vsnprintf(text, sizeof ring[0], format, args);
    va_end(args);
    CHECK(len >= 0 && len < (int)sizeof ring[0]);
    return text;
}

/* A path below the scratch directory, kept for good. */
UNUSED static const char *path_of(const char *name)
{
    static char pool[64][PATH_MAX];
    static unsigned used;
    CHECK(used < 64);
    char *text = pool[used++];
    int len = snprintf(text, PATH_MAX, "%s/%s", scratch, name);
    CHECK(len > 0 && len < PATH_MAX);
    return text;
}

/* The same, made as a directory that any user may write to. */
UNUSED static const char *dir_of(const char *name)
{
    const char *path = path_of(name);
    SYS(mkdir(path, 0777));
    SYS(chmod(path, 0777));
    return path;
}

/* Where somebody wants to know how much was tried: appends "WHAT POINTS" to the file that VFS_TEST_POINTS names. */
UNUSED static void tell_points(const char *what, long points)
{
    const char *path = getenv("VFS_TEST_POINTS");
    if (!path)
        return;
    char line[512];
    int at = snprintf(line, sizeof line, "%s %ld\n", what, points);
    int fd = open(path, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600);
    SYS(fd);
    CHECK_INT(write(fd, line, (size_t)at), at);
    close(fd);
}

/* ---- mounts of our own ---- */

UNUSED static int put_text(const char *path, const char *text)
{
    int fd = open(path, O_WRONLY | O_CLOEXEC);
    if (fd < 0)
        return -1;
    ssize_t wrote = write(fd, text, strlen(text));
    close(fd);
    return wrote == (ssize_t)strlen(text) ? 0 : -1;
}

/* Moves this process to a mount namespace of its own; 0, or the errno of what is not allowed. */
UNUSED static int try_own_mounts(void)
{
    uid_t uid = getuid();
    gid_t gid = getgid();
    if (geteuid() != 0 || unshare(CLONE_NEWNS) != 0) { /* root in a container may not be allowed it */
        if (unshare(CLONE_NEWUSER | CLONE_NEWNS) != 0)
            return errno;
        char map[64];
        snprintf(map, sizeof map, "0 %u 1", (unsigned)uid);
        if (put_text("/proc/self/setgroups", "deny") != 0 || put_text("/proc/self/uid_map", map) != 0)
            return errno;
        snprintf(map, sizeof map, "0 %u 1", (unsigned)gid);
        if (put_text("/proc/self/gid_map", map) != 0)
            return errno;
    }
    return mount("none", "/", "none", MS_REC | MS_PRIVATE, NULL) == 0 ? 0 : errno;
}

/* The same. Where it is not allowed: says so, and exits. */
UNUSED static void own_mounts(void)
{
    int refused = try_own_mounts();
    if (refused) {
        skipped("no mount namespace here: %s", strerror(refused));
        exit(0);
    }
}

UNUSED static void mount_tmpfs(const char *dir, const char *settings)
{
    if (mount("tmpfs", dir, "tmpfs", MS_NOSUID | MS_NODEV, settings) != 0)
        FAIL("mounting a tmpfs with %s on %s: %s", settings, dir, strerror(errno));
    SYS(chmod(dir, 0777));
}

/* A tmpfs of its own below the scratch directory. */
UNUSED static const char *tmpfs_of(const char *name, const char *settings)
{
    const char *dir = dir_of(name);
    mount_tmpfs(dir, settings);
    return dir;
}

/* Whether this process could be another user: root of a user namespace may be the only one there. */
UNUSED static int several_users(void)
{
    pid_t pid = fork();
    SYS(pid);
    if (pid == 0)
        _exit(setresuid(65534, 65534, 65534) != 0);
    int state = 0;
    CHECK(waitpid(pid, &state, 0) == pid);
    return WIFEXITED(state) && WEXITSTATUS(state) == 0;
}

/* As root: moves the scratch directory to a place that any user can reach, in a mount namespace of our own. */
UNUSED static void public_scratch(void)
{
    static const char *const places[] = {"/mnt", "/srv", "/media", "/opt", "/var/tmp", "/tmp"};
    struct stat st;
    own_mounts();
    for (unsigned i = 0; i < sizeof places / sizeof places[0]; i++) {
        size_t len = strlen(places[i]);
        if (lstat(places[i], &st) != 0 || !S_ISDIR(st.st_mode))
            continue;
        if (strncmp(scratch, places[i], len) == 0 && scratch[len] == '/')
            continue;
        if (mount("tmpfs", places[i], "tmpfs", 0, "size=64m,mode=0755") != 0)
            FAIL("mounting a tmpfs on %s: %s", places[i], strerror(errno));
        snprintf(scratch, sizeof scratch, "%s", places[i]);
        return;
    }
    FAIL("no directory to mount on");
}

UNUSED static uint64_t free_bytes(const char *dir)
{
    struct statvfs s;
    SYS(statvfs(dir, &s));
    return (uint64_t)s.f_bavail * s.f_frsize;
}

/* Fills a filesystem but for `leave` bytes with a file of somebody else. Remove it to make room. */
UNUSED static const char *fill_up(const char *dir, uint64_t leave)
{
    static char path[PATH_MAX + 16];
    static char block[4096];
    snprintf(path, sizeof path, "%s/filler", dir);
    int fd = open(path, O_WRONLY | O_CREAT | O_CLOEXEC | O_APPEND, 0600);
    CHECK(fd >= 0);
    memset(block, 'f', sizeof block);
    while (free_bytes(dir) > leave && write(fd, block, sizeof block) > 0) {
    }
    close(fd);
    CHECK(free_bytes(dir) <= leave);
    return path;
}

/* ---- values ---- */

/* Every value names its seed and its length and can be checked whole: word 0 is the seed, word 1 the length. */
UNUSED static uint64_t value_word(uint64_t seed, uint64_t len, uint64_t index)
{
    if (index < 2)
        return index ? len : seed;
    uint64_t x = (seed + 1) * 0x9E3779B97F4A7C15u + index * 0xBF58476D1CE4E5B9u;
    x ^= x >> 29;
    x *= 0x94D049BB133111EBu;
    return x ^ (x >> 32);
}

/* The `n` bytes of that value from `offset` on. */
UNUSED static void value_at(void *out, size_t n, uint64_t offset, uint64_t seed, uint64_t len)
{
    unsigned char *to = out;
    while (n > 0) {
        uint64_t word = value_word(seed, len, offset / 8);
        size_t skip = offset % 8, take = 8 - skip < n ? 8 - skip : n;
        memcpy(to, (unsigned char *)&word + skip, take);
        to += take;
        n -= take;
        offset += take;
    }
}

UNUSED static int is_value_at(const void *data, size_t n, uint64_t offset, uint64_t seed, uint64_t len)
{
    const unsigned char *from = data;
    while (n > 0) {
        uint64_t word = value_word(seed, len, offset / 8);
        size_t skip = offset % 8, take = 8 - skip < n ? 8 - skip : n;
        if (memcmp(from, (unsigned char *)&word + skip, take) != 0)
            return 0;
        from += take;
        n -= take;
        offset += take;
    }
    return 1;
}

/* Whether these bytes are some whole value of at least 16 bytes; tells its seed. */
UNUSED static int is_whole(const void *data, size_t n, uint64_t *seed)
{
    uint64_t head[2];
    if (n < sizeof head)
        return 0;
    memcpy(head, data, sizeof head);
    if (seed)
        *seed = head[0];
    return head[1] == n && is_value_at(data, n, 0, head[0], n);
}

#ifndef HARNESS_NO_VFS
UNUSED static void *new_value(size_t len, uint64_t seed)
{
    void *data = malloc(len ? len : 1);
    CHECK(data);
    value_at(data, len, 0, seed, len);
    return data;
}

/* Stores the value of that length and seed. */
UNUSED static int32_t put(vfs_t *store, const char *key, size_t len, uint64_t seed, uint32_t flags)
{
    void *data = new_value(len, seed);
    int32_t status = STATUS(vfs_store(store, key, data, len, flags));
    free(data);
    return status;
}

/* Reads the key by every way there is and compares. */
UNUSED static void check_value_at(const char *file, int line, vfs_t *store, const char *key, size_t len, uint64_t seed)
{
    vfs_stat_t stat = VFS_STAT_INIT, mapped = VFS_STAT_INIT, asked = VFS_STAT_INIT;
    unsigned char *buffer = malloc(len + 8);
    CHECK(buffer);
    size_t got = 99;
    int32_t status = STATUS(vfs_read(store, key, 0, buffer, len + 8, &got, &stat));
    if (status != VFS_OK)
        fail_at(file, line, "reading \"%s\": %s: %s", key, status_name(status), vfs_last_error());
    if (got != len || stat.size != len)
        fail_at(file, line, "\"%s\": expected %zu bytes, read %zu of %" PRIu64, key, len, got, stat.size);
    if (!is_value_at(buffer, len, 0, seed, len))
        fail_at(file, line, "\"%s\": the bytes read are not those stored", key);
    free(buffer);
    vfs_view_t view = {0};
    status = STATUS(vfs_map(store, key, &view, &mapped));
    if (status != VFS_OK)
        fail_at(file, line, "mapping \"%s\": %s: %s", key, status_name(status), vfs_last_error());
    if (view.len != len || mapped.size != len || !is_value_at(view.data, len, 0, seed, len))
        fail_at(file, line, "\"%s\": the bytes mapped are not those stored", key);
    QUIET(vfs_unmap(&view));
    status = STATUS(vfs_stat(store, key, &asked));
    if (status != VFS_OK)
        fail_at(file, line, "stat of \"%s\": %s: %s", key, status_name(status), vfs_last_error());
    if (asked.size != len || asked.id != stat.id || asked.id != mapped.id || asked.tier != stat.tier)
        fail_at(file, line, "\"%s\": stat, read and map do not agree", key);
    if (STATUS(vfs_has(store, key)) != 1)
        fail_at(file, line, "\"%s\" can be read, but vfs_has denies it", key);
}
#define CHECK_VALUE(store, key, len, seed) check_value_at(__FILE__, __LINE__, store, key, len, seed)

#define CHECK_ABSENT(store, key)                                                                                       \
    do {                                                                                                               \
        char h_byte;                                                                                                   \
        size_t h_len;                                                                                                  \
        vfs_stat_t h_stat = VFS_STAT_INIT;                                                                             \
        vfs_view_t h_view = {0};                                                                                       \
        CHECK_IS(vfs_has(store, key), 0);                                                                              \
        CHECK_IS(vfs_read(store, key, 0, &h_byte, 1, &h_len, NULL), VFS_ERR_NOT_FOUND);                                \
        CHECK_IS(vfs_stat(store, key, &h_stat), VFS_ERR_NOT_FOUND);                                                    \
        CHECK_IS(vfs_map(store, key, &h_view, NULL), VFS_ERR_NOT_FOUND);                                               \
    } while (0)

UNUSED static vfs_t *open_as(const char *tiers, const char *name, uint32_t flags)
{
    vfs_options_t options = VFS_OPTIONS_INIT;
    options.tiers = tiers;
    options.name = name;
    options.flags = flags;
    vfs_t *store = NULL;
    CHECK_OK(vfs_open(&options, &store));
    CHECK(store != NULL);
    return store;
}

UNUSED static vfs_t *open_on(const char *tiers)
{
    return open_as(tiers, "harness", 0);
}

UNUSED static uint32_t tier_of(vfs_t *store, const char *key)
{
    vfs_stat_t stat = VFS_STAT_INIT;
    CHECK_OK(vfs_stat(store, key, &stat));
    return stat.tier;
}

UNUSED static uint32_t flags_of(vfs_t *store, const char *key)
{
    vfs_stat_t stat = VFS_STAT_INIT;
    CHECK_OK(vfs_stat(store, key, &stat));
    return stat.flags;
}

UNUSED static vfs_tier_stat_t tier_stat(vfs_t *store, uint32_t index)
{
    vfs_tier_stat_t stat = VFS_TIER_STAT_INIT;
    CHECK_OK(vfs_tier_stat(store, index, &stat));
    return stat;
}

/* How often the listing names this key. */
UNUSED static unsigned listed(vfs_t *store, const char *key)
{
    vfs_list_t *list = NULL;
    CHECK_OK(vfs_list_open(store, &list));
    unsigned times = 0;
    for (;;) {
        const char *name = NULL;
        vfs_stat_t stat = VFS_STAT_INIT;
        int32_t status = STATUS(vfs_list_next(list, &name, &stat));
        if (status == VFS_ERR_NOT_FOUND)
            break;
        CHECK_INT(status, VFS_OK);
        times += key == NULL || strcmp(name, key) == 0;
    }
    QUIET(vfs_list_close(list));
    return times;
}

UNUSED static unsigned listed_all(vfs_t *store)
{
    return listed(store, NULL);
}
#endif

/* ---- what lies on a tier ---- */

static const char *own_tier_dir(const char *tier, uid_t uid)
{
    return say("%s/vfs1-%u", tier, (unsigned)uid);
}

/* Below a directory: calls for each file (not directory). */
static void walk(const char *dir, const char *inside, void (*each)(const char *path, const char *inside,
                 const struct stat *st, void *arg), void *arg)
{
    DIR *d = opendir(dir);
    if (!d)
        return;
    struct dirent *entry;
    while ((entry = readdir(d))) {
        if (!strcmp(entry->d_name, ".") || !strcmp(entry->d_name, ".."))
            continue;
        char path[PATH_MAX];
        int len = snprintf(path, sizeof path, "%s/%s", dir, entry->d_name);
        CHECK(len > 0 && len < PATH_MAX);
        struct stat st;
        if (lstat(path, &st) != 0)
            continue; /* gone meanwhile */
        each(path, inside, &st, arg);
        if (S_ISDIR(st.st_mode))
            walk(path, entry->d_name, each, arg);
    }
    closedir(d);
}

struct leftover {
    char first[PATH_MAX];
    unsigned count;
    int in_use; /* handles are open: the directories of stores stay */
};

static void note_leftover(const char *path, const char *inside, const struct stat *st, void *arg)
{
    struct leftover *left = arg;
    int room = S_ISDIR(st->st_mode) && strcmp(inside, "owners") == 0;
    int lock = S_ISREG(st->st_mode) && st->st_size == 0 && strncmp(inside, "vfs1-", 5) == 0;
    if ((S_ISDIR(st->st_mode) && !room && left->in_use) || lock)
        return;
    if (left->count++ == 0)
        snprintf(left->first, sizeof left->first, "%s (%lld bytes)", path, (long long)st->st_size);
}

/* Nothing of ours but an empty lock file; where handles are open also the directories of stores, but no room of an
 * owner. */
UNUSED static void check_left_at(const char *file, int line, const char *tier, int in_use)
{
    struct leftover left = {.count = 0, .in_use = in_use};
    const char *own = own_tier_dir(tier, geteuid());
    walk(own, strrchr(own, '/') + 1, note_leftover, &left);
    if (left.count)
        fail_at(file, line, "%u things left behind, the first: %s", left.count, left.first);
}
#define CHECK_NOTHING_LEFT(tier) check_left_at(__FILE__, __LINE__, tier, 0)
#define CHECK_NO_BLOBS_LEFT(tier) check_left_at(__FILE__, __LINE__, tier, 1)

static void note_leftover_of_any(const char *path, const char *inside, const struct stat *st, void *arg)
{
    if (S_ISDIR(st->st_mode) && strncmp(strrchr(path, '/') + 1, "vfs1-", 5) == 0)
        walk(path, strrchr(path, '/') + 1, note_leftover, arg);
    (void)inside;
}

/* After each program: its process has the descriptors it began with, and no tier below its scratch directory has more
 * of ours than the empty lock file, whoever's it is. Children that it forked end without asking this. */
static void check_end(void)
{
    if (getpid() != started_as)
        return;
    unsigned now = descriptors();
    if (now != started_with)
        FAIL("%u descriptors at the start and %u at the end", started_with, now);
    struct leftover left = {.count = 0};
    walk(scratch, "", note_leftover_of_any, &left);
    if (left.count)
        FAIL("%u things left behind at the end, the first: %s", left.count, left.first);
}

static uint64_t hash_bytes(uint64_t hash, const void *data, size_t len)
{
    const unsigned char *bytes = data;
    for (size_t i = 0; i < len; i++)
        hash = (hash ^ bytes[i]) * 0x100000001B3u;
    return hash;
}

static void add_print(const char *path, const char *inside, const struct stat *st, void *arg)
{
    (void)inside;
    if (S_ISDIR(st->st_mode))
        return;
    uint64_t hash = hash_bytes(0xCBF29CE484222325u, path, strlen(path));
    uint64_t facts[4] = {(uint64_t)st->st_ino, (uint64_t)st->st_size, (uint64_t)st->st_mode, (uint64_t)st->st_nlink};
    hash = hash_bytes(hash, facts, sizeof facts);
    if (S_ISREG(st->st_mode)) {
        int fd = open(path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
        char block[4096];
        ssize_t got;
        while (fd >= 0 && (got = read(fd, block, sizeof block)) > 0)
            hash = hash_bytes(hash, block, (size_t)got);
        if (fd >= 0)
            close(fd);
    }
    *(uint64_t *)arg += hash;
}

/* A print of all files below a directory: names, inodes, modes, bytes. */
UNUSED static uint64_t print_of(const char *dir)
{
    uint64_t print = 0;
    walk(dir, "", add_print, &print);
    return print;
}

/* Removes a tree below the scratch directory, or what of it can be removed. */
UNUSED static int try_remove_tree(const char *dir)
{
    CHECK(strncmp(dir, scratch, strlen(scratch)) == 0);
    DIR *d = opendir(dir);
    if (!d)
        return 0;
    struct dirent *entry;
    while ((entry = readdir(d))) {
        if (!strcmp(entry->d_name, ".") || !strcmp(entry->d_name, ".."))
            continue;
        char path[PATH_MAX];
        snprintf(path, sizeof path, "%s/%s", dir, entry->d_name);
        if (unlink(path) != 0)
            try_remove_tree(path);
    }
    closedir(d);
    return rmdir(dir);
}

UNUSED static void remove_tree(const char *dir)
{
    SYS(try_remove_tree(dir));
}

/* ---- this process ---- */

UNUSED static unsigned entries_in(const char *dir)
{
    DIR *d = opendir(dir);
    CHECK(d != NULL);
    unsigned count = 0;
    while (readdir(d))
        count++;
    closedir(d);
    return count - 2;
}

/* Open descriptors, but for the one that looks. */
static unsigned descriptors(void)
{
    return entries_in("/proc/self/fd") - 1;
}

UNUSED static unsigned threads_running(void)
{
    return entries_in("/proc/self/task");
}

/* ---- other processes ---- */

UNUSED static void *shared_memory(size_t len)
{
    void *memory = mmap(NULL, len, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    CHECK(memory != MAP_FAILED);
    return memory;
}

UNUSED static void nap(long milliseconds)
{
    struct timespec span = {milliseconds / 1000, milliseconds % 1000 * 1000000};
    nanosleep(&span, NULL);
}

static long long now_ms(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (long long)t.tv_sec * 1000 + t.tv_nsec / 1000000;
}

/* Waits until a counter in shared memory has reached a value. */
UNUSED static void await_at(const char *file, int line, _Atomic int *counter, int value)
{
    long long until = now_ms() + PATIENCE_MS;
    while (atomic_load(counter) < value) {
        if (now_ms() > until)
            fail_at(file, line, "waited in vain for %d, have %d", value, atomic_load(counter));
        nap(1);
    }
}
#define AWAIT(counter, value) await_at(__FILE__, __LINE__, counter, value)

/* A child that dies with us. It runs `body` and exits 0, or has failed. */
UNUSED static pid_t start_child(void (*body)(void *), void *arg)
{
    pid_t parent = getpid(), pid = fork();
    SYS(pid);
    if (pid == 0) {
        prctl(PR_SET_PDEATHSIG, SIGKILL);
        if (getppid() != parent)
            _exit(3);
        body(arg);
        _exit(0);
    }
    return pid;
}

/* Runs a program without output. Its exit code, or -1. */
UNUSED static int run_program(const char *const *args)
{
    pid_t pid = fork();
    SYS(pid);
    if (pid == 0) {
        int null = open("/dev/null", O_RDWR);
        dup2(null, 1);
        dup2(null, 2);
        execvp(args[0], (char *const *)(uintptr_t)args);
        _exit(127);
    }
    int state = 0;
    CHECK_INT(waitpid(pid, &state, 0), pid);
    return WIFEXITED(state) ? WEXITSTATUS(state) : -1;
}

UNUSED static void join_child_at(const char *file, int line, pid_t pid)
{
    int state = 0;
    long long until = now_ms() + PATIENCE_MS;
    for (;;) {
        pid_t got = waitpid(pid, &state, WNOHANG);
        if (got == pid)
            break;
        if (got < 0 && errno != EINTR)
            fail_at(file, line, "waitpid: %s", strerror(errno));
        if (now_ms() > until) {
            kill(pid, SIGKILL);
            fail_at(file, line, "child %d does not end", (int)pid);
        }
        nap(1);
    }
    if (!WIFEXITED(state) || WEXITSTATUS(state) != 0)
        fail_at(file, line, "a child ended with %s %d", WIFSIGNALED(state) ? "signal" : "exit code",
                WIFSIGNALED(state) ? WTERMSIG(state) : WEXITSTATUS(state));
}
#define JOIN(pid) join_child_at(__FILE__, __LINE__, pid)

/* Waits for all of them; fails as soon as one has failed. */
UNUSED static void join_all_at(const char *file, int line, pid_t *pids, int count)
{
    long long until = now_ms() + PATIENCE_MS;
    for (int left = count; left > 0;) {
        for (int i = 0; i < count; i++) {
            int state = 0;
            if (pids[i] == 0 || waitpid(pids[i], &state, WNOHANG) == 0)
                continue;
            if (!WIFEXITED(state) || WEXITSTATUS(state) != 0)
                fail_at(file, line, "child %d of %d ended with %s %d", i, count, WIFSIGNALED(state) ? "signal" : "exit code",
                        WIFSIGNALED(state) ? WTERMSIG(state) : WEXITSTATUS(state));
            pids[i] = 0;
            left--;
        }
        if (now_ms() > until)
            fail_at(file, line, "%d of %d children do not end", left, count);
        nap(1);
    }
}
#define JOIN_ALL(pids, count) join_all_at(__FILE__, __LINE__, pids, count)

/* SIGKILL, and wait until it is gone. */
UNUSED static void kill_child(pid_t pid)
{
    int state;
    CHECK(pid > 0);
    SYS(kill(pid, SIGKILL));
    CHECK_INT(waitpid(pid, &state, 0), pid);
    CHECK(WIFSIGNALED(state) && WTERMSIG(state) == SIGKILL);
}

UNUSED __attribute__((noreturn)) static void sleep_for_ever(void)
{
    for (;;)
        pause();
}

#endif

/* Filesystems and sandboxes that allow less than the library needs: times in whole seconds, links that are files of their
 * own, no links between directories. This program stands in for functions of the C library. One MODE a case. */
#include "harness.h"

#include <linux/landlock.h>
#include <sys/syscall.h>

static _Atomic int whole_seconds;                /* what is set as a time is cut to them */
static _Atomic int links_apart, links_uncounted; /* of the link that is tried: another inode, or it is not counted */
static _Thread_local int dies_at_unlink;
static _Thread_local int dies_in_probe; /* 1: between link and unlink; 2: between rename and unlink */
static _Atomic int refuse_renames;      /* between directories, with this errno */
static _Atomic int written;             /* how often */

/* The name that an owner uses in objects/ while it tries the filesystem. */
static int is_outer_name(const char *path)
{
    return path[0] == '\\' && strspn(path + 1, "0123456789abcdef") == 16 && strcmp(path + 17, "p") == 0;
}

ssize_t pwrite64(int fd, const void *data, size_t len, off64_t offset)
{
    atomic_fetch_add(&written, 1);
    return syscall(SYS_pwrite64, fd, data, len, offset);
}

int renameat(int from, const char *old, int to, const char *new)
{
    if (refuse_renames && from != to) {
        errno = refuse_renames;
        return -1;
    }
    return (int)syscall(SYS_renameat2, from, old, to, new, 0);
}

int futimens(int fd, const struct timespec times[2])
{
    struct timespec kept[2] = {times[0], times[1]};
    if (whole_seconds && kept[1].tv_nsec < 1000000000)
        kept[1].tv_nsec = 0;
    return (int)syscall(SYS_utimensat, fd, NULL, kept, 0);
}

int unlinkat(int dir, const char *path, int flags)
{
    if (dies_at_unlink && strstr(path, "objects/k"))
        _exit(7);
    if (dies_in_probe && is_outer_name(path) && --dies_in_probe == 0)
        _exit(7);
    return (int)syscall(SYS_unlinkat, dir, path, flags);
}

int fstatat(int dir, const char *path, struct stat *st, int flags)
{
    int answer = (int)syscall(SYS_newfstatat, dir, path, st, flags);
    if (answer == 0 && is_outer_name(path)) {
        st->st_ino += links_apart != 0;
        st->st_nlink -= links_uncounted != 0;
    }
    return answer;
}

static const char *A, *B;

static void replaced_and_killed(void *arg)
{
    vfs_t *s = open_on(arg);
    unsigned char *value = new_value(400, 2);
    dies_at_unlink = 1; /* when the new value is there and the old one is not cleared yet */
    (void)vfs_store(s, "k", value, 400, VFS_REPLACE);
    FAIL("nothing was cleared");
}

/* The old value that a killed replace left below is the older one by the times that are kept, and goes with the new. */
static void seconds(void)
{
    A = dir_of("a");
    B = dir_of("b");
    char both[2 * PATH_MAX];
    snprintf(both, sizeof both, "%s,%s", A, B);
    whole_seconds = 1;
    vfs_t *low = open_on(say("%s?max=1,%s", A, B));
    CHECK_OK(put(low, "k", 300, 1, 0));
    CHECK_INT(tier_of(low, "k"), 1);
    pid_t child = start_child(replaced_and_killed, both);
    int state = 0;
    CHECK_INT(waitpid(child, &state, 0), child);
    CHECK(WIFEXITED(state) && WEXITSTATUS(state) == 7);
    CHECK_VALUE(low, "k", 400, 2);
    CHECK_OK(vfs_reap(low, NULL));
    CHECK_ABSENT(low, "k");
    QUIET(vfs_close(low));
    CHECK_NOTHING_LEFT(A);
    CHECK_NOTHING_LEFT(B);
}

/* Whose a blob is is told by its links: where they cannot tell it, nothing is stored. */
static void links(void)
{
    A = dir_of("a");
    for (int i = 0; i < 2; i++) {
        links_apart = i == 0;
        links_uncounted = i == 1;
        vfs_t *s = open_on(A);
        CHECK_IS(put(s, "k", 300, 1, 0), VFS_ERR_UNSUPPORTED);
        CHECK_SAYS("links");
        QUIET(vfs_close(s));
        CHECK_NOTHING_LEFT(A);
    }
}

/* ---- links between directories ---- */

/* Puts this process into a sandbox that has every right of Landlock's first version, and so not the one to link or rename
 * between directories. */
static int enter_landlock(void)
{
    struct landlock_ruleset_attr rights = {.handled_access_fs = (1 << 13) - 1};
    int ruleset = (int)syscall(SYS_landlock_create_ruleset, &rights, sizeof rights, 0);
    if (ruleset < 0)
        return 0;
    struct landlock_path_beneath_attr root = {.allowed_access = rights.handled_access_fs};
    root.parent_fd = open("/", O_PATH | O_CLOEXEC);
    SYS(root.parent_fd);
    SYS(syscall(SYS_landlock_add_rule, ruleset, LANDLOCK_RULE_PATH_BENEATH, &root, 0));
    SYS(prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0));
    SYS(syscall(SYS_landlock_restrict_self, ruleset, 0));
    close(root.parent_fd);
    close(ruleset);
    return 1;
}

static void stores_in_a_sandbox(void *arg)
{
    int opened_before = *(int *)arg;
    vfs_t *s = opened_before ? open_on(say("%s,%s", A, B)) : NULL;
    if (opened_before == 2)
        CHECK_OK(put(s, "stored", 300, 1, 0));
    if (!enter_landlock()) {
        skipped("no Landlock in this kernel");
        QUIET(vfs_close(s));
        return;
    }
    if (opened_before == 2) { /* it finds out by the first blob, and writes no other */
        CHECK_IS(put(s, "k", 1 << 20, 1, 0), VFS_ERR_UNSUPPORTED);
        CHECK(written > 0);
        written = 0;
    }
    if (!opened_before)
        s = open_on(say("%s,%s", A, B));
    for (int i = 0; i < 4; i++) {
        uint32_t flags = (i & 1 ? VFS_PERSIST : 0) | (i & 2 ? VFS_REPLACE : 0);
        CHECK_IS(put(s, "k", 1 << 20, 1, flags), VFS_ERR_UNSUPPORTED);
        CHECK_SAYS("EXDEV");
        CHECK_SAYS("Landlock");
    }
    vfs_writer_t *w = NULL;
    CHECK_IS(vfs_create(s, "k", 1 << 20, 0, &w), VFS_ERR_UNSUPPORTED);
    CHECK_INT(written, 0);
    CHECK_INT(listed_all(s), opened_before == 2);
    QUIET(vfs_close(s));
    s = open_on(say("%s,memory", A));
    CHECK_OK(put(s, "k", 1 << 20, 1, 0));
    CHECK_INT(tier_of(s, "k"), 1);
    CHECK_INT(written, 0);
    QUIET(vfs_close(s));
}

/* Each store in such a sandbox wrote all its bytes on every tier, and failed only when they were published. */
static void no_links_between_directories(void)
{
    A = dir_of("a");
    B = dir_of("b");
    for (int opened_before = 0; opened_before < 3; opened_before++)
        JOIN(start_child(stores_in_a_sandbox, &opened_before));
    CHECK_NOTHING_LEFT(A);
    CHECK_NOTHING_LEFT(B);
}

/* Publishing renames between directories too: a filter that refuses that alone is found out as early. */
static void no_renames_between_directories(void)
{
    A = dir_of("a");
    static const int errors[] = {EXDEV, EPERM, EACCES, ENOSYS};
    for (int i = 0; i < 4; i++) {
        vfs_t *s = open_on(A);
        refuse_renames = errors[i];
        CHECK_FAILS(put(s, "k", 300, 1, VFS_PERSIST));
        CHECK_SAYS("link");
        CHECK_INT(written, 0);
        refuse_renames = 0;
        CHECK_OK(put(s, "k", 300, 1, VFS_PERSIST));
        CHECK_OK(vfs_remove(s, "k"));
        written = 0;
        QUIET(vfs_close(s));
        CHECK_NOTHING_LEFT(A);
    }
}

static void killed_in_probe(void *arg)
{
    vfs_t *s = open_on(A);
    dies_in_probe = *(int *)arg;
    (void)put(s, "k", 400, 2, 0);
    FAIL("nothing was tried");
}

/* What a process leaves that is killed while it tries links disturbs nobody, and goes with the next reap. */
static void killed_while_links_are_tried(void)
{
    A = dir_of("a");
    for (int when = 1; when < 3; when++) {
        vfs_t *s = open_on(A);
        CHECK_OK(put(s, "other", 300, 1, 0));
        pid_t child = start_child(killed_in_probe, &when);
        int state = 0;
        CHECK_INT(waitpid(child, &state, 0), child);
        CHECK(WIFEXITED(state) && WEXITSTATUS(state) == 7);
        CHECK_INT(entries_in(say("%s/harness/objects", own_tier_dir(A, geteuid()))), 2);
        CHECK_INT(listed_all(s), 1);
        CHECK_OK(put(s, "k", 300, 2, 0));
        CHECK_VALUE(s, "k", 300, 2);
        QUIET(vfs_close(open_on(A)));
        CHECK_INT(entries_in(say("%s/harness/objects", own_tier_dir(A, geteuid()))), 2);
        CHECK_INT(listed_all(s), 2);
        QUIET(vfs_close(s));
        CHECK_NOTHING_LEFT(A);
    }
}

int main(int argc, char **argv)
{
    static const struct {
        const char *name;
        void (*run)(void);
    } modes[] = {
        {"seconds", seconds},
        {"links", links},
        {"no-links-between-directories", no_links_between_directories},
        {"no-renames-between-directories", no_renames_between_directories},
        {"killed-while-links-are-tried", killed_while_links_are_tried},
    };
    start(argc, argv);
    for (unsigned i = 0; i < sizeof modes / sizeof modes[0]; i++) {
        if (strcmp(mode, modes[i].name) == 0) {
            modes[i].run();
            return 0;
        }
    }
    FAIL("no such mode");
}

/* The key's lock, seen from outside: somebody holds every byte of a tier's lock file, and what needs the lock says
 * that it is busy and has changed nothing, while what needs none goes on. One MODE a case. */
#include "harness.h"

static void own_lock_path(char *path, const char *tier)
{
    snprintf(path, PATH_MAX, "%s/\\lock", own_tier_dir(tier, geteuid()));
}

/* All bytes of the lock file, or none where somebody holds one of them. */
static int try_hold_all(const char *tier)
{
    char path[PATH_MAX];
    own_lock_path(path, tier);
    int fd = open(path, O_RDWR | O_CLOEXEC);
    SYS(fd);
    struct flock range = {.l_type = F_WRLCK, .l_whence = SEEK_SET};
    if (fcntl(fd, F_OFD_SETLK, &range) == 0)
        return fd;
    CHECK(errno == EAGAIN || errno == EACCES);
    close(fd);
    return -1;
}

static int hold_all(const char *tier)
{
    int fd = try_hold_all(tier);
    CHECK(fd >= 0);
    return fd;
}

/* ---- every tier's lock is taken ---- */

enum what { STORING, REPLACING, REMOVING, SEALING, MISSING, READING, WHATS };

struct call {
    vfs_t *store;
    vfs_writer_t *writer;
    enum what what;
    int32_t status;
};

static void *make_call(void *arg)
{
    struct call *c = arg;
    char byte;
    size_t len;
    switch (c->what) {
    case STORING: c->status = put(c->store, "new", 50, 9, 0); break;
    case REPLACING: c->status = put(c->store, "replaced", 50, 9, VFS_REPLACE); break;
    case REMOVING: c->status = STATUS(vfs_remove(c->store, "removed")); break;
    case SEALING: c->status = STATUS(vfs_seal(c->writer)); break;
    case MISSING: c->status = STATUS(vfs_read(c->store, "missing", 0, &byte, 1, &len, NULL)); break;
    case READING:
        CHECK_VALUE(c->store, "read", 400, 3);
        c->status = VFS_OK;
        break;
    case WHATS: break;
    }
    return NULL;
}

static void with_one_held(void *arg)
{
    int held = *(int *)arg;
    const char *dirs[3] = {dir_of(say("a%d", held)), dir_of(say("b%d", held)), dir_of(say("c%d", held))};
    vfs_t *s = open_on(say("%s,%s,%s", dirs[0], dirs[1], dirs[2]));
    vfs_writer_t *w = NULL;
    CHECK_OK(put(s, "replaced", 200, 1, 0));
    CHECK_OK(put(s, "removed", 300, 2, 0));
    CHECK_OK(put(s, "read", 400, 3, 0));
    CHECK_OK(vfs_create(s, "sealed", 0, 0, &w));
    CHECK_OK(vfs_write(w, "abc", 3));
    int fd = hold_all(dirs[held]);
    struct call calls[WHATS];
    pthread_t threads[WHATS];
    for (int i = 0; i < WHATS; i++) {
        calls[i] = (struct call){s, w, i, 0};
        CHECK_INT(pthread_create(&threads[i], NULL, make_call, &calls[i]), 0);
    }
    for (int i = 0; i < WHATS; i++)
        CHECK_INT(pthread_join(threads[i], NULL), 0);
    for (int i = STORING; i <= SEALING; i++)
        if (calls[i].status != VFS_ERR_BUSY)
            FAIL("tier %d is held: call %d said %s", held, i, status_name(calls[i].status));
    /* whoever moves a key holds it in two tiers, so that a reader need not ask the last one */
    CHECK_INT(calls[MISSING].status, held < 2 ? VFS_ERR_BUSY : VFS_ERR_NOT_FOUND);
    CHECK_VALUE(s, "replaced", 200, 1);
    CHECK_VALUE(s, "removed", 300, 2);
    SYS(close(fd));
    CHECK_ABSENT(s, "new");
    CHECK_ABSENT(s, "sealed");
    CHECK_OK(put(s, "replaced", 50, 9, VFS_REPLACE));
    CHECK_OK(vfs_remove(s, "removed"));
    CHECK_OK(put(s, "sealed", 50, 9, 0));
    QUIET(vfs_close(s));
    for (int i = 0; i < 3; i++)
        CHECK_NOTHING_LEFT(dirs[i]);
}

static void every_tier(void)
{
    static int held[3] = {0, 1, 2};
    pid_t pids[3];
    for (int i = 0; i < 3; i++)
        pids[i] = start_child(with_one_held, &held[i]);
    JOIN_ALL(pids, 3);
}

/* ---- the lock file is removed: whoever comes makes another, and that is the one that counts ---- */

static void removed_lock_file(void)
{
    const char *a = dir_of("a");
    char path[PATH_MAX];
    own_lock_path(path, a);
    vfs_t *s = open_on(a);
    CHECK_OK(put(s, "k", 200, 1, 0));
    SYS(unlink(path));
    vfs_t *later = open_on(a);
    CHECK_OK(put(later, "k", 300, 2, VFS_REPLACE));
    int fd = hold_all(a);
    CHECK_IS(put(s, "k", 400, 3, VFS_REPLACE), VFS_ERR_BUSY);
    CHECK_VALUE(s, "k", 300, 2);
    SYS(close(fd));
    CHECK_OK(put(s, "k", 400, 3, VFS_REPLACE));
    CHECK_VALUE(later, "k", 400, 3);
    QUIET(vfs_close(later));
    QUIET(vfs_close(s));
    CHECK_NOTHING_LEFT(a);
}

/* ---- who waits for one tier holds no other meanwhile: with lists of another order two would block each other ---- */

static _Atomic int began, ended;

static void *wait_for_it(void *arg)
{
    atomic_store(&began, 1);
    CHECK_IS(put(arg, "k", 50, 1, 0), VFS_ERR_BUSY);
    atomic_store(&ended, 1);
    return NULL;
}

static void waiting(void)
{
    const char *a = dir_of("a"), *b = dir_of("b");
    vfs_t *s = open_on(say("%s,%s", a, b));
    CHECK_OK(put(s, "first", 50, 1, 0));
    int fd = hold_all(b), first = -1;
    pthread_t thread;
    CHECK_INT(pthread_create(&thread, NULL, wait_for_it, s), 0);
    AWAIT(&began, 1);
    nap(300); /* most likely it waits by now; if not, this sees less */
    while (first < 0 && !atomic_load(&ended))
        first = try_hold_all(a);
    if (first < 0)
        FAIL("while it waited for the second tier it held the first all the time");
    CHECK_INT(pthread_join(thread, NULL), 0);
    SYS(close(first));
    SYS(close(fd));
    QUIET(vfs_close(s));
    CHECK_NOTHING_LEFT(a);
    CHECK_NOTHING_LEFT(b);
}

/* ---- a tier becomes the same as an earlier one: its lock is no other's ---- */

static void twins(void)
{
    own_mounts();
    const char *a = dir_of("a"), *b = dir_of("b");
    vfs_t *s = open_on(say("%s,%s", a, b));
    CHECK_OK(put(s, "k", 50, 1, 0));
    SYS(mount(a, b, "none", MS_BIND, NULL));
    CHECK_OK(put(s, "k", 60, 2, VFS_REPLACE));
    CHECK_VALUE(s, "k", 60, 2);
    CHECK_ABSENT(s, "absent");
    CHECK_OK(vfs_remove(s, "k"));
    CHECK_ABSENT(s, "k");
    SYS(umount2(b, MNT_DETACH));
    QUIET(vfs_close(s));
    CHECK_NOTHING_LEFT(a);
    CHECK_NOTHING_LEFT(b);
}

int main(int argc, char **argv)
{
    static const struct {
        const char *name;
        void (*run)(void);
    } modes[] = {{"every-tier", every_tier}, {"removed-lock-file", removed_lock_file}, {"waiting", waiting}, {"twins", twins}};
    start(argc, argv);
    unsigned fds = descriptors();
    for (unsigned i = 0; i < sizeof modes / sizeof modes[0]; i++) {
        if (strcmp(mode, modes[i].name) == 0) {
            modes[i].run();
            CHECK_INT(descriptors(), fds);
            return 0;
        }
    }
    FAIL("no such mode");
}

/* Whole or nothing, at every system call: each operation is run under strace once to list its calls, then once for each
 * of them, in which that call kills the process (or fails). Afterwards a key has its old value or its new one, what
 * others own is whole, and after one reap nothing of the dead is left and nothing resurfaces.
 *
 *   kill_matrix SCRATCH OPERATION              kills at every call
 *   kill_matrix SCRATCH OPERATION ERROR...     each call fails with that errno instead (EIO, EINTR, ...)
 *   kill_matrix CASE victim OPERATION          the process that is killed */
#include "harness.h"

#include <ctype.h>

enum { OLD = 1001, NEW = 1002, OLD_LEN = 6000, NEW_LEN = 9000, STREAM_LEN = 40000 };

/* Who owns the key's old value; what the new one is. */
enum who { NOBODY, VICTIM, NEIGHBOUR, PERSISTENT, DEAD };

struct operation {
    const char *name;
    enum who old_owner;
    int old_below;         /* the old value lies on the second tier */
    void (*run)(vfs_t *);  /* sets the status; NULL: vfs_open itself */
    enum who new_owner;    /* NOBODY: afterwards the key is gone */
    int new_below;
    size_t new_len;
    int may_be_partial;    /* a failure may have done a part: shutdown and reap */
};

static struct progress {
    _Atomic int at; /* 0 before the operation, 1 in it, 2 after it */
    _Atomic int status;
} *progress;

static char tiers[2 * PATH_MAX + 32], upper[2 * PATH_MAX + 32], lower[2 * PATH_MAX + 32];
static const char *kept_tiers; /* of the running victim */
static unsigned char old_data[OLD_LEN], new_data[NEW_LEN], stream_data[STREAM_LEN];

/* ---- the operations ---- */

#define DONE(call) atomic_store(&progress->status, STATUS(call))

static void store(vfs_t *s) { DONE(vfs_store(s, "k", new_data, NEW_LEN, 0)); }
static void persist(vfs_t *s) { DONE(vfs_store(s, "k", new_data, NEW_LEN, VFS_PERSIST)); }
static void replace(vfs_t *s) { DONE(vfs_store(s, "k", new_data, NEW_LEN, VFS_REPLACE)); }
static void replace_kept(vfs_t *s) { DONE(vfs_store(s, "k", new_data, NEW_LEN, VFS_REPLACE | VFS_PERSIST)); }
static void remove_it(vfs_t *s) { DONE(vfs_remove(s, "k")); }
static void shut_down(vfs_t *s) { DONE(vfs_shutdown(s)); }
static void reap(vfs_t *s) { DONE(vfs_reap(s, NULL)); }

static void stream_with(vfs_t *s, uint32_t flags)
{
    vfs_writer_t *w = NULL;
    void *room = NULL;
    int32_t status = STATUS(vfs_create(s, "k", 0, flags, &w));
    if (status == VFS_OK)
        status = STATUS(vfs_write(w, stream_data, 10000));
    if (status == VFS_OK)
        status = STATUS(vfs_reserve(w, 10000, &room));
    if (status == VFS_OK) {
        memcpy(room, stream_data + 10000, 10000);
        status = STATUS(vfs_write(w, stream_data + 20000, 20000));
    }
    if (status == VFS_OK)
        status = STATUS(vfs_seal(w));
    else
        QUIET(vfs_abort(w));
    atomic_store(&progress->status, status);
}

static void stream(vfs_t *s) { stream_with(s, 0); }
static void stream_over(vfs_t *s) { stream_with(s, VFS_REPLACE | VFS_PERSIST); }

static const struct operation operations[] = {
    {"store", NOBODY, 0, store, VICTIM, 0, NEW_LEN, 0},
    {"store-below", NOBODY, 0, store, VICTIM, 1, NEW_LEN, 0},
    {"persist", NOBODY, 0, persist, PERSISTENT, 0, NEW_LEN, 0},
    {"persist-below", NOBODY, 0, persist, PERSISTENT, 1, NEW_LEN, 0},
    {"stream", NOBODY, 0, stream, VICTIM, 1, STREAM_LEN, 0},
    {"stream-over", NEIGHBOUR, 0, stream_over, PERSISTENT, 1, STREAM_LEN, 0},
    {"replace-own", VICTIM, 0, replace, VICTIM, 0, NEW_LEN, 0},
    {"replace-foreign", NEIGHBOUR, 0, replace, VICTIM, 0, NEW_LEN, 0},
    {"replace-persistent", PERSISTENT, 0, replace, VICTIM, 0, NEW_LEN, 0},
    {"replace-of-dead", DEAD, 0, replace, VICTIM, 0, NEW_LEN, 0},
    {"persist-over-own", VICTIM, 0, replace_kept, PERSISTENT, 0, NEW_LEN, 0},
    {"persist-over-foreign", NEIGHBOUR, 0, replace_kept, PERSISTENT, 0, NEW_LEN, 0},
    {"persist-over-persistent", PERSISTENT, 0, replace_kept, PERSISTENT, 0, NEW_LEN, 0},
    {"down-own", VICTIM, 0, replace, VICTIM, 1, NEW_LEN, 0},
    {"down-foreign", NEIGHBOUR, 0, replace, VICTIM, 1, NEW_LEN, 0},
    {"down-persistent", PERSISTENT, 0, replace_kept, PERSISTENT, 1, NEW_LEN, 0},
    {"up-own", VICTIM, 1, replace, VICTIM, 0, NEW_LEN, 0},
    {"up-foreign", NEIGHBOUR, 1, replace, VICTIM, 0, NEW_LEN, 0},
    {"up-persistent", PERSISTENT, 1, replace_kept, PERSISTENT, 0, NEW_LEN, 0},
    {"up-persistent-owned", PERSISTENT, 1, replace, VICTIM, 0, NEW_LEN, 0},
    {"remove-own", VICTIM, 0, remove_it, NOBODY, 0, 0, 0},
    {"remove-foreign", NEIGHBOUR, 0, remove_it, NOBODY, 0, 0, 0},
    {"remove-persistent", PERSISTENT, 0, remove_it, NOBODY, 0, 0, 0},
    {"remove-below", NEIGHBOUR, 1, remove_it, NOBODY, 0, 0, 0},
    {"remove-of-dead", DEAD, 0, remove_it, NOBODY, 0, 0, 0},
    {"shutdown", VICTIM, 0, shut_down, NOBODY, 0, 0, 1},
    {"shutdown-below", VICTIM, 1, shut_down, NOBODY, 0, 0, 1},
    {"reap", DEAD, 0, reap, NOBODY, 0, 0, 1},
    {"reap-below", DEAD, 1, reap, NOBODY, 0, 0, 1},
    {"open", NEIGHBOUR, 0, NULL, NEIGHBOUR, 0, 0, 0},
    {"open-reaps", DEAD, 0, NULL, NOBODY, 0, 0, 1},
};

static const struct operation *find_operation(const char *name)
{
    for (unsigned i = 0; i < sizeof operations / sizeof operations[0]; i++)
        if (strcmp(operations[i].name, name) == 0)
            return &operations[i];
    FAIL("no such operation: %s", name);
}

static void set_up(const char *dir)
{
    snprintf(tiers, sizeof tiers, "%s/a,%s/b", dir, dir);
    snprintf(upper, sizeof upper, "%s/a?max=20K,%s/b", dir, dir);
    snprintf(lower, sizeof lower, "%s/a?max=1,%s/b", dir, dir);
    value_at(old_data, OLD_LEN, 0, OLD, OLD_LEN);
    value_at(new_data, NEW_LEN, 0, NEW, NEW_LEN);
    value_at(stream_data, STREAM_LEN, 0, NEW, STREAM_LEN);
    int fd = open(say("%s/progress", dir), O_RDWR | O_CREAT | O_CLOEXEC, 0600);
    SYS(fd);
    SYS(ftruncate(fd, sizeof *progress));
    progress = mmap(NULL, sizeof *progress, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    CHECK(progress != MAP_FAILED);
    close(fd);
}

static void put_old(const char *by, int keep, vfs_t **out)
{
    vfs_t *s = open_on(by);
    CHECK_OK(vfs_store(s, "k", old_data, OLD_LEN, keep ? VFS_PERSIST : 0));
    *out = s;
}

/* The process that is killed: prepares, operates between two calls of getppid, and ends without closing. */
static void victim(const struct operation *op)
{
    set_up(scratch);
    vfs_t *s = NULL;
    vfs_options_t options = VFS_OPTIONS_INIT;
    options.tiers = op->new_len == STREAM_LEN ? upper : op->new_below ? lower : tiers;
    options.name = "harness";
    if (op->run) {
        /* a reader's open would not reap what op is to find */
        CHECK_OK(vfs_open(&options, &s));
        if (op->old_owner == VICTIM) {
            if (op->old_below != op->new_below || op->new_owner == NOBODY) {
                /* where the handle itself would not put it: moved there by a limit of another handle is not the same
                 * owner, so it is stored through a stream that outgrew the upper tier */
            }
            CHECK_OK(vfs_store(s, "k", old_data, OLD_LEN, 0));
            CHECK_OK(vfs_store(s, "k-too", old_data, OLD_LEN, 0));
        }
    }
    getppid();
    atomic_store(&progress->at, 1);
    if (op->run)
        op->run(s);
    else
        DONE(vfs_open(&options, &s));
    getppid();
    atomic_store(&progress->at, 2);
    _exit(0);
}

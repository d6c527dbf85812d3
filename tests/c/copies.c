/* Copies of the library in one process: loaded under two names, linked in statically and loaded, loaded and unloaded
 * again and again. `copies SCRATCH two|unloaded LIBRARY`; built with -DSTATIC_COPY it is itself one of the copies. */
#define HARNESS_NO_VFS
#include "harness.h"

#include <dlfcn.h>
#include <malloc.h>
#include <sys/syscall.h>

#include "vfs.h"

struct copy {
    void *handle;
    __typeof__(&vfs_open) open;
    __typeof__(&vfs_store) store;
    __typeof__(&vfs_read) read;
    __typeof__(&vfs_has) has;
    __typeof__(&vfs_remove) remove;
    __typeof__(&vfs_create) create;
    __typeof__(&vfs_write) write;
    __typeof__(&vfs_reserve) reserve;
    __typeof__(&vfs_seal) seal;
    __typeof__(&vfs_map) map;
    __typeof__(&vfs_unmap) unmap;
    __typeof__(&vfs_reap) reap;
    __typeof__(&vfs_close) close;
    __typeof__(&vfs_last_error) last_error;
};

#define EACH(GET)                                                                                                      \
    GET(open) GET(store) GET(read) GET(has) GET(remove) GET(create) GET(write) GET(reserve) GET(seal) GET(map)         \
    GET(unmap) GET(reap) GET(close) GET(last_error)

static void find_all(struct copy *copy, void *handle)
{
    copy->handle = handle;
    if (!handle)
        FAIL("%s", dlerror());
#define GET(name)                                                                                                      \
    *(void **)&copy->name = dlsym(handle, "vfs_" #name);                                                               \
    CHECK(copy->name != NULL);
    EACH(GET)
#undef GET
}

#define IS(copy, call, expected)                                                                                       \
    do {                                                                                                               \
        int32_t h_got = (copy)->call;                                                                                  \
        if (h_got != (expected))                                                                                       \
            FAIL("%s: expected %d, got %d: %s", #call, (int)(expected), (int)h_got, (copy)->last_error());             \
    } while (0)

static const char *tier;

static vfs_t *open_by(struct copy *copy)
{
    vfs_options_t options = VFS_OPTIONS_INIT;
    vfs_t *s = NULL;
    options.tiers = tier;
    options.name = "harness";
    IS(copy, open(&options, &s), VFS_OK);
    return s;
}

/* A copy of the file, under another name: the loader takes it for another library. */
static const char *copy_file(const char *from)
{
    char block[65536];
    const char *to = path_of("another.so");
    int in = open(from, O_RDONLY | O_CLOEXEC), out = open(to, O_CREAT | O_WRONLY | O_CLOEXEC, 0700);
    ssize_t n;
    CHECK(in >= 0 && out >= 0);
    while ((n = read(in, block, sizeof block)) > 0)
        CHECK(write(out, block, (size_t)n) == n);
    close(in);
    close(out);
    return to;
}

/* ---- two copies ---- */

static struct copy copies[2];
static vfs_t *stores[2];
static _Atomic int won[2];
static void (*amid_link)(void);

/* The library's own calls of it come here first. */
int linkat(int from, const char *old, int to, const char *new, int flags)
{
    if (amid_link)
        amid_link();
    return (int)syscall(SYS_linkat, from, old, to, new, flags);
}

/* One copy is storing the key under its lock: to the other it is busy, as it is to another process. */
static void busy_to_the_other(void)
{
    amid_link = NULL;
    IS(&copies[1], store(stores[1], "held", "x", 1, VFS_REPLACE), VFS_ERR_BUSY);
}

/* Both store one key at a time: one of them is the first. */
static void *race(void *arg)
{
    int which = *(int *)arg;
    char key[32];
    for (int i = 0; i < 300; i++) {
        snprintf(key, sizeof key, "race-%d", i);
        int32_t status = copies[which].store(stores[which], key, &which, sizeof which, 0);
        CHECK(status == VFS_OK || status == VFS_ERR_EXISTS);
        won[which] += status == VFS_OK;
        /* (a disk with far more to do may keep the other one for longer than we wait, with the key held) */
        for (int tries = 0; tries < 10; tries++) {
            status = copies[which].store(stores[which], "same", &which, sizeof which, VFS_REPLACE);
            if (status != VFS_ERR_BUSY)
                break;
        }
        CHECK_INT(status, VFS_OK);
    }
    return NULL;
}

static void in_child(void *arg)
{
    (void)arg;
    for (int i = 0; i < 2; i++) {
        IS(&copies[i], has(stores[i], "same"), 1);
        IS(&copies[i], store(stores[i], "new", "x", 1, 0), VFS_ERR_FORKED);
        vfs_t *own = open_by(&copies[i]);
        IS(&copies[i], store(own, "of-child", "x", 1, 0), VFS_OK);
        IS(&copies[!i], has(stores[!i], "of-child"), 1);
        copies[i].close(own);
    }
    for (int i = 0; i < 2; i++)
        copies[i].close(stores[i]);
}

static void sleeping(void *arg)
{
    prctl(PR_SET_PDEATHSIG, 0);
    *(_Atomic pid_t *)arg = getpid();
    sleep_for_ever();
}

/* Its child lives on: neither copy's owner does. */
static void to_be_killed(void *arg)
{
    for (int i = 0; i < 2; i++) {
        vfs_t *own = open_by(&copies[i]);
        IS(&copies[i], store(own, i ? "dead-1" : "dead-0", "x", 1, 0), VFS_OK);
    }
    start_child(sleeping, arg);
    sleep_for_ever();
}

static void two(const char *library)
{
    int numbers[2] = {0, 1};
    pthread_t threads[2];
    char key[32];
    _Atomic pid_t *child = shared_memory(sizeof *child);
#ifdef STATIC_COPY
    (void)copy_file;
#define GET(name) copies[0].name = &vfs_##name;
    EACH(GET)
#undef GET
#else
    find_all(&copies[0], dlopen(copy_file(library), RTLD_NOW | RTLD_LOCAL));
#endif
    find_all(&copies[1], dlopen(library, RTLD_NOW | RTLD_LOCAL));
    CHECK(copies[0].open != copies[1].open);
    for (int order = 0; order < 2; order++) {
        for (int i = 0; i < 2; i++)
            stores[i] = open_by(&copies[i]);
        IS(&copies[0], store(stores[0], "k", "abc", 3, 0), VFS_OK);
        IS(&copies[1], has(stores[1], "k"), 1);
        IS(&copies[1], store(stores[1], "k", "abc", 3, 0), VFS_ERR_EXISTS);
        IS(&copies[1], store(stores[1], "k", "abcd", 4, VFS_REPLACE), VFS_OK);
        IS(&copies[0], remove(stores[0], "k"), VFS_OK);
        IS(&copies[1], reap(stores[1], NULL), VFS_OK); /* the other one lives */
        if (order == 0) {
            amid_link = busy_to_the_other;
            IS(&copies[0], store(stores[0], "held", "x", 1, VFS_REPLACE), VFS_OK);
            CHECK(amid_link == NULL);
            IS(&copies[1], remove(stores[1], "held"), VFS_OK);
        }
        won[0] = won[1] = 0;
        for (int i = 0; i < 2; i++)
            CHECK_INT(pthread_create(&threads[i], NULL, race, &numbers[i]), 0);
        for (int i = 0; i < 2; i++)
            CHECK_INT(pthread_join(threads[i], NULL), 0);
        CHECK_INT(won[0] + won[1], 300);
        JOIN(start_child(in_child, NULL));
        SYS(prctl(PR_SET_CHILD_SUBREAPER, 1));
        *child = 0;
        pid_t parent = start_child(to_be_killed, child);
        for (long long until = now_ms() + PATIENCE_MS; *child == 0 && now_ms() < until;)
            nap(1);
        kill_child(parent);
        IS(&copies[0], reap(stores[0], NULL), VFS_OK);
        IS(&copies[0], has(stores[0], "dead-0"), 0);
        IS(&copies[1], has(stores[1], "dead-1"), 0);
        kill_child(*child);
        copies[order].close(stores[order]);
        for (int i = 0; i < 300; i++) {
            snprintf(key, sizeof key, "race-%d", i);
            int32_t has = copies[!order].has(stores[!order], key);
            CHECK(has == 0 || has == 1);
            won[!order] -= has;
        }
        CHECK_INT(won[!order], 0); /* what the other owned is gone, and nothing else */
        IS(&copies[!order], store(stores[!order], "last", "x", 1, 0), VFS_OK);
        copies[!order].close(stores[!order]);
        CHECK_NOTHING_LEFT(tier);
    }
    CHECK_INT(dlclose(copies[1].handle), 0);
    if (copies[0].handle)
        CHECK_INT(dlclose(copies[0].handle), 0);
    pid_t pid = fork(); /* the handlers of both are still there */
    SYS(pid);
    if (pid == 0)
        _exit(0);
    JOIN(pid);
}

/* ---- loaded, used by a thread, unloaded, the thread ends; many times ---- */

static _Atomic int used, unloaded;

static void *user(void *arg)
{
    struct copy *copy = arg;
    char got[8];
    size_t len = 0;
    vfs_writer_t *w = NULL;
    vfs_view_t view = {0};
    void *room = NULL;
    vfs_t *s = open_by(copy);
    IS(copy, store(s, "k", "abc", 3, 0), VFS_OK);
    IS(copy, store(s, "k", "abc", 3, 0), VFS_ERR_EXISTS);
    IS(copy, read(s, "k", 0, got, sizeof got, &len, NULL), VFS_OK);
    IS(copy, create(s, "w", 0, 0, &w), VFS_OK);
    IS(copy, write(w, "abc", 3), VFS_OK);
    IS(copy, reserve(w, 9000, &room), VFS_OK);
    memset(room, 'r', 9000);
    IS(copy, seal(w), VFS_OK);
    IS(copy, map(s, "w", &view, NULL), VFS_OK);
    copy->unmap(&view);
    copy->close(s);
    used = 1;
    for (long long until = now_ms() + PATIENCE_MS; !unloaded && now_ms() < until;)
        usleep(100);
    return NULL; /* here what belongs to the thread goes */
}

/* Of addresses, which leaked mappings take, whether or not they are touched. */
static long pages_of_addresses(void)
{
    long size = 0;
    FILE *f = fopen("/proc/self/statm", "re");
    CHECK(f && fscanf(f, "%ld", &size) == 1);
    fclose(f);
    return size;
}

static void again_and_again(const char *library)
{
    struct copy copy;
    pthread_t thread;
    long pages = 0;
    size_t allocated = 0;
    unsigned fds = 0;
    for (int i = 0; i < 300; i++) {
        find_all(&copy, dlopen(library, RTLD_NOW | RTLD_LOCAL));
        used = unloaded = 0;
        CHECK_INT(pthread_create(&thread, NULL, user, &copy), 0);
        AWAIT(&used, 1);
        CHECK_INT(dlclose(copy.handle), 0);
        unloaded = 1;
        CHECK_INT(pthread_join(thread, NULL), 0);
        if (i == 50) {
            pages = pages_of_addresses();
            allocated = mallinfo2().uordblks;
            fds = descriptors();
        }
    }
    CHECK_INT(descriptors(), fds);
    long grown = pages_of_addresses() - pages, more = (long)mallinfo2().uordblks - (long)allocated;
#ifdef __SANITIZE_ADDRESS__ /* it keeps for a while what was freed, and looks for leaks itself */
    grown = more = 0;
#endif
    if (grown > 125 || more > 4000) /* half a page, or 16 bytes, a time */
        FAIL("after 250 times %ld pages of addresses and %ld bytes more", grown, more);
    CHECK_NOTHING_LEFT(tier);
}

int main(int argc, char **argv)
{
    start(argc, argv);
    CHECK(argc == 4);
    tier = dir_of("a");
    if (strcmp(mode, "two") == 0)
        two(argv[3]);
    else if (strcmp(mode, "unloaded") == 0)
        again_and_again(argv[3]);
    else
        FAIL("no such mode");
    unlink(path_of("another.so"));
    return 0;
}

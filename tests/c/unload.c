/* The library is loaded, used by a thread that goes on, unloaded, and the thread ends; twice. The host has functions of
 * its own that bear our names. `unload SCRATCH close|leave LIBRARY` */
#define HARNESS_NO_VFS
#include "harness.h"

#include <dlfcn.h>

#include "vfs.h"

/* The host's own: none of ours may ever call them. */
int32_t vfs_has(vfs_t *store, const char *key)
{
    (void)store;
    (void)key;
    FAIL("the library called a function of its host");
}
vfs_status_t vfs_shutdown(vfs_t *store)
{
    (void)store;
    FAIL("the library called a function of its host");
}
const char *vfs_last_error(void)
{
    FAIL("the library called a function of its host");
}
const char *vfs_strerror(vfs_status_t status)
{
    (void)status;
    FAIL("the library called a function of its host");
}
void vfs_abort(vfs_writer_t *writer)
{
    (void)writer;
    FAIL("the library called a function of its host");
}

static struct {
    void *handle;
    __typeof__(&vfs_open) open;
    __typeof__(&vfs_store) store;
    __typeof__(&vfs_read) read;
    __typeof__(&vfs_has) has;
    __typeof__(&vfs_remove) remove;
    __typeof__(&vfs_create) create;
    __typeof__(&vfs_write) write;
    __typeof__(&vfs_seal) seal;
    __typeof__(&vfs_close) close;
    __typeof__(&vfs_last_error) last_error;
} lib;

static _Atomic int used, unloaded;
static int leave;

static void load(const char *path)
{
    lib.handle = dlopen(path, RTLD_NOW | RTLD_LOCAL);
    if (!lib.handle)
        FAIL("%s", dlerror());
#define GET(name)                                                                                                      \
    do {                                                                                                               \
        *(void **)&lib.name = dlsym(lib.handle, "vfs_" #name);                                                         \
        CHECK(lib.name != NULL);                                                                                       \
    } while (0)
    GET(open);
    GET(store);
    GET(read);
    GET(has);
    GET(remove);
    GET(create);
    GET(write);
    GET(seal);
    GET(close);
    GET(last_error);
}

static void use(const char *dir)
{
    vfs_options_t options = VFS_OPTIONS_INIT;
    vfs_t *s = NULL;
    vfs_writer_t *w = NULL;
    char got[8];
    size_t len = 0;
    options.tiers = dir;
    CHECK_INT(lib.open(&options, &s), VFS_OK);
    CHECK_INT(lib.store(s, "k", "abc", 3, 0), VFS_OK);
    CHECK_INT(lib.read(s, "k", 0, got, 8, &len, NULL), VFS_OK);
    CHECK_INT(len, 3);
    CHECK_INT(lib.has(s, "k"), 1);
    CHECK_INT(lib.store(s, "k", "abc", 3, 0), VFS_ERR_EXISTS);
    CHECK(lib.last_error()[0] != 0);
    CHECK_INT(lib.create(s, "w", 0, 0, &w), VFS_OK);
    CHECK_INT(lib.write(w, "abc", 3), VFS_OK);
    CHECK_INT(lib.seal(w), VFS_OK);
    CHECK_INT(lib.remove(s, "k"), VFS_OK);
    if (!leave)
        lib.close(s);
}

static void *thread_body(void *arg)
{
    use(arg);
    atomic_fetch_add(&used, 1);
    long long until = now_ms() + PATIENCE_MS;
    while (!atomic_load(&unloaded) && now_ms() < until)
        nap(1);
    return arg; /* here thread-locals are destroyed */
}

int main(int argc, char **argv)
{
    start(argc, argv);
    CHECK(argc == 4);
    leave = strcmp(mode, "leave") == 0;
    if (leave)
        leave_at_end();
    char *dir = strdup(dir_of("a"));
    for (int i = 0; i < 2; i++) {
        pthread_t threads[3];
        load(argv[3]);
        atomic_store(&used, 0);
        atomic_store(&unloaded, 0);
        for (int t = 0; t < 3; t++) {
            CHECK_INT(pthread_create(&threads[t], NULL, thread_body, dir), 0);
            AWAIT(&used, t + 1); /* one after another: they store the same keys */
            if (leave)
                remove_tree(own_tier_dir(dir, geteuid()));
        }
        CHECK_INT(dlclose(lib.handle), 0);
        atomic_store(&unloaded, 1);
        for (int t = 0; t < 3; t++)
            CHECK_INT(pthread_join(threads[t], NULL), 0);
    }
    pid_t pid = fork(); /* handlers of fork that were registered are still there */
    SYS(pid);
    if (pid == 0)
        _exit(0);
    JOIN(pid);
    free(dir);
    return 0;
}

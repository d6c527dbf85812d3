/* Memory that cannot be had: the N-th allocation of every call fails, for every N, alone or with all that follow. The
 * call says so, or does without; nothing has changed, and the host lives. */
#include "harness.h"

static _Atomic long countdown; /* 0: off */
static _Atomic int failed, from_then_on;

static int refuse(void)
{
    if (atomic_load(&countdown) == 0 || atomic_fetch_sub(&countdown, 1) != 1)
        return 0;
    if (atomic_load(&from_then_on))
        atomic_store(&countdown, 1);
    atomic_store(&failed, 1);
    errno = ENOMEM;
    return 1;
}

#if defined __GLIBC__ && !defined __SANITIZE_ADDRESS__
#define CAN_REFUSE 1
void *__libc_malloc(size_t);
void *__libc_calloc(size_t, size_t);
void *__libc_realloc(void *, size_t);
void *__libc_memalign(size_t, size_t);

void *malloc(size_t size)
{
    return refuse() ? NULL : __libc_malloc(size);
}

void *calloc(size_t count, size_t size)
{
    return refuse() ? NULL : __libc_calloc(count, size);
}

void *realloc(void *old, size_t size)
{
    return refuse() ? NULL : __libc_realloc(old, size);
}

void *aligned_alloc(size_t align, size_t size)
{
    return refuse() ? NULL : __libc_memalign(align, size);
}

int posix_memalign(void **out, size_t align, size_t size)
{
    if (refuse())
        return ENOMEM;
    *out = __libc_memalign(align, size);
    return *out ? 0 : ENOMEM;
}
#else
#define CAN_REFUSE 0
#endif

static char tiers[2 * PATH_MAX + 32];
static unsigned char data[60000];

/* What each call works on, made anew before it. */
static vfs_t *s;
static vfs_writer_t *w;
static vfs_list_t *list;
static vfs_view_t view;
static vfs_t *opened;
static void *room;

enum { OPEN, STORE, STORE_LARGE, PERSIST, REPLACE, REPLACE_ACROSS, READ, READ_MISS, HAS, STAT, MAP, REMOVE, REMOVE_OWNED, CREATE,
       CREATE_HINT, WRITE, WRITE_ON, RESERVE, SEAL, LIST, NEXT, REAP, TIER, BAD_KEY, BAD_LIST, MAP_SMALL, PERSIST_OVER, TEXTS, UNMAP, LIST_CLOSE, ABORT, ABORT_RESERVED, SHUTDOWN, CLOSE, CALLS };
static const char *const names[] = {"open", "store", "store a large one", "persist", "replace", "replace across tiers", "read",
                                    "read what is not there", "has", "stat", "map", "remove", "remove_owned", "create",
                                    "create with a hint", "write", "write, moving on", "reserve", "seal", "list_open", "list_next",
                                    "reap", "tier_stat", "store a bad key", "open a bad list", "map another's", "persist over one's own",
                                    "strerror and its like", "unmap", "list_close", "abort", "abort what is reserved", "shutdown",
                                    "close"};

/* Those that end what the others work on. */
static int ends(int which)
{
    return which == SHUTDOWN || which == CLOSE;
}

static _Atomic int logged;

static void on_log(void *user, int32_t level, const char *message)
{
    (void)user;
    CHECK(level >= VFS_LOG_ERROR && level <= VFS_LOG_INFO && message[0]);
    atomic_fetch_add(&logged, 1);
}

static vfs_options_t options_of(const char *list)
{
    vfs_options_t options = VFS_OPTIONS_INIT;
    options.tiers = list;
    options.name = "harness";
    options.log = on_log;
    return options;
}

static int32_t do_call(int which)
{
    static unsigned char got[100];
    const char *key, *keys[2] = {"own", "nobody"};
    size_t len;
    vfs_stat_t stat = VFS_STAT_INIT;
    vfs_tier_stat_t tier = VFS_TIER_STAT_INIT;
    vfs_options_t options = options_of(tiers);
    switch (which) {
    case OPEN: return vfs_open(&options, &opened);
    case STORE: return vfs_store(s, "new", data, 1000, 0);
    case STORE_LARGE: return vfs_store(s, "new", data, sizeof data, 0);
    case PERSIST: return vfs_store(s, "new", data, 1000, VFS_PERSIST);
    case REPLACE: return vfs_store(s, "own", data, 2000, VFS_REPLACE);
    case REPLACE_ACROSS: return vfs_store(s, "own", data, sizeof data, VFS_REPLACE);
    case READ: return vfs_read(s, "own", 0, got, sizeof got, &len, &stat);
    case READ_MISS: return vfs_read(s, "new", 0, got, sizeof got, &len, &stat);
    case HAS: return vfs_has(s, "own");
    case STAT: return vfs_stat(s, "own", &stat);
    case MAP: return vfs_map(s, "own", &view, &stat);
    case REMOVE: return vfs_remove(s, "own");
    case REMOVE_OWNED: return vfs_remove_owned(s, keys, 2);
    case CREATE: return vfs_create(s, "new", 0, 0, &w);
    case CREATE_HINT: return vfs_create(s, "new", sizeof data, 0, &w);
    case WRITE: return vfs_write(w, data, 1000);
    case WRITE_ON: return vfs_write(w, data, sizeof data);
    case RESERVE: return vfs_reserve(w, 10000, &room);
    case SEAL: return vfs_seal(w);
    case LIST: return vfs_list_open(s, &list);
    case NEXT: return vfs_list_next(list, &key, &stat);
    case REAP: return vfs_reap(s, NULL);
    case TIER: return vfs_tier_stat(s, 0, &tier);
    case BAD_KEY: return vfs_store(s, "a/b", data, 1000, 0);
    case BAD_LIST:
        options.tiers = "nonsense";
        return vfs_open(&options, &opened);
    case MAP_SMALL: return vfs_map(s, "bystander", &view, NULL);
    case PERSIST_OVER: return vfs_store(s, "own", data, 2000, VFS_REPLACE | VFS_PERSIST);
    case TEXTS:
        return vfs_strerror(VFS_ERR_IO)[0] && vfs_version()[0] && vfs_last_error() && vfs_last_errno() >= 0 ? VFS_OK : VFS_ERR_PANIC;
    case UNMAP: vfs_unmap(&view); return VFS_OK;
    case LIST_CLOSE: vfs_list_close(list); return VFS_OK;
    case ABORT: case ABORT_RESERVED: vfs_abort(w); return VFS_OK;
    case SHUTDOWN: return vfs_shutdown(s);
    case CLOSE: vfs_close(s); return VFS_OK;
    }
    return VFS_ERR_PANIC;
}

static int needs_writer(int which)
{
    return which == WRITE || which == WRITE_ON || which == RESERVE || which == SEAL || which == ABORT || which == ABORT_RESERVED;
}

static int32_t expected(int which)
{
    switch (which) {
    case READ_MISS: return VFS_ERR_NOT_FOUND;
    case HAS: return 1;
    case BAD_KEY: return VFS_ERR_KEY;
    case BAD_LIST: return VFS_ERR_INVALID;
    default: return VFS_OK;
    }
}

static size_t size_of(const char *key)
{
    static unsigned char got[sizeof data];
    size_t len = 0;
    CHECK_OK(vfs_read(s, key, 0, got, sizeof got, &len, NULL));
    CHECK(memcmp(got, data, len) == 0);
    return len;
}

/* One call with its n-th allocation refused; 0 when it makes fewer than n. */
static int one(int which, long n)
{
    unsigned fds = descriptors();
    vfs_options_t options = options_of(tiers);
    CHECK_OK(vfs_open(&options, &s));
    w = NULL;
    list = NULL;
    opened = NULL;
    memset(&view, 0, sizeof view);
    CHECK_OK(vfs_store(s, "bystander", data, 500, 0));
    CHECK_OK(vfs_store(s, "own", data, 1000, 0));
    if (needs_writer(which)) {
        CHECK_OK(vfs_create(s, "new", 0, 0, &w));
        CHECK_OK(vfs_write(w, data, 300));
        if (which == ABORT_RESERVED)
            CHECK_OK(vfs_reserve(w, 300, &room));
    }
    if (which == NEXT || which == LIST_CLOSE)
        CHECK_OK(vfs_list_open(s, &list));
    if (which == UNMAP)
        CHECK_OK(vfs_map(s, "own", &view, NULL));
    uint64_t files = print_of(scratch);
    atomic_store(&failed, 0);
    atomic_store(&countdown, n);
    int32_t status = STATUS(do_call(which));
    atomic_store(&countdown, 0);
    int refused = atomic_load(&failed);
    if (refused && status == VFS_ERR_NO_SPACE && strstr(tiers, "memory")) /* that tier lacks room then */
        status = VFS_ERR_NO_MEMORY;
    if (status != expected(which) && !(refused && status == VFS_ERR_NO_MEMORY))
        FAIL("%s without its allocation %ld: %s: %s", names[which], n, status_name(status), vfs_last_error());
    if (status == VFS_ERR_NO_MEMORY && !ends(which)) {
        if (which != SEAL && print_of(scratch) != files)
            FAIL("%s without its allocation %ld failed, but changed the files", names[which], n);
        CHECK(opened == NULL && (list == NULL || which == NEXT));
        CHECK_IS(vfs_has(s, "new"), 0);
        CHECK_INT(size_of("own"), 1000);
        /* and the same call works the next time */
        int32_t again = which == SEAL ? expected(which) : STATUS(do_call(which));
        if (again != expected(which) && !(which == NEXT && again == VFS_ERR_NOT_FOUND)) /* a listing goes on behind it */
            FAIL("%s fails for good after its allocation %ld: %s", names[which], n, vfs_last_error());
        status = again;
    }
    if (!ends(which)) {
        CHECK_INT(size_of("bystander"), 500);
        if (which == REMOVE || which == REMOVE_OWNED)
            CHECK_IS(vfs_has(s, "own"), 0);
        else
            CHECK_INT(size_of("own"), which == REPLACE || which == PERSIST_OVER ? 2000 : which == REPLACE_ACROSS ? sizeof data : 1000);
        if (which == STORE || which == STORE_LARGE || which == PERSIST)
            CHECK_INT(size_of("new"), which == STORE_LARGE ? sizeof data : 1000);
        CHECK_OK(vfs_store(s, "afterwards", data, 30000, 0));
        CHECK_INT(size_of("afterwards"), 30000);
    }
    QUIET(vfs_unmap(&view));
    if (which != LIST_CLOSE)
        QUIET(vfs_list_close(list));
    QUIET(vfs_close(opened));
    if (needs_writer(which) && which != SEAL && which != ABORT && which != ABORT_RESERVED)
        QUIET(vfs_abort(w));
    else if (which == CREATE || which == CREATE_HINT)
        QUIET(vfs_abort(w));
    if (which == PERSIST)
        CHECK_OK(vfs_remove(s, "new"));
    if (which == PERSIST_OVER)
        CHECK_OK(vfs_remove(s, "own"));
    if (which != CLOSE)
        QUIET(vfs_close(s));
    vfs_t *reaper = open_on(tiers); /* what a shutdown without memory could not remove */
    CHECK_INT(listed_all(reaper), 0);
    QUIET(vfs_close(reaper));
    if (descriptors() != fds)
        FAIL("%s without its allocation %ld: %u descriptors, had %u", names[which], n, descriptors(), fds);
    return refused;
}

int main(int argc, char **argv)
{
    start(argc, argv);
    if (!CAN_REFUSE) {
        skipped("malloc cannot be replaced here");
        return 0;
    }
    unsigned fds = descriptors();
    const char *a = dir_of("a"), *b = dir_of("b");
    static const char *const lists[] = {"%s?max=20K,%s", "%s?max=20K,memory,%s", "memory?max=1200,%s?max=20K,%s"};
    long total = 0;
    for (unsigned round = 0; round < 6; round++) {
#pragma GCC diagnostic ignored "-Wformat-nonliteral"
        snprintf(tiers, sizeof tiers, lists[round / 2], a, b);
        atomic_store(&from_then_on, (int)round % 2);
        long before = total;
        for (int which = 0; which < CALLS; which++) {
            long n = 1;
            while (one(which, n) && n < 300)
                n++;
            CHECK(n < 300); /* few, and the same for every size of store */
            total += n - 1;
        }
        CHECK(total - before > CALLS); /* some were refused, so this does test something */
    }
    CHECK(atomic_load(&logged) > 0);
    tell_points("no memory", total);
    CHECK_INT(descriptors(), fds);
    CHECK_NOTHING_LEFT(a);
    CHECK_NOTHING_LEFT(b);
    return 0;
}

/* Everything at once: processes of several threads store, replace, remove, read, map, list, stream, reap, fork, shut down
 * and open again on few and many keys, over tiers of which some lists have only a part, while they are killed and
 * stopped at random. In calm rounds nothing else happens, and promise P3 is held against a model; in wild rounds a
 * vandal deletes, covers, fills and empties the tiers, and what is read must still be whole and once stored.
 *
 *   soak SCRATCH short               some seconds of each, silent: a test
 *   soak SCRATCH races               on few keys, with nobody killed, and delays where names are made and removed
 *   soak SCRATCH long SECONDS        calm and wild rounds in turn, and at the end a table
 *
 * SOAK_SEED tells the seed; a failure prints it. */
#include "harness.h"

#include <dlfcn.h>
#include <sys/syscall.h>

/* ---- delays: this program stands in for the C library where names are made and removed ---- */

static int racing;

static void dawdle(void)
{
    static _Thread_local uint64_t dice;
    if (!racing)
        return;
    int kept = errno;
    if (dice == 0)
        dice = (uint64_t)(uintptr_t)&dice ^ (uint64_t)getpid() << 32;
    dice = dice * 6364136223846793005u + 1442695040888963407u;
    if (dice >> 62 == 0)
        usleep((useconds_t)(dice >> 40) % 2000);
    errno = kept;
}

#define SLOWED(call)                                                                                                   \
    dawdle();                                                                                                          \
    int answer = (int)(call);                                                                                          \
    dawdle();                                                                                                          \
    return answer

int linkat(int from_dir, const char *from, int to_dir, const char *to, int flags)
{
    SLOWED(syscall(SYS_linkat, from_dir, from, to_dir, to, flags));
}

int unlinkat(int dir, const char *path, int flags)
{
    SLOWED(syscall(SYS_unlinkat, dir, path, flags));
}

int renameat(int from_dir, const char *from, int to_dir, const char *to)
{
    SLOWED(syscall(SYS_renameat, from_dir, from, to_dir, to));
}


/* (the library asks for renameat2 by its number) */
long syscall(long number, ...)
{
    static _Atomic(long (*)(long, ...)) real;
    long (*next)(long, ...) = atomic_load(&real), a[6];
    va_list args;
    va_start(args, number);
    for (int i = 0; i < 6; i++)
        a[i] = va_arg(args, long);
    va_end(args);
    if (!next) {
        *(void **)&next = dlsym(RTLD_NEXT, "syscall");
        atomic_store(&real, next);
    }
    if (number == SYS_renameat2)
        dawdle();
    long answer = next(number, a[0], a[1], a[2], a[3], a[4], a[5]);
    if (number == SYS_renameat2)
        dawdle();
    return answer;
}

/* AddressSanitizer keeps for a while what was freed, and a child that is forked while another thread allocates waits for
 * ever for its allocator. */
#ifdef __SANITIZE_ADDRESS__
enum { SANITIZED = 1 };
#else
enum { SANITIZED = 0 };
#endif

/* ---- who there is ---- */

enum { THREADS = 2, RING = 4096, LARGEST = 200 << 10 };

enum { FULL, TIGHT, LOWER, UPPER, CROSSED, MIXED, LISTS };
static char lists[LISTS][3 * PATH_MAX];

static const struct crew {
    int list, lives, reads_only; /* one that lives is never killed */
} crews[] = {
    {FULL, 1, 0}, {FULL, 0, 0}, {TIGHT, 0, 0}, {TIGHT, 1, 0}, {FULL, 1, 1},
    {LOWER, 0, 0}, {UPPER, 0, 0}, {CROSSED, 0, 0}, {MIXED, 0, 0},
};
enum { WORKERS = sizeof crews / sizeof crews[0], SLOTS = WORKERS * THREADS + 1, MAKER = SLOTS - 1 };

/* Lists with the same tiers in the same order: what one sees, all see. */
static int is_strong(int list)
{
    return list == FULL || list == TIGHT;
}

/* The kinds of keys: persistent and never touched; persistent and only replaced; persistent and never replaced; used in
 * any way; and, for lists that share only some tiers, used in any way. */
enum kind { STILL, KEPT, ONCE, ANY, SHARED };
static const struct {
    enum kind kind;
    int count;
} groups[] = {{STILL, 2}, {KEPT, 4}, {ONCE, 4}, {ANY, 5}, {ANY, 60}, {SHARED, 5}, {SHARED, 60}};
enum { GROUPS = sizeof groups / sizeof groups[0], KEYS = 2 + 4 + 4 + 5 + 60 + 5 + 60 };

static enum kind kind_of(int key)
{
    int group = 0;
    for (; key >= groups[group].count; group++)
        key -= groups[group].count;
    return groups[group].kind;
}

static const char *name_of(int key)
{
    return say("key-%d", key);
}

/* ---- what all know ---- */

enum op { READ, MAP, STAT, LIST, STORE, REPLACE, STREAM, REMOVE, REMOVE_OWNED, REAP, REOPEN, FORK, TIER_STAT, OPS };
static const char *const op_names[] = {"read", "map", "stat and has", "list", "store", "replace", "stream", "remove",
                                       "remove_owned", "reap", "shutdown and reopen", "fork", "tier_stat"};

/* One value of a writer: when its call began and ended. */
struct entry {
    _Atomic uint64_t number, begun, done, failed;
};

/* One thread. Its values are numbered; the ring remembers the last ones. */
struct slot {
    _Atomic uint64_t number, forgotten; /* the last value; when the newest that the ring forgot was done */
    /* What it owned of the numbers beyond `opened` and up to `ended`, those of one handle, was gone at that time. What a
     * killed one left, or one that could not shut down, is there until it is reaped. */
    _Atomic uint64_t ended, opened, ended_at;
    _Atomic int vanishing;              /* the key it removes just now, plus one */
    struct entry ring[RING];
};

struct key {
    _Atomic uint64_t floor; /* a value that was done before this is not the key's any more */
    /* Removals begun; those under way; and 1 + the number of removals with which the key is known to be there. */
    _Atomic uint64_t vanishes, present;
    _Atomic int vanishing;
};

struct figures {
    _Atomic uint64_t ops[OPS], errors[100], judged, seconds, rounds, kills, stops, losses, mounts, fills;
};

static struct world {
    _Atomic int stop, calm;
    struct key keys[KEYS];
    struct slot slots[SLOTS];
} *world;
static struct figures *figures; /* of all rounds */
static int calm;

static uint64_t now_ns(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (uint64_t)t.tv_sec * 1000000000u + (uint64_t)t.tv_nsec;
}

static void raise_to(_Atomic uint64_t *floor, uint64_t to)
{
    uint64_t now = atomic_load(floor);
    while (now < to && !atomic_compare_exchange_weak(floor, &now, to)) {
    }
}

/* A value's seed names its key, its writer, whether it has no owner, and its number. */
static uint64_t begin_value(int slot, int key, int persist)
{
    struct slot *mine = &world->slots[slot];
    uint64_t number = mine->number + 1;
    struct entry *entry = &mine->ring[number % RING];
    if (entry->number)
        raise_to(&mine->forgotten, entry->done ? entry->done : now_ns());
    atomic_store(&entry->number, 0);
    atomic_store(&entry->done, 0);
    atomic_store(&entry->failed, 0);
    atomic_store(&entry->begun, now_ns());
    atomic_store(&entry->number, number);
    atomic_store(&mine->number, number);
    return (uint64_t)key << 50 | (uint64_t)slot << 42 | (uint64_t)persist << 41 | number;
}

static struct entry *entry_of(uint64_t seed)
{
    struct slot *slot = &world->slots[seed >> 42 & 255];
    return &slot->ring[(seed & ((1ull << 41) - 1)) % RING];
}

static void end_value(uint64_t seed, int32_t status)
{
    struct entry *entry = entry_of(seed);
    if (status != VFS_OK)
        atomic_store(&entry->failed, now_ns());
    atomic_store(&entry->done, now_ns());
}

/* ---- a call on a key, and what it may answer ---- */

struct look {
    int key, open, there;
    uint64_t begun, floor, vanishes;
};

/* To be called before the call. */
static struct look look_at(int key)
{
    struct key *k = &world->keys[key];
    struct look look = {.key = key};
    look.vanishes = atomic_load(&k->vanishes);
    look.open = atomic_load(&k->vanishing) == 0;
    look.there = look.open && atomic_load(&k->present) == look.vanishes + 1;
    look.floor = atomic_load(&k->floor);
    look.begun = now_ns();
    return look;
}

static int steady(const struct look *look)
{
    return look->open && atomic_load(&world->keys[look->key].vanishes) == look->vanishes;
}

/* The key was found absent at some time since the look. */
static void judge_absent(const struct look *look, const char *how)
{
    enum kind kind = kind_of(look->key);
    atomic_fetch_add(&figures->judged, 1);
    if (!calm || kind == SHARED)
        return;
    if (kind == STILL || kind == KEPT || (look->there && steady(look)))
        FAIL("%s: %s is missing", how, name_of(look->key));
    raise_to(&world->keys[look->key].floor, look->begun);
}

/* The key was found with this value at some time since the look. */
static void judge(const struct look *look, const void *data, size_t len, const char *how)
{
    uint64_t seed = 0;
    atomic_fetch_add(&figures->judged, 1);
    if (!is_whole(data, len, &seed))
        FAIL("%s: %s is torn: %zu bytes", how, name_of(look->key), len);
    int key = (int)(seed >> 50), slot = (int)(seed >> 42 & 255), persists = (int)(seed >> 41 & 1);
    uint64_t number = seed & ((1ull << 41) - 1);
    if (key != look->key)
        FAIL("%s: %s has the value of key-%d", how, name_of(look->key), key);
    if (slot >= SLOTS || number == 0 || number > atomic_load(&world->slots[slot].number))
        FAIL("%s: %s has a value that was never stored: %d, %" PRIu64, how, name_of(look->key), slot, number);
    if (!calm)
        return;
    struct slot *writer = &world->slots[slot];
    struct entry *entry = entry_of(seed);
    uint64_t begun = atomic_load(&entry->begun), done = atomic_load(&entry->done), failed = atomic_load(&entry->failed);
    int known = atomic_load(&entry->number) == number;
    if (known && failed && failed < look->begun)
        FAIL("%s: %s has the value of a call that had failed", how, name_of(look->key));
    if (!persists && number <= atomic_load(&writer->ended) && number > atomic_load(&writer->opened) &&
        atomic_load(&writer->ended_at) < look->begun)
        FAIL("%s: %s has value %" PRIu64 " of %d, which had shut down", how, name_of(key), number, slot);
    if (kind_of(key) == SHARED)
        return;
    if (!known)
        done = atomic_load(&writer->forgotten);
    if (done && done < look->floor)
        FAIL("%s: %s has value %" PRIu64 " of %d again, which had been removed or replaced", how, name_of(key), number, slot);
    if (known)
        raise_to(&world->keys[key].floor, begun);
}

/* A plain store (of a key that is never replaced) or a replace came to its end. */
static void judge_stored(const struct look *look, int32_t status, int replaced)
{
    struct key *k = &world->keys[look->key];
    enum kind kind = kind_of(look->key);
    if (!calm || kind == SHARED || status != VFS_OK)
        return;
    if (!replaced && (kind == KEPT || (look->there && steady(look))))
        FAIL("%s was there and was stored all the same", name_of(look->key));
    if (kind == ONCE && steady(look) && atomic_exchange(&k->present, look->vanishes + 1) == look->vanishes + 1)
        FAIL("%s has two winners", name_of(look->key));
    raise_to(&k->floor, look->begun);
}

struct me {
    struct crew crew;
    int slot;
    uint64_t dice;
    unsigned char *data;
    vfs_view_t view; /* held for a while */
    struct look view_look;
    vfs_writer_t *writer;
    uint64_t writer_seed;
};

static unsigned roll(uint64_t *dice, unsigned sides)
{
    *dice = *dice * 6364136223846793005u + 1442695040888963407u;
    return (unsigned)(*dice >> 33) % sides;
}

/* Counts a call, and fails on an answer that it may not give. */
static int32_t count(const struct crew *crew, enum op op, int32_t status)
{
    atomic_fetch_add(&figures->ops[op], 1);
    if (status >= 0)
        return status;
    atomic_fetch_add(&figures->errors[-status], 1);
    int fine = status == VFS_ERR_NOT_FOUND || status == VFS_ERR_EXISTS || status == VFS_ERR_SHUTDOWN || status == VFS_ERR_BUSY;
    fine |= status == VFS_ERR_READ_ONLY && crew->reads_only;
    fine |= status == VFS_ERR_NO_SPACE && (crew->list == UPPER || crew->list == MIXED);
    fine |= !calm && (status == VFS_ERR_NO_SPACE || status == VFS_ERR_PERMISSION || status == VFS_ERR_IO ||
                      status == VFS_ERR_UNSUPPORTED || status == VFS_ERR_READ_ONLY);
    if (!fine)
        FAIL("%s answers %s: %s", op_names[op], status_name(status), vfs_last_error());
    return status;
}

/* ---- a worker ---- */

static struct crew crew;
static int worker_number;
static vfs_t *store;
static uint64_t opened_at[THREADS]; /* the last value of each thread when it was opened */
static pthread_rwlock_t handle; /* held for writing by who closes and opens */
static _Atomic int writers_held, shut_badly;
static unsigned descriptors_before;
static long pages_once;
static int reopened;

static int a_key(struct me *me)
{
    int strong = is_strong(me->crew.list) && roll(&me->dice, 5) > 0, at = 0;
    int group = strong ? (int)roll(&me->dice, racing ? 4 : 5) : 5 + (int)roll(&me->dice, racing ? 1 : 2);
    for (int i = 0; i < group; i++)
        at += groups[i].count;
    return at + (int)roll(&me->dice, (unsigned)groups[group].count);
}

static size_t a_length(struct me *me)
{
    switch (roll(&me->dice, 20)) {
    case 0: return 16 + roll(&me->dice, LARGEST - 16);
    case 1:
    case 2: return 16 + roll(&me->dice, 40 << 10);
    default: return 16 + roll(&me->dice, 3000);
    }
}

static uint32_t flags_for(struct me *me, int key)
{
    switch (kind_of(key)) {
    case KEPT: return VFS_PERSIST | (roll(&me->dice, 8) ? VFS_REPLACE : 0);
    case ONCE: return VFS_PERSIST;
    default: return roll(&me->dice, 4); /* any of both flags */
    }
}

static void do_read(struct me *me, vfs_t *s)
{
    size_t len = 0;
    vfs_stat_t stat = VFS_STAT_INIT;
    struct look look = look_at(a_key(me));
    int32_t status = count(&me->crew, READ, STATUS(vfs_read(s, name_of(look.key), 0, me->data, LARGEST, &len, &stat)));
    if (status == VFS_ERR_NOT_FOUND)
        judge_absent(&look, "read");
    if (status == VFS_OK) {
        CHECK_INT(stat.size, len);
        judge(&look, me->data, len, "read");
    }
}

static void end_view(struct me *me)
{
    if (me->view.data)
        judge(&me->view_look, me->view.data, me->view.len, "view held");
    QUIET(vfs_unmap(&me->view));
}

static void do_map(struct me *me, vfs_t *s)
{
    end_view(me);
    struct look look = look_at(a_key(me));
    int32_t status = count(&me->crew, MAP, STATUS(vfs_map(s, name_of(look.key), &me->view, NULL)));
    if (status == VFS_ERR_NOT_FOUND)
        judge_absent(&look, "map");
    if (status == VFS_OK)
        judge(&look, me->view.data, me->view.len, "map");
    me->view_look = look;
    if (roll(&me->dice, 2))
        end_view(me);
}

static void do_stat(struct me *me, vfs_t *s)
{
    vfs_stat_t stat = VFS_STAT_INIT;
    struct look look = look_at(a_key(me));
    int32_t status;
    if (roll(&me->dice, 2)) {
        status = count(&me->crew, STAT, STATUS(vfs_stat(s, name_of(look.key), &stat)));
    } else {
        status = count(&me->crew, STAT, STATUS(vfs_has(s, name_of(look.key))));
        if (status == 0)
            status = VFS_ERR_NOT_FOUND;
    }
    if (status == VFS_ERR_NOT_FOUND)
        judge_absent(&look, "stat");
}

static void do_list(struct me *me, vfs_t *s)
{
    vfs_list_t *list = NULL;
    unsigned times[2] = {0, 0}, max = 10 * KEYS;
    int32_t status = count(&me->crew, LIST, STATUS(vfs_list_open(s, &list)));
    while (status == VFS_OK && max-- > 0) {
        const char *name = NULL;
        vfs_stat_t stat = VFS_STAT_INIT;
        int key = -1;
        status = count(&me->crew, LIST, STATUS(vfs_list_next(list, &name, &stat)));
        if (status != VFS_OK)
            break;
        if (sscanf(name, "key-%d", &key) != 1 || key < 0 || key >= KEYS || stat.size < 16 || stat.size > LARGEST)
            FAIL("\"%s\" of %" PRIu64 " bytes is listed", name, stat.size);
        if (key < 2)
            times[key]++;
    }
    QUIET(vfs_list_close(list));
    if (calm && status == VFS_ERR_NOT_FOUND && is_strong(me->crew.list))
        CHECK(times[0] == 1 && times[1] == 1);
}

static void do_store(struct me *me, vfs_t *s)
{
    int key = a_key(me);
    if (kind_of(key) == STILL)
        return;
    size_t len = a_length(me);
    uint32_t flags = flags_for(me, key);
    uint64_t seed = begin_value(me->slot, key, (flags & VFS_PERSIST) != 0);
    value_at(me->data, len, 0, seed, len);
    struct look look = look_at(key);
    int replaces = (flags & VFS_REPLACE) != 0;
    int32_t status = STATUS(vfs_store(s, name_of(key), me->data, len, flags));
    end_value(seed, status);
    judge_stored(&look, count(&me->crew, replaces ? REPLACE : STORE, status), replaces);
}

static void drop_writer(struct me *me)
{
    if (!me->writer)
        return;
    QUIET(vfs_abort(me->writer));
    me->writer = NULL;
    end_value(me->writer_seed, VFS_ERR_SHUTDOWN);
    atomic_fetch_sub(&writers_held, 1);
}

static void do_stream(struct me *me, vfs_t *s)
{
    drop_writer(me);
    int key = a_key(me);
    if (kind_of(key) == STILL)
        return;
    size_t len = a_length(me), at = 0;
    uint32_t flags = flags_for(me, key);
    vfs_writer_t *w = NULL;
    uint64_t seed = begin_value(me->slot, key, (flags & VFS_PERSIST) != 0);
    struct look look = look_at(key);
    atomic_fetch_add(&writers_held, 1);
    int32_t status = STATUS(vfs_create(s, name_of(key), roll(&me->dice, 2) ? len : 0, flags, &w));
    while (status == VFS_OK && at < len) {
        size_t part = 1 + roll(&me->dice, (unsigned)(len < 4000 ? len : len / 3));
        if (part > len - at)
            part = len - at;
        if (roll(&me->dice, 3)) {
            value_at(me->data, part, at, seed, len);
            status = STATUS(vfs_write(w, me->data, part));
        } else {
            void *room = NULL;
            status = STATUS(vfs_reserve(w, part, &room));
            if (status == VFS_OK)
                value_at(room, part, at, seed, len);
        }
        at += part;
        if (status == VFS_OK && roll(&me->dice, 30) == 0) { /* given up, or kept open for a while */
            me->writer = w;
            me->writer_seed = seed;
            count(&me->crew, STREAM, VFS_OK);
            if (roll(&me->dice, 2))
                drop_writer(me);
            return;
        }
    }
    if (status == VFS_OK)
        status = vfs_seal(w);
    else
        QUIET(vfs_abort(w));
    atomic_fetch_sub(&writers_held, 1);
    end_value(seed, status);
    judge_stored(&look, count(&me->crew, STREAM, status), (flags & VFS_REPLACE) != 0);
}

static void do_remove(struct me *me, vfs_t *s)
{
    int key = a_key(me);
    if (kind_of(key) == STILL || kind_of(key) == KEPT)
        return;
    struct slot *mine = &world->slots[me->slot];
    struct key *k = &world->keys[key];
    atomic_fetch_add(&k->vanishing, 1);
    atomic_store(&mine->vanishing, key + 1);
    atomic_fetch_add(&k->vanishes, 1);
    struct look look = look_at(key);
    int32_t status = count(&me->crew, REMOVE, STATUS(vfs_remove(s, name_of(key))));
    if (calm && kind_of(key) != SHARED && (status == VFS_OK || status == VFS_ERR_NOT_FOUND))
        raise_to(&k->floor, look.begun);
    atomic_store(&mine->vanishing, 0);
    atomic_fetch_sub(&k->vanishing, 1);
}

static void do_remove_owned(struct me *me, vfs_t *s)
{
    const char *keys[3];
    for (int i = 0; i < 3; i++)
        keys[i] = name_of(a_key(me)); /* (persistent ones have no owner) */
    count(&me->crew, REMOVE_OWNED, STATUS(vfs_remove_owned(s, keys, 3)));
}

static void do_tier_stat(struct me *me, vfs_t *s)
{
    vfs_tier_stat_t stat = VFS_TIER_STAT_INIT;
    int32_t status = STATUS(vfs_tier_stat(s, roll(&me->dice, 4), &stat));
    /* its room may be removed under it */
    count(&me->crew, TIER_STAT, status);
}

/* The child reads by its parent's handle, changes nothing, closes it, and uses a store of its own. */
static void do_fork(struct me *me, vfs_t *s)
{
    struct look look = look_at(2); /* one that is only replaced */
    pid_t parent = getpid(), pid = fork();
    SYS(pid);
    if (pid == 0) {
        size_t len = 0;
        vfs_stat_t stat = VFS_STAT_INIT;
        prctl(PR_SET_PDEATHSIG, SIGKILL);
        if (getppid() != parent)
            _exit(0);
        int32_t status = STATUS(vfs_read(s, name_of(2), 0, me->data, LARGEST, &len, &stat));
        if (is_strong(me->crew.list)) {
            if (status == VFS_OK)
                judge(&look, me->data, len, "read by a child");
            else if (status != VFS_ERR_FORKED)
                count(&me->crew, FORK, status);
            if (status == VFS_ERR_NOT_FOUND)
                judge_absent(&look, "read by a child");
        }
        if (status != VFS_ERR_SHUTDOWN) {
            status = STATUS(vfs_store(s, "of a child", "x", 1, VFS_PERSIST));
            CHECK(status == VFS_ERR_FORKED);
            status = STATUS(vfs_remove(s, name_of(2)));
            CHECK(status == VFS_ERR_FORKED);
        }
        QUIET(vfs_close(s));
        vfs_options_t options = VFS_OPTIONS_INIT;
        options.name = "harness";
        options.tiers = lists[me->crew.list];
        s = NULL;
        if (STATUS(vfs_open(&options, &s)) == VFS_OK)
            do_read(me, s);
        QUIET(vfs_close(s));
        _exit(0);
    }
    count(&me->crew, FORK, VFS_OK);
    int state = 0;
    CHECK_INT(waitpid(pid, &state, 0), pid);
    if (state != 0 && !(WIFSIGNALED(state) && WTERMSIG(state) == SIGKILL))
        FAIL("a forked child ended with %d", state);
}

static vfs_t *open_store(void)
{
    vfs_options_t options = VFS_OPTIONS_INIT;
    vfs_t *s = NULL;
    for (int i = 0; i < THREADS; i++)
        opened_at[i] = world->slots[worker_number * THREADS + i].number;
    options.name = "harness";
    options.tiers = lists[crew.list];
    options.flags = crew.reads_only ? VFS_READ_ONLY : 0;
    long long until = now_ms() + PATIENCE_MS;
    while (count(&crew, REOPEN, STATUS(vfs_open(&options, &s))) != VFS_OK) {
        if (now_ms() > until)
            FAIL("no store can be opened: %s", vfs_last_error());
        nap(5);
    }
    return s;
}

static long pages_held(void)
{
    long size = 0, held = 0;
    FILE *f = fopen("/proc/self/statm", "re");
    CHECK(f && fscanf(f, "%ld %ld", &size, &held) == 2);
    fclose(f);
    return held;
}

/* Shuts down while others use the handle; once they are out, closes it and opens another. */
static void do_reopen(struct me *me, vfs_t *s)
{
    if (count(&me->crew, REOPEN, STATUS(vfs_shutdown(s))) != VFS_OK)
        atomic_store(&shut_badly, 1); /* (only the first of several who shut it down is told) */
    pthread_rwlock_unlock(&handle);
    pthread_rwlock_wrlock(&handle);
    if (store == s) {
        QUIET(vfs_close(s));
        for (int i = 0; i < THREADS; i++) {
            struct slot *slot = &world->slots[worker_number * THREADS + i];
            if (!atomic_load(&shut_badly)) {
                atomic_store(&slot->ended_at, now_ns());
                atomic_store(&slot->opened, opened_at[i]);
                atomic_store(&slot->ended, slot->number);
            }
        }
        atomic_store(&shut_badly, 0);
        /* it held nothing, and what it had is given back */
        if (atomic_load(&writers_held) == 0)
            CHECK_INT(descriptors(), descriptors_before);
        if (++reopened == 10)
            pages_once = pages_held();
        if (!SANITIZED && reopened > 10 && pages_held() > pages_once + (16 << 20) / sysconf(_SC_PAGESIZE))
            FAIL("memory grows: %ld pages at first, now %ld", pages_once, pages_held());
        store = open_store();
    }
    pthread_rwlock_unlock(&handle);
    pthread_rwlock_rdlock(&handle);
}

static void *use_store(void *arg)
{
    struct me me = {.crew = crew, .slot = worker_number * THREADS + (int)(intptr_t)arg};
    me.dice = now_ns() ^ (uint64_t)me.slot << 48;
    me.data = malloc(LARGEST);
    CHECK(me.data);
    for (unsigned turn = 1; !atomic_load(&world->stop); turn++) {
        pthread_rwlock_rdlock(&handle);
        unsigned what = roll(&me.dice, 1000);
        if (crew.reads_only && what >= 500 && what < 990)
            what %= 500;
        if (what < 280)
            do_read(&me, store);
        else if (what < 400)
            do_map(&me, store);
        else if (what < 480)
            do_stat(&me, store);
        else if (what < 500)
            do_list(&me, store);
        else if (what < 710)
            do_store(&me, store);
        else if (what < 800)
            do_stream(&me, store);
        else if (what < 940)
            do_remove(&me, store);
        else if (what < 960)
            do_remove_owned(&me, store);
        else if (what < 970)
            count(&crew, REAP, STATUS(vfs_reap(store, NULL)));
        else if (what < 980)
            do_tier_stat(&me, store);
        else if (what < 988 && !SANITIZED)
            do_fork(&me, store);
        else if (what < 996 || crew.reads_only)
            do_reopen(&me, store);
        pthread_rwlock_unlock(&handle);
        if (turn % 50 == 0) {
            drop_writer(&me);
            end_view(&me);
        }
    }
    drop_writer(&me);
    end_view(&me);
    free(me.data);
    return NULL;
}

static void work(void *arg)
{
    pthread_t threads[THREADS];
    pthread_rwlockattr_t kind;
    worker_number = *(int *)arg;
    crew = crews[worker_number];
    pthread_rwlockattr_init(&kind);
    pthread_rwlockattr_setkind_np(&kind, PTHREAD_RWLOCK_PREFER_WRITER_NONRECURSIVE_NP);
    pthread_rwlock_init(&handle, &kind);
    descriptors_before = descriptors();
    store = open_store();
    for (int i = 0; i < THREADS; i++)
        CHECK_INT(pthread_create(&threads[i], NULL, use_store, (void *)(intptr_t)i), 0);
    for (int i = 0; i < THREADS; i++)
        CHECK_INT(pthread_join(threads[i], NULL), 0);
    QUIET(vfs_close(store));
    CHECK_INT(descriptors(), descriptors_before);
}

/* ---- those who begin and end a round ---- */

static const char *tier_dirs[3];

static void begin(void *arg)
{
    (void)arg;
    vfs_t *s = open_on(lists[FULL]), *low = open_on(say("%s?max=1,%s?max=1,%s", tier_dirs[0], tier_dirs[1], tier_dirs[2]));
    for (int key = 0; key < KEYS; key++) {
        if (kind_of(key) != STILL && kind_of(key) != KEPT)
            continue;
        uint64_t seed = begin_value(MAKER, key, 1);
        CHECK_OK(put(key % 2 ? low : s, name_of(key), 500, seed, VFS_PERSIST));
        end_value(seed, VFS_OK);
    }
    QUIET(vfs_close(low));
    QUIET(vfs_close(s));
}

/* All are dead: after one reap nothing is left but persistent blobs, and nothing at all once they are removed. */
static void finish(void *arg)
{
    (void)arg;
    static unsigned char data[LARGEST];
    vfs_t *s = open_on(lists[FULL]);
    CHECK_OK(vfs_reap(s, NULL));
    for (int i = 0; i < 3; i++) {
        const char *owners = say("%s/harness/owners", own_tier_dir(tier_dirs[i], geteuid()));
        if (access(owners, F_OK) == 0)
            CHECK_INT(entries_in(owners), 0);
    }
    for (int key = 0; key < KEYS; key++) {
        size_t len = 0;
        vfs_stat_t stat = VFS_STAT_INIT;
        struct look look = look_at(key);
        int32_t status = STATUS(vfs_read(s, name_of(key), 0, data, sizeof data, &len, &stat));
        if (status == VFS_ERR_NOT_FOUND) {
            judge_absent(&look, "at the end");
            continue;
        }
        CHECK_INT(status, VFS_OK);
        judge(&look, data, len, "at the end");
        CHECK_INT(flags_of(s, name_of(key)), VFS_STAT_PERSISTENT);
        CHECK_INT(listed(s, name_of(key)), 1);
        CHECK_OK(vfs_remove(s, name_of(key)));
        CHECK_ABSENT(s, name_of(key));
    }
    CHECK_INT(listed_all(s), 0);
    QUIET(vfs_close(s));
    for (int i = 0; i < 3; i++)
        CHECK_NOTHING_LEFT(tier_dirs[i]);
}

/* ---- the vandal ---- */

static uint64_t chance;
static int away_number;

/* Removed as by hand, while others make it anew: what cannot be removed now is left, and goes at the end. */
static void delete_some(void)
{
    const char *tier = tier_dirs[roll(&chance, 3)], *own = own_tier_dir(tier, geteuid());
    const char *parts[] = {"", "/harness", "/harness/objects", "/harness/owners", "/\\lock"};
    const char *victim = say("%s%s", own, parts[roll(&chance, 5)]);
    unsigned how = roll(&chance, 3);
    atomic_fetch_add(&figures->losses, 1);
    if (how == 0) {
        char away[PATH_MAX];
        snprintf(away, sizeof away, "%s/away-%d", tier, away_number++);
        if (rename(victim, away) != 0)
            return;
        if (unlink(away) != 0)
            try_remove_tree(away);
    } else if (how == 1) {
        if (unlink(victim) != 0)
            try_remove_tree(victim);
    } else { /* one room, or one blob */
        const char *dir = say("%s/harness/%s", own, roll(&chance, 2) ? "objects" : "owners");
        DIR *d = opendir(dir);
        struct dirent *entry;
        unsigned skip = 2 + roll(&chance, 20);
        while (d && (entry = readdir(d))) {
            if (entry->d_name[0] == '.' || skip-- > 0)
                continue;
            char path[PATH_MAX];
            snprintf(path, sizeof path, "%s/%s", dir, entry->d_name);
            if (unlink(path) != 0)
                try_remove_tree(path);
            break;
        }
        if (d)
            closedir(d);
    }
}

/* What is done to a tier for a while. */
static struct {
    long long until;
    int what;
} harm[2];

static void fill_with_files(const char *dir, int bytes)
{
    static char block[16384];
    for (int i = 0; i < 3000; i++) {
        int fd = open(say("%s/filler-%d", dir, i), O_WRONLY | O_CREAT | O_CLOEXEC | O_APPEND, 0600);
        if (fd < 0)
            break;
        ssize_t wrote = 1;
        while (bytes && (wrote = write(fd, block, sizeof block)) > 0) {
        }
        close(fd);
        if (bytes)
            break;
    }
}

static void harm_tier(int tier)
{
    const char *dir = tier_dirs[tier];
    int what = 1 + (int)roll(&chance, 7);
    switch (what) {
    case 1: /* something is mounted over it */
        SYS(mount("tmpfs", dir, "tmpfs", 0, "size=200k,mode=0777"));
        break;
    case 2: /* read-only, and empty */
        SYS(mount("tmpfs", dir, "tmpfs", MS_RDONLY, "size=200k,mode=0777"));
        break;
    case 3: /* read-only to those who come now */
        SYS(mount(dir, dir, "none", MS_BIND, NULL));
        if (mount(NULL, dir, "none", MS_BIND | MS_REMOUNT | MS_RDONLY, NULL) != 0)
            CHECK_INT(errno, EBUSY); /* somebody writes just now: it stays as it is */
        break;
    case 4:
    case 5:
        fill_with_files(dir, 1);
        atomic_fetch_add(&figures->fills, 1);
        break;
    case 6: /* no inodes */
        fill_with_files(dir, 0);
        atomic_fetch_add(&figures->fills, 1);
        break;
    case 7:
        if (chmod(own_tier_dir(dir, geteuid()), 0755) != 0)
            what = 0;
        break;
    }
    if (what <= 3)
        atomic_fetch_add(&figures->mounts, what > 0);
    harm[tier].what = what;
    harm[tier].until = now_ms() + roll(&chance, 400);
}

static void mend_tier(int tier)
{
    const char *dir = tier_dirs[tier];
    switch (harm[tier].what) {
    case 1:
    case 2:
    case 3: SYS(umount2(dir, MNT_DETACH)); break;
    case 4:
    case 5:
    case 6:
        for (int i = 0; i < 3000 && unlink(say("%s/filler-%d", dir, i)) == 0; i++) {
        }
        break;
    case 7:
        if (chmod(own_tier_dir(dir, geteuid()), 0700) != 0)
            CHECK_INT(errno, ENOENT);
        break;
    }
    harm[tier].what = 0;
}

static void vandalise(void)
{
    for (int tier = 0; tier < 2; tier++)
        if (harm[tier].what && now_ms() > harm[tier].until)
            mend_tier(tier);
    int tier = (int)roll(&chance, 3);
    if (roll(&chance, 3) == 0)
        delete_some();
    else if (tier < 2 && !harm[tier].what)
        harm_tier(tier);
}

/* ---- a round ---- */

static pid_t pids[WORKERS];
static int numbers[WORKERS];
static long long stopped_until[WORKERS];

/* A killed worker's calls are over: what was under way was done, or not, by now. */
static void settle(int worker)
{
    for (int i = 0; i < THREADS; i++) {
        struct slot *slot = &world->slots[worker * THREADS + i];
        for (uint64_t n = slot->number; n > 0 && n + 100 > slot->number; n--) {
            struct entry *entry = &slot->ring[n % RING];
            if (entry->number == n && entry->done == 0)
                atomic_store(&entry->done, now_ns());
        }
        if (slot->vanishing)
            atomic_fetch_sub(&world->keys[slot->vanishing - 1].vanishing, 1);
        slot->vanishing = 0;
    }
}

static void check_workers(void)
{
    int state;
    pid_t pid;
    while ((pid = waitpid(-1, &state, WNOHANG)) > 0)
        for (int i = 0; i < WORKERS; i++)
            if (pids[i] == pid)
                FAIL("worker %d ended with %s %d", i, WIFSIGNALED(state) ? "signal" : "exit code",
                     WIFSIGNALED(state) ? WTERMSIG(state) : WEXITSTATUS(state));
}

/* A word every five minutes. */
static void tell_progress(void)
{
    static long long next;
    long long now = now_ms();
    if (next && now > next) {
        printf("%" PRIu64 " answers checked, %" PRIu64 " kills, %" PRIu64 " s of rounds done\n", figures->judged,
               figures->kills, figures->seconds);
        fflush(stdout);
    }
    if (now > next)
        next = now + 300 * 1000;
}

static void run_round(int is_calm, int seconds, uint64_t seed)
{
    static char what[64];
    snprintf(what, sizeof what, "%s round, SOAK_SEED=%" PRIu64, racing ? "racing" : is_calm ? "calm" : "wild", seed);
    mode = what;
    calm = is_calm;
    chance = seed;
    away_number = 0;
    memset(harm, 0, sizeof harm);
    memset(stopped_until, 0, sizeof stopped_until);
    world = shared_memory(sizeof *world);
    JOIN(start_child(begin, NULL));
    for (int i = 0; i < WORKERS; i++) {
        numbers[i] = i;
        pids[i] = start_child(work, &numbers[i]);
    }
    long long until = now_ms() + 1000ll * seconds;
    while (now_ms() < until) {
        nap(2 + roll(&chance, 40));
        check_workers();
        tell_progress();
        int i = (int)roll(&chance, WORKERS);
        unsigned act = roll(&chance, 10);
        if (racing)
            continue;
        for (int j = 0; j < WORKERS; j++)
            if (stopped_until[j] && now_ms() > stopped_until[j]) {
                SYS(kill(pids[j], SIGCONT));
                stopped_until[j] = 0;
            }
        if (act < 3 && !crews[i].lives) {
            kill_child(pids[i]);
            settle(i);
            stopped_until[i] = 0;
            pids[i] = start_child(work, &numbers[i]);
            atomic_fetch_add(&figures->kills, 1);
        } else if (act == 3 && !stopped_until[i]) {
            SYS(kill(pids[i], SIGSTOP));
            stopped_until[i] = now_ms() + (roll(&chance, 40) ? roll(&chance, 400) : 6000);
            atomic_fetch_add(&figures->stops, 1);
        } else if (act > 5 && !calm) {
            vandalise();
        }
    }
    for (int tier = 0; tier < 2; tier++)
        mend_tier(tier);
    /* some close, others are killed */
    for (int i = 0; i < WORKERS; i++) {
        if (stopped_until[i])
            SYS(kill(pids[i], SIGCONT));
        if (!crews[i].lives && i % 2 && !racing) {
            kill_child(pids[i]);
            settle(i);
            pids[i] = 0;
        }
    }
    atomic_store(&world->stop, 1);
    for (int i = 0; i < WORKERS; i++)
        if (pids[i])
            JOIN(pids[i]);
    while (waitpid(-1, NULL, 0) > 0) { /* children of the killed */
    }
    for (int i = 0; i < away_number; i++) {
        for (int tier = 0; tier < 3; tier++)
            try_remove_tree(say("%s/away-%d", tier_dirs[tier], i));
    }
    JOIN(start_child(finish, NULL));
    SYS(munmap(world, sizeof *world));
    atomic_fetch_add(&figures->seconds, (uint64_t)seconds);
    atomic_fetch_add(&figures->rounds, 1);
}

/* Over three tiers, or two: some lists lack the one or the other. */
static void set_lists(const char *a, const char *b, const char *c)
{
    const char *and_b = b ? say(",%s", b) : "", *and_tight_b = b ? say(",%s?max=200K", b) : "";
    snprintf(lists[FULL], sizeof lists[0], "%s%s,%s", a, and_b, c);
    snprintf(lists[TIGHT], sizeof lists[0], "%s?max=%s%s,%s", a, racing ? "2K" : "60K", and_tight_b, c);
    snprintf(lists[LOWER], sizeof lists[0], "%s,%s", b ? b : c, c);
    snprintf(lists[UPPER], sizeof lists[0], "%s?reserve=10%%%s", a, and_b);
    snprintf(lists[CROSSED], sizeof lists[0], "%s,%s", c, a);
    snprintf(lists[MIXED], sizeof lists[0], "memory?max=40K,%s%s,%s", a, and_b, c);
}

static void print_figures(void)
{
    printf("%-22s %12s\n", "what", "count");
    for (int op = 0; op < OPS; op++)
        printf("%-22s %12" PRIu64 "\n", op_names[op], figures->ops[op]);
    printf("%-22s %12" PRIu64 "\n", "answers checked", figures->judged);
    printf("%-22s %12" PRIu64 "\n", "kills", figures->kills);
    printf("%-22s %12" PRIu64 "\n", "stops", figures->stops);
    printf("%-22s %12" PRIu64 "\n", "directories deleted", figures->losses);
    printf("%-22s %12" PRIu64 "\n", "tiers mounted over", figures->mounts);
    printf("%-22s %12" PRIu64 "\n", "fill and empty", figures->fills);
    for (int code = 1; code < 100; code++)
        if (figures->errors[code])
            printf("%-22s %12" PRIu64 "\n", status_name(-code), figures->errors[code]);
    printf("%-22s %12" PRIu64 "\n%-22s %12" PRIu64 "\n", "rounds", figures->rounds, "seconds", figures->seconds);
    printf("%-22s %12d\n", "violations", 0); /* the first one ends it */
}

int main(int argc, char **argv)
{
    start(argc, argv);
    int is_long = strcmp(mode, "long") == 0, total = is_long && argc == 4 ? atoi(argv[3]) : 12;
    racing = strcmp(mode, "races") == 0;
    if (total <= 0 || !(is_long || racing || strcmp(mode, "short") == 0))
        FAIL("no such mode");
    const char *told = getenv("SOAK_SEED");
    uint64_t seed = told ? strtoull(told, NULL, 10) : now_ns();
    own_mounts();
    SYS(prctl(PR_SET_CHILD_SUBREAPER, 1));
    figures = shared_memory(sizeof *figures);
    const char *a = tmpfs_of("a", "size=1m,nr_inodes=500"), *b = tmpfs_of("b", "size=2m"), *c = dir_of("c");
    tier_dirs[0] = a;
    tier_dirs[1] = b;
    tier_dirs[2] = c;
    set_lists(a, b, c);
    if (racing) {
        run_round(1, 3, seed);
        set_lists(a, NULL, c);
        run_round(1, 3, seed);
        return 0;
    }
    if (is_long) {
        printf("SOAK_SEED=%" PRIu64 "\n", seed);
        fflush(stdout);
    }
    int most = total < 120 ? (total + 1) / 2 : total < 360 ? 60 : total / 6;
    for (int round = 0, left = total; left > 0; round++) {
        int seconds = left < most ? left : most;
        run_round(round % 2 == 0, seconds, seed + (uint64_t)round);
        left -= seconds;
    }
    if (is_long)
        print_figures();
    return 0;
}

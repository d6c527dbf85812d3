/* One key, one value: of any number of processes and threads exactly one stores a key, and no reader ever misses a key
 * that is being replaced, wherever it moves. One MODE a case. */
#include "harness.h"

/* On a machine with far more to do than processors a call may wait in vain for a key that everybody wants: it says so
 * and is made again. */
#undef STATUS
#define STATUS(call)                                                                                                   \
    __extension__({                                                                                                    \
        int32_t h_status;                                                                                              \
        long long h_until = now_ms() + PATIENCE_MS;                                                                    \
        do {                                                                                                           \
            errno = ERRNO_MARK;                                                                                        \
            h_status = (call);                                                                                         \
            if (errno != ERRNO_MARK)                                                                                   \
                FAIL("%s changed errno to %d", #call, errno);                                                          \
        } while (h_status == VFS_ERR_BUSY && now_ms() < h_until);                                                      \
        h_status;                                                                                                      \
    })

static const char *tiers;

/* ---- storing at once ---- */

enum { PROCESSES = 4, THREADS = 2, ALL = PROCESSES * THREADS, ROUNDS = 120 };

static struct arena {
    pthread_barrier_t barrier;
    _Atomic int won[ROUNDS], winner[ROUNDS], tier_used[4];
} *arena;

struct runner {
    vfs_t *store;
    int number;
};

static const size_t SIZES[3] = {8 << 10, 80 << 10, 300 << 10};

static void *race(void *arg)
{
    struct runner *me = arg;
    for (int round = 0; round < ROUNDS; round++) {
        const char *key = say("race-%d", round);
        size_t len = SIZES[(me->number + round / 3) % 3];
        uint64_t seed = (uint64_t)(round * 1000 + me->number);
        unsigned char *data = new_value(len, seed);
        vfs_writer_t *w = NULL;
        int32_t status;
        int by_parts = (me->number + round) % 4 != 0; /* then they publish at the same instant */
        if (by_parts) {
            CHECK_OK(vfs_create(me->store, key, 0, 0, &w));
            CHECK_OK(vfs_write(w, data, len));
        }
        pthread_barrier_wait(&arena->barrier);
        if (by_parts)
            status = vfs_seal(w); /* once: it ends the writer */
        else
            status = STATUS(vfs_store(me->store, key, data, len, round % 5 ? 0 : VFS_PERSIST));
        free(data);
        if (status == VFS_OK) {
            atomic_fetch_add(&arena->won[round], 1);
            atomic_store(&arena->winner[round], me->number);
        } else {
            CHECK_INT(status, VFS_ERR_EXISTS);
        }
        pthread_barrier_wait(&arena->barrier);
        CHECK_INT(atomic_load(&arena->won[round]), 1);
        int winner = atomic_load(&arena->winner[round]);
        CHECK_VALUE(me->store, key, SIZES[(winner + round / 3) % 3], round * 1000 + winner);
        CHECK_INT(listed(me->store, key), 1);
        if (winner == me->number)
            atomic_fetch_add(&arena->tier_used[tier_of(me->store, key)], 1);
        CHECK_IS(vfs_store(me->store, key, "x", 1, 0), VFS_ERR_EXISTS);
        pthread_barrier_wait(&arena->barrier);
        /* all remove it at once: one does */
        status = STATUS(vfs_remove(me->store, key));
        if (status == VFS_OK)
            atomic_fetch_add(&arena->won[round], 1);
        else
            CHECK_INT(status, VFS_ERR_NOT_FOUND);
        pthread_barrier_wait(&arena->barrier);
        CHECK_INT(atomic_load(&arena->won[round]), 2);
        CHECK_ABSENT(me->store, key);
    }
    return NULL;
}

static void racing_process(void *arg)
{
    int number = *(int *)arg;
    vfs_t *s = open_on(tiers);
    pthread_t threads[THREADS];
    struct runner runners[THREADS];
    for (int i = 0; i < THREADS; i++) {
        runners[i] = (struct runner){s, number * THREADS + i};
        CHECK_INT(pthread_create(&threads[i], NULL, race, &runners[i]), 0);
    }
    for (int i = 0; i < THREADS; i++)
        CHECK_INT(pthread_join(threads[i], NULL), 0);
    QUIET(vfs_close(s));
}

static void storing(void)
{
    own_mounts();
    const char *a = tmpfs_of("a", "size=64k"), *b = tmpfs_of("b", "size=1m"), *c = dir_of("c");
    tiers = say("%s,%s,%s", a, b, c);
    fill_up(b, 250 << 10);
    arena = shared_memory(sizeof *arena);
    pthread_barrierattr_t shared;
    pthread_barrierattr_init(&shared);
    pthread_barrierattr_setpshared(&shared, PTHREAD_PROCESS_SHARED);
    CHECK_INT(pthread_barrier_init(&arena->barrier, &shared, ALL), 0);
    char keep[3 * PATH_MAX];
    snprintf(keep, sizeof keep, "%s", tiers);
    tiers = keep;
    pid_t pids[PROCESSES];
    int numbers[PROCESSES];
    for (int i = 0; i < PROCESSES; i++) {
        numbers[i] = i;
        pids[i] = start_child(racing_process, &numbers[i]);
    }
    JOIN_ALL(pids, PROCESSES);
    /* they did land on different tiers */
    CHECK(arena->tier_used[0] > 0 && arena->tier_used[1] > 0 && arena->tier_used[2] > 0);
    CHECK_NOTHING_LEFT(a);
    CHECK_NOTHING_LEFT(b);
    CHECK_NOTHING_LEFT(c);
}

/* ---- replacing while others read ---- */

static struct storm {
    _Atomic int ready, stop, writers_done, reads, moves[3];
    _Atomic int unordered; /* several writers: no order to hold a reader to */
} *storm;

/* In a file, so that a program that we start sees it too. */
static void map_storm(void)
{
    int fd = open(say("%s/storm", scratch), O_RDWR | O_CREAT | O_CLOEXEC, 0600);
    SYS(fd);
    SYS(ftruncate(fd, sizeof *storm));
    storm = mmap(NULL, sizeof *storm, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    CHECK(storm != MAP_FAILED);
    close(fd);
}

static char lists[3][3 * PATH_MAX]; /* through the first the key goes to tier 0, through the others to 1 and 2 */

static void replacing(void *arg)
{
    int number = *(int *)arg, replaces = 300;
    vfs_t *stores[3];
    for (int i = 0; i < 3; i++)
        stores[i] = open_on(lists[i]);
    static const int path[] = {0, 1, 0, 2, 1, 2, 0, 0, 2, 2, 1, 1}; /* up, down and up again */
    atomic_fetch_add(&storm->ready, 1);
    AWAIT(&storm->ready, 4);
    for (int i = 0; i < replaces; i++) {
        int to = path[(i + number * 5) % 12];
        size_t len = 16 + (size_t)(i * 7919 % 30000);
        CHECK_OK(put(stores[to], "hot", len, (uint64_t)(i + 1), VFS_REPLACE | (i % 7 == 3 ? VFS_PERSIST : 0)));
        if (!atomic_load(&storm->unordered)) {
            CHECK_INT(tier_of(stores[0], "hot"), to);
            atomic_fetch_add(&storm->moves[to], 1);
        }
    }
    /* the last value must outlive its storer */
    CHECK_OK(put(stores[0], "hot", 50, 1u << 30, VFS_REPLACE | VFS_PERSIST));
    atomic_fetch_add(&storm->writers_done, 1);
    AWAIT(&storm->stop, 1);
    for (int i = 0; i < 3; i++)
        QUIET(vfs_close(stores[i]));
}

static void check_seen(uint64_t *last, const void *data, size_t len, const char *how)
{
    uint64_t seed = 0;
    if (!is_whole(data, len, &seed))
        FAIL("a reader (%s) saw a torn value of %zu bytes", how, len);
    if (!atomic_load(&storm->unordered) && seed < *last)
        FAIL("a reader (%s) saw value %llu after %llu", how, (unsigned long long)seed, (unsigned long long)*last);
    *last = seed;
}

static void reading(void *arg)
{
    int number = *(int *)arg;
    vfs_t *s = open_as(lists[0], "harness", number % 2 ? VFS_READ_ONLY : 0);
    unsigned char *buffer = malloc(40000);
    uint64_t last = 0;
    CHECK(buffer);
    atomic_fetch_add(&storm->ready, 1);
    AWAIT(&storm->ready, 4);
    int reads = 0;
    while (!atomic_load(&storm->stop)) {
        size_t len = 0;
        vfs_stat_t stat = VFS_STAT_INIT;
        vfs_view_t view = {0};
        CHECK_OK(vfs_read(s, "hot", 0, buffer, 40000, &len, &stat));
        CHECK_INT(stat.size, len);
        check_seen(&last, buffer, len, "vfs_read");
        CHECK_OK(vfs_map(s, "hot", &view, &stat));
        CHECK_INT(stat.size, view.len);
        check_seen(&last, view.data, view.len, "vfs_map");
        CHECK_IS(vfs_has(s, "hot"), 1);
        CHECK_OK(vfs_stat(s, "hot", &stat));
        CHECK_IS(vfs_store(s, "hot", "x", 1, 0), number % 2 ? VFS_ERR_READ_ONLY : VFS_ERR_EXISTS);
        CHECK(is_whole(view.data, view.len, NULL)); /* whatever came meanwhile */
        QUIET(vfs_unmap(&view));
        reads++;
    }
    atomic_fetch_add(&storm->reads, reads);
    free(buffer);
    QUIET(vfs_close(s));
}

static void run_storm(int writers)
{
    int numbers[4] = {0, 1, 2, 3};
    pid_t pids[4];
    map_storm();
    atomic_store(&storm->unordered, writers > 1);
    vfs_t *s = open_on(lists[0]);
    CHECK_OK(put(s, "hot", 100, 0, 0));
    for (int i = 0; i < 4; i++)
        pids[i] = start_child(i < writers ? replacing : reading, &numbers[i]);
    long long until = now_ms() + PATIENCE_MS;
    while (atomic_load(&storm->writers_done) < writers) {
        int state;
        for (int i = 0; i < 4; i++)
            if (waitpid(pids[i], &state, WNOHANG) == pids[i])
                FAIL("child %d ended early, with %d", i, state);
        CHECK(now_ms() < until);
        nap(1);
    }
    atomic_store(&storm->stop, 1);
    JOIN_ALL(pids, 4);
    CHECK(storm->reads > 20);
    CHECK_VALUE(s, "hot", 50, 1u << 30);
    CHECK_INT(listed(s, "hot"), 1);
    CHECK_OK(vfs_remove(s, "hot"));
    CHECK_ABSENT(s, "hot");
    CHECK_INT(listed_all(s), 0);
    QUIET(vfs_close(s));
}

static void three_lists(const char *a, const char *b, const char *c)
{
    snprintf(lists[0], sizeof lists[0], "%s,%s,%s", a, b, c);
    snprintf(lists[1], sizeof lists[1], "%s?max=1,%s,%s", a, b, c);
    snprintf(lists[2], sizeof lists[2], "%s?max=1,%s?max=1,%s", a, b, c);
}

static void replaced(int writers)
{
    const char *a = dir_of("a"), *b = dir_of("b"), *c = dir_of("c");
    three_lists(a, b, c);
    run_storm(writers);
    if (writers == 1)
        CHECK(storm->moves[0] > 20 && storm->moves[1] > 20 && storm->moves[2] > 20);
    CHECK_NOTHING_LEFT(a);
    CHECK_NOTHING_LEFT(b);
    CHECK_NOTHING_LEFT(c);
}

static void replaced_by_one(void)
{
    replaced(1);
}

static void replaced_by_two(void)
{
    replaced(2);
}

static void replaced_by_three(void)
{
    replaced(3);
}

/* The same within one tier. */
static void replaced_in_place(void)
{
    const char *a = dir_of("a");
    for (int i = 0; i < 3; i++)
        snprintf(lists[i], sizeof lists[i], "%s", a);
    run_storm(2);
    CHECK_NOTHING_LEFT(a);
}

/* The first tier takes some of the values and is too full for others. */
static void replaced_on_full(void)
{
    own_mounts();
    const char *a = tmpfs_of("a", "size=64k"), *b = tmpfs_of("b", "size=80k"), *c = dir_of("c");
    for (int i = 0; i < 3; i++)
        snprintf(lists[i], sizeof lists[i], "%s,%s,%s", a, b, c);
    fill_up(a, 16 << 10);
    run_storm(2);
    CHECK_NOTHING_LEFT(a);
    CHECK_NOTHING_LEFT(b);
    CHECK_NOTHING_LEFT(c);
}

/* A reader so slow that the key moves between any two of its system calls. */
static void moving(void *arg)
{
    (void)arg;
    vfs_t *stores[3];
    for (int i = 0; i < 3; i++)
        stores[i] = open_on(lists[i]);
    for (int i = 1; !atomic_load(&storm->stop); i++)
        CHECK_OK(put(stores[i * 7 % 11 % 3], "hot", 16 + (size_t)(i % 100), (uint64_t)i, VFS_REPLACE));
    for (int i = 0; i < 3; i++)
        QUIET(vfs_close(stores[i]));
}

static void slow_reading(void)
{
    leave_at_end();
    map_storm();
    three_lists(path_of("a"), path_of("b"), path_of("c"));
    vfs_t *s = open_as(lists[0], "harness", VFS_READ_ONLY);
    for (int i = 0; i < 40; i++) {
        unsigned char got[200];
        size_t len = 0;
        vfs_view_t view = {0};
        vfs_stat_t stat = VFS_STAT_INIT;
        CHECK_IS(vfs_has(s, "hot"), 1);
        CHECK_OK(vfs_stat(s, "hot", &stat));
        CHECK_OK(vfs_read(s, "hot", 0, got, sizeof got, &len, NULL));
        CHECK(is_whole(got, len, NULL));
        CHECK_OK(vfs_map(s, "hot", &view, NULL));
        CHECK(is_whole(view.data, view.len, NULL));
        QUIET(vfs_unmap(&view));
        atomic_fetch_add(&storm->reads, 1);
    }
    QUIET(vfs_close(s));
}

static void slowed(void *arg)
{
    int null = open("/dev/null", O_RDWR);
    dup2(null, 0);
    execlp("strace", "strace", "-q", "-o", "/dev/null", "-e", "trace=openat,newfstatat", "-e",
           "inject=openat,newfstatat:delay_enter=900", (char *)arg, scratch, "slow-reading", (char *)NULL);
    _exit(127);
}

static void replaced_under_slow_reader(void)
{
    static char self[PATH_MAX];
    const char *a = dir_of("a"), *b = dir_of("b"), *c = dir_of("c");
    CHECK(readlink("/proc/self/exe", self, sizeof self - 1) > 0);
    if (system("strace -o /dev/null -e trace=getppid true >/dev/null 2>&1") != 0) {
        skipped("no strace here, or it may not trace");
        return;
    }
    three_lists(a, b, c);
    map_storm();
    vfs_t *s = open_on(lists[0]);
    CHECK_OK(put(s, "hot", 100, 0, 0));
    pid_t writer = start_child(moving, NULL), reader = start_child(slowed, self);
    JOIN(reader);
    CHECK_INT(storm->reads, 40);
    atomic_store(&storm->stop, 1);
    JOIN(writer);
    CHECK_ABSENT(s, "hot"); /* its last owner closed */
    QUIET(vfs_close(s));
    CHECK_NOTHING_LEFT(a);
    CHECK_NOTHING_LEFT(b);
    CHECK_NOTHING_LEFT(c);
}

/* ---- storing and removing at random: the books balance ---- */

static struct books {
    _Atomic int stored[3], removed[3], ready;
} *books;

static void dealing(void *arg)
{
    int number = *(int *)arg;
    vfs_t *s[3];
    for (int i = 0; i < 3; i++)
        s[i] = open_on(lists[i]);
    uint64_t dice = (uint64_t)number * 977 + 1;
    atomic_fetch_add(&books->ready, 1);
    AWAIT(&books->ready, 4);
    for (int i = 0; i < 400; i++) {
        dice = dice * 6364136223846793005u + 1442695040888963407u;
        int key = (int)(dice >> 33) % 3, what = (int)(dice >> 40) % 5, by = (int)(dice >> 50) % 3;
        const char *name = say("key-%d", key);
        int32_t status;
        if (what < 2) {
            status = STATUS(put(s[by], name, 16 + (size_t)(dice >> 55) * 10, dice, VFS_PERSIST));
            CHECK(status == VFS_OK || status == VFS_ERR_EXISTS);
            atomic_fetch_add(&books->stored[key], status == VFS_OK);
        } else if (what < 4) {
            status = STATUS(vfs_remove(s[by], name));
            CHECK(status == VFS_OK || status == VFS_ERR_NOT_FOUND);
            atomic_fetch_add(&books->removed[key], status == VFS_OK);
        } else {
            unsigned char got[6000];
            size_t len;
            status = STATUS(vfs_read(s[by], name, 0, got, sizeof got, &len, NULL));
            CHECK(status == VFS_ERR_NOT_FOUND || (status == VFS_OK && is_whole(got, len, NULL)));
        }
    }
    for (int i = 0; i < 3; i++)
        QUIET(vfs_close(s[i]));
}

static void balance(void)
{
    const char *a = dir_of("a"), *b = dir_of("b"), *c = dir_of("c");
    three_lists(a, b, c);
    books = shared_memory(sizeof *books);
    int numbers[4] = {0, 1, 2, 3};
    pid_t pids[4];
    for (int i = 0; i < 4; i++)
        pids[i] = start_child(dealing, &numbers[i]);
    JOIN_ALL(pids, 4);
    vfs_t *s = open_on(lists[0]);
    for (int i = 0; i < 3; i++) {
        const char *name = say("key-%d", i);
        int there = STATUS(vfs_has(s, name));
        CHECK_INT(books->stored[i] - books->removed[i], there);
        CHECK(books->stored[i] > 10);
        CHECK_INT(listed(s, name), there);
        if (there)
            CHECK_OK(vfs_remove(s, name));
    }
    QUIET(vfs_close(s));
    CHECK_NOTHING_LEFT(a);
    CHECK_NOTHING_LEFT(b);
    CHECK_NOTHING_LEFT(c);
}

/* ---- stores that share some of their tiers ---- */

static void shared_tiers(void)
{
    const char *a = dir_of("a"), *b = dir_of("b"), *c = dir_of("c");
    vfs_t *one = open_on(say("%s?max=1K,%s", a, b)), *two = open_on(say("%s,%s", b, c));
    vfs_t *mem = open_on(say("memory?max=1K,%s", b));
    CHECK_OK(put(one, "on-a", 1000, 1, 0));
    CHECK_OK(put(one, "on-b", 2000, 2, 0));
    CHECK_OK(put(two, "too", 2000, 3, 0));
    CHECK_VALUE(two, "on-b", 2000, 2);
    CHECK_VALUE(one, "too", 2000, 3);
    CHECK_ABSENT(two, "on-a");
    CHECK_IS(put(two, "on-b", 10, 4, 0), VFS_ERR_EXISTS);
    CHECK_IS(put(one, "too", 10, 4, 0), VFS_ERR_EXISTS);
    CHECK_IS(put(mem, "too", 10, 4, 0), VFS_ERR_EXISTS);
    CHECK_OK(put(one, "too", 20, 5, VFS_REPLACE));
    CHECK_VALUE(one, "too", 20, 5);
    CHECK_ABSENT(two, "too"); /* it moved to a tier that the other does not have */
    CHECK_OK(vfs_remove(two, "on-b"));
    CHECK_ABSENT(one, "on-b");
    /* memory is seen by its handle alone, which looks there first */
    CHECK_OK(put(mem, "mine", 500, 6, 0));
    CHECK_ABSENT(one, "mine");
    CHECK_OK(put(one, "mine", 2000, 7, 0));
    CHECK_VALUE(mem, "mine", 500, 6);
    CHECK_VALUE(one, "mine", 2000, 7);
    CHECK_IS(put(mem, "mine", 5, 8, 0), VFS_ERR_EXISTS);
    CHECK_OK(vfs_remove(mem, "mine"));
    CHECK_VALUE(one, "mine", 2000, 7);
    CHECK_VALUE(mem, "mine", 2000, 7);
    QUIET(vfs_close(mem));
    QUIET(vfs_close(two));
    QUIET(vfs_close(one));
    CHECK_NOTHING_LEFT(a);
    CHECK_NOTHING_LEFT(b);
    CHECK_NOTHING_LEFT(c);
}

/* ---- the same tiers in another order: nobody blocks the other ---- */

static void crossing(void *arg)
{
    int number = *(int *)arg;
    vfs_t *s = open_on(lists[number % 2]);
    atomic_fetch_add(&books->ready, 1);
    AWAIT(&books->ready, 4);
    for (int i = 0; i < 300; i++) {
        const char *key = say("key-%d", i % 2);
        unsigned char got[6000];
        size_t len;
        uint32_t flags = i % 3 ? VFS_REPLACE | VFS_PERSIST : VFS_PERSIST;
        int32_t status = STATUS(put(s, key, 16 + (size_t)i * 10, (uint64_t)i, flags));
        CHECK(status == VFS_OK || (i % 3 == 0 && status == VFS_ERR_EXISTS));
        status = STATUS(vfs_read(s, key, 0, got, sizeof got, &len, NULL));
        CHECK(status == VFS_ERR_NOT_FOUND || (status == VFS_OK && is_whole(got, len, NULL)));
        if (i % 4 == 3) {
            status = STATUS(vfs_remove(s, key));
            CHECK(status == VFS_OK || status == VFS_ERR_NOT_FOUND);
        }
    }
    QUIET(vfs_close(s));
}

static void crossed_lists(void)
{
    const char *a = dir_of("a"), *b = dir_of("b");
    snprintf(lists[0], sizeof lists[0], "%s,%s", a, b);
    snprintf(lists[1], sizeof lists[1], "%s,%s", b, a);
    books = shared_memory(sizeof *books);
    int numbers[4] = {0, 1, 2, 3};
    pid_t pids[4];
    for (int i = 0; i < 4; i++)
        pids[i] = start_child(crossing, &numbers[i]);
    JOIN_ALL(pids, 4);
    vfs_t *s = open_on(lists[0]), *other = open_on(lists[1]);
    for (int i = 0; i < 2; i++) {
        const char *key = say("key-%d", i);
        int32_t there = STATUS(vfs_has(s, key));
        CHECK_IS(vfs_has(other, key), there);
        if (there)
            CHECK_OK(vfs_remove(s, key));
        CHECK_ABSENT(other, key); /* it had one name only */
    }
    QUIET(vfs_close(other));
    QUIET(vfs_close(s));
    CHECK_NOTHING_LEFT(a);
    CHECK_NOTHING_LEFT(b);
}

int main(int argc, char **argv)
{
    static const struct {
        const char *name;
        void (*run)(void);
    } modes[] = {
        {"storing", storing},
        {"replaced-by-one", replaced_by_one},
        {"replaced-by-two", replaced_by_two},
        {"replaced-by-three", replaced_by_three},
        {"replaced-in-place", replaced_in_place},
        {"replaced-on-full", replaced_on_full},
        {"replaced-under-slow-reader", replaced_under_slow_reader},
        {"slow-reading", slow_reading},
        {"balance", balance},
        {"crossed-lists", crossed_lists},
        {"shared-tiers", shared_tiers},
    };
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

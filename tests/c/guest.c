/* A good guest: signals, cancellation, closed standard streams, small stacks, stopped neighbours. One MODE a case. */
#include "harness.h"

static const char *A, *B;
static char tiers[2 * PATH_MAX + 16];

static void two_tiers(void)
{
    A = dir_of("a");
    B = dir_of("b");
    snprintf(tiers, sizeof tiers, "%s?max=20K,%s", A, B);
}

static void nothing_left(void)
{
    CHECK_NOTHING_LEFT(A);
    CHECK_NOTHING_LEFT(B);
}

/* Some of every call, good and bad. */
static void workout(vfs_t *s, int number)
{
    static const unsigned char zeroes[40000];
    char k[64], j[64];
    snprintf(k, sizeof k, "work-%d", number);
    snprintf(j, sizeof j, "work-too-%d", number);
    vfs_writer_t *w = NULL;
    vfs_view_t view = {0};
    vfs_stat_t stat = VFS_STAT_INIT;
    vfs_tier_stat_t tier = VFS_TIER_STAT_INIT;
    vfs_list_t *list = NULL;
    void *room = NULL;
    const char *key, *keys[1] = {j};
    unsigned char got[300];
    size_t len;
    CHECK_OK(vfs_store(s, k, zeroes, 5000, 0));
    CHECK_IS(vfs_store(s, k, zeroes, 5000, 0), VFS_ERR_EXISTS);
    CHECK_OK(vfs_store(s, k, zeroes, 30000, VFS_REPLACE));
    CHECK_OK(vfs_read(s, k, 29900, got, sizeof got, &len, &stat));
    CHECK_INT(len, 100);
    CHECK_OK(vfs_map(s, k, &view, NULL));
    CHECK(view.len == 30000 && memcmp(view.data, zeroes, 30000) == 0);
    CHECK_OK(vfs_create(s, j, 0, 0, &w));
    CHECK_OK(vfs_write(w, zeroes, 4000));
    CHECK_OK(vfs_reserve(w, 4000, &room));
    memset(room, 7, 4000);
    CHECK_OK(vfs_write(w, zeroes, 30000));
    CHECK_OK(vfs_seal(w));
    CHECK_OK(vfs_read(s, j, 4000, got, 1, &len, NULL));
    CHECK_INT(got[0], 7);
    CHECK_OK(vfs_create(s, "given-up", 0, VFS_REPLACE, &w));
    CHECK_OK(vfs_write(w, zeroes, 40000));
    QUIET(vfs_abort(w));
    CHECK_IS(vfs_has(s, k), 1);
    CHECK_IS(vfs_has(s, "nobody"), 0);
    CHECK_OK(vfs_stat(s, k, &stat));
    CHECK_IS(vfs_stat(s, "a/b", &stat), VFS_ERR_KEY);
    CHECK_OK(vfs_list_open(s, &list));
    CHECK_OK(vfs_list_next(list, &key, &stat));
    QUIET(vfs_list_close(list));
    CHECK_OK(vfs_tier_stat(s, 0, &tier));
    CHECK_OK(vfs_reap(s, NULL));
    CHECK_OK(vfs_store(s, k, zeroes, 10, VFS_REPLACE | VFS_PERSIST));
    CHECK_OK(vfs_remove(s, k));
    CHECK_IS(vfs_remove(s, k), VFS_ERR_NOT_FOUND);
    CHECK_OK(vfs_remove_owned(s, keys, 1));
    CHECK(memcmp(view.data, zeroes, 30000) == 0);
    QUIET(vfs_unmap(&view));
}

/* ---- signals ---- */

static void same_action(const struct sigaction *was, const struct sigaction *is, int number)
{
    int same = was->sa_handler == is->sa_handler && was->sa_flags == is->sa_flags;
    for (int i = 1; same && i < 65; i++)
        same = sigismember(&was->sa_mask, i) == sigismember(&is->sa_mask, i);
    if (!same)
        FAIL("the handler of signal %d was changed", number);
}

static void signals(void)
{
    struct sigaction before[65], after;
    sigset_t mask, mask_after;
    two_tiers();
    memset(before, 0, sizeof before);
    for (int i = 1; i < 65; i++)
        sigaction(i, NULL, &before[i]);
    sigprocmask(SIG_BLOCK, NULL, &mask);
    vfs_t *s = open_on(tiers);
    struct rlimit limit;
    SYS(getrlimit(RLIMIT_FSIZE, &limit));
    for (int round = 0; round < 4; round++) {
        workout(s, round);
        if (round == 2) {
            limit.rlim_cur = 1000;
            SYS(setrlimit(RLIMIT_FSIZE, &limit));
            CHECK_IS(put(s, "big", 5000, 1, 0), VFS_ERR_NO_SPACE);
            limit.rlim_cur = limit.rlim_max;
            SYS(setrlimit(RLIMIT_FSIZE, &limit));
        }
        if (round == 3)
            QUIET(vfs_close(s));
        for (int i = 1; i < 65; i++) {
            memset(&after, 0, sizeof after);
            sigaction(i, NULL, &after);
            same_action(&before[i], &after, i);
        }
        memset(&mask_after, 0, sizeof mask_after);
        sigprocmask(SIG_BLOCK, NULL, &mask_after);
        for (int i = 1; i < 65; i++)
            CHECK_INT(sigismember(&mask_after, i), sigismember(&mask, i));
        CHECK_INT(threads_running(), 1);
    }
    nothing_left();
}

static volatile sig_atomic_t alarms;

static void on_alarm(int number)
{
    (void)number;
    alarms++;
}

/* Interrupted all the time by a handler without SA_RESTART. */
static void interrupted(void)
{
    two_tiers();
    struct sigaction action;
    memset(&action, 0, sizeof action);
    action.sa_handler = on_alarm;
    SYS(sigaction(SIGALRM, &action, NULL));
    timer_t timer;
    struct sigevent event;
    memset(&event, 0, sizeof event);
    event.sigev_notify = SIGEV_SIGNAL;
    event.sigev_signo = SIGALRM;
    SYS(timer_create(CLOCK_MONOTONIC, &event, &timer));
    struct itimerspec often = {{0, 150000}, {0, 150000}};
    SYS(timer_settime(timer, 0, &often, NULL));
    vfs_t *s = open_on(tiers);
    unsigned char *data = new_value(8 << 20, 3);
    for (int round = 0; round < 40 || (alarms < 200 && round < 2000); round++) {
        workout(s, round);
        if (round % 10 == 0) {
            CHECK_OK(vfs_store(s, "eight", data, 8 << 20, VFS_REPLACE));
            CHECK_VALUE(s, "eight", 8 << 20, 3);
        }
    }
    QUIET(vfs_close(s));
    memset(&often, 0, sizeof often);
    SYS(timer_settime(timer, 0, &often, NULL));
    timer_delete(timer);
    free(data);
    CHECK(alarms > 100);
    nothing_left();
}

/* ---- pthread_cancel ---- */

struct victim {
    vfs_t *s;
    int number, before_any;
    _Atomic int inside, turns;
};

static void *to_be_cancelled(void *arg)
{
    struct victim *me = arg;
    int old = -1;
    for (;;) {
        atomic_store(&me->inside, 1);
        workout(me->s, me->number);
        CHECK_INT(pthread_setcancelstate(PTHREAD_CANCEL_ENABLE, &old), 0);
        CHECK_INT(old, PTHREAD_CANCEL_ENABLE);
        atomic_store(&me->inside, 0);
        atomic_fetch_add(&me->turns, 1);
        pthread_testcancel();
    }
    return NULL;
}

static void *not_to_be_cancelled(void *arg)
{
    struct victim *me = arg;
    int old = -1;
    pthread_setcancelstate(PTHREAD_CANCEL_DISABLE, &old);
    pthread_setcanceltype(PTHREAD_CANCEL_ASYNCHRONOUS, &old);
    pthread_cancel(pthread_self());
    workout(me->s, me->number);
    pthread_setcanceltype(PTHREAD_CANCEL_DEFERRED, &old);
    CHECK_INT(old, PTHREAD_CANCEL_ASYNCHRONOUS);
    pthread_setcancelstate(PTHREAD_CANCEL_DISABLE, &old);
    CHECK_INT(old, PTHREAD_CANCEL_DISABLE);
    return me;
}

static void cancelled(void)
{
    two_tiers();
    vfs_t *s = open_on(tiers);
    workout(s, 0);
    CHECK_OK(put(s, "first", 30000, 1, 0));
    CHECK_OK(put(s, "first-small", 300, 1, 0));
    unsigned fds = descriptors();
    for (int i = 0; i < 150; i++) {
        pthread_t thread;
        struct victim v = {.s = s, .number = i};
        void *result = NULL;
        CHECK_INT(pthread_create(&thread, NULL, to_be_cancelled, &v), 0);
        if (i % 3)
            AWAIT(&v.turns, 1);
        usleep((useconds_t)(i * 37 % 1500));
        CHECK_INT(pthread_cancel(thread), 0);
        CHECK_INT(pthread_join(thread, &result), 0);
        CHECK(result == PTHREAD_CANCELED);
        CHECK_INT(atomic_load(&v.inside), 0); /* not in the midst of a call */
        CHECK_INT(descriptors(), fds);
    }
    struct victim v = {.s = s, .number = 1};
    pthread_t thread;
    void *result = NULL;
    CHECK_INT(pthread_create(&thread, NULL, not_to_be_cancelled, &v), 0);
    CHECK_INT(pthread_join(thread, &result), 0);
    CHECK(result == &v);
    workout(s, 0);
    CHECK_INT(listed_all(s), 2);
    QUIET(vfs_close(s));
    nothing_left();
}

/* Threads are cancelled all the time; others go on, and no lock or descriptor is left. */
static void cancel_storm(void)
{
    enum { VICTIMS = 4 };
    two_tiers();
    vfs_t *s = open_on(tiers);
    workout(s, 100);
    unsigned fds = descriptors();
    struct victim victims[VICTIMS];
    pthread_t threads[VICTIMS];
    memset(victims, 0, sizeof victims);
    for (int i = 0; i < 240 + VICTIMS; i++) {
        struct victim *v = &victims[i % VICTIMS];
        void *result = NULL;
        if (i >= VICTIMS) {
            if (i % 3 == 0)
                AWAIT(&v->turns, 1);
            CHECK_INT(pthread_cancel(threads[i % VICTIMS]), 0);
            CHECK_OK(put(s, "steady", 500, (uint64_t)i, VFS_REPLACE));
            CHECK_INT(pthread_join(threads[i % VICTIMS], &result), 0);
            CHECK(result == PTHREAD_CANCELED);
            CHECK_INT(v->inside, 0);
            CHECK_VALUE(s, "steady", 500, i);
        }
        v->s = s;
        v->number = i % VICTIMS;
        v->turns = 0;
        if (i < 240)
            CHECK_INT(pthread_create(&threads[i % VICTIMS], NULL, to_be_cancelled, v), 0);
    }
    CHECK_INT(descriptors(), fds);
    for (int i = 0; i < VICTIMS; i++)
        workout(s, i); /* no key is held */
    CHECK_INT(listed_all(s), 1);
    QUIET(vfs_close(s));
    nothing_left();
}

/* ---- closed standard streams ---- */

static _Atomic int chatting;

static void *chatter(void *arg)
{
    (void)arg;
    while (atomic_load(&chatting)) {
        ssize_t a = write(1, "stdout", 6), b = write(2, "stderr", 6);
        (void)a;
        (void)b;
    }
    return NULL;
}

/* What a host prints to a closed stream must not land in a file of ours that got the number. */
static void without_streams(void *arg)
{
    (void)arg;
    close(0);
    close(1);
    close(2);
    signal(SIGPIPE, SIG_DFL);
    pthread_t thread;
    atomic_store(&chatting, 1);
    CHECK_INT(pthread_create(&thread, NULL, chatter, NULL), 0);
    vfs_t *s = open_on(tiers);
    vfs_writer_t *w = NULL;
    vfs_list_t *list = NULL;
    for (int i = 0; i < 300; i++) {
        CHECK_OK(put(s, "k", 16 + (size_t)(i * 331 % 30000), (uint64_t)i, VFS_REPLACE));
        CHECK_VALUE(s, "k", 16 + (size_t)(i * 331 % 30000), (uint64_t)i);
    }
    workout(s, 0);
    CHECK_OK(vfs_create(s, "w", 0, 0, &w));
    CHECK_OK(vfs_write(w, "abc", 3));
    CHECK_OK(vfs_list_open(s, &list));
    for (int fd = 0; fd < 3; fd++)
        if (fcntl(fd, F_GETFD) >= 0)
            FAIL("the library holds descriptor %d, which the host believes to be a standard stream", fd);
    CHECK_OK(vfs_seal(w));
    CHECK_VALUE(s, "k", 16 + 299 * 331 % 30000, 299);
    QUIET(vfs_list_close(list));
    atomic_store(&chatting, 0);
    CHECK_INT(pthread_join(thread, NULL), 0);
    QUIET(vfs_close(s));
    nothing_left();
}

static void closed_streams(void)
{
    two_tiers();
    JOIN(start_child(without_streams, NULL));
}

/* A pipe whose reader is gone, as stderr: printing to it would kill. */
static void with_broken_stderr(void *arg)
{
    (void)arg;
    int ends[2];
    SYS(pipe(ends));
    SYS(dup2(ends[1], 1));
    SYS(dup2(ends[1], 2));
    close(ends[0]);
    close(ends[1]);
    signal(SIGPIPE, SIG_DFL);
    vfs_t *s = open_on(tiers);
    workout(s, 0);
    CHECK_IS(put(s, "../x", 1, 1, 0), VFS_ERR_KEY);
    QUIET(vfs_close(s));
    vfs_options_t options = VFS_OPTIONS_INIT;
    options.tiers = "nonsense";
    CHECK_IS(vfs_open(&options, &s), VFS_ERR_INVALID);
    nothing_left();
}

static void broken_stderr(void)
{
    two_tiers();
    JOIN(start_child(with_broken_stderr, NULL));
}

/* ---- small stacks ---- */

static void *on_small_stack(void *arg)
{
    vfs_t *s = open_on(tiers);
    char long_key[256];
    memset(long_key, 'k', 255);
    long_key[255] = 0;
    for (int i = 0; i < 3; i++)
        workout(s, i);
    CHECK_OK(vfs_store(s, long_key, "x", 1, 0));
    CHECK_OK(vfs_store(s, long_key, "xy", 2, VFS_REPLACE));
    CHECK_IS(vfs_store(s, "a/b", "x", 1, 0), VFS_ERR_KEY);
    vfs_options_t options = VFS_OPTIONS_INIT;
    vfs_t *none = NULL;
    options.tiers = "nonsense";
    CHECK_IS(vfs_open(&options, &none), VFS_ERR_INVALID);
    CHECK_OK(vfs_shutdown(s));
    QUIET(vfs_close(s));
    return arg;
}

static void small_stack(void)
{
    two_tiers();
    pthread_attr_t attr;
    pthread_t thread;
    long least = sysconf(_SC_THREAD_STACK_MIN);
    size_t size = (size_t)(least > 16384 ? least : 16384) + (48 << 10);
    pthread_attr_init(&attr);
    CHECK_INT(pthread_attr_setstacksize(&attr, size), 0);
    for (int i = 0; i < 5; i++) {
        void *result = NULL;
        CHECK_INT(pthread_create(&thread, &attr, on_small_stack, tiers), 0);
        CHECK_INT(pthread_join(thread, &result), 0);
        CHECK(result == tiers);
    }
    pthread_attr_destroy(&attr);
    nothing_left();
}

/* ---- a stopped process holds the locks ---- */

static struct steps {
    _Atomic int held;
} *steps;

static void holder(void *arg)
{
    (void)arg;
    int fd = open(say("%s/\\lock", own_tier_dir(A, geteuid())), O_RDWR | O_CLOEXEC);
    SYS(fd);
    struct flock all = {.l_type = F_WRLCK, .l_whence = SEEK_SET};
    SYS(fcntl(fd, F_OFD_SETLKW, &all));
    atomic_store(&steps->held, 1);
    raise(SIGSTOP);
    sleep_for_ever();
}

static vfs_t *stopped_store;

static void *stopped_in_thread(void *arg)
{
    vfs_t *s = stopped_store;
    const char *keys[1] = {"owned-9"};
    int32_t status;
    vfs_writer_t *w = NULL;
    switch (*(int *)arg) {
    case 0: CHECK_IS(put(s, "new", 10, 10, 0), VFS_ERR_BUSY); break;
    case 1: CHECK_IS(put(s, "owned-1", 10, 10, VFS_REPLACE), VFS_ERR_BUSY); break;
    case 2: CHECK_IS(vfs_remove(s, "owned-2"), VFS_ERR_BUSY); break;
    case 3: CHECK_IS(vfs_remove_owned(s, keys, 1), VFS_ERR_BUSY); break;
    case 4:
        status = STATUS(vfs_has(s, "absent"));
        CHECK(status == 0 || status == VFS_ERR_BUSY);
        break;
    case 5:
        status = STATUS(vfs_reap(s, NULL));
        CHECK(status == VFS_OK || status == VFS_ERR_BUSY);
        break;
    case 6: /* streams do not hold or need locks until they are sealed */
        CHECK_OK(vfs_create(s, "streamed", 0, VFS_REPLACE, &w));
        CHECK_OK(vfs_write(w, "abc", 3));
        CHECK_IS(vfs_seal(w), VFS_ERR_BUSY);
        break;
    case 7: { /* another store on the same tier can still be opened and read */
        vfs_t *t = open_as(A, "another", 0);
        CHECK_ABSENT(t, "absent");
        QUIET(vfs_close(t));
        break;
    }
    }
    return NULL;
}

enum { OWNED = 30 };

static void check_owned(vfs_t *s)
{
    for (int i = 0; i < OWNED; i++)
        CHECK_VALUE(s, say("owned-%d", i), 100, i);
    CHECK_INT(listed_all(s), OWNED);
}

static void stopped(void)
{
    two_tiers();
    steps = shared_memory(sizeof *steps);
    vfs_t *s = stopped_store = open_on(tiers), *other = open_on(tiers);
    for (int i = 0; i < OWNED; i++)
        CHECK_OK(put(s, say("owned-%d", i), 100, (uint64_t)i, 0));
    pid_t pid = start_child(holder, NULL);
    AWAIT(&steps->held, 1);
    /* readers need no lock */
    check_owned(s);
    check_owned(other);
    pthread_t threads[8];
    int numbers[8];
    for (int i = 0; i < 8; i++) {
        numbers[i] = i;
        CHECK_INT(pthread_create(&threads[i], NULL, stopped_in_thread, &numbers[i]), 0);
    }
    for (int i = 0; i < 8; i++)
        CHECK_INT(pthread_join(threads[i], NULL), 0);
    check_owned(other);
    /* a shutdown does not wait anew for each key */
    long long began = now_ms();
    CHECK_IS(vfs_shutdown(s), VFS_ERR_BUSY);
    CHECK_IS(vfs_has(s, "owned-1"), VFS_ERR_SHUTDOWN);
    CHECK(now_ms() - began < 60000);
    began = now_ms();
    QUIET(vfs_close(s));
    CHECK(now_ms() - began < 60000);
    /* once it lets go, all is well, and what was left is reaped */
    kill_child(pid);
    CHECK_OK(vfs_reap(other, NULL));
    CHECK_INT(listed_all(other), 0);
    workout(other, 0);
    CHECK_ABSENT(other, "absent");
    QUIET(vfs_close(other));
    nothing_left();
}

/* ---- no address space for mappings and buffers ---- */

static void cramped(void *arg)
{
    vfs_t *s = arg;
    struct rlimit limit, was;
    SYS(getrlimit(RLIMIT_AS, &was));
    for (size_t extra = 0; extra < 24; extra++) {
        unsigned long long pages = 0;
        FILE *f = fopen("/proc/self/statm", "re");
        CHECK(f && fscanf(f, "%llu", &pages) == 1);
        fclose(f);
        limit = was;
        limit.rlim_cur = (rlim_t)(pages * 4096 + extra * 65536);
        vfs_view_t view = {0};
        vfs_writer_t *w = NULL;
        vfs_t *h = NULL;
        void *room = NULL;
        vfs_options_t options = VFS_OPTIONS_INIT;
        options.tiers = B;
        options.name = "second";
        SYS(setrlimit(RLIMIT_AS, &limit));
        int32_t results[6] = {
            STATUS(vfs_map(s, "big", &view, NULL)),
            STATUS(vfs_store(s, "new", "abc", 3, 0)),
            STATUS(vfs_create(s, "w", 0, 0, &w)),
            w ? STATUS(vfs_reserve(w, 100000, &room)) : VFS_ERR_NO_MEMORY,
            STATUS(vfs_open(&options, &h)),
            w ? STATUS(vfs_write(w, "abc", 3)) : VFS_ERR_NO_MEMORY,
        };
        SYS(setrlimit(RLIMIT_AS, &was));
        for (int i = 0; i < 6; i++)
            if (results[i] != VFS_OK && results[i] != VFS_ERR_NO_MEMORY)
                FAIL("with %zu KiB of addresses call %d said %s", extra * 64, i, status_name(results[i]));
        if (extra == 0)
            CHECK_INT(results[0], VFS_ERR_NO_MEMORY);
        QUIET(vfs_unmap(&view));
        QUIET(vfs_abort(w));
        QUIET(vfs_close(h));
        if (results[1] == VFS_OK)
            CHECK_OK(vfs_remove(s, "new"));
        else
            CHECK_ABSENT(s, "new");
        CHECK_VALUE(s, "big", 4 << 20, 1);
    }
}

static void address_space(void)
{
    two_tiers();
    vfs_t *s = open_on(tiers);
    CHECK_OK(put(s, "big", 4 << 20, 1, 0));
    cramped(s);
    QUIET(vfs_close(s));
    nothing_left();
}

int main(int argc, char **argv)
{
    static const struct {
        const char *name;
        void (*run)(void);
    } modes[] = {
        {"signals", signals},
        {"interrupted", interrupted},
        {"cancelled", cancelled},
        {"cancel-storm", cancel_storm},
        {"closed-streams", closed_streams},
        {"broken-stderr", broken_stderr},
        {"small-stack", small_stack},
        {"stopped", stopped},
        {"address-space", address_space},
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

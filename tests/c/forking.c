/* fork: the child reads what it inherited, changes nothing, and keeps no dead owner alive. One MODE a case. */
#include "harness.h"

#include <sys/syscall.h>

#include <spawn.h>

static const char *A, *B;
static char tiers[2 * PATH_MAX + 16];

struct steps {
    _Atomic int child, parent;
    _Atomic pid_t pid;
};
static struct steps *steps;

static void two_tiers(void)
{
    A = dir_of("a");
    B = dir_of("b");
    snprintf(tiers, sizeof tiers, "%s?max=20K,%s", A, B);
    steps = shared_memory(sizeof *steps);
}

static void nothing_left(void)
{
    CHECK_NOTHING_LEFT(A);
    CHECK_NOTHING_LEFT(B);
}

/* ---- what the child may do with what it inherited ---- */

static struct {
    vfs_t *store, *memory, *mixed;
    vfs_writer_t *writer, *sealed, *reserved;
    vfs_list_t *list;
    vfs_view_t view;
    void *room;
} had;

static void heir(void *arg)
{
    int how = *(int *)arg;
    const char *keys[] = {"small"};
    vfs_writer_t *w = (vfs_writer_t *)&had;
    vfs_view_t view = {0};
    vfs_stat_t stat = VFS_STAT_INIT;
    vfs_tier_stat_t tier = VFS_TIER_STAT_INIT;
    char byte;
    size_t len = 7;
    /* reading */
    CHECK_VALUE(had.store, "small", 5000, 1);
    CHECK_VALUE(had.store, "large", 50000, 2);
    CHECK_VALUE(had.mixed, "large", 50000, 2);
    CHECK_IS(vfs_has(had.store, "absent"), 0);
    CHECK_IS(vfs_read(had.store, "absent", 0, &byte, 1, &len, NULL), VFS_ERR_NOT_FOUND);
    CHECK_INT(listed(had.store, "large"), 1);
    CHECK(is_value_at(had.view.data, had.view.len, 0, 2, 50000));
    CHECK_OK(vfs_map(had.store, "large", &view, &stat));
    CHECK_OK(vfs_tier_stat(had.store, 0, &tier));
    CHECK_STR(tier.dir, A);
    /* the memory tier is the parent's */
    CHECK_IS(vfs_read(had.memory, "m", 0, &byte, 1, &len, NULL), VFS_ERR_FORKED);
    CHECK_IS(vfs_has(had.memory, "m"), VFS_ERR_FORKED);
    CHECK_IS(vfs_stat(had.mixed, "m", &stat), VFS_ERR_FORKED);
    CHECK_IS(put(had.memory, "new", 5, 5, 0), VFS_ERR_FORKED);
    /* changing */
    CHECK_IS(put(had.store, "new", 5, 5, 0), VFS_ERR_FORKED);
    CHECK_IS(put(had.store, "small", 5, 5, VFS_REPLACE | VFS_PERSIST), VFS_ERR_FORKED);
    CHECK_IS(vfs_remove(had.store, "small"), VFS_ERR_FORKED);
    CHECK_IS(vfs_remove_owned(had.store, keys, 1), VFS_ERR_FORKED);
    CHECK_IS(vfs_create(had.store, "new", 0, 0, &w), VFS_ERR_FORKED);
    CHECK(w == NULL);
    CHECK_IS(vfs_reap(had.store, NULL), VFS_ERR_FORKED);
    CHECK_IS(vfs_shutdown(had.store), VFS_ERR_FORKED);
    CHECK_IS(vfs_write(had.writer, "xyz", 3), VFS_ERR_FORKED);
    CHECK_IS(vfs_reserve(had.writer, 10, &had.room), VFS_ERR_FORKED);
    CHECK_IS(vfs_seal(had.sealed), VFS_ERR_FORKED);
    CHECK_VALUE(had.store, "small", 5000, 1);
    CHECK(len == 7);
    /* a store of its own */
    vfs_t *own = open_on(tiers);
    CHECK_VALUE(own, "small", 5000, 1);
    CHECK_INT(flags_of(own, "small"), 0);
    CHECK_OK(put(own, say("of-child-%d", how), 3000, 3, 0));
    CHECK_IS(vfs_has(had.store, say("of-child-%d", how)), 1);
    CHECK_OK(vfs_reap(own, NULL)); /* the parent lives */
    CHECK_VALUE(own, "small", 5000, 1);
    if (how == 0)
        return; /* ends with _exit, closing nothing */
    QUIET(vfs_unmap(&had.view));
    QUIET(vfs_unmap(&view));
    if (how == 1)
        QUIET(vfs_close(own));
    QUIET(vfs_close(had.store));
    QUIET(vfs_abort(had.writer));
    QUIET(vfs_abort(had.reserved));
    QUIET(vfs_list_close(had.list));
    QUIET(vfs_close(had.memory));
    QUIET(vfs_close(had.mixed));
    if (how == 2)
        QUIET(vfs_close(own));
    if (how == 3)
        exit(0);
}

static void grandparent(void *arg)
{
    JOIN(start_child(heir, arg));
}

static void inherited(void)
{
    two_tiers();
    unsigned fds = descriptors();
    had.store = open_on(tiers);
    had.memory = open_on("memory");
    had.mixed = open_on(say("memory,%s,%s", A, B));
    CHECK_OK(put(had.store, "small", 5000, 1, 0));
    CHECK_OK(put(had.store, "large", 50000, 2, 0));
    CHECK_OK(put(had.memory, "m", 500, 3, 0));
    CHECK_OK(put(had.mixed, "m", 500, 3, 0));
    CHECK_OK(vfs_map(had.store, "large", &had.view, NULL));
    CHECK_OK(vfs_create(had.store, "streamed", 0, 0, &had.writer));
    CHECK_OK(vfs_write(had.writer, "abc", 3));
    CHECK_OK(vfs_create(had.store, "reserved", 0, 0, &had.reserved));
    CHECK_OK(vfs_reserve(had.reserved, 10000, &had.room));
    memset(had.room, 'r', 10000);
    CHECK_OK(vfs_list_open(had.store, &had.list));
    unsigned held = 0;
    for (int how = 0; how < 5; how++) {
        CHECK_OK(vfs_create(had.store, say("sealed-%d", how), 0, 0, &had.sealed));
        CHECK_OK(vfs_write(had.sealed, "abc", 3));
        if (how == 0)
            held = descriptors();
        int as = how == 4 ? 2 : how;
        JOIN(start_child(how == 4 ? grandparent : heir, &as));
        CHECK_OK(vfs_seal(had.sealed));
        CHECK_VALUE(had.store, "small", 5000, 1);
        CHECK_VALUE(had.store, "large", 50000, 2);
        CHECK_VALUE(had.memory, "m", 500, 3);
        CHECK_INT(flags_of(had.store, "small"), VFS_STAT_OWNED);
        CHECK_IS(vfs_has(had.store, say("sealed-%d", how)), 1);
        CHECK(is_value_at(had.view.data, had.view.len, 0, 2, 50000));
        vfs_t *reaper = open_on(tiers); /* the parent is alive and keeps its own */
        CHECK_ABSENT(reaper, say("of-child-%d", how));
        CHECK_VALUE(reaper, "small", 5000, 1);
        QUIET(vfs_close(reaper));
        CHECK(descriptors() <= held);
    }
    CHECK_OK(vfs_write(had.writer, "def", 3));
    CHECK_OK(vfs_seal(had.writer));
    CHECK_OK(vfs_seal(had.reserved));
    char got[16];
    size_t len;
    CHECK_OK(vfs_read(had.store, "streamed", 0, got, 16, &len, NULL));
    CHECK(len == 6 && memcmp(got, "abcdef", 6) == 0);
    CHECK_OK(vfs_read(had.store, "reserved", 9990, got, 16, &len, NULL));
    CHECK(len == 10 && memcmp(got, "rrrrrrrrrr", 10) == 0);
    QUIET(vfs_unmap(&had.view));
    QUIET(vfs_list_close(had.list));
    QUIET(vfs_close(had.mixed));
    QUIET(vfs_close(had.memory));
    CHECK_OK(put(had.store, "after", 5000, 5, 0));
    QUIET(vfs_close(had.store));
    CHECK_INT(descriptors(), fds);
    nothing_left();
}

/* ---- the child of a dead owner ---- */

static void sleeping(void *arg)
{
    if (arg)
        CHECK_VALUE((vfs_t *)arg, "small", 5000, 1);
    atomic_fetch_add(&steps->child, 1);
    prctl(PR_SET_PDEATHSIG, 0); /* it outlives its parent */
    atomic_store(&steps->pid, getpid());
    atomic_fetch_add(&steps->child, 1);
    AWAIT(&steps->parent, 1);
    if (arg) {
        CHECK_IS(vfs_has(arg, "small"), 0);
        CHECK_IS(put(arg, "small", 10, 10, 0), VFS_ERR_FORKED);
        vfs_t *own = open_on(tiers);
        CHECK_OK(put(own, "small", 10, 10, 0));
        QUIET(vfs_close(own));
        QUIET(vfs_close(arg));
    }
    atomic_fetch_add(&steps->child, 1);
}

static void parent_to_be_killed(void *arg)
{
    vfs_t *s = open_on(tiers);
    vfs_writer_t *w = NULL;
    CHECK_OK(put(s, "small", 5000, 1, 0));
    CHECK_OK(put(s, "large", 50000, 2, 0));
    CHECK_OK(vfs_create(s, "stream", 0, 0, &w));
    CHECK_OK(vfs_write(w, "abc", 3));
    start_child(sleeping, *(int *)arg ? s : NULL);
    sleep_for_ever();
}

static void orphaned(void)
{
    two_tiers();
    SYS(prctl(PR_SET_CHILD_SUBREAPER, 1));
    for (int uses = 0; uses < 2; uses++) {
        memset(steps, 0, sizeof *steps);
        pid_t parent = start_child(parent_to_be_killed, &uses);
        AWAIT(&steps->child, 2);
        pid_t child = atomic_load(&steps->pid);
        kill_child(parent);
        SYS(kill(child, 0)); /* it sleeps, with all that it inherited */
        vfs_t *s = open_as(tiers, "harness", 0);
        CHECK_ABSENT(s, "small");
        CHECK_ABSENT(s, "large");
        CHECK_INT(listed_all(s), 0);
        CHECK_NO_BLOBS_LEFT(A);
        CHECK_NO_BLOBS_LEFT(B);
        atomic_store(&steps->parent, 1);
        JOIN(child);
        QUIET(vfs_close(s));
        nothing_left();
    }
}

/* A raw clone runs no handler. Whichever function its child calls first, from then on it keeps no owner alive. */
static void first_call(int which)
{
    const char *key = NULL;
    char got[16];
    size_t len;
    vfs_stat_t stat = VFS_STAT_INIT;
    vfs_tier_stat_t tier = VFS_TIER_STAT_INIT;
    vfs_view_t view = {0};
    vfs_list_t *list = NULL;
    switch (which) {
    case 0: CHECK_IS(vfs_has(had.store, "small"), 1); break;
    case 1: CHECK_OK(vfs_read(had.store, "small", 0, got, sizeof got, &len, NULL)); break;
    case 2: CHECK_OK(vfs_read(had.store, "small", 0, got, sizeof got, &len, &stat)); break;
    case 3: CHECK_OK(vfs_stat(had.store, "small", &stat)); break;
    case 4: CHECK_OK(vfs_map(had.store, "small", &view, NULL)); break;
    case 5: QUIET(vfs_unmap(&had.view)); break;
    case 6: QUIET(vfs_list_close(had.list)); break;
    case 7: CHECK_IS(vfs_list_next(had.list, &key, &stat), VFS_ERR_FORKED); break;
    case 8: CHECK_OK(vfs_list_open(had.store, &list)); break;
    case 9: QUIET(vfs_abort(had.writer)); break;
    case 10: CHECK_IS(vfs_write(had.writer, "x", 1), VFS_ERR_FORKED); break;
    case 11: CHECK_OK(vfs_tier_stat(had.store, 0, &tier)); break;
    case 12: QUIET(vfs_close(had.store)); break;
    case 13: CHECK_IS(vfs_reap(had.store, NULL), VFS_ERR_FORKED); break;
    case 14: CHECK_IS(vfs_has(NULL, "small"), VFS_ERR_INVALID); break;
    default: QUIET(vfs_close(NULL));
    }
}

enum { FIRST_CALLS = 16 };

static void parent_of_clone(void *which)
{
    had.store = open_on(tiers);
    CHECK_OK(put(had.store, "small", 5000, 1, 0));
    CHECK_OK(put(had.store, "large", 50000, 2, 0));
    CHECK_OK(vfs_map(had.store, "small", &had.view, NULL));
    CHECK_OK(vfs_list_open(had.store, &had.list));
    CHECK_OK(vfs_create(had.store, "stream", 0, 0, &had.writer));
    CHECK_OK(vfs_write(had.writer, "abc", 3));
    pid_t pid;
    SYS(pid = (pid_t)syscall(SYS_clone, SIGCHLD, 0, 0, 0, 0));
    if (pid == 0) {
        atomic_store(&steps->pid, getpid());
        first_call(*(int *)which);
        atomic_fetch_add(&steps->child, 1);
        AWAIT(&steps->parent, 1);
        _exit(0);
    }
    sleep_for_ever();
}

static void first_calls(void)
{
    two_tiers();
    SYS(prctl(PR_SET_CHILD_SUBREAPER, 1));
    for (int which = 0; which < FIRST_CALLS; which++) {
        memset(steps, 0, sizeof *steps);
        pid_t parent = start_child(parent_of_clone, &which);
        AWAIT(&steps->child, 1);
        pid_t child = atomic_load(&steps->pid);
        vfs_t *s = open_on(tiers); /* (it reaps, and the parent is alive) */
        CHECK_VALUE(s, "small", 5000, 1);
        CHECK_VALUE(s, "large", 50000, 2);
        kill_child(parent);
        CHECK_OK(vfs_reap(s, NULL));
        if (STATUS(vfs_has(s, "small")) != 0 || STATUS(vfs_has(s, "large")) != 0)
            FAIL("call %d: the child keeps its dead parent's owner", which);
        QUIET(vfs_close(s));
        atomic_store(&steps->parent, 1);
        JOIN(child);
        nothing_left();
    }
}

/* ---- fork while threads store ---- */

struct busy {
    vfs_t *s;
    int number;
    _Atomic int stop;
};

static void *busy_thread(void *arg)
{
    struct busy *me = arg;
    for (int i = 0; !atomic_load(&me->stop); i++) {
        vfs_view_t view = {0};
        vfs_list_t *list = NULL;
        CHECK_OK(put(me->s, say("busy-%d", me->number), 16 + (size_t)(i * 977 % 30000), (uint64_t)i, VFS_REPLACE));
        CHECK_OK(vfs_map(me->s, say("busy-%d", me->number), &view, NULL));
        QUIET(vfs_unmap(&view));
        CHECK_OK(vfs_list_open(me->s, &list));
        QUIET(vfs_list_close(list));
        CHECK_IS(vfs_has(me->s, "absent"), 0);
        vfs_writer_t *w = NULL;
        CHECK_OK(vfs_create(me->s, say("streamed-%d", me->number), 0, VFS_REPLACE, &w));
        CHECK_OK(vfs_write(w, "abc", 3));
        CHECK_OK(vfs_seal(w));
        if (i % 8 == 3) {
            CHECK_OK(vfs_reap(me->s, NULL));
            vfs_t *another = open_as(tiers, "another", 0);
            CHECK_OK(put(another, say("busy-%d", me->number), 100, 1, 0));
            QUIET(vfs_close(another));
        }
        if (i % 8 == 7)
            CHECK_OK(vfs_remove(me->s, say("busy-%d", me->number)));
    }
    return NULL;
}

static void child_of_threads(void *arg)
{
    vfs_t *s = arg;
    char got[16];
    size_t len;
    CHECK_VALUE(s, "still", 5000, 1);
    CHECK_IS(vfs_has(s, "absent"), 0);
    CHECK_IS(vfs_read(s, "absent", 0, got, 16, &len, NULL), VFS_ERR_NOT_FOUND);
    CHECK_IS(put(s, "still", 5, 5, VFS_REPLACE), VFS_ERR_FORKED);
    CHECK(listed(s, "still") == 1);
    vfs_t *own = open_as(tiers, "harness", 0);
    CHECK_OK(put(own, "childs", 5000, 2, 0));
    CHECK_VALUE(own, "still", 5000, 1);
    QUIET(vfs_close(own));
    QUIET(vfs_close(s));
}

static void amid_threads(void)
{
    two_tiers();
    vfs_t *s = open_on(tiers);
    pthread_t threads[4];
    struct busy jobs[4];
    CHECK_OK(put(s, "still", 5000, 1, 0));
    for (int i = 0; i < 4; i++) {
        jobs[i].s = s;
        jobs[i].number = i;
        atomic_init(&jobs[i].stop, 0);
        CHECK_INT(pthread_create(&threads[i], NULL, busy_thread, &jobs[i]), 0);
    }
    for (int i = 0; i < 60; i++)
        JOIN(start_child(child_of_threads, s));
    for (int i = 0; i < 4; i++) {
        atomic_store(&jobs[i].stop, 1);
        CHECK_INT(pthread_join(threads[i], NULL), 0);
    }
    CHECK_VALUE(s, "still", 5000, 1);
    QUIET(vfs_close(s));
    nothing_left();
}

/* ---- exec: nothing is inherited ---- */

static void executed(void *arg)
{
    (void)arg;
    execl("/proc/self/exe", "forking", scratch, "look", (char *)NULL);
    FAIL("exec: %s", strerror(errno));
}

static void look(void)
{
    leave_at_end();
    DIR *d = opendir("/proc/self/fd");
    struct dirent *entry;
    CHECK(d != NULL);
    while ((entry = readdir(d))) {
        char target[PATH_MAX] = "", link[PATH_MAX];
        snprintf(link, sizeof link, "/proc/self/fd/%.100s", entry->d_name);
        ssize_t n = readlink(link, target, sizeof target - 1);
        if (n > 0 && strstr(target, "/vfs1-"))
            FAIL("descriptor %s was inherited: %s", entry->d_name, target);
        if (n > 0 && (strncmp(target, say("%s/a", scratch), strlen(scratch) + 2) == 0))
            FAIL("descriptor %s was inherited: %s", entry->d_name, target);
    }
    closedir(d);
}

/* A store of its own, whose descriptors would have been those of the standard streams. */
static void without_streams(void *arg)
{
    vfs_writer_t *w = NULL;
    close(0);
    close(1);
    close(2);
    vfs_t *s = open_on(tiers);
    CHECK_OK(vfs_create(s, "w", 0, 0, &w));
    JOIN(start_child(executed, arg));
    QUIET(vfs_abort(w));
    QUIET(vfs_close(s));
}

static void exec(void)
{
    two_tiers();
    JOIN(start_child(without_streams, NULL));
    vfs_t *s = open_on(tiers);
    vfs_writer_t *w = NULL;
    vfs_list_t *list = NULL;
    vfs_view_t view = {0};
    void *room = NULL;
    CHECK_OK(put(s, "small", 5000, 1, 0));
    CHECK_OK(put(s, "large", 50000, 2, 0));
    CHECK_OK(vfs_create(s, "stream", 0, 0, &w));
    CHECK_OK(vfs_write(w, "abc", 3));
    CHECK_OK(vfs_reserve(w, 1000, &room));
    memset(room, 0, 1000);
    CHECK_OK(vfs_list_open(s, &list));
    CHECK_OK(vfs_map(s, "small", &view, NULL));
    /* plainly, and by vfork */
    JOIN(start_child(executed, NULL));
    char at[PATH_MAX];
    snprintf(at, sizeof at, "%s", scratch);
    pid_t pid = vfork();
    if (pid == 0) {
        execl("/proc/self/exe", "forking", at, "look", (char *)NULL);
        _exit(4);
    }
    JOIN(pid);
    /* by posix_spawn, and through a shell */
    char program[PATH_MAX] = "", *const args[] = {"forking", at, "look", NULL};
    CHECK(readlink("/proc/self/exe", program, sizeof program - 1) > 0);
    CHECK_INT(posix_spawn(&pid, program, NULL, NULL, args, environ), 0);
    JOIN(pid);
    CHECK_INT(system(say("exec '%.500s' '%.500s' look", program, at)), 0);
    CHECK_VALUE(s, "small", 5000, 1);
    CHECK_OK(put(s, "after", 5000, 5, 0));
    CHECK_OK(vfs_seal(w));
    QUIET(vfs_unmap(&view));
    QUIET(vfs_list_close(list));
    QUIET(vfs_close(s));
    nothing_left();
}

int main(int argc, char **argv)
{
    static const struct {
        const char *name;
        void (*run)(void);
    } modes[] = {
        {"inherited", inherited}, {"orphaned", orphaned}, {"first-calls", first_calls}, {"amid-threads", amid_threads}, {"exec", exec}, {"look", look},
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

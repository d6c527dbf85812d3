/* Between any two calls of the operating system that an operation makes, its process forks, forks and is killed, or is
 * stopped. `beside SCRATCH forked|in-handler|without-handler|orphaned|stopped|held`; with VFS_TEST_COUNT set it tells how many points there were. */
#include "harness.h"

#include "between.h"
#include "operations.h"

static const char *A, *B;

static struct shared {
    _Atomic int met, calls;
    _Atomic pid_t child;
} *shared;

static int at, points, lost; /* lost: so is the ground, before the operation */
static const char *at_name;

/* ---- a process in the midst of an operation ---- */

static struct {
    vfs_writer_t *writer;
    vfs_list_t *list;
    vfs_view_t view;
} had;

static void long_lived(void)
{
    CHECK_OK(put(s, "still", 5000, 5, 0));
    CHECK_OK(vfs_map(s, "still", &had.view, NULL));
    CHECK_OK(vfs_create(s, "streamed", 0, 0, &had.writer));
    CHECK_OK(vfs_write(had.writer, small_data, 100));
    CHECK_OK(vfs_list_open(s, &had.list));
}

static void end_long_lived(int shut)
{
    CHECK(is_value_at(had.view.data, had.view.len, 0, 5, 5000));
    QUIET(vfs_unmap(&had.view));
    QUIET(vfs_list_close(had.list));
    CHECK_IS(vfs_write(had.writer, small_data + 100, SMALL - 100), shut ? VFS_ERR_SHUTDOWN : VFS_OK);
    CHECK_IS(vfs_seal(had.writer), shut ? VFS_ERR_SHUTDOWN : VFS_OK);
}

/* ---- a fork in its midst ---- */

/* How the child comes to life, and where it acts. */
static enum {
    BY_FORK,    /* after all handlers */
    IN_HANDLER, /* in a handler of pthread_atfork that runs before the library's */
    BY_CLONE,   /* no handler runs */
} making;

static void grandchild(void *arg)
{
    vfs_t *own = arg;
    CHECK_VALUE(own, "of-child", 300, 9);
    CHECK_IS(put(own, "of-child", 10, 1, VFS_REPLACE), VFS_ERR_FORKED);
    QUIET(vfs_close(own));
}

/* What a child may do and what it is refused, wherever its parent's call was. */
static void heir(void *arg)
{
    int shut = *(int *)arg;
    const char *keys[] = {"still"}, *key = NULL;
    vfs_writer_t *w = (vfs_writer_t *)&had;
    vfs_stat_t stat = VFS_STAT_INIT;
    void *room = NULL;
    alarm(30);
    if (s && !shut) {
        CHECK_IS(vfs_has(s, "absent"), 0);
        CHECK_INT(listed(s, "still"), !lost);
        if (!lost)
            CHECK_VALUE(s, "still", 5000, 5);
    }
    if (s) {
        CHECK_IS(put(s, "k", 5, 5, VFS_REPLACE), VFS_ERR_FORKED);
        CHECK_IS(vfs_remove(s, "still"), VFS_ERR_FORKED);
        CHECK_IS(vfs_remove_owned(s, keys, 1), VFS_ERR_FORKED);
        CHECK_IS(vfs_create(s, "new", 0, 0, &w), VFS_ERR_FORKED);
        CHECK(w == NULL);
        CHECK_IS(vfs_reap(s, NULL), VFS_ERR_FORKED);
        CHECK_IS(vfs_shutdown(s), VFS_ERR_FORKED);
        CHECK_IS(vfs_write(had.writer, "xyz", 3), VFS_ERR_FORKED);
        CHECK_IS(vfs_reserve(had.writer, 10, &room), VFS_ERR_FORKED);
        CHECK_IS(vfs_list_next(had.list, &key, &stat), shut ? VFS_ERR_SHUTDOWN : VFS_ERR_FORKED);
        CHECK_IS(vfs_seal(had.writer), VFS_ERR_FORKED);
        CHECK(is_value_at(had.view.data, had.view.len, 0, 5, 5000));
        QUIET(vfs_unmap(&had.view));
        QUIET(vfs_list_close(had.list));
        QUIET(vfs_close(s));
    }
    vfs_t *own = open_on(tiers);
    CHECK_OK(put(own, "of-child", 300, 9, 0));
    if (making != IN_HANDLER)
        JOIN(start_child(grandchild, own));
    CHECK_VALUE(own, "of-child", 300, 9);
    QUIET(vfs_close(own));
}

static int shutting, forking_here;
static vfs_t *of_handler;

static void child_handler(void)
{
    if (!forking_here || making != IN_HANDLER)
        return;
    heir(&shutting);
    of_handler = open_on(tiers);
    CHECK_OK(put(of_handler, "of-child", 300, 9, 0));
}

/* What the handler opened is this child's own: the library's handler, which ran since, left it alone. */
static void after_handler(void *arg)
{
    (void)arg;
    vfs_t *other = open_on(tiers);
    CHECK_INT(flags_of(of_handler, "of-child"), VFS_STAT_OWNED);
    CHECK_VALUE(other, "of-child", 300, 9);
    QUIET(vfs_close(of_handler));
    CHECK_ABSENT(other, "of-child");
    QUIET(vfs_close(other));
}

/* The locks of this process, through whichever descriptor. */
static void locks_held(char *text, size_t size)
{
    char line[256];
    size_t used = 0;
    for (int fd = 3; fd < 256; fd++) {
        FILE *info = fopen(say("/proc/self/fdinfo/%d", fd), "re");
        while (info && fgets(line, sizeof line, info))
            if (strncmp(line, "lock:", 5) == 0) {
                int len = snprintf(text + used, size - used, "%d %s", fd, line);
                CHECK(len > 0 && used + (size_t)len < size);
                used += (size_t)len;
            }
        if (info)
            fclose(info);
    }
    text[used] = 0;
}

static void fork_here(const char *name)
{
    static char before[65536], after[65536];
    pid_t pid;
    (void)name;
    if (++shared->calls != at)
        return;
    shared->met = 1;
    locks_held(before, sizeof before);
    forking_here = 1;
    if (making == BY_CLONE) {
        SYS(pid = (pid_t)syscall(SYS_clone, SIGCHLD, 0, 0, 0, 0));
        if (pid == 0) {
            heir(&shutting);
            _exit(0);
        }
    } else {
        pid = start_child(making == IN_HANDLER ? after_handler : heir, &shutting);
    }
    forking_here = 0;
    JOIN(pid);
    locks_held(after, sizeof after);
    if (strcmp(before, after) != 0)
        FAIL("a child changed the locks of its parent:\n%s---\n%s", before, after);
}

static int forked_at(const struct operation *op, enum before before, int n)
{
    vfs_t *other = open_on(tiers);
    shared->calls = shared->met = 0;
    at = n;
    shutting = op->run == do_shutdown;
    s = open_on(tiers);
    prepare_key(before, other);
    long_lived();
    if (op->run == do_open) { /* (it opens another) */
        QUIET(vfs_abort(had.writer));
        QUIET(vfs_list_close(had.list));
        QUIET(vfs_unmap(&had.view));
        QUIET(vfs_close(s));
        s = NULL;
    }
    if (lost)
        remove_tree(own_tier_dir(A, geteuid()));
    before_call = fork_here;
    op->run();
    before_call = NULL;
    /* (the child's own store reaps the dead) */
    CHECK(answer == VFS_OK || (answer == VFS_ERR_NOT_FOUND && (lost || op->run == do_list || before == DEAD)));
    if (s && !lost) {
        end_long_lived(shutting);
    } else if (s) {
        QUIET(vfs_unmap(&had.view));
        QUIET(vfs_list_close(had.list));
        QUIET(vfs_abort(had.writer));
    }
    QUIET(vfs_close(s));
    CHECK_OK(vfs_reap(other, NULL)); /* the child could not where its parent just looked */
    CHECK_ABSENT(other, "of-child");
    if (STATUS(vfs_has(other, "k")) == 1)
        CHECK_OK(vfs_remove(other, "k"));
    CHECK_INT(listed_all(other), 0);
    QUIET(vfs_close(other));
    CHECK_NOTHING_LEFT(A);
    CHECK_NOTHING_LEFT(B);
    return shared->met;
}

/* ---- a fork in its midst, and then the parent is killed ---- */

static void sleeper(void *arg)
{
    (void)arg;
    prctl(PR_SET_PDEATHSIG, 0); /* it outlives its parent */
    shared->child = getpid();
    sleep_for_ever();
}

static void fork_and_die(const char *name)
{
    (void)name;
    if (++shared->calls != at)
        return;
    start_child(sleeper, NULL);
    while (shared->child == 0)
        usleep(100);
    kill(getpid(), SIGKILL);
}

static const struct operation *doing;
static enum before had_before;

static void worker(void *arg)
{
    vfs_t *other = open_on(tiers);
    s = open_on(tiers);
    prepare_key(had_before, other);
    long_lived();
    before_call = *(void (**)(const char *))arg;
    doing->run();
    before_call = NULL;
    shared->met = -1; /* to its end */
}

static int orphaned_at(const struct operation *op, enum before before, int n)
{
    void (*hook)(const char *) = fork_and_die;
    int state = 0;
    shared->calls = shared->met = shared->child = 0;
    at = n;
    doing = op;
    had_before = before;
    pid_t pid = start_child(worker, (void *)&hook);
    CHECK_INT(waitpid(pid, &state, 0), pid);
    if (shared->met != -1 && !(WIFSIGNALED(state) && WTERMSIG(state) == SIGKILL))
        FAIL("%s: not killed: %d", op->name, state);
    /* its child sleeps, with all that it inherited; no lock is left, and its owner is dead */
    vfs_t *next = open_on(tiers);
    CHECK_OK(vfs_reap(next, NULL));
    int has = STATUS(vfs_has(next, "k"));
    if (before != KEPT && op->run != do_persist)
        CHECK_INT(has, 0);
    CHECK_INT(listed_all(next), has);
    CHECK_OK(put(next, "k", 300, 7, VFS_REPLACE));
    CHECK_VALUE(next, "k", 300, 7);
    CHECK_OK(put(next, "still", 300, 7, 0));
    CHECK_OK(vfs_shutdown(next));
    QUIET(vfs_close(next));
    CHECK_NOTHING_LEFT(A);
    CHECK_NOTHING_LEFT(B);
    if (shared->met == -1)
        return 0;
    SYS(kill(shared->child, 0));
    kill_child(shared->child);
    return 1;
}

/* ---- a process stopped in its midst ---- */

static void stop_here(const char *name)
{
    if (at_name ? strcmp(name, at_name) == 0 : ++shared->calls == at) {
        at_name = ""; /* once */
        raise(SIGSTOP);
    }
}

static void stoppable(void *arg)
{
    worker(arg);
    CHECK(answer == VFS_OK || answer == VFS_ERR_NOT_FOUND || answer == 0);
    end_long_lived(doing->run == do_shutdown);
    QUIET(vfs_close(s));
}

/* Starts it; 1 once it is stopped, 0 where it came to its end. */
static int start_stopped(const struct operation *op, enum before before, pid_t *pid)
{
    static void (*hook)(const char *) = stop_here;
    int state = 0;
    shared->calls = shared->met = 0;
    doing = op;
    had_before = before;
    *pid = start_child(stoppable, (void *)&hook);
    CHECK_INT(waitpid(*pid, &state, WUNTRACED), *pid);
    if (WIFSTOPPED(state))
        return 1;
    if (!WIFEXITED(state) || WEXITSTATUS(state) != 0)
        FAIL("%s: it failed: %d", op->name, state);
    return 0;
}

static void go_on(pid_t pid)
{
    SYS(kill(pid, SIGCONT));
    JOIN(pid);
}

static int stopped_at(const struct operation *op, enum before before, int n)
{
    pid_t pid;
    at = n;
    at_name = NULL;
    int stopped = start_stopped(op, before, &pid);
    /* other keys, readers, owners and stores go on */
    vfs_t *next = open_on(tiers);
    CHECK_OK(put(next, "another", 300, 7, 0));
    CHECK_OK(put(next, "another", 300, 8, VFS_REPLACE));
    CHECK_VALUE(next, "another", 300, 8);
    if (stopped && op->run != do_shutdown)
        CHECK_VALUE(next, "still", 5000, 5);
    CHECK_INT(listed(next, "another"), 1);
    int32_t status = STATUS(vfs_reap(next, NULL)); /* a dead owner that the stopped one looks at cannot be taken */
    CHECK(status == VFS_OK || (before == DEAD && status == VFS_ERR_BUSY));
    CHECK_OK(vfs_shutdown(next));
    QUIET(vfs_close(next));
    if (stopped)
        go_on(pid);
    next = open_on(tiers);
    if (STATUS(vfs_has(next, "k")) == 1)
        CHECK_OK(vfs_remove(next, "k"));
    QUIET(vfs_close(next));
    CHECK_NOTHING_LEFT(A);
    CHECK_NOTHING_LEFT(B);
    return stopped;
}

/* Stopped as it changes the key, under its lock: that key is busy, in bounded time. */
static void held(void)
{
    static const struct {
        const char *operation, *call;
        enum before before;
    } cases[] = {{"store", "linkat", NONE}, {"replace", "renameat", FOREIGN}, {"remove", "unlinkat", FOREIGN},
                 {"persist", "renameat2", NONE}};
    pid_t pids[4];
    for (int c = 0; c < 4; c++) {
        SYS(pids[c] = fork());
        if (pids[c] == 0) { /* all at once: each waits for as long as a call waits */
            const struct operation *op = operations;
            pid_t pid;
            vfs_writer_t *w = NULL;
            const char *keys[] = {"k"};
            int32_t status;
            snprintf(tiers, sizeof tiers, "%s,%s", dir_of(say("a-%d", c)), dir_of(say("b-%d", c)));
            while (strcmp(op->name, cases[c].operation) != 0)
                op++;
            at = 0;
            at_name = cases[c].call;
            vfs_t *next = open_on(tiers);
            CHECK_INT(start_stopped(op, cases[c].before, &pid), 1);
            CHECK_OK(vfs_create(next, "k", 0, VFS_REPLACE, &w));
            CHECK_OK(vfs_write(w, small_data, SMALL));
            CHECK_IS(vfs_seal(w), VFS_ERR_BUSY);
            CHECK_OK(put(next, "another", 300, 7, 0));
            status = STATUS(vfs_has(next, "k"));
            CHECK(status == 0 || status == 1 || status == VFS_ERR_BUSY);
            status = STATUS(vfs_remove_owned(next, keys, 1));
            CHECK_INT(status, VFS_OK);
            CHECK_OK(vfs_reap(next, NULL));
            go_on(pid);
            CHECK_OK(put(next, "k", 300, 7, VFS_REPLACE));
            CHECK_VALUE(next, "k", 300, 7);
            CHECK_OK(vfs_remove(next, "k"));
            CHECK_OK(vfs_reap(next, NULL));
            QUIET(vfs_close(next));
            CHECK_NOTHING_LEFT(path_of(say("a-%d", c)));
            CHECK_NOTHING_LEFT(path_of(say("b-%d", c)));
            _exit(0);
        }
    }
    JOIN_ALL(pids, 4);
    points = 4;
}

/* ---- all of them ---- */

static void everywhere(int (*try_at)(const struct operation *, enum before, int))
{
    char when[128];
    SYS(prctl(PR_SET_CHILD_SUBREAPER, 1));
    for (unsigned i = 0; i < sizeof operations / sizeof operations[0]; i++)
        for (int before = 0; before < KINDS; before++)
            for (int n = 1; operations[i].before & 1u << before; n++) {
                snprintf(when, sizeof when, "%s (of %d), at call %d", operations[i].name, before, n);
                mode = when;
                if (!try_at(&operations[i], (enum before)before, n))
                    break;
                points++;
            }
    mode = "";
    CHECK(points > 200);
}

int main(int argc, char **argv)
{
    start(argc, argv);
    if (try_own_mounts() == 0) /* for speed alone */
        mount_tmpfs(scratch, "size=64m");
    shared = shared_memory(sizeof *shared);
    make_values();
    A = dir_of("a");
    B = dir_of("b");
    snprintf(tiers, sizeof tiers, "%s,%s", A, B);
    unsigned fds = descriptors();
    CHECK_INT(pthread_atfork(NULL, NULL, child_handler), 0); /* before the library registers its own */
    making = strcmp(mode, "in-handler") == 0 ? IN_HANDLER : strcmp(mode, "without-handler") == 0 ? BY_CLONE : BY_FORK;
    if (strcmp(mode, "forked") == 0 || making != BY_FORK) {
        everywhere(forked_at);
        for (lost = 1; lost < 4; lost++)
            for (int n = 1; forked_at(&operations[lost == 1 ? 0 : lost == 2 ? 4 : 10], NONE, n); n++)
                points++;
    } else if (strcmp(mode, "orphaned") == 0)
        everywhere(orphaned_at);
    else if (strcmp(mode, "stopped") == 0)
        everywhere(stopped_at);
    else if (strcmp(mode, "held") == 0)
        held();
    else
        FAIL("no such mode");
    CHECK_INT(descriptors(), fds);
    if (getenv("VFS_TEST_COUNT"))
        fprintf(stderr, "%d points\n", points);
    return 0;
}

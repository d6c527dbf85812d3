/* The directories of stores: they are there for as long as a handle that may change the store is open, or a blob lies in
 * them, and then go. One MODE a case. */
#include "harness.h"
#include "between.h"

static const char *A, *B, *C;
static char tiers[3 * PATH_MAX + 16]; /* small blobs go to A, large ones to B, none to C */
static char own[3][PATH_MAX];

static struct steps {
    _Atomic int child, parent;
} *steps;

static void three_tiers(void)
{
    A = dir_of("a");
    B = dir_of("b");
    C = dir_of("c");
    snprintf(tiers, sizeof tiers, "%s?max=20K,%s,%s", A, B, C);
    const char *dirs[] = {A, B, C};
    for (int i = 0; i < 3; i++)
        snprintf(own[i], sizeof own[i], "%s", own_tier_dir(dirs[i], geteuid()));
    steps = shared_memory(sizeof *steps);
}

static void nothing_left(void)
{
    CHECK_NOTHING_LEFT(A);
    CHECK_NOTHING_LEFT(B);
    CHECK_NOTHING_LEFT(C);
}

/* Any handle of another store reaps. */
static void reap_by_another(void)
{
    vfs_t *other = open_as(tiers, "another", 0);
    QUIET(vfs_close(other));
}

/* ---- each session has a name of its own, and is over ---- */

/* 30 000 names of the past took vfs_open 150 ms and all inodes of a tier. */
static void past(void)
{
    three_tiers();
    for (int i = 0; i < 200; i++) {
        vfs_t *s = open_as(tiers, say("session-%d", i), 0);
        if (i % 4 & 1)
            CHECK_OK(put(s, "small", 100, 1, 0));
        if (i % 4 & 2)
            CHECK_OK(put(s, "large", 50000, 2, 0));
        if (i % 3 == 0)
            CHECK_OK(vfs_shutdown(s));
        if (i % 3 == 0)
            nothing_left();
        QUIET(vfs_close(s));
        nothing_left();
    }
}

/* One that is killed leaves them, and so does one whose directories are half made or half removed; the next open of any
 * store takes them, on all tiers. */
static void killed_idle(void *name)
{
    vfs_t *s = open_as(tiers, name, 0);
    CHECK_IS(vfs_has(s, "k"), 0);
    atomic_fetch_add(&steps->child, 1);
    sleep_for_ever();
}

static void killed(void)
{
    three_tiers();
    pid_t pids[10];
    for (int i = 0; i < 10; i++)
        pids[i] = start_child(killed_idle, say("session-%d", i));
    AWAIT(&steps->child, 10);
    for (int i = 0; i < 10; i++)
        kill_child(pids[i]);
    CHECK_INT(entries_in(own[2]), 11);
    reap_by_another();
    nothing_left();

    static const char *const parts[] = {"/objects", "/owners", "/objects/\\0123456789abcdef"};
    for (int which = 0; which < 16; which++) {
        for (int tier = 0; tier < 3; tier++) {
            SYS(mkdir(say("%s/half", own[tier]), 0700));
            for (int part = 0; part < 2; part++)
                if (which & 1 << part)
                    SYS(mkdir(say("%s/half%s", own[tier], parts[part]), 0700));
            if ((which & 5) == 5) /* a link that an owner tried */
                SYS(mknod(say("%s/half%s", own[tier], parts[2]), S_IFREG | 0600, 0));
            if (which & 8) /* made under a umask, and not finished */
                SYS(chmod(say("%s/half", own[tier]), 0));
        }
        vfs_t *reader = open_as(tiers, "half", VFS_READ_ONLY);
        if (!(which & 8) || geteuid() == 0)
            CHECK_IS(vfs_has(reader, "k"), 0);
        reap_by_another();
        nothing_left();
        QUIET(vfs_close(reader));
    }
}

/* ---- what is in a store keeps it ---- */

static void persistent(void)
{
    three_tiers();
    vfs_t *s = open_as(tiers, "session", 0);
    CHECK_OK(put(s, "kept", 50000, 1, VFS_PERSIST));
    CHECK_OK(put(s, "small", 500, 2, 0));
    QUIET(vfs_close(s));
    CHECK_NOTHING_LEFT(A);
    CHECK_NOTHING_LEFT(C);
    for (int i = 0; i < 3; i++) {
        reap_by_another();
        vfs_t *reader = open_as(tiers, "session", VFS_READ_ONLY);
        CHECK_VALUE(reader, "kept", 50000, 1);
        CHECK_INT(listed_all(reader), 1);
        QUIET(vfs_close(reader));
        CHECK_NOTHING_LEFT(A);
        QUIET(vfs_close(open_as(tiers, "session", 0)));
        CHECK_NOTHING_LEFT(A);
    }
    s = open_as(tiers, "session", 0);
    CHECK_OK(vfs_remove(s, "kept"));
    QUIET(vfs_close(s));
    nothing_left();
}

/* What others put there stays; nothing is lost by it, and once it is gone the rest goes. */
static void foreign(void)
{
    static const char *const places[] = {"", "/objects", "/owners"};
    three_tiers();
    for (int which = 0; which < 6; which++) {
        char path[PATH_MAX];
        vfs_t *s = open_as(tiers, "session", 0);
        snprintf(path, sizeof path, "%s", say("%s/session%s/\\theirs", own[0], places[which / 2]));
        if (which % 2)
            SYS(mkdir(path, 0700));
        else
            SYS(mknod(path, S_IFREG | 0600, 0));
        CHECK_OK(put(s, "k", 100, 1, 0));
        QUIET(vfs_close(s));
        reap_by_another();
        SYS(access(path, F_OK));
        s = open_as(tiers, "session", 0);
        CHECK_OK(put(s, "k", 100, 1, 0));
        CHECK_INT(tier_of(s, "k"), 0);
        CHECK_INT(listed_all(s), 1);
        QUIET(vfs_close(s));
        SYS(access(path, F_OK));
        SYS(which % 2 ? rmdir(path) : unlink(path));
        reap_by_another();
        nothing_left();
    }
}

/* ---- who has it open keeps it ---- */

static ino_t number_of(const char *path)
{
    struct stat st;
    SYS(stat(path, &st));
    return st.st_ino;
}

static void others(void)
{
    three_tiers();
    const char *key = NULL;
    vfs_stat_t stat = VFS_STAT_INIT;
    for (int i = 0; i < 20; i++) {
        vfs_t *s = open_as(tiers, "session", 0), *other = open_as(tiers, "session", 0);
        ino_t numbers[3];
        for (int tier = 0; tier < 3; tier++)
            numbers[tier] = number_of(say("%s/session/objects", own[tier]));
        if (i % 2)
            CHECK_OK(put(s, "k", 100, 1, 0));
        QUIET(vfs_close(s));
        reap_by_another();
        for (int tier = 0; tier < 3; tier++)
            CHECK(number_of(say("%s/session/objects", own[tier])) == numbers[tier]);
        CHECK_OK(put(other, "k", 100, 2, 0));
        CHECK_INT(tier_of(other, "k"), 0);

        /* a writer and a listing that outlive it keep nothing, and do no harm */
        vfs_writer_t *w = NULL;
        vfs_list_t *list = NULL;
        CHECK_OK(vfs_create(other, "w", 0, 0, &w));
        CHECK_OK(vfs_write(w, "abc", 3));
        CHECK_OK(vfs_list_open(other, &list));
        QUIET(vfs_close(other));
        nothing_left();
        CHECK_IS(vfs_list_next(list, &key, &stat), VFS_ERR_SHUTDOWN);
        CHECK_IS(vfs_write(w, "abc", 3), VFS_ERR_SHUTDOWN);
        vfs_t *next = i % 3 ? open_as(tiers, "session", 0) : NULL;
        QUIET(vfs_abort(w));
        QUIET(vfs_list_close(list));
        if (next) {
            CHECK_OK(put(next, "k", 100, 3, 0));
            CHECK_INT(tier_of(next, "k"), 0);
            QUIET(vfs_close(next));
        }
        nothing_left();
    }
}

/* A reader was there before the store, and stays while it comes and goes. It keeps nothing, and finds everything. */
static void readers(void)
{
    three_tiers();
    vfs_t *reader = open_as(tiers, "session", VFS_READ_ONLY);
    CHECK_ABSENT(reader, "k");
    for (int i = 0; i < 20; i++) {
        vfs_t *s = open_as(tiers, "session", 0);
        CHECK_OK(put(s, "k", i % 2 ? 100 : 50000, (uint64_t)i, 0));
        CHECK_VALUE(reader, "k", i % 2 ? 100 : 50000, (uint64_t)i);
        CHECK_INT(listed_all(reader), 1);
        QUIET(vfs_close(s));
        nothing_left();
        CHECK_ABSENT(reader, "k");
        CHECK_INT(listed_all(reader), 0);
    }
    QUIET(vfs_close(reader));
    nothing_left();
}

/* A child that closes what it inherited removes nothing of its parent's. */
static void child(void *arg)
{
    vfs_t *s = arg;
    CHECK_IS(vfs_shutdown(s), VFS_ERR_FORKED);
    QUIET(vfs_close(s));
    SYS(access(say("%s/session/objects", own[0]), F_OK));
    s = open_as(tiers, "another", 0);
    CHECK_OK(vfs_reap(s, NULL));
    QUIET(vfs_close(s));
}

static void forked(void)
{
    three_tiers();
    for (int i = 0; i < 20; i++) {
        vfs_t *s = open_as(tiers, "session", 0);
        ino_t number = number_of(say("%s/session/objects", own[2]));
        JOIN(start_child(child, s));
        CHECK(number_of(say("%s/session/objects", own[2])) == number);
        CHECK_OK(put(s, "k", 100, 1, 0));
        QUIET(vfs_close(s));
        nothing_left();
    }
}

/* ---- something happens between any two calls of the system ---- */

static int left_until;
static void (*visit)(void);

static void count_down(const char *name)
{
    (void)name;
    if (left_until > 0 && --left_until == 0)
        visit();
}

static void session(void)
{
    vfs_t *s = open_as(tiers, "session", 0);
    CHECK_OK(put(s, "k", 100, 1, 0));
    CHECK_VALUE(s, "k", 100, 1);
    CHECK_INT(tier_of(s, "k"), 0);
    QUIET(vfs_close(s));
}

static void another_session(void)
{
    vfs_t *s = open_as(tiers, "session", 0);
    CHECK_OK(put(s, "theirs", 100, 2, 0));
    CHECK_VALUE(s, "theirs", 100, 2);
    CHECK_INT(tier_of(s, "theirs"), 0);
    QUIET(vfs_close(s));
}

static void idle_session(void)
{
    QUIET(vfs_close(open_as(tiers, "session", 0)));
}

/* Runs `work` once for each of its calls, before which `visit` runs. */
static long at_each_call(void (*work)(void), void (*check)(void))
{
    long points = 0;
    for (int nth = 1;; nth++) {
        left_until = nth;
        before_call = count_down;
        work();
        before_call = NULL;
        if (check)
            check();
        if (left_until > 0)
            return points;
        points++;
    }
}

static vfs_t *came;

static void come(void)
{
    came = open_as(tiers, "session", 0);
}

static void use_and_leave(void)
{
    if (!came)
        return;
    CHECK_OK(put(came, "theirs", 100, 2, 0));
    CHECK_INT(tier_of(came, "theirs"), 0);
    vfs_t *reader = open_as(tiers, "session", VFS_READ_ONLY);
    CHECK_VALUE(reader, "theirs", 100, 2);
    QUIET(vfs_close(reader));
    QUIET(vfs_close(came));
    came = NULL;
    nothing_left();
}

static void check_reaped(void)
{
    reap_by_another();
    nothing_left();
}

/* While one handle opens, stores and closes, another one comes, or comes and goes, or all are reaped. Where the first one
 * is about to remove the directories, it is as if its process was stopped there: the other one goes on without it. */
static void between(void)
{
    three_tiers();
    snprintf(tiers, sizeof tiers, "%s,%s", A, B);
    static void (*const visits[])(void) = {come, idle_session, another_session, reap_by_another};
    long points = 0;
    for (int i = 0; i < 4; i++) {
        visit = visits[i];
        points += at_each_call(session, i == 0 ? use_and_leave : check_reaped);
        points += at_each_call(idle_session, i == 0 ? use_and_leave : check_reaped);
        points += at_each_call(reap_by_another, i == 0 ? use_and_leave : check_reaped);
    }
    CHECK(points > 100);
    tell_points("store-names between", points);
}

/* Others remove an empty store between the making and the opening of its directory, several times in a row: many
 * processes that open, close and reap at once met that, and vfs_open was VFS_ERR_IO. */
static int was_made, taken_away;

static void take_away(const char *name)
{
    if (was_made && strcmp(name, "openat") == 0 && taken_away < 20 && rmdir(say("%s/session", own[0])) == 0)
        taken_away++;
    was_made = strcmp(name, "mkdirat") == 0;
}

static void made_again(void)
{
    three_tiers();
    before_call = take_away;
    vfs_t *s = open_as(tiers, "session", 0);
    before_call = NULL;
    CHECK_INT(taken_away, 20);
    CHECK_OK(put(s, "k", 100, 1, 0));
    CHECK_INT(tier_of(s, "k"), 0);
    QUIET(vfs_close(s));
    nothing_left();
}

static void die(void)
{
    kill(getpid(), SIGKILL);
}

static void (*to_be_killed)(void);

static void killed_at(void *nth)
{
    left_until = *(int *)nth;
    visit = die;
    before_call = count_down;
    to_be_killed();
    before_call = NULL;
}

/* What is to be reaped: a dead owner's store, and one that nobody stored in. */
static void dying(void *arg)
{
    (void)arg;
    vfs_t *s = open_as(tiers, "session", 0);
    CHECK_OK(put(s, "k", 100, 1, 0));
    CHECK_OK(put(s, "large", 50000, 1, 0));
    open_as(tiers, "idle", 0);
}

/* A process is killed at each of its calls while it opens, stores, closes, or reaps. What is left is used by the next
 * one, hides no persistent blob, and is removed with the next end or reap. */
static void killed_anywhere(void)
{
    three_tiers();
    snprintf(tiers, sizeof tiers, "%s?max=20K,%s", A, B);
    static void (*const works[])(void) = {idle_session, session, reap_by_another};
    long points = 0;
    for (int i = 0; i < 3; i++) {
        to_be_killed = works[i];
        for (int nth = 1;; nth++) {
            int state, keep = nth % 2;
            vfs_t *keeper = open_as(tiers, "session", 0);
            if (keep)
                CHECK_OK(put(keeper, "kept", 700, 7, VFS_PERSIST));
            QUIET(vfs_close(keeper));
            JOIN(start_child(dying, NULL));
            pid_t pid = start_child(killed_at, &nth);
            CHECK_INT(waitpid(pid, &state, 0), pid);
            if (WIFSIGNALED(state))
                CHECK_INT(WTERMSIG(state), SIGKILL);
            else
                CHECK_INT(WEXITSTATUS(state), 0);
            vfs_t *reader = open_as(tiers, "session", VFS_READ_ONLY);
            if (keep)
                CHECK_VALUE(reader, "kept", 700, 7);
            if (nth / 2 % 2)
                session();
            reap_by_another();
            if (keep) {
                CHECK_VALUE(reader, "kept", 700, 7);
                CHECK_INT(listed_all(reader), 1);
                CHECK_NOTHING_LEFT(B);
                CHECK_NOTHING_LEFT(C);
                keeper = open_as(tiers, "session", 0);
                CHECK_OK(vfs_remove(keeper, "kept"));
                QUIET(vfs_close(keeper));
            }
            QUIET(vfs_close(reader));
            nothing_left();
            if (!WIFSIGNALED(state))
                break;
            points++;
        }
    }
    CHECK(points > 100);
    tell_points("store-names killed", points);
}

/* ---- many at once ---- */

static void coming_and_going(void *arg)
{
    int number = *(int *)arg;
    for (int i = 0; atomic_load(&steps->parent) == 0; i++) {
        vfs_t *s = open_as(tiers, "session", number == 2 ? VFS_READ_ONLY : 0);
        if (number == 0) {
            CHECK_OK(put(s, "theirs", 100, (uint64_t)i, 0));
            CHECK_INT(tier_of(s, "theirs"), 0);
        } else if (number == 1) {
            CHECK_OK(vfs_reap(s, NULL));
        } else {
            CHECK(STATUS(vfs_has(s, "k")) >= 0);
        }
        QUIET(vfs_close(s));
        atomic_fetch_add(&steps->child, 1);
    }
}

/* Others open and close the store all the time. One stores in it, now through one handle, now through another: it never
 * meets a directory that is gone, and everything goes to the first tier. */
static void storm(void)
{
    three_tiers();
    pid_t pids[6];
    for (int i = 0; i < 6; i++) {
        int number = i;
        pids[i] = start_child(coming_and_going, &number);
    }
    for (int i = 0; atomic_load(&steps->child) < 3000; i++) {
        vfs_t *s = open_as(tiers, "session", 0);
        for (int j = 0; j <= i % 3; j++) {
            CHECK_OK(put(s, "k", 100, (uint64_t)i, VFS_REPLACE));
            CHECK_VALUE(s, "k", 100, (uint64_t)i);
            CHECK_INT(tier_of(s, "k"), 0);
        }
        QUIET(vfs_close(s));
    }
    atomic_store(&steps->parent, 1);
    JOIN_ALL(pids, 6);
    check_reaped();
}

int main(int argc, char **argv)
{
    static const struct {
        const char *name;
        void (*run)(void);
    } modes[] = {
        {"past", past},       {"killed", killed}, {"persistent", persistent}, {"foreign", foreign},
        {"others", others},   {"readers", readers}, {"forked", forked},       {"between", between},
        {"killed-anywhere", killed_anywhere}, {"storm", storm}, {"made-again", made_again},
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

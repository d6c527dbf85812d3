/* A key that lies in two tiers, as a killed replace leaves it: whatever takes the upper one away takes the lower one
 * first, or neither. The old value never comes up again. One MODE a case. */
#include "harness.h"

#include "between.h"

enum what { REMOVE, REMOVE_OWNED, SHUTDOWN, CLOSE, REAP, REPLACE, WHATS };

static const char *A, *B;
static char tiers[2 * PATH_MAX + 16], below[PATH_MAX];

static void owner(void *arg)
{
    vfs_t *s = open_on(tiers);
    CHECK_OK(put(s, "k", 400, 2, 0));
    CHECK_INT(tier_of(s, "k"), 0);
    atomic_store((_Atomic int *)arg, 1);
    sleep_for_ever();
}

/* "k" is 2 on A, and an older 1 on B. Answers the handle that owns it, but where the owner is dead. */
static vfs_t *two_values(int what)
{
    A = dir_of(say("a%d", what));
    B = dir_of(say("b%d", what));
    snprintf(tiers, sizeof tiers, "%s,%s", A, B);
    vfs_t *s = NULL;
    if (what == REAP) {
        _Atomic int *step = shared_memory(sizeof *step);
        pid_t pid = start_child(owner, step);
        AWAIT(step, 1);
        kill_child(pid);
    } else {
        s = open_on(tiers);
        CHECK_OK(put(s, "k", 400, 2, 0));
        CHECK_INT(tier_of(s, "k"), 0);
    }
    vfs_options_t options = VFS_OPTIONS_INIT;
    vfs_t *lower = NULL;
    options.tiers = B; /* whoever does not know A */
    options.name = "harness";
    CHECK_OK(vfs_open(&options, &lower));
    CHECK_OK(put(lower, "k", 300, 1, VFS_PERSIST));
    QUIET(vfs_close(lower));
    snprintf(below, sizeof below, "%s/harness/objects/k", own_tier_dir(B, geteuid()));
    const struct timespec old[2] = {{1000, 0}, {1000, 0}};
    SYS(utimensat(AT_FDCWD, below, old, 0));
    return s;
}

static int32_t run(vfs_t *s, int what, vfs_t *reaper)
{
    const char *keys[] = {"k"};
    switch (what) {
    case REMOVE: return STATUS(vfs_remove(s, "k"));
    case REMOVE_OWNED: return STATUS(vfs_remove_owned(s, keys, 1));
    case SHUTDOWN: return STATUS(vfs_shutdown(s));
    case CLOSE: QUIET(vfs_close(s)); return VFS_OK;
    case REAP: return STATUS(vfs_reap(reaper, NULL));
    default: return put(s, "k", 500, 3, VFS_REPLACE);
    }
}

/* The lower one can be removed: both go. */
static void removable(void)
{
    for (int what = 0; what < WHATS; what++) {
        vfs_t *s = two_values(what);
        vfs_t *reader = open_as(tiers, "harness", VFS_READ_ONLY), *reaper = NULL;
        CHECK_VALUE(reader, "k", 400, 2);
        CHECK_INT(listed(reader, "k"), 1);
        if (what == REAP) {
            reaper = open_as(tiers, "harness", 0); /* reaps, but does not wait */
            CHECK_OK(vfs_reap(reaper, NULL));
        } else {
            CHECK_OK(run(s, what, NULL));
        }
        if (what == REPLACE)
            CHECK_VALUE(reader, "k", 500, 3);
        else
            CHECK_ABSENT(reader, "k");
        if (access(below, F_OK) == 0)
            FAIL("case %d: the older value is still below", what);
        if (what != CLOSE)
            QUIET(vfs_close(s));
        QUIET(vfs_close(reaper));
        CHECK_ABSENT(reader, "k");
        QUIET(vfs_close(reader));
        CHECK_NOTHING_LEFT(A);
        CHECK_NOTHING_LEFT(B);
    }
}

/* What ends where no path leads any more has hidden nothing: an older value on the tier below, which came back
 * meanwhile, is not what a replace left. */
static void unreached(void)
{
    const char *first = dir_of("a"), *second = dir_of("second"), *link = path_of("link"), *away = path_of("away");
    B = dir_of("b");
    snprintf(tiers, sizeof tiers, "%s,%s", link, B);
    SYS(symlink(first, link));
    vfs_t *lower = open_on(B);
    CHECK_OK(put(lower, "k", 300, 1, VFS_PERSIST));
    QUIET(vfs_close(lower));
    SYS(rename(B, away));
    vfs_t *s = open_on(tiers);
    CHECK_OK(put(s, "k", 400, 2, 0));
    SYS(rename(away, B));
    SYS(unlink(link));
    SYS(symlink(second, link));
    CHECK_OK(vfs_shutdown(s));
    QUIET(vfs_close(s));
    CHECK_NOTHING_LEFT(first);
    lower = open_on(tiers);
    CHECK_VALUE(lower, "k", 300, 1);
    CHECK_OK(vfs_remove(lower, "k"));
    QUIET(vfs_close(lower));
    SYS(unlink(link));
    CHECK_NOTHING_LEFT(second);
    CHECK_NOTHING_LEFT(B);
}

/* The lower one cannot be removed: the upper one stays, or at least the older value is not seen. */
static void pinned(void)
{
    own_mounts();
    for (int what = 0; what < WHATS; what++) {
        vfs_t *s = two_values(what);
        vfs_t *reader = open_as(tiers, "harness", VFS_READ_ONLY), *reaper = NULL;
        SYS(mount(below, below, "none", MS_BIND, NULL)); /* EBUSY for whoever unlinks it */
        if (what == REAP)
            reaper = open_as(tiers, "harness", 0);
        int32_t status = run(s, what, reaper);
        if (what != CLOSE && status == VFS_OK)
            FAIL("case %d: it says that all went well", what);
        CHECK_VALUE(reader, "k", 400, 2);
        SYS(umount2(below, MNT_DETACH));
        if (what != CLOSE)
            QUIET(vfs_close(s));
        QUIET(vfs_close(reaper));
        reaper = open_as(tiers, "harness", 0);
        CHECK_OK(vfs_reap(reaper, NULL));
        CHECK_ABSENT(reader, "k");
        QUIET(vfs_close(reaper));
        QUIET(vfs_close(reader));
        CHECK_NOTHING_LEFT(A);
        CHECK_NOTHING_LEFT(B);
    }
}

/* A replace that moves a key down and cannot clear the upper one takes the new one back. */
static void pinned_above(void)
{
    own_mounts();
    const char *a = dir_of("a"), *b = dir_of("b"), *above;
    static const uint32_t flags[] = {VFS_REPLACE, VFS_REPLACE | VFS_PERSIST};
    vfs_t *s = open_on(say("%s?max=1,%s?max=1600", a, b)), *other = open_on(a);
    CHECK_OK(put(other, "k", 400, 1, 0));
    above = path_of(say("a/vfs1-%u/harness/objects/k", (unsigned)geteuid()));
    SYS(mount(above, above, "none", MS_BIND, NULL));
    for (int i = 0; i < 20; i++) { /* what is taken back is not counted: `max` is for three of them */
        CHECK_IS(put(s, "k", 500, 2, flags[i / 10]), VFS_ERR_BUSY);
        CHECK_VALUE(s, "k", 400, 1);
        CHECK(access(say("%s/harness/objects/k", own_tier_dir(b, geteuid())), F_OK) != 0);
    }
    SYS(umount2(above, MNT_DETACH));
    CHECK_OK(put(s, "k", 500, 2, VFS_REPLACE));
    CHECK_VALUE(s, "k", 500, 2);
    CHECK_ABSENT(other, "k");
    QUIET(vfs_close(other));
    QUIET(vfs_close(s));
    CHECK_NOTHING_LEFT(a);
    CHECK_NOTHING_LEFT(b);
}

/* Not the one that is seen: it goes alone, and takes nothing of what lies below it. */
static void hidden(void)
{
    const char *a = dir_of("a"), *b = dir_of("b"), *c = dir_of("c");
    vfs_t *s = open_on(say("%s?max=1,%s,%s", a, b, c)), *above = open_on(a), *lower = open_on(c);
    CHECK_OK(put(s, "k", 400, 2, 0));
    CHECK_INT(tier_of(s, "k"), 1);
    CHECK_OK(put(lower, "k", 300, 1, VFS_PERSIST));
    const struct timespec old[2] = {{1000, 0}, {1000, 0}};
    SYS(utimensat(AT_FDCWD, say("%s/harness/objects/k", own_tier_dir(c, geteuid())), old, 0));
    CHECK_OK(put(above, "k", 500, 3, 0));
    CHECK_VALUE(s, "k", 500, 3);
    CHECK_OK(vfs_shutdown(s));
    CHECK_VALUE(above, "k", 500, 3);
    CHECK_VALUE(lower, "k", 300, 1);
    CHECK(access(say("%s/harness/objects/k", own_tier_dir(b, geteuid())), F_OK) != 0);
    QUIET(vfs_close(s));
    CHECK_OK(vfs_remove(lower, "k"));
    QUIET(vfs_close(lower));
    QUIET(vfs_close(above));
    CHECK_NOTHING_LEFT(a);
    CHECK_NOTHING_LEFT(b);
    CHECK_NOTHING_LEFT(c);
}

/* ---- a replace that moves a key down is seen by all or by none ---- */

static struct {
    const char *above, *below; /* where the key's blob lies in the one tier and in the other */
    vfs_t *up, *down, *reader; /* stores in the upper tier, in the lower, and reads */
    unsigned stop_before;      /* this call of the reader */
    uint64_t seen;
} moved;

/* Each is raised once a turn. */
static _Atomic int stopped, go_on, between, clear;

static void before_call_of_reader(const char *name)
{
    (void)name;
    if (--moved.stop_before == 0) {
        atomic_store(&stopped, 1);
        AWAIT(&go_on, 1);
    }
}

static void *read_slowly(void *arg)
{
    unsigned char data[600];
    size_t len = 0;
    before_call = before_call_of_reader;
    CHECK_OK(vfs_read(moved.reader, "k", 0, data, sizeof data, &len, NULL));
    before_call = NULL;
    CHECK(is_whole(data, len, &moved.seen));
    atomic_store(&stopped, 1); /* or it came to its end */
    return arg;
}

/* The new value lies below, and the old one is not cleared yet. */
static void before_call_of_writer(const char *name)
{
    (void)name;
    if (atomic_load(&between) || access(moved.below, F_OK) != 0)
        return;
    atomic_store(&between, 1);
    AWAIT(&clear, 1);
}

static void *replace_slowly(void *arg)
{
    before_call = before_call_of_writer;
    CHECK_OK(put(moved.down, "k", 500, 3, VFS_REPLACE));
    before_call = NULL;
    return arg;
}

/* Before each call of a reader of value 1 in the lower tier, value 2 is stored above, and 3 is on its way below. Who has
 * seen 3 leaves nobody who comes later with 2. */
static void seen_early(void)
{
    const char *a = dir_of("a"), *b = dir_of("b"), *both = say("%s,%s", a, b);
    moved.up = open_on(both);
    moved.reader = open_as(both, "harness", VFS_READ_ONLY);
    moved.down = open_on(say("%s?max=1,%s", a, b));
    moved.above = path_of(say("a/vfs1-%u/harness/objects/k", (unsigned)geteuid()));
    moved.below = path_of(say("b/vfs1-%u/harness/objects/k", (unsigned)geteuid()));
    unsigned news = 0;
    for (unsigned call = 1; ; call++) {
        pthread_t reader, writer;
        CHECK_OK(put(moved.down, "k", 300, 1, VFS_REPLACE));
        CHECK(access(moved.above, F_OK) != 0);
        moved.stop_before = call;
        stopped = go_on = between = clear = 0;
        CHECK_INT(pthread_create(&reader, NULL, read_slowly, NULL), 0);
        AWAIT(&stopped, 1);
        int is_over = moved.stop_before != 0;
        CHECK_OK(put(moved.up, "k", 400, 2, VFS_REPLACE));
        CHECK(access(moved.below, F_OK) != 0);
        CHECK_INT(pthread_create(&writer, NULL, replace_slowly, NULL), 0);
        AWAIT(&between, 1);
        CHECK(access(moved.above, F_OK) == 0);
        atomic_store(&go_on, 1);
        CHECK_INT(pthread_join(reader, NULL), 0);
        CHECK_VALUE(moved.up, "k", 400, 2);
        if (moved.seen == 3)
            FAIL("before call %u: value 3 was seen before it took the place of 2", call);
        news += moved.seen == 2;
        atomic_store(&clear, 1);
        CHECK_INT(pthread_join(writer, NULL), 0);
        CHECK_VALUE(moved.up, "k", 500, 3);
        if (is_over)
            break;
    }
    CHECK(news > 0);
    QUIET(vfs_close(moved.reader));
    QUIET(vfs_close(moved.up));
    QUIET(vfs_close(moved.down));
    CHECK_NOTHING_LEFT(a);
    CHECK_NOTHING_LEFT(b);
}

int main(int argc, char **argv)
{
    static const struct {
        const char *name;
        void (*run)(void);
    } modes[] = {
        {"removable", removable}, {"pinned", pinned}, {"hidden", hidden}, {"pinned-above", pinned_above},
        {"seen-early", seen_early}, {"unreached", unreached},
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

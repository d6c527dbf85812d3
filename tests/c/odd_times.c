/* Filesystems that do not keep the times of files: in whole seconds, to the microsecond, rounded, or not beyond some year. This
 * program stands in for the clock, and for the call that sets a file's time. One MODE a case. */
#include "harness.h"

#include <sys/ioctl.h>
#include <sys/syscall.h>

static _Atomic long long clock_ahead; /* seconds that the clock is ahead */
static _Atomic long long unit;        /* nanoseconds: times are kept as multiples of it; 0: as they are */
static _Atomic int rounds_up;
static _Atomic long long last_second; /* what is later is kept as this; 0: no limit */
static _Atomic int keeps_none;        /* a file has the time of the call */
static _Atomic int generations;       /* 0: inodes have none here */
static _Atomic int written;           /* how often */
static _Thread_local const char *dies_at; /* before a name that ends so is removed */
static dev_t odd_dev;                 /* 0: everywhere */

int clock_gettime(clockid_t id, struct timespec *now)
{
    int answer = (int)syscall(SYS_clock_gettime, id, now);
    if (id == CLOCK_REALTIME)
        now->tv_sec += clock_ahead;
    return answer;
}

int futimens(int fd, const struct timespec times[2])
{
    struct timespec kept[2] = {times[0], times[1]};
    struct stat st;
    if (odd_dev == 0 || (fstat(fd, &st) == 0 && st.st_dev == odd_dev)) {
        if (keeps_none)
            return 0;
        if (unit) {
            long long ns = kept[1].tv_sec % 2 * 1000000000LL + kept[1].tv_nsec, whole = ns / unit * unit;
            if (rounds_up && whole < ns)
                whole += unit;
            kept[1].tv_sec += whole / 1000000000 - kept[1].tv_sec % 2;
            kept[1].tv_nsec = whole % 1000000000;
        }
        if (last_second && kept[1].tv_sec > last_second) {
            kept[1].tv_sec = last_second;
            kept[1].tv_nsec = 0;
        }
    }
    return (int)syscall(SYS_utimensat, fd, NULL, kept, 0);
}

int ioctl(int fd, unsigned long command, ...)
{
    va_list args;
    va_start(args, command);
    void *arg = va_arg(args, void *);
    va_end(args);
    if (!generations && command == _IOR('v', 1, long)) {
        errno = ENOTTY;
        return -1;
    }
    return (int)syscall(SYS_ioctl, fd, command, arg);
}

int unlinkat(int dir, const char *path, int flags)
{
    size_t len = strlen(path), end = dies_at ? strlen(dies_at) : 0;
    if (dies_at && len >= end && strcmp(path + len - end, dies_at) == 0)
        _exit(7);
    return (int)syscall(SYS_unlinkat, dir, path, flags);
}

ssize_t pwrite64(int fd, const void *data, size_t len, off64_t offset)
{
    atomic_fetch_add(&written, 1);
    return syscall(SYS_pwrite64, fd, data, len, offset);
}

/* ---- what is asked ---- */

static const char *A, *B, *BOTH;

static void two_tiers(void)
{
    static char both[2 * PATH_MAX];
    A = dir_of("a");
    B = dir_of("b");
    snprintf(both, sizeof both, "%s,%s", A, B);
    BOTH = both;
}

/* What vfs_stat says, after a look that vfs_read, vfs_map and the listing say the same of one blob. */
static vfs_stat_t known(vfs_t *s, const char *key)
{
    vfs_stat_t by_stat = VFS_STAT_INIT, by_read = VFS_STAT_INIT, by_map = VFS_STAT_INIT, by_list = VFS_STAT_INIT;
    vfs_view_t view = {0};
    vfs_list_t *list = NULL;
    const char *name = NULL;
    char byte;
    size_t len;
    CHECK_OK(vfs_stat(s, key, &by_stat));
    CHECK_OK(vfs_read(s, key, 0, &byte, 1, &len, &by_read));
    CHECK_OK(vfs_map(s, key, &view, &by_map));
    vfs_unmap(&view);
    CHECK_OK(vfs_list_open(s, &list));
    do
        CHECK_OK(vfs_list_next(list, &name, &by_list));
    while (strcmp(name, key) != 0);
    QUIET(vfs_list_close(list));
    CHECK(by_stat.id == by_read.id && by_stat.id == by_map.id && by_stat.id == by_list.id);
    CHECK(by_stat.stored_at_ns == by_read.stored_at_ns && by_stat.stored_at_ns == by_map.stored_at_ns &&
          by_stat.stored_at_ns == by_list.stored_at_ns);
    return by_stat;
}

static vfs_stat_t known_twice(vfs_t *s, const char *key)
{
    vfs_stat_t first = known(s, key), again = known(s, key);
    CHECK(first.id == again.id);
    return first;
}

/* Replaced again and again, a key has another id each time. Answers the last time. */
static uint64_t check_ids(const char *tiers, int is_known)
{
    uint64_t ids[12], at = 0;
    vfs_t *s = open_on(tiers), *reader = open_on(tiers);
    for (int i = 0; i < 12; i++) {
        CHECK_OK(put(s, "k", 300, (uint64_t)i + 1, i % 3 == 2 ? VFS_PERSIST | VFS_REPLACE : VFS_REPLACE));
        vfs_stat_t stat = known_twice(s, "k");
        CHECK(known(reader, "k").id == stat.id);
        for (int j = 0; j < i; j++)
            if (ids[j] == stat.id)
                FAIL("values %d and %d have one id", j, i);
        ids[i] = stat.id;
        at = stat.stored_at_ns;
        CHECK_INT(at != 0, is_known);
    }
    CHECK_OK(vfs_remove(s, "k"));
    QUIET(vfs_close(reader));
    QUIET(vfs_close(s));
    return at;
}

/* An owner on both tiers, and one who stores later on the lower one alone: the end of the first leaves the second's blob. */
static void check_younger_stays(void)
{
    for (int killed = 0; killed < 2; killed++) {
        vfs_t *both = open_on(BOTH), *low = open_on(B);
        CHECK_OK(put(both, "j", 300, 1, 0));
        CHECK_OK(put(low, "j", 300, 2, VFS_PERSIST));
        if (killed)
            CHECK_OK(vfs_remove_owned(both, (const char *const[]){"j"}, 1));
        else
            QUIET(vfs_close(both));
        CHECK_VALUE(low, "j", 300, 2);
        CHECK_OK(vfs_remove(low, "j"));
        if (killed)
            QUIET(vfs_close(both));
        QUIET(vfs_close(low));
    }
}

static void replaced_and_killed(void *arg)
{
    vfs_t *s = open_on(arg);
    dies_at = "objects/k"; /* when the new value is there and the old one is not removed yet */
    (void)put(s, "k", 400, 2, VFS_REPLACE);
    FAIL("nothing was removed");
}

/* A replace that moves a key to the other tier and is killed: what it left below goes with the one that is seen. */
static void check_leftover_goes(int downward)
{
    char other[2 * PATH_MAX + 40];
    vfs_t *s = open_on(downward ? BOTH : say("%s?max=1,%s", A, B));
    CHECK_OK(put(s, "k", 300, 1, 0));
    CHECK_INT(tier_of(s, "k"), downward ? 0 : 1);
    if (downward)
        snprintf(other, sizeof other, "%s?max=1,%s", A, B);
    else
        snprintf(other, sizeof other, "%s", BOTH);
    pid_t child = start_child(replaced_and_killed, other);
    int state = 0;
    CHECK_INT(waitpid(child, &state, 0), child);
    CHECK(WIFEXITED(state) && WEXITSTATUS(state) == 7);
    CHECK_VALUE(s, "k", downward ? 300 : 400, downward ? 1 : 2);
    if (downward) /* the owner of the one that is seen ends */
        CHECK_OK(vfs_remove_owned(s, (const char *const[]){"k"}, 1));
    else
        CHECK_OK(vfs_reap(s, NULL));
    CHECK_ABSENT(s, "k");
    CHECK_OK(vfs_reap(s, NULL));
    QUIET(vfs_close(s));
    CHECK_NOTHING_LEFT(A);
    CHECK_NOTHING_LEFT(B);
}

static void moved_both_ways(void)
{
    vfs_t *s = open_on(BOTH), *down = open_on(say("%s?max=1,%s", A, B));
    for (int i = 0; i < 3; i++) {
        CHECK_OK(put(s, "m", 300, 1, VFS_REPLACE));
        CHECK_INT(tier_of(s, "m"), 0);
        CHECK_OK(put(down, "m", 400, 2, VFS_REPLACE));
        CHECK_INT(tier_of(s, "m"), 1);
        CHECK_VALUE(s, "m", 400, 2);
    }
    QUIET(vfs_close(s));
    QUIET(vfs_close(down));
}

/* ---- the cases ---- */

/* Times of any granularity, cut or rounded: ids differ where inodes have generations, or the time is fine enough. */
static void granularities(void)
{
    static const long long units[] = {2000000000, 1000000000, 10000000, 1000000, 1000, 100};
    two_tiers();
    generations = 1;
    for (int i = 0; i < 12; i++) {
        unit = units[i / 2];
        rounds_up = i % 2;
        check_younger_stays();
        check_leftover_goes(0);
        check_leftover_goes(1);
        moved_both_ways();
    }
    CHECK_NOTHING_LEFT(A);
    CHECK_NOTHING_LEFT(B);
}

/* One of two tiers keeps times beyond its last second as that one, which is long ago by now: nothing is removed by it. */
static void clamped(void)
{
    two_tiers();
    generations = 1;
    last_second = time(NULL) - 1000000;
    check_younger_stays();
    vfs_t *s = open_on(A);
    CHECK_OK(put(s, "k", 300, 1, 0));
    CHECK_INT(known_twice(s, "k").stored_at_ns, 0);
    QUIET(vfs_close(s));
    moved_both_ways();
    CHECK_NOTHING_LEFT(A);
    CHECK_NOTHING_LEFT(B);
}

/* The last second comes while the process runs. */
static void clamped_later(void)
{
    two_tiers();
    generations = 1;
    last_second = time(NULL) + 1000;
    vfs_t *both = open_on(BOTH), *low = open_on(B);
    CHECK_OK(put(both, "before", 300, 1, 0));
    CHECK_OK(put(low, "low", 300, 1, 0));
    CHECK(known_twice(both, "before").stored_at_ns != 0);
    clock_ahead = 5000;
    CHECK_OK(put(both, "j", 300, 1, 0));
    CHECK_INT(known_twice(both, "j").stored_at_ns, 0);
    CHECK_OK(put(low, "j", 300, 2, VFS_PERSIST));
    CHECK_OK(put(low, "before", 300, 2, VFS_PERSIST));
    QUIET(vfs_close(both));
    CHECK_VALUE(low, "j", 300, 2);
    CHECK_VALUE(low, "before", 300, 2);
    CHECK_OK(vfs_remove(low, "j"));
    CHECK_OK(vfs_remove(low, "before"));
    QUIET(vfs_close(low));
    CHECK_NOTHING_LEFT(A);
    CHECK_NOTHING_LEFT(B);
}

/* A process that runs for so long, or whose clock leaps so far, that times leave what was tried. */
static void clamped_in_a_century(void)
{
    two_tiers();
    generations = 1;
    last_second = time(NULL) + 150LL * 365 * 24 * 3600;
    vfs_t *s = open_on(A);
    CHECK_OK(put(s, "k", 300, 1, 0));
    CHECK(known_twice(s, "k").stored_at_ns != 0);
    clock_ahead = 160LL * 365 * 24 * 3600;
    CHECK_OK(put(s, "later", 300, 1, 0));
    CHECK_INT(known_twice(s, "later").stored_at_ns, 0);
    QUIET(vfs_close(s));
    CHECK_NOTHING_LEFT(A);
}

/* A filesystem that keeps no time that a file is given: found out before bytes are written. */
static void kept_not_at_all(void)
{
    two_tiers();
    keeps_none = 1;
    vfs_t *s = open_on(A);
    CHECK_IS(put(s, "k", 300, 1, 0), VFS_ERR_UNSUPPORTED);
    CHECK_SAYS("keeps the time");
    CHECK_INT(written, 0);
    QUIET(vfs_close(s));
    CHECK_NOTHING_LEFT(A);
}

/* ---- a real one: ext4 with inodes of 128 bytes, in whole seconds until 2038 ---- */

/* A filesystem of this kind on a loop device; NULL, and a line, where that cannot be had. */
static const char *mounted(const char *name, const char *const *make)
{
    const char *image = path_of(say("m/%s.image", name)), *dir = dir_of(say("m/%s", name));
    int fd = open(image, O_CREAT | O_RDWR | O_CLOEXEC, 0600);
    SYS(fd);
    SYS(ftruncate(fd, 16 << 20));
    close(fd);
    const char *args[12];
    int count = 0;
    for (; make[count]; count++)
        args[count] = make[count];
    args[count] = image;
    args[count + 1] = NULL;
    if (run_program(args) != 0 || run_program((const char *const[]){"mount", "-o", "loop", image, dir, NULL}) != 0) {
        skipped("no %s, or no loop device", make[0]);
        return NULL;
    }
    return dir;
}

static void ext4(void)
{
    static const char *const kinds[][6] = {
        {"mkfs.ext4", "-q", "-F", "-I", "128", NULL},
        {"mkfs.ext3", "-q", "-F", "-I", "128", NULL},
        {"mkfs.ext2", "-q", "-F", "-I", "128", NULL},
    };
    static char both[2 * PATH_MAX];
    own_mounts();
    const char *top = tmpfs_of("m", "size=64m"), *fine = dir_of("m/fine");
    generations = 1;
    for (int i = 0; i < 3; i++) {
        const char *mount = mounted(say("ext%d", 4 - i), kinds[i]);
        if (!mount)
            continue;
        static const long long ahead[] = {0, 400000000}; /* now, and in 2039 */
        for (int when = 0; when < 2; when++) {
            clock_ahead = ahead[when];
            for (int order = 0; order < 2; order++) {
                A = order ? mount : fine;
                B = order ? fine : mount;
                snprintf(both, sizeof both, "%s,%s", A, B);
                BOTH = both;
                check_younger_stays();
                if (when == 0) {
                    check_leftover_goes(0);
                    check_leftover_goes(1);
                }
                moved_both_ways();
            }
            uint64_t at = check_ids(mount, when == 0);
            CHECK(when == 1 || at % 1000000000 == 0); /* else it is not what this is about */
        }
        CHECK_NOTHING_LEFT(A);
        CHECK_NOTHING_LEFT(B);
        SYS(umount2(mount, 0));
    }
    SYS(umount2(top, 0));
}

int main(int argc, char **argv)
{
    static const struct {
        const char *name;
        void (*run)(void);
    } modes[] = {
        {"granularities", granularities},
        {"clamped", clamped},
        {"clamped-later", clamped_later},
        {"clamped-in-a-century", clamped_in_a_century},
        {"kept-not-at-all", kept_not_at_all},
        {"ext4", ext4},
    };
    start(argc, argv);
    for (unsigned i = 0; i < sizeof modes / sizeof modes[0]; i++) {
        if (strcmp(mode, modes[i].name) == 0) {
            modes[i].run();
            return 0;
        }
    }
    FAIL("no such mode");
}

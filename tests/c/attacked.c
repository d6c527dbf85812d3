/* What an attack found once: calls that meet each other at the worst moment, tiers that others got at, small threads.
 * This program stands in for some functions of the C library, to be there at that moment. One MODE a case. */
#include "harness.h"

#include <sys/syscall.h>

/* ---- the stand-ins ---- */

static _Thread_local void (*on_close)(void);     /* before it */
static _Thread_local void (*before_lock)(void);  /* before a whole file is locked */
static _Thread_local void (*on_room_lock)(void); /* after a whole file was locked */
static _Thread_local void (*on_unlink)(void);    /* before it */
static _Thread_local void (*on_stat)(void);      /* after it */
static _Atomic long long later_by;               /* seconds that the monotonic clock is ahead */

int close(int fd)
{
    if (on_close) {
        int kept = errno;
        on_close();
        errno = kept;
    }
    return (int)syscall(SYS_close, fd);
}

int flock(int fd, int how)
{
    if (before_lock && !(how & LOCK_UN))
        before_lock();
    int answer = (int)syscall(SYS_flock, fd, how), kept = errno;
    if (on_room_lock && answer == 0 && !(how & LOCK_UN))
        on_room_lock();
    errno = kept;
    return answer;
}

int unlinkat(int dir, const char *path, int flags)
{
    int kept = errno;
    if (on_unlink)
        on_unlink();
    errno = kept;
    return (int)syscall(SYS_unlinkat, dir, path, flags);
}

int fstatat(int dir, const char *path, struct stat *st, int flags)
{
    int answer = (int)syscall(SYS_newfstatat, dir, path, st, flags), kept = errno;
    if (on_stat)
        on_stat();
    errno = kept;
    return answer;
}

static _Thread_local int refuse_truncating;
static _Thread_local long looks_at_mounts, looks_back; /* reads of the list of mounts, and those that went back */

int ftruncate64(int fd, off64_t len)
{
    if (refuse_truncating) {
        errno = EPERM;
        return -1;
    }
    return (int)syscall(SYS_ftruncate, fd, len);
}

ssize_t pread64(int fd, void *buf, size_t n, off64_t offset)
{
    static _Thread_local off64_t end;
    char path[64];
    ssize_t got = syscall(SYS_pread64, fd, buf, n, offset);
    int kept = errno;
    ssize_t len = readlink(say("/proc/self/fd/%d", fd), path, sizeof path - 1);
    if (len > 0 && memmem(path, (size_t)len, "/mountinfo", 10)) {
        looks_at_mounts++;
        looks_back += offset != 0 && offset != end;
        end = offset + (got > 0 ? got : 0);
    }
    errno = kept;
    return got;
}

static _Thread_local int refuse_mapping; /* with this errno */

void *mmap64(void *at, size_t len, int may, int how, int fd, off64_t from)
{
    if (refuse_mapping && fd >= 0) {
        errno = refuse_mapping;
        return MAP_FAILED;
    }
    return (void *)syscall(SYS_mmap, at, len, may, how, fd, from);
}

int clock_gettime(clockid_t clock, struct timespec *now)
{
    int answer = (int)syscall(SYS_clock_gettime, clock, now);
    if (clock == CLOCK_MONOTONIC)
        now->tv_sec += (time_t)later_by;
    return answer;
}

/* ---- what several cases use ---- */

static struct steps {
    _Atomic int child, parent;
} *steps;

static vfs_t *store;

/* Two tiers, as a list that is kept. */
static char *list_of(const char *a, const char *b)
{
    static char text[2 * PATH_MAX];
    snprintf(text, sizeof text, "%s,%s", a, b);
    return text;
}

static pthread_t run_thread(void *(*body)(void *), void *arg)
{
    pthread_t thread;
    CHECK_INT(pthread_create(&thread, NULL, body, arg), 0);
    return thread;
}

static void end_thread(pthread_t thread)
{
    CHECK_INT(pthread_join(thread, NULL), 0);
}

/* Runs this program in another mode under strace; how it ended. */
static int traced(const char *calls, const char *inject, const char *other_mode)
{
    const char *self = say("/proc/%d/exe", (int)getpid()); /* another run may have put a new program in its place */
    pid_t pid = fork();
    SYS(pid);
    if (pid == 0) {
        int null = open("/dev/null", O_RDWR);
        dup2(null, 0);
        execlp("strace", "strace", "-f", "-qq", "-o", "/dev/null", "-e", say("trace=%s", calls), "-e", inject, self,
               scratch, other_mode, (char *)NULL);
        _exit(127);
    }
    int state = 0;
    CHECK_INT(waitpid(pid, &state, 0), pid);
    return state;
}

static int can_trace(void)
{
    if (system("strace -o /dev/null -e trace=getppid true >/dev/null 2>&1") == 0)
        return 1;
    skipped("no strace here, or it may not trace");
    return 0;
}

static void dying(void *tiers)
{
    vfs_t *s = open_on(tiers);
    CHECK_OK(put(s, "k", 100, 1, 0));
}

/* Leaves "k" of a dead owner. */
static void leave_dead(const char *tiers)
{
    JOIN(start_child(dying, (void *)(uintptr_t)tiers));
}

/* ---- calls that meet ---- */

static void *persist_slowly(void *arg)
{
    *(int32_t *)arg = put(store, "k", 100, 1, VFS_PERSIST);
    return NULL;
}

static void find_draft(const char *path, const char *inside, const struct stat *st, void *arg)
{
    (void)inside;
    const char *name = strrchr(path, '/');
    if (S_ISREG(st->st_mode) && strcmp(name, "/k") == 0)
        *(int *)arg = 1;
}

/* (its renameat2 takes long) */
static void persisting(void)
{
    const char *a = path_of("a");
    int32_t stored = 1;
    int found = 0;
    store = open_on(a);
    pthread_t thread = run_thread(persist_slowly, &stored);
    for (long long until = now_ms() + PATIENCE_MS; !found && now_ms() < until; nap(1))
        walk(a, "", find_draft, &found);
    nap(150);
    CHECK_OK(vfs_shutdown(store));
    end_thread(thread);
    QUIET(vfs_close(store));
    store = open_on(a);
    CHECK(stored == VFS_OK || stored == VFS_ERR_SHUTDOWN);
    CHECK_INT(vfs_has(store, "k"), stored == VFS_OK);
    if (stored == VFS_OK)
        CHECK_OK(vfs_remove(store, "k"));
    QUIET(vfs_close(store));
    CHECK_NOTHING_LEFT(a);
}

static void persist_beside_shutdown(void)
{
    dir_of("a");
    if (can_trace())
        CHECK_INT(traced("renameat2", "inject=renameat2:delay_enter=700000", "persisting"), 0);
}

static void tell_and_dawdle(void)
{
    on_unlink = NULL;
    atomic_fetch_add(&steps->child, 1);
    nap(300);
}

static void *shut_down_slowly(void *arg)
{
    on_unlink = tell_and_dawdle;
    *(int32_t *)arg = STATUS(vfs_shutdown(store));
    return NULL;
}

static void two_shutdowns(void)
{
    const char *a = dir_of("a");
    int32_t first = 1;
    store = open_on(a);
    vfs_t *reader = open_as(a, "harness", VFS_READ_ONLY);
    for (int i = 0; i < 50; i++)
        CHECK_OK(put(store, say("k-%d", i), 100, 1, 0));
    pthread_t thread = run_thread(shut_down_slowly, &first);
    AWAIT(&steps->child, 1);
    CHECK_OK(vfs_shutdown(store));
    CHECK_INT(listed_all(reader), 0);
    end_thread(thread);
    CHECK_INT(first, VFS_OK);
    CHECK_OK(vfs_shutdown(store));
    QUIET(vfs_close(reader));
    QUIET(vfs_close(store));
    CHECK_NOTHING_LEFT(a);
}

static void polling(void *tiers)
{
    vfs_t *s = open_on(tiers);
    atomic_fetch_add(&steps->child, 1);
    for (;;) {
        int32_t has = STATUS(vfs_has(s, "k"));
        CHECK(has == 0 || has == 1);
    }
}

static void pollers(void)
{
    enum { POLLERS = 24 };
    const char *a = dir_of("a"), *b = dir_of("b");
    char *tiers = list_of(a, b);
    pid_t children[POLLERS];
    vfs_t *s = open_on(tiers);
    for (int i = 0; i < POLLERS; i++)
        children[i] = start_child(polling, tiers);
    AWAIT(&steps->child, POLLERS);
    nap(100);
    for (int i = 0, busy = 0; i < 5; i++) {
        int32_t status = put(s, "k", 100, 1, 0);
        if (status == VFS_ERR_BUSY && busy++ == 0)
            continue; /* once may be the machine's fault */
        CHECK_INT(status, VFS_OK);
        CHECK_OK(vfs_remove(s, "k"));
    }
    for (int i = 0; i < POLLERS; i++)
        kill_child(children[i]);
    QUIET(vfs_close(s));
    QUIET(vfs_close(open_on(tiers))); /* reaps */
    CHECK_NOTHING_LEFT(a);
    CHECK_NOTHING_LEFT(b);
}

static _Atomic int current = -1, stop;
static _Atomic long missed;

static void *look_all_the_time(void *arg)
{
    (void)arg;
    while (!atomic_load(&stop)) {
        int now = atomic_load(&current);
        if (now >= 0 && STATUS(vfs_has(store, say("k-%d", now))) != 1 && atomic_load(&current) == now)
            atomic_fetch_add(&missed, 1);
    }
    return NULL;
}

static void into_memory(void)
{
    const char *a = dir_of("a");
    store = open_on(say("memory,%s", a));
    vfs_t *other = open_on(a);
    pthread_t thread = run_thread(look_all_the_time, NULL);
    for (int i = 0; i < 2000; i++) {
        const char *key = say("k-%d", i);
        CHECK_OK(put(other, key, 20, 1, 0));
        atomic_store(&current, i);
        usleep(50);
        CHECK_OK(put(store, key, 20, 2, VFS_REPLACE));
        usleep(20);
        atomic_store(&current, -1);
        CHECK_OK(vfs_remove(store, key));
    }
    atomic_store(&stop, 1);
    end_thread(thread);
    CHECK_INT(missed, 0);
    QUIET(vfs_close(other));
    QUIET(vfs_close(store));
    CHECK_NOTHING_LEFT(a);
}

static int looks;

static void replace_at_second_look(void)
{
    if (++looks == 2) {
        on_stat = NULL;
        CHECK_OK(put(store, "k", 200, 2, VFS_REPLACE));
    }
}

/* What is removed then is the new blob, and its owner's link too: by the old one's inode number, which may be that of
 * another blob by then, a living blob could lose its owner. */
static void replaced_beside_remove(void)
{
    const char *a = dir_of("a");
    int found = 0;
    store = open_on(a);
    CHECK_OK(put(store, "k", 100, 1, 0));
    on_stat = replace_at_second_look;
    CHECK_OK(vfs_remove_owned(store, (const char *const[]){"k"}, 1));
    CHECK_INT(looks, 2);
    CHECK_ABSENT(store, "k");
    walk(a, "", find_draft, &found);
    CHECK(!found);
    CHECK_OK(put(store, "k", 300, 3, 0));
    QUIET(vfs_close(store));
    CHECK_NOTHING_LEFT(a);
}

static void take_links(const char *path, const char *inside, const struct stat *st, void *arg)
{
    (void)inside;
    (void)arg;
    if (S_ISREG(st->st_mode) && strcmp(strrchr(path, '/'), "/k") == 0)
        SYS(syscall(SYS_unlinkat, AT_FDCWD, path, 0));
}

static void take_links_at_second_unlink(void)
{
    if (++looks == 2) {
        on_unlink = NULL;
        walk(scratch, "", take_links, NULL);
    }
}

/* Its name is gone, and somebody else removes its owner's link in the moment before that would be done: a shutdown that
 * gave up waiting leaves its room to reapers, while another thread of the handle is still in a call. */
static void reaped_beside_remove(void)
{
    const char *a = dir_of("a");
    store = open_on(a);
    CHECK_OK(put(store, "k", 100, 1, 0));
    on_unlink = take_links_at_second_unlink;
    CHECK_OK(vfs_remove_owned(store, (const char *const[]){"k"}, 1));
    CHECK_INT(looks, 2);
    CHECK_ABSENT(store, "k");
    QUIET(vfs_close(store));
    CHECK_NOTHING_LEFT(a);
}

/* ---- what others own ---- */

static void owner_above(void *tiers)
{
    vfs_t *s = open_on(tiers);
    CHECK_OK(put(s, "k", 100, 1, 0));
    atomic_fetch_add(&steps->child, 1);
    AWAIT(&steps->parent, 1);
    QUIET(vfs_close(s));
}

static void stored_below(void)
{
    const char *a = dir_of("a"), *b = dir_of("b");
    for (int way = 0; way < 4; way++) {
        int persistent = way & 1, killed = way & 2;
        char *both = list_of(a, b);
        vfs_t *below = open_on(b);
        steps->child = steps->parent = 0;
        pid_t child = start_child(owner_above, both);
        AWAIT(&steps->child, 1);
        CHECK_OK(put(below, "k", 200, 2, persistent ? VFS_PERSIST : 0)); /* it does not see the upper tier */
        if (killed) {
            kill_child(child);
        } else {
            steps->parent = 1;
            JOIN(child);
        }
        vfs_t *s = open_on(both);
        CHECK_OK(vfs_reap(s, NULL));
        CHECK_VALUE(below, "k", 200, 2);
        CHECK_VALUE(s, "k", 200, 2);
        if (persistent)
            CHECK_OK(vfs_remove(s, "k"));
        QUIET(vfs_close(s));
        QUIET(vfs_close(below));
        CHECK_NOTHING_LEFT(a);
        CHECK_NOTHING_LEFT(b);
    }
}

/* Moves "k" down and keeps it there. */
static void moving_down(void)
{
    vfs_t *s = open_on(say("%s/a?max=7K,%s/b", scratch, scratch));
    CHECK_OK(put(s, "k", 9000, 2, VFS_REPLACE | VFS_PERSIST));
    _exit(0);
}

/* Killed at each of its removals. */
static void killed_moving_down(void)
{
    const char *a = dir_of("a"), *b = dir_of("b");
    char *both = list_of(a, b);
    int moved = 0, unmoved = 0;
    if (!can_trace())
        return;
    for (int at = 1, over = 0; !over; at++) {
        vfs_t *owner = open_on(both), *reader = open_as(both, "harness", VFS_READ_ONLY);
        CHECK(at < 50);
        CHECK_OK(put(owner, "k", 6000, 1, 0));
        int state = traced("unlinkat", say("inject=unlinkat:signal=KILL:when=%d", at), "moving-down");
        over = WIFEXITED(state);
        CHECK_INT(state, over ? 0 : SIGKILL);
        if (tier_of(reader, "k") == 0) {
            CHECK_VALUE(reader, "k", 6000, 1);
            QUIET(vfs_close(owner));
            CHECK_ABSENT(reader, "k");
            unmoved++;
        } else {
            CHECK_VALUE(reader, "k", 9000, 2);
            QUIET(vfs_close(owner));
            CHECK_VALUE(reader, "k", 9000, 2);
            owner = open_on(both);
            CHECK_OK(vfs_remove(owner, "k"));
            QUIET(vfs_close(owner));
            moved++;
        }
        QUIET(vfs_close(reader));
        QUIET(vfs_close(open_on(both))); /* reaps */
        CHECK_NOTHING_LEFT(a);
        CHECK_NOTHING_LEFT(b);
    }
    CHECK(moved >= 1 && unmoved >= 1);
}

/* ---- failures that must not do harm ---- */

static void failed_reserve(void)
{
    own_mounts();
    const char *a = tmpfs_of("a", "size=32m");
    unsigned char *data = new_value(600, 1);
    vfs_writer_t *w = NULL;
    void *room = NULL;
    struct rlimit old, tight;
    unsigned long pages = 0;
    vfs_t *s = open_on(a);
    CHECK_OK(vfs_create(s, "k", 0, 0, &w));
    CHECK_OK(vfs_write(w, data, 300));
    FILE *f = fopen("/proc/self/statm", "re");
    CHECK(f && fscanf(f, "%lu", &pages) == 1);
    fclose(f);
    SYS(getrlimit(RLIMIT_AS, &old));
    tight = old;
    tight.rlim_cur = pages * (rlim_t)sysconf(_SC_PAGESIZE) + (1 << 20);
    SYS(setrlimit(RLIMIT_AS, &tight));
    int32_t status = STATUS(vfs_reserve(w, 8 << 20, &room));
    SYS(setrlimit(RLIMIT_AS, &old));
    CHECK_IS(status, VFS_ERR_NO_MEMORY);
    CHECK(room == NULL);
    CHECK_OK(vfs_write(w, data + 300, 300));
    CHECK_OK(vfs_seal(w));
    CHECK_VALUE(s, "k", 600, 1);
    CHECK_INT(tier_stat(s, 0).bytes, 600);
    free(data);
    QUIET(vfs_close(s));
    CHECK_NOTHING_LEFT(a);
}

static void listing_without_descriptors(void)
{
    enum { KEYS = 20 };
    const char *a = dir_of("a"), *name = NULL;
    vfs_t *owner = open_on(a), *s = open_on(a);
    vfs_list_t *list = NULL;
    vfs_stat_t stat = VFS_STAT_INIT;
    unsigned times[KEYS] = {0};
    struct rlimit old, none;
    int32_t status = VFS_OK;
    for (int i = 0; i < KEYS; i++)
        CHECK_OK(put(owner, say("%02d", i), 20, 1, 0));
    CHECK_OK(vfs_list_open(s, &list));
    SYS(getrlimit(RLIMIT_NOFILE, &old));
    none = old;
    none.rlim_cur = 3;
    SYS(setrlimit(RLIMIT_NOFILE, &none));
    for (int i = 0; i < 2 * KEYS + 100 && status != VFS_ERR_NOT_FOUND; i++) {
        if (i == KEYS / 2)
            SYS(setrlimit(RLIMIT_NOFILE, &old));
        status = STATUS(vfs_list_next(list, &name, &stat));
        CHECK(status == VFS_OK || status == VFS_ERR_LIMIT || status == VFS_ERR_NOT_FOUND);
        if (status == VFS_OK)
            times[atoi(name)]++;
    }
    CHECK_INT(status, VFS_ERR_NOT_FOUND);
    for (int i = 0; i < KEYS; i++)
        CHECK_INT(times[i], 1);
    QUIET(vfs_list_close(list));
    QUIET(vfs_close(s));
    QUIET(vfs_close(owner));
    CHECK_NOTHING_LEFT(a);
}

static void *use_all(void *arg)
{
    const char *tiers = arg, *name = NULL;
    vfs_list_t *list = NULL;
    vfs_stat_t stat = VFS_STAT_INIT;
    vfs_writer_t *w = NULL;
    CHECK_OK(put(store, "large", 2 << 20, 1, VFS_REPLACE));
    vfs_t *s = open_as(tiers, "another", 0);
    CHECK_OK(put(s, "k", 100, 1, 0));
    CHECK_OK(put(s, "large", 2 << 20, 2, 0));
    CHECK_OK(vfs_create(s, "k", 2 << 20, VFS_REPLACE, &w));
    CHECK_OK(vfs_write(w, "abc", 3));
    CHECK_OK(vfs_seal(w));
    CHECK_VALUE(s, "large", 2 << 20, 2);
    CHECK_OK(vfs_list_open(s, &list));
    CHECK_OK(vfs_list_next(list, &name, &stat));
    QUIET(vfs_list_close(list));
    CHECK_OK(vfs_remove(s, "k"));
    CHECK_OK(vfs_reap(s, NULL));
    QUIET(vfs_close(s));
    return NULL;
}

static void small_stack(void)
{
    own_mounts();
    const char *a = tmpfs_of("a", "size=32m"), *b = dir_of("b");
    char *tiers = list_of(a, b);
    pthread_attr_t attributes;
    pthread_t thread;
    store = open_on(tiers);
    CHECK_INT(pthread_attr_init(&attributes), 0);
    CHECK_INT(pthread_attr_setstacksize(&attributes, 64 << 10), 0);
    CHECK_INT(pthread_create(&thread, &attributes, use_all, tiers), 0);
    end_thread(thread);
    QUIET(vfs_close(store));
    CHECK_NOTHING_LEFT(a);
    CHECK_NOTHING_LEFT(b);
}

/* ---- tiers that others got at ---- */

static void blocked_tier(void)
{
    own_mounts();
    const char *a = tmpfs_of("a", "size=8m"), *b = dir_of("b");
    char own[PATH_MAX];
    vfs_writer_t *w = NULL;
    static const uint64_t hints[] = {0, 64 << 20, 1ull << 60, UINT64_MAX};
    snprintf(own, sizeof own, "%s", own_tier_dir(b, geteuid()));
    int fd = open(own, O_WRONLY | O_CREAT | O_CLOEXEC, 0600);
    SYS(fd);
    close(fd);
    vfs_t *s = open_on(say("%s,%s", a, b));
    for (int i = 0; i < 4; i++) {
        CHECK_OK(vfs_create(s, "k", hints[i], VFS_REPLACE, &w));
        CHECK_OK(vfs_write(w, "abc", 3));
        CHECK_OK(vfs_seal(w));
        CHECK_INT(tier_of(s, "k"), 0);
    }
    QUIET(vfs_close(s));
    vfs_options_t options = VFS_OPTIONS_INIT;
    options.tiers = b;
    CHECK_IS(vfs_open(&options, &s), VFS_ERR_PERMISSION); /* a name that we need belongs to somebody else */
    SYS(unlink(own));
    CHECK_NOTHING_LEFT(a);
}

static void set_gid(void)
{
    const char *a = dir_of("a");
    char own[PATH_MAX];
    snprintf(own, sizeof own, "%s", own_tier_dir(a, geteuid()));
    SYS(chmod(a, 02777));
    /* as one leaves it that was killed while it made it: with what the directory hands down, or what a umask left */
    static const mode_t modes[] = {0700, 02700, 02500, 02000, 0};
    for (int i = -1; i < 5; i++) {
        if (i >= 0) {
            SYS(mkdir(own, 0700));
            SYS(chmod(own, modes[i]));
        }
        vfs_t *s = open_on(a);
        CHECK_OK(put(s, "k", 100, 1, 0));
        CHECK_VALUE(s, "k", 100, 1);
        QUIET(vfs_close(s));
        CHECK_NOTHING_LEFT(a);
        remove_tree(own);
    }
}

static void dying_below(void *tiers)
{
    vfs_t *s = open_on(tiers);
    CHECK_OK(put(s, "dead", 100, 1, 0));
}

/* A dead owner on a tier whose directories were made anew, below a living one's. */
static void dead_on_new_ground(void)
{
    const char *a = dir_of("a"), *b = dir_of("b");
    uint64_t reaped = 0;
    vfs_t *s = open_on(list_of(a, b));
    CHECK_OK(put(s, "k", 100, 1, 0));
    CHECK_ABSENT(s, "nothing");
    remove_tree(own_tier_dir(b, geteuid()));
    JOIN(start_child(dying_below, (void *)(uintptr_t)b));
    CHECK_OK(vfs_reap(s, &reaped));
    CHECK_INT(reaped, 1);
    CHECK_ABSENT(s, "dead");
    CHECK_VALUE(s, "k", 100, 1);
    QUIET(vfs_close(s));
    CHECK_NOTHING_LEFT(a);
    CHECK_NOTHING_LEFT(b);
}

static void mounted_over(void)
{
    own_mounts();
    const char *a = tmpfs_of("a", "size=1m");
    vfs_t *reader = open_as(a, "harness", VFS_READ_ONLY), *writer = open_on(a);
    CHECK_OK(put(writer, "k", 100, 1, 0));
    CHECK_VALUE(reader, "k", 100, 1);
    CHECK_VALUE(writer, "k", 100, 1);
    mount_tmpfs(a, "size=1m");
    vfs_t *s = open_on(a);
    CHECK_OK(put(s, "k", 200, 2, 0));
    for (int i = 0; i < 3; i++) { /* it compares at most once a second */
        later_by += 2;
        CHECK(vfs_has(reader, "k") == 1 && vfs_has(writer, "k") == 1);
    }
    CHECK_VALUE(s, "k", 200, 2);
    CHECK_VALUE(reader, "k", 200, 2);
    CHECK_VALUE(writer, "k", 200, 2);
    QUIET(vfs_close(reader));
    QUIET(vfs_close(writer));
    CHECK_VALUE(s, "k", 200, 2);
    QUIET(vfs_close(s));
    CHECK_NOTHING_LEFT(a);
    SYS(umount(a));
}

/* What opens can be stored to. */
static void long_path(void)
{
    leave_at_end();
    static char path[2 * PATH_MAX], tiers[3 * PATH_MAX];
    const char *b = dir_of("b"), *a = dir_of("a");
    for (size_t len = PATH_MAX - 80; len < PATH_MAX; len++) {
        size_t at = (size_t)snprintf(path, sizeof path, "%s", a);
        SYS(chdir(a));
        while (at < len) {
            size_t part = len - at - 1 < 200 ? len - at - 1 : 200;
            char name[256];
            if (len - at - 1 - part == 1)
                part--;
            if (part == 0)
                break;
            memset(name, 'd', part);
            name[part] = 0;
            CHECK(mkdir(name, 0700) == 0 || errno == EEXIST);
            SYS(chdir(name));
            path[at++] = '/';
            memcpy(path + at, name, part + 1);
            at += part;
        }
        SYS(chdir("/"));
        vfs_options_t options = VFS_OPTIONS_INIT;
        vfs_t *s = NULL;
        options.tiers = path;
        if (STATUS(vfs_open(&options, &s)) == VFS_OK) {
            CHECK_OK(put(s, "k", 100, 1, 0));
            QUIET(vfs_close(s));
        }
        snprintf(tiers, sizeof tiers, "%s,%s", path, b);
        options.tiers = tiers;
        CHECK_OK(vfs_open(&options, &s));
        CHECK_OK(put(s, "k", 100, 1, 0));
        CHECK_VALUE(s, "k", 100, 1);
        QUIET(vfs_close(s));
    }
    CHECK_NOTHING_LEFT(b);
}

static void holding(void *tier)
{
    int fd = open(say("%s/\\lock", own_tier_dir(tier, geteuid())), O_RDWR | O_CLOEXEC);
    SYS(fd);
    struct flock all = {.l_type = F_WRLCK, .l_whence = SEEK_SET};
    SYS(fcntl(fd, F_OFD_SETLKW, &all));
    atomic_store(&steps->child, 1);
    sleep_for_ever();
}

static const char *link_path;

static void lead_to(const char *dir)
{
    if (unlink(link_path) != 0)
        CHECK_INT(errno, ENOENT);
    SYS(symlink(dir, link_path));
}

static void *close_store(void *arg)
{
    QUIET(vfs_close(store));
    return arg;
}

/* The tier's path is a link that is switched, and back: the owner of what lies where it led is alive all the while. */
static void switched(void)
{
    const char *a = dir_of("a"), *b = dir_of("b");
    link_path = path_of("link");
    lead_to(a);
    store = open_on(link_path);
    vfs_t *other = open_on(a);
    uint64_t reaped = 99;
    CHECK_OK(put(store, "old", 100, 1, 0));
    CHECK_OK(put(store, "kept", 100, 2, VFS_PERSIST));
    lead_to(b);
    CHECK_OK(put(store, "new", 200, 3, 0));
    CHECK(!(flags_of(other, "old") & VFS_STAT_ORPHAN));
    CHECK_OK(vfs_reap(other, &reaped));
    CHECK_INT(reaped, 0);
    CHECK_VALUE(other, "old", 100, 1);
    CHECK_INT(tier_stat(store, 0).blobs, 2);
    lead_to(a);
    CHECK_VALUE(store, "old", 100, 1);
    CHECK_OK(vfs_remove_owned(store, (const char *const[]){"old", "kept"}, 2)); /* its own again */
    CHECK_ABSENT(store, "old");
    CHECK_OK(put(store, "k", 100, 4, 0));
    CHECK_INT(entries_in(say("%s/harness/owners", own_tier_dir(a, geteuid()))), 1);
    CHECK_VALUE(store, "kept", 100, 2);
    CHECK_OK(vfs_remove(store, "kept"));
    lead_to(b);
    CHECK_ABSENT(store, "absent"); /* it knows where its path leads now */
    /* closing it empties both, and waits for who holds the key where it led before */
    pid_t child = start_child(holding, (void *)(uintptr_t)a);
    AWAIT(&steps->child, 1);
    pthread_t thread = run_thread(close_store, NULL);
    nap(300);
    CHECK_VALUE(other, "k", 100, 4);
    kill_child(child);
    end_thread(thread);
    CHECK_NOTHING_LEFT(b);
    QUIET(vfs_close(other));
    CHECK_NOTHING_LEFT(a);
}

/* The same without end: the last ones are kept. */
static void switched_often(void)
{
    enum { DIRS = 24, KEPT = 8 };
    const char *dirs[DIRS];
    unsigned held = 0;
    link_path = path_of("link");
    for (int i = 0; i < DIRS; i++)
        dirs[i] = dir_of(say("dir-%d", i));
    lead_to(dirs[0]);
    store = open_on(link_path);
    for (int i = 0; i < DIRS; i++) {
        lead_to(dirs[i]);
        CHECK_OK(put(store, "k", 100, 1, 0));
        if (i == KEPT)
            held = descriptors();
        if (i > KEPT)
            CHECK_INT(descriptors(), held);
    }
    for (int i = DIRS - KEPT; i < DIRS; i++) {
        vfs_t *other = open_on(dirs[i]);
        CHECK_VALUE(other, "k", 100, 1);
        QUIET(vfs_close(other));
    }
    /* the one that was used longest ago is given up: not the one that is the oldest, but was used again */
    lead_to(dirs[DIRS - KEPT]);
    CHECK_OK(put(store, "again", 100, 1, 0));
    lead_to(dirs[0]);
    QUIET(vfs_close(open_on(dirs[0]))); /* reaps */
    CHECK_OK(put(store, "k", 100, 1, 0));
    for (int i = DIRS - KEPT; i < DIRS; i++) {
        vfs_t *other = open_on(dirs[i]);
        CHECK_IS(vfs_has(other, "k"), i != DIRS - KEPT + 1);
        QUIET(vfs_close(other));
    }
    QUIET(vfs_close(store));
    for (int i = 0; i < DIRS; i++) {
        if (i < DIRS - KEPT)
            QUIET(vfs_close(open_on(dirs[i]))); /* reaps */
        CHECK_NOTHING_LEFT(dirs[i]);
    }
}

static void uncovered(void)
{
    own_mounts();
    const char *a = tmpfs_of("a", "size=1m");
    store = open_on(a);
    CHECK_OK(put(store, "below", 100, 1, 0));
    mount_tmpfs(a, "size=1m");
    CHECK_OK(put(store, "above", 100, 2, 0));
    SYS(umount2(a, MNT_DETACH));
    vfs_t *other = open_on(a); /* reaps */
    CHECK_VALUE(other, "below", 100, 1);
    CHECK_VALUE(store, "below", 100, 1);
    CHECK_OK(put(store, "again", 100, 3, 0));
    QUIET(vfs_close(store));
    CHECK_ABSENT(other, "below");
    QUIET(vfs_close(other));
    CHECK_NOTHING_LEFT(a);
}

/* ---- forks ---- */

static void dawdle(void)
{
    usleep(60000);
}

static void *fork_all_the_time(void *arg)
{
    (void)arg;
    while (!atomic_load(&stop)) {
        pid_t pid = fork();
        SYS(pid);
        if (pid == 0)
            _exit(0);
        SYS(waitpid(pid, NULL, 0));
        usleep(1000);
    }
    return NULL;
}

static void slow_fork(void)
{
    const char *a = dir_of("a"), *b = dir_of("b");
    char *tiers = list_of(a, b);
    CHECK_INT(pthread_atfork(dawdle, NULL, NULL), 0);
    vfs_t *s = open_on(tiers);
    pthread_t thread = run_thread(fork_all_the_time, NULL);
    nap(10);
    for (int i = 0; i < 12; i++) {
        vfs_t *other = open_as(tiers, say("store-%d", i), 0);
        CHECK_OK(put(other, "k", 100, 1, 0));
        CHECK_INT(tier_of(other, "k"), 0);
        QUIET(vfs_close(other));
    }
    atomic_store(&stop, 1);
    end_thread(thread);
    QUIET(vfs_close(s));
    CHECK_NOTHING_LEFT(a);
    CHECK_NOTHING_LEFT(b);
}

static pid_t forked[200];
static int forks;

static void nothing(void *arg)
{
    (void)arg;
    sleep_for_ever();
}

static void fork_here(void)
{
    void (*kept)(void) = on_close;
    on_close = NULL;
    CHECK(forks < 200);
    forked[forks++] = start_child(nothing, NULL);
    on_close = kept;
}

/* A child is forked before every descriptor of a look is closed. */
static void fork_beside_look(void)
{
    const char *a = dir_of("a");
    vfs_stat_t stat = VFS_STAT_INIT;
    vfs_t *reader = open_as(a, "harness", VFS_READ_ONLY);
    vfs_t *s = open_on(a);
    leave_dead(a);
    on_close = fork_here;
    CHECK_OK(vfs_stat(reader, "k", &stat));
    CHECK(stat.flags & VFS_STAT_ORPHAN);
    CHECK_INT(listed(reader, "k"), 1);
    on_close = NULL;
    CHECK(forks > 0);
    CHECK_OK(vfs_reap(s, NULL));
    CHECK_ABSENT(s, "k");
    for (int i = 0; i < forks; i++)
        kill_child(forked[i]);
    QUIET(vfs_close(reader));
    QUIET(vfs_close(s));
    CHECK_NOTHING_LEFT(a);
}

static const char *owners;
static int looker = -1;

static void look_first(void)
{
    before_lock = NULL;
    DIR *d = opendir(owners);
    struct dirent *entry;
    CHECK(d != NULL);
    while ((entry = readdir(d)) && entry->d_name[0] == '.') {}
    CHECK(entry != NULL);
    looker = openat(dirfd(d), entry->d_name, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    SYS(looker);
    SYS(syscall(SYS_flock, looker, LOCK_SH | LOCK_NB));
    closedir(d);
}

/* One that lists the store looks at a room that was just made, and is not locked yet. */
static void look_at_new_room(void)
{
    const char *a = dir_of("a");
    static char path[PATH_MAX];
    store = open_on(a);
    snprintf(path, sizeof path, "%s", say("%s/harness/owners", own_tier_dir(a, geteuid())));
    owners = path;
    before_lock = look_first;
    CHECK_OK(put(store, "k", 100, 1, 0));
    CHECK(looker >= 0);
    close(looker);
    CHECK_INT(entries_in(owners), 1);
    QUIET(vfs_close(store));
    CHECK(access(owners, F_OK) != 0);
    CHECK_NOTHING_LEFT(a);
}

static void stop_here(void)
{
    on_room_lock = NULL;
    atomic_fetch_add(&steps->child, 1);
    AWAIT(&steps->parent, 1);
}

static void stopped_looker(void *tiers)
{
    vfs_stat_t stat = VFS_STAT_INIT;
    vfs_t *reader = open_as(tiers, "harness", VFS_READ_ONLY);
    CHECK_IS(vfs_has(reader, "k"), 1);
    on_room_lock = stop_here;
    CHECK_OK(vfs_stat(reader, "k", &stat));
    QUIET(vfs_close(reader));
}

/* One that looks at a dead owner is stopped as it holds the lock. */
static void stopped_look(void)
{
    char *a = (char *)(uintptr_t)dir_of("a");
    vfs_t *s = open_on(a);
    leave_dead(a);
    pid_t child = start_child(stopped_looker, a);
    AWAIT(&steps->child, 1);
    int32_t status = STATUS(vfs_reap(s, NULL));
    CHECK_INT(status, vfs_has(s, "k") == 1 ? VFS_ERR_BUSY : VFS_OK);
    steps->parent = 1;
    JOIN(child);
    CHECK_OK(vfs_reap(s, NULL));
    CHECK_ABSENT(s, "k");
    QUIET(vfs_close(s));
    CHECK_NOTHING_LEFT(a);
}

/* ---- the log ---- */

static int told, last_level;

static void hear(void *user, int32_t level, const char *message)
{
    (void)user;
    (void)message;
    told++;
    last_level = level;
}

static vfs_t *open_logging(const char *tiers)
{
    vfs_options_t options = VFS_OPTIONS_INIT;
    vfs_t *s = NULL;
    options.tiers = tiers;
    options.name = "harness";
    options.log = hear;
    CHECK_OK(vfs_open(&options, &s));
    return s;
}

static void listed_twice(void)
{
    const char *a = dir_of("a");
    for (int i = 0; i < 8; i++) {
        vfs_t *s = open_as(a, say("store-%d", i), 0);
        CHECK_OK(put(s, "k", 20, 1, VFS_PERSIST));
        QUIET(vfs_close(s));
    }
    store = open_logging(say("%s,%s/", a, a));
    CHECK_INT(told, 1);
    for (int i = 0; i < 5; i++)
        CHECK_OK(vfs_reap(store, NULL));
    CHECK_INT(told, 1);
    QUIET(vfs_close(store));
    for (int i = 0; i < 8; i++) {
        vfs_t *s = open_as(a, say("store-%d", i), 0);
        CHECK_OK(vfs_remove(s, "k"));
        QUIET(vfs_close(s));
    }
    CHECK_NOTHING_LEFT(a);
}

static void last_word(void)
{
    const char *a = dir_of("a"), *b = dir_of("b");
    store = open_logging(say("%s?max=20,%s", a, b));
    CHECK_OK(put(store, "large", 100, 1, VFS_REPLACE));
    CHECK_INT(last_level, VFS_LOG_WARNING);
    CHECK_OK(put(store, "small", 10, 1, VFS_REPLACE));
    CHECK_INT(last_level, VFS_LOG_INFO);
    for (int i = 0; i < 20; i++, later_by++)
        CHECK_OK(put(store, "large", 100, 1, VFS_REPLACE));
    CHECK_INT(last_level, VFS_LOG_WARNING); /* for it still refuses */
    CHECK_INT(told, 3);
    for (int i = 0; i < 20; i++, later_by++)
        CHECK_OK(put(store, "small", 10, 1, VFS_REPLACE));
    CHECK_INT(last_level, VFS_LOG_INFO);
    CHECK_INT(told, 4);
    QUIET(vfs_close(store));
    CHECK_NOTHING_LEFT(a);
    CHECK_NOTHING_LEFT(b);
}

/* ---- limits ---- */

static void persistent_state(void)
{
    const char *a = dir_of("a");
    vfs_t *s = open_on(say("%s?max=1000", a));
    for (unsigned i = 0; i < 50; i++)
        CHECK_OK(put(s, "state", 100, i, VFS_PERSIST | VFS_REPLACE));
    CHECK_VALUE(s, "state", 100, 49);
    CHECK_OK(put(s, "state", 900, 1, VFS_PERSIST | VFS_REPLACE));
    CHECK_IS(put(s, "other", 900, 2, 0), VFS_ERR_NO_SPACE);
    CHECK_OK(vfs_remove(s, "state"));
    CHECK_OK(put(s, "other", 900, 2, 0));
    QUIET(vfs_close(s));
    CHECK_NOTHING_LEFT(a);
}

/* ---- clocks ---- */

static void *leap_back(void *arg)
{
    usleep(400000);
    later_by = 0;
    return arg;
}

static void *wait_for_key(void *arg)
{
    CHECK_IS(put(store, "k", 100, 1, 0), VFS_ERR_BUSY);
    return arg;
}

/* The monotonic clock leaps back, as it may in a program that was frozen and thawed elsewhere. */
static void clock_leaps(void)
{
    const char *a = dir_of("a"), *b = dir_of("b");
    struct timespec began, ended;
    later_by = 100000;
    store = open_logging(say("%s?max=20,%s", a, b));
    CHECK_OK(put(store, "large", 100, 1, VFS_REPLACE));
    CHECK_INT(last_level, VFS_LOG_WARNING);
    later_by = 0;
    CHECK_OK(put(store, "small", 10, 1, VFS_REPLACE));
    CHECK_OK(put(store, "large", 100, 2, VFS_REPLACE));
    CHECK_INT(told, 3); /* the limit on how often is not one of a day */
    /* waits for another process, and for another thread */
    pid_t child = start_child(holding, (void *)(uintptr_t)a);
    AWAIT(&steps->child, 1);
    later_by = 100000;
    clock_gettime(CLOCK_BOOTTIME, &began);
    pthread_t first = run_thread(wait_for_key, NULL), second = run_thread(wait_for_key, NULL);
    end_thread(run_thread(leap_back, NULL));
    end_thread(first);
    end_thread(second);
    clock_gettime(CLOCK_BOOTTIME, &ended);
    CHECK(ended.tv_sec - began.tv_sec < 60);
    kill_child(child);
    QUIET(vfs_close(store));
    CHECK_NOTHING_LEFT(a);
    CHECK_NOTHING_LEFT(b);
}

/* Blobs of times to come, beyond what nanoseconds can count, and of none: a replace orders them all the same, and what
 * it stores has the time of the host's clock. */
static uint64_t now_ns(void)
{
    struct timespec now;
    SYS(clock_gettime(CLOCK_REALTIME, &now));
    return (uint64_t)now.tv_sec * 1000000000 + (uint64_t)now.tv_nsec;
}

static void odd_times(void)
{
    static const time_t times[] = {4000000000, 0, 1, 20000000000};
    const char *a = dir_of("a"), *b = dir_of("b");
    if (try_own_mounts() == 0) { /* disks have no such late times */
        mount_tmpfs(a, "size=1m");
        mount_tmpfs(b, "size=1m");
    }
    for (int i = 0; i < 4; i++) {
        uint64_t ids[4];
        vfs_stat_t stat = VFS_STAT_INIT;
        vfs_t *s = open_on(say("%s?max=7K,%s", a, b)), *reader = open_as(list_of(a, b), "harness", VFS_READ_ONLY);
        for (int n = 0; n < 4; n++) { /* down, up, down */
            size_t len = n % 2 ? 9000 : 6000;
            const char *tier = n % 2 ? b : a;
            uint64_t old = stat.stored_at_ns, began = now_ns() - 1000000000; /* (a filesystem's clock is coarse) */
            CHECK_OK(put(s, "k", len, (uint64_t)n, VFS_REPLACE | VFS_PERSIST));
            struct timespec at[2] = {{times[i], 0}, {times[i], 0}};
            CHECK_OK(vfs_stat(reader, "k", &stat));
            int later = n == 2 && old > began; /* what came above another is later than that */
            CHECK(stat.stored_at_ns >= (later ? old + (old < UINT64_MAX) : began));
            CHECK(later || stat.stored_at_ns <= now_ns());
            ids[n] = stat.id;
            for (int m = 0; m < n; m++)
                CHECK(ids[m] != ids[n]);
            SYS(utimensat(AT_FDCWD, say("%s/harness/objects/k", own_tier_dir(tier, geteuid())), at, 0));
            CHECK_VALUE(reader, "k", len, (uint64_t)n);
            CHECK_OK(vfs_stat(reader, "k", &stat));
            CHECK(stat.stored_at_ns < began || times[i] > 1);
        }
        CHECK_OK(vfs_remove(s, "k"));
        CHECK_ABSENT(reader, "k");
        QUIET(vfs_close(reader));
        QUIET(vfs_close(s));
    }
    CHECK_NOTHING_LEFT(a);
    CHECK_NOTHING_LEFT(b);
}

/* ---- a replace that cannot clear the old value below: nobody sees the new one, not for a moment ---- */

static _Atomic int flashes_over;
static const char *flash_tiers;

static void *see_old_alone(void *arg)
{
    vfs_t *s = open_as(flash_tiers, "harness", VFS_READ_ONLY);
    unsigned char got[600];
    size_t len;
    while (!atomic_load(&flashes_over)) {
        CHECK_OK(vfs_read(s, "k", 0, got, sizeof got, &len, NULL));
        CHECK(len == 300 && is_value_at(got, len, 0, 1, 300));
    }
    QUIET(vfs_close(s));
    return arg;
}

static void flash(void)
{
    own_mounts();
    const char *a = dir_of("a"), *b = dir_of("b");
    pthread_t reader;
    vfs_t *below = open_on(b);
    CHECK_OK(put(below, "k", 300, 1, VFS_PERSIST));
    QUIET(vfs_close(below));
    SYS(mount(b, b, "none", MS_BIND, NULL));
    SYS(mount(NULL, b, "none", MS_BIND | MS_REMOUNT | MS_RDONLY, NULL));
    flash_tiers = say("%s,%s", a, b);
    flash_tiers = strdup(flash_tiers);
    vfs_t *s = open_on(flash_tiers);
    CHECK_INT(pthread_create(&reader, NULL, see_old_alone, NULL), 0);
    for (int i = 0; i < 3000; i++)
        CHECK_IS(put(s, "k", 500, 2, VFS_REPLACE | (i % 2 ? VFS_PERSIST : 0)), VFS_ERR_READ_ONLY);
    atomic_store(&flashes_over, 1);
    CHECK_INT(pthread_join(reader, NULL), 0);
    SYS(umount2(b, MNT_DETACH));
    CHECK_OK(put(s, "k", 500, 2, VFS_REPLACE));
    CHECK_VALUE(s, "k", 500, 2);
    free((void *)flash_tiers);
    QUIET(vfs_close(s));
    CHECK_NOTHING_LEFT(a);
    CHECK_NOTHING_LEFT(b);
}

/* ---- many keys that others hold: one wait for all ---- */

static void busy_owned(void)
{
    enum { KEYS = 200 }; /* a wait for each would not end in time */
    const char *a = dir_of("a");
    static char names[KEYS][8];
    const char *keys[KEYS];
    vfs_t *s = open_on(a);
    for (int i = 0; i < KEYS; i++) {
        snprintf(names[i], sizeof names[i], "k%d", i);
        keys[i] = names[i];
        CHECK_OK(put(s, keys[i], 10, 1, 0));
    }
    int lock = open(say("%s/\\lock", own_tier_dir(a, geteuid())), O_RDWR | O_CLOEXEC);
    CHECK(lock >= 0);
    struct flock all = {.l_type = F_WRLCK, .l_whence = SEEK_SET};
    SYS(fcntl(lock, F_OFD_SETLK, &all));
    CHECK_IS(vfs_remove_owned(s, keys, KEYS), VFS_ERR_BUSY);
    close(lock);
    CHECK_OK(vfs_remove_owned(s, keys, KEYS));
    CHECK_INT(listed_all(s), 0);
    QUIET(vfs_close(s));
    CHECK_NOTHING_LEFT(a);
}

/* ---- times, limits and children ---- */

/* Which blob is the later one is told by when it was published, not by when its bytes were written, nor by a coarse
 * clock: the owner of the one above takes only what is older with it. */
static void stored_later_below(void)
{
    own_mounts();
    const char *a = dir_of("a"), *b = tmpfs_of("b", "size=8m");
    char *both = list_of(a, b);
    vfs_writer_t *w = NULL;
    vfs_t *below = open_on(b); /* it does not see the upper tier */
    for (int i = 0; i < 21; i++) {
        vfs_t *above = open_on(both);
        void *value = new_value(300, 2);
        if (i == 0) {
            CHECK_OK(vfs_create(below, "k", 0, 0, &w));
            CHECK_OK(vfs_write(w, value, 300));
            nap(20);
        }
        CHECK_OK(put(above, "k", 100, 1, 0));
        if (i == 0) {
            nap(20);
            CHECK_OK(vfs_seal(w));
        } else {
            CHECK_OK(put(below, "k", 300, 2, 0));
        }
        free(value);
        QUIET(vfs_close(above));
        CHECK_VALUE(below, "k", 300, 2);
        CHECK_OK(vfs_remove(below, "k"));
    }
    QUIET(vfs_close(below));
    CHECK_NOTHING_LEFT(a);
    CHECK_NOTHING_LEFT(b);
}

/* The kernel writes the list of mounts anew for who does not read on where he was: with a thousand of them, for
 * seconds. */
static void many_mounts(void)
{
    own_mounts();
    for (int i = 0; i < 40; i++)
        tmpfs_of(say("a-mount-with-a-long-name-as-containers-have-them-%d", i), "size=64k");
    const char *a = tmpfs_of("a", "size=8m");
    vfs_t *s = open_on(a);
    CHECK_OK(put(s, "k", 2 << 20, 1, 0));
    QUIET(vfs_close(s));
    if (looks_at_mounts == 0)
        skipped("no control group here: the mounts are not read");
    CHECK_INT(looks_back, 0);
    CHECK_NOTHING_LEFT(a);
}

/* Where what was written of a refused part cannot be taken out of the file again. */
static void not_taken_back(void)
{
    own_mounts();
    const char *a = tmpfs_of("a", "size=700k");
    vfs_t *s = open_on(a);
    vfs_writer_t *w = NULL;
    vfs_stat_t stat = VFS_STAT_INIT;
    void *value = new_value(900 << 10, 1);
    CHECK_OK(vfs_create(s, "k", 0, 0, &w));
    refuse_truncating = 1;
    CHECK_IS(vfs_write(w, value, 900 << 10), VFS_ERR_NO_SPACE);
    CHECK_OK(vfs_write(w, "abc", 3));
    int32_t sealed = STATUS(vfs_seal(w));
    refuse_truncating = 0;
    if (sealed == VFS_OK) {
        CHECK_OK(vfs_stat(s, "k", &stat));
        CHECK_INT(stat.size, 3);
    } else {
        CHECK_ABSENT(s, "k");
    }
    free(value);
    QUIET(vfs_close(s));
    CHECK_NOTHING_LEFT(a);
}

static void close_and_wait(void *arg)
{
    QUIET(vfs_close(arg));
    steps->child = 1;
    sleep_for_ever();
}

/* A worker that is forked amid a blob, and knows nothing of it, does not keep its bytes. */
static void forked_amid_a_blob(void)
{
    own_mounts();
    const char *a = tmpfs_of("a", "size=8m");
    vfs_t *s = open_on(a);
    vfs_writer_t *w = NULL;
    void *value = new_value(4 << 20, 1);
    CHECK_OK(vfs_create(s, "k", 0, 0, &w));
    CHECK_OK(vfs_write(w, value, 4 << 20));
    pid_t child = start_child(close_and_wait, s);
    AWAIT(&steps->child, 1);
    CHECK_OK(vfs_seal(w));
    CHECK_OK(vfs_remove(s, "k"));
    uint64_t left = free_bytes(a);
    QUIET(vfs_close(s));
    kill_child(child);
    if (left < 7 << 20)
        FAIL("a forked child keeps the bytes of a blob that was removed: %" PRIu64 " of 8 MiB are free", left);
    free(value);
    CHECK_NOTHING_LEFT(a);
}

/* ---- who waits, and for what ---- */

/* The byte of the lock file that is a key's: FNV-1a of the store's name, a slash and the key. */
static off_t byte_of(const char *name)
{
    uint64_t hash = 0xCBF29CE484222325u;
    for (; *name; name++)
        hash = (hash ^ (unsigned char)*name) * 0x100000001B3u;
    return (off_t)(hash >> 2);
}

static int is_locked(int fd, off_t byte)
{
    struct flock range = {.l_type = F_RDLCK, .l_whence = SEEK_SET, .l_start = byte, .l_len = 1};
    SYS(fcntl(fd, F_OFD_GETLK, &range));
    return range.l_type != F_UNLCK;
}

static void store_k(void *arg)
{
    vfs_t *s = open_on(arg);
    CHECK_OK(put(s, "k", 100, 1, VFS_PERSIST));
    QUIET(vfs_close(s));
}

/* A writer that was stopped while it waited holds nothing that a reader needs. */
static void stopped_waiter(void)
{
    const char *a = dir_of("a"), *b = dir_of("b");
    char *both = list_of(a, b);
    store = open_on(both);
    const char *file = say("%s/\\lock", own_tier_dir(a, geteuid()));
    int ours = open(file, O_RDWR | O_CLOEXEC), look = open(file, O_RDWR | O_CLOEXEC), state;
    off_t byte = byte_of("harness/k");
    struct flock range = {.l_type = F_WRLCK, .l_whence = SEEK_SET, .l_start = byte, .l_len = 1};
    CHECK(ours >= 0 && look >= 0);
    SYS(fcntl(ours, F_OFD_SETLK, &range));
    pid_t writer = start_child(store_k, both);
    long long until = now_ms() + PATIENCE_MS;
    while (!is_locked(look, byte | (off_t)1 << 62)) {
        CHECK(now_ms() < until);
        nap(1);
    }
    SYS(kill(writer, SIGSTOP));
    CHECK_INT(waitpid(writer, &state, WUNTRACED), writer);
    CHECK(WIFSTOPPED(state) && is_locked(look, byte | (off_t)1 << 62));
    range.l_type = F_UNLCK; /* (the writer has inherited the descriptor) */
    SYS(fcntl(ours, F_OFD_SETLK, &range));
    CHECK_ABSENT(store, "k");
    SYS(kill(writer, SIGCONT));
    JOIN(writer);
    close(ours);
    close(look);
    CHECK_VALUE(store, "k", 100, 1);
    CHECK_OK(vfs_remove(store, "k"));
    QUIET(vfs_close(store));
    CHECK_NOTHING_LEFT(a);
    CHECK_NOTHING_LEFT(b);
}

/* What many writers of one key at a time needed is not looked into for ever after. */
static void many_writers(void)
{
    enum { WRITERS = 300 };
    const char *a = dir_of("a"), *owners = path_of(say("a/vfs1-%u/harness/owners", (unsigned)geteuid()));
    static vfs_writer_t *writers[WRITERS];
    store = open_on(a);
    for (int i = 0; i < WRITERS; i++) {
        CHECK_OK(vfs_create(store, "k", 0, VFS_REPLACE, &writers[i]));
        CHECK_OK(vfs_write(writers[i], "x", 1));
    }
    DIR *d = opendir(owners);
    struct dirent *entry;
    char room[PATH_MAX] = "";
    while (d && (entry = readdir(d)))
        if (entry->d_name[0] != '.')
            snprintf(room, sizeof room, "%.2000s/%.255s", owners, entry->d_name);
    CHECK(d && closedir(d) == 0);
    CHECK_INT(entries_in(room), WRITERS); /* one of them is the room's own file */
    CHECK_OK(vfs_seal(writers[200]));
    for (int i = 0; i < WRITERS; i++)
        if (i != 200)
            QUIET(vfs_abort(writers[i]));
    CHECK_INT(flags_of(store, "k"), VFS_STAT_OWNED);
    CHECK_OK(put(store, "k", 100, 2, VFS_REPLACE)); /* in the room itself again */
    CHECK_INT(flags_of(store, "k"), VFS_STAT_OWNED);
    vfs_writer_t *last[20];
    for (int i = 0; i < 20; i++)
        CHECK_OK(vfs_create(store, "other", 0, 0, &last[i]));
    for (int i = 0; i < 20; i++)
        QUIET(vfs_abort(last[i]));
    CHECK(entries_in(room) < 220);
    CHECK_OK(vfs_remove(store, "k"));
    for (int i = 0; i < WRITERS; i++)
        CHECK_OK(vfs_create(store, "k", 0, VFS_REPLACE, &writers[i]));
    for (int i = 0; i < WRITERS; i++)
        QUIET(vfs_abort(writers[i]));
    CHECK(entries_in(room) <= 8);
    QUIET(vfs_close(store));
    CHECK_NOTHING_LEFT(a);
}

static _Atomic pid_t forked_once;

static void fork_once(void *user, int32_t level, const char *message)
{
    (void)user, (void)level, (void)message;
    if (forked_once == 0 && steps->parent) {
        pid_t pid = fork();
        SYS(pid);
        forked_once = pid ? pid : -1;
    }
}

/* The child of a host that forks while it hears of a refusal changes nothing by the call that it is in. */
static void forked_in_log(void)
{
    const char *a = dir_of("a"), *b = dir_of("b");
    vfs_options_t options = VFS_OPTIONS_INIT;
    char list[2 * PATH_MAX];
    snprintf(list, sizeof list, "%s?max=10,%s", a, b);
    options.tiers = list;
    options.name = "harness";
    options.log = fork_once;
    CHECK_OK(vfs_open(&options, &store));
    steps->parent = 1;
    int32_t status = put(store, "k", 1000, 1, 0);
    if (forked_once == -1) {
        leave_at_end();
        CHECK_INT(status, VFS_ERR_FORKED);
        QUIET(vfs_close(store));
        exit(0);
    }
    CHECK(forked_once > 0);
    CHECK_INT(status, VFS_OK);
    JOIN(forked_once);
    QUIET(vfs_close(store));
    CHECK_NOTHING_LEFT(a);
    CHECK_NOTHING_LEFT(b);
}

/* A host that locks all its memory, and may lock no more, is told so. */
static void locked_memory(void)
{
    const char *a = dir_of("a");
    vfs_view_t view = {NULL, 0, NULL};
    store = open_on(a);
    CHECK_OK(put(store, "k", 1000, 1, 0));
    refuse_mapping = EAGAIN;
    CHECK_IS(vfs_map(store, "k", &view, NULL), VFS_ERR_NO_MEMORY);
    refuse_mapping = 0;
    QUIET(vfs_close(store));
    CHECK_NOTHING_LEFT(a);
}

static void count_words(void *user, int32_t level, const char *message)
{
    (void)level;
    if (strstr(message, "refuses blobs"))
        ++*(int *)user;
}

/* A tier that a size_hint passes over is told of like one that refused. */
static void hints_are_told(void)
{
    const char *a = dir_of("a"), *b = dir_of("b");
    vfs_options_t options = VFS_OPTIONS_INIT;
    vfs_writer_t *w = NULL;
    int heard = 0;
    options.tiers = say("%s?max=1K,%s,memory?max=1K,%s", a, path_of("missing"), b);
    options.name = "harness";
    options.log = count_words;
    options.log_user = &heard;
    CHECK_OK(vfs_open(&options, &store));
    CHECK_OK(vfs_create(store, "k", 10000, 0, &w));
    CHECK_OK(vfs_seal(w));
    CHECK_INT(tier_of(store, "k"), 3);
    for (unsigned i = 0; i < 3; i++) {
        CHECK_INT(tier_stat(store, i).refused, 1);
        CHECK_INT(tier_stat(store, i).last_errno, i == 1 ? ENOENT : EDQUOT);
    }
    CHECK_INT(tier_stat(store, 3).refused, 0);
    CHECK_INT(heard, 3);
    QUIET(vfs_close(store));
    CHECK_NOTHING_LEFT(a);
    CHECK_NOTHING_LEFT(b);
}

/* Memory that a tier has no room for is refused before somebody fills it. */
static void reserved_within_max(void)
{
    const char *a = dir_of("a"), *b = dir_of("b");
    const char *lists[] = {"memory?max=1K", say("%s?max=1K", a), say("%s?max=1K,%s", a, b)};
    for (int i = 0; i < 3; i++) {
        vfs_writer_t *w = NULL;
        void *room = NULL;
        store = open_on(lists[i]);
        CHECK_OK(vfs_create(store, "k", 0, 0, &w));
        CHECK_OK(vfs_write(w, "abc", 3));
        int32_t status = STATUS(vfs_reserve(w, 8000, &room));
        CHECK_INT(status, i < 2 ? VFS_ERR_NO_SPACE : VFS_OK);
        CHECK_OK(vfs_reserve(w, 1000, &room));
        memset(room, 'x', 1000);
        CHECK_OK(vfs_seal(w));
        vfs_stat_t stat = VFS_STAT_INIT;
        CHECK_OK(vfs_stat(store, "k", &stat));
        CHECK_INT(stat.size, i < 2 ? 1003 : 9003);
        CHECK_INT(stat.tier, i < 2 ? 0 : 1);
        QUIET(vfs_close(store));
    }
    CHECK_NOTHING_LEFT(a);
    CHECK_NOTHING_LEFT(b);
}

int main(int argc, char **argv)
{
    static const struct {
        const char *name;
        void (*run)(void);
    } modes[] = {
        {"persisting", persisting},
        {"persist-beside-shutdown", persist_beside_shutdown},
        {"two-shutdowns", two_shutdowns},
        {"pollers", pollers},
        {"into-memory", into_memory},
        {"replaced-beside-remove", replaced_beside_remove},
        {"reaped-beside-remove", reaped_beside_remove},
        {"stored-below", stored_below},
        {"moving-down", moving_down},
        {"killed-moving-down", killed_moving_down},
        {"failed-reserve", failed_reserve},
        {"listing-without-descriptors", listing_without_descriptors},
        {"small-stack", small_stack},
        {"blocked-tier", blocked_tier},
        {"set-gid", set_gid},
        {"dead-on-new-ground", dead_on_new_ground},
        {"mounted-over", mounted_over},
        {"long-path", long_path},
        {"switched", switched},
        {"switched-often", switched_often},
        {"uncovered", uncovered},
        {"slow-fork", slow_fork},
        {"fork-beside-look", fork_beside_look},
        {"look-at-new-room", look_at_new_room},
        {"stopped-look", stopped_look},
        {"listed-twice", listed_twice},
        {"last-word", last_word},
        {"persistent-state", persistent_state},
        {"clock-leaps", clock_leaps},
        {"flash", flash}, {"busy-owned", busy_owned},
        {"odd-times", odd_times},
        {"stored-later-below", stored_later_below},
        {"many-mounts", many_mounts},
        {"not-taken-back", not_taken_back},
        {"forked-amid-a-blob", forked_amid_a_blob},
        {"stopped-waiter", stopped_waiter},
        {"many-writers", many_writers},
        {"forked-in-log", forked_in_log},
        {"locked-memory", locked_memory},
        {"hints-are-told", hints_are_told},
        {"reserved-within-max", reserved_within_max},
    };
    start(argc, argv);
    steps = shared_memory(sizeof *steps);
    for (unsigned i = 0; i < sizeof modes / sizeof modes[0]; i++) {
        if (strcmp(modes[i].name, mode) == 0) {
            modes[i].run();
            return 0;
        }
    }
    FAIL("no such mode");
}

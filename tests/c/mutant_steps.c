/* Something happens between two given system calls of a call of ours: this program stands in for some functions of
 * the C library, and does it there. One MODE a case. */
#include "harness.h"

#include <sys/syscall.h>

/* ---- the stand-ins ---- */

static _Thread_local void (*on_open)(const char *path, int flags);     /* after it */
static _Thread_local void (*on_lock)(void);                           /* before a key's lock is tried */
static _Thread_local void (*on_unlink)(const char *path);             /* before it */
static _Thread_local void (*on_make)(void);                           /* before a directory is made */
static _Thread_local void (*on_write)(void);                          /* after it */
static _Thread_local void (*on_room)(int fd, int how, int failed);    /* after a whole file was locked, or not */
static _Atomic int refuse_links, refuse_room_locks, refuse_key_locks; /* with this errno */
static _Atomic int in_parts;                                          /* bytes are moved in small parts */
static _Thread_local void (*on_look)(void);                           /* before a file is looked at by its name */
static _Atomic int refuse_reservations;                               /* with this errno */
static _Atomic int interrupts;                                        /* every second call is interrupted */
static _Atomic int group_of_ours;                                     /* control groups are those below the scratch */
static _Atomic int written;                                           /* how often */

static int interrupted(void)
{
    static _Thread_local unsigned calls;
    if (!interrupts || calls++ % 2)
        return 0;
    errno = EINTR;
    return 1;
}

int fallocate64(int fd, int how, off64_t offset, off64_t len)
{
    if (refuse_reservations) {
        errno = refuse_reservations;
        return -1;
    }
    return (int)syscall(SYS_fallocate, fd, how, offset, len);
}

int openat(int dir, const char *path, int flags, ...)
{
    if (interrupted())
        return -1;
    va_list args;
    va_start(args, flags);
    int mode_bits = flags & O_CREAT ? va_arg(args, int) : 0;
    va_end(args);
    if (group_of_ours && (strncmp(path, "/proc/self/", 11) == 0 || strncmp(path, "/sys/fs/", 8) == 0))
        path = say("%s/fake%s", scratch, path);
    int fd = (int)syscall(SYS_openat, dir, path, flags, mode_bits), kept = errno;
    if (on_open && fd >= 0)
        on_open(path, flags);
    errno = kept;
    return fd;
}

int fcntl(int fd, int command, ...)
{
    va_list args;
    va_start(args, command);
    void *arg = va_arg(args, void *);
    va_end(args);
    if (command == F_OFD_SETLK) {
        if (((struct flock *)arg)->l_type != F_UNLCK && interrupted())
            return -1;
        if (on_lock && ((struct flock *)arg)->l_type == F_WRLCK)
            on_lock();
        if (refuse_key_locks && ((struct flock *)arg)->l_type != F_UNLCK) {
            errno = refuse_key_locks;
            return -1;
        }
    }
    return (int)syscall(SYS_fcntl, fd, command, arg);
}

int flock(int fd, int how)
{
    if (interrupted())
        return -1;
    if (refuse_room_locks && how & LOCK_EX) {
        errno = refuse_room_locks;
        return -1;
    }
    int answer = (int)syscall(SYS_flock, fd, how), kept = errno;
    if (on_room)
        on_room(fd, how, answer != 0);
    errno = kept;
    return answer;
}

int linkat(int from, const char *old, int to, const char *new, int flags)
{
    if (refuse_links) {
        errno = refuse_links;
        return -1;
    }
    return (int)syscall(SYS_linkat, from, old, to, new, flags);
}

int fstatat(int dir, const char *path, struct stat *st, int flags)
{
    if (interrupted())
        return -1;
    if (on_look)
        on_look();
    return (int)syscall(SYS_newfstatat, dir, path, st, flags);
}

int mkdirat(int dir, const char *path, mode_t how)
{
    if (on_make)
        on_make();
    return (int)syscall(SYS_mkdirat, dir, path, how);
}

int unlinkat(int dir, const char *path, int flags)
{
    if (on_unlink)
        on_unlink(path);
    return (int)syscall(SYS_unlinkat, dir, path, flags);
}

static size_t part(size_t len)
{
    return in_parts && len > 1000 ? 1000 : len;
}

ssize_t pwrite64(int fd, const void *data, size_t len, off64_t offset)
{
    if (interrupted())
        return -1;
    ssize_t done = syscall(SYS_pwrite64, fd, data, part(len), offset);
    int kept = errno;
    atomic_fetch_add(&written, 1);
    if (on_write)
        on_write();
    errno = kept;
    return done;
}

ssize_t pread64(int fd, void *data, size_t len, off64_t offset)
{
    if (interrupted())
        return -1;
    return syscall(SYS_pread64, fd, data, part(len), offset);
}

/* ---- a fork right after a room was opened, before anybody knows of the descriptor ---- */

static struct {
    _Atomic int child, opened;
    _Atomic pid_t pid;
} *steps;
static const char *A;

static void fork_here(const char *path, int flags)
{
    if (strlen(path) != 16 || !(flags & O_DIRECTORY) || flags & O_PATH)
        return;
    on_open = NULL;
    pid_t pid = fork();
    SYS(pid);
    if (pid == 0)
        sleep_for_ever(); /* with all that it inherited */
    atomic_store(&steps->pid, pid);
}

static void owner_that_forks(void *arg)
{
    (void)arg;
    vfs_t *s = open_on(A);
    on_open = fork_here;
    CHECK_OK(put(s, "k", 500, 1, 0));
    CHECK(atomic_load(&steps->pid) != 0);
    atomic_store(&steps->child, 1);
    sleep_for_ever();
}

static void fork_in_open(void)
{
    A = dir_of("a");
    steps = shared_memory(sizeof *steps);
    SYS(prctl(PR_SET_CHILD_SUBREAPER, 1));
    pid_t owner = start_child(owner_that_forks, NULL);
    AWAIT(&steps->child, 1);
    vfs_t *s = open_on(A);
    CHECK_VALUE(s, "k", 500, 1);
    kill_child(owner);
    SYS(kill(steps->pid, 0)); /* the child lives on */
    CHECK_OK(vfs_reap(s, NULL));
    CHECK_ABSENT(s, "k");
    kill_child(steps->pid);
    QUIET(vfs_close(s));
    CHECK_NOTHING_LEFT(A);
}

/* ---- a dead owner's room at which somebody looks just when it is to be taken ---- */

static int looking = -1;

static void owner_to_be_killed(void *arg)
{
    (void)arg;
    vfs_t *s = open_on(A);
    CHECK_OK(put(s, "k", 500, 1, 0));
    atomic_store(&steps->child, 1);
    sleep_for_ever();
}

static void look_away(int fd, int how, int failed)
{
    (void)fd;
    if (!(how & LOCK_EX) || !failed)
        return;
    on_room = NULL;
    SYS(close(looking));
}

/* The only room there is. */
static const char *room_path(void)
{
    const char *owners = say("%s/harness/owners", own_tier_dir(A, geteuid()));
    DIR *d = opendir(owners);
    struct dirent *entry;
    const char *path = NULL;
    CHECK(d != NULL);
    while ((entry = readdir(d)))
        if (entry->d_name[0] != '.')
            path = say("%s/%s", owners, entry->d_name);
    closedir(d);
    CHECK(path != NULL);
    return path;
}

static void looked_at(void)
{
    A = dir_of("a");
    steps = shared_memory(sizeof *steps);
    vfs_t *s = open_on(A);
    pid_t owner = start_child(owner_to_be_killed, NULL);
    AWAIT(&steps->child, 1);
    kill_child(owner);
    looking = open(room_path(), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    SYS(looking);
    SYS(flock(looking, LOCK_SH | LOCK_NB)); /* as whoever asks whether the owner is dead */
    on_room = look_away;
    CHECK_OK(vfs_reap(s, NULL));
    CHECK(on_room == NULL);
    CHECK_ABSENT(s, "k");
    QUIET(vfs_close(s));
    CHECK_NOTHING_LEFT(A);
}

/* ---- a room that a reaper took and removed before its maker had locked it ---- */

static void lose_room(int fd, int how, int failed)
{
    char link[64], path[PATH_MAX] = "";
    if (!(how & LOCK_EX) || failed)
        return;
    on_room = NULL;
    snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
    CHECK(readlink(link, path, sizeof path - 1) > 0);
    SYS(rmdir(path));
}

static void lost_room(void)
{
    A = dir_of("a");
    vfs_t *s = open_on(say("%s,%s", A, dir_of("b"))), *other = open_on(A);
    on_room = lose_room;
    CHECK_OK(put(s, "k", 500, 1, 0));
    CHECK(on_room == NULL);
    CHECK_INT(tier_of(s, "k"), 0);
    CHECK_INT(tier_stat(s, 0).refused, 0);
    CHECK_OK(vfs_reap(other, NULL));
    CHECK_VALUE(other, "k", 500, 1);
    QUIET(vfs_close(other));
    QUIET(vfs_close(s));
    CHECK_NOTHING_LEFT(A);
}

/* ---- a shutdown between writing a draft and publishing it ---- */

static _Atomic int has_written, unlinks, has_ended;

static void wait_for_shutdown(void)
{
    on_write = NULL;
    atomic_store(&has_written, 1);
    AWAIT(&unlinks, 1);
}

/* It has seen that the draft is none of what is published, and is about to remove it. */
static void wait_for_storer(const char *path)
{
    if (strcmp(path, "k") != 0)
        return;
    on_unlink = NULL;
    atomic_store(&unlinks, 1);
    AWAIT(&has_ended, 1);
}

struct storer {
    vfs_t *s;
    uint32_t flags;
    int32_t status;
};

static void *store_slowly(void *arg)
{
    struct storer *me = arg;
    on_write = wait_for_shutdown;
    me->status = put(me->s, "k", 500, 1, me->flags);
    atomic_store(&has_ended, 1);
    return NULL;
}

static void shutdown_amid_store(void)
{
    static const uint32_t flags[] = {0, VFS_REPLACE, VFS_PERSIST, VFS_REPLACE | VFS_PERSIST};
    A = dir_of("a");
    for (unsigned i = 0; i < 4; i++) {
        has_written = unlinks = has_ended = 0;
        vfs_t *s = open_on(A), *other = open_on(A);
        struct storer storer = {s, flags[i], 0};
        pthread_t thread;
        CHECK_INT(pthread_create(&thread, NULL, store_slowly, &storer), 0);
        AWAIT(&has_written, 1);
        on_unlink = wait_for_storer;
        CHECK_OK(vfs_shutdown(s));
        on_unlink = NULL;
        CHECK_INT(pthread_join(thread, NULL), 0);
        CHECK_INT(storer.status, VFS_ERR_SHUTDOWN);
        CHECK_ABSENT(other, "k");
        QUIET(vfs_close(other));
        QUIET(vfs_close(s));
        CHECK_NOTHING_LEFT(A);
    }
}

/* ---- a shutdown while a removal is about to take the key's lock ---- */

static vfs_t *to_shut;

static void *shut_it(void *arg)
{
    (void)arg;
    CHECK_OK(vfs_shutdown(to_shut));
    return NULL;
}

static void shut_here(void)
{
    pthread_t thread;
    on_lock = NULL;
    CHECK_INT(pthread_create(&thread, NULL, shut_it, NULL), 0);
    CHECK_INT(pthread_join(thread, NULL), 0);
}

static void shutdown_amid_removal(void)
{
    A = dir_of("a");
    vfs_t *other = open_on(A);
    to_shut = open_on(A);
    CHECK_OK(put(other, "k", 500, 1, 0));
    on_lock = shut_here;
    CHECK_IS(vfs_remove(to_shut, "k"), VFS_ERR_SHUTDOWN);
    CHECK(on_lock == NULL);
    CHECK_VALUE(other, "k", 500, 1);
    QUIET(vfs_close(to_shut));
    QUIET(vfs_close(other));
    CHECK_NOTHING_LEFT(A);
}

/* A handle that was shut down makes nothing anew: no room ... */
static void shut_at_look(void)
{
    pthread_t thread;
    on_look = NULL;
    CHECK_INT(pthread_create(&thread, NULL, shut_it, NULL), 0);
    CHECK_INT(pthread_join(thread, NULL), 0);
}

/* ... and none of its directories. */
static void shut_and_delete(void)
{
    shut_here();
    remove_tree(own_tier_dir(A, geteuid()));
}

static void nothing_anew(void)
{
    A = dir_of("a");
    const size_t len = 5 << 20; /* what is large is looked for before it is written */
    void *data = new_value(len, 1);
    to_shut = open_on(A);
    on_look = shut_at_look;
    CHECK_IS(vfs_store(to_shut, "k", data, len, 0), VFS_ERR_SHUTDOWN);
    CHECK(on_look == NULL);
    CHECK_NOTHING_LEFT(A);
    QUIET(vfs_close(to_shut));
    free(data);

    to_shut = open_on(A);
    on_lock = shut_and_delete;
    CHECK_FAILS(vfs_remove(to_shut, "k"));
    CHECK(on_lock == NULL);
    CHECK(access(own_tier_dir(A, geteuid()), F_OK) != 0);
    QUIET(vfs_close(to_shut));
    CHECK(access(own_tier_dir(A, geteuid()), F_OK) != 0);
}

/* ---- a store is closed while one of its writers is about to tell the log, or is telling it ---- */

static _Atomic int telling, told_after_close, is_closed;

static void slow_log(void *user, int32_t level, const char *message)
{
    (void)user;
    (void)level;
    (void)message;
    atomic_store(&telling, 1);
    nap(300); /* long enough for a close that does not wait to be seen */
    if (atomic_load(&is_closed))
        atomic_store(&told_after_close, 1);
    atomic_store(&telling, 2);
}

static vfs_t *with_log(void)
{
    vfs_options_t options = VFS_OPTIONS_INIT;
    vfs_t *s = NULL;
    const char *b = say("%s/b", scratch);
    CHECK(mkdir(b, 0755) == 0 || errno == EEXIST);
    options.tiers = say("%s?max=1K,%s", A, b);
    options.name = "harness";
    options.log = slow_log;
    CHECK_OK(vfs_open(&options, &s));
    atomic_store(&telling, 0);
    atomic_store(&is_closed, 0);
    return s;
}

static void *close_it(void *arg)
{
    QUIET(vfs_close(arg));
    atomic_store(&is_closed, 1);
    return NULL;
}

static void *write_too_much(void *arg)
{
    static const char bytes[5000];
    int32_t status = STATUS(vfs_write(arg, bytes, sizeof bytes));
    CHECK(status == VFS_OK || status == VFS_ERR_SHUTDOWN);
    return NULL;
}

static void close_here(const char *path, int flags)
{
    (void)path;
    (void)flags;
    pthread_t thread;
    on_open = NULL;
    CHECK_INT(pthread_create(&thread, NULL, close_it, to_shut), 0);
    CHECK_INT(pthread_join(thread, NULL), 0);
}

static void log_and_close(void)
{
    A = dir_of("a");
    vfs_writer_t *w = NULL;
    pthread_t thread;
    /* in the callback already: the close waits */
    vfs_t *s = with_log();
    CHECK_OK(vfs_create(s, "k", 0, 0, &w));
    CHECK_INT(pthread_create(&thread, NULL, write_too_much, w), 0);
    AWAIT(&telling, 1);
    QUIET(vfs_close(s));
    CHECK_INT(telling, 2);
    CHECK_INT(pthread_join(thread, NULL), 0);
    QUIET(vfs_abort(w));
    /* on the way to it: it is not called any more */
    to_shut = with_log();
    CHECK_OK(vfs_create(to_shut, "k", 0, 0, &w));
    on_open = close_here;
    write_too_much(w); /* counts once more what there is before it is refused */
    CHECK(on_open == NULL);
    QUIET(vfs_abort(w));
    CHECK(!told_after_close && !telling);
    CHECK_NOTHING_LEFT(A);
    CHECK_NOTHING_LEFT(say("%s/b", scratch));
}

/* ---- a control group with little memory left: a big blob does not go to a filesystem of memory ---- */

static void fake(const char *name, const char *text)
{
    char path[PATH_MAX];
    int len = snprintf(path, sizeof path, "%s/fake/%s", scratch, name);
    CHECK(len > 0 && len < PATH_MAX);
    for (char *at = path + strlen(scratch) + 1; (at = strchr(at, '/')); at++) {
        *at = 0;
        CHECK(mkdir(path, 0755) == 0 || errno == EEXIST);
        *at = '/';
    }
    int fd = open(path, O_WRONLY | O_CREAT | O_CLOEXEC, 0644);
    SYS(fd);
    CHECK(write(fd, text, strlen(text)) == (ssize_t)strlen(text));
    close(fd);
}

static void control_group(void)
{
    own_mounts();
    A = tmpfs_of("a", "size=32m");
    const char *b = dir_of("b");
    fake("proc/self/cgroup", "0::/a\n");
    fake("proc/self/mountinfo", "30 20 0:26 / /sys/fs/cgroup rw - cgroup2 cgroup2 rw\n");
    fake("sys/fs/cgroup/a/memory.max", "9000000\n");
    fake("sys/fs/cgroup/a/memory.current", "5000000\n");
    group_of_ours = 1;
    vfs_t *s = open_on(say("%s,%s", A, b));
    CHECK_OK(put(s, "too-big", 5 << 20, 1, 0));
    CHECK_INT(tier_of(s, "too-big"), 1);
    CHECK_INT(tier_stat(s, 0).last_errno, ENOMEM);
    CHECK_OK(put(s, "fits", 2 << 20, 2, 0));
    CHECK_INT(tier_of(s, "fits"), 0);
    CHECK_OK(put(s, "small", 1000, 4, 0));
    CHECK_INT(tier_of(s, "small"), 0);
    vfs_writer_t *w = NULL;
    CHECK_OK(vfs_create(s, "hinted", 6 << 20, 0, &w));
    CHECK_OK(vfs_write(w, "abc", 3));
    CHECK_OK(vfs_seal(w));
    CHECK_INT(tier_of(s, "hinted"), 1);
    group_of_ours = 0;
    QUIET(vfs_close(s));
    CHECK_NOTHING_LEFT(A);
    CHECK_NOTHING_LEFT(b);
}

/* ---- a filesystem without links or locks: found out before any bytes are written there ---- */

static void without(_Atomic int *what, int code, int before_bytes)
{
    vfs_t *s = open_on(say("%s,memory", A));
    atomic_store(&written, 0);
    atomic_store(what, code);
    CHECK_OK(put(s, "k", 100000, 1, 0));
    if (before_bytes)
        CHECK_INT(written, 0);
    CHECK_INT(tier_of(s, "k"), 1);
    CHECK_INT(tier_stat(s, 0).last_errno, code);
    atomic_store(what, 0);
    CHECK_OK(put(s, "again", 100000, 2, 0));
    CHECK_INT(tier_of(s, "again"), 0);
    QUIET(vfs_close(s));
    CHECK_NOTHING_LEFT(A);
}

static void poor_filesystem(void)
{
    A = dir_of("a");
    without(&refuse_links, EPERM, 1);
    without(&refuse_links, EOPNOTSUPP, 1);
    without(&refuse_room_locks, ENOLCK, 1);
    without(&refuse_room_locks, ENOSYS, 1);
    without(&refuse_key_locks, ENOLCK, 0);
}

/* One that reserves nothing: the memory is private then, and the bytes are written. */
static void no_reservation(void)
{
    own_mounts();
    A = tmpfs_of("a", "size=1m");
    vfs_t *s = open_on(say("%s,%s", A, dir_of("b")));
    unsigned char *data = new_value(30000, 1);
    for (int i = 0; i < 4; i++) {
        static const int errors[] = {EOPNOTSUPP, ENOSYS, EPERM, EINVAL};
        vfs_writer_t *w = NULL;
        void *room = NULL;
        atomic_store(&refuse_reservations, errors[i]);
        CHECK_OK(vfs_create(s, "k", 0, VFS_REPLACE, &w));
        CHECK_OK(vfs_write(w, data, 9000));
        CHECK_OK(vfs_reserve(w, 21000, &room));
        memcpy(room, data + 9000, 21000);
        CHECK_OK(vfs_seal(w));
        CHECK_INT(tier_of(s, "k"), 0);
        CHECK_VALUE(s, "k", 30000, 1);
    }
    atomic_store(&refuse_reservations, 0);
    free(data);
    QUIET(vfs_close(s));
    CHECK_NOTHING_LEFT(A);
}

/* ---- a filesystem that moves less than it was asked for ---- */

static void small_parts(void)
{
    A = dir_of("a");
    const char *b = dir_of("b");
    vfs_t *s = open_on(say("%s?max=20K,%s", A, b));
    vfs_writer_t *w = NULL;
    unsigned char *data = new_value(30001, 2);
    atomic_store(&in_parts, 1);
    CHECK_OK(put(s, "k", 10007, 1, 0));
    CHECK_VALUE(s, "k", 10007, 1);
    CHECK_OK(vfs_create(s, "moved", 0, 0, &w));
    CHECK_OK(vfs_write(w, data, 9001));
    CHECK_OK(vfs_write(w, data + 9001, 21000));
    CHECK_OK(vfs_seal(w));
    CHECK_INT(tier_of(s, "moved"), 1);
    CHECK_VALUE(s, "moved", 30001, 2);
    atomic_store(&in_parts, 0);
    atomic_store(&interrupts, 1);
    CHECK_OK(put(s, "k", 10007, 3, VFS_REPLACE));
    CHECK_VALUE(s, "k", 10007, 3);
    CHECK_OK(vfs_reap(s, NULL));
    CHECK_INT(listed_all(s), 2);
    CHECK_OK(vfs_remove(s, "k"));
    CHECK_ABSENT(s, "k");
    vfs_t *other = open_on(say("%s,%s", A, b));
    CHECK_OK(put(other, "k", 10007, 1, 0));
    CHECK_OK(vfs_shutdown(other));
    QUIET(vfs_close(other));
    CHECK_OK(put(s, "k", 10007, 1, 0));
    CHECK_INT(tier_of(s, "k"), 0);
    atomic_store(&interrupts, 0);
    CHECK_VALUE(s, "k", 10007, 1);
    CHECK_VALUE(s, "moved", 30001, 2);
    free(data);
    QUIET(vfs_close(s));
    CHECK_NOTHING_LEFT(A);
    CHECK_NOTHING_LEFT(b);
}

/* ---- a tier that cannot be locked is looked into: a missing key is missing, and one that is there stays ---- */

static void unlocked_miss(void)
{
    const char *a = dir_of("a"), *b = dir_of("b");
    vfs_t *s = open_on(say("%s,%s", a, b));
    CHECK_OK(put(s, "k", 100, 1, 0));
    refuse_key_locks = EIO;
    CHECK_IS(vfs_remove(s, "absent"), VFS_ERR_NOT_FOUND);
    CHECK_IS(vfs_has(s, "absent"), 0);
    CHECK_IS(vfs_remove(s, "k"), VFS_ERR_IO);
    CHECK_IS(put(s, "k", 100, 2, 0), VFS_ERR_EXISTS);
    CHECK_IS(put(s, "new", 100, 2, 0), VFS_ERR_IO);
    refuse_key_locks = 0;
    CHECK_VALUE(s, "k", 100, 1);
    CHECK_IS(vfs_remove(s, "absent"), VFS_ERR_NOT_FOUND);
    QUIET(vfs_close(s));
    CHECK_NOTHING_LEFT(a);
    CHECK_NOTHING_LEFT(b);
}

/* ---- two that make the same directories at a time both have them ---- */

static int makes, make_at;

static void make_too(void)
{
    if (++makes != make_at)
        return;
    on_make = NULL;
    vfs_t *s = open_on(path_of("a"));
    CHECK_OK(put(s, "theirs", 100, 1, 0));
    QUIET(vfs_close(s));
    on_make = make_too;
}

static void made_twice(void)
{
    const char *a = dir_of("a");
    for (make_at = 1; make_at == 1 || makes >= make_at; make_at++) {
        if (make_at > 1)
            remove_tree(own_tier_dir(a, geteuid()));
        makes = 0;
        on_make = make_too;
        vfs_t *s = open_on(a);
        CHECK_OK(put(s, "k", 100, 1, 0));
        on_make = NULL;
        CHECK_VALUE(s, "k", 100, 1);
        QUIET(vfs_close(s));
        CHECK_NOTHING_LEFT(a);
    }
    CHECK(make_at > 4);
}

/* ---- a draft that comes into a room while it is emptied goes too ---- */

static void come_late(const char *path)
{
    if (strlen(path) != 16) /* a room's name */
        return;
    on_unlink = NULL;
    SYS(mknod(say("%s/harness/owners/%s/late", own_tier_dir(path_of("a"), geteuid()), path), S_IFREG | 0600, 0));
}

static void late_draft(void)
{
    const char *a = dir_of("a");
    vfs_t *s = open_on(a);
    CHECK_OK(put(s, "k", 100, 1, 0));
    on_unlink = come_late;
    CHECK_OK(vfs_shutdown(s));
    CHECK(on_unlink == NULL);
    QUIET(vfs_close(s));
    CHECK_NOTHING_LEFT(a);
}

/* ---- a big blob asks for room before it is written: memory is not filled to its brim before it goes elsewhere ---- */

static void big_asks_first(void)
{
    own_mounts();
    const char *a = tmpfs_of("a", "size=4m");
    vfs_t *s = open_on(a);
    vfs_writer_t *w = NULL;
    atomic_store(&written, 0);
    CHECK_IS(put(s, "k", 6 << 20, 1, 0), VFS_ERR_NO_SPACE);
    CHECK_INT(vfs_last_errno(), ENOSPC);
    CHECK_INT(written, 0);
    CHECK_OK(vfs_create(s, "k", 0, 0, &w));
    void *room = NULL;
    CHECK_IS(vfs_reserve(w, 6 << 20, &room), VFS_ERR_NO_SPACE);
    QUIET(vfs_abort(w));
    CHECK_OK(put(s, "k", 3 << 20, 1, 0));
    CHECK(written > 0);
    QUIET(vfs_close(s));
    CHECK_NOTHING_LEFT(a);
}

/* ---- a key that is another's once it is locked is not removed as one's own ---- */

static vfs_t *another;

static void store_anew(void)
{
    on_lock = NULL;
    CHECK_OK(vfs_remove(another, "k"));
    CHECK_OK(put(another, "k", 400, 2, 0));
}

static void owned_no_more(void)
{
    const char *a = dir_of("a");
    vfs_t *s = open_on(a);
    another = open_on(a);
    CHECK_OK(put(s, "k", 300, 1, 0));
    on_lock = store_anew;
    CHECK_OK(vfs_remove_owned(s, (const char *const[]){"k"}, 1));
    CHECK(on_lock == NULL);
    CHECK_VALUE(another, "k", 400, 2);
    CHECK_INT(flags_of(another, "k"), VFS_STAT_OWNED);
    QUIET(vfs_close(s));
    CHECK_VALUE(another, "k", 400, 2);
    QUIET(vfs_close(another));
    CHECK_NOTHING_LEFT(a);
}

/* ---- what was opened is removed before it is looked at: it is read, but nobody is told that it has no owner ---- */

static vfs_t *remover;

static void remove_opened(const char *path, int flags)
{
    if (strcmp(path, "k") != 0 || flags & O_CREAT)
        return;
    on_open = NULL;
    if (remover)
        CHECK_OK(vfs_remove(remover, "k"));
    else /* half of a removal */
        SYS(unlink(say("%s/harness/objects/k", own_tier_dir(path_of("a"), geteuid()))));
}

static void removed_amid_read(void)
{
    const char *a = dir_of("a");
    vfs_t *s = open_on(a), *other = open_on(a);
    for (int how = 0; how < 4; how++) {
        vfs_stat_t stat = VFS_STAT_INIT;
        vfs_view_t view = {0};
        unsigned char got[300];
        size_t len = 0;
        CHECK_OK(put(s, "k", 300, 1, 0));
        remover = how % 2 ? other : NULL;
        on_open = remove_opened;
        if (how < 2)
            CHECK_OK(vfs_read(other, "k", 0, got, sizeof got, &len, &stat));
        else
            CHECK_OK(vfs_map(other, "k", &view, &stat));
        CHECK(on_open == NULL);
        CHECK(how < 2 ? len == 300 && is_value_at(got, 300, 0, 1, 300) : is_value_at(view.data, view.len, 0, 1, 300));
        CHECK_INT(stat.flags, 0);
        QUIET(vfs_unmap(&view));
    }
    QUIET(vfs_close(other));
    QUIET(vfs_close(s));
    CHECK_NOTHING_LEFT(a);
}

int main(int argc, char **argv)
{
    static const struct {
        const char *name;
        void (*run)(void);
    } modes[] = {
        {"fork-in-open", fork_in_open},       {"shutdown-amid-store", shutdown_amid_store},
        {"small-parts", small_parts},         {"shutdown-amid-removal", shutdown_amid_removal},
        {"poor-filesystem", poor_filesystem}, {"looked-at", looked_at},
        {"lost-room", lost_room},             {"nothing-anew", nothing_anew},
        {"control-group", control_group},     {"log-and-close", log_and_close},
        {"no-reservation", no_reservation},   {"removed-amid-read", removed_amid_read},
        {"big-asks-first", big_asks_first},   {"owned-no-more", owned_no_more},
        {"unlocked-miss", unlocked_miss},     {"made-twice", made_twice},
        {"late-draft", late_draft},
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

/* Processes that close descriptors which the library opened, or use their numbers for files of their own. One MODE a
 * case. */
#include "harness.h"

#include "operations.h"

#include <sys/syscall.h>

enum { NUMBERS = 40, LAST = 59 }; /* (the harness has its own from 60 on) */

static const char *A, *B;
static const char *words = "the process closed a descriptor that the library had opened";

static void two_tiers(void)
{
    A = tmpfs_of("a", "size=8m");
    B = dir_of("b");
    snprintf(tiers, sizeof tiers, "%s,%s", A, B);
}

/* What was opened before the numbers were taken away. */
static vfs_writer_t *writer, *idle;
static vfs_list_t *list;
static vfs_view_t view;

static void hold(void)
{
    const char *key = NULL;
    void *room = NULL;
    vfs_stat_t stat = VFS_STAT_INIT;
    s = open_on(tiers);
    CHECK_OK(put(s, "k", SMALL, 1, 0));
    CHECK_OK(put(s, "own", SMALL, 1, 0));
    CHECK_OK(vfs_create(s, "writer", 0, 0, &writer));
    CHECK_OK(vfs_write(writer, small_data, 50));
    CHECK_OK(vfs_reserve(writer, 50, &room));
    memset(room, 7, 50);
    CHECK_OK(vfs_create(s, "idle", 0, 0, &idle));
    CHECK_OK(vfs_map(s, "k", &view, NULL));
    CHECK_OK(vfs_list_open(s, &list));
    CHECK_OK(vfs_list_next(list, &key, &stat));
    CHECK_IS(vfs_has(s, "k"), 1);
}

/* A writer neither writes to what has its number now, nor cuts, stamps or reads that. */
static void writer_fails(void)
{
    void *room = NULL;
    CHECK_IS(vfs_write(writer, small_data, 50), VFS_ERR_IO);
    CHECK_SAYS(words);
    CHECK_IS(vfs_reserve(writer, 5000, &room), VFS_ERR_IO);
    CHECK_SAYS(words);
    CHECK_IS(vfs_write(writer, large_data, LARGE), VFS_ERR_IO);
    CHECK_IS(vfs_seal(writer), VFS_ERR_IO);
    CHECK_SAYS(words);
    QUIET(vfs_abort(idle));
}

/* All that is left ends without harm. */
static void let_go(void)
{
    const char *key = NULL;
    vfs_stat_t stat = VFS_STAT_INIT;
    for (unsigned i = 0; STATUS(vfs_list_next(list, &key, &stat)) == VFS_OK; i++)
        CHECK(i < 10 && (strcmp(key, "k") == 0 || strcmp(key, "own") == 0));
    QUIET(vfs_list_close(list));
    CHECK(is_value_at(view.data, view.len, 0, 1, SMALL));
    QUIET(vfs_unmap(&view));
    CHECK_IS(vfs_shutdown(s), VFS_ERR_IO);
    CHECK_SAYS(words);
    QUIET(vfs_close(s));
}

static void close_all(void)
{
    SYS(syscall(SYS_close_range, 3, LAST, 0));
}

/* A new store works; it reaps what the closed locks owned. */
static void new_store(void)
{
    s = open_on(tiers);
    CHECK_INT(listed_all(s), 0);
    CHECK_OK(put(s, "k", SMALL, 1, 0));
    CHECK_VALUE(s, "k", SMALL, 1);
    CHECK_OK(vfs_shutdown(s));
    QUIET(vfs_close(s));
    CHECK_NOTHING_LEFT(A);
    CHECK_NOTHING_LEFT(B);
}

/* ---- closed, and not used again ---- */

static void closed(void *arg)
{
    (void)arg;
    alarm(60);
    hold();
    close_all();
    for (unsigned i = 0; i < sizeof operations / sizeof operations[0]; i++) {
        if (operations[i].run == do_open || operations[i].run == do_shutdown)
            continue;
        operations[i].run();
        if (answer != VFS_ERR_IO || !strstr(vfs_last_error(), words))
            FAIL("%s: %s: %s", operations[i].name, status_name(answer), vfs_last_error());
    }
    do_open();
    CHECK_IS(answer, VFS_OK);
    writer_fails();
    let_go();
    new_store();
}

/* ---- used again, for files ---- */

static struct mine {
    char name[32];
    int fd;
} mine[NUMBERS];

/* Each with bytes and a time of its own, locked. */
static void take_numbers(int directories)
{
    const char *dir = dir_of("mine");
    for (int i = 0; i < NUMBERS; i++) {
        snprintf(mine[i].name, sizeof mine[i].name, "%s/%d", "mine", i);
        const char *path = say("%s/%d", dir, i);
        if (directories) {
            /* names as there are in a room and below `owners` */
            static const char *const inside[] = {"k", "own", "writer", "0123456789abcdef"};
            SYS(mkdir(path, 0700));
            for (int j = 0; j < 4; j++) {
                int fd = open(say("%s/%s", path, inside[j]), O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
                SYS(fd);
                CHECK_INT(write(fd, "mine", 4), 4);
                close(fd);
            }
            mine[i].fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
        } else {
            mine[i].fd = open(path, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
            SYS(mine[i].fd);
            CHECK_INT(pwrite(mine[i].fd, path, strlen(path), 0), (long long)strlen(path));
            struct timespec times[2] = {{1000 + i, 0}, {2000 + i, 0}};
            SYS(futimens(mine[i].fd, times));
        }
        SYS(mine[i].fd);
        SYS(flock(mine[i].fd, LOCK_EX | LOCK_NB));
    }
}

static void check_numbers(int directories)
{
    for (int i = 0; i < NUMBERS; i++) {
        const char *path = say("%s/%s", scratch, mine[i].name);
        struct stat held, named;
        char got[PATH_MAX];
        if (fstat(mine[i].fd, &held) != 0)
            FAIL("descriptor %d of the process was closed", mine[i].fd);
        SYS(stat(path, &named));
        CHECK(held.st_ino == named.st_ino && held.st_dev == named.st_dev);
        int other = open(path, O_RDONLY | O_CLOEXEC);
        SYS(other);
        if (flock(other, LOCK_EX | LOCK_NB) == 0)
            FAIL("descriptor %d of the process lost its lock", mine[i].fd);
        close(other);
        if (directories) {
            CHECK_INT(entries_in(path), 4);
            CHECK_INT(lseek(mine[i].fd, 0, SEEK_CUR), 0);
        } else {
            CHECK_INT(held.st_size, strlen(path));
            CHECK_INT(held.st_mtime, 2000 + i);
            CHECK_INT(pread(mine[i].fd, got, sizeof got, 0), (long long)strlen(path));
            CHECK(memcmp(got, path, strlen(path)) == 0);
        }
    }
}

static void in_child(void *arg)
{
    check_numbers(*(int *)arg); /* fork closes what the library had, and nothing else */
    QUIET(vfs_close(s));
    check_numbers(*(int *)arg);
}

static void used_again(void *arg)
{
    int directories = *(int *)arg;
    alarm(60);
    hold();
    close_all();
    take_numbers(directories);
    nap(1100); /* it is found out once a second */
    JOIN(start_child(in_child, &directories));
    for (int round = 0; round < 2; round++) {
        for (unsigned i = 0; i < sizeof operations / sizeof operations[0]; i++)
            if (operations[i].run != do_shutdown) {
                operations[i].run(); /* a code, whichever */
                CHECK(answer <= 1);
            }
        check_numbers(directories);
    }
    writer_fails();
    check_numbers(directories);
    let_go();
    check_numbers(directories);
    for (int i = 0; i < NUMBERS; i++)
        SYS(close(mine[i].fd));
    new_store();
}

static void both(void (*body)(void *))
{
    for (int directories = 0; directories < 2; directories++) {
        two_tiers();
        JOIN(start_child(body, &directories));
        SYS(umount2(A, MNT_DETACH));
        if (access(say("%s/mine", scratch), F_OK) == 0)
            remove_tree(say("%s/mine", scratch));
        remove_tree(A);
        remove_tree(B);
    }
}

/* ---- one number over one of ours ---- */

static void one_taken(void *arg)
{
    int directories = *(int *)arg, before[LAST + 1], ours[LAST + 1], count = 0;
    for (int fd = 3; fd <= LAST; fd++)
        before[fd] = fcntl(fd, F_GETFD) >= 0;
    s = open_on(tiers);
    CHECK_OK(put(s, "k", SMALL, 1, 0));
    for (int fd = 3; fd <= LAST; fd++)
        if (!before[fd] && fcntl(fd, F_GETFD) >= 0)
            ours[count++] = fd;
    CHECK(count >= 5);
    QUIET(vfs_close(s));
    for (int i = 0; i < count; i++) {
        pid_t pid = fork();
        SYS(pid);
        if (pid == 0) {
            alarm(60);
            s = open_on(tiers);
            CHECK_OK(put(s, "k", SMALL, 1, 0));
            CHECK_IS(vfs_has(s, "k"), 1);
            const char *path = path_of("taken");
            if (directories) {
                SYS(mkdir(path, 0700));
                SYS(mkdir(say("%s/k", path), 0700));
            }
            int fd = open(path, directories ? O_RDONLY | O_DIRECTORY | O_CLOEXEC : O_RDWR | O_CREAT | O_CLOEXEC, 0600);
            SYS(fd);
            SYS(flock(fd, LOCK_EX));
            SYS(dup2(fd, ours[i]));
            nap(1100);
            struct stat st, is;
            SYS(fstat(fd, &st));
            for (unsigned o = 0; o < sizeof operations / sizeof operations[0]; o++)
                operations[o].run();
            QUIET(vfs_close(s));
            SYS(fstat(ours[i], &is));
            CHECK(is.st_ino == st.st_ino && is.st_dev == st.st_dev && is.st_size == st.st_size);
            if (directories)
                CHECK_INT(entries_in(path), 1);
            int other = open(path, O_RDONLY | O_CLOEXEC);
            CHECK(other >= 0 && flock(other, LOCK_EX | LOCK_NB) != 0);
            _exit(0);
        }
        JOIN(pid);
        if (unlink(say("%s/taken", scratch)) != 0)
            remove_tree(say("%s/taken", scratch));
    }
    new_store();
}

/* ---- used again, by the library itself ---- */

static void reap_elsewhere(void *arg)
{
    vfs_t *other = open_on(tiers);
    CHECK_VALUE(other, "new", SMALL, 1);
    QUIET(vfs_close(other));
    (void)arg;
}

/* The numbers of a handle whose descriptors were closed are those of a newer one: closing the old one must neither end
 * the newer one's blobs nor close its descriptors. */
static void newer(void *arg)
{
    (void)arg;
    for (int shift = 0; shift < 8; shift++) {
        hold();
        close_all();
        for (int i = 0; i < shift; i++)
            SYS(fcntl(0, F_DUPFD_CLOEXEC, 3));
        vfs_t *fresh = open_on(tiers);
        CHECK_OK(put(fresh, "new", SMALL, 1, 0));
        writer_fails();
        QUIET(vfs_list_close(list));
        QUIET(vfs_unmap(&view));
        QUIET(vfs_close(s));
        JOIN(start_child(reap_elsewhere, NULL));
        CHECK_VALUE(fresh, "new", SMALL, 1);
        CHECK_OK(put(fresh, "more", SMALL, 1, 0));
        vfs_t *kept = s = fresh;
        do_reap();
        CHECK_IS(answer, VFS_OK);
        CHECK_OK(vfs_shutdown(kept));
        QUIET(vfs_close(kept));
        close_all();
    }
    new_store();
}

/* ---- a table of a thread's own ---- */

static void *with_own_table(void *arg)
{
    SYS(syscall(SYS_close_range, 3, LAST, 2 /* CLOSE_RANGE_UNSHARE */));
    for (int i = 0; i < 3; i++) {
        CHECK_IS(put(s, "k", SMALL, 2, VFS_REPLACE), VFS_ERR_IO);
        CHECK_SAYS(words);
        CHECK_IS(vfs_has(s, "absent"), VFS_ERR_IO);
    }
    vfs_t *own = open_as(tiers, "own", 0);
    CHECK_OK(put(own, "k", SMALL, 3, 0));
    CHECK_OK(vfs_shutdown(own));
    QUIET(vfs_close(own));
    return arg;
}

static void own_table(void *arg)
{
    pthread_t thread;
    (void)arg;
    s = open_on(tiers);
    CHECK_OK(put(s, "k", SMALL, 1, 0));
    CHECK_INT(pthread_create(&thread, NULL, with_own_table, NULL), 0);
    CHECK_INT(pthread_join(thread, NULL), 0);
    CHECK_VALUE(s, "k", SMALL, 1);
    CHECK_OK(put(s, "k", SMALL, 1, VFS_REPLACE));
    CHECK_OK(vfs_shutdown(s));
    QUIET(vfs_close(s));
    new_store();
}

/* ---- fewer than are open ---- */

static void fewer(void *arg)
{
    struct rlimit before, three = {3, 3};
    (void)arg;
    hold();
    SYS(getrlimit(RLIMIT_NOFILE, &before));
    three.rlim_max = before.rlim_max;
    SYS(setrlimit(RLIMIT_NOFILE, &three));
    do_replace();
    CHECK_IS(answer, VFS_ERR_LIMIT);
    do_read();
    CHECK_IS(answer, VFS_ERR_LIMIT);
    do_stat();
    CHECK_IS(answer, VFS_OK);
    do_list();
    CHECK_IS(answer, VFS_ERR_LIMIT);
    do_open();
    CHECK_IS(answer, VFS_ERR_LIMIT);
    CHECK_OK(vfs_write(writer, small_data + 100, SMALL - 100));
    CHECK_OK(vfs_seal(writer));
    QUIET(vfs_abort(idle));
    SYS(setrlimit(RLIMIT_NOFILE, &before));
    CHECK_VALUE(s, "k", SMALL, 1);
    QUIET(vfs_list_close(list));
    QUIET(vfs_unmap(&view));
    CHECK_OK(vfs_shutdown(s));
    QUIET(vfs_close(s));
    new_store();
}

int main(int argc, char **argv)
{
    static const struct {
        const char *name;
        void (*run)(void *);
    } modes[] = {
        {"closed", closed}, {"newer", newer}, {"own-table", own_table}, {"fewer", fewer},
    };
    start(argc, argv);
    make_values();
    own_mounts();
    if (strcmp(mode, "used-again") == 0 || strcmp(mode, "one-taken") == 0) {
        both(strcmp(mode, "used-again") == 0 ? used_again : one_taken);
        return 0;
    }
    two_tiers();
    for (unsigned i = 0; i < sizeof modes / sizeof modes[0]; i++)
        if (strcmp(mode, modes[i].name) == 0) {
            JOIN(start_child(modes[i].run, NULL));
            SYS(umount2(A, MNT_DETACH));
            return 0;
        }
    FAIL("no such mode");
}

/* The memory limit of a control group, for real: a process in a group of 32 MiB writes 48 MiB to a big tmpfs. Written the
 * usual way that wakes the kernel's killer; through the library the bytes go to disk, and the process lives.
 *
 * Where no control group can be made (it takes the rights, and a hierarchy that limits memory) it prints NOT ALLOWED. */
#include "harness.h"

enum { MB = 1 << 20, LIMIT = 32 * MB, SIZE = 48 * MB, PIECE = 64 << 10 };

static char group[PATH_MAX + 64];
static const char *shm, *disk, *source;

/* The text of a file, or NULL. */
static char *text_of(const char *path)
{
    static char text[16384];
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0)
        return NULL;
    ssize_t got = read(fd, text, sizeof text - 1);
    close(fd);
    text[got > 0 ? got : 0] = 0;
    return text;
}

static int set(const char *file, const char *text)
{
    return put_text(say("%s/%s", group, file), text);
}

/* Makes a group below the directory of another that limits memory; 0 where that cannot be. */
static int group_below(const char *parent, int v2)
{
    snprintf(group, sizeof group, "%s/libvfs-test-%d", parent, (int)getpid());
    if (v2) /* (not allowed where processes are in it, but it may be so already) */
        (void)put_text(say("%s/cgroup.subtree_control", parent), "+memory");
    if (mkdir(group, 0700) != 0)
        return 0;
    char bytes[32];
    snprintf(bytes, sizeof bytes, "%d", LIMIT);
    if (set(v2 ? "memory.max" : "memory.limit_in_bytes", bytes) == 0) {
        /* what is swapped out counts too */
        if (v2)
            (void)set("memory.swap.max", "0");
        else if (set("memory.memsw.limit_in_bytes", bytes) != 0)
            (void)set("memory.swappiness", "0");
        return 1;
    }
    rmdir(group);
    return 0;
}

/* Version 2 where it limits memory, else version 1: below our own group, as both are usually mounted. */
static int make_group(void)
{
    static const char *const mounts[2][3] = {{"/sys/fs/cgroup/memory", NULL, NULL},
                                             {"/sys/fs/cgroup", "/sys/fs/cgroup/unified", NULL}};
    for (int v2 = 1; v2 >= 0; v2--) {
        char own[PATH_MAX] = "";
        char *text = text_of("/proc/self/cgroup");
        for (char *line = text ? strtok(text, "\n") : NULL; line; line = strtok(NULL, "\n")) {
            char *path = strrchr(line, ':');
            if (path && (v2 ? strncmp(line, "0::", 3) == 0 : strstr(line, ":memory:") != NULL))
                snprintf(own, sizeof own, "%s", strcmp(path + 1, "/") == 0 ? "" : path + 1);
        }
        for (int i = 0; mounts[v2][i]; i++) {
            char parent[PATH_MAX + 64];
            snprintf(parent, sizeof parent, "%s%s", mounts[v2][i], own);
            if (access(parent, W_OK) == 0 && group_below(parent, v2))
                return 1;
            if (access(mounts[v2][i], W_OK) == 0 && group_below(mounts[v2][i], v2)) /* a container's is the top */
                return 1;
        }
    }
    return 0;
}

static void enter_group(void)
{
    CHECK(set("cgroup.procs", say("%d", (int)getpid())) == 0);
}

/* The source, mapped: it can be read again at any time, so it does not count for long. */
static const unsigned char *mapped_source(void)
{
    int fd = open(source, O_RDONLY | O_CLOEXEC);
    SYS(fd);
    void *data = mmap(NULL, SIZE, PROT_READ, MAP_PRIVATE, fd, 0);
    CHECK(data != MAP_FAILED);
    close(fd);
    return data;
}

static void naive(void *arg)
{
    (void)arg;
    enter_group();
    const unsigned char *data = mapped_source();
    int fd = open(say("%s/naive", shm), O_WRONLY | O_CREAT | O_CLOEXEC, 0600);
    SYS(fd);
    for (size_t at = 0; at < SIZE; at += PIECE)
        CHECK_INT(pwrite(fd, data + at, PIECE, (off_t)at), PIECE);
}

static void check_source(vfs_t *s)
{
    unsigned char *part = malloc(MB);
    CHECK(part);
    for (size_t at = 0; at < SIZE; at += MB) {
        size_t got = 0;
        CHECK_OK(vfs_read(s, "k", at, part, MB, &got, NULL));
        CHECK_INT(got, MB);
        CHECK(is_value_at(part, MB, at, 1, SIZE));
    }
    free(part);
    CHECK_INT(tier_of(s, "k"), 1);
}

static void stored(void *arg)
{
    enter_group();
    const unsigned char *data = mapped_source();
    vfs_t *s = open_on(say("%s,%s", shm, disk));
    CHECK_OK(vfs_store(s, "small", data, 100, 0));
    CHECK_INT(tier_of(s, "small"), 0);
    vfs_writer_t *w = NULL;
    switch (*(int *)arg) {
    case 0: CHECK_OK(vfs_store(s, "k", data, SIZE, 0)); break;
    case 1: /* nobody knows how much it will be */
        CHECK_OK(vfs_create(s, "k", 0, 0, &w));
        for (size_t at = 0; at < SIZE; at += PIECE)
            CHECK_OK(vfs_write(w, data + at, PIECE));
        CHECK_OK(vfs_seal(w));
        break;
    case 2:
        CHECK_OK(vfs_create(s, "k", 0, 0, &w));
        for (size_t at = 0; at < SIZE; at += MB) {
            void *room = NULL;
            CHECK_OK(vfs_reserve(w, MB, &room));
            memcpy(room, data + at, MB);
        }
        CHECK_OK(vfs_seal(w));
        break;
    case 3: /* slowly, so that the limit is asked for again meanwhile */
        CHECK_OK(vfs_create(s, "k", 0, 0, &w));
        for (size_t at = 0; at < SIZE; at += 4 * MB) {
            nap(at > 16 * MB && at < 28 * MB ? 400 : 0);
            CHECK_OK(vfs_write(w, data + at, 4 * MB));
        }
        CHECK_OK(vfs_seal(w));
        break;
    case 4: /* two at a time */
        CHECK_OK(vfs_create(s, "k", 0, 0, &w));
        vfs_writer_t *v = NULL;
        CHECK_OK(vfs_create(s, "other", 0, 0, &v));
        for (size_t at = 0; at < SIZE; at += PIECE) {
            CHECK_OK(vfs_write(w, data + at, PIECE));
            CHECK_OK(vfs_write(v, data + at, PIECE));
        }
        QUIET(vfs_abort(v));
        CHECK_OK(vfs_seal(w));
        break;
    }
    check_source(s);
    CHECK_INT(tier_stat(s, 0).last_errno, ENOMEM);
    CHECK_OK(vfs_remove(s, "k"));
    long long until = now_ms() + PATIENCE_MS; /* there is room again, and that is found out in time */
    do {
        CHECK(now_ms() < until);
        nap(50);
        CHECK_OK(vfs_store(s, "again", data, MB, VFS_REPLACE));
    } while (tier_of(s, "again") != 0);
    QUIET(vfs_close(s));
}

int main(int argc, char **argv)
{
    start(argc, argv);
    own_mounts();
    if (!make_group()) {
        CHECK(write(1, "NOT ALLOWED\n", 12) == 12);
        return 0;
    }
    shm = tmpfs_of("shm", "size=256m");
    disk = dir_of("disk");
    source = path_of("source");
    unsigned char *data = new_value(SIZE, 1);
    int fd = open(source, O_WRONLY | O_CREAT | O_CLOEXEC, 0600), failed = 0;
    SYS(fd);
    for (size_t at = 0; at < SIZE; at += PIECE)
        CHECK_INT(write(fd, data + at, PIECE), PIECE);
    SYS(fsync(fd)); /* what is dirty could not be dropped */
    close(fd);
    free(data);
    /* so that a failure leaves no group behind: children alone fail */
    int state = 0;
    pid_t pid = start_child(naive, NULL);
    SYS(waitpid(pid, &state, 0));
    unlink(say("%s/naive", shm));
    int killed = WIFSIGNALED(state) && WTERMSIG(state) == SIGKILL, ends[5];
    for (int way = 0; way < 5; way++) {
        pid = start_child(stored, &way);
        SYS(waitpid(pid, &state, 0));
        ends[way] = state;
        failed += state != 0;
    }
    vfs_t *reaper = open_on(say("%s,%s", shm, disk));
    QUIET(vfs_close(reaper));
    for (int i = 0; rmdir(group) != 0 && i < 1000; i++) /* the last of it may still be on its way out */
        nap(5);
    CHECK(access(group, F_OK) != 0);
    if (!killed)
        FAIL("48 MiB in a group of 32 MiB did no harm: %d", state);
    for (int way = 0; failed && way < 5; way++)
        if (ends[way] != 0)
            FAIL("way %d: the process ended with %s %d", way, WIFSIGNALED(ends[way]) ? "signal" : "exit code",
                 WIFSIGNALED(ends[way]) ? WTERMSIG(ends[way]) : WEXITSTATUS(ends[way]));
    SYS(unlink(source));
    CHECK_NOTHING_LEFT(shm);
    CHECK_NOTHING_LEFT(disk);
    return 0;
}

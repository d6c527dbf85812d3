/* Filesystems that keep less than the library goes by: times in whole seconds, links that are files of their own. This
 * program stands in for the functions of the C library that would tell. One MODE a case. */
#include "harness.h"

#include <sys/syscall.h>

static _Atomic int whole_seconds;                /* what is set as a time is cut to them */
static _Atomic int links_apart, links_uncounted; /* of the link that is tried: another inode, or it is not counted */
static _Thread_local int dies_at_unlink;

int futimens(int fd, const struct timespec times[2])
{
    struct timespec kept[2] = {times[0], times[1]};
    if (whole_seconds && kept[1].tv_nsec < 1000000000)
        kept[1].tv_nsec = 0;
    return (int)syscall(SYS_utimensat, fd, NULL, kept, 0);
}

int unlinkat(int dir, const char *path, int flags)
{
    if (dies_at_unlink && strstr(path, "objects/k"))
        _exit(7);
    return (int)syscall(SYS_unlinkat, dir, path, flags);
}

int fstatat(int dir, const char *path, struct stat *st, int flags)
{
    int answer = (int)syscall(SYS_newfstatat, dir, path, st, flags);
    if (answer == 0 && strcmp(path, "\\probe.link") == 0) {
        st->st_ino += links_apart != 0;
        st->st_nlink -= links_uncounted != 0;
    }
    return answer;
}

static const char *A, *B;

static void replaced_and_killed(void *arg)
{
    vfs_t *s = open_on(arg);
    unsigned char *value = new_value(400, 2);
    dies_at_unlink = 1; /* when the new value is there and the old one is not cleared yet */
    (void)vfs_store(s, "k", value, 400, VFS_REPLACE);
    FAIL("nothing was cleared");
}

/* The old value that a killed replace left below is the older one by the times that are kept, and goes with the new. */
static void seconds(void)
{
    A = dir_of("a");
    B = dir_of("b");
    char both[2 * PATH_MAX];
    snprintf(both, sizeof both, "%s,%s", A, B);
    whole_seconds = 1;
    vfs_t *low = open_on(say("%s?max=1,%s", A, B));
    CHECK_OK(put(low, "k", 300, 1, 0));
    CHECK_INT(tier_of(low, "k"), 1);
    pid_t child = start_child(replaced_and_killed, both);
    int state = 0;
    CHECK_INT(waitpid(child, &state, 0), child);
    CHECK(WIFEXITED(state) && WEXITSTATUS(state) == 7);
    CHECK_VALUE(low, "k", 400, 2);
    CHECK_OK(vfs_reap(low, NULL));
    CHECK_ABSENT(low, "k");
    QUIET(vfs_close(low));
    CHECK_NOTHING_LEFT(A);
    CHECK_NOTHING_LEFT(B);
}

/* Whose a blob is is told by its links: where they cannot tell it, nothing is stored. */
static void links(void)
{
    A = dir_of("a");
    for (int i = 0; i < 2; i++) {
        links_apart = i == 0;
        links_uncounted = i == 1;
        vfs_t *s = open_on(A);
        CHECK_IS(put(s, "k", 300, 1, 0), VFS_ERR_UNSUPPORTED);
        CHECK_SAYS("links");
        QUIET(vfs_close(s));
        CHECK_NOTHING_LEFT(A);
    }
}

int main(int argc, char **argv)
{
    start(argc, argv);
    if (strcmp(mode, "seconds") == 0)
        seconds();
    else if (strcmp(mode, "links") == 0)
        links();
    else
        FAIL("no such mode");
    return 0;
}

/* What lies under our names but is not ours to follow or to make: symbolic links, fifos, missing directories. One MODE
 * a case. */
#include "harness.h"

/* A link or a fifo in place of a blob: no value, and nobody waits. */
static void in_place_of_a_blob(void)
{
    const char *a = dir_of("a"), *b = dir_of("b"), *outside = path_of("outside");
    int fd = open(outside, O_CREAT | O_WRONLY | O_CLOEXEC, 0600);
    SYS(fd);
    CHECK(write(fd, "secret", 6) == 6);
    close(fd);
    for (int i = 0; i < 2; i++) {
        vfs_t *s = open_on(say("%s,%s", a, b));
        char path[PATH_MAX], byte = 'x';
        size_t len = 7;
        vfs_view_t view = {0};
        vfs_stat_t stat = VFS_STAT_INIT;
        snprintf(path, sizeof path, "%s/harness/objects/k", own_tier_dir(a, geteuid()));
        if (i)
            SYS(mkfifo(path, 0600));
        else
            SYS(symlink(outside, path));
        CHECK_FAILS(vfs_read(s, "k", 0, &byte, 1, &len, NULL));
        CHECK_FAILS(vfs_map(s, "k", &view, &stat));
        CHECK_FAILS(vfs_stat(s, "k", &stat));
        CHECK(STATUS(vfs_has(s, "k")) != 1);
        CHECK(byte == 'x' && len == 7 && view.data == NULL);
        SYS(unlink(path));
        CHECK_ABSENT(s, "k");
        QUIET(vfs_close(s));
    }
    SYS(unlink(outside));
    CHECK_NOTHING_LEFT(a);
    CHECK_NOTHING_LEFT(b);
}

/* A reader makes no lock file either, and needs none. */
static void reading_without_locks(void)
{
    const char *a = dir_of("a"), *lock = path_of(say("a/vfs1-%u/\\lock", (unsigned)geteuid()));
    vfs_t *s = open_on(a);
    CHECK_OK(put(s, "k", 500, 1, VFS_PERSIST));
    QUIET(vfs_close(s));
    SYS(unlink(lock));
    vfs_t *reader = open_as(say("%s,%s", a, dir_of("b")), "harness", VFS_READ_ONLY);
    CHECK_VALUE(reader, "k", 500, 1);
    CHECK_INT(listed_all(reader), 1);
    CHECK_ABSENT(reader, "absent");
    QUIET(vfs_close(reader));
    CHECK(access(lock, F_OK) != 0);
    s = open_on(a);
    CHECK_OK(vfs_remove(s, "k"));
    QUIET(vfs_close(s));
    CHECK_NOTHING_LEFT(a);
}

/* A link in place of the lock file or a directory: the next tier serves, and nothing is made where it leads. */
static void in_place_of_ours(void)
{
    static const char *const names[] = {"\\lock", "harness", "harness/objects", "harness/owners"};
    const char *b = dir_of("b");
    for (int i = 0; i < 8; i++) {
        const char *a = dir_of(say("a%d", i)), *outside = path_of(say("outside-%d", i));
        SYS(mkdir(own_tier_dir(a, geteuid()), 0700));
        if (i / 2 > 1)
            SYS(mkdir(say("%s/harness", own_tier_dir(a, geteuid())), 0700));
        if (i % 2) { /* dangling, or not */
            if (i / 2 == 0) {
                int fd = open(outside, O_CREAT | O_WRONLY | O_CLOEXEC, 0600);
                SYS(fd);
                close(fd);
            } else {
                SYS(mkdir(outside, 0700));
            }
        }
        SYS(symlink(outside, say("%s/%s", own_tier_dir(a, geteuid()), names[i / 2])));
        vfs_t *s = open_on(say("%s,%s", a, b));
        CHECK_OK(put(s, "k", 500, 1, 0));
        if (tier_of(s, "k") != 1)
            FAIL("a link in place of %s was followed", names[i / 2]);
        QUIET(vfs_close(s));
        SYS(unlink(say("%s/%s", own_tier_dir(a, geteuid()), names[i / 2])));
        QUIET(vfs_close(open_on(a))); /* what was made beside the link goes now */
        CHECK_NOTHING_LEFT(a);
        if (i % 2 == 0)
            CHECK(access(outside, F_OK) != 0);
        else if (i / 2 > 0)
            SYS(rmdir(outside)); /* empty */
    }
    CHECK_NOTHING_LEFT(b);
}

/* Looking makes nothing, whatever is missing. */
static void looking(void)
{
    const char *a = dir_of("a"), *b = dir_of("b"), *key = NULL;
    const char *own_a = path_of(say("a/vfs1-%u", (unsigned)geteuid())), *own_b = path_of(say("b/vfs1-%u", (unsigned)geteuid()));
    vfs_t *s = open_on(say("%s,%s", a, b));
    vfs_list_t *list = NULL;
    vfs_stat_t stat = VFS_STAT_INIT;
    remove_tree(own_a);
    remove_tree(own_b);
    CHECK_ABSENT(s, "k");
    CHECK_OK(vfs_list_open(s, &list));
    CHECK_IS(vfs_list_next(list, &key, &stat), VFS_ERR_NOT_FOUND);
    QUIET(vfs_list_close(list));
    CHECK_INT(tier_stat(s, 0).blobs, 0);
    CHECK_OK(vfs_reap(s, NULL));
    CHECK(access(own_a, F_OK) != 0 && access(own_b, F_OK) != 0);
    CHECK_OK(put(s, "k", 500, 1, 0));
    CHECK_INT(tier_of(s, "k"), 0);
    QUIET(vfs_close(s));
    /* a listing is of what lies where the tier's path leads */
    s = open_on(a);
    CHECK_OK(put(s, "k", 500, 1, 0));
    SYS(rename(own_a, say("%s/elsewhere", a)));
    CHECK_INT(listed_all(s), 0);
    QUIET(vfs_close(s));
    remove_tree(say("%s/elsewhere", a));
    /* a store that is on one tier only stays there, whoever reaps */
    s = open_as(a, "lone", 0);
    CHECK_OK(put(s, "k", 500, 1, 0));
    vfs_t *other = open_on(say("%s,%s", a, b));
    CHECK_OK(vfs_reap(other, NULL));
    CHECK(access(say("%s/harness", own_b), F_OK) == 0);
    CHECK(access(say("%s/lone", own_b), F_OK) != 0);
    QUIET(vfs_close(other));
    QUIET(vfs_close(s));
    CHECK_NOTHING_LEFT(a);
    CHECK_NOTHING_LEFT(b);
}

int main(int argc, char **argv)
{
    static const struct {
        const char *name;
        void (*run)(void);
    } modes[] = {
        {"in-place-of-a-blob", in_place_of_a_blob}, {"in-place-of-ours", in_place_of_ours}, {"looking", looking},
        {"reading-without-locks", reading_without_locks},
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

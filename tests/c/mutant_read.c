/* Readers and listings whose calls of the operating system fail, or meet other readers: they say what they could not
 * see, and lose nothing else. One MODE a case. */
#include "harness.h"

#include "between.h"

static const char *call;
static int error, at, calls;

static void refuse_one(const char *name)
{
    if (strcmp(name, call) == 0 && ++calls == at)
        refuse_with = error;
}

/* Lists with the N-th call refused; answers how many keys came, and what was said in place of the end, or 0. */
static int list_all(vfs_t *s, int32_t *said)
{
    vfs_list_t *list = NULL;
    vfs_stat_t stat = VFS_STAT_INIT;
    const char *key = NULL;
    int keys = 0;
    int32_t status;
    calls = 0;
    before_call = refuse_one;
    *said = STATUS(vfs_list_open(s, &list));
    while (list && (status = STATUS(vfs_list_next(list, &key, &stat))) != VFS_ERR_NOT_FOUND) {
        keys += status == VFS_OK;
        if (status != VFS_OK) {
            CHECK_INT(*said, VFS_OK); /* told once */
            *said = status;
        }
    }
    before_call = NULL;
    QUIET(vfs_list_close(list));
    return keys;
}

/* A tier that cannot be read, or not to its end. */
static void unread(vfs_t *s)
{
    call = "getdents64";
    error = EIO;
    for (at = 1; at == 1 || calls >= at; at++) {
        int32_t said;
        int keys = list_all(s, &said);
        CHECK(said == VFS_OK || said == VFS_ERR_IO);
        if (keys < 6 && said == VFS_OK)
            FAIL("call %d was refused, %d keys were listed, and that was all", at, keys);
        CHECK(keys >= 3); /* the other tier does not suffer */
        CHECK(calls < at || said == VFS_ERR_IO);
    }
    CHECK(at > 3);
}

/* No descriptors for a moment: the next call goes on. */
static void without_descriptors(vfs_t *s)
{
    call = "fstatat";
    error = EMFILE;
    int refused = 0;
    for (at = 1; at == 1 || calls >= at; at++) {
        int32_t said;
        int keys = list_all(s, &said);
        CHECK(said == VFS_OK || said == VFS_ERR_LIMIT);
        refused += said == VFS_ERR_LIMIT;
        if (keys)
            CHECK_INT(keys, 6);
    }
    CHECK(refused > 3);
}

/* Whose owner is dead is told by a listing as by a look at each. */
static void owner_to_be_killed(void *arg)
{
    vfs_t *s = open_on(path_of("a"));
    CHECK_OK(put(s, "dead", 100, 1, 0));
    CHECK_OK(put(s, "kept", 100, 1, VFS_PERSIST));
    CHECK_OK(put(s, "dead-too", 100, 1, VFS_REPLACE));
    CHECK_OK(put(s, "dead-too", 200, 1, VFS_REPLACE));
    atomic_store((_Atomic int *)arg, 1);
    sleep_for_ever();
}

static void orphans(vfs_t *s)
{
    vfs_t *reader = open_as(path_of("a"), "harness", VFS_READ_ONLY);
    _Atomic int *step = shared_memory(sizeof *step);
    for (int dead = 0; dead < 2; dead++) {
        static pid_t pid;
        vfs_list_t *list = NULL;
        vfs_stat_t stat = VFS_STAT_INIT, alone = VFS_STAT_INIT;
        const char *key = NULL;
        int orphaned = 0;
        if (!dead) {
            pid = start_child(owner_to_be_killed, step);
            AWAIT(step, 1);
        } else {
            kill_child(pid);
        }
        CHECK_OK(vfs_list_open(reader, &list));
        while (STATUS(vfs_list_next(list, &key, &stat)) == VFS_OK) {
            CHECK_OK(vfs_stat(reader, key, &alone));
            CHECK_INT(alone.flags, stat.flags);
            CHECK_INT(stat.flags & VFS_STAT_PERSISTENT, strcmp(key, "kept") == 0 ? VFS_STAT_PERSISTENT : 0);
            CHECK_INT(!!(stat.flags & VFS_STAT_ORPHAN), dead && strncmp(key, "dead", 4) == 0);
            orphaned += !!(stat.flags & VFS_STAT_ORPHAN);
        }
        QUIET(vfs_list_close(list));
        CHECK_INT(orphaned, dead ? 2 : 0);
    }
    QUIET(vfs_close(reader));
    CHECK_OK(vfs_reap(s, NULL));
    CHECK_OK(vfs_remove(s, "kept"));
}

/* Its directories go under a listing: they hold nothing any more, which is no failure. */
static void deleted(vfs_t *s)
{
    vfs_list_t *list = NULL;
    vfs_stat_t stat = VFS_STAT_INIT;
    const char *key = NULL;
    vfs_t *lost = open_on(dir_of("lost"));
    CHECK_OK(vfs_list_open(lost, &list));
    remove_tree(own_tier_dir(path_of("lost"), geteuid()));
    CHECK_IS(vfs_list_next(list, &key, &stat), VFS_ERR_NOT_FOUND);
    QUIET(vfs_list_close(list));
    QUIET(vfs_close(lost));
    CHECK_NOTHING_LEFT(path_of("lost"));
    remove_tree(path_of("lost"));
    CHECK_IS(vfs_has(s, "above-0"), 1);
}

/* At each call of a reader that looks under the key's lock, another one looks too. */
static vfs_t *second;

static void look_too(const char *name)
{
    (void)name;
    calls++;
    CHECK_IS(vfs_has(second, "absent"), 0);
}

static void two_readers(vfs_t *s)
{
    second = open_on(say("%s,%s", path_of("a"), path_of("b")));
    before_call = look_too;
    int has = vfs_has(s, "absent");
    before_call = NULL;
    CHECK_INT(has, 0);
    CHECK(calls > 5);
    QUIET(vfs_close(second));
}

int main(int argc, char **argv)
{
    static const struct {
        const char *name;
        void (*run)(vfs_t *s);
    } modes[] = {{"unread", unread}, {"without-descriptors", without_descriptors}, {"orphans", orphans},
                 {"deleted", deleted}, {"two-readers", two_readers}};
    void (*run)(vfs_t *s) = NULL;
    start(argc, argv);
    for (unsigned i = 0; i < sizeof modes / sizeof modes[0]; i++)
        if (strcmp(mode, modes[i].name) == 0)
            run = modes[i].run;
    if (!run)
        FAIL("no such mode");
    const char *a = dir_of("a"), *b = dir_of("b");
    vfs_t *s = open_on(say("%s,%s", a, b)), *below = open_on(b);
    for (int i = 0; i < 3; i++) {
        CHECK_OK(put(s, say("above-%d", i), 100, 1, 0));
        CHECK_OK(put(below, say("below-%d", i), 100, 1, 0));
    }
    CHECK_INT(listed_all(s), 6);
    unsigned fds = 0;
    for (int round = 0; round < 2; round++) {
        run(s);
        CHECK_INT(listed_all(s), 6);
        CHECK(!round || descriptors() <= fds);
        fds = descriptors();
    }
    QUIET(vfs_close(below));
    QUIET(vfs_close(s));
    CHECK_NOTHING_LEFT(a);
    CHECK_NOTHING_LEFT(b);
    return 0;
}

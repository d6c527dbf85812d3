/* Processes that get another root directory, or enter a sandbox, after they opened a store. One MODE a case. Needs root. */
#include "changed.h"

#include <linux/landlock.h>
#include <sys/syscall.h>

/* ---- another root directory ---- */

static void make_path(char *path)
{
    for (char *at = path + 1; (at = strchr(at, '/')); *at++ = '/') {
        *at = 0;
        if (mkdir(path, 0755) != 0 && errno != EEXIST)
            FAIL("mkdir %s: %s", path, strerror(errno));
    }
    SYS(mkdir(path, 0755));
}

static void moved_root(void *arg)
{
    int how = *(int *)arg;
    const char *jail = dir_of(say("jail%u", places));
    alarm(60);
    SYS(unshare(CLONE_NEWNS));
    hold();
    if (how == 1) { /* the same paths lead to other directories */
        make_path(say("%s%s", jail, scratch));
        SYS(mkdir(say("%s%s", jail, A), 0777));
        SYS(mkdir(say("%s%s", jail, B), 0777));
    }
    if (how == 2) {
        SYS(mount(jail, jail, NULL, MS_BIND, NULL));
        SYS(mkdir(say("%s/old", jail), 0700));
        SYS(chdir(jail));
        SYS(syscall(SYS_pivot_root, ".", "old"));
        SYS(umount2("/old", MNT_DETACH));
    } else {
        SYS(chroot(jail));
    }
    SYS(chdir("/"));
    if (how == 1) {
        for (int i = 0; i < 2; i++)
            all_work(); /* there */
        CHECK_ABSENT(s, "own");
        let_go(VFS_OK);
    } else {
        do_replace();
        CHECK_IS(answer, VFS_ERR_IO);
        CHECK_SAYS(A);
        CHECK_SAYS("ENOENT");
        CHECK_ABSENT(s, "own");
        do_remove();
        CHECK_IS(answer, VFS_ERR_NOT_FOUND);
        do_open();
        CHECK_IS(answer, VFS_ERR_IO);
        let_go(VFS_ERR_IO);
    }
    CHECK_OK(vfs_shutdown(s)); /* what it owned is removed where it was */
    QUIET(vfs_close(s));
}

static void root_directory(void)
{
    for (int how = 0; how < 3; how++) {
        use_tiers(BOTH);
        JOIN(start_child(moved_root, &how));
        s = open_on(tiers);
        CHECK_INT(listed_all(s), 1); /* the persistent one: nothing was left to reap */
        QUIET(vfs_close(s));
        reaped_by(0);
    }
}

/* Paths of tiers are absolute. */
static void elsewhere(void *arg)
{
    (void)arg;
    hold();
    const char *gone = dir_of("gone");
    SYS(chdir(gone));
    SYS(rmdir(gone));
    all_work();
    int root = open("/", O_PATH | O_CLOEXEC);
    SYS(root);
    SYS(fchdir(root));
    close(root);
    all_work();
    let_go(VFS_OK);
    QUIET(vfs_close(s));
}

/* Without /proc a directory whose mode the umask took is given it back all the same (Linux 6.6). */
static void masked(void *arg)
{
    (void)arg;
    SYS(chroot(scratch));
    SYS(chdir("/"));
    to_other();
    umask(0777);
    int made = mkdir("/open/probe", 0700), place = open("/open/probe", O_PATH | O_CLOEXEC);
    SYS(made);
    SYS(place);
    if (syscall(452 /* fchmodat2 */, place, "", 0700, AT_EMPTY_PATH) != 0) {
        skipped("no fchmodat2 here: %s", strerror(errno));
        return;
    }
    close(place);
    snprintf(tiers, sizeof tiers, "/open");
    s = open_on(tiers);
    all_work();
    CHECK_OK(vfs_shutdown(s));
    QUIET(vfs_close(s));
}

static void working_directory(void)
{
    use_tiers(BOTH);
    JOIN(start_child(elsewhere, NULL));
    reaped_by(0);
    A = dir_of("open");
    JOIN(start_child(masked, NULL));
    CHECK_NOTHING_LEFT(A);
}

/* ---- a sandbox ---- */

static const uint64_t every_right = (1ULL << 15) - 1, reading = LANDLOCK_ACCESS_FS_READ_FILE | LANDLOCK_ACCESS_FS_READ_DIR,
                      no_removal = ~(uint64_t)(LANDLOCK_ACCESS_FS_REMOVE_FILE | LANDLOCK_ACCESS_FS_REMOVE_DIR);

static int restricted(uint64_t rights)
{
    struct landlock_ruleset_attr rules = {.handled_access_fs = every_right};
    int set = (int)syscall(SYS_landlock_create_ruleset, &rules, sizeof rules, 0);
    if (set < 0)
        return 0;
    struct landlock_path_beneath_attr below = {.allowed_access = rights & every_right};
    below.parent_fd = open("/", O_PATH | O_CLOEXEC);
    SYS(below.parent_fd);
    if (rights)
        SYS(syscall(SYS_landlock_add_rule, set, LANDLOCK_RULE_PATH_BENEATH, &below, 0));
    close(below.parent_fd);
    SYS(prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0));
    SYS(syscall(SYS_landlock_restrict_self, set, 0));
    close(set);
    return 1;
}

static void in_sandbox(void *arg)
{
    uint64_t rights = *(const uint64_t *)arg;
    alarm(60);
    hold();
    if (!restricted(rights)) {
        skipped("no Landlock here: %s", strerror(errno));
        let_go(VFS_OK);
        QUIET(vfs_close(s));
        return;
    }
    for (int i = 0; i < 2; i++) {
        CHECK_IS(put(s, "k", SMALL, 2, VFS_REPLACE), VFS_ERR_PERMISSION);
        CHECK_SAYS("EACCES");
        CHECK_SAYS(A ? A : B);
        CHECK_IS(put(s, "k", SMALL, 2, 0), VFS_ERR_EXISTS);
        do_stream();
        CHECK_IS(answer, VFS_ERR_PERMISSION);
        do_remove();
        CHECK_IS(answer, VFS_ERR_PERMISSION);
        do_remove_owned();
        CHECK_IS(answer, VFS_ERR_PERMISSION);
        do_read();
        CHECK_IS(answer, rights ? VFS_OK : VFS_ERR_PERMISSION);
        do_map();
        CHECK_IS(answer, rights ? VFS_OK : VFS_ERR_PERMISSION);
        do_stat(); /* Landlock forbids no look */
        CHECK_IS(answer, VFS_OK);
        CHECK_IS(vfs_has(s, "absent"), 0);
        do_list();
        CHECK_IS(answer, rights ? VFS_ERR_NOT_FOUND : VFS_ERR_PERMISSION);
        do_tier_stat();
        CHECK_IS(answer, rights ? VFS_OK : VFS_ERR_PERMISSION);
        CHECK(STATUS(vfs_reap(s, NULL)) <= 0);
        if (rights != no_removal) {
            do_open();
            CHECK_IS(answer, VFS_ERR_PERMISSION);
        }
    }
    let_go(rights == no_removal ? VFS_OK : VFS_ERR_PERMISSION);
    CHECK_IS(vfs_shutdown(s), VFS_ERR_PERMISSION);
    QUIET(vfs_close(s));
}

static void sandbox(void)
{
    const uint64_t rights[] = {0, reading, no_removal};
    for (int kind = 0; kind < KINDS_OF_TIERS; kind++)
        for (unsigned i = 0; i < 3; i++) {
            uint64_t given = rights[i];
            use_tiers(kind);
            JOIN(start_child(in_sandbox, &given));
            reaped_by(0);
        }
}

int main(int argc, char **argv)
{
    static const struct {
        const char *name;
        void (*run)(void);
    } modes[] = {
        {"root-directory", root_directory}, {"working-directory", working_directory}, {"sandbox", sandbox},
    };
    start(argc, argv);
    make_values();
    if (can_be_several())
        RUN_MODE(modes);
    return 0;
}

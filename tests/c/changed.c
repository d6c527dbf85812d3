/* Processes that change after they opened a store: their user, their root directory, their sandbox. One MODE a case.
 * Needs root, to be several users. */
#include "harness.h"

#include "operations.h"

#include <grp.h>
#include <linux/capability.h>
#include <linux/landlock.h>
#include <sys/fsuid.h>
#include <sys/syscall.h>

enum { OTHER = 1000 };

static const char *A, *B;
static unsigned places;
static char disk[PATH_MAX]; /* the scratch directory that others cannot reach */

/* One tier of memory, one on the disk, or both. */
enum { MEMORY, DISK, BOTH, KINDS_OF_TIERS };

static void use_tiers(int kind)
{
    A = kind == DISK ? NULL : tmpfs_of(say("memory%u", places), "size=8m");
    B = kind == MEMORY ? NULL : dir_of(say("disk%u", places));
    if (B) {
        const char *source = say("%s/%u", disk, places);
        SYS(mkdir(source, 0777));
        SYS(mount(source, B, NULL, MS_BIND, NULL));
        SYS(chmod(B, 0777));
    }
    places++;
    snprintf(tiers, sizeof tiers, "%s%s%s", A ? A : "", A && B ? "," : "", B ? B : "");
}

/* What the one before the change left is an orphan now: the next open reaps it. Persistent blobs stay. */
static void reaped_by(uid_t user)
{
    pid_t pid = fork();
    SYS(pid);
    if (pid == 0) {
        if (user) {
            SYS(setresgid(user, user, user));
            SYS(setresuid(user, user, user));
        }
        s = open_on(tiers);
        CHECK_VALUE(s, "kept", SMALL, 1);
        CHECK_OK(vfs_remove(s, "kept"));
        CHECK_INT(listed_all(s), 0);
        QUIET(vfs_close(s));
        if (A)
            CHECK_NOTHING_LEFT(A);
        if (B)
            CHECK_NOTHING_LEFT(B);
        _exit(0);
    }
    JOIN(pid);
    if (A)
        SYS(umount2(A, MNT_DETACH));
    if (B)
        SYS(umount2(B, MNT_DETACH));
}

/* Every file below vfs1-N belongs to user N. */
static void check_owner(const char *path, const char *inside, const struct stat *st, void *arg)
{
    const char *ours = strstr(path, "/vfs1-");
    (void)inside;
    if (ours && (uid_t)strtoul(ours + 6, NULL, 10) != st->st_uid)
        FAIL("%s: %s is of user %u", (const char *)arg, path, (unsigned)st->st_uid);
}

static void check_owners(const char *when)
{
    walk(scratch, "", check_owner, (void *)(uintptr_t)when);
}

/* What was opened before a change. */
static struct held {
    vfs_writer_t *writer;
    vfs_list_t *list;
    vfs_view_t view;
} held;

static void hold(void)
{
    const char *key = NULL;
    vfs_stat_t stat = VFS_STAT_INIT;
    s = open_on(tiers);
    CHECK_OK(put(s, "k", SMALL, 1, 0));
    CHECK_OK(put(s, "own", SMALL, 1, 0));
    CHECK_OK(put(s, "kept", SMALL, 1, VFS_PERSIST));
    CHECK_OK(vfs_create(s, "written", 0, 0, &held.writer));
    CHECK_OK(vfs_write(held.writer, small_data, 50));
    CHECK_OK(vfs_map(s, "k", &held.view, NULL));
    CHECK_OK(vfs_list_open(s, &held.list));
    CHECK_OK(vfs_list_next(held.list, &key, &stat));
}

/* They end in any case; `sealed` says whether the writer can publish. */
static void let_go(int32_t sealed)
{
    const char *key = NULL;
    vfs_stat_t stat = VFS_STAT_INIT;
    int32_t status = STATUS(vfs_write(held.writer, small_data + 50, SMALL - 50));
    CHECK(status == VFS_OK || status == sealed);
    CHECK_IS(vfs_seal(held.writer), sealed);
    for (unsigned i = 0; (status = STATUS(vfs_list_next(held.list, &key, &stat))) == VFS_OK; i++)
        CHECK(i < 10);
    CHECK(is_value_at(held.view.data, held.view.len, 0, 1, SMALL));
    QUIET(vfs_unmap(&held.view));
    QUIET(vfs_list_close(held.list));
}

/* Each call answers this code and says these words; `vfs_open` and the calls that `but` names are left out. */
static void all_answer(int32_t code, const char *words, const char *but)
{
    for (unsigned i = 0; i < sizeof operations / sizeof operations[0]; i++) {
        if (operations[i].run == do_open || operations[i].run == do_shutdown || strstr(but, operations[i].name))
            continue;
        operations[i].run();
        if (answer != code || !strstr(vfs_last_error(), words))
            FAIL("%s: %s: %s", operations[i].name, status_name(answer), vfs_last_error());
    }
}

static void all_work(void)
{
    do_replace();
    CHECK_IS(answer, VFS_OK);
    do_read();
    CHECK_IS(answer, VFS_OK);
    do_map();
    CHECK_IS(answer, VFS_OK);
    do_stat();
    CHECK_IS(answer, VFS_OK);
    do_miss();
    CHECK_INT(answer, 0);
    do_stream();
    CHECK_IS(answer, VFS_OK);
    do_list();
    CHECK_IS(answer, VFS_ERR_NOT_FOUND);
    do_tier_stat();
    CHECK_IS(answer, VFS_OK);
    do_reap();
    CHECK_IS(answer, VFS_OK);
    do_remove_owned();
    CHECK_IS(answer, VFS_OK);
    do_persist();
    CHECK_IS(answer, VFS_OK);
    do_remove();
    CHECK_IS(answer, VFS_OK);
    do_store();
    CHECK_IS(answer, VFS_OK);
}

static void capabilities(int keep)
{
    struct __user_cap_header_struct head = {_LINUX_CAPABILITY_VERSION_3, 0};
    struct __user_cap_data_struct data[2] = {{0, 0, 0}, {0, 0, 0}};
    SYS(syscall(SYS_capget, &head, data));
    for (int i = 0; i < 2; i++) {
        data[i].effective = keep ? data[i].permitted : 0;
        data[i].permitted = data[i].effective;
    }
    SYS(syscall(SYS_capset, &head, data));
}

/* ---- another user ---- */

static void to_other(void)
{
    SYS(setgroups(0, NULL));
    SYS(setresgid(OTHER, OTHER, OTHER));
    SYS(setresuid(OTHER, OTHER, OTHER));
}

static void effective_other(void) { SYS(seteuid(OTHER)); }
static void effective_root(void) { SYS(seteuid(0)); }
static void saved_root(void) { SYS(setresuid(OTHER, OTHER, 0)); }
static void all_root(void) { SYS(setresuid(0, 0, 0)); }
static void files_other(void) { setfsuid(OTHER); }
static void files_root(void) { setfsuid(0); }

static const struct turn {
    void (*there)(void), (*back)(void);
} turns[] = {
    {effective_other, effective_root}, {saved_root, all_root}, {files_other, files_root}, {to_other, NULL},
};

static int closed_tiers; /* nobody else can enter the tiers' own directories */

static void turned(void *arg)
{
    const struct turn *turn = arg;
    const char *words = "user 0 opened the store, and this thread acts as user 1000 now";
    alarm(60);
    hold();
    turn->there();
    all_answer(VFS_ERR_PERMISSION, words, "");
    if (turn->there != files_other && !closed_tiers) {
        do_open(); /* a store of its own */
        CHECK_IS(answer, VFS_OK);
    }
    let_go(VFS_ERR_PERMISSION);
    if (turn->back) {
        turn->back();
        CHECK_VALUE(s, "own", SMALL, 1);
        all_work();
        turn->there();
    }
    CHECK_IS(vfs_shutdown(s), VFS_ERR_PERMISSION);
    CHECK_SAYS(words);
    QUIET(vfs_close(s));
    if (turn->back)
        turn->back();
}

static void user(void)
{
    for (int kind = 0; kind < 2 * KINDS_OF_TIERS; kind++)
        for (unsigned i = 0; i < sizeof turns / sizeof turns[0]; i++) {
            use_tiers(kind % KINDS_OF_TIERS);
            closed_tiers = kind >= KINDS_OF_TIERS;
            if (A)
                SYS(chmod(A, closed_tiers ? 0700 : 0777));
            if (B)
                SYS(chmod(B, closed_tiers ? 0700 : 0777));
            JOIN(start_child(turned, (void *)(uintptr_t)&turns[i]));
            check_owners("a user who was given up");
            reaped_by(0);
        }
}

/* A process that may do everything makes files as another user than the one who opened the store: seen to leave
 * directories of root in a user's room, which nobody could reap. Nothing becomes a blob, nothing stays. */
static void to_root(void *arg)
{
    (void)arg;
    SYS(seteuid(OTHER));
    hold();
    SYS(seteuid(0));
    for (int i = 0; i < 3; i++) {
        CHECK_IS(put(s, "new", SMALL, 2, 0), VFS_ERR_PERMISSION);
        CHECK_SAYS("user 1000 opened the store, and this thread acts as user 0 now");
        CHECK_IS(put(s, "k", SMALL, 2, VFS_REPLACE), VFS_ERR_PERMISSION);
        CHECK_IS(put(s, "new", 5 << 20, 2, VFS_PERSIST), VFS_ERR_PERMISSION);
        do_stream();
        CHECK_IS(answer, VFS_ERR_PERMISSION);
        check_owners("root");
    }
    CHECK_VALUE(s, "k", SMALL, 1); /* the kernel lets root read */
    CHECK_ABSENT(s, "new");
    SYS(seteuid(OTHER));
    all_work();
    let_go(VFS_OK);
    SYS(seteuid(0));
    CHECK_OK(vfs_shutdown(s)); /* and remove */
    QUIET(vfs_close(s));
}

/* Gave its user up, but kept the right to go anywhere. */
static void with_rights(void *arg)
{
    (void)arg;
    hold();
    nap(1100); /* found out once a second where there was no second user at the start */
    SYS(seteuid(OTHER));
    capabilities(1);
    for (int i = 0; i < 3; i++) {
        CHECK_IS(put(s, "new", SMALL, 2, 0), VFS_ERR_PERMISSION);
        do_stream();
        CHECK_IS(answer, VFS_ERR_PERMISSION);
    }
    let_go(VFS_OK); /* its file was made before */
    check_owners("rights that were kept");
    SYS(seteuid(0));
    all_work();
    QUIET(vfs_close(s));
}

/* A store opened by one who makes files as another: its directories would be in root's way for ever. */
static void made_as_other(void *arg)
{
    vfs_options_t options = VFS_OPTIONS_INIT;
    (void)arg;
    options.tiers = tiers;
    setfsuid(OTHER);
    CHECK_IS(vfs_open(&options, &s), VFS_ERR_PERMISSION);
    CHECK_SAYS("acts as user 1000 now");
    check_owners("setfsuid before vfs_open");
    setfsuid(0);
    s = open_on(tiers);
    all_work();
    CHECK_OK(put(s, "kept", SMALL, 1, VFS_PERSIST));
    QUIET(vfs_close(s));
}

static void foreign(void)
{
    void (*const ways[])(void *) = {to_root, with_rights, made_as_other};
    for (int kind = 0; kind < KINDS_OF_TIERS; kind++)
        for (unsigned i = 0; i < 3; i++) {
            use_tiers(kind);
            JOIN(start_child(ways[i], NULL));
            check_owners("the end");
            reaped_by(i == 0 ? OTHER : 0);
        }
}

/* A system call of one thread changes that thread alone; glibc's functions change all of them. */
static _Atomic int stage;

static void *one_thread(void *arg)
{
    int raw = arg != NULL;
    if (raw)
        SYS(syscall(SYS_setresuid, -1, OTHER, -1));
    else
        SYS(seteuid(OTHER));
    CHECK_IS(put(s, "mine", SMALL, 1, 0), VFS_ERR_PERMISSION);
    CHECK_IS(vfs_has(s, "absent"), VFS_ERR_PERMISSION);
    CHECK_SAYS("this thread acts as user 1000 now");
    stage = 1;
    AWAIT(&stage, 2);
    if (raw)
        SYS(syscall(SYS_setresuid, -1, 0, -1));
    else
        SYS(seteuid(0));
    CHECK_OK(put(s, "mine", SMALL, 1, 0));
    return NULL;
}

static void with_thread(void *arg)
{
    pthread_t thread;
    int raw = *(int *)arg;
    hold();
    CHECK_INT(pthread_create(&thread, NULL, one_thread, raw ? s : NULL), 0);
    AWAIT(&stage, 1);
    if (raw)
        for (int i = 0; i < 50; i++)
            all_work();
    else
        all_answer(VFS_ERR_PERMISSION, "this thread acts as user 1000 now", "");
    stage = 2;
    CHECK_INT(pthread_join(thread, NULL), 0);
    let_go(VFS_OK);
    all_work();
    CHECK_OK(vfs_shutdown(s));
    QUIET(vfs_close(s));
}

static void thread_of_user(void)
{
    for (int raw = 0; raw < 2; raw++) {
        use_tiers(BOTH);
        JOIN(start_child(with_thread, &raw));
        reaped_by(0);
    }
}

static void without_rights(void *arg)
{
    (void)arg;
    hold();
    capabilities(0);
    SYS(prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0));
    all_work();
    do_open();
    CHECK_IS(answer, VFS_OK);
    let_go(VFS_OK);
    CHECK_OK(vfs_shutdown(s));
    QUIET(vfs_close(s));
}

static void rights(void)
{
    use_tiers(BOTH);
    JOIN(start_child(without_rights, NULL));
    reaped_by(0);
}

/* In a user namespace the same user has another number, or, until it is mapped, that of all strangers. */
static void in_namespace(void *arg)
{
    int mapped = *(int *)arg;
    to_other();
    SYS(prctl(PR_SET_DUMPABLE, 1, 0, 0, 0));
    hold();
    if (unshare(CLONE_NEWUSER) != 0) {
        skipped("no user namespace here: %s", strerror(errno));
        let_go(VFS_OK);
        QUIET(vfs_close(s));
        return;
    }
    if (mapped) {
        SYS(put_text("/proc/self/setgroups", "deny"));
        SYS(put_text("/proc/self/uid_map", say("0 %u 1", OTHER)));
    } else {
        do_open(); /* seen to make a directory under the name of user 65534 */
        CHECK_IS(answer, VFS_ERR_PERMISSION);
        CHECK_SAYS("user namespace does not map");
    }
    for (int i = 0; i < 12; i++) { /* (more than there are sub-rooms) */
        all_work();
        CHECK_OK(put(s, say("more %d", i), SMALL, 1, 0));
    }
    let_go(VFS_OK);
    CHECK_OK(vfs_shutdown(s));
    QUIET(vfs_close(s));
}

static void user_namespace(void)
{
    for (int mapped = 0; mapped < 2; mapped++) {
        use_tiers(BOTH);
        JOIN(start_child(in_namespace, &mapped));
        check_owners("a user namespace");
        reaped_by(OTHER);
    }
}

/* A server's worker gives its user up after fork, and has a store of its own. */
static void worker(void *arg)
{
    vfs_t *inherited = s;
    to_other();
    CHECK_IS(vfs_has(inherited, "k"), VFS_ERR_PERMISSION);
    CHECK_IS(put(inherited, "k", SMALL, 2, VFS_REPLACE), VFS_ERR_FORKED);
    if (arg) {
        execl("/proc/self/exe", "changed", scratch, "own-store", tiers, (char *)NULL);
        FAIL("exec: %s", strerror(errno));
    }
    s = open_on(tiers);
    all_work();
    CHECK_ABSENT(s, "own"); /* which is another user's */
    QUIET(vfs_close(s));
    QUIET(vfs_close(inherited));
}

static void own_store(const char *list)
{
    snprintf(tiers, sizeof tiers, "%s", list);
    s = open_on(tiers);
    all_work();
    QUIET(vfs_close(s));
}

static void workers(void)
{
    use_tiers(BOTH);
    hold();
    JOIN(start_child(worker, NULL));
    JOIN(start_child(worker, s)); /* through exec */
    let_go(VFS_OK);
    all_work();
    CHECK_OK(vfs_shutdown(s));
    QUIET(vfs_close(s));
    check_owners("workers");
    reaped_by(0);
}

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
        {"user", user}, {"foreign", foreign}, {"thread", thread_of_user}, {"rights", rights},
        {"user-namespace", user_namespace}, {"workers", workers}, {"root-directory", root_directory},
        {"working-directory", working_directory}, {"sandbox", sandbox},
    };
    start(argc, argv);
    make_values();
    if (strcmp(mode, "own-store") == 0) {
        leave_at_end();
        own_store(argv[3]);
        return 0;
    }
    if (geteuid() != 0 || !several_users()) {
        skipped("only root can be several users");
        return 0;
    }
    snprintf(disk, sizeof disk, "%s", scratch);
    public_scratch();
    SYS(chmod(scratch, 0755));
    for (unsigned i = 0; i < sizeof modes / sizeof modes[0]; i++)
        if (strcmp(mode, modes[i].name) == 0) {
            modes[i].run();
            return 0;
        }
    FAIL("no such mode");
}

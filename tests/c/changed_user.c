/* Processes that become another user after they opened a store. One MODE a case. Needs root, to be several users. */
#include "changed.h"

#include <linux/capability.h>
#include <sys/fsuid.h>
#include <sys/syscall.h>

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

static char heard[512];

static void hear(void *user, int32_t level, const char *message)
{
    (void)user;
    (void)level;
    snprintf(heard, sizeof heard, "%s", message);
}

/* A list with a memory tier: what the directories refuse goes there, and the log says why. */
static void with_memory_tier(void *arg)
{
    vfs_options_t options = VFS_OPTIONS_INIT;
    vfs_t *reader = open_as(tiers, "harness", VFS_READ_ONLY);
    const char *list = say("%s,memory", tiers);
    hold();
    options.tiers = list;
    options.name = "other";
    options.log = hear;
    vfs_t *other = NULL;
    CHECK_OK(vfs_open(&options, &other));
    CHECK_VALUE(reader, "own", SMALL, 1);
    to_other();
    CHECK_OK(put(other, "k", SMALL, 2, 0));
    CHECK(strstr(heard, "refuses blobs") && strstr(heard, "this thread acts as user 1000 now"));
    CHECK_VALUE(other, "k", SMALL, 2);
    CHECK_IS(vfs_has(reader, "own"), VFS_ERR_PERMISSION);
    CHECK_SAYS("user 0 opened the store");
    CHECK_OK(vfs_shutdown(reader));
    QUIET(vfs_close(reader));
    QUIET(vfs_close(other));
    let_go(VFS_ERR_PERMISSION);
    QUIET(vfs_close(s));
    (void)arg;
}

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
    use_tiers(BOTH);
    JOIN(start_child(with_memory_tier, NULL));
    reaped_by(0);
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
        execl("/proc/self/exe", "changed_user", scratch, "own-store", tiers, (char *)NULL);
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

int main(int argc, char **argv)
{
    static const struct {
        const char *name;
        void (*run)(void);
    } modes[] = {
        {"user", user}, {"foreign", foreign}, {"thread", thread_of_user}, {"rights", rights},
        {"user-namespace", user_namespace}, {"workers", workers},
    };
    start(argc, argv);
    make_values();
    if (strcmp(mode, "own-store") == 0) {
        leave_at_end();
        own_store(argv[3]);
        return 0;
    }
    if (can_be_several())
        RUN_MODE(modes);
    return 0;
}

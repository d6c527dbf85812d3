/* Other users: they can neither plant, redirect, spoof nor read. Needs root, to be several users. One MODE a case. */
#include "harness.h"

#include <dlfcn.h>

enum { VICTIM = 12345, ATTACKER = 23456 };

static const char *A, *B;
static int alone; /* there are no other users */
static char tiers[2 * PATH_MAX + 16];

static void become(uid_t uid)
{
    if (uid == 0)
        return;
    SYS(setresgid(uid, uid, uid));
    SYS(setresuid(uid, uid, uid));
    SYS(prctl(PR_SET_DUMPABLE, 1)); /* so that /proc/self is ours again */
}

/* A tier as /tmp is: anybody may make names there, only the owner may remove them. */
static const char *sticky(const char *name)
{
    const char *dir = dir_of(name);
    SYS(chmod(dir, 01777));
    return dir;
}

static void two_tiers(void)
{
    A = sticky("a");
    B = sticky("b");
    snprintf(tiers, sizeof tiers, "%s,%s", A, B);
}

/* ---- a name that another user has taken ---- */

enum plant { OPEN_DIR, CLOSED_DIR, SPOOFED_STORE, LINK_TO_THEIRS, LINK_TO_OURS, DANGLING, FILE_PLANT, FIFO, OUR_LOOSE_DIR, PLANTS };
static const char *const plant_names[] = {"a directory of theirs, open", "a directory of theirs", "a store of theirs",
                                          "a link to a directory of theirs", "a link to a directory of ours",
                                          "a dangling link", "a file", "a fifo", "our own directory, open to all"};

static void make_file(const char *path, const char *text)
{
    int fd = open(path, O_CREAT | O_WRONLY | O_CLOEXEC | O_EXCL, 0666);
    SYS(fd);
    CHECK(write(fd, text, strlen(text)) == (ssize_t)strlen(text));
    close(fd);
}

struct case_of {
    enum plant plant;
    uid_t victim;
};

static void plant(void *arg)
{
    struct case_of *c = arg;
    char at[PATH_MAX];
    snprintf(at, sizeof at, "%s", own_tier_dir(A, c->victim));
    umask(0);
    become(c->plant == OUR_LOOSE_DIR ? c->victim : (uid_t)ATTACKER);
    switch (c->plant) {
    case OPEN_DIR: SYS(mkdir(at, 0777)); break;
    case CLOSED_DIR: SYS(mkdir(at, 0700)); break;
    case SPOOFED_STORE:
        SYS(mkdir(at, 0777));
        SYS(mkdir(say("%s/harness", at), 0777));
        SYS(mkdir(say("%s/harness/objects", at), 0777));
        SYS(mkdir(say("%s/harness/owners", at), 0777));
        make_file(say("%s/harness/objects/k", at), "spoofed");
        make_file(say("%s/\\lock", at), "");
        SYS(chmod(say("%s/harness/objects/k", at), 0666));
        break;
    case LINK_TO_THEIRS: SYS(symlink(scratch, at)); break;
    case LINK_TO_OURS: SYS(symlink(say("%s/ours-%u", scratch, (unsigned)c->victim), at)); break;
    case DANGLING: SYS(symlink(say("%s/b/planted", scratch), at)); break;
    case FILE_PLANT: make_file(at, "not a directory"); break;
    case FIFO: SYS(mkfifo(at, 0666)); break;
    case OUR_LOOSE_DIR: SYS(mkdir(at, 0777)); break;
    case PLANTS: break;
    }
}

/* A listing of what can be looked into; it may say that a tier cannot, and goes on. */
static unsigned listed_here(vfs_t *s)
{
    vfs_list_t *list = NULL;
    unsigned count = 0;
    int32_t status;
    CHECK_OK(vfs_list_open(s, &list));
    do {
        const char *key = NULL;
        vfs_stat_t stat = VFS_STAT_INIT;
        status = STATUS(vfs_list_next(list, &key, &stat));
        count += status == VFS_OK;
        CHECK(count < 10);
    } while (status != VFS_ERR_NOT_FOUND);
    QUIET(vfs_list_close(list));
    return count;
}

/* Our own directory, which others can reach: it may have each key, and nothing is stored elsewhere meanwhile. */
static void victim_exposed(void)
{
    vfs_t *s = open_on(tiers);
    CHECK_IS(vfs_has(s, "k"), VFS_ERR_PERMISSION);
    CHECK_IS(put(s, "k", 5000, 1, 0), VFS_ERR_PERMISSION);
    CHECK_SAYS("mode 0777, expected 0700");
    CHECK_SAYS(A);
    CHECK_INT(listed_here(s), 0);
    CHECK(!(tier_stat(s, 0).flags & VFS_TIER_USABLE));
    CHECK_INT(tier_stat(s, 0).last_errno, EPERM);
    QUIET(vfs_close(s));
    CHECK_NOTHING_LEFT(B);
}

/* Alone, a tier that is not ours is an error, in words; a reader is answered `miss`. */
static void victim_alone(int32_t miss)
{
    vfs_options_t options = VFS_OPTIONS_INIT;
    vfs_t *s = NULL;
    options.tiers = A;
    options.name = "harness";
    CHECK_FAILS(vfs_open(&options, &s));
    CHECK(s == NULL);
    CHECK_SAYS(A);
    s = open_as(A, "harness", VFS_READ_ONLY);
    char byte;
    size_t len;
    CHECK_IS(vfs_has(s, "k"), miss == VFS_ERR_NOT_FOUND ? 0 : miss);
    CHECK_IS(vfs_read(s, "k", 0, &byte, 1, &len, NULL), miss);
    QUIET(vfs_close(s));
}

static void victim_with_plant(void *arg)
{
    struct case_of *c = arg;
    become(c->victim);
    if (c->plant == OUR_LOOSE_DIR) {
        victim_exposed();
        victim_alone(VFS_ERR_PERMISSION);
        return;
    }
    /* the second tier serves, and nothing is said of the first where that is not needed */
    vfs_t *s = open_on(tiers);
    CHECK_IS(vfs_has(s, "k"), 0);
    CHECK_IS(vfs_remove(s, "k"), VFS_ERR_NOT_FOUND);
    CHECK_OK(vfs_reap(s, NULL));
    CHECK_INT(listed_all(s), 0);
    CHECK_OK(put(s, "k", 5000, 1, 0));
    CHECK_VALUE(s, "k", 5000, 1);
    CHECK_INT(tier_of(s, "k"), 1);
    CHECK_INT(listed_here(s), 1);
    vfs_tier_stat_t stat = tier_stat(s, 0);
    CHECK(!(stat.flags & VFS_TIER_USABLE));
    CHECK(stat.last_errno != 0);
    CHECK_OK(put(s, "k", 6000, 2, VFS_REPLACE));
    CHECK_VALUE(s, "k", 6000, 2);
    CHECK_OK(vfs_remove(s, "k"));
    CHECK_OK(put(s, "k", 6000, 3, VFS_PERSIST));
    CHECK_OK(vfs_remove(s, "k"));
    CHECK_OK(put(s, "owned", 6000, 3, 0));
    QUIET(vfs_close(s));
    victim_alone(VFS_ERR_NOT_FOUND);
    CHECK_NOTHING_LEFT(B);
}

static void victim_unplanted(void *arg)
{
    struct case_of *c = arg;
    become(c->victim);
    vfs_t *s = open_on(tiers);
    CHECK_OK(put(s, "k", 5000, 1, 0));
    CHECK_INT(tier_of(s, "k"), 0);
    QUIET(vfs_close(s));
    CHECK_NOTHING_LEFT(A);
    CHECK_NOTHING_LEFT(B);
}

static void planted(void)
{
    static const uid_t victims[] = {VICTIM, 0};
    two_tiers();
    for (unsigned v = 0; v < 2; v++) {
        const char *ours = dir_of(say("ours-%u", (unsigned)victims[v]));
        SYS(chmod(ours, 0700));
        SYS(chown(ours, victims[v], victims[v]));
        for (int p = 0; p < PLANTS; p++) {
            struct case_of c = {(enum plant)p, victims[v]};
            char name[200];
            snprintf(name, sizeof name, "planted: %s, for uid %u", plant_names[p], (unsigned)victims[v]);
            mode = name;
            JOIN(start_child(plant, &c));
            uint64_t before = print_of(A) + print_of(ours);
            unsigned count = entries_in(A) + entries_in(ours);
            JOIN(start_child(victim_with_plant, &c));
            CHECK_INT(print_of(A) + print_of(ours), before);
            CHECK_INT(entries_in(A) + entries_in(ours), count);
            CHECK(access(say("%s/planted", B), F_OK) != 0);
            const char *at = own_tier_dir(A, victims[v]);
            if (unlink(at) != 0)
                remove_tree(at);
            JOIN(start_child(victim_unplanted, &c));
            remove_tree(own_tier_dir(A, victims[v]));
        }
    }
}

/* ---- root of a user namespace shares a tier with root of the machine ---- */

static void as_namespace_root(void *arg)
{
    (void)arg;
    become(VICTIM);
    if (unshare(CLONE_NEWUSER) != 0 || put_text("/proc/self/setgroups", "deny") != 0 ||
        put_text("/proc/self/uid_map", say("0 %d 1", VICTIM)) != 0 || put_text("/proc/self/gid_map", say("0 %d 1", VICTIM)) != 0) {
        skipped("no user namespace here: %s", strerror(errno));
        return;
    }
    CHECK_INT(geteuid(), 0);
    vfs_t *s = open_on(tiers);
    CHECK_ABSENT(s, "k");
    CHECK_IS(vfs_remove(s, "k"), VFS_ERR_NOT_FOUND);
    CHECK_OK(vfs_reap(s, NULL));
    CHECK_INT(listed_all(s), 0);
    CHECK_OK(put(s, "k", 300, 2, 0));
    CHECK_INT(tier_of(s, "k"), 1);
    CHECK_VALUE(s, "k", 300, 2);
    CHECK(!(tier_stat(s, 0).flags & VFS_TIER_USABLE));
    QUIET(vfs_close(s));
}

static void namespace_root(void)
{
    two_tiers();
    static const mode_t modes[] = {0700, 0755, 0777};
    for (unsigned i = 0; i < 3; i++) {
        vfs_t *s = open_on(A);
        CHECK_OK(put(s, "k", 300, 1, VFS_PERSIST));
        SYS(chmod(own_tier_dir(A, 0), modes[i]));
        JOIN(start_child(as_namespace_root, NULL));
        SYS(chmod(own_tier_dir(A, 0), 0700));
        CHECK_VALUE(s, "k", 300, 1);
        CHECK_OK(vfs_remove(s, "k"));
        QUIET(vfs_close(s));
        remove_tree(own_tier_dir(B, 0));
    }
}

/* ---- modes ---- */

static void check_mode(const char *path, const char *inside, const struct stat *st, void *arg)
{
    (void)inside;
    unsigned want = S_ISDIR(st->st_mode) ? 0700 : 0600;
    if ((st->st_mode & 07777) != want || st->st_uid != *(uid_t *)arg)
        FAIL("%s has mode %o and owner %u", path, (unsigned)st->st_mode & 07777, (unsigned)st->st_uid);
}

struct mask_of {
    mode_t mask;
    uid_t uid;
};

static void check_modes(uid_t uid)
{
    walk(A, "", check_mode, &uid);
    walk(B, "", check_mode, &uid);
}

static void with_umask(void *arg)
{
    struct mask_of *m = arg;
    become(m->uid);
    umask(m->mask);
    char list[2 * PATH_MAX + 16];
    snprintf(list, sizeof list, "%s?max=20K,%s", A, B);
    vfs_t *s = open_on(list);
    vfs_writer_t *w = NULL;
    void *room = NULL;
    unsigned char *data = new_value(30000, 1);
    check_modes(m->uid);
    CHECK_OK(put(s, "small", 5000, 1, 0));
    CHECK_OK(put(s, "large", 50000, 2, 0));
    CHECK_OK(put(s, "kept", 500, 3, VFS_PERSIST));
    CHECK_OK(put(s, "small", 5001, 4, VFS_REPLACE));
    CHECK_OK(put(s, "small", 5002, 4, VFS_REPLACE | VFS_PERSIST));
    CHECK_OK(vfs_create(s, "stream", 0, 0, &w));
    CHECK_OK(vfs_write(w, data, 10000));
    CHECK_OK(vfs_reserve(w, 10000, &room));
    memset(room, 1, 10000);
    check_modes(m->uid);
    CHECK_OK(vfs_write(w, data, 30000));
    check_modes(m->uid);
    CHECK_OK(vfs_seal(w));
    CHECK_OK(vfs_create(s, "small", 0, VFS_REPLACE, &w));
    CHECK_OK(vfs_write(w, data, 100));
    check_modes(m->uid);
    CHECK_OK(vfs_seal(w));
    free(data);
    check_modes(m->uid);
    CHECK_INT(umask(0), m->mask);
    CHECK_OK(vfs_remove(s, "kept"));
    QUIET(vfs_close(s));
    CHECK_NOTHING_LEFT(A);
    CHECK_NOTHING_LEFT(B);
}

static void modes_of_files(void)
{
    static const mode_t masks[] = {0, 022, 077, 0277, 0777};
    static const uid_t users[] = {0, VICTIM};
    int root = geteuid() == 0;
    two_tiers();
    for (unsigned u = 0; u < 2; u++) {
        for (unsigned i = 0; i < sizeof masks / sizeof masks[0]; i++) {
            struct mask_of m = {masks[i], root && !alone ? users[u] : geteuid()};
            JOIN(start_child(with_umask, &m));
            remove_tree(own_tier_dir(A, m.uid));
            remove_tree(own_tier_dir(B, m.uid));
        }
    }
}

/* ---- two users of the same names on the same tiers ---- */

static struct steps {
    _Atomic int stored, looked;
} *steps;

static void first_user(void *arg)
{
    (void)arg;
    become(VICTIM);
    vfs_t *s = open_on(tiers);
    CHECK_OK(put(s, "k", 5000, 1, 0));
    CHECK_OK(put(s, "secret", 5000, 2, VFS_PERSIST));
    atomic_store(&steps->stored, 1);
    AWAIT(&steps->looked, 1);
    CHECK_VALUE(s, "k", 5000, 1);
    CHECK_VALUE(s, "secret", 5000, 2);
    CHECK_INT(listed_all(s), 2);
    CHECK_OK(vfs_remove(s, "secret"));
    QUIET(vfs_close(s));
    CHECK_NOTHING_LEFT(A);
}

static void second_user(void *arg)
{
    (void)arg;
    become(ATTACKER);
    AWAIT(&steps->stored, 1);
    const char *theirs = own_tier_dir(A, VICTIM);
    CHECK(open(theirs, O_RDONLY) < 0 && errno == EACCES);
    CHECK(open(say("%s/harness/objects/k", theirs), O_RDONLY) < 0 && errno == EACCES);
    CHECK(open(say("%s/harness/objects/planted", theirs), O_CREAT | O_WRONLY, 0600) < 0 && errno == EACCES);
    CHECK(rename(theirs, say("%s/moved", A)) != 0);
    vfs_t *s = open_on(tiers);
    CHECK_ABSENT(s, "k");
    CHECK_ABSENT(s, "secret");
    CHECK_OK(put(s, "k", 700, 9, 0));
    CHECK_VALUE(s, "k", 700, 9);
    CHECK_OK(vfs_reap(s, NULL));
    CHECK_INT(listed_all(s), 1);
    CHECK_OK(vfs_remove(s, "k"));
    CHECK_IS(vfs_remove(s, "secret"), VFS_ERR_NOT_FOUND);
    QUIET(vfs_close(s));
    CHECK_NOTHING_LEFT(A);
    atomic_store(&steps->looked, 1);
}

static void two_users(void)
{
    two_tiers();
    steps = shared_memory(sizeof *steps);
    pid_t pids[2] = {start_child(first_user, NULL), start_child(second_user, NULL)};
    JOIN_ALL(pids, 2);
    CHECK_NOTHING_LEFT(B);
}

/* ---- a set-uid program does not follow the environment of who calls it ---- */

static void in_set_uid(void)
{
    vfs_t *s = NULL;
    if (geteuid() == getuid()) {
        skipped("set-uid programs do not work here");
        return;
    }
    CHECK(getenv("VFS_TIERS") != NULL);
    CHECK_OK(vfs_open(NULL, &s));
    CHECK_STR(tier_stat(s, 0).dir, "/dev/shm");
    QUIET(vfs_close(s));
}

static void caller_of_set_uid(void *arg)
{
    (void)arg;
    const char *program = path_of("program");
    become(ATTACKER);
    SYS(setenv("VFS_TIERS", A, 1));
    execl(program, "privacy", scratch, "in-set-uid", (char *)NULL);
    FAIL("exec: %s", strerror(errno));
}

static void set_uid(void)
{
    char block[65536], lib[PATH_MAX];
    Dl_info info;
    CHECK(dladdr((void *)(uintptr_t)vfs_open, &info) != 0);
    snprintf(lib, sizeof lib, "%.4000s", info.dli_fname);
    CHECK(strrchr(lib, '/') != NULL);
    *strrchr(lib, '/') = 0;
    int libs = open(lib, O_PATH | O_DIRECTORY | O_CLOEXEC);
    SYS(libs);
    two_tiers();
    const char *copy = path_of("program");
    int from = open("/proc/self/exe", O_RDONLY | O_CLOEXEC), to = open(copy, O_CREAT | O_WRONLY | O_CLOEXEC, 0755);
    CHECK(from >= 0 && to >= 0);
    ssize_t n;
    while ((n = read(from, block, sizeof block)) > 0)
        CHECK(write(to, block, (size_t)n) == n);
    close(from);
    close(to);
    SYS(chmod(copy, 04755));
    mount_tmpfs("/dev/shm", "size=1m");
    mount_tmpfs("/var/tmp", "size=1m");
    mount_tmpfs("/tmp", "size=1m");
    if (access(lib, F_OK) != 0) { /* covered: the library is needed where it was */
        for (char *slash = strchr(lib + 1, '/'); slash; slash = strchr(slash + 1, '/')) {
            *slash = 0;
            if (mkdir(lib, 0755) != 0)
                CHECK_INT(errno, EEXIST);
            *slash = '/';
        }
        SYS(mkdir(lib, 0755));
        SYS(mount(say("/proc/self/fd/%d", libs), lib, "none", MS_BIND, NULL));
    }
    close(libs);
    JOIN(start_child(caller_of_set_uid, NULL));
    CHECK_INT(entries_in(A), 0);
}

int main(int argc, char **argv)
{
    static const struct {
        const char *name;
        void (*run)(void);
        int root;
    } modes[] = {
        {"planted", planted, 1}, {"modes", modes_of_files, 0}, {"two-users", two_users, 1},
        {"set-uid", set_uid, 1}, {"in-set-uid", in_set_uid, 0}, {"namespace-root", namespace_root, 1},
    };
    start(argc, argv);
    for (unsigned i = 0; i < sizeof modes / sizeof modes[0]; i++) {
        if (strcmp(mode, modes[i].name) != 0)
            continue;
        if (geteuid() != 0 && modes[i].root) {
            skipped("only root can be several users");
            return 0;
        }
        if (geteuid() == 0 && strcmp(mode, "in-set-uid") != 0) {
            public_scratch();
            alone = !several_users();
            if (alone && modes[i].root) {
                skipped("root is the only user here");
                return 0;
            }
        }
        modes[i].run();
        return 0;
    }
    FAIL("no such mode");
}

/* A call that has nothing to change says so, whatever a tier says that it did not need. One MODE a case. */
#include "harness.h"
#include "between.h"

#include <grp.h>

enum { USER = 12345, OTHER_USER = 23456, TIERS = 3 };

static char dirs[TIERS][PATH_MAX];
static char tiers[TIERS * PATH_MAX];

/* ---- what keeps a tier from being changed ---- */

enum flaw { READ_ONLY, NO_INODES, NOT_WRITABLE, READ_ONLY_DIR, NO_ENTRY, CLOSED_PARENT, MISSING, A_FILE, FOREIGN_OPEN,
            FOREIGN_CLOSED, FOREIGN_FILE, FOREIGN_LINK, FLAWS };
static const char *const flaw_names[] = {"a read-only filesystem", "no inodes", "0755 of root", "0555 of root", "1770 of root",
                                         "a parent that cannot be searched", "no directory", "a file",
                                         "another user's directory, open", "another user's directory, closed",
                                         "another user's file", "another user's link"};

static int needs_users(enum flaw flaw)
{
    return flaw != READ_ONLY && flaw != NO_INODES && flaw != MISSING && flaw != A_FILE;
}

static void make_tiers(void)
{
    int len = 0;
    for (int i = 0; i < TIERS; i++) {
        snprintf(dirs[i], sizeof dirs[i], "%.4000s/parent-%d", scratch, i);
        SYS(mkdir(dirs[i], 0755));
        SYS(chmod(dirs[i], 0755));
        snprintf(dirs[i], sizeof dirs[i], "%.4000s/parent-%d/tier", scratch, i);
        SYS(mkdir(dirs[i], 01777));
        SYS(chmod(dirs[i], 01777));
        len += snprintf(tiers + len, sizeof tiers - (size_t)len, "%s%s", i ? "," : "", dirs[i]);
    }
}

static void spoil(int tier, enum flaw flaw)
{
    const char *dir = dirs[tier], *own = say("%s/vfs1-%d", dir, USER);
    int fd;
    switch (flaw) {
    case READ_ONLY: SYS(mount("tmpfs", dir, "tmpfs", MS_RDONLY, "size=1m")); break;
    case NO_INODES: SYS(mount("tmpfs", dir, "tmpfs", 0, "size=1m,nr_inodes=1,mode=1777")); break;
    case NOT_WRITABLE: SYS(chmod(dir, 0755)); break;
    case READ_ONLY_DIR: SYS(chmod(dir, 0555)); break;
    case NO_ENTRY: SYS(chmod(dir, 01770)); break;
    case CLOSED_PARENT: SYS(chmod(say("%s/..", dir), 0700)); break;
    case MISSING: SYS(rmdir(dir)); break;
    case A_FILE:
        SYS(rmdir(dir));
        SYS(fd = open(dir, O_CREAT | O_WRONLY | O_CLOEXEC, 0644));
        close(fd);
        break;
    case FOREIGN_OPEN:
    case FOREIGN_CLOSED:
        SYS(mkdir(own, 0700));
        SYS(chown(own, OTHER_USER, OTHER_USER));
        SYS(chmod(own, flaw == FOREIGN_OPEN ? 0755 : 0700));
        break;
    case FOREIGN_FILE:
        SYS(fd = open(own, O_CREAT | O_WRONLY | O_CLOEXEC, 0600));
        SYS(fchown(fd, OTHER_USER, OTHER_USER));
        close(fd);
        break;
    case FOREIGN_LINK:
        SYS(symlink("/", own));
        SYS(lchown(own, OTHER_USER, OTHER_USER));
        break;
    case FLAWS: break;
    }
}

/* ---- the calls ---- */

static int32_t stream(vfs_t *s, const char *key, uint64_t hint, uint32_t flags)
{
    vfs_writer_t *w = NULL;
    int32_t status = STATUS(vfs_create(s, key, hint, flags, &w));
    if (status != VFS_OK)
        return status;
    status = STATUS(vfs_write(w, "abc", 3));
    if (status == VFS_OK)
        return STATUS(vfs_seal(w));
    QUIET(vfs_abort(w));
    return status;
}

/* Nothing is under "missing", and "k" is taken, if `taken`. */
static void check_says_nothing(vfs_t *s, int taken)
{
    const char *keys[] = {"missing", "k"};
    uint64_t removed = 1;
    CHECK_ABSENT(s, "missing");
    CHECK_IS(vfs_remove(s, "missing"), VFS_ERR_NOT_FOUND);
    CHECK_OK(vfs_remove_owned(s, keys, 1));
    CHECK_OK(vfs_reap(s, &removed));
    CHECK_INT(removed, 0);
    CHECK_INT(listed_all(s), (unsigned)taken);
    if (!taken)
        return;
    CHECK_VALUE(s, "k", 300, 1);
    CHECK_IS(put(s, "k", 300, 2, 0), VFS_ERR_EXISTS);
    CHECK_IS(put(s, "k", 300, 2, VFS_PERSIST), VFS_ERR_EXISTS);
    CHECK_IS(put(s, "k", 5 << 20, 2, 0), VFS_ERR_EXISTS);
    CHECK_IS(stream(s, "k", 0, 0), VFS_ERR_EXISTS);
    CHECK_IS(stream(s, "k", 100, VFS_PERSIST), VFS_ERR_EXISTS);
    CHECK_OK(vfs_remove_owned(s, keys, 2)); /* another handle's */
    CHECK_VALUE(s, "k", 300, 1);
}

static struct {
    unsigned bad; /* a bit for each tier */
    enum flaw flaw;
} now;

static void use(void *arg)
{
    (void)arg;
    if (geteuid() == 0 && needs_users(now.flaw)) {
        SYS(setresgid(USER, USER, USER));
        SYS(setresuid(USER, USER, USER));
    }
    unsigned good = 0;
    while (now.bad & 1u << good)
        good++;
    vfs_t *s = open_on(tiers), *owner = open_on(tiers);
    check_says_nothing(s, 0);
    CHECK_OK(put(owner, "k", 300, 1, 0));
    CHECK_INT(tier_of(s, "k"), good);
    check_says_nothing(s, 1);
    CHECK_OK(put(s, "k", 300, 1, VFS_REPLACE)); /* there is something to change, and it can be */
    CHECK_OK(vfs_remove(owner, "k"));
    CHECK_IS(vfs_remove(owner, "k"), VFS_ERR_NOT_FOUND);
    vfs_tier_stat_t stat = tier_stat(s, good ? 0 : 1);
    if (now.bad & 1u << (good ? 0 : 1)) {
        CHECK(!(stat.flags & VFS_TIER_USABLE));
        CHECK(stat.last_errno != 0);
    }
    CHECK_OK(vfs_shutdown(owner));
    CHECK_OK(vfs_shutdown(s));
    QUIET(vfs_close(owner));
    QUIET(vfs_close(s));
}

/* Each flaw on each set of tiers but all. */
static void each_flaw(void *arg)
{
    int root = arg != NULL;
    unsigned tried = 0;
    for (int flaw = 0; flaw < FLAWS; flaw++) {
        if (needs_users((enum flaw)flaw) && !root)
            continue;
        for (now.bad = 1; now.bad < (1u << TIERS) - 1; now.bad++) {
            char name[100];
            now.flaw = (enum flaw)flaw;
            snprintf(name, sizeof name, "each-flaw: %s, tiers %x", flaw_names[flaw], now.bad);
            mode = name;
            make_tiers();
            for (int i = 0; i < TIERS; i++)
                if (now.bad & 1u << i)
                    spoil(i, now.flaw);
            JOIN(start_child(use, NULL));
            for (int i = 0; i < TIERS; i++) {
                if (now.flaw == READ_ONLY || now.flaw == NO_INODES)
                    umount2(dirs[i], MNT_DETACH);
                remove_tree(say("%s/parent-%d", scratch, i));
            }
            tried++;
        }
    }
    CHECK_INT(tried, root ? FLAWS * 6 : 4 * 6);
}

static void flaws(void)
{
    int root = geteuid() == 0;
    if (root) {
        public_scratch();
        root = several_users();
    } else {
        own_mounts();
    }
    JOIN(start_child(each_flaw, root ? &root : NULL));
}

/* Every tier becomes read-only under handles that are open: what is there is read, and what is not is not there. */
static void all_read_only(void)
{
    own_mounts();
    make_tiers();
    for (int with_room = 0; with_room < 2; with_room++) {
        vfs_t *owner = open_on(dirs[1]), *s = open_on(tiers);
        CHECK_OK(put(owner, "k", 300, 1, VFS_PERSIST));
        if (with_room) { /* the handle has a directory of its own there, and nothing in it */
            CHECK_OK(put(s, "own", 300, 1, 0));
            CHECK_OK(vfs_remove(s, "own"));
        }
        QUIET(vfs_close(owner));
        for (int i = 0; i < TIERS; i++) {
            SYS(mount(dirs[i], dirs[i], "none", MS_BIND, NULL));
            SYS(mount("none", dirs[i], "none", MS_REMOUNT | MS_BIND | MS_RDONLY, NULL));
        }
        check_says_nothing(s, 1);
        vfs_options_t options = VFS_OPTIONS_INIT;
        vfs_t *later = NULL;
        options.tiers = tiers;
        CHECK_IS(vfs_open(&options, &later), VFS_ERR_READ_ONLY);
        CHECK_OK(vfs_shutdown(s));
        QUIET(vfs_close(s));
        for (int i = 0; i < TIERS; i++)
            SYS(umount2(dirs[i], MNT_DETACH));
        s = open_on(tiers);
        CHECK_OK(vfs_remove(s, "k"));
        QUIET(vfs_close(s));
        for (int i = 0; i < TIERS; i++)
            CHECK_NOTHING_LEFT(dirs[i]);
    }
}

/* All of them lose what a user needs of them, under a handle that is open. */
static void lost_rights_user(void *arg)
{
    const int *turn = arg;
    vfs_t *s = open_on(tiers), *owner = open_on(dirs[2]);
    CHECK_OK(put(owner, "k", 300, 1, VFS_PERSIST));
    CHECK_VALUE(s, "k", 300, 1);
    SYS(seteuid(0));
    for (int i = 0; i < TIERS; i++)
        SYS(chmod(dirs[i], *turn ? 0755 : 01770));
    SYS(seteuid(USER));
    if (*turn) {
        check_says_nothing(s, 1);
    } else { /* what cannot be entered counts as missing */
        CHECK_ABSENT(s, "missing");
        check_says_nothing(s, 0);
        CHECK_IS(put(s, "new", 300, 2, 0), VFS_ERR_PERMISSION);
        CHECK_SAYS("cannot be entered");
    }
    CHECK_OK(vfs_shutdown(s));
    QUIET(vfs_close(s));
    QUIET(vfs_close(owner));
    SYS(seteuid(0));
    for (int i = 0; i < TIERS; i++)
        SYS(chmod(dirs[i], 01777));
    SYS(seteuid(USER));
    s = open_on(tiers);
    CHECK_OK(vfs_remove(s, "k"));
    QUIET(vfs_close(s));
    for (int i = 0; i < TIERS; i++)
        CHECK_NOTHING_LEFT(dirs[i]);
}

static void as_user_with_root_behind(void *arg)
{
    SYS(setgroups(0, NULL));
    SYS(setegid(USER));
    SYS(seteuid(USER));
    lost_rights_user(arg);
}

static void lost_rights(void)
{
    if (geteuid() != 0) {
        skipped("only root can take rights from others");
        return;
    }
    public_scratch();
    if (!several_users()) {
        skipped("root is the only user here");
        return;
    }
    make_tiers();
    for (int turn = 0; turn < 2; turn++)
        JOIN(start_child(as_user_with_root_behind, &turn));
}

/* ---- a failure of one call of the system ---- */

static int left_until_failure, failure;

static void fail_once(const char *name)
{
    if (strcmp(name, "close") != 0 && strcmp(name, "fcntl-unlock") != 0 && --left_until_failure == 0)
        refuse_with = failure;
}

/* A key that one tier has exists, whichever call fails while it is stored without VFS_REPLACE. */
static void one_failure(void)
{
    static const int failures[] = {EIO, EACCES, ESTALE};
    static const size_t sizes[] = {300, 5 << 20};
    make_tiers();
    int points = 0;
    for (int has = 0; has < TIERS; has++) {
        vfs_t *owner = open_on(dirs[has]);
        CHECK_OK(put(owner, "k", 300, 1, 0));
        for (int i = 0; i < 3; i++) {
            for (int how = 0; how < 3; how++) {
                failure = failures[i];
                for (int n = 1;; n++) {
                    vfs_t *s = open_on(tiers);
                    left_until_failure = n;
                    before_call = fail_once;
                    int32_t status = how < 2 ? put(s, "k", sizes[how], 2, 0) : stream(s, "k", 0, VFS_PERSIST);
                    before_call = NULL;
                    if (status != VFS_ERR_EXISTS)
                        FAIL("tier %d has it, call %d fails with %s: %s\n    %s", has, n, strerror(failure),
                             status_name(status), vfs_last_error());
                    CHECK_VALUE(s, "k", 300, 1);
                    QUIET(vfs_close(s));
                    if (left_until_failure > 0)
                        break;
                    points++;
                }
            }
        }
        QUIET(vfs_close(owner));
    }
    CHECK(points > 100);
    tell_points("nothing-to-change one-failure", points);
}

/* A tier that may be searched and written, but not read, as a drop box is: it is a tier like any other. */
static void drop_box_user(void *arg)
{
    (void)arg;
    if (geteuid() == 0) {
        SYS(setresgid(USER, USER, USER));
        SYS(setresuid(USER, USER, USER));
    }
    vfs_t *s = open_on(tiers), *reader = open_as(tiers, "harness", VFS_READ_ONLY);
    CHECK_OK(put(s, "k", 300, 1, 0));
    CHECK_INT(tier_of(reader, "k"), 0);
    CHECK_VALUE(reader, "k", 300, 1);
    CHECK_INT(listed_all(reader), 1);
    CHECK_INT(stream(s, "streamed", 100, VFS_PERSIST), VFS_OK);
    CHECK_INT(tier_of(s, "streamed"), 0);
    CHECK(tier_stat(s, 0).flags & VFS_TIER_USABLE);
    CHECK(tier_stat(s, 0).total_bytes > 0);
    CHECK_OK(vfs_remove(s, "streamed"));
    CHECK_OK(vfs_reap(s, NULL));
    QUIET(vfs_close(reader));
    reader = open_as("/dev/null", "harness", VFS_READ_ONLY);
    QUIET(vfs_close(reader));
    QUIET(vfs_close(s));
}

static void drop_box(void)
{
    int root = geteuid() == 0;
    if (root) {
        public_scratch();
        if (!several_users()) {
            skipped("root is the only user here, and may read all");
            return;
        }
    }
    make_tiers();
    for (int i = 0; i < TIERS; i++)
        SYS(chmod(dirs[i], root ? 01733 : 0300));
    JOIN(start_child(drop_box_user, NULL));
    for (int i = 0; i < TIERS; i++)
        SYS(chmod(dirs[i], 01777));
}

int main(int argc, char **argv)
{
    static const struct {
        const char *name;
        void (*run)(void);
    } modes[] = {
        {"each-flaw", flaws}, {"all-read-only", all_read_only}, {"lost-rights", lost_rights}, {"drop-box", drop_box},
        {"one-failure", one_failure},
    };
    start(argc, argv);
    for (unsigned i = 0; i < sizeof modes / sizeof modes[0]; i++) {
        if (strcmp(mode, modes[i].name) == 0) {
            modes[i].run();
            return 0;
        }
    }
    FAIL("no such mode");
}

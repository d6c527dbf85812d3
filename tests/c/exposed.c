/* Somebody gives our directories a mode with which other users can reach them: what lies there is hidden, not lost, and
 * nothing is stored elsewhere meanwhile. One MODE a case. */
#include "harness.h"

enum { USER = 12345, GROUP = 4711 };

static const char *A, *B;
static char tiers[2 * PATH_MAX + 16];

static void two_tiers(void)
{
    A = dir_of("a");
    B = dir_of("b");
    snprintf(tiers, sizeof tiers, "%s,%s", A, B);
}

static void become(uid_t uid)
{
    SYS(setresgid(uid, uid, uid));
    SYS(setresuid(uid, uid, uid));
    SYS(prctl(PR_SET_DUMPABLE, 1)); /* so that /proc/self is ours again */
}

static void loosen(const char *path, const char *inside, const struct stat *st, void *arg)
{
    (void)inside;
    int read_only = *(int *)arg;
    mode_t more = read_only ? 0440 : 0660;
    if (S_ISDIR(st->st_mode))
        more |= 02110;
    if (geteuid() == 0)
        SYS(lchown(path, (uid_t)-1, GROUP));
    SYS(chmod(path, (st->st_mode & 07777) | more));
}

/* What kubelet does to a volume for a pod's fsGroup: a group, and its rights, for all that lies there. */
static void as_kubelet(const char *volume, int read_only)
{
    struct stat st;
    walk(volume, "", loosen, &read_only);
    SYS(stat(volume, &st));
    loosen(volume, "", &st, &read_only);
}

/* The command that `vfsctl tiers` names. */
static void repair(const char *tier)
{
    char own[PATH_MAX];
    snprintf(own, sizeof own, "%s", own_tier_dir(tier, geteuid()));
    pid_t pid = fork();
    SYS(pid);
    if (pid == 0) {
        execlp("chmod", "chmod", "-R", "u=rwX,go=,g-s", own, (char *)NULL);
        _exit(127);
    }
    int state = 0;
    CHECK(waitpid(pid, &state, 0) == pid);
    CHECK(WIFEXITED(state) && WEXITSTATUS(state) == 0);
}

static void check_private(const char *path, const char *inside, const struct stat *st, void *arg)
{
    (void)inside;
    (void)arg;
    unsigned want = S_ISDIR(st->st_mode) ? 0700 : 0600;
    if ((st->st_mode & 07777) != want)
        FAIL("%s has mode %o", path, (unsigned)st->st_mode & 07777);
}

/* Ends with `last`, after naming so many keys. */
static void check_listing(vfs_t *s, unsigned keys, int32_t last)
{
    vfs_list_t *list = NULL;
    unsigned count = 0;
    int32_t status = STATUS(vfs_list_open(s, &list));
    if (status == VFS_OK) {
        const char *key = NULL;
        vfs_stat_t stat = VFS_STAT_INIT;
        while ((status = STATUS(vfs_list_next(list, &key, &stat))) == VFS_OK)
            count++;
        QUIET(vfs_list_close(list));
    }
    CHECK_INT(status, last);
    CHECK_INT(count, keys);
}

static int32_t stream(vfs_t *s, const char *key, uint32_t flags)
{
    vfs_writer_t *w = NULL;
    int32_t status = STATUS(vfs_create(s, key, 0, flags, &w));
    if (status != VFS_OK)
        return status;
    status = STATUS(vfs_write(w, "abc", 3));
    if (status == VFS_OK)
        return STATUS(vfs_seal(w));
    QUIET(vfs_abort(w));
    return status;
}

/* What is hidden in `tier` is not told of as missing: not `key`, which is there, nor any other. */
static void check_hidden(vfs_t *s, const char *key, const char *tier, const char *found, int changes)
{
    const char *const keys[] = {key, "missing"};
    char byte;
    size_t len;
    vfs_stat_t stat = VFS_STAT_INIT;
    vfs_view_t view = {0};
    for (int i = 0; i < 2; i++) {
        CHECK_IS(vfs_has(s, keys[i]), VFS_ERR_PERMISSION);
        CHECK_SAYS(say("mode %s, expected 0700", found));
        CHECK_SAYS(tier);
        CHECK_INT(vfs_last_errno(), EPERM);
        CHECK_IS(vfs_read(s, keys[i], 0, &byte, 1, &len, NULL), VFS_ERR_PERMISSION);
        CHECK_IS(vfs_map(s, keys[i], &view, NULL), VFS_ERR_PERMISSION);
        CHECK_IS(vfs_stat(s, keys[i], &stat), VFS_ERR_PERMISSION);
        if (!changes)
            continue;
        for (uint32_t flags = 0; flags < 4; flags++) {
            CHECK_IS(put(s, keys[i], 300, 9, flags), VFS_ERR_PERMISSION);
            CHECK_SAYS(say("mode %s, expected 0700", found));
            CHECK_IS(stream(s, keys[i], flags), VFS_ERR_PERMISSION);
        }
        CHECK_IS(put(s, keys[i], 5 << 20, 9, VFS_REPLACE), VFS_ERR_PERMISSION);
        CHECK_IS(vfs_remove(s, keys[i]), VFS_ERR_PERMISSION);
    }
    check_listing(s, 0, VFS_ERR_PERMISSION);
    if (changes)
        CHECK_IS(vfs_reap(s, NULL), VFS_ERR_PERMISSION);
}

static void check_empty(const char *path, const char *inside, const struct stat *st, void *arg)
{
    (void)inside;
    (void)arg;
    if (!S_ISDIR(st->st_mode) && strcmp(strrchr(path, '/') + 1, "\\lock") != 0)
        FAIL("%s lies there", path);
}

/* Nothing was stored on this tier, and no draft is left; the directory of an owner that lives may be there. */
static void check_no_bytes(const char *tier)
{
    walk(tier, "", check_empty, NULL);
}

static void check_unusable(vfs_t *s, uint32_t index)
{
    vfs_tier_stat_t stat = tier_stat(s, index);
    CHECK(!(stat.flags & VFS_TIER_USABLE));
    CHECK_INT(stat.last_errno, EPERM);
}

static struct {
    vfs_t *store;
    const char *tier, *found;
} inherited;

static void forked(void *arg)
{
    (void)arg;
    check_hidden(inherited.store, "owned", inherited.tier, inherited.found, 0);
}

/* A volume that is the first tier, or the second; processes of before and of afterwards, and forked ones. */
static void fs_group(void)
{
    two_tiers();
    for (int i = 0; i < 4; i++) {
        int first = i % 2, read_only = i / 2;
        const char *volume = first ? A : B, *found = read_only ? "2750" : "2770";
        vfs_t *old = open_on(tiers), *idle = open_on(tiers), *reader = open_as(tiers, "harness", VFS_READ_ONLY);
        vfs_t *only = open_on(volume);
        vfs_view_t view = {0};
        CHECK_OK(put(only, "kept", 5000, 1, VFS_PERSIST));
        CHECK_OK(put(only, "owned", 5000, 2, 0));
        CHECK_OK(put(only, "owned", 6000, 3, VFS_REPLACE)); /* in a subdirectory of its owner's */
        CHECK_VALUE(old, "kept", 5000, 1);
        CHECK_VALUE(reader, "owned", 6000, 3);
        CHECK_OK(vfs_map(reader, "owned", &view, NULL));
        as_kubelet(volume, read_only);

        /* at once, by each of them; the value that is there and no other */
        inherited.store = idle;
        inherited.tier = volume;
        inherited.found = found;
        JOIN(start_child(forked, NULL));
        check_hidden(old, "kept", volume, found, 1);
        check_hidden(reader, "owned", volume, found, 0);
        check_hidden(idle, "owned", volume, found, 1);
        check_unusable(old, !first);
        check_unusable(reader, !first);
        CHECK(is_value_at(view.data, view.len, 0, 3, 6000));
        vfs_t *later = open_on(tiers), *later_reader = open_as(tiers, "harness", VFS_READ_ONLY);
        check_unusable(later, !first);
        check_hidden(later, "owned", volume, found, 1);
        check_hidden(later_reader, "kept", volume, found, 0);
        check_no_bytes(first ? B : A);
        QUIET(vfs_close(later_reader));

        /* alone it is not opened, but to read */
        vfs_options_t options = VFS_OPTIONS_INIT;
        vfs_t *alone = NULL;
        options.tiers = say("%s,%s/nowhere", volume, A);
        options.name = "harness";
        CHECK_IS(vfs_open(&options, &alone), VFS_ERR_PERMISSION);
        CHECK_SAYS(say("mode %s, expected 0700", found));
        options.tiers = say("%s/nowhere,%s", A, volume);
        CHECK_IS(vfs_open(&options, &alone), VFS_ERR_PERMISSION); /* whatever others say */
        CHECK_SAYS(volume);
        alone = open_as(volume, "harness", VFS_READ_ONLY);
        check_hidden(alone, "kept", volume, found, 0);
        QUIET(vfs_close(alone));

        /* and all is there again */
        repair(volume);
        walk(own_tier_dir(volume, geteuid()), "", check_private, NULL);
        vfs_t *const all[] = {old, idle, reader, only, later};
        for (unsigned n = 0; n < 5; n++) {
            CHECK_VALUE(all[n], "kept", 5000, 1);
            CHECK_VALUE(all[n], "owned", 6000, 3);
            check_listing(all[n], 2, VFS_ERR_NOT_FOUND);
            CHECK_ABSENT(all[n], "missing");
        }
        CHECK_OK(put(later, "new", 300, 4, 0));
        CHECK_INT(tier_of(old, "new"), 0);
        CHECK(tier_stat(later, 0).flags & VFS_TIER_USABLE);
        CHECK_OK(put(old, "kept", 300, 5, VFS_REPLACE));
        CHECK_VALUE(later, "kept", 300, 5);
        CHECK_OK(vfs_remove(idle, "kept"));
        CHECK_OK(vfs_reap(later, NULL));
        QUIET(vfs_unmap(&view));
        for (unsigned n = 0; n < 5; n++)
            QUIET(vfs_close(all[n]));
        CHECK_NOTHING_LEFT(A);
        CHECK_NOTHING_LEFT(B);
    }
}

/* One of the directories alone, on either tier, with any bit of the others' rights. Nothing tells a process of it that
 * finds what it looks for, nor one that only stores, until a second is over: it sees all that is there meanwhile. */
static void each_directory(void)
{
    static const char *const dirs[] = {"", "/harness", "/harness/objects", "/harness/owners"};
    static const mode_t modes[] = {0710, 0701, 0720, 0755, 0777, 02770, 01704};
    two_tiers();
    for (int first = 0; first < 2; first++)
        for (unsigned d = 0; d < 4; d++)
            for (unsigned m = 0; m < sizeof modes / sizeof modes[0]; m++) {
                const char *tier = first ? A : B;
                char dir[PATH_MAX], found[8], name[100];
                snprintf(found, sizeof found, "%04o", (unsigned)modes[m]);
                snprintf(name, sizeof name, "each-directory: %s of tier %d, mode %s", dirs[d], !first, found);
                mode = name;
                vfs_t *old = open_on(tiers), *only = open_on(tier);
                CHECK_OK(put(only, "k", 5000, 1, VFS_PERSIST));
                CHECK_VALUE(old, "k", 5000, 1);
                snprintf(dir, sizeof dir, "%s%s", own_tier_dir(tier, geteuid()), dirs[d]);
                SYS(chmod(dir, modes[m]));
                if (d % 2 == 0)
                    CHECK_IS(vfs_has(old, "missing"), VFS_ERR_PERMISSION);
                else /* in between: asked for by a listing, and once a second */
                    check_listing(old, 0, VFS_ERR_PERMISSION);
                check_hidden(old, "k", tier, found, 1);
                vfs_t *later = open_on(tiers);
                check_hidden(later, "k", tier, found, 1);
                check_no_bytes(first ? B : A);
                SYS(chmod(dir, 0700));
                CHECK_VALUE(later, "k", 5000, 1);
                CHECK_VALUE(old, "k", 5000, 1);
                CHECK_OK(vfs_remove(later, "k"));
                QUIET(vfs_close(later));
                QUIET(vfs_close(only));
                QUIET(vfs_close(old));
                CHECK_NOTHING_LEFT(A);
                CHECK_NOTHING_LEFT(B);
            }
}

/* Who never looks for anything learns of it too, a second later; what it stores before that lies where others look. */
static void storing_alone(void)
{
    two_tiers();
    vfs_t *old = open_on(tiers);
    for (int i = 0; i < 4; i++) {
        CHECK_OK(put(old, say("k%d", i), 300, 1, 0));
        SYS(chmod(own_tier_dir(i % 2 ? A : B, geteuid()), 0750));
        int32_t status = put(old, "before", 300, 1, 0);
        CHECK(status == VFS_ERR_PERMISSION || (status == VFS_OK && i % 2 == 0) || status == VFS_OK);
        check_no_bytes(B);
        nap(1100);
        CHECK_IS(put(old, "after", 300, 1, i % 3 ? VFS_REPLACE : 0), VFS_ERR_PERMISSION);
        CHECK_SAYS("mode 0750, expected 0700");
        CHECK_SAYS(i % 2 ? A : B);
        SYS(chmod(own_tier_dir(i % 2 ? A : B, geteuid()), 0700));
        CHECK_OK(put(old, "before", 300, 1, VFS_REPLACE));
        CHECK_OK(vfs_remove(old, "before"));
    }
    QUIET(vfs_close(old));
    CHECK_NOTHING_LEFT(A);
    CHECK_NOTHING_LEFT(B);
}

/* The end of an owner whose directories are exposed takes with it what it owns, drafts and subdirectories too. */
static void own_blobs(void)
{
    two_tiers();
    for (int i = 0; i < 6; i++) {
        vfs_t *old = open_on(tiers);
        vfs_writer_t *w = NULL;
        const char *keys[] = {"k", "missing", "kept", "other"};
        vfs_t *other = open_on(tiers);
        CHECK_OK(put(other, "other", 300, 1, 0));
        CHECK_OK(put(old, "kept", 300, 1, VFS_PERSIST));
        CHECK_OK(put(old, "k", 5000, 1, 0));
        CHECK_OK(put(old, "k", 5000, 2, VFS_REPLACE));
        CHECK_OK(put(old, "k2", 5000, 2, 0));
        CHECK_OK(put(old, "k2", 5000, 3, VFS_REPLACE));
        CHECK_OK(vfs_create(old, "k2", 0, VFS_REPLACE, &w));
        CHECK_OK(vfs_write(w, "abc", 3));
        if (i % 2)
            as_kubelet(A, i == 5);
        else
            SYS(chmod(own_tier_dir(A, geteuid()), 0770));
        if (i % 3 == 0)
            CHECK_IS(vfs_has(old, "missing"), VFS_ERR_PERMISSION); /* it knows */
        CHECK_OK(vfs_remove_owned(old, keys, 4));
        CHECK(access(say("%s/harness/objects/k", own_tier_dir(A, geteuid())), F_OK) != 0);
        CHECK(access(say("%s/harness/objects/kept", own_tier_dir(A, geteuid())), F_OK) == 0);
        CHECK(access(say("%s/harness/objects/k2", own_tier_dir(A, geteuid())), F_OK) == 0);
        if (i % 2)
            CHECK_OK(vfs_shutdown(old));
        QUIET(vfs_close(old));
        QUIET(vfs_abort(w));
        CHECK(access(say("%s/harness/objects/k2", own_tier_dir(A, geteuid())), F_OK) != 0);
        CHECK(access(say("%s/harness/objects/other", own_tier_dir(A, geteuid())), F_OK) == 0);
        CHECK_INT(entries_in(say("%s/harness/owners", own_tier_dir(A, geteuid()))), 1);
        repair(A);
        CHECK_VALUE(other, "other", 300, 1);
        CHECK_OK(vfs_remove(other, "kept"));
        QUIET(vfs_close(other));
        CHECK_NOTHING_LEFT(A);
        CHECK_NOTHING_LEFT(B);
    }
}

/* What another tier has is an answer; so is what the memory tier has, which is this handle's alone. */
static void found_elsewhere(void)
{
    two_tiers();
    for (int first = 0; first < 2; first++) {
        vfs_t *good = open_on(first ? B : A), *s = open_on(tiers);
        CHECK_OK(put(good, "k", 300, 1, 0));
        CHECK_OK(put(good, "k2", 300, 1, VFS_PERSIST));
        as_kubelet(first ? A : B, 0);
        CHECK_VALUE(s, "k", 300, 1);
        CHECK_IS(put(s, "k", 300, 2, 0), VFS_ERR_EXISTS);
        CHECK_IS(put(s, "k", 5 << 20, 2, 0), VFS_ERR_EXISTS);
        CHECK_IS(stream(s, "k", 0), VFS_ERR_EXISTS);
        CHECK_IS(put(s, "k", 300, 2, VFS_REPLACE), VFS_ERR_PERMISSION);
        CHECK_VALUE(s, "k", 300, 1);
        CHECK_OK(vfs_remove(s, "k2"));
        CHECK_IS(vfs_remove(s, "k2"), VFS_ERR_PERMISSION);
        check_listing(s, 1, VFS_ERR_PERMISSION);
        CHECK_OK(vfs_shutdown(s)); /* it owns nothing */
        QUIET(vfs_close(s));
        QUIET(vfs_close(good));
        repair(first ? A : B);
    }
    vfs_t *s = open_on(say("memory,%s", A));
    CHECK_OK(put(s, "k", 300, 1, 0));
    as_kubelet(A, 0);
    CHECK_OK(put(s, "k", 400, 2, VFS_REPLACE));
    CHECK_VALUE(s, "k", 400, 2);
    CHECK_IS(put(s, "k", 300, 3, 0), VFS_ERR_EXISTS);
    CHECK_IS(put(s, "new", 300, 3, 0), VFS_ERR_PERMISSION);
    CHECK_IS(vfs_has(s, "new"), VFS_ERR_PERMISSION);
    CHECK_OK(vfs_remove(s, "k"));
    CHECK_OK(vfs_shutdown(s));
    QUIET(vfs_close(s));
    repair(A);
    CHECK_NOTHING_LEFT(A);
    CHECK_NOTHING_LEFT(B);
}

/* A blob that is being written when it happens is not published, here or on another tier. */
static void streams(void)
{
    two_tiers();
    for (int i = 0; i < 4; i++) {
        const char *hidden = i % 2 ? A : B;
        vfs_t *s = open_on(i < 2 ? tiers : say("%s?max=1000,%s", A, B));
        vfs_writer_t *w = NULL;
        unsigned char *data = new_value(5000, 1);
        CHECK_OK(vfs_create(s, "k", 0, 0, &w));
        CHECK_OK(vfs_write(w, data, 500));
        as_kubelet(hidden, 0);
        int32_t status = STATUS(vfs_write(w, data, 5000)); /* which outgrows the first tier, in half of the cases */
        CHECK(status == VFS_OK || status == VFS_ERR_PERMISSION);
        CHECK_IS(vfs_seal(w), VFS_ERR_PERMISSION);
        free(data);
        check_no_bytes(A);
        check_no_bytes(B);
        repair(hidden);
        CHECK_ABSENT(s, "k");
        CHECK_OK(put(s, "k", 300, 1, 0));
        QUIET(vfs_close(s));
        CHECK_NOTHING_LEFT(A);
        CHECK_NOTHING_LEFT(B);
    }
}

/* Files whose modes alone were changed are reached by nobody: they are used, and left as they are. */
static void files_alone(void)
{
    two_tiers();
    vfs_t *old = open_on(tiers);
    char lock[PATH_MAX], blob[PATH_MAX];
    struct stat st;
    snprintf(lock, sizeof lock, "%s/\\lock", own_tier_dir(A, geteuid()));
    snprintf(blob, sizeof blob, "%s/harness/objects/k", own_tier_dir(A, geteuid()));
    CHECK_OK(put(old, "k", 300, 1, VFS_PERSIST));
    SYS(chmod(lock, 0660));
    SYS(chmod(blob, 0664));
    for (int i = 0; i < 2; i++) {
        vfs_t *later = open_on(tiers);
        CHECK_VALUE(later, "k", 300, 1);
        CHECK_VALUE(old, "k", 300, 1);
        CHECK_ABSENT(old, "missing");
        CHECK_OK(put(old, "new", 300, 2, 0));
        CHECK_INT(tier_of(later, "new"), 0);
        CHECK_OK(put(later, "new", 300, 3, VFS_REPLACE));
        CHECK_OK(vfs_remove(old, "new"));
        CHECK_OK(vfs_reap(later, NULL));
        QUIET(vfs_close(later));
    }
    SYS(stat(lock, &st));
    CHECK_INT(st.st_mode & 07777, 0660);
    CHECK_OK(vfs_remove(old, "k"));
    QUIET(vfs_close(old));
    CHECK_NOTHING_LEFT(A);
}

/* ---- too few rights of our own ---- */

static mode_t mode_of(const char *path)
{
    struct stat st;
    SYS(lstat(path, &st));
    return st.st_mode & 07777;
}

static void set_mode_in(const char *at, int dir, mode_t how)
{
    static const char *const names[] = {"", "/harness", "/harness/objects", "/harness/owners"};
    SYS(chmod(say("%s%s", at, names[dir]), how));
}

/* Our directories lack a right of ours: what can be read is read, else it is said which mode keeps us out; who stores
 * gives the right back. */
static void too_closed(void *arg)
{
    (void)arg;
    become(USER);
    char own[PATH_MAX];
    snprintf(own, sizeof own, "%s", own_tier_dir(A, USER));
    static const mode_t modes[] = {0500, 02500, 0400, 0300, 0200, 0};
    for (int d = 0; d < 4; d++)
        for (unsigned m = 0; m < sizeof modes / sizeof modes[0]; m++) {
            int readable = (modes[m] & 0500) == 0500;
            char name[100];
            snprintf(name, sizeof name, "too-closed: directory %d, mode %04o", d, (unsigned)modes[m]);
            mode = name;
            vfs_t *s = open_on(tiers);
            CHECK_OK(put(s, "k", 300, 1, VFS_PERSIST));
            QUIET(vfs_close(s));
            set_mode_in(own, d, modes[m]);
            vfs_t *reader = open_as(tiers, "harness", VFS_READ_ONLY);
            if (readable) {
                CHECK_VALUE(reader, "k", 300, 1);
                CHECK_ABSENT(reader, "missing");
                CHECK_INT(listed_all(reader), 1);
            } else if (d < 3) {
                CHECK_IS(vfs_has(reader, "k"), VFS_ERR_PERMISSION);
                if (d == 0 || !(modes[m] & 0400)) {
                    CHECK_SAYS(say("mode %04o, expected 0700", (unsigned)modes[m]));
                }
                CHECK_IS(vfs_has(reader, "missing"), VFS_ERR_PERMISSION);
            }
            QUIET(vfs_close(reader));
            s = open_on(tiers);
            CHECK_VALUE(s, "k", 300, 1);
            CHECK_OK(put(s, "new", 300, 2, 0));
            CHECK_INT(tier_of(s, "new"), 0);
            CHECK_OK(vfs_remove(s, "k"));
            QUIET(vfs_close(s));
            walk(own, "", check_private, NULL);
            CHECK_INT(mode_of(own), 0700);
        }
}

static void of_another_user(void)
{
    if (geteuid() != 0) {
        too_closed(NULL);
        return;
    }
    public_scratch();
    if (!several_users()) {
        skipped("root is the only user here, and nothing is closed to it");
        return;
    }
    two_tiers();
    JOIN(start_child(too_closed, NULL));
    remove_tree(own_tier_dir(A, USER));
    if (access(own_tier_dir(B, USER), F_OK) == 0)
        remove_tree(own_tier_dir(B, USER));
}

/* Who only reads changes no mode, and reads what can be read, whatever the lock file's mode. */
static void read_only_user(void *arg)
{
    static const mode_t modes[] = {0400, 0, 0200, 0600, 0444};
    int is_root = arg == NULL;
    if (!is_root)
        become(USER);
    char lock[PATH_MAX];
    snprintf(lock, sizeof lock, "%s/\\lock", own_tier_dir(A, geteuid()));
    vfs_t *s = open_on(tiers);
    CHECK_OK(put(s, "k", 300, 1, VFS_PERSIST));
    QUIET(vfs_close(s));
    for (unsigned m = 0; m < sizeof modes / sizeof modes[0]; m++) {
        SYS(chmod(lock, modes[m]));
        for (int remounted = 0; remounted <= is_root; remounted++) {
            if (remounted) {
                SYS(mount(A, A, "none", MS_BIND, NULL));
                SYS(mount("none", A, "none", MS_REMOUNT | MS_BIND | MS_RDONLY, NULL));
            }
            vfs_t *reader = open_as(tiers, "harness", VFS_READ_ONLY), *alone = open_as(A, "harness", VFS_READ_ONLY);
            CHECK_VALUE(reader, "k", 300, 1);
            CHECK_ABSENT(reader, "missing");
            CHECK_INT(listed_all(reader), 1);
            CHECK_VALUE(alone, "k", 300, 1);
            CHECK_ABSENT(alone, "missing");
            CHECK(tier_stat(alone, 0).flags & VFS_TIER_USABLE);
            QUIET(vfs_close(alone));
            QUIET(vfs_close(reader));
            if (remounted) { /* one that may store, elsewhere, looks here without a change too */
                vfs_t *other = open_on(tiers);
                CHECK_VALUE(other, "k", 300, 1);
                CHECK_IS(put(other, "k", 300, 2, 0), VFS_ERR_EXISTS);
                CHECK_ABSENT(other, "missing");
                CHECK_IS(vfs_remove(other, "missing"), VFS_ERR_NOT_FOUND);
                CHECK_IS(vfs_remove(other, "k"), VFS_ERR_READ_ONLY);
                CHECK_OK(vfs_reap(other, NULL));
                QUIET(vfs_close(other));
                SYS(umount2(A, MNT_DETACH));
            }
            CHECK_INT(mode_of(lock), modes[m]);
        }
    }
    SYS(unlink(lock)); /* nor does it make one */
    vfs_t *reader = open_as(A, "harness", VFS_READ_ONLY);
    CHECK_VALUE(reader, "k", 300, 1);
    QUIET(vfs_close(reader));
    CHECK(access(lock, F_OK) != 0);
    s = open_on(tiers);
    CHECK_OK(vfs_remove(s, "k"));
    QUIET(vfs_close(s));
    CHECK_NOTHING_LEFT(A);
}

static void read_only(void)
{
    int is_root = geteuid() == 0;
    if (is_root)
        public_scratch();
    else
        own_mounts();
    two_tiers();
    JOIN(start_child(read_only_user, NULL));
    if (is_root && several_users()) {
        int other = 1;
        JOIN(start_child(read_only_user, &other));
    }
}

int main(int argc, char **argv)
{
    static const struct {
        const char *name;
        void (*run)(void);
    } modes[] = {
        {"fs-group", fs_group}, {"each-directory", each_directory}, {"storing-alone", storing_alone},
        {"own-blobs", own_blobs}, {"found-elsewhere", found_elsewhere}, {"streams", streams},
        {"files-alone", files_alone}, {"too-closed", of_another_user}, {"read-only", read_only},
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

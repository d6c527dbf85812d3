/* Tiers that refuse, on really full filesystems: the next tier serves, nothing is killed, and what recovers is used
 * again. One MODE a way to refuse. */
#include "harness.h"

static int logged[4];
static char last_log[1024];
static pthread_t log_thread;
static vfs_t *log_store;

static void on_log(void *user, int32_t level, const char *message)
{
    CHECK(user == (void *)logged);
    CHECK(level >= VFS_LOG_ERROR && level <= VFS_LOG_INFO);
    CHECK(message && message[0] && !strchr(message, '\n'));
    CHECK(pthread_equal(pthread_self(), log_thread));
    logged[level]++;
    snprintf(last_log, sizeof last_log, "%s", message);
    if (log_store) { /* no lock is held: the callback may use the store */
        CHECK_IS(vfs_has(log_store, "from-the-log"), 0);
        CHECK_OK(put(log_store, "from-the-log", 10, 10, VFS_REPLACE | VFS_PERSIST));
        CHECK_OK(vfs_remove(log_store, "from-the-log"));
    }
}

static vfs_t *open_logged(const char *tiers)
{
    vfs_options_t options = VFS_OPTIONS_INIT;
    options.tiers = tiers;
    options.name = "harness";
    options.log = on_log;
    options.log_user = logged;
    log_thread = pthread_self();
    vfs_t *s = NULL;
    CHECK_OK(vfs_open(&options, &s));
    return s;
}

/* ---- no bytes ---- */

static void bytes(void)
{
    own_mounts();
    const char *a = tmpfs_of("a", "size=256k"), *b = dir_of("b");
    vfs_t *s = open_on(say("%s,%s", a, b)), *other = open_on(say("%s,%s", a, b));
    CHECK_INT(tier_stat(s, 0).total_bytes, 256 << 10);
    uint64_t room = free_bytes(a);
    CHECK_OK(put(s, "fits", 128 << 10, 1, 0));
    CHECK_INT(tier_of(s, "fits"), 0);
    uint64_t half = free_bytes(a);
    CHECK_INT(half, room - (128 << 10));
    CHECK_INT(tier_stat(s, 0).free_bytes, half);

    CHECK_OK(put(s, "too-big", 1 << 20, 2, 0));
    CHECK_INT(tier_of(s, "too-big"), 1);
    CHECK_INT(free_bytes(a), half); /* what did not fit is not left there */
    vfs_tier_stat_t stat = tier_stat(s, 0);
    CHECK_INT(stat.last_errno, ENOSPC);
    CHECK_INT(stat.refused, 1);
    CHECK_INT(stat.stored, 1);
    CHECK_INT(stat.blobs, 1);
    CHECK_INT(stat.bytes, 128 << 10);
    stat = tier_stat(s, 1);
    CHECK(stat.refused == 0 && stat.stored == 1 && stat.blobs == 1 && stat.bytes == 1 << 20 && stat.last_errno == 0);

    /* placement is per blob: a small one still goes to memory */
    CHECK_OK(put(s, "small", 4096, 3, 0));
    CHECK_INT(tier_of(s, "small"), 0);
    /* to the last byte */
    uint64_t rest = free_bytes(a);
    CHECK_OK(put(s, "exact", rest, 4, 0));
    CHECK_INT(tier_of(s, "exact"), 0);
    CHECK_INT(free_bytes(a), 0);
    CHECK_OK(put(s, "one-byte", 1, 5, 0));
    CHECK_INT(tier_of(s, "one-byte"), 1);
    CHECK_OK(put(s, "empty", 0, 6, 0)); /* needs no room */
    CHECK_INT(tier_of(s, "empty"), 0);
    CHECK_OK(put(s, "persistent", 5000, 7, VFS_PERSIST));
    CHECK_INT(tier_of(s, "persistent"), 1);
    const char *keys[] = {"fits", "too-big", "small", "exact", "one-byte", "empty", "persistent"};
    const size_t sizes[] = {128 << 10, 1 << 20, 4096, rest, 1, 0, 5000};
    for (int i = 0; i < 7; i++) {
        CHECK_VALUE(s, keys[i], sizes[i], i + 1);
        CHECK_VALUE(other, keys[i], sizes[i], i + 1);
        CHECK_INT(listed(other, keys[i]), 1);
    }
    /* a key on any tier is an answer */
    CHECK_IS(put(s, "too-big", 10, 9, 0), VFS_ERR_EXISTS);
    CHECK_IS(put(s, "fits", 1 << 20, 9, 0), VFS_ERR_EXISTS);
    CHECK_IS(put(other, "one-byte", 1 << 20, 9, 0), VFS_ERR_EXISTS);

    /* room returns, and so do the next blobs */
    CHECK_OK(vfs_remove(other, "exact"));
    CHECK_OK(put(s, "again", 20 << 10, 8, 0));
    CHECK_INT(tier_of(s, "again"), 0);
    CHECK(tier_stat(s, 0).flags & VFS_TIER_USABLE);

    /* replaced by what only fits below, and by what fits above again: one value */
    CHECK_OK(put(s, "fits", 1 << 20, 9, VFS_REPLACE));
    CHECK_INT(tier_of(s, "fits"), 1);
    CHECK_VALUE(other, "fits", 1 << 20, 9);
    CHECK_INT(listed(other, "fits"), 1);
    CHECK_OK(put(s, "fits", 64 << 10, 10, VFS_REPLACE));
    CHECK_INT(tier_of(s, "fits"), 0);
    CHECK_VALUE(other, "fits", 64 << 10, 10);
    CHECK_INT(listed(other, "fits"), 1);
    CHECK_OK(vfs_remove(other, "fits"));
    CHECK_ABSENT(s, "fits");
    CHECK_OK(vfs_remove(s, "persistent"));
    QUIET(vfs_close(other));
    QUIET(vfs_close(s));
    CHECK_INT(free_bytes(a), room);
    CHECK_NOTHING_LEFT(a);
    CHECK_NOTHING_LEFT(b);
}

/* ---- no bytes anywhere ---- */

static void everywhere(void)
{
    own_mounts();
    const char *a = tmpfs_of("a", "size=64k"), *b = tmpfs_of("b", "size=128k");
    vfs_t *s = open_logged(say("%s,%s", a, b));
    CHECK_OK(put(s, "up", 16 << 10, 1, 0));
    CHECK_OK(put(s, "down", 100 << 10, 2, 0));
    CHECK_INT(tier_of(s, "down"), 1);
    char filler[PATH_MAX + 16];
    snprintf(filler, sizeof filler, "%s", fill_up(a, 0));
    fill_up(b, 0);
    uint64_t files = print_of(scratch);

    CHECK_IS(put(s, "more", 12345, 3, 0), VFS_ERR_NO_SPACE);
    CHECK_INT(vfs_last_errno(), ENOSPC);
    CHECK_SAYS("12345");
    CHECK_SAYS("wanted");
    CHECK_SAYS("free");
    CHECK_SAYS("/");
    CHECK_IS(put(s, "more", 1, 3, VFS_PERSIST), VFS_ERR_NO_SPACE);
    CHECK_IS(put(s, "up", 17 << 10, 3, VFS_REPLACE), VFS_ERR_NO_SPACE);
    CHECK_IS(put(s, "down", 17 << 10, 3, VFS_REPLACE), VFS_ERR_NO_SPACE);
    CHECK_IS(put(s, "up", 17 << 10, 3, 0), VFS_ERR_EXISTS);
    CHECK_IS(put(s, "down", 17 << 10, 3, 0), VFS_ERR_EXISTS);
    CHECK_INT(print_of(scratch), files);
    CHECK_ABSENT(s, "more");
    CHECK_VALUE(s, "up", 16 << 10, 1);
    CHECK_VALUE(s, "down", 100 << 10, 2);
    CHECK(logged[VFS_LOG_ERROR] >= 1);

    /* a new handle, and a new store, on full tiers */
    vfs_t *other = open_on(say("%s,%s", a, b)), *fresh = open_as(say("%s,%s", a, b), "fresh", 0);
    CHECK_VALUE(other, "up", 16 << 10, 1);
    CHECK_IS(put(fresh, "k", 100, 1, 0), VFS_ERR_NO_SPACE);
    CHECK_OK(put(fresh, "k", 0, 1, 0));
    CHECK_OK(vfs_remove(fresh, "k"));
    CHECK_OK(vfs_remove(other, "up"));
    CHECK_OK(put(fresh, "k", 16 << 10, 1, 0));
    QUIET(vfs_close(fresh));
    QUIET(vfs_close(other));

    SYS(unlink(filler));
    CHECK_OK(put(s, "more", 12345, 3, 0));
    CHECK_INT(tier_of(s, "more"), 0);
    QUIET(vfs_close(s));
    CHECK_NOTHING_LEFT(a);
    CHECK_NOTHING_LEFT(b);
}

/* ---- no inodes ---- */

static void inodes(void)
{
    own_mounts();
    const char *a = tmpfs_of("a", "size=1m,nr_inodes=20"), *b = tmpfs_of("b", "size=1m,nr_inodes=24");
    vfs_t *s = open_on(say("%s,%s", a, b));
    unsigned up = 0, down = 0, n = 0;
    int32_t status;
    while ((status = put(s, say("k%u", n), 10 + n, n, 0)) == VFS_OK) {
        if (tier_of(s, say("k%u", n)) == 0)
            up++;
        else
            down++;
        n++;
        CHECK(n < 100);
    }
    CHECK_INT(status, VFS_ERR_NO_SPACE);
    CHECK(up >= 3 && down >= 3);
    CHECK(free_bytes(a) > 100000 && free_bytes(b) > 100000);
    vfs_tier_stat_t stat = tier_stat(s, 0);
    CHECK_INT(stat.last_errno, ENOSPC);
    CHECK_INT(stat.total_inodes, 20);
    CHECK_INT(stat.blobs, up);
    /* a link takes an inode of a tmpfs too, so a blob without an owner may still fit */
    unsigned persistent = 0;
    while ((status = put(s, say("p%u", persistent), 10, persistent, VFS_PERSIST)) == VFS_OK)
        CHECK(++persistent < 100);
    CHECK_INT(status, VFS_ERR_NO_SPACE);
    uint64_t files = print_of(scratch);
    CHECK_IS(put(s, "more", 10, 1, 0), VFS_ERR_NO_SPACE);
    CHECK_IS(put(s, "more", 0, 1, VFS_PERSIST), VFS_ERR_NO_SPACE);
    CHECK_IS(put(s, "k1", 10, 1, 0), VFS_ERR_EXISTS);
    CHECK_INT(print_of(scratch), files);
    for (unsigned i = 0; i < persistent; i++) {
        CHECK_VALUE(s, say("p%u", i), 10, i);
        CHECK_OK(vfs_remove(s, say("p%u", i)));
    }
    for (unsigned i = 0; i < n; i++)
        CHECK_VALUE(s, say("k%u", i), 10 + i, i);
    CHECK_OK(vfs_remove(s, "k0"));
    CHECK_OK(put(s, "k0", 99, 0, 0));
    CHECK_INT(tier_of(s, "k0"), 0);

    /* a store that finds no inode for even its directories */
    vfs_t *fresh = NULL;
    const char *c = tmpfs_of("c", "size=1m,nr_inodes=1");
    fresh = open_on(say("%s,%s", c, b));
    CHECK_OK(vfs_remove(s, say("k%u", n - 1)));
    CHECK_OK(vfs_remove(s, say("k%u", n - 2)));
    CHECK_OK(vfs_remove(s, say("k%u", n - 3)));
    CHECK_OK(put(fresh, "fresh", 10, 10, 0));
    CHECK_INT(tier_of(fresh, "fresh"), 1);
    CHECK_INT(tier_stat(fresh, 0).last_errno, ENOSPC);
    CHECK(!(tier_stat(fresh, 0).flags & VFS_TIER_USABLE));
    SYS(mount("tmpfs", c, "tmpfs", MS_REMOUNT, "size=1m,nr_inodes=100"));
    CHECK_OK(put(fresh, "recovered", 10, 11, 0));
    CHECK_INT(tier_of(fresh, "recovered"), 0);
    CHECK(tier_stat(fresh, 0).flags & VFS_TIER_USABLE);
    QUIET(vfs_close(fresh));
    QUIET(vfs_close(s));
    CHECK_NOTHING_LEFT(a);
    CHECK_NOTHING_LEFT(b);
    CHECK_NOTHING_LEFT(c);
}

/* ---- not writable, not there, not a directory ---- */

static void read_only_mount(void)
{
    own_mounts();
    const char *a = tmpfs_of("a", "size=1m"), *b = dir_of("b");
    vfs_t *s = open_on(a);
    CHECK_OK(put(s, "kept", 5000, 1, VFS_PERSIST));
    QUIET(vfs_close(s));
    SYS(mount("tmpfs", a, "tmpfs", MS_REMOUNT | MS_RDONLY, NULL));
    s = open_on(say("%s,%s", a, b));
    CHECK_OK(put(s, "new", 6000, 2, 0));
    CHECK_INT(tier_of(s, "new"), 1);
    vfs_tier_stat_t stat = tier_stat(s, 0);
    CHECK_INT(stat.last_errno, EROFS);
    CHECK(!(stat.flags & VFS_TIER_USABLE));
    CHECK(stat.refused >= 1);
    /* what lies there is still a value: read, an answer to a store, and not to be removed or hidden */
    CHECK_VALUE(s, "kept", 5000, 1);
    CHECK_INT(listed(s, "kept"), 1);
    CHECK_IS(put(s, "kept", 10, 3, 0), VFS_ERR_EXISTS);
    CHECK_FAILS(vfs_remove(s, "kept"));
    CHECK_VALUE(s, "kept", 5000, 1);
    CHECK_FAILS(put(s, "kept", 10, 3, VFS_REPLACE));
    CHECK_VALUE(s, "kept", 5000, 1);
    CHECK_INT(listed(s, "kept"), 1);
    /* alone, it is an error at open, but a reader is served */
    vfs_options_t options = VFS_OPTIONS_INIT;
    options.tiers = a;
    vfs_t *alone = s;
    CHECK_FAILS(vfs_open(&options, &alone));
    CHECK(alone == NULL);
    CHECK_INT(vfs_last_errno(), EROFS);
    CHECK_SAYS(a);
    vfs_t *reader = open_as(a, "harness", VFS_READ_ONLY);
    CHECK_VALUE(reader, "kept", 5000, 1);
    QUIET(vfs_close(reader));

    SYS(mount("tmpfs", a, "tmpfs", MS_REMOUNT, "size=1m"));
    CHECK_OK(put(s, "after", 6000, 4, 0));
    CHECK_INT(tier_of(s, "after"), 0);
    CHECK(tier_stat(s, 0).flags & VFS_TIER_USABLE);
    CHECK_OK(vfs_remove(s, "kept"));
    CHECK_ABSENT(s, "kept");
    QUIET(vfs_close(s));
    CHECK_NOTHING_LEFT(a);
    CHECK_NOTHING_LEFT(b);
}

/* What a list says of a tier that counts as missing: nothing. */
static void check_nothing_said(vfs_t *s)
{
    char byte;
    size_t len;
    vfs_stat_t stat = VFS_STAT_INIT;
    uint64_t removed = 1;
    const char *absent = "absent";
    CHECK_IS(vfs_has(s, absent), 0);
    CHECK_IS(vfs_read(s, absent, 0, &byte, 1, &len, NULL), VFS_ERR_NOT_FOUND);
    CHECK_IS(vfs_stat(s, absent, &stat), VFS_ERR_NOT_FOUND);
    CHECK_IS(vfs_remove(s, absent), VFS_ERR_NOT_FOUND);
    CHECK_OK(vfs_remove_owned(s, &absent, 1));
    CHECK_OK(vfs_reap(s, &removed));
    CHECK_INT(removed, 0);
}

static void skipped_for(const char *a, const char *b, int code, void (*mend)(const char *))
{
    vfs_t *s = open_logged(say("%s,%s", a, b));
    for (int i = 0; i < 20; i++)
        CHECK_OK(put(s, say("k%d", i), 3000, 1, 0));
    CHECK_INT(tier_of(s, "k0"), 1);
    vfs_tier_stat_t stat = tier_stat(s, 0);
    CHECK(!(stat.flags & VFS_TIER_USABLE));
    CHECK_INT(stat.last_errno, code);
    CHECK_STR(stat.dir, a);
    CHECK(stat.refused >= 20);
    CHECK_INT(stat.stored, 0);
    CHECK(logged[VFS_LOG_WARNING] >= 1 && logged[VFS_LOG_WARNING] < 5); /* not for every store */
    CHECK_VALUE(s, "k0", 3000, 1);
    check_nothing_said(s);
    CHECK_INT(listed_all(s), 20);
    vfs_t *reader = open_as(say("%s,%s", a, b), "harness", VFS_READ_ONLY);
    CHECK_VALUE(reader, "k0", 3000, 1);
    CHECK_IS(vfs_has(reader, "absent"), 0);
    CHECK_INT(listed_all(reader), 20);
    CHECK_INT(tier_stat(reader, 0).last_errno, code);
    CHECK(!(tier_stat(reader, 0).flags & VFS_TIER_USABLE));
    QUIET(vfs_close(reader));
    mend(a);
    CHECK_IS(vfs_has(s, "absent"), 0);
    CHECK_OK(put(s, "back", 3000, 2, 0));
    CHECK_INT(tier_of(s, "back"), 0);
    CHECK(tier_stat(s, 0).flags & VFS_TIER_USABLE);
    CHECK_VALUE(s, "k0", 3000, 1);
    CHECK_VALUE(s, "back", 3000, 2);
    QUIET(vfs_close(s));
    CHECK_NOTHING_LEFT(a);
    CHECK_NOTHING_LEFT(b);
}

static void make_dir(const char *a)
{
    unlink(a);
    SYS(mkdir(a, 0700));
}

static void missing(void)
{
    skipped_for(path_of("a"), dir_of("b"), ENOENT, make_dir);
}

static void a_file(void)
{
    const char *a = path_of("a");
    int fd = open(a, O_CREAT | O_WRONLY | O_CLOEXEC, 0600);
    SYS(fd);
    close(fd);
    skipped_for(a, dir_of("b"), ENOTDIR, make_dir);
}

static void dangling_link(void)
{
    const char *a = path_of("a");
    SYS(symlink("nowhere", a));
    skipped_for(a, dir_of("b"), ENOENT, make_dir);
}

static void allow(const char *a)
{
    (void)a;
    SYS(chmod(path_of("closed"), 0755));
}

/* A directory that this user may not enter; as root, in the shoes of somebody else. */
static void forbidden(void)
{
    int root = geteuid() == 0;
    if (root)
        public_scratch();
    if (root && !several_users()) {
        skipped("root is the only user here, and nothing is forbidden to it");
        return;
    }
    const char *closed = dir_of("closed"), *a = dir_of("closed/a"), *b = dir_of("b");
    if (root) {
        SYS(chown(closed, 65534, 65534));
        SYS(chmod(closed, 0));
        SYS(setresgid(65534, 65534, 65534));
        SYS(setresuid(65534, 65534, 65534));
    } else {
        SYS(chmod(closed, 0));
    }
    skipped_for(a, b, EACCES, allow);
}

/* ---- the same directory twice ---- */

static void twice(void)
{
    own_mounts();
    const char *a = tmpfs_of("a", "size=64k"), *b = dir_of("b"), *link = path_of("link"), *bound = dir_of("bound");
    SYS(symlink(a, link));
    SYS(mount(a, bound, "none", MS_BIND, NULL));
    vfs_t *s = open_logged(say("%s,%s,%s/.,%s,%s,%s", a, link, a, bound, b, b));
    CHECK(logged[VFS_LOG_INFO] >= 1);
    CHECK_OK(put(s, "up", 4096, 1, 0));
    CHECK_OK(put(s, "down", 128 << 10, 2, 0));
    CHECK_VALUE(s, "up", 4096, 1);
    CHECK_VALUE(s, "down", 128 << 10, 2);
    CHECK_INT(listed(s, "up"), 1);
    CHECK_INT(listed(s, "down"), 1);
    CHECK_INT(listed_all(s), 2);
    CHECK_STR(tier_stat(s, tier_of(s, "up")).dir, a);
    CHECK_STR(tier_stat(s, tier_of(s, "down")).dir, b);
    unsigned usable = 0;
    vfs_tier_stat_t stat = VFS_TIER_STAT_INIT;
    for (uint32_t i = 0; STATUS(vfs_tier_stat(s, i, &stat)) == VFS_OK; i++)
        usable += (stat.flags & VFS_TIER_USABLE) != 0;
    CHECK_INT(usable, 2);
    CHECK_IS(put(s, "up", 4096, 3, 0), VFS_ERR_EXISTS);
    CHECK_OK(put(s, "up", 4097, 3, VFS_REPLACE));
    CHECK_VALUE(s, "up", 4097, 3);
    CHECK_OK(vfs_remove(s, "up"));
    CHECK_ABSENT(s, "up");
    QUIET(vfs_close(s));
    CHECK_NOTHING_LEFT(a);
    CHECK_NOTHING_LEFT(b);
}

/* ---- limits of our own ---- */

static void max(void)
{
    const char *a = dir_of("a"), *b = dir_of("b");
    vfs_t *s = open_on(say("%s?max=100K,%s", a, b)), *other = open_on(say("%s,%s", a, b));
    CHECK_OK(put(s, "first", 60 << 10, 1, 0));
    CHECK_INT(tier_of(s, "first"), 0);
    CHECK_OK(put(s, "second", 60 << 10, 2, 0));
    CHECK_INT(tier_of(s, "second"), 1);
    CHECK_INT(tier_stat(s, 0).last_errno, EDQUOT);
    CHECK_INT(tier_stat(s, 0).bytes, 60 << 10);
    CHECK_OK(put(s, "exact", 40 << 10, 3, 0));
    CHECK_INT(tier_of(s, "exact"), 0);
    CHECK_OK(put(s, "byte", 1, 4, 0));
    CHECK_INT(tier_of(s, "byte"), 1);
    CHECK_OK(put(s, "empty", 0, 5, 0));
    CHECK_INT(tier_of(s, "empty"), 0);
    /* the limit is this handle's alone */
    CHECK_OK(put(other, "others", 200 << 10, 6, 0));
    CHECK_INT(tier_of(s, "others"), 0);
    /* its own removal counts at once */
    CHECK_OK(vfs_remove(s, "exact"));
    CHECK_OK(put(s, "exact", 40 << 10, 7, 0));
    CHECK_INT(tier_of(s, "exact"), 0);
    /* that of others is found out in time */
    CHECK_OK(vfs_remove(other, "first"));
    long long until = now_ms() + PATIENCE_MS;
    for (int i = 0;; i++) {
        CHECK_OK(put(s, say("try-%d", i), 60 << 10, 8, 0));
        if (tier_of(s, say("try-%d", i)) == 0)
            break;
        CHECK(now_ms() < until);
        CHECK_OK(vfs_remove(s, say("try-%d", i)));
        nap(50);
    }
    CHECK_INT(tier_stat(s, 0).bytes, 100 << 10);
    /* a stream that outgrows the limit moves on */
    CHECK_OK(vfs_remove(s, "exact"));
    vfs_writer_t *w = NULL;
    unsigned char *data = new_value(300 << 10, 9);
    CHECK_OK(vfs_create(s, "stream", 0, 0, &w));
    for (int i = 0; i < 30; i++)
        CHECK_OK(vfs_write(w, data + i * 10240, 10240));
    CHECK_OK(vfs_seal(w));
    free(data);
    CHECK_INT(tier_of(s, "stream"), 1);
    CHECK_VALUE(other, "stream", 300 << 10, 9);
    /* what is replaced no longer counts */
    for (int i = 0; i < 20; i++)
        CHECK_OK(put(s, "exact", (15 << 10) + (size_t)i, 10, VFS_REPLACE));
    CHECK_INT(tier_of(s, "exact"), 0);
    CHECK_VALUE(other, "exact", (15 << 10) + 19, 10);
    QUIET(vfs_close(s));
    /* memory has a limit too */
    s = open_on(say("memory?max=10K,%s", a));
    CHECK_OK(put(s, "m1", 8 << 10, 1, 0));
    CHECK_OK(put(s, "m2", 8 << 10, 2, 0));
    CHECK_INT(tier_of(s, "m1"), 0);
    CHECK_INT(tier_of(s, "m2"), 1);
    CHECK_VALUE(s, "m1", 8 << 10, 1);
    CHECK_OK(vfs_remove(s, "m1"));
    CHECK_OK(put(s, "m3", 10 << 10, 3, 0));
    CHECK_INT(tier_of(s, "m3"), 0);
    QUIET(vfs_close(s));
    /* nowhere within the limits */
    s = open_on(say("memory?max=10K,%s?max=20K", a));
    CHECK_IS(put(s, "k", 21 << 10, 1, 0), VFS_ERR_NO_SPACE);
    CHECK_SAYS("21504");
    CHECK_OK(put(s, "k", 20 << 10, 1, 0));
    QUIET(vfs_close(s));
    QUIET(vfs_close(other));
    CHECK_NOTHING_LEFT(a);
    CHECK_NOTHING_LEFT(b);
}

static void reserve_case(const char *a, const char *b, const char *settings, uint64_t keep)
{
    vfs_t *s = open_on(say("%s?%s,%s", a, settings, b));
    uint64_t room = free_bytes(a);
    CHECK(room > keep);
    CHECK_OK(put(s, "too-much", room - keep + 4096, 1, 0));
    CHECK_INT(tier_of(s, "too-much"), 1);
    CHECK_INT(tier_stat(s, 0).last_errno, ENOSPC);
    CHECK_OK(put(s, "most", (room - keep) / 2, 2, 0));
    CHECK_INT(tier_of(s, "most"), 0);
    CHECK(free_bytes(a) >= keep);
    /* a stream is stopped before it eats what is left to others */
    vfs_writer_t *w = NULL;
    size_t len = room;
    unsigned char *data = new_value(len, 3);
    CHECK_OK(vfs_create(s, "stream", 0, 0, &w));
    for (size_t at = 0; at < len; at += 32768) {
        CHECK_OK(vfs_write(w, data + at, len - at < 32768 ? len - at : 32768));
        CHECK(free_bytes(a) + 4096 >= keep);
    }
    void *more = NULL;
    CHECK_OK(vfs_reserve(w, 100, &more));
    memset(more, 0, 100);
    CHECK_OK(vfs_seal(w));
    CHECK_INT(tier_of(s, "stream"), 1);
    free(data);
    /* reserved memory neither */
    void *memory = NULL;
    CHECK_OK(vfs_create(s, "reserved", 0, 0, &w));
    CHECK_OK(vfs_reserve(w, room - keep, &memory));
    CHECK(free_bytes(a) + 4096 >= keep);
    value_at(memory, room - keep, 0, 4, room - keep);
    CHECK_OK(vfs_seal(w));
    CHECK_INT(tier_of(s, "reserved"), 1);
    CHECK_VALUE(s, "reserved", room - keep, 4);
    /* somebody else ate it already */
    const char *filler = fill_up(a, keep > 8192 ? keep - 8192 : 0);
    CHECK_OK(put(s, "crowded", 1, 5, 0));
    CHECK_INT(tier_of(s, "crowded"), 1);
    SYS(unlink(filler));
    CHECK_OK(put(s, "free-again", 1, 6, 0));
    CHECK_INT(tier_of(s, "free-again"), 0);
    QUIET(vfs_close(s));
    CHECK_INT(free_bytes(a), room);
}

static void reserve(void)
{
    own_mounts();
    const char *a = tmpfs_of("a", "size=1m"), *b = dir_of("b");
    reserve_case(a, b, "reserve=512K", 512 << 10);
    reserve_case(a, b, "reserve=50%", 512 << 10);
    reserve_case(a, b, "reserve=262144&max=16M", 256 << 10);
    reserve_case(a, b, "max=16M&reserve=25%", 256 << 10);
    vfs_t *s = open_on(say("%s?reserve=100%%,%s", a, b));
    CHECK_OK(put(s, "k", 1, 1, 0));
    CHECK_INT(tier_of(s, "k"), 1);
    QUIET(vfs_close(s));
    CHECK_NOTHING_LEFT(a);
    CHECK_NOTHING_LEFT(b);
}

/* ---- RLIMIT_FSIZE, whose signal kills ---- */

static void file_size(void)
{
    const char *a = dir_of("a"), *b = dir_of("b");
    struct rlimit limit;
    struct sigaction was, is;
    SYS(sigaction(SIGXFSZ, NULL, &was));
    vfs_t *s = open_on(say("%s,%s,memory", a, b)), *no_memory = open_on(say("%s,%s", a, b));
    SYS(getrlimit(RLIMIT_FSIZE, &limit));
    limit.rlim_cur = 64 << 10;
    SYS(setrlimit(RLIMIT_FSIZE, &limit));
    CHECK_OK(put(s, "fits", 64 << 10, 1, 0));
    CHECK_INT(tier_of(s, "fits"), 0);
    CHECK_OK(put(s, "one-more", (64 << 10) + 1, 2, 0));
    CHECK_INT(tier_of(s, "one-more"), 2);
    CHECK_INT(tier_stat(s, 0).last_errno, EFBIG);
    CHECK_IS(put(no_memory, "big", 128 << 10, 3, 0), VFS_ERR_NO_SPACE);
    CHECK_INT(vfs_last_errno(), EFBIG);
    CHECK_VALUE(s, "fits", 64 << 10, 1);
    CHECK_VALUE(s, "one-more", (64 << 10) + 1, 2);

    vfs_writer_t *w = NULL;
    unsigned char *data = new_value(200000, 4);
    CHECK_OK(vfs_create(s, "stream", 0, 0, &w));
    for (size_t at = 0; at < 200000; at += 1000)
        CHECK_OK(vfs_write(w, data + at, 1000));
    CHECK_OK(vfs_seal(w));
    CHECK_INT(tier_of(s, "stream"), 2);
    CHECK_VALUE(s, "stream", 200000, 4);

    void *room = NULL;
    CHECK_OK(vfs_create(s, "reserved", 0, 0, &w));
    CHECK_OK(vfs_write(w, data, 50000));
    CHECK_OK(vfs_reserve(w, 150000, &room));
    memcpy(room, data + 50000, 150000);
    CHECK_OK(vfs_seal(w));
    CHECK_VALUE(s, "reserved", 200000, 4);

    CHECK_OK(vfs_create(no_memory, "stuck", 0, 0, &w));
    CHECK_OK(vfs_write(w, data, 60000));
    CHECK_IS(vfs_write(w, data + 60000, 60000), VFS_ERR_NO_SPACE);
    CHECK_OK(vfs_write(w, data + 60000, 5536));
    CHECK_OK(vfs_seal(w));
    size_t len;
    unsigned char *got = malloc(70000);
    CHECK(got);
    CHECK_OK(vfs_read(no_memory, "stuck", 0, got, 70000, &len, NULL));
    CHECK_INT(len, 65536);
    CHECK(memcmp(got, data, len) == 0);
    free(got);
    free(data);
    limit.rlim_cur = limit.rlim_max;
    SYS(setrlimit(RLIMIT_FSIZE, &limit));
    CHECK_OK(put(no_memory, "big", 128 << 10, 3, 0));
    CHECK_INT(tier_of(no_memory, "big"), 0);
    SYS(sigaction(SIGXFSZ, NULL, &is));
    CHECK(was.sa_handler == is.sa_handler && is.sa_handler == SIG_DFL);
    QUIET(vfs_close(s));
    QUIET(vfs_close(no_memory));
    CHECK_NOTHING_LEFT(a);
    CHECK_NOTHING_LEFT(b);
}

/* Every call with every number of descriptors left, from none. */
enum { N_WRITE, N_WRITE_ON, N_RESERVE, N_SEAL, N_ABORT, N_REMOVE_OWNED, N_NEXT, N_TIER, N_HAS_NOT, N_REPLACE_DOWN, N_SHUTDOWN, N_CLOSE, N_CALLS };

static int32_t with_few(int which, vfs_t *s, vfs_writer_t *w, vfs_list_t *list)
{
    static unsigned char data[50000];
    const char *key, *keys[1] = {"k"};
    vfs_stat_t stat = VFS_STAT_INIT;
    vfs_tier_stat_t tier = VFS_TIER_STAT_INIT;
    void *room;
    switch (which) {
    case N_WRITE: return STATUS(vfs_write(w, data, 100));
    case N_WRITE_ON: return STATUS(vfs_write(w, data, sizeof data));
    case N_RESERVE: return STATUS(vfs_reserve(w, sizeof data, &room));
    case N_SEAL: return STATUS(vfs_seal(w));
    case N_ABORT: QUIET(vfs_abort(w)); return VFS_OK;
    case N_REMOVE_OWNED: return STATUS(vfs_remove_owned(s, keys, 1));
    case N_NEXT: return STATUS(vfs_list_next(list, &key, &stat));
    case N_TIER: return STATUS(vfs_tier_stat(s, 0, &tier));
    case N_HAS_NOT: return STATUS(vfs_has(s, "nobody"));
    case N_REPLACE_DOWN: return STATUS(vfs_store(s, "k", data, sizeof data, VFS_REPLACE));
    case N_SHUTDOWN: return STATUS(vfs_shutdown(s));
    default: QUIET(vfs_close(s)); return VFS_OK;
    }
}

static struct few {
    vfs_t *s;
    int number;
    _Atomic int *limits, *fine;
} few[8];

static void *few_in_thread(void *arg)
{
    struct few *me = arg;
    for (int i = 0; i < 40; i++) {
        char k[32];
        unsigned char got[4000];
        size_t len;
        snprintf(k, sizeof k, "t-%d", me->number);
        int32_t status = put(me->s, k, (size_t)(i % 2 ? 1000 : 30000), (uint64_t)i, VFS_REPLACE);
        if (status == VFS_OK)
            status = STATUS(vfs_read(me->s, k, 0, got, sizeof got, &len, NULL));
        if (status != VFS_OK && status != VFS_ERR_LIMIT)
            FAIL("thread %d of eight, few descriptors: %s: %s", me->number, status_name(status), vfs_last_error());
        atomic_fetch_add(status == VFS_OK ? me->fine : me->limits, 1);
    }
    return NULL;
}

static void few_descriptors(void)
{
    const char *a = dir_of("a"), *b = dir_of("b");
    struct rlimit limit, was;
    SYS(getrlimit(RLIMIT_NOFILE, &was));
    _Atomic int limits = 0, fine = 0;
    long points = 0;
    for (int which = 0; which < N_CALLS; which++) {
        for (int extra = 0; extra < 14; extra++, points++) {
            vfs_t *s = open_on(say("%s?max=20K,%s", a, b)), *other = open_on(say("%s,%s", a, b));
            vfs_writer_t *w = NULL;
            vfs_list_t *list = NULL;
            CHECK_OK(put(other, "bystander", 700, 2, 0));
            CHECK_OK(put(s, "k", 5000, 1, 0));
            CHECK_OK(vfs_create(s, "w", 0, 0, &w));
            CHECK_OK(vfs_write(w, "abc", 3));
            CHECK_OK(vfs_list_open(s, &list));
            int top = open("/", O_RDONLY | O_CLOEXEC);
            SYS(top);
            close(top);
            limit = was;
            limit.rlim_cur = (rlim_t)(top + extra);
            SYS(setrlimit(RLIMIT_NOFILE, &limit));
            int32_t status = with_few(which, s, w, list);
            SYS(setrlimit(RLIMIT_NOFILE, &was));
            if (status == VFS_ERR_LIMIT)
                limits++;
            else if (status == VFS_OK || (which == N_HAS_NOT && status == 0))
                fine++;
            else
                FAIL("call %d with room for %d descriptors: %s: %s", which, extra, status_name(status), vfs_last_error());
            CHECK_VALUE(other, "bystander", 700, 2);
            if (status != VFS_OK && which < N_SHUTDOWN) {
                CHECK_VALUE(other, "k", 5000, 1);
                CHECK_IS(vfs_has(other, "w"), 0);
                if (which != N_SEAL) /* and the same call works now */
                    CHECK(with_few(which, s, w, list) >= 0);
            }
            if (which != N_SEAL && which != N_ABORT)
                QUIET(vfs_abort(w));
            QUIET(vfs_list_close(list));
            if (which != N_CLOSE)
                QUIET(vfs_close(s));
            CHECK_OK(vfs_reap(other, NULL)); /* what could not be removed */
            CHECK_INT(listed_all(other), 1);
            QUIET(vfs_close(other));
        }
    }
    CHECK(limits >= 5 && fine >= 5);
    tell_points("few descriptors", points);
    /* eight threads share the few that are left */
    limits = fine = 0;
    vfs_t *s = open_on(say("%s?max=20K,%s", a, b));
    CHECK_OK(put(s, "bystander", 700, 2, 0));
    for (int extra = 0; extra < 16; extra += 3) {
        pthread_t threads[8];
        limit = was;
        limit.rlim_cur = (rlim_t)(descriptors() + 3 + (unsigned)extra);
        for (int i = 0; i < 8; i++) {
            few[i] = (struct few){s, i, &limits, &fine};
            CHECK_INT(pthread_create(&threads[i], NULL, few_in_thread, &few[i]), 0);
        }
        SYS(setrlimit(RLIMIT_NOFILE, &limit));
        for (int i = 0; i < 8; i++)
            CHECK_INT(pthread_join(threads[i], NULL), 0);
        SYS(setrlimit(RLIMIT_NOFILE, &was));
        CHECK_VALUE(s, "bystander", 700, 2);
        for (int i = 0; i < 8; i++) {
            char k[32];
            snprintf(k, sizeof k, "t-%d", i);
            CHECK_OK(put(s, k, 1234, 5, VFS_REPLACE));
            CHECK_VALUE(s, k, 1234, 5);
        }
    }
    CHECK(atomic_load(&fine) > 0);
    QUIET(vfs_close(s));
    CHECK_NOTHING_LEFT(a);
    CHECK_NOTHING_LEFT(b);
}

/* No file may have a byte: what is empty, and what lies elsewhere, is stored all the same. */
static void no_file_size(void)
{
    const char *a = dir_of("a"), *b = dir_of("b");
    vfs_t *s = open_on(say("%s,%s,memory", a, b)), *no_memory = open_on(say("%s,%s", a, b));
    CHECK_OK(put(no_memory, "kept", 3000, 1, 0));
    struct rlimit limit, was;
    SYS(getrlimit(RLIMIT_FSIZE, &was));
    limit = was;
    limit.rlim_cur = 0;
    SYS(setrlimit(RLIMIT_FSIZE, &limit));
    uint64_t files = print_of(scratch);
    vfs_writer_t *w = NULL;
    void *room = &w;
    CHECK_IS(put(no_memory, "k", 1, 2, 0), VFS_ERR_NO_SPACE);
    CHECK_IS(put(no_memory, "kept", 20, 2, VFS_REPLACE), VFS_ERR_NO_SPACE);
    CHECK_IS(put(no_memory, "k", 1, 2, VFS_PERSIST), VFS_ERR_NO_SPACE);
    CHECK_OK(vfs_create(no_memory, "k", 5, 0, &w));
    CHECK_IS(vfs_write(w, "abc", 3), VFS_ERR_NO_SPACE);
    CHECK_INT(vfs_last_errno(), EFBIG);
    int32_t status = STATUS(vfs_reserve(w, 10, &room)); /* private memory may be had, until it is written */
    CHECK(status == VFS_OK || status == VFS_ERR_NO_SPACE);
    CHECK_IS(vfs_seal(w), VFS_ERR_NO_SPACE);
    CHECK_INT(print_of(scratch), files);
    CHECK_VALUE(no_memory, "kept", 3000, 1);
    CHECK_OK(put(no_memory, "empty", 0, 2, 0)); /* in a store that was open, and in one that is opened now */
    CHECK_OK(put(s, "k", 100, 3, 0));
    CHECK_INT(tier_of(s, "k"), 2);
    vfs_t *fresh = open_as(say("%s,%s,memory", a, b), "fresh", 0);
    CHECK_OK(put(fresh, "k", 100, 3, 0));
    CHECK_INT(tier_of(fresh, "k"), 2);
    QUIET(vfs_close(fresh));
    CHECK_OK(vfs_remove(no_memory, "kept"));
    CHECK_OK(vfs_reap(no_memory, NULL));
    SYS(setrlimit(RLIMIT_FSIZE, &was));
    CHECK_OK(put(no_memory, "now", 100, 4, 0));
    QUIET(vfs_close(s));
    QUIET(vfs_close(no_memory));
    CHECK_NOTHING_LEFT(a);
    CHECK_NOTHING_LEFT(b);
}

/* ---- a tier that fills while eight processes store ---- */

enum { CROWD = 8, CROWD_TURNS = 150 };

static struct crowd {
    const char *tiers;
    uint64_t keep; /* what is to be left free on the first tier */
    _Atomic int turns, above, below, full;
} *crowd;

/* Stores, streams, replaces and removes what is its own, and looks at what the others have. */
static void in_crowd(void *arg)
{
    unsigned me = *(unsigned *)arg;
    vfs_t *s = open_on(crowd->tiers);
    static unsigned char got[128 << 10];
    for (unsigned turn = 0; turn < CROWD_TURNS; turn++) {
        unsigned pick = (turn * 7919 + me * 104729) % 97;
        size_t len = 16 + (size_t)(pick * 977) % (pick % 5 == 0 ? 100 << 10 : 12 << 10), head = len / 3;
        char k[32];
        snprintf(k, sizeof k, "k-%u-%u", me, turn % 9);
        uint32_t flags = VFS_REPLACE | (pick % 6 == 0 ? VFS_PERSIST : 0);
        int32_t status;
        vfs_stat_t before = VFS_STAT_INIT, after = VFS_STAT_INIT;
        int had = STATUS(vfs_stat(s, k, &before)) == VFS_OK;
        if (pick % 3 == 0) {
            unsigned char *data = new_value(len, turn);
            vfs_writer_t *w = NULL;
            void *room = NULL;
            status = STATUS(vfs_create(s, k, 0, flags, &w));
            if (status == VFS_OK)
                status = STATUS(vfs_write(w, data, head));
            if (status == VFS_OK)
                status = STATUS(vfs_reserve(w, len - head, &room));
            if (status == VFS_OK) {
                memcpy(room, data + head, len - head);
                status = STATUS(vfs_seal(w));
            } else {
                QUIET(vfs_abort(w));
            }
            free(data);
        } else {
            status = put(s, k, len, turn, flags);
        }
        if (status == VFS_OK) {
            CHECK_VALUE(s, k, len, turn);
            atomic_fetch_add(tier_of(s, k) == 0 ? &crowd->above : &crowd->below, 1);
        } else {
            CHECK_INT(status, VFS_ERR_NO_SPACE); /* and nothing has changed */
            atomic_fetch_add(&crowd->full, 1);
            CHECK_INT(STATUS(vfs_stat(s, k, &after)), had ? VFS_OK : VFS_ERR_NOT_FOUND);
            CHECK(!had || after.id == before.id);
        }
        for (unsigned other = 0; other < CROWD; other++) {
            size_t n = 0;
            if (STATUS(vfs_read(s, say("k-%u-%u", other, turn % 9), 0, got, sizeof got, &n, NULL)) == VFS_OK)
                CHECK(is_whole(got, n, NULL));
        }
        if (pick % 4 == 0 && STATUS(vfs_has(s, k)) == 1)
            CHECK_OK(vfs_remove(s, k));
        atomic_fetch_add(&crowd->turns, 1);
    }
    for (unsigned i = 0; i < 9; i++) { /* persistent ones too */
        int32_t status = STATUS(vfs_remove(s, say("k-%u-%u", me, i)));
        CHECK(status == VFS_OK || status == VFS_ERR_NOT_FOUND);
    }
    QUIET(vfs_close(s));
}

static void crowd_case(const char *a, const char *b, const char *settings, uint64_t keep, int second_fills)
{
    pid_t pids[CROWD];
    unsigned numbers[CROWD];
    char list[2 * PATH_MAX + 64];
    uint64_t room_a = free_bytes(a), room_b = free_bytes(b);
    snprintf(list, sizeof list, "%s%s,%s", a, settings, b);
    crowd = shared_memory(sizeof *crowd);
    crowd->tiers = list;
    crowd->keep = keep;
    for (unsigned i = 0; i < CROWD; i++) {
        numbers[i] = i;
        pids[i] = start_child(in_crowd, &numbers[i]);
    }
    /* somebody else fills it meanwhile, and makes room again, over and over */
    uint64_t least = UINT64_MAX;
    long long until = now_ms() + PATIENCE_MS; /* (one that failed never has its turns) */
    for (int round = 0; atomic_load(&crowd->turns) < CROWD * CROWD_TURNS * 3 / 4 && now_ms() < until; round++) {
        char hog[PATH_MAX];
        snprintf(hog, sizeof hog, "%s/hog", round % 3 == 2 && second_fills ? b : a);
        int fd = open(hog, O_WRONLY | O_CREAT | O_CLOEXEC, 0600);
        if (fd >= 0) { /* (there may be no room even for that) */
            static char block[64 << 10];
            for (int i = 0; i < 64 && keep == 0 && write(fd, block, sizeof block) > 0; i++) {
            }
            close(fd);
        }
        nap(3);
        least = free_bytes(a) < least ? free_bytes(a) : least;
        unlink(hog);
        nap(3);
    }
    JOIN_ALL(pids, CROWD);
    CHECK(atomic_load(&crowd->above) > 0 && atomic_load(&crowd->below) > 0);
    CHECK(!second_fills || atomic_load(&crowd->full) > 0);
    /* stores under way at a time may overrun it by what each of them is about to write */
    CHECK(keep == 0 || least + CROWD * (100 << 10) >= keep);
    vfs_t *s = open_on(list); /* reaps */
    CHECK_INT(listed_all(s), 0);
    CHECK_OK(put(s, "room-again", 20 << 10, 1, 0));
    CHECK_INT(tier_of(s, "room-again"), 0);
    QUIET(vfs_close(s));
    CHECK_INT(free_bytes(a), room_a);
    if (second_fills)
        CHECK_INT(free_bytes(b), room_b);
    CHECK_NOTHING_LEFT(a);
    CHECK_NOTHING_LEFT(b);
    SYS(munmap(crowd, sizeof *crowd));
}

static void the_crowd(void)
{
    own_mounts();
    const char *a = tmpfs_of("a", "size=256k"), *b = tmpfs_of("b", "size=384k"), *disk = dir_of("disk");
    const char *big = tmpfs_of("big", "size=4m"), *few = tmpfs_of("few", "size=1m,nr_inodes=24");
    const char *paths[] = {a, b, disk, big, few};
    for (int i = 0; i < 5; i++) { /* the skeleton stays, so what is free is compared with it there */
        vfs_t *s = open_on(paths[i]);
        QUIET(vfs_close(s));
    }
    crowd_case(a, disk, "", 0, 0);
    crowd_case(a, b, "", 0, 1);
    crowd_case(few, disk, "", 0, 0);
    crowd_case(big, disk, "?reserve=3M", 3 << 20, 0);
    crowd_case(big, disk, "?reserve=75%&max=150K", 3 << 20, 0);
}

/* ---- what the log hears ---- */

static void the_log(void)
{
    own_mounts();
    const char *a = tmpfs_of("a", "size=64k"), *b = dir_of("b");
    vfs_t *s = open_logged(say("%s,%s", a, b));
    CHECK_INT(logged[1] + logged[2] + logged[3], 0);
    log_store = s;
    CHECK_OK(put(s, "quiet", 4096, 1, 0));
    CHECK_INT(logged[1] + logged[2] + logged[3], 0);
    long long began = now_ms();
    char filler[PATH_MAX + 16];
    for (int round = 0; round < 5; round++) {
        snprintf(filler, sizeof filler, "%s", fill_up(a, 0));
        for (int i = 0; i < 20; i++)
            CHECK_OK(put(s, say("k-%d-%d", round, i), 8192, 1, 0));
        if (round == 0) {
            CHECK_INT(logged[VFS_LOG_WARNING], 1);
            CHECK(strstr(last_log, a) != NULL);
        }
        SYS(unlink(filler));
        CHECK_OK(put(s, say("back-%d", round), 4096, 1, 0));
        CHECK_INT(tier_of(s, say("back-%d", round)), 0);
        if (round == 0) {
            CHECK_INT(logged[VFS_LOG_INFO], 1);
            CHECK(strstr(last_log, a) != NULL);
        }
    }
    /* once in 10 s for a tier and direction, however often it changes */
    int allowed = 1 + (int)((now_ms() - began) / 10000);
    CHECK(logged[VFS_LOG_WARNING] <= allowed && logged[VFS_LOG_INFO] <= allowed);
    CHECK_INT(logged[VFS_LOG_ERROR], 0);
    vfs_writer_t *w = NULL;
    vfs_list_t *l = NULL;
    CHECK_OK(vfs_create(s, "late", 0, 0, &w));
    CHECK_OK(vfs_list_open(s, &l));
    log_store = NULL;
    int heard = logged[1] + logged[2] + logged[3];
    QUIET(vfs_close(s));
    CHECK_IS(vfs_write(w, "x", 1), VFS_ERR_SHUTDOWN);
    QUIET(vfs_abort(w));
    QUIET(vfs_list_close(l));
    CHECK_INT(logged[1] + logged[2] + logged[3], heard);
    CHECK_NOTHING_LEFT(a);
    CHECK_NOTHING_LEFT(b);
}

/* ---- no descriptors: the next tier would fail too ---- */

static void no_descriptors(void)
{
    const char *a = dir_of("a"), *b = dir_of("b");
    vfs_t *s = open_on(say("%s,%s", a, b));
    CHECK_OK(put(s, "k", 5000, 1, 0));
    struct rlimit limit, was;
    SYS(getrlimit(RLIMIT_NOFILE, &was));
    int limits = 0, fine = 0;
    uint64_t files = print_of(scratch);
    int top = open("/", O_RDONLY | O_CLOEXEC);
    SYS(top);
    close(top);
    for (int extra = 0; extra < 12; extra++) {
        limit = was;
        limit.rlim_cur = (rlim_t)(top + extra);
        unsigned char got[16];
        size_t len;
        vfs_stat_t stat = VFS_STAT_INIT;
        vfs_view_t view = {0};
        vfs_list_t *list = NULL;
        vfs_writer_t *w = NULL;
        vfs_t *h = NULL;
        vfs_options_t options = VFS_OPTIONS_INIT;
        options.tiers = a;
        options.name = "second";
        SYS(setrlimit(RLIMIT_NOFILE, &limit));
        int32_t results[10] = {
            STATUS(vfs_store(s, "new", "abc", 3, 0)),
            STATUS(vfs_store(s, "k", "abcd", 4, VFS_REPLACE | VFS_PERSIST)),
            STATUS(vfs_read(s, "k", 0, got, sizeof got, &len, NULL)),
            STATUS(vfs_stat(s, "k", &stat)),
            STATUS(vfs_map(s, "k", &view, NULL)),
            STATUS(vfs_list_open(s, &list)),
            STATUS(vfs_create(s, "w", 0, 0, &w)),
            STATUS(vfs_open(&options, &h)),
            STATUS(vfs_reap(s, NULL)),
            STATUS(vfs_remove(s, "k")),
        };
        SYS(setrlimit(RLIMIT_NOFILE, &was));
        for (int i = 0; i < 10; i++) {
            if (results[i] == VFS_OK)
                fine++;
            else if (results[i] == VFS_ERR_LIMIT)
                limits++;
            else if (!(results[i] == VFS_ERR_NOT_FOUND && i == 9))
                FAIL("with room for %d descriptors call %d said %s", extra, i, status_name(results[i]));
        }
        QUIET(vfs_unmap(&view));
        QUIET(vfs_list_close(list));
        QUIET(vfs_abort(w));
        QUIET(vfs_close(h));
        if (results[0] == VFS_OK)
            CHECK_OK(vfs_remove(s, "new"));
        else
            CHECK_ABSENT(s, "new");
        if (results[1] == VFS_OK && results[9] != VFS_OK) {
            CHECK_OK(vfs_read(s, "k", 0, got, sizeof got, &len, NULL));
            CHECK_INT(len, 4);
        }
        if (results[1] != VFS_OK && results[9] != VFS_OK) {
            CHECK_VALUE(s, "k", 5000, 1);
            CHECK_INT(print_of(scratch), files);
        }
        CHECK_OK(put(s, "k", 5000, 1, VFS_REPLACE));
        files = print_of(scratch);
    }
    CHECK(limits >= 5 && fine >= 5);
    CHECK_OK(put(s, "k", 5000, 2, VFS_REPLACE));
    CHECK_VALUE(s, "k", 5000, 2);
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
        {"bytes", bytes},         {"everywhere", everywhere}, {"inodes", inodes},       {"read-only", read_only_mount},
        {"missing", missing},     {"a-file", a_file},         {"link", dangling_link},  {"forbidden", forbidden},
        {"twice", twice},         {"max", max},               {"reserve", reserve},     {"file-size", file_size},
        {"log", the_log},         {"descriptors", no_descriptors},       {"no-file-size", no_file_size},
        {"crowd", the_crowd},     {"few-descriptors", few_descriptors},
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

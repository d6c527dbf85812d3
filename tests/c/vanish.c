/* The ground goes away between any two calls of the operating system that an operation makes.
 * `vanish SCRATCH OPERATION`; prints nothing, but "vanish SCRATCH count" tells how many points there are. */
#include "harness.h"

#include "between.h"
#include "operations.h"

static const char *A, *B;
static vfs_t *other;
static char own[PATH_MAX], base[PATH_MAX], away[PATH_MAX];

/* ---- what is lost ---- */

enum loss {
    OUR_DIRECTORY, THE_STORE, OBJECTS, OWNERS, ROOMS, LOCK_FILE, ONE_BLOB, ONE_LINK, MOVED_AWAY, FILE_INSTEAD, THE_TIER,
    BOTH_TIERS, LOSSES
};
static const char *const loss_names[] = {"our directory is deleted", "the store", "objects/", "owners/", "the rooms",
                                         "\\lock", "one blob's name", "one blob's link", "our directory is moved away",
                                         "a file lies in its place", "the tier's directory", "both tiers"};

static void delete_tree(const char *dir)
{
    try_remove_tree(dir);
}

static void each_room(void (*with)(const char *room))
{
    char path[PATH_MAX + 300];
    snprintf(path, sizeof path, "%s/owners", own);
    DIR *d = opendir(path);
    struct dirent *entry;
    while (d && (entry = readdir(d)))
        if (entry->d_name[0] != '.') {
            snprintf(path, sizeof path, "%s/owners/%s", own, entry->d_name);
            with(path);
        }
    if (d)
        closedir(d);
}

static void unlink_k(const char *room)
{
    unlink(say("%s/k", room));
    unlink(say("%s/\\1/k", room));
}

static void put_file(const char *path)
{
    int fd = open(path, O_CREAT | O_WRONLY | O_CLOEXEC, 0600);
    if (fd >= 0)
        close(fd);
}

static void lose(enum loss loss)
{
    switch (loss) {
    case OUR_DIRECTORY: delete_tree(base); break;
    case THE_STORE: delete_tree(own); break;
    case OBJECTS: delete_tree(say("%s/objects", own)); break;
    case OWNERS: delete_tree(say("%s/owners", own)); break;
    case ROOMS: each_room(delete_tree); break;
    case LOCK_FILE: unlink(say("%s/\\lock", base)); break;
    case ONE_BLOB: unlink(say("%s/objects/k", own)); break;
    case ONE_LINK: each_room(unlink_k); break;
    case MOVED_AWAY: rename(base, away); break;
    case FILE_INSTEAD:
        delete_tree(base);
        put_file(base);
        break;
    case THE_TIER: delete_tree(A); break;
    case BOTH_TIERS:
        delete_tree(base);
        delete_tree(own_tier_dir(B, geteuid()));
        break;
    case LOSSES: break;
    }
}

static void give_back(enum loss loss)
{
    if (loss == FILE_INSTEAD)
        unlink(base);
    if (loss == THE_TIER && mkdir(A, 0700) != 0)
        CHECK_INT(errno, EEXIST);
}

/* ---- one point ---- */

static enum loss loss;
static int calls, at;

static void meet(const char *name)
{
    (void)name;
    if (++calls == at)
        lose(loss);
}

static void allowed(int32_t status, const char *when)
{
    switch (status) {
    case VFS_OK:
    case 1: /* (vfs_has) */
    case VFS_ERR_NOT_FOUND:
    case VFS_ERR_IO:
    case VFS_ERR_PERMISSION: return;
    default: FAIL("%s: %s: %s", when, status_name(status), vfs_last_error());
    }
}

/* The operation, with the loss before its call number `n`; 0 once there is no such call. */
static int point(const struct operation *op, enum before before, enum loss what, int n)
{
    char when[300], got[LARGE];
    size_t len = 0;
    snprintf(when, sizeof when, "%s (of %d), %s before call %d", op->name, (int)before, loss_names[what], n);
    mode = when;
    s = open_on(tiers);
    other = open_on(tiers);
    vfs_t *lower = open_as(B, "harness", 0);
    CHECK_OK(put(other, "near", SMALL, 5, 0));
    CHECK_OK(put(lower, "below", SMALL, 6, 0));
    prepare_key(before, other);
    /* long-lived users */
    vfs_view_t view = {0};
    vfs_writer_t *w = NULL;
    vfs_list_t *list = NULL;
    CHECK_OK(vfs_map(other, "near", &view, NULL));
    CHECK_OK(vfs_create(other, "streamed", 0, 0, &w));
    CHECK_OK(vfs_write(w, small_data, 100));
    CHECK_OK(vfs_list_open(other, &list));

    loss = what;
    at = n;
    calls = 0;
    errno = ERRNO_MARK;
    before_call = meet;
    op->run();
    before_call = NULL;
    CHECK_INT(errno, ERRNO_MARK);
    int met = calls >= n;
    allowed(answer, when);
    if (!met && op->run != do_miss && op->run != do_list)
        CHECK_INT(answer, VFS_OK);

    /* whole, or not there; and what lies elsewhere is whole */
    int32_t status = STATUS(vfs_read(other, "k", 0, got, sizeof got, &len, NULL));
    allowed(status, when);
    if (status == VFS_OK)
        whole(got, len);
    if (what != BOTH_TIERS)
        CHECK_VALUE(other, "below", SMALL, 6);
    status = STATUS(vfs_read(other, "near", 0, got, sizeof got, &len, NULL));
    CHECK(status != VFS_OK || (len == SMALL && is_value_at(got, len, 0, 5, SMALL)));
    CHECK(is_value_at(view.data, view.len, 0, 5, SMALL));
    QUIET(vfs_unmap(&view));
    for (int i = 0; i < 10 && status != VFS_ERR_NOT_FOUND; i++) {
        const char *key = NULL;
        vfs_stat_t stat = VFS_STAT_INIT;
        status = STATUS(vfs_list_next(list, &key, &stat));
        allowed(status, when);
    }
    QUIET(vfs_list_close(list));
    status = STATUS(vfs_write(w, small_data + 100, SMALL - 100));
    allowed(status, when);
    status = STATUS(vfs_seal(w));
    allowed(status, when);
    status = STATUS(vfs_read(other, "streamed", 0, got, sizeof got, &len, NULL));
    CHECK(status != VFS_OK || (len == SMALL && is_value_at(got, len, 0, 2, SMALL)));

    /* the next calls work, on the first tier, seen by all */
    give_back(what);
    vfs_t *user = op->run == do_shutdown ? other : s, *fresh = open_on(tiers);
    CHECK_OK(put(user, "next", SMALL, 7, 0));
    CHECK_INT(tier_of(user, "next"), 0);
    CHECK_IS(put(fresh, "next", 10, 8, 0), VFS_ERR_EXISTS);
    CHECK_IS(vfs_has(other, "next"), 1);
    CHECK_VALUE(fresh, "next", SMALL, 7);
    CHECK_OK(put(fresh, "next", SMALL, 8, VFS_REPLACE));
    CHECK_IS(vfs_has(user, "next"), 1);
    CHECK_OK(vfs_remove(other, "next"));
    CHECK_IS(vfs_has(fresh, "next"), 0);
    CHECK_OK(vfs_reap(fresh, NULL));

    /* nothing is left, but a blob whose owner lost its link, which is persistent now */
    QUIET(vfs_close(s));
    QUIET(vfs_close(other));
    QUIET(vfs_close(lower));
    if (what == MOVED_AWAY)
        try_remove_tree(away);
    int unowned = what == OWNERS || what == ROOMS || what == ONE_LINK;
    static const char *const keys[] = {"k", "near", "streamed"};
    for (unsigned i = 0; i < 3; i++) {
        int32_t has = STATUS(vfs_has(fresh, keys[i]));
        if (has == 1 && (unowned || (i == 0 && (before == KEPT || op->run == do_persist))))
            CHECK_OK(vfs_remove(fresh, keys[i]));
        else
            CHECK_INT(has, 0);
    }
    QUIET(vfs_close(fresh));
    CHECK_NOTHING_LEFT(A);
    CHECK_NOTHING_LEFT(B);
    return met;
}

/* ---- a draft's file is deleted, and another thread begins a draft of the same key ---- */

static vfs_writer_t *second;

static void take_the_name(const char *name)
{
    /* (before others, this thread may hold what the new draft needs) */
    static const char *const met[] = {"pwrite64", "linkat", "renameat", "renameat2"};
    int known = 0;
    for (unsigned i = 0; i < sizeof met / sizeof met[0]; i++)
        known |= strcmp(name, met[i]) == 0;
    if (!known || ++calls != at)
        return;
    each_room(unlink_k);
    CHECK_OK(vfs_create(s, "k", 0, VFS_REPLACE, &second));
}

static void taken_names(void)
{
    static const uint32_t flags[] = {0, VFS_PERSIST, VFS_REPLACE, VFS_REPLACE | VFS_PERSIST};
    unsigned taken = 0;
    s = open_on(tiers);
    CHECK_OK(put(s, "warm", 10, 1, 0)); /* there is a room */
    for (unsigned i = 0; i < sizeof flags / sizeof flags[0]; i++) {
        for (at = 1, second = (vfs_writer_t *)s; second; at++) {
            if (flags[i] & VFS_REPLACE)
                CHECK_OK(put(s, "k", 700, 1, VFS_REPLACE));
            calls = 0;
            second = NULL;
            before_call = take_the_name;
            int32_t status = put(s, "k", 900, 2, flags[i]);
            before_call = NULL;
            /* What is told is so, and the other draft, which has no byte yet, is no blob. */
            if (status == VFS_OK)
                CHECK_VALUE(s, "k", 900, 2);
            else if (flags[i] & VFS_REPLACE)
                CHECK_VALUE(s, "k", 700, 1);
            else
                CHECK_ABSENT(s, "k");
            if (second) {
                taken++;
                CHECK_OK(vfs_write(second, "unfinished", 10));
                QUIET(vfs_abort(second));
                if (status == VFS_OK)
                    CHECK_VALUE(s, "k", 900, 2);
            }
            int32_t removed = STATUS(vfs_remove(s, "k"));
            CHECK(removed == VFS_OK || removed == VFS_ERR_NOT_FOUND);
        }
    }
    CHECK(taken >= 9);
    QUIET(vfs_close(s));
    CHECK_NOTHING_LEFT(A);
    CHECK_NOTHING_LEFT(B);
}

int main(int argc, char **argv)
{
    start(argc, argv);
    const char *wanted = mode;
    int points = 0, found = 0;
    if (try_own_mounts() == 0) /* for speed alone */
        mount_tmpfs(scratch, "size=64m");
    A = dir_of("a");
    B = dir_of("b");
    snprintf(tiers, sizeof tiers, "%s,%s", A, B);
    snprintf(base, sizeof base, "%s", own_tier_dir(A, geteuid()));
    CHECK(snprintf(own, sizeof own, "%s/harness", base) < (int)sizeof own);
    CHECK(snprintf(away, sizeof away, "%s/away", A) < (int)sizeof away);
    make_values();
    unsigned fds = descriptors();
    if (strcmp(wanted, "taken-names") == 0) {
        taken_names();
        return 0;
    }
    for (unsigned i = 0; i < sizeof operations / sizeof operations[0]; i++) {
        const struct operation *op = &operations[i];
        if (strcmp(wanted, op->name) != 0 && strcmp(wanted, "count") != 0)
            continue;
        found = 1;
        for (int before = 0; before < KINDS; before++)
            for (int what = 0; what < LOSSES && op->before & 1u << before; what++)
                for (int n = 1; point(op, (enum before)before, (enum loss)what, n); n++)
                    points++;
        CHECK_INT(descriptors(), fds);
    }
    CHECK(found && points > LOSSES * 2);
    if (strcmp(wanted, "count") == 0)
        printf("%d\n", points);
    return 0;
}

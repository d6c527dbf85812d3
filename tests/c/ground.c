/* The ground goes away: directories are deleted, covered or replaced under a running store. One MODE a case. */
#include "harness.h"

static const char *A, *B;
static char tiers[2 * PATH_MAX + 16];

static void two_tiers(void)
{
    A = dir_of("a");
    B = dir_of("b");
    snprintf(tiers, sizeof tiers, "%s,%s", A, B);
}

static void nothing_left(void)
{
    CHECK_NOTHING_LEFT(A);
    CHECK_NOTHING_LEFT(B);
}

static vfs_t *alone; /* a reader of the first tier alone, where a test has one */

static void look(void *arg)
{
    vfs_t *s = open_on(tiers);
    CHECK_VALUE(s, "new", 5000, *(int *)arg);
    CHECK_INT(tier_of(s, "new"), 0);
    CHECK_IS(put(s, "new", 10, 10, 0), VFS_ERR_EXISTS);
    QUIET(vfs_close(s));
}

/* After a loss: the store works, on the first tier, seen by others who come and by others who were there. */
static void check_works(vfs_t *s, vfs_t *other, int number)
{
    CHECK_OK(put(s, "new", 5000, (uint64_t)number, VFS_REPLACE));
    CHECK_INT(tier_of(s, "new"), 0);
    CHECK_VALUE(s, "new", 5000, number);
    CHECK_VALUE(other, "new", 5000, number);
    if (alone) /* who has but this tier, and never takes a lock, finds it too */
        CHECK_VALUE(alone, "new", 5000, number);
    JOIN(start_child(look, &number));
    CHECK_IS(put(other, "new", 10, 10, 0), VFS_ERR_EXISTS);
    CHECK_VALUE(s, "new", 5000, number); /* the child's reaping took nothing */
    CHECK_OK(put(other, "others", 300, 3, 0));
    CHECK_VALUE(s, "others", 300, 3);
    CHECK_OK(put(s, "others", 400, 4, VFS_REPLACE));
    CHECK_VALUE(other, "others", 400, 4);
    CHECK_INT(listed(s, "new"), 1);
    CHECK_OK(vfs_remove(other, "new"));
    CHECK_ABSENT(s, "new");
    CHECK_OK(vfs_remove(s, "others"));
    CHECK_ABSENT(other, "others");
}

static void deleted(void)
{
    two_tiers();
    unsigned fds = descriptors();
    vfs_t *s = open_on(tiers), *other = open_on(tiers), *idle = open_on(tiers);
    unsigned held = 0;
    alone = open_as(A, "harness", VFS_READ_ONLY);
    for (int i = 0; i < 12; i++) {
        vfs_view_t view = {0};
        CHECK_OK(put(s, "lost", 6000, (uint64_t)i, 0));
        CHECK_OK(put(s, "lost-kept", 6000, (uint64_t)i, VFS_PERSIST));
        CHECK_OK(vfs_map(s, "lost", &view, NULL));
        remove_tree(own_tier_dir(A, geteuid()));
        if (i % 3 == 0) { /* found out by a reader, a remover, or a storer */
            CHECK_ABSENT(s, "lost");
            CHECK_ABSENT(other, "lost-kept");
            CHECK_INT(listed_all(s), 0);
        } else if (i % 3 == 1) {
            CHECK_IS(vfs_remove(s, "lost"), VFS_ERR_NOT_FOUND);
            CHECK_OK(vfs_reap(other, NULL));
        }
        CHECK(is_value_at(view.data, view.len, 0, (uint64_t)i, 6000));
        QUIET(vfs_unmap(&view));
        check_works(s, other, i);
        CHECK_ABSENT(idle, "lost");
        if (i == 1)
            held = descriptors();
        if (i > 1)
            CHECK_INT(descriptors(), held);
    }
    QUIET(vfs_close(idle));
    QUIET(vfs_close(alone));
    QUIET(vfs_close(other));
    QUIET(vfs_close(s));
    CHECK_INT(descriptors(), fds);
    nothing_left();
}

/* Only a part is deleted: the objects, the rooms, one's own room, the lock file, the store. */
static void delete_part(int part)
{
    char own[PATH_MAX];
    snprintf(own, sizeof own, "%s", own_tier_dir(A, geteuid()));
    switch (part) {
    case 0: remove_tree(say("%s/harness/objects", own)); break;
    case 1: remove_tree(say("%s/harness/owners", own)); break;
    case 2: {
        DIR *d = opendir(say("%s/harness/owners", own));
        struct dirent *entry;
        CHECK(d != NULL);
        while ((entry = readdir(d)))
            if (entry->d_name[0] != '.')
                remove_tree(say("%s/harness/owners/%s", own, entry->d_name));
        closedir(d);
        break;
    }
    case 3: SYS(unlink(say("%s/\\lock", own))); break;
    case 4: remove_tree(say("%s/harness", own)); break;
    }
}

static void parts(void)
{
    two_tiers();
    for (int part = 0; part < 5; part++) {
        vfs_t *s = open_on(tiers), *other = open_on(tiers);
        for (int i = 0; i < 4; i++) {
            CHECK_OK(put(s, "old", 6000, 1, VFS_REPLACE));
            CHECK_OK(put(other, "old-too", 6000, 2, VFS_REPLACE));
            delete_part(part);
            if (part == 0 || part == 4) {
                CHECK_ABSENT(s, "old");
                CHECK_ABSENT(other, "old-too");
            } else {
                CHECK_VALUE(other, "old", 6000, 1);
                CHECK_VALUE(s, "old-too", 6000, 2);
            }
            check_works(i % 2 ? s : other, i % 2 ? other : s, i);
            vfs_t *later = open_on(tiers);
            if (part != 0 && part != 1 && part != 2 && part != 4)
                CHECK_VALUE(later, "old", 6000, 1);
            QUIET(vfs_close(later));
        }
        QUIET(vfs_close(s));
        QUIET(vfs_close(other));
        vfs_t *after = open_on(tiers); /* whoever lost the room that named its blob may have left its name */
        if (STATUS(vfs_has(after, "old")) == 1)
            CHECK_OK(vfs_remove(after, "old"));
        if (STATUS(vfs_has(after, "old-too")) == 1)
            CHECK_OK(vfs_remove(after, "old-too"));
        QUIET(vfs_close(after));
        nothing_left();
    }
}

/* A filesystem is mounted over the tier, and goes again. */
static void mounted(void)
{
    own_mounts();
    two_tiers();
    vfs_t *s = open_on(tiers), *other = open_on(tiers);
    alone = open_as(A, "harness", VFS_READ_ONLY);
    for (int i = 0; i < 4; i++) {
        vfs_view_t view = {0};
        CHECK_OK(put(s, "below", 5000, 1, VFS_REPLACE));
        CHECK_OK(put(s, "below-kept", 5000, 2, VFS_REPLACE | VFS_PERSIST));
        CHECK_OK(vfs_map(s, "below", &view, NULL));
        mount_tmpfs(A, "size=1m");
        check_works(i % 2 ? s : other, i % 2 ? other : s, i);
        CHECK_OK(put(s, "above", 5000, 3, 0));
        CHECK(is_value_at(view.data, view.len, 0, 1, 5000));
        QUIET(vfs_unmap(&view));
        SYS(umount2(A, MNT_DETACH));
        check_works(s, other, i);
        CHECK_VALUE(other, "below-kept", 5000, 2); /* uncovered again */
        CHECK_ABSENT(other, "above");
    }
    CHECK_OK(vfs_remove(s, "below-kept"));
    QUIET(vfs_close(alone));
    QUIET(vfs_close(other));
    QUIET(vfs_close(s));
    /* what an owner left below the mount is a dead owner's when it is uncovered */
    s = open_on(tiers);
    QUIET(vfs_close(s));
    nothing_left();
}

/* The tier's own directory goes, comes back, or becomes something else. */
static void tier(void)
{
    two_tiers();
    vfs_t *s = open_on(tiers), *other = open_on(tiers);
    for (int i = 0; i < 4; i++) {
        CHECK_OK(put(s, "lost", 5000, 1, VFS_REPLACE));
        CHECK_INT(tier_of(s, "lost"), 0);
        remove_tree(A);
        if (i == 1) {
            int fd = open(A, O_CREAT | O_WRONLY | O_CLOEXEC, 0600);
            SYS(fd);
            close(fd);
        } else if (i == 2) {
            SYS(symlink("nowhere", A));
        }
        CHECK_OK(put(s, "next", 5000, 2, VFS_REPLACE));
        CHECK_INT(tier_of(s, "next"), 1);
        CHECK_VALUE(other, "next", 5000, 2);
        CHECK(!(tier_stat(s, 0).flags & VFS_TIER_USABLE));
        if (i == 1 || i == 2)
            SYS(unlink(A));
        SYS(mkdir(A, 0700));
        check_works(s, other, i);
        CHECK(tier_stat(s, 0).flags & VFS_TIER_USABLE);
        CHECK_VALUE(other, "next", 5000, 2);
        CHECK_OK(vfs_remove(s, "next"));
    }
    /* our directory is replaced by what is not ours: the next tier serves */
    CHECK_OK(put(s, "lost", 5000, 1, VFS_REPLACE));
    remove_tree(own_tier_dir(A, geteuid()));
    SYS(symlink(B, own_tier_dir(A, geteuid())));
    unsigned before = entries_in(B);
    CHECK_OK(put(s, "safe", 5000, 1, 0));
    CHECK_INT(tier_of(s, "safe"), 1);
    CHECK_INT(entries_in(B), before);
    SYS(unlink(own_tier_dir(A, geteuid())));
    CHECK_OK(vfs_remove(s, "safe"));
    check_works(s, other, 9);
    /* moved away: found out by the first look that finds nothing */
    CHECK_OK(put(s, "moved", 5000, 1, 0));
    SYS(rename(own_tier_dir(A, geteuid()), say("%s/elsewhere", A)));
    CHECK_ABSENT(s, "nothing");
    CHECK_ABSENT(s, "moved");
    check_works(s, other, 10);
    QUIET(vfs_close(other));
    QUIET(vfs_close(s));
    remove_tree(say("%s/elsewhere", A));
    nothing_left();
}

/* A stream whose draft was deleted is published whole or fails; either way the store goes on. */
static void streams(void)
{
    two_tiers();
    vfs_t *s = open_on(tiers), *other = open_on(tiers);
    for (int i = 0; i < 12; i++) {
        vfs_writer_t *w = NULL;
        void *room = NULL;
        size_t len = 30000, head = 10000;
        unsigned char *data = new_value(len, (uint64_t)i);
        int32_t status = VFS_OK;
        CHECK_OK(vfs_create(s, "stream", 0, i % 3 == 2 ? VFS_PERSIST : 0, &w));
        CHECK_OK(vfs_write(w, data, head));
        if (i % 2) {
            CHECK_OK(vfs_reserve(w, len - head, &room));
            memcpy(room, data + head, 5000);
        }
        if (i % 4 < 2)
            remove_tree(own_tier_dir(A, geteuid()));
        else
            delete_part(1);
        if (i % 2)
            memcpy((char *)room + 5000, data + head + 5000, len - head - 5000);
        else
            status = STATUS(vfs_write(w, data + head, len - head));
        int32_t sealed = STATUS(vfs_seal(w));
        if (status == VFS_OK && sealed == VFS_OK) {
            CHECK_VALUE(other, "stream", len, i);
            CHECK_OK(vfs_remove(other, "stream"));
        } else {
            CHECK_ABSENT(s, "stream");
            CHECK_ABSENT(other, "stream");
        }
        free(data);
        check_works(s, other, i);
    }
    QUIET(vfs_close(other));
    QUIET(vfs_close(s));
    nothing_left();
}

/* On new ground an owner is alive, so others reap nothing of it; and dead when it is killed. */
static struct steps {
    _Atomic int child, parent;
} *steps;

static void owner(void *arg)
{
    (void)arg;
    vfs_t *s = open_on(tiers);
    CHECK_OK(put(s, "first", 5000, 1, 0));
    atomic_store(&steps->child, 1);
    AWAIT(&steps->parent, 1);
    CHECK_OK(put(s, "second", 5000, 2, 0));
    atomic_store(&steps->child, 2);
    sleep_for_ever();
}

static void alive(void)
{
    two_tiers();
    for (int part = 0; part < 6; part++) {
        steps = shared_memory(sizeof *steps);
        pid_t pid = start_child(owner, NULL);
        AWAIT(&steps->child, 1);
        if (part == 5)
            remove_tree(own_tier_dir(A, geteuid()));
        else
            delete_part(part);
        atomic_store(&steps->parent, 1);
        AWAIT(&steps->child, 2);
        vfs_t *s = open_on(tiers);
        CHECK_VALUE(s, "second", 5000, 2);
        CHECK_OK(vfs_reap(s, NULL));
        CHECK_VALUE(s, "second", 5000, 2);
        CHECK_INT(flags_of(s, "second"), 0);
        kill_child(pid);
        CHECK_OK(vfs_reap(s, NULL));
        CHECK_ABSENT(s, "second");
        if (STATUS(vfs_has(s, "first")) == 1) /* its room was deleted: its name was all that was left */
            CHECK_OK(vfs_remove(s, "first"));
        QUIET(vfs_close(s));
        nothing_left();
    }
}

/* Threads use the store all the while. Whatever they get, it is whole, and all is well when the ground is firm. */
static _Atomic int stop;

static void *in_thread(void *arg)
{
    vfs_t *s = arg;
    unsigned number = (unsigned)(uintptr_t)pthread_self() / 4096 % 1000, done = 0;
    unsigned char got[20000];
    for (unsigned i = 0; !atomic_load(&stop); i++) {
        const char *key = say("t-%u-%u", number, i % 3);
        size_t len = 16 + i * 331 % 19000;
        vfs_view_t view = {0};
        vfs_writer_t *w = NULL;
        done += put(s, key, len, i, VFS_REPLACE) == VFS_OK;
        int32_t status = STATUS(vfs_read(s, key, 0, got, sizeof got, &len, NULL));
        CHECK(status != VFS_OK || is_whole(got, len, NULL));
        status = STATUS(vfs_map(s, key, &view, NULL));
        CHECK(status != VFS_OK || is_whole(view.data, view.len, NULL));
        QUIET(vfs_unmap(&view));
        if (STATUS(vfs_create(s, key, 0, VFS_REPLACE, &w)) == VFS_OK) {
            value_at(got, 5000, 0, i, 5000);
            status = STATUS(vfs_write(w, got, 2000));
            if (status == VFS_OK)
                status = STATUS(vfs_write(w, got + 2000, 3000));
            if (status == VFS_OK)
                status = STATUS(vfs_seal(w));
            else
                QUIET(vfs_abort(w));
        }
        if (i % 4 == 0)
            status = STATUS(vfs_remove(s, key));
    }
    CHECK(done > 0);
    return NULL;
}

static void threads(void)
{
    two_tiers();
    unsigned fds = descriptors();
    vfs_t *s = open_on(tiers), *other = open_on(tiers);
    pthread_t threads[3];
    for (int i = 0; i < 3; i++)
        CHECK_INT(pthread_create(&threads[i], NULL, in_thread, s), 0);
    for (int i = 0; i < 60; i++) {
        /* removed as rm -rf does, while others make it anew: what cannot be removed now is left */
        char away[PATH_MAX];
        snprintf(away, sizeof away, "%s/away-%d", A, i);
        if (rename(own_tier_dir(A, geteuid()), away) == 0 && i % 2)
            try_remove_tree(away);
        CHECK_IS(vfs_has(other, "absent"), 0);
        nap(5);
    }
    atomic_store(&stop, 1);
    for (int i = 0; i < 3; i++)
        CHECK_INT(pthread_join(threads[i], NULL), 0);
    for (int i = 0; i < 60; i++)
        remove_tree(say("%s/away-%d", A, i));
    check_works(s, other, 1);
    QUIET(vfs_close(other));
    QUIET(vfs_close(s));
    CHECK_INT(descriptors(), fds);
    nothing_left();
}

/* ---- those who clean directories that nobody uses ---- */

static int clean(const char *config)
{
    return system(say("systemd-tmpfiles --clean '%s' >/dev/null 2>&1", config));
}

static void put_old_file(const char *path)
{
    int fd = open(path, O_CREAT | O_WRONLY | O_CLOEXEC, 0600);
    SYS(fd);
    close(fd);
}

static void aged(void)
{
    two_tiers();
    const char *config = path_of("clean.conf");
    put_old_file(config);
    SYS(put_text(config, say("e %s - - - 1s\n", A)));
    if (system("systemd-tmpfiles --version >/dev/null 2>&1") != 0) {
        skipped("no systemd-tmpfiles here");
        return;
    }
    /* one that stores, and then one that only reads: all is kept, though it is old */
    vfs_writer_t *w = NULL;
    vfs_t *s = open_on(tiers);
    CHECK_OK(put(s, "owned", 5000, 1, 0));
    CHECK_OK(put(s, "kept", 5000, 2, VFS_PERSIST));
    CHECK_OK(vfs_create(s, "streamed", 0, 0, &w));
    CHECK_OK(vfs_write(w, "abc", 3));
    for (int reads = 0; reads < 2; reads++) {
        SYS(mkdir(say("%s/stray", A), 0700));
        put_old_file(say("%s/stray/file", A));
        nap(2500);
        CHECK_INT(clean(config), 0);
        CHECK(access(say("%s/stray/file", A), F_OK) != 0); /* it did clean */
        rmdir(say("%s/stray", A));
        CHECK_VALUE(s, "kept", 5000, 2);
        CHECK(access(say("%s/\\lock", own_tier_dir(A, geteuid())), F_OK) == 0);
        if (reads == 0) {
            CHECK_VALUE(s, "owned", 5000, 1);
            CHECK_OK(vfs_seal(w));
            CHECK_INT(tier_of(s, "streamed"), 0);
            QUIET(vfs_close(s));
            s = open_as(tiers, "harness", VFS_READ_ONLY);
        }
    }
    QUIET(vfs_close(s));
    /* nobody uses it any more: it may go, and the next store makes it anew */
    nap(2500);
    CHECK_INT(clean(config), 0);
    CHECK(access(say("%s/harness/objects/kept", own_tier_dir(A, geteuid())), F_OK) != 0);
    s = open_on(tiers);
    CHECK_OK(put(s, "owned", 5000, 1, 0));
    CHECK_INT(tier_of(s, "owned"), 0);
    QUIET(vfs_close(s));
    nothing_left();
}

/* A cleaner looks at our directory just when a store is opened there. */
static void cleaner_first(void)
{
    two_tiers();
    vfs_t *keeper = open_on(tiers); /* a reader has nothing to keep where there is nothing */
    CHECK_OK(put(keeper, "kept", 100, 1, VFS_PERSIST));
    QUIET(vfs_close(keeper));
    for (int reads = 0; reads < 3; reads++) {
        int cleaner = open(own_tier_dir(A, geteuid()), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
        SYS(cleaner);
        SYS(flock(cleaner, LOCK_EX | LOCK_NB));
        vfs_t *s = open_as(reads == 2 ? A : tiers, "harness", reads ? VFS_READ_ONLY : 0);
        CHECK_INT(tier_stat(s, 0).flags & VFS_TIER_USABLE, VFS_TIER_USABLE);
        SYS(flock(cleaner, LOCK_UN));
        if (reads)
            CHECK_IS(vfs_has(s, "absent"), 0);
        else
            CHECK_OK(put(s, "k", 100, 1, 0));
        CHECK(flock(cleaner, LOCK_EX | LOCK_NB) != 0 && errno == EWOULDBLOCK);
        QUIET(vfs_close(s));
        SYS(flock(cleaner, LOCK_EX | LOCK_NB));
        close(cleaner);
    }
    keeper = open_on(tiers);
    CHECK_OK(vfs_remove(keeper, "kept"));
    QUIET(vfs_close(keeper));
    nothing_left();
}

/* ---- remounted, with users who stay ---- */

static void remounted(void)
{
    own_mounts();
    B = dir_of("b");
    A = tmpfs_of("a", "size=1m");
    snprintf(tiers, sizeof tiers, "%s,%s", A, B);
    vfs_t *s = open_on(tiers), *reader = open_as(tiers, "harness", VFS_READ_ONLY);
    vfs_view_t view = {0};
    vfs_writer_t *w = NULL;
    vfs_list_t *list = NULL;
    const char *key = NULL;
    vfs_stat_t stat = VFS_STAT_INIT;
    CHECK_OK(put(s, "near", 5000, 1, 0));
    CHECK_OK(put(s, "kept", 5000, 2, VFS_PERSIST));
    CHECK_OK(vfs_map(reader, "near", &view, NULL));
    CHECK_OK(vfs_list_open(s, &list));
    CHECK_OK(vfs_create(s, "streamed", 0, 0, &w));
    CHECK_OK(vfs_write(w, "abc", 3));
    /* the path leads to the same directory, which cannot be written there */
    SYS(mount(A, A, "none", MS_BIND, NULL));
    SYS(mount("none", A, "none", MS_REMOUNT | MS_BIND | MS_RDONLY, NULL));
    vfs_t *later = open_on(tiers);
    CHECK_VALUE(later, "near", 5000, 1);
    CHECK_VALUE(reader, "near", 5000, 1);
    CHECK_OK(put(later, "later", 300, 3, 0));
    CHECK_INT(tier_of(later, "later"), 1);
    CHECK_INT(tier_stat(later, 0).last_errno, EROFS);
    CHECK_IS(put(later, "near", 10, 1, 0), VFS_ERR_EXISTS);
    CHECK_IS(vfs_remove(later, "kept"), VFS_ERR_READ_ONLY);
    CHECK_IS(put(later, "kept", 10, 1, VFS_REPLACE), VFS_ERR_READ_ONLY);
    CHECK_VALUE(s, "kept", 5000, 2);
    CHECK_VALUE(s, "later", 300, 3);
    CHECK_IS(put(s, "later", 10, 1, 0), VFS_ERR_EXISTS);
    SYS(umount2(A, MNT_DETACH));
    CHECK_OK(put(later, "again", 300, 4, 0));
    CHECK_INT(tier_of(later, "again"), 0);
    CHECK_VALUE(s, "again", 300, 4);
    QUIET(vfs_close(later));
    /* remounted empty */
    SYS(umount2(A, MNT_DETACH));
    mount_tmpfs(A, "size=1m");
    later = open_on(tiers);
    check_works(s, later, 5);
    nap(1100); /* what is found is looked at once a second */
    CHECK_ABSENT(reader, "near");
    CHECK(is_value_at(view.data, view.len, 0, 1, 5000));
    QUIET(vfs_unmap(&view));
    for (int32_t status = VFS_OK; status != VFS_ERR_NOT_FOUND;)
        status = STATUS(vfs_list_next(list, &key, &stat));
    QUIET(vfs_list_close(list));
    CHECK_OK(vfs_write(w, "def", 3));
    CHECK_OK(vfs_seal(w));
    CHECK_INT(tier_of(later, "streamed"), 0);
    QUIET(vfs_close(later));
    CHECK_OK(put(s, "kept", 5000, 6, VFS_PERSIST));
    QUIET(vfs_close(s));
    /* the whole filesystem becomes read-only under a reader */
    CHECK_VALUE(reader, "kept", 5000, 6);
    SYS(mount("none", A, "none", MS_REMOUNT | MS_RDONLY, NULL));
    s = open_on(tiers);
    CHECK_VALUE(s, "kept", 5000, 6);
    CHECK_VALUE(reader, "kept", 5000, 6);
    CHECK_OK(put(s, "new", 300, 7, 0));
    CHECK_INT(tier_of(s, "new"), 1);
    CHECK_IS(vfs_remove(s, "kept"), VFS_ERR_READ_ONLY);
    SYS(mount("none", A, "none", MS_REMOUNT, NULL));
    CHECK_OK(vfs_remove(s, "kept"));
    CHECK_OK(put(s, "newer", 300, 7, 0));
    CHECK_INT(tier_of(s, "newer"), 0);
    QUIET(vfs_close(reader));
    QUIET(vfs_close(s));
    nothing_left();
}

int main(int argc, char **argv)
{
    static const struct {
        const char *name;
        void (*run)(void);
    } modes[] = {
        {"deleted", deleted}, {"parts", parts}, {"mounted", mounted}, {"tier", tier},
        {"streams", streams}, {"alive", alive}, {"threads", threads}, {"aged", aged},
        {"cleaner-first", cleaner_first}, {"remounted", remounted},
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

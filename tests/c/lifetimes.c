/* How long blobs live: owners that close, die, or are killed; persistent blobs; views and reads that outlive all of
 * it; reaping; and what a process holds meanwhile. One MODE a case. */
#include "harness.h"

static const char *A, *B;
static char tiers[2 * PATH_MAX + 16]; /* small blobs go to A, others to B */

struct steps {
    _Atomic int child, parent;
};
static struct steps *steps;

static void two_tiers(void)
{
    A = dir_of("a");
    B = dir_of("b");
    snprintf(tiers, sizeof tiers, "%s?max=20K,%s", A, B);
    steps = shared_memory(sizeof *steps);
}

static void nothing_left(void)
{
    CHECK_NOTHING_LEFT(A);
    CHECK_NOTHING_LEFT(B);
}

/* ---- an owner is killed ---- */

/* Stores on both tiers, keeps a blob for good, and is in the middle of streams. */
static void doomed_owner(void *arg)
{
    const char *name = arg;
    vfs_t *s = open_as(tiers, name, 0);
    vfs_writer_t *w = NULL;
    void *room = NULL;
    unsigned char *data = new_value(50000, 9);
    CHECK_OK(put(s, "small", 5000, 1, 0));
    CHECK_OK(put(s, "large", 50000, 2, 0));
    CHECK_OK(put(s, "empty", 0, 3, 0));
    CHECK_OK(put(s, "kept", 6000, 4, VFS_PERSIST));
    CHECK_OK(put(s, "kept-large", 60000, 5, VFS_PERSIST));
    CHECK_OK(put(s, "twice", 100, 6, 0));
    CHECK_OK(put(s, "twice", 200, 7, VFS_REPLACE));
    for (int i = 0; i < 6; i++) {
        CHECK_OK(vfs_create(s, say("stream-%d", i % 3), 0, i & 1 ? VFS_PERSIST | VFS_REPLACE : VFS_REPLACE, &w));
        CHECK_OK(vfs_write(w, data, i * 7000u));
    }
    CHECK_OK(vfs_create(s, "small", 0, VFS_REPLACE, &w));
    CHECK_OK(vfs_reserve(w, 30000, &room));
    memset(room, 5, 30000);
    free(data);
    atomic_fetch_add(&steps->child, 1);
    sleep_for_ever();
}

static void check_remains(vfs_t *s, uint32_t owner_flag)
{
    CHECK_VALUE(s, "small", 5000, 1);
    CHECK_VALUE(s, "large", 50000, 2);
    CHECK_VALUE(s, "empty", 0, 3);
    CHECK_VALUE(s, "twice", 200, 7);
    CHECK_VALUE(s, "kept", 6000, 4);
    CHECK_VALUE(s, "kept-large", 60000, 5);
    CHECK_INT(listed_all(s), 6);
    CHECK_INT(flags_of(s, "small"), owner_flag);
    CHECK_INT(flags_of(s, "large"), owner_flag);
    CHECK_INT(flags_of(s, "kept"), VFS_STAT_PERSISTENT);
    CHECK_INT(flags_of(s, "kept-large"), VFS_STAT_PERSISTENT);
}

static void check_reaped(vfs_t *s)
{
    CHECK_ABSENT(s, "small");
    CHECK_ABSENT(s, "large");
    CHECK_ABSENT(s, "empty");
    CHECK_ABSENT(s, "twice");
    for (int i = 0; i < 3; i++)
        CHECK_ABSENT(s, say("stream-%d", i));
    CHECK_VALUE(s, "kept", 6000, 4);
    CHECK_VALUE(s, "kept-large", 60000, 5);
    CHECK_INT(listed_all(s), 2);
}

static void remove_kept(vfs_t *s)
{
    CHECK_OK(vfs_remove(s, "kept"));
    CHECK_OK(vfs_remove(s, "kept-large"));
}

static void killed(void)
{
    two_tiers();
    vfs_t *s = open_on(tiers);
    pid_t child = start_child(doomed_owner, "harness");
    AWAIT(&steps->child, 1);
    uint64_t removed = 99;
    check_remains(s, 0);
    CHECK_OK(vfs_reap(s, &removed));
    CHECK_INT(removed, 0); /* it lives */
    CHECK_IS(put(s, "small", 10, 1, 0), VFS_ERR_EXISTS);
    kill_child(child);
    /* dead, but not yet reaped: still whole */
    check_remains(s, VFS_STAT_ORPHAN);
    vfs_t *reader = open_as(tiers, "harness", VFS_READ_ONLY);
    check_remains(reader, VFS_STAT_ORPHAN);
    CHECK_OK(vfs_reap(s, &removed));
    CHECK(removed >= 4);
    check_reaped(s);
    check_reaped(reader);
    QUIET(vfs_close(reader));
    CHECK_OK(vfs_reap(s, &removed));
    CHECK_INT(removed, 0);
    remove_kept(s);
    CHECK_OK(put(s, "small", 10, 1, 0));
    QUIET(vfs_close(s));
    nothing_left();
}

/* The next open reaps, of whatever store of this user on these tiers. */
static void killed_and_opened(void)
{
    two_tiers();
    for (int other = 0; other < 2; other++) {
        steps->child = 0;
        pid_t child = start_child(doomed_owner, other ? "another store" : "harness");
        AWAIT(&steps->child, 1);
        kill_child(child);
        vfs_t *s = open_on(tiers);
        vfs_t *reader = open_as(tiers, other ? "another store" : "harness", VFS_READ_ONLY);
        check_reaped(reader);
        QUIET(vfs_close(reader));
        QUIET(vfs_close(s));
        s = open_as(tiers, other ? "another store" : "harness", 0);
        remove_kept(s);
        QUIET(vfs_close(s));
        nothing_left();
    }
}

/* Killed at any moment, again and again, storing and streaming without end. */
static void busy_owner(void *arg)
{
    (void)arg;
    vfs_t *s = open_on(tiers);
    unsigned char *data = new_value(30000, 1);
    for (unsigned i = 0;; i++) {
        vfs_writer_t *w = NULL;
        if (i == 3)
            atomic_fetch_add(&steps->child, 1);
        CHECK_OK(put(s, say("b-%u", i % 7), 16 + i * 977 % 30000, i, VFS_REPLACE));
        CHECK_OK(vfs_create(s, say("w-%u", i % 3), 0, VFS_REPLACE, &w));
        CHECK_OK(vfs_write(w, data, 30000));
        if (i % 2)
            CHECK_OK(vfs_seal(w));
        else
            QUIET(vfs_abort(w));
        if (i % 5 == 4)
            CHECK_OK(vfs_remove(s, say("b-%u", (i - 1) % 7)));
    }
}

static void killed_anywhere(void)
{
    two_tiers();
    vfs_t *s = open_on(tiers);
    CHECK_OK(put(s, "bystander", 3000, 1, 0));
    CHECK_OK(put(s, "bystander-kept", 3000, 2, VFS_PERSIST));
    for (int i = 0; i < 40; i++) {
        steps->child = 0;
        pid_t child = start_child(busy_owner, NULL);
        AWAIT(&steps->child, 1);
        usleep((useconds_t)(i * 137 % 5000));
        kill_child(child);
        unsigned char got[30000];
        for (int k = 0; k < 7; k++) {
            size_t len;
            int32_t status = STATUS(vfs_read(s, say("b-%d", k), 0, got, sizeof got, &len, NULL));
            CHECK(status == VFS_ERR_NOT_FOUND || (status == VFS_OK && is_whole(got, len, NULL)));
        }
        CHECK_OK(vfs_reap(s, NULL));
        CHECK_INT(listed_all(s), 2);
        CHECK_VALUE(s, "bystander", 3000, 1);
        CHECK_VALUE(s, "bystander-kept", 3000, 2);
    }
    CHECK_OK(vfs_remove(s, "bystander-kept"));
    QUIET(vfs_close(s));
    nothing_left();
}

/* ---- readers ---- */

static void reading_child(void *arg)
{
    static vfs_t *s;
    static vfs_view_t view;
    s = open_on(tiers);
    CHECK_VALUE(s, "small", 5000, 1);
    CHECK_OK(vfs_map(s, "large", &view, NULL));
    atomic_fetch_add(&steps->child, 1);
    if (*(int *)arg == 0)
        sleep_for_ever();
    if (*(int *)arg == 1)
        exit(0); /* without closing */
    CHECK_OK(vfs_shutdown(s));
    QUIET(vfs_close(s));
}

static void readers(void)
{
    two_tiers();
    vfs_t *s = open_on(tiers);
    CHECK_OK(put(s, "small", 5000, 1, 0));
    CHECK_OK(put(s, "large", 50000, 2, 0));
    uint64_t files = print_of(scratch);
    for (int i = 0; i < 3; i++) {
        steps->child = 0;
        pid_t child = start_child(reading_child, &i);
        AWAIT(&steps->child, 1);
        if (i == 0)
            kill_child(child);
        else
            JOIN(child);
        CHECK_OK(vfs_reap(s, NULL));
        CHECK_VALUE(s, "small", 5000, 1);
        CHECK_VALUE(s, "large", 50000, 2);
        CHECK_INT(print_of(scratch), files);
    }
    QUIET(vfs_close(s));
    nothing_left();
}

/* ---- shutdown, close, remove_owned; two handles in one process ---- */

static void handles(void)
{
    two_tiers();
    unsigned fds = descriptors();
    vfs_t *one = open_on(tiers), *two = open_on(tiers);
    CHECK_OK(put(one, "ones", 1000, 1, 0));
    CHECK_OK(put(one, "ones-large", 30000, 2, 0));
    CHECK_OK(put(two, "twos", 1000, 3, 0));
    CHECK_OK(put(one, "kept", 1000, 4, VFS_PERSIST));
    CHECK_INT(flags_of(one, "ones"), VFS_STAT_OWNED);
    CHECK_INT(flags_of(two, "ones"), 0);
    CHECK_INT(flags_of(two, "twos"), VFS_STAT_OWNED);
    CHECK_INT(flags_of(two, "kept"), VFS_STAT_PERSISTENT);
    CHECK_IS(put(two, "ones", 5, 5, 0), VFS_ERR_EXISTS);

    /* who replaces owns */
    CHECK_OK(put(one, "taken", 500, 5, 0));
    CHECK_OK(put(two, "taken", 600, 6, VFS_REPLACE));
    CHECK_INT(flags_of(one, "taken"), 0);
    CHECK_INT(flags_of(two, "taken"), VFS_STAT_OWNED);
    CHECK_OK(put(two, "given", 500, 7, 0));
    CHECK_OK(put(one, "given", 700, 8, VFS_REPLACE | VFS_PERSIST));
    CHECK_INT(flags_of(two, "given"), VFS_STAT_PERSISTENT);
    CHECK_OK(put(two, "kept-no-more", 500, 7, VFS_PERSIST));
    CHECK_OK(put(one, "kept-no-more", 30000, 9, VFS_REPLACE));
    CHECK_INT(flags_of(one, "kept-no-more"), VFS_STAT_OWNED);
    CHECK_OK(put(one, "back", 10, 1, 0));
    CHECK_OK(put(two, "back", 11, 2, VFS_REPLACE));
    CHECK_OK(put(one, "back", 12, 3, VFS_REPLACE));
    CHECK_INT(flags_of(one, "back"), VFS_STAT_OWNED);

    const char *keys[] = {"twos", "taken", "given", "kept", "nobody's", "ones-large", "twos"};
    CHECK_OK(vfs_remove_owned(one, keys, 7));
    CHECK_ABSENT(two, "ones-large");
    CHECK_VALUE(one, "twos", 1000, 3);
    CHECK_VALUE(one, "taken", 600, 6);
    CHECK_VALUE(one, "given", 700, 8);
    CHECK_VALUE(one, "kept", 1000, 4);

    /* whoever owns it: removed by the other, and stored again by it */
    CHECK_OK(vfs_remove(two, "ones"));
    CHECK_ABSENT(one, "ones");
    CHECK_OK(put(two, "ones", 800, 10, 0));
    CHECK_OK(vfs_remove_owned(one, (const char *const[]){"ones"}, 1));
    CHECK_VALUE(one, "ones", 800, 10);

    vfs_list_t *list = NULL;
    CHECK_OK(vfs_list_open(one, &list));
    CHECK_OK(vfs_shutdown(one));
    CHECK_ABSENT(two, "kept-no-more");
    CHECK_ABSENT(two, "back");
    CHECK_VALUE(two, "ones", 800, 10);
    CHECK_VALUE(two, "taken", 600, 6);
    CHECK_VALUE(two, "given", 700, 8);
    CHECK_VALUE(two, "kept", 1000, 4);

    /* from then on */
    char byte;
    size_t len = 7;
    vfs_stat_t stat = VFS_STAT_INIT;
    vfs_view_t view = {0};
    vfs_writer_t *w = NULL;
    vfs_list_t *l = NULL;
    const char *key = NULL;
    CHECK_IS(put(one, "new", 5, 5, 0), VFS_ERR_SHUTDOWN);
    CHECK_IS(put(one, "twos", 5, 5, VFS_REPLACE | VFS_PERSIST), VFS_ERR_SHUTDOWN);
    CHECK_IS(vfs_read(one, "twos", 0, &byte, 1, &len, &stat), VFS_ERR_SHUTDOWN);
    CHECK_IS(vfs_has(one, "twos"), VFS_ERR_SHUTDOWN);
    CHECK_IS(vfs_stat(one, "twos", &stat), VFS_ERR_SHUTDOWN);
    CHECK_IS(vfs_map(one, "twos", &view, NULL), VFS_ERR_SHUTDOWN);
    CHECK_IS(vfs_remove(one, "twos"), VFS_ERR_SHUTDOWN);
    CHECK_IS(vfs_remove_owned(one, keys, 1), VFS_ERR_SHUTDOWN);
    CHECK_IS(vfs_create(one, "new", 0, 0, &w), VFS_ERR_SHUTDOWN);
    CHECK_IS(vfs_list_open(one, &l), VFS_ERR_SHUTDOWN);
    CHECK_IS(vfs_list_next(list, &key, &stat), VFS_ERR_SHUTDOWN);
    CHECK_IS(vfs_reap(one, NULL), VFS_ERR_SHUTDOWN);
    CHECK(len == 7 && !view.data && !w && !l && !key);
    QUIET(vfs_list_close(list));
    CHECK_OK(vfs_shutdown(one));
    QUIET(vfs_close(one));
    CHECK_VALUE(two, "twos", 1000, 3);
    CHECK_OK(vfs_remove(two, "given"));
    CHECK_OK(vfs_remove(two, "kept"));
    CHECK_OK(vfs_list_open(two, &list));
    QUIET(vfs_close(two));
    CHECK_IS(vfs_list_next(list, &key, &stat), VFS_ERR_SHUTDOWN);
    QUIET(vfs_list_close(list));
    CHECK_INT(descriptors(), fds);
    nothing_left();
}

/* ---- what you hold stays ---- */

/* Every order of: remove or replace, shutdown, close by the owner, close by the viewer. */
static void views(void)
{
    two_tiers();
    unsigned fds = descriptors();
    static const size_t sizes[] = {1, 5000, 60000};
    for (int order = 0; order < 24; order++) {
        int steps_of[4] = {0, 1, 2, 3}, rank = order;
        for (int i = 0; i < 3; i++) { /* the order-th permutation */
            int j = i + rank % (4 - i), t = steps_of[i];
            rank /= 4 - i;
            steps_of[i] = steps_of[j];
            steps_of[j] = t;
        }
        vfs_t *owner = open_on(tiers), *viewer = open_on(tiers), *memory = open_on("memory");
        vfs_view_t view[7];
        memset(view, 0, sizeof view);
        for (int i = 0; i < 3; i++) {
            CHECK_OK(put(owner, say("v%d", i), sizes[i], (uint64_t)i, 0));
            CHECK_OK(vfs_map(viewer, say("v%d", i), &view[i], NULL));
            CHECK_OK(vfs_map(owner, say("v%d", i), &view[3 + i], NULL));
        }
        CHECK_OK(put(memory, "m", 5000, 6, 0));
        CHECK_OK(vfs_map(memory, "m", &view[6], NULL));
        vfs_t *changer = open_on(tiers);
        for (int i = 0; i < 4; i++) {
            switch (steps_of[i]) {
            case 0:
                if (STATUS(vfs_has(changer, "v0")) == 1) {
                    CHECK_OK(vfs_remove(changer, "v0"));
                    CHECK_OK(put(changer, "v1", 5000, 77, VFS_REPLACE));
                    CHECK_OK(put(changer, "v2", 100, 77, VFS_REPLACE));
                }
                break;
            case 1:
                if (owner)
                    CHECK_OK(vfs_shutdown(owner));
                break;
            case 2:
                QUIET(vfs_close(owner));
                owner = NULL;
                QUIET(vfs_close(memory));
                break;
            case 3:
                QUIET(vfs_close(viewer));
                break;
            }
            for (int j = 0; j < 6; j++)
                CHECK(view[j].len == sizes[j % 3] && is_value_at(view[j].data, view[j].len, 0, (uint64_t)(j % 3), view[j].len));
            CHECK(is_value_at(view[6].data, 5000, 0, 6, 5000));
        }
        QUIET(vfs_close(changer));
        for (int j = 0; j < 7; j++)
            QUIET(vfs_unmap(&view[(j + order) % 7]));
        CHECK_INT(descriptors(), fds);
        nothing_left();
    }
    /* the owner is killed while its blob is shown */
    steps->child = 0;
    pid_t child = start_child(doomed_owner, "harness");
    AWAIT(&steps->child, 1);
    vfs_t *s = open_on(tiers);
    vfs_view_t view = {0};
    CHECK_OK(vfs_map(s, "large", &view, NULL));
    kill_child(child);
    CHECK_OK(vfs_reap(s, NULL));
    CHECK_ABSENT(s, "large");
    CHECK(is_value_at(view.data, view.len, 0, 2, 50000));
    remove_kept(s);
    QUIET(vfs_close(s));
    CHECK(is_value_at(view.data, view.len, 0, 2, 50000));
    QUIET(vfs_unmap(&view));
    nothing_left();
}

static void *unmap_in_thread(void *arg)
{
    QUIET(vfs_unmap(arg));
    return NULL;
}

static void *read_for_ever(void *arg)
{
    vfs_t *s = arg;
    unsigned char *buffer = malloc(1 << 20);
    CHECK(buffer);
    for (int i = 0; i < 400; i++) {
        size_t len = 0;
        vfs_view_t view = {0};
        int32_t status = STATUS(vfs_read(s, "big", 0, buffer, 1 << 20, &len, NULL));
        if (status == VFS_ERR_SHUTDOWN)
            break;
        CHECK(status == VFS_ERR_NOT_FOUND || (status == VFS_OK && len == 1 << 20 && is_whole(buffer, len, NULL)));
        status = STATUS(vfs_map(s, "big", &view, NULL));
        if (status == VFS_OK) {
            CHECK(is_whole(view.data, view.len, NULL));
            pthread_t thread; /* given back by another thread than it was taken by */
            CHECK_INT(pthread_create(&thread, NULL, unmap_in_thread, &view), 0);
            CHECK_INT(pthread_join(thread, NULL), 0);
        }
        atomic_fetch_add(&steps->child, 1);
    }
    free(buffer);
    return NULL;
}

/* Reads under way in threads, while the blob is removed, stored anew, and the handle shut down. */
static void reads(void)
{
    two_tiers();
    vfs_t *s = open_on(tiers), *other = open_on(tiers);
    pthread_t threads[2];
    for (int i = 0; i < 2; i++)
        CHECK_INT(pthread_create(&threads[i], NULL, read_for_ever, s), 0);
    for (int i = 0; i < 60; i++) {
        CHECK_OK(put(i % 2 ? s : other, "big", 1 << 20, (uint64_t)i, i % 3 ? VFS_REPLACE : 0));
        if (i % 3 == 2)
            CHECK_OK(vfs_remove(i % 2 ? other : s, "big"));
    }
    AWAIT(&steps->child, 10);
    CHECK_OK(vfs_shutdown(s));
    for (int i = 0; i < 2; i++)
        CHECK_INT(pthread_join(threads[i], NULL), 0);
    QUIET(vfs_close(s));
    QUIET(vfs_close(other));
    nothing_left();
}

/* A shutdown while other threads store: what they stored is removed, or they were told. */
struct storing {
    vfs_t *s;
    int number, stored;
};

static void *store_for_ever(void *arg)
{
    struct storing *me = arg;
    for (int i = 0;; i++) {
        vfs_writer_t *w = NULL;
        size_t len = 16 + (size_t)(i * 331 % 9000);
        int32_t status = put(me->s, say("t%d-%d", me->number, i), len, 1, i % 2 ? VFS_REPLACE : 0);
        if (status == VFS_OK && i % 3 == 0) {
            status = STATUS(vfs_create(me->s, say("t%d-%d", me->number, i), 0, VFS_REPLACE, &w));
            if (status == VFS_OK) {
                status = STATUS(vfs_write(w, "abc", 3));
                int32_t sealed = STATUS(vfs_seal(w));
                status = status == VFS_OK ? sealed : status;
            }
        }
        if (status != VFS_OK) {
            CHECK_INT(status, VFS_ERR_SHUTDOWN);
            return NULL;
        }
        me->stored++;
        atomic_fetch_add(&steps->child, 1);
    }
}

static void shutdown_amid(void)
{
    two_tiers();
    vfs_t *witness = open_on(tiers);
    for (int round = 0; round < 15; round++) {
        vfs_t *s = open_on(tiers);
        pthread_t threads[4];
        struct storing jobs[4];
        steps->child = 0;
        for (int i = 0; i < 4; i++) {
            jobs[i] = (struct storing){s, i, 0};
            CHECK_INT(pthread_create(&threads[i], NULL, store_for_ever, &jobs[i]), 0);
        }
        AWAIT(&steps->child, 10 + round * 5);
        CHECK_OK(vfs_shutdown(s));
        CHECK_INT(listed_all(witness), 0); /* nothing is there, though threads may still be in their calls */
        for (int i = 0; i < 4; i++)
            CHECK_INT(pthread_join(threads[i], NULL), 0);
        CHECK_INT(listed_all(witness), 0);
        QUIET(vfs_close(s));
        CHECK_NO_BLOBS_LEFT(A);
        CHECK_NO_BLOBS_LEFT(B);
    }
    QUIET(vfs_close(witness));
    nothing_left();
}

/* ---- what a process holds ---- */

static void holdings(void)
{
    two_tiers();
    unsigned fds = descriptors();
    vfs_t *s = open_on(tiers);
    CHECK_OK(put(s, "first", 5000, 1, 0));
    CHECK_OK(put(s, "first-large", 50000, 1, 0));
    unsigned with_blobs = descriptors();
    CHECK(with_blobs - fds <= 20);
    vfs_view_t views[50];
    memset(views, 0, sizeof views);
    for (int i = 0; i < 600; i++) {
        CHECK_OK(put(s, say("k%d", i), (size_t)i * 10, (uint64_t)i, i % 5 ? 0 : VFS_PERSIST));
        if (i >= 500)
            CHECK_OK(vfs_map(s, say("k%d", i), &views[i % 50], NULL));
        if (i >= 500)
            QUIET(vfs_unmap(&views[i % 50]));
    }
    for (int i = 0; i < 50; i++)
        CHECK_OK(vfs_map(s, say("k%d", i + 10), &views[i], NULL));
    CHECK_INT(descriptors(), with_blobs);
    CHECK_INT(listed_all(s), 602);
    CHECK_INT(threads_running(), 1);
    /* systemd-tmpfiles leaves a directory alone while somebody holds a lock on it */
    int dir = open(own_tier_dir(A, geteuid()), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    SYS(dir);
    CHECK(flock(dir, LOCK_EX | LOCK_NB) != 0 && errno == EWOULDBLOCK);
    for (int i = 0; i < 600; i += 5)
        CHECK_OK(vfs_remove(s, say("k%d", i)));
    QUIET(vfs_close(s));
    SYS(flock(dir, LOCK_EX | LOCK_NB));
    close(dir);
    for (int i = 0; i < 50; i++)
        QUIET(vfs_unmap(&views[i]));
    CHECK_INT(descriptors(), fds);
    nothing_left();

    /* opened and closed again and again; reading makes no room */
    for (int i = 0; i < 100; i++) {
        vfs_t *t = open_on(tiers);
        CHECK_ABSENT(t, "nothing");
        if (i == 50)
            CHECK_INT(entries_in(say("%s/harness/owners", own_tier_dir(A, geteuid()))), 0);
        QUIET(vfs_close(t));
        CHECK_INT(descriptors(), fds);
    }
    nothing_left();
}

/* An owner that ends without closing is as dead as one that is killed. */
static void leaving_owner(void *arg)
{
    static vfs_t *s;
    s = open_on(tiers);
    CHECK_OK(put(s, "left", 5000, 1, 0));
    CHECK_OK(put(s, "left-large", 50000, 1, 0));
    int how = *(int *)arg;
    if (how == 0)
        exit(0);
    if (how == 1)
        _exit(0);
    execl("/bin/true", "true", (char *)NULL);
    execl("/usr/bin/true", "true", (char *)NULL);
}

static void left(void)
{
    two_tiers();
    for (int how = 0; how < 3; how++) {
        JOIN(start_child(leaving_owner, &how));
        vfs_t *reader = open_as(tiers, "harness", VFS_READ_ONLY);
        CHECK_VALUE(reader, "left", 5000, 1);
        CHECK_VALUE(reader, "left-large", 50000, 1);
        vfs_t *s = open_on(tiers);
        CHECK_ABSENT(reader, "left");
        CHECK_ABSENT(reader, "left-large");
        QUIET(vfs_close(reader));
        QUIET(vfs_close(s));
        nothing_left();
    }
}

/* Reaping takes nothing of the living, however many look at once. */
static void reaping_child(void *arg)
{
    static vfs_t *shut[30];
    int number = *(int *)arg;
    for (int i = 0; i < 30; i++) {
        vfs_t *s = open_as(tiers, number % 2 ? "one" : "two", 0);
        const char *mine = say("mine-%d", number);
        CHECK_OK(put(s, mine, 3000, (uint64_t)i, 0));
        CHECK_OK(vfs_reap(s, NULL));
        CHECK_VALUE(s, mine, 3000, i);
        CHECK_OK(put(s, mine, 30000, (uint64_t)i, VFS_REPLACE));
        CHECK_OK(vfs_reap(s, NULL));
        CHECK_VALUE(s, mine, 30000, i);
        if (i % 3)
            QUIET(vfs_close(s));
        else
            CHECK_OK(vfs_shutdown(shut[i] = s)); /* and not closed: its room is gone all the same */
    }
}

static void reaped_by_many(void)
{
    two_tiers();
    for (int round = 0; round < 4; round++) {
        steps->child = 0;
        pid_t dead[3];
        for (int i = 0; i < 3; i++)
            dead[i] = start_child(doomed_owner, (void *)(i == 0 ? "zero" : i == 1 ? "one" : "three"));
        AWAIT(&steps->child, 3);
        for (int i = 0; i < 3; i++)
            kill_child(dead[i]);
        pid_t pids[4];
        int numbers[4] = {0, 1, 2, 3};
        for (int i = 0; i < 4; i++)
            pids[i] = start_child(reaping_child, &numbers[i]);
        JOIN_ALL(pids, 4);
        for (int i = 0; i < 3; i++) {
            vfs_t *s = open_as(tiers, i == 0 ? "zero" : i == 1 ? "one" : "three", 0);
            check_reaped(s);
            remove_kept(s);
            QUIET(vfs_close(s));
        }
        nothing_left();
    }
}

/* Whoever looks whether an owner lives holds its room shared for a moment, and for longer on a busy machine. Reapers wait
 * for that until the end of their patience, and not for one another: they gave up after 13 ms, and each held the room shared
 * while it waited. */
static void waiting_reaper(void *arg)
{
    (void)arg;
    vfs_t *s = open_on(tiers);
    atomic_fetch_add(&steps->child, 1);
    AWAIT(&steps->parent, 1);
    CHECK_OK(vfs_reap(s, NULL));
    QUIET(vfs_close(s));
}

static int look_at_room(const char *tier)
{
    const char *owners = say("%s/harness/owners", own_tier_dir(tier, geteuid()));
    struct dirent **names;
    int fd = -1;
    int count = scandir(owners, &names, NULL, NULL);
    for (int i = 0; i < count; i++) {
        if (names[i]->d_name[0] != '.')
            SYS(fd = open(say("%s/%s", owners, names[i]->d_name), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
        free(names[i]);
    }
    free(names);
    SYS(flock(fd, LOCK_SH | LOCK_NB));
    return fd;
}

static void reapers_wait(void)
{
    two_tiers();
    for (int round = 0; round < 3; round++) {
        pid_t pids[4];
        steps->child = steps->parent = 0;
        for (int i = 0; i < 4; i++)
            pids[i] = start_child(waiting_reaper, NULL);
        AWAIT(&steps->child, 4);
        pid_t dead = start_child(doomed_owner, (void *)"harness");
        AWAIT(&steps->child, 5);
        kill_child(dead);
        int looks[] = {look_at_room(A), look_at_room(B)};
        atomic_store(&steps->parent, 1);
        nap(150);
        for (int i = 0; i < 2; i++)
            SYS(close(looks[i]));
        JOIN_ALL(pids, 4);
        vfs_t *s = open_as(tiers, "harness", 0);
        check_reaped(s);
        remove_kept(s);
        QUIET(vfs_close(s));
        nothing_left();
    }
}

/* Two hundred start at once where dead owners' rooms lie: each opens, stores, reads and closes. */
static void starting(void *arg)
{
    int number = *(int *)arg;
    atomic_fetch_add(&steps->child, 1);
    AWAIT(&steps->parent, 1);
    vfs_t *s = open_on(tiers);
    const char *mine = say("mine-%d", number);
    CHECK_OK(put(s, mine, 500, (uint64_t)number, 0));
    /* one key that all want: where so many wait, some may wait in vain, and try again */
    int32_t status;
    long long until = now_ms() + PATIENCE_MS;
    do
        status = put(s, "last", 16, (uint64_t)number, VFS_REPLACE | VFS_PERSIST);
    while (status == VFS_ERR_BUSY && now_ms() < until);
    CHECK_INT(status, VFS_OK);
    CHECK_VALUE(s, "kept", 6000, 4);
    atomic_fetch_add(&steps->child, 1);
    AWAIT(&steps->child, 400); /* all have opened by now, and reaped */
    CHECK_VALUE(s, mine, 500, number);
    CHECK_IS(vfs_has(s, "small"), 0);
    QUIET(vfs_close(s));
}

static void start_storm(void)
{
    two_tiers();
    pid_t dead[8], pids[200];
    static int numbers[200];
    for (int i = 0; i < 8; i++) {
        steps->child = 0;
        dead[i] = start_child(doomed_owner, i ? (void *)(uintptr_t)say("store %d", i) : "harness");
        AWAIT(&steps->child, 1);
        kill_child(dead[i]);
    }
    steps->child = 0;
    for (int i = 0; i < 200; i++) {
        numbers[i] = i;
        pids[i] = start_child(starting, &numbers[i]);
    }
    AWAIT(&steps->child, 200);
    atomic_store(&steps->parent, 1);
    JOIN_ALL(pids, 200);
    /* whatever was left for want of patience, one reap takes */
    for (int i = 0; i < 8; i++) {
        vfs_t *s = open_as(tiers, i ? say("store %d", i) : "harness", 0);
        CHECK_OK(vfs_reap(s, NULL));
        if (i == 0)
            CHECK_OK(vfs_remove(s, "last"));
        check_reaped(s);
        remove_kept(s);
        QUIET(vfs_close(s));
    }
    nothing_left();
}

/* ---- many drafts of one key ---- */

enum { WRITERS = 40 };

static void *write_one_key(void *arg)
{
    vfs_t *s = arg;
    for (unsigned i = 0;; i++) {
        vfs_writer_t *w = NULL;
        int32_t status = STATUS(vfs_create(s, "k", 0, VFS_REPLACE, &w));
        CHECK_IS(status, VFS_OK);
        CHECK_OK(vfs_write(w, "some bytes", 10));
        if (i % 4)
            sched_yield();
        if ((i + (unsigned)(uintptr_t)pthread_self() / 4096) % 3)
            CHECK_OK(vfs_seal(w));
        else
            QUIET(vfs_abort(w));
        atomic_fetch_add(&steps->child, 1);
    }
    return NULL;
}

static void writers_of_one_key(void *arg)
{
    (void)arg;
    vfs_t *s = open_on(tiers);
    pthread_t threads[WRITERS];
    for (int i = 0; i < WRITERS; i++)
        CHECK_INT(pthread_create(&threads[i], NULL, write_one_key, s), 0);
    sleep_for_ever();
}

/* Overflow subdirectories come and go with the drafts of one key. Another process removes the key meanwhile, finds its
 * owner, and somebody deletes empty subdirectories. Killed at any moment, nothing of the owner is out of reach. */
static void many_drafts(void)
{
    two_tiers();
    for (int round = 0; round < 12; round++) {
        steps->child = 0;
        pid_t child = start_child(writers_of_one_key, NULL);
        vfs_t *s = open_on(tiers);
        AWAIT(&steps->child, WRITERS * 2);
        for (int i = 0; i < 30; i++) {
            int32_t status = STATUS(vfs_remove(s, "k"));
            CHECK(status == VFS_OK || status == VFS_ERR_NOT_FOUND || status == VFS_ERR_BUSY);
            vfs_stat_t stat = VFS_STAT_INIT;
            if (STATUS(vfs_stat(s, "k", &stat)) == VFS_OK)
                CHECK_INT(stat.flags & VFS_STAT_ORPHAN, 0);
            DIR *d = round % 2 ? opendir(say("%s/harness/owners", own_tier_dir(A, geteuid()))) : NULL;
            struct dirent *entry;
            while (d && (entry = readdir(d)))
                if (entry->d_name[0] != '.')
                    rmdir(say("%s/harness/owners/%s/\\%d", own_tier_dir(A, geteuid()), entry->d_name, 1 + i));
            if (d)
                closedir(d);
        }
        kill_child(child);
        vfs_stat_t stat = VFS_STAT_INIT;
        if (STATUS(vfs_stat(s, "k", &stat)) == VFS_OK)
            CHECK_INT(stat.flags & VFS_STAT_ORPHAN, VFS_STAT_ORPHAN);
        if (round % 3 == 0) {
            int32_t status = STATUS(vfs_remove(s, "k"));
            CHECK(status == VFS_OK || status == VFS_ERR_NOT_FOUND);
        }
        CHECK_OK(vfs_reap(s, NULL));
        CHECK_ABSENT(s, "k");
        QUIET(vfs_close(s));
        nothing_left();
    }
}

int main(int argc, char **argv)
{
    static const struct {
        const char *name;
        void (*run)(void);
    } modes[] = {
        {"killed", killed},         {"killed-and-opened", killed_and_opened}, {"killed-anywhere", killed_anywhere},
        {"readers", readers},       {"handles", handles},                     {"views", views},
        {"reads", reads},           {"shutdown-amid", shutdown_amid},         {"holdings", holdings},
        {"left", left},             {"reaped-by-many", reaped_by_many},            {"start-storm", start_storm},
        {"many-drafts", many_drafts}, {"reapers-wait", reapers_wait},
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

/* Blobs written in parts: they move on when their tier is full, unseen by the caller; reserved memory cannot fault.
 * One MODE a case. */
#include "harness.h"

static void write_all(vfs_writer_t *w, const unsigned char *data, size_t len, size_t piece)
{
    for (size_t at = 0; at < len; at += piece)
        CHECK_OK(vfs_write(w, data + at, len - at < piece ? len - at : piece));
}

/* Outgrows one tier, then two, in pieces of several sizes, with and without reserved memory in between. */
static void outgrow(void)
{
    own_mounts();
    const char *a = tmpfs_of("a", "size=64k"), *b = tmpfs_of("b", "size=256k"), *c = dir_of("c");
    vfs_t *s = open_on(say("%s,%s,%s", a, b, c)), *other = open_on(say("%s,%s,%s", a, b, c));
    uint64_t room_a = free_bytes(a), room_b = free_bytes(b);
    static const size_t lens[] = {1000, 60 << 10, 65 << 10, 200 << 10, 300 << 10, 1 << 20};
    static const size_t pieces[] = {1, 777, 4096, 50000, 1 << 20};
    for (unsigned i = 0; i < 6; i++) {
        size_t len = lens[i];
        unsigned char *data = new_value(len, i);
        for (unsigned j = 0; j < 5; j++) {
            size_t piece = pieces[j];
            if (len / piece > 70000)
                continue;
            for (int way = 0; way < 3; way++) {
                vfs_writer_t *w = NULL;
                CHECK_OK(vfs_create(s, "stream", 0, way == 2 ? VFS_PERSIST : 0, &w));
                for (size_t at = 0, n; at < len; at += n) {
                    n = len - at < piece ? len - at : piece;
                    void *room = NULL;
                    if (way && (at / piece) % 3 != 1) {
                        CHECK_OK(vfs_reserve(w, n, &room));
                        memcpy(room, data + at, n);
                    } else {
                        CHECK_OK(vfs_write(w, data + at, n));
                    }
                }
                CHECK_IS(vfs_has(other, "stream"), 0);
                CHECK_OK(vfs_seal(w));
                CHECK_VALUE(other, "stream", len, i);
                CHECK_INT(tier_of(s, "stream"), len <= 60 << 10 ? 0 : len <= 200 << 10 ? 1 : 2);
                CHECK_INT(listed(other, "stream"), 1);
                CHECK_OK(vfs_remove(other, "stream"));
                CHECK_INT(free_bytes(b), room_b);
            }
        }
        free(data);
    }
    vfs_tier_stat_t stat = tier_stat(s, 0);
    CHECK(stat.refused >= 1 && stat.last_errno == ENOSPC && stat.blobs == 0 && stat.bytes == 0);
    QUIET(vfs_close(other));
    QUIET(vfs_close(s));
    CHECK_INT(free_bytes(a), room_a);
    CHECK_INT(free_bytes(b), room_b);
    CHECK_NOTHING_LEFT(a);
    CHECK_NOTHING_LEFT(b);
    CHECK_NOTHING_LEFT(c);
}

/* To and from the memory tier. */
static void to_memory(void)
{
    own_mounts();
    const char *a = tmpfs_of("a", "size=64k"), *b = dir_of("b");
    unsigned char *data = new_value(300000, 5);
    vfs_writer_t *w = NULL;
    void *room = NULL;
    vfs_t *s = open_on(say("%s,memory", a));
    for (size_t piece = 1000; piece <= 300000; piece *= 6) {
        CHECK_OK(vfs_create(s, "k", 0, 0, &w));
        write_all(w, data, 300000, piece);
        CHECK_OK(vfs_seal(w));
        CHECK_INT(tier_of(s, "k"), 1);
        CHECK_VALUE(s, "k", 300000, 5);
        CHECK_OK(vfs_remove(s, "k"));
    }
    CHECK_OK(vfs_create(s, "k", 0, 0, &w));
    CHECK_OK(vfs_reserve(w, 200000, &room));
    memcpy(room, data, 200000);
    CHECK_OK(vfs_write(w, data + 200000, 1000));
    CHECK_OK(vfs_reserve(w, 99000, &room));
    memcpy(room, data + 201000, 99000);
    CHECK_OK(vfs_seal(w));
    CHECK_VALUE(s, "k", 300000, 5);
    QUIET(vfs_close(s));

    s = open_on(say("memory?max=100K,%s,%s", a, b));
    CHECK_OK(vfs_create(s, "k", 0, 0, &w));
    write_all(w, data, 300000, 1000);
    CHECK_OK(vfs_seal(w));
    CHECK_INT(tier_of(s, "k"), 2);
    CHECK_VALUE(s, "k", 300000, 5);
    CHECK_INT(tier_stat(s, 0).blobs, 0);
    CHECK_OK(vfs_remove(s, "k"));
    CHECK_OK(vfs_create(s, "k", 0, 0, &w));
    CHECK_OK(vfs_write(w, data, 50000));
    CHECK_OK(vfs_reserve(w, 250000, &room));
    memcpy(room, data + 50000, 250000);
    CHECK_OK(vfs_seal(w));
    CHECK_INT(tier_of(s, "k"), 2);
    CHECK_VALUE(s, "k", 300000, 5);
    QUIET(vfs_close(s));
    free(data);
    CHECK_NOTHING_LEFT(a);
    CHECK_NOTHING_LEFT(b);
}

/* Reserved memory is there: filling the filesystem afterwards takes nothing of it. */
static void no_fault(void)
{
    own_mounts();
    const char *a = tmpfs_of("a", "size=256k"), *b = dir_of("b");
    vfs_t *s = open_on(say("%s,%s", a, b));
    static const size_t heads[] = {0, 1, 4095, 4096, 10000};
    for (unsigned i = 0; i < 5; i++) {
        vfs_writer_t *w = NULL;
        void *one = NULL, *two = NULL;
        size_t head = heads[i], len = head + 100001 + 30000;
        unsigned char *data = new_value(len, i);
        CHECK_OK(vfs_create(s, "k", 0, 0, &w));
        CHECK_OK(vfs_write(w, data, head));
        CHECK_OK(vfs_reserve(w, 100001, &one));
        const char *filler = fill_up(a, 0);
        memcpy(one, data + head, 100001); /* would be SIGBUS */
        unlink(filler);
        CHECK_OK(vfs_reserve(w, 30000, &two));
        filler = fill_up(a, 0);
        memcpy(two, data + head + 100001, 30000);
        CHECK_OK(vfs_seal(w));
        CHECK_INT(tier_of(s, "k"), 0);
        CHECK_VALUE(s, "k", len, i);
        unlink(filler);
        /* on a full filesystem the memory comes from elsewhere */
        filler = fill_up(a, 0);
        CHECK_OK(vfs_create(s, "elsewhere", 0, 0, &w));
        CHECK_OK(vfs_write(w, data, head));
        CHECK_OK(vfs_reserve(w, len - head, &one));
        memcpy(one, data + head, len - head);
        CHECK_OK(vfs_seal(w));
        CHECK_INT(tier_of(s, "elsewhere"), 1);
        CHECK_VALUE(s, "elsewhere", len, i);
        unlink(filler);
        CHECK_OK(vfs_remove(s, "k"));
        CHECK_OK(vfs_remove(s, "elsewhere"));
        free(data);
    }
    /* reserved and given up */
    vfs_writer_t *w = NULL;
    void *room = NULL;
    uint64_t before = free_bytes(a);
    CHECK_OK(vfs_create(s, "k", 0, 0, &w));
    CHECK_OK(vfs_reserve(w, 100000, &room));
    QUIET(vfs_abort(w));
    CHECK_INT(free_bytes(a), before);
    /* far too much */
    CHECK_OK(vfs_create(s, "k", 0, 0, &w));
    CHECK_OK(vfs_write(w, "abc", 3));
    room = &w;
    int32_t status = STATUS(vfs_reserve(w, (size_t)1 << 46, &room));
    CHECK(status == VFS_ERR_NO_SPACE || status == VFS_ERR_NO_MEMORY);
    CHECK(room == &w);
    CHECK_OK(vfs_reserve(w, 0, &room));
    CHECK(room == NULL);
    CHECK_OK(vfs_write(w, "def", 3));
    CHECK_OK(vfs_seal(w));
    char got[8];
    size_t len;
    CHECK_OK(vfs_read(s, "k", 0, got, 8, &len, NULL));
    CHECK(len == 6 && memcmp(got, "abcdef", 6) == 0);
    QUIET(vfs_close(s));
    CHECK_NOTHING_LEFT(a);
    CHECK_NOTHING_LEFT(b);
}

static void hints(void)
{
    own_mounts();
    const char *a = tmpfs_of("a", "size=256k"), *b = tmpfs_of("b", "size=1m");
    vfs_t *s = open_on(say("%s,%s", a, b));
    static const struct {
        uint64_t hint;
        uint32_t tier;
    } cases[] = {{0, 0}, {1, 0}, {100 << 10, 0}, {512 << 10, 1}, {16 << 20, 0}, {UINT64_MAX, 0}};
    for (unsigned i = 0; i < 6; i++) {
        vfs_writer_t *w = NULL;
        CHECK_OK(vfs_create(s, "k", cases[i].hint, 0, &w));
        CHECK_OK(vfs_write(w, "abc", 3));
        CHECK_OK(vfs_seal(w));
        CHECK_INT(tier_of(s, "k"), cases[i].tier);
        CHECK_OK(vfs_remove(s, "k"));
    }
    /* a hint is a hint: more and less than it is fine */
    vfs_writer_t *w = NULL;
    unsigned char *data = new_value(400000, 1);
    CHECK_OK(vfs_create(s, "k", 10, 0, &w));
    write_all(w, data, 400000, 9999);
    CHECK_OK(vfs_seal(w));
    CHECK_VALUE(s, "k", 400000, 1);
    free(data);
    QUIET(vfs_close(s));
    CHECK_NOTHING_LEFT(a);
    CHECK_NOTHING_LEFT(b);
}

/* All tiers are full in mid-stream: nothing is appended, and the same call works when room returns. */
static void full_midway(void)
{
    own_mounts();
    const char *a = tmpfs_of("a", "size=128k"), *b = tmpfs_of("b", "size=256k");
    char filler_a[PATH_MAX + 16], filler_b[PATH_MAX + 16];
    vfs_t *s = open_on(say("%s,%s", a, b));
    unsigned char *data = new_value(200 << 10, 7);
    for (int way = 0; way < 3; way++) {
        vfs_writer_t *w = NULL;
        void *room = &w;
        size_t head = 50001;
        CHECK_OK(vfs_create(s, "k", 0, 0, &w));
        if (way == 2) {
            CHECK_OK(vfs_reserve(w, head, &room));
            memcpy(room, data, head);
        } else {
            CHECK_OK(vfs_write(w, data, head));
        }
        snprintf(filler_a, sizeof filler_a, "%s", fill_up(a, 0));
        snprintf(filler_b, sizeof filler_b, "%s", fill_up(b, 0));
        for (int again = 0; again < 3; again++) {
            room = &w;
            if (way == 1)
                CHECK_IS(vfs_reserve(w, 30000, &room), VFS_ERR_NO_SPACE);
            else
                CHECK_IS(vfs_write(w, data + head, 30000), VFS_ERR_NO_SPACE);
            CHECK(room == &w);
            CHECK_SAYS("wanted");
        }
        if (way == 1) { /* what fits is still taken */
            SYS(unlink(filler_a));
            CHECK_OK(vfs_reserve(w, 30000, &room));
            memcpy(room, data + head, 30000);
        } else {
            SYS(unlink(filler_b));
            CHECK_OK(vfs_write(w, data + head, 30000));
        }
        CHECK_OK(vfs_seal(w));
        unsigned char *got = malloc(200 << 10);
        CHECK(got);
        size_t len = 0;
        CHECK_OK(vfs_read(s, "k", 0, got, 200 << 10, &len, NULL));
        CHECK_INT(len, head + 30000);
        CHECK(memcmp(got, data, len) == 0);
        free(got);
        CHECK_INT(tier_of(s, "k"), way == 1 ? 0 : 1);
        CHECK_OK(vfs_remove(s, "k"));
        unlink(filler_a);
        unlink(filler_b);
    }
    /* a writer that is begun when all is full */
    vfs_writer_t *w = NULL;
    snprintf(filler_a, sizeof filler_a, "%s", fill_up(a, 0));
    fill_up(b, 0);
    CHECK_OK(vfs_create(s, "k", 0, 0, &w));
    CHECK_IS(vfs_write(w, data, 100), VFS_ERR_NO_SPACE);
    /* a part that fitted is given back, whoever it was that refused last */
    SYS(unlink(filler_a));
    snprintf(filler_a, sizeof filler_a, "%s", fill_up(a, 40960));
    uint64_t room_a = free_bytes(a);
    CHECK(room_a > 8192);
    CHECK_IS(vfs_write(w, data, 100000), VFS_ERR_NO_SPACE);
    CHECK_INT(free_bytes(a), room_a);
    SYS(unlink(filler_a));
    CHECK_OK(vfs_write(w, data, 100));
    CHECK_OK(vfs_seal(w));
    CHECK_INT(tier_of(s, "k"), 0);
    free(data);
    QUIET(vfs_close(s));
    CHECK_NOTHING_LEFT(a);
    CHECK_NOTHING_LEFT(b);
}

/* Room that returned above counts too: a draft that has moved down and outgrows its tier there moves up again. */
static void upward(void)
{
    own_mounts();
    const char *a = tmpfs_of("a", "size=256k"), *b = tmpfs_of("b", "size=256k");
    char filler_a[PATH_MAX + 16];
    vfs_t *s = open_on(say("%s,%s", a, b));
    unsigned char *data = new_value(90000, 7);
    for (int way = 0; way < 2; way++) {
        vfs_writer_t *w = NULL;
        void *room = NULL;
        snprintf(filler_a, sizeof filler_a, "%s", fill_up(a, 0));
        CHECK_OK(vfs_create(s, "k", 0, 0, &w));
        CHECK_OK(vfs_write(w, data, 40000));
        SYS(unlink(filler_a));
        const char *filler_b = fill_up(b, 0);
        if (way) {
            CHECK_OK(vfs_reserve(w, 50000, &room));
            memcpy(room, data + 40000, 50000);
        } else {
            CHECK_OK(vfs_write(w, data + 40000, 50000));
        }
        CHECK_OK(vfs_seal(w));
        CHECK_INT(tier_of(s, "k"), 0);
        CHECK_VALUE(s, "k", 90000, 7);
        CHECK_OK(vfs_remove(s, "k"));
        SYS(unlink(filler_b));
    }
    free(data);
    QUIET(vfs_close(s));
    CHECK_NOTHING_LEFT(a);
    CHECK_NOTHING_LEFT(b);
}

/* The ends of a writer: sealed, refused, given up, and the store gone before it. */
static void ends(void)
{
    const char *a = dir_of("a");
    for (int memory = 0; memory < 2; memory++) {
        const char *tiers = memory ? "memory" : a;
        vfs_t *s = open_on(tiers);
        vfs_writer_t *w = NULL, *v = NULL;
        CHECK_OK(put(s, "old", 1000, 1, 0));
        /* an existing key: told at once, or by seal */
        int32_t status = STATUS(vfs_create(s, "old", 0, 0, &w));
        if (status == VFS_OK) {
            CHECK_OK(vfs_write(w, "x", 1));
            CHECK_IS(vfs_seal(w), VFS_ERR_EXISTS);
        } else {
            CHECK_INT(status, VFS_ERR_EXISTS);
            CHECK(w == NULL);
        }
        CHECK_VALUE(s, "old", 1000, 1);
        /* two writers of one key: the first to seal has it */
        CHECK_OK(vfs_create(s, "k", 0, 0, &w));
        CHECK_OK(vfs_create(s, "k", 0, 0, &v));
        CHECK_OK(vfs_write(w, "www", 3));
        CHECK_OK(vfs_write(v, "vv", 2));
        CHECK_OK(vfs_seal(v));
        CHECK_IS(vfs_seal(w), VFS_ERR_EXISTS);
        char got[8];
        size_t len;
        CHECK_OK(vfs_read(s, "k", 0, got, 8, &len, NULL));
        CHECK(len == 2 && got[0] == 'v');
        /* two replacing writers: the last to seal has it */
        CHECK_OK(vfs_create(s, "k", 0, VFS_REPLACE, &w));
        CHECK_OK(vfs_create(s, "k", 0, VFS_REPLACE | VFS_PERSIST, &v));
        CHECK_OK(vfs_write(w, "wwww", 4));
        CHECK_OK(vfs_write(v, "vvvvv", 5));
        CHECK_OK(vfs_read(s, "k", 0, got, 8, &len, NULL));
        CHECK_INT(len, 2);
        CHECK_OK(vfs_seal(v));
        CHECK_OK(vfs_seal(w));
        CHECK_OK(vfs_read(s, "k", 0, got, 8, &len, NULL));
        CHECK(len == 4 && got[0] == 'w');
        CHECK_INT(flags_of(s, "k"), VFS_STAT_OWNED);
        CHECK_INT(listed(s, "k"), 1);
        /* one that replaces while the key is removed, stored and replaced */
        CHECK_OK(vfs_create(s, "k", 0, VFS_REPLACE, &w));
        CHECK_OK(vfs_write(w, "w", 1));
        CHECK_OK(vfs_remove(s, "k"));
        CHECK_ABSENT(s, "k");
        CHECK_OK(put(s, "k", 500, 5, 0));
        CHECK_OK(put(s, "k", 600, 6, VFS_REPLACE));
        CHECK_OK(vfs_seal(w));
        CHECK_OK(vfs_read(s, "k", 0, got, 8, &len, NULL));
        CHECK_INT(len, 1);
        CHECK_OK(vfs_remove(s, "k"));
        /* never written to: an empty blob */
        CHECK_OK(vfs_create(s, "empty", 0, 0, &w));
        CHECK_OK(vfs_seal(w));
        CHECK_VALUE(s, "empty", 0, 0);
        /* given up */
        uint64_t files = print_of(scratch);
        for (int i = 0; i < 4; i++) {
            void *room = NULL;
            CHECK_OK(vfs_create(s, "gone", i == 3 ? 100 : 0, i & 1 ? VFS_PERSIST : 0, &w));
            if (i > 0)
                CHECK_OK(vfs_write(w, "abc", 3));
            if (i > 1)
                CHECK_OK(vfs_reserve(w, 5000, &room));
            QUIET(vfs_abort(w));
            CHECK_ABSENT(s, "gone");
            CHECK_INT(print_of(scratch), files);
        }
        /* after shutdown, after close */
        unsigned fds = descriptors();
        for (int closed = 0; closed < 2; closed++) {
            vfs_t *t = open_on(tiers);
            vfs_writer_t *four[4];
            for (int i = 0; i < 4; i++) {
                CHECK_OK(vfs_create(t, say("four-%d", i), 0, i & 1 ? VFS_PERSIST : 0, &four[i]));
                CHECK_OK(vfs_write(four[i], "abc", 3));
            }
            void *room = NULL;
            CHECK_OK(vfs_reserve(four[2], 10000, &room));
            memset(room, 1, 10000);
            if (closed)
                QUIET(vfs_close(t));
            else
                CHECK_OK(vfs_shutdown(t));
            memset(room, 2, 10000); /* good until the next call on that writer */
            CHECK_IS(vfs_write(four[0], "def", 3), VFS_ERR_SHUTDOWN);
            room = four;
            CHECK_IS(vfs_reserve(four[1], 3, &room), VFS_ERR_SHUTDOWN);
            CHECK(room == four);
            CHECK_IS(vfs_seal(four[0]), VFS_ERR_SHUTDOWN);
            CHECK_IS(vfs_seal(four[1]), VFS_ERR_SHUTDOWN);
            CHECK_IS(vfs_seal(four[2]), VFS_ERR_SHUTDOWN);
            QUIET(vfs_abort(four[3]));
            for (int i = 0; i < 4; i++)
                CHECK_ABSENT(s, say("four-%d", i));
            if (!closed)
                QUIET(vfs_close(t));
        }
        CHECK_INT(descriptors(), fds);
        CHECK_INT(print_of(scratch), files);
        QUIET(vfs_close(s));
        CHECK_NOTHING_LEFT(a);
    }
}

struct job {
    vfs_t *s;
    int number;
};

static void *one_thread(void *arg)
{
    struct job *job = arg;
    for (int round = 0; round < 25; round++) {
        size_t len = (size_t)(round * 7919 + job->number * 1009) % 150000;
        uint64_t seed = (uint64_t)(round * 100 + job->number);
        unsigned char *data = new_value(len, seed);
        vfs_writer_t *w = NULL;
        const char *key = say("thread-%d-%d", job->number, round);
        CHECK_OK(vfs_create(job->s, key, round % 2 ? len : 0, 0, &w));
        write_all(w, data, len, 10007);
        CHECK_OK(vfs_seal(w));
        CHECK_VALUE(job->s, key, len, seed);
        free(data);
        if (round >= 2)
            CHECK_OK(vfs_remove(job->s, say("thread-%d-%d", job->number, round - 2)));
    }
    return NULL;
}

/* Threads that stream at once over tiers that are full now and then. */
static void in_threads(void)
{
    own_mounts();
    const char *a = tmpfs_of("a", "size=512k"), *b = dir_of("b");
    vfs_t *s = open_on(say("%s,%s", a, b));
    pthread_t threads[6];
    struct job jobs[6];
    for (int i = 0; i < 6; i++) {
        jobs[i] = (struct job){s, i};
        CHECK_INT(pthread_create(&threads[i], NULL, one_thread, &jobs[i]), 0);
    }
    for (int i = 0; i < 6; i++)
        CHECK_INT(pthread_join(threads[i], NULL), 0);
    CHECK_INT(listed_all(s), 12);
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
        {"outgrow", outgrow}, {"memory", to_memory},         {"no-fault", no_fault}, {"hints", hints},
        {"ends", ends},       {"full-midway", full_midway}, {"upward", upward},
        {"threads", in_threads},
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

/* What is refused: NULL everywhere, bad keys and names, unknown flags, bad tier lists, structs of other sizes.
 * Each refusal has its code and a sentence, writes no output, and changes nothing. */
#include "harness.h"

static const char *A, *B;

/* A refusal: the code, a sentence, and the files as they were. */
static uint64_t before;
#define REFUSED(call, code)                                                                                            \
    do {                                                                                                               \
        CHECK_IS(call, code);                                                                                          \
        CHECK(vfs_last_error()[0] != 0);                                                                               \
        if (print_of(scratch) != before)                                                                               \
            FAIL("%s was refused, but changed the files", #call);                                                      \
    } while (0)

static const char *const BAD_KEYS[] = {"", ".", "..", "/", "a/b", "/a", "a/", "../x", "\\", "\\1", "a\\b", "a\nb", "\x01",
                                       "\x1F", "a\x7F", "\x7F", "\t"};
enum { N_BAD_KEYS = sizeof BAD_KEYS / sizeof BAD_KEYS[0] };

static void bad_keys(vfs_t *s)
{
    char long_key[257], longer[5000];
    memset(long_key, 'k', 256);
    long_key[256] = 0;
    memset(longer, 'k', sizeof longer - 1);
    longer[sizeof longer - 1] = 0;
    for (unsigned i = 0; i < N_BAD_KEYS + 2; i++) {
        const char *key = i < N_BAD_KEYS ? BAD_KEYS[i] : i == N_BAD_KEYS ? long_key : longer;
        char buffer[4] = {1, 1, 1, 1};
        size_t len = 77;
        vfs_stat_t stat = VFS_STAT_INIT;
        stat.size = 9;
        vfs_view_t view = {buffer, 3, buffer};
        vfs_writer_t *w = (vfs_writer_t *)buffer;
        REFUSED(vfs_store(s, key, "x", 1, 0), VFS_ERR_KEY);
        REFUSED(vfs_store(s, key, "x", 1, VFS_REPLACE | VFS_PERSIST), VFS_ERR_KEY);
        REFUSED(vfs_read(s, key, 0, buffer, 4, &len, &stat), VFS_ERR_KEY);
        REFUSED(vfs_stat(s, key, &stat), VFS_ERR_KEY);
        REFUSED(vfs_remove(s, key), VFS_ERR_KEY);
        REFUSED(vfs_map(s, key, &view, &stat), VFS_ERR_KEY);
        REFUSED(vfs_create(s, key, 0, 0, &w), VFS_ERR_KEY);
        const char *keys[2] = {"good", key};
        REFUSED(vfs_remove_owned(s, keys + 1, 1), VFS_ERR_KEY);
        CHECK_IS(vfs_has(s, key), 0);
        CHECK(w == NULL);
        CHECK(len == 77 && stat.size == 9 && buffer[0] == 1 && view.data == buffer && view.len == 3);
    }
    CHECK_VALUE(s, "good", 100, 1);
}

/* The sentence names the key. */
static void sentences(vfs_t *s)
{
    REFUSED(vfs_remove(s, "no-such-key"), VFS_ERR_NOT_FOUND);
    CHECK_SAYS("no-such-key");
    REFUSED(vfs_store(s, "good", "x", 1, 0), VFS_ERR_EXISTS);
    CHECK_SAYS("good");
    REFUSED(vfs_store(s, "a/b", "x", 1, 0), VFS_ERR_KEY);
    CHECK_SAYS("a/b");
    char copy[1024];
    snprintf(copy, sizeof copy, "%s", vfs_last_error());
    CHECK_VALUE(s, "good", 100, 1);
    CHECK_IS(vfs_has(s, "good"), 1);
    CHECK_STR(vfs_last_error(), copy);
    QUIET(vfs_close(NULL));
    CHECK_STR(vfs_last_error(), copy);
}

static void nulls(vfs_t *s)
{
    char buffer[4] = {1, 1, 1, 1};
    size_t len = 77;
    vfs_stat_t stat = VFS_STAT_INIT;
    stat.size = 9;
    vfs_view_t view = {buffer, 3, buffer};
    vfs_writer_t *w = (vfs_writer_t *)buffer, *writer = NULL;
    vfs_list_t *l = (vfs_list_t *)buffer, *list = NULL;
    vfs_t *h = (vfs_t *)buffer;
    vfs_tier_stat_t tier = VFS_TIER_STAT_INIT;
    void *room = buffer;
    const char *key = buffer, *keys[2] = {"good", NULL};
    uint64_t removed = 77;

    REFUSED(vfs_open(NULL, NULL), VFS_ERR_INVALID);
    vfs_options_t options = VFS_OPTIONS_INIT;
    options.tiers = A;
    REFUSED(vfs_open(&options, NULL), VFS_ERR_INVALID);
    options.struct_size = 0;
    REFUSED(vfs_open(&options, &h), VFS_ERR_INVALID);
    CHECK(h == NULL);

    REFUSED(vfs_shutdown(NULL), VFS_ERR_INVALID);
    REFUSED(vfs_store(NULL, "k", "x", 1, 0), VFS_ERR_INVALID);
    REFUSED(vfs_store(s, NULL, "x", 1, 0), VFS_ERR_INVALID);
    REFUSED(vfs_store(s, "k", NULL, 1, 0), VFS_ERR_INVALID);
    REFUSED(vfs_store(s, "k", "x", (size_t)PTRDIFF_MAX + 1, 0), VFS_ERR_INVALID);
    REFUSED(vfs_store(s, "k", "x", SIZE_MAX, 0), VFS_ERR_INVALID);
    REFUSED(vfs_read(NULL, "good", 0, buffer, 4, &len, &stat), VFS_ERR_INVALID);
    REFUSED(vfs_read(s, NULL, 0, buffer, 4, &len, &stat), VFS_ERR_INVALID);
    REFUSED(vfs_read(s, "good", 0, NULL, 4, &len, &stat), VFS_ERR_INVALID);
    REFUSED(vfs_read(s, "good", 0, buffer, 4, NULL, &stat), VFS_ERR_INVALID);
    REFUSED(vfs_read(s, "good", 0, buffer, (size_t)PTRDIFF_MAX + 1, &len, &stat), VFS_ERR_INVALID);
    CHECK_IS(vfs_has(NULL, "good"), VFS_ERR_INVALID);
    CHECK_IS(vfs_has(s, NULL), VFS_ERR_INVALID);
    REFUSED(vfs_stat(NULL, "good", &stat), VFS_ERR_INVALID);
    REFUSED(vfs_stat(s, NULL, &stat), VFS_ERR_INVALID);
    REFUSED(vfs_stat(s, "good", NULL), VFS_ERR_INVALID);
    REFUSED(vfs_remove(NULL, "good"), VFS_ERR_INVALID);
    REFUSED(vfs_remove(s, NULL), VFS_ERR_INVALID);
    REFUSED(vfs_remove_owned(NULL, keys, 1), VFS_ERR_INVALID);
    REFUSED(vfs_remove_owned(s, NULL, 1), VFS_ERR_INVALID);
    REFUSED(vfs_remove_owned(s, keys + 1, 1), VFS_ERR_INVALID);
    REFUSED(vfs_map(NULL, "good", &view, &stat), VFS_ERR_INVALID);
    REFUSED(vfs_map(s, NULL, &view, &stat), VFS_ERR_INVALID);
    REFUSED(vfs_map(s, "good", NULL, &stat), VFS_ERR_INVALID);
    REFUSED(vfs_create(NULL, "k", 0, 0, &w), VFS_ERR_INVALID);
    CHECK(w == NULL);
    w = (vfs_writer_t *)buffer;
    REFUSED(vfs_create(s, NULL, 0, 0, &w), VFS_ERR_INVALID);
    CHECK(w == NULL);
    REFUSED(vfs_create(s, "k", 0, 0, NULL), VFS_ERR_INVALID);
    REFUSED(vfs_write(NULL, "x", 1), VFS_ERR_INVALID);
    REFUSED(vfs_reserve(NULL, 1, &room), VFS_ERR_INVALID);
    REFUSED(vfs_seal(NULL), VFS_ERR_INVALID);
    REFUSED(vfs_list_open(NULL, &l), VFS_ERR_INVALID);
    CHECK(l == NULL);
    REFUSED(vfs_list_open(s, NULL), VFS_ERR_INVALID);
    REFUSED(vfs_list_next(NULL, &key, &stat), VFS_ERR_INVALID);
    REFUSED(vfs_reap(NULL, &removed), VFS_ERR_INVALID);
    REFUSED(vfs_tier_stat(NULL, 0, &tier), VFS_ERR_INVALID);
    REFUSED(vfs_tier_stat(s, 0, NULL), VFS_ERR_INVALID);
    CHECK(removed == 77 && len == 77 && stat.size == 9 && view.data == buffer && view.len == 3 && view.owner == buffer);
    CHECK(buffer[0] == 1 && room == buffer && key == buffer);

    QUIET(vfs_close(NULL));
    QUIET(vfs_abort(NULL));
    QUIET(vfs_unmap(NULL));
    QUIET(vfs_list_close(NULL));
    vfs_view_t none = {0};
    QUIET(vfs_unmap(&none));

    /* a writer and a listing are refused what is wrong and go on */
    CHECK_OK(vfs_create(s, "k", 0, 0, &writer));
    CHECK_OK(vfs_write(writer, "ab", 2));
    CHECK_IS(vfs_write(writer, NULL, 1), VFS_ERR_INVALID);
    CHECK_IS(vfs_write(writer, "x", (size_t)PTRDIFF_MAX + 1), VFS_ERR_INVALID);
    CHECK_IS(vfs_reserve(writer, 1, NULL), VFS_ERR_INVALID);
    CHECK_IS(vfs_reserve(writer, (size_t)PTRDIFF_MAX + 1, &room), VFS_ERR_INVALID);
    CHECK(room == buffer);
    CHECK_OK(vfs_write(writer, "c", 1));
    CHECK_OK(vfs_seal(writer));
    CHECK_OK(vfs_read(s, "k", 0, buffer, 4, &len, NULL));
    CHECK(len == 3 && memcmp(buffer, "abc", 3) == 0);
    CHECK_OK(vfs_remove(s, "k"));
    CHECK_OK(vfs_list_open(s, &list));
    CHECK_IS(vfs_list_next(list, NULL, &stat), VFS_ERR_INVALID);
    CHECK_OK(vfs_list_next(list, &key, &stat));
    CHECK_STR(key, "good");
    QUIET(vfs_list_close(list));

    /* (NULL, 0) is an empty buffer */
    CHECK_OK(vfs_store(s, "k", NULL, 0, 0));
    CHECK_OK(vfs_read(s, "k", 0, NULL, 0, &len, NULL));
    CHECK_INT(len, 0);
    CHECK_OK(vfs_reap(s, NULL));
    CHECK_OK(vfs_remove(s, "k"));
}

static void flags(vfs_t *s)
{
    vfs_writer_t *w = (vfs_writer_t *)&s;
    for (unsigned bit = 2; bit < 32; bit++) {
        REFUSED(vfs_store(s, "k", "x", 1, 1u << bit), VFS_ERR_INVALID);
        REFUSED(vfs_store(s, "k", "x", 1, 1u << bit | VFS_REPLACE), VFS_ERR_INVALID);
        REFUSED(vfs_create(s, "k", 0, 1u << bit, &w), VFS_ERR_INVALID);
        CHECK(w == NULL);
    }
    for (unsigned bit = 1; bit < 32; bit++) {
        vfs_options_t options = VFS_OPTIONS_INIT;
        options.tiers = A;
        options.flags = 1u << bit;
        vfs_t *h = s;
        REFUSED(vfs_open(&options, &h), VFS_ERR_INVALID);
        CHECK(h == NULL);
    }
}

static void names(vfs_t *s)
{
    char long_name[257];
    memset(long_name, 'n', 256);
    long_name[256] = 0;
    for (unsigned i = 0; i <= N_BAD_KEYS; i++) {
        vfs_options_t options = VFS_OPTIONS_INIT;
        options.tiers = A;
        options.name = i < N_BAD_KEYS ? BAD_KEYS[i] : long_name;
        vfs_t *h = s;
        REFUSED(vfs_open(&options, &h), VFS_ERR_INVALID);
        CHECK(h == NULL);
    }
    vfs_options_t options = VFS_OPTIONS_INIT;
    vfs_t *h = s;
    options.tiers = A;
    options.name = "no/name";
    REFUSED(vfs_open(&options, &h), VFS_ERR_INVALID);
    CHECK_SAYS("no/name");
    long_name[255] = 0;
    const char *good[] = {"lock", "\\lock" + 1, "...", "\xFF", "k\xC3\xA9y", long_name};
    for (unsigned i = 0; i < sizeof good / sizeof good[0]; i++) {
        h = open_as(A, good[i], 0);
        CHECK_OK(put(h, "k", 5, 5, 0));
        CHECK_VALUE(h, "k", 5, 5);
        CHECK_VALUE(s, "good", 100, 1);
        CHECK_IS(vfs_has(s, "k"), 0);
        QUIET(vfs_close(h));
    }
    before = print_of(scratch);
}

static void tier_lists(vfs_t *s)
{
    static const char *const bad[] = {",", "shm,", ",shm", "tmp", "./x", "../x", "shm?", "shm?max", "shm?max=", "shm?max=1X",
                                      "shm?max=-1", "shm?max=K", "shm?reserve=101%", "shm?max=1&max=2",
                                      "shm?reserve=1&reserve=2", "memory?reserve=1", "/a?b=1", "Shm", "shm?max=99999999999T",
                                      "shm?max=1&", "memory?max= 1", "/a?reserve=%", " shm"};
    for (unsigned i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        for (int first = 0; first < 2; first++) {
            vfs_options_t options = VFS_OPTIONS_INIT;
            options.tiers = first ? say("%s,%s", bad[i], B) : say("%s,%s", B, bad[i]);
            vfs_t *h = s;
            REFUSED(vfs_open(&options, &h), VFS_ERR_INVALID);
            CHECK(h == NULL);
        }
    }
    vfs_options_t options = VFS_OPTIONS_INIT;
    vfs_t *h = s;
    options.tiers = say("%s,shm?max=fish", B);
    REFUSED(vfs_open(&options, &h), VFS_ERR_INVALID);
    CHECK_SAYS("shm?max=fish");

    /* a good list with no tier that can be used */
    options.tiers = say("%s/missing", scratch);
    h = s;
    CHECK_IS(vfs_open(&options, &h), VFS_ERR_IO);
    CHECK(h == NULL);
    CHECK_SAYS("missing");
    CHECK_INT(vfs_last_errno(), ENOENT);
    CHECK_INT(print_of(scratch), before);

    /* a comma in a path */
    const char *comma = dir_of("com,ma");
    h = open_on(say("%s/com%%2Cma?max=1M&reserve=0", scratch));
    CHECK_OK(put(h, "k", 10, 10, 0));
    CHECK_STR(tier_stat(h, 0).dir, comma);
    CHECK(access(say("%s/harness/objects/k", own_tier_dir(comma, geteuid())), F_OK) == 0);
    QUIET(vfs_close(h));
    before = print_of(scratch);
}

static void struct_sizes(vfs_t *s)
{
    struct {
        vfs_options_t options;
        unsigned char tail[64];
    } future;
    memset(&future, 0, sizeof future);
    future.options.tiers = A;
    future.options.name = "harness";
    const uint32_t sizes[] = {0, 1, 4, 8, sizeof(vfs_options_t) - 1};
    for (unsigned i = 0; i < 5; i++) {
        vfs_t *h = s;
        future.options.struct_size = sizes[i];
        REFUSED(vfs_open(&future.options, &h), VFS_ERR_INVALID);
        CHECK(h == NULL);
    }
    for (unsigned extra = 1; extra <= sizeof future.tail; extra++) {
        vfs_t *h = NULL;
        future.options.struct_size = (uint32_t)(sizeof(vfs_options_t) + extra);
        memset(future.tail, 0, sizeof future.tail);
        if (extra < sizeof future.tail)
            future.tail[extra] = 1; /* beyond what the size covers: not looked at */
        CHECK_OK(vfs_open(&future.options, &h));
        QUIET(vfs_close(h));
        future.tail[extra - 1] = 1;
        h = s;
        REFUSED(vfs_open(&future.options, &h), VFS_ERR_INVALID);
        CHECK(h == NULL);
    }

    struct {
        vfs_stat_t stat;
        unsigned char tail[64];
    } stat;
    struct {
        vfs_tier_stat_t stat;
        unsigned char tail[64];
    } tier;
    char byte;
    size_t len;
    vfs_view_t view = {0};
    vfs_list_t *list = NULL;
    const char *key;
    for (uint32_t size = 0; size < sizeof(vfs_stat_t); size++) {
        memset(&stat, 0xA5, sizeof stat);
        stat.stat.struct_size = size;
        len = 77;
        byte = 7;
        REFUSED(vfs_stat(s, "good", &stat.stat), VFS_ERR_INVALID);
        REFUSED(vfs_read(s, "good", 0, &byte, 1, &len, &stat.stat), VFS_ERR_INVALID);
        REFUSED(vfs_map(s, "good", &view, &stat.stat), VFS_ERR_INVALID);
        CHECK(stat.stat.struct_size == size && stat.stat.size == 0xA5A5A5A5A5A5A5A5u);
        CHECK(len == 77 && byte == 7 && !view.data);
    }
    for (uint32_t size = 0; size < sizeof(vfs_tier_stat_t); size++) {
        memset(&tier, 0xA5, sizeof tier);
        tier.stat.struct_size = size;
        REFUSED(vfs_tier_stat(s, 0, &tier.stat), VFS_ERR_INVALID);
        CHECK(tier.stat.struct_size == size && tier.stat.blobs == 0xA5A5A5A5A5A5A5A5u);
    }
    /* structs of a later version: what this one does not know is zeroed, what lies behind is left */
    for (unsigned extra = 0; extra <= 32; extra += 8) {
        for (int way = 0; way < 5; way++) {
            memset(&stat, 0xA5, sizeof stat);
            memset(&tier, 0xA5, sizeof tier);
            stat.stat.struct_size = (uint32_t)(sizeof(vfs_stat_t) + extra);
            tier.stat.struct_size = (uint32_t)(sizeof(vfs_tier_stat_t) + extra);
            if (way == 0)
                CHECK_OK(vfs_stat(s, "good", &stat.stat));
            if (way == 1)
                CHECK_OK(vfs_read(s, "good", 0, &byte, 1, &len, &stat.stat));
            if (way == 2)
                CHECK_OK(vfs_map(s, "good", &view, &stat.stat));
            if (way == 3) {
                CHECK_OK(vfs_list_open(s, &list));
                CHECK_OK(vfs_list_next(list, &key, &stat.stat));
                QUIET(vfs_list_close(list));
            }
            if (way == 4)
                CHECK_OK(vfs_tier_stat(s, 0, &tier.stat));
            QUIET(vfs_unmap(&view));
            const unsigned char *tail = way == 4 ? tier.tail : stat.tail;
            for (unsigned i = 0; i < 64; i++)
                CHECK_INT(tail[i], i < extra ? 0 : 0xA5);
            if (way == 4) {
                CHECK_INT(tier.stat.struct_size, sizeof(vfs_tier_stat_t));
                CHECK_STR(tier.stat.dir, A);
            } else {
                CHECK_INT(stat.stat.struct_size, sizeof(vfs_stat_t));
                CHECK_INT(stat.stat.size, 100);
                CHECK_INT(stat.stat.reserved, 0);
            }
        }
    }
}

/* A handle that only reads makes nothing, and finds what comes later. */
static void read_only(void)
{
    vfs_t *r = open_as(B, "later", VFS_READ_ONLY), *w;
    vfs_writer_t *writer = (vfs_writer_t *)r;
    const char *keys[1] = {"k"};
    char buffer[8];
    size_t len;
    CHECK(access(own_tier_dir(B, geteuid()), F_OK) != 0);
    CHECK_ABSENT(r, "k");
    CHECK_INT(listed_all(r), 0);
    REFUSED(vfs_store(r, "k", "x", 1, 0), VFS_ERR_READ_ONLY);
    REFUSED(vfs_store(r, "k", "x", 1, VFS_REPLACE | VFS_PERSIST), VFS_ERR_READ_ONLY);
    REFUSED(vfs_remove(r, "k"), VFS_ERR_READ_ONLY);
    REFUSED(vfs_remove_owned(r, keys, 1), VFS_ERR_READ_ONLY);
    REFUSED(vfs_create(r, "k", 0, 0, &writer), VFS_ERR_READ_ONLY);
    CHECK(writer == NULL);
    REFUSED(vfs_reap(r, NULL), VFS_ERR_READ_ONLY);
    CHECK(access(own_tier_dir(B, geteuid()), F_OK) != 0);
    w = open_as(B, "later", 0);
    CHECK_OK(vfs_store(w, "k", "abc", 3, 0));
    CHECK_OK(vfs_read(r, "k", 0, buffer, 8, &len, NULL));
    CHECK(len == 3 && memcmp(buffer, "abc", 3) == 0);
    CHECK_INT(listed_all(r), 1);
    uint64_t files = print_of(scratch);
    CHECK_IS(vfs_remove(r, "k"), VFS_ERR_READ_ONLY);
    CHECK_IS(vfs_store(r, "k", "x", 1, VFS_REPLACE), VFS_ERR_READ_ONLY);
    CHECK_INT(print_of(scratch), files);
    CHECK_OK(vfs_shutdown(r));
    CHECK_IS(vfs_has(r, "k"), VFS_ERR_SHUTDOWN);
    QUIET(vfs_close(r));
    CHECK_IS(vfs_has(w, "k"), 1);
    /* only a bad list stops a reader at open */
    r = open_as(say("%s/missing", scratch), "later", VFS_READ_ONLY);
    CHECK_IS(vfs_has(r, "k"), 0);
    QUIET(vfs_close(r));
    vfs_options_t options = VFS_OPTIONS_INIT;
    options.flags = VFS_READ_ONLY;
    options.tiers = "nonsense";
    r = w;
    CHECK_IS(vfs_open(&options, &r), VFS_ERR_INVALID);
    CHECK(r == NULL);
    QUIET(vfs_close(w));
}

static void *another_thread(void *arg)
{
    vfs_t *s = arg;
    CHECK_STR(vfs_last_error(), "");
    CHECK_INT(vfs_last_errno(), 0);
    CHECK_IS(vfs_remove(s, "from-a-thread"), VFS_ERR_NOT_FOUND);
    CHECK_SAYS("from-a-thread");
    return NULL;
}

static void threads(vfs_t *s)
{
    pthread_t thread;
    CHECK_IS(vfs_remove(s, "from-main"), VFS_ERR_NOT_FOUND);
    CHECK_INT(pthread_create(&thread, NULL, another_thread, s), 0);
    CHECK_INT(pthread_join(thread, NULL), 0);
    CHECK_SAYS("from-main");
}

/* The environment names the tiers where the caller does not. */
static void environment(vfs_t *s)
{
    vfs_t *h = NULL;
    SYS(setenv("VFS_TIERS", B, 1));
    CHECK_OK(vfs_open(NULL, &h));
    CHECK_STR(tier_stat(h, 0).dir, B);
    CHECK_OK(put(h, "k", 10, 10, 0));
    CHECK(access(say("%s/default/objects/k", own_tier_dir(B, geteuid())), F_OK) == 0);
    QUIET(vfs_close(h));
    SYS(setenv("VFS_TIERS", "environmental nonsense", 1));
    h = s;
    CHECK_IS(vfs_open(NULL, &h), VFS_ERR_INVALID);
    CHECK(h == NULL);
    CHECK_SAYS("environmental nonsense");
    /* the caller's list wins */
    h = open_on(B);
    QUIET(vfs_close(h));
    SYS(unsetenv("VFS_TIERS"));
}

/* The shipped defaults, where nothing says otherwise: needs mounts over the machine's own directories. */
static void defaults(void)
{
    own_mounts();
    /* what lies in /tmp is covered; keep a way to the scratch directory */
    int keep = open(scratch, O_PATH | O_DIRECTORY | O_CLOEXEC);
    SYS(keep);
    mount_tmpfs("/dev/shm", "size=1m");
    mount_tmpfs("/var/tmp", "size=4m");
    mount_tmpfs("/tmp", "size=16m");
    unsetenv("VFS_TIERS");
    vfs_t *s = NULL, *r = NULL;
    CHECK_OK(vfs_open(NULL, &s));
    const char *want[3] = {"/dev/shm", "/var/tmp", "/tmp"};
    vfs_tier_stat_t stat = VFS_TIER_STAT_INIT;
    for (uint32_t i = 0; i < 3; i++) {
        stat = tier_stat(s, i);
        CHECK_STR(stat.dir, want[i]);
        CHECK_INT(stat.kind, VFS_TIER_SHM); /* a filesystem of memory, under whatever name */
        CHECK_INT(stat.total_bytes, (1u << 20) << 2 * i);
        CHECK(stat.flags & VFS_TIER_USABLE);
    }
    CHECK_IS(vfs_tier_stat(s, 3, &stat), VFS_ERR_NOT_FOUND);
    CHECK_OK(put(s, "small", 900 << 10, 1, 0));
    CHECK_OK(put(s, "middle", 3 << 20, 2, 0));
    CHECK_OK(put(s, "large", 12 << 20, 3, 0));
    CHECK_INT(tier_of(s, "small"), 0);
    CHECK_INT(tier_of(s, "middle"), 1);
    CHECK_INT(tier_of(s, "large"), 2);
    CHECK(access(say("/dev/shm/vfs1-%u/default/objects/small", (unsigned)geteuid()), F_OK) == 0);
    /* 5 % of shared memory is left to others */
    uint64_t room = free_bytes("/dev/shm");
    CHECK_OK(put(s, "last", room - 4096, 4, 0));
    CHECK_INT(tier_of(s, "last"), 1);
    CHECK(free_bytes("/dev/shm") >= (1 << 20) / 20);
    vfs_options_t options = VFS_OPTIONS_INIT;
    CHECK_OK(vfs_open(&options, &r));
    CHECK_VALUE(r, "small", 900 << 10, 1);
    CHECK_VALUE(r, "large", 12 << 20, 3);
    QUIET(vfs_close(r));
    QUIET(vfs_close(s));
    for (int i = 0; i < 3; i++)
        CHECK_NOTHING_LEFT(want[i]);
    SYS(close(keep));
}

int main(int argc, char **argv)
{
    start(argc, argv);
    if (strcmp(mode, "defaults") == 0) {
        defaults();
        return 0;
    }
    CHECK_STR(mode, "refused");
    A = dir_of("a");
    B = dir_of("b");
    unsigned fds = descriptors();
    vfs_t *s = open_on(A);
    CHECK_OK(put(s, "good", 100, 1, 0));
    before = print_of(scratch);
    bad_keys(s);
    sentences(s);
    nulls(s);
    before = print_of(scratch);
    flags(s);
    names(s);
    tier_lists(s);
    struct_sizes(s);
    threads(s);
    CHECK_VALUE(s, "good", 100, 1);
    before = print_of(scratch);
    read_only();
    environment(s);
    CHECK_VALUE(s, "good", 100, 1);
    QUIET(vfs_close(s));
    CHECK_INT(descriptors(), fds);
    CHECK_NOTHING_LEFT(A);
    CHECK_NOTHING_LEFT(B);
    return 0;
}

/* What is refused: NULL everywhere, bad keys and names, unknown flags, bad tier lists, structs of other sizes, lengths
 * beyond all memory. Each refusal has its code and a sentence, writes no output, and changes nothing. And what is not:
 * arguments at any address, up to the last byte before one that nobody may touch. */
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
    REFUSED(vfs_read(s, "good", 0, buffer, SIZE_MAX, &len, &stat), VFS_ERR_INVALID);
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
    REFUSED(vfs_remove_owned(s, keys, SIZE_MAX), VFS_ERR_INVALID);
    REFUSED(vfs_remove_owned(s, keys, PTRDIFF_MAX / sizeof *keys + 1), VFS_ERR_INVALID);
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
    REFUSED(vfs_tier_stat(s, UINT32_MAX, &tier), VFS_ERR_NOT_FOUND);
    REFUSED(vfs_tier_stat(s, 1, &tier), VFS_ERR_NOT_FOUND);
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
    CHECK_IS(vfs_reserve(writer, SIZE_MAX, &room), VFS_ERR_INVALID);
    CHECK_FAILS(vfs_reserve(writer, PTRDIFF_MAX, &room));
    CHECK_IS(vfs_write(writer, "x", SIZE_MAX), VFS_ERR_INVALID);
    CHECK(room == buffer);
    CHECK_OK(vfs_write(writer, "c", 1));
    CHECK_OK(vfs_seal(writer));
    CHECK_OK(vfs_read(s, "k", 0, buffer, 4, &len, NULL));
    CHECK(len == 3 && memcmp(buffer, "abc", 3) == 0);
    CHECK_OK(vfs_remove(s, "k"));
    CHECK_OK(vfs_list_open(s, &list));
    CHECK_IS(vfs_list_next(list, NULL, &stat), VFS_ERR_INVALID);
    CHECK_IS(vfs_list_next(list, &key, NULL), VFS_ERR_INVALID);
    CHECK(key == buffer);
    CHECK_OK(vfs_list_next(list, &key, &stat));
    CHECK_STR(key, "good");
    QUIET(vfs_list_close(list));

    /* beyond the end there is nothing to read, wherever that is */
    const uint64_t beyond[] = {100, 101, INT64_MAX, (uint64_t)INT64_MAX + 1, UINT64_MAX - 1, UINT64_MAX};
    for (unsigned i = 0; i < sizeof beyond / sizeof beyond[0]; i++) {
        CHECK_OK(vfs_read(s, "good", beyond[i], buffer, 4, &len, NULL));
        CHECK(len == 0 && buffer[0] == 'a');
    }
    /* a hint of more than there is: refused, or of no consequence */
    for (unsigned i = 2; i < sizeof beyond / sizeof beyond[0]; i++) {
        if (STATUS(vfs_create(s, "k", beyond[i], 0, &writer)) == VFS_OK) {
            CHECK_OK(vfs_write(writer, "ab", 2));
            CHECK_OK(vfs_seal(writer));
            CHECK_OK(vfs_remove(s, "k"));
        } else {
            CHECK(writer == NULL && vfs_last_error()[0] != 0);
        }
        CHECK_IS(vfs_has(s, "k"), 0);
    }

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

    /* a percent sign in a path, before what would be an escape: %25 is one, others stand for themselves */
    const char *escaped[] = {"per%252Ccent", "per%253fcent", "100%25", "%2525", "100%", "%20%zz"};
    const char *named[] = {"per%2Ccent", "per%3fcent", "100%", "%25", "100%", "%20%zz"};
    for (int i = 0; i < 6; i++) {
        const char *dir = say("%s/%s", scratch, named[i]);
        if (access(dir, F_OK) != 0)
            dir_of(named[i]);
        h = open_on(say("%s/%s", scratch, escaped[i]));
        CHECK_OK(put(h, "k", 10, 10, 0));
        CHECK_STR(tier_stat(h, 0).dir, dir);
        QUIET(vfs_close(h));
    }
    before = print_of(scratch);
}

/* More than any struct of ours will ever have. */
static const uint32_t HUGE_SIZES[] = {65537, 1u << 20, INT32_MAX, (uint32_t)INT32_MAX + 1, UINT32_MAX - 3, UINT32_MAX};
enum { N_HUGE = sizeof HUGE_SIZES / sizeof HUGE_SIZES[0] };

static int is_filled(const void *bytes, size_t from, size_t to, unsigned char with)
{
    for (; from < to; from++) {
        if (((const unsigned char *)bytes)[from] != with)
            return 0;
    }
    return 1;
}

/* Every size up to twice the struct's: refused, or filled and zeroed as far as the caller says, and never beyond. */
static void struct_sizes(vfs_t *s)
{
    struct {
        vfs_options_t options;
        unsigned char tail[64];
    } future;
    memset(&future, 0, sizeof future);
    future.options.tiers = A;
    future.options.name = "harness";
    for (unsigned i = 0; i < sizeof(vfs_options_t) + N_HUGE; i++) {
        vfs_t *h = s;
        future.options.struct_size = i < sizeof(vfs_options_t) ? i : HUGE_SIZES[i - sizeof(vfs_options_t)];
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

    unsigned char room[512];
    char byte;
    size_t len;
    vfs_view_t view = {0};
    vfs_list_t *list = NULL;
    for (unsigned which = 0; which < 5; which++) {
        const uint32_t known = which == 4 ? sizeof(vfs_tier_stat_t) : sizeof(vfs_stat_t);
        for (uint32_t i = 0; i <= 2 * known + N_HUGE; i++) {
            const uint32_t size = i <= 2 * known ? i : HUGE_SIZES[i - 2 * known - 1];
            const int32_t want = size >= known && size <= 2 * known ? VFS_OK : VFS_ERR_INVALID;
            const char *key = (char *)room;
            memset(room, 0xA5, sizeof room);
            memcpy(room, &size, sizeof size);
            byte = 7;
            len = 77;
            if (which == 0)
                CHECK_IS(vfs_stat(s, "good", (vfs_stat_t *)(void *)room), want);
            if (which == 1)
                CHECK_IS(vfs_read(s, "good", 0, &byte, 1, &len, (vfs_stat_t *)(void *)room), want);
            if (which == 2)
                CHECK_IS(vfs_map(s, "good", &view, (vfs_stat_t *)(void *)room), want);
            if (which == 3) {
                CHECK_OK(vfs_list_open(s, &list));
                CHECK_IS(vfs_list_next(list, &key, (vfs_stat_t *)(void *)room), want);
                CHECK((key == (char *)room) == (want != VFS_OK));
                QUIET(vfs_list_close(list));
            }
            if (which == 4)
                CHECK_IS(vfs_tier_stat(s, 0, (vfs_tier_stat_t *)(void *)room), want);
            uint32_t told;
            memcpy(&told, room, sizeof told);
            if (want != VFS_OK) {
                CHECK(told == size && is_filled(room, 4, sizeof room, 0xA5) && byte == 7 && len == 77 && !view.data);
                continue;
            }
            CHECK_INT(told, known);
            CHECK(is_filled(room, known, size, 0) && is_filled(room, size, sizeof room, 0xA5));
            vfs_stat_t stat;
            vfs_tier_stat_t tier;
            memcpy(&stat, room, sizeof stat);
            memcpy(&tier, room, sizeof tier);
            if (which == 4)
                CHECK_STR(tier.dir, A);
            else
                CHECK(stat.size == 100 && stat.reserved == 0);
            QUIET(vfs_unmap(&view));
        }
    }
    CHECK_INT(print_of(scratch), before);
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

/* The end of memory that may be touched: one of a few. */
static char *edge_of(unsigned which)
{
    static char *ends[3];
    if (!ends[which]) {
        char *start = mmap(NULL, 3 * 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
        CHECK(start != MAP_FAILED);
        ends[which] = start + 2 * 4096;
        SYS(mprotect(ends[which], 4096, PROT_NONE));
    }
    memset(ends[which] - 2 * 4096, 'k', 2 * 4096);
    return ends[which];
}

static char *edge(void)
{
    return edge_of(0);
}

/* The longest thing that is looked at without a NUL: 256 bytes, and none behind them. */
static const char *endless(void)
{
    return edge_of(1) - 256;
}

/* `len` bytes and their NUL, and nothing behind them. */
static char *at_the_edge(size_t len)
{
    char *text = edge() - len - 1;
    text[len] = 0;
    return text;
}

/* No byte behind an argument is looked at: each ends right before memory that kills. */
static void edges(vfs_t *s)
{
    static const size_t lens[] = {1, 2, 7, 254, 255};
    char byte, value[100];
    size_t len;
    const char *key;
    for (unsigned i = 0; i < sizeof lens / sizeof lens[0]; i++) {
        char *name = at_the_edge(lens[i]);
        vfs_writer_t *w = NULL;
        vfs_list_t *list = NULL;
        vfs_stat_t stat = VFS_STAT_INIT;
        CHECK_OK(vfs_store(s, name, "xyz", 3, 0));
        CHECK_IS(vfs_has(s, name), 1);
        CHECK_OK(vfs_stat(s, name, &stat));
        CHECK_OK(vfs_read(s, name, 2, &byte, 1, &len, NULL));
        CHECK(len == 1 && byte == 'z' && stat.size == 3);
        vfs_view_t view = {0};
        CHECK_OK(vfs_map(s, name, &view, NULL));
        QUIET(vfs_unmap(&view));
        CHECK_OK(vfs_remove(s, name));
        CHECK_OK(vfs_create(s, name, 3, 0, &w));
        CHECK_OK(vfs_write(w, "xyz", 3));
        CHECK_OK(vfs_seal(w));
        CHECK_OK(vfs_list_open(s, &list));
        for (int n = 0; n < 2; n++) {
            CHECK_OK(vfs_list_next(list, &key, &stat));
            CHECK(strcmp(key, "good") == 0 || strcmp(key, name) == 0);
        }
        QUIET(vfs_list_close(list));
        key = name;
        CHECK_OK(vfs_remove_owned(s, &key, 1));
        CHECK_IS(vfs_has(s, name), 0);
        vfs_t *named = open_as(A, name, 0);
        CHECK_OK(put(named, "k", 5, 5, 0));
        QUIET(vfs_close(named));
    }
    before = print_of(scratch);

    /* a key, or the name of a store, that has no end: 256 bytes tell that it is none */
    key = endless();
    vfs_writer_t *w = NULL;
    vfs_view_t view = {0};
    vfs_stat_t stat = VFS_STAT_INIT;
    REFUSED(vfs_store(s, key, "x", 1, 0), VFS_ERR_KEY);
    REFUSED(vfs_read(s, key, 0, &byte, 1, &len, &stat), VFS_ERR_KEY);
    REFUSED(vfs_stat(s, key, &stat), VFS_ERR_KEY);
    REFUSED(vfs_remove(s, key), VFS_ERR_KEY);
    REFUSED(vfs_remove_owned(s, &key, 1), VFS_ERR_KEY);
    REFUSED(vfs_map(s, key, &view, &stat), VFS_ERR_KEY);
    REFUSED(vfs_create(s, key, 0, 0, &w), VFS_ERR_KEY);
    CHECK_IS(vfs_has(s, key), 0);
    vfs_options_t options = VFS_OPTIONS_INIT;
    vfs_t *h = s;
    options.tiers = A;
    options.name = key;
    REFUSED(vfs_open(&options, &h), VFS_ERR_INVALID);
    CHECK(h == NULL);

    /* lists of tiers, good and bad, of any length */
    char *tiers = edge() - strlen(A) - 1;
    strcpy(tiers, A);
    vfs_t *opened = open_on(tiers);
    CHECK_VALUE(opened, "good", 100, 1);
    QUIET(vfs_close(opened));
    options.name = "harness";
    static const char *const bad[] = {"/a,", "shm?", "shm?max", "shm?max=", "shm?max=1&", "shm?reserve=1%&", "/a%2", "s", "?", "%"};
    for (unsigned i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        tiers = edge() - strlen(bad[i]) - 1;
        options.tiers = strcpy(tiers, bad[i]);
        /* (a path may have any bytes: that one does not exist) */
        CHECK_IS(vfs_open(&options, &h), strcmp(bad[i], "/a%2") == 0 ? VFS_ERR_IO : VFS_ERR_INVALID);
    }
    size_t long_ones[] = {255, 256, 4095, 4096, 8191};
    for (unsigned i = 0; i < 5; i++) {
        options.tiers = at_the_edge(long_ones[i]);
        REFUSED(vfs_open(&options, &h), VFS_ERR_INVALID);
        tiers = at_the_edge(long_ones[i]);
        tiers[0] = '/';
        CHECK_FAILS(vfs_open(&options, &h)); /* (4096 bytes are no path; fewer may be one, which does not exist) */
        CHECK(h == NULL);
    }

    /* data, room and every struct */
    value_at(value, sizeof value, 0, 3, sizeof value);
    char *end = edge();
    CHECK_OK(vfs_store(s, "e", memcpy(end - sizeof value, value, sizeof value), sizeof value, 0));
    CHECK_VALUE(s, "e", sizeof value, 3);
    size_t *out_len = (size_t *)(void *)(edge() - sizeof len);
    CHECK_OK(vfs_read(s, "e", 0, value, sizeof value, out_len, NULL));
    CHECK_INT(*out_len, sizeof value);
    end = edge();
    CHECK_OK(vfs_read(s, "e", 90, end - 10, 10, &len, NULL)); /* exactly, to the end of the blob */
    CHECK(len == 10 && is_value_at(end - 10, 10, 90, 3, sizeof value));
    CHECK_OK(vfs_read(s, "e", 0, end - 10, 10, &len, NULL)); /* and less than there is */
    CHECK(len == 10 && is_value_at(end - 10, 10, 0, 3, sizeof value) && end[-11] == 'k');
    CHECK_OK(vfs_read(s, "e", 0, end, 0, &len, NULL)); /* none at all: the address is not looked at */
    CHECK_INT(len, 0);
    CHECK_OK(vfs_store(s, "e", edge(), 0, VFS_REPLACE));
    CHECK_OK(vfs_create(s, "f", 0, 0, &w));
    CHECK_OK(vfs_write(w, memcpy(edge() - sizeof value, value, sizeof value), sizeof value));
    CHECK_OK(vfs_write(w, edge(), 0));
    CHECK_OK(vfs_seal(w));
    CHECK_OK(vfs_remove(s, "f"));
    vfs_stat_t *last_stat = memcpy(edge() - sizeof stat, &stat, sizeof stat);
    CHECK_OK(vfs_stat(s, "good", last_stat));
    CHECK_INT(last_stat->size, 100);
    vfs_tier_stat_t tier = VFS_TIER_STAT_INIT, *last_tier = memcpy(edge() - sizeof tier, &tier, sizeof tier);
    CHECK_OK(vfs_tier_stat(s, 0, last_tier));
    CHECK_STR(last_tier->dir, A);
    vfs_view_t *last_view = (vfs_view_t *)(void *)(edge() - sizeof view);
    CHECK_OK(vfs_map(s, "good", last_view, NULL));
    CHECK(last_view->len == 100 && is_value_at(last_view->data, 100, 0, 1, 100));
    QUIET(vfs_unmap(last_view));
    const char **last_keys = (const char **)(void *)(edge() - 2 * sizeof key);
    last_keys[0] = last_keys[1] = "e";
    CHECK_OK(vfs_remove_owned(s, last_keys, 2));
    options.tiers = A;
    CHECK_OK(vfs_open(memcpy(edge() - sizeof options, &options, sizeof options), &h));
    QUIET(vfs_close(h));
    /* a struct that is refused for its size is not looked at further */
    uint32_t sizes[] = {0, 39, 65537, UINT32_MAX};
    for (unsigned i = 0; i < 4; i++) {
        void *place = memcpy(edge() - sizeof sizes[0], &sizes[i], sizeof sizes[0]);
        REFUSED(vfs_stat(s, "good", place), VFS_ERR_INVALID);
        REFUSED(vfs_tier_stat(s, 0, place), VFS_ERR_INVALID);
        REFUSED(vfs_open(place, &h), VFS_ERR_INVALID);
    }
}

/* Buffers, structs and places for what is answered lie at any address: bindings pack them. */
static void unaligned(vfs_t *s)
{
    uint64_t words[64];
    for (unsigned skew = 1; skew < 8; skew++) {
        unsigned char *at = (unsigned char *)words + skew, value[100];
        vfs_options_t options = VFS_OPTIONS_INIT;
        vfs_stat_t stat = VFS_STAT_INIT;
        vfs_tier_stat_t tier = VFS_TIER_STAT_INIT;
        vfs_view_t view;
        vfs_t *h;
        vfs_writer_t *w;
        vfs_list_t *list;
        void *room;
        const char *key = "k";
        size_t len;
        uint64_t removed;
#define TAKE(what) memcpy(&what, at, sizeof what)
#define PLACE(what) ((void *)memcpy(at, &what, sizeof what))
        value_at(at, 100, 0, skew, 100);
        CHECK_OK(vfs_store(s, "k", at, 100, VFS_REPLACE));
        CHECK_VALUE(s, "k", 100, skew);
        memset(words, 0xA5, sizeof words);
        CHECK_OK(vfs_read(s, "k", 0, at, 100, &len, NULL));
        CHECK(len == 100 && is_value_at(at, 100, 0, skew, 100) && at[100] == 0xA5 && at[-1] == 0xA5);
        CHECK_OK(vfs_read(s, "k", 0, value, 100, (size_t *)(void *)at, NULL));
        TAKE(len);
        CHECK_INT(len, 100);
        CHECK_OK(vfs_stat(s, "k", PLACE(stat)));
        TAKE(stat);
        CHECK(stat.size == 100 && stat.struct_size == sizeof stat);
        stat.size = 0;
        CHECK_OK(vfs_read(s, "k", 0, value, 100, &len, PLACE(stat)));
        TAKE(stat);
        CHECK_INT(stat.size, 100);
        CHECK_OK(vfs_tier_stat(s, 0, PLACE(tier)));
        TAKE(tier);
        CHECK_STR(tier.dir, A);
        memset(at, 0, sizeof view);
        CHECK_OK(vfs_map(s, "k", (vfs_view_t *)(void *)at, NULL));
        TAKE(view);
        CHECK(view.len == 100 && is_value_at(view.data, 100, 0, skew, 100));
        QUIET(vfs_unmap((vfs_view_t *)(void *)at));
        CHECK(is_filled(at, 0, sizeof view, 0));
        QUIET(vfs_unmap((vfs_view_t *)(void *)at));
        CHECK_OK(vfs_list_open(s, (vfs_list_t **)(void *)at));
        TAKE(list);
        CHECK_OK(vfs_list_next(list, (const char **)(void *)at, &stat));
        TAKE(key);
        CHECK(strcmp(key, "k") == 0 || strcmp(key, "good") == 0);
        CHECK_OK(vfs_list_next(list, &key, PLACE(stat)));
        QUIET(vfs_list_close(list));
        CHECK_OK(vfs_create(s, "w", 0, 0, (vfs_writer_t **)(void *)at));
        TAKE(w);
        CHECK_OK(vfs_reserve(w, 50, (void **)(void *)at));
        TAKE(room);
        value_at(room, 50, 0, skew, 100);
        value_at(at, 50, 50, skew, 100);
        CHECK_OK(vfs_write(w, at, 50));
        CHECK_OK(vfs_seal(w));
        CHECK_VALUE(s, "w", 100, skew);
        CHECK_OK(vfs_reap(s, (uint64_t *)(void *)at));
        TAKE(removed);
        CHECK_INT(removed, 0);
        key = "w";
        CHECK_OK(vfs_remove_owned(s, PLACE(key), 1));
        CHECK_IS(vfs_has(s, "w"), 0);
        options.tiers = A;
        options.name = "harness";
        CHECK_OK(vfs_open(PLACE(options), &h));
        CHECK_VALUE(h, "k", 100, skew);
        QUIET(vfs_close(h));
        CHECK_OK(vfs_open(&options, (vfs_t **)(void *)at));
        TAKE(h);
        CHECK_IS(vfs_has(h, "k"), 1);
        QUIET(vfs_close(h));
        /* refused there as anywhere */
        h = s;
        options.flags = 2;
        CHECK_IS(vfs_open(&options, PLACE(h)), VFS_ERR_INVALID);
        TAKE(h);
        CHECK(h == NULL);
        options.struct_size = 5;
        CHECK_IS(vfs_open(PLACE(options), &h), VFS_ERR_INVALID);
        stat.struct_size = 5;
        CHECK_IS(vfs_stat(s, "k", PLACE(stat)), VFS_ERR_INVALID);
#undef TAKE
#undef PLACE
    }
    CHECK_OK(vfs_remove(s, "k"));
}

/* ---- random arguments ---- */

enum { BAD = 1, BAD_KEY = 2, STORES = 3, HELD = 4, SLOTS = 8, SLOT = 512 };

static vfs_t *stores[STORES]; /* the last one reads only */
static vfs_writer_t *writers[HELD];
static vfs_list_t *lists[HELD];
static vfs_view_t views[HELD];
/* What is wrong with the arguments of the call that is being made up. */
static unsigned bad;
static int reads_only;
/* Where it answers, and how that was before the call. */
static unsigned char answers[SLOTS * SLOT], answers_before[sizeof answers];
static unsigned slots_taken;

static uint64_t below(uint64_t end)
{
    static uint64_t state = 88172645463325252u;
    state ^= state << 13;
    state ^= state >> 7;
    state ^= state << 17;
    return (state >> 8) % end;
}

static vfs_t *some_store(void)
{
    uint64_t at = below(4 * STORES + 1);
    reads_only = at % STORES == STORES - 1;
    if (at < 4 * STORES)
        return stores[at % STORES];
    bad |= BAD;
    return NULL;
}

static const char *const STORM_KEYS[] = {"a", "b", "objects", "\xFF"};
enum { N_STORM_KEYS = sizeof STORM_KEYS / sizeof STORM_KEYS[0] };

static const char *some_key(void)
{
    switch (below(12)) {
    case 0:
        bad |= BAD;
        return NULL;
    case 1:
        bad |= BAD_KEY;
        return BAD_KEYS[below(N_BAD_KEYS)];
    case 2:
        bad |= BAD_KEY;
        return endless();
    case 3:
        return at_the_edge(1 + below(255));
    default:
        return STORM_KEYS[below(N_STORM_KEYS)];
    }
}

static uint32_t some_flags(uint32_t known)
{
    uint32_t flags = (uint32_t)below(4) & known;
    if (below(6) == 0)
        flags = (uint32_t)below(1ull << 32);
    if (flags & ~known)
        bad |= BAD;
    return flags;
}

/* A place to answer to, filled with what a failure must leave; NULL, seldom, which may be `allowed`. */
static void *some_place(int allowed)
{
    if (below(10) == 0) {
        bad |= allowed ? 0 : BAD;
        return NULL;
    }
    CHECK(slots_taken < SLOTS);
    return answers + slots_taken++ * SLOT + below(16);
}

static void *some_struct(uint32_t known, int allowed)
{
    unsigned char *place = some_place(allowed);
    uint32_t size = known;
    if (!place)
        return NULL;
    switch (below(8)) {
    case 0: size = (uint32_t)below(known); break;
    case 1: size = known + (uint32_t)below(200); break;
    case 2: size = HUGE_SIZES[below(N_HUGE)]; break;
    }
    if (size < known || size > 65536)
        bad |= BAD;
    memcpy(place, &size, sizeof size);
    return place;
}

/* A buffer of some length: the length is told, the address is maybe NULL. */
static void *some_buffer(size_t *len)
{
    static unsigned char buffer[6000];
    static const size_t too_long[] = {(size_t)PTRDIFF_MAX + 1, (size_t)PTRDIFF_MAX + 2, SIZE_MAX - 1, SIZE_MAX};
    *len = below(3) == 0 ? below(4) : below(5000);
    if (below(10) == 0)
        *len = too_long[below(4)];
    void *data = below(10) == 0 ? NULL : below(2) ? (void *)(edge_of(2) - (*len > 6000 ? 0 : *len)) : (void *)(buffer + below(64));
    if (*len > PTRDIFF_MAX || (!data && *len))
        bad |= BAD;
    return data;
}

/* The call was made: it said what there was to say, and a failure wrote nothing but NULL for a handle. */
static int32_t judged(const char *what, int32_t status, void *handle_place)
{
    int refused = (status == VFS_ERR_INVALID && bad & BAD) || (status == VFS_ERR_KEY && bad & BAD_KEY);
    if (status == VFS_ERR_READ_ONLY && !reads_only)
        FAIL("%s answered %s: %s", what, status_name(status), vfs_last_error());
    if (bad ? !refused : status == VFS_ERR_INVALID || status == VFS_ERR_KEY || status == VFS_ERR_PANIC)
        FAIL("%s answered %s, arguments %s: %s", what, status_name(status), bad ? "were bad" : "were good", vfs_last_error());
    if (status < 0 && handle_place)
        memset(answers_before + ((unsigned char *)handle_place - answers), 0, sizeof(void *));
    if (status < 0 && memcmp(answers, answers_before, sizeof answers) != 0)
        FAIL("%s failed with %s, but wrote an output", what, status_name(status));
    if (status < 0 && strncmp(vfs_last_error(), what, strlen(what)) != 0)
        FAIL("%s failed, but the last error is %s", what, vfs_last_error());
    return status;
}
#define MADE(function, handle_place, ...)                                                                              \
    (memcpy(answers_before, answers, sizeof answers), judged(#function, STATUS(function(__VA_ARGS__)), handle_place))


static void random_open(void)
{
    vfs_options_t options = VFS_OPTIONS_INIT;
    vfs_t *store;
    unsigned char *place, copy[512] = {0};
    options.name = some_key();
    bad = options.name && bad ? BAD : 0; /* none is the default, and a bad one is an argument like others */
    options.tiers = A;
    if (below(8) == 0) {
        options.tiers = "nonsense";
        bad |= BAD;
    }
    options.flags = some_flags(VFS_READ_ONLY);
    if (below(6) == 0) {
        options.struct_size = (uint32_t)below(sizeof options);
        bad |= BAD;
    } else if (below(4) == 0) {
        options.struct_size = (uint32_t)(sizeof options + below(400)); /* of a later version, nothing of which is set */
    }
    memcpy(copy, &options, sizeof options);
    place = some_place(0);
    if (MADE(vfs_open, place, (vfs_options_t *)(void *)copy, (vfs_t **)(void *)place) == VFS_OK) {
        memcpy(&store, place, sizeof store);
        QUIET(vfs_close(store));
    }
}

static void random_call(void)
{
    size_t len;
    const unsigned at = (unsigned)below(HELD), function = (unsigned)below(20);
    const char *key, *keys[3];
    unsigned char *place;
    void *data, *stat;
    uint32_t flags;
    vfs_t *s = NULL;
    bad = 0;
    reads_only = 0;
    slots_taken = 0;
    memset(answers, 0xA5, sizeof answers);
    if (function < 14)
        s = some_store();
    switch (function) {
    case 0:
    case 1:
        key = some_key();
        data = some_buffer(&len);
        flags = some_flags(VFS_REPLACE | VFS_PERSIST);
        MADE(vfs_store, NULL, s, key, data, len, flags);
        break;
    case 2:
        key = some_key();
        data = some_buffer(&len);
        place = some_place(0);
        stat = some_struct(sizeof(vfs_stat_t), 1);
        MADE(vfs_read, NULL, s, key, below(2) ? below(5000) : UINT64_MAX - below(5000), data, len, (size_t *)(void *)place, stat);
        break;
    case 3: {
        key = some_key();
        unsigned was = bad;
        bad &= ~(unsigned)BAD_KEY; /* what is no key is not there */
        int32_t status = MADE(vfs_has, NULL, s, key);
        CHECK(status <= 1 && (was != BAD_KEY || status == 0 || status == VFS_ERR_SHUTDOWN));
        break;
    }
    case 4:
        key = some_key();
        stat = some_struct(sizeof(vfs_stat_t), 0);
        MADE(vfs_stat, NULL, s, key, stat);
        break;
    case 5:
        MADE(vfs_remove, NULL, s, some_key());
        break;
    case 6: {
        unsigned first = 0, count = (unsigned)below(4);
        for (unsigned i = 0; i < count; i++) {
            unsigned before_it = bad;
            bad = 0;
            keys[i] = some_key();
            first = first || (reads_only && i > 0) ? first : bad; /* (a reader is refused the first good one) */
            bad = before_it;
        }
        bad = bad ? bad : first;
        len = count;
        if (below(8) == 0) {
            len = below(2) ? SIZE_MAX - below(9) : PTRDIFF_MAX / sizeof *keys + 1 + below(9);
            bad = BAD;
        }
        int none = below(8) == 0;
        if (none && len)
            bad = BAD;
        MADE(vfs_remove_owned, NULL, s, none ? NULL : keys, len);
        break;
    }
    case 7: {
        key = some_key();
        vfs_view_t *view = below(10) ? &views[at] : NULL;
        bad |= view ? 0 : BAD;
        stat = some_struct(sizeof(vfs_stat_t), 1);
        QUIET(vfs_unmap(&views[at]));
        views[at] = (vfs_view_t){answers, 7, answers};
        if (MADE(vfs_map, NULL, s, key, view, stat) != VFS_OK) {
            CHECK(views[at].data == answers && views[at].len == 7 && views[at].owner == answers);
            views[at] = (vfs_view_t){0};
        }
        break;
    }
    case 8:
    case 9:
        if (writers[at]) {
            QUIET(vfs_abort(writers[at]));
            writers[at] = NULL;
        }
        key = some_key();
        flags = some_flags(VFS_REPLACE | VFS_PERSIST);
        place = some_place(0);
        if (MADE(vfs_create, place, s, key, below(3) ? below(9000) : UINT64_MAX >> below(64), flags,
                 (vfs_writer_t **)(void *)place) == VFS_OK)
            memcpy(&writers[at], place, sizeof writers[at]);
        break;
    case 10:
        if (lists[at])
            QUIET(vfs_list_close(lists[at]));
        lists[at] = NULL;
        place = some_place(0);
        if (MADE(vfs_list_open, place, s, (vfs_list_t **)(void *)place) == VFS_OK)
            memcpy(&lists[at], place, sizeof lists[at]);
        break;
    case 11:
        place = some_place(1);
        MADE(vfs_reap, NULL, s, (uint64_t *)(void *)place);
        break;
    case 12:
        stat = some_struct(sizeof(vfs_tier_stat_t), 0);
        MADE(vfs_tier_stat, NULL, s, (uint32_t)(below(2) ? below(4) : below(1ull << 32)), stat);
        break;
    case 13:
        if (!s)
            MADE(vfs_shutdown, NULL, s);
        break;
    case 14:
        random_open();
        break;
    case 15:
        data = some_buffer(&len);
        bad |= writers[at] ? 0 : BAD;
        MADE(vfs_write, NULL, writers[at], data, len);
        break;
    case 16:
        len = below(4) ? below(5000) : SIZE_MAX >> below(64);
        place = some_place(0);
        bad |= !writers[at] || len > PTRDIFF_MAX ? BAD : 0;
        if (MADE(vfs_reserve, NULL, writers[at], len, (void **)(void *)place) == VFS_OK && len) {
            memcpy(&data, place, sizeof data);
            memset(data, 'r', len < 5000 ? len : 5000);
        }
        break;
    case 17:
        if (writers[at] && below(2)) {
            int32_t status = STATUS(vfs_seal(writers[at])); /* (INVALID where its last part was refused) */
            CHECK(status <= 0 && status != VFS_ERR_PANIC && status != VFS_ERR_KEY);
        } else if (writers[at]) {
            QUIET(vfs_abort(writers[at]));
        } else {
            QUIET(vfs_abort(NULL));
            bad = BAD;
            MADE(vfs_seal, NULL, NULL);
        }
        writers[at] = NULL;
        break;
    case 18:
        bad |= lists[at] ? 0 : BAD;
        place = some_place(0);
        stat = some_struct(sizeof(vfs_stat_t), 0);
        MADE(vfs_list_next, NULL, lists[at], (const char **)(void *)place, stat);
        break;
    default:
        CHECK(vfs_strerror((int32_t)(uint32_t)below(1ull << 32))[0] != 0);
        CHECK(vfs_strerror((int32_t)below(120) - 110)[0] != 0);
        CHECK_STR(vfs_version(), VFS_VERSION);
        CHECK(vfs_last_errno() >= 0);
        QUIET(vfs_list_close(NULL));
        QUIET(vfs_unmap(below(2) ? NULL : &views[at]));
    }
}

/* Whatever functions are called with, the answer is one of those that the header lists, and blobs are whole. */
static void storm(void)
{
    enum { CALLS = 8000 };
    const char *both = say("%s?max=64K,%s", A, B);
    stores[0] = open_on(both);
    stores[1] = open_on(both);
    stores[2] = open_as(both, "harness", VFS_READ_ONLY);
    CHECK_OK(put(stores[0], "bystander", 3000, 1, 0));
    CHECK_OK(put(stores[1], "persistent", 70000, 2, VFS_PERSIST));
    for (unsigned i = 0; i < CALLS; i++) {
        random_call();
        if (i % 500 == 0) {
            CHECK_VALUE(stores[i / 500 % STORES], "bystander", 3000, 1);
            CHECK_VALUE(stores[i / 500 % STORES], "persistent", 70000, 2);
        }
    }
    tell_points("random arguments", CALLS);
    for (unsigned i = 0; i < HELD; i++) {
        QUIET(vfs_abort(writers[i]));
        QUIET(vfs_list_close(lists[i]));
        QUIET(vfs_unmap(&views[i]));
    }
    for (unsigned i = 0; i < STORES; i++) {
        CHECK_VALUE(stores[i], "bystander", 3000, 1);
        CHECK_VALUE(stores[i], "persistent", 70000, 2);
    }
    for (unsigned i = 0; i < N_STORM_KEYS; i++) {
        CHECK_OK(put(stores[i % 2], STORM_KEYS[i], 100, i, VFS_REPLACE));
        CHECK_VALUE(stores[2], STORM_KEYS[i], 100, i);
    }
    /* what a key of many bytes was stored under may be persistent */
    for (size_t len = 1; len <= 255; len++) {
        int32_t status = STATUS(vfs_remove(stores[0], at_the_edge(len)));
        CHECK(status == VFS_OK || status == VFS_ERR_NOT_FOUND);
    }
    CHECK_OK(vfs_remove(stores[0], "persistent"));
    CHECK_INT(listed_all(stores[0]), 1 + N_STORM_KEYS);
    for (unsigned i = 0; i < STORES; i++)
        QUIET(vfs_close(stores[i]));
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
    A = dir_of("a");
    B = dir_of("b");
    unsigned fds = descriptors();
    if (strcmp(mode, "storm") == 0) {
        storm();
        CHECK_INT(descriptors(), fds);
        CHECK_NOTHING_LEFT(A);
        CHECK_NOTHING_LEFT(B);
        return 0;
    }
    vfs_t *s = open_on(A);
    CHECK_OK(put(s, "good", 100, 1, 0));
    before = print_of(scratch);
    if (strcmp(mode, "edges") == 0) {
        edges(s);
    } else if (strcmp(mode, "unaligned") == 0) {
        unaligned(s);
    } else {
        CHECK_STR(mode, "refused");
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
    }
    CHECK_VALUE(s, "good", 100, 1);
    QUIET(vfs_close(s));
    CHECK_INT(descriptors(), fds);
    CHECK_NOTHING_LEFT(A);
    CHECK_NOTHING_LEFT(B);
    return 0;
}

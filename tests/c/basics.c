/* What every function does when all goes well, for blobs of all sizes.
 * MODE: the tiers, of "tmpfs", "disk", "memory", joined by '+'. */
#include "harness.h"

static int memory_only;
static const char *tiers;

static const size_t SIZES[] = {0, 1, 7, 63, 64, 65, 4095, 4096, 4097, 65536, 300001, 1 << 20, (1 << 20) + 1};
enum { N_SIZES = sizeof SIZES / sizeof SIZES[0] };

static void check_offsets(vfs_t *s, const char *key, size_t len, uint64_t seed)
{
    const uint64_t offsets[] = {0, 1, len / 2, len ? len - 1 : 0, len, len + 1, len + 4096,
                                INT64_MAX, (uint64_t)INT64_MAX + 1, UINT64_MAX};
    const size_t caps[] = {0, 1, 100, 5000};
    unsigned char buffer[5000 + 16];
    for (unsigned i = 0; i < sizeof offsets / sizeof offsets[0]; i++) {
        for (unsigned j = 0; j < sizeof caps / sizeof caps[0]; j++) {
            uint64_t offset = offsets[i], rest = offset < len ? len - offset : 0;
            size_t cap = caps[j], want = cap < rest ? cap : (size_t)rest, got = 777;
            memset(buffer, 0xA5, sizeof buffer);
            vfs_stat_t stat = VFS_STAT_INIT;
            CHECK_OK(vfs_read(s, key, offset, buffer, cap, &got, &stat));
            CHECK_INT(got, want);
            CHECK_INT(stat.size, len);
            CHECK(is_value_at(buffer, got, offset, seed, len));
            for (size_t k = cap; k < sizeof buffer; k++)
                CHECK_INT(buffer[k], 0xA5);
        }
    }
    size_t got = 777;
    CHECK_OK(vfs_read(s, key, 0, NULL, 0, &got, NULL));
    CHECK_INT(got, 0);
}

static void check_view(vfs_t *s, const char *key, size_t len, uint64_t seed)
{
    vfs_view_t one = {0}, two = {0};
    CHECK_OK(vfs_map(s, key, &one, NULL));
    CHECK_OK(vfs_map(s, key, &two, NULL));
    CHECK_INT(one.len, len);
    if (len == 0)
        CHECK(one.data == NULL && two.data == NULL);
    else
        CHECK((uintptr_t)one.data % 64 == 0 && (uintptr_t)two.data % 64 == 0);
    QUIET(vfs_unmap(&one));
    CHECK(one.data == NULL && one.len == 0 && one.owner == NULL);
    CHECK(is_value_at(two.data, two.len, 0, seed, len));
    QUIET(vfs_unmap(&one));
    QUIET(vfs_unmap(&two));
    QUIET(vfs_unmap(&two));
}

static void one_size(vfs_t *s, size_t len)
{
    const char *key = say("blob-%zu", len);
    uint64_t seed = 100 + len;
    struct timespec now;
    CHECK_ABSENT(s, key);
    CHECK_INT(listed(s, key), 0);
    CHECK_OK(put(s, key, len, seed, 0));
    CHECK_VALUE(s, key, len, seed);
    check_offsets(s, key, len, seed);
    check_view(s, key, len, seed);
    CHECK_INT(listed(s, key), 1);

    vfs_stat_t first = VFS_STAT_INIT, second = VFS_STAT_INIT;
    CHECK_OK(vfs_stat(s, key, &first));
    CHECK_INT(first.flags, VFS_STAT_OWNED);
    CHECK_INT(first.struct_size, sizeof first);
    CHECK_INT(first.reserved, 0);
    clock_gettime(CLOCK_REALTIME, &now);
    int64_t age = (int64_t)now.tv_sec - (int64_t)(first.stored_at_ns / 1000000000u);
    CHECK(age > -3600 && age < 3600);

    /* one value */
    CHECK_IS(put(s, key, len + 9, seed + 1, 0), VFS_ERR_EXISTS);
    CHECK_IS(put(s, key, 0, 0, VFS_PERSIST), VFS_ERR_EXISTS);
    CHECK_VALUE(s, key, len, seed);
    CHECK_OK(vfs_stat(s, key, &second));
    CHECK_INT(second.id, first.id);

    /* replaced, also by the same bytes: another id */
    CHECK_OK(put(s, key, len + 9, seed + 1, VFS_REPLACE));
    CHECK_VALUE(s, key, len + 9, seed + 1);
    CHECK_OK(vfs_stat(s, key, &second));
    CHECK(second.id != first.id);
    CHECK_OK(put(s, key, len + 9, seed + 1, VFS_REPLACE));
    CHECK_OK(vfs_stat(s, key, &first));
    CHECK(second.id != first.id);
    CHECK_OK(put(s, key, len, seed, VFS_REPLACE));
    CHECK_VALUE(s, key, len, seed);
    CHECK_INT(listed(s, key), 1);

    CHECK_OK(vfs_remove(s, key));
    CHECK_ABSENT(s, key);
    CHECK_IS(vfs_remove(s, key), VFS_ERR_NOT_FOUND);
    CHECK_INT(listed(s, key), 0);

    /* replacing what is not there is storing */
    CHECK_OK(put(s, key, len, seed, VFS_REPLACE));
    CHECK_VALUE(s, key, len, seed);
    const char *keys[1] = {key};
    CHECK_OK(vfs_remove_owned(s, keys, 1));
    CHECK_ABSENT(s, key);
}

static void one_stream(vfs_t *s, size_t len, size_t piece, int reserve)
{
    const char *key = say("stream-%zu-%zu-%d", len, piece, reserve);
    uint64_t seed = len * 3 + piece;
    vfs_writer_t *w = NULL;
    CHECK_OK(vfs_create(s, key, 0, 0, &w));
    CHECK(w != NULL);
    for (size_t at = 0; at < len;) {
        size_t n = len - at < piece ? len - at : piece;
        if (reserve && (at / piece) % 2 == 0) {
            void *room = NULL;
            CHECK_OK(vfs_reserve(w, n, &room));
            CHECK(room != NULL);
            value_at(room, n, at, seed, len);
        } else {
            unsigned char *data = malloc(n);
            CHECK(data);
            value_at(data, n, at, seed, len);
            CHECK_OK(vfs_write(w, data, n));
            free(data);
        }
        at += n;
        CHECK_OK(vfs_write(w, NULL, 0));
        CHECK_OK(vfs_write(w, "", 0));
    }
    CHECK_ABSENT(s, key);
    CHECK_INT(listed(s, key), 0);
    CHECK_OK(vfs_seal(w));
    CHECK_VALUE(s, key, len, seed);
    CHECK_OK(vfs_remove(s, key));

    CHECK_OK(vfs_create(s, key, len, VFS_REPLACE, &w));
    CHECK_OK(vfs_write(w, "abc", 3));
    QUIET(vfs_abort(w));
    CHECK_ABSENT(s, key);
}

static void look_from_outside(void *arg)
{
    (void)arg;
    vfs_t *s = open_on(tiers), *r = open_as(tiers, "harness", VFS_READ_ONLY);
    for (unsigned i = 0; i < N_SIZES; i++) {
        const char *key = say("all-%zu", SIZES[i]);
        CHECK_VALUE(s, key, SIZES[i], i);
        CHECK_VALUE(r, key, SIZES[i], i);
        CHECK_INT(flags_of(s, key), i % 2 ? VFS_STAT_PERSISTENT : 0);
    }
    CHECK_INT(listed_all(s), N_SIZES);
    CHECK_IS(put(s, "all-0", 5, 5, 0), VFS_ERR_EXISTS);
    QUIET(vfs_close(s));
    QUIET(vfs_close(r));
}

/* All sizes at once, seen from another process too. */
static void many(vfs_t *s)
{
    for (unsigned i = 0; i < N_SIZES; i++)
        CHECK_OK(put(s, say("all-%zu", SIZES[i]), SIZES[i], i, i % 2 ? VFS_PERSIST : 0));
    CHECK_INT(listed_all(s), N_SIZES);
    for (unsigned i = 0; i < N_SIZES; i++) {
        const char *key = say("all-%zu", SIZES[i]);
        CHECK_VALUE(s, key, SIZES[i], i);
        CHECK_INT(flags_of(s, key), i % 2 ? VFS_STAT_PERSISTENT : VFS_STAT_OWNED);
    }
    if (!memory_only) {
        JOIN(start_child(look_from_outside, NULL));
        CHECK_INT(listed_all(s), N_SIZES);
    }
    uint64_t blobs = 0, bytes = 0, want_blobs = 0, want_bytes = 0, stored = 0;
    for (unsigned i = 0; i < N_SIZES; i += 2) {
        want_blobs++;
        want_bytes += SIZES[i];
    }
    vfs_tier_stat_t stat = VFS_TIER_STAT_INIT;
    uint32_t index = 0;
    for (; STATUS(vfs_tier_stat(s, index, &stat)) == VFS_OK; index++) {
        blobs += stat.blobs;
        bytes += stat.bytes;
        stored += stat.stored;
        CHECK(stat.flags & VFS_TIER_USABLE);
        CHECK_INT(stat.last_errno, 0);
        CHECK_INT(stat.refused, 0);
        CHECK((stat.dir == NULL) == (stat.kind == VFS_TIER_MEMORY));
    }
    CHECK(blobs >= want_blobs && blobs <= N_SIZES);
    CHECK(bytes >= want_bytes);
    CHECK(stored >= N_SIZES);
    CHECK_IS(vfs_tier_stat(s, index, &stat), VFS_ERR_NOT_FOUND);
    CHECK_IS(vfs_tier_stat(s, UINT32_MAX, &stat), VFS_ERR_NOT_FOUND);

    const char *keys[N_SIZES + 1];
    char names[N_SIZES][32];
    for (unsigned i = 0; i < N_SIZES; i++) {
        snprintf(names[i], sizeof names[i], "all-%zu", SIZES[i]);
        keys[i] = names[i];
    }
    keys[N_SIZES] = "never-stored";
    CHECK_OK(vfs_remove_owned(s, keys, 0));
    CHECK_OK(vfs_remove_owned(s, NULL, 0));
    CHECK_INT(listed_all(s), N_SIZES);
    CHECK_OK(vfs_remove_owned(s, keys, N_SIZES + 1));
    for (unsigned i = 0; i < N_SIZES; i++) {
        if (i % 2 == 0) {
            CHECK_ABSENT(s, names[i]);
        } else {
            CHECK_VALUE(s, names[i], SIZES[i], i);
            CHECK_OK(vfs_remove(s, names[i]));
        }
    }
    CHECK_INT(listed_all(s), 0);
    for (index = 0; STATUS(vfs_tier_stat(s, index, &stat)) == VFS_OK; index++)
        CHECK(stat.blobs == 0 && stat.bytes == 0);
}

/* Keys are any bytes but a few; none can be mistaken for a name of ours. */
static void odd_keys(vfs_t *s)
{
    char longest[256], nearly[255], high[256], every[2] = {0, 0};
    memset(longest, 'x', 255);
    longest[255] = 0;
    memset(nearly, 'x', 254);
    nearly[254] = 0;
    memset(high, 0xFF, 255);
    high[255] = 0;
    const char *keys[] = {"a", " ", "...", ".hidden", "lock", "owners", "objects", "default", "vfs1-0", "-rf", "*", "%2C", "a b",
                          "k\xC3\xA9y", "\xE6\x97\xA5\xE6\x9C\xAC", "\xFF", "\x80\xFE", "new", "1", "\"'", longest, nearly,
                          high};
    unsigned n = sizeof keys / sizeof keys[0];
    for (unsigned i = 0; i < n; i++)
        CHECK_OK(put(s, keys[i], 100 + i, i, i % 2 ? VFS_PERSIST : 0));
    for (unsigned i = 0; i < n; i++) {
        CHECK_VALUE(s, keys[i], 100 + i, i);
        CHECK_INT(listed(s, keys[i]), 1);
    }
    CHECK_INT(listed_all(s), n);
    for (unsigned i = 0; i < n; i++) {
        CHECK_OK(put(s, keys[i], 50 + i, i, VFS_REPLACE));
        CHECK_VALUE(s, keys[i], 50 + i, i);
        CHECK_OK(vfs_remove(s, keys[i]));
        CHECK_ABSENT(s, keys[i]);
    }
    for (int byte = 0x20; byte < 0x100; byte++) {
        every[0] = (char)byte;
        if (byte == '/' || byte == '\\' || byte == 0x7F || byte == '.')
            continue;
        CHECK_OK(put(s, every, 17, (uint64_t)byte, 0));
        CHECK_VALUE(s, every, 17, byte);
        CHECK_OK(vfs_remove(s, every));
    }
    CHECK_INT(listed_all(s), 0);
}

/* A listing while keys come and go names once each key that stays. */
static void listing(vfs_t *s)
{
    enum { STAY = 120, COME = 120 };
    unsigned char seen[STAY] = {0};
    for (int i = 0; i < STAY; i++)
        CHECK_OK(put(s, say("stay-%d", i), 20, (uint64_t)i, 0));
    vfs_list_t *list = NULL;
    CHECK_OK(vfs_list_open(s, &list));
    int turn = 0;
    for (;;) {
        const char *key = NULL;
        vfs_stat_t stat = VFS_STAT_INIT;
        int32_t status = STATUS(vfs_list_next(list, &key, &stat));
        if (status != VFS_OK) {
            CHECK_INT(status, VFS_ERR_NOT_FOUND);
            break;
        }
        int number;
        if (sscanf(key, "stay-%d", &number) == 1) {
            CHECK(number >= 0 && number < STAY);
            CHECK_INT(seen[number]++, 0);
            CHECK_INT(stat.size, 20);
        }
        if (turn < COME)
            CHECK_OK(put(s, say("come-%d", turn), 5, 5, 0));
        if (turn > 10 && turn < COME)
            CHECK_OK(vfs_remove(s, say("come-%d", turn - 10)));
        turn++;
    }
    const char *key = "as it was";
    vfs_stat_t stat = VFS_STAT_INIT;
    stat.size = 7;
    CHECK_IS(vfs_list_next(list, &key, &stat), VFS_ERR_NOT_FOUND);
    CHECK_STR(key, "as it was");
    CHECK_INT(stat.size, 7);
    QUIET(vfs_list_close(list));
    for (int i = 0; i < STAY; i++)
        CHECK_INT(seen[i], 1);
    /* two at once, one of them left early */
    vfs_list_t *one = NULL, *two = NULL;
    CHECK_OK(vfs_list_open(s, &one));
    CHECK_OK(vfs_list_open(s, &two));
    CHECK_OK(vfs_list_next(one, &key, &stat));
    QUIET(vfs_list_close(one));
    CHECK_OK(vfs_list_next(two, &key, &stat));
    QUIET(vfs_list_close(two));
}

static void in_words(void)
{
    char version[64];
    snprintf(version, sizeof version, "%d.%d.%d", VFS_VERSION_MAJOR, VFS_VERSION_MINOR, VFS_VERSION_PATCH);
    CHECK_STR(vfs_version(), version);
    const int32_t codes[] = {0, -1, -2, -3, -4, -5, -6, -7, -8, -9, -10, -11, -12, -13, -14, -99};
    for (unsigned i = 0; i < sizeof codes / sizeof codes[0]; i++) {
        CHECK(vfs_strerror(codes[i]) && vfs_strerror(codes[i])[0]);
        for (unsigned j = 0; j < i; j++)
            CHECK(strcmp(vfs_strerror(codes[i]), vfs_strerror(codes[j])) != 0);
    }
    CHECK(vfs_strerror(-50) && vfs_strerror(1) && vfs_strerror(INT32_MIN) && vfs_strerror(INT32_MAX));
}

int main(int argc, char **argv)
{
    start(argc, argv);
    const char *dirs[4];
    unsigned used = 0;
    memory_only = strcmp(mode, "memory") == 0;
    char list[4 * PATH_MAX] = "";
    if (strstr(mode, "tmpfs")) {
        own_mounts();
        dirs[used++] = tmpfs_of("tmpfs", "size=64m");
        strcat(list, dirs[used - 1]);
    }
    if (strstr(mode, "disk")) {
        dirs[used++] = dir_of("disk");
        strcat(strcat(list, used > 1 ? "," : ""), dirs[used - 1]);
    }
    if (strstr(mode, "memory"))
        strcat(list, list[0] ? ",memory" : "memory");
    CHECK(list[0]);
    tiers = list;
    CHECK_STR(vfs_last_error(), "");
    CHECK_INT(vfs_last_errno(), 0);
    in_words();

    unsigned before = descriptors();
    vfs_t *s = open_on(tiers);
    for (unsigned i = 0; i < N_SIZES; i++)
        one_size(s, SIZES[i]);
    const size_t pieces[] = {1, 100, 4096, 70000};
    for (unsigned i = 0; i < N_SIZES; i++)
        for (unsigned j = 0; j < 4; j++)
            for (int reserve = 0; reserve < 2; reserve++)
                if (SIZES[i] / pieces[j] < 5000)
                    one_stream(s, SIZES[i], pieces[j], reserve);
    many(s);
    odd_keys(s);
    listing(s);
    CHECK_OK(put(s, "owned", 1000, 1, 0));
    CHECK_OK(put(s, "kept", 1000, 2, VFS_PERSIST));
    QUIET(vfs_close(s));
    CHECK_INT(descriptors(), before);

    s = open_on(tiers);
    CHECK_ABSENT(s, "owned");
    if (memory_only) {
        CHECK_ABSENT(s, "kept");
    } else {
        CHECK_VALUE(s, "kept", 1000, 2);
        CHECK_INT(flags_of(s, "kept"), VFS_STAT_PERSISTENT);
        CHECK_OK(vfs_remove(s, "kept"));
    }
    CHECK_INT(listed_all(s), 0);
    CHECK_OK(vfs_shutdown(s));
    QUIET(vfs_close(s));
    CHECK_INT(descriptors(), before);
    CHECK_INT(threads_running(), 1);
    for (unsigned i = 0; i < used; i++)
        CHECK_NOTHING_LEFT(dirs[i]);
    return 0;
}

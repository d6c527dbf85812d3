/* Every operation there is on the key "k", for tests that let something happen in its midst. Include it after between.h,
 * where that is used. */
#ifndef OPERATIONS_H
#define OPERATIONS_H

enum { SMALL = 200, LARGE = 9000 };

static char tiers[2 * PATH_MAX + 16];

static vfs_t *s;
static int32_t answer;
static unsigned char small_data[SMALL], large_data[LARGE];

static void do_store(void) { answer = vfs_store(s, "k", small_data, SMALL, 0); }
static void do_store_large(void) { answer = vfs_store(s, "k", large_data, LARGE, 0); }
static void do_persist(void) { answer = vfs_store(s, "k", small_data, SMALL, VFS_PERSIST); }
static void do_replace(void) { answer = vfs_store(s, "k", small_data, SMALL, VFS_REPLACE); }
static void do_remove(void) { answer = vfs_remove(s, "k"); }
static void do_reap(void) { answer = vfs_reap(s, NULL); }
static void do_shutdown(void) { answer = vfs_shutdown(s); }

static void do_remove_owned(void)
{
    const char *keys[] = {"k"};
    answer = vfs_remove_owned(s, keys, 1);
}

static void do_stream(void)
{
    vfs_writer_t *w = NULL;
    void *room = NULL;
    answer = vfs_create(s, "k", 0, VFS_REPLACE, &w);
    if (answer != VFS_OK)
        return;
    answer = vfs_write(w, small_data, 50);
    if (answer == VFS_OK && (answer = vfs_reserve(w, 50, &room)) == VFS_OK)
        memcpy(room, small_data + 50, 50);
    if (answer == VFS_OK)
        answer = vfs_write(w, small_data + 100, SMALL - 100);
    if (answer == VFS_OK)
        answer = vfs_seal(w);
    else
        vfs_abort(w);
}

static void whole(const void *bytes, size_t len)
{
    uint64_t seed = 0;
    CHECK(is_whole(bytes, len, &seed));
    CHECK(seed == 1 || seed == 2);
}

static void do_read(void)
{
    char got[LARGE];
    size_t len = 0;
    vfs_stat_t stat = VFS_STAT_INIT;
    answer = vfs_read(s, "k", 0, got, sizeof got, &len, &stat);
    if (answer == VFS_OK)
        whole(got, len);
}

static void do_map(void)
{
    vfs_view_t view = {0};
    answer = vfs_map(s, "k", &view, NULL);
    if (answer == VFS_OK)
        whole(view.data, view.len);
    vfs_unmap(&view);
}

static void do_stat(void)
{
    vfs_stat_t stat = VFS_STAT_INIT;
    answer = vfs_stat(s, "k", &stat);
}

static void do_miss(void) { answer = vfs_has(s, "absent"); }

static void do_list(void)
{
    vfs_list_t *list = NULL;
    answer = vfs_list_open(s, &list);
    while (answer == VFS_OK) {
        const char *key = NULL;
        vfs_stat_t stat = VFS_STAT_INIT;
        answer = vfs_list_next(list, &key, &stat);
    }
    vfs_list_close(list);
}

static void do_tier_stat(void)
{
    vfs_tier_stat_t stat = VFS_TIER_STAT_INIT;
    answer = vfs_tier_stat(s, 0, &stat);
}

static void do_open(void)
{
    vfs_options_t options = VFS_OPTIONS_INIT;
    vfs_t *opened = NULL;
    options.tiers = tiers;
    options.name = "harness";
    answer = vfs_open(&options, &opened);
#ifdef BETWEEN_H
    before_call = NULL; /* closing is another operation */
#endif
    vfs_close(opened);
}

/* Whose blob the key holds before: nobody's, the handle's own, another's, one without an owner, a dead owner's. */
enum before { NONE, OWN, FOREIGN, KEPT, DEAD, KINDS };

static const struct operation {
    const char *name;
    void (*run)(void);
    unsigned before; /* a set of them */
} operations[] = {
    {"store", do_store, 1 << NONE},
    {"store-large", do_store_large, 1 << NONE},
    {"persist", do_persist, 1 << NONE},
    {"replace", do_replace, 1 << OWN | 1 << FOREIGN | 1 << KEPT},
    {"stream", do_stream, 1 << NONE | 1 << FOREIGN},
    {"remove", do_remove, 1 << OWN | 1 << FOREIGN | 1 << KEPT},
    {"remove-owned", do_remove_owned, 1 << OWN},
    {"read", do_read, 1 << FOREIGN},
    {"map", do_map, 1 << OWN},
    {"stat", do_stat, 1 << OWN | 1 << DEAD},
    {"miss", do_miss, 1 << NONE},
    {"list", do_list, 1 << OWN | 1 << DEAD},
    {"tier-stat", do_tier_stat, 1 << OWN},
    {"reap", do_reap, 1 << DEAD},
    {"open", do_open, 1 << OWN | 1 << DEAD},
    {"shutdown", do_shutdown, 1 << OWN},
};

static void make_values(void)
{
    value_at(small_data, SMALL, 0, 2, SMALL);
    value_at(large_data, LARGE, 0, 2, LARGE);
}

UNUSED static void dying(void *arg)
{
    (void)arg;
    vfs_t *dead = open_on(tiers);
    CHECK_OK(put(dead, "k", SMALL, 1, 0));
}

/* Lets "k" be what it is to be before the operation. */
UNUSED static void prepare_key(enum before before, vfs_t *other)
{
    if (before == OWN || before == KEPT)
        CHECK_OK(put(s, "k", SMALL, 1, before == KEPT ? VFS_PERSIST : 0));
    if (before == FOREIGN)
        CHECK_OK(put(other, "k", SMALL, 1, 0));
    if (before == DEAD)
        JOIN(start_child(dying, NULL));
}

#endif

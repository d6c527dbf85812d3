/* A blob beyond 4 GiB in every function. Needs a tmpfs of 10 GiB and the memory for it; else says so. */
#include "harness.h"

static const uint64_t GIB = 1u << 30;
enum { PIECE = 64 << 20 };
#define LEN (4 * GIB + 12345)

static uint64_t memory_available(void)
{
    FILE *f = fopen("/proc/meminfo", "re");
    char line[256];
    unsigned long long kib = 0;
    while (f && fgets(line, sizeof line, f))
        if (sscanf(line, "MemAvailable: %llu kB", &kib) == 1)
            break;
    if (f)
        fclose(f);
    return kib * 1024;
}

/* Some places of the blob: its ends, both sides of 2 GiB and 4 GiB. */
static const uint64_t PLACES[] = {0, 4096, 2 * 1073741824u - 7, 2 * 1073741824u, 4 * 1073741824ull - 9, 4 * 1073741824ull,
                                  4 * 1073741824ull + 12345 - 100};
enum { N_PLACES = sizeof PLACES / sizeof PLACES[0] };

static void check_places(vfs_t *s, const char *key, const unsigned char *piece)
{
    vfs_stat_t stat = VFS_STAT_INIT;
    unsigned char got[100];
    size_t n;
    for (unsigned i = 0; i < N_PLACES; i++) {
        CHECK_OK(vfs_read(s, key, PLACES[i], got, sizeof got, &n, &stat));
        CHECK_INT(n, sizeof got);
        CHECK_INT(stat.size, LEN);
        for (unsigned j = 0; j < n; j++)
            CHECK_INT(got[j], piece[(PLACES[i] + j) % PIECE]);
    }
    CHECK_OK(vfs_read(s, key, LEN - 5, got, sizeof got, &n, NULL));
    CHECK_INT(n, 5);
    CHECK_OK(vfs_read(s, key, LEN, got, sizeof got, &n, NULL));
    CHECK_INT(n, 0);
    vfs_view_t view = {0};
    CHECK_OK(vfs_map(s, key, &view, NULL));
    CHECK_INT(view.len, LEN);
    for (unsigned i = 0; i < N_PLACES; i++)
        CHECK_INT(((const unsigned char *)view.data)[PLACES[i]], piece[PLACES[i] % PIECE]);
    QUIET(vfs_unmap(&view));
    CHECK_OK(vfs_stat(s, key, &stat));
    CHECK_INT(stat.size, LEN);
    CHECK_INT(listed(s, key), 1);
}

int main(int argc, char **argv)
{
    start(argc, argv);
    if (memory_available() < 14 * GIB) {
        skipped("a blob beyond 4 GiB: needs 14 GiB of free memory");
        return 0;
    }
    own_mounts();
    const char *a = tmpfs_of("a", "size=10g");
    vfs_t *s = open_on(a);
    unsigned char *piece = malloc(PIECE);
    CHECK(piece);
    value_at(piece, PIECE, 0, 1, PIECE);
    piece[0] = 0x5A;

    vfs_writer_t *w = NULL;
    CHECK_OK(vfs_create(s, "written", LEN, 0, &w));
    for (uint64_t at = 0; at < LEN; at += PIECE)
        CHECK_OK(vfs_write(w, piece, LEN - at < PIECE ? LEN - at : PIECE));
    CHECK_OK(vfs_seal(w));
    check_places(s, "written", piece);

    /* in one call, from the view of the other */
    vfs_view_t view = {0};
    CHECK_OK(vfs_map(s, "written", &view, NULL));
    CHECK_OK(vfs_store(s, "stored", view.data, view.len, 0));
    CHECK_OK(vfs_remove(s, "written"));
    check_places(s, "stored", piece);
    CHECK(memcmp(view.data, piece, PIECE) == 0);
    QUIET(vfs_unmap(&view));

    /* read in one call */
    unsigned char *all = mmap(NULL, LEN, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    CHECK(all != MAP_FAILED);
    size_t n = 0;
    CHECK_OK(vfs_read(s, "stored", 0, all, LEN, &n, NULL));
    CHECK_INT(n, LEN);
    for (unsigned i = 0; i < N_PLACES; i++)
        CHECK_INT(all[PLACES[i]], piece[PLACES[i] % PIECE]);
    munmap(all, LEN);
    CHECK_INT(tier_stat(s, 0).bytes, LEN);

    /* reserved in one call, replacing */
    CHECK_OK(vfs_remove(s, "stored"));
    CHECK_OK(put(s, "reserved", 10, 10, 0));
    CHECK_OK(vfs_create(s, "reserved", 0, VFS_REPLACE, &w));
    void *room = NULL;
    CHECK_OK(vfs_reserve(w, LEN, &room));
    for (unsigned i = 0; i < N_PLACES; i++)
        for (unsigned j = 0; j < 100; j++)
            ((unsigned char *)room)[PLACES[i] + j] = piece[(PLACES[i] + j) % PIECE];
    CHECK_OK(vfs_seal(w));
    check_places(s, "reserved", piece);
    free(piece);
    QUIET(vfs_close(s));
    CHECK_NOTHING_LEFT(a);
    return 0;
}

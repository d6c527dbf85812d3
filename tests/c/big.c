/* A blob beyond 4 GiB in every function. Needs 6 GiB of free memory for a tmpfs, or 10 GiB of disk; else says so. */
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
static const uint64_t PLACES[] = {
    0,
    4096,
    2 * 1073741824u - 7,
    2 * 1073741824u,
    4 * 1073741824ull - 9,
    4 * 1073741824ull,
    4 * 1073741824ull + 12345 - 100,
};
enum { N_PLACES = sizeof PLACES / sizeof PLACES[0] };

static unsigned char *piece;

/* Puts the bytes of those places into memory that is as long as the blob, and touches nothing else of it. */
static void mark_places(unsigned char *memory)
{
    for (unsigned i = 0; i < N_PLACES; i++)
        for (unsigned j = 0; j < 100; j++)
            memory[PLACES[i] + j] = piece[(PLACES[i] + j) % PIECE];
}

static void check_places(vfs_t *s, const char *key)
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
    CHECK_INT(tier_stat(s, 0).bytes, LEN);
}

/* As many addresses as the blob has bytes. `twice`: the same few pages again and again, so that all of it can be written. */
static unsigned char *addresses(int twice)
{
    unsigned char *all = mmap(NULL, LEN + PIECE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    CHECK(all != MAP_FAILED);
    if (twice) {
        int fd = memfd_create("pages", MFD_CLOEXEC);
        SYS(fd);
        SYS(ftruncate(fd, PIECE));
        for (uint64_t at = 0; at < LEN; at += PIECE)
            CHECK(mmap(all + at, PIECE, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_FIXED, fd, 0) == all + at);
        close(fd);
    }
    return all;
}

int main(int argc, char **argv)
{
    start(argc, argv);
    const char *a;
    if (memory_available() >= 6 * GIB && try_own_mounts() == 0) {
        a = tmpfs_of("a", "size=5g");
    } else {
        a = dir_of("a");
        if (free_bytes(a) < 10 * GIB) {
            skipped("a blob beyond 4 GiB: needs 6 GiB of free memory or 10 GiB of disk");
            return 0;
        }
    }
    vfs_t *s = open_on(a);
    piece = malloc(PIECE);
    CHECK(piece);
    value_at(piece, PIECE, 0, 1, PIECE);
    piece[0] = 0x5A;

    /* written in parts */
    vfs_writer_t *w = NULL;
    CHECK_OK(vfs_create(s, "written", LEN, 0, &w));
    for (uint64_t at = 0; at < LEN; at += PIECE)
        CHECK_OK(vfs_write(w, piece, LEN - at < PIECE ? LEN - at : PIECE));
    CHECK_OK(vfs_seal(w));
    check_places(s, "written");

    /* read in one call; the last part lies on top */
    unsigned char *memory = addresses(1);
    size_t n = 0;
    CHECK_OK(vfs_read(s, "written", 0, memory, LEN, &n, NULL));
    CHECK_INT(n, LEN);
    CHECK(memcmp(memory, piece, 12345) == 0);
    CHECK(memcmp(memory + 12345, piece + 12345, PIECE - 12345) == 0);
    munmap(memory, LEN + PIECE);
    CHECK_OK(vfs_remove(s, "written"));

    /* stored in one call, from pages that are zero but for those places */
    memory = addresses(0);
    mark_places(memory);
    CHECK_OK(vfs_store(s, "stored", memory, LEN, 0));
    munmap(memory, LEN + PIECE);
    check_places(s, "stored");
    CHECK_OK(vfs_remove(s, "stored"));

    /* reserved in one call, replacing */
    CHECK_OK(put(s, "reserved", 10, 10, 0));
    CHECK_OK(vfs_create(s, "reserved", 0, VFS_REPLACE, &w));
    void *room = NULL;
    CHECK_OK(vfs_reserve(w, LEN, &room));
    mark_places(room);
    CHECK_OK(vfs_seal(w));
    check_places(s, "reserved");
    free(piece);
    QUIET(vfs_close(s));
    CHECK_NOTHING_LEFT(a);
    return 0;
}

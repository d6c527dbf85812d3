/* Whose blob it is, is told by the file and not by the name: a link that outlived its blob, as a killed remover leaves
 * it, takes nothing of who has the key now. One MODE a case. */
#include "harness.h"

enum what { REMOVE_OWNED, SHUTDOWN, CLOSE, REPLACE_AND_CLOSE, WHATS };

static void stale_link(void)
{
    for (int what = 0; what < WHATS; what++) {
        const char *a = dir_of(say("a%d", what)), *keys[] = {"k"};
        vfs_t *s = open_on(a), *other = open_on(a);
        CHECK_OK(put(s, "k", 400, 1, 0));
        CHECK_OK(put(s, "mine", 400, 1, 0));
        SYS(unlink(say("%s/harness/objects/k", own_tier_dir(a, geteuid()))));
        CHECK_ABSENT(s, "k");
        CHECK_OK(put(other, "k", 500, 2, what == CLOSE ? VFS_PERSIST : 0));
        CHECK_INT(flags_of(s, "k"), what == CLOSE ? VFS_STAT_PERSISTENT : 0);
        switch (what) {
        case REMOVE_OWNED: CHECK_OK(vfs_remove_owned(s, keys, 1)); break;
        case SHUTDOWN: CHECK_OK(vfs_shutdown(s)); break;
        case REPLACE_AND_CLOSE:
            CHECK_OK(put(s, "k", 600, 3, VFS_REPLACE));
            CHECK_INT(flags_of(s, "k"), VFS_STAT_OWNED);
            CHECK_OK(put(other, "k", 500, 2, VFS_REPLACE));
            CHECK_INT(flags_of(other, "k"), VFS_STAT_OWNED);
            break;
        default: break;
        }
        CHECK_VALUE(other, "k", 500, 2);
        QUIET(vfs_close(s));
        CHECK_VALUE(other, "k", 500, 2);
        CHECK_ABSENT(other, "mine");
        CHECK_OK(vfs_remove(other, "k"));
        QUIET(vfs_close(other));
        CHECK_NOTHING_LEFT(a);
    }
}

/* ---- a blob that is removed or replaced is freed at once, whoever owned it ---- */

static void count_file(const char *path, const char *inside, const struct stat *st, void *arg)
{
    (void)path;
    (void)inside;
    if (S_ISREG(st->st_mode) && st->st_size >= 400)
        ++*(int *)arg;
}

/* How many names of blobs there are in a tier, the owners' own links too. */
static int names_in(const char *tier)
{
    int count = 0;
    walk(own_tier_dir(tier, geteuid()), "", count_file, &count);
    return count;
}

static void freed(void)
{
    const char *a = dir_of("a"), *b = dir_of("b");
    vfs_t *s = open_on(say("%s?max=10K,%s", a, b)), *other = open_on(say("%s?max=10K,%s", a, b));
    for (int i = 0; i < 2; i++) { /* by its owner, and by another */
        vfs_t *by = i ? other : s;
        for (int from = 0; from < 2; from++) { /* from the first tier and from the second */
            size_t old = from ? 20000 : 400;
            CHECK_OK(put(s, "k", old, 1, 0));
            CHECK_INT(tier_of(s, "k"), from);
            CHECK_INT(names_in(from ? b : a), 2);
            CHECK_OK(vfs_remove(by, "k"));
            CHECK_INT(names_in(a) + names_in(b), 0);
            for (int to = 0; to < 2; to++) { /* replaced in its tier and across */
                CHECK_OK(put(s, "k", old, 1, 0));
                CHECK_OK(put(by, "k", to ? 30000 : 500, 2, VFS_REPLACE));
                CHECK_INT(names_in(to ? b : a), 2);
                CHECK_INT(names_in(to ? a : b), 0);
                CHECK_OK(put(by, "k", to ? 30000 : 500, 2, VFS_REPLACE | VFS_PERSIST));
                CHECK_INT(names_in(a) + names_in(b), 1);
                CHECK_OK(vfs_remove(by, "k"));
                CHECK_INT(names_in(a) + names_in(b), 0);
            }
            CHECK_OK(put(by, "k", old, 1, 0));
            CHECK_OK(vfs_remove_owned(by, (const char *const[]){"k"}, 1));
            CHECK_INT(names_in(a) + names_in(b), 0);
        }
    }
    QUIET(vfs_close(other));
    QUIET(vfs_close(s));
    CHECK_NOTHING_LEFT(a);
    CHECK_NOTHING_LEFT(b);
}

/* ---- a size hint beyond what this process may write to a file: memory has no such limit ---- */

static void in_small_files(void *arg)
{
    struct rlimit small = {100 << 10, 100 << 10};
    vfs_writer_t *w = NULL;
    SYS(setrlimit(RLIMIT_FSIZE, &small));
    vfs_t *s = open_on(say("%s,memory", (const char *)arg));
    CHECK_OK(vfs_create(s, "k", 512 << 10, 0, &w));
    CHECK_OK(vfs_write(w, "abc", 3));
    CHECK_OK(vfs_seal(w));
    CHECK_INT(tier_of(s, "k"), 1);
    CHECK_OK(vfs_create(s, "l", 50 << 10, 0, &w));
    CHECK_OK(vfs_write(w, "abc", 3));
    CHECK_OK(vfs_seal(w));
    CHECK_INT(tier_of(s, "l"), 0);
    QUIET(vfs_close(s));
}

static void hint_in_small_files(void)
{
    const char *a = dir_of("a");
    JOIN(start_child(in_small_files, (void *)a));
    CHECK_NOTHING_LEFT(a);
}

/* ---- a draft's name that was removed, and is another draft's by now ---- */

static const char *only_room(const char *tier)
{
    const char *owners = say("%s/harness/owners", own_tier_dir(tier, geteuid())), *path = NULL;
    DIR *d = opendir(owners);
    struct dirent *entry;
    CHECK(d != NULL);
    while ((entry = readdir(d)))
        if (entry->d_name[0] != '.')
            path = say("%s/%s", owners, entry->d_name);
    closedir(d);
    CHECK(path != NULL);
    return path;
}

static void stale_draft(void)
{
    static const uint32_t flags[] = {0, VFS_PERSIST};
    const char *a = dir_of("a");
    vfs_t *s = open_on(a);
    for (int i = 0; i < 2; i++) {
        vfs_writer_t *first = NULL, *second = NULL;
        unsigned char *data = new_value(900, 1);
        CHECK_OK(vfs_create(s, "k", 0, flags[i], &first));
        CHECK_OK(vfs_write(first, data, 300));
        CHECK_OK(vfs_write(first, data + 300, 600));
        SYS(unlink(say("%s/k", only_room(a))));
        CHECK_OK(vfs_create(s, "k", 0, VFS_REPLACE, &second));
        CHECK_OK(vfs_write(second, "unfinished", 10));
        CHECK_OK(vfs_seal(first));
        CHECK_VALUE(s, "k", 900, 1);
        QUIET(vfs_abort(second));
        CHECK_VALUE(s, "k", 900, 1);
        CHECK_OK(vfs_remove(s, "k"));
        free(data);
    }
    QUIET(vfs_close(s));
    CHECK_NOTHING_LEFT(a);
}

/* ---- no descriptors are the process's trouble, not the tier's: the next tier is not tried, not even memory ---- */

static void few_descriptors(void)
{
    const char *a = dir_of("a");
    struct rlimit was, few;
    vfs_t *s = open_on(say("%s,memory", a));
    CHECK_OK(put(s, "first", 500, 1, 0));
    SYS(getrlimit(RLIMIT_NOFILE, &was));
    few = was;
    int next = open("/dev/null", O_RDONLY | O_CLOEXEC);
    SYS(next);
    close(next);
    few.rlim_cur = (rlim_t)next;
    SYS(setrlimit(RLIMIT_NOFILE, &few));
    CHECK_IS(put(s, "k", 500, 1, 0), VFS_ERR_LIMIT);
    CHECK_IS(put(s, "first", 600, 2, VFS_REPLACE), VFS_ERR_LIMIT);
    SYS(setrlimit(RLIMIT_NOFILE, &was));
    CHECK_ABSENT(s, "k");
    CHECK_VALUE(s, "first", 500, 1);
    CHECK_INT(tier_stat(s, 0).refused, 0);
    QUIET(vfs_close(s));
    CHECK_NOTHING_LEFT(a);
}

/* ---- reserved memory is the writer's process's alone ---- */

static struct {
    vfs_writer_t *writer;
    int seals;
} forked;

/* It is not there, and what the child has at its place stays when the child gives the writer back. */
static void is_not_there(void *arg)
{
    size_t page = (size_t)sysconf(_SC_PAGESIZE);
    char *place = arg;
    CHECK(msync(place, 1, MS_ASYNC) != 0 && errno == ENOMEM);
    CHECK(mmap(place, page, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED_NOREPLACE, -1, 0) == place);
    *place = 7;
    CHECK_IS(vfs_write(forked.writer, "abc", 3), VFS_ERR_FORKED);
    if (forked.seals)
        CHECK_IS(vfs_seal(forked.writer), VFS_ERR_FORKED);
    else
        QUIET(vfs_abort(forked.writer));
    CHECK_INT(msync(place, 1, MS_ASYNC), 0);
    CHECK_INT(*place, 7);
}

static void reserved_and_forked(void)
{
    own_mounts();
    const char *a = tmpfs_of("a", "size=1m"), *b = dir_of("b");
    for (int i = 0; i < 2; i++) {
        vfs_t *s = open_on(i ? b : a);
        vfs_writer_t *w = NULL;
        void *room = NULL;
        CHECK_OK(vfs_create(s, "k", 0, 0, &w));
        CHECK_OK(vfs_reserve(w, 64 << 10, &room));
        memset(room, 1, 64 << 10);
        uintptr_t page = (uintptr_t)sysconf(_SC_PAGESIZE);
        forked.writer = w;
        for (forked.seals = 0; forked.seals < 2; forked.seals++)
            JOIN(start_child(is_not_there, (void *)((uintptr_t)room & ~(page - 1))));
        CHECK_OK(vfs_seal(w));
        QUIET(vfs_close(s));
    }
    CHECK_NOTHING_LEFT(a);
    CHECK_NOTHING_LEFT(b);
}

/* ---- ids: no two blobs of a key are alike, however fast they follow and whatever inode numbers come back ---- */

static int by_number(const void *a, const void *b)
{
    uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;
    return x < y ? -1 : x > y;
}

static void ids(void)
{
    enum { BLOBS = 3000 };
    static uint64_t seen[BLOBS];
    const char *a = dir_of("a");
    vfs_t *s = open_on(a);
    for (int i = 0; i < BLOBS; i++) {
        vfs_stat_t stat = VFS_STAT_INIT;
        CHECK_OK(vfs_store(s, "k", "same", 4, i % 3 ? 0 : VFS_REPLACE));
        CHECK_OK(vfs_stat(s, "k", &stat));
        seen[i] = stat.id;
        if (i % 3 != 2)
            CHECK_OK(vfs_remove(s, "k"));
    }
    CHECK_OK(vfs_remove(s, "k"));
    qsort(seen, BLOBS, sizeof *seen, by_number);
    for (int i = 1; i < BLOBS; i++)
        CHECK(seen[i - 1] != seen[i]);
    QUIET(vfs_close(s));
    CHECK_NOTHING_LEFT(a);
}

/* ---- one tier that lacks room among broken ones makes it VFS_ERR_NO_SPACE, wherever it stands ---- */

static void lacking_room(void)
{
    const char *a = dir_of("a"), *b = dir_of("b");
    for (int i = 0; i < 2; i++) {
        vfs_t *s = open_on(i ? say("%s,%s?max=100", a, b) : say("%s?max=100,%s", b, a));
        CHECK_OK(put(s, "fits", 50, 1, 0));
        remove_tree(a);
        CHECK_IS(put(s, "k", 500, 1, 0), VFS_ERR_NO_SPACE);
        SYS(mkdir(a, 0700));
        QUIET(vfs_close(s));
    }
    CHECK_NOTHING_LEFT(a);
    CHECK_NOTHING_LEFT(b);
}

/* ---- what a full filesystem refused is not counted by `max` ---- */

static void refused_uncounted(void)
{
    static unsigned char zeroes[60 << 10];
    own_mounts();
    const char *a = tmpfs_of("a", "size=64k");
    for (int reserves = 0; reserves < 2; reserves++) {
        vfs_t *s = open_on(say("%s?max=80K", a));
        vfs_writer_t *w = NULL;
        void *room = NULL;
        CHECK_OK(vfs_create(s, "k", 0, 0, &w));
        CHECK_OK(vfs_write(w, zeroes, 30 << 10));
        for (int i = 0; i < 5; i++)
            CHECK_IS(reserves ? vfs_reserve(w, 45 << 10, &room) : vfs_write(w, zeroes, 45 << 10), VFS_ERR_NO_SPACE);
        CHECK_INT(vfs_last_errno(), ENOSPC);
        CHECK_OK(vfs_write(w, zeroes, 10 << 10));
        CHECK_OK(vfs_seal(w));
        vfs_stat_t stat = VFS_STAT_INIT;
        CHECK_OK(vfs_stat(s, "k", &stat));
        CHECK_INT(stat.size, 40 << 10);
        QUIET(vfs_close(s));
        CHECK_NOTHING_LEFT(a);
    }
}

/* ---- a child lets go of every lock, however many handles there are, and finds its errno as it was ---- */

static void outliving(void *arg)
{
    prctl(PR_SET_PDEATHSIG, 0);
    *(_Atomic pid_t *)arg = getpid();
    sleep_for_ever();
}

static void owner_of_many(void *arg)
{
    for (int i = 0; i < 20; i++) {
        vfs_t *s = open_on(say("%s,%s", path_of("a"), path_of("b")));
        CHECK_OK(put(s, say("k-%d", i), 100, 1, 0));
    }
    errno = ENOTTY;
    pid_t pid = fork();
    if (pid == 0)
        _exit(errno != ENOTTY);
    JOIN(pid);
    start_child(outliving, arg);
    sleep_for_ever();
}

static void many_handles(void)
{
    const char *a = dir_of("a"), *b = dir_of("b");
    _Atomic pid_t *child = shared_memory(sizeof *child);
    SYS(prctl(PR_SET_CHILD_SUBREAPER, 1));
    pid_t parent = start_child(owner_of_many, child);
    for (long long until = now_ms() + PATIENCE_MS; *child == 0 && now_ms() < until;)
        nap(1);
    CHECK(*child != 0);
    kill_child(parent);
    vfs_t *s = open_on(say("%s,%s", a, b));
    CHECK_OK(vfs_reap(s, NULL));
    CHECK_INT(listed_all(s), 0);
    QUIET(vfs_close(s));
    SYS(kill(*child, 0)); /* it sleeps, with all that it inherited */
    kill_child(*child);
    CHECK_NOTHING_LEFT(a);
    CHECK_NOTHING_LEFT(b);
}

/* ---- that a key exists is told when a stream begins, wherever it is ---- */

static void told_early(void)
{
    const char *a = dir_of("a"), *b = dir_of("b");
    vfs_t *s = open_on(say("%s,memory,%s", a, b)), *below = open_on(b), *memory = open_on("memory");
    vfs_writer_t *w = NULL;
    CHECK_OK(put(s, "above", 100, 1, 0));
    CHECK_OK(put(below, "below", 100, 1, 0));
    CHECK_OK(put(memory, "kept", 100, 1, 0));
    for (int hint = 0; hint < 2; hint++) {
        CHECK_IS(vfs_create(s, "above", (uint64_t)hint * 100, 0, &w), VFS_ERR_EXISTS);
        CHECK_IS(vfs_create(s, "below", (uint64_t)hint * 100, VFS_PERSIST, &w), VFS_ERR_EXISTS);
        CHECK_IS(vfs_create(memory, "kept", (uint64_t)hint * 100, 0, &w), VFS_ERR_EXISTS);
        CHECK(w == NULL);
    }
    CHECK_OK(vfs_create(s, "below", 0, VFS_REPLACE, &w));
    CHECK_OK(vfs_seal(w));
    QUIET(vfs_close(memory));
    QUIET(vfs_close(below));
    QUIET(vfs_close(s));
    CHECK_NOTHING_LEFT(a);
    CHECK_NOTHING_LEFT(b);
}

/* ---- a stream that lacks a part is not sealed because nothing more was asked for ---- */

static void lacking_part(void)
{
    vfs_t *s = open_on("memory?max=1000");
    for (int lost = 0; lost < 2; lost++) {
        vfs_writer_t *w = NULL;
        void *room = NULL;
        CHECK_OK(vfs_create(s, "k", 0, 0, &w));
        CHECK_OK(vfs_reserve(w, 800, &room));
        memset(room, 1, 800);
        CHECK_OK(put(s, "other", 500, 1, 0)); /* takes the room before what was reserved is appended */
        if (lost)
            CHECK_IS(vfs_write(w, "abc", 3), VFS_ERR_NO_SPACE);
        CHECK_IS(vfs_write(w, "", 0), VFS_ERR_NO_SPACE); /* what was reserved does not fit yet */
        CHECK_OK(vfs_remove(s, "other"));
        CHECK_OK(vfs_write(w, "", 0));
        CHECK_IS(vfs_seal(w), lost ? VFS_ERR_NO_SPACE : VFS_OK);
        CHECK_IS(vfs_has(s, "k"), !lost);
        if (!lost)
            CHECK_OK(vfs_remove(s, "k"));
    }
    QUIET(vfs_close(s));
}

/* ---- a key that this process's memory has is replaced there, or not at all ---- */

static void memory_alone(void)
{
    const char *a = dir_of("a");
    for (int i = 0; i < 2; i++) {
        vfs_t *s = open_on(i ? say("%s?max=100,memory?max=1K", a) : say("memory?max=1K,%s", a)), *other = open_on(a);
        uint32_t memory = i ? 1 : 0;
        CHECK_OK(put(s, "k", 500, 1, 0));
        CHECK_INT(tier_of(s, "k"), memory);
        CHECK_OK(put(other, "k", 600, 2, 0));
        CHECK_OK(put(s, "k", 50, 3, VFS_REPLACE)); /* would fit elsewhere */
        CHECK_INT(tier_of(s, "k"), memory);
        CHECK_IS(put(s, "k", 2000, 4, VFS_REPLACE), VFS_ERR_NO_SPACE); /* may fit elsewhere */
        CHECK_VALUE(s, "k", 50, 3);
        CHECK_VALUE(other, "k", 600, 2);
        QUIET(vfs_close(other));
        QUIET(vfs_close(s));
    }
    CHECK_NOTHING_LEFT(a);
}

/* ---- what lies among the rooms and bears no name of a room is nobody's that died ---- */

static void no_room(void)
{
    static const char *const names[] = {"another", "0123456789abcde", "0123456789abcdef0", "0123456789ABCDEF", "0123456789abcdeg"};
    const char *a = dir_of("a");
    vfs_t *s = open_on(a);
    CHECK_OK(put(s, "k", 100, 1, 0));
    for (int i = 0; i < 5; i++) {
        const char *dir = say("%s/harness/owners/%s", own_tier_dir(a, geteuid()), names[i]);
        SYS(mkdir(dir, 0700));
        SYS(mknod(say("%s/k", dir), S_IFREG | 0600, 0));
        CHECK_OK(vfs_reap(s, NULL));
        SYS(access(say("%s/k", dir), F_OK));
        CHECK_VALUE(s, "k", 100, 1);
        remove_tree(dir);
    }
    QUIET(vfs_close(s));
    CHECK_NOTHING_LEFT(a);
}

/* ---- a directory whose maker was killed before it gave the mode back is used, and its mode given back ---- */

static void killed_making(void)
{
    const char *a = dir_of("a"), *const dirs[] = {"", "/harness", "/harness/objects", "/harness/owners"};
    char base[PATH_MAX];
    snprintf(base, sizeof base, "%s", own_tier_dir(a, geteuid()));
    for (int i = 0; i < 4; i++) {
        struct stat now;
        char dir[PATH_MAX];
        for (int made = 0; made < 4; made++)
            CHECK(mkdir(say("%s%s", base, dirs[made]), 0700) == 0 || errno == EEXIST);
        snprintf(dir, sizeof dir, "%s%s", base, dirs[i]);
        SYS(chmod(dir, i % 2 ? 0400 : 0500));
        vfs_t *s = open_on(a);
        CHECK_OK(put(s, "k", 100, 1, 0));
        SYS(stat(dir, &now));
        CHECK_INT(now.st_mode & 07777, 0700);
        QUIET(vfs_close(s));
    }
    CHECK_NOTHING_LEFT(a);
}

/* ---- what is being written is no blob yet, and is counted once ---- */

static void drafts_uncounted(void)
{
    const char *a = dir_of("a");
    vfs_t *s = open_on(say("%s?max=1000", a));
    vfs_writer_t *w = NULL;
    CHECK_OK(put(s, "k", 100, 1, 0));
    CHECK_OK(vfs_create(s, "k", 0, VFS_REPLACE, &w));
    CHECK_OK(vfs_write(w, "abcdefgh", 8));
    CHECK_INT(tier_stat(s, 0).blobs, 1);
    CHECK_INT(tier_stat(s, 0).bytes, 100);
    CHECK_IS(put(s, "l", 893, 2, 0), VFS_ERR_NO_SPACE); /* adds up anew */
    CHECK_OK(put(s, "l", 892, 2, 0));
    CHECK_INT(tier_stat(s, 0).blobs, 2);
    QUIET(vfs_abort(w));
    QUIET(vfs_close(s));
    CHECK_NOTHING_LEFT(a);
}

/* ---- memory counts what it holds: no more, and no less ---- */

static void memory_max(void)
{
    vfs_t *s = open_on("memory?max=1000");
    for (int i = 0; i < 20; i++) {
        uint32_t persist = i % 2 ? VFS_PERSIST : 0;
        vfs_writer_t *w = NULL;
        CHECK_OK(put(s, "k", 600, 1, persist));
        CHECK_IS(put(s, "l", 401, 1, persist), VFS_ERR_NO_SPACE);
        CHECK_IS(put(s, "k", 401, 2, VFS_REPLACE), VFS_ERR_NO_SPACE); /* both are there for a moment */
        CHECK_OK(put(s, "k", 400, 2, VFS_REPLACE | persist));
        CHECK_OK(vfs_create(s, "l", 0, persist, &w));
        CHECK_OK(vfs_write(w, "abc", 3));
        CHECK_IS(put(s, "m", 598, 3, 0), VFS_ERR_NO_SPACE);
        if (i % 3)
            CHECK_OK(vfs_seal(w));
        else
            QUIET(vfs_abort(w));
        CHECK_IS(put(s, "m", 598, 3, 0), i % 3 ? VFS_ERR_NO_SPACE : VFS_OK);
        CHECK_INT(STATUS(vfs_remove(s, "m")), i % 3 ? VFS_ERR_NOT_FOUND : VFS_OK);
        CHECK_INT(STATUS(vfs_remove(s, "l")), i % 3 ? VFS_OK : VFS_ERR_NOT_FOUND);
        CHECK_OK(put(s, "m", 600, 3, 0));
        CHECK_INT(tier_stat(s, 0).bytes, persist ? 600 : 1000);
        if (persist)
            CHECK_OK(vfs_remove(s, "k"));
        else
            CHECK_OK(vfs_remove_owned(s, (const char *const[]){"k"}, 1));
        CHECK_OK(vfs_remove(s, "m"));
    }
    CHECK_OK(put(s, "k", 1000, 1, 0));
    QUIET(vfs_close(s));
}

int main(int argc, char **argv)
{
    static const struct {
        const char *name;
        void (*run)(void);
    } modes[] = {{"stale-link", stale_link}, {"freed", freed}, {"small-files", hint_in_small_files},
                 {"stale-draft", stale_draft}, {"few-descriptors", few_descriptors},
                 {"reserved-and-forked", reserved_and_forked},
                 {"ids", ids}, {"lacking-room", lacking_room}, {"memory-alone", memory_alone},
                 {"refused-uncounted", refused_uncounted}, {"lacking-part", lacking_part},
                 {"many-handles", many_handles}, {"told-early", told_early},
                 {"memory-max", memory_max}, {"no-room", no_room},
                 {"killed-making", killed_making}, {"drafts-uncounted", drafts_uncounted}};
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

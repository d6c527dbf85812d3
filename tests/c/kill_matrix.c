/* Whole or nothing, at every system call: each operation is run under strace once to list its calls, then once for each
 * of them, in which that call kills the process (or fails). Afterwards a key has its old value or its new one, what
 * others own is whole, and after one reap nothing of the dead is left and nothing resurfaces.
 *
 *   kill_matrix SCRATCH OPERATION              kills at every call
 *   kill_matrix SCRATCH OPERATION ERROR...     each call fails with that errno instead (EIO, EINTR, ...)
 *   kill_matrix CASE OPERATION victim          the process that is killed
 *
 * Appends "OPERATION ERRORS POINTS" to the file that VFS_TEST_POINTS names. */
#include "harness.h"

enum { OLD = 1001, NEW = 1002, SMALL = 6000, LARGE = 9000, LONG = 40000 };

/* Who owns the key's old value, and its new one. */
enum who { NOBODY, VICTIM, NEIGHBOUR, PERSISTENT, DEAD };

struct operation {
    const char *name;
    enum who old_owner;
    size_t old_len;
    void (*run)(vfs_t *); /* NULL: it is vfs_open itself */
    enum who new_owner;   /* NOBODY: afterwards the key is gone */
    size_t new_len;
    const char *limit; /* of the first tier: "?max=7K" sends LARGE to the second; or "memory...", above both */
    int raced;         /* another process reaps all the while, and is killed too */
};

static struct progress {
    _Atomic int at; /* 0 before the operation, 1 in it, 2 after it */
    _Atomic int status;
} *progress;

static char tiers[2 * PATH_MAX + 32], limited[2 * PATH_MAX + 32], lower[2 * PATH_MAX + 32];
static unsigned char small_data[2][SMALL], large_data[2][LARGE], long_data[LONG];

static const unsigned char *data_of(uint64_t seed, size_t len)
{
    return len == SMALL ? small_data[seed - OLD] : len == LARGE ? large_data[seed - OLD] : long_data;
}

/* ---- the operations ---- */

static const struct operation *op;

#define DONE(call) atomic_store(&progress->status, STATUS(call))

static void store_with(vfs_t *s, uint32_t flags)
{
    DONE(vfs_store(s, "k", data_of(NEW, op->new_len), op->new_len, flags));
}

static void store(vfs_t *s) { store_with(s, 0); }
static void persist(vfs_t *s) { store_with(s, VFS_PERSIST); }
static void replace(vfs_t *s) { store_with(s, VFS_REPLACE); }
static void replace_kept(vfs_t *s) { store_with(s, VFS_REPLACE | VFS_PERSIST); }
static void remove_it(vfs_t *s) { DONE(vfs_remove(s, "k")); }
static void shut_down(vfs_t *s) { DONE(vfs_shutdown(s)); }
static void reap(vfs_t *s) { DONE(vfs_reap(s, NULL)); }
static void remove_own(vfs_t *s) { DONE(vfs_remove_owned(s, (const char *const[]){"k"}, 1)); }

static void close_it(vfs_t *s)
{
    QUIET(vfs_close(s));
    atomic_store(&progress->status, VFS_OK);
}

/* To this process's memory, if that is its first tier: others find the key no more. */
static void replace_small(vfs_t *s)
{
    DONE(vfs_store(s, "k", small_data[NEW - OLD], SMALL, VFS_REPLACE));
}

/* In parts, and more than the first tier may hold: it moves on. */
static void stream_with(vfs_t *s, uint32_t flags)
{
    vfs_writer_t *w = NULL;
    void *room = NULL;
    int32_t status = STATUS(vfs_create(s, "k", 0, flags, &w));
    if (status == VFS_OK)
        status = STATUS(vfs_write(w, long_data, 4000));
    if (status == VFS_OK)
        status = STATUS(vfs_reserve(w, 2000, &room));
    if (status == VFS_OK) {
        memcpy(room, long_data + 4000, 2000);
        status = STATUS(vfs_write(w, long_data + 6000, LONG - 6000));
    }
    if (status == VFS_OK)
        status = STATUS(vfs_seal(w));
    else
        QUIET(vfs_abort(w));
    atomic_store(&progress->status, status);
}

static void stream(vfs_t *s) { stream_with(s, 0); }
static void stream_over(vfs_t *s) { stream_with(s, VFS_REPLACE); }
static void stream_over_kept(vfs_t *s) { stream_with(s, VFS_REPLACE | VFS_PERSIST); }

/* All of it in memory that is handed out; the second part is too much for the first tier. */
static void reserve_with(vfs_t *s, uint32_t flags)
{
    vfs_writer_t *w = NULL;
    void *room = NULL;
    int32_t status = STATUS(vfs_create(s, "k", 4000, flags, &w));
    if (status == VFS_OK)
        status = STATUS(vfs_reserve(w, 4000, &room));
    if (status == VFS_OK) {
        memcpy(room, long_data, 4000);
        status = STATUS(vfs_reserve(w, LONG - 4000, &room));
    }
    if (status == VFS_OK) {
        memcpy(room, long_data + 4000, LONG - 4000);
        status = STATUS(vfs_seal(w));
    } else {
        QUIET(vfs_abort(w));
    }
    atomic_store(&progress->status, status);
}

static void reserve(vfs_t *s) { reserve_with(s, 0); }
static void reserve_kept(vfs_t *s) { reserve_with(s, VFS_REPLACE | VFS_PERSIST); }

static void abort_it(vfs_t *s)
{
    vfs_writer_t *w = NULL;
    int32_t status = STATUS(vfs_create(s, "k", 0, VFS_REPLACE, &w));
    if (status == VFS_OK)
        status = STATUS(vfs_write(w, long_data, LONG));
    QUIET(vfs_abort(w));
    atomic_store(&progress->status, status);
}

static const struct operation operations[] = {
    {"store", NOBODY, 0, store, VICTIM, SMALL, "", 0},
    {"store-below", NOBODY, 0, store, VICTIM, LARGE, "?max=7K", 0},
    {"persist", NOBODY, 0, persist, PERSISTENT, SMALL, "", 0},
    {"persist-below", NOBODY, 0, persist, PERSISTENT, LARGE, "?max=7K", 0},
    {"stream", NOBODY, 0, stream, VICTIM, LONG, "?max=7K", 0},
    {"stream-over", NEIGHBOUR, SMALL, stream_over_kept, PERSISTENT, LONG, "?max=7K", 0},
    {"stream-over-own", VICTIM, SMALL, stream_over, VICTIM, LONG, "?max=7K", 0},
    {"stream-over-persistent", PERSISTENT, SMALL, stream_over, VICTIM, LONG, "?max=7K", 0},
    {"reserve", NOBODY, 0, reserve, VICTIM, LONG, "", 0},
    {"reserve-moves", NOBODY, 0, reserve, VICTIM, LONG, "?max=7K", 0},
    {"reserve-over", NEIGHBOUR, SMALL, reserve_kept, PERSISTENT, LONG, "?max=7K", 0},
    {"abort", NEIGHBOUR, SMALL, abort_it, NEIGHBOUR, SMALL, "?max=7K", 0},
    {"replace-own", VICTIM, SMALL, replace, VICTIM, LARGE, "", 0},
    {"replace-foreign", NEIGHBOUR, SMALL, replace, VICTIM, LARGE, "", 0},
    {"replace-persistent", PERSISTENT, SMALL, replace, VICTIM, LARGE, "", 0},
    {"replace-of-dead", DEAD, SMALL, replace, VICTIM, LARGE, "", 0},
    {"persist-over-own", VICTIM, SMALL, replace_kept, PERSISTENT, LARGE, "", 0},
    {"persist-over-foreign", NEIGHBOUR, SMALL, replace_kept, PERSISTENT, LARGE, "", 0},
    {"persist-over-persistent", PERSISTENT, SMALL, replace_kept, PERSISTENT, LARGE, "", 0},
    {"down-own", VICTIM, SMALL, replace, VICTIM, LARGE, "?max=7K", 0},
    {"down-foreign", NEIGHBOUR, SMALL, replace, VICTIM, LARGE, "?max=7K", 0},
    {"down-persistent", PERSISTENT, SMALL, replace_kept, PERSISTENT, LARGE, "?max=7K", 0},
    {"down-persistent-owned", PERSISTENT, SMALL, replace, VICTIM, LARGE, "?max=7K", 0},
    {"down-own-kept", VICTIM, SMALL, replace_kept, PERSISTENT, LARGE, "?max=7K", 0},
    {"down-foreign-kept", NEIGHBOUR, SMALL, replace_kept, PERSISTENT, LARGE, "?max=7K", 0},
    {"down-of-dead", DEAD, SMALL, replace, VICTIM, LARGE, "?max=7K", 0},
    {"up-own", VICTIM, LARGE, replace, VICTIM, SMALL, "?max=7K", 0},
    {"up-foreign", NEIGHBOUR, LARGE, replace, VICTIM, SMALL, "?max=7K", 0},
    {"up-persistent", PERSISTENT, LARGE, replace_kept, PERSISTENT, SMALL, "?max=7K", 0},
    {"up-persistent-owned", PERSISTENT, LARGE, replace, VICTIM, SMALL, "?max=7K", 0},
    {"up-own-kept", VICTIM, LARGE, replace_kept, PERSISTENT, SMALL, "?max=7K", 0},
    {"up-foreign-kept", NEIGHBOUR, LARGE, replace_kept, PERSISTENT, SMALL, "?max=7K", 0},
    {"up-of-dead", DEAD, LARGE, replace, VICTIM, SMALL, "?max=7K", 0},
    {"remove-own", VICTIM, SMALL, remove_it, NOBODY, 0, "", 0},
    {"remove-foreign", NEIGHBOUR, SMALL, remove_it, NOBODY, 0, "", 0},
    {"remove-persistent", PERSISTENT, SMALL, remove_it, NOBODY, 0, "", 0},
    {"remove-below", NEIGHBOUR, LARGE, remove_it, NOBODY, 0, "?max=7K", 0},
    {"remove-below-own", VICTIM, LARGE, remove_it, NOBODY, 0, "?max=7K", 0},
    {"remove-below-persistent", PERSISTENT, LARGE, remove_it, NOBODY, 0, "?max=7K", 0},
    {"remove-owned", VICTIM, SMALL, remove_own, NOBODY, 0, "", 0},
    {"remove-of-dead", DEAD, SMALL, remove_it, NOBODY, 0, "", 0},
    {"shutdown", VICTIM, SMALL, shut_down, NOBODY, 0, "", 0},
    {"shutdown-below", VICTIM, LARGE, shut_down, NOBODY, 0, "?max=7K", 0},
    {"close", VICTIM, SMALL, close_it, NOBODY, 0, "", 0},
    {"close-below", VICTIM, LARGE, close_it, NOBODY, 0, "?max=7K", 0},
    {"memory-spills", NEIGHBOUR, SMALL, replace, VICTIM, LARGE, "memory?max=7K", 0},
    {"memory-takes", NEIGHBOUR, SMALL, replace_small, NOBODY, 0, "memory?max=7K", 0},
    {"memory-removes", NEIGHBOUR, SMALL, remove_it, NOBODY, 0, "memory?max=7K", 0},
    {"memory-closes", VICTIM, LARGE, close_it, NOBODY, 0, "memory?max=7K", 0},
    {"reap", DEAD, SMALL, reap, NOBODY, 0, "", 0},
    {"reap-below", DEAD, LARGE, reap, NOBODY, 0, "?max=7K", 0},
    {"open", NEIGHBOUR, SMALL, NULL, NEIGHBOUR, SMALL, "", 0},
    {"open-reaps", DEAD, SMALL, NULL, NOBODY, 0, "", 0},
    {"reap-raced", DEAD, SMALL, reap, NOBODY, 0, "", 1},
    {"reap-below-raced", DEAD, LARGE, reap, NOBODY, 0, "?max=7K", 1},
};

/* What a failure may leave half done. */
static int in_parts(void)
{
    return op->run == shut_down || op->run == close_it || op->run == reap || op->run == NULL;
}

static void set_up(const char *dir)
{
    snprintf(tiers, sizeof tiers, "%s/a,%s/b", dir, dir);
    if (op->limit[0] == 'm')
        snprintf(limited, sizeof limited, "%s,%s/a,%s/b", op->limit, dir, dir);
    else
        snprintf(limited, sizeof limited, "%s/a%s,%s/b", dir, op->limit, dir);
    snprintf(lower, sizeof lower, "%s/a?max=1,%s/b", dir, dir);
    for (int i = 0; i < 2; i++) {
        value_at(small_data[i], SMALL, 0, (uint64_t)(OLD + i), SMALL);
        value_at(large_data[i], LARGE, 0, (uint64_t)(OLD + i), LARGE);
    }
    value_at(long_data, LONG, 0, NEW, LONG);
    int fd = open(say("%s/progress", dir), O_RDWR | O_CREAT | O_CLOEXEC, 0600);
    SYS(fd);
    SYS(ftruncate(fd, sizeof *progress));
    progress = mmap(NULL, sizeof *progress, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    CHECK(progress != MAP_FAILED);
    close(fd);
}

static void dying(void *arg)
{
    (void)arg;
    vfs_t *s = open_on(limited);
    vfs_writer_t *w = NULL;
    CHECK_OK(vfs_store(s, "k", data_of(OLD, op->old_len), op->old_len, 0));
    CHECK_OK(vfs_create(s, "unfinished", 0, 0, &w));
    CHECK_OK(vfs_write(w, long_data, 3000));
}

/* The process that is killed: prepares, operates between two calls of getppid, and ends without closing. */
static void victim(void)
{
    set_up(scratch);
    vfs_t *s = op->run ? open_on(limited) : NULL;
    if (op->old_owner == VICTIM)
        CHECK_OK(vfs_store(s, "k", data_of(OLD, op->old_len), op->old_len, 0));
    if (op->old_owner == VICTIM && (op->run == shut_down || op->run == close_it))
        CHECK_OK(vfs_store(s, "k-too", data_of(OLD, op->old_len), op->old_len, 0));
    if (op->old_owner == DEAD)
        JOIN(start_child(dying, NULL));
    vfs_options_t options = VFS_OPTIONS_INIT;
    options.tiers = limited;
    options.name = "harness";
    getppid();
    atomic_store(&progress->at, 1);
    if (op->run)
        op->run(s);
    else
        DONE(vfs_open(&options, &s));
    getppid();
    atomic_store(&progress->at, 2);
    _exit(0);
}

/* ---- a case ---- */

static char here[PATH_MAX], self[PATH_MAX];
static vfs_t *neighbour, *below;

static void prepare(void)
{
    int length = snprintf(here, sizeof here, "%s/case", scratch);
    CHECK(length > 0 && length < (int)sizeof here);
    SYS(mkdir(here, 0700));
    SYS(mkdir(say("%s/a", here), 0700));
    SYS(mkdir(say("%s/b", here), 0700));
    set_up(here);
    neighbour = open_on(tiers);
    below = open_on(lower);
    CHECK_OK(put(neighbour, "bystander", 500, 1, 0));
    CHECK_OK(put(below, "bystander-below", 600, 2, 0));
    CHECK_OK(put(neighbour, "stays", 700, 3, VFS_PERSIST));
    CHECK_OK(put(below, "stays-below", 800, 4, VFS_PERSIST));
    if (op->old_owner == NEIGHBOUR || op->old_owner == PERSISTENT)
        CHECK_OK(vfs_store(op->old_len == LARGE ? below : neighbour, "k", data_of(OLD, op->old_len), op->old_len,
                           op->old_owner == PERSISTENT ? VFS_PERSIST : 0));
}

static void check_others(vfs_t *s)
{
    CHECK_VALUE(s, "bystander", 500, 1);
    CHECK_VALUE(s, "bystander-below", 600, 2);
    CHECK_VALUE(s, "stays", 700, 3);
    CHECK_VALUE(s, "stays-below", 800, 4);
}

enum state { ABSENT, IS_OLD, IS_NEW };
static const char *const state_names[] = {"absent", "the old value", "the new value"};

static enum state state_of(vfs_t *s, const char *when)
{
    unsigned char got[LONG + 1];
    size_t len = 0;
    vfs_stat_t stat = VFS_STAT_INIT;
    int32_t status = STATUS(vfs_read(s, "k", 0, got, sizeof got, &len, &stat));
    if (status == VFS_ERR_NOT_FOUND) {
        CHECK_IS(vfs_has(s, "k"), 0);
        return ABSENT;
    }
    if (status != VFS_OK)
        FAIL("%s, the key cannot be read: %s: %s", when, status_name(status), vfs_last_error());
    if (len == op->old_len && is_value_at(got, len, 0, OLD, len))
        return IS_OLD;
    if (len == op->new_len && is_value_at(got, len, 0, NEW, len))
        return IS_NEW;
    FAIL("%s, the key holds %zu bytes that are neither the old value nor the new one", when, len);
}

static int names_of_key(void)
{
    unsigned uid = (unsigned)geteuid();
    return (access(say("%s/a/vfs1-%u/harness/objects/k", here, uid), F_OK) == 0) +
           (access(say("%s/b/vfs1-%u/harness/objects/k", here, uid), F_OK) == 0);
}

/* What follows once the dead is reaped: the key is replaced; or removed; or left alone. Then all owners end. */
enum tail { REPLACED, REMOVED, LEFT, TAILS };

static void check_next_calls(vfs_t *s, vfs_t *reader)
{
    vfs_writer_t *w = NULL;
    CHECK_OK(put(s, "next", 300, 5, VFS_REPLACE));
    CHECK_VALUE(reader, "next", 300, 5);
    CHECK_OK(put(below, "next", 310, 6, VFS_REPLACE | VFS_PERSIST));
    CHECK_VALUE(reader, "next", 310, 6);
    CHECK_OK(vfs_create(s, "next", 0, VFS_REPLACE, &w));
    CHECK_OK(vfs_write(w, "abc", 3));
    CHECK_OK(vfs_seal(w));
    CHECK_INT(listed(reader, "next"), 1);
    CHECK_OK(vfs_remove(below, "next"));
    CHECK_ABSENT(reader, "next");
}

/* What the process left: killed in the midst, or come to its end with this status. */
static void verify(int killed, int32_t status, const char *what, enum tail tail)
{
    char when[256];
    vfs_t *reader = open_as(tiers, "harness", VFS_READ_ONLY);
    enum state old = op->old_owner == NOBODY ? ABSENT : IS_OLD;
    enum state new = op->new_owner == NOBODY ? ABSENT : op->run == NULL || op->run == abort_it ? IS_OLD : IS_NEW;
    snprintf(when, sizeof when, "%s %s", op->name, what);
    enum state now = state_of(reader, when);
    /* (an open that could not reap is still an open) */
    /* (and a reap leaves alone what another is reaping) */
    /* (a close cannot tell that a call failed it) */
    int untold = op->run == close_it && strstr(what, " call ") != NULL;
    int may_be_old = killed || status != VFS_OK || op->run == NULL || op->raced || untold;
    int may_be_new = killed || status == VFS_OK || in_parts();
    if (!(now == old && may_be_old) && !(now == new && may_be_new))
        FAIL("%s (%s): the key is %s", when, killed ? "killed" : status_name(status), state_names[now]);
    if (state_of(neighbour, when) != now)
        FAIL("%s: two readers disagree", when);
    check_others(reader);
    CHECK_INT(listed(reader, "k"), now != ABSENT);
    /* a call that came to its end, well or not, leaves no second name that is hidden by the first */
    if (!killed && names_of_key() != (now != ABSENT))
        FAIL("%s (%s): the key has %d names", when, status_name(status), names_of_key());
    CHECK_IS(vfs_has(reader, "unfinished"), 0);

    /* the dead is reaped: its blobs go, those of others stay, and nothing comes back */
    CHECK_OK(vfs_reap(neighbour, NULL));
    enum who owner = now == IS_NEW ? op->new_owner : now == IS_OLD ? op->old_owner : NOBODY;
    enum state then = owner == NEIGHBOUR || owner == PERSISTENT ? now : ABSENT;
    enum state is = state_of(reader, when);
    if (is != then)
        FAIL("%s: the key was %s; once the dead is reaped it is %s", when, state_names[now], state_names[is]);
    check_others(reader);
    CHECK_IS(vfs_has(reader, "k-too"), 0);
    CHECK_INT(listed_all(reader), 4 + (then != ABSENT));
    CHECK_INT(listed(reader, "k"), then != ABSENT);

    /* the next call of each kind works, and the dead holds no lock */
    vfs_t *fresh = open_on(tiers);
    check_next_calls(fresh, reader);
    if (tail != REPLACED) {
        /* nothing removed comes back, and nothing hidden comes up, whoever ends */
        if (tail == REMOVED && then != ABSENT)
            CHECK_OK(vfs_remove(fresh, "k"));
        enum state end = tail == LEFT && owner == PERSISTENT ? then : ABSENT;
        if (tail == REMOVED)
            CHECK_ABSENT(reader, "k");
        QUIET(vfs_close(below));
        is = state_of(reader, when);
        if (is != end && !(tail == LEFT && is == then))
            FAIL("%s: once an owner ended the key is %s", when, state_names[is]);
        QUIET(vfs_close(neighbour));
        is = state_of(reader, when);
        if (is != end)
            FAIL("%s: once all owners ended the key is %s", when, state_names[is]);
        neighbour = open_on(tiers);
        below = open_on(lower);
        if (end != ABSENT)
            CHECK_OK(vfs_remove(below, "k"));
        CHECK_ABSENT(reader, "k");
        CHECK_OK(put(neighbour, "bystander", 500, 1, 0));
        CHECK_OK(put(below, "bystander-below", 600, 2, 0));
    }
    CHECK_OK(put(fresh, "k", 300, 5, VFS_REPLACE));
    CHECK_VALUE(reader, "k", 300, 5);
    CHECK_OK(vfs_remove(below, "k"));
    CHECK_ABSENT(reader, "k");
    CHECK_OK(put(below, "k", 300, 6, 0));
    CHECK_INT(listed_all(reader), 5);

    /* what the living had of the key goes with them, and takes nothing of its new owner; then nothing is left */
    CHECK_OK(put(fresh, "k", 500, 8, VFS_REPLACE));
    QUIET(vfs_close(neighbour));
    QUIET(vfs_close(below));
    CHECK_VALUE(reader, "k", 500, 8);
    CHECK_INT(listed_all(reader), 3);
    CHECK_OK(vfs_remove(fresh, "stays"));
    CHECK_OK(vfs_remove(fresh, "stays-below"));
    CHECK_OK(vfs_shutdown(fresh));
    QUIET(vfs_close(fresh));
    CHECK_INT(listed_all(reader), 0);
    QUIET(vfs_close(reader));
    CHECK_NOTHING_LEFT(say("%s/a", here));
    CHECK_NOTHING_LEFT(say("%s/b", here));
    munmap(progress, sizeof *progress);
    remove_tree(here);
}

/* Reaps again and again until it is killed. */
static void racing(void *arg)
{
    (void)arg;
    vfs_t *s = open_on(tiers);
    while (atomic_load(&progress->at) == 0)
        sched_yield();
    for (;;) {
        int32_t status = STATUS(vfs_reap(s, NULL));
        CHECK(status == VFS_OK || status == VFS_ERR_BUSY);
    }
}

/* Runs the victim under strace with one expression more; how it ended. */
static int traced(const char *log, const char *inject)
{
    pid_t pid = fork();
    SYS(pid);
    if (pid == 0) {
        const char *args[16];
        char only[64] = "trace=getppid";
        int n = 0, null = open("/dev/null", O_RDWR);
        dup2(null, 0);
        dup2(null, 1);
        args[n++] = "strace";
        args[n++] = "-o";
        args[n++] = log;
        if (inject) {
            sscanf(inject, "inject=%31[^:]", only + strlen("trace="));
            args[n++] = "-e";
            args[n++] = only; /* the less is told, the faster it goes */
            args[n++] = "-e";
            args[n++] = inject;
        }
        args[n++] = self;
        args[n++] = here;
        args[n++] = op->name;
        args[n++] = "victim";
        args[n] = NULL;
        prctl(PR_SET_PDEATHSIG, SIGKILL);
        execvp("strace", (char *const *)(uintptr_t)args);
        _exit(127);
    }
    pid_t racer = op->raced && inject ? start_child(racing, NULL) : 0;
    int state = 0;
    long long until = now_ms() + PATIENCE_MS;
    while (waitpid(pid, &state, WNOHANG) != pid) {
        if (now_ms() > until) {
            kill(pid, SIGKILL);
            FAIL("%s under strace %s does not end", op->name, inject ? inject : "");
        }
        usleep(500);
    }
    if (racer)
        kill_child(racer);
    return state;
}

struct call {
    char name[32];
    int number;
};

/* The calls between the two of getppid, each with its number among those of its name. */
static int read_log(const char *path, struct call *calls, int most)
{
    static struct call seen[128];
    int kinds = 0, count = 0, inside = 0;
    char line[8192];
    FILE *f = fopen(path, "re");
    CHECK(f != NULL);
    while (fgets(line, sizeof line, f)) {
        char *end = strchr(line, '(');
        if (!end || line[0] < 'a' || line[0] > 'z' || end - line >= (long)sizeof calls->name)
            continue;
        *end = 0;
        int k = 0;
        while (k < kinds && strcmp(seen[k].name, line) != 0)
            k++;
        if (k == kinds) {
            CHECK(kinds < 128);
            snprintf(seen[k].name, sizeof seen[k].name, "%.31s", line);
            seen[k].number = 0;
            kinds++;
        }
        seen[k].number++;
        int marker = strcmp(line, "getppid") == 0;
        if (inside == 1) {
            CHECK(count < most);
            calls[count++] = seen[k];
        }
        inside += marker;
    }
    fclose(f);
    memset(seen, 0, sizeof seen);
    CHECK_INT(inside, 2);
    return count;
}

static void tell_points_of(char **errors, int points)
{
    char what[256];
    int at = snprintf(what, sizeof what, "%s", op->name);
    for (char **error = errors; error && *error && at < 200; error++)
        at += snprintf(what + at, sizeof what - (size_t)at, " %.20s", *error);
    tell_points(errors ? what : say("%s SIGKILL", what), points);
}

/* "OTHERS": one errno a call, in turn. (Not those by which the kernel would say of a blob that it is not there.) */
static const char *const others[] = {"EDQUOT", "EROFS",  "EACCES",  "EPERM",      "EMLINK", "ENOLCK", "ENOSYS", "EOPNOTSUPP",
                                     "EFBIG",  "ESTALE", "ENOTDIR", "ENFILE",     "EEXIST", "EINVAL", "ELOOP",  "EXDEV",
                                     "EBUSY",  "EAGAIN", "ENXIO",   "EOVERFLOW"};

int main(int argc, char **argv)
{
    static struct call calls[2000];
    start(argc, argv);
    for (unsigned i = 0; i < sizeof operations / sizeof operations[0]; i++)
        if (strcmp(operations[i].name, mode) == 0)
            op = &operations[i];
    CHECK(op != NULL);
    if (argc > 3 && strcmp(argv[3], "victim") == 0)
        victim();
    if (try_own_mounts() == 0) /* for speed alone */
        mount_tmpfs(scratch, "size=64m");
    CHECK(readlink("/proc/self/exe", self, sizeof self - 1) > 0);
    unsigned fds = descriptors();

    /* once to its end, listing the calls */
    const char *log = path_of("log");
    prepare();
    int state = traced(log, NULL);
    if (!WIFEXITED(state) || WEXITSTATUS(state) != 0 || atomic_load(&progress->at) != 2) {
        if (WIFEXITED(state) && WEXITSTATUS(state) == 127) {
            skipped("no strace here");
        } else if (atomic_load(&progress->at) == 0 && access(log, F_OK) == 0 && entries_in(here) == 3) {
            struct stat st;
            SYS(stat(log, &st));
            if (st.st_size == 0)
                skipped("strace may not trace here");
            else
                FAIL("the operation does not work under strace");
        } else {
            FAIL("the operation does not work");
        }
        QUIET(vfs_close(neighbour));
        QUIET(vfs_close(below));
        remove_tree(here);
        return 0;
    }
    CHECK_INT(progress->status, VFS_OK);
    int count = read_log(log, calls, 2000), spared = 0, points = 0;
    CHECK(count > 3);
    verify(0, VFS_OK, "to its end", REPLACED);

    /* again, for each call twice, with two of the tails; where calls fail, once, with each of them in turn */
    for (int e = 3; e < (argc > 3 ? argc : 4); e++) {
        const char *error = argc > 3 ? argv[e] : NULL;
        for (int i = 0; i < count * (error ? 1 : 2); i++) {
            if (argc > 3 && strcmp(argv[e], "OTHERS") == 0)
                error = others[i % (int)(sizeof others / sizeof others[0])];
            int at_call = i % count;
            const struct call *call = &calls[at_call];
            enum tail tail = error ? (enum tail)(i % TAILS) : i == at_call ? REPLACED : at_call % 2 ? REMOVED : LEFT;
            char inject[128], what[160];
            /* (a failing brk answers an address that is none, which the C library does not survive) */
            if (error && (strcmp(call->name, "getppid") == 0 || strcmp(call->name, "brk") == 0))
                continue;
            snprintf(inject, sizeof inject, "inject=%.31s:%s%.20s:when=%d", call->name, error ? "error=" : "signal=",
                     error ? error : "SIGKILL", call->number);
            snprintf(what, sizeof what, "%.20s call %d of %d, %.31s number %d", error ? error : "killed at",
                     at_call + 1, count, call->name, call->number);
            prepare();
            state = traced("/dev/null", inject);
            points++;
            if (error) {
                if (!WIFEXITED(state) || WEXITSTATUS(state) != 0)
                    FAIL("%s, %s: the process ended with %s %d", op->name, what, WIFSIGNALED(state) ? "signal" : "exit code",
                         WIFSIGNALED(state) ? WTERMSIG(state) : WEXITSTATUS(state));
                CHECK_INT(atomic_load(&progress->at), 2);
                verify(0, atomic_load(&progress->status), what, tail);
            } else {
                /* the order of a directory, or another reaper, may spare a run some calls, so that it comes to its end */
                int at = atomic_load(&progress->at), ended = WIFEXITED(state) && WEXITSTATUS(state) == 0 && at == 2;
                if (!ended && !(WIFSIGNALED(state) && WTERMSIG(state) == SIGKILL && at == 1))
                    FAIL("%s, %s: not killed in its midst: %d, at %d", op->name, what, state, at);
                spared += ended;
                verify(!ended, atomic_load(&progress->status), what, tail);
            }
        }
    }
    CHECK(op->raced ? spared < points : spared * 4 <= points);
    tell_points_of(argc > 3 ? argv + 3 : NULL, points - spared);
    SYS(unlink(log));
    CHECK_INT(descriptors(), fds);
    return 0;
}

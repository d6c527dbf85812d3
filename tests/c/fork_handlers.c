/* Handlers of pthread_atfork that the calling process registered before its first vfs_open: those for the child and for
 * the parent run before the library's, that for the time before the fork runs after it. One MODE a case. */
#include "harness.h"

#include <semaphore.h>

static char tiers[3 * PATH_MAX];
static const char *dirs[3];

/* ---- each handler uses all of the library ---- */

static vfs_t *store; /* opened before any fork */
static vfs_t *opened[3];
static const char *const phases[] = {"prepare", "parent", "child"};
static int acting;

static void use_every_function(vfs_t *s, const char *name)
{
    const char *keys[] = {"stored"}, *key = NULL;
    vfs_tier_stat_t tier = VFS_TIER_STAT_INIT;
    vfs_stat_t stat = VFS_STAT_INIT;
    vfs_writer_t *w = NULL;
    vfs_list_t *list = NULL;
    vfs_view_t view = {0};
    void *memory = NULL;
    const char *own = say("%s-streamed", name);
    CHECK_OK(put(s, name, 5000, 1, 0));
    CHECK_OK(put(s, name, 70000, 2, VFS_REPLACE));
    CHECK_VALUE(s, name, 70000, 2);
    CHECK_OK(vfs_create(s, own, 0, 0, &w));
    CHECK_OK(vfs_write(w, "abc", 3));
    CHECK_OK(vfs_reserve(w, 3, &memory));
    memcpy(memory, "def", 3);
    CHECK_OK(vfs_seal(w));
    CHECK_OK(vfs_map(s, own, &view, &stat));
    CHECK(view.len == 6 && memcmp(view.data, "abcdef", 6) == 0);
    QUIET(vfs_unmap(&view));
    CHECK_OK(vfs_list_open(s, &list));
    CHECK_OK(vfs_list_next(list, &key, &stat));
    QUIET(vfs_list_close(list));
    CHECK_OK(vfs_tier_stat(s, 0, &tier));
    CHECK_OK(vfs_reap(s, NULL));
    CHECK_OK(vfs_remove(s, name));
    CHECK_ABSENT(s, name);
    CHECK_OK(vfs_remove_owned(s, keys, 1));
    CHECK_OK(vfs_remove(s, own));
}

static void act(int phase)
{
    if (!acting)
        return;
    if (phase < 2) {
        use_every_function(store, say("old-%s", phases[phase]));
    } else {
        CHECK_VALUE(store, "inherited", 5000, 1);
        CHECK_IS(put(store, "inherited", 5, 5, VFS_REPLACE), VFS_ERR_FORKED);
        CHECK_IS(vfs_has(store, "absent"), 0);
    }
    vfs_t *passing = open_on(tiers);
    use_every_function(passing, say("passing-%s", phases[phase]));
    QUIET(vfs_close(passing));
    opened[phase] = open_on(tiers);
    use_every_function(opened[phase], phases[phase]);
    CHECK_OK(put(opened[phase], say("kept-%s", phases[phase]), 5000, 3, 0));
}

static void prepare(void) { act(0); }
static void parent(void) { act(1); }
static void child(void) { act(2); }

/* In the child: what the parent's handler opened before the fork is the parent's, what the child's opened its own. */
static void in_child(void *arg)
{
    (void)arg;
    CHECK_VALUE(opened[0], "kept-prepare", 5000, 3);
    CHECK_IS(put(opened[0], "kept-prepare", 5, 5, VFS_REPLACE), VFS_ERR_FORKED);
    QUIET(vfs_close(opened[0]));
    QUIET(vfs_close(store));
    use_every_function(opened[2], "after-child");
    CHECK_INT(flags_of(opened[2], "kept-child"), VFS_STAT_OWNED);
    vfs_t *reaper = open_on(tiers);
    CHECK_OK(vfs_reap(reaper, NULL));
    CHECK_VALUE(reaper, "kept-child", 5000, 3);
    CHECK_VALUE(reaper, "kept-prepare", 5000, 3); /* its owner, the parent, is alive */
    CHECK_VALUE(reaper, "inherited", 5000, 1);
    QUIET(vfs_close(opened[2]));
    CHECK_ABSENT(reaper, "kept-child");
    QUIET(vfs_close(reaper));
}

static void all(void)
{
    CHECK_INT(pthread_atfork(prepare, parent, child), 0);
    store = open_on(tiers);
    CHECK_OK(put(store, "inherited", 5000, 1, 0));
    for (int times = 0; times < 3; times++) {
        acting = 1;
        pid_t pid = start_child(in_child, NULL);
        acting = 0;
        JOIN(pid);
        for (int phase = 0; phase < 2; phase++) {
            vfs_t *reaper = open_on(tiers); /* as another process does */
            CHECK_INT(flags_of(opened[phase], say("kept-%s", phases[phase])), VFS_STAT_OWNED);
            CHECK_VALUE(reaper, say("kept-%s", phases[phase]), 5000, 3);
            QUIET(vfs_close(reaper));
            QUIET(vfs_close(opened[phase]));
        }
        CHECK_VALUE(store, "inherited", 5000, 1);
    }
    QUIET(vfs_close(store));
}

/* ---- a fork that comes to no end ---- */

static sem_t began, may_end;

static void stuck_prepare(void)
{
    sem_post(&began);
    while (sem_wait(&may_end) != 0) {
    }
}

static void *fork_and_stay(void *arg)
{
    (void)arg;
    pid_t pid = fork();
    SYS(pid);
    if (pid == 0)
        _exit(0);
    JOIN(pid);
    return NULL;
}

/* A call that has to open a lock waits for another thread's fork once, not once for each tier and each file. */
static void stuck(void)
{
    pthread_t thread;
    vfs_options_t options = VFS_OPTIONS_INIT;
    vfs_t *s = (vfs_t *)&options;
    options.tiers = tiers;
    options.name = "harness";
    CHECK_INT(pthread_atfork(stuck_prepare, NULL, NULL), 0);
    sem_init(&began, 0, 0);
    sem_init(&may_end, 0, 0);
    store = open_on(tiers);
    CHECK_OK(put(store, "k", 5000, 1, 0));
    CHECK_INT(pthread_create(&thread, NULL, fork_and_stay, NULL), 0);
    while (sem_wait(&began) != 0) {
    }
    CHECK_IS(vfs_open(&options, &s), VFS_ERR_BUSY);
    CHECK(s == NULL);
    CHECK_SAYS(dirs[0]);
    CHECK_SAYS("EBUSY");
    /* what is open already goes on */
    CHECK_OK(put(store, "k", 5000, 2, VFS_REPLACE));
    CHECK_VALUE(store, "k", 5000, 2);
    CHECK_IS(vfs_has(store, "absent"), 0);
    sem_post(&may_end);
    CHECK_INT(pthread_join(thread, NULL), 0);
    CHECK_OK(vfs_open(&options, &s));
    CHECK_VALUE(s, "k", 5000, 2);
    QUIET(vfs_close(s));
    QUIET(vfs_close(store));
}

int main(int argc, char **argv)
{
    start(argc, argv);
    for (int i = 0; i < 3; i++)
        dirs[i] = dir_of(say("tier-%d", i));
    snprintf(tiers, sizeof tiers, "%s?max=60K,%s,%s", dirs[0], dirs[1], dirs[2]);
    if (strcmp(mode, "all") == 0)
        all();
    else if (strcmp(mode, "stuck") == 0)
        stuck();
    else
        FAIL("no such mode");
    for (int i = 0; i < 3; i++)
        CHECK_NOTHING_LEFT(dirs[i]);
    return 0;
}

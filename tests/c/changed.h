/* What the tests of processes that change share: tiers of memory and disk, what is held before a change, and what must
 * hold after it. */
#ifndef CHANGED_H
#define CHANGED_H

#include "harness.h"

#include "operations.h"

#include <grp.h>

enum { OTHER = 1000 };

static const char *A, *B;
static unsigned places;
static char disk[PATH_MAX]; /* the scratch directory that others cannot reach */

/* One tier of memory, one on the disk, or both. */
enum { MEMORY, DISK, BOTH, KINDS_OF_TIERS };

UNUSED static void use_tiers(int kind)
{
    A = kind == DISK ? NULL : tmpfs_of(say("memory%u", places), "size=8m");
    B = kind == MEMORY ? NULL : dir_of(say("disk%u", places));
    if (B) {
        const char *source = say("%s/%u", disk, places);
        SYS(mkdir(source, 0777));
        SYS(mount(source, B, NULL, MS_BIND, NULL));
        SYS(chmod(B, 0777));
    }
    places++;
    snprintf(tiers, sizeof tiers, "%s%s%s", A ? A : "", A && B ? "," : "", B ? B : "");
}

/* What the one before the change left is an orphan now: the next open reaps it. Persistent blobs stay. */
UNUSED static void reaped_by(uid_t user)
{
    pid_t pid = fork();
    SYS(pid);
    if (pid == 0) {
        if (user) {
            SYS(setresgid(user, user, user));
            SYS(setresuid(user, user, user));
        }
        s = open_on(tiers);
        CHECK_VALUE(s, "kept", SMALL, 1);
        CHECK_OK(vfs_remove(s, "kept"));
        CHECK_INT(listed_all(s), 0);
        QUIET(vfs_close(s));
        if (A)
            CHECK_NOTHING_LEFT(A);
        if (B)
            CHECK_NOTHING_LEFT(B);
        _exit(0);
    }
    JOIN(pid);
    if (A)
        SYS(umount2(A, MNT_DETACH));
    if (B)
        SYS(umount2(B, MNT_DETACH));
}

/* Every file below vfs1-N belongs to user N. */
UNUSED static void check_owner(const char *path, const char *inside, const struct stat *st, void *arg)
{
    const char *ours = strstr(path, "/vfs1-");
    (void)inside;
    if (ours && (uid_t)strtoul(ours + 6, NULL, 10) != st->st_uid)
        FAIL("%s: %s is of user %u", (const char *)arg, path, (unsigned)st->st_uid);
}

UNUSED static void check_owners(const char *when)
{
    walk(scratch, "", check_owner, (void *)(uintptr_t)when);
}

/* What was opened before a change. */
static struct held {
    vfs_writer_t *writer;
    vfs_list_t *list;
    vfs_view_t view;
} held;

UNUSED static void hold(void)
{
    const char *key = NULL;
    vfs_stat_t stat = VFS_STAT_INIT;
    s = open_on(tiers);
    CHECK_OK(put(s, "k", SMALL, 1, 0));
    CHECK_OK(put(s, "own", SMALL, 1, 0));
    CHECK_OK(put(s, "kept", SMALL, 1, VFS_PERSIST));
    CHECK_OK(vfs_create(s, "written", 0, 0, &held.writer));
    CHECK_OK(vfs_write(held.writer, small_data, 50));
    CHECK_OK(vfs_map(s, "k", &held.view, NULL));
    CHECK_OK(vfs_list_open(s, &held.list));
    CHECK_OK(vfs_list_next(held.list, &key, &stat));
}

/* They end in any case; `sealed` says whether the writer can publish. */
UNUSED static void let_go(int32_t sealed)
{
    const char *key = NULL;
    vfs_stat_t stat = VFS_STAT_INIT;
    int32_t status = STATUS(vfs_write(held.writer, small_data + 50, SMALL - 50));
    CHECK(status == VFS_OK || status == sealed);
    CHECK_IS(vfs_seal(held.writer), sealed);
    for (unsigned i = 0; (status = STATUS(vfs_list_next(held.list, &key, &stat))) == VFS_OK; i++)
        CHECK(i < 10);
    CHECK(is_value_at(held.view.data, held.view.len, 0, 1, SMALL));
    QUIET(vfs_unmap(&held.view));
    QUIET(vfs_list_close(held.list));
}

/* Each call answers this code and says these words; `vfs_open` and the calls that `but` names are left out. */
UNUSED static void all_answer(int32_t code, const char *words, const char *but)
{
    for (unsigned i = 0; i < sizeof operations / sizeof operations[0]; i++) {
        if (operations[i].run == do_open || operations[i].run == do_shutdown || strstr(but, operations[i].name))
            continue;
        operations[i].run();
        if (answer != code || !strstr(vfs_last_error(), words))
            FAIL("%s: %s: %s", operations[i].name, status_name(answer), vfs_last_error());
    }
}

UNUSED static void all_work(void)
{
    do_replace();
    CHECK_IS(answer, VFS_OK);
    do_read();
    CHECK_IS(answer, VFS_OK);
    do_map();
    CHECK_IS(answer, VFS_OK);
    do_stat();
    CHECK_IS(answer, VFS_OK);
    do_miss();
    CHECK_INT(answer, 0);
    do_stream();
    CHECK_IS(answer, VFS_OK);
    do_list();
    CHECK_IS(answer, VFS_ERR_NOT_FOUND);
    do_tier_stat();
    CHECK_IS(answer, VFS_OK);
    do_reap();
    CHECK_IS(answer, VFS_OK);
    do_remove_owned();
    CHECK_IS(answer, VFS_OK);
    do_persist();
    CHECK_IS(answer, VFS_OK);
    do_remove();
    CHECK_IS(answer, VFS_OK);
    do_store();
    CHECK_IS(answer, VFS_OK);
}

UNUSED static void to_other(void)
{
    SYS(setgroups(0, NULL));
    SYS(setresgid(OTHER, OTHER, OTHER));
    SYS(setresuid(OTHER, OTHER, OTHER));
}

/* Finds the mode among these and runs it. */
#define RUN_MODE(modes)                                                                                                \
    do {                                                                                                               \
        for (unsigned h_i = 0; h_i < sizeof modes / sizeof modes[0]; h_i++)                                            \
            if (strcmp(mode, modes[h_i].name) == 0) {                                                                  \
                modes[h_i].run();                                                                                      \
                return 0;                                                                                              \
            }                                                                                                          \
        FAIL("no such mode");                                                                                          \
    } while (0)

/* Whether this process can be several users; the scratch directory is one that all of them reach then. */
static int can_be_several(void)
{
    if (geteuid() != 0 || !several_users()) {
        skipped("only root can be several users");
        return 0;
    }
    snprintf(disk, sizeof disk, "%s", scratch);
    public_scratch();
    SYS(chmod(scratch, 0755));
    return 1;
}

#endif

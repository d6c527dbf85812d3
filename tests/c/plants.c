/* At every name of ours lies something else: nothing of it is followed, waited for or destroyed, and the next tier, or
 * the rest of this one, serves. Needs root, to be several users. `plants SCRATCH all` */
#include "harness.h"

#include <linux/fs.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <sys/sysmacros.h>
#include <sys/un.h>

enum { VICTIM = 12345, ATTACKER = 23456 };

static const char *A, *B, *precious;
static char tiers[2 * PATH_MAX + 16];

/* ---- the names, and what may lie there ---- */

enum place { BASE, LOCK, NAME, OBJECTS, OWNERS, ROOM, SUB_ROOM, BLOB, LINK, PLACES };
static const char *const place_names[] = {"vfs1-UID", "\\lock", "NAME", "objects", "owners", "owners/ID", "owners/ID/\\1",
                                          "objects/KEY", "owners/ID/KEY"};

enum plant {
    THEIR_DIR, LOOSE_DIR, SHUT_DIR, LINK_TO_DIR, LINK_TO_FILE, DANGLING, PLAIN_FILE, THEIR_FILE, HARD_LINK, FIFO, SOCKET,
    DEVICE, IMMUTABLE, MOUNT, BIND, PLANTS
};
static const char *const plant_names[] = {"a directory of another user", "a directory open to all", "a directory without rights",
                                          "a link to a directory", "a link to a file", "a dangling link", "a file",
                                          "a file of another user", "a hard link", "a fifo", "a socket", "a device",
                                          "what cannot be changed", "a mounted filesystem", "a mounted directory"};

static int is_dir_place(enum place place)
{
    return place != LOCK && place != BLOB && place != LINK;
}

/* Whether the tier may be used all the same: the thing is as good as ours. */
static int harmless(enum place place, enum plant plant, uid_t uid)
{
    switch (plant) {
    case SHUT_DIR: return is_dir_place(place); /* the rights are given back */
    case PLAIN_FILE:
    case HARD_LINK: return place == LOCK;
    case THEIR_FILE: return place == LOCK && uid == 0;
    case IMMUTABLE:
    case MOUNT:
    case BIND: return 1; /* whatever the filesystem says */
    default: return 0;
    }
}

/* Whether it is a directory of ours that others can reach: what is mounted here is laid out as one. */
static int exposes(enum place place, enum plant plant)
{
    switch (place) {
    case BASE: return plant == LOOSE_DIR || plant == BIND || plant == MOUNT;
    case NAME:
    case OBJECTS:
    case OWNERS: return plant == LOOSE_DIR || plant == BIND;
    default: return 0;
    }
}

static void become(uid_t uid)
{
    if (uid == 0)
        return;
    SYS(setresgid(uid, uid, uid));
    SYS(setresuid(uid, uid, uid));
    SYS(prctl(PR_SET_DUMPABLE, 1)); /* so that /proc/self is ours again */
}

static void put_file(const char *path, const char *text, uid_t uid, mode_t how)
{
    int fd = open(path, O_CREAT | O_WRONLY | O_CLOEXEC | O_EXCL, how);
    SYS(fd);
    CHECK(write(fd, text, strlen(text)) == (ssize_t)strlen(text));
    SYS(fchown(fd, uid, uid));
    SYS(fchmod(fd, how));
    close(fd);
}

static void put_dir(const char *path, uid_t uid, mode_t how)
{
    SYS(mkdir(path, 0700));
    SYS(chown(path, uid, uid));
    SYS(chmod(path, how));
}

/* What must stay as it is: laid out as a store, so that whatever follows a link finds what to take. */
static void fill_precious(const char *dir, uid_t uid)
{
    static const char *const dirs[] = {"objects", "owners", "owners/0123456789abcdef", "harness", "harness/objects",
                                       "harness/owners", "0123456789abcdef", "0123456789abcdef/\\1"};
    static const char *const files[] = {"k", "\\lock", "objects/k", "owners/0123456789abcdef/k", "harness/objects/k",
                                        "0123456789abcdef/k", "0123456789abcdef/\\1/j"};
    for (unsigned i = 0; i < sizeof dirs / sizeof dirs[0]; i++)
        put_dir(say("%s/%s", dir, dirs[i]), uid, 0755);
    for (unsigned i = 0; i < sizeof files / sizeof files[0]; i++)
        put_file(say("%s/%s", dir, files[i]), "precious", uid, 0644);
}

static int set_immutable(const char *path, int on)
{
    int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK), flags = on ? FS_IMMUTABLE_FL : 0;
    int answer = fd < 0 ? -1 : ioctl(fd, FS_IOC_SETFLAGS, &flags);
    if (fd >= 0)
        close(fd);
    return answer;
}

/* ---- a case ---- */

static struct {
    uid_t uid;
    enum place place;
    enum plant plant;
    char at[PATH_MAX + 300], dead[PATH_MAX + 300];
} now;

/* As the victim: leaves two dead owners in a store whose directories are there then. */
static void leave_dead(void *arg)
{
    (void)arg;
    become(now.uid);
    for (int i = 0; i < 2; i++) {
        vfs_t *s = open_on(tiers);
        CHECK_OK(put(s, i ? "z" : "k", 300, 1, 0));
        CHECK_OK(put(s, i ? "y" : "j", 300, 1, 0));
        CHECK_OK(put(s, i ? "y" : "j", 300, 2, VFS_REPLACE));
    }
}

/* The room of the dead owner of "k". */
static void find_room(void)
{
    const char *own = say("%s/harness/owners", own_tier_dir(A, now.uid));
    DIR *d = opendir(own);
    struct dirent *entry;
    CHECK(d != NULL);
    now.dead[0] = 0;
    while ((entry = readdir(d)))
        if (entry->d_name[0] != '.' && access(say("%s/%s/k", own, entry->d_name), F_OK) == 0)
            snprintf(now.dead, sizeof now.dead, "%s/%s", own, entry->d_name);
    closedir(d);
    CHECK(now.dead[0] != 0);
}

static void find_place(void)
{
    const char *own = own_tier_dir(A, now.uid), *room = now.dead;
    int len = 0;
    switch (now.place) {
    case BASE: len = snprintf(now.at, sizeof now.at, "%s", own); break;
    case LOCK: len = snprintf(now.at, sizeof now.at, "%s/\\lock", own); break;
    case NAME: len = snprintf(now.at, sizeof now.at, "%s/harness", own); break;
    case OBJECTS: len = snprintf(now.at, sizeof now.at, "%s/harness/objects", own); break;
    case OWNERS: len = snprintf(now.at, sizeof now.at, "%s/harness/owners", own); break;
    case ROOM: len = snprintf(now.at, sizeof now.at, "%.4200s", room); break;
    case SUB_ROOM: len = snprintf(now.at, sizeof now.at, "%.4200s/\\1", room); break;
    case BLOB: len = snprintf(now.at, sizeof now.at, "%s/harness/objects/k", own); break;
    case LINK: len = snprintf(now.at, sizeof now.at, "%.4200s/k", room); break;
    case PLACES: break;
    }
    CHECK(len > 0 && len < (int)sizeof now.at);
}

/* Puts the plant in place; 0 where this cannot be done here. */
static int plant(void)
{
    const char *at = now.at;
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    struct stat st;
    int fd;
    SYS(lstat(at, &st));
    if (now.plant == MOUNT || now.plant == BIND) { /* over what is there */
        const char *from = S_ISDIR(st.st_mode) ? precious : say("%s/k", precious);
        if (now.plant == BIND)
            return mount(from, at, "none", MS_BIND, NULL) == 0;
        if (!S_ISDIR(st.st_mode))
            return 0;
        SYS(mount("tmpfs", at, "tmpfs", 0, say("size=1m,mode=0700,uid=%u", (unsigned)now.uid)));
        fill_precious(at, now.uid);
        return 1;
    }
    if (now.plant == IMMUTABLE)
        return set_immutable(at, 1) == 0;
    if (S_ISDIR(st.st_mode))
        remove_tree(at);
    else
        SYS(unlink(at));
    switch (now.plant) {
    case THEIR_DIR:
        put_dir(at, ATTACKER, 0777);
        put_file(say("%.4400s/k", at), "theirs", ATTACKER, 0666);
        break;
    case LOOSE_DIR:
        put_dir(at, now.uid, 0777);
        put_file(say("%.4400s/k", at), "ours", now.uid, 0666);
        break;
    case SHUT_DIR: put_dir(at, now.uid, 0); break;
    case LINK_TO_DIR: SYS(symlink(precious, at)); break;
    case LINK_TO_FILE: SYS(symlink(say("%s/k", precious), at)); break;
    case DANGLING: SYS(symlink(say("%s/planted", precious), at)); break;
    case PLAIN_FILE: put_file(at, "a file", now.uid, 0600); break;
    case THEIR_FILE: put_file(at, "a file", ATTACKER, 0600); break;
    case HARD_LINK: SYS(link(say("%s/k", precious), at)); break;
    case FIFO:
        SYS(mkfifo(at, 0600));
        SYS(chown(at, now.uid, now.uid));
        break;
    case SOCKET:
        if (strlen(at) >= sizeof address.sun_path)
            return 0;
        memcpy(address.sun_path, at, strlen(at));
        SYS(fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0));
        SYS(bind(fd, (struct sockaddr *)&address, sizeof address));
        close(fd);
        break;
    case DEVICE: /* reading from it would never end */
        if (mknod(at, S_IFCHR | 0666, makedev(1, 5)) != 0)
            return 0;
        break;
    default: break;
    }
    return 1;
}

/* It fails for a reason that a plant may be, or not at all. */
static int32_t told(int32_t status, const char *what)
{
    switch (status) {
    case VFS_OK:
    case 1: /* (vfs_has) */
    case VFS_ERR_NOT_FOUND:
    case VFS_ERR_EXISTS:
    case VFS_ERR_PERMISSION:
    case VFS_ERR_IO:
    case VFS_ERR_UNSUPPORTED:
    case VFS_ERR_BUSY: return status; /* a mounted file cannot be removed: EBUSY */
    default: FAIL("%s: %s: %s", what, status_name(status), vfs_last_error());
    }
}

/* What the victim does, all of it in bounded time. */
static void victim(void *arg)
{
    (void)arg;
    char got[2000];
    size_t len = 0;
    vfs_view_t view = {0};
    vfs_stat_t stat = VFS_STAT_INIT;
    vfs_list_t *list = NULL;
    const char *key = NULL, *keys[] = {"k"};
    int good = harmless(now.place, now.plant, now.uid), blobs = now.place >= ROOM;
    become(now.uid);
    alarm(60);
    for (int read_only = 1; read_only >= 0; read_only--) {
        vfs_t *s = open_as(tiers, "harness", read_only ? VFS_READ_ONLY : 0);
        told(STATUS(vfs_has(s, "k")), "has");
        if (told(STATUS(vfs_read(s, "k", 0, got, sizeof got, &len, NULL)), "read") == VFS_OK && !good)
            CHECK(now.plant == PLAIN_FILE || now.plant == HARD_LINK || now.plant == THEIR_FILE || is_whole(got, len, NULL));
        if (told(STATUS(vfs_map(s, "k", &view, NULL)), "map") == VFS_OK)
            QUIET(vfs_unmap(&view));
        told(STATUS(vfs_stat(s, "k", &stat)), "stat");
        if (told(STATUS(vfs_list_open(s, &list)), "list") == VFS_OK) {
            int32_t status = VFS_OK;
            for (int i = 0; i < 30 && status != VFS_ERR_NOT_FOUND; i++)
                status = told(STATUS(vfs_list_next(list, &key, &stat)), "list");
            CHECK_INT(status, VFS_ERR_NOT_FOUND);
            QUIET(vfs_list_close(list));
        }
        if (read_only) {
            QUIET(vfs_close(s));
            continue;
        }
        /* our own directory, which others can reach, may have each key: nothing is stored elsewhere meanwhile */
        if (exposes(now.place, now.plant)) {
            CHECK_IS(vfs_has(s, "k"), VFS_ERR_PERMISSION);
            CHECK_IS(put(s, "new", 300, 3, 0), VFS_ERR_PERMISSION);
            CHECK_IS(put(s, "new", 300, 3, VFS_REPLACE | VFS_PERSIST), VFS_ERR_PERMISSION);
            CHECK_SAYS(", expected 0700");
            CHECK_IS(vfs_remove(s, "k"), VFS_ERR_PERMISSION);
            CHECK_OK(vfs_remove_owned(s, keys, 1)); /* this handle owns nothing */
            CHECK_IS(vfs_reap(s, NULL), VFS_ERR_PERMISSION);
            CHECK_OK(vfs_shutdown(s));
            QUIET(vfs_close(s));
            continue;
        }
        /* new keys go to this tier, or to the next; the reason is told */
        CHECK_OK(put(s, "new", 300, 3, 0));
        CHECK_VALUE(s, "new", 300, 3);
        if (tier_of(s, "new") != (blobs ? 0 : 1) && !good)
            FAIL("a new key went to tier %u", tier_of(s, "new"));
        if (!blobs && tier_of(s, "new") == 1) {
            vfs_tier_stat_t tier = tier_stat(s, 0);
            CHECK(tier.last_errno != 0);
            CHECK(tier.refused > 0 || !(tier.flags & VFS_TIER_USABLE));
        }
        CHECK_OK(put(s, "new", 400, 4, VFS_REPLACE));
        CHECK_VALUE(s, "new", 400, 4);
        CHECK_OK(vfs_remove(s, "new"));
        CHECK_OK(put(s, "kept", 300, 5, VFS_PERSIST));
        CHECK_OK(vfs_remove(s, "kept"));
        /* the name that is taken */
        told(put(s, "k", 300, 6, 0), "store");
        told(put(s, "k", 300, 7, VFS_REPLACE), "replace");
        told(STATUS(vfs_remove_owned(s, keys, 1)), "remove owned");
        told(STATUS(vfs_remove(s, "k")), "remove");
        /* the other dead owner is reaped all the same, where its tier is used */
        told(STATUS(vfs_reap(s, NULL)), "reap");
        if (blobs)
            CHECK_IS(vfs_has(s, "z"), 0);
        CHECK_OK(put(s, "owned", 300, 8, 0));
        told(STATUS(vfs_shutdown(s)), "shutdown");
        QUIET(vfs_close(s));
        s = open_as(B, "harness", VFS_READ_ONLY);
        CHECK_IS(vfs_has(s, "owned"), 0);
        QUIET(vfs_close(s));
    }
}

/* Mounts and marks go; then all of it. */
static void uproot(int planted)
{
    if (planted && (now.plant == MOUNT || now.plant == BIND))
        SYS(umount2(now.at, MNT_DETACH));
    if (now.plant == IMMUTABLE)
        set_immutable(now.at, 0);
    const char *own = own_tier_dir(A, now.uid);
    if (unlink(own) != 0)
        remove_tree(own);
}

static void all(void)
{
    static const uid_t users[] = {VICTIM, 0};
    unsigned tried = 0, impossible = 0;
    A = dir_of("a");
    B = dir_of("b");
    SYS(chmod(A, 01777));
    SYS(chmod(B, 01777));
    put_text("/proc/sys/fs/protected_hardlinks", "1"); /* as distributions have it, where we may */
    snprintf(tiers, sizeof tiers, "%s,%s", A, B);
    for (unsigned u = 0; u < 2; u++) {
        now.uid = users[u];
        precious = dir_of(say("precious-%u", (unsigned)now.uid));
        SYS(chown(precious, now.uid, now.uid));
        SYS(chmod(precious, 0755));
        fill_precious(precious, now.uid);
        for (int place = 0; place < PLACES; place++)
            for (int what = 0; what < PLANTS; what++) {
                char name[200];
                now.place = (enum place)place;
                now.plant = (enum plant)what;
                snprintf(name, sizeof name, "%s at %s, for uid %u", plant_names[what], place_names[place], (unsigned)now.uid);
                mode = name;
                JOIN(start_child(leave_dead, NULL));
                find_room();
                find_place();
                int planted = plant();
                if (planted) {
                    uint64_t before = print_of(precious), mounted = now.plant == MOUNT ? print_of(now.at) : 0;
                    nlink_t links = 0;
                    struct stat st;
                    SYS(stat(say("%s/k", precious), &st));
                    links = st.st_nlink;
                    JOIN(start_child(victim, NULL));
                    SYS(stat(say("%s/k", precious), &st));
                    if (st.st_nlink != links) { /* our name of it went, not the file */
                        CHECK(now.plant == HARD_LINK && st.st_nlink == 1);
                        SYS(link(say("%s/k", precious), say("%s/again", scratch)));
                    }
                    CHECK_INT(print_of(precious), before);
                    unlink(say("%s/again", scratch));
                    if (now.plant == MOUNT)
                        CHECK_INT(print_of(now.at), mounted);
                    CHECK(access(say("%s/planted", precious), F_OK) != 0);
                    tried++;
                } else {
                    impossible++;
                }
                uproot(planted);
                JOIN(start_child(leave_dead, NULL)); /* and all is well again */
                remove_tree(own_tier_dir(A, now.uid));
                remove_tree(own_tier_dir(B, now.uid));
            }
    }
    mode = "all";
    CHECK(tried > 200 && impossible < 40);
    if (getenv("VFS_TEST_COUNT"))
        fprintf(stderr, "%u tried, %u could not be planted\n", tried, impossible);
}

int main(int argc, char **argv)
{
    start(argc, argv);
    if (geteuid() != 0) {
        skipped("only root can be several users");
        return 0;
    }
    public_scratch();
    if (!several_users()) {
        skipped("root is the only user here");
        return 0;
    }
    all();
    return 0;
}

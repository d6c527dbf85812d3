/* Filesystems that do not keep names byte for byte. This program stands in for the functions of the C library that take a
 * name, and changes it below one tier as such a filesystem does; one case mounts a real one. One MODE a case. */
#include "harness.h"

#include <sys/syscall.h>

/* ---- the filesystem ---- */

static dev_t odd_dev;                                          /* below this device the names are odd */
static int (*change)(const char *name, char out[NAME_MAX + 1]); /* answers an errno, or 0 */
static _Atomic int hides;                                       /* a removed file that is open gets another name */
static const char *hidden_prefix = ".fuse_hidden";
static _Atomic int written; /* how often */

static int on_odd(int dir)
{
    struct stat st;
    return change && dir >= 0 && fstat(dir, &st) == 0 && st.st_dev == odd_dev;
}

/* The path as the filesystem has it: its last part changed. NULL, and errno, where that name is not allowed. */
static const char *changed(int dir, const char *path, char out[PATH_MAX])
{
    if (!on_odd(dir))
        return path;
    const char *slash = strrchr(path, '/'), *name = slash ? slash + 1 : path;
    char to[NAME_MAX + 1];
    if ((errno = change(name, to)) != 0)
        return NULL;
    snprintf(out, PATH_MAX, "%.*s%s", (int)(name - path), path, to);
    return out;
}

int openat(int dir, const char *path, int flags, ...)
{
    va_list args;
    va_start(args, flags);
    int mode_bits = flags & O_CREAT ? va_arg(args, int) : 0;
    va_end(args);
    char out[PATH_MAX];
    path = changed(dir, path, out);
    return path ? (int)syscall(SYS_openat, dir, path, flags, mode_bits) : -1;
}

int fstatat(int dir, const char *path, struct stat *st, int flags)
{
    char out[PATH_MAX];
    path = changed(dir, path, out);
    return path ? (int)syscall(SYS_newfstatat, dir, path, st, flags) : -1;
}

int linkat(int from, const char *old, int to, const char *new, int flags)
{
    char out[2][PATH_MAX];
    old = changed(from, old, out[0]);
    new = changed(to, new, out[1]);
    return old && new ? (int)syscall(SYS_linkat, from, old, to, new, flags) : -1;
}

int renameat(int from, const char *old, int to, const char *new)
{
    char out[2][PATH_MAX];
    old = changed(from, old, out[0]);
    new = changed(to, new, out[1]);
    return old && new ? (int)syscall(SYS_renameat2, from, old, to, new, 0) : -1;
}

/* Whether a descriptor of this process is open on the file. */
static int is_open(const struct stat *file)
{
    for (int fd = 3; fd < 256; fd++) {
        struct stat st;
        if (fstat(fd, &st) == 0 && st.st_dev == file->st_dev && st.st_ino == file->st_ino)
            return 1;
    }
    return 0;
}

int unlinkat(int dir, const char *path, int flags)
{
    static unsigned count;
    char out[PATH_MAX];
    struct stat st;
    path = changed(dir, path, out);
    if (!path)
        return -1;
    if (hides && !(flags & AT_REMOVEDIR) && on_odd(dir) && syscall(SYS_newfstatat, dir, path, &st, 0) == 0 && is_open(&st)) {
        const char *slash = strrchr(path, '/');
        char name[PATH_MAX];
        snprintf(name, sizeof name, "%.*s%s%08x%08x", slash ? (int)(slash + 1 - path) : 0, path, hidden_prefix, 5u, ++count);
        return (int)syscall(SYS_renameat2, dir, path, dir, name, 0);
    }
    return (int)syscall(SYS_unlinkat, dir, path, flags);
}

ssize_t pwrite64(int fd, const void *data, size_t len, off64_t offset)
{
    atomic_fetch_add(&written, 1);
    return syscall(SYS_pwrite64, fd, data, len, offset);
}

/* ---- what such filesystems do with a name ---- */

static void replace_all(char *text, const char *from, const char *to) /* no longer than `from` */
{
    for (char *at = text; (at = strstr(at, from));) {
        memmove(at + strlen(to), at + strlen(from), strlen(at + strlen(from)) + 1);
        memcpy(at, to, strlen(to));
        at += strlen(to);
    }
}

static int folds_ascii(const char *name, char out[NAME_MAX + 1])
{
    snprintf(out, NAME_MAX + 1, "%s", name);
    for (char *at = out; *at; at++)
        *at = *at >= 'A' && *at <= 'Z' ? (char)(*at + 32) : *at;
    return 0;
}

/* Only where blobs are published: such an attribute is one directory's, where a filesystem has it. */
static int folds_in_objects(const char *name, char out[NAME_MAX + 1])
{
    if (strlen(name) == 18 || strchr(name, 'l')) /* of an owner's trial, or of a key here */
        return folds_ascii(name, out);
    snprintf(out, NAME_MAX + 1, "%s", name);
    return 0;
}

static int folds_letters_beyond_ascii(const char *name, char out[NAME_MAX + 1])
{
    snprintf(out, NAME_MAX + 1, "%s", name);
    replace_all(out, "\xC3\x89", "\xC3\xA9");
    return 0;
}

static int composes(const char *name, char out[NAME_MAX + 1])
{
    snprintf(out, NAME_MAX + 1, "%s", name);
    replace_all(out, "e\xCC\x81", "\xC3\xA9");
    return 0;
}

static int strips(const char *name, char out[NAME_MAX + 1], char what)
{
    snprintf(out, NAME_MAX + 1, "%s", name);
    for (size_t len = strlen(out); len > 1 && out[len - 1] == what; len--)
        out[len - 1] = 0;
    return 0;
}

static int strips_dots(const char *name, char out[NAME_MAX + 1])
{
    return strips(name, out, '.');
}

static int strips_spaces(const char *name, char out[NAME_MAX + 1])
{
    return strips(name, out, ' ');
}

static int shortens(const char *name, char out[NAME_MAX + 1])
{
    snprintf(out, NAME_MAX + 1, "%.200s", name);
    return 0;
}

/* What is not UTF-8 becomes '?'. */
static int replaces_bytes(const char *name, char out[NAME_MAX + 1])
{
    snprintf(out, NAME_MAX + 1, "%s", name);
    for (char *at = out; *at; at++)
        *at = (unsigned char)*at >= 0xF5 ? '?' : *at;
    return 0;
}

/* Each name has one file, but the listing has it spelled otherwise. */
static int spells_otherwise(const char *name, char out[NAME_MAX + 1])
{
    snprintf(out, NAME_MAX + 1, "%s", name);
    replace_all(out, "\xC3\xA9", "=e");
    return 0;
}

static int forbids(const char *name, char out[NAME_MAX + 1])
{
    snprintf(out, NAME_MAX + 1, "%s", name);
    if (strlen(name) > 100)
        return ENAMETOOLONG;
    if (strchr(name, ':'))
        return EINVAL;
    return strchr(name, '\xFF') ? EILSEQ : 0;
}

static int keeps(const char *name, char out[NAME_MAX + 1])
{
    snprintf(out, NAME_MAX + 1, "%s", name);
    return 0;
}

/* ---- the cases ---- */

static const char *A;

static void begin(int (*how)(const char *name, char out[NAME_MAX + 1]))
{
    struct stat st;
    A = dir_of("a");
    SYS(stat(A, &st));
    odd_dev = st.st_dev;
    change = how;
}

/* Such a tier takes nothing, says why, and leaves nothing; the next tier serves. */
static void check_refused(const char *why)
{
    for (int i = 0; i < 4; i++) {
        uint32_t flags = (i & 1 ? VFS_PERSIST : 0) | (i & 2 ? VFS_REPLACE : 0);
        vfs_t *s = open_on(A);
        CHECK_IS(put(s, "Plot", 300, 1, flags), VFS_ERR_UNSUPPORTED);
        CHECK_SAYS(why);
        CHECK_INT(vfs_last_errno(), EOPNOTSUPP);
        CHECK_INT(written, 0);
        CHECK_ABSENT(s, "plot");
        QUIET(vfs_close(s));
        s = open_on(say("%s,memory", A));
        CHECK_OK(put(s, "Plot", 300, 1, flags));
        CHECK_OK(put(s, "plot", 300, 2, flags));
        CHECK_INT(tier_of(s, "plot"), 1);
        CHECK_VALUE(s, "Plot", 300, 1);
        CHECK_INT(listed_all(s), 2);
        CHECK_INT(written, 0);
        QUIET(vfs_close(s));
    }
}

static void refused(int (*how)(const char *name, char out[NAME_MAX + 1]), const char *why)
{
    begin(how);
    check_refused(why);
    CHECK_NOTHING_LEFT(A);
}

static void case_of_ascii(void)
{
    refused(folds_ascii, "another case");
}

static void case_in_one_directory(void)
{
    refused(folds_in_objects, "another case");
}

static void case_beyond_ascii(void)
{
    refused(folds_letters_beyond_ascii, "another case");
}

static void normalization(void)
{
    refused(composes, "normalization");
}

static void dots_at_the_end(void)
{
    refused(strips_dots, "a dot or a space at the end");
}

static void spaces_at_the_end(void)
{
    refused(strips_spaces, "a dot or a space at the end");
}

static void shortened(void)
{
    refused(shortens, "shortens or changes");
}

static void replaced_bytes(void)
{
    refused(replaces_bytes, "shortens or changes");
}

static void listed_otherwise(void)
{
    refused(spells_otherwise, "shortens or changes");
}

static void remove_hidden(const char *path, const char *inside, const struct stat *st, void *arg)
{
    (void)inside, (void)st, (void)arg;
    if (strstr(path, hidden_prefix))
        SYS(unlink(path));
}

/* FUSE and NFS give a removed file that is open another name, in the same directory. */
static void hidden(void)
{
    begin(keeps);
    hides = 1;
    check_refused("removed file");
    hides = 0;
    walk(A, "", remove_hidden, NULL); /* in the owners' directories, which the next open then removes */
    QUIET(vfs_close(open_on(A)));
    CHECK_NOTHING_LEFT(A);
}

/* A name that the filesystem forbids costs that key, in that tier. It is no error to look for it. */
static void forbidden(void)
{
    begin(forbids);
    char too_long[121];
    memset(too_long, 'n', 120);
    too_long[120] = 0;
    const char *const keys[] = {"a:b", "\xFF", too_long};
    vfs_t *s = open_on(say("%s,memory", A)), *alone = open_on(A);
    CHECK_OK(put(s, "ab", 300, 1, 0));
    CHECK_INT(tier_of(s, "ab"), 0);
    for (int i = 0; i < 3; i++) {
        CHECK_ABSENT(alone, keys[i]);
        CHECK_IS(vfs_remove(alone, keys[i]), VFS_ERR_NOT_FOUND);
        CHECK_IS(put(alone, keys[i], 300, 2, i == 1 ? VFS_PERSIST : 0), VFS_ERR_UNSUPPORTED);
        CHECK_SAYS("does not allow a file of this name");
        CHECK_ABSENT(s, keys[i]);
        CHECK_OK(put(s, keys[i], 300, 2, 0));
        CHECK_INT(tier_of(s, keys[i]), 1);
        CHECK_VALUE(s, keys[i], 300, 2);
        CHECK_OK(put(s, keys[i], 300, 3, VFS_REPLACE));
        CHECK_VALUE(s, keys[i], 300, 3);
        CHECK_OK(put(s, "ab", 300, 4, VFS_REPLACE));
        CHECK_INT(tier_of(s, "ab"), 0);
    }
    CHECK_INT(listed_all(s), 4);
    CHECK_INT(listed_all(alone), 1);
    CHECK_OK(vfs_remove(s, keys[0]));
    CHECK_ABSENT(s, keys[0]);
    QUIET(vfs_close(s));
    QUIET(vfs_close(alone));
    CHECK_NOTHING_LEFT(A);
}

/* Such a name can come from another machine, or another mount, that the directory is shared with. It is no blob here: it is
 * not listed, read or removed, and no directory tier takes a key of that name. */
static void of_removed_files(void)
{
    static const char *const names[] = {".nfs00000000000a1b2c0000001f", ".fuse_hidden0000000a0000000f",
                                        ".ghost-ntfs-3g-00000000000000000017", ".__afs01AF", ".__smb0001"};
    A = dir_of("a");
    vfs_t *s = open_on(A), *two = open_on(say("%s,memory", A));
    CHECK_OK(put(s, "k", 300, 1, 0));
    for (int i = 0; i < 5; i++) {
        const char *path = path_of(say("a/vfs1-%u/harness/objects/%s", (unsigned)geteuid(), names[i]));
        int fd = open(path, O_CREAT | O_EXCL | O_WRONLY | O_CLOEXEC, 0600);
        SYS(fd);
        CHECK(write(fd, "removed", 7) == 7);
        close(fd);
        vfs_view_t view = {0};
        CHECK_ABSENT(s, names[i]);
        CHECK_IS(vfs_map(s, names[i], &view, NULL), VFS_ERR_NOT_FOUND);
        CHECK_IS(vfs_remove(s, names[i]), VFS_ERR_NOT_FOUND);
        CHECK_OK(vfs_remove_owned(s, (const char *const[]){names[i]}, 1));
        CHECK_IS(put(s, names[i], 300, 2, VFS_REPLACE), VFS_ERR_UNSUPPORTED);
        CHECK_SAYS("removed files");
        CHECK_INT(listed_all(s), 1);
        CHECK_OK(put(two, names[i], 300, 3, 0));
        CHECK_INT(tier_of(two, names[i]), 1);
        CHECK_VALUE(two, names[i], 300, 3);
        CHECK_INT(listed(two, names[i]), 1);
        CHECK_OK(vfs_remove(two, names[i]));
        CHECK_ABSENT(two, names[i]);
        CHECK_INT(access(path, F_OK), 0);
        SYS(unlink(path));
    }
    QUIET(vfs_close(two));
    QUIET(vfs_close(s));
    CHECK_NOTHING_LEFT(A);
}

/* ---- a real filesystem in user space ---- */

/* NTFS in user space, mounted on A while `use` runs. */
static void on_ntfs(const char *program, const char *options, void (*use)(void))
{
    own_mounts();
    const char *dir = tmpfs_of("m", "size=32m"), *image = path_of("m/image");
    A = dir_of("m/t");
    int fd = open(image, O_CREAT | O_RDWR | O_CLOEXEC, 0600);
    SYS(fd);
    SYS(ftruncate(fd, 16 << 20));
    close(fd);
    const char *const make[] = {"mkntfs", "-F", "-Q", "-q", image, NULL};
    if (run_program(make) != 0 || access("/dev/fuse", R_OK | W_OK) != 0) {
        skipped("no mkntfs, or no FUSE");
        return;
    }
    struct stat before, st;
    SYS(stat(A, &before));
    pid_t pid = fork();
    SYS(pid);
    if (pid == 0) {
        prctl(PR_SET_PDEATHSIG, SIGKILL);
        int null = open("/dev/null", O_RDWR);
        dup2(null, 1);
        dup2(null, 2);
        execlp(program, program, "-o", options, image, A, (char *)NULL);
        _exit(127);
    }
    for (long long until = now_ms() + PATIENCE_MS; stat(A, &st) == 0 && st.st_dev == before.st_dev; nap(5)) {
        if (waitpid(pid, NULL, WNOHANG) == pid) {
            skipped("%s does not run here", program);
            return;
        }
        CHECK(now_ms() < until);
    }
    use();
    SYS(umount2(A, 0));
    CHECK_INT(waitpid(pid, NULL, 0), pid);
    SYS(umount2(dir, 0));
}

static void without_case(void)
{
    check_refused("another case");
}

/* Names have no case where NTFS is asked to. It has links, so that it used to store. */
static void ntfs(void)
{
    on_ntfs("lowntfs-3g", "umask=077,ignore_case,no_detach", without_case);
}

/* Each directory was one that others can reach, which hides what it has: no store went to the next tier. */
static void without_modes(void)
{
    vfs_options_t options = VFS_OPTIONS_INIT;
    vfs_t *s = NULL;
    options.tiers = A;
    const char *own = path_of(say("m/t/vfs1-%u", (unsigned)geteuid()));
    for (int leftover = 0; leftover < 2; leftover++) { /* a process was killed that had just made it */
        if (leftover)
            SYS(mkdir(own, 0700));
        CHECK_IS(vfs_open(&options, &s), VFS_ERR_UNSUPPORTED);
        CHECK_SAYS("does not keep the modes");
        CHECK_INT(access(own, F_OK), -1);
        if (leftover)
            SYS(mkdir(own, 0700));
        s = open_on(say("%s,memory", A));
        CHECK_ABSENT(s, "k");
        CHECK_OK(put(s, "k", 300, 1, 0));
        CHECK_INT(tier_of(s, "k"), 1);
        CHECK_VALUE(s, "k", 300, 1);
        CHECK_INT(listed_all(s), 1);
        CHECK(!(tier_stat(s, 0).flags & VFS_TIER_USABLE));
        CHECK_OK(vfs_reap(s, NULL));
        CHECK_OK(vfs_remove(s, "k"));
        CHECK_IS(vfs_remove(s, "k"), VFS_ERR_NOT_FOUND);
        QUIET(vfs_close(s));
        CHECK_INT(access(own, F_OK), -1);
    }
}

static void ntfs_without_modes(void)
{
    on_ntfs("ntfs-3g", "no_detach", without_modes);
}

int main(int argc, char **argv)
{
    static const struct {
        const char *name;
        void (*run)(void);
    } modes[] = {
        {"case-of-ascii", case_of_ascii},
        {"case-beyond-ascii", case_beyond_ascii},
        {"case-in-one-directory", case_in_one_directory},
        {"normalization", normalization},
        {"dots-at-the-end", dots_at_the_end},
        {"spaces-at-the-end", spaces_at_the_end},
        {"shortened", shortened},
        {"replaced-bytes", replaced_bytes},
        {"listed-otherwise", listed_otherwise},
        {"hidden", hidden},
        {"forbidden", forbidden},
        {"of-removed-files", of_removed_files},
        {"ntfs", ntfs},
        {"ntfs-without-modes", ntfs_without_modes},
    };
    start(argc, argv);
    for (unsigned i = 0; i < sizeof modes / sizeof modes[0]; i++) {
        if (strcmp(mode, modes[i].name) == 0) {
            modes[i].run();
            return 0;
        }
    }
    FAIL("no such mode");
}

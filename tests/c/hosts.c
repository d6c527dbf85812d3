/* Bad hosts: callbacks that call back, filters of system calls, no /proc, closed descriptors, signals without end, rights
 * and limits that change. One MODE a case. */
#include "harness.h"

#include "operations.h"

#include <linux/audit.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <stddef.h>
#include <sys/personality.h>
#include <sys/syscall.h>

static const char *A, *B;

static void two_tiers(void)
{
    A = dir_of("a");
    B = dir_of("b");
    snprintf(tiers, sizeof tiers, "%s,%s", A, B);
}

static void nothing_left(void)
{
    CHECK_NOTHING_LEFT(A);
    CHECK_NOTHING_LEFT(B);
}

#define WORKS(operation, expected)                                                                                     \
    do {                                                                                                               \
        operation();                                                                                                   \
        CHECK_IS(answer, expected);                                                                                    \
    } while (0)

/* Each operation once, on a store of its own. */
static void exercise(void)
{
    s = open_on(tiers);
    WORKS(do_store, VFS_OK);
    WORKS(do_store, VFS_ERR_EXISTS);
    WORKS(do_replace, VFS_OK);
    WORKS(do_stream, VFS_OK);
    WORKS(do_read, VFS_OK);
    WORKS(do_map, VFS_OK);
    WORKS(do_stat, VFS_OK);
    WORKS(do_miss, VFS_OK);
    WORKS(do_list, VFS_ERR_NOT_FOUND);
    WORKS(do_tier_stat, VFS_OK);
    WORKS(do_reap, VFS_OK);
    WORKS(do_remove_owned, VFS_OK);
    WORKS(do_persist, VFS_OK);
    WORKS(do_remove, VFS_OK);
    WORKS(do_store_large, VFS_OK);
    WORKS(do_open, VFS_OK);
    WORKS(do_shutdown, VFS_OK);
    QUIET(vfs_close(s));
}

/* ---- a callback that calls back ---- */

static vfs_t *open_telling(const char *list, const char *name, void (*log)(void *, int32_t, const char *))
{
    vfs_options_t options = VFS_OPTIONS_INIT;
    vfs_t *opened = NULL;
    options.tiers = list;
    options.name = name;
    options.log = log;
    CHECK_OK(vfs_open(&options, &opened));
    return opened;
}

static int heard, inner_heard;
static char limited[2 * PATH_MAX + 16];

static void hear_inner(void *user, int32_t level, const char *message)
{
    (void)user;
    (void)level;
    CHECK(message[0] != 0);
    inner_heard++;
}

/* Every function, on the store whose call is under way and on others, on the key that is being stored. */
static void hear(void *user, int32_t level, const char *message)
{
    (void)user;
    (void)level;
    static int depth;
    vfs_t *outer = s;
    vfs_writer_t *w = NULL;
    CHECK(message[0] != 0);
    heard++;
    if (depth++)
        return;
    long long began = now_ms();
    CHECK_IS(vfs_has(s, "absent"), 0);
    CHECK_IS(vfs_stat(s, "a/b", &(vfs_stat_t)VFS_STAT_INIT), VFS_ERR_KEY);
    CHECK_SAYS("vfs_stat");
    do_replace();
    CHECK_IS(answer, VFS_OK);
    do_read();
    do_map();
    do_stat();
    do_list();
    do_tier_stat();
    do_reap();
    CHECK_OK(vfs_create(s, "inner", 0, 0, &w));
    CHECK_OK(vfs_write(w, large_data, LARGE)); /* (is refused by the first tier, too) */
    CHECK_OK(vfs_seal(w));
    CHECK_OK(vfs_remove(s, "inner"));
    CHECK_OK(vfs_create(s, "inner", 0, 0, &w));
    QUIET(vfs_abort(w));
    do_remove();
    CHECK_IS(answer, VFS_OK);
    vfs_t *another = open_telling(limited, "another", hear_inner);
    CHECK_OK(put(another, "k", LARGE, 1, 0));
    QUIET(vfs_close(another));
    CHECK(vfs_last_error()[0] != 0 && vfs_last_errno() >= 0 && vfs_strerror(VFS_ERR_IO)[0] != 0);
    CHECK(now_ms() - began < 60000);
    CHECK(s == outer);
    depth = 0;
}

static void log_calls(void)
{
    two_tiers();
    snprintf(limited, sizeof limited, "%s?max=1K,%s", A, B);
    void (*const ways[])(void) = {do_store_large, do_persist, do_stream};
    for (unsigned i = 0; i < 3; i++) {
        s = open_telling(i == 1 ? say("%s?max=100,%s", A, B) : i == 2 ? say("%s?max=120,%s", A, B) : limited, "harness", hear);
        heard = inner_heard = 0;
        ways[i]();
        CHECK_IS(answer, VFS_OK);
        CHECK(heard > 0 && inner_heard > 0);
        CHECK_IS(vfs_has(s, "k"), 1);
        CHECK_OK(vfs_remove(s, "k"));
        QUIET(vfs_close(s));
        nothing_left();
    }
}

/* A store is closed inside another's callback: a thread that is in its own is waited for. */
static struct {
    _Atomic int in_x, closing, inside;
    vfs_t *x;
    vfs_writer_t *writer;
} meet;

static void hear_x(void *user, int32_t level, const char *message)
{
    (void)user;
    (void)level;
    (void)message;
    meet.inside = meet.in_x = 1;
    AWAIT(&meet.closing, 1);
    nap(300);
    meet.inside = 0;
}

static void hear_y(void *user, int32_t level, const char *message)
{
    (void)user;
    (void)level;
    (void)message;
    meet.closing = 1;
    QUIET(vfs_close(meet.x));
    CHECK_INT(meet.inside, 0);
    meet.closing = 2;
}

static void *write_x(void *arg)
{
    CHECK(STATUS(vfs_write(meet.writer, large_data, LARGE)) <= 0);
    return arg;
}

static void closed_in_callback(void)
{
    pthread_t thread;
    two_tiers();
    snprintf(limited, sizeof limited, "%s?max=1K,%s", A, B);
    meet.x = open_telling(limited, "x", hear_x);
    vfs_t *y = open_telling(limited, "y", hear_y);
    CHECK_OK(vfs_create(meet.x, "k", 0, 0, &meet.writer)); /* a writer may outlive its store */
    CHECK_INT(pthread_create(&thread, NULL, write_x, NULL), 0);
    AWAIT(&meet.in_x, 1);
    CHECK_OK(put(y, "k", LARGE, 1, 0));
    CHECK_INT(meet.closing, 2);
    CHECK_INT(pthread_join(thread, NULL), 0);
    QUIET(vfs_abort(meet.writer));
    QUIET(vfs_close(y));
    nothing_left();
}

/* A storm of signals cuts every sleep short: vfs_close waits for the other thread in the callback all the same. */
static struct {
    vfs_writer_t *writer;
    pthread_t closer;
    _Atomic int inside, closed, late, stop;
} amid;

static void stay_in_callback(void *user, int32_t level, const char *message)
{
    (void)user, (void)level, (void)message;
    atomic_store(&amid.inside, 1);
    for (int i = 0; i < 1000; i++)
        nap(1);
    atomic_store(&amid.late, atomic_load(&amid.closed));
}

static void *write_too_much(void *arg)
{
    (void)arg;
    CHECK_IS(vfs_write(amid.writer, large_data, LARGE), VFS_ERR_NO_SPACE);
    return NULL;
}

static void *signal_the_closer(void *arg)
{
    while (!atomic_load(&amid.stop))
        pthread_kill(amid.closer, SIGUSR1);
    return arg;
}

static void hear_nothing(int number)
{
    (void)number;
}

static void closed_amid_signals(void)
{
    pthread_t writer, signaller;
    struct sigaction action = {.sa_handler = hear_nothing};
    SYS(sigaction(SIGUSR1, &action, NULL));
    two_tiers();
    snprintf(limited, sizeof limited, "%s?max=1K", A);
    vfs_t *x = open_telling(limited, "x", stay_in_callback);
    amid.closer = pthread_self();
    CHECK_OK(vfs_create(x, "k", 0, 0, &amid.writer));
    CHECK_INT(pthread_create(&writer, NULL, write_too_much, NULL), 0);
    AWAIT(&amid.inside, 1);
    CHECK_INT(pthread_create(&signaller, NULL, signal_the_closer, NULL), 0);
    QUIET(vfs_close(x));
    atomic_store(&amid.closed, 1);
    atomic_store(&amid.stop, 1);
    CHECK_INT(pthread_join(signaller, NULL), 0);
    CHECK_INT(pthread_join(writer, NULL), 0);
    CHECK_INT(amid.late, 0);
    QUIET(vfs_abort(amid.writer));
    nothing_left();
}

/* ---- a callback that ends its thread ---- */

static _Thread_local int leaving;

static void exit_at_once(void *user, int32_t level, const char *message)
{
    (void)user;
    (void)level;
    (void)message;
    pthread_exit(NULL);
}

static void exit_later(void *user, int32_t level, const char *message)
{
    (void)user;
    (void)level;
    (void)message;
    leaving = 1;
}

static void *store_and_leave(void *arg)
{
    vfs_t *own = arg;
    CHECK_OK(put(own, "k", LARGE, 1, 0));
    if (leaving)
        pthread_exit((void *)7);
    return NULL;
}

static void exit_amid_a_call(void *arg)
{
    (void)arg;
    pthread_t thread;
    /* the C library says why it ends the process */
    int nowhere = open("/dev/null", O_WRONLY | O_CLOEXEC);
    SYS(nowhere);
    SYS(dup2(nowhere, 2));
    SYS(setrlimit(RLIMIT_CORE, &(struct rlimit){0, 0}));
    vfs_t *own = open_telling(limited, "harness", exit_at_once);
    CHECK_INT(pthread_create(&thread, NULL, store_and_leave, own), 0);
    pthread_join(thread, NULL);
    _exit(0);
}

/* pthread_exit unwinds the stack through the library, which the C library does not let anybody stop: it ends the process,
 * as the header says. Others lose nothing by it. A callback that leaves it to whoever made the call ends nothing but its
 * thread. */
static void exit_in_callback(void)
{
    pthread_t thread;
    void *result = NULL;
    int status = 0;
    two_tiers();
    snprintf(limited, sizeof limited, "%s?max=1K,%s", A, B);
    s = open_on(tiers);
    CHECK_OK(put(s, "other", 10, 2, 0));
    pid_t pid = start_child(exit_amid_a_call, NULL);
    CHECK_INT(waitpid(pid, &status, 0), pid);
    CHECK(WIFSIGNALED(status) && WTERMSIG(status) == SIGABRT);
    CHECK_OK(vfs_reap(s, NULL));
    CHECK_IS(vfs_has(s, "k"), 0);
    CHECK_VALUE(s, "other", 10, 2);
    vfs_t *own = open_telling(limited, "harness", exit_later);
    CHECK_INT(pthread_create(&thread, NULL, store_and_leave, own), 0);
    CHECK_INT(pthread_join(thread, &result), 0);
    CHECK(result == (void *)7);
    CHECK_VALUE(s, "k", LARGE, 1);
    QUIET(vfs_close(own));
    CHECK_ABSENT(s, "k");
    QUIET(vfs_close(s));
    nothing_left();
}

/* ---- filters of system calls ---- */

static const struct {
    const char *name;
    unsigned number;
    int argument; /* the second one, or -1: any */
} filtered[] = {
    {"flock", SYS_flock, -1}, {"fcntl", SYS_fcntl, F_OFD_SETLK}, {"fcntl", SYS_fcntl, F_OFD_GETLK},
    {"fstatfs", SYS_fstatfs, -1}, {"renameat2", SYS_renameat2, -1}, {"renameat", SYS_renameat, -1},
    {"linkat", SYS_linkat, -1}, {"mkdirat", SYS_mkdirat, -1}, {"unlinkat", SYS_unlinkat, -1},
    {"getrandom", SYS_getrandom, -1}, {"fallocate", SYS_fallocate, -1}, {"madvise", SYS_madvise, -1},
    {"getdents64", SYS_getdents64, -1}, {"utimensat", SYS_utimensat, -1}, {"fchmod", SYS_fchmod, -1},
    {"pwrite64", SYS_pwrite64, -1}, {"pread64", SYS_pread64, -1}, {"ftruncate", SYS_ftruncate, -1},
    {"prlimit64", SYS_prlimit64, -1}, {"newfstatat", SYS_newfstatat, -1}, {"openat", SYS_openat, -1},
    {"clock_nanosleep", SYS_clock_nanosleep, -1}, {"statx", SYS_statx, -1},
};

struct filter_case {
    unsigned which;
    int error;
};

static int filter(unsigned number, int argument, int error)
{
    struct sock_filter code[] = {
        BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr)),
        BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, number, 0, 3),
        BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, args[1])),
        BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, (unsigned)argument, 0, argument < 0 ? 0 : 1),
        BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | (unsigned)error),
        BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
    };
    struct sock_fprog program = {sizeof code / sizeof code[0], code};
    if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) != 0)
        return -1;
    return prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &program);
}

/* One that the header names. */
static int32_t documented(const char *what)
{
    switch (answer) {
    case VFS_OK:
    case VFS_ERR_NOT_FOUND:
    case VFS_ERR_EXISTS:
    case VFS_ERR_NO_MEMORY:
    case VFS_ERR_PERMISSION:
    case VFS_ERR_UNSUPPORTED:
    case VFS_ERR_IO: return answer;
    default: FAIL("%s: %s: %s", what, status_name(answer), vfs_last_error());
    }
}

/* Filtered from the start, or once a store is open. */
static void behind_filter(void *arg)
{
    const struct filter_case *c = arg;
    vfs_options_t options = VFS_OPTIONS_INIT;
    const char *call = filtered[c->which].name;
    int late = c->error < 0;
    alarm(60);
    options.tiers = tiers;
    options.name = "harness";
    s = NULL;
    if (late)
        CHECK_OK(vfs_open(&options, &s));
    if (filter(filtered[c->which].number, filtered[c->which].argument, abs(c->error)) != 0)
        FAIL("no filter for %s: %s", call, strerror(errno));
    if (!late) {
        answer = STATUS(vfs_open(&options, &s));
        documented(call);
    }
    for (unsigned i = 0; s && i < sizeof operations / sizeof operations[0]; i++) {
        operations[i].run();
        documented(call);
    }
    QUIET(vfs_close(s));
    /* with a tier that needs no system */
    options.tiers = say("%s,memory", tiers);
    answer = STATUS(vfs_open(&options, &s));
    if (documented(call) == VFS_OK) {
        WORKS(do_store, VFS_OK);
        do_read();
        documented(call);
        QUIET(vfs_close(s));
    }
    if (strcmp(call, "renameat2") == 0 || strcmp(call, "fallocate") == 0 || strcmp(call, "prlimit64") == 0 ||
        strcmp(call, "statx") == 0 || strcmp(call, "clock_nanosleep") == 0)
        exercise(); /* these can be done without */
}

static int no_filter(void)
{
    pid_t pid = fork();
    int state = 0;
    SYS(pid);
    if (pid == 0)
        _exit(filter(SYS_getppid, -1, EPERM) != 0);
    SYS(waitpid(pid, &state, 0));
    return state;
}

static void seccomp(void)
{
    static const int errors[] = {EPERM, ENOSYS, -EPERM, -ENOSYS};
    char when[100];
    two_tiers();
    if (no_filter()) {
        skipped("no filters of system calls here");
        return;
    }
    for (unsigned i = 0; i < sizeof filtered / sizeof filtered[0]; i++)
        for (unsigned e = 0; e < 4; e++) {
            struct filter_case c = {i, errors[e]};
            snprintf(when, sizeof when, "%s answers %d%s", filtered[i].name, abs(errors[e]), errors[e] < 0 ? ", later" : "");
            mode = when;
            JOIN(start_child(behind_filter, &c));
            /* whoever is not behind it takes away what was left */
            s = open_on(tiers);
            CHECK_OK(vfs_reap(s, NULL));
            if (vfs_has(s, "k") == 1)
                CHECK_OK(vfs_remove(s, "k"));
            CHECK_INT(listed_all(s), 0);
            QUIET(vfs_close(s));
            nothing_left();
        }
}

/* ---- no /proc, no /dev ---- */

static void in_chroot(void *arg)
{
    (void)arg;
    umask(0077);
    SYS(chdir(scratch));
    if (chroot(scratch) != 0) {
        skipped("no chroot here: %s", strerror(errno));
        return;
    }
    snprintf(tiers, sizeof tiers, "/a,/b");
    unsetenv("HOME");
    exercise();
    clearenv();
    vfs_t *none = NULL;
    CHECK_FAILS(vfs_open(NULL, &none)); /* there is no /dev/shm, /var/tmp or /tmp */
    CHECK(none == NULL);
    SYS(mkdir("/tmp", 0777));
    CHECK_OK(vfs_open(NULL, &none)); /* the last of the default */
    CHECK_STR(tier_stat(none, 2).dir, "/tmp");
    CHECK_OK(put(none, "k", 100, 1, 0));
    CHECK_INT(tier_of(none, "k"), 2);
    QUIET(vfs_close(none));
}

static void without_proc(void)
{
    two_tiers();
    JOIN(start_child(in_chroot, NULL));
    nothing_left();
}

/* ---- descriptors closed behind our back ---- */

static void closed_behind(void *arg)
{
    int reopen = *(int *)arg, plain[40];
    const char *others = path_of("others");
    s = open_on(tiers);
    vfs_writer_t *w = NULL;
    vfs_view_t view = {0};
    vfs_list_t *list = NULL;
    CHECK_OK(put(s, "k", 5000, 1, 0));
    CHECK_OK(vfs_map(s, "k", &view, NULL));
    CHECK_OK(vfs_list_open(s, &list));
    if (!reopen)
        CHECK_OK(vfs_create(s, "w", 0, 0, &w));
    alarm(60);
    SYS(syscall(SYS_close_range, 3, 59, 0));
    for (int i = 0; i < 40 && reopen; i++) {
        plain[i] = open(others, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
        SYS(plain[i]);
    }
    if (reopen)
        CHECK(write(plain[0], "of others", 9) == 9);
    for (unsigned i = 0; i < sizeof operations / sizeof operations[0]; i++)
        if (operations[i].run != do_shutdown && operations[i].run != do_open) {
            operations[i].run(); /* a code, whichever */
            CHECK(answer <= 1);
        }
    CHECK(is_value_at(view.data, view.len, 0, 1, 5000));
    QUIET(vfs_unmap(&view));
    QUIET(vfs_abort(w));
    QUIET(vfs_list_close(list));
    QUIET(vfs_close(s));
    /* a new store works, and nobody's file was written to */
    exercise();
    if (reopen) {
        char got[16];
        int fd = open(others, O_RDONLY | O_CLOEXEC);
        SYS(fd);
        CHECK_INT(read(fd, got, sizeof got), 9);
        CHECK(memcmp(got, "of others", 9) == 0);
    }
}

static void closefrom_behind(void)
{
    two_tiers();
    for (int reopen = 0; reopen < 2; reopen++) {
        JOIN(start_child(closed_behind, &reopen));
        s = open_on(tiers); /* reaps */
        QUIET(vfs_close(s));
        nothing_left();
    }
}

/* ---- signals ---- */

static _Atomic int signals_seen, storming;

static void on_signal(int number)
{
    (void)number;
    signals_seen++;
}

static void *storm(void *arg)
{
    static const int numbers[] = {SIGUSR1, SIGUSR2, SIGALRM, SIGIO, SIGWINCH, SIGPIPE, SIGURG};
    pthread_t victim = *(pthread_t *)arg;
    for (unsigned i = 0; storming; i++) {
        pthread_kill(victim, numbers[i % 7]);
        usleep(50);
    }
    return NULL;
}

static void with_signals(void *arg)
{
    int how = *(int *)arg;
    sigset_t every, before, after;
    struct sigaction action, set[65], now;
    static unsigned char own_stack[64 << 10];
    stack_t stack = {.ss_sp = own_stack, .ss_size = sizeof own_stack}, is;
    pthread_t self = pthread_self(), thread;
    alarm(0);
    memset(&action, 0, sizeof action);
    action.sa_handler = how == 1 ? SIG_IGN : on_signal;
    action.sa_flags = how == 2 ? SA_RESTART : how == 3 ? SA_ONSTACK : 0;
    sigfillset(&every);
    if (how == 0)
        SYS(sigprocmask(SIG_SETMASK, &every, NULL));
    for (int i = 1; i < 65 && how; i++)
        if (i != SIGKILL && i != SIGSTOP && i != SIGCHLD && i != 32 && i != 33)
            SYS(sigaction(i, &action, NULL));
    if (how == 3)
        SYS(sigaltstack(&stack, NULL));
    SYS(sigprocmask(SIG_SETMASK, NULL, &before));
    for (int i = 1; i < 65; i++)
        sigaction(i, NULL, &set[i]);
    storming = 1;
    CHECK_INT(pthread_create(&thread, NULL, storm, &self), 0);
    long long until = now_ms() + 20000;
    for (int i = 0; i < 10 || (how > 1 && signals_seen < 100 && now_ms() < until); i++)
        exercise();
    storming = 0;
    CHECK_INT(pthread_join(thread, NULL), 0);
    CHECK(how < 2 || signals_seen >= 100);
    SYS(sigprocmask(SIG_SETMASK, NULL, &after));
    CHECK(memcmp(&before, &after, 8) == 0); /* (the kernel's 64 signals) */
    for (int i = 1; i < 65; i++)
        if (sigaction(i, NULL, &now) == 0 && (now.sa_handler != set[i].sa_handler || now.sa_flags != set[i].sa_flags))
            FAIL("the handler of signal %d was changed", i);
    SYS(sigaltstack(NULL, &is));
    CHECK(how != 3 || is.ss_sp == own_stack);
}

static void signals(void)
{
    two_tiers();
    for (int how = 0; how < 4; how++) {
        JOIN(start_child(with_signals, &how));
        nothing_left();
    }
}

/* ---- rights, limits, places ---- */

static void given_up_rights(void *arg)
{
    (void)arg;
    char old[PATH_MAX];
    s = open_on(tiers);
    CHECK_OK(put(s, "k", 300, 1, 0));
    umask(0177);
    CHECK_OK(put(s, "masked", 300, 2, 0));
    CHECK_VALUE(s, "masked", 300, 2);
    umask(022);
    CHECK(getcwd(old, sizeof old));
    SYS(chdir("/"));
    CHECK_OK(put(s, "elsewhere", 300, 3, 0));
    CHECK_VALUE(s, "elsewhere", 300, 3);
    if (geteuid() == 0 && several_users()) {
        SYS(setresgid(65534, 65534, 65534));
        SYS(setresuid(65534, 65534, 65534));
        int32_t status = put(s, "k", 300, 4, VFS_REPLACE);
        CHECK(status == VFS_ERR_PERMISSION);
        status = STATUS(vfs_has(s, "k"));
        CHECK(status == 1 || status == VFS_ERR_PERMISSION);
        CHECK_IS(vfs_remove(s, "k"), VFS_ERR_PERMISSION);
        CHECK(STATUS(vfs_reap(s, NULL)) <= 0);
        CHECK_FAILS(vfs_shutdown(s)); /* it says that something could not be removed */
    }
    QUIET(vfs_close(s));
}

static void rights(void)
{
    if (geteuid() == 0)
        public_scratch();
    two_tiers();
    JOIN(start_child(given_up_rights, NULL));
    s = open_on(tiers); /* who has the rights takes away what was left */
    CHECK_INT(listed_all(s), 0);
    QUIET(vfs_close(s));
    nothing_left();
}

static void cramped(void *arg)
{
    struct rlimit stack = {1 << 20, 1 << 20}, none = {0, 0};
    SYS(setrlimit(RLIMIT_STACK, &stack));
    SYS(setrlimit(RLIMIT_CORE, &none));
    SYS(setrlimit(RLIMIT_MEMLOCK, &none));
    personality(ADDR_NO_RANDOMIZE);
    clearenv();
    execl("/proc/self/exe", "hosts", scratch, "exercised", (char *)NULL);
    FAIL("exec: %s %p", strerror(errno), arg);
}

static void exercised(void)
{
    snprintf(tiers, sizeof tiers, "%s/a,%s/b", scratch, scratch);
    exercise();
}

static void limits(void)
{
    two_tiers();
    JOIN(start_child(cramped, NULL));
    nothing_left();
}

int main(int argc, char **argv)
{
    static const struct {
        const char *name;
        void (*run)(void);
    } modes[] = {
        {"log", log_calls}, {"closed-in-callback", closed_in_callback}, {"exit-in-callback", exit_in_callback},
        {"closed-amid-signals", closed_amid_signals}, {"seccomp", seccomp}, {"chroot", without_proc},
        {"closefrom", closefrom_behind}, {"signals", signals}, {"rights", rights}, {"limits", limits},
        {"exercised", exercised},
    };
    start(argc, argv);
    make_values();
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

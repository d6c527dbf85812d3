/* Something happens between any two calls of the operating system that the library makes: this stands in for the
 * functions of the C library through which it makes them. Include it after harness.h, in one program. */
#ifndef BETWEEN_H
#define BETWEEN_H

#include <dlfcn.h>
#include <sys/syscall.h>
#include <sys/vfs.h>

/* Runs before each call of this thread, with its name. */
static _Thread_local void (*before_call)(const char *name);
/* Fails the call with this errno where it is not 0; asked after before_call. */
static _Thread_local int refuse_with;

static void *real_of(const char *name)
{
    void *address = dlsym(RTLD_NEXT, name);
    if (!address)
        FAIL("no function %s", name);
    return address;
}

static int come_between(const char *name)
{
    void (*hook)(const char *) = before_call;
    if (!hook)
        return 0;
    int kept = errno;
    before_call = NULL; /* what it does itself is not met */
    refuse_with = 0;
    hook(name);
    before_call = hook;
    errno = refuse_with ? refuse_with : kept;
    return refuse_with != 0;
}

#define STAND_IN(type, name, parameters, arguments)                                                                    \
    type name parameters                                                                                               \
    {                                                                                                                  \
        static type(*real) parameters;                                                                                 \
        if (!real)                                                                                                     \
            *(void **)&real = real_of(#name);                                                                          \
        if (come_between(#name))                                                                                       \
            return (type)-1;                                                                                           \
        return real arguments;                                                                                         \
    }

STAND_IN(int, close, (int fd), (fd))
STAND_IN(int, flock, (int fd, int how), (fd, how))
STAND_IN(int, mkdirat, (int dir, const char *path, mode_t how), (dir, path, how))
STAND_IN(int, unlinkat, (int dir, const char *path, int flags), (dir, path, flags))
STAND_IN(int, linkat, (int a, const char *old, int b, const char *new, int flags), (a, old, b, new, flags))
STAND_IN(int, renameat, (int a, const char *old, int b, const char *new), (a, old, b, new))
STAND_IN(int, fstat, (int fd, struct stat *out), (fd, out))
STAND_IN(int, fstatat, (int dir, const char *path, struct stat *out, int flags), (dir, path, out, flags))
STAND_IN(int, fstatfs64, (int fd, struct statfs64 *out), (fd, out))
STAND_IN(int, fchmod, (int fd, mode_t how), (fd, how))
STAND_IN(int, ftruncate64, (int fd, off64_t len), (fd, len))
STAND_IN(int, fallocate64, (int fd, int how, off64_t from, off64_t len), (fd, how, from, len))
STAND_IN(int, futimens, (int fd, const struct timespec times[2]), (fd, times))
STAND_IN(ssize_t, pread64, (int fd, void *out, size_t len, off64_t at), (fd, out, len, at))
STAND_IN(ssize_t, pwrite64, (int fd, const void *data, size_t len, off64_t at), (fd, data, len, at))
STAND_IN(void *, mmap64, (void *at, size_t len, int may, int how, int fd, off64_t from), (at, len, may, how, fd, from))

int openat(int dir, const char *path, int flags, ...)
{
    static int (*real)(int, const char *, int, ...);
    va_list args;
    va_start(args, flags);
    unsigned how = flags & O_CREAT ? va_arg(args, unsigned) : 0;
    va_end(args);
    if (!real)
        *(void **)&real = real_of("openat");
    return come_between("openat") ? -1 : real(dir, path, flags, how);
}

int fcntl(int fd, int what, ...)
{
    static int (*real)(int, int, ...);
    va_list args;
    va_start(args, what);
    void *argument = va_arg(args, void *);
    va_end(args);
    if (!real)
        *(void **)&real = real_of("fcntl");
    /* (to let a lock go cannot fail) */
    int unlock = what == F_OFD_SETLK && ((struct flock *)argument)->l_type == F_UNLCK;
    return come_between(unlock ? "fcntl-unlock" : "fcntl") ? -1 : real(fd, what, argument);
}

long syscall(long number, ...)
{
    static long (*real)(long, ...);
    long a[6];
    va_list args;
    va_start(args, number);
    for (int i = 0; i < 6; i++)
        a[i] = va_arg(args, long);
    va_end(args);
    if (!real)
        *(void **)&real = real_of("syscall");
    const char *name = number == SYS_renameat2 ? "renameat2" : number == SYS_getdents64 ? "getdents64" : NULL;
    if (name && come_between(name)) /* others (futexes) are not about files */
        return -1;
    return real(number, a[0], a[1], a[2], a[3], a[4], a[5]);
}

#endif

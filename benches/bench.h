/* What the benchmarks share: a clock, medians, and the bare system calls that libvfs is held against. */
#ifndef BENCH_H
#define BENCH_H

#ifndef _GNU_SOURCE
#define _GNU_SOURCE
#endif
#include <errno.h>
#include <fcntl.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>
#include <vfs.h>

#define UNUSED __attribute__((unused))

static void die(const char *what, const char *why) {
  fprintf(stderr, "%s: %s\n", what, why);
  exit(1);
}

/* A benchmark of calls that fail would be worth nothing. */
#define OK(call)                                                             \
  do {                                                                       \
    if ((call) != VFS_OK) die(#call, vfs_last_error());                      \
  } while (0)
#define SYS(call)                                                            \
  do {                                                                       \
    if ((call) < 0) die(#call, strerror(errno));                             \
  } while (0)
#define SAME(got, want)                                                      \
  do {                                                                       \
    if ((uint64_t)(got) != (uint64_t)(want)) die(#got, "not " #want);        \
  } while (0)

static inline double now(void) { /* in microseconds */
  struct timespec t;
  clock_gettime(CLOCK_MONOTONIC, &t);
  return (double)t.tv_sec * 1e6 + (double)t.tv_nsec * 1e-3;
}

static int by_value(const void *a, const void *b) {
  double x = *(const double *)a, y = *(const double *)b;
  return (x > y) - (x < y);
}

static UNUSED double median(double *values, size_t n) {
  qsort(values, n, sizeof *values, by_value);
  return n % 2 != 0 ? values[n / 2] : (values[n / 2 - 1] + values[n / 2]) / 2;
}

static UNUSED uint64_t noise(void) {
  static uint64_t state = 88172645463325252u;
  state ^= state << 13;
  state ^= state >> 7;
  state ^= state << 17;
  return state;
}

static UNUSED vfs_t *open_store(const char *name, const char *tiers) {
  vfs_options_t options = VFS_OPTIONS_INIT;
  vfs_t *store;
  options.name = name;
  options.tiers = tiers;
  OK(vfs_open(&options, &store));
  return store;
}

/* As many descriptors as this user may have. */
static UNUSED void raise_nofile(void) {
  struct rlimit limit;
  SYS(getrlimit(RLIMIT_NOFILE, &limit));
  limit.rlim_cur = limit.rlim_max;
  SYS(setrlimit(RLIMIT_NOFILE, &limit));
}

/* The bare calls: the same two directories, as deep as libvfs has them, reached by descriptors. */
struct bare {
  int room, objects;
};

static int make_dir(int at, const char *name) {
  int fd;
  if (mkdirat(at, name, 0700) != 0 && errno != EEXIST) die(name, strerror(errno));
  SYS(fd = openat(at, name, O_DIRECTORY | O_RDONLY | O_CLOEXEC));
  return fd;
}

static UNUSED struct bare make_bare(const char *base) {
  struct bare bare;
  int root, store, owners;
  SYS(root = open(base, O_DIRECTORY | O_RDONLY | O_CLOEXEC));
  root = make_dir(root, "bare-0");
  store = make_dir(root, "default");
  bare.objects = make_dir(store, "objects");
  owners = make_dir(store, "owners");
  bare.room = make_dir(owners, "0123456789abcdef");
  return bare;
}

static UNUSED void bare_write(int fd, const void *data, size_t len) {
  while (len > 0) {
    ssize_t n = write(fd, data, len);
    if (n <= 0) die("write", strerror(errno));
    data = (const char *)data + n;
    len -= (size_t)n;
  }
}

static UNUSED int bare_create(int dir, const char *key) {
  int fd;
  SYS(fd = openat(dir, key, O_CREAT | O_EXCL | O_RDWR | O_NOFOLLOW | O_CLOEXEC, 0600));
  return fd;
}

/* open, write, link, close: whole or nothing, as libvfs publishes. */
static UNUSED void bare_store(const struct bare *bare, const char *key, const void *data, size_t len) {
  int fd = bare_create(bare->room, key);
  bare_write(fd, data, len);
  SYS(linkat(bare->room, key, bare->objects, key, 0));
  SYS(close(fd));
}

static UNUSED void bare_remove(const struct bare *bare, const char *key) {
  SYS(unlinkat(bare->objects, key, 0));
  SYS(unlinkat(bare->room, key, 0));
}

/* open, fstat, pread, close. */
static UNUSED size_t bare_read(const struct bare *bare, const char *key, void *buf, size_t cap) {
  struct stat stat;
  size_t done = 0;
  int fd;
  SYS(fd = openat(bare->objects, key, O_RDONLY | O_NOFOLLOW | O_CLOEXEC));
  SYS(fstat(fd, &stat));
  if (cap > (size_t)stat.st_size) cap = (size_t)stat.st_size;
  while (done < cap) {
    ssize_t n = pread(fd, (char *)buf + done, cap - done, (off_t)done);
    if (n <= 0) die("pread", strerror(errno));
    done += (size_t)n;
  }
  SYS(close(fd));
  return done;
}

#endif

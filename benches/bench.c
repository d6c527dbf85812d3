/* bench BASE TIER1 TIER2 TIER3 [BIGGEST]
 *
 * libvfs against the bare system calls that do the same, on the filesystem of BASE, which TIER1 is on too. Both do one
 * after the other in each round, now one first, now the other, each with fresh keys; what they made is removed outside
 * the timed part. BIGGEST is the largest blob to try, in MiB. */
#include "bench.h"

#define KB ((size_t)1 << 10)
#define MB ((size_t)1 << 20)

static vfs_t *store;      /* the store under measurement */
static struct bare bare;  /* the bare files */
static char *data, *copy; /* what is stored, and where it is read to */
static size_t len;        /* how much of it */
static char key[32];      /* the key of this round */
static int tiers;         /* how many the store has */
static const char *paths[3];
static vfs_view_t view;
static int lock_fd;

typedef struct subject_t {
  void (*before)(void), (*timed)(void), (*after)(void);
} subject_t;

static void nothing(void) {}

/* The subjects: one function a line where it can be. */
static void vfs_put(void) { OK(vfs_store(store, key, data, len, 0)); }
static void vfs_over(void) { OK(vfs_store(store, key, data, len, VFS_REPLACE)); }
static void vfs_drop(void) { OK(vfs_remove(store, key)); }
static void bare_put(void) { bare_store(&bare, key, data, len); }
static void bare_drop(void) { bare_remove(&bare, key); }

static void vfs_get(void) {
  size_t got;
  OK(vfs_read(store, key, 0, copy, len, &got, NULL));
  SAME(got, len);
}
static void vfs_get_stat(void) {
  size_t got;
  vfs_stat_t stat = VFS_STAT_INIT;
  OK(vfs_read(store, key, 0, copy, len, &got, &stat));
  SAME(stat.size, len);
}
static void bare_get(void) { SAME(bare_read(&bare, key, copy, len), len); }

static void vfs_is_there(void) { SAME(vfs_has(store, key), 1); }
static void vfs_ask(void) {
  vfs_stat_t stat = VFS_STAT_INIT;
  OK(vfs_stat(store, key, &stat));
}
static void bare_ask(void) {
  struct stat stat;
  SYS(fstatat(bare.objects, key, &stat, AT_SYMLINK_NOFOLLOW));
}

static void vfs_miss(void) {
  size_t got;
  SAME(vfs_read(store, key, 0, copy, len, &got, NULL), VFS_ERR_NOT_FOUND);
}
/* One look-up and one path check for each tier, one shared lock. */
static void bare_miss(void) {
  struct flock lock = {.l_type = F_RDLCK, .l_whence = SEEK_SET, .l_start = 4711, .l_len = 1};
  struct stat stat;
  int i;
  for (i = 0; i < tiers; i++) {
    if (openat(bare.objects, key, O_RDONLY | O_NOFOLLOW | O_CLOEXEC) >= 0) die(key, "is there");
    SYS(lstat(paths[i], &stat));
  }
  if (tiers > 1) {
    SYS(fcntl(lock_fd, F_OFD_SETLK, &lock));
    lock.l_type = F_UNLCK;
    SYS(fcntl(lock_fd, F_OFD_SETLK, &lock));
  }
}

/* open, write, close, rename: the usual atomic replacement. */
static void bare_over(void) {
  int fd = bare_create(bare.room, "new");
  bare_write(fd, data, len);
  SYS(renameat(bare.room, "new", bare.objects, key));
  SYS(close(fd));
}
static void bare_alone(void) {
  int fd = bare_create(bare.objects, key);
  bare_write(fd, data, len);
  SYS(close(fd));
}
static void bare_alone_drop(void) { SYS(unlinkat(bare.objects, key, 0)); }

/* What today's shared-memory libraries do. */
static void usual_put(void) {
  void *shared;
  int fd = bare_create(bare.objects, key);
  SYS(ftruncate(fd, (off_t)len));
  shared = mmap(NULL, len, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
  if (shared == MAP_FAILED) die("mmap", strerror(errno));
  memcpy(shared, data, len);
  SYS(munmap(shared, len));
  SYS(close(fd));
}
static void *bare_map(void) {
  struct stat stat;
  void *shared;
  int fd;
  SYS(fd = openat(bare.objects, key, O_RDONLY | O_NOFOLLOW | O_CLOEXEC));
  SYS(fstat(fd, &stat));
  shared = mmap(NULL, (size_t)stat.st_size, PROT_READ, MAP_SHARED, fd, 0);
  if (shared == MAP_FAILED) die("mmap", strerror(errno));
  SYS(close(fd));
  return shared;
}
static void usual_get(void) {
  void *shared = bare_map();
  memcpy(copy, shared, len);
  SYS(munmap(shared, len));
}
static void *mapped;
static void bare_look(void) { mapped = bare_map(); }
static void bare_unmap(void) { SYS(munmap(mapped, len)); }
static void vfs_view(void) { OK(vfs_map(store, key, &view, NULL)); }
static void vfs_view_small(void) { OK(vfs_map(store, "small", &view, NULL)); }
static void vfs_leave(void) { vfs_unmap(&view); }

static void vfs_stream(void) {
  vfs_writer_t *writer;
  size_t done;
  OK(vfs_create(store, key, 0, 0, &writer));
  for (done = 0; done < len; done += MB) OK(vfs_write(writer, data + done, MB));
  OK(vfs_seal(writer));
}
static void bare_stream(void) {
  size_t done;
  int fd = bare_create(bare.objects, key);
  for (done = 0; done < len; done += MB) bare_write(fd, data + done, MB);
  SYS(close(fd));
}
static void vfs_fill(void) {
  vfs_writer_t *writer;
  void *place;
  OK(vfs_create(store, key, len, 0, &writer));
  OK(vfs_reserve(writer, len, &place));
  memcpy(place, data, len);
  OK(vfs_seal(writer));
}

/* Both print one line of the table. */
static void line(const char *what, const char *against, double ours, double theirs, double ratio, double pairs,
                 double target) {
  char wanted[16] = "", met[16] = "";
  if (target > 0) {
    snprintf(wanted, sizeof wanted, "%.2f", target);
    snprintf(met, sizeof met, "%s", ratio <= target ? "yes" : "NO");
  }
  printf("| %-30s | %-40s | %10.2f | %10.2f | %5.2f | %5.2f | %6s | %-4s |\n", what, against, ours, theirs, ratio, pairs,
         wanted, met);
  fflush(stdout);
}

static void once(const subject_t *subject, double *time) {
  double start;
  if (subject->before != NULL) subject->before();
  start = now();
  subject->timed();
  *time = now() - start;
  if (subject->after != NULL) subject->after();
}

static void compare(const char *what, subject_t ours, const char *against, subject_t theirs, double target,
                    size_t rounds) {
  static unsigned number;
  double *a = calloc(rounds, sizeof *a), *b = calloc(rounds, sizeof *b), *ratio = calloc(rounds, sizeof *ratio);
  double ma, mb;
  size_t i, warm = rounds / 20 + 1;
  if (a == NULL || b == NULL || ratio == NULL) die("memory", "none");
  for (i = 0; i < rounds + warm; i++) {
    size_t at = i < warm ? 0 : i - warm;
    if (ours.before != nothing) snprintf(key, sizeof key, "blob-%08u", number++);
    if (i % 2 == 0) {
      once(&ours, &a[at]);
      once(&theirs, &b[at]);
    } else {
      once(&theirs, &b[at]);
      once(&ours, &a[at]);
    }
    ratio[at] = a[at] / b[at];
  }
  ma = median(a, rounds);
  mb = median(b, rounds);
  line(what, against, ma, mb, ma / mb, median(ratio, rounds), target);
  free(a);
  free(b);
  free(ratio);
}

static const char *sized(const char *what, size_t mib) {
  static char text[64];
  snprintf(text, sizeof text, "%s %zu MiB%s", what, mib, tiers == 1 ? ", 1 tier" : ", 3 tiers");
  return text;
}

/* `nothing` before: the key stays, what is read was put there once. */
static const subject_t put = {NULL, vfs_put, vfs_drop}, bput = {NULL, bare_put, bare_drop};

static void small(const char *with, double store_target) {
  const subject_t get = {nothing, vfs_get, NULL}, bget = {nothing, bare_get, NULL};
  const subject_t gets = {nothing, vfs_get_stat, NULL};
  const subject_t ask = {nothing, vfs_ask, NULL}, look = {nothing, vfs_is_there, NULL}, bask = {nothing, bare_ask, NULL};
  const subject_t miss = {NULL, vfs_miss, NULL}, bmiss = {NULL, bare_miss, NULL};
  const subject_t over = {vfs_put, vfs_over, vfs_drop}, bover = {bare_alone, bare_over, bare_alone_drop};
  const subject_t drop = {vfs_put, vfs_drop, NULL}, bdrop = {bare_put, bare_drop, NULL};
  char what[64];
  len = KB;
#define WHAT(text) (snprintf(what, sizeof what, "%s, %s", text, with), what)
  compare(WHAT("store 1 KiB"), put, "open, write, link, close", bput, store_target, 8000);
  strcpy(key, "kept");
  vfs_put();
  bare_put();
  compare(WHAT("read 1 KiB"), get, "open, fstat, pread, close", bget, 1.2, 8000);
  compare(WHAT("read 1 KiB and stat"), gets, "open, fstat, pread, close", bget, 0, 8000);
  compare(WHAT("stat"), ask, "fstatat", bask, 0, 8000);
  compare(WHAT("has"), look, "fstatat", bask, 0, 8000);
  vfs_drop();
  bare_drop();
  compare(WHAT("miss"), miss, tiers > 1 ? "open, lstat for each tier, lock, unlock" : "open, lstat", bmiss, 0, 8000);
  compare(WHAT("replace 1 KiB"), over, "open, write, rename, close", bover, 0, 4000);
  compare(WHAT("remove 1 KiB"), drop, "unlink, unlink", bdrop, 0, 4000);
}

static void large(size_t mib, size_t rounds) {
  const subject_t alone = {NULL, bare_alone, bare_alone_drop}, usual = {NULL, usual_put, bare_alone_drop};
  const subject_t get = {nothing, vfs_get, NULL}, bget = {nothing, bare_get, NULL}, uget = {nothing, usual_get, NULL};
  len = mib * MB;
  compare(sized("store", mib), put, "open, write, close", alone, 1.05, rounds);
  compare(sized("store", mib), put, "open, ftruncate, mmap, memcpy, munmap", usual, 0.6, rounds);
  strcpy(key, "kept");
  vfs_put();
  bare_put();
  compare(sized("read", mib), get, "open, fstat, pread, close", bget, 0, rounds);
  compare(sized("read", mib), get, "open, fstat, mmap, memcpy, munmap", uget, 0, rounds);
  vfs_drop();
  bare_drop();
}

static void map(const char *what, size_t bytes) {
  const subject_t ours = {nothing, vfs_view, vfs_leave}, theirs = {nothing, bare_look, bare_unmap};
  const subject_t little = {nothing, vfs_view_small, vfs_leave};
  char text[64];
  size_t done;
  vfs_writer_t *writer;
  int fd;
  strcpy(key, "kept");
  len = bytes < 64 * MB ? bytes : 64 * MB;
  OK(vfs_create(store, key, bytes, 0, &writer));
  for (done = 0; done < bytes; done += len) OK(vfs_write(writer, data, len));
  OK(vfs_seal(writer));
  fd = bare_create(bare.objects, key);
  SYS(ftruncate(fd, (off_t)bytes)); /* never touched: no pages needed */
  SYS(close(fd));
  len = bytes;
  snprintf(text, sizeof text, "map %s", what);
  compare(text, ours, "open, fstat, mmap, close", theirs, 0, 4000);
  if (bytes > 4 * KB) compare(text, ours, "vfs_map of 4 KiB", little, 1.1, 4000);
  OK(vfs_remove(store, key));
  bare_alone_drop();
}

int main(int argc, char **argv) {
  const subject_t stream = {NULL, vfs_stream, vfs_drop}, bstream = {NULL, bare_stream, bare_alone_drop};
  const subject_t fill = {NULL, vfs_fill, vfs_drop}, usual = {NULL, usual_put, bare_alone_drop};
  char list[4096];
  size_t biggest;
  if (argc < 5) die(argv[0], "BASE TIER1 TIER2 TIER3 [BIGGEST]");
  biggest = argc > 5 ? strtoull(argv[5], NULL, 10) : 1024;
  for (int i = 0; i < 3; i++) paths[i] = strcmp(argv[i + 2], "shm") == 0 ? "/dev/shm" : argv[i + 2];
  bare = make_bare(argv[1]);
  lock_fd = bare_create(bare.room, "lock");
  data = malloc(64 * MB);
  copy = malloc(64 * MB);
  if (data == NULL || copy == NULL) die("memory", "none");
  for (size_t i = 0; i < 64 * MB; i += 8) {
    uint64_t value = noise();
    memcpy(data + i, &value, 8);
  }
  memset(copy, 1, 64 * MB);

  printf("| %-30s | %-40s | %10s | %10s | %5s | %5s | %6s | %-4s |\n", "libvfs", "against", "libvfs us", "bare us",
         "ratio", "pairs", "target", "met");
  printf("|--------------------------------|------------------------------------------|-----------:|-----------:"
         "|------:|------:|-------:|------|\n");
  tiers = 1;
  store = open_store("bench-1", argv[2]);
  small("1 tier", 1.3);
  large(1, 400);
  vfs_close(store);

  tiers = 3;
  snprintf(list, sizeof list, "%s,%s,%s", argv[2], argv[3], argv[4]);
  store = open_store("bench-3", list);
  small("3 tiers", 2.0);
  large(1, 400);
  large(16, 60);
  large(64, 30);
  len = 64 * MB;
  compare("writer, 64 times 1 MiB", stream, "open, 64 times write, close", bstream, 0, 30);
  compare("reserve, fill, seal 64 MiB", fill, "open, ftruncate, mmap, memcpy, munmap", usual, 0, 30);
  OK(vfs_store(store, "small", data, 4 * KB, 0));
  map("4 KiB", 4 * KB);
  map("64 MiB", 64 * MB);
  if (biggest >= 1024)
    map("1 GiB", 1024 * MB);
  else
    map("the biggest", biggest * MB);
  vfs_close(store);
  printf("\nMedians, in microseconds. ratio: of the medians; pairs: the median of each round's ratio. %zu MiB at most.\n",
         biggest);
  return 0;
}

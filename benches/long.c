/* long blobs|threads|owners BASE TIERS [MOST]
 *
 * What grows and what does not: with the number of blobs in a store, of threads and processes at work, of live owners.
 * The bare system calls of bench.h run beside it, since a filesystem has costs of its own that grow. */
#include "bench.h"
#include <pthread.h>
#include <signal.h>
#include <sys/wait.h>

#define SAMPLES 2000
static struct bare bare;
static const char *tiers;
static char small_blob[64], buffer[1024];

static void name(char key[32], const char *kind, uint64_t number) {
  snprintf(key, 32, "%s-%08llu", kind, (unsigned long long)number);
}

/* ---- blobs ---- */

enum { STORE, READ, MAP, STAT, MISS, REPLACE, REMOVE, BARE_STORE, BARE_READ, BARE_MISS, BARE_REMOVE, OPS };
static const char *const op_names[OPS] = {"vfs_store",
                                          "vfs_read",
                                          "vfs_map, vfs_unmap",
                                          "vfs_stat",
                                          "vfs_read, a miss",
                                          "vfs_store, replacing",
                                          "vfs_remove",
                                          "bare open, write, link, close",
                                          "bare open, fstat, close",
                                          "bare open, a miss",
                                          "bare unlink, unlink"};

static double timed_op(vfs_t *store, int op, const char *key) {
  vfs_stat_t stat = VFS_STAT_INIT;
  vfs_view_t view;
  size_t got;
  double start = now();
  switch (op) {
    case STORE: OK(vfs_store(store, key, small_blob, sizeof small_blob, 0)); break;
    case READ: OK(vfs_read(store, key, 0, buffer, sizeof buffer, &got, NULL)); break;
    case MAP:
      OK(vfs_map(store, key, &view, NULL));
      vfs_unmap(&view);
      break;
    case STAT: OK(vfs_stat(store, key, &stat)); break;
    case MISS: SAME(vfs_read(store, key, 0, buffer, sizeof buffer, &got, NULL), VFS_ERR_NOT_FOUND); break;
    case REPLACE: OK(vfs_store(store, key, small_blob, sizeof small_blob, VFS_REPLACE)); break;
    case REMOVE: OK(vfs_remove(store, key)); break;
    case BARE_STORE: bare_store(&bare, key, small_blob, sizeof small_blob); break;
    case BARE_READ: bare_read(&bare, key, buffer, sizeof buffer); break;
    case BARE_MISS: SAME(openat(bare.objects, key, O_RDONLY | O_NOFOLLOW | O_CLOEXEC) >= 0, 0); break;
    default: bare_remove(&bare, key);
  }
  return now() - start;
}

/* Samples each operation with `count` blobs there; fresh ones are taken away again. */
static void sample(vfs_t *store, uint64_t count, double *medians) {
  static double times[OPS][SAMPLES];
  char key[32], fresh[32];
  int i, op;
  for (i = 0; i < SAMPLES; i++) {
    name(key, "blob", noise() % count);
    name(fresh, "fresh", (uint64_t)i);
    for (op = 0; op < OPS; op++) {
      int missing = op == STORE || op == MISS || op == REMOVE || op == BARE_STORE || op == BARE_MISS || op == BARE_REMOVE;
      if (op == MISS || op == BARE_MISS) name(fresh, "none", noise());
      times[op][i] = timed_op(store, op, missing ? fresh : key);
      if (op == MISS || op == BARE_MISS) name(fresh, "fresh", (uint64_t)i);
    }
  }
  for (op = 0; op < OPS; op++) medians[op] = median(times[op], SAMPLES);
}

static void blobs(uint64_t most) {
  static const uint64_t counts[] = {10, 10000, 1000000};
  static double medians[3][OPS];
  double close_us, fill_us = 0, list_us = 0, start;
  uint64_t there = 0, listed = 0;
  vfs_list_t *list;
  const char *listed_key;
  vfs_stat_t stat = VFS_STAT_INIT;
  vfs_status_t status;
  char key[32];
  int n, op, steps = 0;
  vfs_t *store = open_store("bench-blobs", tiers);
  for (n = 0; n < 3 && counts[n] <= most; n++, steps++) {
    start = now();
    for (uint64_t i = there; i < counts[n]; i++) {
      name(key, "blob", i);
      OK(vfs_store(store, key, small_blob, sizeof small_blob, 0));
    }
    fill_us = (now() - start) / (double)(counts[n] - there);
    for (uint64_t i = there; i < counts[n]; i++) { /* as many bare ones, empty to save memory */
      name(key, "blob", i);
      bare_store(&bare, key, "", 0);
    }
    there = counts[n];
    sample(store, there, medians[n]);
  }
  start = now();
  OK(vfs_list_open(store, &list));
  while ((status = vfs_list_next(list, &listed_key, &stat)) == VFS_OK) listed++;
  SAME(status, VFS_ERR_NOT_FOUND);
  vfs_list_close(list);
  SAME(listed, there);
  list_us = (now() - start) / (double)there;
  start = now();
  vfs_close(store);
  close_us = (now() - start) / (double)there;

  printf("| %-32s | %10s | %10s | %10s | last/first |\n", "blobs in the store", "10", "10 000", "1 000 000");
  printf("|----------------------------------|-----------:|-----------:|-----------:|-----------:|\n");
  for (op = 0; op < OPS; op++) {
    printf("| %-32s |", op_names[op]);
    for (n = 0; n < 3; n++)
      if (n < steps)
        printf(" %10.2f |", medians[n][op]);
      else
        printf(" %10s |", "-");
    printf(" %10.2f |\n", medians[steps - 1][op] / medians[0][op]);
  }
  printf("\nMedians, in microseconds, blobs of 64 bytes. With %llu blobs, for each: stored in a row %.1f us, listed %.2f us,\n"
         "removed by vfs_close %.1f us.\n\n",
         (unsigned long long)there, fill_us, list_us, close_us);
}

/* ---- threads and processes ---- */

typedef struct worker_t {
  vfs_t *store; /* NULL: bare */
  unsigned number;
  double until;
  uint64_t cycles;
} worker_t;

static void *work(void *argument) {
  worker_t *worker = argument;
  char key[32], kind[16], bytes[1024];
  size_t got;
  snprintf(kind, sizeof kind, "w%u", worker->number);
  memset(bytes, 7, sizeof bytes);
  while (now() < worker->until) {
    name(key, kind, worker->cycles);
    if (worker->store != NULL) {
      OK(vfs_store(worker->store, key, bytes, sizeof bytes, 0));
      OK(vfs_read(worker->store, key, 0, bytes, sizeof bytes, &got, NULL));
      OK(vfs_remove(worker->store, key));
    } else {
      bare_store(&bare, key, bytes, sizeof bytes);
      bare_read(&bare, key, bytes, sizeof bytes);
      bare_remove(&bare, key);
    }
    worker->cycles++;
  }
  return NULL;
}

/* Cycles a second of `count` threads; each with the same handle. */
static double run_threads(int count, vfs_t *store, double seconds) {
  worker_t workers[8];
  pthread_t threads[8];
  uint64_t cycles = 0;
  int i;
  for (i = 0; i < count; i++) {
    workers[i] = (worker_t){store, (unsigned)i, now() + seconds * 1e6, 0};
    if (pthread_create(&threads[i], NULL, work, &workers[i]) != 0) die("pthread_create", "failed");
  }
  for (i = 0; i < count; i++) {
    pthread_join(threads[i], NULL);
    cycles += workers[i].cycles;
  }
  return (double)cycles / seconds;
}

/* The same with processes; each opens the store itself. */
static double run_processes(int count, int with_store, double seconds) {
  uint64_t cycles, total = 0;
  int fds[2], i, how;
  SYS(pipe(fds));
  for (i = 0; i < count; i++) {
    pid_t child;
    SYS(child = fork());
    if (child == 0) {
      worker_t worker = {NULL, (unsigned)i, 0, 0};
      if (with_store) worker.store = open_store("bench-threads", tiers);
      worker.until = now() + seconds * 1e6;
      work(&worker);
      vfs_close(worker.store);
      SYS(write(fds[1], &worker.cycles, sizeof worker.cycles));
      _exit(0);
    }
  }
  for (i = 0; i < count; i++) {
    SYS(wait(&how));
    if (how != 0) die("a child", "failed");
    SAME(read(fds[0], &cycles, sizeof cycles), sizeof cycles);
    total += cycles;
  }
  close(fds[0]);
  close(fds[1]);
  return (double)total / seconds;
}

static void threads(void) {
  static const int counts[] = {1, 2, 4, 8};
  static const char *const rows[] = {"threads, libvfs", "threads, bare calls", "processes, libvfs", "processes, bare calls"};
  static double rates[3][4][4];
  const double seconds = 0.5;
  int row, n, round;
  for (round = 0; round < 3; round++)
    for (n = 0; n < 4; n++) {
      vfs_t *store = open_store("bench-threads", tiers);
      rates[round][0][n] = run_threads(counts[n], store, seconds);
      vfs_close(store);
      rates[round][1][n] = run_threads(counts[n], NULL, seconds);
      rates[round][2][n] = run_processes(counts[n], 1, seconds);
      rates[round][3][n] = run_processes(counts[n], 0, seconds);
    }
  printf("| %-24s | %9d | %9d | %9d | %9d | most/first |\n", "at work", 1, 2, 4, 8);
  printf("|--------------------------|----------:|----------:|----------:|----------:|-----------:|\n");
  for (row = 0; row < 4; row++) {
    double first = 0, most = 0;
    printf("| %-24s |", rows[row]);
    for (n = 0; n < 4; n++) {
      double three[3] = {rates[0][row][n], rates[1][row][n], rates[2][row][n]}, rate = median(three, 3);
      if (n == 0) first = rate;
      if (rate > most) most = rate;
      printf(" %9.0f |", rate);
    }
    printf(" %10.2f |\n", most / first);
  }
  printf("\nCycles a second, all together, of store, read and remove of 1 KiB, each with its own keys, on %ld processors.\n\n",
         sysconf(_SC_NPROCESSORS_ONLN));
}

/* ---- owners ---- */

enum { O_STORE, O_READ, O_MISS, O_REMOVE, O_REMOVE_OTHERS, O_OPEN, O_REAP, O_OPS };
static const char *const owner_ops[O_OPS] = {"vfs_store",
                                             "vfs_read",
                                             "vfs_read, a miss",
                                             "vfs_remove, its own",
                                             "vfs_remove, another's",
                                             "vfs_open, vfs_close",
                                             "vfs_reap, nothing dead"};
#define OWNED 200 /* blobs that the other owners have, at least */

/* Processes that own something until the pipe ends, which it does too if we die. */
static int start_owners(int count, pid_t *children, int hold[2]) {
  int ready[2], each = OWNED / count + 1, started, i;
  char byte;
  SYS(pipe(hold));
  SYS(pipe(ready));
  for (started = 0; started < count; started++) {
    children[started] = fork();
    if (children[started] < 0) break;
    if (children[started] == 0) {
      char key[32];
      vfs_t *store;
      close(hold[1]);
      store = open_store("bench-owners", tiers);
      for (i = 0; i < each; i++) {
        name(key, "theirs", (uint64_t)(started * each + i));
        OK(vfs_store(store, key, small_blob, sizeof small_blob, 0));
      }
      SYS(write(ready[1], "", 1));
      while (read(hold[0], &byte, 1) > 0) {
      }
      vfs_close(store);
      _exit(0);
    }
  }
  close(ready[1]);
  for (i = 0; i < started; i++) SAME(read(ready[0], &byte, 1), 1);
  close(ready[0]);
  close(hold[0]);
  return started;
}

static void measure_owners(int count, double *medians) {
  static double times[O_OPS][OWNED];
  pid_t *children = calloc((size_t)count, sizeof *children);
  int hold[2], i, op, how, started;
  size_t got;
  vfs_t *store;
  if (children == NULL) die("memory", "none");
  started = start_owners(count, children, hold);
  if (started < count) fprintf(stderr, "only %d owners could be started\n", started);
  store = open_store("bench-owners", tiers);
  OK(vfs_store(store, "mine", small_blob, sizeof small_blob, 0));
  for (op = 0; op < O_OPS; op++) { /* one operation at a time: those that look at all owners cool the others' caches */
    for (i = 0; i < OWNED; i++) {
      char key[32];
      double start;
      name(key, op == O_REMOVE_OTHERS ? "theirs" : op == O_MISS ? "none" : "fresh", (uint64_t)i);
      start = now();
      switch (op) {
        case O_STORE: OK(vfs_store(store, key, small_blob, sizeof small_blob, 0)); break;
        case O_READ: OK(vfs_read(store, key, 0, buffer, sizeof buffer, &got, NULL)); break;
        case O_MISS: SAME(vfs_has(store, key), 0); break;
        case O_OPEN: vfs_close(open_store("bench-owners", tiers)); break;
        case O_REAP: OK(vfs_reap(store, NULL)); break;
        default: OK(vfs_remove(store, key));
      }
      times[op][i] = now() - start;
    }
  }
  for (op = 0; op < O_OPS; op++) medians[op] = median(times[op], OWNED);
  vfs_close(store);
  close(hold[1]);
  for (i = 0; i < started; i++) {
    SYS(waitpid(children[i], &how, 0));
    if (how != 0) die("an owner", "failed");
  }
  free(children);
}

static void owners(void) {
  static const int counts[] = {1, 100, 1000};
  static double medians[3][O_OPS];
  int n, op;
  for (n = 0; n < 3; n++) measure_owners(counts[n], medians[n]);
  printf("| %-24s | %10s | %10s | %10s | last/first |\n", "other live owners", "1", "100", "1000");
  printf("|--------------------------|-----------:|-----------:|-----------:|-----------:|\n");
  for (op = 0; op < O_OPS; op++) {
    printf("| %-24s |", owner_ops[op]);
    for (n = 0; n < 3; n++) printf(" %10.2f |", medians[n][op]);
    printf(" %10.2f |\n", medians[2][op] / medians[0][op]);
  }
  printf("\nMedians, in microseconds. The owners are processes, each with one store open and at least one blob.\n\n");
}

int main(int argc, char **argv) {
  if (argc < 4) die(argv[0], "blobs|threads|owners BASE TIERS [MOST]");
  raise_nofile();
  bare = make_bare(argv[2]);
  tiers = argv[3];
  memset(small_blob, 7, sizeof small_blob);
  if (strcmp(argv[1], "blobs") == 0)
    blobs(argc > 4 ? strtoull(argv[4], NULL, 10) : 1000000);
  else if (strcmp(argv[1], "threads") == 0)
    threads();
  else if (strcmp(argv[1], "owners") == 0)
    owners();
  else
    die(argv[1], "blobs, threads or owners");
  return 0;
}

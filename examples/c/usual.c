/* usual BYTES
 *
 * The usual way to share memory, in a child process: shm_open, ftruncate, mmap, memcpy. Says how the child ends:
 * with 0 if it was killed. Every call that could report an error reports success. */
#define _POSIX_C_SOURCE 200809L
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

static void say(const char *what, int ok) {
  printf("  %-28s %s\n", what, ok ? "ok" : "failed");
  fflush(stdout);
}

static int usual_way(const char *name, size_t len) {
  char line[64];
  char *data = malloc(len), *shared;
  int fd;
  if (data == NULL) return 2;
  memset(data, 7, len);
  fd = shm_open(name, O_CREAT | O_EXCL | O_RDWR, 0600);
  say("shm_open", fd >= 0);
  if (fd < 0) return 2;
  snprintf(line, sizeof line, "ftruncate to %lu bytes", (unsigned long)len);
  say(line, ftruncate(fd, (off_t)len) == 0);
  shared = mmap(NULL, len, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
  say("mmap", shared != MAP_FAILED);
  if (shared == MAP_FAILED) return 2;
  memcpy(shared, data, len);
  say("memcpy", 1);
  return 0;
}

int main(int argc, char **argv) {
  size_t len = argc > 1 ? (size_t)strtoull(argv[1], NULL, 10) : (size_t)64 << 20;
  char name[64];
  int how;
  pid_t child;
  snprintf(name, sizeof name, "/libvfs-usual-%ld", (long)getpid());
  fflush(stdout);
  child = fork();
  if (child == 0) _exit(usual_way(name, len));
  if (child < 0 || waitpid(child, &how, 0) != child) {
    perror("child");
    return 2;
  }
  shm_unlink(name); /* the child could not */
  if (!WIFSIGNALED(how)) {
    printf("  the child ended with %d\n", WEXITSTATUS(how));
    return 1;
  }
  printf("  %-28s killed by %s (signal %d)\n", "memcpy", WTERMSIG(how) == SIGBUS ? "SIGBUS" : strsignal(WTERMSIG(how)),
         WTERMSIG(how));
  return WTERMSIG(how) == SIGBUS ? 0 : 1;
}

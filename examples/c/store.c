/* store KEY=FILE... KEY=rows:COUNT...
 *
 * Stores files and made-up tables, says where each went, and holds them until its input ends.
 * The environment variable VFS_TIERS names the tiers. */
#include "example.h"

/* A file, in one call. */
static vfs_status_t store_file(vfs_t *store, const char *key, const char *path) {
  vfs_status_t status;
  char *bytes = NULL;
  size_t len = 0, room = 0, got;
  FILE *file = fopen(path, "rb");
  if (file == NULL) {
    perror(path);
    exit(1);
  }
  do {
    if (len == room) {
      room = room * 2 + (1 << 20);
      bytes = realloc(bytes, room);
      if (bytes == NULL) {
        perror("memory");
        exit(1);
      }
    }
    got = fread(bytes + len, 1, room - len, file);
    len += got;
  } while (got > 0);
  if (ferror(file)) {
    perror(path);
    exit(1);
  }
  fclose(file);
  status = vfs_store(store, key, bytes, len, 0);
  free(bytes);
  return status;
}

/* A table whose size nobody knows beforehand, row by row. When the tier it began on is full, the library moves what is
 * written so far to the next one. */
static vfs_status_t store_table(vfs_t *store, const char *key, uint64_t rows) {
  vfs_writer_t *writer;
  char row[ROW + 1];
  uint64_t i;
  vfs_status_t status = vfs_create(store, key, 0, 0, &writer);
  if (status != VFS_OK) return status;
  for (i = 0; i < rows; i++) {
    make_row(row, i);
    status = vfs_write(writer, row, ROW);
    if (status != VFS_OK) {
      vfs_abort(writer);
      return status;
    }
  }
  return vfs_seal(writer);
}

int main(int argc, char **argv) {
  vfs_t *store;
  vfs_tier_stat_t tier = VFS_TIER_STAT_INIT;
  uint32_t i;
  int n;
  if (vfs_open(NULL, &store) != VFS_OK) {
    failed("opening", "the store");
    return 1;
  }
  print_head();
  for (n = 1; n < argc; n++) {
    item_t item = parse_item(argv[n]);
    vfs_status_t status =
        item.file != NULL ? store_file(store, item.key, item.file) : store_table(store, item.key, item.rows);
    if (status != VFS_OK) {
      failed("storing", item.key);
      return 1;
    }
    if (print_place(store, item.key, "stored") != 0) return 1;
  }
  for (i = 0; vfs_tier_stat(store, i, &tier) == VFS_OK; i++)
    printf("  tier %u: holds %llu bytes in %llu blobs, took %llu, refused %llu (%s)\n", (unsigned)i,
           (unsigned long long)tier.bytes, (unsigned long long)tier.blobs, (unsigned long long)tier.stored,
           (unsigned long long)tier.refused, tier.last_errno != 0 ? strerror(tier.last_errno) : "never");
  printf("holding\n");
  fflush(stdout);
  while (getchar() != EOF) {
  }
  vfs_close(store); /* removes them all */
  return 0;
}

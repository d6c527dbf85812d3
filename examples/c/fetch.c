/* fetch KEY=FILE... KEY=rows:COUNT...
 *
 * Reads each key, compares every byte with the file or the table, and says where the blob lies.
 * Ends with 1 if anything differs or is missing. */
#include "example.h"

/* Reads in pieces, as a server that answers range requests would. */
static int same_as_file(vfs_t *store, const char *key, const char *path) {
  static char ours[1 << 18], theirs[1 << 18];
  vfs_stat_t first = VFS_STAT_INIT, stat = VFS_STAT_INIT;
  uint64_t offset = 0;
  size_t len, want;
  int same = 1;
  FILE *file = fopen(path, "rb");
  if (file == NULL) {
    perror(path);
    return 0;
  }
  do {
    if (vfs_read(store, key, offset, ours, sizeof ours, &len, &stat) != VFS_OK) {
      failed("reading", key);
      same = 0;
      break;
    }
    if (offset == 0) first = stat;
    want = fread(theirs, 1, sizeof theirs, file);
    /* Another id would mean that the key was replaced between two pieces. */
    same = stat.id == first.id && len == want && memcmp(ours, theirs, len) == 0;
    offset += len;
  } while (same && len > 0);
  fclose(file);
  return same;
}

/* Looks at the blob where it lies: nothing is copied. */
static int same_as_table(vfs_t *store, const char *key, uint64_t rows) {
  vfs_view_t view;
  char row[ROW + 1];
  uint64_t i;
  int same;
  if (vfs_map(store, key, &view, NULL) != VFS_OK) {
    failed("mapping", key);
    return 0;
  }
  same = view.len == rows * ROW;
  for (i = 0; same && i < rows; i++) {
    make_row(row, i);
    same = memcmp((const char *)view.data + i * ROW, row, ROW) == 0;
  }
  vfs_unmap(&view);
  return same;
}

int main(int argc, char **argv) {
  vfs_options_t options = VFS_OPTIONS_INIT;
  vfs_t *store;
  int n, bad = 0;
  options.flags = VFS_READ_ONLY;
  if (vfs_open(&options, &store) != VFS_OK) {
    failed("opening", "the store");
    return 1;
  }
  print_head();
  for (n = 1; n < argc; n++) {
    item_t item = parse_item(argv[n]);
    int same =
        item.file != NULL ? same_as_file(store, item.key, item.file) : same_as_table(store, item.key, item.rows);
    if (print_place(store, item.key, same ? "same bytes" : "DIFFERS") != 0 || !same) bad = 1;
  }
  vfs_close(store);
  return bad;
}

/* Stores a blob and reads it back. Any process of this user can read it while this one lives. */
#include <stdio.h>
#include <vfs.h>

int main(void) {
  vfs_t *store;
  char text[64];
  size_t len;
  if (vfs_open(NULL, &store) != VFS_OK || vfs_store(store, "greeting", "hello, world", 12, VFS_REPLACE) != VFS_OK ||
      vfs_read(store, "greeting", 0, text, sizeof text, &len, NULL) != VFS_OK) {
    fprintf(stderr, "%s\n", vfs_last_error());
    return 1;
  }
  printf("%.*s\n", (int)len, text);
  vfs_close(store); /* removes what this process stored */
  return 0;
}

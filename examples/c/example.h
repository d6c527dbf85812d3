/* What store.c and fetch.c share: their arguments, a table made of nothing, and how a blob is told. */
#ifndef EXAMPLE_H
#define EXAMPLE_H

#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <vfs.h>

#define ROW 64 /* bytes of a row, its line feed included */

/* Row number `i` of the table: the same in every process. */
static void make_row(char row[ROW + 1], uint64_t i) {
  uint64_t noise = (i + 1) * 0x9E3779B97F4A7C15u;
  noise ^= noise >> 29;
  snprintf(row, ROW + 1, "id-%010u,sensor-%04u,%020llu,%016llx\n", (unsigned)i, (unsigned)(noise % 10000),
           (unsigned long long)(noise >> 1), (unsigned long long)noise);
}

/* KEY=FILE or KEY=rows:COUNT, split in place. */
typedef struct item_t {
  const char *key;
  const char *file; /* NULL: a table */
  uint64_t rows;
} item_t;

static item_t parse_item(char *argument) {
  item_t item = {argument, NULL, 0};
  char *value = strchr(argument, '=');
  if (value == NULL) {
    fprintf(stderr, "not KEY=FILE or KEY=rows:COUNT: %s\n", argument);
    exit(2);
  }
  *value++ = '\0';
  if (strncmp(value, "rows:", 5) == 0)
    item.rows = strtoull(value + 5, NULL, 10);
  else
    item.file = value;
  return item;
}

static void failed(const char *what, const char *key) {
  fprintf(stderr, "%s %s: %s\n", what, key, vfs_last_error());
}

/* One line: the key, its size, and the tier that holds it. */
static int print_place(vfs_t *store, const char *key, const char *verdict) {
  static const char *const kinds[] = {"?", "shared memory", "directory", "this process"};
  vfs_stat_t stat = VFS_STAT_INIT;
  vfs_tier_stat_t tier = VFS_TIER_STAT_INIT;
  int kind = 0;
  if (vfs_stat(store, key, &stat) != VFS_OK || vfs_tier_stat(store, stat.tier, &tier) != VFS_OK) {
    failed("where is", key);
    return 1;
  }
  if (tier.kind == VFS_TIER_SHM) kind = 1;
  if (tier.kind == VFS_TIER_DIR) kind = 2;
  if (tier.kind == VFS_TIER_MEMORY) kind = 3;
  printf("  %-12s %10llu  %u  %-13s  %-30s  %s\n", key, (unsigned long long)stat.size, (unsigned)stat.tier, kinds[kind],
         tier.dir != NULL ? tier.dir : "-", verdict);
  return 0;
}

static void print_head(void) {
  printf("  %-12s %10s  %s\n", "key", "bytes", "tier");
}

#endif

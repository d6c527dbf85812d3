/* Every initialiser and constant of the header, where C and C++ allow them. */
#include <vfs.h>

static const vfs_options_t global_options = VFS_OPTIONS_INIT;
static vfs_stat_t global_stat = VFS_STAT_INIT;
static vfs_tier_stat_t global_tier = VFS_TIER_STAT_INIT;

static void log_message(void *user, int32_t level, const char *message) {
  (void)message;
  *(int *)user += level == VFS_LOG_ERROR || level == VFS_LOG_WARNING || level == VFS_LOG_INFO;
}

int check(vfs_t *store, const char *key);

int check(vfs_t *store, const char *key) {
  vfs_options_t options = VFS_OPTIONS_INIT;
  vfs_stat_t stat = VFS_STAT_INIT;
  vfs_tier_stat_t tier = VFS_TIER_STAT_INIT;
  vfs_view_t view = {NULL, 0, NULL};
  vfs_status_t status;
  uint32_t flags = VFS_REPLACE | VFS_PERSIST;
  int messages = 0;

  options.flags = VFS_READ_ONLY;
  options.log = log_message;
  options.log_user = &messages;
  status = vfs_open(&options, &store);
  switch (status) {
    case VFS_OK:
      break;
    case VFS_ERR_INVALID:
    case VFS_ERR_KEY:
    case VFS_ERR_NOT_FOUND:
    case VFS_ERR_EXISTS:
    case VFS_ERR_NO_SPACE:
    case VFS_ERR_SHUTDOWN:
    case VFS_ERR_PERMISSION:
    case VFS_ERR_IO:
    case VFS_ERR_NO_MEMORY:
    case VFS_ERR_LIMIT:
    case VFS_ERR_FORKED:
    case VFS_ERR_UNSUPPORTED:
    case VFS_ERR_READ_ONLY:
    case VFS_ERR_BUSY:
    case VFS_ERR_PANIC:
    default:
      return (int)status;
  }
  if (vfs_store(store, key, "x", 1, flags) != VFS_OK || vfs_has(store, key) != 1) {
    return 1;
  }
  if (vfs_map(store, key, &view, &stat) == VFS_OK) {
    vfs_unmap(&view);
  }
  if (stat.flags & (VFS_STAT_OWNED | VFS_STAT_PERSISTENT | VFS_STAT_ORPHAN)) {
    return 2;
  }
  if (vfs_tier_stat(store, stat.tier, &tier) == VFS_OK && (tier.flags & VFS_TIER_USABLE)) {
    return tier.kind == VFS_TIER_SHM || tier.kind == VFS_TIER_DIR || tier.kind == VFS_TIER_MEMORY;
  }
  return (int)(global_options.struct_size + global_stat.struct_size + global_tier.struct_size);
}

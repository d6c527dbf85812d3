/* What libvfs is for: the usual ftruncate, mmap, memcpy on a full tmpfs. The caller expects SIGBUS, which shows that
 * the tmpfs mounts of these tests are really full. */
#define HARNESS_NO_VFS
#include "harness.h"

int main(int argc, char **argv)
{
    start(argc, argv);
    own_mounts();
    const char *a = tmpfs_of("a", "size=256k");
    int fd = open(say("%s/blob", a), O_CREAT | O_RDWR | O_CLOEXEC, 0600);
    SYS(fd);
    if (ftruncate(fd, 1 << 20) != 0)
        FAIL("ftruncate refused, which it never did");
    char *data = mmap(NULL, 1 << 20, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    CHECK(data != MAP_FAILED);
    memset(data, 1, 1 << 20);
    return 0;
}

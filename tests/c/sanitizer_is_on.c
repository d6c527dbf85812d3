/* A bug on purpose, which the checkers must catch: else their silence about the others means nothing. */
#define HARNESS_NO_VFS
#include "harness.h"

static void *volatile kept;

int main(int argc, char **argv)
{
    start(argc, argv);
    volatile size_t size = 10;
    volatile char *memory = malloc(size);
    CHECK(memory);
    memory[0] = 1;
    if (strcmp(mode, "overflow") == 0)
        memory[size] = memory[0];
    kept = strcmp(mode, "leak") == 0 ? NULL : (void *)memory;
    memory = NULL;
    free(kept);
    return 0;
}

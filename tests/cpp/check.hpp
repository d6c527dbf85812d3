/* What the C++ test programs share. They are called as those of tests/c: `PROGRAM SCRATCH MODE`, exit with 0 and print
 * nothing, or say what failed and exit with 1. */
#ifndef CHECK_HPP
#define CHECK_HPP

#include "vfs.hpp"

#include <cstdio>
#include <cstdlib>
#include <dirent.h>
#include <string>
#include <sys/stat.h>

static std::string scratch;

[[noreturn]] inline void fail(const char *file, int line, const std::string &what)
{
    std::fprintf(stderr, "%s:%d: %s\n    last error: %s\n", file, line, what.c_str(), vfs_last_error());
    std::_Exit(1);
}

#define CHECK(condition)                                                                                               \
    do {                                                                                                               \
        if (!(condition)) fail(__FILE__, __LINE__, "not so: " #condition);                                             \
    } while (0)

/* A call that throws nothing went well; its value, if it has one. */
#define OK(call) ok(__FILE__, __LINE__, #call, call)
inline void ok(const char *file, int line, const char *text, vfs::Outcome result)
{
    if (!result.has_value()) fail(file, line, std::string(text) + ": " + result.error().what());
}
template <class T> T ok(const char *file, int line, const char *text, vfs::Result<T> result)
{
    if (!result.has_value()) fail(file, line, std::string(text) + ": " + result.error().what());
    return *std::move(result);
}

/* A call that throws nothing failed so. */
#define FAILS(want, call) fails(__FILE__, __LINE__, #call, want, call)
inline void fails(const char *file, int line, const char *text, vfs_status_t want, const vfs::Outcome &result)
{
    if (result.has_value()) fail(file, line, std::string(text) + " went well");
    const vfs::Failure &failure = result.error();
    if (failure.code() != want)
        fail(file, line, std::string(text) + ": code " + std::to_string(failure.code()) + ", " + failure.what());
    if (*failure.what() == '\0') fail(file, line, std::string(text) + ": no words");
}

/* A directory below the scratch directory. */
inline std::string dir_of(const char *name)
{
    const std::string path = scratch + "/" + name;
    CHECK(mkdir(path.c_str(), 0700) == 0);
    return path;
}

inline int entries_in(const std::string &path)
{
    DIR *dir = opendir(path.c_str());
    CHECK(dir != nullptr);
    int count = 0;
    while (readdir(dir)) count++;
    closedir(dir);
    return count - 2;
}

inline vfs::Options options_on(const std::string &tiers)
{
    vfs::Options options;
    options.tiers = tiers;
    options.name = "harness";
    return options;
}

/* Views of blobs on directories that this process has. */
inline int views()
{
    int count = 0;
    char line[4096];
    FILE *maps = std::fopen("/proc/self/maps", "re");
    CHECK(maps != nullptr);
    while (std::fgets(line, sizeof line, maps)) count += std::strstr(line, "/vfs1-") != nullptr;
    std::fclose(maps);
    return count;
}

/* Calls the function of that mode, after which this process holds no descriptor more, and no view. */
struct Mode {
    const char *name;
    void (*run)();
};
template <std::size_t n> int run_mode(int argc, char **argv, const Mode (&modes)[n])
{
    CHECK(argc == 3);
    scratch = argv[1];
    for (const Mode &mode : modes) {
        if (std::string(argv[2]) != mode.name) continue;
        const int before = entries_in("/proc/self/fd");
        mode.run();
        CHECK(entries_in("/proc/self/fd") == before && views() == 0);
        return 0;
    }
    fail(__FILE__, __LINE__, std::string("no mode ") + argv[2]);
}

#endif

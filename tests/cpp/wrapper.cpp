/* vfs.hpp, each function of it: what it does, what it throws, and what becomes of handles that move. */
#include "check.hpp"

#include <algorithm>
#include <array>
#include <atomic>
#include <cerrno>
#include <deque>
#include <map>
#include <new>
#include <set>
#include <thread>
#if __cplusplus >= 202002L
#include <ranges>
#include <span>
#endif

/* ---- what must hold when it is compiled ---- */

template <class T>
constexpr bool move_only = std::is_nothrow_move_constructible_v<T> && std::is_nothrow_move_assignable_v<T> &&
                           !std::is_copy_constructible_v<T> && !std::is_copy_assignable_v<T>;
static_assert(move_only<vfs::Store> && move_only<vfs::Writer> && move_only<vfs::View> && move_only<vfs::List>);
static_assert(move_only<vfs::Failure> && move_only<vfs::Outcome> && move_only<vfs::Result<vfs::View>>);
static_assert(std::is_copy_constructible_v<vfs::Error> && std::is_base_of_v<std::runtime_error, vfs::Error>);
static_assert(std::is_nothrow_destructible_v<vfs::Store> && sizeof(vfs::View) == sizeof(void *));

#define NOEXCEPT(call) static_assert(noexcept(call), #call)
using S = vfs::Store &;
NOEXCEPT(vfs::Store::try_open(std::declval<vfs::Options>()));
NOEXCEPT(std::declval<S>().try_put(std::declval<vfs::Key>(), std::declval<vfs::Bytes>(), vfs::replace));
NOEXCEPT(std::declval<S>().try_read(std::declval<vfs::Key>(), std::declval<vfs::Buffer>()));
NOEXCEPT(std::declval<S>().try_read<std::string>(std::declval<vfs::Key>()));
NOEXCEPT(std::declval<S>().try_has("k"));
NOEXCEPT(std::declval<S>().try_stat("k"));
NOEXCEPT(std::declval<S>().try_remove("k"));
NOEXCEPT(std::declval<S>().try_remove_owned(std::declval<std::vector<std::string> &>()));
NOEXCEPT(std::declval<S>().try_map("k"));
NOEXCEPT(std::declval<S>().try_create("k", vfs::replace, 1));
NOEXCEPT(std::declval<S>().try_list());
NOEXCEPT(std::declval<S>().try_reap());
NOEXCEPT(std::declval<S>().try_tier(0));
NOEXCEPT(std::declval<S>().try_tiers());
NOEXCEPT(std::declval<S>().try_shutdown());
NOEXCEPT(std::declval<S>().close());
NOEXCEPT(std::declval<vfs::Writer &>().try_write("b"));
NOEXCEPT(std::declval<vfs::Writer &>().try_reserve(1));
NOEXCEPT(std::declval<vfs::Writer &>().try_seal());
NOEXCEPT(std::declval<vfs::List &>().try_next());

template <class T> constexpr bool stores = std::is_constructible_v<vfs::Bytes, T>;
template <class T> constexpr bool fills = std::is_constructible_v<vfs::Buffer, T>;
static_assert(stores<std::string> && stores<std::string_view> && stores<const char *> && stores<const char (&)[4]>);
static_assert(stores<std::vector<float>> && stores<std::array<int, 3> &> && stores<int (&)[3]> && stores<vfs::View &>);
static_assert(!stores<char (&)[4]>, "how much of it counts?");
#ifdef __cpp_char8_t
static_assert(stores<const char8_t (&)[4]> && !stores<char8_t (&)[4]>, "as char");
#endif
static_assert(!stores<std::deque<char>> && !stores<std::vector<std::string>> && !stores<std::vector<bool>>);
static_assert(fills<char (&)[4]> && fills<std::string &> && fills<std::vector<int> &>);
static_assert(!fills<const std::string &> && !fills<std::string_view> && !fills<const char *> && !fills<vfs::View &>);
static_assert(std::is_same_v<std::iterator_traits<vfs::List::Iterator>::iterator_category, std::input_iterator_tag>);
#if __cplusplus >= 202002L
static_assert(std::ranges::contiguous_range<vfs::View> && std::ranges::contiguous_range<vfs::Bytes>);
static_assert(std::ranges::input_range<vfs::List>);
static_assert(stores<std::span<const std::byte>> && std::is_constructible_v<std::span<const std::byte>, vfs::View &>);
#endif

/* ---- a heap that can be empty ---- */

static std::atomic<bool> no_memory{false};

/* (inlined, GCC 12 takes malloc and operator delete for a pair that does not match) */
__attribute__((noinline)) static void *allocate(std::size_t size)
{
    return no_memory ? nullptr : std::malloc(size + 1);
}
__attribute__((noinline)) static void release(void *memory) { std::free(memory); }

void *operator new(std::size_t size)
{
    void *memory = allocate(size);
    if (!memory) throw std::bad_alloc();
    return memory;
}
void *operator new(std::size_t size, const std::nothrow_t &) noexcept { return allocate(size); }
void *operator new[](std::size_t size, const std::nothrow_t &) noexcept { return allocate(size); }
void operator delete(void *memory) noexcept { release(memory); }
void operator delete(void *memory, std::size_t) noexcept { release(memory); }
void operator delete[](void *memory) noexcept { release(memory); }
void operator delete[](void *memory, std::size_t) noexcept { release(memory); }

/* ---- modes ---- */

/* The code that is thrown, with words and the same errno as in vfs_last_errno; 0 if nothing is. */
template <class Call> static vfs_status_t thrown(Call call)
{
    try {
        call();
    } catch (const vfs::Error &error) {
        CHECK(std::strcmp(error.what(), vfs_last_error()) == 0 && error.os_error() == vfs_last_errno());
        return error.code();
    }
    return VFS_OK;
}
#define THROWS(want, call) CHECK(thrown([&] { call; }) == (want))

static std::set<std::string> listed(const vfs::Store &store)
{
    std::set<std::string> keys;
    for (const vfs::Entry &entry : store.list()) keys.insert(std::string(entry.key));
    return keys;
}

static void calls_on(const std::string &tiers)
{
    vfs::Store store(options_on(tiers));
    CHECK(std::string(vfs::version()) == VFS_VERSION && std::string(vfs::describe(VFS_OK)) == vfs_strerror(VFS_OK));

    /* what can be stored */
    const std::vector<float> floats = {1.5f, -2.5f};
    const std::string text("a\0b", 3);
    const char *const c_string = "c string";
    std::array<std::uint16_t, 3> numbers = {1, 2, 3};
    store.put("text", text);
    store.put("literal", "a\0b");
    static const char signature[4] = {'R', 'I', 'F', 'F'};
    store.put("no NUL", signature);
    CHECK(store.read<std::string>("no NUL") == "RIFF");
    store.put("no NUL", u8"caf\u00e9", vfs::replace);
    CHECK(store.read<std::string>("no NUL") == "caf\xc3\xa9");
    store.remove("no NUL");
    store.put("c string", c_string);
    store.put("view", std::string_view(text).substr(1));
    store.put("floats", floats);
    store.put("numbers", numbers);
    store.put("pointer", {c_string, 3});
    store.put("empty", {});
    store.put("nothing", {nullptr, 0});
    CHECK(store.read<std::string>("text") == text && store.read<std::string>("literal") == text);
    CHECK(store.read<std::string>("c string") == c_string && store.read<std::string>("pointer") == "c s");
    CHECK(store.read<std::string>("view") == text.substr(1));
    CHECK(store.read("floats").size() == 8 && store.map("floats").size() == 8);
    CHECK(std::memcmp(store.map("floats").data(), floats.data(), 8) == 0);
    CHECK(store.map("numbers").size() == 6 && store.read("empty").empty() && store.read("nothing").empty());
    CHECK(store.has("text") && !store.has("absent") && !OK(store.try_has("absent")));

    /* flags */
    THROWS(VFS_ERR_EXISTS, store.put("text", "again"));
    store.put("text", "again", vfs::replace);
    CHECK(store.read<std::string>("text") == "again");
    store.put("kept", "x", vfs::replace | vfs::persist);
    CHECK(store.stat("kept").persistent() && !store.stat("kept").owned() && store.stat("text").owned());
    CHECK(!store.stat("text").orphan() && !store.stat("text").persistent());

    /* reading into what is there */
    char buffer[4] = {'?', '?', '?', '?'};
    vfs::Stat stat;
    CHECK(store.read("text", buffer, 2, &stat) == 3 && std::string(buffer, 4) == "ain?" && stat.size == 5);
    CHECK(store.read("text", vfs::Buffer(buffer, 1)) == 1 && buffer[0] == 'a');
    CHECK(store.read("text", buffer, 5) == 0);
    std::vector<unsigned char> bytes(64, 0xA5);
    CHECK(store.read("text", bytes) == 5 && bytes[5] == 0xA5);
    CHECK(store.read<std::vector<char>>("text", &stat).size() == 5 && stat.id == store.stat("text").id);

    /* views */
    const vfs::View view = store.map("text");
    CHECK(view.text() == "again" && view.size() == 5 && !view.empty() && view[4] == std::byte{'n'});
    CHECK(view.stat().id == store.stat("text").id && view.end() - view.begin() == 5);
    CHECK(std::count(view.begin(), view.end(), std::byte{'a'}) == 2);
    CHECK(store.map("empty").empty() && store.map("empty").data() == nullptr && store.map("empty").text().empty());
    store.put("copy", view);
    CHECK(store.map("copy").text() == "again");

    /* writers */
    vfs::Writer writer = store.create("written", vfs::Flags::none, 1 << 20);
    writer.write("one ");
    vfs::Buffer room = writer.reserve(3);
    CHECK(room.size() == 3 && !room.empty() && &room[0] == room.begin());
    std::memcpy(room.data(), "two", 3);
    writer.write(std::vector<char>{' ', '3'});
    CHECK(writer.reserve(0).empty() && !store.has("written"));
    writer.seal();
    CHECK(store.read<std::string>("written") == "one two 3");
    CHECK(writer.handle() == nullptr);
    FAILS(VFS_ERR_INVALID, writer.try_seal());
    writer = store.create("written", vfs::replace);
    writer.write("given up");
    writer.abort();
    CHECK(store.read<std::string>("written") == "one two 3");
    THROWS(VFS_ERR_EXISTS, store.create("written"));

    /* listings */
    CHECK(listed(store) == std::set<std::string>({"c string", "copy", "empty", "floats", "kept", "literal", "nothing",
                                                  "numbers", "pointer", "text", "view", "written"}));
    vfs::List list = store.list();
    std::vector<vfs::Entry> entries(list.begin(), list.end());
    CHECK(entries.size() == 12 && !list.next() && list.begin() == list.end());
    for (const vfs::Entry &entry : entries) CHECK(store.stat(entry.key).id == entry.stat.id);
    std::map<vfs::Key, int> keys;
    for (const vfs::Entry &entry : entries) keys[entry.key]++;
    CHECK(keys.size() == 12 && keys["text"] == 1 && vfs::Key("a") == "a" && vfs::Key("a") != "b");

    /* tiers */
    const std::vector<vfs::TierStat> all = store.tiers();
    CHECK(!all.empty() && all[0].usable() && all[0].stored == store.tier(0).stored && all[0].stored > 0);
    CHECK(thrown([&] { store.tier(static_cast<std::uint32_t>(all.size())); }) == VFS_ERR_NOT_FOUND);
    CHECK(store.reap() == 0);

    /* removing */
    vfs::Store other(options_on(tiers));
    const bool shared = other.has("text"); /* the memory tier is its handle's alone */
    if (shared) {
        other.remove_owned({"text", "kept", "absent"});
        CHECK(store.has("text"));
        other.put("foreign", "x");
        store.remove_owned(std::vector<std::string>{"foreign"});
        CHECK(store.has("foreign"));
    }
    store.remove_owned({"text", "absent", "copy"});
    CHECK(!store.has("text") && !store.has("copy"));
    store.remove_owned(std::set<std::string>{"view"});
    store.remove_owned(std::array<const char *, 1>{"floats"});
    CHECK(!store.has("view") && !store.has("floats"));
    store.remove_owned({});
    FAILS(VFS_ERR_KEY, store.try_remove_owned({"a/b", "numbers"}));
    CHECK(!store.has("numbers"));
    store.remove("kept");
    THROWS(VFS_ERR_NOT_FOUND, store.remove("kept"));

    /* the end */
    store.shutdown();
    THROWS(VFS_ERR_SHUTDOWN, store.has("empty"));
    THROWS(VFS_ERR_SHUTDOWN, store.list());
    store.shutdown();
    CHECK(view.text() == "again");
    store.close();
    store.close();
    CHECK(store.handle() == nullptr && view.text() == "again");
    CHECK(!shared || listed(other) == std::set<std::string>{"foreign"});
}

static void disk() { calls_on(dir_of("one") + "?max=1M," + dir_of("two")); }
static void memory() { calls_on("memory"); }

/* What is no key is refused by each call that takes one, and never taken for another. */
static void keys()
{
    vfs::Store store(options_on(dir_of("tier")));
    store.put("a", "value");
    const std::string longest(255, 'x');
    store.put(longest, "long");
    CHECK(store.read<std::string>(longest) == "long" && listed(store) == (std::set<std::string>{"a", longest}));
    const std::string bad[] = {std::string("a\0", 2), std::string("a\0b", 3), std::string("\0", 1), "", ".", "..",
                               "a/b", "a\\b", "a\n", "\x7F", longest + "x", std::string(100000, 'x'),
                               longest + std::string("\0y", 2)};
    char buffer[8];
    for (const std::string &key : bad) {
        FAILS(VFS_ERR_KEY, store.try_put(key, "other", vfs::replace));
        FAILS(VFS_ERR_KEY, store.try_read(key, buffer));
        FAILS(VFS_ERR_KEY, store.try_read(key));
        FAILS(VFS_ERR_KEY, store.try_stat(key));
        FAILS(VFS_ERR_KEY, store.try_map(key));
        FAILS(VFS_ERR_KEY, store.try_create(key, vfs::replace));
        FAILS(VFS_ERR_KEY, store.try_remove(key));
        FAILS(VFS_ERR_KEY, store.try_remove_owned({key}));
        CHECK(!store.has(key));
        vfs::Options options = options_on(scratch + "/tier");
        options.name = key;
        if (!key.empty()) FAILS(VFS_ERR_INVALID, vfs::Store::try_open(options));
    }
    CHECK(store.read<std::string>("a") == "value" && store.read<std::string>(longest) == "long");
    FAILS(VFS_ERR_INVALID, vfs::Store::try_open(options_on(scratch + "/tier" + std::string("\0?max=1", 7))));
    FAILS(VFS_ERR_INVALID, vfs::Store::try_open(options_on("not absolute")));
}

/* Each handle gives itself back once, wherever it moves; one that is empty is refused, not followed. */
static void moves()
{
    const std::string tier = dir_of("tier");
    vfs::Store a(options_on(tier)), watcher(options_on(tier)), none(nullptr);
    a.put("k", "value");

    vfs::Store b = std::move(a);
    CHECK(a.handle() == nullptr && b.read<std::string>("k") == "value");
    auto &same = b;
    b = std::move(same);
    CHECK(b.handle() != nullptr && watcher.has("k"));
    vfs::Store c(options_on(tier));
    c.put("c", "x");
    c = std::move(b);
    CHECK(!watcher.has("c") && watcher.has("k")); /* what it held was closed */
    std::swap(a, c);
    CHECK(a.has("k") && c.handle() == nullptr);

    for (vfs::Store *empty : {&b, &c, &none}) {
        char byte;
        FAILS(VFS_ERR_INVALID, empty->try_put("k", "x"));
        FAILS(VFS_ERR_INVALID, empty->try_read("k", vfs::Buffer(&byte, 1)));
        FAILS(VFS_ERR_INVALID, empty->try_read("k"));
        FAILS(VFS_ERR_INVALID, empty->try_has("k"));
        FAILS(VFS_ERR_INVALID, empty->try_stat("k"));
        FAILS(VFS_ERR_INVALID, empty->try_remove("k"));
        FAILS(VFS_ERR_INVALID, empty->try_remove_owned({"k"}));
        FAILS(VFS_ERR_INVALID, empty->try_remove_owned({}));
        FAILS(VFS_ERR_INVALID, empty->try_map("k"));
        FAILS(VFS_ERR_INVALID, empty->try_create("k"));
        FAILS(VFS_ERR_INVALID, empty->try_list());
        FAILS(VFS_ERR_INVALID, empty->try_reap());
        FAILS(VFS_ERR_INVALID, empty->try_tier(0));
        FAILS(VFS_ERR_INVALID, empty->try_tiers());
        FAILS(VFS_ERR_INVALID, empty->try_shutdown());
        empty->close();
    }

    vfs::View v = a.map("k"), w = std::move(v);
    const std::byte *const at = w.data();
    CHECK(v.empty() && v.data() == nullptr && v.begin() == v.end() && v.stat().size == 0 && v.text().empty());
    auto &same_view = w;
    w = std::move(same_view);
    v = std::move(w);
    CHECK(v.data() == at && v.text() == "value"); /* in place */
    v = a.map("k");
    std::vector<vfs::View> many;
    for (int i = 0; i < 100; i++) many.push_back(a.map("k"));
    many.erase(many.begin() + 3, many.begin() + 90);
    for (const vfs::View &view : many) CHECK(view.text() == "value");

    vfs::Writer x = a.create("w"), y = std::move(x);
    FAILS(VFS_ERR_INVALID, x.try_write("x"));
    FAILS(VFS_ERR_INVALID, x.try_reserve(1));
    FAILS(VFS_ERR_INVALID, x.try_seal());
    x.abort();
    y.write("y");
    y = a.create("w2"); /* what it was is given up */
    y.write("w2");
    {
        vfs::Writer left = a.create("left");
        left.write("never sealed");
    }
    x = std::move(y);
    x.seal();
    CHECK(listed(watcher) == (std::set<std::string>{"k", "w2"}));

    vfs::List l = a.list(), m = std::move(l);
    FAILS(VFS_ERR_INVALID, l.try_next());
    CHECK(m.next().has_value());

    vfs::Writer late = a.create("late");
    a.close();
    CHECK(listed(watcher).empty() && v.text() == "value" && many.back().text() == "value");
    FAILS(VFS_ERR_SHUTDOWN, late.try_write("x"));
    FAILS(VFS_ERR_SHUTDOWN, m.try_next());
}

/* A failure has the code, the errno and the words of the call that failed, whatever is called after it. */
static void failures()
{
    const std::string tier = dir_of("tier");
    vfs::Store store(options_on(tier));
    auto first = store.try_map("first");
    auto second = store.try_map("second");
    CHECK(!first && !second && first.error().code() == VFS_ERR_NOT_FOUND);
    CHECK(std::strstr(first.error().what(), "first") && std::strstr(second.error().what(), "second"));
    vfs::Failure moved = std::move(first).error();
    CHECK(std::strstr(moved.what(), "first") && moved.code() == VFS_ERR_NOT_FOUND);
    vfs::Failure self = std::move(moved);
    moved = std::move(self);
    CHECK(std::strstr(moved.what(), "first"));

    auto missing = vfs::Store::try_open(options_on(scratch + "/missing"));
    FAILS(VFS_ERR_IO, missing);
    CHECK(missing.error().os_error() == ENOENT && std::strstr(missing.error().what(), "/missing"));
    try {
        vfs::Store bad(options_on(scratch + "/missing"));
        CHECK(bad.handle() == nullptr);
    } catch (const std::exception &error) { /* as anybody would catch it */
        CHECK(std::strstr(error.what(), "/missing"));
        CHECK(dynamic_cast<const vfs::Error &>(error).os_error() == ENOENT);
    }

    /* an exception that passes through gives the handles back */
    try {
        vfs::Store inner(options_on(tier));
        inner.put("inner", "x");
        vfs::Writer writer = inner.create("draft");
        vfs::View view = inner.map("inner");
        inner.put("inner", "x");
        CHECK(view.empty());
    } catch (const vfs::Error &error) {
        CHECK(error.code() == VFS_ERR_EXISTS && !store.has("inner"));
        const vfs::Error copy = error;
        CHECK(std::strcmp(copy.what(), error.what()) == 0);
    }

    vfs::Options read_only = options_on(tier);
    read_only.read_only = true;
    vfs::Store reader(read_only);
    store.put("k", "value");
    CHECK(reader.read<std::string>("k") == "value");
    THROWS(VFS_ERR_READ_ONLY, reader.put("x", "x"));
    THROWS(VFS_ERR_READ_ONLY, reader.remove("k"));
    THROWS(VFS_ERR_READ_ONLY, reader.reap());
    THROWS(VFS_ERR_READ_ONLY, reader.create("x"));

    /* an iteration that fails throws, and does not look like the end */
    vfs::List list = store.list();
    store.shutdown();
    THROWS(VFS_ERR_SHUTDOWN, list.begin());
}

/* The log hears, wherever the store moves; what it throws goes no further; it ends after the store. */
static void log()
{
    const std::string one = dir_of("one"), two = dir_of("two");
    const auto token = std::make_shared<int>(0);
    {
        vfs::Options options = options_on(one + "?max=1K," + two);
        std::string heard;
        options.log = [&heard, token](std::int32_t level, std::string_view message) {
            heard += std::to_string(level) + " " + std::string(message) + "\n";
            throw std::runtime_error("not through C");
        };
        vfs::Store first(options);
        options.log = nullptr;
        CHECK(token.use_count() == 2);
        vfs::Store store = std::move(first);
        store.put("big", std::string(4096, 'b'));
        CHECK(heard.find(one) != std::string::npos && heard.substr(0, 2) == std::to_string(VFS_LOG_WARNING) + " ");
        CHECK(store.stat("big").tier == 1 && token.use_count() == 2);
        store = vfs::Store(options_on(two));
        CHECK(token.use_count() == 1);
    }
    /* closing may be heard too: the function must be there */
    struct Alive {
        bool *alive;
        explicit Alive(bool *flag) : alive(flag) { *alive = true; }
        ~Alive() { *alive = false; }
    };
    bool alive = false;
    vfs::Options options = options_on("/nowhere-at-all," + two);
    options.log = [guard = std::make_shared<Alive>(&alive)](std::int32_t, std::string_view) { CHECK(*guard->alive); };
    auto store = std::make_unique<vfs::Store>(std::move(options));
    store->put("k", "v");
    CHECK(alive);
    store.reset();
    CHECK(!alive);
}

/* Without memory a call that throws nothing answers so, and the store goes on. */
static void no_memory_left()
{
    vfs::Store store(options_on(dir_of("tier")));
    store.put("k", std::string(5000, 'k'));
    vfs::Options options = options_on(scratch + "/tier");
    options.log = [](std::int32_t, std::string_view) {};
    vfs::List list = store.list();
    no_memory = true;
    auto bytes = store.try_read("k");
    auto text = store.try_read<std::string>("k");
    auto view = store.try_map("k");
    auto tiers = store.try_tiers();
    auto opened = vfs::Store::try_open(std::move(options));
    auto absent = store.try_stat("absent"); /* no memory for its words */
    auto entry = list.try_next();
    auto stored = store.try_put("two", "two");
    no_memory = false;
    FAILS(VFS_ERR_NO_MEMORY, bytes);
    FAILS(VFS_ERR_NO_MEMORY, text);
    FAILS(VFS_ERR_NO_MEMORY, view);
    FAILS(VFS_ERR_NO_MEMORY, tiers);
    FAILS(VFS_ERR_NO_MEMORY, opened);
    FAILS(VFS_ERR_NOT_FOUND, absent);
    CHECK(std::string(absent.error().what()) == vfs_strerror(VFS_ERR_NOT_FOUND));
    CHECK(entry && *entry && (*entry)->key == "k" && stored);
    CHECK(store.map("k").size() == 5000 && store.tiers().size() == 1);
}

/* Many threads on one store: each blob that is read is one that was stored, whole. */
static void threads()
{
    vfs::Store store(options_on(dir_of("one") + "?max=256K," + dir_of("two")));
    const auto whole = [](std::string_view text) {
        return !text.empty() && text.size() == 100u * static_cast<std::size_t>(text[0] - 'a' + 1) &&
               text.find_first_not_of(text[0]) == text.npos;
    };
    store.put("shared", std::string(100, 'a'));
    std::vector<std::thread> running;
    for (int t = 0; t < 4; t++) {
        running.emplace_back([&, t] {
            for (int i = 0; i < 150; i++) {
                const char letter = static_cast<char>('a' + (i * 7 + t) % 26);
                const std::string value(100u * static_cast<std::size_t>(letter - 'a' + 1), letter);
                auto put = store.try_put("shared", value, vfs::replace);
                auto read = store.try_read<std::string>("shared");
                auto map = store.try_map("shared");
                if (!put) FAILS(VFS_ERR_BUSY, put); /* others kept it out for long, where there is much to do */
                if (!read) FAILS(VFS_ERR_BUSY, read);
                else CHECK(whole(*read)); /* also if a longer one comes between its two looks */
                if (!map) FAILS(VFS_ERR_BUSY, map);
                else CHECK(whole(map->text()));
                const std::string own = "own-" + std::to_string(t) + "-" + std::to_string(i);
                vfs::Writer writer = store.create(own);
                writer.write(value);
                writer.seal();
                if (i % 2) store.remove_owned({own});
                if (i % 50 == 0) {
                    CHECK(listed(store).count(own) == 1); /* as what is there all the while */
                    FAILS(VFS_ERR_NOT_FOUND, store.try_stat("absent " + own));
                    CHECK(std::strstr(store.try_stat(own + "?").error().what(), own.c_str())); /* this thread's words */
                }
            }
        });
    }
    for (std::thread &thread : running) thread.join();
    CHECK(listed(store).size() == 1 + 4 * 75);
}

int main(int argc, char **argv)
{
    return run_mode(argc, argv,
                    {{"disk", disk}, {"memory", memory}, {"keys", keys}, {"moves", moves}, {"failures", failures},
                     {"log", log}, {"no-memory", no_memory_left}, {"threads", threads}});
}

/**
 * @file
 * vfs.hpp: libvfs for C++17 and later. A thin skin of vfs.h, which is the manual.
 *
 *     vfs::Store store;                                         // all defaults; or throws vfs::Error
 *     store.put("plot.png", png, vfs::replace);                 // any contiguous container, text, or {pointer, bytes}
 *     auto bytes = store.read("plot.png");                      // a copy: std::vector<std::byte>
 *     vfs::View view = store.map("plot.png");                   // in place: a range of const std::byte
 *     for (const vfs::Entry &entry : store.list()) std::puts(entry.key.c_str());
 *
 *     if (auto view = store.try_map("plot.png")) send(view->data(), view->size());
 *     else complain(view.error().what());                       // nothing is thrown
 *
 * - Handles (Store, Writer, List, View) are move-only and give themselves back. One that was moved from, closed or
 *   ended answers VFS_ERR_INVALID, and a View is empty. A View outlives its store.
 * - Each call that can fail comes twice: `x` throws vfs::Error; `try_x` is noexcept and answers a vfs::Result, which is
 *   a value or a vfs::Failure, or where there is no value a vfs::Outcome. With -fno-exceptions only `try_x` is there,
 *   and memory that a container cannot have ends the program, as everywhere under that flag.
 * - A key is text of any kind. What is no key, one with a NUL inside or of more than 255 bytes too, is refused with
 *   VFS_ERR_KEY, never cut.
 * - Threads, fork, and what each code means: as vfs.h says of the function that is named at each call.
 *
 * Only the standard library is needed. No macro is left defined but the guard.
 */
#ifndef VFS_HPP
#define VFS_HPP

#include "vfs.h"

#include <cstddef>
#include <cstdint>
#include <cstring>
#include <functional>
#include <initializer_list>
#include <iterator>
#include <memory>
#include <new>
#include <optional>
#include <string>
#include <string_view>
#include <type_traits>
#include <utility>
#include <vector>

#if defined(__cpp_exceptions) || defined(_CPPUNWIND)
#include <stdexcept>
#define VFS_HPP_THROWS
#endif

/** libvfs for C++. */
namespace vfs {

/** How to store: `vfs::replace | vfs::persist`. */
enum class Flags : std::uint32_t {
    none = 0, /**< The key must be free, and the blob ends with its owner. */
    replace = VFS_REPLACE, /**< VFS_REPLACE. */
    persist = VFS_PERSIST, /**< VFS_PERSIST. */
};

inline constexpr Flags replace = Flags::replace; /**< Flags::replace. */
inline constexpr Flags persist = Flags::persist; /**< Flags::persist. */

/** Both. */
constexpr Flags operator|(Flags a, Flags b) noexcept
{
    return static_cast<Flags>(static_cast<std::uint32_t>(a) | static_cast<std::uint32_t>(b));
}

/** The version of the library that is loaded; VFS_VERSION is that of the header. */
inline const char *version() noexcept { return vfs_version(); }

/** One sentence on a status alone. */
inline const char *describe(vfs_status_t status) noexcept { return vfs_strerror(status); }

/* ---- failures ---- */

/** Why a call failed: the code, the errno behind it, and the words of vfs_last_error. Move-only. */
class Failure {
public:
    /** What this thread's call just answered. The words are copied; without memory for them they are the code's. */
    explicit Failure(vfs_status_t code) noexcept : code_(code), os_error_(vfs_last_errno()), text_(vfs_strerror(code))
    {
        const char *words = vfs_last_error();
        const std::size_t size = std::strlen(words) + 1;
        words_.reset(new (std::nothrow) char[size]);
        if (words_) std::memcpy(words_.get(), words, size);
    }

    /** A failure outside of the library, in words that stay. */
    Failure(vfs_status_t code, const char *text) noexcept : code_(code), text_(text) {}

    vfs_status_t code() const noexcept { return code_; } /**< A negative number of vfs_code, or of a later version. */
    int os_error() const noexcept { return os_error_; } /**< The errno behind it; 0 if there is none. */
    const char *what() const noexcept { return words_ ? words_.get() : text_; } /**< What failed, for people. */

private:
    vfs_status_t code_;
    int os_error_ = 0;
    const char *text_;
    std::unique_ptr<char[]> words_;
};

#ifdef VFS_HPP_THROWS
/** A Failure, thrown. */
class Error : public std::runtime_error {
public:
    /** The same words, code and errno. */
    explicit Error(const Failure &failure)
        : std::runtime_error(failure.what()), code_(failure.code()), os_error_(failure.os_error())
    {
    }

    vfs_status_t code() const noexcept { return code_; } /**< As Failure::code. */
    int os_error() const noexcept { return os_error_; } /**< As Failure::os_error. */

private:
    vfs_status_t code_;
    int os_error_;
};
#endif

/** Success, or a Failure. */
class [[nodiscard]] Outcome {
public:
    Outcome() noexcept = default; /**< Success. */
    Outcome(Failure failure) noexcept : failure_(std::move(failure)) {} /**< A failure. */

    bool has_value() const noexcept { return !failure_; } /**< Whether it went well. */
    explicit operator bool() const noexcept { return has_value(); } /**< The same. */
    const Failure &error() const & noexcept { return *failure_; } /**< Only if it went wrong. */
    Failure error() && noexcept { return *std::move(failure_); } /**< Only if it went wrong. */
#ifdef VFS_HPP_THROWS
    /** Throws the Failure, if there is one. */
    void value() const
    {
        if (failure_) throw Error(*failure_);
    }
#endif

private:
    std::optional<Failure> failure_;
};

/** A value, or a Failure. As std::expected, `*` and `->` are for one that has a value. */
template <class T> class [[nodiscard]] Result : public Outcome {
    static_assert(std::is_nothrow_move_constructible_v<T>, "a result is answered by functions that throw nothing");

public:
    Result(T value) noexcept : value_(std::move(value)) {} /**< A value. */
    Result(Failure failure) noexcept : Outcome(std::move(failure)) {} /**< A failure. */

    /** Whether there is a value. Not there for bool, where it would be taken for the value: see has_value. */
    explicit operator bool() const noexcept
    {
        static_assert(!std::is_same_v<T, bool>, "ask has_value(), then *");
        return has_value();
    }
    T &operator*() & noexcept { return *value_; } /**< The value. */
    const T &operator*() const & noexcept { return *value_; } /**< The value. */
    T &&operator*() && noexcept { return *std::move(value_); } /**< The value. */
    T *operator->() noexcept { return &*value_; } /**< The value. */
    const T *operator->() const noexcept { return &*value_; } /**< The value. */
#ifdef VFS_HPP_THROWS
    /** The value, or throws. */
    T value() &&
    {
        Outcome::value();
        return *std::move(value_);
    }
    /** The value, or throws. */
    const T &value() const &
    {
        Outcome::value();
        return *value_;
    }
#endif

private:
    std::optional<T> value_;
};

/** Parts that are not for use outside. */
namespace detail {

inline Outcome result(vfs_status_t status) noexcept
{
    if (status < 0) return Failure(status);
    return {};
}

/** What `make` answers; where it throws, for lack of memory, VFS_ERR_NO_MEMORY. */
template <class Make> auto catching(Make make) noexcept -> decltype(make())
{
#ifdef VFS_HPP_THROWS
    try {
        return make();
    } catch (...) {
        return Failure(VFS_ERR_NO_MEMORY, "no memory for what was read");
    }
#else
    return make();
#endif
}

template <class T> using Data = decltype(std::data(std::declval<T &>()));
template <class T> using Size = decltype(std::size(std::declval<T &>()));

/** Contiguous elements that may be copied as bytes, behind what converts to Pointer. */
template <class T, class Pointer, class = void> inline constexpr bool is_storage = false;
template <class T, class Pointer>
inline constexpr bool is_storage<T, Pointer, std::void_t<Data<T>, Size<T>>> =
    std::is_convertible_v<Data<T>, Pointer> && std::is_trivially_copyable_v<std::remove_pointer_t<Data<T>>>;

template <class T> inline constexpr bool is_char = std::is_same_v<T, char>;
#ifdef __cpp_char8_t
template <> inline constexpr bool is_char<char8_t> = true;
#endif
template <class T> inline constexpr bool is_char_array = false;
template <class T, std::size_t n> inline constexpr bool is_char_array<T[n]> = is_char<std::remove_const_t<T>>;

template <auto End> struct Ender {
    template <class T> void operator()(T *handle) const noexcept { End(handle); }
};

} // namespace detail

/* ---- arguments ---- */

/** Bytes of somebody else's: a pointer and how many. Bytes are read only, a Buffer may be written. */
template <class Byte> class Span {
    using Pointer = std::conditional_t<std::is_const_v<Byte>, const void *, void *>;

public:
    using element_type = Byte; /**< `const std::byte` or `std::byte`. */
    using value_type = std::byte; /**< A byte. */
    using iterator = Byte *; /**< A pointer. */

    constexpr Span() noexcept = default; /**< None. */
    /** So many bytes from there on. */
    Span(Pointer data, std::size_t bytes) noexcept : data_(static_cast<Byte *>(data)), size_(bytes) {}

    /** The elements of a contiguous container: vector, array, string, string_view, span, View, T[n] and the like. */
    template <class Container,
              std::enable_if_t<detail::is_storage<Container, Pointer> &&
                                   !std::is_same_v<std::decay_t<Container>, Span> &&
                                   !(std::is_const_v<Byte> &&
                                     detail::is_char_array<std::remove_reference_t<Container>>),
                               int> = 0>
    Span(Container &&container) noexcept
        : Span(std::data(container), std::size(container) * sizeof(*std::data(container)))
    {
    }

    /** A string literal, or constants of char: without a NUL at the end. */
    template <class Char, std::size_t n, std::enable_if_t<std::is_const_v<Byte> && detail::is_char<Char>, int> = 0>
    Span(const Char (&literal)[n]) noexcept : Span(literal, literal[n - 1] ? n : n - 1)
    {
    }
    /** How much of such a buffer counts is not known: say `{buffer, bytes}`. */
    template <class Char, std::size_t n, std::enable_if_t<std::is_const_v<Byte> && detail::is_char<Char>, int> = 0>
    Span(Char (&buffer)[n]) = delete;

    /** A C string, without the NUL at its end. */
    template <class Text, std::enable_if_t<std::is_const_v<Byte> && (std::is_same_v<Text, const char *> ||
                                                                     std::is_same_v<Text, char *>), int> = 0>
    Span(const Text &text) noexcept : Span(text, std::strlen(text))
    {
    }

    constexpr Byte *data() const noexcept { return data_; } /**< The first byte. */
    constexpr std::size_t size() const noexcept { return size_; } /**< How many. */
    constexpr bool empty() const noexcept { return size_ == 0; } /**< Whether there are none. */
    constexpr Byte *begin() const noexcept { return data_; } /**< The first byte. */
    constexpr Byte *end() const noexcept { return data_ + size_; } /**< Past the last. */
    constexpr Byte &operator[](std::size_t i) const noexcept { return data_[i]; } /**< One of them. */

private:
    Byte *data_ = nullptr;
    std::size_t size_ = 0;
};

using Bytes = Span<const std::byte>; /**< What is stored. */
using Buffer = Span<std::byte>;      /**< What is filled. */

/** A key, copied: 1 to 255 bytes. What is none is kept as something that the library refuses too. */
class Key {
public:
    /** Any text: a literal, std::string, std::string_view. */
    template <class Text, std::enable_if_t<std::is_convertible_v<const Text &, std::string_view>, int> = 0>
    Key(const Text &text) noexcept
    {
        const std::string_view view = text;
        size_ = view.size() < sizeof bytes_ ? view.size() : sizeof bytes_ - 1;
        for (std::size_t i = 0; i < size_; i++) bytes_[i] = view[i] == '\0' ? '\1' : view[i]; // which no key may have
        bytes_[size_] = '\0';
    }

    const char *c_str() const noexcept { return bytes_; } /**< With a NUL at its end. */
    std::size_t size() const noexcept { return size_; } /**< Without that NUL. */
    operator std::string_view() const noexcept { return {bytes_, size_}; } /**< The same. */

    /** Byte by byte. */
    friend bool operator==(const Key &a, const Key &b) noexcept { return std::string_view(a) == std::string_view(b); }
    /** Byte by byte. */
    friend bool operator!=(const Key &a, const Key &b) noexcept { return !(a == b); }
    /** Byte by byte. */
    friend bool operator<(const Key &a, const Key &b) noexcept { return std::string_view(a) < std::string_view(b); }

private:
    std::size_t size_ = 0;
    char bytes_[257];
};

/** How to open a store; as it is, all defaults. See vfs_options_t. */
struct Options {
    /** The store's name. Empty: "default". */
    std::string name{};
    /** Where blobs go, such as "shm?max=64M,/var/tmp". Empty: what VFS_TIERS says, else "shm,/var/tmp,/tmp". */
    std::string tiers{};
    /** VFS_READ_ONLY. */
    bool read_only = false;
    /**
     * Hears when a tier begins to refuse or recovers: see vfs_options_t::log for what it may do. On any thread, maybe
     * on several at once. Lives as long as the store. What it throws is dropped.
     */
    std::function<void(std::int32_t level, std::string_view message)> log{};
};

/* ---- what is told ---- */

/** What is known of one blob: vfs_stat_t. */
struct Stat : vfs_stat_t {
    Stat() noexcept : vfs_stat_t VFS_STAT_INIT {} /**< To be filled. */
    bool owned() const noexcept { return (flags & VFS_STAT_OWNED) != 0; } /**< VFS_STAT_OWNED. */
    bool persistent() const noexcept { return (flags & VFS_STAT_PERSISTENT) != 0; } /**< VFS_STAT_PERSISTENT. */
    bool orphan() const noexcept { return (flags & VFS_STAT_ORPHAN) != 0; } /**< VFS_STAT_ORPHAN. */
};

/** What is known of one tier: vfs_tier_stat_t. Its `dir` is valid while the store is open. */
struct TierStat : vfs_tier_stat_t {
    TierStat() noexcept : vfs_tier_stat_t VFS_TIER_STAT_INIT {} /**< To be filled. */
    bool usable() const noexcept { return (flags & VFS_TIER_USABLE) != 0; } /**< VFS_TIER_USABLE. */
};

/** One blob of a listing. */
struct Entry {
    Key key{""}; /**< Its key. */
    Stat stat{}; /**< What is known of it. */
};

/* ---- handles ---- */

/** A blob's bytes in place, read-only, aligned to 64: vfs_map, and vfs_unmap at its end. A contiguous range. */
class View {
public:
    using value_type = std::byte; /**< A byte. */
    using iterator = const std::byte *; /**< A pointer. */
    using const_iterator = const std::byte *; /**< A pointer. */

    View() noexcept = default; /**< Of nothing. */

    /** The first byte; NULL if there is none. */
    const std::byte *data() const noexcept
    {
        return place_ ? static_cast<const std::byte *>(place_->view.data) : nullptr;
    }
    std::size_t size() const noexcept { return place_ ? place_->view.len : 0; } /**< How many. */
    bool empty() const noexcept { return size() == 0; } /**< Whether there are none. */
    const std::byte *begin() const noexcept { return data(); } /**< The first byte. */
    const std::byte *end() const noexcept { return data() + size(); } /**< Past the last. */
    const std::byte &operator[](std::size_t i) const noexcept { return data()[i]; } /**< One of them. */
    /** The same bytes, as text. */
    std::string_view text() const noexcept { return {reinterpret_cast<const char *>(data()), size()}; }
    /** Of the very blob that is shown, without VFS_STAT_ORPHAN. */
    Stat stat() const noexcept { return place_ ? place_->stat : Stat(); }

private:
    friend class Store;
    struct Place {
        vfs_view_t view{nullptr, 0, nullptr};
        Stat stat{};
        Place() noexcept = default;
        Place(const Place &) = delete;
        Place &operator=(const Place &) = delete;
        ~Place() { vfs_unmap(&view); }
    };
    // The C view is given back from the very place that was filled, so it stays there when this is moved.
    std::unique_ptr<Place> place_;
};

/** A blob that is written in parts; given up if it ends without seal. One thread at a time. */
class Writer {
public:
    Writer() noexcept = default; /**< Of nothing. */

    /** Appends: vfs_write. */
    Outcome try_write(Bytes bytes) noexcept
    {
        return detail::result(vfs_write(handle_.get(), bytes.data(), bytes.size()));
    }
    /** Appends memory to be filled in place, until the next call: vfs_reserve. */
    Result<Buffer> try_reserve(std::size_t bytes) noexcept
    {
        void *room = nullptr;
        if (const vfs_status_t status = vfs_reserve(handle_.get(), bytes, &room); status < 0) return Failure(status);
        return Buffer(room, bytes);
    }
    /** Publishes the blob and ends the writer, whatever it answers: vfs_seal. */
    Outcome try_seal() noexcept { return detail::result(vfs_seal(handle_.release())); }
    /** Gives up the blob and ends the writer: vfs_abort. */
    void abort() noexcept { handle_.reset(); }
    /** For functions of vfs.h; still ours. */
    vfs_writer_t *handle() const noexcept { return handle_.get(); }

#ifdef VFS_HPP_THROWS
    void write(Bytes bytes) { try_write(bytes).value(); } /**< try_write, or throws. */
    Buffer reserve(std::size_t bytes) { return try_reserve(bytes).value(); } /**< try_reserve, or throws. */
    void seal() { try_seal().value(); } /**< try_seal, or throws. */
#endif

private:
    friend class Store;
    std::unique_ptr<vfs_writer_t, detail::Ender<vfs_abort>> handle_;
};

/** A listing under way, and an input range. One thread at a time. */
class List {
public:
    List() noexcept = default; /**< Of nothing. */

    /** The next blob, or none at the end: vfs_list_next. */
    Result<std::optional<Entry>> try_next() noexcept
    {
        Entry entry;
        const char *key = nullptr;
        const vfs_status_t status = vfs_list_next(handle_.get(), &key, &entry.stat);
        if (status == VFS_ERR_NOT_FOUND) return std::optional<Entry>();
        if (status < 0) return Failure(status);
        entry.key = Key(key);
        return std::optional<Entry>(entry);
    }

#ifdef VFS_HPP_THROWS
    /** try_next, or throws. */
    std::optional<Entry> next() { return try_next().value(); }

    /** An input iterator, good until its listing moves. */
    class Iterator {
    public:
        using iterator_category = std::input_iterator_tag; /**< One way, once. */
        using value_type = Entry; /**< A blob. */
        using difference_type = std::ptrdiff_t; /**< None. */
        using pointer = const Entry *; /**< Into the iterator. */
        using reference = const Entry &; /**< Into the iterator. */

        Iterator() noexcept = default; /**< The end. */
        const Entry &operator*() const noexcept { return *entry_; } /**< This one. */
        const Entry *operator->() const noexcept { return &*entry_; } /**< This one. */
        /** Goes on, or throws. */
        Iterator &operator++()
        {
            entry_ = list_->next();
            return *this;
        }
        /** Goes on, or throws. */
        Iterator operator++(int)
        {
            Iterator old = *this;
            ++*this;
            return old;
        }
        /** Whether both are at the end, or neither. */
        friend bool operator==(const Iterator &a, const Iterator &b) noexcept
        {
            return a.entry_.has_value() == b.entry_.has_value();
        }
        /** The opposite. */
        friend bool operator!=(const Iterator &a, const Iterator &b) noexcept { return !(a == b); }

    private:
        friend class List;
        explicit Iterator(List *list) : list_(list), entry_(list->next()) {}
        List *list_ = nullptr;
        std::optional<Entry> entry_;
    };
    Iterator begin() { return Iterator(this); } /**< From here on. */
    Iterator end() noexcept { return {}; } /**< Past the last. */
#endif

private:
    friend class Store;
    std::unique_ptr<vfs_list_t, detail::Ender<vfs_list_close>> handle_;
};

/** An open store. Any number of threads may call it at a time; who moves, closes or ends it is alone. */
class Store {
public:
    /** Opens a store: vfs_open. */
    static Result<Store> try_open(Options options = {}) noexcept
    {
        if (options.tiers.find('\0') != std::string::npos)
            return Failure(VFS_ERR_INVALID, "opening a store: a NUL in the list of tiers");
        const Key name(options.name);
        vfs_options_t raw = VFS_OPTIONS_INIT;
        raw.flags = options.read_only ? std::uint32_t{VFS_READ_ONLY} : 0;
        raw.name = name.size() ? name.c_str() : nullptr;
        raw.tiers = options.tiers.empty() ? nullptr : options.tiers.c_str();
        Store store(nullptr);
        if (options.log) {
            auto &log = store.handle_.get_deleter().log;
            log.reset(new (std::nothrow) Log(std::move(options.log)));
            if (!log) return Failure(VFS_ERR_NO_MEMORY, "opening a store: no memory for its log");
            raw.log = hear;
            raw.log_user = log.get();
        }
        vfs_t *handle = nullptr;
        if (const vfs_status_t status = vfs_open(&raw, &handle); status < 0) return Failure(status);
        store.handle_.reset(handle);
        return store;
    }

    /** Stores a copy of the bytes: vfs_store. */
    Outcome try_put(const Key &key, Bytes bytes, Flags flags = Flags::none) noexcept
    {
        const auto bits = static_cast<std::uint32_t>(flags);
        return detail::result(vfs_store(handle(), key.c_str(), bytes.data(), bytes.size(), bits));
    }

    /** Fills the buffer from that offset on, as far as there are bytes, and tells how many: vfs_read. */
    Result<std::size_t> try_read(const Key &key, Buffer buffer, std::uint64_t offset = 0,
                                 Stat *stat = nullptr) const noexcept
    {
        std::size_t got = 0;
        const vfs_status_t status = vfs_read(handle(), key.c_str(), offset, buffer.data(), buffer.size(), &got, stat);
        if (status < 0) return Failure(status);
        return got;
    }

    /** A copy of one whole blob, as a container of bytes such as std::string: vfs_read. */
    template <class Container = std::vector<std::byte>>
    Result<Container> try_read(const Key &key, Stat *stat = nullptr) const noexcept
    {
        static_assert(sizeof(typename Container::value_type) == 1, "a blob is made of bytes");
        return detail::catching([&]() -> Result<Container> {
            Stat seen;
            Container bytes;
            for (;;) {
                auto got = try_read(key, Buffer(bytes), 0, &seen);
                if (!got) return std::move(got).error();
                const std::size_t room = bytes.size();
                bytes.resize(static_cast<std::size_t>(seen.size));
                if (seen.size <= room) break; // else it was measured, or a longer one took its place
            }
            if (stat) *stat = seen;
            return bytes;
        });
    }

    /** Whether a blob has this key: vfs_has. */
    Result<bool> try_has(const Key &key) const noexcept
    {
        const std::int32_t answer = vfs_has(handle(), key.c_str());
        if (answer < 0) return Failure(answer);
        return answer == 1;
    }

    /** What is known of a blob: vfs_stat. */
    Result<Stat> try_stat(const Key &key) const noexcept
    {
        Stat stat;
        if (const vfs_status_t status = vfs_stat(handle(), key.c_str(), &stat); status < 0) return Failure(status);
        return stat;
    }

    /** Removes a blob, whoever owns it: vfs_remove. */
    Outcome try_remove(const Key &key) noexcept { return detail::result(vfs_remove(handle(), key.c_str())); }

    /** Removes those that this store owns, of any range of keys; all are tried, and the first failure is told. */
    template <class Keys = std::initializer_list<std::string_view>> Outcome try_remove_owned(const Keys &keys) noexcept
    {
        Outcome first = detail::result(vfs_remove_owned(handle(), nullptr, 0));
        for (const auto &each : keys) {
            const Key key(each);
            const char *const text = key.c_str();
            const vfs_status_t status = vfs_remove_owned(handle(), &text, 1);
            if (status < 0 && first) first = Failure(status);
        }
        return first;
    }

    /** Shows a blob in place: vfs_map. */
    Result<View> try_map(const Key &key) const noexcept
    {
        View view;
        view.place_.reset(new (std::nothrow) View::Place);
        if (!view.place_) return Failure(VFS_ERR_NO_MEMORY, "no memory for a view");
        View::Place &place = *view.place_;
        const vfs_status_t status = vfs_map(handle(), key.c_str(), &place.view, &place.stat);
        if (status < 0) return Failure(status);
        return view;
    }

    /** Begins a blob that is written in parts: vfs_create. */
    Result<Writer> try_create(const Key &key, Flags flags = Flags::none, std::uint64_t size_hint = 0) noexcept
    {
        vfs_writer_t *out = nullptr;
        const auto bits = static_cast<std::uint32_t>(flags);
        if (const vfs_status_t status = vfs_create(handle(), key.c_str(), size_hint, bits, &out); status < 0)
            return Failure(status);
        Writer writer;
        writer.handle_.reset(out);
        return writer;
    }

    /** Begins a listing of all blobs: vfs_list_open. */
    Result<List> try_list() const noexcept
    {
        vfs_list_t *out = nullptr;
        if (const vfs_status_t status = vfs_list_open(handle(), &out); status < 0) return Failure(status);
        List list;
        list.handle_.reset(out);
        return list;
    }

    /** Removes what dead owners left, and tells how many blobs: vfs_reap. */
    Result<std::uint64_t> try_reap() noexcept
    {
        std::uint64_t removed = 0;
        if (const vfs_status_t status = vfs_reap(handle(), &removed); status < 0) return Failure(status);
        return removed;
    }

    /** How the tier of this index fares: vfs_tier_stat. */
    Result<TierStat> try_tier(std::uint32_t index) const noexcept
    {
        TierStat tier;
        if (const vfs_status_t status = vfs_tier_stat(handle(), index, &tier); status < 0) return Failure(status);
        return tier;
    }

    /** The same of all tiers, in their order. */
    Result<std::vector<TierStat>> try_tiers() const noexcept
    {
        return detail::catching([&]() -> Result<std::vector<TierStat>> {
            std::vector<TierStat> tiers;
            for (;;) {
                auto tier = try_tier(static_cast<std::uint32_t>(tiers.size()));
                if (!tier && tier.error().code() == VFS_ERR_NOT_FOUND) return tiers;
                if (!tier) return std::move(tier).error();
                tiers.push_back(*tier);
            }
        });
    }

    /** Removes all blobs that this store owns and ends its use; it remains to be closed: vfs_shutdown. */
    Outcome try_shutdown() noexcept { return detail::result(vfs_shutdown(handle())); }

    /** Shuts down, telling no failure, and gives the store back, as its end does: vfs_close. */
    void close() noexcept { handle_.reset(); }

    /** None: to be assigned to. */
    explicit Store(std::nullptr_t) noexcept {}

    /** For functions of vfs.h; still ours. */
    vfs_t *handle() const noexcept { return handle_.get(); }

#ifdef VFS_HPP_THROWS
    /** try_open, or throws. */
    explicit Store(Options options = {}) : Store(try_open(std::move(options)).value()) {}
    /** try_put, or throws. */
    void put(const Key &key, Bytes bytes, Flags flags = Flags::none) { try_put(key, bytes, flags).value(); }
    /** try_read, or throws. */
    std::size_t read(const Key &key, Buffer buffer, std::uint64_t offset = 0, Stat *stat = nullptr) const
    {
        return try_read(key, buffer, offset, stat).value();
    }
    /** try_read, or throws. */
    template <class Container = std::vector<std::byte>> Container read(const Key &key, Stat *stat = nullptr) const
    {
        return try_read<Container>(key, stat).value();
    }
    bool has(const Key &key) const { return try_has(key).value(); } /**< try_has, or throws. */
    Stat stat(const Key &key) const { return try_stat(key).value(); } /**< try_stat, or throws. */
    void remove(const Key &key) { try_remove(key).value(); } /**< try_remove, or throws. */
    /** try_remove_owned, or throws. */
    template <class Keys = std::initializer_list<std::string_view>> void remove_owned(const Keys &keys)
    {
        try_remove_owned(keys).value();
    }
    View map(const Key &key) const { return try_map(key).value(); } /**< try_map, or throws. */
    /** try_create, or throws. */
    Writer create(const Key &key, Flags flags = Flags::none, std::uint64_t size_hint = 0)
    {
        return try_create(key, flags, size_hint).value();
    }
    List list() const { return try_list().value(); } /**< try_list, or throws. */
    std::uint64_t reap() { return try_reap().value(); } /**< try_reap, or throws. */
    TierStat tier(std::uint32_t index) const { return try_tier(index).value(); } /**< try_tier, or throws. */
    std::vector<TierStat> tiers() const { return try_tiers().value(); } /**< try_tiers, or throws. */
    void shutdown() { try_shutdown().value(); } /**< try_shutdown, or throws. */
#endif

private:
    using Log = decltype(Options::log);

    static void hear(void *user, std::int32_t level, const char *message) noexcept
    {
        (void)detail::catching([&]() -> Outcome {
            (*static_cast<Log *>(user))(level, message);
            return {};
        });
    }

    // The log goes after the handle that calls it, in moves too.
    struct Closer {
        std::unique_ptr<Log> log;
        void operator()(vfs_t *handle) const noexcept { vfs_close(handle); }
    };
    std::unique_ptr<vfs_t, Closer> handle_{nullptr, Closer{}};
};

} // namespace vfs

#undef VFS_HPP_THROWS

#endif /* VFS_HPP */

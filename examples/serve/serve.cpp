/* Serves the blobs of a store over HTTP, each under its key, on this host only: vfs.hpp and libmicrohttpd.
 *
 *   serve PORT [STORE]                    prints its address; ends with SIGINT or SIGTERM
 *   curl -r 0-99 http://127.0.0.1:PORT/plot.png
 *
 * It asks nobody who they are: any user of this host, and by DNS rebinding any page in a browser on it, can read.
 * GET and HEAD; ETag, If-None-Match; Range of one part, If-Range. The bytes of a blob go from its view to the socket,
 * which is the only copy, and the view stays until they are gone, whatever becomes of the key meanwhile. What shortens
 * a blob's file from outside ends that connection: send answers EFAULT, where touching the view would raise SIGBUS. */
#include <vfs.hpp>

#include <arpa/inet.h>
#include <charconv>
#include <cinttypes>
#include <csignal>
#include <cstdio>
#include <cstdlib>
#include <microhttpd.h>
#include <new>
#include <strings.h>
#include <thread>

namespace {

/* ---- what is asked ---- */

int hex(char c)
{
    if (c >= '0' && c <= '9') return c - '0';
    if (c >= 'a' && c <= 'f') return c - 'a' + 10;
    if (c >= 'A' && c <= 'F') return c - 'A' + 10;
    return -1;
}

/* The key that a path names, of at most `sizeof key` bytes, or none. Any byte may be %XX; which ones a key may have is
 * for the store to say. */
struct Path {
    char key[256];
    std::size_t size = 0;
    bool good = false;

    explicit Path(const char *url)
    {
        if (*url++ != '/') return;
        for (; *url; url++) {
            int c = static_cast<unsigned char>(*url);
            if (c == '%') {
                const int high = hex(url[1]), low = high < 0 ? -1 : hex(url[2]);
                if (low < 0) return;
                c = high * 16 + low;
                url += 2;
            }
            if (size == sizeof key) return;
            key[size++] = static_cast<char>(c);
        }
        good = true;
    }
};

/* Digits, as far as they fit. */
const char *number(const char *text, std::uint64_t &value)
{
    value = UINT64_MAX;
    return std::from_chars(text, text + std::strlen(text), value).ptr;
}

/* Bytes of a blob: all of them, or what a Range asks for. One that is no single range of bytes is ignored. */
struct Part {
    std::uint64_t first = 0, size;
    bool ranged = false, satisfiable = true;

    Part(const char *range, std::uint64_t whole) : size(whole)
    {
        if (!range || strncasecmp(range, "bytes=", 6) != 0) return;
        const char *const from = range + 6;
        std::uint64_t start = 0, last = UINT64_MAX;
        const char *const dash = number(from, start);
        if (*dash != '-') return;
        const char *const end = number(dash + 1, last);
        if (*end || (from == dash && end == dash + 1) || (from != dash && last < start)) return;
        if (from == dash) { /* the last so many */
            start = whole - (last < whole ? last : whole);
            if (last == 0) start = whole;
            last = UINT64_MAX;
        }
        ranged = true;
        satisfiable = start < whole;
        if (!satisfiable) return;
        first = start;
        size = (last < whole ? last + 1 : whole) - start;
    }
};

/* ---- what is answered ---- */

MHD_Result queue(MHD_Connection *connection, unsigned status, MHD_Response *response)
{
    if (!response) return MHD_NO; /* no memory: closes the connection */
    const MHD_Result result = MHD_queue_response(connection, status, response);
    MHD_destroy_response(response);
    return result;
}

void header(MHD_Response *response, const char *name, const char *value)
{
    if (response) (void)MHD_add_response_header(response, name, value);
}

/* A line of text that lives for ever. */
MHD_Response *text(const char *line)
{
    /* (which is not written: the library's own signature has no const) */
    MHD_Response *const response =
        MHD_create_response_from_buffer(std::strlen(line), const_cast<char *>(line), MHD_RESPMEM_PERSISTENT);
    header(response, MHD_HTTP_HEADER_CONTENT_TYPE, "text/plain");
    return response;
}

MHD_Result refuse(MHD_Connection *connection, const vfs::Failure &failure)
{
    switch (failure.code()) {
    case VFS_ERR_NOT_FOUND: return queue(connection, MHD_HTTP_NOT_FOUND, text("no blob has this key\n"));
    case VFS_ERR_KEY: return queue(connection, MHD_HTTP_BAD_REQUEST, text("this is not a key\n"));
    default:
        std::fprintf(stderr, "%s\n", failure.what());
        return queue(connection, MHD_HTTP_SERVICE_UNAVAILABLE, text("the store does not answer\n"));
    }
}

/* Where the path that was sent ends, before it is taken apart: the first *state of `answer`. */
void *path_end(void *, const char *path, MHD_Connection *) { return const_cast<char *>(path + std::strlen(path)); }

/* The path as it was sent: what is cut at a decoded NUL would be another key. */
std::size_t undecoded(void *, MHD_Connection *, char *text) { return std::strlen(text); }

MHD_Result answer(void *arg, MHD_Connection *connection, const char *url, const char *method, const char *version,
                  const char *, std::size_t *body, void **state)
{
    static int begun;
    const auto asked = [&](const char *name) { return MHD_lookup_connection_value(connection, MHD_HEADER_KIND, name); };
    const bool head = std::strcmp(method, MHD_HTTP_METHOD_HEAD) == 0;
    if (!head && std::strcmp(method, MHD_HTTP_METHOD_GET) != 0) {
        MHD_Response *const response = text("only GET and HEAD\n");
        header(response, MHD_HTTP_HEADER_ALLOW, "GET, HEAD");
        return queue(connection, MHD_HTTP_METHOD_NOT_ALLOWED, response);
    }
    if (*state != &begun) { /* an answer before the request is read to its end would close the connection */
        /* The version follows the path in one buffer. If not at once, a NUL that was sent as one cut the path. */
        const std::ptrdiff_t gap = version - static_cast<const char *>(*state);
        if (gap > 1 && gap < 0x10000) return queue(connection, MHD_HTTP_BAD_REQUEST, text("this is not a key\n"));
        *state = &begun;
        return MHD_YES;
    }
    if (*body) { /* is read and means nothing */
        *body = 0;
        return MHD_YES;
    }
    const Path path(url);
    if (!path.good) return queue(connection, MHD_HTTP_BAD_REQUEST, text("this is not a key\n"));
    auto mapped = static_cast<vfs::Store *>(arg)->try_map(std::string_view(path.key, path.size));
    if (!mapped) return refuse(connection, mapped.error());
    auto *view = new (std::nothrow) vfs::View(*std::move(mapped));
    if (!view) return MHD_NO;

    /* Same key and same id, same bytes. */
    char etag[24], range[80];
    std::snprintf(etag, sizeof etag, "\"%016" PRIx64 "\"", view->stat().id);
    const char *const known = asked(MHD_HTTP_HEADER_IF_NONE_MATCH), *const same = asked(MHD_HTTP_HEADER_IF_RANGE);
    const bool unchanged = known && (std::strstr(known, etag) || std::strcmp(known, "*") == 0);
    const bool ranges = !head && !unchanged && (!same || std::strcmp(same, etag) == 0);
    const Part part(ranges ? asked(MHD_HTTP_HEADER_RANGE) : nullptr, view->size());

    const auto give_back = [](void *done) { delete static_cast<vfs::View *>(done); };
    unsigned status = unchanged ? MHD_HTTP_NOT_MODIFIED : MHD_HTTP_OK; /* the former, like HEAD, without its bytes */
    MHD_Response *response;
    if (!part.satisfiable) {
        std::snprintf(range, sizeof range, "bytes */%zu", view->size());
        give_back(view);
        status = MHD_HTTP_RANGE_NOT_SATISFIABLE;
        response = text("the blob has no such part\n");
        header(response, MHD_HTTP_HEADER_CONTENT_RANGE, range);
    } else {
        auto *const bytes = const_cast<std::byte *>(view->data()); /* only read */
        response = MHD_create_response_from_buffer_with_free_callback_cls(
            static_cast<std::size_t>(part.size), bytes ? bytes + part.first : nullptr, give_back, view);
        if (!response) {
            give_back(view);
            return MHD_NO;
        }
        if (part.ranged) {
            const std::uint64_t last = part.first + part.size - 1;
            std::snprintf(range, sizeof range, "bytes %" PRIu64 "-%" PRIu64 "/%zu", part.first, last, view->size());
            status = MHD_HTTP_PARTIAL_CONTENT;
            header(response, MHD_HTTP_HEADER_CONTENT_RANGE, range);
        }
        header(response, MHD_HTTP_HEADER_CONTENT_TYPE, "application/octet-stream");
        header(response, "X-Content-Type-Options", "nosniff");
    }
    header(response, MHD_HTTP_HEADER_ETAG, etag);
    header(response, MHD_HTTP_HEADER_ACCEPT_RANGES, "bytes");
    header(response, MHD_HTTP_HEADER_CACHE_CONTROL, "no-cache"); /* ask again, with the ETag */
    return queue(connection, status, response);
}

} // namespace

int main(int argc, char **argv)
{
    std::uint64_t port = 0;
    if (argc < 2 || argc > 3 || *number(argv[1], port) || port > 65535) {
        std::fprintf(stderr, "usage: serve PORT [STORE]\n");
        return 2;
    }
    vfs::Options options;
    options.name = argc > 2 ? argv[2] : "";
    options.read_only = true;
    auto opened = vfs::Store::try_open(std::move(options));
    if (!opened) {
        std::fprintf(stderr, "%s\n", opened.error().what());
        return 1;
    }
    vfs::Store store = *std::move(opened);

    sigset_t ends;
    sigemptyset(&ends);
    sigaddset(&ends, SIGINT);
    sigaddset(&ends, SIGTERM);
    sigprocmask(SIG_BLOCK, &ends, nullptr); /* in the server's threads too: they inherit it */
    std::signal(SIGPIPE, SIG_IGN);

    sockaddr_in address{};
    address.sin_family = AF_INET;
    address.sin_port = htons(static_cast<std::uint16_t>(port));
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    const unsigned threads = std::thread::hardware_concurrency();
    MHD_Daemon *const server = MHD_start_daemon(
        MHD_USE_AUTO_INTERNAL_THREAD, 0, nullptr, nullptr, answer, &store, MHD_OPTION_SOCK_ADDR, &address,
        MHD_OPTION_THREAD_POOL_SIZE, threads < 2 ? 2u : threads, MHD_OPTION_CONNECTION_TIMEOUT, 30u,
        MHD_OPTION_UNESCAPE_CALLBACK, undecoded, nullptr, MHD_OPTION_URI_LOG_CALLBACK, path_end, nullptr,
        MHD_OPTION_END);
    if (!server) {
        std::perror("serve");
        return 1;
    }
    std::printf("http://127.0.0.1:%u/\n", MHD_get_daemon_info(server, MHD_DAEMON_INFO_BIND_PORT)->port);
    std::fflush(stdout);
    int signal;
    sigwait(&ends, &signal);
    MHD_stop_daemon(server);
    return 0;
}

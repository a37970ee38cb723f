// links: weir_http
/* tests/fuzz/fuzz_framing.c - any bytes as the head of a request, read by libmicrohttpd: where the
 * judge finds no fault, a reader that takes lines as they stand finds the same headers, and the
 * body begins at the same byte. */
#include <microhttpd.h>
#include <netinet/in.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "http/framing.h"

enum { HEAD_MAX = 16 << 10, TURNS_MAX = 64 };

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void require(bool fact)
{
    if (!fact)
        abort();
}

/* ---- the other reader ---- */

struct reader {
    const char *p, *end;
};

/* A line without its end, of which NULs may pass for a part; false: there is no whole one. */
static bool next_line(struct reader *r, struct str *line)
{
    const char *lf = r->p < r->end ? memchr(r->p, '\n', (size_t)(r->end - r->p)) : NULL;
    if (!lf)
        return false;
    *line = (struct str){r->p, (size_t)(lf - r->p)};
    while (line->len > 0 && (line->ptr[line->len - 1] == '\r' || line->ptr[line->len - 1] == '\0'))
        line->len--;
    r->p = lf + 1;
    return true;
}

/* Past blank lines; one that begins with NUL passes as such. */
static bool skip_to_first_line(struct reader *r, struct str *line)
{
    bool is_whole;
    while ((is_whole = next_line(r, line)) && (line->len == 0 || line->ptr[0] == '\0'))
        continue;
    return is_whole;
}

static struct str without_blanks(struct str s)
{
    while (s.len > 0 && (s.ptr[0] == ' ' || s.ptr[0] == '\t'))
        s = (struct str){s.ptr + 1, s.len - 1};
    while (s.len > 0 && (s.ptr[s.len - 1] == ' ' || s.ptr[s.len - 1] == '\t'))
        s.len--;
    return s;
}

/* Some readers take a CR for the end of a line. */
static bool has_no_cr(struct str line)
{
    return line.len == 0 || !memchr(line.ptr, '\r', line.len);
}

/* ---- what libmicrohttpd finds ---- */

struct found {
    struct framing framing;
    struct reader reader; /* of the bytes that were sent */
    const char *uri_at;
    size_t uri_len;
    char uri[HEAD_MAX]; /* before libmicrohttpd cuts it up */
    bool is_judged;
};

static enum MHD_Result judge_header(void *cls, enum MHD_ValueKind kind, const char *name,
                                    const char *value)
{
    struct found *f = cls;
    (void)kind;
    framing_see(&f->framing, str_from(name), str_from(value));
    return MHD_YES;
}

static enum MHD_Result compare_header(void *cls, enum MHD_ValueKind kind, const char *name,
                                      const char *value)
{
    struct found *f = cls;
    struct str line;
    (void)kind;
    require(next_line(&f->reader, &line) && has_no_cr(line));
    const char *colon = line.len > 0 ? memchr(line.ptr, ':', line.len) : NULL;
    require(colon != NULL);
    size_t name_len = (size_t)(colon - line.ptr);
    struct str read_value = without_blanks((struct str){colon + 1, line.len - name_len - 1});
    require(str_eq((struct str){line.ptr, name_len}, str_from(name)));
    require(str_eq(read_value, without_blanks(str_from(value))));
    return MHD_YES;
}

static size_t head_bytes_of(struct MHD_Connection *conn)
{
    const union MHD_ConnectionInfo *info =
        MHD_get_connection_info(conn, MHD_CONNECTION_INFO_REQUEST_HEADER_SIZE);
    require(info && info->header_size > 0);
    return info->header_size;
}

/* Blanks may stand in front of the URI, or at its end. */
static void compare_first_line(const struct found *f, struct str line, struct str method,
                               struct str version)
{
    struct str uri = {f->uri, f->uri_len};
    require(has_no_cr(line) && line.len > method.len + uri.len + version.len);
    size_t blanks = line.len - method.len - 1 - uri.len - version.len - 1;
    require(str_eq((struct str){line.ptr, method.len}, method));
    for (size_t i = 0; i <= blanks; i++)
        require(line.ptr[method.len + i] == ' ');
    require(str_eq((struct str){line.ptr + method.len + 1 + blanks, uri.len}, uri));
    require(line.ptr[line.len - version.len - 1] == ' ');
    require(str_eq((struct str){line.ptr + line.len - version.len, version.len}, version));
}

static void compare(struct found *f, struct MHD_Connection *conn, const char *method,
                    const char *version, size_t head_bytes)
{
    struct str line;
    require(skip_to_first_line(&f->reader, &line));
    const char *first = line.ptr;
    compare_first_line(f, line, str_from(method), str_from(version));
    MHD_get_connection_values(conn, MHD_HEADER_KIND, compare_header, f);
    require(next_line(&f->reader, &line));
    require(line.len == 0 || str_eq(line, STR(":"))); /* which may pass for a part of an end, too */
    require(f->reader.p == first + head_bytes);
}

static enum MHD_Result on_access(void *cls, struct MHD_Connection *conn, const char *url,
                                 const char *method, const char *version, const char *data,
                                 size_t *data_size, void **req_cls)
{
    struct found *f = *req_cls;
    (void)cls, (void)url, (void)data, (void)data_size;
    if (!f || f->is_judged)
        return MHD_NO;
    f->is_judged = true;
    size_t head_bytes = head_bytes_of(conn);
    framing_see_first_line(&f->framing, str_from(method), (struct str){f->uri_at, f->uri_len},
                           str_from(version), true);
    MHD_get_connection_values(conn, MHD_HEADER_KIND, judge_header, f);
    framing_end(&f->framing, method + head_bytes);
    if (!f->framing.fault)
        compare(f, conn, method, version, head_bytes);
    return MHD_NO; /* one head is enough */
}

static struct found *current; /* of the one connection */

static void *on_uri(void *cls, const char *uri, struct MHD_Connection *conn)
{
    (void)cls, (void)conn;
    current->uri_at = uri;
    current->uri_len = strlen(uri);
    require(current->uri_len < sizeof current->uri);
    memcpy(current->uri, uri, current->uri_len);
    return current;
}

static size_t leave_escapes(void *cls, struct MHD_Connection *conn, char *s)
{
    (void)cls, (void)conn;
    return strlen(s);
}

static struct MHD_Daemon *start(void)
{
    struct MHD_Daemon *d = MHD_start_daemon(
        MHD_USE_NO_LISTEN_SOCKET, 0, NULL, NULL, on_access, NULL, MHD_OPTION_URI_LOG_CALLBACK,
        on_uri, NULL, MHD_OPTION_UNESCAPE_CALLBACK, leave_escapes, NULL,
        MHD_OPTION_CONNECTION_MEMORY_LIMIT, (size_t)HEAD_MAX * 2, MHD_OPTION_END);
    require(d != NULL);
    return d;
}

static bool has_connection(struct MHD_Daemon *d)
{
    const union MHD_DaemonInfo *info = MHD_get_daemon_info(d, MHD_DAEMON_INFO_CURRENT_CONNECTIONS);
    require(info != NULL);
    return info->num_connections > 0;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static struct MHD_Daemon *daemon;
    if (!daemon)
        daemon = start();
    if (size > HEAD_MAX)
        return 0;
    struct found f = {.reader = {(const char *)data, (const char *)data + size}};
    struct sockaddr_in nowhere = {.sin_family = AF_INET};
    int ends[2];
    current = &f;
    require(socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0, ends) == 0);
    require(size == 0 || write(ends[0], data, size) == (ssize_t)size);
    require(shutdown(ends[0], SHUT_WR) == 0);
    require(MHD_add_connection(daemon, ends[1], (const struct sockaddr *)&nowhere,
                               sizeof nowhere) == MHD_YES);
    for (int turn = 0; turn == 0 || has_connection(daemon); turn++) {
        require(turn < TURNS_MAX);
        MHD_run_wait(daemon, 0);
    }
    close(ends[0]);
    return 0;
}

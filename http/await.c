/* http/await.c - what a client has to send: by when the next part of a request, and no more than
 * leaves memory for its reply. */
#include <string.h>

#include "base/clock.h"
#include "http/deadline.h"
#include "http/request.h"

/* Of the header memory: */
#define REPLY_BYTES 1024   /* for the reply's own headers */
#define ARGUMENT_SHARE 128 /* at most one argument */
#define RECORD_BYTES 64    /* what libmicrohttpd keeps of a header, an argument or a cookie */
#define BLANK_LINE_BYTES 2

/* Silence is libmicrohttpd's to notice; so what is late here has sent something. */
static void await_line(const struct http_server *s, struct connection *c, uint64_t written_bytes)
{
    c->written_bytes = written_bytes;
    deadline_set_silent(c->deadline, c->taken_bytes,
                        clock_mono_ms() + s->cfg.idle_timeout_s * UINT64_C(1000) +
                            s->cfg.request_timeout_ms);
}

void await_request(const struct http_server *s, struct connection *c)
{
    if (c && c->deadline)
        await_line(s, c, deadline_traffic(c->deadline).written);
}

/* Blank lines may stand in front of a head; libmicrohttpd begins to read each request of a
 * connection at the same place. */
static void take_blank_lines(struct connection *c, const char *head)
{
    if (!c->reads_at)
        c->reads_at = head;
    if (head >= c->reads_at) {
        c->taken_bytes += (size_t)(head - c->reads_at);
        return;
    }
    c->taken_bytes += (size_t)(c->reads_at - head); /* they were in front of the first one */
    c->reads_at = head;
}

/* What the chunks of a body had around them is not known: there nothing of the next request is
 * taken to have come.  Nor is a line's end behind a body, which some clients send. */
static void take_request(struct connection *c, const struct request *r, uint64_t received_bytes)
{
    if (r->server->heads_stand && r->head_bytes > 0)
        take_blank_lines(c, r->method.ptr);
    c->taken_bytes += r->head_bytes + r->declared_bytes;
    if (r->chunked || c->taken_bytes > received_bytes ||
        received_bytes - c->taken_bytes == BLANK_LINE_BYTES)
        c->taken_bytes = received_bytes;
}

void await_next_request(struct request *r)
{
    struct connection *c = r->connection;
    if (!c || !c->deadline)
        return;
    struct deadline_traffic traffic = deadline_traffic(c->deadline);
    take_request(c, r, traffic.received);
    await_line(r->server, c, traffic.written);
}

static struct deadline *deadline_of(const struct request *r)
{
    return r->connection ? r->connection->deadline : NULL;
}

void await_headers(const struct request *r)
{
    deadline_set_heard(deadline_of(r), clock_mono_ms() + r->server->cfg.request_timeout_ms);
}

/* Past libmicrohttpd, which may have no memory for a reply.  The client may be sending yet. */
static void refuse(struct request *r, int status, const char *reason, const char *message)
{
    if (!r->counted)
        request_enter(r);
    r->connection->lingers = true;
    deadline_refuse(deadline_of(r), status, reason, message);
}

static void refuse_head(struct request *r)
{
    if (r->uri_len > uri_max(r->server))
        refuse(r, 414, "URI Too Long", "the URL is too long (WEIR_HTTP_HEADER_MAX)");
    else
        refuse(r, 431, "Request Header Fields Too Large",
               "the headers are too large (WEIR_HTTP_HEADER_MAX)");
}

static bool has_room_for_reply(const struct request *r, size_t bytes)
{
    return bytes + r->record_bytes + REPLY_BYTES <= r->server->cfg.header_max_bytes;
}

/* libmicrohttpd keeps a record of each argument in the memory that the headers need, and cannot say
 * so when it is full. */
void await_arguments(struct request *r, const char *uri)
{
    const size_t most = r->server->cfg.header_max_bytes / ARGUMENT_SHARE;
    size_t count = 0;
    for (const char *p = strchr(uri, '?'); p; p = strchr(p + 1, '&'))
        count++;
    r->record_bytes += count * RECORD_BYTES;
    if (!deadline_of(r))
        return;
    if (count > most)
        refuse(r, 414, "URI Too Long",
               "the URL has too many arguments (WEIR_HTTP_HEADER_MAX / 128)");
    else if (!has_room_for_reply(r, r->uri_len))
        refuse_head(r);
}

/* Cookies are copied, and have a record each, whether wanted or not. */
static size_t cookie_bytes(struct str cookies)
{
    size_t records = 1;
    for (size_t i = 0; i < cookies.len; i++)
        records += cookies.ptr[i] == ';' || cookies.ptr[i] == ',';
    return cookies.len + records * RECORD_BYTES;
}

void await_header(struct request *r, struct str name, struct str value)
{
    r->record_bytes += RECORD_BYTES;
    if (str_eq_nocase(name, STR("Cookie")))
        r->record_bytes += cookie_bytes(value);
}

/* Else the request would be run, and its reply have no memory to be made in. */
bool await_room_for_reply(struct request *r)
{
    if (!deadline_of(r) || has_room_for_reply(r, r->head_bytes))
        return true;
    refuse_head(r);
    return false;
}

/* A reply of libmicrohttpd's would need memory, which a long line that it has copied may have taken
 * (a folded one).  Other faults are told when the request is admitted. */
bool await_whole_lines(struct request *r)
{
    const struct framing *f = &r->framing;
    if (!deadline_of(r) || !f->is_torn)
        return true;
    refuse(r, f->status, f->status == 501 ? "Not Implemented" : "Bad Request", f->fault);
    return false;
}

/* Where a head fills libmicrohttpd's memory, it may have none to say so, and ends the connection
 * without a word. */
void await_no_answer(struct request *r)
{
    const struct deadline *d = deadline_of(r);
    if (d && r->phase == PHASE_HEADERS && atomic_load(&d->refused_status) == 0 &&
        deadline_traffic(d).written == r->connection->written_bytes)
        refuse_head(r);
}

/* What has come buys time for the rest. */
void await_body(const struct request *r)
{
    const struct http_config *cfg = &r->server->cfg;
    uint64_t earned_ms = r->body_bytes * 1000 / cfg->body_rate_min_bytes;
    deadline_set(deadline_of(r), r->body_from_ms + cfg->request_timeout_ms + earned_ms);
}

bool await_met(const struct request *r)
{
    return deadline_met(deadline_of(r));
}

int await_refused(const struct request *r)
{
    const struct deadline *d = deadline_of(r);
    return d ? atomic_load(&d->refused_status) : 0;
}

/* http/reply.c - replies in the forms that OpenObserve's clients know. */
#include "http/reply.h"

#include <assert.h>
#include <stdio.h>

#include "base/json.h"

static const char TYPE_JSON[] = "application/json";
static const char TYPE_TEXT[] = "text/plain; charset=utf-8";
static const unsigned RETRY_AFTER_S = 1;

void reply_init(struct reply *r)
{
    *r = (struct reply){.status = 200};
    buf_init(&r->body, REPLY_BODY_MAX);
}

void reply_done(struct reply *r)
{
    buf_done(&r->body);
}

void reply_clear(struct reply *r)
{
    struct buf kept = r->body;
    buf_clear(&kept);
    *r = (struct reply){.status = 200, .body = kept};
}

void reply_header(struct reply *r, const char *name, const char *fmt, ...)
{
    va_list args;
    assert(r->header_count < REPLY_HEADERS_MAX);
    struct reply_header *h = &r->headers[r->header_count++];
    h->name = name;
    va_start(args, fmt);
    vsnprintf(h->value, sizeof h->value, fmt, args);
    va_end(args);
}

void reply_json(struct reply *r, int status)
{
    reply_clear(r);
    r->status = status;
    r->content_type = TYPE_JSON;
}

void reply_text(struct reply *r, int status, const char *text)
{
    reply_clear(r);
    r->status = status;
    r->content_type = TYPE_TEXT;
    buf_add_cstr(&r->body, text);
}

void reply_envelope(struct reply *r, int status, const char *message)
{
    reply_json(r, status);
    struct json_writer w = {.out = &r->body};
    jw_object(&w);
    jw_ki64(&w, "code", status);
    jw_kcstr(&w, "message", message);
    jw_end(&w);
}

/* The reference says so before any of its handlers runs, and then has no envelope. */
static bool is_about_form(enum err_code code)
{
    return code == ERR_NOTJSON || code == ERR_SHAPE || code == ERR_UNSUPPORTED;
}

void reply_error(struct reply *r, const struct err *e)
{
    int status = err_http_status(e->code);
    if (e->code == ERR_UNAUTHORIZED) {
        reply_text(r, status, "Unauthorized Access");
        reply_header(r, "WWW-Authenticate", "Basic realm=\"weir\"");
        return;
    }
    if (is_about_form(e->code)) {
        reply_text(r, status, e->msg);
        return;
    }
    reply_envelope(r, status, e->msg);
    if (status == 503)
        reply_header(r, "Retry-After", "%u", RETRY_AFTER_S);
}

/* http/api_stream_delete.c - deletes a stream: the mark first, then what the fs process has.
 *
 * Once the mark is durable the stream is gone for good, whatever happens to the rest: the fs
 * process drops what it has now, or when it starts again.  Its name can be used at once. */
#include "base/clock.h"
#include "base/json.h"
#include "fs/control/control.h"
#include "http/api.h"
#include "http/api_stream.h"
#include "http/reply.h"

#define DROP_TIMEOUT_MS 60000u
#define REQUEST_BYTES_MAX 16384u

static enum err_code drop(struct http_call *c, const struct catalog_stream *s, struct err *e)
{
    struct buf request;
    struct json *reply;
    buf_init(&request, REQUEST_BYTES_MAX);
    struct json_writer w = {.out = &request};
    jw_object(&w);
    jw_ku64(&w, "stream", s->number);
    jw_kstr(&w, "org", s->org);
    jw_kcstr(&w, "type", stream_type_name(s->type));
    jw_kstr(&w, "name", s->name);
    jw_end(&w);
    enum err_code rc = buf_ok(&request)
                           ? control_call(c->cfg->control, CONTROL_DROP, buf_str(&request),
                                          clock_mono_ms() + DROP_TIMEOUT_MS, c->arena, &reply, e)
                           : err_set(e, ERR_TOOBIG, "the stream's name is too long");
    buf_done(&request);
    return rc;
}

enum err_code api_stream_delete(struct http_call *c, struct err *e)
{
    const struct catalog_stream *s;
    enum err_code rc = call_stream(c, &s, e);
    if (rc != ERR_OK)
        return rc;
    rc = catalog_delete(c->cfg->catalog, s, e);
    if (rc == ERR_OK)
        rc = drop(c, s, e);
    else if (rc == ERR_NOTFOUND)
        err_set(e, ERR_NOTFOUND, "stream not found");
    catalog_unref(s);
    if (rc == ERR_OK)
        reply_envelope(c->reply, 200, "stream deleted");
    else if (rc != ERR_NOTFOUND) {
        err_wrap(e, "the stream is deleted, its files go with the next start");
        rc = e->code = ERR_AGAIN;
    }
    return rc;
}

/* http/api_stream_delete.c - deletes a stream: the mark first, then what the fs process has.
 *
 * Once the mark is durable the stream is gone for good, whatever happens to the rest: the fs
 * process drops what it has now, or when it or the gateway starts again, or when a seal meets it.
 * Its name can be used at once. */
#include "base/clock.h"
#include "fs/control/control.h"
#include "http/api.h"
#include "http/api_stream.h"
#include "http/reply.h"

#define DROP_TIMEOUT_MS 60000u

static enum err_code drop(struct http_call *c, const struct catalog_stream *s, struct err *e)
{
    const struct deleted_stream deleted = {
        .number = s->number, .org = s->org, .name = s->name, .type = s->type};
    return control_drop(c->cfg->control, &deleted, clock_mono_ms() + DROP_TIMEOUT_MS, e);
}

enum err_code api_stream_delete(struct http_call *c, struct err *e)
{
    const struct catalog_stream *s;
    enum err_code rc = call_stream(c, &s, e);
    if (rc != ERR_OK)
        return rc;
    rc = catalog_delete(c->cfg->catalog, s, e);
    bool is_deleted = rc == ERR_OK;
    if (is_deleted)
        rc = drop(c, s, e);
    catalog_unref(s);
    if (rc == ERR_OK) {
        reply_envelope(c->reply, 200, "stream deleted");
    } else if (is_deleted) {
        err_wrap(e, "the stream is deleted, its files go with their seals or the next start");
        rc = e->code = ERR_AGAIN;
    } else if (rc == ERR_NOTFOUND) {
        err_set(e, ERR_NOTFOUND, "stream not found");
    }
    return rc;
}

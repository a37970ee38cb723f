/* tools/http_client.c - one HTTP request through libcurl. */
#include "tools/http_client.h"

#include <curl/curl.h>
#include <stdio.h>

struct transfer {
    const struct http_request *request;
    struct buf *body;
};

static size_t on_data(char *data, size_t size, size_t count, void *ctx)
{
    struct transfer *t = ctx;

    buf_add(t->body, data, size * count);
    return buf_ok(t->body) ? size * count : 0;
}

static int on_progress(void *ctx, curl_off_t total, curl_off_t received, curl_off_t to_send,
                       curl_off_t sent)
{
    const struct transfer *t = ctx;

    (void)total;
    (void)to_send;
    (void)sent;
    if (t->request->progress)
        t->request->progress(t->request->progress_ctx, (uint64_t)received);
    return 0;
}

static void set_options(CURL *h, struct transfer *t, struct curl_slist *headers)
{
    const struct http_request *r = t->request;

    curl_easy_setopt(h, CURLOPT_URL, r->url);
    curl_easy_setopt(h, CURLOPT_CUSTOMREQUEST, r->method);
    curl_easy_setopt(h, CURLOPT_NOSIGNAL, 1L);
    curl_easy_setopt(h, CURLOPT_TIMEOUT, r->timeout_s);
    curl_easy_setopt(h, CURLOPT_WRITEFUNCTION, on_data);
    curl_easy_setopt(h, CURLOPT_WRITEDATA, t);
    curl_easy_setopt(h, CURLOPT_XFERINFOFUNCTION, on_progress);
    curl_easy_setopt(h, CURLOPT_XFERINFODATA, t);
    curl_easy_setopt(h, CURLOPT_NOPROGRESS, 0L);
    curl_easy_setopt(h, CURLOPT_HTTPHEADER, headers);
    if (r->user) {
        curl_easy_setopt(h, CURLOPT_HTTPAUTH, CURLAUTH_BASIC);
        curl_easy_setopt(h, CURLOPT_USERNAME, r->user);
        curl_easy_setopt(h, CURLOPT_PASSWORD, r->password ? r->password : "");
    }
    if (r->body.len) {
        curl_easy_setopt(h, CURLOPT_POSTFIELDS, r->body.ptr);
        curl_easy_setopt(h, CURLOPT_POSTFIELDSIZE_LARGE, (curl_off_t)r->body.len);
    }
}

static enum err_code curl_error(CURLcode rc, const struct http_request *r, const struct buf *body,
                                struct err *e)
{
    if (!buf_ok(body))
        return err_set(e, ERR_TOOBIG, "%s: the reply is larger than %zu bytes", r->url, body->max);
    if (rc == CURLE_COULDNT_CONNECT || rc == CURLE_COULDNT_RESOLVE_HOST)
        return err_set(e, ERR_GONE, "%s: %s", r->url, curl_easy_strerror(rc));
    if (rc == CURLE_OPERATION_TIMEDOUT)
        return err_set(e, ERR_TIMEOUT, "%s: no whole answer in %ld s", r->url, r->timeout_s);
    return err_set(e, ERR_IO, "%s: %s", r->url, curl_easy_strerror(rc));
}

enum err_code http_request(const struct http_request *r, long *status, struct buf *body,
                           struct err *e)
{
    struct transfer t = {.request = r, .body = body};
    struct curl_slist *headers = NULL;
    CURL *h = curl_easy_init();
    char type[200];
    CURLcode rc;

    if (!h)
        return err_set(e, ERR_NOMEM, "%s: libcurl", r->url);
    if (r->content_type) {
        snprintf(type, sizeof type, "Content-Type: %s", r->content_type);
        headers = curl_slist_append(headers, type);
    }
    set_options(h, &t, headers);
    rc = curl_easy_perform(h);
    if (rc == CURLE_OK)
        curl_easy_getinfo(h, CURLINFO_RESPONSE_CODE, status);
    curl_slist_free_all(headers);
    curl_easy_cleanup(h);
    return rc == CURLE_OK ? ERR_OK : curl_error(rc, r, body, e);
}

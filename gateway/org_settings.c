/* gateway/org_settings.c - the settings of organisations. */
#include "gateway/org_settings.h"

#include "base/cleanup.h"

#define TEXT_MAX (1u << 20)

static const char DEFAULTS[] =
    "{\"scrape_interval\":15,\"trace_id_field_name\":\"trace_id\",\"span_id_field_name\":"
    "\"span_id\",\"toggle_ingestion_logs\":false,\"streaming_aggregation_enabled\":false,"
    "\"enable_streaming_search\":false,\"min_auto_refresh_interval\":5}";

static struct str key_of(struct arena *a, struct str org)
{
    char *key = arena_printf(a, "org_settings/" STR_FMT, STR_ARG(org));
    return key ? str_from(key) : STR("");
}

enum err_code org_settings_get(struct meta *m, struct str org, struct arena *a, struct json **out,
                               struct err *e)
{
    struct str key = key_of(a, org), stored;
    if (!key.len)
        return err_set(e, ERR_NOMEM, "no memory for the settings of an organisation");
    enum err_code rc = meta_value_get(m, key, a, &stored, e);
    if (rc == ERR_NOTFOUND) {
        stored = (struct str){DEFAULTS, sizeof DEFAULTS - 1};
        rc = ERR_OK;
    }
    return rc == ERR_OK ? json_parse(stored, a, out, e) : rc;
}

static enum err_code put(struct meta *m, struct str org, const struct json *settings,
                         struct arena *a, struct err *e)
{
    struct buf text;
    buf_init(&text, TEXT_MAX);
    json_write(&text, settings);
    enum err_code rc = buf_ok(&text) && !a->failed
                           ? meta_value_put(m, key_of(a, org), buf_str(&text), e)
                           : err_set(e, ERR_TOOBIG, "settings of more than %u bytes", TEXT_MAX);
    buf_done(&text);
    return rc;
}

enum err_code org_settings_change(struct meta *m, struct str org, const struct json *change,
                                  struct arena *a, struct err *e)
{
    struct json *settings;
    bool any = false;
    enum err_code rc = org_settings_get(m, org, a, &settings, e);
    if (rc != ERR_OK)
        return rc;
    for (const struct json *v = change && change->type == JSON_OBJECT ? change->first : NULL; v;
         v = v->next) {
        const struct json *old = NULL;
        for (const struct json *s = settings->first; s && !old; s = s->next)
            old = str_eq(s->key, v->key) ? s : NULL;
        if (!old || v->type == JSON_NULL)
            continue;
        if (v->type != old->type)
            return err_set(e, ERR_INVALID, STR_FMT " is of another type", STR_ARG(v->key));
        json_set(a, settings, v->key, json_clone(a, v));
        any = true;
    }
    return any ? put(m, org, settings, a, e) : err_set(e, ERR_INVALID, "No valid field found");
}

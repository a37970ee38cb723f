/* http/api_system.c - what is not data: health, metrics, the page's bootstrap, login, the node. */
#include "base/cleanup.h"
#include "base/clock.h"
#include "base/json.h"
#include "base/metrics.h"
#include "fs/control/control.h"
#include "gateway/seal.h"
#include "http/api.h"
#include "http/health.h"
#include "http/reply.h"

#define STATUS_TIMEOUT_MS 2000u
#define FLUSH_TIMEOUT_MS 600000u

enum err_code api_healthz(struct http_call *c, struct err *e)
{
    enum err_code rc = health_check(c->health, e);
    reply_json(c->reply, rc == ERR_OK ? 200 : err_http_status(rc));
    struct json_writer w = {.out = &c->reply->body};
    jw_object(&w);
    jw_kcstr(&w, "status", rc == ERR_OK ? "ok" : "unhealthy");
    if (rc != ERR_OK)
        jw_kcstr(&w, "detail", e->msg);
    jw_end(&w);
    if (rc != ERR_OK)
        reply_header(c->reply, "Retry-After", "1");
    return ERR_OK;
}

enum err_code api_metrics(struct http_call *c, struct err *e)
{
    (void)e;
    c->reply->content_type = "text/plain; version=0.0.4; charset=utf-8";
    metrics_print(&c->reply->body);
    return ERR_OK;
}

static void write_functions(struct json_writer *w)
{
    static const struct {
        const char *name, *text;
    } functions[] = {
        {"match_all", "match_all('v')"},
        {"str_match", "str_match(field, 'v')"},
        {"str_match_ignore_case", "str_match_ignore_case(field, 'v')"},
        {"match_field", "match_field(field, 'v')"},
        {"match_field_ignore_case", "match_field_ignore_case(field, 'v')"},
        {"re_match", "re_match(field, 'pattern')"},
        {"re_not_match", "re_not_match(field, 'pattern')"},
    };
    jw_key(w, STR("default_functions"));
    jw_array(w);
    for (size_t i = 0; i < ARRAY_LEN(functions); i++) {
        jw_object(w);
        jw_kcstr(w, "name", functions[i].name);
        jw_kcstr(w, "text", functions[i].text);
        jw_end(w);
    }
    jw_end(w);
}

static void write_names(struct json_writer *w, const char *key, const char *const *names)
{
    jw_key(w, str_from(key));
    jw_array(w);
    for (; *names; names++)
        jw_cstr(w, *names);
    jw_end(w);
}

/* Everything that the page switches on or off, and nothing that this node does not have. */
static void write_switches(struct json_writer *w)
{
    static const char *const on[] = {"native_login_enabled", "histogram_enabled",
                                     "query_on_stream_selection", "show_stream_stats_doc_num"};
    static const char *const off[] = {"telemetry_enabled",
                                      "functions_enabled",
                                      "lua_fn_enabled",
                                      "syslog_enabled",
                                      "sql_base64_enabled",
                                      "restricted_routes_on_empty_data",
                                      "sso_enabled",
                                      "service_account_enabled",
                                      "rbac_enabled",
                                      "super_cluster_enabled",
                                      "custom_hide_self_logo",
                                      "quick_mode_enabled",
                                      "usage_enabled",
                                      "user_defined_schemas_enabled",
                                      "actions_enabled",
                                      "streaming_enabled",
                                      "ai_enabled",
                                      "dashboard_show_symbol_enabled"};
    for (size_t i = 0; i < ARRAY_LEN(on); i++)
        jw_kbool(w, on[i], true);
    for (size_t i = 0; i < ARRAY_LEN(off); i++)
        jw_kbool(w, off[i], false);
}

static void write_texts(struct json_writer *w)
{
    static const char *const empty[] = {"custom_logo_text",  "custom_slack_url", "custom_docs_url",
                                        "custom_hide_menus", "ingestion_url",    "web_url"};
    for (size_t i = 0; i < ARRAY_LEN(empty); i++)
        jw_kcstr(w, empty[i], "");
    jw_kcstr(w, "timestamp_column", "_timestamp");
    jw_kcstr(w, "meta_org", "_meta");
    jw_kcstr(w, "all_fields_name", "_all");
    jw_kcstr(w, "dashboard_placeholder", "_o2_all_");
    jw_kcstr(w, "log_page_default_field_list", "uds");
}

static void write_numbers(struct json_writer *w)
{
    static const struct {
        const char *name;
        int64_t value;
    } numbers[] = {
        {"data_retention_days", 3650},
        {"extended_data_retention_days", 3650},
        {"user_defined_schema_max_fields", 1000},
        {"usage_publish_interval", 60},
        {"min_auto_refresh_interval", 5},
        {"query_default_limit", 1000},
        {"max_dashboard_series", 100},
        {"max_query_range", 0},
        {"ingest_flatten_level", 3},
        {"query_values_default_num", 10},
    };
    for (size_t i = 0; i < ARRAY_LEN(numbers); i++)
        jw_ki64(w, numbers[i].name, numbers[i].value);
}

static void write_rum(struct json_writer *w)
{
    static const char *const texts[] = {
        "client_token", "application_id",          "site",       "service", "env",
        "version",      "organization_identifier", "api_version"};
    jw_key(w, STR("rum"));
    jw_object(w);
    jw_kbool(w, "enabled", false);
    for (size_t i = 0; i < ARRAY_LEN(texts); i++)
        jw_kcstr(w, texts[i], "");
    jw_kbool(w, "insecure_http", false);
    jw_end(w);
}

enum err_code api_config(struct http_call *c, struct err *e)
{
    static const char *const fts_keys[] = {"body", "content", "data",    "error", "errors",
                                           "json", "log",     "message", "msg",   NULL};
    static const char *const none[] = {NULL};
    (void)e;
    reply_json(c->reply, 200);
    struct json_writer w = {.out = &c->reply->body};
    jw_object(&w);
    jw_kcstr(&w, "version", c->cfg->version);
    jw_kcstr(&w, "instance", c->cfg->instance_id);
    jw_kcstr(&w, "commit_hash", "");
    jw_kcstr(&w, "build_date", "");
    jw_kcstr(&w, "build_type", "weir");
    write_names(&w, "default_fts_keys", fts_keys);
    write_names(&w, "default_secondary_index_fields", none);
    write_names(&w, "default_quick_mode_fields", none);
    write_functions(&w);
    write_switches(&w);
    write_texts(&w);
    write_numbers(&w);
    write_rum(&w);
    jw_end(&w);
    return ERR_OK;
}

static enum err_code login_string(const struct json *form, const char *name, struct str *out,
                                  struct err *e)
{
    const struct json *v = json_get(form, name);
    *out = json_str(v, STR(""));
    if (v && v->type == JSON_STRING)
        return ERR_OK;
    return err_set(e, ERR_SHAPE,
                   "Failed to deserialize the JSON body into the target type: %s `%s`",
                   v ? "expected a string in" : "missing field", name);
}

/* {"status":true,"message":""} or 401 {"status":false,"message":"Invalid credentials"} */
enum err_code api_login(struct http_call *c, struct err *e)
{
    struct json *form;
    struct str name, password;
    struct err why;
    enum err_code rc = json_parse(c->body, c->arena, &form, &why);
    if (rc != ERR_OK)
        return err_set(e, rc == ERR_INVALID ? ERR_NOTJSON : rc,
                       "Failed to parse the request body as JSON: %s", why.msg);
    rc = login_string(form, "name", &name, e);
    if (rc == ERR_OK)
        rc = login_string(form, "password", &password, e);
    if (rc != ERR_OK)
        return rc;
    rc = auth_check_password(c->cfg->auth, name, password, &c->user, e);
    if (rc != ERR_OK && rc != ERR_UNAUTHORIZED)
        return rc;
    reply_json(c->reply, rc == ERR_OK ? 200 : 401);
    struct json_writer w = {.out = &c->reply->body};
    jw_object(&w);
    jw_kbool(&w, "status", rc == ERR_OK);
    jw_kcstr(&w, "message", rc == ERR_OK ? "" : "Invalid credentials");
    jw_end(&w);
    return ERR_OK;
}

enum err_code api_page_absent(struct http_call *c, struct err *e)
{
    (void)c;
    return err_set(e, ERR_NOTFOUND,
                   "this build has no web page: it comes with the UI; the API is below /api/");
}

enum err_code api_node_status(struct http_call *c, struct err *e)
{
    struct json *stats;
    enum err_code rc = control_call(c->cfg->control, CONTROL_STATS, STR("{}"),
                                    clock_mono_ms() + STATUS_TIMEOUT_MS, c->arena, &stats, e);
    if (rc != ERR_OK)
        return err_wrap(e, "fs process");
    reply_json(c->reply, 200);
    struct json_writer w = {.out = &c->reply->body};
    jw_object(&w);
    jw_kcstr(&w, "node", c->cfg->node_name);
    jw_kcstr(&w, "version", c->cfg->version);
    jw_kcstr(&w, "instance", c->cfg->instance_id);
    jw_key(&w, STR("fs"));
    jw_value(&w, stats);
    jw_end(&w);
    return ERR_OK;
}

/* 200 when all that was acknowledged before is sealed; else the reason. */
enum err_code api_node_flush(struct http_call *c, struct err *e)
{
    enum err_code rc =
        seal_flush(c->cfg->sealer, clock_mono_ms() + FLUSH_TIMEOUT_MS, call_client_gone, c, e);
    if (rc != ERR_OK) {
        err_wrap(e, "flush");
        return e->code = ERR_AGAIN;
    }
    reply_json(c->reply, 200);
    buf_add_cstr(&c->reply->body, "true");
    return ERR_OK;
}

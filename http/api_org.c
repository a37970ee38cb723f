/* http/api_org.c - an organisation's settings, and what there is of clusters with one node. */
#include <stdio.h>
#include <unistd.h>

#include "base/json.h"
#include "gateway/org_settings.h"
#include "http/api.h"
#include "http/reply.h"

enum err_code api_org_settings(struct http_call *c, struct err *e)
{
    struct json *settings;
    enum err_code rc = org_settings_get(c->cfg->meta, c->org, c->arena, &settings, e);
    if (rc != ERR_OK)
        return rc;
    reply_json(c->reply, 200);
    struct json_writer w = {.out = &c->reply->body};
    jw_object(&w);
    jw_key(&w, STR("data"));
    jw_value(&w, settings);
    jw_end(&w);
    return ERR_OK;
}

enum err_code api_org_settings_change(struct http_call *c, struct err *e)
{
    struct json *change;
    enum err_code rc = json_parse(c->body, c->arena, &change, e);
    if (rc == ERR_OK)
        rc = org_settings_change(c->cfg->meta, c->org, change, c->arena, e);
    if (rc != ERR_OK)
        return rc;
    reply_json(c->reply, 200);
    buf_add_cstr(&c->reply->body, "{\"successful\":\"true\"}");
    return ERR_OK;
}

/* Settings of the newer kind, and clusters beside this one: there are none. */
enum err_code api_empty_object(struct http_call *c, struct err *e)
{
    (void)e;
    reply_json(c->reply, 200);
    buf_add_cstr(&c->reply->body, "{}");
    return ERR_OK;
}

/* Cookies are not used, so there is nothing to end. */
enum err_code api_logout(struct http_call *c, struct err *e)
{
    (void)e;
    reply_text(c->reply, 200, "");
    return ERR_OK;
}

enum err_code api_node_list(struct http_call *c, struct err *e)
{
    char address[300];
    (void)e;
    snprintf(address, sizeof address, "http://%s:%u",
             c->cfg->address[0] ? c->cfg->address : c->cfg->node_name, c->cfg->port);
    reply_json(c->reply, 200);
    struct json_writer w = {.out = &c->reply->body};
    jw_array(&w);
    jw_object(&w);
    jw_ki64(&w, "id", 1);
    jw_kcstr(&w, "uuid", c->cfg->instance_id);
    jw_kcstr(&w, "name", c->cfg->node_name);
    jw_kcstr(&w, "http_addr", address);
    jw_key(&w, STR("role"));
    jw_raw(&w, STR("[\"All\"]"));
    jw_kcstr(&w, "role_group", "None");
    jw_ki64(&w, "cpu_num", sysconf(_SC_NPROCESSORS_ONLN));
    jw_kbool(&w, "scheduled", true);
    jw_kbool(&w, "broadcasted", false);
    jw_kcstr(&w, "status", "Online");
    jw_kcstr(&w, "version", c->cfg->version);
    jw_end(&w);
    jw_end(&w);
    return ERR_OK;
}

/* http/api.h - the handlers that the route table names (call.h says what a handler is). */
#ifndef WEIR_HTTP_API_H
#define WEIR_HTTP_API_H

#include "http/call.h"

enum err_code api_ingest_json(struct http_call *c, struct err *e);
enum err_code api_ingest_multi(struct http_call *c, struct err *e);
enum err_code api_ingest_metrics_json(struct http_call *c, struct err *e);
enum err_code api_search(struct http_call *c, struct err *e);
enum err_code api_search_partition(struct http_call *c, struct err *e);
enum err_code api_values(struct http_call *c, struct err *e);
enum err_code api_around(struct http_call *c, struct err *e);

enum err_code api_healthz(struct http_call *c, struct err *e);
enum err_code api_metrics(struct http_call *c, struct err *e);
enum err_code api_config(struct http_call *c, struct err *e);
enum err_code api_login(struct http_call *c, struct err *e);
enum err_code api_page_absent(struct http_call *c, struct err *e);
enum err_code api_node_status(struct http_call *c, struct err *e);
enum err_code api_node_flush(struct http_call *c, struct err *e);

enum err_code api_organizations(struct http_call *c, struct err *e);
enum err_code api_summary(struct http_call *c, struct err *e);
enum err_code api_org_settings(struct http_call *c, struct err *e);
enum err_code api_org_settings_change(struct http_call *c, struct err *e);
enum err_code api_empty_object(struct http_call *c, struct err *e);
enum err_code api_logout(struct http_call *c, struct err *e);
enum err_code api_node_list(struct http_call *c, struct err *e);
enum err_code api_streams(struct http_call *c, struct err *e);
enum err_code api_stream_schema(struct http_call *c, struct err *e);
enum err_code api_stream_create(struct http_call *c, struct err *e);
enum err_code api_stream_delete(struct http_call *c, struct err *e);
enum err_code api_stream_settings(struct http_call *c, struct err *e);     /* a change */
enum err_code api_stream_settings_all(struct http_call *c, struct err *e); /* the older form */

#endif

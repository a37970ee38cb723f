/* gateway/gate_streams.c - turns the name of a table into a stream of the caller's organisation.
 *
 * A name may carry one qualifier, the stream's type: logs, metrics, traces, enrich or
 * enrichment_tables.  Any other, and any catalogue, is an unknown stream: another organisation
 * cannot be named.  The table becomes weir_t<i>, one number for each different stream, and keeps
 * the written name as its alias, so that qualified columns still find it.
 */
#include "base/cleanup.h"
#include "gateway/gate_internal.h"

#include <stdio.h>

static bool type_of_qualifier(struct str s, enum stream_type *out)
{
    static const struct {
        const char *word;
        enum stream_type type;
    } words[] = {
        {"logs", STREAM_LOGS},
        {"metrics", STREAM_METRICS},
        {"traces", STREAM_TRACES},
        {"enrich", STREAM_ENRICHMENT},
        {"enrichment_tables", STREAM_ENRICHMENT},
    };
    for (size_t i = 0; i < ARRAY_LEN(words); i++)
        if (str_eq_nocase(s, str_from(words[i].word))) {
            *out = words[i].type;
            return true;
        }
    return false;
}

static enum err_code not_found(struct gate *g, struct str qualifier, struct str name)
{
    return search_error(g->e, API_STREAM_NOT_FOUND, "Search stream not found: %.*s%s%.*s",
                        STR_ARG(qualifier), qualifier.len ? "." : "", STR_ARG(name));
}

/* The row of the stream, an old one or a new one. */
static enum err_code table_row(struct gate *g, const struct catalog_stream *s,
                               const struct gate_table **row)
{
    struct gate_result *out = g->out;
    for (size_t i = 0; i < out->table_count; i++)
        if (out->tables[i].stream->number == s->number) {
            *row = &out->tables[i];
            return ERR_OK;
        }
    if (out->table_count == GATE_TABLES_MAX)
        return search_error(g->e, API_SQL_NOT_VALID,
                            "Search SQL not valid: more than %d different streams",
                            GATE_TABLES_MAX);
    struct gate_table *t = &out->tables[out->table_count];
    const struct catalog_stream *in_tree;
    enum err_code rc = gate_stream_in_tree(g, s, &in_tree);
    if (rc)
        return rc;
    *t = (struct gate_table){.stream = s, .in_tree = in_tree};
    snprintf(t->name, sizeof t->name, "weir_t%zu", out->table_count++);
    *row = t;
    return ERR_OK;
}

enum err_code gate_resolve_stream(struct gate *g, struct json *table, struct gate_source *source)
{
    struct str catalog = json_str(json_get(table, "catalog_name"), STR(""));
    struct str qualifier = json_str(json_get(table, "schema_name"), STR(""));
    struct str alias_name = json_str(json_get(table, "table_name"), STR(""));
    struct str name = gate_written(&g->out->names, alias_name);
    enum stream_type type = g->o->type;
    if (catalog.len || (qualifier.len && !type_of_qualifier(qualifier, &type)))
        return not_found(g, qualifier, name);
    const struct catalog_stream *s = NULL;
    enum err_code rc = g->o->find(g->o->find_ctx, type, name, &s, g->e);
    if (rc == ERR_NOTFOUND || rc == ERR_INVALID)
        return not_found(g, qualifier, name);
    if (rc)
        return rc;
    const struct gate_table *row = NULL;
    rc = table_row(g, s, &row);
    if (rc)
        return rc;
    struct json *alias = json_get(table, "alias");
    if (!alias->text.len)
        alias->text = alias_name;
    json_get(table, "table_name")->text = str_from(row->name);
    json_get(table, "schema_name")->text = STR("");
    *source =
        (struct gate_source){.alias = alias->text, .qualifier = qualifier, .stream = row->in_tree};
    return ERR_OK;
}

/* gateway/query_errors.c - says the engine's errors in the words of the reference (§2.5). */
#include <stdio.h>

#include "base/cleanup.h"
#include "gateway/query_service.h"

static const struct {
    enum api_code code;
    const char *words;
} phrases[] = {
    {API_SQL_NOT_VALID, "Search SQL not valid"},
    {API_STREAM_NOT_FOUND, "Search stream not found"},
    {API_FTS_FIELD_NOT_FOUND, "Full text search field not found"},
    {API_FIELD_NOT_FOUND, "Search field not found"},
    {API_FUNCTION_NOT_DEFINED, "Search function not defined"},
    {API_TYPE_NOT_COMPATIBLE, "Search field has no compatible data type"},
    {API_SQL_EXECUTE, "Search SQL execute error"},
    {API_CANCELLED, "Search query was cancelled"},
    {API_TIMEOUT, "Search query timed out"},
    {API_INVALID_PARAMS, "Invalid parameters"},
    {API_NO_HISTOGRAM, "Search histogram not available"},
};

/* What the engine calls things -> what the caller calls them. */
static const struct {
    const char *engine, *caller;
} renamings[] = {
    {"weir_histogram", "histogram"},
    {"weir_match_words", "match_all"},
    {"weir_match_word_re", "match_all"},
};

static void replace_all(char msg[ERR_MSG_MAX], struct str from, struct str to)
{
    for (char *at = strstr(msg, from.ptr); at; at = strstr(at + to.len, from.ptr)) {
        char rest[ERR_MSG_MAX];
        size_t room = ERR_MSG_MAX - (size_t)(at - msg);
        snprintf(rest, sizeof rest, "%s", at + from.len);
        snprintf(at, room, "%.*s%s", STR_ARG(to), rest);
        if (to.len >= strlen(at))
            break;
    }
}

static void use_callers_names(const struct query_plan *p, char msg[ERR_MSG_MAX])
{
    for (size_t i = 0; i < ARRAY_LEN(renamings); i++)
        replace_all(msg, str_from(renamings[i].engine), str_from(renamings[i].caller));
    for (size_t i = p->gate.table_count; i-- > 0;) /* weir_t12 before weir_t1 */
        replace_all(msg, str_from(p->gate.tables[i].name), p->gate.tables[i].stream->name);
}

/* The engine sees only the columns that the query names: those that it offers instead say nothing
 * of the stream's. */
static void cut_offers(char msg[ERR_MSG_MAX])
{
    char *offers = strstr(msg, "\nCandidate bindings:");

    if (offers)
        *offers = '\0';
}

static bool begins_with(const char *msg, const char *words)
{
    struct str s = str_from(msg), prefix = str_from(words);
    return s.len >= prefix.len && str_eq_nocase((struct str){s.ptr, prefix.len}, prefix);
}

enum err_code query_reference_error(const struct query_plan *p, struct err *e)
{
    if (!e)
        return ERR_INVALID;
    if (e->code == ERR_CANCELLED)
        e->detail = API_CANCELLED;
    if (e->code == ERR_TIMEOUT)
        e->detail = API_TIMEOUT;
    if (e->detail == API_SQL_EXECUTE && strstr(e->msg, "does not have a column named"))
        e->detail = API_FIELD_NOT_FOUND; /* a qualified name: DuckDB has no error type for it */
    cut_offers(e->msg);
    struct str written = gate_write_back(&p->gate.names, p->a, str_from(e->msg));
    if (written.ptr != e->msg)
        str_copy_to(written, e->msg, sizeof e->msg);
    use_callers_names(p, e->msg);
    for (size_t i = 0; i < ARRAY_LEN(phrases); i++)
        if (e->detail == (int)phrases[i].code && !begins_with(e->msg, phrases[i].words))
            err_wrap(e, "%s", phrases[i].words);
    return e->code;
}

// links: weir_gateway weir_engine weir_fs weir_index
/* tests/fuzz/fuzz_gate.c - any JSON document into the gate, and as the text of a statement whose
 * fields differ only in case.
 *
 * What it accepts is walked by a second, simpler reader that knows nothing of scopes and shapes:
 * every table has a name of ours, every function is on the list or one of ours, and none of the
 * nodes that the gate keeps out is in it.
 */
#include <stdlib.h>

#include "base/cleanup.h"
#include "gateway/dialect.h"
#include "gateway/dialect_lex.h"
#include "gateway/gate.h"
#include "gateway/gate_internal.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static const struct meta_field fields[] = {
    {{"_timestamp", 10}, FIELD_INT64, 1},
    {{"log", 3}, FIELD_UTF8, 2},
    {{"i", 1}, FIELD_INT64, 3},
};
static const struct meta_field twins[] = {
    {{"_timestamp", 10}, FIELD_INT64, 1},
    {{"I", 1}, FIELD_UTF8, 2},
    {{"i", 1}, FIELD_UTF8, 3},
    {{"log", 3}, FIELD_UTF8, 4},
};
static const struct catalog_stream streams[] = {
    {.number = 1, .name = {"a", 1}, .fields = fields, .field_count = ARRAY_LEN(fields)},
    {.number = 2,
     .name = {"b", 1},
     .type = STREAM_METRICS,
     .fields = twins,
     .field_count = ARRAY_LEN(twins)},
};

static enum err_code find(void *ctx, enum stream_type type, struct str name,
                          const struct catalog_stream **out, struct err *e)
{
    (void)ctx;
    (void)type;
    for (size_t i = 0; i < ARRAY_LEN(streams); i++)
        if (str_eq_nocase(streams[i].name, name)) {
            *out = &streams[i];
            return ERR_OK;
        }
    return err_set(e, ERR_NOTFOUND, "none");
}

static void expect(bool holds)
{
    if (!holds)
        abort();
}

static bool is_ours(struct str name, const char *prefix)
{
    size_t len = strlen(prefix);
    if (name.len <= len || memcmp(name.ptr, prefix, len) != 0)
        return false;
    for (size_t i = len; i < name.len; i++)
        if (name.ptr[i] < '0' || name.ptr[i] > '9')
            return false;
    return true;
}

static bool is_function(struct str name)
{
    static const char *const ours[] = {"weir_match_words", "weir_histogram",  "weir_time",
                                       "time_bucket",      "concat_ws",       "count_star",
                                       "weir_time_in",     "approx_quantile", "weir_match_word_re"};
    for (size_t i = 0; i < ARRAY_LEN(ours); i++)
        if (str_eq(name, str_from(ours[i])))
            return true;
    size_t count;
    const struct gate_function *list = gate_function_list(&count);
    for (size_t i = 0; i < count; i++)
        if (!(list[i].uses & (USE_HISTOGRAM | USE_MATCH_ALL | USE_COALESCE | USE_ARROW_CAST |
                              USE_STRUCT | USE_QUANTILE)) &&
            (str_eq(name, str_from(list[i].engine ? list[i].engine : list[i].name)) ||
             str_eq(name, str_from(list[i].name))))
            return true;
    return false;
}

static void check_accepted(const struct json *v)
{
    static const char *const banned[] = {"SHOW_REF",    "PARAMETER", "COLUMN_DATA",    "DEFAULT",
                                         "INSERT_NODE", "DELIM_GET", "VALUE_PARAMETER"};
    for (const struct json *child = v->first; child; child = child->next) {
        if (v->type == JSON_OBJECT && child->type == JSON_STRING) {
            if (str_eq(child->key, STR("table_name")))
                expect(is_ours(child->text, "weir_t") || is_ours(child->text, "weir_c"));
            if (str_eq(child->key, STR("function_name")))
                expect(is_function(child->text));
            if (str_eq(child->key, STR("catalog_name")) || str_eq(child->key, STR("catalog")))
                expect(child->text.len == 0);
            if (str_eq(child->key, STR("type")) || str_eq(child->key, STR("class")))
                for (size_t i = 0; i < ARRAY_LEN(banned); i++)
                    expect(!str_eq(child->text, str_from(banned[i])));
        }
        check_accepted(child);
    }
}

/* The text with other names for some fields: with the names taken back the tokens are what they
 * were, but for quotes. */
static void check_renamed(const struct gate_names *names, struct str sql, struct str renamed,
                          struct arena *a)
{
    size_t from = 0, to = 0;
    struct token was, is;
    do {
        was = lex_next(sql, &from);
        is = lex_next(renamed, &to);
        struct str name = is.text;
        if (is.kind == TOKEN_NAME && name.len > 2)
            name = gate_written(names, (struct str){name.ptr + 1, name.len - 2});
        if (str_eq(was.text, is.text))
            continue;
        if (was.kind == TOKEN_NAME)
            was.text = (struct str){was.text.ptr + 1, was.text.len - 2};
        expect(is.kind == TOKEN_NAME && str_eq(was.text, name));
    } while (was.kind != TOKEN_END);
    expect(gate_write_back(names, a, renamed).len <= renamed.len);
}

static struct gate_names check_names(struct str sql, struct arena *a)
{
    struct gate_table table = {.stream = &streams[1], .in_tree = &streams[1]};
    const struct gate_result result = {.tables = &table, .table_count = 1};
    struct gate_names names = {0};
    struct str renamed;
    struct err e;
    if (gate_tell_apart(&result, sql, a, &names, &e) != ERR_OK)
        return names;
    expect(names.count == 1);
    if (sql.len && dialect_rename(sql, &names, a, &renamed, &e) == ERR_OK)
        check_renamed(&names, sql, renamed, a);
    return names;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct arena a;
    struct json *document;
    struct err e;
    struct gate_result result;
    struct str text = {(const char *)data, size};
    arena_init(&a, 8u << 20);
    struct gate_names names = check_names(text, &a);
    const struct gate_options o = {.names = size % 2 ? names : (struct gate_names){0},
                                   .ui_histogram = size % 8 == 7,
                                   .start_us = 1,
                                   .end_us = 1000000,
                                   .size_max = 1000,
                                   .default_limit = 10,
                                   .fts_extra = "i",
                                   .find = find};
    if (json_parse(text, &a, &document, &e) == ERR_OK) {
        if (gate_check(document, &o, &a, &result, &e) == ERR_OK) {
            check_accepted(result.document);
            const struct json *count = gate_count_document(result.document, &a);
            if (count)
                check_accepted(count);
        } else {
            expect(e.code == ERR_INVALID || e.code == ERR_TOOBIG);
        }
    }
    struct str sql = {(const char *)data, size};
    gate_cut_explain(&sql);
    arena_done(&a);
    return 0;
}

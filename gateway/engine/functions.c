/* gateway/engine/functions.c - the macros of functions.h, one row each.
 *
 * Arrays are JSON text, as the API keeps them; what is no JSON array gives NULL.  Every macro is
 * one expression of built-in functions, so the optimiser sees through it.  Macros cannot take
 * DISTINCT, FILTER or OVER: aggregates are renamed by the gate instead.  Names with weir_ stand in
 * for names that DuckDB has for something else.
 */
#include "gateway/engine/functions.h"

#include "base/bytes.h"
#include "base/cleanup.h"
#include "gateway/engine/database.h"

#define TEXT(f) "CAST(" f " AS VARCHAR)"
#define CONTAINS(f, v) "contains(" TEXT(f) ", " v ")"
#define CONTAINS_NO_CASE(f, v) "contains(lower(" TEXT(f) "), lower(" v "))"
#define MATCHES(f, re) "regexp_matches(" TEXT(f) ", " re ")"
#define MATCHES_NO_CASE(f, re) "regexp_matches(" TEXT(f) ", " re ", 'i')"

/* The pattern without escapes and classes, where each bracket that is left opens a group. */
#define GROUPS(re)                                                                                 \
    "len(regexp_extract_all(regexp_replace(" re ", '\\\\.|\\[[^\\]]*\\]', '', 'g'), "              \
    "'\\((?:[^?]|\\?P?<[^=!]|$)'))"

/* A zone is empty, an offset such as +08:00, or a name. */
#define IN_ZONE(t, tz)                                                                             \
    "(CASE WHEN " tz " = '' THEN " t " WHEN regexp_full_match(" tz ", '[+-][0-9]{2}:?[0-9]{2}') "  \
    "THEN " t " + to_minutes((CASE WHEN " tz "[1] = '-' THEN -1 ELSE 1 END) * "                    \
    "(CAST(substr(" tz ", 2, 2) AS INTEGER) * 60 + CAST(right(" tz ", 2) AS INTEGER))) "           \
    "ELSE timezone(" tz ", timezone('UTC', " t ")) END)"

#define FORMATTED(t, fmt) "weir_format_time(weir_time(" t "), " fmt ", weir_time(" t "))"

#define IS_ARRAY(f) "json_valid(" TEXT(f) ") AND json_type(" TEXT(f) ") = 'ARRAY'"
#define ITEMS(f) "json_extract(" TEXT(f) ", '$[*]')"
#define ITEM_TEXTS(f) "json_extract_string(" TEXT(f) ", '$[*]')"
#define IF_ARRAY(f, x) "CASE WHEN " IS_ARRAY(f) " THEN " x " END"
/* Numbers before other values, by value; the others by their text. */
#define SORTED(f, sort)                                                                            \
    IF_ARRAY(f,                                                                                    \
             "CASE WHEN json_array_length(" TEXT(                                                  \
                 f) ") > 0 THEN CAST(to_json(list_transform(" sort                                 \
                    "(list_transform(" ITEMS(                                                      \
                        f) ", lambda x: {'n': TRY_CAST(json_extract_string(x, '$') AS DOUBLE), "   \
                           "'t': json_extract_string(x, '$'), 'j': x})), lambda y: y.j)) AS "      \
                           "VARCHAR) END")

/* A key, or the number of an item, as one step of a JSON pointer. */
#define STEP(k) "'/' || replace(replace(" TEXT(k) ", '~', '~0'), '/', '~1')"
#define IF_JSON(f, x) "CASE WHEN json_valid(" TEXT(f) ") THEN " x " END"
/* The four forms of a function that takes up to four steps. */
#define AT(get, path) IF_JSON("f", get "(" TEXT("f") ", " path ")")
#define BY_STEPS(before, get, after)                                                               \
    "(f, a) AS " before AT(get, STEP("a")) after ", "                                              \
                                                 "(f, a, b) AS " before                            \
                                                 AT(get, STEP("a") " || " STEP("b")) after         \
        ", "                                                                                       \
        "(f, a, b, c) AS " before                                                                  \
        AT(get, STEP("a") " || " STEP("b") " || " STEP("c")) after                                 \
        ", "                                                                                       \
        "(f, a, b, c, d) AS " before                                                               \
        AT(get, STEP("a") " || " STEP("b") " || " STEP("c") " || " STEP("d")) after

static const struct {
    const char *name;
    const char *forms; /* "(parameters) AS expression", separated by commas */
} macros[] = {
    /* text */
    {"str_match", "(f, v) AS " CONTAINS("f", "v")},
    {"match", "(f, v) AS " CONTAINS("f", "v")},
    {"match_field", "(f, v) AS " CONTAINS("f", "v")},
    {"str_match_ignore_case", "(f, v) AS " CONTAINS_NO_CASE("f", "v")},
    {"match_ignore_case", "(f, v) AS " CONTAINS_NO_CASE("f", "v")},
    {"match_field_ignore_case", "(f, v) AS " CONTAINS_NO_CASE("f", "v")},
    {"re_match", "(f, re) AS " MATCHES("f", "re")},
    {"re_matches", "(f, re) AS " MATCHES("f", "re")},
    {"re_not_match", "(f, re) AS NOT " MATCHES("f", "re")},
    {"regexp_like", "(f, re) AS " MATCHES("f", "re") ", (f, re, flags) AS " MATCHES(
                        "f", "'(?' || flags || ')' || re")},
    {"weir_label", "(labels, k) AS json_extract_string(labels, " STEP("k") ")"},
    {"weir_regexp_match",
     "(f, re) AS CASE WHEN NOT " MATCHES("f", "re") " THEN NULL WHEN " GROUPS(
         "re") " = 0 "
               "THEN [regexp_extract(f, re)] ELSE [regexp_extract(f, re, 1), regexp_extract(f, re, "
               "2), "
               "regexp_extract(f, re, 3), regexp_extract(f, re, 4), regexp_extract(f, re, 5), "
               "regexp_extract(f, re, 6), regexp_extract(f, re, 7), regexp_extract(f, re, 8), "
               "regexp_extract(f, re, 9)][1:" GROUPS("re") "] END"},
    {"regexp_match", "(f, re) AS weir_regexp_match(f, re), "
                     "(f, re, flags) AS weir_regexp_match(f, '(?' || flags || ')' || re)"},
    {"fuzzy_match", "(f, v, d) AS len(list_filter(regexp_extract_all(lower(" TEXT(
                        "f") "), '[\\pL\\pN]+'), "
                             "lambda x: levenshtein(x, lower(v)) <= d)) > 0"},
    {"weir_match_word_re", "(f, re) AS len(list_filter(regexp_extract_all(" TEXT(
                               "f") ", '[\\pL\\pN]+'), "
                                    "lambda x: regexp_full_match(x, re, 'i'))) > 0"},
    {"weir_re_match_nocase", "(f, re) AS " MATCHES_NO_CASE("f", "re")},
    {"weir_re_not_match_nocase", "(f, re) AS NOT " MATCHES_NO_CASE("f", "re")},
    {"regexp_count", "(f, re) AS len(regexp_extract_all(" TEXT("f") ", re))"},
    {"initcap",
     "(s) AS CASE WHEN s = '' THEN s ELSE list_aggregate(list_transform(regexp_extract_all(s, "
     "'[\\pL\\pN]+|[^\\pL\\pN]+'), "
     "lambda x: upper(x[1]) || lower(x[2:])), 'string_agg', '') END"},
    {"weir_overlay", "(s, r, p) AS left(s, p - 1) || r || substr(s, p + len(r)), "
                     "(s, r, p, n) AS left(s, p - 1) || r || substr(s, p + n)"},
    {"substr_index", "(s, d, n) AS array_to_string(CASE WHEN n >= 0 THEN string_split(s, d)[1:n] "
                     "ELSE string_split(s, d)[n:] END, d)"},
    {"weir_lpad", "(s, n) AS lpad(s, n, ' '), (s, n, pad) AS lpad(s, n, pad)"},
    {"weir_rpad", "(s, n) AS rpad(s, n, ' '), (s, n, pad) AS rpad(s, n, pad)"},
    {"weir_encode", "(s) AS encode(s), (s, form) AS CASE form WHEN 'base64' THEN "
                    "rtrim(to_base64(encode(s)), '=') WHEN 'hex' THEN lower(hex(s)) ELSE "
                    "error('encode knows base64 and hex') END"},
    {"weir_decode", "(s) AS decode(s), (s, form) AS CASE form WHEN 'base64' THEN from_base64(s || "
                    "repeat('=', (4 - len(s) % 4) % 4)) WHEN 'hex' THEN unhex(s) ELSE "
                    "error('decode knows base64 and hex') END"},
    {"btrim", "(s) AS trim(s), (s, chars) AS trim(s, chars)"},
    {"nvl", "(a, b) AS coalesce(a, b)"},
    {"nvl2", "(a, b, c) AS CASE WHEN a IS NULL THEN c ELSE b END"},
    {"nanvl", "(a, b) AS CASE WHEN isnan(a) THEN b ELSE a END"},
    {"iszero", "(a) AS a = 0"},
    {"string_to_array_v2",
     "(s, chars) AS regexp_split_to_array(s, '[' || regexp_replace(chars, '([\\]\\[\\\\^-])', "
     "'\\\\\\1', 'g') || ']')"},

    /* time */
    {"to_timestamp_micros", "(t) AS weir_time(t)"},
    {"to_timestamp_millis", "(t) AS weir_time_in(t, 1000000)"},
    {"to_timestamp_seconds", "(t) AS weir_time_in(t, 1000000000)"},
    {"to_timestamp_nanos", "(t) AS weir_time_in(t, 1)"},
    {"weir_to_timestamp", "(t) AS weir_time_in(t, 1000000000), "
                          "(t, fmt) AS CAST(strptime(t, fmt) AS TIMESTAMP)"},
    {"weir_to_unixtime", "(t) AS CAST(floor(epoch(weir_time_in(t, 1000000000))) AS BIGINT)"},
    {"to_date", "(t) AS CAST(weir_time(t) AS DATE)"},
    {"cast_to_timestamp", "(t) AS epoch_us(weir_time(t))"},
    {"date_format", "(t, fmt, tz) AS weir_format_time(weir_time(t), fmt, " IN_ZONE(
                        "weir_time(t)", "tz") "), "
                                              "(t, fmt) AS " FORMATTED("t", "fmt")},
    {"to_char", "(t, fmt) AS " FORMATTED("t", "fmt")},
    {"time_range", "(t, a, b) AS weir_time(t) >= weir_time(a) AND weir_time(t) < weir_time(b)"},
    {"date_bin", "(i, t) AS time_bucket(i, weir_time(t)), "
                 "(i, t, origin) AS time_bucket(i, weir_time(t), weir_time(origin))"},

    /* arrays held as JSON text */
    {"cast_to_arr", "(f) AS " IF_ARRAY("f", ITEM_TEXTS("f"))},
    {"to_array_string", "(a) AS CAST(to_json(a) AS VARCHAR)"},
    {"arrsort", "(f) AS " SORTED("f", "list_sort")},
    {"arr_descending", "(f) AS " SORTED("f", "list_reverse_sort")},
    {"arrjoin", "(f, sep) AS " IF_ARRAY(
                    "f", "coalesce(list_aggregate(" ITEM_TEXTS("f") ", 'string_agg', sep), '')")},
    {"arrcount", "(f) AS " IF_ARRAY("f", "CAST(json_array_length(" TEXT("f") ") AS BIGINT)")},
    {"arrindex",
     "(f, i) AS " IF_ARRAY(
         "f",
         "CAST(to_json(" ITEMS(
             "f") "[i + 1:i + 1]) AS VARCHAR)") ", (f, i, k) AS " IF_ARRAY("f",
                                                                           "CAST(to_json(" ITEMS(
                                                                               "f") "[i + 1:k + "
                                                                                    "1]) AS "
                                                                                    "VARCHAR)")},
    {"arrzip",
     "(f, g, sep) AS CASE WHEN " IS_ARRAY("f") " AND " IS_ARRAY("g") " AND json_array_length(" TEXT(
         "f") ") > 0 AND json_array_length(" TEXT("g") ") > 0"
                                                       " THEN "
                                                       "CAST(to_json(list_transform(list_"
                                                       "zip(" ITEM_TEXTS("f") ", " ITEM_TEXTS(
                                                           "g") ", true), "
                                                                "lambda z: z[1] || sep || z[2])) "
                                                                "AS VARCHAR) END"},

    /* JSON text */
    {"spath", "(f, path) AS " IF_JSON(
                  "f", "json_extract_string(" TEXT("f") ", '/' || replace(path, '.', '/'))")},
    {"weir_json_text", "(j, path) AS CASE WHEN json_type(j, path) = 'VARCHAR' THEN "
                       "json_extract_string(j, path) END"},
    {"json_get_str", BY_STEPS("", "weir_json_text", "")},
    {"json_as_text", BY_STEPS("", "json_extract_string", "")},
    {"json_get", BY_STEPS("", "json_extract_string", "")},
    {"json_get_json", BY_STEPS("CAST(", "json_extract", " AS VARCHAR)")},
    {"json_get_int", BY_STEPS("TRY_CAST(", "json_extract_string", " AS BIGINT)")},
    {"json_get_float", BY_STEPS("TRY_CAST(", "json_extract_string", " AS DOUBLE)")},
    {"json_get_bool", BY_STEPS("TRY_CAST(", "json_extract_string", " AS BOOLEAN)")},
    {"weir_json_size", "(j) AS CASE json_type(j) WHEN 'ARRAY' THEN json_array_length(j) "
                       "WHEN 'OBJECT' THEN len(json_keys(j)) END"},
    {"json_length", "(f) AS " IF_JSON("f", "weir_json_size(" TEXT("f") ")") ", " BY_STEPS(
                        "weir_json_size(", "json_extract", ")")},
    {"weir_json_items",
     "(j) AS CASE WHEN json_type(j) = 'ARRAY' THEN "
     "list_transform(json_extract(j, '$[*]'), lambda x: CAST(x AS VARCHAR)) END"},
    {"json_get_array", BY_STEPS("weir_json_items(", "json_extract", ")")},
    {"weir_object_keys", "(j) AS CASE WHEN json_type(j) = 'OBJECT' THEN json_keys(j) END"},
    {"json_object_keys", "(f) AS " IF_JSON("f", "weir_object_keys(" TEXT("f") ")") ", " BY_STEPS(
                             "weir_object_keys(", "json_extract", ")")},
    {"weir_json_contains", BY_STEPS("", "json_exists", "")},

    /* types by the names of Arrow */
    {"weir_arrow_typeof",
     "(x) AS CASE typeof(x) WHEN 'BOOLEAN' THEN 'Boolean' WHEN 'TINYINT' THEN 'Int8' "
     "WHEN 'SMALLINT' THEN 'Int16' WHEN 'INTEGER' THEN 'Int32' WHEN 'BIGINT' THEN 'Int64' "
     "WHEN 'HUGEINT' THEN 'Int64' WHEN 'UTINYINT' THEN 'UInt8' WHEN 'USMALLINT' THEN 'UInt16' "
     "WHEN 'UINTEGER' THEN 'UInt32' WHEN 'UBIGINT' THEN 'UInt64' WHEN 'FLOAT' THEN 'Float32' "
     "WHEN 'DOUBLE' THEN 'Float64' WHEN 'VARCHAR' THEN 'Utf8View' WHEN 'JSON' THEN 'Utf8View' "
     "WHEN 'BLOB' THEN 'BinaryView' WHEN 'DATE' THEN 'Date32' WHEN 'TIME' THEN 'Time64(ns)' "
     "WHEN 'TIMESTAMP' THEN 'Timestamp(µs)' WHEN 'TIMESTAMP_NS' THEN 'Timestamp(ns)' "
     "WHEN 'TIMESTAMP WITH TIME ZONE' THEN 'Timestamp(ns)' "
     "WHEN 'INTERVAL' THEN 'Interval(MonthDayNano)' WHEN '\"NULL\"' THEN 'Null' "
     "ELSE typeof(x) END"},
};

enum err_code functions_register(duckdb_connection con, struct err *e)
{
    struct buf sql;
    enum err_code rc = scalar_functions_register(con, e);
    buf_init(&sql, 64u << 10);
    for (size_t i = 0; i < ARRAY_LEN(macros) && rc == ERR_OK; i++) {
        buf_clear(&sql);
        buf_printf(&sql, "CREATE MACRO %s%s", macros[i].name, macros[i].forms);
        rc = buf_ok(&sql) ? database_do(con, sql.data, e)
                          : err_set(e, ERR_TOOBIG, "definition is too long");
        if (rc != ERR_OK)
            err_wrap(e, "macro %s", macros[i].name);
    }
    buf_done(&sql);
    return rc;
}

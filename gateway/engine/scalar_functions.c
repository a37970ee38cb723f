/* gateway/engine/scalar_functions.c - the functions of functions.h that are written in C.
 *
 *   weir_histogram(t, interval_us)    start of the bucket of t; origin 2001-01-01T00:00:00 UTC
 *   weir_time(t)                      BIGINT (µs), VARCHAR (RFC 3339, a date, or µs), DATE and both
 *                                     kinds of TIMESTAMP as TIMESTAMP
 *   weir_time_in(t, unit_ns)          the same, but numbers are counts of `unit_ns` nanoseconds
 *   weir_format_time(t, format, local)  t as text (format_time.h), as a clock shows it whose zone
 *                                     makes it `local`
 *   weir_rare(object, field)          a value of RARE_COLUMN (rare.h) as text, or NULL
 *   weir_match_words(text, query)     every word of `query` occurs in `text`, whatever the case
 */
#include "gateway/engine/functions.h"

#include <stdio.h>

#include "base/cleanup.h"
#include "base/clock.h"
#include "gateway/engine/format_time.h"
#include "gateway/engine/lines.h"
#include "gateway/engine/rare.h"
#include "gateway/engine/text_form.h"
#include "gateway/engine/words.h"

#define RARE_TEXT_MAX ((size_t)64 << 20)
#define HISTOGRAM_ORIGIN_US INT64_C(978307200000000) /* 2001-01-01T00:00:00Z */

/* The arguments of one call; the columns of a chunk that C functions see are flat. */
static const void *argument(duckdb_data_chunk input, idx_t column)
{
    return duckdb_vector_get_data(duckdb_data_chunk_get_vector(input, column));
}

static struct str string_at(const void *data, idx_t row)
{
    const duckdb_string_t *s = (const duckdb_string_t *)data + row;
    uint32_t len = s->value.inlined.length;
    return (struct str){len <= sizeof s->value.inlined.inlined ? s->value.inlined.inlined
                                                               : s->value.pointer.ptr,
                        len};
}

static bool is_null_at(duckdb_data_chunk input, idx_t column, idx_t row)
{
    uint64_t *validity = duckdb_vector_get_validity(duckdb_data_chunk_get_vector(input, column));
    return validity && !(validity[row >> 6] >> (row & 63) & 1);
}

static void set_null(duckdb_vector output, idx_t row)
{
    duckdb_vector_ensure_validity_writable(output);
    duckdb_validity_set_row_invalid(duckdb_vector_get_validity(output), row);
}

/* --- weir_histogram --- */

/* False: the bucket begins before all time. */
static bool bucket_start(int64_t t, int64_t interval, int64_t *out)
{
    int64_t since;
    if (__builtin_sub_overflow(t, HISTOGRAM_ORIGIN_US, &since))
        return false;
    int64_t rest = since % interval;
    return !__builtin_sub_overflow(t, rest < 0 ? rest + interval : rest, out);
}

static void run_histogram(duckdb_function_info info, duckdb_data_chunk input, duckdb_vector output)
{
    const int64_t *t = argument(input, 0), *interval = argument(input, 1);
    int64_t *out = duckdb_vector_get_data(output);
    idx_t rows = duckdb_data_chunk_get_size(input);
    for (idx_t i = 0; i < rows; i++) {
        if (is_null_at(input, 0, i) || is_null_at(input, 1, i)) {
            set_null(output, i);
        } else if (interval[i] <= 0) {
            duckdb_scalar_function_set_error(info, "histogram: the interval must be above zero");
            return;
        } else if (!bucket_start(t[i], interval[i], &out[i])) {
            set_null(output, i);
        }
    }
}

/* --- weir_time --- */

static void run_time_same(duckdb_function_info info, duckdb_data_chunk input, duckdb_vector output)
{
    (void)info;
    const int64_t *t = argument(input, 0);
    int64_t *out = duckdb_vector_get_data(output);
    idx_t rows = duckdb_data_chunk_get_size(input);
    for (idx_t i = 0; i < rows; i++) {
        out[i] = t[i];
        if (is_null_at(input, 0, i))
            set_null(output, i);
    }
}

static void run_time_date(duckdb_function_info info, duckdb_data_chunk input, duckdb_vector output)
{
    (void)info;
    const int32_t *days = argument(input, 0);
    int64_t *out = duckdb_vector_get_data(output);
    idx_t rows = duckdb_data_chunk_get_size(input);
    for (idx_t i = 0; i < rows; i++) {
        if (is_null_at(input, 0, i) || __builtin_mul_overflow(days[i], 24 * US_PER_HOUR, &out[i]))
            set_null(output, i);
    }
}

static bool parse_time(struct str text, int64_t *us)
{
    char midnight[32];
    if (time_parse_rfc3339(text, us) || str_to_i64(text, us))
        return true;
    if (text.len != strlen("2001-01-01"))
        return false;
    snprintf(midnight, sizeof midnight, STR_FMT "T00:00:00Z", STR_ARG(text));
    return time_parse_rfc3339(str_from(midnight), us);
}

static void run_time_text(duckdb_function_info info, duckdb_data_chunk input, duckdb_vector output)
{
    const void *texts = argument(input, 0);
    int64_t *out = duckdb_vector_get_data(output);
    idx_t rows = duckdb_data_chunk_get_size(input);
    for (idx_t i = 0; i < rows; i++) {
        if (is_null_at(input, 0, i)) {
            set_null(output, i);
            continue;
        }
        struct str text = str_trim(string_at(texts, i));
        if (!parse_time(text, &out[i])) {
            struct err e = {0};
            err_set(&e, ERR_INVALID, "'" STR_FMT "' is no time",
                    text.len > 100 ? 100 : (int)text.len, text.ptr);
            duckdb_scalar_function_set_error(info, e.msg);
            return;
        }
    }
}

/* --- weir_time_in --- */

static int64_t floor_div(int64_t a, int64_t b)
{
    return a / b - ((a % b != 0) && ((a < 0) != (b < 0)));
}

/* False past the times that there are. */
static bool us_of_units(int64_t count, int64_t unit_ns, int64_t *us)
{
    if (unit_ns < 1000)
        return !__builtin_mul_overflow(floor_div(count, 1000), unit_ns, us);
    return !__builtin_mul_overflow(count, unit_ns / 1000, us);
}

static void run_time_units(duckdb_function_info info, duckdb_data_chunk input, duckdb_vector output)
{
    const int64_t *t = argument(input, 0), *unit_ns = argument(input, 1);
    int64_t *out = duckdb_vector_get_data(output);
    idx_t rows = duckdb_data_chunk_get_size(input);
    for (idx_t i = 0; i < rows; i++) {
        if (is_null_at(input, 0, i)) {
            set_null(output, i);
        } else if (!us_of_units(t[i], unit_ns[i], &out[i])) {
            duckdb_scalar_function_set_error(info, "the time is out of range");
            return;
        }
    }
}

/* Fractions of a unit count, down to a microsecond. */
static void run_time_fractions(duckdb_function_info info, duckdb_data_chunk input,
                               duckdb_vector output)
{
    const double *t = argument(input, 0);
    const int64_t *unit_ns = argument(input, 1);
    int64_t *out = duckdb_vector_get_data(output);
    idx_t rows = duckdb_data_chunk_get_size(input);
    for (idx_t i = 0; i < rows; i++) {
        if (is_null_at(input, 0, i)) {
            set_null(output, i);
            continue;
        }
        double us = t[i] * (double)unit_ns[i] / 1000;
        if (!(us > -9.2e18 && us < 9.2e18)) { /* also NaN */
            duckdb_scalar_function_set_error(info, "the time is out of range");
            return;
        }
        out[i] = (int64_t)us;
    }
}

/* --- weir_format_time --- */

#define FORMATTED_BYTES_MAX (64u << 10)

static void run_format_time(duckdb_function_info info, duckdb_data_chunk input,
                            duckdb_vector output)
{
    const int64_t *t = argument(input, 0), *local = argument(input, 2);
    const void *formats = argument(input, 1);
    idx_t rows = duckdb_data_chunk_get_size(input);
    struct buf text;
    struct err e = {0};
    buf_init(&text, FORMATTED_BYTES_MAX);
    for (idx_t i = 0; i < rows; i++) {
        if (is_null_at(input, 0, i) || is_null_at(input, 1, i) || is_null_at(input, 2, i)) {
            set_null(output, i);
            continue;
        }
        int64_t offset_us;
        buf_clear(&text);
        if (__builtin_sub_overflow(local[i], t[i], &offset_us))
            offset_us = INT64_MAX; /* format_time refuses it */
        if (format_time(t[i], offset_us / US_PER_SEC, string_at(formats, i), &text, &e) != ERR_OK) {
            duckdb_scalar_function_set_error(info, e.msg);
            break;
        }
        duckdb_vector_assign_string_element_len(output, i, text.data ? text.data : "", text.len);
    }
    buf_done(&text);
}

/* --- weir_rare --- */

/* The value's text: a number as it stands, a string without quotes and escapes. */
static bool assign_rare(duckdb_vector output, idx_t row, struct str token, struct buf *plain)
{
    if (token.len >= 2 && token.ptr[0] == '"') {
        token = (struct str){token.ptr + 1, token.len - 2};
        if (memchr(token.ptr, '\\', token.len)) {
            buf_clear(plain);
            if (!buf_reserve(plain, token.len))
                return false;
            token = (struct str){plain->data, line_unescape(token, plain->data)};
        }
    }
    duckdb_vector_assign_string_element_len(output, row, token.ptr, token.len);
    return true;
}

static void run_rare(duckdb_function_info info, duckdb_data_chunk input, duckdb_vector output)
{
    const void *objects = argument(input, 0), *fields = argument(input, 1);
    idx_t rows = duckdb_data_chunk_get_size(input);
    struct buf plain;
    bool ok = true;
    buf_init(&plain, RARE_TEXT_MAX);
    for (idx_t i = 0; i < rows && ok; i++) {
        struct str token;
        if (is_null_at(input, 0, i) ||
            !rare_find(string_at(objects, i), string_at(fields, i), &token))
            set_null(output, i);
        else
            ok = assign_rare(output, i, token, &plain);
    }
    buf_done(&plain);
    if (!ok)
        duckdb_scalar_function_set_error(info, "no memory for a rare field");
}

/* --- weir_match_words --- */

static void run_match_words(duckdb_function_info info, duckdb_data_chunk input,
                            duckdb_vector output)
{
    const void *texts = argument(input, 0), *queries = argument(input, 1);
    bool *out = duckdb_vector_get_data(output);
    idx_t rows = duckdb_data_chunk_get_size(input);
    struct words_query query;
    struct str parsed = {NULL, 0}; /* the query is mostly the same in every row */
    for (idx_t i = 0; i < rows; i++) {
        if (is_null_at(input, 0, i) || is_null_at(input, 1, i)) {
            set_null(output, i);
            continue;
        }
        struct str text = string_at(queries, i);
        if (!parsed.ptr || !str_eq(parsed, text)) {
            if (!words_query_init(&query, text)) {
                duckdb_scalar_function_set_error(info, "match_all: too many words");
                return;
            }
            parsed = text;
        }
        out[i] = words_match(&query, string_at(texts, i));
    }
}

/* --- registration --- */

#define ARGUMENTS_MAX 3

/* weir_number_text(double): the digits that lines have for it. */
static void run_number_text(duckdb_function_info info, duckdb_data_chunk input,
                            duckdb_vector output)
{
    const double *numbers = argument(input, 0);
    idx_t rows = duckdb_data_chunk_get_size(input);
    char text[40];
    (void)info;
    for (idx_t i = 0; i < rows; i++) {
        if (is_null_at(input, 0, i)) {
            set_null(output, i);
            continue;
        }
        size_t n = text_number(numbers[i], text);
        duckdb_vector_assign_string_element_len(output, i, text, n);
    }
}

static const struct scalar_row {
    const char *name;
    duckdb_scalar_function_t run;
    duckdb_type result, arguments[ARGUMENTS_MAX]; /* unused arguments are INVALID */
} scalar_table[] = {
    {"weir_histogram",
     run_histogram,
     DUCKDB_TYPE_TIMESTAMP,
     {DUCKDB_TYPE_BIGINT, DUCKDB_TYPE_BIGINT}},
    {"weir_histogram",
     run_histogram,
     DUCKDB_TYPE_TIMESTAMP,
     {DUCKDB_TYPE_TIMESTAMP, DUCKDB_TYPE_BIGINT}},
    {"weir_histogram",
     run_histogram,
     DUCKDB_TYPE_TIMESTAMP,
     {DUCKDB_TYPE_TIMESTAMP_TZ, DUCKDB_TYPE_BIGINT}},
    {"weir_time", run_time_same, DUCKDB_TYPE_TIMESTAMP, {DUCKDB_TYPE_BIGINT}},
    {"weir_time", run_time_same, DUCKDB_TYPE_TIMESTAMP, {DUCKDB_TYPE_TIMESTAMP}},
    {"weir_time", run_time_same, DUCKDB_TYPE_TIMESTAMP, {DUCKDB_TYPE_TIMESTAMP_TZ}},
    {"weir_time", run_time_date, DUCKDB_TYPE_TIMESTAMP, {DUCKDB_TYPE_DATE}},
    {"weir_time", run_time_text, DUCKDB_TYPE_TIMESTAMP, {DUCKDB_TYPE_VARCHAR}},
    {"weir_time_in",
     run_time_units,
     DUCKDB_TYPE_TIMESTAMP,
     {DUCKDB_TYPE_BIGINT, DUCKDB_TYPE_BIGINT}},
    {"weir_time_in",
     run_time_fractions,
     DUCKDB_TYPE_TIMESTAMP,
     {DUCKDB_TYPE_DOUBLE, DUCKDB_TYPE_BIGINT}},
    {"weir_time_in",
     run_time_same,
     DUCKDB_TYPE_TIMESTAMP,
     {DUCKDB_TYPE_TIMESTAMP, DUCKDB_TYPE_BIGINT}},
    {"weir_time_in",
     run_time_same,
     DUCKDB_TYPE_TIMESTAMP,
     {DUCKDB_TYPE_TIMESTAMP_TZ, DUCKDB_TYPE_BIGINT}},
    {"weir_time_in", run_time_date, DUCKDB_TYPE_TIMESTAMP, {DUCKDB_TYPE_DATE, DUCKDB_TYPE_BIGINT}},
    {"weir_time_in",
     run_time_text,
     DUCKDB_TYPE_TIMESTAMP,
     {DUCKDB_TYPE_VARCHAR, DUCKDB_TYPE_BIGINT}},
    {"weir_format_time",
     run_format_time,
     DUCKDB_TYPE_VARCHAR,
     {DUCKDB_TYPE_TIMESTAMP, DUCKDB_TYPE_VARCHAR, DUCKDB_TYPE_TIMESTAMP}},
    {"weir_number_text", run_number_text, DUCKDB_TYPE_VARCHAR, {DUCKDB_TYPE_DOUBLE}},
    {"weir_rare", run_rare, DUCKDB_TYPE_VARCHAR, {DUCKDB_TYPE_VARCHAR, DUCKDB_TYPE_VARCHAR}},
    {"weir_match_words",
     run_match_words,
     DUCKDB_TYPE_BOOLEAN,
     {DUCKDB_TYPE_VARCHAR, DUCKDB_TYPE_VARCHAR}},
};

static duckdb_scalar_function make_function(const struct scalar_row *row)
{
    duckdb_scalar_function f = duckdb_create_scalar_function();
    duckdb_logical_type result = duckdb_create_logical_type(row->result);
    duckdb_scalar_function_set_name(f, row->name);
    for (size_t i = 0; i < ARGUMENTS_MAX && row->arguments[i] != DUCKDB_TYPE_INVALID; i++) {
        duckdb_logical_type type = duckdb_create_logical_type(row->arguments[i]);
        duckdb_scalar_function_add_parameter(f, type);
        duckdb_destroy_logical_type(&type);
    }
    duckdb_scalar_function_set_return_type(f, result);
    duckdb_scalar_function_set_function(f, row->run);
    duckdb_destroy_logical_type(&result);
    return f;
}

/* The overloads of one name stand together in the table; they are registered as one set. */
static enum err_code register_set(duckdb_connection con, size_t first, size_t *next, struct err *e)
{
    const char *name = scalar_table[first].name;
    duckdb_scalar_function_set set = duckdb_create_scalar_function_set(name);
    size_t i = first;
    for (; i < ARRAY_LEN(scalar_table) && strcmp(scalar_table[i].name, name) == 0; i++) {
        duckdb_scalar_function f = make_function(&scalar_table[i]);
        duckdb_add_scalar_function_to_set(set, f);
        duckdb_destroy_scalar_function(&f);
    }
    *next = i;
    duckdb_state state = duckdb_register_scalar_function_set(con, set);
    duckdb_destroy_scalar_function_set(&set);
    if (state != DuckDBSuccess)
        return err_set(e, ERR_IO, "DuckDB refuses the function %s", name);
    return ERR_OK;
}

enum err_code scalar_functions_register(duckdb_connection con, struct err *e)
{
    enum err_code rc = ERR_OK;
    for (size_t i = 0; i < ARRAY_LEN(scalar_table) && rc == ERR_OK;)
        rc = register_set(con, i, &i, e);
    return rc;
}

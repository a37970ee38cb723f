/* gateway/engine/values.c - writes the values of values.h. */
#include "gateway/engine/values.h"

#include <float.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/clock.h"
#include "base/json.h"

__extension__ typedef unsigned __int128 u128;
__extension__ typedef __int128 i128;

#define US_PER_DAY INT64_C(86400000000)

bool value_is_null(const struct value_view *v, idx_t row)
{
    return v->type->id == DUCKDB_TYPE_SQLNULL ||
           (v->validity && !(v->validity[row >> 6] >> (row & 63) & 1));
}

struct str value_string(const struct value_view *v, idx_t row)
{
    const duckdb_string_t *s = (const duckdb_string_t *)v->data + row;
    uint32_t len = s->value.inlined.length;
    return (struct str){len <= sizeof s->value.inlined.inlined ? s->value.inlined.inlined
                                                               : s->value.pointer.ptr,
                        len};
}

/* --- integers --- */

static i128 hugeint(const void *data, idx_t row)
{
    const duckdb_hugeint *h = (const duckdb_hugeint *)data + row;
    return (i128)((u128)(uint64_t)h->upper << 64 | h->lower);
}

/* The signed integers and the small unsigned ones. */
static i128 stored_int(duckdb_type t, const void *data, idx_t row)
{
    switch (t) {
    case DUCKDB_TYPE_TINYINT:
        return ((const int8_t *)data)[row];
    case DUCKDB_TYPE_SMALLINT:
        return ((const int16_t *)data)[row];
    case DUCKDB_TYPE_INTEGER:
        return ((const int32_t *)data)[row];
    case DUCKDB_TYPE_UTINYINT:
        return ((const uint8_t *)data)[row];
    case DUCKDB_TYPE_USMALLINT:
        return ((const uint16_t *)data)[row];
    case DUCKDB_TYPE_UINTEGER:
        return ((const uint32_t *)data)[row];
    case DUCKDB_TYPE_UBIGINT:
        return ((const uint64_t *)data)[row];
    case DUCKDB_TYPE_HUGEINT:
        return hugeint(data, row);
    default:
        return ((const int64_t *)data)[row];
    }
}

/* Decimal digits of `n`, with a point before the last `scale` of them. */
static void write_digits(struct buf *out, u128 n, unsigned scale)
{
    char text[48];
    size_t at = sizeof text;
    for (unsigned digits = 0; n > 0 || digits <= scale; digits++, n /= 10) {
        if (scale > 0 && digits == scale)
            text[--at] = '.';
        text[--at] = (char)('0' + (int)(n % 10));
    }
    buf_add(out, text + at, sizeof text - at);
}

static void write_int(struct buf *out, i128 n, unsigned scale)
{
    if (n < 0)
        buf_add_char(out, '-');
    write_digits(out, n < 0 ? -(u128)n : (u128)n, scale);
}

bool value_int128_fits(const struct value_view *v, idx_t row, int64_t *out)
{
    const duckdb_hugeint *h = (const duckdb_hugeint *)v->data + row;
    *out = (int64_t)h->lower;
    if (v->type->id == DUCKDB_TYPE_UHUGEINT)
        return h->upper == 0 && *out >= 0;
    return h->upper == (*out < 0 ? -1 : 0);
}

/* --- floating point --- */

/* The double whose shortest text is the float's shortest text: 0.1f is 0.1. */
static double widen_float(float f)
{
    char text[32];
    if (!isfinite(f))
        return (double)f;
    for (int digits = FLT_DIG; digits < FLT_DECIMAL_DIG; digits++) {
        snprintf(text, sizeof text, "%.*g", digits, (double)f);
        if (strtof(text, NULL) == f)
            return strtod(text, NULL);
    }
    snprintf(text, sizeof text, "%.*g", FLT_DECIMAL_DIG, (double)f);
    return strtod(text, NULL);
}

double value_f64(const struct value_view *v, idx_t row)
{
    if (v->type->id == DUCKDB_TYPE_FLOAT)
        return widen_float(((const float *)v->data)[row]);
    return ((const double *)v->data)[row];
}

static void write_f64(struct buf *out, double d)
{
    char text[32];
    if (isfinite(d))
        buf_add(out, text, f64_format(d, text));
    else
        buf_add_cstr(out, "null");
}

/* --- times --- */

/* `.ffffff` when it is not zero; `digits` is 6 or 9. */
static void write_fraction(struct buf *out, int64_t fraction, int digits)
{
    if (fraction != 0)
        buf_printf(out, ".%0*lld", digits, (long long)fraction);
}

static void write_time_of_day(struct buf *out, int64_t us)
{
    int64_t s = us / 1000000;
    buf_printf(out, "%02d:%02d:%02d", (int)(s / 3600), (int)(s / 60 % 60), (int)(s % 60));
    write_fraction(out, us % 1000000, 6);
}

static void write_date(struct buf *out, duckdb_date date)
{
    if (!duckdb_is_finite_date(date)) {
        buf_add_cstr(out, date.days > 0 ? "infinity" : "-infinity");
        return;
    }
    duckdb_date_struct d = duckdb_from_date(date);
    buf_printf(out, "%04d-%02d-%02d", (int)d.year, (int)d.month, (int)d.day);
}

/* `unit` counts of a second; rest below a microsecond only for nanoseconds. */
static void write_timestamp(struct buf *out, int64_t t, int64_t per_second)
{
    if (t == INT64_MAX || t == -INT64_MAX) {
        buf_add_cstr(out, t > 0 ? "infinity" : "-infinity");
        return;
    }
    int64_t per_day = 86400 * per_second;
    int64_t day = t / per_day, rest = t % per_day;
    if (rest < 0) {
        day--;
        rest += per_day;
    }
    write_date(out, (duckdb_date){(int32_t)day});
    buf_add_char(out, 'T');
    if (per_second <= 1000000) {
        write_time_of_day(out, rest * (1000000 / per_second));
        return;
    }
    int64_t ns = rest % per_second;
    if (ns % 1000 == 0) {
        write_time_of_day(out, rest / 1000);
    } else {
        write_time_of_day(out, rest / per_second * 1000000);
        write_fraction(out, ns, 9);
    }
}

static void write_time_tz(struct buf *out, duckdb_time_tz stored)
{
    duckdb_time_tz_struct t = duckdb_from_time_tz(stored);
    int offset = abs(t.offset);
    buf_printf(out, "%02d:%02d:%02d", t.time.hour, t.time.min, t.time.sec);
    write_fraction(out, t.time.micros, 6);
    buf_printf(out, "%c%02d:%02d", t.offset < 0 ? '-' : '+', offset / 3600, offset / 60 % 60);
}

static void write_part(struct buf *out, size_t start, int64_t n, const char *unit)
{
    if (n != 0)
        buf_printf(out, "%s%lld %s", out->len > start ? " " : "", (long long)n, unit);
}

/* "1 mons 2 days 3 hours 4 mins 5.000000000 secs", without what is zero. */
static void write_interval(struct buf *out, duckdb_interval i)
{
    size_t start = out->len;
    int64_t seconds = i.micros / US_PER_SEC % 60, micros = i.micros % US_PER_SEC;
    write_part(out, start, i.months, "mons");
    write_part(out, start, i.days, "days");
    write_part(out, start, i.micros / (3600 * US_PER_SEC), "hours");
    write_part(out, start, i.micros / (60 * US_PER_SEC) % 60, "mins");
    if (seconds != 0 || micros != 0)
        buf_printf(out, "%s%s%lld.%06lld000 secs", out->len > start ? " " : "",
                   i.micros < 0 ? "-" : "", (long long)llabs(seconds), (long long)llabs(micros));
    if (out->len == start)
        buf_add_cstr(out, "0 secs");
}

/* --- text --- */

static void write_hex(struct buf *out, struct str bytes)
{
    static const char digits[] = "0123456789abcdef";
    for (size_t i = 0; i < bytes.len; i++) {
        unsigned char b = (unsigned char)bytes.ptr[i];
        buf_add(out, (char[]){digits[b >> 4], digits[b & 15]}, 2);
    }
}

/* Stored with its highest bit flipped, so that it sorts as a signed number. */
static void write_uuid(struct buf *out, const duckdb_hugeint *h)
{
    uint64_t high = (uint64_t)h->upper ^ (UINT64_C(1) << 63), low = h->lower;
    buf_printf(out, "%08x-%04x-%04x-%04x-%012llx", (unsigned)(high >> 32),
               (unsigned)(high >> 16 & 0xFFFF), (unsigned)(high & 0xFFFF), (unsigned)(low >> 48),
               (unsigned long long)(low & UINT64_C(0xFFFFFFFFFFFF)));
}

static void write_enum(struct buf *out, const struct value_view *v, idx_t row)
{
    size_t i = (size_t)stored_int(v->type->storage, v->data, row);
    if (i < v->type->word_count)
        buf_add_str(out, v->type->words[i]);
}

static int64_t i64_at(const struct value_view *v, idx_t row)
{
    return ((const int64_t *)v->data)[row];
}

/* Times, dates and the other types whose JSON form is a string. */
static void write_string_type(struct buf *out, const struct value_view *v, idx_t row)
{
    switch (v->type->id) {
    case DUCKDB_TYPE_TIMESTAMP:
    case DUCKDB_TYPE_TIMESTAMP_TZ:
        write_timestamp(out, i64_at(v, row), 1000000);
        break;
    case DUCKDB_TYPE_TIMESTAMP_S:
        write_timestamp(out, i64_at(v, row), 1);
        break;
    case DUCKDB_TYPE_TIMESTAMP_MS:
        write_timestamp(out, i64_at(v, row), 1000);
        break;
    case DUCKDB_TYPE_TIMESTAMP_NS:
        write_timestamp(out, i64_at(v, row), 1000000000);
        break;
    case DUCKDB_TYPE_DATE:
        write_date(out, ((const duckdb_date *)v->data)[row]);
        break;
    case DUCKDB_TYPE_TIME:
        write_time_of_day(out, i64_at(v, row));
        break;
    case DUCKDB_TYPE_TIME_TZ:
        write_time_tz(out, ((const duckdb_time_tz *)v->data)[row]);
        break;
    case DUCKDB_TYPE_INTERVAL:
        write_interval(out, ((const duckdb_interval *)v->data)[row]);
        break;
    case DUCKDB_TYPE_BLOB:
        write_hex(out, value_string(v, row));
        break;
    case DUCKDB_TYPE_UUID:
        write_uuid(out, (const duckdb_hugeint *)v->data + row);
        break;
    case DUCKDB_TYPE_ENUM:
        write_enum(out, v, row);
        break;
    default:
        buf_add_str(out, value_string(v, row));
    }
}

/* --- JSON --- */

static void write_list(struct buf *out, const struct value_view *child, idx_t from, idx_t count)
{
    buf_add_char(out, '[');
    for (idx_t i = 0; i < count; i++) {
        if (i > 0)
            buf_add_char(out, ',');
        value_write_json(out, child, from + i);
    }
    buf_add_char(out, ']');
}

static void write_struct(struct buf *out, const struct value_view *v, idx_t row)
{
    buf_add_char(out, '{');
    for (size_t i = 0; i < v->child_count; i++) {
        if (i > 0)
            buf_add_char(out, ',');
        json_escape(out, v->type->names[i]);
        buf_add_char(out, ':');
        value_write_json(out, &v->children[i], row);
    }
    buf_add_char(out, '}');
}

/* A map's key as the key of an object. */
static void write_key(struct buf *out, const struct value_view *key, idx_t row)
{
    struct buf text;
    buf_init(&text, out->max);
    value_write_text(&text, key, row);
    json_escape(out, buf_str(&text));
    out->failed |= text.failed;
    buf_done(&text);
}

static void write_map(struct buf *out, const struct value_view *v, idx_t row)
{
    const duckdb_list_entry *entry = (const duckdb_list_entry *)v->data + row;
    buf_add_char(out, '{');
    for (idx_t i = 0; i < entry->length; i++) {
        if (i > 0)
            buf_add_char(out, ',');
        write_key(out, &v->children[0], entry->offset + i);
        buf_add_char(out, ':');
        value_write_json(out, &v->children[1], entry->offset + i);
    }
    buf_add_char(out, '}');
}

static void write_union(struct buf *out, const struct value_view *v, idx_t row)
{
    size_t tag = ((const uint8_t *)v->children[0].data)[row];
    if (tag + 1 < v->child_count)
        value_write_json(out, &v->children[tag + 1], row);
    else
        buf_add_cstr(out, "null");
}

/* False for the types whose JSON form is a string. */
static bool write_number(struct buf *out, const struct value_view *v, idx_t row)
{
    switch (v->type->id) {
    case DUCKDB_TYPE_BOOLEAN:
        buf_add_cstr(out, ((const bool *)v->data)[row] ? "true" : "false");
        return true;
    case DUCKDB_TYPE_TINYINT:
    case DUCKDB_TYPE_SMALLINT:
    case DUCKDB_TYPE_INTEGER:
    case DUCKDB_TYPE_BIGINT:
    case DUCKDB_TYPE_UTINYINT:
    case DUCKDB_TYPE_USMALLINT:
    case DUCKDB_TYPE_UINTEGER:
    case DUCKDB_TYPE_UBIGINT:
    case DUCKDB_TYPE_HUGEINT:
        write_int(out, stored_int(v->type->id, v->data, row), 0);
        return true;
    case DUCKDB_TYPE_UHUGEINT:
        write_digits(out, (u128)hugeint(v->data, row), 0);
        return true;
    case DUCKDB_TYPE_DECIMAL:
        write_int(out, stored_int(v->type->storage, v->data, row), v->type->scale);
        return true;
    case DUCKDB_TYPE_FLOAT:
    case DUCKDB_TYPE_DOUBLE:
        write_f64(out, value_f64(v, row));
        return true;
    default:
        return false;
    }
}

/* False for types without parts. */
static bool write_nested(struct buf *out, const struct value_view *v, idx_t row)
{
    const duckdb_list_entry *entry = (const duckdb_list_entry *)v->data + row;
    switch (v->type->id) {
    case DUCKDB_TYPE_LIST:
        write_list(out, &v->children[0], entry->offset, entry->length);
        return true;
    case DUCKDB_TYPE_ARRAY:
        write_list(out, &v->children[0], row * v->type->array_len, v->type->array_len);
        return true;
    case DUCKDB_TYPE_MAP:
        write_map(out, v, row);
        return true;
    case DUCKDB_TYPE_STRUCT:
        write_struct(out, v, row);
        return true;
    case DUCKDB_TYPE_UNION:
        write_union(out, v, row);
        return true;
    default:
        return false;
    }
}

void value_write_text(struct buf *out, const struct value_view *v, idx_t row)
{
    if (!write_nested(out, v, row) && !write_number(out, v, row))
        write_string_type(out, v, row);
}

void value_write_json(struct buf *out, const struct value_view *v, idx_t row)
{
    if (value_is_null(v, row)) {
        buf_add_cstr(out, "null");
        return;
    }
    if (write_nested(out, v, row) || write_number(out, v, row))
        return;
    if (v->type->id == DUCKDB_TYPE_VARCHAR) {
        json_escape(out, value_string(v, row));
        return;
    }
    size_t start = out->len;
    buf_add_char(out, '"'); /* the texts of these types need no escapes, but for enums */
    write_string_type(out, v, row);
    if (v->type->id != DUCKDB_TYPE_ENUM) {
        buf_add_char(out, '"');
        return;
    }
    if (buf_ok(out)) {
        size_t word = (size_t)stored_int(v->type->storage, v->data, row);
        out->len = start;
        json_escape(out, word < v->type->word_count ? v->type->words[word] : STR(""));
    }
}

/* gateway/settings.c - reads the table of settings from an environment. */
#include "gateway/settings.h"

#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"
#include "base/json.h"

#define UNKNOWN_MAX 256 /* unknown names that are remembered; more are counted as the last */

struct setting_row {
    const char *name;
    enum setting_type type;
    const char *def;
    int64_t min, max;
    bool secret;
    const char *help;
};

static const struct setting_row rows[SETTING_COUNT] = {
#define SETTING(id, n, t, d, lo, hi, s, h)                                                         \
    [SET_##id] = {.name = n, .type = t, .def = d, .min = lo, .max = hi, .secret = s, .help = h},
#include "gateway/settings.tbl"
#undef SETTING
};

struct setting_value {
    const char *text; /* as given, or the default */
    int64_t number;   /* bytes, milliseconds, 0 or 1, or the plain integer */
    bool is_set;
};

struct settings {
    struct arena arena;
    struct setting_value values[SETTING_COUNT];
    const char *unknown[UNKNOWN_MAX];
    size_t unknown_count;
};

/* How the types read: the factor of a plain number, and the suffixes that are understood. */
struct unit {
    const char *suffix;
    int64_t factor;
};

static const struct unit byte_units[] = {
    {"b", 1},
    {"k", 1 << 10},
    {"kb", 1 << 10},
    {"kib", 1 << 10},
    {"m", 1 << 20},
    {"mb", 1 << 20},
    {"mib", 1 << 20},
    {"g", 1 << 30},
    {"gb", 1 << 30},
    {"gib", 1 << 30},
    {"t", INT64_C(1) << 40},
    {"tb", INT64_C(1) << 40},
    {"tib", INT64_C(1) << 40},
    {NULL, 0},
};
static const struct unit time_units[] = {
    {"ms", 1},      {"s", 1000},    {"sec", 1000},   {"m", 60000},
    {"min", 60000}, {"h", 3600000}, {"d", 86400000}, {NULL, 0},
};

struct type_row {
    const char *name;         /* in help and tables */
    int64_t factor;           /* of a plain number */
    const struct unit *units; /* NULL: no suffixes */
};
static const struct type_row types[] = {
    [SET_BOOL] = {"true or false", 1, NULL},
    [SET_INT] = {"number", 1, NULL},
    [SET_TEXT] = {"text", 1, NULL},
    [SET_PATH] = {"path", 1, NULL},
    [SET_BYTES] = {"bytes", 1, byte_units},
    [SET_MB] = {"MiB", 1 << 20, byte_units},
    [SET_SECONDS] = {"seconds", 1000, time_units},
    [SET_MINUTES] = {"minutes", 60000, time_units},
    [SET_HOURS] = {"hours", 3600000, time_units},
    [SET_DAYS] = {"days", 86400000, time_units},
};

static bool parse_bool(struct str s, int64_t *out)
{
    static const char *const yes[] = {"true", "1", "yes", "on"};
    static const char *const no[] = {"false", "0", "no", "off"};

    for (size_t i = 0; i < ARRAY_LEN(yes); i++) {
        if (str_eq_nocase(s, str_from(yes[i])) || str_eq_nocase(s, str_from(no[i]))) {
            *out = str_eq_nocase(s, str_from(yes[i]));
            return true;
        }
    }
    return false;
}

/* "12", "12M", "500ms": digits, then a suffix the type knows.  False on anything else or overflow.
 */
static bool parse_number(struct str s, const struct type_row *type, int64_t *out)
{
    size_t digits = 0;
    int64_t value, factor = type->factor;

    if (digits < s.len && s.ptr[0] == '-')
        digits++;
    while (digits < s.len && s.ptr[digits] >= '0' && s.ptr[digits] <= '9')
        digits++;
    if (!str_to_i64((struct str){s.ptr, digits}, &value))
        return false;
    if (digits < s.len) {
        const struct unit *u = type->units;
        struct str suffix = str_trim((struct str){s.ptr + digits, s.len - digits});
        while (u && u->suffix && !str_eq_nocase(suffix, str_from(u->suffix)))
            u++;
        if (!u || !u->suffix)
            return false;
        factor = u->factor;
    }
    return !__builtin_mul_overflow(value, factor, out);
}

static bool is_number(enum setting_type t)
{
    return t != SET_BOOL && t != SET_TEXT && t != SET_PATH;
}

static enum err_code parse_value(const struct setting_row *row, struct setting_value *v,
                                 struct err *e)
{
    const struct type_row *type = &types[row->type];
    struct str text = str_trim(str_from(v->text));

    if (row->type == SET_TEXT || row->type == SET_PATH)
        return ERR_OK;
    if (row->type == SET_BOOL) {
        if (parse_bool(text, &v->number))
            return ERR_OK;
        return err_set(e, ERR_INVALID, "%s=%s: expected true or false", row->name, v->text);
    }
    if (!parse_number(text, type, &v->number))
        return err_set(e, ERR_INVALID, "%s=%s: expected a number%s%s", row->name, v->text,
                       row->type == SET_INT ? "" : " of ", row->type == SET_INT ? "" : type->name);
    if ((row->min || row->max) &&
        (v->number < row->min * type->factor || v->number > row->max * type->factor))
        return err_set(e, ERR_INVALID, "%s=%s: out of range, %" PRId64 " to %" PRId64 " (%s)",
                       row->name, v->text, row->min, row->max, type->name);
    return ERR_OK;
}

/* Names with our prefix that others read: `weir query`, tools/fetch-duckdb. */
static bool is_anothers(struct str name)
{
    return str_eq(name, STR("WEIR_URL")) || str_eq(name, STR("WEIR_CACHE_DIR"));
}

static int find_row(struct str name)
{
    for (int i = 0; i < SETTING_COUNT; i++) {
        if (str_eq(name, str_from(rows[i].name)))
            return i;
    }
    return -1;
}

static void take_env(struct settings *s, const char *entry)
{
    struct str name, value;
    int i;

    if (!str_cut(str_from(entry), '=', &name, &value))
        return;
    i = find_row(name);
    if (i >= 0 && value.len == 0 && rows[i].type != SET_TEXT)
        return; /* charts set names to nothing to mean the default */
    if (i >= 0) {
        s->values[i].text = arena_strdup(&s->arena, value);
        s->values[i].is_set = true;
    } else if ((str_starts(name, STR("ZO_")) || str_starts(name, STR("WEIR_"))) &&
               !is_anothers(name)) {
        if (s->unknown_count < UNKNOWN_MAX)
            s->unknown[s->unknown_count++] = arena_strdup(&s->arena, name);
    }
}

enum err_code settings_load(char *const *env, struct settings **out, struct err *e)
{
    struct settings *s = calloc(1, sizeof *s);

    if (!s)
        return err_set(e, ERR_NOMEM, "settings");
    arena_init(&s->arena, 4u << 20);
    for (int i = 0; i < SETTING_COUNT; i++)
        s->values[i].text = rows[i].def;
    for (; env && *env; env++)
        take_env(s, *env);
    if (s->arena.failed) {
        settings_free(s);
        return err_set(e, ERR_NOMEM, "settings: the environment is too large");
    }
    for (int i = 0; i < SETTING_COUNT; i++) {
        enum err_code rc = parse_value(&rows[i], &s->values[i], e);
        if (rc) {
            settings_free(s);
            return rc;
        }
    }
    *out = s;
    return ERR_OK;
}

void settings_free(struct settings *s)
{
    if (!s)
        return;
    arena_done(&s->arena);
    free(s);
}

bool settings_bool(const struct settings *s, enum setting_id id)
{
    return s->values[id].number != 0;
}

int64_t settings_i64(const struct settings *s, enum setting_id id)
{
    return s->values[id].number;
}

const char *settings_text(const struct settings *s, enum setting_id id)
{
    return s->values[id].text;
}

bool settings_is_set(const struct settings *s, enum setting_id id)
{
    return s->values[id].is_set;
}

size_t settings_unknown(const struct settings *s, const char *const **names)
{
    *names = s->unknown;
    return s->unknown_count;
}

/* What may be shown of a value. */
static const char *shown_value(const struct settings *s, int i)
{
    if (rows[i].secret && s->values[i].text[0])
        return "********";
    return s->values[i].text;
}

void settings_print_text(const struct settings *s, struct buf *out, bool with_help)
{
    for (int i = 0; i < SETTING_COUNT; i++) {
        buf_printf(out, "%-34s %-24s %s\n", rows[i].name, shown_value(s, i),
                   s->values[i].is_set ? "environment" : "default");
        if (with_help)
            buf_printf(out, "    %s (%s)\n", rows[i].help, types[rows[i].type].name);
    }
}

static void print_json_value(struct json_writer *w, const struct settings *s, int i)
{
    jw_key(w, STR("value"));
    if (rows[i].type == SET_BOOL)
        jw_bool(w, s->values[i].number != 0);
    else if (rows[i].type == SET_INT)
        jw_i64(w, s->values[i].number);
    else
        jw_cstr(w, shown_value(s, i));
}

void settings_print_json(const struct settings *s, struct buf *out)
{
    struct json_writer w = {.out = out};

    jw_object(&w);
    for (int i = 0; i < SETTING_COUNT; i++) {
        jw_key(&w, str_from(rows[i].name));
        jw_object(&w);
        print_json_value(&w, s, i);
        jw_kcstr(&w, "type", types[rows[i].type].name);
        jw_kcstr(&w, "default", rows[i].def);
        jw_kcstr(&w, "origin", s->values[i].is_set ? "environment" : "default");
        if (is_number(rows[i].type) && (rows[i].min || rows[i].max)) {
            jw_ki64(&w, "min", rows[i].min);
            jw_ki64(&w, "max", rows[i].max);
        }
        jw_kbool(&w, "secret", rows[i].secret);
        jw_kcstr(&w, "help", rows[i].help);
        jw_end(&w);
    }
    jw_end(&w);
    buf_add_char(out, '\n');
}

void settings_print_markdown(const struct settings *s, struct buf *out)
{
    (void)s; /* the table in the README shows defaults, whatever the environment says */
    buf_add_cstr(out, "| setting | default | unit | meaning |\n|---|---|---|---|\n");
    for (int i = 0; i < SETTING_COUNT; i++) {
        const char *def = rows[i].def;
        buf_printf(out, "| `%s` | %s%s%s | %s | %s |\n", rows[i].name, def[0] ? "`" : "", def,
                   def[0] ? "`" : "", types[rows[i].type].name, rows[i].help);
    }
}

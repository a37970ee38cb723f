/* gateway/gate_text.c - rewrites match_all(), fuzzy_match_all() and histogram() into what the
 * engine has.
 *
 *   match_all('v')            weir_match_words(concat_ws(' ', f1, f2, ...), 'v')
 *   match_all('re:v.*')       weir_match_word_re(concat_ws(' ', f1, f2, ...), 'v.*')
 *   fuzzy_match_all('v', 1)   fuzzy_match(concat_ws(' ', f1, f2, ...), 'v', 1)
 *   histogram(t, '5 minutes') weir_histogram(t, 300000000)
 *   histogram(t, '1 month')   time_bucket(INTERVAL '1 months', weir_time(t), '2001-01-01')
 *
 * The fields of match_all are those full-text fields that the FROM around it shows: of a stream the
 * ones its schema has, of a sub-query or CTE the ones it passes on.  A third argument of histogram,
 * the time zone, is accepted and, as in the reference, has no effect.
 */
#include "base/cleanup.h"
#include "base/clock.h"
#include "gateway/gate_internal.h"
#include "gateway/stream_settings.h"

#define MATCH_FIELDS_MAX 256 /* columns that one match_all looks into */
#define BEHIND_DEPTH_MAX 32  /* sub-queries that a field is followed through */

/* ---- match_all ---- */

struct match {
    struct gate *g;
    struct json *columns; /* the arguments of concat_ws so far */
};

static bool is_fts_name(const struct gate *g, struct str name)
{
    if (stream_settings_is_full_text(name))
        return true;
    struct str rest = str_from(g->o->fts_extra), word;
    while (rest.len) {
        str_cut(rest, ',', &word, &rest);
        if (str_eq_nocase(name, str_trim(word)))
            return true;
    }
    return false;
}

static bool names_contain(const struct json *names, struct str name)
{
    for (const struct json *n = names ? names->first : NULL; n; n = n->next)
        if (str_eq_nocase(n->text, name))
            return true;
    return false;
}

static bool shows(const struct gate *g, const struct gate_source *source, struct str name,
                  unsigned depth);

static bool any_shows(const struct gate *g, const struct gate_source *sources, struct str only,
                      struct str name, unsigned depth)
{
    for (const struct gate_source *s = sources; s; s = s->next)
        if ((!only.len || str_eq_nocase(only, s->alias)) && shows(g, s, name, depth))
            return true;
    return false;
}

/* Does an item of the select list give a column of this name? */
static bool item_gives(const struct gate *g, const struct json *item,
                       const struct gate_source *behind, struct str name, unsigned depth)
{
    if (tree_is(item, "class", "STAR"))
        return !names_contain(json_get(item, "exclude_list"), name) &&
               any_shows(g, behind, json_get(item, "relation_name")->text, name, depth + 1);
    struct str alias = json_get(item, "alias")->text;
    if (alias.len)
        return str_eq_nocase(alias, name);
    const struct json *names = json_get(item, "column_names");
    return names && str_eq_nocase(names->last->text, name);
}

static bool stream_has(const struct catalog_stream *s, struct str name)
{
    for (size_t i = 0; i < s->field_count; i++)
        if (s->fields[i].type == FIELD_UTF8 && str_eq_nocase(s->fields[i].name, name))
            return true;
    return false;
}

static bool shows(const struct gate *g, const struct gate_source *source, struct str name,
                  unsigned depth)
{
    if (source->stream)
        return stream_has(source->stream, name);
    if (depth > BEHIND_DEPTH_MAX || !source->node)
        return false;
    if (source->renamed && source->renamed->count)
        return names_contain(source->renamed, name);
    const struct json *node = source->node;
    while (tree_is(node, "type", "SET_OPERATION_NODE"))
        node = json_get(node, "left");
    const struct json *list = json_get(node, "select_list");
    for (const struct json *item = list ? list->first : NULL; item; item = item->next)
        if (item_gives(g, item, source->behind, name, depth))
            return true;
    return false;
}

static void add_column(struct match *m, const struct gate_source *source, struct str name)
{
    if (m->columns && m->columns->count <= MATCH_FIELDS_MAX)
        json_append(m->columns, build_column(m->g->a, source->alias, name));
}

static void add_columns_of(struct match *m, const struct gate_source *source)
{
    for (size_t i = 0; source->stream && i < source->stream->field_count; i++) {
        const struct meta_field *f = &source->stream->fields[i];
        bool is_set = source->stream->full_text && source->stream->full_text[i];
        if (f->type == FIELD_UTF8 &&
            (is_set || is_fts_name(m->g, gate_written(&m->g->out->names, f->name))))
            add_column(m, source, f->name);
    }
    if (source->stream)
        return;
    const char *name;
    for (size_t i = 0; (name = stream_settings_full_text(i)); i++)
        if (shows(m->g, source, str_from(name), 0))
            add_column(m, source, str_from(name));
    struct str rest = str_from(m->g->o->fts_extra), word;
    while (rest.len) {
        str_cut(rest, ',', &word, &rest);
        word = str_trim(word);
        if (word.len && shows(m->g, source, word, 0))
            add_column(m, source, word);
    }
}

bool gate_constant_text(const struct json *argument, struct str *out)
{
    if (!tree_is(argument, "class", "CONSTANT"))
        return false;
    const struct json *value = json_get(argument, "value"), *content = json_get(value, "value");
    const struct json *type = json_get(value, "type");
    bool text = tree_is(type, "id", "VARCHAR"),
         whole = tree_is(type, "id", "INTEGER") || tree_is(type, "id", "BIGINT");
    if (!content || json_get(value, "is_null")->boolean || (!text && !whole) ||
        content->type != (text ? JSON_STRING : JSON_NUMBER))
        return false;
    *out = content->text;
    return true;
}

/* concat_ws(' ', field, field, ...); NULL without such a field, or when the arena is full. */
static struct json *all_fields(struct gate *g, const struct gate_source *sources)
{
    struct match m = {.g = g, .columns = build_array(g->a)};
    json_append(m.columns, build_text(g->a, STR(" ")));
    for (const struct gate_source *s = sources; s; s = s->next)
        add_columns_of(&m, s);
    if (!m.columns || m.columns->count < 2)
        return NULL;
    return build_function(g->a, "concat_ws", m.columns);
}

/* match_all takes a text, fuzzy_match_all a text and a distance; both nothing else. */
static bool match_arguments_fit(const struct json *call, bool fuzzy)
{
    const struct json *arguments = json_get(call, "children");
    struct str text, distance;
    int64_t number;
    return arguments->count == (fuzzy ? 2 : 1) && gate_constant_text(arguments->first, &text) &&
           (!fuzzy || (gate_constant_text(arguments->last, &distance) &&
                       str_to_i64(distance, &number) && number >= 0)) &&
           json_get(call, "filter")->type == JSON_NULL && !json_get(call, "distinct")->boolean;
}

enum err_code gate_rewrite_match_all(struct gate *g, struct json *call,
                                     const struct gate_source *sources)
{
    bool fuzzy = str_eq_nocase(json_get(call, "function_name")->text, STR("fuzzy_match_all"));
    const struct json *arguments = json_get(call, "children");
    struct str words, alias = json_get(call, "alias")->text;
    if (!match_arguments_fit(call, fuzzy))
        return search_error(g->e, API_SQL_EXECUTE, "Search SQL execute error: %s",
                            fuzzy ? "fuzzy_match_all takes a constant text and a distance"
                                  : "match_all takes one constant text");
    gate_constant_text(arguments->first, &words);
    struct json *children = build_array(g->a), *fields = all_fields(g, sources);
    if (!fields && !g->a->failed)
        return search_error(g->e, API_FTS_FIELD_NOT_FOUND, "Full text search field not found");
    const char *function = "weir_match_words";
    if (fuzzy) {
        function = "fuzzy_match";
    } else if (str_starts(words, STR("re:"))) {
        function = "weir_match_word_re";
        words = (struct str){words.ptr + 3, words.len - 3};
    }
    json_append(children, fields);
    json_append(children, build_text(g->a, words));
    if (fuzzy)
        json_append(children, tree_take(g->a, arguments->last));
    struct json *match = build_function(g->a, function, children);
    if (!match || g->a->failed)
        return gate_no_memory(g->e);
    json_get(match, "alias")->text = alias;
    tree_replace(call, match);
    return ERR_OK;
}

/* ---- histogram ---- */

static const struct {
    const char *name;
    int64_t us, months;
} units[] = {
    {"microsecond", 1, 0},
    {"us", 1, 0},
    {"millisecond", 1000, 0},
    {"ms", 1000, 0},
    {"second", US_PER_SEC, 0},
    {"sec", US_PER_SEC, 0},
    {"s", US_PER_SEC, 0},
    {"minute", 60 * US_PER_SEC, 0},
    {"min", 60 * US_PER_SEC, 0},
    {"m", 60 * US_PER_SEC, 0},
    {"hour", US_PER_HOUR, 0},
    {"hr", US_PER_HOUR, 0},
    {"h", US_PER_HOUR, 0},
    {"day", 24 * US_PER_HOUR, 0},
    {"d", 24 * US_PER_HOUR, 0},
    {"week", 7 * 24 * US_PER_HOUR, 0},
    {"w", 7 * 24 * US_PER_HOUR, 0},
    {"month", 0, 1},
    {"mon", 0, 1},
    {"year", 0, 12},
    {"y", 0, 12},
};

static bool unit_is(struct str word, struct str unit)
{
    if (word.len == unit.len + 1 && (word.ptr[unit.len] == 's' || word.ptr[unit.len] == 'S'))
        word.len--;
    return str_eq_nocase(word, unit);
}

bool gate_parse_interval(struct str text, int64_t *us, int64_t *months)
{
    text = str_trim(text);
    size_t digits = 0;
    while (digits < text.len && text.ptr[digits] >= '0' && text.ptr[digits] <= '9')
        digits++;
    int64_t count;
    struct str word = str_trim((struct str){text.ptr + digits, text.len - digits});
    if (!str_to_i64((struct str){text.ptr, digits}, &count) || count <= 0)
        return false;
    for (size_t i = 0; i < ARRAY_LEN(units); i++)
        if (unit_is(word, str_from(units[i].name)))
            return !__builtin_mul_overflow(count, units[i].us, us) &&
                   !__builtin_mul_overflow(count, units[i].months, months);
    return false;
}

int64_t gate_histogram_interval_us(int64_t start_us, int64_t end_us)
{
    static const struct {
        int64_t range_seconds, bucket_seconds;
    } steps[] = {{60 * 86400, 86400}, {30 * 86400, 43200},
                 {28 * 86400, 21600}, {21 * 86400, 10800},
                 {15 * 86400, 7200},  {6 * 3600, 3600},
                 {2 * 3600, 60},      {3600, 30},
                 {1800, 15},          {10, 10}};
    int64_t range_us;
    if (__builtin_sub_overflow(end_us, start_us, &range_us))
        range_us = INT64_MAX;
    for (size_t i = 0; i < ARRAY_LEN(steps); i++)
        if (range_us >= steps[i].range_seconds * US_PER_SEC)
            return steps[i].bucket_seconds * US_PER_SEC;
    return US_PER_SEC;
}

/* A plain number is the number of buckets wanted. */
static bool interval_of_buckets(const struct gate *g, struct str text, int64_t *us)
{
    int64_t buckets, range_us;
    if (!str_to_i64(str_trim(text), &buckets) || buckets <= 0 ||
        __builtin_sub_overflow(g->o->end_us, g->o->start_us, &range_us))
        return false;
    int64_t seconds = range_us / US_PER_SEC / buckets;
    *us = (seconds > 0 ? seconds : 1) * US_PER_SEC;
    return true;
}

/* The second argument: '5 minutes', INTERVAL '5 minutes', 10 or '10'. */
static bool interval_of_argument(const struct gate *g, const struct json *argument, int64_t *us,
                                 int64_t *months)
{
    struct str text;
    if (tree_is(argument, "class", "CAST") &&
        tree_is(json_get(argument, "cast_type"), "id", "INTERVAL"))
        argument = json_get(argument, "child");
    if (!gate_constant_text(argument, &text))
        return false;
    return gate_parse_interval(text, us, months) || interval_of_buckets(g, text, us);
}

/* How long a bucket is, about: a month has 30 days. */
static bool length_of_bucket(int64_t us, int64_t months, int64_t *out)
{
    *out = us;
    return months == 0 || !__builtin_mul_overflow(months, 30 * 24 * US_PER_HOUR, out);
}

/* time_bucket with the reference's origin; `call` becomes it. */
static void bucket_by_months(struct gate *g, struct json *call, struct json *field, int64_t months)
{
    char *interval = arena_printf(g->a, "%lld months", (long long)months);
    struct json *time = build_array(g->a), *children = build_array(g->a);
    if (!interval || !time || !children)
        return;
    json_append(time, field);
    json_append(children, build_cast(g->a, build_text(g->a, str_from(interval)), "INTERVAL"));
    json_append(children, build_function(g->a, "weir_time", time));
    json_append(children, build_cast(g->a, build_text(g->a, STR("2001-01-01")), "TIMESTAMP"));
    json_get(call, "function_name")->text = STR("time_bucket");
    tree_replace(json_get(call, "children"), children);
}

static void bucket_by_us(struct gate *g, struct json *call, struct json *field, int64_t us)
{
    struct json *children = build_array(g->a);
    json_append(children, field);
    json_append(children, build_i64(g->a, us));
    json_get(call, "function_name")->text = STR("weir_histogram");
    tree_replace(json_get(call, "children"), children);
}

enum err_code gate_rewrite_histogram(struct gate *g, struct json *call)
{
    const struct json *arguments = json_get(call, "children");
    int64_t us = 0, months = 0, length_us = 0;
    bool valid = true;
    struct str zone;
    if (!tree_is(call, "class", "FUNCTION") || arguments->count < 1 || arguments->count > 3 ||
        (arguments->count == 3 && !gate_constant_text(arguments->last, &zone)))
        return search_error(g->e, API_SQL_NOT_VALID,
                            "Search SQL not valid: histogram takes a field, an interval and a "
                            "time zone");
    if (arguments->count == 1)
        us = g->o->histogram_interval_s > 0
                 ? g->o->histogram_interval_s * US_PER_SEC
                 : gate_histogram_interval_us(g->o->start_us, g->o->end_us);
    else
        valid = interval_of_argument(g, arguments->first->next, &us, &months);
    if (!valid || !length_of_bucket(us, months, &length_us))
        return search_error(g->e, API_SQL_EXECUTE,
                            "Search SQL execute error: invalid histogram interval, which is a "
                            "number above 0 with a unit, as in '5 minutes'");
    struct json *field = tree_take(g->a, arguments->first);
    if (months)
        bucket_by_months(g, call, field, months);
    else
        bucket_by_us(g, call, field, us);
    if (g->a->failed)
        return gate_no_memory(g->e);
    if (!g->out->has_histogram) {
        g->out->has_histogram = true;
        g->out->histogram_interval_us = length_us;
    }
    return ERR_OK;
}

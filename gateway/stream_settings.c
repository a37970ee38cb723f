/* gateway/stream_settings.c - reads, changes and checks the settings of a stream. */
#include "gateway/stream_settings.h"

#include "base/cleanup.h"

#define TEXT_MAX (4u << 20)

static const char DEFAULT_TEXT[] =
    "{\"partition_time_level\":\"hourly\",\"partition_keys\":{},\"full_text_search_keys\":[],"
    "\"index_fields\":[],\"bloom_filter_fields\":[],\"distinct_value_fields\":[],"
    "\"data_retention\":0,\"max_query_range\":0,\"store_original_data\":false,"
    "\"approx_partition\":false,\"index_updated_at\":0,\"extended_retention_days\":[],"
    "\"index_original_data\":false,\"index_all_values\":false,\"enable_distinct_fields\":true,"
    "\"enable_log_patterns_extraction\":false,\"is_llm_stream\":false}";
const struct str STREAM_SETTINGS_DEFAULT = {DEFAULT_TEXT, sizeof DEFAULT_TEXT - 1};

static const char *const FULL_TEXT[] = {"log",  "message", "msg",   "content",   "data",
                                        "body", "json",    "error", "llm_input", "llm_output"};

struct change {
    const struct meta_stream *stream;
    struct json *settings;
    struct arena *a;
    int64_t now_us;
    struct err *e;
};
struct key {
    const char *name;
    enum err_code (*run)(struct change *c, const struct key *k, const struct json *v);
    const char *words; /* of a text: those that it may be, one after the other */
};

bool stream_settings_is_full_text(struct str field)
{
    for (size_t i = 0; i < ARRAY_LEN(FULL_TEXT); i++)
        if (str_eq_nocase(field, str_from(FULL_TEXT[i])))
            return true;
    return false;
}

const char *stream_settings_full_text(size_t i)
{
    return i < ARRAY_LEN(FULL_TEXT) ? FULL_TEXT[i] : NULL;
}

/* ---- shapes ---- */

static const char *const type_names[] = {
    [JSON_NULL] = "null",     [JSON_BOOL] = "boolean",   [JSON_NUMBER] = "number",
    [JSON_STRING] = "string", [JSON_ARRAY] = "sequence", [JSON_OBJECT] = "map"};

static enum err_code misshapen(struct change *c, const char *where, const struct json *v,
                               const char *wanted)
{
    err_set(c->e, ERR_INVALID, "%s: invalid type: %s, expected %s", where,
            v ? type_names[v->type] : "nothing", wanted);
    if (c->e)
        c->e->detail = SETTINGS_SHAPE;
    return ERR_INVALID;
}

static struct json *setting(struct change *c, const char *name)
{
    return json_get(c->settings, name);
}

static void set(struct change *c, const char *name, struct json *v)
{
    if (v)
        json_set(c->a, c->settings, str_from(name), v);
}

static bool has_field(const struct meta_stream *s, struct str name)
{
    for (size_t i = 0; i < s->field_count; i++)
        if (str_eq(s->fields[i].name, name))
            return true;
    return false;
}

static enum err_code need_field(struct change *c, struct str name)
{
    return has_field(c->stream, name)
               ? ERR_OK
               : err_set(c->e, ERR_INVALID, "field [" STR_FMT "] not found in schema",
                         STR_ARG(name));
}

/* ---- scalars ---- */

static enum err_code change_number(struct change *c, const struct key *k, const struct json *v)
{
    int64_t n;
    if (v->type != JSON_NUMBER || !json_i64(v, &n))
        return misshapen(c, k->name, v, "i64");
    set(c, k->name, json_new_i64(c->a, n));
    return ERR_OK;
}

static enum err_code change_switch(struct change *c, const struct key *k, const struct json *v)
{
    if (v->type != JSON_BOOL)
        return misshapen(c, k->name, v, "a boolean");
    set(c, k->name, json_new_bool(c->a, v->boolean));
    return ERR_OK;
}

static enum err_code change_word(struct change *c, const struct key *k, const struct json *v)
{
    struct str rest = str_from(k->words), word;
    while (v->type == JSON_STRING && rest.len > 0) {
        str_cut(rest, ' ', &word, &rest);
        if (str_eq(word, v->text)) {
            set(c, k->name, json_new_str(c->a, v->text));
            return ERR_OK;
        }
    }
    return misshapen(c, k->name, v, k->words);
}

/* ---- lists ---- */

typedef bool (*same_item)(const struct json *a, const struct json *b);

static bool same_text(const struct json *a, const struct json *b)
{
    return str_eq(a->text, b->text);
}

static bool same_name(const struct json *a, const struct json *b)
{
    return str_eq(json_str(json_get(a, "name"), STR("")), json_str(json_get(b, "name"), STR("")));
}

static bool same_range(const struct json *a, const struct json *b)
{
    int64_t x[2] = {0}, y[2] = {0};
    json_i64(json_get(a, "start"), &x[0]);
    json_i64(json_get(a, "end"), &x[1]);
    json_i64(json_get(b, "start"), &y[0]);
    json_i64(json_get(b, "end"), &y[1]);
    return x[0] == y[0] && x[1] == y[1];
}

static const struct json *find_item(const struct json *list, const struct json *item,
                                    same_item same)
{
    for (const struct json *i = list ? list->first : NULL; i; i = i->next)
        if (same(i, item))
            return i;
    return NULL;
}

/* Those of `old` that `remove` does not name, then those of `add` that are not there yet. */
static struct json *edited(struct arena *a, const struct json *old, const struct json *add,
                           const struct json *remove, same_item same)
{
    struct json *list = json_new(a, JSON_ARRAY);
    for (const struct json *i = old ? old->first : NULL; list && i; i = i->next)
        if (!find_item(remove, i, same))
            json_append(list, json_clone(a, i));
    for (const struct json *i = add ? add->first : NULL; list && i; i = i->next)
        if (!find_item(list, i, same))
            json_append(list, json_clone(a, i));
    return list;
}

static enum err_code need_few(struct change *c, const struct key *k, const struct json *list)
{
    return !list || list->count <= SETTINGS_LIST_MAX
               ? ERR_OK
               : err_set(c->e, ERR_INVALID, "%s: more than %d entries", k->name, SETTINGS_LIST_MAX);
}

/* {"add":[…],"remove":[…]}, each may be missing. */
static enum err_code take_lists(struct change *c, const struct key *k, const struct json *v,
                                const struct json **add, const struct json **remove)
{
    if (v->type != JSON_OBJECT)
        return misshapen(c, k->name, v, "a map of `add` and `remove`");
    *add = json_get(v, "add");
    *remove = json_get(v, "remove");
    if (*add && (*add)->type != JSON_ARRAY)
        return misshapen(c, k->name, *add, "a sequence");
    if (*remove && (*remove)->type != JSON_ARRAY)
        return misshapen(c, k->name, *remove, "a sequence");
    enum err_code rc = need_few(c, k, *add);
    return rc == ERR_OK ? need_few(c, k, *remove) : rc;
}

static enum err_code need_texts(struct change *c, const struct key *k, const struct json *list)
{
    for (const struct json *i = list ? list->first : NULL; i; i = i->next)
        if (i->type != JSON_STRING)
            return misshapen(c, k->name, i, "a string");
    return ERR_OK;
}

/* The same, of texts. */
static enum err_code take_names(struct change *c, const struct key *k, const struct json *v,
                                const struct json **add, const struct json **remove)
{
    enum err_code rc = take_lists(c, k, v, add, remove);
    if (rc == ERR_OK)
        rc = need_texts(c, k, *add);
    return rc == ERR_OK ? need_texts(c, k, *remove) : rc;
}

static enum err_code change_fields(struct change *c, const struct key *k, const struct json *v)
{
    const struct json *add, *remove;
    enum err_code rc = take_names(c, k, v, &add, &remove);
    for (const struct json *i = add && rc == ERR_OK ? add->first : NULL; i && rc == ERR_OK;
         i = i->next)
        rc = need_field(c, i->text);
    if (rc != ERR_OK)
        return rc;
    set(c, k->name, edited(c->a, setting(c, k->name), add, remove, same_text));
    if (add && add->count > 0)
        set(c, "index_updated_at", json_new_i64(c->a, c->now_us));
    return ERR_OK;
}

/* ["a"] as [{"name":"a","added_ts":now}] */
static struct json *named_items(struct change *c, const struct json *names)
{
    struct json *list = json_new(c->a, JSON_ARRAY);
    for (const struct json *i = names ? names->first : NULL; list && i; i = i->next) {
        struct json *item = json_new(c->a, JSON_OBJECT);
        if (!item)
            return NULL;
        json_set(c->a, item, STR("name"), json_new_str(c->a, i->text));
        json_set(c->a, item, STR("added_ts"), json_new_i64(c->a, c->now_us));
        json_append(list, item);
    }
    return list;
}

static enum err_code change_distinct(struct change *c, const struct key *k, const struct json *v)
{
    const struct json *add, *remove;
    enum err_code rc = take_names(c, k, v, &add, &remove);
    if (rc == ERR_OK)
        set(c, k->name,
            edited(c->a, setting(c, k->name), named_items(c, add), named_items(c, remove),
                   same_name));
    return rc;
}

static enum err_code need_ranges(struct change *c, const struct key *k, const struct json *list)
{
    int64_t start, end;
    for (const struct json *i = list ? list->first : NULL; i; i = i->next) {
        if (!json_i64(json_get(i, "start"), &start) || !json_i64(json_get(i, "end"), &end))
            return misshapen(c, k->name, i, "a map of `start` and `end` in microseconds");
        if (start > end)
            return err_set(c->e, ERR_INVALID, "%s: a range ends before it starts", k->name);
    }
    return ERR_OK;
}

static enum err_code change_ranges(struct change *c, const struct key *k, const struct json *v)
{
    const struct json *add, *remove;
    enum err_code rc = take_lists(c, k, v, &add, &remove);
    if (rc == ERR_OK)
        rc = need_ranges(c, k, add);
    if (rc == ERR_OK)
        rc = need_ranges(c, k, remove);
    if (rc == ERR_OK)
        set(c, k->name, edited(c->a, setting(c, k->name), add, remove, same_range));
    return rc;
}

static enum err_code change_defined(struct change *c, const struct key *k, const struct json *v)
{
    const struct json *add, *remove;
    enum err_code rc = take_lists(c, k, v, &add, &remove);
    if (rc == ERR_OK && add && add->count > 0)
        rc =
            err_set(c->e, ERR_INVALID,
                    "user defined schema is not allowed: every field of a stream can be asked for");
    return rc;
}

/* ---- partition keys ---- */

/* "value", "prefix" or {"hash":n} */
static bool is_partition_type(const struct json *v)
{
    uint64_t buckets;
    if (v->type == JSON_STRING)
        return str_eq(v->text, STR("value")) || str_eq(v->text, STR("prefix"));
    return v->type == JSON_OBJECT && json_u64(json_get(v, "hash"), &buckets) && buckets > 0;
}

static bool is_full_text_of(struct change *c, struct str field)
{
    const struct json *keys = setting(c, "full_text_search_keys");
    for (const struct json *i = keys ? keys->first : NULL; i; i = i->next)
        if (str_eq(i->text, field))
            return true;
    return stream_settings_is_full_text(field);
}

static struct json *find_level(struct change *c, struct str field)
{
    struct json *levels = setting(c, "partition_keys");
    for (struct json *i = levels ? levels->first : NULL; i; i = i->next)
        if (str_eq(json_str(json_get(i, "field"), STR("")), field))
            return i;
    return NULL;
}

static void put_level(struct change *c, struct str field, const struct json *types, bool disabled)
{
    struct json *level = find_level(c, field), *levels = setting(c, "partition_keys");
    if (!level && disabled)
        return;
    if (!level) {
        char *name = arena_printf(c->a, "L%zu", levels->count);
        level = json_new(c->a, JSON_OBJECT);
        if (!name || !level)
            return; /* the arena remembers it */
        json_set(c->a, level, STR("field"), json_new_str(c->a, field));
        json_set(c->a, level, STR("types"), json_new_str(c->a, STR("value")));
        json_set(c->a, level, STR("disabled"), json_new_bool(c->a, false));
        json_set(c->a, levels, str_from(name), level);
        level = find_level(c, field);
    }
    if (types && level)
        json_set(c->a, level, STR("types"), json_clone(c->a, types));
    if (level)
        json_set(c->a, level, STR("disabled"), json_new_bool(c->a, disabled));
}

static enum err_code add_level(struct change *c, const struct key *k, const struct json *v)
{
    const struct json *field = json_get(v, "field"), *types = json_get(v, "types");
    if (v->type != JSON_OBJECT || !field || field->type != JSON_STRING)
        return misshapen(c, k->name, v, "a map with a `field`");
    if (types && !is_partition_type(types))
        return misshapen(c, k->name, types, "value, prefix or {\"hash\":n}");
    if (is_full_text_of(c, field->text))
        return err_set(c->e, ERR_INVALID, "field [" STR_FMT "] can't be used for partition key",
                       STR_ARG(field->text));
    put_level(c, field->text, types, false);
    return ERR_OK;
}

static enum err_code change_partitions(struct change *c, const struct key *k, const struct json *v)
{
    const struct json *add, *remove;
    enum err_code rc = take_lists(c, k, v, &add, &remove);
    for (const struct json *i = rc == ERR_OK && add ? add->first : NULL; i && rc == ERR_OK;
         i = i->next)
        rc = add_level(c, k, i);
    for (const struct json *i = rc == ERR_OK && remove ? remove->first : NULL; i; i = i->next)
        put_level(c, json_str(json_get(i, "field"), STR("")), NULL, true);
    return rc;
}

/* ---- all of them ---- */

static const struct key KEYS[] = {
    {"partition_time_level", change_word, "hourly daily unset"},
    {"full_text_search_keys", change_fields, NULL},
    {"partition_keys", change_partitions, NULL},
    {"index_fields", change_fields, NULL},
    {"bloom_filter_fields", change_fields, NULL},
    {"distinct_value_fields", change_distinct, NULL},
    {"defined_schema_fields", change_defined, NULL},
    {"extended_retention_days", change_ranges, NULL},
    {"data_retention", change_number, NULL},
    {"max_query_range", change_number, NULL},
    {"flatten_level", change_number, NULL},
    {"store_original_data", change_switch, NULL},
    {"approx_partition", change_switch, NULL},
    {"index_original_data", change_switch, NULL},
    {"index_all_values", change_switch, NULL},
    {"enable_distinct_fields", change_switch, NULL},
    {"enable_log_patterns_extraction", change_switch, NULL},
    {"is_llm_stream", change_switch, NULL},
};

enum err_code stream_settings_read(struct str stored, struct arena *a, struct json **out,
                                   struct err *e)
{
    bool is_default = stored.len <= 2;
    return json_parse(is_default ? STREAM_SETTINGS_DEFAULT : stored, a, out, e);
}

static enum err_code begin(struct change *c, const struct meta_stream *s, int64_t now_us,
                           struct arena *a, struct err *e)
{
    *c = (struct change){.stream = s, .a = a, .now_us = now_us, .e = e};
    return stream_settings_read(s->settings_json, a, &c->settings, e);
}

static enum err_code finish(struct change *c, struct str *out)
{
    struct buf text;
    buf_init(&text, TEXT_MAX);
    json_write(&text, c->settings);
    *out = arena_copy(c->a, buf_str(&text));
    bool ok = buf_ok(&text) && out->ptr && !c->a->failed;
    buf_done(&text);
    return ok ? ERR_OK : err_set(c->e, ERR_TOOBIG, "settings of more than %u bytes", TEXT_MAX);
}

static size_t length_of(struct change *c, const struct key *k)
{
    const struct json *list = setting(c, k->name);
    return list ? list->count : 0;
}

enum err_code stream_settings_change(const struct meta_stream *s, const struct json *change,
                                     int64_t now_us, struct arena *a, struct str *out,
                                     struct err *e)
{
    struct change c;
    enum err_code rc = begin(&c, s, now_us, a, e);
    if (rc == ERR_OK && (!change || change->type != JSON_OBJECT))
        rc = misshapen(&c, "settings", change, "a map");
    for (size_t i = 0; i < ARRAY_LEN(KEYS) && rc == ERR_OK; i++) {
        const struct json *v = json_get(change, KEYS[i].name);
        size_t before = length_of(&c, &KEYS[i]);
        if (v && v->type != JSON_NULL)
            rc = KEYS[i].run(&c, &KEYS[i], v);
        if (rc == ERR_OK && length_of(&c, &KEYS[i]) > before) /* what is long may become shorter */
            rc = need_few(&c, &KEYS[i], setting(&c, KEYS[i].name));
    }
    return rc == ERR_OK ? finish(&c, out) : rc;
}

/* ---- the older form ---- */

/* {"add":[…]} of a list of names, each made an object with a `field` for partition keys. */
static struct json *as_addition(struct arena *a, const struct json *names, bool as_levels)
{
    struct json *change = json_new(a, JSON_OBJECT), *add = json_new(a, JSON_ARRAY);
    for (const struct json *i = names->first; change && add && i; i = i->next) {
        struct json *item = json_clone(a, i);
        if (as_levels && i->type == JSON_STRING && (item = json_new(a, JSON_OBJECT)))
            json_set(a, item, STR("field"), json_new_str(a, i->text));
        if (item)
            json_append(add, item);
    }
    if (change && add)
        json_set(a, change, STR("add"), add);
    return change;
}

enum err_code stream_settings_replace(const struct meta_stream *s, const struct json *form,
                                      int64_t now_us, struct arena *a, struct str *out,
                                      struct err *e)
{
    static const char *const lists[] = {"full_text_search_keys", "index_fields",
                                        "bloom_filter_fields", "partition_keys"};
    struct meta_stream bare = *s;
    struct change c;
    if (!form || form->type != JSON_OBJECT)
        return stream_settings_change(s, form, now_us, a, out, e);
    enum err_code rc = begin(&c, s, now_us, a, e);
    struct json *change = json_clone(a, form);
    for (size_t i = 0; i < ARRAY_LEN(lists) && rc == ERR_OK && change; i++) {
        const struct json *v = json_get(change, lists[i]);
        if (!v || v->type != JSON_ARRAY)
            continue;
        bool is_levels = str_eq(str_from(lists[i]), STR("partition_keys"));
        set(&c, lists[i], json_new(a, is_levels ? JSON_OBJECT : JSON_ARRAY));
        struct json *addition = as_addition(a, v, is_levels);
        if (addition)
            json_set(a, change, str_from(lists[i]), addition);
    }
    if (rc == ERR_OK)
        rc = finish(&c, &bare.settings_json);
    return rc == ERR_OK ? stream_settings_change(&bare, change, now_us, a, out, e) : rc;
}

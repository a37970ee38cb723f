/* gateway/gate_stars.c - what a `*` shows.
 *
 * `*` leaves out what the reference hides: _original and _all_values, which are there when asked
 * for by name.
 */
#include "base/cleanup.h"
#include "gateway/gate_internal.h"

static const struct str HIDDEN[] = {{"_original", 9}, {"_all_values", 11}};

static bool means(const struct json *star, const struct gate_source *f)
{
    struct str name = json_get(star, "relation_name")->text;
    return f->stream && (!name.len || str_eq_nocase(name, f->alias));
}

static bool has_field(const struct catalog_stream *s, struct str name)
{
    for (size_t i = 0; i < s->field_count; i++)
        if (str_eq(s->fields[i].name, name))
            return true;
    return false;
}

static bool is_excluded(const struct json *list, struct str name)
{
    for (const struct json *item = list->first; item; item = item->next)
        if (str_eq_nocase(item->text, name))
            return true;
    return false;
}

static void hide(struct gate *g, struct json *star, const struct catalog_stream *s)
{
    struct json *list = json_get(star, "exclude_list");
    for (size_t i = 0; i < ARRAY_LEN(HIDDEN); i++) {
        struct json *name = NULL;
        if (has_field(s, HIDDEN[i]) && !is_excluded(list, HIDDEN[i]))
            name = json_new_str(g->a, HIDDEN[i]);
        if (name)
            json_append(list, name);
    }
}

void gate_hide_fields(struct gate *g, struct json *star, const struct gate_source *sources)
{
    if (json_get(star, "expr")->type != JSON_NULL)
        return; /* columns by a pattern or a condition */
    for (const struct gate_source *f = sources; f; f = f->next)
        if (means(star, f))
            hide(g, star, f->stream);
}

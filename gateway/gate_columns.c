/* gateway/gate_columns.c - what columns are called in SQL, where it is not simply their name.
 *
 * The engine does not tell `Host` from `host`, but labels of a metric keep their case.  So the
 * later one of two such fields is called `host_1` there; a column that is written exactly like the
 * field means it, and the answer shows the field's own name.  In any other case of letters a name
 * means the earlier field.
 *
 * `*` leaves out what the reference hides: _original and _all_values, which are there when asked
 * for by name.
 */
#include "base/cleanup.h"
#include "base/hash.h"
#include "gateway/gate_internal.h"

#define TRIES_MAX 1000 /* numbers behind a name */

static const struct str HIDDEN[] = {{"_original", 9}, {"_all_values", 11}};

/* ---- names that differ only in case ---- */

/* `name`, or else name_1, name_2 and so on, whatever is not taken yet; an empty one: no memory. */
static struct str free_name(struct arena *a, struct map *taken, struct str name)
{
    struct str wanted = name;
    for (unsigned n = 1; n < TRIES_MAX; n++) {
        struct str lower = gate_lower(a, wanted);
        if (!lower.ptr)
            break;
        if (!map_find(taken, lower))
            return map_put(taken, lower, taken) ? wanted : STR("");
        char *text = arena_printf(a, STR_FMT "_%u", STR_ARG(name), n);
        if (!text)
            break;
        wanted = str_from(text);
    }
    return STR("");
}

enum err_code gate_name_columns(struct gate *g, struct gate_table *table)
{
    const struct catalog_stream *s = table->stream;
    struct map taken;
    bool differ = false, ok = true;
    if (s->type == STREAM_LOGS || s->type == STREAM_ENRICHMENT) /* their names are lower-case */
        return ERR_OK;
    struct str *as = arena_alloc(g->a, (s->field_count + 1) * sizeof *as);
    map_init(&taken, s->field_count + 1);
    for (size_t i = 0; as && ok && i < s->field_count; i++) {
        as[i] = free_name(g->a, &taken, s->fields[i].name);
        ok = as[i].len > 0;
        differ = differ || !str_eq(as[i], s->fields[i].name);
    }
    map_done(&taken);
    if (!as || !ok)
        return gate_no_memory(g->e);
    table->as = differ ? as : NULL;
    return ERR_OK;
}

static bool find_renamed(const struct gate_source *f, struct str name, struct str *as)
{
    const struct catalog_stream *s = f->table->stream;
    for (size_t i = 0; i < s->field_count; i++)
        if (str_eq(s->fields[i].name, name)) {
            *as = f->table->as[i];
            return true;
        }
    return false;
}

bool gate_rename_column(struct json *names, const struct gate_source *sources)
{
    struct str table = names->count == 2 ? names->first->text : STR("");
    for (const struct gate_source *f = sources; f && names->count <= 2; f = f->next) {
        if (!f->table || !f->table->as || (table.len && !str_eq_nocase(table, f->alias)))
            continue;
        if (find_renamed(f, names->last->text, &names->last->text))
            return true;
    }
    return false;
}

/* ---- stars ---- */

static bool means(const struct json *star, const struct gate_source *f)
{
    struct str name = json_get(star, "relation_name")->text;
    return f->table && (!name.len || str_eq_nocase(name, f->alias));
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

static void show_own_names(struct gate *g, struct json *star, const struct gate_table *t)
{
    struct json *list = json_get(star, "rename_list");
    for (size_t i = 0; t->as && i < t->stream->field_count; i++) {
        if (str_eq(t->as[i], t->stream->fields[i].name))
            continue;
        struct json *renaming = build_renaming(g->a, t->as[i], t->stream->fields[i].name);
        if (renaming)
            json_append(list, renaming);
    }
}

void gate_settle_star(struct gate *g, struct json *star, const struct gate_source *sources)
{
    if (json_get(star, "expr")->type != JSON_NULL)
        return; /* columns by a pattern or a condition */
    for (const struct gate_source *f = sources; f; f = f->next) {
        if (!means(star, f))
            continue;
        hide(g, star, f->table->stream);
        if (g->nesting == 1) /* elsewhere the names of the engine are needed further out */
            show_own_names(g, star, f->table);
    }
}

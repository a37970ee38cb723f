/* gateway/gate_rewrite.c - gives the names of an SQL tree their meaning, or refuses them.
 *
 * One walk, outer to inner, with a scope for each query node: the CTEs that it declares and the
 * items of its FROM.  A CTE is renamed weir_c<n> where it is declared and where it is meant, so
 * that the engine cannot take its name for anything else; the written name stays as alias.  What a
 * table name means: the innermost CTE of that name that is declared before it (a recursive one also
 * inside its own second half), else a stream.  Functions are renamed, rewritten or refused after
 * their arguments have been walked.
 *
 * Relies on gate_check_shape: every member read here exists and has its kind.
 */
#include "base/cleanup.h"
#include "gateway/gate_internal.h"

/* Bare names that the engine reads as functions when no column has them. */
static const char *const session_names[] = {"current_catalog", "current_role", "current_schema",
                                            "current_user",    "session_user", "user",
                                            "current_database"};

struct cte {
    struct cte *next; /* declared earlier in the same node */
    struct str name;
    const char *engine_name;
    const struct json *node, *renamed;
    const struct gate_source *sources;
};
struct scope {
    const struct scope *outer;
    struct cte *ctes;
    const struct gate_source *sources;
    struct gate_aliases aliases; /* of the select list */
};

static enum err_code walk_node(struct gate *g, struct json *node, const struct scope *outer,
                               const struct gate_source **sources);
static enum err_code walk_ref(struct gate *g, struct json *ref, struct scope *s);
static enum err_code walk(struct gate *g, struct json *v, const struct scope *s);

static enum err_code walk_children(struct gate *g, struct json *v, const struct scope *s)
{
    for (struct json *child = v->first; child; child = child->next) {
        enum err_code rc = walk(g, child, s);
        if (rc)
            return rc;
    }
    return ERR_OK;
}

static enum err_code walk_member(struct gate *g, struct json *v, const char *name,
                                 const struct scope *s)
{
    return walk(g, json_get(v, name), s);
}

static enum err_code add_source(struct gate *g, struct scope *s, const struct gate_source *source)
{
    struct gate_source *copy = arena_alloc(g->a, sizeof *copy);
    if (!copy)
        return gate_no_memory(g->e);
    *copy = *source;
    gate_note_columns(g, copy);
    copy->next = s->sources;
    s->sources = copy;
    return ERR_OK;
}

/* ---- tables ---- */

static const struct cte *find_cte(const struct gate *g, const struct scope *s, struct str name)
{
    struct str written = gate_written(&g->out->names, name);
    for (; s; s = s->outer)
        for (const struct cte *c = s->ctes; c; c = c->next)
            if (str_eq_nocase(c->name, written))
                return c;
    return NULL;
}

static enum err_code walk_base_table(struct gate *g, struct json *table, struct scope *s)
{
    struct json *name = json_get(table, "table_name"), *alias = json_get(table, "alias");
    struct str qualifier = json_get(table, "schema_name")->text;
    bool recurring = str_eq_nocase(qualifier, STR("recurring"));
    const struct cte *c = qualifier.len && !recurring ? NULL : find_cte(g, s, name->text);
    if (c && !json_get(table, "catalog_name")->text.len) {
        if (!alias->text.len)
            alias->text = name->text;
        name->text = str_from(c->engine_name);
        const struct json *own = json_get(table, "column_name_alias");
        return add_source(g, s,
                          &(struct gate_source){.alias = alias->text,
                                                .node = c->node,
                                                .behind = c->sources,
                                                .renamed = own->count ? own : c->renamed});
    }
    struct gate_source source;
    enum err_code rc = gate_resolve_stream(g, table, &source);
    return rc ? rc : add_source(g, s, &source);
}

static enum err_code walk_table_function(struct gate *g, struct json *ref, struct scope *s)
{
    struct json *call = json_get(ref, "function");
    if (!tree_is(call, "class", "FUNCTION"))
        return search_error(g->e, API_SQL_NOT_VALID,
                            "Search SQL not valid: FROM needs a stream or a table function");
    struct json *name = json_get(call, "function_name");
    const struct gate_function *f = gate_function_find(name->text);
    if (!f || !(f->uses & USE_TABLE))
        return search_error(g->e, API_FUNCTION_NOT_DEFINED, "Search function not defined: %.*s",
                            STR_ARG(name->text));
    name->text = str_from(f->engine ? f->engine : f->name);
    enum err_code rc = walk_children(g, call, s);
    if (rc)
        return rc;
    return add_source(g, s, &(struct gate_source){.alias = json_get(ref, "alias")->text});
}

static enum err_code walk_subquery_ref(struct gate *g, struct json *ref, struct scope *s)
{
    struct gate_source source = {.alias = json_get(ref, "alias")->text,
                                 .node = json_get(json_get(ref, "subquery"), "node"),
                                 .renamed = json_get(ref, "column_name_alias")};
    enum err_code rc = walk_node(g, json_get(json_get(ref, "subquery"), "node"), s, &source.behind);
    return rc ? rc : add_source(g, s, &source);
}

static enum err_code walk_join(struct gate *g, struct json *ref, struct scope *s)
{
    enum err_code rc = walk_ref(g, json_get(ref, "left"), s);
    if (!rc)
        rc = walk_ref(g, json_get(ref, "right"), s);
    return rc ? rc : walk_member(g, ref, "condition", s);
}

/* The columns of a pivot are new: its source is out of sight for the SELECT around it. */
static enum err_code walk_pivot(struct gate *g, struct json *ref, struct scope *s)
{
    for (const struct json *p = json_get(ref, "pivots")->first; p; p = p->next)
        if (!json_get(p, "entries")->count)
            return search_error(g->e, API_SQL_NOT_VALID,
                                "Search SQL not valid: PIVOT needs an IN list of values");
    struct scope inner = {.outer = s};
    enum err_code rc = walk_ref(g, json_get(ref, "source"), &inner);
    if (!rc)
        rc = walk_member(g, ref, "aggregates", &inner);
    if (!rc)
        rc = walk_member(g, ref, "pivots", &inner);
    if (rc)
        return rc;
    return add_source(g, s, &(struct gate_source){.alias = json_get(ref, "alias")->text});
}

static enum err_code walk_ref(struct gate *g, struct json *ref, struct scope *s)
{
    if (tree_is(ref, "type", "BASE_TABLE"))
        return walk_base_table(g, ref, s);
    if (tree_is(ref, "type", "JOIN"))
        return walk_join(g, ref, s);
    if (tree_is(ref, "type", "SUBQUERY"))
        return walk_subquery_ref(g, ref, s);
    if (tree_is(ref, "type", "TABLE_FUNCTION"))
        return walk_table_function(g, ref, s);
    if (tree_is(ref, "type", "PIVOT"))
        return walk_pivot(g, ref, s);
    if (tree_is(ref, "type", "EXPRESSION_LIST"))
        return walk_member(g, ref, "values", s);
    return ERR_OK; /* EMPTY */
}

/* ---- queries ---- */

/* The second half of a recursive CTE sees the CTE; the first one does not. */
static enum err_code walk_recursive(struct gate *g, struct json *node, const struct scope *outer,
                                    struct cte *self, const struct gate_source **sources)
{
    struct scope with_self = {.outer = outer, .ctes = self};
    if (json_get(json_get(node, "cte_map"), "map")->count || json_get(node, "modifiers")->count)
        return search_error(g->e, API_SQL_NOT_VALID,
                            "Search SQL not valid: this form of WITH RECURSIVE is not allowed");
    json_get(node, "cte_name")->text = str_from(self->engine_name);
    enum err_code rc = walk_node(g, json_get(node, "left"), outer, sources);
    if (rc)
        return rc;
    const struct gate_source *ignored;
    self->sources = *sources;
    rc = walk_node(g, json_get(node, "right"), &with_self, &ignored);
    return rc ? rc : walk_member(g, node, "key_targets", &with_self);
}

static enum err_code declare_cte(struct gate *g, struct json *entry, struct scope *s)
{
    struct json *key = json_get(entry, "key"), *info = json_get(entry, "value");
    struct json *node = json_get(json_get(info, "query"), "node");
    struct cte *c = arena_zalloc(g->a, sizeof *c);
    if (g->cte_count >= GATE_CTES_MAX)
        return search_error(g->e, API_SQL_NOT_VALID, "Search SQL not valid: more than %d CTEs",
                            GATE_CTES_MAX);
    char *name = arena_printf(g->a, "weir_c%u", g->cte_count++);
    if (!c || !name)
        return gate_no_memory(g->e);
    *c = (struct cte){.name = gate_written(&g->out->names, key->text),
                      .engine_name = name,
                      .renamed = json_get(info, "aliases")};
    enum err_code rc;
    if (!tree_is(node, "type", "RECURSIVE_CTE_NODE")) {
        c->node = node;
        rc = walk_node(g, node, s, &c->sources);
    } else if (str_eq_nocase(json_get(node, "cte_name")->text, key->text)) {
        c->node = json_get(node, "left");
        rc = walk_recursive(g, node, s, c, &c->sources);
    } else {
        return search_error(g->e, API_SQL_NOT_VALID,
                            "Search SQL not valid: a recursive CTE under another name");
    }
    if (rc)
        return rc;
    key->text = str_from(name);
    c->next = s->ctes;
    s->ctes = c;
    return walk_member(g, info, "key_targets", s);
}

/* What an item of the select list is called by itself: after its function or its column. */
static struct str name_of_item(const struct json *item, struct str otherwise)
{
    const struct json *names = json_get(item, "column_names");
    return names ? names->last->text : json_str(json_get(item, "function_name"), otherwise);
}

/* An item without an alias has the reference's name, or the one that was written, whatever became
 * of it. */
static enum err_code walk_select_list(struct gate *g, struct json *list, const struct scope *s)
{
    for (struct json *item = list->first; item; item = item->next) {
        struct str written = name_of_item(item, STR(""));
        struct str title = gate_title(g, item, s->sources);
        enum err_code rc = walk(g, item, s);
        if (rc)
            return rc;
        struct json *alias = json_get(item, "alias");
        if (!alias || alias->text.len)
            continue;
        if (title.len)
            alias->text = title;
        else if (written.len && !str_eq_nocase(written, name_of_item(item, written)))
            alias->text = written;
    }
    return ERR_OK;
}

static enum err_code walk_select(struct gate *g, struct json *node, struct scope *s)
{
    static const char *const members[] = {"where_clause", "group_expressions", "having", "qualify",
                                          "modifiers"};
    enum err_code rc = walk_ref(g, json_get(node, "from_table"), s);
    gate_note_aliases(g, json_get(node, "select_list"), &s->aliases);
    if (!rc)
        rc = walk_select_list(g, json_get(node, "select_list"), s);
    for (size_t i = 0; !rc && i < ARRAY_LEN(members); i++)
        rc = walk_member(g, node, members[i], s);
    return rc;
}

static enum err_code walk_set_operation(struct gate *g, struct json *node, struct scope *s)
{
    const struct gate_source *left = NULL, *ignored;
    enum err_code rc = walk_node(g, json_get(node, "left"), s, &left);
    if (!rc)
        rc = walk_node(g, json_get(node, "right"), s, &ignored);
    if (!rc)
        rc = walk_member(g, node, "modifiers", s);
    s->sources = left;
    return rc;
}

/* *sources: the items of its FROM; of a set operation, those of its first SELECT. */
static enum err_code walk_node(struct gate *g, struct json *node, const struct scope *outer,
                               const struct gate_source **sources)
{
    struct scope s = {.outer = outer};
    bool select = tree_is(node, "type", "SELECT_NODE");
    *sources = NULL;
    if (select && g->nesting >= GATE_NESTING_MAX)
        return search_error(g->e, API_SQL_NOT_VALID,
                            "Search SQL not valid: SELECTs nested more than %d deep",
                            GATE_NESTING_MAX);
    g->nesting += select;
    struct json *entries = json_get(json_get(node, "cte_map"), "map");
    enum err_code rc = ERR_OK;
    for (struct json *entry = entries->first; entry && !rc; entry = entry->next)
        rc = declare_cte(g, entry, &s);
    if (!rc && select)
        rc = walk_select(g, node, &s);
    else if (!rc && tree_is(node, "type", "SET_OPERATION_NODE"))
        rc = walk_set_operation(g, node, &s);
    else if (!rc)
        rc = search_error(g->e, API_SQL_NOT_VALID,
                          "Search SQL not valid: RECURSIVE_CTE_NODE is not allowed here");
    g->nesting -= select;
    *sources = s.sources;
    return rc;
}

/* ---- expressions ---- */

/* coalesce(a, b), ifnull and nvl are the operator of that name. */
static enum err_code rewrite_coalesce(struct gate *g, struct json *call)
{
    static const char *const gone[] = {"function_name", "schema",      "filter",       "order_bys",
                                       "distinct",      "is_operator", "export_state", "catalog"};
    struct json *kept = json_new(g->a, JSON_OBJECT);
    for (struct json *member = call->first, *next; member && kept; member = next) {
        next = member->next;
        bool drop = false;
        for (size_t i = 0; i < ARRAY_LEN(gone); i++)
            drop = drop || str_eq(member->key, str_from(gone[i]));
        member->next = NULL;
        if (!drop)
            json_append(kept, member);
    }
    if (!kept)
        return gate_no_memory(g->e);
    json_get(kept, "class")->text = STR("OPERATOR");
    json_get(kept, "type")->text = STR("OPERATOR_COALESCE");
    tree_replace(call, kept);
    return ERR_OK;
}

/* Window functions that are no aggregates are bound to their names. */
static void rename_function(struct json *call, const struct gate_function *f)
{
    bool window = tree_is(call, "class", "WINDOW");
    bool bound = window && !tree_is(call, "type", "WINDOW_AGGREGATE");
    json_get(call, "function_name")->text = str_from(f->engine && !bound ? f->engine : f->name);
    if (f->engine && !window)
        json_get(call, "is_operator")->boolean = false; /* a ~* b becomes a call */
}

static enum err_code walk_function(struct gate *g, struct json *call, const struct scope *s)
{
    struct json *name = json_get(call, "function_name");
    const struct gate_function *f = gate_function_find(name->text);
    bool window = tree_is(call, "class", "WINDOW");
    unsigned uses = window ? USE_WINDOW | USE_AGGREGATE : ~(unsigned)(USE_WINDOW | USE_TABLE);
    if (!f || !(f->uses & uses))
        return search_error(g->e, API_FUNCTION_NOT_DEFINED, "Search function not defined: %.*s",
                            STR_ARG(name->text));
    enum err_code rc = walk_children(g, call, s);
    if (rc)
        return rc;
    if (f->uses & USE_HISTOGRAM)
        return gate_rewrite_histogram(g, call);
    if (f->uses & USE_MATCH_ALL)
        return gate_rewrite_match_all(g, call, s->sources);
    if (f->uses & USE_COALESCE)
        return rewrite_coalesce(g, call);
    if (f->uses & USE_QUANTILE)
        return gate_rewrite_quantile(g, call);
    if (f->uses & USE_ARROW_CAST)
        return gate_rewrite_arrow_cast(g, call);
    if (f->uses & USE_STRUCT)
        return gate_rewrite_struct(g, call);
    rename_function(call, f);
    return ERR_OK;
}

/* metrics.cpu.value is cpu.value once the table is named without its type. */
static void drop_type_qualifier(struct json *names, const struct scope *s)
{
    if (names->count < 3)
        return;
    struct str type = names->first->text, table = names->first->next->text;
    for (; s; s = s->outer)
        for (const struct gate_source *f = s->sources; f; f = f->next)
            if (f->qualifier.len && str_eq_nocase(f->qualifier, type) &&
                str_eq_nocase(f->alias, table)) {
                names->first = names->first->next;
                names->count--;
                return;
            }
}

static void walk_column(struct gate *g, struct json *column, const struct scope *s)
{
    struct json *names = json_get(column, "column_names");
    drop_type_qualifier(names, s);
    for (const struct scope *at = s; at && !gate_settle_case(g, names, &at->aliases, at->sources);)
        at = at->outer;
    for (unsigned i = 0; names->count == 1 && i < ARRAY_LEN(session_names); i++)
        if (str_eq_nocase(names->first->text, str_from(session_names[i])))
            g->session_names |= 1u << i;
}

static enum err_code walk(struct gate *g, struct json *v, const struct scope *s)
{
    if (v->type == JSON_ARRAY)
        return walk_children(g, v, s);
    if (v->type != JSON_OBJECT)
        return ERR_OK;
    if (tree_is(v, "class", "FUNCTION") || tree_is(v, "class", "WINDOW"))
        return walk_function(g, v, s);
    if (tree_is(v, "class", "COLUMN_REF")) {
        walk_column(g, v, s);
        return ERR_OK;
    }
    if (tree_is(v, "class", "CONSTANT"))
        return gate_fit_numbers(g, v, s->sources);
    if (tree_is(v, "class", "STAR"))
        gate_hide_fields(g, v, s->sources);
    if (tree_is(v, "class", "SUBQUERY")) {
        const struct gate_source *ignored;
        enum err_code rc = walk_node(g, json_get(json_get(v, "subquery"), "node"), s, &ignored);
        return rc ? rc : walk_member(g, v, "child", s);
    }
    enum err_code rc = walk_children(g, v, s);
    if (!rc)
        rc = gate_fit_numbers(g, v, s->sources);
    return rc ? rc : gate_fit_types(g, v, s->sources);
}

/* ---- the whole ---- */

/* Is `name` an alias somewhere in the tree? */
static bool is_alias(const struct json *v, struct str name)
{
    for (const struct json *child = v->first; child; child = child->next) {
        bool names = str_eq(v->key, STR("aliases")) || str_eq(v->key, STR("column_name_alias")) ||
                     str_eq(v->key, STR("unpivot_names")) || str_eq(child->key, STR("alias"));
        if (child->type == JSON_STRING ? names && str_eq_nocase(child->text, name)
                                       : is_alias(child, name))
            return true;
    }
    return false;
}

static bool is_field(const struct gate *g, struct str name)
{
    for (size_t t = 0; t < g->out->table_count; t++) {
        const struct catalog_stream *s = g->out->tables[t].stream;
        for (size_t i = 0; i < s->field_count; i++)
            if (str_eq_nocase(s->fields[i].name, name))
                return true;
    }
    return false;
}

/* DuckDB writes the x of x.* into SQL as it stands, without quotes: a name such as
 * "a FROM read_text('b') --" would become SQL there.  So the tree holds it quoted. */
static void quote_star_names(struct gate *g, struct json *v)
{
    struct json *name = tree_is(v, "class", "STAR") ? json_get(v, "relation_name") : NULL;
    if (name && name->text.len) {
        struct buf quoted;
        buf_init(&quoted, 2 * name->text.len + 2);
        buf_add_char(&quoted, '"');
        for (size_t i = 0; i < name->text.len; i++) {
            if (name->text.ptr[i] == '"')
                buf_add_char(&quoted, '"');
            buf_add_char(&quoted, name->text.ptr[i]);
        }
        buf_add_char(&quoted, '"');
        name->text = buf_ok(&quoted) ? arena_copy(g->a, buf_str(&quoted)) : STR("\"\"");
        if (!name->text.ptr) /* the arena has noted it */
            name->text = STR("\"\"");
        buf_done(&quoted);
    }
    for (struct json *child = v->first; child; child = child->next)
        quote_star_names(g, child);
}

enum err_code gate_rewrite(struct gate *g, struct json *node)
{
    enum err_code rc = walk_node(g, node, NULL, &g->outermost);
    for (unsigned i = 0; !rc && i < ARRAY_LEN(session_names); i++) {
        struct str name = str_from(session_names[i]);
        if ((g->session_names >> i & 1) && !is_field(g, name) && !is_alias(node, name))
            rc = search_error(g->e, API_FIELD_NOT_FOUND, "Search field not found: %s",
                              session_names[i]);
    }
    if (!rc)
        quote_star_names(g, node);
    return rc;
}

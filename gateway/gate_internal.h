/* gateway/gate_internal.h - what the files of the gate share among themselves. */
#ifndef WEIR_GATEWAY_GATE_INTERNAL_H
#define WEIR_GATEWAY_GATE_INTERNAL_H

#include "gateway/gate.h"

/* gate_nodes.c: shape.  Afterwards every member named there exists with the kind named there. */
enum err_code gate_check_shape(const struct json *document, struct err *e);

/* gate_functions.c: the allow-list. */
enum gate_use {
    USE_SCALAR = 1,
    USE_AGGREGATE = 2,
    USE_WINDOW = 4,
    USE_TABLE = 8,
    USE_HISTOGRAM = 16, /* rewritten by gate_rewrite.c */
    USE_MATCH_ALL = 32,
    USE_COALESCE = 64,  /* becomes the COALESCE operator */
    USE_QUANTILE = 128, /* these three are rewritten by gate_calls.c */
    USE_ARROW_CAST = 256,
    USE_STRUCT = 512
};
struct gate_function {
    const char *name;   /* lower case */
    unsigned uses;      /* of enum gate_use */
    const char *engine; /* what the engine calls it; NULL: the same */
};
const struct gate_function *gate_function_find(struct str name); /* any case; NULL: not allowed */
const struct gate_function *gate_function_list(size_t *count);   /* sorted by name */

/* gate_rewrite.c: meaning.  An item of FROM, as the names of its SELECT see it. */
struct gate_source {
    const struct gate_source *next;
    struct str alias;
    struct str qualifier;                /* "metrics" in metrics.cpu; empty: none was written */
    const struct catalog_stream *stream; /* fields as the tree calls them; NULL: derived */
    const struct json *node;             /* derived: the query behind it; NULL: a table function */
    const struct gate_source *behind;    /* derived: the FROM items of that query */
    const struct json *renamed;          /* derived: its columns' new names, maybe none */
    const struct gate_columns *columns;  /* gate_case.c; NULL: not known, or not asked for */
};
struct gate {
    const struct gate_options *o;
    struct arena *a;
    struct gate_result *out;
    unsigned cte_count, nesting;
    unsigned session_names; /* bit i: session_names[i] stands as a bare column (gate_rewrite.c) */
    const struct gate_source *outermost; /* FROM of the outermost SELECT */
    struct err *e;
};
enum err_code gate_rewrite(struct gate *g, struct json *node);

/* gate_streams.c: names of tables. */
enum err_code gate_resolve_stream(struct gate *g, struct json *table, struct gate_source *source);

/* gate_case.c: fields whose names differ only in case.  *out of gate_stream_in_tree is the stream
 * with its fields called as in the tree.  gate_note_columns and gate_note_aliases say what columns
 * a source of FROM, which has been rewritten, and a select list, which has not, give.
 * gate_settle_case: a column that is none of the sources' as it is written means the first that
 * differs from it only in case, unless an alias does; false when they have none. */
struct gate_aliases {
    const struct gate_columns *columns;
};
enum err_code gate_stream_in_tree(struct gate *g, const struct catalog_stream *s,
                                  const struct catalog_stream **out);
void gate_note_columns(struct gate *g, struct gate_source *s);
void gate_note_aliases(struct gate *g, const struct json *items, struct gate_aliases *out);
bool gate_settle_case(struct gate *g, struct json *names, const struct gate_aliases *aliases,
                      const struct gate_source *sources);

/* gate_stars.c: a `*` leaves out what the reference hides. */
void gate_hide_fields(struct gate *g, struct json *star, const struct gate_source *sources);

/* gate_used.c: fills out->used, once the tree is rewritten.  gate_lower: ASCII; NULL: no memory. */
enum err_code gate_note_used(struct gate *g);
struct str gate_lower(struct arena *a, struct str s);

/* gate_text.c: match_all, fuzzy_match_all and histogram. */
enum err_code gate_rewrite_match_all(struct gate *g, struct json *call,
                                     const struct gate_source *sources);
enum err_code gate_rewrite_histogram(struct gate *g, struct json *call);
/* The constant text of an argument; a whole number counts as its digits. */
bool gate_constant_text(const struct json *argument, struct str *out);

/* gate_compare.c: makes the sides of a comparison fit, where the engine would read each text as a
 * number.  `v` is any expression. */
enum err_code gate_fit_types(struct gate *g, struct json *v, const struct gate_source *sources);

/* gate_numbers.c: decimals become doubles, and a double that is cast to an integer is cut.  `v` is
 * any expression. */
enum err_code gate_fit_numbers(struct gate *g, struct json *v, const struct gate_source *sources);

/* gate_titles.c: what the answer calls an item of a select list that has no alias; empty: as the
 * engine likes.  The item must not have been rewritten yet. */
struct str gate_title(struct gate *g, const struct json *item, const struct gate_source *sources);

/* gate_describe.c: the members of the result that speak of the outermost node, before it is
 * rewritten. */
enum err_code gate_describe(struct gate *g, const struct json *node);
struct json *gate_find_modifier(const struct json *node, const char *type);

/* gate_ui_histogram.c: the node becomes its counts over time; refused when that makes no sense. */
enum err_code gate_make_ui_histogram(struct gate *g, struct json *node);

/* gate_calls.c: calls whose arguments change. */
enum err_code gate_rewrite_quantile(struct gate *g, struct json *call);
enum err_code gate_rewrite_arrow_cast(struct gate *g, struct json *call);
enum err_code gate_rewrite_struct(struct gate *g, struct json *call);

/* gate_page.c: default order, LIMIT and OFFSET of the outermost node. */
enum err_code gate_page(struct gate *g, struct json *node);

/* gate_build.c: new pieces of tree.  NULL when the arena is full. */
struct json *build_function(struct arena *a, const char *name, struct json *children);
struct json *build_array(struct arena *a);
struct json *build_column(struct arena *a, struct str qualifier, struct str name);
struct json *build_text(struct arena *a, struct str value);
struct json *build_i64(struct arena *a, int64_t value);
struct json *build_cast(struct arena *a, struct json *child, const char *type_id);
struct json *build_order_desc(struct arena *a, struct json *expression);
/* select <list> from (<statement>) */
struct json *build_select(struct arena *a, struct json *list, struct json *statement);
struct json *build_limit(struct arena *a, struct json *limit, struct json *offset);
/* Put `with` in the place of `slot`: parent and siblings stay. */
void tree_replace(struct json *slot, const struct json *with);
/* The content of `slot` as a node of its own, so that it can move into another. */
struct json *tree_take(struct arena *a, const struct json *slot);
void tree_set(struct arena *a, struct json *object, const char *key, struct json *value);
bool tree_is(const struct json *object, const char *key, const char *text);
enum err_code gate_no_memory(struct err *e);

#endif

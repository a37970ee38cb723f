/* gateway/gate.h - what SQL may do here: DuckDB's own tree, checked and rewritten.
 *
 * The input is the document of json_serialize_sql.  gate_check walks it three times: shape (every
 * object is one of gate_nodes.c, member for member), meaning (gate_rewrite.c: tables become streams
 * of the caller's organisation, functions are those of gate_functions.tbl), page (gate_page.c:
 * default order, LIMIT, OFFSET).  What is not known is refused.  The same input gives the same
 * output.
 *
 * Invariant of an accepted tree: each table name in it is weir_t<i> (a view over a stream, row i of
 * `tables`) or weir_c<i> (a CTE of the tree), so no name of the caller's ever reaches the engine's
 * catalogue or its file readers, whatever its own scoping rules say.
 *
 * Good for: one statement of one caller.  Not for: column names and types, which the engine checks.
 * Errors: INVALID with the reference's code in e->detail (20001 ...).  Thread safety: none needed,
 * everything is in the caller's arena.
 */
#ifndef WEIR_GATEWAY_GATE_H
#define WEIR_GATEWAY_GATE_H

#include "base/arena.h"
#include "base/err.h"
#include "base/json.h"
#include "gateway/catalog.h"

#define GATE_DEPTH_MAX 400   /* levels of the JSON tree */
#define GATE_NESTING_MAX 24  /* SELECTs inside SELECTs */
#define GATE_TABLES_MAX 64   /* different streams of one statement */
#define GATE_CTES_MAX 1000   /* WITH entries of one statement */
#define GATE_NAME_BYTES 24   /* "weir_t<i>" */
#define GATE_MARKED_BYTES 24 /* that a name of gate_names is longer than what was written */

/* The reference's numbers for search errors (§2.5). */
enum api_code {
    API_SQL_NOT_VALID = 20001,
    API_STREAM_NOT_FOUND = 20002,
    API_FTS_FIELD_NOT_FOUND = 20003,
    API_FIELD_NOT_FOUND = 20004,
    API_FUNCTION_NOT_DEFINED = 20005,
    API_TYPE_NOT_COMPATIBLE = 20007,
    API_SQL_EXECUTE = 20008,
    API_CANCELLED = 20009,
    API_TIMEOUT = 20010,
    API_INVALID_PARAMS = 20011,
    API_NO_HISTOGRAM = 20013
};
/* Fills *e with ERR_INVALID and the number. */
enum err_code search_error(struct err *e, enum api_code code, const char *fmt, ...)
    __attribute__((format(printf, 3, 4)));

/* Finds a stream of the caller's organisation by its name as the SQL has it; NOTFOUND when there is
 * none.  The same name gives the same pointer again, valid for as long as the result is used; who
 * called gate_check owns it. */
typedef enum err_code (*gate_find)(void *ctx, enum stream_type type, struct str name,
                                   const struct catalog_stream **out, struct err *e);

struct gate_names { /* of columns that the tree does not call as they are written */
    const struct gate_renamed {
        struct str written, in_tree;
    } * list;     /* by `written` */
    size_t count; /* the name in_tree ends with its place in the list, from 1, between two marks */
    char mark;
};
struct gate_options {
    enum stream_type type;        /* of tables without a qualifier */
    int64_t start_us, end_us;     /* for a histogram that names no interval */
    int64_t histogram_interval_s; /* the same, from the request; 0 = by the range */
    int64_t from, size;           /* size <= 0: default_limit */
    uint64_t size_max, default_limit;
    bool ui_histogram;     /* its counts over time are wanted, not its rows (gate_ui_histogram.c) */
    const char *fts_extra; /* more fields for match_all, separated by commas; may be NULL */
    struct gate_names names;
    gate_find find;
    void *find_ctx;
};

struct gate_columns;
struct gate_table {
    const struct catalog_stream *stream;
    const struct catalog_stream *in_tree; /* the same, with its fields called as in the tree */
    const struct gate_columns *columns;   /* the gate's own */
    char name[GATE_NAME_BYTES];           /* weir_t<i> */
};
struct gate_used { /* the names of columns in the statement, lower-case, sorted */
    bool all;      /* it may mean any field */
    const struct str *names;
    size_t count;
};
struct gate_order {
    struct str by; /* a column, or an alias */
    bool is_descending;
};
struct gate_result {
    struct json *document; /* the rewritten tree, the caller's document changed in place */
    struct gate_table *tables;
    size_t table_count;
    bool has_histogram; /* a histogram() stands in it; the first one's interval */
    int64_t histogram_interval_us;
    struct gate_used used;
    struct gate_names names;        /* those of the options */
    const struct gate_order *order; /* of the rows, as far as it is by columns */
    size_t order_count;
    bool is_histogram_eligible; /* counts over time would say something about the rows */
    bool has_limit;             /* the SQL has a LIMIT, or at least it has an OFFSET */
    int64_t limit;              /* a constant one; else 0 */
};

enum err_code gate_check(struct json *document, const struct gate_options *o, struct arena *a,
                         struct gate_result *out, struct err *e);
/* Names for the fields of its streams that differ only in the case of their letters.  With some
 * (count), the text has to be written anew with them (dialect_rename), parsed and checked. */
enum err_code gate_tell_apart(const struct gate_result *r, struct str sql, struct arena *a,
                              struct gate_names *out, struct err *e);
struct str gate_name_in_tree(const struct gate_names *n, struct str written);
struct str gate_written(const struct gate_names *n, struct str name); /* of a whole name */
/* Any text of the engine, with the caller's names in it; empty when the arena is full. */
struct str gate_write_back(const struct gate_names *n, struct arena *a, struct str text);
/* Can the statement mean that field of the table?  Its time is always used. */
bool gate_uses(const struct gate_result *r, const struct gate_table *t, size_t field);
/* A document that counts the rows of `document`, a checked one, without its LIMIT, OFFSET and
 * ORDER BY: select count(*) as zo_sql_num from (...).  NULL when the arena is full. */
struct json *gate_count_document(const struct json *document, struct arena *a);

/* Cuts EXPLAIN or EXPLAIN ANALYZE, as tokens, off the front of *sql (after comments and blanks);
 * returns "", "EXPLAIN" or "EXPLAIN ANALYZE". */
const char *gate_cut_explain(struct str *sql);
/* The bucket of a histogram over [start, end) when the SQL names none (reference §2.2). */
int64_t gate_histogram_interval_us(int64_t start_us, int64_t end_us);
/* '5 minutes', '30 s', '1h', '1 month': either *us or, for months and years, *months is set. */
bool gate_parse_interval(struct str text, int64_t *us, int64_t *months);

#endif

/* gateway/dialect.h - SQL that the reference's parser takes and DuckDB's does not, put into
 * DuckDB's words.
 *
 * Works on tokens, so that nothing inside literals, quoted names or comments is ever touched:
 *   FROM full, JOIN order      a reserved word where a table is named is quoted, and wherever
 *                              else it stands before a dot
 *   BIGINT UNSIGNED            UBIGINT, and so on
 *   approx_percentile_cont(p) WITHIN GROUP (...)      percentile_cont(p) WITHIN GROUP (...)
 *
 * Good for: text that DuckDB has refused.  Not for: text that it takes, which may mean another
 * thing; what comes out is parsed and checked as any other SQL.
 */
#ifndef WEIR_GATEWAY_DIALECT_H
#define WEIR_GATEWAY_DIALECT_H

#include "base/arena.h"
#include "base/bytes.h"
#include "base/err.h"

struct gate_names;

#define DIALECT_NAMES_MAX 16 /* different reserved words that name tables in one statement */

/* True when *out, in `a`, differs from `sql`; false also when the arena is full. */
bool dialect_translate(struct str sql, struct arena *a, struct str *out);

/* In any case, as the name of a table; SELECT, FROM and LATERAL are not among them. */
bool dialect_is_reserved(struct str word);
/* Renames what is called like one of `names` is written: columns and their aliases, but not calls
 * and keywords; gate.h says what for.  Errors: INVALID (20001) when it grows too large. */
enum err_code dialect_rename(struct str sql, const struct gate_names *names, struct arena *a,
                             struct str *out, struct err *e);

#endif

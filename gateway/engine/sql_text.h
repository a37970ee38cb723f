/* gateway/engine/sql_text.h - names and texts as SQL of our own writes them. */
#ifndef WEIR_GATEWAY_ENGINE_SQL_TEXT_H
#define WEIR_GATEWAY_ENGINE_SQL_TEXT_H

#include "base/bytes.h"

void sql_add_identifier(struct buf *sql, struct str name); /* "na""me" */
void sql_add_literal(struct buf *sql, struct str text);    /* 'te''xt' */
/* DuckDB takes a path for a pattern: one that matches this path alone. */
void sql_add_pattern(struct buf *out, struct str path);
void sql_add_path(struct buf *sql, struct str path); /* that pattern as a literal */

#endif

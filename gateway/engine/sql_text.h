/* gateway/engine/sql_text.h - names and texts as SQL of our own writes them. */
#ifndef WEIR_GATEWAY_ENGINE_SQL_TEXT_H
#define WEIR_GATEWAY_ENGINE_SQL_TEXT_H

#include "base/bytes.h"

void sql_add_identifier(struct buf *sql, struct str name); /* "na""me" */
void sql_add_literal(struct buf *sql, struct str text);    /* 'te''xt' */

#endif

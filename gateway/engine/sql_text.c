/* gateway/engine/sql_text.c - quoting. */
#include "gateway/engine/sql_text.h"

static void add_quoted(struct buf *sql, char quote, struct str text)
{
    buf_add_char(sql, quote);
    for (size_t i = 0; i < text.len; i++) {
        if (text.ptr[i] == quote)
            buf_add_char(sql, quote);
        buf_add_char(sql, text.ptr[i]);
    }
    buf_add_char(sql, quote);
}

void sql_add_identifier(struct buf *sql, struct str name)
{
    add_quoted(sql, '"', name);
}

void sql_add_literal(struct buf *sql, struct str text)
{
    add_quoted(sql, '\'', text);
}

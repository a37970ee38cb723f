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

void sql_add_pattern(struct buf *out, struct str path)
{
    for (size_t i = 0; i < path.len; i++) {
        char c = path.ptr[i];
        if (c == '*' || c == '?' || c == '[')
            buf_printf(out, "[%c]", c);
        else
            buf_add_char(out, c);
    }
}

void sql_add_path(struct buf *sql, struct str path)
{
    struct buf pattern;
    buf_init(&pattern, 3 * path.len + 1);
    sql_add_pattern(&pattern, path);
    sql_add_literal(sql, buf_str(&pattern));
    sql->failed = sql->failed || !buf_ok(&pattern);
    buf_done(&pattern);
}

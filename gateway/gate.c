/* gateway/gate.c - runs an SQL tree through the three checks of the gate. */
#include "gateway/gate.h"

#include <stdarg.h>
#include <stdio.h>

#include "base/cleanup.h"
#include "gateway/gate_internal.h"

enum err_code search_error(struct err *e, enum api_code code, const char *fmt, ...)
{
    char text[ERR_MSG_MAX];
    va_list ap;
    va_start(ap, fmt);
    vsnprintf(text, sizeof text, fmt, ap);
    va_end(ap);
    err_set(e, ERR_INVALID, "%s", text);
    if (e)
        e->detail = (int)code;
    return ERR_INVALID;
}

enum err_code gate_check(struct json *document, const struct gate_options *o, struct arena *a,
                         struct gate_result *out, struct err *e)
{
    *out = (struct gate_result){.document = document, .names = o->names};
    enum err_code rc = gate_check_shape(document, e);
    if (rc)
        return rc;
    out->tables = arena_alloc(a, GATE_TABLES_MAX * sizeof *out->tables);
    if (!out->tables)
        return gate_no_memory(e);
    struct gate g = {.o = o, .a = a, .out = out, .e = e};
    struct json *node = json_get(json_at(json_get(document, "statements"), 0), "node");
    rc = gate_describe(&g, node);
    if (!rc && o->ui_histogram)
        rc = gate_make_ui_histogram(&g, node);
    if (!rc)
        rc = gate_rewrite(&g, node);
    if (!rc)
        rc = gate_page(&g, node);
    if (!rc)
        rc = gate_note_used(&g);
    return !rc && a->failed ? gate_no_memory(e) : rc;
}

/* ---- EXPLAIN ---- */

static bool skip_comment(struct str *s)
{
    size_t i = 2;
    if (str_starts(*s, STR("--"))) {
        while (i < s->len && s->ptr[i] != '\n')
            i++;
    } else if (str_starts(*s, STR("/*"))) {
        while (i < s->len && !(s->ptr[i - 1] == '*' && s->ptr[i] == '/' && i > 2))
            i++;
        i += i < s->len;
    } else {
        return false;
    }
    *s = (struct str){s->ptr + i, s->len - i};
    return true;
}

static void skip_blanks(struct str *s)
{
    do
        *s = str_trim(*s);
    while (skip_comment(s));
}

/* Cuts `word` off when the text starts with it as a whole token. */
static bool cut_word(struct str *s, struct str word)
{
    if (s->len < word.len || !str_eq_nocase((struct str){s->ptr, word.len}, word))
        return false;
    struct str rest = {s->ptr + word.len, s->len - word.len};
    bool ends = !rest.len || strchr(" \t\r\n\f\v(-/", rest.ptr[0]);
    if (!ends)
        return false;
    skip_blanks(&rest);
    *s = rest;
    return true;
}

const char *gate_cut_explain(struct str *sql)
{
    struct str s = *sql;
    skip_blanks(&s);
    if (!cut_word(&s, STR("EXPLAIN")))
        return "";
    bool analyze = cut_word(&s, STR("ANALYZE"));
    *sql = s;
    return analyze ? "EXPLAIN ANALYZE" : "EXPLAIN";
}

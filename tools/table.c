/* tools/table.c - prints rows as an aligned table, CSV or JSON lines. */
#include "tools/table.h"

#include "tools/console.h"

#define COLUMNS_MAX 4096
#define CELL_TEXT_MAX (16u << 20)
#define GAP 2 /* blanks between two columns */
/* A column of text is not made narrower than this to fit the line; than the second, if only that
 * makes a row fit. */
#define WIDTH_MIN 8
#define WIDTH_NARROW 4

struct columns {
    struct str names[COLUMNS_MAX];
    size_t widths[COLUMNS_MAX];
    bool numeric[COLUMNS_MAX];
    size_t count;
};

static size_t find_column(const struct columns *c, struct str name)
{
    for (size_t i = 0; i < c->count; i++) {
        if (str_eq(c->names[i], name))
            return i;
    }
    return c->count;
}

static void collect_columns(struct columns *c, const struct json *rows)
{
    for (const struct json *row = rows->first; row; row = row->next) {
        for (const struct json *cell = row->first; cell; cell = cell->next) {
            size_t i = find_column(c, cell->key);
            if (i == c->count && c->count < COLUMNS_MAX) {
                c->names[i] = cell->key;
                c->numeric[i] = true;
                c->count++;
            }
            if (i < COLUMNS_MAX && cell->type != JSON_NUMBER)
                c->numeric[i] = false;
        }
    }
}

/* The cell's text without quotes; nested values as JSON. */
static void cell_text(struct buf *out, const struct json *cell)
{
    buf_clear(out);
    if (!cell || cell->type == JSON_NULL)
        return;
    if (cell->type == JSON_STRING || cell->type == JSON_NUMBER)
        buf_add_str(out, cell->text);
    else
        json_write(out, cell);
}

/* What fits of s into `max` columns (0: all of it), control bytes as escapes; returns how many it
 * takes. */
static size_t add_visible(struct buf *out, struct str s, size_t max)
{
    const char *p = s.ptr, *end = s.ptr + s.len;
    size_t shown = 0, cut_shown = 0, cut_len = out->len; /* as much as leaves room for the "…" */

    while (p < end) {
        shown += console_add_char(out, &p, end);
        if (max && shown > max) {
            out->len = cut_len;
            buf_add_cstr(out, "…");
            return cut_shown + 1;
        }
        if (shown < max) {
            cut_len = out->len;
            cut_shown = shown;
        }
    }
    return shown;
}

static void pad(struct buf *out, size_t n)
{
    while (n-- > 0)
        buf_add_char(out, ' ');
}

static void measure(struct columns *c, const struct json *rows, size_t cell_max, struct buf *text,
                    struct buf *scratch)
{
    for (size_t i = 0; i < c->count; i++) {
        buf_clear(scratch);
        c->widths[i] = add_visible(scratch, c->names[i], cell_max);
        for (const struct json *row = rows->first; row; row = row->next) {
            char key[512];
            size_t width;
            if (!str_copy_to(c->names[i], key, sizeof key))
                continue;
            cell_text(text, json_get(row, key));
            buf_clear(scratch);
            width = add_visible(scratch, buf_str(text), cell_max);
            if (width > c->widths[i])
                c->widths[i] = width;
        }
    }
}

/* The widest column of text, or c->count when none may become narrower. */
static size_t widest_text(const struct columns *c, size_t min)
{
    size_t best = c->count;

    for (size_t i = 0; i < c->count; i++) {
        if (!c->numeric[i] && c->widths[i] > min &&
            (best == c->count || c->widths[i] > c->widths[best]))
            best = i;
    }
    return best;
}

/* A row's width when columns of text take at most `text_max`. */
static size_t row_width(const struct columns *c, size_t text_max)
{
    size_t total = 0;

    for (size_t i = 0; i < c->count; i++)
        total +=
            (!c->numeric[i] && c->widths[i] > text_max ? text_max : c->widths[i]) + (i ? GAP : 0);
    return total;
}

/* Takes from the widest columns of text until a row fits into a line of `width`, if it can.  False:
 * nothing had to be taken. */
static bool fit(struct columns *c, size_t width)
{
    bool helps = row_width(c, WIDTH_MIN) > width && row_width(c, WIDTH_NARROW) <= width;
    size_t min = helps ? WIDTH_NARROW : WIDTH_MIN, whole = row_width(c, SIZE_MAX), total = whole;

    for (size_t i; total > width && (i = widest_text(c, min)) < c->count; total--)
        c->widths[i]--;
    return total < whole;
}

static void print_cell(struct buf *out, struct str text, size_t width, bool right, bool last,
                       struct buf *scratch)
{
    size_t shown, blanks;

    buf_clear(scratch);
    shown = add_visible(scratch, text, width);
    blanks = width > shown ? width - shown : 0;
    if (right)
        pad(out, blanks);
    buf_add_str(out, buf_str(scratch));
    if (!right && !last)
        pad(out, blanks);
}

static void print_header(struct buf *out, struct columns *c, bool color, struct buf *scratch)
{
    if (color)
        buf_add_cstr(out, "\033[1m");
    for (size_t i = 0; i < c->count; i++) {
        pad(out, i ? GAP : 0);
        print_cell(out, c->names[i], c->widths[i], c->numeric[i], i + 1 == c->count, scratch);
    }
    buf_add_cstr(out, color ? "\033[0m\n" : "\n");
}

static void print_rows(struct buf *out, struct columns *c, const struct json *rows,
                       const struct table_options *o, struct buf *text, struct buf *scratch)
{
    if (!o->no_header)
        print_header(out, c, o->color, scratch);
    for (const struct json *row = rows->first; row; row = row->next) {
        for (size_t i = 0; i < c->count; i++) {
            char key[512];
            bool known = str_copy_to(c->names[i], key, sizeof key);
            cell_text(text, known ? json_get(row, key) : NULL);
            pad(out, i ? GAP : 0);
            print_cell(out, buf_str(text), c->widths[i], c->numeric[i], i + 1 == c->count, scratch);
        }
        buf_add_char(out, '\n');
    }
}

bool table_print(struct buf *out, const struct json *rows, const struct table_options *o)
{
    static struct columns c; /* large; the commands have one thread */
    struct buf text, scratch;
    bool is_cut;

    c.count = 0;
    buf_init(&text, CELL_TEXT_MAX);
    buf_init(&scratch, CELL_TEXT_MAX);
    collect_columns(&c, rows);
    /* One more than a line: what is cut is seen to be too wide. */
    measure(&c, rows, o->width ? o->width + 1 : 0, &text, &scratch);
    is_cut = o->width && fit(&c, o->width);
    if (c.count)
        print_rows(out, &c, rows, o, &text, &scratch);
    buf_done(&text);
    buf_done(&scratch);
    return is_cut;
}

static void add_csv(struct buf *out, struct str s)
{
    bool quote = false;

    for (size_t i = 0; i < s.len; i++)
        quote |= s.ptr[i] == ',' || s.ptr[i] == '"' || s.ptr[i] == '\n' || s.ptr[i] == '\r';
    if (!quote) {
        buf_add_str(out, s);
        return;
    }
    buf_add_char(out, '"');
    for (size_t i = 0; i < s.len; i++) {
        if (s.ptr[i] == '"')
            buf_add_char(out, '"');
        buf_add_char(out, s.ptr[i]);
    }
    buf_add_char(out, '"');
}

void table_print_csv(struct buf *out, const struct json *rows, const struct table_options *o)
{
    static struct columns c;
    struct buf text, shown;

    c.count = 0;
    buf_init(&text, CELL_TEXT_MAX);
    buf_init(&shown, 4 * CELL_TEXT_MAX);
    collect_columns(&c, rows);
    for (size_t i = 0; i < c.count && !o->no_header; i++) {
        buf_add_cstr(out, i ? "," : "");
        add_csv(out, c.names[i]);
    }
    if (c.count && !o->no_header)
        buf_add_char(out, '\n');
    for (const struct json *row = rows->first; row; row = row->next) {
        for (size_t i = 0; i < c.count; i++) {
            char key[512];
            bool known = str_copy_to(c.names[i], key, sizeof key);
            cell_text(&text, known ? json_get(row, key) : NULL);
            buf_add_cstr(out, i ? "," : "");
            buf_clear(&shown);
            if (o->width) /* a terminal obeys nobody */
                console_add_visible(&shown, buf_str(&text));
            add_csv(out, buf_str(o->width ? &shown : &text));
        }
        buf_add_char(out, '\n');
    }
    buf_done(&shown);
    buf_done(&text);
}

void table_print_json(struct buf *out, const struct json *rows)
{
    for (const struct json *row = rows->first; row; row = row->next) {
        json_write(out, row);
        buf_add_char(out, '\n');
    }
}

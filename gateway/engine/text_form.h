/* gateway/engine/text_form.h - a sealed row as a line again: the text form, version 1.
 *
 * One line a row, in the file's order; keys in the order of its columns; nulls left out; compact
 * JSON with the escapes and number forms of the journal's lines.  So a line whose keys stand in the
 * order of the columns and whose values have the columns' types is its own text form, byte for
 * byte. A float that is no finite number is "NaN", "+Inf", "-Inf" or "Stale". The same functions
 * serve both sides: lines as they are read, and rows as they come from Parquet.
 *
 * The sum of a text is the sum modulo 2^64 of text_line_hash over its lines: whatever their order,
 * one changed byte changes it.
 * Thread safety: a text_form is immutable; a text_writer has one owner.
 */
#ifndef WEIR_GATEWAY_ENGINE_TEXT_FORM_H
#define WEIR_GATEWAY_ENGINE_TEXT_FORM_H

#include "gateway/engine/lines.h"
#include "gateway/engine/request.h"
#include "gateway/engine/values.h"

#define TEXT_FORM_VERSION 1

struct text_form {
    struct str *leads; /* `"name":` of each column */
    size_t count;
};
/* In `a`; NOMEM. */
enum err_code text_form_make(const struct run_column *columns, size_t count, struct arena *a,
                             struct text_form *out, struct err *e);

struct text_writer {
    const struct text_form *form;
    struct buf *out;  /* lines are appended */
    struct buf plain; /* scratch */
    size_t line_at;   /* of the line being written, in out */
    bool has_member;
};
void text_writer_init(struct text_writer *w, const struct text_form *form, struct buf *out);
void text_writer_done(struct text_writer *w);

void text_begin(struct text_writer *w);
/* A value of a line in column `column` of that type; false: it does not fit the type. */
bool text_put_line_value(struct text_writer *w, size_t column, enum column_type type,
                         const struct line_value *v);
/* A value of a result; a null adds nothing.  Integers of any width, DECIMAL without a fraction,
 * BOOLEAN, DOUBLE and VARCHAR. */
void text_put_view(struct text_writer *w, size_t column, const struct value_view *v, idx_t row);
/* A value that is JSON already, in its text form. */
void text_put_token(struct text_writer *w, size_t column, struct str token);
/* Ready-made members, without braces: the labels of a sample. */
void text_put_members(struct text_writer *w, struct str members);
/* Ends the line and returns it, without its newline; valid until `out` changes. */
struct str text_end(struct text_writer *w);

uint64_t text_line_hash(struct str line);
/* The digits of a float, or NaN, +Inf, -Inf, Stale; dst >= 40 bytes; returns the length. */
size_t text_number(double v, char *dst);

#endif

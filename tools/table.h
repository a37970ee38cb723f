/* tools/table.h - rows of JSON objects printed for people (aligned) or programs (CSV, JSON lines).
 *
 * Columns are the keys in order of first sight.  Output is UTF-8; a cell's control bytes are shown
 * as escapes in the table form.
 */
#ifndef WEIR_TOOLS_TABLE_H
#define WEIR_TOOLS_TABLE_H

#include "base/json.h"

struct table_options {
    size_t width;   /* characters of a line that wide columns of text are cut to; 0 = no limit */
    bool color;     /* bold header */
    bool no_header; /* leave out the names of the columns */
};
/* True: columns were cut to the width. */
bool table_print(struct buf *out, const struct json *rows, const struct table_options *o);
/* RFC 4180 with \n line ends.  Of the options no_header counts; with a width it is for a terminal,
 * and control bytes are shown as escapes. */
void table_print_csv(struct buf *out, const struct json *rows, const struct table_options *o);
void table_print_json(struct buf *out, const struct json *rows); /* one object a line */

#endif

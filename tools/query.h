/* tools/query.h - what `weir query` was called with, for its parts.
 *
 * Strings are argv's, the environment's, or of the arena that was given.  Threads: the main one.
 */
#ifndef WEIR_TOOLS_QUERY_H
#define WEIR_TOOLS_QUERY_H

#include <stdbool.h>
#include <stdint.h>

#include "base/arena.h"

enum form { FORM_AUTO, FORM_TABLE, FORM_JSON, FORM_CSV }; /* as in the choices of --format */

struct query_options {
    const char *sql, *file, *org, *type, *url, *user, *password;
    int type_choice;
    int64_t last_us, start_us, end_us, size, timeout_s;
    int form, color;
    bool range_given, no_header, history, again;
    char url_text[300]; /* the default one */
};
extern const struct query_options query_defaults;

/* ---- query_history.c ---- */

/* weir query --history [TEXT]; the exit code. */
int query_list_history(const struct query_options *o, const char *text);
/* weir query --again [N]: *o and *sql become what was asked then, changed by what argv says now.
 * 0, or the exit code. */
int query_recall(const char *number, int argc, char **argv, struct query_options *o,
                 struct arena *a, const char **sql);
/* Keeps what is about to be asked, if it is to be kept; says it when it was asked before. */
void query_remember(const struct query_options *o, struct arena *a);

#endif

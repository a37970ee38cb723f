/* tools/history.h - what was asked before, in a file of the person who asks.
 *
 * Good for: listing statements with their options, asking one again.  Not for: secrets; the caller
 * leaves them out.
 * File: $WEIR_HISTORY, else $XDG_STATE_HOME/weir/query_history (~/.local/state), mode 0600 (a file
 * of ours that was there gets it too), one JSON object a line; format and limits: history.c. An
 * entry's words are those of a command line behind the command, each with a final NUL. Threads: the
 * main one; other processes may add at the same time.
 */
#ifndef WEIR_TOOLS_HISTORY_H
#define WEIR_TOOLS_HISTORY_H

#include "base/arena.h"
#include "base/bytes.h"
#include "base/err.h"

#define HISTORY_TEXT_MAX (4u << 20) /* of the file */

struct history_entry {
    int64_t number; /* stays with the entry */
    int64_t at_us;
    struct str words;
};

/* Is something asked now to be kept?  With WEIR_HISTORY: always, or never when it is empty; else
 * when a person types, which is when standard input is a terminal. */
bool history_is_wanted(void);
/* What equals the newest entry is not kept twice; what is larger than an entry may be is not kept.
 */
enum err_code history_add(struct str words, int64_t now_us, struct err *e);
/* Oldest first; no file is OK.  The entry lives until the next call. */
typedef void (*history_visit)(const struct history_entry *h, void *ctx);
enum err_code history_each(history_visit fn, void *ctx, struct err *e);
/* Number 0: the newest.  The words are copied into `a`. */
enum err_code history_find(int64_t number, struct arena *a, struct history_entry *out,
                           struct err *e);
/* As it can be typed: words in quotes where a shell needs them, no control bytes. */
void history_put_words(struct buf *out, struct str words);

#endif

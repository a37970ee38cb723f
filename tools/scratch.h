/* tools/scratch.h - a folder below $TMPDIR (/tmp) for what one process must write somewhere.
 *
 * It belongs to the process for as long as that lives; what a killed one left behind goes when the
 * same user makes the next.  Threads: the main one.
 */
#ifndef WEIR_TOOLS_SCRATCH_H
#define WEIR_TOOLS_SCRATCH_H

#include <limits.h>

#include "base/err.h"

struct scratch {
    char path[PATH_MAX];
    int fd; /* locked for as long as the owner lives */
};
enum err_code scratch_make(struct scratch *s, struct err *e);
void scratch_remove(struct scratch *s);

#endif

/* tools/doctor.h - what `weir doctor` looks at, one function a thing.
 *
 * A check fills a finding: what it saw in one line and, unless all is well, how to mend it.  It
 * changes nothing that it does not undo.  Threads: the main one.
 */
#ifndef WEIR_TOOLS_DOCTOR_H
#define WEIR_TOOLS_DOCTOR_H

#include "tools/node.h"

enum verdict {
    VERDICT_OK,
    VERDICT_NOTE, /* less than it could be, or worth knowing */
    VERDICT_WARN, /* it will run, and hurt some day */
    VERDICT_BAD   /* a start fails */
};

struct finding {
    enum verdict verdict;
    char saw[320];
    char mend[320];
};
/* Both fill the text and set the verdict; `seen` alone leaves nothing to mend. */
void finding_seen(struct finding *f, enum verdict v, const char *fmt, ...)
    __attribute__((format(printf, 3, 4)));
void finding_mend(struct finding *f, const char *fmt, ...) __attribute__((format(printf, 2, 3)));

struct check {
    const char *name;
    void (*run)(const struct node *n, struct finding *f);
};
/* Each ends with a NULL name. */
extern const struct check doctor_machine_checks[], doctor_data_checks[];

#endif

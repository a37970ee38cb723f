/* tests/support/scratch.h - a folder of a test's own, removed when the test ends. */
#ifndef WEIR_TESTS_SCRATCH_H
#define WEIR_TESTS_SCRATCH_H

#include <ftw.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

struct scratch {
    char path[64];
};

static inline struct scratch scratch_make(void)
{
    struct scratch s = {.path = "/tmp/weir-unit-XXXXXX"};

    if (!mkdtemp(s.path))
        abort();
    return s;
}

static inline int scratch_remove_one(const char *path, const struct stat *st, int type,
                                     struct FTW *ftw)
{
    (void)st;
    (void)type;
    (void)ftw;
    return remove(path);
}

static inline void scratch_remove(struct scratch *s)
{
    if (s->path[0])
        nftw(s->path, scratch_remove_one, 16, FTW_DEPTH | FTW_PHYS);
    s->path[0] = '\0';
}

#define AUTO_SCRATCH __attribute__((cleanup(scratch_remove)))

#endif

// links: weir_http
/* Paths from outside: what a match returns lies inside the path and holds no NUL. */
#include <assert.h>
#include <stdint.h>
#include <stdlib.h>

#include "base/utf8.h"
#include "http/routes.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void check_name(const char *path, size_t size, struct str name)
{
    assert(name.len == 0 || (name.ptr >= path && name.ptr + name.len <= path + size));
    assert(name.len == 0 || memchr(name.ptr, '\0', name.len) == NULL);
    assert(utf8_valid(name));
}

/* The first byte chooses the method, the rest is the path. */
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static const char *const methods[] = {"GET", "POST", "PUT", "HEAD", "OPTIONS", "DELETE"};
    struct route_match m;
    if (size == 0)
        return 0;
    const char *method = methods[data[0] % (sizeof methods / sizeof methods[0])];
    char *path = malloc(size); /* exact, so that AddressSanitizer sees a read past the end */
    memcpy(path, data + 1, size - 1);
    enum route_outcome outcome = route_match(path, size - 1, str_from(method), STR(""), &m);
    assert((outcome == ROUTE_FOUND) == (m.route != NULL) || outcome == ROUTE_BAD_PATH);
    if (outcome == ROUTE_FOUND) {
        check_name(path, size, m.org);
        check_name(path, size, m.stream);
    }
    free(path);
    return 0;
}

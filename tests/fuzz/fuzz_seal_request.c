// links: weir_engine
/* Requests to seal and to render: whatever comes is a request whose parts stand where they say, or
 * an error. */
#include <assert.h>
#include <stdint.h>

#include "gateway/engine/seal_request.h"

enum { MEMORY_MAX = 4 << 20 };

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static size_t touch(struct str s)
{
    size_t sum = s.len;
    for (size_t i = 0; i < s.len; i++)
        sum += (uint8_t)s.ptr[i];
    return sum;
}

static void check_seal(struct str body, struct arena *a)
{
    struct seal_request r;
    struct err e = {0};
    enum err_code rc = seal_request_decode(body, a, &r, &e);
    assert(rc == e.code);
    if (rc != ERR_OK)
        return;
    size_t sum = touch(r.part) + touch(r.org) + touch(r.type) + touch(r.name) + touch(r.node);
    assert(r.part.len == 26 && r.source_count > 0 && r.source_count <= SEAL_SOURCES_MAX);
    for (size_t i = 0; i < r.source_count; i++) {
        assert(r.sources[i].path.len > 0);
        sum += touch(r.sources[i].path) + touch(r.sources[i].id) + touch(r.sources[i].name);
    }
    assert(r.is_metrics || r.column_count > 0);
    for (size_t i = 0; i < r.column_count; i++) {
        assert(r.columns[i].name.len > 0 && r.columns[i].type <= COLUMN_UTF8 && r.numbers[i] > 0);
        sum += touch(r.columns[i].name);
    }
    assert(sum > 0);
}

static void check_text(struct str body, struct arena *a)
{
    struct text_request r;
    struct err e = {0};
    enum err_code rc = text_request_decode(body, a, &r, &e);
    assert(rc == e.code);
    assert(rc != ERR_OK || (r.path.len > 0 && touch(r.path) > 0));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct arena a;
    struct str body = {(const char *)data, size};
    arena_init(&a, MEMORY_MAX);
    check_seal(body, &a);
    arena_reset(&a);
    check_text(body, &a);
    arena_done(&a);
    return 0;
}

// links: weir_gateway weir_fs weir_index
/* The hot scanner and the tree parser of base/ must take and refuse the same documents.
 * Known difference: a BOM. */
#include <stdio.h>
#include <stdlib.h>

#include "base/json.h"
#include "gateway/line.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

enum { MEMORY_MAX = 64 << 20 };

static bool scanner_takes(struct scan *s, struct str text)
{
    scan_init(s, text);
    return scan_skip(s, 0) && (scan_peek(s) < 0 || scan_fail(s, s->p, "more"));
}

/* What line_text makes of a good document is a JSON string that holds the document again. */
static void check_text(struct str text, struct arena *a)
{
    struct buf out;
    struct scan s;
    struct json *outer, *inner;
    struct err e;
    buf_init(&out, MEMORY_MAX);
    scan_init(&s, text);
    scan_peek(&s);
    if (!line_text(&s, 0, &out) || json_parse(buf_str(&out), a, &outer, &e) ||
        outer->type != JSON_STRING || json_parse(outer->text, a, &inner, &e)) {
        fprintf(stderr, "not read back: %s\n", e.msg);
        abort();
    }
    buf_done(&out);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct str text = {(const char *)data, size};
    struct arena a;
    struct scan s;
    struct json *tree;
    struct err e;
    arena_init(&a, MEMORY_MAX);
    bool taken = scanner_takes(&s, text);
    bool is_known = str_starts(text, STR("\xEF\xBB\xBF"));
    if (!is_known && taken != (json_parse(text, &a, &tree, &e) == ERR_OK)) {
        fprintf(stderr, "scanner: %s at %td, tree: %s\n", taken ? "taken" : s.why, s.p - s.begin,
                taken ? e.msg : "taken");
        abort();
    }
    if (taken)
        check_text(text, &a);
    arena_done(&a);
    return 0;
}

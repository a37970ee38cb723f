// links: weir_fs weir_index
/* Publish records and the JSON of a part: whatever bytes, an error or a part that makes sense.
 * Input: 'r' and a record, or 'p' or 'f' and JSON (as published, as a file says it of itself). */
#include <stdint.h>
#include <stdlib.h>

#include "fs/sealed/part_json.h"
#include "fs/sealed/publish_record.h"

#define MEMORY_MAX ((size_t)64 << 20)

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void require(bool ok)
{
    if (!ok)
        abort();
}

/* Encodes, and decodes to the same again. */
static void round_trip(const struct part *p, const struct part_column *columns, size_t count,
                       struct arena *a)
{
    struct part_column *columns_again;
    struct part again;
    struct buf record, second;
    struct err e;
    size_t count_again;

    buf_init(&record, JOURNAL_RECORD_MAX);
    buf_init(&second, JOURNAL_RECORD_MAX);
    if (publish_record_encode(p, columns, count, &record, &e) == ERR_OK) {
        require(publish_record_decode(buf_str(&record), a, &again, &columns_again, &count_again,
                                      &e) == ERR_OK);
        require(publish_record_encode(&again, columns_again, count_again, &second, &e) == ERR_OK);
        require(str_eq(buf_str(&record), buf_str(&second)));
    }
    buf_done(&record);
    buf_done(&second);
}

static void try_json(struct str text, enum part_json kind, struct arena *a)
{
    struct part_column *columns;
    struct json *v;
    struct part p;
    struct err e;
    size_t count;

    if (json_parse(text, a, &v, &e) == ERR_OK &&
        part_from_json(v, kind, a, &p, &columns, &count, &e) == ERR_OK)
        round_trip(&p, columns, count, a);
}

static void try_record(struct str record, struct arena *a)
{
    struct part_column *columns;
    struct part p;
    struct err e;
    size_t count;

    if (publish_record_decode(record, a, &p, &columns, &count, &e) == ERR_OK)
        round_trip(&p, columns, count, a);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct arena a;
    struct str rest;

    if (size == 0)
        return 0;
    rest = (struct str){(const char *)data + 1, size - 1};
    arena_init(&a, MEMORY_MAX);
    if (data[0] == 'r')
        try_record(rest, &a);
    else
        try_json(rest, data[0] == 'p' ? PART_JSON_PUBLISHED : PART_JSON_OF_FILE, &a);
    arena_done(&a);
    return 0;
}

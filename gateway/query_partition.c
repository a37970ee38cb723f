/* gateway/query_partition.c - cuts the range of a search into pieces that a page asks one by one.
 *
 *   newest first    the last minute, then the rest in pieces of about QUERY_PIECE_BYTES
 *   oldest first    the first minute, then the rest
 *   a histogram     pieces that begin and end with a bucket, but for the outer edges
 *   anything else   one piece: its parts cannot be put together
 *
 * Range and bucket are numbers from outside.  A range whose length is no int64_t is one piece, and
 * so is a histogram whose bucket is as long as the range; of all others no sum here overflows, but
 * where a bucket's edge would lie outside of int64_t.
 */
#include <stdlib.h>

#include "base/clock.h"
#include "fs/control/control.h"
#include "gateway/engine/client.h"
#include "gateway/query_service.h"

#define FIRST_PIECE_US (60 * US_PER_SEC)
#define PLAN_MEMORY_MAX ((size_t)64 << 20)
#define CONNECT_MS 2000

static bool is_by_time(const struct gate_result *gate)
{
    return gate->order_count > 0 && str_eq(gate->order[0].by, STR("_timestamp"));
}

/* The next multiple of `unit` at or below `t`, at or above it; false: it is no int64_t. */
static bool round_down(int64_t t, int64_t unit, int64_t *out)
{
    int64_t rest = t % unit;
    return !__builtin_sub_overflow(t, rest < 0 ? rest + unit : rest, out);
}

static bool round_up(int64_t t, int64_t unit, int64_t *out)
{
    int64_t rest = t % unit;
    return !__builtin_add_overflow(t, rest > 0 ? unit - rest : -rest, out);
}

/* ---- ranges ---- */

static void add_range(struct query_partition *p, int64_t start_us, int64_t end_us)
{
    if (start_us < end_us && p->count < QUERY_RANGES_MAX)
        p->range[p->count++] = (struct query_range){start_us, end_us};
}

static void reverse(struct query_partition *p)
{
    for (size_t i = 0; i < p->count / 2; i++) {
        struct query_range swapped = p->range[i];
        p->range[i] = p->range[p->count - 1 - i];
        p->range[p->count - 1 - i] = swapped;
    }
}

/* [start, end) in equal pieces whose length is a multiple of `unit`, the newest first.  The length
 * is an int64_t, and above `unit` unless one piece is enough. */
static void add_pieces(struct query_partition *p, int64_t start_us, int64_t end_us, int64_t unit)
{
    uint64_t wanted = p->bytes / QUERY_PIECE_BYTES + 1;
    uint64_t pieces = wanted < QUERY_RANGES_MAX - 3 ? wanted : QUERY_RANGES_MAX - 3;
    int64_t step;
    if (__builtin_add_overflow((end_us - start_us) / (int64_t)pieces / unit * unit, unit, &step))
        step = INT64_MAX;
    for (int64_t from, to = end_us; to > start_us; to = from) {
        from = to - start_us > step ? to - step : start_us;
        add_range(p, from, to);
    }
}

static void cut_by_time(struct query_partition *p, int64_t start_us, int64_t end_us)
{
    if (end_us - start_us <= FIRST_PIECE_US) {
        add_range(p, start_us, end_us);
    } else if (p->is_descending) {
        add_range(p, end_us - FIRST_PIECE_US, end_us);
        add_pieces(p, start_us, end_us - FIRST_PIECE_US, FIRST_PIECE_US);
    } else {
        add_pieces(p, start_us + FIRST_PIECE_US, end_us, FIRST_PIECE_US);
        add_range(p, start_us, start_us + FIRST_PIECE_US);
        reverse(p);
    }
}

static void cut_by_bucket(struct query_partition *p, int64_t start_us, int64_t end_us,
                          int64_t bucket_us)
{
    int64_t first, last;
    if (!round_up(start_us, bucket_us, &first) || !round_down(end_us, bucket_us, &last) ||
        last <= first) {
        add_range(p, start_us, end_us);
        return;
    }
    add_range(p, last, end_us);
    add_pieces(p, first, last, bucket_us);
    add_range(p, start_us, first);
    if (!p->is_descending)
        reverse(p);
}

void query_partition_cut(struct query_partition *p, enum query_cut how, int64_t bucket_us,
                         struct query_range whole)
{
    int64_t length_us;
    if (__builtin_sub_overflow(whole.end_us, whole.start_us, &length_us) ||
        (how == CUT_BY_BUCKET && (bucket_us <= 0 || bucket_us >= length_us)))
        how = CUT_NOT;
    if (how == CUT_BY_BUCKET)
        cut_by_bucket(p, whole.start_us, whole.end_us, bucket_us);
    else if (how == CUT_BY_TIME)
        cut_by_time(p, whole.start_us, whole.end_us);
    else
        add_range(p, whole.start_us, whole.end_us);
}

/* ---- figures ---- */

static void count_files(struct query_partition *p, const struct query_plan *plan,
                        const struct query_request *r)
{
    const struct snapshot *snapshot = plan->snapshot;
    for (size_t i = 0; snapshot && i < snapshot->file_count; i++) {
        const struct snapshot_file *f = &snapshot->files[i];
        if (!query_plan_reads(plan, r, f))
            continue;
        p->files++;
        p->records += f->rows;
        p->bytes += f->is_sealed ? f->text_bytes : f->bytes;
        p->stored_bytes += f->is_sealed ? f->bytes : 0;
    }
    for (size_t i = 0; i < plan->gate.table_count; i++) {
        unsigned hours = plan->gate.tables[i].stream->max_query_hours;
        if (hours && (!p->max_query_hours || hours < p->max_query_hours))
            p->max_query_hours = hours;
    }
}

static void fill(struct query_partition *p, const struct query_plan *plan,
                 const struct query_request *r)
{
    const struct gate_result *gate = &plan->gate;
    enum query_cut how = CUT_NOT;
    if (gate->has_histogram && gate->histogram_interval_us > 0)
        how = CUT_BY_BUCKET;
    else if (is_by_time(gate) && !*plan->explain)
        how = CUT_BY_TIME;
    count_files(p, plan, r);
    p->is_descending = !gate->order_count || gate->order[0].is_descending;
    query_partition_cut(p, how, gate->histogram_interval_us,
                        (struct query_range){plan->start_us, r->end_us});
    p->limit = gate->limit;
    p->has_histogram_interval = gate->has_histogram;
    p->histogram_interval_s = gate->histogram_interval_us / US_PER_SEC;
    p->is_histogram_eligible = gate->is_histogram_eligible;
}

enum err_code query_partition(struct query_service *q, const struct query_request *r,
                              struct query_partition *out, struct err *e)
{
    const struct query_config *cfg = query_service_config(q);
    uint64_t deadline_ms = clock_mono_ms() + cfg->timeout_ms;
    struct engine_client *engine = NULL;
    struct query_plan plan = {0};
    struct arena arena;
    *out = (struct query_partition){0};
    arena_init(&arena, PLAN_MEMORY_MAX);
    enum err_code rc =
        engine_client_open(cfg->engine_socket, clock_mono_ms() + CONNECT_MS, &engine, e);
    if (!rc)
        rc = query_plan_make(q, r, &engine, deadline_ms, &arena, &plan, e);
    engine_client_close(engine);
    if (rc)
        rc = query_reference_error(&plan, e);
    else
        fill(out, &plan, r);
    query_plan_done(q, &plan);
    arena_done(&arena);
    return rc;
}

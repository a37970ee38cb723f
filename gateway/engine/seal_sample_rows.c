/* gateway/engine/seal_sample_rows.c - samples of all metrics of an hour, by columns, sorted by
 * series.
 *
 * A sample is its name, its labels as the canonical text {"a":"x","b":"y"} (by name, each once in
 * memory), its time and its value.  The text form of a row is the line as the metrics doors write
 * it:
 * {"_timestamp":N,"__name__":"m",<labels>,"value":V}.
 */
#include <math.h>
#include <stdlib.h>

#include "base/cleanup.h"
#include "base/hash.h"
#include "base/json.h"
#include "gateway/engine/convert.h"
#include "gateway/engine/seal_rows_internal.h"

#define LABEL_SETS_MAX 50000000
#define LABELS_MAX 1024     /* of one sample */
#define DICTIONARY_MIN 1000 /* so few words have a dictionary in any case */
#define MERGED_MAX 4        /* -0.0, NaN, Stale, and one to be sure */

enum { OUT_NAME, OUT_LABELS, OUT_TIME, OUT_VALUE, OUT_COUNT }; /* columns of the file */
enum { TEXT_TIME, TEXT_NAME, TEXT_VALUE, TEXT_COUNT };         /* of the text form */

static const struct run_column TEXT_COLUMNS[TEXT_COUNT] = {
    [TEXT_TIME] = {{"_timestamp", 10}, COLUMN_INT64, false},
    [TEXT_NAME] = {{"__name__", 8}, COLUMN_UTF8, false},
    [TEXT_VALUE] = {{"value", 5}, COLUMN_FLOAT64, false},
};
static const struct seal_column OUT_COLUMNS[OUT_COUNT] = {
    [OUT_NAME] = {{{"__name__", 8}, COLUMN_UTF8, false}, 1, NULL, false},
    [OUT_LABELS] = {{{"labels", 6}, COLUMN_UTF8, false}, 2, NULL, false},
    [OUT_TIME] = {{{"_timestamp", 10}, COLUMN_INT64, false}, 3, NULL, false},
    [OUT_VALUE] = {{{"value", 5}, COLUMN_FLOAT64, false}, 4, NULL, false},
};

struct sample {
    uint32_t name, labels; /* indices; ranks once all are read */
    int64_t ts_us;
    double value;
    uint32_t place, text_len;
};
struct label {
    struct str key, value; /* as written, between the quotes */
};
struct sample_state {
    struct sample *samples;
    size_t count, cap;
    struct map by_labels; /* text -> index + 1 */
    struct str *labels;   /* by index, later by rank */
    size_t label_count, label_cap;
    struct str *names;                  /* of the names found, by index, later by rank */
    const struct seal_source **sources; /* the first one of each name, the same order */
    size_t name_count;
    uint32_t *name_of_source;
    struct buf members; /* scratch */
};

/* ---- open ---- */

/* Sources of one name (a file that was rolled, and the next) are one name of the part. */
static void gather_names(struct seal_rows *s, struct sample_state *t)
{
    const struct seal_request *r = s->request;
    struct map seen;
    map_init(&seen, SEAL_SOURCES_MAX);
    for (size_t i = 0; i < r->source_count; i++) {
        size_t at = (size_t)(uintptr_t)map_find(&seen, r->sources[i].name);
        if (at == 0) {
            t->names[t->name_count] = r->sources[i].name;
            t->sources[t->name_count++] = &r->sources[i];
            at = t->name_count;
            map_put(&seen, r->sources[i].name, (void *)(uintptr_t)at);
        }
        t->name_of_source[i] = (uint32_t)at - 1;
    }
    map_done(&seen);
}

static enum err_code open_rows(struct seal_rows *s, uint64_t bytes, struct err *e)
{
    (void)bytes;
    size_t n = s->request->source_count;
    struct sample_state *t = s->state = calloc(1, sizeof *t);
    if (!t)
        return err_set(e, ERR_NOMEM, "no memory for a seal");
    map_init(&t->by_labels, LABEL_SETS_MAX);
    buf_init(&t->members, SEAL_LINE_MAX);
    t->names = arena_alloc(&s->arena, n * sizeof *t->names);
    t->sources = arena_alloc(&s->arena, n * sizeof *t->sources);
    t->name_of_source = arena_alloc(&s->arena, n * sizeof *t->name_of_source);
    if (!t->names || !t->sources || !t->name_of_source)
        return err_set(e, ERR_NOMEM, "no memory for %zu sources", n);
    gather_names(s, t);
    return text_form_make(TEXT_COLUMNS, TEXT_COUNT, &s->arena, &s->form, e);
}

static void close_rows(struct seal_rows *s)
{
    struct sample_state *t = s->state;
    if (!t)
        return;
    map_done(&t->by_labels);
    buf_done(&t->members);
    free(t->samples);
    free(t->labels);
    free(t);
}

/* ---- one line ---- */

struct parsed {
    struct line_value time, name, value;
    bool has_time, has_name, has_value;
    struct label labels[LABELS_MAX];
    size_t label_count;
};

static bool take_own(struct parsed *p, struct str key, const struct line_value *v)
{
    struct {
        struct str key;
        struct line_value *to;
        bool *has;
    } own[] = {{STR("_timestamp"), &p->time, &p->has_time},
               {STR("__name__"), &p->name, &p->has_name},
               {STR("value"), &p->value, &p->has_value}};
    for (size_t i = 0; i < ARRAY_LEN(own); i++)
        if (str_eq(key, own[i].key)) {
            *own[i].to = *v;
            *own[i].has = true;
            return true;
        }
    return false;
}

static enum err_code parse(struct str line, struct parsed *p, struct err *e)
{
    struct line_members m = {.line = line};
    struct line_value v;
    struct str key;
    p->has_time = p->has_name = p->has_value = false;
    p->label_count = 0;
    while (line_members_next(&m, &key, &v)) {
        if (take_own(p, key, &v))
            continue;
        if (p->label_count == LABELS_MAX || (v.kind != LINE_STRING && v.kind != LINE_ESCAPED))
            return err_set(e, ERR_CORRUPT, "label '" STR_FMT "' is no text, or one too many",
                           STR_ARG(key));
        p->labels[p->label_count++] = (struct label){key, v.text};
    }
    if (m.is_broken || !p->has_time || !p->has_name || !p->has_value)
        return err_set(e, ERR_CORRUPT, "it is no sample");
    return ERR_OK;
}

static int by_key(const void *a, const void *b)
{
    const struct label *x = a, *y = b;
    return str_cmp(x->key, y->key);
}

static void sort_labels(struct parsed *p)
{
    for (size_t i = 1; i < p->label_count; i++)
        if (str_cmp(p->labels[i - 1].key, p->labels[i].key) > 0) {
            qsort(p->labels, p->label_count, sizeof p->labels[0], by_key);
            return;
        }
}

/* {"a":"x","b":"y"} in t->members. */
static struct str write_labels(struct sample_state *t, struct parsed *p)
{
    sort_labels(p);
    buf_clear(&t->members);
    buf_add_char(&t->members, '{');
    for (size_t i = 0; i < p->label_count; i++) {
        buf_add_cstr(&t->members, i > 0 ? ",\"" : "\"");
        buf_add_str(&t->members, p->labels[i].key);
        buf_add_cstr(&t->members, "\":\"");
        buf_add_str(&t->members, p->labels[i].value);
        buf_add_char(&t->members, '"');
    }
    buf_add_char(&t->members, '}');
    return buf_str(&t->members);
}

static struct str inside(struct str braces)
{
    return (struct str){braces.ptr + 1, braces.len - 2};
}

static enum err_code intern(struct seal_rows *s, struct str text, uint32_t *index, struct err *e)
{
    struct sample_state *t = s->state;
    size_t known = (size_t)(uintptr_t)map_find(&t->by_labels, text);
    void *labels = t->labels;
    if (known > 0) {
        *index = (uint32_t)known - 1;
        return ERR_OK;
    }
    bool ok = seal_grow(&labels, t->label_count, &t->label_cap, sizeof *t->labels);
    t->labels = labels;
    struct str copy = ok ? arena_copy(&s->arena, text) : (struct str){0};
    if (!copy.ptr || !map_put(&t->by_labels, copy, (void *)(uintptr_t)(t->label_count + 1)))
        return err_set(e, ERR_NOMEM, "no memory for %zu label sets", t->label_count);
    *index = (uint32_t)t->label_count;
    t->labels[t->label_count++] = copy;
    return ERR_OK;
}

static enum err_code render(struct seal_rows *s, const struct parsed *p, struct str labels,
                            struct err *e)
{
    buf_clear(&s->line);
    text_begin(&s->writer);
    bool ok = text_put_line_value(&s->writer, TEXT_TIME, COLUMN_INT64, &p->time) &&
              text_put_line_value(&s->writer, TEXT_NAME, COLUMN_UTF8, &p->name);
    text_put_members(&s->writer, inside(labels));
    ok = ok && text_put_line_value(&s->writer, TEXT_VALUE, COLUMN_FLOAT64, &p->value);
    text_end(&s->writer);
    return ok && buf_ok(&s->line) ? ERR_OK : err_set(e, ERR_CORRUPT, "it is no sample");
}

static enum err_code add_line(struct seal_rows *s, size_t source, struct str line, int64_t *ts_us,
                              struct err *e)
{
    struct sample_state *t = s->state;
    struct parsed p;
    struct sample one = {.name = t->name_of_source[source], .place = (uint32_t)t->count};
    void *samples = t->samples;
    enum err_code rc = parse(line, &p, e);
    if (rc != ERR_OK)
        return rc;
    if (!str_eq(p.name.text, s->request->sources[source].name))
        return err_set(e, ERR_CORRUPT, "it is a sample of '" STR_FMT "'", STR_ARG(p.name.text));
    if (!convert_i64(&p.time, ts_us) || !convert_f64(&p.value, &one.value))
        return err_set(e, ERR_CORRUPT, "its time or value is no number");
    struct str labels = write_labels(t, &p);
    rc = render(s, &p, labels, e);
    if (rc == ERR_OK)
        rc = intern(s, labels, &one.labels, e);
    if (rc != ERR_OK)
        return rc;
    bool ok = seal_grow(&samples, t->count, &t->cap, sizeof *t->samples);
    t->samples = samples;
    if (!ok || t->count == UINT32_MAX)
        return err_set(e, ERR_NOMEM, "no memory for %zu samples", t->count);
    one.ts_us = *ts_us;
    one.text_len = seal_count_text(s);
    t->samples[t->count++] = one;
    return ERR_OK;
}

/* ---- after the last line ---- */

struct ranked {
    struct str text;
    const struct seal_source *source;
    uint32_t index;
};

static int by_text(const void *a, const void *b)
{
    const struct ranked *x = a, *y = b;
    return str_cmp(x->text, y->text);
}

/* Sorts `texts` (and `sources`, when given) and tells the rank of each index. */
static uint32_t *rank(struct str *texts, const struct seal_source **sources, size_t count)
{
    AUTO_FREE struct ranked *list = calloc(count + 1, sizeof *list);
    uint32_t *ranks = calloc(count + 1, sizeof *ranks);
    if (!list || !ranks) {
        free(ranks);
        return NULL;
    }
    for (size_t i = 0; i < count; i++)
        list[i] = (struct ranked){texts[i], sources ? sources[i] : NULL, (uint32_t)i};
    qsort(list, count, sizeof *list, by_text);
    for (size_t i = 0; i < count; i++) {
        ranks[list[i].index] = (uint32_t)i;
        texts[i] = list[i].text;
        if (sources)
            sources[i] = list[i].source;
    }
    return ranks;
}

static int by_series(const void *a, const void *b)
{
    const struct sample *x = a, *y = b;
    if (x->name != y->name)
        return x->name < y->name ? -1 : 1;
    if (x->labels != y->labels)
        return x->labels < y->labels ? -1 : 1;
    if (x->ts_us != y->ts_us)
        return x->ts_us < y->ts_us ? -1 : 1;
    return (x->place > y->place) - (x->place < y->place);
}

static enum err_code sort_samples(struct sample_state *t, struct err *e)
{
    AUTO_FREE uint32_t *names = rank(t->names, t->sources, t->name_count);
    AUTO_FREE uint32_t *labels = rank(t->labels, NULL, t->label_count);
    if (!names || !labels)
        return err_set(e, ERR_NOMEM, "no memory to sort %zu samples", t->count);
    for (size_t i = 0; i < t->count; i++) {
        t->samples[i].name = names[t->samples[i].name];
        t->samples[i].labels = labels[t->samples[i].labels];
    }
    qsort(t->samples, t->count, sizeof *t->samples, by_series);
    return ERR_OK;
}

static void add_to_name(struct seal_name *n, const struct sample *one, uint64_t row)
{
    if (n->rows == 0)
        n->first_row = row;
    if (n->rows == 0 || one->ts_us < n->min_ts_us)
        n->min_ts_us = one->ts_us;
    if (n->rows == 0 || one->ts_us > n->max_ts_us)
        n->max_ts_us = one->ts_us;
    n->rows++;
    n->text_bytes += one->text_len;
}

/* ---- dictionaries ---- */

static uint64_t bits_of(double v)
{
    uint64_t bits;
    memcpy(&bits, &v, sizeof bits);
    return bits;
}

/* Values that a dictionary would take for one: both zeros, or two kinds of NaN. */
static bool would_merge(const struct sample *group, size_t count)
{
    uint64_t zero = 0, nan = 0;
    bool has_zero = false, has_nan = false, merge = false;
    for (size_t i = 0; i < count; i++) {
        uint64_t bits = bits_of(group[i].value);
        bool is_zero = group[i].value == 0, is_nan = isnan(group[i].value);
        merge =
            merge || (is_zero && has_zero && bits != zero) || (is_nan && has_nan && bits != nan);
        zero = is_zero ? bits : zero;
        nan = is_nan ? bits : nan;
        has_zero = has_zero || is_zero;
        has_nan = has_nan || is_nan;
    }
    return merge;
}

static int by_bits(const void *a, const void *b)
{
    const uint64_t *x = a, *y = b;
    return (*x > *y) - (*x < *y);
}

static uint64_t count_values(const struct sample *group, size_t count, uint64_t *scratch)
{
    uint64_t values = 0;
    for (size_t i = 0; i < count; i++)
        scratch[i] = bits_of(group[i].value);
    qsort(scratch, count, sizeof *scratch, by_bits);
    for (size_t i = 0; i < count; i++)
        values += i == 0 || scratch[i] != scratch[i - 1];
    return values;
}

static uint64_t count_series(const struct sample *group, size_t count)
{
    uint64_t series = 0;
    for (size_t i = 0; i < count; i++)
        series +=
            i == 0 || group[i].name != group[i - 1].name || group[i].labels != group[i - 1].labels;
    return series;
}

static size_t group_size(const struct sample_state *t, size_t first)
{
    return t->count - first < SEAL_GROUP_ROWS ? t->count - first : SEAL_GROUP_ROWS;
}

/* Labels have a dictionary, each series once.  Values have one only where they are few and it keeps
 * them apart: split into streams of bytes, many of them take an eighth of it. */
static enum err_code limit_dictionaries(const struct sample_state *t, uint64_t *limit,
                                        struct err *e)
{
    AUTO_FREE uint64_t *scratch = calloc(group_size(t, 0), sizeof *scratch);
    uint64_t series_max = 0;
    if (!scratch)
        return err_set(e, ERR_NOMEM, "no memory for the values of a row group");
    for (size_t at = 0; at < t->count; at += SEAL_GROUP_ROWS) {
        uint64_t series = count_series(&t->samples[at], group_size(t, at));
        series_max = series > series_max ? series : series_max;
    }
    *limit = series_max > DICTIONARY_MIN ? series_max : DICTIONARY_MIN;
    for (size_t at = 0; at < t->count; at += SEAL_GROUP_ROWS) {
        if (!would_merge(&t->samples[at], group_size(t, at)))
            continue;
        uint64_t values = count_values(&t->samples[at], group_size(t, at), scratch);
        uint64_t least = values > MERGED_MAX ? values - MERGED_MAX : 0; /* that DuckDB counts */
        *limit = series_max < *limit ? series_max : *limit;
        if (least <= *limit)
            *limit = least > 0 ? least - 1 : 0;
    }
    return ERR_OK;
}

static enum err_code finish(struct seal_rows *s, struct err *e)
{
    struct sample_state *t = s->state;
    struct seal_facts *f = &s->facts;
    enum err_code rc = sort_samples(t, e);
    if (rc == ERR_OK)
        rc = seal_begin_groups(s, e);
    if (rc == ERR_OK)
        rc = limit_dictionaries(t, &f->dictionary_limit, e);
    f->names = arena_zalloc(&s->arena, (t->name_count + 1) * sizeof *f->names);
    s->columns = arena_alloc(&s->arena, sizeof OUT_COLUMNS);
    if (rc == ERR_OK && (!f->names || !s->columns))
        rc = err_set(e, ERR_NOMEM, "no memory for %zu names", t->name_count);
    if (rc != ERR_OK)
        return rc;
    memcpy(s->columns, OUT_COLUMNS, sizeof OUT_COLUMNS);
    s->column_count = OUT_COUNT;
    s->fields = s->columns;
    s->field_count = OUT_COUNT;
    f->name_count = t->name_count;
    for (size_t i = 0; i < t->name_count; i++)
        f->names[i].source = t->sources[i];
    for (size_t i = 0; i < t->count; i++) {
        seal_add_group(s, i, t->samples[i].text_len);
        add_to_name(&f->names[t->samples[i].name], &t->samples[i], i);
    }
    return ERR_OK;
}

/* ---- to DuckDB ---- */

static void put_text(duckdb_vector v, idx_t row, struct str text)
{
    duckdb_vector_assign_string_element_len(v, row, text.ptr, text.len);
}

static enum err_code fill(struct seal_rows *s, duckdb_data_chunk chunk, uint64_t first,
                          struct err *e)
{
    struct sample_state *t = s->state;
    duckdb_vector name = duckdb_data_chunk_get_vector(chunk, OUT_NAME);
    duckdb_vector labels = duckdb_data_chunk_get_vector(chunk, OUT_LABELS);
    int64_t *time = duckdb_vector_get_data(duckdb_data_chunk_get_vector(chunk, OUT_TIME));
    double *value = duckdb_vector_get_data(duckdb_data_chunk_get_vector(chunk, OUT_VALUE));
    uint64_t end = first + duckdb_vector_size();
    (void)e;
    if (end > t->count)
        end = t->count;
    for (uint64_t i = first; i < end; i++) {
        const struct sample *one = &t->samples[i];
        put_text(name, i - first, t->names[one->name]);
        put_text(labels, i - first, t->labels[one->labels]);
        time[i - first] = one->ts_us;
        value[i - first] = one->value;
    }
    duckdb_data_chunk_set_size(chunk, end - first);
    return ERR_OK;
}

const struct row_kind seal_sample_rows = {open_rows, add_line, finish, fill, close_rows};

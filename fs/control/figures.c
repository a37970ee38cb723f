/* fs/control/figures.c - answers FIGURES. */
#include "fs/control/control.h"
#include "fs/control/internal.h"

static void write_figures(struct json_writer *w, const struct figures *f)
{
    jw_array(w);
    jw_u64(w, f->stream);
    jw_u64(w, f->files);
    jw_u64(w, f->rows);
    jw_u64(w, f->text_bytes);
    jw_u64(w, f->sealed_bytes);
    jw_i64(w, f->min_ts_us);
    jw_i64(w, f->max_ts_us);
    jw_end(w);
}

static void write_list(struct buf *reply, const struct figures *list, size_t count)
{
    struct json_writer w = {.out = reply};

    jw_object(&w);
    jw_key(&w, STR("streams"));
    jw_array(&w);
    for (size_t i = 0; i < count; i++)
        if (list[i].files > 0)
            write_figures(&w, &list[i]);
    jw_end(&w);
    jw_end(&w);
}

/* In the order that figures_take wants. */
static enum err_code read_list(struct control_request *r, struct figures **list, size_t *count,
                               struct err *e)
{
    uint64_t *numbers;
    enum err_code rc = control_want_streams(r, &numbers, count, e);

    if (rc)
        return rc;
    *list = arena_zalloc(r->arena, (*count + 1) * sizeof **list);
    if (!*list)
        return err_set(e, ERR_NOMEM, "no memory for the figures of %zu streams", *count);
    for (size_t i = 0; i < *count; i++) {
        if (i > 0 && numbers[i] <= numbers[i - 1])
            return err_set(e, ERR_INVALID, "\"streams\" are not in order, or twice");
        (*list)[i].stream = numbers[i];
    }
    return ERR_OK;
}

enum err_code control_answer_figures(struct control_request *r, struct err *e)
{
    const struct figures_config cfg = {
        .journal = r->cfg->journal, .registry = r->cfg->registry, .sealed = r->cfg->sealed};
    struct str org = json_str(json_get(r->body, "org"), STR(""));
    struct figures *list;
    size_t count;
    enum err_code rc = read_list(r, &list, &count, e);

    if (!rc)
        rc = figures_take(&cfg, org, list, count, e);
    if (!rc)
        write_list(r->reply, list, count);
    return rc;
}

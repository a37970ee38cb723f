/* gateway/query_names.c - the columns of a result under names that differ.
 *
 * Two columns of one name would be two members of one name in a hit: the second becomes name_1, and
 * so on, as the engine does it for tables.  The columns of EXPLAIN get the reference's names, and
 * those that the gate has renamed their own.
 */
#include "gateway/engine/client.h"
#include "gateway/query_service.h"

struct taken {
    struct str *slots; /* open addressing; ptr NULL is free */
    size_t mask;
};

/* False: it is there already. */
static bool take_name(struct taken *t, struct str name)
{
    size_t i = (size_t)str_hash(name) & t->mask;
    while (t->slots[i].ptr) {
        if (str_eq(t->slots[i], name))
            return false;
        i = (i + 1) & t->mask;
    }
    t->slots[i] = name;
    return true;
}

static struct str explain_name(struct str name)
{
    if (str_eq(name, STR("explain_key")))
        return STR("plan_type");
    return str_eq(name, STR("explain_value")) ? STR("plan") : name;
}

/* Empty when the arena is full. */
static struct str free_name(struct taken *t, struct str name, struct arena *a)
{
    struct str wanted = name;
    for (unsigned n = 1; wanted.ptr && !take_name(t, wanted); n++) {
        char *text = arena_printf(a, "%.*s_%u", STR_ARG(name), n);
        wanted = (struct str){text, text ? strlen(text) : 0};
    }
    return wanted;
}

enum err_code query_column_names(const struct engine_column *columns, size_t n,
                                 const struct query_plan *p, struct arena *a,
                                 struct query_column **out, struct err *e)
{
    size_t slots = 16;
    while (slots < 2 * n)
        slots *= 2;
    struct taken t = {.slots = arena_zalloc(a, slots * sizeof *t.slots), .mask = slots - 1};
    struct query_column *list = arena_alloc(a, (n + 1) * sizeof *list);
    for (size_t i = 0; i < n && t.slots && list; i++) {
        struct str name = *p->explain ? explain_name(columns[i].name)
                                      : gate_write_back(&p->gate.names, a, columns[i].name);
        list[i].name = free_name(&t, arena_copy(a, name), a);
    }
    *out = list;
    return a->failed ? err_set(e, ERR_NOMEM, "no memory for %zu columns", n) : ERR_OK;
}

/* http/call.c - arguments of a query string. */
#include "http/call.h"

#include "base/clock.h"
#include "http/routes.h"

static bool decode_part(struct arena *a, struct str in, struct str *out)
{
    char *copy = arena_strdup(a, in);
    if (!copy)
        return false;
    for (size_t i = 0; i < in.len; i++)
        if (copy[i] == '+')
            copy[i] = ' ';
    *out = (struct str){copy, in.len};
    return percent_decode(copy, &out->len);
}

/* NULL value: it is not asked for. */
static bool find_arg(struct http_call *c, const char *name, struct str *value)
{
    struct str rest = c->query, part, key, raw, decoded;
    while (rest.len > 0) {
        str_cut(rest, '&', &part, &rest);
        str_cut(part, '=', &key, &raw);
        if (!decode_part(c->arena, key, &decoded) || !str_eq(decoded, str_from(name)))
            continue;
        if (value && !decode_part(c->arena, raw, value))
            *value = raw;
        return true;
    }
    return false;
}

struct str call_arg(struct http_call *c, const char *name)
{
    struct str value = STR("");
    find_arg(c, name, &value);
    return value;
}

bool call_has_arg(struct http_call *c, const char *name)
{
    return find_arg(c, name, NULL);
}

uint64_t call_waited_us(const struct http_call *c)
{
    return (clock_mono_ms() - c->asked_ms) * 1000;
}

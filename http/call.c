/* http/call.c - arguments of a query string. */
#include "http/call.h"

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

struct str call_arg(struct http_call *c, const char *name)
{
    struct str rest = c->query, part, key, value, decoded;
    while (rest.len > 0) {
        str_cut(rest, '&', &part, &rest);
        str_cut(part, '=', &key, &value);
        if (!decode_part(c->arena, key, &decoded) || !str_eq(decoded, str_from(name)))
            continue;
        return decode_part(c->arena, value, &decoded) ? decoded : STR("");
    }
    return STR("");
}

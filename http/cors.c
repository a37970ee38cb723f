/* http/cors.c - finding an origin in the list of those that are allowed. */
#include "http/cors.h"

bool cors_varies(const char *setting)
{
    return str_trim(str_from(setting)).len > 0;
}

static struct str without_slash(struct str s)
{
    s = str_trim(s);
    if (s.len > 0 && s.ptr[s.len - 1] == '/')
        s.len--;
    return s;
}

struct str cors_allowed_origin(const char *setting, struct str origin)
{
    struct str rest = str_from(setting), one;
    if (!cors_varies(setting))
        return STR("*");
    while (rest.len > 0) {
        str_cut(rest, ',', &one, &rest);
        one = without_slash(one);
        if (str_eq(one, STR("*")))
            return STR("*");
        if (origin.len > 0 && str_eq_nocase(one, origin))
            return origin;
    }
    return STR("");
}

/* gateway/engine/rare.c - one look into the object of a row's rare fields. */
#include "gateway/engine/rare.h"

#include <string.h>

/* Behind the value's last byte. */
static const char *end_of_token(const char *p, const char *end)
{
    if (p < end && *p == '"') {
        for (p++; p < end && *p != '"'; p++)
            if (*p == '\\')
                p++;
        return p < end ? p + 1 : end;
    }
    while (p < end && *p != ',' && *p != '}')
        p++;
    return p;
}

/* `"name":` is never part of a text: there, quotes have a backslash before them, and the quote that
 * ends a text is not followed by a colon. */
bool rare_find(struct str object, struct str field, struct str *token)
{
    const char *p = object.ptr, *end = object.ptr + object.len;
    while ((p = memmem(p, (size_t)(end - p), field.ptr, field.len))) {
        const char *after = p + field.len;
        if (p > object.ptr && p[-1] == '"' && end - after >= 2 && after[0] == '"' &&
            after[1] == ':') {
            *token = (struct str){after + 2, (size_t)(end_of_token(after + 2, end) - after - 2)};
            return true;
        }
        p = after;
    }
    return false;
}

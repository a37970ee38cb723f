/* gateway/gate_functions.c - looks functions up in the allow-list. */
#include "base/cleanup.h"
#include "gateway/gate_internal.h"

#define FUNCTION_NAME_MAX 64

static const struct gate_function functions[] = {
#define FUNCTION(name_text, use_bits, engine_name)                                                 \
    {.name = (name_text), .uses = (use_bits), .engine = (engine_name)},
#include "gateway/gate_functions.tbl"
#undef FUNCTION
};

static int compare(const void *key, const void *row)
{
    return strcmp((const char *)key, ((const struct gate_function *)row)->name);
}

const struct gate_function *gate_function_find(struct str name)
{
    char lower[FUNCTION_NAME_MAX];
    if (!str_copy_to(name, lower, sizeof lower) || strlen(lower) != name.len)
        return NULL;
    for (char *p = lower; *p; p++)
        if (*p >= 'A' && *p <= 'Z')
            *p = (char)(*p + ('a' - 'A'));
    return bsearch(lower, functions, ARRAY_LEN(functions), sizeof functions[0], compare);
}

const struct gate_function *gate_function_list(size_t *count)
{
    *count = ARRAY_LEN(functions);
    return functions;
}

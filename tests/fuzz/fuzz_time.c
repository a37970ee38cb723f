/* tests/fuzz/fuzz_time.c - any bytes: a time that parses is one that formats and parses again. */
#include <stdint.h>
#include <stdlib.h>

#include "base/clock.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void check(bool (*parse)(struct str, int64_t *), struct str text)
{
    int64_t us, again;
    char formatted[40];
    struct civil c;
    if (!parse(text, &us))
        return;
    civil_from_us(us, &c);
    if (civil_to_us(&c) != us)
        abort();
    time_format_rfc3339(us, formatted, sizeof formatted);
    /* An offset may lead out of the years that four digits can say. */
    bool sayable = c.year >= 0 && c.year <= 9999;
    if (time_parse_rfc3339(str_from(formatted), &again) != sayable || (sayable && again != us))
        abort();
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct str text = {(const char *)data, size};
    check(time_parse_rfc3339, text);
    check(time_parse_rfc2822, text);
    return 0;
}

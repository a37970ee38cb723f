/* gateway/settings.h - every setting, from one table (settings.tbl), read from the environment.
 *
 * A row gives id, name, type, default, range, unit, secrecy and help; adding a setting is adding a
 * row.  Values are immutable after settings_load.  Sizes are held in bytes, durations in
 * milliseconds, whatever unit the setting itself uses; settings_i64 returns those.
 * Errors: INVALID with the name, the value and the range.
 */
#ifndef WEIR_GATEWAY_SETTINGS_H
#define WEIR_GATEWAY_SETTINGS_H

#include <stdbool.h>
#include <stdint.h>

#include "base/bytes.h"
#include "base/err.h"

enum setting_type {
    SET_BOOL,
    SET_INT,
    SET_TEXT,
    SET_PATH,
    SET_BYTES,   /* plain number = bytes; also 64K, 8MiB, 2G */
    SET_MB,      /* plain number = MiB (OpenObserve's); suffixes too */
    SET_SECONDS, /* plain number = seconds; also 500ms, 10s, 5m, 2h, 7d */
    SET_MINUTES,
    SET_HOURS,
    SET_DAYS
};

enum setting_id {
#define SETTING(id, name, type, def, min, max, secret, help) SET_##id,
#include "gateway/settings.tbl"
#undef SETTING
    SETTING_COUNT
};

struct settings;
/* `env` as environ.  Unknown ZO_* and WEIR_* names are listed by settings_unknown, not fatal. */
enum err_code settings_load(char *const *env, struct settings **out, struct err *e);
void settings_free(struct settings *s);

bool settings_bool(const struct settings *s, enum setting_id id);
int64_t settings_i64(const struct settings *s, enum setting_id id);
const char *settings_text(const struct settings *s, enum setting_id id); /* never NULL */
bool settings_is_set(const struct settings *s, enum setting_id id);      /* from the environment */
size_t settings_unknown(const struct settings *s, const char *const **names);

/* Forms of `weir config`; secrets are masked. */
void settings_print_text(const struct settings *s, struct buf *out, bool with_help);
void settings_print_json(const struct settings *s, struct buf *out);
void settings_print_markdown(const struct settings *s, struct buf *out);

#endif

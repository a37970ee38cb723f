/* base/log.h - one line a fact on standard error, as text or JSON.
 *
 * Text: `2026-01-02T03:04:05.123456Z INFO  gateway: message key=value`.
 * JSON: {"time":…,"level":…,"process":…,"message":…,"key":"value"}.
 * Values are quoted when they need it; control bytes are escaped; a line is one write(2).
 * Level and form are set once at start (log_init), before threads.  Any thread may log.
 * Only the outermost layer logs an error; libraries return it.
 */
#ifndef WEIR_BASE_LOG_H
#define WEIR_BASE_LOG_H

#include <stdbool.h>

enum log_level { LOG_DEBUG, LOG_INFO, LOG_WARN, LOG_ERROR };

void log_init(const char *process, enum log_level level, bool json);
/* From "debug" / "info" / "warn" / "error" (also RUST_LOG style "info,foo=warn": the first word).
 */
bool log_level_parse(const char *text, enum log_level *out);
/* Pairs: NULL-terminated list of key, value C strings after the message.
 *   log_write(LOG_INFO, "listening", "address", addr, "port", port_text, (char *)0);          */
void log_write(enum log_level level, const char *msg, ...) __attribute__((sentinel));
/* printf form for a message without pairs. */
void log_printf(enum log_level level, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
/* Counts of lines logged at WARN and ERROR since start, for health.json. */
void log_counts(unsigned long *warnings, unsigned long *errors);

#endif

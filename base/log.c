/* base/log.c - log lines, each formatted in memory and written by one write(2). */
#include "base/log.h"

#include <stdarg.h>
#include <stdatomic.h>
#include <stdio.h>
#include <unistd.h>

#include "base/bytes.h"
#include "base/cleanup.h"
#include "base/clock.h"
#include "base/json.h"
#include "base/utf8.h"

enum {
    LOG_PAIRS_MAX = 32,         /* further ones are left out, and the line says so */
    LOG_VALUE_MAX_BYTES = 4096, /* of the message and of each value; cut with "..." */
    LOG_LINE_MAX_BYTES = 1 << 20,
    PROCESS_NAME_MAX = 32,
};

static const struct level_row {
    const char *name, *padded;
} LEVELS[] = {
    [LOG_DEBUG] = {.name = "debug", .padded = "DEBUG"},
    [LOG_INFO] = {.name = "info", .padded = "INFO "},
    [LOG_WARN] = {.name = "warn", .padded = "WARN "},
    [LOG_ERROR] = {.name = "error", .padded = "ERROR"},
};

/* Set once before threads start. */
static char process_name[PROCESS_NAME_MAX] = "weir";
static enum log_level lowest_level = LOG_INFO;
static bool as_json;

static _Atomic unsigned long warning_count, error_count;

struct pair {
    struct str key, value;
};

void log_init(const char *process, enum log_level level, bool json)
{
    str_copy_to(str_from(process), process_name, sizeof process_name);
    lowest_level = level;
    as_json = json;
}

bool log_level_parse(const char *text, enum log_level *out)
{
    struct str first, rest;
    str_cut(str_from(text), ',', &first, &rest);
    first = str_trim(first);
    if (str_eq_nocase(first, STR("trace"))) { /* the finest that there is here */
        *out = LOG_DEBUG;
        return true;
    }
    if (str_eq_nocase(first, STR("warning")))
        first = STR("warn");
    for (size_t i = 0; i < ARRAY_LEN(LEVELS); i++) {
        if (str_eq_nocase(first, str_from(LEVELS[i].name))) {
            *out = (enum log_level)i;
            return true;
        }
    }
    return false;
}

void log_counts(unsigned long *warnings, unsigned long *errors)
{
    *warnings = atomic_load_explicit(&warning_count, memory_order_relaxed);
    *errors = atomic_load_explicit(&error_count, memory_order_relaxed);
}

/* The part of a value that is logged; *cut tells that there was more. */
static struct str bounded(struct str s, bool *cut)
{
    *cut = s.len > LOG_VALUE_MAX_BYTES;
    return (struct str){s.ptr, *cut ? LOG_VALUE_MAX_BYTES : s.len};
}

/* ---- text ---- */

static bool needs_quotes(struct str s)
{
    if (s.len == 0 || !utf8_valid(s))
        return true;
    for (size_t i = 0; i < s.len; i++) {
        unsigned char c = (unsigned char)s.ptr[i];
        if (c <= ' ' || c == '"' || c == '\\' || c == '=' || c == 0x7F)
            return true;
    }
    return false;
}

static void add_text_value(struct buf *line, struct str s)
{
    bool cut;
    s = bounded(s, &cut);
    if (needs_quotes(s))
        json_escape(line, s);
    else
        buf_add_str(line, s);
    if (cut)
        buf_add_cstr(line, "...");
}

/* The message stands without quotes; only what would break the line is escaped. */
static void add_text_message(struct buf *line, struct str s)
{
    bool cut;
    s = bounded(s, &cut);
    for (size_t i = 0; i < s.len; i++) {
        unsigned char c = (unsigned char)s.ptr[i];
        if (c < ' ' || c == 0x7F)
            buf_printf(line, "\\x%02x", c);
        else
            buf_add_char(line, s.ptr[i]);
    }
    if (cut)
        buf_add_cstr(line, "...");
}

static void format_text(struct buf *line, enum log_level level, struct str msg,
                        const struct pair *pairs, size_t count)
{
    char now[40];
    time_format_rfc3339(clock_wall_us(), now, sizeof now);
    buf_printf(line, "%s %s %s: ", now, LEVELS[level].padded, process_name);
    add_text_message(line, msg);
    for (size_t i = 0; i < count; i++) {
        buf_add_char(line, ' ');
        buf_add_str(line, pairs[i].key);
        buf_add_char(line, '=');
        add_text_value(line, pairs[i].value);
    }
}

/* ---- JSON ---- */

static void add_json_member(struct buf *line, struct str key, struct str value)
{
    bool cut;
    value = bounded(value, &cut);
    buf_add_char(line, ',');
    json_escape(line, key);
    buf_add_char(line, ':');
    json_escape(line, value);
    if (cut && buf_ok(line)) { /* inside the quotes that were just closed */
        line->len--;
        buf_add_cstr(line, "...\"");
    }
}

static void format_json(struct buf *line, enum log_level level, struct str msg,
                        const struct pair *pairs, size_t count)
{
    char now[40];
    time_format_rfc3339(clock_wall_us(), now, sizeof now);
    buf_printf(line, "{\"time\":\"%s\",\"level\":\"%s\"", now, LEVELS[level].name);
    add_json_member(line, STR("process"), str_from(process_name));
    add_json_member(line, STR("message"), msg);
    for (size_t i = 0; i < count; i++)
        add_json_member(line, pairs[i].key, pairs[i].value);
    buf_add_char(line, '}');
}

/* ---- both ---- */

static bool admit(enum log_level level)
{
    if (level == LOG_WARN)
        atomic_fetch_add_explicit(&warning_count, 1, memory_order_relaxed);
    else if (level == LOG_ERROR)
        atomic_fetch_add_explicit(&error_count, 1, memory_order_relaxed);
    return level >= lowest_level;
}

static void emit(enum log_level level, struct str msg, const struct pair *pairs, size_t count)
{
    static const char LOST[] = "a log line was lost: out of memory\n";
    struct buf line;
    buf_init(&line, LOG_LINE_MAX_BYTES);
    (as_json ? format_json : format_text)(&line, level, msg, pairs, count);
    buf_add_char(&line, '\n');
    struct str out = buf_ok(&line) ? buf_str(&line) : STR(LOST);
    ssize_t done = write(STDERR_FILENO, out.ptr, out.len);
    (void)done; /* there is nowhere left to say it */
    buf_done(&line);
}

void log_write(enum log_level level, const char *msg, ...)
{
    struct pair pairs[LOG_PAIRS_MAX];
    size_t count = 0;
    if (!admit(level))
        return;
    va_list args;
    va_start(args, msg);
    for (const char *key; (key = va_arg(args, const char *)) != NULL;) {
        const char *value = va_arg(args, const char *);
        if (count == LOG_PAIRS_MAX) {
            pairs[count - 1] = (struct pair){STR("more"), STR("left out")};
            break;
        }
        pairs[count++] = (struct pair){str_from(key), str_from(value)};
    }
    va_end(args);
    emit(level, str_from(msg), pairs, count);
}

void log_printf(enum log_level level, const char *fmt, ...)
{
    char msg[LOG_VALUE_MAX_BYTES + 2]; /* one over the limit shows that it was cut */
    if (!admit(level))
        return;
    va_list args;
    va_start(args, fmt);
    int n = vsnprintf(msg, sizeof msg, fmt, args);
    va_end(args);
    if (n < 0)
        msg[0] = '\0';
    emit(level, str_from(msg), NULL, 0);
}

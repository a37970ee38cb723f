/* tools/log_line.c - shows a stored line with its level in colour. */
#include "tools/log_line.h"

#include "base/cleanup.h"
#include "base/clock.h"
#include "base/json.h"

#define LINE_ARENA_MAX (512u << 20)
#define TIME_KEY "{\"_timestamp\":"
#define LEVEL_SHOWN 5 /* characters */

static const char *const level_names[] = {"level",    "severity", "log_level",
                                          "loglevel", "lvl",      "severity_text"};
static const char *const message_names[] = {"message", "msg", "log", "body", "event"};

static const struct {
    const char *prefix, *shown;
    enum style style;
} levels[] = {
    {"trace", "TRACE", STYLE_DIM},   {"debug", "DEBUG", STYLE_DIM},  {"info", "INFO", STYLE_GREEN},
    {"notice", "NOTE", STYLE_GREEN}, {"warn", "WARN", STYLE_YELLOW}, {"err", "ERROR", STYLE_RED},
    {"crit", "CRIT", STYLE_RED},     {"fatal", "FATAL", STYLE_RED},  {"alert", "ALERT", STYLE_RED},
    {"emerg", "EMERG", STYLE_RED},   {"panic", "PANIC", STYLE_RED},
};

int64_t log_line_time(struct str line)
{
    struct str rest, digits;
    int64_t us;

    if (!str_starts(line, STR(TIME_KEY)))
        return 0;
    rest = (struct str){line.ptr + strlen(TIME_KEY), line.len - strlen(TIME_KEY)};
    str_cut(rest, ',', &digits, &rest);
    if (digits.len && digits.ptr[digits.len - 1] == '}')
        digits.len--;
    return str_to_i64(digits, &us) ? us : 0;
}

static const struct json *find_first(const struct json *doc, const char *const *names, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        const struct json *v = json_get(doc, names[i]);
        if (v && v->type == JSON_STRING)
            return v;
    }
    return NULL;
}

static void add_time(struct buf *out, int64_t us, const struct log_line_form *form)
{
    char text[40];
    int64_t today = hour_of_us(form->today_us) / 24;

    console_format_time(us, text);
    paint_begin(out, form->paint, STYLE_DIM);
    buf_add_cstr(out, hour_of_us(us) / 24 == today ? text + strlen("2026-11-23 ") : text);
    buf_printf(out, ".%03d", (int)(us % US_PER_SEC / 1000));
    paint_end(out, form->paint, STYLE_DIM);
}

static void add_level(struct buf *out, struct str level, struct paint p)
{
    for (size_t i = 0; i < ARRAY_LEN(levels); i++) {
        struct str prefix = str_from(levels[i].prefix);
        if (level.len < prefix.len || !str_eq_nocase((struct str){level.ptr, prefix.len}, prefix))
            continue;
        buf_add_char(out, ' ');
        paint_begin(out, p, levels[i].style);
        buf_printf(out, "%-*s", LEVEL_SHOWN, levels[i].shown);
        paint_end(out, p, levels[i].style);
        return;
    }
    buf_add_char(out, ' ');
    console_add_visible(out, level);
}

static bool needs_quotes(struct str s)
{
    for (size_t i = 0; i < s.len; i++) {
        if ((unsigned char)s.ptr[i] <= ' ' || s.ptr[i] == '"' || s.ptr[i] == '=')
            return true;
    }
    return s.len == 0;
}

static void add_field(struct buf *out, const struct json *v, struct paint p)
{
    buf_add_char(out, ' ');
    paint_begin(out, p, STYLE_DIM);
    console_add_visible(out, v->key);
    buf_add_char(out, '=');
    paint_end(out, p, STYLE_DIM);
    if (v->type == JSON_STRING && !needs_quotes(v->text))
        console_add_visible(out, v->text);
    else
        json_write(out, v); /* escapes what a terminal would obey, but for DEL and C1 */
}

static void add_object(struct buf *out, const struct json *doc, const struct log_line_form *form)
{
    const struct json *level = find_first(doc, level_names, ARRAY_LEN(level_names));
    const struct json *message = find_first(doc, message_names, ARRAY_LEN(message_names));
    const struct json *time = json_get(doc, "_timestamp");
    int64_t us;

    if (json_i64(time, &us))
        add_time(out, us, form);
    if (level)
        add_level(out, level->text, form->paint);
    if (message) {
        buf_add_char(out, ' ');
        console_add_visible(out, message->text);
    }
    for (const struct json *v = doc->first; v && !form->is_short; v = v->next) {
        if (v != level && v != message && v != time)
            add_field(out, v, form->paint);
    }
}

void log_line_add(struct buf *out, struct str line, const struct log_line_form *form)
{
    struct arena a;
    struct json *doc;

    if (form->is_json) {
        buf_add_str(out, line);
        buf_add_char(out, '\n');
        return;
    }
    arena_init(&a, LINE_ARENA_MAX);
    if (json_parse(line, &a, &doc, NULL) == ERR_OK && doc->type == JSON_OBJECT)
        add_object(out, doc, form);
    else
        console_add_visible(out, line);
    buf_add_char(out, '\n');
    arena_done(&a);
}

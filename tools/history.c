/* tools/history.c - keeps what was asked before.
 *
 * Format: {"n":12,"at":1764000000000000,"args":["--last=7d","SELECT …"]}\n, oldest first.  Lines
 * that are none, after a crash in the middle of a write, are passed over. Adding holds a flock; a
 * file at its maximum is cut to the newer half, in place: an entry can be lost in a crash at that
 * moment, which is what a history is worth.
 */
#include "tools/history.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/file.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/json.h"
#include "base/sys.h"

#define ENTRIES_MAX 1000
#define ENTRY_MAX (64u << 10) /* a line; a longer statement is kept in a file of its own anyway */
#define ENTRY_ARENA_MAX (1u << 20)

/* ---- where ---- */

static enum err_code find_path(char path[PATH_MAX], struct err *e)
{
    const char *named = getenv("WEIR_HISTORY"), *state = getenv("XDG_STATE_HOME");
    const char *home = getenv("HOME");
    int n;

    if (named && named[0])
        n = snprintf(path, PATH_MAX, "%s", named);
    else if (state && state[0] == '/')
        n = snprintf(path, PATH_MAX, "%s/weir/query_history", state);
    else if (home && home[0] == '/')
        n = snprintf(path, PATH_MAX, "%s/.local/state/weir/query_history", home);
    else
        return err_set(e, ERR_NOTFOUND, "no HOME to keep it in");
    return n < PATH_MAX ? ERR_OK : err_set(e, ERR_INVALID, "the path is too long");
}

static enum err_code make_parent(const char *path, struct err *e)
{
    const char *slash = strrchr(path, '/');
    char parent[PATH_MAX];

    if (!slash || slash == path)
        return ERR_OK;
    str_copy_to((struct str){path, (size_t)(slash - path)}, parent, sizeof parent);
    return sys_mkdirs(parent, 0700, e);
}

bool history_is_wanted(void)
{
    const char *named = getenv("WEIR_HISTORY");

    return named ? named[0] != '\0' : isatty(STDIN_FILENO);
}

/* ---- lines ---- */

static bool parse_line(struct str line, struct arena *a, struct history_entry *out)
{
    struct json *doc;
    struct json *args;
    struct buf words;

    if (json_parse(line, a, &doc, NULL) || !json_i64(json_get(doc, "n"), &out->number) ||
        !json_i64(json_get(doc, "at"), &out->at_us) || !(args = json_get(doc, "args")))
        return false;
    buf_init(&words, ENTRY_MAX);
    for (const struct json *w = args->first; w; w = w->next) {
        buf_add_str(&words, json_str(w, STR("")));
        buf_add_char(&words, '\0');
    }
    out->words = arena_copy(a, buf_str(&words));
    buf_done(&words);
    return !a->failed && out->words.len > 0;
}

static void write_line(struct buf *out, int64_t number, int64_t at_us, struct str words)
{
    struct json_writer w = {.out = out};
    struct str word;

    jw_object(&w);
    jw_ki64(&w, "n", number);
    jw_ki64(&w, "at", at_us);
    jw_key(&w, STR("args"));
    jw_array(&w);
    while (words.len) {
        str_cut(words, '\0', &word, &words);
        jw_str(&w, word);
    }
    jw_end(&w);
    jw_end(&w);
    buf_add_char(out, '\n');
}

/* ---- the file ---- */

/* What the file holds; `fn` may be NULL.  The newest entry is left in *newest, in `a`. */
static size_t each_line(struct str text, history_visit fn, void *ctx, struct arena *a,
                        struct history_entry *newest)
{
    struct history_entry h;
    struct str line;
    size_t count = 0;

    *newest = (struct history_entry){0};
    while (text.len) {
        struct arena own;
        str_cut(text, '\n', &line, &text);
        arena_init(&own, ENTRY_ARENA_MAX);
        if (line.len && parse_line(line, &own, &h)) {
            count++;
            newest->number = h.number;
            newest->at_us = h.at_us;
            if (fn)
                fn(&h, ctx);
            if (!text.len && a)
                newest->words = arena_copy(a, h.words);
        }
        arena_done(&own);
    }
    return count;
}

static enum err_code read_all(int fd, struct buf *text, struct err *e)
{
    struct stat st;
    size_t size;

    if (sys_fstat(fd, &st) != 0)
        return err_sys(e, errno, "stat");
    size = (size_t)st.st_size;
    if (size > HISTORY_TEXT_MAX)
        return err_set(e, ERR_TOOBIG, "larger than %u bytes", HISTORY_TEXT_MAX);
    if (!buf_reserve(text, size + 1))
        return err_set(e, ERR_NOMEM, "no memory");
    text->len = size;
    return size ? sys_read_full(fd, text->data, size, 0, e) : ERR_OK;
}

/* The newer half of the entries, and never more than half of what a file may have: lines that are
 * none have no number. */
static struct str newer_half(struct str text, size_t count)
{
    const size_t most = HISTORY_TEXT_MAX / 2;
    struct str line;

    for (size_t i = 0; i < count / 2 && text.len; i++)
        str_cut(text, '\n', &line, &text);
    if (text.len > most) {
        text = (struct str){text.ptr + (text.len - most), most};
        str_cut(text, '\n', &line, &text); /* the end of one that was cut */
    }
    return text;
}

/* Behind what is there, or behind its newer half when the file is at a maximum. */
static enum err_code write_locked(int fd, struct str text, size_t count, struct str line,
                                  struct err *e)
{
    off_t at = (off_t)text.len;
    enum err_code rc = ERR_OK;

    if (count >= ENTRIES_MAX || text.len + line.len > HISTORY_TEXT_MAX) {
        text = newer_half(text, count);
        rc = sys_write_full(fd, text.ptr, text.len, 0, e);
        at = (off_t)text.len;
    }
    if (!rc && text.len && text.ptr[text.len - 1] != '\n')
        rc = sys_write_full(fd, "\n", 1, at++, e);
    if (!rc)
        rc = sys_write_full(fd, line.ptr, line.len, at, e);
    if (!rc && sys_ftruncate(fd, at + (off_t)line.len) != 0)
        rc = err_sys(e, errno, "cut");
    return rc;
}

static enum err_code append_locked(int fd, struct str words, int64_t now_us, struct err *e)
{
    struct history_entry newest;
    struct buf text, line;
    struct arena a;
    size_t count;
    enum err_code rc;

    arena_init(&a, ENTRY_ARENA_MAX);
    buf_init(&text, HISTORY_TEXT_MAX + 1);
    buf_init(&line, ENTRY_MAX);
    rc = read_all(fd, &text, e);
    if (!rc) {
        count = each_line(buf_str(&text), NULL, NULL, &a, &newest);
        write_line(&line, newest.number + 1, now_us, words);
        if (buf_ok(&line) && !str_eq(newest.words, words))
            rc = write_locked(fd, buf_str(&text), count, buf_str(&line), e);
    }
    buf_done(&line);
    buf_done(&text);
    arena_done(&a);
    return rc;
}

/* A file that was there may be open to others; what is no file of ours stays as it is. */
static enum err_code make_private(int fd, struct err *e)
{
    struct stat st;

    if (sys_fstat(fd, &st) != 0)
        return err_sys(e, errno, "stat");
    if (!S_ISREG(st.st_mode) || st.st_uid != geteuid() || (st.st_mode & 077) == 0)
        return ERR_OK;
    return fchmod(fd, 0600) == 0 ? ERR_OK : err_sys(e, errno, "chmod");
}

enum err_code history_add(struct str words, int64_t now_us, struct err *e)
{
    char path[PATH_MAX];
    enum err_code rc = find_path(path, e);

    if (!rc)
        rc = make_parent(path, e);
    if (rc)
        return rc;
    AUTO_FD int fd = sys_open(path, O_RDWR | O_CREAT, 0600);
    if (fd < 0 || flock(fd, LOCK_EX) != 0)
        return err_sys(e, errno, "%s", path);
    rc = make_private(fd, e);
    if (!rc)
        rc = append_locked(fd, words, now_us, e);
    return rc ? err_wrap(e, "%s", path) : ERR_OK;
}

enum err_code history_each(history_visit fn, void *ctx, struct err *e)
{
    struct history_entry newest;
    char path[PATH_MAX];
    struct buf text;
    enum err_code rc = find_path(path, e);

    if (rc)
        return rc;
    AUTO_FD int fd = sys_open(path, O_RDONLY, 0);
    if (fd < 0)
        return errno == ENOENT ? ERR_OK : err_sys(e, errno, "%s", path);
    buf_init(&text, HISTORY_TEXT_MAX + 1);
    rc = read_all(fd, &text, e);
    if (!rc)
        each_line(buf_str(&text), fn, ctx, NULL, &newest);
    buf_done(&text);
    return rc ? err_wrap(e, "%s", path) : ERR_OK;
}

struct search {
    int64_t number;
    struct buf words; /* of the one that was found */
    struct history_entry found;
};

static void compare(const struct history_entry *h, void *ctx)
{
    struct search *s = ctx;

    if (s->number && s->number != h->number)
        return;
    s->found = *h;
    buf_clear(&s->words);
    buf_add_str(&s->words, h->words);
}

enum err_code history_find(int64_t number, struct arena *a, struct history_entry *out,
                           struct err *e)
{
    struct search s = {.number = number};
    enum err_code rc;

    buf_init(&s.words, ENTRY_MAX);
    rc = history_each(compare, &s, e);
    if (!rc && !s.words.len)
        rc = number
                 ? err_set(e, ERR_NOTFOUND,
                           "number %" PRId64 " is not in the history; --history lists it", number)
                 : err_set(e, ERR_NOTFOUND, "the history is empty");
    if (!rc) {
        *out = s.found;
        out->words = arena_copy(a, buf_str(&s.words));
    }
    buf_done(&s.words);
    return rc;
}

/* ---- as a shell reads it ---- */

static bool is_plain(struct str word)
{
    for (size_t i = 0; i < word.len; i++) {
        char c = word.ptr[i];
        bool is_safe = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') ||
                       strchr("-_=./:@,+", c);
        if (!is_safe || c == '\0')
            return false;
    }
    return word.len > 0;
}

/* A byte that a terminal might obey: C0, DEL, or the first of C1 in UTF-8. */
static bool is_control(struct str word, size_t i)
{
    unsigned char c = (unsigned char)word.ptr[i];
    unsigned char next = i + 1 < word.len ? (unsigned char)word.ptr[i + 1] : 0;

    return c < 0x20 || c == 0x7f || (c == 0xc2 && next >= 0x80 && next < 0xa0);
}

static bool has_control(struct str word)
{
    for (size_t i = 0; i < word.len; i++) {
        if (is_control(word, i))
            return true;
    }
    return false;
}

static void put_escaped(struct buf *out, struct str word, size_t i)
{
    if (word.ptr[i] == '\n')
        buf_add_cstr(out, "\\n");
    else if (is_control(word, i))
        buf_printf(out, "\\x%02x", (unsigned)(unsigned char)word.ptr[i]);
    else if (word.ptr[i] == '\'' || word.ptr[i] == '\\')
        buf_printf(out, "\\%c", word.ptr[i]);
    else
        buf_add_char(out, word.ptr[i]);
}

/* $'…' of bash and zsh, where control bytes are escapes; else '…'. */
static void put_quoted(struct buf *out, struct str word)
{
    bool escaped = has_control(word);

    buf_add_cstr(out, escaped ? "$'" : "'");
    for (size_t i = 0; i < word.len; i++) {
        if (escaped)
            put_escaped(out, word, i);
        else if (word.ptr[i] == '\'')
            buf_add_cstr(out, "'\\''");
        else
            buf_add_char(out, word.ptr[i]);
    }
    buf_add_char(out, '\'');
}

void history_put_words(struct buf *out, struct str words)
{
    struct str word;

    for (const char *gap = ""; words.len; gap = " ") {
        str_cut(words, '\0', &word, &words);
        buf_add_cstr(out, gap);
        if (is_plain(word))
            buf_add_str(out, word);
        else
            put_quoted(out, word);
    }
}

/* gateway/engine/words.c - word boundaries and case folding of words.h.
 *
 * Characters below U+0080 are classed by arithmetic, the others by the ranges below.  A code point
 * in no range is a letter.
 */
#include "gateway/engine/words.h"

#include "base/cleanup.h"
#include "base/utf8.h"

enum char_class { SEPARATOR, LETTER, ALONE };

/* Sorted; what lies between is LETTER. */
static const struct {
    uint32_t from, to;
    enum char_class class;
} char_ranges[] = {
    {0x80, 0xA9, SEPARATOR},     {0xAB, 0xB4, SEPARATOR},     {0xB6, 0xB9, SEPARATOR},
    {0xBB, 0xBF, SEPARATOR},     {0xD7, 0xD7, SEPARATOR},     {0xF7, 0xF7, SEPARATOR},
    {0x055A, 0x055F, SEPARATOR}, {0x0589, 0x058A, SEPARATOR}, {0x05BE, 0x05BE, SEPARATOR},
    {0x060C, 0x060D, SEPARATOR}, {0x061B, 0x061F, SEPARATOR}, {0x066A, 0x066D, SEPARATOR},
    {0x06D4, 0x06D4, SEPARATOR}, {0x0964, 0x0965, SEPARATOR}, {0x0E00, 0x0EFF, ALONE},
    {0x1000, 0x109F, ALONE},     {0x1100, 0x11FF, ALONE},     {0x1680, 0x1680, SEPARATOR},
    {0x1780, 0x17FF, ALONE},     {0x2000, 0x200B, SEPARATOR}, {0x200E, 0x206F, SEPARATOR},
    {0x20A0, 0x20CF, SEPARATOR}, {0x2190, 0x245F, SEPARATOR}, {0x2500, 0x25FF, SEPARATOR},
    {0x2600, 0x27BF, ALONE},     {0x27C0, 0x2BFF, SEPARATOR}, {0x2E00, 0x2E7F, SEPARATOR},
    {0x2E80, 0x2FFF, ALONE},     {0x3000, 0x3004, SEPARATOR}, {0x3005, 0x3007, ALONE},
    {0x3008, 0x3020, SEPARATOR}, {0x3021, 0x302F, ALONE},     {0x3030, 0x3030, SEPARATOR},
    {0x3031, 0x30FA, ALONE},     {0x30FB, 0x30FB, SEPARATOR}, {0x30FC, 0x9FFF, ALONE},
    {0xA960, 0xA97F, ALONE},     {0xAC00, 0xD7FF, ALONE},     {0xE000, 0xFAFF, ALONE},
    {0xFE10, 0xFE1F, SEPARATOR}, {0xFE30, 0xFE6F, SEPARATOR}, {0xFEFF, 0xFEFF, SEPARATOR},
    {0xFF00, 0xFF0F, SEPARATOR}, {0xFF1A, 0xFF20, SEPARATOR}, {0xFF3B, 0xFF40, SEPARATOR},
    {0xFF5B, 0xFF65, SEPARATOR}, {0xFF66, 0xFFDC, ALONE},     {0xFFE0, 0xFFFF, SEPARATOR},
    {0x1F000, 0x1FAFF, ALONE},   {0x20000, 0x3FFFF, ALONE},
};

/* Upper case `from`..`to`, every `step`-th, becomes itself plus `delta`. */
static const struct {
    uint32_t from, to;
    uint32_t step;
    int32_t delta;
} fold_ranges[] = {
    {0xC0, 0xD6, 1, 32},       {0xD8, 0xDE, 1, 32},    {0x100, 0x12E, 2, 1},
    {0x132, 0x136, 2, 1},      {0x139, 0x147, 2, 1},   {0x14A, 0x176, 2, 1},
    {0x178, 0x178, 1, -121},   {0x179, 0x17D, 2, 1},   {0x1CD, 0x1DB, 2, 1},
    {0x1DE, 0x1EE, 2, 1},      {0x1F8, 0x21E, 2, 1},   {0x222, 0x232, 2, 1},
    {0x246, 0x24E, 2, 1},      {0x386, 0x386, 1, 38},  {0x388, 0x38A, 1, 37},
    {0x38C, 0x38C, 1, 64},     {0x38E, 0x38F, 1, 63},  {0x391, 0x3A1, 1, 32},
    {0x3A3, 0x3AB, 1, 32},     {0x3C2, 0x3C2, 1, 1},   {0x400, 0x40F, 1, 80},
    {0x410, 0x42F, 1, 32},     {0x460, 0x480, 2, 1},   {0x48A, 0x4BE, 2, 1},
    {0x4C1, 0x4CD, 2, 1},      {0x4D0, 0x52E, 2, 1},   {0x531, 0x556, 1, 48},
    {0x1E00, 0x1E94, 2, 1},    {0x1EA0, 0x1EFE, 2, 1}, {0xFF21, 0xFF3A, 1, 32},
    {0x10400, 0x10427, 1, 40},
};

/* The ASCII letters and digits. */
static const bool ascii_word[256] = {
    ['0'] = true, ['1'] = true, ['2'] = true, ['3'] = true, ['4'] = true, ['5'] = true,
    ['6'] = true, ['7'] = true, ['8'] = true, ['9'] = true, ['A'] = true, ['B'] = true,
    ['C'] = true, ['D'] = true, ['E'] = true, ['F'] = true, ['G'] = true, ['H'] = true,
    ['I'] = true, ['J'] = true, ['K'] = true, ['L'] = true, ['M'] = true, ['N'] = true,
    ['O'] = true, ['P'] = true, ['Q'] = true, ['R'] = true, ['S'] = true, ['T'] = true,
    ['U'] = true, ['V'] = true, ['W'] = true, ['X'] = true, ['Y'] = true, ['Z'] = true,
    ['a'] = true, ['b'] = true, ['c'] = true, ['d'] = true, ['e'] = true, ['f'] = true,
    ['g'] = true, ['h'] = true, ['i'] = true, ['j'] = true, ['k'] = true, ['l'] = true,
    ['m'] = true, ['n'] = true, ['o'] = true, ['p'] = true, ['q'] = true, ['r'] = true,
    ['s'] = true, ['t'] = true, ['u'] = true, ['v'] = true, ['w'] = true, ['x'] = true,
    ['y'] = true, ['z'] = true,
};

static enum char_class class_of(uint32_t cp)
{
    size_t low = 0, high = ARRAY_LEN(char_ranges);
    while (low < high) {
        size_t mid = (low + high) / 2;
        if (cp > char_ranges[mid].to)
            low = mid + 1;
        else
            high = mid;
    }
    if (low < ARRAY_LEN(char_ranges) && cp >= char_ranges[low].from)
        return char_ranges[low].class;
    return LETTER;
}

static uint32_t fold(uint32_t cp)
{
    size_t low = 0, high = ARRAY_LEN(fold_ranges);
    while (low < high) {
        size_t mid = (low + high) / 2;
        if (cp > fold_ranges[mid].to)
            low = mid + 1;
        else
            high = mid;
    }
    if (low < ARRAY_LEN(fold_ranges) && cp >= fold_ranges[low].from &&
        (cp - fold_ranges[low].from) % fold_ranges[low].step == 0)
        return (uint32_t)((int32_t)cp + fold_ranges[low].delta);
    return cp;
}

/* The class of the character at p, and its length in bytes (1 for a bad byte). */
static enum char_class class_at(const char *p, const char *end, size_t *len)
{
    uint32_t cp;
    unsigned char c = (unsigned char)*p;
    *len = 1;
    if (c < 0x80)
        return ascii_word[c] ? LETTER : SEPARATOR;
    size_t n = utf8_decode(p, end, &cp);
    if (n == 0)
        return SEPARATOR;
    *len = n;
    return class_of(cp);
}

bool words_next(struct str text, size_t *pos, struct str *word)
{
    const char *p = text.ptr + *pos, *end = text.ptr + text.len, *start = NULL;
    while (p < end) {
        size_t len;
        if (ascii_word[(unsigned char)*p]) {
            start = start ? start : p;
            p++;
            continue;
        }
        enum char_class class = class_at(p, end, &len);
        if (start && class != LETTER)
            break;
        if (class == ALONE) {
            start = p;
            p += len;
            break;
        }
        if (class == LETTER && !start)
            start = p;
        p += len;
    }
    *pos = (size_t)(p - text.ptr);
    *word = (struct str){start, start ? (size_t)(p - start) : 0};
    return start != NULL;
}

/* The folded character at p as UTF-8; returns the bytes taken from p. */
static size_t fold_at(const char *p, const char *end, char dst[4], size_t *dst_len)
{
    unsigned char c = (unsigned char)*p;
    uint32_t cp;
    if (c < 0x80) {
        dst[0] = (char)(c >= 'A' && c <= 'Z' ? c | 0x20 : c);
        *dst_len = 1;
        return 1;
    }
    size_t n = utf8_decode(p, end, &cp);
    *dst_len = utf8_encode(fold(n ? cp : 0xFFFD), dst);
    return n ? n : 1;
}

static bool add_word(struct words_query *q, size_t *used, struct str word)
{
    struct query_word *w = &q->word[q->count];
    const char *p = word.ptr, *end = p + word.len;
    size_t begin = *used;
    while (p < end) {
        char folded[4];
        size_t n;
        p += fold_at(p, end, folded, &n);
        if (*used + n > sizeof q->text)
            return false;
        memcpy(q->text + *used, folded, n);
        *used += n;
    }
    w->folded = (struct str){q->text + begin, *used - begin};
    q->count++;
    return true;
}

bool words_query_init(struct words_query *q, struct str text)
{
    size_t pos = 0, used = 0;
    struct str word;
    const char *end = text.ptr + text.len;
    q->count = 0;
    while (words_next(text, &pos, &word)) {
        if (q->count == WORDS_MAX || !add_word(q, &used, word))
            return false;
        struct query_word *w = &q->word[q->count - 1];
        w->open_start = word.ptr > text.ptr && word.ptr[-1] == '*';
        w->open_end = word.ptr + word.len < end && word.ptr[word.len] == '*';
    }
    return true;
}

/* Where `folded` ends when the text at p begins with it, else NULL. */
static const char *match_at(struct str folded, const char *p, const char *end)
{
    size_t matched = 0;
    while (matched < folded.len) {
        char c[4];
        size_t n;
        if (p == end)
            return NULL;
        p += fold_at(p, end, c, &n);
        if (n > folded.len - matched || memcmp(c, folded.ptr + matched, n) != 0)
            return NULL;
        matched += n;
    }
    return p;
}

/* Quickly no, for most words: the first letters differ. */
static bool cannot_match(const struct query_word *w, struct str word)
{
    unsigned char first = (unsigned char)word.ptr[0], wanted = (unsigned char)w->folded.ptr[0];
    return !w->open_start && first < 0x80 && wanted < 0x80 &&
           (first | (first >= 'A' ? 0x20 : 0)) != wanted;
}

static bool word_matches(const struct query_word *w, struct str word)
{
    const char *p = word.ptr, *end = p + word.len;
    if (cannot_match(w, word))
        return false;
    do {
        const char *stop = match_at(w->folded, p, end);
        if (stop && (stop == end || w->open_end))
            return true;
        size_t len;
        class_at(p, end, &len);
        p += len;
    } while (w->open_start && p < end);
    return false;
}

bool words_match(const struct words_query *q, struct str text)
{
    uint64_t missing = q->count == 64 ? UINT64_MAX : (UINT64_C(1) << q->count) - 1;
    size_t pos = 0;
    struct str word;
    while (missing != 0 && words_next(text, &pos, &word))
        for (uint64_t left = missing; left != 0; left &= left - 1) {
            int i = __builtin_ctzll(left);
            if (word_matches(&q->word[i], word))
                missing &= ~(UINT64_C(1) << i);
        }
    return missing == 0;
}

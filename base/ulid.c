/* base/ulid.c - ULIDs, monotonic within a process.
 *
 * The first id of a millisecond draws fresh randomness; the next ones count it up by one.  When it
 * is all ones, the id moves to the next millisecond.  A forked child must not count on from its
 * parent's number, so it starts over one millisecond later.
 */
#include "base/ulid.h"

#include <assert.h>
#include <pthread.h>
#include <stdlib.h>
#include <sys/random.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/clock.h"

enum { TIME_BYTES = 6, RANDOM_BYTES = 10, TIME_BITS = 48 };

static const char ALPHABET[] = "0123456789ABCDEFGHJKMNPQRSTVWXYZ";

static pthread_mutex_t last_lock = PTHREAD_MUTEX_INITIALIZER;
static struct ulid last; /* guarded by last_lock, as is last_pid */
static pid_t last_pid;

static uint64_t ulid_ms(const struct ulid *u)
{
    return get_be64(u->b) >> (64 - TIME_BITS);
}

static void set_ms(struct ulid *u, uint64_t ms)
{
    for (int i = 0; i < TIME_BYTES; i++)
        u->b[i] = (uint8_t)(ms >> (8 * (TIME_BYTES - 1 - i)));
}

/* Without randomness ids could repeat, which nothing downstream survives. */
static void set_random(struct ulid *u)
{
    if (getentropy(u->b + TIME_BYTES, RANDOM_BYTES) != 0)
        abort();
}

/* Count the random part up; false when it was all ones. */
static bool count_up(struct ulid *u)
{
    for (int i = TIME_BYTES + RANDOM_BYTES - 1; i >= TIME_BYTES; i--) {
        if (++u->b[i] != 0)
            return true;
    }
    return false;
}

static void start_ms(struct ulid *u, uint64_t ms)
{
    set_ms(u, ms);
    set_random(u);
}

struct ulid ulid_new(void)
{
    LOCK_SCOPE(&last_lock);
    uint64_t now_ms = (uint64_t)(clock_wall_us() / 1000);
    uint64_t last_ms = ulid_ms(&last);
    pid_t pid = getpid();
    if (now_ms > last_ms)
        start_ms(&last, now_ms);
    else if (pid != last_pid || !count_up(&last))
        start_ms(&last, last_ms + 1);
    last_pid = pid;
    return last;
}

void ulid_seed_after(const struct ulid *seed)
{
    LOCK_SCOPE(&last_lock);
    if (ulid_cmp(seed, &last) > 0) {
        last = *seed;
        last_pid = getpid();
    }
}

/* 26 characters hold 130 bits: the first has the top three of the 128. */
void ulid_format(const struct ulid *u, char dst[ULID_TEXT_LEN + 1])
{
    uint64_t high = get_be64(u->b), low = get_be64(u->b + 8);
    for (int i = ULID_TEXT_LEN - 1; i >= 0; i--) {
        dst[i] = ALPHABET[low & 31];
        low = low >> 5 | high << 59;
        high >>= 5;
    }
    dst[ULID_TEXT_LEN] = '\0';
}

static int digit_of(char c)
{
    if (c >= 'a' && c <= 'z')
        c = (char)(c - ('a' - 'A'));
    const char *at = c ? strchr(ALPHABET, c) : NULL;
    return at ? (int)(at - ALPHABET) : -1;
}

bool ulid_parse(struct str s, struct ulid *out)
{
    if (s.len != ULID_TEXT_LEN || s.ptr[0] > '7')
        return false;
    uint64_t high = 0, low = 0;
    for (size_t i = 0; i < s.len; i++) {
        int digit = digit_of(s.ptr[i]);
        if (digit < 0)
            return false;
        high = high << 5 | low >> 59;
        low = low << 5 | (uint64_t)digit;
    }
    put_be64(out->b, high);
    put_be64(out->b + 8, low);
    return true;
}

int ulid_cmp(const struct ulid *a, const struct ulid *b)
{
    return memcmp(a->b, b->b, sizeof a->b);
}

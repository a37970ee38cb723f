/* fs/journal/requests.c - a ring of requests, found by their number through chains. */
#include "fs/journal/requests.h"

#include <stdlib.h>

#include "fs/journal/frame.h"

enum { HEADS = JOURNAL_REQUESTS_MAX };

struct known_request {
    uint64_t number;   /* 0: void */
    uint64_t position; /* durable up to here: the lines are */
    enum err_code answer;
    uint16_t after; /* in its chain: 1 + index, 0 = the last */
};

/* Numbers of requests are even and count up. */
static size_t head_of(uint64_t number)
{
    return (size_t)(number >> 1) % HEADS;
}

void requests_done(struct requests *r)
{
    free(r->ring);
    free(r->heads);
    *r = (struct requests){.mount = r->mount};
}

static bool make_room(struct requests *r)
{
    if (r->ring && r->heads)
        return true;
    free(r->ring);
    free(r->heads);
    r->ring = calloc(JOURNAL_REQUESTS_MAX, sizeof *r->ring);
    r->heads = calloc(HEADS, sizeof *r->heads);
    return r->ring && r->heads;
}

static struct known_request *find(const struct requests *r, uint64_t number)
{
    if (r->count == 0)
        return NULL;
    for (uint16_t at = r->heads[head_of(number)]; at; at = r->ring[at - 1].after)
        if (r->ring[at - 1].number == number)
            return &r->ring[at - 1];
    return NULL;
}

static void unchain(struct requests *r, uint32_t index)
{
    uint16_t *link = &r->heads[head_of(r->ring[index].number)];
    while (*link && *link != index + 1)
        link = &r->ring[*link - 1].after;
    if (*link)
        *link = r->ring[index].after;
}

static void forget(struct requests *r, uint32_t index)
{
    if (r->ring[index].number == 0)
        return;
    unchain(r, index);
    r->ring[index].number = 0;
}

bool requests_add(struct requests *r, const struct batch_request *request, uint64_t position)
{
    if (request->number == 0 || request->mount != r->mount)
        return true;
    struct known_request *known = find(r, request->number);
    if (known) {
        known->position = position;
        known->answer = request->answer;
        return true;
    }
    if (!make_room(r))
        return false;
    uint32_t index = r->next;
    r->next = (r->next + 1) % JOURNAL_REQUESTS_MAX;
    if (r->count < JOURNAL_REQUESTS_MAX)
        r->count++;
    else
        forget(r, index);
    uint16_t *head = &r->heads[head_of(request->number)];
    r->ring[index] = (struct known_request){request->number, position, request->answer, *head};
    *head = (uint16_t)(index + 1);
    return true;
}

bool requests_find(const struct requests *r, uint64_t mount, uint64_t number, enum err_code *answer,
                   uint64_t *position)
{
    const struct known_request *known =
        number && mount && mount == r->mount ? find(r, number) : NULL;
    if (!known)
        return false;
    *answer = known->answer;
    *position = known->position;
    return true;
}

void requests_fail_after(struct requests *r, uint64_t synced)
{
    for (uint32_t i = 0; i < r->count; i++) {
        if (r->ring[i].position > synced)
            forget(r, i);
    }
}

void requests_encode(const struct requests *r, uint64_t synced, uint32_t max, struct buf *out)
{
    char record[FRAME_REQUEST_LEN];
    uint32_t first = r->count < JOURNAL_REQUESTS_MAX ? 0 : r->next;
    for (uint32_t i = r->count > max ? r->count - max : 0; i < r->count; i++) {
        const struct known_request *k = &r->ring[(first + i) % JOURNAL_REQUESTS_MAX];
        if (k->number == 0 || k->position > synced)
            continue;
        request_encode(record, &(struct batch_request){r->mount, k->number, k->answer});
        buf_add(out, record, sizeof record);
    }
}

bool requests_decode(struct requests *r, struct str records)
{
    struct batch_request request;
    for (size_t at = 0; at + FRAME_REQUEST_LEN <= records.len; at += FRAME_REQUEST_LEN) {
        if (request_decode(records.ptr + at, &request) && !requests_add(r, &request, 0))
            return false;
    }
    return true;
}

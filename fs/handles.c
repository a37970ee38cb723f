/* fs/handles.c - open handles by number. */
#include "fs/handles.h"

#include <pthread.h>
#include <stdlib.h>

#include "base/cleanup.h"
#include "base/clock.h"
#include "base/hash.h"

struct slot {
    struct handle content; /* first: a handle's address is its slot's */
    pthread_mutex_t lock;
    struct handles *owner;
    unsigned users; /* (owner's lock) open counts as one */
};

struct handles {
    struct status *status; /* immutable */
    pthread_mutex_t lock;
    struct map open;      /* (lock) number -> slot */
    uint64_t last_number; /* (lock) */
};

static struct str key_of(const uint64_t *number)
{
    return (struct str){(const char *)number, sizeof *number};
}

enum err_code handles_new(struct status *status, struct handles **out, struct err *e)
{
    struct handles *h = calloc(1, sizeof *h);

    if (!h)
        return err_set(e, ERR_NOMEM, "no memory for handles");
    h->status = status;
    pthread_mutex_init(&h->lock, NULL);
    map_init(&h->open, HANDLES_MAX);
    h->last_number = clock_mono_ns(); /* an earlier process opened fewer than one a nanosecond */
    *out = h;
    return ERR_OK;
}

static void free_slot(struct slot *s)
{
    listing_done(&s->content.listing);
    buf_done(&s->content.text);
    pthread_mutex_destroy(&s->lock);
    free(s);
}

void handles_free(struct handles *h)
{
    size_t pos = 0;
    struct str key;
    void *value;

    if (!h)
        return;
    while (map_next(&h->open, &pos, &key, &value))
        free_slot(value);
    map_done(&h->open);
    pthread_mutex_destroy(&h->lock);
    free(h);
}

static struct slot *new_slot(struct handles *h)
{
    struct slot *s = calloc(1, sizeof *s);

    if (!s)
        return NULL;
    s->owner = h;
    s->users = 2; /* the open handle, and our caller */
    pthread_mutex_init(&s->lock, NULL);
    listing_init(&s->content.listing);
    return s;
}

enum err_code handles_open(struct handles *h, uint64_t *number, struct handle **out, struct err *e)
{
    struct slot *s = new_slot(h);
    bool is_in;

    if (!s)
        return err_set(e, ERR_NOMEM, "no memory for a handle");
    pthread_mutex_lock(&s->lock);
    pthread_mutex_lock(&h->lock);
    *number = ++h->last_number;
    is_in = map_put(&h->open, key_of(number), s);
    pthread_mutex_unlock(&h->lock);
    if (!is_in) {
        pthread_mutex_unlock(&s->lock);
        free_slot(s);
        return err_set(e, ERR_AGAIN, "%d handles are open already", HANDLES_MAX);
    }
    status_count(h->status, GAUGE_HANDLES, 1);
    *out = &s->content;
    return ERR_OK;
}

struct handle *handles_get(struct handles *h, uint64_t number)
{
    struct slot *s;

    pthread_mutex_lock(&h->lock);
    s = map_find(&h->open, key_of(&number));
    if (s)
        s->users++;
    pthread_mutex_unlock(&h->lock);
    if (!s)
        return NULL;
    pthread_mutex_lock(&s->lock);
    return &s->content;
}

static void drop_user(struct slot *s)
{
    unsigned left;

    pthread_mutex_lock(&s->owner->lock);
    left = --s->users;
    pthread_mutex_unlock(&s->owner->lock);
    if (left == 0)
        free_slot(s);
}

void handles_put(struct handle *handle)
{
    struct slot *s = (struct slot *)handle;

    if (!handle)
        return;
    pthread_mutex_unlock(&s->lock);
    drop_user(s);
}

void handles_close(struct handles *h, uint64_t number)
{
    struct slot *s;

    pthread_mutex_lock(&h->lock);
    s = map_remove(&h->open, key_of(&number));
    pthread_mutex_unlock(&h->lock);
    if (!s)
        return;
    status_count(h->status, GAUGE_HANDLES, -1);
    drop_user(s);
}

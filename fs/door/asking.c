/* fs/door/asking.c - holds a reply back until nobody looks at its request any more. */
#include "fs/door/asking.h"

/* The library holds the request's lock, not one that a reply takes.  By number: when this runs from
 * another thread, what is asked may have been answered. */
static void cancel(fuse_req_t req, void *number)
{
    inlet_cancel(session_of(req)->inlet, (uint64_t)(uintptr_t)number);
}

/* An interrupt of before calls `cancel` here, which finds nothing. */
void asking_begin(struct asking *a, fuse_req_t req, uint64_t number,
                  void (*reply)(struct asking *a))
{
    a->req = req;
    a->number = number;
    a->reply = reply;
    atomic_init(&a->left, 2);
    fuse_req_interrupt_func(req, cancel, (void *)(uintptr_t)number);
}

static void leave(struct asking *a)
{
    if (atomic_fetch_sub(&a->left, 1) == 1)
        a->reply(a);
}

void asking_asked(struct asking *a)
{
    if (fuse_req_interrupted(a->req))
        inlet_cancel(session_of(a->req)->inlet, a->number);
    leave(a);
}

void asking_answered(struct asking *a)
{
    leave(a);
}

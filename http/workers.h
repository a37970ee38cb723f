/* http/workers.h - the threads that run requests while their connections are suspended.
 *
 * Work comes in lanes (routes.h); a lane may use at most its share of the threads, so that slow
 * queries leave room for ingest, large bodies for small ones, all of them together for what an
 * operator asks and for bodies that come, and what anybody may ask (health, metrics) never takes all
 * the room.  A free thread takes
 * from the first lane, in order, that has work and a place.  At most WORKERS_QUEUE_MAX jobs wait.
 * The jobs of one lane are submitted in the order of their wait_until_ms.
 * Thread safety: workers_submit from any thread.
 */
#ifndef WEIR_HTTP_WORKERS_H
#define WEIR_HTTP_WORKERS_H

#include "base/arena.h"
#include "http/decode.h"
#include "http/routes.h"

#define WORKERS_QUEUE_MAX 8192
#define WORKERS_AUTH_MAX 1024
#define WORKER_ARENA_MAX ((size_t)64 << 20) /* memory of one request besides its body */

/* What a thread keeps between jobs, so that a request allocates little. */
struct worker_tools {
    struct arena arena; /* empty at the start of each job */
    struct decoder *decoder;
};
struct job { /* embedded in the caller's object, which may be gone once run was called */
    struct job *next;
    uint64_t wait_until_ms; /* monotonic, 0 = never: it runs then, marked late, place or no place */
    bool is_late;
    void (*run)(struct job *j, struct worker_tools *tools);
};

struct workers;
/* `threads` for ingest and queries, and a few for the rest. */
enum err_code workers_start(unsigned threads, struct workers **out, struct err *e);
/* False: the queue is full (counted), or the workers have been stopped. */
bool workers_submit(struct workers *w, enum route_lane lane, struct job *j);
/* Do jobs of the lane wait for a place here, or for one of `places` elsewhere, by their number? */
bool workers_wait(struct workers *w, enum route_lane lane, unsigned places);
void workers_stop(struct workers *w); /* runs what is queued, then ends the threads */
void workers_free(struct workers *w); /* after workers_stop and the last submit; NULL is fine */

#endif

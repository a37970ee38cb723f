/* gateway/engine/watch.h - stops queries that nobody waits for any more.
 *
 * One thread looks at the socket and the deadline of every running query.  When the client closes
 * or the deadline passes it says so in the entry and interrupts the query, again and again until
 * the entry is removed (DuckDB forgets an interrupt when the next statement of a run begins).  A
 * client that does not take its answer for WATCH_GRACE_MS past the deadline loses its connection.
 * The entry is the caller's memory; `con` and `fd` must stay open until watch_remove.
 * Lock order: watch.lock is a leaf (duckdb_interrupt is called under it).
 */
#ifndef WEIR_GATEWAY_ENGINE_WATCH_H
#define WEIR_GATEWAY_ENGINE_WATCH_H

#include <duckdb.h>
#include <pthread.h>
#include <stdatomic.h>

#include "base/err.h"

#define WATCH_ENTRIES_MAX 1024
#define WATCH_GRACE_MS 5000

enum watch_reason { WATCH_NONE, WATCH_CLIENT_GONE, WATCH_DEADLINE };

struct watch_entry {
    duckdb_connection con;
    int fd;
    uint64_t deadline_ms;  /* monotonic, 0 = none */
    atomic_bool cancelled; /* set with the reason */
    _Atomic enum watch_reason reason;
    uint64_t number;          /* guarded by watch.lock: never the same twice */
    struct watch_entry *next; /* guarded by watch.lock */
};

struct watch {
    pthread_mutex_t lock;
    struct watch_entry *first; /* guarded by lock */
    size_t count;              /* guarded by lock */
    uint64_t next_number;      /* guarded by lock */
    int wake_fd;               /* eventfd: the list has changed */
    bool stopping;             /* guarded by lock */
    pthread_t thread;
};

enum err_code watch_start(struct watch *w, struct err *e);
void watch_stop(struct watch *w); /* the list is empty by then */
/* AGAIN past WATCH_ENTRIES_MAX. */
enum err_code watch_add(struct watch *w, struct watch_entry *entry, struct err *e);
void watch_remove(struct watch *w, struct watch_entry *entry); /* not added: nothing happens */
/* CANCELLED 20009 or TIMEOUT 20010 when the entry has been stopped, else OK. */
enum err_code watch_verdict(struct watch_entry *entry, struct err *e);

#endif

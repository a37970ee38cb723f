/* gateway/engine/watch.h - stops queries that nobody waits for any more.
 *
 * One thread looks at the socket and the deadline of every running query.  When the client closes
 * or the deadline passes it says so in the entry and interrupts the query, again and again until
 * the entry is removed (DuckDB forgets an interrupt when the next statement of a run begins).  A
 * client that does not take its answer for WATCH_GRACE_MS past the deadline loses its connection.
 * DuckDB looks at no interrupt while it binds and plans, which takes minutes over tens of thousands
 * of columns: who does not end for stuck_ms after he was stopped is told to `stuck`, whose answer
 * is to end the process, for it holds a slot and a core that others wait for. The entry is the
 * caller's memory; `con` and `fd` must stay open until watch_remove. Lock order: watch.lock is a
 * leaf (duckdb_interrupt is called under it).
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
    uint64_t stopped_ms;      /* guarded by watch.lock: when `cancelled` was set; 0: it is not */
    uint64_t number;          /* guarded by watch.lock: never the same twice */
    struct watch_entry *next; /* guarded by watch.lock */
};

struct watch {
    pthread_mutex_t lock;
    struct watch_entry *first; /* guarded by lock */
    size_t count;              /* guarded by lock */
    uint64_t next_number;      /* guarded by lock */
    uint64_t stuck_ms;         /* immutable */
    void (*stuck)(void);       /* immutable */
    int wake_fd;               /* eventfd: the list has changed */
    bool stopping;             /* guarded by lock */
    pthread_t thread;
};

/* `stuck` is called from the thread, once for each such query; NULL: nothing is. */
#define WATCH_STUCK_MS 20000
enum err_code watch_start(struct watch *w, uint64_t stuck_ms, void (*stuck)(void), struct err *e);
void watch_stop(struct watch *w); /* the list is empty by then */
/* AGAIN past WATCH_ENTRIES_MAX. */
enum err_code watch_add(struct watch *w, struct watch_entry *entry, struct err *e);
void watch_remove(struct watch *w, struct watch_entry *entry); /* not added: nothing happens */
/* CANCELLED 20009 or TIMEOUT 20010 when the entry has been stopped, else OK. */
enum err_code watch_verdict(struct watch_entry *entry, struct err *e);

#endif

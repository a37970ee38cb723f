/* gateway/door_keeper.h - answers what the fs process asks: writes to `ingest` files, and mkdir.
 *
 * Holds KEEPER_DOORS connections to fs.sock open (fs/door/wire.h), each with a thread that answers
 * one question at a time.  A connection that ends is opened again; while none can be, it is tried
 * every second and the reason is logged once.
 * Owner: the gateway process.  Errors of single questions go back to who asked.
 */
#ifndef WEIR_GATEWAY_DOOR_KEEPER_H
#define WEIR_GATEWAY_DOOR_KEEPER_H

#include "gateway/catalog.h"
#include "gateway/ingest.h"

#define KEEPER_DOORS 4

struct control_client;
struct keeper_config {
    const char *socket_path;        /* fs.sock; must outlive the keeper */
    struct control_client *control; /* gives the epoch */
    struct ingest *ingest;
    struct catalog *catalog;
};
struct keeper;
enum err_code keeper_start(const struct keeper_config *cfg, struct keeper **out, struct err *e);
void keeper_stop(struct keeper *k); /* NULL is fine; what is being answered is answered first */

#endif

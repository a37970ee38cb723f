/* tools/gateway_process.h - the gateway process: catalog, ingest, query and HTTP put together. */
#ifndef WEIR_TOOLS_GATEWAY_PROCESS_H
#define WEIR_TOOLS_GATEWAY_PROCESS_H

#include "tools/node.h"

/* Runs until SIGTERM; one byte is written to ready_fd once HTTP listens.  Returns the exit code. */
int gateway_run(const struct node *n, int ready_fd);

#endif

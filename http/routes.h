/* http/routes.h - which path and method goes to which handler.
 *
 * Adding a route is adding a row to the table in routes.c.  A pattern is literal segments, {org}
 * and {stream}.  Of several patterns that fit a path and have the method, the one whose first
 * difference is a literal wins, so `/api/{org}/streams/…` stands before `/api/{org}/{stream}/…`.
 * Thread safety: the table is constant; a match writes only into the caller's memory.
 */
#ifndef WEIR_HTTP_ROUTES_H
#define WEIR_HTTP_ROUTES_H

#include "http/call.h"

enum route_auth {
    AUTH_NONE,
    AUTH_USER,   /* any known user */
    AUTH_INGEST, /* the same, and an ingestion token once there are such */
    AUTH_ROOT
};
enum route_body {
    BODY_NONE,       /* a body is read and ignored, up to BODY_IGNORED_MAX */
    BODY_JSON,       /* up to BODY_JSON_MAX; Content-Type has to be application/json */
    BODY_JSON_SMALL, /* the same up to BODY_IGNORED_MAX: for whom we do not know yet */
    BODY_INGEST      /* up to http_config.body_max_bytes; Content-Type is ignored */
};
#define BODY_IGNORED_MAX (64u << 10)
#define BODY_JSON_MAX (16u << 20)
/* In the order in which a free thread looks at them (workers.h). */
enum route_lane {
    LANE_SYSTEM,
    LANE_AUTH,
    LANE_SPOOL, /* pieces of large bodies on their way to the disk */
    LANE_INGEST,
    LANE_LARGE, /* ingest of bodies that were spooled */
    LANE_QUERY,
    LANE_COUNT
};

typedef enum err_code (*route_handler)(struct http_call *c, struct err *e);

struct route {
    const char *method;
    const char *path; /* the pattern, also the `endpoint` label of metrics */
    enum route_auth auth;
    enum route_body body;
    enum route_lane lane;
    bool makes_org;        /* false: an unknown {org} is 404 */
    bool this_method_only; /* another method is 404 here, not 405: the path fits anything */
    route_handler run;
};

enum route_outcome {
    ROUTE_FOUND,
    ROUTE_UNKNOWN,      /* no pattern fits the path */
    ROUTE_WRONG_METHOD, /* a pattern fits, but not with this method; `allow` is filled */
    ROUTE_OPTIONS,      /* OPTIONS on a path that a pattern fits, or *; `allow` is filled */
    ROUTE_BAD_PATH      /* bad percent-encoding, NUL or invalid UTF-8 */
};
#define ROUTE_SEGMENTS_MAX 16
struct route_match {
    const struct route *route; /* ROUTE_FOUND only */
    struct str org, stream;    /* decoded; of a path that no pattern fits: what follows /api/ */
    char allow[96];
    bool below_api; /* the path is /api/… */
};
/* `path` is decoded in place (the results point into it); it begins after `base_uri` was checked.
 */
enum route_outcome route_match(char *path, size_t len, struct str method, struct str base_uri,
                               struct route_match *out);
/* Decode %XX in place; false on a bad escape or NUL.  *len becomes the decoded length. */
bool percent_decode(char *s, size_t *len);
/* The number of routes and each of them, for checks of the whole table. */
const struct route *route_at(size_t i);

#endif

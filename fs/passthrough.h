/* fs/passthrough.h - reads that the kernel answers from a local file, without asking us.
 *
 * libfuse before 3.17 does not know passthrough: it is negotiated by looking at INIT on its way in
 * and changing the answer on its way out, and an OPEN that uses it is answered in raw bytes.
 * Needs Linux 6.9, root, and a kernel that agreed.  Where it is not in use files are read through
 * the page cache.
 * Owner: the session.  Any thread may call.
 */
#ifndef WEIR_FS_PASSTHROUGH_H
#define WEIR_FS_PASSTHROUGH_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/uio.h>

#include "base/err.h"

/* What WEIR_FUSE_FEATURES allows: "all", "none", or a comma list of names.  NULL is all.
 * INVALID: an unknown name. */
enum fuse_feature { FEATURE_PASSTHROUGH = 1, FEATURE_RESEND = 2 };
enum err_code fuse_features_parse(const char *text, unsigned *features, struct err *e);

struct passthrough {
    unsigned features;           /* immutable */
    int dev_fd;                  /* immutable: /dev/fuse */
    _Atomic uint64_t init_reply; /* unique of the INIT to be answered; 0: none */
    atomic_bool is_offered;      /* by the kernel */
    atomic_bool is_agreed;       /* in the answer to INIT */
    atomic_bool is_refused;      /* the kernel would not take a file: never asked again */
};
void passthrough_init(struct passthrough *p, unsigned features, int dev_fd);

/* Every message in each direction is shown, before libfuse sees it or the kernel does. */
void passthrough_see_request(struct passthrough *p, const void *bytes, size_t len);
void passthrough_see_reply(struct passthrough *p, const struct iovec *iov, int count);

/* NULL: in use; else why it is not. */
const char *passthrough_why_not(const struct passthrough *p);

/* Hand the file to the kernel under a number, which lives until it is taken back; fd may be closed.
 * UNSUPPORTED: not in use. */
enum err_code passthrough_give(struct passthrough *p, int fd, uint32_t *backing_id, struct err *e);
void passthrough_take_back(struct passthrough *p, uint32_t backing_id);
/* After INIT: does the kernel take files of this directory?  passthrough_why_not knows afterwards.
 */
void passthrough_probe(struct passthrough *p, const char *dir);

/* The bytes of an answer to OPEN. */
#define PASSTHROUGH_OPEN_LEN 16
void passthrough_format_open(uint64_t fh, uint32_t backing_id, char dst[PASSTHROUGH_OPEN_LEN]);

#endif

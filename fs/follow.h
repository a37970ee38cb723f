/* fs/follow.h - how a new fs process goes on with the mount of one that died.
 *
 * The kernel sends INIT once a mount.  The first process keeps it in the anchor; one that follows
 * answers it again, for libfuse's sake, and that answer does not go out.  Then it asks the kernel
 * to send again what the dead one had taken and not answered: such requests carry a bit in their
 * number (FOLLOW_RESENT).  Needs Linux 6.9 and the feature `resend`; elsewhere nothing is kept, and
 * the supervisor mounts anew.
 * Owner: the session.  Any thread may call the two that look at messages.
 */
#ifndef WEIR_FS_FOLLOW_H
#define WEIR_FS_FOLLOW_H

#include <stdatomic.h>
#include <sys/uio.h>

#include "fs/anchor.h"

#define FOLLOW_RESENT (UINT64_C(1) << 63)

struct follow {
    struct anchor *anchor;          /* immutable */
    bool is_allowed;                /* immutable: by WEIR_FUSE_FEATURES */
    atomic_bool is_offered;         /* by the kernel */
    _Atomic uint64_t init;          /* number of the INIT to be answered; 0: none */
    _Atomic uint64_t init_replayed; /* the same, answered by an earlier process */
};
void follow_init(struct follow *f, struct anchor *anchor, bool is_allowed);
bool follow_is_first(const struct follow *f);       /* nobody served this mount before */
const char *follow_why_not(const struct follow *f); /* NULL: a next process can follow this one */

/* Every message in each direction is shown; a reply before it goes out.  False: it must not. */
void follow_see_request(struct follow *f, const void *bytes, size_t len);
bool follow_see_reply(struct follow *f, const struct iovec *iov);
/* That reply went out. */
void follow_replied(struct follow *f, const struct iovec *iov);

/* The kept INIT is about to be given to libfuse. */
struct str follow_replay(struct follow *f);
/* Ask for what was not answered, once requests can be.  UNSUPPORTED, IO. */
enum err_code follow_resend(int dev_fd, struct err *e);

#endif

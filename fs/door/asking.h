/* fs/door/asking.h - requests of the kernel that wait for somebody's answer, until their caller is
 * interrupted.
 *
 *   asking_begin ──► the handler asks the inlet or the door ──► asking_asked ──┐
 *                                  │                                           ├─► reply
 *                                  └── answered, at once or later ─► asking_answered ──┘
 *
 * A reply frees the request, and an interrupt may come before there is a question that it could
 * end. So the handler looks for one again after it has asked, and the reply goes out when both are
 * through.
 * Owner: who asks; `reply` gives the memory back.  asking_answered: any thread.
 */
#ifndef WEIR_FS_DOOR_ASKING_H
#define WEIR_FS_DOOR_ASKING_H

#include "fs/session.h"

struct asking {
    fuse_req_t req;
    uint64_t number; /* session_request of it */
    atomic_int left; /* of the two */
    void (*reply)(struct asking *a);
};
void asking_begin(struct asking *a, fuse_req_t req, uint64_t number,
                  void (*reply)(struct asking *a));
void asking_asked(struct asking *a);
void asking_answered(struct asking *a);

#endif

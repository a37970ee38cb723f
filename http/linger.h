/* http/linger.h - letting a client that still sends its body read the refusal that it already got.
 *
 * A socket closed with unread bytes in it is reset, and the reset destroys a reply that is still on
 * its way.  So the last descriptor of a refused connection stays here: what comes is thrown away
 * until the client closes, LINGER_MS have passed, or more than LINGER_SOCKETS_MAX others wait (then
 * it is closed at once, which costs the client only the text of the refusal).
 * Thread safety: linger_add from any thread.
 */
#ifndef WEIR_HTTP_LINGER_H
#define WEIR_HTTP_LINGER_H

#include "base/err.h"

#define LINGER_SOCKETS_MAX 128
#define LINGER_MS 10000

struct linger_set;
enum err_code linger_start(struct linger_set **out, struct err *e);
void linger_add(struct linger_set *l, int fd); /* takes the descriptor */
void linger_stop(struct linger_set *l);        /* closes what is left; NULL is fine */

#endif

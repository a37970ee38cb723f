/* gateway/auth.h - who is asking.
 *
 * Users stand in meta as JSON with an Argon2id hash (encoded form).  The root user is made from
 * ZO_ROOT_USER_EMAIL and ZO_ROOT_USER_PASSWORD on first start.  Verified headers are cached by a keyed
 * hash, so that a request pays one look-up; the cache is bounded and wrong credentials never enter.
 * Concurrent verifications are bounded (each costs memory and time): more wait.
 * Thread safety: any thread.
 */
#ifndef WEIR_GATEWAY_AUTH_H
#define WEIR_GATEWAY_AUTH_H

#include "base/err.h"
#include "index/meta.h"

struct auth;
enum err_code auth_open(struct meta *m, const char *root_email, const char *root_password,
                        struct auth **out, struct err *e);
void auth_close(struct auth *a);

struct auth_user {
    char email[256];
    bool is_root;
};
/* `header` is the value of Authorization (empty when there was none).
 * UNAUTHORIZED with the reference's text. */
enum err_code auth_check(struct auth *a, struct str header, struct auth_user *out, struct err *e);
bool auth_password_is_known_default(const char *password); /* worth a warning at start */

#endif

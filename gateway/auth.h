/* gateway/auth.h - who is asking.
 *
 * Users stand in meta as JSON with an Argon2id hash (encoded form).  The root user is made from
 * ZO_ROOT_USER_EMAIL and ZO_ROOT_USER_PASSWORD on first start.  Verified headers are cached by a
 * keyed hash, so that a request pays one look-up; the cache is bounded and wrong credentials never
 * enter. Concurrent verifications are bounded (each costs memory and time): more wait. Thread
 * safety: any thread.
 */
#ifndef WEIR_GATEWAY_AUTH_H
#define WEIR_GATEWAY_AUTH_H

#include "base/err.h"
#include "index/meta.h"

#define AUTH_HEADER_MAX 2048     /* bytes of an Authorization header; a longer one is refused */
#define AUTH_CACHE_ENTRIES 1024  /* verified headers remembered */
#define AUTH_VERIFICATIONS_MAX 2 /* Argon2 computations at once, 19 MiB each */

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
/* The cheap half of auth_check: true when `header` has been verified before.  Never blocks. */
bool auth_check_cached(struct auth *a, struct str header, struct auth_user *out);
/* The same verification for a login form. */
enum err_code auth_check_password(struct auth *a, struct str email, struct str password,
                                  struct auth_user *out, struct err *e);
bool auth_password_is_known_default(const char *password); /* worth a warning at start */

#endif

/* gateway/auth.c - users, their password hashes, and the memory of headers that were right.
 *
 * A user in meta, by lower-cased email:
 *   {"email":"…","role":"root","password":"$argon2id$v=19$m=19456,t=2,p=1$…$…","created_at":<µs>}
 * The value `auth.root_email` in meta says that a root user has been made.
 *
 * The way of a header:
 *   HMAC-SHA256 under a key of this process -> in the cache: done.
 *   Else decode it, wait for one of AUTH_VERIFICATIONS_MAX places and for whoever verifies the same
 *   header, look again, compute Argon2id, and on success remember the HMAC.
 *
 * An unknown email costs the same Argon2id computation as a known one.  Users are changed through
 * this file only, which has to forget the cache when it does.
 */
#include "gateway/auth.h"

#include <argon2.h>
#include <errno.h>
#include <nettle/base64.h>
#include <nettle/hmac.h>
#include <nettle/memops.h>
#include <pthread.h>
#include <stdlib.h>
#include <sys/random.h>

#include "base/cleanup.h"
#include "base/clock.h"
#include "base/json.h"
#include "base/log.h"
#include "base/metrics.h"

enum {
    ARGON_TIME = 2,
    ARGON_MEMORY_KIB = 19456,
    ARGON_LANES = 1,
    SALT_BYTES = 16,
    HASH_BYTES = 32,
    ENCODED_MAX = 256,
    CACHE_WAYS = 4,
    CACHE_SETS = AUTH_CACHE_ENTRIES / CACHE_WAYS,
    PASSWORD_MAX = 1024,
    USER_RECORD_MAX = 16 << 10
};

static const char ROOT_EMAIL_KEY[] = "auth.root_email";

struct cache_entry {
    bool used;
    uint8_t digest[SHA256_DIGEST_SIZE];
    struct auth_user user;
};

struct place { /* of one running verification */
    bool taken;
    uint8_t digest[SHA256_DIGEST_SIZE]; /* of its header */
};

struct auth {
    struct meta *meta;            /* immutable */
    struct hmac_sha256_ctx keyed; /* immutable: the key schedule, copied for each use */
    pthread_mutex_t cache_lock;   /* guards cache and next_way */
    struct cache_entry cache[CACHE_SETS][CACHE_WAYS];
    uint8_t next_way[CACHE_SETS];
    pthread_mutex_t verify_lock; /* guards places */
    pthread_cond_t place_free;
    struct place places[AUTH_VERIFICATIONS_MAX];
};

struct credentials {
    char email[256];
    size_t email_len;
    uint8_t decoded[BASE64_DECODE_LENGTH(AUTH_HEADER_MAX) + 1];
    struct str password; /* into decoded, or the caller's */
};

static enum err_code refuse(struct err *e)
{
    return err_set(e, ERR_UNAUTHORIZED, "Unauthorized Access");
}

/* --- the cache ------------------------------------------------------------------------------ */

static void header_digest(const struct auth *a, struct str header,
                          uint8_t digest[SHA256_DIGEST_SIZE])
{
    struct hmac_sha256_ctx ctx = a->keyed;
    hmac_sha256_update(&ctx, header.len, (const uint8_t *)header.ptr);
    hmac_sha256_digest(&ctx, SHA256_DIGEST_SIZE, digest);
}

static bool cache_find(struct auth *a, const uint8_t *digest, struct auth_user *out)
{
    size_t set = digest[0] % CACHE_SETS;
    LOCK_SCOPE(&a->cache_lock);
    for (size_t way = 0; way < CACHE_WAYS; way++) {
        const struct cache_entry *c = &a->cache[set][way];
        if (c->used && memeql_sec(c->digest, digest, SHA256_DIGEST_SIZE)) {
            *out = c->user;
            return true;
        }
    }
    return false;
}

static void cache_put(struct auth *a, const uint8_t *digest, const struct auth_user *user)
{
    size_t set = digest[0] % CACHE_SETS;
    LOCK_SCOPE(&a->cache_lock);
    struct cache_entry *c = &a->cache[set][a->next_way[set]++ % CACHE_WAYS];
    c->used = true;
    c->user = *user;
    memcpy(c->digest, digest, SHA256_DIGEST_SIZE);
}

bool auth_check_cached(struct auth *a, struct str header, struct auth_user *out)
{
    uint8_t digest[SHA256_DIGEST_SIZE];
    if (header.len == 0 || header.len > AUTH_HEADER_MAX)
        return false;
    header_digest(a, header, digest);
    return cache_find(a, digest, out);
}

/* --- one verification ----------------------------------------------------------------------- */

static bool email_lower(struct str in, struct credentials *c)
{
    if (in.len == 0 || in.len >= sizeof c->email)
        return false;
    for (size_t i = 0; i < in.len; i++)
        c->email[i] = (char)(in.ptr[i] >= 'A' && in.ptr[i] <= 'Z' ? in.ptr[i] + 32 : in.ptr[i]);
    c->email[in.len] = '\0';
    c->email_len = in.len;
    return memchr(in.ptr, '\0', in.len) == NULL;
}

static bool decode_header(struct str header, struct credentials *c)
{
    struct str scheme, rest;
    if (header.len > AUTH_HEADER_MAX || !str_cut(header, ' ', &scheme, &rest) ||
        !str_eq_nocase(scheme, STR("basic")))
        return false;
    rest = str_trim(rest);

    struct base64_decode_ctx ctx;
    size_t len = sizeof c->decoded;
    base64_decode_init(&ctx);
    if (!base64_decode_update(&ctx, &len, c->decoded, rest.len, rest.ptr) ||
        !base64_decode_final(&ctx))
        return false;
    struct str email;
    if (!str_cut((struct str){(const char *)c->decoded, len}, ':', &email, &c->password))
        return false;
    return email_lower(email, c);
}

/* The record's hash as a C string in the arena; NULL: no such user (or the record is broken). */
static const char *user_hash(struct auth *a, const struct credentials *c, struct arena *arena,
                             bool *is_root, struct err *e)
{
    struct str text;
    uint64_t revision;
    struct json *user;
    struct str email = {c->email, c->email_len};
    if (meta_user_get(a->meta, email, arena, &text, &revision, e) != ERR_OK)
        return NULL;
    if (json_parse(text, arena, &user, e) != ERR_OK) {
        err_wrap(e, "user %s", c->email);
        return NULL;
    }
    struct str hash = json_str(json_get(user, "password"), STR(""));
    *is_root = str_eq(json_str(json_get(user, "role"), STR("")), STR("root"));
    return hash.len > 0 ? arena_strdup(arena, hash) : NULL;
}

static void spend_as_for_a_user(struct str password)
{
    static const uint8_t salt[SALT_BYTES];
    uint8_t hash[HASH_BYTES];
    argon2id_hash_raw(ARGON_TIME, ARGON_MEMORY_KIB, ARGON_LANES, password.ptr, password.len, salt,
                      sizeof salt, hash, sizeof hash);
}

/* Each costs CPU, and a run of refused ones is somebody who guesses. */
static void count_verification(bool is_refused)
{
    static const struct metric_desc desc = {
        .name = "weir_password_verifications",
        .help = "passwords compared with the stored ones; what is remembered costs none",
        .type = METRIC_COUNTER,
        .labels = {"verdict"},
    };
    struct str verdict = is_refused ? STR("refused") : STR("accepted");
    metric_add(metric_child(metrics_register(&desc), &verdict), 1);
}

static enum err_code verify(struct auth *a, const struct credentials *c, struct auth_user *out,
                            struct err *e)
{
    struct arena arena;
    struct err why = {0};
    bool is_root = false;
    arena_init(&arena, USER_RECORD_MAX * 8);
    const char *hash = user_hash(a, c, &arena, &is_root, &why);
    enum err_code rc = ERR_UNAUTHORIZED;
    if (hash)
        rc = argon2id_verify(hash, c->password.ptr, c->password.len) == ARGON2_OK
                 ? ERR_OK
                 : ERR_UNAUTHORIZED;
    else if (why.code == ERR_OK || why.code == ERR_NOTFOUND)
        spend_as_for_a_user(c->password);
    else
        rc = why.code;
    arena_done(&arena);

    count_verification(rc != ERR_OK);
    if (rc == ERR_UNAUTHORIZED)
        return refuse(e);
    if (rc != ERR_OK)
        return err_set(e, rc, "%s", why.msg);
    memcpy(out->email, c->email, c->email_len + 1);
    out->is_root = is_root;
    return ERR_OK;
}

/* A free place; NULL while there is none, or while another place verifies the same header. */
static struct place *find_place_locked(struct auth *a, const uint8_t *digest)
{
    struct place *free_place = NULL;
    for (size_t i = 0; i < ARRAY_LEN(a->places); i++) {
        struct place *p = &a->places[i];
        if (!p->taken)
            free_place = p;
        else if (memeql_sec(p->digest, digest, SHA256_DIGEST_SIZE))
            return NULL;
    }
    return free_place;
}

static struct place *verification_begin(struct auth *a, const uint8_t *digest)
{
    struct place *p;
    LOCK_SCOPE(&a->verify_lock);
    while (!(p = find_place_locked(a, digest)))
        pthread_cond_wait(&a->place_free, &a->verify_lock);
    p->taken = true;
    memcpy(p->digest, digest, SHA256_DIGEST_SIZE);
    return p;
}

static void verification_end(struct auth *a, struct place *p)
{
    LOCK_SCOPE(&a->verify_lock);
    p->taken = false;
    pthread_cond_broadcast(&a->place_free);
}

enum err_code auth_check(struct auth *a, struct str header, struct auth_user *out, struct err *e)
{
    struct credentials c = {0};
    uint8_t digest[SHA256_DIGEST_SIZE];
    if (header.len == 0 || header.len > AUTH_HEADER_MAX)
        return refuse(e);
    header_digest(a, header, digest);
    if (cache_find(a, digest, out))
        return ERR_OK;
    if (!decode_header(header, &c) || c.password.len == 0 || c.password.len > PASSWORD_MAX)
        return refuse(e);

    struct place *place = verification_begin(a, digest);
    enum err_code rc = ERR_OK;
    if (!cache_find(a, digest, out)) {
        rc = verify(a, &c, out, e);
        if (rc == ERR_OK)
            cache_put(a, digest, out);
    }
    verification_end(a, place);
    explicit_bzero(&c, sizeof c);
    return rc;
}

enum err_code auth_check_password(struct auth *a, struct str email, struct str password,
                                  struct auth_user *out, struct err *e)
{
    struct credentials c = {.password = password};
    if (!email_lower(email, &c) || password.len == 0 || password.len > PASSWORD_MAX)
        return refuse(e);
    uint8_t digest[SHA256_DIGEST_SIZE];
    header_digest(a, password, digest);
    struct place *place = verification_begin(a, digest);
    enum err_code rc = verify(a, &c, out, e);
    verification_end(a, place);
    return rc;
}

/* --- the root user -------------------------------------------------------------------------- */

static enum err_code random_fill(void *p, size_t n, struct err *e)
{
    ssize_t got;
    do
        got = getrandom(p, n, 0);
    while (got < 0 && errno == EINTR);
    return got == (ssize_t)n ? ERR_OK : err_sys(e, errno, "getrandom");
}

static enum err_code hash_password(struct str password, char encoded[ENCODED_MAX], struct err *e)
{
    uint8_t salt[SALT_BYTES];
    enum err_code rc = random_fill(salt, sizeof salt, e);
    if (rc != ERR_OK)
        return rc;
    int argon =
        argon2id_hash_encoded(ARGON_TIME, ARGON_MEMORY_KIB, ARGON_LANES, password.ptr, password.len,
                              salt, sizeof salt, HASH_BYTES, encoded, ENCODED_MAX);
    if (argon != ARGON2_OK)
        return err_set(e, ERR_NOMEM, "hash a password: %s", argon2_error_message(argon));
    return ERR_OK;
}

static enum err_code root_make(struct auth *a, const struct credentials *c, struct err *e)
{
    char encoded[ENCODED_MAX];
    enum err_code rc = hash_password(c->password, encoded, e);
    if (rc != ERR_OK)
        return rc;
    struct buf record;
    buf_init(&record, USER_RECORD_MAX);
    struct json_writer w = {.out = &record};
    jw_object(&w);
    jw_kcstr(&w, "email", c->email);
    jw_kcstr(&w, "role", "root");
    jw_kcstr(&w, "password", encoded);
    jw_ki64(&w, "created_at", clock_wall_us());
    jw_end(&w);
    rc = buf_ok(&record) ? meta_user_put(a->meta, str_from(c->email), buf_str(&record), 0, e)
                         : err_set(e, ERR_NOMEM, "user record");
    buf_done(&record);
    /* A start that died between the two writes left the user: that is as good. */
    if (rc != ERR_OK && rc != ERR_EXISTS)
        return err_wrap(e, "make user %s", c->email);
    return meta_value_put(a->meta, STR(ROOT_EMAIL_KEY), str_from(c->email), e);
}

static enum err_code root_ensure(struct auth *a, const char *email, const char *password,
                                 struct err *e)
{
    struct arena arena;
    struct str known;
    arena_init(&arena, USER_RECORD_MAX);
    enum err_code rc = meta_value_get(a->meta, STR(ROOT_EMAIL_KEY), &arena, &known, e);
    if (rc == ERR_OK && email[0] && !str_eq_nocase(known, str_from(email)))
        log_write(LOG_WARN, "ZO_ROOT_USER_EMAIL has no effect: the first start made another user",
                  (char *)0);
    arena_done(&arena);
    if (rc != ERR_NOTFOUND)
        return rc;
    struct credentials c = {.password = str_from(password)};
    if (!email_lower(str_from(email), &c) || c.password.len == 0 || c.password.len > PASSWORD_MAX)
        return err_set(e, ERR_INVALID,
                       "the first start needs ZO_ROOT_USER_EMAIL and ZO_ROOT_USER_PASSWORD");
    return root_make(a, &c, e);
}

enum err_code auth_open(struct meta *m, const char *root_email, const char *root_password,
                        struct auth **out, struct err *e)
{
    uint8_t key[SHA256_DIGEST_SIZE];
    struct auth *a = calloc(1, sizeof *a);
    if (!a)
        return err_set(e, ERR_NOMEM, "auth");
    a->meta = m;
    pthread_mutex_init(&a->cache_lock, NULL);
    pthread_mutex_init(&a->verify_lock, NULL);
    pthread_cond_init(&a->place_free, NULL);
    enum err_code rc = random_fill(key, sizeof key, e);
    if (rc == ERR_OK) {
        hmac_sha256_set_key(&a->keyed, sizeof key, key);
        explicit_bzero(key, sizeof key);
        rc = root_ensure(a, root_email, root_password, e);
    }
    if (rc != ERR_OK) {
        auth_close(a);
        return rc;
    }
    *out = a;
    return ERR_OK;
}

void auth_close(struct auth *a)
{
    if (!a)
        return;
    pthread_cond_destroy(&a->place_free);
    pthread_mutex_destroy(&a->verify_lock);
    pthread_mutex_destroy(&a->cache_lock);
    explicit_bzero(&a->keyed, sizeof a->keyed);
    free(a);
}

bool auth_password_is_known_default(const char *password)
{
    static const char *const known[] = {"root321", "Complexpass#123", "root",
                                        "admin",   "password",        "changeme"};
    for (size_t i = 0; i < ARRAY_LEN(known); i++)
        if (strcmp(password, known[i]) == 0)
            return true;
    return false;
}

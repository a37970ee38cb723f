// links: weir_gateway weir_index
/* Who is let in, over a real meta in a scratch folder. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include <cmocka.h>

#include <nettle/base64.h>
#include <pthread.h>

#include "base/cleanup.h"
#include "base/metrics.h"
#include "gateway/auth.h"

enum { METRICS_MAX = 1 << 20 };

#define EMAIL "Root@Example.com"
#define PASSWORD "p\xC3\xA4ss:w\xC3\xB6rd"

struct fixture {
    char folder[64], path[96];
    struct meta *meta;
    struct auth *auth;
    struct err e;
};

static int open_fixture(void **state)
{
    struct fixture *f = calloc(1, sizeof *f);
    strcpy(f->folder, "/tmp/weir-auth-XXXXXX");
    if (!mkdtemp(f->folder))
        return -1;
    snprintf(f->path, sizeof f->path, "%s/meta", f->folder);
    assert_int_equal(meta_open(f->path, KV_OWNER, &f->meta, &f->e), ERR_OK);
    assert_int_equal(auth_open(f->meta, EMAIL, PASSWORD, &f->auth, &f->e), ERR_OK);
    *state = f;
    return 0;
}

static int close_fixture(void **state)
{
    struct fixture *f = *state;
    char command[128];
    auth_close(f->auth);
    meta_close(f->meta);
    snprintf(command, sizeof command, "rm -r %s", f->folder);
    int rc = system(command);
    free(f);
    return rc;
}

/* "Basic " and base64 of `credentials`, in a static buffer. */
static struct str basic(const char *credentials)
{
    static char header[512];
    size_t n = strlen(credentials);
    strcpy(header, "Basic ");
    assert_true(BASE64_ENCODE_RAW_LENGTH(n) + 7 < sizeof header);
    base64_encode_raw(header + 6, n, (const uint8_t *)credentials);
    header[6 + BASE64_ENCODE_RAW_LENGTH(n)] = '\0';
    return str_from(header);
}

static void the_root_user_is_let_in(void **state)
{
    static const char *const good[] = {EMAIL ":" PASSWORD, "root@example.com:" PASSWORD,
                                       "ROOT@EXAMPLE.COM:" PASSWORD};
    struct fixture *f = *state;
    for (size_t i = 0; i < ARRAY_LEN(good); i++) {
        struct auth_user user = {0};
        assert_int_equal(auth_check(f->auth, basic(good[i]), &user, &f->e), ERR_OK);
        assert_string_equal(user.email, "root@example.com");
        assert_true(user.is_root);
    }
}

static void everybody_else_is_not(void **state)
{
    static const char *const bad[] = {"root@example.com:",
                                      "root@example.com:wrong",
                                      "root@example.com",
                                      ":" PASSWORD,
                                      "other@example.com:" PASSWORD,
                                      ":",
                                      ""};
    static const char *const headers[] = {
        "", "Basic", "Basic ", "Basic !!!", "Basic cm9vd", "Bearer abc", "Digest x"};
    struct fixture *f = *state;
    struct auth_user user;
    for (size_t i = 0; i < ARRAY_LEN(bad); i++) {
        assert_int_equal(auth_check(f->auth, basic(bad[i]), &user, &f->e), ERR_UNAUTHORIZED);
        assert_string_equal(f->e.msg, "Unauthorized Access");
        assert_false(auth_check_cached(f->auth, basic(bad[i]), &user));
    }
    for (size_t i = 0; i < ARRAY_LEN(headers); i++)
        assert_int_equal(auth_check(f->auth, str_from(headers[i]), &user, &f->e), ERR_UNAUTHORIZED);
}

static void a_header_that_is_too_long_is_refused(void **state)
{
    struct fixture *f = *state;
    struct auth_user user;
    char header[AUTH_HEADER_MAX + 2];
    memset(header, 'A', sizeof header);
    memcpy(header, "Basic ", 6);
    assert_int_equal(auth_check(f->auth, (struct str){header, sizeof header}, &user, &f->e),
                     ERR_UNAUTHORIZED);
}

static void the_scheme_may_be_in_any_case(void **state)
{
    struct fixture *f = *state;
    struct auth_user user;
    char header[512];
    snprintf(header, sizeof header, "bASIC %s", basic(EMAIL ":" PASSWORD).ptr + 6);
    assert_int_equal(auth_check(f->auth, str_from(header), &user, &f->e), ERR_OK);
}

static void a_verified_header_is_remembered(void **state)
{
    struct fixture *f = *state;
    struct auth_user user = {0};
    struct str header = basic(EMAIL ":" PASSWORD);
    assert_false(auth_check_cached(f->auth, header, &user));
    assert_int_equal(auth_check(f->auth, header, &user, &f->e), ERR_OK);
    memset(&user, 0, sizeof user);
    assert_true(auth_check_cached(f->auth, header, &user));
    assert_string_equal(user.email, "root@example.com");
    assert_false(auth_check_cached(f->auth, (struct str){header.ptr, header.len - 1}, &user));
}

static void a_login_form_checks_the_same_password(void **state)
{
    struct fixture *f = *state;
    struct auth_user user;
    assert_int_equal(auth_check_password(f->auth, STR(EMAIL), STR(PASSWORD), &user, &f->e), ERR_OK);
    assert_int_equal(auth_check_password(f->auth, STR(EMAIL), STR("no"), &user, &f->e),
                     ERR_UNAUTHORIZED);
    assert_int_equal(auth_check_password(f->auth, STR("x@y"), STR(PASSWORD), &user, &f->e),
                     ERR_UNAUTHORIZED);
}

static void the_password_of_the_first_start_stays(void **state)
{
    struct fixture *f = *state;
    struct auth_user user;
    auth_close(f->auth);
    f->auth = NULL;
    assert_int_equal(auth_open(f->meta, EMAIL, "another", &f->auth, &f->e), ERR_OK);
    assert_int_equal(auth_check(f->auth, basic(EMAIL ":" PASSWORD), &user, &f->e), ERR_OK);
    assert_int_equal(auth_check(f->auth, basic(EMAIL ":another"), &user, &f->e), ERR_UNAUTHORIZED);
    auth_close(f->auth);
    f->auth = NULL;
    assert_int_equal(auth_open(f->meta, "", "", &f->auth, &f->e), ERR_OK);
}

static void the_first_start_needs_email_and_password(void **state)
{
    static const char *const pairs[][2] = {{"", ""}, {"a@b", ""}, {"", "x"}};
    struct fixture *f = *state;
    char path[128];
    struct meta *fresh;
    snprintf(path, sizeof path, "%s/fresh", f->folder);
    assert_int_equal(meta_open(path, KV_OWNER, &fresh, &f->e), ERR_OK);
    for (size_t i = 0; i < ARRAY_LEN(pairs); i++) {
        struct auth *a = NULL;
        assert_int_equal(auth_open(fresh, pairs[i][0], pairs[i][1], &a, &f->e), ERR_INVALID);
        assert_null(a);
    }
    meta_close(fresh);
}

static void the_password_is_not_kept_in_clear(void **state)
{
    struct fixture *f = *state;
    struct arena arena;
    struct str record;
    uint64_t revision;
    arena_init(&arena, 1 << 20);
    assert_int_equal(
        meta_user_get(f->meta, STR("root@example.com"), &arena, &record, &revision, &f->e), ERR_OK);
    assert_null(memmem(record.ptr, record.len, "w\xC3\xB6rd", 5));
    assert_non_null(memmem(record.ptr, record.len, "$argon2id$", 10));
    arena_done(&arena);
}

struct crowd {
    struct fixture *f;
    struct str header;
    enum err_code rc;
};

static void *one_of_the_crowd(void *arg)
{
    struct crowd *c = arg;
    struct auth_user user;
    struct err e = {0};
    c->rc = auth_check(c->f->auth, c->header, &user, &e);
    return NULL;
}

/* From the metrics' text. */
static unsigned long verifications(void)
{
    static const char line[] = "weir_password_verifications{verdict=\"accepted\"} ";
    struct buf text;
    buf_init(&text, METRICS_MAX);
    metrics_print(&text);
    buf_add_char(&text, '\0');
    const char *at = strstr(text.data, line);
    unsigned long count = at ? strtoul(at + sizeof line - 1, NULL, 10) : 0;
    buf_done(&text);
    return count;
}

/* Single flight. */
static void a_crowd_with_one_header_costs_one_verification(void **state)
{
    enum { PEOPLE = 20 };
    unsigned long before = verifications();
    struct fixture *f = *state;
    struct crowd crowd[PEOPLE];
    pthread_t threads[PEOPLE];
    struct str header = basic(EMAIL ":" PASSWORD);
    for (size_t i = 0; i < PEOPLE; i++) {
        crowd[i] = (struct crowd){.f = f, .header = header};
        assert_int_equal(pthread_create(&threads[i], NULL, one_of_the_crowd, &crowd[i]), 0);
    }
    for (size_t i = 0; i < PEOPLE; i++) {
        pthread_join(threads[i], NULL);
        assert_int_equal(crowd[i].rc, ERR_OK);
    }
    assert_int_equal(verifications(), before + 1);
}

static void well_known_passwords_are_known(void **state)
{
    (void)state;
    assert_true(auth_password_is_known_default("root321"));
    assert_false(auth_password_is_known_default("correct horse battery staple"));
}

#define CASE(name) cmocka_unit_test_setup_teardown(name, open_fixture, close_fixture)

int main(void)
{
    const struct CMUnitTest tests[] = {
        CASE(the_root_user_is_let_in),
        CASE(everybody_else_is_not),
        CASE(a_header_that_is_too_long_is_refused),
        CASE(the_scheme_may_be_in_any_case),
        CASE(a_verified_header_is_remembered),
        CASE(a_login_form_checks_the_same_password),
        CASE(the_password_of_the_first_start_stays),
        CASE(the_first_start_needs_email_and_password),
        CASE(the_password_is_not_kept_in_clear),
        CASE(a_crowd_with_one_header_costs_one_verification),
        cmocka_unit_test(well_known_passwords_are_known),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

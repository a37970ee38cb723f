// links: weir_fs weir_index
/* Features, the bytes of INIT, and sealed files read through a real mount: by the kernel alone,
 * through the page cache, and as lines. */
#include "tests/support/mounted_store.h"

#include <sys/mman.h>
#include <sys/xattr.h>

#include "fs/passthrough.h"

/* ---- features ---- */

static void features_are_all_or_none_or_a_list(void **state)
{
    static const struct {
        const char *text;
        unsigned want;
    } cases[] = {
        {NULL, FEATURE_PASSTHROUGH | FEATURE_RESEND},
        {"all", FEATURE_PASSTHROUGH | FEATURE_RESEND},
        {"none", 0},
        {" passthrough ", FEATURE_PASSTHROUGH},
        {"resend", FEATURE_RESEND},
        {"resend, passthrough", FEATURE_PASSTHROUGH | FEATURE_RESEND},
    };
    static const char *const wrong[] = {"", "passtrough", "all,none", "passthrough;resend", "ALL"};
    unsigned got;
    struct err e = {0};

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        assert_int_equal(fuse_features_parse(cases[i].text, &got, &e), ERR_OK);
        assert_int_equal(got, cases[i].want);
    }
    for (size_t i = 0; i < ARRAY_LEN(wrong); i++) {
        assert_int_equal(fuse_features_parse(wrong[i], &got, &e), ERR_INVALID);
        assert_non_null(strstr(e.msg, "WEIR_FUSE_FEATURES"));
    }
}

/* ---- INIT ---- */

struct init {
    char request[104];
    char header[16], body[64];
    struct iovec iov[2];
};

static void make_init(struct init *i, uint32_t flags, uint32_t flags2)
{
    *i = (struct init){0};
    put_u32(i->request + 4, 26);
    put_u64(i->request + 8, 77);
    put_u32(i->request + 52, flags);
    put_u32(i->request + 56, flags2);
    put_u64(i->header + 8, 77);
    put_u32(i->body + 12, 5);
    i->iov[0] = (struct iovec){i->header, sizeof i->header};
    i->iov[1] = (struct iovec){i->body, sizeof i->body};
}

static void a_kernel_that_offers_it_is_answered(void **state)
{
    static const struct {
        uint32_t flags, flags2;
        unsigned features;
        bool agreed;
    } cases[] = {
        {1u << 30, 1u << 5, FEATURE_PASSTHROUGH, true},
        {1u << 30, 1u << 5, 0, false},
        {1u << 30, 1u << 4, FEATURE_PASSTHROUGH, false},
        {1u << 29, 1u << 5, FEATURE_PASSTHROUGH, false},
    };
    struct passthrough p;
    struct init i;

    (void)state;
    for (size_t c = 0; c < ARRAY_LEN(cases); c++) {
        bool agreed = cases[c].agreed && geteuid() == 0;
        passthrough_init(&p, cases[c].features, -1);
        make_init(&i, cases[c].flags, cases[c].flags2);
        passthrough_see_request(&p, i.request, sizeof i.request);
        passthrough_see_reply(&p, i.iov, 2);
        assert_int_equal(passthrough_why_not(&p) == NULL, agreed);
        assert_int_equal(get_u32(i.body + 12), agreed ? 5 | 1u << 30 : 5);
        assert_int_equal(get_u32(i.body + 32), agreed ? 1u << 5 : 0);
        assert_int_equal(get_u32(i.body + 36), agreed ? 2 : 0);
    }
}

static void other_answers_pass_unchanged(void **state)
{
    struct passthrough p;
    struct init i;

    (void)state;
    passthrough_init(&p, FEATURE_PASSTHROUGH, -1);
    make_init(&i, 1u << 30, 1u << 5);
    passthrough_see_reply(&p, i.iov, 2); /* before the request */
    passthrough_see_request(&p, i.request, 40);
    passthrough_see_request(&p, i.request, sizeof i.request);
    put_u64(i.header + 8, 78);
    passthrough_see_reply(&p, i.iov, 2);
    put_u64(i.header + 8, 77);
    put_u32(i.header + 4, (uint32_t)-71); /* INIT failed */
    passthrough_see_reply(&p, i.iov, 2);
    assert_int_equal(get_u32(i.body + 12), 5);
    assert_non_null(passthrough_why_not(&p));
}

/* ---- a mount ---- */

static bool passes_through(const struct mounted *m, const char *path)
{
    char bytes[8192];
    long long before = mounted_counter(m, "reads"), between;

    between = mounted_counter(m, "reads") - before; /* what asking itself costs */
    before = mounted_counter(m, "reads");
    mounted_read(path, bytes, sizeof bytes);
    return mounted_counter(m, "reads") - before <= between;
}

static void check_parquet(struct mounted *m, bool through)
{
    char path[512], bytes[8192], want[4096];
    const struct part *p = &m->app.part;

    memset(want, 'x', sizeof want);
    memcpy(want, p->id.b, sizeof p->id.b);
    mounted_path(m, "logs/app", &p->id, ".parquet", path);
    assert_int_equal(passes_through(m, path), through);
    for (int round = 0; round < 3; round++) {
        assert_int_equal(mounted_read(path, bytes, sizeof bytes), sizeof want);
        assert_memory_equal(bytes, want, sizeof want);
    }
    AUTO_FD int one = open(path, O_RDONLY | O_CLOEXEC);
    AUTO_FD int two = open(path, O_RDONLY | O_CLOEXEC);
    assert_true(one >= 0 && two >= 0);
    assert_int_equal(pread(two, bytes, 10, 4090), 6);
    char *map = mmap(NULL, sizeof want, PROT_READ, MAP_SHARED, one, 0);
    assert_ptr_not_equal(map, MAP_FAILED);
    assert_memory_equal(map, want, sizeof want);
    munmap(map, sizeof want);
    assert_int_equal(open(path, O_RDWR | O_CLOEXEC), -1);
}

static void sealed_files_are_read_the_way_that_is_asked_for(void **state)
{
    static const struct {
        const char *features;
        bool through;
    } cases[] = {{"all", true}, {"none", false}, {"resend", false}};

    (void)state;
    mounted_or_skip();
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        struct mounted *m = mounted_start(cases[i].features, NULL);
        check_parquet(m, cases[i].through);
        mounted_end(m);
    }
}

static void hundreds_open_and_close_the_same_file_at_once(void **state)
{
    char path[512], bytes[8192];

    (void)state;
    mounted_or_skip();
    struct mounted *m = mounted_start("all", NULL);
    mounted_path(m, "logs/app", &m->app.part.id, ".parquet", path);
    for (int c = 0; c < 4; c++) {
        if (fork() == 0) {
            for (int i = 0; i < 300; i++) {
                int fd = open(path, O_RDONLY | O_CLOEXEC);
                if (fd < 0 || pread(fd, bytes, sizeof bytes, 0) != 4096)
                    _exit(1);
                close(fd);
            }
            _exit(0);
        }
    }
    for (int c = 0; c < 4; c++) {
        int status;
        wait(&status);
        assert_int_equal(status, 0);
    }
    mounted_end(m);
}

static void lines_of_a_sealed_file_are_there_again(void **state)
{
    char path[512], bytes[8192];
    struct stat st;

    (void)state;
    mounted_or_skip();
    struct mounted *m = mounted_start("all", NULL);
    mounted_path(m, "logs/app/text", &m->app.part.id, ".ndjson", path);
    assert_int_equal(stat(path, &st), 0);
    assert_int_equal(st.st_size, MOUNTED_ROWS * (sizeof MOUNTED_LINE - 1));
    assert_int_equal(mounted_read(path, bytes, sizeof bytes), st.st_size);
    for (size_t i = 0; i < MOUNTED_ROWS; i++)
        assert_memory_equal(bytes + i * (sizeof MOUNTED_LINE - 1), MOUNTED_LINE,
                            sizeof MOUNTED_LINE - 1);
    mounted_path(m, "metrics/mem", &m->metrics.part.id, ".ndjson", path);
    assert_int_equal(mounted_read(path, bytes, sizeof bytes), 5 * (sizeof MOUNTED_LINE - 1));
    assert_int_equal(getxattr(path, "user.weir.rows", bytes, sizeof bytes), 1);
    assert_int_equal(bytes[0], '5');
    mounted_path(m, "metrics/.parts", &m->metrics.part.id, ".parquet", path);
    assert_int_equal(mounted_read(path, bytes, sizeof bytes), 4096);
    mounted_end(m);
}

static void a_feature_nobody_knows_ends_the_start(void **state)
{
    int status;

    (void)state;
    mounted_or_skip();
    struct mounted *m = mounted_start("none", NULL);
    assert_int_equal(mounted_stop(m), 0);
    fake_stop(&m->engine); /* a process with one thread forks */
    m->engine.render = NULL;
    m->child = fork();
    if (m->child == 0) {
        fclose(stderr);
        mounted_run(m, -1, -1, "warp");
    }
    assert_int_equal(waitpid(m->child, &status, 0), m->child);
    m->child = 0;
    assert_true(WIFEXITED(status) && WEXITSTATUS(status) == 1);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(features_are_all_or_none_or_a_list),
        cmocka_unit_test(a_kernel_that_offers_it_is_answered),
        cmocka_unit_test(other_answers_pass_unchanged),
        cmocka_unit_test_teardown(sealed_files_are_read_the_way_that_is_asked_for, mounted_clear),
        cmocka_unit_test_teardown(hundreds_open_and_close_the_same_file_at_once, mounted_clear),
        cmocka_unit_test_teardown(lines_of_a_sealed_file_are_there_again, mounted_clear),
        cmocka_unit_test_teardown(a_feature_nobody_knows_ends_the_start, mounted_clear),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}

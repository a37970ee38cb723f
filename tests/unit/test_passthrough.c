// links: weir_fs weir_index
/* Features, the bytes of INIT, and sealed files read through a real mount: by the kernel alone,
 * through the page cache, and as lines. */
#include "tests/support/sealed_fixture.h"

#include <dirent.h>
#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <sys/xattr.h>

#include "base/log.h"
#include "fs/fs.h"
#include "fs/passthrough.h"
#include "tests/support/fake_engine.h"

#define HOUR 490000
#define APP 1
#define CPU 2
#define MEM 3
#define READY_MS 20000
#define LINE "{\"a\":1}\n"
#define ROWS 500

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

struct mounted {
    struct store *store;
    char dir[STORE_PATH_MAX];
    struct staged app, metrics;
    pid_t child;
    struct fake_engine engine;
};
static struct mounted *current; /* what a test that failed left behind */

static const char *why_not_here(void)
{
    if (geteuid() != 0)
        return "only root can mount and pass through";
    return access("/dev/fuse", R_OK | W_OK) == 0 ? NULL : "there is no /dev/fuse";
}

static struct str render(const struct json *request, void *ctx)
{
    static char text[ROWS * (sizeof LINE - 1)];
    uint64_t rows = ROWS;

    (void)ctx;
    json_u64(json_get(request, "rows"), &rows);
    for (size_t i = 0; i < ROWS; i++)
        memcpy(text + i * (sizeof LINE - 1), LINE, sizeof LINE - 1);
    return (struct str){text, rows * (sizeof LINE - 1)};
}

static void run_child(const struct mounted *m, int fuse_fd, int ready_fd, const char *features)
{
    struct fs_config cfg = {.data_dir = m->store->data,
                            .mount_dir = m->dir,
                            .dev_fuse_fd = fuse_fd,
                            .ready_fd = ready_fd,
                            .journal_max_bytes = UINT64_C(1) << 30,
                            .segment_bytes = STORE_SEGMENT_BYTES,
                            .replaced_keep_us = US_PER_SEC,
                            .replaced_max_bytes = UINT64_C(1) << 30,
                            .fuse_features = features,
                            .commit_files = 1,
                            .threads = 3,
                            .node_name = "node-1",
                            .version = "1",
                            .config_json = "{}"};

    prctl(PR_SET_PDEATHSIG, SIGKILL);
    log_init("fs", LOG_WARN, false);
    _exit(fs_run(&cfg));
}

static void start_child(struct mounted *m, const char *features)
{
    struct fs_mount_options o = {.mount_dir = m->dir};
    struct fs_mount_report report;
    int fuse_fd, ready[2];
    char byte;

    assert_int_equal(fs_mount(&o, &fuse_fd, &report, &m->store->e), ERR_OK);
    assert_int_equal(pipe(ready), 0);
    m->child = fork();
    if (m->child == 0)
        run_child(m, fuse_fd, ready[1], features);
    close(fuse_fd);
    close(ready[1]);
    struct pollfd p = {.fd = ready[0], .events = POLLIN};
    assert_int_equal(poll(&p, 1, READY_MS), 1);
    assert_int_equal(read(ready[0], &byte, 1), 1);
    close(ready[0]);
}

static void fill_store(struct mounted *m)
{
    struct store *s = m->store;
    struct journal_file files[3];

    store_open(s);
    store_append(s, STREAM_LOGS, APP, "app", HOUR, ROWS);
    store_append(s, STREAM_METRICS, CPU, "cpu", HOUR, 3);
    store_append(s, STREAM_METRICS, MEM, "mem", HOUR, 5);
    files[0] = store_roll(s, APP, HOUR);
    files[1] = store_roll(s, CPU, HOUR);
    files[2] = store_roll(s, MEM, HOUR);
    store_stage(s, &m->app, files);
    assert_int_equal(store_publish(s, &m->app), ERR_OK);
    store_stage_metrics(s, &m->metrics, files + 1, 2);
    assert_int_equal(store_publish(s, &m->metrics), ERR_OK);
    store_append(s, STREAM_LOGS, APP, "app", HOUR + 1, 2);
    store_close(s);
}

static struct mounted *mount_store(const char *features)
{
    struct mounted *m = calloc(1, sizeof *m);
    char path[STORE_PATH_MAX + 32];

    current = m;
    m->store = store_make();
    snprintf(m->dir, sizeof m->dir, "%s/mnt", m->store->dir.path);
    fill_store(m);
    snprintf(path, sizeof path, "%s/run", m->store->data);
    mkdir(path, 0700);
    start_child(m, features);
    snprintf(path, sizeof path, "%s/run/engine.sock", m->store->data);
    m->engine.render = render;
    fake_start(&m->engine, path);
    return m;
}

/* The exit status of the fs process. */
static int end_child(struct mounted *m)
{
    int status = -1;

    if (m->child > 0) {
        kill(m->child, SIGTERM);
        waitpid(m->child, &status, 0);
    }
    m->child = 0;
    return status;
}

static void unmount_store(struct mounted *m)
{
    bool was_running = m->child > 0;
    int status = end_child(m);

    fs_unmount(m->dir, NULL);
    if (m->engine.render)
        fake_stop(&m->engine);
    store_remove(m->store);
    free(m);
    current = NULL;
    if (was_running)
        assert_int_equal(status, 0);
}

static int clear_away(void **state)
{
    (void)state;
    if (current)
        unmount_store(current);
    return 0;
}

static void path_of(const struct mounted *m, const char *dir, const struct ulid *id,
                    const char *suffix, char dst[512])
{
    char text[ULID_TEXT_LEN + 1];

    ulid_format(id, text);
    snprintf(dst, 512, "%s/default/%s/2025/11/24/16/%s%s", m->dir, dir, text, suffix);
}

static size_t slurp(const char *path, char *dst, size_t room)
{
    AUTO_FD int fd = open(path, O_RDONLY | O_CLOEXEC);
    size_t len = 0;
    ssize_t n;

    if (fd < 0)
        fail_msg("%s: %s", path, strerror(errno));
    while ((n = read(fd, dst + len, room - len)) > 0)
        len += (size_t)n;
    if (n < 0)
        fail_msg("%s: %s", path, strerror(errno));
    return len;
}

static long long counter(const struct mounted *m, const char *name)
{
    char path[512], text[16384], key[64];

    snprintf(path, sizeof path, "%s/.weir/stats.json", m->dir);
    text[slurp(path, text, sizeof text - 1)] = '\0';
    snprintf(key, sizeof key, "\"%s\":", name);
    const char *at = strstr(text, key);
    assert_non_null(at);
    return strtoll(at + strlen(key), NULL, 10);
}

static bool passes_through(const struct mounted *m, const char *path)
{
    char bytes[8192];
    long long before = counter(m, "reads"), between;

    between = counter(m, "reads") - before; /* what asking itself costs */
    before = counter(m, "reads");
    slurp(path, bytes, sizeof bytes);
    return counter(m, "reads") - before <= between;
}

static void check_parquet(struct mounted *m, bool through)
{
    char path[512], bytes[8192], want[4096];
    const struct part *p = &m->app.part;

    memset(want, 'x', sizeof want);
    memcpy(want, p->id.b, sizeof p->id.b);
    path_of(m, "logs/app", &p->id, ".parquet", path);
    assert_int_equal(passes_through(m, path), through);
    for (int round = 0; round < 3; round++) {
        assert_int_equal(slurp(path, bytes, sizeof bytes), sizeof want);
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
    if (why_not_here()) {
        print_message("skipped: %s\n", why_not_here());
        skip();
    }
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        struct mounted *m = mount_store(cases[i].features);
        check_parquet(m, cases[i].through);
        unmount_store(m);
    }
}

static void hundreds_open_and_close_the_same_file_at_once(void **state)
{
    char path[512], bytes[8192];

    (void)state;
    if (why_not_here()) {
        print_message("skipped: %s\n", why_not_here());
        skip();
    }
    struct mounted *m = mount_store("all");
    path_of(m, "logs/app", &m->app.part.id, ".parquet", path);
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
    unmount_store(m);
}

static void lines_of_a_sealed_file_are_there_again(void **state)
{
    char path[512], bytes[8192];
    struct stat st;

    (void)state;
    if (why_not_here()) {
        print_message("skipped: %s\n", why_not_here());
        skip();
    }
    struct mounted *m = mount_store("all");
    path_of(m, "logs/app/text", &m->app.part.id, ".ndjson", path);
    assert_int_equal(stat(path, &st), 0);
    assert_int_equal(st.st_size, ROWS * (sizeof LINE - 1));
    assert_int_equal(slurp(path, bytes, sizeof bytes), st.st_size);
    for (size_t i = 0; i < ROWS; i++)
        assert_memory_equal(bytes + i * (sizeof LINE - 1), LINE, sizeof LINE - 1);
    path_of(m, "metrics/mem", &m->metrics.part.id, ".ndjson", path);
    assert_int_equal(slurp(path, bytes, sizeof bytes), 5 * (sizeof LINE - 1));
    assert_int_equal(getxattr(path, "user.weir.rows", bytes, sizeof bytes), 1);
    assert_int_equal(bytes[0], '5');
    path_of(m, "metrics/.parts", &m->metrics.part.id, ".parquet", path);
    assert_int_equal(slurp(path, bytes, sizeof bytes), 4096);
    unmount_store(m);
}

static void a_feature_nobody_knows_ends_the_start(void **state)
{
    int status;

    (void)state;
    if (why_not_here()) {
        print_message("skipped: %s\n", why_not_here());
        skip();
    }
    struct mounted *m = mount_store("none");
    assert_int_equal(end_child(m), 0);
    m->child = fork();
    if (m->child == 0) {
        fclose(stderr);
        run_child(m, -1, -1, "warp");
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
        cmocka_unit_test_teardown(sealed_files_are_read_the_way_that_is_asked_for, clear_away),
        cmocka_unit_test_teardown(hundreds_open_and_close_the_same_file_at_once, clear_away),
        cmocka_unit_test_teardown(lines_of_a_sealed_file_are_there_again, clear_away),
        cmocka_unit_test_teardown(a_feature_nobody_knows_ends_the_start, clear_away),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}

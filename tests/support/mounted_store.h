/* tests/support/mounted_store.h - a data directory with sealed parts, served by an fs process of
 * its own on a real mount, with an engine that knows their lines.  Needs root. */
#ifndef WEIR_TESTS_MOUNTED_STORE_H
#define WEIR_TESTS_MOUNTED_STORE_H

#include "tests/support/sealed_fixture.h"

#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/wait.h>

#include "base/log.h"
#include "fs/fs.h"
#include "tests/support/fake_engine.h"

#define MOUNTED_HOUR 490000
#define MOUNTED_APP 1
#define MOUNTED_CPU 2
#define MOUNTED_MEM 3
#define MOUNTED_READY_MS 20000
#define MOUNTED_LINE "{\"a\":1}\n"
#define MOUNTED_ROWS 500
#define MOUNTED_KEEP_US 300000 /* a replaced file stays readable for a handle */

struct mounted {
    struct store *store;
    char dir[STORE_PATH_MAX];
    struct staged app, metrics;
    pid_t child;
    struct fake_engine engine;
};
typedef void (*mounted_more)(struct store *s); /* puts more into the store before it is served */
static struct mounted *mounted_current;        /* what a test that failed left behind */

static inline const char *mounted_why_not(void)
{
    if (geteuid() != 0)
        return "only root can mount and pass through";
    return access("/dev/fuse", R_OK | W_OK) == 0 ? NULL : "there is no /dev/fuse";
}

static inline void mounted_or_skip(void)
{
    if (!mounted_why_not())
        return;
    print_message("skipped: %s\n", mounted_why_not());
    skip();
}

static inline struct str mounted_render(const struct json *request, void *ctx)
{
    static char text[MOUNTED_ROWS * (sizeof MOUNTED_LINE - 1)];
    uint64_t rows = MOUNTED_ROWS;

    (void)ctx;
    json_u64(json_get(request, "rows"), &rows);
    for (size_t i = 0; i < MOUNTED_ROWS; i++)
        memcpy(text + i * (sizeof MOUNTED_LINE - 1), MOUNTED_LINE, sizeof MOUNTED_LINE - 1);
    return (struct str){text, rows * (sizeof MOUNTED_LINE - 1)};
}

static inline void mounted_run(const struct mounted *m, int fuse_fd, int ready_fd,
                               const char *features)
{
    struct fs_config cfg = {.data_dir = m->store->data,
                            .mount_dir = m->dir,
                            .dev_fuse_fd = fuse_fd,
                            .anchor_fd = -1,
                            .ready_fd = ready_fd,
                            .journal_max_bytes = UINT64_C(1) << 30,
                            .segment_bytes = STORE_SEGMENT_BYTES,
                            .line_max_bytes = 1000000,
                            .ingest_pending_max_bytes = 64 << 20,
                            .ingest_tails_max_bytes = 64 << 20,
                            .ingest_wait_ms = 1000,
                            .replaced_keep_us = MOUNTED_KEEP_US,
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

static inline void mounted_spawn(struct mounted *m, const char *features)
{
    struct fs_mount_options o = {.mount_dir = m->dir};
    struct fs_mount_report report;
    int fuse_fd, ready[2];
    char byte;

    assert_int_equal(fs_mount(&o, &fuse_fd, &report, &m->store->e), ERR_OK);
    assert_int_equal(pipe(ready), 0);
    m->child = fork();
    if (m->child == 0)
        mounted_run(m, fuse_fd, ready[1], features);
    close(fuse_fd);
    close(ready[1]);
    struct pollfd p = {.fd = ready[0], .events = POLLIN};
    assert_int_equal(poll(&p, 1, MOUNTED_READY_MS), 1);
    assert_int_equal(read(ready[0], &byte, 1), 1);
    close(ready[0]);
}

static inline void mounted_fill(struct mounted *m, mounted_more more)
{
    struct store *s = m->store;
    struct journal_file files[3];

    store_open(s);
    store_append(s, STREAM_LOGS, MOUNTED_APP, "app", MOUNTED_HOUR, MOUNTED_ROWS);
    store_append(s, STREAM_METRICS, MOUNTED_CPU, "cpu", MOUNTED_HOUR, 3);
    store_append(s, STREAM_METRICS, MOUNTED_MEM, "mem", MOUNTED_HOUR, 5);
    files[0] = store_roll(s, MOUNTED_APP, MOUNTED_HOUR);
    files[1] = store_roll(s, MOUNTED_CPU, MOUNTED_HOUR);
    files[2] = store_roll(s, MOUNTED_MEM, MOUNTED_HOUR);
    store_stage(s, &m->app, files);
    assert_int_equal(store_publish(s, &m->app), ERR_OK);
    store_stage_metrics(s, &m->metrics, files + 1, 2);
    assert_int_equal(store_publish(s, &m->metrics), ERR_OK);
    store_append(s, STREAM_LOGS, MOUNTED_APP, "app", MOUNTED_HOUR + 1, 2);
    if (more)
        more(s);
    store_close(s);
}

static inline struct mounted *mounted_start(const char *features, mounted_more more)
{
    struct mounted *m = calloc(1, sizeof *m);
    char path[STORE_PATH_MAX + 32];

    mounted_current = m;
    m->store = store_make();
    snprintf(m->dir, sizeof m->dir, "%s/mnt", m->store->dir.path);
    mounted_fill(m, more);
    snprintf(path, sizeof path, "%s/run", m->store->data);
    mkdir(path, 0700);
    mounted_spawn(m, features);
    snprintf(path, sizeof path, "%s/run/engine.sock", m->store->data);
    m->engine.render = mounted_render;
    fake_start(&m->engine, path);
    return m;
}

/* The exit status of the fs process. */
static inline int mounted_stop(struct mounted *m)
{
    int status = -1;

    if (m->child > 0) {
        kill(m->child, SIGTERM);
        waitpid(m->child, &status, 0);
    }
    m->child = 0;
    return status;
}

static inline void mounted_end(struct mounted *m)
{
    bool was_running = m->child > 0;
    int status = mounted_stop(m);

    fs_unmount(m->dir, NULL);
    if (m->engine.render)
        fake_stop(&m->engine);
    store_remove(m->store);
    free(m);
    mounted_current = NULL;
    if (was_running)
        assert_int_equal(status, 0);
}

static inline int mounted_clear(void **state)
{
    (void)state;
    if (mounted_current)
        mounted_end(mounted_current);
    return 0;
}

static inline void mounted_path(const struct mounted *m, const char *dir, const struct ulid *id,
                                const char *suffix, char dst[512])
{
    char text[ULID_TEXT_LEN + 1];

    ulid_format(id, text);
    snprintf(dst, 512, "%s/default/%s/2025/11/24/16/%s%s", m->dir, dir, text, suffix);
}

static inline size_t mounted_read(const char *path, char *dst, size_t room)
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

static inline long long mounted_counter(const struct mounted *m, const char *name)
{
    char path[512], text[16384], key[64];

    snprintf(path, sizeof path, "%s/.weir/stats.json", m->dir);
    text[mounted_read(path, text, sizeof text - 1)] = '\0';
    snprintf(key, sizeof key, "\"%s\":", name);
    const char *at = strstr(text, key);
    assert_non_null(at);
    return strtoll(at + strlen(key), NULL, 10);
}

#endif

/* fs/session.c - the fs process: opens the journal, serves the mount, ends in order.
 *
 *   start:  index -> journal (replayed; its publish records go into the index) -> sealed parts ->
 *           tree, queues -> streams and files into the registry -> what an earlier process of the
 *           mount had open -> fs.sock -> resend -> FUSE workers -> ready
 *   stop:   fs.sock -> doors -> notifier -> FUSE workers -> text -> fsync queue -> sealed parts ->
 *           journal (answers what waits) -> the rest
 *
 * Threads: `threads` FUSE workers, each reading a request at a time from the device; the fsync
 * thread; the control server's; the notifier; those that render text; the index's; the journal's
 * own.  The main thread waits for signals.  SIGTERM ends the session; a mount that is taken away
 * ends it too.  SIGINT is not waited for: what is blocked is not ignored, and the supervisor wants
 * it ignored.
 */
#include "fs/session.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/clock.h"
#include "base/hash.h"
#include "base/log.h"
#include "base/sys.h"
#include "fs/control/server.h"
#include "fs/mount.h"

#define READ_AHEAD_KB 1024
#define WORKERS_MAX 256
#define NUDGE_MS 2
#define TEXT_THREADS 4
#define SIGNAL_ENDED SIGUSR1 /* a worker found the session over */
#define SIGNAL_NUDGE SIGUSR2 /* interrupts a worker's read of the device */

struct process {
    struct session session;
    char *journal_dir, *lost_found_dir, *meta_dir, *socket_path, *engine_path, *tmp_dir;
    struct notifier *notifier;
    struct snapshots *snapshots;
    struct control_server *control;
    pthread_t workers[WORKERS_MAX];
    unsigned worker_count;
};

/* ---- the journal tells of files ---- */

static void add_file(struct session *s, const struct journal_file *f)
{
    struct err e = {0};

    if (registry_add(s->registry, f, &e) == ERR_OK)
        return;
    status_count(s->status, COUNT_FILES_UNLISTED, 1);
    status_report(s->status, STR("tree"), str_from(e.msg));
}

static void on_grow(const struct ulid *id, void *ctx)
{
    struct session *s = ctx;
    struct journal_file f;

    if (!registry_knows(s->registry, id) && journal_file_get(s->journal, id, &f, NULL) == ERR_OK)
        add_file(s, &f);
}

static void on_forgotten(const struct ulid *id, void *ctx)
{
    registry_forget(((struct session *)ctx)->registry, id);
}

static enum err_code on_published(const struct journal_publish *p, uint64_t position, void *ctx,
                                  struct err *e)
{
    return sealed_apply(p, position, ((struct session *)ctx)->sealed, e);
}

static bool add_replayed(const struct journal_file *f, void *ctx)
{
    add_file(ctx, f);
    return true;
}

/* ---- streams, also those that have no file now ---- */

void session_add_stream(struct session *s, uint64_t number, struct str org, enum stream_type type,
                        struct str name, int64_t made_us)
{
    struct err e = {0};

    if (registry_add_stream(s->registry, number, org, type, name, made_us, &e))
        status_report(s->status, STR("tree"), str_from(e.msg));
}

static bool add_known_stream(const struct meta_stream *m, void *ctx)
{
    session_add_stream(ctx, m->number, m->org, m->type, m->name, m->created_us);
    return true;
}

static bool add_stream_of_part(const struct part *p, void *ctx)
{
    for (size_t i = 0; i < p->name_count; i++) {
        struct part_name n = part_name_at(p, i);
        session_add_stream(ctx, n.stream, p->org, p->type, n.name, p->min_ts_us);
    }
    if (p->type != STREAM_METRICS)
        session_add_stream(ctx, p->stream, p->org, p->type, p->name, p->min_ts_us);
    return true;
}

static bool add_known_org(struct str org, int64_t created_us, void *ctx)
{
    struct session *s = ctx;
    struct err e = {0};

    (void)created_us;
    if (registry_add_org(s->registry, org, &e))
        status_report(s->status, STR("tree"), str_from(e.msg));
    return true;
}

/* `meta` says what there is; only a directory without one is shown by what the parts say.  A stream
 * that is missed here comes back with its next file. */
static void add_streams(struct session *s)
{
    struct err e = {0};
    enum err_code rc = schema_each_org(s->schema, add_known_org, s, &e);

    if (!rc)
        rc = schema_each_stream(s->schema, add_known_stream, s, &e);
    if (rc == ERR_GONE)
        rc = parts_each(sealed_index(s->sealed), add_stream_of_part, s, &e);
    if (rc)
        status_report(s->status, STR("tree"), str_from(e.msg));
}

/* ---- start ---- */

static char *join(const char *dir, const char *name)
{
    char *path = NULL;

    return asprintf(&path, "%s/%s", dir, name) < 0 ? NULL : path;
}

static enum err_code open_paths(struct process *p, struct err *e)
{
    const char *data = p->session.cfg->data_dir;

    p->journal_dir = join(data, "journal");
    p->lost_found_dir = join(data, "lost+found");
    p->meta_dir = join(data, "meta");
    p->socket_path = join(data, "run/fs.sock");
    p->engine_path = p->session.cfg->scratch_dir ? join(p->session.cfg->scratch_dir, "engine.sock")
                                                 : join(data, "run/engine.sock");
    p->tmp_dir = join(data, "tmp");
    if (!p->journal_dir || !p->lost_found_dir || !p->meta_dir || !p->socket_path ||
        !p->engine_path || !p->tmp_dir)
        return err_set(e, ERR_NOMEM, "no memory for paths");
    p->session.data_dir_fd = sys_open(data, O_RDONLY | O_DIRECTORY, 0);
    return p->session.data_dir_fd < 0 ? err_sys(e, errno, "open %s", data) : ERR_OK;
}

static void log_recovery(const struct journal_recovery *r)
{
    log_printf(LOG_INFO, "journal replayed: %llu rows in %llu files of %llu segments, %llu ms",
               (unsigned long long)r->rows, (unsigned long long)r->files,
               (unsigned long long)r->segments, (unsigned long long)r->took_us / 1000);
    if (r->torn_bytes || r->torn_batches)
        log_printf(LOG_WARN, "journal: a torn end of %llu bytes, %llu incomplete batches",
                   (unsigned long long)r->torn_bytes, (unsigned long long)r->torn_batches);
    if (r->corrupt_frames)
        log_printf(LOG_ERROR, "journal: %llu corrupt frames, %llu bytes set aside in lost+found",
                   (unsigned long long)r->corrupt_frames, (unsigned long long)r->corrupt_bytes);
}

static enum err_code open_sealed(struct session *s, struct err *e)
{
    struct sealed_config sc = {.data_dir = s->cfg->data_dir,
                               .node_name = s->cfg->node_name,
                               .read_only = s->cfg->read_only,
                               .starts_when_full = !s->cfg->read_only,
                               .scratch_dir = s->cfg->scratch_dir};
    enum err_code rc = sealed_open(&sc, &s->sealed, e);

    return rc ? err_wrap(e, "sealed parts") : ERR_OK;
}

static enum err_code open_journal(struct process *p, struct journal_recovery *found, struct err *e)
{
    const struct fs_config *cfg = p->session.cfg;
    struct journal_config jc = {
        .dir = p->journal_dir,
        .lost_found_dir = p->lost_found_dir,
        .max_bytes = cfg->journal_max_bytes,
        .disk_reserve_bytes = cfg->disk_reserve_bytes,
        .segment_bytes = cfg->segment_bytes,
        .roll_bytes = cfg->roll_bytes,
        .fsync_disabled = cfg->fsync_disabled,
        .node_died = cfg->node_died,
        .read_only = cfg->read_only,
        .on_grow = on_grow,
        .on_forgotten = on_forgotten,
        .on_published = on_published,
        .ctx = &p->session,
        .mount = anchor_mount(p->session.anchor),
        .covered = sealed_position(p->session.sealed),
        .replaced_keep_us = cfg->replaced_keep_us,
        .replaced_max_bytes = cfg->replaced_max_bytes,
        .hold_replaced = cfg->snapshots_live,
    };
    enum err_code rc = journal_open(&jc, &p->session.journal, found, e);

    if (rc)
        return err_wrap(e, "journal");
    log_recovery(found);
    return ERR_OK;
}

static enum err_code open_status(struct process *p, const struct journal_recovery *found,
                                 struct err *e)
{
    struct session *s = &p->session;
    struct status_config sc = {
        .journal = s->journal,
        .registry = s->registry,
        .recovery = *found,
        .node_name = s->cfg->node_name,
        .version = s->cfg->version,
        .config_json = s->cfg->config_json,
        .read_only = s->cfg->read_only,
        .threads = p->worker_count,
    };

    return status_new(&sc, &s->status, e);
}

static enum err_code open_tree(struct session *s, struct err *e)
{
    struct tree_config tc = {
        .journal = s->journal,
        .registry = s->registry,
        .status = s->status,
        .schema = s->schema,
        .sealed = s->sealed,
        .owner_uid = s->cfg->owner_uid,
        .owner_gid = s->cfg->owner_gid,
        .node_uid = s->cfg->node_uid,
        .node_gid = getegid(),
        .commit_files = session_takes_changes(s) ? s->cfg->commit_files : 0,
        .node_name = s->cfg->node_name ? s->cfg->node_name : "",
        .started_us = clock_wall_us(),
    };

    return tree_new(&tc, &s->tree, e);
}

/* A name of `.weir/at` that nobody reads any more. */
static void drop_snapshot_name(const struct notifier_name *name, void *ctx)
{
    struct session *s = ctx;
    struct tree_ref dir = {.kind = TREE_SNAPSHOTS};
    char text[NAME_SNAPSHOT_MAX];
    size_t len = name_format_snapshot(&name->id, name->bytes, text);

    /* Fails when the kernel does not hold it: as well. */
    fuse_lowlevel_notify_inval_entry(s->fuse, tree_ino(&dir, 0), text, len);
}

static enum err_code open_snapshots(struct process *p, struct err *e)
{
    struct session *s = &p->session;
    struct snapshots_config sc = {
        .journal = s->journal, .registry = s->registry, .sealed = s->sealed, .status = s->status};
    enum err_code rc = notifier_start(s->status, drop_snapshot_name, s, &p->notifier, e);

    sc.notifier = p->notifier;
    sc.held = s->cfg->snapshots_live ? &s->held : NULL;
    return rc ? rc : snapshots_new(&sc, &p->snapshots, e);
}

/* What is sealed: as files, and as lines. */
static enum err_code open_readers(struct process *p, struct err *e)
{
    struct session *s = &p->session;
    bool read_only = s->cfg->read_only;
    struct text_config tc = {
        .tree = s->tree,
        .status = s->status,
        .socket_path = p->engine_path,
        .mount_dir = s->cfg->mount_dir,
        .cache_dir = read_only ? NULL : p->tmp_dir,
        .threads = TEXT_THREADS,
    };
    unsigned features;
    enum err_code rc = fuse_features_parse(s->cfg->fuse_features, &features, e);

    if (!rc && !read_only)
        rc = sys_mkdirs(p->tmp_dir, 0700, e);
    if (rc)
        return rc;
    passthrough_init(&s->passthrough, features, s->cfg->dev_fuse_fd);
    rc = open_parts_new(s->sealed, &s->passthrough, &s->open_parts, e);
    return rc ? rc : text_start(&tc, &s->text, e);
}

static enum err_code drop_deleted(void *session, struct err *e)
{
    return session_drop_deleted(session, false, e);
}

static enum err_code open_control(struct process *p, struct err *e)
{
    struct session *s = &p->session;
    struct control_server_config cc = {
        .socket_path = p->socket_path,
        .journal = s->journal,
        .registry = s->registry,
        .status = s->status,
        .snapshots = p->snapshots,
        .sealed = s->sealed,
        .drop_deleted = drop_deleted,
        .drop_ctx = s,
        .door = s->door,
        .commit_files = s->cfg->commit_files,
        .version = s->cfg->version,
    };

    return s->cfg->read_only ? ERR_OK : control_server_start(&cc, &p->control, e);
}

/* Everything that says what there is. */
static enum err_code open_stores(struct process *p, struct err *e)
{
    struct session *s = &p->session;
    struct journal_recovery found = {0};
    enum err_code rc = registry_new(&s->registry, e);

    if (!rc)
        rc = open_sealed(s, e);
    if (!rc)
        rc = open_journal(p, &found, e);
    if (!rc)
        rc = open_status(p, &found, e);
    if (!rc)
        rc = sealed_start(s->sealed, s->journal, s->registry, s->status, e);
    if (!rc)
        rc = schema_new(p->meta_dir, s->cfg->read_only ? KV_LONE_READER : KV_READER, &s->schema, e);
    if (!rc && s->cfg->snapshots_live)
        sealed_reader_begin(s->sealed, &s->held);
    if (!rc && !s->cfg->read_only)
        rc = session_drop_deleted(s, s->cfg->snapshots_live, e);
    if (!rc)
        add_streams(s);
    return rc;
}

static enum err_code open_parts(struct process *p, struct err *e)
{
    struct session *s = &p->session;
    enum err_code rc = open_paths(p, e);

    if (!rc)
        rc = session_open_anchor(s, e);
    if (!rc)
        rc = open_stores(p, e);
    if (!rc)
        rc = open_tree(s, e);
    if (!rc)
        rc = nodes_new(s->status, &s->nodes, e);
    if (!rc)
        rc = handles_new(s->status, &s->handles, e);
    if (!rc)
        rc = sync_queue_start(s->journal, &s->syncs, e);
    if (!rc)
        rc = open_queue_start(run_open, &s->opens, e);
    if (!rc)
        rc = open_snapshots(p, e);
    if (!rc)
        rc = open_readers(p, e);
    if (!rc)
        rc = session_open_inlet(s, e);
    if (rc)
        return rc;
    journal_file_list(s->journal, add_replayed, s);
    /* Nothing is freed here: what was just shown of deleted streams is hidden again. */
    return s->cfg->read_only ? session_drop_deleted(s, s->cfg->snapshots_live, e) : ERR_OK;
}

__attribute__((format(printf, 2, 0))) static void library_log(enum fuse_log_level level,
                                                              const char *fmt, va_list args)
{
    char text[512];
    int n = vsnprintf(text, sizeof text, fmt, args);

    if (n > 0 && (size_t)n < sizeof text && text[n - 1] == '\n')
        text[n - 1] = '\0';
    log_write(level <= FUSE_LOG_ERR ? LOG_ERROR : LOG_WARN, "libfuse", "text", text, (char *)0);
}

/* What libfuse 3.14 cannot say of itself is said in its messages. */
static ssize_t read_device(int fd, void *bytes, size_t len, void *session)
{
    struct session *s = session;
    ssize_t n = read(fd, bytes, len);

    if (n > 0) {
        passthrough_see_request(&s->passthrough, bytes, (size_t)n);
        follow_see_request(&s->follow, bytes, (size_t)n);
    }
    return n;
}

static ssize_t write_device(int fd, struct iovec *iov, int count, void *session)
{
    struct session *s = session;
    ssize_t n;

    passthrough_see_reply(&s->passthrough, iov, count);
    if (!follow_see_reply(&s->follow, iov))
        return (ssize_t)get_u32(iov[0].iov_base); /* its length, as if it had gone out */
    n = writev(fd, iov, count);
    if (n > 0)
        follow_replied(&s->follow, iov);
    return n;
}

static const struct fuse_custom_io device_io = {.read = read_device, .writev = write_device};

static enum err_code open_fuse(struct session *s, struct err *e)
{
    char *argv[] = {(char[]){"weir"}, NULL};
    struct fuse_args args = FUSE_ARGS_INIT(1, argv);
    char mountpoint[32];

    fuse_set_log_func(library_log);
    s->fuse = fuse_session_new(&args, &session_ops, sizeof session_ops, s);
    fuse_opt_free_args(&args);
    if (!s->fuse)
        return err_set(e, ERR_NOMEM, "cannot make a FUSE session");
    /* The descriptor is mounted already; the library takes it over by this name. */
    snprintf(mountpoint, sizeof mountpoint, "/dev/fd/%d", s->cfg->dev_fuse_fd);
    if (fuse_session_mount(s->fuse, mountpoint) != 0)
        return err_set(e, ERR_IO, "descriptor %d is no FUSE device", s->cfg->dev_fuse_fd);
    if (fuse_session_custom_io(s->fuse, &device_io, fuse_session_fd(s->fuse)) != 0)
        return err_set(e, ERR_IO, "cannot look at what goes over the FUSE device");
    return follow_is_first(&s->follow) ? ERR_OK : session_replay_init(s, e);
}

/* ---- workers ---- */

static void log_reading(struct session *s)
{
    const char *why;

    if (!s->cfg->read_only)
        passthrough_probe(&s->passthrough, s->cfg->data_dir);
    why = passthrough_why_not(&s->passthrough);
    if (why)
        log_printf(LOG_INFO, "sealed files are read through the page cache: passthrough is %s",
                   why);
    else
        log_printf(LOG_INFO, "sealed files are read by kernel passthrough");
}

static void log_following(struct session *s)
{
    const char *why = s->cfg->anchor_fd >= 0 ? follow_why_not(&s->follow) : "not asked for";

    if (why)
        log_printf(LOG_INFO, "should this process die, the mount is made anew: resend is %s", why);
    else
        log_printf(LOG_INFO, "should this process die, the next one goes on with the mount");
}

/* Said once, after the reply to INIT was sent: from here on requests are answered. */
static void announce(struct session *s)
{
    if (!atomic_load(&s->initialised) || atomic_exchange(&s->announced, true))
        return;
    fs_raise_read_ahead(s->cfg->mount_dir, READ_AHEAD_KB);
    log_reading(s);
    log_following(s);
    if (s->cfg->ready_fd >= 0) {
        if (sys_write(s->cfg->ready_fd, "R", 1) != 1)
            log_write(LOG_WARN, "nobody waits for the mount to be ready", (char *)0);
        close(s->cfg->ready_fd);
    }
}

static _Thread_local struct fuse_buf request;

#define REQUEST_UNIQUE_AT 8

static uint64_t request_unique(void)
{
    return get_u64((const char *)request.mem + REQUEST_UNIQUE_AT);
}

uint64_t session_request(void)
{
    return request_unique() & ~FOLLOW_RESENT;
}

bool session_is_resent(void)
{
    return (request_unique() & FOLLOW_RESENT) != 0;
}

/* The next request is read into memory of its own (the library allocates it). */
void *session_take_request(void)
{
    void *memory = request.mem;

    request.mem = NULL;
    return memory;
}

static void *work(void *arg)
{
    struct session *s = arg;
    sigset_t nudge;

    sigemptyset(&nudge);
    sigaddset(&nudge, SIGNAL_NUDGE);
    pthread_sigmask(SIG_UNBLOCK, &nudge, NULL);
    while (!fuse_session_exited(s->fuse)) {
        int n = fuse_session_receive_buf(s->fuse, &request);
        if (n == -EINTR || n == -EAGAIN)
            continue;
        if (n <= 0)
            break;
        fuse_session_process_buf(s->fuse, &request);
        if (!atomic_load_explicit(&s->announced, memory_order_relaxed))
            announce(s);
    }
    free(request.mem);
    session_thread_done();
    kill(getpid(), SIGNAL_ENDED);
    return NULL;
}

static void ignore_signal(int number)
{
    (void)number;
}

static void prepare_signals(sigset_t *waited)
{
    struct sigaction nudge = {.sa_handler = ignore_signal}; /* no SA_RESTART: reads return */
    sigset_t all;

    sigemptyset(waited);
    sigaddset(waited, SIGTERM);
    sigaddset(waited, SIGNAL_ENDED);
    all = *waited;
    sigaddset(&all, SIGNAL_NUDGE);
    pthread_sigmask(SIG_BLOCK, &all, NULL);
    sigaction(SIGNAL_NUDGE, &nudge, NULL);
    signal(SIGPIPE, SIG_IGN);
}

static enum err_code start_workers(struct process *p, unsigned count, struct err *e)
{
    p->worker_count = 0;
    for (unsigned i = 0; i < count; i++) {
        int sys = pthread_create(&p->workers[i], NULL, work, &p->session);
        if (sys)
            return err_sys(e, sys, "start FUSE worker %u", i);
        p->worker_count++;
    }
    return ERR_OK;
}

/* A worker may be about to read the device when the flag is set: nudged until it has seen it. */
static void stop_workers(struct process *p)
{
    if (p->session.fuse)
        fuse_session_exit(p->session.fuse);
    for (unsigned i = 0; i < p->worker_count; i++) {
        const struct timespec pause = {.tv_nsec = NUDGE_MS * 1000000L};
        while (pthread_tryjoin_np(p->workers[i], NULL) != 0) {
            pthread_kill(p->workers[i], SIGNAL_NUDGE);
            nanosleep(&pause, NULL);
        }
    }
    p->worker_count = 0;
}

/* What the process before had not answered comes again.  Before this one has taken a request: those
 * would come a second time too. */
static enum err_code want_unanswered(struct session *s, struct err *e)
{
    if (follow_is_first(&s->follow))
        return ERR_OK;
    log_printf(LOG_INFO, "goes on with the mount of the process before");
    return follow_resend(fuse_session_fd(s->fuse), e);
}

/* ---- run ---- */

static enum err_code serve(struct process *p, const sigset_t *waited, struct err *e)
{
    unsigned count = p->worker_count;
    enum err_code rc = open_parts(p, e);
    int number = 0;

    p->worker_count = 0;
    if (!rc)
        rc = session_restore(&p->session, e);
    if (!rc)
        rc = open_fuse(&p->session, e);
    if (!rc)
        rc = open_control(p, e);
    if (!rc)
        rc = want_unanswered(&p->session, e);
    if (!rc)
        rc = start_workers(p, count, e);
    if (rc)
        return rc;
    if (!follow_is_first(&p->session.follow))
        announce(&p->session); /* no INIT will come that says it */
    while (sigwait(waited, &number) != 0)
        ;
    log_write(LOG_INFO, number == SIGNAL_ENDED ? "the mount was taken away" : "stopping",
              (char *)0);
    return ERR_OK;
}

static void close_all(struct process *p)
{
    struct session *s = &p->session;

    control_server_stop(p->control);
    door_close(s->door);
    notifier_stop(p->notifier);
    stop_workers(p);
    text_stop(s->text);
    sync_queue_stop(s->syncs);
    open_queue_stop(s->opens);
    open_parts_free(s->open_parts);
    snapshots_free(p->snapshots);
    sealed_close(s->sealed);
    session_close_inlet(s);
    journal_close(s->journal); /* the last deferred replies go out through the session */
    if (s->fuse)
        fuse_session_destroy(s->fuse);
    handles_free(s->handles);
    adopt_free(s->adopt);
    anchor_close(s->anchor);
    nodes_free(s->nodes);
    tree_free(s->tree);
    schema_free(s->schema);
    status_free(s->status);
    registry_free(s->registry);
    commits_done(&s->commits);
    cleanup_fd(&s->data_dir_fd);
    free(p->journal_dir);
    free(p->lost_found_dir);
    free(p->meta_dir);
    free(p->socket_path);
    free(p->engine_path);
    free(p->tmp_dir);
    free(p);
}

static unsigned clamp_workers(unsigned wanted)
{
    if (wanted < 1)
        return 1;
    return wanted > WORKERS_MAX ? WORKERS_MAX : wanted;
}

int fs_run(const struct fs_config *cfg)
{
    struct process *p = calloc(1, sizeof *p);
    struct err e = {0};
    sigset_t waited;
    int code = 0;

    if (!p) {
        log_write(LOG_ERROR, "no memory to start", (char *)0);
        return 1;
    }
    p->session.cfg = cfg;
    p->session.data_dir_fd = -1;
    p->worker_count = clamp_workers(cfg->threads);
    commits_init(&p->session.commits, p->worker_count);
    prepare_signals(&waited);
    if (chdir("/") != 0) /* never stand on the mount */
        log_write(LOG_WARN, "cannot leave the working directory", (char *)0);
    if (serve(p, &waited, &e)) {
        log_write(LOG_ERROR, "cannot serve the mount", "reason", e.msg, (char *)0);
        code = 1;
    }
    close_all(p);
    return code;
}

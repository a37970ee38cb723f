/* tools/supervisor.c - starts, watches, restarts and drains the processes of a node.
 *
 *   mount --> fs --+
 *        engine ---+--> gateway --> ready (said once all have been ready)
 *
 * A child that dies is started again, at once the first time and then with a growing pause; so is
 * one that cannot be started for the moment (no descriptors, no memory).  When fs dies:
 *
 *   the kernel resends, fs had been ready ──► the mount stays, another fs goes on with it
 *   three crashes in a row, or 64 kills,
 *   an older kernel, or not ready yet     ──► the mount is made anew: the kernel aborts what was in
 *                                             flight (ENOTCONN)
 *
 * An fs that was killed from outside is followed at once, for programs wait for it.
 * Either way the gateway's batches come again under the same ids.  A child that exits with
 * EXIT_CONFIG ends the node, and so do START_TRIES_MAX failures before it has been ready once.
 * On SIGTERM: gateway first (it drains), then engine, then the mount, then fs.
 * A mount without a node is the same without a gateway.
 */
#include "tools/supervisor.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/prctl.h>
#include <sys/signalfd.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/clock.h"
#include "base/log.h"
#include "base/sys.h"
#include "fs/anchor.h"
#include "fs/fs.h"
#include "tools/command.h"
#include "tools/notify.h"

#define BACKOFF_MIN_MS 100
#define BACKOFF_MAX_MS 5000
#define STEADY_MS 10000 /* a child that lived so long starts again without a pause */
/* What ends one fs after the other may be a request that comes again: a crash, or for the memory
 * that it takes a kill, which may as well come from a person. */
#define STRIKES_MAX 192
#define STRIKE_OF_CRASH 64
#define STRIKE_OF_KILL 3
#define START_TRIES_MAX 5   /* processes that may give up before the node has been ready once */
#define STOP_EXTRA_MS 20000 /* past the drain time a stopping child is killed */
#define STALE_WAIT_MS 5000
#define STALE_POLL_MS 20

enum child_id { CHILD_FS, CHILD_ENGINE, CHILD_GATEWAY, CHILD_COUNT };

static const char *const child_names[CHILD_COUNT] = {
    [CHILD_FS] = "fs", [CHILD_ENGINE] = "engine", [CHILD_GATEWAY] = "gateway"};

struct child {
    pid_t pid;    /* 0: not running */
    int ready_fd; /* read end of its ready pipe; -1 once it has spoken */
    bool was_ready;
    uint64_t started_ms;
    uint64_t start_at_ms; /* when not running: when to start again */
    uint64_t backoff_ms;
};

struct supervisor {
    const struct node *node;
    enum supervised what;
    int count; /* of the children, in order of their ids: only a node has a gateway */
    struct child children[CHILD_COUNT];
    int signal_fd, lock_fd, fuse_fd;
    int anchor_fd;    /* of the mount of fuse_fd: what outlives its fs process */
    unsigned strikes; /* for fs processes in a row that this mount may have ended */
    bool has_place;   /* the data directory and the mount point are ours */
    bool node_died;   /* for the first fs only: nobody says how the last run ended */
    bool said_ready;
    unsigned failed_starts; /* before said_ready */
    bool stopping;
    bool draining; /* the others finish what they began: fs is still needed */
    int exit_code;
    uint64_t began_ms;
};

/* In the child, between fork and exec. */
static void become_child(const struct supervisor *s, enum child_id id, int ready_fd, pid_t parent)
{
    char ready_text[16], fuse_text[16], anchor_text[16];
    const char *argv[14] = {"weir", child_names[id], "--ready-fd", ready_text};
    int argc = 4;
    sigset_t none;

    prctl(PR_SET_PDEATHSIG, SIGKILL);
    if (getppid() != parent)
        _exit(1); /* the supervisor died before the line above */
    sigemptyset(&none);
    sigprocmask(SIG_SETMASK, &none, NULL);
    signal(SIGPIPE, SIG_DFL);
    /* Ctrl-C reaches the whole process group; the supervisor alone decides when to stop. */
    signal(SIGINT, SIG_IGN);
    signal(SIGHUP, SIG_IGN);
    /* Descriptors are close-on-exec; only what this child owns is passed on. */
    fcntl(ready_fd, F_SETFD, 0);
    snprintf(ready_text, sizeof ready_text, "%d", ready_fd);
    if (id == CHILD_FS) {
        fcntl(s->fuse_fd, F_SETFD, 0);
        snprintf(fuse_text, sizeof fuse_text, "%d", s->fuse_fd);
        argv[argc++] = "--fuse-fd";
        argv[argc++] = fuse_text;
        fcntl(s->anchor_fd, F_SETFD, 0);
        snprintf(anchor_text, sizeof anchor_text, "%d", s->anchor_fd);
        argv[argc++] = "--anchor-fd";
        argv[argc++] = anchor_text;
        if (s->node_died)
            argv[argc++] = "--node-died";
        else if (s->what == SUPERVISE_NODE)
            argv[argc++] = "--snapshots-live";
        if (s->what == SUPERVISE_READ_ONLY)
            argv[argc++] = "--read-only";
        if (s->what != SUPERVISE_NODE)
            argv[argc++] = "--no-gateway";
    }
    if (s->node->scratch_dir) {
        argv[argc++] = "--scratch";
        argv[argc++] = s->node->scratch_dir;
    }
    argv[argc] = NULL;
    execv("/proc/self/exe", (char *const *)(uintptr_t)argv);
    _exit(127);
}

static enum err_code start_child(struct supervisor *s, enum child_id id, struct err *e)
{
    struct child *c = &s->children[id];
    pid_t parent = getpid(), pid;
    int ready[2];

    if (pipe2(ready, O_CLOEXEC) != 0)
        return err_sys(e, errno, "pipe for %s", child_names[id]);
    pid = fork();
    if (pid < 0) {
        int saved = errno;
        close(ready[0]);
        close(ready[1]);
        return err_sys(e, saved, "start %s", child_names[id]);
    }
    if (pid == 0)
        become_child(s, id, ready[1], parent);
    close(ready[1]);
    c->pid = pid;
    c->ready_fd = ready[0];
    c->started_ms = clock_mono_ms();
    c->start_at_ms = 0;
    return ERR_OK;
}

/* Closing the descriptor that the dead fs shared with us aborts what the kernel still waits for. */
static void drop_mount(struct supervisor *s)
{
    struct err e;

    cleanup_fd(&s->fuse_fd);
    cleanup_fd(&s->anchor_fd);
    s->fuse_fd = s->anchor_fd = -1;
    s->strikes = 0;
    if (!s->has_place)
        return; /* it is the mount of another */
    if (fs_unmount(s->node->mount_dir, &e))
        log_write(LOG_WARN, "unmount failed", "mount", s->node->mount_dir, "reason", e.msg,
                  (char *)0);
}

const char *mount_advice(const struct err *e)
{
    if (access("/dev/fuse", F_OK) != 0)
        return "load the kernel's fuse module; a container needs --device /dev/fuse";
    if (access("/dev/fuse", R_OK | W_OK) != 0)
        return "sudo chmod 666 /dev/fuse opens it to all users, as udev does";
    if (geteuid() == 0 && e->sys == EPERM)
        return "a mount needs CAP_SYS_ADMIN; a container needs --cap-add SYS_ADMIN";
    return NULL;
}

/* Says what to do when this machine makes a mount impossible. */
static enum err_code advise_on_mount(struct err *e)
{
    struct err why = *e;
    const char *advice = mount_advice(e);

    return advice ? err_set(e, ERR_INVALID, "%s (%s)", why.msg, advice) : e->code;
}

static enum err_code make_mount(struct supervisor *s, struct err *e)
{
    struct fs_mount_options o = {.mount_dir = s->node->mount_dir,
                                 .owner_uid = s->node->owner_uid,
                                 .owner_gid = s->node->owner_gid};
    struct fs_mount_report report = {0};
    enum err_code rc = anchor_create(&s->anchor_fd, e);

    if (rc)
        return rc;
    rc = fs_mount(&o, &s->fuse_fd, &report, e);
    if (rc) {
        cleanup_fd(&s->anchor_fd);
        s->anchor_fd = -1;
        return advise_on_mount(e);
    }
    log_write(LOG_INFO, "mounted", "mount", o.mount_dir, "privileged",
              report.privileged ? "yes" : "no", "allow_other", report.allow_other ? "yes" : "no",
              (char *)0);
    if (report.note[0])
        log_write(LOG_WARN, report.note, (char *)0);
    return ERR_OK;
}

static void plan_restart(struct child *c)
{
    uint64_t now = clock_mono_ms();

    if (now - c->started_ms >= STEADY_MS)
        c->backoff_ms = 0;
    c->start_at_ms = now + c->backoff_ms;
    c->backoff_ms = c->backoff_ms ? c->backoff_ms * 2 : BACKOFF_MIN_MS;
    if (c->backoff_ms > BACKOFF_MAX_MS)
        c->backoff_ms = BACKOFF_MAX_MS;
}

/* Nobody answers on the mount now.  Does the next fs go on with it? */
static void fs_ended(struct supervisor *s, int status)
{
    struct child *c = &s->children[CHILD_FS];
    bool was_killed = WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL;
    bool was_steady = clock_mono_ms() - c->started_ms >= STEADY_MS;

    if (c->was_ready && was_steady)
        s->strikes = 0;
    s->strikes += c->was_ready && was_killed ? STRIKE_OF_KILL : STRIKE_OF_CRASH;
    if (c->was_ready && was_killed && s->strikes <= STRIKES_MAX / 2)
        c->backoff_ms = 0;
    if (s->strikes >= STRIKES_MAX || !anchor_was_answered(s->anchor_fd))
        drop_mount(s); /* else who waits for it waits for ever */
    s->node_died = s->node_died && (!c->was_ready || s->what == SUPERVISE_READ_ONLY);
}

static void child_ended(struct supervisor *s, enum child_id id, int status)
{
    struct child *c = &s->children[id];
    char how[48];

    if (WIFSIGNALED(status))
        snprintf(how, sizeof how, "signal %d", WTERMSIG(status));
    else
        snprintf(how, sizeof how, "exit code %d", WEXITSTATUS(status));
    c->pid = 0;
    if (c->ready_fd >= 0)
        close(c->ready_fd);
    c->ready_fd = -1;
    if (id == CHILD_FS)
        fs_ended(s, status);
    if (s->stopping && !(id == CHILD_FS && s->draining))
        return;
    if (WIFEXITED(status) && WEXITSTATUS(status) == EXIT_CONFIG) {
        s->exit_code = EXIT_CONFIG;
        s->stopping = true;
        return;
    }
    /* Unmounted by hand: a node needs its mount, else that is all there is to stop. */
    if (s->what != SUPERVISE_NODE && id == CHILD_FS && WIFEXITED(status) &&
        WEXITSTATUS(status) == 0) {
        s->stopping = true;
        return;
    }
    if (!s->said_ready && WIFEXITED(status) && ++s->failed_starts >= START_TRIES_MAX) {
        log_write(LOG_ERROR, "cannot run: a process fails at every start, for the reason above",
                  "process", child_names[id], (char *)0);
        s->exit_code = 1;
        s->stopping = true;
        return;
    }
    log_write(LOG_ERROR, "a process ended and is started again", "process", child_names[id], "how",
              how, (char *)0);
    notify_manager("STATUS=%s ended (%s) and is started again", child_names[id], how);
    c->was_ready = false;
    plan_restart(c);
}

static void reap(struct supervisor *s)
{
    int status;

    for (pid_t pid; (pid = waitpid(-1, &status, WNOHANG)) > 0;) {
        for (int i = 0; i < s->count; i++) {
            if (s->children[i].pid == pid)
                child_ended(s, (enum child_id)i, status);
        }
    }
}

static enum err_code start_one(struct supervisor *s, enum child_id id, struct err *e)
{
    enum err_code rc = ERR_OK;

    if (id == CHILD_FS && s->fuse_fd < 0)
        rc = make_mount(s, e);
    return rc ? rc : start_child(s, id, e);
}

/* On a node that has been ready, what cannot be started now is tried again: the others go on. */
static enum err_code start_due(struct supervisor *s, struct err *e)
{
    uint64_t now = clock_mono_ms();

    for (int i = 0; i < s->count; i++) {
        struct child *c = &s->children[i];
        enum err_code rc = ERR_OK;
        if (c->pid || c->start_at_ms > now)
            continue;
        rc = start_one(s, (enum child_id)i, e);
        if (rc && !s->said_ready)
            return rc;
        if (rc) {
            log_write(LOG_ERROR, "a process cannot be started and is tried again", "process",
                      child_names[i], "reason", e->msg, (char *)0);
            c->started_ms = now;
            plan_restart(c);
        }
    }
    return ERR_OK;
}

static void say_ready(struct supervisor *s)
{
    char took[24], port[8];

    for (int i = 0; i < s->count; i++) {
        if (!s->children[i].was_ready)
            return;
    }
    notify_manager("READY=1\nSTATUS=running, mount %s", s->node->mount_dir);
    if (s->said_ready)
        return;
    s->said_ready = true;
    snprintf(took, sizeof took, "%llu", (unsigned long long)(clock_mono_ms() - s->began_ms));
    snprintf(port, sizeof port, "%hu",
             (unsigned short)settings_i64(s->node->settings, SET_HTTP_PORT));
    log_write(LOG_INFO, "ready", "mount", s->node->mount_dir, "took_ms", took,
              s->what == SUPERVISE_NODE ? "port" : (char *)0, port, (char *)0);
}

static void read_ready(struct supervisor *s, enum child_id id)
{
    struct child *c = &s->children[id];
    char byte;
    ssize_t n = sys_read(c->ready_fd, &byte, 1);

    close(c->ready_fd);
    c->ready_fd = -1;
    if (n != 1)
        return; /* it ended; SIGCHLD tells the rest */
    c->was_ready = true;
    /* What a recovery has not written down is to be recovered again. */
    if (id == CHILD_FS)
        s->node_died = s->what == SUPERVISE_READ_ONLY;
    say_ready(s);
}

/* How long poll may sleep: until the next planned start. */
static int poll_timeout(const struct supervisor *s)
{
    uint64_t now = clock_mono_ms(), best = UINT64_MAX;

    for (int i = 0; i < s->count; i++) {
        const struct child *c = &s->children[i];
        if (!c->pid && c->start_at_ms < best)
            best = c->start_at_ms;
    }
    if (best == UINT64_MAX)
        return -1;
    return best <= now ? 0 : (int)(best - now);
}

static void read_signals(struct supervisor *s)
{
    struct signalfd_siginfo info;

    while (sys_read(s->signal_fd, &info, sizeof info) == (ssize_t)sizeof info) {
        if (info.ssi_signo != SIGCHLD)
            s->stopping = true;
    }
    reap(s);
}

/* Waits for signals, ready bytes or the given time. */
static void wait_events(struct supervisor *s, int timeout_ms)
{
    struct pollfd fds[1 + CHILD_COUNT] = {{.fd = s->signal_fd, .events = POLLIN}};

    for (int i = 0; i < s->count; i++)
        fds[1 + i] = (struct pollfd){.fd = s->children[i].ready_fd, .events = POLLIN};
    if (poll(fds, 1 + (nfds_t)s->count, timeout_ms) <= 0)
        return;
    for (int i = 0; i < s->count; i++) {
        if (fds[1 + i].revents && s->children[i].ready_fd >= 0)
            read_ready(s, (enum child_id)i);
    }
    if (fds[0].revents)
        read_signals(s);
}

/* What is drained may wait for an fs that died.  One that cannot be started is not waited for. */
static void keep_fs(struct supervisor *s)
{
    const struct child *fs = &s->children[CHILD_FS];
    struct err e;

    if (!s->draining || fs->pid || fs->start_at_ms > clock_mono_ms())
        return;
    s->draining = s->exit_code == 0 && start_one(s, CHILD_FS, &e) == ERR_OK;
    if (!s->draining)
        drop_mount(s);
}

static void stop_child(struct supervisor *s, enum child_id id, uint64_t wait_ms)
{
    struct child *c = &s->children[id];
    uint64_t deadline = clock_mono_ms() + wait_ms;

    if (!c->pid)
        return;
    kill(c->pid, SIGTERM);
    while (c->pid && clock_mono_ms() < deadline) {
        keep_fs(s);
        wait_events(s, 50);
    }
    if (!c->pid)
        return;
    log_write(LOG_WARN, "a process did not stop in time and is killed", "process", child_names[id],
              (char *)0);
    kill(c->pid, SIGKILL);
    while (c->pid) {
        keep_fs(s); /* a killed process still waits for what the mount owes it */
        wait_events(s, 50);
    }
}

static void stop_all(struct supervisor *s)
{
    uint64_t drain_ms = (uint64_t)settings_i64(s->node->settings, SET_HTTP_SHUTDOWN_TIMEOUT);

    s->stopping = true;
    notify_manager("STOPPING=1\nSTATUS=draining");
    s->draining = true;
    stop_child(s, CHILD_GATEWAY, drain_ms + STOP_EXTRA_MS);
    stop_child(s, CHILD_ENGINE, STOP_EXTRA_MS);
    s->draining = false;
    stop_child(s, CHILD_FS, STOP_EXTRA_MS);
    drop_mount(s);
}

static enum err_code open_signals(struct supervisor *s, struct err *e)
{
    struct sigaction hangup;
    sigset_t set;

    sigemptyset(&set);
    sigaddset(&set, SIGTERM);
    sigaddset(&set, SIGINT);
    sigaddset(&set, SIGCHLD);
    /* A terminal that is closed must not leave a dead mount behind; nohup is heeded. */
    if (sigaction(SIGHUP, NULL, &hangup) == 0 && hangup.sa_handler != SIG_IGN)
        sigaddset(&set, SIGHUP);
    sigprocmask(SIG_BLOCK, &set, NULL);
    signal(SIGPIPE, SIG_IGN);
    s->signal_fd = signalfd(-1, &set, SFD_CLOEXEC | SFD_NONBLOCK);
    return s->signal_fd < 0 ? err_sys(e, errno, "signalfd") : ERR_OK;
}

/* A killed node's fs may need a moment to die: its mount answers until then. */
static enum err_code refuse_living_mount(const struct node *n, struct err *e)
{
    uint64_t deadline = clock_mono_ms() + STALE_WAIT_MS;

    while (fs_mount_answers(n->mount_dir, STALE_WAIT_MS)) {
        if (clock_mono_ms() >= deadline)
            return err_set(e, ERR_EXISTS, "%s shows another data directory; stop that one first",
                           n->mount_dir);
        nanosleep(&(struct timespec){.tv_nsec = STALE_POLL_MS * 1000000L}, NULL);
    }
    return ERR_OK;
}

static enum err_code take_place(struct supervisor *s, struct err *e)
{
    bool is_read_only = s->what == SUPERVISE_READ_ONLY;
    enum err_code rc = is_read_only ? node_check_places(s->node, e) : node_make_dirs(s->node, e);

    if (!rc)
        rc = is_read_only ? node_lock_unchanged(s->node, &s->lock_fd, e)
                          : node_lock(s->node, &s->lock_fd, e);
    if (!rc)
        rc = refuse_living_mount(s->node, e);
    if (!rc)
        rc = node_check_mount_dir(s->node, e);
    s->has_place = !rc;
    return rc;
}

static enum err_code run(struct supervisor *s, struct err *e)
{
    enum err_code rc = open_signals(s, e);

    if (!rc)
        rc = take_place(s, e);
    while (!rc && !s->stopping) {
        rc = start_due(s, e);
        if (!rc)
            wait_events(s, poll_timeout(s));
    }
    stop_all(s);
    return rc;
}

int supervise(const struct node *n, enum supervised what)
{
    struct supervisor s = {.node = n,
                           .what = what,
                           .count = what == SUPERVISE_NODE ? CHILD_COUNT : CHILD_GATEWAY,
                           .signal_fd = -1,
                           .lock_fd = -1,
                           .fuse_fd = -1,
                           .anchor_fd = -1,
                           .node_died = true,
                           .began_ms = clock_mono_ms()};
    struct err e;

    for (int i = 0; i < CHILD_COUNT; i++)
        s.children[i].ready_fd = -1;
    if (run(&s, &e)) {
        log_write(LOG_ERROR, "cannot run", "reason", e.msg, (char *)0);
        s.exit_code = e.code == ERR_INVALID || e.code == ERR_EXISTS ? EXIT_CONFIG : 1;
    }
    if (s.signal_fd >= 0)
        close(s.signal_fd);
    if (s.lock_fd >= 0)
        close(s.lock_fd);
    log_write(LOG_INFO, "stopped", (char *)0);
    return s.exit_code;
}

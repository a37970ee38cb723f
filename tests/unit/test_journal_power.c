// links: weir_fs weir_index
/* tests/unit/test_journal_power.c - the power is cut before the n-th write or sync, for every n.
 *
 * This program has its own pwrite, fdatasync, fsync, rename and unlink.  They keep what each write
 * has overwritten until a sync of that file.  At the cut they stop to do anything; then the writes
 * that were not synced are undone: all of them, or any sectors of them, as a disk may.
 */
#include "base/clock.h"
#include "tests/support/journal_fixture.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <sched.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/uio.h>

enum {
    HOUR = 100,
    SECTOR = 512,
    CUTS_MAX = 3000,
    BATCHES = 12,
    LINE_BYTES = 700,
    LINES = 11,
    FREED_WITHIN_MS = 20000,
    CYCLES = 40, /* of a batch with its publication */
    PARTS_MAX = 2 * CYCLES
};

struct undo {
    struct undo *next; /* newest first */
    char path[PATH_MAX];
    ino_t inode;
    off_t at;
    size_t len;
    char old[];
};

static pthread_mutex_t disk_lock = PTHREAD_MUTEX_INITIALIZER;
static struct undo *undo_list;
static int calls_left; /* before the cut */
static bool is_cut;

static bool cut_now(void)
{
    if (!is_cut && calls_left-- == 0)
        is_cut = true;
    errno = EIO;
    return is_cut;
}

static bool power_is_off(void)
{
    pthread_mutex_lock(&disk_lock);
    bool off = is_cut;
    pthread_mutex_unlock(&disk_lock);
    return off;
}

static void remember(int fd, size_t n, off_t at)
{
    struct undo *u = malloc(sizeof *u + n);
    struct stat st;
    char link[64];
    snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
    ssize_t len = readlink(link, u->path, sizeof u->path - 1);
    u->path[len > 0 ? len : 0] = '\0';
    fstat(fd, &st);
    u->inode = st.st_ino;
    u->at = at;
    memset(u->old, 0, n);
    ssize_t got = syscall(SYS_pread64, fd, u->old, n, at);
    u->len = got >= 0 ? n : 0;
    u->next = undo_list;
    undo_list = u;
}

ssize_t pwrite(int fd, const void *p, size_t n, off_t at)
{
    ssize_t put = -1;
    pthread_mutex_lock(&disk_lock);
    if (!cut_now()) {
        remember(fd, n, at);
        put = syscall(SYS_pwrite64, fd, p, n, at);
    }
    pthread_mutex_unlock(&disk_lock);
    return put;
}

static int sync_file(int fd)
{
    struct stat st;
    int rc = -1;
    pthread_mutex_lock(&disk_lock);
    if (!cut_now()) {
        fstat(fd, &st);
        for (struct undo **u = &undo_list; *u;) {
            struct undo *entry = *u;
            if (entry->inode == st.st_ino) {
                *u = entry->next;
                free(entry);
            } else {
                u = &entry->next;
            }
        }
        rc = 0;
    }
    pthread_mutex_unlock(&disk_lock);
    return rc;
}

int fdatasync(int fd)
{
    return sync_file(fd);
}

int fsync(int fd)
{
    return sync_file(fd);
}

int unlink(const char *path)
{
    pthread_mutex_lock(&disk_lock);
    int rc = cut_now() ? -1 : (int)syscall(SYS_unlink, path);
    pthread_mutex_unlock(&disk_lock);
    return rc;
}

int rename(const char *from, const char *to)
{
    pthread_mutex_lock(&disk_lock);
    int rc = cut_now() ? -1 : (int)syscall(SYS_renameat2, AT_FDCWD, from, AT_FDCWD, to, 0);
    for (struct undo *u = undo_list; rc == 0 && u; u = u->next) {
        if (strcmp(u->path, from) == 0)
            snprintf(u->path, sizeof u->path, "%s", to);
    }
    pthread_mutex_unlock(&disk_lock);
    return rc;
}

/* ---- the cut ---- */

enum loss { LOSE_ALL, LOSE_ANY_SECTORS, LOSE_HALF_OF_EACH, LOSS_COUNT };

static bool is_lost(enum loss loss, size_t sector, size_t sectors)
{
    if (loss == LOSE_ANY_SECTORS)
        return rand() % 2;
    return loss == LOSE_ALL || sector >= sectors / 2;
}

static void undo_one(const struct undo *u, enum loss loss)
{
    AUTO_FD int fd = open(u->path, O_WRONLY | O_CLOEXEC);
    if (fd < 0)
        return;
    size_t sectors = (u->len + SECTOR - 1) / SECTOR;
    for (size_t done = 0, i = 0; done < u->len; i++) {
        size_t in_sector = SECTOR - (size_t)((u->at + (off_t)done) % SECTOR);
        size_t n = u->len - done < in_sector ? u->len - done : in_sector;
        if (is_lost(loss, i, sectors))
            syscall(SYS_pwrite64, fd, u->old + done, n, u->at + (off_t)done);
        done += n;
    }
}

static void power_on(enum loss loss)
{
    while (undo_list) {
        struct undo *next = undo_list->next;
        if (is_cut)
            undo_one(undo_list, loss);
        free(undo_list);
        undo_list = next;
    }
    is_cut = false;
    calls_left = INT_MAX;
}

/* ---- what is written ---- */

/* Batch n: LINES lines "nn kk xxx…", in two parts when n is a multiple of 3. */
static char *batch_text(unsigned n)
{
    char *text = malloc(LINES * LINE_BYTES + 1);
    for (unsigned k = 0; k < LINES; k++) {
        char *line = text + k * LINE_BYTES;
        memset(line, 'a' + (int)n, LINE_BYTES);
        char head[16];
        int len = snprintf(head, sizeof head, "%02u %02u ", n, k);
        memcpy(line, head, (size_t)len);
        line[LINE_BYTES - 1] = '\n';
    }
    text[LINES * LINE_BYTES] = '\0';
    return text;
}

static enum err_code append_batch(struct fixture *f, unsigned n)
{
    AUTO_FREE char *text = batch_text(n);
    if (n % 3)
        return append_text(f, 0, n, 1, HOUR, text);
    AUTO_FREE char *second = strdup(text + 4 * LINE_BYTES);
    text[4 * LINE_BYTES] = '\0';
    enum err_code code = append_one_part(f, 0, n, 0, false, text);
    return code ? code : append_one_part(f, 0, n, 1, true, second);
}

static void run(struct fixture *f, bool acked[BATCHES + 1])
{
    struct err e = {0};
    if (journal_open(&f->cfg, &f->j, &f->found, &e))
        return;
    if (journal_epoch(f->j, 0, &f->epoch, &e) == ERR_OK) {
        for (unsigned n = 1; n <= BATCHES; n++)
            acked[n] = append_batch(f, n) == ERR_OK;
    }
    journal_close(f->j);
    f->j = NULL;
}

/* ---- what must be there ---- */

static void count_lines(const char *text, unsigned seen[BATCHES + 1][LINES])
{
    for (const char *p = text; p && *p; p += LINE_BYTES) {
        unsigned n, k;
        assert_int_equal(sscanf(p, "%u %u ", &n, &k), 2);
        assert_in_range(n, 1, BATCHES);
        assert_in_range(k, 0, LINES - 1);
        AUTO_FREE char *want = batch_text(n);
        assert_memory_equal(p, want + k * LINE_BYTES, LINE_BYTES);
        seen[n][k]++;
    }
}

static void check(struct fixture *f, const bool acked[BATCHES + 1], int cut, enum loss loss)
{
    unsigned seen[BATCHES + 1][LINES] = {{0}};
    struct shown s = shown_of(f, 1, HOUR);
    count_lines(s.text.data, seen);
    buf_done(&s.text);
    for (unsigned n = 1; n <= BATCHES; n++) {
        for (unsigned k = 0; k < LINES; k++) {
            if (seen[n][k] > 1 || (acked[n] && seen[n][k] == 0))
                fail_msg("cut %d, loss %d: line %u of batch %u is there %u times", cut, (int)loss,
                         k, n, seen[n][k]);
        }
    }
}

static bool cut_once(struct fixture *f, int cut, enum loss loss)
{
    bool acked[BATCHES + 1] = {false};
    struct err e = {0};
    fixture_remove_tree(f->dir);
    fixture_remove_tree(f->lost);
    calls_left = cut;
    run(f, acked);
    bool was_cut = is_cut;
    power_on(loss);
    for (int again = 0; again < 2; again++) {
        fixture_open(f);
        assert_int_equal(f->found.mend.code, ERR_OK);
        assert_int_equal(f->found.corrupt_frames, 0);
        check(f, acked, cut, loss);
        assert_int_equal(journal_epoch(f->j, 0, &f->epoch, &e), ERR_OK);
        assert_int_equal(append_text(f, 0, 1, 2, HOUR + again, "well again\n"), ERR_OK);
        journal_close(f->j);
        f->j = NULL;
    }
    power_on(LOSE_ALL);
    return was_cut;
}

static void cut_everywhere(struct fixture *f, enum loss loss)
{
    f->cfg.segment_bytes = 64 << 10;
    f->cfg.node_died = true;
    srand(7);
    for (int cut = 0; cut < CUTS_MAX; cut++) {
        if (!cut_once(f, cut, loss))
            return;
    }
    fail_msg("the power was cut %d times and it never passed", CUTS_MAX);
}

static void a_power_cut_may_lose_all_that_is_not_synced(void **state)
{
    cut_everywhere(*state, LOSE_ALL);
}

static void a_power_cut_may_lose_any_sectors_that_are_not_synced(void **state)
{
    cut_everywhere(*state, LOSE_ANY_SECTORS);
}

static void a_power_cut_may_tear_each_write(void **state)
{
    cut_everywhere(*state, LOSE_HALF_OF_EACH);
}

/* ---- with publications ---- */

struct part_of {
    struct ulid id;
    unsigned batch;
    bool is_covered;
};

/* An index that keeps what is covered. */
struct index {
    struct part_of parts[PARTS_MAX];
    size_t count;
    uint64_t covered;
    bool acked[CYCLES + 1], slow_acked[CYCLES + 1];
    struct journal_stats stats;
};

static void index_add(struct index *x, const struct ulid *id, unsigned batch)
{
    for (size_t i = 0; i < x->count; i++) {
        if (ulid_cmp(&x->parts[i].id, id) == 0)
            return;
    }
    assert_true(x->count < PARTS_MAX);
    x->parts[x->count++] = (struct part_of){.id = *id, .batch = batch};
}

static void index_cover(struct fixture *f, struct index *x, uint64_t position)
{
    if (position <= x->covered)
        return;
    for (size_t i = 0; i < x->count; i++)
        x->parts[i].is_covered = true;
    x->covered = position;
    journal_covered(f->j, position);
}

static void index_lose_uncovered(struct index *x)
{
    size_t kept = 0;
    for (size_t i = 0; i < x->count; i++) {
        if (x->parts[i].is_covered)
            x->parts[kept++] = x->parts[i];
    }
    x->count = kept;
}

static enum err_code on_published(const struct journal_publish *p, uint64_t position, void *ctx,
                                  struct err *e)
{
    unsigned batch;
    (void)position;
    (void)e;
    assert_int_equal(p->record.len, sizeof batch);
    memcpy(&batch, p->record.ptr, sizeof batch);
    index_add(ctx, &p->part, batch);
    return ERR_OK;
}

static bool take_fast(const struct journal_file *file, void *ctx)
{
    if (file->stream == 1)
        *(struct journal_file *)ctx = *file;
    return file->stream != 1;
}

static void publish_batch(struct fixture *f, struct index *x, unsigned n)
{
    struct journal_file file = {0};
    struct journal_publish p = {.part = ulid_new(),
                                .files = &file.id,
                                .file_count = 1,
                                .record = {(const char *)&n, sizeof n}};
    struct err e;
    uint64_t position;
    journal_file_list(f->j, take_fast, &file);
    if (file.rows == 0 || journal_roll_file(f->j, &file.id, &file, &e) ||
        journal_publish(f->j, &p, &position, &e))
        return;
    index_add(x, &p.part, n);
    if (n % 3 != 0)
        index_cover(f, x, position);
}

/* A thread of the journal's own frees; while there is power it gets to it. */
static void wait_for_freeing(struct journal *j, struct journal_stats *stats)
{
    uint64_t deadline_ms = clock_mono_ms() + FREED_WITHIN_MS;
    do {
        sched_yield();
        journal_stats(j, stats);
    } while (stats->freed_segments == 0 && !power_is_off() && clock_mono_ms() < deadline_ms);
}

static void run_cycles(struct fixture *f, struct index *x)
{
    struct err e;
    if (journal_open(&f->cfg, &f->j, &f->found, &e))
        return;
    if (journal_epoch(f->j, 0, &f->epoch, &e) == ERR_OK) {
        for (unsigned n = 1; n <= CYCLES && !power_is_off(); n++) {
            char line[16];
            AUTO_FREE char *text = batch_text(n);
            snprintf(line, sizeof line, "slow %02u\n", n);
            if (n % 6 == 1)
                x->slow_acked[n] = append_text(f, 1, n, 2, HOUR, line) == ERR_OK;
            x->acked[n] = append_text(f, 0, n, 1, HOUR, text) == ERR_OK;
            if (x->acked[n])
                publish_batch(f, x, n);
        }
    }
    wait_for_freeing(f->j, &x->stats);
    journal_close(f->j);
    f->j = NULL;
}

static void check_cycles(struct fixture *f, const struct index *x, int cut)
{
    unsigned seen[CYCLES + 1][LINES] = {{0}}, slow[CYCLES + 1] = {0}, n, k;
    struct shown s = shown_of(f, 1, HOUR), t = shown_of(f, 2, HOUR);
    for (const char *p = s.text.data; p && *p; p += LINE_BYTES) {
        assert_int_equal(sscanf(p, "%u %u ", &n, &k), 2);
        seen[n][k]++;
    }
    for (const char *p = t.text.data; p && *p; p += 8) {
        assert_int_equal(sscanf(p, "slow %u\n", &n), 1);
        slow[n]++;
    }
    for (size_t i = 0; i < x->count; i++) {
        for (k = 0; k < LINES; k++)
            seen[x->parts[i].batch][k]++;
    }
    for (n = 1; n <= CYCLES; n++) {
        if (slow[n] > 1 || slow[n] < x->slow_acked[n])
            fail_msg("cut %d: slow line %u is there %u times", cut, n, slow[n]);
        for (k = 0; k < LINES; k++) {
            if (seen[n][k] > 1 || seen[n][k] < x->acked[n])
                fail_msg("cut %d: line %u of batch %u is there %u times", cut, k, n, seen[n][k]);
        }
    }
    buf_done(&s.text);
    buf_done(&t.text);
}

static bool cut_a_cycle(struct fixture *f, int cut, enum loss loss)
{
    struct index x = {.count = 0};
    fixture_remove_tree(f->dir);
    fixture_remove_tree(f->lost);
    f->cfg.on_published = on_published;
    f->cfg.ctx = &x;
    f->cfg.covered = 0;
    calls_left = cut;
    run_cycles(f, &x);
    bool was_cut = is_cut;
    assert_true(was_cut || x.stats.freed_segments > 0);
    power_on(loss);
    index_lose_uncovered(&x);
    f->cfg.covered = x.covered;
    for (int again = 0; again < 2; again++) {
        fixture_open(f);
        assert_int_equal(f->found.mend.code, ERR_OK);
        assert_int_equal(f->found.corrupt_frames, 0);
        check_cycles(f, &x, cut);
        journal_close(f->j);
        f->j = NULL;
    }
    power_on(LOSE_ALL);
    return was_cut;
}

static void a_power_cut_leaves_rows_in_the_journal_or_in_a_part(void **state)
{
    struct fixture *f = *state;
    f->cfg.segment_bytes = 64 << 10;
    f->cfg.max_bytes = 5 * f->cfg.segment_bytes;
    f->cfg.node_died = true;
    srand(11);
    for (int cut = 0; cut < CUTS_MAX; cut += 1 + cut % 3) {
        if (!cut_a_cycle(f, cut, cut % LOSS_COUNT))
            return;
    }
    fail_msg("the power was cut %d times and it never passed", CUTS_MAX);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, fixture_make, fixture_remove)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(a_power_cut_may_lose_all_that_is_not_synced),
        TEST(a_power_cut_may_lose_any_sectors_that_are_not_synced),
        TEST(a_power_cut_may_tear_each_write),
        TEST(a_power_cut_leaves_rows_in_the_journal_or_in_a_part),
    };
    calls_left = INT_MAX;
    return cmocka_run_group_tests(tests, NULL, NULL);
}

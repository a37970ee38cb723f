/* tests/support/ingest_node.h - ingest with a real catalog, and plain files in the place of commit
 * files. */
#ifndef WEIR_TESTS_SUPPORT_INGEST_NODE_H
#define WEIR_TESTS_SUPPORT_INGEST_NODE_H

#include "tests/support/commit_files.h"

#include "base/clock.h"
#include "gateway/ingest.h"

#define NOW INT64_C(1795387861799233)
#define TS "{\"_timestamp\":1795387861799233"

struct node {
    struct commit_dir dir;
    struct meta *meta;
    struct catalog *catalog;
    struct commit_pool *commits;
    struct ingest *in;
};

static inline void node_open(struct node *n)
{
    char path[128];
    struct err e;
    clock_set_test_wall_us(NOW);
    commit_dir_make(&n->dir, 1);
    snprintf(path, sizeof path, "%s/meta", n->dir.path);
    if (meta_open(path, KV_OWNER, &n->meta, &e))
        fail_msg("%s", e.msg);
    assert_int_equal(catalog_open(n->meta, 64 << 20, &n->catalog, &e), ERR_OK);
    struct commit_config commits = {
        .mount_dir = n->dir.path, .epoch = 1, .workers = 1, .wait_ms = 1000, .retry_ms = 20};
    assert_int_equal(commit_pool_open(&commits, &n->commits, &e), ERR_OK);
    struct ingest_config cfg = {
        .catalog = n->catalog,
        .commits = n->commits,
        .allowed_past_us = 5 * US_PER_HOUR,
        .allowed_future_us = 24 * US_PER_HOUR,
        .allowed_past_hours = 5,
        .allowed_future_hours = 24,
        .flatten_level = 3,
        .columns_max = 1000,
        .line_max_bytes = 15 << 20,
    };
    assert_int_equal(ingest_open(&cfg, &n->in, &e), ERR_OK);
}

static inline void node_close(struct node *n)
{
    ingest_close(n->in);
    commit_pool_close(n->commits);
    catalog_close(n->catalog);
    meta_close(n->meta);
    commit_dir_remove(&n->dir);
    clock_set_test_wall_us(0);
}

static inline struct stored stored_of(struct node *n)
{
    struct stored s;
    stored_init(&s);
    stored_read(&n->dir, 0, &s);
    buf_add(&s.lines, "", 1);
    return s;
}

#endif

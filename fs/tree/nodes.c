/* fs/tree/nodes.c - a chained hash table by inode number, which is a hash already.
 *
 * Two refs with the same number (one in 2^63) are told apart by trying the next number of the
 * second one, so that an inode never stands for two things at a time.
 */
#include "fs/tree/nodes.h"

#include <pthread.h>
#include <stdlib.h>

#include "base/cleanup.h"

#define ATTEMPTS_MAX 16
#define BUCKETS_MIN 1024

struct node {
    struct node *next;
    uint64_t ino;
    uint64_t refs;
    uint64_t listing; /* 1 + version of the listing that the kernel may have; 0: none */
    struct tree_ref ref;
};

struct nodes {
    struct status *status; /* immutable */
    pthread_mutex_t lock;
    struct node **buckets; /* (lock) a power of two */
    size_t bucket_count;   /* (lock) */
    size_t count;          /* (lock) */
};

enum err_code nodes_new(struct status *status, struct nodes **out, struct err *e)
{
    struct nodes *n = calloc(1, sizeof *n);
    struct node **buckets = calloc(BUCKETS_MIN, sizeof(struct node *));

    if (!n || !buckets) {
        free(n);
        free(buckets);
        return err_set(e, ERR_NOMEM, "no memory for inodes");
    }
    n->status = status;
    n->buckets = buckets;
    n->bucket_count = BUCKETS_MIN;
    pthread_mutex_init(&n->lock, NULL);
    *out = n;
    return ERR_OK;
}

void nodes_free(struct nodes *n)
{
    if (!n)
        return;
    for (size_t i = 0; i < n->bucket_count; i++) {
        for (struct node *at = n->buckets[i], *next; at; at = next) {
            next = at->next;
            free(at);
        }
    }
    free(n->buckets);
    pthread_mutex_destroy(&n->lock);
    free(n);
}

/* The link that points to the node, or the end of its chain. */
static struct node **find_link_locked(struct nodes *n, uint64_t ino)
{
    struct node **link = &n->buckets[ino & (n->bucket_count - 1)];

    while (*link && (*link)->ino != ino)
        link = &(*link)->next;
    return link;
}

static void grow_locked(struct nodes *n)
{
    size_t count = n->bucket_count * 2;
    struct node **buckets;

    if (n->count < n->bucket_count)
        return;
    buckets = calloc(count, sizeof(struct node *));
    if (!buckets)
        return; /* longer chains, nothing worse */
    for (size_t i = 0; i < n->bucket_count; i++) {
        for (struct node *at = n->buckets[i], *next; at; at = next) {
            next = at->next;
            at->next = buckets[at->ino & (count - 1)];
            buckets[at->ino & (count - 1)] = at;
        }
    }
    free(n->buckets);
    n->buckets = buckets;
    n->bucket_count = count;
}

static uint64_t add_locked(struct nodes *n, struct node **link, const struct tree_ref *ref,
                           uint64_t ino, uint64_t refs)
{
    struct node *node;

    if (n->count >= NODES_MAX || !(node = malloc(sizeof *node)))
        return 0;
    *node = (struct node){.ino = ino, .refs = refs, .ref = *ref};
    *link = node;
    n->count++;
    status_count(n->status, GAUGE_NODES, 1);
    grow_locked(n);
    return ino;
}

uint64_t nodes_take(struct nodes *n, const struct tree_ref *ref)
{
    LOCK_SCOPE(&n->lock);
    for (unsigned attempt = 0; attempt < ATTEMPTS_MAX; attempt++) {
        uint64_t ino = tree_ino(ref, attempt);
        struct node **link = find_link_locked(n, ino);
        if (!*link)
            return add_locked(n, link, ref, ino, 1);
        if (tree_same(&(*link)->ref, ref)) {
            (*link)->refs++;
            return ino;
        }
    }
    return 0;
}

void nodes_adopt(struct nodes *n, uint64_t ino, const struct tree_ref *ref)
{
    struct node **link;

    LOCK_SCOPE(&n->lock);
    link = find_link_locked(n, ino);
    if (!*link)
        add_locked(n, link, ref, ino, 0); /* no room: it is looked for again */
}

bool nodes_find(struct nodes *n, uint64_t ino, struct tree_ref *out)
{
    struct node *node;

    if (ino == 1) {
        *out = tree_root();
        return true;
    }
    LOCK_SCOPE(&n->lock);
    node = *find_link_locked(n, ino);
    if (node)
        *out = node->ref;
    return node != NULL;
}

bool nodes_listing_is(struct nodes *n, uint64_t ino, uint64_t version)
{
    struct node *node;
    bool same;

    LOCK_SCOPE(&n->lock);
    node = *find_link_locked(n, ino);
    if (!node)
        return false;
    same = node->listing == version + 1;
    node->listing = version + 1;
    return same;
}

void nodes_forget(struct nodes *n, uint64_t ino, uint64_t count)
{
    struct node **link, *node;

    LOCK_SCOPE(&n->lock);
    link = find_link_locked(n, ino);
    node = *link;
    if (!node)
        return;
    if (node->refs > count) {
        node->refs -= count;
        return;
    }
    *link = node->next;
    free(node);
    n->count--;
    status_count(n->status, GAUGE_NODES, -1);
}

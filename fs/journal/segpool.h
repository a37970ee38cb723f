/* fs/journal/segpool.h - segment files prepared ahead by a thread of their own.
 *
 * Good for: having the next segment on disk before it is needed.  Zero-filled space is synced two
 * to three times faster than allocated but unwritten space; so a file is zero-filled while there
 * is time, and the rest of it only allocated once somebody waits, or when segments are used up so
 * fast that writing each byte twice would halve the speed of the disk.
 * Segments that were freed are used again, without being filled: their space is written already.
 * Owner: the journal.  Threads: segpool_take and segpool_add from any one thread at a time; the
 * others from any.
 * A file is published under its final name and durable in its directory, its header all zeros.
 * Errors: FULL (max_bytes, or less than reserve_bytes free on the disk), IO.
 */
#ifndef WEIR_FS_JOURNAL_SEGPOOL_H
#define WEIR_FS_JOURNAL_SEGPOOL_H

#include "fs/journal/segment.h"

struct segpool_config {
    const char *dir; /* must outlive the pool */
    uint32_t segment_bytes;
    uint64_t max_bytes;     /* of all segment files together */
    uint64_t reserve_bytes; /* stays free on the disk */
    uint32_t first_seq;     /* of the first file to make */
    uint64_t used_bytes;    /* of the files that are there already */
};
struct segpool_stats {
    uint64_t files_bytes;                      /* of all segment files, prepared ones too */
    uint64_t zero_filled, allocated, recycled; /* files prepared so far, by how */
};
struct segpool_file {
    uint32_t seq;
    int fd;
    uint32_t older_seq; /* the segment it was before; 0 = none */
};

struct segpool;
struct segpool *segpool_new(const struct segpool_config *cfg); /* NULL: no memory */
void segpool_stop(struct segpool *p); /* the next start removes prepared files; NULL is fine */
/* A file that was taken and is not needed after all; it is counted already, and taken first.
 */
void segpool_add(struct segpool *p, const struct segpool_file *file);
/* A segment that was freed and stands at segment_free_path; false when there are enough: the
 * caller's to remove.  On success fd is the pool's. */
bool segpool_recycle(struct segpool *p, uint32_t seq, int fd);
enum err_code segpool_start(struct segpool *p, struct err *e); /* once, before the first take */
/* The next file, in order of seq; the caller owns fd.  Waits for one being made, never long.
 * `beyond_max`: max_bytes and the reserve do not count. */
enum err_code segpool_take(struct segpool *p, bool beyond_max, struct segpool_file *out,
                           struct err *e);
/* A file that was taken has been removed. */
void segpool_drop(struct segpool *p, uint64_t bytes);
/* May lines come in?  FULL when there are more files than max_bytes allows, or the disk has less
 * free than the reserve; asks the disk at most every 100 ms. */
enum err_code segpool_check_room(struct segpool *p, struct err *e);
/* How many of `bytes` the disk has for segments beside its reserve, those that are ready included.
 */
uint64_t segpool_room(struct segpool *p, uint64_t bytes);
void segpool_stats(struct segpool *p, struct segpool_stats *out);

#endif

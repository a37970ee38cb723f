/* fs/passthrough.c - the parts of the FUSE protocol that libfuse 3.14 does not speak.
 *
 * From include/uapi/linux/fuse.h, in the byte order of the machine:
 *   every request  0 u32 length   4 u32 opcode   8 u64 unique   ...   40 what the opcode says
 *   INIT           40 u32 major  44 u32 minor  48 u32 max_readahead  52 u32 flags  56 u32 flags2
 *   every reply    0 u32 length   4 i32 error   8 u64 unique
 *   to INIT        16 u32 major  20 u32 minor  24 u32 max_readahead  28 u32 flags
 *                  32 u16 max_background  34 u16 congestion_threshold  36 u32 max_write
 *                  40 u32 time_gran  44 u16 max_pages  46 u16 map_alignment  48 u32 flags2
 *                  52 u32 max_stack_depth  ...
 *   to OPEN        16 u64 fh  24 u32 open_flags  28 i32 backing_id
 * flags2 holds bits 32 to 63 and counts only when bit 30 of flags (INIT_EXT) is set.
 */
#include "fs/passthrough.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include "base/bytes.h"
#include "base/cleanup.h"
#include "base/log.h"
#include "base/sys.h"

enum {
    OPCODE_INIT = 26,
    REQUEST_OPCODE_AT = 4,
    REQUEST_UNIQUE_AT = 8,
    REQUEST_FLAGS_AT = 52,
    REQUEST_FLAGS2_AT = 56,
    REQUEST_INIT_LEN = 60, /* shorter: a kernel that knows no flags2 */
    REPLY_ERROR_AT = 4,
    REPLY_UNIQUE_AT = 8,
    REPLY_HEADER_LEN = 16,
    INIT_FLAGS_AT = 12, /* these three after the header */
    INIT_FLAGS2_AT = 32,
    INIT_STACK_DEPTH_AT = 36,
    INIT_LEN = 40, /* at least */
};
#define FLAG_INIT_EXT (1u << 30)
#define FLAG2_PASSTHROUGH (1u << 5) /* bit 37 */
#define OPEN_FLAG_NOFLUSH (1u << 5)
#define OPEN_FLAG_PASSTHROUGH (1u << 7)
/* The backing file may itself stand on one stacked filesystem (an overlay, as in a container). */
#define STACK_DEPTH 2u

struct backing_map {
    int32_t fd;
    uint32_t flags;
    uint64_t padding;
};
#define IOC_BACKING_OPEN _IOW(229, 1, struct backing_map)
#define IOC_BACKING_CLOSE _IOW(229, 2, uint32_t)

/* ---- features ---- */

static const struct {
    const char *name;
    enum fuse_feature feature;
} FEATURES[] = {{"passthrough", FEATURE_PASSTHROUGH}, {"resend", FEATURE_RESEND}};

static enum err_code add_feature(struct str name, unsigned *features, struct err *e)
{
    for (size_t i = 0; i < ARRAY_LEN(FEATURES); i++) {
        if (str_eq(name, str_from(FEATURES[i].name))) {
            *features |= FEATURES[i].feature;
            return ERR_OK;
        }
    }
    return err_set(e, ERR_INVALID,
                   "WEIR_FUSE_FEATURES: \"" STR_FMT
                   "\": expected all, none, or a list of passthrough, resend",
                   STR_ARG(name));
}

enum err_code fuse_features_parse(const char *text, unsigned *features, struct err *e)
{
    struct str rest = str_trim(str_from(text ? text : "all")), name;
    unsigned found = 0;

    if (str_eq(rest, STR("all")))
        found = FEATURE_PASSTHROUGH | FEATURE_RESEND;
    else if (!str_eq(rest, STR("none"))) {
        do {
            enum err_code rc;
            str_cut(rest, ',', &name, &rest);
            rc = add_feature(str_trim(name), &found, e);
            if (rc)
                return rc;
        } while (rest.len > 0);
    }
    *features = found;
    return ERR_OK;
}

/* ---- INIT ---- */

void passthrough_init(struct passthrough *p, unsigned features, int dev_fd)
{
    *p = (struct passthrough){.features = features, .dev_fd = dev_fd};
}

void passthrough_see_request(struct passthrough *p, const void *bytes, size_t len)
{
    const char *at = bytes;

    if (len < REQUEST_INIT_LEN || get_u32(at + REQUEST_OPCODE_AT) != OPCODE_INIT)
        return;
    atomic_store(&p->is_offered, (get_u32(at + REQUEST_FLAGS_AT) & FLAG_INIT_EXT) != 0 &&
                                     (get_u32(at + REQUEST_FLAGS2_AT) & FLAG2_PASSTHROUGH) != 0);
    atomic_store(&p->init_reply, get_u64(at + REQUEST_UNIQUE_AT));
}

static bool wants_passthrough(const struct passthrough *p)
{
    return (p->features & FEATURE_PASSTHROUGH) != 0 && atomic_load(&p->is_offered) &&
           geteuid() == 0;
}

/* libfuse gives header and body as two pieces, in memory of its own. */
void passthrough_see_reply(struct passthrough *p, const struct iovec *iov, int count)
{
    uint64_t unique = atomic_load_explicit(&p->init_reply, memory_order_relaxed);
    const char *header = iov[0].iov_base;
    char *body;

    if (unique == 0 || iov[0].iov_len < REPLY_HEADER_LEN ||
        get_u64(header + REPLY_UNIQUE_AT) != unique)
        return;
    atomic_store(&p->init_reply, 0);
    if (count < 2 || iov[1].iov_len < INIT_LEN || get_u32(header + REPLY_ERROR_AT) != 0 ||
        !wants_passthrough(p))
        return;
    body = iov[1].iov_base;
    put_u32(body + INIT_FLAGS_AT, get_u32(body + INIT_FLAGS_AT) | FLAG_INIT_EXT);
    put_u32(body + INIT_FLAGS2_AT, get_u32(body + INIT_FLAGS2_AT) | FLAG2_PASSTHROUGH);
    put_u32(body + INIT_STACK_DEPTH_AT, STACK_DEPTH);
    atomic_store(&p->is_agreed, true);
}

const char *passthrough_why_not(const struct passthrough *p)
{
    if (!(p->features & FEATURE_PASSTHROUGH))
        return "switched off by WEIR_FUSE_FEATURES";
    if (!atomic_load(&p->is_offered))
        return "not offered by this kernel";
    if (!atomic_load(&p->is_agreed))
        return "for root only";
    return atomic_load(&p->is_refused) ? "refused by the kernel" : NULL;
}

/* ---- files ---- */

enum err_code passthrough_give(struct passthrough *p, int fd, uint32_t *backing_id, struct err *e)
{
    struct backing_map map = {.fd = fd};
    int id, sys;

    if (passthrough_why_not(p))
        return err_set(e, ERR_UNSUPPORTED, "passthrough is %s", passthrough_why_not(p));
    id = ioctl(p->dev_fd, IOC_BACKING_OPEN, &map);
    if (id > 0) {
        *backing_id = (uint32_t)id;
        return ERR_OK;
    }
    sys = errno;
    if (sys == ENOMEM || sys == ENFILE || sys == ENOSPC)
        return err_sys(e, sys, "give a file to the kernel");
    if (!atomic_exchange(&p->is_refused, true))
        log_printf(LOG_WARN, "sealed files are read through the page cache from now on: %s",
                   strerror(sys));
    return err_set(e, ERR_UNSUPPORTED, "passthrough is %s", passthrough_why_not(p));
}

void passthrough_take_back(struct passthrough *p, uint32_t backing_id)
{
    ioctl(p->dev_fd, IOC_BACKING_CLOSE, &backing_id); /* fails only when it is not there */
}

/* With a file that never gets a name. */
void passthrough_probe(struct passthrough *p, const char *dir)
{
    AUTO_FD int fd = -1;
    uint32_t backing_id;

    if (passthrough_why_not(p))
        return;
    fd = sys_open(dir, O_RDWR | O_TMPFILE, 0600);
    if (fd >= 0 && passthrough_give(p, fd, &backing_id, NULL) == ERR_OK)
        passthrough_take_back(p, backing_id);
}

void passthrough_format_open(uint64_t fh, uint32_t backing_id, char dst[PASSTHROUGH_OPEN_LEN])
{
    put_u64(dst, fh);
    put_u32(dst + 8, OPEN_FLAG_PASSTHROUGH | OPEN_FLAG_NOFLUSH);
    put_u32(dst + 12, backing_id);
}

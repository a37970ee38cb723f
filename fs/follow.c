/* fs/follow.c - INIT kept and answered again, and the word to the kernel to resend.
 *
 * From include/uapi/linux/fuse.h, in the byte order of the machine (more in passthrough.c):
 *   INIT     52 u32 flags   56 u32 flags2: bit 7 (39 in all) says that the kernel can resend
 *   notice   0 u32 length   4 i32 code (7: resend)   8 u64 zero
 */
#include "fs/follow.h"

#include <errno.h>
#include <unistd.h>

#include "base/sys.h"

enum {
    OPCODE_INIT = 26,
    OPCODE_AT = 4,
    UNIQUE_AT = 8,
    FLAGS_AT = 52,
    FLAGS2_AT = 56,
    INIT_LEN_MIN = 60,
    NOTICE_LEN = 16,
    NOTICE_RESEND = 7
};
#define FLAG_INIT_EXT (1u << 30)
#define FLAG2_HAS_RESEND (1u << 7)

void follow_init(struct follow *f, struct anchor *anchor, bool is_allowed)
{
    *f = (struct follow){.anchor = anchor, .is_allowed = is_allowed};
}

bool follow_is_first(const struct follow *f)
{
    return anchor_init(f->anchor).len == 0;
}

const char *follow_why_not(const struct follow *f)
{
    if (!f->is_allowed)
        return "switched off by WEIR_FUSE_FEATURES";
    return atomic_load(&f->is_offered) ? NULL : "not offered by this kernel";
}

static void note_offer(struct follow *f, const char *init)
{
    atomic_store(&f->is_offered, (get_u32(init + FLAGS_AT) & FLAG_INIT_EXT) != 0 &&
                                     (get_u32(init + FLAGS2_AT) & FLAG2_HAS_RESEND) != 0);
}

void follow_see_request(struct follow *f, const void *bytes, size_t len)
{
    const char *at = bytes;

    if (len < INIT_LEN_MIN || get_u32(at + OPCODE_AT) != OPCODE_INIT)
        return;
    note_offer(f, at);
    if (follow_why_not(f))
        return;
    anchor_put_init(f->anchor, (struct str){at, len});
    atomic_store(&f->init, get_u64(at + UNIQUE_AT));
}

bool follow_see_reply(struct follow *f, const struct iovec *iov)
{
    uint64_t replayed = atomic_load_explicit(&f->init_replayed, memory_order_relaxed);

    if (replayed == 0 || iov[0].iov_len < NOTICE_LEN ||
        get_u64((const char *)iov[0].iov_base + UNIQUE_AT) != replayed)
        return true;
    atomic_store(&f->init_replayed, 0);
    return false;
}

void follow_replied(struct follow *f, const struct iovec *iov)
{
    uint64_t init = atomic_load_explicit(&f->init, memory_order_relaxed);

    if (init == 0 || get_u64((const char *)iov[0].iov_base + UNIQUE_AT) != init)
        return;
    atomic_store(&f->init, 0);
    if (get_u32((const char *)iov[0].iov_base + OPCODE_AT) == 0) /* no error */
        anchor_answered(f->anchor);
}

struct str follow_replay(struct follow *f)
{
    struct str init = anchor_init(f->anchor);

    note_offer(f, init.ptr);
    atomic_store(&f->init_replayed, get_u64(init.ptr + UNIQUE_AT));
    return init;
}

enum err_code follow_resend(int dev_fd, struct err *e)
{
    char notice[NOTICE_LEN] = {0};

    put_u32(notice, NOTICE_LEN);
    put_u32(notice + 4, NOTICE_RESEND);
    if (sys_write(dev_fd, notice, sizeof notice) == (ssize_t)sizeof notice)
        return ERR_OK;
    return err_sys(e, errno, "ask the kernel to send again what was not answered");
}

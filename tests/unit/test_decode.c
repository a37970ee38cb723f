// links: weir_http brotlienc
/* Compressed bodies: good ones, cut ones, and bombs. */
#include <brotli/encode.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <zlib.h>
#include <zstd.h>

#include <cmocka.h>

#include "base/cleanup.h"
#include "http/decode.h"

enum { GZIP = 15 + 16, ZLIB = 15, RAW = -15 };
#define MAX_BYTES ((size_t)1 << 20)

struct fixture {
    struct decoder *decoder;
    struct buf packed, out;
    struct err e;
    size_t room_max;  /* of one piece of the output */
    size_t refuse_at; /* this much of it there is */
};

static int open_fixture(void **state)
{
    struct fixture *f = calloc(1, sizeof *f);
    f->decoder = decoder_new();
    f->room_max = f->refuse_at = SIZE_MAX;
    buf_init(&f->packed, 64 * MAX_BYTES);
    buf_init(&f->out, MAX_BYTES + 1);
    *state = f;
    return f->decoder ? 0 : -1;
}

static int close_fixture(void **state)
{
    struct fixture *f = *state;
    decoder_free(f->decoder);
    buf_done(&f->packed);
    buf_done(&f->out);
    free(f);
    return 0;
}

static void pack(struct fixture *f, int window, const void *p, size_t n)
{
    z_stream z = {0};
    assert_int_equal(deflateInit2(&z, 6, Z_DEFLATED, window, 8, Z_DEFAULT_STRATEGY), Z_OK);
    assert_true(buf_reserve(&f->packed, deflateBound(&z, n)));
    Bytef *copy = malloc(n + 1);
    memcpy(copy, p, n);
    z.next_in = copy;
    z.avail_in = (uInt)n;
    z.next_out = (Bytef *)f->packed.data + f->packed.len;
    z.avail_out = (uInt)(f->packed.cap - f->packed.len);
    assert_int_equal(deflate(&z, Z_FINISH), Z_STREAM_END);
    f->packed.len += z.total_out;
    deflateEnd(&z);
    free(copy);
}

enum { ZSTD_FRAME = 1000, BR }; /* beside zlib's windows */

static void pack_as(struct fixture *f, int how, const void *p, size_t n)
{
    size_t room = n + n / 8 + 4096, made = room;
    if (how != ZSTD_FRAME && how != BR) {
        pack(f, how, p, n);
        return;
    }
    assert_true(buf_reserve(&f->packed, room));
    char *to = f->packed.data + f->packed.len;
    if (how == ZSTD_FRAME) {
        made = ZSTD_compress(to, room, p, n, 3);
        assert_false(ZSTD_isError(made));
    } else {
        assert_int_equal(BrotliEncoderCompress(4, BROTLI_DEFAULT_WINDOW, BROTLI_MODE_GENERIC, n, p,
                                               &made, (uint8_t *)to),
                         BROTLI_TRUE);
    }
    f->packed.len += made;
}

static enum err_code room(void *ctx, char **to, size_t *n, struct err *e)
{
    struct fixture *f = ctx;
    if (f->out.len >= f->refuse_at)
        return err_set(e, ERR_AGAIN, "no");
    if (f->out.len == f->out.cap)
        assert_true(buf_reserve(&f->out, 1));
    *to = f->out.data + f->out.len;
    *n = f->out.cap - f->out.len < f->room_max ? f->out.cap - f->out.len : f->room_max;
    return ERR_OK;
}

static void made(void *ctx, size_t n)
{
    struct fixture *f = ctx;
    f->out.len += n;
    f->out.data[f->out.len] = '\0';
}

static enum err_code unpack(struct fixture *f, enum decode_coding coding, struct str in)
{
    const struct decode_sink sink = {.max_bytes = MAX_BYTES, .room = room, .made = made, .ctx = f};
    buf_clear(&f->out);
    return decode_body(f->decoder, coding, in, &sink, &f->e);
}

static void every_coding_gives_back_what_was_packed(void **state)
{
    static const struct {
        int window;
        enum decode_coding coding;
    } cases[] = {{GZIP, CODING_GZIP},
                 {ZLIB, CODING_DEFLATE},
                 {RAW, CODING_DEFLATE},
                 {ZSTD_FRAME, CODING_ZSTD},
                 {BR, CODING_BROTLI}};
    static const size_t sizes[] = {0, 1, 100, 65535, 65536, 65537, MAX_BYTES};
    struct fixture *f = *state;
    char *text = malloc(MAX_BYTES);
    for (size_t i = 0; i < MAX_BYTES; i++)
        text[i] = (char)((i * 2654435761u) >> 13);
    for (size_t c = 0; c < ARRAY_LEN(cases); c++)
        for (size_t s = 0; s < ARRAY_LEN(sizes); s++) {
            buf_clear(&f->packed);
            pack_as(f, cases[c].window, text, sizes[s]);
            assert_int_equal(unpack(f, cases[c].coding, buf_str(&f->packed)), ERR_OK);
            assert_true(str_eq(buf_str(&f->out), (struct str){text, sizes[s]}));
        }
    free(text);
}

static void gzip_members_and_zstd_frames_are_joined(void **state)
{
    struct fixture *f = *state;
    pack(f, GZIP, "[1,", 3);
    pack(f, GZIP, "2]", 2);
    assert_int_equal(unpack(f, CODING_GZIP, buf_str(&f->packed)), ERR_OK);
    assert_string_equal(f->out.data, "[1,2]");
    buf_clear(&f->packed);
    pack_as(f, ZSTD_FRAME, "[1,", 3);
    pack_as(f, ZSTD_FRAME, "2]", 2);
    assert_int_equal(unpack(f, CODING_ZSTD, buf_str(&f->packed)), ERR_OK);
    assert_string_equal(f->out.data, "[1,2]");
}

static void a_body_cut_anywhere_is_invalid(void **state)
{
    struct fixture *f = *state;
    static const int windows[] = {GZIP, ZLIB, RAW, ZSTD_FRAME, BR};
    static const enum decode_coding codings[] = {CODING_GZIP, CODING_DEFLATE, CODING_DEFLATE,
                                                 CODING_ZSTD, CODING_BROTLI};
    for (size_t w = 0; w < ARRAY_LEN(windows); w++) {
        buf_clear(&f->packed);
        pack_as(f, windows[w], "[{\"a\":\"some text, some text, some more\"}]", 41);
        for (size_t n = 0; n < f->packed.len; n++) {
            struct str cut = {f->packed.data, n};
            assert_int_equal(unpack(f, codings[w], cut), ERR_INVALID);
        }
    }
}

static void what_follows_the_end_is_invalid(void **state)
{
    struct fixture *f = *state;
    pack(f, GZIP, "[]", 2);
    buf_add_cstr(&f->packed, "trailing");
    assert_int_equal(unpack(f, CODING_GZIP, buf_str(&f->packed)), ERR_INVALID);
}

static void plain_text_is_not_gzip(void **state)
{
    assert_int_equal(unpack(*state, CODING_GZIP, STR("[{\"a\":1}]")), ERR_INVALID);
    assert_int_equal(unpack(*state, CODING_DEFLATE, STR("[{\"a\":1}]")), ERR_INVALID);
}

static void a_bomb_stops_at_the_limit(void **state)
{
    struct fixture *f = *state;
    size_t n = 32 * MAX_BYTES;
    char *zeros = calloc(1, n);
    static const int windows[] = {GZIP, ZSTD_FRAME, BR};
    static const enum decode_coding codings[] = {CODING_GZIP, CODING_ZSTD, CODING_BROTLI};
    for (size_t i = 0; i < ARRAY_LEN(windows); i++) {
        buf_clear(&f->packed);
        pack_as(f, windows[i], zeros, n);
        assert_int_equal(unpack(f, codings[i], buf_str(&f->packed)), ERR_TOOBIG);
        assert_true(f->out.cap <= MAX_BYTES + 1);
    }
    free(zeros);
}

static void one_byte_over_the_limit_is_too_big(void **state)
{
    struct fixture *f = *state;
    char *zeros = calloc(1, MAX_BYTES + 1);
    pack(f, ZLIB, zeros, MAX_BYTES + 1);
    free(zeros);
    assert_int_equal(unpack(f, CODING_DEFLATE, buf_str(&f->packed)), ERR_TOOBIG);
}

static void output_may_go_in_pieces_of_any_size(void **state)
{
    static const int windows[] = {GZIP, RAW, ZSTD_FRAME, BR};
    static const enum decode_coding codings[] = {CODING_GZIP, CODING_DEFLATE, CODING_ZSTD,
                                                 CODING_BROTLI};
    static const size_t pieces[] = {1, 7, 4096};
    struct fixture *f = *state;
    char text[10000];
    for (size_t i = 0; i < sizeof text; i++)
        text[i] = (char)(i * i >> 3);
    for (size_t i = 0; i < ARRAY_LEN(windows); i++)
        for (size_t p = 0; p < ARRAY_LEN(pieces); p++) {
            f->room_max = pieces[p];
            buf_clear(&f->packed);
            pack_as(f, windows[i], text, sizeof text);
            assert_int_equal(unpack(f, codings[i], buf_str(&f->packed)), ERR_OK);
            assert_true(str_eq(buf_str(&f->out), (struct str){text, sizeof text}));
        }
}

static void who_takes_the_output_can_say_no(void **state)
{
    struct fixture *f = *state;
    char *zeros = calloc(1, MAX_BYTES);
    pack(f, GZIP, zeros, MAX_BYTES);
    free(zeros);
    f->refuse_at = 256 << 10;
    assert_int_equal(unpack(f, CODING_GZIP, buf_str(&f->packed)), ERR_AGAIN);
}

static void a_decoder_works_again_after_an_error(void **state)
{
    struct fixture *f = *state;
    assert_int_equal(unpack(f, CODING_GZIP, STR("junk")), ERR_INVALID);
    pack(f, RAW, "ok", 2);
    assert_int_equal(unpack(f, CODING_DEFLATE, buf_str(&f->packed)), ERR_OK);
    assert_string_equal(f->out.data, "ok");
}

static void the_header_names_the_coding(void **state)
{
    static const struct {
        const char *header;
        enum err_code code;
        enum decode_coding coding;
    } cases[] = {
        {"", ERR_OK, CODING_IDENTITY},
        {"identity", ERR_OK, CODING_IDENTITY},
        {" GZip ", ERR_OK, CODING_GZIP},
        {"x-gzip", ERR_OK, CODING_GZIP},
        {"deflate", ERR_OK, CODING_DEFLATE},
        {"zstd", ERR_OK, CODING_ZSTD},
        {"Br", ERR_OK, CODING_BROTLI},
        {"compress", ERR_UNSUPPORTED, CODING_IDENTITY},
        {"gzip, gzip", ERR_UNSUPPORTED, CODING_IDENTITY},
    };
    struct fixture *f = *state;
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        enum decode_coding coding = CODING_IDENTITY;
        assert_int_equal(decode_coding_of(str_from(cases[i].header), &coding, &f->e),
                         cases[i].code);
        assert_int_equal(coding, cases[i].coding);
    }
}

#define CASE(name) cmocka_unit_test_setup_teardown(name, open_fixture, close_fixture)

int main(void)
{
    const struct CMUnitTest tests[] = {
        CASE(every_coding_gives_back_what_was_packed),
        CASE(gzip_members_and_zstd_frames_are_joined),
        CASE(a_body_cut_anywhere_is_invalid),
        CASE(what_follows_the_end_is_invalid),
        CASE(plain_text_is_not_gzip),
        CASE(a_bomb_stops_at_the_limit),
        CASE(one_byte_over_the_limit_is_too_big),
        CASE(output_may_go_in_pieces_of_any_size),
        CASE(who_takes_the_output_can_say_no),
        CASE(a_decoder_works_again_after_an_error),
        CASE(the_header_names_the_coding),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

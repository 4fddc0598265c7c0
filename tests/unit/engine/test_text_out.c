/* SPDX-License-Identifier: Apache-2.0 */
#include "testing.h"
#include "text_out.h"

#include <string.h>

struct sample {
    const char *in;
    size_t len;
    const char *stops[3];
    const char *out;
    int stopped;
};

#define S(text) (text), sizeof(text) - 1

static const struct sample samples[] = {
    {S("plain"), {NULL}, "plain", -1},
    {S(""), {NULL}, "", -1},
    {S("a\xc3\xa9z"), {NULL}, "a\xc3\xa9z", -1},
    {S("\xf0\x9f\x98\x80\xe2\x82\xac"), {NULL}, "\xf0\x9f\x98\x80\xe2\x82\xac", -1},
    /* Not UTF-8: each byte that begins nothing is one U+FFFD. */
    {S("a\xff\x62"), {NULL}, "a\xef\xbf\xbd\x62", -1},
    {S("\x80\x80"), {NULL}, "\xef\xbf\xbd\xef\xbf\xbd", -1},
    {S("\xc0\xaf"), {NULL}, "\xef\xbf\xbd\xef\xbf\xbd", -1},
    {S("\xed\xa0\x80"), {NULL}, "\xef\xbf\xbd\xef\xbf\xbd\xef\xbf\xbd", -1},
    {S("\xe2\x82z"), {NULL}, "\xef\xbf\xbd\xef\xbf\xbdz", -1},
    /* Cut off: one U+FFFD for the character that never was. */
    {S("x\xe2\x82"), {NULL}, "x\xef\xbf\xbd", -1},
    {S("x\xf0\x9f\x98"), {NULL}, "x\xef\xbf\xbd", -1},
    /* Stop strings. */
    {S("one END two"), {"END"}, "one ", 0},
    {S("one EN"), {"END"}, "one EN", -1},
    {S("EEEND"), {"END"}, "EE", 0},
    {S("abababac"), {"ababac"}, "ab", 0},
    {S("x\n\nUser: y"), {"\nUser:", "\n\n"}, "x", 1},
    {S("x stop1 stop2"), {"stop2", "stop1"}, "x ", 1},
    {S("END"), {"END"}, "", 0},
    {S("a\xe2\x82\xac"
       "b"),
     {"\xe2\x82\xac"},
     "a",
     0},
    {S("a\xe2\x82\xad"
       "b"),
     {"\xe2\x82\xac"},
     "a\xe2\x82\xad"
     "b",
     -1},
    {S("q\xff!"), {"\xef\xbf\xbd!"}, "q", 0}, /* a stop string matches what would be shown */
};

static void check(const struct sample *sample, const size_t *cuts, size_t count)
{
    struct ps_slice stops[3];
    size_t stop_count = 0;
    struct ps_text_out out;
    struct ps_buf text;
    while (stop_count < 3 && sample->stops[stop_count] != NULL) {
        stops[stop_count] = ps_slice_cstr(sample->stops[stop_count]);
        stop_count++;
    }
    ps_text_out_init(&out, stops, stop_count);
    ps_buf_init(&text, 4096);
    size_t at = 0;
    int rc = 0;
    for (size_t i = 0; i <= count; i++) {
        size_t end = i < count ? cuts[i] : sample->len;
        rc = ps_text_out_push(&out, ps_slice(sample->in + at, end - at), &text);
        assert_true(rc >= 0);
        assert_int_equal(out.released, text.len);
        /* Whatever is out is whole characters. */
        for (size_t k = 0; k < text.len;) {
            size_t length = ps_utf8_length(text.ptr + k, text.len - k);
            assert_true(length > 0);
            k += length;
        }
        at = end;
    }
    assert_int_equal(ps_text_out_finish(&out, &text), 0);
    assert_int_equal(out.stopped, sample->stopped);
    assert_int_equal(rc, sample->stopped >= 0 ? 1 : 0);
    assert_int_equal(text.len, strlen(sample->out));
    if (text.len > 0) {
        assert_memory_equal(text.ptr, sample->out, text.len);
    }
    ps_buf_deinit(&text);
    ps_text_out_deinit(&out);
}

static void however_it_is_cut(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof(samples) / sizeof(samples[0]); i++) {
        const struct sample *sample = &samples[i];
        check(sample, NULL, 0);
        for (size_t a = 0; a <= sample->len; a++) {
            for (size_t b = a; b <= sample->len; b++) {
                const size_t cuts[] = {a, b};
                check(sample, cuts, 2);
            }
        }
    }
}

static void byte_by_byte(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof(samples) / sizeof(samples[0]); i++) {
        size_t cuts[64];
        size_t count = samples[i].len > 0 ? samples[i].len - 1 : 0;
        for (size_t k = 0; k < count; k++) {
            cuts[k] = k + 1;
        }
        check(&samples[i], cuts, count);
    }
}

static void nothing_waits_that_need_not(void **state)
{
    const struct ps_slice stop = PS_SLICE_INIT("END");
    struct ps_text_out out;
    struct ps_buf text;
    (void)state;
    ps_text_out_init(&out, &stop, 1);
    ps_buf_init(&text, 4096);
    assert_int_equal(ps_text_out_push(&out, PS_SLICE_LIT("hello E"), &text), 0);
    assert_int_equal(text.len, 6);
    assert_int_equal(ps_text_out_push(&out, PS_SLICE_LIT("x"), &text), 0);
    assert_int_equal(text.len, 8);
    assert_int_equal(ps_text_out_push(&out, PS_SLICE_LIT("\xe2\x82"), &text), 0);
    assert_int_equal(text.len, 8);
    assert_int_equal(ps_text_out_push(&out, PS_SLICE_LIT("\xac"), &text), 0);
    assert_int_equal(text.len, 11);
    ps_buf_deinit(&text);
    ps_text_out_deinit(&out);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(however_it_is_cut),
        cmocka_unit_test(byte_by_byte),
        cmocka_unit_test(nothing_waits_that_need_not),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

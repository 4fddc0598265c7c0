/* SPDX-License-Identifier: Apache-2.0 */
#include "json_bytes.h"
#include "json_feeding.h"

/* The grammar: what is JSON, what is not, and which byte is to blame. Every text is cut every way.
 */

#define TEXT(literal) literal, sizeof(literal) - 1

struct good {
    const char *text;
    size_t len;
    enum ps_json_type root;
};

static const struct good good[] = {
    /* Scalars at the top. */
    {TEXT("null"), PS_JSON_NULL},
    {TEXT("true"), PS_JSON_TRUE},
    {TEXT("false"), PS_JSON_FALSE},
    {TEXT("\"\""), PS_JSON_STRING},
    {TEXT("\"a string\""), PS_JSON_STRING},
    {TEXT("0"), PS_JSON_NUMBER},
    {TEXT(" \t\r\n true \n\r\t "), PS_JSON_TRUE},
    {TEXT("  7  "), PS_JSON_NUMBER},
    /* Numbers: every form of the grammar. */
    {TEXT("-0"), PS_JSON_NUMBER},
    {TEXT("-1"), PS_JSON_NUMBER},
    {TEXT("1234567890"), PS_JSON_NUMBER},
    {TEXT("0.0"), PS_JSON_NUMBER},
    {TEXT("-0.5"), PS_JSON_NUMBER},
    {TEXT("10.0100"), PS_JSON_NUMBER},
    {TEXT("0e0"), PS_JSON_NUMBER},
    {TEXT("0E+0"), PS_JSON_NUMBER},
    {TEXT("1e5"), PS_JSON_NUMBER},
    {TEXT("1E5"), PS_JSON_NUMBER},
    {TEXT("1e+5"), PS_JSON_NUMBER},
    {TEXT("1e-5"), PS_JSON_NUMBER},
    {TEXT("1.5e+05"), PS_JSON_NUMBER},
    {TEXT("-1.5E-005"), PS_JSON_NUMBER},
    {TEXT("1e999999999999999999999"), PS_JSON_NUMBER},
    {TEXT("123456789012345678901234567890.123456789012345678901234567890"), PS_JSON_NUMBER},
    {TEXT("[0,-0,0.1,1e1,-1E-1]"), PS_JSON_ARRAY},
    {TEXT("[1 , 2\n,\t3\r]"), PS_JSON_ARRAY},
    {TEXT("{\"a\":-1.5e3}"), PS_JSON_OBJECT},
    /* Arrays and objects. */
    {TEXT("[]"), PS_JSON_ARRAY},
    {TEXT("{}"), PS_JSON_OBJECT},
    {TEXT(" [ ] "), PS_JSON_ARRAY},
    {TEXT("\n{\t}\r"), PS_JSON_OBJECT},
    {TEXT("[[],{},[[]],[{}]]"), PS_JSON_ARRAY},
    {TEXT("[null,true,false,\"\",0,[],{}]"), PS_JSON_ARRAY},
    {TEXT("{\"a\":null,\"b\":true,\"c\":false,\"d\":\"\",\"e\":0,\"f\":[],\"g\":{}}"),
     PS_JSON_OBJECT},
    {TEXT("{ \"a\" : [ 1 , { \"b\" : { } } ] , \"c\" : 2 }"), PS_JSON_OBJECT},
    {TEXT("{\"\":0}"), PS_JSON_OBJECT},
    {TEXT("{\"a\":1,\"a\":1}"), PS_JSON_OBJECT}, /* nobody acts on it */
    {TEXT("{\"[]{}:,\":\"[]{}:,\"}"), PS_JSON_OBJECT},
    /* Strings: escapes. */
    {TEXT("\"\\\"\\\\\\/\\b\\f\\n\\r\\t\""), PS_JSON_STRING},
    {TEXT("\"\\u0000\\u0022\\u005C\\uabcd\\uABCD\\uffff\""), PS_JSON_STRING},
    {TEXT("\"\\\\u0041\""), PS_JSON_STRING},
    {TEXT("\"\\\\\""), PS_JSON_STRING},
    {TEXT("\"\\ud83d\\ude00\""), PS_JSON_STRING},
    {TEXT("\"\\ud800\""), PS_JSON_STRING}, /* lone and swapped surrogates are legal text */
    {TEXT("\"\\udc00\\ud800\""), PS_JSON_STRING},
    {TEXT("\"\\ud800x\\ud800\\n\""), PS_JSON_STRING},
    {TEXT("\"a / slash and a \x7f delete\""), PS_JSON_STRING},
    {TEXT("{\"\\u0061\\n\":\"\\u0062\"}"), PS_JSON_OBJECT},
    /* Strings: characters, with the first and last of every length. */
    {TEXT("\"\xc2\x80\xdf\xbf\""), PS_JSON_STRING},
    {TEXT("\"\xe0\xa0\x80\xec\xbf\xbf\xed\x80\x80\xed\x9f\xbf\xee\x80\x80\xef\xbf\xbf\""),
     PS_JSON_STRING},
    {TEXT("\"\xf0\x90\x80\x80\xf3\xbf\xbf\xbf\xf4\x8f\xbf\xbf\""), PS_JSON_STRING},
    {TEXT("\"\xef\xbb\xbf\""), PS_JSON_STRING}, /* U+FEFF inside a string is a character */
    {TEXT("\"\xef\xb7\x90\xf0\x9f\xbf\xbe\""), PS_JSON_STRING}, /* noncharacters */
    {TEXT("\"\xe2\x80\xa8\xe2\x80\xa9\xc2\x85\""), PS_JSON_STRING},
    {TEXT("\"sixteen bytes ok\xc3\xa9 and sixteen more ok\\n and then a few\""), PS_JSON_STRING},
    {TEXT("{\"\xd0\xba\xd0\xbb\xd1\x8e\xd1\x87\":\"\xe5\x80\xbc\"}"), PS_JSON_OBJECT},
};

static void test_accepts(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof(good) / sizeof(good[0]); i++) {
        struct feeding f = {.limits = {64, 1000}, .text = ps_slice(good[i].text, good[i].len)};
        feed_all_ways(&f);
        if (f.error != PS_JSON_OK) {
            fail_msg("%s: error %d at %d", good[i].text, (int)f.error, (int)f.offset);
        }
        assert_int_equal(f.offset, good[i].len);
        assert_true(f.began);
        assert_int_equal(f.root, good[i].root);
        /* A number at the very end may go on. */
        char last = good[i].text[good[i].len - 1];
        assert_int_equal(f.complete, f.root != PS_JSON_NUMBER || last == ' ');
    }
}

struct bad {
    const char *text;
    size_t len;
    enum ps_json_error error;
    uint64_t offset;
};

static const struct bad bad[] = {
    /* Nothing, and texts that end too early. */
    {TEXT(""), PS_JSON_INCOMPLETE, 0},
    {TEXT(" \n"), PS_JSON_INCOMPLETE, 2},
    {TEXT("["), PS_JSON_INCOMPLETE, 1},
    {TEXT("{"), PS_JSON_INCOMPLETE, 1},
    {TEXT("[1"), PS_JSON_INCOMPLETE, 2},
    {TEXT("[1,"), PS_JSON_INCOMPLETE, 3},
    {TEXT("[[]"), PS_JSON_INCOMPLETE, 3},
    {TEXT("{\"a\""), PS_JSON_INCOMPLETE, 4},
    {TEXT("{\"a\":"), PS_JSON_INCOMPLETE, 5},
    {TEXT("{\"a\":1"), PS_JSON_INCOMPLETE, 6},
    {TEXT("{\"a\":1,"), PS_JSON_INCOMPLETE, 7},
    {TEXT("{\"a"), PS_JSON_INCOMPLETE, 3},
    {TEXT("\""), PS_JSON_INCOMPLETE, 1},
    {TEXT("\"abc"), PS_JSON_INCOMPLETE, 4},
    {TEXT("\"\\"), PS_JSON_INCOMPLETE, 2},
    {TEXT("\"\\\""), PS_JSON_INCOMPLETE, 3},
    {TEXT("\"\\u12"), PS_JSON_INCOMPLETE, 5},
    {TEXT("\"\xe2\x82"), PS_JSON_INCOMPLETE, 3},
    {TEXT("tru"), PS_JSON_INCOMPLETE, 3},
    {TEXT("n"), PS_JSON_INCOMPLETE, 1},
    {TEXT("-"), PS_JSON_INCOMPLETE, 1},
    {TEXT("1."), PS_JSON_INCOMPLETE, 2},
    {TEXT("1e"), PS_JSON_INCOMPLETE, 2},
    {TEXT("1e-"), PS_JSON_INCOMPLETE, 3},
    /* More than one value. */
    {TEXT("1 2"), PS_JSON_TRAILING, 2},
    {TEXT("[][]"), PS_JSON_TRAILING, 2},
    {TEXT("{}}"), PS_JSON_TRAILING, 2},
    {TEXT("[]]"), PS_JSON_TRAILING, 2},
    {TEXT("\"a\"b"), PS_JSON_TRAILING, 3},
    {TEXT("true,"), PS_JSON_TRAILING, 4},
    {TEXT("nullnull"), PS_JSON_TRAILING, 4},
    {TEXT("{} #"), PS_JSON_TRAILING, 3},
    {TEXT("{}\0"), PS_JSON_TRAILING, 2},
    {TEXT("[] \xef\xbb\xbf"), PS_JSON_TRAILING, 3},
    {TEXT("1\f"), PS_JSON_TRAILING, 1},
    /* Byte order marks, other encodings, other white space. */
    {TEXT("\xef\xbb\xbf{}"), PS_JSON_SYNTAX, 0},
    {TEXT("\xff\xfe{\0}\0"), PS_JSON_SYNTAX, 0},
    {TEXT("\0{\0}"), PS_JSON_SYNTAX, 0},
    {TEXT("{\0}\0"), PS_JSON_SYNTAX, 1},
    {TEXT("\xc2\xa0[]"), PS_JSON_SYNTAX, 0},
    {TEXT("[\xe2\x80\xa8]"), PS_JSON_SYNTAX, 1},
    {TEXT("[\v]"), PS_JSON_SYNTAX, 1},
    {TEXT("[\f]"), PS_JSON_SYNTAX, 1},
    {TEXT("[\x1b]"), PS_JSON_SYNTAX, 1},
    {TEXT("\x1e{}\n"), PS_JSON_SYNTAX, 0},
    /* Arrays. */
    {TEXT("[,]"), PS_JSON_SYNTAX, 1},
    {TEXT("[1,]"), PS_JSON_SYNTAX, 3},
    {TEXT("[,1]"), PS_JSON_SYNTAX, 1},
    {TEXT("[1,,2]"), PS_JSON_SYNTAX, 3},
    {TEXT("[1 2]"), PS_JSON_SYNTAX, 3},
    {TEXT("[1 true]"), PS_JSON_SYNTAX, 3},
    {TEXT("[\"a\" \"b\"]"), PS_JSON_SYNTAX, 5},
    {TEXT("[1:2]"), PS_JSON_SYNTAX, 2},
    {TEXT("[\"a\":1]"), PS_JSON_SYNTAX, 4},
    {TEXT("[1}"), PS_JSON_SYNTAX, 2},
    {TEXT("[}"), PS_JSON_SYNTAX, 1},
    {TEXT("[[1}]"), PS_JSON_SYNTAX, 3},
    {TEXT("]"), PS_JSON_SYNTAX, 0},
    {TEXT("[1,:]"), PS_JSON_SYNTAX, 3},
    {TEXT("(1)"), PS_JSON_SYNTAX, 0},
    {TEXT("[*]"), PS_JSON_SYNTAX, 1},
    {TEXT("<null>"), PS_JSON_SYNTAX, 0},
    /* Objects. */
    {TEXT("{,}"), PS_JSON_SYNTAX, 1},
    {TEXT("{\"a\":1,}"), PS_JSON_SYNTAX, 7},
    {TEXT("{\"a\":1,,\"b\":2}"), PS_JSON_SYNTAX, 7},
    {TEXT("{,\"a\":1}"), PS_JSON_SYNTAX, 1},
    {TEXT("{\"a\"}"), PS_JSON_SYNTAX, 4},
    {TEXT("{\"a\",1}"), PS_JSON_SYNTAX, 4},
    {TEXT("{\"a\":}"), PS_JSON_SYNTAX, 5},
    {TEXT("{\"a\":,}"), PS_JSON_SYNTAX, 5},
    {TEXT("{\"a\"::1}"), PS_JSON_SYNTAX, 5},
    {TEXT("{\"a\" 1}"), PS_JSON_SYNTAX, 5},
    {TEXT("{\"a\":1 \"b\":2}"), PS_JSON_SYNTAX, 7},
    {TEXT("{\"a\":1:2}"), PS_JSON_SYNTAX, 6},
    {TEXT("{\"a\":1]"), PS_JSON_SYNTAX, 6},
    {TEXT("{]"), PS_JSON_SYNTAX, 1},
    {TEXT("{:1}"), PS_JSON_SYNTAX, 1},
    {TEXT("{a:1}"), PS_JSON_SYNTAX, 1},
    {TEXT("{'a':1}"), PS_JSON_SYNTAX, 1},
    {TEXT("{1:1}"), PS_JSON_SYNTAX, 1},
    {TEXT("{null:1}"), PS_JSON_SYNTAX, 1},
    {TEXT("{[]:1}"), PS_JSON_SYNTAX, 1},
    {TEXT("{{}:1}"), PS_JSON_SYNTAX, 1},
    {TEXT("{\"a\":1,2}"), PS_JSON_SYNTAX, 7},
    {TEXT("}"), PS_JSON_SYNTAX, 0},
    {TEXT(":"), PS_JSON_SYNTAX, 0},
    {TEXT(","), PS_JSON_SYNTAX, 0},
    {TEXT("{\"a\":\"b\"/**/}"), PS_JSON_SYNTAX, 8},
    {TEXT("// c\n{}"), PS_JSON_SYNTAX, 0},
    {TEXT("/* c */{}"), PS_JSON_SYNTAX, 0},
    {TEXT("{\"a\":undefined}"), PS_JSON_SYNTAX, 5},
    {TEXT("{...}"), PS_JSON_SYNTAX, 1},
    /* Literals. */
    {TEXT("True"), PS_JSON_SYNTAX, 0},
    {TEXT("TRUE"), PS_JSON_SYNTAX, 0},
    {TEXT("tRue"), PS_JSON_SYNTAX, 1},
    {TEXT("trux"), PS_JSON_SYNTAX, 3},
    {TEXT("[truee]"), PS_JSON_SYNTAX, 5},
    {TEXT("[fals]"), PS_JSON_SYNTAX, 5},
    {TEXT("[nul]"), PS_JSON_SYNTAX, 4},
    {TEXT("[nulll]"), PS_JSON_SYNTAX, 5},
    {TEXT("NaN"), PS_JSON_SYNTAX, 0},
    {TEXT("[nan]"), PS_JSON_SYNTAX, 2},
    {TEXT("Infinity"), PS_JSON_SYNTAX, 0},
    {TEXT("[inf]"), PS_JSON_SYNTAX, 1},
    {TEXT("\\u006eull"), PS_JSON_SYNTAX, 0},
    /* Numbers. */
    {TEXT("01"), PS_JSON_BAD_NUMBER, 1},
    {TEXT("00"), PS_JSON_BAD_NUMBER, 1},
    {TEXT("-01"), PS_JSON_BAD_NUMBER, 2},
    {TEXT("[0123]"), PS_JSON_BAD_NUMBER, 2},
    {TEXT("+1"), PS_JSON_BAD_NUMBER, 0},
    {TEXT(".5"), PS_JSON_BAD_NUMBER, 0},
    {TEXT("[+1]"), PS_JSON_BAD_NUMBER, 1},
    {TEXT("[-.5]"), PS_JSON_BAD_NUMBER, 2},
    {TEXT("[-]"), PS_JSON_BAD_NUMBER, 2},
    {TEXT("[--1]"), PS_JSON_BAD_NUMBER, 2},
    {TEXT("[- 1]"), PS_JSON_BAD_NUMBER, 2},
    {TEXT("[+-1]"), PS_JSON_BAD_NUMBER, 1},
    {TEXT("[-a]"), PS_JSON_BAD_NUMBER, 2},
    {TEXT("[-Infinity]"), PS_JSON_BAD_NUMBER, 2},
    {TEXT("[1.]"), PS_JSON_BAD_NUMBER, 3},
    {TEXT("[1.e1]"), PS_JSON_BAD_NUMBER, 3},
    {TEXT("[1..2]"), PS_JSON_BAD_NUMBER, 3},
    {TEXT("[1.2.3]"), PS_JSON_BAD_NUMBER, 4},
    {TEXT("[1.-2]"), PS_JSON_BAD_NUMBER, 3},
    {TEXT("[1e]"), PS_JSON_BAD_NUMBER, 3},
    {TEXT("[1e+]"), PS_JSON_BAD_NUMBER, 4},
    {TEXT("[1e+-1]"), PS_JSON_BAD_NUMBER, 4},
    {TEXT("[1e1.5]"), PS_JSON_BAD_NUMBER, 4},
    {TEXT("[1e1e1]"), PS_JSON_BAD_NUMBER, 4},
    {TEXT("[0e+-1]"), PS_JSON_BAD_NUMBER, 4},
    {TEXT("[1-2]"), PS_JSON_BAD_NUMBER, 2},
    {TEXT("[1+2]"), PS_JSON_BAD_NUMBER, 2},
    {TEXT("[0.1-]"), PS_JSON_BAD_NUMBER, 4},
    {TEXT("[1e5+]"), PS_JSON_BAD_NUMBER, 4},
    {TEXT("[0x1f]"), PS_JSON_SYNTAX, 2},
    {TEXT("[1_000]"), PS_JSON_SYNTAX, 2},
    {TEXT("[1 000]"), PS_JSON_SYNTAX, 3},
    {TEXT("[1a]"), PS_JSON_SYNTAX, 2},
    {TEXT("[1\xc2\xa0]"), PS_JSON_SYNTAX, 2},
    {TEXT("[\xef\xbc\x91]"), PS_JSON_SYNTAX, 1}, /* a fullwidth digit */
    {TEXT("0b1"), PS_JSON_TRAILING, 1},
    /* Escapes. */
    {TEXT("\"\\a\""), PS_JSON_ESCAPE, 2},
    {TEXT("\"\\x41\""), PS_JSON_ESCAPE, 2},
    {TEXT("\"\\'\""), PS_JSON_ESCAPE, 2},
    {TEXT("\"\\0\""), PS_JSON_ESCAPE, 2},
    {TEXT("\"\\U0041\""), PS_JSON_ESCAPE, 2},
    {TEXT("\"\\\n\""), PS_JSON_ESCAPE, 2},
    {TEXT("\"\\\0\""), PS_JSON_ESCAPE, 2},
    {TEXT("\"\\\xc3\xa9\""), PS_JSON_ESCAPE, 2},
    {TEXT("\"\\u\""), PS_JSON_ESCAPE, 3},
    {TEXT("\"\\u004\""), PS_JSON_ESCAPE, 6},
    {TEXT("\"\\u00g0\""), PS_JSON_ESCAPE, 5},
    {TEXT("\"\\u+041\""), PS_JSON_ESCAPE, 3},
    {TEXT("\"\\u{41}\""), PS_JSON_ESCAPE, 3},
    {TEXT("\"\\ud83d\\u\""), PS_JSON_ESCAPE, 9},
    {TEXT("\"\\ud83d\\uz\""), PS_JSON_ESCAPE, 9},
    {TEXT("{\"\\q\":1}"), PS_JSON_ESCAPE, 3},
    /* Control characters. */
    {TEXT("\"\0\""), PS_JSON_CONTROL, 1},
    {TEXT("\"a\nb\""), PS_JSON_CONTROL, 2},
    {TEXT("\"\t\""), PS_JSON_CONTROL, 1},
    {TEXT("\"\x1f\""), PS_JSON_CONTROL, 1},
    {TEXT("\"0123456789abcdef\r\""), PS_JSON_CONTROL, 17},
    {TEXT("{\"a\x01\":1}"), PS_JSON_CONTROL, 3},
    /* UTF-8: bytes that never occur, overlong forms, surrogates, too high, cut short. */
    {TEXT("\"\x80\""), PS_JSON_UTF8, 1},
    {TEXT("\"\xbf\""), PS_JSON_UTF8, 1},
    {TEXT("\"\xc0\x80\""), PS_JSON_UTF8, 1},
    {TEXT("\"\xc1\xbf\""), PS_JSON_UTF8, 1},
    {TEXT("\"\xf5\x80\x80\x80\""), PS_JSON_UTF8, 1},
    {TEXT("\"\xf8\x88\x80\x80\x80\""), PS_JSON_UTF8, 1},
    {TEXT("\"\xfe\""), PS_JSON_UTF8, 1},
    {TEXT("\"\xff\""), PS_JSON_UTF8, 1},
    {TEXT("\"\xe0\x9f\xbf\""), PS_JSON_UTF8, 2},
    {TEXT("\"\xf0\x8f\xbf\xbf\""), PS_JSON_UTF8, 2},
    {TEXT("\"\xed\xa0\x80\""), PS_JSON_UTF8, 2},
    {TEXT("\"\xed\xbf\xbf\""), PS_JSON_UTF8, 2},
    {TEXT("\"\xed\xa0\xbd\xed\xb8\x80\""), PS_JSON_UTF8, 2},
    {TEXT("\"\xf4\x90\x80\x80\""), PS_JSON_UTF8, 2},
    {TEXT("\"\xc3\""), PS_JSON_UTF8, 2},
    {TEXT("\"\xc3x\""), PS_JSON_UTF8, 2},
    {TEXT("\"\xe2\x82\""), PS_JSON_UTF8, 3},
    {TEXT("\"\xe2\x82x\""), PS_JSON_UTF8, 3},
    {TEXT("\"\xe2\xe2\x82\xac\""), PS_JSON_UTF8, 2},
    {TEXT("\"\xf0\x9f\x98\""), PS_JSON_UTF8, 4},
    {TEXT("\"\xf0\x9f\x98xy\""), PS_JSON_UTF8, 4},
    {TEXT("\"\xf0\x9f\\n\""), PS_JSON_UTF8, 3},
    {TEXT("\"\xe2\x82\n\""), PS_JSON_UTF8, 3},
    {TEXT("\"\xe9t\xe9\""), PS_JSON_UTF8, 2}, /* Latin-1 */
    {TEXT("\"\xc3\xa9 0123456789abcdef \xa9 more than four bytes\""), PS_JSON_UTF8, 21},
    {TEXT("{\"\xc3\x28\":1}"), PS_JSON_UTF8, 3},
    {TEXT("[\"a\",\"\xe2\x82\xac\xe2\x28\xa1 more\"]"), PS_JSON_UTF8, 10},
};

static void test_refuses(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
        struct feeding f = {.limits = {64, 1000}, .text = ps_slice(bad[i].text, bad[i].len)};
        feed_all_ways(&f);
        if (f.error != bad[i].error || f.offset != bad[i].offset) {
            fail_msg("%s: expected error %d at %d, found %d at %d", bad[i].text, (int)bad[i].error,
                     (int)bad[i].offset, (int)f.error, (int)f.offset);
        }
        /* An error in the middle of a text was never a complete text before. */
        assert_false(f.complete);
    }
}

/* Every byte value at every kind of place, against a plain statement of what is allowed there. */
static void test_each_byte_in_each_place(void **state)
{
    (void)state;
    for (int byte = 0; byte < 256; byte++) {
        char text[8];
        bool space = byte == ' ' || byte == '\t' || byte == '\n' || byte == '\r';
        bool digit = byte >= '0' && byte <= '9';
        static const struct {
            const char *before;
            const char *after;
        } places[] = {{"[", "]"},       {"{", "}"},   {"[1", "]"},
                      {"{\"a\"", "1}"}, {"\"", "\""}, {"1", ""}};
        const bool allowed[] = {
            space || digit,
            space,
            space || digit,
            byte == ':',
            byte >= 0x20 && byte < 0x80 && byte != '"' && byte != '\\',
            space || digit,
        };
        for (size_t i = 0; i < sizeof(places) / sizeof(places[0]); i++) {
            int len =
                snprintf(text, sizeof(text), "%s%c%s", places[i].before, byte, places[i].after);
            struct feeding f = {.limits = {64, 1000}, .text = ps_slice(text, (size_t)len)};
            feed_all_ways(&f);
            if ((f.error == PS_JSON_OK) != allowed[i]) {
                fail_msg("byte %d between %s and %s: error %d", byte, places[i].before,
                         places[i].after, (int)f.error);
            }
        }
    }
}

/* Whether two, three or four bytes are one character, said another way: decode, then encode again.
 */
static bool is_character(const unsigned char *bytes, size_t len)
{
    uint32_t code = bytes[0] & (0xffu >> (len + 1));
    for (size_t i = 1; i < len; i++) {
        if ((bytes[i] & 0xc0) != 0x80) {
            return false;
        }
        code = code << 6 | (bytes[i] & 0x3f);
    }
    if (code > 0x10ffff || (code >= 0xd800 && code <= 0xdfff)) {
        return false;
    }
    char again[4];
    return ps_json_utf8(code, again) == len && memcmp(again, bytes, len) == 0;
}

static void test_utf8_borders(void **state)
{
    (void)state;
    static const unsigned char seconds[] = {0x00, 0x22, 0x5c, 0x7f, 0x80, 0x8f, 0x90,
                                            0x9f, 0xa0, 0xbf, 0xc0, 0xe0, 0xff};
    for (unsigned int lead = 0xc0; lead < 0x100; lead++) {
        size_t len = lead < 0xe0 ? 2 : lead < 0xf0 ? 3 : 4;
        for (size_t i = 0; i < sizeof(seconds); i++) {
            for (size_t j = 0; j < (len > 2 ? sizeof(seconds) : 1); j++) {
                unsigned char text[16] = {'"', (unsigned char)lead, seconds[i], 0xbf, 0x80};
                if (len > 2) {
                    text[len] = seconds[j];
                }
                /* Once at the end, once with enough behind it for the fast way. */
                for (size_t tail = 0; tail <= 8; tail += 8) {
                    memset(text + 1 + len, 'x', tail);
                    text[1 + len + tail] = '"';
                    struct feeding f = {.limits = {1, 1},
                                        .text = ps_slice((const char *)text, 2 + len + tail)};
                    feed_cut(&f, 0, 0, f.text.len);
                    struct feeding cut = f;
                    feed_cut(&cut, 0, 0, 1);
                    assert_same(&f, &cut, 1, 1);
                    bool expected = lead < 0xf8 && is_character(text + 1, len);
                    assert_int_equal(f.error == PS_JSON_OK, expected);
                }
            }
        }
    }
}

/* The wide searches against the plain one, with a special byte at every place of every alignment.
 */
static void test_find_special(void **state)
{
    (void)state;
    static const unsigned char bytes[] = {0x00, 0x1f, '"',  '\\', 0x80, 0xff,       0x20,
                                          0x21, 0x23, 0x5b, 0x5d, 0x7f, 0x22 ^ 0x80};
    for (size_t len = 0; len <= 40; len++) {
        for (size_t at = 0; at < len; at++) {
            for (size_t i = 0; i < sizeof(bytes) * 2; i++) {
                char *text = malloc(len);
                assert_non_null(text);
                memset(text, i % 2 == 0 ? ' ' : '~', len);
                text[at] = (char)bytes[i / 2];
                if (at + 2 < len) {
                    text[at + 2] = '"';
                }
                const char *end = text + len;
                const char *expected = ps_json_find_special_bytewise(text, end);
                assert_ptr_equal(ps_json_find_special_portable(text, end), expected);
                assert_ptr_equal(ps_json_find_special(text, end), expected);
                free(text);
            }
        }
    }
}

static void test_long_strings_cut_anywhere(void **state)
{
    (void)state;
    static const char body[] =
        "plain plain plain \\\" \\u00e9 \xc3\xa9 \xe2\x82\xac \xf0\x9f\x98\x80 ";
    char text[512] = "[\"";
    for (int i = 0; i < 6; i++) {
        memcpy(text + strlen(text), body, sizeof(body));
    }
    memcpy(text + strlen(text), "\"]", 3);
    struct feeding f = {.limits = {64, 1000}, .text = ps_slice_cstr(text)};
    feed_all_ways(&f);
    assert_int_equal(f.error, PS_JSON_OK);
    for (size_t step = 4; step < 40; step++) {
        feed_cut(&f, 0, 0, step);
        assert_int_equal(f.error, PS_JSON_OK);
    }
}

static void test_depth_limit(void **state)
{
    (void)state;
    for (uint32_t depth = 0; depth <= PS_JSON_MAX_DEPTH + 2; depth++) {
        char text[512] = "";
        char close[128] = "";
        for (uint32_t i = 0; i < depth; i++) {
            memcpy(text + strlen(text), i % 3 == 0 ? "{\"a\":" : "[1,", i % 3 == 0 ? 6 : 4);
        }
        size_t opened = strlen(text);
        for (uint32_t i = depth; i > 0; i--) {
            close[depth - i] = (i - 1) % 3 == 0 ? '}' : ']';
        }
        snprintf(text + opened, sizeof(text) - opened, "null%s", close);
        struct feeding f = {.limits = {depth, 1000}, .text = ps_slice_cstr(text)};
        feed_cut(&f, 0, 0, 1);
        assert_int_equal(f.error, depth > PS_JSON_MAX_DEPTH ? PS_JSON_DEPTH : PS_JSON_OK);
        if (depth == 0) {
            continue;
        }
        f.limits.depth = depth - 1;
        feed_all_ways(&f);
        assert_int_equal(f.error, PS_JSON_DEPTH);
        assert_true(text[f.offset] == '{' || text[f.offset] == '[');
        size_t brackets = 0;
        for (size_t i = 0; i <= f.offset; i++) {
            brackets += text[i] == '{' || text[i] == '[';
        }
        uint32_t allowed = depth - 1 < PS_JSON_MAX_DEPTH ? depth - 1 : PS_JSON_MAX_DEPTH;
        assert_int_equal(brackets, allowed + 1);
    }
    /* Depth counts what is open, not what there has been. */
    struct feeding f = {.limits = {2, 1000}, .text = ps_slice_cstr("[[],[],{},[]]")};
    feed_all_ways(&f);
    assert_int_equal(f.error, PS_JSON_OK);
}

static void test_node_limit(void **state)
{
    (void)state;
    struct feeding f = {.limits = {64, 7},
                        .text = ps_slice_cstr("{\"a\":[1,\"s\",null,true],\"b\":{}}")};
    feed_all_ways(&f);
    assert_int_equal(f.error, PS_JSON_OK);
    static const uint64_t starts[] = {0, 5, 6, 8, 12, 17, 27};
    for (size_t i = 0; i < sizeof(starts) / sizeof(starts[0]); i++) {
        f.limits.nodes = i;
        feed_all_ways(&f);
        assert_int_equal(f.error, PS_JSON_NODES);
        assert_int_equal(f.offset, starts[i]);
    }
}

static void test_error_stays(void **state)
{
    (void)state;
    const struct ps_json_limits limits = {8, 8};
    struct ps_json_scan scan;
    ps_json_scan_init(&scan, NULL, &limits, NULL, NULL);
    assert_int_equal(ps_json_scan_feed(&scan, "[x", 2), PS_JSON_SYNTAX);
    assert_int_equal(ps_json_scan_feed(&scan, "1]", 2), PS_JSON_SYNTAX);
    assert_int_equal(ps_json_scan_feed(&scan, NULL, 0), PS_JSON_SYNTAX);
    assert_int_equal(ps_json_scan_finish(&scan), PS_JSON_SYNTAX);
    assert_int_equal(scan.offset, 1);
    assert_false(ps_json_scan_complete(&scan));
}

static void test_complete_follows_the_text(void **state)
{
    (void)state;
    static const char text[] = " {\"a\":[1]} ";
    const struct ps_json_limits limits = {8, 8};
    struct ps_json_scan scan;
    ps_json_scan_init(&scan, NULL, &limits, NULL, NULL);
    assert_int_equal(ps_json_scan_feed(&scan, NULL, 0), PS_JSON_OK);
    for (size_t i = 0; i < sizeof(text) - 1; i++) {
        assert_int_equal(scan.began, i > 1);
        assert_int_equal(ps_json_scan_complete(&scan), i >= 10);
        assert_int_equal(ps_json_scan_feed(&scan, text + i, 1), PS_JSON_OK);
        assert_int_equal(scan.offset, i + 1);
    }
    assert_int_equal(scan.root, PS_JSON_OBJECT);
    assert_int_equal(ps_json_scan_finish(&scan), PS_JSON_OK);
    assert_true(ps_json_scan_complete(&scan));
    /* A number at the top is whole once something else follows, or the end. */
    ps_json_scan_init(&scan, NULL, &limits, NULL, NULL);
    ps_json_scan_feed(&scan, "12", 2);
    assert_false(ps_json_scan_complete(&scan));
    ps_json_scan_feed(&scan, "\n", 1);
    assert_true(ps_json_scan_complete(&scan));
}

static void test_scan_text(void **state)
{
    (void)state;
    const struct ps_json_limits limits = {8, 8};
    assert_int_equal(ps_json_scan_text(PS_SLICE_LIT("[1]"), NULL, &limits, NULL, NULL), PS_JSON_OK);
    assert_int_equal(ps_json_scan_text(PS_SLICE_LIT("-"), NULL, &limits, NULL, NULL),
                     PS_JSON_INCOMPLETE);
    assert_int_equal(ps_json_scan_text(PS_SLICE_NONE, NULL, &limits, NULL, NULL),
                     PS_JSON_INCOMPLETE);
}

static void test_every_error_has_a_text(void **state)
{
    (void)state;
    assert_string_equal(ps_json_error_text(PS_JSON_OK), "");
    for (int i = PS_JSON_SYNTAX; i <= PS_JSON_STOPPED; i++) {
        assert_true(strlen(ps_json_error_text((enum ps_json_error)i)) > 0);
    }
    assert_non_null(ps_json_error_text((enum ps_json_error)(PS_JSON_STOPPED + 1)));
}

struct unescape {
    const char *raw;
    const char *text;
    size_t len;
};

static const struct unescape unescapes[] = {
    {"\"\"", TEXT("")},
    {"\"plain \xc3\xa9\"", TEXT("plain \xc3\xa9")},
    {"\"\\\"\\\\\\/\\b\\f\\n\\r\\t\"", TEXT("\"\\/\b\f\n\r\t")},
    {"\"a\\nb\\\\n\"", TEXT("a\nb\\n")},
    {"\"\\u0041\\u00e9\\u20AC\\u0000\"", TEXT("A\xc3\xa9\xe2\x82\xac\0")},
    {"\"\\u007f\\u0080\\u07ff\\u0800\\uffff\"",
     TEXT("\x7f\xc2\x80\xdf\xbf\xe0\xa0\x80\xef\xbf\xbf")},
    {"\"\\ud83d\\ude00!\"", TEXT("\xf0\x9f\x98\x80!")},
    {"\"\\ud800\\udc00\\uDBFF\\uDFFF\"", TEXT("\xf0\x90\x80\x80\xf4\x8f\xbf\xbf")},
    {"\"\\ud83d\"", TEXT("\xef\xbf\xbd")},
    {"\"\\ude00x\"", TEXT("\xef\xbf\xbdx")},
    {"\"\\ud83d\\n\"", TEXT("\xef\xbf\xbd\n")},
    {"\"\\ud83d\\u0041\"", TEXT("\xef\xbf\xbd"
                                "A")},
    {"\"\\ud83d\\ud83d\\ude00\"", TEXT("\xef\xbf\xbd\xf0\x9f\x98\x80")},
    {"\"\\ude00\\ud83d\"", TEXT("\xef\xbf\xbd\xef\xbf\xbd")},
};

static void test_unescape(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof(unescapes) / sizeof(unescapes[0]); i++) {
        struct ps_slice raw = ps_slice_cstr(unescapes[i].raw);
        char *out = malloc(raw.len);
        assert_non_null(out);
        size_t len = ps_json_unescape(raw, out);
        assert_int_equal(len, unescapes[i].len);
        assert_memory_equal(out, unescapes[i].text, len);
        free(out);
    }
    /* What no scan lets through still stays inside its memory. */
    static const char *const broken[] = {"",        "\"",        "\"\\\"",
                                         "\"\\u\"", "\"\\u12\"", "\"\\ud83d\\u1\""};
    for (size_t i = 0; i < sizeof(broken) / sizeof(broken[0]); i++) {
        size_t size = strlen(broken[i]);
        char *raw = malloc(size + 1);
        char *out = malloc(size + 1);
        assert_true(raw != NULL && out != NULL);
        memcpy(raw, broken[i], size);
        assert_true(ps_json_unescape(ps_slice(raw, size), out) <= size);
        free(raw);
        free(out);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_accepts),
        cmocka_unit_test(test_refuses),
        cmocka_unit_test(test_each_byte_in_each_place),
        cmocka_unit_test(test_utf8_borders),
        cmocka_unit_test(test_find_special),
        cmocka_unit_test(test_long_strings_cut_anywhere),
        cmocka_unit_test(test_depth_limit),
        cmocka_unit_test(test_node_limit),
        cmocka_unit_test(test_error_stays),
        cmocka_unit_test(test_complete_follows_the_text),
        cmocka_unit_test(test_scan_text),
        cmocka_unit_test(test_every_error_has_a_text),
        cmocka_unit_test(test_unescape),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

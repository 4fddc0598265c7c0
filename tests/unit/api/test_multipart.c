/* SPDX-License-Identifier: Apache-2.0 */
#include "multipart.h"
#include "testing.h"

#include "penstock/base/buf.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* Each body is fed whole, byte by byte and cut at every byte, out of memory that ends where the
 * piece ends. */

struct record {
    struct ps_buf text; /* "name(filename)=contents;" for each part */
    int fail_at;        /* the callback that refuses; -1: none does */
    int calls;
};

static int note(struct record *record, struct ps_fault *fault)
{
    if (record->calls++ == record->fail_at) {
        return ps_fault_set(fault, PS_FAULT_BAD_FIELD, NULL, "callback");
    }
    return 0;
}

static int on_part(void *arg, const struct ps_form_part *part, struct ps_fault *fault)
{
    struct record *record = arg;
    ps_buf_slice(&record->text, part->name);
    if (part->has_filename) {
        ps_buf_byte(&record->text, '(');
        ps_buf_slice(&record->text, part->filename);
        ps_buf_byte(&record->text, ')');
    }
    ps_buf_byte(&record->text, '=');
    return note(record, fault);
}

static int on_data(void *arg, const char *ptr, size_t len, struct ps_fault *fault)
{
    struct record *record = arg;
    (void)fault;
    assert_true(len > 0);
    ps_buf_append(&record->text, ptr, len);
    return 0;
}

static int on_end(void *arg, struct ps_fault *fault)
{
    struct record *record = arg;
    ps_buf_byte(&record->text, ';');
    return note(record, fault);
}

static const struct ps_form_ops ops = {on_part, on_data, on_end};

static int feed_copy(struct ps_form *form, const char *ptr, size_t len, struct ps_fault *fault)
{
    char *piece = malloc(len > 0 ? len : 1);
    assert_non_null(piece);
    memcpy(piece, ptr, len);
    int rc = ps_form_feed(form, piece, len, fault);
    free(piece);
    return rc;
}

/* `step` 0: whole; else in pieces of so many bytes; `cut`: in two pieces. */
static void run(const char *type, struct ps_slice body, size_t step, size_t cut, char *ret,
                size_t size)
{
    static struct ps_form form;
    struct record record = {.fail_at = -1};
    struct ps_fault fault = {.kind = PS_FAULT_NONE};
    ps_buf_init(&record.text, 1 << 20);
    int rc = ps_form_init(&form, ps_slice_cstr(type), &ops, &record, &fault);
    for (size_t at = 0; rc == 0 && at < body.len;) {
        size_t len = step > 0 ? step : at < cut ? cut : body.len - at;
        len = len < body.len - at ? len : body.len - at;
        rc = feed_copy(&form, body.ptr + at, len, &fault);
        at += len;
    }
    if (rc == 0) {
        rc = ps_form_finish(&form, &fault);
    }
    if (rc != 0) {
        assert_int_equal(rc, -1);
        assert_int_equal(fault.kind, PS_FAULT_BAD_FIELD);
        (void)snprintf(ret, size, "%s", fault.message);
    } else {
        (void)snprintf(ret, size, "%.*s", (int)record.text.len, record.text.ptr);
    }
    ps_buf_deinit(&record.text);
}

static void expect_bytes(const char *type, struct ps_slice body, const char *expected)
{
    char got[4096];
    char again[4096];
    run(type, body, 0, 0, got, sizeof(got));
    if (strncmp(got, expected, strlen(expected)) != 0 ||
        (expected[0] != 'T' && expected[0] != 'C' && strlen(got) != strlen(expected))) {
        fail_msg("expected %s, got %s", expected, got);
    }
    for (size_t step = 1; step < 4; step++) {
        run(type, body, step, 0, again, sizeof(again));
        assert_string_equal(again, got);
    }
    for (size_t cut = 1; cut < body.len; cut++) {
        run(type, body, 0, cut, again, sizeof(again));
        assert_string_equal(again, got);
    }
}

#define TYPE       "multipart/form-data; boundary=b"
#define HEAD(name) "Content-Disposition: form-data; name=\"" name "\"\r\n\r\n"
#define PART(n, v) "--b\r\n" HEAD(n) v "\r\n"
#define END        "--b--\r\n"

static void parts_come_as_they_are(void **state)
{
    static const struct {
        const char *type;
        const char *body;
        const char *expected;
    } cases[] = {
        {TYPE, PART("a", "1") PART("b", "two") END, "a=1;b=two;"},
        {TYPE, PART("a", "") END, "a=;"},
        {TYPE, "--b\r\n" HEAD("a") "--b--", "a=;"}, /* its line end is the head's */
        {TYPE, "--b--", ""},
        {TYPE, "preamble\r\n" PART("a", "1") END "epilogue --b", "a=1;"},
        {TYPE, "\r\n" PART("a", "1") END, "a=1;"},
        {TYPE, "--b \t\r\n" HEAD("a") "1\r\n--b-- \t", "a=1;"},
        {TYPE, PART("a", "line\r\nline\r\n") END, "a=line\r\nline\r\n;"},
        {TYPE, PART("a", "\r\n-") END, "a=\r\n-;"},
        {TYPE, PART("a", "\r\n--") END, "a=\r\n--;"},
        {TYPE, PART("a", "\r\r\n\r\n\r\n--c\r\n-\r\n--\r") END,
         "a=\r\r\n\r\n\r\n--c\r\n-\r\n--\r;"},
        {TYPE, PART("a", "-b--b--b") END, "a=-b--b--b;"},
        {TYPE, PART("a", "--c") END, "a=--c;"}, /* begins like the boundary, at the beginning */
        {"multipart/form-data; boundary=\"a b'()+_,-./:=?\"",
         "--a b'()+_,-./:=?\r\n" HEAD("a") "1\r\n--a b'()+_,-./:=?--", "a=1;"},
        {"Multipart/Form-Data; charset=utf-8; BOUNDARY=b", PART("a", "1") END, "a=1;"},
        {TYPE,
         "--b\r\ncontent-disposition:form-data;name=file;filename=\"x y.jsonl\"\r\n"
         "Content-Type: application/octet-stream\r\n\r\n{}\n\r\n" END,
         "file(x y.jsonl)={}\n;"},
        {TYPE,
         "--b\r\nContent-Disposition: form-data; name=\"f\"; filename=\"a\\\"b\\\\c\\d\"\r\n\r\n"
         "1\r\n" END,
         "f(a\"b\\c\\d)=1;"},
        {TYPE, "--b\r\nContent-Disposition: form-data; name=\"f\"; filename=\"\"\r\n\r\n\r\n" END,
         "f()=;"},
        {TYPE,
         "--b\r\nContent-Transfer-Encoding: binary\r\n"
         "Content-Disposition: form-data; name=a; filename*=utf-8''x\r\n\r\n1\r\n" END,
         "a=1;"},
        {TYPE, PART("expires_after[anchor]", "created_at") END,
         "expires_after[anchor]=created_at;"},
    };
    (void)state;
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        expect_bytes(cases[i].type, ps_slice_cstr(cases[i].body), cases[i].expected);
    }
}

static void what_is_wrong_is_said(void **state)
{
    static const struct {
        const char *type;
        const char *body;
        const char *expected; /* the beginning */
    } cases[] = {
        {"", "", "The body must be multipart/form-data"},
        {"application/json", "{}", "The body must be multipart/form-data"},
        {"multipart/mixed; boundary=b", PART("a", "1") END, "The body must be"},
        {"multipart/form-data", "", "Content-Type names no usable boundary"},
        {"multipart/form-data; boundary=", "", "Content-Type names no usable boundary"},
        {"multipart/form-data; boundary=\"\"", "", "Content-Type names no usable boundary"},
        {"multipart/form-data; boundary=\"b", "", "Content-Type names no usable boundary"},
        {"multipart/form-data; boundary=\"\xc3\xa9\"", "", "Content-Type names no usable boundary"},
        {"multipart/form-data; boundary="
         "01234567890123456789012345678901234567890123456789012345678901234567890",
         "", "Content-Type names no usable boundary"},
        {TYPE, "", "The multipart body ends before its closing boundary"},
        {TYPE, "nothing", "The multipart body ends before its closing boundary"},
        {TYPE, PART("a", "1"), "The multipart body ends before its closing boundary"},
        {TYPE, PART("a", "1") "--b-", "The multipart body ends before its closing boundary"},
        {TYPE, PART("a", "1") "--bb--", "The multipart body has text behind a boundary"},
        {TYPE, PART("a", "1") "--b-x", "The multipart body has text behind a boundary"},
        {TYPE, "--b\n" HEAD("a") "1\r\n" END, "The multipart body has text behind a boundary"},
        {TYPE, "--b\r\nContent-Disposition: form-data; name=a\n\r\n1\r\n" END,
         "The multipart body has a header line that does not end with CRLF"},
        {TYPE, "--b\r\nContent-Disposition: form-data;\r name=a\r\n\r\n1\r\n" END,
         "The multipart body has a header line that does not end with CRLF"},
        {TYPE, "--b\r\n\r\n1\r\n" END, "The multipart body has a part without Content-Disposition"},
        {TYPE, "--b\r\nContent-Disposition: form-data\r\n\r\n1\r\n" END,
         "The multipart body has a part without a name"},
        {TYPE, "--b\r\nContent-Disposition: form-data; name=\"\"\r\n\r\n1\r\n" END,
         "The multipart body has a part whose name is empty or too long"},
        {TYPE, "--b\r\nContent-Disposition: attachment; name=a\r\n\r\n1\r\n" END,
         "The multipart body has a part that is no form-data"},
        {TYPE, "--b\r\nContent-Disposition: form-data; name=a; name=b\r\n\r\n1\r\n" END,
         "The multipart body has a part with two names"},
        {TYPE, "--b\r\nContent-Disposition: form-data; name=\"a\r\n\r\n1\r\n" END,
         "The multipart body has a malformed Content-Disposition"},
        {TYPE, "--b\r\nContent-Disposition: form-data; name\r\n\r\n1\r\n" END,
         "The multipart body has a malformed Content-Disposition"},
        {TYPE,
         "--b\r\nContent-Disposition: form-data; name=a\r\nContent-Disposition: form-data; "
         "name=b\r\n\r\n1\r\n" END,
         "The multipart body has a part with two Content-Disposition lines"},
        {TYPE, "--b\r\nno colon\r\n\r\n1\r\n" END,
         "The multipart body has a part with a malformed header line"},
        {TYPE, "--b\r\n folded: x\r\n\r\n1\r\n" END,
         "The multipart body has a part with a malformed header line"},
        {TYPE, "--b\r\nContent-Transfer-Encoding: base64\r\n" HEAD("a") "MQ==\r\n" END,
         "The multipart body has a part with a Content-Transfer-Encoding other than binary"},
    };
    (void)state;
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        expect_bytes(cases[i].type, ps_slice_cstr(cases[i].body), cases[i].expected);
    }
}

static void contents_may_hold_any_byte(void **state)
{
    static const char body[] =
        "--b\r\nContent-Disposition: form-data; name=a\r\n\r\n\0\r\n\0--b\r\n"
        "\xff\r\n--b--";
    char got[256];
    (void)state;
    run(TYPE, ps_slice(body, sizeof(body) - 1), 0, 0, got, sizeof(got));
    assert_memory_equal(got, "a=", 3); /* snprintf stops at the NUL */
    static const char nul_in_head[] = "--b\r\nA\0B: c\r\n\r\n\r\n--b--";
    run(TYPE, ps_slice(nul_in_head, sizeof(nul_in_head) - 1), 0, 0, got, sizeof(got));
    assert_string_equal(got, "The multipart body has a header line that does not end with CRLF.");
}

static void heads_and_parts_are_counted(void **state)
{
    struct ps_buf body;
    char got[256];
    (void)state;
    ps_buf_init(&body, 1 << 20);
    for (int parts = 0; parts < PS_FORM_PARTS; parts++) {
        ps_buf_cstr(&body, PART("a", ""));
    }
    size_t most = body.len;
    ps_buf_cstr(&body, END);
    run(TYPE, ps_buf_view(&body), 0, 0, got, sizeof(got));
    assert_memory_equal(got, "a=;a=;", 6);
    body.len = most;
    ps_buf_cstr(&body, PART("a", "") END);
    run(TYPE, ps_buf_view(&body), 0, 0, got, sizeof(got));
    assert_string_equal(got, "The multipart body has too many parts.");

    ps_buf_reset(&body);
    ps_buf_cstr(&body, "--b\r\nX-Long: ");
    while (body.len < PS_FORM_HEAD + 32) {
        ps_buf_byte(&body, 'x');
    }
    ps_buf_cstr(&body, "\r\n" HEAD("a") "1\r\n" END);
    run(TYPE, ps_buf_view(&body), 0, 0, got, sizeof(got));
    assert_string_equal(got, "The multipart body has a part whose headers are too long.");
    ps_buf_deinit(&body);
}

static void a_callback_that_refuses_ends_it(void **state)
{
    struct ps_slice body = PS_SLICE_LIT(PART("a", "1") PART("b", "2") END);
    (void)state;
    for (int fail_at = 0; fail_at < 4; fail_at++) {
        static struct ps_form form;
        struct record record = {.fail_at = fail_at};
        struct ps_fault fault;
        ps_buf_init(&record.text, 4096);
        assert_int_equal(ps_form_init(&form, PS_SLICE_LIT(TYPE), &ops, &record, &fault), 0);
        assert_int_equal(ps_form_feed(&form, body.ptr, body.len, &fault), -1);
        assert_string_equal(fault.message, "callback");
        assert_int_equal(record.calls, fail_at + 1);
        ps_buf_deinit(&record.text);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(parts_come_as_they_are),
        cmocka_unit_test(what_is_wrong_is_said),
        cmocka_unit_test(contents_may_hold_any_byte),
        cmocka_unit_test(heads_and_parts_are_counted),
        cmocka_unit_test(a_callback_that_refuses_ends_it),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

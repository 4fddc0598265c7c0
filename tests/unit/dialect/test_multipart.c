/* SPDX-License-Identifier: Apache-2.0 */
#include "multipart.h"
#include "rig.h"

/* Each body is fed whole, byte by byte and cut at every byte. */

struct sample {
    const char *type;
    const char *body;
    const char
        *expected; /* "model=… stream=…", "refused …", or the beginning of either's message */
};

static void run(const struct sample *sample, size_t at, bool bytes, char *out, size_t size)
{
    struct ps_multipart multipart;
    struct ps_multipart_field fields[] = {{.name = "model"}, {.name = "stream"}};
    struct ps_fault fault = {.kind = PS_FAULT_NONE};
    struct ps_slice body = ps_slice_cstr(sample->body);
    size_t step = bytes ? 1 : at > 0 ? at : body.len;
    int rc = ps_multipart_init(&multipart, ps_slice_cstr(sample->type), fields, 2, &fault);

    for (size_t i = 0; rc == 0 && i < body.len; i += step) {
        char *piece;

        if (i > 0 && !bytes) {
            step = body.len - i;
        }
        piece = malloc(step);
        assert_non_null(piece);
        memcpy(piece, body.ptr + i, step);
        rc = ps_multipart_feed(&multipart, piece, step, &fault);
        free(piece);
    }
    if (rc == 0) {
        rc = ps_multipart_finish(&multipart, &fault);
    }
    out[0] = '\0';
    if (rc != 0) {
        (void)snprintf(out, size, "refused: %s", fault.message);
        return;
    }
    for (size_t i = 0; i < 2; i++) {
        size_t len = strlen(out);

        if (fields[i].given) {
            assert_true(fields[i].span.start <= fields[i].span.end &&
                        fields[i].span.end <= body.len);
            (void)snprintf(out + len, size - len, "%s=%.*s;", fields[i].name,
                           (int)(fields[i].span.end - fields[i].span.start),
                           body.ptr + fields[i].span.start);
        }
    }
}

#define TYPE              "multipart/form-data; boundary=b"
#define HEAD(name)        "Content-Disposition: form-data; name=\"" name "\"\r\n"
#define PART(name, value) "--b\r\n" HEAD(name) "\r\n" value "\r\n"

static void finds_fields(void **state)
{
    static const struct sample samples[] = {
        {TYPE, PART("model", "m") "--b--", "model=m;"},
        {TYPE, PART("model", "m") PART("stream", "true") "--b--\r\nepilogue --b",
         "model=m;stream=true;"},
        {TYPE, "preamble\r\n--bx?\r\n" PART("model", "m") "--b--",
         "refused: The multipart body has text behind"},
        {TYPE, "preamble\r\n" PART("model", "m") "--b--", "model=m;"},
        {TYPE, "--b \t\r\n" HEAD("model") "\r\nm\r\n--b--", "model=m;"},
        {TYPE, PART("model", "") "--b--", "model=;"},
        {TYPE, "--b\r\n" HEAD("model") "\r\n--b--", "model=;"},
        {TYPE, "--b--", ""},
        {TYPE, PART("model", "\r\n\r\r\n-\r\n--\r\n--a\r") "--b--",
         "model=\r\n\r\r\n-\r\n--\r\n--a\r;"},
        {TYPE, PART("x", "name=\"model\"") "--b--", ""},
        {TYPE, PART("Model", "m") "--b--", ""},
        {TYPE, "--b\r\n\r\nno head\r\n" PART("model", "m") "--b--", "model=m;"},
        {TYPE,
         "--b\r\nContent-Type: text/plain\r\ncontent-disposition:form-data; filename=\"a;\\\" "
         "name=x\"; name=model"
         "\r\n\r\nm\r\n--b--",
         "model=m;"},
        {"Multipart/Form-Data; charset=x; BOUNDARY=\"a b\\\"c\"",
         "--a b\"c\r\n" HEAD("model") "\r\nm\r\n--a b\"c--", "model=m;"},
        {TYPE, PART("model", "m") PART("model", "n") "--b--",
         "refused: The multipart body has the field model more"},
        {TYPE, "", "refused: The multipart body ends before"},
        {TYPE, PART("model", "m"), "refused: The multipart body ends before"},
        {TYPE, PART("model", "m") "--b-", "refused: The multipart body ends before"},
        {TYPE, PART("model", "m") "--b\n", "refused: The multipart body has text behind"},
        {TYPE, PART("model", "m") "--b-x", "refused: The multipart body has text behind"},
        {TYPE, "--b\r\nno colon\r\n\r\nx\r\n--b--",
         "refused: The multipart body has a header line without"},
        {TYPE,
         "--b\r\n"
         "a: b\nc: d\r\n\r\nx\r\n--b--",
         "refused: The multipart body has a header line that"},
        {"multipart/form-data", "x", "refused: The content type names no boundary"},
        {"multipart/form-data; boundary=", "x", "refused: The content type names no boundary"},
        {"multipart/form-data; boundary=\"x", "x", "refused: The content type names no boundary"},
        {"multipart/form-data; boundary=\"\x01\"", "x",
         "refused: The boundary in the content type"},
        {"multipart/form-data; "
         "boundary=1234567890123456789012345678901234567890123456789012345678901234567890x",
         "x", "refused: The content type names no boundary"},
    };
    char seen[512];

    (void)state;
    for (size_t i = 0; i < sizeof(samples) / sizeof(samples[0]); i++) {
        const struct sample *sample = &samples[i];
        bool refused = strncmp(sample->expected, "refused", 7) == 0;

        for (size_t at = 0; at <= strlen(sample->body); at++) {
            run(sample, at, at == strlen(sample->body), seen, sizeof(seen));
            if (refused ? strncmp(seen, sample->expected, strlen(sample->expected)) != 0
                        : strcmp(seen, sample->expected) != 0) {
                fail_msg("%s\n(cut %zu) expected %s\n            found %s", sample->body, at,
                         sample->expected, seen);
            }
        }
    }
}

static void bounds_parts_and_heads(void **state)
{
    static char body[16384];
    char seen[512];
    struct sample sample = {TYPE, body, ""};

    (void)state;
    for (int parts = 63; parts <= 66; parts++) {
        size_t len = 0;

        for (int i = 0; i < parts; i++) {
            len += (size_t)snprintf(body + len, sizeof(body) - len, "%s", PART("x", "y"));
        }
        (void)snprintf(body + len, sizeof(body) - len, "--b--");
        run(&sample, 0, false, seen, sizeof(seen));
        assert_int_equal(strncmp(seen, "refused", 7) == 0, parts > 64);
    }
    for (size_t extra = 4080; extra < 4100; extra++) {
        size_t len = (size_t)snprintf(body, sizeof(body), "--b\r\nX: ");

        memset(body + len, 'x', extra);
        (void)snprintf(body + len + extra, sizeof(body) - len - extra, "\r\n\r\ny\r\n--b--");
        run(&sample, 0, false, seen, sizeof(seen));
        assert_int_equal(strncmp(seen, "refused", 7) == 0, 3 + extra + 4 > PS_MULTIPART_HEADER);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(finds_fields),
        cmocka_unit_test(bounds_parts_and_heads),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}

/* SPDX-License-Identifier: Apache-2.0 */
#include "json_walk.h"
#include "number.h"
#include "openai_priv.h"

#include "penstock/base/mem.h"

#include <math.h>

static void write_floats(const float *vector, size_t count, struct ps_buf *out)
{
    ps_buf_byte(out, '[');
    for (size_t i = 0; i < count; i++) {
        if (i > 0) {
            ps_buf_byte(out, ',');
        }
        ps_dialect_write_float(out, vector[i]);
    }
    ps_buf_byte(out, ']');
}

/* Byte `at` of the vector in the order the API has, little end first. */
static uint32_t byte_of(const float *vector, size_t at)
{
    uint32_t bits;

    memcpy(&bits, &vector[at / 4], sizeof(bits));
    return bits >> (at % 4 * 8) & 0xff;
}

static void write_base64(const float *vector, size_t count, struct ps_buf *out)
{
    static const char digits[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    size_t len = count * 4;
    char *to;

    ps_buf_byte(out, '"');
    to = ps_buf_reserve(out, (len + 2) / 3 * 4);
    if (to == NULL) {
        return;
    }
    for (size_t at = 0; at < len; at += 3) {
        uint32_t three = byte_of(vector, at) << 16;

        three |= at + 1 < len ? byte_of(vector, at + 1) << 8 : 0;
        three |= at + 2 < len ? byte_of(vector, at + 2) : 0;
        *to++ = digits[three >> 18];
        *to++ = digits[three >> 12 & 63];
        *to++ = at + 1 < len ? digits[three >> 6 & 63] : '=';
        *to++ = at + 2 < len ? digits[three & 63] : '=';
    }
    ps_buf_commit(out, (len + 2) / 3 * 4);
    ps_buf_byte(out, '"');
}

/* A vector as raw JSON in bytes. */
static bool write_raw_base64(struct ps_slice raw, struct ps_buf *out)
{
    struct ps_json_walk walk;
    struct ps_slice element;
    size_t room = raw.len / 2 + 1;
    size_t count = 0;
    float *vector = ps_malloc(room * sizeof(*vector));
    double number = 0;
    bool fine = true;

    if (vector == NULL) {
        out->failed = true;
        return true;
    }
    ps_json_walk_init(&walk, raw);
    while (fine && count < room && ps_json_walk_element(&walk, &element)) {
        fine = ps_json_double(element, &number) && fabs(number) <= 3.4e38;
        vector[count++] = fine ? (float)number : 0;
    }
    if (fine) {
        write_base64(vector, count, out);
    }
    ps_free(vector);
    return fine;
}

static bool is_finite(const struct ps_event *event)
{
    for (size_t i = 0; event->vector != NULL && i < event->dimensions; i++) {
        if (!isfinite(event->vector[i])) {
            return false;
        }
    }
    return true;
}

bool ps_openai_write_vector(const struct ps_event *event, bool base64, struct ps_buf *out)
{
    if (!is_finite(event)) {
        return false;
    }
    if (event->vector == NULL && base64) {
        return write_raw_base64(event->text, out);
    }
    if (event->vector == NULL) {
        ps_buf_slice(out, event->text);
    } else if (base64) {
        write_base64(event->vector, event->dimensions, out);
    } else {
        write_floats(event->vector, event->dimensions, out);
    }
    return true;
}

bool ps_openai_write_embedding(const struct ps_event *event, bool base64, struct ps_buf *out)
{
    if (out->len > 0) {
        ps_buf_byte(out, ',');
    }
    ps_buf_cstr(out, "{\"object\":\"embedding\",\"index\":");
    ps_buf_uint(out, event->index);
    ps_buf_cstr(out, ",\"embedding\":");
    if (!ps_openai_write_vector(event, base64, out)) {
        return false;
    }
    ps_buf_byte(out, '}');
    return true;
}

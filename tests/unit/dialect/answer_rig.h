/* SPDX-License-Identifier: Apache-2.0 */
#ifndef PENSTOCK_TESTS_DIALECT_ANSWER_RIG_H
#define PENSTOCK_TESTS_DIALECT_ANSWER_RIG_H

#include "rig.h"

/* Answers for a decoder, cut anywhere, and a log of what it tells. */

#define RIG_LOG_BYTES 16384

struct rig_log {
    char text[RIG_LOG_BYTES]; /* NUL-terminated */
    size_t len;
};

static inline void rig_put(struct rig_log *log, const char *format, ...)
    __attribute__((format(printf, 2, 3)));
static inline void rig_put(struct rig_log *log, const char *format, ...)
{
    va_list args;
    int len;

    va_start(args, format);
    len = vsnprintf(log->text + log->len, RIG_LOG_BYTES - log->len, format, args);
    va_end(args);
    assert_true(len >= 0 && (size_t)len < RIG_LOG_BYTES - log->len);
    log->len += (size_t)len;
}

/* Nothing where there is no text. */
static inline void rig_put_text(struct rig_log *log, const char *name, struct ps_slice text)
{
    if (text.len > 0) {
        rig_put(log, " %s%.*s", name, (int)text.len, text.ptr);
    }
}

/* Feeds a body up to what ends it, each piece in memory of exactly its size that is gone
 * afterwards; then the end of the body. */
static inline enum ps_decode rig_decode(struct ps_decoder *decoder, struct ps_slice body,
                                        const struct cut *cut)
{
    size_t step = cut->bytes ? 1 : cut->at > 0 ? cut->at : body.len;
    enum ps_decode result = PS_DECODE_OK;

    for (size_t at = 0; at < body.len && result == PS_DECODE_OK; at += step) {
        size_t left = body.len - at;
        char *piece;

        step = (at > 0 && !cut->bytes) || step > left ? left : step;
        piece = malloc(step);
        assert_non_null(piece);
        memcpy(piece, body.ptr + at, step);
        result = ps_decoder_feed(decoder, piece, step);
        free(piece);
    }
    return result == PS_DECODE_OK ? ps_decoder_finish(decoder) : result;
}

#endif

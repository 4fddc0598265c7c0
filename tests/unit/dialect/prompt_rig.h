/* SPDX-License-Identifier: Apache-2.0 */
#ifndef PENSTOCK_TESTS_DIALECT_PROMPT_RIG_H
#define PENSTOCK_TESTS_DIALECT_PROMPT_RIG_H

#include "rig.h"

#include "penstock/dialect/prompt.h"

/* A request's body, and what becomes of it: the prompt in words, or the fault. */
struct prompt_row {
    const char *body;
    const char *words; /* NULL: refused */
    enum ps_fault_kind kind;
    const char *param;
};

static inline void put(struct ps_buf *out, const char *name, struct ps_slice text)
{
    ps_buf_printf(out, "%s=[", name);
    ps_buf_slice(out, text);
    ps_buf_cstr(out, "] ");
}

/* Only what is not as it is when nothing was given. */
static inline void put_prompt(struct ps_buf *out, const struct ps_prompt *prompt)
{
    static const char *const formats[] = {"", "json ", "schema "};

    for (size_t i = 0; i < prompt->message_count; i++) {
        ps_buf_slice(out, prompt->messages[i].role);
        put(out, "", prompt->messages[i].content);
    }
    if (prompt->text.len > 0) {
        put(out, "text", prompt->text);
    }
    for (size_t i = 0; i < prompt->input_count; i++) {
        put(out, "input", prompt->inputs[i]);
    }
    ps_buf_cstr(out, prompt->base64 ? "base64 " : "");
    if (prompt->max_tokens != -1) {
        ps_buf_printf(out, "max=%lld ", (long long)prompt->max_tokens);
    }
    if (prompt->temperature >= 0) {
        ps_buf_printf(out, "temperature=%g ", prompt->temperature);
    }
    if (prompt->top_p >= 0) {
        ps_buf_printf(out, "top_p=%g ", prompt->top_p);
    }
    if (prompt->top_k >= 0) {
        ps_buf_printf(out, "top_k=%lld ", (long long)prompt->top_k);
    }
    if (prompt->min_p >= 0) {
        ps_buf_printf(out, "min_p=%g%s ", prompt->min_p, prompt->min_p < 1 ? "" : "!");
    }
    if (prompt->frequency_penalty != 0 || prompt->presence_penalty != 0) {
        ps_buf_printf(out, "penalties=%g,%g ", prompt->frequency_penalty, prompt->presence_penalty);
    }
    if (prompt->has_seed) {
        ps_buf_printf(out, "seed=%lld ", (long long)prompt->seed);
    }
    if (prompt->logprobs) {
        ps_buf_printf(out, "logprobs=%lld ", (long long)prompt->top_logprobs);
    }
    for (size_t i = 0; i < prompt->stop_count; i++) {
        put(out, "stop", prompt->stops[i]);
    }
    ps_buf_cstr(out, formats[prompt->format]);
    if (prompt->schema.len > 0) {
        put(out, "schema", prompt->schema);
    }
    for (size_t i = 0; i < prompt->dropped_count; i++) {
        ps_buf_cstr(out, "-");
        ps_buf_slice(out, prompt->dropped[i]);
        ps_buf_byte(out, ' ');
    }
    if (out->len > 0) {
        out->len--; /* the last space */
    }
    ps_buf_byte(out, '\0');
}

/* Reads and asks, cut as told. The reader must take it: what it refuses is tested elsewhere. */
static inline void run_prompt_row(const struct prompt_row *row, enum ps_family family,
                                  enum ps_operation operation,
                                  const struct ps_reader_options *options, const struct cut *cut)
{
    struct rig rig;
    struct ps_prompt prompt;
    struct ps_buf words;
    int rc;

    rig_init(&rig);
    ps_buf_init(&words, 65536);
    rig.request.family = family;
    rig.request.operation = operation;
    rig.request.content_type = PS_SLICE_LIT("application/json");
    if (rig_read(&rig, options, ps_slice_cstr(row->body), cut) != 0) {
        fail_msg("the reader refused %s: %s", row->body, rig.fault.message);
    }
    rc = ps_dialect_prompt(ps_dialect_of_family(family), &rig.request, &rig.arena, &prompt,
                           &rig.fault);
    if (row->words == NULL) {
        if (rc == 0 || rig.fault.kind != row->kind || strcmp(rig.fault.param, row->param) != 0) {
            fail_msg("%s: expected %s at %s, found %d %s at %s: %s", row->body,
                     ps_fault_name(row->kind), row->param, rc, ps_fault_name(rig.fault.kind),
                     rig.fault.param, rig.fault.message);
        }
        assert_true(rig.fault.message[0] != '\0');
    } else {
        if (rc != 0) {
            fail_msg("%s: %s", row->body, rig.fault.message);
        }
        /* Nothing may point into the body. */
        ps_chain_clear(&rig.body);
        put_prompt(&words, &prompt);
        assert_string_equal(words.ptr, row->words);
    }
    ps_buf_deinit(&words);
    rig_deinit(&rig);
}

/* In one block of the chain, and with the border between two blocks at several places. */
static inline void run_prompt_rows(const struct prompt_row *rows, size_t count,
                                   enum ps_family family, enum ps_operation operation,
                                   const struct ps_reader_options *options)
{
    for (size_t i = 0; i < count; i++) {
        size_t len = strlen(rows[i].body);
        const size_t shifts[] = {0, 1, len / 3, len / 2, len - 1};

        for (size_t j = 0; j < sizeof(shifts) / sizeof(shifts[0]); j++) {
            const struct cut cut = {.shift = shifts[j]};

            run_prompt_row(&rows[i], family, operation, options, &cut);
        }
    }
}

#endif

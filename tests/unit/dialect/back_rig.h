/* SPDX-License-Identifier: Apache-2.0 */
#ifndef PENSTOCK_TESTS_DIALECT_BACK_RIG_H
#define PENSTOCK_TESTS_DIALECT_BACK_RIG_H

#include "answer_rig.h"

/*
 * For rows that are only asked: bodies of OpenAI's family in, theirs out; their answers in, events
 * out, one line each. An answer is fed whole, byte by byte and cut at every byte, and must give the
 * same each time.
 */

struct back_row {
    const char *body;
    const char *expected; /* NULL: refused */
    const char *dropped;  /* or the path at fault; NULL: none */
    enum ps_fault_kind kind;
};

struct back_how {
    const char *dialect;
    enum ps_operation operation;
    const char *path;
    const char *base_path;
    const struct ps_dialect_settings *settings;
    enum ps_drop_policy drop;
};

static inline void back_encode_row(const struct back_how *how, const struct back_row *row)
{
    const struct ps_reader_options reader = {.operation = how->operation};
    const struct ps_encode_options options = {
        .model = PS_SLICE_LIT("m"),
        .settings = how->settings,
        .drop = how->drop,
        .base_path = how->base_path != NULL ? ps_slice_cstr(how->base_path) : PS_SLICE_NONE,
    };
    const struct cut cut = {.shift = 7};
    struct ps_encoded encoded;
    struct rig rig;
    char *text;
    int rc;

    rig_init(&rig);
    rig.request.family = PS_FAMILY_OPENAI;
    rig.request.operation = how->operation;
    rig.request.content_type = PS_SLICE_LIT("application/json");
    if (rig_read(&rig, &reader, ps_slice_cstr(row->body), &cut) != 0) {
        fail_msg("the reader refused %s: %s", row->body, rig.fault.message);
    }
    rc = ps_dialect_encode(ps_dialect_find(how->dialect), &rig.request, &options, &rig.arena,
                           &encoded, &rig.fault);
    if (row->expected == NULL) {
        if (rc == 0 || rig.fault.kind != row->kind || strcmp(rig.fault.param, row->dropped) != 0) {
            fail_msg("%s: expected %s at %s, found %d %s at %s: %s", row->body,
                     ps_fault_name(row->kind), row->dropped, rc, ps_fault_name(rig.fault.kind),
                     rig.fault.param, rig.fault.message);
        }
        rig_deinit(&rig);
        return;
    }
    if (rc != 0) {
        fail_msg("%s: %s (%s)", row->body, rig.fault.message, rig.fault.param);
    }
    text = rig_join(&encoded);
    if (strcmp(text, row->expected) != 0) {
        fail_msg("%s\nexpected %s\nfound    %s", row->body, row->expected, text);
    }
    free(text);
    if (!ps_slice_eq_cstr(encoded.dropped, row->dropped != NULL ? row->dropped : "")) {
        fail_msg("%s: dropped %.*s", row->body, (int)encoded.dropped.len, encoded.dropped.ptr);
    }
    if (how->path != NULL && !ps_slice_eq_cstr(encoded.path, how->path)) {
        fail_msg("%s: path %.*s", row->body, (int)encoded.path.len, encoded.path.ptr);
    }
    assert_false(encoded.relayed);
    assert_string_equal(encoded.method, "POST");
    rig_deinit(&rig);
}

static inline void back_encode_rows(const struct back_how *how, const struct back_row *rows,
                                    size_t count)
{
    for (size_t i = 0; i < count; i++) {
        back_encode_row(how, &rows[i]);
    }
}

/* ---- answers ---- */

struct back_answer {
    enum ps_operation operation;
    bool stream;
    const char *type;
    const char *body;
    const char *expected;
};

static inline void back_put_more(struct rig_log *log, const struct ps_event *event)
{
    const struct ps_usage *u = &event->usage;

    if (event->kind == PS_EVENT_START && event->start != NULL) {
        rig_put_text(log, "id=", event->start->id);
        rig_put_text(log, "model=", event->start->model);
    } else if (event->kind == PS_EVENT_TOOL_CALL && event->tool != NULL) {
        rig_put_text(log, "id=", event->tool->id);
        rig_put_text(log, "name=", event->tool->name);
    } else if (event->kind == PS_EVENT_CITATION && event->citation != NULL) {
        rig_put(log, " %d-%d", (int)event->citation->start, (int)event->citation->end);
        rig_put_text(log, "url=", event->citation->url);
        rig_put_text(log, "title=", event->citation->title);
        rig_put_text(log, "quote=", event->citation->quote);
    } else if (event->kind == PS_EVENT_USAGE) {
        rig_put(log, " %d,%d,%d", (int)u->input, (int)u->output, (int)u->cached);
    } else if (event->kind == PS_EVENT_FINISH) {
        rig_put(log, " %d", (int)event->finish);
        rig_put_text(log, "", event->finish_text);
    } else if (event->kind == PS_EVENT_FAULT) {
        rig_put(log, " %s: %s", ps_fault_name(event->fault->kind), event->fault->message);
    } else if (event->kind == PS_EVENT_SCORE) {
        rig_put(log, " %u", event->index);
        rig_put_text(log, "", event->score->number);
    } else if (event->kind == PS_EVENT_LOGPROBS) {
        rig_put_text(log, "", event->logprob.token);
        rig_put(log, "=%g", (double)event->logprob.logprob);
        for (size_t i = 0; i < event->top_count; i++) {
            rig_put(log, " (%.*s=%g)", (int)event->top[i].token.len, event->top[i].token.ptr,
                    (double)event->top[i].logprob);
        }
    }
}

static inline bool back_on_event(void *arg, const struct ps_event *event)
{
    static const char *const kinds[] = {
        [PS_EVENT_START] = "start",         [PS_EVENT_TEXT] = "text",
        [PS_EVENT_REASONING] = "reasoning", [PS_EVENT_TOOL_CALL] = "tool",
        [PS_EVENT_CITATION] = "citation",   [PS_EVENT_LOGPROBS] = "logprobs",
        [PS_EVENT_EMBEDDING] = "vector",    [PS_EVENT_SCORE] = "score",
        [PS_EVENT_RESULT] = "result",       [PS_EVENT_USAGE] = "usage",
        [PS_EVENT_FINISH] = "finish",       [PS_EVENT_FAULT] = "fault",
        [PS_EVENT_DONE] = "done",
    };
    struct rig_log *log = arg;

    if (event->kind == PS_EVENT_OPAQUE || event->kind == PS_EVENT_PING) {
        return true;
    }
    assert_non_null(kinds[event->kind]);
    rig_put(log, "%s", kinds[event->kind]);
    if (event->kind == PS_EVENT_TOOL_CALL || event->kind == PS_EVENT_REASONING) {
        rig_put(log, " %u", event->block);
    }
    if (event->kind == PS_EVENT_EMBEDDING) {
        rig_put(log, " %u", event->index);
    }
    back_put_more(log, event);
    rig_put_text(log, "| ", event->text);
    rig_put(log, "\n");
    return true;
}

/* Fed up to `cut`, then the rest; 0: byte by byte. */
static inline void back_decode(const char *dialect, const struct back_answer *answer, size_t cut)
{
    struct ps_decoder_options options = {
        .operation = answer->operation,
        .front = PS_FAMILY_OPENAI,
        .stream = answer->stream,
        .fields = true,
        .id = PS_SLICE_LIT("gen_9"),
        .content_type = ps_slice_cstr(answer->type),
        .event_bytes = 65536,
    };
    struct rig_log log = {.len = 0};
    struct ps_decoder *decoder;
    enum ps_decode result;
    struct rig rig;

    rig_init(&rig);
    decoder = ps_decoder_new(ps_dialect_find(dialect), &options, &rig.arena, back_on_event, &log);
    assert_non_null(decoder);
    result = rig_decode(decoder, ps_slice_cstr(answer->body),
                        &(struct cut){.at = cut, .bytes = cut == 0});
    if (result == PS_DECODE_BROKEN) {
        rig_put(&log, "broken %s: %s\n", ps_fault_name(ps_decoder_fault(decoder)->kind),
                ps_decoder_fault(decoder)->message);
    }
    if (strcmp(log.text, answer->expected) != 0) {
        fail_msg("cut at %zu of %s\nexpected:\n%s\nfound:\n%s", cut, answer->body, answer->expected,
                 log.text);
    }
    ps_decoder_free(decoder);
    rig_deinit(&rig);
}

static inline void back_decode_all(const char *dialect, const struct back_answer *answers,
                                   size_t count)
{
    for (size_t i = 0; i < count; i++) {
        size_t len = strlen(answers[i].body);

        for (size_t cut = 0; cut <= len; cut++) {
            back_decode(dialect, &answers[i], cut);
        }
    }
}

/* ---- errors ---- */

struct back_error {
    int status;
    const char *body;
    enum ps_fault_kind kind;
    const char *message; /* NULL: whatever */
};

static inline void back_errors(const char *dialect, const struct back_error *errors, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        struct ps_fault fault = {.kind = PS_FAULT_NONE};

        ps_dialect_fault(ps_dialect_find(dialect), errors[i].status, ps_slice_cstr(errors[i].body),
                         &fault);
        if (fault.kind != errors[i].kind ||
            (errors[i].message != NULL && strcmp(fault.message, errors[i].message) != 0)) {
            fail_msg("%d %s: found %s: %s", errors[i].status, errors[i].body,
                     ps_fault_name(fault.kind), fault.message);
        }
    }
}

/* ---- models ---- */

static inline void back_on_model(void *arg, struct ps_slice id, struct ps_slice object)
{
    struct rig_log *log = arg;

    assert_true(object.len > 0);
    rig_put(log, "%.*s ", (int)id.len, id.ptr);
}

#define BACK_COUNT(rows) (sizeof(rows) / sizeof((rows)[0]))

#endif

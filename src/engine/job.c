/* SPDX-License-Identifier: Apache-2.0 */
#include "engine_priv.h"
#include "schema.h"

#include "penstock/base/clock.h"
#include "penstock/base/id.h"
#include "penstock/base/mem.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/*
 * A job holds one block with copies of everything the request pointed to. Preparing turns it into
 * tokens: a chat goes through the model's template; what the messages say is never read as control
 * tokens.
 *
 * How control tokens are kept out: as a rule no message holds the text of one, and the rendered
 * conversation is tokenised in one piece, as the model was trained. When one does, the template is
 * rendered around placeholders, and only its own text is tokenised with control tokens recognised.
 */

#define RENDERED_MAX (64u << 20)
#define MARK_LEN     8 /* of a placeholder: "\x01\x02" and six digits */

static char *copy_text(char **at, struct ps_slice text)
{
    char *copy = *at;
    if (text.len > 0) {
        memcpy(copy, text.ptr, text.len);
    }
    copy[text.len] = '\0';
    *at += text.len + 1;
    return copy;
}

static void copy_slices(char **at, struct ps_slice *to, const struct ps_slice *from, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        to[i] = ps_slice(copy_text(at, from[i]), from[i].len);
    }
}

static size_t sum(const struct ps_slice *slices, size_t count)
{
    size_t bytes = 0;
    for (size_t i = 0; i < count; i++) {
        bytes += slices[i].len + 1;
    }
    return bytes;
}

/* The texts of a request, whatever its task: the messages' contents are not among them. */
static const struct ps_slice *texts_of(const struct ps_engine_request *request, size_t *ret_count)
{
    if (request->task == PS_ENGINE_COMPLETE) {
        *ret_count = 1;
        return &request->prompt;
    }
    *ret_count = request->task == PS_ENGINE_EMBED ? request->input_count : 0;
    return request->inputs;
}

static int copy_request(struct ps_job *job, const struct ps_engine_request *request)
{
    const struct ps_slice *texts = texts_of(request, &job->text_count);
    job->message_count = ps_task_chats(request->task) ? request->message_count : 0;
    job->stop_count = request->stop_count;
    size_t bytes = job->message_count * 2 * sizeof(char *) +
                   (job->text_count + job->stop_count) * sizeof(struct ps_slice) +
                   sum(texts, job->text_count) + sum(request->stops, request->stop_count) +
                   request->schema.len + 1 + request->tenant.len + 1;
    for (size_t i = 0; i < job->message_count; i++) {
        bytes += request->messages[i].role.len + request->messages[i].content.len + 2;
        job->bytes += request->messages[i].content.len;
    }
    job->memory = ps_malloc(bytes);
    if (job->memory == NULL) {
        return -1;
    }
    struct ps_slice *slices = job->memory;
    job->texts = slices;
    job->stops = slices + job->text_count;
    job->roles = (const char **)(void *)(job->stops + job->stop_count);
    job->contents = job->roles + job->message_count;
    char *at = (char *)(void *)(job->contents + job->message_count);
    copy_slices(&at, job->texts, texts, job->text_count);
    copy_slices(&at, job->stops, request->stops, job->stop_count);
    for (size_t i = 0; i < job->message_count; i++) {
        job->roles[i] = copy_text(&at, request->messages[i].role);
        job->contents[i] = copy_text(&at, request->messages[i].content);
    }
    job->schema = ps_slice(copy_text(&at, request->schema), request->schema.len);
    job->queued.tenant = ps_slice(copy_text(&at, request->tenant), request->tenant.len);
    for (size_t i = 0; i < job->text_count; i++) {
        job->bytes += job->texts[i].len;
    }
    return 0;
}

struct ps_job *ps_job_new(struct ps_engine_port *port, const struct ps_engine_request *request)
{
    struct ps_job *job = ps_calloc(1, sizeof(*job));
    if (job == NULL || copy_request(job, request) != 0) {
        ps_free(job);
        return NULL;
    }
    ps_list_init(&job->link);
    job->port = port;
    job->engine = port->engine;
    job->task = request->task;
    job->sampling = request->sampling;
    job->grammar = request->grammar;
    job->queued.priority = (unsigned)request->priority;
    job->queued.deadline_us = request->deadline_us;
    job->submit_us = ps_clock_us();
    if (!request->sampling.has_seed) {
        ps_random_bytes(&job->sampling.seed, sizeof(job->sampling.seed));
    }
    return job;
}

void ps_job_free(struct ps_job *job)
{
    if (job != NULL) {
        ps_free(job->memory);
        ps_free(job->tokens);
        ps_free(job->inputs);
        ps_free(job->gbnf);
        ps_free(job);
    }
}

/* ---- tokens ---- */

static int no_memory(struct ps_fault *fault)
{
    return ps_fault_set(fault, PS_FAULT_NO_MEMORY, NULL,
                        "The gateway is short of memory; try again later.");
}

struct token_list {
    int32_t *ptr;
    size_t len;
    size_t cap;
};

static int tokenise(struct ps_model *model, struct token_list *list, struct ps_slice text,
                    bool begin, bool trusted)
{
    /* A token has one byte at least, but for the few that mark the beginning and the end. */
    for (size_t guess = text.len / 3 + 16;; guess = text.len + 64) {
        if (list->cap - list->len < guess) {
            int32_t *more = ps_realloc(list->ptr, (list->len + guess) * sizeof(*more));
            if (more == NULL) {
                return -1;
            }
            list->ptr = more;
            list->cap = list->len + guess;
        }
        size_t room = list->cap - list->len;
        int64_t count =
            model->ops->tokenise(model, text, begin, trusted, list->ptr + list->len, room);
        if (count >= 0 && (uint64_t)count <= room) {
            list->len += (size_t)count;
            return 0;
        }
        if (count < 0 || guess > text.len) {
            return -1;
        }
    }
}

/* The template around placeholders, then piece by piece. */
static int tokenise_apart(struct ps_job *job, struct ps_model *model, struct token_list *list)
{
    struct ps_buf rendered;
    char(*marks)[MARK_LEN + 1] = ps_malloc(job->message_count * sizeof(*marks));
    const char **contents = ps_malloc(job->message_count * sizeof(*contents));
    int rc = marks != NULL && contents != NULL ? 0 : -1;
    ps_buf_init(&rendered, RENDERED_MAX);
    for (size_t i = 0; rc == 0 && i < job->message_count; i++) {
        (void)snprintf(marks[i], sizeof(marks[i]), "\x01\x02%06u", (unsigned)i);
        contents[i] = marks[i];
    }
    if (rc == 0) {
        rc = model->ops->render(model, job->roles, contents, job->message_count, &rendered);
    }
    size_t at = 0;
    bool begin = true;
    while (rc == 0 && at < rendered.len) {
        const char *mark = memmem(rendered.ptr + at, rendered.len - at, "\x01\x02", 2);
        size_t end = mark != NULL ? (size_t)(mark - rendered.ptr) : rendered.len;
        if (end > at) {
            rc = tokenise(model, list, ps_slice(rendered.ptr + at, end - at), begin, true);
            begin = false;
        }
        at = end;
        if (rc == 0 && mark != NULL) {
            unsigned index = (unsigned)strtoul(mark + 2, NULL, 10);
            rc = tokenise(model, list, ps_slice_cstr(job->contents[index]), begin, false);
            begin = false;
            at += MARK_LEN;
        }
    }
    ps_buf_deinit(&rendered);
    ps_free(contents);
    ps_free(marks);
    return rc;
}

static int tokenise_chat(struct ps_job *job, struct ps_model *model, struct token_list *list)
{
    for (size_t i = 0; i < job->message_count; i++) {
        struct ps_slice content = ps_slice_cstr(job->contents[i]);
        if (model->ops->has_control(model, content) ||
            memchr(content.ptr, '\x01', content.len) != NULL) {
            return tokenise_apart(job, model, list);
        }
    }
    struct ps_buf rendered;
    ps_buf_init(&rendered, RENDERED_MAX);
    int rc = model->ops->render(model, job->roles, job->contents, job->message_count, &rendered);
    if (rc == 0) {
        rc = tokenise(model, list, ps_buf_view(&rendered), true, true);
    }
    ps_buf_deinit(&rendered);
    return rc;
}

static int tokenise_texts(struct ps_job *job, struct ps_model *model, struct token_list *list)
{
    job->inputs = ps_malloc((job->text_count + 1) * sizeof(*job->inputs));
    if (job->inputs == NULL) {
        return -1;
    }
    for (size_t i = 0; i < job->text_count; i++) {
        size_t before = list->len;
        if (tokenise(model, list, job->texts[i], true, false) != 0) {
            return -1;
        }
        job->inputs[i] = (struct ps_input){(uint32_t)before, (uint32_t)(list->len - before)};
    }
    return 0;
}

/* ---- limits ---- */

static int too_long(struct ps_fault *fault, uint64_t tokens, uint64_t room)
{
    return ps_fault_set(fault, PS_FAULT_CONTEXT_LENGTH, NULL,
                        "This model's context is %llu tokens; the request has %llu.",
                        (unsigned long long)room, (unsigned long long)tokens);
}

static int check_embedding(struct ps_job *job, struct ps_fault *fault)
{
    struct ps_model *model = job->engine->model;
    uint32_t sequences = 0;
    uint32_t room = model->ops->embed_batch(model, &sequences);
    for (size_t i = 0; i < job->text_count; i++) {
        if (job->inputs[i].count > room) {
            return too_long(fault, job->inputs[i].count, room);
        }
        if (job->inputs[i].count == 0) {
            return ps_fault_set(fault, PS_FAULT_BAD_FIELD, "input", "An input is empty.");
        }
    }
    return 0;
}

static int check_generation(struct ps_job *job, struct ps_fault *fault)
{
    uint32_t room = job->engine->info.context_tokens;
    uint64_t wanted = (uint64_t)job->token_count + job->sampling.max_tokens;
    if (job->token_count == 0) {
        return ps_fault_set(fault, PS_FAULT_BAD_FIELD, "prompt", "The prompt is empty.");
    }
    if (job->token_count >= room) {
        return too_long(fault, job->token_count, room);
    }
    if (wanted > room) {
        return ps_fault_set(
            fault, PS_FAULT_CONTEXT_LENGTH, "max_tokens",
            "This model's context is %u tokens; the request asks for %llu (%u in the prompt, %u to "
            "generate).",
            room, (unsigned long long)wanted, job->token_count, job->sampling.max_tokens);
    }
    if (job->sampling.max_tokens == 0) {
        job->sampling.max_tokens = room - job->token_count;
    }
    return 0;
}

static int prepare_grammar(struct ps_job *job, struct ps_fault *fault)
{
    if (job->grammar == PS_ENGINE_GRAMMAR_NONE) {
        return 0;
    }
    const struct ps_model_ops *ops = job->engine->model->ops;
    if (ops->grammar_new == NULL) {
        return ps_fault_set(fault, PS_FAULT_UNSUPPORTED_OPERATION, "response_format",
                            "This model's engine cannot be held to a format.");
    }
    struct ps_buf text;
    ps_buf_init(&text, PS_SCHEMA_GRAMMAR_MAX);
    int rc = 0;
    if (job->grammar == PS_ENGINE_GRAMMAR_JSON_SCHEMA) {
        rc = ps_schema_grammar(job->schema, &text, fault);
    } else {
        ps_schema_object_grammar(&text);
    }
    ps_buf_byte(&text, '\0');
    if (rc == 0) {
        job->gbnf = text.failed ? NULL : ps_strndup(text.ptr, text.len - 1);
        rc = job->gbnf != NULL ? 0 : no_memory(fault);
    }
    ps_buf_deinit(&text);
    return rc;
}

/* No token has more bytes than this in any vocabulary. */
#define TOKEN_BYTES 256

int ps_job_check_size(struct ps_engine *engine, const struct ps_engine_request *request,
                      struct ps_fault *fault)
{
    uint64_t room = engine->info.context_tokens;
    uint64_t bytes = 0;
    if (request->task == PS_ENGINE_EMBED) {
        uint32_t sequences = 0;
        room = engine->model->ops->embed_batch(engine->model, &sequences);
        for (size_t i = 0; i < request->input_count; i++) {
            bytes = request->inputs[i].len > bytes ? request->inputs[i].len : bytes;
        }
    } else if (request->task == PS_ENGINE_COMPLETE) {
        bytes = request->prompt.len;
    }
    for (size_t i = 0; ps_task_chats(request->task) && i < request->message_count; i++) {
        bytes += request->messages[i].content.len;
    }
    return bytes > room * TOKEN_BYTES ? too_long(fault, bytes / TOKEN_BYTES, room) : 0;
}

int ps_job_prepare(struct ps_job *job, struct ps_fault *fault)
{
    struct ps_model *model = job->engine->model;
    struct token_list list = {0};
    /* So much text cannot fit and is not even looked at (see ps_job_check_size; while the model was
     * loading nobody knew). */
    uint64_t most = (uint64_t)job->engine->info.context_tokens * TOKEN_BYTES;
    if (job->task != PS_ENGINE_EMBED && job->bytes > most) {
        return too_long(fault, job->bytes / TOKEN_BYTES, job->engine->info.context_tokens);
    }
    int rc = ps_task_chats(job->task) ? tokenise_chat(job, model, &list)
                                      : tokenise_texts(job, model, &list);
    job->tokens = list.ptr;
    if (rc != 0 || list.len > UINT32_MAX / 2) {
        return no_memory(fault);
    }
    job->token_count = (uint32_t)list.len;
    job->queued.tokens = job->token_count;
    if (job->task == PS_ENGINE_EMBED) {
        return check_embedding(job, fault);
    }
    if (job->task == PS_ENGINE_COUNT) {
        return 0;
    }
    if (check_generation(job, fault) != 0) {
        return -1;
    }
    return prepare_grammar(job, fault);
}

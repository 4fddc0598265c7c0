/* SPDX-License-Identifier: Apache-2.0 */
#include "engine_priv.h"

#include "penstock/base/mem.h"

#include <assert.h>
#include <math.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

/*
 * A model for tests: no weights, tokens are bytes, its answer to anything is the same text, from a
 * letter that depends on the prompt on. It keeps the promises of a real one (positions without
 * gaps, one logits row per output, abort between tokens) and checks that its caller does.
 *
 * model_path configures it: "pace=US,length=N,load=MS,fail=1,text=…"; pace is the time a batch's
 * token takes, length how many tokens an answer has, load the time of loading, fail=1 makes the
 * load fail, text (last) what it says, over and over.
 */

#define VOCABULARY 257 /* bytes, and the end */
#define END_TOKEN  256
#define DIMENSIONS 32
#define EMBED_MAX  512

struct row {
    uint32_t past;
    uint32_t prompt; /* tokens before the first output; 0: not known yet */
    uint32_t hash;
};

struct double_model {
    struct ps_model base;
    bool (*aborted)(void *arg);
    void *arg;
    long pace_us;
    long length;
    char text[128];
    uint32_t slots;
    uint32_t context;
    uint32_t batch;
    struct row *rows; /* owned */
    float *logits;    /* owned: a row per token of a batch */
    float vectors[PS_ENGINE_INPUTS][DIMENSIONS];
};

static struct double_model *of(struct ps_model *model)
{
    return (struct double_model *)(void *)model;
}

static long setting(const char *path, const char *name, long otherwise)
{
    char key[24];
    (void)snprintf(key, sizeof(key), "%s=", name);
    const char *text = strstr(path, "text=");
    const char *at = strstr(path, key);
    return at != NULL && (text == NULL || at < text) ? strtol(at + strlen(key), NULL, 10)
                                                     : otherwise;
}

static void wait_us(long us)
{
    if (us > 0) {
        struct timespec time = {.tv_sec = us / 1000000, .tv_nsec = (us % 1000000) * 1000};
        (void)nanosleep(&time, NULL);
    }
}

static void free_double(struct ps_model *model)
{
    struct double_model *m = of(model);
    ps_free(m->rows);
    ps_free(m->logits);
    ps_free(m);
}

static void describe(const struct double_model *m, struct ps_engine_info *info)
{
    (void)snprintf(info->name, sizeof(info->name), "double");
    (void)snprintf(info->description, sizeof(info->description), "test double");
    info->context_tokens = m->context;
    info->slots = m->slots;
    info->vocabulary = VOCABULARY;
    info->dimensions = DIMENSIONS;
    info->chats = true;
    info->generates = true;
    info->embeds = true;
}

static bool load_slowly(const struct ps_model_options *options)
{
    long left_ms = setting(options->engine->model_path, "load", 0);
    long all = left_ms > 0 ? left_ms : 1;
    while (left_ms > 0) {
        if (!options->progress(1.0F - (float)left_ms / (float)all, options->arg)) {
            return false;
        }
        wait_us(1000);
        left_ms--;
    }
    return true;
}

static struct ps_model *load_double(const struct ps_model_options *options,
                                    struct ps_engine_info *info, struct ps_fault *fault)
{
    const char *path = options->engine->model_path;
    const char *text = strstr(path, "text=");
    if (!load_slowly(options) || setting(path, "fail", 0) != 0) {
        (void)ps_fault_set(fault, PS_FAULT_INTERNAL, "model_path", "The double was told to fail.");
        return NULL;
    }
    struct double_model *m = ps_calloc(1, sizeof(*m));
    if (m == NULL) {
        (void)ps_fault_set(fault, PS_FAULT_NO_MEMORY, "model_path",
                           "Not enough memory for the model.");
        return NULL;
    }
    m->base.ops = &ps_model_double;
    m->aborted = options->aborted;
    m->arg = options->arg;
    m->pace_us = setting(path, "pace", 0);
    m->length = setting(path, "length", 20);
    (void)snprintf(m->text, sizeof(m->text), "%s",
                   text != NULL ? text + 5 : "The quick brown fox jumps over it. ");
    m->slots = options->engine->slots;
    m->context = options->engine->context_tokens;
    m->batch = options->batch > EMBED_MAX ? options->batch : EMBED_MAX;
    m->rows = ps_calloc(m->slots, sizeof(*m->rows));
    m->logits = ps_malloc(m->batch * VOCABULARY * sizeof(*m->logits));
    if (m->rows == NULL || m->logits == NULL || m->text[0] == '\0') {
        (void)ps_fault_set(fault, PS_FAULT_NO_MEMORY, "model_path",
                           "Not enough memory for the model.");
        free_double(&m->base);
        return NULL;
    }
    describe(m, info);
    return &m->base;
}

static int64_t tokenise_double(struct ps_model *model, struct ps_slice text, bool begin,
                               bool trusted, int32_t *ret, size_t max)
{
    (void)model;
    (void)begin;
    (void)trusted;
    for (size_t i = 0; i < text.len && i < max; i++) {
        ret[i] = (unsigned char)text.ptr[i];
    }
    return (int64_t)text.len;
}

static bool has_control_double(struct ps_model *model, struct ps_slice text)
{
    (void)model;
    return memmem(text.ptr, text.len, "<|", 2) != NULL; /* so that tests reach the careful way */
}

static int render_double(struct ps_model *model, const char *const *roles,
                         const char *const *contents, size_t count, struct ps_buf *ret)
{
    (void)model;
    for (size_t i = 0; i < count; i++) {
        ps_buf_cstr(ret, roles[i]);
        ps_buf_cstr(ret, ": ");
        ps_buf_cstr(ret, contents[i]);
        ps_buf_byte(ret, '\n');
    }
    ps_buf_cstr(ret, "assistant: ");
    return ret->failed ? -1 : 0;
}

static size_t piece_double(struct ps_model *model, int32_t token, char *ret, size_t max)
{
    (void)model;
    if (token < 0 || token >= END_TOKEN || max == 0) {
        return 0;
    }
    ret[0] = (char)token;
    return 1;
}

static bool ends_double(struct ps_model *model, int32_t token)
{
    (void)model;
    return token == END_TOKEN;
}

/* The next letter of the text is the likeliest, the letters after and before it come next. */
static void fill_row(const struct double_model *m, struct row *row, float *logits)
{
    size_t len = strlen(m->text);
    for (int i = 0; i < VOCABULARY; i++) {
        logits[i] = -10;
    }
    if (row->prompt == 0) {
        row->prompt = row->past;
    }
    uint32_t generated = row->past - row->prompt;
    size_t at = (row->hash + generated) % len;
    logits[(unsigned char)m->text[(at + len - 1) % len]] = 0;
    logits[(unsigned char)m->text[(at + 1) % len]] = 1;
    logits[(unsigned char)m->text[at]] = 2;
    if (m->length >= 0 && generated >= (uint32_t)m->length) {
        logits[END_TOKEN] = 100;
    }
}

static int decode_double(struct ps_model *model, const struct ps_batch *batch)
{
    struct double_model *m = of(model);
    assert(batch->count > 0 && batch->count <= m->batch);
    for (uint32_t i = 0; i < batch->count; i++) {
        assert(batch->sequence[i] >= 0 && (uint32_t)batch->sequence[i] < m->slots);
        struct row *row = &m->rows[batch->sequence[i]];
        if (m->aborted(m->arg)) {
            return PS_DECODE_ABORTED;
        }
        wait_us(m->pace_us);
        assert(batch->position[i] == (int32_t)row->past);
        if (row->past >= m->context) {
            return PS_DECODE_FULL;
        }
        row->past++;
        if (row->prompt == 0) {
            row->hash = row->hash * 31 + (uint32_t)batch->token[i];
        }
        if (batch->output[i]) {
            fill_row(m, row, m->logits + (size_t)i * VOCABULARY);
        }
    }
    return PS_DECODED;
}

static const float *logits_double(struct ps_model *model, uint32_t index)
{
    return of(model)->logits + (size_t)index * VOCABULARY;
}

static void forget_double(struct ps_model *model, int32_t sequence, int32_t from)
{
    struct row *row = &of(model)->rows[sequence];
    if (from == 0) {
        *row = (struct row){0};
    } else if (row->past > (uint32_t)from) {
        row->past = (uint32_t)from;
    }
}

static int32_t next_double(struct ps_model *model, int32_t sequence)
{
    return (int32_t)of(model)->rows[sequence].past;
}

/* A histogram of letters: texts of the same letters are alike. */
static int embed_double(struct ps_model *model, const struct ps_batch *batch)
{
    struct double_model *m = of(model);
    memset(m->vectors, 0, sizeof(m->vectors));
    for (uint32_t i = 0; i < batch->count; i++) {
        if (m->aborted(m->arg)) {
            return PS_DECODE_ABORTED;
        }
        wait_us(m->pace_us);
        m->vectors[batch->sequence[i]][batch->token[i] % DIMENSIONS] += 1;
    }
    return PS_DECODED;
}

static const float *vector_double(struct ps_model *model, int32_t sequence)
{
    return of(model)->vectors[sequence];
}

static uint32_t embed_batch_double(struct ps_model *model, uint32_t *ret_sequences)
{
    (void)model;
    *ret_sequences = 8;
    return EMBED_MAX;
}

const struct ps_model_ops ps_model_double = {
    .kind = "double",
    .load = load_double,
    .free = free_double,
    .tokenise = tokenise_double,
    .has_control = has_control_double,
    .render = render_double,
    .piece = piece_double,
    .ends = ends_double,
    .decode = decode_double,
    .logits = logits_double,
    .forget = forget_double,
    .next = next_double,
    .embed = embed_double,
    .vector = vector_double,
    .embed_batch = embed_batch_double,
};

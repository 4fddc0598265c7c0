/* SPDX-License-Identifier: Apache-2.0 */
#ifndef PENSTOCK_ENGINE_LLAMA_SHIM_H
#define PENSTOCK_ENGINE_LLAMA_SHIM_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

/*
 * The part of llama.cpp that is used, as C, with exceptions caught at the border: what throws
 * answers like what fails. Nothing but llama_shim.cpp includes llama.h, so that a struct which
 * changes between releases cannot be misread. Limits are the caller's to check first: inside, a
 * broken one ends the process.
 */
#ifdef __cplusplus
extern "C" {
#endif

struct llama_model;
struct llama_context;
struct llama_sampler;
struct ggml_threadpool;

/* Once per process; any thread, again and again. NULL, or why the library cannot be used (static
 * text). */
const char *ps_llama_start(void);
/* "0.5.0 (x64 haswell icelake)"; static. */
const char *ps_llama_version(void);
/* Which kernels run: "haswell"; after ps_llama_start. */
const char *ps_llama_kernels(void);

/* threads ≥ 2; NULL when they cannot be had. */
struct ggml_threadpool *ps_llama_pool_new(unsigned threads);
void ps_llama_pool_free(struct ggml_threadpool *pool);

/* `progress` returns false to give the load up. NULL on failure; ret_why then holds what the
 * library said. */
struct llama_model *ps_llama_load(const char *path, FILE *file, int32_t gpu_layers,
                                  bool (*progress)(float part, void *arg), void *arg, char *ret_why,
                                  size_t why_size);
void ps_llama_model_free(struct llama_model *model);

struct ps_llama_facts {
    char name[96];
    char description[96];
    uint64_t parameters;
    uint64_t weight_bytes;
    uint64_t kv_token_bytes; /* f16 */
    uint32_t trained_context;
    uint32_t vocabulary;
    uint32_t width;     /* of the hidden state */
    uint32_t embedding; /* of an output vector */
    uint32_t layers;
    bool has_decoder;
    bool has_encoder;
    bool causal;
    int pooling; /* as the model says; -1: it does not */
};
int ps_llama_describe(const struct llama_model *model, struct ps_llama_facts *ret_facts);
/* What about it would end the process when it is used; NULL: nothing that is known. Static text. */
const char *ps_llama_unfit(const struct llama_model *model);
/* Borrowed from the model; NULL: it has none. */
const char *ps_llama_template(const struct llama_model *model);

struct ps_llama_context_options {
    uint32_t context; /* tokens of all sequences */
    uint32_t sequences;
    uint32_t batch;
    unsigned threads;
    bool unified; /* one pool of cells for all sequences */
    int pooling;  /* embeddings; -1: a context that generates */
    bool (*abort)(void *arg);
    void *abort_arg;
    struct ggml_threadpool *pool; /* may be NULL */
};
struct llama_context *ps_llama_context_new(struct llama_model *model,
                                           const struct ps_llama_context_options *options);
void ps_llama_context_free(struct llama_context *context);
uint32_t ps_llama_context_per_sequence(const struct llama_context *context);

/* Any thread. Tokens needed, of which at most `max` are written; -1 on failure. */
int64_t ps_llama_tokenise(const struct llama_model *model, const char *text, size_t len,
                          bool add_special, bool parse_special, int32_t *ret_tokens, size_t max);
/* Bytes of the piece, at most `max`; control tokens have none. 0 on failure. */
size_t ps_llama_piece(const struct llama_model *model, int32_t token, char *ret_bytes, size_t max);
bool ps_llama_ends(const struct llama_model *model, int32_t token);
/* Text of a control or user-defined token, NULL for others. Borrowed from the model. */
const char *ps_llama_special(const struct llama_model *model, int32_t token);
/* As snprintf: bytes needed; -1: the template is not known. */
int64_t ps_llama_render(const char *chat_template, const char *const *roles,
                        const char *const *contents, size_t count, char *ret_text, size_t max);

struct ps_llama_batch {
    int32_t count;
    int32_t *token;
    int32_t *position;
    int32_t *sequence;
    int8_t *output;
    /* of the library's making */
    int32_t *ones;
    int32_t **sequences;
};
/* 0; 1 no room; 2 aborted; negative: failed. */
int ps_llama_decode(struct llama_context *context, const struct ps_llama_batch *batch);
const float *ps_llama_logits(struct llama_context *context, int32_t index);
const float *ps_llama_vector(struct llama_context *context, int32_t sequence);
/* Forgets positions ≥ `from`; sequence -1: all. */
void ps_llama_forget(struct llama_context *context, int32_t sequence, int32_t from);
/* The position after the last one it holds. */
int32_t ps_llama_next(struct llama_context *context, int32_t sequence);

/* NULL: the text is no grammar, or memory is short. */
struct llama_sampler *ps_llama_grammar_new(const struct llama_model *model, const char *text);
void ps_llama_grammar_free(struct llama_sampler *grammar);
int ps_llama_grammar_accept(struct llama_sampler *grammar, int32_t token);
/* Sets the logit of each candidate that may not come next to -INFINITY. */
int ps_llama_grammar_mask(struct llama_sampler *grammar, int32_t *tokens, float *logits,
                          size_t count);

#ifdef __cplusplus
}
#endif
#endif

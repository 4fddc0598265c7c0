/* SPDX-License-Identifier: Apache-2.0 */
#ifndef PENSTOCK_DIALECT_OLLAMA_PRIV_H
#define PENSTOCK_DIALECT_OLLAMA_PRIV_H

#include "encode.h"
#include "fields_reader.h"
#include "texts.h"

/* ---- front: ollama_reader.c, ollama_front.c, ollama_front_messages.c ---- */

/* request->shape: which door was knocked at; whether the model is to be unloaded. */
enum ps_ollama_shape {
    PS_OLLAMA_CHAT,
    PS_OLLAMA_GENERATE,
    PS_OLLAMA_EMBED,
    PS_OLLAMA_EMBEDDINGS, /* the older one: one text, one vector */
    PS_OLLAMA_SHOW,
};
#define PS_OLLAMA_UNLOADS 0x100u
static inline enum ps_ollama_shape ps_ollama_shape_of(const struct ps_request *request)
{
    return request != NULL ? (enum ps_ollama_shape)(request->shape & 0xff) : PS_OLLAMA_CHAT;
}

int ps_ollama_reader_global_init(void);
void ps_ollama_reader_global_deinit(void);
int ps_ollama_reader_init(struct ps_reader *reader);
int ps_ollama_reader_finish(struct ps_reader *reader, struct ps_fault *ret_fault);

int ps_ollama_neutral(const struct ps_request *request, struct ps_arena *arena,
                      struct ps_neutral *ret, struct ps_fault *ret_fault);
/* The conversation out of "messages", or out of what /api/generate has instead; all raw. */
int ps_ollama_messages(struct ps_neutral_build *build, struct ps_slice array);
int ps_ollama_prompt(struct ps_neutral_build *build, struct ps_slice system, struct ps_slice prompt,
                     struct ps_slice images);

/* ---- front: ollama_writer.c ---- */

#define PS_OLLAMA_CALLS 128 /* of tools in one answer */

struct ps_ollama_call {
    uint32_t block;
    struct ps_buf head;      /* `{"id":…,"function":{"index":…,"name":…,"arguments":` */
    struct ps_buf arguments; /* as far as they have come */
};
struct ps_ollama_vector {
    uint32_t index;
    size_t at; /* in `content` */
    size_t len;
};

struct ps_ollama_writer {
    struct ps_writer base;
    struct ps_buf content; /* WHOLE: the text so far; EMBED: vectors, one behind the other */
    struct ps_buf thought; /* WHOLE */
    struct ps_buf images;  /* WHOLE: elements of their list */
    struct ps_buf tokens;  /* log probabilities that wait for their text, or for the end */
    struct ps_buf calls;   /* struct ps_ollama_call: told when they are whole */
    struct ps_buf vectors; /* struct ps_ollama_vector */
    char reason[40];       /* why it ended, when that is none of the usual words */
    enum ps_finish finish;
    struct ps_usage usage;
};

int ps_ollama_writer_init(struct ps_writer *writer);
void ps_ollama_writer_deinit(struct ps_writer *writer);
int ps_ollama_writer_event(struct ps_writer *writer, const struct ps_event *event,
                           struct ps_buf *out, struct ps_fault *ret_fault);
void ps_ollama_writer_end(struct ps_writer *writer, const struct ps_answer_info *info,
                          struct ps_buf *out);
/* "2026-11-24T08:00:00Z", quoted. */
void ps_ollama_write_time(int64_t seconds, struct ps_json_out *out);

/* ---- back: ollama_encode.c, ollama_own.c, ollama_messages.c ---- */

/* What is relayed, and PS_OP_MODELS. */
int ps_ollama_encode(const struct ps_request *request, const struct ps_encode_options *options,
                     struct ps_arena *arena, struct ps_encoded *ret, struct ps_fault *ret_fault);
int ps_ollama_encode_neutral(struct ps_encode *encode);
/* The member "messages". */
int ps_ollama_encode_messages(struct ps_encode *encode);

/* ---- back: ollama_decoder.c ---- */

struct ps_ollama_decoder {
    struct ps_texts texts;
    bool started;   /* START was told */
    uint32_t calls; /* tool calls so far */
};

int ps_ollama_decoder_init(struct ps_decoder *base, struct ps_slice content_type);

#endif

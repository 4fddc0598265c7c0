/* SPDX-License-Identifier: Apache-2.0 */
#include "engine_priv.h"

#include <stdio.h>

#if PENSTOCK_HAVE_LLAMA

#include "builtin.h"
#include "gguf.h"
#include "llama_shim.h"

#include "penstock/base/mem.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

/*
 * llama.cpp as a model. Loading: the file is read over by us first (gguf.c), since the library ends
 * the process on some of what a broken file can hold; then weights, then the memory of all slots,
 * each counted against the cap before it is taken. A second context for embeddings is made when the
 * first request wants it.
 */

#define EMBED_TOKENS    2048 /* of one decode, and so of one input */
#define EMBED_SEQUENCES 16
#define TEMPLATE_GUESS  4096

#define POOLING_NONE 0
#define POOLING_MEAN 1
#define POOLING_RANK 4

struct special {
    const char *text; /* borrowed from the model */
    size_t len;
};

struct llama_engine_model {
    struct ps_model base;
    struct ps_engine_host *host;
    struct llama_model *model;      /* owned */
    struct llama_context *context;  /* owned; NULL: it does not generate */
    struct llama_context *embedder; /* owned; made at the first use */
    struct ps_llama_facts facts;
    struct special *specials; /* owned */
    size_t special_count;
    bool first_bytes[256]; /* some special begins with it */
    char *chat_template;   /* owned; NULL: none is known */
    uint64_t memory;       /* taken from the host */
    uint32_t embed_tokens;
    uint32_t embed_sequences;
    struct ggml_threadpool *pool; /* borrowed from the host */
    bool (*aborted)(void *arg);
    void *arg;
};

static struct llama_engine_model *of(struct ps_model *model)
{
    return (struct llama_engine_model *)(void *)model;
}

static bool is_builtin(const char *path)
{
    return strcmp(path, "builtin") == 0;
}

/* ---- the file ---- */

static int path_fault(struct ps_fault *fault, const char *path, const char *what)
{
    return ps_fault_set(fault, PS_FAULT_BAD_FIELD, "model_path", "%.120s: %s.", path, what);
}

static int check_llama(const struct ps_engine_options *options, struct ps_fault *fault)
{
    if (options->model_path == NULL || options->model_path[0] == '\0') {
        return ps_fault_set(fault, PS_FAULT_BAD_FIELD, "model_path", "No model is named.");
    }
    if (is_builtin(options->model_path)) {
        return 0;
    }
    struct stat info;
    unsigned char head[8];
    char why[PS_FAULT_TEXT];
    uint64_t bytes = 0;
    int fd = open(options->model_path, O_RDONLY | O_CLOEXEC | O_NOCTTY);
    if (fd < 0) {
        return path_fault(fault, options->model_path, strerror(errno));
    }
    int rc = 0;
    if (fstat(fd, &info) != 0 || !S_ISREG(info.st_mode)) {
        rc = path_fault(fault, options->model_path, "is no file");
    } else if (read(fd, head, sizeof(head)) != (ssize_t)sizeof(head) ||
               memcmp(head, "GGUF", 4) != 0) {
        rc = path_fault(fault, options->model_path, "is no GGUF file");
    } else if (ps_gguf_check(fd, why, sizeof(why), &bytes) != 0) {
        rc = path_fault(fault, options->model_path, why);
    }
    (void)close(fd);
    return rc;
}

/* The model's bytes as a file, whichever way: 0, or -1 with the fault. */
static int open_model(const char *path, FILE **ret_file, struct ps_fault *fault)
{
    int fd;
    if (!is_builtin(path)) {
        fd = open(path, O_RDONLY | O_CLOEXEC | O_NOCTTY);
    } else {
        size_t len = (size_t)(ps_builtin_model_end - ps_builtin_model);
        fd = memfd_create("penstock-model", MFD_CLOEXEC);
        for (size_t at = 0; fd >= 0 && at < len;) {
            ssize_t written = write(fd, ps_builtin_model + at, len - at);
            if (written <= 0) {
                (void)close(fd);
                return path_fault(fault, path, "there is no memory to hold it");
            }
            at += (size_t)written;
        }
        if (fd >= 0 && lseek(fd, 0, SEEK_SET) != 0) {
            (void)close(fd);
            fd = -1;
        }
    }
    if (fd < 0) {
        return path_fault(fault, path, strerror(errno));
    }
    *ret_file = fdopen(fd, "rb");
    if (*ret_file == NULL) {
        (void)close(fd);
        return path_fault(fault, path, "there is no memory to read it");
    }
    return 0;
}

/* ---- loading ---- */

static bool take_memory(struct llama_engine_model *m, const struct ps_engine_options *options,
                        uint64_t bytes, const char *what, struct ps_fault *fault)
{
    if (ps_host_take_memory(m->host, bytes)) {
        m->memory += bytes;
        return true;
    }
    (void)ps_fault_set(fault, PS_FAULT_NO_MEMORY, "model_path",
                       "%.80s needs %llu MiB for its %s, which limits.model_memory (%llu MiB, %llu "
                       "in use) does not allow.",
                       options->model_path, (unsigned long long)((bytes + 1048575) >> 20), what,
                       (unsigned long long)(m->host->options.model_memory >> 20),
                       (unsigned long long)(atomic_load(&m->host->memory) >> 20));
    return false;
}

static void free_pool(void *pool)
{
    ps_llama_pool_free(pool);
}

static struct ggml_threadpool *shared_pool(struct ps_engine_host *host)
{
    unsigned threads = host->options.compute_threads;
    (void)pthread_mutex_lock(&host->lock);
    if (host->pool == NULL && threads > 1) {
        host->pool = ps_llama_pool_new(threads);
        host->pool_free = free_pool;
    }
    struct ggml_threadpool *pool = host->pool;
    (void)pthread_mutex_unlock(&host->lock);
    return pool;
}

static int load_weights(struct llama_engine_model *m, const struct ps_model_options *options,
                        struct ps_fault *fault)
{
    const char *path = options->engine->model_path;
    FILE *file = NULL;
    char why[PS_FAULT_TEXT];
    if (open_model(path, &file, fault) != 0) {
        return -1;
    }
    uint64_t bytes = 0;
    if (ps_gguf_check(fileno(file), why, sizeof(why), &bytes) != 0) {
        (void)fclose(file);
        return path_fault(fault, path, why);
    }
    if (!take_memory(m, options->engine, bytes, "weights", fault)) {
        (void)fclose(file);
        return -1;
    }
    rewind(file);
    /* By name, so that the weights are mapped and shared with other processes; what is embedded has
     * none. */
    m->model = ps_llama_load(path, is_builtin(path) ? file : NULL, options->engine->gpu_layers,
                             options->progress, options->arg, why, sizeof(why));
    (void)fclose(file);
    if (m->model == NULL) {
        return path_fault(fault, path, why[0] != '\0' ? why : "llama.cpp could not load it");
    }
    const char *unfit = ps_llama_unfit(m->model);
    if (unfit != NULL) {
        return path_fault(fault, path, unfit);
    }
    if (ps_llama_describe(m->model, &m->facts) != 0 || m->facts.vocabulary == 0) {
        return path_fault(fault, path, "llama.cpp knows no vocabulary in it");
    }
    return 0;
}

static int find_specials(struct llama_engine_model *m)
{
    size_t count = 0;
    for (uint32_t i = 0; i < m->facts.vocabulary; i++) {
        count += ps_llama_special(m->model, (int32_t)i) != NULL ? 1 : 0;
    }
    m->specials = ps_malloc((count + 1) * sizeof(*m->specials));
    if (m->specials == NULL) {
        return -1;
    }
    for (uint32_t i = 0; i < m->facts.vocabulary && m->special_count < count; i++) {
        const char *text = ps_llama_special(m->model, (int32_t)i);
        if (text != NULL && text[0] != '\0') {
            m->specials[m->special_count++] = (struct special){text, strlen(text)};
            m->first_bytes[(unsigned char)text[0]] = true;
        }
    }
    return 0;
}

/* The configuration's, else the model's own, when the library knows it. */
static int choose_template(struct llama_engine_model *m, const char *configured,
                           struct ps_fault *fault)
{
    static const char *const roles[] = {"user"};
    static const char *const contents[] = {"x"};
    const char *text = configured != NULL ? configured : ps_llama_template(m->model);
    bool known = text != NULL && ps_llama_render(text, roles, contents, 1, NULL, 0) >= 0;
    if (!known && configured != NULL) {
        return ps_fault_set(fault, PS_FAULT_BAD_FIELD, "chat_template",
                            "llama.cpp does not know this template; give the name of one it knows, "
                            "such as chatml or llama3.");
    }
    if (!known && text != NULL && m->facts.has_decoder && m->facts.causal) {
        return ps_fault_set(fault, PS_FAULT_BAD_FIELD, "chat_template",
                            "llama.cpp does not know the chat template in this model; give the "
                            "name of one that fits, such as "
                            "chatml or llama3.");
    }
    /* A model that has none still completes and embeds. */
    m->chat_template = known ? ps_strndup(text, strlen(text)) : NULL;
    return known && m->chat_template == NULL
               ? ps_fault_set(fault, PS_FAULT_NO_MEMORY, NULL, "Not enough memory.")
               : 0;
}

static int make_context(struct llama_engine_model *m, const struct ps_model_options *options,
                        uint32_t context_tokens, struct ps_engine_info *info,
                        struct ps_fault *fault)
{
    uint32_t slots = options->engine->slots;
    uint64_t cells = (uint64_t)slots * ((context_tokens + 255) / 256 * 256);
    info->kv_bytes = cells * m->facts.kv_token_bytes;
    /* The library's scratch memory: activations of a batch, and its rows of logits. */
    info->compute_bytes = (uint64_t)options->batch * m->facts.width * 4 * 8 +
                          (uint64_t)slots * m->facts.vocabulary * 8;
    if (!take_memory(m, options->engine, info->kv_bytes + info->compute_bytes,
                     "context (slots x context_tokens)", fault)) {
        return -1;
    }
    if (cells > UINT32_MAX) {
        return ps_fault_set(fault, PS_FAULT_BAD_FIELD, "context_tokens",
                            "slots x context_tokens is too large.");
    }
    struct ps_llama_context_options wanted = {
        .context = (uint32_t)cells,
        .sequences = slots,
        .batch = options->batch,
        .threads = options->host->options.compute_threads,
        .pooling = -1,
        .abort = options->aborted,
        .abort_arg = options->arg,
        .pool = m->pool,
    };
    m->context = ps_llama_context_new(m->model, &wanted);
    if (m->context == NULL) {
        return ps_fault_set(fault, PS_FAULT_NO_MEMORY, "context_tokens",
                            "%.80s: llama.cpp could not make room for %u requests of %u tokens.",
                            options->engine->model_path, slots, context_tokens);
    }
    return 0;
}

static void describe(const struct llama_engine_model *m, struct ps_engine_info *info)
{
    (void)snprintf(info->name, sizeof(info->name), "%s", m->facts.name);
    (void)snprintf(info->description, sizeof(info->description), "%s", m->facts.description);
    info->parameters = m->facts.parameters;
    info->weight_bytes = m->facts.weight_bytes;
    info->vocabulary = m->facts.vocabulary;
    info->dimensions = m->facts.embedding;
    info->generates = m->context != NULL;
    info->chats = info->generates && m->chat_template != NULL;
}

static void free_llama(struct ps_model *model)
{
    struct llama_engine_model *m = of(model);
    ps_llama_context_free(m->embedder);
    ps_llama_context_free(m->context);
    ps_llama_model_free(m->model);
    ps_host_give_memory(m->host, m->memory);
    ps_free(m->specials);
    ps_free(m->chat_template);
    ps_free(m);
}

static int load_into(struct llama_engine_model *m, const struct ps_model_options *options,
                     struct ps_engine_info *info, struct ps_fault *fault)
{
    const char *why = ps_llama_start();
    if (why != NULL) {
        return ps_fault_set(fault, PS_FAULT_INTERNAL, "engine", "%s.", why);
    }
    if (load_weights(m, options, fault) != 0 ||
        choose_template(m, options->engine->chat_template, fault) != 0) {
        return -1;
    }
    if (find_specials(m) != 0) {
        return ps_fault_set(fault, PS_FAULT_NO_MEMORY, "model_path",
                            "Not enough memory for the vocabulary.");
    }
    uint32_t trained = m->facts.trained_context;
    uint32_t context_tokens = options->engine->context_tokens;
    context_tokens = trained > 0 && trained < context_tokens ? trained : context_tokens;
    info->context_tokens = context_tokens;
    info->slots = options->engine->slots;
    m->pool = shared_pool(m->host);
    m->embed_tokens = context_tokens < EMBED_TOKENS ? context_tokens : EMBED_TOKENS;
    /* The library reserves an output for each sequence, and has no more of them than tokens. */
    m->embed_sequences = m->embed_tokens < EMBED_SEQUENCES ? m->embed_tokens : EMBED_SEQUENCES;
    bool generates = m->facts.has_decoder && m->facts.causal;
    if (generates && make_context(m, options, context_tokens, info, fault) != 0) {
        return -1;
    }
    describe(m, info);
    info->embeds = options->engine->embeddings && m->facts.pooling != POOLING_RANK;
    return 0;
}

static struct ps_model *load_llama(const struct ps_model_options *options,
                                   struct ps_engine_info *info, struct ps_fault *fault)
{
    struct llama_engine_model *m = ps_calloc(1, sizeof(*m));
    if (m == NULL) {
        (void)ps_fault_set(fault, PS_FAULT_NO_MEMORY, "model_path",
                           "Not enough memory for the model.");
        return NULL;
    }
    m->base.ops = &ps_model_llama;
    m->host = options->host;
    m->aborted = options->aborted;
    m->arg = options->arg;
    if (load_into(m, options, info, fault) != 0) {
        free_llama(&m->base);
        return NULL;
    }
    return &m->base;
}

/* ---- text ---- */

static int64_t tokenise_llama(struct ps_model *model, struct ps_slice text, bool begin,
                              bool trusted, int32_t *ret, size_t max)
{
    return ps_llama_tokenise(of(model)->model, text.ptr, text.len, begin, trusted, ret, max);
}

static bool has_control_llama(struct ps_model *model, struct ps_slice text)
{
    const struct llama_engine_model *m = of(model);
    for (size_t i = 0; i < text.len; i++) {
        if (!m->first_bytes[(unsigned char)text.ptr[i]]) {
            continue;
        }
        for (size_t k = 0; k < m->special_count; k++) {
            const struct special *special = &m->specials[k];
            if (special->len <= text.len - i &&
                memcmp(text.ptr + i, special->text, special->len) == 0) {
                return true;
            }
        }
    }
    return false;
}

static int render_llama(struct ps_model *model, const char *const *roles,
                        const char *const *contents, size_t count, struct ps_buf *ret)
{
    const char *chat_template = of(model)->chat_template;
    for (size_t room = TEMPLATE_GUESS; chat_template != NULL && !ret->failed;) {
        char *at = ps_buf_reserve(ret, room);
        int64_t needed =
            at != NULL ? ps_llama_render(chat_template, roles, contents, count, at, room) : -1;
        if (needed < 0) {
            return -1;
        }
        if ((uint64_t)needed <= room) {
            ps_buf_commit(ret, (size_t)needed);
            return 0;
        }
        room = (size_t)needed;
    }
    return -1;
}

static size_t piece_llama(struct ps_model *model, int32_t token, char *ret, size_t max)
{
    return ps_llama_piece(of(model)->model, token, ret, max);
}

static bool ends_llama(struct ps_model *model, int32_t token)
{
    return ps_llama_ends(of(model)->model, token);
}

/* ---- computing ---- */

static struct ps_llama_batch raw_batch(const struct ps_batch *batch)
{
    return (struct ps_llama_batch){(int32_t)batch->count, batch->token,  batch->position,
                                   batch->sequence,       batch->output, batch->ones,
                                   batch->sequences};
}

static int decode_llama(struct ps_model *model, const struct ps_batch *batch)
{
    struct ps_llama_batch raw = raw_batch(batch);
    return ps_llama_decode(of(model)->context, &raw);
}

static const float *logits_llama(struct ps_model *model, uint32_t index)
{
    return ps_llama_logits(of(model)->context, (int32_t)index);
}

static void forget_llama(struct ps_model *model, int32_t sequence, int32_t from)
{
    ps_llama_forget(of(model)->context, sequence, from);
}

static int32_t next_llama(struct ps_model *model, int32_t sequence)
{
    return ps_llama_next(of(model)->context, sequence);
}

static int make_embedder(struct llama_engine_model *m)
{
    uint64_t bytes =
        (uint64_t)m->embed_tokens * (m->facts.kv_token_bytes + m->facts.width * 4ULL * 8);
    if (!ps_host_take_memory(m->host, bytes)) {
        return -1;
    }
    m->memory += bytes;
    struct ps_llama_context_options wanted = {
        .context = m->embed_tokens,
        .sequences = m->embed_sequences,
        .batch = m->embed_tokens,
        .threads = m->host->options.compute_threads,
        .unified = true,
        .pooling = m->facts.pooling > POOLING_NONE ? m->facts.pooling : POOLING_MEAN,
        .abort = m->aborted,
        .abort_arg = m->arg,
        .pool = m->pool,
    };
    m->embedder = ps_llama_context_new(m->model, &wanted);
    return m->embedder != NULL ? 0 : -1;
}

static int embed_llama(struct ps_model *model, const struct ps_batch *batch)
{
    struct llama_engine_model *m = of(model);
    if (m->embedder == NULL && make_embedder(m) != 0) {
        return -1;
    }
    struct ps_llama_batch raw = raw_batch(batch);
    ps_llama_forget(m->embedder, -1, 0);
    return ps_llama_decode(m->embedder, &raw);
}

static const float *vector_llama(struct ps_model *model, int32_t sequence)
{
    return ps_llama_vector(of(model)->embedder, sequence);
}

static uint32_t embed_batch_llama(struct ps_model *model, uint32_t *ret_sequences)
{
    *ret_sequences = of(model)->embed_sequences;
    return of(model)->embed_tokens;
}

/* ---- grammars ---- */

static void *grammar_new_llama(struct ps_model *model, const char *gbnf)
{
    return ps_llama_grammar_new(of(model)->model, gbnf);
}

static void grammar_free_llama(void *grammar)
{
    ps_llama_grammar_free(grammar);
}

static int grammar_accept_llama(void *grammar, int32_t token)
{
    return ps_llama_grammar_accept(grammar, token);
}

static int grammar_mask_llama(void *grammar, int32_t *tokens, float *logits, size_t count)
{
    return ps_llama_grammar_mask(grammar, tokens, logits, count);
}

const struct ps_model_ops ps_model_llama = {
    .kind = "llama",
    .check = check_llama,
    .load = load_llama,
    .free = free_llama,
    .tokenise = tokenise_llama,
    .has_control = has_control_llama,
    .render = render_llama,
    .piece = piece_llama,
    .ends = ends_llama,
    .decode = decode_llama,
    .logits = logits_llama,
    .forget = forget_llama,
    .next = next_llama,
    .embed = embed_llama,
    .vector = vector_llama,
    .embed_batch = embed_batch_llama,
    .grammar_new = grammar_new_llama,
    .grammar_free = grammar_free_llama,
    .grammar_accept = grammar_accept_llama,
    .grammar_mask = grammar_mask_llama,
};

#endif

const char *ps_engine_library(void)
{
#if PENSTOCK_HAVE_LLAMA
    static char text[64];
    (void)snprintf(text, sizeof(text), "llama.cpp %s", ps_llama_version());
    return text;
#else
    return "none";
#endif
}

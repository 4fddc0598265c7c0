// SPDX-License-Identifier: Apache-2.0
#include "llama_shim.h"

#include "llama.h"

#include <cmath>
#include <cstring>
#include <mutex>
#include <new>
#include <vector>

namespace {

char last_error[256]; // under log_lock
std::mutex log_lock;

// Loading reports why it fails only here. Other chatter goes nowhere.
void on_log(enum ggml_log_level level, const char *text, void *)
{
    if (level != GGML_LOG_LEVEL_ERROR || text == nullptr) {
        return;
    }
    std::lock_guard<std::mutex> guard(log_lock);
    if (last_error[0] != '\0') {
        return; // the first is the cause, those after it only pass it on
    }
    snprintf(last_error, sizeof(last_error), "%s", text);
    last_error[strcspn(last_error, "\r\n")] = '\0';
}

template <typename Result, typename Fn> Result guarded(Result failed, Fn fn)
{
    try {
        return fn();
    } catch (...) {
        return failed;
    }
}

} // namespace

#ifdef PENSTOCK_LLAMA_VARIANTS
extern "C" ggml_backend_reg_t penstock_cpu_x64(void);
extern "C" ggml_backend_reg_t penstock_cpu_haswell(void);
extern "C" ggml_backend_reg_t penstock_cpu_icelake(void);
#endif

namespace {

const char *kernels = "native";
ggml_backend_reg_t cpu;

void register_kernels()
{
#ifdef PENSTOCK_LLAMA_VARIANTS
    __builtin_cpu_init();
    bool haswell = __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma") &&
                   __builtin_cpu_supports("bmi2") && __builtin_cpu_supports("avx") &&
                   __builtin_cpu_supports("f16c");
    bool icelake = haswell && __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512cd") &&
                   __builtin_cpu_supports("avx512vl") && __builtin_cpu_supports("avx512dq") &&
                   __builtin_cpu_supports("avx512bw") && __builtin_cpu_supports("avx512vbmi") &&
                   __builtin_cpu_supports("avx512vnni");
    if (icelake) {
        kernels = "icelake";
        cpu = penstock_cpu_icelake();
    } else if (haswell) {
        kernels = "haswell";
        cpu = penstock_cpu_haswell();
    } else {
        kernels = "x64";
        cpu = penstock_cpu_x64();
    }
    ggml_backend_register(cpu);
#else
    cpu = ggml_backend_dev_backend_reg(ggml_backend_dev_by_type(GGML_BACKEND_DEVICE_TYPE_CPU));
#endif
}

const char *start()
{
    llama_log_set(on_log, nullptr);
    // "0.5.0" of a release, "0.5.0-dev" of a build from its sources.
    size_t wanted = strlen(PENSTOCK_LLAMA_VERSION);
    const char *found = llama_version();
    if (strncmp(found, PENSTOCK_LLAMA_VERSION, wanted) != 0 || (found[wanted] != '\0' && found[wanted] != '-')) {
        return "the llama.cpp library is not of version " PENSTOCK_LLAMA_VERSION ", for which this was built";
    }
    llama_backend_init();
    register_kernels();
    return cpu == nullptr ? "the llama.cpp library has no CPU backend" : nullptr;
}

bool always_go(float, void *)
{
    return true;
}

} // namespace

extern "C" {

const char *ps_llama_start(void)
{
    static std::once_flag once;
    static const char *why;
    return guarded("the llama.cpp library failed to start", [] {
        std::call_once(once, [] { why = start(); });
        return why;
    });
}

const char *ps_llama_version(void)
{
#ifdef PENSTOCK_LLAMA_VARIANTS
    return PENSTOCK_LLAMA_VERSION " (x64 haswell icelake)";
#else
    return PENSTOCK_LLAMA_VERSION;
#endif
}

const char *ps_llama_kernels(void)
{
    return kernels;
}

struct ggml_threadpool *ps_llama_pool_new(unsigned threads)
{
    auto make = reinterpret_cast<decltype(ggml_threadpool_new) *>(
        ggml_backend_reg_get_proc_address(cpu, "ggml_threadpool_new"));
    if (make == nullptr) {
        return nullptr;
    }
    return guarded<ggml_threadpool *>(nullptr, [=] {
        ggml_threadpool_params params = ggml_threadpool_params_default(static_cast<int>(threads));
        return make(&params);
    });
}

void ps_llama_pool_free(struct ggml_threadpool *pool)
{
    auto end = reinterpret_cast<decltype(ggml_threadpool_free) *>(
        ggml_backend_reg_get_proc_address(cpu, "ggml_threadpool_free"));
    if (pool != nullptr && end != nullptr) {
        end(pool);
    }
}

struct llama_model *ps_llama_load(const char *path, FILE *file, int32_t gpu_layers,
                                  bool (*progress)(float part, void *arg), void *arg, char *ret_why, size_t why_size)
{
    static std::mutex loading; // one at a time, so that last_error is this one's
    std::lock_guard<std::mutex> one(loading);
    {
        std::lock_guard<std::mutex> guard(log_lock);
        last_error[0] = '\0';
    }
    llama_model *model = guarded<llama_model *>(nullptr, [&] {
        llama_model_params params = llama_model_default_params();
        params.n_gpu_layers = gpu_layers;
        params.progress_callback = progress != nullptr ? progress : always_go;
        params.progress_callback_user_data = arg;
        return file != nullptr ? llama_model_load_from_file_ptr(file, params)
                               : llama_model_load_from_file(path, params);
    });
    if (model == nullptr) {
        std::lock_guard<std::mutex> guard(log_lock);
        snprintf(ret_why, why_size, "%s", last_error);
    }
    return model;
}

void ps_llama_model_free(struct llama_model *model)
{
    if (model != nullptr) {
        llama_model_free(model);
    }
}

static bool meta_number(const llama_model *model, const char *suffix, long *ret)
{
    char architecture[64];
    char key[128];
    char value[64];
    if (llama_model_meta_val_str(model, "general.architecture", architecture, sizeof(architecture)) < 0) {
        return false;
    }
    snprintf(key, sizeof(key), "%s.%s", architecture, suffix);
    if (llama_model_meta_val_str(model, key, value, sizeof(value)) < 0) {
        return false;
    }
    *ret = strcmp(value, "true") == 0 ? 1 : strtol(value, nullptr, 10);
    return true;
}

int ps_llama_describe(const struct llama_model *model, struct ps_llama_facts *ret)
{
    return guarded(-1, [&] {
        *ret = {};
        (void)llama_model_meta_val_str(model, "general.name", ret->name, sizeof(ret->name));
        (void)llama_model_desc(model, ret->description, sizeof(ret->description));
        ret->parameters = llama_model_n_params(model);
        ret->weight_bytes = llama_model_size(model);
        ret->trained_context = static_cast<uint32_t>(llama_model_n_ctx_train(model));
        ret->vocabulary = static_cast<uint32_t>(llama_vocab_n_tokens(llama_model_get_vocab(model)));
        ret->width = static_cast<uint32_t>(llama_model_n_embd(model));
        ret->embedding = static_cast<uint32_t>(llama_model_n_embd_out(model));
        ret->layers = static_cast<uint32_t>(llama_model_n_layer(model));
        ret->has_decoder = llama_model_has_decoder(model);
        ret->has_encoder = llama_model_has_encoder(model);
        long value = 0;
        ret->causal = !meta_number(model, "attention.causal", &value) || value != 0;
        ret->pooling = meta_number(model, "pooling_type", &value) ? static_cast<int>(value) : -1;
        long heads = llama_model_n_head(model);
        long kv_heads = llama_model_n_head_kv(model);
        long head = heads > 0 ? static_cast<long>(ret->width) / heads : 0;
        long key = meta_number(model, "attention.key_length", &value) ? value : head;
        long val = meta_number(model, "attention.value_length", &value) ? value : head;
        ret->kv_token_bytes = static_cast<uint64_t>(ret->layers) * static_cast<uint64_t>(kv_heads) *
                              static_cast<uint64_t>(key + val) * 2;
        return 0;
    });
}

const char *ps_llama_unfit(const struct llama_model *model)
{
    const llama_vocab *vocab = llama_model_get_vocab(model);
    if (llama_vocab_type(vocab) == LLAMA_VOCAB_TYPE_NONE) {
        return "it has no vocabulary";
    }
    if ((llama_vocab_get_add_bos(vocab) && llama_vocab_bos(vocab) == LLAMA_TOKEN_NULL) ||
        (llama_vocab_get_add_eos(vocab) && llama_vocab_eos(vocab) == LLAMA_TOKEN_NULL) ||
        (llama_vocab_get_add_sep(vocab) && llama_vocab_sep(vocab) == LLAMA_TOKEN_NULL)) {
        return "its vocabulary adds a token that it does not have";
    }
    if (llama_model_has_encoder(model)) {
        return "it has an encoder of its own (as T5 does), which this engine cannot run";
    }
    return nullptr;
}

const char *ps_llama_template(const struct llama_model *model)
{
    return llama_model_chat_template(model, nullptr);
}

struct llama_context *ps_llama_context_new(struct llama_model *model, const struct ps_llama_context_options *options)
{
    return guarded<llama_context *>(nullptr, [&]() -> llama_context * {
        llama_context_params params = llama_context_default_params();
        params.n_ctx = options->context;
        params.n_seq_max = options->sequences;
        params.n_batch = options->batch;
        params.n_ubatch = options->batch;
        params.n_threads = static_cast<int32_t>(options->threads);
        params.n_threads_batch = static_cast<int32_t>(options->threads);
        params.kv_unified = options->unified;
        params.no_perf = true;
        params.abort_callback = options->abort;
        params.abort_callback_data = options->abort_arg;
        if (options->pooling >= 0) {
            params.embeddings = true;
            params.pooling_type = static_cast<enum llama_pooling_type>(options->pooling);
        }
        llama_context *context = llama_init_from_model(model, params);
        if (context != nullptr && options->pool != nullptr) {
            llama_attach_threadpool(context, options->pool, nullptr);
        }
        return context;
    });
}

void ps_llama_context_free(struct llama_context *context)
{
    if (context != nullptr) {
        llama_free(context);
    }
}

uint32_t ps_llama_context_per_sequence(const struct llama_context *context)
{
    return llama_n_ctx_seq(context);
}

int64_t ps_llama_tokenise(const struct llama_model *model, const char *text, size_t len, bool add_special,
                          bool parse_special, int32_t *ret_tokens, size_t max)
{
    if (len > INT32_MAX || max > INT32_MAX) {
        return -1;
    }
    return guarded<int64_t>(-1, [&]() -> int64_t {
        int32_t count = llama_tokenize(llama_model_get_vocab(model), text, static_cast<int32_t>(len), ret_tokens,
                                       static_cast<int32_t>(max), add_special, parse_special);
        if (count == INT32_MIN) {
            return -1;
        }
        return count < 0 ? -static_cast<int64_t>(count) : count;
    });
}

size_t ps_llama_piece(const struct llama_model *model, int32_t token, char *ret_bytes, size_t max)
{
    return guarded<size_t>(0, [&]() -> size_t {
        int32_t len = llama_token_to_piece(llama_model_get_vocab(model), token, ret_bytes, static_cast<int32_t>(max), 0,
                                           false);
        return len > 0 ? static_cast<size_t>(len) : 0;
    });
}

bool ps_llama_ends(const struct llama_model *model, int32_t token)
{
    return llama_vocab_is_eog(llama_model_get_vocab(model), token);
}

const char *ps_llama_special(const struct llama_model *model, int32_t token)
{
    const llama_vocab *vocab = llama_model_get_vocab(model);
    int attributes = llama_vocab_get_attr(vocab, token);
    int special = LLAMA_TOKEN_ATTR_CONTROL | LLAMA_TOKEN_ATTR_USER_DEFINED | LLAMA_TOKEN_ATTR_UNKNOWN;
    return (attributes & special) != 0 ? llama_vocab_get_text(vocab, token) : nullptr;
}

int64_t ps_llama_render(const char *chat_template, const char *const *roles, const char *const *contents, size_t count,
                        char *ret_text, size_t max)
{
    return guarded<int64_t>(-1, [&]() -> int64_t {
        std::vector<llama_chat_message> messages;
        messages.reserve(count);
        for (size_t i = 0; i < count; i++) {
            messages.push_back({roles[i], contents[i]});
        }
        return llama_chat_apply_template(chat_template, messages.data(), count, true, ret_text,
                                         static_cast<int32_t>(max));
    });
}

int ps_llama_decode(struct llama_context *context, const struct ps_llama_batch *batch)
{
    // More than this is an assertion's end of the process; ids out of range only fail.
    if (batch->count <= 0 || static_cast<uint32_t>(batch->count) > llama_n_ubatch(context)) {
        return -1;
    }
    return guarded(-100, [&] {
        llama_batch raw = {};
        raw.n_tokens = batch->count;
        raw.token = batch->token;
        raw.pos = batch->position;
        raw.n_seq_id = batch->ones;
        raw.seq_id = batch->sequences;
        raw.logits = batch->output;
        return static_cast<int>(llama_decode(context, raw));
    });
}

const float *ps_llama_logits(struct llama_context *context, int32_t index)
{
    return guarded<const float *>(nullptr, [&] { return llama_get_logits_ith(context, index); });
}

const float *ps_llama_vector(struct llama_context *context, int32_t sequence)
{
    return guarded<const float *>(nullptr, [&] { return llama_get_embeddings_seq(context, sequence); });
}

void ps_llama_forget(struct llama_context *context, int32_t sequence, int32_t from)
{
    (void)guarded(false, [&] {
        llama_memory_t memory = llama_get_memory(context);
        if (memory == nullptr) {
            return true; // a model without memory: embeddings only
        }
        return llama_memory_seq_rm(memory, sequence, from, -1);
    });
}

int32_t ps_llama_next(struct llama_context *context, int32_t sequence)
{
    return guarded(0, [&] { return llama_memory_seq_pos_max(llama_get_memory(context), sequence) + 1; });
}

struct llama_sampler *ps_llama_grammar_new(const struct llama_model *model, const char *text)
{
    return guarded<llama_sampler *>(
        nullptr, [&] { return llama_sampler_init_grammar(llama_model_get_vocab(model), text, "root"); });
}

void ps_llama_grammar_free(struct llama_sampler *grammar)
{
    if (grammar != nullptr) {
        llama_sampler_free(grammar);
    }
}

int ps_llama_grammar_accept(struct llama_sampler *grammar, int32_t token)
{
    return guarded(-1, [&] {
        llama_sampler_accept(grammar, token);
        return 0;
    });
}

int ps_llama_grammar_mask(struct llama_sampler *grammar, int32_t *tokens, float *logits, size_t count)
{
    return guarded(-1, [&] {
        std::vector<llama_token_data> data(count);
        for (size_t i = 0; i < count; i++) {
            data[i] = {tokens[i], logits[i], 0.0F};
        }
        llama_token_data_array array = {data.data(), data.size(), -1, false};
        llama_sampler_apply(grammar, &array);
        for (size_t i = 0; i < count; i++) {
            logits[i] = data[i].logit;
        }
        return 0;
    });
}

} // extern "C"

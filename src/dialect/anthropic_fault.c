/* SPDX-License-Identifier: Apache-2.0 */
#include "anthropic_priv.h"
#include "openai_priv.h"

/*
 * Errors. An upstream's: {"type":"error","error":{"type":…,"message":…},"request_id":…}. Few types
 * and much in the words; what is particular to Anthropic is looked at here, the rest by the rules
 * for all.
 */

#define WORDS_BYTES 512

/* A raw string in lower case, escapes and all: good enough to look for words in it. */
static void read_words(struct ps_slice raw, char ret[WORDS_BYTES])
{
    size_t len = raw.len < WORDS_BYTES ? raw.len : WORDS_BYTES - 1;

    for (size_t i = 0; i < len; i++) {
        char byte = raw.ptr[i];

        ret[i] = byte >= 'A' && byte <= 'Z' ? (char)(byte - 'A' + 'a') : byte;
    }
    ret[len] = '\0';
}

static bool holds(const char *words, const char *const *phrases)
{
    for (; *phrases != NULL; phrases++) {
        if (strstr(words, *phrases) != NULL) {
            return true;
        }
    }
    return false;
}

/* What stands for OpenAI's "code", where the type alone says too little. */
static struct ps_slice code_of(struct ps_slice type, const char *words)
{
    static const char *const quota[] = {"credit balance", "spend limit", "spending limit",
                                        "usage limit", NULL};
    static const char *const length[] = {"prompt is too long", "exceed context limit",
                                         "context window", "context limit", NULL};
    static const char *const policy[] = {"content filtering", "usage policy", NULL};

    if (holds(words, quota)) {
        return PS_SLICE_LIT("\"insufficient_quota\"");
    }
    if (ps_raw_word(type, "invalid_request_error") && holds(words, length)) {
        return PS_SLICE_LIT("\"context_length_exceeded\"");
    }
    if (ps_raw_word(type, "invalid_request_error") && holds(words, policy)) {
        return PS_SLICE_LIT("\"content_filter\"");
    }
    /* "model: claude-x" is all it says of a model that it does not have */
    if (ps_raw_word(type, "not_found_error") && strncmp(words, "\"model:", 7) == 0) {
        return PS_SLICE_LIT("\"model_not_found\"");
    }
    return PS_SLICE_NONE;
}

/* An error in the body of a success has no status of its own: the types that the rules for all do
 * not know. */
static int status_of(struct ps_slice type)
{
    static const struct {
        const char *type;
        int status;
    } types[] = {{"billing_error", 402}, {"conflict_error", 409}, {"request_too_large", 413}};

    for (size_t i = 0; i < sizeof(types) / sizeof(types[0]); i++) {
        if (ps_raw_word(type, types[i].type)) {
            return types[i].status;
        }
    }
    return 0;
}

void ps_anthropic_fault_of(int status, struct ps_slice type, struct ps_slice message,
                           struct ps_fault *ret_fault)
{
    struct ps_openai_error error = {.message = message, .type = type};
    char words[WORDS_BYTES];

    read_words(message, words);
    error.code = code_of(type, words);
    ps_openai_fault_of(status != 0 ? status : status_of(type), &error, ret_fault);
}

void ps_anthropic_fault(int status, struct ps_slice body, struct ps_fault *ret_fault)
{
    static const struct ps_json_limits limits = {PS_JSON_MAX_DEPTH, 100000};
    struct ps_anthropic_found found = {.text = body};

    /* What was read before a cut or a mistake still counts. */
    (void)ps_json_scan_text(body, ps_anthropic_found_paths(), &limits, ps_anthropic_found_on_value,
                            &found);
    ps_anthropic_fault_of(status, ps_anthropic_found_raw(&found, PS_ANTHROPIC_V_ERROR_TYPE),
                          ps_anthropic_found_raw(&found, PS_ANTHROPIC_V_ERROR_MESSAGE), ret_fault);
}

/* ---- ours ---- */

static const char *type_of(int status)
{
    switch (status) {
    case 401:
        return "authentication_error";
    case 402:
        return "billing_error";
    case 403:
        return "permission_error";
    case 404:
        return "not_found_error";
    case 408:
    case 504:
        return "timeout_error";
    case 409:
        return "conflict_error";
    case 413:
        return "request_too_large";
    case 429:
        return "rate_limit_error";
    case 503:
    case 529:
        return "overloaded_error";
    default:
        return status >= 500 ? "api_error" : "invalid_request_error";
    }
}

void ps_anthropic_write_fault(const struct ps_fault *fault, struct ps_slice request_id,
                              struct ps_buf *out)
{
    ps_buf_cstr(out, "{\"type\":\"error\",\"error\":{\"type\":\"");
    ps_buf_cstr(out, type_of(ps_fault_status(fault)));
    ps_buf_cstr(out, "\",\"message\":");
    ps_buf_json(out, ps_slice_cstr(fault->message));
    ps_buf_cstr(out, "},\"request_id\":");
    if (request_id.len > 0) {
        ps_buf_json(out, request_id);
    } else {
        ps_buf_cstr(out, "null");
    }
    ps_buf_byte(out, '}');
}

void ps_anthropic_write_fault_event(const struct ps_fault *fault, struct ps_slice request_id,
                                    struct ps_buf *out)
{
    ps_buf_cstr(out, "event: error\ndata: ");
    ps_anthropic_write_fault(fault, request_id, out);
    ps_buf_cstr(out, "\n\n");
}

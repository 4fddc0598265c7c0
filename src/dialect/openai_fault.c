/* SPDX-License-Identifier: Apache-2.0 */
#include "openai_priv.h"

/*
 * What an upstream's error means to the client. Servers agree on few codes, so type, code and
 * message are all looked at. Its own words are passed on, but not where they may be about the
 * gateway's key.
 */

#define WORD_BYTES    64
#define MESSAGE_BYTES 1024

struct words {
    char type[WORD_BYTES];
    char code[WORD_BYTES];
    char param[WORD_BYTES];
    char message[MESSAGE_BYTES];
};

/*
 * A raw JSON value as text without control characters, cut to what fits. Cutting goes between bytes
 * and escapes; a character that loses its end there is far behind what a fault keeps.
 */
static void read_word(struct ps_slice raw, char *ret, size_t size)
{
    char cut[MESSAGE_BYTES];
    char plain[MESSAGE_BYTES];
    size_t at = 0;
    size_t len;

    ret[0] = '\0';
    if (raw.len == 0 || raw.ptr[0] != '"') {
        len = raw.len < size ? raw.len : size - 1;
        if (len > 0) {
            memcpy(ret, raw.ptr, len);
        }
        ret[len] = '\0';
        return;
    }
    for (size_t step; at + 1 < raw.len; at += step) {
        step = raw.ptr[at] != '\\' ? 1 : raw.ptr[at + 1] == 'u' ? 6 : 2;
        if (at + step > sizeof(cut) - 2) {
            break;
        }
        memcpy(cut + at, raw.ptr + at, step);
    }
    cut[at] = '"';
    len = ps_json_unescape(ps_slice(cut, at + 1), plain);
    len = len < size ? len : size - 1;
    for (size_t i = 0; i < len; i++) {
        unsigned char byte = (unsigned char)plain[i];

        ret[i] = byte < 0x20 || byte == 0x7f ? ' ' : plain[i];
    }
    ret[len] = '\0';
}

static bool contains(const char *text, const char *part)
{
    size_t len = strlen(part);

    for (; *text != '\0'; text++) {
        if (strncasecmp(text, part, len) == 0) {
            return true;
        }
    }
    return false;
}

static bool any_in(const char *text, const char *const *parts)
{
    for (; *parts != NULL; parts++) {
        if (contains(text, *parts)) {
            return true;
        }
    }
    return false;
}

static bool named(const struct words *words, const char *const *names)
{
    return any_in(words->code, names) || any_in(words->type, names);
}

static bool is_context_length(const struct words *words)
{
    static const char *const names[] = {"context_length", "exceed_context",
                                        "string_above_max_length", NULL};
    static const char *const phrases[] = {
        "context length",     "maximum context", "context window",         "too many tokens",
        "prompt is too long", "context size",    "max_new_tokens must be", NULL};

    return named(words, names) || any_in(words->message, phrases);
}

static bool is_quota(const struct words *words)
{
    static const char *const names[] = {"insufficient_quota", "credit_balance", "spend_limit",
                                        "usage_limit",        "billing",        NULL};

    return named(words, names);
}

static bool is_content_policy(const struct words *words)
{
    static const char *const names[] = {"content_policy", "content_filter", "moderation",
                                        "responsibleai", NULL};

    return named(words, names);
}

/* About the gateway's own credentials, whatever the status says. */
static bool is_about_key(const struct words *words)
{
    static const char *const names[] = {"api_key", "authentication", "permission_error", NULL};
    static const char *const phrases[] = {"api key", "api_key", "apikey", "bearer ", NULL};

    return named(words, names) || any_in(words->message, phrases);
}

static bool is_unknown_model(const struct words *words)
{
    static const char *const names[] = {"model_not_found", "deploymentnotfound", NULL};
    static const char *const phrases[] = {"not found", "does not exist", "not exist", NULL};

    return named(words, names) ||
           (contains(words->message, "model") && any_in(words->message, phrases));
}

static bool is_loading(const struct words *words)
{
    return contains(words->message, "loading model");
}

/* An error inside a success has no status of its own; its code or type stand for one. */
static int implied_status(const struct words *words)
{
    static const struct {
        const char *name;
        int status;
    } names[] = {
        {"rate_limit", 429},     {"too_many_requests", 429}, {"slow_down", 429},
        {"overloaded", 529},     {"unavailable", 503},       {"server_is_over", 503},
        {"timeout", 504},        {"server_error", 500},      {"not_found", 404},
        {"invalid_", 400},       {"bad_request", 400},       {"badrequest", 400},
        {"exceed_context", 400}, {"context_length", 400},    {"permission", 403},
        {"authentication", 401}, {"api_key", 401},
    };
    const char *code = words->code;
    int status = 0;

    for (size_t i = 0; code[i] >= '0' && code[i] <= '9' && i < 3; i++) {
        status = status * 10 + (code[i] - '0');
    }
    if (status >= 400 && status <= 599) {
        return status;
    }
    for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
        if (contains(words->code, names[i].name) || contains(words->type, names[i].name)) {
            return names[i].status;
        }
    }
    return 500;
}

static enum ps_fault_kind kind_of_refusal(int status)
{
    switch (status) {
    case 400:
    case 422:
        return PS_FAULT_BAD_FIELD;
    case 408:
        return PS_FAULT_UPSTREAM_TIMEOUT;
    case 413:
        return PS_FAULT_BODY_TOO_LARGE;
    case 425:
        return PS_FAULT_UPSTREAM_ERROR;
    default:
        return PS_FAULT_UPSTREAM_REFUSED;
    }
}

static enum ps_fault_kind kind_of(int status, const struct words *words)
{
    bool refused = status >= 400 && status < 500;

    if (status < 400) {
        return PS_FAULT_UPSTREAM_BROKEN;
    }
    if (status == 503 && is_loading(words)) {
        return PS_FAULT_LOADING;
    }
    if (status == 503 || status == 529 || status == 498) {
        return PS_FAULT_UPSTREAM_OVERLOADED;
    }
    if (status == 504 || status == 524) {
        return PS_FAULT_UPSTREAM_TIMEOUT;
    }
    if (status == 402 || (refused && is_quota(words))) {
        return PS_FAULT_QUOTA;
    }
    if (status == 429) {
        return PS_FAULT_RATE_LIMITED;
    }
    if (refused && is_context_length(words)) {
        return PS_FAULT_CONTEXT_LENGTH;
    }
    if (refused && is_content_policy(words)) {
        return PS_FAULT_CONTENT_POLICY;
    }
    if (status == 401 || status == 403 || (refused && is_about_key(words))) {
        return PS_FAULT_UPSTREAM_AUTH;
    }
    if (refused && (status == 404 || status == 400) && is_unknown_model(words)) {
        return PS_FAULT_MODEL_NOT_FOUND;
    }
    return refused ? kind_of_refusal(status) : PS_FAULT_UPSTREAM_ERROR;
}

bool ps_openai_finish_is_fault(struct ps_slice word)
{
    return ps_slice_eq(word, PS_SLICE_LIT("error")) ||
           ps_slice_eq(word, PS_SLICE_LIT("insufficient_system_resource"));
}

void ps_openai_fault_of(int status, const struct ps_openai_error *error, struct ps_fault *ret_fault)
{
    struct words words;
    enum ps_fault_kind kind;
    bool in_body = status == 0;

    read_word(error->type, words.type, sizeof(words.type));
    read_word(error->code, words.code, sizeof(words.code));
    read_word(error->param, words.param, sizeof(words.param));
    read_word(error->message, words.message, sizeof(words.message));
    status = in_body ? implied_status(&words) : status;
    kind = kind_of(status, &words);
    if (kind == PS_FAULT_UPSTREAM_AUTH) {
        (void)ps_fault_set(ret_fault, kind, NULL,
                           "The provider did not accept the gateway's own credentials.");
    } else if (kind == PS_FAULT_UPSTREAM_BROKEN) {
        (void)ps_fault_set(ret_fault, kind, NULL,
                           "The provider answered with status %d, a redirect.", status);
    } else if (words.message[0] != '\0' && !is_about_key(&words)) {
        (void)ps_fault_set(ret_fault, kind, words.param[0] != '\0' ? words.param : NULL, "%s",
                           words.message);
    } else if (in_body) {
        (void)ps_fault_set(ret_fault, kind, NULL, "The provider reported an error in its answer.");
    } else {
        (void)ps_fault_set(ret_fault, kind, NULL, "The provider answered with status %d.", status);
    }
    if (kind == PS_FAULT_UPSTREAM_REFUSED) {
        ret_fault->status = status;
    }
    ret_fault->no_retry = kind == PS_FAULT_QUOTA;
}

void ps_openai_fault(int status, struct ps_slice body, struct ps_fault *ret_fault)
{
    static const struct ps_json_limits limits = {PS_JSON_MAX_DEPTH, 100000};
    struct ps_openai_found found = {.text = body};
    struct ps_openai_error error = {.message = PS_SLICE_NONE};
    struct ps_slice at = body;

    /* Some wrap it in an array. */
    while (at.len > 0 &&
           (at.ptr[0] == ' ' || at.ptr[0] == '\n' || at.ptr[0] == '\r' || at.ptr[0] == '[')) {
        at.ptr++;
        at.len--;
    }
    found.text = at;
    if (ps_openai_found_init(&found, false, false) == 0) {
        /* What was read before a cut or a mistake still counts. */
        (void)ps_json_scan_text(at, ps_openai_found_paths(&found), &limits,
                                ps_openai_found_on_value, &found);
        error = ps_openai_found_error(&found);
    }
    ps_openai_fault_of(status, &error, ret_fault);
    ps_openai_found_deinit(&found);
}

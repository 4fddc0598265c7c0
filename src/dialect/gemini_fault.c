/* SPDX-License-Identifier: Apache-2.0 */
#include "gemini_priv.h"
#include "openai_priv.h"

/*
 * Errors: {"error":{"code":429,"message":…,"status":"RESOURCE_EXHAUSTED","details":[…]}}, maybe in
 * an array. The word of `status` says what it is; what it leaves open is looked for in details and
 * message. The rest goes by the rules for all.
 */

#define WORDS_BYTES   1024
#define RETRY_MAX_MS  (24 * INT64_C(3600000))
#define DETAILS_LOOKS 16

static const struct {
    const char *word;
    int status;
} words_of[] = {
    {"INVALID_ARGUMENT", 400},   {"FAILED_PRECONDITION", 400},
    {"OUT_OF_RANGE", 400},       {"UNAUTHENTICATED", 401},
    {"PERMISSION_DENIED", 403},  {"NOT_FOUND", 404},
    {"ALREADY_EXISTS", 409},     {"ABORTED", 409},
    {"RESOURCE_EXHAUSTED", 429}, {"CANCELLED", 500},
    {"INTERNAL", 500},           {"UNKNOWN", 500},
    {"DATA_LOSS", 500},          {"UNIMPLEMENTED", 501},
    {"UNAVAILABLE", 503},        {"DEADLINE_EXCEEDED", 504},
};

static struct ps_json_paths *paths;
static const struct ps_json_path list[] = {{"error", false}, {"*.error", false}};

int ps_gemini_fault_global_init(void)
{
    paths = ps_json_paths_new(list, sizeof(list) / sizeof(list[0]));
    return paths != NULL ? 0 : -1;
}

void ps_gemini_fault_global_deinit(void)
{
    ps_json_paths_free(paths);
    paths = NULL;
}

/* In a raw string, letters of any case; an escape in the middle hides a phrase, which is harmless.
 */
static bool holds(struct ps_slice raw, const char *phrase)
{
    size_t len = strlen(phrase);

    for (size_t i = 0; i + len <= raw.len && i < WORDS_BYTES; i++) {
        if (strncasecmp(raw.ptr + i, phrase, len) == 0) {
            return true;
        }
    }
    return false;
}

static int status_of(int status, struct ps_slice word, struct ps_slice code)
{
    int64_t number;

    if (status != 0) {
        return status == 499 ? 500 : status; /* not our client, but theirs: us */
    }
    for (size_t i = 0; i < sizeof(words_of) / sizeof(words_of[0]); i++) {
        if (ps_raw_word(word, words_of[i].word)) {
            return words_of[i].status;
        }
    }
    return code.len > 0 && ps_json_int(code, &number) && number >= 400 && number <= 599
               ? (int)number
               : 500;
}

/* ---- details ---- */

struct details {
    int64_t retry_ms; /* 0: not told */
    bool per_day;     /* a quota that waiting does not bring back soon */
    bool bad_key;
};

/* "30s", "0.5s": seconds with up to nine digits behind the point. */
static int64_t milliseconds(struct ps_slice raw)
{
    double seconds;

    if (raw.len < 4 || raw.ptr[raw.len - 2] != 's' ||
        !ps_json_double(ps_slice(raw.ptr + 1, raw.len - 3), &seconds) || seconds <= 0) {
        return 0;
    }
    return seconds * 1000 >= (double)RETRY_MAX_MS ? RETRY_MAX_MS : (int64_t)(seconds * 1000 + 0.5);
}

static void read_violations(struct ps_slice violations, struct details *ret)
{
    struct ps_json_walk walk;
    struct ps_slice violation;
    int looks = 0;

    if (!ps_raw_begins(violations, '[')) {
        return;
    }
    ps_json_walk_init(&walk, violations);
    while (looks++ < DETAILS_LOOKS && ps_json_walk_element(&walk, &violation)) {
        ret->per_day = ret->per_day || holds(ps_raw_member(violation, "quotaId"), "PerDay") ||
                       holds(ps_raw_member(violation, "description"), "per day");
    }
}

static void read_details(struct ps_slice list_of_details, struct details *ret)
{
    struct ps_json_walk walk;
    struct ps_slice detail;
    int looks = 0;

    if (!ps_raw_begins(list_of_details, '[')) {
        return;
    }
    ps_json_walk_init(&walk, list_of_details);
    while (looks++ < DETAILS_LOOKS && ps_json_walk_element(&walk, &detail)) {
        struct ps_slice delay = ps_raw_member(detail, "retryDelay");

        if (delay.len > 0) {
            ret->retry_ms = milliseconds(delay);
        }
        ret->bad_key = ret->bad_key || holds(ps_raw_member(detail, "reason"), "API_KEY_");
        read_violations(ps_raw_member(detail, "violations"), ret);
    }
}

/* ---- kinds ---- */

/* What stands for OpenAI's "code", where the word alone says too little. */
static struct ps_slice code_of(int status, struct ps_slice message, const struct details *details)
{
    if (details->bad_key) {
        return PS_SLICE_LIT("\"api_key\"");
    }
    if (status == 429 && details->per_day) {
        return PS_SLICE_LIT("\"insufficient_quota\"");
    }
    if (status == 400 && ((holds(message, "token count") && holds(message, "exceeds")) ||
                          holds(message, "maximum number of tokens"))) {
        return PS_SLICE_LIT("\"context_length_exceeded\"");
    }
    return PS_SLICE_NONE;
}

void ps_gemini_fault_of(int status, struct ps_slice raw, struct ps_fault *ret_fault)
{
    struct details details = {.retry_ms = 0};
    struct ps_slice word = ps_raw_member(raw, "status");
    struct ps_openai_error error = {
        .message = ps_raw_begins(raw, '"') ? raw : ps_raw_member(raw, "message"),
        .type = word,
    };

    status = status_of(status, word, ps_raw_member(raw, "code"));
    read_details(ps_raw_member(raw, "details"), &details);
    error.code = code_of(status, error.message, &details);
    ps_openai_fault_of(status, &error, ret_fault);
    if (ret_fault->kind == PS_FAULT_BAD_FIELD && ps_raw_word(word, "FAILED_PRECONDITION")) {
        /* a country or an account that may not: nothing that the client has asked for wrongly */
        ret_fault->kind = PS_FAULT_UPSTREAM_REFUSED;
        ret_fault->status = 0;
    }
    ret_fault->retry_after_ms = ret_fault->no_retry ? 0 : details.retry_ms;
}

struct search {
    struct ps_slice text;
    struct ps_slice error;
};

static bool on_value(void *arg, const struct ps_json_value *value)
{
    struct search *search = arg;

    if (value->type == PS_JSON_OBJECT || value->type == PS_JSON_STRING) {
        search->error =
            ps_slice(search->text.ptr + value->start, (size_t)(value->end - value->start));
    }
    return true;
}

void ps_gemini_fault(int status, struct ps_slice body, struct ps_fault *ret_fault)
{
    static const struct ps_json_limits limits = {PS_JSON_MAX_DEPTH, 100000};
    struct search search = {.text = body};

    (void)ps_json_scan_text(body, paths, &limits, on_value, &search);
    ps_gemini_fault_of(status, search.error, ret_fault);
}

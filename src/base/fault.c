/* SPDX-License-Identifier: Apache-2.0 */
#include "penstock/base/fault.h"

#include <pthread.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>

struct entry {
    const char *name;
    int status;
    const char *type;
    const char *code;
    bool retry;
};

/* No fault is no answer either: who sends it has lost the real one. */
static const struct entry table[PS_FAULT_COUNT] = {
    [PS_FAULT_NONE] = {"NONE", 500, "server_error", "internal_error", false},
#define X(name, status, type, code, retry) [PS_FAULT_##name] = {#name, status, type, code, retry},
    PS_FAULT_TABLE(X)
#undef X
};

#define NAME_MAX_BYTES 32

static char names[PS_FAULT_COUNT][NAME_MAX_BYTES];
static pthread_once_t names_once = PTHREAD_ONCE_INIT;

static void make_names(void)
{
    for (int kind = 0; kind < PS_FAULT_COUNT; kind++) {
        const char *from = table[kind].name;

        for (size_t i = 0; from[i] != '\0' && i + 1 < NAME_MAX_BYTES; i++) {
            bool upper = from[i] >= 'A' && from[i] <= 'Z';

            names[kind][i] = upper ? (char)(from[i] - 'A' + 'a') : from[i];
        }
    }
}

static const struct entry *entry_of(enum ps_fault_kind kind)
{
    return &table[(unsigned)kind < PS_FAULT_COUNT ? kind : PS_FAULT_INTERNAL];
}

int ps_fault_status(const struct ps_fault *fault)
{
    return fault->status != 0 ? fault->status : entry_of(fault->kind)->status;
}

const char *ps_fault_type(enum ps_fault_kind kind)
{
    return entry_of(kind)->type;
}

const char *ps_fault_code(enum ps_fault_kind kind)
{
    return entry_of(kind)->code;
}

const char *ps_fault_name(enum ps_fault_kind kind)
{
    (void)pthread_once(&names_once, make_names);
    return names[entry_of(kind) - table];
}

bool ps_fault_retryable(enum ps_fault_kind kind)
{
    return entry_of(kind)->retry;
}

/* Ends the text, which fills its array, before a UTF-8 character that has lost its end. */
static void cut_at_character(char *text, size_t len)
{
    size_t start = len;
    size_t need;
    unsigned char lead;

    while (start > 0 && len - start < 3 && ((unsigned char)text[start - 1] & 0xc0) == 0x80) {
        start--;
    }
    if (start == 0) {
        return;
    }
    lead = (unsigned char)text[start - 1];
    need = lead >= 0xf0 ? 4 : lead >= 0xe0 ? 3 : lead >= 0xc0 ? 2 : 1;
    if (len - (start - 1) < need) {
        text[start - 1] = '\0';
    }
}

int ps_fault_set(struct ps_fault *fault, enum ps_fault_kind kind, const char *param,
                 const char *format, ...)
{
    va_list args;
    char text[PS_FAULT_TEXT]; /* `param` and the arguments may lie in *fault */
    char field[PS_FAULT_PARAM] = "";
    int len;

    va_start(args, format);
    len = vsnprintf(text, sizeof(text), format, args);
    va_end(args);
    if (len < 0) {
        text[0] = '\0';
    } else if ((size_t)len >= sizeof(text)) {
        cut_at_character(text, sizeof(text) - 1);
    }
    if (param != NULL) {
        len = snprintf(field, sizeof(field), "%s", param);
        if (len >= (int)sizeof(field)) {
            cut_at_character(field, sizeof(field) - 1);
        }
    }
    *fault = (struct ps_fault){.kind = kind};
    memcpy(fault->message, text, strlen(text));
    memcpy(fault->param, field, strlen(field));
    return -1;
}

/* SPDX-License-Identifier: Apache-2.0 */
#include "schema.h"

#include <stdint.h>
#include <stdlib.h>
#include <string.h>

/* A schema is a grammar of bounded size in which every rule that is used is defined, or an error with a sentence. */

static void check_rules(const char *text)
{
    for (const char *at = strstr(text, " s0"); at != NULL; at = strstr(at + 1, " s")) {
        char rule[64];
        size_t len = 0;
        if (at[2] < '0' || at[2] > '9') {
            continue;
        }
        for (const char *c = at + 1; len < 40 && ((*c >= '0' && *c <= '9') || (*c >= 'a' && *c <= 'z') || *c == '-'); c++) {
            rule[len++] = *c;
        }
        /* Inside a literal it may look like a rule: then a quote comes before the line's end in odd number. */
        size_t quotes = 0;
        for (const char *c = at; c > text && *c != '\n'; c--) {
            quotes += *c == '"' && (c == text || c[-1] != '\\') ? 1 : 0;
        }
        memcpy(rule + len, " ::= ", 6);
        if (quotes % 2 == 0 && strstr(text, rule) == NULL) {
            abort();
        }
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct ps_buf out;
    struct ps_fault fault = {0};
    ps_buf_init(&out, PS_SCHEMA_GRAMMAR_MAX);
    int rc = ps_schema_grammar(ps_slice((const char *)data, size), &out, &fault);
    ps_buf_byte(&out, '\0');
    if (rc != 0 && (fault.kind != PS_FAULT_BAD_FIELD || fault.message[0] == '\0')) {
        abort();
    }
    if (rc == 0 && !out.failed && strchr(out.ptr, '\\') == NULL) {
        check_rules(out.ptr);
    }
    ps_buf_deinit(&out);
    return 0;
}

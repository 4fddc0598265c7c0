/* SPDX-License-Identifier: Apache-2.0 */
#include "config_priv.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

enum {
    SHOWN_MAX = 50,
    LINE_MAX_BYTES = 1024,
    TEXT_MAX_BYTES = 128 * 1024,
};

void ps_config_errors_init(struct ps_config_errors *errors)
{
    ps_buf_init(&errors->text, TEXT_MAX_BYTES);
    errors->count = 0;
}

void ps_config_errors_deinit(struct ps_config_errors *errors)
{
    ps_buf_deinit(&errors->text);
    errors->count = 0;
}

/* Names and values come from a file: nothing in them may move the cursor of the terminal that shows
 * them. */
static void make_harmless(char *text, size_t len)
{
    for (size_t i = 0; i < len; i++) {
        unsigned char c = (unsigned char)text[i];
        bool is_c1 = c == 0xc2 && i + 1 < len && (unsigned char)text[i + 1] >= 0x80 &&
                     (unsigned char)text[i + 1] <= 0x9f; /* U+0080 to U+009F */
        if (c < 0x20 || c == 0x7f) {
            text[i] = '?';
        } else if (is_c1) {
            text[i] = '?';
            text[i + 1] = '?';
        }
    }
}

void ps_config_error(struct ps_config_errors *errors, struct ps_config_at at, const char *key,
                     const char *format, ...)
{
    const char *file = at.file != NULL ? at.file : "defaults";
    errors->count++;
    if (errors->count == SHOWN_MAX + 1) {
        ps_buf_printf(&errors->text, "%s: more mistakes than these were found\n", file);
    }
    if (errors->count > SHOWN_MAX) {
        return;
    }
    char line[LINE_MAX_BYTES];
    int len = at.line > 0 ? snprintf(line, sizeof line, "%.200s:%d: ", file, at.line)
                          : snprintf(line, sizeof line, "%.200s: ", file);
    size_t used = len > 0 ? (size_t)len : 0;
    if (key != NULL && key[0] != '\0') {
        len = snprintf(line + used, sizeof line - used, "%.256s: ", key);
        used += len > 0 ? (size_t)len : 0;
    }
    va_list args;
    va_start(args, format);
    len = vsnprintf(line + used, sizeof line - used, format, args);
    va_end(args);
    size_t more = len > 0 ? (size_t)len : 0;
    used = more < sizeof line - used ? used + more : sizeof line - 1;
    make_harmless(line, used);
    ps_buf_append(&errors->text, line, used);
    ps_buf_byte(&errors->text, '\n');
}

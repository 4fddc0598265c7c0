/* SPDX-License-Identifier: Apache-2.0 */
#include "config_priv.h"

#include <string.h>

/* The table as Markdown: one table of keys per section at the top level. */

static bool is_top(const struct ps_option *option)
{
    return strpbrk(option->path, ".[") == NULL;
}

/* "|" would end a cell. */
static void put_cell(struct ps_buf *out, const char *text)
{
    ps_buf_byte(out, ' ');
    for (; *text != '\0'; text++) {
        if (*text == '|') {
            ps_buf_byte(out, '\\');
        }
        ps_buf_byte(out, *text);
    }
    ps_buf_cstr(out, " |");
}

static void put_row(struct ps_buf *out, const struct ps_option *option)
{
    struct ps_buf type;
    struct ps_buf range;
    ps_buf_init(&type, 256);
    ps_buf_init(&range, 256);
    ps_option_describe(option, &type, &range);
    ps_buf_byte(&type, '\0');
    ps_buf_byte(&range, '\0');
    ps_buf_printf(out, "| `%s` |", option->path);
    put_cell(out, type.failed ? "" : type.ptr);
    if (option->fallback != NULL) {
        ps_buf_printf(out, " `%s` |", option->fallback);
    } else if (option->flags & PS_OPTION_REQUIRED) {
        put_cell(out, "must be given");
    } else {
        put_cell(out, option->instead != NULL ? option->instead : "");
    }
    put_cell(out, range.failed ? "" : range.ptr);
    put_cell(out, option->flags & PS_OPTION_RESTART ? "restart" : "");
    put_cell(out, option->doc);
    ps_buf_byte(out, '\n');
    ps_buf_deinit(&type);
    ps_buf_deinit(&range);
}

void ps_config_reference(struct ps_buf *out)
{
    for (size_t i = 0; i < ps_option_count; i++) {
        if (is_top(&ps_options[i])) {
            ps_buf_printf(out, "%s### %s\n\n", i > 0 ? "\n" : "", ps_options[i].path);
            ps_buf_cstr(out, "| key | type | default | range | change needs | meaning |\n");
            ps_buf_cstr(out, "| --- | --- | --- | --- | --- | --- |\n");
        }
        put_row(out, &ps_options[i]);
    }
}

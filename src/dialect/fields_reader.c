/* SPDX-License-Identifier: Apache-2.0 */
#include "fields_reader.h"

int ps_field_table_compile(struct ps_field_table *table)
{
    table->paths = ps_fields_compile(table->rules, table->count);
    return table->paths != NULL ? 0 : -1;
}

void ps_field_table_free(struct ps_field_table *table)
{
    ps_json_paths_free(table->paths);
    table->paths = NULL;
}

int ps_fields_reader_init(struct ps_reader *base, const struct ps_field_table *table)
{
    struct ps_fields_reader *reader = (struct ps_fields_reader *)base;
    const struct ps_json_limits limits = {base->options.json_depth, base->options.json_nodes};

    return ps_fields_init(&reader->fields, table->rules, table->count, table->paths, &limits,
                          base->arena);
}

int ps_fields_reader_feed(struct ps_reader *base, const char *ptr, size_t len,
                          struct ps_fault *ret_fault)
{
    struct ps_fields_reader *reader = (struct ps_fields_reader *)base;

    return ps_fields_feed(&reader->fields, ptr, len, ret_fault);
}

int ps_fields_reader_end(struct ps_reader *base, struct ps_fault *ret_fault)
{
    struct ps_fields_reader *reader = (struct ps_fields_reader *)base;

    if (ps_fields_end(&reader->fields, ret_fault) != 0) {
        return -1;
    }
    return ps_fields_check(&reader->fields, base->request->body, base->request->operation,
                           ret_fault);
}

int ps_fields_take_model(const struct ps_field *field, struct ps_request *request,
                         struct ps_arena *arena, struct ps_fault *ret_fault)
{
    if (field->span.end == 0) {
        return 0;
    }
    request->model_span = field->span;
    request->model = ps_fields_model(field, request->body, arena);
    return request->model.ptr != NULL ? 0 : ps_body_out_of_memory(ret_fault);
}

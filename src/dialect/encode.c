/* SPDX-License-Identifier: Apache-2.0 */
#include "encode.h"

#include "fields.h"
#include "json_walk.h"

#include "penstock/base/json_scan.h"

#include <stdio.h>

#define BODY_OWN    (4u << 20) /* what a body may hold beside the client's own text */
#define DROPPED_MAX 512
#define HEADERS     4
#define PATH_BYTES  4096

/* ---- the whole ---- */

static int take_dropped(struct ps_encode *encode)
{
    if (encode->dropped.len > 0) {
        encode->ret->dropped = ps_arena_copy(encode->arena, ps_buf_view(&encode->dropped));
        if (encode->ret->dropped.ptr == NULL) {
            return ps_encode_no_memory(encode);
        }
    }
    return 0;
}

static int run(struct ps_encode *encode, struct ps_body_out *body)
{
    struct ps_encoded *ret = encode->ret;

    if (encode->dialect->encode_neutral(encode) != 0) {
        return -1;
    }
    if (ps_body_out_finish(body, &ret->parts, &ret->part_count, &ret->length) != 0) {
        return ps_encode_no_memory(encode);
    }
    return take_dropped(encode);
}

int ps_encode_translate(const struct ps_dialect *dialect, struct ps_request *request,
                        const struct ps_encode_options *options, struct ps_arena *arena,
                        struct ps_encoded *ret, struct ps_fault *ret_fault)
{
    size_t body_len = ps_request_bytes(request);
    struct ps_body_out *body;
    struct ps_encode encode = {
        .dialect = dialect,
        .request = request,
        .options = options,
        .settings = ps_dialect_settings_of(dialect, options->settings),
        .model = options->model.len > 0 ? options->model : request->model,
        .arena = arena,
        .ret = ret,
        .fault = ret_fault,
    };
    int rc;

    *ret = (struct ps_encoded){
        .method = "POST",
        .content_type = PS_SLICE_LIT("application/json"),
        .has_body = true,
    };
    if (ps_dialect_neutral(request, arena, &encode.neutral, ret_fault) != 0) {
        return -1;
    }
    ret->stream = encode.neutral->stream;
    ret->accept =
        ret->stream ? PS_SLICE_LIT("text/event-stream") : PS_SLICE_LIT("application/json");
    body = ps_body_out_new(arena, 2 * body_len + BODY_OWN);
    if (body == NULL) {
        return ps_body_out_of_memory(ret_fault);
    }
    encode.out = ps_body_out_json(body);
    ps_buf_init(&encode.dropped, DROPPED_MAX);
    rc = run(&encode, body);
    ps_buf_deinit(&encode.dropped);
    return rc;
}

int ps_dialect_encode(const struct ps_dialect *dialect, struct ps_request *request,
                      const struct ps_encode_options *options, struct ps_arena *arena,
                      struct ps_encoded *ret, struct ps_fault *ret_fault)
{
    bool relays =
        ps_dialect_relays(dialect, options->settings, request->family, request->operation);
    int rc;

    if (!relays && !ps_dialect_speaks(dialect, request->family, request->operation)) {
        return ps_fault_set(ret_fault, PS_FAULT_UNSUPPORTED_OPERATION, NULL,
                            "The provider of this model does not offer this operation (%s).",
                            ps_operation_name(request->operation));
    }
    rc = relays || request->operation == PS_OP_MODELS
             ? dialect->encode(request, options, arena, ret, ret_fault)
             : ps_encode_translate(dialect, request, options, arena, ret, ret_fault);
    ret->relayed = relays;
    return rc;
}

/* ---- path and headers ---- */

bool ps_query_is_sane(struct ps_slice query)
{
    for (size_t i = 0; i < query.len; i++) {
        unsigned char byte = (unsigned char)query.ptr[i];

        if (byte <= 0x20 || byte >= 0x7f || byte == '#') {
            return false;
        }
    }
    return true;
}

static bool ends_with(struct ps_slice text, struct ps_slice end)
{
    return text.len >= end.len &&
           ps_slice_eq(ps_slice(text.ptr + text.len - end.len, end.len), end);
}

int ps_encode_path(struct ps_encode *encode, const char *version, struct ps_slice rest,
                   struct ps_slice query)
{
    bool has_version = ends_with(encode->options->base_path, ps_slice_cstr(version));
    char *path;

    if (rest.len + query.len > PATH_BYTES) {
        return ps_fault_set(encode->fault, PS_FAULT_BAD_FIELD, "model",
                            "The model's name is too long.");
    }
    path = ps_arena_printf(encode->arena, "%s%.*s%s%.*s", has_version ? "" : version, (int)rest.len,
                           rest.ptr, query.len > 0 ? "?" : "", (int)query.len,
                           query.len > 0 ? query.ptr : "");
    if (path == NULL) {
        return ps_encode_no_memory(encode);
    }
    encode->ret->path = ps_slice_cstr(path);
    return 0;
}

struct ps_slice ps_encode_segment(struct ps_arena *arena, struct ps_slice name, bool slashes)
{
    static const char digits[] = "0123456789ABCDEF";
    char *text = ps_arena_alloc(arena, 3 * name.len + 1);
    size_t len = 0;

    if (text == NULL) {
        return PS_SLICE_NONE;
    }
    for (size_t i = 0; i < name.len; i++) {
        unsigned char byte = (unsigned char)name.ptr[i];
        bool plain = (byte >= 'a' && byte <= 'z') || (byte >= 'A' && byte <= 'Z') ||
                     (byte >= '0' && byte <= '9') || byte == '-' || byte == '_' || byte == '~' ||
                     (byte == '.' && name.len > 2) || (byte == '/' && slashes);

        if (plain) {
            text[len++] = (char)byte;
        } else {
            text[len++] = '%';
            text[len++] = digits[byte >> 4];
            text[len++] = digits[byte & 15];
        }
    }
    return ps_slice(text, len);
}

int ps_encode_header(struct ps_encode *encode, struct ps_slice name, struct ps_slice value)
{
    struct ps_encoded *ret = encode->ret;
    struct ps_dialect_header *headers;

    if (ret->header_count == HEADERS) {
        return ps_fault_set(encode->fault, PS_FAULT_INTERNAL, NULL, "Too many headers.");
    }
    headers = ps_arena_alloc(encode->arena, HEADERS * sizeof(*headers));
    if (headers == NULL) {
        return ps_encode_no_memory(encode);
    }
    for (size_t i = 0; i < ret->header_count; i++) {
        headers[i] = ret->headers[i];
    }
    headers[ret->header_count++] = (struct ps_dialect_header){name, value};
    ret->headers = headers;
    return 0;
}

/* ---- what is left out ---- */

bool ps_drop_is_name(struct ps_slice name)
{
    static const char others[] = "_-.[]";

    for (size_t i = 0; i < name.len; i++) {
        char byte = name.ptr[i];

        if (!((byte >= 'a' && byte <= 'z') || (byte >= 'A' && byte <= 'Z') ||
              (byte >= '0' && byte <= '9') || (byte != '\0' && strchr(others, byte) != NULL))) {
            return false;
        }
    }
    return name.len > 0;
}

static bool is_named(const struct ps_buf *dropped, struct ps_slice name)
{
    size_t at = 0;

    while (at < dropped->len) {
        const char *end = memchr(dropped->ptr + at, ',', dropped->len - at);
        size_t len = end != NULL ? (size_t)(end - dropped->ptr) - at : dropped->len - at;

        if (ps_slice_eq(ps_slice(dropped->ptr + at, len), name)) {
            return true;
        }
        at += len + 2;
    }
    return false;
}

int ps_drop(struct ps_encode *encode, const char *name)
{
    struct ps_slice text = ps_slice_cstr(name);
    struct ps_buf *dropped = &encode->dropped;

    if (encode->options->drop == PS_DROP_REFUSE) {
        return ps_fault_set(encode->fault, PS_FAULT_UNSUPPORTED_OPERATION, name,
                            "The provider of this model does not take %s.", name);
    }
    if (encode->options->drop == PS_DROP_SILENT || !ps_drop_is_name(text) ||
        is_named(dropped, text) || dropped->len + text.len + 2 > DROPPED_MAX) {
        return 0;
    }
    if (dropped->len > 0) {
        ps_buf_append(dropped, ", ", 2);
    }
    ps_buf_slice(dropped, text);
    return 0;
}

int ps_drop_at(struct ps_encode *encode, const struct ps_neutral_at *at, const char *member)
{
    char path[PS_FAULT_PARAM];

    ps_neutral_path(path, at, member);
    return ps_drop(encode, path);
}

int ps_drop_raw(struct ps_encode *encode, const char *name, struct ps_slice raw)
{
    return raw.len > 0 ? ps_drop(encode, name) : 0;
}

int ps_drop_extras(struct ps_encode *encode)
{
    const struct ps_neutral *neutral = encode->neutral;

    for (size_t i = 0; i < neutral->extra_count; i++) {
        if (ps_drop_at(encode, &neutral->extras[i].at, NULL) != 0) {
            return -1;
        }
    }
    return 0;
}

int ps_encode_extras(struct ps_encode *encode)
{
    const struct ps_neutral *neutral = encode->neutral;

    for (size_t i = 0; i < neutral->extra_count; i++) {
        const struct ps_neutral_extra *extra = &neutral->extras[i];

        if (!extra->nested) {
            ps_out_raw(&encode->out, extra->key);
            ps_buf_byte(encode->out.buf, ':');
            encode->out.comma = false;
            ps_out_raw(&encode->out, extra->value);
        } else if (ps_drop_at(encode, &extra->at, NULL) != 0) {
            return -1;
        }
    }
    return 0;
}

/* ---- faults ---- */

int ps_encode_unsupported(struct ps_encode *encode, const char *name)
{
    return ps_fault_set(encode->fault, PS_FAULT_UNSUPPORTED_OPERATION, name,
                        "The provider of this model does not support %s.", name);
}

int ps_encode_unsupported_at(struct ps_encode *encode, const struct ps_neutral_at *at,
                             const char *member)
{
    char path[PS_FAULT_PARAM];

    ps_neutral_path(path, at, member);
    return ps_encode_unsupported(encode, path);
}

int ps_encode_bad_at(struct ps_encode *encode, const struct ps_neutral_at *at, const char *member,
                     const char *what)
{
    char path[PS_FAULT_PARAM];

    ps_neutral_path(path, at, member);
    return ps_fault_set(encode->fault, PS_FAULT_BAD_FIELD, path,
                        "For the provider of this model %s must be %s.", path, what);
}

int ps_encode_no_memory(struct ps_encode *encode)
{
    return ps_body_out_of_memory(encode->fault);
}

/* ---- values ---- */

/* A number so large that no double holds it is above or below by its sign. */
static bool is_below(struct ps_slice raw, double low)
{
    double value;

    return ps_json_double(raw, &value) ? value < low : raw.ptr[0] == '-';
}

int ps_encode_clamped(struct ps_encode *encode, const char *name, struct ps_slice raw, double low,
                      double high, const char *client_name)
{
    double value;

    if (raw.len == 0) {
        return 0;
    }
    if (ps_json_double(raw, &value) && value >= low && value <= high) {
        ps_out_member(&encode->out, name, raw);
        return 0;
    }
    ps_out_key(&encode->out, name);
    ps_buf_printf(encode->out.buf, "%g", is_below(raw, low) ? low : high);
    encode->out.comma = true;
    return ps_drop(encode, client_name);
}

size_t ps_encode_tool_count(const struct ps_encode *encode)
{
    const struct ps_neutral *neutral = encode->neutral;
    size_t count = 0;

    for (size_t i = 0; i < neutral->tool_count; i++) {
        count += !neutral->tools[i].excluded;
    }
    return count;
}

/* ---- text ---- */

static void add_texts(struct ps_json_out *out, const struct ps_neutral_part *parts, size_t count,
                      const char *between, bool *any)
{
    for (size_t i = 0; i < count; i++) {
        if (parts[i].kind != PS_PART_TEXT && parts[i].kind != PS_PART_REFUSAL) {
            continue;
        }
        if (*any) {
            ps_out_string_plain(out, ps_slice_cstr(between));
        }
        ps_out_string_raw(out, parts[i].text);
        *any = true;
    }
}

void ps_encode_joined_text(struct ps_json_out *out, const struct ps_neutral_part *parts,
                           size_t count)
{
    bool any = false;

    ps_out_string_begin(out);
    add_texts(out, parts, count, "\\n", &any);
    ps_out_string_end(out);
}

void ps_encode_joined_kind(struct ps_json_out *out, const char *name,
                           const struct ps_neutral_message *message, enum ps_part_kind kind)
{
    bool any = false;

    for (size_t i = 0; i < message->part_count; i++) {
        const struct ps_neutral_part *part = &message->parts[i];

        if (part->kind != kind || part->text.len == 0) {
            continue;
        }
        if (any) {
            ps_out_string_plain(out, PS_SLICE_LIT("\\n"));
        } else {
            ps_out_key(out, name);
            ps_out_string_begin(out);
        }
        any = true;
        ps_out_string_raw(out, part->text);
    }
    if (any) {
        ps_out_string_end(out);
    }
}

void ps_encode_system_text(struct ps_json_out *out, const struct ps_neutral *neutral)
{
    bool any = false;

    ps_out_string_begin(out);
    for (size_t i = 0; i < neutral->system_count; i++) {
        add_texts(out, neutral->messages[i].parts, neutral->messages[i].part_count, "\\n\\n", &any);
    }
    ps_out_string_end(out);
}

bool ps_encode_has_system(const struct ps_neutral *neutral)
{
    for (size_t i = 0; i < neutral->system_count; i++) {
        for (size_t j = 0; j < neutral->messages[i].part_count; j++) {
            if (neutral->messages[i].parts[j].text.len > 2) {
                return true;
            }
        }
    }
    return false;
}

static const char *role_word(enum ps_role role)
{
    switch (role) {
    case PS_ROLE_SYSTEM:
    case PS_ROLE_DEVELOPER:
        return "system";
    case PS_ROLE_ASSISTANT:
        return "assistant";
    case PS_ROLE_USER:
    case PS_ROLE_TOOL:
    default:
        return "user";
    }
}

static int check_text(struct ps_encode *encode, const struct ps_neutral_message *message)
{
    for (size_t i = 0; i < message->part_count; i++) {
        const struct ps_neutral_part *part = &message->parts[i];

        if (part->kind == PS_PART_REASONING) {
            if (ps_drop_at(encode, &part->at, NULL) != 0) {
                return -1;
            }
        } else if (part->kind != PS_PART_TEXT && part->kind != PS_PART_REFUSAL) {
            return ps_encode_unsupported_at(encode, &part->at, NULL);
        }
    }
    return 0;
}

int ps_encode_prompt_text(struct ps_encode *encode)
{
    const struct ps_neutral *neutral = encode->neutral;
    struct ps_json_out *out = &encode->out;
    bool alone = neutral->message_count == 1 && neutral->messages[0].role == PS_ROLE_USER;

    for (size_t i = 0; i < neutral->message_count; i++) {
        if (check_text(encode, &neutral->messages[i]) != 0) {
            return -1;
        }
    }
    ps_out_string_begin(out);
    for (size_t i = 0; i < neutral->message_count; i++) {
        const struct ps_neutral_message *message = &neutral->messages[i];
        bool any = false;

        if (!alone) {
            ps_out_string_plain(out, ps_slice_cstr(role_word(message->role)));
            ps_out_string_plain(out, PS_SLICE_LIT(": "));
        }
        add_texts(out, message->parts, message->part_count, "\\n", &any);
        ps_out_string_plain(out, alone ? PS_SLICE_NONE : PS_SLICE_LIT("\\n\\n"));
    }
    ps_out_string_plain(out, alone ? PS_SLICE_NONE : PS_SLICE_LIT("assistant:"));
    ps_out_string_end(out);
    return 0;
}

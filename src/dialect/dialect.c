/* SPDX-License-Identifier: Apache-2.0 */
#include "dialect_priv.h"
#include "fields.h"
#include "json_out.h"

#include "penstock/base/mem.h"

#include <stdio.h>

#define DEFAULT_DEPTH 64
#define DEFAULT_NODES 1000000

static const struct ps_dialect *const dialects[] = {
    &ps_dialect_openai,    /* the door of its family: before others of it */
    &ps_dialect_responses, /* a door only */
    &ps_dialect_vllm,      &ps_dialect_sglang,    &ps_dialect_llama_server, &ps_dialect_ray,
    &ps_dialect_generate,  &ps_dialect_anthropic, &ps_dialect_ollama,       &ps_dialect_cohere,
    &ps_dialect_azure,     &ps_dialect_http,      &ps_dialect_tgi,          &ps_dialect_triton,
    &ps_dialect_gemini,
};
#define DIALECT_COUNT (sizeof(dialects) / sizeof(dialects[0]))

/* Those that have an upstream. */
static const char *const names[] = {"openai", "anthropic", "ollama",       "cohere", "gemini",
                                    "vllm",   "sglang",    "llama-server", "ray",    "azure",
                                    "http",   "tgi",       "triton",       NULL};

static bool has_upstream(const struct ps_dialect *dialect)
{
    return (dialect->own | dialect->translates) != 0;
}

int ps_dialect_global_init(void)
{
    for (size_t i = 0; i < DIALECT_COUNT; i++) {
        if (dialects[i]->global_init != NULL && dialects[i]->global_init() != 0) {
            ps_dialect_global_deinit();
            return -1;
        }
    }
    return 0;
}

void ps_dialect_global_deinit(void)
{
    for (size_t i = 0; i < DIALECT_COUNT; i++) {
        if (dialects[i]->global_deinit != NULL) {
            dialects[i]->global_deinit();
        }
    }
}

const struct ps_dialect *ps_dialect_find(const char *name)
{
    for (size_t i = 0; i < DIALECT_COUNT; i++) {
        if (has_upstream(dialects[i]) && strcmp(dialects[i]->name, name) == 0) {
            return dialects[i];
        }
    }
    return NULL;
}

const char *const *ps_dialect_names(void)
{
    return names;
}

const struct ps_dialect *ps_dialect_of_family(enum ps_family family)
{
    for (size_t i = 0; i < DIALECT_COUNT; i++) {
        if (dialects[i]->family == family) {
            return dialects[i];
        }
    }
    return NULL;
}

enum ps_family ps_dialect_family(const struct ps_dialect *dialect)
{
    return dialect->family;
}

const struct ps_dialect_settings *ps_dialect_settings_of(const struct ps_dialect *dialect,
                                                         const struct ps_dialect_settings *settings)
{
    static const struct ps_dialect_settings none;

    if (settings != NULL) {
        return settings;
    }
    return dialect->defaults != NULL ? dialect->defaults : &none;
}

struct ps_dialect_settings ps_dialect_defaults(const struct ps_dialect *dialect)
{
    return *ps_dialect_settings_of(dialect, NULL);
}

static bool has_operation(unsigned operations, enum ps_operation operation)
{
    return operation < PS_OP_COUNT && (operations & PS_FOR(operation)) != 0;
}

bool ps_dialect_relays(const struct ps_dialect *dialect, const struct ps_dialect_settings *settings,
                       enum ps_family front, enum ps_operation operation)
{
    if (dialect->relays != NULL) {
        return dialect->relays(ps_dialect_settings_of(dialect, settings), front, operation);
    }
    return front == dialect->family && has_operation(dialect->own, operation);
}

bool ps_dialect_speaks(const struct ps_dialect *dialect, enum ps_family front,
                       enum ps_operation operation)
{
    const struct ps_dialect *door = ps_dialect_of_family(front);

    if (operation == PS_OP_MODELS) {
        return dialect->models != NULL;
    }
    if (ps_dialect_relays(dialect, NULL, front, operation)) {
        return true;
    }
    return has_operation(dialect->translates, operation) && door != NULL &&
           has_operation(door->reads, operation) && has_operation(door->writes, operation);
}

const char *ps_dialect_health_path(const struct ps_dialect *dialect)
{
    return dialect->health_path;
}

void ps_dialect_credential(const struct ps_dialect *dialect, const char **ret_header,
                           const char **ret_prefix)
{
    *ret_header = dialect->credential_header;
    *ret_prefix = dialect->credential_prefix;
}

/* ---- reader ---- */

struct ps_reader *ps_reader_new(const struct ps_dialect *dialect,
                                const struct ps_reader_options *options, struct ps_request *request,
                                struct ps_arena *arena)
{
    struct ps_reader *reader = ps_arena_calloc(arena, dialect->reader_size);

    if (reader == NULL) {
        return NULL;
    }
    reader->dialect = dialect;
    reader->options = *options;
    if (reader->options.json_depth == 0) {
        reader->options.json_depth = DEFAULT_DEPTH;
    }
    if (reader->options.json_nodes == 0) {
        reader->options.json_nodes = DEFAULT_NODES;
    }
    reader->request = request;
    reader->arena = arena;
    return dialect->reader_init(reader) == 0 ? reader : NULL;
}

int ps_reader_feed(struct ps_reader *reader, const char *ptr, size_t len,
                   struct ps_fault *ret_fault)
{
    return len > 0 ? reader->dialect->reader_feed(reader, ptr, len, ret_fault) : 0;
}

int ps_reader_finish(struct ps_reader *reader, struct ps_fault *ret_fault)
{
    return reader->dialect->reader_finish(reader, ret_fault);
}

/* ---- decoder ---- */

/* What stands behind the prefix of an id of ours. */
static void keep_id(struct ps_decoder *decoder, struct ps_slice id)
{
    const char *line = id.len > 0 ? memchr(id.ptr, '_', id.len) : NULL;

    if (line != NULL) {
        id = ps_slice(line + 1, id.len - (size_t)(line + 1 - id.ptr));
    }
    (void)snprintf(decoder->id_text, sizeof(decoder->id_text), "%.*s",
                   (int)(id.len < sizeof(decoder->id_text) ? id.len : 0), id.ptr);
}

struct ps_slice ps_decoder_call_id(struct ps_decoder *decoder, char ret[64])
{
    int len = snprintf(ret, 64, "call_%s_%u", decoder->id_text, decoder->made_ids++);

    return ps_slice(ret, (size_t)len);
}

struct ps_decoder *ps_decoder_new(const struct ps_dialect *dialect,
                                  const struct ps_decoder_options *options, struct ps_arena *arena,
                                  ps_event_fn on_event, void *arg)
{
    struct ps_decoder *decoder = ps_calloc(1, dialect->decoder_size);

    (void)arena; /* several attempts share it, so a decoder gives its memory back itself */
    if (decoder == NULL) {
        return NULL;
    }
    decoder->dialect = dialect;
    decoder->maker = ps_dialect_of_family(dialect->family)->name;
    decoder->options = *options;
    decoder->options.content_type = PS_SLICE_NONE;
    decoder->options.id = PS_SLICE_NONE;
    keep_id(decoder, options->id);
    if (decoder->options.settings == NULL) {
        decoder->options.settings = ps_dialect_settings_of(dialect, NULL);
    }
    if (decoder->options.json_depth == 0) {
        decoder->options.json_depth = DEFAULT_DEPTH;
    }
    if (decoder->options.json_nodes == 0) {
        decoder->options.json_nodes = DEFAULT_NODES;
    }
    decoder->on_event = on_event;
    decoder->arg = arg;
    if (dialect->decoder_init(decoder, options->content_type) != 0) {
        ps_decoder_free(decoder);
        return NULL;
    }
    return decoder;
}

void ps_decoder_free(struct ps_decoder *decoder)
{
    if (decoder != NULL) {
        decoder->dialect->decoder_deinit(decoder);
        ps_free(decoder);
    }
}

enum ps_decode ps_decoder_feed(struct ps_decoder *decoder, const char *ptr, size_t len)
{
    if (decoder->lf_due && len > 0) {
        struct ps_event event = {.kind = PS_EVENT_OPAQUE, .raw = ps_slice(ptr, 1)};
        bool next = decoder->fed == decoder->told; /* nothing was dropped in between */
        decoder->lf_due = false;
        if (next && ptr[0] == '\n' && !decoder->on_event(decoder->arg, &event)) {
            decoder->stopped = true;
        }
    }
    decoder->fed += len;
    if (decoder->stopped || decoder->broken || decoder->ended || len == 0) {
        return ps_decoder_result(decoder);
    }
    return decoder->dialect->decoder_feed(decoder, ptr, len);
}

enum ps_decode ps_decoder_finish(struct ps_decoder *decoder)
{
    if (decoder->stopped || decoder->broken || decoder->ended) {
        return ps_decoder_result(decoder);
    }
    return decoder->dialect->decoder_finish(decoder);
}

const struct ps_fault *ps_decoder_fault(const struct ps_decoder *decoder)
{
    return &decoder->fault;
}

bool ps_decoder_emit(struct ps_decoder *decoder, struct ps_event *event)
{
    event->raw = decoder->raw;
    event->maker = decoder->maker;
    decoder->told += decoder->raw.len;
    event->withheld = decoder->withheld && decoder->raw.len > 0;
    decoder->raw = PS_SLICE_NONE;
    if (event->kind == PS_EVENT_DONE || event->kind == PS_EVENT_FAULT) {
        decoder->ended = true;
    }
    if (!decoder->on_event(decoder->arg, event)) {
        decoder->stopped = true;
    }
    return !decoder->stopped;
}

bool ps_decoder_emit_kind(struct ps_decoder *decoder, enum ps_event_kind kind)
{
    struct ps_event event = {.kind = kind, .usage = PS_USAGE_NONE};

    return ps_decoder_emit(decoder, &event);
}

enum ps_decode ps_decoder_break(struct ps_decoder *decoder, enum ps_fault_kind kind,
                                const char *why)
{
    (void)ps_fault_set(&decoder->fault, kind, NULL, "%s", why);
    decoder->broken = true;
    return PS_DECODE_BROKEN;
}

enum ps_decode ps_decoder_result(const struct ps_decoder *decoder)
{
    return decoder->broken ? PS_DECODE_BROKEN : decoder->stopped ? PS_DECODE_STOPPED : PS_DECODE_OK;
}

void ps_dialect_fault(const struct ps_dialect *dialect, int status, struct ps_slice body,
                      struct ps_fault *ret_fault)
{
    dialect->fault(status, body, ret_fault);
}

int ps_dialect_models(const struct ps_dialect *dialect, struct ps_slice body,
                      void (*fn)(void *arg, struct ps_slice id, struct ps_slice object), void *arg)
{
    return dialect->models != NULL ? dialect->models(body, fn, arg) : -1;
}

/* ---- lists of models ---- */

static const struct ps_dialect *lister(const struct ps_dialect *dialect)
{
    return dialect->write_model != NULL ? dialect : &ps_dialect_openai;
}

void ps_dialect_write_model(const struct ps_dialect *dialect, const struct ps_model_info *model,
                            struct ps_buf *out)
{
    lister(dialect)->write_model(model, out);
}

void ps_dialect_write_models_begin(const struct ps_dialect *dialect, struct ps_buf *out)
{
    ps_buf_cstr(out, lister(dialect)->models_begin);
}

void ps_dialect_write_models_end(const struct ps_dialect *dialect, struct ps_slice first,
                                 struct ps_slice last, struct ps_buf *out)
{
    dialect = lister(dialect);
    if (dialect->write_models_end != NULL) {
        dialect->write_models_end(first, last, out);
    } else {
        ps_buf_cstr(out, "]}");
    }
}

/* ---- writer ---- */

bool ps_dialect_has_writer(const struct ps_dialect *dialect, enum ps_operation operation)
{
    return dialect->writer_size > 0 && operation < PS_OP_COUNT &&
           (dialect->writes & (1U << operation)) != 0;
}

static bool copy_text(struct ps_arena *arena, struct ps_slice *text)
{
    *text = text->len > 0 ? ps_arena_copy(arena, *text) : PS_SLICE_LIT("");
    return text->ptr != NULL;
}

struct ps_writer *ps_writer_new(const struct ps_dialect *dialect,
                                const struct ps_writer_options *options, struct ps_arena *arena)
{
    struct ps_writer_options copy = *options;
    struct ps_writer *writer;

    if (!ps_dialect_has_writer(dialect, options->operation) || !copy_text(arena, &copy.id) ||
        !copy_text(arena, &copy.model)) {
        return NULL;
    }
    writer = ps_calloc(1, dialect->writer_size);
    if (writer == NULL) {
        return NULL;
    }
    writer->dialect = dialect;
    writer->options = copy;
    ps_call_order_init(&writer->order);
    if (dialect->writer_init(writer) != 0) {
        ps_writer_free(writer);
        return NULL;
    }
    return writer;
}

void ps_writer_free(struct ps_writer *writer)
{
    if (writer != NULL) {
        writer->dialect->writer_deinit(writer);
        ps_call_order_deinit(&writer->order);
        ps_free(writer);
    }
}

static const char *stream_type(const struct ps_writer *writer)
{
    const struct ps_dialect *dialect = writer->dialect;
    const char *type = dialect->writer_type != NULL ? dialect->writer_type(writer) : NULL;

    type = type != NULL ? type : dialect->stream_type;
    return type != NULL ? type : "text/event-stream; charset=utf-8";
}

const char *ps_writer_content_type(const struct ps_writer *writer)
{
    switch (writer->options.mode) {
    case PS_WRITER_STREAM:
        return stream_type(writer);
    case PS_WRITER_TEXT:
        return "text/plain; charset=utf-8";
    case PS_WRITER_WHOLE:
    default:
        return "application/json";
    }
}

int ps_writer_event(struct ps_writer *writer, const struct ps_event *event, struct ps_buf *out,
                    struct ps_fault *ret_fault)
{
    return ps_call_order_write(writer, event, out, ret_fault);
}

void ps_writer_end(struct ps_writer *writer, const struct ps_answer_info *info, struct ps_buf *out)
{
    writer->dialect->writer_end(writer, info, out);
}

bool ps_writer_fail(struct ps_writer *writer, const struct ps_fault *fault, struct ps_buf *out)
{
    if (writer->dialect->writer_fail == NULL) {
        return false;
    }
    writer->dialect->writer_fail(writer, fault, out);
    return true;
}

bool ps_writer_kept(const struct ps_writer *writer, struct ps_id *ret_id, struct ps_buf *out)
{
    return writer->dialect->writer_kept != NULL &&
           writer->dialect->writer_kept(writer, ret_id, out);
}

void ps_writer_write_id(const struct ps_writer *writer, const char *prefix, int64_t number,
                        struct ps_buf *out)
{
    static const struct ps_slice ours = PS_SLICE_INIT("gen_");
    struct ps_slice id = writer->options.id;
    struct ps_json_out json = ps_json_out(out);

    ps_out_string_begin(&json);
    if (ps_slice_starts(id, ours)) {
        ps_out_string_plain(&json, ps_slice_cstr(prefix));
        id = ps_slice(id.ptr + ours.len, id.len - ours.len);
    }
    ps_out_string_text(&json, id);
    if (number >= 0) {
        ps_buf_byte(out, '_');
        ps_buf_int(out, number);
    }
    ps_out_string_end(&json);
}

/* ---- errors ---- */

struct ps_slice ps_dialect_ping(const struct ps_dialect *dialect)
{
    return ps_slice_cstr(dialect->ping != NULL ? dialect->ping : ": ping\n\n");
}

void ps_dialect_write_error_object(const struct ps_fault *fault, struct ps_buf *out)
{
    const char *code = ps_fault_code(fault->kind);

    ps_buf_cstr(out, "{\"message\":");
    ps_buf_json(out, ps_slice_cstr(fault->message));
    ps_buf_cstr(out, ",\"type\":");
    ps_buf_json(out, ps_slice_cstr(ps_fault_type(fault->kind)));
    ps_buf_cstr(out, ",\"param\":");
    if (fault->param[0] != '\0') {
        ps_buf_json(out, ps_slice_cstr(fault->param));
    } else {
        ps_buf_cstr(out, "null");
    }
    ps_buf_cstr(out, ",\"code\":");
    if (code != NULL) {
        ps_buf_json(out, ps_slice_cstr(code));
    } else {
        ps_buf_cstr(out, "null");
    }
    ps_buf_byte(out, '}');
}

void ps_dialect_write_fault(const struct ps_dialect *dialect, const struct ps_fault *fault,
                            struct ps_slice request_id, struct ps_buf *out)
{
    dialect->write_fault(fault, request_id, out);
}

void ps_dialect_write_fault_event(const struct ps_dialect *dialect, const struct ps_fault *fault,
                                  struct ps_slice request_id, struct ps_buf *out)
{
    dialect->write_fault_event(fault, request_id, out);
}

/* ---- content types ---- */

struct ps_slice ps_dialect_media_type(struct ps_slice content_type)
{
    const char *end = content_type.len > 0 ? memchr(content_type.ptr, ';', content_type.len) : NULL;

    if (end != NULL) {
        content_type.len = (size_t)(end - content_type.ptr);
    }
    return ps_slice_trim(content_type);
}

bool ps_dialect_is_stream(struct ps_slice content_type)
{
    static const char *const types[] = {"text/event-stream", "application/x-ndjson",
                                        "application/ndjson", "application/jsonl",
                                        "application/stream+json"};
    struct ps_slice type = ps_dialect_media_type(content_type);

    for (size_t i = 0; i < sizeof(types) / sizeof(types[0]); i++) {
        if (ps_slice_ieq(type, ps_slice_cstr(types[i]))) {
            return true;
        }
    }
    return false;
}

bool ps_dialect_is_json(struct ps_slice media_type)
{
    static const struct ps_slice suffix = {"+json", 5};

    if (ps_slice_ieq(media_type, PS_SLICE_LIT("application/json"))) {
        return true;
    }
    return media_type.len > suffix.len &&
           ps_slice_ieq(ps_slice(media_type.ptr + media_type.len - suffix.len, suffix.len), suffix);
}

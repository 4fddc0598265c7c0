/* SPDX-License-Identifier: Apache-2.0 */
#include "responses_priv.h"

#include "penstock/base/id.h"

/* The response object: what was asked, what came of it, and what is kept of both. */

#define PREFIX "gen_"

/* What the request said about a member; len 0: nothing. */
static struct ps_slice said_of(const struct ps_responses_writer *writer,
                               enum ps_responses_member member)
{
    const struct ps_request *request = writer->base.options.request;

    return request != NULL && request->responses != NULL &&
                   ps_raw_given(request->responses->raw[member])
               ? request->responses->raw[member]
               : PS_SLICE_NONE;
}

static bool keeps(const struct ps_responses_writer *writer)
{
    const struct ps_request *request = writer->base.options.request;

    return request != NULL && request->keeps_responses && request->responses != NULL &&
           !ps_raw_begins(request->responses->raw[PS_RESPONSES_STORE], 'f');
}

/* A member as the client gave it, or what stands for it. */
static void write_said(const struct ps_responses_writer *writer, struct ps_json_out *out,
                       enum ps_responses_member member, const char *otherwise)
{
    struct ps_slice raw = said_of(writer, member);

    ps_out_key(out, ps_responses_name(member));
    ps_out_raw(out, raw.len > 0 ? raw : ps_slice_cstr(otherwise));
}

static void write_error(struct ps_json_out *out, const struct ps_fault *fault)
{
    ps_out_key(out, "error");
    if (fault == NULL) {
        ps_out_null(out);
        return;
    }
    ps_out_open(out, '{');
    ps_out_member_cstr(
        out, "code", fault->kind == PS_FAULT_RATE_LIMITED ? "rate_limit_exceeded" : "server_error");
    ps_out_member_cstr(out, "message", fault->message);
    ps_out_close(out, '}');
}

static void write_incomplete(const struct ps_responses_writer *writer, struct ps_json_out *out,
                             bool incomplete)
{
    ps_out_key(out, "incomplete_details");
    if (!incomplete) {
        ps_out_null(out);
        return;
    }
    ps_out_open(out, '{');
    ps_out_member_cstr(out, "reason",
                       writer->finish == PS_FINISH_LENGTH ? "max_output_tokens" : "content_filter");
    ps_out_close(out, '}');
}

/* A member that has no null. */
static void write_given(const struct ps_responses_writer *writer, struct ps_json_out *out,
                        enum ps_responses_member member)
{
    ps_out_member(out, ps_responses_name(member), said_of(writer, member));
}

/* A function as the client gave it; what its request may leave out its answer may not. */
static void write_function(struct ps_slice tool, struct ps_json_out *out)
{
    static const char *const needed[] = {"parameters", "strict"};

    ps_out_raw(out, ps_slice(tool.ptr, tool.len - 1));
    for (size_t i = 0; i < sizeof(needed) / sizeof(needed[0]); i++) {
        if (ps_raw_find(tool, needed[i]).len == 0) {
            ps_out_key(out, needed[i]);
            ps_out_null(out);
        }
    }
    ps_out_close(out, '}');
}

static void write_tools(const struct ps_responses_writer *writer, struct ps_json_out *out)
{
    struct ps_slice tools = said_of(writer, PS_RESPONSES_TOOLS);
    struct ps_json_walk walk;
    struct ps_slice tool;

    ps_out_key(out, ps_responses_name(PS_RESPONSES_TOOLS));
    ps_out_open(out, '[');
    if (tools.len > 0) {
        ps_json_walk_init(&walk, tools);
        while (ps_json_walk_element(&walk, &tool)) {
            if (ps_raw_word(ps_raw_find(tool, "type"), "function")) {
                write_function(tool, out);
            } else {
                ps_out_raw(out, tool);
            }
        }
    }
    ps_out_close(out, ']');
}

static int64_t or_zero(int64_t count)
{
    return count > 0 ? count : 0;
}

/* Not at all where it is not known: there is no null for it. */
static void write_usage(const struct ps_responses_writer *writer, struct ps_json_out *out)
{
    const struct ps_usage *usage = &writer->usage;
    int64_t total = or_zero(usage->input) + or_zero(usage->output);

    if (usage->input < 0 && usage->output < 0) {
        return;
    }
    ps_out_key(out, "usage");
    ps_out_open(out, '{');
    ps_out_member_int(out, "input_tokens", or_zero(usage->input));
    ps_out_key(out, "input_tokens_details");
    ps_out_open(out, '{');
    ps_out_member_int(out, "cached_tokens", or_zero(usage->cached));
    ps_out_member_int(out, "cache_write_tokens", or_zero(usage->cache_write));
    ps_out_close(out, '}');
    ps_out_member_int(out, "output_tokens", or_zero(usage->output));
    ps_out_key(out, "output_tokens_details");
    ps_out_open(out, '{');
    ps_out_member_int(out, "reasoning_tokens", or_zero(usage->reasoning));
    ps_out_close(out, '}');
    ps_out_member_int(out, "total_tokens", usage->total > 0 ? usage->total : total);
    ps_out_close(out, '}');
}

const char *ps_responses_status(const struct ps_responses_writer *writer)
{
    return writer->finish == PS_FINISH_LENGTH || writer->finish == PS_FINISH_CONTENT_FILTER
               ? "incomplete"
               : "completed";
}

static void write_asked(const struct ps_responses_writer *writer, bool failed,
                        struct ps_json_out *out)
{
    write_said(writer, out, PS_RESPONSES_PARALLEL, "true");
    write_said(writer, out, PS_RESPONSES_PREVIOUS, "null");
    write_said(writer, out, PS_RESPONSES_CACHE_KEY, "null");
    write_said(writer, out, PS_RESPONSES_REASONING, "{\"effort\":null,\"summary\":null}");
    write_said(writer, out, PS_RESPONSES_SAFETY_ID, "null");
    write_said(writer, out, PS_RESPONSES_SERVICE_TIER, "\"default\"");
    ps_out_member_bool(out, "store", keeps(writer) && !failed); /* no broken one is kept */
    write_said(writer, out, PS_RESPONSES_TEMPERATURE, "null");
    write_said(writer, out, PS_RESPONSES_TEXT, "{\"format\":{\"type\":\"text\"}}");
    write_said(writer, out, PS_RESPONSES_TOOL_CHOICE, "\"auto\"");
    write_tools(writer, out);
    write_said(writer, out, PS_RESPONSES_TOP_LOGPROBS, "0");
    write_said(writer, out, PS_RESPONSES_TOP_P, "null");
    write_said(writer, out, PS_RESPONSES_TRUNCATION, "\"disabled\"");
}

void ps_responses_write_object(const struct ps_responses_writer *writer, const char *status,
                               const struct ps_fault *fault, struct ps_buf *buf)
{
    bool begun = strcmp(status, "in_progress") == 0;
    struct ps_json_out out = ps_json_out(buf);

    ps_out_open(&out, '{');
    ps_out_key(&out, "id");
    ps_writer_write_id(&writer->base, "resp_", -1, buf);
    out.comma = true;
    ps_out_member_cstr(&out, "object", "response");
    ps_out_member_int(&out, "created_at", writer->base.options.created_s);
    ps_out_member_cstr(&out, "status", status);
    ps_out_member_bool(&out, "background", false);
    write_error(&out, fault);
    write_incomplete(writer, &out, strcmp(status, "incomplete") == 0);
    write_said(writer, &out, PS_RESPONSES_INSTRUCTIONS, "null");
    write_said(writer, &out, PS_RESPONSES_MAX_OUTPUT_TOKENS, "null");
    write_said(writer, &out, PS_RESPONSES_MAX_TOOL_CALLS, "null");
    ps_out_key(&out, "model");
    ps_out_text(&out, writer->base.options.model);
    ps_out_key(&out, "output");
    ps_out_open(&out, '[');
    if (!begun) {
        ps_buf_slice(buf, ps_buf_view(&writer->done));
    }
    ps_out_close(&out, ']');
    write_asked(writer, strcmp(status, "failed") == 0, &out);
    if (!begun) {
        write_usage(writer, &out);
    }
    write_given(writer, &out, PS_RESPONSES_USER);
    write_said(writer, &out, PS_RESPONSES_METADATA, "{}");
    ps_out_close(&out, '}');
}

/* ---- what is kept ---- */

/* The elements of a raw array, without its brackets. */
static void write_elements(struct ps_slice array, struct ps_json_out *out)
{
    struct ps_json_walk walk;
    struct ps_slice element;

    ps_json_walk_init(&walk, array);
    while (ps_json_walk_element(&walk, &element)) {
        ps_out_raw(out, element);
    }
}

/* The same of the request's input, with the items themselves where it only names them: what is kept
 * stands for itself when the response that they are of is deleted. */
static void write_input(const struct ps_request *request, struct ps_slice array,
                        struct ps_json_out *out)
{
    struct ps_json_walk walk;
    struct ps_slice element;
    size_t next = 0;

    ps_json_walk_init(&walk, array);
    for (uint32_t i = 0; ps_json_walk_element(&walk, &element); i++) {
        const struct ps_reference *reference = ps_responses_reference(request, i, &next);

        ps_out_raw(out, reference != NULL && reference->item.len > 0 ? reference->item : element);
    }
}

bool ps_responses_writer_kept(const struct ps_writer *base, struct ps_id *ret_id,
                              struct ps_buf *buf)
{
    const struct ps_responses_writer *writer = (const struct ps_responses_writer *)base;
    struct ps_slice input = said_of(writer, PS_RESPONSES_INPUT);
    struct ps_slice id = base->options.id;
    struct ps_json_out out = ps_json_out(buf);
    char text[PS_ID_MAX] = "resp_";

    if (!keeps(writer) || !ps_slice_starts(id, PS_SLICE_LIT(PREFIX)) ||
        id.len - (sizeof(PREFIX) - 1) > sizeof(text) - 6) {
        return false;
    }
    memcpy(text + 5, id.ptr + sizeof(PREFIX) - 1, id.len - (sizeof(PREFIX) - 1));
    if (!ps_id_read(ret_id, "resp_", ps_slice_cstr(text))) {
        return false;
    }
    ps_out_open(&out, '{');
    ps_out_key(&out, "input");
    ps_out_open(&out, '[');
    if (base->options.request->previous.len > 0) {
        write_elements(base->options.request->previous, &out);
    }
    if (ps_raw_begins(input, '[')) {
        write_input(base->options.request, input, &out);
    } else if (input.len > 0) {
        ps_out_open(&out, '{');
        ps_out_member_cstr(&out, "type", "message");
        ps_out_member_cstr(&out, "role", "user");
        ps_out_key(&out, "content");
        ps_out_open(&out, '[');
        ps_out_open(&out, '{');
        ps_out_member_cstr(&out, "type", "input_text");
        ps_out_member(&out, "text", input);
        ps_out_close(&out, '}');
        ps_out_close(&out, ']');
        ps_out_close(&out, '}');
    }
    ps_out_close(&out, ']');
    ps_out_key(&out, "response");
    ps_responses_write_object(writer, ps_responses_status(writer), NULL, buf);
    out.comma = true;
    ps_out_close(&out, '}');
    return true;
}

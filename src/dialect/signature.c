/* SPDX-License-Identifier: Apache-2.0 */
#include "signature.h"

#include "neutral_build.h"

#include "penstock/base/base64.h"

#define MAKER_BYTES 24 /* of a family's name */

enum kind {
    KIND_CALL = 'c',
    KIND_THOUGHT = 's',
    KIND_HIDDEN = 'r',
};

static const struct ps_slice prefix = PS_SLICE_INIT("penstock.");
static const struct ps_slice wrapped_prefix = PS_SLICE_INIT("cGVuc3RvY2su"); /* as base64 */

struct tag {
    char maker[MAKER_BYTES];
    enum kind kind;
    size_t len;   /* the signature is behind so many bytes */
    bool wrapped; /* all of it is base64 */
};

/* ---- reading ---- */

static bool read_plain(struct ps_slice text, struct tag *ret)
{
    const char *maker = text.ptr + prefix.len;
    const char *dot;
    size_t len;

    if (!ps_slice_starts(text, prefix)) {
        return false;
    }
    dot = memchr(maker, '.', text.len - prefix.len);
    len = dot != NULL ? (size_t)(dot - maker) : 0;
    if (len == 0 || len >= sizeof(ret->maker) || text.len < prefix.len + len + 3 || dot[2] != '.') {
        return false;
    }
    memcpy(ret->maker, maker, len);
    ret->maker[len] = '\0';
    ret->kind = (enum kind)dot[1];
    ret->len = prefix.len + len + 3;
    ret->wrapped = false;
    return dot[1] == KIND_CALL || dot[1] == KIND_THOUGHT || dot[1] == KIND_HIDDEN;
}

/* Clients that keep bytes write them in either alphabet, with padding or without. */
static bool decode(struct ps_slice text, char *room, uint8_t *ret, size_t *ret_len)
{
    size_t len = 0;

    for (; len < text.len; len++) {
        char byte = text.ptr[len];

        room[len] = (char)(byte == '-' ? '+' : byte == '_' ? '/' : byte);
    }
    while (len % 4 != 0) {
        room[len++] = '=';
    }
    return ps_base64_decode(ps_slice(room, len), ret, ret_len);
}

static bool read_wrapped(struct ps_slice text, struct tag *ret)
{
    char room[64];
    uint8_t bytes[48];
    size_t len = text.len < sizeof(room) ? text.len : sizeof(room);

    if (!ps_slice_starts(text, wrapped_prefix) ||
        !decode(ps_slice(text.ptr, len), room, bytes, &len) ||
        !read_plain(ps_slice((const char *)bytes, len), ret)) {
        return false;
    }
    ret->wrapped = true;
    return true;
}

static bool read_tag(struct ps_slice raw, struct tag *ret)
{
    struct ps_slice text;

    if (!ps_raw_says(raw)) {
        return false;
    }
    text = ps_slice(raw.ptr + 1, raw.len - 2);
    return read_plain(text, ret) || read_wrapped(text, ret);
}

static bool made_by(const struct tag *tag, enum ps_family family)
{
    const struct ps_dialect *dialect = ps_dialect_of_family(family);

    return dialect != NULL && strcmp(tag->maker, dialect->name) == 0;
}

bool ps_signature_is_foreign(struct ps_slice raw, enum ps_family family)
{
    struct tag tag;

    return read_tag(raw, &tag) && !made_by(&tag, family);
}

/* ---- for a target ---- */

/* NULL: memory was short. */
static struct ps_slice unwrap(struct ps_slice raw, struct ps_arena *arena)
{
    struct ps_slice text = ps_raw_plain(raw, arena);
    char *room = ps_arena_side(arena, text.len + 4, 1);
    uint8_t *bytes = ps_arena_side(arena, text.len + 4, 1);
    size_t len = 0;
    struct tag tag;

    if (text.ptr == NULL || room == NULL || bytes == NULL) {
        return PS_SLICE_NONE;
    }
    if (!decode(text, room, bytes, &len) || !read_plain(ps_slice((char *)bytes, len), &tag)) {
        return PS_SLICE_LIT("\"\"");
    }
    return ps_raw_quote(ps_slice((char *)bytes + tag.len, len - tag.len), arena);
}

/* RAW without its tag; when memory is short the body in the making fails. */
static struct ps_slice strip(struct ps_encode *encode, struct ps_slice raw, const struct tag *tag)
{
    struct ps_slice bare;
    char *text;

    if (tag->wrapped) {
        bare = unwrap(raw, encode->arena);
    } else {
        bare = ps_slice(raw.ptr + tag->len, raw.len - tag->len);
        text = ps_arena_side(encode->arena, bare.len, 1);
        if (text != NULL) {
            text[0] = '"';
            memcpy(text + 1, bare.ptr + 1, bare.len - 1);
        }
        bare.ptr = text;
    }
    if (bare.ptr == NULL) {
        encode->out.buf->failed = true;
        return PS_SLICE_NONE;
    }
    return ps_raw_says(bare) ? bare : PS_SLICE_NONE;
}

/* Whether it is for this target; `tag->len` 0: it has none. `also`: another family that signs in
 * this place without a tag. */
static bool is_own(const struct ps_encode *encode, struct ps_slice raw, bool named, struct tag *tag)
{
    tag->len = 0;
    if (!ps_raw_says(raw)) {
        return false;
    }
    return read_tag(raw, tag) ? made_by(tag, encode->dialect->family)
                              : named || encode->request->family == encode->dialect->family;
}

struct ps_slice ps_encode_call_signature(struct ps_encode *encode,
                                         const struct ps_neutral_call *call)
{
    /* OpenAI's door takes it in a member that is named for Google. */
    bool named =
        encode->request->family == PS_FAMILY_OPENAI && encode->dialect->family == PS_FAMILY_GEMINI;
    struct tag tag;

    if (!is_own(encode, call->signature, named, &tag)) {
        return PS_SLICE_NONE;
    }
    return tag.len > 0 ? strip(encode, call->signature, &tag) : call->signature;
}

static struct ps_slice either(const struct ps_neutral_reasoning *reasoning)
{
    return reasoning == NULL             ? PS_SLICE_NONE
           : reasoning->redacted.len > 0 ? reasoning->redacted
                                         : reasoning->signature;
}

bool ps_encode_is_signed(const struct ps_encode *encode,
                         const struct ps_neutral_reasoning *reasoning)
{
    struct tag tag;

    return is_own(encode, either(reasoning), false, &tag);
}

struct ps_signed ps_encode_thought(struct ps_encode *encode,
                                   const struct ps_neutral_reasoning *reasoning)
{
    struct ps_slice raw = either(reasoning);
    bool hidden = reasoning != NULL && reasoning->redacted.len > 0;
    struct ps_signed ret = {PS_SLICE_NONE, PS_SLICE_NONE};
    struct tag tag;

    if (!is_own(encode, raw, false, &tag)) {
        return ret;
    }
    if (tag.len > 0) { /* a door may have one place for both */
        raw = strip(encode, raw, &tag);
        hidden = tag.kind == KIND_HIDDEN;
    }
    *(hidden ? &ret.redacted : &ret.signature) = raw;
    return ret;
}

/* ---- from a door ---- */

/* What a call has to itself stays. */
static void give_back(struct ps_neutral_part *part, struct ps_slice *waiting)
{
    struct ps_neutral_call *call;

    if (part->kind != PS_PART_TOOL_CALL || waiting->len == 0) {
        return;
    }
    call = (struct ps_neutral_call *)(uintptr_t)part->call;
    if (call->signature.len == 0) {
        call->signature = *waiting;
    }
    *waiting = PS_SLICE_NONE;
}

static bool is_of_call(const struct ps_neutral_part *part)
{
    struct tag tag;

    return part->kind == PS_PART_REASONING && read_tag(either(part->reasoning), &tag) &&
           tag.kind == KIND_CALL;
}

static void settle_message(struct ps_neutral_message *message, struct ps_slice *waiting)
{
    struct ps_neutral_part *parts = (struct ps_neutral_part *)(uintptr_t)message->parts;
    size_t count = 0;

    for (size_t i = 0; i < message->part_count; i++) {
        if (is_of_call(&parts[i])) {
            *waiting = either(parts[i].reasoning);
            continue;
        }
        give_back(&parts[i], waiting);
        if (count != i) {
            parts[count] = parts[i];
        }
        count++;
    }
    message->part_count = count;
}

/* Parts and calls are the front's, made a moment ago in this arena. */
void ps_signature_settle(struct ps_neutral *neutral)
{
    struct ps_neutral_message *messages = (struct ps_neutral_message *)(uintptr_t)neutral->messages;
    struct ps_slice waiting = PS_SLICE_NONE;

    for (size_t i = 0; i < neutral->message_count; i++) {
        if (messages[i].role == PS_ROLE_ASSISTANT) {
            settle_message(&messages[i], &waiting);
        } else {
            waiting = PS_SLICE_NONE;
        }
    }
}

/* ---- for a client ---- */

static int out_of_memory(struct ps_fault *fault)
{
    return ps_fault_set(fault, PS_FAULT_NO_MEMORY, NULL,
                        "The gateway is short of memory for this answer.");
}

/* `signature` tagged, in `ret`. */
static void write_tagged(const struct ps_writer *writer, const char *maker, enum kind kind,
                         struct ps_slice signature, struct ps_buf *ret)
{
    size_t len = prefix.len + strlen(maker) + 3 + signature.len;
    struct ps_buf plain;
    char *room;

    ps_buf_init(ret, PS_BASE64_LENGTH(len));
    ps_buf_init(&plain, len);
    ps_buf_slice(&plain, prefix);
    ps_buf_printf(&plain, "%s.%c.", maker, kind);
    ps_buf_slice(&plain, signature);
    if (writer->dialect->family != PS_FAMILY_GEMINI) {
        ps_buf_slice(ret, ps_buf_view(&plain));
    } else {
        room = ps_buf_reserve(ret, PS_BASE64_LENGTH(len));
        if (room != NULL && !plain.failed) {
            ps_buf_commit(ret, ps_base64_encode(plain.ptr, plain.len, room));
        }
    }
    ret->failed = ret->failed || plain.failed;
    ps_buf_deinit(&plain);
}

/* These have no place for what is over a call: it goes before it, as a thought that nobody reads.
 */
static bool wants_thought(enum ps_family family)
{
    return family == PS_FAMILY_ANTHROPIC || family == PS_FAMILY_RESPONSES;
}

static int write_call(struct ps_writer *writer, const struct ps_event *event,
                      struct ps_slice signature, struct ps_buf *out, struct ps_fault *ret_fault)
{
    struct ps_event_thought thought = {.redacted = signature};
    struct ps_event before = {
        .kind = PS_EVENT_REASONING, .choice = event->choice, .usage = PS_USAGE_NONE};
    struct ps_event_tool tool = *event->tool;
    struct ps_event copy = *event;

    copy.tool = &tool;
    tool.signature = signature;
    if (wants_thought(writer->dialect->family)) {
        before.thought = &thought;
        tool.signature = PS_SLICE_NONE;
        if (writer->dialect->writer_event(writer, &before, out, ret_fault) != 0) {
            return -1;
        }
    }
    return writer->dialect->writer_event(writer, &copy, out, ret_fault);
}

static int write_thought(struct ps_writer *writer, const struct ps_event *event,
                         struct ps_slice signature, struct ps_buf *out, struct ps_fault *ret_fault)
{
    struct ps_event_thought thought = *event->thought;
    struct ps_event copy = *event;

    if (thought.redacted.len > 0) {
        thought.redacted = signature;
    } else {
        thought.signature = signature;
    }
    copy.thought = &thought;
    return writer->dialect->writer_event(writer, &copy, out, ret_fault);
}

/* What is signed in it, and how; empty: nothing. */
static struct ps_slice signed_in(const struct ps_event *event, enum kind *ret_kind)
{
    const struct ps_event_thought *thought = event->thought;

    if (event->kind == PS_EVENT_TOOL_CALL && event->tool != NULL) {
        *ret_kind = KIND_CALL;
        return event->tool->signature;
    }
    if (event->kind != PS_EVENT_REASONING || thought == NULL) {
        return PS_SLICE_NONE;
    }
    *ret_kind = thought->redacted.len > 0 ? KIND_HIDDEN : KIND_THOUGHT;
    return thought->redacted.len > 0 ? thought->redacted : thought->signature;
}

static bool is_by_door(const struct ps_writer *writer, const struct ps_event *event)
{
    return event->maker == NULL || strcmp(event->maker, writer->dialect->name) == 0;
}

int ps_signature_write(struct ps_writer *writer, const struct ps_event *event, struct ps_buf *out,
                       struct ps_fault *ret_fault)
{
    enum kind kind = KIND_THOUGHT;
    struct ps_slice signature = signed_in(event, &kind);
    struct ps_buf tagged;
    int rc;

    if (signature.len == 0 || is_by_door(writer, event)) {
        return writer->dialect->writer_event(writer, event, out, ret_fault);
    }
    write_tagged(writer, event->maker, kind, signature, &tagged);
    if (tagged.failed) {
        rc = out_of_memory(ret_fault);
    } else if (kind == KIND_CALL) {
        rc = write_call(writer, event, ps_buf_view(&tagged), out, ret_fault);
    } else {
        rc = write_thought(writer, event, ps_buf_view(&tagged), out, ret_fault);
    }
    ps_buf_deinit(&tagged);
    return rc;
}

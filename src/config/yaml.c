/* SPDX-License-Identifier: Apache-2.0 */
#include "config_priv.h"

#include <yaml.h>

#include <stdio.h>
#include <string.h>

/*
 * libyaml's events become a tree with line numbers. Only the plain part of YAML is taken: mappings
 * with distinct text keys, lists and scalars, in one document. Anchors, aliases and tags can make a
 * small file mean a big or a surprising one, so they are refused.
 *
 * What leaves the shape intact (a duplicate key, an anchor, a tag) is reported and reading goes on;
 * a syntax error, a second document or a limit ends it.
 */

struct reader {
    yaml_parser_t parser;
    struct ps_arena *arena;
    struct ps_config_errors *errors;
    struct ps_slice text;
    const char *file;
    struct ps_key_path key;
    size_t nodes;
};

static int line_of(yaml_mark_t mark)
{
    return mark.line < 1000000000 ? (int)mark.line + 1 : 0;
}

static struct ps_config_at at_line(const struct reader *reader, int line)
{
    return (struct ps_config_at){reader->file, line};
}

static bool no_memory(struct reader *reader)
{
    ps_config_error(reader->errors, at_line(reader, 0), NULL, "out of memory");
    return false;
}

static void report_syntax(struct reader *reader)
{
    const yaml_parser_t *parser = &reader->parser;
    const char *problem = parser->problem != NULL ? parser->problem : "text that cannot be read";
    if (parser->error == YAML_MEMORY_ERROR) {
        (void)no_memory(reader);
        return;
    }
    if (parser->error == YAML_READER_ERROR) {
        int line = 1;
        for (size_t i = 0; i < parser->problem_offset && i < reader->text.len; i++) {
            line += reader->text.ptr[i] == '\n';
        }
        ps_config_error(reader->errors, at_line(reader, line), NULL,
                        "expected YAML in UTF-8, found: %s", problem);
        return;
    }
    struct ps_config_at at = at_line(reader, line_of(parser->problem_mark));
    if (parser->context != NULL) {
        ps_config_error(reader->errors, at, NULL,
                        "expected YAML, found a problem %s that began at line %d: %s",
                        parser->context, line_of(parser->context_mark), problem);
    } else {
        ps_config_error(reader->errors, at, NULL, "expected YAML, found a problem: %s", problem);
    }
}

static bool next_event(struct reader *reader, yaml_event_t *event)
{
    if (!yaml_parser_parse(&reader->parser, event)) {
        report_syntax(reader);
        return false;
    }
    return true;
}

/* Scalars may be keys. */
static void end_event(yaml_event_t *event)
{
    if (event->type == YAML_SCALAR_EVENT) {
        explicit_bzero(event->data.scalar.value, event->data.scalar.length);
    }
    yaml_event_delete(event);
}

static struct ps_yaml_node *new_node(struct reader *reader, enum ps_yaml_kind kind, int line)
{
    if (++reader->nodes > PS_CONFIG_NODES_MAX) {
        ps_config_error(reader->errors, at_line(reader, line), reader->key.text,
                        "expected at most %d values, found more", PS_CONFIG_NODES_MAX);
        return NULL;
    }
    struct ps_yaml_node *node = ps_arena_calloc(reader->arena, sizeof *node);
    if (node == NULL) {
        (void)no_memory(reader);
        return NULL;
    }
    node->kind = kind;
    node->line = line;
    return node;
}

/* Whether an anchor or a tag was found; it was reported. */
static bool refuse_properties(struct reader *reader, const yaml_char_t *anchor,
                              const yaml_char_t *tag, int line)
{
    if (anchor != NULL) {
        ps_config_error(reader->errors, at_line(reader, line), reader->key.text,
                        "expected no anchors (&name), found one");
    }
    if (tag != NULL) {
        ps_config_error(reader->errors, at_line(reader, line), reader->key.text,
                        "expected no tags (!name), found one");
    }
    return anchor != NULL || tag != NULL;
}

static bool is_nothing(const yaml_event_t *event, struct ps_slice text)
{
    static const char *const nothings[] = {"", "~", "null", "Null", "NULL"};
    if (event->data.scalar.style != YAML_PLAIN_SCALAR_STYLE) {
        return false;
    }
    for (size_t i = 0; i < sizeof nothings / sizeof nothings[0]; i++) {
        if (ps_slice_eq_cstr(text, nothings[i])) {
            return true;
        }
    }
    return false;
}

static struct ps_yaml_node *read_scalar(struct reader *reader, const yaml_event_t *event)
{
    int line = line_of(event->start_mark);
    /* libyaml's bytes are unsigned char */
    struct ps_slice text =
        ps_slice((const char *)event->data.scalar.value, event->data.scalar.length);
    struct ps_yaml_node *node = new_node(reader, PS_YAML_TEXT, line);
    if (node == NULL) {
        return NULL;
    }
    if (refuse_properties(reader, event->data.scalar.anchor, event->data.scalar.tag, line)) {
        node->kind = PS_YAML_BROKEN;
    } else if (memchr(text.ptr, '\0', text.len) != NULL) {
        ps_config_error(reader->errors, at_line(reader, line), reader->key.text,
                        "expected text, found a zero byte in it");
        node->kind = PS_YAML_BROKEN;
    } else if (is_nothing(event, text)) {
        node->kind = PS_YAML_NOTHING;
    }
    node->text = ps_arena_copy(reader->arena, text);
    if (node->text.ptr == NULL) {
        (void)no_memory(reader);
        return NULL;
    }
    return node;
}

static struct ps_yaml_node *read_node(struct reader *reader, yaml_event_t *event, int depth);

static void append(struct ps_yaml_node *parent, struct ps_yaml_node **last,
                   struct ps_yaml_node *child)
{
    if (*last == NULL) {
        parent->first = child;
    } else {
        (*last)->next = child;
    }
    *last = child;
    parent->count++;
}

static bool read_items(struct reader *reader, struct ps_yaml_node *list, int depth)
{
    struct ps_yaml_node *last = NULL;
    for (;;) {
        yaml_event_t event;
        if (!next_event(reader, &event)) {
            return false;
        }
        if (event.type == YAML_SEQUENCE_END_EVENT) {
            end_event(&event);
            return true;
        }
        size_t mark = ps_key_path_index(&reader->key, list->count);
        struct ps_yaml_node *item = read_node(reader, &event, depth);
        if (item == NULL) {
            return false;
        }
        ps_key_path_back(&reader->key, mark);
        append(list, &last, item);
    }
}

/* The key of a member, from its event; false when reading must end. */
static bool read_key(struct reader *reader, yaml_event_t *event, struct ps_slice *ret_key,
                     int *ret_line)
{
    *ret_line = line_of(event->start_mark);
    bool fits = event->type == YAML_SCALAR_EVENT &&
                memchr(event->data.scalar.value, '\0', event->data.scalar.length) == NULL;
    if (!fits) {
        ps_config_error(reader->errors, at_line(reader, *ret_line), reader->key.text,
                        "expected a plain name as key, found %s",
                        event->type == YAML_ALIAS_EVENT ? "an alias (*name)" : "something else");
        end_event(event);
        return false;
    }
    (void)refuse_properties(reader, event->data.scalar.anchor, event->data.scalar.tag, *ret_line);
    *ret_key = ps_arena_copy(
        reader->arena, ps_slice((const char *)event->data.scalar.value, event->data.scalar.length));
    end_event(event);
    return ret_key->ptr != NULL || no_memory(reader);
}

static const struct ps_yaml_node *find_key(const struct ps_yaml_node *map, struct ps_slice key)
{
    for (const struct ps_yaml_node *child = map->first; child != NULL; child = child->next) {
        if (ps_slice_eq(child->key, key)) {
            return child;
        }
    }
    return NULL;
}

static bool read_members(struct reader *reader, struct ps_yaml_node *map, int depth)
{
    struct ps_yaml_node *last = NULL;
    for (;;) {
        yaml_event_t event;
        struct ps_slice key;
        int line;
        if (!next_event(reader, &event)) {
            return false;
        }
        if (event.type == YAML_MAPPING_END_EVENT) {
            end_event(&event);
            return true;
        }
        if (!read_key(reader, &event, &key, &line) || !next_event(reader, &event)) {
            return false;
        }
        size_t mark = ps_key_path_name(&reader->key, key);
        struct ps_yaml_node *value = read_node(reader, &event, depth);
        if (value == NULL) {
            return false;
        }
        value->key = key;
        if (value->kind != PS_YAML_TEXT) {
            /* A block begins a line below its key; the key is what a reader looks for. */
            value->line = line;
        }
        const struct ps_yaml_node *before = find_key(map, key);
        if (before != NULL) {
            ps_config_error(reader->errors, at_line(reader, line), reader->key.text,
                            "expected each key once, found it again after line %d", before->line);
            ps_yaml_wipe(value);
        } else {
            append(map, &last, value);
        }
        ps_key_path_back(&reader->key, mark);
    }
}

/* The node that the event begins; ends the event. NULL when reading must end. */
static struct ps_yaml_node *read_node(struct reader *reader, yaml_event_t *event, int depth)
{
    struct ps_yaml_node *node = NULL;
    int line = line_of(event->start_mark);
    yaml_event_type_t type = event->type;
    if (depth > PS_CONFIG_DEPTH_MAX) {
        ps_config_error(reader->errors, at_line(reader, line), reader->key.text,
                        "expected at most %d levels, found more", PS_CONFIG_DEPTH_MAX);
    } else if (type == YAML_SCALAR_EVENT) {
        node = read_scalar(reader, event);
    } else if (type == YAML_ALIAS_EVENT) {
        ps_config_error(reader->errors, at_line(reader, line), reader->key.text,
                        "expected no aliases (*name), found one");
        node = new_node(reader, PS_YAML_BROKEN, line);
    } else if (type == YAML_SEQUENCE_START_EVENT) {
        (void)refuse_properties(reader, event->data.sequence_start.anchor,
                                event->data.sequence_start.tag, line);
        node = new_node(reader, PS_YAML_LIST, line);
    } else if (type == YAML_MAPPING_START_EVENT) {
        (void)refuse_properties(reader, event->data.mapping_start.anchor,
                                event->data.mapping_start.tag, line);
        node = new_node(reader, PS_YAML_MAP, line);
    }
    end_event(event);
    if (node == NULL) {
        return NULL;
    }
    if ((type == YAML_SEQUENCE_START_EVENT && !read_items(reader, node, depth + 1)) ||
        (type == YAML_MAPPING_START_EVENT && !read_members(reader, node, depth + 1))) {
        return NULL;
    }
    return node;
}

/* The node of the first document, an empty mapping when there is none; NULL after a report. */
static struct ps_yaml_node *read_document(struct reader *reader)
{
    yaml_event_t event;
    struct ps_yaml_node *root = NULL;
    bool ended = false;
    while (!ended) {
        if (!next_event(reader, &event)) {
            return NULL;
        }
        yaml_event_type_t type = event.type;
        if (type == YAML_DOCUMENT_START_EVENT && root != NULL) {
            ps_config_error(reader->errors, at_line(reader, line_of(event.start_mark)), NULL,
                            "expected one YAML document, found a second one");
            end_event(&event);
            return NULL;
        }
        bool begins = type != YAML_STREAM_START_EVENT && type != YAML_DOCUMENT_START_EVENT &&
                      type != YAML_DOCUMENT_END_EVENT && type != YAML_STREAM_END_EVENT;
        if (!begins) {
            ended = type == YAML_STREAM_END_EVENT;
            end_event(&event);
            continue;
        }
        root = read_node(reader, &event, 1);
        if (root == NULL) {
            return NULL;
        }
    }
    return root != NULL ? root : new_node(reader, PS_YAML_MAP, 1);
}

struct ps_yaml_node *ps_yaml_read(struct ps_slice text, const char *file, struct ps_arena *arena,
                                  struct ps_config_errors *errors)
{
    struct reader reader = {.arena = arena, .errors = errors, .text = text, .file = file};
    if (text.len > PS_CONFIG_FILE_MAX) {
        ps_config_error(errors, at_line(&reader, 0), NULL, "expected at most %d bytes, found more",
                        PS_CONFIG_FILE_MAX);
        return NULL;
    }
    if (!yaml_parser_initialize(&reader.parser)) {
        (void)no_memory(&reader);
        return NULL;
    }
    yaml_parser_set_encoding(&reader.parser, YAML_UTF8_ENCODING);
    yaml_parser_set_input_string(&reader.parser,
                                 (const unsigned char *)(text.len > 0 ? text.ptr : ""), text.len);
    struct ps_yaml_node *root = read_document(&reader);
    yaml_parser_delete(&reader.parser);
    if (root != NULL && root->kind == PS_YAML_NOTHING) {
        root->kind = PS_YAML_MAP;
    }
    if (root != NULL && root->kind != PS_YAML_MAP) {
        if (root->kind != PS_YAML_BROKEN) {
            ps_config_error(errors, at_line(&reader, root->line), NULL,
                            "expected keys and values, found %s",
                            root->kind == PS_YAML_LIST ? "a list" : "text");
        }
        ps_yaml_wipe(root);
        return NULL;
    }
    return root;
}

const struct ps_yaml_node *ps_yaml_get(const struct ps_yaml_node *map, const char *key)
{
    return find_key(map, ps_slice_cstr(key));
}

void ps_yaml_wipe(struct ps_yaml_node *node)
{
    for (; node != NULL; node = node->next) {
        if (node->text.ptr != NULL) {
            /* The tree owns its text; the slice is const for everybody else. */
            explicit_bzero((void *)(uintptr_t)node->text.ptr, node->text.len);
        }
        ps_yaml_wipe(node->first);
    }
}

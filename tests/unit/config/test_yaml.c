/* SPDX-License-Identifier: Apache-2.0 */
#include "config_priv.h"
#include "config_testing.h"

#include <stdlib.h>

#define COUNT(array) (sizeof(array) / sizeof((array)[0]))

/* A tree as text: {key@line=…} and [@line …]. */
static void put_node(const struct ps_yaml_node *node, struct ps_buf *out)
{
    switch (node->kind) {
    case PS_YAML_NOTHING:
        ps_buf_printf(out, "nothing@%d", node->line);
        break;
    case PS_YAML_BROKEN:
        ps_buf_cstr(out, "broken");
        break;
    case PS_YAML_TEXT:
        ps_buf_printf(out, "%s@%d", node->text.ptr, node->line);
        break;
    case PS_YAML_LIST:
    case PS_YAML_MAP:
        ps_buf_printf(out, "%s@%d", node->kind == PS_YAML_LIST ? "[" : "{", node->line);
        for (const struct ps_yaml_node *child = node->first; child != NULL; child = child->next) {
            ps_buf_printf(out, " %s%s", node->kind == PS_YAML_MAP ? child->key.ptr : "",
                          node->kind == PS_YAML_MAP ? "=" : "");
            put_node(child, out);
        }
        ps_buf_cstr(out, node->kind == PS_YAML_LIST ? "]" : "}");
        break;
    }
}

/* The tree, then a line break, then the mistakes. */
static void read_text(struct ps_slice yaml, char *out, size_t size)
{
    struct ps_arena arena;
    struct ps_buf buf;
    struct ps_config_errors errors;
    ps_arena_init(&arena, PS_CONFIG_MEMORY_MAX);
    ps_buf_init(&buf, 1 << 16);
    ps_config_errors_init(&errors);
    struct ps_yaml_node *root = ps_yaml_read(yaml, "f", &arena, &errors);
    if (root != NULL) {
        put_node(root, &buf);
    }
    snprintf(out, size, "%.*s\n%.*s", (int)buf.len, buf.ptr != NULL ? buf.ptr : "",
             (int)errors.text.len, errors.text.ptr != NULL ? errors.text.ptr : "");
    if (root == NULL) {
        assert_true(errors.count > 0);
    }
    ps_config_errors_deinit(&errors);
    ps_buf_deinit(&buf);
    ps_arena_deinit(&arena);
}

static void test_trees(void **state)
{
    static const struct {
        const char *yaml;
        const char *tree; /* and mistakes */
    } rows[] = {
        {"", "{@1}\n"},
        {"# nothing\n", "{@1}\n"},
        {"---\n...\n", "{@2}\n"},
        {"a: 1\nb:\n  - x\n  - \"y z\"\n", "{@1 a=1@1 b=[@2 x@3 y z@4]}\n"},
        {"a:\n  b: 1\n\n  c: { d: e }\n", "{@1 a={@1 b=1@2 c={@4 d=e@4}}}\n"},
        {"a:\nb: ~\nc: null\nd: \"\"\ne: \"~\"\n",
         "{@1 a=nothing@1 b=nothing@2 c=nothing@3 d=@4 e=~@5}\n"},
        {"a: |\n  x\n  y\n", "{@1 a=x\ny\n@1}\n"},
        {"a:\n  text\n", "{@1 a=text@2}\n"},
        {"a: 1\na: 2\n",
         "{@1 a=1@1}\nf:2: a: expected each key once, found it again after line 1\n"},
        {"a: { b: 1, \"b\": 2 }\n",
         "{@1 a={@1 b=1@1}}\nf:1: a.b: expected each key once, found it again after line 1\n"},
        {"a: &x 1\nb: 2\n",
         "{@1 a=broken b=2@2}\nf:1: a: expected no anchors (&name), found one\n"},
        {"a: *x\n", "{@1 a=broken}\nf:1: a: expected no aliases (*name), found one\n"},
        {"a: !!str 1\n", "{@1 a=broken}\nf:1: a: expected no tags (!name), found one\n"},
        {"a: !x [1]\n", "{@1 a=[@1 1@1]}\nf:1: a: expected no tags (!name), found one\n"},
        {"a: [1, &b {}]\n",
         "{@1 a=[@1 1@1 {@1}]}\nf:1: a[1]: expected no anchors (&name), found one\n"},
        {"a: \"x\\0y\"\n", "{@1 a=broken}\nf:1: a: expected text, found a zero byte in it\n"},
        {"a: 1\n---\nb: 2\n", "\nf:2: expected one YAML document, found a second one\n"},
        {"- a\n", "\nf:1: expected keys and values, found a list\n"},
        {"text\n", "\nf:1: expected keys and values, found text\n"},
        {"[a]: 1\n", "\nf:1: expected a plain name as key, found something else\n"},
        {"a:\n  *x : 1\n", "\nf:2: a: expected a plain name as key, found an alias (*name)\n"},
        {"\"a\\0\": 1\n", "\nf:1: expected a plain name as key, found something else\n"},
    };
    (void)state;
    for (size_t i = 0; i < COUNT(rows); i++) {
        char got[4096];
        read_text(ps_slice_cstr(rows[i].yaml), got, sizeof got);
        if (strcmp(got, rows[i].tree) != 0) {
            fail_msg("%s\nexpected %s\nfound %s", rows[i].yaml, rows[i].tree, got);
        }
    }
}

/* Syntax errors: libyaml's words may change, the place may not. */
static void test_syntax(void **state)
{
    static const struct {
        const char *yaml;
        const char *begins;
    } rows[] = {
        {"a: 1\nb: [1, 2\n", "\nf:3: expected YAML, found a problem while parsing a flow sequence "
                             "that began at line 2"},
        {"a: 1\n\tb: 2\n", "\nf:2: expected YAML"},
        {"a: \"x\n", "\nf:2: expected YAML"},
        {"a: b: c\n", "\nf:1: expected YAML"},
        {"a: @x\n", "\nf:1: expected YAML"},
        {"a: 1\nb: \x01\n", "\nf:2: expected YAML in UTF-8"},
        {"a: 1\n\nb: \xff\n", "\nf:3: expected YAML in UTF-8"},
        {"a: %x\n", "\nf:1: expected YAML"},
    };
    (void)state;
    for (size_t i = 0; i < COUNT(rows); i++) {
        char got[4096];
        read_text(ps_slice_cstr(rows[i].yaml), got, sizeof got);
        if (strncmp(got, rows[i].begins, strlen(rows[i].begins)) != 0) {
            fail_msg("%s\nexpected %s\nfound %s", rows[i].yaml, rows[i].begins, got);
        }
    }
}

static void test_limits(void **state)
{
    char got[4096];
    (void)state;
    /* 16 levels are the root and 15 lists; the text inside would be the 17th */
    read_text(PS_SLICE_LIT("a: [[[[[[[[[[[[[[]]]]]]]]]]]]]]"), got, sizeof got);
    assert_string_equal(strchr(got, '\n'), "\n");
    read_text(PS_SLICE_LIT("a: [[[[[[[[[[[[[[[[[]]]]]]]]]]]]]]]]]"), got, sizeof got);
    assert_non_null(strstr(got, "f:1: a[0][0][0][0][0][0][0][0][0][0][0][0][0][0][0]: expected at "
                                "most 16 levels, found more"));

    char *many = malloc(PS_CONFIG_FILE_MAX + 2);
    assert_non_null(many);
    size_t len = 0;
    memcpy(many, "a: [", 4);
    for (len = 4; len < 2 * PS_CONFIG_NODES_MAX + 4; len += 2) {
        memcpy(many + len, "1,", 2);
    }
    many[len++] = ']';
    read_text(ps_slice(many, len), got, sizeof got);
    assert_string_equal(got, "\nf:1: a[19998]: expected at most 20000 values, found more\n");

    memset(many, '#', PS_CONFIG_FILE_MAX + 1);
    read_text(ps_slice(many, PS_CONFIG_FILE_MAX), got, sizeof got);
    assert_string_equal(got, "{@1}\n");
    read_text(ps_slice(many, PS_CONFIG_FILE_MAX + 1), got, sizeof got);
    assert_string_equal(got, "\nf: expected at most 1048576 bytes, found more\n");
    free(many);
}

/* Every beginning of a file is read to its end and no further, and either gives a tree or a
 * mistake. */
static void test_every_prefix(void **state)
{
    static const char whole[] =
        "a: \"x\\n${Y}\"\nb:\n  - { c: [1, 'd'], e: ~ }\n  - |\n   text\nf: &g !h *i\n";
    (void)state;
    for (size_t len = 0; len < sizeof whole; len++) {
        char *cut = malloc(len > 0 ? len : 1);
        char got[4096];
        assert_non_null(cut);
        memcpy(cut, whole, len);
        read_text(ps_slice(cut, len), got, sizeof got);
        free(cut);
    }
}

static void test_wiping(void **state)
{
    struct ps_arena arena;
    struct ps_config_errors errors;
    (void)state;
    ps_arena_init(&arena, 1 << 20);
    ps_config_errors_init(&errors);
    struct ps_yaml_node *root =
        ps_yaml_read(PS_SLICE_LIT("a: [ secret ]\nb: secret\n"), "f", &arena, &errors);
    assert_non_null(root);
    assert_string_equal(ps_yaml_get(root, "b")->text.ptr, "secret");
    ps_yaml_wipe(root);
    assert_memory_equal(ps_yaml_get(root, "b")->text.ptr, "\0\0\0\0\0\0", 6);
    assert_memory_equal(ps_yaml_get(root, "a")->first->text.ptr, "\0\0\0\0\0\0", 6);
    ps_config_errors_deinit(&errors);
    ps_arena_deinit(&arena);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_trees),  cmocka_unit_test(test_syntax),
        cmocka_unit_test(test_limits), cmocka_unit_test(test_every_prefix),
        cmocka_unit_test(test_wiping),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

/* SPDX-License-Identifier: Apache-2.0 */
#include "json_feeding.h"

#include "penstock/base/mem.h"

/* What is reported, in which order, and which duplicates are refused. Every text is cut every way.
 */

#define PATHS_MAX 8

struct watch {
    struct ps_json_path paths[PATHS_MAX];
    const char *text;
    const char *log; /* see json_feeding.h */
};

static const struct watch watches[] = {
    /* Members of the top object; what is not watched passes unseen. */
    {{{"model", true}}, "{\"model\":\"gpt\",\"n\":1}", "model#0=\"gpt\" "},
    {{{"model", true}}, "{\"n\":1,\"models\":2,\"mode\":3,\"Model\":4,\" model\":5}", ""},
    {{{"a", false},
      {"b", false},
      {"c", false},
      {"d", false},
      {"e", false},
      {"f", false},
      {"g", false}},
     "{\"g\":{},\"f\":[],\"e\":\"s\",\"d\":-1.5e3,\"c\":true,\"b\":false,\"a\":null}",
     "g#0={} f#0=[] e#0=\"s\" d#0=-1.5e3 c#0=true b#0=false a#0=null "},
    {{{"n", false}, {"m", false}}, "{ \"n\" : 12 , \"m\" : 3\n}", "n#0=12 m#0=3 "},
    {{{"s", false}}, "{\"s\":\"a\\n\"}", "s#0=~\"a\\n\" "},
    {{{"s", false}}, "{\"s\":\"a\",\"\\u0074\":1}", "s#0=\"a\" "},
    /* An escape in a key or in another value leaves no mark on the next. */
    {{{"a", false}, {"b", false}}, "{\"\\u0061\":\"x\",\"b\":\"\\n\"}", "a#0=\"x\" b#0=~\"\\n\" "},
    /* The same name elsewhere is another thing. */
    {{{"model", true}},
     "{\"x\":{\"model\":1},\"y\":[{\"model\":2}],\"model\":3,\"z\":\"model\"}",
     "model#0=3 "},
    {{{"model", true}}, "[{\"model\":1}]", ""},
    {{{"model", true}}, "\"model\"", ""},
    /* Deeper paths. */
    {{{"a.b", false}}, "{\"a\":{\"b\":1,\"c\":{\"b\":2}},\"b\":3}", "a.b#0=1 "},
    {{{"a.b.c", false}}, "{\"a\":{\"b\":{\"c\":[1,2]}}}", "a.b.c#0=[1,2] "},
    {{{"a.b", false}}, "{\"a\":1}", ""},
    {{{"a.b", false}}, "{\"a\":[{\"b\":1}]}", ""},
    {{{"a.b", false}}, "{\"a\":{\"b\":1},\"x\":{\"a\":{\"b\":2}}}", "a.b#0=1 "},
    {{{"a.b", false}, {"a.c", false}, {"a", false}},
     "{\"a\":{\"c\":1,\"b\":2}}",
     "a.c#0=1 a.b#0=2 a#0={\"c\":1,\"b\":2} "},
    /* Stars. */
    {{{"a.*", false}},
     "{\"a\":[1,\"x\",[],{},null]}",
     "a.*#0=1 a.*#1=\"x\" a.*#2=[] a.*#3={} a.*#4=null "},
    {{{"a.*", false}}, "{\"a\":{\"0\":1,\"*\":2}}", ""},
    {{{"a.*.b", false}}, "{\"a\":[{\"b\":1},{\"c\":2},{\"b\":3}]}", "a.*.b#0=1 a.*.b#2=3 "},
    {{{"a.*.b", false}}, "{\"a\":[7,{\"b\":1},[{\"b\":2}]]}", "a.*.b#1=1 "},
    {{{"a.*.b.*.c", false}},
     "{\"a\":[{\"b\":[{},{\"c\":1}]},{\"b\":[{\"c\":2},{\"c\":3}]}]}",
     "a.*.b.*.c#1=1 a.*.b.*.c#0=2 a.*.b.*.c#1=3 "},
    {{{"a.*.b.*", false}, {"a.*.c", false}},
     "{\"a\":[{\"b\":[1,2]},{\"b\":[3],\"c\":4}]}",
     "a.*.b.*#0=1 a.*.b.*#1=2 a.*.b.*#0=3 a.*.c#1=4 "},
    {{{"a.*.*", false}}, "{\"a\":[[1],[2,3]]}", "a.*.*#0=1 a.*.*#0=2 a.*.*#1=3 "},
    {{{"*", false}}, "[1,[2],{\"a\":3}]", "*#0=1 *#1=[2] *#2={\"a\":3} "},
    {{{"*.a", false}, {"*", false}},
     "[{\"a\":1},{\"a\":2}]",
     "*.a#0=1 *#0={\"a\":1} *.a#1=2 *#1={\"a\":2} "},
    {{{"choices.*.delta.content", false}, {"choices.*.finish_reason", false}, {"usage", false}},
     "{\"choices\":[{\"index\":0,\"delta\":{\"content\":\"hi\"},\"finish_reason\":null}],"
     "\"usage\":{\"total_tokens\":3}}",
     "choices.*.delta.content#0=\"hi\" choices.*.finish_reason#0=null "
     "usage#0={\"total_tokens\":3} "},
    /* The whole text. */
    {{{"", false}}, " {\"a\":[1]} ", "#0={\"a\":[1]} "},
    {{{"", false}, {"a", false}}, "{\"a\":1}", "a#0=1 #0={\"a\":1} "},
    {{{"", false}}, "[]", "#0=[] "},
    {{{"", false}}, "\"s\"", "#0=\"s\" "},
    {{{"", false}}, "-12", "#0=-12 "},
    {{{"", false}}, "-12 ", "#0=-12 "},
    {{{"", false}}, "true", "#0=true "},
    /* Keys in escapes; keys that only look alike. */
    {{{"model", false}}, "{\"mod\\u0065l\":1}", "model#0=1 "},
    {{{"model", false}}, "{\"\\u006D\\u006f\\u0064\\u0065\\u006C\":1}", "model#0=1 "},
    {{{"model", false}}, "{\"model\\u0000\":1,\"\\u0000model\":2,\"model\\n\":3}", ""},
    {{{"model", false}}, "{\"mod\\u00e5l\":1,\"model\\ud800\":2,\"mo\\udc00del\":3}", ""},
    {{{"a/b", false}}, "{\"a\\/b\":1}", "a/b#0=1 "},
    {{{"a\"b", false}}, "{\"a\\\"b\":1}", "a\"b#0=1 "},
    {{{"\t", false}}, "{\"\\t\":1,\"\\u0009\":2}", "\t#0=1 \t#0=2 "},
    {{{"\xc3\xa9", false}},
     "{\"\xc3\xa9\":1,\"\\u00e9\":2,\"e\xcc\x81\":3}",
     "\xc3\xa9#0=1 \xc3\xa9#0=2 "},
    {{{"\xf0\x9f\x98\x80", false}},
     "{\"\xf0\x9f\x98\x80\":1,\"\\ud83d\\ude00\":2,\"\\ud83d\":3,\"\\ud83d\\n\\ude00\":4,"
     "\"\\ud83dx\":5,\"\\ud83d\\ud83d\\ude00\":6}",
     "\xf0\x9f\x98\x80#0=1 \xf0\x9f\x98\x80#0=2 "},
    {{{"x\xf0\x9f\x98\x80", false}, {"\n\xf0\x9f\x98\x80", false}},
     "{\"\\ud83dx\\ude00\":1,\"\\ud83d\\n\\ude00\":2,\"x\\ud83d\\ude00\":3}",
     "x\xf0\x9f\x98\x80#0=3 "},
    {{{"\xef\xbf\xbd", false}}, "{\"\\ud800\":1,\"\\udc00\":2,\"\\ufffd\":3}", "\xef\xbf\xbd#0=3 "},
    {{{"a", false}}, "{\"\":1,\"aa\":2,\"a\":3}", "a#0=3 "},
    {{{"a.b", false}}, "{\"a.b\":1}", ""},
    /* Keys of the longest length, one more, and far more. */
    {{{"abcdefghijklmnopqrstuvwxyzabcdefghijklmnopqrstuv", false}},
     "{\"abcdefghijklmnopqrstuvwxyzabcdefghijklmnopqrstuv\":1,"
     "\"abcdefghijklmnopqrstuvwxyzabcdefghijklmnopqrstuvw\":2,"
     "\"\\u0061bcdefghijklmnopqrstuvwxyzabcdefghijklmnopqrstuv\":3,"
     "\"\\u0061bcdefghijklmnopqrstuvwxyzabcdefghijklmnopqrstuvw\":4,"
     "\"abcdefghijklmnopqrstuvwxyzabcdefghijklmnopqrstuvwxyzabcdefghijklmnopqrstuvwxyz\":5}",
     "abcdefghijklmnopqrstuvwxyzabcdefghijklmnopqrstuv#0=1 "
     "abcdefghijklmnopqrstuvwxyzabcdefghijklmnopqrstuv#0=3 "},
    /* Same length, other name. */
    {{{"stop", false}, {"user", false}, {"tool", false}},
     "{\"user\":1,\"seed\":2,\"stop\":3,\"tool\":4}",
     "user#0=1 stop#0=3 tool#0=4 "},
    /* Duplicates of what is not unique are all reported. */
    {{{"a", false}}, "{\"a\":1,\"a\":2}", "a#0=1 a#0=2 "},
    {{{"a.b", false}}, "{\"a\":{\"b\":1},\"a\":{\"b\":2}}", "a.b#0=1 a.b#0=2 "},
    /* The same name in different objects is no duplicate. */
    {{{"a.*.b", true}},
     "{\"a\":[{\"b\":1},{\"b\":2},{\"b\":3}]}",
     "a.*.b#0=1 a.*.b#1=2 a.*.b#2=3 "},
    {{{"a", true}, {"b.a", true}},
     "{\"a\":1,\"b\":{\"a\":2},\"c\":{\"a\":1,\"a\":1}}",
     "a#0=1 b.a#0=2 "},
    {{{"a", true}}, "{\"b\":1,\"b\":2,\"a\":3}", "a#0=3 "},
    /* As deep as paths go. */
    {{{"a.a.a.a.a.a.a.a.a.a.a.a.a.a.a.a", true}},
     "{\"a\":{\"a\":{\"a\":{\"a\":{\"a\":{\"a\":{\"a\":{\"a\":{\"a\":{\"a\":{\"a\":{\"a\":{\"a\":"
     "{\"a\":{\"a\":{\"a\":{\"a\":1}}}}}}}}}}}}}}}}}",
     "a.a.a.a.a.a.a.a.a.a.a.a.a.a.a.a#0={\"a\":1} "},
    {{{"*.*.*.*.*.*.*.*.*.*.*.*.*.*.*.*", false}},
     "[[[[[[[[[[[[[[[[0,[1]]]]]]]]]]]]]]]]]",
     "*.*.*.*.*.*.*.*.*.*.*.*.*.*.*.*#0=0 *.*.*.*.*.*.*.*.*.*.*.*.*.*.*.*#1=[1] "},
};

static size_t count_paths(const struct ps_json_path *paths)
{
    size_t count = 0;
    while (count < PATHS_MAX && paths[count].path != NULL) {
        count++;
    }
    return count;
}

/* With the paths compiled, all ways. */
static void feed_watched(struct feeding *f, const struct ps_json_path *paths)
{
    struct ps_json_paths *compiled = ps_json_paths_new(paths, count_paths(paths));
    assert_non_null(compiled);
    f->names = paths;
    f->paths = compiled;
    feed_all_ways(f);
    ps_json_paths_free(compiled);
    f->paths = NULL;
}

static void test_reports(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof(watches) / sizeof(watches[0]); i++) {
        struct feeding f = {.limits = {64, 1000}, .text = ps_slice_cstr(watches[i].text)};
        feed_watched(&f, watches[i].paths);
        if (f.error != PS_JSON_OK || strcmp(f.log, watches[i].log) != 0) {
            fail_msg("%s: error %d\nexpected %s\nfound    %s", watches[i].text, (int)f.error,
                     watches[i].log, f.log);
        }
        assert_int_equal(f.duplicate, -1);
    }
}

struct duplicate {
    struct ps_json_path paths[PATHS_MAX];
    const char *text;
    uint64_t offset; /* of the second key */
    int path;
};

static const struct duplicate duplicates[] = {
    {{{"model", true}}, "{\"model\":1,\"model\":1}", 11, 0},
    {{{"model", true}}, "{\"model\":1,\"x\":0,\"mod\\u0065l\":1}", 17, 0},
    {{{"model", true}}, "{\"\\u006dodel\":1,\"model\":1}", 16, 0},
    {{{"x", false}, {"model", true}}, "{\"x\":1,\"x\":2,\"model\":1,\"model\":2}", 23, 1},
    {{{"a.b", true}}, "{\"a\":{\"b\":1,\"b\":2}}", 12, 0},
    {{{"a.*.b", true}}, "{\"a\":[{\"b\":1},{\"b\":2,\"b\":3}]}", 21, 0},
    {{{"*.b", true}}, "[{\"b\":1,\"b\":3}]", 8, 0},
    /* By repeating a name on the way. */
    {{{"a.b", true}}, "{\"a\":{\"b\":1},\"a\":{\"b\":2}}", 13, 0},
    {{{"a.b", true}}, "{\"a\":{},\"a\":{\"b\":2}}", 8, 0},
    {{{"z", false}, {"a.y", false}, {"a.*.b", true}}, "{\"a\":[],\"a\":[{\"b\":2}]}", 8, 2},
    {{{"a", false}, {"a.b", true}}, "{\"a\":1,\"a\":2}", 7, 1},
    {{{"a", true}, {"a.b", true}}, "{\"a\":1,\"a\":2}", 7, 0},
    {{{"\xf0\x9f\x98\x80", true}}, "{\"\xf0\x9f\x98\x80\":1,\"\\ud83d\\ude00\":2}", 10, 0},
};

static void test_refuses_duplicates(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof(duplicates) / sizeof(duplicates[0]); i++) {
        struct feeding f = {.limits = {64, 1000}, .text = ps_slice_cstr(duplicates[i].text)};
        feed_watched(&f, duplicates[i].paths);
        if (f.error != PS_JSON_DUPLICATE || f.offset != duplicates[i].offset ||
            f.duplicate != duplicates[i].path) {
            fail_msg("%s: error %d at %d, path %d", duplicates[i].text, (int)f.error, (int)f.offset,
                     f.duplicate);
        }
    }
}

/* What is watched below the watched depth must not write beyond the arrays of the state. */
static void test_deep_text_below_paths(void **state)
{
    (void)state;
    static const struct ps_json_path paths[PATHS_MAX] = {{"*.*", false}, {"a.a", true}};
    char text[2 * PS_JSON_MAX_DEPTH + 1];
    memset(text, '[', PS_JSON_MAX_DEPTH);
    memset(text + PS_JSON_MAX_DEPTH, ']', PS_JSON_MAX_DEPTH);
    text[2 * PS_JSON_MAX_DEPTH] = '\0';
    struct feeding f = {.limits = {64, 1000}, .text = ps_slice_cstr(text)};
    feed_watched(&f, paths);
    assert_int_equal(f.error, PS_JSON_OK);
    assert_int_equal(f.values, 1);
}

static void test_stops(void **state)
{
    (void)state;
    static const struct ps_json_path paths[PATHS_MAX] = {{"a.*", false}, {"", false}};
    static const uint64_t ends[] = {7, 11, 14, 16, 20};
    static const char text[] = "{\"a\":[1,\"s\",[],0 ]} ";
    for (int i = 0; i < 5; i++) {
        struct feeding f = {.limits = {64, 1000}, .text = ps_slice_cstr(text), .stop_after = i + 1};
        feed_watched(&f, paths);
        assert_int_equal(f.error, PS_JSON_STOPPED);
        assert_int_equal(f.values, i + 1);
        assert_int_equal(f.offset, i < 4 ? ends[i] : 19);
    }
    /* A number at the top is reported, and stopped at, in the end. */
    struct feeding f = {.limits = {64, 1000}, .text = ps_slice_cstr("12"), .stop_after = 1};
    feed_watched(&f, paths);
    assert_int_equal(f.error, PS_JSON_STOPPED);
    assert_int_equal(f.offset, 2);
}

static void test_watching_without_listening(void **state)
{
    (void)state;
    static const struct ps_json_path paths[] = {{"a", true}};
    struct ps_json_paths *compiled = ps_json_paths_new(paths, 1);
    const struct ps_json_limits limits = {64, 1000};
    assert_int_equal(
        ps_json_scan_text(PS_SLICE_LIT("{\"a\":1,\"b\":2}"), compiled, &limits, NULL, NULL),
        PS_JSON_OK);
    assert_int_equal(
        ps_json_scan_text(PS_SLICE_LIT("{\"a\":1,\"a\":2}"), compiled, &limits, NULL, NULL),
        PS_JSON_DUPLICATE);
    ps_json_paths_free(compiled);
    /* No paths at all is a legal set. */
    compiled = ps_json_paths_new(NULL, 0);
    assert_non_null(compiled);
    assert_int_equal(
        ps_json_scan_text(PS_SLICE_LIT("{\"a\":[1,{\"a\":2}]}"), compiled, &limits, NULL, NULL),
        PS_JSON_OK);
    ps_json_paths_free(compiled);
}

static void test_malformed_paths(void **state)
{
    (void)state;
    static const char *const malformed[] = {
        ".",
        ".a",
        "a.",
        "a..b",
        "a.*.",
        "abcdefghijklmnopqrstuvwxyzabcdefghijklmnopqrstuvw",
        "a.a.a.a.a.a.a.a.a.a.a.a.a.a.a.a.a",
    };
    for (size_t i = 0; i < sizeof(malformed) / sizeof(malformed[0]); i++) {
        const struct ps_json_path paths[] = {{"a", false}, {malformed[i], false}};
        assert_null(ps_json_paths_new(paths, 2));
    }
    const struct ps_json_path twice[] = {{"a.*", false}, {"b", true}, {"a.*", true}};
    assert_null(ps_json_paths_new(twice, 3));
    ps_json_paths_free(NULL);
}

static void test_as_many_paths_as_fit(void **state)
{
    (void)state;
    char names[PS_JSON_MAX_PATHS + 1][16];
    struct ps_json_path paths[PS_JSON_MAX_PATHS + 1];
    char text[1024] = "{";
    for (int i = 0; i <= PS_JSON_MAX_PATHS; i++) {
        snprintf(names[i], sizeof(names[i]), "k%d", i);
        paths[i] = (struct ps_json_path){names[i], true};
    }
    assert_null(ps_json_paths_new(paths, PS_JSON_MAX_PATHS + 1));
    struct ps_json_paths *compiled = ps_json_paths_new(paths, PS_JSON_MAX_PATHS);
    assert_non_null(compiled);
    for (int i = PS_JSON_MAX_PATHS; i >= 0; i--) {
        snprintf(text + strlen(text), sizeof(text) - strlen(text), "\"k%d\":%d,", i, i);
    }
    size_t len = strlen(text);
    /* Each is found; each one's duplicate is seen, and as its own. */
    for (int i = 0; i < PS_JSON_MAX_PATHS; i++) {
        snprintf(text + len, sizeof(text) - len, "\"k%d\":0}", i);
        struct feeding f = {
            .names = paths, .paths = compiled, .limits = {64, 1000}, .text = ps_slice_cstr(text)};
        feed_cut(&f, 0, 0, 7);
        assert_int_equal(f.error, PS_JSON_DUPLICATE);
        assert_int_equal(f.duplicate, i);
        assert_int_equal(f.offset, len);
        assert_int_equal(f.values, PS_JSON_MAX_PATHS);
    }
    ps_json_paths_free(compiled);
}

static void test_memory_short(void **state)
{
    (void)state;
    const struct ps_json_path paths[] = {{"a", false}};
    ps_mem_fail_after(0);
    assert_null(ps_json_paths_new(paths, 1));
    ps_mem_fail_after(-1);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_reports),
        cmocka_unit_test(test_refuses_duplicates),
        cmocka_unit_test(test_deep_text_below_paths),
        cmocka_unit_test(test_stops),
        cmocka_unit_test(test_watching_without_listening),
        cmocka_unit_test(test_malformed_paths),
        cmocka_unit_test(test_as_many_paths_as_fit),
        cmocka_unit_test(test_memory_short),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

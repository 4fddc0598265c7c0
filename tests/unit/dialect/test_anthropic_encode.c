/* SPDX-License-Identifier: Apache-2.0 */
#include "rig.h"

/*
 * Bodies in, bodies out: what a request of OpenAI's family becomes for Anthropic's API, what one of
 * Anthropic's own becomes through the neutral form, and what is refused with which path.
 */

#define JSON "application/json"

struct row {
    const char *body;
    const char *expected; /* NULL: refused */
    const char *dropped;  /* or the path at fault */
    enum ps_fault_kind kind;
};

static const struct ps_dialect_settings by_budget = {.max_tokens = 1000,
                                                     .thinking = PS_SLICE_INIT("budget")};

struct how {
    enum ps_family family;
    enum ps_operation operation;
    const struct ps_dialect_settings *settings;
    enum ps_drop_policy drop;
    const char *base_path;
};

static void read_body(struct rig *rig, const struct how *how, const char *body)
{
    struct ps_reader_options options = {.operation = how->operation};
    const struct cut cut = {.shift = 7};

    rig->request.family = how->family;
    rig->request.operation = how->operation;
    rig->request.content_type = PS_SLICE_LIT(JSON);
    if (rig_read(rig, &options, ps_slice_cstr(body), &cut) != 0) {
        fail_msg("the reader refused %s: %s", body, rig->fault.message);
    }
}

static void run_row(const struct how *how, const struct row *row)
{
    struct ps_encode_options options = {
        .model = PS_SLICE_LIT("m"),
        .drop = how->drop,
        .settings = how->settings,
        .base_path = how->base_path != NULL ? ps_slice_cstr(how->base_path) : PS_SLICE_NONE,
    };
    const struct ps_neutral *neutral;
    struct ps_encoded encoded;
    struct rig rig;
    int rc;

    rig_init(&rig);
    read_body(&rig, how, row->body);
    rc = ps_dialect_neutral(&rig.request, &rig.arena, &neutral, &rig.fault);
    /* Its own family would be relayed. */
    rig.request.family = PS_FAMILY_OPENAI;
    if (rc == 0) {
        rc = ps_dialect_encode(ps_dialect_find("anthropic"), &rig.request, &options, &rig.arena,
                               &encoded, &rig.fault);
    }
    if (row->expected == NULL) {
        if (rc == 0 || rig.fault.kind != row->kind || strcmp(rig.fault.param, row->dropped) != 0) {
            fail_msg("%s: expected %s at %s, found %d %s at %s: %s", row->body,
                     ps_fault_name(row->kind), row->dropped, rc, ps_fault_name(rig.fault.kind),
                     rig.fault.param, rig.fault.message);
        }
    } else {
        char *text;

        if (rc != 0) {
            fail_msg("%s: %s (%s)", row->body, rig.fault.message, rig.fault.param);
        }
        text = rig_join(&encoded);
        if (strcmp(text, row->expected) != 0) {
            fail_msg("%s\nexpected %s\nfound    %s", row->body, row->expected, text);
        }
        free(text);
        assert_int_equal(encoded.dropped.len, row->dropped != NULL ? strlen(row->dropped) : 0);
        if (row->dropped != NULL) {
            assert_memory_equal(encoded.dropped.ptr, row->dropped, encoded.dropped.len);
        }
        assert_false(encoded.relayed);
        assert_int_equal(encoded.header_count, 1);
        assert_true(ps_slice_eq_cstr(encoded.headers[0].name, "anthropic-version"));
    }
    rig_deinit(&rig);
}

static void run(const struct how *how, const struct row *rows, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        run_row(how, &rows[i]);
    }
}
#define RUN(how, rows) run(how, rows, sizeof(rows) / sizeof((rows)[0]))

static const struct how from_openai = {.family = PS_FAMILY_OPENAI, .operation = PS_OP_CHAT};
static const struct how from_openai_budget = {
    .family = PS_FAMILY_OPENAI, .operation = PS_OP_CHAT, .settings = &by_budget};
static const struct how from_anthropic = {.family = PS_FAMILY_ANTHROPIC, .operation = PS_OP_CHAT};

#define USER "{\"role\":\"user\",\"content\":\"hi\"}"
#define HEAD "{\"model\":\"m\",\"messages\":[" USER "]"
#define ASK  "{\"messages\":[" USER "]"

static void test_conversation(void **state)
{
    static const struct row rows[] = {
        {"{\"messages\":[{\"role\":\"system\",\"content\":\"a\\u00e4\"},{\"role\":\"developer\","
         "\"content\":[{\"type\":\"text\",\"text\":\"b\"}]}," USER "],\"stream\":true}",
         "{\"model\":\"m\",\"system\":\"a\\u00e4\\n\\nb\",\"messages\":[" USER
         "],\"max_tokens\":4096,\"stream\":true}",
         NULL, 0},
        /* neighbours of one side make one turn; a system message in the middle is marked */
        {"{\"messages\":[" USER "," USER ",{\"role\":\"assistant\",\"content\":\"x\"},"
         "{\"role\":\"assistant\",\"content\":\"y\"},{\"role\":\"system\",\"content\":\"be "
         "brief\"}," USER "],\"max_tokens\":7}",
         "{\"model\":\"m\",\"messages\":[{\"role\":\"user\",\"content\":[{\"type\":\"text\","
         "\"text\":\"hi\"},{\"type\":\"text\",\"text\":\"hi\"}]},{\"role\":\"assistant\","
         "\"content\":[{\"type\":\"text\",\"text\":\"x\"},{\"type\":\"text\",\"text\":\"y\"}]},"
         "{\"role\":\"user\",\"content\":[{\"type\":\"text\",\"text\":\"<system>\\nbe "
         "brief\\n</system>\"},{\"type\":\"text\",\"text\":\"hi\"}]}],\"max_tokens\":7}",
         NULL, 0},
        /* what says nothing goes; what there is no word for is named */
        {"{\"messages\":[{\"role\":\"user\",\"name\":\"bob\",\"content\":\"hi\"},"
         "{\"role\":\"assistant\",\"content\":\"\"},{\"role\":\"user\",\"content\":[{\"type\":"
         "\"text\",\"text\":\"\"},{\"type\":\"text\",\"text\":\"x\"}]}],"
         "\"max_completion_tokens\":8}",
         "{\"model\":\"m\",\"messages\":[{\"role\":\"user\",\"content\":[{\"type\":\"text\","
         "\"text\":\"hi\"},{\"type\":\"text\",\"text\":\"x\"}]}],\"max_tokens\":8}",
         "messages[0].name", 0},
        {"{\"messages\":[{\"role\":\"system\",\"content\":\"x\"}]}", NULL, "messages",
         PS_FAULT_BAD_FIELD},
        /* marks of what is to be cached stay where they are */
        {"{\"messages\":[{\"role\":\"system\",\"content\":[{\"type\":\"text\",\"text\":\"s\","
         "\"cache_control\":{\"type\":\"ephemeral\"}}]}," USER "]}",
         "{\"model\":\"m\",\"system\":[{\"type\":\"text\",\"text\":\"s\",\"cache_control\":"
         "{\"type\":\"ephemeral\"}}],\"messages\":[" USER "],\"max_tokens\":4096}",
         NULL, 0},
        {"{\"messages\":[{\"role\":\"user\",\"content\":[{\"type\":\"image_url\",\"image_url\":"
         "{\"url\":\"data:image/png;base64,iVBORw0KGgo=\",\"detail\":\"high\"}},{\"type\":"
         "\"image_url\",\"image_url\":{\"url\":\"https:\\/\\/a\\/b.png\"}}]}]}",
         "{\"model\":\"m\",\"messages\":[{\"role\":\"user\",\"content\":[{\"type\":\"image\","
         "\"source\":{\"type\":\"base64\",\"media_type\":\"image/png\",\"data\":\"iVBORw0KGgo=\"}}"
         ",{\"type\":\"image\",\"source\":{\"type\":\"url\",\"url\":\"https:\\/\\/a\\/b.png\"}}]}],"
         "\"max_tokens\":4096}",
         "messages[0].content[0].detail", 0},
        {"{\"messages\":[{\"role\":\"user\",\"content\":[{\"type\":\"file\",\"file\":{"
         "\"filename\":\"a.pdf\",\"file_data\":\"data:application/pdf;base64,JVBERg==\"}},"
         "{\"type\":\"file\",\"file\":{\"file_data\":\"data:text/plain;base64,w6Q=\"}}]}]}",
         "{\"model\":\"m\",\"messages\":[{\"role\":\"user\",\"content\":[{\"type\":\"document\","
         "\"source\":{\"type\":\"base64\",\"media_type\":\"application/pdf\",\"data\":"
         "\"JVBERg==\"},\"title\":\"a.pdf\"},{\"type\":\"document\",\"source\":{\"type\":\"text\","
         "\"media_type\":\"text/plain\",\"data\":\"\xc3\xa4\"}}]}],\"max_tokens\":4096}",
         NULL, 0},
        {"{\"messages\":[{\"role\":\"user\",\"content\":[{\"type\":\"image_url\",\"image_url\":"
         "{\"url\":\"data:image/tiff;base64,AAAA\"}}]}]}",
         NULL, "messages[0].content[0]", PS_FAULT_BAD_FIELD},
        {"{\"messages\":[{\"role\":\"user\",\"content\":[{\"type\":\"input_audio\","
         "\"input_audio\":{\"data\":\"AAAA\",\"format\":\"wav\"}}]}]}",
         NULL, "messages[0].content[0]", PS_FAULT_UNSUPPORTED_OPERATION},
        {"{\"messages\":[{\"role\":\"user\",\"content\":[{\"type\":\"file\",\"file\":{"
         "\"file_id\":\"file-1\"}}]}]}",
         NULL, "messages[0].content[0].file_id", PS_FAULT_UNSUPPORTED_OPERATION},
    };

    (void)state;
    RUN(&from_openai, rows);
}

#define CALL(id)                                                                                   \
    "{\"id\":\"" id "\",\"type\":\"function\",\"function\":{\"name\":\"f\",\"arguments\":"         \
    "\"{\\\"a\\\": 1.0}\"}}"
#define USE(id) "{\"type\":\"tool_use\",\"id\":\"" id "\",\"name\":\"f\",\"input\":{\"a\": 1.0}}"

static void test_tools(void **state)
{
    static const struct row rows[] = {
        {ASK ",\"tools\":[{\"type\":\"function\",\"function\":{\"name\":\"f\",\"description\":"
             "\"d\",\"parameters\":{\"type\":\"object\",\"x-y\":1e400},\"strict\":true}},"
             "{\"type\":\"function\",\"function\":{\"name\":\"g\"}},{\"type\":\"function\","
             "\"function\":{\"name\":\"h\",\"parameters\":{\"properties\":{},\"x\":1}}}],\"tool_"
             "choice\":"
             "\"required\",\"parallel_tool_calls\":false}",
         HEAD ",\"tools\":[{\"name\":\"f\",\"description\":\"d\",\"input_schema\":{\"type\":"
              "\"object\",\"x-y\":1e400},\"strict\":true},{\"name\":\"g\",\"input_schema\":"
              "{\"type\":\"object\",\"properties\":{}}},{\"name\":\"h\",\"input_schema\":{\"type\":"
              "\"object\",\"properties\":{},\"x\":1}}],\"tool_choice\":{\"type\":\"any\","
              "\"disable_parallel_tool_use\":true},\"max_tokens\":4096}",
         NULL, 0},
        {ASK ",\"tools\":[{\"type\":\"function\",\"function\":{\"name\":\"f\"}}],"
             "\"tool_choice\":{\"type\":\"function\",\"function\":{\"name\":\"f\"}}}",
         HEAD ",\"tools\":[{\"name\":\"f\",\"input_schema\":{\"type\":\"object\",\"properties\":"
              "{}}}],\"tool_choice\":{\"type\":\"tool\",\"name\":\"f\"},\"max_tokens\":4096}",
         NULL, 0},
        {ASK ",\"tools\":[{\"type\":\"function\",\"function\":{\"name\":\"f\"}}],"
             "\"tool_choice\":\"none\",\"parallel_tool_calls\":false}",
         HEAD ",\"tools\":[{\"name\":\"f\",\"input_schema\":{\"type\":\"object\",\"properties\":"
              "{}}}],\"tool_choice\":{\"type\":\"none\"},\"max_tokens\":4096}",
         NULL, 0},
        /* a round of two calls; ids that would be refused become others, for call and result */
        {"{\"messages\":[" USER
         ",{\"role\":\"assistant\",\"content\":\"x\",\"tool_calls\":[" CALL("call_1") "," CALL(
             "f:0") "]},{\"role\":\"tool\",\"tool_call_id\":\"f:0\","
                    "\"content\":\"r0\"},{\"role\":\"tool\",\"tool_call_id\":\"call_1\","
                    "\"content\":["
                    "{\"type\":\"text\",\"text\":\"p\"},{\"type\":\"text\",\"text\":\"q\"}]}," USER
                    "]}",
         "{\"model\":\"m\",\"messages\":[" USER ",{\"role\":\"assistant\",\"content\":[{\"type\":"
         "\"text\",\"text\":\"x\"}," USE("call_1") "," USE(
             "f_0_bc59b5ff8184") "]},{\"role\":\"user\","
                                 "\"content\":[{\"type\":\"tool_result\",\"tool_use_id\":\"f_0_"
                                 "bc59b5ff8184\",\"content\":\"r0\"},"
                                 "{\"type\":\"tool_result\",\"tool_use_id\":\"call_1\",\"content\":"
                                 "[{\"type\":\"text\","
                                 "\"text\":\"p\"},{\"type\":\"text\",\"text\":\"q\"}]},{\"type\":"
                                 "\"text\",\"text\":"
                                 "\"hi\"}]}],\"max_tokens\":4096}",
         NULL, 0},
        {ASK ",\"tools\":[{\"type\":\"custom\",\"custom\":{\"name\":\"c\"}}]}", NULL,
         "tools[0].type", PS_FAULT_UNSUPPORTED_OPERATION},
    };

    (void)state;
    RUN(&from_openai, rows);
}

static void test_answering(void **state)
{
    static const struct row rows[] = {
        {ASK ",\"temperature\":1.5,\"top_p\":0.90,\"stop\":\"\\n\",\"user\":\"u\\\"1\","
             "\"service_tier\":\"default\"}",
         HEAD ",\"max_tokens\":4096,\"temperature\":1,\"top_p\":0.90,\"service_tier\":"
              "\"standard_only\",\"stop_sequences\":[\"\\n\"],\"metadata\":{\"user_id\":"
              "\"u\\\"1\"}}",
         "temperature", 0},
        {ASK ",\"seed\":1,\"presence_penalty\":1,\"logit_bias\":{\"1\":2},\"n\":1,\"store\":true,"
             "\"service_tier\":\"flex\",\"new_thing\":{}}",
         HEAD ",\"max_tokens\":4096}",
         "service_tier, seed, presence_penalty, logit_bias, store, new_thing", 0},
        {ASK ",\"response_format\":{\"type\":\"json_schema\",\"json_schema\":{\"name\":\"n\","
             "\"strict\":true,\"schema\":{\"type\":\"object\"}}},\"reasoning_effort\":\"minimal\"}",
         HEAD ",\"output_config\":{\"effort\":\"low\",\"format\":{\"type\":\"json_schema\","
              "\"schema\":{\"type\":\"object\"}}},\"max_tokens\":4096}",
         NULL, 0},
        {ASK ",\"response_format\":{\"type\":\"json_object\"}}",
         "{\"model\":\"m\",\"system\":\"Answer with one valid JSON object and nothing else.\","
         "\"messages\":[" USER "],\"max_tokens\":4096}",
         "response_format", 0},
        {ASK ",\"reasoning_effort\":\"none\"}",
         HEAD ",\"thinking\":{\"type\":\"disabled\"},\"max_tokens\":4096}", NULL, 0},
        {ASK ",\"n\":2}", NULL, "n", PS_FAULT_UNSUPPORTED_OPERATION},
        {ASK ",\"logprobs\":true}", NULL, "logprobs", PS_FAULT_UNSUPPORTED_OPERATION},
        {ASK ",\"web_search_options\":{}}", NULL, "web_search_options",
         PS_FAULT_UNSUPPORTED_OPERATION},
    };
    static const struct row budget[] = {
        {ASK ",\"reasoning_effort\":\"low\",\"temperature\":0.5,\"top_p\":0.5}",
         HEAD ",\"thinking\":{\"type\":\"enabled\",\"budget_tokens\":2048},\"max_tokens\":3048}",
         "temperature, top_p", 0},
        {ASK ",\"reasoning_effort\":\"high\",\"max_tokens\":4000}",
         HEAD ",\"thinking\":{\"type\":\"enabled\",\"budget_tokens\":2000},\"max_tokens\":4000}",
         NULL, 0},
        {ASK ",\"reasoning_effort\":\"high\",\"max_tokens\":2000,\"temperature\":0}",
         HEAD ",\"max_tokens\":2000,\"temperature\":0}", "reasoning_effort", 0},
        /* not where a tool must be called, nor in a turn that began without */
        {ASK ",\"reasoning_effort\":\"low\",\"tools\":[{\"type\":\"function\",\"function\":"
             "{\"name\":\"f\"}}],\"tool_choice\":\"required\"}",
         HEAD ",\"tools\":[{\"name\":\"f\",\"input_schema\":{\"type\":\"object\",\"properties\":"
              "{}}}],\"tool_choice\":{\"type\":\"any\"},\"max_tokens\":1000}",
         "reasoning_effort", 0},
        {"{\"messages\":[" USER ",{\"role\":\"assistant\",\"tool_calls\":[" CALL(
             "c") "]},{\"role\":\"tool\",\"tool_call_id\":\"c\",\"content\":\"r\"}],\"reasoning_"
                  "effort\":"
                  "\"low\"}",
         "{\"model\":\"m\",\"messages\":[" USER ",{\"role\":\"assistant\",\"content\":[" USE(
             "c") "]},{\"role\":\"user\",\"content\":[{\"type\":\"tool_result\",\"tool_use_id\":"
                  "\"c\","
                  "\"content\":\"r\"}]}],\"max_tokens\":1000}",
         "reasoning_effort", 0},
    };
    static const struct how strict = {
        .family = PS_FAMILY_OPENAI, .operation = PS_OP_CHAT, .drop = PS_DROP_REFUSE};
    static const struct row refused[] = {
        {ASK ",\"seed\":1}", NULL, "seed", PS_FAULT_UNSUPPORTED_OPERATION},
        {ASK ",\"temperature\":2}", NULL, "temperature", PS_FAULT_UNSUPPORTED_OPERATION},
    };

    (void)state;
    RUN(&from_openai, rows);
    RUN(&from_openai_budget, budget);
    RUN(&strict, refused);
}

/* ---- Anthropic's own requests, through the neutral form ---- */

/* A turn of thoughts and tools; what stands before the two signatures. */
#define THOUGHTS(thought, hidden)                                                                  \
    "{\"model\":\"m\",\"messages\":[" USER ",{\"role\":\"assistant\",\"content\":[{\"type\":"      \
    "\"thinking\",\"thinking\":\"hm\",\"signature\":\"" thought                                    \
    "sig\"},{\"type\":\"redacted_thinking\","                                                      \
    "\"data\":\"" hidden                                                                           \
    "xyz\"},{\"type\":\"text\",\"text\":\"x\"},{\"type\":\"tool_use\",\"id\":"                     \
    "\"toolu_1\",\"name\":\"f\",\"input\":{\"a\":12345678901234567890}},{\"type\":\"tool_use\","   \
    "\"id\":\"toolu_2\",\"name\":\"g\",\"input\":{}}]},{\"role\":\"user\",\"content\":[{"          \
    "\"type\":\"tool_result\",\"tool_use_id\":\"toolu_2\",\"content\":\"no\",\"is_error\":true}"   \
    ",{\"type\":\"tool_result\",\"tool_use_id\":\"toolu_1\",\"content\":[{\"type\":\"text\","      \
    "\"text\":\"y\"},{\"type\":\"image\",\"source\":{\"type\":\"url\",\"url\":\"u\"}}],"           \
    "\"cache_control\":{\"type\":\"ephemeral\"}},{\"type\":\"text\",\"text\":\"and\"}]}],"         \
    "\"tools\":[{\"name\":\"f\",\"description\":\"d\",\"input_schema\":{\"type\":\"object\"},"     \
    "\"strict\":true,\"cache_control\":{\"type\":\"ephemeral\"}}],\"tool_choice\":{\"type\":"      \
    "\"auto\",\"disable_parallel_tool_use\":true},\"thinking\":{\"type\":\"adaptive\","            \
    "\"display\":\"omitted\"},\"output_config\":{\"effort\":\"xhigh\",\"format\":{\"type\":"       \
    "\"json_schema\",\"schema\":{\"type\":\"object\"}}},\"max_tokens\":7}"

static void test_round_trip(void **state)
{
    /* What comes out is what went in, in our order. */
    static const char *const same[] = {
        HEAD ",\"max_tokens\":7}",
        "{\"model\":\"m\",\"system\":\"s\",\"messages\":[" USER
        "],\"max_tokens\":7,\"temperature\":0.50,\"top_p\":1e-1,\"top_k\":40,\"service_tier\":"
        "\"auto\",\"stop_sequences\":[\"a\",\"b\"],\"metadata\":{\"user_id\":\"u\"},\"stream\":"
        "true,\"cache_control\":{\"type\":\"ephemeral\"}}",
        "{\"model\":\"m\",\"system\":[{\"type\":\"text\",\"text\":\"s\",\"cache_control\":{"
        "\"type\":\"ephemeral\",\"ttl\":\"1h\"}},{\"type\":\"text\",\"text\":\"t\"}],\"messages\":"
        "[{\"role\":\"user\",\"content\":[{\"type\":\"text\",\"text\":\"\\ud83d\\ude00\","
        "\"cache_control\":{\"type\":\"ephemeral\"}},{\"type\":\"image\",\"source\":{\"type\":"
        "\"base64\",\"media_type\":\"image/png\",\"data\":\"AAAA\"}},{\"type\":\"document\","
        "\"source\":{\"type\":\"url\",\"url\":\"https://a/b.pdf\"},\"title\":\"T\",\"context\":"
        "\"C\",\"citations\":{\"enabled\":true},\"cache_control\":{\"type\":\"ephemeral\"}},"
        "{\"type\":\"document\",\"source\":{\"type\":\"text\",\"media_type\":\"text/plain\","
        "\"data\":\"d\"}}]}],\"max_tokens\":7}",
    };
    static const struct row rows[] = {
        /* signatures of its own go back as they were; those of others, and of nobody, do not */
        {THOUGHTS("penstock.anthropic.s.", "penstock.anthropic.r."), THOUGHTS("", ""), NULL, 0},
        /* results before the rest, whatever came first; nothing for results without content */
        {"{\"max_tokens\":7,\"messages\":[" USER ",{\"role\":\"assistant\",\"content\":[{\"type\":"
         "\"tool_use\",\"id\":\"t\",\"name\":\"f\",\"input\":{}}]},{\"role\":\"user\",\"content\":"
         "[{\"type\":\"text\",\"text\":\"x\"},{\"type\":\"tool_result\",\"tool_use_id\":\"t\"}]}]}",
         "{\"model\":\"m\",\"messages\":[" USER ",{\"role\":\"assistant\",\"content\":[{\"type\":"
         "\"tool_use\",\"id\":\"t\",\"name\":\"f\",\"input\":{}}]},{\"role\":\"user\",\"content\":"
         "[{\"type\":\"tool_result\",\"tool_use_id\":\"t\"},{\"type\":\"text\",\"text\":\"x\"}]}],"
         "\"max_tokens\":7}",
         NULL, 0},
        /* older names, and what only newer servers know */
        {"{\"max_tokens\":7,\"messages\":[" USER "],\"output_format\":{\"type\":\"json_schema\","
         "\"schema\":{}},\"container\":\"c\",\"metadata\":{\"user_id\":\"u\",\"x\":1},\"system\":"
         "\"\",\"tools\":[{\"name\":\"f\",\"input_schema\":{},\"defer_loading\":true}]}",
         HEAD ",\"tools\":[{\"name\":\"f\",\"input_schema\":{\"type\":\"object\"}}],"
              "\"output_config\":{\"format\":{\"type\":\"json_schema\",\"schema\":{}}},"
              "\"max_tokens\":7,\"metadata\":{\"user_id\":\"u\"}}",
         "container, tools[0].defer_loading, metadata.x", 0},
        {"{\"max_tokens\":9000,\"messages\":[" USER "],\"thinking\":{\"type\":\"enabled\","
         "\"budget_tokens\":5000}}",
         HEAD ",\"thinking\":{\"type\":\"adaptive\",\"display\":\"summarized\"},\"output_config\":"
              "{\"effort\":\"medium\"},\"max_tokens\":9000}",
         NULL, 0},
    };
    static const struct how budget = {
        .family = PS_FAMILY_ANTHROPIC, .operation = PS_OP_CHAT, .settings = &by_budget};
    static const struct row budgets[] = {
        {"{\"max_tokens\":9000,\"messages\":[" USER "],\"thinking\":{\"type\":\"enabled\","
         "\"budget_tokens\":5000}}",
         HEAD ",\"thinking\":{\"type\":\"enabled\",\"budget_tokens\":5000},\"max_tokens\":9000}",
         NULL, 0},
        {"{\"max_tokens\":9000,\"messages\":[" USER "],\"thinking\":{\"type\":\"disabled\"}}",
         HEAD ",\"thinking\":{\"type\":\"disabled\"},\"max_tokens\":9000}", NULL, 0},
    };

    (void)state;
    for (size_t i = 0; i < sizeof(same) / sizeof(same[0]); i++) {
        const struct row row = {same[i], same[i], NULL, 0};

        run_row(&from_anthropic, &row);
    }
    RUN(&from_anthropic, rows);
    RUN(&budget, budgets);
}

#define BODY(messages) "{\"max_tokens\":7,\"messages\":[" messages "]}"
#define WITH(more)     "{\"max_tokens\":7,\"messages\":[" USER "]," more "}"
#define USED                                                                                       \
    USER ",{\"role\":\"assistant\",\"content\":[{\"type\":\"tool_use\",\"id\":\"t\",\"name\":"     \
         "\"f\",\"input\":{}}]},"
#define BLOCK(role, block) BODY("{\"role\":\"" role "\",\"content\":[" block "]}")

static void test_refusals(void **state)
{
    static const struct row rows[] = {
        {BODY("{\"role\":\"tool\",\"content\":\"x\"}"), NULL, "messages[0].role", 0},
        {BODY("{\"role\":\"user\"}"), NULL, "messages[0].content", PS_FAULT_MISSING_FIELD},
        {BODY("{\"role\":\"user\",\"content\":\"\"}"), NULL, "messages[0].content", 0},
        {BODY("{\"role\":\"user\",\"content\":[]}"), NULL, "messages[0].content", 0},
        {BODY("{\"role\":\"user\",\"content\":7}"), NULL, "messages[0].content", 0},
        {BLOCK("user", "7"), NULL, "messages[0].content[0]", 0},
        {BLOCK("user", "{}"), NULL, "messages[0].content[0].type", PS_FAULT_MISSING_FIELD},
        {BLOCK("user", "{\"type\":\"\"}"), NULL, "messages[0].content[0].type", 0},
        {BLOCK("user", "{\"type\":\"text\"}"), NULL, "messages[0].content[0].text",
         PS_FAULT_MISSING_FIELD},
        {BLOCK("user", "{\"type\":\"text\",\"text\":1}"), NULL, "messages[0].content[0].text", 0},
        {BLOCK("user", "{\"type\":\"text\",\"text\":\"a\",\"text\":\"b\"}"), NULL,
         "messages[0].content[0].text", PS_FAULT_BAD_JSON},
        {BLOCK("user", "{\"type\":\"tool_use\",\"id\":\"t\",\"name\":\"f\",\"input\":{}}"), NULL,
         "messages[0].content[0].type", 0},
        {BLOCK("assistant", "{\"type\":\"image\",\"source\":{}}"), NULL,
         "messages[0].content[0].type", 0},
        {BLOCK("user", "{\"type\":\"image\"}"), NULL, "messages[0].content[0].source",
         PS_FAULT_MISSING_FIELD},
        {BLOCK("user", "{\"type\":\"image\",\"source\":{\"type\":\"base64\",\"media_type\":"
                       "\"image/png\",\"data\":\"not base64!\"}}"),
         NULL, "messages[0].content[0].source.data", 0},
        {BLOCK("user", "{\"type\":\"image\",\"source\":{\"type\":\"base64\",\"data\":\"AAAA\"}}"),
         NULL, "messages[0].content[0].source.media_type", PS_FAULT_MISSING_FIELD},
        {BLOCK("user", "{\"type\":\"image\",\"source\":{\"type\":\"base64\",\"media_type\":"
                       "\"image/a\\tb\",\"data\":\"AAAA\"}}"),
         NULL, "messages[0].content[0].source.media_type", 0},
        {BLOCK("user", "{\"type\":\"image\",\"source\":{\"type\":\"wire\"}}"), NULL,
         "messages[0].content[0].source.type", 0},
        {BLOCK("user", "{\"type\":\"image\",\"source\":{\"type\":\"url\"}}"), NULL,
         "messages[0].content[0].source.url", PS_FAULT_MISSING_FIELD},
        {BLOCK("user", "{\"type\":\"search_result\",\"source\":\"s\"}"), NULL,
         "messages[0].content[0]", PS_FAULT_UNSUPPORTED_OPERATION},
        {BLOCK("user", "{\"type\":\"document\",\"source\":{\"type\":\"content\",\"content\":[]}}"),
         NULL, "messages[0].content[0]", PS_FAULT_UNSUPPORTED_OPERATION},
        {BLOCK("user", "{\"type\":\"document\",\"source\":{\"type\":\"file\",\"file_id\":\"f\"}}"),
         NULL, "messages[0].content[0].file_id", PS_FAULT_UNSUPPORTED_OPERATION},
        {BLOCK("user", "{\"type\":\"tool_result\",\"tool_use_id\":\"t\",\"content\":\"x\"}"), NULL,
         "messages[0].content[0].tool_use_id", 0},
        {BODY(USED "{\"role\":\"user\",\"content\":[{\"type\":\"tool_result\",\"tool_use_id\":"
                   "\"u\"}]}"),
         NULL, "messages[2].content[0].tool_use_id", 0},
        {BODY(USED "{\"role\":\"user\",\"content\":[{\"type\":\"tool_result\",\"tool_use_id\":"
                   "\"t\",\"content\":[{\"type\":\"tool_result\"}]}]}"),
         NULL, "messages[2].content[0].content[0].type", 0},
        {BLOCK("assistant", "{\"type\":\"tool_use\",\"id\":\"t\",\"name\":\"f\",\"input\":[]}"),
         NULL, "messages[0].content[0].input", 0},
        {BLOCK("assistant", "{\"type\":\"tool_use\",\"id\":\"t\",\"name\":\"f\"},{\"type\":"
                            "\"tool_use\",\"id\":\"t\",\"name\":\"f\"}"),
         NULL, "messages[0]", 0},
        {WITH("\"system\":7"), NULL, "system", 0},
        {WITH("\"system\":[{\"type\":\"image\"}]"), NULL, "system[0].type", 0},
        {WITH("\"max_tokens\":0"), NULL, "", 0},
        {WITH("\"temperature\":1.5"), NULL, "temperature", 0},
        {WITH("\"top_k\":-1"), NULL, "top_k", 0},
        {WITH("\"stop_sequences\":\"x\""), NULL, "stop_sequences", 0},
        {WITH("\"stop_sequences\":[\"x\",\"\"]"), NULL, "stop_sequences[1]", 0},
        {WITH("\"tools\":{}"), NULL, "tools", 0},
        {WITH("\"tools\":[7]"), NULL, "tools[0]", 0},
        {WITH("\"tools\":[{\"name\":\"f\"}]"), NULL, "tools[0].input_schema",
         PS_FAULT_MISSING_FIELD},
        {WITH("\"tools\":[{\"name\":\"f\",\"input_schema\":\"x\"}]"), NULL, "tools[0].input_schema",
         0},
        {WITH("\"tools\":[{\"input_schema\":{}}]"), NULL, "tools[0].name", PS_FAULT_MISSING_FIELD},
        {WITH("\"tools\":[{\"type\":\"web_search_20250305\",\"name\":\"web_search\"}]"), NULL,
         "tools[0].type", PS_FAULT_UNSUPPORTED_OPERATION},
        {WITH("\"tool_choice\":\"auto\""), NULL, "tool_choice", 0},
        {WITH("\"tool_choice\":{\"type\":\"must\"}"), NULL, "tool_choice.type", 0},
        {WITH("\"tool_choice\":{\"type\":\"any\"}"), NULL, "tool_choice", 0},
        {WITH("\"tool_choice\":{\"type\":\"tool\",\"name\":\"f\"}"), NULL, "tool_choice.name", 0},
        {WITH("\"thinking\":{\"type\":\"enabled\"}"), NULL, "thinking.budget_tokens",
         PS_FAULT_MISSING_FIELD},
        {WITH("\"thinking\":{\"type\":\"enabled\",\"budget_tokens\":10}"), NULL,
         "thinking.budget_tokens", 0},
        {WITH("\"output_config\":{\"format\":{\"type\":\"json_schema\"}}"), NULL,
         "output_config.format.schema", PS_FAULT_MISSING_FIELD},
        {WITH("\"output_config\":{\"effort\":\"huge\"}"), NULL, "output_config.effort", 0},
        {WITH("\"output_config\":{\"format\":{\"type\":\"json_schema\",\"schema\":{}}},"
              "\"output_format\":{}"),
         NULL, "output_format", 0},
        {WITH("\"mcp_servers\":[{}]"), NULL, "mcp_servers", PS_FAULT_UNSUPPORTED_OPERATION},
        {WITH("\"metadata\":[]"), NULL, "metadata", 0},
    };

    (void)state;
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        struct row row = rows[i];

        if (row.dropped[0] != '\0') {
            row.kind = row.kind != PS_FAULT_NONE ? row.kind : PS_FAULT_BAD_FIELD;
            run_row(&from_anthropic, &row);
        }
    }
    /* Warms a cache at Anthropic, and nothing elsewhere. */
    run_row(&from_anthropic, &(struct row){"{\"max_tokens\":0,\"messages\":[" USER "]}", NULL,
                                           "max_tokens", PS_FAULT_BAD_FIELD});
}

static void test_paths(void **state)
{
    static const struct {
        const char *base;
        enum ps_operation operation;
        const char *path;
    } rows[] = {
        {"", PS_OP_CHAT, "/v1/messages"},
        {"/v1", PS_OP_CHAT, "/messages"},
        {"/proxy/v1", PS_OP_COUNT_TOKENS, "/messages/count_tokens"},
        {"/proxy", PS_OP_COUNT_TOKENS, "/v1/messages/count_tokens"},
    };

    (void)state;
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        struct ps_encode_options options = {.base_path = ps_slice_cstr(rows[i].base)};
        struct how how = {.family = PS_FAMILY_ANTHROPIC, .operation = rows[i].operation};
        struct ps_encoded encoded;
        struct rig rig;

        for (int relay = 0; relay < 2; relay++) {
            rig_init(&rig);
            read_body(&rig, &how, "{\"max_tokens\":7,\"messages\":[" USER "]}");
            if (relay == 0) {
                const struct ps_neutral *neutral;

                assert_int_equal(ps_dialect_neutral(&rig.request, &rig.arena, &neutral, &rig.fault),
                                 0);
                if (rows[i].operation == PS_OP_CHAT) {
                    rig.request.family = PS_FAMILY_OPENAI;
                }
            }
            assert_int_equal(ps_dialect_encode(ps_dialect_find("anthropic"), &rig.request, &options,
                                               &rig.arena, &encoded, &rig.fault),
                             0);
            assert_true(ps_slice_eq_cstr(encoded.path, rows[i].path));
            assert_string_equal(encoded.method, "POST");
            rig_deinit(&rig);
        }
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_conversation), cmocka_unit_test(test_tools),
        cmocka_unit_test(test_answering),    cmocka_unit_test(test_round_trip),
        cmocka_unit_test(test_refusals),     cmocka_unit_test(test_paths),
    };

    return cmocka_run_group_tests(tests, dialect_setup, dialect_teardown);
}

/* SPDX-License-Identifier: Apache-2.0 */
#include "dialect_priv.h"
#include "rig.h"

/* What the rows of dialects promise together. */

static void are_found_by_name(void **state)
{
    const char *const *names = ps_dialect_names();

    (void)state;
    for (size_t i = 0; names[i] != NULL; i++) {
        const struct ps_dialect *dialect = ps_dialect_find(names[i]);
        const char *header;
        const char *prefix;

        assert_non_null(dialect);
        assert_string_equal(dialect->name, names[i]);
        ps_dialect_credential(dialect, &header, &prefix);
        assert_non_null(header);
        assert_non_null(prefix);
        assert_true(dialect->own == 0 || dialect->encode != NULL);
        assert_true(dialect->translates == 0 || dialect->encode_neutral != NULL);
        assert_non_null(dialect->fault);
        assert_non_null(dialect->decoder_init);
        assert_non_null(dialect->decoder_deinit);
        assert_true(dialect->decoder_size >= sizeof(struct ps_decoder));
        for (size_t j = 0; j < i; j++) {
            assert_string_not_equal(names[i], names[j]);
        }
    }
    assert_null(ps_dialect_find("generate"));
    assert_null(ps_dialect_find("nobody"));
}

/* The first row of a family is its door. */
static void have_doors(void **state)
{
    (void)state;
    for (int i = 0; i < PS_FAMILY_COUNT; i++) {
        const struct ps_dialect *door = ps_dialect_of_family((enum ps_family)i);

        if (door == NULL || door->reader_init == NULL) {
            continue;
        }
        assert_int_equal(ps_dialect_family(door), i);
        assert_non_null(door->write_fault);
        assert_non_null(door->write_fault_event);
        assert_true(door->reads == 0 || door->neutral != NULL);
        assert_true(door->writes == 0 || door->writer_init != NULL);
    }
}

static void know_who_is_hosted_here(void **state)
{
    static const struct {
        const char *name;
        bool self_hosted;
        const char *health;
    } rows[] = {
        {"openai", false, NULL},           {"vllm", true, "/health"},   {"sglang", true, "/health"},
        {"llama-server", true, "/health"}, {"ray", true, "/-/healthz"},
    };

    (void)state;
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        const struct ps_dialect *dialect = ps_dialect_find(rows[i].name);
        const char *health;

        assert_non_null(dialect);
        assert_int_equal(ps_dialect_family(dialect), PS_FAMILY_OPENAI);
        assert_int_equal(ps_dialect_defaults(dialect).self_hosted, rows[i].self_hosted);
        health = ps_dialect_health_path(dialect);
        assert_int_equal(health != NULL, rows[i].health != NULL);
        if (health != NULL) {
            assert_string_equal(health, rows[i].health);
        }
        for (int op = 0; op < PS_OP_COUNT; op++) {
            assert_true(ps_dialect_speaks(dialect, PS_FAMILY_OPENAI, (enum ps_operation)op));
            assert_true(ps_dialect_relays(dialect, NULL, PS_FAMILY_OPENAI, (enum ps_operation)op));
        }
        assert_true(ps_dialect_speaks(dialect, PS_FAMILY_GENERATE, PS_OP_CHAT));
        assert_false(ps_dialect_speaks(dialect, PS_FAMILY_GENERATE, PS_OP_EMBED));
        assert_false(ps_dialect_relays(dialect, NULL, PS_FAMILY_GENERATE, PS_OP_CHAT));
    }
}

/* The Responses API of one who has it: as it came, but for the model. */
static void relay_responses(void **state)
{
    static const struct ps_dialect_settings native = {.native_responses = true};
    static const char body[] = "{\"input\" : \"x\",\"stream\":true}";
    const struct ps_dialect *openai = ps_dialect_find("openai");
    const struct ps_encode_options options = {
        .model = PS_SLICE_LIT("m"), .active_accounting = true, .settings = &native};
    struct ps_encoded encoded;
    struct rig rig;
    char *out;

    (void)state;
    assert_false(ps_dialect_relays(openai, NULL, PS_FAMILY_RESPONSES, PS_OP_CHAT));
    assert_true(ps_dialect_relays(openai, &native, PS_FAMILY_RESPONSES, PS_OP_CHAT));
    rig_init(&rig);
    rig.request.family = PS_FAMILY_RESPONSES;
    rig.request.operation = PS_OP_CHAT;
    rig.request.stream = true;
    assert_int_equal(ps_chain_append(&rig.body, body, sizeof(body) - 1), 0);
    assert_int_equal(
        ps_dialect_encode(openai, &rig.request, &options, &rig.arena, &encoded, &rig.fault), 0);
    assert_true(encoded.relayed);
    assert_true(encoded.stream);
    assert_false(encoded.withhold_usage);
    assert_true(ps_slice_eq(encoded.path, PS_SLICE_LIT("/responses")));
    out = rig_join(&encoded);
    assert_string_equal(out, "{\"model\":\"m\",\"input\" : \"x\",\"stream\":true}");
    free(out);
    rig_deinit(&rig);
}

static void tell_streams_by_type(void **state)
{
    (void)state;
    assert_true(ps_dialect_is_stream(PS_SLICE_LIT("text/event-stream; charset=utf-8")));
    assert_true(ps_dialect_is_stream(PS_SLICE_LIT("application/x-ndjson")));
    assert_false(ps_dialect_is_stream(PS_SLICE_LIT("application/json")));
    assert_false(ps_dialect_is_stream(PS_SLICE_NONE));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(are_found_by_name),       cmocka_unit_test(have_doors),
        cmocka_unit_test(know_who_is_hosted_here), cmocka_unit_test(relay_responses),
        cmocka_unit_test(tell_streams_by_type),
    };

    return cmocka_run_group_tests(tests, dialect_setup, dialect_teardown);
}

/* SPDX-License-Identifier: Apache-2.0 */
#include "conn.h"
#include "testing.h"

#include <string.h>

static void paths_find_their_doors(void **state)
{
    (void)state;
    const struct {
        const char *path;
        const char *label; /* NULL: nothing there */
    } cases[] = {
        {"/generate", "generate"},
        {"/v1/chat/completions", "chat"},
        {"/v1/completions", "completions"},
        {"/v1/embeddings", "embeddings"},
        {"/v1/rerank", "rerank"},
        {"/v1/models", "models"},
        {"/v1/models/a/b:c", "models"},
        {"/health", "health"},
        {"/healthz", "health"},
        {"/health/live", "health"},
        {"/health/ready", "health"},
        {"/metrics", "metrics"},
        {"/v1/moderations", "pass"},
        {"/v1/audio/transcriptions", "pass"},
        {"/v1/images/generations", "images"},
        {"/v1/images/edits", "pass"},
        {"/v1/filesystem", "pass"},
        {"/v1/responses", "responses"},
        {"/v1/responses/resp_1", "responses"},
        {"/v1/responses/resp_1/input_items", "responses"},
        {"/v1/responses/resp_1/cancel", NULL},
        {"/", "generate"},
        {"/api/chat", "ollama_chat"},
        {"/api/generate", "ollama_generate"},
        {"/api/embed", "ollama_embed"},
        {"/api/embeddings", "ollama_embed"},
        {"/api/show", "ollama_show"},
        {"/api/tags", "models"},
        {"/api/ps", "ollama"},
        {"/api/version", "ollama"},
        {"/api/pull", "ollama"},
        {"/api/blobs/sha256:0", "ollama"},
        {"/api", NULL},
        {"/api/", NULL},
        {"/generate_stream", "generate"},
        {"//", NULL},
        {"", NULL},
        {"/v1", NULL},
        {"/v1/", NULL},
        {"/generate/", NULL},
        {"//generate", NULL},
        {"/Generate", NULL},
        {"/v1/files", "files"},
        {"/v1/files/", NULL},
        {"/v1/files/file-1", "files"},
        {"/v1/files/file-1/", NULL},
        {"/v1/files/file-1/content", "files"},
        {"/v1/files/file-1/contents", NULL},
        {"/v1/files/file-1/content/x", NULL},
        {"/v1/files//content", NULL},
        {"/v1/batches", "batches"},
        {"/v1/batches/batch_1", "batches"},
        {"/v1/batches/batch_1/cancel", "batches"},
        {"/v1/batches/batch_1/cancelled", NULL},
        {"/v1/messages", "messages"},
        {"/v1/messages/count_tokens", "count_tokens"},
        {"/v1/messages/batches", "message_batches"},
        {"/v1/messages/batches/msgbatch_1", "message_batches"},
        {"/v1/messages/batches/msgbatch_1/cancel", "message_batches"},
        {"/v1/messages/batches/msgbatch_1/results", "message_batches"},
        {"/v1/messages/batches/msgbatch_1/result", NULL},
        {"/v1beta/models/m:generateContent", "gemini_generate"},
        {"/v1beta/models/a/b:c:streamGenerateContent", "gemini_generate"},
        {"/v1beta/tunedModels/m:countTokens", "gemini_count_tokens"},
        {"/v1beta/models/a%2Fb:embedContent", "gemini_embed"},
        {"/v1beta/models/m:batchEmbedContents", "gemini_embed"},
        {"/v1alpha/models/m:generateContent", "gemini_generate"},
        {"/v1/models/m:generateContent", "gemini_generate"},
        {"/v1beta/models", "models"},
        {"/v1beta/models/m:predict", "models"}, /* which is 405, or a model of this name */
        {"/v1alpha/models/m", "models"},
        {"/v1beta/:generateContent", NULL},
        {"/v1beta/files", NULL},
        {"/v2/chat", "cohere_chat"},
        {"/v2/embed", "cohere_embed"},
        {"/v2/rerank", "cohere_rerank"},
        {"/v2/chat/", NULL},
        {"/v2/models", NULL},
        {"/v1/messages/other", NULL},
        {"/jobs", "jobs"},
        {"/jobs/", NULL},
        {"/jobs/job_1", "jobs"},
        {"/jobs/job_1/events", "jobs"},
        {"/jobs/job_1/event", NULL},
        {"/jobs//events", NULL},
        {"/v1/organization/users", NULL},
        {"/v1/audio/../files", NULL},
        {"/v1/./files", NULL},
        {"/v1//files", NULL},
        {"/v1/audio//x", NULL},
        {"/v1/audio/", NULL},
        {"/v1/%66iles", NULL},
        {"/v1/audio%2fspeech", NULL},
        {"/v1/audio;x=1", NULL},
        {"/v1/audio\\x", NULL},
        {"/v2/chat/completions", NULL},
    };
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        const struct ps_door *door = ps_door_find(ps_slice_cstr(cases[i].path));
        const char *label = door != NULL ? door->label : NULL;
        if ((label == NULL) != (cases[i].label == NULL) ||
            (label != NULL && strcmp(label, cases[i].label) != 0)) {
            fail_msg("%s: %s", cases[i].path, label != NULL ? label : "nothing");
        }
    }
}

static void only_health_and_metrics_are_open(void **state)
{
    (void)state;
    const char *open[] = {"/health", "/health/live", "/health/ready", "/healthz", "/metrics"};
    const char *closed[] = {"/generate",
                            "/v1/chat/completions",
                            "/v1/models",
                            "/v1/models/x",
                            "/v1beta/models",
                            "/v1beta/models/x:generateContent",
                            "/v1/moderations",
                            "/v1/files",
                            "/v1/files/x/content",
                            "/v1/batches",
                            "/v1/batches/x/cancel",
                            "/jobs",
                            "/jobs/x",
                            "/jobs/x/events"};
    for (size_t i = 0; i < sizeof(open) / sizeof(open[0]); i++) {
        assert_true(ps_door_find(ps_slice_cstr(open[i]))->open);
    }
    for (size_t i = 0; i < sizeof(closed) / sizeof(closed[0]); i++) {
        assert_false(ps_door_find(ps_slice_cstr(closed[i]))->open);
    }
}

static void methods_choose_among_doors_of_one_path(void **state)
{
    (void)state;
    const struct ps_door *door = ps_door_find(PS_SLICE_LIT("/"));
    assert_int_equal(ps_door_taking(door, PS_HTTP_POST)->family, PS_FAMILY_TGI);
    assert_int_equal(ps_door_taking(door, PS_HTTP_GET)->family, PS_FAMILY_OLLAMA);
    assert_int_equal(ps_door_taking(door, PS_HTTP_HEAD)->family, PS_FAMILY_OLLAMA);
    assert_ptr_equal(ps_door_taking(door, PS_HTTP_PUT), door);
    assert_ptr_equal(ps_door_taking(door, PS_HTTP_OTHER), door);
    door = ps_door_find(PS_SLICE_LIT("/generate"));
    assert_ptr_equal(ps_door_taking(door, PS_HTTP_POST), door);
    assert_ptr_equal(ps_door_taking(door, PS_HTTP_GET), door);
}

static void allow_names_the_methods(void **state)
{
    (void)state;
    char allow[64];
    ps_door_allow(ps_door_find(PS_SLICE_LIT("/generate")), allow, sizeof(allow));
    assert_string_equal(allow, "POST, OPTIONS");
    ps_door_allow(ps_door_find(PS_SLICE_LIT("/health")), allow, sizeof(allow));
    assert_string_equal(allow, "GET, HEAD, OPTIONS");
    ps_door_allow(ps_door_find(PS_SLICE_LIT("/v1/moderations")), allow, sizeof(allow));
    assert_string_equal(allow, "GET, POST, PUT, PATCH, DELETE, OPTIONS");
    ps_door_allow(ps_door_find(PS_SLICE_LIT("/v1/files/x")), allow, sizeof(allow));
    assert_string_equal(allow, "GET, HEAD, DELETE, OPTIONS");
    ps_door_allow(ps_door_find(PS_SLICE_LIT("/")), allow, sizeof(allow));
    assert_string_equal(allow, "GET, HEAD, POST, OPTIONS"); /* of two doors */
    ps_door_allow(ps_door_find(PS_SLICE_LIT("/v1/batches/x/cancel")), allow, sizeof(allow));
    assert_string_equal(allow, "POST, OPTIONS");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(paths_find_their_doors),
        cmocka_unit_test(only_health_and_metrics_are_open),
        cmocka_unit_test(methods_choose_among_doors_of_one_path),
        cmocka_unit_test(allow_names_the_methods),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

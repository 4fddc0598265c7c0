/* SPDX-License-Identifier: Apache-2.0 */
#include "testing.h"

#include "penstock/base/sha256.h"

#include <stdio.h>
#include <string.h>

#define COUNT(array) (sizeof(array) / sizeof((array)[0]))

static void hex_of(const uint8_t bytes[PS_SHA256_SIZE], char ret[2 * PS_SHA256_SIZE + 1])
{
    for (size_t i = 0; i < PS_SHA256_SIZE; i++) {
        (void)snprintf(ret + 2 * i, 3, "%02x", bytes[i]);
    }
}

/* The first three are of FIPS 180-4's own examples; the rest was checked with sha256sum. */
static void known_answers(void **state)
{
    static const struct {
        const char *text;
        const char *hex;
    } rows[] = {
        {"", "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"},
        {"abc", "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"},
        {"abcdbcdecdefdefgefghfghighijhijkijkljklmklmnlmnomnopnopq",
         "248d6a61d20638b8e5c026930c3e6039a33ce45964ff2167f6ecedd419db06c1"},
    };
    static const struct {
        size_t len;
        const char *hex;
    } runs[] = {
        {55, "9f4390f8d30c2dd92ec9f095b65e2b9ae9b0a925a5258e241c9f1e910f734318"},
        {56, "b35439a4ac6f0948b6d6f9e3c6af0f5f590ce20f1bde7090ef7970686ec6738a"},
        {63, "7d3e74a05d7db15bce4ad9ec0658ea98e3f06eeecf16b4c6fff2da457ddc2f34"},
        {64, "ffe054fe7ae0cb6dc65c3af9b61d5209f439851db43d0ba5997337df154668eb"},
        {65, "635361c48bb9eab14198e76ea8ab7f1a41685d6ad62aa9146d301d4f17eb0ae0"},
        {119, "31eba51c313a5c08226adf18d4a359cfdfd8d2e816b13f4af952f7ea6584dcfb"},
        {120, "2f3d335432c70b580af0e8e1b3674a7c020d683aa5f73aaaedfdc55af904c21c"},
        {1000, "41edece42d63e8d9bf515a9ba6932e1c20cbc9f5a5d134645adb5db1b9737ea3"},
    };
    uint8_t hash[PS_SHA256_SIZE];
    char hex[2 * PS_SHA256_SIZE + 1];
    char text[1000];
    (void)state;
    for (size_t i = 0; i < COUNT(rows); i++) {
        ps_sha256(rows[i].text, strlen(rows[i].text), hash);
        hex_of(hash, hex);
        assert_string_equal(hex, rows[i].hex);
    }
    memset(text, 'a', sizeof text);
    for (size_t i = 0; i < COUNT(runs); i++) {
        ps_sha256(text, runs[i].len, hash);
        hex_of(hash, hex);
        assert_string_equal(hex, runs[i].hex);
    }
    ps_sha256(NULL, 0, hash);
    hex_of(hash, hex);
    assert_string_equal(hex, rows[0].hex);
}

/* In two pieces, cut at every byte, and byte by byte. */
static void pieces_make_the_whole(void **state)
{
    uint8_t bytes[300];
    uint8_t whole[PS_SHA256_SIZE];
    uint8_t pieces[PS_SHA256_SIZE];
    struct ps_sha256 hash;
    (void)state;
    for (size_t i = 0; i < sizeof bytes; i++) {
        bytes[i] = (uint8_t)(i * 7 + i / 13);
    }
    for (size_t len = 0; len <= sizeof bytes; len += 50) {
        ps_sha256(bytes, len, whole);
        for (size_t cut = 0; cut <= len; cut++) {
            ps_sha256_init(&hash);
            ps_sha256_update(&hash, bytes, cut);
            ps_sha256_update(&hash, bytes + cut, len - cut);
            ps_sha256_final(&hash, pieces);
            assert_memory_equal(pieces, whole, sizeof whole);
        }
        ps_sha256_init(&hash);
        for (size_t i = 0; i < len; i++) {
            ps_sha256_update(&hash, bytes + i, 1);
        }
        ps_sha256_final(&hash, pieces);
        assert_memory_equal(pieces, whole, sizeof whole);
    }
}

/* FIPS 180-4's long example. */
static void a_million_bytes(void **state)
{
    struct ps_sha256 hash;
    uint8_t bytes[PS_SHA256_SIZE];
    char hex[2 * PS_SHA256_SIZE + 1];
    char text[1000];
    (void)state;
    memset(text, 'a', sizeof text);
    ps_sha256_init(&hash);
    for (size_t i = 0; i < 1000; i++) {
        ps_sha256_update(&hash, text, sizeof text);
    }
    ps_sha256_final(&hash, bytes);
    hex_of(bytes, hex);
    assert_string_equal(hex, "cdc76e5c9914fb9281a1c7e284d73e67f1809a48a497200e046d39ccc7112cd0");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(known_answers),
        cmocka_unit_test(pieces_make_the_whole),
        cmocka_unit_test(a_million_bytes),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

/* SPDX-License-Identifier: Apache-2.0 */
#include "sampler.h"
#include "testing.h"

#include <math.h>
#include <string.h>

#define WORDS 1000

static float logits[WORDS];
static struct ps_candidate candidates[WORDS];

static struct ps_engine_sampling plain(double temperature)
{
    return (struct ps_engine_sampling){
        .temperature = temperature, .top_p = 1, .seed = 1, .has_seed = true};
}

/* Logits that fall by `step` from token 500 on to both sides. */
static void peak(float step)
{
    for (int i = 0; i < WORDS; i++) {
        logits[i] = -step * (float)(i > 500 ? i - 500 : 500 - i);
    }
}

static int32_t pick(struct ps_sampler *sampler)
{
    ps_sampler_load(sampler, logits, candidates);
    return ps_sampler_pick(sampler, candidates, WORDS);
}

/* Which tokens come in many draws. */
static size_t spread(const struct ps_engine_sampling *settings, unsigned draws, int32_t *ret_low,
                     int32_t *ret_high)
{
    struct ps_sampler sampler;
    bool seen[WORDS] = {false};
    size_t count = 0;
    assert_int_equal(ps_sampler_init(&sampler, settings, WORDS), 0);
    *ret_low = WORDS;
    *ret_high = -1;
    for (unsigned i = 0; i < draws; i++) {
        int32_t token = pick(&sampler);
        assert_true(token >= 0 && token < WORDS);
        count += seen[token] ? 0 : 1;
        seen[token] = true;
        *ret_low = token < *ret_low ? token : *ret_low;
        *ret_high = token > *ret_high ? token : *ret_high;
    }
    ps_sampler_deinit(&sampler);
    return count;
}

static void zero_takes_the_likeliest(void **state)
{
    struct ps_engine_sampling settings = plain(0);
    int32_t low;
    int32_t high;
    (void)state;
    peak(0.01F);
    assert_int_equal(spread(&settings, 100, &low, &high), 1);
    assert_int_equal(low, 500);
    /* Alike: the lower one, always. */
    memset(logits, 0, sizeof(logits));
    assert_int_equal(spread(&settings, 100, &low, &high), 1);
    assert_int_equal(low, 0);
}

static void top_k_is_kept(void **state)
{
    struct ps_engine_sampling settings = plain(10);
    int32_t low;
    int32_t high;
    (void)state;
    peak(0.01F);
    const uint32_t ks[] = {1, 2, 3, 7, 40};
    for (size_t i = 0; i < sizeof(ks) / sizeof(ks[0]); i++) {
        settings.top_k = ks[i];
        assert_int_equal(spread(&settings, 5000, &low, &high), ks[i]);
        assert_true(low >= 500 - (int32_t)ks[i] / 2 - 1 && high <= 500 + (int32_t)ks[i] / 2 + 1);
    }
}

static void top_p_is_kept(void **state)
{
    struct ps_engine_sampling settings = plain(1);
    int32_t low;
    int32_t high;
    (void)state;
    /* Four tokens of 0.4, 0.3, 0.2, 0.1. */
    for (int i = 0; i < WORDS; i++) {
        logits[i] = -INFINITY;
    }
    const double shares[] = {0.4, 0.3, 0.2, 0.1};
    for (int i = 0; i < 4; i++) {
        logits[i] = (float)log(shares[i]);
    }
    const struct {
        double top_p;
        size_t count;
    } cases[] = {{0.01, 1}, {0.39, 1}, {0.5, 2}, {0.69, 2}, {0.8, 3}, {0.95, 4}, {1, 4}};
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        settings.top_p = cases[i].top_p;
        assert_int_equal(spread(&settings, 3000, &low, &high), cases[i].count);
    }
    settings.top_p = 1;
    settings.min_p = 0.6; /* of the best: 0.24 */
    assert_int_equal(spread(&settings, 3000, &low, &high), 2);
}

static void shares_are_right(void **state)
{
    struct ps_engine_sampling settings = plain(1);
    struct ps_sampler sampler;
    unsigned counts[4] = {0};
    (void)state;
    for (int i = 0; i < WORDS; i++) {
        logits[i] = -INFINITY;
    }
    const double shares[] = {0.4, 0.3, 0.2, 0.1};
    for (int i = 0; i < 4; i++) {
        logits[i * 100] = (float)log(shares[i]);
    }
    assert_int_equal(ps_sampler_init(&sampler, &settings, WORDS), 0);
    for (int i = 0; i < 20000; i++) {
        counts[pick(&sampler) / 100]++;
    }
    for (int i = 0; i < 4; i++) {
        assert_true(fabs((double)counts[i] / 20000 - shares[i]) < 0.02);
    }
    ps_sampler_deinit(&sampler);
}

static void seeds_repeat(void **state)
{
    struct ps_engine_sampling settings = plain(2);
    struct ps_sampler a;
    struct ps_sampler b;
    struct ps_sampler c;
    unsigned same = 0;
    (void)state;
    peak(0.05F);
    assert_int_equal(ps_sampler_init(&a, &settings, WORDS), 0);
    assert_int_equal(ps_sampler_init(&b, &settings, WORDS), 0);
    settings.seed = 2;
    assert_int_equal(ps_sampler_init(&c, &settings, WORDS), 0);
    for (int i = 0; i < 200; i++) {
        int32_t token = pick(&a);
        assert_int_equal(token, pick(&b));
        same += token == pick(&c) ? 1 : 0;
    }
    assert_true(same < 50);
    ps_sampler_deinit(&a);
    ps_sampler_deinit(&b);
    ps_sampler_deinit(&c);
}

static void penalties_move_on(void **state)
{
    struct ps_engine_sampling settings = plain(0);
    struct ps_sampler sampler;
    (void)state;
    peak(0.5F);
    settings.frequency_penalty = 1;
    settings.presence_penalty = 0.6;
    assert_int_equal(ps_sampler_init(&sampler, &settings, WORDS), 0);
    assert_int_equal(pick(&sampler), 500);
    ps_sampler_accept(&sampler, 500); /* 1.6 down: now behind 499, 501, 498, 502, 497, 503 */
    assert_int_equal(pick(&sampler), 499);
    ps_sampler_accept(&sampler, 499);
    assert_int_equal(pick(&sampler), 501);
    ps_sampler_deinit(&sampler);
}

static void broken_numbers(void **state)
{
    struct ps_engine_sampling settings = plain(1);
    struct ps_sampler sampler;
    (void)state;
    assert_int_equal(ps_sampler_init(&sampler, &settings, WORDS), 0);
    for (int i = 0; i < WORDS; i++) {
        logits[i] = i % 2 == 0 ? NAN : -INFINITY;
    }
    assert_int_equal(pick(&sampler), -1);
    logits[77] = 3;
    assert_int_equal(pick(&sampler), 77);
    assert_true(fabsf(ps_log_sum(logits, WORDS) - 3) < 1e-5F);
    struct ps_candidate best[3];
    assert_int_equal(ps_likeliest(logits, 78, best, 1), 1);
    assert_int_equal(best[0].token, 77);
    ps_sampler_deinit(&sampler);
}

static void likeliest_are_sorted(void **state)
{
    struct ps_candidate best[20];
    (void)state;
    for (int i = 0; i < WORDS; i++) {
        logits[i] = (float)((i * 7919) % 1009);
    }
    assert_int_equal(ps_likeliest(logits, WORDS, best, 20), 20);
    for (size_t i = 0; i < 20; i++) {
        size_t above = 0;
        for (int k = 0; k < WORDS; k++) {
            above += logits[k] > best[i].logit ? 1 : 0;
        }
        assert_int_equal(above, i);
    }
    assert_int_equal(ps_likeliest(logits, 3, best, 20), 3);
    assert_int_equal(ps_likeliest(logits, 3, best, 0), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(zero_takes_the_likeliest),
        cmocka_unit_test(top_k_is_kept),
        cmocka_unit_test(top_p_is_kept),
        cmocka_unit_test(shares_are_right),
        cmocka_unit_test(seeds_repeat),
        cmocka_unit_test(penalties_move_on),
        cmocka_unit_test(broken_numbers),
        cmocka_unit_test(likeliest_are_sorted),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

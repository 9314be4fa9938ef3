/* The random generator: known answers, ranges, moments, and the tensors that are drawn from it. */
#include <float.h>
#include <math.h>
#include <string.h>

#include "tensors.h"

TestSuite(rng, .init = tensors_begin, .fini = tensors_end);

/* philox4x32-10 of kat_vectors, from the Random123 distribution: counter 0,1 is ours, 2,3 the stream, key the seed */
Test(rng, philox_known_answers) {
    static const struct {
        uint32_t counter[4], key[2], answer[4];
    } cases[] = {
        {{0}, {0}, {0x6627e8d5, 0xe169c58d, 0xbc57ac4c, 0x9b00dbd8}},
        {{0xffffffff, 0xffffffff, 0xffffffff, 0xffffffff},
         {0xffffffff, 0xffffffff},
         {0x408f276d, 0x41c83b0e, 0xa20bc7c6, 0x6d5451fd}},
        {{0x243f6a88, 0x85a308d3, 0x13198a2e, 0x03707344},
         {0xa4093822, 0x299f31d0},
         {0xd16cfe09, 0x94fdcceb, 0x5001e420, 0x24126ea1}},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        const uint32_t *c = cases[i].counter, *k = cases[i].key;
        pleat_rng r = pleat_rng_new((uint64_t)k[1] << 32 | k[0], (uint64_t)c[3] << 32 | c[2]);
        r.counter = (uint64_t)c[1] << 32 | c[0];
        for (size_t j = 0; j < 4; j++) cr_assert_eq(pleat_rng_u32(&r), cases[i].answer[j], "case %zu", i);
        cr_assert_eq(r.counter, ((uint64_t)c[1] << 32 | c[0]) + 1);
    }
}

Test(rng, the_state_is_in_the_members) {
    pleat_rng a = pleat_rng_new(5, 1), b;
    for (int i = 0; i < 6; i++) pleat_rng_u32(&a);
    b = a;
    for (int i = 0; i < 100; i++) cr_assert_eq(pleat_rng_u32(&a), pleat_rng_u32(&b));
    pleat_rng other_stream = pleat_rng_new(5, 2), other_seed = pleat_rng_new(6, 1),
              start = pleat_rng_new(5, 1);
    size_t equal = 0;
    for (int i = 0; i < 1000; i++) {
        uint32_t x = pleat_rng_u32(&start);
        equal += x == pleat_rng_u32(&other_stream);
        equal += x == pleat_rng_u32(&other_seed);
    }
    cr_assert_eq(equal, 0);
}

Test(rng, below_is_in_range_and_without_bias) {
    pleat_rng r = pleat_rng_new(1, 0);
    for (int i = 0; i < 20; i++) {
        cr_assert_eq(pleat_rng_below(&r, 0), 0);
        cr_assert_eq(pleat_rng_below(&r, 1), 0);
    }
    enum { DRAWS = 60000 };
    size_t count[6] = {0};
    for (int i = 0; i < DRAWS; i++) {
        uint64_t x = pleat_rng_below(&r, 6);
        cr_assert_lt(x, 6);
        count[x]++;
    }
    double chi2 = 0;
    for (int i = 0; i < 6; i++)
        chi2 += ((double)count[i] - DRAWS / 6.0) * ((double)count[i] - DRAWS / 6.0) / (DRAWS / 6.0);
    cr_assert_lt(chi2, 25.7, "of 5 degrees of freedom: once in 10,000 seeds");

    /* a bare x % n would draw the lower third half of the time */
    uint64_t n = (uint64_t)3 << 62, third = (uint64_t)1 << 62;
    size_t low = 0;
    for (int i = 0; i < DRAWS; i++) {
        uint64_t x = pleat_rng_below(&r, n);
        cr_assert_lt(x, n);
        low += x < third;
    }
    cr_assert_lt(fabs((double)low / DRAWS - 1 / 3.0), 0.01);
    bool all_bits = true;
    for (uint64_t seen = 0, i = 0; i < 1000; i++, all_bits = seen == UINT64_MAX)
        seen |= pleat_rng_below(&r, UINT64_MAX);
    cr_assert(all_bits);
}

Test(rng, uniform_moments) {
    enum { DRAWS = 200000 };
    pleat_rng r = pleat_rng_new(2, 0);
    double sum = 0, squares = 0;
    for (int i = 0; i < DRAWS; i++) {
        double x = pleat_rng_uniform(&r);
        cr_assert(x >= 0 && x < 1);
        sum += x;
        squares += (x - 0.5) * (x - 0.5);
    }
    cr_assert_lt(fabs(sum / DRAWS - 0.5), 0.003);
    cr_assert_lt(fabs(squares / DRAWS - 1 / 12.0), 0.001);
}

Test(rng, normal_moments) {
    enum { DRAWS = 200000 };
    pleat_rng r = pleat_rng_new(3, 0);
    double moment[5] = {0}, below[5] = {0}, previous = 0, product = 0;
    for (int i = 0; i < DRAWS; i++) {
        double x = pleat_rng_normal(&r);
        for (int k = 1; k < 5; k++) moment[k] += pow(x, k) / DRAWS;
        for (int k = 0; k < 5; k++) below[k] += (x < k - 2) / (double)DRAWS;
        product += x * previous / DRAWS;
        previous = x;
    }
    cr_assert_lt(fabs(moment[1]), 0.01);
    cr_assert_lt(fabs(moment[2] - 1), 0.016);
    cr_assert_lt(fabs(moment[3]), 0.04);
    cr_assert_lt(fabs(moment[4] - 3), 0.11);
    cr_assert_lt(fabs(product), 0.01, "neighbours are independent");
    for (int k = 0; k < 5; k++) cr_assert_lt(fabs(below[k] - erfc((2 - k) / sqrt(2)) / 2), 0.006);
}

Test(rng, tensors_come_from_the_context) {
    for (pleat_dtype type = PLEAT_F32; type <= PLEAT_F64; type++) {
        pleat_ctx *own = pleat_ctx_new(.seed = 42);
        pleat_rng r = pleat_rng_new(42, 0), saved;
        pleat_tensor *x = pleat_randn(own, type, PLEAT_SHAPE(3, 5));
        double values[15];
        pleat_read_f64(x, values);
        for (size_t i = 0; i < 15; i++) cr_assert_eq(values[i], rounded(type, pleat_rng_normal(&r)));
        saved = *pleat_ctx_rng(own);
        cr_assert_eq(memcmp(&saved, &r, sizeof r), 0);
        x = pleat_uniform(own, type, PLEAT_SHAPE(15), -2, 3);
        pleat_read_f64(x, values);
        for (size_t i = 0; i < 15; i++)
            cr_assert_eq(values[i], rounded(type, -2 + 5 * pleat_rng_uniform(&r)));
        *pleat_ctx_rng(own) = saved;
        cr_assert(same(pleat_uniform(own, type, PLEAT_SHAPE(15), -2, 3), x), "%s", difference());
        pleat_ctx_free(own);
    }
}

/* One number of the range from the smallest draw that can come, or from the largest. */
static double extreme(pleat_dtype type, double low, double high, int bits) {
    pleat_rng *r = pleat_ctx_rng(ctx);
    memset(r->block, bits, sizeof r->block);
    r->left = 4;
    return pleat_item(pleat_uniform(ctx, type, PLEAT_SCALAR, low, high));
}

/* f32 has no 0.7, and what is nearest to it is below. */
Test(rng, rounding_does_not_leave_the_range) {
    static const double ranges[][2] = {{0, 1},
                                       {1, 2},
                                       {-1, 0.1},
                                       {-3, -2},
                                       {0.7, 0.8},
                                       {-0.3, -0.1},
                                       {1e-46, 1},
                                       {-FLT_MAX, FLT_MAX},
                                       {-1e39, 1e39},
                                       {-1.7e308, 1.7e308},
                                       {-DBL_MAX, DBL_MAX}};
    for (pleat_dtype type = PLEAT_F32; type <= PLEAT_F64; type++)
        for (size_t i = 0; i < 2 * sizeof ranges / sizeof *ranges; i++) {
            double low = ranges[i / 2][0], high = ranges[i / 2][1];
            double x = extreme(type, low, high, i % 2 ? 0xff : 0);
            cr_expect(x >= low && x < high && isfinite(x), "%.17g in [%.17g, %.17g)", x, low, high);
        }
    cr_assert_eq(extreme(PLEAT_F64, 5, 5, 0), 5);
}

/* A range whose width is more than the type's largest number. */
Test(rng, wide_ranges_are_even) {
    enum { DRAWS = 4000 };
    for (pleat_dtype type = PLEAT_F32; type <= PLEAT_F64; type++) {
        double most = type == PLEAT_F32 ? FLT_MAX : DBL_MAX, values[DRAWS], mean = 0, square = 0;
        pleat_tensor *x = pleat_uniform(ctx, type, PLEAT_SHAPE(DRAWS), -most, most);
        pleat_read_f64(x, values);
        for (size_t i = 0; i < DRAWS; i++) {
            double v = values[i] / most;
            mean += v / DRAWS, square += v * v / DRAWS;
        }
        cr_assert(fabs(mean) < 0.04 && fabs(square - 1.0 / 3) < 0.02, "mean %g, mean square %g", mean,
                  square);
    }
}

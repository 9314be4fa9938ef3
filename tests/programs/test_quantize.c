/* TensorFlow Lite's rounding in the program deconv, against numbers computed from its sources in whole numbers of any size. */
#include "oracle.h"
#include "quantize.h"

#include <criterion/criterion.h>
#include <string.h>

static oracle *fixture;

static void begin(void) {
    fixture = oracle_read("deconv_int.txt");
    cr_assert(fixture);
}

static void end(void) { oracle_free(fixture); }

TestSuite(quantize, .init = begin, .fini = end);

static const oracle_array *rows(const char *name, size_t columns, size_t least) {
    const oracle_array *a = oracle_find(fixture, "%s", name);
    cr_assert(a && a->rank == 2 && a->shape[1] == columns && a->shape[0] >= least, "%s", name);
    return a;
}

Test(quantize, scales_become_multipliers) {
    const oracle_array *a = rows("multiplier", 5, 400);
    for (const double *v = a->values; v < a->values + a->numel; v += 5) {
        quantization q = {.bits = 8, .input_scale = (float)v[0], .output_scale = (float)v[2]};
        fixed_multiplier m = quantize_multiplier(&q, (float)v[1]);
        cr_expect(m.mantissa == v[3] && m.shift == v[4], "%a * %a / %a: %d, %d instead of %.0f, %.0f", v[0],
                  v[1], v[2], m.mantissa, m.shift, v[3], v[4]);
    }
}

static fixed_multiplier multiplier_of(const double *v) {
    return (fixed_multiplier){(int32_t)v[1], (int)v[2]};
}

static void expect_outputs(int bits, const oracle_array *a) {
    for (const double *v = a->values; v < a->values + a->numel; v += 7) {
        quantization q = {
            .bits = bits, .output_zero_point = (int32_t)v[3], .least = (int32_t)v[4], .most = (int32_t)v[5]};
        int32_t y = 0;
        bool defined = requantize(&q, multiplier_of(v), (int64_t)v[0], &y);
        cr_expect(defined && y == v[6], "%d bits: %.0f times %.0f, 2^%.0f, plus %.0f: %d instead of %.0f",
                  bits, v[0], v[1], v[2], v[3], y, v[6]);
    }
}

static void expect_undefined(int bits, const oracle_array *a) {
    for (const double *v = a->values; v < a->values + a->numel; v += 4) {
        quantization q = {.bits = bits, .output_zero_point = (int32_t)v[3], .least = -128, .most = 127};
        int32_t y;
        cr_expect(!requantize(&q, multiplier_of(v), (int64_t)v[0], &y),
                  "%d bits: %.0f times %.0f, 2^%.0f is not defined", bits, v[0], v[1], v[2]);
    }
}

Test(quantize, sums_become_outputs) {
    expect_outputs(8, rows("output8", 7, 3500));
    expect_outputs(16, rows("output16", 7, 3500));
    expect_undefined(8, rows("undefined8", 4, 100));
    expect_undefined(16, rows("undefined16", 4, 100));
}

static void expect_range(int bits, float scale, int32_t zero, const char *word, int32_t least, int32_t most) {
    quantization q = {.bits = bits, .output_scale = scale, .output_zero_point = zero};
    cr_expect(set_activation(&q, word) && q.least == least && q.most == most, "%s: %d..%d instead of %d..%d",
              word, q.least, q.most, least, most);
}

/* By hand: zero_point + round(limit / scale), where it is within the type. */
Test(quantize, activations_become_ranges) {
    expect_range(8, 0.1f, -3, "none", -128, 127);
    expect_range(16, 0.1f, 0, "none", -32768, 32767);
    expect_range(8, 0.1f, -3, "relu", -3, 127);
    expect_range(8, 0.1f, -3, "relu6", -3, 57);
    expect_range(8, 0.01f, -128, "relu6", -128, 127);
    expect_range(8, 4, 10, "relu6", 10, 12); /* 1.5 is 2 */
    expect_range(8, 0.1f, -3, "relu_n1_to_1", -13, 7);
    expect_range(8, 2, 5, "relu_n1_to_1", 4, 6); /* -0.5 is -1 */
    expect_range(16, 0.001f, 0, "relu6", 0, 6000);
    quantization q = {.bits = 8, .output_scale = 1e-20f};
    cr_expect(!set_activation(&q, "relu6") && set_activation(&q, "relu"));
}

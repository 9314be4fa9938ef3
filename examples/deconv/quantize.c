/* The shifts to the right are arithmetic, as gcc and clang define them: floor(x / 2^n). */
#include "quantize.h"

#include <math.h>
#include <stddef.h>
#include <string.h>

const char *const activation_words[] = {"none", "relu", "relu6", "relu_n1_to_1", NULL};

/* The number of the output for a real one. The division is in float. */
static bool place(const quantization *q, float real, int32_t *number) {
    float rounded = roundf(real / q->output_scale);
    if (!(rounded >= -0x1p31f && rounded < 0x1p31f)) return false;
    int64_t sum = (int64_t)rounded + q->output_zero_point;
    *number = sum > INT32_MAX ? INT32_MAX : sum < INT32_MIN ? INT32_MIN : (int32_t)sum;
    return true;
}

bool set_activation(quantization *q, const char *word) {
    static const float limits[][2] = {{-INFINITY, INFINITY}, {0, INFINITY}, {0, 6}, {-1, 1}};
    size_t k = 0;
    while (strcmp(activation_words[k], word) != 0) k++;
    int32_t least = q->bits == 8 ? INT8_MIN : INT16_MIN, most = q->bits == 8 ? INT8_MAX : INT16_MAX, at;
    q->least = least, q->most = most;
    if (isfinite(limits[k][0])) {
        if (!place(q, limits[k][0], &at)) return false;
        if (at > least) q->least = at;
    }
    if (isfinite(limits[k][1])) {
        if (!place(q, limits[k][1], &at)) return false;
        if (at < most) q->most = at;
    }
    return true;
}

fixed_multiplier quantize_multiplier(const quantization *q, float weight_scale) {
    fixed_multiplier m;
    double M = (double)q->input_scale * (double)weight_scale / (double)q->output_scale;
    int64_t mantissa = (int64_t)round(frexp(M, &m.shift) * 0x1p31);
    if (mantissa == INT64_C(1) << 31) mantissa /= 2, m.shift++;
    if (m.shift < -31) mantissa = m.shift = 0;
    m.mantissa = (int32_t)mantissa;
    return m;
}

static bool product_of_8(fixed_multiplier m, int64_t sum, int64_t *product) {
    int left = m.shift > 0 ? m.shift : 0, right = m.shift > 0 ? 0 : -m.shift;
    if (left > 31 || sum > INT32_MAX || sum < INT32_MIN) return false;
    sum *= INT64_C(1) << left;
    if (sum > INT32_MAX || sum < INT32_MIN) return false;
    int64_t high = (sum * m.mantissa + (1 << 30)) >> 31, mask = (INT64_C(1) << right) - 1;
    *product = (high >> right) + ((high & mask) > (mask >> 1) + (high < 0));
    return true;
}

static bool product_of_16(fixed_multiplier m, int64_t sum, int64_t *product) {
    if (m.shift > 7 || sum < -(INT64_C(1) << 47) || sum >= INT64_C(1) << 47) return false;
    int32_t reduced = m.mantissa < 0x7fff0000 ? (m.mantissa + (1 << 15)) >> 16 : 0x7fff;
    *product = (sum * reduced + (INT64_C(1) << (14 - m.shift))) >> (15 - m.shift);
    return *product >= INT32_MIN && *product <= INT32_MAX;
}

bool requantize(const quantization *q, fixed_multiplier m, int64_t sum, int32_t *output) {
    int64_t product;
    if (!(q->bits == 8 ? product_of_8(m, sum, &product) : product_of_16(m, sum, &product))) return false;
    product += q->output_zero_point;
    *output = product < q->least ? q->least : product > q->most ? q->most : (int32_t)product;
    return product >= INT32_MIN && product <= INT32_MAX;
}

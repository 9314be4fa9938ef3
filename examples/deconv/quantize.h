/* quantize.h: how TensorFlow Lite makes the output of a quantised convolution from its sums, bit for bit.
 *
 * A real number r is stored as a whole number q: r = scale (q - zero_point). Weights have the zero point 0 and a
 * scale for each channel out, a bias the scale input_scale * weight_scale[c]. So an output is
 *
 *     sum    = bias[c] + SUM weight (input - input_zero_point)
 *     output = clamp(output_zero_point + sum * M[c], least, most),    M[c] = input_scale weight_scale[c] / output_scale
 *
 * and the product with M[c] is rounded as the functions here say. With 16 bits input and output have 16, weights 8,
 * zero points are 0, and sums and bias have 64 bits.
 *
 * Sources: tensorflow/lite/kernels/internal/ quantization_util.cc (QuantizeMultiplier), common.cc
 * (MultiplyByQuantizedMultiplier, without TFLITE_SINGLE_ROUNDING), reference/integer_ops/ conv.h and
 * transpose_conv.h; tensorflow/lite/kernels/kernel_util.cc (PopulateConvolutionQuantizationParams,
 * CalculateActivationRangeQuantized); google/gemmlowp, fixedpoint/fixedpoint.h. */
#ifndef QUANTIZE_H
#define QUANTIZE_H

#include <stdbool.h>
#include <stdint.h>

typedef struct quantization {
    int bits; /* of input and output: 8 or 16 */
    float input_scale, output_scale;
    int32_t input_zero_point, output_zero_point;
    int32_t least, most; /* what the output is clamped to */
} quantization;

/* The words for a fused activation, and NULL; "none" is the first. */
extern const char *const activation_words[];

/* Set q->least and q->most. False if 6 / output_scale has no 32 bits. */
bool set_activation(quantization *q, const char *word);

/* mantissa 2^(shift - 31), the mantissa 0 or from 2^30 to 2^31 - 1 */
typedef struct fixed_multiplier {
    int32_t mantissa;
    int shift;
} fixed_multiplier;

/* M = input_scale weight_scale / output_scale in double, and then
 *     M = f 2^shift with 1/2 <= f < 1,    mantissa = round(2^31 f), halves away from 0
 * where a mantissa of 2^31 is 2^30 with the next shift, and below a shift of -31 both are 0. M is positive. */
fixed_multiplier quantize_multiplier(const quantization *q, float weight_scale);

/* The output for a sum. False beyond the numbers for which TensorFlow Lite is defined.
 *
 * 8 bits:     h = floor((sum 2^max(shift, 0) mantissa + 2^30) / 2^31)         product = h / 2^max(-shift, 0), halves away from 0
 *             sum 2^max(shift, 0) and output_zero_point + product have 32 bits
 * 16 bits:    m = min(floor((mantissa + 2^15) / 2^16), 2^15 - 1)
 *             product = floor((sum m + 2^(14 - shift)) / 2^(15 - shift))
 *             -2^47 <= sum < 2^47, shift <= 7, product has 32 bits */
bool requantize(const quantization *q, fixed_multiplier m, int64_t sum, int32_t *output);

#endif

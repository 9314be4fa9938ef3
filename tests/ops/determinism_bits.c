/* The bits of ops and of their gradients, the same on every processor and from every compiler. What changes them changes the results of
 * users: the hashes below, the manual (Bits, in pleat.h), and CHANGELOG.md. Functions: elementwise_functions.c. */
#include "bits.h"

#include <criterion/criterion.h>

#include "determinism.h"

static pleat_tensor *row_of(pleat_tensor *x) {
    return pleat_slice(x, (size_t[]){1, 0}, (size_t[]){1, pleat_size(x, 1)}, NULL);
}

/* x^2 + 1/4 */
static pleat_tensor *positive(pleat_tensor *x) { return pleat_shift(pleat_square(x), 0.25); }

static pleat_tensor *turned(pleat_tensor *x) { return pleat_permute(x, (size_t[]){1, 0}); }

static pleat_tensor *share(pleat_tensor *x) { return pleat_scale(pleat_shift(x, 2), 0.25); }

enum { ROWS = 61, COLUMNS = 83 };
static size_t place[ROWS * COLUMNS];

static pleat_tensor *scattered(pleat_tensor *x) {
    for (size_t i = 0; i < ROWS * COLUMNS; i++) place[i] = i * i % 17;
    return pleat_scatter_add(x, 1, (size_t[]){ROWS, 17}, place);
}

#define TABLE \
    2, { ROWS, COLUMNS }
#define LONG \
    2, { 5, 4099 }
#define IMAGES \
    4, { 3, 6, 37, 41 }
#define SMALL \
    4, { 33, 10, 5, 3 }

/* ---- elements ------------------------------------------------------------------------------------------- */

BITS_OF(add, pleat_add(x, row_of(x)))
BITS_OF(sub, pleat_sub(row_of(x), x))
BITS_OF(mul, pleat_mul(pleat_mul(x, w), row_of(x)))
BITS_OF(quotient, pleat_div(x, positive(w)))
BITS_OF(scale, pleat_shift(pleat_scale(x, 0.3), 1.1))
BITS_OF(root, pleat_sqrt(positive(x)))
BITS_OF(power, pleat_pow(positive(x), 1.7))
BITS_OF(inverse_root, pleat_pow(positive(x), -0.5))
BITS_OF(magnitude, pleat_abs(x))
BITS_OF(whole, pleat_add(pleat_floor(pleat_scale(x, 9)), pleat_round(pleat_scale(x, 5))))
BITS_OF(larger, pleat_maximum(x, row_of(x)))
BITS_OF(chosen, pleat_where(pleat_gt(x, row_of(x)), x, pleat_square(x)))
BITS_OF(clamped, pleat_clamp(pleat_relu6(pleat_scale(x, 4)), 0.5, 5))
BITS_OF(leaky, pleat_leaky_relu(pleat_elu(x, 0.7), 0.1))
BITS_OF(smooth, pleat_add(pleat_silu(x), pleat_gelu(x)))
BITS_OF(squashed, pleat_add(pleat_tanh(x), pleat_softplus(pleat_sigmoid(x))))
BITS_OF(waves, pleat_mul(pleat_sin(x), pleat_cos(x)))
BITS_OF(exponentials, pleat_add(pleat_exp(x), pleat_log(positive(x))))
BITS_OF(prelu, pleat_prelu(x, w))
BITS_OF(entropy, pleat_bce(share(x), share(pleat_flip(x, PLEAT_AXES(0)))))
BITS_OF(entropy_of_logits, pleat_bce_with_logits(x, share(pleat_flip(x, PLEAT_AXES(0)))))
BITS_OF(cast, pleat_cast(pleat_square(pleat_cast(x, PLEAT_F32)), PLEAT_F64))
BITS_OF(dropped, pleat_dropout(x, 0.3))
BITS_OF(normal, pleat_mul(x, pleat_randn(pleat_ctx_of(x), pleat_dtype_of(x), PLEAT_SHAPE(ROWS, COLUMNS))))
BITS_OF(spaced, pleat_mul(w, pleat_linspace(pleat_ctx_of(x), pleat_dtype_of(x), -0.1, 7, COLUMNS)))
BITS_OF(counted, pleat_mul(w, pleat_arange(pleat_ctx_of(x), pleat_dtype_of(x), 0.3, 8.55, 0.1)))

Test(bits, of_elements) {
    static const bits_case cases[] = {
        {"add", add, TABLE, 0xa2713237df071fd7u},
        {"sub", sub, TABLE, 0x9b6247eb9f6adfddu},
        {"mul", mul, TABLE, 0x82492be9b76834a7u},
        {"div", quotient, TABLE, 0xacc0c3e4e348a59du},
        {"scale, shift", scale, TABLE, 0x7ecbd6cbee35c832u},
        {"sqrt", root, TABLE, 0xaf81a1400b91b925u},
        {"pow", power, TABLE, 0xbdcee99461a3b16bu},
        {"pow -0.5", inverse_root, TABLE, 0x18ea93a4836b91b5u},
        {"abs", magnitude, TABLE, 0x15a3178e3a6c4735u},
        {"floor, round", whole, TABLE, 0xcd81ae241ef4eb8du},
        {"maximum", larger, TABLE, 0x791412f9e0a87664u},
        {"where", chosen, TABLE, 0x26109a999a6e8567u},
        {"clamp, relu6", clamped, TABLE, 0x149a343d296344f3u},
        {"leaky_relu, elu", leaky, TABLE, 0x146140051b9d91c4u},
        {"silu, gelu", smooth, TABLE, 0x363196201974f2eeu},
        {"tanh, softplus, sigmoid", squashed, TABLE, 0x1429724d624438e4u},
        {"sin, cos", waves, TABLE, 0x1d0b885711ad120au},
        {"exp, log", exponentials, TABLE, 0xb951daca88a3f911u},
        {"prelu", prelu, IMAGES, 0x0f74b8c329dfd13cu},
        {"prelu of rows", prelu, TABLE, 0x636482cff872466eu},
        {"bce", entropy, TABLE, 0x37308cdf0feaba66u},
        {"bce_with_logits", entropy_of_logits, TABLE, 0x6cd810d6ac13de83u},
        {"cast", cast, TABLE, 0x96c1cd6bdd0aa272u},
        {"dropout", dropped, TABLE, 0xb2d7172c4cf1074fu},
        {"randn", normal, TABLE, 0xf8ca1d6e061a5fbfu},
        {"linspace", spaced, TABLE, 0x284ed1a9787cb0a4u},
        {"arange", counted, TABLE, 0x2f3196c60fdfdf65u},
    };
    bits_expect(sizeof cases / sizeof *cases, cases);
}

/* ---- sums ----------------------------------------------------------------------------------------------- */

BITS_OF(sum, pleat_sum(pleat_square(x)))
BITS_OF(sum_of_rows, pleat_sum(pleat_square(x), PLEAT_AXES(1)))
BITS_OF(sum_of_columns, pleat_sum(pleat_square(x), PLEAT_AXES(0)))
BITS_OF(sum_of_view, pleat_sum(turned(pleat_mul(x, w)), PLEAT_AXES(0)))
BITS_OF(sum_of_channels, pleat_sum(pleat_square(x), PLEAT_AXES(0, 2, 3)))
BITS_OF(sum_of_ends, pleat_sum(pleat_square(x), PLEAT_AXES(1, 3), .keep = true))
BITS_OF(mean, pleat_mean(pleat_square(x), PLEAT_AXES(2)))
BITS_OF(var, pleat_var(x))
BITS_OF(var_of_rows, pleat_var(x, PLEAT_AXES(1)))
BITS_OF(var_of_channels, pleat_var(x, PLEAT_AXES(0, 2, 3)))
BITS_OF(extremes, pleat_sub(pleat_amax(x, PLEAT_AXES(0, 2)), pleat_amin(x, PLEAT_AXES(0, 2))))
BITS_OF(running, pleat_add(pleat_cumsum(x, 0), pleat_cumsum(pleat_square(x), 1)))
BITS_OF(log_sum_exp, pleat_log_sum_exp(x, PLEAT_AXES(1)))
BITS_OF(softmax, pleat_softmax(x, 1))
BITS_OF(softmax_of_columns, pleat_softmax(x, 0))
BITS_OF(log_softmax, pleat_log_softmax(x, 1))
BITS_OF(scatter, scattered(x))

Test(bits, of_sums) {
    static const bits_case cases[] = {
        {"sum", sum, LONG, 0x4ca8ec15c506a4a9u},
        {"sum of images", sum, IMAGES, 0x7093956b4f6508ecu},
        {"sum of rows", sum_of_rows, LONG, 0xa5fd7226f6018e0bu},
        {"sum of short rows", sum_of_rows, TABLE, 0x6ae49daa013b6515u},
        {"sum of columns", sum_of_columns, TABLE, 0x9abae59b67b9d596u},
        {"sum of a view", sum_of_view, TABLE, 0x7da1c1b1a5ef59a9u},
        {"sum of channels", sum_of_channels, IMAGES, 0x0d8a4b3a86cd15b4u},
        {"sum of two axes", sum_of_ends, IMAGES, 0xb74dd8aecc398786u},
        {"mean", mean, IMAGES, 0x8ecc5e84eab2a15du},
        {"var", var, IMAGES, 0x8380798754d19766u},
        {"var of rows", var_of_rows, TABLE, 0x2547698b30a8ef0du},
        {"var of channels", var_of_channels, SMALL, 0x26f0c0a431800d06u},
        {"amax, amin", extremes, IMAGES, 0x1f076bc64c93cf17u},
        {"cumsum", running, TABLE, 0x806bc440b5aa57e9u},
        {"log_sum_exp", log_sum_exp, TABLE, 0xb61e34e31ebedff9u},
        {"softmax", softmax, LONG, 0x5ffe2069e2928f48u},
        {"softmax of columns", softmax_of_columns, TABLE, 0xb25b336bfb9a3128u},
        {"log_softmax", log_softmax, TABLE, 0xd219961522008873u},
        {"scatter_add", scatter, TABLE, 0xdc2b1f8912fe3997u},
    };
    bits_expect(sizeof cases / sizeof *cases, cases);
}

/* ---- norms ---------------------------------------------------------------------------------------------- */

BITS_OF(normalize, pleat_normalize(x, PLEAT_AXES(0, 2), 1e-3))
BITS_OF(batch_norm, pleat_batch_norm(x, .weight = w, .bias = b))
BITS_OF(batch_norm_relu, pleat_batch_norm(x, .weight = w, .bias = b, .relu = true))
BITS_OF(given, pleat_batch_norm(x, .weight = w, .bias = b, .mean = b, .var = positive(w), .relu6 = true))
BITS_OF(group_norm, pleat_group_norm(x, .weight = w, .bias = b, .groups = 2))
BITS_OF(layer_norm, pleat_layer_norm(x, .weight = w, .bias = b))

Test(bits, of_norms) {
    static const bits_case cases[] = {
        {"normalize", normalize, IMAGES, 0x927c1875b9d1cc7du},
        {"batch_norm", batch_norm, IMAGES, 0x9f340fd3eddc1523u},
        {"batch_norm of small images", batch_norm, SMALL, 0xc89d13b9dd77da2du},
        {"batch_norm of rows", batch_norm, TABLE, 0x8f0b2782690537bau},
        {"batch_norm, relu", batch_norm_relu, IMAGES, 0xdc64a1255143ad52u},
        {"batch_norm, relu, of small images", batch_norm_relu, SMALL, 0xb32f78955ba35c3cu},
        {"batch_norm by given statistics", given, IMAGES, 0x074ac6a4843c7994u},
        {"group_norm", group_norm, IMAGES, 0xedff0c4d38318083u},
        {"group_norm of small images", group_norm, SMALL, 0x97514db4ce0a5748u},
        {"layer_norm", layer_norm, LONG, 0xd75647e706fddf41u},
        {"layer_norm of short rows", layer_norm, TABLE, 0x3556e8aad0fc8143u},
    };
    bits_expect(sizeof cases / sizeof *cases, cases);
}

/* ---- images --------------------------------------------------------------------------------------------- */

BITS_OF(max_pool, pleat_max_pool2d(x, .kernel = {3, 2}, .stride = {2, 1}, .pad = {1, 1}))
BITS_OF(max_pool_of_pairs, pleat_max_pool2d(x, .kernel = {2, 2}))
BITS_OF(avg_pool, pleat_avg_pool2d(x, .kernel = {3, 3}, .stride = {2, 2}, .pad = {1, 1}))
BITS_OF(avg_pool_without_pad, pleat_avg_pool2d(x, .kernel = {3, 2}, .stride = {2, 2}, .pad = {1, 1},
                                               .exclude_pad = true, .ceil_mode = true))
BITS_OF(adaptive, pleat_adaptive_avg_pool2d(x, 5, 7))
BITS_OF(global, pleat_adaptive_avg_pool2d(x, 1, 1))
BITS_OF(nearest, pleat_resize_nearest(x, .size = {50, 20}))
BITS_OF(bilinear, pleat_resize_bilinear(x, .size = {50, 20}))
BITS_OF(bilinear_aligned, pleat_resize_bilinear(x, .factor = {2, 3}, .align_corners = true))
BITS_OF(bilinear_wide, pleat_resize_bilinear(x, .size = {11, 17}, .antialias = true))
BITS_OF(bicubic, pleat_resize_bicubic(x, .size = {50, 20}))
BITS_OF(bicubic_wide, pleat_resize_bicubic(x, .size = {11, 17}, .antialias = true))

Test(bits, of_images) {
    static const bits_case cases[] = {
        {"max_pool2d", max_pool, IMAGES, 0x3c97a92607aba1c9u},
        {"max_pool2d, 2x2", max_pool_of_pairs, IMAGES, 0x583be8ec49be0e72u},
        {"avg_pool2d", avg_pool, IMAGES, 0x584e41489a27c800u},
        {"avg_pool2d without padding", avg_pool_without_pad, IMAGES, 0x5c945cf4f6a60849u},
        {"adaptive_avg_pool2d", adaptive, IMAGES, 0x7cbb5e116e08c2a1u},
        {"global pool", global, IMAGES, 0x7e75c6d76f68fc67u},
        {"resize_nearest", nearest, IMAGES, 0x182fb7dd4a049131u},
        {"resize_bilinear", bilinear, IMAGES, 0x99d83f1f76905bfau},
        {"resize_bilinear, corners", bilinear_aligned, SMALL, 0x165f6a0a45126ac3u},
        {"resize_bilinear, antialias", bilinear_wide, IMAGES, 0xd60002c5a5c3bda9u},
        {"resize_bicubic", bicubic, IMAGES, 0xf340e75e53eb0957u},
        {"resize_bicubic, antialias", bicubic_wide, IMAGES, 0x0c1ef5521bd1ef1eu},
    };
    bits_expect(sizeof cases / sizeof *cases, cases);
}

/* ---- products and convolutions -------------------------------------------------------------------------- */

/* Some of x as weights [n,6,3,3]. */
static pleat_tensor *weights(pleat_tensor *x, size_t n) {
    return pleat_slice(x, (size_t[]){0, 0, 4, 5}, (size_t[]){n, 6, 3, 3}, NULL);
}

BITS_OF(product, pleat_matmul(x, x, .tb = true))
BITS_OF(product_of_turned, pleat_matmul(x, x, .ta = true))
BITS_OF(conv2d, pleat_conv2d(x, weights(x, 2), .stride = {2, 1}, .pad = {1, 2}))
BITS_OF(depthwise, pleat_conv2d(x, pleat_reshape(weights(x, 1), PLEAT_SHAPE(6, 1, 3, 3)), .groups = 6,
                                .bias = w, .relu = true))
BITS_OF(transpose,
        pleat_conv2d_transpose(x, pleat_permute(weights(x, 3), (size_t[]){1, 0, 2, 3}), .stride = {2, 2}))

Test(bits, of_products) {
    take_path("auto"); /* im2col is not defined */
    static const bits_case cases[] = {
        {"matmul", product, TABLE, 0x51a1fcd46c03a44du},
        {"matmul, turned", product_of_turned, TABLE, 0x09a025ee866c2c63u},
        {"matmul of long rows", product, LONG, 0x39f5687b6ca83501u},
        {"conv2d", conv2d, IMAGES, 0x6a702a247fc553bdu},
        {"conv2d, depthwise", depthwise, IMAGES, 0x69ea89974288d613u},
        {"conv2d_transpose", transpose, IMAGES, 0xf096f2cc1788c127u},
    };
    bits_expect(sizeof cases / sizeof *cases, cases);
}

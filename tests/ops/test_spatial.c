/* Pools, resizes, norms and dropout: PyTorch's values and gradients, difference quotients to order 3, naive loops and laws. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>

#include "rows.h"
#include "windows.h"

static oracle *torch;

static void begin(void) {
    tensors_begin();
    torch = oracle_read("spatial.txt");
    cr_assert(torch);
}

static void end(void) {
    oracle_free(torch);
    tensors_end();
}

TestSuite(spatial, .init = begin, .fini = end);

/* ---- PyTorch --------------------------------------------------------------------------------------------- */

/* The options of the case that is being compared. */
static const double *options;

static pleat_pool_args pool(pleat_tensor *x) {
    size_t o[10];
    for (size_t i = 0; i < 10; i++) o[i] = (size_t)options[i];
    return (pleat_pool_args){.x = x,
                             .kernel = {o[0], o[1]},
                             .stride = {o[2], o[3]},
                             .pad = {o[4], o[5] > 0 ? o[5] : PLEAT_NONE},
                             .dilation = {o[6], o[7]},
                             .ceil_mode = o[8] != 0,
                             .exclude_pad = o[9] != 0};
}

static pleat_pool_args max_pool(pleat_tensor *x) {
    pleat_pool_args a = pool(x);
    a.exclude_pad = false;
    return a;
}

static pleat_resize_args resize(pleat_tensor *x, bool smooth) {
    return (pleat_resize_args){.x = x,
                               .size = {(size_t)options[0], (size_t)options[1]},
                               .align_corners = smooth && options[2] != 0,
                               .antialias = smooth && options[3] != 0};
}

static pleat_edge_pad_args edges(pleat_tensor *x) {
    pleat_edge_pad_args a = {.x = x};
    for (size_t k = 0; k < 4; k++) a.pads[k] = (ptrdiff_t)options[k];
    return a;
}

FUNCTION(max_pool2d, pleat_max_pool2d_with(max_pool(a)))
FUNCTION(avg_pool2d, pleat_avg_pool2d_with(pool(a)))
FUNCTION(adaptive, pleat_adaptive_avg_pool2d(a, (size_t)options[0], (size_t)options[1]))
FUNCTION(reflection, pleat_square(pleat_reflection_pad2d_with(edges(a))))
FUNCTION(replication, pleat_square(pleat_replication_pad2d_with(edges(a))))
FUNCTION(nearest, pleat_resize_nearest_with(resize(a, false)))
FUNCTION(bilinear, pleat_resize_bilinear_with(resize(a, true)))
FUNCTION(bicubic, pleat_resize_bicubic_with(resize(a, true)))

static void expect_family(const char *family, pleat_function f, size_t cases) {
    size_t found = 0;
    for (size_t i = 0; i < 24; i++) {
        char name[48];
        snprintf(name, sizeof name, "%s.%zu", family, i);
        const oracle_array *o = oracle_find(torch, "%s.options", name);
        if (!o) continue;
        options = o->values;
        expect_op(torch, name, f);
        found++;
    }
    cr_assert_eq(found, cases, "%s: %zu cases instead of %zu", family, found, cases);
}

Test(spatial, pools_agree_with_pytorch) {
    expect_family("max_pool2d", max_pool2d, 13);
    expect_family("avg_pool2d", avg_pool2d, 10);
    expect_family("adaptive", adaptive, 4);
}

Test(spatial, resizes_agree_with_pytorch) {
    expect_family("nearest", nearest, 5);
    expect_family("bilinear", bilinear, 20);
    expect_family("bicubic", bicubic, 20);
}

Test(spatial, edge_pads_agree_with_pytorch) {
    expect_family("reflect", reflection, 3);
    expect_family("replicate", replication, 3);
}

static pleat_tensor *numbers(pleat_tensor *like, double x, double y) {
    return pleat_from_f64(ctx, pleat_dtype_of(like), PLEAT_SHAPE(2), (double[]){x, y});
}

FUNCTION(shuffle, pleat_square(pleat_pixel_shuffle(a, 2)))
FUNCTION(unshuffle, pleat_square(pleat_pixel_unshuffle(a, 3)))
FUNCTION(batch_norm, pleat_batch_norm(a, b, c))
FUNCTION(batch_norm_plain, pleat_batch_norm(a, .eps = 1e-3))
FUNCTION(batch_norm_given, pleat_batch_norm(a, b, c, numbers(a, 0.5, -1), numbers(a, 0.75, 2)))
FUNCTION(group_norm, pleat_group_norm(a, b, c, .groups = 2))
FUNCTION(group_norm_plain, pleat_group_norm(a, .groups = 3, .eps = 1e-2))
FUNCTION(layer_norm, pleat_layer_norm(a, b, c, .axes = 2))
FUNCTION(layer_norm_plain, pleat_layer_norm(a))

Test(spatial, norms_agree_with_pytorch) {
    expect_op(torch, "pixel_shuffle.0", shuffle);
    expect_op(torch, "pixel_unshuffle.0", unshuffle);
    expect_op(torch, "batch_norm.0", batch_norm);
    expect_op(torch, "batch_norm.1", batch_norm_plain);
    expect_op(torch, "batch_norm.2", batch_norm_given);
    expect_op(torch, "group_norm.0", group_norm);
    expect_op(torch, "group_norm.1", group_norm_plain);
    expect_op(torch, "layer_norm.0", layer_norm);
    expect_op(torch, "layer_norm.1", layer_norm_plain);
}

/* ---- difference quotients ---------------------------------------------------------------------------------- */

/* Numbers in x's shape, of which no two are closer than `step`. */
static pleat_tensor *steps(pleat_tensor *x, double step) {
    double values[101];
    cr_assert(pleat_numel(x) <= 101);
    for (size_t i = 0; i < pleat_numel(x); i++) values[i] = (double)(i * 37 % 101) * step;
    return pleat_from_f64(ctx, pleat_dtype_of(x), 4, pleat_shape(x), values);
}

static pleat_tensor *apart(pleat_tensor *x) { return pleat_add(x, steps(x, 3)); }

FUNCTION(pool_2, pleat_max_pool2d(apart(a), .kernel = {2, 2}, .stride = {1, 2}, .pad = {1, PLEAT_NONE}))
FUNCTION(pool_ceil, pleat_max_pool2d(apart(a), .kernel = {2, 2}, .ceil_mode = true))
FUNCTION(pool_quarters, pleat_max_pool2d(apart(a), .kernel = {2, 2}))
FUNCTION(pool_line, pleat_max_pool2d(apart(a), .kernel = {1, 2}))
FUNCTION(pool_apart, pleat_max_pool2d(apart(a), .kernel = {2, 2}, .stride = {1, 1}, .dilation = {1, 2}))
FUNCTION(mean_2, pleat_avg_pool2d(a, .kernel = {2, 3}, .stride = {1, 2}, .pad = {1, 1}))
FUNCTION(mean_exclude, pleat_avg_pool2d(a, .kernel = {2, 2}, .pad = {1, 1}, .exclude_pad = true))
FUNCTION(global, pleat_adaptive_avg_pool2d(a, 1, 1))
FUNCTION(nearest_2, pleat_resize_nearest(a, .factor = {2, 2}))
FUNCTION(bilinear_2, pleat_resize_bilinear(a, .factor = {2, 3}))
FUNCTION(bilinear_small, pleat_resize_bilinear(a, .size = {2, 1}, .antialias = true))
FUNCTION(bicubic_2, pleat_resize_bicubic(a, .size = {3, 2}, .align_corners = true))
FUNCTION(bicubic_small, pleat_resize_bicubic(a, .size = {2, 2}, .antialias = true))
FUNCTION(shuffle_rows, pleat_pixel_shuffle(a, 2))
FUNCTION(unshuffle_rows, pleat_pixel_unshuffle(a, 2))
FUNCTION(normal, pleat_normalize(a, PLEAT_AXES(0, 2), 0.1))
FUNCTION(normal_between, pleat_normalize(a, PLEAT_AXES(1), 0.1))
FUNCTION(normal_all, pleat_normalize(pleat_permute(a, (size_t[]){2, 0, 1}), PLEAT_AXES(0, 1, 2), 0.1))
FUNCTION(mirrored, pleat_reflection_pad2d(a, .pads = {1, 2, 0, 1}))
FUNCTION(repeated, pleat_replication_pad2d(a, .pad = {2, 1}))
FUNCTION(batch, pleat_batch_norm(a, b, c, .eps = 0.1))
FUNCTION(batch_by, pleat_batch_norm(a, .mean = b, .var = pleat_square(c), .eps = 0.3))
FUNCTION(group, pleat_group_norm(a, b, c, .groups = 2, .eps = 0.1))
FUNCTION(layer, pleat_layer_norm(a, b, c, .eps = 0.1))
/* a bias of one sign for each channel keeps relu away from its kink */
static pleat_tensor *far(pleat_tensor *c) { return pleat_add(c, numbers(c, 9, -9)); }
FUNCTION(batch_relu, pleat_batch_norm(a, b, far(c), .eps = 0.1, .relu = true))
FUNCTION(batch_relu6, pleat_batch_norm(a, b, pleat_add(c, numbers(c, 3, 12)), .eps = 0.1, .relu6 = true))
FUNCTION(batch_by_relu,
         pleat_batch_norm(a, .bias = far(c), .mean = b, .var = pleat_square(c), .eps = 0.3, .relu = true))
FUNCTION(instance_relu, pleat_group_norm(a, b, far(c), .groups = 2, .eps = 0.1, .relu = true))
FUNCTION(layer_relu, pleat_layer_norm(a, b, far(c), .eps = 0.1, .relu = true))
FUNCTION(batch_bias, pleat_batch_norm(a, .bias = far(b), .eps = 0.1, .relu = true))
FUNCTION(batch_weight, pleat_batch_norm(a, b, .eps = 0.1))
static pleat_tensor *dropped(pleat_tensor *x) {
    *pleat_ctx_rng(ctx) = pleat_rng_new(5, 0);
    return pleat_dropout(x, 0.4);
}
FUNCTION(dropout, dropped(pleat_square(a)))

Test(spatial, gradients) {
    static const row rows[] = {
        {"max_pool2d", pool_2, -1, 1, .rank = {4}, .shape = {{1, 2, 2, 4}}},
        {"max_pool2d, ceil", pool_ceil, -1, 1, .rank = {4}, .shape = {{1, 1, 3, 3}}},
        {"max_pool2d, 2x2", pool_quarters, -1, 1, .rank = {4}, .shape = {{1, 1, 4, 11}}},
        {"max_pool2d, 1x2", pool_line, -1, 1, .rank = {4}, .shape = {{1, 1, 2, 11}}},
        {"max_pool2d, dilation", pool_apart, -1, 1, .rank = {4}, .shape = {{1, 1, 2, 3}}},
        {"avg_pool2d", mean_2, -1, 1, .rank = {4}, .shape = {{1, 1, 2, 4}}},
        {"avg_pool2d, without padding", mean_exclude, -1, 1, .rank = {4}, .shape = {{1, 1, 3, 2}}},
        {"adaptive_avg_pool2d", global, -1, 1, .rank = {4}, .shape = {{2, 1, 2, 2}}},
        {"resize_nearest", nearest_2, -1, 1, .rank = {4}, .shape = {{1, 1, 2, 2}}},
        {"resize_bilinear", bilinear_2, -1, 1, .rank = {4}, .shape = {{1, 1, 2, 2}}},
        {"resize_bilinear, antialias", bilinear_small, -1, 1, .rank = {4}, .shape = {{1, 1, 5, 2}}},
        {"resize_bicubic", bicubic_2, -1, 1, .rank = {4}, .shape = {{1, 1, 2, 3}}},
        {"resize_bicubic, antialias", bicubic_small, -1, 1, .rank = {4}, .shape = {{1, 1, 4, 2}}},
        {"pixel_shuffle", shuffle_rows, -1, 1, .rank = {4}, .shape = {{1, 4, 1, 2}}},
        {"pixel_unshuffle", unshuffle_rows, -1, 1, .rank = {4}, .shape = {{1, 1, 2, 4}}},
        {"reflection_pad2d", mirrored, -1, 1, .rank = {4}, .shape = {{1, 1, 2, 3}}},
        {"replication_pad2d", repeated, -1, 1, .rank = {3}, .shape = {{2, 1, 2}}},
        {"normalize", normal, -1, 1, .rank = {3}, .shape = {{2, 2, 2}}},
        {"normalize an inner axis", normal_between, -1, 1, .rank = {3}, .shape = {{2, 3, 1}}},
        {"normalize all", normal_all, -1, 1, .rank = {3}, .shape = {{1, 2, 2}}},
        {"batch_norm", batch, -1, 1, .rank = {3, 1, 1}, .shape = {{2, 2, 2}, {2}, {2}}},
        {"batch_norm, given statistics", batch_by, -1, 1, .rank = {3, 1, 1}, .shape = {{2, 2, 2}, {2}, {2}}},
        {"group_norm", group, -1, 1, .rank = {3, 1, 1}, .shape = {{1, 4, 2}, {4}, {4}}},
        {"layer_norm", layer, -1, 1, .rank = {2, 1, 1}, .shape = {{2, 3}, {3}, {3}}},
        {"batch_norm, relu", batch_relu, -1, 1, .rank = {3, 1, 1}, .shape = {{2, 2, 2}, {2}, {2}}},
        {"batch_norm, relu6", batch_relu6, -1, 1, .rank = {3, 1, 1}, .shape = {{2, 2, 2}, {2}, {2}}},
        {"given statistics, relu", batch_by_relu, -1, 1, .rank = {3, 1, 1}, .shape = {{2, 2, 2}, {2}, {2}}},
        {"instance norm, relu", instance_relu, -1, 1, .rank = {3, 1, 1}, .shape = {{2, 2, 2}, {2}, {2}}},
        {"layer_norm, relu", layer_relu, -1, 1, .rank = {2, 1, 1}, .shape = {{2, 2}, {2}, {2}}},
        {"batch_norm, bias", batch_bias, -1, 1, .rank = {3, 1}, .shape = {{2, 2, 2}, {2}}},
        {"batch_norm, weight", batch_weight, -1, 1, .rank = {3, 1}, .shape = {{2, 2, 2}, {2}}},
        {"dropout", dropout, -1, 1, .rank = {1}, .shape = {{6}}},
    };
    CHECK_ROWS(rows);
}

/* ---- naive loops ------------------------------------------------------------------------------------------- */

typedef struct seen {
    double largest, sum, pixels, area; /* area: of the window within the padded image */
    size_t at;                         /* of the first that is the largest */
} seen;

static seen window(const double *x, size_t H, size_t W, const pleat_pool_args *a, size_t p, size_t q) {
    seen y = {.largest = -INFINITY};
    for (size_t r = 0; r < a->kernel[0]; r++)
        for (size_t s = 0; s < a->kernel[1]; s++) {
            ptrdiff_t h = (ptrdiff_t)(p * a->stride[0] + r * a->dilation[0]) - (ptrdiff_t)a->pad[0];
            ptrdiff_t w = (ptrdiff_t)(q * a->stride[1] + s * a->dilation[1]) - (ptrdiff_t)a->pad[1];
            y.area += h < (ptrdiff_t)(H + a->pad[0]) && w < (ptrdiff_t)(W + a->pad[1]);
            if (h < 0 || w < 0 || h >= (ptrdiff_t)H || w >= (ptrdiff_t)W) continue;
            double v = x[h * (ptrdiff_t)W + w];
            if (y.pixels == 0 || v > y.largest) y.largest = v, y.at = (size_t)h * W + (size_t)w;
            y.sum += v;
            y.pixels++;
        }
    return y;
}

static void expect_pools(pleat_tensor *x, pleat_pool_args a) {
    size_t H = pleat_size(x, 2), W = pleat_size(x, 3);
    size_t P = windows_along(&a, 0, H), Q = windows_along(&a, 1, W), NC = pleat_size(x, 0) * pleat_size(x, 1);
    bool dilated = a.dilation[0] > 1 || a.dilation[1] > 1, exclude = a.exclude_pad;
    double values[1024], moved[1024] = {0}, largest[2048], mean[2048], g[2048];
    cr_assert(NC * H * W <= 1024 && NC * P * Q <= 2048);
    pleat_read_f64(x, values);
    for (size_t i = 0; i < NC * P * Q; i++) {
        seen y = window(values + i / (P * Q) * H * W, H, W, &a, i / Q % P, i % Q);
        largest[i] = y.largest;
        g[i] = (double)(i % 29) - 9;
        if (y.pixels > 0) moved[i / (P * Q) * H * W + y.at] += g[i];
        mean[i] = y.sum / (exclude ? y.pixels : y.area);
    }
    size_t shape[] = {pleat_size(x, 0), pleat_size(x, 1), P, Q};
    a.x = x;
    if (a.pad[1] == 0) a.pad[1] = PLEAT_NONE;
    if (!dilated)
        EXPECT_NEAR(pleat_avg_pool2d_with(a), pleat_from_f64(ctx, pleat_dtype_of(x), 4, shape, mean), 1e-6);
    a.exclude_pad = false;
    pleat_tensor *y = pleat_max_pool2d_with(a), *gx;
    EXPECT_HOLDS(y, 4, shape, largest);
    pleat_grads(y, pleat_from_f64(ctx, pleat_dtype_of(x), 4, shape, g), 1, &x, &gx, 0);
    EXPECT_HOLDS(gx, 4, pleat_shape(x), moved);
    bool recorded = pleat_set_recording(ctx, false);
    EXPECT_HOLDS(pleat_max_pool2d_with(a), 4, shape, largest);
    pleat_set_recording(ctx, recorded);
}

static void expect_random_pools(uint64_t seed) {
    pleat_scope scope = pleat_begin(ctx);
    pleat_rng r = pleat_rng_new(seed, 1);
    pleat_pool_args a = {.ceil_mode = pleat_rng_below(&r, 2) == 1,
                         .exclude_pad = pleat_rng_below(&r, 2) == 1};
    bool dilated = pleat_rng_below(&r, 2) == 1;
    size_t size[2];
    for (size_t k = 0; k < 2; k++) {
        a.kernel[k] = 1 + (size_t)pleat_rng_below(&r, seed % 8 ? 4 : 9);
        a.stride[k] = seed % 3 ? 1 + (size_t)pleat_rng_below(&r, 4) : a.kernel[k];
        a.pad[k] = seed % 3 ? (size_t)pleat_rng_below(&r, a.kernel[k] / 2 + 1) : 0;
        a.dilation[k] = dilated ? 1 + (size_t)pleat_rng_below(&r, 3) : 1;
        size[k] = 1 + (size_t)pleat_rng_below(&r, 7 + 9 * k);
    }
    pleat_tensor *x = whole(seed % 2 ? PLEAT_F32 : PLEAT_F64, PLEAT_SHAPE(2, 1 + seed % 4, size[0], size[1]));
    if (windows_along(&a, 0, size[0]) == 0 || windows_along(&a, 1, size[1]) == 0) {
        a.x = x, a.exclude_pad = false;
        if (a.pad[1] == 0) a.pad[1] = PLEAT_NONE;
        EXPECT_REFUSED(pleat_max_pool2d_with(a), PLEAT_ERR_SHAPE, "max_pool2d", "exceeds the image");
    } else {
        expect_pools(x, a);
        expect_pools(gappy(x), a);
    }
    pleat_end(scope);
}

Test(spatial, pools_equal_naive_loops) {
    for (uint64_t seed = 0; seed < 2000; seed++) expect_random_pools(seed);
}

/* The first pixel of a window is found behind its padding, though that is as small. */
Test(spatial, max_pool2d_of_minus_infinity) {
    pleat_pool_args a = {.kernel = {3, 3}, .stride = {2, 2}, .pad = {1, 1}, .dilation = {2, 2}};
    expect_pools(pleat_full(ctx, PLEAT_F32, PLEAT_SHAPE(1, 1, 4, 6), -INFINITY), a);
    expect_pools(pleat_full(ctx, PLEAT_F64, PLEAT_SHAPE(1, 2, 5, 17), -INFINITY), a);
}

/* y[p,q] from its definition: the mean of rows floor(p H/P) .. ceil((p+1) H/P) - 1, and the pixel at floor(p H/P). */
static void expect_blocks(pleat_tensor *x, size_t P, size_t Q) {
    size_t H = pleat_size(x, 2), W = pleat_size(x, 3);
    double values[64], mean[64], nearest[64];
    pleat_read_f64(x, values);
    for (size_t i = 0; i < P * Q; i++) {
        size_t p = i / Q, q = i % Q, count = 0;
        mean[i] = 0;
        for (size_t h = p * H / P; h * P < (p + 1) * H; h++)
            for (size_t w = q * W / Q; w * Q < (q + 1) * W; w++, count++) mean[i] += values[h * W + w];
        mean[i] /= (double)count;
        nearest[i] = values[p * H / P * W + q * W / Q];
    }
    EXPECT_NEAR(pleat_adaptive_avg_pool2d(x, P, Q),
                pleat_from_f64(ctx, pleat_dtype_of(x), PLEAT_SHAPE(1, 1, P, Q), mean), 1e-6);
    EXPECT_HOLDS(pleat_resize_nearest(x, .size = {P, Q}), PLEAT_SHAPE(1, 1, P, Q), nearest);
}

Test(spatial, blocks_equal_naive_loops) {
    for (size_t i = 0; i < 8 * 8 * 8; i++) {
        pleat_scope scope = pleat_begin(ctx);
        size_t H = 1 + i % 8, W = 1 + i * 5 % 8, P = 1 + i / 8 % 8, Q = 1 + i / 64;
        pleat_tensor *x = whole(i % 2 ? PLEAT_F32 : PLEAT_F64, PLEAT_SHAPE(1, 1, H, W));
        expect_blocks(i % 3 ? x : gappy(x), P, Q);
        pleat_end(scope);
    }
}

/* The pixel at h of an image of H: walk in, turning around at its ends, or stand still there. */
static size_t walked(ptrdiff_t h, size_t H, bool mirror) {
    ptrdiff_t end = (ptrdiff_t)H - 1;
    while (h < 0 || h > end) h = mirror ? (h < 0 ? -h : 2 * end - h) : (h < 0 ? h + 1 : h - 1);
    return (size_t)h;
}

static void expect_edge_pads(uint64_t seed) {
    pleat_scope scope = pleat_begin(ctx);
    pleat_rng r = pleat_rng_new(seed, 2);
    bool mirrors = seed % 2;
    size_t size[2], rank = 3 + (size_t)pleat_rng_below(&r, 2);
    pleat_edge_pad_args a = {.unset_ = 0};
    for (size_t k = 0; k < 2; k++) size[k] = 1 + (size_t)pleat_rng_below(&r, 5);
    for (size_t k = 0; k < 4; k++) a.pads[k] = (ptrdiff_t)pleat_rng_below(&r, mirrors ? size[k % 2] : 6);
    size_t P = size[0] + (size_t)(a.pads[0] + a.pads[2]), Q = size[1] + (size_t)(a.pads[1] + a.pads[3]);
    pleat_tensor *x = whole(seed % 3 ? PLEAT_F32 : PLEAT_F64, PLEAT_SHAPE(2, 1, size[0], size[1]));
    double values[50], wanted[512];
    pleat_read_f64(x, values);
    for (size_t i = 0; i < 2 * P * Q; i++) {
        size_t h = walked((ptrdiff_t)(i / Q % P) - a.pads[0], size[0], mirrors);
        size_t w = walked((ptrdiff_t)(i % Q) - a.pads[1], size[1], mirrors);
        wanted[i] = values[(i / (P * Q) * size[0] + h) * size[1] + w];
    }
    a.x = seed % 5 ? x : gappy(x);
    if (rank == 3) a.x = pleat_reshape(x, PLEAT_SHAPE(2, size[0], size[1]));
    pleat_tensor *y = (mirrors ? pleat_reflection_pad2d_with : pleat_replication_pad2d_with)(a);
    EXPECT_HOLDS(y, rank, rank == 4 ? (size_t[]){2, 1, P, Q} : (size_t[]){2, P, Q}, wanted);
    pleat_end(scope);
}

Test(spatial, edge_pads_equal_naive_loops) {
    for (uint64_t seed = 0; seed < 400; seed++) expect_edge_pads(seed);
}

Test(spatial, edge_pads_refuse) {
    pleat_tensor *x = whole(PLEAT_F32, PLEAT_SHAPE(1, 1, 3, 4)),
                 *none = pleat_zeros(ctx, PLEAT_F32, PLEAT_SHAPE(0, 2, 3, 3));
    EXPECT_REFUSED(pleat_reflection_pad2d(x, .pad = {3, 1}), PLEAT_ERR_SHAPE, "reflection_pad2d", "[1,1,3,4]",
                   "along H is 3", "reflected twice");
    EXPECT_REFUSED(pleat_reflection_pad2d(x, .pads = {0, 0, 0, -1}), PLEAT_ERR_SHAPE, "reflection_pad2d",
                   "along W is -1", "0 or more", "pleat_slice");
    EXPECT_REFUSED(pleat_replication_pad2d(x, .pad = {-1, 1}), PLEAT_ERR_SHAPE, "replication_pad2d",
                   "along H is -1");
    EXPECT_REFUSED(pleat_replication_pad2d(x, .pad = {1}), PLEAT_ERR_ARGUMENT, "replication_pad2d", "{1, 1}",
                   "PLEAT_NONE");
    EXPECT_REFUSED(pleat_replication_pad2d(x, .pad = {1, 1}, .pads = {1, 0, 0, 0}), PLEAT_ERR_ARGUMENT,
                   "replication_pad2d", "not both");
    EXPECT_REFUSED(pleat_replication_pad2d(x, .pads = {PTRDIFF_MAX, 0, 0, 0}), PLEAT_ERR_SHAPE,
                   "replication_pad2d", "ptrdiff_t");
    EXPECT_REFUSED(pleat_replication_pad2d(x, .pads = {PTRDIFF_MAX / 4, 0, 0, 0}), PLEAT_ERR_MEMORY,
                   "replication_pad2d", "memory");
    EXPECT_REFUSED(pleat_replication_pad2d(pleat_zeros(ctx, PLEAT_F32, PLEAT_SHAPE(0, 3)), .pad = {1, 1}),
                   PLEAT_ERR_SHAPE, "replication_pad2d", "no pixel");
    EXPECT_REFUSED(pleat_replication_pad2d(pleat_zeros(ctx, PLEAT_F32, PLEAT_SHAPE(3))), PLEAT_ERR_SHAPE,
                   "replication_pad2d", "[3]", "rank 2");
    EXPECT_SAME(pleat_reflection_pad2d(x), x);
    EXPECT_HOLDS(pleat_reflection_pad2d(none, .pad = {1, 2}), PLEAT_SHAPE(0, 2, 5, 7), VALUES(0));
    cr_assert(pleat_is_poison(pleat_reflection_pad2d(pleat_poison(ctx))));
}

/* 41 / 82 is less than a half in f32, and the pixel is 1 all the same. */
Test(spatial, nearest_divides_exactly) {
    pleat_tensor *x = counted(PLEAT_F32, PLEAT_SHAPE(1, 1, 1, 2)),
                 *y = pleat_resize_nearest(x, .size = {1, 82});
    cr_assert_eq(pleat_at(y, (size_t[]){0, 0, 0, 40}), 1);
    cr_assert_eq(pleat_at(y, (size_t[]){0, 0, 0, 41}), 2);
}

/* ---- laws -------------------------------------------------------------------------------------------------- */

Test(spatial, a_mean_pool_is_a_depthwise_convolution) {
    pleat_tensor *x = whole(PLEAT_F64, PLEAT_SHAPE(2, 3, 5, 6));
    pleat_tensor *w = pleat_full(ctx, PLEAT_F64, PLEAT_SHAPE(3, 1, 2, 2), 0.25);
    EXPECT_SAME(pleat_shift(pleat_avg_pool2d(x, .kernel = {2, 2}, .stride = {1, 2}, .pad = {1, 1}), 0),
                pleat_shift(pleat_conv2d(x, w, .stride = {1, 2}, .pad = {1, 1}, .groups = 3), 0));
    EXPECT_SAME(pleat_avg_pool2d(x, .kernel = {1, 1}), x);
    EXPECT_SAME(pleat_max_pool2d(x, .kernel = {1, 1}), x);
    EXPECT_NEAR(pleat_adaptive_avg_pool2d(x, 1, 1), pleat_mean(x, PLEAT_AXES(2, 3), .keep = true), 1e-15);
    EXPECT_SAME(pleat_adaptive_avg_pool2d(x, 5, 6), x);
}

/* A linear function of x, whose adjoint is its gradient. */
typedef struct linear {
    const char *name;
    pleat_function f;
    size_t in[4], out[4];
    bool exact; /* its weights are powers of 2, so that whole numbers stay exact */
} linear;

static pleat_tensor *along(pleat_tensor *x, void *user) { return ((const linear *)user)->f(1, &x, NULL); }

static pleat_tensor *back(pleat_tensor *y, void *user) {
    const linear *l = user;
    bool recording = pleat_set_recording(ctx, true);
    pleat_tensor *x = pleat_zeros(ctx, pleat_dtype_of(y), 4, l->in), *g;
    EXPECT_OK(pleat_grads(l->f(1, &x, NULL), y, 1, &x, &g, 0));
    pleat_set_recording(ctx, recording);
    return g;
}

/* Steps so large that they choose the pixels, whatever x: then max_pool2d is linear. */
static pleat_tensor *rough_pool(pleat_tensor *x) {
    return pleat_max_pool2d(x, .kernel = {3, 2}, .stride = {2, 1}, .pad = {1, 1}, .dilation = {1, 2});
}
FUNCTION(rough, pleat_sub(rough_pool(pleat_add(a, steps(a, 1000))), rough_pool(steps(a, 1000))))
FUNCTION(quarters, pleat_avg_pool2d(a, .kernel = {4, 2}, .stride = {1, 2}, .pad = {2, 1}))
FUNCTION(gaps, pleat_avg_pool2d(a, .kernel = {2, 1}, .stride = {3, 2}))
FUNCTION(thirds,
         pleat_avg_pool2d(a, .kernel = {3, 3}, .stride = {2, 2}, .pad = {1, PLEAT_NONE}, .ceil_mode = true))
FUNCTION(inner, pleat_avg_pool2d(a, .kernel = {3, 2}, .stride = {1, 2}, .pad = {1, 1}, .exclude_pad = true))
FUNCTION(blocks, pleat_adaptive_avg_pool2d(a, 3, 4))
FUNCTION(near_up, pleat_resize_nearest(a, .size = {7, 11}))
FUNCTION(near_down, pleat_resize_nearest(a, .size = {2, 3}))
FUNCTION(mirror, pleat_reflection_pad2d(a, .pads = {2, 3, 1, 0}))
FUNCTION(repeat, pleat_replication_pad2d(a, .pads = {4, 1, 2, 3}))
FUNCTION(linear_up, pleat_resize_bilinear(a, .factor = {2, 4}))
FUNCTION(linear_down, pleat_resize_bilinear(a, .size = {2, 3}, .antialias = true))
FUNCTION(corners, pleat_resize_bilinear(a, .size = {2, 9}, .align_corners = true))
FUNCTION(cubic_up, pleat_resize_bicubic(a, .size = {9, 7}))
FUNCTION(cubic_down, pleat_resize_bicubic(a, .size = {2, 1}, .antialias = true, .align_corners = true))

Test(spatial, gradients_are_adjoints) {
    linear all[] = {
        {"max_pool2d", rough, {2, 1, 5, 6}, {2, 1, 3, 6}, true},
        {"avg_pool2d", quarters, {2, 1, 5, 6}, {2, 1, 6, 4}, true},
        {"avg_pool2d, gaps", gaps, {1, 2, 5, 6}, {1, 2, 2, 3}, true},
        {"avg_pool2d, ceil", thirds, {1, 2, 6, 6}, {1, 2, 4, 3}, false},
        {"avg_pool2d, without padding", inner, {1, 1, 3, 4}, {1, 1, 3, 3}, false},
        {"adaptive_avg_pool2d", blocks, {1, 1, 7, 3}, {1, 1, 3, 4}, false},
        {"resize_nearest, up", near_up, {1, 2, 3, 5}, {1, 2, 7, 11}, true},
        {"resize_nearest, down", near_down, {1, 2, 5, 8}, {1, 2, 2, 3}, true},
        {"reflection_pad2d", mirror, {2, 1, 3, 4}, {2, 1, 6, 7}, true},
        {"replication_pad2d", repeat, {1, 2, 3, 2}, {1, 2, 9, 6}, true},
        {"resize_bilinear, up", linear_up, {2, 1, 3, 1}, {2, 1, 6, 4}, true},
        {"resize_bilinear, down", linear_down, {1, 1, 7, 8}, {1, 1, 2, 3}, false},
        {"resize_bilinear, corners", corners, {1, 1, 5, 4}, {1, 1, 2, 9}, false},
        {"resize_bicubic, up", cubic_up, {1, 1, 4, 1}, {1, 1, 9, 7}, false},
        {"resize_bicubic, down", cubic_down, {1, 1, 9, 6}, {1, 1, 2, 1}, false},
    };
    for (size_t i = 0; i < sizeof all / sizeof *all; i++)
        for (pleat_dtype type = PLEAT_F32; type <= PLEAT_F64; type++) {
            pleat_report r;
            pleat_tensor *x = pleat_zeros(ctx, type, 4, all[i].in),
                         *y = pleat_zeros(ctx, type, 4, all[i].out);
            pleat_adjointcheck(along, back, x, y, &all[i], .integers = all[i].exact, .report = &r);
            cr_assert(r.ok, "%s: %s", all[i].name, r.text);
        }
}

/* The sum of 20001 rows, which f32 alone would get wrong in its fourth digit. */
Test(spatial, adjoints_accumulate_in_double) {
    pleat_tensor *x = pleat_zeros(ctx, PLEAT_F32, PLEAT_SHAPE(1, 1, 1, 1)), *g;
    double sum = rounded(PLEAT_F32, 20001 * rounded(PLEAT_F32, 0.1));
    pleat_tensor *tall = pleat_resize_nearest(x, .size = {20001, 1}),
                 *wide = pleat_resize_nearest(x, .size = {1, 20001});
    EXPECT_OK(pleat_grads(tall, pleat_full_like(tall, 0.1), 1, &x, &g, 0));
    EXPECT_HOLDS(g, PLEAT_SHAPE(1, 1, 1, 1), &sum);
    EXPECT_OK(pleat_grads(wide, pleat_full_like(wide, 0.1), 1, &x, &g, 0));
    EXPECT_HOLDS(g, PLEAT_SHAPE(1, 1, 1, 1), &sum);
}

Test(spatial, resizes_keep_what_they_should) {
    pleat_tensor *flat = pleat_full(ctx, PLEAT_F64, PLEAT_SHAPE(1, 2, 3, 5), 2.5);
    size_t size[2] = {7, 4};
    pleat_tensor *expected = pleat_full(ctx, PLEAT_F64, PLEAT_SHAPE(1, 2, 7, 4), 2.5);
    for (int anti = 0; anti < 2; anti++) {
        EXPECT_NEAR(pleat_resize_bilinear(flat, .size = {size[0], size[1]}, .antialias = anti), expected,
                    1e-14);
        EXPECT_NEAR(pleat_resize_bicubic(flat, .size = {size[0], size[1]}, .antialias = anti), expected,
                    1e-14);
    }
    pleat_tensor *x = whole(PLEAT_F32, PLEAT_SHAPE(2, 2, 3, 4));
    EXPECT_SAME(pleat_slice(pleat_resize_nearest(x, .factor = {2, 3}), (size_t[4]){0}, pleat_shape(x),
                            (size_t[]){1, 1, 2, 3}),
                x);
    EXPECT_SAME(pleat_resize_bilinear(x, .size = {3, 4}), x);
}

Test(spatial, shuffles_undo_each_other) {
    pleat_tensor *x = whole(PLEAT_F32, PLEAT_SHAPE(2, 12, 3, 2)), *y = pleat_pixel_shuffle(x, 2);
    EXPECT_SAME(pleat_pixel_unshuffle(y, 2), x);
    cr_assert_eq(pleat_at(y, (size_t[]){1, 2, 3, 2}), pleat_at(x, (size_t[]){1, 10, 1, 1}));
    pleat_tensor *none = pleat_zeros(ctx, PLEAT_F32, PLEAT_SHAPE(0, 4, 2, 2));
    EXPECT_HOLDS(pleat_pixel_shuffle(none, 2), PLEAT_SHAPE(0, 1, 4, 4), VALUES(0));
}

Test(spatial, normalized_has_mean_0_and_variance_1) {
    pleat_tensor *x = pleat_shift(pleat_randn(ctx, PLEAT_F32, PLEAT_SHAPE(5, 3, 7, 4)), 1000);
    for (unsigned axes = 1; axes < 16; axes++) {
        if (axes == 2) continue; /* three values leave no room for a bound */
        pleat_tensor *y = pleat_normalize(x, axes, 1e-9), *mean = pleat_mean(y, axes),
                     *var = pleat_var(y, axes);
        EXPECT_NEAR(mean, pleat_zeros_like(mean), 1e-3);
        EXPECT_NEAR(var, pleat_full_like(var, 1), 1e-3);
        EXPECT_SAME(pleat_normalize(gappy(x), axes, 1e-9), y);
    }
    pleat_tensor *z = pleat_reshape(x, PLEAT_SHAPE(5, 84));
    EXPECT_NEAR(pleat_group_norm(x, .groups = 1), pleat_reshape(pleat_layer_norm(z), 4, pleat_shape(x)),
                1e-6);
}

/* A mean so large that the mean of squares minus the square of the mean would have no correct digit. All sums are exact. */
Test(spatial, normalize_bears_a_large_mean) {
    pleat_tensor *x = whole(PLEAT_F64, PLEAT_SHAPE(3, 4, 5)), *u = whole(PLEAT_F64, PLEAT_SHAPE(3, 4, 5)),
                 *g[2];
    for (unsigned axes = 1; axes < 8; axes++) {
        pleat_tensor *far = pleat_shift(x, (double)(1ull << 40));
        pleat_tensor *y = pleat_normalize(far, axes, 0.5), *near_0 = pleat_normalize(x, axes, 0.5);
        EXPECT_NEAR(y, near_0, 1e-3);
        EXPECT_OK(pleat_grads(y, u, 1, &far, &g[0], 0));
        EXPECT_OK(pleat_grads(near_0, u, 1, &x, &g[1], 0));
        EXPECT_NEAR(g[0], g[1], 1e-3);
    }
}

Test(spatial, dropout_keeps_the_expectation) {
    pleat_tensor *x = pleat_full(ctx, PLEAT_F64, PLEAT_SHAPE(100, 200), 3), *g;
    pleat_rng before = *pleat_ctx_rng(ctx);
    pleat_tensor *y = pleat_dropout(x, 0.25);
    cr_assert_float_eq(pleat_item(pleat_mean(y)), 3, 0.05);
    cr_assert_float_eq(pleat_item(pleat_mean(pleat_eq(y, pleat_zeros_like(y)))), 0.25, 0.02);
    EXPECT_OK(pleat_grads(y, pleat_full_like(y, 3), 1, &x, &g, 0));
    EXPECT_SAME(g, y);
    *pleat_ctx_rng(ctx) = before;
    EXPECT_SAME(pleat_dropout(x, 0.25), y);
    EXPECT_SAME(pleat_dropout(x, 1), pleat_zeros_like(x));
    cr_assert_eq(pleat_dropout(x, 0), x);
}

/* One pixel of each 2x2 window. */
static pleat_tensor *corner(pleat_tensor *x, size_t h, size_t w) {
    size_t size[] = {pleat_size(x, 0), pleat_size(x, 1), pleat_size(x, 2) / 2, pleat_size(x, 3) / 2};
    return pleat_slice(x, (size_t[]){0, 0, h, w}, size, (size_t[]){1, 1, 2, 2});
}

static pleat_tensor *largest_of_corners(pleat_tensor *x) {
    return pleat_maximum(pleat_maximum(corner(x, 0, 0), corner(x, 0, 1)),
                         pleat_maximum(corner(x, 1, 0), corner(x, 1, 1)));
}

/* The windows of 2x2 pixels, which have loops of their own, in images of all widths. */
Test(spatial, max_pool2d_by_quarters) {
    for (pleat_dtype type = PLEAT_F32; type <= PLEAT_F64; type++) {
        for (size_t W = 2; W < 40; W++) {
            pleat_tensor *x = pleat_randn(ctx, type, PLEAT_SHAPE(2, 3, 2 + W % 4, W)), *g[2];
            if (W % 3 == 0) x = pleat_where(pleat_gt(x, pleat_full_like(x, 1.5)), pleat_full_like(x, NAN), x);
            pleat_tensor *y = pleat_max_pool2d(x, .kernel = {2, 2}), *expected = largest_of_corners(x);
            EXPECT_SAME(y, expected);
            if (W % 3 == 0) continue; /* maximum has no gradient beside a NaN */
            pleat_tensor *u = pleat_randn(ctx, type, 4, pleat_shape(y));
            EXPECT_OK(pleat_grads(y, u, 1, &x, &g[0], 0));
            EXPECT_OK(pleat_grads(expected, u, 1, &x, &g[1], 0));
            EXPECT_SAME(g[0], g[1]);
        }
    }
}

/* Of equal pixels, and of NaNs, the first counts. */
Test(spatial, max_pool2d_of_equals) {
    static const double pixels[] = {1, 1, 0, 2, 5, NAN, 3, 3, 1, 1, 2, 2, NAN, 6, 3, 3};
    static const double gradient[] = {1, 0, 0, 1, 0, 1, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0};
    pleat_tensor *x = pleat_from_f64(ctx, PLEAT_F32, PLEAT_SHAPE(1, 1, 2, 8), pixels), *g;
    pleat_tensor *y = pleat_max_pool2d(x, .kernel = {2, 2});
    EXPECT_HOLDS(y, PLEAT_SHAPE(1, 1, 1, 4), VALUES(1, 2, NAN, 3));
    EXPECT_OK(pleat_grads(y, pleat_full_like(y, 1), 1, &x, &g, 0));
    EXPECT_HOLDS(g, PLEAT_SHAPE(1, 1, 2, 8), gradient);
}

FUNCTION(wide_max, pleat_max_pool2d(a, .kernel = {3, 3}, .stride = {2, 2}, .pad = {1, 1}))
FUNCTION(wide_quarters, pleat_max_pool2d(a, .kernel = {2, 2}))
FUNCTION(wide_mean, pleat_avg_pool2d(a, .kernel = {3, 3}, .stride = {2, 1}, .pad = {1, 1}))
FUNCTION(wide_bicubic, pleat_resize_bicubic(a, .factor = {2, 2}))
FUNCTION(wide_batch, pleat_batch_norm(a))
FUNCTION(wide_group, pleat_group_norm(a, .groups = 4))

Test(spatial, threads_do_not_show) {
    static const pleat_function f[] = {wide_max,     wide_quarters, wide_mean,
                                       wide_bicubic, wide_batch,    wide_group};
    static const int threads[] = {1, 2, 3, 5};
    pleat_tensor *x = pleat_randn(ctx, PLEAT_F32, PLEAT_SHAPE(8, 16, 40, 40));
    for (size_t i = 0; i < sizeof f / sizeof *f; i++) {
        pleat_tensor *first[2] = {NULL}, *g;
        for (size_t k = 0; k < sizeof threads / sizeof *threads; k++) {
            pleat_set_threads(ctx, threads[k]);
            pleat_tensor *y = f[i](1, &x, NULL);
            EXPECT_OK(pleat_grads(y, pleat_exp(y), 1, &x, &g, 0));
            if (k == 0) first[0] = y, first[1] = g;
            EXPECT_SAME(y, first[0]);
            EXPECT_SAME(g, first[1]);
        }
    }
}

/* ---- errors and corners ------------------------------------------------------------------------------------ */

Test(spatial, pools_refuse) {
    pleat_tensor *x = pleat_zeros(ctx, PLEAT_F32, PLEAT_SHAPE(1, 1, 3, 3));
    pleat_tensor *flat = pleat_zeros(ctx, PLEAT_F32, PLEAT_SHAPE(3, 3));
    EXPECT_REFUSED(pleat_max_pool2d(x), PLEAT_ERR_ARGUMENT, "max_pool2d", ".kernel = {R, S} must be given");
    EXPECT_REFUSED(pleat_max_pool2d(flat, .kernel = {1, 1}), PLEAT_ERR_SHAPE, "max_pool2d", "[3,3]",
                   "[N,C,H,W]");
    EXPECT_REFUSED(pleat_max_pool2d(x, .kernel = {3, 4}, .pad = {1, 3}), PLEAT_ERR_ARGUMENT, "max_pool2d",
                   "[1,1,3,3]", "axis W", "pad is 3", "at most half the kernel, 2");
    EXPECT_REFUSED(pleat_max_pool2d(x, .kernel = {2, 2}, .stride = {1, 0}), PLEAT_ERR_ARGUMENT, "max_pool2d",
                   "stride");
    EXPECT_REFUSED(pleat_max_pool2d(x, .kernel = {4, 1}), PLEAT_ERR_SHAPE, "max_pool2d", "axis H", "exceeds");
    EXPECT_REFUSED(pleat_max_pool2d(x, .kernel = {1, SIZE_MAX}), PLEAT_ERR_ARGUMENT, "max_pool2d", "size_t");
    EXPECT_REFUSED(pleat_max_pool2d(x, .kernel = {2, 2}, .exclude_pad = true), PLEAT_ERR_ARGUMENT,
                   "max_pool2d", "avg_pool2d");
    EXPECT_REFUSED(pleat_avg_pool2d(x, .kernel = {2, 2}, .dilation = {2, 2}), PLEAT_ERR_ARGUMENT,
                   "avg_pool2d", "max_pool2d");
    cr_assert(pleat_is_poison(pleat_avg_pool2d(NULL, .kernel = {2, 2})));
    pleat_tensor *none = pleat_zeros(ctx, PLEAT_F32, PLEAT_SHAPE(0, 2, 4, 4));
    EXPECT_HOLDS(pleat_max_pool2d(none, .kernel = {2, 2}), PLEAT_SHAPE(0, 2, 2, 2), VALUES(0));
    EXPECT_HOLDS(pleat_avg_pool2d(none, .kernel = {2, 2}), PLEAT_SHAPE(0, 2, 2, 2), VALUES(0));
}

/* The place in the window is a number of x's type, so it has to be one that the type holds. */
Test(spatial, a_kernel_of_more_places_than_the_type_counts) {
    size_t most = 1 << 24;
    pleat_tensor *x = pleat_zeros(ctx, PLEAT_F32, PLEAT_SHAPE(1, 1, 1, 3)), *g;
    EXPECT_REFUSED(pleat_max_pool2d(x, .kernel = {2, most}, .pad = {1, most / 2}), PLEAT_ERR_ARGUMENT,
                   "max_pool2d", "33554432 places", "at most 16777216");
    x = counted(PLEAT_F32, PLEAT_SHAPE(1, 1, 1, 3));
    pleat_tensor *y = pleat_max_pool2d(x, .kernel = {1, most}, .stride = {1, 1}, .pad = {0, most / 2});
    cr_assert_eq(pleat_at(y, (size_t[]){0, 0, 0, 0}), 3);
    EXPECT_OK(pleat_grads(y, pleat_full_like(y, 1), 1, &x, &g, 0));
    cr_assert_eq(pleat_item(pleat_sum(g)), (double)pleat_numel(y));
    y = pleat_avg_pool2d(pleat_full_like(x, 8), .kernel = {1, most}, .stride = {1, 1}, .pad = {0, most / 2},
                         .exclude_pad = true);
    EXPECT_HOLDS(y, PLEAT_SHAPE(1, 1, 1, 4), VALUES(8, 8, 8, 8));
    cr_assert_lt(pleat_memory(ctx).reserved, 1 << 20, "%zu bytes for 7 weights", pleat_memory(ctx).reserved);
}

/* Larger than the padded image, but by less than a stride. */
Test(spatial, ceil_mode_keeps_one_window_that_does_not_fit) {
    pleat_tensor *x = counted(PLEAT_F64, PLEAT_SHAPE(1, 1, 2, 3));
    EXPECT_HOLDS(pleat_max_pool2d(x, .kernel = {3, 4}, .ceil_mode = true), PLEAT_SHAPE(1, 1, 1, 1),
                 VALUES(6));
    EXPECT_HOLDS(pleat_avg_pool2d(x, .kernel = {3, 4}, .ceil_mode = true), PLEAT_SHAPE(1, 1, 1, 1),
                 VALUES(3.5));
    EXPECT_REFUSED(pleat_max_pool2d(x, .kernel = {3, 4}, .stride = {1, 2}, .ceil_mode = true),
                   PLEAT_ERR_SHAPE, "max_pool2d", "axis H", "exceeds");
}

Test(spatial, a_window_without_pixels) {
    pleat_tensor *x = pleat_full(ctx, PLEAT_F64, PLEAT_SHAPE(1, 1, 1, 1), 5), *g;
    pleat_tensor *y = pleat_max_pool2d(x, .kernel = {2, 2}, .pad = {1, 1}, .dilation = {2, 2});
    EXPECT_HOLDS(y, PLEAT_SHAPE(1, 1, 1, 1), VALUES(-INFINITY));
    EXPECT_OK(pleat_grads(y, pleat_full_like(y, 1), 1, &x, &g, 0));
    EXPECT_HOLDS(g, PLEAT_SHAPE(1, 1, 1, 1), VALUES(0));
    pleat_tensor *nan = pleat_from_f64(ctx, PLEAT_F64, PLEAT_SHAPE(1, 1, 1, 3), VALUES(9, NAN, 1));
    EXPECT_HOLDS(pleat_max_pool2d(nan, .kernel = {1, 3}), PLEAT_SHAPE(1, 1, 1, 1), VALUES(NAN));
    pleat_tensor *low = pleat_full(ctx, PLEAT_F64, PLEAT_SHAPE(1, 1, 1, 2), -INFINITY);
    EXPECT_OK(pleat_grads(pleat_max_pool2d(low, .kernel = {1, 2}), NULL, 1, &low, &g, 0));
    EXPECT_HOLDS(g, PLEAT_SHAPE(1, 1, 1, 2), VALUES(1, 0));
}

/* A cotangent that goes nowhere has no influence, so its derivative is 0, and not the window's -infinity. */
Test(spatial, a_window_without_pixels_passes_on_nothing) {
    for (pleat_dtype type = PLEAT_F32; type <= PLEAT_F64; type++) {
        pleat_tensor *x = counted(type, PLEAT_SHAPE(1, 1, 1, 3)), *u = counted(type, PLEAT_SHAPE(1, 1, 1, 3)),
                     *g, *gu;
        pleat_pool_args a = {
            .x = x, .kernel = {2, 1}, .stride = {1, 1}, .pad = {1, PLEAT_NONE}, .dilation = {2, 1}};
        pleat_tensor *y = pleat_max_pool2d_with(a);
        EXPECT_HOLDS(y, PLEAT_SHAPE(1, 1, 1, 3), VALUES(-INFINITY, -INFINITY, -INFINITY));
        EXPECT_OK(pleat_grads(y, u, 1, &x, &g, PLEAT_GRADS_RECORD));
        EXPECT_OK(pleat_grads(pleat_sum(g), NULL, 1, &u, &gu, 0));
        EXPECT_HOLDS(gu, PLEAT_SHAPE(1, 1, 1, 3), VALUES(0, 0, 0));
    }
}

Test(spatial, resizes_and_shuffles_refuse) {
    pleat_tensor *x = pleat_zeros(ctx, PLEAT_F32, PLEAT_SHAPE(2, 4, 3, 3));
    EXPECT_REFUSED(pleat_resize_nearest(x), PLEAT_ERR_ARGUMENT, "resize_nearest", "give .size");
    EXPECT_REFUSED(pleat_resize_nearest(x, .size = {2, 2}, .factor = {2, 2}), PLEAT_ERR_ARGUMENT,
                   "resize_nearest", "not both");
    EXPECT_REFUSED(pleat_resize_nearest(x, .size = {2, 2}, .antialias = true), PLEAT_ERR_ARGUMENT,
                   "resize_nearest", "bilinear");
    EXPECT_REFUSED(pleat_resize_bicubic(x, .size = {2, 0}), PLEAT_ERR_ARGUMENT, "resize_bicubic",
                   ".size = {2, 0}", "{2, 2}");
    EXPECT_REFUSED(pleat_resize_bicubic(x, .factor = {0, 2}), PLEAT_ERR_ARGUMENT, "resize_bicubic",
                   ".factor = {0, 2}", "at least 1");
    EXPECT_REFUSED(pleat_resize_bicubic(x, .factor = {SIZE_MAX, 2}), PLEAT_ERR_SHAPE, "resize_bicubic",
                   "overflow");
    EXPECT_REFUSED(pleat_adaptive_avg_pool2d(x, 0, 1), PLEAT_ERR_SHAPE, "adaptive_avg_pool2d",
                   "at least 1x1");
    EXPECT_REFUSED(pleat_pixel_shuffle(x, 3), PLEAT_ERR_SHAPE, "pixel_shuffle", "multiple of r squared");
    EXPECT_REFUSED(pleat_pixel_unshuffle(x, 2), PLEAT_ERR_SHAPE, "pixel_unshuffle", "multiples of r");
    cr_assert(pleat_is_poison(pleat_resize_bilinear(pleat_poison(ctx), .factor = {2, 2})));
    cr_assert(pleat_is_poison(pleat_resize_bilinear(NULL, .factor = {2, 2})));
    cr_assert(pleat_is_poison(pleat_adaptive_avg_pool2d(NULL, 1, 1)));
    cr_assert(pleat_is_poison(pleat_pixel_shuffle(NULL, 2)));
}

Test(spatial, norms_and_dropout_refuse) {
    pleat_tensor *x = pleat_zeros(ctx, PLEAT_F32, PLEAT_SHAPE(2, 4, 3, 3)),
                 *three = pleat_zeros(ctx, PLEAT_F32, PLEAT_SHAPE(3)),
                 *scalar = pleat_zeros(ctx, PLEAT_F32, PLEAT_SCALAR);
    EXPECT_REFUSED(pleat_normalize(x, 16, 1), PLEAT_ERR_ARGUMENT, "normalize", "axes");
    EXPECT_REFUSED(pleat_normalize(x, 1, -1), PLEAT_ERR_ARGUMENT, "normalize", "eps");
    EXPECT_REFUSED(pleat_batch_norm(x, three), PLEAT_ERR_SHAPE, "batch_norm",
                   "weight is [3] and must be [4]");
    EXPECT_REFUSED(pleat_batch_norm(x, .mean = three), PLEAT_ERR_ARGUMENT, "batch_norm", "mean and var");
    EXPECT_REFUSED(pleat_batch_norm(x, .groups = 2), PLEAT_ERR_ARGUMENT, "batch_norm", "groups");
    EXPECT_REFUSED(pleat_batch_norm(three), PLEAT_ERR_SHAPE, "batch_norm", "[3]", "rank 2 or more");
    EXPECT_REFUSED(pleat_batch_norm(NULL, three), PLEAT_ERR_ARGUMENT, "batch_norm", "x is a null pointer");
    EXPECT_REFUSED(pleat_batch_norm(NULL, .var = three), PLEAT_ERR_ARGUMENT, "batch_norm", "null pointer");
    EXPECT_REFUSED(pleat_group_norm(x, .groups = 3), PLEAT_ERR_ARGUMENT, "group_norm", "3 groups",
                   "4 channels", "divide");
    EXPECT_REFUSED(pleat_group_norm(x), PLEAT_ERR_ARGUMENT, "group_norm", ".groups must be given");
    EXPECT_REFUSED(pleat_group_norm(NULL, .bias = three), PLEAT_ERR_ARGUMENT, "group_norm", "null pointer");
    EXPECT_REFUSED(pleat_layer_norm(x, .bias = pleat_zeros_like(x), .axes = 2), PLEAT_ERR_SHAPE, "layer_norm",
                   "must be [3,3]");
    EXPECT_REFUSED(pleat_layer_norm(x, .axes = 5), PLEAT_ERR_ARGUMENT, "layer_norm", ".axes is 5", "rank 4");
    EXPECT_REFUSED(pleat_layer_norm(x, .eps = NAN), PLEAT_ERR_ARGUMENT, "layer_norm", "eps");
    EXPECT_REFUSED(pleat_layer_norm(scalar), PLEAT_ERR_SHAPE, "layer_norm", "[]", "rank 1 or more");
    EXPECT_REFUSED(pleat_dropout(x, 1.5), PLEAT_ERR_ARGUMENT, "dropout", "p is 1.5");
    EXPECT_REFUSED(pleat_dropout(x, NAN), PLEAT_ERR_ARGUMENT, "dropout", "from 0 to 1");
    cr_assert(pleat_is_poison(pleat_batch_norm(pleat_poison(ctx))));
    cr_assert(pleat_is_poison(pleat_dropout(pleat_poison(ctx), 0.5)));
    cr_assert(pleat_is_poison(pleat_dropout(NULL, 0.5)));
    cr_assert(pleat_is_poison(pleat_layer_norm(NULL)));
}

/* A batch of no images. */
Test(spatial, empty_batches) {
    pleat_tensor *x = pleat_zeros(ctx, PLEAT_F64, PLEAT_SHAPE(0, 4, 2, 2)),
                 *four = pleat_full(ctx, PLEAT_F64, PLEAT_SHAPE(4), 1);
    EXPECT_HOLDS(pleat_resize_bicubic(x, .size = {3, 1}), PLEAT_SHAPE(0, 4, 3, 1), VALUES(0));
    EXPECT_HOLDS(pleat_adaptive_avg_pool2d(x, 1, 1), PLEAT_SHAPE(0, 4, 1, 1), VALUES(0));
    EXPECT_HOLDS(pleat_pixel_unshuffle(x, 2), PLEAT_SHAPE(0, 16, 1, 1), VALUES(0));
    EXPECT_HOLDS(pleat_group_norm(x, four, four, .groups = 2), PLEAT_SHAPE(0, 4, 2, 2), VALUES(0));
    EXPECT_HOLDS(pleat_layer_norm(x, .axes = 3), PLEAT_SHAPE(0, 4, 2, 2), VALUES(0));
    EXPECT_HOLDS(pleat_batch_norm(x, .mean = four, .var = four), PLEAT_SHAPE(0, 4, 2, 2), VALUES(0));
    EXPECT_HOLDS(pleat_dropout(x, 0.5), PLEAT_SHAPE(0, 4, 2, 2), VALUES(0));
    EXPECT_REFUSED(pleat_batch_norm(x), PLEAT_ERR_SHAPE, "batch_norm", "[0,4,2,2]", "axis 0 is empty");
}

/* ---- memory ------------------------------------------------------------------------------------------------ */

/* Calls from `first` on fail. */
typedef struct faults {
    size_t calls, first, blocks;
} faults;

static void *faulty_alloc(void *user, size_t bytes) {
    faults *f = user;
    if (++f->calls >= f->first) return NULL;
    void *block = malloc(bytes);
    f->blocks += block != NULL;
    return block;
}

static void faulty_free(void *user, void *block) {
    faults *f = user;
    f->blocks--;
    free(block);
}

FUNCTION(all_pools,
         pleat_avg_pool2d(pleat_max_pool2d(pleat_pixel_unshuffle(a, 2), .kernel = {2, 1}), .kernel = {1, 2}))
FUNCTION(all_resizes,
         pleat_resize_bicubic(pleat_resize_nearest(a, .factor = {2, 1}), .size = {3, 5}, .antialias = true))
FUNCTION(all_norms, pleat_batch_norm(pleat_layer_norm(pleat_group_norm(a, .groups = 2))))
FUNCTION(inner_norm, pleat_dropout(pleat_normalize(a, PLEAT_AXES(1, 3), 0.1), 0.5))

/* Whether a call was made to fail. */
static bool survives(pleat_function f, size_t first) {
    faults state = {.first = first};
    pleat_ctx *own = pleat_ctx_new(.threads = 1, .alloc = faulty_alloc, .free = faulty_free, .user = &state);
    if (own != NULL) {
        pleat_tensor *x = pleat_randn(own, PLEAT_F32, PLEAT_SHAPE(2, 4, 4, 4)),
                     *v = pleat_flip(x, PLEAT_AXES(3)), *g;
        pleat_tensor *y = pleat_sum(pleat_square(f(1, &v, NULL)));
        pleat_status status =
            pleat_is_poison(y) ? pleat_error(own)->code : pleat_grads(y, NULL, 1, &v, &g, 0);
        cr_assert(status == PLEAT_OK || status == PLEAT_ERR_MEMORY, "call %zu: %s", first,
                  pleat_error(own)->text);
        cr_assert_eq(status == PLEAT_OK, state.calls < first, "call %zu: %s", first,
                     pleat_status_name(status));
    }
    pleat_ctx_free(own);
    cr_assert_eq(state.blocks, 0, "call %zu: %zu blocks leaked", first, state.blocks);
    return state.calls >= first;
}

Test(spatial, any_allocation_may_fail) {
    static const pleat_function f[] = {all_pools, all_resizes, all_norms, inner_norm};
    for (size_t i = 0; i < sizeof f / sizeof *f; i++) {
        size_t n = 1;
        while (survives(f[i], n)) n++;
        cr_assert_gt(n, 10, "only %zu calls were tried", n);
    }
}

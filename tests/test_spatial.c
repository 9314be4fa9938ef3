/* Pools, resizes, norms and dropout: PyTorch's values and gradients, difference quotients to order 3, naive loops and laws. */
#include <math.h>
#include <stdio.h>

#include "rows.h"

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
                             .pad = {o[4], o[5]},
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

FUNCTION(max_pool2d, pleat_max_pool2d_with(max_pool(a)))
FUNCTION(avg_pool2d, pleat_avg_pool2d_with(pool(a)))
FUNCTION(adaptive, pleat_adaptive_avg_pool2d(a, (size_t)options[0], (size_t)options[1]))
FUNCTION(nearest, pleat_resize_nearest_with(resize(a, false)))
FUNCTION(bilinear, pleat_resize_bilinear_with(resize(a, true)))
FUNCTION(bicubic, pleat_resize_bicubic_with(resize(a, true)))

static void expect_family(const char *family, pleat_function f, size_t cases) {
    size_t found = 0;
    for (size_t i = 0; i < 16; i++) {
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
    expect_family("max_pool2d", max_pool2d, 10);
    expect_family("avg_pool2d", avg_pool2d, 8);
    expect_family("adaptive", adaptive, 4);
}

Test(spatial, resizes_agree_with_pytorch) {
    expect_family("nearest", nearest, 5);
    expect_family("bilinear", bilinear, 15);
    expect_family("bicubic", bicubic, 15);
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

FUNCTION(pool_2, pleat_max_pool2d(a, .kernel = {2, 2}, .stride = {1, 2}, .pad = {1, 0}))
FUNCTION(pool_ceil, pleat_max_pool2d(a, .kernel = {2, 2}, .ceil_mode = true))
FUNCTION(mean_2, pleat_avg_pool2d(a, .kernel = {2, 3}, .stride = {1, 2}, .pad = {1, 1}))
FUNCTION(mean_exclude, pleat_avg_pool2d(a, .kernel = {2, 2}, .pad = {1, 1}, .exclude_pad = true))
FUNCTION(global, pleat_adaptive_avg_pool2d(a, 1, 1))
FUNCTION(nearest_2, pleat_resize_nearest(a, .factor = {2, 2}))
FUNCTION(bilinear_2, pleat_resize_bilinear(a, .factor = {2, 3}))
FUNCTION(bicubic_small, pleat_resize_bicubic(a, .size = {2, 2}, .antialias = true))
FUNCTION(normal, pleat_normalize(a, PLEAT_AXES(0, 2), 0.1))
FUNCTION(normal_between, pleat_normalize(a, PLEAT_AXES(1), 0.1))
FUNCTION(normal_all, pleat_normalize(pleat_permute(a, (size_t[]){2, 0, 1}), PLEAT_AXES(0, 1, 2), 0.1))
FUNCTION(batch, pleat_batch_norm(a, b, c, .eps = 0.1))
FUNCTION(group, pleat_group_norm(a, b, c, .groups = 2, .eps = 0.1))
FUNCTION(layer, pleat_layer_norm(a, b, c, .eps = 0.1))
static pleat_tensor *dropped(pleat_tensor *x) {
    *pleat_ctx_rng(ctx) = pleat_rng_new(5, 0);
    return pleat_dropout(x, 0.4);
}
FUNCTION(dropout, dropped(pleat_square(a)))

Test(spatial, gradients) {
    static const row rows[] = {
        {"max_pool2d", pool_2, -1, 1, .rank = {4}, .shape = {{1, 2, 2, 4}}},
        {"max_pool2d, ceil", pool_ceil, -1, 1, .rank = {4}, .shape = {{1, 1, 3, 3}}},
        {"avg_pool2d", mean_2, -1, 1, .rank = {4}, .shape = {{1, 1, 2, 4}}},
        {"avg_pool2d, without padding", mean_exclude, -1, 1, .rank = {4}, .shape = {{1, 1, 3, 2}}},
        {"adaptive_avg_pool2d", global, -1, 1, .rank = {4}, .shape = {{2, 1, 2, 2}}},
        {"resize_nearest", nearest_2, -1, 1, .rank = {4}, .shape = {{1, 1, 2, 2}}},
        {"resize_bilinear", bilinear_2, -1, 1, .rank = {4}, .shape = {{1, 1, 2, 2}}},
        {"resize_bicubic", bicubic_small, -1, 1, .rank = {4}, .shape = {{1, 1, 4, 2}}},
        {"normalize", normal, -1, 1, .rank = {3}, .shape = {{2, 2, 2}}},
        {"normalize an inner axis", normal_between, -1, 1, .rank = {3}, .shape = {{2, 3, 1}}},
        {"normalize all", normal_all, -1, 1, .rank = {3}, .shape = {{1, 2, 2}}},
        {"batch_norm", batch, -1, 1, .rank = {3, 1, 1}, .shape = {{2, 2, 2}, {2}, {2}}},
        {"group_norm", group, -1, 1, .rank = {3, 1, 1}, .shape = {{1, 4, 2}, {4}, {4}}},
        {"layer_norm", layer, -1, 1, .rank = {2, 1, 1}, .shape = {{2, 3}, {3}, {3}}},
        {"dropout", dropout, -1, 1, .rank = {1}, .shape = {{6}}},
    };
    CHECK_ROWS(rows);
}

/* ---- naive loops ------------------------------------------------------------------------------------------- */

static double pixel(const double *x, size_t H, size_t W, ptrdiff_t h, ptrdiff_t w, double outside) {
    return h >= 0 && w >= 0 && h < (ptrdiff_t)H && w < (ptrdiff_t)W ? x[h * (ptrdiff_t)W + w] : outside;
}

/* The largest, or the sum, of one window. */
static double window(const double *x, size_t H, size_t W, const pleat_pool_args *a, size_t p, size_t q,
                     bool largest) {
    double y = largest ? -INFINITY : 0;
    for (size_t r = 0; r < a->kernel[0]; r++)
        for (size_t s = 0; s < a->kernel[1]; s++) {
            ptrdiff_t h = (ptrdiff_t)(p * a->stride[0] + r) - (ptrdiff_t)a->pad[0];
            ptrdiff_t w = (ptrdiff_t)(q * a->stride[1] + s) - (ptrdiff_t)a->pad[1];
            double v = pixel(x, H, W, h, w, largest ? -INFINITY : 0);
            y = largest ? fmax(y, v) : y + v;
        }
    return y;
}

static void expect_pools(pleat_dtype type, size_t H, size_t W, pleat_pool_args a) {
    pleat_scope scope = pleat_begin(ctx);
    double x[64], area = (double)(a.kernel[0] * a.kernel[1]);
    a.x = whole(type, PLEAT_SHAPE(2, 1, H, W));
    pleat_tensor *largest = pleat_max_pool2d_with(a), *mean = pleat_avg_pool2d_with(a);
    pleat_read_f64(a.x, x);
    for (size_t i = 0; i < pleat_numel(largest); i++) {
        size_t Q = pleat_size(largest, 3), PQ = pleat_size(largest, 2) * Q, n = i / PQ, p = i % PQ / Q,
               q = i % Q;
        size_t at[] = {n, 0, p, q};
        cr_assert_eq(pleat_at(largest, at), window(x + n * H * W, H, W, &a, p, q, true));
        cr_assert_float_eq(pleat_at(mean, at), window(x + n * H * W, H, W, &a, p, q, false) / area, 1e-6);
    }
    a.x = gappy(a.x);
    EXPECT_SAME(pleat_max_pool2d_with(a), largest);
    EXPECT_SAME(pleat_avg_pool2d_with(a), mean);
    pleat_end(scope);
}

Test(spatial, pools_equal_naive_loops) {
    for (size_t i = 0; i < 400; i++) {
        pleat_rng r = pleat_rng_new(i, 1);
        pleat_pool_args a = {.unset_ = 0};
        size_t size[2];
        for (size_t k = 0; k < 2; k++) {
            a.kernel[k] = 1 + (size_t)pleat_rng_below(&r, 3);
            a.stride[k] = 1 + (size_t)pleat_rng_below(&r, 3);
            a.pad[k] = (size_t)pleat_rng_below(&r, a.kernel[k] / 2 + 1);
            size[k] = a.kernel[k] + (size_t)pleat_rng_below(&r, 3);
        }
        expect_pools(i % 2 ? PLEAT_F32 : PLEAT_F64, size[0], size[1], a);
    }
}

/* ---- laws -------------------------------------------------------------------------------------------------- */

static pleat_tensor *weighted(pleat_tensor *x, void *user) {
    (void)user;
    return pleat_avg_pool2d(x, .kernel = {4, 2}, .stride = {1, 2}, .pad = {2, 1});
}

static pleat_tensor *weighted_back(pleat_tensor *y, void *user) {
    pleat_tensor *x = user, *g;
    bool recording = pleat_set_recording(ctx, true);
    pleat_grads(weighted(x, NULL), y, 1, &x, &g, 0);
    pleat_set_recording(ctx, recording);
    return g;
}

Test(spatial, a_mean_pool_is_a_depthwise_convolution) {
    pleat_tensor *x = whole(PLEAT_F64, PLEAT_SHAPE(2, 3, 5, 6));
    pleat_tensor *w = pleat_full(ctx, PLEAT_F64, PLEAT_SHAPE(3, 1, 2, 2), 0.25);
    EXPECT_SAME(pleat_shift(pleat_avg_pool2d(x, .kernel = {2, 2}, .stride = {1, 2}, .pad = {1, 1}), 0),
                pleat_shift(pleat_conv2d(x, w, .stride = {1, 2}, .pad = {1, 1}, .groups = 3), 0));
    EXPECT_SAME(pleat_avg_pool2d(x, .kernel = {1, 1}), x);
    EXPECT_SAME(pleat_max_pool2d(x, .kernel = {1, 1}), x);
    EXPECT_NEAR(pleat_adaptive_avg_pool2d(x, 1, 1), pleat_mean(x, PLEAT_AXES(2, 3), .keep = true), 1e-15);
    EXPECT_SAME(pleat_adaptive_avg_pool2d(x, 5, 6), x);
    pleat_report r;
    pleat_tensor *y = weighted(x, NULL);
    pleat_adjointcheck(weighted, weighted_back, x, y, x, .integers = true, .report = &r);
    cr_assert(r.ok, "%s", r.text);
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

Test(spatial, threads_do_not_show) {
    pleat_tensor *x = pleat_randn(ctx, PLEAT_F32, PLEAT_SHAPE(8, 16, 40, 40)), *first[5] = {NULL};
    for (int threads = 1; threads <= 5; threads++) {
        pleat_set_threads(ctx, threads);
        pleat_tensor *y[] = {pleat_max_pool2d(x, .kernel = {3, 3}), pleat_avg_pool2d(x, .kernel = {2, 2}),
                             pleat_resize_bicubic(x, .factor = {2, 2}), pleat_batch_norm(x),
                             pleat_group_norm(x, .groups = 4)};
        for (size_t i = 0; i < 5; i++) {
            if (threads == 1) first[i] = y[i];
            EXPECT_SAME(y[i], first[i]);
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
    EXPECT_REFUSED(pleat_max_pool2d(x, .kernel = {2, 2}, .pad = {2, 0}), PLEAT_ERR_ARGUMENT, "max_pool2d",
                   "half");
    EXPECT_REFUSED(pleat_max_pool2d(x, .kernel = {2, 2}, .stride = {1, 0}), PLEAT_ERR_ARGUMENT, "max_pool2d",
                   "stride");
    EXPECT_REFUSED(pleat_max_pool2d(x, .kernel = {4, 1}), PLEAT_ERR_SHAPE, "max_pool2d", "axis H", "exceeds");
    EXPECT_REFUSED(pleat_max_pool2d(x, .kernel = {1, SIZE_MAX}), PLEAT_ERR_ARGUMENT, "max_pool2d", "size_t");
    EXPECT_REFUSED(pleat_avg_pool2d(x, .kernel = {2, 2}, .dilation = {2, 2}), PLEAT_ERR_SHAPE, "avg_pool2d",
                   "max_pool2d");
    cr_assert(pleat_is_poison(pleat_avg_pool2d(NULL, .kernel = {2, 2})));
    pleat_tensor *none = pleat_zeros(ctx, PLEAT_F32, PLEAT_SHAPE(0, 2, 4, 4));
    EXPECT_HOLDS(pleat_max_pool2d(none, .kernel = {2, 2}), PLEAT_SHAPE(0, 2, 2, 2), VALUES(0));
    EXPECT_HOLDS(pleat_avg_pool2d(none, .kernel = {2, 2}), PLEAT_SHAPE(0, 2, 2, 2), VALUES(0));
}

Test(spatial, a_window_without_pixels) {
    pleat_tensor *x = pleat_full(ctx, PLEAT_F64, PLEAT_SHAPE(1, 1, 1, 1), 5), *g;
    pleat_tensor *y = pleat_max_pool2d(x, .kernel = {2, 2}, .pad = {1, 1}, .dilation = {2, 2});
    EXPECT_HOLDS(y, PLEAT_SHAPE(1, 1, 1, 1), VALUES(-INFINITY));
    EXPECT_OK(pleat_grads(y, pleat_full_like(y, 1), 1, &x, &g, 0));
    EXPECT_HOLDS(g, PLEAT_SHAPE(1, 1, 1, 1), VALUES(0));
    pleat_tensor *nan = pleat_from_f64(ctx, PLEAT_F64, PLEAT_SHAPE(1, 1, 1, 3), VALUES(9, NAN, 1));
    EXPECT_HOLDS(pleat_max_pool2d(nan, .kernel = {1, 3}), PLEAT_SHAPE(1, 1, 1, 1), VALUES(NAN));
}

Test(spatial, resizes_and_norms_refuse) {
    pleat_tensor *x = pleat_zeros(ctx, PLEAT_F32, PLEAT_SHAPE(2, 4, 3, 3)),
                 *three = pleat_zeros(ctx, PLEAT_F32, PLEAT_SHAPE(3));
    EXPECT_REFUSED(pleat_resize_nearest(x), PLEAT_ERR_SHAPE, "resize_nearest", "give .size");
    EXPECT_REFUSED(pleat_resize_nearest(x, .size = {2, 2}, .factor = {2, 2}), PLEAT_ERR_SHAPE,
                   "resize_nearest", "not both");
    EXPECT_REFUSED(pleat_resize_nearest(x, .size = {2, 2}, .antialias = true), PLEAT_ERR_SHAPE,
                   "resize_nearest", "bilinear");
    EXPECT_REFUSED(pleat_resize_bicubic(x, .size = {2, 0}), PLEAT_ERR_SHAPE, "resize_bicubic",
                   "at least 1x1");
    EXPECT_REFUSED(pleat_resize_bicubic(x, .factor = {SIZE_MAX, 2}), PLEAT_ERR_SHAPE, "resize_bicubic",
                   "overflow");
    EXPECT_REFUSED(pleat_adaptive_avg_pool2d(x, 0, 1), PLEAT_ERR_SHAPE, "adaptive_avg_pool2d",
                   "at least 1x1");
    EXPECT_REFUSED(pleat_pixel_shuffle(x, 3), PLEAT_ERR_SHAPE, "pixel_shuffle", "multiple of r squared");
    EXPECT_REFUSED(pleat_pixel_unshuffle(x, 2), PLEAT_ERR_SHAPE, "pixel_unshuffle", "multiples of r");
    EXPECT_REFUSED(pleat_normalize(x, 16, 1), PLEAT_ERR_ARGUMENT, "normalize", "axes");
    EXPECT_REFUSED(pleat_normalize(x, 1, -1), PLEAT_ERR_ARGUMENT, "normalize", "eps");
    EXPECT_REFUSED(pleat_batch_norm(x, three), PLEAT_ERR_SHAPE, "batch_norm",
                   "weight is [3] and must be [4]");
    EXPECT_REFUSED(pleat_batch_norm(x, .mean = three), PLEAT_ERR_SHAPE, "batch_norm", "mean and var");
    EXPECT_REFUSED(pleat_group_norm(x, .groups = 3), PLEAT_ERR_SHAPE, "group_norm", "divide");
    EXPECT_REFUSED(pleat_layer_norm(x, .bias = pleat_zeros_like(x), .axes = 2), PLEAT_ERR_SHAPE, "layer_norm",
                   "must be [3,3]");
    EXPECT_REFUSED(pleat_dropout(x, 1.5), PLEAT_ERR_ARGUMENT, "dropout", "p is 1.5");
    EXPECT_REFUSED(pleat_dropout(x, NAN), PLEAT_ERR_ARGUMENT, "dropout", "from 0 to 1");
    cr_assert(pleat_is_poison(pleat_batch_norm(pleat_poison(ctx))));
    cr_assert(pleat_is_poison(pleat_dropout(pleat_poison(ctx), 0.5)));
    cr_assert(pleat_is_poison(pleat_resize_bilinear(pleat_poison(ctx), .factor = {2, 2})));
}

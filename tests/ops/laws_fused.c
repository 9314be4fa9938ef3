/* A bias, a norm by given statistics and relu or relu6 within a convolution are the same behind it: the same bits of values, recorded
 * and not, and of gradients, in random geometries, for any number of threads. */
#include <math.h>

#include "conv_cases.h"

TestSuite(fused, .init = tensors_begin, .fini = tensors_end);

enum { RANDOM = 300, XS = 3 };

/* The ways to end an op. */
typedef struct ending {
    bool bias, relu, relu6;
    unsigned norm; /* 0: none; bit 1: with a weight, bit 2: with a bias */
} ending;

static const ending endings[] = {{.bias = true},
                                 {.relu = true},
                                 {.bias = true, .relu = true},
                                 {.bias = true, .relu6 = true},
                                 {.norm = 1},
                                 {.norm = 3, .relu = true},
                                 {.bias = true, .norm = 7, .relu6 = true}};

/* The norm of an ending, for so many channels: the same for the same number. */
static pleat_conv_norm norm_of(ending e, size_t channels, pleat_dtype type) {
    pleat_conv_norm n = {.eps = 1e-3};
    double v[4][64];
    if (!e.norm) return (pleat_conv_norm){0};
    cr_assert_leq(channels, 64);
    for (size_t i = 0; i < channels; i++) {
        double t = (double)(i + 1);
        v[0][i] = sin(t), v[1][i] = cos(t), v[2][i] = 3 * sin(2 * t), v[3][i] = 1 + fabs(cos(3 * t));
    }
    if (e.norm & 2) n.weight = pleat_from_f64(ctx, type, 1, &channels, v[0]);
    if (e.norm & 4) n.bias = pleat_from_f64(ctx, type, 1, &channels, v[1]);
    n.mean = pleat_from_f64(ctx, type, 1, &channels, v[2]);
    n.var = pleat_from_f64(ctx, type, 1, &channels, v[3]);
    return n;
}

/* xs: the op's two tensors and a bias. Within the op, */
static pleat_tensor *within(const pleat_conv_shape *g, letter of, pleat_tensor *const xs[XS], ending e) {
    pleat_tensor *t[3] = {[W] = xs[1]};
    t[of == X ? Y : X] = xs[0];
    pleat_conv_args a = derivative_args(g, of, t);
    a.bias = e.bias ? xs[2] : NULL;
    a.norm = norm_of(e, of == X ? g->C : g->O, pleat_dtype_of(xs[0]));
    a.relu = e.relu, a.relu6 = e.relu6;
    return of == X ? pleat_conv2d_transpose_with(a) : pleat_conv2d_with(a);
}

/* and behind it. */
static pleat_tensor *behind(const pleat_conv_shape *g, letter of, pleat_tensor *const xs[XS], ending e) {
    pleat_tensor *y = within(g, of, xs, (ending){0});
    if (e.bias) y = pleat_add(y, pleat_reshape(xs[2], PLEAT_SHAPE(pleat_numel(xs[2]), 1, 1)));
    if (e.norm) {
        pleat_conv_norm n = norm_of(e, pleat_size(y, 1), pleat_dtype_of(y));
        y = pleat_batch_norm(y, n.weight, n.bias, n.mean, n.var, .eps = n.eps);
    }
    return e.relu ? pleat_relu(y) : e.relu6 ? pleat_relu6(y) : y;
}

static void expect_same(pleat_tensor *found, pleat_tensor *expected, const pleat_conv_shape *g,
                        const char *what) {
    cr_assert(same(found, expected), "%s: %s\n%s", what, difference(),
              geometry_reproduce(g, "test_laws", "fused/*").text);
}

/* What a slope has for gradients along v. */
static pleat_tensor *slope_of(pleat_tensor *const gs[XS], pleat_tensor *const vs[XS]) {
    pleat_tensor *sum = NULL;
    for (size_t i = 0; i < XS; i++) {
        pleat_tensor *more = pleat_sum(pleat_mul(gs[i], vs[i]));
        sum = sum == NULL ? more : pleat_add(sum, more);
    }
    return sum;
}

/* Values and gradients; second gradients as well, if all sums are exact. */
static void compare(const pleat_conv_shape *g, letter of, pleat_tensor *const xs[XS], ending e, bool exact) {
    pleat_tensor *y[] = {within(g, of, xs, e), behind(g, of, xs, e)}, *gs[2][XS], *ggs[2][XS], *vs[XS];
    pleat_tensor *u = whole(pleat_dtype_of(y[0]), 4, pleat_shape(y[0]));
    expect_same(y[0], y[1], g, "values");
    pleat_set_recording(ctx, false);
    expect_same(within(g, of, xs, e), y[1], g, "values without recording");
    pleat_set_recording(ctx, true);
    for (size_t k = 0; k < 2; k++) EXPECT_OK(pleat_grads(y[k], u, XS, xs, gs[k], PLEAT_GRADS_RECORD));
    for (size_t i = 0; i < XS; i++) expect_same(gs[0][i], gs[1][i], g, "gradients");
    if (!exact) return;
    for (size_t i = 0; i < XS; i++)
        vs[i] = whole(pleat_dtype_of(xs[i]), pleat_rank(xs[i]), pleat_shape(xs[i]));
    for (size_t k = 0; k < 2; k++) EXPECT_OK(pleat_grads(slope_of(gs[k], vs), NULL, XS, xs, ggs[k], 0));
    for (size_t i = 0; i < XS; i++) expect_same(ggs[0][i], ggs[1][i], g, "second gradients");
}

/* A bias of whole or real numbers, which lies backwards in memory. */
static pleat_tensor *bias_for(const pleat_conv_shape *g, letter of, pleat_dtype type, bool exact) {
    size_t channels = of == X ? g->C : g->O;
    pleat_tensor *b =
        exact ? whole(type, PLEAT_SHAPE(channels)) : pleat_randn(ctx, type, PLEAT_SHAPE(channels));
    return pleat_flip(b, PLEAT_AXES(0));
}

static void compare_case(const conv_case *c, pleat_dtype type, bool exact) {
    for (size_t i = 0; i < 2 * sizeof endings / sizeof *endings; i++) {
        letter of = i % 2 == 0 ? X : Y;
        pleat_tensor *xs[XS] = {c->t[of == X ? Y : X], c->t[W], bias_for(&c->g, of, type, exact)};
        for (size_t k = 0; k < 2 && !exact; k++) xs[k] = pleat_randn(ctx, type, 4, pleat_shape(xs[k]));
        compare(&c->g, of, xs, endings[i / 2], exact);
    }
}

Test(fused, within_and_behind_are_the_same_bits) {
    for (pleat_dtype type = PLEAT_F32; type <= PLEAT_F64; type++) {
        conv_case c;
        pleat_scope s = pleat_begin(ctx);
        for (size_t i = 0; conv_case_next(&c, i, RANDOM, type); i++) {
            compare_case(&c, type, i % 2 == 0);
            pleat_end(s);
            s = pleat_begin(ctx);
        }
        pleat_end(s);
    }
}

static const pleat_conv_shape large = {.N = 5,
                                       .C = 8,
                                       .O = 6,
                                       .G = 2,
                                       .H = 33,
                                       .W = 30,
                                       .P = 17,
                                       .Q = 30,
                                       .R = 3,
                                       .S = 3,
                                       .stride = {2, 1},
                                       .dilation = {1, 1},
                                       .pad = {1, 1}};

static void fill_case(conv_case *c, size_t images, pleat_dtype type) {
    c->g = large;
    c->g.N = images;
    c->t[X] = whole(type, PLEAT_SHAPE(images, 8, 33, 30));
    c->t[W] = whole(type, PLEAT_SHAPE(6, 4, 3, 3));
    c->t[Y] = whole(type, PLEAT_SHAPE(images, 6, 17, 30));
}

Test(fused, on_one_thread_and_three_and_for_no_image) {
    static const int threads[] = {1, 3};
    for (pleat_dtype type = PLEAT_F32; type <= PLEAT_F64; type++)
        for (size_t k = 0; k < 2; k++) {
            conv_case c;
            pleat_set_threads(ctx, threads[k]);
            fill_case(&c, 5, type);
            compare_case(&c, type, false);
            compare_case(&c, type, true);
            fill_case(&c, 0, type);
            compare_case(&c, type, false);
        }
}

Test(fused, results_do_not_depend_on_the_threads) {
    for (pleat_dtype type = PLEAT_F32; type <= PLEAT_F64; type++)
        for (letter of = X; of <= Y; of += 2) {
            pleat_tensor *y[2], *gs[2][XS];
            conv_case c;
            fill_case(&c, 5, type);
            pleat_tensor *xs[XS] = {pleat_randn(ctx, type, 4, pleat_shape(c.t[of == X ? Y : X])),
                                    pleat_randn(ctx, type, 4, pleat_shape(c.t[W])),
                                    bias_for(&large, of, type, false)};
            for (int k = 0; k < 2; k++) {
                pleat_set_threads(ctx, 1 + 2 * k);
                y[k] = within(&c.g, of, xs, (ending){.bias = true, .relu = true});
                EXPECT_OK(pleat_grads(pleat_sum(pleat_square(y[k])), NULL, XS, xs, gs[k], 0));
            }
            EXPECT_SAME(y[1], y[0]);
            for (size_t i = 0; i < XS; i++) EXPECT_SAME(gs[1][i], gs[0][i]);
            pleat_set_recording(ctx, false);
            for (int k = 0; k < 2; k++) {
                pleat_set_threads(ctx, 2 + k);
                EXPECT_SAME(within(&c.g, of, xs, (ending){.norm = 7}),
                            behind(&c.g, of, xs, (ending){.norm = 7}));
            }
            pleat_set_recording(ctx, true);
        }
}

/* NaN comes through, from the image and from the bias, and the gate is shut for it. */
Test(fused, nan_is_not_hidden) {
    for (pleat_dtype type = PLEAT_F32; type <= PLEAT_F64; type++)
        for (letter of = X; of <= Y; of += 2) {
            conv_case c;
            fill_case(&c, 1, type);
            size_t channels = of == X ? 8 : 6;
            double numbers[8] = {0, NAN, 1, -1, -0.0, INFINITY, -INFINITY, 2};
            pleat_tensor *xs[XS] = {c.t[of == X ? Y : X], c.t[W],
                                    pleat_from_f64(ctx, type, PLEAT_SHAPE(channels), numbers)};
            compare(&c.g, of, xs, (ending){.bias = true, .relu = true}, false);
            compare(&c.g, of, xs, (ending){.bias = true, .norm = 7, .relu6 = true}, false);
            pleat_tensor *y = within(&c.g, of, xs, (ending){.bias = true, .relu = true});
            cr_assert(isnan(pleat_at(y, (size_t[]){0, 1, 2, 3})));
            cr_assert_geq(pleat_at(y, (size_t[]){0, 0, 2, 3}), 0);
            xs[0] = pleat_full_like(xs[0], NAN);
            compare(&c.g, of, xs, (ending){.bias = false, .relu = true}, false);
            cr_assert(isnan(pleat_at(within(&c.g, of, xs, (ending){.bias = false, .relu = true}),
                                     (size_t[]){0, 0, 2, 3})));
        }
}

/* Whatever the numbers of a norm are, also those of which batch_norm makes NaN. */
Test(fused, norms_that_are_not_finite) {
    static const double numbers[8] = {NAN, INFINITY, -INFINITY, 0, -0.0, 1e38, -1, 1e-45};
    pleat_set_recording(ctx, false);
    for (pleat_dtype type = PLEAT_F32; type <= PLEAT_F64; type++)
        for (size_t shift = 0; shift < 8; shift++) {
            double turned[4][8];
            pleat_tensor *of[4];
            for (size_t i = 0; i < 32; i++) turned[i / 8][i % 8] = numbers[(i + i / 8 * shift) % 8];
            for (size_t i = 0; i < 4; i++) of[i] = pleat_from_f64(ctx, type, PLEAT_SHAPE(8), turned[i]);
            conv_case c;
            fill_case(&c, 1, type);
            pleat_conv_args a = {.a = c.t[Y], .b = c.t[W], .groups = 2};
            pleat_tensor *plain = pleat_conv2d_transpose_with(a);
            a.relu6 = shift % 2, a.norm = (pleat_conv_norm){of[0], of[1], of[2], of[3], .eps = 1};
            EXPECT_SAME(pleat_conv2d_transpose_with(a),
                        pleat_batch_norm(plain, of[0], of[1], of[2], of[3], .eps = 1, .relu6 = shift % 2));
        }
}

/* A rectified result is a tensor like any other, also as the only thing that is left, and without a history. */
Test(fused, results_live_as_long_as_others) {
    conv_case c;
    fill_case(&c, 1, PLEAT_F32);
    pleat_tensor *xs[XS] = {c.t[X], c.t[W], whole(PLEAT_F32, PLEAT_SHAPE(6))}, *gs[2][XS];
    for (int recording = 0; recording < 2; recording++) {
        pleat_set_recording(ctx, recording);
        size_t before = pleat_memory(ctx).tensors;
        pleat_scope s = pleat_begin(ctx);
        pleat_tensor *y = pleat_keep(within(&c.g, Y, xs, (ending){.bias = true, .relu = true}));
        cr_assert_eq(pleat_memory(ctx).tensors, before + 1 + (size_t)recording);
        pleat_end(s);
        cr_assert_eq(pleat_memory(ctx).tensors, before + 1 + (size_t)recording);
        cr_assert(pleat_is_contiguous(y));
        pleat_tensor *other = behind(&c.g, Y, xs, (ending){.bias = true, .relu = true});
        EXPECT_SAME(y, other);
        cr_assert_eq(pleat_const_f32(y)[77], pleat_const_f32(other)[77]);
        if (!recording) continue;
        EXPECT_OK(pleat_grads(pleat_sum(pleat_square(y)), NULL, XS, xs, gs[0], PLEAT_GRADS_STRICT));
        EXPECT_OK(pleat_grads(pleat_sum(pleat_square(other)), NULL, XS, xs, gs[1], PLEAT_GRADS_STRICT));
        for (size_t i = 0; i < XS; i++) EXPECT_SAME(gs[0][i], gs[1][i]);
    }
}

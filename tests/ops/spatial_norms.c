/* Norms with weight, bias and relu, which are one op: beside the composition of normalize, mul, add and
 * relu; relu within and behind; the batch's statistics; at the borders of the loops' lanes, columns, chunks
 * and tasks. */
#include <math.h>

#include "tensors.h"

TestSuite(norms_fused, .init = tensors_begin, .fini = tensors_end);

enum { XS = 3 };
enum kind { BATCH, GROUP, LAYER, GIVEN, KINDS };
static const char *const names[] = {"batch_norm", "group_norm", "layer_norm",
                                    "batch_norm by given statistics"};

typedef struct shape {
    size_t rank, sizes[4];
} shape;

typedef struct options {
    enum kind kind;
    bool weight, bias, relu, relu6;
} options;

/* x and weight and bias, each an x of a gradient. */
static void draw(pleat_dtype type, enum kind kind, const shape *s, pleat_tensor *xs[XS]) {
    size_t each = s->sizes[kind == LAYER ? s->rank - 1 : 1];
    xs[0] = pleat_randn(ctx, type, s->rank, s->sizes);
    for (size_t i = 1; i < XS; i++) xs[i] = pleat_randn(ctx, type, 1, &each);
}

static size_t groups_of(const pleat_tensor *x) { return pleat_size(x, 1) % 2 ? 1 : pleat_size(x, 1) / 2; }

static pleat_tensor *mean_for(pleat_tensor *w) { return pleat_full_like(w, 0.25); }
static pleat_tensor *var_for(pleat_tensor *w) { return pleat_full_like(w, 0.75); }

static pleat_tensor *fused(options o, pleat_tensor *const xs[XS]) {
    pleat_tensor *w = o.weight ? xs[1] : NULL, *b = o.bias ? xs[2] : NULL;
    pleat_norm_args a = {.x = xs[0], .weight = w, .bias = b, .relu = o.relu, .relu6 = o.relu6};
    if (o.kind == GIVEN) a.mean = mean_for(xs[1]), a.var = var_for(xs[1]);
    if (o.kind == GROUP) a.groups = groups_of(xs[0]);
    return o.kind == GROUP   ? pleat_group_norm_with(a)
           : o.kind == LAYER ? pleat_layer_norm_with(a)
                             : pleat_batch_norm_with(a);
}

/* w for x [N,C,..] or [..,D] */
static pleat_tensor *along(enum kind kind, pleat_tensor *w, const pleat_tensor *x) {
    size_t sizes[] = {pleat_numel(w), 1, 1, 1};
    return kind == LAYER ? w : pleat_reshape(w, pleat_rank(x) - 1, sizes);
}

static pleat_tensor *normalized(enum kind kind, pleat_tensor *x, pleat_tensor *w) {
    size_t rank = pleat_rank(x), N = pleat_size(x, 0);
    if (kind == BATCH) return pleat_normalize(x, ((1u << rank) - 1) & ~PLEAT_AXES(1), 1e-5);
    if (kind == LAYER) return pleat_normalize(x, 1u << (rank - 1), 1e-5);
    if (kind == GIVEN) {
        pleat_tensor *rate = pleat_pow(pleat_shift(var_for(w), 1e-5), -0.5);
        return pleat_mul(pleat_sub(x, along(kind, mean_for(w), x)), along(kind, rate, x));
    }
    pleat_tensor *rows = pleat_reshape(x, PLEAT_SHAPE(N, groups_of(x), pleat_numel(x) / N / groups_of(x)));
    return pleat_reshape(pleat_normalize(rows, PLEAT_AXES(2), 1e-5), rank, pleat_shape(x));
}

static pleat_tensor *composed(options o, pleat_tensor *const xs[XS]) {
    pleat_tensor *y = normalized(o.kind, xs[0], xs[1]);
    if (o.weight) y = pleat_mul(y, along(o.kind, xs[1], xs[0]));
    if (o.bias) y = pleat_add(y, along(o.kind, xs[2], xs[0]));
    return o.relu ? pleat_relu(y) : y;
}

/* Sums in 64 lanes; rows of less than 128 pixels side by side, 256 wide; chunks of 16,384; tasks of 16,384 and
 * of a 32nd of the slabs. */
static const shape shapes[] = {
    {2, {5, 3}},         {2, {2, 260}},       {2, {40, 257}},      {3, {2, 4, 2}},      {3, {3, 2, 15}},
    {3, {1, 3, 17}},     {3, {2, 5, 127}},    {3, {2, 5, 128}},    {3, {7, 4, 65}},     {4, {3, 6, 5, 7}},
    {4, {1, 2, 64, 64}}, {4, {2, 1, 64, 65}}, {4, {9, 2, 26, 35}}, {4, {257, 5, 8, 8}}, {4, {70, 2, 9, 9}},
    {3, {2, 2, 9000}},   {2, {300, 16}},      {3, {33, 4, 16}},    {4, {2, 258, 1, 1}},
};
enum { SHAPES = sizeof shapes / sizeof *shapes };

static void expect_near_all(options o, pleat_dtype type, const shape *s) {
    pleat_tensor *xs[XS], *gs[2][XS];
    draw(type, o.kind, s, xs);
    pleat_tensor *y[] = {fused(o, xs), composed(o, xs)}, *u = pleat_randn(ctx, type, s->rank, s->sizes);
    double bound = type == PLEAT_F32 ? 2e-6 : 1e-13;
    cr_assert(near(y[0], y[1], bound), "%s of %zu,%zu,..: %s", names[o.kind], s->sizes[0], s->sizes[1],
              difference());
    for (size_t k = 0; k < 2; k++) EXPECT_OK(pleat_grads(y[k], u, XS, xs, gs[k], 0));
    /* of a single number, or of equal ones, the rate is 316, and terms of such a size cancel */
    for (size_t i = 0; i < XS; i++)
        cr_assert(near(gs[0][i], gs[1][i], 4 * bound), "gradient %zu of %s of %zu,%zu,..: %s", i,
                  names[o.kind], s->sizes[0], s->sizes[1], difference());
}

Test(norms_fused, as_the_composition) {
    for (size_t i = 0; i < SHAPES * 2 * KINDS * 4; i++) {
        pleat_scope scope = pleat_begin(ctx);
        /* not with relu: the two sums differ in the last bit, so one of them may be 0 */
        options o = {.kind = (enum kind)(i / 4 % KINDS), .weight = i % 2, .bias = i / 2 % 2};
        expect_near_all(o, i / 4 / KINDS % 2 ? PLEAT_F64 : PLEAT_F32, &shapes[i / 8 / KINDS]);
        pleat_end(scope);
    }
}

/* Values and gradients of the first and second order. Where weight and bias are 0, as in the last norm of a new
 * residual block, so is the result, and relu's derivative there is 0; so is relu6's where the result is 6. */
static void expect_relu_behind(options o, bool relu6, pleat_dtype type, const shape *s) {
    pleat_tensor *xs[XS], *gs[2][XS], *ggs[2][XS];
    draw(type, o.kind, s, xs);
    for (size_t i = 1; i < XS; i++) {
        pleat_tensor *first = pleat_slice(xs[i], (size_t[]){0}, (size_t[]){1}, NULL);
        EXPECT_OK(pleat_assign(xs[i], pleat_scale(xs[i], 5)));
        EXPECT_OK(pleat_assign(first, pleat_full_like(first, relu6 && i == 2 ? 6 : 0)));
    }
    o.relu = !relu6, o.relu6 = relu6;
    pleat_tensor *within = fused(o, xs), *u = pleat_randn(ctx, type, s->rank, s->sizes);
    o.relu = o.relu6 = false;
    pleat_tensor *y[] = {within, (relu6 ? pleat_relu6 : pleat_relu)(fused(o, xs))};
    EXPECT_SAME(y[0], y[1]);
    for (size_t k = 0; k < 2; k++) {
        EXPECT_OK(pleat_grads(y[k], u, XS, xs, gs[k], PLEAT_GRADS_RECORD));
        EXPECT_OK(pleat_grads(gs[k][0], u, XS, xs, ggs[k], 0));
    }
    for (size_t i = 0; i < XS; i++) {
        EXPECT_SAME(gs[0][i], gs[1][i]);
        EXPECT_SAME(ggs[0][i], ggs[1][i]);
    }
}

Test(norms_fused, relu_within_and_behind_are_the_same_bits) {
    for (size_t i = 0; i < SHAPES * 4 * KINDS; i++) {
        pleat_scope scope = pleat_begin(ctx);
        options o = {.kind = (enum kind)(i % KINDS), .weight = i % 3 != 0, .bias = i % 5 != 0};
        pleat_dtype type = i / KINDS % 2 ? PLEAT_F64 : PLEAT_F32;
        expect_relu_behind(o, i / 2 / KINDS % 2, type, &shapes[i / 4 / KINDS]);
        pleat_end(scope);
    }
}

/* A rectifier looks at the rounded number: of x = -1, -t, t, 1, whose inner results are bias and a share of
 * `step` around a half. */
static void expect_rounded(options o, pleat_dtype type, double bias, double step) {
    const size_t one = 1;
    pleat_tensor *b = pleat_full(ctx, type, 1, &one, bias), *w = pleat_full(ctx, type, 1, &one, step);
    for (double t = 0.3; t < 0.46; t += 0.005) {
        const double values[] = {-1, -t, t, 1};
        pleat_tensor *x = pleat_from_f64(ctx, type, PLEAT_SHAPE(4, 1), values), *g[2];
        pleat_tensor *within = pleat_batch_norm(x, w, b, .relu = o.relu, .relu6 = o.relu6, .eps = 1e-300);
        pleat_tensor *y = pleat_batch_norm(x, w, b, .eps = 1e-300);
        y = o.relu6 ? pleat_relu6(y) : pleat_relu(y);
        EXPECT_SAME(within, y);
        EXPECT_OK(pleat_grads(within, pleat_full_like(y, 1), 1, &b, &g[0], 0));
        EXPECT_OK(pleat_grads(y, pleat_full_like(y, 1), 1, &b, &g[1], 0));
        EXPECT_SAME(g[0], g[1]);
    }
}

Test(norms_fused, rectifiers_see_the_rounded_number) {
    const options relu = {.relu = true}, relu6 = {.relu6 = true};
    const double below = (double)nextafterf(6, 0), least = 0x1p-149;
    expect_rounded(relu, PLEAT_F32, 0, least);
    expect_rounded(relu6, PLEAT_F32, 0, least);
    expect_rounded(relu6, PLEAT_F32, below, 6 - below);
    expect_rounded(relu6, PLEAT_F64, nextafter(6, 0), 6 - nextafter(6, 0));
    expect_rounded(relu, PLEAT_F64, 0, 0x1p-1074);
}

Test(norms_fused, results_do_not_depend_on_the_threads) {
    for (size_t i = 0; i < SHAPES * KINDS; i++) {
        pleat_scope scope = pleat_begin(ctx);
        pleat_tensor *xs[XS], *first[1 + XS], *gs[XS];
        options o = {(enum kind)(i % KINDS), true, true, true, i / KINDS % 2};
        draw(PLEAT_F32, o.kind, &shapes[i / KINDS], xs);
        for (int threads = 1; threads <= 5; threads += 2) {
            pleat_set_threads(ctx, threads);
            pleat_tensor *y = fused(o, xs);
            EXPECT_OK(pleat_grads(y, pleat_exp(y), XS, xs, gs, 0));
            if (threads == 1) first[XS] = y;
            EXPECT_SAME(y, first[XS]);
            for (size_t k = 0; k < XS; k++) {
                if (threads == 1) first[k] = gs[k];
                EXPECT_SAME(gs[k], first[k]);
            }
        }
        pleat_end(scope);
    }
}

/* The sums come with the gradient of x, or alone: the same bits. */
Test(norms_fused, each_gradient_alone_is_that_of_all) {
    for (size_t i = 0; i < SHAPES * 3; i++) {
        pleat_scope scope = pleat_begin(ctx);
        pleat_tensor *xs[XS], *all[XS], *alone;
        options o = {(enum kind)(i % 3), true, true, i % 2, i % 4 == 3};
        draw(PLEAT_F32, o.kind, &shapes[i / 3], xs);
        pleat_tensor *y = fused(o, xs);
        EXPECT_OK(pleat_grads(y, pleat_exp(y), XS, xs, all, 0));
        for (size_t k = 0; k < XS; k++) {
            EXPECT_OK(pleat_grads(y, pleat_exp(y), 1, &xs[k], &alone, 0));
            EXPECT_SAME(alone, all[k]);
        }
        pleat_end(scope);
    }
}

Test(norms_fused, views_are_copied) {
    for (size_t i = 0; i < KINDS; i++) {
        pleat_tensor *xs[XS], *gs[2][XS];
        options o = {(enum kind)i, true, true, true, false};
        draw(PLEAT_F32, o.kind, &shapes[9], xs);
        pleat_tensor *views[] = {gappy(xs[0]), xs[1], xs[2]};
        pleat_tensor *y[] = {fused(o, xs), fused(o, views)};
        EXPECT_SAME(y[1], y[0]);
        EXPECT_OK(pleat_grads(y[0], y[0], XS, xs, gs[0], 0));
        EXPECT_OK(pleat_grads(y[1], gappy(y[0]), XS, views, gs[1], 0));
        for (size_t k = 0; k < XS; k++) EXPECT_SAME(gs[1][k], gs[0][k]);
    }
}

Test(norms_fused, the_batchs_statistics) {
    for (size_t i = 0; i < 2 * SHAPES; i++) {
        pleat_dtype type = i % 2 ? PLEAT_F64 : PLEAT_F32;
        const shape *s = &shapes[i / 2];
        unsigned axes = ((1u << s->rank) - 1) & ~PLEAT_AXES(1);
        pleat_tensor *x = whole(type, s->rank, s->sizes), *mean, *var, *g;
        pleat_tensor *y = pleat_batch_norm(x, .batch_mean = &mean, .batch_var = &var);
        EXPECT_NEAR(mean, pleat_mean(x, axes), type == PLEAT_F32 ? 1e-7 : 1e-15);
        EXPECT_NEAR(var, pleat_var(x, axes), type == PLEAT_F32 ? 1e-7 : 1e-14);
        cr_assert_null(pleat_call_of(mean), "without history");
        EXPECT_OK(pleat_grads(pleat_add(pleat_sum(y), pleat_sum(mean)), NULL, 1, &x, &g, 0));
        EXPECT_NEAR(g, pleat_zeros_like(g), type == PLEAT_F32 ? 1e-3 : 1e-12);
        y = pleat_batch_norm(x, .batch_var = &var);
        EXPECT_NEAR(var, pleat_var(x, axes), type == PLEAT_F32 ? 1e-7 : 1e-14);
    }
    pleat_tensor *none = pleat_zeros(ctx, PLEAT_F32, PLEAT_SHAPE(0, 2)), *mean = NULL, *var = NULL;
    EXPECT_REFUSED(pleat_batch_norm(none, .batch_mean = &mean, .batch_var = &var), PLEAT_ERR_SHAPE,
                   "batch_norm", "axis 0 is empty");
    cr_assert(pleat_is_poison(mean) && pleat_is_poison(var));
    pleat_tensor *x = pleat_zeros(ctx, PLEAT_F32, PLEAT_SHAPE(2, 2)),
                 *two = pleat_zeros(ctx, PLEAT_F32, PLEAT_SHAPE(2));
    EXPECT_REFUSED(pleat_batch_norm(x, .mean = two, .var = two, .batch_mean = &mean), PLEAT_ERR_ARGUMENT,
                   "batch_norm", "the batch's own are not computed");
    EXPECT_REFUSED(pleat_group_norm(x, .groups = 1, .batch_mean = &mean), PLEAT_ERR_ARGUMENT, "group_norm",
                   "options of the other norms");
    EXPECT_REFUSED(pleat_layer_norm(x, .batch_var = &var), PLEAT_ERR_ARGUMENT, "layer_norm",
                   "options of the other norms");
}

/* Of equal numbers, in chunks and columns. */
Test(norms_fused, equal_numbers_have_no_variance) {
    for (size_t i = 0; i < 2 * SHAPES; i++) {
        pleat_tensor *x = pleat_full(ctx, i % 2 ? PLEAT_F64 : PLEAT_F32, shapes[i / 2].rank,
                                     shapes[i / 2].sizes, 0.1),
                     *mean, *var;
        pleat_tensor *y = pleat_batch_norm(x, .eps = 1e-60, .batch_mean = &mean, .batch_var = &var);
        EXPECT_SAME(var, pleat_zeros_like(var));
        EXPECT_SAME(mean, pleat_full_like(mean, 0.1));
        EXPECT_SAME(y, pleat_zeros_like(y));
    }
}

Test(norms_fused, nan_is_not_hidden) {
    pleat_tensor *x = pleat_zeros(ctx, PLEAT_F32, PLEAT_SHAPE(2, 2, 3));
    pleat_f32(x)[0] = NAN;
    pleat_tensor *y = pleat_batch_norm(x, .relu = true), *two = pleat_full(ctx, PLEAT_F32, PLEAT_SHAPE(2), 1);
    EXPECT_HOLDS(y, PLEAT_SHAPE(2, 2, 3), VALUES(NAN, NAN, NAN, 0, 0, 0, NAN, NAN, NAN, 0, 0, 0));
    EXPECT_SAME(pleat_batch_norm(x, .relu6 = true), y);
    y = pleat_batch_norm(x, .mean = two, .var = two, .relu = true);
    EXPECT_HOLDS(y, PLEAT_SHAPE(2, 2, 3), VALUES(NAN, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0));
}

/* By given statistics: the exact product, and two roundings, to double and to float, so a fused product has the
 * same bits; in f64 two. Near to the exact (x - mean) factor + bias where the mean is large beside the
 * deviation as well. */
Test(norms_fused, given_statistics_round_once) {
    enum { N = 3, C = 5, Q = 70 };
    for (size_t i = 0; i < 8; i++) {
        bool wide = i % 2;
        pleat_dtype type = wide ? PLEAT_F64 : PLEAT_F32;
        double far = pow(100, (double)(i / 2)), x[N * C * Q], y[N * C * Q], m[C], f[C], b[C];
        pleat_tensor *mean = pleat_scale(pleat_randn(ctx, type, PLEAT_SHAPE(C)), far),
                     *var = pleat_uniform(ctx, type, PLEAT_SHAPE(C), 0.5, 2),
                     *weight = pleat_randn(ctx, type, PLEAT_SHAPE(C)),
                     *bias = pleat_randn(ctx, type, PLEAT_SHAPE(C));
        pleat_tensor *values =
            pleat_add(pleat_randn(ctx, type, PLEAT_SHAPE(N, C, Q)), pleat_reshape(mean, PLEAT_SHAPE(C, 1)));
        pleat_read_f64(pleat_batch_norm(values, weight, bias, mean, var, .eps = 0.125), y);
        pleat_read_f64(pleat_mul(pleat_pow(pleat_shift(var, 0.125), -0.5), weight), f);
        pleat_read_f64(values, x), pleat_read_f64(mean, m), pleat_read_f64(bias, b);
        for (size_t k = 0; k < N * C * Q; k++) {
            size_t c = k / Q % C;
            double shift = b[c] - m[c] * f[c], both = x[k] * f[c];
            double exact = (double)(((long double)x[k] - m[c]) * f[c] + b[c]);
            cr_assert_eq(y[k], wide ? both + shift : (double)(float)fma(x[k], f[c], shift));
            cr_assert_leq(fabs(y[k] - exact), (wide ? 0 : 0x1p-24 * fabs(exact)) +
                                                  0x1p-51 * (fabs(both) + fabs(m[c] * f[c]) + 3));
        }
    }
}

/* What a summary and an error say. */
Test(norms_fused, tell_their_options) {
    char text[120];
    pleat_tensor *x = pleat_zeros(ctx, PLEAT_F32, PLEAT_SHAPE(2, 4)),
                 *w = pleat_zeros(ctx, PLEAT_F32, PLEAT_SHAPE(4)), *y;
    cr_expect_str_eq(pleat_call_text(pleat_call_of(pleat_batch_norm(x, w)), text, sizeof text),
                     "batch_norm([2,4], [4]; eps 1e-05)");
    cr_expect_str_eq(
        pleat_call_text(pleat_call_of(pleat_group_norm(x, .groups = 2, .relu = true)), text, sizeof text),
        "group_norm([2,4]; groups 2, eps 1e-05, relu 1)");
    y = pleat_batch_norm(x, .mean = w, .var = w, .relu = true, .relu6 = true);
    cr_expect_str_eq(pleat_call_text(pleat_call_of(y), text, sizeof text),
                     "rescale([2,4], [4], [4]; relu6 1)");
    cr_expect_str_eq(pleat_call_text(pleat_call_of(pleat_layer_norm(x, .axes = 2)), text, sizeof text),
                     "layer_norm([2,4]; axes 2, eps 1e-05)");
}

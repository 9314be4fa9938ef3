/* Activations whose gradients are one pass: beside the compositions of masks and products that they
 * replace. */
#include <math.h>

#include "tensors.h"

TestSuite(elementwise_fused, .init = tensors_begin, .fini = tensors_end);

/* ---- prelu --------------------------------------------------------------------------------------------- */

typedef struct shape {
    size_t rank, sizes[4];
} shape;

/* Lanes of 16, chunks of 2,048, tasks of 16,384 elements and of a 32nd of the images. */
static const shape shapes[] = {
    {1, {5}},           {2, {3, 7}},        {2, {40, 2049}},     {2, {2, 16385}},     {3, {2, 3, 15}},
    {3, {65, 2, 17}},   {4, {3, 4, 5, 7}},  {4, {2, 3, 32, 64}}, {4, {2, 2, 64, 33}}, {4, {1, 3, 128, 129}},
    {4, {70, 5, 9, 9}}, {3, {1, 1, 16383}}, {3, {3, 1, 16384}},  {3, {2, 1, 40000}},  {4, {0, 3, 2, 2}},
};
enum { SHAPES = sizeof shapes / sizeof *shapes, XS = 2 };

static pleat_tensor *composed(pleat_tensor *const xs[XS]) {
    size_t rank = pleat_rank(xs[0]), sizes[] = {pleat_numel(xs[1]), 1, 1, 1};
    pleat_tensor *w = pleat_reshape(xs[1], rank < 2 ? 1 : rank - 1, sizes);
    return pleat_where(pleat_step(xs[0]), xs[0], pleat_mul(w, xs[0]));
}

static void draw(pleat_dtype type, const shape *s, bool one, pleat_tensor *xs[XS]) {
    size_t C = one || s->rank < 2 ? 1 : s->sizes[1];
    xs[0] = whole(type, s->rank, s->sizes), xs[1] = whole(type, 1, &C);
}

/* Whole numbers, zeros among them, so every sum is exact. */
Test(elementwise_fused, prelu_is_a_choice) {
    for (size_t i = 0; i < 4 * SHAPES; i++) {
        pleat_scope scope = pleat_begin(ctx);
        const shape *s = &shapes[i / 4];
        pleat_dtype type = i % 2 ? PLEAT_F64 : PLEAT_F32;
        pleat_tensor *xs[XS], *gs[2][XS], *ggs[2][XS], *alone;
        draw(type, s, i / 2 % 2, xs);
        pleat_tensor *y[] = {pleat_prelu(xs[0], xs[1]), composed(xs)}, *u = whole(type, s->rank, s->sizes);
        EXPECT_SAME(pleat_shift(y[0], 0), pleat_shift(y[1], 0));
        for (size_t k = 0; k < 2; k++) {
            EXPECT_OK(pleat_grads(y[k], u, XS, xs, gs[k], PLEAT_GRADS_RECORD));
            pleat_tensor *slope =
                pleat_add(pleat_sum(pleat_mul(gs[k][0], u)), pleat_sum(pleat_mul(gs[k][1], xs[1])));
            EXPECT_OK(pleat_grads(slope, NULL, XS, xs, ggs[k], 0));
        }
        for (size_t k = 0; k < XS; k++) {
            EXPECT_SAME(pleat_shift(gs[0][k], 0), pleat_shift(gs[1][k], 0));
            EXPECT_SAME(pleat_shift(ggs[0][k], 0), pleat_shift(ggs[1][k], 0));
            EXPECT_OK(pleat_grads(y[0], u, 1, &xs[k], &alone, 0));
            EXPECT_SAME(alone, gs[0][k]);
        }
        pleat_end(scope);
    }
}

Test(elementwise_fused, prelu_on_any_number_of_threads) {
    for (size_t i = 0; i < 2 * SHAPES; i++) {
        pleat_scope scope = pleat_begin(ctx);
        pleat_tensor *xs[XS], *first[1 + XS], *gs[XS];
        draw(PLEAT_F32, &shapes[i / 2], i % 2, xs);
        xs[0] = pleat_randn(ctx, PLEAT_F32, pleat_rank(xs[0]), pleat_shape(xs[0]));
        for (int threads = 1; threads <= 5; threads += 2) {
            pleat_set_threads(ctx, threads);
            pleat_tensor *y = pleat_prelu(xs[0], xs[1]);
            EXPECT_OK(pleat_grads(y, pleat_exp(y), XS, xs, gs, 0));
            if (threads == 1) first[0] = y, first[1] = gs[0], first[2] = gs[1];
            EXPECT_SAME(y, first[0]);
            EXPECT_SAME(gs[0], first[1]);
            EXPECT_SAME(gs[1], first[2]);
        }
        pleat_end(scope);
    }
}

Test(elementwise_fused, prelu_of_views_nan_and_what_does_not_fit) {
    pleat_tensor *x = whole(PLEAT_F32, PLEAT_SHAPE(2, 3, 4, 5)), *w = whole(PLEAT_F32, PLEAT_SHAPE(3));
    EXPECT_SAME(pleat_prelu(gappy(x), w), pleat_prelu(x, w));
    pleat_tensor *odd = pleat_from_f64(ctx, PLEAT_F32, PLEAT_SHAPE(4), VALUES(NAN, INFINITY, -INFINITY, 0)),
                 *gs[2];
    pleat_tensor *half = pleat_full(ctx, PLEAT_F32, PLEAT_SHAPE(1), 0.5), *xs[] = {odd, half};
    pleat_tensor *y = pleat_prelu(odd, half);
    EXPECT_HOLDS(y, PLEAT_SHAPE(4), VALUES(NAN, INFINITY, -INFINITY, 0));
    EXPECT_OK(pleat_grads(y, pleat_full_like(y, 4), 2, xs, gs, 0));
    EXPECT_HOLDS(gs[0], PLEAT_SHAPE(4), VALUES(2, 4, 2, 2));
    EXPECT_HOLDS(gs[1], PLEAT_SHAPE(1), VALUES(NAN));
    EXPECT_REFUSED(pleat_prelu(x, half = pleat_zeros(ctx, PLEAT_F32, PLEAT_SHAPE(2))), PLEAT_ERR_SHAPE,
                   "prelu", "[2,3,4,5] and [2]", "must be [1], or [C]");
    EXPECT_REFUSED(pleat_prelu(odd, pleat_zeros(ctx, PLEAT_F32, PLEAT_SHAPE(4))), PLEAT_ERR_SHAPE, "prelu",
                   "must be [1], or [C]");
    EXPECT_REFUSED(pleat_prelu(x, NULL), PLEAT_ERR_ARGUMENT, "prelu", "tensor 1 is a null pointer");
}

/* ---- of one expression --------------------------------------------------------------------------------- */

static pleat_tensor *leaky(pleat_tensor *x) { return pleat_leaky_relu(x, 0.2); }
static pleat_tensor *leaky_slope(pleat_tensor *x) {
    pleat_tensor *positive = pleat_step(x);
    return pleat_where(positive, positive, pleat_full_like(x, 0.2));
}
static pleat_tensor *silu_slope(pleat_tensor *x) {
    pleat_tensor *s = pleat_sigmoid(x), *y = pleat_silu(x);
    return pleat_add(s, pleat_sub(y, pleat_mul(s, y)));
}
static pleat_tensor *gelu_slope(pleat_tensor *x) {
    pleat_tensor *area = pleat_scale(pleat_shift(pleat_erf(pleat_scale(x, sqrt(0.5))), 1), 0.5);
    pleat_tensor *density =
        pleat_scale(pleat_exp(pleat_scale(pleat_square(x), -0.5)), 0.39894228040143267794);
    return pleat_add(area, pleat_mul(x, density));
}
static pleat_tensor *sigmoid_slope(pleat_tensor *x) {
    pleat_tensor *y = pleat_sigmoid(x);
    return pleat_sub(y, pleat_square(y));
}

/* The gradient has the bits of g times the slope as a composition. */
Test(elementwise_fused, gradients_of_one_expression) {
    static const struct {
        const char *name;
        pleat_tensor *(*f)(pleat_tensor *x), *(*slope)(pleat_tensor *x);
    } rows[] = {{"leaky_relu", leaky, leaky_slope},
                {"softplus", pleat_softplus, pleat_sigmoid},
                {"silu", pleat_silu, silu_slope},
                {"gelu", pleat_gelu, gelu_slope},
                {"sigmoid", pleat_sigmoid, sigmoid_slope}};
    for (size_t i = 0; i < 2 * sizeof rows / sizeof *rows; i++) {
        pleat_dtype type = i % 2 ? PLEAT_F64 : PLEAT_F32;
        pleat_tensor *x = pleat_scale(pleat_randn(ctx, type, PLEAT_SHAPE(7, 31)), 20), *gx;
        pleat_tensor *y = rows[i / 2].f(x), *u = pleat_randn(ctx, type, PLEAT_SHAPE(7, 31));
        for (int gaps = 0; gaps < 2; gaps++) {
            EXPECT_OK(pleat_grads(y, gaps ? gappy(u) : u, 1, &x, &gx, 0));
            cr_assert(same(gx, pleat_mul(u, rows[i / 2].slope(x))), "%s: %s", rows[i / 2].name, difference());
        }
        EXPECT_OK(pleat_grads(pleat_sum(y), NULL, 1, &x, &gx, 0)); /* a cotangent with strides of 0 */
        EXPECT_SAME(gx, rows[i / 2].slope(x));
    }
}

/* ---- gates ---------------------------------------------------------------------------------------------- */

static pleat_tensor *clamp(pleat_tensor *x) { return pleat_clamp(x, -2, 3); }
static pleat_tensor *clamp_mask(pleat_tensor *x) {
    return pleat_mul(pleat_ge(x, pleat_full_like(x, -2)), pleat_le(x, pleat_full_like(x, 3)));
}
static pleat_tensor *relu6_mask(pleat_tensor *x) {
    return pleat_mul(pleat_step(x), pleat_lt(x, pleat_full_like(x, 6)));
}

/* The cotangent, or 0, in one pass; whole numbers, so the ends of the range are among them. */
Test(elementwise_fused, the_gradient_of_a_range_is_a_gate) {
    static const struct {
        const char *op;
        pleat_tensor *(*f)(pleat_tensor *x), *(*mask)(pleat_tensor *x);
    } rows[] = {
        {"relu", pleat_relu, pleat_step}, {"relu6", pleat_relu6, relu6_mask}, {"clamp", clamp, clamp_mask}};
    for (size_t i = 0; i < 2 * 3; i++) {
        pleat_dtype type = i % 2 ? PLEAT_F64 : PLEAT_F32;
        pleat_tensor *x = pleat_shift(whole(type, PLEAT_SHAPE(7, 31)), 3), *gx, *ggx;
        pleat_tensor *u = pleat_randn(ctx, type, PLEAT_SHAPE(7, 31)), *mask = rows[i / 2].mask(x);
        EXPECT_OK(pleat_grads(rows[i / 2].f(x), u, 1, &x, &gx, PLEAT_GRADS_RECORD));
        EXPECT_SAME(gx, pleat_where(mask, u, pleat_zeros_like(u)));
        cr_assert_eq(pleat_call_of(gx)->in[0], u, "%s: one op", rows[i / 2].op);
        EXPECT_OK(pleat_grads(gx, u, 1, &u, &ggx, 0));
        EXPECT_SAME(ggx, gx);
        EXPECT_OK(pleat_grads(gx, u, 1, &x, &ggx, 0));
        EXPECT_SAME(ggx, pleat_zeros_like(x));
    }
}

/* ---- a sum and a relu ----------------------------------------------------------------------------------- */

Test(elementwise_fused, add_relu_is_relu_of_a_sum) {
    static const size_t sizes[][3] = {{2, 3, 5}, {2, 1, 5}, {1, 3, 1}};
    for (size_t i = 0; i < 2 * 3 * 3; i++) {
        pleat_dtype type = i % 2 ? PLEAT_F64 : PLEAT_F32;
        pleat_tensor *xs[XS], *gs[2][XS], *ggs[2][XS];
        for (size_t k = 0; k < XS; k++) xs[k] = pleat_randn(ctx, type, 3, sizes[(k ? i / 6 : i / 2) % 3]);
        pleat_tensor *y[] = {pleat_add_relu(xs[0], xs[1]), pleat_relu(pleat_add(xs[0], xs[1]))};
        EXPECT_SAME(y[0], y[1]);
        for (size_t k = 0; k < 2; k++) {
            EXPECT_OK(pleat_grads(pleat_sum(pleat_exp(y[k])), NULL, XS, xs, gs[k], PLEAT_GRADS_RECORD));
            EXPECT_OK(pleat_grads(pleat_sum(pleat_square(gs[k][0])), NULL, XS, xs, ggs[k], 0));
        }
        for (size_t k = 0; k < XS; k++) {
            EXPECT_SAME(gs[0][k], gs[1][k]);
            EXPECT_SAME(ggs[0][k], ggs[1][k]);
        }
    }
    pleat_tensor *nan = pleat_full(ctx, PLEAT_F32, PLEAT_SHAPE(1), NAN);
    EXPECT_HOLDS(pleat_add_relu(nan, nan), PLEAT_SHAPE(1), VALUES(NAN));
}

/* ---- logarithms in f32 --------------------------------------------------------------------------------- */

static pleat_tensor *softplus(pleat_tensor *x, pleat_tensor *t) { return (void)t, pleat_softplus(x); }

/* The nearest float, but for an ulp, from 1e-38 to 100, values and slopes; the sigmoid of softplus is 0
 * where it would be subnormal. */
Test(elementwise_fused, f32_is_a_rounded_f64) {
    pleat_tensor *(*const f[])(pleat_tensor *, pleat_tensor *) = {softplus, pleat_bce, pleat_bce_with_logits};
    enum { N = 4000 };
    for (size_t k = 0; k < 3 * 4; k++) {
        double x[N], t[N], narrow[2][N], wide[2][N];
        for (size_t i = 0; i < N; i++) {
            double u = pleat_rng_uniform(pleat_ctx_rng(ctx)),
                   magnitude = pow(10, k / 3 % 2 ? -38 * u : 2 - 3 * u);
            x[i] = k % 3 == 1 ? fmin(k / 6 ? 1 - magnitude : magnitude, 1) : k / 6 ? -magnitude : magnitude;
            x[i] = fmax(rounded(PLEAT_F32, x[i]), k % 3 == 1 ? 0 : -100);
            t[i] = i % 4 < 2 ? (double)(i % 2) : rounded(PLEAT_F32, pleat_rng_uniform(pleat_ctx_rng(ctx)));
        }
        for (pleat_dtype type = PLEAT_F32; type <= PLEAT_F64; type++) {
            pleat_tensor *a = pleat_from_f64(ctx, type, PLEAT_SHAPE(N), x), *g;
            pleat_tensor *y = f[k % 3](a, pleat_from_f64(ctx, type, PLEAT_SHAPE(N), t));
            EXPECT_OK(pleat_grads(pleat_sum(y), NULL, 1, &a, &g, 0));
            pleat_read_f64(y, type == PLEAT_F32 ? narrow[0] : wide[0]);
            pleat_read_f64(g, type == PLEAT_F32 ? narrow[1] : wide[1]);
        }
        for (size_t i = 0; i < 2 * N; i++) {
            double found = narrow[i / N][i % N], want = wide[i / N][i % N];
            cr_assert(fabs(found - want) <= 1.3e-7 * fabs(want) + (i < N ? 0x1p-148 : 0x1p-126),
                      "%zu, derivative %zu at %g, %g: %g, not %g", k, i / N, x[i % N], t[i % N], found, want);
        }
    }
}

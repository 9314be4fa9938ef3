/* Walks that consume: the same gradients, memory that shrinks on the way, and what is left of the history. */
#include "tensors.h"

TestSuite(consume, .init = tensors_begin, .fini = tensors_end);

enum { XS = 3, LAYERS = 12 };

/* Branches that meet, views, a rectified convolution (a pair of calls over one array), a weight used twice. */
static pleat_tensor *value_of(pleat_tensor *const xs[XS]) {
    pleat_tensor *map = pleat_conv2d(xs[0], xs[1], .bias = xs[2], .pad = {1, 1}, .relu = true);
    pleat_tensor *again = pleat_conv2d(pleat_flip(map, PLEAT_AXES(3)), xs[1], .pad = {1, 1});
    pleat_tensor *both = pleat_concat(2, (pleat_tensor *[]){map, pleat_sigmoid(again)}, 1);
    return pleat_mean(pleat_add(pleat_mul(both, both), pleat_permute(both, (size_t[]){0, 1, 3, 2})));
}

Test(consume, gives_the_same_bits) {
    for (pleat_dtype type = PLEAT_F32; type <= PLEAT_F64; type++) {
        pleat_tensor *xs[XS] = {pleat_randn(ctx, type, PLEAT_SHAPE(2, 3, 5, 5)),
                                pleat_randn(ctx, type, PLEAT_SHAPE(3, 3, 3, 3)),
                                pleat_randn(ctx, type, PLEAT_SHAPE(3))};
        pleat_tensor *g[XS], *h[XS];
        EXPECT_OK(pleat_grads(value_of(xs), NULL, XS, xs, g, PLEAT_GRADS_STRICT));
        EXPECT_OK(pleat_grads(value_of(xs), NULL, XS, xs, h, PLEAT_GRADS_STRICT | PLEAT_GRADS_CONSUME));
        for (size_t i = 0; i < XS; i++) EXPECT_SAME(h[i], g[i]);
    }
}

/* ---- memory --------------------------------------------------------------------------------------------- */

/* A chain of ops; like a network, it leaves its end alone to the scope. */
static pleat_tensor *chain(pleat_tensor *x) {
    for (int i = 0; i < LAYERS; i++) {
        pleat_tensor *y = pleat_tanh(x);
        if (i > 0) pleat_drop(x);
        x = y;
    }
    return x;
}

/* What the gradient of a chain leaves in use, and its peak, in tensors beyond x. */
static void measure(unsigned flags, double *left, double *peak) {
    pleat_ctx *own = pleat_ctx_new(.threads = 1);
    pleat_tensor *x = pleat_full(own, PLEAT_F64, PLEAT_SHAPE(1 << 16), 0.5), *g;
    double before = (double)pleat_memory(own).in_use, bytes = (1 << 16) * sizeof(double);
    pleat_tensor *y = chain(x);
    cr_assert_eq(pleat_grads(y, x, 1, &x, &g, flags), PLEAT_OK);
    *left = ((double)pleat_memory(own).in_use - before) / bytes;
    *peak = ((double)pleat_memory(own).peak - before) / bytes;
    pleat_ctx_free(own);
}

Test(consume, memory_shrinks_on_the_way) {
    double left, peak;
    measure(0, &left, &peak);
    cr_expect(left > LAYERS && peak > LAYERS + 1, "%g left, a peak of %g", left, peak);
    measure(PLEAT_GRADS_CONSUME, &left, &peak);
    cr_expect(left < 2.1, "y and the gradient, not %g tensors", left);
    cr_expect(peak < LAYERS + 2.1, "a cotangent and the next beside the chain, not %g tensors", peak);
}

Test(consume, what_only_the_calls_refer_to_is_gone) {
    pleat_tensor *x = counted(PLEAT_F64, PLEAT_SHAPE(9)), *g;
    pleat_tensor *y = chain(x);
    EXPECT_OK(pleat_grads(y, x, 1, &x, &g, PLEAT_GRADS_CONSUME));
    cr_expect_eq(pleat_memory(ctx).tensors, 3, "x, y and the gradient");
    cr_expect_null(pleat_call_of(y));
}

/* ---- history -------------------------------------------------------------------------------------------- */

Test(consume, a_second_walk_is_an_error) {
    pleat_tensor *x = counted(PLEAT_F64, PLEAT_SHAPE(2)), *w = counted(PLEAT_F64, PLEAT_SHAPE(2)), *g;
    pleat_tensor *middle = pleat_square(x), *y = pleat_sum(middle);
    EXPECT_OK(pleat_grads(y, NULL, 1, &x, &g, PLEAT_GRADS_CONSUME));
    EXPECT_HOLDS(middle, PLEAT_SHAPE(2), VALUES(1, 4));
    cr_expect_eq(pleat_item(y), 5);
    EXPECT_FAILED(pleat_grads(y, NULL, 1, &x, &g, 0), PLEAT_ERR_GRADIENT, "grads", "a tensor [] behind y",
                  "has consumed it");
    cr_expect(pleat_is_poison(g));
    pleat_tensor *later = pleat_sum(pleat_mul(middle, w));
    EXPECT_FAILED(pleat_grads(later, NULL, 1, &w, &g, 0), PLEAT_ERR_GRADIENT, "grads",
                  "a tensor [2] behind y", "pleat_detach");
    later = pleat_sum(pleat_mul(pleat_detach(middle), w));
    EXPECT_OK(pleat_grads(later, NULL, 1, &w, &g, PLEAT_GRADS_STRICT));
    EXPECT_SAME(g, middle);
}

/* Only calls between the xs and y are consumed: other gradients can still be asked for. */
Test(consume, other_histories_stay) {
    pleat_tensor *x = counted(PLEAT_F64, PLEAT_SHAPE(2)), *w = counted(PLEAT_F64, PLEAT_SHAPE(2)), *g;
    pleat_tensor *made = pleat_square(x), *y = pleat_sum(pleat_mul(made, w));
    EXPECT_OK(pleat_grads(y, NULL, 1, &w, &g, PLEAT_GRADS_CONSUME));
    EXPECT_SAME(g, made);
    EXPECT_OK(pleat_grads(pleat_sum(made), NULL, 1, &x, &g, PLEAT_GRADS_STRICT));
    EXPECT_HOLDS(g, PLEAT_SHAPE(2), VALUES(2, 4));
    /* that of an x itself, too */
    y = pleat_sum(pleat_square(made));
    EXPECT_OK(pleat_grads(y, NULL, 1, &made, &g, PLEAT_GRADS_CONSUME));
    EXPECT_HOLDS(g, PLEAT_SHAPE(2), VALUES(2, 8));
    EXPECT_OK(pleat_grads(pleat_sum(made), NULL, 1, &x, &g, PLEAT_GRADS_CONSUME));
    EXPECT_HOLDS(g, PLEAT_SHAPE(2), VALUES(2, 4));
}

/* x and what is made of it, asked for together. */
Test(consume, an_x_behind_another) {
    pleat_tensor *x = counted(PLEAT_F64, PLEAT_SHAPE(2)), *made = pleat_square(x), *g[2];
    pleat_tensor *y = pleat_sum(pleat_mul(made, x)), *xs[] = {made, x};
    EXPECT_OK(pleat_grads(y, NULL, 2, xs, g, PLEAT_GRADS_CONSUME));
    EXPECT_SAME(g[0], x);
    EXPECT_HOLDS(g[1], PLEAT_SHAPE(2), VALUES(3, 12));
    cr_expect_null(pleat_call_of(made));
    EXPECT_HOLDS(made, PLEAT_SHAPE(2), VALUES(1, 4));
}

Test(consume, a_mistake_consumes_nothing) {
    pleat_tensor *x = counted(PLEAT_F64, PLEAT_SHAPE(2)), *z = counted(PLEAT_F64, PLEAT_SHAPE(2)), *g[2];
    pleat_tensor *y = pleat_sum(pleat_square(x)), *xs[] = {x, z};
    const unsigned consume = PLEAT_GRADS_CONSUME;
    EXPECT_FAILED(pleat_grads(y, NULL, 2, xs, g, consume | PLEAT_GRADS_STRICT), PLEAT_ERR_GRADIENT, "grads",
                  "does not depend on x 1");
    EXPECT_FAILED(pleat_grads(y, NULL, 1, xs, g, consume | PLEAT_GRADS_RECORD), PLEAT_ERR_ARGUMENT, "grads",
                  "a gradient that is recorded needs the calls");
    EXPECT_OK(pleat_grads(y, NULL, 1, xs, g, consume | PLEAT_GRADS_STRICT));
    EXPECT_HOLDS(g[0], PLEAT_SHAPE(2), VALUES(2, 4));
}

/* ---- a rule that would consume the calls that it runs for ------------------------------------------------ */

static bool twice_shape(pleat_call *c) {
    c->rank = 1;
    c->shape[0] = pleat_numel(c->in[0]);
    return true;
}

static bool twice_forward(const pleat_call *c) {
    return pleat_assign(c->out, pleat_scale(c->in[0], 2)) == PLEAT_OK;
}

static pleat_tensor *greedy_vjp(const pleat_call *c, size_t i, pleat_tensor *g) {
    pleat_tensor *gx;
    pleat_grads(c->in[i], g, 1, &c->in[i], &gx, PLEAT_GRADS_CONSUME);
    return gx;
}

Test(consume, not_within_a_rule) {
    static const pleat_op op = {"twice", twice_shape, twice_forward, greedy_vjp, NULL, NULL, NULL};
    pleat_tensor *x = counted(PLEAT_F64, PLEAT_SHAPE(2)), *half = pleat_scale(x, 0.5), *g;
    pleat_tensor *y = pleat_sum(pleat_apply(&op, 1, &half, NULL, 0));
    EXPECT_FAILED(pleat_grads(y, NULL, 1, &x, &g, 0), PLEAT_ERR_ARGUMENT, "grads",
                  "a gradient rule must not consume");
}

/* Writing in place to what a gradient still needs is an error that names both; to what it does not need, it
 * is none. */
#include <math.h>

#include "tensors.h"

TestSuite(writes, .init = tensors_begin, .fini = tensors_end);

static pleat_status gradient(pleat_tensor *y, pleat_tensor *x) {
    pleat_tensor *g;
    return pleat_grads(pleat_sum(y), NULL, 1, &x, &g, 0);
}

static void overwrite(pleat_tensor *t) { EXPECT_OK(pleat_assign(t, pleat_zeros_like(t))); }

Test(writes, to_a_result_that_the_rule_needs) {
    pleat_tensor *x = whole(PLEAT_F32, PLEAT_SHAPE(2, 3)), *y = pleat_exp(x);
    EXPECT_OK(gradient(y, x));
    overwrite(y);
    EXPECT_FAILED(gradient(y, x), PLEAT_ERR_GRADIENT, "grads", "the gradient of exp([2,3]) needs its result",
                  "written in place after the call, by pleat_assign", "pleat_const_f32");
    pleat_f32(y);
    EXPECT_FAILED(gradient(y, x), PLEAT_ERR_GRADIENT, "grads", "by a pointer of pleat_f32");
    EXPECT_OK(gradient(pleat_exp(x), x));
}

Test(writes, to_an_operand) {
    pleat_tensor *x = whole(PLEAT_F64, PLEAT_SHAPE(2, 3)), *w = whole(PLEAT_F64, PLEAT_SHAPE(3, 2));
    pleat_tensor *product = pleat_matmul(x, w), *sum = pleat_add(x, pleat_permute(w, (size_t[]){1, 0}));
    overwrite(w);
    EXPECT_FAILED(gradient(product, x), PLEAT_ERR_GRADIENT, "grads", "matmul([2,3], [3,2])", "its tensor 1");
    EXPECT_OK(gradient(product, w)); /* needs x alone */
    EXPECT_OK(gradient(sum, x));     /* a shape is no element */
    EXPECT_OK(gradient(sum, w));
    EXPECT_OK(gradient(pleat_sum_to(x, PLEAT_SHAPE(3)), x));
}

Test(writes, through_a_view) {
    pleat_tensor *x = whole(PLEAT_F32, PLEAT_SHAPE(2, 3)), *y = pleat_square(x);
    overwrite(pleat_slice(x, (size_t[]){1, 0}, (size_t[]){1, 3}, NULL));
    EXPECT_FAILED(gradient(y, x), PLEAT_ERR_GRADIENT, "grads", "square([2,3]) needs its tensor 0");
    pleat_tensor *z = pleat_square(pleat_reshape(x, PLEAT_SHAPE(6)));
    overwrite(x);
    EXPECT_FAILED(gradient(z, x), PLEAT_ERR_GRADIENT, "grads", "square([6])");
}

Test(writes, by_none_who_reads) {
    double out[6];
    pleat_tensor *x = whole(PLEAT_F32, PLEAT_SHAPE(2, 3)), *y = pleat_exp(pleat_square(x));
    pleat_tensor *copy = pleat_zeros_like(y);
    cr_assert(pleat_const_f32(y) && pleat_const_f32(x));
    pleat_read_f64(y, out);
    pleat_at(x, (size_t[]){0, 0});
    EXPECT_OK(pleat_assign(copy, y));
    cr_assert_not(isnan(pleat_item(pleat_sum(y))));
    EXPECT_OK(gradient(y, x));
}

/* y = x^2, whose rule starts a walk of its own. */
static bool shape(pleat_call *c) {
    c->rank = 0;
    return true;
}
static bool forward(const pleat_call *c) {
    double x = pleat_item(c->in[0]);
    pleat_f64(c->out)[0] = x * x;
    return true;
}
static pleat_tensor *vjp(const pleat_call *c, size_t i, pleat_tensor *g) {
    bool was = pleat_set_recording(c->ctx, true);
    pleat_tensor *x = c->in[i], *gx, *y = pleat_square(x);
    pleat_set_recording(c->ctx, was);
    return pleat_grads(y, g, 1, &x, &gx, 0) ? NULL : gx;
}

Test(writes, within_a_walk_within_a_walk) {
    static const pleat_op op = {"nested", shape, forward, vjp, NULL, NULL, NULL};
    pleat_tensor *x = pleat_full(ctx, PLEAT_F64, PLEAT_SCALAR, 3), *gx;
    pleat_tensor *y = pleat_apply(&op, 1, &x, NULL, 0);
    EXPECT_OK(pleat_grads(y, NULL, 1, &x, &gx, 0));
    cr_assert_eq(pleat_item(gx), 6);
    overwrite(x);
    EXPECT_FAILED(pleat_grads(y, NULL, 1, &x, &gx, 0), PLEAT_ERR_GRADIENT, "grads", "nested([])");
    EXPECT_OK(gradient(pleat_square(x), x)); /* no mark stays behind */
    EXPECT_HOLDS(pleat_add(x, x), PLEAT_SCALAR, VALUES(0));
}

/* y = x z, of scalars; the rule for x is z itself. */
static pleat_tensor *other(const pleat_call *c, size_t i, pleat_tensor *g) { return (void)g, c->in[1 - i]; }
static bool product(const pleat_call *c) {
    return pleat_f64(c->out)[0] = pleat_item(c->in[0]) * pleat_item(c->in[1]), true;
}

Test(writes, to_what_a_rule_hands_on) {
    static const pleat_op op = {"product", shape, product, other, NULL, NULL, NULL};
    pleat_tensor *x[] = {whole(PLEAT_F64, PLEAT_SCALAR), whole(PLEAT_F64, PLEAT_SCALAR)}, *gx;
    pleat_tensor *y = pleat_apply(&op, 2, x, NULL, 0);
    overwrite(x[1]);
    EXPECT_FAILED(pleat_grads(y, NULL, 1, x, &gx, 0), PLEAT_ERR_GRADIENT, "grads", "product([], [])",
                  "tensor 1");
    EXPECT_OK(pleat_grads(y, NULL, 1, x + 1, &gx, 0));
}

/* y = x0 x1 of many operands; each has the rule of a square. */
static pleat_tensor *times(const pleat_call *c, size_t i, pleat_tensor *g) { return pleat_mul(g, c->in[i]); }

Test(writes, to_an_operand_that_is_given_many_times) {
    enum { MANY = 256 };
    static const pleat_op op = {"many", shape, product, times, NULL, NULL, NULL};
    pleat_tensor *x[MANY], *gx;
    x[0] = whole(PLEAT_F64, PLEAT_SCALAR);
    for (size_t i = 1; i < MANY; i++) x[i] = x[0];
    pleat_tensor *y = pleat_apply(&op, MANY, x, NULL, 0);
    overwrite(x[0]);
    EXPECT_FAILED(pleat_grads(y, NULL, 1, x, &gx, 0), PLEAT_ERR_GRADIENT, "grads", "tensor 0");
}

/* A rule that writes to its own operand leaves no mark behind. */
static pleat_tensor *spoil(const pleat_call *c, size_t i, pleat_tensor *g) {
    return (void)g, pleat_f64(c->in[i]), NULL;
}

Test(writes, by_a_rule) {
    static const pleat_op op = {"spoil", shape, product, spoil, NULL, NULL, NULL};
    pleat_tensor *x[] = {whole(PLEAT_F64, PLEAT_SCALAR), whole(PLEAT_F64, PLEAT_SCALAR)}, *gx;
    pleat_tensor *y = pleat_apply(&op, 2, x, NULL, 0);
    overwrite(x[1]);
    EXPECT_OK(pleat_grads(y, NULL, 1, x, &gx, 0));
    EXPECT_OK(gradient(pleat_square(x[0]), x[0]));
}

/* The convolution's weights change between the forward pass and the gradient, as by an optimizer. */
Test(writes, to_the_weights_of_a_convolution) {
    pleat_tensor *x = whole(PLEAT_F32, PLEAT_SHAPE(1, 2, 5, 5)),
                 *w = whole(PLEAT_F32, PLEAT_SHAPE(3, 2, 3, 3));
    pleat_tensor *b = whole(PLEAT_F32, PLEAT_SHAPE(3)), *y = pleat_conv2d(x, w, .bias = b, .relu = true);
    overwrite(b);
    EXPECT_OK(gradient(y, x));
    EXPECT_OK(gradient(y, b));
    overwrite(w);
    EXPECT_OK(gradient(y, w));
    EXPECT_FAILED(gradient(y, x), PLEAT_ERR_GRADIENT, "grads", "conv2d([1,2,5,5], [3,2,3,3], [3]; relu 1)",
                  "its tensor 1");
    overwrite(y);
    EXPECT_FAILED(gradient(y, w), PLEAT_ERR_GRADIENT, "grads", "relu([1,3,3,3])");
}

/* sigmoid and tanh. Law: tanh(x) = 2 sigmoid(2x) - 1. */
#include "core/core.h"
#include "core/exp.h"

#define OP sigmoid
#define EXPR 1 / (1 + pl_exp(-x))
#include "core/map1.inc"
#define OP tanh
#define EXPR tanh(x)
#include "core/map1.inc"

/* y (1 - y) = y - y^2 */
static pleat_tensor *sigmoid_vjp(const pleat_call *c, size_t i, pleat_tensor *g) {
    (void)i;
    return pleat_mul(g, pleat_sub(c->out, pleat_square(c->out)));
}

/* 1 - y^2 */
static pleat_tensor *tanh_vjp(const pleat_call *c, size_t i, pleat_tensor *g) {
    (void)i;
    return pleat_sub(g, pleat_mul(g, pleat_square(c->out)));
}

static const pleat_op sigmoid_op = {"sigmoid", pl_shape_same, sigmoid_forward, sigmoid_vjp, NULL};
static const pleat_op tanh_op = {"tanh", pl_shape_same, tanh_forward, tanh_vjp, NULL};

pleat_tensor *pleat_sigmoid(pleat_tensor *x) { return pleat_apply(&sigmoid_op, 1, &x, NULL, 0); }
pleat_tensor *pleat_tanh(pleat_tensor *x) { return pleat_apply(&tanh_op, 1, &x, NULL, 0); }

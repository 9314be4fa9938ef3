/* sigmoid and tanh. Law: tanh(x) = 2 sigmoid(2x) - 1. */
#include "core/core.h"
#include "core/functions.h"

#define OP sigmoid
#define EXPR pl_sigmoid(x)
#include "core/map1.inc"
#define OP tanh
#define EXPR pl_tanh(x)
#include "core/map1.inc"
#define OP sigmoid_gradient
#define EXPR x *(z - z * z)
#include "core/map2.inc"
#define OP tanh_gradient
#define EXPR x - x *(z * z)
#include "core/map2.inc"

/* The gradients (g, y) in the result y: g (y - y^2) and g - g y^2. They are linear in g. */
static pleat_tensor *sigmoid_gradient_vjp(const pleat_call *c, size_t i, pleat_tensor *h);
static pleat_tensor *tanh_gradient_vjp(const pleat_call *c, size_t i, pleat_tensor *h);
static const pleat_op sigmoid_gradient_op = {"sigmoid_gradient",
                                             pl_shape_broadcast,
                                             sigmoid_gradient_forward,
                                             sigmoid_gradient_vjp,
                                             NULL,
                                             &pl_own,
                                             NULL};
static const pleat_op tanh_gradient_op = {
    "tanh_gradient", pl_shape_broadcast, tanh_gradient_forward, tanh_gradient_vjp, NULL, &pl_own, NULL};

static pleat_tensor *sigmoid_gradient_vjp(const pleat_call *c, size_t i, pleat_tensor *h) {
    pleat_tensor *g = c->in[0], *y = c->in[1];
    if (i == 0) return pl_apply_two(&sigmoid_gradient_op, h, y);
    return pleat_mul(pleat_mul(h, g), pleat_shift(pleat_scale(y, -2), 1));
}

static pleat_tensor *tanh_gradient_vjp(const pleat_call *c, size_t i, pleat_tensor *h) {
    pleat_tensor *g = c->in[0], *y = c->in[1];
    if (i == 0) return pl_apply_two(&tanh_gradient_op, h, y);
    return pleat_mul(pleat_mul(h, g), pleat_scale(y, -2));
}

static pleat_tensor *sigmoid_vjp(const pleat_call *c, size_t i, pleat_tensor *g) {
    (void)i;
    return pl_apply_two(&sigmoid_gradient_op, g, c->out);
}

static pleat_tensor *tanh_vjp(const pleat_call *c, size_t i, pleat_tensor *g) {
    (void)i;
    return pl_apply_two(&tanh_gradient_op, g, c->out);
}

static const pleat_op sigmoid_op = {"sigmoid",        pl_shape_same, sigmoid_forward, sigmoid_vjp, NULL,
                                    &pl_element_wise, NULL};
static const pleat_op tanh_op = {"tanh", pl_shape_same, tanh_forward, tanh_vjp, NULL, &pl_element_wise, NULL};

pleat_tensor *pleat_sigmoid(pleat_tensor *x) { return pleat_apply(&sigmoid_op, 1, &x, NULL, 0); }
pleat_tensor *pleat_tanh(pleat_tensor *x) { return pleat_apply(&tanh_op, 1, &x, NULL, 0); }

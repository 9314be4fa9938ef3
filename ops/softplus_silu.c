/* softplus, the integral of the sigmoid, and silu, x times the sigmoid. Law: softplus(x) - softplus(-x) =
 * x. */
#include "core/core.h"
#include "core/functions.h"

#define OP softplus
#define EXPR pl_softplus(x)
#include "core/map1.inc"
#define OP softplus_gradient
#define EXPR x *pl_sigmoid(z)
#include "core/map2.inc"
#define OP silu
#define EXPR x *pl_sigmoid(x)
#include "core/map1.inc"
/* g (s + x s (1 - s)) = g (s + (y - s y)) with s = sigmoid(x) and y = silu(x). Where s is 1 the bracket is 0,
 * however large y is. */
#define S pl_sigmoid(z)
#define Y (z * pl_sigmoid(z))
#define OP silu_gradient
#define EXPR x *(S + (Y - S * Y))
#include "core/map2.inc"

/* The gradients (g, x) are linear in g, and their own adjoints in it. */
static pleat_tensor *softplus_gradient_vjp(const pleat_call *c, size_t i, pleat_tensor *h);
static pleat_tensor *silu_gradient_vjp(const pleat_call *c, size_t i, pleat_tensor *h);
static const pleat_op softplus_gradient_op = {"softplus_gradient",
                                              pl_shape_broadcast,
                                              softplus_gradient_forward,
                                              softplus_gradient_vjp,
                                              NULL,
                                              &pl_own,
                                              NULL};
static const pleat_op silu_gradient_op = {
    "silu_gradient", pl_shape_broadcast, silu_gradient_forward, silu_gradient_vjp, NULL, &pl_own, NULL};

/* softplus'' = s - s^2 with s = sigmoid(x) */
static pleat_tensor *softplus_gradient_vjp(const pleat_call *c, size_t i, pleat_tensor *h) {
    pleat_tensor *g = c->in[0], *x = c->in[1];
    if (i == 0) return pl_apply_two(&softplus_gradient_op, h, x);
    pleat_tensor *s = pleat_sigmoid(x);
    return pleat_mul(pleat_mul(h, g), pleat_sub(s, pleat_square(s)));
}

/* silu' = s + (y - s y), and silu'' = s' + (silu' - s' y - s silu') with s' = s - s^2 */
static pleat_tensor *silu_gradient_vjp(const pleat_call *c, size_t i, pleat_tensor *h) {
    pleat_tensor *g = c->in[0], *x = c->in[1];
    if (i == 0) return pl_apply_two(&silu_gradient_op, h, x);
    pleat_tensor *s = pleat_sigmoid(x), *y = pleat_silu(x), *ds = pleat_sub(s, pleat_square(s));
    pleat_tensor *dy = pleat_add(s, pleat_sub(y, pleat_mul(s, y)));
    pleat_tensor *bracket = pleat_sub(pleat_sub(dy, pleat_mul(s, dy)), pleat_mul(ds, y));
    return pleat_mul(pleat_mul(h, g), pleat_add(ds, bracket));
}

static pleat_tensor *softplus_vjp(const pleat_call *c, size_t i, pleat_tensor *g) {
    return pl_apply_two(&softplus_gradient_op, g, c->in[i]);
}

static pleat_tensor *silu_vjp(const pleat_call *c, size_t i, pleat_tensor *g) {
    return pl_apply_two(&silu_gradient_op, g, c->in[i]);
}

static const pleat_op softplus_op = {"softplus",       pl_shape_same, softplus_forward, softplus_vjp, NULL,
                                     &pl_element_wise, NULL};
static const pleat_op silu_op = {"silu", pl_shape_same, silu_forward, silu_vjp, NULL, &pl_element_wise, NULL};

pleat_tensor *pleat_softplus(pleat_tensor *x) { return pleat_apply(&softplus_op, 1, &x, NULL, 0); }
pleat_tensor *pleat_silu(pleat_tensor *x) { return pleat_apply(&silu_op, 1, &x, NULL, 0); }

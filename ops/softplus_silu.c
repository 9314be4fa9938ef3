/* softplus, the integral of the sigmoid, and silu, x times the sigmoid. Law: softplus(x) - softplus(-x) =
 * x. */
#include "core/core.h"
#include "core/exp.h"

/* the exponent is -|x|, so e does not overflow */
#define OP softplus
#define EXPR x > 0 ? x + log1p(exp(-x)) : log1p(exp(x))
#include "core/map1.inc"
#define OP silu
#define EXPR x / (1 + pl_exp(-x))
#include "core/map1.inc"

static pleat_tensor *softplus_vjp(const pleat_call *c, size_t i, pleat_tensor *g) {
    return pleat_mul(g, pleat_sigmoid(c->in[i]));
}

/* s + x s (1 - s) = s + (y - s y) with s = sigmoid(x). Where s is 1 the bracket is 0, however large y is. */
static pleat_tensor *silu_vjp(const pleat_call *c, size_t i, pleat_tensor *g) {
    pleat_tensor *s = pleat_sigmoid(c->in[i]);
    return pleat_mul(g, pleat_add(s, pleat_sub(c->out, pleat_mul(s, c->out))));
}

static const pleat_op softplus_op = {"softplus", pl_shape_same, softplus_forward, softplus_vjp, NULL};
static const pleat_op silu_op = {"silu", pl_shape_same, silu_forward, silu_vjp, NULL};

pleat_tensor *pleat_softplus(pleat_tensor *x) { return pleat_apply(&softplus_op, 1, &x, NULL, 0); }
pleat_tensor *pleat_silu(pleat_tensor *x) { return pleat_apply(&silu_op, 1, &x, NULL, 0); }

/* sin and cos, each the other's derivative up to a sign. Law: sin(x)^2 + cos(x)^2 = 1. */
#include "core/core.h"
#include "core/functions.h"

#define OP sin
#define EXPR pl_sin(x)
#include "core/map1.inc"
#define OP cos
#define EXPR pl_cos(x)
#include "core/map1.inc"

static pleat_tensor *sin_vjp(const pleat_call *c, size_t i, pleat_tensor *g) {
    return pleat_mul(g, pleat_cos(c->in[i]));
}

static pleat_tensor *cos_vjp(const pleat_call *c, size_t i, pleat_tensor *g) {
    return pleat_neg(pleat_mul(g, pleat_sin(c->in[i])));
}

static const pleat_op sin_op = {"sin", pl_shape_same, sin_forward, sin_vjp, NULL, &pl_element_wise, NULL};
static const pleat_op cos_op = {"cos", pl_shape_same, cos_forward, cos_vjp, NULL, &pl_element_wise, NULL};

pleat_tensor *pleat_sin(pleat_tensor *x) { return pleat_apply(&sin_op, 1, &x, NULL, 0); }
pleat_tensor *pleat_cos(pleat_tensor *x) { return pleat_apply(&cos_op, 1, &x, NULL, 0); }

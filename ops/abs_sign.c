/* abs and sign. Law: abs(x) = x sign(x). */
#include "core/core.h"

#define OP abs
#define EXPR fabs(x)
#include "core/map1.inc"
/* NaN for NaN */
#define OP sign
#define EXPR x == x ? (T)((x > 0) - (x < 0)) : x
#include "core/map1.inc"

static pleat_tensor *abs_vjp(const pleat_call *c, size_t i, pleat_tensor *g) {
    return pleat_mul(g, pleat_sign(c->in[i]));
}

static const pleat_op abs_op = {"abs", pl_shape_same, abs_forward, abs_vjp, NULL, &pl_element_wise, NULL};
static const pleat_op sign_op = {"sign", pl_shape_same,    sign_forward, pl_zero_vjp,
                                 NULL,   &pl_element_wise, NULL};

pleat_tensor *pleat_abs(pleat_tensor *x) { return pleat_apply(&abs_op, 1, &x, NULL, 0); }
pleat_tensor *pleat_sign(pleat_tensor *x) { return pleat_apply(&sign_op, 1, &x, NULL, 0); }

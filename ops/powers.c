/* square and sqrt: each other's inverse on x >= 0. Law: sqrt(square(x)) = |x|. */
#include "core/core.h"

#define MAP square_map
#define EXPR x *x
#include "core/map1.inc"
#define MAP sqrt_map
#define EXPR sqrt(x)
#include "core/map1.inc"

static bool square_forward(const pleat_call *c) { return pl_forward_map(c, &square_map); }
static bool sqrt_forward(const pleat_call *c) { return pl_forward_map(c, &sqrt_map); }

static pleat_tensor *square_vjp(const pleat_call *c, size_t i, pleat_tensor *g) {
    return pleat_mul(pleat_scale(g, 2), c->in[i]);
}

static pleat_tensor *sqrt_vjp(const pleat_call *c, size_t i, pleat_tensor *g) {
    (void)i;
    return pleat_div(pleat_scale(g, 0.5), c->out);
}

static const pleat_op square_op = {"square", pl_shape_same, square_forward, square_vjp};
static const pleat_op sqrt_op = {"sqrt", pl_shape_same, sqrt_forward, sqrt_vjp};

pleat_tensor *pleat_square(pleat_tensor *x) { return pleat_apply(&square_op, 1, &x, NULL, 0); }
pleat_tensor *pleat_sqrt(pleat_tensor *x) { return pleat_apply(&sqrt_op, 1, &x, NULL, 0); }

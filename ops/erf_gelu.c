/* erf, and gelu, a rectifier smoothed by erf. Law: gelu(x) - gelu(-x) = x. */
#include "core/core.h"
#include "core/functions.h"

#define ROOT_HALF 0.70710678118654752440      /* sqrt(1/2) */
#define TWO_BY_ROOT_PI 1.12837916709551257390 /* 2 / sqrt(pi) */
#define NORMAL_AT_0 0.39894228040143267794    /* 1 / sqrt(2 pi) */

#define OP erf
#define EXPR pl_erf(x)
#include "core/map1.inc"
#define OP gelu
#define EXPR (T)0.5 * x *(1 + pl_erf(x * (T)ROOT_HALF))
#include "core/map1.inc"
/* the cumulative normal distribution at x, plus x times its density */
#define OP gelu_gradient
#define EXPR x *((T)0.5 * (1 + pl_erf(z * (T)ROOT_HALF)) + z * ((T)NORMAL_AT_0 * pl_exp((T)-0.5 * (z * z))))
#include "core/map2.inc"

/* 2/sqrt(pi) e^(-x^2) */
static pleat_tensor *erf_vjp(const pleat_call *c, size_t i, pleat_tensor *g) {
    return pleat_mul(g, pleat_scale(pleat_exp(pleat_neg(pleat_square(c->in[i]))), TWO_BY_ROOT_PI));
}

static pleat_tensor *gelu_gradient_vjp(const pleat_call *c, size_t i, pleat_tensor *h);
static const pleat_op gelu_gradient_op = {
    "gelu_gradient", pl_shape_broadcast, gelu_gradient_forward, gelu_gradient_vjp, NULL, &pl_own, NULL};

/* linear in g and its own adjoint in it; the second derivative is d (2 - x^2) with the density d,
 * where x (x d) is in range */
static pleat_tensor *gelu_gradient_vjp(const pleat_call *c, size_t i, pleat_tensor *h) {
    pleat_tensor *g = c->in[0], *x = c->in[1];
    if (i == 0) return pl_apply_two(&gelu_gradient_op, h, x);
    pleat_tensor *density = pleat_scale(pleat_exp(pleat_scale(pleat_square(x), -0.5)), NORMAL_AT_0);
    pleat_tensor *twice = pleat_scale(density, 2), *square = pleat_mul(x, pleat_mul(x, density));
    return pleat_mul(pleat_mul(h, g), pleat_sub(twice, square));
}

static pleat_tensor *gelu_vjp(const pleat_call *c, size_t i, pleat_tensor *g) {
    return pl_apply_two(&gelu_gradient_op, g, c->in[i]);
}

static const pleat_op erf_op = {"erf", pl_shape_same, erf_forward, erf_vjp, NULL, &pl_element_wise, NULL};
static const pleat_op gelu_op = {"gelu", pl_shape_same, gelu_forward, gelu_vjp, NULL, &pl_element_wise, NULL};

pleat_tensor *pleat_erf(pleat_tensor *x) { return pleat_apply(&erf_op, 1, &x, NULL, 0); }
pleat_tensor *pleat_gelu(pleat_tensor *x) { return pleat_apply(&gelu_op, 1, &x, NULL, 0); }

/* erf, and gelu, a rectifier smoothed by erf. Law: gelu(x) - gelu(-x) = x. */
#include "core/core.h"

#define ROOT_HALF 0.70710678118654752440      /* sqrt(1/2) */
#define TWO_BY_ROOT_PI 1.12837916709551257390 /* 2 / sqrt(pi) */
#define NORMAL_AT_0 0.39894228040143267794    /* 1 / sqrt(2 pi) */

#define OP erf
#define EXPR erf(x)
#include "core/map1.inc"
#define OP gelu
#define EXPR (T)0.5 * x *(1 + erf(x * (T)ROOT_HALF))
#include "core/map1.inc"

/* 2/sqrt(pi) e^(-x^2) */
static pleat_tensor *erf_vjp(const pleat_call *c, size_t i, pleat_tensor *g) {
    return pleat_mul(g, pleat_scale(pleat_exp(pleat_neg(pleat_square(c->in[i]))), TWO_BY_ROOT_PI));
}

/* the cumulative normal distribution at x, plus x times its density */
static pleat_tensor *gelu_vjp(const pleat_call *c, size_t i, pleat_tensor *g) {
    pleat_tensor *x = c->in[i];
    pleat_tensor *integral = pleat_scale(pleat_shift(pleat_erf(pleat_scale(x, ROOT_HALF)), 1), 0.5);
    pleat_tensor *density = pleat_scale(pleat_exp(pleat_scale(pleat_square(x), -0.5)), NORMAL_AT_0);
    return pleat_mul(g, pleat_add(integral, pleat_mul(x, density)));
}

static const pleat_op erf_op = {"erf", pl_shape_same, erf_forward, erf_vjp, NULL};
static const pleat_op gelu_op = {"gelu", pl_shape_same, gelu_forward, gelu_vjp, NULL};

pleat_tensor *pleat_erf(pleat_tensor *x) { return pleat_apply(&erf_op, 1, &x, NULL, 0); }
pleat_tensor *pleat_gelu(pleat_tensor *x) { return pleat_apply(&gelu_op, 1, &x, NULL, 0); }

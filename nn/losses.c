/* Losses: means over all elements of x against a target of the same shape. */
#include "module.h"

#include <math.h>

pleat_tensor *pleat_nn_mse_loss(pleat_tensor *x, pleat_tensor *target) {
    bool usable = !pleat_is_poison(x) && !pleat_is_poison(target);
    if (usable && !pln_same_shape(x, target)) { /* pleat_sub would broadcast */
        char a[96], b[96];
        pleat_fail(pleat_ctx_of(x), PLEAT_ERR_SHAPE, "mse_loss",
                   "x is %s and target is %s; they must be equal", pleat_shape_text(x, a, sizeof a),
                   pleat_shape_text(target, b, sizeof b));
        return pleat_poison(pleat_ctx_of(x));
    }
    return pleat_mean(pleat_square(pleat_sub(x, target)));
}

/* ---- binary cross-entropy ---------------------------------------------------------------------------- */
/* An op of its own, and not clamp(log(x), -100, HUGE_VAL) in ops, for the sake of x = 0 and x = 1, which a sigmoid in
 * f32 does return: there the chain rule multiplies the clamp's 0 by the logarithm's 1/0. Its rule for x is the closed
 * form (x - t) / (x (1 - x)), with the divisor kept above 1e-12 as PyTorch does. It is linear in t, so its rule for t
 * is the op itself. Both are written in ops, and finite in all of 0..1. */

static pleat_tensor *bce(pleat_tensor *x, pleat_tensor *target);

static bool bce_shape(pleat_call *c) {
    if (!pln_same_shape(c->in[0], c->in[1]))
        return pleat_call_fail(c, PLEAT_ERR_SHAPE, "x and target must have the same shape");
    c->rank = pleat_rank(c->in[0]);
    for (size_t i = 0; i < c->rank; i++) c->shape[i] = pleat_size(c->in[0], i);
    return true;
}

static float bce_f32(float x, float t) {
    float a = logf(x), b = logf(1 - x);
    if (a < -100) a = -100;
    if (b < -100) b = -100;
    return -(t * a + (1 - t) * b);
}

static double bce_f64(double x, double t) {
    double a = log(x), b = log(1 - x);
    if (a < -100) a = -100;
    if (b < -100) b = -100;
    return -(t * a + (1 - t) * b);
}

static bool bce_forward(const pleat_call *c) {
    size_t n = pleat_numel(c->out);
    if (c->dtype == PLEAT_F32) {
        const float *x = pleat_f32(c->in[0]), *t = pleat_f32(c->in[1]);
        float *y = pleat_f32(c->out);
        for (size_t i = 0; i < n; i++) y[i] = bce_f32(x[i], t[i]);
    } else {
        const double *x = pleat_f64(c->in[0]), *t = pleat_f64(c->in[1]);
        double *y = pleat_f64(c->out);
        for (size_t i = 0; i < n; i++) y[i] = bce_f64(x[i], t[i]);
    }
    return true;
}

static pleat_tensor *bce_vjp(const pleat_call *c, size_t i, pleat_tensor *g) {
    pleat_tensor *x = c->in[0], *t = c->in[1];
    if (i == 0) {
        pleat_tensor *divisor = pleat_clamp(pleat_mul(x, pleat_shift(pleat_neg(x), 1)), 1e-12, HUGE_VAL);
        return pleat_mul(g, pleat_div(pleat_sub(x, t), divisor));
    }
    return pleat_mul(g, pleat_sub(bce(x, pleat_full_like(x, 1)), bce(x, pleat_zeros_like(x))));
}

static const pleat_op bce_op = {"bce_loss", bce_shape, bce_forward, bce_vjp};

static pleat_tensor *bce(pleat_tensor *x, pleat_tensor *target) {
    /* NULL is left for pleat_apply to report, which knows the other tensor's context */
    pleat_tensor *in[] = {x ? pleat_contiguous(x) : NULL, target ? pleat_contiguous(target) : NULL};
    return pleat_apply(&bce_op, 2, in, NULL, 0);
}

pleat_tensor *pleat_nn_bce_loss(pleat_tensor *x, pleat_tensor *target) { return pleat_mean(bce(x, target)); }

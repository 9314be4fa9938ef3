/* Binary cross-entropy, of probabilities and of logits. Law: bce(sigmoid(x), t) = bce_with_logits(x, t).
 *
 * Both are ops in themselves, not compositions, for correct values at the ends of the range. A sigmoid in f32
 * can return 0 and 1; there the chain rule would multiply the 0 of a clamp by the 1/0 of the logarithm. For
 * logits, the loss of a nearly certain prediction is a small difference of large numbers, and its derivative
 * at 0 would be composed of those of max(x, 0) and |x|, which do not exist there. */
#include "losses.h"

#include <tgmath.h>

#define REAL float
#define NAME(f) f##_f32
#include "bce.inc"
#define REAL double
#define NAME(f) f##_f64
#include "bce.inc"

/* ---- element by element -------------------------------------------------------------------------------- */

typedef struct pair_map {
    float (*f32)(float x, float t);
    double (*f64)(double x, double t);
} pair_map;

static bool run(const pleat_call *c, pair_map map) {
    size_t n = pleat_numel(c->out);
    if (c->dtype == PLEAT_F32) {
        const float *x = pleat_const_f32(c->in[0]), *t = pleat_const_f32(c->in[1]);
        float *y = pleat_f32(c->out);
        for (size_t i = 0; i < n; i++) y[i] = map.f32(x[i], t[i]);
    } else {
        const double *x = pleat_const_f64(c->in[0]), *t = pleat_const_f64(c->in[1]);
        double *y = pleat_f64(c->out);
        for (size_t i = 0; i < n; i++) y[i] = map.f64(x[i], t[i]);
    }
    return true;
}

static bool shape_of_x(pleat_call *c) {
    c->rank = pleat_rank(c->in[0]);
    for (size_t i = 0; i < c->rank; i++) c->shape[i] = pleat_size(c->in[0], i);
    return true;
}

static pleat_tensor *apply(const pleat_op *op, pleat_tensor *x, pleat_tensor *target) {
    pleat_tensor *in[] = {pleat_contiguous(x), pleat_contiguous(target)};
    return pleat_apply(op, 2, in, NULL, 0);
}

/* ---- of probabilities ---------------------------------------------------------------------------------- */

static pleat_tensor *bce(pleat_tensor *x, pleat_tensor *target);

static bool bce_forward(const pleat_call *c) { return run(c, (pair_map){entropy_f32, entropy_f64}); }

/* For x the closed form (x - t) / (x (1 - x)), with a divisor of at least 1e-12, as in PyTorch. The loss is
 * linear in t, so the rule for t is the op itself. Both are finite in 0..1, ends included. */
static pleat_tensor *bce_vjp(const pleat_call *c, size_t i, pleat_tensor *g) {
    pleat_tensor *x = c->in[0], *t = c->in[1];
    if (i == 0) {
        pleat_tensor *divisor = pleat_clamp(pleat_mul(x, pleat_shift(pleat_neg(x), 1)), 1e-12, HUGE_VAL);
        return pleat_mul(g, pleat_div(pleat_sub(x, t), divisor));
    }
    return pleat_mul(g, pleat_sub(bce(x, pleat_full_like(x, 1)), bce(x, pleat_zeros_like(x))));
}

static const pleat_op bce_op = {"bce_loss", shape_of_x, bce_forward, bce_vjp, NULL};

static pleat_tensor *bce(pleat_tensor *x, pleat_tensor *target) { return apply(&bce_op, x, target); }

pleat_tensor *pleat_nn_bce_loss_with(pleat_nn_loss_args a) {
    if (!pln_alike(bce_op.name, a.x, a.target)) return pln_no_loss(a.x, a.target);
    return pln_reduce(bce_op.name, bce(a.x, a.target), a.reduction);
}

/* ---- of logits ----------------------------------------------------------------------------------------- */

static bool gap_forward(const pleat_call *c) { return run(c, (pair_map){gap_f32, gap_f64}); }

/* s(x) (1 - s(x)) = s(x) s(-x) */
static pleat_tensor *gap_vjp(const pleat_call *c, size_t i, pleat_tensor *g) {
    if (i == 1) return pleat_neg(g);
    pleat_tensor *x = c->in[0];
    return pleat_mul(g, pleat_mul(pleat_sigmoid(x), pleat_sigmoid(pleat_neg(x))));
}

static bool logits_forward(const pleat_call *c) { return run(c, (pair_map){logits_f32, logits_f64}); }

static const pleat_op gap_op = {"bce_with_logits_loss", shape_of_x, gap_forward, gap_vjp, NULL};

static pleat_tensor *logits_vjp(const pleat_call *c, size_t i, pleat_tensor *g) {
    pleat_tensor *x = c->in[0];
    return i == 0 ? pleat_mul(g, apply(&gap_op, x, c->in[1])) : pleat_neg(pleat_mul(g, x));
}

static const pleat_op logits_op = {"bce_with_logits_loss", shape_of_x, logits_forward, logits_vjp, NULL};

pleat_tensor *pleat_nn_bce_with_logits_loss_with(pleat_nn_loss_args a) {
    if (!pln_alike(logits_op.name, a.x, a.target)) return pln_no_loss(a.x, a.target);
    return pln_reduce(logits_op.name, apply(&logits_op, a.x, a.target), a.reduction);
}

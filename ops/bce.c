/* Binary cross-entropy, element by element, of probabilities and of logits. Law: bce(sigmoid(x), t) =
 * bce_with_logits(x, t).
 *
 * Both are ops in themselves, not compositions, for correct values at the ends of the range. A sigmoid in
 * f32 can return 0 and 1; there the chain rule would multiply the 0 of a clamp by the 1/0 of the logarithm.
 * For logits, the loss of a nearly certain prediction is a small difference of large numbers, and its
 * derivative at 0 would be composed of those of max(x, 0) and |x|, which do not exist there. In f32 an
 * element is computed in double and rounded once. */
#include "core/core.h"
#include "core/functions.h"

/* ---- of one element ------------------------------------------------------------------------------------ */

static double at_least(double a, double least) { return a < least ? least : a; }

/* -(t ln x + (1 - t) ln(1 - x)), with logarithms of at least -100 */
static inline float entropy_f32(float x, float t) {
    double a = at_least(pl_log_wide((double)x), -100), b = at_least(pl_log1m_wide((double)x), -100);
    return (float)-((double)t * a + (1 - (double)t) * b);
}
static inline double entropy_f64(double x, double t) {
    return -(t * at_least(pl_log_f64(x), -100) + (1 - t) * at_least(pl_log1p_f64(-x), -100));
}

/* (x - t) / (x (1 - x)), with a divisor of at least 1e-12, as in PyTorch */
static inline float slope_f32(float x, float t) {
    double divisor = (double)x * (1 - (double)x);
    return (float)(((double)x - (double)t) / at_least(divisor, 1e-12));
}
static inline double slope_f64(double x, double t) { return (x - t) / at_least(x * (1 - x), 1e-12); }

/* The entropy of sigmoid(x), without a difference of nearly equal numbers. */
static inline float logits_f32(float x, float t) {
    double rest = x > 0 ? (double)x * (1 - (double)t) : -(double)x * (double)t;
    return (float)(rest + pl_log1p_unit(pl_exp_wide(-fabsf(x))));
}
static inline double logits_f64(double x, double t) {
    return (x > 0 ? x * (1 - t) : -x * t) + pl_log1p_f64(pl_exp_f64(-fabs(x)));
}

/* sigmoid(x) - t = (1 - t) sigmoid(x) - t sigmoid(-x), likewise */
static inline float gap_f32(float x, float t) {
    double e = pl_exp_wide(-fabsf(x)), u = 1 - (double)t;
    return (float)((x > 0 ? u - (double)t * e : u * e - (double)t) / (1 + e));
}
static inline double gap_f64(double x, double t) {
    double e = pl_exp_f64(-fabs(x));
    return (x > 0 ? (1 - t) - t * e : (1 - t) * e - t) / (1 + e);
}

#define BOTH(f, x, z) _Generic((x), float : f##_f32, double : f##_f64)(x, z)

#define OP bce
#define EXPR BOTH(entropy, x, z)
#include "core/map2.inc"
#define OP bce_slope
#define EXPR BOTH(slope, x, z)
#include "core/map2.inc"
#define OP bce_with_logits
#define EXPR BOTH(logits, x, z)
#include "core/map2.inc"
#define OP gap
#define EXPR BOTH(gap, x, z)
#include "core/map2.inc"

static bool equal_shapes(pleat_call *c) {
    pl_shape_same(c);
    if (pl_same_shape(c->in[0], c->in[1])) return true;
    return pleat_call_fail(c, PLEAT_ERR_SHAPE, "x and target must have the same shape");
}

/* ---- of probabilities ---------------------------------------------------------------------------------- */

/* 1 / D and -slope D' / D with D = max(x (1 - x), 1e-12), and -1 / D for t */
static pleat_tensor *slope_vjp(const pleat_call *c, size_t i, pleat_tensor *g) {
    pleat_tensor *x = c->in[0], *product = pleat_mul(x, pleat_shift(pleat_neg(x), 1));
    pleat_tensor *by = pleat_div(g, pleat_clamp(product, 1e-12, HUGE_VAL));
    if (i == 1) return pleat_neg(by);
    pleat_tensor *inside = pleat_ge(product, pleat_full_like(product, 1e-12));
    pleat_tensor *bend = pleat_mul(inside, pleat_shift(pleat_scale(x, -2), 1));
    return pleat_sub(by, pleat_mul(by, pleat_mul(c->out, bend)));
}

static const pleat_op slope_op = {"bce_slope", equal_shapes, bce_slope_forward, slope_vjp, NULL,
                                  &pl_own,     NULL};

/* The loss is linear in t, so the rule for t is the op itself. Both are finite in 0..1, ends included. */
static pleat_tensor *bce_vjp(const pleat_call *c, size_t i, pleat_tensor *g) {
    pleat_tensor *x = c->in[0];
    if (i == 0) return pleat_mul(g, pl_apply_two(&slope_op, x, c->in[1]));
    return pleat_mul(g, pleat_sub(pleat_bce(x, pleat_full_like(x, 1)), pleat_bce(x, pleat_zeros_like(x))));
}

static const pleat_op bce_op = {"bce", equal_shapes, bce_forward, bce_vjp, NULL, &pl_own, NULL};

pleat_tensor *pleat_bce(pleat_tensor *x, pleat_tensor *t) { return pl_apply_two(&bce_op, x, t); }

/* ---- of logits ----------------------------------------------------------------------------------------- */

/* s(x) (1 - s(x)) = s(x) s(-x) */
static pleat_tensor *gap_vjp(const pleat_call *c, size_t i, pleat_tensor *g) {
    if (i == 1) return pleat_neg(g);
    pleat_tensor *x = c->in[0];
    return pleat_mul(g, pleat_mul(pleat_sigmoid(x), pleat_sigmoid(pleat_neg(x))));
}

static const pleat_op gap_op = {
    "bce_with_logits_gap", equal_shapes, gap_forward, gap_vjp, NULL, &pl_own, NULL};

static pleat_tensor *logits_vjp(const pleat_call *c, size_t i, pleat_tensor *g) {
    pleat_tensor *x = c->in[0];
    return i == 0 ? pleat_mul(g, pl_apply_two(&gap_op, x, c->in[1])) : pleat_neg(pleat_mul(g, x));
}

static const pleat_op logits_op = {"bce_with_logits", equal_shapes, bce_with_logits_forward, logits_vjp, NULL,
                                   &pl_own,           NULL};

pleat_tensor *pleat_bce_with_logits(pleat_tensor *x, pleat_tensor *t) {
    return pl_apply_two(&logits_op, x, t);
}

/* square, sqrt and pow: powers with a constant exponent. Laws: sqrt(square(x)) = |x|, and pow(x, a) pow(x, b)
 * = pow(x, a + b) on x > 0. */
#include "core/core.h"
#include "core/functions.h"

#define OP square
#define EXPR x *x
#include "core/map1.inc"
#define OP sqrt
#define EXPR sqrt(x)
#include "core/map1.inc"
/* NaN also for (-Inf)^a, for which C has a value. The exponent is used in double: rounded to a float it would be another
 * one, and may even become an integer (2^24 + 1/2). */
typedef struct exponent {
    double a, below; /* below: what is added where x < 0 */
    bool odd;
} exponent;

static exponent exponent_of(double a) {
    return (exponent){a, pl_is_whole(a) ? 0 : (double)NAN, pl_is_odd(a)};
}
static inline double pow_f64(double x, exponent e) {
    return x < 0 && isnan(e.below) ? e.below : pl_pow_f64(x, e.a);
}
static inline float pow_f32(float x, exponent e) {
    const float y = pl_pow_f32(fabsf(x), e.a) + (x < 0 ? (float)e.below : 0);
    return e.odd ? copysignf(y, x) : y;
}

#define OP pow
#define BEFORE const exponent e = exponent_of(a[0])
#define EXPR _Generic((x), float : pow_f32, double : pow_f64)(x, e)
#include "core/map1.inc"

static pleat_tensor *square_vjp(const pleat_call *c, size_t i, pleat_tensor *g) {
    return pleat_mul(pleat_scale(g, 2), c->in[i]);
}

static pleat_tensor *sqrt_vjp(const pleat_call *c, size_t i, pleat_tensor *g) {
    (void)i;
    return pleat_div(pleat_scale(g, 0.5), c->out);
}

/* a x^(a-1); x^0 is 1 everywhere, so its derivative is 0, also where x^-1 is not finite */
static pleat_tensor *pow_vjp(const pleat_call *c, size_t i, pleat_tensor *g) {
    double a = *(const double *)c->attrs;
    return a == 0 ? NULL : pleat_mul(g, pleat_scale(pleat_pow(c->in[i], a - 1), a));
}

static const pleat_op square_op = {"square",         pl_shape_same, square_forward, square_vjp, NULL,
                                   &pl_element_wise, NULL};
static const pleat_op sqrt_op = {"sqrt", pl_shape_same, sqrt_forward, sqrt_vjp, NULL, &pl_element_wise, NULL};
static const pleat_op pow_op = {"pow",           pl_shape_same,    pow_forward, pow_vjp,
                                pl_a_attributes, &pl_element_wise, NULL};

pleat_tensor *pleat_square(pleat_tensor *x) { return pleat_apply(&square_op, 1, &x, NULL, 0); }
pleat_tensor *pleat_sqrt(pleat_tensor *x) { return pleat_apply(&sqrt_op, 1, &x, NULL, 0); }
pleat_tensor *pleat_pow(pleat_tensor *x, double a) { return pleat_apply(&pow_op, 1, &x, &a, sizeof a); }

/* add, sub, mul, div, scale, shift, neg, with broadcasting. Law: (a + b) c = a c + b c, up to rounding, and
 * exactly for integers. */
#include "rules.h"

#define OP add
#define EXPR x + z
#include "core/map2.inc"
#define OP sub
#define EXPR x - z
#include "core/map2.inc"
#define OP mul
#define EXPR x *z
#include "core/map2.inc"
#define OP div
#define EXPR x / z
#include "core/map2.inc"
#define OP scale
#define EXPR x *(T)a[0]
#include "core/map1.inc"
#define OP shift
#define EXPR x + (T)a[0]
#include "core/map1.inc"

static pleat_tensor *add_vjp(const pleat_call *c, size_t i, pleat_tensor *g) {
    return pl_sum_like(g, c->in[i]);
}

static pleat_tensor *sub_vjp(const pleat_call *c, size_t i, pleat_tensor *g) {
    pleat_tensor *to = pl_sum_like(g, c->in[i]);
    return i == 0 ? to : pleat_neg(to);
}

static pleat_tensor *mul_vjp(const pleat_call *c, size_t i, pleat_tensor *g) {
    return pl_sum_like(pleat_mul(g, c->in[1 - i]), c->in[i]);
}

static pleat_tensor *div_vjp(const pleat_call *c, size_t i, pleat_tensor *g) {
    pleat_tensor *by = pleat_div(g, c->in[1]);
    return pl_sum_like(i == 0 ? by : pleat_neg(pleat_mul(by, c->out)), c->in[i]);
}

static pleat_tensor *scale_vjp(const pleat_call *c, size_t i, pleat_tensor *g) {
    (void)i;
    return pleat_scale(g, *(const double *)c->attrs);
}

static pleat_tensor *shift_vjp(const pleat_call *c, size_t i, pleat_tensor *g) {
    (void)c, (void)i;
    return g;
}

static const pleat_op add_op = {"add", pl_shape_broadcast, add_forward, add_vjp,
                                NULL,  &pl_element_wise,   NULL};
static const pleat_op sub_op = {"sub", pl_shape_broadcast, sub_forward, sub_vjp,
                                NULL,  &pl_element_wise,   NULL};
static const pleat_op mul_op = {"mul", pl_shape_broadcast, mul_forward, mul_vjp,
                                NULL,  &pl_element_wise,   NULL};
static const pleat_op div_op = {"div", pl_shape_broadcast, div_forward, div_vjp,
                                NULL,  &pl_element_wise,   NULL};
static const pleat_op scale_op = {"scale",         pl_shape_same,    scale_forward, scale_vjp,
                                  pl_a_attributes, &pl_element_wise, NULL};
static const pleat_op shift_op = {"shift",         pl_shape_same,    shift_forward, shift_vjp,
                                  pl_a_attributes, &pl_element_wise, NULL};

pleat_tensor *pleat_add(pleat_tensor *x, pleat_tensor *y) { return pl_apply_two(&add_op, x, y); }
pleat_tensor *pleat_sub(pleat_tensor *x, pleat_tensor *y) { return pl_apply_two(&sub_op, x, y); }
pleat_tensor *pleat_mul(pleat_tensor *x, pleat_tensor *y) { return pl_apply_two(&mul_op, x, y); }
pleat_tensor *pleat_div(pleat_tensor *x, pleat_tensor *y) { return pl_apply_two(&div_op, x, y); }
pleat_tensor *pleat_scale(pleat_tensor *x, double a) { return pleat_apply(&scale_op, 1, &x, &a, sizeof a); }
pleat_tensor *pleat_shift(pleat_tensor *x, double a) { return pleat_apply(&shift_op, 1, &x, &a, sizeof a); }
pleat_tensor *pleat_neg(pleat_tensor *x) { return pleat_scale(x, -1); }

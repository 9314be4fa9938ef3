/* relu, relu6, clamp and step, which are piecewise linear, and the gates that are their derivatives: g where x
 * is in a range, else 0. A gate is linear in g; x only selects, so its gradient is 0. Laws: relu(x) = gate(x,
 * x), relu(x) - relu(-x) = x, and relu6(x) = relu(x) - relu(x - 6). */
#include "rules.h"

/* NaN for NaN: NaN > 0 is false, and 0 would hide it. */
#define OP relu
#define EXPR x > 0 ? x : (x == x ? 0 : x)
#include "core/map1.inc"
#define OP relu6
#define EXPR x > 0 ? (x < 6 ? x : 6) : (x == x ? 0 : x)
#include "core/map1.inc"
#define RANGE const T low = (T)a[0], high = (T)a[1]
#define OP clamp
#define BEFORE RANGE
#define EXPR x < low ? low : (x > high ? high : x)
#include "core/map1.inc"
#define OP step
#define EXPR x > 0
#include "core/map1.inc"
#define OP add_relu
#define EXPR x + z > 0 ? x + z : (x + z == x + z ? 0 : x + z)
#include "core/map2.inc"
#define OP gate
#define EXPR z > 0 ? x : 0
#include "core/map2.inc"
/* & and not &&, which would be a jump */
#define OP gate6
#define EXPR ((z > 0) & (z < 6)) ? x : 0
#include "core/map2.inc"
#define OP within
#define BEFORE RANGE
#define EXPR ((z >= low) & (z <= high)) ? x : 0
#include "core/map2.inc"

static size_t range_attributes(const pleat_call *c, pleat_attr *out) {
    const double *range = c->attrs;
    out[0] = pl_attr_real("low", 1, range);
    out[1] = pl_attr_real("high", 1, range + 1);
    return 2;
}

/* ---- gates --------------------------------------------------------------------------------------------- */

static pleat_tensor *gate_vjp(const pleat_call *c, size_t i, pleat_tensor *g);
static const pleat_op gate_op = {"gate", pl_shape_broadcast, gate_forward, gate_vjp, NULL, &pl_own, NULL};
static const pleat_op gate6_op = {"gate6", pl_shape_broadcast, gate6_forward, gate_vjp, NULL, &pl_own, NULL};
static const pleat_op within_op = {
    "within", pl_shape_broadcast, within_forward, gate_vjp, range_attributes, &pl_own, NULL};

static pleat_tensor *gate(const pleat_op *op, pleat_tensor *g, pleat_tensor *x, const void *range) {
    return pleat_apply(op, 2, (pleat_tensor *[]){g, x}, range, range != NULL ? 2 * sizeof(double) : 0);
}

static pleat_tensor *gate_vjp(const pleat_call *c, size_t i, pleat_tensor *g) {
    return i == 0 ? gate(c->op, g, c->in[1], c->attrs) : NULL;
}

pleat_tensor *pl_gate(pleat_tensor *g, pleat_tensor *x) { return gate(&gate_op, g, x, NULL); }

pleat_tensor *pl_passed(pleat_tensor *g, pleat_tensor *y, pl_rectifier by) {
    return by == PL_LINEAR ? g : gate(by == PL_RELU ? &gate_op : &gate6_op, g, y, NULL);
}

/* ---- of one operand ------------------------------------------------------------------------------------ */

static pleat_tensor *relu_vjp(const pleat_call *c, size_t i, pleat_tensor *g) { return pl_gate(g, c->in[i]); }

/* of the result, as a norm or a convolution with relu6 has nothing else */
static pleat_tensor *relu6_vjp(const pleat_call *c, size_t i, pleat_tensor *g) {
    return (void)i, pl_passed(g, c->out, PL_RELU6);
}

/* 1 at the ends of the range as well, as in PyTorch */
static pleat_tensor *clamp_vjp(const pleat_call *c, size_t i, pleat_tensor *g) {
    return gate(&within_op, g, c->in[i], c->attrs);
}

static const pleat_op step_op = {"step", pl_shape_same,    step_forward, pl_zero_vjp,
                                 NULL,   &pl_element_wise, NULL};
static const pleat_op relu_op = {"relu", pl_shape_same, relu_forward, relu_vjp, NULL, &pl_element_wise, NULL};
static const pleat_op relu6_op = {"relu6", pl_shape_same,    relu6_forward, relu6_vjp,
                                  NULL,    &pl_element_wise, NULL};
static const pleat_op clamp_op = {"clamp",          pl_shape_same,    clamp_forward, clamp_vjp,
                                  range_attributes, &pl_element_wise, NULL};

pleat_tensor *pleat_relu(pleat_tensor *x) { return pleat_apply(&relu_op, 1, &x, NULL, 0); }
pleat_tensor *pleat_relu6(pleat_tensor *x) { return pleat_apply(&relu6_op, 1, &x, NULL, 0); }
pleat_tensor *pleat_step(pleat_tensor *x) { return pleat_apply(&step_op, 1, &x, NULL, 0); }

pleat_tensor *pleat_clamp(pleat_tensor *x, double low, double high) {
    double range[2] = {low, high};
    if (!(low <= high)) {
        pleat_fail(pleat_ctx_of(x), PLEAT_ERR_ARGUMENT, "clamp",
                   "the range %s..%s is empty: low must be <= high", pl_number(low, 6).text,
                   pl_number(high, 6).text);
        return pleat_poison(pleat_ctx_of(x));
    }
    return pleat_apply(&clamp_op, 1, &x, range, sizeof range);
}

/* ---- of two -------------------------------------------------------------------------------------------- */

/* The gate is computed once, for the operand that is asked first. */
static pleat_tensor *add_relu_vjp(const pleat_call *c, size_t i, pleat_tensor *g) {
    if (c->ctx->shared == NULL) c->ctx->shared = pl_retain(pl_gate(g, c->out));
    return pl_sum_like(c->ctx->shared, c->in[i]);
}

static const pleat_op add_relu_op = {
    "add_relu", pl_shape_broadcast, add_relu_forward, add_relu_vjp, NULL, &pl_element_wise, NULL};

pleat_tensor *pleat_add_relu(pleat_tensor *x, pleat_tensor *y) { return pl_apply_two(&add_relu_op, x, y); }

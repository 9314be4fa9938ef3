/* leaky_relu and elu: rectifiers with a negative side. Laws: leaky_relu(x, 1) = x, and leaky_relu(x, 0) =
 * relu(x). */
#include "core/core.h"
#include "core/functions.h"

#define OP leaky_relu
#define BEFORE const T slope = (T)a[0]
#define EXPR x > 0 ? x : slope *x
#include "core/map1.inc"
#define OP leaky_gate
#define BEFORE const T slope = (T)a[0]
#define EXPR z > 0 ? x : slope *x
#include "core/map2.inc"
#define OP elu
#define EXPR x > 0 ? x : (T)a[0] * pl_expm1(x)
#include "core/map1.inc"

static size_t slope_attributes(const pleat_call *c, pleat_attr *out) {
    out[0] = pl_attr_real("slope", 1, c->attrs);
    return 1;
}

/* The cotangent g of leaky_relu(x): g where x > 0, else slope g. It is linear in g, and x only chooses. */
static pleat_tensor *leaky_gate_vjp(const pleat_call *c, size_t i, pleat_tensor *g);
static const pleat_op leaky_gate_op = {
    "leaky_gate", pl_shape_broadcast, leaky_gate_forward, leaky_gate_vjp, slope_attributes, &pl_own, NULL};

static pleat_tensor *leaky_gate(pleat_tensor *g, pleat_tensor *x, const void *slope) {
    return pleat_apply(&leaky_gate_op, 2, (pleat_tensor *[]){g, x}, slope, sizeof(double));
}

static pleat_tensor *leaky_gate_vjp(const pleat_call *c, size_t i, pleat_tensor *g) {
    return i == 0 ? leaky_gate(g, c->in[1], c->attrs) : NULL;
}

static pleat_tensor *leaky_relu_vjp(const pleat_call *c, size_t i, pleat_tensor *g) {
    return leaky_gate(g, c->in[i], c->attrs);
}

/* 1 where x > 0, else a e^x; the exponent is min(x, 0), so that e^x does not overflow where it is not
 * chosen */
static pleat_tensor *elu_vjp(const pleat_call *c, size_t i, pleat_tensor *g) {
    pleat_tensor *x = c->in[i], *positive = pleat_step(x);
    pleat_tensor *decay =
        pleat_scale(pleat_exp(pleat_neg(pleat_relu(pleat_neg(x)))), *(const double *)c->attrs);
    return pleat_mul(g, pleat_where(positive, positive, decay));
}

static const pleat_op leaky_relu_op = {
    "leaky_relu",     pl_shape_same, leaky_relu_forward, leaky_relu_vjp, slope_attributes,
    &pl_element_wise, NULL};
static const pleat_op elu_op = {"elu",           pl_shape_same,    elu_forward, elu_vjp,
                                pl_a_attributes, &pl_element_wise, NULL};

pleat_tensor *pleat_leaky_relu(pleat_tensor *x, double slope) {
    return pleat_apply(&leaky_relu_op, 1, &x, &slope, sizeof slope);
}

pleat_tensor *pleat_elu(pleat_tensor *x, double a) { return pleat_apply(&elu_op, 1, &x, &a, sizeof a); }

/* exp and log, inverse to each other. Law: log(exp(x)) = x. */
#include "core/core.h"
#include "core/functions.h"

#define OP exp
#define EXPR pl_exp(x)
#include "core/map1.inc"
#define OP log
#define EXPR pl_log(x)
#include "core/map1.inc"

static pleat_tensor *exp_vjp(const pleat_call *c, size_t i, pleat_tensor *g) {
    (void)i;
    return pleat_mul(g, c->out);
}

static pleat_tensor *log_vjp(const pleat_call *c, size_t i, pleat_tensor *g) {
    return pleat_div(g, c->in[i]);
}

static const pleat_op exp_op = {"exp", pl_shape_same, exp_forward, exp_vjp, NULL, &pl_element_wise, NULL};
static const pleat_op log_op = {"log", pl_shape_same, log_forward, log_vjp, NULL, &pl_element_wise, NULL};

pleat_tensor *pleat_exp(pleat_tensor *x) { return pleat_apply(&exp_op, 1, &x, NULL, 0); }
pleat_tensor *pleat_log(pleat_tensor *x) { return pleat_apply(&log_op, 1, &x, NULL, 0); }

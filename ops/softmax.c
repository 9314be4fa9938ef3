/* softmax and log_softmax along an axis. Laws: softmax sums to 1 along the axis; adding a number to all
 * scores does not change it; log_softmax is its logarithm. */
#include "core/core.h"
#include "core/functions.h"
#include "kernels/parallel.h"

#include <math.h>

/* ---- along the last axis --------------------------------------------------------------------------------- */

typedef struct rows {
    size_t M, K, rows_per_task;
    const void *x;
    void *y;
    bool log;
} rows;

#define T float
#define SOFTMAX softmax_f32
#include "softmax.inc"
#define T double
#define SOFTMAX softmax_f64
#include "softmax.inc"

static bool run(const pleat_call *c, bool log) {
    enum { PIECE = 4096 };
    pleat_tensor *x = pl_dense(c->in[0]);
    bool usable = !x->poison;
    if (usable && x->numel > 0) {
        rows r = {
            .K = x->shape[x->rank - 1], .rows_per_task = 1, .x = x->data, .y = c->out->data, .log = log};
        r.M = x->numel / r.K;
        if (r.K < PIECE) r.rows_per_task = PIECE / r.K;
        pl_parallel(pl_pool_for(c->ctx, 8 * (double)x->numel), (r.M - 1) / r.rows_per_task + 1,
                    c->dtype == PLEAT_F64 ? softmax_f64 : softmax_f32, &r);
    }
    pl_release(x);
    return usable;
}

static bool softmax_forward(const pleat_call *c) { return run(c, false); }
static bool log_softmax_forward(const pleat_call *c) { return run(c, true); }

static pleat_tensor *sum_of_rows(pleat_tensor *x) {
    if (pleat_is_poison(x)) return x; /* poison has no last axis */
    return pleat_sum(x, 1u << (pl_rank(x) - 1), .keep = true);
}

/* y (g - sum of g y) */
static pleat_tensor *softmax_vjp(const pleat_call *c, size_t i, pleat_tensor *g) {
    (void)i;
    return pleat_mul(c->out, pleat_sub(g, sum_of_rows(pleat_mul(g, c->out))));
}

/* g - e^y sum of g */
static pleat_tensor *log_softmax_vjp(const pleat_call *c, size_t i, pleat_tensor *g) {
    (void)i;
    return pleat_sub(g, pleat_mul(pleat_exp(c->out), sum_of_rows(g)));
}

static size_t rows_attributes(const pleat_call *c, pleat_attr *out) {
    out[0] = pl_attr_whole("axis", 1, (size_t[]){c->rank - 1}, false);
    return 1;
}

static bool rows_shape(pleat_call *c) { return pl_shape_same(c); }

static const pleat_op softmax_op = {"softmax", rows_shape, softmax_forward, softmax_vjp, rows_attributes,
                                    &pl_own,   NULL};
static const pleat_op log_softmax_op = {
    "log_softmax", rows_shape, log_softmax_forward, log_softmax_vjp, rows_attributes, &pl_own, NULL};

/* ---- along any axis -------------------------------------------------------------------------------------- */

/* Exchange the axis with the last one before the op, and again after it. */
static pleat_tensor *along(const pleat_op *op, pleat_tensor *x, size_t axis) {
    size_t order[PLEAT_MAX_RANK], rank = pl_rank(x);
    if (pl_is_poison(x)) return pleat_apply(op, 1, &x, NULL, 0);
    if (axis >= rank) return pl_reject(x, op->name, PLEAT_ERR_ARGUMENT, "there is no axis %zu", axis);
    if (axis + 1 == rank) return pleat_apply(op, 1, &x, NULL, 0);
    for (size_t k = 0; k < rank; k++) order[k] = k;
    order[axis] = rank - 1;
    order[rank - 1] = axis;
    pleat_tensor *turned = pleat_permute(x, order);
    return pleat_permute(pleat_apply(op, 1, &turned, NULL, 0), order);
}

pleat_tensor *pleat_softmax(pleat_tensor *x, size_t axis) { return along(&softmax_op, x, axis); }
pleat_tensor *pleat_log_softmax(pleat_tensor *x, size_t axis) { return along(&log_softmax_op, x, axis); }

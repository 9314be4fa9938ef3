/* maximum and minimum of two tensors; amax and amin along axes, and where the largest stand. Equal elements
 * share the gradient evenly. Laws: maximum(x, y) + minimum(x, y) = x + y, and amax(x) >= x. */
#include "kernels/parallel.h"
#include "rules.h"

/* ---- of two -------------------------------------------------------------------------------------------- */

/* x > NaN is false, so a NaN in z is chosen without a test */
#define OP maximum
#define EXPR x > z || x != x ? x : z
#include "core/map2.inc"
#define OP minimum
#define EXPR x < z || x != x ? x : z
#include "core/map2.inc"
#define OP share
#define EXPR x > z ? 1 : x == z ? (T)0.5 : 0
#include "core/map2.inc"

static const pleat_op share_op = {"share", pl_shape_broadcast, share_forward, pl_zero_vjp, NULL, &pl_own,
                                  NULL};

/* x's share of the cotangent: 1 where x is larger, 1/2 where both are equal. */
static pleat_tensor *share(pleat_tensor *x, pleat_tensor *y) { return pl_apply_two(&share_op, x, y); }

static pleat_tensor *maximum_vjp(const pleat_call *c, size_t i, pleat_tensor *g) {
    return pl_sum_like(pleat_mul(g, share(c->in[i], c->in[1 - i])), c->in[i]);
}

static pleat_tensor *minimum_vjp(const pleat_call *c, size_t i, pleat_tensor *g) {
    return pl_sum_like(pleat_mul(g, share(c->in[1 - i], c->in[i])), c->in[i]);
}

static const pleat_op maximum_op = {
    "maximum", pl_shape_broadcast, maximum_forward, maximum_vjp, NULL, &pl_element_wise, NULL};
static const pleat_op minimum_op = {
    "minimum", pl_shape_broadcast, minimum_forward, minimum_vjp, NULL, &pl_element_wise, NULL};

pleat_tensor *pleat_maximum(pleat_tensor *x, pleat_tensor *y) { return pl_apply_two(&maximum_op, x, y); }
pleat_tensor *pleat_minimum(pleat_tensor *x, pleat_tensor *y) { return pl_apply_two(&minimum_op, x, y); }

/* ---- along a row: x [M,K] -> y [M] ----------------------------------------------------------------------- */

typedef struct rows {
    size_t M, K, rows_per_task;
    const void *x;
    void *y;
    size_t *index; /* of the largest element, in place of its value in y; or NULL */
} rows;

#define T float
#define LARGEST largest_f32
#include "extremes.inc"
#define T double
#define LARGEST largest_f64
#include "extremes.inc"

/* x [M,K], K > 0, is dense. */
static void rows_run(const pleat_tensor *x, void *y, size_t *index) {
    enum { PIECE = 16384 };
    rows r = {x->shape[0], x->shape[1], 1, x->data, y, index};
    if (r.M == 0) return;
    if (r.K < PIECE) r.rows_per_task = PIECE / r.K;
    pl_parallel(pl_pool_for(x->ctx, (double)x->numel), (r.M - 1) / r.rows_per_task + 1,
                x->dtype == PLEAT_F64 ? largest_f64 : largest_f32, &r);
}

static bool amax_forward(const pleat_call *c) {
    pleat_tensor *x = pl_dense(c->in[0]);
    bool usable = !x->poison;
    if (usable) rows_run(x, c->out->data, NULL);
    pl_release(x);
    return usable;
}

static size_t rows_attributes(const pleat_call *c, pleat_attr *out) {
    (void)c;
    out[0] = pl_attr_axes("axes", PLEAT_AXES(1));
    return 1;
}

static bool rows_shape(pleat_call *c) {
    c->rank = 1;
    c->shape[0] = c->in[0]->shape[0];
    if (c->in[0]->shape[1] > 0) return true;
    return pleat_call_fail(c, PLEAT_ERR_SHAPE, "an axis is empty, and nothing has no largest element");
}

static pleat_tensor *amax_vjp(const pleat_call *c, size_t i, pleat_tensor *g) {
    size_t column[2] = {c->shape[0], 1};
    pleat_tensor *largest = pleat_eq(c->in[i], pleat_reshape(c->out, 2, column));
    pleat_tensor *each =
        pleat_div(pleat_reshape(g, 2, column), pleat_sum(largest, PLEAT_AXES(1), .keep = true));
    return pleat_mul(largest, each);
}

static const pleat_op amax_op = {"amax", rows_shape, amax_forward, amax_vjp, rows_attributes, &pl_own, NULL};

/* ---- along axes ------------------------------------------------------------------------------------------ */

/* x as a matrix whose columns run over the axes; *rank and shape become those of the result. Poison after an
 * error. */
static pleat_tensor *as_rows(pleat_tensor *x, const char *op, unsigned axes, bool keep, size_t *rank,
                             size_t *shape) {
    size_t order[PLEAT_MAX_RANK], last = 0, M = 1, K = 1;
    if (pleat_is_poison(x)) return pleat_poison(pleat_ctx_of(x));
    if (axes >> x->rank)
        return pl_reject(x, op, PLEAT_ERR_ARGUMENT, "an axis is beyond the rank %zu", x->rank);
    *rank = 0;
    for (size_t k = 0; k < x->rank; k++) {
        bool taken = (axes >> k & 1u) != 0;
        if (!taken) order[last++] = k;
        if (!taken) M *= x->shape[k];
        if (taken) K *= x->shape[k];
        if (!taken || keep) shape[(*rank)++] = taken ? 1 : x->shape[k];
    }
    for (size_t k = 0; k < x->rank; k++)
        if (axes >> k & 1u) order[last++] = k;
    return pleat_reshape(pleat_permute(x, order), PLEAT_SHAPE(M, K));
}

pleat_tensor *pleat_amax_with(pleat_sum_args a) {
    size_t rank = 0, shape[PLEAT_MAX_RANK];
    unsigned axes = a.axes != 0 ? a.axes : (1u << pleat_rank(a.x)) - 1;
    if (a.x == NULL) return pleat_apply(&amax_op, 1, &a.x, NULL, 0);
    pleat_tensor *x = as_rows(a.x, "amax", axes, a.keep, &rank, shape);
    return pleat_reshape(pleat_apply(&amax_op, 1, &x, NULL, 0), rank, shape);
}

pleat_tensor *pleat_amin_with(pleat_sum_args args) {
    args.x = pleat_neg(args.x);
    return pleat_neg(pleat_amax_with(args));
}

/* ---- argmax ------------------------------------------------------------------------------------------------ */

static pleat_status argmax(pleat_tensor *x, size_t axis, size_t *index) {
    size_t rank, shape[PLEAT_MAX_RANK];
    pleat_tensor *table = as_rows(x, "argmax", 1u << axis, false, &rank, shape);
    if (table->poison) return PLEAT_ERR_MEMORY;
    rows_run(table, NULL, index);
    return PLEAT_OK;
}

pleat_status pleat_argmax(pleat_tensor *x, size_t axis, size_t *index) {
    static const char op[] = "argmax";
    pleat_ctx *ctx = pleat_ctx_of(x);
    if (pl_unreadable(x, op)) return pleat_fail(ctx, PLEAT_ERR_ARGUMENT, op, "x is poison or a null pointer");
    if (axis >= x->rank)
        return pleat_fail(ctx, PLEAT_ERR_ARGUMENT, op, "%s: there is no axis %zu", pl_shape_of(x).text, axis);
    if (x->shape[axis] == 0)
        return pleat_fail(ctx, PLEAT_ERR_SHAPE, op,
                          "%s: axis %zu is empty, and nothing has no largest element", pl_shape_of(x).text,
                          axis);
    if (x->numel > 0 && index == NULL)
        return pleat_fail(ctx, PLEAT_ERR_ARGUMENT, op, "index is a null pointer");
    bool recording = pleat_set_recording(ctx, false);
    pleat_scope scope = pleat_begin(ctx);
    pleat_status s = argmax(x, axis, index);
    pleat_end(scope);
    pleat_set_recording(ctx, recording);
    return s;
}

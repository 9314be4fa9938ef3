/* cumsum: running sums along an axis. Law: its adjoint runs from the other end, <cumsum x, y> = <x, flip
 * cumsum flip y>. */
#include "core/core.h"
#include "kernels/parallel.h"

/* x [outer,K,inner]: K elements of a line are `inner` apart. A task has a number of lines. */
typedef struct lines {
    size_t count, K, inner, per_task;
    const void *x;
    void *y;
} lines;

enum { SIDE_BY_SIDE = 256, PIECE = 16384 };

#define T float
#define RUNNING running_f32
#include "cumsum.inc"
#define T double
#define RUNNING running_f64
#include "cumsum.inc"

static bool cumsum_forward(const pleat_call *c) {
    size_t axis = *(const size_t *)c->attrs;
    pleat_tensor *x = pl_dense(c->in[0]);
    bool usable = !x->poison;
    if (usable && x->numel > 0) {
        lines l = {x->numel / x->shape[axis], x->shape[axis], 1, SIDE_BY_SIDE, x->data, c->out->data};
        for (size_t k = axis + 1; k < x->rank; k++) l.inner *= x->shape[k];
        if (l.K > PIECE / SIDE_BY_SIDE) l.per_task = l.K < PIECE ? PIECE / l.K : 1;
        pl_parallel(pl_pool_for(c->ctx, (double)x->numel), (l.count - 1) / l.per_task + 1,
                    c->dtype == PLEAT_F64 ? running_f64 : running_f32, &l);
    }
    pl_release(x);
    return usable;
}

static bool cumsum_shape(pleat_call *c) {
    size_t axis = *(const size_t *)c->attrs;
    if (axis < c->in[0]->rank) return pl_shape_same(c);
    return pleat_call_fail(c, PLEAT_ERR_ARGUMENT, "there is no axis %zu", axis);
}

static pleat_tensor *cumsum_vjp(const pleat_call *c, size_t i, pleat_tensor *g) {
    size_t axis = *(const size_t *)c->attrs;
    (void)i;
    return pleat_flip(pleat_cumsum(pleat_flip(g, 1u << axis), axis), 1u << axis);
}

static const pleat_op cumsum_op = {"cumsum", cumsum_shape, cumsum_forward, cumsum_vjp, pl_axis_attributes,
                                   &pl_own,  NULL};

pleat_tensor *pleat_cumsum(pleat_tensor *x, size_t axis) {
    return pleat_apply(&cumsum_op, 1, &x, &axis, sizeof axis);
}

/* sum_to and broadcast_to, adjoint to each other, and sum and mean, which are sum_to with other arguments. The vjp
 * of a sum is a broadcast, that of a broadcast operand (arithmetic.c) a sum: the two files call each other,
 * as the calculus does. Law: <sum_to x, y> = <x, broadcast_to y>. */
#include <string.h>

#include "kernels/parallel.h"
#include "rules.h"

/* ---- the loops ------------------------------------------------------------------------------------------- */

/* A strided x whose axes are split into kept and summed ones, outermost first, merged where they are
 * contiguous with each other. If the last axis of x is kept, `run` of its elements are summed in parallel. */
typedef struct fold {
    const void *x;
    void *y;
    size_t kept_rank, summed_rank, outer, blocks; /* outer: combinations of kept axes without the run */
    size_t kept[PLEAT_MAX_RANK], summed[PLEAT_MAX_RANK];
    ptrdiff_t kept_stride[PLEAT_MAX_RANK], summed_stride[PLEAT_MAX_RANK];
    size_t run; /* of kept elements at stride run_stride; 1 where the last axis is summed */
    ptrdiff_t run_stride;
    size_t in_turns; /* results of a task if the last axis is summed */
    double divisor;
} fold;

enum {
    SIDE_BY_SIDE = 256,
    IN_TURNS = 64,
    TURN = 65536, /* elements that the results of a task read in one round over them */
};

/* Move to the next combination of axes and return the change of the offset; wraps around at the end. */
static ptrdiff_t advance(size_t rank, const size_t *shape, const ptrdiff_t *stride, size_t *index) {
    ptrdiff_t change = 0;
    for (size_t k = rank; k-- > 0;) {
        change += stride[k];
        if (++index[k] < shape[k]) return change;
        change -= (ptrdiff_t)shape[k] * stride[k];
        index[k] = 0;
    }
    return change;
}

static ptrdiff_t offset_of(size_t rank, const size_t *shape, const ptrdiff_t *stride, size_t number) {
    ptrdiff_t offset = 0;
    for (size_t k = rank; k-- > 0; number /= shape[k]) offset += (ptrdiff_t)(number % shape[k]) * stride[k];
    return offset;
}

#define T float
#define FOLD_TASK fold_f32
#include "sums.inc"
#define T double
#define FOLD_TASK fold_f64
#include "sums.inc"

/* ---- from tensors to loops ------------------------------------------------------------------------------- */

static void add_axis(size_t *rank, size_t *shape, ptrdiff_t *stride, size_t size, ptrdiff_t step) {
    if (*rank > 0 && stride[*rank - 1] == step * (ptrdiff_t)size) {
        shape[*rank - 1] *= size;
        stride[*rank - 1] = step;
    } else {
        shape[*rank] = size;
        stride[(*rank)++] = step;
    }
}

static void fold_init(fold *f, const pleat_tensor *x, const pleat_tensor *y) {
    bool last_stays = false;
    for (size_t k = x->rank; k-- > 0;) {
        size_t size = pl_size_from_end(x, k);
        if (size == 1) continue;
        last_stays = pl_size_from_end(y, k) == size;
        if (last_stays) {
            add_axis(&f->kept_rank, f->kept, f->kept_stride, size, pl_stride_from_end(x, k));
        } else {
            add_axis(&f->summed_rank, f->summed, f->summed_stride, size, pl_stride_from_end(x, k));
        }
    }
    f->run = 1;
    if (last_stays) {
        f->kept_rank--;
        f->run = f->kept[f->kept_rank];
        f->run_stride = f->kept_stride[f->kept_rank];
    }
    f->outer = 1;
    for (size_t k = 0; k < f->kept_rank; k++) f->outer *= f->kept[k];
    f->blocks = (f->run + SIDE_BY_SIDE - 1) / SIDE_BY_SIDE;
    size_t n = f->summed_rank > 0 ? f->summed[f->summed_rank - 1] : 1;
    f->in_turns = n < TURN ? TURN / n : 1;
    if (f->in_turns > IN_TURNS) f->in_turns = IN_TURNS;
}

/* y = sum of x / divisor: a division, so that the mean of equal numbers is that number */
static void fold_run(const pleat_tensor *x, pleat_tensor *y, double divisor) {
    fold f = {.x = x->data, .y = y->data, .divisor = divisor};
    if (y->numel == 0) return;
    if (x->numel == 0) {
        memset(y->data, 0, y->numel * pl_element(y->dtype));
        return;
    }
    fold_init(&f, x, y);
    size_t tasks = f.run == 1 ? (f.outer + f.in_turns - 1) / f.in_turns : f.outer * f.blocks;
    pl_parallel(pl_pool_for(x->ctx, (double)x->numel), tasks, x->dtype == PLEAT_F64 ? fold_f64 : fold_f32,
                &f);
}

/* ---- sum_to and broadcast_to ----------------------------------------------------------------------------- */

typedef struct target {
    size_t rank, shape[PLEAT_MAX_RANK];
} target;

/* Does `small` broadcast to `large`? */
static bool broadcasts(size_t small_rank, const size_t *small, size_t large_rank, const size_t *large) {
    if (small_rank > large_rank) return false;
    for (size_t k = 0; k < small_rank; k++) {
        size_t s = small[small_rank - 1 - k], l = large[large_rank - 1 - k];
        if (s != l && s != 1) return false;
    }
    return true;
}

static size_t target_attributes(const pleat_call *c, pleat_attr *out) {
    const target *t = c->attrs;
    out[0] = pl_attr_whole("shape", t->rank, t->shape, false);
    return 1;
}

static bool sum_to_shape(pleat_call *c) {
    const target *t = c->attrs;
    pl_call_shape(c, t->rank, t->shape);
    if (broadcasts(t->rank, t->shape, c->in[0]->rank, c->in[0]->shape)) return true;
    return pleat_call_fail(c, PLEAT_ERR_SHAPE, "cannot be summed to %s, which does not broadcast to it",
                           pl_shape_phrase(t->rank, t->shape).text);
}

static bool sum_to_forward(const pleat_call *c) {
    fold_run(c->in[0], c->out, 1);
    return true;
}

static pleat_tensor *sum_to_vjp(const pleat_call *c, size_t i, pleat_tensor *g) {
    return pleat_broadcast_to(g, c->in[i]->rank, c->in[i]->shape);
}

static const pleat_op sum_to_op = {"sum_to", sum_to_shape, sum_to_forward, sum_to_vjp, target_attributes,
                                   &pl_own,  NULL};

static bool broadcast_to_shape(pleat_call *c) {
    const pleat_tensor *x = c->in[0];
    const target *t = c->attrs;
    pl_call_shape(c, t->rank, t->shape);
    if (!broadcasts(x->rank, x->shape, t->rank, t->shape)) {
        return pleat_call_fail(c, PLEAT_ERR_SHAPE,
                               "does not broadcast to %s: aligned at the end, sizes must be equal or 1",
                               pl_shape_phrase(t->rank, t->shape).text);
    }
    for (size_t k = 0; k < t->rank; k++) c->stride[t->rank - 1 - k] = pl_stride_from_end(x, k);
    return true;
}

static pleat_tensor *broadcast_to_vjp(const pleat_call *c, size_t i, pleat_tensor *g) {
    return pl_sum_like(g, c->in[i]);
}

static const pleat_op broadcast_to_op = {
    "broadcast_to", broadcast_to_shape, NULL, broadcast_to_vjp, target_attributes, &pl_own, NULL};

/* Apply op unless x has the shape. */
static pleat_tensor *to_shape(const pleat_op *op, pleat_tensor *x, size_t rank, const size_t *shape) {
    if (rank > 0 && shape == NULL) return pl_null(x, op->name, "the shape");
    target t = {.rank = rank};
    bool same = !pl_is_poison(x) && x->rank == rank;
    if (rank > PLEAT_MAX_RANK) {
        pleat_fail(pleat_ctx_of(x), PLEAT_ERR_SHAPE, op->name, "rank %zu: a tensor has at most %d axes", rank,
                   PLEAT_MAX_RANK);
        return pleat_poison(pleat_ctx_of(x));
    }
    for (size_t k = 0; k < rank; k++) {
        t.shape[k] = shape[k];
        same = same && x->shape[k] == shape[k];
    }
    return same ? x : pleat_apply(op, 1, &x, &t, sizeof t);
}

pleat_tensor *pleat_sum_to(pleat_tensor *x, size_t rank, const size_t *shape) {
    return to_shape(&sum_to_op, x, rank, shape);
}

pleat_tensor *pl_sum_like(pleat_tensor *g, const pleat_tensor *like) {
    return pleat_sum_to(g, like->rank, like->shape);
}

pleat_tensor *pleat_broadcast_to(pleat_tensor *x, size_t rank, const size_t *shape) {
    return to_shape(&broadcast_to_op, x, rank, shape);
}

/* ---- sum and mean ---------------------------------------------------------------------------------------- */

unsigned pleat_axes_bits(int n, const int *axes) {
    unsigned bits = 0;
    for (int i = 0; i < n; i++) {
        bool legal = axes[i] >= 0 && axes[i] < PLEAT_MAX_RANK;
        bits |= 1u << (legal ? axes[i] : PLEAT_MAX_RANK);
    }
    return bits;
}

typedef struct reduction {
    unsigned axes;
    bool keep, mean;
} reduction;

static size_t reduce_attributes(const pleat_call *c, pleat_attr *out) {
    const reduction *r = c->attrs;
    out[0] = pl_attr_axes("axes", r->axes);
    out[1] = pl_attr_flag("keep", r->keep);
    return 2;
}

static bool reduce_shape(pleat_call *c) {
    const pleat_tensor *x = c->in[0];
    const reduction *r = c->attrs;
    if (r->axes >> x->rank)
        return pleat_call_fail(c, PLEAT_ERR_ARGUMENT, "an axis is beyond the rank %zu", x->rank);
    for (size_t k = 0; k < x->rank; k++) {
        bool summed = (r->axes >> k & 1u) != 0;
        if (summed && r->mean && x->shape[k] == 0) {
            return pleat_call_fail(c, PLEAT_ERR_SHAPE, "axis %zu is empty, and nothing has no mean", k);
        }
        if (!summed || r->keep) c->shape[c->rank++] = summed ? 1 : x->shape[k];
    }
    return true;
}

/* The result's shape with the summed axes kept. */
static target with_axes(const pleat_call *c) {
    const reduction *r = c->attrs;
    target t = {.rank = c->in[0]->rank};
    for (size_t k = 0; k < t.rank; k++) t.shape[k] = r->axes >> k & 1u ? 1 : c->in[0]->shape[k];
    return t;
}

static double divisor_of(const pleat_call *c) {
    const reduction *r = c->attrs;
    double count = 1;
    for (size_t k = 0; k < c->in[0]->rank; k++) {
        if (r->mean && r->axes >> k & 1u) count *= (double)c->in[0]->shape[k];
    }
    return count;
}

static bool reduce_forward(const pleat_call *c) {
    target t = with_axes(c);
    pleat_tensor y = *c->out;
    y.rank = t.rank;
    for (size_t k = 0; k < t.rank; k++) y.shape[k] = t.shape[k];
    fold_run(c->in[0], &y, divisor_of(c));
    return true;
}

static pleat_tensor *reduce_vjp(const pleat_call *c, size_t i, pleat_tensor *g) {
    target t = with_axes(c);
    const reduction *r = c->attrs;
    pleat_tensor *small = r->mean ? pleat_scale(g, 1 / divisor_of(c)) : g;
    return pleat_broadcast_to(pleat_reshape(small, t.rank, t.shape), c->in[i]->rank, c->in[i]->shape);
}

static const pleat_op sum_op = {"sum",   reduce_shape, reduce_forward, reduce_vjp, reduce_attributes,
                                &pl_own, NULL};
static const pleat_op mean_op = {"mean",  reduce_shape, reduce_forward, reduce_vjp, reduce_attributes,
                                 &pl_own, NULL};

static pleat_tensor *reduce(const pleat_op *op, pleat_sum_args args, bool mean) {
    unsigned all = (1u << pl_rank(args.x)) - 1;
    reduction r = {.axes = args.axes != 0 ? args.axes : all, .keep = args.keep, .mean = mean};
    return pleat_apply(op, 1, &args.x, &r, sizeof r);
}

pleat_tensor *pleat_sum_with(pleat_sum_args args) { return reduce(&sum_op, args, false); }
pleat_tensor *pleat_mean_with(pleat_sum_args args) { return reduce(&mean_op, args, true); }

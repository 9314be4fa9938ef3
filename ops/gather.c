/* gather and scatter_add along an axis: take the elements that an index names, and add elements to the places
 * that it names. index_select and its adjoint are the same with one index for all lines of the axis. Law:
 * they are adjoint, <gather x, y> = <x, scatter_add y>. */
#include <string.h>

#include "core/core.h"
#include "kernels/parallel.h"

/* The attrs: gather takes a tensor of shape `whole` to one of shape `part`, scatter_add one of shape `part`
 * to one of shape `whole`. */
typedef struct places {
    size_t axis, rank, whole[PLEAT_MAX_RANK], part[PLEAT_MAX_RANK];
    bool shared;  /* one index for all lines: it has the shape [part[axis]], else the shape `part` */
    size_t count; /* of the index */
    size_t index[];
} places;

static size_t bytes_of(const places *p) { return sizeof *p + p->count * sizeof *p->index; }

/* ---- the loops ------------------------------------------------------------------------------------------- */

/* Lines along the axis. Those that differ in the last axis only lie side by side: `run` of them, in blocks,
 * where the axis is not the last one itself. A unit is a block of one combination of the other axes. */
typedef struct lines {
    const places *p;
    ptrdiff_t whole[PLEAT_MAX_RANK], part[PLEAT_MAX_RANK], index[PLEAT_MAX_RANK]; /* strides */
    size_t run, blocks, units, per_task;
    const void *from;
    void *to;
} lines;

enum { BLOCK = 256, PIECE = 16384 };

/* A unit's first element in both tensors and in the index, and its number of lines. */
typedef struct unit {
    ptrdiff_t whole, part, index;
    size_t n;
} unit;

static unit unit_of(const lines *l, size_t number) {
    size_t last = l->p->rank - 1, from = number % l->blocks * BLOCK, rest = number / l->blocks;
    unit u = {(ptrdiff_t)from, (ptrdiff_t)from, (ptrdiff_t)from * l->index[last], 1};
    u.n = l->run - from < BLOCK ? l->run - from : BLOCK;
    for (size_t k = l->p->rank; k-- > 0;) {
        if (k == l->p->axis || k == last) continue;
        ptrdiff_t at = (ptrdiff_t)(rest % l->p->part[k]);
        rest /= l->p->part[k];
        u.whole += at * l->whole[k];
        u.part += at * l->part[k];
        u.index += at * l->index[k];
    }
    return u;
}

#define T float
#define NAME(f) f##_f32
#include "gather.inc"
#define T double
#define NAME(f) f##_f64
#include "gather.inc"

static lines lines_of(const places *p, const void *from, void *to) {
    lines l = {.p = p, .run = 1, .blocks = 1, .units = 1, .from = from, .to = to};
    size_t last = p->rank - 1, K = p->part[p->axis];
    pl_row_major(p->rank, p->whole, l.whole);
    pl_row_major(p->rank, p->part, l.part);
    if (p->shared)
        l.index[p->axis] = 1;
    else
        pl_row_major(p->rank, p->part, l.index);
    if (p->axis != last) l.run = p->part[last];
    l.blocks = (l.run + BLOCK - 1) / BLOCK;
    for (size_t k = 0; k < last; k++)
        if (k != p->axis) l.units *= p->part[k];
    l.units *= l.blocks;
    size_t work = K * (l.run < BLOCK ? l.run : BLOCK);
    l.per_task = work < PIECE ? PIECE / work : 1;
    return l;
}

/* c's input is one of the tensors, `to` the elements of the other. */
static bool run(const pleat_call *c, void *to, pl_task f32, pl_task f64) {
    pleat_tensor *x = pl_dense(c->in[0]);
    const places *p = c->attrs;
    bool usable = !x->poison;
    size_t numel = 1;
    for (size_t k = 0; k < p->rank; k++) numel *= p->part[k];
    if (usable && numel > 0) {
        lines l = lines_of(p, x->data, to);
        pl_parallel(pl_pool_for(c->ctx, 2 * (double)numel), (l.units - 1) / l.per_task + 1,
                    c->dtype == PLEAT_F64 ? f64 : f32, &l);
    }
    pl_release(x);
    return usable;
}

static bool gather_forward(const pleat_call *c) { return run(c, c->out->data, gather_f32, gather_f64); }

/* The sums are double; for f32 in a tensor of their own. */
static bool scatter_forward(const pleat_call *c) {
    pleat_tensor *sums = c->out;
    if (c->dtype != PLEAT_F64) sums = pl_tensor_new(c->ctx, c->op->name, PLEAT_F64, c->rank, c->shape);
    if (sums->poison) return false;
    if (sums->numel > 0) memset(sums->data, 0, sums->numel * sizeof(double));
    bool done = run(c, sums->data, scatter_f32, scatter_f64);
    if (sums != c->out) {
        pl_copy(c->out, sums);
        pleat_drop(sums);
    }
    return done;
}

/* ---- the ops --------------------------------------------------------------------------------------------- */

/* Where the index has its element i: as text, in the index's own shape. */
static pl_text place_of(const places *p, size_t i) {
    size_t at[PLEAT_MAX_RANK] = {i};
    if (p->shared) return pl_shape_phrase(1, at);
    for (size_t k = p->rank; k-- > 0; i /= p->part[k]) at[k] = i % p->part[k];
    return pl_shape_phrase(p->rank, at);
}

static size_t places_attributes(const pleat_call *c, pleat_attr *out) {
    const places *p = c->attrs;
    out[0] = pl_attr_whole("axis", 1, &p->axis, false);
    out[1] = (pleat_attr){.name = "index", .kind = PLEAT_ATTR_WHOLE, .count = p->count, .list = p->index};
    out[2] = pl_attr_whole("shape", c->rank, c->shape, p->shared);
    return 3;
}

static bool places_fit(pleat_call *c) {
    const places *p = c->attrs;
    for (size_t k = 0; k < p->rank; k++)
        if (k != p->axis && p->part[k] > p->whole[k])
            return pleat_call_fail(c, PLEAT_ERR_SHAPE,
                                   "the index has size %zu on axis %zu, which has size %zu only", p->part[k],
                                   k, p->whole[k]);
    for (size_t i = 0; i < p->count; i++)
        if (p->index[i] >= p->whole[p->axis])
            return pleat_call_fail(c, PLEAT_ERR_ARGUMENT,
                                   "the index at %s is %zu; it must be less than %zu, the size of axis %zu",
                                   place_of(p, i).text, p->index[i], p->whole[p->axis], p->axis);
    return true;
}

static bool gather_shape(pleat_call *c) {
    const places *p = c->attrs;
    pl_call_shape(c, p->rank, p->part);
    return places_fit(c);
}

static bool scatter_shape(pleat_call *c) {
    const places *p = c->attrs;
    pl_call_shape(c, p->rank, p->whole);
    return places_fit(c);
}

/* By `shared`. */
static const pleat_op gather_ops[2], scatter_ops[2];

static pleat_tensor *gather_vjp(const pleat_call *c, size_t i, pleat_tensor *g) {
    const places *p = c->attrs;
    (void)i;
    return pleat_apply(&scatter_ops[p->shared], 1, &g, p, bytes_of(p));
}

static pleat_tensor *scatter_vjp(const pleat_call *c, size_t i, pleat_tensor *g) {
    const places *p = c->attrs;
    (void)i;
    return pleat_apply(&gather_ops[p->shared], 1, &g, p, bytes_of(p));
}

static const pleat_op gather_ops[2] = {
    {"gather", gather_shape, gather_forward, gather_vjp, places_attributes, &pl_own, NULL},
    {"index_select", gather_shape, gather_forward, gather_vjp, places_attributes, &pl_own, NULL},
};
static const pleat_op scatter_ops[2] = {
    {"scatter_add", scatter_shape, scatter_forward, scatter_vjp, places_attributes, &pl_own, NULL},
    {"index_add", scatter_shape, scatter_forward, scatter_vjp, places_attributes, &pl_own, NULL},
};

/* ---- calls ----------------------------------------------------------------------------------------------- */

/* Apply op to x with a copy of the index behind p. */
static pleat_tensor *apply(const pleat_op *op, pleat_tensor *x, places p, const size_t *index) {
    size_t bytes;
    p.count = p.shared ? p.part[p.axis] : 1;
    for (size_t k = 0; !p.shared && k < p.rank; k++)
        if (!pl_mul_ok(p.count, p.part[k], &p.count))
            return pl_reject(x, op->name, PLEAT_ERR_SHAPE,
                             "the index has more elements than a size_t counts");
    if (p.count > 0 && index == NULL) return pl_null(x, op->name, "the index");
    bool fits = pl_mul_ok(p.count, sizeof *index, &bytes) && !__builtin_add_overflow(bytes, sizeof p, &bytes);
    places *attrs = fits ? pl_take(&x->ctx->memory, bytes) : NULL;
    if (attrs == NULL) return pl_reject(x, op->name, PLEAT_ERR_MEMORY, "no memory for the index");
    *attrs = p;
    if (p.count > 0) memcpy(attrs->index, index, p.count * sizeof *index);
    pleat_tensor *y = pleat_apply(op, 1, &x, attrs, bytes);
    pl_give(&x->ctx->memory, attrs);
    return y;
}

/* `shape` is that of the result, `whole` says which of both it is. */
static pleat_tensor *along(const pleat_op *op, pleat_tensor *x, size_t axis, const size_t *shape,
                           const size_t *index, bool whole) {
    if (x == NULL || x->poison) return pleat_apply(op, 1, &x, NULL, 0);
    if (axis >= x->rank) return pl_reject(x, op->name, PLEAT_ERR_ARGUMENT, "there is no axis %zu", axis);
    if (shape == NULL) return pl_null(x, op->name, "the shape");
    places p = {.axis = axis, .rank = x->rank};
    for (size_t k = 0; k < x->rank; k++) {
        p.whole[k] = whole ? shape[k] : x->shape[k];
        p.part[k] = whole ? x->shape[k] : shape[k];
    }
    return apply(op, x, p, index);
}

pleat_tensor *pleat_gather(pleat_tensor *x, size_t axis, const size_t *shape, const size_t *index) {
    return along(&gather_ops[0], x, axis, shape, index, false);
}

pleat_tensor *pleat_scatter_add(pleat_tensor *x, size_t axis, const size_t *shape, const size_t *index) {
    return along(&scatter_ops[0], x, axis, shape, index, true);
}

pleat_tensor *pleat_index_select(pleat_tensor *x, size_t axis, size_t n, const size_t *index) {
    const pleat_op *op = &gather_ops[1];
    if (x == NULL || x->poison) return pleat_apply(op, 1, &x, NULL, 0);
    if (axis >= x->rank) return pl_reject(x, op->name, PLEAT_ERR_ARGUMENT, "there is no axis %zu", axis);
    places p = {.axis = axis, .rank = x->rank, .shared = true};
    for (size_t k = 0; k < x->rank; k++) p.whole[k] = p.part[k] = x->shape[k];
    p.part[axis] = n;
    return apply(op, x, p, index);
}

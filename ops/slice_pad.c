/* slice and pad: take a box of every step-th element, and put such a box into zeros. Law: they are adjoint to
 * each other, <slice x, y> = <x, pad y>. */
#include <string.h>

#include "core/core.h"

/* `shape` is that of the result, for slice and for pad. */
typedef struct box {
    size_t start[PLEAT_MAX_RANK], shape[PLEAT_MAX_RANK], step[PLEAT_MAX_RANK];
} box;

static box box_of(const pleat_tensor *x, const size_t *start, const size_t *shape, const size_t *step) {
    box b;
    memset(&b, 0, sizeof b);
    for (size_t k = 0; k < pl_rank(x); k++) {
        b.start[k] = start[k];
        b.shape[k] = shape[k];
        b.step[k] = step == NULL ? 1 : step[k];
    }
    return b;
}

/* Are `count` elements from start on, step apart, inside an axis of `size`? */
static bool box_fits(const pleat_call *c, size_t axis, size_t count, size_t size) {
    const box *b = c->attrs;
    size_t start = b->start[axis], step = b->step[axis];
    if (step == 0)
        return pleat_call_fail(c, PLEAT_ERR_ARGUMENT, "the step on axis %zu is 0: at least 1", axis);
    bool inside = count == 0 ? start <= size : start < size && (count - 1) <= (size - 1 - start) / step;
    if (inside) return true;
    return pleat_call_fail(c, PLEAT_ERR_SHAPE,
                           "%zu elements from %zu on by %zu leave axis %zu, whose size is %zu", count, start,
                           step, axis, size);
}

/* With two or more elements the step is smaller than the axis. With one it is not used and may have any size,
 * so that products with it could overflow. */
static ptrdiff_t step_of(const box *b, size_t axis, size_t count) {
    return count > 1 ? (ptrdiff_t)b->step[axis] : 1;
}

static size_t box_attributes(const pleat_call *c, pleat_attr *out) {
    const box *b = c->attrs;
    bool dense = true;
    for (size_t k = 0; k < c->rank; k++) dense = dense && b->step[k] == 1;
    out[0] = pl_attr_whole("start", c->rank, b->start, false);
    out[1] = pl_attr_whole("shape", c->rank, b->shape, false);
    out[2] = pl_attr_whole("step", c->rank, b->step, dense);
    return 3;
}

/* ---- slice ----------------------------------------------------------------------------------------------- */

static bool slice_shape(pleat_call *c) {
    const pleat_tensor *x = c->in[0];
    const box *b = c->attrs;
    pl_call_shape(c, x->rank, b->shape);
    for (size_t k = 0; k < x->rank; k++) {
        if (!box_fits(c, k, b->shape[k], x->shape[k])) return false;
        c->stride[k] = x->stride[k] * step_of(b, k, b->shape[k]);
        if (b->shape[k] != 0) c->offset += x->stride[k] * (ptrdiff_t)b->start[k];
    }
    return true;
}

static pleat_tensor *slice_vjp(const pleat_call *c, size_t i, pleat_tensor *g) {
    const box *b = c->attrs;
    return pleat_pad(g, c->in[i]->shape, b->start, b->step);
}

static const pleat_op slice_op = {"slice", slice_shape, NULL, slice_vjp, box_attributes, &pl_own, NULL};

/* The number of elements from start on, step apart. */
static size_t rest_of(size_t size, size_t start, size_t step) {
    return start < size && step > 0 ? (size - 1 - start) / step + 1 : 0;
}

pleat_tensor *pleat_slice(pleat_tensor *x, const size_t *start, const size_t *size, const size_t *step) {
    if (pl_rank(x) > 0 && (start == NULL || size == NULL)) return pl_null(x, "slice", "start or size");
    box b = box_of(x, start, size, step);
    for (size_t k = 0; k < pl_rank(x); k++) {
        if (b.shape[k] == PLEAT_REST) b.shape[k] = rest_of(x->shape[k], b.start[k], b.step[k]);
    }
    return pleat_apply(&slice_op, 1, &x, &b, sizeof b);
}

/* ---- pad ------------------------------------------------------------------------------------------------- */

static bool pad_shape(pleat_call *c) {
    const pleat_tensor *x = c->in[0];
    const box *b = c->attrs;
    pl_call_shape(c, x->rank, b->shape);
    for (size_t k = 0; k < x->rank; k++) {
        if (!box_fits(c, k, x->shape[k], b->shape[k])) return false;
    }
    return true;
}

static bool pad_forward(const pleat_call *c) {
    const box *b = c->attrs;
    pleat_tensor inside = *c->out; /* the box in the result, as a tensor of x's shape */
    memset(c->out->data, 0, c->out->numel * pl_element(c->dtype));
    for (size_t k = 0; k < c->rank; k++) {
        inside.shape[k] = c->in[0]->shape[k];
        inside.data += (ptrdiff_t)b->start[k] * inside.stride[k] * (ptrdiff_t)pl_element(c->dtype);
        inside.stride[k] *= step_of(b, k, inside.shape[k]);
    }
    inside.numel = c->in[0]->numel;
    if (inside.numel > 0) pl_copy(&inside, c->in[0]);
    return true;
}

static pleat_tensor *pad_vjp(const pleat_call *c, size_t i, pleat_tensor *g) {
    const box *b = c->attrs;
    return pleat_slice(g, b->start, c->in[i]->shape, b->step);
}

static const pleat_op pad_op = {"pad", pad_shape, pad_forward, pad_vjp, box_attributes, &pl_own, NULL};

pleat_tensor *pleat_pad(pleat_tensor *x, const size_t *shape, const size_t *start, const size_t *step) {
    if (pl_rank(x) > 0 && (start == NULL || shape == NULL)) return pl_null(x, "pad", "start or shape");
    box b = box_of(x, start, shape, step);
    return pleat_apply(&pad_op, 1, &x, &b, sizeof b);
}

/* concat and stack: tensors joined along an axis, and along a new one; split: the way back. Laws:
 * split(concat(xs)) = xs, and stack(xs, axis) is the concat of the tensors with a size of 1 put in at the
 * axis. */
#include <string.h>

#include "core/core.h"

/* ---- concat ---------------------------------------------------------------------------------------------- */

static bool concat_shape(pleat_call *c) {
    size_t axis = *(const size_t *)c->attrs;
    const pleat_tensor *first = c->in[0];
    if (axis >= first->rank)
        return pleat_call_fail(c, PLEAT_ERR_ARGUMENT, "axis %zu: there is none such", axis);
    pl_call_shape(c, first->rank, first->shape);
    for (size_t i = 1; i < c->n; i++) {
        const pleat_tensor *t = c->in[i];
        for (size_t k = 0; k < first->rank; k++) {
            if (t->rank != first->rank || (k != axis && t->shape[k] != first->shape[k])) {
                return pleat_call_fail(
                    c, PLEAT_ERR_SHAPE,
                    "tensors 0 and %zu must agree in rank and in every size but that of axis %zu", i, axis);
            }
        }
        if (__builtin_add_overflow(c->shape[axis], t->shape[axis], &c->shape[axis])) {
            return pleat_call_fail(c, PLEAT_ERR_SHAPE, "the sizes on axis %zu add up to more than a size_t",
                                   axis);
        }
    }
    return true;
}

/* Copy part i into the result, and return the start of the next part on the axis. */
static size_t place(const pleat_call *c, size_t i, size_t axis, size_t start) {
    pleat_tensor inside = *c->out;
    inside.shape[axis] = c->in[i]->shape[axis];
    inside.numel = c->in[i]->numel;
    inside.data += (ptrdiff_t)start * inside.stride[axis] * (ptrdiff_t)pl_element(c->dtype);
    if (inside.numel > 0) pl_copy(&inside, c->in[i]);
    return start + c->in[i]->shape[axis];
}

static bool concat_forward(const pleat_call *c) {
    size_t axis = *(const size_t *)c->attrs, start = 0;
    for (size_t i = 0; i < c->n; i++) start = place(c, i, axis, start);
    return true;
}

static pleat_tensor *concat_vjp(const pleat_call *c, size_t i, pleat_tensor *g) {
    size_t axis = *(const size_t *)c->attrs, start[PLEAT_MAX_RANK] = {0};
    for (size_t k = 0; k < i; k++) start[axis] += c->in[k]->shape[axis];
    return pleat_slice(g, start, c->in[i]->shape, NULL);
}

/* Whole blocks, one after the other. */
static bool concat_takes_blocked(const pleat_call *c) {
    bool all = c->out->storage->blocked;
    for (size_t i = 0; i < c->n; i++) all = all && c->in[i]->storage->blocked;
    return all && *(const size_t *)c->attrs <= 1;
}

static const pl_traits concat_traits = {concat_takes_blocked, NULL};
static const pleat_op concat_op = {
    "concat", concat_shape, concat_forward, concat_vjp, pl_axis_attributes, &concat_traits, NULL};

pleat_tensor *pleat_concat(size_t n, pleat_tensor *const *xs, size_t axis) {
    return pleat_apply(&concat_op, n, xs, &axis, sizeof axis);
}

/* ---- stack ----------------------------------------------------------------------------------------------- */

static bool stack_shape(pleat_call *c) {
    size_t axis = *(const size_t *)c->attrs;
    const pleat_tensor *first = c->in[0];
    if (axis > first->rank)
        return pleat_call_fail(c, PLEAT_ERR_ARGUMENT, "axis %zu: the result has %zu only", axis,
                               first->rank + 1);
    if (first->rank == PLEAT_MAX_RANK)
        return pleat_call_fail(c, PLEAT_ERR_SHAPE, "a tensor has at most %d axes", PLEAT_MAX_RANK);
    for (size_t i = 1; i < c->n; i++) {
        if (!pl_same_shape(first, c->in[i]))
            return pleat_call_fail(c, PLEAT_ERR_SHAPE, "tensors 0 and %zu must agree in their shapes", i);
    }
    c->rank = first->rank + 1;
    c->shape[axis] = c->n;
    for (size_t k = 0; k < first->rank; k++) c->shape[k < axis ? k : k + 1] = first->shape[k];
    return true;
}

static bool stack_forward(const pleat_call *c) {
    size_t axis = *(const size_t *)c->attrs;
    pleat_tensor part = *c->out; /* the place of a tensor in the result */
    part.rank = c->rank - 1;
    part.numel = c->in[0]->numel;
    for (size_t k = axis; k < part.rank; k++) {
        part.shape[k] = part.shape[k + 1];
        part.stride[k] = part.stride[k + 1];
    }
    for (size_t i = 0; part.numel > 0 && i < c->n; i++) {
        pl_copy(&part, c->in[i]);
        part.data += c->out->stride[axis] * (ptrdiff_t)pl_element(c->dtype);
    }
    return true;
}

static pleat_tensor *stack_vjp(const pleat_call *c, size_t i, pleat_tensor *g) {
    size_t axis = *(const size_t *)c->attrs, start[PLEAT_MAX_RANK] = {0}, size[PLEAT_MAX_RANK];
    for (size_t k = 0; k < c->rank; k++) size[k] = c->shape[k];
    start[axis] = i;
    size[axis] = 1;
    return pleat_reshape(pleat_slice(g, start, size, NULL), c->in[i]->rank, c->in[i]->shape);
}

static const pleat_op stack_op = {"stack", stack_shape, stack_forward, stack_vjp, pl_axis_attributes,
                                  &pl_own, NULL};

pleat_tensor *pleat_stack(size_t n, pleat_tensor *const *xs, size_t axis) {
    return pleat_apply(&stack_op, n, xs, &axis, sizeof axis);
}

/* ---- split ----------------------------------------------------------------------------------------------- */

/* The rule that the parts break, or NULL. */
static const char *misfit(size_t size, size_t n, const size_t *sizes) {
    size_t sum = 0;
    if (sizes == NULL)
        return n > 0 && size % n == 0 ? NULL : "the parts are equal, and their number divides the size";
    for (size_t i = 0; i < n; i++)
        if (__builtin_add_overflow(sum, sizes[i], &sum)) return "the sizes of the parts overflow";
    return sum == size ? NULL : "the sizes of the parts must add up to the size";
}

pleat_status pleat_split(pleat_tensor *x, size_t axis, size_t n, const size_t *sizes, pleat_tensor **parts) {
    pleat_ctx *ctx = pleat_ctx_of(x);
    size_t start[PLEAT_MAX_RANK] = {0}, size[PLEAT_MAX_RANK];
    for (size_t i = 0; parts != NULL && i < n; i++) parts[i] = pleat_poison(ctx);
    if (pleat_is_poison(x))
        return pleat_fail(ctx, PLEAT_ERR_ARGUMENT, "split", "x is poison or a null pointer");
    if (parts == NULL && n > 0)
        return pleat_fail(ctx, PLEAT_ERR_ARGUMENT, "split", "parts is a null pointer");
    if (axis >= x->rank) {
        pl_reject(x, "split", PLEAT_ERR_ARGUMENT, "there is no axis %zu", axis);
        return PLEAT_ERR_ARGUMENT;
    }
    const char *wrong = misfit(x->shape[axis], n, sizes);
    if (wrong != NULL) {
        pl_reject(x, "split", PLEAT_ERR_SHAPE, "axis %zu of size %zu in %zu parts: %s", axis, x->shape[axis],
                  n, wrong);
        return PLEAT_ERR_SHAPE;
    }
    for (size_t k = 0; k < x->rank; k++) size[k] = x->shape[k];
    for (size_t i = 0; i < n; i++) {
        size[axis] = sizes == NULL ? x->shape[axis] / n : sizes[i];
        parts[i] = pleat_slice(x, start, size, NULL);
        if (parts[i]->poison) return PLEAT_ERR_MEMORY;
        start[axis] += size[axis];
    }
    return PLEAT_OK;
}

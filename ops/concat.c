/* concat: tensors joined along an axis. Law: slicing the result at the joints returns the parts. */
#include <string.h>

#include "core/core.h"

static size_t concat_attributes(const pleat_call *c, pleat_attr *out) {
    out[0] = pl_attr_whole("axis", 1, c->attrs, false);
    return 1;
}

static bool concat_shape(pleat_call *c) {
    size_t axis = *(const size_t *)c->attrs;
    c->attributes = concat_attributes;
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
                    "tensors 1 and %zu must agree in rank and in every size but that of axis %zu", i + 1,
                    axis);
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

static const pleat_op concat_op = {"concat", concat_shape, concat_forward, concat_vjp};

pleat_tensor *pleat_concat(size_t n, pleat_tensor *const *xs, size_t axis) {
    return pleat_apply(&concat_op, n, xs, &axis, sizeof axis);
}

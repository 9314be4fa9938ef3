/* flip: elements in reverse order along some axes. Law: flip is its own inverse and its own adjoint. */
#include "core/core.h"

static size_t flip_attributes(const pleat_call *c, pleat_attr *out) {
    out[0] = pl_attr_axes("axes", *(const unsigned *)c->attrs);
    return 1;
}

static bool flip_shape(pleat_call *c) {
    const pleat_tensor *x = c->in[0];
    unsigned axes = *(const unsigned *)c->attrs;
    if (axes >> x->rank)
        return pleat_call_fail(c, PLEAT_ERR_ARGUMENT, "an axis is beyond the rank %zu", x->rank);
    pl_call_shape(c, x->rank, x->shape);
    for (size_t k = 0; k < x->rank; k++) {
        bool turn = (axes >> k & 1u) != 0;
        c->stride[k] = turn ? -x->stride[k] : x->stride[k];
        if (turn && x->shape[k] > 0) c->offset += (ptrdiff_t)(x->shape[k] - 1) * x->stride[k];
    }
    return true;
}

static pleat_tensor *flip_vjp(const pleat_call *c, size_t i, pleat_tensor *g) {
    (void)i;
    return pleat_flip(g, *(const unsigned *)c->attrs);
}

static const pleat_op flip_op = {"flip", flip_shape, NULL, flip_vjp, flip_attributes, &pl_own, NULL};

pleat_tensor *pleat_flip(pleat_tensor *x, unsigned axes) {
    return pleat_apply(&flip_op, 1, &x, &axes, sizeof axes);
}

/* permute: reorder the axes. Law: permuting by an order and then by its inverse returns x. */
#include "core/core.h"

typedef struct axis_order {
    size_t axis[PLEAT_MAX_RANK];
} axis_order;

static size_t permute_attributes(const pleat_call *c, pleat_attr *out) {
    const axis_order *o = c->attrs;
    out[0] = pl_attr_whole("order", c->rank, o->axis, false);
    return 1;
}

static bool permute_shape(pleat_call *c) {
    const pleat_tensor *x = c->in[0];
    const axis_order *o = c->attrs;
    unsigned seen = 0;
    c->rank = x->rank;
    for (size_t k = 0; k < x->rank; k++) {
        size_t axis = o->axis[k];
        if (axis >= x->rank || seen & 1u << axis) {
            return pleat_call_fail(c, PLEAT_ERR_ARGUMENT,
                                   "axis %zu at place %zu: the order must name each of the %zu axes once",
                                   axis, k, x->rank);
        }
        seen |= 1u << axis;
        c->shape[k] = x->shape[axis];
        c->stride[k] = x->stride[axis];
    }
    return true;
}

static pleat_tensor *permute_vjp(const pleat_call *c, size_t i, pleat_tensor *g) {
    (void)i;
    const axis_order *o = c->attrs;
    size_t inverse[PLEAT_MAX_RANK];
    for (size_t k = 0; k < c->rank; k++) inverse[o->axis[k]] = k;
    return pleat_permute(g, inverse);
}

static const pleat_op permute_op = {"permute",          permute_shape, NULL, permute_vjp,
                                    permute_attributes, &pl_own,       NULL};

pleat_tensor *pleat_permute(pleat_tensor *x, const size_t *order) {
    axis_order o = {{0}};
    if (pl_rank(x) > 0 && order == NULL) return pl_null(x, "permute", "the order");
    for (size_t k = 0; k < pl_rank(x); k++) o.axis[k] = order[k];
    return pleat_apply(&permute_op, 1, &x, &o, sizeof o);
}

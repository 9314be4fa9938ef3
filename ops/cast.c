/* cast: the same elements in another type. Laws: cast(cast(x, f64), f32) = x to the bit for x in f32; the adjoint of
 * cast is cast back. */
#include "core/core.h"

static size_t cast_attributes(const pleat_call *c, pleat_attr *out) {
    out[0] = pl_attr_whole("bits", 1, (size_t[]){8 * pl_element(c->dtype)}, false);
    return 1;
}

static bool cast_shape(pleat_call *c) {
    c->dtype = *(const pleat_dtype *)c->attrs;
    return pl_shape_same(c);
}

static bool cast_forward(const pleat_call *c) {
    pl_copy(c->out, c->in[0]);
    return true;
}

static pleat_tensor *cast_vjp(const pleat_call *c, size_t i, pleat_tensor *g) {
    return pleat_cast(g, c->in[i]->dtype);
}

static const pleat_op cast_op = {"cast", cast_shape, cast_forward, cast_vjp, cast_attributes, &pl_own, NULL};

pleat_tensor *pleat_cast(pleat_tensor *x, pleat_dtype dtype) {
    if (!pl_is_poison(x) && x->dtype == dtype) return x;
    return pleat_apply(&cast_op, 1, &x, &dtype, sizeof dtype);
}

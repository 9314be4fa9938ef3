/* Geometries as tensors. */
#include "conv_cases.h"

#include <stdlib.h>

static pleat_tensor *make(const pleat_conv_shape *g, letter of, pleat_dtype dtype) {
    if (of == X) return whole(dtype, PLEAT_SHAPE(g->N, g->C, g->H, g->W));
    if (of == W) return whole(dtype, PLEAT_SHAPE(g->O, g->C / g->G, g->R, g->S));
    return whole(dtype, PLEAT_SHAPE(g->N, g->O, g->P, g->Q));
}

bool conv_case_next(conv_case *c, size_t i, size_t random, pleat_dtype dtype) {
    if (!geometry_case(i, random, &c->g)) return false;
    for (letter k = X; k <= Y; k++) c->t[k] = make(&c->g, k, dtype);
    return true;
}

pleat_conv_args derivative_args(const pleat_conv_shape *g, letter of, pleat_tensor *const t[3]) {
    pleat_conv_args a = {.a = t[of == X ? Y : X], .b = t[of == W ? Y : W], .groups = g->G};
    for (size_t k = 0; k < 2; k++) {
        a.stride[k] = g->stride[k];
        a.dilation[k] = g->dilation[k];
        a.pads[k] = g->pad[k];
    }
    if (of == X) a.size[0] = g->H, a.size[1] = g->W;
    if (of == Y) a.size[0] = g->P, a.size[1] = g->Q;
    if (of == W) a.kernel[0] = g->R, a.kernel[1] = g->S;
    return a;
}

pleat_tensor *derivative(const pleat_conv_shape *g, letter of, pleat_tensor *const t[3]) {
    pleat_conv_args a = derivative_args(g, of, t);
    if (of == X) return pleat_conv2d_transpose_with(a);
    return of == Y ? pleat_conv2d_with(a) : pleat_conv2d_weight_with(a);
}

pleat_tensor *naive_derivative(const pleat_conv_shape *g, letter of, pleat_tensor *const t[3]) {
    static const pleat_conv_op op[] = {PLEAT_CONV_TRANSPOSE, PLEAT_CONV_WEIGHT, PLEAT_CONV_FORWARD};
    double *values[3];
    for (letter k = X; k <= Y; k++) {
        values[k] = malloc((pleat_numel(t[k]) + 1) * sizeof(double));
        cr_assert(values[k]);
        pleat_read_f64(t[k], values[k]);
    }
    reference_conv(g, op[of], values[X], values[W], values[Y]);
    pleat_tensor *result =
        pleat_from_f64(ctx, pleat_dtype_of(t[of]), pleat_rank(t[of]), pleat_shape(t[of]), values[of]);
    for (letter k = X; k <= Y; k++) free(values[k]);
    return result;
}

bool equal(pleat_tensor *found, pleat_tensor *expected) {
    return same(pleat_shift(found, 0), pleat_shift(expected, 0)); /* -0 + 0 = 0 */
}

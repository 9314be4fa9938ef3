/* Casts: laws to the bit, gradients of several orders through both types, corners and refusals. */
#include <math.h>

#include "tensors.h"

TestSuite(casts, .init = tensors_begin, .fini = tensors_end);

Test(casts, there_and_back_to_the_bit) {
    pleat_tensor *x = pleat_randn(ctx, PLEAT_F32, PLEAT_SHAPE(3, 4, 50)), *wide = pleat_cast(x, PLEAT_F64);
    cr_expect(pleat_dtype_of(wide) == PLEAT_F64 && wide != x);
    EXPECT_SAME(wide, as_type(x, PLEAT_F64));
    EXPECT_SAME(pleat_cast(wide, PLEAT_F32), x);
    EXPECT_SAME(pleat_cast(gappy(x), PLEAT_F64), wide);
    cr_expect(pleat_cast(x, PLEAT_F32) == x);
    pleat_tensor *odd = pleat_from_f64(ctx, PLEAT_F64, PLEAT_SHAPE(6),
                                       VALUES(1 + 0x1p-25, 1e300, -1e300, NAN, 0x1p-149, 0x1p-151));
    EXPECT_HOLDS(pleat_cast(odd, PLEAT_F32), PLEAT_SHAPE(6),
                 VALUES(1, INFINITY, -INFINITY, NAN, 0x1p-149, 0));
    EXPECT_HOLDS(pleat_cast(pleat_full(ctx, PLEAT_F32, PLEAT_SCALAR, 3), PLEAT_F64), PLEAT_SCALAR, VALUES(3));
    cr_expect_eq(pleat_numel(pleat_cast(pleat_zeros(ctx, PLEAT_F32, PLEAT_SHAPE(0, 3)), PLEAT_F64)), 0);
}

static pleat_tensor *back(pleat_tensor *g, void *to) { return pleat_cast(g, *(pleat_dtype *)to); }
static pleat_tensor *there(pleat_tensor *x, void *to) {
    return pleat_cast(x, PLEAT_F32 + PLEAT_F64 - *(pleat_dtype *)to);
}

Test(casts, adjoint_is_the_cast_back) {
    for (pleat_dtype type = PLEAT_F32; type <= PLEAT_F64; type++) {
        pleat_dtype other = type == PLEAT_F32 ? PLEAT_F64 : PLEAT_F32;
        pleat_report report;
        EXPECT_OK(pleat_adjointcheck(there, back, pleat_zeros(ctx, type, PLEAT_SHAPE(3, 5)),
                                     pleat_zeros(ctx, other, PLEAT_SHAPE(3, 5)), &type, .integers = true,
                                     .report = &report));
    }
}

/* y = sum w cast(x)^3 in the other type, on whole numbers: every derivative is exact, and of its tensor's type. */
Test(casts, gradients_of_three_orders) {
    for (pleat_dtype type = PLEAT_F32; type <= PLEAT_F64; type++) {
        pleat_dtype other = type == PLEAT_F32 ? PLEAT_F64 : PLEAT_F32;
        pleat_tensor *x = counted(type, PLEAT_SHAPE(2, 3)), *w = counted(other, PLEAT_SHAPE(3)),
                     *xs[] = {x, w}, *g[2], *h[2], *third;
        pleat_tensor *there = pleat_cast(x, other),
                     *y = pleat_sum(pleat_mul(w, pleat_mul(there, pleat_square(there))));
        pleat_tensor *w_here = pleat_cast(w, type);
        EXPECT_OK(pleat_grads(y, NULL, 2, xs, g, PLEAT_GRADS_RECORD));
        EXPECT_SAME(g[0], pleat_scale(pleat_mul(w_here, pleat_square(x)), 3));
        EXPECT_SAME(g[1], pleat_cast(pleat_sum(pleat_mul(x, pleat_square(x)), PLEAT_AXES(0)), other));
        EXPECT_OK(pleat_grads(pleat_sum(g[0]), NULL, 2, xs, h, PLEAT_GRADS_RECORD));
        EXPECT_SAME(h[0], pleat_scale(pleat_mul(w_here, x), 6));
        EXPECT_SAME(h[1], pleat_cast(pleat_scale(pleat_sum(pleat_square(x), PLEAT_AXES(0)), 3), other));
        EXPECT_OK(pleat_grads(pleat_sum(h[0]), NULL, 1, &x, &third, 0));
        EXPECT_SAME(third, pleat_scale(pleat_add(w_here, pleat_zeros_like(x)), 6));
    }
}

/* The same y: its Jacobian and Hessian along vectors of both types at once. */
Test(casts, products_with_vectors) {
    pleat_tensor *x = counted(PLEAT_F32, PLEAT_SHAPE(2, 3)), *w = counted(PLEAT_F64, PLEAT_SHAPE(3)),
                 *xs[] = {x, w};
    pleat_tensor *vs[] = {whole(PLEAT_F32, PLEAT_SHAPE(2, 3)), whole(PLEAT_F64, PLEAT_SHAPE(3))}, *hv[2];
    pleat_tensor *wide = pleat_cast(x, PLEAT_F64), *v = pleat_cast(vs[0], PLEAT_F64);
    pleat_tensor *y = pleat_mul(w, pleat_mul(wide, pleat_square(wide)));
    pleat_tensor *jv = pleat_add(pleat_scale(pleat_mul(pleat_mul(w, pleat_square(wide)), v), 3),
                                 pleat_mul(pleat_mul(wide, pleat_square(wide)), vs[1]));
    EXPECT_SAME(pleat_jvp(y, 2, xs, vs, 0), jv);
    EXPECT_OK(pleat_hvp(pleat_sum(y), 2, xs, vs, hv, 0));
    pleat_tensor *twice = pleat_scale(pleat_mul(pleat_mul(w, wide), v), 6),
                 *mixed = pleat_scale(pleat_mul(pleat_square(wide), vs[1]), 3);
    EXPECT_SAME(hv[0], pleat_cast(pleat_add(twice, mixed), PLEAT_F32));
    EXPECT_SAME(hv[1], pleat_scale(pleat_sum(pleat_mul(pleat_square(wide), v), PLEAT_AXES(0)), 3));
}

Test(casts, is_refused) {
    pleat_tensor *x = pleat_zeros(ctx, PLEAT_F32, PLEAT_SHAPE(2)),
                 *y = pleat_zeros(ctx, PLEAT_F64, PLEAT_SHAPE(2));
    EXPECT_REFUSED(pleat_cast(x, (pleat_dtype)7), PLEAT_ERR_DTYPE, "cast", "type 7",
                   "PLEAT_F32 or PLEAT_F64");
    EXPECT_REFUSED(pleat_add(x, y), PLEAT_ERR_DTYPE, "add", "tensor 0 is f32 and tensor 1 is f64",
                   "pleat_cast");
    cr_assert(pleat_is_poison(pleat_cast(pleat_poison(ctx), PLEAT_F64)) &&
              pleat_is_poison(pleat_cast(NULL, PLEAT_F64)));
}

Test(casts, is_told) {
    char text[80];
    pleat_tensor *y = pleat_cast(pleat_zeros(ctx, PLEAT_F32, PLEAT_SHAPE(2)), PLEAT_F64);
    cr_assert_str_eq(pleat_call_text(pleat_call_of(y), text, sizeof text), "cast([2]; bits 64)");
}

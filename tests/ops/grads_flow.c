/* How gradients flow: through intermediate tensors, shared ones, scopes, recorded and unrecorded calls; how deep, and
 * with how much memory. */
#define _POSIX_C_SOURCE 200809L

#include <math.h>
#include <time.h>

#include "tensors.h"

TestSuite(flow, .init = tensors_begin, .fini = tensors_end);

static pleat_tensor *gradient_of(pleat_tensor *y, pleat_tensor *x, unsigned flags) {
    pleat_tensor *gx;
    EXPECT_OK(pleat_grads(y, NULL, 1, &x, &gx, flags));
    return gx;
}

/* ---- what is asked for ---------------------------------------------------------------------------------- */

Test(flow, vector_jacobian_products) {
    for (pleat_dtype type = PLEAT_F32; type <= PLEAT_F64; type++) {
        pleat_tensor *x = counted(type, PLEAT_SHAPE(2, 3)), *w = counted(type, PLEAT_SHAPE(3)), *g[2];
        pleat_tensor *u = whole(type, PLEAT_SHAPE(2, 3));
        EXPECT_OK(pleat_grads(pleat_mul(x, w), u, 2, (pleat_tensor *[]){x, w}, g, 0));
        EXPECT_SAME(g[0], pleat_mul(u, w));
        EXPECT_SAME(g[1], pleat_sum(pleat_mul(u, x), PLEAT_AXES(0)));
        EXPECT_SAME(gradient_of(pleat_sum(pleat_square(x)), x, 0), pleat_scale(x, 2));
    }
}

Test(flow, intermediate_tensors) {
    pleat_tensor *x = counted(PLEAT_F64, PLEAT_SHAPE(2, 2)), *h = pleat_scale(x, 3),
                 *view = pleat_flip(h, PLEAT_AXES(0));
    pleat_tensor *y = pleat_sum(pleat_mul(pleat_square(view), h)), *xs[] = {h, x, view, y, x}, *g[5];
    EXPECT_OK(pleat_grads(y, NULL, 5, xs, g, 0));
    pleat_tensor *turned = pleat_flip(h, PLEAT_AXES(0)), *gview = pleat_scale(pleat_mul(turned, h), 2);
    EXPECT_SAME(g[2], gview);
    EXPECT_SAME(g[0], pleat_add(pleat_square(turned), pleat_flip(gview, PLEAT_AXES(0))));
    EXPECT_SAME(g[1], pleat_scale(g[0], 3));
    EXPECT_HOLDS(g[3], PLEAT_SCALAR, VALUES(1));
    EXPECT_SAME(g[4], g[1]);
    cr_assert_neq(g[4], g[1]);
    pleat_tensor *backwards[] = {x, h};
    EXPECT_OK(pleat_grads(y, NULL, 2, backwards, g + 2, 0));
    EXPECT_SAME(g[3], g[0]);
    EXPECT_SAME(g[2], g[1]);
}

Test(flow, used_many_times) {
    pleat_tensor *x = pleat_full(ctx, PLEAT_F64, PLEAT_SHAPE(3), 0.5), *y = pleat_mul(x, x), *z = x;
    EXPECT_HOLDS(gradient_of(pleat_sum(pleat_add(y, x)), x, 0), PLEAT_SHAPE(3), VALUES(2, 2, 2));
    pleat_tensor *sum = x;
    for (int i = 0; i < 999; i++) sum = pleat_add(sum, x);
    EXPECT_HOLDS(gradient_of(pleat_sum(sum), x, 0), PLEAT_SHAPE(3), VALUES(1000, 1000, 1000));
    for (int i = 0; i < 60; i++) z = pleat_add(z, z); /* 2^60 paths, walked once */
    EXPECT_HOLDS(gradient_of(pleat_sum(z), x, 0), PLEAT_SHAPE(3), VALUES(0x1p60, 0x1p60, 0x1p60));
}

/* The rule of add returns one and the same cotangent twice. */
Test(flow, results_are_distinct_tensors) {
    pleat_scope s = pleat_begin(ctx);
    pleat_tensor *x = counted(PLEAT_F64, PLEAT_SHAPE(2)), *z = counted(PLEAT_F64, PLEAT_SHAPE(2)), *g[3];
    pleat_tensor *gy = counted(PLEAT_F64, PLEAT_SHAPE(2)), *y = pleat_add(x, z);
    EXPECT_OK(pleat_grads(y, gy, 3, (pleat_tensor *[]){x, z, y}, g, 0));
    cr_assert(g[0] != g[1] && g[1] != g[2] && g[2] != g[0]);
    cr_assert(g[0] != gy && g[1] != gy && g[2] != gy);
    pleat_drop(gy);
    pleat_drop(g[1]);
    pleat_drop(g[2]);
    pleat_keep(g[0]);
    pleat_end(s);
    EXPECT_HOLDS(g[0], PLEAT_SHAPE(2), VALUES(1, 2));
    cr_assert_eq(pleat_memory(ctx).tensors, 1);
}

Test(flow, y_itself_and_leaves) {
    pleat_tensor *x = counted(PLEAT_F32, PLEAT_SHAPE(2)), *u = whole(PLEAT_F32, PLEAT_SHAPE(2)), *g;
    EXPECT_OK(pleat_grads(x, u, 1, &x, &g, PLEAT_GRADS_STRICT));
    EXPECT_SAME(g, u);
    EXPECT_OK(pleat_grads(x, u, 0, NULL, NULL, PLEAT_GRADS_STRICT));
}

Test(flow, an_x_that_y_does_not_depend_on) {
    pleat_tensor *x = counted(PLEAT_F32, PLEAT_SHAPE(2)), *z = counted(PLEAT_F32, PLEAT_SHAPE(3, 1)), *g[2];
    pleat_tensor *y = pleat_sum(x), *later = pleat_square(y), *xs[] = {x, z}, *up[] = {later};
    EXPECT_OK(pleat_grads(y, NULL, 2, xs, g, 0));
    EXPECT_HOLDS(g[0], PLEAT_SHAPE(2), VALUES(1, 1));
    EXPECT_HOLDS(g[1], PLEAT_SHAPE(3, 1), VALUES(0, 0, 0));
    EXPECT_FAILED(pleat_grads(y, NULL, 2, xs, g, PLEAT_GRADS_STRICT), PLEAT_ERR_GRADIENT, "grads", "x 1",
                  "[3,1]", "depend");
    cr_assert(pleat_is_poison(g[0]) && pleat_is_poison(g[1]));
    EXPECT_OK(pleat_grads(y, NULL, 1, up, g, 0));
    EXPECT_HOLDS(g[0], PLEAT_SCALAR, VALUES(0));
}

/* One-sided slopes where there are two: relu, relu6 and step take the flat one, clamp the slope of its range. */
Test(flow, at_kinks_and_beyond) {
    pleat_tensor *x = pleat_from_f64(ctx, PLEAT_F64, PLEAT_SHAPE(5), VALUES(-1, -0.5, 0, 0.5, NAN));
    EXPECT_HOLDS(gradient_of(pleat_sum(pleat_relu(x)), x, 0), PLEAT_SHAPE(5), VALUES(0, 0, 0, 1, 0));
    EXPECT_HOLDS(gradient_of(pleat_sum(pleat_relu6(pleat_scale(x, 12))), x, 0), PLEAT_SHAPE(5),
                 VALUES(0, 0, 0, 0, 0));
    EXPECT_HOLDS(gradient_of(pleat_sum(pleat_relu6(pleat_scale(x, 8))), x, 0), PLEAT_SHAPE(5),
                 VALUES(0, 0, 0, 8, 0));
    EXPECT_HOLDS(gradient_of(pleat_sum(pleat_step(x)), x, 0), PLEAT_SHAPE(5), VALUES(0, 0, 0, 0, 0));
    EXPECT_HOLDS(gradient_of(pleat_sum(pleat_clamp(x, -0.5, 0.5)), x, 0), PLEAT_SHAPE(5),
                 VALUES(0, 1, 1, 1, 0));
    EXPECT_HOLDS(gradient_of(pleat_sum(pleat_sqrt(pleat_relu(x))), x, 0), PLEAT_SHAPE(5),
                 VALUES(0, 0, 0, 0.5 / 0.70710678118654757, 0));
}

/* ---- recording ------------------------------------------------------------------------------------------ */

Test(flow, nothing_is_remembered_while_recording_is_off) {
    pleat_tensor *x = counted(PLEAT_F64, PLEAT_SHAPE(2)), *g;
    cr_assert(pleat_set_recording(ctx, false));
    pleat_tensor *y = pleat_sum(pleat_square(x));
    cr_assert_not(pleat_set_recording(ctx, false));
    cr_assert_not(pleat_set_recording(ctx, true));
    EXPECT_FAILED(pleat_grads(y, NULL, 1, &x, &g, PLEAT_GRADS_STRICT), PLEAT_ERR_GRADIENT, "grads", "x 0",
                  "[2]");
    EXPECT_HOLDS(gradient_of(y, x, 0), PLEAT_SHAPE(2), VALUES(0, 0));
    pleat_set_recording(ctx, false);
    size_t before = pleat_memory(ctx).tensors;
    pleat_tensor *h = pleat_neg(x), *z = pleat_neg(h);
    pleat_drop(h);
    cr_assert_eq(pleat_memory(ctx).tensors, before + 1, "z does not hold h");
    EXPECT_SAME(z, x);
}

Test(flow, gradients_can_be_differentiated_if_recorded) {
    pleat_tensor *x = counted(PLEAT_F64, PLEAT_SHAPE(2)), *cube = pleat_mul(pleat_square(x), x);
    pleat_tensor *first = gradient_of(pleat_sum(cube), x, PLEAT_GRADS_RECORD);
    EXPECT_HOLDS(first, PLEAT_SHAPE(2), VALUES(3, 12));
    pleat_tensor *second = gradient_of(pleat_sum(first), x, PLEAT_GRADS_RECORD);
    EXPECT_HOLDS(second, PLEAT_SHAPE(2), VALUES(6, 12));
    EXPECT_HOLDS(gradient_of(pleat_sum(second), x, 0), PLEAT_SHAPE(2), VALUES(6, 6));
    pleat_tensor *plain = gradient_of(pleat_sum(cube), x, 0);
    EXPECT_HOLDS(gradient_of(pleat_sum(plain), x, 0), PLEAT_SHAPE(2), VALUES(0, 0));
    cr_assert(pleat_set_recording(ctx, true), "recording is on again after each walk");
    pleat_set_recording(ctx, false);
    gradient_of(pleat_sum(first), x, PLEAT_GRADS_RECORD);
    cr_assert_not(pleat_set_recording(ctx, true), "and off, where it was off");
}

/* A gradient is linear in gy, so differentiating it with respect to gy gives the derivative along a direction. */
Test(flow, twice_backwards_is_forwards) {
    pleat_tensor *a = whole(PLEAT_F64, PLEAT_SHAPE(3, 2)), *x = whole(PLEAT_F64, PLEAT_SHAPE(2, 4)),
                 *v = whole(PLEAT_F64, PLEAT_SHAPE(2, 4));
    pleat_tensor *y = pleat_square(pleat_matmul(a, x)), *gy = pleat_zeros_like(y), *gx, *along;
    EXPECT_OK(pleat_grads(y, gy, 1, &x, &gx, PLEAT_GRADS_RECORD));
    EXPECT_OK(pleat_grads(gx, v, 1, &gy, &along, 0));
    EXPECT_SAME(along, pleat_scale(pleat_mul(pleat_matmul(a, x), pleat_matmul(a, v)), 2));
}

Test(flow, detach_ends_the_flow) {
    pleat_tensor *x = counted(PLEAT_F64, PLEAT_SHAPE(2)), *d = pleat_detach(pleat_square(x));
    EXPECT_HOLDS(gradient_of(pleat_sum(pleat_mul(d, x)), x, 0), PLEAT_SHAPE(2), VALUES(1, 4));
    EXPECT_HOLDS(gradient_of(pleat_sum(pleat_mul(d, x)), d, 0), PLEAT_SHAPE(2), VALUES(1, 2));
}

/* ---- scopes --------------------------------------------------------------------------------------------- */

Test(flow, what_is_kept_keeps_its_history) {
    pleat_tensor *x = counted(PLEAT_F64, PLEAT_SHAPE(2));
    pleat_scope outer = pleat_begin(ctx), inner = pleat_begin(ctx);
    pleat_tensor *h = pleat_square(x), *y = pleat_keep(pleat_mul(h, x)),
                 *gy = pleat_keep(pleat_full_like(y, 1)), *g;
    pleat_end(inner);
    cr_assert_eq(pleat_memory(ctx).tensors, 4, "h lives on inside");
    EXPECT_OK(pleat_grads(y, gy, 1, &x, &g, PLEAT_GRADS_RECORD));
    pleat_keep(g);
    pleat_end(outer);
    EXPECT_HOLDS(g, PLEAT_SHAPE(2), VALUES(3, 12));
    EXPECT_HOLDS(gradient_of(pleat_sum(g), x, 0), PLEAT_SHAPE(2), VALUES(6, 12));
    pleat_drop(g);
}

Test(flow, what_was_dropped_serves_its_results) {
    pleat_tensor *x = counted(PLEAT_F64, PLEAT_SHAPE(2)), *z = counted(PLEAT_F64, PLEAT_SHAPE(2));
    pleat_tensor *y = pleat_hold(pleat_sum(pleat_mul(x, pleat_exp(pleat_mul(x, pleat_scale(z, 0))))));
    pleat_drop(x);
    EXPECT_HOLDS(gradient_of(y, z, 0), PLEAT_SHAPE(2), VALUES(0, 0));
    pleat_drop(z);
    cr_assert_gt(pleat_memory(ctx).tensors, 6);
    pleat_drop(y);
}

/* ---- size ----------------------------------------------------------------------------------------------- */

static double seconds(void) {
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

/* Deep enough to overflow the stack of anything that recurs. */
Test(flow, a_chain_of_200000_calls) {
    double start = seconds();
    pleat_tensor *x = pleat_full(ctx, PLEAT_F64, PLEAT_SCALAR, 2);
    pleat_scope s = pleat_begin(ctx);
    pleat_tensor *y = x;
    for (int i = 0; i < 200000; i++) {
        pleat_tensor *next = pleat_neg(y);
        if (y != x) pleat_drop(y); /* only the next one holds it now */
        y = next;
    }
    pleat_tensor *g = gradient_of(y, x, 0);
    cr_assert_eq(pleat_item(g), 1);
    cr_assert_gt(pleat_memory(ctx).tensors, 200000);
    pleat_drop(y);
    cr_assert_eq(pleat_memory(ctx).tensors, 2);
    y = x;
    for (int i = 0; i < 50000; i++) y = pleat_shift(y, 1);
    cr_assert_eq(pleat_item(gradient_of(y, x, PLEAT_GRADS_RECORD)), 1);
    pleat_end(s);
    cr_assert_eq(pleat_memory(ctx).tensors, 1);
    cr_assert_lt(seconds() - start, 20, "%g s", seconds() - start);
}

/* Cotangents go as soon as they have been handed on: the walk needs a few tensors, not one for each call. */
Test(flow, a_walk_needs_little_memory) {
    enum { MIB = 1 << 20, CALLS = 50 };
    pleat_tensor *x = pleat_full(ctx, PLEAT_F64, PLEAT_SHAPE(MIB / sizeof(double)), 0.5), *y = x;
    for (int i = 0; i < CALLS; i++) y = i % 2 == 0 ? pleat_tanh(y) : pleat_mul(y, y);
    pleat_tensor *loss = pleat_sum(y), *gx;
    pleat_memory_info before = pleat_memory(ctx);
    cr_assert_geq(before.in_use, (size_t)CALLS * MIB);
    cr_assert_eq(before.peak, before.in_use);
    EXPECT_OK(pleat_grads(loss, NULL, 1, &x, &gx, 0));
    pleat_memory_info after = pleat_memory(ctx);
    cr_assert_leq(after.in_use - before.in_use, MIB + 4096, "what stays is the gradient");
    cr_assert_leq(after.peak - before.peak, 8 * MIB, "%zu bytes on top", after.peak - before.peak);
    cr_assert_eq(after.tensors, before.tensors + 1);
}

/* ---- what is refused -------------------------------------------------------------------------------------- */

Test(flow, refusals) {
    pleat_tensor *x = counted(PLEAT_F32, PLEAT_SHAPE(2)), *y = pleat_square(x), *g = x, *none = NULL;
    pleat_ctx *other = pleat_ctx_new();
    pleat_tensor *foreign = pleat_zeros(other, PLEAT_F32, PLEAT_SHAPE(2));
    pleat_tensor *poison = pleat_reshape(x, PLEAT_SHAPE(3));
    pleat_clear_error(ctx);
    EXPECT_FAILED(pleat_grads(y, NULL, 1, &x, &g, 0), PLEAT_ERR_SHAPE, "grads", "y is [2]", "one element");
    cr_assert(pleat_is_poison(g));
    EXPECT_FAILED(pleat_grads(y, pleat_sum(y), 1, &x, &g, 0), PLEAT_ERR_SHAPE, "grads", "gy is []", "[2]");
    EXPECT_FAILED(pleat_grads(y, as_type(y, PLEAT_F64), 1, &x, &g, 0), PLEAT_ERR_SHAPE, "grads", "gy is [2]",
                  "type");
    EXPECT_FAILED(pleat_grads(y, foreign, 1, &x, &g, 0), PLEAT_ERR_ARGUMENT, "grads", "gy",
                  "another context");
    EXPECT_FAILED(pleat_grads(y, poison, 1, &x, &g, 0), PLEAT_ERR_ARGUMENT, "grads", "gy is poison");
    EXPECT_FAILED(pleat_grads(y, y, 1, &none, &g, 0), PLEAT_ERR_ARGUMENT, "grads", "an x is a null pointer");
    EXPECT_FAILED(pleat_grads(y, y, 1, &foreign, &g, 0), PLEAT_ERR_ARGUMENT, "grads", "another context");
    EXPECT_FAILED(pleat_grads(y, y, 1, &poison, &g, 0), PLEAT_ERR_ARGUMENT, "grads", "an x is poison");
    EXPECT_FAILED(pleat_grads(poison, y, 1, &x, &g, 0), PLEAT_ERR_ARGUMENT, "grads", "y is poison");
    pleat_fail(ctx, PLEAT_ERR_IO, "mine", "first");
    cr_assert_eq(pleat_grads(y, y, 1, &x, &g, 0), PLEAT_ERR_IO, "nothing is computed after an error");
    EXPECT_REFUSED(g, PLEAT_ERR_IO, "mine", "first");
    pleat_ctx_free(other);
}

/* The cotangent of a sum is one number seen many times; a user wants an array. */
Test(flow, gradients_are_contiguous) {
    pleat_tensor *x = pleat_randn(ctx, PLEAT_F64, PLEAT_SHAPE(2, 3)), *gx;
    cr_assert_eq(pleat_grads(pleat_sum(x), NULL, 1, &x, &gx, 0), PLEAT_OK);
    cr_assert(pleat_is_contiguous(gx));
    for (size_t i = 0; i < 6; i++) cr_expect_eq(pleat_f64(gx)[i], 1);
    cr_assert_eq(pleat_grads(pleat_sum(pleat_square(x)), NULL, 1, &x, &gx, PLEAT_GRADS_RECORD), PLEAT_OK);
    pleat_tensor *ggx;
    cr_assert_eq(pleat_grads(pleat_sum(gx), NULL, 1, &x, &ggx, 0), PLEAT_OK);
    for (size_t i = 0; i < 6; i++) cr_expect_eq(pleat_f64(ggx)[i], 2);
}

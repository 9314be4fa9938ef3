/* Layers at the edges of what they take, and what they say of themselves. */
#include <stdint.h>
#include <string.h>

#include "module.h"
#include "tensors.h"

TestSuite(edges, .init = tensors_begin, .fini = tensors_end);

Test(edges, layer_norm_takes_one_item_without_a_batch) {
    pleat_nn_module *m = pleat_nn_layer_norm(ctx, PLEAT_SHAPE(2, 3), .dtype = PLEAT_F64);
    pleat_tensor *x = pleat_randn(ctx, PLEAT_F64, PLEAT_SHAPE(2, 3));
    EXPECT_SAME(
        pleat_nn_forward(m, x),
        pleat_reshape(pleat_nn_forward(m, pleat_reshape(x, PLEAT_SHAPE(1, 2, 3))), PLEAT_SHAPE(2, 3)));
    pleat_nn_free(m);
}

/* A slope for each column, whether the image has pixels or not. */
Test(edges, prelu_takes_rows_of_features) {
    pleat_nn_module *m = pleat_nn_prelu(ctx, 3, PLEAT_F64);
    double *slope = pleat_f64(pleat_nn_param(m, 0));
    for (size_t c = 0; c < 3; c++) slope[c] = (double)(c + 2);
    pleat_tensor *x = pleat_from_f64(ctx, PLEAT_F64, PLEAT_SHAPE(2, 3), VALUES(-1, -1, -1, 5, -2, -3));
    EXPECT_HOLDS(pleat_nn_forward(m, x), PLEAT_SHAPE(2, 3), VALUES(-2, -3, -4, 5, -6, -12));
    EXPECT_HOLDS(pleat_nn_forward(m, pleat_reshape(x, PLEAT_SHAPE(2, 3, 1, 1))), PLEAT_SHAPE(2, 3, 1, 1),
                 VALUES(-2, -3, -4, 5, -6, -12));
    pleat_nn_free(m);
}

static void expect_description(pleat_nn_module *m, const char *expected) {
    char text[200] = "";
    cr_assert(m, "%s", pleat_error(ctx)->text);
    pleat_nn_kind_of(m)->describe(m, text, sizeof text);
    cr_expect_str_eq(text, expected);
    pleat_nn_free(m);
}

Test(edges, pools_say_what_is_unusual) {
    expect_description(pleat_nn_max_pool2d(ctx, .kernel = {2, 3}), "kernel 2x3");
    expect_description(pleat_nn_max_pool2d(ctx, .kernel = {3, 3}, .stride = {2, 1}, .pad = {1, PLEAT_NONE},
                                           .dilation = {1, 2}),
                       "kernel 3x3, stride 2x1, pad 1x0, dilation 1x2");
    expect_description(pleat_nn_avg_pool2d(ctx, .kernel = {4, 2}, .stride = {4, 1}),
                       "kernel 4x2, stride 4x1");
}

static void expect_refusal(pleat_nn_module *m, const char *part) {
    cr_assert_null(m, "accepted: %s", part);
    cr_expect(strstr(pleat_error(ctx)->text, part), "\"%s\" does not say \"%s\"", pleat_error(ctx)->text,
              part);
    pleat_clear_error(ctx);
}

Test(edges, kernels_that_no_image_could_hold_are_refused) {
    static const char what[] = "must fit into ptrdiff_t";
    size_t half = PTRDIFF_MAX / 2 + 1;
    expect_refusal(pleat_nn_conv2d(ctx, 1, 1, .kernel = {5, 1}, .dilation = {SIZE_MAX / 2 - 1, 1}), what);
    expect_refusal(pleat_nn_conv2d(ctx, 1, 1, .kernel = {1, 3}, .dilation = {1, half}), what);
    expect_refusal(
        pleat_nn_conv_transpose2d(ctx, 1, 1, .kernel = {1, 1}, .stride = {1, (size_t)PTRDIFF_MAX + 1}), what);
}

/* ---- a norm and the ReLU behind it ------------------------------------------------------------------------------ */

enum { NORM_KINDS = 5 };

static pleat_nn_module *norm_of(size_t kind, pleat_dtype type) {
    if (kind == 0) return pleat_nn_batch_norm1d(ctx, 4, .dtype = type);
    if (kind == 1) return pleat_nn_batch_norm2d(ctx, 4, .dtype = type);
    if (kind == 2) return pleat_nn_group_norm(ctx, 4, 2, .dtype = type);
    if (kind == 3) return pleat_nn_instance_norm(ctx, 4, .affine = true, .dtype = type);
    return pleat_nn_layer_norm(ctx, PLEAT_SHAPE(3), .dtype = type);
}

/* Sequential computes the two in one pass; one after the other they give the same bits, and so do gradients and
 * running statistics. */
static void expect_one_pass(size_t kind, bool relu6, pleat_dtype type, bool training) {
    pleat_nn_module *norm = norm_of(kind, type), *apart = norm_of(kind, type);
    pleat_nn_module *(*end)(pleat_ctx *) = relu6 ? pleat_nn_relu6 : pleat_nn_relu, *relu = end(ctx);
    pleat_nn_module *both = pleat_nn_sequential(ctx, norm, end(ctx));
    size_t rank = kind == 0 ? 3 : 4, shape[] = {3, 4, 5, 3};
    pleat_tensor *x = pleat_randn(ctx, type, rank, shape), *xs[2][3] = {{x}, {x}}, *gs[2][3];
    for (size_t i = 0; i < pleat_nn_state_count(apart); i++) {
        if (i < 2)
            EXPECT_OK(pleat_assign(
                pleat_nn_state(norm, i),
                pleat_scale(pleat_randn(ctx, type, 1, pleat_shape(pleat_nn_state(norm, i))), 4)));
        EXPECT_OK(pleat_assign(pleat_nn_state(apart, i), pleat_nn_state(norm, i)));
    }
    pleat_nn_set_training(both, training), pleat_nn_set_training(apart, training);
    pleat_tensor *y[] = {pleat_nn_forward(both, x), pleat_nn_forward(relu, pleat_nn_forward(apart, x))};
    EXPECT_SAME(y[0], y[1]);
    for (size_t k = 0; k < 2; k++) {
        for (size_t i = 0; i < 2; i++) xs[k][1 + i] = pleat_nn_param(k ? apart : norm, i);
        EXPECT_OK(pleat_grads(y[k], pleat_exp(y[k]), 3, xs[k], gs[k], 0));
    }
    for (size_t i = 0; i < 3; i++) EXPECT_SAME(gs[0][i], gs[1][i]);
    for (size_t i = 0; i < pleat_nn_state_count(apart); i++)
        EXPECT_SAME(pleat_nn_state(norm, i), pleat_nn_state(apart, i));
    pleat_nn_free(both), pleat_nn_free(apart), pleat_nn_free(relu);
}

Test(edges, a_norm_and_a_relu_are_one_pass) {
    for (size_t i = 0; i < NORM_KINDS * 8; i++)
        expect_one_pass(i / 8, i / 4 % 2, i % 2 ? PLEAT_F64 : PLEAT_F32, i / 2 % 2);
    for (size_t i = 0; i < 2; i++) {
        pleat_nn_module *end = i ? pleat_nn_relu6(ctx) : pleat_nn_relu(ctx);
        pleat_nn_module *both = pleat_nn_sequential(ctx, norm_of(1, PLEAT_F32), end);
        pleat_tensor *y = pleat_nn_forward(both, pleat_randn(ctx, PLEAT_F32, PLEAT_SHAPE(2, 4, 3, 3)));
        cr_assert_str_eq(pleat_call_of(y)->op->name, "batch_norm", "one op");
        pleat_nn_free(both);
    }
}

/* Every op's gradient against difference quotients, orders 1 to 3: a row for each op and each way to broadcast it. */
#include "rows.h"

TestSuite(grads, .init = tensors_begin, .fini = tensors_end);

/* ---- element by element -------------------------------------------------------------------------------- */

FUNCTION(add, pleat_add(a, b))
FUNCTION(sub, pleat_sub(a, b))
FUNCTION(mul, pleat_mul(a, b))
FUNCTION(divide, pleat_div(a, b))
FUNCTION(add_itself, pleat_add(a, a))
FUNCTION(mul_itself, pleat_mul(a, a))
FUNCTION(divide_itself, pleat_div(a, pleat_shift(a, 3)))
FUNCTION(scale, pleat_scale(a, -1.5))
FUNCTION(shift, pleat_shift(a, 2))
FUNCTION(neg, pleat_neg(a))
FUNCTION(exponential, pleat_exp(a))
FUNCTION(logarithm, pleat_log(a))
FUNCTION(root, pleat_sqrt(a))
FUNCTION(square, pleat_square(a))
FUNCTION(tangent, pleat_tanh(a))
FUNCTION(sigmoid, pleat_sigmoid(a))
FUNCTION(relu, pleat_relu(a))
FUNCTION(step, pleat_step(a))
FUNCTION(clamp, pleat_clamp(a, -0.5, 0.5))
FUNCTION(gates, pleat_mul(pleat_relu(a), pleat_mul(pleat_clamp(a, -0.5, 0.5), pleat_exp(b))))

Test(grads, element_by_element) {
    static const row rows[] = {
        {"add", add, -1, 1, .rank = {2, 2}, .shape = {{2, 3}, {2, 3}}},
        {"add a row", add, -1, 1, .rank = {2, 1}, .shape = {{2, 3}, {3}}},
        {"add to a row", add, -1, 1, .rank = {1, 2}, .shape = {{3}, {2, 3}}},
        {"add a scalar", add, -1, 1, .rank = {2, SCALAR}, .shape = {{2, 3}}},
        {"add crosswise", add, -1, 1, .rank = {2, 2}, .shape = {{2, 1}, {1, 3}}},
        {"sub", sub, -1, 1, .rank = {2, 2}, .shape = {{2, 3}, {2, 3}}},
        {"sub a column", sub, -1, 1, .rank = {2, 2}, .shape = {{2, 3}, {2, 1}}},
        {"sub crosswise", sub, -1, 1, .rank = {3, 2}, .shape = {{2, 1, 2}, {3, 1}}},
        {"mul", mul, -1, 1, .rank = {2, 2}, .shape = {{2, 3}, {2, 3}}},
        {"mul a row", mul, -1, 1, .rank = {2, 1}, .shape = {{2, 3}, {3}}},
        {"mul by a scalar", mul, -1, 1, .rank = {SCALAR, 2}, .shape = {{0}, {2, 2}}},
        {"mul crosswise", mul, -1, 1, .rank = {3, 2}, .shape = {{2, 1, 2}, {3, 1}}},
        {"div", divide, 0.5, 2, .rank = {2, 2}, .shape = {{2, 2}, {2, 2}}},
        {"div by a row", divide, 0.5, 2, .rank = {2, 1}, .shape = {{2, 2}, {2}}},
        {"div of a scalar", divide, 0.5, 2, .rank = {SCALAR, 1}, .shape = {{0}, {3}}},
        {"div crosswise", divide, 0.5, 2, .rank = {2, 2}, .shape = {{2, 1}, {1, 2}}},
        {"x + x", add_itself, -1, 1, .rank = {1}, .shape = {{3}}},
        {"x x", mul_itself, -1, 1, .rank = {1}, .shape = {{3}}},
        {"x / (x + 3)", divide_itself, -1, 1, .rank = {1}, .shape = {{3}}},
        {"scale", scale, -1, 1, .rank = {1}, .shape = {{3}}},
        {"shift", shift, -1, 1, .rank = {1}, .shape = {{3}}},
        {"neg", neg, -1, 1, .rank = {1}, .shape = {{3}}},
        {"exp", exponential, -1, 1, .rank = {1}, .shape = {{4}}},
        {"log", logarithm, 0.5, 3, .rank = {1}, .shape = {{4}}},
        {"sqrt", root, 0.5, 3, .rank = {1}, .shape = {{4}}},
        {"square", square, -1, 1, .rank = {1}, .shape = {{4}}},
        {"tanh", tangent, -2, 2, .rank = {1}, .shape = {{4}}},
        {"sigmoid", sigmoid, -2, 2, .rank = {1}, .shape = {{4}}},
        {"relu", relu, -1, 1, {0}, true, .rank = {1}, .shape = {{8}}},
        {"step", step, -1, 1, {0}, true, .rank = {1}, .shape = {{8}}},
        {"clamp", clamp, -1, 1, {-0.5, 0.5}, true, .rank = {1}, .shape = {{8}}},
        {"gates", gates, -0.9, 0.9, {0, 0.5}, true, .rank = {1, 1}, .shape = {{6}, {1}}},
    };
    CHECK_ROWS(rows);
}

/* ---- matrices and sums ----------------------------------------------------------------------------------- */

FUNCTION(matmul, pleat_matmul(a, b))
FUNCTION(matmul_ta, pleat_matmul(a, b, .ta = true))
FUNCTION(matmul_tb, pleat_matmul(a, b, .tb = true))
FUNCTION(matmul_ta_tb, pleat_matmul(a, b, .ta = true, .tb = true))
FUNCTION(matmul_itself, pleat_matmul(a, a, .tb = true))
FUNCTION(matmul_views, pleat_matmul(gappy(a), pleat_flip(pleat_permute(b, (size_t[]){1, 0}), PLEAT_AXES(1))))
FUNCTION(sum, pleat_sum(a))
FUNCTION(sum_axes, pleat_sum(a, PLEAT_AXES(0, 2)))
FUNCTION(sum_keep, pleat_sum(a, PLEAT_AXES(1), .keep = true))
FUNCTION(mean, pleat_mean(a))
FUNCTION(mean_axes, pleat_mean(pleat_permute(a, (size_t[]){2, 0, 1}), PLEAT_AXES(1)))
FUNCTION(mean_keep, pleat_mean(a, PLEAT_AXES(0, 1), .keep = true))
FUNCTION(broadcast_to, pleat_broadcast_to(a, PLEAT_SHAPE(2, 2, 3)))
FUNCTION(sum_to, pleat_sum_to(a, PLEAT_SHAPE(2, 1)))
FUNCTION(softmax, pleat_div(pleat_exp(a), pleat_sum(pleat_exp(a), PLEAT_AXES(1), .keep = true)))

Test(grads, matrices_and_sums) {
    static const row rows[] = {
        {"matmul", matmul, -1, 1, .rank = {2, 2}, .shape = {{2, 3}, {3, 2}}},
        {"matmul, ta", matmul_ta, -1, 1, .rank = {2, 2}, .shape = {{3, 2}, {3, 1}}},
        {"matmul, tb", matmul_tb, -1, 1, .rank = {2, 2}, .shape = {{2, 3}, {2, 3}}},
        {"matmul, ta and tb", matmul_ta_tb, -1, 1, .rank = {2, 2}, .shape = {{3, 2}, {1, 3}}},
        {"matmul of batches", matmul, -1, 1, .rank = {3, 3}, .shape = {{2, 1, 2}, {2, 2, 2}}},
        {"matmul, one for the batch", matmul_tb, -1, 1, .rank = {3, 2}, .shape = {{2, 2, 2}, {1, 2}}},
        {"matmul, batches broadcast", matmul_ta, -1, 1, .rank = {3, 4}, .shape = {{2, 2, 1}, {2, 1, 2, 1}}},
        {"matmul, both broadcast", matmul_ta_tb, -1, 1, .rank = {2, 3}, .shape = {{2, 2}, {2, 1, 2}}},
        {"x x^T", matmul_itself, -1, 1, .rank = {2}, .shape = {{2, 3}}},
        {"matmul of views", matmul_views, -1, 1, .rank = {2, 2}, .shape = {{2, 2}, {2, 2}}},
        {"sum", sum, -1, 1, .rank = {2}, .shape = {{2, 3}}},
        {"sum of axes", sum_axes, -1, 1, .rank = {3}, .shape = {{2, 2, 2}}},
        {"sum, kept", sum_keep, -1, 1, .rank = {3}, .shape = {{2, 2, 2}}},
        {"mean", mean, -1, 1, .rank = {2}, .shape = {{2, 3}}},
        {"mean of axes", mean_axes, -1, 1, .rank = {3}, .shape = {{2, 2, 2}}},
        {"mean, kept", mean_keep, -1, 1, .rank = {3}, .shape = {{2, 2, 2}}},
        {"broadcast_to", broadcast_to, -1, 1, .rank = {2}, .shape = {{2, 1}}},
        {"sum_to", sum_to, -1, 1, .rank = {3}, .shape = {{2, 2, 2}}},
        {"softmax", softmax, -1, 1, .rank = {2}, .shape = {{2, 3}}},
    };
    CHECK_ROWS(rows);
}

/* ---- shapes ------------------------------------------------------------------------------------------------ */

FUNCTION(reshape, pleat_reshape(a, PLEAT_SHAPE(4, PLEAT_REST)))
FUNCTION(reshape_turned, pleat_reshape(pleat_permute(a, (size_t[]){2, 0, 1}), PLEAT_SHAPE(8)))
FUNCTION(permute, pleat_permute(a, (size_t[]){1, 2, 0}))
FUNCTION(slice, pleat_slice(a, (size_t[]){1, 0, 0}, (size_t[]){1, 2, 1}, (size_t[]){1, 1, 2}))
FUNCTION(pad, pleat_pad(a, (size_t[]){2, 4, 3}, (size_t[]){0, 1, 1}, (size_t[]){1, 2, 1}))
FUNCTION(flip, pleat_flip(a, PLEAT_AXES(0, 2)))
FUNCTION(concat, pleat_concat(3, (pleat_tensor *[]){a, b, a}, 1))
FUNCTION(contiguous, pleat_contiguous(pleat_permute(a, (size_t[]){2, 1, 0})))
FUNCTION(overlap, pleat_add(pleat_slice(a, (size_t[]){0, 0, 0}, (size_t[]){1, 2, 2}, NULL),
                            pleat_flip(a, PLEAT_AXES(1))))

Test(grads, shapes) {
    static const row rows[] = {
        {"reshape", reshape, -1, 1, .rank = {3}, .shape = {{2, 2, 2}}},
        {"reshape of a view", reshape_turned, -1, 1, .rank = {3}, .shape = {{2, 2, 2}}},
        {"permute", permute, -1, 1, .rank = {3}, .shape = {{2, 2, 2}}},
        {"slice", slice, -1, 1, .rank = {3}, .shape = {{2, 2, 2}}},
        {"pad", pad, -1, 1, .rank = {3}, .shape = {{2, 2, 2}}},
        {"flip", flip, -1, 1, .rank = {3}, .shape = {{2, 2, 2}}},
        {"concat", concat, -1, 1, .rank = {2, 2}, .shape = {{2, 2}, {2, 1}}},
        {"contiguous", contiguous, -1, 1, .rank = {3}, .shape = {{2, 2, 2}}},
        {"views that overlap", overlap, -1, 1, .rank = {3}, .shape = {{2, 2, 2}}},
    };
    CHECK_ROWS(rows);
}

/* ---- the convolution family: relative error at most 1e-7 at orders 1, 2 and 3 -------------------------------- */

#define GROUPED .stride = {2, 1}, .dilation = {1, 2}, .groups = 2
#define UNEVEN .stride = {1, 2}, .pads = {1, 0, 0, 2}
#define CROPPED .dilation = {2, 1}, .pads = {-1, 1, 1, -1}

FUNCTION(conv_grouped, pleat_conv2d(a, b, GROUPED, .pad = {1, 1}))
FUNCTION(conv_uneven, pleat_conv2d(a, b, UNEVEN))
FUNCTION(conv_cropped, pleat_conv2d(a, b, CROPPED))
FUNCTION(conv_sized, pleat_conv2d(a, b, .stride = {2, 2}, .size = {3, 1}))
FUNCTION(conv_views,
         pleat_conv2d(pleat_flip(gappy(a), PLEAT_AXES(0)), pleat_permute(b, (size_t[]){1, 0, 3, 2})))
FUNCTION(transpose_grouped, pleat_conv2d_transpose(a, b, GROUPED, .pad = {1, 1}))
FUNCTION(transpose_uneven, pleat_conv2d_transpose(a, b, UNEVEN))
FUNCTION(transpose_cropped, pleat_conv2d_transpose(a, b, CROPPED))
FUNCTION(transpose_sized, pleat_conv2d_transpose(a, b, .stride = {2, 2}, .size = {5, 4}))
FUNCTION(conv_bias, pleat_conv2d(a, b, GROUPED, .pad = {1, 1}, .bias = c))
FUNCTION(conv_relu, pleat_conv2d(a, b, UNEVEN, .relu = true))
FUNCTION(conv_both, pleat_conv2d(a, b, CROPPED, .bias = c, .relu = true))
FUNCTION(conv_both_grouped, pleat_conv2d(a, b, GROUPED, .pad = {1, 1}, .bias = c, .relu = true))
FUNCTION(conv_bias_itself,
         pleat_conv2d(a, b, UNEVEN, .bias = pleat_sum(b, PLEAT_AXES(1, 2, 3)), .relu = true))
FUNCTION(transpose_bias, pleat_conv2d_transpose(a, b, GROUPED, .pad = {1, 1}, .bias = c))
FUNCTION(transpose_relu, pleat_conv2d_transpose(a, b, UNEVEN, .relu = true))
FUNCTION(transpose_both, pleat_conv2d_transpose(a, b, CROPPED, .bias = c, .relu = true))
FUNCTION(transpose_both_sized,
         pleat_conv2d_transpose(a, b, .stride = {2, 2}, .size = {5, 4}, .bias = c, .relu = true))
FUNCTION(weight_grouped, pleat_conv2d_weight(a, b, GROUPED, .kernel = {2, 2}))
FUNCTION(weight_uneven, pleat_conv2d_weight(a, b, UNEVEN, .kernel = {2, 2}))
FUNCTION(weight_cropped, pleat_conv2d_weight(a, b, CROPPED, .kernel = {2, 1}))

Test(grads, convolutions) {
    static const row rows[] = {
        {"conv2d, groups", conv_grouped, -1, 1, .rank = {4, 4}, .shape = {{1, 2, 3, 3}, {2, 1, 2, 2}}},
        {"conv2d, uneven pads", conv_uneven, -1, 1, .rank = {4, 4}, .shape = {{2, 1, 2, 2}, {2, 1, 2, 2}}},
        {"conv2d, negative pads", conv_cropped, -1, 1, .rank = {4, 4}, .shape = {{1, 1, 4, 2}, {1, 1, 2, 2}}},
        {"conv2d, a size", conv_sized, -1, 1, .rank = {4, 4}, .shape = {{1, 2, 3, 2}, {1, 2, 2, 1}}},
        {"conv2d of views", conv_views, -1, 1, .rank = {4, 4}, .shape = {{2, 2, 2, 2}, {2, 2, 1, 2}}},
        {"conv2d_transpose, groups", transpose_grouped, -1, 1, .rank = {4, 4},
         .shape = {{1, 2, 2, 2}, {2, 1, 2, 2}}},
        {"conv2d_transpose, uneven pads", transpose_uneven, -1, 1, .rank = {4, 4},
         .shape = {{2, 1, 2, 2}, {1, 2, 2, 2}}},
        {"conv2d_transpose, negative pads", transpose_cropped, -1, 1, .rank = {4, 4},
         .shape = {{1, 1, 3, 2}, {1, 1, 2, 2}}},
        {"conv2d_transpose, a size", transpose_sized, -1, 1, .rank = {4, 4},
         .shape = {{1, 2, 2, 2}, {2, 1, 2, 1}}},
        {"conv2d_weight, groups", weight_grouped, -1, 1, .rank = {4, 4},
         .shape = {{2, 2, 4, 3}, {2, 2, 2, 1}}},
        {"conv2d_weight, uneven pads", weight_uneven, -1, 1, .rank = {4, 4},
         .shape = {{1, 2, 2, 2}, {1, 1, 2, 2}}},
        {"conv2d_weight, negative pads", weight_cropped, -1, 1, .rank = {4, 4},
         .shape = {{1, 1, 4, 2}, {1, 2, 2, 2}}},
    };
    CHECK_ROWS(rows);
}

/* The numbers are drawn, but always the same: none brings a sum near the kink of relu. */
Test(grads, convolutions_with_bias_and_relu) {
    static const row rows[] = {
        {"conv2d, bias", conv_bias, -1, 1, .rank = {4, 4, 1}, .shape = {{1, 2, 3, 3}, {2, 1, 2, 2}, {2}}},
        {"conv2d, relu", conv_relu, -1, 1, .rank = {4, 4}, .shape = {{2, 1, 2, 2}, {2, 1, 2, 2}}},
        {"conv2d, both", conv_both, -1, 1, .rank = {4, 4, 1}, .shape = {{1, 1, 4, 2}, {2, 1, 2, 2}, {2}}},
        {"conv2d, both and groups", conv_both_grouped, -1, 1, .rank = {4, 4, 1},
         .shape = {{1, 2, 3, 3}, {2, 1, 2, 2}, {2}}},
        {"conv2d, a bias of weights", conv_bias_itself, -1, 1, .rank = {4, 4},
         .shape = {{1, 1, 2, 2}, {2, 1, 2, 2}}},
        {"conv2d_transpose, bias", transpose_bias, -1, 1, .rank = {4, 4, 1},
         .shape = {{1, 2, 2, 2}, {2, 1, 2, 2}, {2}}},
        {"conv2d_transpose, relu", transpose_relu, -1, 1, .rank = {4, 4},
         .shape = {{2, 1, 2, 2}, {1, 2, 2, 2}}},
        {"conv2d_transpose, both", transpose_both, -1, 1, .rank = {4, 4, 1},
         .shape = {{1, 1, 3, 2}, {1, 2, 2, 2}, {2}}},
        {"conv2d_transpose, both and a size", transpose_both_sized, -1, 1, .rank = {4, 4, 1},
         .shape = {{1, 2, 2, 2}, {2, 1, 2, 1}, {1}}},
    };
    CHECK_ROWS(rows);
}

/* ---- networks of all three -------------------------------------------------------------------------------- */

/* An encoder and a decoder with tied weights, and a bias. */
FUNCTION(
    tied,
    pleat_mean(pleat_square(pleat_sub(
        pleat_sigmoid(pleat_add(pleat_conv2d_transpose(pleat_tanh(pleat_conv2d(a, b, GROUPED, .pad = {1, 1})),
                                                       b, GROUPED, .pad = {1, 1}, .size = {3, 3}),
                                c)),
        a))))
/* The gradient of a convolution's weights, used as weights. */
FUNCTION(fast_weights, pleat_tanh(pleat_conv2d(a,
                                               pleat_conv2d_weight(pleat_tanh(a), pleat_conv2d(a, b, UNEVEN),
                                                                   UNEVEN, .kernel = {2, 2}),
                                               UNEVEN)))
FUNCTION(cropped_net,
         pleat_matmul(pleat_reshape(pleat_conv2d_transpose(pleat_exp(pleat_conv2d(a, b, CROPPED)), b,
                                                           CROPPED),
                                    PLEAT_SHAPE(2, PLEAT_REST)),
                      c))

Test(grads, networks) {
    static const row rows[] = {
        {"tied weights", tied, -1, 1, .rank = {4, 4, 3}, .shape = {{1, 2, 3, 3}, {2, 1, 2, 2}, {2, 1, 1}}},
        {"fast weights", fast_weights, -1, 1, .rank = {4, 4}, .shape = {{1, 1, 3, 2}, {1, 1, 2, 2}}},
        {"cropped", cropped_net, -1, 1, .rank = {4, 4, 2}, .shape = {{2, 1, 4, 3}, {1, 1, 2, 2}, {12, 1}}},
    };
    CHECK_ROWS(rows);
}

/* Views as the places where gradients are asked for. */
Test(grads, at_views) {
    pleat_tensor *big = pleat_uniform(ctx, PLEAT_F64, PLEAT_SHAPE(2, 3, 3), -1, 1);
    pleat_tensor *xs[] = {
        pleat_flip(pleat_slice(big, (size_t[]){0, 1, 0}, (size_t[]){2, 2, 2}, (size_t[]){1, 1, 2}),
                   PLEAT_AXES(1)),
        pleat_broadcast_to(pleat_slice(big, (size_t[]){0, 0, 0}, (size_t[]){1, 1, 2}, NULL),
                           PLEAT_SHAPE(2, 2, 2))};
    pleat_report r;
    pleat_gradcheck(mul, 2, xs, .order = 2, .report = &r);
    cr_assert(r.ok, "%s", r.text);
    EXPECT_SAME(xs[1], pleat_broadcast_to(pleat_slice(big, (size_t[]){0, 0, 0}, (size_t[]){1, 1, 2}, NULL),
                                          PLEAT_SHAPE(2, 2, 2)));
}

/* 1-D layers, instance norm and padding beside the 2-D layers that compute them; what they say, and what they
 * refuse. */
#include <string.h>

#include "module.h"
#include "tensors.h"

TestSuite(lines, .init = tensors_begin, .fini = tensors_end);

static pleat_tensor *high(pleat_tensor *x) {
    return pleat_reshape(x, PLEAT_SHAPE(pleat_size(x, 0), pleat_size(x, 1), 1, pleat_size(x, 2)));
}

/* m of lines and n of images of height 1 give the same bits, and so do their gradients. Frees both. */
static void expect_twins(pleat_nn_module *m, pleat_nn_module *n) {
    cr_assert(m && n, "%s", pleat_error(ctx)->text);
    for (size_t i = 0; i < pleat_nn_param_count(m); i++) {
        pleat_tensor *w = pleat_nn_param(m, i), *v = pleat_nn_param(n, i);
        EXPECT_OK(pleat_assign(v, pleat_rank(w) == 3 ? high(w) : w));
    }
    for (int gaps = 0; gaps < 2; gaps++) {
        pleat_tensor *x = whole(PLEAT_F32, PLEAT_SHAPE(2, 4, 9)), *image = high(x), *gx, *gimage;
        pleat_tensor *y = pleat_nn_forward(m, gaps ? gappy(x) : x), *tall = pleat_nn_forward(n, image);
        EXPECT_SAME(high(y), tall);
        pleat_tensor *u = whole(PLEAT_F32, 3, pleat_shape(y));
        EXPECT_OK(pleat_grads(y, u, 1, &x, &gx, 0));
        EXPECT_OK(pleat_grads(tall, high(u), 1, &image, &gimage, 0));
        EXPECT_SAME(high(gx), gimage);
    }
    pleat_nn_free(m), pleat_nn_free(n);
}

Test(lines, are_images_of_height_1) {
    expect_twins(pleat_nn_conv1d(ctx, 4, 6, .kernel = 3, .stride = 2, .pad = 2, .groups = 2),
                 pleat_nn_conv2d(ctx, 4, 6, .kernel = {1, 3}, .stride = {1, 2}, .pad = {0, 2}, .groups = 2));
    expect_twins(pleat_nn_conv1d(ctx, 4, 2, .kernel = 3, .pad = -1),
                 pleat_nn_conv2d(ctx, 4, 2, .kernel = {1, 3}, .pad = {0, -1}));
    expect_twins(
        pleat_nn_conv_transpose1d(ctx, 4, 2, .kernel = 4, .stride = 3, .pad = 1, .output_padding = 1),
        pleat_nn_conv_transpose2d(ctx, 4, 2, .kernel = {1, 4}, .stride = {1, 3}, .pad = {0, 1},
                                  .output_padding = {0, 1}));
    expect_twins(pleat_nn_max_pool1d(ctx, .kernel = 3, .pad = 1),
                 pleat_nn_max_pool2d(ctx, .kernel = {1, 3}, .pad = {0, 1}));
    expect_twins(pleat_nn_avg_pool1d(ctx, .kernel = 4, .ceil_mode = true),
                 pleat_nn_avg_pool2d(ctx, .kernel = {1, 4}, .ceil_mode = true));
}

/* Results and running statistics. */
Test(lines, batch_norm1d_is_batch_norm2d_of_them) {
    pleat_nn_module *m = pleat_nn_batch_norm1d(ctx, 4, .momentum = 0.3),
                    *n = pleat_nn_batch_norm2d(ctx, 4, .momentum = 0.3);
    for (int i = 0; i < 4; i++) {
        if (i == 3) pleat_nn_set_training(m, false), pleat_nn_set_training(n, false);
        pleat_tensor *x = pleat_randn(ctx, PLEAT_F32, PLEAT_SHAPE(3, 4, i % 2 ? 1 : 5));
        pleat_tensor *rows = i % 2 ? pleat_reshape(x, PLEAT_SHAPE(3, 4)) : x, *y = pleat_nn_forward(m, rows);
        EXPECT_SAME(pleat_reshape(y, PLEAT_SHAPE(3, 4, 1, pleat_size(x, 2))), pleat_nn_forward(n, high(x)));
        for (size_t k = 0; k < 5; k++) EXPECT_SAME(pleat_nn_state(m, k), pleat_nn_state(n, k));
    }
    pleat_nn_free(m), pleat_nn_free(n);
}

Test(lines, have_products_to_count) {
    pleat_nn_module *m = pleat_nn_sequential(ctx, pleat_nn_conv1d(ctx, 4, 6, .kernel = 3, .groups = 2),
                                             pleat_nn_conv_transpose1d(ctx, 6, 3, .kernel = 5));
    pleat_nn_layer_info rows[4];
    size_t count = 0;
    EXPECT_OK(pleat_nn_layers(m, PLEAT_SHAPE(2, 4, 9), rows, 4, &count));
    cr_assert_eq(count, 2);
    cr_assert_eq(rows[0].macs, 2 * 6 * 7 * 2 * 3);
    cr_assert_eq(rows[1].macs, 2 * 6 * 7 * 3 * 5);
    pleat_nn_free(m);
}

/* A ReLU behind them is computed with them. */
Test(lines, sequential_computes_a_relu_with_them) {
    pleat_nn_module *m =
        pleat_nn_sequential(ctx, pleat_nn_conv1d(ctx, 4, 5, .kernel = 3), pleat_nn_relu(ctx),
                            pleat_nn_conv_transpose1d(ctx, 5, 2, .kernel = 3), pleat_nn_relu(ctx));
    pleat_tensor *x = pleat_randn(ctx, PLEAT_F32, PLEAT_SHAPE(3, 4, 8)), *y = pleat_nn_forward(m, x), *z = x;
    for (size_t i = 0; i < 4; i++) z = pleat_nn_forward(pleat_nn_child(m, i), z);
    EXPECT_SAME(y, z);
    for (size_t i = 0; i < 4; i += 2) cr_assert(pln_forward_with(pleat_nn_child(m, i)));
    pleat_tensor *none = pleat_nn_forward(m, pleat_zeros(ctx, PLEAT_F32, PLEAT_SHAPE(0, 4, 8)));
    EXPECT_HOLDS(none, PLEAT_SHAPE(0, 2, 8), VALUES(0));
    pleat_nn_free(m);
}

/* In evaluation a norm and a rectifier are computed with the convolution before them. */
static void expect_in_one_pass(pleat_nn_module *m, pleat_tensor *x) {
    pln_tail tail = {0};
    cr_assert_not(pln_take_norm(pleat_nn_child(m, 0), pleat_nn_child(m, 1), &tail),
                  "in training it has the batch's");
    pleat_nn_set_training(m, false);
    cr_assert(pln_take_norm(pleat_nn_child(m, 0), pleat_nn_child(m, 1), &tail));
    cr_assert_not(pln_take_norm(pleat_nn_child(m, 1), pleat_nn_child(m, 0), &tail));
    for (int recording = 0; recording < 2; recording++) {
        pleat_set_recording(ctx, recording);
        pleat_tensor *z = x;
        for (size_t i = 0; i < 3; i++) z = pleat_nn_forward(pleat_nn_child(m, i), z);
        EXPECT_SAME(pleat_nn_forward(m, x), z);
    }
    pleat_nn_free(m);
}

Test(lines, take_a_norm_and_a_relu_with_them) {
    pleat_tensor *line = pleat_randn(ctx, PLEAT_F32, PLEAT_SHAPE(3, 4, 37)),
                 *image = pleat_randn(ctx, PLEAT_F32, PLEAT_SHAPE(3, 4, 9, 11));
    expect_in_one_pass(pleat_nn_sequential(ctx, pleat_nn_conv1d(ctx, 4, 5, .kernel = 3),
                                           pleat_nn_batch_norm1d(ctx, 5), pleat_nn_relu(ctx)),
                       line);
    expect_in_one_pass(pleat_nn_sequential(ctx, pleat_nn_conv_transpose1d(ctx, 4, 5, .kernel = 3),
                                           pleat_nn_batch_norm1d(ctx, 5), pleat_nn_relu6(ctx)),
                       line);
    expect_in_one_pass(pleat_nn_sequential(ctx, pleat_nn_conv2d(ctx, 4, 5, .kernel = {3, 3}),
                                           pleat_nn_batch_norm2d(ctx, 5), pleat_nn_relu6(ctx)),
                       image);
    expect_in_one_pass(pleat_nn_sequential(ctx, pleat_nn_conv_transpose2d(ctx, 4, 5, .kernel = {3, 3}),
                                           pleat_nn_batch_norm2d(ctx, 5, .no_affine = true),
                                           pleat_nn_tanh(ctx)),
                       image);
}

/* Neither another number of channels, nor another type or rank. */
Test(lines, take_no_norm_that_does_not_fit) {
    pln_tail tail = {0};
    pleat_nn_module *conv = pleat_nn_conv2d(ctx, 4, 5, .kernel = {3, 3}),
                    *norms[] = {pleat_nn_batch_norm2d(ctx, 4), pleat_nn_batch_norm1d(ctx, 5),
                                pleat_nn_batch_norm2d(ctx, 5, .dtype = PLEAT_F64),
                                pleat_nn_group_norm(ctx, 5, .groups = 5)};
    for (size_t i = 0; i < 4; i++) {
        cr_assert(norms[i], "%s", pleat_error(ctx)->text);
        pleat_nn_set_training(norms[i], false);
        cr_expect_not(pln_take_norm(conv, norms[i], &tail), "norm %zu", i);
        pleat_nn_free(norms[i]);
    }
    cr_expect_null(tail.norm.mean);
    pleat_nn_free(conv);
}

static void expect_state(pleat_nn_module *m, const char *expected) {
    char text[400] = "", name[64], shape[64];
    cr_assert(m, "%s", pleat_error(ctx)->text);
    for (size_t i = 0; i < pleat_nn_state_count(m); i++) {
        pleat_tensor *t = pleat_nn_state(m, i);
        strcat(text, pleat_nn_state_name(m, i, name, sizeof name));
        strcat(strcat(text, pleat_shape_text(t, shape, sizeof shape)), " ");
    }
    cr_expect_str_eq(text, expected);
    pleat_nn_free(m);
}

/* As {k: list(v.shape) for k, v in module.state_dict().items()} in PyTorch. */
Test(lines, have_pytorchs_state) {
    expect_state(pleat_nn_conv1d(ctx, 4, 6, .kernel = 3, .groups = 2), "weight[6,2,3] bias[6] ");
    expect_state(pleat_nn_conv_transpose1d(ctx, 4, 6, .kernel = 3, .groups = 2), "weight[4,3,3] bias[6] ");
    expect_state(pleat_nn_conv1d(ctx, 4, 6, .kernel = 3, .no_bias = true), "weight[6,4,3] ");
    expect_state(pleat_nn_batch_norm1d(ctx, 3),
                 "weight[3] bias[3] running_mean[3] running_var[3] num_batches_tracked[] ");
    expect_state(pleat_nn_instance_norm(ctx, 3), "");
    expect_state(pleat_nn_instance_norm(ctx, 3, .affine = true), "weight[3] bias[3] ");
    expect_state(pleat_nn_reflection_pad2d(ctx, .pad = {1, 1}), "");
}

static void expect_description(pleat_nn_module *m, const char *expected) {
    char text[200] = "", cut[8];
    cr_assert(m, "%s", pleat_error(ctx)->text);
    pleat_nn_kind_of(m)->describe(m, text, sizeof text);
    cr_expect_str_eq(text, expected);
    pleat_nn_kind_of(m)->describe(m, cut, sizeof cut);
    cr_expect_eq(strncmp(cut, expected, 7), 0);
    pleat_nn_free(m);
}

Test(lines, say_what_is_unusual) {
    expect_description(pleat_nn_conv1d(ctx, 4, 6, .kernel = 3), "4, 6, kernel 3");
    expect_description(pleat_nn_conv_transpose1d(ctx, 4, 6, .kernel = 3, .stride = 2, .dilation = 3,
                                                 .pad = -1, .output_padding = 1, .groups = 2,
                                                 .no_bias = true),
                       "4, 6, kernel 3, stride 2, dilation 3, pad -1, output padding 1, groups 2, no bias");
    expect_description(pleat_nn_max_pool1d(ctx, .kernel = 3, .stride = 2, .pad = 1, .dilation = 2),
                       "kernel 3, stride 2, pad 1, dilation 2");
    expect_description(pleat_nn_avg_pool1d(ctx, .kernel = 400000), "kernel 400000");
    expect_description(pleat_nn_reflection_pad2d(ctx, .pad = {1, 2}), "top 1, left 2, bottom 1, right 2");
    expect_description(pleat_nn_instance_norm(ctx, 64, .affine = true), "64, affine");
}

static void expect_refusal(pleat_nn_module *m, const char *part) {
    cr_assert_null(m, "accepted: %s", part);
    cr_expect(strstr(pleat_error(ctx)->text, part), "\"%s\" does not say \"%s\"", pleat_error(ctx)->text,
              part);
    pleat_clear_error(ctx);
}

static void expect_misfit(pleat_nn_module *m, pleat_tensor *x, const char *part) {
    cr_assert(m, "%s", pleat_error(ctx)->text);
    cr_assert(pleat_is_poison(pleat_nn_forward(m, x)), "accepted: %s", part);
    expect_refusal(NULL, part);
    pleat_nn_free(m);
}

Test(lines, refusals) {
    expect_refusal(pleat_nn_conv1d(ctx, 1, 1), "Conv1d: .kernel must be given");
    expect_refusal(pleat_nn_conv1d(ctx, 0, 1, .kernel = 1), "Conv1d: in and out");
    expect_refusal(pleat_nn_conv1d(ctx, 1, 1, .kernel = 1, .output_padding = 1),
                   "Conv1d: output_padding is for");
    expect_refusal(pleat_nn_conv_transpose1d(ctx, 1, 1, .kernel = 3, .stride = 2, .output_padding = 2),
                   "ConvTranspose1d: output_padding must be less");
    expect_refusal(pleat_nn_max_pool1d(ctx, .kernel = 0), "MaxPool1d: .kernel must be given");
    expect_refusal(pleat_nn_max_pool1d(ctx, .kernel = 2, .pad = 2), "at most half the kernel");
    expect_refusal(pleat_nn_max_pool1d(ctx, .kernel = 2, .exclude_pad = true), "mean pools");
    expect_refusal(pleat_nn_avg_pool1d(ctx, .kernel = 2, .dilation = 2), "max pools");
    expect_refusal(pleat_nn_batch_norm1d(ctx, 3, .affine = true), "BatchNorm1d: affine is for instance_norm");
    expect_refusal(pleat_nn_group_norm(ctx, 4, 2, .affine = true), "GroupNorm: affine is for instance_norm");
    expect_refusal(pleat_nn_instance_norm(ctx, 3, .no_affine = true), "InstanceNorm: it has no weight");
    expect_refusal(pleat_nn_instance_norm(ctx, 4, .groups = 2), "InstanceNorm: groups");
    expect_refusal(pleat_nn_instance_norm(ctx), "InstanceNorm: channels");
    expect_refusal(pleat_nn_reflection_pad2d(ctx, .pad = {1}), "ReflectionPad2d: .pad = {1, 0}");
    expect_refusal(pleat_nn_replication_pad2d(ctx, .pads = {0, -1, 0, 0}),
                   "ReplicationPad2d: pads must be 0 or more");
    expect_refusal(pleat_nn_replication_pad2d(ctx, .pad = {1, 1}, .pads = {1, 1, 1, 1}), "not both");
    pleat_tensor *image = whole(PLEAT_F32, PLEAT_SHAPE(2, 3, 1, 4)),
                 *row = whole(PLEAT_F32, PLEAT_SHAPE(1, 3)), *line = whole(PLEAT_F32, PLEAT_SHAPE(2, 3, 1));
    expect_misfit(pleat_nn_conv1d(ctx, 3, 1, .kernel = 1), image, "x is [2,3,1,4]; this layer takes [N,3,L]");
    expect_misfit(pleat_nn_conv_transpose1d(ctx, 4, 1, .kernel = 1), line, "this layer takes [N,4,L]");
    expect_misfit(pleat_nn_conv2d(ctx, 3, 1, .kernel = {1, 1}), line, "this layer takes [N,3,H,W]");
    expect_misfit(pleat_nn_max_pool1d(ctx, .kernel = 1), image, "MaxPool1d: x is [2,3,1,4]");
    expect_misfit(pleat_nn_batch_norm1d(ctx, 3), image, "[N,3]");
    expect_misfit(pleat_nn_batch_norm1d(ctx, 3), row, "at least 2 values");
    expect_misfit(pleat_nn_batch_norm2d(ctx, 3), line, "[N,3,H,W]");
    expect_misfit(pleat_nn_instance_norm(ctx, 3), line, "at least 2 values");
    expect_misfit(pleat_nn_instance_norm(ctx, 3), row, "rank 3 or more");
    expect_misfit(pleat_nn_reflection_pad2d(ctx, .pad = {1, 1}), image, "reflected twice");
}

/* Statistics are those of the batch, one image at a time, in evaluation too. */
Test(lines, instance_norm_knows_no_mode) {
    pleat_nn_module *m = pleat_nn_instance_norm(ctx, 3, .affine = true);
    pleat_tensor *x = pleat_randn(ctx, PLEAT_F32, PLEAT_SHAPE(2, 3, 4, 5)), *y = pleat_nn_forward(m, x);
    pleat_nn_set_training(m, false);
    EXPECT_SAME(pleat_nn_forward(m, x), y);
    EXPECT_SAME(y, pleat_normalize(x, PLEAT_AXES(2, 3), 1e-5));
    pleat_tensor *none = pleat_zeros(ctx, PLEAT_F32, PLEAT_SHAPE(0, 3, 2));
    EXPECT_SAME(pleat_nn_forward(m, none), none);
    pleat_nn_free(m);
}

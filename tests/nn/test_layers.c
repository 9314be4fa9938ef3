/* Layers against PyTorch, and the tree that they form: state dict, modes, freezing, summary. */
#define _POSIX_C_SOURCE 200809L

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "mallocs.h"
#include "module.h"
#include "oracle.h"
#include "tensors.h"

static oracle *torch;

static void begin(void) {
    tensors_begin();
    torch = oracle_read("layers.txt");
    cr_assert(torch);
}

static void end(void) {
    oracle_free(torch);
    tensors_end();
}

TestSuite(layers, .init = begin, .fini = end);

static pleat_tensor *array(pleat_dtype type, const char *name, const char *what, size_t i) {
    const oracle_array *a = oracle_find(torch, i == SIZE_MAX ? "%s.%s" : "%s.%s%zu", name, what, i);
    cr_assert(a, "there is no %s.%s", name, what);
    return oracle_tensor(ctx, type, a);
}

static void expect_close(pleat_tensor *found, const char *name, const char *what, size_t i) {
    EXPECT_NEAR(found, array(pleat_dtype_of(found), name, what, i),
                pleat_dtype_of(found) == PLEAT_F64 ? 1e-12 : 2e-5);
}

/* m's result and gradients. Frees m. */
static void expect_layer(const char *name, pleat_nn_module *m, pleat_dtype type) {
    cr_assert(m, "%s: %s", name, pleat_error(ctx)->text);
    size_t n = 1 + pleat_nn_param_count(m);
    pleat_tensor *xs[3] = {array(type, name, "x", 0)}, *gs[3];
    for (size_t i = 1; i < n; i++) {
        xs[i] = pleat_nn_param(m, i - 1);
        EXPECT_OK(pleat_assign(xs[i], array(type, name, "x", i)));
    }
    pleat_tensor *y = pleat_nn_forward(m, xs[0]);
    expect_close(y, name, "y", SIZE_MAX);
    EXPECT_OK(pleat_grads(y, array(type, name, "u", SIZE_MAX), n, xs, gs, PLEAT_GRADS_STRICT));
    for (size_t i = 0; i < n; i++) expect_close(gs[i], name, "g", i);
    pleat_nn_free(m);
}

Test(layers, agree_with_pytorch) {
    for (pleat_dtype t = PLEAT_F32; t <= PLEAT_F64; t++) {
        expect_layer("elu", pleat_nn_elu(ctx, 0.7), t);
        expect_layer("gelu", pleat_nn_gelu(ctx), t);
        expect_layer("silu", pleat_nn_silu(ctx), t);
        expect_layer("softplus", pleat_nn_softplus(ctx), t);
        expect_layer("leaky_relu", pleat_nn_leaky_relu(ctx, 0.2), t);
        expect_layer("relu6", pleat_nn_relu6(ctx), t);
        expect_layer("softmax", pleat_nn_softmax(ctx, 1), t);
        expect_layer("log_softmax", pleat_nn_log_softmax(ctx, 1), t);
        expect_layer("prelu", pleat_nn_prelu(ctx, 4, t), t);
        expect_layer("prelu_one", pleat_nn_prelu(ctx, 1, t), t);
        expect_layer("max_pool2d", pleat_nn_max_pool2d(ctx, {2, 3}, {1, 2}, {1, 1}), t);
        expect_layer("avg_pool2d", pleat_nn_avg_pool2d(ctx, .kernel = {2, 2}, .ceil_mode = true), t);
        expect_layer("adaptive", pleat_nn_adaptive_avg_pool2d(ctx, 2, 3), t);
        expect_layer("global", pleat_nn_adaptive_avg_pool2d(ctx, 1, 1), t);
        expect_layer("nearest", pleat_nn_upsample_nearest(ctx, 2), t);
        expect_layer("bilinear", pleat_nn_upsample_bilinear(ctx, 3), t);
        expect_layer("pixel_shuffle", pleat_nn_pixel_shuffle(ctx, 2), t);
        expect_layer("group_norm", pleat_nn_group_norm(ctx, 4, 2, .dtype = t), t);
        expect_layer("group_norm_plain", pleat_nn_group_norm(ctx, 4, 4, .no_affine = true, .dtype = t), t);
        expect_layer("layer_norm", pleat_nn_layer_norm(ctx, PLEAT_SHAPE(3, 4), .dtype = t), t);
        expect_layer("layer_norm_plain",
                     pleat_nn_layer_norm(ctx, PLEAT_SHAPE(4), .no_affine = true, .dtype = t), t);
        expect_layer(
            "conv1d",
            pleat_nn_conv1d(ctx, 4, 6, 3, .stride = 2, .pad = 1, .dilation = 2, .groups = 2, .dtype = t), t);
        expect_layer("conv1d_plain", pleat_nn_conv1d(ctx, 4, 2, .kernel = 4, .no_bias = true, .dtype = t), t);
        expect_layer("conv_transpose1d",
                     pleat_nn_conv_transpose1d(ctx, 4, 6, .kernel = 3, .stride = 3, .pad = 1,
                                               .output_padding = 2, .groups = 2, .dtype = t),
                     t);
        expect_layer(
            "conv_transpose1d_plain",
            pleat_nn_conv_transpose1d(ctx, 4, 3, .kernel = 2, .dilation = 3, .no_bias = true, .dtype = t), t);
        expect_layer("max_pool1d", pleat_nn_max_pool1d(ctx, .kernel = 3, .stride = 2, .pad = 1), t);
        expect_layer("max_pool1d_apart",
                     pleat_nn_max_pool1d(ctx, .kernel = 2, .stride = 1, .dilation = 3, .ceil_mode = true), t);
        expect_layer("avg_pool1d",
                     pleat_nn_avg_pool1d(ctx, .kernel = 4, .stride = 3, .pad = 2, .exclude_pad = true), t);
        expect_layer("batch_norm1d", pleat_nn_batch_norm1d(ctx, 4, .dtype = t), t);
        expect_layer("batch_norm1d_rows", pleat_nn_batch_norm1d(ctx, 4, .dtype = t), t);
        expect_layer("instance_norm", pleat_nn_instance_norm(ctx, 4, .dtype = t), t);
        expect_layer("instance_norm_affine", pleat_nn_instance_norm(ctx, 4, .affine = true, .dtype = t), t);
        expect_layer("instance_norm1d", pleat_nn_instance_norm(ctx, 4, .affine = true, .dtype = t), t);
        expect_layer("reflection_pad2d", pleat_nn_reflection_pad2d(ctx, .pads = {2, 1, 0, 2}), t);
        expect_layer("replication_pad2d", pleat_nn_replication_pad2d(ctx, .pads = {4, 0, 1, 3}), t);
        expect_layer("batch_norm2d", pleat_nn_batch_norm2d(ctx, 4, .dtype = t), t);
        expect_layer("batch_norm2d_plain", pleat_nn_batch_norm2d(ctx, 4, .no_affine = true, .dtype = t), t);
    }
}

Test(layers, batch_norm_keeps_running_statistics) {
    for (pleat_dtype t = PLEAT_F32; t <= PLEAT_F64; t++) {
        pleat_nn_module *m = pleat_nn_batch_norm2d(ctx, 3, .momentum = 0.3, .dtype = t);
        for (size_t i = 0; i < 3; i++) {
            char name[16];
            snprintf(name, sizeof name, "steps.%zu", i);
            expect_close(pleat_nn_forward(m, array(t, name, "x", SIZE_MAX)), name, "y", SIZE_MAX);
            expect_close(pleat_nn_find_state(m, "running_mean"), name, "mean", SIZE_MAX);
            expect_close(pleat_nn_find_state(m, "running_var"), name, "var", SIZE_MAX);
        }
        pleat_nn_set_training(m, false);
        expect_close(pleat_nn_forward(m, array(t, "steps.eval", "x", SIZE_MAX)), "steps.eval", "y", SIZE_MAX);
        cr_assert_eq(pleat_item(pleat_nn_find_state(m, "num_batches_tracked")), 3);
        cr_assert_eq(pleat_item(array(t, "steps.eval", "count", SIZE_MAX)), 3);
        pleat_nn_free(m);
    }
}

/* ---- the tree ------------------------------------------------------------------------------------------------ */

static pleat_nn_module *tree(void) {
    return pleat_nn_sequential(
        ctx,
        pleat_nn_sequential(ctx, pleat_nn_conv2d(ctx, 1, 4, .kernel = {3, 3}, .no_bias = true),
                            pleat_nn_batch_norm2d(ctx, 4), pleat_nn_prelu(ctx, 4, PLEAT_F32)),
        pleat_nn_flatten(ctx), pleat_nn_dropout(ctx, 0.5), pleat_nn_linear(ctx, 16, 2),
        pleat_nn_layer_norm(ctx, PLEAT_SHAPE(2)));
}

/* What list(net.state_dict().keys()) prints for the same layers in PyTorch. */
static const char *const state_names[] = {
    "0.0.weight", "0.1.weight", "0.1.bias", "0.1.running_mean", "0.1.running_var", "0.1.num_batches_tracked",
    "0.2.weight", "3.weight",   "3.bias",   "4.weight",         "4.bias"};

Test(layers, state_dict_has_pytorchs_names) {
    pleat_nn_module *m = tree();
    size_t n = sizeof state_names / sizeof *state_names, params = 0;
    cr_assert_eq(pleat_nn_state_count(m), n);
    for (size_t i = 0; i < n; i++) {
        char name[64];
        cr_assert_str_eq(pleat_nn_state_name(m, i, name, sizeof name), state_names[i]);
        cr_assert_eq(pleat_nn_find_state(m, name), pleat_nn_state(m, i));
        bool buffer = strstr(name, "running") || strstr(name, "tracked");
        cr_assert_eq(pleat_nn_find_param(m, name), buffer ? NULL : pleat_nn_state(m, i));
        cr_assert_eq(pln_state_is_whole(m, i), strstr(name, "tracked") != NULL);
        if (!buffer) cr_assert_eq(pleat_nn_param(m, params++), pleat_nn_state(m, i));
    }
    cr_assert_eq(pleat_nn_param_count(m), params);
    cr_assert_eq(pleat_nn_param_numel(m), 36 + 8 + 4 + 34 + 4);
    cr_assert_null(pleat_nn_state(m, n));
    cr_assert_null(pleat_nn_find_state(m, "0.1.running"));
    pleat_nn_free(m);
}

Test(layers, modes_reach_the_leaves) {
    pleat_nn_module *m = tree(), *drop = pleat_nn_child(m, 2);
    pleat_tensor *x = pleat_full(ctx, PLEAT_F32, PLEAT_SHAPE(40), 1);
    cr_assert(pleat_nn_is_training(m) && pleat_nn_is_training(drop));
    cr_assert(!same(pleat_nn_forward(drop, x), x));
    pleat_nn_set_training(m, false);
    cr_assert_not(pleat_nn_is_training(drop));
    EXPECT_SAME(pleat_nn_forward(drop, x), x);
    pleat_nn_set_training(m, true);
    cr_assert(pleat_nn_is_training(drop));
    pleat_nn_freeze(pleat_nn_child(m, 0), true);
    for (size_t i = 0; i < 8; i++) cr_assert_eq(pln_param_frozen(m, i), i < 4, "parameter %zu", i);
    cr_assert(!pleat_nn_is_frozen(m) && pleat_nn_is_frozen(pleat_nn_child(pleat_nn_child(m, 0), 1)));
    pleat_nn_free(m);
}

Test(layers, summary_is_a_table) {
    pleat_nn_module *m = tree();
    char *text = NULL;
    size_t bytes;
    FILE *f = open_memstream(&text, &bytes);
    pleat_nn_set_training(pleat_nn_child(m, 2), false);
    pleat_rng before = *pleat_ctx_rng(ctx);
    EXPECT_OK(pleat_nn_summary(m, PLEAT_SHAPE(1, 1, 4, 4), f));
    fclose(f);
    cr_assert_str_eq(text,
                     "layer                                   output shape    parameters   multiply-adds\n"
                     "0.0  Conv2d(1, 4, kernel 3x3, no bias)  [1,4,2,2]               36             144\n"
                     "0.1  BatchNorm2d(4)                     [1,4,2,2]                8               0\n"
                     "0.2  PReLU(4)                           [1,4,2,2]                4               0\n"
                     "1  Flatten                              [1,16]                   0               0\n"
                     "2  Dropout(p 0.5)                       [1,16]                   0               0\n"
                     "3  Linear(16, 2)                        [1,2]                   34              32\n"
                     "4  LayerNorm(2)                         [1,2]                    4               0\n"
                     "total                                                           86             176\n",
                     "%s", text);
    free(text);
    /* nothing has changed */
    cr_assert(pleat_nn_is_training(m) && !pleat_nn_is_training(pleat_nn_child(m, 2)));
    cr_assert_eq(memcmp(&before, pleat_ctx_rng(ctx), sizeof before), 0);
    cr_assert_eq(pleat_item(pleat_nn_find_state(m, "0.1.num_batches_tracked")), 0);
    pleat_nn_layer_info rows[2];
    size_t count;
    EXPECT_OK(pleat_nn_layers(m, PLEAT_SHAPE(3, 1, 4, 4), rows, 2, &count));
    cr_assert(count == 7 && rows[0].macs == 3 * 144 && !strcmp(rows[1].name, "0.1"));
    pleat_status s = pleat_nn_layers(m, PLEAT_SHAPE(1, 2, 4, 4), rows, 2, &count);
    EXPECT_FAILED(s, PLEAT_ERR_SHAPE, "Conv2d", "x is [1,2,4,4]");
    cr_assert(pleat_nn_is_training(m));
    pleat_nn_free(m);
}

Test(layers, multiply_adds_of_a_transpose) {
    pleat_nn_module *m =
        pleat_nn_conv_transpose2d(ctx, 4, 6, .kernel = {3, 2}, .stride = {2, 2}, .groups = 2);
    pleat_nn_layer_info row;
    size_t count;
    EXPECT_OK(pleat_nn_layers(m, PLEAT_SHAPE(2, 4, 5, 7), &row, 1, &count));
    cr_assert_eq(row.macs,
                 2 * 4 * 5 * 7 * 3 * 2 * 3); /* every pixel of the map meets 3x2 weights of 6/2 channels */
    cr_assert_str_eq(row.name, "");
    pleat_nn_free(m);
}

/* ---- convolutions that take a ReLU with them ------------------------------------------------------------------ */

static pleat_nn_module *rectifying(pleat_dtype t) {
    return pleat_nn_sequential(
        ctx, pleat_nn_relu(ctx), pleat_nn_conv2d(ctx, 2, 6, .kernel = {3, 3}, .stride = {2, 2}, .dtype = t),
        pleat_nn_relu(ctx),
        pleat_nn_sequential(
            ctx, pleat_nn_conv2d(ctx, 6, 4, .kernel = {2, 2}, .groups = 2, .no_bias = true, .dtype = t),
            pleat_nn_relu(ctx), pleat_nn_relu(ctx),
            pleat_nn_conv_transpose2d(ctx, 4, 6, .kernel = {3, 3}, .stride = {2, 2},
                                      .output_padding = {1, PLEAT_NONE}, .dtype = t)),
        pleat_nn_relu(ctx), pleat_nn_conv_transpose2d(ctx, 6, 2, .kernel = {2, 2}, .pad = {1, 1}, .dtype = t),
        pleat_nn_relu(ctx), pleat_nn_conv2d(ctx, 2, 1, .kernel = {2, 2}, .dtype = t), pleat_nn_tanh(ctx));
}

/* Layer after layer, each by a call of its own. */
static pleat_tensor *one_by_one(pleat_nn_module *m, pleat_tensor *x) {
    if (!pleat_nn_child_count(m)) return pleat_nn_forward(m, x);
    for (size_t i = 0; i < pleat_nn_child_count(m); i++) x = one_by_one(pleat_nn_child(m, i), x);
    return x;
}

Test(layers, a_relu_behind_a_convolution_changes_no_bit) {
    for (pleat_dtype t = PLEAT_F32; t <= PLEAT_F64; t++) {
        pleat_nn_module *m = rectifying(t);
        size_t n = 1 + pleat_nn_param_count(m), used[3];
        pleat_tensor *xs[10] = {pleat_randn(ctx, t, PLEAT_SHAPE(3, 2, 11, 9))}, *gs[2][10], *ys[2];
        cr_assert_eq(n, 10);
        for (size_t i = 1; i < n; i++) xs[i] = pleat_nn_param(m, i - 1);
        pleat_nn_freeze(pleat_nn_child(m, 3), true);
        for (size_t mode = 0; mode < 2; mode++) {
            pleat_nn_set_training(m, mode == 0);
            used[0] = pleat_memory(ctx).in_use;
            ys[0] = pleat_nn_forward(m, xs[0]);
            used[1] = pleat_memory(ctx).in_use;
            ys[1] = one_by_one(m, xs[0]);
            used[2] = pleat_memory(ctx).in_use;
            EXPECT_SAME(ys[0], ys[1]);
            /* three maps are not there twice */
            size_t saved = (3 * 6 * 5 * 4 + 3 * 4 * 4 * 3 + 3 * 2 * 9 * 6) * (t == PLEAT_F32 ? 4 : 8);
            cr_assert_geq(used[2] - used[1], used[1] - used[0] + saved);
            for (size_t k = 0; k < 2; k++)
                EXPECT_OK(
                    pleat_grads(pleat_sum(pleat_square(ys[k])), NULL, n, xs, gs[k], PLEAT_GRADS_STRICT));
            for (size_t i = 0; i < n; i++) EXPECT_SAME(gs[0][i], gs[1][i]);
        }
        pleat_nn_free(m);
    }
}

Test(layers, an_observer_sees_convolution_and_relu) {
    static const char *const kinds[] = {
        "ReLU", "Conv2d",          "ReLU", "Conv2d", "ReLU", "ReLU", "ConvTranspose2d",
        "ReLU", "ConvTranspose2d", "ReLU", "Conv2d", "Tanh"};
    static const size_t channels[] = {2, 6, 6, 4, 4, 4, 6, 6, 2, 2, 1, 1};
    pleat_nn_module *m = rectifying(PLEAT_F32);
    pleat_nn_layer_info rows[12];
    size_t count;
    EXPECT_OK(pleat_nn_layers(m, PLEAT_SHAPE(1, 2, 11, 9), rows, 12, &count));
    cr_assert_eq(count, 12);
    for (size_t i = 0; i < 12; i++) {
        cr_assert_str_eq(rows[i].kind, kinds[i]);
        cr_assert_eq(rows[i].shape[1], channels[i]);
        cr_assert_eq(rows[i].macs > 0, strncmp(kinds[i], "Conv", 4) == 0);
    }
    cr_assert_str_eq(rows[4].name, "3.1");
    EXPECT_OK(pleat_nn_layers(pleat_nn_child(m, 3), PLEAT_SHAPE(1, 6, 5, 4), rows, 12, &count));
    cr_assert_eq(count, 4);
    cr_assert(!strcmp(rows[0].kind, "Conv2d") && !strcmp(rows[1].name, "1"));
    pleat_tensor *y = pleat_nn_forward(m, pleat_zeros(ctx, PLEAT_F32, PLEAT_SHAPE(1, 3, 11, 9)));
    EXPECT_REFUSED(y, PLEAT_ERR_SHAPE, "Conv2d", "x is [1,3,11,9]; this layer takes [N,2,H,W]");
    y = pleat_nn_forward(m, pleat_zeros(ctx, PLEAT_F64, PLEAT_SHAPE(1, 2, 11, 9)));
    EXPECT_REFUSED(y, PLEAT_ERR_DTYPE, "conv2d", "tensor 0 is f64 and tensor 1 is f32");
    pleat_nn_free(m);
}

/* ---- errors -------------------------------------------------------------------------------------------------- */

static void expect_refused(const void *m, const char *op, const char *part) {
    cr_assert_null(m, "accepted: %s", part);
    EXPECT_FAILED(pleat_error(ctx)->code, PLEAT_ERR_ARGUMENT, op, part);
}

Test(layers, constructors_refuse) {
    expect_refused(pleat_nn_dropout(ctx, 1.5), "Dropout", "from 0 to 1");
    expect_refused(pleat_nn_dropout(ctx, NAN), "Dropout", "from 0 to 1");
    expect_refused(pleat_nn_prelu(ctx, 0, PLEAT_F32), "PReLU", "at least 1");
    expect_refused(pleat_nn_batch_norm2d(ctx), "BatchNorm2d", "channels");
    expect_refused(pleat_nn_batch_norm2d(ctx, 4, .eps = -1), "BatchNorm2d", "eps");
    expect_refused(pleat_nn_batch_norm2d(ctx, 4, .momentum = 2), "BatchNorm2d", "momentum");
    expect_refused(pleat_nn_batch_norm2d(ctx, 4, 2), "BatchNorm2d", "group_norm");
    expect_refused(pleat_nn_group_norm(ctx, 4), "GroupNorm", "groups must be given");
    expect_refused(pleat_nn_group_norm(ctx, 4, 3), "GroupNorm", "divide");
    expect_refused(pleat_nn_layer_norm(ctx), "LayerNorm", "1 to 8 sizes");
    expect_refused(pleat_nn_layer_norm(ctx, PLEAT_SHAPE(2, 0)), "LayerNorm", "at least 1");
    expect_refused(pleat_nn_max_pool2d(ctx), "MaxPool2d", ".kernel = {R, S} must be given");
    expect_refused(pleat_nn_max_pool2d(ctx, {2, 2}, .pad = {2, PLEAT_NONE}), "MaxPool2d", "half the kernel");
    expect_refused(pleat_nn_max_pool2d(ctx, {2, 2}, {0, 1}), "MaxPool2d", "stride");
    expect_refused(pleat_nn_max_pool2d(ctx, {2, 2}, .exclude_pad = true), "MaxPool2d", "mean pools only");
    expect_refused(pleat_nn_avg_pool2d(ctx, {2, 2}, .dilation = {2, 1}), "AvgPool2d", "max pools only");
    expect_refused(pleat_nn_adaptive_avg_pool2d(ctx, 1, 0), "AdaptiveAvgPool2d", "at least 1");
    expect_refused(pleat_nn_upsample_nearest(ctx, 0), "UpsampleNearest", "at least 1");
}

Test(layers, forward_says_what_it_takes) {
    pleat_nn_module *m[] = {pleat_nn_batch_norm2d(ctx, 4), pleat_nn_group_norm(ctx, 4, 2),
                            pleat_nn_prelu(ctx, 4, PLEAT_F32), pleat_nn_layer_norm(ctx, PLEAT_SHAPE(4))};
    const char *says[] = {"[N,4,H,W]", "[N,4,..]", "[N,4,..]", "the last of them 4"};
    for (size_t i = 0; i < 4; i++) {
        pleat_tensor *y = pleat_nn_forward(m[i], pleat_zeros(ctx, PLEAT_F32, PLEAT_SHAPE(2, 3, 2, 2)));
        EXPECT_REFUSED(y, PLEAT_ERR_SHAPE, m[i]->kind->name, "x is [2,3,2,2]", says[i]);
    }
    pleat_tensor *one = pleat_nn_forward(m[0], pleat_zeros(ctx, PLEAT_F32, PLEAT_SHAPE(1, 4, 1, 1)));
    EXPECT_REFUSED(one, PLEAT_ERR_SHAPE, "BatchNorm2d", "has no variance");
    cr_assert_eq(pleat_item(pleat_nn_find_state(m[0], "num_batches_tracked")), 0);
    for (size_t i = 0; i < 4; i++) pleat_nn_free(m[i]);
}

Test(layers, survive_any_failing_allocation) {
    if (!mallocs_are_counted()) cr_skip_test("the sanitizer has a malloc of its own");
    pleat_nn_module *m = NULL;
    for (size_t n = 1; !m && n < 200; n++) {
        pleat_ctx *c = ctx;
        pleat_trim(c);
        mallocs_start_failing(n);
        m = tree();
        mallocs_stop();
        cr_assert(m || pleat_error(ctx)->code == PLEAT_ERR_MEMORY, "%zu: %s", n, pleat_error(ctx)->text);
        pleat_clear_error(ctx);
    }
    cr_assert(m);
    pleat_nn_free(m);
}

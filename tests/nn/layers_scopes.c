/* The scope of a forward pass: what lives on behind it, and what networks need of memory. */
#include "module.h"
#include "tensors.h"

TestSuite(scopes, .init = tensors_begin, .fini = tensors_end);

enum { LAYERS = 10, CHANNELS = 4, SIDE = 64, BATCH = 2 };

static size_t tensors(void) { return pleat_memory(ctx).tensors; }

static pleat_tensor *image(void) {
    return pleat_uniform(ctx, PLEAT_F32, PLEAT_SHAPE(BATCH, CHANNELS, SIDE, SIDE), -1, 1);
}

/* ---- what lives on ------------------------------------------------------------------------------------- */

Test(scopes, only_the_result_is_left) {
    pleat_nn_module *m = pleat_nn_sequential(
        ctx, pleat_nn_conv2d(ctx, CHANNELS, 3, .kernel = {3, 3}), pleat_nn_batch_norm2d(ctx, 3),
        pleat_nn_sequential(ctx, pleat_nn_silu(ctx), pleat_nn_flatten(ctx)));
    pleat_tensor *x = image(), *y[2];
    for (int mode = 0; mode < 2; mode++) {
        pleat_nn_set_training(m, mode == 0);
        bool recording = pleat_set_recording(ctx, false);
        size_t before = tensors();
        pleat_scope s = pleat_begin(ctx);
        y[0] = pleat_nn_forward(m, x);
        cr_expect(pleat_in_scope(s, y[0]));
        cr_expect_eq(tensors(), before + 1, "y alone");
        pleat_set_recording(ctx, recording);
        y[1] = pleat_nn_forward(m, x);
        if (mode == 1) EXPECT_SAME(y[1], y[0]);
        pleat_end(s);
        cr_expect_eq(tensors(), before);
    }
    pleat_nn_free(m);
}

/* Its input, a parameter, and a tensor that is held, as they come out of a module, belong to nobody's pass. */
static pleat_tensor *held;
static pleat_tensor *held_forward(pleat_nn_module *m, pleat_tensor *x) { return (void)m, (void)x, held; }
static pleat_tensor *param_forward(pleat_nn_module *m, pleat_tensor *x) {
    return (void)x, pleat_nn_own_param(m, 0);
}

Test(scopes, what_was_there_before_stays) {
    static const pleat_nn_kind held_kind = {.name = "Held", .forward = held_forward},
                               param_kind = {.name = "Param", .forward = param_forward};
    pleat_scope outer = pleat_begin(ctx);
    pleat_tensor *x = image();
    pleat_scope s = pleat_begin(ctx);
    held = pleat_hold(image());
    pleat_nn_module *param = pleat_nn_module_new(ctx, &param_kind, NULL, 0);
    param = pleat_nn_add_param(param, "weight", image());
    pleat_nn_module *m = pleat_nn_sequential(
        ctx, pleat_nn_dropout(ctx, 0.5), pleat_nn_sequential_of(ctx, 0, NULL), param, pleat_nn_relu(ctx),
        pleat_nn_module_new(ctx, &held_kind, NULL, 0), pleat_nn_dropout(ctx, 0.5));
    pleat_nn_set_training(m, false);
    cr_expect_eq(pleat_nn_forward(m, x), held);
    cr_expect_eq(pleat_nn_forward(pleat_nn_child(m, 0), x), x);
    cr_expect_eq(pleat_nn_forward(pleat_nn_child(m, 1), x), x);
    pleat_end(s);
    cr_expect(pleat_in_scope(outer, x), "it has not moved");
    cr_expect_eq(tensors(), 3, "x, the parameter and the held one");
    pleat_drop(held);
    pleat_nn_free(m);
    pleat_end(outer);
}

/* A scope that a forward function forgets to end is ended; its result comes out. */
static pleat_tensor *open_forward(pleat_nn_module *m, pleat_tensor *x) {
    pleat_begin(pleat_nn_ctx(m));
    pleat_begin(pleat_nn_ctx(m));
    return pleat_neg(pleat_neg(x));
}

Test(scopes, a_scope_left_open) {
    static const pleat_nn_kind kind = {.name = "Open", .forward = open_forward};
    pleat_nn_module *m = pleat_nn_module_new(ctx, &kind, NULL, 0);
    pleat_tensor *x = image();
    pleat_scope s = pleat_begin(ctx);
    EXPECT_SAME(pleat_nn_forward(m, x), x);
    pleat_tensor *later = pleat_neg(x);
    cr_expect(pleat_in_scope(s, later));
    pleat_end(s);
    cr_expect_eq(tensors(), 1);
    pleat_nn_free(m);
}

/* A module that remembers what it has seen. */
static pleat_tensor *seen[2];
static pleat_tensor *watch_forward(pleat_nn_module *m, pleat_tensor *x) {
    seen[0] = pleat_hold(pleat_detach(x)), seen[1] = pleat_square(x);
    return (void)m, pleat_sum(seen[1]);
}

Test(scopes, what_is_held_lives_on) {
    static const pleat_nn_kind kind = {.name = "Watch", .forward = watch_forward};
    pleat_ctx_free(ctx);
    ctx = pleat_ctx_new(.debug = true);
    pleat_nn_module *m =
        pleat_nn_sequential(ctx, pleat_nn_tanh(ctx), pleat_nn_module_new(ctx, &kind, NULL, 0));
    pleat_set_recording(ctx, false);
    pleat_tensor *x = image();
    pleat_tensor *y = pleat_nn_forward(m, x);
    EXPECT_SAME(y, pleat_sum(pleat_square(seen[0])));
    EXPECT_REFUSED(pleat_exp(seen[1]), PLEAT_ERR_ARGUMENT, "exp", "made by square", "its scope has ended");
    EXPECT_SAME(seen[0], pleat_tanh(x));
    pleat_drop(seen[0]);
    pleat_nn_free(m);
}

/* ---- memory --------------------------------------------------------------------------------------------- */

static pleat_nn_module *deep(void) {
    pleat_nn_module *child[2 * LAYERS];
    for (size_t i = 0; i < LAYERS; i++) {
        child[2 * i] = pleat_nn_conv2d(ctx, CHANNELS, CHANNELS, .kernel = {1, 1});
        child[2 * i + 1] = pleat_nn_sequential(ctx, pleat_nn_tanh(ctx));
    }
    return pleat_nn_sequential_of(ctx, 2 * LAYERS, child);
}

/* The peak so far beyond `before` bytes, in maps. */
static double peak_in_maps(size_t before) {
    size_t map = sizeof(float) * BATCH * CHANNELS * SIDE * SIDE;
    return ((double)pleat_memory(ctx).peak - (double)before) / (double)map;
}

Test(scopes, the_peak_of_a_network) {
    pleat_set_threads(ctx, 1); /* workspaces are for each thread */
    pleat_nn_module *net = deep();
    pleat_nn_optimizer *opt = pleat_nn_adam(net);
    pleat_tensor *x = image();
    size_t before = pleat_memory(ctx).in_use;
    for (int i = 0; i < 3; i++) {
        pleat_set_recording(ctx, false);
        pleat_scope s = pleat_begin(ctx);
        pleat_nn_forward(net, x);
        pleat_end(s);
        pleat_set_recording(ctx, true);
    }
    double peak = peak_in_maps(before);
    cr_expect(peak > 2 && peak < 4, "inference needs two maps, and not %g", peak);
    for (int i = 0; i < 3; i++) {
        pleat_scope s = pleat_begin(ctx);
        pleat_tensor *y = pleat_nn_forward(net, x);
        EXPECT_OK(pleat_nn_step(opt, pleat_mean(y)));
        size_t left = pleat_memory(ctx).in_use - before;
        cr_expect_lt(left, 3 * pleat_numel(y) * sizeof(float) / 2, "a step leaves one map, and not %zu bytes",
                     left);
        pleat_end(s);
        cr_expect_eq(pleat_memory(ctx).in_use, before);
    }
    peak = peak_in_maps(before);
    cr_expect(peak > 2 * LAYERS && peak < 2 * LAYERS + 4, "training needs 20 maps and a few, and not %g",
              peak);
    pleat_nn_optimizer_free(opt);
    pleat_nn_free(net);
}

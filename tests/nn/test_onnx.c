/* ONNX models as modules: values, state, training, several inputs. What ONNX and PyTorch themselves compute is compared by
 * onnx-nodes and onnx-models (tests/outer); what is refused is in onnx_refusals.c. */
#define _POSIX_C_SOURCE 200809L

#include <math.h>

#include "mallocs.h"
#include "onnx_file.h"
#include "pleat_config.h"
#include "scratch.h"

TestSuite(onnx, .init = scratch_begin, .fini = scratch_end);

static pleat_nn_module *load(const message *m) {
    put_file(in_scratch("m.onnx"), m->at, m->n);
    pleat_nn_module *net = pleat_nn_onnx_load(ctx, in_scratch("m.onnx"));
    cr_assert(net, "%s", pleat_error(ctx)->text);
    return net;
}

static pleat_nn_module *load_small(void) {
    message m = small_model();
    return load(&m);
}

static double distance(const pleat_tensor *a, const pleat_tensor *b) {
    static double x[4096], y[4096];
    cr_assert(pleat_numel(a) == pleat_numel(b) && pleat_numel(a) <= 4096, "%s", pleat_error(ctx)->text);
    pleat_read_f64(a, x), pleat_read_f64(b, y);
    double worst = 0;
    for (size_t i = 0; i < pleat_numel(a); i++) worst = fmax(worst, fabs(x[i] - y[i]));
    return worst;
}

/* The small model in ops. */
static pleat_tensor *small_by_ops(pleat_nn_module *m, pleat_tensor *x) {
    pleat_tensor *h = pleat_relu(pleat_conv2d(x, pleat_nn_find_param(m, "a.weight"),
                                              .bias = pleat_nn_find_param(m, "a.bias"), .pad = {1, 1}));
    h = pleat_reshape(h, PLEAT_SHAPE(pleat_size(x, 0), 32));
    return pleat_add(pleat_matmul(h, pleat_nn_find_param(m, "b.weight"), .tb = true),
                     pleat_nn_find_param(m, "b.bias"));
}

Test(onnx, a_model_is_a_module) {
    pleat_nn_module *m = load_small();
    char name[100];
    cr_expect_eq(pleat_nn_param_count(m), 4);
    cr_expect_eq(pleat_nn_param_numel(m), 18 + 2 + 96 + 3);
    cr_expect_str_eq(pleat_nn_param_name(m, 2, name, sizeof name), "b.weight");
    cr_expect(!pleat_nn_is_training(m));
    cr_expect_str_eq(pleat_nn_onnx_input(m, 0), "x");
    cr_expect_str_eq(pleat_nn_onnx_output(m, 0), "y");
    cr_expect_null(pleat_nn_onnx_input(m, 1));
    pleat_tensor *x = pleat_randn(ctx, PLEAT_F32, PLEAT_SHAPE(5, 1, 4, 4));
    cr_expect_eq(distance(pleat_nn_forward(m, x), small_by_ops(m, x)), 0);
    pleat_nn_layer_info rows[8];
    size_t count;
    cr_assert(!pleat_nn_layers(m, PLEAT_SHAPE(2, 1, 4, 4), rows, 8, &count));
    cr_assert_eq(count, 4);
    cr_expect_str_eq(rows[0].kind, "Conv");
    cr_expect(rows[0].params == 20 && rows[0].macs == 2 * 2 * 16 * 9 && rows[3].macs == 2 * 3 * 32);
    pleat_nn_free(m);
}

Test(onnx, nothing_is_left_in_memory) {
    size_t tensors = pleat_memory(ctx).tensors, in_use = pleat_memory(ctx).in_use;
    pleat_nn_module *m = load_small();
    pleat_scope s = pleat_begin(ctx);
    pleat_nn_forward(m, pleat_zeros(ctx, PLEAT_F32, PLEAT_SHAPE(1, 1, 4, 4)));
    pleat_end(s);
    pleat_nn_free(m);
    cr_expect_eq(pleat_memory(ctx).tensors, tensors);
    cr_expect_eq(pleat_memory(ctx).in_use, in_use);
}

Test(onnx, a_step_trains_and_a_frozen_module_stays) {
    pleat_nn_module *m = load_small();
    pleat_nn_optimizer *o = pleat_nn_sgd(m, .lr = 0.1);
    pleat_tensor *w = pleat_nn_find_param(m, "b.weight"), *before = pleat_contiguous(pleat_scale(w, 1));
    for (int frozen = 1; frozen >= 0; frozen--) {
        pleat_nn_freeze(m, frozen);
        pleat_tensor *loss = pleat_mean(
            pleat_square(pleat_nn_forward(m, pleat_full(ctx, PLEAT_F32, PLEAT_SHAPE(2, 1, 4, 4), 1))));
        cr_assert(!pleat_nn_step(o, loss), "%s", pleat_error(ctx)->text);
        cr_expect_eq(distance(w, before) == 0, frozen);
    }
    pleat_nn_optimizer_free(o);
    pleat_nn_free(m);
}

#ifdef PL_HAVE_CJSON
Test(onnx, the_state_is_saved_and_loaded) {
    pleat_nn_module *a = load_small(), *b = load_small();
    pleat_nn_init_uniform(pleat_nn_find_param(a, "b.weight"), -1, 1);
    cr_expect(distance(pleat_nn_find_param(a, "b.weight"), pleat_nn_find_param(b, "b.weight")) > 0);
    cr_assert(!pleat_nn_save(in_scratch("s.safetensors"), a));
    cr_assert(!pleat_nn_load(in_scratch("s.safetensors"), b));
    cr_expect_eq(distance(pleat_nn_find_param(a, "b.weight"), pleat_nn_find_param(b, "b.weight")), 0);
    pleat_nn_free(a), pleat_nn_free(b);
}
#endif

/* The network of torch_onnx.py --small. */
static pleat_nn_module *network(void) {
    return pleat_nn_sequential(ctx, pleat_nn_conv2d(ctx, 1, 4, .kernel = {3, 3}, .pad = {1, 1}),
                               pleat_nn_batch_norm2d(ctx, 4), pleat_nn_relu(ctx),
                               pleat_nn_max_pool2d(ctx, .kernel = {2, 2}), pleat_nn_flatten(ctx),
                               pleat_nn_dropout(ctx, 0), pleat_nn_linear(ctx, 64, 3));
}

Test(onnx, an_imported_network_trains_as_the_same_in_modules) {
    pleat_nn_module *net[2] = {pleat_nn_onnx_load(ctx, PLEAT_ORACLE_DIR "/onnx_small.onnx"), network()};
    cr_assert(net[0], "%s", pleat_error(ctx)->text);
    char name[100];
    cr_assert_eq(pleat_nn_param_count(net[0]), pleat_nn_param_count(net[1]));
    for (size_t i = 0; i < pleat_nn_state_count(net[0]); i++) {
        pleat_nn_state_name(net[0], i, name, sizeof name);
        cr_assert(pleat_nn_find_state(net[1], name), "%s", name);
        pleat_assign(pleat_nn_find_state(net[1], name), pleat_nn_state(net[0], i));
    }
    pleat_nn_optimizer *adam[2] = {pleat_nn_adam(net[0], .lr = 1e-2), pleat_nn_adam(net[1], .lr = 1e-2)};
    double first = 0, last = 0;
    for (int step = 0; step < 80; step++) {
        pleat_scope s = pleat_begin(ctx);
        pleat_tensor *x = pleat_randn(ctx, PLEAT_F32, PLEAT_SHAPE(8, 1, 8, 8));
        pleat_tensor *target = pleat_tanh(pleat_reshape(
            pleat_slice(x, (size_t[]){0, 0, 3, 3}, (size_t[]){8, 1, 1, 3}, NULL), PLEAT_SHAPE(8, 3)));
        double loss[2];
        for (size_t k = 0; k < 2; k++) {
            pleat_nn_set_training(net[k], true);
            pleat_tensor *l = pleat_nn_mse_loss(pleat_nn_forward(net[k], x), target);
            loss[k] = pleat_item(l);
            cr_assert(!pleat_nn_step(adam[k], l), "%s", pleat_error(ctx)->text);
        }
        cr_assert(fabs(loss[0] - loss[1]) <= 1e-4 * loss[1], "step %d: %g and %g", step, loss[0], loss[1]);
        first = step ? first : loss[0], last = loss[0];
        pleat_end(s);
    }
    cr_expect(last < 0.7 * first, "%g, then %g", first, last);
    for (size_t i = 0; i < pleat_nn_state_count(net[0]); i++) {
        pleat_nn_state_name(net[0], i, name, sizeof name);
        cr_expect(distance(pleat_nn_state(net[0], i), pleat_nn_find_state(net[1], name)) <= 1e-3, "%s", name);
    }
    for (size_t k = 0; k < 2; k++) pleat_nn_optimizer_free(adam[k]), pleat_nn_free(net[k]);
}

/* A step that has been warmed up asks for no memory. */
Test(onnx, a_step_allocates_nothing) {
    if (!mallocs_are_counted()) scratch_skip("the C library's malloc cannot be replaced here");
    pleat_nn_module *net = pleat_nn_onnx_load(ctx, PLEAT_ORACLE_DIR "/onnx_small.onnx");
    pleat_nn_optimizer *adam = pleat_nn_adam(net, .lr = 1e-3);
    pleat_nn_set_training(net, true);
    for (int step = 0; step < 4; step++) {
        if (step == 3) mallocs_start();
        pleat_scope s = pleat_begin(ctx);
        pleat_tensor *x = pleat_randn(ctx, PLEAT_F32, PLEAT_SHAPE(4, 1, 8, 8));
        pleat_nn_step(adam, pleat_mean(pleat_square(pleat_nn_forward(net, x))));
        pleat_end(s);
    }
    size_t mallocs = mallocs_stop();
    cr_expect_eq(mallocs, 0, "%zu calls: %s", mallocs, pleat_error(ctx)->text);
    pleat_nn_optimizer_free(adam);
    pleat_nn_free(net);
}

/* y = x[i], of floats x [3,2] and whole numbers i [N]; and how many there are. */
static message gathering(void) {
    message g = {.n = 0}, m = node_of("Gather", "x i", "y");
    add_message(&g, 1, &m);
    m = node_of("Shape", "i", "n"), add_message(&g, 1, &m);
    m = value_of("x", 11, 2, (const int64_t[]){3, 2}), add_message(&g, 11, &m);
    m = value_of("i", 7, 1, (const int64_t[]){-1}), add_message(&g, 11, &m);
    m = value_of("y", 11, 2, (const int64_t[]){-1, 2}), add_message(&g, 12, &m);
    m = value_of("n", 7, 1, (const int64_t[]){1}), add_message(&g, 12, &m);
    return model_of(&g, 11);
}

Test(onnx, several_inputs_and_outputs_and_whole_numbers) {
    message m = gathering();
    pleat_nn_module *net = load(&m);
    pleat_tensor *x = pleat_from_f64(ctx, PLEAT_F64, PLEAT_SHAPE(3, 2), (double[]){1, 2, 3, 4, 5, 6}), *y[2];
    pleat_tensor *i = pleat_from_f64(ctx, PLEAT_F32, PLEAT_SHAPE(3), (double[]){2, -3, 1});
    cr_assert(!pleat_nn_onnx_run(net, 2, (pleat_tensor *[]){x, i}, 2, y), "%s", pleat_error(ctx)->text);
    cr_expect_eq(
        distance(y[0], pleat_from_f64(ctx, PLEAT_F64, PLEAT_SHAPE(3, 2), (double[]){5, 6, 1, 2, 3, 4})), 0);
    cr_expect(pleat_dtype_of(y[1]) == PLEAT_F64 && pleat_item(y[1]) == 3);
    cr_expect(pleat_is_poison(pleat_nn_forward(net, x)));
    expect_error(PLEAT_ERR_ARGUMENT, PLEAT_ERR_ARGUMENT,
                 "2 inputs and 2 outputs; pleat_nn_onnx_run takes them");
    expect_error(pleat_nn_onnx_run(net, 1, &x, 2, y), PLEAT_ERR_ARGUMENT,
                 "1 inputs and 2 outputs are given; the model has 2 and 2");
    cr_expect(pleat_is_poison(y[0]));
    pleat_tensor *far = pleat_from_f64(ctx, PLEAT_F32, PLEAT_SHAPE(1), (double[]){3}),
                 *half = pleat_from_f64(ctx, PLEAT_F32, PLEAT_SHAPE(1), (double[]){0.5});
    expect_error(pleat_nn_onnx_run(net, 2, (pleat_tensor *[]){x, far}, 2, y), PLEAT_ERR_ARGUMENT,
                 "node 0 Gather 'y': index 0 is 3; it must be from -3 to 2");
    expect_error(pleat_nn_onnx_run(net, 2, (pleat_tensor *[]){x, half}, 2, y), PLEAT_ERR_ARGUMENT,
                 "node 0 Gather 'y': index 0 is 0");
    pleat_tensor *wrong = pleat_zeros(ctx, PLEAT_F64, PLEAT_SHAPE(4, 2)),
                 *single = pleat_zeros(ctx, PLEAT_F32, PLEAT_SHAPE(3, 2));
    expect_error(pleat_nn_onnx_run(net, 2, (pleat_tensor *[]){wrong, i}, 2, y), PLEAT_ERR_SHAPE,
                 "input 'x' is [4,2]; the model was exported for [3,2]");
    expect_error(pleat_nn_onnx_run(net, 2, (pleat_tensor *[]){single, i}, 2, y), PLEAT_ERR_DTYPE,
                 "input 'x' is f32; the model takes double");
    pleat_nn_free(net);
}

/* An error within a tree of modules names the model, the node and the op. */
Test(onnx, an_error_of_the_forward_pass_names_the_node) {
    message g = {.n = 0}, m = node_of("Add", "x x2", "y");
    add_message(&g, 1, &m);
    m = tensor_of("x2", 1, 1, (const int64_t[]){3}, (float[]){1, 2, 3}, 12), add_message(&g, 5, &m);
    m = value_of("x", 1, 1, (const int64_t[]){-1}), add_message(&g, 11, &m);
    m = value_of("y", 1, 1, (const int64_t[]){-1}), add_message(&g, 12, &m);
    message model = model_of(&g, 13);
    pleat_nn_module *net = pleat_nn_sequential(ctx, pleat_nn_relu(ctx), load(&model));
    cr_expect(pleat_is_poison(pleat_nn_forward(net, pleat_zeros(ctx, PLEAT_F32, PLEAT_SHAPE(2)))));
    expect_error(PLEAT_ERR_SHAPE, PLEAT_ERR_SHAPE, "1: Onnx: node 0 Add 'y': add: [2] and [3]");
    pleat_nn_free(net);
}

/* Names that cannot be names of a state dict. */
Test(onnx, names_that_are_none_are_replaced) {
    message g = {.n = 0}, m;
    const char *const names[] = {"a..b", "a", "a.b", "0123456789012345678901234567890123456789", "x y"};
    for (size_t i = 0; i < 5; i++) {
        char out[8] = {'y', (char)('0' + i), 0};
        message node = {.n = 0};
        add_text(&node, 1, names[i]), add_text(&node, 1, i ? (char[]){'y', (char)('0' + i - 1), 0} : "x");
        add_text(&node, 2, out), add_text(&node, 4, "Add");
        add_message(&g, 1, &node);
        m = tensor_of(names[i], 1, 0, NULL, (float[]){1}, 4), add_message(&g, 5, &m);
    }
    m = value_of("x", 1, 0, NULL), add_message(&g, 11, &m);
    m = value_of("y4", 1, 0, NULL), add_message(&g, 12, &m);
    message model = model_of(&g, 13);
    pleat_nn_module *net = load(&model);
    char name[100];
    cr_assert_eq(pleat_nn_param_count(net), 5);
    static const char *const right[] = {"tensor_0", "a", "tensor_2", "tensor_3", "tensor_4"};
    for (size_t i = 0; i < 5; i++) cr_expect_str_eq(pleat_nn_param_name(net, i, name, sizeof name), right[i]);
    cr_expect_eq(pleat_item(pleat_nn_forward(net, pleat_zeros(ctx, PLEAT_F32, PLEAT_SCALAR))), 5);
    pleat_nn_free(net);
}

/* 16-bit floats, and the fields for types. */
Test(onnx, floats_of_sixteen_bits_are_read_as_f32) {
    static const uint16_t half[] = {0x3c00, 0xc000, 0x0001, 0x7bff, 0x7c00, 0x8000},
                          brain[] = {0x3f80, 0xc000, 0x0001, 0x7f7f, 0x7f80, 0x8000};
    static const double right[2][6] = {{1, -2, 0x1p-24, 65504, INFINITY, -0.0},
                                       {1, -2, 0x1p-133, 0x1.fep127, INFINITY, -0.0}};
    for (int k = 0; k < 2; k++) {
        message g = {.n = 0}, m = tensor_of("w", k ? 16 : 10, 1, (const int64_t[]){6}, k ? brain : half, 12);
        add_message(&g, 5, &m);
        m = node_of("Add", "x w", "y"), add_message(&g, 1, &m);
        m = value_of("x", k ? 16 : 10, 1, (const int64_t[]){6}), add_message(&g, 11, &m);
        m = value_of("y", k ? 16 : 10, 1, (const int64_t[]){6}), add_message(&g, 12, &m);
        message model = model_of(&g, 13);
        pleat_nn_module *net = load(&model);
        double found[6];
        pleat_read_f64(pleat_nn_find_param(net, "w"), found);
        for (size_t i = 0; i < 6; i++)
            cr_expect(found[i] == right[k][i] && signbit(found[i]) == signbit(right[k][i]), "%zu: %a", i,
                      found[i]);
        pleat_nn_free(net);
    }
}

/* A tensor in an attribute of a node that is folded, and of one behind it that is not. */
Test(onnx, folded_constants_leave_nothing_behind) {
    message g = {.n = 0}, m, t;
    const float numbers[2] = {1, 2};
    size_t tensors = pleat_memory(ctx).tensors;
    for (int i = 0; i < 2; i++) {
        message a = {.n = 0};
        t = tensor_of("", 1, 1, (const int64_t[]){2}, numbers, sizeof numbers);
        add_text(&a, 1, "value"), add_number(&a, 20, 4), add_message(&a, 5, &t);
        m = node_of("Constant", "", i ? "d" : "c"), add_message(&m, 5, &a), add_message(&g, 1, &m);
    }
    m = node_of("Mul", "x c", "h"), add_message(&g, 1, &m);
    m = node_of("Add", "h d", "y"), add_message(&g, 1, &m);
    m = value_of("x", 1, 1, (const int64_t[]){2}), add_message(&g, 11, &m);
    m = value_of("y", 1, 0, NULL), add_message(&g, 12, &m);
    message model = model_of(&g, 13);
    pleat_nn_free(load(&model));
    cr_expect_eq(pleat_memory(ctx).tensors, tensors);
}

/* ---- writing --------------------------------------------------------------------------------------------------------- */

static void expect_written(pleat_nn_module *net, size_t rank, const size_t *shape, double tolerance) {
    cr_assert(net, "%s", pleat_error(ctx)->text);
    char name[100];
    pleat_nn_set_training(net, true); /* statistics that are not 0 and 1 */
    pleat_dtype dtype = pleat_dtype_of(pleat_nn_param(net, 0));
    for (int i = 0; i < 3; i++) pleat_nn_forward(net, pleat_randn(ctx, dtype, rank, shape));
    pleat_nn_set_training(net, false);
    cr_assert(!pleat_nn_onnx_save(in_scratch("w.onnx"), net, rank, shape), "%s", pleat_error(ctx)->text);
    pleat_nn_module *read = pleat_nn_onnx_load(ctx, in_scratch("w.onnx"));
    cr_assert(read, "%s", pleat_error(ctx)->text);
    size_t other[PLEAT_MAX_RANK];
    memcpy(other, shape, rank * sizeof *other), other[0] += 2;
    pleat_tensor *x = pleat_randn(ctx, dtype, rank, other);
    double d = distance(pleat_nn_forward(read, x), pleat_nn_forward(net, x));
    cr_expect(d <= tolerance, "%g", d);
    cr_expect_eq(pleat_nn_param_count(read), pleat_nn_param_count(net));
    for (size_t i = 0; i < pleat_nn_param_count(net); i++)
        cr_expect(pleat_nn_find_param(read, pleat_nn_param_name(net, i, name, sizeof name)), "%s", name);
    pleat_nn_free(net), pleat_nn_free(read);
}

Test(onnx, written_networks_are_read_as_the_same) {
    expect_written(network(), PLEAT_SHAPE(2, 1, 8, 8), 1e-6);
    expect_written(
        pleat_nn_sequential(
            ctx, pleat_nn_conv2d(ctx, 2, 4, .kernel = {3, 2}, .stride = {2, 1}, .pad = {1, 1}, .groups = 2),
            pleat_nn_gelu(ctx),
            pleat_nn_sequential(ctx, pleat_nn_group_norm(ctx, 4, .groups = 2), pleat_nn_silu(ctx),
                                pleat_nn_prelu(ctx, 4, PLEAT_F32)),
            pleat_nn_conv_transpose2d(ctx, 4, 4, .kernel = {3, 3}, .stride = {2, 2}, .pad = {1, 1},
                                      .output_padding = {1, 1}),
            pleat_nn_instance_norm(ctx, 4, .affine = true), pleat_nn_leaky_relu(ctx, 0.2),
            pleat_nn_avg_pool2d(ctx, .kernel = {2, 2}, .pad = {1, 1}, .exclude_pad = true),
            pleat_nn_upsample_bilinear(ctx, 2), pleat_nn_reflection_pad2d(ctx, .pads = {1, 0, 2, 1}),
            pleat_nn_pixel_shuffle(ctx, 2)),
        PLEAT_SHAPE(2, 2, 6, 6), 1e-5);
    expect_written(pleat_nn_sequential(
                       ctx, pleat_nn_conv1d(ctx, 2, 6, .kernel = 3, .pad = 1), pleat_nn_batch_norm1d(ctx, 6),
                       pleat_nn_relu6(ctx), pleat_nn_max_pool1d(ctx, .kernel = 2), pleat_nn_linear(ctx, 5, 4),
                       pleat_nn_layer_norm(ctx, PLEAT_SHAPE(6, 4)), pleat_nn_elu(ctx, 0.7),
                       pleat_nn_flatten(ctx), pleat_nn_linear(ctx, 24, 6), pleat_nn_softplus(ctx),
                       pleat_nn_unflatten(ctx, PLEAT_SHAPE(3, 2)), pleat_nn_log_softmax(ctx, 1)),
                   PLEAT_SHAPE(2, 2, 10), 1e-5);
    expect_written(pleat_nn_sequential(ctx, pleat_nn_conv2d(ctx, 1, 3, .kernel = {3, 3}, .dtype = PLEAT_F64),
                                       pleat_nn_tanh(ctx), pleat_nn_upsample_nearest(ctx, 2),
                                       pleat_nn_replication_pad2d(ctx, .pad = {1, 2}),
                                       pleat_nn_adaptive_avg_pool2d(ctx, 2, 4),
                                       pleat_nn_adaptive_avg_pool2d(ctx, 1, 1), pleat_nn_sigmoid(ctx),
                                       pleat_nn_flatten(ctx), pleat_nn_softmax(ctx, 1)),
                   PLEAT_SHAPE(1, 1, 6, 8), 1e-14);
}

/* Modules of one's own: skips that are added and put side by side, what ops of nn's layers do not do. */
static pleat_tensor *skips(pleat_nn_module *m, pleat_tensor *x) {
    pleat_tensor *a = pleat_nn_forward(pleat_nn_child(m, 0), x),
                 *b = pleat_nn_forward(pleat_nn_child(m, 1), a);
    pleat_tensor *c =
        pleat_concat(2, (pleat_tensor *[]){pleat_add_relu(a, b), pleat_square(pleat_detach(x))}, 1);
    return pleat_sub(pleat_clamp(pleat_scale(c, 0.5), -1, 2), pleat_mean(c, PLEAT_AXES(2, 3), .keep = true));
}

static pleat_nn_module *with_skips(void) {
    static const pleat_nn_kind kind = {.name = "Skips", .forward = skips};
    pleat_nn_module *m = pleat_nn_module_new(ctx, &kind, NULL, 0);
    pleat_nn_add_child(m, "first",
                       pleat_nn_sequential(ctx, pleat_nn_conv2d(ctx, 3, 4, .kernel = {3, 3}, .pad = {1, 1}),
                                           pleat_nn_batch_norm2d(ctx, 4), pleat_nn_relu(ctx)));
    return pleat_nn_add_child(m, "second",
                              pleat_nn_sequential(ctx, pleat_nn_batch_norm2d(ctx, 4), pleat_nn_sigmoid(ctx)));
}

Test(onnx, written_modules_of_ones_own_are_read_as_the_same) {
    expect_written(with_skips(), PLEAT_SHAPE(2, 3, 6, 5), 1e-6);
}

/* What has one operator in ONNX comes back with its bits. */
Test(onnx, written_networks_come_back_with_their_bits) {
    pleat_nn_module *nets[] = {network(), with_skips()};
    for (size_t i = 0; i < 2; i++)
        expect_written(nets[i], 4, i ? (size_t[]){2, 3, 6, 5} : (size_t[]){2, 1, 8, 8}, 0);
}

/* Maps of a size of their own: of 5 rows a stride of 2 gives 2, and 1 is asked for. */
static pleat_tensor *cropped(pleat_nn_module *m, pleat_tensor *x) {
    return pleat_conv2d(x, pleat_nn_param(m, 0), .stride = {2, 2}, .size = {1, 1});
}

Test(onnx, a_map_of_another_size_is_refused) {
    static const pleat_nn_kind kind = {.name = "Cropped", .forward = cropped};
    pleat_nn_module *net = pleat_nn_module_new(ctx, &kind, NULL, 0);
    pleat_nn_add_param(net, "weight", pleat_full(ctx, PLEAT_F32, PLEAT_SHAPE(1, 1, 2, 2), 1));
    pleat_nn_set_training(net, false);
    expect_error(pleat_nn_onnx_save(in_scratch("w.onnx"), net, PLEAT_SHAPE(1, 1, 5, 5)), PLEAT_ERR_ARGUMENT,
                 "a map that is smaller than its image gives");
    pleat_nn_free(net);
}

static pleat_tensor *turned(pleat_nn_module *m, pleat_tensor *x) {
    return (void)m, pleat_flip(x, PLEAT_AXES(1));
}

Test(onnx, what_cannot_be_written_is_named) {
    static const pleat_nn_kind own = {.name = "ReLU", .forward = turned};
    pleat_nn_module *net =
        pleat_nn_sequential(ctx, pleat_nn_relu(ctx), pleat_nn_module_new(ctx, &own, NULL, 0));
    expect_error(pleat_nn_onnx_save(in_scratch("w.onnx"), net, PLEAT_SHAPE(1, 2)), PLEAT_ERR_ARGUMENT,
                 "is in training mode");
    pleat_nn_set_training(net, false);
    expect_error(pleat_nn_onnx_save(in_scratch("w.onnx"), net, PLEAT_SHAPE(1, 2)), PLEAT_ERR_ARGUMENT,
                 "w.onnx: 1: ReLU: flip([1,2]; axes 1): the op has no form in ONNX here");
    pleat_nn_free(net);
    net = pleat_nn_conv2d(ctx, 1, 1, .kernel = {3, 3}, .pad = {-1, PLEAT_NONE});
    pleat_nn_set_training(net, false);
    expect_error(pleat_nn_onnx_save(in_scratch("w.onnx"), net, PLEAT_SHAPE(1, 1, 9, 9)), PLEAT_ERR_ARGUMENT,
                 "pads [-1,0,-1,0]): a negative pad has no form in ONNX here");
    expect_error(pleat_nn_onnx_save(in_scratch("w.onnx"), net, PLEAT_SHAPE(1, 2, 9, 9)), PLEAT_ERR_SHAPE,
                 "Conv2d: x is [1,2,9,9]");
    expect_error(pleat_nn_onnx_save(in_scratch("no/w.onnx"), net, PLEAT_SCALAR), PLEAT_ERR_ARGUMENT,
                 "path and shape must be given");
    pleat_nn_free(net);
}

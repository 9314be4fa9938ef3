/* Networks: modules and layers, initialisers, losses and optimizers, against formulas, rules and PyTorch. */
#include <criterion/criterion.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "module.h"
#include "oracle.h"
#include "pleat_nn.h"

static pleat_ctx *ctx;

static void start(void) { ctx = pleat_ctx_new(.seed = 3, .threads = 2); }

static void stop(void) { pleat_ctx_free(ctx); }

TestSuite(nn, .init = start, .fini = stop);

static void fill(pleat_tensor *t, double value) {
    pleat_scope s = pleat_begin(ctx);
    pleat_assign(t, pleat_full_like(t, value));
    pleat_end(s);
}

static void expect_values(pleat_tensor *t, size_t n, const double *expected) {
    double found[64];
    cr_assert(n <= 64 && pleat_numel(t) == n, "%zu elements instead of %zu: %s", pleat_numel(t), n,
              pleat_error(ctx)->text);
    pleat_read_f64(t, found);
    for (size_t i = 0; i < n; i++)
        cr_assert(fabs(found[i] - expected[i]) <= 1e-6, "element %zu: %g instead of %g", i, found[i],
                  expected[i]);
}
#define EXPECT_VALUES(t, ...) \
    expect_values((t), sizeof((double[]){__VA_ARGS__}) / sizeof(double), (double[]){__VA_ARGS__})

static void expect_shape(pleat_tensor *t, const char *expected) {
    char text[96];
    cr_assert_str_eq(pleat_shape_text(t, text, sizeof text), expected, "%s", pleat_error(ctx)->text);
}

/* The context's error has this code and says this, in one line; clears it. */
static void expect_error(pleat_status code, const char *part) {
    const pleat_error_info *e = pleat_error(ctx);
    cr_assert_eq(e->code, code, "status %d instead of %d: %s", e->code, code, e->text);
    cr_assert(strstr(e->text, part), "\"%s\" does not say \"%s\"", e->text, part);
    cr_assert_null(strchr(e->text, '\n'));
    pleat_clear_error(ctx);
}

static void expect_refused(const void *made, const char *part) {
    cr_assert_null(made, "accepted: %s", part);
    expect_error(PLEAT_ERR_ARGUMENT, part);
}

/* The losses as functions. */
static pleat_tensor *mse(pleat_tensor *x, pleat_tensor *target) { return pleat_nn_mse_loss(x, target); }
static pleat_tensor *bce(pleat_tensor *x, pleat_tensor *target) { return pleat_nn_bce_loss(x, target); }

/* ---- layers ------------------------------------------------------------------------------------------ */

Test(nn, linear_takes_any_leading_axes) {
    pleat_nn_module *m = pleat_nn_linear(ctx, 2, 3, .dtype = PLEAT_F64);
    pleat_assign(pleat_nn_param(m, 0),
                 pleat_from_f64(ctx, PLEAT_F64, PLEAT_SHAPE(3, 2), (double[]){1, 2, 3, 4, 5, 6}));
    pleat_assign(pleat_nn_param(m, 1),
                 pleat_from_f64(ctx, PLEAT_F64, PLEAT_SHAPE(3), (double[]){10, 20, 30}));
    double x[] = {1, 0, 0, 1, 1, 1, 2, -1};
    pleat_tensor *y = pleat_nn_forward(m, pleat_from_f64(ctx, PLEAT_F64, PLEAT_SHAPE(2, 2, 2), x));
    expect_shape(y, "[2,2,3]");
    EXPECT_VALUES(y, 11, 23, 35, 12, 24, 36, 13, 27, 41, 10, 22, 34);
    y = pleat_nn_forward(m, pleat_from_f64(ctx, PLEAT_F64, PLEAT_SHAPE(2), x));
    expect_shape(y, "[3]");
    EXPECT_VALUES(y, 11, 23, 35);
    expect_shape(pleat_nn_forward(m, pleat_zeros(ctx, PLEAT_F64, PLEAT_SHAPE(0, 2))), "[0,3]");
    expect_shape(pleat_nn_forward(m, pleat_zeros(ctx, PLEAT_F64, PLEAT_SHAPE(3, 0, 2))), "[3,0,3]");
    pleat_nn_free(m);
}

Test(nn, convolutions_and_their_sizes) {
    pleat_nn_module *down = pleat_nn_conv2d(ctx, 1, 2, .kernel = {3, 3}, .stride = {2, 2}, .pad = {1, 1});
    pleat_nn_module *up = pleat_nn_conv_transpose2d(ctx, 2, 1, .kernel = {3, 3}, .stride = {2, 2},
                                                    .pad = {1, 1}, .output_padding = {1, 1});
    fill(pleat_nn_param(down, 0), 1);
    fill(pleat_nn_param(down, 1), 0.5);
    fill(pleat_nn_param(up, 0), 1);
    fill(pleat_nn_param(up, 1), -1);
    pleat_tensor *x = pleat_full(ctx, PLEAT_F32, PLEAT_SHAPE(1, 1, 4, 4), 1), *y = pleat_nn_forward(down, x);
    expect_shape(y, "[1,2,2,2]");
    EXPECT_VALUES(y, 4.5, 6.5, 6.5, 9.5, 4.5, 6.5, 6.5, 9.5);
    y = pleat_nn_forward(up, pleat_full_like(y, 1));
    expect_shape(y, "[1,1,4,4]");
    EXPECT_VALUES(y, 1, 3, 1, 1, 3, 7, 3, 3, 1, 3, 1, 1, 1, 3, 1, 1);
    expect_shape(pleat_nn_forward(down, pleat_zeros(ctx, PLEAT_F32, PLEAT_SHAPE(0, 1, 28, 28))),
                 "[0,2,14,14]");
    expect_shape(pleat_nn_forward(up, pleat_zeros(ctx, PLEAT_F32, PLEAT_SHAPE(0, 2, 7, 7))), "[0,1,14,14]");
    pleat_nn_free(down);
    pleat_nn_free(up);
}

Test(nn, activations_and_shapes) {
    pleat_nn_module *relu = pleat_nn_relu(ctx), *sigmoid = pleat_nn_sigmoid(ctx), *tanh_ = pleat_nn_tanh(ctx);
    pleat_nn_module *flat = pleat_nn_flatten(ctx), *unflat = pleat_nn_unflatten(ctx, PLEAT_SHAPE(2, 1, 3));
    pleat_tensor *x = pleat_from_f64(ctx, PLEAT_F64, PLEAT_SHAPE(3), (double[]){-1, 0, 2});
    EXPECT_VALUES(pleat_nn_forward(relu, x), 0, 0, 2);
    EXPECT_VALUES(pleat_nn_forward(sigmoid, x), 1 / (1 + exp(1)), 0.5, 1 / (1 + exp(-2)));
    EXPECT_VALUES(pleat_nn_forward(tanh_, x), tanh(-1), 0, tanh(2));
    expect_shape(pleat_nn_forward(flat, pleat_zeros(ctx, PLEAT_F32, PLEAT_SHAPE(5, 2, 3, 4))), "[5,24]");
    expect_shape(pleat_nn_forward(flat, pleat_zeros(ctx, PLEAT_F32, PLEAT_SHAPE(0, 2, 3))), "[0,6]");
    expect_shape(pleat_nn_forward(flat, pleat_zeros(ctx, PLEAT_F32, PLEAT_SHAPE(5))), "[5,1]");
    expect_shape(pleat_nn_forward(unflat, pleat_zeros(ctx, PLEAT_F32, PLEAT_SHAPE(4, 6))), "[4,2,1,3]");
    expect_shape(pleat_nn_forward(unflat, pleat_zeros(ctx, PLEAT_F32, PLEAT_SHAPE(0, 6))), "[0,2,1,3]");
    pleat_nn_module *all[] = {relu, sigmoid, tanh_, flat, unflat};
    for (size_t i = 0; i < 5; i++) {
        cr_assert_eq(pleat_nn_param_count(all[i]), 0);
        pleat_nn_free(all[i]);
    }
}

static void expect_description(pleat_nn_module *m, const char *name, const char *expected) {
    char text[160] = "";
    const pleat_nn_kind *kind = pleat_nn_kind_of(m);
    cr_assert_str_eq(kind->name, name);
    cr_assert_eq(kind->describe != NULL, expected != NULL);
    if (expected) {
        kind->describe(m, text, sizeof text);
        cr_assert_str_eq(text, expected);
        for (size_t bytes = 1; bytes < sizeof text; bytes++) { /* cut to fit, and nothing beyond is touched */
            memset(text, '#', sizeof text);
            kind->describe(m, text, bytes);
            cr_assert(strlen(text) < bytes && text[bytes] == '#');
            cr_assert_eq(strncmp(text, expected, strlen(text)), 0);
        }
    }
    pleat_nn_free(m);
}

Test(nn, kinds_describe_themselves) {
    expect_description(pleat_nn_linear(ctx, 3, 4), "Linear", "3, 4");
    expect_description(pleat_nn_linear(ctx, 3, 4, .no_bias = true), "Linear", "3, 4, no bias");
    expect_description(pleat_nn_conv2d(ctx, 16, 32, .kernel = {3, 3}), "Conv2d", "16, 32, kernel 3x3");
    expect_description(
        pleat_nn_conv_transpose2d(ctx, 4, 8, .kernel = {3, 2}, .stride = {2, 1}, .dilation = {1, 3},
                                  .pad = {-1, PLEAT_NONE}, .output_padding = {1, PLEAT_NONE}, .groups = 4,
                                  .no_bias = true),
        "ConvTranspose2d",
        "4, 8, kernel 3x2, stride 2x1, dilation 1x3, pad -1x0, output padding 1x0, groups 4, no bias");
    expect_description(pleat_nn_unflatten(ctx, PLEAT_SHAPE(32, 7, 7)), "Unflatten", "32x7x7");
    expect_description(pleat_nn_flatten(ctx), "Flatten", NULL);
    expect_description(pleat_nn_relu(ctx), "ReLU", NULL);
    expect_description(pleat_nn_relu6(ctx), "ReLU6", NULL);
    expect_description(pleat_nn_sequential(ctx, pleat_nn_relu(ctx)), "Sequential", NULL);
}

Test(nn, constructors_refuse) {
    size_t depth = pleat_begin(ctx).depth;
    expect_refused(pleat_nn_linear(ctx, 0, 3), "Linear: in and out must be at least 1");
    expect_refused(pleat_nn_linear(ctx, 3, 0), "Linear: in and out");
    expect_refused(pleat_nn_linear(ctx, 3, 3, .dtype = (pleat_dtype)7), "Linear: dtype must be");
    expect_refused(pleat_nn_conv2d(ctx, 0, 3, .kernel = {1, 1}), "Conv2d: in and out");
    expect_refused(pleat_nn_conv2d(ctx, 3, 0, .kernel = {1, 1}), "Conv2d: in and out");
    expect_refused(pleat_nn_conv2d(ctx, 1, 1), "Conv2d: .kernel = {R, S} must be given");
    expect_refused(pleat_nn_conv2d(ctx, 1, 1, .kernel = {3}), ".kernel = {3, 0} is half a pair");
    expect_refused(pleat_nn_conv2d(ctx, 1, 1, .kernel = {3, 3}, .stride = {0, 2}),
                   ".stride = {0, 2}: both must be at least 1");
    expect_refused(pleat_nn_conv2d(ctx, 1, 1, .kernel = {3, 3}, .stride = {2}),
                   ".stride = {2, 0} is half a pair: write {2, 2}");
    expect_refused(pleat_nn_conv2d(ctx, 1, 1, .kernel = {3, 3}, .dilation = {0, 2}), ".dilation = {0, 2}");
    expect_refused(pleat_nn_conv2d(ctx, 1, 1, .kernel = {3, 3}, .pad = {1}), "{1, PLEAT_NONE} for a zero");
    expect_refused(pleat_nn_conv_transpose2d(ctx, 1, 1, .kernel = {3, 3}, .output_padding = {1}),
                   "half a pair");
    expect_refused(pleat_nn_conv2d(ctx, 4, 6, .kernel = {3, 3}, .groups = 4), "groups must divide both");
    expect_refused(pleat_nn_conv2d(ctx, 6, 4, .kernel = {3, 3}, .groups = 4), "groups must divide both");
    expect_refused(pleat_nn_conv2d(ctx, 1, 1, .kernel = {1, 1}, .stride = {2, 2}, .output_padding = {1, 1}),
                   "Conv2d: output_padding is for conv_transpose2d");
    expect_refused(pleat_nn_conv2d(ctx, 1, 1, .kernel = {3, 3}, .dilation = {SIZE_MAX, 1}), "ptrdiff_t");
    expect_refused(pleat_nn_conv2d(ctx, 1, 1, .kernel = {3, 3}, .stride = {1, SIZE_MAX}), "ptrdiff_t");
    expect_refused(
        pleat_nn_conv_transpose2d(ctx, 1, 1, .kernel = {3, 3}, .stride = {2, 2}, .output_padding = {0, 2}),
        "ConvTranspose2d: output_padding must be less than stride or dilation");
    expect_refused(pleat_nn_conv_transpose2d(ctx, 1, 1, .kernel = {1, 1}, .stride = {2, 2},
                                             .pad = {PTRDIFF_MIN, PLEAT_NONE},
                                             .output_padding = {1, PLEAT_NONE}),
                   "pad - output_padding");
    expect_refused(pleat_nn_unflatten(ctx, 0, NULL), "Unflatten: shape must have 1 to 7 sizes");
    expect_refused(pleat_nn_unflatten(ctx, PLEAT_SHAPE(1, 1, 1, 1, 1, 1, 1, 1)), "1 to 7 sizes");
    expect_refused(pleat_nn_unflatten(ctx, PLEAT_SHAPE(3, 0)), "Unflatten: the sizes must be at least 1");
    expect_refused(pleat_nn_unflatten(ctx, PLEAT_SHAPE(SIZE_MAX, 2)), "their product");
    cr_assert_null(pleat_nn_linear(ctx, SIZE_MAX / 2, 8));
    expect_error(PLEAT_ERR_SHAPE, "product of the sizes");
    cr_assert_null(pleat_nn_conv2d(ctx, SIZE_MAX / 8, 8, .kernel = {3, 3}));
    expect_error(PLEAT_ERR_SHAPE, "product of the sizes");
    cr_assert_null(pleat_nn_linear(NULL, 2, 3));
    cr_assert_null(pleat_nn_relu(NULL));
    cr_assert_null(pleat_nn_sequential(NULL, pleat_nn_relu(ctx)));
    cr_assert_eq(pleat_memory(ctx).tensors, 0);
    cr_assert_eq(pleat_begin(ctx).depth, depth + 1, "a scope was left open");
}

static void expect_misfit(pleat_nn_module *m, pleat_tensor *x, const char *part) {
    cr_assert(pleat_is_poison(pleat_nn_forward(m, x)), "accepted: %s", part);
    expect_error(PLEAT_ERR_SHAPE, part);
    pleat_nn_free(m);
}

Test(nn, layers_refuse_what_does_not_fit) {
    pleat_tensor *image = pleat_zeros(ctx, PLEAT_F32, PLEAT_SHAPE(2, 3, 4, 4));
    expect_misfit(pleat_nn_linear(ctx, 5, 2), image, "Linear: x is [2,3,4,4]; this layer takes [..,5]");
    expect_misfit(pleat_nn_linear(ctx, 1, 2), pleat_zeros(ctx, PLEAT_F32, PLEAT_SCALAR), "x is []");
    expect_misfit(pleat_nn_conv2d(ctx, 4, 2, .kernel = {3, 3}), image, "this layer takes [N,4,H,W]");
    expect_misfit(pleat_nn_conv2d(ctx, 3, 2, .kernel = {3, 3}), pleat_reshape(image, PLEAT_SHAPE(6, 16)),
                  "x is [6,16]");
    expect_misfit(pleat_nn_conv2d(ctx, 3, 2, .kernel = {5, 3}), image, "conv2d");
    expect_misfit(pleat_nn_conv_transpose2d(ctx, 2, 2, .kernel = {3, 3}), image,
                  "this layer takes [N,2,P,Q]");
    expect_misfit(pleat_nn_conv_transpose2d(ctx, 3, 2, .kernel = {3, 3}, .pad = {0, 3}), image,
                  "at least 1 pixel");
    expect_misfit(pleat_nn_flatten(ctx), pleat_zeros(ctx, PLEAT_F32, PLEAT_SCALAR), "rank 1 or more");
    expect_misfit(pleat_nn_unflatten(ctx, PLEAT_SHAPE(2, 3)), image, "this layer takes [N,6]");
    expect_misfit(pleat_nn_unflatten(ctx, PLEAT_SHAPE(2, 3)), pleat_zeros(ctx, PLEAT_F32, PLEAT_SHAPE(0, 7)),
                  "[0,7]");

    pleat_nn_module *m = pleat_nn_linear(ctx, 4, 2, .dtype = PLEAT_F64);
    cr_assert(pleat_is_poison(pleat_nn_forward(m, image)));
    expect_error(PLEAT_ERR_DTYPE, "f64");
    cr_assert(pleat_is_poison(pleat_nn_forward(NULL, image)));
    expect_error(PLEAT_ERR_ARGUMENT, "module is NULL");
    cr_assert(pleat_is_poison(pleat_nn_forward(m, NULL)));
    expect_error(PLEAT_ERR_ARGUMENT, "Linear: x is NULL");
    cr_assert(pleat_is_poison(pleat_nn_forward(NULL, NULL)));
    pleat_ctx *other = pleat_ctx_new();
    cr_assert(pleat_is_poison(pleat_nn_forward(m, pleat_zeros(other, PLEAT_F64, PLEAT_SHAPE(1, 4)))));
    expect_error(PLEAT_ERR_ARGUMENT, "another context");
    pleat_ctx_free(other);
    pleat_nn_free(m);
}

/* ---- modules ----------------------------------------------------------------------------------------- */

static pleat_nn_module *autoencoder(pleat_dtype dtype) {
    return pleat_nn_sequential(
        ctx, pleat_nn_conv2d(ctx, 1, 2, .kernel = {3, 3}, .stride = {2, 2}, .pad = {1, 1}, .dtype = dtype),
        pleat_nn_relu(ctx), pleat_nn_flatten(ctx), pleat_nn_linear(ctx, 8, 3, .dtype = dtype),
        pleat_nn_tanh(ctx), pleat_nn_linear(ctx, 3, 8, .dtype = dtype),
        pleat_nn_unflatten(ctx, PLEAT_SHAPE(2, 2, 2)),
        pleat_nn_conv_transpose2d(ctx, 2, 1, .kernel = {3, 3}, .stride = {2, 2}, .pad = {1, 1},
                                  .output_padding = {1, 1}, .dtype = dtype),
        pleat_nn_sigmoid(ctx));
}

Test(nn, parameters_have_the_names_of_a_state_dict) {
    pleat_nn_module *net = pleat_nn_sequential(ctx, autoencoder(PLEAT_F32), pleat_nn_flatten(ctx),
                                               pleat_nn_linear(ctx, 16, 2, .no_bias = true));
    const char *names[] = {"0.0.weight", "0.0.bias",   "0.3.weight", "0.3.bias", "0.5.weight",
                           "0.5.bias",   "0.7.weight", "0.7.bias",   "2.weight"};
    const char *shapes[] = {"[2,1,3,3]", "[2]", "[3,8]", "[3]", "[8,3]", "[8]", "[2,1,3,3]", "[1]", "[2,16]"};
    cr_assert_eq(pleat_nn_param_count(net), 9);
    cr_assert_eq(pleat_nn_param_numel(net), 18 + 2 + 24 + 3 + 24 + 8 + 18 + 1 + 32);
    for (size_t i = 0; i < 9; i++) {
        char name[32];
        cr_assert_str_eq(pleat_nn_param_name(net, i, name, sizeof name), names[i]);
        expect_shape(pleat_nn_param(net, i), shapes[i]);
        cr_assert_eq(pleat_nn_find_param(net, names[i]), pleat_nn_param(net, i));
        for (size_t bytes = 1; bytes < sizeof name; bytes++) {
            memset(name, '#', sizeof name);
            pleat_nn_param_name(net, i, name, bytes);
            cr_assert(strlen(name) < bytes && name[bytes] == '#');
            cr_assert_eq(strncmp(name, names[i], strlen(name)), 0);
        }
    }
    char name[32] = "unchanged";
    cr_assert_str_eq(pleat_nn_param_name(net, 9, name, sizeof name), "");
    cr_assert_null(pleat_nn_param(net, 9));
    const char *absent[] = {"", "0", "0.", "0.0", "0.0.weigh", "0.0.weights", "2.bias", "weight", "3.weight"};
    for (size_t i = 0; i < sizeof absent / sizeof *absent; i++)
        cr_assert_null(pleat_nn_find_param(net, absent[i]));
    cr_assert_eq(pleat_nn_child_count(net), 3);
    cr_assert_eq(pleat_nn_own_param(pleat_nn_child(net, 2), 0), pleat_nn_param(net, 8));
    cr_assert_null(pleat_nn_own_param(net, 0));
    cr_assert_null(pleat_nn_child(net, 3));
    pleat_nn_free(net);
    cr_assert_eq(pleat_memory(ctx).tensors, 0);
}

Test(nn, parameters_outlive_the_scope_they_were_made_in) {
    pleat_scope s = pleat_begin(ctx);
    pleat_nn_module *net = pleat_nn_linear(ctx, 2, 2);
    pleat_tensor *x = pleat_zeros(ctx, PLEAT_F32, PLEAT_SHAPE(1, 2));
    cr_assert(!pleat_is_poison(pleat_nn_forward(net, x)));
    pleat_end(s);
    cr_assert_eq(pleat_memory(ctx).tensors, 2);
    cr_assert(isfinite(pleat_at(pleat_nn_param(net, 0), (size_t[]){1, 1})));
    pleat_nn_free(net);
}

/* y = x + scale * child(x): a module with a parameter, a child and an attribute of its own. */
static pleat_tensor *residual_forward(pleat_nn_module *m, pleat_tensor *x) {
    const double *factor = pleat_nn_attrs(m);
    pleat_tensor *inner = pleat_nn_forward(pleat_nn_child(m, 0), x);
    return pleat_add(x, pleat_scale(pleat_mul(inner, pleat_nn_own_param(m, 0)), *factor));
}

static const pleat_nn_kind residual_kind = {.name = "Residual", .forward = residual_forward};

static pleat_nn_module *residual(double factor, pleat_nn_module *child) {
    pleat_nn_module *m = pleat_nn_module_new(ctx, &residual_kind, &factor, sizeof factor);
    m = pleat_nn_add_param(m, "scale", pleat_full(ctx, PLEAT_F64, PLEAT_SCALAR, 3));
    return pleat_nn_add_child(m, "body", child);
}

Test(nn, a_module_of_ones_own) {
    pleat_nn_module *net = residual(2, residual(10, pleat_nn_relu(ctx)));
    char name[32];
    cr_assert_eq(pleat_nn_param_count(net), 2);
    cr_assert_str_eq(pleat_nn_param_name(net, 1, name, sizeof name), "body.scale");
    cr_assert_eq(pleat_nn_ctx(net), ctx);
    cr_assert_eq(pleat_nn_kind_of(net), &residual_kind);
    pleat_tensor *x = pleat_from_f64(ctx, PLEAT_F64, PLEAT_SHAPE(2), (double[]){1, -1});
    pleat_tensor *y = pleat_nn_forward(net, x), *g[2];
    EXPECT_VALUES(y, 1 + 6 * 31, -1 + 6 * -1);
    pleat_tensor *params[] = {pleat_nn_param(net, 0), pleat_nn_param(net, 1)};
    cr_assert_eq(pleat_grads(pleat_sum(y), NULL, 2, params, g, PLEAT_GRADS_STRICT), PLEAT_OK);
    EXPECT_VALUES(g[0], 2 * (31 - 1));
    EXPECT_VALUES(g[1], 6 * 10);
    pleat_nn_free(net);
}

static pleat_tensor *null_forward(pleat_nn_module *m, pleat_tensor *x) {
    (void)m, (void)x;
    return NULL;
}

static const pleat_nn_kind null_kind = {.name = "Nothing", .forward = null_forward};
static const pleat_nn_kind nameless_kind = {.forward = null_forward};

static pleat_nn_module *nothing(void) { return pleat_nn_module_new(ctx, &null_kind, NULL, 0); }

Test(nn, building_a_tree_refuses_parameters) {
    pleat_tensor *t = pleat_zeros(ctx, PLEAT_F32, PLEAT_SHAPE(2, 3)), *u = pleat_zeros_like(t);
    expect_refused(pleat_nn_module_new(ctx, NULL, NULL, 0), "kind must have");
    expect_refused(pleat_nn_module_new(ctx, &nameless_kind, NULL, 0), "kind must have");
    expect_refused(pleat_nn_module_new(ctx, &null_kind, NULL, 4), "attrs is NULL");
    expect_refused(pleat_nn_add_param(nothing(), "", t), "1 to 31 characters");
    expect_refused(pleat_nn_add_param(nothing(), NULL, t), "1 to 31 characters");
    expect_refused(pleat_nn_add_param(nothing(), "12345678901234567890123456789012", t),
                   "1 to 31 characters");
    expect_refused(pleat_nn_add_param(nothing(), "a.b", t), "must not contain a dot");
    expect_refused(pleat_nn_add_param(nothing(), "t", NULL), "\"t\" is NULL");
    expect_refused(pleat_nn_add_param(nothing(), "t", pleat_permute(t, (size_t[]){1, 0})), "not contiguous");
    pleat_ctx *other = pleat_ctx_new();
    expect_refused(pleat_nn_add_param(nothing(), "t", pleat_zeros(other, PLEAT_F32, PLEAT_SCALAR)),
                   "another context");
    pleat_ctx_free(other);
    expect_refused(pleat_nn_add_param(pleat_nn_add_param(nothing(), "t", t), "t", u), "\"t\" is taken");
    expect_refused(pleat_nn_add_param(pleat_nn_add_param(nothing(), "u", u), "v", u),
                   "a parameter of this module");
    cr_assert_null(pleat_nn_add_param(NULL, "t", NULL));

    pleat_tensor *poison =
        pleat_add(pleat_zeros(ctx, PLEAT_F32, PLEAT_SHAPE(2)), pleat_zeros(ctx, PLEAT_F32, PLEAT_SHAPE(3)));
    pleat_clear_error(ctx);
    expect_refused(pleat_nn_add_param(nothing(), "t", poison), "is poison");

    pleat_nn_module *m = nothing();
    cr_assert(pleat_is_poison(pleat_nn_forward(m, pleat_zeros(ctx, PLEAT_F32, PLEAT_SCALAR))));
    expect_error(PLEAT_ERR_ARGUMENT, "Nothing: forward returned NULL");
    pleat_nn_free(m);
}

/* The leak checker looks for modules that were freed twice or never. */
Test(nn, building_a_tree_refuses_children) {
    expect_refused(pleat_nn_add_child(nothing(), "a", NULL), "\"a\" is NULL");
    expect_refused(pleat_nn_add_child(nothing(), "a.b", nothing()), "must not contain a dot");
    cr_assert_null(pleat_nn_add_child(NULL, "a", nothing()));
    pleat_nn_module *m = nothing();
    expect_refused(pleat_nn_add_child(m, "a", m), "contains the module");
    m = nothing();
    pleat_nn_module *inner = nothing();
    m = pleat_nn_add_child(m, "inner", inner);
    expect_refused(pleat_nn_add_child(inner, "a", m), "contains the module");

    inner = nothing();
    m = pleat_nn_add_child(nothing(), "inner", inner);
    pleat_nn_free(inner);
    expect_error(PLEAT_ERR_ARGUMENT, "belongs to a Nothing");
    expect_refused(pleat_nn_add_child(nothing(), "a", inner), "belongs to another module");
    cr_assert_null(pleat_nn_add_child(inner, "a", NULL)); /* m still owns inner */
    pleat_clear_error(ctx);
    cr_assert_eq(pleat_nn_child(m, 0), inner);
    pleat_nn_free(m);

    pleat_ctx *other = pleat_ctx_new();
    expect_refused(pleat_nn_sequential(ctx, pleat_nn_relu(ctx), pleat_nn_relu(other)), "another context");
    pleat_ctx_free(other);
}

Test(nn, sequential_checks_its_children) {
    pleat_nn_module *twice = pleat_nn_linear(ctx, 2, 2);
    expect_refused(pleat_nn_sequential(ctx, pleat_nn_relu(ctx), twice, twice, pleat_nn_relu(ctx), twice,
                                       pleat_nn_linear(ctx, 2, 2)),
                   "child \"2\" is given twice");
    expect_refused(pleat_nn_sequential(ctx, pleat_nn_relu(ctx), pleat_nn_linear(ctx, 0, 2),
                                       pleat_nn_linear(ctx, 2, 2), NULL),
                   "Linear: in and out");
    expect_refused(pleat_nn_sequential(ctx, NULL, NULL), "child \"0\" is NULL");
    cr_assert_eq(pleat_memory(ctx).tensors, 0);
    pleat_nn_module *empty = pleat_nn_sequential_of(ctx, 0, NULL);
    pleat_tensor *x = pleat_zeros(ctx, PLEAT_F32, PLEAT_SHAPE(2));
    cr_assert_eq(pleat_nn_forward(empty, x), x);
    pleat_nn_free(empty);
    pleat_nn_free(NULL);
}

/* ---- initialisers ------------------------------------------------------------------------------------ */

/* Mean near 0, variance near the expected one, and all values within the bound (0: unbounded). */
static void expect_distribution(pleat_tensor *w, double variance, double bound) {
    size_t n = pleat_numel(w);
    double *v = malloc(n * sizeof *v), sum = 0, squares = 0, largest = 0;
    pleat_read_f64(w, v);
    for (size_t i = 0; i < n; i++) {
        sum += v[i];
        squares += v[i] * v[i];
        largest = fmax(largest, fabs(v[i]));
    }
    free(v);
    double count = (double)n, found = squares / count;
    cr_assert(fabs(sum / count) < 5 * sqrt(variance / count), "mean %g", sum / count);
    cr_assert(fabs(found / variance - 1) < 8 / sqrt(count), "variance %g instead of %g", found, variance);
    if (bound > 0)
        cr_assert(largest <= bound && largest > 0.98 * bound, "bound %g instead of %g", largest, bound);
}

Test(nn, initialisers_have_the_right_spread) {
    for (int d = 0; d < 2; d++) {
        pleat_tensor *w = pleat_zeros(ctx, d ? PLEAT_F64 : PLEAT_F32, PLEAT_SHAPE(20, 30, 3, 2));
        double in = 180, out = 120;
        cr_assert_eq(pleat_nn_init_kaiming_uniform(w, 0.5), PLEAT_OK);
        expect_distribution(w, 2 / (1.25 * in), sqrt(6 / (1.25 * in)));
        cr_assert_eq(pleat_nn_init_kaiming_normal(w, 0), PLEAT_OK);
        expect_distribution(w, 2 / in, 0);
        cr_assert_eq(pleat_nn_init_xavier_uniform(w, 2), PLEAT_OK);
        expect_distribution(w, 8 / (in + out), 2 * sqrt(6 / (in + out)));
        cr_assert_eq(pleat_nn_init_xavier_normal(w, 2), PLEAT_OK);
        expect_distribution(w, 8 / (in + out), 0);
        cr_assert_eq(pleat_nn_init_uniform(w, -0.3, 0.3), PLEAT_OK);
        expect_distribution(w, 0.03, 0.3);
    }
}

/* Ends that f32 does not hold, and a width that no type holds. */
Test(nn, uniform_initialisers_stay_in_range) {
    static const double ranges[][2] = {{0.7, 0.7 + 1e-6}, {-0.3 - 1e-7, -0.3}, {-1.7e308, 1.7e308}};
    for (size_t i = 0; i < 6; i++) {
        double low = ranges[i / 2][0], high = ranges[i / 2][1], values[600], most = -HUGE_VAL,
               least = HUGE_VAL;
        pleat_tensor *w = pleat_zeros(ctx, i % 2 ? PLEAT_F64 : PLEAT_F32, PLEAT_SHAPE(600));
        cr_assert_eq(pleat_nn_init_uniform(w, low, high), PLEAT_OK);
        pleat_read_f64(w, values);
        for (size_t k = 0; k < 600; k++) {
            cr_assert(values[k] >= low && values[k] < high, "%.17g in [%.17g, %.17g)", values[k], low, high);
            least = fmin(least, values[k]), most = fmax(most, values[k]);
        }
        cr_assert(least < most, "%g is all there is in [%.17g, %.17g)", least, low, high);
    }
}

Test(nn, layers_start_as_in_pytorch) {
    pleat_nn_module *m = pleat_nn_linear(ctx, 50, 400);
    expect_distribution(pleat_nn_param(m, 0), 1.0 / 150, 1 / sqrt(50));
    expect_distribution(pleat_nn_param(m, 1), 1.0 / 150, 1 / sqrt(50));
    pleat_nn_free(m);
    m = pleat_nn_conv2d(ctx, 8, 400, .kernel = {3, 2}, .groups = 2);
    expect_distribution(pleat_nn_param(m, 0), 1.0 / 72, 1 / sqrt(24));
    expect_distribution(pleat_nn_param(m, 1), 1.0 / 72, 1 / sqrt(24));
    pleat_nn_free(m);
    m = pleat_nn_conv_transpose2d(ctx, 8, 400, .kernel = {3, 2}, .groups = 2); /* weight [8,200,3,2] */
    expect_distribution(pleat_nn_param(m, 0), 1.0 / 3600, 1 / sqrt(1200));
    expect_distribution(pleat_nn_param(m, 1), 1.0 / 3600, 1 / sqrt(1200));
    pleat_nn_free(m);
}

Test(nn, initialisers_follow_the_seed) {
    double values[2];
    for (int i = 0; i < 2; i++) {
        pleat_ctx *fresh = pleat_ctx_new(.seed = 11);
        pleat_nn_module *m = pleat_nn_conv2d(fresh, 2, 2, .kernel = {3, 3});
        values[i] = pleat_at(pleat_nn_param(m, 1), (size_t[]){1});
        pleat_nn_free(m);
        pleat_ctx_free(fresh);
    }
    cr_assert_eq(values[0], values[1]);
}

Test(nn, initialisers_refuse) {
    pleat_tensor *w = pleat_zeros(ctx, PLEAT_F32, PLEAT_SHAPE(3, 2)),
                 *bias = pleat_zeros(ctx, PLEAT_F32, PLEAT_SHAPE(3));
    cr_assert_eq(pleat_nn_init_kaiming_uniform(bias, 0), PLEAT_ERR_SHAPE);
    expect_error(PLEAT_ERR_SHAPE, "init_kaiming_uniform: w is [3], but fans need rank 2");
    cr_assert_eq(pleat_nn_init_kaiming_normal(bias, 0), PLEAT_ERR_SHAPE);
    expect_error(PLEAT_ERR_SHAPE, "init_kaiming_normal");
    cr_assert_eq(pleat_nn_init_xavier_uniform(bias, 1), PLEAT_ERR_SHAPE);
    expect_error(PLEAT_ERR_SHAPE, "init_xavier_uniform");
    cr_assert_eq(pleat_nn_init_xavier_normal(bias, 1), PLEAT_ERR_SHAPE);
    expect_error(PLEAT_ERR_SHAPE, "init_xavier_normal");
    cr_assert_eq(pleat_nn_init_kaiming_normal(w, NAN), PLEAT_ERR_ARGUMENT);
    expect_error(PLEAT_ERR_ARGUMENT, "a must be finite");
    cr_assert_eq(pleat_nn_init_xavier_normal(w, -1), PLEAT_ERR_ARGUMENT);
    expect_error(PLEAT_ERR_ARGUMENT, "gain must be");
    cr_assert_eq(pleat_nn_init_uniform(w, 1, 0), PLEAT_ERR_ARGUMENT);
    expect_error(PLEAT_ERR_ARGUMENT, "low and high");
    cr_assert_eq(pleat_nn_init_uniform(w, 0, INFINITY), PLEAT_ERR_ARGUMENT);
    expect_error(PLEAT_ERR_ARGUMENT, "low and high");
    cr_assert_eq(pleat_nn_init_uniform(pleat_permute(w, (size_t[]){1, 0}), 0, 1), PLEAT_ERR_ARGUMENT);
    expect_error(PLEAT_ERR_ARGUMENT, "contiguous");
    cr_assert_eq(pleat_nn_init_uniform(NULL, 0, 1), PLEAT_ERR_ARGUMENT);
    EXPECT_VALUES(w, 0, 0, 0, 0, 0, 0);

    cr_assert_eq(pleat_nn_init_uniform(w, 0.25, 0.25), PLEAT_OK);
    EXPECT_VALUES(w, 0.25, 0.25, 0.25, 0.25, 0.25, 0.25);
    cr_assert_eq(pleat_nn_init_xavier_normal(pleat_zeros(ctx, PLEAT_F32, PLEAT_SHAPE(0, 0)), 1), PLEAT_OK);
    /* an eighth of the numbers between these two is rounded to 1 in f32 */
    pleat_tensor *many = pleat_zeros(ctx, PLEAT_F32, PLEAT_SHAPE(200));
    pleat_nn_init_uniform(many, 1 - 0x1p-22, 1);
    for (size_t i = 0; i < 200; i++) cr_assert_lt(pleat_f32(many)[i], 1.0f);
}

/* ---- losses ------------------------------------------------------------------------------------------ */

static pleat_tensor *vector(pleat_dtype dtype, size_t n, const double *values) {
    return pleat_from_f64(ctx, dtype, 1, &n, values);
}

Test(nn, losses_have_their_values) {
    double x[] = {0, 0.5, 1}, t[] = {1, 0.25, 1};
    for (int d = 0; d < 2; d++) {
        pleat_tensor *a = vector(d ? PLEAT_F64 : PLEAT_F32, 3, x),
                     *b = vector(d ? PLEAT_F64 : PLEAT_F32, 3, t);
        pleat_tensor *squared = pleat_nn_mse_loss(a, b), *entropy = pleat_nn_bce_loss(a, b);
        expect_shape(squared, "[]");
        expect_shape(entropy, "[]");
        cr_assert_float_eq(pleat_item(squared), (1 + 0.0625) / 3, 1e-7);
        cr_assert_float_eq(pleat_item(entropy), (100 + log(2)) / 3, 1e-5);
    }
}

/* In f32, 1e-40 is so small that 1/x overflows. */
Test(nn, bce_loss_stays_finite_at_the_ends) {
    double x[] = {0, 0, 1, 1, 0, 1, 1e-40, 1e-40}, t[] = {0, 1, 0, 1, 0.5, 0.5, 0, 1};
    for (int d = 0; d < 2; d++) {
        pleat_dtype dtype = d ? PLEAT_F64 : PLEAT_F32;
        pleat_tensor *in[] = {vector(dtype, 8, x), vector(dtype, 8, t)}, *g[2], *gg[2];
        pleat_status s = pleat_grads(pleat_nn_bce_loss(in[0], in[1]), NULL, 2, in, g, PLEAT_GRADS_RECORD);
        cr_assert_eq(s, PLEAT_OK, "%s", pleat_error(ctx)->text);
        pleat_tensor *gx = pleat_scale(g[0], 8e-12);
        EXPECT_VALUES(gx, 0, -1, 1, 0, -0.5, 0.5, 0, -1);
        pleat_tensor *gt = pleat_scale(g[1], 8);
        double tiny = -log(1e-40);
        EXPECT_VALUES(pleat_scale(gt, 1e-2), 1, 1, -1, -1, 1, -1, tiny * 1e-2, tiny * 1e-2);
        pleat_tensor *sum = pleat_add(pleat_sum(gx), pleat_sum(gt));
        cr_assert_eq(pleat_grads(sum, NULL, 2, in, gg, 0), PLEAT_OK);
        double values[8];
        for (size_t k = 0; k < 2; k++) {
            pleat_read_f64(gg[k], values);
            for (size_t i = 0; i < 8; i++)
                cr_assert(isfinite(values[i]), "order 2, input %zu, element %zu", k, i);
        }
    }
}

Test(nn, bce_loss_out_of_range_is_not_a_number) {
    double x[] = {-0.1, 1.1, NAN}, t[] = {0, 1, 0};
    for (size_t i = 0; i < 3; i++)
        cr_assert(
            isnan(pleat_item(pleat_nn_bce_loss(vector(PLEAT_F64, 1, x + i), vector(PLEAT_F64, 1, t + i)))));
}

Test(nn, losses_refuse_other_shapes) {
    pleat_tensor *(*losses[])(pleat_tensor *, pleat_tensor *) = {mse, bce};
    const char *names[] = {"mse_loss: ", "bce_loss: "};
    for (size_t i = 0; i < 2; i++) {
        pleat_tensor *x = pleat_zeros(ctx, PLEAT_F32, PLEAT_SHAPE(2, 3));
        cr_assert(pleat_is_poison(losses[i](x, pleat_zeros(ctx, PLEAT_F32, PLEAT_SHAPE(3)))));
        cr_assert(strstr(pleat_error(ctx)->text, "[2,3]") && strstr(pleat_error(ctx)->text, "[3]"));
        expect_error(PLEAT_ERR_SHAPE, names[i]);
        cr_assert(pleat_is_poison(losses[i](x, pleat_zeros(ctx, PLEAT_F32, PLEAT_SHAPE(2, 1)))));
        expect_error(PLEAT_ERR_SHAPE, names[i]);
        cr_assert(pleat_is_poison(losses[i](x, pleat_zeros(ctx, PLEAT_F64, PLEAT_SHAPE(2, 3)))));
        expect_error(PLEAT_ERR_DTYPE, "f64");
        cr_assert(pleat_is_poison(losses[i](x, NULL)));
        expect_error(PLEAT_ERR_ARGUMENT, "null");
        cr_assert(pleat_is_poison(losses[i](NULL, x)));
        expect_error(PLEAT_ERR_ARGUMENT, "null");
        pleat_tensor *none = pleat_zeros(ctx, PLEAT_F32, PLEAT_SHAPE(0, 3));
        cr_assert(pleat_is_poison(losses[i](none, none)));
        expect_error(PLEAT_ERR_SHAPE, "mean");
    }
}

Test(nn, losses_take_views) {
    pleat_tensor *x = pleat_uniform(ctx, PLEAT_F64, PLEAT_SHAPE(3, 2), 0.1, 0.9);
    pleat_tensor *t = pleat_uniform(ctx, PLEAT_F64, PLEAT_SHAPE(2, 3), 0.1, 0.9);
    const size_t turn[] = {1, 0};
    pleat_tensor *a = pleat_nn_bce_loss(pleat_permute(x, turn), t),
                 *b = pleat_nn_bce_loss(x, pleat_permute(t, turn));
    cr_assert_float_eq(pleat_item(a), pleat_item(b), 1e-15);
}

/* ---- derivatives ------------------------------------------------------------------------------------- */

/* The loss of a network as a function of its parameters (xs[2..]), its input xs[0] and its target xs[1]. */
typedef struct network {
    pleat_nn_module *net;
    pleat_tensor *(*loss)(pleat_tensor *x, pleat_tensor *target);
} network;

/* Put the parameters below m where `list` says, and return the place behind them. */
static pleat_tensor **exchange(pleat_nn_module *m, pleat_tensor **list) {
    for (size_t i = 0; i < m->count; i++) {
        pln_entry *e = &m->entries[i];
        if (e->child) {
            list = exchange(e->child, list);
        } else {
            pleat_tensor *was = e->param;
            e->param = *list;
            *list++ = was;
        }
    }
    return list;
}

static pleat_tensor *network_loss(size_t n, pleat_tensor *const *xs, void *user) {
    network *w = user;
    pleat_tensor *params[16];
    memcpy(params, xs + 2, (n - 2) * sizeof *params);
    exchange(w->net, params);
    pleat_tensor *loss = w->loss(pleat_nn_forward(w->net, xs[0]), xs[1]);
    exchange(w->net, params);
    return loss;
}

Test(nn, gradients_of_an_autoencoder) {
    network w[] = {{autoencoder(PLEAT_F64), mse}, {autoencoder(PLEAT_F64), bce}};
    for (size_t k = 0; k < 2; k++) {
        pleat_tensor *xs[10] = {pleat_randn(ctx, PLEAT_F64, PLEAT_SHAPE(2, 1, 4, 4)),
                                pleat_uniform(ctx, PLEAT_F64, PLEAT_SHAPE(2, 1, 4, 4), 0.1, 0.9)};
        for (size_t i = 0; i < 8; i++) xs[2 + i] = pleat_nn_param(w[k].net, i);
        pleat_report r;
        pleat_status s = pleat_gradcheck(network_loss, 10, xs, &w[k], .order = 2, .report = &r);
        cr_assert_eq(s, PLEAT_OK, "%s", r.text);
        pleat_nn_free(w[k].net);
    }
}

/* ---- PyTorch's values -------------------------------------------------------------------------------- */

static const oracle_array *need(const oracle *o, const char *name, const char *what) {
    const oracle_array *a = oracle_find(o, "%s.%s", name, what);
    cr_assert(a, "nn.txt has no %s.%s", name, what);
    return a;
}

/* Give m the parameters of the fixture's layer, and compare its result and all gradients. Frees m. */
static void compare_layer(const oracle *o, const char *name, pleat_nn_module *m, pleat_dtype dtype) {
    const char *names[] = {"x", "weight", "bias"}, *grads[] = {"grad.x", "grad.weight", "grad.bias"};
    double tolerance = dtype == PLEAT_F64 ? 1e-13 : 1e-5;
    cr_assert(m, "%s: %s", name, pleat_error(ctx)->text);
    size_t n = 1 + pleat_nn_param_count(m);
    pleat_tensor *xs[3] = {oracle_tensor(ctx, dtype, need(o, name, "x"))}, *gs[3];
    for (size_t i = 1; i < n; i++) {
        xs[i] = pleat_nn_param(m, i - 1);
        cr_assert_eq(pleat_assign(xs[i], oracle_tensor(ctx, dtype, need(o, name, names[i]))), PLEAT_OK,
                     "%s: %s", name, pleat_error(ctx)->text);
    }
    pleat_tensor *y = pleat_nn_forward(m, xs[0]), *u = oracle_tensor(ctx, dtype, need(o, name, "u"));
    double error = oracle_error(need(o, name, "y"), y);
    cr_assert(error < tolerance, "%s.y: error %g %s", name, error, pleat_error(ctx)->text);
    pleat_status s = pleat_grads(y, u, n, xs, gs, PLEAT_GRADS_STRICT);
    cr_assert_eq(s, PLEAT_OK, "%s: %s", name, pleat_error(ctx)->text);
    for (size_t i = 0; i < n; i++) {
        error = oracle_error(need(o, name, grads[i]), gs[i]);
        cr_assert(error < tolerance, "%s.%s: error %g", name, grads[i], error);
    }
    pleat_nn_free(m);
}

static pleat_nn_module *linear_like(const oracle *o, const char *name, pleat_dtype dtype) {
    const oracle_array *w = need(o, name, "weight");
    bool no_bias = !oracle_find(o, "%s.bias", name);
    return pleat_nn_linear(ctx, w->shape[1], w->shape[0], .no_bias = no_bias, .dtype = dtype);
}

static pleat_nn_module *conv_like(const oracle *o, const char *name, pleat_dtype dtype, bool transposed) {
    const double *v = need(o, name, "options")->values;
    const oracle_array *w = need(o, name, "weight");
    size_t G = (size_t)v[8];
    pleat_nn_conv_args a = {.ctx = ctx,
                            .kernel = {w->shape[2], w->shape[3]},
                            .stride = {(size_t)v[0], (size_t)v[1]},
                            .dilation = {(size_t)v[2], (size_t)v[3]},
                            .pad = {(ptrdiff_t)v[4], v[5] != 0 ? (ptrdiff_t)v[5] : PLEAT_NONE},
                            .output_padding = {(size_t)v[6], v[7] > 0 ? (size_t)v[7] : PLEAT_NONE},
                            .groups = G,
                            .no_bias = !oracle_find(o, "%s.bias", name),
                            .dtype = dtype};
    a.in = transposed ? w->shape[0] : w->shape[1] * G;
    a.out = transposed ? w->shape[1] * G : w->shape[0];
    return transposed ? pleat_nn_conv_transpose2d_with(a) : pleat_nn_conv2d_with(a);
}

Test(nn, layers_agree_with_pytorch) {
    oracle *o = oracle_read("nn.txt");
    cr_assert(o);
    const char *kinds[] = {"linear", "conv2d", "conv_transpose2d"};
    const int counts[] = {3, 4, 5};
    for (int k = 0; k < 3; k++) {
        for (int i = 0; i < 2 * counts[k]; i++) {
            pleat_dtype dtype = i % 2 ? PLEAT_F32 : PLEAT_F64;
            char name[32];
            snprintf(name, sizeof name, "%s.%d", kinds[k], i / 2);
            compare_layer(o, name, k == 0 ? linear_like(o, name, dtype) : conv_like(o, name, dtype, k == 2),
                          dtype);
        }
    }
    oracle_free(o);
}

/* Each element on its own, as they differ by many orders of magnitude. */
static void expect_relative(const oracle_array *a, pleat_tensor *t, double tolerance) {
    double values[64];
    cr_assert(pleat_numel(t) == a->numel && a->numel <= 64, "%s: %s", a->name, pleat_error(ctx)->text);
    pleat_read_f64(t, values);
    for (size_t i = 0; i < a->numel; i++)
        cr_assert(fabs(values[i] - a->values[i]) <= tolerance * fabs(a->values[i]),
                  "%s, element %zu: %.17g instead of %.17g", a->name, i, values[i], a->values[i]);
}

Test(nn, losses_agree_with_pytorch) {
    oracle *o = oracle_read("nn.txt");
    cr_assert(o);
    pleat_tensor *x = oracle_tensor(ctx, PLEAT_F64, need(o, "losses", "x")), *g;
    pleat_tensor *t = oracle_tensor(ctx, PLEAT_F64, need(o, "losses", "target"));
    pleat_tensor *squared = pleat_nn_mse_loss(x, t), *entropy = pleat_nn_bce_loss(x, t);
    expect_relative(need(o, "losses", "mse.y"), squared, 1e-14);
    expect_relative(need(o, "losses", "bce.y"), entropy, 1e-14);
    pleat_grads(squared, NULL, 1, &x, &g, 0);
    expect_relative(need(o, "losses", "mse.grad.x"), g, 1e-14);
    pleat_grads(entropy, NULL, 1, &x, &g, 0);
    expect_relative(need(o, "losses", "bce.grad.x"), g, 1e-8); /* PyTorch's 1e-12 is a float's */
    oracle_free(o);
}

/* ---- optimizers -------------------------------------------------------------------------------------- */

/* Copy all parameters, one behind the other, from values. */
static void set_params(pleat_nn_module *net, const double *values) {
    pleat_scope s = pleat_begin(ctx);
    for (size_t i = 0; i < pleat_nn_param_count(net); i++) {
        pleat_tensor *p = pleat_nn_param(net, i);
        pleat_assign(p, pleat_from_f64(ctx, PLEAT_F64, pleat_rank(p), pleat_shape(p), values));
        values += pleat_numel(p);
    }
    pleat_end(s);
}

static void get_params(pleat_nn_module *net, double *values) {
    for (size_t i = 0; i < pleat_nn_param_count(net); i++) {
        pleat_read_f64(pleat_nn_param(net, i), values);
        values += pleat_numel(pleat_nn_param(net, i));
    }
}

static pleat_nn_module *small_net(pleat_dtype dtype) {
    return pleat_nn_sequential(ctx, pleat_nn_conv2d(ctx, 1, 2, .kernel = {2, 2}, .dtype = dtype),
                               pleat_nn_tanh(ctx), pleat_nn_flatten(ctx),
                               pleat_nn_linear(ctx, 8, 1, .dtype = dtype), pleat_nn_sigmoid(ctx));
}

static pleat_nn_optimizer *optimizer_like(const char *name, pleat_nn_module *net) {
    if (!strcmp(name, "sgd")) return pleat_nn_sgd(net, .lr = 0.5);
    if (!strcmp(name, "momentum")) return pleat_nn_sgd(net, .lr = 0.1, .momentum = 0.9);
    return pleat_nn_adam(net, .lr = 0.02, .betas = {0.8, 0.99});
}

/* Train as the fixture did, comparing loss and parameters after each step. */
static void compare_training(const oracle *o, const char *name, pleat_dtype dtype, double tolerance) {
    enum { STEPS = 100, PARAMS = 19 };
    pleat_nn_module *net = small_net(dtype);
    pleat_nn_optimizer *opt = optimizer_like(name, net);
    bool cross = !strcmp(name, "adam");
    const oracle_array *losses = oracle_find(o, "training.%s.losses", name);
    const oracle_array *params = oracle_find(o, "training.%s.params", name);
    cr_assert(opt && losses && params && params->shape[0] == STEPS && params->shape[1] == PARAMS);
    set_params(net, need(o, "training", "start")->values);
    pleat_tensor *x = oracle_tensor(ctx, dtype, need(o, "training", "x"));
    pleat_tensor *target = oracle_tensor(ctx, dtype, need(o, "training", "target"));
    size_t warm = 0;
    for (size_t step = 0; step < STEPS; step++) {
        pleat_scope s = pleat_begin(ctx);
        pleat_tensor *y = pleat_nn_forward(net, x);
        pleat_tensor *loss = cross ? pleat_nn_bce_loss(y, target) : pleat_nn_mse_loss(y, target);
        cr_assert_eq(pleat_nn_step(opt, loss), PLEAT_OK, "%s", pleat_error(ctx)->text);
        double error = fabs(pleat_item(loss) - losses->values[step]), found[PARAMS];
        pleat_end(s);
        get_params(net, found);
        for (size_t i = 0; i < PARAMS; i++)
            error = fmax(error, fabs(found[i] - params->values[step * PARAMS + i]));
        cr_assert(error < tolerance, "%s, step %zu: error %g", name, step, error);
        if (step == 2) warm = pleat_memory(ctx).allocations;
    }
    cr_assert_eq(pleat_memory(ctx).allocations, warm, "a warm step allocates");
    pleat_nn_optimizer_free(opt);
    pleat_nn_free(net);
}

Test(nn, training_agrees_with_pytorch) {
    oracle *o = oracle_read("nn.txt");
    cr_assert(o);
    const char *names[] = {"sgd", "momentum", "adam"};
    for (size_t i = 0; i < 3; i++) {
        compare_training(o, names[i], PLEAT_F64, 1e-10);
        compare_training(o, names[i], PLEAT_F32, 2e-4);
    }
    oracle_free(o);
}

Test(nn, optimizers_refuse) {
    pleat_nn_module *net = pleat_nn_linear(ctx, 2, 2), *bare = pleat_nn_relu(ctx);
    size_t tensors = pleat_memory(ctx).tensors;
    expect_refused(pleat_nn_sgd(net), "sgd: .lr must be given");
    expect_refused(pleat_nn_sgd(net, .lr = -1), "sgd: .lr must be given");
    expect_refused(pleat_nn_sgd(net, .lr = NAN), "sgd: .lr must be given");
    expect_refused(pleat_nn_sgd(net, .lr = 1, .momentum = 1), "sgd: momentum must be");
    expect_refused(pleat_nn_sgd(bare, .lr = 1), "sgd: the network has no parameters");
    expect_refused(pleat_nn_adam(net, .lr = -1), "adam: lr must be");
    expect_refused(pleat_nn_adam(net, .eps = -1), "adam: eps must be");
    expect_refused(pleat_nn_adam(net, .betas = {0.9, 1}), "adam: both betas");
    expect_refused(pleat_nn_adam(net, .betas = {-0.1, 0.9}), "adam: both betas");
    expect_refused(pleat_nn_adam(bare), "adam: the network has no parameters");
    cr_assert_null(pleat_nn_sgd(NULL, .lr = 1));
    cr_assert_null(pleat_nn_adam(NULL));
    cr_assert_eq(pleat_memory(ctx).tensors, tensors);

    pleat_nn_optimizer *opt = pleat_nn_adam(net);
    cr_assert_eq(pleat_nn_lr(opt), 1e-3);
    pleat_nn_set_lr(opt, 0.5);
    cr_assert_eq(pleat_nn_lr(opt), 0.5);
    pleat_nn_set_lr(opt, -1);
    expect_error(PLEAT_ERR_ARGUMENT, "lr must be finite");
    cr_assert_eq(pleat_nn_lr(opt), 0.5);
    pleat_nn_optimizer_free(opt);
    pleat_nn_optimizer_free(NULL);
    cr_assert_eq(pleat_memory(ctx).tensors, tensors);
    pleat_nn_free(net);
    pleat_nn_free(bare);
}

Test(nn, update_takes_gradients_of_ones_own) {
    pleat_nn_module *net = pleat_nn_linear(ctx, 2, 1, .dtype = PLEAT_F64);
    pleat_nn_optimizer *opt = pleat_nn_sgd(net, .lr = 2);
    set_params(net, (double[]){1, 2, 3});
    pleat_tensor *column = pleat_from_f64(ctx, PLEAT_F64, PLEAT_SHAPE(2, 2), (double[]){1, 9, 2, 9});
    pleat_tensor *view =
        pleat_slice(pleat_permute(column, (size_t[]){1, 0}), (size_t[]){0, 0}, (size_t[]){1, 2}, NULL);
    pleat_tensor *grads[] = {view, pleat_full(ctx, PLEAT_F64, PLEAT_SHAPE(1), 3)};
    cr_assert_eq(pleat_nn_update(opt, grads), PLEAT_OK);
    EXPECT_VALUES(pleat_nn_param(net, 0), -1, -2);
    EXPECT_VALUES(pleat_nn_param(net, 1), -3);
    pleat_nn_set_lr(opt, 0);
    cr_assert_eq(pleat_nn_update(opt, grads), PLEAT_OK);
    EXPECT_VALUES(pleat_nn_param(net, 0), -1, -2);
    pleat_nn_set_lr(opt, 1);

    struct {
        pleat_tensor *second;
        pleat_status code;
        const char *part;
    } wrong[] = {
        {NULL, PLEAT_ERR_ARGUMENT, "sgd: the gradient of parameter \"bias\" is NULL"},
        {pleat_zeros(ctx, PLEAT_F64, PLEAT_SHAPE(2)), PLEAT_ERR_SHAPE,
         "\"bias\" must have the parameter's shape"},
        {pleat_zeros(ctx, PLEAT_F32, PLEAT_SHAPE(1)), PLEAT_ERR_DTYPE,
         "\"bias\" must have the parameter's type"},
        {pleat_poison(ctx), PLEAT_ERR_ARGUMENT, "\"bias\" is poison"},
    };
    pleat_clear_error(ctx);
    for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++) {
        grads[1] = wrong[i].second;
        cr_assert_eq(pleat_nn_update(opt, grads), wrong[i].code);
        expect_error(wrong[i].code, wrong[i].part);
        EXPECT_VALUES(pleat_nn_param(net, 0), -1, -2);
    }
    cr_assert_eq(pleat_nn_update(opt, NULL), PLEAT_ERR_ARGUMENT);
    expect_error(PLEAT_ERR_ARGUMENT, "grads is NULL");
    cr_assert_eq(pleat_nn_update(NULL, grads), PLEAT_ERR_ARGUMENT);
    pleat_nn_optimizer_free(opt);
    pleat_nn_free(net);
}

static void expect_step_fails(pleat_nn_optimizer *opt, pleat_tensor *loss, pleat_status code,
                              const char *part) {
    size_t tensors = pleat_memory(ctx).tensors;
    cr_assert_eq(pleat_nn_step(opt, loss), code, "%s", pleat_error(ctx)->text);
    cr_assert_eq(pleat_memory(ctx).tensors, tensors);
    expect_error(code, part);
}

static bool blind_shape(pleat_call *c) {
    c->rank = 0;
    return true;
}

static bool blind_forward(const pleat_call *c) {
    pleat_f32(c->out)[0] = 1;
    return true;
}

static const pleat_op blind_op = {"blind", blind_shape, blind_forward, NULL, NULL, NULL, NULL};

Test(nn, step_says_what_is_wrong) {
    pleat_nn_module *net = pleat_nn_sequential(ctx, pleat_nn_linear(ctx, 2, 2), pleat_nn_linear(ctx, 2, 2));
    pleat_nn_optimizer *opt = pleat_nn_adam(net);
    pleat_tensor *x = pleat_full(ctx, PLEAT_F32, PLEAT_SHAPE(1, 2), 1);
    pleat_tensor *y = pleat_nn_forward(pleat_nn_child(net, 0), x), *z = pleat_nn_forward(net, x);
    double before[12], after[12];
    get_params(net, before);
    expect_step_fails(opt, pleat_sum(y), PLEAT_ERR_GRADIENT,
                      "adam: the loss does not depend on parameter \"1.weight\"");
    expect_step_fails(opt, pleat_sum(x), PLEAT_ERR_GRADIENT, "\"0.weight\"");
    expect_step_fails(opt, z, PLEAT_ERR_SHAPE, "one element");
    expect_step_fails(opt, pleat_apply(&blind_op, 1, &z, NULL, 0), PLEAT_ERR_GRADIENT,
                      "blind: [1,2]: the op has no");
    expect_step_fails(opt, NULL, PLEAT_ERR_ARGUMENT, "step: the loss is NULL");
    expect_step_fails(NULL, z, PLEAT_ERR_ARGUMENT, "step: the optimizer is NULL");
    expect_step_fails(opt, pleat_poison(ctx), PLEAT_ERR_ARGUMENT, "the loss is poison");
    expect_step_fails(opt, pleat_scale(pleat_sum(z), INFINITY), PLEAT_ERR_ARGUMENT, "adam: the loss is");
    get_params(net, after);
    cr_assert_eq(memcmp(before, after, sizeof before), 0);
    pleat_nn_optimizer_free(opt);
    pleat_nn_free(net);
}

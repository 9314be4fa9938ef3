/* Where an error is: the text begins with the path and the kind of the innermost module, once. */
#define _POSIX_C_SOURCE 200809L

#include <stdlib.h>
#include <string.h>

#include "module.h"
#include "tensors.h"

TestSuite(where, .init = tensors_begin, .fini = tensors_end);

/* Frees m. */
static void expect_text(pleat_nn_module *m, pleat_tensor *x, const char *expected) {
    cr_assert(m, "%s", pleat_error(ctx)->text);
    pleat_tensor *y = pleat_nn_forward(m, x);
    const char *text = pleat_error(ctx)->text;
    cr_expect(pleat_is_poison(y));
    cr_expect(!strncmp(text, expected, strlen(expected)), "\"%s\" does not begin with \"%s\"", text,
              expected);
    pleat_clear_error(ctx);
    pleat_nn_free(m);
}

static pleat_tensor *image(pleat_dtype dtype, size_t channels) {
    return pleat_zeros(ctx, dtype, PLEAT_SHAPE(2, channels, 4, 4));
}

static pleat_nn_module *conv(size_t in, size_t out, size_t kernel) {
    return pleat_nn_conv2d(ctx, in, out, .kernel = {kernel, kernel});
}

Test(where, a_path_in_containers) {
    expect_text(pleat_nn_sequential(ctx, pleat_nn_relu(ctx), conv(3, 4, 3)), image(PLEAT_F32, 2),
                "1: Conv2d: x is [2,2,4,4]; this layer takes [N,3,H,W]");
    expect_text(
        pleat_nn_sequential(ctx, pleat_nn_relu(ctx), pleat_nn_sequential(ctx, conv(2, 3, 3), conv(3, 1, 5))),
        image(PLEAT_F32, 2), "1.1: Conv2d: conv2d: [2,3,2,2], ");
    expect_text(pleat_nn_sequential(ctx, pleat_nn_flatten(ctx), pleat_nn_linear(ctx, 8, 2)),
                image(PLEAT_F32, 2), "1: Linear: x is [2,32]; this layer takes [..,8]");
}

Test(where, a_root_has_no_path) {
    expect_text(conv(3, 4, 3), image(PLEAT_F32, 2), "Conv2d: x is [2,2,4,4]");
    expect_text(conv(2, 4, 3), image(PLEAT_F64, 2), "Conv2d: conv2d: [2,2,4,4]");
}

/* A convolution that computes the ReLU behind it is the one that fails. */
Test(where, two_layers_in_one_pass) {
    expect_text(pleat_nn_sequential(ctx, pleat_nn_tanh(ctx), conv(2, 4, 5), pleat_nn_relu(ctx)),
                image(PLEAT_F32, 2), "1: Conv2d: conv2d: [2,2,4,4], ");
}

/* ---- modules of one's own --------------------------------------------------------------------------------- */

static pleat_tensor *skip_forward(pleat_nn_module *m, pleat_tensor *x) {
    pleat_tensor *y = pleat_nn_forward(pleat_nn_child(m, 0), x);
    return pleat_concat(2, (pleat_tensor *[]){x, pleat_nn_forward(pleat_nn_child(m, 1), y)}, 1);
}

static const pleat_nn_kind skip_kind = {.name = "Skip", .forward = skip_forward};

static pleat_nn_module *skip(const char *down, pleat_nn_module *first, pleat_nn_module *second) {
    pleat_nn_module *m = pleat_nn_module_new(ctx, &skip_kind, NULL, 0);
    m = pleat_nn_add_child(m, down, first);
    return pleat_nn_add_child(m, "up", second);
}

Test(where, a_module_of_ones_own) {
    expect_text(skip("down", conv(2, 2, 2), pleat_nn_relu(ctx)), image(PLEAT_F32, 2),
                "Skip: concat: [2,2,4,4] and [2,2,3,3]");
    expect_text(pleat_nn_sequential(ctx, skip("down", conv(2, 2, 2), pleat_nn_relu(ctx))),
                image(PLEAT_F32, 2), "0: Skip: concat: [2,2,4,4]");
    expect_text(skip("down", conv(2, 2, 5), pleat_nn_relu(ctx)), image(PLEAT_F32, 2),
                "down: Conv2d: conv2d: [2,2,4,4]");
    /* a child that is called as the op */
    expect_text(skip("conv2d", conv(2, 2, 5), pleat_nn_relu(ctx)), image(PLEAT_F32, 2),
                "conv2d: Conv2d: conv2d: [2,2,4,4]");
    expect_text(skip("Conv2d", conv(3, 2, 5), pleat_nn_relu(ctx)), image(PLEAT_F32, 2),
                "Conv2d: Conv2d: x is [2,2,4,4]");
}

static pleat_tensor *null_forward(pleat_nn_module *m, pleat_tensor *x) { return (void)m, (void)x, NULL; }
static pleat_tensor *deaf_forward(pleat_nn_module *m, pleat_tensor *x) {
    (void)x;
    return pleat_nn_forward(pleat_nn_child(m, 0), NULL);
}
static pleat_tensor *childless_forward(pleat_nn_module *m, pleat_tensor *x) {
    return pleat_nn_forward(pleat_nn_child(m, 1), x);
}
static const pleat_nn_kind null_kind = {.name = "Null", .forward = null_forward},
                           deaf_kind = {.name = "Deaf", .forward = deaf_forward},
                           childless_kind = {.name = "Childless", .forward = childless_forward};

Test(where, null_pointers) {
    expect_text(pleat_nn_sequential(ctx, pleat_nn_module_new(ctx, &null_kind, NULL, 0)), image(PLEAT_F32, 2),
                "0: Null: forward returned NULL");
    pleat_nn_module *m = pleat_nn_module_new(ctx, &deaf_kind, NULL, 0);
    expect_text(pleat_nn_sequential(ctx, pleat_nn_add_child(m, "relu", pleat_nn_relu(ctx))),
                image(PLEAT_F32, 2), "0.relu: ReLU: x is NULL");
    m = pleat_nn_module_new(ctx, &childless_kind, NULL, 0);
    expect_text(pleat_nn_add_child(m, "relu", pleat_nn_relu(ctx)), image(PLEAT_F32, 2),
                "Childless: forward: the module is NULL: its constructor failed, or there is no such child");
}

/* A module that calls another tree, which is no child of it: each tree names its part of the way. */
static pleat_tensor *holder_forward(pleat_nn_module *m, pleat_tensor *x) {
    return pleat_nn_forward(*(pleat_nn_module *const *)pleat_nn_attrs(m), x);
}

Test(where, a_tree_within_a_tree) {
    static const pleat_nn_kind holder_kind = {.name = "Holder", .forward = holder_forward};
    pleat_nn_module *inner = pleat_nn_sequential(ctx, pleat_nn_relu(ctx), conv(3, 4, 3));
    for (int i = 0; i < 2; i++)
        expect_text(pleat_nn_sequential(ctx, pleat_nn_module_new(ctx, &holder_kind, &inner, sizeof inner)),
                    image(PLEAT_F32, 2), "0: Holder: 1: Conv2d: x is [2,2,4,4]; this layer takes [N,3,H,W]");
    pleat_nn_free(inner);
}

/* ---- no wrong blame ----------------------------------------------------------------------------------------- */

Test(where, the_first_error_is_left_alone) {
    pleat_nn_module *m = pleat_nn_sequential(ctx, conv(2, 4, 5));
    pleat_tensor *poison = pleat_add(image(PLEAT_F32, 2), image(PLEAT_F32, 3));
    char first[480];
    memcpy(first, pleat_error(ctx)->text, sizeof first);
    cr_expect(pleat_is_poison(pleat_nn_forward(m, poison)));
    cr_expect(pleat_is_poison(pleat_nn_forward(m, image(PLEAT_F32, 2))));
    cr_expect_str_eq(pleat_error(ctx)->text, first);
    pleat_clear_error(ctx);
    cr_expect(pleat_is_poison(pleat_nn_forward(m, poison)));
    cr_expect_eq(pleat_error(ctx)->code, PLEAT_OK, "%s", pleat_error(ctx)->text);
    pleat_nn_free(m);
}

/* After an error the next one is named as well; and one that no module made is not. */
Test(where, each_error_is_named_anew) {
    pleat_nn_module *m = pleat_nn_sequential(ctx, conv(2, 4, 5));
    for (int i = 0; i < 2; i++) {
        pleat_nn_forward(m, image(PLEAT_F32, 2));
        EXPECT_FAILED(pleat_error(ctx)->code, PLEAT_ERR_SHAPE, "conv2d", "0: Conv2d: conv2d: [2,2,4,4]");
    }
    for (int i = 0; i < 2; i++) { /* a part of the tree by itself */
        pleat_nn_forward(pleat_nn_child(m, 0), image(PLEAT_F32, 2));
        EXPECT_FAILED(pleat_error(ctx)->code, PLEAT_ERR_SHAPE, "conv2d", "0: Conv2d: conv2d: [2,2,4,4]");
    }
    pleat_add(image(PLEAT_F32, 2), image(PLEAT_F32, 3));
    cr_expect_eq(strncmp(pleat_error(ctx)->text, "add: ", 5), 0, "%s", pleat_error(ctx)->text);
    pleat_clear_error(ctx);
    pleat_nn_free(m);
}

Test(where, a_long_path_keeps_its_end) {
    pleat_nn_module *m = conv(3, 2, 5);
    for (int i = 0; i < 40; i++) {
        pleat_nn_module *outer = pleat_nn_module_new(ctx, &childless_kind, NULL, 0);
        outer = pleat_nn_add_child(outer, "unused", pleat_nn_relu(ctx));
        m = pleat_nn_add_child(outer, i ? "a_name_of_many_characters" : "last", m);
    }
    pleat_nn_forward(m, image(PLEAT_F32, 2));
    const char *text = pleat_error(ctx)->text;
    cr_expect(
        !strncmp(text, "...", 3) &&
            strstr(text,
                   ".a_name_of_many_characters.last: Conv2d: x is [2,2,4,4]; this layer takes [N,3,H,W]"),
        "%s", text);
    pleat_clear_error(ctx);
    pleat_nn_free(m);
}

/* ---- summaries ---------------------------------------------------------------------------------------------- */

static void expect_summary(pleat_nn_module *m, pleat_status status, const char *expected) {
    char *text = NULL;
    size_t bytes;
    FILE *f = open_memstream(&text, &bytes);
    cr_expect_eq(pleat_nn_summary(m, PLEAT_SHAPE(1, 2, 4, 4), f), status);
    fclose(f);
    cr_expect_str_eq(text, expected);
    free(text);
    pleat_clear_error(ctx);
}

Test(where, a_summary_shows_the_layers_up_to_the_error) {
    pleat_nn_module *m =
        pleat_nn_sequential(ctx, conv(2, 4, 3), pleat_nn_sequential(ctx, pleat_nn_relu(ctx), conv(3, 2, 1)),
                            pleat_nn_flatten(ctx));
    expect_summary(m, PLEAT_ERR_SHAPE,
                   "layer                        output shape    parameters   multiply-adds\n"
                   "0  Conv2d(2, 4, kernel 3x3)  [1,4,2,2]               76             288\n"
                   "1.0  ReLU                    [1,4,2,2]                0               0\n"
                   "1.1: Conv2d: x is [1,4,2,2]; this layer takes [N,3,H,W]\n");
    pleat_nn_layer_info rows[4];
    size_t count;
    cr_expect_eq(pleat_nn_layers(m, PLEAT_SHAPE(1, 2, 4, 4), rows, 4, &count), PLEAT_ERR_SHAPE);
    cr_expect(count == 2 && !strcmp(rows[1].name, "1.0"));
    pleat_clear_error(ctx);
    pleat_nn_free(m);
}

/* Its branches do not depend on each other, and the second still runs. */
static pleat_tensor *branches_forward(pleat_nn_module *m, pleat_tensor *x) {
    pleat_tensor *y = pleat_nn_forward(pleat_nn_child(m, 0), x);
    return pleat_add(y, pleat_add(pleat_nn_own_param(m, 0), pleat_nn_forward(pleat_nn_child(m, 1), x)));
}

static pleat_nn_module *branches(pleat_nn_module *first) {
    static const pleat_nn_kind kind = {.name = "Branches", .forward = branches_forward};
    pleat_nn_module *m = pleat_nn_module_new(ctx, &kind, NULL, 0);
    m = pleat_nn_add_child(pleat_nn_add_child(m, "left", first), "right", pleat_nn_relu(ctx));
    return pleat_nn_add_param(m, "shift", pleat_zeros(ctx, PLEAT_F32, PLEAT_SHAPE(4)));
}

Test(where, a_summary_shows_no_layer_after_the_error) {
    pleat_nn_module *m = branches(conv(2, 4, 9));
    expect_summary(
        m, PLEAT_ERR_SHAPE,
        "layer  output shape    parameters   multiply-adds\n"
        "left: Conv2d: conv2d: [1,2,4,4], [4,2,9,9] and [4]: along axis H the kernel (9, dilation 1) exceeds the image "
        "(4) padded by 0 and 0\n");
    pleat_nn_free(m);
}

/* The total counts parameters of modules with children, too. */
Test(where, a_summary_counts_all_parameters) {
    pleat_nn_module *m = branches(pleat_nn_tanh(ctx));
    expect_summary(m, PLEAT_OK,
                   "layer        output shape    parameters   multiply-adds\n"
                   "left  Tanh   [1,2,4,4]                0               0\n"
                   "right  ReLU  [1,2,4,4]                0               0\n"
                   "total                                 4               0\n");
    pleat_nn_free(m);
}

/* ---- modules that do not describe themselves ------------------------------------------------------------------ */

static pleat_tensor *gated_forward(pleat_nn_module *m, pleat_tensor *x) {
    pleat_tensor *gate = pleat_sigmoid(pleat_scale(x, 0.5));
    return pleat_add(pleat_mul(gate, pleat_nn_own_param(m, 0)), pleat_sum(gate, PLEAT_AXES(1), .keep = true));
}

static pleat_tensor *long_forward(pleat_nn_module *m, pleat_tensor *x) {
    (void)m;
    for (int i = 0; i < 100000; i++) x = pleat_neg(x);
    return x;
}

static pleat_tensor *same_forward(pleat_nn_module *m, pleat_tensor *x) { return (void)m, x; }

static pleat_nn_module *plain(const pleat_nn_kind *kind) {
    pleat_nn_module *m = pleat_nn_module_new(ctx, kind, NULL, 0);
    return pleat_nn_add_param(m, "weight", pleat_full(ctx, PLEAT_F32, PLEAT_SHAPE(1, 1), 2));
}

Test(where, a_summary_lists_the_ops_of_a_module) {
    static const pleat_nn_kind gated = {.name = "Gated", .forward = gated_forward},
                               lengthy = {.name = "Long", .forward = long_forward},
                               none = {.name = "Same", .forward = same_forward};
    pleat_nn_module *m =
        pleat_nn_sequential(ctx, pleat_nn_tanh(ctx), plain(&gated), plain(&none), plain(&lengthy));
    pleat_nn_layer_info rows[4];
    size_t count;
    bool recording = pleat_set_recording(ctx, false);
    EXPECT_OK(pleat_nn_layers(m, PLEAT_SHAPE(1, 2), rows, 4, &count));
    cr_expect_not(pleat_set_recording(ctx, recording));
    static const char *const expected[] = {"", "scale(a 0.5), sigmoid, mul, sum(axes 1, keep 1), add", "",
                                           "more than 8 ops"};
    for (size_t i = 0; i < 4; i++) cr_expect_str_eq(rows[i].description, expected[i]);
    pleat_nn_free(m);
}

/* Layers on images: batches, channels, groups, bias and layouts, with gradients, and the geometry for the kernels. */
#include <stdlib.h>

#include "conv_calls.h"
#include "frameworks_lines.h"

TestSuite(tensors, .init = tensors_begin, .fini = tensors_end);

/* ---- layers that use everything, each axis in its own way ------------------------------------------------ */

static const pleat_layer layers[] = {
    {.framework = PLEAT_TORCH, .stride = {2, 1}, .dilation = {1, 2}, .groups = 2, .pads = {1, 2, 1, 2}},
    {.framework = PLEAT_TORCH,
     .transpose = true,
     .stride = {2, 1},
     .dilation = {1, 2},
     .groups = 2,
     .pads = {1, 0, 1, 0},
     .has_output_padding = true,
     .output_padding = {0, 1}},
    {.framework = PLEAT_ONNX,
     .stride = {3, 2},
     .dilation = {1, 1},
     .groups = 2,
     .padding = PLEAT_PADDING_SAME_LOWER},
    {.framework = PLEAT_ONNX,
     .transpose = true,
     .stride = {3, 2},
     .dilation = {2, 1},
     .groups = 2,
     .has_output_size = true,
     .output_size = {14, 6}},
    {.framework = PLEAT_TENSORFLOW,
     .stride = {1, 2},
     .dilation = {2, 1},
     .groups = 2,
     .padding = PLEAT_PADDING_SAME,
     .channels_last = true},
    {.framework = PLEAT_TENSORFLOW,
     .transpose = true,
     .stride = {2, 3},
     .dilation = {1, 2},
     .groups = 1,
     .padding = PLEAT_PADDING_SAME,
     .has_output_size = true,
     .output_size = {7, 10},
     .channels_last = true},
    {.framework = PLEAT_KERAS,
     .stride = {2, 3},
     .dilation = {1, 1},
     .groups = 2,
     .padding = PLEAT_PADDING_VALID},
    {.framework = PLEAT_KERAS,
     .transpose = true,
     .stride = {2, 3},
     .dilation = {1, 1},
     .groups = 1,
     .padding = PLEAT_PADDING_SAME,
     .has_output_padding = true,
     .output_padding = {1, 0},
     .channels_last = true},
};
enum { LAYERS = sizeof layers / sizeof *layers };

static const size_t nchw[] = {0, 1, 2, 3}, to_nhwc[] = {0, 2, 3, 1}, to_nchw[] = {0, 3, 1, 2};
static const size_t to_hwio[] = {2, 3, 1, 0}, in[2] = {4, 4}, kernel[2] = {3, 2};

static bool kernel_first(const pleat_layer *l) {
    return l->framework == PLEAT_TENSORFLOW || l->framework == PLEAT_KERAS;
}

/* 4 channels in, 6 out: input, weight and bias in pleat's layouts. */
typedef struct arrays {
    pleat_tensor *input, *weight, *bias;
} arrays;

static arrays make(const pleat_layer *l, pleat_dtype type) {
    size_t each = (l->transpose ? 6 : 4) / l->groups;
    return (arrays){whole(type, PLEAT_SHAPE(2, 4, in[0], in[1])),
                    whole(type, PLEAT_SHAPE(l->transpose ? 4 : 6, each, kernel[0], kernel[1])),
                    whole(type, PLEAT_SHAPE(6))};
}

static pleat_tensor *apply(const pleat_layer *l, arrays a) {
    pleat_tensor *x = pleat_permute(a.input, l->channels_last ? to_nhwc : nchw);
    pleat_tensor *w = pleat_permute(a.weight, kernel_first(l) ? to_hwio : nchw);
    pleat_tensor *y = pleat_layer_apply(l, x, w, a.bias);
    return pleat_permute(y, l->channels_last ? to_nchw : nchw);
}

/* ---- values ---------------------------------------------------------------------------------------------- */

/* The natural transpose, with zeros behind it, cut as the plan says. */
static pleat_tensor *cropped(const pleat_layer *l, const pleat_layer_plan *p, arrays a) {
    pleat_tensor *y =
        pleat_conv2d_transpose(a.input, a.weight, .stride = {l->stride[0], l->stride[1]},
                               .dilation = {l->dilation[0], l->dilation[1]}, .groups = l->groups);
    cr_assert(pleat_size(y, 2) == p->natural[0] && pleat_size(y, 3) == p->natural[1]);
    y = pleat_pad(y, (size_t[]){2, 6, 40, 40}, (size_t[4]){0}, NULL);
    return pleat_slice(y, (size_t[]){0, 0, (size_t)p->crop[0], (size_t)p->crop[1]},
                       (size_t[]){2, 6, p->out[0], p->out[1]}, NULL);
}

/* The convolution of the input with zeros all round. */
static pleat_tensor *padded(const pleat_layer *l, const pleat_layer_plan *p, arrays a) {
    pleat_tensor *x = pleat_pad(a.input, (size_t[]){2, 4, 40, 40}, (size_t[]){0, 0, 10, 10}, NULL);
    x = pleat_slice(x, (size_t[]){0, 0, (size_t)(10 - p->crop[0]), (size_t)(10 - p->crop[1])},
                    (size_t[]){2, 4, 20, 20}, NULL);
    pleat_tensor *y = pleat_conv2d(x, a.weight, .stride = {l->stride[0], l->stride[1]},
                                   .dilation = {l->dilation[0], l->dilation[1]}, .groups = l->groups);
    return pleat_slice(y, (size_t[4]){0}, (size_t[]){2, 6, p->out[0], p->out[1]}, NULL);
}

Test(tensors, values_with_channels_groups_and_bias) {
    for (size_t i = 0; i < LAYERS; i++) {
        for (pleat_dtype type = PLEAT_F32; type <= PLEAT_F64; type++) {
            arrays a = make(&layers[i], type);
            pleat_layer_plan p;
            cr_assert(pleat_layer_plan_for(&layers[i], in, kernel, &p), "%s", p.why);
            pleat_tensor *expected =
                layers[i].transpose ? cropped(&layers[i], &p, a) : padded(&layers[i], &p, a);
            expected = pleat_add(expected, pleat_reshape(a.bias, PLEAT_SHAPE(1, 6, 1, 1)));
            EXPECT_NEAR(apply(&layers[i], a), expected, 0);
        }
    }
}

Test(tensors, layouts) {
    for (size_t i = 0; i < LAYERS; i++) {
        if (!kernel_first(&layers[i])) continue;
        arrays a = make(&layers[i], PLEAT_F32);
        pleat_layer first = layers[i], last = layers[i];
        first.channels_last = false;
        last.channels_last = true;
        EXPECT_SAME(apply(&first, a), apply(&last, a));
        pleat_tensor *y =
            pleat_layer_apply(&last, pleat_permute(a.input, to_nhwc), pleat_permute(a.weight, to_hwio), NULL);
        cr_assert(pleat_is_contiguous(y) && pleat_size(y, 3) == 6);
    }
}

Test(tensors, results_without_bias) {
    arrays a = make(&layers[0], PLEAT_F64), without = {a.input, a.weight, NULL};
    pleat_tensor *bias = pleat_reshape(a.bias, PLEAT_SHAPE(1, 6, 1, 1));
    EXPECT_SAME(pleat_add(apply(&layers[0], without), bias), apply(&layers[0], a));
}

/* ---- gradients ------------------------------------------------------------------------------------------- */

static pleat_tensor *as_function(size_t n, pleat_tensor *const *xs, void *user) {
    return apply(user, (arrays){xs[0], xs[1], n > 2 ? xs[2] : NULL});
}

Test(tensors, gradients) {
    for (size_t i = 0; i < LAYERS; i++) {
        pleat_layer l = layers[i];
        arrays a = make(&l, PLEAT_F64);
        pleat_report report;
        pleat_status status = pleat_gradcheck(as_function, 3, (pleat_tensor *[]){a.input, a.weight, a.bias},
                                              .user = &l, .report = &report);
        cr_assert_eq(status, PLEAT_OK, "%s: %s", pleat_framework_name(l.framework), report.text);
    }
}

Test(tensors, second_derivatives) {
    for (size_t i = 0; i < LAYERS; i++) {
        pleat_layer l = layers[i];
        l.groups = 1;
        pleat_tensor *xs[] = {pleat_randn(ctx, PLEAT_F64, PLEAT_SHAPE(1, 1, in[0], in[1])),
                              pleat_randn(ctx, PLEAT_F64, PLEAT_SHAPE(1, 1, kernel[0], kernel[1]))};
        pleat_report report;
        pleat_status status = pleat_gradcheck(as_function, 2, xs, .user = &l, .order = 2, .report = &report);
        cr_assert_eq(status, PLEAT_OK, "%s: %s", pleat_framework_name(l.framework), report.text);
    }
}

/* ---- the geometry for the kernels ------------------------------------------------------------------------ */

Test(tensors, geometry) {
    for (size_t i = 0; i < LAYERS; i++) {
        const pleat_layer *l = &layers[i];
        arrays a = make(l, PLEAT_F64);
        pleat_layer_plan p;
        cr_assert(pleat_layer_plan_for(l, in, kernel, &p));
        pleat_conv_shape g = pleat_layer_geometry(l, &p, 2, (size_t[]){4, 6}, in, kernel);
        cr_assert_null(pleat_conv_check(&g, sizeof(double)));
        pleat_tensor *y = pleat_empty(ctx, PLEAT_F64, PLEAT_SHAPE(2, 6, p.out[0], p.out[1]));
        pleat_conv_op op = l->transpose ? PLEAT_CONV_TRANSPOSE : PLEAT_CONV_FORWARD;
        pleat_work work = {.bytes = conv_bytes(&g, sizeof(double), op, (pleat_path){0}, 1)};
        work.memory = malloc(work.bytes);
        void *xwy[3] = {pleat_f64(l->transpose ? y : a.input), pleat_f64(a.weight),
                        pleat_f64(l->transpose ? a.input : y)};
        int status = conv_run(&g, sizeof(double), op, (pleat_path){0}, xwy, &work);
        free(work.memory);
        cr_assert_eq(status, 0);
        a.bias = NULL;
        EXPECT_SAME(pleat_contiguous(apply(l, a)), y);
    }
}

Test(tensors, tensorflow_has_as_many_groups_as_the_channels_say) {
    pleat_layer l = {.framework = PLEAT_TENSORFLOW, .groups = 1, .channels_last = true};
    pleat_tensor *weight = pleat_zeros(ctx, PLEAT_F32, PLEAT_SHAPE(3, 3, 2, 12));
    static const struct {
        size_t channels, groups;
    } cases[] = {{2, 1}, {6, 3}, {8, 4}, {7, 1}, {0, 1}}; /* 1 as given, where there is no whole number */
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        size_t channels = cases[i].channels;
        pleat_tensor *last = pleat_zeros(ctx, PLEAT_F32, PLEAT_SHAPE(1, 5, 9, channels));
        pleat_tensor *first = pleat_zeros(ctx, PLEAT_F32, PLEAT_SHAPE(1, channels, 5, 9));
        cr_expect_eq(pleat_layer_groups(&l, last, weight), cases[i].groups, "%zu channels", channels);
        l.channels_last = false;
        cr_expect_eq(pleat_layer_groups(&l, first, weight), cases[i].groups, "%zu channels", channels);
        l.channels_last = true;
    }
    pleat_tensor *x = pleat_zeros(ctx, PLEAT_F32, PLEAT_SHAPE(1, 5, 9, 6)),
                 *vector = pleat_reshape(x, 1, &(size_t){270});
    cr_expect_eq(pleat_layer_groups(&l, x, vector), 1);
    cr_expect_eq(pleat_layer_groups(&l, vector, weight), 1);
    cr_expect_eq(pleat_layer_groups(&l, x, pleat_zeros(ctx, PLEAT_F32, PLEAT_SHAPE(3, 3, 0, 12))), 1);
    l.transpose = true;
    cr_expect_eq(pleat_layer_groups(&l, x, weight), 1, "its weight holds all channels");
    l.transpose = false;
    l.framework = PLEAT_KERAS;
    cr_expect_eq(pleat_layer_groups(&l, x, weight), 1, "Keras has the argument");
    l.framework = PLEAT_FRAMEWORKS;
    cr_expect_eq(pleat_layer_groups(&l, x, weight), 1);
}

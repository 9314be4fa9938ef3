/* What is refused, and the line that says so; sizes up to SIZE_MAX. */
#include <stdint.h>
#include <string.h>

#include "frameworks_lines.h"

TestSuite(refusals, .init = tensors_begin, .fini = tensors_end);

static const size_t five[2] = {5, 5}, three[2] = {3, 3};

static pleat_layer layer(pleat_framework f, bool transpose, pleat_padding padding) {
    return (pleat_layer){.framework = f,
                         .transpose = transpose,
                         .stride = {2, 2},
                         .dilation = {1, 1},
                         .groups = 1,
                         .padding = padding};
}

/* 5 by 5 pixels, kernels of 3 by 3: refused, and why. */
static void expect_why(const pleat_layer *l, const char *why) {
    pleat_layer_plan p;
    memset(&p, 1, sizeof p);
    cr_assert(!pleat_layer_plan_for(l, five, three, &p), "accepted, but expected: %s", why);
    cr_assert_str_eq(p.why, why);
    cr_assert(strchr(p.why, '\n') == NULL && p.out[0] * p.out[1] == 0);
}

/* The layer l after `change`, an expression. */
#define EXPECT_WHY(why, framework, transpose, padding, change)                        \
    do {                                                                              \
        pleat_layer l = layer(PLEAT_##framework, transpose, PLEAT_PADDING_##padding); \
        change;                                                                       \
        expect_why(&l, why);                                                          \
    } while (0)

Test(refusals, names) {
    cr_assert_str_eq(pleat_framework_name(PLEAT_TORCH), "torch");
    cr_assert_str_eq(pleat_framework_name(PLEAT_TENSORFLOW), "tensorflow");
    cr_assert_str_eq(pleat_framework_name(PLEAT_ONNX), "onnx");
    cr_assert_str_eq(pleat_framework_name(PLEAT_KERAS), "keras");
    cr_assert_str_eq(pleat_framework_name(PLEAT_FRAMEWORKS), "unknown");
    EXPECT_WHY("framework 4 is none of pleat_framework", TORCH, true, EXPLICIT,
               l.framework = PLEAT_FRAMEWORKS);
    EXPECT_WHY("padding 5 is none of pleat_padding", TORCH, true, EXPLICIT, l.padding = (pleat_padding)5);
}

Test(refusals, words_a_framework_does_not_know) {
    EXPECT_WHY("torch has no padding 'same' for a transposed convolution", TORCH, true, SAME, (void)0);
    EXPECT_WHY("torch has no padding 'valid' for a transposed convolution", TORCH, true, VALID, (void)0);
    EXPECT_WHY("torch has no padding 'same_upper' for a convolution", TORCH, false, SAME_UPPER, (void)0);
    EXPECT_WHY("tensorflow has no padding 'same_lower' for a convolution", TENSORFLOW, false, SAME_LOWER,
               (void)0);
    EXPECT_WHY("onnx has no padding 'same' for a transposed convolution", ONNX, true, SAME, (void)0);
    EXPECT_WHY("keras has no padding 'explicit' for a convolution", KERAS, false, EXPLICIT, (void)0);
    EXPECT_WHY("tensorflow has no output_padding: give output_shape", TENSORFLOW, true, SAME,
               l.has_output_padding = true);
    EXPECT_WHY("keras has no output_size: give output_padding", KERAS, true, SAME, l.has_output_size = true);
    EXPECT_WHY("torch has no channels_last: its arrays are [N,C,H,W]", TORCH, true, EXPLICIT,
               l.channels_last = true);
    EXPECT_WHY("onnx has no channels_last: its arrays are [N,C,H,W]", ONNX, false, VALID,
               l.channels_last = true);
    EXPECT_WHY("groups 2: tensorflow takes 1 in a transposed convolution", TENSORFLOW, true, SAME,
               l.groups = 2);
    EXPECT_WHY("groups 3: keras takes 1 in a transposed convolution", KERAS, true, SAME, l.groups = 3);
    EXPECT_WHY("groups 0: there must be 1 or more", TORCH, true, EXPLICIT, l.groups = 0);
}

Test(refusals, words_that_contradict) {
    EXPECT_WHY("pads beside padding 'same_upper': give one of them", ONNX, true, SAME_UPPER, l.pads[3] = 1);
    EXPECT_WHY("pads beside padding 'valid': give one of them", TENSORFLOW, false, VALID, l.pads[0] = 1);
    EXPECT_WHY("pads -1: a padding must be 0 or more", ONNX, true, EXPLICIT, l.pads[2] = -1);
    EXPECT_WHY("padding 1 and 0 on axis W: torch pads both sides alike", TORCH, true, EXPLICIT,
               l.pads[1] = 1);
    EXPECT_WHY("padding 0 and 2 on axis H: torch pads both sides alike", TORCH, false, EXPLICIT,
               l.pads[2] = 2);
    EXPECT_WHY("output_padding: a convolution has none, a transposed convolution may", TORCH, false, EXPLICIT,
               l.has_output_padding = true);
    EXPECT_WHY("output_shape: a convolution has none, a transposed convolution may", TENSORFLOW, false, SAME,
               l.has_output_size = true);
    EXPECT_WHY("output_padding is set, so has_output_padding must be true", TORCH, true, EXPLICIT,
               l.output_padding[1] = 1);
    EXPECT_WHY("output_size is set, so has_output_size must be true", TORCH, true, EXPLICIT,
               l.output_size[0] = 9);
    EXPECT_WHY("stride 2,2 with dilation 1,2: keras takes one of them, the other must be 1,1", KERAS, true,
               SAME, l.dilation[1] = 2);
    EXPECT_WHY("stride 2,1 with dilation 1,3: keras takes one of them, the other must be 1,1", KERAS, false,
               VALID, (l.stride[1] = 1, l.dilation[1] = 3));
    EXPECT_WHY("padding 'same' with stride 2 on axis H: torch takes stride 1 here", TORCH, false, SAME,
               (void)0);
    EXPECT_WHY("auto_pad with dilation 2 on axis W: ONNX Runtime takes dilation 1 here", ONNX, false,
               SAME_LOWER, l.dilation[1] = 2);
}

/* 5 pixels, kernel 3, stride 2: a natural length of 11. */
Test(refusals, sizes_out_of_range) {
    EXPECT_WHY(
        "output_size 16 on axis H: torch takes 9..10 here", TORCH, true, EXPLICIT,
        (l.pads[0] = l.pads[2] = 1, l.has_output_size = true, l.output_size[0] = 16, l.output_size[1] = 11));
    EXPECT_WHY("output_size 0 on axis W: torch takes 11..12 here", TORCH, true, EXPLICIT,
               (l.has_output_size = true, l.output_size[0] = 11));
    EXPECT_WHY("output_padding 2 on axis W: torch takes 0..1 here", TORCH, true, EXPLICIT,
               (l.has_output_padding = true, l.output_padding[1] = 2));
    EXPECT_WHY("output_padding 4 on axis H: torch takes 0..3 here", TORCH, true, EXPLICIT,
               (l.dilation[0] = 4, l.has_output_padding = true, l.output_padding[0] = 4));
    EXPECT_WHY("output_padding 1 on axis H: onnx takes 0 alone here", ONNX, true, EXPLICIT,
               (l.stride[0] = 1, l.has_output_padding = true, l.output_padding[0] = 1));
    EXPECT_WHY("output_padding 2 on axis H: keras takes 0..1 here", KERAS, true, VALID,
               (l.has_output_padding = true, l.output_padding[0] = 2));
    EXPECT_WHY("output_shape 11 on axis W: tensorflow takes 9..10 here", TENSORFLOW, true, SAME,
               (l.has_output_size = true, l.output_size[0] = 10, l.output_size[1] = 11));
    EXPECT_WHY("output_shape 13 on axis H: tensorflow takes 11..12 here", TENSORFLOW, true, VALID,
               (l.has_output_size = true, l.output_size[0] = 13));
    EXPECT_WHY("output_shape 0 on axis H: onnx takes 1..12 here", ONNX, true, VALID,
               l.has_output_size = true);
}

Test(refusals, nothing_left) {
    EXPECT_WHY("padding 7 and 7 on axis H leaves nothing of the natural length 11", TORCH, true, EXPLICIT,
               l.pads[0] = l.pads[2] = 7);
    EXPECT_WHY("output_padding 0 on axis H: torch takes 2 alone here", TORCH, true, EXPLICIT,
               (l.stride[0] = 3, l.pads[0] = l.pads[2] = 8)); /* 15 - 16 pixels */
    EXPECT_WHY("output_size 0 on axis H: torch takes 1 alone here", TORCH, true, EXPLICIT,
               (l.stride[0] = 3, l.pads[0] = l.pads[2] = 8, l.has_output_size = true));
    EXPECT_WHY("output_size 1 on axis H: torch takes none here", TORCH, true, EXPLICIT,
               (l.stride[0] = 1, l.dilation[0] = 4, l.pads[0] = l.pads[2] = 7, l.has_output_size = true,
                l.output_size[0] = 1)); /* 13 - 14 pixels, and at most 0 more */
    EXPECT_WHY("padding 9 and 4 on axis W leaves nothing of the natural length 11", TENSORFLOW, true,
               EXPLICIT, (l.pads[1] = 9, l.pads[3] = 4));
    EXPECT_WHY("pads 8 and 3 on axis H leave nothing of 11", ONNX, true, EXPLICIT,
               (l.pads[0] = 8, l.pads[2] = 3));
    EXPECT_WHY("the kernel on axis W (9 pixels, dilation included) exceeds the input (5) padded by 0 and 3",
               ONNX, false, EXPLICIT, (l.dilation[1] = 4, l.pads[3] = 3));
    EXPECT_WHY("the kernel on axis H (7 pixels, dilation included) exceeds the input (5) padded by 0 and 0",
               TENSORFLOW, false, VALID, l.dilation[0] = 3);
}

/* ---- sizes beyond the machine ---------------------------------------------------------------------------- */

Test(refusals, empty_axes) {
    static const size_t none[2] = {5, 0};
    pleat_layer same = layer(PLEAT_TENSORFLOW, true, PLEAT_PADDING_SAME);
    pleat_layer_plan p;
    cr_assert(!pleat_layer_plan_for(&same, none, three, &p));
    cr_assert_str_eq(p.why, "axis W: input 0, kernel 3, stride 2 and dilation 1 must be 1 or more");
    cr_assert(!pleat_layer_plan_for(&same, five, none, &p));
    cr_assert_str_eq(p.why, "axis W: input 5, kernel 0, stride 2 and dilation 1 must be 1 or more");
    EXPECT_WHY("axis H: input 5, kernel 3, stride 0 and dilation 1 must be 1 or more", ONNX, false, VALID,
               l.stride[0] = 0);
    EXPECT_WHY("axis W: input 5, kernel 3, stride 2 and dilation 0 must be 1 or more", KERAS, true, VALID,
               l.dilation[1] = 0);
}

/* Every mixture of harmless and huge numbers ends in a plan that the kernels can index, or in a reason. */
/* PTRDIFF_MAX itself may be PLEAT_NONE. */
#define BELOW_STEP_MOST BY_WIDTH("9223372036854775806", "2147483646")

Test(refusals, huge_numbers) {
    static const size_t sizes[] = {1,           3,       (size_t)1 << BY_WIDTH(32, 16), PTRDIFF_MAX / 8,
                                   PTRDIFF_MAX, SIZE_MAX};
    enum { SIZES = sizeof sizes / sizeof *sizes };
    size_t refusals = 0;
    for (size_t i = 0; i < 10 * SIZES * SIZES * SIZES * SIZES * SIZES; i++) {
        size_t n[5], rest = i / 10;
        for (size_t k = 0; k < 5; k++, rest /= SIZES) n[k] = sizes[rest % SIZES];
        pleat_layer l = layer((pleat_framework)(i % 4), i % 10 < 5, (pleat_padding)(i % 5));
        l.stride[1] = n[0];
        l.dilation[1] = n[1];
        if (l.padding == PLEAT_PADDING_EXPLICIT) l.pads[1] = l.pads[3] = (ptrdiff_t)(n[2] & PTRDIFF_MAX);
        l.has_output_padding = i % 3 == 0 && l.transpose;
        if (l.has_output_padding) l.output_padding[1] = n[2];
        l.has_output_size = i % 3 == 1 && l.transpose;
        if (l.has_output_size) l.output_size[0] = 9, l.output_size[1] = n[2];
        pleat_layer_plan p;
        bool legal = pleat_layer_plan_for(&l, (size_t[]){5, n[3]}, (size_t[]){3, n[4]}, &p);
        cr_assert_eq(legal, p.why[0] == 0);
        bool used = l.padding == PLEAT_PADDING_EXPLICIT || l.has_output_padding || l.has_output_size;
        for (size_t k = 0; legal && k < 5; k++) cr_assert(n[k] <= PTRDIFF_MAX / 8 || (k == 2 && !used));
        cr_assert(p.out[1] <= PTRDIFF_MAX && p.natural[1] <= PTRDIFF_MAX && p.most[1] <= PTRDIFF_MAX);
        refusals += !legal;
    }
    cr_assert_gt(refusals, 0);
    EXPECT_WHY("axis W: 2147483647 is PLEAT_NONE, which is no stride and no dilation", TORCH, true, EXPLICIT,
               l.dilation[1] = PLEAT_NONE);
    EXPECT_WHY("axis H: input 5, kernel 3, stride " SIZE_MOST
               ", dilation 1 and the sizes beside them are too large",
               TORCH, true, EXPLICIT, l.stride[0] = SIZE_MAX);
    EXPECT_WHY("axis W: input 5, kernel 3, stride 2, dilation " BELOW_STEP_MOST
               " and the sizes beside them are too large",
               TENSORFLOW, false, SAME, l.dilation[1] = PTRDIFF_MAX - 1);
}

/* ---- tensors --------------------------------------------------------------------------------------------- */

static pleat_tensor *zeros(size_t a, size_t b, size_t c, size_t d) {
    return pleat_zeros(ctx, PLEAT_F32, PLEAT_SHAPE(a, b, c, d));
}

#define EXPECT_MISFIT(t, ...) EXPECT_REFUSED(t, PLEAT_ERR_SHAPE, "layer_apply", __VA_ARGS__)

Test(refusals, tensors_that_do_not_fit) {
    pleat_layer torch = layer(PLEAT_TORCH, true, PLEAT_PADDING_EXPLICIT), keras = torch, conv = torch;
    keras.framework = PLEAT_KERAS;
    keras.padding = PLEAT_PADDING_SAME;
    keras.channels_last = true;
    conv.transpose = false;
    torch.groups = conv.groups = 2;
    pleat_tensor *x = zeros(1, 4, 5, 5), *six = pleat_zeros(ctx, PLEAT_F32, PLEAT_SHAPE(6));
    EXPECT_MISFIT(pleat_layer_apply(&torch, six, x, NULL), "input [6], weight [1,4,5,5], bias none, groups 2",
                  "ranks must be 4, 4 and 1");
    EXPECT_MISFIT(pleat_layer_apply(&torch, x, six, NULL), "ranks must be 4, 4 and 1");
    EXPECT_MISFIT(pleat_layer_apply(&torch, x, x, x), "bias [1,4,5,5]", "ranks must be 4, 4 and 1");
    EXPECT_MISFIT(pleat_layer_apply(&torch, x, zeros(3, 3, 3, 3), NULL),
                  "the weight must be [Cin,Cout/G,R,S]");
    EXPECT_MISFIT(pleat_layer_apply(&torch, zeros(1, 3, 5, 5), zeros(3, 3, 3, 3), NULL),
                  "the groups must divide the channels");
    EXPECT_MISFIT(pleat_layer_apply(&torch, x, zeros(4, 2, 3, 3), six), "bias [6]",
                  "the bias must be [Cout]");
    EXPECT_MISFIT(pleat_layer_apply(&conv, x, zeros(6, 4, 3, 3), NULL),
                  "the weight must be [Cout,Cin/G,R,S]");
    EXPECT_MISFIT(pleat_layer_apply(&conv, x, zeros(5, 2, 3, 3), NULL),
                  "the groups must divide the channels");
    EXPECT_MISFIT(pleat_layer_apply(&conv, x, zeros(4, 2, 3, 3), six), "the bias must be [Cout]");
    EXPECT_MISFIT(pleat_layer_apply(&keras, zeros(1, 5, 5, 4), zeros(3, 3, 4, 6), NULL),
                  "the weight must be [R,S,Cout,Cin]");
    EXPECT_MISFIT(pleat_layer_apply(&keras, zeros(1, 5, 5, 6), zeros(3, 3, 4, 6), six),
                  "the bias must be [Cout]");
    keras.transpose = false;
    EXPECT_MISFIT(pleat_layer_apply(&keras, zeros(1, 5, 5, 6), zeros(3, 3, 4, 6), six),
                  "the weight must be [R,S,Cin/G,Cout]");
    torch.groups = SIZE_MAX;
    EXPECT_MISFIT(pleat_layer_apply(&torch, x, zeros(4, 2, 3, 3), NULL), "the weight must be");
}

Test(refusals, plans_that_fail) {
    pleat_layer l = layer(PLEAT_TENSORFLOW, true, PLEAT_PADDING_SAME);
    l.has_output_size = true;
    l.output_size[0] = l.output_size[1] = 11;
    EXPECT_MISFIT(pleat_layer_apply(&l, zeros(1, 1, 5, 5), zeros(3, 3, 1, 1), NULL),
                  "output_shape 11 on axis H: tensorflow takes 9..10 here");
    l.framework = PLEAT_FRAMEWORKS;
    EXPECT_MISFIT(pleat_layer_apply(&l, zeros(1, 1, 5, 5), zeros(1, 1, 3, 3), NULL),
                  "none of pleat_framework");
}

Test(refusals, nulls_and_poison) {
    pleat_layer l = layer(PLEAT_TORCH, true, PLEAT_PADDING_EXPLICIT);
    pleat_tensor *x = zeros(1, 1, 5, 5), *poison = pleat_poison(ctx);
    EXPECT_REFUSED(pleat_layer_apply(&l, NULL, x, NULL), PLEAT_ERR_ARGUMENT, "layer_apply",
                   "the input is a null pointer");
    EXPECT_REFUSED(pleat_layer_apply(&l, x, NULL, NULL), PLEAT_ERR_ARGUMENT, "layer_apply",
                   "the weight is a null pointer");
    cr_assert(pleat_is_poison(pleat_layer_apply(&l, NULL, NULL, NULL)));
    cr_assert(pleat_is_poison(pleat_layer_apply(&l, poison, x, NULL)));
    cr_assert(pleat_is_poison(pleat_layer_apply(&l, x, poison, NULL)));
    cr_assert(pleat_is_poison(pleat_layer_apply(&l, x, x, poison)));
    cr_assert_eq(pleat_error(ctx)->code, PLEAT_OK);
    EXPECT_REFUSED(pleat_layer_apply(&l, x, as_type(x, PLEAT_F64), NULL), PLEAT_ERR_DTYPE, "conv2d_transpose",
                   "f64");
}

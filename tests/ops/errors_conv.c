/* What the convolution family refuses, and the defined values of what it does not: empty batches, any size. */
#include "tensors.h"

TestSuite(conv_errors, .init = tensors_begin, .fini = tensors_end);

static pleat_tensor *zeros(size_t a, size_t b, size_t c, size_t d) {
    return pleat_zeros(ctx, PLEAT_F32, PLEAT_SHAPE(a, b, c, d));
}

Test(conv_errors, ranks) {
    pleat_tensor *image = zeros(1, 2, 5, 5), *line = whole(PLEAT_F32, PLEAT_SHAPE(2, 5, 5));
    EXPECT_REFUSED(pleat_conv2d(line, zeros(3, 2, 3, 3)), PLEAT_ERR_SHAPE, "conv2d", "[2,5,5] and [3,2,3,3]",
                   "tensor 0 must be [N,C,H,W]", "rank 4");
    EXPECT_REFUSED(pleat_conv2d(image, line), PLEAT_ERR_SHAPE, "conv2d", "tensor 1 must be [O,C/G,R,S]");
    EXPECT_REFUSED(pleat_conv2d_transpose(line, image), PLEAT_ERR_SHAPE, "conv2d_transpose",
                   "tensor 0 must be [N,O,P,Q]");
    EXPECT_REFUSED(pleat_conv2d_weight(image, line, .kernel = {2, 2}), PLEAT_ERR_SHAPE, "conv2d_weight",
                   "tensor 1 must be [N,O,P,Q]");
}

Test(conv_errors, channels_groups_and_batches) {
    pleat_tensor *image = zeros(1, 4, 5, 5);
    EXPECT_REFUSED(pleat_conv2d(image, zeros(3, 2, 3, 3)), PLEAT_ERR_SHAPE, "conv2d",
                   "[1,4,5,5] and [3,2,3,3]", "the weights take 2 channels", "4 / 1 = 4");
    EXPECT_REFUSED(pleat_conv2d(image, zeros(3, 4, 3, 3), .groups = 3), PLEAT_ERR_SHAPE, "conv2d",
                   "3 groups must divide the 4 image and the 3 map channels");
    EXPECT_REFUSED(pleat_conv2d(image, zeros(3, 2, 3, 3), .groups = 2), PLEAT_ERR_SHAPE, "conv2d",
                   "2 groups must divide the 4 image and the 3 map channels");
    EXPECT_REFUSED(pleat_conv2d(image, zeros(4, 4, 3, 3), .groups = 2), PLEAT_ERR_SHAPE, "conv2d",
                   "the weights take 4 channels a group", "4 / 2 = 2");
    EXPECT_REFUSED(pleat_conv2d(image, zeros(4, 1, 3, 3), .groups = SIZE_MAX), PLEAT_ERR_SHAPE, "conv2d",
                   "groups must divide");
    EXPECT_REFUSED(pleat_conv2d_transpose(image, zeros(3, 2, 3, 3)), PLEAT_ERR_SHAPE, "conv2d_transpose",
                   "[1,4,5,5] and [3,2,3,3]", "belong to 3 map channels, the map has 4");
    EXPECT_REFUSED(pleat_conv2d_transpose(image, zeros(4, 2, 3, 3), .groups = 3), PLEAT_ERR_SHAPE,
                   "conv2d_transpose", "3 groups must divide");
    EXPECT_REFUSED(pleat_conv2d_transpose(image, zeros(4, 2, 3, 3), .groups = SIZE_MAX), PLEAT_ERR_SHAPE,
                   "conv2d_transpose", "groups of 2 channels overflow");
    EXPECT_REFUSED(pleat_conv2d_weight(image, zeros(2, 4, 3, 3), .kernel = {3, 3}), PLEAT_ERR_SHAPE,
                   "conv2d_weight", "[1,4,5,5] and [2,4,3,3]", "batches 1 and 2 must be equal");
    EXPECT_REFUSED(pleat_conv2d_weight(image, zeros(1, 3, 3, 3), .kernel = {3, 3}, .groups = 2),
                   PLEAT_ERR_SHAPE, "conv2d_weight",
                   "2 groups must divide the 4 image and the 3 map channels");
}

Test(conv_errors, kernels_that_do_not_fit) {
    pleat_tensor *image = zeros(1, 1, 5, 6);
    EXPECT_REFUSED(pleat_conv2d(image, zeros(1, 1, 6, 1)), PLEAT_ERR_SHAPE, "conv2d",
                   "[1,1,5,6] and [1,1,6,1]",
                   "along axis H the kernel (6, dilation 1) exceeds the image (5) padded by 0 and 0");
    EXPECT_REFUSED(pleat_conv2d(image, zeros(1, 1, 3, 3), .dilation = {2, 4}), PLEAT_ERR_SHAPE, "conv2d",
                   "along axis W the kernel (3, dilation 4) exceeds the image (6)");
    EXPECT_REFUSED(pleat_conv2d(image, zeros(1, 1, 3, 3), .pads = {-1, 0, -2, 0}), PLEAT_ERR_SHAPE, "conv2d",
                   "along axis H", "padded by -1 and -2");
    EXPECT_REFUSED(pleat_conv2d(image, zeros(1, 1, 3, 3), .dilation = {SIZE_MAX, 1}), PLEAT_ERR_SHAPE,
                   "conv2d", "axis H");
    EXPECT_REFUSED(pleat_conv2d(image, zeros(1, 1, 3, 3), .pad = {PTRDIFF_MAX - 1, PLEAT_NONE}),
                   PLEAT_ERR_SHAPE, "conv2d", "axis H", "no image is as large as the pad");
    EXPECT_REFUSED(pleat_conv2d(image, zeros(1, 1, 3, 3), .pad = {PTRDIFF_MIN, PLEAT_NONE}), PLEAT_ERR_SHAPE,
                   "conv2d", "axis H", "no image is as large as the pad");
    EXPECT_REFUSED(pleat_conv2d(image, zeros(1, 1, 3, 3), .pads = {0, 0, 0, PTRDIFF_MAX / 2}),
                   PLEAT_ERR_SHAPE, "conv2d", "axis W", "no image is as large as the pad");
    EXPECT_REFUSED(pleat_conv2d_transpose(image, zeros(1, 1, 3, 3), .pad = {0, PTRDIFF_MIN}), PLEAT_ERR_SHAPE,
                   "conv2d_transpose", "axis W", "no image is as large as the pad");
    EXPECT_REFUSED(pleat_conv2d_weight(image, image, .kernel = {3, 3}, .pad = {0, PTRDIFF_MAX - 1}),
                   PLEAT_ERR_SHAPE, "conv2d_weight", "axis W", "no image is as large as the pad");
    EXPECT_REFUSED(pleat_conv2d_transpose(image, zeros(1, 1, 1, 3), .pad = {0, 4}), PLEAT_ERR_SHAPE,
                   "conv2d_transpose", "along axis W nothing is left", "cropped by 4 and 4");
    EXPECT_REFUSED(pleat_conv2d_transpose(image, zeros(1, 1, 3, 3), .stride = {SIZE_MAX, 1}), PLEAT_ERR_SHAPE,
                   "conv2d_transpose", "axis H");
}

Test(conv_errors, sizes_beyond_the_machine) {
    pleat_tensor *image = zeros(1, 1, 5, 5), *w = zeros(1, 1, 3, 3);
    size_t huge = LARGE_SIDE;
    EXPECT_REFUSED(pleat_conv2d(image, w, .size = {huge, huge}), PLEAT_ERR_SHAPE, "conv2d", "[1,1,5,5]",
                   "addressable");
    EXPECT_REFUSED(pleat_conv2d(image, w, .size = {65536, 65536}), PLEAT_ERR_SHAPE, "conv2d",
                   BY_WIDTH("INT_MAX", "addressable"));
    EXPECT_REFUSED(pleat_conv2d(image, w, .size = {3, 3}, .stride = {SIZE_MAX / 2 - 1, 1}), PLEAT_ERR_SHAPE,
                   "conv2d", "ptrdiff_t");
    EXPECT_REFUSED(pleat_conv2d_transpose(image, w, .size = {huge, huge}), PLEAT_ERR_SHAPE,
                   "conv2d_transpose", "addressable");
    EXPECT_REFUSED(pleat_conv2d_weight(image, image, .kernel = {huge, 1}, .dilation = {huge, 1}),
                   PLEAT_ERR_SHAPE, "conv2d_weight", "ptrdiff_t");
    EXPECT_REFUSED(pleat_conv2d_weight(image, image, .kernel = {65536, 65536}), PLEAT_ERR_SHAPE,
                   "conv2d_weight", BY_WIDTH("INT_MAX", "addressable"));
}

Test(conv_errors, options) {
    pleat_tensor *image = zeros(1, 1, 5, 5), *w = zeros(1, 1, 3, 3);
    EXPECT_REFUSED(pleat_conv2d(image, w, .stride = {0, 2}), PLEAT_ERR_ARGUMENT, "conv2d", ".stride = {0, 2}",
                   "at least 1");
    EXPECT_REFUSED(pleat_conv2d(image, w, .dilation = {2, 0}), PLEAT_ERR_ARGUMENT, "conv2d",
                   ".dilation = {2, 0}", "{2, 2}");
    EXPECT_REFUSED(pleat_conv2d(image, w, .size = {0, 2}), PLEAT_ERR_ARGUMENT, "conv2d", ".size = {0, 2}",
                   "at least 1");
    EXPECT_REFUSED(pleat_conv2d(image, w, .pad = {1, 1}, .pads = {0, 0, 0, 1}), PLEAT_ERR_ARGUMENT, "conv2d",
                   "pad or pads");
    EXPECT_REFUSED(pleat_conv2d(image, w, .kernel = {3, 3}), PLEAT_ERR_ARGUMENT, "conv2d",
                   "kernel means nothing here");
    EXPECT_REFUSED(pleat_conv2d_transpose(image, w, .kernel = {3, 3}), PLEAT_ERR_ARGUMENT, "conv2d_transpose",
                   "kernel");
    EXPECT_REFUSED(pleat_conv2d_transpose(image, w, .stride = {2, 0}), PLEAT_ERR_ARGUMENT, "conv2d_transpose",
                   "stride");
    EXPECT_REFUSED(pleat_conv2d_weight(image, image), PLEAT_ERR_ARGUMENT, "conv2d_weight",
                   ".kernel = {R, S}");
    EXPECT_REFUSED(pleat_conv2d_weight(image, image, .kernel = {3, 0}), PLEAT_ERR_ARGUMENT, "conv2d_weight",
                   "kernel", "{3, 3}");
    EXPECT_REFUSED(pleat_conv2d_weight(image, image, .kernel = {3, 3}, .size = {1, 1}), PLEAT_ERR_ARGUMENT,
                   "conv2d_weight", "size");
    EXPECT_REFUSED(pleat_conv2d(NULL, w, .stride = {1, 0}), PLEAT_ERR_ARGUMENT, "conv2d", "stride");
    EXPECT_REFUSED(pleat_conv2d(NULL, w), PLEAT_ERR_ARGUMENT, "conv2d", "tensor 0 is a null pointer");
    EXPECT_REFUSED(pleat_conv2d(image, NULL), PLEAT_ERR_ARGUMENT, "conv2d", "tensor 1 is a null pointer");
    cr_assert(pleat_is_poison(pleat_conv2d(NULL, NULL)));
    cr_assert(pleat_is_poison(pleat_conv2d(NULL, NULL, .stride = {1, 0})));
}

Test(conv_errors, bias_and_relu) {
    pleat_tensor *image = zeros(1, 2, 5, 5), *w = zeros(3, 2, 3, 3), *map = zeros(1, 3, 3, 3);
    pleat_tensor *two = whole(PLEAT_F32, PLEAT_SHAPE(2)), *three = whole(PLEAT_F32, PLEAT_SHAPE(3));
    EXPECT_REFUSED(pleat_conv2d(image, w, .bias = two), PLEAT_ERR_SHAPE, "conv2d",
                   "[1,2,5,5], [3,2,3,3] and [2]", "the bias has 2 numbers, the result has 3 channels");
    EXPECT_REFUSED(pleat_conv2d_transpose(map, w, .bias = three), PLEAT_ERR_SHAPE, "conv2d_transpose",
                   "the bias has 3 numbers, the result has 2 channels");
    EXPECT_REFUSED(pleat_conv2d(image, w, .bias = pleat_reshape(three, PLEAT_SHAPE(3, 1, 1)), .relu = true),
                   PLEAT_ERR_SHAPE, "conv2d", "the bias must be [O], of rank 1");
    EXPECT_REFUSED(pleat_conv2d_transpose(map, w, .bias = zeros(1, 2, 1, 1)), PLEAT_ERR_SHAPE,
                   "conv2d_transpose", "the bias must be [C], of rank 1");
    EXPECT_REFUSED(pleat_conv2d(image, w, .bias = as_type(three, PLEAT_F64)), PLEAT_ERR_DTYPE, "conv2d",
                   "tensor 0 is f32 and tensor 2 is f64");
    EXPECT_REFUSED(pleat_conv2d_weight(image, map, .kernel = {3, 3}, .bias = three), PLEAT_ERR_ARGUMENT,
                   "conv2d_weight", "bias, norm and relu mean nothing here");
    EXPECT_REFUSED(pleat_conv2d_weight(image, map, .kernel = {3, 3}, .relu = true), PLEAT_ERR_ARGUMENT,
                   "conv2d_weight", "bias, norm and relu mean nothing here");
    EXPECT_REFUSED(pleat_conv2d(image, w, .stride = {0, 2}, .relu = true), PLEAT_ERR_ARGUMENT, "conv2d",
                   "stride");
    EXPECT_REFUSED(pleat_conv2d(image, zeros(3, 2, 9, 3), .relu = true), PLEAT_ERR_SHAPE, "conv2d", "axis H");
    /* poison says nothing of its own */
    cr_assert(pleat_is_poison(pleat_conv2d(image, w, .bias = pleat_poison(ctx), .relu = true)));
    cr_assert(pleat_is_poison(pleat_conv2d_transpose(pleat_poison(ctx), w, .bias = two, .relu = true)));
    cr_assert(pleat_is_poison(pleat_conv2d(NULL, NULL, .relu = true)));
    EXPECT_OK(pleat_error(ctx)->code);
}

/* recorded or not */
static void expect_norm_refused(void) {
    pleat_tensor *image = zeros(1, 2, 5, 5), *w = zeros(3, 2, 3, 3), *map = zeros(1, 3, 3, 3);
    pleat_tensor *two = whole(PLEAT_F32, PLEAT_SHAPE(2)), *three = whole(PLEAT_F32, PLEAT_SHAPE(3));
    EXPECT_REFUSED(pleat_conv2d(image, w, .norm = {.mean = three}), PLEAT_ERR_ARGUMENT, "conv2d",
                   "a norm needs .mean and .var");
    EXPECT_REFUSED(pleat_conv2d(image, w, .norm = {.eps = 1}), PLEAT_ERR_ARGUMENT, "conv2d",
                   ".mean and .var");
    EXPECT_REFUSED(pleat_conv2d(image, w, .norm = {.mean = three, .var = three, .eps = -1}),
                   PLEAT_ERR_ARGUMENT, "conv2d", "eps must be finite and greater than 0");
    EXPECT_REFUSED(pleat_conv2d(image, w, .norm = {.mean = two, .var = three}), PLEAT_ERR_SHAPE, "conv2d",
                   "the mean is [2] and must be [3]");
    EXPECT_REFUSED(pleat_conv2d_transpose(map, w, .norm = {.weight = three, .mean = two, .var = two}),
                   PLEAT_ERR_SHAPE, "conv2d_transpose", "the weight is [3] and must be [2]");
    EXPECT_REFUSED(pleat_conv2d(three, w, .norm = {.weight = two, .mean = three, .var = three}),
                   PLEAT_ERR_SHAPE, "conv2d", "tensor 0 must be [N,C,H,W]");
    EXPECT_REFUSED(pleat_conv2d(NULL, w, .norm = {.mean = three, .var = three}), PLEAT_ERR_ARGUMENT, "conv2d",
                   "tensor 0 is a null pointer");
    EXPECT_REFUSED(pleat_conv2d(image, NULL, .norm = {.mean = three, .var = three}), PLEAT_ERR_ARGUMENT,
                   "conv2d", "tensor 1 is a null pointer");
    EXPECT_REFUSED(pleat_conv2d_weight(image, map, .kernel = {3, 3}, .norm = {.mean = three, .var = three}),
                   PLEAT_ERR_ARGUMENT, "conv2d_weight", "bias, norm and relu mean nothing here");
    cr_assert(pleat_is_poison(pleat_conv2d(image, w, .norm = {.mean = pleat_poison(ctx), .var = three})));
    cr_assert(pleat_is_poison(pleat_conv2d(image, pleat_poison(ctx), .norm = {.mean = three, .var = three})));
    EXPECT_OK(pleat_error(ctx)->code);
}

Test(conv_errors, norm) {
    for (int recording = 0; recording < 2; recording++) {
        pleat_set_recording(ctx, recording);
        expect_norm_refused();
    }
    pleat_set_recording(ctx, false);
    pleat_tensor *three = whole(PLEAT_F32, PLEAT_SHAPE(3));
    EXPECT_REFUSED(pleat_conv2d(zeros(1, 2, 5, 5), zeros(3, 2, 3, 3),
                                .norm = {.mean = as_type(three, PLEAT_F64), .var = three}),
                   PLEAT_ERR_DTYPE, "conv2d", "tensor 0 is f32 and tensor 2 is f64");
}

Test(conv_errors, without_channels_image_map_or_kernel) {
    pleat_tensor *image = zeros(1, 2, 5, 5), *w = zeros(3, 2, 3, 3), *map = zeros(1, 3, 3, 3);
    EXPECT_REFUSED(pleat_conv2d(zeros(1, 0, 5, 5), zeros(3, 0, 3, 3)), PLEAT_ERR_SHAPE, "conv2d", "[1,0,5,5]",
                   "channels must be");
    EXPECT_REFUSED(pleat_conv2d(image, zeros(0, 2, 3, 3)), PLEAT_ERR_SHAPE, "conv2d", "[0,2,3,3]",
                   "channels must be");
    EXPECT_REFUSED(pleat_conv2d(zeros(1, 2, 0, 5), w), PLEAT_ERR_SHAPE, "conv2d", "axis H");
    EXPECT_REFUSED(pleat_conv2d(zeros(1, 2, 0, 5), w, .size = {1, 1}), PLEAT_ERR_SHAPE, "conv2d",
                   "the image must be");
    EXPECT_REFUSED(pleat_conv2d(zeros(1, 2, 0, 5), w, .pad = {2, 2}), PLEAT_ERR_SHAPE, "conv2d",
                   "the image must be");
    EXPECT_REFUSED(pleat_conv2d(image, zeros(3, 2, 3, 0)), PLEAT_ERR_SHAPE, "conv2d", "axis W");
    EXPECT_REFUSED(pleat_conv2d(image, zeros(3, 2, 3, 0), .size = {1, 1}), PLEAT_ERR_SHAPE, "conv2d",
                   "the kernel must be");
    EXPECT_REFUSED(pleat_conv2d_transpose(zeros(1, 3, 0, 3), w), PLEAT_ERR_SHAPE, "conv2d_transpose",
                   "axis H");
    EXPECT_REFUSED(pleat_conv2d_transpose(zeros(1, 3, 0, 3), w, .size = {5, 5}), PLEAT_ERR_SHAPE,
                   "conv2d_transpose", "the map must be");
    EXPECT_REFUSED(pleat_conv2d_weight(image, zeros(1, 3, 3, 0), .kernel = {3, 3}), PLEAT_ERR_SHAPE,
                   "conv2d_weight", "the map must be");
    EXPECT_REFUSED(pleat_conv2d_weight(zeros(1, 2, 5, 0), map, .kernel = {3, 3}), PLEAT_ERR_SHAPE,
                   "conv2d_weight", "the image must be");
}

Test(conv_errors, an_empty_batch_is_legal) {
    for (pleat_dtype type = PLEAT_F32; type <= PLEAT_F64; type++) {
        pleat_tensor *image = pleat_zeros(ctx, type, PLEAT_SHAPE(0, 2, 5, 5)),
                     *w = whole(type, PLEAT_SHAPE(3, 2, 3, 3));
        pleat_tensor *map = pleat_conv2d(image, w), *grads[2];
        EXPECT_HOLDS(map, PLEAT_SHAPE(0, 3, 3, 3), NULL);
        EXPECT_HOLDS(pleat_conv2d_transpose(map, w), PLEAT_SHAPE(0, 2, 5, 5), NULL);
        pleat_tensor *zeros = pleat_zeros_like(w);
        EXPECT_SAME(pleat_conv2d_weight(image, map, .kernel = {3, 3}), zeros);
        EXPECT_OK(pleat_grads(pleat_sum(map), NULL, 2, (pleat_tensor *[]){image, w}, grads, 0));
        EXPECT_SAME(grads[0], image);
        EXPECT_SAME(grads[1], pleat_zeros_like(w));
    }
}

Test(conv_errors, a_size_is_taken_as_it_stands) {
    pleat_tensor *image = counted(PLEAT_F64, PLEAT_SHAPE(1, 1, 2, 2)),
                 *w = counted(PLEAT_F64, PLEAT_SHAPE(1, 1, 1, 1));
    EXPECT_HOLDS(pleat_conv2d(image, w, .size = {3, 1}), PLEAT_SHAPE(1, 1, 3, 1), VALUES(1, 3, 0));
    EXPECT_HOLDS(pleat_conv2d(image, w, .size = {2, 2}, .pad = {-1, 5}), PLEAT_SHAPE(1, 1, 2, 2),
                 VALUES(0, 0, 0, 0));
    EXPECT_HOLDS(pleat_conv2d_transpose(image, w, .size = {1, 4}, .stride = {2, 2}), PLEAT_SHAPE(1, 1, 1, 4),
                 VALUES(1, 0, 2, 0));
    /* the paddings at the end matter for default sizes only */
    EXPECT_HOLDS(pleat_conv2d(image, w, .pads = {1, 0, 0, 1}), PLEAT_SHAPE(1, 1, 3, 3),
                 VALUES(0, 0, 0, 1, 2, 0, 3, 4, 0));
    EXPECT_HOLDS(pleat_conv2d(image, w, .pads = {1, 0, 7, 1}, .size = {1, 2}), PLEAT_SHAPE(1, 1, 1, 2),
                 VALUES(0, 0));
    EXPECT_HOLDS(pleat_conv2d_transpose(image, w, .pads = {-1, 0, 0, 1}), PLEAT_SHAPE(1, 1, 3, 1),
                 VALUES(0, 1, 3));
}

/* The worked example of an article on the transposed convolution (TensorFlow: stride 2, 3 by 3 kernels, SAME): four maps
 * of 3 by 3 pixels go to two of 6 by 6, once by zero insertion and an ordinary convolution, once by the transpose. */
#include "tensors.h"

TestSuite(article, .init = tensors_begin, .fini = tensors_end);

static const double input[] = {
    1, 0, 1, 0, 2, 1, 1, 1, 0, /* channel 0 */
    2, 0, 2, 0, 1, 0, 1, 0, 0, /* channel 1 */
    1, 1, 1, 2, 2, 0, 1, 1, 1, /* channel 2 */
    1, 1, 2, 1, 0, 1, 0, 2, 2, /* channel 3 */
};

/* [out 2, in 4, 3, 3], as the article writes them: for the zero-inserted maps, not turned */
static const double weights[] = {
    1, 0, 1, -1, 1, 0, 0, -1, 0, -1, 0, 1, 0,  0,  1, 1, 1, 1, /* out 0, in 0 and 1 */
    0, 1, 1, 2,  0, 1, 1, 2,  1, 1,  1, 1, 0,  2,  1, 1, 0, 1, /* in 2 and 3 */
    1, 0, 2, -2, 1, 1, 1, -1, 0, -1, 0, 1, -1, 2,  1, 1, 1, 1, /* out 1, in 0 and 1 */
    0, 0, 0, 2,  2, 1, 1, -1, 1, 2,  1, 1, 0,  -1, 1, 1, 1, 1, /* in 2 and 3 */
};

static const double output[] = {
    4, 3, 6, 2, 7, 3, 4, 3, 3,  2, 7,  5, 8, 6, 8, 5,  11, 2, /* out 0 */
    3, 2, 7, 2, 3, 3, 5, 5, 11, 3, 9,  3, 2, 1, 4, 5,  4,  4,
    4, 1, 7, 0, 7, 2, 5, 6, 0,  1, 8,  5, 8, 0, 8, -2, 14, 2, /* out 1 */
    3, 3, 9, 8, 1, 0, 3, 0, 13, 0, 11, 2, 3, 5, 3, 1,  3,  0,
};

static const size_t from_one[] = {0, 0, 1, 1}, every_second[] = {1, 1, 2, 2}, origin[4] = {0};

/* input[i][j] goes to [2i+1][2j+1] of a 7 by 7 map of zeros; the last row and column of the result are dropped. */
Test(article, by_zero_insertion) {
    for (pleat_dtype type = PLEAT_F32; type <= PLEAT_F64; type++) {
        pleat_tensor *x = pleat_from_f64(ctx, type, PLEAT_SHAPE(1, 4, 3, 3), input);
        pleat_tensor *w = pleat_from_f64(ctx, type, PLEAT_SHAPE(2, 4, 3, 3), weights);
        pleat_tensor *stuffed = pleat_pad(x, (size_t[]){1, 4, 7, 7}, from_one, every_second);
        pleat_tensor *map = pleat_conv2d(stuffed, w, .pad = {1, 1});
        cr_assert_eq(pleat_size(map, 2), 7);
        EXPECT_HOLDS(pleat_slice(map, origin, (size_t[]){1, 2, 6, 6}, NULL), PLEAT_SHAPE(1, 2, 6, 6), output);
    }
}

/* TensorFlow's conv2d_transpose with SAME and output_shape [1, 6, 6, 2]: the kernels are turned by 180 degrees. In the
 * words of the forward convolution, it takes 2 channels of 6 by 6 to 4 channels of 3 by 3, and SAME pads it at the end. */
Test(article, by_the_transposed_convolution) {
    for (pleat_dtype type = PLEAT_F32; type <= PLEAT_F64; type++) {
        pleat_tensor *y = pleat_from_f64(ctx, type, PLEAT_SHAPE(1, 4, 3, 3), input);
        pleat_tensor *w = pleat_from_f64(ctx, type, PLEAT_SHAPE(2, 4, 3, 3), weights);
        w = pleat_flip(pleat_permute(w, (size_t[]){1, 0, 2, 3}), PLEAT_AXES(2, 3));
        pleat_tensor *x = pleat_conv2d_transpose(y, w, .stride = {2, 2}, .pads = {0, 0, 1, 1});
        EXPECT_HOLDS(x, PLEAT_SHAPE(1, 2, 6, 6), output);
        EXPECT_SAME(pleat_conv2d_transpose(y, w, .stride = {2, 2}, .size = {6, 6}), x);
        pleat_tensor *image = pleat_zeros(ctx, type, PLEAT_SHAPE(1, 2, 6, 6)), *gradient;
        pleat_tensor *forward = pleat_conv2d(image, w, .stride = {2, 2}, .pads = {0, 0, 1, 1});
        EXPECT_OK(pleat_grads(forward, y, 1, &image, &gradient, PLEAT_GRADS_STRICT));
        EXPECT_SAME(gradient, x);
    }
}

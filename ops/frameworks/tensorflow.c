/* tf.nn.conv2d and tf.nn.conv2d_transpose. Law: the transpose is the gradient of the convolution that takes
 * output_shape to the input's size, so its padding is that convolution's, and depends on output_shape. */
#include "frameworks.h"

static size_t tensorflow_groups(size_t input, size_t weight) {
    return weight > 0 && input % weight == 0 ? input / weight : 0;
}

static bool tensorflow_conv(pl_axis *a) {
    if (a->layer->padding == PLEAT_PADDING_SAME) return pl_conv_same(a);
    return pl_conv_padded(a, a->before, a->after);
}

static bool tensorflow_transpose(pl_axis *a) {
    bool same = a->layer->padding == PLEAT_PADDING_SAME;
    ptrdiff_t least = same ? a->scaled - a->stride + 1 : a->natural - a->before - a->after;
    if (!pl_range(a, least, least + a->stride - 1)) return false;
    a->out = a->output_size;
    if (a->layer->has_output_size) {
        if (!pl_within(a, "output_shape", a->out, a->least, a->most)) return false;
    } else if (a->layer->padding == PLEAT_PADDING_EXPLICIT) {
        a->out = a->least;
    } else { /* TensorFlow requires an output_shape; this is the one that Keras computes */
        a->out = same ? a->scaled : a->scaled - a->stride + pl_max(a->extent, a->stride);
    }
    a->crop = same ? pl_max(a->natural - a->out, 0) / 2 : a->before;
    return true;
}

const pl_framework pl_tensorflow = {
    .name = "tensorflow",
    .paddings = {PL_PADDING(EXPLICIT) | PL_PADDING(VALID) | PL_PADDING(SAME),
                 PL_PADDING(EXPLICIT) | PL_PADDING(VALID) | PL_PADDING(SAME)},
    .output_size = "output_shape",
    .channels_last = true,
    .kernel_first = true,
    .groups = tensorflow_groups,
    .conv = tensorflow_conv,
    .transpose = tensorflow_transpose,
};

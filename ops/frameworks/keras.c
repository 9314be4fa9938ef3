/* keras.layers.Conv2D and Conv2DTranspose. Law: output_padding counts from (in-1) * stride plus the kernel
 * ("valid") or plus its last bit ("same"). Without output_padding the result has in * stride pixels, plus the
 * overhang of the kernel for "valid". */
#include "frameworks.h"

/* Keras compares the largest of both axes. */
static bool stride_or_dilation(const pl_axis *a) {
    const size_t *s = a->layer->stride, *d = a->layer->dilation;
    if ((s[0] == 1 && s[1] == 1) || (d[0] == 1 && d[1] == 1)) return true;
    return pl_refuse(a,
                     "stride %zu,%zu with dilation %zu,%zu: keras takes one of them, the other must be 1,1",
                     s[0], s[1], d[0], d[1]);
}

static bool keras_conv(pl_axis *a) {
    if (!stride_or_dilation(a)) return false;
    return a->layer->padding == PLEAT_PADDING_SAME ? pl_conv_same(a) : pl_conv_padded(a, 0, 0);
}

static bool keras_transpose(pl_axis *a) {
    bool same = a->layer->padding == PLEAT_PADDING_SAME, given = a->layer->has_output_padding;
    ptrdiff_t begin = a->scaled - a->stride; /* the position of the last kernel */
    ptrdiff_t least = begin + (same ? a->extent % 2 : a->extent);
    ptrdiff_t standard = begin + (same ? a->stride : pl_max(a->extent, a->stride));
    if (!stride_or_dilation(a) || !pl_range(a, least, pl_max(least + a->stride - 1, standard))) return false;
    if (given && !pl_within(a, "output_padding", a->output_padding, pl_max(0, 1 - least), a->stride - 1))
        return false;
    a->out = given ? least + a->output_padding : standard;
    a->crop = same ? pl_max(a->natural - a->out, 0) / 2 : 0;
    return true;
}

const pl_framework pl_keras = {
    .name = "keras",
    .paddings = {PL_PADDING(VALID) | PL_PADDING(SAME), PL_PADDING(VALID) | PL_PADDING(SAME)},
    .output_padding = true,
    .channels_last = true,
    .kernel_first = true,
    .conv = keras_conv,
    .transpose = keras_transpose,
};

/* The ONNX operators Conv and ConvTranspose as ONNX Runtime computes them. Law: pixels beyond the requested
 * size are cut from both sides, an odd one from the end for SAME_UPPER; missing pixels are zeros at the
 * end. */
#include "frameworks.h"

static bool is_same(const pl_axis *a) {
    return a->layer->padding == PLEAT_PADDING_SAME_UPPER || a->layer->padding == PLEAT_PADDING_SAME_LOWER;
}

static bool onnx_conv(pl_axis *a) {
    if (!is_same(a)) return pl_conv_padded(a, a->before, a->after);
    if (a->dilation != 1)
        return pl_refuse(a, "auto_pad with dilation %td on axis %s: ONNX Runtime takes dilation 1 here",
                         a->dilation, a->name);
    ptrdiff_t total = pl_same_total(a);
    bool lower = a->layer->padding == PLEAT_PADDING_SAME_LOWER;
    /* if the stride skips pixels, half of all but one of them is cut; both halves are rounded towards zero */
    ptrdiff_t halved = total < 0 ? total + 1 : total;
    ptrdiff_t before = (lower ? halved + 1 : halved) / 2;
    return pl_conv_padded(a, before, total - before);
}

static bool onnx_transpose(pl_axis *a) {
    ptrdiff_t length = a->natural + a->output_padding;
    if (!pl_within(a, "output_padding", a->output_padding, 0, a->stride - 1)) return false;
    if (!pl_range(a, 1, a->natural + a->stride - 1)) return false;
    bool wanted = a->layer->has_output_size;
    if (!wanted && !is_same(a)) {
        a->crop = a->before;
        a->out = length - a->before - a->after;
        return a->out >= 1 || pl_refuse(a, "pads %td and %td on axis %s leave nothing of %td", a->before,
                                        a->after, a->name, length);
    }
    if (wanted && !pl_within(a, "output_shape", a->output_size, a->least, a->most)) return false;
    ptrdiff_t total = pl_max(length - (wanted ? a->output_size : a->scaled), 0);
    a->out = wanted ? a->output_size : length - total;
    a->crop = a->layer->padding == PLEAT_PADDING_SAME_UPPER ? total / 2 : total - total / 2;
    return true;
}

const pl_framework pl_onnx = {
    .name = "onnx",
    .paddings = {PL_PADDING(EXPLICIT) | PL_PADDING(VALID) | PL_PADDING(SAME_UPPER) | PL_PADDING(SAME_LOWER),
                 PL_PADDING(EXPLICIT) | PL_PADDING(VALID) | PL_PADDING(SAME_UPPER) | PL_PADDING(SAME_LOWER)},
    .output_size = "output_shape",
    .output_padding = true,
    .transpose_groups = true,
    .conv = onnx_conv,
    .transpose = onnx_transpose,
};

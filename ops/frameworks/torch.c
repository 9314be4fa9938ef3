/* torch.nn.functional.conv2d and conv_transpose2d, and the output_size of ConvTranspose2d. Law: padding is
 * cut from both sides of the natural length, and output_padding lengthens its end. */
#include "frameworks.h"

static bool is_even(const pl_axis *a) {
    return a->before == a->after ||
           pl_refuse(a, "padding %td and %td on axis %s: torch pads both sides alike", a->before, a->after,
                     a->name);
}

static bool torch_conv(pl_axis *a) {
    if (a->layer->padding != PLEAT_PADDING_SAME) return is_even(a) && pl_conv_padded(a, a->before, a->after);
    if (a->stride == 1) return pl_conv_same(a);
    return pl_refuse(a, "padding 'same' with stride %td on axis %s: torch takes stride 1 here", a->stride,
                     a->name);
}

static bool torch_transpose(pl_axis *a) {
    ptrdiff_t shortest = a->natural - a->before - a->after;
    ptrdiff_t paddings = pl_max(a->stride, a->dilation); /* the number of legal output paddings */
    if (!is_even(a) || !pl_range(a, shortest, shortest + paddings - 1)) return false;
    a->crop = a->before;
    a->out = a->output_size;
    /* with output_size the module derives output_padding from it, below the stride only, and ignores its
     * own */
    if (a->layer->has_output_size)
        return pl_within(a, "output_size", a->out, pl_max(shortest, 1), shortest + a->stride - 1);
    a->out = shortest + a->output_padding;
    return pl_within(a, "output_padding", a->output_padding, pl_max(0, 1 - shortest), paddings - 1);
}

const pl_framework pl_torch = {
    .name = "torch",
    .paddings = {PL_PADDING(EXPLICIT) | PL_PADDING(VALID) | PL_PADDING(SAME), PL_PADDING(EXPLICIT)},
    .output_size = "output_size",
    .output_padding = true,
    .transpose_groups = true,
    .conv = torch_conv,
    .transpose = torch_transpose,
};

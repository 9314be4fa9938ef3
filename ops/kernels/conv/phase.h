/* phase.h: the pixels of a result with one residue of the stride, along an axis, for any legal shape. */
#ifndef PL_CONV_PHASE_H
#define PL_CONV_PHASE_H

#include "kernels/conv/axis.h"
#include "kernels/conv/order.h"

/* Source pixel origin + i*move + k*hop meets pixel i of the phase through the k-th of `taps` taps, which is tap first + k*step of the
 * kernel. Pixel i is pixel at + i*stride of the result. */
typedef struct phase {
    size_t at, stride, pixels;
    size_t taps, first, step, move;
    ptrdiff_t origin, hop;
} phase;

/* From one tap of a phase to the next. */
static inline size_t tap_step(const pleat_conv_shape *g, size_t k) {
    return g->stride[k] / common_divisor(g->dilation[k], g->stride[k]);
}

/* Phases that some tap reaches are numbered by their first taps. */
static inline size_t phases_of(const pleat_conv_shape *g, pleat_conv_op op, size_t k) {
    return op == PLEAT_CONV_TRANSPOSE ? min(kernel_size(g, k), tap_step(g, k)) : 1;
}

static inline phase phase_of(const pleat_conv_shape *g, pleat_conv_op op, size_t k, size_t number) {
    size_t stride = g->stride[k], image = image_size(g, k);
    phase f = {.stride = 1, .pixels = map_size(g, k), .taps = kernel_size(g, k), .step = 1, .move = stride};
    f.origin = -g->pad[k], f.hop = (ptrdiff_t)g->dilation[k];
    if (op != PLEAT_CONV_TRANSPOSE) return f;
    ptrdiff_t origin = tap_origin(g, k, number), residue = origin % (ptrdiff_t)stride;
    f.at = (size_t)(residue < 0 ? residue + (ptrdiff_t)stride : residue), f.stride = stride, f.move = 1;
    f.pixels = f.at < image ? ceil_div(image - f.at, stride) : 0;
    f.first = number, f.step = tap_step(g, k), f.taps = ceil_div(f.taps - number, f.step);
    f.origin = ((ptrdiff_t)f.at - origin) / (ptrdiff_t)stride;
    f.hop = -(ptrdiff_t)(g->dilation[k] / common_divisor(g->dilation[k], stride));
    return f;
}

/* From the first to the last tap through which one of the pixels may meet the source; of a single pixel, the taps through which it does. */
static inline range taps_of(const phase *f, range pixels, size_t source) {
    ptrdiff_t first = f->origin + (ptrdiff_t)(pixels.first * f->move),
              last = first + (ptrdiff_t)((pixels.count - 1) * f->move);
    range taps = {0};
    for (size_t k = 0; k < f->taps; k++) {
        ptrdiff_t moved = (ptrdiff_t)k * f->hop;
        if (last + moved < 0 || first + moved >= (ptrdiff_t)source) continue;
        if (taps.count == 0) taps.first = k;
        taps.count = k + 1 - taps.first;
    }
    return taps;
}

#endif

/* own_layout.h: what the kernels take where nothing is copied for anybody: x and y in the layout that is faster, row-major or blocked, and
 * weights packed before. What a peer's own layouts are held against. */
#ifndef OWN_LAYOUT_H
#define OWN_LAYOUT_H

#include <pleat_kernels.h>

/* Milliseconds, medians: of the forward operator of the layer (conv2d, or with `deconv` its transpose), and of all three. False without
 * memory. */
bool own_layout_ms(const pleat_conv_shape *g, bool deconv, int threads, double seconds, double *forward,
                   double *step);

#endif

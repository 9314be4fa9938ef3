/* windows.h: how many windows a pool has along an axis, counted one by one: PyTorch's rule. */
#ifndef WINDOWS_H
#define WINDOWS_H

#include "pleat.h"

static inline size_t windows_along(const pleat_pool_args *a, size_t k, size_t size) {
    size_t extent = (a->kernel[k] - 1) * a->dilation[k] + 1, padded = size + 2 * a->pad[k], n = 0;
    size_t beyond = a->ceil_mode ? a->stride[k] - 1 : 0;
    while (n * a->stride[k] + extent <= padded + beyond) n++;
    if (a->ceil_mode && n > 0 && (n - 1) * a->stride[k] >= size + a->pad[k]) n--;
    return n;
}

#endif

/* The geometry of max_pool2d and avg_pool2d: defaults and rules of the options, and the number of windows
 * along an axis. */
#include "rules.h"

/* The number of windows along an axis; 0 if none fits. */
static size_t windows_along(const pleat_pool_args *a, size_t axis, size_t size) {
    size_t extent = (a->kernel[axis] - 1) * a->dilation[axis] + 1, s = a->stride[axis];
    size_t room = size + 2 * a->pad[axis] + (a->ceil_mode ? s - 1 : 0);
    if (room < extent) return 0;
    size_t n = (room - extent) / s + 1;
    return a->ceil_mode && (n - 1) * s >= size + a->pad[axis] ? n - 1 : n;
}

static const char *const axes[] = {"H", "W"};

/* The rule that the options break along an axis, or NULL. The bounds keep the sums above from overflowing. */
static const char *broken(const pleat_pool_args *a, size_t axis) {
    const size_t most = SIZE_MAX / 8;
    size_t extent;
    if (a->kernel[axis] == 0) return ".kernel = {R, S} must be given, both at least 1";
    if (!pl_mul_ok(a->kernel[axis], a->dilation[axis], &extent) || extent > most || a->stride[axis] > most)
        return "the kernel's extent and the stride must fit size_t";
    return NULL;
}

/* Complete the options; false after an error. */
static bool options_are_fine(const char *op, pleat_pool_args *a) {
    static const size_t ones[2] = {1, 1};
    const pleat_tensor *x = a->x;
    if (!pleat_pair(x->ctx, op, "kernel", a->kernel, NULL, false) ||
        !pleat_pair(x->ctx, op, "stride", a->stride, a->kernel, false) ||
        !pleat_pair(x->ctx, op, "pad", a->pad, NULL, true) ||
        !pleat_pair(x->ctx, op, "dilation", a->dilation, ones, false))
        return false;
    const char *wrong = x->rank != 4 ? "x must be [N,C,H,W], of rank 4" : NULL;
    for (size_t k = 0; k < 2 && wrong == NULL; k++) wrong = broken(a, k);
    if (wrong != NULL) {
        pl_reject(x, op, x->rank != 4 ? PLEAT_ERR_SHAPE : PLEAT_ERR_ARGUMENT, "%s", wrong);
        return false;
    }
    for (size_t k = 0; k < 2; k++) {
        if (a->pad[k] <= a->kernel[k] / 2) continue;
        pl_reject(x, op, PLEAT_ERR_ARGUMENT,
                  "along axis %s pad is %zu; it must be at most half the kernel, %zu", axes[k], a->pad[k],
                  a->kernel[k] / 2);
        return false;
    }
    return true;
}

bool pl_pool_geometry(const char *op, pleat_pool_args *a, size_t image[2], size_t map[2]) {
    const pleat_tensor *x = a->x;
    if (!options_are_fine(op, a)) return false;
    for (size_t k = 0; k < 2; k++) {
        image[k] = x->shape[2 + k];
        map[k] = image[k] > 0 ? windows_along(a, k, image[k]) : 0;
        if (map[k] > 0) continue;
        pl_reject(x, op, PLEAT_ERR_SHAPE,
                  "along axis %s the kernel (%zu, dilation %zu) exceeds the image (%zu) padded by %zu",
                  axes[k], a->kernel[k], a->dilation[k], image[k], a->pad[k]);
        return false;
    }
    return true;
}

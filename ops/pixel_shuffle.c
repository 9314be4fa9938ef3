/* pixel_shuffle and pixel_unshuffle: channels to blocks of pixels and back, by reshape and permute. Law: each
 * inverts the other. */
#include "core/core.h"

/* The rule that x and r break, or NULL. */
static const char *misfit(const pleat_tensor *x, size_t r, bool back) {
    size_t square;
    if (x->rank != 4) return "x must be [N,C,H,W], of rank 4";
    if (r == 0 || !pl_mul_ok(r, r, &square)) return "r must be at least 1, and its square fit size_t";
    if (!back && x->shape[1] % square != 0) return "the channels must be a multiple of r squared";
    if (back && (x->shape[2] % r != 0 || x->shape[3] % r != 0))
        return "height and width must be multiples of r";
    return NULL;
}

static bool refused(const pleat_tensor *x, const char *op, size_t r, bool back) {
    if (pleat_is_poison(x)) return true;
    const char *wrong = misfit(x, r, back);
    if (wrong != NULL)
        pleat_fail(x->ctx, PLEAT_ERR_SHAPE, op, "%s, r %zu: %s", pl_shape_of(x).text, r, wrong);
    return wrong != NULL;
}

pleat_tensor *pleat_pixel_shuffle(pleat_tensor *x, size_t r) {
    if (refused(x, "pixel_shuffle", r, false)) return pleat_poison(pleat_ctx_of(x));
    size_t N = x->shape[0], C = x->shape[1] / (r * r), H = x->shape[2], W = x->shape[3];
    pleat_tensor *parts = pleat_reshape(x, PLEAT_SHAPE(N, C, r, r, H, W));
    return pleat_reshape(pleat_permute(parts, (size_t[]){0, 1, 4, 2, 5, 3}), PLEAT_SHAPE(N, C, H * r, W * r));
}

pleat_tensor *pleat_pixel_unshuffle(pleat_tensor *x, size_t r) {
    if (refused(x, "pixel_unshuffle", r, true)) return pleat_poison(pleat_ctx_of(x));
    size_t N = x->shape[0], C = x->shape[1], H = x->shape[2] / r, W = x->shape[3] / r, channels;
    if (!pl_mul_ok(C, r * r, &channels)) channels = SIZE_MAX; /* reshape refuses it */
    pleat_tensor *parts = pleat_reshape(x, PLEAT_SHAPE(N, C, H, r, W, r));
    return pleat_reshape(pleat_permute(parts, (size_t[]){0, 1, 3, 5, 2, 4}), PLEAT_SHAPE(N, channels, H, W));
}

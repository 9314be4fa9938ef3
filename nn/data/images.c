/* Images in memory, and batches of them as tensors. */
#include <stdlib.h>

#include "pleat_nn.h"

void pleat_nn_images_free(pleat_nn_images *images) {
    free(images->pixels);
    free(images->labels);
    for (size_t k = 0; images->names && k < images->classes; k++) free(images->names[k]);
    free(images->names);
    *images = (pleat_nn_images){0};
}

static void to_f32(size_t n, const uint8_t *from, float *to) {
    for (size_t i = 0; i < n; i++) to[i] = (float)from[i] / 255.0f;
}

static void to_f64(size_t n, const uint8_t *from, double *to) {
    for (size_t i = 0; i < n; i++) to[i] = from[i] / 255.0;
}

static pleat_status check_batch(pleat_ctx *ctx, const pleat_nn_images *images, const size_t *index,
                                size_t first, size_t n) {
    if (!images || !images->pixels)
        return pleat_fail(ctx, PLEAT_ERR_ARGUMENT, "image_batch", "there are no images");
    for (size_t i = 0; i < n; i++) {
        size_t at = index ? index[i] : first + i;
        if (at >= images->count)
            return pleat_fail(ctx, PLEAT_ERR_ARGUMENT, "image_batch", "image %zu of %zu; the last is %zu", at,
                              images->count, images->count - 1);
    }
    return PLEAT_OK;
}

pleat_tensor *pleat_nn_image_batch(pleat_ctx *ctx, pleat_dtype dtype, const pleat_nn_images *images,
                                   const size_t *index, size_t first, size_t n) {
    if (check_batch(ctx, images, index, first, n)) return pleat_poison(ctx);
    pleat_tensor *y = pleat_empty(ctx, dtype, PLEAT_SHAPE(n, images->C, images->H, images->W));
    if (pleat_is_poison(y)) return y;
    size_t each = images->C * images->H * images->W;
    void *to = pleat_write_now(y, "pleat_nn_image_batch");
    for (size_t i = 0; i < n; i++) {
        const uint8_t *from = images->pixels + (index ? index[i] : first + i) * each;
        if (dtype == PLEAT_F32)
            to_f32(each, from, (float *)to + i * each);
        else
            to_f64(each, from, (double *)to + i * each);
    }
    return y;
}

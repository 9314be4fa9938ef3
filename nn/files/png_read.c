/* PNG files as pixels, through libpng's simplified interface. The size that a file claims is looked at before memory is taken. */
#include "files/png_read.h"

#include <stdlib.h>
#include <string.h>

#include "files/file.h"
#include "pleat_config.h"

#ifndef PL_HAVE_PNG
pleat_status pln_read_png(pleat_ctx *ctx, const char *op, const char *path, pln_bytes *out) {
    *out = (pln_bytes){0};
    return pleat_fail(ctx, PLEAT_ERR_ARGUMENT, op,
                      "%s: pleat was built without libpng; configure it with -Dpng=enabled",
                      path ? path : "");
}
#else
#    include <png.h>

#    define MOST_PIXELS ((size_t)1 << 28)
#    define MOST_RATIO 1032 /* of deflate: 258 bytes for two bits */

static pleat_status bad(pleat_ctx *ctx, const char *op, const char *path, const char *why) {
    return pleat_fail(ctx, PLEAT_ERR_FORMAT, op, "%s: %s", path, why);
}

/* Can a file of so many bytes hold an image of that size, at a bit a pixel or more? */
static pleat_status check_size(pleat_ctx *ctx, const char *op, const char *path, const png_image *p,
                               size_t bytes) {
    size_t pixels = (size_t)p->width * p->height;
    if (pixels <= MOST_PIXELS && pixels / 8 <= bytes * MOST_RATIO) return PLEAT_OK;
    return pleat_fail(
        ctx, PLEAT_ERR_FORMAT, op,
        "%s: claims %ux%u pixels in %zu bytes; at most %zu are read, and no more than its bytes can hold",
        path, (unsigned)p->height, (unsigned)p->width, bytes, MOST_PIXELS);
}

/* [H,W,C] as libpng gives it to [C,H,W]. */
static void deal_out(const uint8_t *from, pln_bytes *to) {
    size_t plane = to->H * to->W;
    for (size_t i = 0; i < plane; i++)
        for (size_t c = 0; c < to->C; c++) to->pixels[c * plane + i] = from[i * to->C + c];
}

/* Transparent pixels are laid on black. */
static pleat_status decode(pleat_ctx *ctx, const char *op, const char *path, png_image *p, pln_bytes *out) {
    const png_color black = {0, 0, 0};
    pln_bytes made = {.C = p->format & PNG_FORMAT_FLAG_COLOR ? 3 : 1, .H = p->height, .W = p->width};
    p->format = made.C == 3 ? PNG_FORMAT_RGB : PNG_FORMAT_GRAY;
    size_t bytes = made.C * made.H * made.W;
    uint8_t *interleaved = malloc(bytes);
    made.pixels = interleaved ? malloc(bytes) : NULL;
    pleat_status status = PLEAT_OK;
    if (!made.pixels)
        status =
            pleat_fail(ctx, PLEAT_ERR_MEMORY, op, "%s: no memory for %zux%zu pixels", path, made.H, made.W);
    else if (!png_image_finish_read(p, &black, interleaved, 0, NULL))
        status = bad(ctx, op, path, p->message);
    else
        deal_out(interleaved, &made);
    free(interleaved);
    if (status)
        free(made.pixels);
    else
        *out = made;
    return status;
}

pleat_status pln_read_png(pleat_ctx *ctx, const char *op, const char *path, pln_bytes *out) {
    png_image p = {.version = PNG_IMAGE_VERSION};
    size_t bytes;
    *out = (pln_bytes){0};
    pleat_status status = pln_file_size(ctx, op, path, &bytes);
    if (status) return status;
    FILE *f = fopen(path, "rb");
    if (!f) return pln_read_failed(ctx, op, path);
    if (!png_image_begin_read_from_stdio(&p, f)) {
        status = bad(ctx, op, path, p.message);
    } else {
        p.flags |= PNG_IMAGE_FLAG_16BIT_sRGB; /* 16 bits are 8 finer ones, not a linear scale */
        status = check_size(ctx, op, path, &p, bytes);
        if (!status) status = decode(ctx, op, path, &p, out);
    }
    png_image_free(&p);
    fclose(f);
    return status;
}
#endif

pleat_tensor *pleat_nn_read_png(pleat_ctx *ctx, const char *path) {
    pln_bytes b;
    if (pln_read_png(ctx, "read_png", path, &b)) return pleat_poison(ctx);
    pleat_nn_images one = {.count = 1, .C = b.C, .H = b.H, .W = b.W, .pixels = b.pixels};
    pleat_tensor *x = pleat_nn_image_batch(ctx, PLEAT_F32, &one, NULL, 0, 1);
    free(b.pixels);
    return x;
}

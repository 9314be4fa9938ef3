/* PNG files as pixels, by libpng. (Not by its simplified interface, which up to 1.6.39 mixes up the rows of
 * interlaced images of 16 bits.) The size in the header is checked before memory is allocated. */
#include "files/png_read.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "files/file.h"
#include "pleat_config.h"

#ifndef PL_HAVE_PNG
pleat_status pln_read_png(pleat_ctx *ctx, const char *op, const char *path, bool numbers, pln_bytes *out) {
    (void)numbers;
    *out = (pln_bytes){0};
    return pleat_fail(ctx, PLEAT_ERR_ARGUMENT, op,
                      "%s: pleat was built without libpng; configure it with -Dpng=enabled",
                      path ? path : "");
}
#else
#    include <png.h>

#    define MOST_PIXELS ((size_t)1 << 28)
#    define MOST_RATIO 1032              /* of deflate: 258 bytes for two bits */
#    define ANY_FILE ((uint64_t)1 << 26) /* bytes that any file may become: a blank page is packed well */

/* The resources that are held while libpng may longjmp. */
typedef struct job {
    FILE *f;
    size_t file_bytes, H, W;
    size_t row_bytes; /* as the file has it, unpacked */
    size_t samples;   /* a pixel, as libpng hands it out, a byte each: 1 to 4 */
    uint8_t *pixels;  /* [H,W,samples] */
    png_bytep *rows;
    bool numbers; /* the samples are not made colours */
    bool no_memory;
    pleat_status status; /* of what is wrong with the file */
    char why[200];
} job;

static void on_error(png_structp png, png_const_charp why) {
    job *j = png_get_error_ptr(png);
    snprintf(j->why, sizeof j->why, "%s", why);
    png_longjmp(png, 1);
}

static void *on_malloc(png_structp png, size_t bytes) {
    job *j = png_get_mem_ptr(png);
    void *block = malloc(bytes);
    j->no_memory |= !block;
    return block;
}

static void on_free(png_structp png, void *block) {
    (void)png;
    free(block);
}

static void read_bytes(png_structp png, png_bytep to, size_t n) {
    job *j = png_get_io_ptr(png);
    if (pln_read(j->f, to, n) == n) return;
    bool failed = ferror(j->f);
    if (failed) j->status = pln_status_of_errno();
    png_error(png, failed ? strerror(errno) : "Read Error");
}

static void on_warning(png_structp png, png_const_charp why) { (void)png, (void)why; }

/* Can a file of so many bytes hold an image of that size? And is it one that is worth what it becomes here? Bits become bytes, and an
 * index of a palette four, so a bound on what is packed is none on what is made. */
static bool believable(job *j) {
    uint64_t limit = (uint64_t)j->file_bytes * MOST_RATIO, pixels = (uint64_t)j->H * j->W;
    uint64_t made = pixels * j->samples + (uint64_t)j->H * sizeof *j->rows;
    if (pixels <= MOST_PIXELS && (uint64_t)j->H * j->row_bytes <= limit &&
        (made <= ANY_FILE || made <= limit))
        return true;
    snprintf(
        j->why, sizeof j->why,
        "claims %zux%zu pixels of %zu bytes in a file of %zu; at most 2^28 are read, no more than it can hold, "
        "and over 64 MiB no more than %d bytes for each of its own",
        j->H, j->W, j->samples, j->file_bytes, MOST_RATIO);
    return false;
}

/* Samples of a pixel, once everything is expanded. */
static size_t samples_of(const job *j, png_structp png, png_infop info) {
    if (j->numbers) return png_get_channels(png, info);
    int colour = png_get_color_type(png, info);
    bool alpha = colour & PNG_COLOR_MASK_ALPHA || png_get_valid(png, info, PNG_INFO_tRNS);
    return (colour & PNG_COLOR_MASK_COLOR ? 3u : 1u) + alpha;
}

static bool allocate(job *j) {
    j->pixels = malloc(j->H * j->W * j->samples);
    j->rows = malloc(j->H * sizeof *j->rows);
    j->no_memory = !j->pixels || !j->rows;
    for (size_t h = 0; !j->no_memory && h < j->H; h++) j->rows[h] = j->pixels + h * j->W * j->samples;
    return !j->no_memory;
}

/* Convert to 8 bits per sample; for colours also palettes, and a transparent colour to an alpha channel. */
static bool decode(job *j, png_structp png, png_infop info) {
    if (setjmp(png_jmpbuf(png))) return false;
    png_set_user_limits(png, 0x7fffffff, 0x7fffffff); /* our own message is more precise */
    /* texts, profiles and other chunks are skipped, and take no memory whatever length they claim */
    png_set_keep_unknown_chunks(png, PNG_HANDLE_CHUNK_NEVER, NULL, -1);
    png_set_read_fn(png, j, read_bytes);
    png_read_info(png, info);
    j->H = png_get_image_height(png, info);
    j->W = png_get_image_width(png, info);
    j->row_bytes = png_get_rowbytes(png, info);
    j->samples = samples_of(j, png, info);
    if (!believable(j)) return false;
    if (j->numbers && png_get_bit_depth(png, info) == 16)
        png_error(png, "its samples have 16 bits; as bytes they must have 8 or fewer");
    if (j->numbers) {
        png_set_packing(png);
    } else {
        png_set_expand(png);
        png_set_scale_16(png);
    }
    png_set_interlace_handling(png);
    png_read_update_info(png, info);
    j->samples = png_get_channels(png, info);
    if (!allocate(j)) return false;
    png_read_image(png, j->rows);
    return true;
}

/* [H,W,samples] to [C,H,W]; transparent pixels are blended with black. */
static bool deal_out(const job *j, pln_bytes *to) {
    size_t plane = j->H * j->W;
    *to = (pln_bytes){.C = j->samples < 3 ? 1 : 3, .H = j->H, .W = j->W};
    bool alpha = j->samples > to->C;
    to->pixels = malloc(to->C * plane);
    for (size_t i = 0; to->pixels && i < plane; i++) {
        const uint8_t *from = j->pixels + i * j->samples;
        unsigned a = alpha && !j->numbers ? from[to->C] : 255;
        for (size_t c = 0; c < to->C; c++) to->pixels[c * plane + i] = (uint8_t)((from[c] * a + 127) / 255);
    }
    return to->pixels != NULL;
}

static pleat_status read_open(pleat_ctx *ctx, const char *op, const char *path, job *j, pln_bytes *out) {
    png_structp png =
        png_create_read_struct_2(PNG_LIBPNG_VER_STRING, j, on_error, on_warning, j, on_malloc, on_free);
    png_infop info = png ? png_create_info_struct(png) : NULL;
    bool ok = info && decode(j, png, info);
    j->no_memory |= !info;
    png_destroy_read_struct(&png, &info, NULL);
    if (ok && !deal_out(j, out)) j->no_memory = true;
    free(j->pixels);
    free(j->rows);
    if (j->no_memory)
        return pleat_fail(ctx, PLEAT_ERR_MEMORY, op, "%s: no memory for %zux%zu pixels", path, j->H, j->W);
    return ok ? PLEAT_OK : pleat_fail(ctx, j->status, op, "%s: %s", path, j->why);
}

pleat_status pln_read_png(pleat_ctx *ctx, const char *op, const char *path, bool numbers, pln_bytes *out) {
    job j = {.status = PLEAT_ERR_FORMAT, .numbers = numbers};
    *out = (pln_bytes){0};
    pleat_status status = pln_file_size(ctx, op, path, &j.file_bytes);
    if (status) return status;
    j.f = pln_open(path);
    if (!j.f) return pln_read_failed(ctx, op, path);
    status = read_open(ctx, op, path, &j, out);
    fclose(j.f);
    return status;
}
#endif

pleat_tensor *pleat_nn_read_png(pleat_ctx *ctx, const char *path) {
    pln_bytes b;
    if (pln_read_png(ctx, "read_png", path, false, &b)) return pleat_poison(ctx);
    pleat_nn_images one = {.count = 1, .C = b.C, .H = b.H, .W = b.W, .pixels = b.pixels};
    pleat_tensor *x = pleat_nn_image_batch(ctx, PLEAT_F32, &one, NULL, 0, 1);
    free(b.pixels);
    return x;
}

/* Batches of images as one PNG picture, row by row through libpng. */
#include "files/png.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "files/file.h"
#include "pleat_config.h"

/* ---- the grid ------------------------------------------------------------------------------------------ */

enum { LONGEST_SIDE = 1000000 }; /* libpng's own limit */

pleat_status pln_grid_of(const char *op, const pleat_tensor *x, pln_grid *g) {
    pleat_ctx *ctx = pleat_ctx_of(x);
    char shape[96];
    if (pleat_is_poison(x))
        return pleat_fail(ctx, PLEAT_ERR_ARGUMENT, op, "x is poison: an op failed before");
    size_t C = pleat_size(x, 1);
    if (pleat_rank(x) != 4 || (C != 1 && C != 3))
        return pleat_fail(ctx, PLEAT_ERR_SHAPE, op, "x is %s; it must be [n,1,H,W] or [n,3,H,W], not empty",
                          pleat_shape_text(x, shape, sizeof shape));
    g->n = pleat_size(x, 0), g->C = C, g->H = pleat_size(x, 2), g->W = pleat_size(x, 3);
    return PLEAT_OK;
}

/* The length of `count` images of `size` pixels with gaps of one pixel, zoomed; 0 if it is too long. */
static size_t side(size_t count, size_t size, size_t zoom) {
    size_t length;
    bool huge =
        __builtin_mul_overflow(count, size + 1, &length) || __builtin_mul_overflow(length - 1, zoom, &length);
    return huge || length > LONGEST_SIDE ? 0 : length;
}

pleat_status pln_grid_lay_out(pleat_ctx *ctx, const char *op, pln_grid *g) {
    if (!g->columns || !g->zoom)
        return pleat_fail(ctx, PLEAT_ERR_ARGUMENT, op, "columns is %zu and zoom %zu; both must be at least 1",
                          g->columns, g->zoom);
    if (!g->n || !g->H || !g->W)
        return pleat_fail(ctx, PLEAT_ERR_SHAPE, op,
                          "x is [%zu,%zu,%zu,%zu]; it must be [n,1,H,W] or [n,3,H,W], not empty", g->n, g->C,
                          g->H, g->W);
    if (g->columns > g->n) g->columns = g->n;
    g->rows = (g->n - 1) / g->columns + 1;
    g->width = side(g->columns, g->W, g->zoom), g->height = side(g->rows, g->H, g->zoom);
    if (g->width && g->height) return PLEAT_OK;
    return pleat_fail(
        ctx, PLEAT_ERR_ARGUMENT, op,
        "%zu images of %zux%zu in %zu columns, zoom %zu: a side of the picture is over %d pixels", g->n, g->H,
        g->W, g->columns, g->zoom, LONGEST_SIDE);
}

#ifndef PL_HAVE_PNG
bool pln_png_is_there(void) { return false; }

pleat_status pln_png(const pln_grid *g, pln_sink sink, void *user, char why[PLN_PNG_WHY]) {
    (void)g, (void)sink, (void)user;
    snprintf(why, PLN_PNG_WHY, "pleat was built without libpng; configure it with -Dpng=enabled");
    return PLEAT_ERR_ARGUMENT;
}

pleat_status pleat_nn_write_png_grid(const char *path, pleat_tensor *x, size_t columns, size_t zoom) {
    char why[PLN_PNG_WHY];
    (void)path, (void)columns, (void)zoom;
    return pleat_fail(pleat_ctx_of(x), pln_png(NULL, NULL, NULL, why), "write_png_grid", "%s", why);
}
#else
#    include <png.h>

bool pln_png_is_there(void) { return true; }

typedef struct job {
    const pln_grid *g;
    pln_sink sink;
    void *user;
    size_t channels;     /* of the picture */
    uint8_t *line;       /* one line of the picture */
    pleat_status status; /* of the first failure within libpng */
    char *why;
} job;

static uint8_t to_byte(double v) {
    if (!(v > 0)) return 0; /* NaN too */
    return v < 1 ? (uint8_t)(255 * v + 0.5) : 255;
}

/* Line `row` of image i. */
static void draw_image(const job *j, size_t i, size_t row, uint8_t *to) {
    const pln_grid *g = j->g;
    for (size_t column = 0; column < g->W * g->zoom; column++) {
        for (size_t c = 0; c < g->C; c++)
            *to++ = to_byte(g->values[((i * g->C + c) * g->H + row) * g->W + column / g->zoom]);
        if (g->clear) *to++ = 255;
    }
}

/* Line `row` of the images in grid row `r`; row H is the gap below them. */
static void draw_line(const job *j, size_t r, size_t row) {
    const pln_grid *g = j->g;
    memset(j->line, g->clear ? 0 : 255, g->width * j->channels);
    for (size_t k = 0; k < g->columns && row < g->H; k++) {
        size_t i = r * g->columns + k;
        if (i >= g->n) break;
        draw_image(j, i, row, j->line + k * (g->W + 1) * g->zoom * j->channels);
    }
}

/* ---- libpng -------------------------------------------------------------------------------------------- */

static void write_bytes(png_structp png, png_bytep data, size_t n) {
    job *j = png_get_io_ptr(png);
    if (j->sink(j->user, data, n)) return;
    j->status = PLEAT_ERR_IO;
    png_error(png, strerror(errno));
}

/* A file is flushed when it is committed. */
static void flush_bytes(png_structp png) { (void)png; }

static void on_error(png_structp png, png_const_charp why) {
    job *j = png_get_error_ptr(png);
    snprintf(j->why, PLN_PNG_WHY, "%s", why);
    png_longjmp(png, 1);
}

static void on_warning(png_structp png, png_const_charp why) { (void)png, (void)why; }

/* libpng reports errors by longjmp, so the caller holds everything that must be freed. */
static bool encode(job *j, png_structp png, png_infop info) {
    const pln_grid *g = j->g;
    if (setjmp(png_jmpbuf(png))) return false;
    png_set_write_fn(png, j, write_bytes, flush_bytes);
    int colour =
        (g->C == 1 ? PNG_COLOR_TYPE_GRAY : PNG_COLOR_TYPE_RGB) | (g->clear ? PNG_COLOR_MASK_ALPHA : 0);
    png_set_IHDR(png, info, (png_uint_32)g->width, (png_uint_32)g->height, 8, colour, PNG_INTERLACE_NONE,
                 PNG_COMPRESSION_TYPE_DEFAULT, PNG_FILTER_TYPE_DEFAULT);
    png_write_info(png, info);
    for (size_t y = 0; y < g->height; y++) {
        size_t row = y / g->zoom;
        if (y % g->zoom == 0) draw_line(j, row / (g->H + 1), row % (g->H + 1));
        png_write_row(png, j->line);
    }
    png_write_end(png, NULL);
    return true;
}

pleat_status pln_png(const pln_grid *g, pln_sink sink, void *user, char why[PLN_PNG_WHY]) {
    /* once the sizes are checked and the sink has not failed, only memory can be the cause */
    job j = {.g = g, .sink = sink, .user = user, .status = PLEAT_ERR_MEMORY, .why = why};
    snprintf(why, PLN_PNG_WHY, "no memory for a picture of %zux%zu", g->height, g->width);
    j.channels = g->C + g->clear;
    j.line = malloc(g->width * j.channels);
    png_structp png =
        j.line ? png_create_write_struct(PNG_LIBPNG_VER_STRING, &j, on_error, on_warning) : NULL;
    png_infop info = png ? png_create_info_struct(png) : NULL;
    bool ok = info && encode(&j, png, info);
    png_destroy_write_struct(&png, &info);
    free(j.line);
    return ok ? PLEAT_OK : j.status;
}

/* ---- into a file --------------------------------------------------------------------------------------- */

#    define OP "write_png_grid"

static bool into_file(void *user, const void *bytes, size_t n) { return fwrite(bytes, 1, n, user) == n; }

static pleat_status write_picture(pleat_ctx *ctx, pleat_tensor *x, pln_grid *g, const pleat_nn_file *file) {
    char why[PLN_PNG_WHY];
    double *values = malloc(pleat_numel(x) * sizeof *values);
    if (!values)
        return pleat_fail(ctx, PLEAT_ERR_MEMORY, OP, "no memory for a picture of %zux%zu", g->height,
                          g->width);
    pleat_read_f64(x, values);
    g->values = values;
    pleat_status status = pln_png(g, into_file, file->f, why);
    if (status) pleat_fail(ctx, status, OP, "cannot write %s: %s", file->path, why);
    free(values);
    return status;
}

pleat_status pleat_nn_write_png_grid(const char *path, pleat_tensor *x, size_t columns, size_t zoom) {
    pleat_ctx *ctx = pleat_ctx_of(x);
    pleat_nn_file file;
    pln_grid g = {.columns = columns, .zoom = zoom};
    pleat_status status = pln_grid_of(OP, x, &g);
    if (!status) status = pln_grid_lay_out(ctx, OP, &g);
    if (!status) status = pleat_nn_file_create(ctx, path, &file);
    if (status) return status;
    status = write_picture(ctx, x, &g, &file);
    if (!status) return pleat_nn_file_commit(ctx, &file);
    pleat_nn_file_abort(&file);
    return status;
}
#endif

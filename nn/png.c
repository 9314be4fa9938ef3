/* Batches of images as one PNG picture, row by row through libpng. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "file.h"
#include "pleat_config.h"

#define OP "write_png_grid"

#ifndef PL_HAVE_PNG
pleat_status pleat_nn_write_png_grid(const char *path, pleat_tensor *x, size_t columns, size_t zoom) {
    (void)path, (void)columns, (void)zoom;
    return pleat_fail(pleat_ctx_of(x), PLEAT_ERR_ARGUMENT, OP,
                      "pleat was built without libpng; configure it with -Dpng=enabled");
}
#else
#    include <png.h>

enum {
    LONGEST_SIDE = 1000000,
    GAP = 255
}; /* libpng's own limit; the grey between images and in empty places */

typedef struct grid {
    FILE *f;
    size_t n, C, H, W, columns, rows, zoom;
    size_t width, height; /* of the picture, in its pixels */
    double *values;       /* [n,C,H,W] */
    uint8_t *line;        /* one line of the picture */
    pleat_status status;  /* of the first failure within libpng */
    char why[128];
} grid;

static pleat_status check_tensor(const pleat_tensor *x) {
    pleat_ctx *ctx = pleat_ctx_of(x);
    char shape[96];
    if (pleat_is_poison(x))
        return pleat_fail(ctx, PLEAT_ERR_ARGUMENT, OP, "x is poison: an op failed before");
    size_t C = pleat_size(x, 1);
    if (pleat_rank(x) != 4 || (C != 1 && C != 3) || pleat_numel(x) == 0)
        return pleat_fail(ctx, PLEAT_ERR_SHAPE, OP, "x is %s; it must be [n,1,H,W] or [n,3,H,W], not empty",
                          pleat_shape_text(x, shape, sizeof shape));
    return PLEAT_OK;
}

/* `count` images of `size` pixels, one pixel between them, zoomed; 0 where that is too long. */
static size_t side(size_t count, size_t size, size_t zoom) {
    size_t length;
    bool huge =
        __builtin_mul_overflow(count, size + 1, &length) || __builtin_mul_overflow(length - 1, zoom, &length);
    return huge || length > LONGEST_SIDE ? 0 : length;
}

static pleat_status lay_out(grid *g, const pleat_tensor *x, size_t columns, size_t zoom) {
    pleat_ctx *ctx = pleat_ctx_of(x);
    if (!columns || !zoom)
        return pleat_fail(ctx, PLEAT_ERR_ARGUMENT, OP, "columns is %zu and zoom %zu; both must be at least 1",
                          columns, zoom);
    g->n = pleat_size(x, 0), g->C = pleat_size(x, 1), g->H = pleat_size(x, 2), g->W = pleat_size(x, 3);
    g->zoom = zoom;
    g->columns = columns < g->n ? columns : g->n;
    g->rows = (g->n - 1) / g->columns + 1;
    g->width = side(g->columns, g->W, zoom), g->height = side(g->rows, g->H, zoom);
    if (g->width && g->height) return PLEAT_OK;
    return pleat_fail(
        ctx, PLEAT_ERR_ARGUMENT, OP,
        "%zu images of %zux%zu in %zu columns, zoom %zu: a side of the picture is over %d pixels", g->n, g->H,
        g->W, g->columns, zoom, LONGEST_SIDE);
}

static uint8_t to_byte(double v) {
    if (!(v > 0)) return 0; /* NaN too */
    return v < 1 ? (uint8_t)(255 * v + 0.5) : 255;
}

/* Line `row` of the images in grid row `r`; row H is the gap below them. */
static void draw_line(grid *g, size_t r, size_t row) {
    memset(g->line, GAP, g->width * g->C);
    for (size_t k = 0; k < g->columns && row < g->H; k++) {
        size_t i = r * g->columns + k;
        if (i >= g->n) break;
        uint8_t *to = g->line + k * (g->W + 1) * g->zoom * g->C;
        for (size_t column = 0; column < g->W * g->zoom; column++)
            for (size_t c = 0; c < g->C; c++)
                *to++ = to_byte(g->values[((i * g->C + c) * g->H + row) * g->W + column / g->zoom]);
    }
}

/* ---- libpng -------------------------------------------------------------------------------------------- */

static void write_bytes(png_structp png, png_bytep data, size_t n) {
    grid *g = png_get_io_ptr(png);
    if (fwrite(data, 1, n, g->f) == n) return;
    g->status = PLEAT_ERR_IO;
    png_error(png, strerror(errno));
}

/* The file is flushed when it is committed. */
static void flush_bytes(png_structp png) { (void)png; }

static void on_error(png_structp png, png_const_charp why) {
    grid *g = png_get_error_ptr(png);
    snprintf(g->why, sizeof g->why, "%s", why);
    png_longjmp(png, 1);
}

static void on_warning(png_structp png, png_const_charp why) { (void)png, (void)why; }

/* libpng leaves through longjmp: what must be freed then is held by the caller. */
static bool encode(grid *g, png_structp png, png_infop info) {
    if (setjmp(png_jmpbuf(png))) return false;
    png_set_write_fn(png, g, write_bytes, flush_bytes);
    png_set_IHDR(png, info, (png_uint_32)g->width, (png_uint_32)g->height, 8,
                 g->C == 1 ? PNG_COLOR_TYPE_GRAY : PNG_COLOR_TYPE_RGB, PNG_INTERLACE_NONE,
                 PNG_COMPRESSION_TYPE_DEFAULT, PNG_FILTER_TYPE_DEFAULT);
    png_write_info(png, info);
    for (size_t y = 0; y < g->height; y++) {
        size_t row = y / g->zoom;
        if (y % g->zoom == 0) draw_line(g, row / (g->H + 1), row % (g->H + 1));
        png_write_row(png, g->line);
    }
    png_write_end(png, NULL);
    return true;
}

static bool write_picture(grid *g) {
    g->status = PLEAT_ERR_MEMORY; /* what is left, once the sizes are checked and the writes succeed */
    snprintf(g->why, sizeof g->why, "no memory");
    png_structp png = png_create_write_struct(PNG_LIBPNG_VER_STRING, g, on_error, on_warning);
    png_infop info = png ? png_create_info_struct(png) : NULL;
    bool ok = info && encode(g, png, info);
    png_destroy_write_struct(&png, &info);
    return ok;
}

pleat_status pleat_nn_write_png_grid(const char *path, pleat_tensor *x, size_t columns, size_t zoom) {
    pleat_ctx *ctx = pleat_ctx_of(x);
    pleat_nn_file file;
    grid g = {0};
    pleat_status status = check_tensor(x);
    if (!status) status = lay_out(&g, x, columns, zoom);
    if (!status) status = pleat_nn_file_create(ctx, path, &file);
    if (status) return status;
    g.f = file.f;
    g.values = malloc(pleat_numel(x) * sizeof *g.values);
    g.line = malloc(g.width * g.C);
    if (!g.values || !g.line) {
        status =
            pleat_fail(ctx, PLEAT_ERR_MEMORY, OP, "no memory for a picture of %zux%zu", g.height, g.width);
    } else {
        pleat_read_f64(x, g.values);
        if (!write_picture(&g))
            status = pleat_fail(ctx, g.status, OP, "cannot write %s: %s", file.path, g.why);
    }
    free(g.values);
    free(g.line);
    if (!status) return pleat_nn_file_commit(ctx, &file);
    pleat_nn_file_abort(&file);
    return status;
}
#endif

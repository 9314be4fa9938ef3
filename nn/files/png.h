/* Batches of images as one PNG picture, for files and for pages. */
#ifndef PLN_PNG_H
#define PLN_PNG_H

#include "pleat_nn.h"

/* n images on a grid of `columns`, each enlarged `zoom` times, one zoomed pixel apart. */
typedef struct pln_grid {
    size_t n, C, H, W, columns, zoom;
    bool clear;                 /* gaps and empty cells are transparent, not white */
    const double *values;       /* [n,C,H,W], clipped to 0..1 */
    size_t rows, width, height; /* set by pln_grid_lay_out; the picture's size in pixels */
} pln_grid;

/* Takes n bytes, or returns false with errno set. */
typedef bool (*pln_sink)(void *user, const void *bytes, size_t n);

/* n, C, H and W from x [n,1,H,W] or [n,3,H,W]; anything else is an error of `op`. */
pleat_status pln_grid_of(const char *op, const pleat_tensor *x, pln_grid *g);
/* Set rows, width and height, and at most n columns. Error: no columns, no zoom, no images, or too long a
 * side. */
pleat_status pln_grid_lay_out(pleat_ctx *ctx, const char *op, pln_grid *g);

/* Was this built with libpng? */
bool pln_png_is_there(void);

enum { PLN_PNG_WHY = 128 };
/* Write the picture to the sink. PLEAT_ERR_IO if the sink fails, PLEAT_ERR_MEMORY, or PLEAT_ERR_ARGUMENT
 * without libpng; `why` has the details. Nothing is reported to a context. */
pleat_status pln_png(const pln_grid *g, pln_sink sink, void *user, char why[PLN_PNG_WHY]);

#endif

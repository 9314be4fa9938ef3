/* One PNG as bytes. */
#ifndef PLN_PNG_READ_H
#define PLN_PNG_READ_H

#include "pleat_nn_data.h"

/* The pixels [C,H,W] of a PNG file, C being 1 for grey and else 3: as colours, from 0 to 255, or as the
 * numbers in the file (grey, or indices of a palette, without transparency), for masks. On an error of `op`,
 * out is empty. */
typedef struct pln_bytes {
    size_t C, H, W;
    uint8_t *pixels; /* the caller frees it */
} pln_bytes;
pleat_status pln_read_png(pleat_ctx *ctx, const char *op, const char *path, bool numbers, pln_bytes *out);

#endif

/* What a loader does to one image: bytes to numbers, by way of crops, flips, noise and normalisation. */
#ifndef PLN_TRANSFORM_H
#define PLN_TRANSFORM_H

#include "pleat_nn_data.h"

/* An image and what becomes of it. */
typedef struct pln_picture {
    size_t C, H, W; /* of the image, */
    size_t size[2]; /* and of the result */
    const pleat_nn_transform *transform;
} pln_picture;

/* Why the transform cannot be applied to images [C,H,W], or NULL. *size is the result's. */
const char *pln_wrong_transform(const pleat_nn_transform *t, size_t H, size_t W, size_t size[2]);

/* pixels [C,H,W] to x [C,size], and the same without noise to clean, unless that is NULL. Draws from r in the order crop's row and
 * column, flip, flip_rows, noise of each pixel; what is not used is not drawn. */
void pln_transform_f32(const pln_picture *p, const uint8_t *pixels, pleat_rng *r, float *x, float *clean);
void pln_transform_f64(const pln_picture *p, const uint8_t *pixels, pleat_rng *r, double *x, double *clean);

#endif

/* The transform of one image, from bytes to numbers: crop, flips, noise, normalisation. */
#ifndef PLN_TRANSFORM_H
#define PLN_TRANSFORM_H

#include "pleat_nn_data.h"

/* The sizes of an image, before and after the transform. */
typedef struct pln_picture {
    size_t C, H, W; /* of the image, */
    size_t size[2]; /* and of the result */
    const pleat_nn_transform *transform;
} pln_picture;

/* The rule that the transform breaks for images [C,H,W], or NULL. *size becomes that of the result. */
const char *pln_wrong_transform(const pleat_nn_transform *t, size_t H, size_t W, size_t size[2]);

/* Transform pixels [C,H,W] to x [C,size], and without noise to clean, unless clean is NULL. Draws from r in
 * this order: row and column of the crop, flip, flip_rows, the noise of each pixel; nothing is drawn for a
 * transform that is not used. */
void pln_transform_f32(const pln_picture *p, const uint8_t *pixels, pleat_rng *r, float *x, float *clean);
void pln_transform_f64(const pln_picture *p, const uint8_t *pixels, pleat_rng *r, double *x, double *clean);

#endif

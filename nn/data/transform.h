/* The transform of one item: a window of its images, flipped; conversion to numbers; noise, normalisation. */
#ifndef PLN_TRANSFORM_H
#define PLN_TRANSFORM_H

#include "pleat_nn_data.h"

/* The rule that the transform breaks for images [..,H,W], or NULL. *size becomes that of the result. */
const char *pln_wrong_transform(const pleat_nn_transform *t, size_t H, size_t W, size_t size[2]);
/* Does it crop or flip? */
bool pln_moves(const pleat_nn_transform *t);

/* A window of an image [H,W], and the direction of reading. */
typedef struct pln_view {
    size_t image[2], size[2];
    ptrdiff_t first[2], step[2]; /* of the image's pixels, along H and W */
} pln_view;

/* Draws from r: row and column of the crop, flip, flip_rows; nothing for a transform that is not used. */
pln_view pln_draw_view(const pleat_nn_transform *t, const size_t image[2], const size_t size[2],
                       pleat_rng *r);
/* Is the view the whole image, not flipped? */
bool pln_is_whole(const pln_view *v);
/* Copy the view of `planes` images, elements of 1, 4 or 8 bytes; pixels outside the image are 0. */
void pln_cut(const pln_view *v, size_t planes, size_t element, const void *from, void *to);

/* n elements of a type that is not of labels, as numbers. */
void pln_numbers_f32(pleat_nn_type type, size_t n, const void *from, float *to);
void pln_numbers_f64(pleat_nn_type type, size_t n, const void *from, double *to);

/* Noise, clipping to 0..1 if `pixels`, and normalisation of x [C,n]. Without noise to clean, unless that is
 * NULL. Draws from r the noise of each element in turn, or nothing. */
typedef struct pln_finish {
    const pleat_nn_transform *transform;
    size_t C, n;
    bool pixels;
} pln_finish;
void pln_finish_f32(const pln_finish *f, pleat_rng *r, float *x, float *clean);
void pln_finish_f64(const pln_finish *f, pleat_rng *r, double *x, double *clean);

#endif

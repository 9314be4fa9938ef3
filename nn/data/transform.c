/* Transforms of one image: pure functions of its bytes and a random stream. */
#include "data/transform.h"

#include <math.h>

static bool is_share(double p) { return p >= 0 && p <= 1; }

const char *pln_wrong_transform(const pleat_nn_transform *t, size_t H, size_t W, size_t size[2]) {
    const size_t image[2] = {H, W};
    size_t room;
    if (!is_share(t->flip) || !is_share(t->flip_rows))
        return "flip and flip_rows are probabilities, from 0 to 1";
    if (!(t->noise >= 0) || !isfinite(t->noise)) return "noise must be finite and not negative";
    for (size_t k = 0; k < 4; k++)
        if (!isfinite(t->mean[k]) || !isfinite(t->std[k]) || t->std[k] < 0)
            return "mean and std must be finite, and std not negative";
    if ((t->crop[0] == 0) != (t->crop[1] == 0))
        return "crop must be given along both axes; write .crop = {32, 32}";
    for (size_t k = 0; k < 2; k++) {
        size[k] = t->crop[k] ? t->crop[k] : image[k];
        if (t->crop_pad > SIZE_MAX / 4 || __builtin_add_overflow(image[k], 2 * t->crop_pad, &room) ||
            size[k] > room)
            return "crop must not be larger than the image with crop_pad on both sides";
    }
    return NULL;
}

/* The position of the window, and the direction of reading. */
typedef struct view {
    ptrdiff_t first[2], step[2]; /* of the image's pixels, along H and W */
} view;

static view draw_view(const pln_picture *p, pleat_rng *r) {
    const pleat_nn_transform *t = p->transform;
    const size_t image[2] = {p->H, p->W};
    const double flip[2] = {t->flip_rows, t->flip};
    view v = {.step = {1, 1}};
    for (size_t k = 0; k < 2; k++) {
        size_t spare = image[k] + 2 * t->crop_pad - p->size[k];
        size_t at = t->centre || !spare ? spare / 2 : (size_t)pleat_rng_below(r, spare + 1);
        v.first[k] = (ptrdiff_t)at - (ptrdiff_t)t->crop_pad;
    }
    for (size_t k = 2; k-- > 0;) {
        if (flip[k] <= 0 || pleat_rng_uniform(r) >= flip[k]) continue;
        v.first[k] += (ptrdiff_t)p->size[k] - 1;
        v.step[k] = -1;
    }
    return v;
}

/* Is the view the whole image, not flipped? */
static bool is_whole(const pln_picture *p, const view *v) {
    return p->size[0] == p->H && p->size[1] == p->W && v->first[0] == 0 && v->first[1] == 0 &&
           v->step[0] == 1 && v->step[1] == 1;
}

#define T float
#define NAME(f) f##_f32
#include "data/transform.inc"
#undef T
#undef NAME
#define T double
#define NAME(f) f##_f64
#include "data/transform.inc"

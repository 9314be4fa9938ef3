/* Transforms of one item: pure functions of its elements and a random stream. */
#include "data/transform.h"

#include <math.h>
#include <string.h>

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
    for (size_t k = 0; k < 2; k++) {
        size[k] = t->crop[k] ? t->crop[k] : image[k];
        if (t->crop_pad > SIZE_MAX / 4 || __builtin_add_overflow(image[k], 2 * t->crop_pad, &room) ||
            size[k] > room)
            return "crop must not be larger than the image with crop_pad on both sides";
    }
    return NULL;
}

bool pln_moves(const pleat_nn_transform *t) {
    return t->crop[0] || t->crop_pad || t->flip > 0 || t->flip_rows > 0;
}

pln_view pln_draw_view(const pleat_nn_transform *t, const size_t image[2], const size_t size[2],
                       pleat_rng *r) {
    const double flip[2] = {t->flip_rows, t->flip};
    pln_view v = {.image = {image[0], image[1]}, .size = {size[0], size[1]}, .step = {1, 1}};
    for (size_t k = 0; k < 2; k++) {
        size_t spare = image[k] + 2 * t->crop_pad - size[k];
        size_t at = t->centre || !spare ? spare / 2 : (size_t)pleat_rng_below(r, spare + 1);
        v.first[k] = (ptrdiff_t)at - (ptrdiff_t)t->crop_pad;
    }
    for (size_t k = 2; k-- > 0;) {
        if (flip[k] <= 0 || pleat_rng_uniform(r) >= flip[k]) continue;
        v.first[k] += (ptrdiff_t)size[k] - 1;
        v.step[k] = -1;
    }
    return v;
}

bool pln_is_whole(const pln_view *v) {
    for (size_t k = 0; k < 2; k++)
        if (v->size[k] != v->image[k] || v->first[k] != 0 || v->step[k] != 1) return false;
    return true;
}

/* Row h of the view. */
static void cut_row(const pln_view *v, size_t h, size_t element, const char *plane, char *to) {
    ptrdiff_t row = v->first[0] + (ptrdiff_t)h * v->step[0], W = (ptrdiff_t)v->image[1];
    bool inside = row >= 0 && row < (ptrdiff_t)v->image[0];
    memset(to, 0, v->size[1] * element);
    for (size_t w = 0; inside && w < v->size[1]; w++) {
        ptrdiff_t column = v->first[1] + (ptrdiff_t)w * v->step[1];
        if (column < 0 || column >= W) continue;
        const char *from = plane + (size_t)(row * W + column) * element;
        if (element == 1)
            to[w] = *from;
        else
            memcpy(to + w * element, from, element);
    }
}

void pln_cut(const pln_view *v, size_t planes, size_t element, const void *from, void *to) {
    const char *plane = from;
    char *row = to;
    for (size_t c = 0; c < planes; c++, plane += v->image[0] * v->image[1] * element)
        for (size_t h = 0; h < v->size[0]; h++, row += v->size[1] * element)
            cut_row(v, h, element, plane, row);
}

#define T float
#define NAME(f) f##_f32
#include "data/transform.inc"
#undef T
#undef NAME
#define T double
#define NAME(f) f##_f64
#include "data/transform.inc"

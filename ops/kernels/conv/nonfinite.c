/* Taps that lie in padding are absent: they add nothing, whatever the other factor is. The engines multiply zeros instead, which is
 * the same but for factors that are not finite: 0 times Inf is NaN. So what they leave wrong is always a NaN, and is made again here
 * by the definition. On finite data nothing is done but to look, where there is padding: at the operands that it is multiplied with,
 * or at the result, whichever is less. */
#include "kernels/conv/engine.h"
#include "kernels/parallel.h"

#include <stdint.h>

/* What the tasks of one call share; a and b are the operands of the public function, in its order. */
typedef struct job {
    const pleat_conv_shape *g;
    pleat_conv_op op;
    const void *a, *b;
    void *c;
    const pleat_work *work;
} job;

/* ---- along an axis: 0 is H, P and R, 1 is W, Q and S -------------------------------------------------- */

static size_t image_size(const pleat_conv_shape *g, size_t k) { return k == 0 ? g->H : g->W; }
static size_t map_size(const pleat_conv_shape *g, size_t k) { return k == 0 ? g->P : g->Q; }
static size_t kernel_size(const pleat_conv_shape *g, size_t k) { return k == 0 ? g->R : g->S; }

/* The image's pixel that map pixel 0 meets through a tap. */
static ptrdiff_t origin(const pleat_conv_shape *g, size_t k, size_t tap) {
    return (ptrdiff_t)(tap * g->dilation[k]) - g->pad[k];
}

/* The image's pixel, as *at, that a pixel of the map meets through a tap; false where that is outside. */
static bool image_pixel(const pleat_conv_shape *g, size_t k, size_t map, size_t tap, size_t *at) {
    ptrdiff_t i = (ptrdiff_t)(map * g->stride[k]) + origin(g, k, tap);
    *at = (size_t)i;
    return i >= 0 && *at < image_size(g, k);
}

/* The map's pixel, as *at, that meets a pixel of the image through a tap. */
typedef enum meeting { MEETS, BETWEEN, OUTSIDE } meeting;

static meeting map_pixel(const pleat_conv_shape *g, size_t k, size_t image, size_t tap, size_t *at) {
    ptrdiff_t first = origin(g, k, tap);
    bool before = first > (ptrdiff_t)image;
    size_t distance = before ? (size_t)first - image : image - (size_t)first;
    if (distance % g->stride[k] != 0) return BETWEEN;
    *at = distance / g->stride[k];
    return before || *at >= map_size(g, k) ? OUTSIDE : MEETS;
}

/* Whether a pixel of the result has an absent tap along the axis. */
static bool lacks(const job *j, size_t k, size_t pixel) {
    size_t at;
    for (size_t tap = 0; tap < kernel_size(j->g, k); tap++) {
        bool absent = j->op == PLEAT_CONV_FORWARD ? !image_pixel(j->g, k, pixel, tap, &at)
                                                  : map_pixel(j->g, k, pixel, tap, &at) == OUTSIDE;
        if (absent) return true;
    }
    return false;
}

/* Whether no pixel of the result has an absent tap along the axis. What is too large to be sure of counts as absent. */
static bool lacks_nothing(const job *j, size_t k) {
    const pleat_conv_shape *g = j->g;
    size_t stride = g->stride[k], image = image_size(g, k);
    ptrdiff_t last = (ptrdiff_t)((map_size(g, k) - 1) * stride), end = last - g->pad[k];
    ptrdiff_t reach = origin(g, k, kernel_size(g, k) - 1);
    if (j->op == PLEAT_CONV_FORWARD) return g->pad[k] <= 0 && last + reach < (ptrdiff_t)image;
    /* that is, where the pixels before the map's first and behind its last meet none of the image */
    return (reach < 0 || (size_t)reach < stride) && end >= 0 &&
           ((size_t)end >= image || image - (size_t)end <= stride);
}

/* ---- the result --------------------------------------------------------------------------------------- */

/* Elements in a plane of the result, and planes: of pixels, or of taps. */
static size_t plane_size(const job *j) {
    const pleat_conv_shape *g = j->g;
    if (j->op == PLEAT_CONV_WEIGHT) return g->R * g->S;
    return j->op == PLEAT_CONV_FORWARD ? g->P * g->Q : g->H * g->W;
}

static size_t planes(const job *j) {
    const pleat_conv_shape *g = j->g;
    if (j->op == PLEAT_CONV_WEIGHT) return g->O * (g->C / g->G);
    return g->N * (j->op == PLEAT_CONV_FORWARD ? g->O : g->C);
}

#define T float
#define NAME(name) name##_f32
#include "kernels/conv/nonfinite.inc"
#undef T
#undef NAME

#define T double
#define NAME(name) name##_f64
#include "kernels/conv/nonfinite.inc"
#undef T
#undef NAME

bool pl_mend_absent(const pleat_conv_shape *g, size_t element, pleat_conv_op op, const void *a, const void *b,
                    void *c, const pleat_work *work) {
    job j = {g, op, a, b, c, work};
    /* a weight's sum runs over a whole map, which the engines fill up with zeros where they like */
    if (op != PLEAT_CONV_WEIGHT && lacks_nothing(&j, 0) && lacks_nothing(&j, 1)) return false;
    bool suspicious = (element == sizeof(float) ? suspicious_f32 : suspicious_f64)(&j);
    if (suspicious) pl_parallel(work->pool, planes(&j), element == sizeof(float) ? mend_f32 : mend_f64, &j);
    return suspicious;
}

/* A generated data set of discs, rings, boxes, triangles and crosses. Image i depends on the seed and i
 * only. */
#define _POSIX_C_SOURCE 200809L

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "pleat_nn.h"

enum { KINDS = 5, SAMPLES = 4 }; /* a pixel is the mean of SAMPLES x SAMPLES points in it */

/* Every shape lies within |u|, |v| <= 1; v points down. */
static bool disc(double u, double v) { return u * u + v * v <= 1; }
static bool ring(double u, double v) { return disc(u, v) && u * u + v * v >= 0.3; }
static bool box(double u, double v) { return fmax(fabs(u), fabs(v)) <= 0.85; }
static bool triangle(double u, double v) { return v <= 0.8 && 2 * fabs(u) <= v + 1; }
static bool cross(double u, double v) { return fmin(fabs(u), fabs(v)) <= 0.3 && fmax(fabs(u), fabs(v)) <= 1; }

static bool (*const inside[KINDS])(double, double) = {disc, ring, box, triangle, cross};

typedef struct figure {
    size_t kind;
    double x, y, radius, grey, background; /* in pixels; 0..1 */
} figure;

/* A random figure, completely inside the picture, brighter than the background. */
static figure random_figure(pleat_rng *r, size_t H, size_t W) {
    figure f = {.kind = (size_t)pleat_rng_below(r, KINDS)};
    double side = (double)(H < W ? H : W), h = (double)H, w = (double)W;
    f.radius = side * (0.2 + 0.22 * pleat_rng_uniform(r));
    f.x = f.radius + (w - 2 * f.radius) * pleat_rng_uniform(r);
    f.y = f.radius + (h - 2 * f.radius) * pleat_rng_uniform(r);
    f.background = 0.2 * pleat_rng_uniform(r);
    f.grey = 0.5 + 0.5 * pleat_rng_uniform(r);
    return f;
}

/* The fraction of pixel (row, column) that the figure covers. */
static double coverage(const figure *f, size_t row, size_t column) {
    int hits = 0;
    for (int i = 0; i < SAMPLES; i++) {
        for (int j = 0; j < SAMPLES; j++) {
            double u = ((double)column + (j + 0.5) / SAMPLES - f->x) / f->radius;
            double v = ((double)row + (i + 0.5) / SAMPLES - f->y) / f->radius;
            hits += inside[f->kind](u, v);
        }
    }
    return (double)hits / (SAMPLES * SAMPLES);
}

static void draw(const figure *f, size_t H, size_t W, uint8_t *pixels) {
    for (size_t row = 0; row < H; row++) {
        for (size_t column = 0; column < W; column++) {
            double v = f->background;
            if (fabs((double)column + 0.5 - f->x) < f->radius + 1 &&
                fabs((double)row + 0.5 - f->y) < f->radius + 1)
                v += (f->grey - f->background) * coverage(f, row, column);
            pixels[row * W + column] = (uint8_t)(255 * v + 0.5);
        }
    }
}

/* NULL if memory is short. */
static char **names_of_kinds(void) {
    static const char *const kinds[KINDS] = {"disc", "ring", "box", "triangle", "cross"};
    char **names = calloc(KINDS, sizeof *names);
    for (size_t k = 0; names && k < KINDS; k++) {
        names[k] = strdup(kinds[k]);
        if (names[k]) continue;
        while (k > 0) free(names[--k]);
        free(names);
        return NULL;
    }
    return names;
}

pleat_status pleat_nn_shapes(pleat_ctx *ctx, size_t count, size_t H, size_t W, uint64_t seed,
                             pleat_nn_images *out) {
    size_t bytes;
    *out = (pleat_nn_images){0};
    if (!count || H < 8 || W < 8)
        return pleat_fail(ctx, PLEAT_ERR_ARGUMENT, "shapes",
                          "%zu images of %zux%zu; at least 1 image of at least 8x8 is needed", count, H, W);
    bool huge = __builtin_mul_overflow(H, W, &bytes) || __builtin_mul_overflow(bytes, count, &bytes);
    pleat_nn_images made = {.count = count, .C = 1, .H = H, .W = W};
    if (!huge) {
        made.pixels = malloc(bytes);
        made.labels = malloc(count);
    }
    if (!made.pixels || !made.labels) {
        pleat_nn_images_free(&made);
        return pleat_fail(ctx, PLEAT_ERR_MEMORY, "shapes", "no memory for %zu images of %zux%zu", count, H,
                          W);
    }
    for (size_t i = 0; i < count; i++) {
        pleat_rng r = pleat_rng_new(seed, i);
        figure f = random_figure(&r, H, W);
        draw(&f, H, W, made.pixels + i * H * W);
        made.labels[i] = (uint8_t)f.kind;
    }
    made.classes = KINDS;
    made.names = names_of_kinds();
    if (!made.names) {
        pleat_nn_images_free(&made);
        return pleat_fail(ctx, PLEAT_ERR_MEMORY, "shapes", "no memory for the names of the kinds");
    }
    *out = made;
    return PLEAT_OK;
}

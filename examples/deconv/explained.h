/* explained.h: what the text and the picture of `deconv explain` share. */
#ifndef EXPLAINED_H
#define EXPLAINED_H

#include "deconv.h"

/* A layer, and how often each pixel of its image is met. The image is the result of a transpose and the input of a convolution;
 * the map is at the other end. */
typedef struct explained {
    pleat_layer layer;
    pleat_layer_plan plan;
    pleat_conv_shape g;
    size_t in[2], kernel[2], image[2], map[2];
    size_t *taps[2];  /* per axis and image pixel: the pairs of map pixel and tap that meet it */
    size_t *phase[2]; /* the same far from all borders, by (pixel + crop) modulo the stride */
} explained;

static inline size_t extent_of(const explained *e, int axis) {
    return (e->kernel[axis] - 1) * e->layer.dilation[axis] + 1;
}

/* A picture of the stages: as SVG into `path`, or as PNG. Returns an exit status, with a line on standard error. */
int draw_svg(const explained *e, pleat_ctx *ctx, const char *path);
int draw_png(const explained *e, pleat_ctx *ctx, const char *path);

#endif

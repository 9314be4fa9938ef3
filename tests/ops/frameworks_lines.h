/* frameworks_lines.h: layers on lines, images of 1 by `in` pixels with kernels of 1 by k, and small geometries of them. */
#ifndef FRAMEWORKS_LINES_H
#define FRAMEWORKS_LINES_H

#include "pleat_frameworks.h"
#include "tensors.h"

enum { LINE = 96 }; /* more pixels than any line here has */

typedef struct line {
    size_t in, k, s, d;
    size_t ke, L;            /* of the dilated kernel; of the natural result */
    double x[LINE], w[LINE]; /* whole numbers, no two sums of products alike */
    double natural[LINE];    /* the scattered kernels, and zeros behind them */
} line;

/* The geometries in 1..6, k 1..5, s 1..4, d 1..3. Begin with a line of zeros; false behind the last. */
bool next_line(line *g);

/* The layer along W, with nothing to do along H. */
pleat_layer line_layer(pleat_framework f, bool transpose, const line *g, pleat_padding padding);
pleat_layer with_pads(pleat_layer l, size_t before, size_t after);
pleat_layer with_output_padding(pleat_layer l, size_t output_padding);
pleat_layer with_output_size(pleat_layer l, size_t size);

bool plan_line(const pleat_layer *l, const line *g, pleat_layer_plan *p);

/* The layer is legal and gives these `out` values; of a transpose, the plan must also be within least..most. */
void expect_line(const pleat_layer *l, const line *g, size_t out, const double *values);
/* The same for out natural values behind the first `crop`. */
void expect_cropped(const pleat_layer *l, const line *g, size_t out, size_t crop);
/* The layer is refused, in one line. */
void expect_refused(const pleat_layer *l, const line *g);

/* The layer's arguments, for messages. */
const char *line_text(const pleat_layer *l, const line *g);

#endif

/* An axis of a layer, and a framework as layer.c sees it: its arguments, and two rules for an axis. */
#ifndef PL_FRAMEWORKS_H
#define PL_FRAMEWORKS_H

#include "pleat_frameworks.h"

/* The bound of all numbers given to a rule, so that the sum of a few of them fits a ptrdiff_t. */
#define PL_LARGEST (PTRDIFF_MAX / 8)

typedef struct pl_axis {
    const pleat_layer *layer;
    const char *name;                                     /* "H" or "W" */
    ptrdiff_t in, extent, stride, dilation;               /* extent: of the dilated kernel, ke */
    ptrdiff_t before, after, output_padding, output_size; /* output_size: 0 if not given */
    ptrdiff_t natural, scaled;                            /* of a transpose: L, and in * stride */
    ptrdiff_t out, crop, least, most;                     /* the results of the rule */
    char *why;                                            /* the plan's */
} pl_axis;

typedef struct pl_framework {
    const char *name;
    unsigned paddings[2];    /* supported values as bits PL_PADDING(...): of a convolution, of a transpose */
    const char *output_size; /* its name of output_size; NULL if it has none */
    bool output_padding, channels_last, transpose_groups;
    bool kernel_first; /* weights [R,S,..] instead of [..,R,S] */
    /* The groups of a convolution from the channels of input and weight, 0 if there is no such number. NULL:
     * groups are an argument of the framework. */
    size_t (*groups)(size_t input, size_t weight);
    bool (*conv)(pl_axis *a);
    bool (*transpose)(pl_axis *a);
} pl_framework;

#define PL_PADDING(name) (1u << PLEAT_PADDING_##name)

extern const pl_framework pl_torch, pl_tensorflow, pl_onnx, pl_keras;

/* The framework's arguments and rules; NULL if there is no such framework. */
const pl_framework *pl_framework_of(pleat_framework f);

/* ---- for the rules (layer.c) ------------------------------------------------------------------------- */

ptrdiff_t pl_max(ptrdiff_t a, ptrdiff_t b);

/* Write the reason, formatted as by printf; false. */
bool pl_refuse(const pl_axis *a, const char *format, ...) __attribute__((format(printf, 2, 3)));

/* Is least <= value <= most? If not: "output_size 16 on axis H: torch takes 13..14 here". */
bool pl_within(const pl_axis *a, const char *word, ptrdiff_t value, ptrdiff_t least, ptrdiff_t most);

/* Set least and most, which begin at 1; false if no size is left between them. */
bool pl_range(pl_axis *a, ptrdiff_t least, ptrdiff_t most);

/* A convolution's crop and out with these paddings; false if the kernel does not fit. */
bool pl_conv_padded(pl_axis *a, ptrdiff_t before, ptrdiff_t after);

/* The padding that takes a convolution of `in` pixels to ceil(in / stride); negative where a stride skips the
 * end. */
ptrdiff_t pl_same_total(const pl_axis *a);

/* SAME of TensorFlow and Keras: the padding is not negative, and an odd pixel is at the end. */
bool pl_conv_same(pl_axis *a);

#endif

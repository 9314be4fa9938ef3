/* Calls of the kernels with a plan of their own, on the path that the environment forces. */
#ifndef CONV_CALLS_H
#define CONV_CALLS_H

#include "pleat_kernels.h"

/* PLEAT_ENGINE and PLEAT_ISA; ends the program with a message if they name no path. */
pleat_path forced_path(void);

/* All that differ, by short names: auto, reference, im2col, baseline, avx2, avx512. */
enum { TESTED_PATHS = 6 };
extern const pleat_path tested_path[TESTED_PATHS];
extern const char *const tested_path_name[TESTED_PATHS];

/* A path as text, like "implicit_gemm avx2". */
typedef struct path_words {
    char text[60];
} path_words;
path_words path_text(pleat_path path);

/* Of a plan for the path. */
size_t conv_bytes(const pleat_conv_shape *g, size_t element, pleat_conv_op op, pleat_path path, int threads);
pleat_path conv_taken(const pleat_conv_shape *g, size_t element, pleat_conv_op op, pleat_path path);

/* Whether the processor and the shape allow the engine and the instruction set that the path names. */
bool conv_takes(const pleat_conv_shape *g, size_t element, pleat_conv_op op, pleat_path path);

/* pleat_conv_run with such a plan. */
int conv_run(const pleat_conv_shape *g, size_t element, pleat_conv_op op, pleat_path path, void *const xwy[3],
             const pleat_work *work);

#endif

/* What computes the convolution family: one table for each way of doing it. */
#ifndef PL_ENGINE_H
#define PL_ENGINE_H

#include "kernels/conv/decisions.h"
#include "kernels/pleat_kernels.h"
#include "pleat_config.h"

#include <stdbool.h>
#include <stdint.h>

typedef enum pl_outcome { PL_DONE, PL_TOO_LITTLE_MEMORY, PL_NOT_TAKEN } pl_outcome;

typedef struct pl_engine {
    /* Bytes of workspace for so many threads; SIZE_MAX where that overflows, or the engine does not take the shape. */
    size_t (*workspace)(const pleat_conv_shape *g, size_t element, pleat_conv_op op, int threads);
    /* The body: a and b are the operands of the public function, in its order; the workspace begins at a line of the cache. Does
     * nothing where the workspace is too small or the shape not taken. */
    pl_outcome (*run)(const pleat_conv_shape *g, size_t element, pleat_conv_op op, const void *a,
                      const void *b, void *c, const pleat_work *work);
    bool ends; /* bias and relu are done while a result is in the cache; otherwise the caller does them */
    /* What it decides for a shape that it takes. */
    pl_decisions (*decide)(const pleat_conv_shape *g, size_t element, pleat_conv_op op);
} pl_engine;

/* Bytes of workspace: `each` for every thread, and what all share; SIZE_MAX where that overflows. */
static inline size_t pl_bytes(size_t each, size_t shared, int threads) {
    size_t bytes;
    bool over = __builtin_mul_overflow(each, (size_t)(threads > 1 ? threads : 1), &bytes) ||
                __builtin_add_overflow(bytes, shared, &bytes);
    return over ? SIZE_MAX : bytes;
}

/* For results that an engine has left, bias and relu included: what should not be NaN, because padding is absent, and is, is made
 * again. Operands as for pl_engine's run. Returns whether there was reason to look for it: never with finite operands. */
bool pl_mend_absent(const pleat_conv_shape *g, size_t element, pleat_conv_op op, const void *a, const void *b,
                    void *c, const pleat_work *work);

/* Whether the processor has what the path needs. */
bool pl_path_runs_here(pleat_conv_path path);

/* im2col, col2im and BLAS. Takes every shape: the reference of the others. */
extern const pl_engine pl_plain;

/* Products of our own, whose panels are packed straight from the image: no column matrix, no scatter-add. Compiled once for each
 * instruction set. Takes kernels of at most 32 by 32 and strides of at most 16, where the smallest strip of one channel stays
 * within the workspace. */
extern const pl_engine pl_panels;
#ifdef PL_X86
extern const pl_engine pl_panels_avx2, pl_panels_avx512;
#endif

/* Direct loops, where a group has so few channels that copying the source would cost as much as the sums. Takes what panels take,
 * with strides of at most 2 along a row. Compiled once for each instruction set. */
extern const pl_engine pl_depthwise;
#ifdef PL_X86
extern const pl_engine pl_depthwise_avx2, pl_depthwise_avx512;
#endif

#endif

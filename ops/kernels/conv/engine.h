/* engine.h: what a convolution engine is. Private to ops/kernels and its tests.
 *
 * An engine makes a plan for a shape, an operator and a type, once, and runs it on (x, w, y). It is compiled for one instruction set and
 * one type; conv.c has the dispatch table. */
#ifndef PL_ENGINE_H
#define PL_ENGINE_H

#include "kernels/conv/decisions.h"
#include "kernels/finish.h"
#include "kernels/pleat_kernels.h"
#include "kernels/sizes.h"
#include "pleat_config.h"

#include <stdbool.h>

typedef struct pl_engine pl_engine;

/* What all plans begin with; an engine's own numbers and tables follow. Nothing of it changes once it is made. */
struct pleat_conv_plan {
    const pl_engine *engine;
    pleat_conv_shape g;
    pleat_conv_op op;
    /* bytes of the workspace, in whole lines: of all threads together (partial sums, packed weights), and of each thread */
    size_t shared_bytes, thread_bytes;
    bool exact; /* padding is left out, never multiplied */
    double cost;
    size_t
        packed_bytes; /* of weights that a run packs before all else, into shared_bytes, unless the caller has packed them */
};

/* The operands of a call; the plan's operator overwrites one of them. The workspace begins at a line. */
typedef struct pl_conv_call {
    void *x, *w, *y;
    char *workspace;
    const void *packed, *bias; /* or NULL */
    bool relu;
    const pl_finish *finish; /* NULL, or what comes after the bias; relu is within, then, and false here */
    pleat_pool *pool;
} pl_conv_call;

struct pl_engine {
    pleat_engine name;
    pleat_isa isa;
    size_t element; /* bytes: of float, or double */
    /* Bias and relu are applied while a result is in registers, and the finish while it is in the cache; otherwise conv.c applies them. */
    bool has_epilogue;
    bool takes_blocked; /* x or y, or both, may be blocked */
    /* False if the engine does not take the shape. Otherwise *plan is a plan, to be freed with free(), or NULL without memory. */
    bool (*make)(const pleat_conv_shape *g, pleat_conv_op op, pleat_conv_plan **plan);
    /* Bytes of packed weights, if a caller packs them; NULL: packed_bytes. More plans gain by weights that are packed for many runs. */
    size_t (*packable)(const pleat_conv_plan *plan);
    /* NULL: nothing to pack. */
    void (*pack)(const pleat_conv_plan *plan, const void *w, void *packed, pleat_pool *pool);
    void (*run)(const pleat_conv_plan *plan, const pl_conv_call *call);
    /* to [columns,rows] = the transpose of from [rows,columns], with the elements from one row to the next. NULL: it knows none. */
    void (*turn)(size_t rows, size_t columns, const void *from, size_t from_step, void *to, size_t to_step);
    pl_decisions (*decide)(const pleat_conv_plan *plan);
    /* Tiles and strips, as a phrase for people. */
    void (*describe)(const pleat_conv_plan *plan, char *text, size_t size);
};

/* A copy of a plan, with `bytes` for its tables behind `size`; NULL without memory. */
void *pl_plan_new(const void *plan, size_t size, size_t bytes);

/* The operand that a plan overwrites. */
static inline void *pl_result(const pleat_conv_plan *p, const pl_conv_call *c) {
    return p->op == PLEAT_CONV_FORWARD ? c->y : p->op == PLEAT_CONV_TRANSPOSE ? c->x : c->w;
}

/* Where pixel i of channel c of image n is in a tensor of so many channels and pixels. */
static inline size_t pl_place(const pleat_conv_shape *g, bool map, size_t element, size_t n, size_t c,
                              size_t i) {
    size_t channels = map ? g->O : g->C, pixels = map ? g->P * g->Q : g->H * g->W, block = LINE / element;
    if (!g->blocked[map]) return (n * channels + c) * pixels + i;
    return (n * channels + c / block * block) * pixels + i * block + c % block;
}

/* Where the workspace of a thread begins. */
static inline char *pl_thread_workspace(const pleat_conv_plan *p, const pl_conv_call *c, size_t thread) {
    return c->workspace + p->shared_bytes + thread * p->thread_bytes;
}

/* Recomputes, by the definition, every result that is NaN only because an engine multiplied a zero of the padding with Inf or NaN; bias
 * and relu included. Returns whether there was reason to look for such results: never with finite operands. */
bool pl_fix_padding_nan(const pleat_conv_plan *plan, const pl_conv_call *call);

/* The definition: one element of the result, in a chain of sums. index counts the elements of the result as they lie in memory. */
float pl_definition_f32(const pleat_conv_plan *plan, const pl_conv_call *call, size_t index);
double pl_definition_f64(const pleat_conv_plan *plan, const pl_conv_call *call, size_t index);

#define PL_DECLARE(name) extern const pl_engine pl_##name##_f32, pl_##name##_f64;
PL_DECLARE(reference)
PL_DECLARE(im2col)
PL_DECLARE(columns)
PL_DECLARE(implicit_gemm_baseline)
PL_DECLARE(depthwise_baseline)
PL_DECLARE(planes_baseline)
PL_DECLARE(direct_baseline)
#ifdef PL_AVX2
PL_DECLARE(implicit_gemm_avx2)
PL_DECLARE(depthwise_avx2)
PL_DECLARE(planes_avx2)
PL_DECLARE(direct_avx2)
#endif
#ifdef PL_AVX512
PL_DECLARE(implicit_gemm_avx512)
PL_DECLARE(depthwise_avx512)
PL_DECLARE(planes_avx512)
PL_DECLARE(direct_avx512)
#endif
#undef PL_DECLARE

#endif

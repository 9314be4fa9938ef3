/* The convolution family: legal shapes, the dispatch table, plans and runs. Law: the three are the partial derivatives of
 * one trilinear form, <y, conv2d(x, w)> = <x, conv2d_transpose(y, w)> = <w, conv2d_weight(x, y)>. */
#include "kernels/conv/engine.h"
#include "kernels/parallel.h"
#include "kernels/simd/cpu.h"
#include "kernels/sizes.h"

#include <limits.h>
#include <math.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* ---- sizes ------------------------------------------------------------------------------------------- */

/* a*b*c*d*element bytes are addressable. */
static bool addressable(size_t a, size_t b, size_t c, size_t d, size_t element) {
    size_t n;
    return !__builtin_mul_overflow(a, b, &n) && !__builtin_mul_overflow(n, c, &n) &&
           !__builtin_mul_overflow(n, d, &n) && !__builtin_mul_overflow(n, element, &n) && n <= PTRDIFF_MAX;
}

/* (map-1)*stride + (kernel-1)*dilation + |pad|, which bounds every image index that arises, is a ptrdiff_t. */
static bool indexable(size_t map, size_t kernel, size_t stride, size_t dilation, ptrdiff_t pad) {
    size_t a, b, magnitude = pad < 0 ? 0 - (size_t)pad : (size_t)pad;
    return !__builtin_mul_overflow(map - 1, stride, &a) &&
           !__builtin_mul_overflow(kernel - 1, dilation, &b) && !__builtin_add_overflow(a, b, &a) &&
           !__builtin_add_overflow(a, magnitude, &a) && a <= PTRDIFF_MAX;
}

static const char *check_arrays(const pleat_conv_shape *g, size_t element) {
    size_t N = max(g->N, 1);
    if (!addressable(N, g->C, g->H, g->W, element)) return "N*C*H*W elements must be addressable";
    if (!addressable(N, g->O, g->P, g->Q, element)) return "N*O*P*Q elements must be addressable";
    if (!addressable(g->O, g->C / g->G, g->R, g->S, element)) return "O*C/G*R*S elements must be addressable";
    for (size_t k = 0; k < 2; k++)
        if (g->blocked[k] && (k == 0 ? g->C : g->O) % (LINE / element))
            return "the channels of a blocked tensor must be whole blocks of 64 bytes";
    if (g->O / g->G > INT_MAX) return "O/G must be at most INT_MAX, a limit of BLAS";
    if (g->P * g->Q > INT_MAX) return "P*Q must be at most INT_MAX, a limit of BLAS";
    if (g->C / g->G * g->R * g->S > INT_MAX) return "C/G*R*S must be at most INT_MAX, a limit of BLAS";
    return NULL;
}

const char *pleat_conv_check(const pleat_conv_shape *g, size_t element) {
    if (!g->C || !g->O) return "the channels must be at least 1";
    if (!g->G) return "the groups must be at least 1";
    if (!g->H || !g->W) return "the image must be at least 1 by 1";
    if (!g->P || !g->Q) return "the map must be at least 1 by 1";
    if (!g->R || !g->S) return "the kernel must be at least 1 by 1";
    if (!g->stride[0] || !g->stride[1]) return "the stride must be at least 1";
    if (!g->dilation[0] || !g->dilation[1]) return "the dilation must be at least 1";
    if (g->C % g->G) return "the groups must divide the channels in";
    if (g->O % g->G) return "the groups must divide the channels out";
    if (!indexable(g->P, g->R, g->stride[0], g->dilation[0], g->pad[0]) ||
        !indexable(g->Q, g->S, g->stride[1], g->dilation[1], g->pad[1]))
        return "map*stride + kernel*dilation + |pad| must fit into ptrdiff_t";
    return check_arrays(g, element);
}

/* (kernel-1)*dilation + 1, or false. */
static bool extent_of(size_t kernel, size_t dilation, size_t *extent) {
    return kernel > 0 && !__builtin_mul_overflow(kernel - 1, dilation, extent) &&
           !__builtin_add_overflow(*extent, 1, extent);
}

size_t pleat_conv_map_size(size_t size, size_t kernel, size_t stride, size_t dilation, ptrdiff_t before,
                           ptrdiff_t after) {
    size_t extent;
    ptrdiff_t padded;
    if (stride == 0 || !extent_of(kernel, dilation, &extent)) return 0;
    if (__builtin_add_overflow(before, after, &padded) || __builtin_add_overflow(size, padded, &padded))
        return 0;
    if (padded < 0 || (size_t)padded < extent) return 0;
    return ((size_t)padded - extent) / stride + 1;
}

size_t pleat_conv_image_size(size_t size, size_t kernel, size_t stride, size_t dilation, ptrdiff_t before,
                             ptrdiff_t after) {
    size_t extent, length;
    ptrdiff_t pads, image;
    if (size == 0 || !extent_of(kernel, dilation, &extent)) return 0;
    if (__builtin_mul_overflow(size - 1, stride, &length) ||
        __builtin_add_overflow(length, extent, &length) || __builtin_add_overflow(before, after, &pads) ||
        __builtin_sub_overflow(length, pads, &image))
        return 0;
    return image > 0 ? (size_t)image : 0;
}

/* ---- dispatch ---------------------------------------------------------------------------------------- */

static const char *const engine_names[] = {"auto",          "reference", "im2col",
                                           "implicit_gemm", "direct",    "columns"};
static const char *const isa_names[] = {"auto", "baseline", "avx2", "avx512"};

/* The number of a word in a list, or `count`. */
static size_t number_of(const char *word, const char *const *list, size_t count) {
    size_t i = 0;
    while (i < count && word != NULL && strcmp(word, list[i]) != 0) i++;
    return i;
}

bool pleat_path_parse(const char *engine, const char *isa, pleat_path *path) {
    enum {
        ENGINES = sizeof engine_names / sizeof *engine_names,
        ISAS = sizeof isa_names / sizeof *isa_names
    };
    size_t e = number_of(engine, engine_names, ENGINES), i = number_of(isa, isa_names, ISAS);
    if (e == ENGINES || i == ISAS) return false;
    *path = (pleat_path){(pleat_engine)e, (pleat_isa)i};
    return true;
}

/* The engines in the order in which they are tried. All but im2col, which is taken by name alone, give the same bits. */
static const pl_engine *const engines[] = {
#ifdef PL_AVX512
    &pl_depthwise_avx512_f32,
    &pl_depthwise_avx512_f64,
    &pl_planes_avx512_f32,
    &pl_planes_avx512_f64,
    &pl_direct_avx512_f32,
    &pl_direct_avx512_f64,
    &pl_implicit_gemm_avx512_f32,
    &pl_implicit_gemm_avx512_f64,
#endif
#ifdef PL_AVX2
    &pl_depthwise_avx2_f32,
    &pl_depthwise_avx2_f64,
    &pl_planes_avx2_f32,
    &pl_planes_avx2_f64,
    &pl_direct_avx2_f32,
    &pl_direct_avx2_f64,
    &pl_implicit_gemm_avx2_f32,
    &pl_implicit_gemm_avx2_f64,
#endif
    &pl_depthwise_baseline_f32,
    &pl_depthwise_baseline_f64,
    &pl_planes_baseline_f32,
    &pl_planes_baseline_f64,
    &pl_direct_baseline_f32,
    &pl_direct_baseline_f64,
    &pl_implicit_gemm_baseline_f32,
    &pl_implicit_gemm_baseline_f64,
    &pl_columns_f32,
    &pl_columns_f64,
    &pl_reference_f32,
    &pl_reference_f64,
    &pl_im2col_f32,
    &pl_im2col_f64,
};

/* Vectors of the baseline are narrow, and on x86-64 know no fused multiply-add: they are for processors that have no others. */
static bool is_chosen(const pl_engine *e) {
    bool wider = pl_isa_runs_here(PLEAT_ISA_AVX2) || pl_isa_runs_here(PLEAT_ISA_AVX512);
    return e->name != PLEAT_ENGINE_IM2COL && !(e->isa == PLEAT_ISA_BASELINE && wider);
}

static bool is_eligible(const pl_engine *e, size_t element, pleat_path path) {
    bool simd = e->isa != PLEAT_ISA_AUTO, automatic = path.engine == PLEAT_ENGINE_AUTO;
    bool named = automatic ? e->name != PLEAT_ENGINE_IM2COL : e->name == path.engine;
    if (automatic && path.isa == PLEAT_ISA_AUTO && !is_chosen(e)) return false;
    return e->element == element && named && (!simd || path.isa == PLEAT_ISA_AUTO || path.isa == e->isa) &&
           pl_isa_runs_here(e->isa);
}

/* The first engine that takes the shape makes the plan. */
static bool make_plan(const pleat_conv_shape *g, pleat_conv_op op, size_t element, pleat_path path,
                      pleat_conv_plan **plan) {
    bool plain = !g->blocked[0] && !g->blocked[1];
    for (size_t i = 0; i < sizeof engines / sizeof *engines; i++)
        if (is_eligible(engines[i], element, path) && (plain || engines[i]->takes_blocked) &&
            engines[i]->make(g, op, plan))
            return true;
    return false;
}

/* ---- plans ------------------------------------------------------------------------------------------- */

void *pl_plan_new(const void *plan, size_t size, size_t bytes) {
    char *p = malloc(size + bytes);
    return p == NULL ? NULL : memcpy(p, plan, size);
}

pleat_conv_plan *pleat_conv_plan_new(const pleat_conv_shape *g, pleat_conv_op op, size_t element,
                                     pleat_path path) {
    pleat_conv_plan *plan = NULL;
    if (!make_plan(g, op, element, path, &plan)) make_plan(g, op, element, (pleat_path){0}, &plan);
    return plan;
}

void pleat_conv_plan_free(pleat_conv_plan *plan) { free(plan); }

const pleat_conv_shape *pleat_conv_plan_shape(const pleat_conv_plan *plan) { return &plan->g; }

pleat_path pleat_conv_plan_path(const pleat_conv_plan *plan) {
    return (pleat_path){plan->engine->name, plan->engine->isa};
}

const char *pleat_conv_plan_print(const pleat_conv_plan *plan, char *text, size_t size) {
    static const char *const ops[] = {"conv2d", "conv2d_transpose", "conv2d_weight"};
    const pl_engine *e = plan->engine;
    char more[80] = "";
    e->describe(plan, more, sizeof more);
    snprintf(text, size, "%s %s: %s%s%s%s%s", ops[plan->op], e->element == sizeof(float) ? "f32" : "f64",
             engine_names[e->name], e->isa != PLEAT_ISA_AUTO ? " " : "",
             e->isa != PLEAT_ISA_AUTO ? isa_names[e->isa] : "", *more ? ", " : "", more);
    return text;
}

double pleat_conv_plan_cost(const pleat_conv_plan *plan) { return plan->cost; }

size_t pleat_conv_plan_bytes(const pleat_conv_plan *plan, int threads) {
    size_t bytes, each = plan->thread_bytes, shared = plan->shared_bytes;
    if (each == 0 && shared == 0) return 0;
    bool over = __builtin_mul_overflow(each, (size_t)(threads > 1 ? threads : 1), &bytes) ||
                __builtin_add_overflow(bytes, shared, &bytes) ||
                __builtin_add_overflow(bytes, LINE, &bytes); /* to begin at a line */
    return over ? SIZE_MAX : bytes;
}

size_t pleat_conv_packed_bytes(const pleat_conv_plan *plan) {
    return plan->engine->packable != NULL ? plan->engine->packable(plan) : plan->packed_bytes;
}

void pleat_conv_pack(const pleat_conv_plan *plan, const void *w, void *packed, pleat_pool *pool) {
    if (pleat_conv_packed_bytes(plan) > 0) plan->engine->pack(plan, w, packed, pool);
}

/* ---- blocked tensors ---------------------------------------------------------------------------------------- */

typedef struct turn_arguments {
    const pl_engine *engine;
    size_t pixels;
    bool back;
    const char *from;
    char *to;
} turn_arguments;

/* A task is a block of an image. */
static void turn_task(void *arg, size_t task, size_t thread) {
    const turn_arguments *a = arg;
    size_t block = LINE / a->engine->element, first = task * a->pixels * LINE;
    (void)thread;
    if (a->back)
        a->engine->turn(a->pixels, block, a->from + first, block, a->to + first, a->pixels);
    else
        a->engine->turn(block, a->pixels, a->from + first, a->pixels, a->to + first, block);
}

void pleat_conv_block(size_t element, const size_t shape[3], bool back, const void *from, void *to,
                      pleat_pool *pool) {
    size_t i = 0;
    while (!engines[i]->turn || engines[i]->element != element || !pl_isa_runs_here(engines[i]->isa)) i++;
    turn_arguments a = {engines[i], shape[2], back, from, to};
    pl_parallel(pool, shape[0] * (shape[1] / (LINE / element)), turn_task, &a);
}

/* ---- runs -------------------------------------------------------------------------------------------- */

#define BODY "kernels/conv/epilogue.inc"
#include "kernels/both_types.inc"

int pleat_conv_run(const pleat_conv_plan *plan, void *x, void *w, void *y, const pleat_work *work) {
    if (work->bytes < pleat_conv_plan_bytes(plan, pleat_pool_threads(work->pool))) return -1;
    size_t beyond = (size_t)(uintptr_t)work->memory % LINE, skipped = beyond ? LINE - beyond : 0;
    pl_conv_call call = {.x = x, .w = w, .y = y, .packed = work->packed, .bias = work->bias};
    const pl_finish finish = {work->factor, work->shift, work->relu, work->most > 0 ? work->most : HUGE_VAL};
    if (finish.factor != NULL || work->most > 0)
        call.finish = &finish;
    else
        call.relu = work->relu;
    call.workspace = work->memory == NULL ? NULL : (char *)work->memory + skipped;
    call.pool = work->pool;
    if (plan->packed_bytes > 0 && call.packed == NULL) {
        plan->engine->pack(plan, w, call.workspace, call.pool);
        call.packed = call.workspace;
    }
    plan->engine->run(plan, &call);
    bool epilogue = plan->op != PLEAT_CONV_WEIGHT && (call.bias != NULL || call.relu || call.finish != NULL);
    if (epilogue && !plan->engine->has_epilogue)
        (plan->engine->element == sizeof(float) ? epilogue_f32 : epilogue_f64)(plan, &call);
    pl_fix_padding_nan(plan, &call);
    return 0;
}

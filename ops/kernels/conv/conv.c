/* The convolution family: which shapes are legal, and which engine computes them. Law: the three are the partial derivatives of
 * one trilinear form, <y, conv2d(x, w)> = <x, conv2d_transpose(y, w)> = <w, conv2d_weight(x, y)>. */
#include "kernels/conv/engine.h"

#include <limits.h>
#include <stdint.h>
#include <string.h>

static size_t most(size_t a, size_t b) { return a > b ? a : b; }

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
    size_t N = most(g->N, 1);
    if (!addressable(N, g->C, g->H, g->W, element)) return "N*C*H*W elements must be addressable";
    if (!addressable(N, g->O, g->P, g->Q, element)) return "N*O*P*Q elements must be addressable";
    if (!addressable(g->O, g->C / g->G, g->R, g->S, element)) return "O*C/G*R*S elements must be addressable";
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

/* ---- paths ------------------------------------------------------------------------------------------- */

bool pleat_conv_path_named(const char *name, pleat_conv_path *path) {
    static const char *const names[] = {"auto", "plain", "panels", "avx2", "avx512"};
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        if (strcmp(name, names[i]) != 0) continue;
        *path = (pleat_conv_path)i;
        return true;
    }
    return false;
}

bool pl_path_runs_here(pleat_conv_path path) {
#ifdef PL_X86
    if (path == PLEAT_CONV_AVX512)
        return __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512vl") &&
               __builtin_cpu_supports("avx512bw") && __builtin_cpu_supports("avx512dq");
    if (path == PLEAT_CONV_AVX2) return __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma");
#endif
    return path == PLEAT_CONV_PLAIN || path == PLEAT_CONV_PANELS;
}

/* A path may have several engines, and a wish several paths. */
typedef struct way {
    pleat_conv_path path;
    const pl_engine *engine;
    bool chosen; /* by PLEAT_CONV_AUTO, which takes the widest vectors that the processor has */
} way;

/* In the order in which they are tried. With the narrow vectors that every processor has, BLAS, which knows the processor better, wins
 * over panels. The plain path takes what is left. */
static const way ways[] = {
#ifdef PL_X86
    {PLEAT_CONV_AVX512, &pl_depthwise_avx512, true},
    {PLEAT_CONV_AVX512, &pl_panels_avx512, true},
    {PLEAT_CONV_AVX2, &pl_depthwise_avx2, true},
    {PLEAT_CONV_AVX2, &pl_panels_avx2, true},
#endif
    {PLEAT_CONV_PANELS, &pl_depthwise, true},
    {PLEAT_CONV_PANELS, &pl_panels, false},
    {PLEAT_CONV_PLAIN, &pl_plain, true},
};

static bool is_open(const way *w, pleat_conv_path wish) {
    bool wanted = wish == PLEAT_CONV_AUTO ? w->chosen : w->path == wish || w->path == PLEAT_CONV_PLAIN;
    return wanted && pl_path_runs_here(w->path);
}

bool pleat_conv_takes(const pleat_conv_shape *g, size_t element, pleat_conv_op op, pleat_conv_path path) {
    if (path == PLEAT_CONV_AUTO) return true;
    for (size_t i = 0; i < sizeof ways / sizeof *ways; i++)
        if (ways[i].path == path && pl_path_runs_here(path) &&
            ways[i].engine->workspace(g, element, op, 1) != SIZE_MAX)
            return true;
    return false;
}

enum { LINE = 64 }; /* of the cache */

size_t pleat_conv_workspace(const pleat_conv_shape *g, size_t element, pleat_conv_op op, pleat_conv_path path,
                            int threads) {
    for (const way *w = ways;; w++) {
        if (!is_open(w, path)) continue;
        size_t bytes = w->engine->workspace(g, element, op, threads);
        if (bytes > 0 && bytes < SIZE_MAX - LINE) return bytes + LINE; /* to begin at a line */
        if (bytes == 0 || w->path == PLEAT_CONV_PLAIN) return bytes;
    }
}

#define T float
#define NAME(name) name##_f32
#include "kernels/conv/epilogue.inc"
#undef T
#undef NAME

#define T double
#define NAME(name) name##_f64
#include "kernels/conv/epilogue.inc"
#undef T
#undef NAME

static void finish(const pleat_conv_shape *g, size_t element, pleat_conv_op op, void *c,
                   const pleat_work *work) {
    bool image = op == PLEAT_CONV_TRANSPOSE;
    size_t channels = image ? g->C : g->O, pixels = image ? g->H * g->W : g->P * g->Q;
    if (op == PLEAT_CONV_WEIGHT || (work->bias == NULL && !work->relu)) return;
    (element == sizeof(float) ? finish_f32 : finish_f64)(g->N, channels, pixels, work, c);
}

static int run(const pleat_conv_shape *g, size_t element, pleat_conv_op op, const void *a, const void *b,
               void *c, const pleat_work *work) {
    pleat_work aligned = *work;
    size_t beyond = (size_t)(uintptr_t)work->memory % LINE, skipped = beyond ? LINE - beyond : 0;
    if (work->memory != NULL) aligned.memory = (char *)work->memory + skipped;
    aligned.bytes = work->bytes < LINE ? 0 : work->bytes - LINE;
    for (const way *w = ways;; w++) {
        if (!is_open(w, work->path)) continue;
        pl_outcome outcome = w->engine->run(g, element, op, a, b, c, &aligned);
        if (outcome == PL_NOT_TAKEN) continue;
        if (outcome != PL_DONE) return -1;
        if (!w->engine->ends) finish(g, element, op, c, work);
        pl_mend_absent(g, element, op, a, b, c, work);
        return 0;
    }
}

int pleat_conv2d_f32(const pleat_conv_shape *g, const float *x, const float *w, float *y,
                     const pleat_work *work) {
    return run(g, sizeof(float), PLEAT_CONV_FORWARD, x, w, y, work);
}

int pleat_conv2d_transpose_f32(const pleat_conv_shape *g, const float *y, const float *w, float *x,
                               const pleat_work *work) {
    return run(g, sizeof(float), PLEAT_CONV_TRANSPOSE, y, w, x, work);
}

int pleat_conv2d_weight_f32(const pleat_conv_shape *g, const float *x, const float *y, float *w,
                            const pleat_work *work) {
    return run(g, sizeof(float), PLEAT_CONV_WEIGHT, x, y, w, work);
}

int pleat_conv2d_f64(const pleat_conv_shape *g, const double *x, const double *w, double *y,
                     const pleat_work *work) {
    return run(g, sizeof(double), PLEAT_CONV_FORWARD, x, w, y, work);
}

int pleat_conv2d_transpose_f64(const pleat_conv_shape *g, const double *y, const double *w, double *x,
                               const pleat_work *work) {
    return run(g, sizeof(double), PLEAT_CONV_TRANSPOSE, y, w, x, work);
}

int pleat_conv2d_weight_f64(const pleat_conv_shape *g, const double *x, const double *y, double *w,
                            const pleat_work *work) {
    return run(g, sizeof(double), PLEAT_CONV_WEIGHT, x, y, w, work);
}

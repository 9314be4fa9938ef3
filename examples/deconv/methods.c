/* Four ways to compute the convolution family, so that they check one another. Law: on whole numbers they agree bit for
 * bit, for every geometry. They share index expressions of an axis, but no loop. */
#include "deconv.h"

#include <stdint.h>
#include <stdlib.h>
#include <string.h>

static size_t least(size_t a, size_t b) { return a < b ? a : b; }

static double *doubles(size_t n) { return calloc(n ? n : 1, sizeof(double)); }

/* Overwrites the operand that the operator gives. False without memory. */
static bool run_kernel(const pleat_conv_shape *g, size_t element, pleat_conv_op op, void *x, void *w,
                       void *y) {
    pleat_conv_plan *plan = pleat_conv_plan_new(g, op, element, (pleat_path){0});
    if (plan == NULL) return false;
    size_t bytes = pleat_conv_plan_bytes(plan, 1);
    pleat_work work = {.memory = malloc(bytes ? bytes : 1), .bytes = bytes};
    bool fine = work.memory != NULL && pleat_conv_run(plan, x, w, y, &work) == 0;
    free(work.memory);
    pleat_conv_plan_free(plan);
    return fine;
}

/* ---- the axis ---------------------------------------------------------------------------------------- */

/* A stride or a dilation that takes no step may have any size, which need not fit into ptrdiff_t: make it 1. */
static pleat_conv_shape without_idle_steps(const pleat_conv_shape *g) {
    pleat_conv_shape plain = *g;
    if (g->P == 1) plain.stride[0] = 1;
    if (g->Q == 1) plain.stride[1] = 1;
    if (g->R == 1) plain.dilation[0] = 1;
    if (g->S == 1) plain.dilation[1] = 1;
    return plain;
}

/* Where tap k begins in the image. */
static ptrdiff_t tap_offset(const pleat_conv_shape *g, int axis, size_t k) {
    return (ptrdiff_t)(k * g->dilation[axis]) - g->pad[axis];
}

/* The image index that map index j meets through tap k; it may lie outside. */
static ptrdiff_t image_index(const pleat_conv_shape *g, int axis, size_t j, size_t k) {
    return (ptrdiff_t)(j * g->stride[axis] + k * g->dilation[axis]) - g->pad[axis];
}

/* The map index that meets image index i through tap k, if there is one. */
static bool map_index(const pleat_conv_shape *g, int axis, size_t i, size_t k, size_t *j) {
    ptrdiff_t offset = tap_offset(g, axis, k);
    if (offset > 0 && i < (size_t)offset) return false;
    size_t distance = i - (size_t)offset;
    *j = distance / g->stride[axis];
    return distance % g->stride[axis] == 0 && *j < (axis ? g->Q : g->P);
}

/* The indices j of n with 0 <= j + shift < m. */
typedef struct span {
    size_t begin, end;
} span;

static span overlap(size_t n, size_t m, ptrdiff_t shift) {
    size_t below = shift < 0 ? 0 - (size_t)shift : 0, above = shift > 0 ? (size_t)shift : 0;
    size_t end = above < m ? m - above + below : 0;
    return (span){least(below, n), least(end, n)};
}

/* ---- phases ------------------------------------------------------------------------------------------ */
/* A tap meets the image pixels of one residue modulo the stride, and no others. Taps of the same residue along both
 * axes form a phase: a dense problem without stride on every stride-th pixel. */

/* Image index = residue + stride * (map index + shift). */
typedef struct residue {
    size_t value;
    ptrdiff_t shift;
} residue;

static residue residue_of(const pleat_conv_shape *g, int axis, size_t k) {
    ptrdiff_t offset = tap_offset(g, axis, k), stride = (ptrdiff_t)g->stride[axis];
    ptrdiff_t rest = offset % stride;
    return (residue){(size_t)(rest < 0 ? rest + stride : rest), offset / stride - (rest < 0)};
}

typedef struct phase {
    bool valid;
    size_t tap[2];     /* its first tap along H, W */
    size_t residue[2]; /* of its pixels */
    size_t size[2];    /* how many there are */
} phase;

/* No smaller tap has the residue of tap k. */
static bool opens_phase(const pleat_conv_shape *g, int axis, size_t k) {
    size_t value = residue_of(g, axis, k).value;
    for (size_t i = 0; i < k; i++)
        if (residue_of(g, axis, i).value == value) return false;
    return true;
}

static phase phase_at(const pleat_conv_shape *g, size_t tap) {
    for (; tap < g->R * g->S; tap++) {
        size_t k[2] = {tap / g->S, tap % g->S}, image[2] = {g->H, g->W};
        if (!opens_phase(g, 0, k[0]) || !opens_phase(g, 1, k[1])) continue;
        phase f = {.valid = true, .tap = {k[0], k[1]}};
        for (int a = 0; a < 2; a++) {
            f.residue[a] = residue_of(g, a, k[a]).value;
            f.size[a] = f.residue[a] < image[a] ? (image[a] - 1 - f.residue[a]) / g->stride[a] + 1 : 0;
        }
        if (f.size[0] && f.size[1]) return f;
    }
    return (phase){.valid = false};
}

static phase first_phase(const pleat_conv_shape *g) { return phase_at(g, 0); }
static phase next_phase(const pleat_conv_shape *g, phase f) {
    return phase_at(g, f.tap[0] * g->S + f.tap[1] + 1);
}

/* A tap of a phase, with the map pixels that it joins to the phase's pixels; the first to the pixel `start`. */
typedef struct phase_tap {
    bool valid;
    size_t r, s, start;
    span p, q;
} phase_tap;

static phase_tap tap_at(const pleat_conv_shape *g, const phase *f, size_t tap) {
    for (; tap < g->R * g->S; tap++) {
        phase_tap t = {.valid = true, .r = tap / g->S, .s = tap % g->S};
        residue down = residue_of(g, 0, t.r), along = residue_of(g, 1, t.s);
        if (down.value != f->residue[0] || along.value != f->residue[1]) continue;
        t.p = overlap(g->P, f->size[0], down.shift), t.q = overlap(g->Q, f->size[1], along.shift);
        if (t.p.begin >= t.p.end || t.q.begin >= t.q.end) continue;
        t.start = (t.p.begin + (size_t)down.shift) * f->size[1] + t.q.begin + (size_t)along.shift;
        return t;
    }
    return (phase_tap){.valid = false};
}

static phase_tap first_tap(const pleat_conv_shape *g, const phase *f) {
    return tap_at(g, f, f->tap[0] * g->S + f->tap[1]);
}
static phase_tap next_tap(const pleat_conv_shape *g, const phase *f, phase_tap t) {
    return tap_at(g, f, t.r * g->S + t.s + 1);
}

/* ---- zero insertion ---------------------------------------------------------------------------------- */

/* The part of the stretched map (map index j lies at j*stride) that the image meets. */
typedef struct stretched {
    size_t first[2], size[2];
} stretched;

static stretched stretch_shape(const pleat_conv_shape *g) {
    stretched z;
    for (int a = 0; a < 2; a++) {
        size_t image = a ? g->W : g->H, length = ((a ? g->Q : g->P) - 1) * g->stride[a] + 1;
        ptrdiff_t nearest = tap_offset(g, a, 0), farthest = tap_offset(g, a, (a ? g->S : g->R) - 1);
        size_t end = nearest > 0 && (size_t)nearest >= image ? 0 : image - (size_t)nearest;
        z.first[a] = farthest < 0 ? 0 - (size_t)farthest : 0;
        z.size[a] = least(end, length) > z.first[a] ? least(end, length) - z.first[a] : 0;
    }
    return z;
}

/* Where tap k of the rotated kernel finds image index i in the stretched map; its size or more: nowhere. */
static size_t stretched_index(const pleat_conv_shape *g, const stretched *z, int axis, size_t i, size_t k) {
    ptrdiff_t offset = tap_offset(g, axis, (axis ? g->S : g->R) - 1 - k);
    if (offset > 0 && i < (size_t)offset) return SIZE_MAX;
    size_t place = i - (size_t)offset;
    return place < z->first[axis] ? SIZE_MAX : place - z->first[axis];
}

/* NULL beyond 1 GiB: a system that lends memory freely would let the loops crawl through it. */
static double *stretched_map(const stretched *z) {
    size_t n;
    if (__builtin_mul_overflow(z->size[0], z->size[1], &n) || n > ((size_t)1 << 27)) return NULL;
    return doubles(n);
}

/* ---- multiply-adds ----------------------------------------------------------------------------------- */

/* For each pair of channels that meet. */
static double channel_pairs(const pleat_conv_shape *g) {
    return (double)g->N * (double)g->O * (double)(g->C / g->G);
}

static double gemm_macs(const pleat_conv_shape *g) {
    return channel_pairs(g) * (double)g->P * (double)g->Q * (double)g->R * (double)g->S;
}

/* Along an axis, the sum over the taps of the image pixels in their phase. */
static double phase_pairs(const pleat_conv_shape *g, int axis) {
    double pairs = 0;
    size_t image = axis ? g->W : g->H;
    for (size_t k = 0; k < (axis ? g->S : g->R); k++) {
        size_t value = residue_of(g, axis, k).value;
        if (value < image) pairs += (double)((image - 1 - value) / g->stride[axis] + 1);
    }
    return pairs;
}

static double phase_macs(const pleat_conv_shape *g) {
    pleat_conv_shape plain = *g;
    for (int a = 0; a < 2; a++) plain.stride[a] = least(g->stride[a], PTRDIFF_MAX);
    return channel_pairs(g) * phase_pairs(&plain, 0) * phase_pairs(&plain, 1);
}

static double zeros_macs(const pleat_conv_shape *g) {
    return channel_pairs(g) * (double)g->H * (double)g->W * (double)g->R * (double)g->S;
}

/* Along an axis, the pairs of map pixel and tap that meet the image. */
static double meeting_pairs(const pleat_conv_shape *g, int axis) {
    double pairs = 0;
    size_t image = axis ? g->W : g->H;
    for (size_t k = 0; k < (axis ? g->S : g->R); k++) {
        residue t = residue_of(g, axis, k);
        size_t pixels = t.value < image ? (image - 1 - t.value) / g->stride[axis] + 1 : 0;
        span met = overlap(axis ? g->Q : g->P, pixels, t.shift);
        if (met.end > met.begin) pairs += (double)(met.end - met.begin);
    }
    return pairs;
}

static double scatter_macs(const pleat_conv_shape *g) {
    pleat_conv_shape plain = without_idle_steps(g);
    return channel_pairs(g) * meeting_pairs(&plain, 0) * meeting_pairs(&plain, 1);
}

/* ---- both types, and the table ----------------------------------------------------------------------- */

#define T float
#define NAME(name) name##_f32
#include "methods.inc"
#undef T
#undef NAME

#define T double
#define NAME(name) name##_f64
#include "methods.inc"
#undef T
#undef NAME

#define EITHER_TYPE(name)                                                                                   \
    static bool name(const pleat_conv_shape *g, pleat_dtype dtype, const void *a, const void *b, void *c) { \
        pleat_conv_shape plain = without_idle_steps(g);                                                     \
        return dtype == PLEAT_F32 ? name##_f32(&plain, a, b, c) : name##_f64(&plain, a, b, c);              \
    }

EITHER_TYPE(gemm_conv2d)
EITHER_TYPE(gemm_transpose)
EITHER_TYPE(gemm_weight)
EITHER_TYPE(phase_conv2d)
EITHER_TYPE(phase_transpose)
EITHER_TYPE(phase_weight)
EITHER_TYPE(zeros_conv2d)
EITHER_TYPE(zeros_transpose)
EITHER_TYPE(zeros_weight)
EITHER_TYPE(scatter_conv2d)
EITHER_TYPE(scatter_transpose)
EITHER_TYPE(scatter_weight)

const method methods[METHODS] = {
    {"gemm", "a matrix product, then col2im", gemm_conv2d, gemm_transpose, gemm_weight, gemm_macs},
    {"phase", "a dense problem for each residue of pixels modulo the stride", phase_conv2d, phase_transpose,
     phase_weight, phase_macs},
    {"zero-insertion", "zeros between the pixels of the map, then the rotated kernel", zeros_conv2d,
     zeros_transpose, zeros_weight, zeros_macs},
    {"scatter", "each pixel of the map adds the kernel to the image", scatter_conv2d, scatter_transpose,
     scatter_weight, scatter_macs},
};

const method *find_method(const char *name) {
    for (size_t i = 0; i < METHODS; i++)
        if (strcmp(methods[i].name, name) == 0) return &methods[i];
    return NULL;
}

/* For panels.c: how a convolution lies along one axis, and the arithmetic of cutting it into parts. */
#ifndef PL_PANELS_AXIS_H
#define PL_PANELS_AXIS_H

#include "kernels/conv/decisions.h"
#include "kernels/pleat_kernels.h"

#include <stdint.h>

enum {
    MOST_TAPS = 32,  /* along an axis */
    MOST_SPLIT = 16, /* strides */
};

static inline size_t least(size_t a, size_t b) { return a < b ? a : b; }
static inline size_t most(size_t a, size_t b) { return a > b ? a : b; }
static inline size_t divide_up(size_t a, size_t b) { return a / b + (a % b != 0); }
static inline size_t round_up(size_t a, size_t b) { return divide_up(a, b) * b; }

static inline ptrdiff_t divide_down(ptrdiff_t a, ptrdiff_t b) { return a / b - (a % b < 0); }

/* The largest of the nearly equal parts that something is cut into, none larger than `part`. */
static inline size_t even_part(size_t size, size_t part) { return divide_up(size, divide_up(size, part)); }

/* The i-th of the parts that something is cut into. */
typedef struct part {
    size_t first, count;
} part;

static inline part part_of(size_t size, size_t each, size_t i) {
    return (part){i * each, least(each, size - i * each)};
}

/* The i-th of so many parts whose sizes differ by at most one. */
static inline part even_slice(size_t size, size_t parts, size_t i) {
    size_t first = size * i / parts;
    return (part){first, size * (i + 1) / parts - first};
}

/* Whether taps and distances are such that every product of a plan is a size_t. */
static inline bool is_near(const pleat_conv_shape *g) {
    ptrdiff_t far = 4096;
    for (size_t k = 0; k < 2; k++)
        if (g->dilation[k] > (size_t)far || g->pad[k] > far || g->pad[k] < -far) return false;
    return g->R <= MOST_TAPS && g->S <= MOST_TAPS && g->stride[0] <= MOST_SPLIT && g->stride[1] <= MOST_SPLIT;
}

/* One axis. Pixel i of phase a of the result is its pixel a + i*phases; plane f of the cells holds in cell u the source's
 * pixel u*split + f + low. Tap r reaches, from pixel i of phase a, cell i + reach.cell of plane reach.plane. */
typedef struct axis {
    bool from_image;       /* the source is the image and the result the map; or the other way round */
    size_t source, result; /* sizes */
    size_t phases, split;
    size_t pixels, extra; /* pixels of the first phase, and cells beyond them that taps reach */
    ptrdiff_t low;
    size_t taps, dilation, stride;
    ptrdiff_t pad;
    size_t before[MOST_SPLIT + 1]; /* taps of all phases before one; the last entry: of all */
} axis;

typedef struct reach {
    size_t tap, plane, cell;
} reach;

/* The taps of a phase, and how many. */
static inline size_t reaches(const axis *a, size_t phase, reach out[MOST_TAPS]) {
    size_t n = 0;
    for (size_t tap = 0; tap < a->taps; tap++) {
        size_t distance = tap * a->dilation;
        if (a->from_image) {
            out[n++] = (reach){tap, distance % a->split, distance / a->split};
            continue;
        }
        ptrdiff_t e = (ptrdiff_t)phase + a->pad - (ptrdiff_t)distance;
        if (e % (ptrdiff_t)a->stride == 0)
            out[n++] = (reach){tap, 0, (size_t)(e / (ptrdiff_t)a->stride - a->low)};
    }
    return n;
}

static inline void count_taps(axis *a) {
    reach r[MOST_TAPS];
    for (size_t phase = 0; phase < a->phases; phase++)
        a->before[phase + 1] = a->before[phase] + reaches(a, phase, r);
}

static inline size_t taps_of(const axis *a, size_t phase) { return a->before[phase + 1] - a->before[phase]; }

/* Taps that reach some pixel: all, but where the stride exceeds the image. */
static inline size_t taps_in_use(const axis *a) { return a->before[a->phases]; }

/* The result is the map: one phase, and as many planes as there are residues of the stride. */
static inline axis map_axis(const pleat_conv_shape *g, size_t k) {
    size_t image[2] = {g->H, g->W}, map[2] = {g->P, g->Q}, taps[2] = {g->R, g->S};
    axis a = {.from_image = true, .source = image[k], .result = map[k], .taps = taps[k]};
    a.dilation = g->dilation[k], a.stride = g->stride[k], a.pad = g->pad[k];
    a.phases = 1, a.split = a.stride, a.pixels = a.result;
    a.extra = (a.taps - 1) * a.dilation / a.stride;
    a.low = -a.pad;
    count_taps(&a);
    return a;
}

/* The result is the image: pixel h of it meets map pixel (h + pad - r*dilation) / stride for the taps r where that is whole. */
static inline axis image_axis(const pleat_conv_shape *g, size_t k) {
    size_t image[2] = {g->H, g->W}, map[2] = {g->P, g->Q}, taps[2] = {g->R, g->S};
    axis a = {.source = map[k], .result = image[k], .taps = taps[k]};
    a.dilation = g->dilation[k], a.stride = g->stride[k], a.pad = g->pad[k];
    a.phases = least(a.stride, a.result), a.split = 1, a.pixels = divide_up(a.result, a.phases);
    ptrdiff_t stride = (ptrdiff_t)a.stride, span = (ptrdiff_t)((a.taps - 1) * a.dilation);
    a.low = divide_down(a.pad - span, stride);
    a.extra = (size_t)(divide_down((ptrdiff_t)a.phases - 1 + a.pad, stride) - a.low);
    count_taps(&a);
    return a;
}

static inline size_t most_reaches(const axis *a) {
    size_t n = 0;
    for (size_t phase = 0; phase < a->phases; phase++) n = most(n, taps_of(a, phase));
    return n;
}

/* Planes that no tap reaches, where the stride exceeds the kernel, stay empty. */
static inline bool reached(const axis *a, size_t plane) {
    reach r[MOST_TAPS];
    if (!a->from_image) return true;
    for (size_t i = reaches(a, 0, r); i-- > 0;)
        if (r[i].plane == plane) return true;
    return false;
}

/* Whether all phases reach the same cells but for a shift, and then each phase's: so it is where the stride divides the kernel. The
 * phases are then rows of one product. */
static inline bool shifts(const axis *a, size_t shift[MOST_SPLIT]) {
    reach first[MOST_TAPS], other[MOST_TAPS];
    size_t n = reaches(a, 0, first), lowest = SIZE_MAX;
    for (size_t phase = 0; phase < a->phases; phase++) {
        if (reaches(a, phase, other) != n || n == 0) return false;
        for (size_t i = 1; i < n; i++)
            if (other[0].cell - other[i].cell != first[0].cell - first[i].cell) return false;
        shift[phase] = other[0].cell;
        lowest = least(lowest, other[0].cell);
    }
    for (size_t phase = 0; phase < a->phases; phase++) shift[phase] -= lowest;
    return true;
}

static inline size_t most_shift(const axis *a) {
    size_t shift[MOST_SPLIT], n = 0;
    for (size_t phase = shifts(a, shift) ? a->phases : 0; phase-- > 0;) n = most(n, shift[phase]);
    return n;
}

/* How phases and taps answer the questions of decisions.h. */
static inline unsigned char phases_decided(const axis *down, const axis *along) {
    if (down->phases * along->phases == 1)
        return down->from_image || down->stride * along->stride == 1 ? PL_NO_PHASES : PL_PHASE_LEFT;
    if (along->phases == 1) return PL_PHASES_DOWN;
    return down->phases == 1 ? PL_PHASES_ALONG : PL_PHASES_BOTH;
}

static inline bool has_bare_phase(const axis *a) {
    for (size_t phase = 0; phase < a->phases; phase++)
        if (taps_of(a, phase) == 0) return true;
    return false;
}

static inline unsigned char taps_decided(const axis *down, const axis *along) {
    if (has_bare_phase(down) || has_bare_phase(along)) return PL_TAPS_NONE;
    return taps_in_use(down) * taps_in_use(along) < down->taps * along->taps ? PL_TAPS_SOME : PL_TAPS_ALL;
}

/* Pixels of the phase that lie in the part. */
static inline size_t pixels_in(const axis *a, size_t phase, part s) {
    size_t all = divide_up(a->result - phase, a->phases);
    return least(s.first + s.count, all) - least(s.first, all);
}

/* Where the cells [0, count) of a plane, the first of them `origin`, meet the source: [begin, end), and the source's pixel there. */
typedef struct meeting {
    size_t begin, end, first;
} meeting;

static inline meeting meet(const axis *a, size_t origin, size_t count, size_t plane) {
    ptrdiff_t zero = (ptrdiff_t)(origin * a->split + plane) + a->low, split = (ptrdiff_t)a->split;
    ptrdiff_t begin = zero < 0 ? (split - 1 - zero) / split : 0, end = (ptrdiff_t)a->source - zero;
    end = end > 0 ? (end + split - 1) / split : 0;
    if (end > (ptrdiff_t)count) end = (ptrdiff_t)count;
    if (begin >= end) return (meeting){0};
    return (meeting){(size_t)begin, (size_t)end, (size_t)(zero + begin * split)};
}

/* Cells at the end of a row of cells that are zero, as the next row's first ones are: the two rows can share them. */
static inline size_t shared_padding(const axis *a) {
    size_t cells = a->pixels + a->extra, shared = a->extra;
    for (size_t f = 0; f < a->split; f++) {
        if (!reached(a, f)) continue;
        meeting m = meet(a, 0, cells, f);
        if (m.begin < m.end) shared = least(shared, least(m.begin, cells - m.end));
    }
    return shared;
}

/* The taps of a phase, and for each of them the pixels of a part that meet the source through it: [begin, end), counted from the
 * part's first. */
typedef struct presence {
    bool all; /* every pixel meets it through every tap */
    size_t taps, pixels;
    ptrdiff_t begin[MOST_TAPS], end[MOST_TAPS];
} presence;

static inline presence presence_of(const axis *a, size_t phase, part s, size_t cells) {
    reach r[MOST_TAPS];
    presence p = {.all = true, .taps = reaches(a, phase, r), .pixels = s.count};
    for (size_t i = 0; i < p.taps; i++) {
        meeting m = meet(a, s.first, cells, r[i].plane);
        p.begin[i] = (ptrdiff_t)m.begin - (ptrdiff_t)r[i].cell;
        p.end[i] = (ptrdiff_t)m.end - (ptrdiff_t)r[i].cell;
        p.all &= p.begin[i] <= 0 && p.end[i] >= (ptrdiff_t)s.count;
    }
    return p;
}

/* From the first to the last tap through which one of the pixels meets the source. */
static inline part present(const presence *p, part pixels) {
    part taps = {0};
    for (size_t i = 0; i < p->taps; i++) {
        if (p->begin[i] >= (ptrdiff_t)(pixels.first + pixels.count) || p->end[i] <= (ptrdiff_t)pixels.first)
            continue;
        if (taps.count == 0) taps.first = i;
        taps.count = i + 1 - taps.first;
    }
    return taps;
}

#endif

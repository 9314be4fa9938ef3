/* axis.h: the index arithmetic of the convolution family, for one axis at a time: axis 0 is H, P and R, axis 1 is W, Q and S.
 *
 * Map pixel j meets image pixel j*stride + tap*dilation - pad through a tap. The first half says this for any shape, one pixel or one tap
 * at a time, for im2col, the reference and the padding. The second half says it for the SIMD engines, which cut the result into phases
 * and the source into planes (a polyphase, or space-to-depth, decomposition). */
#ifndef PL_CONV_AXIS_H
#define PL_CONV_AXIS_H

#include "kernels/conv/decisions.h"
#include "kernels/pleat_kernels.h"
#include "kernels/sizes.h"

#include <stdbool.h>
#include <stdint.h>

static inline size_t image_size(const pleat_conv_shape *g, size_t k) { return k == 0 ? g->H : g->W; }
static inline size_t map_size(const pleat_conv_shape *g, size_t k) { return k == 0 ? g->P : g->Q; }
static inline size_t kernel_size(const pleat_conv_shape *g, size_t k) { return k == 0 ? g->R : g->S; }

/* The image pixel that map pixel 0 meets through a tap. */
static inline ptrdiff_t tap_origin(const pleat_conv_shape *g, size_t k, size_t tap) {
    return (ptrdiff_t)(tap * g->dilation[k]) - g->pad[k];
}

/* The image pixel, as *at, that a map pixel meets through a tap; false where that is outside the image. */
static inline bool image_pixel(const pleat_conv_shape *g, size_t k, size_t map, size_t tap, size_t *at) {
    ptrdiff_t i = (ptrdiff_t)(map * g->stride[k]) + tap_origin(g, k, tap);
    *at = (size_t)i;
    return i >= 0 && *at < image_size(g, k);
}

/* The map pixel, as *at, that an image pixel meets through a tap; false where there is none. */
static inline bool map_pixel(const pleat_conv_shape *g, size_t k, size_t image, size_t tap, size_t *at) {
    ptrdiff_t first = tap_origin(g, k, tap);
    if (first > (ptrdiff_t)image) return false;
    size_t distance = image - (size_t)first;
    *at = distance / g->stride[k];
    return distance % g->stride[k] == 0 && *at < map_size(g, k);
}

/* The map pixels that meet the image through a tap: begin <= j < end. */
typedef struct tap_span {
    size_t begin, end, stride;
    ptrdiff_t origin;
} tap_span;

static inline tap_span span_of_tap(const pleat_conv_shape *g, size_t k, size_t tap) {
    ptrdiff_t origin = tap_origin(g, k, tap);
    size_t missing = origin < 0 ? 0 - (size_t)origin : 0, skipped = origin > 0 ? (size_t)origin : 0;
    size_t stride = g->stride[k], image = image_size(g, k), map = map_size(g, k);
    size_t begin = ceil_div(missing, stride), end = 0;
    if (skipped < image) end = (image - skipped + missing - 1) / stride + 1;
    return (tap_span){min(begin, map), min(end, map), stride, origin};
}

/* Whether some pixel of the result, map or image, lacks a tap because it lies in padding. */
static inline bool touches_padding(const pleat_conv_shape *g, size_t k, bool result_is_image) {
    size_t stride = g->stride[k], image = image_size(g, k);
    ptrdiff_t last = (ptrdiff_t)((map_size(g, k) - 1) * stride), end = last - g->pad[k];
    ptrdiff_t reach = tap_origin(g, k, kernel_size(g, k) - 1);
    if (!result_is_image) return g->pad[k] > 0 || last + reach >= (ptrdiff_t)image;
    /* not where the pixels before the map's first and behind its last meet none of the image */
    bool before = reach >= 0 && (size_t)reach >= stride;
    return before || end < 0 || ((size_t)end < image && image - (size_t)end > stride);
}

/* ---- phases and planes, for the SIMD engines ------------------------------------------------------------------------ */

enum {
    MOST_TAPS = 32,  /* along an axis */
    MOST_SPLIT = 16, /* strides */
};

/* Whether taps and distances are such that every product of a plan is a size_t. */
static inline bool is_near(const pleat_conv_shape *g) {
    ptrdiff_t far = 4096;
    for (size_t k = 0; k < 2; k++)
        if (g->dilation[k] > (size_t)far || g->pad[k] > far || g->pad[k] < -far) return false;
    return g->R <= MOST_TAPS && g->S <= MOST_TAPS && g->stride[0] <= MOST_SPLIT && g->stride[1] <= MOST_SPLIT;
}

/* One axis. Pixel i of phase a of the result is its pixel a + i*phases; plane f of the packed source holds in element u the source's
 * pixel u*split + f + low. Tap r reaches, from pixel i of phase a, element i + reach.at of plane reach.plane. */
typedef struct axis {
    bool from_image;       /* the source is the image and the result the map; or the other way round */
    size_t source, result; /* sizes */
    size_t phases, split;
    size_t pixels, extra; /* pixels of the first phase, and packed elements beyond them that taps reach */
    ptrdiff_t low;
    size_t taps, dilation, stride;
    ptrdiff_t pad;
    size_t before[MOST_SPLIT + 1]; /* taps of all phases before one; the last entry: of all */
} axis;

/* Whether each pixel of the result is a product with the same pixel of the source. */
static inline bool is_pointwise(const axis *h, const axis *w) {
    return h->taps * w->taps * h->stride * w->stride == 1 && h->low == 0 && w->low == 0 &&
           h->source == h->result && w->source == w->result;
}

typedef struct tap_offset {
    size_t tap, plane, at;
} tap_offset;

/* The taps of a phase, and how many. */
static inline size_t taps_of_phase(const axis *a, size_t phase, tap_offset out[MOST_TAPS]) {
    size_t n = 0;
    for (size_t tap = 0; tap < a->taps; tap++) {
        size_t distance = tap * a->dilation;
        if (a->from_image) {
            out[n++] = (tap_offset){tap, distance % a->split, distance / a->split};
            continue;
        }
        ptrdiff_t e = (ptrdiff_t)phase + a->pad - (ptrdiff_t)distance;
        if (e % (ptrdiff_t)a->stride == 0)
            out[n++] = (tap_offset){tap, 0, (size_t)(e / (ptrdiff_t)a->stride - a->low)};
    }
    return n;
}

static inline void count_taps(axis *a) {
    tap_offset r[MOST_TAPS];
    for (size_t phase = 0; phase < a->phases; phase++)
        a->before[phase + 1] = a->before[phase] + taps_of_phase(a, phase, r);
}

static inline size_t taps_in_phase(const axis *a, size_t phase) {
    return a->before[phase + 1] - a->before[phase];
}

/* Taps that reach some pixel: all, but where the stride exceeds the image. */
static inline size_t taps_in_use(const axis *a) { return a->before[a->phases]; }

/* The result is the map: one phase, and as many planes as there are residues of the stride. */
static inline axis map_axis(const pleat_conv_shape *g, size_t k) {
    axis a = {
        .from_image = true, .source = image_size(g, k), .result = map_size(g, k), .taps = kernel_size(g, k)};
    a.dilation = g->dilation[k], a.stride = g->stride[k], a.pad = g->pad[k];
    a.phases = 1, a.split = a.stride, a.pixels = a.result;
    a.extra = (a.taps - 1) * a.dilation / a.stride;
    a.low = -a.pad;
    count_taps(&a);
    return a;
}

/* The result is the image: pixel h of it meets map pixel (h + pad - r*dilation) / stride for the taps r where that is whole. */
static inline axis image_axis(const pleat_conv_shape *g, size_t k) {
    axis a = {.source = map_size(g, k), .result = image_size(g, k), .taps = kernel_size(g, k)};
    a.dilation = g->dilation[k], a.stride = g->stride[k], a.pad = g->pad[k];
    a.phases = min(a.stride, a.result), a.split = 1, a.pixels = ceil_div(a.result, a.phases);
    ptrdiff_t stride = (ptrdiff_t)a.stride, span = (ptrdiff_t)((a.taps - 1) * a.dilation);
    a.low = floor_div(a.pad - span, stride);
    a.extra = (size_t)(floor_div((ptrdiff_t)a.phases - 1 + a.pad, stride) - a.low);
    count_taps(&a);
    return a;
}

static inline size_t most_taps(const axis *a) {
    size_t n = 0;
    for (size_t phase = 0; phase < a->phases; phase++) n = max(n, taps_in_phase(a, phase));
    return n;
}

/* Planes that no tap reaches, where the stride exceeds the kernel, stay empty. */
static inline bool plane_in_use(const axis *a, size_t plane) {
    tap_offset r[MOST_TAPS];
    if (!a->from_image) return true;
    for (size_t i = taps_of_phase(a, 0, r); i-- > 0;)
        if (r[i].plane == plane) return true;
    return false;
}

/* Whether all phases reach the same elements but for a shift, and then each phase's: so it is where they have equally many taps, as the
 * taps of each are equally far apart. The phases are then rows of one product. */
static inline bool shifts(const axis *a, size_t shift[MOST_SPLIT]) {
    tap_offset r[MOST_TAPS];
    size_t n = taps_in_phase(a, 0), lowest = SIZE_MAX;
    for (size_t phase = 0; phase < a->phases; phase++) {
        if (taps_of_phase(a, phase, r) != n || n == 0) return false;
        shift[phase] = r[0].at;
        lowest = min(lowest, r[0].at);
    }
    for (size_t phase = 0; phase < a->phases; phase++) shift[phase] -= lowest;
    return true;
}

static inline size_t most_shift(const axis *a) {
    size_t shift[MOST_SPLIT], n = 0;
    for (size_t phase = shifts(a, shift) ? a->phases : 0; phase-- > 0;) n = max(n, shift[phase]);
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
        if (taps_in_phase(a, phase) == 0) return true;
    return false;
}

static inline unsigned char taps_decided(const axis *down, const axis *along) {
    if (has_bare_phase(down) || has_bare_phase(along)) return PL_TAPS_NONE;
    return taps_in_use(down) * taps_in_use(along) < down->taps * along->taps ? PL_TAPS_SOME : PL_TAPS_ALL;
}

/* Pixels of the phase that lie in the part. */
static inline size_t pixels_in(const axis *a, size_t phase, range s) {
    size_t all = ceil_div(a->result - phase, a->phases);
    return min(s.first + s.count, all) - min(s.first, all);
}

/* Where the elements [0, count) of a plane, the first of them `origin`, meet the source: [begin, end), and the source's pixel there. */
typedef struct overlap {
    size_t begin, end, first;
} overlap;

static inline overlap overlap_of(const axis *a, size_t origin, size_t count, size_t plane) {
    ptrdiff_t zero = (ptrdiff_t)(origin * a->split + plane) + a->low, split = (ptrdiff_t)a->split;
    ptrdiff_t begin = zero < 0 ? (split - 1 - zero) / split : 0, end = (ptrdiff_t)a->source - zero;
    end = end > 0 ? (end + split - 1) / split : 0;
    if (end > (ptrdiff_t)count) end = (ptrdiff_t)count;
    if (begin >= end) return (overlap){0};
    return (overlap){(size_t)begin, (size_t)end, (size_t)(zero + begin * split)};
}

/* Elements at the end of a packed row that are zero, as the next row's first ones are: the two rows can share them. */
static inline size_t shared_padding(const axis *a) {
    size_t elements = a->pixels + a->extra, shared = a->extra;
    for (size_t f = 0; f < a->split; f++) {
        if (!plane_in_use(a, f)) continue;
        overlap m = overlap_of(a, 0, elements, f);
        if (m.begin < m.end) shared = min(shared, min(m.begin, elements - m.end));
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

static inline presence presence_of(const axis *a, size_t phase, range s, size_t elements) {
    tap_offset r[MOST_TAPS];
    presence p = {.all = true, .taps = taps_of_phase(a, phase, r), .pixels = s.count};
    for (size_t i = 0; i < p.taps; i++) {
        overlap m = overlap_of(a, s.first, elements, r[i].plane);
        p.begin[i] = (ptrdiff_t)m.begin - (ptrdiff_t)r[i].at;
        p.end[i] = (ptrdiff_t)m.end - (ptrdiff_t)r[i].at;
        p.all &= p.begin[i] <= 0 && p.end[i] >= (ptrdiff_t)s.count;
    }
    return p;
}

/* Whether some pixel lacks some tap. */
static inline bool lacks_taps(const axis *a) {
    for (size_t phase = 0; phase < a->phases; phase++)
        if (!presence_of(a, phase, (range){0, a->pixels}, a->pixels + a->extra).all) return true;
    return false;
}

/* From the first to the last tap through which one of the pixels meets the source. */
static inline range present(const presence *p, range pixels) {
    range taps = {0};
    for (size_t i = 0; i < p->taps; i++) {
        if (p->begin[i] >= (ptrdiff_t)(pixels.first + pixels.count) || p->end[i] <= (ptrdiff_t)pixels.first)
            continue;
        if (taps.count == 0) taps.first = i;
        taps.count = i + 1 - taps.first;
    }
    return taps;
}

/* The pixels that meet the source through the i-th tap. */
static inline range pixels_with(const presence *p, size_t i) {
    ptrdiff_t all = (ptrdiff_t)p->pixels, begin = p->begin[i] > 0 ? p->begin[i] : 0;
    ptrdiff_t end = p->end[i] < all ? p->end[i] : all;
    return begin < end ? (range){(size_t)begin, (size_t)(end - begin)} : (range){0};
}

#endif

/* im2col and its adjoint, col2im. Law: <im2col(x), c> = <x, col2im(c)>, since both walk the same boxes of pixels. */
#include "kernels/conv/axis.h"

#include <string.h>

/* Map pixels p0 <= p < p1, q0 <= q < q1. */
typedef struct rect {
    size_t p0, p1, q0, q1;
} rect;

/* A strip of the map as rectangles: the rest of a row, whole rows, the beginning of a row. Any may be empty. */
typedef struct strip {
    size_t first, count;
    rect parts[3];
} strip;

static strip make_strip(size_t Q, size_t first, size_t count) {
    size_t p = first / Q, q = first % Q, p_end = (first + count) / Q, q_end = (first + count) % Q;
    if (p == p_end) return (strip){first, count, {{p, p + 1, q, q_end}}};
    return (strip){first, count, {{p, p + 1, q, Q}, {p + 1, p_end, 0, Q}, {p_end, p_end + 1, 0, q_end}}};
}

static size_t image_index(tap_span a, size_t j) { return (size_t)((ptrdiff_t)(j * a.stride) + a.origin); }

/* The pixels of a rectangle that a tap finds in the image: `rows` times `count`, the first at `map` in the strip and
 * at `image` in the image, with the steps from one to the next. */
typedef struct box {
    size_t rows, count;
    size_t map, map_row;
    size_t image, image_row, stride;
} box;

static box box_of(const pleat_conv_shape *g, tap_span down, tap_span along, const strip *s, size_t part) {
    const rect *m = &s->parts[part];
    size_t p0 = max(m->p0, down.begin), p1 = min(m->p1, down.end);
    size_t q0 = max(m->q0, along.begin), q1 = min(m->q1, along.end);
    if (p0 >= p1 || q0 >= q1) return (box){0};
    return (box){
        .rows = p1 - p0,
        .count = q1 - q0,
        .map = p0 * g->Q + q0 - s->first,
        .map_row = g->Q,
        .image = image_index(down, p0) * g->W + image_index(along, q0),
        .image_row = down.stride * g->W,
        .stride = along.stride,
    };
}

/* What one tap of the kernel finds of a strip. */
typedef struct tap {
    box parts[3];
    bool whole; /* all of it */
} tap;

static tap make_tap(const pleat_conv_shape *g, const strip *m, size_t r, size_t s) {
    tap_span down = span_of_tap(g, 0, r), along = span_of_tap(g, 1, s);
    tap t = {0};
    size_t found = 0;
    for (size_t i = 0; i < 3; i++) {
        t.parts[i] = box_of(g, down, along, m, i);
        found += t.parts[i].rows * t.parts[i].count;
    }
    t.whole = found == m->count;
    return t;
}

#define BODY "kernels/conv/im2col.inc"
#include "kernels/both_types.inc"

/* Arithmetic on sizes, and how work is cut into parts. */
#ifndef PL_SIZES_H
#define PL_SIZES_H

#include <stddef.h>

/* Bytes of a cache line: no two threads write to the same one. */
enum { LINE = 64 };

/* A limit on how much is done at a time; and one for tests, with which small tensors need several of everything. */
#ifdef PL_SMALL
#    define LIMIT(usual, small) (small)
#else
#    define LIMIT(usual, small) (usual)
#endif

static inline size_t min(size_t a, size_t b) { return a < b ? a : b; }
static inline size_t max(size_t a, size_t b) { return a > b ? a : b; }
static inline size_t ceil_div(size_t a, size_t b) { return a / b + (a % b != 0); }
static inline size_t round_up(size_t a, size_t b) { return ceil_div(a, b) * b; }
static inline ptrdiff_t floor_div(ptrdiff_t a, ptrdiff_t b) { return a / b - (a % b < 0); }

/* The largest of the nearly equal parts that `size` is cut into, none larger than `part`. */
static inline size_t even_part(size_t size, size_t part) { return ceil_div(size, ceil_div(size, part)); }

/* A range of indices. */
typedef struct range {
    size_t first, count;
} range;

/* The i-th part of `each` indices. */
static inline range part_of(size_t size, size_t each, size_t i) {
    return (range){i * each, min(each, size - i * each)};
}

/* The i-th of `parts` parts whose sizes differ by at most one. */
static inline range even_slice(size_t size, size_t parts, size_t i) {
    size_t first = size * i / parts;
    return (range){first, size * (i + 1) / parts - first};
}

#endif

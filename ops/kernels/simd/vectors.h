/* vectors.h: SIMD in the compilers' portable vectors, for files that are compiled once for each instruction set and element type T: how
 * wide vectors are, how many registers hold them, loops that stay in registers; loads, shuffles, transposition and the epilogue. */
#ifndef PL_VECTORS_H
#define PL_VECTORS_H

#include "kernels/sizes.h"

#include <math.h>
#include <stdbool.h>
#include <string.h>

#if defined(__FMA__)
#    include <immintrin.h>
#elif defined(__aarch64__)
#    include <arm_neon.h>
#endif

#if defined(__AVX512F__)
#    define REGISTERS 32
enum { VECTOR_BYTES = 64 };
#elif defined(__AVX__)
#    define REGISTERS 16
enum { VECTOR_BYTES = 32 };
#elif defined(__aarch64__)
#    define REGISTERS 32
enum { VECTOR_BYTES = 16 };
#else
#    define REGISTERS 16
enum { VECTOR_BYTES = 16 };
#endif

/* Whether a product and a sum are one instruction; see fmadd. */
#if !defined(__FMA__) && !defined(__aarch64__) && !(defined(__FP_FAST_FMA) && defined(__FP_FAST_FMAF))
#    define FMADD_IN_SOFTWARE
#endif
#if defined(FMADD_IN_SOFTWARE) && \
    !defined(PL_ROLLED) /* each is twenty instructions; copies of it would gain nothing */
#    define PL_ROLLED
#endif

/* A function that is specialised wherever it is called, for the constants that it is called with. */
#ifdef PL_ROLLED /* for debuggers, and under sanitizers, whose checks of each copy take compilers minutes */
#    define SPECIALIZE static __attribute__((noinline))
#else
#    define SPECIALIZE static inline __attribute__((always_inline))
#endif

/* Before a loop with few turns, a constant number, at most n: all of them, so that arrays become registers. */
#ifdef PL_ROLLED
#    define UNROLL(n)
#elif defined(__clang__)
#    define UNROLL(n) PRAGMA(clang loop unroll(full))
#else
#    define UNROLL(n) PRAGMA(GCC unroll n)
#endif
#define PRAGMA(words) _Pragma(#words)

typedef T vec __attribute__((vector_size(VECTOR_BYTES)));
typedef T loose_vec
    __attribute__((vector_size(VECTOR_BYTES), aligned(sizeof(T)), may_alias)); /* anywhere in memory */

#define LANES (VECTOR_BYTES / sizeof(T))

static inline vec load(const T *p) { return *(const loose_vec *)p; }
static inline void store(T *p, vec v) { *(loose_vec *)p = v; }

/* ---- fused multiply-add ------------------------------------------------------------------------------------------ */

/* a*b + c, rounded once: every sum of products is made of these, so that all instruction sets give the same bits. By name, as a compiler that
 * may fuse a product and a sum need not: gcc leaves chains as they are where it tunes for Zen. Where the processor cannot, it is
 * computed exactly: of floats in double, where the product is exact and the sum is rounded to odd, which spoils no second rounding
 * (Boldo and Melquiond, Emulation of FMA and correctly rounded sums, 2008). */
#ifndef FMADD_IN_SOFTWARE
static inline vec fmadd(vec a, vec b, vec c) {
    const bool single = sizeof(T) == sizeof(float);
#    if defined(__AVX512F__)
    return single ? (vec)_mm512_fmadd_ps((__m512)a, (__m512)b, (__m512)c)
                  : (vec)_mm512_fmadd_pd((__m512d)a, (__m512d)b, (__m512d)c);
#    elif defined(__FMA__)
    return single ? (vec)_mm256_fmadd_ps((__m256)a, (__m256)b, (__m256)c)
                  : (vec)_mm256_fmadd_pd((__m256d)a, (__m256d)b, (__m256d)c);
#    elif defined(__aarch64__)
    return single ? (vec)vfmaq_f32((float32x4_t)c, (float32x4_t)a, (float32x4_t)b)
                  : (vec)vfmaq_f64((float64x2_t)c, (float64x2_t)a, (float64x2_t)b);
#    else
    for (size_t l = 0; l < LANES; l++)
        a[l] = single ? (T)fmaf((float)a[l], (float)b[l], (float)c[l])
                      : (T)fma((double)a[l], (double)b[l], (double)c[l]);
    return a;
#    endif
}
#else
typedef double wide_vec __attribute__((vector_size(VECTOR_BYTES / sizeof(T) * sizeof(double))));
typedef long long wide_bits __attribute__((vector_size(VECTOR_BYTES / sizeof(T) * sizeof(double))));

static inline vec fmadd(vec a, vec b, vec c) {
    if (sizeof(T) == sizeof(double)) {
        for (size_t l = 0; l < LANES; l++) a[l] = (T)fma((double)a[l], (double)b[l], (double)c[l]);
        return a;
    }
    const wide_vec p = __builtin_convertvector(a, wide_vec) * __builtin_convertvector(b, wide_vec);
    const wide_vec z = __builtin_convertvector(c, wide_vec), s = p + z, t = s - p,
                   error = (p - (s - t)) + (z - t);
    const wide_bits inexact = (wide_bits)((error > 0) | (error < 0)),
                    away = (wide_bits)((error > 0) == (s > 0));
    const wide_bits bits = (wide_bits)s, even = (bits & 1) - 1;
    return __builtin_convertvector((wide_vec)(bits + (inexact & even & (-1 - 2 * away))), vec);
}
#endif

static inline vec fmadd_by(T a, vec b, vec c) { return fmadd(a - (vec){0}, b, c); }

/* w[m] of w[rows]. NEON multiplies by a lane of a vector, so there neighbours are loaded at once, in a way in which gcc does not see that
 * each could be loaded alone. */
static inline T factor(const T *w, size_t rows, size_t m) {
#ifdef __aarch64__
    if (rows >= LANES) {
        size_t at = min(m / LANES * LANES, rows - LANES);
        vec neighbours = load(w + at);
        __asm__("" : "+w"(neighbours));
        return neighbours[m - at];
    }
#endif
    (void)rows;
    return w[m];
}

/* A choice of lanes: all bits of a lane, or none. */
typedef __typeof__((vec){0} < (vec){0}) lane_mask;

static inline lane_mask mask_of(size_t begin, size_t end) {
    lane_mask m = (vec){0} < (vec){0};
    for (size_t l = 0; l < LANES; l++) m[l] = l >= begin && l < end ? -1 : 0;
    return m;
}

/* v where the mask is set, and 0 or w elsewhere. `+`, not `|`: gcc turns `|` into ((v ^ w) & m) ^ w, and valgrind then reports lanes as
 * undefined that do not depend on w. */
static inline vec keep_lanes(vec v, lane_mask m) { return (vec)((lane_mask)v & m); }
static inline vec blend(vec v, vec w, lane_mask m) { return (vec)(((lane_mask)v & m) + ((lane_mask)w & ~m)); }

/* Lanes 0, 2, 4, ... of a and b side by side. */
static inline vec evens(vec a, vec b) {
#ifdef __clang__ /* sees a shuffle in this, and gcc does not */
    vec v;
    for (size_t l = 0; l < LANES; l++) v[l] = l < LANES / 2 ? a[2 * l] : b[2 * l - LANES];
    return v;
#else
    __typeof__(a < b) pick;
    for (size_t l = 0; l < LANES; l++) pick[l] = (__typeof__(pick[0] + pick[0]))(2 * l);
    return __builtin_shuffle(a, b, pick);
#endif
}

/* a[0], b[0], a[1], b[1], ...: the first half, or the second. */
static inline vec zip(vec a, vec b, bool second) {
#ifdef __clang__
    vec v;
    for (size_t l = 0; l < LANES; l++)
        v[l] = l % 2 ? b[l / 2 + second * LANES / 2] : a[l / 2 + second * LANES / 2];
    return v;
#else
    __typeof__(a < b) pick;
    for (size_t l = 0; l < LANES; l++)
        pick[l] = (__typeof__(pick[0] + pick[0]))(l / 2 + second * LANES / 2 + l % 2 * LANES);
    return __builtin_shuffle(a, b, pick);
#endif
}

/* Sums of the lanes of `count` vectors, a power of two and at most LANES: the i-th to out[i]. Each round halves the vectors, and so the lanes
 * of a sum. Loops count by ones, to limits that a compiler sees: then it keeps all vectors in registers. */
static inline __attribute__((always_inline)) void sum_lanes(size_t count, vec *v, T *out) {
    T sums[LANES];
    UNROLL(4)
    for (size_t round = 1; round <= 4; round++) {
        UNROLL(8)
        for (size_t i = 0; i < 8; i++)
            if (i < count >> round) {
                vec a = v[i], b = v[i + (count >> round)];
                v[i] = zip(a, b, false) + zip(a, b, true);
            }
    }
    vec sum = v[0];
    UNROLL(4)
    for (size_t round = 0; round < 4; round++)
        if (count << round < LANES) sum = zip(sum, sum, false) + zip(sum, sum, true);
    store(count == LANES ? out : sums, sum);
    for (size_t i = 0; i < count && count < LANES; i++) out[i] = sums[i * (LANES / count)];
}

/* The same of lines of LINE bytes, whatever a vector holds of one. No sum is -0. */
static inline __attribute__((always_inline)) void sum_lines(size_t count, const T *line, T *out) {
    enum { VECTORS = LINE / VECTOR_BYTES };
    UNROLL(16)
    for (size_t i = 0; i < count; i += LANES) {
        vec v[LANES] = {0};
        T sums[LANES];
        UNROLL(16)
        for (size_t k = 0; k < LANES; k++) {
            if (i + k >= count) break;
            vec part[VECTORS];
            UNROLL(4)
            for (size_t j = 0; j < VECTORS; j++) part[j] = load(line + ((i + k) * VECTORS + j) * LANES);
            UNROLL(2)
            for (size_t half = VECTORS / 2; half > 0; half /= 2)
                for (size_t j = 0; j < half; j++) part[j] += part[j + half];
            v[k] = part[0];
        }
        sum_lanes(LANES, v, sums);
        for (size_t k = 0; k < LANES && i + k < count; k++) out[i + k] = sums[k] + 0;
    }
}

typedef T quad __attribute__((vector_size(4 * sizeof(T)), aligned(sizeof(T)), may_alias));

/* What sums meet on their way into the result: the bias, relu, in whose comparisons a NaN stays. Before that a zero becomes +0: its sign
 * would tell whether an engine multiplies the zeros of padding or leaves them out. */
typedef struct epilogue {
    bool relu;
    const T *bias; /* NULL, or of the channel */
} epilogue;

static inline vec epilogue_vec(vec v, const epilogue *e) {
    v += 0;
    if (e->bias) v += *e->bias;
    return e->relu ? keep_lanes(v, (v > 0) | (v != v)) : v;
}

static inline quad load_quad(const T *p) { return *(const quad *)p; }
static inline void store_quad(T *p, quad v) { *(quad *)p = v; }

static inline quad epilogue_quad(quad v, const epilogue *e) {
    v += 0;
    if (e->bias) v += *e->bias;
    return e->relu ? (quad)((__typeof__(v > v))v & ((v > 0) | (v != v))) : v;
}

static inline T epilogue_scalar(T v, const epilogue *e) {
    v += 0;
    if (e->bias) v += *e->bias;
    return e->relu ? (v > 0 ? v : v == v ? 0 : v) : v;
}

/* to [4,4] = the transpose of from [4,4], with the elements from one row to the next. */
static inline void transpose_4x4(const T *from, size_t from_step, T *to, size_t to_step) {
    const quad a = *(const quad *)from, b = *(const quad *)(from + from_step);
    const quad c = *(const quad *)(from + 2 * from_step), d = *(const quad *)(from + 3 * from_step);
    const quad p = {a[0], b[0], a[1], b[1]}, q = {c[0], d[0], c[1], d[1]};
    const quad r = {a[2], b[2], a[3], b[3]}, s = {c[2], d[2], c[3], d[3]};
    *(quad *)to = (quad){p[0], p[1], q[0], q[1]};
    *(quad *)(to + to_step) = (quad){p[2], p[3], q[2], q[3]};
    *(quad *)(to + 2 * to_step) = (quad){r[0], r[1], s[0], s[1]};
    *(quad *)(to + 3 * to_step) = (quad){r[2], r[3], s[2], s[3]};
}

/* The same for a block of vectors, or for LANES rows of `columns` elements behind `lead` others: each round of zips moves one bit of the
 * index from the rows to the columns. A whole vector of each row is read. */
static inline void transpose_block(size_t lead, size_t columns, const T *from, size_t from_step, T *to,
                                   size_t to_step) {
    vec a[LANES], b[LANES];
    UNROLL(16)
    for (size_t i = 0; i < LANES; i++) a[i] = load(from - lead + i * from_step);
    UNROLL(4)
    for (size_t round = 1; round < LANES; round *= 2) {
        UNROLL(8)
        for (size_t i = 0; i < LANES / 2; i++) {
            b[2 * i] = zip(a[i], a[i + LANES / 2], false);
            b[2 * i + 1] = zip(a[i], a[i + LANES / 2], true);
        }
        UNROLL(16)
        for (size_t i = 0; i < LANES; i++) a[i] = b[i];
    }
    UNROLL(16)
    for (size_t i = 0; i < LANES; i++)
        if (i - lead < columns) store(to + (i - lead) * to_step, a[i]);
}

static inline void transpose_blocks(size_t rows, size_t columns, const T *from, size_t from_step, T *to,
                                    size_t to_step) {
    for (size_t c = 0; c < columns; c += LANES)
        for (size_t r = 0; r < rows; r += LANES) {
            size_t row = min(r, rows - LANES), at = min(c, columns - LANES);
            transpose_block(0, LANES, from + row * from_step + at, from_step, to + at * to_step + row,
                            to_step);
        }
}

/* Of rows shorter than a vector. The first block reads into the rows that follow, the others into those before. */
static inline void transpose_short_rows(size_t rows, size_t columns, const T *from, size_t from_step, T *to,
                                        size_t to_step) {
    for (size_t r = 0; r < rows; r += LANES) {
        size_t row = min(r, rows - LANES);
        transpose_block(r > 0 ? LANES - columns : 0, columns, from + row * from_step, from_step, to + row,
                        to_step);
    }
}

/* to [columns,rows] = the transpose of from [rows,columns]; the last blocks lie over the ones before. A line of the cache is read as a
 * whole: where rows are a power of two apart, it would not be there the next time. */
static inline void transpose(size_t rows, size_t columns, const T *from, size_t from_step, T *to,
                             size_t to_step) {
    if (LANES > 4 && rows >= LANES && columns >= LANES) {
        transpose_blocks(rows, columns, from, from_step, to, to_step);
        return;
    }
    if (LANES > 4 && rows > LANES && columns > 1 && (rows - LANES) * from_step >= LANES - columns) {
        transpose_short_rows(rows, columns, from, from_step, to, to_step);
        return;
    }
    if (columns == 1 && from_step == 1) {
        memcpy(to, from, rows * sizeof(T));
        return;
    }
    if (rows < 4 || columns < 4) {
        for (size_t c = 0; c < columns; c++)
            for (size_t r = 0; r < rows; r++) to[c * to_step + r] = from[r * from_step + c];
        return;
    }
    for (size_t first = 0; first < columns; first += LINE / sizeof(T))
        for (size_t r = 0; r < rows; r += 4)
            for (size_t c = first; c < columns && c < first + LINE / sizeof(T); c += 4) {
                size_t row = min(r, rows - 4), at = min(c, columns - 4);
                transpose_4x4(from + row * from_step + at, from_step, to + at * to_step + row, to_step);
            }
}

#endif

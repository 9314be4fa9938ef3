/* Matrix products: of BLAS, which has its one door here, and of our own. */
#ifndef PL_GEMM_H
#define PL_GEMM_H

#include "kernels/pleat_kernels.h"
#include "pleat_config.h"

#include <stdbool.h>
#include <stddef.h>

/* A product of row-major matrices; lda, ldb and ldc are the elements from one stored row to the next. */
typedef struct pl_gemm {
    bool ta, tb;     /* a is stored as [k,m], b as [n,k] */
    bool accumulate; /* add to c, not overwrite it */
    size_t m, n, k, lda, ldb, ldc;
} pl_gemm;

/* Whether BLAS's integers hold every size. The products below take such sizes only. */
bool pl_gemm_fits(const pl_gemm *g);

/* a [m,k], b [k,n] -> c [m,n]      c = a b, or c += a b
 * Any of the sizes may be 0: a sum over k = 0 terms is 0. a and b may then be NULL. */
void pl_gemm_f32(const pl_gemm *g, const float *a, const float *b, float *c);
void pl_gemm_f64(const pl_gemm *g, const double *a, const double *b, double *c);

/* ---- products without BLAS ------------------------------------------------------------------------------------ */

/* A way to compute products: every size, also 0, every leading dimension. Each element of c is one chain of fused multiply-adds over k,
 * ascending, from +0 or, with accumulate, from what is in c; then `+ 0.0`, so that a zero is +0:
 *
 *     sum = accumulate ? c[m,n] : 0;  for (k = 0; k < K; k++) sum = fma(a[m,k], b[k,n], sum);  c[m,n] = sum + 0.0;
 *
 * With accumulate = true and K = 0, c stays as it is; with accumulate = false, c is not read. So all engines give the same bits, a product in
 * parts along k those of the whole, and an element does not depend on m, n and what is beside it. NaN and infinities go where the chain
 * sends them; what bits a NaN has is not defined. A sum of K products is at most K u sum |a||b| off.
 *
 * No memory before the first or behind the last element of a and b is read, and what lies between rows has no effect, as is none between
 * the rows of c written.
 *
 *     const pl_gemm_engine *e = pl_gemm_engine_for(sizeof(float), (pleat_path){0});     // NULL: BLAS
 *     e->run(&g, a, b, c, take(e->workspace(&g)));
 */
typedef struct pl_gemm_engine {
    size_t element;
    pleat_isa isa;
    size_t (*workspace)(const pl_gemm *g); /* bytes; at most PL_GEMM_BYTES, often 0 */
    /* memory: the workspace, of any alignment; NULL where it has 0 bytes */
    void (*run)(const pl_gemm *g, const void *a, const void *b, void *c, void *memory);
    /* Whether products of so many rows are faster with a b that is turned by `turn` than with one that is stored as [n,k]; NULL: none is.
     * to [k,n] = the transpose of from [n,k], whose rows begin ld and step elements apart. */
    bool (*gains_by_turning)(const pl_gemm *g);
    void (*turn)(size_t n, size_t k, const void *from, size_t ld, void *to, size_t step);
} pl_gemm_engine;

enum { PL_GEMM_BYTES = 1024 * 1024 };

extern const pl_gemm_engine pl_gemm_reference_f32, pl_gemm_reference_f64, pl_simd_gemm_baseline_f32,
    pl_simd_gemm_baseline_f64;
#ifdef PL_AVX2
extern const pl_gemm_engine pl_simd_gemm_avx2_f32, pl_simd_gemm_avx2_f64;
#endif
#ifdef PL_AVX512
extern const pl_gemm_engine pl_simd_gemm_avx512_f32, pl_simd_gemm_avx512_f64;
#endif

/* What computes products; NULL is BLAS, whose order is its own: only for PLEAT_ENGINE_IM2COL, and not without a BLAS (PL_BLAS is 0).
 * PLEAT_ENGINE_REFERENCE is three loops, the others SIMD products, of the widest instruction set that the processor has or of the one
 * that is named. */
const pl_gemm_engine *pl_gemm_engine_for(size_t element, pleat_path path);

#endif

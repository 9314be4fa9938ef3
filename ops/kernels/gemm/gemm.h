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

/* A way to compute products: every size, also 0, every leading dimension. Elements of a and b that belong to no term are not read, elements
 * between the rows of c not written. Numbers that are not finite go where the sum over k of the products, in some order, sends them;
 * with accumulate = false, c is not read. The order depends on the sizes alone, so equal calls give equal bits; it is another for
 * another instruction set, and a product and a sum are fused where the processor can. A sum of K products is at most K u sum |a||b|
 * off.
 *
 *     const pl_gemm_engine *e = pl_gemm_engine_for(&g, sizeof(float), (pleat_path){0});     // NULL: BLAS
 *     e->run(&g, a, b, c, take(e->workspace(&g)));
 */
typedef struct pl_gemm_engine {
    size_t element;
    pleat_isa isa;
    size_t (*workspace)(const pl_gemm *g); /* bytes; at most PL_GEMM_BYTES, often 0 */
    /* memory: the workspace, of any alignment; NULL where it has 0 bytes */
    void (*run)(const pl_gemm *g, const void *a, const void *b, void *c, void *memory);
} pl_gemm_engine;

enum { PL_GEMM_BYTES = 512 * 1024 };

extern const pl_gemm_engine pl_gemm_reference_f32, pl_gemm_reference_f64, pl_simd_gemm_baseline_f32,
    pl_simd_gemm_baseline_f64;
#ifdef PL_X86
extern const pl_gemm_engine pl_simd_gemm_avx2_f32, pl_simd_gemm_avx2_f64, pl_simd_gemm_avx512_f32,
    pl_simd_gemm_avx512_f64;
#endif

/* What computes g; NULL is BLAS. PLEAT_ENGINE_AUTO chooses by sizes and processor, PLEAT_ENGINE_IM2COL is BLAS, PLEAT_ENGINE_REFERENCE three
 * loops, the others and every instruction set by name SIMD products, with BLAS where the processor lacks what they need. Without a BLAS
 * (PL_BLAS is 0) it is never NULL: SIMD products take its place. */
const pl_gemm_engine *pl_gemm_engine_for(const pl_gemm *g, size_t element, pleat_path path);

#endif

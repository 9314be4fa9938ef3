/* Matrix products: the one door to BLAS. */
#ifndef PL_GEMM_H
#define PL_GEMM_H

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

#endif

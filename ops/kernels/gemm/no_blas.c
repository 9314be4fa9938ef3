/* In the place of blas.c with -Dblas=none: pl_gemm_engine_for has an engine for each product, and who asks none gets three loops. */
#include "kernels/gemm/gemm.h"

void pleat_blas_single_thread(void) {}

void pl_gemm_f32(const pl_gemm *g, const float *a, const float *b, float *c) {
    pl_gemm_reference_f32.run(g, a, b, c, NULL);
}

void pl_gemm_f64(const pl_gemm *g, const double *a, const double *b, double *c) {
    pl_gemm_reference_f64.run(g, a, b, c, NULL);
}

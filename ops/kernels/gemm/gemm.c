/* Which engine computes a product, and the reference: three loops. */
#include "kernels/gemm/gemm.h"

#include "kernels/simd/cpu.h"

#include <limits.h>
#include <math.h>

bool pl_gemm_fits(const pl_gemm *g) {
    return g->m <= INT_MAX && g->n <= INT_MAX && g->k <= INT_MAX && g->lda <= INT_MAX && g->ldb <= INT_MAX &&
           g->ldc <= INT_MAX;
}

static const pl_gemm_engine *const engines[] = {
#ifdef PL_AVX512
    &pl_simd_gemm_avx512_f32,   &pl_simd_gemm_avx512_f64,
#endif
#ifdef PL_AVX2
    &pl_simd_gemm_avx2_f32,     &pl_simd_gemm_avx2_f64,
#endif
    &pl_simd_gemm_baseline_f32, &pl_simd_gemm_baseline_f64,
};

const pl_gemm_engine *pl_gemm_engine_for(size_t element, pleat_path path) {
    const bool any = path.isa == PLEAT_ISA_AUTO || !pl_isa_runs_here(path.isa);
    if (path.engine == PLEAT_ENGINE_REFERENCE)
        return element == sizeof(float) ? &pl_gemm_reference_f32 : &pl_gemm_reference_f64;
    if (PL_BLAS && path.engine == PLEAT_ENGINE_IM2COL) return NULL;
    for (size_t i = 0; i < sizeof engines / sizeof *engines; i++) {
        const pl_gemm_engine *e = engines[i];
        if (e->element == element && (any || path.isa == e->isa) && pl_isa_runs_here(e->isa)) return e;
    }
    return element == sizeof(float) ? &pl_simd_gemm_baseline_f32 : &pl_simd_gemm_baseline_f64;
}

static size_t no_workspace(const pl_gemm *g) {
    (void)g;
    return 0;
}

static float fmadd_f32(float a, float b, float c) { return fmaf(a, b, c); }
static double fmadd_f64(double a, double b, double c) { return fma(a, b, c); }

#define BODY "kernels/gemm/reference.inc"
#include "kernels/both_types.inc"

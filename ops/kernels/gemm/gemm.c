/* Which products are BLAS's, and the reference: three loops. */
#include "kernels/gemm/gemm.h"

#include "kernels/simd/cpu.h"

#include <limits.h>

bool pl_gemm_fits(const pl_gemm *g) {
    return g->m <= INT_MAX && g->n <= INT_MAX && g->k <= INT_MAX && g->lda <= INT_MAX && g->ldb <= INT_MAX &&
           g->ldc <= INT_MAX;
}

/* SIMD products win where BLAS's calls and copies cost as much as the product does, and hold their own until both operands leave the
 * caches. They have no use for rows of c that are shorter than a vector, unless they are dot products. */
static bool beats_blas(const pl_gemm *g, size_t element) {
    enum { VECTOR = 64, ONE_BLOCK = 224, LARGE = 1 << 27 };
    double macs = (double)g->m * (double)g->n * (double)g->k;
    size_t lanes = VECTOR / element;
    bool vectors = g->n >= lanes || (g->n == 1 && g->ldc == 1 && g->m >= lanes);
    bool dots = g->tb && !g->ta && g->k >= 4 * lanes;
    return (vectors || dots) && (g->m <= ONE_BLOCK || macs <= LARGE);
}

static const pl_gemm_engine *const engines[] = {
#ifdef PL_X86
    &pl_simd_gemm_avx512_f32,   &pl_simd_gemm_avx512_f64,   &pl_simd_gemm_avx2_f32, &pl_simd_gemm_avx2_f64,
#endif
    &pl_simd_gemm_baseline_f32, &pl_simd_gemm_baseline_f64,
};

const pl_gemm_engine *pl_gemm_engine_for(const pl_gemm *g, size_t element, pleat_path path) {
    bool automatic = PL_BLAS && path.engine == PLEAT_ENGINE_AUTO && path.isa == PLEAT_ISA_AUTO;
    if (path.engine == PLEAT_ENGINE_REFERENCE)
        return element == sizeof(float) ? &pl_gemm_reference_f32 : &pl_gemm_reference_f64;
    if (PL_BLAS && path.engine == PLEAT_ENGINE_IM2COL) return NULL;
    if (automatic && !beats_blas(g, element)) return NULL;
    for (size_t i = 0; i < sizeof engines / sizeof *engines; i++) {
        const pl_gemm_engine *e = engines[i];
        bool wanted = path.isa == e->isa ||
                      (path.isa == PLEAT_ISA_AUTO && !(automatic && e->isa == PLEAT_ISA_BASELINE));
        if (e->element == element && wanted && pl_isa_runs_here(e->isa)) return e;
    }
    if (PL_BLAS) return NULL;
    return element == sizeof(float) ? &pl_simd_gemm_baseline_f32 : &pl_simd_gemm_baseline_f64;
}

static size_t no_workspace(const pl_gemm *g) {
    (void)g;
    return 0;
}

#define BODY "kernels/gemm/reference.inc"
#include "kernels/both_types.inc"

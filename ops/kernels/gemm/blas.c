/* Matrix products by BLAS, and which are not; sums over nothing are defined here, because BLAS refuses leading dimensions of 0. */
#include "kernels/gemm/gemm.h"

#include "kernels/conv/engine.h"
#include "kernels/gemm/simd_gemm.h"
#include "pleat_config.h"

#include <cblas.h>
#include <limits.h>
#include <string.h>

#ifdef PL_OPENBLAS_THREADS
void openblas_set_num_threads(int threads);
#endif
#ifdef PL_BLIS_THREADS
void bli_thread_set_num_threads(ptrdiff_t threads); /* dim_t, an integer as wide as a pointer */
#endif

void pleat_blas_single_thread(void) {
#ifdef PL_OPENBLAS_THREADS
    openblas_set_num_threads(1);
#endif
#ifdef PL_BLIS_THREADS
    bli_thread_set_num_threads(1);
#endif
}

bool pl_gemm_fits(const pl_gemm *g) {
    return g->m <= INT_MAX && g->n <= INT_MAX && g->k <= INT_MAX && g->lda <= INT_MAX && g->ldb <= INT_MAX &&
           g->ldc <= INT_MAX;
}

/* ---- which products -------------------------------------------------------------------------------------- */

/* Products of our own win where BLAS's calls and copies cost as much as the product does, and hold their own until both operands leave
 * the caches. They have no use for rows of c that are shorter than a vector, unless they are dot products. */
static bool better_than_blas(const pl_gemm *g, size_t element) {
    enum { VECTOR = 64, ONE_BLOCK = 224, LARGE = 1 << 27 };
    double macs = (double)g->m * (double)g->n * (double)g->k;
    size_t lanes = VECTOR / element;
    bool vectors = g->n >= lanes || (g->n == 1 && g->ldc == 1 && g->m >= lanes);
    bool dots = g->tb && !g->ta && g->k >= 4 * lanes;
    return (vectors || dots) && (g->m <= ONE_BLOCK || macs <= LARGE);
}

const pl_products *pl_products_for(const pl_gemm *g, size_t element, pleat_conv_path path) {
    if (path == PLEAT_CONV_PLAIN || (path == PLEAT_CONV_AUTO && !better_than_blas(g, element))) return NULL;
#ifdef PL_X86
    bool widest = path == PLEAT_CONV_AUTO;
    if ((widest || path == PLEAT_CONV_AVX512) && pl_path_runs_here(PLEAT_CONV_AVX512))
        return &pl_products_avx512;
    if ((widest || path == PLEAT_CONV_AVX2) && pl_path_runs_here(PLEAT_CONV_AVX2)) return &pl_products_avx2;
#endif
    return path == PLEAT_CONV_PANELS ? &pl_products_any : NULL;
}

/* ---- BLAS ------------------------------------------------------------------------------------------------ */

/* Do the products that have no terms. */
static bool empty(const pl_gemm *g, size_t element, void *c) {
    if (g->m == 0 || g->n == 0) return true;
    if (g->k > 0) return false;
    if (!g->accumulate)
        for (size_t i = 0; i < g->m; i++) memset((char *)c + i * g->ldc * element, 0, g->n * element);
    return true;
}

/* Elements in a register of AVX-512. */
#define LANES(T) (64 / sizeof(T))

/* OpenBLAS has kernels for small products that do not pack their operands. For AVX-512 the one without transposition asks
 * malloc for room where the columns end with less than half a register, each time, and does not look whether it got any
 * (kernel/x86_64/sgemm_small_kernel_nn_skylakex.c and its twin for double). A training step must not depend on that. */
static bool openblas_would_malloc(const pl_gemm *g, size_t lanes) {
#ifdef PL_OPENBLAS_THREADS
    size_t rest = g->n % lanes;
    bool small = (double)g->m * (double)g->n * (double)g->k <= 1e6;
    return small && !g->ta && !g->tb && rest > 0 && rest <= lanes / 2 && g->k >= 2 * lanes;
#else
    (void)g, (void)lanes;
    return false;
#endif
}

#define T float
#define NAME(name) name##_f32
#define GEMM cblas_sgemm
#define GEMV cblas_sgemv
#include "kernels/gemm/blas.inc"
#undef T
#undef NAME
#undef GEMM
#undef GEMV

#define T double
#define NAME(name) name##_f64
#define GEMM cblas_dgemm
#define GEMV cblas_dgemv
#include "kernels/gemm/blas.inc"

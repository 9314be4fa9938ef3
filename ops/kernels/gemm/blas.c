/* The only file that calls BLAS. Products without terms are defined here, because BLAS refuses leading dimensions of 0. */
#include "kernels/gemm/gemm.h"
#include "kernels/pleat_kernels.h"

#include "pleat_config.h"

#include <cblas.h>
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

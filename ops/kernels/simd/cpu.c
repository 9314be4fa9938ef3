#include "kernels/simd/cpu.h"

#include "pleat_config.h"

bool pl_isa_runs_here(pleat_isa isa) {
#ifdef PL_AVX512
    if (isa == PLEAT_ISA_AVX512)
        return __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512vl") &&
               __builtin_cpu_supports("avx512bw") && __builtin_cpu_supports("avx512dq");
#endif
#ifdef PL_AVX2
    if (isa == PLEAT_ISA_AVX2) return __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma");
#endif
    return isa == PLEAT_ISA_AUTO || isa == PLEAT_ISA_BASELINE;
}

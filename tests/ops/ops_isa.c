/* The same bits from every instruction set that this processor has. */
#include <string.h>

#include "tensors.h"

#define MAP odd_map
#define EXPR x *x + sqrt(z) / 3 - x *z
#include "core/map2.inc"

TestSuite(isa, .init = tensors_begin, .fini = tensors_end);

enum { N = 1003 };

/* What the loop makes of x and z, of one element of either, and of each second one of both, against the loop that every processor
 * runs. */
static void expect_same_bits(const char *isa, pl_loop loop, pl_loop common, pleat_dtype type) {
    pleat_tensor *x = pleat_randn(ctx, type, PLEAT_SHAPE(N)),
                 *z = pleat_abs(pleat_randn(ctx, type, PLEAT_SHAPE(N)));
    static const ptrdiff_t steps[][3] = {{1, 1, 1}, {1, 1, 0}, {1, 0, 1}, {1, 0, 0}, {2, 2, 2}};
    for (size_t k = 0; k < sizeof steps / sizeof *steps; k++) {
        pleat_tensor *found = pleat_zeros_like(x), *expected = pleat_zeros_like(x);
        loop(N / 2, (void *[]){found->data, x->data, z->data}, steps[k], NULL);
        common(N / 2, (void *[]){expected->data, x->data, z->data}, steps[k], NULL);
        cr_assert(same(found, expected), "%s, steps %zu: %s", isa, k, difference());
    }
}

Test(isa, results_do_not_depend_on_it) {
    expect_same_bits("chosen", odd_map.f32, odd_map_f32_body, PLEAT_F32);
    expect_same_bits("chosen", odd_map.f64, odd_map_f64_body, PLEAT_F64);
#ifdef __x86_64__
    if (__builtin_cpu_supports("avx2")) {
        expect_same_bits("avx2", odd_map_f32_avx2, odd_map_f32_body, PLEAT_F32);
        expect_same_bits("avx2", odd_map_f64_avx2, odd_map_f64_body, PLEAT_F64);
    }
    if (__builtin_cpu_supports("avx512f")) {
        expect_same_bits("avx512f", odd_map_f32_avx512, odd_map_f32_body, PLEAT_F32);
        expect_same_bits("avx512f", odd_map_f64_avx512, odd_map_f64_body, PLEAT_F64);
    }
#endif
}

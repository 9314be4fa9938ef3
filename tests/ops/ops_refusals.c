/* What ops refuse because of a size alone, or of options that belong to another op. */
#define _POSIX_C_SOURCE 200809L /* setenv */

#include <stdint.h>
#include <stdlib.h>

#include "tensors.h"

TestSuite(refusals, .init = tensors_begin, .fini = tensors_end);

/* Tensors without elements have sizes that none with elements can have. */
Test(refusals, sizes_that_cannot_be_counted) {
    pleat_tensor *x = pleat_zeros(ctx, PLEAT_F32, PLEAT_SHAPE(0, SIZE_MAX / 32 + 1)), *many[32];
    for (size_t i = 0; i < 32; i++) many[i] = x;
    EXPECT_REFUSED(pleat_concat(32, many, 1), PLEAT_ERR_SHAPE, "concat", "axis 1", "more than a size_t");
}

Test(refusals, resizes) {
    pleat_tensor *x = counted(PLEAT_F32, PLEAT_SHAPE(1, 1, 3, 2)),
                 *row = counted(PLEAT_F32, PLEAT_SHAPE(1, 3, 2));
    EXPECT_REFUSED(pleat_resize_nearest(row, .size = {2, 2}), PLEAT_ERR_SHAPE, "resize_nearest", "[1,3,2]",
                   "rank 4");
    EXPECT_REFUSED(pleat_resize_bilinear(x, .size = {SIZE_MAX - 1, 2}), PLEAT_ERR_SHAPE, "resize_bilinear",
                   "overflow");
    EXPECT_REFUSED(pleat_resize_bicubic(x, .size = {2, SIZE_MAX / 2 - 1}), PLEAT_ERR_SHAPE, "resize_bicubic",
                   "overflow");
}

Test(refusals, options_of_other_norms) {
    pleat_tensor *x = counted(PLEAT_F32, PLEAT_SHAPE(2, 4, 3)), *c = counted(PLEAT_F32, PLEAT_SHAPE(4));
    EXPECT_REFUSED(pleat_group_norm(x, .groups = 2, .mean = c, .var = c), PLEAT_ERR_ARGUMENT, "group_norm",
                   "mean, var and axes");
    EXPECT_REFUSED(pleat_group_norm(x, .groups = 2, .axes = 1), PLEAT_ERR_ARGUMENT, "group_norm",
                   "mean, var and axes");
    EXPECT_REFUSED(pleat_layer_norm(x, .groups = 2), PLEAT_ERR_ARGUMENT, "layer_norm",
                   "mean, var and groups");
    EXPECT_REFUSED(pleat_layer_norm(x, .mean = c), PLEAT_ERR_ARGUMENT, "layer_norm", "mean, var and groups");
}

Test(refusals, a_path_that_is_none) {
    cr_assert_eq(setenv("PLEAT_ISA", "avx1024", 1), 0);
    pleat_ctx *other = pleat_ctx_new(.threads = 1);
    cr_assert_not_null(other);
    cr_expect_eq(pleat_error(other)->code, PLEAT_ERR_ARGUMENT);
    cr_expect_str_eq(pleat_error(other)->text,
                     "ctx_new: PLEAT_ISA is avx1024, not one of auto, baseline, avx2, avx512");
    pleat_ctx_free(other);
    cr_assert_eq(setenv("PLEAT_ENGINE", "winograd", 1), 0);
    other = pleat_ctx_new(.threads = 1);
    cr_assert_not_null(other);
    cr_expect_str_eq(pleat_error(other)->text,
                     "ctx_new: PLEAT_ENGINE is winograd, not one of auto, reference, im2col, "
                     "implicit_gemm, direct, columns");
    pleat_ctx_free(other);
}

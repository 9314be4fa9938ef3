/* What is refused, with which words: making tensors, reading them, element-wise and shape ops, sums, matmul. */
#include <math.h>
#include <string.h>

#include "tensors.h"

TestSuite(errors, .init = tensors_begin, .fini = tensors_end);

/* ---- making tensors ------------------------------------------------------------------------------------- */

Test(errors, shapes_that_no_tensor_has) {
    size_t nine[] = {1, 1, 1, 1, 1, 1, 1, 1, 1}, large = LARGE_SIDE;
    EXPECT_REFUSED(pleat_zeros(ctx, PLEAT_F32, 9, nine), PLEAT_ERR_SHAPE, "zeros", "rank 9", "at most 8");
    EXPECT_REFUSED(pleat_empty(ctx, PLEAT_F32, 2, NULL), PLEAT_ERR_ARGUMENT, "empty", "null pointer");
    EXPECT_REFUSED(pleat_full(ctx, (pleat_dtype)7, PLEAT_SHAPE(2), 1), PLEAT_ERR_DTYPE, "full", "type 7",
                   "PLEAT_F32");
    EXPECT_REFUSED(pleat_zeros(ctx, PLEAT_F32, PLEAT_SHAPE(large, large)), PLEAT_ERR_SHAPE, "zeros",
                   "[" LARGE_TEXT "," LARGE_TEXT "]", "product");
    EXPECT_REFUSED(pleat_zeros(ctx, PLEAT_F64, PLEAT_SHAPE(SIZE_MAX)), PLEAT_ERR_SHAPE, "zeros", "product");
    EXPECT_REFUSED(pleat_zeros(ctx, PLEAT_F64, PLEAT_SHAPE(SIZE_MAX / 8 + 1)), PLEAT_ERR_SHAPE, "zeros",
                   "product");
    EXPECT_REFUSED(pleat_zeros(ctx, PLEAT_F32, PLEAT_SHAPE(0, large, large)), PLEAT_ERR_SHAPE, "zeros",
                   "product");
    EXPECT_REFUSED(pleat_randn(ctx, PLEAT_F32, PLEAT_SHAPE(large, large)), PLEAT_ERR_SHAPE, "randn",
                   "product");
    EXPECT_REFUSED(pleat_uniform(ctx, PLEAT_F32, 9, nine, 0, 1), PLEAT_ERR_SHAPE, "uniform", "rank 9");
#if SIZE_MAX > 0xffffffff /* a legal shape that no machine has the memory for */
    EXPECT_REFUSED(pleat_zeros(ctx, PLEAT_F32, PLEAT_SHAPE((size_t)1 << 58)), PLEAT_ERR_MEMORY, "zeros",
                   "[288230376151711744]", "no memory");
#endif
}

Test(errors, data_that_is_not_there) {
    size_t before = pleat_memory(ctx).tensors;
    EXPECT_REFUSED(pleat_from(ctx, PLEAT_F32, PLEAT_SHAPE(2), NULL), PLEAT_ERR_ARGUMENT, "from",
                   "null pointer");
    EXPECT_REFUSED(pleat_from_f64(ctx, PLEAT_F32, PLEAT_SHAPE(2), NULL), PLEAT_ERR_ARGUMENT, "from_f64",
                   "null pointer");
    cr_assert_eq(pleat_memory(ctx).tensors, before, "what was refused leaves nothing behind");
    EXPECT_HOLDS(pleat_from(ctx, PLEAT_F64, PLEAT_SHAPE(0), NULL), PLEAT_SHAPE(0), NULL);
}

/* ---- reading tensors ------------------------------------------------------------------------------------ */

Test(errors, elements_that_cannot_be_pointed_at) {
    pleat_tensor *x = whole(PLEAT_F32, PLEAT_SHAPE(2, 3)),
                 *poison = pleat_zeros(ctx, (pleat_dtype)9, PLEAT_SCALAR);
    pleat_clear_error(ctx);
    cr_assert_null(pleat_f64(x));
    EXPECT_FAILED(pleat_error(ctx)->code, PLEAT_ERR_DTYPE, "f64", "f32");
    cr_assert_null(pleat_f32(pleat_permute(x, (size_t[]){1, 0})));
    EXPECT_FAILED(pleat_error(ctx)->code, PLEAT_ERR_ARGUMENT, "f32", "[3,2]", "pleat_contiguous");
    cr_assert_null(pleat_f32(poison));
    EXPECT_FAILED(pleat_error(ctx)->code, PLEAT_ERR_ARGUMENT, "f32", "poison");
    cr_assert_null(pleat_f32(NULL));
}

Test(errors, elements_to_read_only) {
    pleat_tensor *x = whole(PLEAT_F32, PLEAT_SHAPE(2, 3)), *y = whole(PLEAT_F64, PLEAT_SHAPE(2));
    cr_assert_eq(pleat_const_f32(x), pleat_f32(x));
    cr_assert_eq(pleat_const_f64(y), pleat_f64(y));
    cr_assert_null(pleat_const_f64(x));
    EXPECT_FAILED(pleat_error(ctx)->code, PLEAT_ERR_DTYPE, "const_f64", "f32");
    cr_assert_null(pleat_const_f32(pleat_permute(x, (size_t[]){1, 0})));
    EXPECT_FAILED(pleat_error(ctx)->code, PLEAT_ERR_ARGUMENT, "const_f32", "pleat_contiguous");
    cr_assert_null(pleat_const_f32(NULL));
}

Test(errors, elements_that_are_not_there) {
    pleat_tensor *x = whole(PLEAT_F32, PLEAT_SHAPE(2, 3));
    cr_assert(isnan(pleat_item(x)));
    EXPECT_FAILED(pleat_error(ctx)->code, PLEAT_ERR_SHAPE, "item", "[2,3]", "6 elements", "exactly one");
    cr_assert(isnan(pleat_item(pleat_zeros(ctx, PLEAT_F64, PLEAT_SHAPE(0)))));
    EXPECT_FAILED(pleat_error(ctx)->code, PLEAT_ERR_SHAPE, "item", "[0]", "0 elements");
    cr_assert(isnan(pleat_at(x, (size_t[]){1, 3})));
    EXPECT_FAILED(pleat_error(ctx)->code, PLEAT_ERR_SHAPE, "at", "[2,3]", "index 3 on axis 1");
    cr_assert_eq(pleat_size(x, 2), 0);
    cr_assert_eq(pleat_item(pleat_full(ctx, PLEAT_F32, PLEAT_SHAPE(1, 1, 1), 5)), 5);
}

Test(errors, assignments) {
    pleat_tensor *x = whole(PLEAT_F32, PLEAT_SHAPE(2, 3)), *poison = pleat_reshape(x, PLEAT_SHAPE(7));
    pleat_clear_error(ctx);
    EXPECT_FAILED(pleat_assign(x, poison), PLEAT_ERR_ARGUMENT, "assign", "poison");
    EXPECT_FAILED(pleat_assign(poison, x), PLEAT_ERR_ARGUMENT, "assign", "poison");
    EXPECT_FAILED(pleat_assign(x, NULL), PLEAT_ERR_ARGUMENT, "assign", "poison");
    EXPECT_FAILED(pleat_assign(x, whole(PLEAT_F32, PLEAT_SHAPE(3, 2))), PLEAT_ERR_SHAPE, "assign", "[2,3]",
                  "[3,2]", "the same");
    pleat_tensor *stretched = pleat_broadcast_to(x, PLEAT_SHAPE(2, 2, 3));
    EXPECT_FAILED(pleat_assign(stretched, pleat_zeros_like(stretched)), PLEAT_ERR_ARGUMENT, "assign",
                  "[2,2,3]", "broadcast");
    cr_assert_eq(pleat_assign(NULL, NULL), PLEAT_ERR_ARGUMENT);
}

/* ---- what every op checks ------------------------------------------------------------------------------- */

Test(errors, operands_that_no_op_takes) {
    pleat_tensor *x = whole(PLEAT_F32, PLEAT_SHAPE(2, 3)), *y = whole(PLEAT_F64, PLEAT_SHAPE(2, 3));
    pleat_ctx *other = pleat_ctx_new();
    pleat_tensor *z = pleat_zeros(other, PLEAT_F32, PLEAT_SHAPE(2, 3)), *list[] = {x, z, NULL, x, x};
    EXPECT_REFUSED(pleat_add(x, y), PLEAT_ERR_DTYPE, "add", "[2,3] and [2,3]", "tensor 0 is f32",
                   "tensor 1 is f64");
    EXPECT_REFUSED(pleat_matmul(y, x, .ta = true), PLEAT_ERR_DTYPE, "matmul", "tensor 0 is f64",
                   "tensor 1 is f32");
    EXPECT_REFUSED(pleat_mul(x, z), PLEAT_ERR_ARGUMENT, "mul", "[2,3] and [2,3]", "tensor 1",
                   "another context");
    EXPECT_REFUSED(pleat_sub(x, NULL), PLEAT_ERR_ARGUMENT, "sub", "tensor 1 is a null pointer");
    EXPECT_REFUSED(pleat_sub(NULL, x), PLEAT_ERR_ARGUMENT, "sub", "tensor 0 is a null pointer");
    EXPECT_REFUSED(pleat_concat(3, list, 0), PLEAT_ERR_ARGUMENT, "concat", "tensor 1", "another context");
    list[1] = x;
    EXPECT_REFUSED(pleat_concat(5, list, 0), PLEAT_ERR_ARGUMENT, "concat", "tensor 2 is a null pointer");
    list[2] = y;
    EXPECT_REFUSED(pleat_concat(5, list, 0), PLEAT_ERR_DTYPE, "concat", "[2,3], [2,3], [2,3], [2,3], ...",
                   "tensor 2 is f64");
    cr_assert_eq(pleat_error(other)->code, PLEAT_OK);
    pleat_ctx_free(other);
}

Test(errors, poison_of_another_context_is_reported_here) {
    pleat_tensor *x = whole(PLEAT_F32, PLEAT_SHAPE(2));
    pleat_ctx *other = pleat_ctx_new();
    pleat_tensor *foreign = pleat_zeros(other, (pleat_dtype)5, PLEAT_SHAPE(2)), *nowhere = pleat_exp(NULL);
    cr_assert(pleat_is_poison(foreign) && pleat_is_poison(nowhere));
    EXPECT_REFUSED(pleat_add(x, foreign), PLEAT_ERR_ARGUMENT, "add", "tensor 1", "poison", "another context");
    EXPECT_REFUSED(pleat_add(nowhere, x), PLEAT_ERR_ARGUMENT, "add", "tensor 0", "poison", "another context");
    pleat_ctx_free(other);
}

/* ---- shapes ---------------------------------------------------------------------------------------------- */

Test(errors, element_wise_ops) {
    pleat_tensor *x = whole(PLEAT_F32, PLEAT_SHAPE(2, 3));
    EXPECT_REFUSED(pleat_add(x, whole(PLEAT_F32, PLEAT_SHAPE(2))), PLEAT_ERR_SHAPE, "add", "[2,3] and [2]",
                   "sizes 3 and 2 on axis 1 from the end", "one of them 1");
    EXPECT_REFUSED(pleat_div(whole(PLEAT_F32, PLEAT_SHAPE(4, 1, 5)), whole(PLEAT_F32, PLEAT_SHAPE(3, 2, 1))),
                   PLEAT_ERR_SHAPE, "div", "[4,1,5] and [3,2,1]", "sizes 4 and 3 on axis 3");
    EXPECT_REFUSED(pleat_mul(x, pleat_zeros(ctx, PLEAT_F32, PLEAT_SHAPE(0, 3))), PLEAT_ERR_SHAPE, "mul",
                   "[0,3]");
    EXPECT_REFUSED(pleat_clamp(x, 2, 1), PLEAT_ERR_ARGUMENT, "clamp", "2..1", "low must be <= high");
    EXPECT_REFUSED(pleat_clamp(x, NAN, 1), PLEAT_ERR_ARGUMENT, "clamp", "nan..1");
    pleat_tensor *tall = pleat_broadcast_to(whole(PLEAT_F32, PLEAT_SCALAR), PLEAT_SHAPE(LARGE_SIDE, 1));
    pleat_tensor *wide = pleat_broadcast_to(whole(PLEAT_F32, PLEAT_SCALAR), PLEAT_SHAPE(1, LARGE_SIDE));
    EXPECT_REFUSED(pleat_add(tall, wide), PLEAT_ERR_SHAPE, "add", "[" LARGE_TEXT "," LARGE_TEXT "]",
                   "product");
}

Test(errors, sums) {
    pleat_tensor *x = whole(PLEAT_F32, PLEAT_SHAPE(2, 3));
    size_t nine[] = {1, 1, 1, 1, 1, 1, 1, 2, 3}, large = LARGE_SIDE;
    EXPECT_REFUSED(pleat_sum(x, PLEAT_AXES(2)), PLEAT_ERR_ARGUMENT, "sum", "[2,3]", "beyond the rank 2");
    EXPECT_REFUSED(pleat_mean(x, PLEAT_AXES(0, 7)), PLEAT_ERR_ARGUMENT, "mean", "[2,3]", "beyond the rank 2");
    EXPECT_REFUSED(pleat_sum(pleat_sum(x), PLEAT_AXES(0)), PLEAT_ERR_ARGUMENT, "sum", "[]",
                   "beyond the rank 0");
    EXPECT_REFUSED(pleat_broadcast_to(x, PLEAT_SHAPE(3, 2)), PLEAT_ERR_SHAPE, "broadcast_to", "[2,3]",
                   "[3,2]", "equal or 1");
    EXPECT_REFUSED(pleat_broadcast_to(x, PLEAT_SHAPE(3)), PLEAT_ERR_SHAPE, "broadcast_to", "[2,3]", "[3]");
    EXPECT_REFUSED(pleat_broadcast_to(x, 9, nine), PLEAT_ERR_SHAPE, "broadcast_to", "rank 9", "at most 8");
    EXPECT_REFUSED(pleat_broadcast_to(x, PLEAT_SHAPE(large, large, 2, 3)), PLEAT_ERR_SHAPE, "broadcast_to",
                   "[" LARGE_TEXT "," LARGE_TEXT ",2,3]", "product");
    EXPECT_REFUSED(pleat_sum_to(x, PLEAT_SHAPE(2)), PLEAT_ERR_SHAPE, "sum_to", "[2,3]", "[2]", "broadcast");
    EXPECT_REFUSED(pleat_sum_to(x, PLEAT_SHAPE(1, 2, 3)), PLEAT_ERR_SHAPE, "sum_to", "[2,3]", "[1,2,3]");
    EXPECT_REFUSED(pleat_sum_to(pleat_sum(x, PLEAT_AXES(1), .keep = true), PLEAT_SHAPE(2, 3)),
                   PLEAT_ERR_SHAPE, "sum_to", "[2,1]", "[2,3]");
    EXPECT_REFUSED(pleat_sum_to(x, 9, nine), PLEAT_ERR_SHAPE, "sum_to", "rank 9");
}

Test(errors, matmul) {
    pleat_tensor *x = whole(PLEAT_F32, PLEAT_SHAPE(2, 3)), *line = whole(PLEAT_F32, PLEAT_SHAPE(3));
    EXPECT_REFUSED(pleat_matmul(x, line), PLEAT_ERR_SHAPE, "matmul", "[2,3] and [3]", "rank 2 or more");
    EXPECT_REFUSED(pleat_matmul(line, x), PLEAT_ERR_SHAPE, "matmul", "[3] and [2,3]", "rank 2 or more");
    EXPECT_REFUSED(pleat_matmul(x, x), PLEAT_ERR_SHAPE, "matmul", "[2,3] and [2,3]", "inner sizes 3 and 2",
                   "equal");
    EXPECT_REFUSED(pleat_matmul(x, x, .ta = true, .tb = true), PLEAT_ERR_SHAPE, "matmul",
                   "inner sizes 2 and 3", "transposed");
    EXPECT_REFUSED(
        pleat_matmul(whole(PLEAT_F32, PLEAT_SHAPE(4, 2, 3)), whole(PLEAT_F32, PLEAT_SHAPE(5, 3, 2))),
        PLEAT_ERR_SHAPE, "matmul", "[4,2,3] and [5,3,2]", "leading sizes 4 and 5");
    pleat_tensor *long_row = pleat_broadcast_to(whole(PLEAT_F32, PLEAT_SHAPE(1, 1)),
                                                PLEAT_SHAPE((size_t)1 << BY_WIDTH(32, 16), 1));
    EXPECT_REFUSED(pleat_matmul(pleat_slice(long_row, (size_t[]){0, 0}, (size_t[]){0, 1}, NULL), x),
                   PLEAT_ERR_SHAPE, "matmul", "inner sizes 1 and 2");
}

Test(errors, views_and_copies) {
    pleat_tensor *x = whole(PLEAT_F32, PLEAT_SHAPE(2, 3));
    size_t nine[] = {1, 1, 1, 1, 1, 1, 1, 2, 3}, zero[] = {0, 0};
    EXPECT_REFUSED(pleat_reshape(x, PLEAT_SHAPE(4)), PLEAT_ERR_SHAPE, "reshape", "[2,3]", "6 elements",
                   "[4]");
    EXPECT_REFUSED(pleat_reshape(x, PLEAT_SHAPE(PLEAT_REST, 4)), PLEAT_ERR_SHAPE, "reshape", "[2,3]",
                   "6 elements", "[rest,4]");
    EXPECT_REFUSED(pleat_reshape(x, PLEAT_SHAPE(PLEAT_REST, PLEAT_REST)), PLEAT_ERR_SHAPE, "reshape",
                   "only one");
    EXPECT_REFUSED(pleat_reshape(x, PLEAT_SHAPE(SIZE_MAX / 2 + 1, 2, 6)), PLEAT_ERR_SHAPE, "reshape",
                   "[2,3]");
    EXPECT_REFUSED(pleat_reshape(x, PLEAT_SHAPE(SIZE_MAX / 2 + 4, 2)), PLEAT_ERR_SHAPE, "reshape",
                   "[2,3]"); /* 6, modulo SIZE_MAX + 1 */
    EXPECT_REFUSED(pleat_reshape(x, 9, nine), PLEAT_ERR_SHAPE, "reshape", "[2,3]", "rank 9");
    EXPECT_REFUSED(pleat_permute(x, (size_t[]){1, 1}), PLEAT_ERR_ARGUMENT, "permute", "[2,3]",
                   "axis 1 at place 1", "once");
    EXPECT_REFUSED(pleat_permute(x, (size_t[]){0, 2}), PLEAT_ERR_ARGUMENT, "permute", "[2,3]",
                   "axis 2 at place 1");
    EXPECT_REFUSED(pleat_flip(x, PLEAT_AXES(2)), PLEAT_ERR_ARGUMENT, "flip", "[2,3]", "beyond the rank 2");
    EXPECT_REFUSED(pleat_slice(x, zero, (size_t[]){2, 4}, NULL), PLEAT_ERR_SHAPE, "slice", "[2,3]",
                   "4 elements from 0 on by 1 leave axis 1", "size is 3");
    EXPECT_REFUSED(pleat_slice(x, (size_t[]){0, 1}, (size_t[]){2, 2}, (size_t[]){1, 2}), PLEAT_ERR_SHAPE,
                   "slice", "axis 1");
    EXPECT_REFUSED(pleat_slice(x, (size_t[]){2, 0}, (size_t[]){1, 3}, NULL), PLEAT_ERR_SHAPE, "slice",
                   "axis 0");
    EXPECT_REFUSED(pleat_slice(x, (size_t[]){3, 0}, (size_t[]){PLEAT_REST, 3}, NULL), PLEAT_ERR_SHAPE,
                   "slice", "0 elements from 3 on");
    EXPECT_REFUSED(pleat_slice(x, (size_t[]){3, 0}, (size_t[]){0, 3}, NULL), PLEAT_ERR_SHAPE, "slice",
                   "axis 0");
    EXPECT_REFUSED(pleat_slice(x, zero, (size_t[]){SIZE_MAX - 1, 1}, (size_t[]){SIZE_MAX, 1}),
                   PLEAT_ERR_SHAPE, "slice", "axis 0");
    EXPECT_REFUSED(pleat_slice(x, zero, (size_t[]){1, 1}, (size_t[]){1, 0}), PLEAT_ERR_ARGUMENT, "slice",
                   "step on axis 1");
    EXPECT_REFUSED(pleat_pad(x, (size_t[]){2, 3}, (size_t[]){0, 1}, NULL), PLEAT_ERR_SHAPE, "pad", "[2,3]",
                   "3 elements from 1 on by 1 leave axis 1", "size is 3");
    EXPECT_REFUSED(pleat_pad(x, (size_t[]){2, 9}, zero, (size_t[]){2, 2}), PLEAT_ERR_SHAPE, "pad", "axis 0");
    EXPECT_REFUSED(pleat_pad(x, (size_t[]){2, 3}, zero, (size_t[]){0, 1}), PLEAT_ERR_ARGUMENT, "pad",
                   "step on axis 0");
    EXPECT_REFUSED(pleat_pad(x, (size_t[]){LARGE_SIDE, LARGE_SIDE}, zero, NULL), PLEAT_ERR_SHAPE, "pad",
                   "product");
}

Test(errors, concat) {
    pleat_tensor *x = whole(PLEAT_F32, PLEAT_SHAPE(2, 3)), *y = whole(PLEAT_F32, PLEAT_SHAPE(2, 4));
    pleat_tensor *list[] = {x, x, y}, *ranks[] = {x, whole(PLEAT_F32, PLEAT_SHAPE(2))};
    EXPECT_REFUSED(pleat_concat(3, list, 0), PLEAT_ERR_SHAPE, "concat", "[2,3], [2,3] and [2,4]",
                   "tensors 0 and 2", "axis 0");
    EXPECT_REFUSED(pleat_concat(3, list, 2), PLEAT_ERR_ARGUMENT, "concat", "axis 2");
    EXPECT_REFUSED(pleat_concat(2, ranks, 0), PLEAT_ERR_SHAPE, "concat", "[2,3] and [2]", "rank");
    pleat_tensor *taller[] = {x, whole(PLEAT_F32, PLEAT_SHAPE(3, 3))};
    EXPECT_REFUSED(pleat_concat(2, taller, 1), PLEAT_ERR_SHAPE, "concat", "[2,3] and [3,3]", "axis 1");
    pleat_tensor *scalar = whole(PLEAT_F32, PLEAT_SCALAR);
    EXPECT_REFUSED(pleat_concat(1, &scalar, 0), PLEAT_ERR_ARGUMENT, "concat", "[]", "axis 0");
    pleat_tensor *half =
        pleat_broadcast_to(pleat_zeros(ctx, PLEAT_F32, PLEAT_SHAPE(1)), PLEAT_SHAPE(SIZE_MAX / 32 + 1));
    pleat_tensor *halves[] = {half, half};
    EXPECT_REFUSED(pleat_concat(2, halves, 0), PLEAT_ERR_SHAPE, "concat", "product");
    cr_assert(pleat_is_poison(pleat_concat(0, NULL, 0)));
}

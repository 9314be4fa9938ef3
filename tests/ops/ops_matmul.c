/* matmul against a naive loop, exactly on whole numbers: all four flags, batches, views, empty sides. */
#define _POSIX_C_SOURCE 200809L

#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "tensors.h"

TestSuite(matmul, .init = tensors_begin, .fini = tensors_end);

/* One element of the operand of a product, whose matrix is stored transposed if `flag` is set. */
static double entry(const pleat_tensor *t, bool flag, size_t rank, const size_t *batch, size_t i, size_t j) {
    size_t index[PLEAT_MAX_RANK];
    memcpy(index, batch, sizeof index);
    index[rank - 2] = flag ? j : i;
    index[rank - 1] = flag ? i : j;
    size_t at[PLEAT_MAX_RANK], missing = rank - pleat_rank(t);
    for (size_t k = 0; k < pleat_rank(t); k++) {
        bool leading = k + 2 < pleat_rank(t);
        at[k] = leading && pleat_size(t, k) == 1 ? 0 : index[k + missing];
    }
    return pleat_at(t, at);
}

static pleat_tensor *naive(pleat_tensor *a, pleat_tensor *b, bool ta, bool tb) {
    size_t rank = pleat_rank(a) > pleat_rank(b) ? pleat_rank(a) : pleat_rank(b), shape[PLEAT_MAX_RANK];
    for (size_t k = 0; k + 2 < rank; k++) {
        size_t m = k + pleat_rank(a) < rank ? 1 : pleat_size(a, k + pleat_rank(a) - rank);
        size_t n = k + pleat_rank(b) < rank ? 1 : pleat_size(b, k + pleat_rank(b) - rank);
        shape[k] = m == 1 ? n : m;
    }
    shape[rank - 2] = pleat_size(a, pleat_rank(a) - (ta ? 1 : 2));
    shape[rank - 1] = pleat_size(b, pleat_rank(b) - (tb ? 2 : 1));
    size_t inner = pleat_size(a, pleat_rank(a) - (ta ? 2 : 1)), index[PLEAT_MAX_RANK] = {0};
    pleat_tensor *c = pleat_zeros(ctx, PLEAT_F64, rank, shape);
    for (size_t i = 0; i < pleat_numel(c); i++) {
        for (size_t k = 0; k < inner; k++) {
            pleat_f64(c)[i] +=
                entry(a, ta, rank, index, index[rank - 2], k) * entry(b, tb, rank, index, k, index[rank - 1]);
        }
        next_index(rank, shape, index);
    }
    return as_type(c, pleat_dtype_of(a));
}

static void expect_product(pleat_tensor *a, pleat_tensor *b) {
    EXPECT_SAME(pleat_matmul(a, b), naive(a, b, false, false));
}

static pleat_tensor *transposed(pleat_tensor *t) {
    size_t order[PLEAT_MAX_RANK], rank = pleat_rank(t);
    for (size_t k = 0; k < rank; k++) order[k] = k;
    order[rank - 2] = rank - 1;
    order[rank - 1] = rank - 2;
    return pleat_permute(t, order);
}

Test(matmul, four_flags) {
    static const size_t sizes[][3] = {{1, 1, 1}, {1, 5, 1}, {2, 3, 4},   {7, 1, 5},
                                      {5, 4, 1}, {1, 6, 3}, {17, 33, 9}, {3, 1, 70}};
    for (pleat_dtype type = PLEAT_F32; type <= PLEAT_F64; type++) {
        for (size_t s = 0; s < sizeof sizes / sizeof *sizes; s++) {
            size_t m = sizes[s][0], k = sizes[s][1], n = sizes[s][2];
            for (int flags = 0; flags < 4; flags++) {
                bool ta = flags & 1, tb = flags & 2;
                pleat_tensor *a = whole(type, 2, ta ? (size_t[]){k, m} : (size_t[]){m, k});
                pleat_tensor *b = whole(type, 2, tb ? (size_t[]){n, k} : (size_t[]){k, n});
                pleat_tensor *c = pleat_matmul(a, b, .ta = ta, .tb = tb);
                EXPECT_SAME(c, naive(a, b, ta, tb));
                EXPECT_SAME(c, pleat_matmul(transposed(a), b, .ta = !ta, .tb = tb));
                EXPECT_SAME(c, pleat_matmul(a, transposed(b), .ta = ta, .tb = !tb));
                EXPECT_SAME(c, pleat_matmul(gappy(a), b, .ta = ta, .tb = tb));
                EXPECT_SAME(c, pleat_matmul(a, gappy(b), .ta = ta, .tb = tb));
                EXPECT_SAME(pleat_contiguous(transposed(c)), pleat_matmul(b, a, .ta = !tb, .tb = !ta));
            }
        }
    }
}

Test(matmul, batches_broadcast) {
    static const struct {
        size_t rank_a, rank_b, a[PLEAT_MAX_RANK], b[PLEAT_MAX_RANK];
    } cases[] = {
        {3, 3, {4, 2, 3}, {4, 3, 5}},
        {3, 2, {4, 2, 3}, {3, 5}},
        {2, 3, {2, 3}, {4, 3, 5}},
        {3, 3, {1, 2, 3}, {4, 3, 5}},
        {4, 3, {2, 1, 2, 3}, {4, 3, 2}},
        {4, 4, {2, 1, 2, 3}, {1, 3, 3, 2}},
        {4, 2, {2, 3, 1, 4}, {4, 1}},
        {5, 4, {2, 1, 3, 1, 2}, {2, 1, 2, 2}},
        {8, 3, {1, 2, 1, 2, 1, 2, 2, 3}, {2, 3, 2}},
    };
    for (pleat_dtype type = PLEAT_F32; type <= PLEAT_F64; type++) {
        for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
            pleat_tensor *a = whole(type, cases[i].rank_a, cases[i].a);
            pleat_tensor *b = whole(type, cases[i].rank_b, cases[i].b);
            expect_product(a, b);
            expect_product(gappy(a), b);
            expect_product(pleat_flip(a, PLEAT_AXES(0)), gappy(b));
            EXPECT_SAME(pleat_matmul(transposed(a), transposed(b), .ta = true, .tb = true),
                        pleat_matmul(a, b));
        }
    }
}

Test(matmul, views_as_operands) {
    for (pleat_dtype type = PLEAT_F32; type <= PLEAT_F64; type++) {
        pleat_tensor *big = whole(type, PLEAT_SHAPE(6, 9, 8)), *b = whole(type, PLEAT_SHAPE(4, 5));
        size_t start[] = {1, 2, 3}, size[] = {3, 5, 4};
        pleat_tensor *inner = pleat_slice(big, start, size, NULL); /* rows with gaps */
        expect_product(inner, b);
        expect_product(pleat_slice(big, start, size, (size_t[]){2, 1, 1}), b);
        expect_product(pleat_slice(big, start, (size_t[]){3, 3, 4}, (size_t[]){1, 3, 1}), b);
        expect_product(pleat_slice(big, (size_t[]){0, 0, 0}, (size_t[]){6, 9, 4}, (size_t[]){1, 1, 2}), b);
        expect_product(pleat_permute(inner, (size_t[]){1, 0, 2}), b);
        expect_product(pleat_permute(big, (size_t[]){2, 0, 1}), whole(type, PLEAT_SHAPE(9, 2)));
        expect_product(pleat_flip(inner, PLEAT_AXES(1)), b);
        expect_product(pleat_flip(inner, PLEAT_AXES(2)), b);
        expect_product(pleat_broadcast_to(whole(type, PLEAT_SHAPE(1, 4)), PLEAT_SHAPE(3, 4)), b);
        expect_product(pleat_broadcast_to(whole(type, PLEAT_SHAPE(3, 1)), PLEAT_SHAPE(3, 4)), b);
        expect_product(pleat_broadcast_to(whole(type, PLEAT_SCALAR), PLEAT_SHAPE(3, 4)), b);
        pleat_tensor *column = pleat_slice(big, start, (size_t[]){3, 5, 1}, NULL);
        expect_product(column, whole(type, PLEAT_SHAPE(1, 7)));
        pleat_tensor *row = pleat_slice(big, start, (size_t[]){3, 1, 4}, (size_t[]){1, 1, 1});
        expect_product(row, b);
        expect_product(inner, transposed(whole(type, PLEAT_SHAPE(5, 4))));
    }
}

Test(matmul, a_transposed_view_costs_no_copy) {
    pleat_tensor *a = whole(PLEAT_F64, PLEAT_SHAPE(256, 300)), *b = whole(PLEAT_F64, PLEAT_SHAPE(256, 4));
    size_t operand = pleat_numel(a) * sizeof(double);
    pleat_tensor *view = transposed(a),
                 *block = pleat_slice(a, (size_t[]){0, 50}, (size_t[]){256, 200}, NULL);
    size_t before = pleat_memory(ctx).peak;
    cr_assert_eq(before, pleat_memory(ctx).in_use, "the peak is now");
    pleat_matmul(view, b);
    pleat_matmul(b, a, .ta = true);
    pleat_matmul(transposed(b), transposed(view));
    pleat_matmul(transposed(block), b);
    pleat_matmul(block, pleat_slice(b, (size_t[]){0, 0}, (size_t[]){200, 4}, NULL));
    cr_assert_lt(pleat_memory(ctx).peak - before, operand / 4);
    pleat_matmul(pleat_flip(view, PLEAT_AXES(0)), b);
    cr_assert_gt(pleat_memory(ctx).peak - before, operand, "this one needs a copy");
}

Test(matmul, empty_sides) {
    for (pleat_dtype type = PLEAT_F32; type <= PLEAT_F64; type++) {
        for (int flags = 0; flags < 4; flags++) {
            bool ta = flags & 1, tb = flags & 2;
            static const size_t sizes[][3] = {{2, 0, 3}, {0, 2, 3}, {2, 3, 0},
                                              {0, 0, 0}, {0, 0, 2}, {1, 0, 1}};
            for (size_t s = 0; s < sizeof sizes / sizeof *sizes; s++) {
                size_t m = sizes[s][0], k = sizes[s][1], n = sizes[s][2];
                pleat_tensor *a = whole(type, 2, ta ? (size_t[]){k, m} : (size_t[]){m, k});
                pleat_tensor *b = whole(type, 2, tb ? (size_t[]){n, k} : (size_t[]){k, n});
                pleat_tensor *zeros = pleat_zeros(ctx, type, PLEAT_SHAPE(m, n));
                EXPECT_SAME(pleat_matmul(a, b, .ta = ta, .tb = tb), zeros);
            }
        }
        pleat_tensor *none = pleat_zeros(ctx, type, PLEAT_SHAPE(0, 2, 3)),
                     *b = whole(type, PLEAT_SHAPE(3, 4));
        EXPECT_SAME(pleat_matmul(none, b), pleat_zeros(ctx, type, PLEAT_SHAPE(0, 2, 4)));
        EXPECT_SAME(pleat_matmul(pleat_zeros(ctx, type, PLEAT_SHAPE(5, 2, 0)),
                                 pleat_zeros(ctx, type, PLEAT_SHAPE(0, 4))),
                    pleat_zeros(ctx, type, PLEAT_SHAPE(5, 2, 4)));
    }
}

static void products_over_nothing(void) {
    for (pleat_dtype type = PLEAT_F32; type <= PLEAT_F64; type++)
        for (size_t i = 0; i < 16; i++) {
            size_t m = i & 1 ? 1 : 2, n = i & 2 ? 1 : 3;
            bool ta = i & 4, tb = i & 8;
            pleat_tensor *a = pleat_zeros(ctx, type, 2, ta ? (size_t[]){0, m} : (size_t[]){m, 0}),
                         *b = pleat_zeros(ctx, type, 2, tb ? (size_t[]){n, 0} : (size_t[]){0, n});
            pleat_matmul(a, b, .ta = ta, .tb = tb);
        }
}

/* BLAS prints a complaint of leading dimensions of 0, and one that is not OpenBLAS ends the program. */
Test(matmul, blas_is_not_asked_for_sums_over_nothing) {
    FILE *said = tmpfile();
    int before[] = {dup(1), dup(2)};
    cr_assert_not_null(said);
    fflush(stdout);
    for (int i = 0; i < 2; i++) cr_assert(before[i] >= 0 && dup2(fileno(said), i + 1) >= 0);
    products_over_nothing();
    fflush(stdout);
    for (int i = 0; i < 2; i++) dup2(before[i], i + 1), close(before[i]);
    cr_assert_eq(lseek(fileno(said), 0, SEEK_END), 0, "it was");
    fclose(said);
}

Test(matmul, large_products_are_cut_without_seams) {
    for (pleat_dtype type = PLEAT_F32; type <= PLEAT_F64; type++) {
        pleat_tensor *tall = whole(type, PLEAT_SHAPE(700, 60)), *wide = whole(type, PLEAT_SHAPE(60, 90));
        expect_product(tall, wide);
        expect_product(transposed(wide), transposed(tall));
        expect_product(gappy(tall), gappy(wide));
        pleat_tensor *stack = whole(type, PLEAT_SHAPE(2, 130, 200));
        expect_product(stack, whole(type, PLEAT_SHAPE(200, 130)));
    }
}

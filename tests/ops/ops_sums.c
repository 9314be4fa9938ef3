/* sum, mean, sum_to and broadcast_to: every set of axes against a naive sum, views, empty tensors, precision. */
#include <math.h>
#include <string.h>

#include "tensors.h"

TestSuite(sums, .init = tensors_begin, .fini = tensors_end);

/* ---- sum and mean ------------------------------------------------------------------------------------ */

static pleat_tensor *naive_sum(pleat_tensor *x, unsigned axes, bool keep, bool mean) {
    size_t full[PLEAT_MAX_RANK], rank = pleat_rank(x), shape[PLEAT_MAX_RANK], kept = 0;
    double count = 1;
    for (size_t k = 0; k < rank; k++) {
        bool summed = axes >> k & 1u;
        full[k] = summed ? 1 : pleat_size(x, k);
        if (summed) count *= (double)pleat_size(x, k);
        if (!summed || keep) shape[kept++] = full[k];
    }
    size_t index[PLEAT_MAX_RANK] = {0};
    pleat_tensor *y = pleat_zeros(ctx, PLEAT_F64, kept, shape);
    for (size_t i = 0; i < pleat_numel(x); i++) {
        size_t at = 0;
        for (size_t k = 0; k < rank; k++) at = at * full[k] + (axes >> k & 1u ? 0 : index[k]);
        pleat_f64(y)[at] += pleat_at(x, index);
        next_index(rank, pleat_shape(x), index);
    }
    for (size_t i = 0; mean && i < pleat_numel(y); i++) pleat_f64(y)[i] /= count;
    return as_type(y, pleat_dtype_of(x));
}

/* All sets of axes but the empty one, which stands for all of them. */
static void expect_sums(pleat_tensor *x) {
    for (unsigned axes = 1; axes < 1u << pleat_rank(x); axes++) {
        for (int keep = 0; keep < 2; keep++) {
            pleat_scope s = pleat_begin(ctx);
            EXPECT_SAME(pleat_sum(x, axes, keep), naive_sum(x, axes, keep, false));
            EXPECT_SAME(pleat_mean(x, axes, keep), naive_sum(x, axes, keep, true));
            pleat_end(s);
        }
    }
    unsigned all = (1u << pleat_rank(x)) - 1;
    EXPECT_SAME(pleat_sum(x), naive_sum(x, all, false, false));
    EXPECT_SAME(pleat_sum(x, .keep = true), naive_sum(x, all, true, false));
}

Test(sums, every_set_of_axes) {
    for (pleat_dtype type = PLEAT_F32; type <= PLEAT_F64; type++) {
        expect_sums(whole(type, PLEAT_SCALAR));
        expect_sums(whole(type, PLEAT_SHAPE(1)));
        expect_sums(whole(type, PLEAT_SHAPE(7)));
        expect_sums(whole(type, PLEAT_SHAPE(3, 5)));
        expect_sums(whole(type, PLEAT_SHAPE(2, 3, 4, 5)));
        expect_sums(whole(type, PLEAT_SHAPE(3, 1, 2, 1)));
        expect_sums(whole(type, PLEAT_SHAPE(2, 1, 2, 3, 1, 2, 2, 3)));
    }
}

/* A product with 1/n would be a last bit off, and what asks for the sign of a variance would get one. */
Test(sums, equal_numbers_have_their_own_mean) {
    for (size_t n = 1; n <= 100; n++) {
        pleat_tensor *x = pleat_full(ctx, PLEAT_F64, 1, &n, -3);
        EXPECT_SAME(pleat_mean(x), pleat_from_f64(ctx, PLEAT_F64, 0, NULL, (double[]){-3}));
        EXPECT_SAME(pleat_var(x), pleat_zeros(ctx, PLEAT_F64, 0, NULL));
    }
}

Test(sums, of_views) {
    for (pleat_dtype type = PLEAT_F32; type <= PLEAT_F64; type++) {
        pleat_tensor *x = whole(type, PLEAT_SHAPE(3, 4, 5));
        expect_sums(pleat_permute(x, (size_t[]){2, 0, 1}));
        expect_sums(pleat_permute(x, (size_t[]){1, 2, 0}));
        expect_sums(pleat_flip(x, PLEAT_AXES(0, 2)));
        expect_sums(gappy(x));
        expect_sums(pleat_slice(x, (size_t[]){0, 1, 2}, (size_t[]){2, 2, 2}, (size_t[]){2, 2, 2}));
        expect_sums(pleat_broadcast_to(x, PLEAT_SHAPE(2, 3, 4, 5)));
        expect_sums(pleat_broadcast_to(whole(type, PLEAT_SHAPE(3, 1, 5)), PLEAT_SHAPE(3, 4, 5)));
        expect_sums(pleat_broadcast_to(whole(type, PLEAT_SHAPE(4, 1)), PLEAT_SHAPE(3, 4, 5)));
    }
}

/* Not the order of the additions either. The axes are such as cannot be merged, and the first is the densest or the last. */
Test(sums, an_axis_of_size_one_changes_no_bit) {
    static const size_t orders[][4] = {{0, 1, 2, 3}, {2, 0, 1, 3}};
    for (size_t i = 0; i < 2; i++)
        for (unsigned axes = 1; axes < 8; axes++) {
            pleat_tensor *x = pleat_randn(ctx, PLEAT_F64, PLEAT_SHAPE(7, 9, 5));
            pleat_tensor *one = pleat_reshape(x, PLEAT_SHAPE(7, 9, 5, 1));
            size_t start[] = {0, 1, 0, 0}, size[] = {7, 6, 5, 1};
            x = pleat_permute(pleat_slice(x, start, size, NULL), orders[i]);
            one = pleat_permute(pleat_slice(one, start, size, NULL), orders[i]);
            pleat_tensor *sum = pleat_sum(x, axes);
            EXPECT_SAME(pleat_reshape(pleat_sum(one, axes), pleat_rank(sum), pleat_shape(sum)), sum);
        }
}

Test(sums, longer_than_a_block) {
    for (pleat_dtype type = PLEAT_F32; type <= PLEAT_F64; type++) {
        expect_sums(whole(type, PLEAT_SHAPE(3, 1000)));
        expect_sums(whole(type, PLEAT_SHAPE(1000, 3)));
        expect_sums(pleat_permute(whole(type, PLEAT_SHAPE(600, 5)), (size_t[]){1, 0}));
        expect_sums(whole(type, PLEAT_SHAPE(4, 257, 3)));
    }
}

Test(sums, over_nothing) {
    for (pleat_dtype type = PLEAT_F32; type <= PLEAT_F64; type++) {
        pleat_tensor *x = pleat_zeros(ctx, type, PLEAT_SHAPE(2, 0, 3));
        EXPECT_HOLDS(pleat_sum(x), PLEAT_SCALAR, VALUES(0));
        EXPECT_HOLDS(pleat_sum(x, PLEAT_AXES(1)), PLEAT_SHAPE(2, 3), VALUES(0, 0, 0, 0, 0, 0));
        EXPECT_HOLDS(pleat_sum(x, PLEAT_AXES(0)), PLEAT_SHAPE(0, 3), NULL);
        EXPECT_HOLDS(pleat_sum(x, PLEAT_AXES(1, 2), .keep = true), PLEAT_SHAPE(2, 1, 1), VALUES(0, 0));
        EXPECT_HOLDS(pleat_mean(x, PLEAT_AXES(2)), PLEAT_SHAPE(2, 0), NULL);
        EXPECT_REFUSED(pleat_mean(x), PLEAT_ERR_SHAPE, "mean", "[2,0,3]", "axis 1 is empty", "no mean");
        EXPECT_REFUSED(pleat_mean(x, PLEAT_AXES(1)), PLEAT_ERR_SHAPE, "mean", "[2,0,3]", "axis 1");
    }
}

Test(sums, of_f32_accumulate_in_double) {
    pleat_tensor *x = pleat_full(ctx, PLEAT_F32, PLEAT_SHAPE(3, 100001), 0.1);
    EXPECT_HOLDS(pleat_slice(pleat_sum(x, PLEAT_AXES(1)), (size_t[]){0}, (size_t[]){1}, NULL), PLEAT_SHAPE(1),
                 VALUES((double)(float)(100001 * (double)0.1f)));
    EXPECT_HOLDS(pleat_mean(x), PLEAT_SCALAR, VALUES((double)0.1f));
    EXPECT_HOLDS(pleat_mean(pleat_permute(x, (size_t[]){1, 0}), PLEAT_AXES(0)), PLEAT_SHAPE(3),
                 VALUES((double)0.1f, (double)0.1f, (double)0.1f));
}

Test(sums, pass_on_what_is_not_finite) {
    pleat_tensor *x =
        pleat_from_f64(ctx, PLEAT_F64, PLEAT_SHAPE(3, 2), VALUES(1, NAN, INFINITY, 2, INFINITY, 3));
    EXPECT_HOLDS(pleat_sum(x, PLEAT_AXES(0)), PLEAT_SHAPE(2), VALUES(INFINITY, NAN));
    EXPECT_HOLDS(pleat_mean(x, PLEAT_AXES(1)), PLEAT_SHAPE(3), VALUES(NAN, INFINITY, INFINITY));
    EXPECT_HOLDS(pleat_sum(pleat_neg(x), PLEAT_AXES(1)), PLEAT_SHAPE(3), VALUES(NAN, -INFINITY, -INFINITY));
}

Test(sums, sets_of_axes) {
    cr_assert_eq(PLEAT_AXES(0), 1u);
    cr_assert_eq(PLEAT_AXES(0, 2, 3), 13u);
    cr_assert_eq(PLEAT_AXES(7, 0, 7), 129u);
    pleat_tensor *x = whole(PLEAT_F32, PLEAT_SHAPE(1, 1, 1, 1, 1, 1, 1, 1));
    int outside[] = {-1, 8, 100};
    for (size_t i = 0; i < 3; i++) {
        unsigned axes = PLEAT_AXES(outside[i]);
        EXPECT_REFUSED(pleat_sum(x, axes), PLEAT_ERR_ARGUMENT, "sum", "[1,1,1,1,1,1,1,1]", "rank 8");
        EXPECT_REFUSED(pleat_flip(x, axes), PLEAT_ERR_ARGUMENT, "flip", "[1,1,1,1,1,1,1,1]", "rank 8");
    }
}

/* ---- sum_to and broadcast_to -------------------------------------------------------------------------- */

static const struct stretch {
    size_t small_rank, large_rank, small[PLEAT_MAX_RANK], large[PLEAT_MAX_RANK];
} stretches[] = {
    {0, 0, {0}, {0}},
    {0, 1, {0}, {4}},
    {0, 3, {0}, {2, 3, 2}},
    {1, 1, {1}, {4}},
    {1, 2, {3}, {2, 3}},
    {2, 2, {2, 1}, {2, 3}},
    {2, 3, {1, 1}, {2, 1, 3}},
    {3, 3, {2, 1, 4}, {2, 3, 4}},
    {3, 4, {1, 3, 1}, {2, 2, 3, 4}},
    {2, 2, {2, 3}, {2, 3}},
    {1, 2, {1}, {0, 3}},
    {2, 2, {1, 0}, {2, 0}},
    {2, 8, {2, 1}, {2, 1, 2, 1, 2, 1, 2, 3}},
    {8, 8, {1, 2, 1, 2, 1, 2, 1, 2}, {2, 2, 2, 2, 2, 2, 2, 2}},
};

static void expect_stretch(pleat_tensor *x, size_t rank, const size_t *shape) {
    pleat_tensor *y = pleat_broadcast_to(x, rank, shape);
    size_t index[PLEAT_MAX_RANK] = {0};
    cr_assert(pleat_rank(y) == rank && !pleat_is_poison(y), "%s", pleat_error(ctx)->text);
    if (pleat_numel(y) == 0) return;
    do cr_assert_eq(pleat_at(y, index), broadcast_at(x, rank, index));
    while (next_index(rank, shape, index));
}

static pleat_tensor *naive_sum_to(pleat_tensor *x, size_t rank, const size_t *shape) {
    pleat_tensor *y = pleat_zeros(ctx, PLEAT_F64, rank, shape);
    size_t index[PLEAT_MAX_RANK] = {0}, missing = pleat_rank(x) - rank;
    for (size_t i = 0; i < pleat_numel(x); i++) {
        size_t at = 0;
        for (size_t k = 0; k < rank; k++) at = at * shape[k] + (shape[k] == 1 ? 0 : index[k + missing]);
        pleat_f64(y)[at] += pleat_at(x, index);
        next_index(pleat_rank(x), pleat_shape(x), index);
    }
    return as_type(y, pleat_dtype_of(x));
}

Test(sums, broadcast_to_and_sum_to) {
    for (pleat_dtype type = PLEAT_F32; type <= PLEAT_F64; type++) {
        for (size_t i = 0; i < sizeof stretches / sizeof *stretches; i++) {
            const struct stretch *s = &stretches[i];
            pleat_tensor *small = whole(type, s->small_rank, s->small);
            pleat_tensor *large = whole(type, s->large_rank, s->large);
            expect_stretch(small, s->large_rank, s->large);
            EXPECT_SAME(pleat_sum_to(large, s->small_rank, s->small),
                        naive_sum_to(large, s->small_rank, s->small));
            if (s->large_rank < 2) continue;
            EXPECT_SAME(pleat_sum_to(gappy(large), s->small_rank, s->small),
                        naive_sum_to(large, s->small_rank, s->small));
        }
    }
}

Test(sums, a_broadcast_is_a_view) {
    pleat_tensor *x = whole(PLEAT_F32, PLEAT_SHAPE(1, 3));
    size_t before = pleat_memory(ctx).in_use, rows = BY_WIDTH(1000000, 10000);
    pleat_tensor *y = pleat_broadcast_to(x, PLEAT_SHAPE(rows, 1000, 3));
    cr_assert_lt(pleat_memory(ctx).in_use - before, 4096);
    cr_assert_eq(pleat_at(y, (size_t[]){rows - 1, 999, 2}), pleat_at(x, (size_t[]){0, 2}));
    pleat_f32(x)[2] = 77;
    cr_assert_eq(pleat_at(y, (size_t[]){5, 6, 2}), 77);
}

/* ---- the two are each other's adjoint ------------------------------------------------------------------ */

static pleat_tensor *broadcast_f(pleat_tensor *x, void *user) {
    const struct stretch *s = user;
    return pleat_broadcast_to(x, s->large_rank, s->large);
}
static pleat_tensor *sum_to_f(pleat_tensor *x, void *user) {
    const struct stretch *s = user;
    return pleat_sum_to(x, s->small_rank, s->small);
}

Test(sums, broadcast_and_sum_are_adjoint) {
    for (pleat_dtype type = PLEAT_F32; type <= PLEAT_F64; type++) {
        for (size_t i = 0; i < sizeof stretches / sizeof *stretches; i++) {
            struct stretch s = stretches[i];
            pleat_report r;
            pleat_tensor *small = whole(type, s.small_rank, s.small),
                         *large = whole(type, s.large_rank, s.large);
            pleat_adjointcheck(broadcast_f, sum_to_f, small, large, .user = &s, .integers = true,
                               .report = &r);
            cr_assert(r.ok, "case %zu: %s", i, r.text);
        }
    }
}

/* matmul where its sizes choose: an outer product, pieces along the longer side, threads, copies of what no product can read. */
#include "borders.h"

#include <stdlib.h>

#include "core/core.h"

TestSuite(borders_matmul, .init = tensors_begin, .fini = tensors_end);

/* The matrix that the flag makes of the last two axes. */
static pleat_tensor *turned(pleat_tensor *t, bool flag) {
    size_t order[] = {0, 2, 1};
    return flag ? pleat_permute(t, order) : t;
}

/* a [batch or 1,M,K] times b [batch or 1,K,N], each stored as the flags say. */
static void expect_product(pleat_tensor *a, pleat_tensor *b, bool ta, bool tb) {
    pleat_scope s = pleat_begin(ctx);
    pleat_tensor *c = pleat_matmul(a, b, .ta = ta, .tb = tb);
    size_t batch = pleat_size(c, 0), M = pleat_size(c, 1), N = pleat_size(c, 2),
           K = pleat_size(a, ta ? 1 : 2);
    double *x = numbers_of(turned(a, ta)), *z = numbers_of(turned(b, tb)), *y = room_for(batch * M * N);
    for (size_t i = 0; i < batch; i++)
        for (size_t m = 0; m < M; m++)
            for (size_t k = 0; k < K; k++) {
                double with = x[((pleat_size(a, 0) == 1 ? 0 : i) * M + m) * K + k];
                const double *from = z + ((pleat_size(b, 0) == 1 ? 0 : i) * K + k) * N;
                for (size_t n = 0; n < N; n++) y[(i * M + m) * N + n] += with * from[n];
            }
    expect_numbers("matmul", c, y);
    ctx->path = (pleat_path){.engine = PLEAT_ENGINE_IM2COL};
    expect_numbers("matmul by BLAS", pleat_matmul(a, b, .ta = ta, .tb = tb), y);
    ctx->path = (pleat_path){0};
    free(x), free(y), free(z);
    pleat_end(s);
}

/* All four flags. */
static void expect_products(pleat_dtype type, size_t batch, size_t M, size_t N, size_t K) {
    for (int flags = 0; flags < 4; flags++) {
        bool ta = flags & 1, tb = flags & 2;
        pleat_tensor *a = whole(type, 3, ta ? (size_t[]){batch, K, M} : (size_t[]){batch, M, K});
        pleat_tensor *b = whole(type, 3, tb ? (size_t[]){1, N, K} : (size_t[]){1, K, N});
        expect_product(a, b, ta, tb);
    }
}

/* A column times a row: rows of 64 and more have a loop of their own. And sums of no terms, and of two. */
static void columns_times_rows(pleat_dtype type) {
    static const size_t M[] = {1, 2, 5}, N[] = {1, ABOUT(64), 130};
    for (size_t i = 0; i < 3 * 5; i++)
        for (size_t K = 0; K < 3; K++)
            for (size_t batch = 1; batch < 3; batch++) expect_products(type, batch, M[i % 3], N[i / 3], K);
}

Test(borders_matmul, of_columns_times_rows) { on_every_number_of_threads(columns_times_rows); }

/* A piece for each million products, at most eight, of a multiple of 64 rows or columns, the last of as few as one: along the rows
 * where there are as many of them as columns. */
static void pieces(pleat_dtype type) {
    static const size_t sizes[][3] = {
        {199, 100, 100}, {200, 100, 100}, {201, 100, 100}, {100, 200, 100}, {100, 199, 100},
        {100, 201, 100}, {128, 128, 150}, {129, 129, 150}, {128, 129, 150}, {129, 128, 150},
        {127, 128, 150}, {192, 100, 160}, {193, 100, 160}, {100, 193, 160}, {100, 192, 160},
        {799, 50, 200},  {801, 50, 200},  {50, 897, 200},  {129, 100, 160},
    };
    for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++) {
        bool ta = i % 2, tb = i / 2 % 2; /* each with three of the four flags */
        size_t M = sizes[i][0], N = sizes[i][1], K = sizes[i][2];
        for (int turn = 0; turn < 3; turn++, ta = !ta, tb ^= ta) {
            pleat_scope s = pleat_begin(ctx);
            pleat_tensor *a = whole(type, 3, ta ? (size_t[]){1, K, M} : (size_t[]){1, M, K});
            pleat_tensor *b = whole(type, 3, tb ? (size_t[]){1, N, K} : (size_t[]){1, K, N});
            expect_product(a, b, ta, tb);
            pleat_end(s);
        }
    }
}

Test(borders_matmul, of_pieces) { on_every_number_of_threads(pieces); }

/* 2^20 products are worth threads, those of all matrices together. */
static void batches(pleat_dtype type) {
    for (size_t M = 63; M <= 65; M++) {
        expect_products(type, 1, M, 128, 128);
        expect_products(type, 64, M, 16, 16);
    }
    for (size_t batch = 1; batch < 4; batch++)
        expect_products(type, batch, 130, 129, 120); /* each in two pieces */
}

Test(borders_matmul, of_batches) { on_every_number_of_threads(batches); }

/* Rows without gaps and columns without gaps are read in place, also where there is but one of them; and all others are copied. */
static void views(pleat_dtype type) {
    for (size_t i = 0; i < 4 * 4 * 3; i++) {
        size_t M = 1 + i % 4, K = 1 + i / 4 % 4, N = i / 16 == 0 ? 1 : i / 16 == 1 ? 2 : 70;
        pleat_tensor *a = whole(type, PLEAT_SHAPE(2, M, K)), *b = whole(type, PLEAT_SHAPE(2, K, N));
        pleat_tensor *gaps[] = {
            a,
            gappy(a),
            pleat_broadcast_to(whole(type, PLEAT_SHAPE(1, 1, K)), PLEAT_SHAPE(2, M, K)),
            pleat_broadcast_to(whole(type, PLEAT_SHAPE(1, M, 1)), PLEAT_SHAPE(2, M, K)),
            pleat_slice(whole(type, PLEAT_SHAPE(2, M, K + 3)), (size_t[]){0, 0, 2}, pleat_shape(a), NULL),
            pleat_slice(whole(type, PLEAT_SHAPE(2, 2 * M, K)), (size_t[3]){0}, pleat_shape(a),
                        (size_t[]){1, 2, 1}),
            turned(pleat_contiguous(turned(a, true)), true)};
        for (size_t k = 0; k < sizeof gaps / sizeof *gaps; k++) {
            expect_product(gaps[k], b, false, false);
            expect_product(turned(gaps[k], true), gappy(b), true, false);
            expect_product(turned(b, true), gaps[k], false, true);
        }
    }
}

Test(borders_matmul, of_views) { on_every_number_of_threads(views); }

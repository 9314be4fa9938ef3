/* Where a size chooses a way through an op: just below the border, on it, and just above, in both types, on
 * one thread and three, against loops that know nothing of it. The borders are listed in README.md. Whole
 * numbers, so that results compare bit for bit. */
#include "borders.h"

#include <math.h>
#include <stdlib.h>

TestSuite(borders, .init = tensors_begin, .fini = tensors_end);

/* ---- element by element ---------------------------------------------------------------------------------- */

/* Products, differences and squares, and copies to the other type; z is broadcast to x. */
static void expect_maps(pleat_tensor *x, pleat_tensor *z) {
    pleat_scope s = pleat_begin(ctx);
    size_t n = pleat_numel(x);
    double *a = numbers_of(x), *b = numbers_of(pleat_broadcast_to(z, pleat_rank(x), pleat_shape(x)));
    double *y = room_for(n);
    for (size_t i = 0; i < n; i++) y[i] = a[i] * b[i] + 0;
    expect_numbers("product", pleat_mul(x, z), y);
    expect_numbers("product, turned about", pleat_mul(z, x), y);
    for (size_t i = 0; i < n; i++) y[i] = b[i] - a[i];
    expect_numbers("difference", pleat_sub(z, x), y);
    for (size_t i = 0; i < n; i++) y[i] = a[i] * a[i];
    expect_numbers("square", pleat_square(x), y);
    expect_numbers("copy", pleat_contiguous(pleat_flip(pleat_flip(x, 1), 1)), a);
    expect_numbers("copy to the other type",
                   as_type(x, pleat_dtype_of(x) == PLEAT_F32 ? PLEAT_F64 : PLEAT_F32), a);
    free(a), free(b), free(y);
    pleat_end(s);
}

/* Vectors and their rests; runs and pieces of runs; and what is worth threads. */
static void runs(pleat_dtype type) {
    static const size_t longer[] = {ABOUT(16384), ABOUT(32768), ABOUT(262144)};
    for (size_t i = 0; i < 70 + sizeof longer / sizeof *longer; i++) {
        size_t n = i < 70 ? i + 1 : longer[i - 70], twice = 2 * n, one = 1;
        pleat_tensor *x = whole(type, 1, &n), *wide = whole(type, 1, &twice);
        expect_maps(x, whole(type, 1, &n));
        expect_maps(x, whole(type, 1, &one));
        if (n > 40000) continue;
        pleat_tensor *gaps = pleat_slice(wide, (size_t[]){1}, &n, (size_t[]){2});
        expect_maps(gaps, x);
        expect_maps(x, pleat_flip(gaps, 1));
        expect_maps(pleat_broadcast_to(whole(type, 1, &one), 1, &n), x);
    }
}

Test(borders, of_runs) { on_every_number_of_threads(runs); }

/* Rows that cannot be merged, as many as make a piece, and one fewer, and one more. */
static void rows(pleat_dtype type) {
    static const size_t shapes[][2] = {{2, 16383}, {2, 16384}, {2, 16385}, {3, 8191}, {3, 8192},  {2, 8192},
                                       {3, 8193},  {1, 8192},  {3, 4096},  {4, 4096}, {5, 4096},  {9, 4096},
                                       {8, 4096},  {4, 5461},  {4, 5462},  {3, 5461}, {16383, 2}, {8191, 2},
                                       {8192, 2},  {8193, 2},  {129, 128}};
    for (size_t i = 0; i < sizeof shapes / sizeof *shapes; i++) {
        size_t M = shapes[i][0], K = shapes[i][1], start[] = {0, 1};
        pleat_tensor *x = pleat_slice(whole(type, PLEAT_SHAPE(M, K + 2)), start, shapes[i], NULL);
        expect_maps(x, whole(type, PLEAT_SHAPE(K)));
        expect_maps(x, whole(type, PLEAT_SHAPE(M, 1)));
        expect_maps(pleat_permute(whole(type, PLEAT_SHAPE(K, M)), (size_t[]){1, 0}), x);
    }
}

Test(borders, of_rows) { on_every_number_of_threads(rows); }

/* ---- sums -------------------------------------------------------------------------------------------------- */

/* Sums and means of x [A,B,C] over every set of axes. */
static void expect_sums(pleat_tensor *x) {
    pleat_scope s = pleat_begin(ctx);
    size_t A = pleat_size(x, 0), B = pleat_size(x, 1), C = pleat_size(x, 2);
    double *a = numbers_of(x), *y = room_for(A * B * C);
    for (unsigned axes = 1; axes < 8; axes++) {
        size_t keep[3] = {axes & 1 ? 0 : 1, axes & 2 ? 0 : 1, axes & 4 ? 0 : 1};
        size_t kept = (keep[0] ? A : 1) * (keep[1] ? B : 1) * (keep[2] ? C : 1), i = 0;
        for (size_t k = 0; k < kept; k++) y[k] = 0;
        for (size_t p = 0; p < A; p++)
            for (size_t q = 0; q < B; q++)
                for (size_t r = 0; r < C; r++, i++)
                    y[(keep[0] * p * (keep[1] ? B : 1) + keep[1] * q) * (keep[2] ? C : 1) + keep[2] * r] +=
                        a[i];
        expect_numbers("sum", pleat_sum(x, axes), y);
        for (size_t k = 0; k < kept; k++)
            y[k] = rounded(pleat_dtype_of(x), y[k] / (double)(A * B * C / kept));
        expect_numbers("mean", pleat_mean(x, axes), y);
    }
    free(a), free(y);
    pleat_end(s);
}

static void sums(pleat_dtype type) {
    static const size_t lanes[] = {1, 2, ABOUT(16), ABOUT(32), 49}, turns[] = {ABOUT(64), ABOUT(128)},
                        terms[] = {ABOUT(1024), 4, 1092, 1093}, beside[] = {ABOUT(256), ABOUT(512)};
    static const size_t others[][3] = {{1, 1, 65535}, {1, 1, 65536}, {1, 1, 65537}, {1, 2, 32768},
                                       {1, 3, 32769}, {2, 3, 257},   {300, 2, 3},   {2, 1, 70},
                                       {70, 1, 2},    {1, 64, 1024}};
    enum { LANES = sizeof lanes / sizeof *lanes, TURNS = 6, TERMS = 6, BESIDE = 6, OTHERS = 10 };
    for (size_t i = 0; i < LANES * TURNS + TERMS * 3 + BESIDE * 3 + OTHERS; i++) {
        size_t k = i, shape[3] = {1, 1, 1};
        if (k < LANES * TURNS)
            shape[1] = turns[k % TURNS], shape[2] = lanes[k / TURNS];
        else if ((k -= LANES * TURNS) < TERMS * 3)
            shape[1] = 63 + k % 3, shape[2] = terms[k / 3];
        else if ((k -= TERMS * 3) < BESIDE * 3)
            shape[1] = 1 + k % 3, shape[2] = beside[k / 3];
        else
            for (size_t d = 0; d < 3; d++) shape[d] = others[k - BESIDE * 3][d];
        pleat_tensor *x = whole(type, 3, shape);
        expect_sums(x);
        expect_sums(gappy(x));
        expect_sums(pleat_permute(x, (size_t[]){0, 2, 1}));
    }
}

Test(borders, of_sums) { on_every_number_of_threads(sums); }

/* ---- rows that are shared out ------------------------------------------------------------------------------ */

/* The largest of each row, the smallest, and where the first of the largest stands; also down the columns of
 * the turned matrix. */
static void expect_extremes(pleat_tensor *x) {
    pleat_scope s = pleat_begin(ctx);
    size_t M = pleat_size(x, 0), K = pleat_size(x, 1);
    double *a = numbers_of(x), *y = room_for(3 * M);
    for (size_t m = 0; m < M; m++) {
        const double *row = a + m * K;
        size_t at = 0;
        y[M + m] = row[0];
        for (size_t k = 1; k < K; k++) {
            if (row[k] > row[at]) at = k;
            if (row[k] < y[M + m]) y[M + m] = row[k];
        }
        y[m] = row[at], y[2 * M + m] = (double)at;
    }
    pleat_tensor *turned = pleat_permute(x, (size_t[]){1, 0});
    expect_numbers("amax", pleat_amax(x, PLEAT_AXES(1)), y);
    expect_numbers("amin", pleat_amin(turned, PLEAT_AXES(0)), y + M);
    expect_numbers("argmax", largest_at(x, 1), y + 2 * M);
    expect_numbers("argmax, down", largest_at(turned, 0), y + 2 * M);
    free(a), free(y);
    pleat_end(s);
}

static void extremes(pleat_dtype type) {
    static const size_t shapes[][2] = {{1, 16383}, {2, 16383}, {2, 16384}, {3, 16385}, {4, 16384},
                                       {2, 8192},  {3, 8192},  {2, 8193},  {5, 4096},  {8, 4096},
                                       {3, 5461},  {4, 5461},  {16383, 1}, {16384, 1}, {16385, 1},
                                       {8193, 2},  {8191, 2},  {4, 16383}};
    for (size_t i = 0; i < sizeof shapes / sizeof *shapes; i++) expect_extremes(whole(type, 2, shapes[i]));
}

Test(borders, of_extremes) { on_every_number_of_threads(extremes); }

/* Along rows and down columns: running sums, places in a mixed order, and the sums that come back from
 * there. */
static void expect_lines(pleat_tensor *x) {
    pleat_scope s = pleat_begin(ctx);
    size_t M = pleat_size(x, 0), K = pleat_size(x, 1), n = M * K, shape[] = {M, K};
    double *a = numbers_of(x), *y = room_for(4 * n);
    size_t *across = malloc(n * sizeof *across), *down = malloc(n * sizeof *down);
    for (size_t i = 0; i < 4 * n; i++) y[i] = 0;
    for (size_t i = 0; i < n; i++) across[i] = i * 7 % K, down[i] = i * 5 % M;
    for (size_t i = 0; i < n; i++) y[i] = a[i] + (i % K ? y[i - 1] : 0);
    expect_numbers("cumsum", pleat_cumsum(x, 1), y);
    for (size_t i = 0; i < n; i++) y[i] = a[i] + (i >= K ? y[i - K] : 0);
    expect_numbers("cumsum, down", pleat_cumsum(x, 0), y);
    for (size_t i = 0; i < n; i++) {
        y[i] = a[i / K * K + across[i]], y[n + i] = a[down[i] * K + i % K];
        y[2 * n + i / K * K + across[i]] += a[i], y[3 * n + down[i] * K + i % K] += a[i];
    }
    expect_numbers("gather", pleat_gather(x, 1, shape, across), y);
    expect_numbers("gather, down", pleat_gather(x, 0, shape, down), y + n);
    expect_numbers("scatter_add", pleat_scatter_add(x, 1, shape, across), y + 2 * n);
    expect_numbers("scatter_add, down", pleat_scatter_add(x, 0, shape, down), y + 3 * n);
    for (size_t i = 0; i < n; i++) y[i] = a[i / K * K + across[i % K]], y[n + i] = a[down[i / K] * K + i % K];
    expect_numbers("index_select", pleat_index_select(x, 1, K, across), y);
    expect_numbers("index_select, down", pleat_index_select(x, 0, M, down), y + n);
    free(a), free(y), free(across), free(down);
    pleat_end(s);
}

static void lines(pleat_dtype type) {
    static const size_t shapes[][2] = {{3, 255},  {3, 256},  {3, 257},   {63, 3},    {64, 3},    {65, 3},
                                       {2, 511},  {2, 512},  {2, 513},   {255, 65},  {256, 64},  {257, 63},
                                       {64, 256}, {65, 257}, {1, 16383}, {2, 16384}, {1, 16385}, {16385, 1},
                                       {8191, 2}, {8192, 2}, {8193, 2},  {700, 300}, {1, 1}};
    for (size_t i = 0; i < sizeof shapes / sizeof *shapes; i++) expect_lines(whole(type, 2, shapes[i]));
}

Test(borders, of_lines) { on_every_number_of_threads(lines); }

/* Rows are independent: together they have the bits that each has alone, and these are right. */
static void expect_softmax(pleat_tensor *x) {
    pleat_scope s = pleat_begin(ctx);
    pleat_dtype type = pleat_dtype_of(x);
    size_t M = pleat_size(x, 0), K = pleat_size(x, 1);
    pleat_tensor *y = pleat_softmax(x, 1), *log_y = pleat_log_softmax(x, 1);
    double *a = numbers_of(x), *e = room_for(2 * K), small = type == PLEAT_F32 ? 1e-6 : 1e-14;
    for (size_t m = 0;
         m<M; m += M> 20 && m + 3 < M && m > 2 ? M - m - 3 : 1) { /* of many the first and the last */
        size_t start[] = {m, 0}, size[] = {1, K};
        double sum = 0;
        for (size_t k = 0; k < K; k++) sum += exp(a[m * K + k]);
        for (size_t k = 0; k < K; k++) e[k] = exp(a[m * K + k]) / sum, e[K + k] = a[m * K + k] - log(sum);
        pleat_tensor *row = pleat_slice(y, start, size, NULL),
                     *log_row = pleat_slice(log_y, start, size, NULL);
        EXPECT_NEAR(row, pleat_from_f64(ctx, type, 2, size, e), small);
        EXPECT_NEAR(log_row, pleat_from_f64(ctx, type, 2, size, e + K), 8 * small);
        EXPECT_SAME(pleat_softmax(pleat_slice(x, start, size, NULL), 1), row);
        EXPECT_SAME(pleat_log_softmax(pleat_slice(x, start, size, NULL), 1), log_row);
    }
    free(a), free(e);
    pleat_end(s);
}

static void softmaxes(pleat_dtype type) {
    static const size_t shapes[][2] = {{2, 4095}, {2, 4096}, {3, 4097}, {1, 2048}, {2, 2048},
                                       {3, 2048}, {2, 2049}, {3, 1365}, {4, 1365}, {3, 1366},
                                       {4095, 1}, {4096, 1}, {4097, 1}, {2049, 2}, {2047, 2},
                                       {2048, 4}, {1, 8191}, {1, 8192}, {1, 8193}};
    for (size_t i = 0; i < sizeof shapes / sizeof *shapes; i++) expect_softmax(whole(type, 2, shapes[i]));
}

Test(borders, of_softmax) { on_every_number_of_threads(softmaxes); }

/* x [A,K,B] over A and B, where each sum is 0, so that all deviations are whole and their squares add up
 * exactly. */
static void expect_normal(pleat_dtype type, size_t A, size_t K, size_t B) {
    pleat_scope s = pleat_begin(ctx);
    pleat_tensor *x = whole(PLEAT_F64, PLEAT_SHAPE(A, K, B));
    double *a = pleat_f64(x), *y = room_for(A * K * B), n = (double)(A * B);
    for (size_t k = 0; k < K; k++) {
        double sum = 0, squares = 0, *last = a + ((A - 1) * K + k) * B + B - 1;
        for (size_t i = 0; i < A * B; i++) sum += a[(i / B * K + k) * B + i % B];
        *last -= sum;
        for (size_t i = 0; i < A * B; i++) squares += pow(a[(i / B * K + k) * B + i % B], 2);
        double rate = 1 / sqrt(squares / n + 0.25);
        for (size_t i = 0; i < A * B; i++) {
            size_t at = (i / B * K + k) * B + i % B;
            y[at] = rounded(type, a[at] * rate);
        }
    }
    expect_numbers("normalize", pleat_normalize(as_type(x, type), PLEAT_AXES(0, 2), 0.25), y);
    free(y);
    pleat_end(s);
}

static void normals(pleat_dtype type) {
    static const size_t B[] = {1, 2, ABOUT(8), ABOUT(16), 5461, 5462};
    for (size_t i = 0; i < sizeof B / sizeof *B; i++)
        for (size_t A = 1; A <= 3; A++) expect_normal(type, A, 1 + i % 4, B[i]);
    for (size_t B4 = 16383; B4 <= 16385; B4++)
        expect_normal(type, 1, 1, B4); /* 4 operations for each are worth threads */
}

Test(borders, of_norms) { on_every_number_of_threads(normals); }

/* ---- walks and scopes -------------------------------------------------------------------------------------- */

/* Lists of a gradient walk begin with room for 64. */
Test(borders, of_histories) {
    static const size_t lengths[] = {1, ABOUT(62), 64, 65, ABOUT(126), 128, 129, ABOUT(256)};
    for (size_t i = 0; i < sizeof lengths / sizeof *lengths; i++) {
        pleat_scope s = pleat_begin(ctx);
        pleat_tensor *x = pleat_full(ctx, PLEAT_F64, PLEAT_SHAPE(2), 3), *y = x, *wide = x, *g[2];
        for (size_t k = 0; k < lengths[i]; k++)
            y = pleat_add(pleat_neg(y), x), wide = pleat_add(wide, pleat_neg(x));
        EXPECT_OK(pleat_grads(y, pleat_full_like(y, 1), 1, &x, &g[0], 0));
        EXPECT_OK(pleat_grads(wide, pleat_full_like(wide, 1), 1, &x, &g[1], 0));
        double deep = lengths[i] % 2 ? 0 : 1, broad = 1 - (double)lengths[i];
        EXPECT_HOLDS(g[0], PLEAT_SHAPE(2), VALUES(deep, deep));
        EXPECT_HOLDS(g[1], PLEAT_SHAPE(2), VALUES(broad, broad));
        pleat_end(s);
    }
}

/* The stack of scopes begins with room for 16, two of which are the context's own. */
Test(borders, of_scopes) {
    for (size_t n = 12; n < 35; n++) {
        pleat_ctx *own = pleat_ctx_new(.threads = 1);
        pleat_scope scopes[35];
        pleat_tensor *kept = pleat_full(own, PLEAT_F64, PLEAT_SHAPE(1), 5);
        for (size_t i = 0; i < n; i++) {
            scopes[i] = pleat_begin(own);
            pleat_full(own, PLEAT_F64, PLEAT_SHAPE(1), (double)i);
        }
        cr_assert_eq(pleat_memory(own).tensors, n + 1);
        for (size_t i = n; i-- > 0;) {
            pleat_end(scopes[i]);
            cr_assert_eq(pleat_memory(own).tensors, i + 1, "%zu of %zu scopes", i, n);
        }
        cr_assert_eq(pleat_at(kept, (size_t[]){0}), 5);
        cr_assert_eq(pleat_error(own)->code, PLEAT_OK);
        pleat_ctx_free(own);
    }
}

/* ---- streams of random numbers ----------------------------------------------------------------------------- */

/* Four numbers are made at a time. What a tensor draws, also from the middle of four, is what one draws one
 * by one. */
static void draws(pleat_dtype type) {
    for (size_t skipped = 0; skipped < 5; skipped++)
        for (size_t n = 1; n < 10; n++) {
            pleat_rng *own = pleat_ctx_rng(ctx), r;
            double expected[3][10];
            *own = pleat_rng_new(n, skipped);
            for (size_t i = 0; i < skipped; i++) pleat_rng_u32(own);
            r = *own;
            for (size_t i = 0; i < n; i++) expected[0][i] = rounded(type, pleat_rng_normal(&r));
            for (size_t i = 0; i < n; i++) expected[1][i] = rounded(type, pleat_rng_uniform(&r));
            for (size_t i = 0; i < n; i++) expected[2][i] = pleat_rng_uniform(&r) < 0.5 ? 0 : 2;
            expect_numbers("randn", pleat_randn(ctx, type, 1, &n), expected[0]);
            expect_numbers("uniform", pleat_uniform(ctx, type, 1, &n, 0, 1), expected[1]);
            expect_numbers("dropout", pleat_dropout(pleat_full(ctx, type, 1, &n, 1), 0.5), expected[2]);
        }
}

Test(borders, of_random_streams) { on_every_number_of_threads(draws); }

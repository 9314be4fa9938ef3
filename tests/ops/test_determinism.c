/* Same seed, same bits: what ops compute, in a run, in the next one, on one thread and on two, three and five, on every path. */
#define _POSIX_C_SOURCE 200809L

#include "determinism.h"

#include <stdlib.h>
#include <string.h>

#include "tensors.h"

const char *const every_path[] = {"auto", "reference", "im2col", "baseline", "avx2", "avx512", NULL};
const int every_number[] = {1, 2, 3, 5, 1, 0}; /* 1 again: another run */

void take_path(const char *path) {
    bool engine = strcmp(path, "reference") == 0 || strcmp(path, "im2col") == 0;
    cr_assert_eq(setenv("PLEAT_ENGINE", engine ? path : "auto", 1), 0);
    cr_assert_eq(setenv("PLEAT_ISA", engine ? "auto" : path, 1), 0);
}

enum { MOST = 80 };

typedef struct results {
    size_t n;
    const char *name[MOST];
    pleat_tensor *t[MOST];
} results;

static void add(results *r, const char *name, pleat_tensor *t) {
    cr_assert(r->n < MOST && !pleat_is_poison(t), "%s: %s", name, pleat_error(ctx)->text);
    r->name[r->n] = name;
    r->t[r->n++] = t;
}

/* y, and what it makes of a cotangent for x. */
static void add_both(results *r, const char *name, pleat_tensor *y, pleat_tensor *x) {
    pleat_tensor *g;
    add(r, name, y);
    EXPECT_OK(pleat_grads(pleat_sum(pleat_square(y)), NULL, 1, &x, &g, 0));
    add(r, name, g);
}

/* Tables so large that every op over them is shared out among threads. */
static void over_tables(results *r, pleat_dtype type) {
    pleat_tensor *x = pleat_randn(ctx, type, PLEAT_SHAPE(701, 397)),
                 *row = pleat_slice(x, (size_t[]){3, 0}, (size_t[]){1, 397}, NULL);
    pleat_tensor *turned = pleat_permute(x, (size_t[]){1, 0});
    add_both(r, "gelu", pleat_gelu(x), x);
    add_both(r, "broadcast product", pleat_mul(x, row), x);
    add_both(r, "quotient of views", pleat_div(pleat_flip(x, PLEAT_AXES(1)), pleat_shift(pleat_square(x), 1)),
             x);
    add_both(r, "turned copy", pleat_contiguous(turned), x);
    add_both(r, "where", pleat_where(pleat_gt(x, row), x, pleat_exp(x)), x);
    add_both(r, "sum", pleat_sum(x), x);
    add_both(r, "sum of rows", pleat_sum(turned, PLEAT_AXES(0)), x);
    add_both(r, "mean of columns", pleat_mean(x, PLEAT_AXES(0)), x);
    add_both(r, "variance", pleat_var(x, PLEAT_AXES(1)), x);
    add_both(r, "largest", pleat_amax(x, PLEAT_AXES(0)), x);
    add_both(r, "smallest", pleat_amin(x, PLEAT_AXES(1)), x);
    add(r, "place of the largest", largest_at(x, 1));
    size_t index[701];
    for (size_t i = 0; i < 701; i++) index[i] = i * i % 397;
    add_both(r, "cumsum", pleat_cumsum(x, 0), x);
    add_both(r, "cumsum of rows", pleat_cumsum(x, 1), x);
    add_both(r, "log_sum_exp", pleat_log_sum_exp(x, PLEAT_AXES(1)), x);
    add_both(r, "index_select", pleat_index_select(x, 1, 701, index), x);
    add_both(r, "index_select of rows", pleat_index_select(x, 0, 701, index), x);
    add_both(r, "softmax", pleat_softmax(x, 1), x);
    add_both(r, "log_softmax", pleat_log_softmax(x, 0), x);
    add_both(r, "layer_norm", pleat_layer_norm(x), x);
    add_both(r, "matmul", pleat_matmul(x, turned), x);
    add_both(r, "matmul, turned", pleat_matmul(x, x, .ta = true), x);
    add_both(r, "concat", pleat_concat(2, (pleat_tensor *[]){x, row}, 0), x);
    add_both(r, "dropout", pleat_dropout(x, 0.3), x);
}

static void over_images(results *r, pleat_dtype type) {
    pleat_tensor *x = pleat_randn(ctx, type, PLEAT_SHAPE(6, 8, 41, 37));
    add_both(r, "batch_norm", pleat_batch_norm(x, .eps = 1e-5), x);
    add_both(r, "group_norm", pleat_group_norm(x, .groups = 4), x);
    add_both(r, "batch_norm, relu", pleat_batch_norm(x, .relu = true), x);
    add_both(r, "relu6", pleat_relu6(pleat_scale(x, 4)), x);
    add_both(r, "clamp", pleat_clamp(x, -1, 1), x);
    add_both(r, "max_pool2d", pleat_max_pool2d(x, .kernel = {3, 2}, .stride = {2, 1}, .pad = {1, 1}), x);
    add_both(r, "max_pool2d, 2x2", pleat_max_pool2d(x, .kernel = {2, 2}), x);
    add_both(r, "avg_pool2d", pleat_avg_pool2d(x, .kernel = {2, 3}, .stride = {1, 2}, .pad = {1, 1}), x);
    add_both(r, "adaptive_avg_pool2d", pleat_adaptive_avg_pool2d(x, 7, 5), x);
    add_both(r, "nearest", pleat_resize_nearest(x, .factor = {2, 2}), x);
    add_both(r, "bilinear", pleat_resize_bilinear(x, .size = {29, 53}, .antialias = true), x);
    add_both(r, "bicubic", pleat_resize_bicubic(x, .size = {47, 31}), x);
    add_both(r, "pixel_shuffle", pleat_pixel_shuffle(x, 2), x);
}

/* The family, with bias and relu, in a geometry that has everything, in one that is an ordinary layer, and in depthwise ones. */
static void over_convolutions(results *r, pleat_dtype type) {
    for (size_t k = 0; k < 4; k++) {
        size_t groups = k < 2 ? 1 + k : 8, stride[2] = {1 + k % 2, k < 2 ? 2 - k : k - 1};
        size_t out = k < 2 ? 18 : 8;
        pleat_tensor *x = pleat_randn(ctx, type, PLEAT_SHAPE(5, 8, 33, 30));
        pleat_tensor *w = pleat_randn(ctx, type, PLEAT_SHAPE(out, 8 / groups, 3, 3));
        pleat_tensor *b = pleat_randn(ctx, type, PLEAT_SHAPE(out)),
                     *c = pleat_randn(ctx, type, PLEAT_SHAPE(8));
        pleat_tensor *y =
            pleat_conv2d(x, w, .stride = {stride[0], stride[1]}, .pad = {1, 2}, .groups = groups, .bias = b);
        pleat_tensor *z = pleat_conv2d_transpose(y, w, .stride = {stride[0], stride[1]}, .pad = {1, 2},
                                                 .groups = groups, .bias = c, .relu = true);
        pleat_tensor *g[4];
        add(r, "conv2d", y);
        add(r, "conv2d_transpose", z);
        EXPECT_OK(pleat_grads(pleat_sum(pleat_square(z)), NULL, 4, (pleat_tensor *[]){x, w, b, c}, g, 0));
        for (size_t i = 0; i < 4; i++) add(r, "gradients of both", g[i]);
    }
}

/* The same memory, or the same values of a view. */
static bool alike(pleat_tensor *found, pleat_tensor *expected) {
    bool f32 = pleat_dtype_of(found) == PLEAT_F32;
    if (pleat_numel(found) == pleat_numel(expected)) {
        size_t bytes = pleat_numel(found) * (f32 ? sizeof(float) : sizeof(double));
        found = pleat_contiguous(found), expected = pleat_contiguous(expected);
        const void *a = f32 ? (const void *)pleat_f32(found) : pleat_f64(found);
        const void *b = f32 ? (const void *)pleat_f32(expected) : pleat_f64(expected);
        if (!memcmp(a, b, bytes)) return true;
    }
    return same(found, expected);
}

static void expect_same_bits(void (*fill)(results *, pleat_dtype), pleat_dtype type, const char *path) {
    pleat_ctx *first = NULL;
    results expected = {0};
    take_path(path);
    for (size_t i = 0; every_number[i]; i++) {
        results found = {0};
        ctx = pleat_ctx_new(.threads = every_number[i], .seed = 5);
        cr_assert_not_null(ctx);
        fill(&found, type);
        for (size_t k = 0; k < expected.n; k++)
            cr_assert(alike(found.t[k], expected.t[k]), "%s in f%d, path %s, %d threads: %s", found.name[k],
                      type == PLEAT_F32 ? 32 : 64, path, every_number[i], difference());
        if (first)
            pleat_ctx_free(ctx);
        else
            first = ctx, expected = found;
    }
    pleat_ctx_free(first);
}

Test(determinism, of_ops_over_tables, .timeout = 60) {
    for (pleat_dtype type = PLEAT_F32; type <= PLEAT_F64; type++) expect_same_bits(over_tables, type, "auto");
}

Test(determinism, of_ops_over_images, .timeout = 60) {
    for (pleat_dtype type = PLEAT_F32; type <= PLEAT_F64; type++) expect_same_bits(over_images, type, "auto");
}

Test(determinism, of_convolutions_on_every_path, .timeout = 60) {
    for (size_t k = 0; every_path[k]; k++)
        for (pleat_dtype type = PLEAT_F32; type <= PLEAT_F64; type++)
            expect_same_bits(over_convolutions, type, every_path[k]);
}

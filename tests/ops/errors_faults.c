/* The allocator fails at its n-th call, for n = 1, 2, ... until nobody notices: each run ends in success or in "out of
 * memory", leaks nothing, and leaves a context that works. */
#include <criterion/criterion.h>
#include <stdlib.h>

#include "pleat.h"

/* Calls first .. first + count - 1 fail. */
typedef struct faults {
    size_t calls, first, count, blocks;
} faults;

static void *faulty_alloc(void *user, size_t bytes) {
    faults *f = user;
    size_t call = ++f->calls;
    if (call >= f->first && call - f->first < f->count) return NULL;
    void *block = malloc(bytes);
    f->blocks += block != NULL;
    return block;
}

static void faulty_free(void *user, void *block) {
    faults *f = user;
    f->blocks--;
    free(block);
}

/* ---- all that allocates -------------------------------------------------------------------------------- */

static bool fine(pleat_status s) { return s == PLEAT_OK || s == PLEAT_ERR_MEMORY; }

/* Results are as good as the context's error says. */
static void expect_honest(pleat_tensor *t, pleat_ctx *ctx) {
    cr_assert(!pleat_is_poison(t) || pleat_error(ctx)->code == PLEAT_ERR_MEMORY, "%s",
              pleat_error(ctx)->text);
}

static pleat_tensor *shapes(pleat_tensor *x) {
    pleat_tensor *turned = pleat_flip(pleat_permute(x, (size_t[]){0, 1, 3, 2}), PLEAT_AXES(2));
    pleat_tensor *part =
        pleat_slice(turned, (size_t[]){0, 0, 1, 0}, (size_t[]){1, 2, 2, 3}, (size_t[]){1, 1, 1, 1});
    pleat_tensor *padded =
        pleat_pad(part, (size_t[]){1, 2, 5, 3}, (size_t[]){0, 0, 0, 0}, (size_t[]){1, 1, 2, 1});
    pleat_tensor *both = pleat_concat(2, (pleat_tensor *[]){padded, pleat_contiguous(turned)}, 2);
    return pleat_reshape(pleat_permute(both, (size_t[]){0, 1, 3, 2}), PLEAT_SHAPE(6, PLEAT_REST));
}

static pleat_tensor *network(size_t n, pleat_tensor *const *xs, void *user) {
    (void)n, (void)user;
    pleat_tensor *map = pleat_conv2d(xs[0], xs[1], .stride = {2, 1}, .pad = {1, 1});
    pleat_tensor *image =
        pleat_conv2d_transpose(pleat_tanh(map), xs[1], .stride = {2, 1}, .pad = {1, 1}, .size = {3, 3});
    pleat_tensor *w =
        pleat_conv2d_weight(pleat_sigmoid(image), map, .stride = {2, 1}, .pad = {1, 1}, .kernel = {2, 2});
    pleat_tensor *m =
        shapes(pleat_broadcast_to(pleat_sum(w, PLEAT_AXES(0, 2, 3), .keep = true), PLEAT_SHAPE(1, 2, 3, 4)));
    pleat_tensor *product = pleat_matmul(pleat_exp(pleat_clamp(pleat_scale(m, 0.1), -9, 9)), m, .tb = true);
    pleat_tensor *positive = pleat_shift(pleat_square(pleat_relu(pleat_neg(product))), 1);
    pleat_tensor *ratio = pleat_div(pleat_log(positive), pleat_sqrt(positive));
    return pleat_mean(
        pleat_mul(pleat_add(ratio, pleat_step(product)), pleat_sub(product, pleat_detach(ratio))));
}

static pleat_tensor *wide_conv(pleat_tensor *x, void *user) {
    return pleat_conv2d(x, user, .stride = {1, 2}, .pads = {0, 1, 0, 0}, .groups = 2);
}
static pleat_tensor *wide_transpose(pleat_tensor *y, void *user) {
    return pleat_conv2d_transpose(y, user, .stride = {1, 2}, .pads = {0, 1, 0, 0}, .groups = 2);
}

static void make(pleat_ctx *ctx) {
    pleat_scope s = pleat_begin(ctx);
    float numbers[4] = {1, 2, 3, 4};
    pleat_tensor *x = pleat_from(ctx, PLEAT_F32, PLEAT_SHAPE(2, 2), numbers);
    pleat_tensor *y = pleat_from_f64(ctx, PLEAT_F32, PLEAT_SHAPE(2, 2), (double[]){1, 2, 3, 4});
    expect_honest(pleat_add(pleat_uniform(ctx, PLEAT_F32, PLEAT_SHAPE(2, 1), 0, 1), pleat_full_like(y, 1)),
                  ctx);
    expect_honest(pleat_broadcast_to(pleat_zeros_like(x), PLEAT_SHAPE(3, 2, 2)), ctx);
    pleat_tensor *turned = pleat_flip(x, PLEAT_AXES(0));
    cr_assert(pleat_is_poison(turned) || fine(pleat_assign(x, turned)));
    pleat_drop(pleat_hold(pleat_keep(pleat_zeros(ctx, PLEAT_F64, PLEAT_SHAPE(3)))));
    for (int i = 0; i < 40; i++) pleat_begin(ctx);
    pleat_end(s);
}

/* A convolution with bias and relu, and two gradients of it. */
static void differentiate_fused(pleat_ctx *ctx, pleat_tensor *const *xs) {
    pleat_tensor *g[2] = {NULL}, *gg[2] = {NULL}, *bias = pleat_reshape(pleat_mean(xs[0]), PLEAT_SHAPE(1));
    pleat_tensor *y = pleat_conv2d(xs[0], xs[1], .bias = bias, .relu = true);
    y = pleat_conv2d_transpose(y, xs[1], .bias = pleat_flip(bias, PLEAT_AXES(0)), .relu = true);
    expect_honest(y, ctx);
    cr_assert(fine(pleat_grads(pleat_sum(pleat_square(y)), NULL, 2, xs, g, PLEAT_GRADS_RECORD)));
    cr_assert(fine(pleat_grads(pleat_sum(pleat_square(g[1])), NULL, 2, xs, gg, 0)));
    for (int i = 0; i < 2; i++) expect_honest(g[i], ctx), expect_honest(gg[i], ctx);
    pleat_trim(ctx);
}

static void differentiate(pleat_ctx *ctx, pleat_tensor *const *xs) {
    pleat_scope s = pleat_begin(ctx);
    pleat_tensor *g[2] = {NULL}, *gg[2] = {NULL};
    pleat_tensor *y = network(2, xs, NULL), *leaf = pleat_zeros(ctx, PLEAT_F64, PLEAT_SCALAR);
    expect_honest(y, ctx);
    cr_assert(fine(pleat_grads(y, NULL, 2, xs, g, PLEAT_GRADS_RECORD)));
    pleat_tensor *slope = pleat_sum(pleat_square(g[0]));
    cr_assert(fine(pleat_grads(slope, NULL, 2, xs, gg, 0)));
    for (int i = 0; i < 2; i++) expect_honest(g[i], ctx), expect_honest(gg[i], ctx);
    pleat_trim(ctx);
    differentiate_fused(ctx, xs);
    pleat_tensor *same[2] = {leaf, xs[1]};
    cr_assert(pleat_is_poison(leaf) || fine(pleat_grads(leaf, NULL, 2, same, g, 0)));
    pleat_tensor *chain = xs[0];
    for (int i = 0; i < 70; i++) chain = pleat_neg(chain); /* the walk's lists grow */
    cr_assert(fine(pleat_grads(pleat_sum(chain), NULL, 1, xs, g, 0)));
    pleat_end(s);
}

static void check(pleat_ctx *ctx, pleat_tensor *const *xs) {
    pleat_scope s = pleat_begin(ctx);
    pleat_report r = {.ok = true};
    pleat_tensor *x = pleat_zeros(ctx, PLEAT_F64, PLEAT_SHAPE(1, 2, 3, 6)),
                 *w = pleat_full(ctx, PLEAT_F64, PLEAT_SHAPE(2, 1, 2, 3), 1);
    pleat_tensor *y = wide_conv(x, w);
    if (pleat_error(ctx)->code == PLEAT_OK) {
        pleat_status status = pleat_gradcheck(network, 2, xs, .order = 2, .report = &r);
        cr_assert(fine(status) && r.ok == (status == PLEAT_OK), "%s: %s", pleat_status_name(status), r.text);
        cr_assert_eq(pleat_error(ctx)->code, PLEAT_OK, "the error stays in the report");
        pleat_trim(ctx);
        status =
            pleat_adjointcheck(wide_conv, wide_transpose, x, y, .user = w, .integers = true, .report = &r);
        cr_assert(fine(status) && r.ok == (status == PLEAT_OK), "%s: %s", pleat_status_name(status), r.text);
        cr_assert_eq(pleat_error(ctx)->code, PLEAT_OK);
    }
    pleat_end(s);
}

/* All of the above, with next to nothing left from the part before. */
static void everything(pleat_ctx *ctx) {
    make(ctx);
    pleat_trim(ctx);
    pleat_tensor *xs[] = {pleat_randn(ctx, PLEAT_F64, PLEAT_SHAPE(1, 1, 3, 3)),
                          pleat_randn(ctx, PLEAT_F64, PLEAT_SHAPE(1, 1, 2, 2))};
    if (!pleat_is_poison(xs[0]) && !pleat_is_poison(xs[1])) {
        differentiate(ctx, xs);
        pleat_trim(ctx);
        check(ctx, xs);
    }
    pleat_drop(xs[0]);
    pleat_drop(xs[1]);
}

static void expect_usable(pleat_ctx *ctx) {
    pleat_clear_error(ctx);
    pleat_scope s = pleat_begin(ctx);
    pleat_tensor *x = pleat_full(ctx, PLEAT_F64, PLEAT_SHAPE(2, 3), 3), *gx;
    cr_assert_eq(pleat_grads(pleat_sum(pleat_square(x)), NULL, 1, &x, &gx, 0), PLEAT_OK);
    cr_assert_eq(pleat_at(gx, (size_t[]){1, 2}), 6);
    pleat_end(s);
    cr_assert_eq(pleat_memory(ctx).tensors, 0, "%zu tensors live on", pleat_memory(ctx).tensors);
}

/* Whether a call was made to fail. */
static bool run(faults *f) {
    pleat_ctx *ctx = pleat_ctx_new(.threads = 1, .alloc = faulty_alloc, .free = faulty_free, .user = f);
    if (ctx != NULL) {
        everything(ctx);
        cr_assert(fine(pleat_error(ctx)->code), "call %zu: %s", f->first, pleat_error(ctx)->text);
        cr_assert(f->count > 1 || pleat_error(ctx)->code == PLEAT_OK, "call %zu was not repeated", f->first);
        size_t calls = f->calls;
        f->count = 0;
        expect_usable(ctx);
        f->calls = calls;
    }
    pleat_ctx_free(ctx);
    cr_assert_eq(f->blocks, 0, "call %zu: %zu blocks leaked", f->first, f->blocks);
    return f->calls >= f->first;
}

/* One failure alone is made good by giving unused blocks back and asking again; a second one in a row is not. */
static void expect_no_harm(size_t count) {
    size_t n = 1;
    while (run(&(faults){.first = n, .count = count})) n++;
    cr_assert_gt(n, 100, "only %zu calls were tried", n);
}

Test(faults, one_call_fails) { expect_no_harm(1); }
Test(faults, two_calls_fail) { expect_no_harm(2); }
Test(faults, all_calls_fail_from_then_on) { expect_no_harm(SIZE_MAX); }

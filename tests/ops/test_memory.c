/* Memory: a loop that repeats itself allocates nothing, everything goes back, and the numbers of pleat_memory say so. */
#include <math.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "core/core.h"
#include "mallocs.h"
#include "tensors.h"
#include "unwritten.h"

TestSuite(memory, .init = tensors_begin, .fini = tensors_end);

/* ---- a loop --------------------------------------------------------------------------------------------- */

/* One step of a network with every kind of op, its gradients, and their gradients; returns a number. */
static double turn(pleat_tensor *const *params, pleat_tensor *image) {
    pleat_scope s = pleat_begin(ctx);
    pleat_tensor *g[3], *gg[3];
    pleat_tensor *map = pleat_relu(pleat_conv2d(image, params[0], .stride = {2, 2}, .pad = {1, 1}));
    pleat_tensor *back =
        pleat_conv2d_transpose(map, params[0], .stride = {2, 2}, .pad = {1, 1}, .size = {20, 20});
    pleat_tensor *flat =
        pleat_reshape(pleat_permute(back, (size_t[]){0, 2, 3, 1}), PLEAT_SHAPE(4, PLEAT_REST));
    pleat_tensor *hidden = pleat_tanh(pleat_add(pleat_matmul(flat, params[1]), params[2]));
    pleat_tensor *both = pleat_concat(2, (pleat_tensor *[]){hidden, pleat_flip(hidden, PLEAT_AXES(1))}, 1);
    pleat_tensor *loss =
        pleat_mean(pleat_square(pleat_sub(both, pleat_mean(both, PLEAT_AXES(1), .keep = true))));
    EXPECT_OK(pleat_grads(loss, NULL, 3, params, g, PLEAT_GRADS_RECORD));
    EXPECT_OK(pleat_grads(pleat_sum(pleat_square(g[0])), NULL, 3, params, gg, 0));
    for (int i = 0; i < 3; i++) pleat_assign(params[i], pleat_sub(params[i], pleat_scale(g[i], 0.1)));
    double value = pleat_item(loss) + pleat_item(pleat_sum(gg[1]));
    pleat_end(s);
    return value;
}

static void expect_steady(pleat_dtype type, int threads) {
    pleat_set_threads(ctx, threads);
    pleat_scope s = pleat_begin(ctx);
    pleat_tensor *params[] = {pleat_randn(ctx, type, PLEAT_SHAPE(6, 3, 3, 3)),
                              pleat_randn(ctx, type, PLEAT_SHAPE(1200, 50)),
                              pleat_randn(ctx, type, PLEAT_SHAPE(50))};
    pleat_tensor *image = pleat_randn(ctx, type, PLEAT_SHAPE(4, 3, 20, 20));
    for (int i = 0; i < 2; i++) turn(params, image);
    pleat_memory_info before = pleat_memory(ctx);
    mallocs_start();
    for (int i = 0; i < 20; i++) turn(params, image);
    size_t mallocs = mallocs_stop();
    pleat_memory_info after = pleat_memory(ctx);
    cr_assert_eq(after.allocations, before.allocations, "%zu allocations",
                 after.allocations - before.allocations);
    cr_assert_eq(mallocs, 0, "%zu calls of malloc, %d threads", mallocs, threads);
    cr_assert_eq(after.in_use, before.in_use);
    cr_assert_eq(after.peak, before.peak);
    cr_assert_eq(after.reserved, before.reserved);
    cr_assert_eq(after.tensors, before.tensors);
    pleat_end(s);
}

Test(memory, a_loop_allocates_nothing_once_warm) {
    for (pleat_dtype type = PLEAT_F32; type <= PLEAT_F64; type++) {
        for (int threads = 1; threads <= 2; threads++) expect_steady(type, threads);
    }
}

Test(memory, mallocs_are_seen) {
    if (!mallocs_are_counted()) cr_skip_test("a sanitizer's malloc cannot be counted");
    mallocs_start();
    pleat_tensor *x = pleat_zeros(ctx, PLEAT_F64, PLEAT_SHAPE(1000));
    size_t first = mallocs_stop();
    cr_assert_eq(first, pleat_memory(ctx).allocations - 1, "all but the list of scopes");
    pleat_drop(x);
    mallocs_start();
    pleat_zeros(ctx, PLEAT_F32, PLEAT_SHAPE(2000));
    cr_assert_eq(mallocs_stop(), 0);
}

static pleat_tensor *curved(size_t n, pleat_tensor *const *xs, void *user) {
    (void)n, (void)user;
    return pleat_tanh(pleat_mul(xs[0], xs[0]));
}

Test(memory, checks_leave_nothing) {
    pleat_tensor *x = pleat_randn(ctx, PLEAT_F64, PLEAT_SHAPE(3));
    pleat_memory_info before = pleat_memory(ctx);
    pleat_gradcheck(curved, 1, &x, .order = 3);
    pleat_memory_info after = pleat_memory(ctx);
    cr_assert(after.in_use == before.in_use && after.tensors == before.tensors && after.peak > before.peak);
}

/* ---- blocks --------------------------------------------------------------------------------------------- */

Test(memory, little_is_wasted_and_all_is_aligned) {
    size_t base = pleat_memory(ctx).in_use;
    for (size_t bytes = 4; bytes < 100000; bytes += bytes / 3 / 4 * 4 + 4) {
        pleat_tensor *t = pleat_empty(ctx, PLEAT_F32, PLEAT_SHAPE(bytes / 4));
        size_t used = pleat_memory(ctx).in_use - base, overhead = 1024; /* shape, strides, lists */
        cr_assert_leq(used, bytes + bytes / 4 + overhead, "%zu for %zu", used, bytes);
        cr_assert_geq(used, bytes);
        cr_assert_eq((uintptr_t)pleat_f32(t) % 64, 0);
        float *data = pleat_f32(t);
        data[0] = data[bytes / 4 - 1] = 1; /* an address sanitizer would see a block that is too small */
        pleat_drop(t);
        cr_assert_eq(pleat_memory(ctx).in_use, base);
    }
}

Test(memory, blocks_are_used_again) {
    pleat_tensor *x = pleat_empty(ctx, PLEAT_F32, PLEAT_SHAPE(1000));
    float *data = pleat_f32(x);
    pleat_drop(x);
    pleat_memory_info before = pleat_memory(ctx);
    cr_assert_eq(pleat_f32(pleat_empty(ctx, PLEAT_F32, PLEAT_SHAPE(1000))), data);
    cr_assert_eq(pleat_memory(ctx).allocations, before.allocations);
    cr_assert_eq(pleat_memory(ctx).reserved, before.reserved);
}

/* Does a memory checker run, for which each block is one of the allocator's? */
static bool blocks_are_apart(void) {
#if defined(__SANITIZE_ADDRESS__)
    return true;
#elif defined(__has_feature)
#    if __has_feature(address_sanitizer)
    return true;
#    endif
#endif
    return unwritten_is_watched();
}

/* What was maps becomes gradients: free blocks make room for others of any sizes. */
Test(memory, large_blocks_grow_together) {
    enum { MAPS = 40, MAP = 300000 };
    if (blocks_are_apart()) cr_skip_test("each block is one of the allocator's");
    pleat_tensor *map[MAPS];
    pleat_memory_info before = pleat_memory(ctx);
    for (size_t i = 0; i < MAPS; i++) map[i] = pleat_zeros(ctx, PLEAT_F32, PLEAT_SHAPE(MAP));
    size_t with_maps = pleat_memory(ctx).reserved;
    cr_expect_lt(pleat_memory(ctx).allocations - before.allocations, MAPS * 5 / 2, "two for each handle");
    cr_assert_lt(with_maps, (size_t)MAPS * MAP * sizeof(float) * 4 / 3);
    for (size_t i = MAPS; i-- > 0;) { /* from the last on, as a walk does */
        pleat_drop(map[i]);
        pleat_zeros(ctx, PLEAT_F32, PLEAT_SHAPE(MAP / 4));
        pleat_zeros(ctx, PLEAT_F32, PLEAT_SHAPE(i % 2 ? MAP / 3 : 2 * MAP / 3));
    }
    cr_expect_leq(pleat_memory(ctx).reserved, with_maps * 9 / 8, "%zu bytes beside %zu",
                  pleat_memory(ctx).reserved - with_maps, with_maps);
}

/* Blocks of all sizes in any order lie apart, keep what was written to them, and leave nothing behind. */
Test(memory, blocks_lie_apart) {
    enum { BLOCKS = 60, TURNS = 6000, MOST = 400000 };
    unsigned char *block[BLOCKS] = {NULL};
    size_t bytes[BLOCKS] = {0};
    pleat_rng *r = pleat_ctx_rng(ctx);
    pleat_memory_info before = pleat_memory(ctx);
    for (size_t turn = 0; turn < TURNS + BLOCKS; turn++) {
        size_t i = turn < TURNS ? (size_t)pleat_rng_below(r, BLOCKS) : turn - TURNS;
        for (size_t k = 0; block[i] != NULL && k < bytes[i]; k += k + 4096 < bytes[i] ? 4096 : bytes[i])
            cr_assert(block[i][k] == i && block[i][bytes[i] - 1 - k] == i, "block %zu of %zu bytes", i,
                      bytes[i]);
        pl_give(&ctx->memory, block[i]);
        block[i] = NULL;
        if (turn % 100 == 0) pleat_trim(ctx);
        if (turn >= TURNS) continue;
        bytes[i] = 1 + (size_t)pleat_rng_below(r, pleat_rng_below(r, 2) ? MOST : 65536 + 1024);
        block[i] = pl_take(&ctx->memory, bytes[i]);
        cr_assert(block[i] != NULL && (uintptr_t)block[i] % 64 == 0);
        memset(block[i], (int)i, bytes[i]);
    }
    cr_assert_eq(pleat_memory(ctx).in_use, before.in_use);
    pleat_trim(ctx);
    cr_assert_eq(pleat_memory(ctx).reserved, pleat_memory(ctx).in_use);
}

Test(memory, trim_gives_back_what_is_not_in_use) {
    pleat_scope s = pleat_begin(ctx);
    pleat_tensor *kept = pleat_keep(counted(PLEAT_F64, PLEAT_SHAPE(100)));
    for (size_t n = 1; n < 100000; n *= 3) pleat_zeros(ctx, PLEAT_F64, PLEAT_SHAPE(n));
    cr_assert_geq(pleat_memory(ctx).reserved, pleat_memory(ctx).in_use);
    pleat_end(s);
    pleat_memory_info before = pleat_memory(ctx);
    cr_assert_gt(before.reserved, before.in_use + 500000);
    pleat_trim(ctx);
    pleat_memory_info after = pleat_memory(ctx);
    cr_assert_eq(after.reserved, after.in_use);
    cr_assert_eq(after.in_use, before.in_use);
    cr_assert_eq(after.peak, before.peak);
    EXPECT_SAME(kept, counted(PLEAT_F64, PLEAT_SHAPE(100)));
    cr_assert_gt(pleat_memory(ctx).allocations, before.allocations);
}

Test(memory, views_share) {
    pleat_tensor *x = counted(PLEAT_F64, PLEAT_SHAPE(10, 10000));
    pleat_set_recording(ctx, false);
    size_t with_x = pleat_memory(ctx).in_use, elements = 10 * 10000 * sizeof(double);
    pleat_tensor *row = pleat_slice(x, (size_t[]){3, 0}, (size_t[]){1, 10000}, NULL),
                 *more = pleat_detach(row);
    cr_assert_lt(pleat_memory(ctx).in_use - with_x, 2048);
    pleat_drop(x);
    pleat_drop(row);
    cr_assert_gt(pleat_memory(ctx).in_use, elements);
    cr_assert_eq(pleat_at(more, (size_t[]){0, 7}), 30008);
    pleat_drop(more);
    cr_assert_lt(pleat_memory(ctx).in_use, elements / 10);
    cr_assert_eq(pleat_memory(ctx).tensors, 0);
}

/* What a result remembers is counted as long as the result lives, and no longer. */
Test(memory, histories_are_counted) {
    pleat_tensor *x = counted(PLEAT_F64, PLEAT_SHAPE(1000));
    pleat_memory_info base = pleat_memory(ctx);
    pleat_scope s = pleat_begin(ctx);
    pleat_tensor *y = pleat_keep(pleat_exp(pleat_neg(pleat_square(x))));
    pleat_end(s);
    cr_assert_eq(pleat_memory(ctx).tensors, base.tensors + 3);
    pleat_drop(y);
    cr_assert_eq(pleat_memory(ctx).tensors, base.tensors);
    cr_assert_eq(pleat_memory(ctx).in_use, base.in_use);
}

/* ---- what nobody wrote --------------------------------------------------------------------------------- */

/* Counts from 1 on, up to the last element but *attrs. */
static bool count_forward(const pleat_call *c) {
    size_t n = pleat_numel(c->out) - *(const size_t *)c->attrs;
    for (size_t i = 0; i < n; i++) {
        if (c->dtype == PLEAT_F64)
            pleat_f64(c->out)[i] = (double)(i + 1);
        else
            pleat_f32(c->out)[i] = (float)(i + 1);
    }
    return true;
}

static bool count_shape(pleat_call *c) {
    c->rank = 1;
    c->shape[0] = pleat_numel(c->in[0]);
    return true;
}

static pleat_tensor *count(pleat_tensor *x, size_t missing) {
    static const pleat_op op = {"count", count_shape, count_forward, NULL, NULL, NULL, NULL};
    return pleat_apply(&op, 1, &x, &missing, sizeof missing);
}

/* The op that forgets its last element has the memory of one that did not. */
Test(memory, what_an_op_leaves_unwritten_is_seen) {
    if (unwritten_is_watched()) cr_skip_test("valgrind sees it by itself");
    for (pleat_dtype type = PLEAT_F32; type <= PLEAT_F64; type++) {
        for (size_t n = 500; n < 50000; n += n / 2) { /* no block of that size is for anything else */
            pleat_tensor *x = pleat_zeros(ctx, type, 1, &n), *right = count(x, 0);
            const void *data = type == PLEAT_F32 ? (void *)pleat_f32(right) : pleat_f64(right);
            EXPECT_SAME(right, counted(type, 1, &n));
            pleat_drop(right);
            pleat_tensor *wrong = count(x, 1);
            cr_assert_eq(type == PLEAT_F32 ? (void *)pleat_f32(wrong) : pleat_f64(wrong), data);
            double last = pleat_at(wrong, (size_t[]){n - 1});
            cr_assert(last > 1e14 && isfinite(last * last), "%zu elements, the last is %g", n, last);
            size_t others = 0;
            for (size_t i = 0; i < 9; i++) others += !same(count(x, 1), wrong);
            cr_assert_gt(others, 4, "it is another number nearly every time, and was only %zu times", others);
            cr_assert_not(same(wrong, counted(type, 1, &n)));
        }
    }
}

/* What an op takes for itself, to its last byte, the first time and the second. */
Test(memory, what_an_op_takes_for_itself_is_filled) {
    if (unwritten_is_watched()) cr_skip_test("valgrind sees it by itself");
    for (size_t bytes = 1; bytes < 100000; bytes += 1 + bytes / 3) {
        for (int turn = 0; turn < 2; turn++) {
            unsigned char *block = pl_take(&ctx->memory, bytes);
            cr_assert_not_null(block);
            for (size_t i = 0; i < bytes; i++) cr_assert_gt(block[i], 0x50, "byte %zu of %zu", i, bytes);
            memset(block, 1, bytes);
            pl_give(&ctx->memory, block);
        }
    }
}

/* ---- an allocator of one's own ---------------------------------------------------------------------------- */

typedef struct counts {
    size_t allocs, frees;
} counts;

static void *counting_alloc(void *user, size_t bytes) {
    ((counts *)user)->allocs++;
    char *block = malloc(bytes + 8);
    return block == NULL ? NULL : block + 8; /* as badly aligned as malloc would never be */
}
static void counting_free(void *user, void *block) {
    ((counts *)user)->frees++;
    free((char *)block - 8);
}

Test(memory, an_own_allocator) {
    counts n = {0};
    pleat_ctx *own = pleat_ctx_new(.alloc = counting_alloc, .free = counting_free, .user = &n);
    size_t before = n.allocs;
    pleat_scope s = pleat_begin(own);
    pleat_tensor *x = pleat_full(own, PLEAT_F32, PLEAT_SHAPE(5), 2);
    cr_assert_eq((uintptr_t)pleat_f32(x) % 64, 0);
    pleat_hold(pleat_exp(x)); /* nobody drops it but the context */
    cr_assert_eq(pleat_memory(own).allocations, n.allocs - 1, "all but the context itself");
    cr_assert_gt(n.allocs, before);
    pleat_end(s);
    pleat_ctx_free(own);
    cr_assert_eq(n.allocs, n.frees);
}

/* An allocator with a limit, counted in bytes. */
typedef struct purse {
    size_t left;
} purse;

static void *limited_alloc(void *user, size_t bytes) {
    purse *p = user;
    if (bytes > p->left) return NULL;
    size_t *block = malloc(bytes + 16);
    if (block == NULL) return NULL;
    p->left -= *block = bytes;
    return (char *)block + 16;
}
static void limited_free(void *user, void *block) {
    size_t *start = (size_t *)(void *)((char *)block - 16);
    ((purse *)user)->left += *start;
    free(start);
}

Test(memory, blocks_that_wait_make_room_for_others) {
    purse p = {.left = 1 << 20};
    pleat_ctx *own = pleat_ctx_new(.alloc = limited_alloc, .free = limited_free, .user = &p);
    pleat_scope s = pleat_begin(own);
    for (size_t n = 1000; n < 16000; n += 900) pleat_zeros(own, PLEAT_F32, PLEAT_SHAPE(n));
    pleat_zeros(own, PLEAT_F32, PLEAT_SHAPE(20000));
    pleat_end(s);
    cr_assert_lt(p.left, 400000);
    pleat_tensor *large = pleat_full(own, PLEAT_F32, PLEAT_SHAPE(180000), 7);
    cr_assert_eq(pleat_at(large, (size_t[]){179999}), 7, "%s", pleat_error(own)->text);
    cr_assert(pleat_is_poison(pleat_zeros(own, PLEAT_F32, PLEAT_SHAPE(180000))));
    cr_assert_eq(pleat_error(own)->code, PLEAT_ERR_MEMORY);
    pleat_ctx_free(own);
    cr_assert_eq(p.left, 1 << 20);
}

/* A chunk is larger than its first block only if there is memory for it. */
Test(memory, the_last_bytes_are_found) {
    if (blocks_are_apart()) cr_skip_test("each block is one of the allocator's");
    purse p = {.left = 8 << 20};
    pleat_ctx *own = pleat_ctx_new(.alloc = limited_alloc, .free = limited_free, .user = &p);
    cr_assert_not(pleat_is_poison(pleat_zeros(own, PLEAT_F32, PLEAT_SHAPE(1 << 20))));
    cr_assert_not(pleat_is_poison(pleat_zeros(own, PLEAT_F32, PLEAT_SHAPE(800000))));
    size_t left = p.left;
    cr_assert_not(pleat_is_poison(pleat_zeros(own, PLEAT_F32, PLEAT_SHAPE(100000))), "%zu left", left);
    cr_assert_lt(p.left, left - 400000);
    pleat_ctx_free(own);
    cr_assert_eq(p.left, 8 << 20);
}

Test(memory, half_an_allocator_is_none) {
    counts n = {0};
    pleat_ctx *own = pleat_ctx_new(.alloc = counting_alloc, .user = &n);
    pleat_zeros(own, PLEAT_F32, PLEAT_SHAPE(5));
    pleat_ctx_free(own);
    cr_assert_eq(n.allocs, 0);
}

/* What is made of a tensor's elements can tell that somebody may have written since; reads and new tensors do not count. */
Test(memory, writes_in_place_are_counted) {
    pleat_tensor *x = pleat_zeros(ctx, PLEAT_F32, PLEAT_SHAPE(2, 3)),
                 *view = pleat_reshape(x, PLEAT_SHAPE(6));
    uint64_t before = x->storage->version;
    cr_assert_eq(pleat_item(pleat_sum(pleat_add(x, x))), 0);
    cr_assert_eq(pleat_at(x, (size_t[]){1, 2}), 0);
    cr_assert_eq(x->storage->version, before);
    cr_assert_not_null(pleat_f32(view));
    cr_assert_gt(x->storage->version, before, "a pointer to the elements of a view");
    before = x->storage->version;
    cr_assert_eq(pleat_assign(view, pleat_full(ctx, PLEAT_F32, PLEAT_SHAPE(6), 1)), PLEAT_OK);
    cr_assert_gt(x->storage->version, before, "assign");
}

#include "bits.h"

#include <criterion/criterion.h>
#include <math.h>
#include <string.h>

uint64_t bits_add(uint64_t hash, uint64_t number) {
    hash = (hash ^ number) * 0x9e3779b97f4a7c15u;
    return hash ^ hash >> 32;
}

uint64_t bits_add_f64(uint64_t hash, double x) {
    uint64_t bits;
    memcpy(&bits, &x, sizeof bits);
    return bits_add(hash, isnan(x) ? 0x7ff8000000000000 : bits);
}

uint64_t bits_add_bytes(uint64_t hash, size_t n, const uint8_t *bytes) {
    for (size_t i = 0; i < n; i++) hash = bits_add(hash, bytes[i]);
    return hash;
}

uint64_t bits_add_tensor(uint64_t hash, const pleat_tensor *t) {
    pleat_tensor *dense = pleat_contiguous((pleat_tensor *)t);
    for (size_t i = 0; i < pleat_numel(t); i++)
        hash = bits_add_f64(hash, pleat_dtype_of(t) == PLEAT_F32 ? (double)pleat_const_f32(dense)[i]
                                                                 : pleat_const_f64(dense)[i]);
    return hash;
}

static pleat_tensor *drawn(pleat_ctx *ctx, pleat_dtype type, size_t rank, const size_t *shape) {
    return pleat_uniform(ctx, type, rank, shape, -2, 2);
}

/* The gradients of <y, random numbers>. */
static void gradients(pleat_tensor *y, size_t n, pleat_tensor *const *xs, pleat_tensor **gxs) {
    pleat_tensor *r = drawn(pleat_ctx_of(y), pleat_dtype_of(y), pleat_rank(y), pleat_shape(y));
    pleat_grads(y, r, n, xs, gxs, PLEAT_GRADS_RECORD);
}

static uint64_t add_case(uint64_t hash, const bits_case *c, pleat_dtype type, int threads) {
    pleat_ctx *ctx = pleat_ctx_new(.threads = threads, .seed = 3);
    pleat_tensor *xs[3] = {drawn(ctx, type, c->rank, c->shape), drawn(ctx, type, 1, c->shape + 1),
                           drawn(ctx, type, 1, c->shape + 1)};
    pleat_tensor *y = c->f(xs[0], xs[1], xs[2]), *g[3], *second;
    hash = bits_add_tensor(hash, y);
    gradients(y, 3, xs, g);
    for (size_t i = 0; i < 3; i++) hash = bits_add_tensor(hash, g[i]);
    gradients(g[0], 1, xs, &second);
    hash = bits_add_tensor(hash, second);
    cr_assert_eq(pleat_error(ctx)->code, PLEAT_OK, "%s: %s", c->name, pleat_error(ctx)->text);
    pleat_ctx_free(ctx);
    return hash;
}

void bits_expect(size_t n, const bits_case *cases) {
    static const int threads[] = {1, 2, 3, 5};
    for (const bits_case *c = cases; c < cases + n; c++)
        for (size_t k = 0; k < sizeof threads / sizeof *threads; k++) {
            const uint64_t hash =
                add_case(add_case(BITS_NONE, c, PLEAT_F32, threads[k]), c, PLEAT_F64, threads[k]);
            cr_expect_eq(hash, c->hash, "%s, %d threads: 0x%016llxu", c->name, threads[k],
                         (unsigned long long)hash);
        }
}

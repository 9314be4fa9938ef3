/* Philox4x32-10: a counter and a key go through ten rounds of multiply and xor (Salmon et al., SC 2011). */
#include <math.h>

#include "core/core.h"
#include "core/functions.h"

static void philox(const uint32_t counter[4], uint64_t key, uint32_t out[4]) {
    uint32_t k0 = (uint32_t)key, k1 = (uint32_t)(key >> 32);
    uint32_t c0 = counter[0], c1 = counter[1], c2 = counter[2], c3 = counter[3];
    for (int round = 0; round < 10; round++) {
        uint64_t a = (uint64_t)0xD2511F53 * c0, b = (uint64_t)0xCD9E8D57 * c2;
        c0 = (uint32_t)(b >> 32) ^ c1 ^ k0;
        c1 = (uint32_t)b;
        c2 = (uint32_t)(a >> 32) ^ c3 ^ k1;
        c3 = (uint32_t)a;
        k0 += 0x9E3779B9;
        k1 += 0xBB67AE85;
    }
    out[0] = c0, out[1] = c1, out[2] = c2, out[3] = c3;
}

pleat_rng pleat_rng_new(uint64_t seed, uint64_t stream) {
    return (pleat_rng){.seed = seed, .stream = stream};
}

uint32_t pleat_rng_u32(pleat_rng *r) {
    if (r->left == 0) {
        uint32_t counter[4] = {(uint32_t)r->counter, (uint32_t)(r->counter >> 32), (uint32_t)r->stream,
                               (uint32_t)(r->stream >> 32)};
        philox(counter, r->seed, r->block);
        r->counter++;
        r->left = 4;
    }
    return r->block[4 - r->left--];
}

static uint64_t u64(pleat_rng *r) {
    uint64_t high = pleat_rng_u32(r);
    return high << 32 | pleat_rng_u32(r);
}

uint64_t pleat_rng_below(pleat_rng *r, uint64_t n) {
    if (n == 0) return 0;
    /* reject numbers below 2^64 mod n, which would make small results more likely */
    uint64_t floor = (0 - n) % n, x;
    do x = u64(r);
    while (x < floor);
    return x % n;
}

double pleat_rng_uniform(pleat_rng *r) { return (double)(u64(r) >> 11) * 0x1p-53; }

double pleat_rng_normal(pleat_rng *r) {
    double u = 1 - pleat_rng_uniform(r), v = pleat_rng_uniform(r);
    return sqrt(-2 * pl_log_f64(u)) * pl_cos_turns(v);
}

/* Round x to the type and keep it in [low, high), which rounding may leave on either side; if the type has a
 * number there. */
static double in_range(double x, pleat_dtype dtype, double low, double high) {
    if (low >= high) return x;
    if (dtype == PLEAT_F64) return x < high ? x : nextafter(high, low);
    float y = (float)x;
    if ((double)y < low) y = nextafterf(y, INFINITY);
    return (double)y < high ? (double)y : (double)nextafterf(y, -INFINITY);
}

/* The width of the range may overflow; its ends do not. */
static double between(double low, double high, double u) {
    double width = high - low;
    return isfinite(width) ? low + width * u : low * (1 - u) + high * u;
}

static pleat_tensor *draw(pleat_tensor *t, bool normal, double low, double high) {
    if (t->poison) return t;
    pleat_rng *r = &t->ctx->rng;
    for (size_t i = 0; i < t->numel; i++) {
        double x = normal ? pleat_rng_normal(r)
                          : in_range(between(low, high, pleat_rng_uniform(r)), t->dtype, low, high);
        if (t->dtype == PLEAT_F64) {
            ((double *)t->data)[i] = x;
        } else {
            ((float *)t->data)[i] = (float)x;
        }
    }
    return t;
}

pleat_tensor *pleat_randn(pleat_ctx *ctx, pleat_dtype dtype, size_t rank, const size_t *shape) {
    return draw(pl_tensor_new(ctx, "randn", dtype, rank, shape), true, 0, 0);
}

pleat_tensor *pleat_uniform(pleat_ctx *ctx, pleat_dtype dtype, size_t rank, const size_t *shape, double low,
                            double high) {
    return draw(pl_tensor_new(ctx, "uniform", dtype, rank, shape), false, low, high);
}

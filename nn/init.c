/* Initialisers: random values from the context's stream, in place, scaled by the fans of the weight as in
 * torch.nn.init. */
#include "pleat_nn.h"

#include <math.h>

static pleat_status fill_uniform(pleat_tensor *w, double low, double high) {
    pleat_ctx *ctx = pleat_ctx_of(w);
    pleat_scope scope = pleat_begin(ctx);
    pleat_tensor *drawn = pleat_uniform(ctx, pleat_dtype_of(w), pleat_rank(w), pleat_shape(w), low, high);
    pleat_status status = pleat_is_poison(drawn) ? PLEAT_ERR_MEMORY : pleat_assign(w, drawn);
    pleat_end(scope);
    return status;
}

static pleat_status fill_normal(pleat_tensor *w, double deviation) {
    pleat_rng *r = pleat_ctx_rng(pleat_ctx_of(w));
    size_t n = pleat_numel(w);
    bool wide = pleat_dtype_of(w) == PLEAT_F64;
    void *to = pleat_write_now(w, "an initialiser");
    if (!to) return PLEAT_ERR_ARGUMENT;
    for (size_t i = 0; i < n; i++) {
        double x = deviation * pleat_rng_normal(r);
        if (wide)
            ((double *)to)[i] = x;
        else
            ((float *)to)[i] = (float)x;
    }
    return PLEAT_OK;
}

/* Check that w can be filled and that the options satisfy `rule`, of which `sense` is the result. */
static pleat_status check(pleat_tensor *w, const char *op, bool sense, const char *rule) {
    if (!w) return PLEAT_ERR_ARGUMENT;
    pleat_ctx *ctx = pleat_ctx_of(w);
    if (pleat_is_poison(w))
        return pleat_fail(ctx, PLEAT_ERR_ARGUMENT, op, "w is poison: an op failed before");
    if (!pleat_is_contiguous(w)) return pleat_fail(ctx, PLEAT_ERR_ARGUMENT, op, "w must be contiguous");
    return sense ? PLEAT_OK : pleat_fail(ctx, PLEAT_ERR_ARGUMENT, op, "%s", rule);
}

/* The fans of w, as doubles, since they are divisors. */
static pleat_status fans(pleat_tensor *w, const char *op, double *in, double *out) {
    char text[96];
    if (pleat_rank(w) < 2)
        return pleat_fail(pleat_ctx_of(w), PLEAT_ERR_SHAPE, op,
                          "w is %s, but fans need rank 2 or more; for a bias use pleat_nn_init_uniform",
                          pleat_shape_text(w, text, sizeof text));
    double field = 1;
    for (size_t i = 2; i < pleat_rank(w); i++) field *= (double)pleat_size(w, i);
    *in = (double)pleat_size(w, 1) * field;
    *out = (double)pleat_size(w, 0) * field;
    return PLEAT_OK;
}

/* Fill w with random numbers of this variance. */
typedef pleat_status filler(pleat_tensor *w, double variance);

/* A uniform distribution in +-bound has the variance bound^2 / 3. */
static pleat_status fill_uniform_of(pleat_tensor *w, double variance) {
    double bound = sqrt(3 * variance);
    return fill_uniform(w, -bound, bound);
}

static pleat_status fill_normal_of(pleat_tensor *w, double variance) {
    return fill_normal(w, sqrt(variance));
}

static pleat_status kaiming(pleat_tensor *w, double a, const char *op, filler *fill) {
    double in, out;
    pleat_status s = check(w, op, isfinite(a), "a must be finite");
    if (!s) s = fans(w, op, &in, &out);
    return s ? s : fill(w, 2 / ((1 + a * a) * in));
}

static pleat_status xavier(pleat_tensor *w, double gain, const char *op, filler *fill) {
    double in, out;
    pleat_status s = check(w, op, isfinite(gain) && gain >= 0, "gain must be finite and not negative");
    if (!s) s = fans(w, op, &in, &out);
    return s ? s : fill(w, gain * gain * 2 / (in + out));
}

pleat_status pleat_nn_init_kaiming_uniform(pleat_tensor *w, double a) {
    return kaiming(w, a, "init_kaiming_uniform", fill_uniform_of);
}
pleat_status pleat_nn_init_kaiming_normal(pleat_tensor *w, double a) {
    return kaiming(w, a, "init_kaiming_normal", fill_normal_of);
}
pleat_status pleat_nn_init_xavier_uniform(pleat_tensor *w, double gain) {
    return xavier(w, gain, "init_xavier_uniform", fill_uniform_of);
}
pleat_status pleat_nn_init_xavier_normal(pleat_tensor *w, double gain) {
    return xavier(w, gain, "init_xavier_normal", fill_normal_of);
}

pleat_status pleat_nn_init_uniform(pleat_tensor *w, double low, double high) {
    pleat_status s = check(w, "init_uniform", low <= high && isfinite(low) && isfinite(high),
                           "low and high must be finite, and low not above high");
    return s ? s : fill_uniform(w, low, high);
}

/* normalize: mean 0 and variance 1 over some axes. Law: normalize(a x + b) = normalize(x) for a > 0, up to eps. */
#include "core/core.h"
#include "kernels/parallel.h"

#include <math.h>

/* ---- x [A,K,B], over A and B ------------------------------------------------------------------------------- */

typedef struct slabs {
    size_t A, K, B;
    const void *x;
    void *y;
    double eps;
} slabs;

enum { LANES = 8 };

#define T float
#define NAME(f) f##_f32
#include "normalize.inc"
#undef T
#undef NAME
#define T double
#define NAME(f) f##_f64
#include "normalize.inc"

static bool slabs_forward(const pleat_call *c) {
    pleat_tensor *x = pl_dense(c->in[0]);
    bool usable = !x->poison;
    if (usable && x->numel > 0) {
        slabs s = {x->shape[0], x->shape[1], x->shape[2], x->data, c->out->data, *(const double *)c->attrs};
        pl_parallel(pl_pool_for(c->ctx, 4 * (double)x->numel), s.K,
                    c->dtype == PLEAT_F64 ? slab_f64 : slab_f32, &s);
    }
    pl_release(x);
    return usable;
}

/* With y = normalize(x), and 1/deviation computed from x in ops so that it has derivatives of its own:
 * (g - mean g - y mean(g y)) / deviation */
static pleat_tensor *slabs_vjp(const pleat_call *c, size_t i, pleat_tensor *g) {
    unsigned axes = PLEAT_AXES(0, 2);
    pleat_tensor *y = c->out, *var = pleat_var(c->in[i], axes, .keep = true);
    pleat_tensor *rate = pleat_pow(pleat_shift(var, *(const double *)c->attrs), -0.5);
    pleat_tensor *along = pleat_mul(y, pleat_mean(pleat_mul(g, y), axes, .keep = true));
    pleat_tensor *centred = pleat_sub(g, pleat_mean(g, axes, .keep = true));
    return pleat_mul(pleat_sub(centred, along), rate);
}

static const pleat_op normalize_op = {"normalize", pl_shape_same, slabs_forward, slabs_vjp};

/* ---- over any axes ------------------------------------------------------------------------------------------ */

/* Do the axes not named by `axes` lie side by side? */
static bool one_block(unsigned axes, size_t rank) {
    size_t changes = 0;
    for (size_t k = 1; k < rank; k++) changes += (axes >> k & 1u) != (axes >> (k - 1) & 1u);
    return changes < 2 || (changes == 2 && (axes & 1u) != 0);
}

/* x as [A,K,B]: what is summed before, between, and behind. */
static pleat_tensor *as_slabs(pleat_tensor *x, unsigned axes) {
    size_t sizes[3] = {1, 1, 1}, part = 0;
    for (size_t k = 0; k < x->rank; k++) {
        bool summed = (axes >> k & 1u) != 0;
        if (part == 0 && !summed) part = 1;
        if (part == 1 && summed) part = 2;
        sizes[part] *= x->shape[k];
    }
    return pleat_reshape(x, 3, sizes);
}

static pleat_tensor *normalize_block(pleat_tensor *x, unsigned axes, double eps) {
    pleat_tensor *slab = as_slabs(x, axes);
    return pleat_reshape(pleat_apply(&normalize_op, 1, &slab, &eps, sizeof eps), x->rank, x->shape);
}

/* False after an error. */
static bool usable(const pleat_tensor *x, unsigned axes, double eps) {
    const char *wrong = NULL;
    if (axes == 0 || axes >> x->rank)
        wrong = "axes must name axes of x, at least one";
    else if (!(eps > 0) || !isfinite(eps))
        wrong = "eps must be finite and greater than 0";
    if (wrong != NULL) {
        pleat_fail(x->ctx, PLEAT_ERR_ARGUMENT, normalize_op.name, "%s: %s", pl_shape_of(x).text, wrong);
        return false;
    }
    for (size_t k = 0; k < x->rank; k++) {
        if (!(axes >> k & 1u) || x->shape[k] > 0) continue;
        pleat_fail(x->ctx, PLEAT_ERR_SHAPE, normalize_op.name,
                   "%s: axis %zu is empty, and nothing has no mean", pl_shape_of(x).text, k);
        return false;
    }
    return true;
}

pleat_tensor *pleat_normalize(pleat_tensor *x, unsigned axes, double eps) {
    size_t order[PLEAT_MAX_RANK], back[PLEAT_MAX_RANK], last = 0;
    if (x == NULL || x->poison) return pleat_apply(&normalize_op, 1, &x, NULL, 0);
    if (!usable(x, axes, eps)) return pleat_poison(x->ctx);
    if (one_block(axes, x->rank)) return normalize_block(x, axes, eps);
    for (unsigned summed = 0; summed < 2; summed++)
        for (size_t k = 0; k < x->rank; k++)
            if ((axes >> k & 1u) == summed) order[last++] = k;
    unsigned behind = 0;
    for (size_t k = 0; k < x->rank; k++) {
        back[order[k]] = k;
        if (axes >> order[k] & 1u) behind |= 1u << k;
    }
    return pleat_permute(normalize_block(pleat_contiguous(pleat_permute(x, order)), behind, eps), back);
}

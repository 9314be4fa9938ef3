/* normalize and its parts: the distance from the mean over some axes, the variance, and the rate 1 / sqrt(var
 * + eps). Laws: normalize(a x + b) = normalize(x) for a > 0, up to eps; var is the mean square of the
 * distances. */
#include "kernels/parallel.h"
#include "rules.h"

#include <math.h>

/* ---- x [A,K,B], over A and B ------------------------------------------------------------------------------- */

/* Each op computes mean and variance itself, in double. Rounded to f32, a mean would be an ulp off, which may
 * be as much as the numbers differ by, and a variance could overflow while the rate is in range. */
typedef struct manner {
    bool var, rate; /* compute the variance; then the rate */
    bool all;       /* write y = (x - mean) rate, in place of one number for each k */
} manner;

typedef struct slabs {
    size_t A, K, B, each; /* each: the k of a task */
    const void *x;
    void *y;
    double eps;
    manner how;
} slabs;

enum { LANES = 16, MOST = 64, PIECE = 4096 };

/* The means of some slabs, computed from the differences to the slab's first element: so the variance of
 * equal numbers is 0. */
typedef struct origins {
    size_t n;
    double first[MOST], mean[MOST];
} origins;

#define T float
#define SLAB_TASK slab_f32
#include "normalize.inc"
#define T double
#define SLAB_TASK slab_f64
#include "normalize.inc"

static void run_slabs(const pleat_call *c, const pleat_tensor *x, manner how) {
    slabs s = {.A = x->shape[0],
               .K = x->shape[1],
               .B = x->shape[2],
               .x = x->data,
               .y = c->out->data,
               .eps = *(const double *)c->attrs,
               .how = how};
    /* a slab is read several times, so a task fits in a cache */
    size_t whole = PIECE / (s.A * s.B), most = whole < MOST ? whole : MOST;
    s.each = s.B == 1 ? MOST : most > 1 ? most : 1;
    pl_parallel(pl_pool_for(c->ctx, 4 * (double)x->numel), (s.K - 1) / s.each + 1,
                c->dtype == PLEAT_F64 ? slab_f64 : slab_f32, &s);
}

static bool run(const pleat_call *c, manner how) {
    pleat_tensor *x = pl_dense(c->in[0]);
    bool usable = !x->poison;
    if (usable && x->numel > 0) run_slabs(c, x, how);
    pl_release(x);
    return usable;
}

static bool centre_forward(const pleat_call *c) { return run(c, (manner){.all = true}); }
static bool normalize_forward(const pleat_call *c) {
    return run(c, (manner){.var = true, .rate = true, .all = true});
}
static bool var_forward(const pleat_call *c) { return run(c, (manner){.var = true}); }
static bool rate_forward(const pleat_call *c) { return run(c, (manner){.var = true, .rate = true}); }

static size_t slab_attributes(const pleat_call *c, pleat_attr *out) {
    out[0] = pl_attr_axes("axes", PLEAT_AXES(0, 2));
    out[1] = pl_attr_real("eps", 1, c->attrs);
    return 2;
}

static bool one_each(pleat_call *c) {
    pl_call_shape(c, 3, (size_t[]){1, c->in[0]->shape[1], 1});
    return true;
}

static pleat_tensor *of_slab(const pleat_op *op, pleat_tensor *x, double eps) {
    return pleat_apply(op, 1, &x, &eps, sizeof eps);
}

static double eps_of(const pleat_call *c) { return *(const double *)c->attrs; }

/* the number of elements of a mean */
static double count_of(const pleat_tensor *x) { return (double)x->shape[0] * (double)x->shape[2]; }

static pleat_tensor *centre_vjp(const pleat_call *c, size_t i, pleat_tensor *g);
static pleat_tensor *normalize_vjp(const pleat_call *c, size_t i, pleat_tensor *g);
static pleat_tensor *var_vjp(const pleat_call *c, size_t i, pleat_tensor *g);
static pleat_tensor *rate_vjp(const pleat_call *c, size_t i, pleat_tensor *g);

static const pleat_op centre_op = {"centre", pl_shape_same, centre_forward, centre_vjp, slab_attributes,
                                   &pl_own,  NULL};
static const pleat_op normalize_op = {
    "normalize", pl_shape_same, normalize_forward, normalize_vjp, slab_attributes, &pl_own, NULL};
static const pleat_op var_op = {"var", one_each, var_forward, var_vjp, slab_attributes, &pl_own, NULL};
static const pleat_op rate_op = {"rate", one_each, rate_forward, rate_vjp, slab_attributes, &pl_own, NULL};

/* linear and its own adjoint */
static pleat_tensor *centre_vjp(const pleat_call *c, size_t i, pleat_tensor *g) {
    (void)c, (void)i;
    return of_slab(&centre_op, g, 0);
}

/* 2 (x - mean) / n */
static pleat_tensor *var_vjp(const pleat_call *c, size_t i, pleat_tensor *g) {
    pleat_tensor *x = c->in[i];
    return pleat_mul(pleat_scale(g, 2 / count_of(x)), of_slab(&centre_op, x, 0));
}

/* -(x - mean) rate^3 / n, where y = (x - mean) rate stays in range. */
static pleat_tensor *rate_vjp(const pleat_call *c, size_t i, pleat_tensor *g) {
    pleat_tensor *x = c->in[i], *y = of_slab(&normalize_op, x, eps_of(c));
    return pleat_mul(pleat_mul(pleat_mul(pleat_scale(g, -1 / count_of(x)), c->out), c->out), y);
}

/* (g - mean g - y mean(g y)) rate */
static pleat_tensor *normalize_vjp(const pleat_call *c, size_t i, pleat_tensor *g) {
    pleat_tensor *y = c->out, *rate = of_slab(&rate_op, c->in[i], eps_of(c));
    pleat_tensor *along = pleat_mul(y, pleat_mean(pleat_mul(g, y), PLEAT_AXES(0, 2), .keep = true));
    return pleat_mul(pleat_sub(of_slab(&centre_op, g, 0), along), rate);
}

/* ---- over any axes ------------------------------------------------------------------------------------------ */

/* Are the axes outside of `axes` adjacent? */
static bool one_block(unsigned axes, size_t rank) {
    size_t changes = 0;
    for (size_t k = 1; k < rank; k++) changes += (axes >> k & 1u) != (axes >> (k - 1) & 1u);
    return changes < 2 || (changes == 2 && (axes & 1u) != 0);
}

/* The order of axes in which x is a slab: its own, or with `axes` last. */
static void slab_order(unsigned axes, size_t rank, size_t *order) {
    size_t last = 0;
    bool own = one_block(axes, rank);
    for (unsigned summed = 0; summed < 2; summed++)
        for (size_t k = 0; k < rank; k++)
            if (own ? summed == 0 : (axes >> k & 1u) == summed) order[last++] = k;
}

/* x in its slab order as [A,K,B]: A and B are summed, K is kept; if all axes are summed, [1,1,B]. */
static pleat_tensor *slab_of(pleat_tensor *x, unsigned axes, const size_t *order) {
    size_t sizes[3] = {1, 1, 1}, part = 0;
    for (size_t k = 0; k < x->rank; k++) {
        bool summed = (axes >> order[k] & 1u) != 0;
        if (part == 0 && !summed) part = 1;
        if (part == 1 && summed) part = 2;
        sizes[part] *= x->shape[order[k]];
    }
    if (part == 0) sizes[2] = sizes[0], sizes[0] = 1;
    bool own = one_block(axes, x->rank);
    return pleat_reshape(own ? x : pleat_contiguous(pleat_permute(x, order)), 3, sizes);
}

/* Check axes and eps; false after an error of `op`. */
static bool usable(const pleat_tensor *x, const char *op, unsigned axes, double eps) {
    const char *wrong = NULL;
    if ((axes == 0 && x->rank > 0) || axes >> x->rank)
        wrong = "axes must name axes of x, at least one";
    else if (!(eps > 0) || !isfinite(eps))
        wrong = "eps must be finite and greater than 0";
    if (wrong != NULL) {
        pl_reject(x, op, PLEAT_ERR_ARGUMENT, "%s", wrong);
        return false;
    }
    for (size_t k = 0; k < x->rank; k++) {
        if (!(axes >> k & 1u) || x->shape[k] > 0) continue;
        pl_reject(x, op, PLEAT_ERR_SHAPE, "axis %zu is empty, and nothing has no mean", k);
        return false;
    }
    return true;
}

pleat_tensor *pleat_normalize(pleat_tensor *x, unsigned axes, double eps) {
    size_t order[PLEAT_MAX_RANK], back[PLEAT_MAX_RANK], shape[PLEAT_MAX_RANK];
    if (x == NULL || x->poison) return pleat_apply(&normalize_op, 1, &x, NULL, 0);
    if (!usable(x, normalize_op.name, axes, eps)) return pleat_poison(x->ctx);
    slab_order(axes, x->rank, order);
    for (size_t k = 0; k < x->rank; k++) {
        back[order[k]] = k;
        shape[k] = x->shape[order[k]];
    }
    pleat_tensor *y = of_slab(&normalize_op, slab_of(x, axes, order), eps);
    y = pleat_reshape(y, x->rank, shape);
    return one_block(axes, x->rank) ? y : pleat_permute(y, back);
}

pleat_tensor *pleat_var_with(pleat_sum_args args) {
    size_t order[PLEAT_MAX_RANK], shape[PLEAT_MAX_RANK], rank = 0;
    pleat_tensor *x = args.x;
    if (x == NULL || x->poison) return pleat_apply(&var_op, 1, &x, NULL, 0);
    unsigned axes = args.axes != 0 ? args.axes : (1u << x->rank) - 1;
    if (!usable(x, var_op.name, axes, 1)) return pleat_poison(x->ctx);
    slab_order(axes, x->rank, order);
    for (size_t k = 0; k < x->rank; k++) {
        bool summed = (axes >> k & 1u) != 0;
        if (!summed || args.keep) shape[rank++] = summed ? 1 : x->shape[k];
    }
    return pleat_reshape(of_slab(&var_op, slab_of(x, axes, order), 0), rank, shape);
}

/* ---- for other files ---------------------------------------------------------------------------------------- */

pleat_tensor *pl_normal(pleat_tensor *x, double eps) { return of_slab(&normalize_op, x, eps); }
pleat_tensor *pl_rate(pleat_tensor *x, double eps) { return of_slab(&rate_op, x, eps); }
pleat_tensor *pl_centre(pleat_tensor *x) { return of_slab(&centre_op, x, 0); }

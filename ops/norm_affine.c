/* relu(weight normalized(x) + bias), or relu6 of it, in two passes, of which one reads x for its mean and
 * variance, and one writes; and its gradients of x, weight and bias, likewise. The family of batch_norm,
 * group_norm and layer_norm. Laws: without weight, bias and relu it is normalize; the gradient of x is
 * orthogonal to ones and to normalized(x).
 *
 * What is rounded: an element of y is (x - mean) (weight / deviation) + bias, and one of a gradient likewise
 * one expression of doubles, rounded once; a rectifier looks at the rounded number. Mean, variance and sums
 * are doubles throughout, and go from the forward pass to the gradients as such.
 *
 * The order of sums: an element is added to the sum of its column, or of its place in a row modulo LANES;
 * then the sums of a slab are added, by fold. The sizes decide it, and no thread. */
#include "kernels/parallel.h"
#include "rules.h"

#include <math.h>
#include <string.h>

/* ---- the loops ----------------------------------------------------------------------------------------- */

/* One pass over x [A,K,P,Q] with K = I G: over A, P and Q it has mean and variance, and G and P have weight
 * and bias. batch_norm is [N,C,1,HW] with G = C, group_norm [1,NG,C/G,HW], layer_norm [1,N,D,1] with G = 1.
 * A is 1 unless P is. */
typedef struct job {
    size_t A, K, G, P, Q, each; /* each: slabs, which are numbers of K, of a task */
    bool columns;               /* slabs side by side */
    pl_rectifier end;
    bool apart;                  /* several k have the same weight, so each task has its own sums */
    const void *x, *g;           /* g: the cotangent; NULL in the forward pass */
    void *y;                     /* or the gradient of x; NULL: only the sums are wanted */
    const double *weight, *bias; /* [G,P] */
    double *mean, *rest, *var;   /* [K]; a mean is mean + rest: so is no digit lost of numbers far from 0 */
    double eps;
    /* The doubles from above, without it, to last are positive and less than `most`, the upper end of the
     * rectifier, when they are rounded. */
    double above, last, most;
    double *sums; /* [2,G,P], of a task or of all: what the gradients of weight and bias are */
} job;

/* What the elements of a loop are normalised by: rate is 1 / deviation, and factor weight times that. Of a
 * gradient the means over a slab of factor g, and of that times the normalised x, times the rate. */
typedef struct numbers {
    const double *mean, *rest, *rate, *factor, *weight, *bias, *plain, *along;
    double above, last, most;
} numbers;

/* the steps of an array of numbers: of the slab, and of the weights */
typedef struct steps {
    size_t slab, weight;
} steps;

/* Of slabs side by side, of a row with a weight each, of pixels that share one. */
#define COLUMNS ((steps){1, 1})
#define WEIGHTS ((steps){0, 1})
#define PIXELS ((steps){0, 0})

enum {
    LANES = 64,    /* sums of a row, which the first cache holds beside the rows */
    WIDTH = 256,   /* columns side by side, each with its sums; rows of less than half of it are columns */
    CHUNK = 16384, /* elements that are summed before their moments are merged with those before */
    WORTH = 16384,
    MOST_TASKS = 32, /* of those that have sums apart */
};

#define INLINE static inline __attribute__((always_inline))
#define COLUMN _Alignas(64) double

static double rate_of(const job *j, size_t k) { return 1 / sqrt(j->var[k] + j->eps); }

/* The sum of v, in eight lanes. */
INLINE double fold(size_t n, const double *v) {
    double lane[8] = {0};
    size_t i = 0;
    for (; i + 8 <= n; i += 8)
        for (size_t l = 0; l < 8; l++) lane[l] += v[i + l];
    for (size_t l = 0; i + l < n; l++) lane[l] += v[i + l];
    return ((lane[0] + lane[4]) + (lane[2] + lane[6])) + ((lane[1] + lane[5]) + (lane[3] + lane[7]));
}

/* to[s,q] = from[s] */
INLINE void spread(size_t slabs, size_t Q, const double *from, double *to) {
    for (size_t s = 0; s < slabs; s++)
        for (size_t q = 0; q < Q; q++) to[s * Q + q] = from[s];
}

/* Ask for `bytes` of memory from `at` on: a row's successor in a slab is far from it, and hardware does not
 * know. */
INLINE void fetch(const void *at, size_t bytes) {
    for (size_t i = 0; i < bytes; i += 64) __builtin_prefetch((const char *)at + i);
}

#define T float
#define SUFFIX _f32
#include "norm_affine.inc"
#define T double
#define SUFFIX _f64
#include "norm_affine.inc"

static size_t at_least(size_t a, size_t b) { return a > b ? a : b; }

/* Choose the order of the loops and the size of tasks. */
static void cut(job *j) {
    size_t slab = j->A * j->P * j->Q, C = j->G * j->P;
    j->columns = j->A > 1 && j->Q < WIDTH / 2;
    j->apart = j->K > j->G;
    j->each = j->columns ? WIDTH / j->Q : at_least(WORTH / slab, 1);
    if (!j->apart) return;
    j->each = at_least(j->each, (j->K - 1) / MOST_TASKS + 1);
    j->each = at_least(j->each, 16 * C / (j->P * j->Q)); /* a task's sums cost little beside its elements */
}

static size_t tasks_of(const job *j) { return (j->K - 1) / j->each + 1; }

static void start(const job *j, const pleat_call *c) {
    pl_parallel(pl_pool_for(c->ctx, 4 * (double)c->in[0]->numel), tasks_of(j),
                c->dtype == PLEAT_F64 ? task_f64 : task_f32, (void *)j);
}

/* The pass of a gradient; the sums of all tasks go to total [2,C]. */
static bool start_with_sums(job *j, const pleat_call *c, double *total) {
    size_t n = 2 * j->G * j->P, parts = j->apart ? tasks_of(j) : 1, bytes;
    if (!pl_mul_ok(parts * n, sizeof *j->sums, &bytes)) return false;
    j->sums = pl_take(&c->ctx->memory, bytes);
    if (j->sums == NULL) return false;
    memset(j->sums, 0, bytes);
    start(j, c);
    for (size_t t = 1; t < parts; t++)
        for (size_t i = 0; i < n; i++) j->sums[i] += j->sums[t * n + i];
    memcpy(total, j->sums, n * sizeof *total);
    pl_give(&c->ctx->memory, j->sums);
    return true;
}

/* ---- the options of a call, and what it has found ------------------------------------------------------ */

typedef struct plan {
    const pleat_op *forward;
    size_t A, I, G, P, Q;
    const char *option; /* "groups" or "axes", */
    size_t number;      /* and its value; or NULL */
    double eps;
    bool weight, bias;
    pl_rectifier end;
    bool summed; /* the sums are there */
    double numbers
        []; /* mean, rest and var of each of the I G slabs; then the gradients of weight and bias, [2,C] */
} plan;

static size_t slabs_of(const plan *p) { return p->I * p->G; }
static size_t weights_of(const plan *p) { return p->G * p->P; }
static double *sums_of(plan *p) { return p->numbers + 3 * slabs_of(p); }

static size_t bytes_of(const plan *p) {
    return sizeof *p + (3 * slabs_of(p) + 2 * weights_of(p)) * sizeof *p->numbers;
}

/* A copy, with room for the numbers; with the numbers themselves if `whole`. NULL, with a report, if memory
 * is short. */
static plan *plan_copy(pleat_ctx *ctx, const plan *p, bool whole) {
    size_t bytes;
    plan *copy = NULL;
    /* each part by less than half of what size_t holds, so that bytes_of is right */
    if (pl_mul_ok(2 * sizeof *p, slabs_of(p), &bytes) && pl_mul_ok(2 * sizeof *p, weights_of(p), &bytes))
        copy = pl_take(&ctx->memory, bytes_of(p));
    if (copy == NULL)
        pleat_fail(ctx, PLEAT_ERR_MEMORY, p->forward->name, "no memory for its moments");
    else
        memcpy(copy, p, whole ? bytes_of(p) : sizeof *p);
    return copy;
}

/* The plan that a forward pass may write the numbers to. pleat_apply is given a plan of this file, and
 * copies it after the pass. */
static plan *plan_of(const pleat_call *c) { return (plan *)c->attrs; }

/* The inputs of a call: x and the cotangent, if there is one, dense; weight and bias [2,C]. */
typedef struct inputs {
    pleat_tensor *x, *g;
    double *weights;
} inputs;

/* The elements of t, or n times `otherwise` in place of NULL. Returns false without memory for a dense t. */
static bool widen(pleat_tensor *t, size_t n, double otherwise, double *out) {
    pleat_tensor *dense = t != NULL ? pl_dense(t) : NULL;
    bool fine = dense == NULL || !dense->poison;
    for (size_t i = 0; fine && i < n; i++)
        out[i] = dense == NULL               ? otherwise
                 : dense->dtype == PLEAT_F64 ? ((const double *)dense->data)[i]
                                             : (double)((const float *)dense->data)[i];
    if (dense != NULL) pl_release(dense);
    return fine;
}

static bool take_inputs(const pleat_call *c, const plan *p, inputs *in) {
    size_t C = weights_of(p), bytes;
    pleat_tensor *const *bias = c->in + 1 + p->weight;
    bool gradient = c->n > 1 + (size_t)p->weight + p->bias;
    in->x = pl_dense(c->in[0]);
    in->g = gradient ? pl_dense(c->in[c->n - 1]) : NULL;
    in->weights = pl_mul_ok(2 * C, sizeof *in->weights, &bytes) ? pl_take(&c->ctx->memory, bytes) : NULL;
    return !in->x->poison && (!gradient || !in->g->poison) && in->weights != NULL &&
           widen(p->weight ? c->in[1] : NULL, C, 1, in->weights) &&
           widen(p->bias ? *bias : NULL, C, 0, in->weights + C);
}

static void give_inputs(const pleat_call *c, const inputs *in) {
    pl_release(in->x);
    if (in->g != NULL) pl_release(in->g);
    pl_give(&c->ctx->memory, in->weights);
}

/* A result is rectified once it is rounded: so half of the least positive float is 0, and halfway between 6
 * and the float before is 6. Both are even. */
static void rectify(job *j, pl_rectifier end, bool wide) {
    j->end = end;
    j->above = wide ? 0 : 0x1p-150;
    j->last = j->most = INFINITY;
    if (end == PL_RELU6) j->most = 6, j->last = nextafter(wide ? 6 : 6 - 0x1p-22, 0);
}

static job job_of(plan *p, const inputs *in, void *y) {
    size_t K = slabs_of(p);
    double *mean = p->numbers;
    job j = {.A = p->A,
             .K = K,
             .G = p->G,
             .P = p->P,
             .Q = p->Q,
             .eps = p->eps,
             .x = in->x->data,
             .y = y,
             .g = in->g != NULL ? in->g->data : NULL,
             .weight = in->weights,
             .bias = in->weights + weights_of(p),
             .mean = mean,
             .rest = mean + K,
             .var = mean + 2 * K};
    rectify(&j, p->end, in->x->dtype == PLEAT_F64);
    cut(&j);
    return j;
}

/* The pass of any op of the family: forward; with a cotangent the gradient of x and the sums, or only the
 * sums. */
static bool run(const pleat_call *c, void *y) {
    plan *p = plan_of(c);
    inputs in;
    bool done = take_inputs(c, p, &in);
    if (done && c->in[0]->numel > 0) {
        job j = job_of(p, &in, y);
        if (in.g == NULL)
            start(&j, c);
        else
            done = start_with_sums(&j, c, sums_of(p));
    } else if (in.g != NULL) {
        memset(sums_of(p), 0, 2 * weights_of(p) * sizeof(double));
    }
    if (done && in.g != NULL) p->summed = true;
    give_inputs(c, &in);
    if (!done) pleat_call_fail(c, PLEAT_ERR_MEMORY, "no memory for weights and sums");
    return done;
}

/* ---- gradients of the second order and on, in ops ------------------------------------------------------ */

static pleat_tensor *apply(const pleat_op *op, size_t n, pleat_tensor *const *in, const plan *p) {
    return pleat_apply(op, n, in, p, bytes_of(p));
}

static pleat_tensor *as_slabs(const plan *p, pleat_tensor *t) {
    return pleat_reshape(t, PLEAT_SHAPE(p->A, slabs_of(p), p->P * p->Q));
}
static pleat_tensor *as_weighted(const plan *p, pleat_tensor *t) {
    return pleat_reshape(t, PLEAT_SHAPE(p->A, p->I, p->G, p->P, p->Q));
}
static pleat_tensor *as_weights(const plan *p, pleat_tensor *w) {
    return pleat_reshape(w, PLEAT_SHAPE(1, 1, p->G, p->P, 1));
}
static pleat_tensor *as(pleat_tensor *t, const pleat_tensor *like) {
    return pleat_reshape(t, like->rank, like->shape);
}

/* t times the weight, in any shape of t */
static pleat_tensor *weigh(const pleat_call *c, pleat_tensor *t) {
    const plan *p = c->attrs;
    return p->weight ? pleat_mul(as_weighted(p, t), as_weights(p, c->in[1])) : t;
}

/* t where a rectifier at the end let it through; in x's shape */
static pleat_tensor *gate(const pleat_call *c, pleat_tensor *t) {
    const plan *p = c->attrs;
    t = as(t, c->in[0]);
    if (p->end == PL_LINEAR) return t;
    plan *plain = plan_copy(c->ctx, p, true);
    if (plain == NULL) return pleat_poison(c->ctx);
    plain->end = PL_LINEAR;
    pleat_tensor *y = apply(p->forward, c->n - 1, c->in, plain);
    pl_give(&c->ctx->memory, plain);
    return pl_passed(t, y, p->end);
}

/* mean of u v over a slab */
static pleat_tensor *mean_of(pleat_tensor *u, pleat_tensor *v) {
    return pleat_mean(pleat_mul(u, v), PLEAT_AXES(0, 2), .keep = true);
}

/* u without its parts along ones and along y: the gradient of x is this times the rate */
static pleat_tensor *project(pleat_tensor *u, pleat_tensor *y) {
    return pleat_sub(pl_centre(u), pleat_mul(y, mean_of(u, y)));
}

/* The inputs of a gradient: x, weight, bias, and last the cotangent. The gradient of x is r project(u) with
 * u = weight g and r = 1 / deviation; v is its cotangent. */
static pleat_tensor *gradient_vjp(const pleat_call *c, size_t i, pleat_tensor *cotangent) {
    const plan *p = c->attrs;
    pleat_tensor *x = as_slabs(p, c->in[0]), *v = as_slabs(p, cotangent);
    if (p->bias && i == 1 + (size_t)p->weight) return NULL; /* it only chooses what relu lets through */
    pleat_tensor *y = pl_normal(x, p->eps), *r = pl_rate(x, p->eps), *projected = project(v, y);
    if (i == c->n - 1) return gate(c, weigh(c, pleat_mul(projected, r)));
    pleat_tensor *g = gate(c, c->in[c->n - 1]);
    if (i == 1) {
        pleat_tensor *each = pleat_mul(as_weighted(p, g), as_weighted(p, pleat_mul(projected, r)));
        return as(pl_sum_like(each, as_weights(p, c->in[1])), c->in[1]);
    }
    /* -r^2 (y <u, project(v)> + <v, y> project(u) + <u, y> project(v)) / n */
    pleat_tensor *u = as_slabs(p, weigh(c, g));
    pleat_tensor *sum =
        pleat_add(pleat_mul(y, mean_of(u, projected)), pleat_mul(project(u, y), mean_of(v, y)));
    sum = pleat_add(sum, pleat_mul(projected, mean_of(u, y)));
    return as(pleat_mul(pleat_mul(pleat_neg(sum), r), r), c->in[0]);
}

static pleat_tensor *row_of(pleat_tensor *sums, size_t row, const pleat_tensor *like) {
    size_t C = sums->shape[1];
    return as(pleat_slice(sums, (size_t[]){row, 0}, (size_t[]){1, C}, NULL), like);
}

/* The sums of g y and of g over all but the weights, [2,C]; h is their cotangent. */
static pleat_tensor *sums_vjp(const pleat_call *c, size_t i, pleat_tensor *h) {
    const plan *p = c->attrs;
    if (i > 0 && i < c->n - 1) return NULL;
    size_t C = weights_of(p);
    pleat_tensor *x = as_slabs(p, c->in[0]), *y = pl_normal(x, p->eps);
    pleat_tensor *along = as_weights(p, pleat_slice(h, (size_t[]){0, 0}, (size_t[]){1, C}, NULL));
    pleat_tensor *plain = as_weights(p, pleat_slice(h, (size_t[]){1, 0}, (size_t[]){1, C}, NULL));
    if (i > 0) return gate(c, pleat_add(pleat_mul(as_weighted(p, y), along), plain));
    pleat_tensor *u = pleat_mul(as_weighted(p, gate(c, c->in[c->n - 1])), along);
    return as(pleat_mul(project(as_slabs(p, u), y), pl_rate(x, p->eps)), c->in[0]);
}

static bool sums_shape(pleat_call *c) {
    pl_call_shape(c, 2, (size_t[]){2, weights_of(c->attrs)});
    return true;
}

static bool gradient_forward(const pleat_call *c) { return run(c, c->out->data); }

static bool sums_forward(const pleat_call *c) {
    plan *p = plan_of(c);
    if (!p->summed && !run(c, NULL)) return false;
    for (size_t i = 0; i < c->out->numel; i++) {
        if (c->dtype == PLEAT_F64)
            ((double *)c->out->data)[i] = sums_of(p)[i];
        else
            ((float *)c->out->data)[i] = (float)sums_of(p)[i];
    }
    return true;
}

static size_t plan_attributes(const pleat_call *c, pleat_attr *out) {
    const plan *p = c->attrs;
    size_t n = 0;
    if (p->option != NULL) out[n++] = pl_attr_whole(p->option, 1, &p->number, false);
    out[n++] = pl_attr_real("eps", 1, &p->eps);
    out[n++] = pl_attr_rectifier(p->end);
    out[n++] = pl_attr_flag("no_weight", p->bias && !p->weight); /* what the second input is */
    return n;
}

static const pleat_op gradient_op = {
    "norm_gradient", pl_shape_same, gradient_forward, gradient_vjp, plan_attributes, &pl_own, NULL};
static const pleat_op sums_op = {"norm_sums",     sums_shape, sums_forward, sums_vjp,
                                 plan_attributes, &pl_own,    NULL};

/* ---- the op -------------------------------------------------------------------------------------------- */

static bool norm_forward(const pleat_call *c) { return run(c, c->out->data); }

/* One pass computes all three gradients: the first rule that is called leaves the sums to the others. */
static pleat_tensor *norm_vjp(const pleat_call *c, size_t i, pleat_tensor *g) {
    pleat_ctx *ctx = c->ctx;
    pleat_tensor *in[4] = {NULL}, *gx = NULL;
    plan *p = plan_copy(ctx, c->attrs, true);
    if (p == NULL) return pleat_poison(ctx);
    for (size_t k = 0; k < c->n; k++) in[k] = c->in[k];
    in[c->n] = g;
    if (i == 0) gx = apply(&gradient_op, c->n + 1, in, p);
    if (c->n > 1 && ctx->shared == NULL) ctx->shared = pl_retain(apply(&sums_op, c->n + 1, in, p));
    pl_give(&ctx->memory, p);
    return i == 0 ? gx : row_of(ctx->shared, i == 1 && p->weight ? 0 : 1, c->in[i]);
}

static const pleat_op ops[] = {
    [PL_BATCH_NORM] = {"batch_norm", pl_shape_same, norm_forward, norm_vjp, plan_attributes, &pl_own, NULL},
    [PL_GROUP_NORM] = {"group_norm", pl_shape_same, norm_forward, norm_vjp, plan_attributes, &pl_own, NULL},
    [PL_LAYER_NORM] = {"layer_norm", pl_shape_same, norm_forward, norm_vjp, plan_attributes, &pl_own, NULL}};

/* The sizes of x's slabs and weights. */
static plan plan_for(pl_norm_kind kind, const pleat_norm_args *a) {
    const size_t *s = a->x->shape, rank = a->x->rank;
    plan p = {.forward = &ops[kind],
              .A = 1,
              .I = 1,
              .G = 1,
              .P = 1,
              .Q = 1,
              .eps = a->eps,
              .end = pl_rectifier_of(a->relu, a->relu6),
              .weight = a->weight != NULL,
              .bias = a->bias != NULL};
    if (kind == PL_LAYER_NORM) {
        p.option = "axes", p.number = a->axes;
        for (size_t k = 0; k < rank - a->axes; k++) p.I *= s[k];
        for (size_t k = rank - a->axes; k < rank; k++) p.P *= s[k];
        return p;
    }
    for (size_t k = 2; k < rank; k++) p.Q *= s[k];
    if (kind == PL_GROUP_NORM) {
        p.option = "groups", p.number = a->groups;
        p.I = s[0], p.G = a->groups, p.P = s[1] / a->groups;
    } else {
        p.A = s[0], p.G = s[1];
    }
    return p;
}

static void tell_moments(const plan *p, const pleat_norm_args *a) {
    size_t C = slabs_of(p);
    if ((a->batch_var != NULL || a->batch_mean != NULL) && pl_unreadable(a->x, "batch_norm")) return;
    if (a->batch_var != NULL)
        *a->batch_var = pleat_from_f64(a->x->ctx, a->x->dtype, 1, &C, p->numbers + 2 * C);
    if (a->batch_mean != NULL) *a->batch_mean = pleat_from_f64(a->x->ctx, a->x->dtype, 1, &C, p->numbers);
}

pleat_tensor *pl_norm_affine(pl_norm_kind kind, const pleat_norm_args *a) {
    plan sizes = plan_for(kind, a), *p = plan_copy(a->x->ctx, &sizes, false);
    if (p == NULL) return pleat_poison(a->x->ctx);
    pleat_tensor *in[3] = {a->x}, *y;
    size_t n = 1;
    if (a->weight != NULL) in[n++] = a->weight;
    if (a->bias != NULL) in[n++] = a->bias;
    y = apply(sizes.forward, n, in, p);
    if (!y->poison) tell_moments(p, a);
    pl_give(&a->x->ctx->memory, p);
    return y;
}

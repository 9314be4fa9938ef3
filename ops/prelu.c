/* prelu: a rectifier whose slope is learned, and its gradients, which one pass computes. Law: with slopes
 * that are all a it is leaky_relu(x, a). An element is rounded once; sums are doubles. */
#include "kernels/parallel.h"
#include "rules.h"

#include <string.h>

/* ---- the loops ----------------------------------------------------------------------------------------- */

/* x as [A,K,B] with a weight for each k; with one weight in all, rows of B elements, the last of which may be
 * shorter. */
typedef struct job {
    size_t A, K, B, numel;
    size_t images, channels; /* of a task */
    const void *x, *weight, *g;
    void *y;      /* or the gradient of x */
    double *sums; /* [parts,K] of g x where x is not positive; NULL in the forward pass */
} job;

enum {
    LANES = 16,
    WORTH = 16384, /* elements of a task */
    MOST_PARTS = 32,
};

static size_t up(size_t n, size_t by) { return n == 0 ? 0 : (n - 1) / by + 1; }
static size_t tasks_across(const job *j) { return up(j->K, j->channels); }
static size_t parts_of(const job *j) { return up(j->A, j->images); }

#define INLINE static inline __attribute__((always_inline))
#define T float
#define SUFFIX _f32
#include "prelu.inc"
#define T double
#define SUFFIX _f64
#include "prelu.inc"

static size_t between(size_t least, size_t n, size_t most) { return n < least ? least : n > most ? most : n; }

static job job_of(const pleat_tensor *x, const pleat_tensor *weight) {
    job j = {.A = 1, .K = weight->numel, .B = WORTH, .numel = x->numel, .x = x->data, .weight = weight->data};
    if (j.K == 1)
        j.A = up(x->numel, WORTH);
    else
        j.A = x->shape[0], j.B = x->numel / j.A / j.K;
    j.channels = between(1, WORTH / j.B, j.K);
    j.images = between(1, WORTH / (j.channels * j.B), j.A);
    if (j.images < up(j.A, MOST_PARTS)) j.images = up(j.A, MOST_PARTS);
    return j;
}

/* y or gx, and with a cotangent the sums to total [K]; every input dense, x not empty */
static bool run(const pleat_call *c, pleat_tensor *const *in, void *y, double *total) {
    job j = job_of(in[0], in[1]);
    size_t parts = parts_of(&j), bytes;
    j.y = y;
    if (total != NULL) {
        j.g = in[2]->data;
        if (!pl_mul_ok(parts * j.K, sizeof *j.sums, &bytes)) return false;
        j.sums = pl_take(&c->ctx->memory, bytes);
        if (j.sums == NULL) return false;
        memset(j.sums, 0, bytes);
    }
    pl_parallel(pl_pool_for(c->ctx, (double)j.numel / 2), parts * tasks_across(&j),
                c->dtype == PLEAT_F64 ? task_f64 : task_f32, &j);
    for (size_t i = 0; total != NULL && i < parts * j.K; i++) total[i % j.K] += j.sums[i];
    pl_give(&c->ctx->memory, j.sums);
    return true;
}

/* The same for inputs as they are; total is set to zeros first. */
static bool run_dense(const pleat_call *c, void *y, double *total) {
    pleat_tensor *in[3] = {NULL};
    bool done = true;
    for (size_t i = 0; i < c->n; i++) {
        in[i] = pl_dense(c->in[i]);
        done = done && !in[i]->poison;
    }
    for (size_t k = 0; done && total != NULL && k < in[1]->numel; k++) total[k] = 0;
    if (done && in[0]->numel > 0) {
        done = run(c, in, y, total);
        if (!done) pleat_call_fail(c, PLEAT_ERR_MEMORY, "no memory for the sums");
    }
    for (size_t i = 0; i < c->n; i++) pl_release(in[i]);
    return done;
}

/* ---- gradients: of x, and of the weight ---------------------------------------------------------------- */

/* What a call of either gradient is given. pleat_apply copies it after the forward pass. */
typedef struct found {
    bool summed; /* the sums are there */
    double sums[];
} found;

static size_t found_attributes(const pleat_call *c, pleat_attr *out) {
    out[0] = pl_attr_flag("summed", ((const found *)c->attrs)->summed);
    return 1;
}

static pleat_tensor *weight_along(const pleat_tensor *x, pleat_tensor *weight) {
    size_t shape[PLEAT_MAX_RANK] = {weight->numel, 1, 1, 1, 1, 1, 1, 1};
    return pleat_reshape(weight, x->rank < 2 ? 1 : x->rank - 1, shape);
}

/* t where x is not positive, else 0 */
static pleat_tensor *below(pleat_tensor *x, pleat_tensor *t) {
    return pleat_where(pleat_step(x), pleat_zeros_like(x), t);
}

static pleat_tensor *sum_to_weight(pleat_tensor *x, pleat_tensor *weight, pleat_tensor *t) {
    return pleat_reshape(pl_sum_like(below(x, t), weight_along(x, weight)), 1, weight->shape);
}

static pleat_tensor *apply_gradient(const pleat_op *op, pleat_tensor *const *in, pleat_tensor *g, found *f) {
    pleat_tensor *all[] = {in[0], in[1], g};
    return pleat_apply(op, 3, all, f, sizeof *f + in[1]->numel * sizeof(double));
}

static found *found_new(const pleat_call *c) {
    size_t bytes;
    found *f = NULL;
    if (pl_mul_ok(c->in[1]->numel + 2, sizeof(double), &bytes)) f = pl_take(&c->ctx->memory, bytes);
    if (f == NULL)
        pleat_call_fail(c, PLEAT_ERR_MEMORY, "no memory for the sums");
    else
        f->summed = false;
    return f;
}

static bool gradient_forward(const pleat_call *c) {
    found *f = (found *)c->attrs;
    f->summed = run_dense(c, c->out->data, f->sums);
    return f->summed;
}

/* linear in g, with the op itself as its adjoint; for the weight the sum of a g where x is not positive */
static pleat_tensor *gradient_vjp(const pleat_call *c, size_t i, pleat_tensor *a);
static const pleat_op gradient_op = {
    "prelu_gradient", pl_shape_same, gradient_forward, gradient_vjp, found_attributes, &pl_own, NULL};

static pleat_tensor *gradient_vjp(const pleat_call *c, size_t i, pleat_tensor *a) {
    if (i == 0) return NULL;
    if (i == 1) return sum_to_weight(c->in[0], c->in[1], pleat_mul(a, c->in[2]));
    found *f = found_new(c);
    if (f == NULL) return pleat_poison(c->ctx);
    pleat_tensor *g = apply_gradient(&gradient_op, c->in, a, f);
    pl_give(&c->ctx->memory, f);
    return g;
}

static bool sums_shape(pleat_call *c) {
    pl_call_shape(c, 1, c->in[1]->shape);
    return true;
}

/* Without the gradient of x, which is computed and not kept. */
static bool sums_alone(const pleat_call *c, found *f) {
    void *gx = pl_take(&c->ctx->memory, c->in[0]->numel * pl_element(c->dtype));
    bool done = gx != NULL ? run_dense(c, gx, f->sums)
                           : pleat_call_fail(c, PLEAT_ERR_MEMORY, "no memory for the gradient of x");
    pl_give(&c->ctx->memory, gx);
    return done;
}

static bool sums_forward(const pleat_call *c) {
    found *f = (found *)c->attrs;
    if (!f->summed && !sums_alone(c, f)) return false;
    for (size_t k = 0; k < c->out->numel; k++) {
        if (c->dtype == PLEAT_F64)
            ((double *)c->out->data)[k] = f->sums[k];
        else
            ((float *)c->out->data)[k] = (float)f->sums[k];
    }
    return true;
}

/* g x where x is not positive is linear in both */
static pleat_tensor *sums_vjp(const pleat_call *c, size_t i, pleat_tensor *h) {
    if (i == 1) return NULL;
    return below(c->in[0], pleat_mul(weight_along(c->in[0], h), c->in[i == 0 ? 2 : 0]));
}

static const pleat_op sums_op = {"prelu_sums",     sums_shape, sums_forward, sums_vjp,
                                 found_attributes, &pl_own,    NULL};

/* ---- the op -------------------------------------------------------------------------------------------- */

static bool prelu_shape(pleat_call *c) {
    const pleat_tensor *x = c->in[0], *w = c->in[1];
    pl_shape_same(c);
    if (w->rank == 1 && (w->numel == 1 || (x->rank >= 2 && w->numel == x->shape[1]))) return true;
    return pleat_call_fail(c, PLEAT_ERR_SHAPE, "the weight must be [1], or [C] for x [N,C,..]");
}

static bool prelu_forward(const pleat_call *c) { return run_dense(c, c->out->data, NULL); }

static pleat_tensor *prelu_vjp(const pleat_call *c, size_t i, pleat_tensor *g) {
    pleat_ctx *ctx = c->ctx;
    if (i == 1 && ctx->shared != NULL) return ctx->shared;
    found *f = found_new(c);
    if (f == NULL) return pleat_poison(ctx);
    pleat_tensor *gx = i == 0 ? apply_gradient(&gradient_op, c->in, g, f) : NULL;
    pleat_tensor *gw = apply_gradient(&sums_op, c->in, g, f);
    if (i == 0) ctx->shared = pl_retain(gw);
    pl_give(&ctx->memory, f);
    return i == 0 ? gx : gw;
}

static const pleat_op prelu_op = {"prelu", prelu_shape, prelu_forward, prelu_vjp, NULL, &pl_own, NULL};

pleat_tensor *pleat_prelu(pleat_tensor *x, pleat_tensor *weight) {
    return pl_apply_two(&prelu_op, x, weight);
}

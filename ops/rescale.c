/* batch_norm by given statistics: for each channel y = factor x + shift, then relu or relu6, where factor is
 * weight / sqrt(var + eps) and shift is bias - factor mean. Law: it has the same bits within a convolution
 * and behind one (kernels/finish.h).
 *
 * What is rounded: factor to x's type; shift to double; y once, from a sum in double. Of floats the product
 * is exact, and where x and mean are large beside the deviation a double has the digits that cancel; of
 * doubles the sum is off by an ulp of factor x. */
#include "kernels/finish.h"
#include "kernels/parallel.h"
#include "kernels/sizes.h"
#include "rules.h"

#include <math.h>

/* ---- the pass ------------------------------------------------------------------------------------------ */

enum {
    WIDTH = 128,   /* numbers side by side, where planes are smaller than half of it */
    WORTH = 16384, /* numbers of a task */
};

/* x [A,C,Q], or blocked [A,C/V,Q,V] */
typedef struct job {
    pl_finish finish;
    size_t A, C, Q, V, element; /* V is 1 if x is not blocked */
    size_t each;                /* planes of a task, or channels whose planes are side by side */
    const char *x;
    char *y;
} job;

static void plane_task(void *arg, size_t task, size_t thread) {
    const job *j = arg;
    range planes = part_of(j->A * (j->C / j->V), j->each, task);
    pl_rows rows = j->V == 1 ? (pl_rows){1, j->Q, j->Q, false} : (pl_rows){j->Q, j->V, j->V, true};
    (void)thread;
    for (size_t i = planes.first; i < planes.first + planes.count; i++) {
        size_t at = i * j->Q * j->V * j->element, channel = i % (j->C / j->V) * j->V;
        pl_finish_rows(&j->finish, j->element, channel, rows, j->x + at, j->y + at);
    }
}

/* Each number has its channel's factor and shift. */
static void column_task(void *arg, size_t task, size_t thread) {
    const job *j = arg;
    range channels = part_of(j->C, j->each, task);
    double factor[WIDTH], shift[WIDTH];
    pl_finish finish = {factor, shift, j->finish.relu, j->finish.most};
    size_t n = channels.count * j->Q, at = channels.first * j->Q * j->element;
    (void)thread;
    for (size_t i = 0; i < n; i++) {
        factor[i] = j->finish.factor[channels.first + i / j->Q];
        shift[i] = j->finish.shift[channels.first + i / j->Q];
    }
    pl_finish_rows(&finish, j->element, 0, (pl_rows){j->A, n, j->C * j->Q, true}, j->x + at, j->y + at);
}

static pl_rectifier end_of(const pleat_call *c) { return *(const pl_rectifier *)c->attrs; }

static void run(const pleat_call *c, const char *x, const double *numbers) {
    const size_t *s = c->in[0]->shape;
    job j = {
        .finish = {numbers, numbers + s[1], end_of(c) != PL_LINEAR, end_of(c) == PL_RELU6 ? 6 : HUGE_VAL},
        .A = s[0],
        .C = s[1],
        .Q = c->out->numel / s[0] / s[1],
        .V = c->out->storage->blocked ? LINE / pl_element(c->dtype) : 1,
        .element = pl_element(c->dtype),
        .x = x,
        .y = c->out->data};
    bool columns = j.V == 1 && j.Q < WIDTH / 2;
    j.each = columns ? WIDTH / j.Q : max(WORTH / (j.Q * j.V), 1);
    size_t count = columns ? j.C : j.A * (j.C / j.V);
    pl_parallel(pl_pool_for(c->ctx, (double)c->out->numel / 2), ceil_div(count, j.each),
                columns ? column_task : plane_task, &j);
}

double *pl_rescale_numbers(pleat_ctx *ctx, const pleat_tensor *mean, const pleat_tensor *factor,
                           const pleat_tensor *bias) {
    size_t C = factor->numel, bytes;
    double *numbers = pl_mul_ok(2 * sizeof *numbers, C, &bytes) ? pl_take(&ctx->memory, bytes) : NULL;
    for (size_t k = 0; numbers != NULL && k < C; k++) {
        double a = numbers[k] = pl_element_at(factor, (ptrdiff_t)k * factor->stride[0]);
        double b = bias != NULL ? pl_element_at(bias, (ptrdiff_t)k * bias->stride[0]) : 0;
        numbers[C + k] = b - a * pl_element_at(mean, (ptrdiff_t)k * mean->stride[0]);
    }
    return numbers;
}

/* ---- the op -------------------------------------------------------------------------------------------- */

/* inputs: x [N,C,..], mean, factor and perhaps bias [C] */
static bool rescale_forward(const pleat_call *c) {
    pleat_tensor *x = pl_dense(c->in[0]);
    double *numbers = pl_rescale_numbers(c->ctx, c->in[1], c->in[2], c->n > 3 ? c->in[3] : NULL);
    bool done = !x->poison && numbers != NULL;
    if (done && x->numel > 0) run(c, x->data, numbers);
    pl_release(x);
    pl_give(&c->ctx->memory, numbers);
    return done || pleat_call_fail(c, PLEAT_ERR_MEMORY, "no memory for the factors");
}

static pleat_tensor *rescale_vjp(const pleat_call *c, size_t i, pleat_tensor *g) {
    pleat_ctx *ctx = c->ctx;
    pleat_tensor *x = c->in[0];
    size_t shape[PLEAT_MAX_RANK] = {x->shape[1], 1, 1, 1, 1, 1, 1, 1}, rank = x->rank - 1;
    if (end_of(c) != PL_LINEAR) {
        if (ctx->shared == NULL) ctx->shared = pl_retain(pl_passed(g, c->out, end_of(c)));
        g = ctx->shared;
    }
    pleat_tensor *mean = pleat_reshape(c->in[1], rank, shape), *factor = pleat_reshape(c->in[2], rank, shape);
    if (i == 0) return pleat_mul(g, factor);
    pleat_tensor *sum = i == 2 ? pleat_mul(g, pleat_sub(x, mean)) : g;
    sum = pl_sum_like(sum, mean);
    if (i == 1) sum = pleat_neg(pleat_mul(sum, factor));
    return pleat_reshape(sum, 1, c->in[i]->shape);
}

static size_t rescale_attributes(const pleat_call *c, pleat_attr *out) {
    out[0] = pl_attr_rectifier(end_of(c));
    return 1;
}

static bool rescale_takes_blocked(const pleat_call *c) {
    return c->in[0]->storage->blocked && c->out->storage->blocked;
}

static const pl_traits rescale_traits = {rescale_takes_blocked, NULL};
static const pleat_op rescale_op = {
    "rescale", pl_shape_same, rescale_forward, rescale_vjp, rescale_attributes, &rescale_traits, NULL};

pleat_tensor *pl_rescale(pleat_tensor *x, pleat_tensor *mean, pleat_tensor *factor, pleat_tensor *bias,
                         pl_rectifier end) {
    pleat_tensor *in[] = {x, mean, factor, bias};
    return pleat_apply(&rescale_op, bias != NULL ? 4 : 3, in, &end, sizeof end);
}

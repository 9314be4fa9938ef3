/* gradcheck: gradients of any order against difference quotients. */
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "autograd/check_tensors.h"

/* S of one order at one point, and the sum of its absolute terms. */
typedef struct value {
    double s, mass;
    bool ok;
} value;

typedef struct gradcheck {
    const pleat_gradcheck_args *args;
    pleat_ctx *ctx;
    pleat_tensor **xs;  /* dense copies without history */
    pleat_tensor **gxs; /* room for n gradients */
    pleat_tensor *u;    /* cotangent of f's result */
    pleat_tensor **us;  /* cotangents of the gradients: order * n */
    pleat_report report;
} gradcheck;

static double sum_of_sizes(pleat_tensor *t) {
    double sum = 0;
    pleat_tensor *dense = pl_dense(t);
    for (size_t i = 0; !dense->poison && i < dense->numel; i++) sum += fabs(((const double *)dense->data)[i]);
    pl_release(dense);
    return sum;
}

/* S of `order` at the current xs, as a tensor that can be differentiated if recording is on. */
static pleat_tensor *scalar(gradcheck *g, int order, double *mass) {
    const pleat_gradcheck_args *a = g->args;
    pleat_tensor *terms = pleat_mul(a->f(a->n, g->xs, a->user), g->u);
    pleat_tensor *s = pleat_sum(terms);
    *mass = sum_of_sizes(terms);
    for (int k = 1; k < order; k++) {
        *mass = 0;
        if (pleat_grads(s, NULL, a->n, g->xs, g->gxs, PLEAT_GRADS_RECORD) != PLEAT_OK)
            return pleat_poison(g->ctx);
        s = NULL;
        for (size_t i = 0; i < a->n; i++) {
            terms = pleat_mul(g->gxs[i], g->us[(size_t)(k - 1) * a->n + i]);
            *mass += sum_of_sizes(terms);
            s = s == NULL ? pleat_sum(terms) : pleat_add(s, pleat_sum(terms));
        }
    }
    return s;
}

static value evaluate(gradcheck *g, int order) {
    pleat_scope scope = pleat_begin(g->ctx);
    bool was = pleat_set_recording(g->ctx, order > 1);
    value v;
    v.s = pleat_item(scalar(g, order, &v.mass));
    v.ok = g->ctx->error.code == PLEAT_OK;
    pleat_set_recording(g->ctx, was);
    pleat_end(scope);
    return v;
}

/* Element k of x, for a while: no write that a gradient would have to know of. */
static void put(pleat_tensor *x, size_t k, double v) {
    pl_packs_free(&x->ctx->memory, x->storage);
    ((double *)x->data)[k] = v;
}

/* The central difference quotient of one element, and the difference of the two one-sided ones. */
static double quotient(gradcheck *g, int order, pleat_tensor *x, size_t k, double here, double *kink) {
    double at = ((const double *)x->data)[k],
           h = (g->args->step > 0 ? g->args->step : 6e-6) * fmax(1, fabs(at));
    volatile double up = at + h, down = at - h; /* the rounded points, whose distance is the true step */
    put(x, k, up);
    double above = evaluate(g, order).s;
    put(x, k, down);
    double below = evaluate(g, order).s;
    put(x, k, at);
    *kink = fabs((above - here) / (up - at) - (here - below) / (at - down));
    return (above - below) / (up - down);
}

static void describe(gradcheck *g, double kink, double scale) {
    pleat_report *r = &g->report;
    pl_text index = pl_shape_phrase(g->xs[r->input]->rank, r->index);
    snprintf(r->text, sizeof r->text,
             "gradcheck: order %d, input %zu %s, element %s: difference quotient %s, gradient %s, error %s%s",
             r->order, r->input, pl_shape_of(g->xs[r->input]).text, index.text,
             pl_number(r->expected, 12).text, pl_number(r->found, 12).text, pl_number(r->error, 3).text,
             kink > 0.01 * scale ? " (left and right quotients differ: a kink nearby?)" : "");
}

static void unravel(const pleat_tensor *t, size_t number, size_t *index) {
    for (size_t k = t->rank; k-- > 0; number /= t->shape[k]) index[k] = number % t->shape[k];
}

/* Compare all elements of input i with its gradient. The report keeps the worst element of all inputs and
 * orders. */
static bool check_input(gradcheck *g, int order, size_t i, pleat_tensor *gradient, value here) {
    pleat_tensor *x = g->xs[i];
    double *expected = pl_take(&g->ctx->memory, (2 * x->numel + 1) * sizeof(double));
    if (expected == NULL) {
        pleat_fail(g->ctx, PLEAT_ERR_MEMORY, "gradcheck", "no memory for %zu difference quotients", x->numel);
        return false;
    }
    double *kink = expected + x->numel, scale = 1e-3 * here.mass;
    pleat_tensor *dense = pl_dense(gradient);
    const double *found = (const double *)dense->data;
    for (size_t k = 0; !dense->poison && k < x->numel; k++) {
        expected[k] = quotient(g, order, x, k, here.s, &kink[k]);
        scale = fmax(scale, fmax(fabs(expected[k]), fabs(found[k])));
    }
    for (size_t k = 0; !dense->poison && k < x->numel; k++) {
        double error = expected[k] == found[k] ? 0 : fabs(expected[k] - found[k]) / scale;
        if (error <= g->report.error) continue; /* false for NaN */
        pleat_report *r = &g->report;
        *r = (pleat_report){
            .order = order, .input = i, .expected = expected[k], .found = found[k], .error = error};
        if (isnan(error)) r->error = INFINITY;
        unravel(x, k, r->index);
        describe(g, kink[k], scale);
    }
    bool done = !dense->poison && g->ctx->error.code == PLEAT_OK;
    pl_release(dense);
    pl_give(&g->ctx->memory, expected);
    return done;
}

static bool check_order(gradcheck *g, int order) {
    value here = evaluate(g, order), again = evaluate(g, order);
    if (!here.ok || !again.ok) return false;
    if (memcmp(&here.s, &again.s, sizeof here.s) != 0) {
        g->report = (pleat_report){.order = order, .expected = here.s, .found = again.s, .error = INFINITY};
        snprintf(
            g->report.text, sizeof g->report.text,
            "gradcheck: order %d: the function gave %s and then %s for the same input; it must not change",
            order, pl_number(here.s, 17).text, pl_number(again.s, 17).text);
        return true;
    }
    pleat_scope scope = pleat_begin(g->ctx);
    bool was = pleat_set_recording(g->ctx, true);
    double mass;
    pleat_tensor *s = scalar(g, order, &mass);
    bool done = pleat_grads(s, NULL, g->args->n, g->xs, g->gxs, 0) == PLEAT_OK;
    /* evaluate overwrites gxs, so the gradients are compared from a copy of the list */
    for (size_t i = 0; done && i < g->args->n; i++)
        g->us[(size_t)(g->args->order - 1) * g->args->n + i] = g->gxs[i];
    for (size_t i = 0; done && i < g->args->n; i++) {
        done = check_input(g, order, i, g->us[(size_t)(g->args->order - 1) * g->args->n + i], here);
    }
    pleat_set_recording(g->ctx, was);
    pleat_end(scope);
    return done;
}

/* Copies of the inputs, and all random cotangents. */
static bool prepare(gradcheck *g) {
    const pleat_gradcheck_args *a = g->args;
    pleat_rng r = pleat_rng_new(a->seed, 1);
    for (size_t i = 0; i < a->n; i++) {
        g->xs[i] = pleat_empty(g->ctx, PLEAT_F64, a->xs[i]->rank, a->xs[i]->shape);
        if (pleat_assign(g->xs[i], a->xs[i]) != PLEAT_OK) return false;
    }
    pleat_tensor *y = a->f(a->n, g->xs, a->user);
    if (pleat_is_poison(y)) {
        pleat_fail(g->ctx, PLEAT_ERR_ARGUMENT, "gradcheck", "the function returned a null pointer or poison");
        return false;
    }
    if (y->dtype != PLEAT_F64) {
        pleat_fail(g->ctx, PLEAT_ERR_DTYPE, "gradcheck",
                   "the function's result is f32: checks are made in f64");
        return false;
    }
    g->u = pl_random_like(&r, y, false);
    for (int k = 1; k < a->order; k++) {
        for (size_t i = 0; i < a->n; i++)
            g->us[(size_t)(k - 1) * a->n + i] = pl_random_like(&r, g->xs[i], false);
    }
    return g->ctx->error.code == PLEAT_OK;
}

/* The line of a check that passed: how near it was, and where. */
static void describe_pass(gradcheck *g, double tolerance) {
    pleat_report *r = &g->report;
    const pleat_tensor *x = g->xs[r->input];
    char what[64], place[400];
    if (g->args->order == 1)
        snprintf(what, sizeof what, "gradcheck: passed, order 1");
    else
        snprintf(what, sizeof what, "gradcheck: passed, orders 1 to %d", g->args->order);
    snprintf(place, sizeof place, "order %d, input %zu %s, element %s", r->order, r->input,
             pl_shape_of(x).text, pl_shape_phrase(x->rank, r->index).text);
    pl_check_passed(r, what, tolerance, place);
}

static pleat_status run_gradcheck(gradcheck *g) {
    const pleat_gradcheck_args *a = g->args;
    double tolerance = a->tolerance > 0 ? a->tolerance : 1e-7;
    bool done = prepare(g);
    for (int order = 1; done && order <= a->order; order++) {
        done = check_order(g, order);
        if (g->report.error > tolerance) break; /* higher orders would repeat the error */
    }
    if (done && g->report.error <= tolerance) describe_pass(g, tolerance);
    return pl_check_end(g->ctx, &g->report, a->report, done, tolerance);
}

pleat_status pleat_gradcheck_with(pleat_gradcheck_args args) {
    if (args.order == 0) args.order = 1;
    if (args.f == NULL || args.n == 0 || args.xs == NULL) {
        return pl_check_refuse(args.report, "gradcheck: a function and at least one input are needed");
    }
    if (args.order < 0) return pl_check_refuse(args.report, "gradcheck: the order must be at least 1");
    for (size_t i = 0; i < args.n; i++) {
        if (pleat_is_poison(args.xs[i]))
            return pl_check_refuse(args.report, "gradcheck: an input is null or poison");
        if (args.xs[i]->dtype != PLEAT_F64) {
            return pl_check_refuse(
                args.report,
                "gradcheck: an input is f32: checks are made in f64, where rounding does not hide errors");
        }
    }
    pleat_ctx *ctx = args.xs[0]->ctx;
    if (ctx->error.code != PLEAT_OK) return pl_check_refuse(args.report, ctx->error.text);
    size_t n = args.n, lists = (size_t)args.order + 2;
    pleat_tensor **room = pl_take(&ctx->memory, lists * n * sizeof *room);
    if (room == NULL) {
        pleat_fail(ctx, PLEAT_ERR_MEMORY, "gradcheck", "no memory for %zu lists of inputs", lists);
        return pl_check_end(ctx, &(pleat_report){0}, args.report, false, 0);
    }
    gradcheck g = {.args = &args, .ctx = ctx, .xs = room, .gxs = room + n, .us = room + 2 * n};
    pleat_scope scope = pleat_begin(ctx);
    pleat_status status = run_gradcheck(&g);
    pleat_end(scope);
    pl_give(&ctx->memory, room);
    return status;
}

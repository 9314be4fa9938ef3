/* adjointcheck: is one function the adjoint of the other, and are both linear? */
#include <math.h>
#include <stdio.h>

#include "autograd/check_tensors.h"

/* What is compared, and what to say where it is not equal. */
typedef struct law {
    const char *accusation, *compared;
} law;

static const law products = {"the products differ", "<A x, y> and <x, A^T y>"},
                 linear_f = {"A is not linear", "|A x + 2 A z - A(x + 2z)|"},
                 linear_adjoint = {"A^T is not linear", "|A^T y + 2 A^T z - A^T(y + 2z)|"};

typedef struct adjointcheck {
    const pleat_adjointcheck_args *args;
    pleat_ctx *ctx;
    pleat_rng r;
    double tolerance;
    int try;          /* from 0 */
    const law *worst; /* NULL: all was equal, bit for bit */
    int worst_try;
    pleat_report report;
} adjointcheck;

static double dot(pleat_tensor *a, pleat_tensor *b) {
    pleat_tensor *p = pleat_sum(pleat_mul(a, b));
    return pleat_item(p);
}

static bool shape_is(adjointcheck *k, const char *what, const pleat_tensor *t, const pleat_tensor *like) {
    if (pleat_is_poison(t)) {
        pleat_fail(k->ctx, PLEAT_ERR_ARGUMENT, "adjointcheck", "%s returned a null pointer or poison", what);
        return false;
    }
    if (pl_same_shape(t, like) && t->dtype == like->dtype) return true;
    pleat_fail(k->ctx, PLEAT_ERR_SHAPE, "adjointcheck", "%s returned %s, %s of the given type was expected",
               what, pl_shape_of(t).text, pl_shape_of(like).text);
    return false;
}

static void note(adjointcheck *k, const law *l, double expected, double found, double scale) {
    double error = expected == found ? 0 : fabs(expected - found) / (k->args->integers ? 1 : scale);
    if (error <= k->report.error) return;
    k->worst = l;
    k->worst_try = k->try;
    k->report =
        (pleat_report){.expected = expected, .found = found, .error = isnan(error) ? INFINITY : error};
}

/* The worst element of a - b, against the size of the whole. */
static void note_linear(adjointcheck *k, const law *l, pleat_tensor *a, pleat_tensor *b) {
    pleat_tensor *d = pleat_sub(a, b);
    double scale = sqrt(dot(a, a)) + sqrt(dot(b, b)), off = sqrt(dot(d, d));
    note(k, l, 0, off, scale > 0 ? scale : 1);
}

static bool linear(adjointcheck *k, const law *l, pleat_linear f, pleat_tensor *x, pleat_tensor *fx) {
    pleat_tensor *z = pl_random_like(&k->r, x, k->args->integers);
    pleat_tensor *fz = f(z, k->args->user), *both = f(pleat_add(x, pleat_scale(z, 2)), k->args->user);
    if (pleat_is_poison(fz) || pleat_is_poison(both))
        return shape_is(k, l->compared, pleat_poison(k->ctx), fx);
    note_linear(k, l, pleat_add(fx, pleat_scale(fz, 2)), both);
    return true;
}

static bool try_once(adjointcheck *k) {
    const pleat_adjointcheck_args *a = k->args;
    pleat_tensor *x = pl_random_like(&k->r, a->x, a->integers), *y = pl_random_like(&k->r, a->y, a->integers);
    pleat_tensor *ax = a->f(x, a->user);
    if (!shape_is(k, "the function", ax, a->y)) return false;
    pleat_tensor *aty = a->adjoint(y, a->user);
    if (!shape_is(k, "the adjoint", aty, a->x)) return false;
    double scale = sqrt(dot(ax, ax)) * sqrt(dot(y, y));
    note(k, &products, dot(ax, y), dot(x, aty), scale > 0 ? scale : 1);
    return linear(k, &linear_f, a->f, x, ax) && linear(k, &linear_adjoint, a->adjoint, y, aty) &&
           k->ctx->error.code == PLEAT_OK;
}

/* The line for people; one that passed accuses nobody. */
static void describe(adjointcheck *k, int tries) {
    pleat_report *r = &k->report;
    if (r->error > k->tolerance) {
        snprintf(r->text, sizeof r->text, "adjointcheck: %s: %s: %s and %s, error %s of %s in try %d",
                 k->worst->accusation, k->worst->compared, pl_number(r->expected, 12).text,
                 pl_number(r->found, 12).text, pl_number(r->error, 3).text, pl_number(k->tolerance, 3).text,
                 k->worst_try);
        return;
    }
    char what[64], place[64] = "";
    snprintf(what, sizeof what, "adjointcheck: passed, %d %s", tries, tries == 1 ? "try" : "tries");
    if (k->worst != NULL) snprintf(place, sizeof place, "%s in try %d", k->worst->compared, k->worst_try);
    pl_check_passed(r, what, k->tolerance, place);
}

pleat_status pleat_adjointcheck_with(pleat_adjointcheck_args args) {
    if (args.f == NULL || args.adjoint == NULL || pleat_is_poison(args.x) || pleat_is_poison(args.y)) {
        return pl_check_refuse(args.report,
                               "adjointcheck: two functions and two tensors (for their shapes) are needed");
    }
    pleat_ctx *ctx = args.x->ctx;
    if (ctx->error.code != PLEAT_OK) return pl_check_refuse(args.report, ctx->error.text);
    bool both_f64 = args.x->dtype == PLEAT_F64 && args.y->dtype == PLEAT_F64;
    adjointcheck k = {.args = &args, .ctx = ctx, .r = pleat_rng_new(args.seed, 2)};
    k.tolerance = args.integers ? 0 : args.tolerance > 0 ? args.tolerance : both_f64 ? 1e-12 : 1e-4;
    bool done = true;
    int tries = args.tries > 0 ? args.tries : 3;
    for (; done && k.try < tries; k.try++) {
        pleat_scope scope = pleat_begin(ctx);
        bool was = pleat_set_recording(ctx, false);
        done = try_once(&k);
        pleat_set_recording(ctx, was);
        pleat_end(scope);
    }
    if (done) describe(&k, tries);
    return pl_check_end(ctx, &k.report, args.report, done, k.tolerance);
}

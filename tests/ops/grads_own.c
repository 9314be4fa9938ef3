/* Ops of one's own, with right and wrong gradient rules, and whether the checkers catch the wrong ones and say where. */
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "tensors.h"

TestSuite(own, .init = tensors_begin, .fini = tensors_end);

/* ---- an op: y = x^3, with rules of all kinds ------------------------------------------------------------ */

static bool cube_shape(pleat_call *c) {
    c->rank = pleat_rank(c->in[0]);
    memcpy(c->shape, pleat_shape(c->in[0]), c->rank * sizeof *c->shape);
    return true;
}

static bool cube_forward(const pleat_call *c) {
    double *y = pleat_f64(c->out), x[64];
    pleat_read_f64(c->in[0], x);
    for (size_t i = 0; i < pleat_numel(c->out); i++) y[i] = x[i] * x[i] * x[i];
    return true;
}

static pleat_tensor *right_vjp(const pleat_call *c, size_t i, pleat_tensor *g) {
    return pleat_mul(g, pleat_scale(pleat_square(c->in[i]), 3));
}
static pleat_tensor *wrong_vjp(const pleat_call *c, size_t i, pleat_tensor *g) {
    return pleat_scale(right_vjp(c, i, g), 1.00001);
}
static pleat_tensor *negated_vjp(const pleat_call *c, size_t i, pleat_tensor *g) {
    return pleat_neg(right_vjp(c, i, g));
}
static pleat_tensor *nan_vjp(const pleat_call *c, size_t i, pleat_tensor *g) {
    return pleat_scale(right_vjp(c, i, g), NAN);
}
static pleat_tensor *zero_vjp(const pleat_call *c, size_t i, pleat_tensor *g) {
    return (void)c, (void)i, (void)g, NULL;
}
static pleat_tensor *misshapen_vjp(const pleat_call *c, size_t i, pleat_tensor *g) {
    return pleat_sum(right_vjp(c, i, g));
}
static pleat_tensor *mistyped_vjp(const pleat_call *c, size_t i, pleat_tensor *g) {
    return (void)i, (void)g, as_type(c->in[0], PLEAT_F32);
}
static pleat_tensor *poison_vjp(const pleat_call *c, size_t i, pleat_tensor *g) {
    return (void)i, (void)g, pleat_poison(c->ctx);
}
static pleat_tensor *failing_vjp(const pleat_call *c, size_t i, pleat_tensor *g) {
    return (void)i, pleat_matmul(g, c->in[0]);
}

/* Right once, but the derivative's own derivative is lost. */
static pleat_tensor *forgetful_vjp(const pleat_call *c, size_t i, pleat_tensor *g) {
    return pleat_mul(g, pleat_detach(pleat_scale(pleat_square(c->in[i]), 3)));
}

/* A rule that lets the library find its derivative, by a walk within the walk. */
static pleat_tensor *nested_vjp(const pleat_call *c, size_t i, pleat_tensor *g) {
    bool was = pleat_set_recording(c->ctx, true);
    pleat_tensor *x = c->in[i], *gx, *y = pleat_mul(pleat_square(x), x);
    pleat_set_recording(c->ctx, was);
    pleat_status s = pleat_grads(y, g, 1, &x, &gx, was ? PLEAT_GRADS_RECORD : 0);
    return s == PLEAT_OK ? gx : pleat_poison(c->ctx);
}

typedef pleat_tensor *(*rule)(const pleat_call *c, size_t i, pleat_tensor *g);

static pleat_op cube_with(rule vjp) {
    return (pleat_op){"cube", cube_shape, cube_forward, vjp, NULL, NULL, NULL};
}

/* a + cube(b): a mistake in the rule is one of input 1. */
static pleat_tensor *add_cube(size_t n, pleat_tensor *const *xs, void *user) {
    (void)n;
    return pleat_add(xs[0], pleat_apply(user, 1, &xs[1], NULL, 0));
}

static pleat_status check(rule vjp, int order, pleat_report *r) {
    static pleat_op op; /* it must outlive the results */
    op = cube_with(vjp);
    pleat_tensor *xs[] = {pleat_uniform(ctx, PLEAT_F64, PLEAT_SHAPE(3), 1, 2),
                          pleat_uniform(ctx, PLEAT_F64, PLEAT_SHAPE(2, 3), 1, 2)};
    size_t tensors = pleat_memory(ctx).tensors;
    bool was = pleat_set_recording(ctx, true);
    pleat_status status = pleat_gradcheck(add_cube, 2, xs, .user = &op, .order = order, .report = r);
    cr_assert_eq(pleat_memory(ctx).tensors, tensors);
    cr_assert_eq(pleat_error(ctx)->code, PLEAT_OK, "the error stays in the report");
    cr_assert(pleat_set_recording(ctx, was));
    cr_assert_eq(r->ok, status == PLEAT_OK);
    cr_assert(strchr(r->text, '\n') == NULL && r->text[0] != 0);
    return status;
}

Test(own, a_right_rule_passes) {
    pleat_report r;
    cr_assert_eq(check(right_vjp, 3, &r), PLEAT_OK, "%s", r.text);
    cr_assert_lt(r.error, 1e-7);
    cr_assert_eq(check(nested_vjp, 3, &r), PLEAT_OK, "%s", r.text);
    cr_assert_eq(check(forgetful_vjp, 1, &r), PLEAT_OK, "%s", r.text);
}

static void expect_caught(rule vjp, int order, int found_at, const char *part) {
    pleat_report r;
    cr_assert_eq(check(vjp, order, &r), PLEAT_ERR_CHECK, "%s", r.text);
    cr_assert_eq(r.order, found_at, "%s", r.text);
    cr_assert_eq(r.input, 1, "%s", r.text);
    cr_assert(strstr(r.text, part) && strstr(r.text, "input 1 [2,3], element ["), "%s", r.text);
    cr_assert_not(r.error <= 1e-7);
}

Test(own, wrong_rules_are_caught) {
    expect_caught(wrong_vjp, 1, 1, "order 1");
    expect_caught(wrong_vjp, 3, 1, "order 1");
    expect_caught(negated_vjp, 1, 1, "order 1");
    expect_caught(zero_vjp, 1, 1, "gradient 0,");
    expect_caught(nan_vjp, 1, 1, "nan");
    expect_caught(forgetful_vjp, 2, 2, "order 2");
    expect_caught(forgetful_vjp, 3, 2, "order 2");
}

static void expect_stopped(rule vjp, pleat_status code, const char *const parts[4]) {
    pleat_report r;
    cr_assert_eq(check(vjp, 1, &r), code, "%s", r.text);
    for (size_t i = 0; i < 4 && parts[i]; i++)
        cr_assert(strstr(r.text, parts[i]), "\"%s\" does not say %s", r.text, parts[i]);
}

Test(own, rules_that_break_the_walk_are_named) {
    expect_stopped(NULL, PLEAT_ERR_GRADIENT, PARTS("cube: [2,3]", "no gradient rule", "tensor 0"));
    expect_stopped(misshapen_vjp, PLEAT_ERR_GRADIENT,
                   PARTS("cube: [2,3]", "cotangent of tensor 0 is []", "shape"));
    expect_stopped(mistyped_vjp, PLEAT_ERR_GRADIENT,
                   PARTS("cube: [2,3]", "cotangent of tensor 0 is [2,3]", "type"));
    expect_stopped(poison_vjp, PLEAT_ERR_GRADIENT, PARTS("cube: [2,3]", "cotangent of tensor 0 is poison"));
    expect_stopped(failing_vjp, PLEAT_ERR_SHAPE, PARTS("matmul: [2,3] and [2,3]", "inner sizes"));
}

/* ---- where exactly -------------------------------------------------------------------------------------- */

/* Wrong in one element alone. */
static pleat_tensor *spotted_vjp(const pleat_call *c, size_t i, pleat_tensor *g) {
    double spot[6] = {0, 0, 0, 0, 0, 0.01};
    pleat_tensor *wrong = pleat_from_f64(c->ctx, PLEAT_F64, PLEAT_SHAPE(2, 3), spot);
    return pleat_add(right_vjp(c, i, g), wrong);
}

/* Not a number in the first element, and all others right. */
static pleat_tensor *one_nan_vjp(const pleat_call *c, size_t i, pleat_tensor *g) {
    pleat_tensor *wrong = pleat_from_f64(c->ctx, PLEAT_F64, PLEAT_SHAPE(2, 3), VALUES(NAN, 0, 0, 0, 0, 0));
    return pleat_add(right_vjp(c, i, g), wrong);
}

Test(own, the_worst_element_is_named) {
    pleat_report r;
    cr_assert_eq(check(spotted_vjp, 1, &r), PLEAT_ERR_CHECK);
    cr_assert(r.input == 1 && r.index[0] == 1 && r.index[1] == 2, "%s", r.text);
    cr_assert_lt(fabs(r.found - r.expected - 0.01), 1e-7, "%s", r.text);
    cr_assert(strstr(r.text, "element [1,2]"), "%s", r.text);
    cr_assert_eq(check(one_nan_vjp, 2, &r), PLEAT_ERR_CHECK);
    cr_assert(r.input == 1 && strstr(r.text, "element [0,0]") && isinf(r.error), "%s", r.text);
}

static pleat_tensor *relu(size_t n, pleat_tensor *const *xs, void *user) {
    (void)n, (void)user;
    return pleat_relu(xs[0]);
}

Test(own, kinks_are_hinted_at) {
    pleat_report r;
    pleat_tensor *x = pleat_from_f64(ctx, PLEAT_F64, PLEAT_SHAPE(3), VALUES(1, 1e-9, -1));
    cr_assert_eq(pleat_gradcheck(relu, 1, &x, .report = &r), PLEAT_ERR_CHECK);
    cr_assert(r.index[0] == 1 && strstr(r.text, "kink"), "%s", r.text);
    cr_assert_eq(check(negated_vjp, 1, &r), PLEAT_ERR_CHECK);
    cr_assert_null(strstr(r.text, "kink"), "%s", r.text);
}

static pleat_tensor *there_and_back(size_t n, pleat_tensor *const *xs, void *user) {
    (void)n, (void)user;
    return pleat_log(pleat_exp(xs[0]));
}

/* The gradient of x is 1, but for rounding: its gradient is 0, but the quotients are not. */
Test(own, rounding_is_measured_against_what_is_summed) {
    pleat_report r;
    pleat_tensor *x = pleat_uniform(ctx, PLEAT_F64, PLEAT_SHAPE(20), 1, 2);
    cr_assert_eq(pleat_gradcheck(there_and_back, 1, &x, .order = 2, .report = &r), PLEAT_OK, "%s", r.text);
}

static pleat_tensor *restless(size_t n, pleat_tensor *const *xs, void *user) {
    (void)n;
    double *calls = user;
    return pleat_scale(xs[0], 1 + 1e-14 * ++*calls);
}

Test(own, a_function_must_not_change) {
    pleat_report r;
    double calls = 0;
    pleat_tensor *x = counted(PLEAT_F64, PLEAT_SHAPE(3));
    cr_assert_eq(pleat_gradcheck(restless, 1, &x, .user = &calls, .report = &r), PLEAT_ERR_CHECK);
    cr_assert(!r.ok && strstr(r.text, "for the same input"), "%s", r.text);
}

/* ---- what gradcheck refuses ------------------------------------------------------------------------------- */

static pleat_tensor *nothing(size_t n, pleat_tensor *const *xs, void *user) {
    return (void)n, (void)xs, (void)user, NULL;
}
static pleat_tensor *narrow(size_t n, pleat_tensor *const *xs, void *user) {
    return (void)n, (void)user, as_type(xs[0], PLEAT_F32);
}
static pleat_tensor *refuses(size_t n, pleat_tensor *const *xs, void *user) {
    (void)n, (void)user;
    return pleat_reshape(xs[0], PLEAT_SHAPE(99));
}

/* A check that did not come about: nothing stays behind in the context. */
static void expect_unchecked(pleat_status found, pleat_status code, const pleat_report *r, const char *part) {
    cr_assert_eq(found, code, "%s: %s", pleat_status_name(found), r->text);
    cr_assert(!r->ok && strstr(r->text, part), "\"%s\" does not say %s", r->text, part);
    cr_assert_eq(pleat_error(ctx)->code, PLEAT_OK);
}

Test(own, gradcheck_refusals) {
    pleat_report r;
    pleat_tensor *x = counted(PLEAT_F64, PLEAT_SHAPE(3)), *f32 = counted(PLEAT_F32, PLEAT_SHAPE(3)),
                 *null = NULL;
    expect_unchecked(pleat_gradcheck(NULL, 1, &x, .report = &r), PLEAT_ERR_ARGUMENT, &r, "a function");
    expect_unchecked(pleat_gradcheck(relu, 0, NULL, .report = &r), PLEAT_ERR_ARGUMENT, &r,
                     "at least one input");
    expect_unchecked(pleat_gradcheck(relu, 1, &x, .order = -1, .report = &r), PLEAT_ERR_ARGUMENT, &r,
                     "order");
    expect_unchecked(pleat_gradcheck(relu, 1, &f32, .report = &r), PLEAT_ERR_ARGUMENT, &r, "f32");
    expect_unchecked(pleat_gradcheck(relu, 1, &null, .report = &r), PLEAT_ERR_ARGUMENT, &r, "null");
    expect_unchecked(pleat_gradcheck(nothing, 1, &x, .report = &r), PLEAT_ERR_ARGUMENT, &r,
                     "null pointer or poison");
    expect_unchecked(pleat_gradcheck(narrow, 1, &x, .report = &r), PLEAT_ERR_DTYPE, &r, "f32");
    expect_unchecked(pleat_gradcheck(refuses, 1, &x, .report = &r), PLEAT_ERR_SHAPE, &r, "reshape: [3]");
    cr_assert_eq(pleat_gradcheck(refuses, 1, &x), PLEAT_ERR_SHAPE, "a report is not a must");
    pleat_fail(ctx, PLEAT_ERR_IO, "mine", "earlier");
    cr_assert_eq(pleat_gradcheck(relu, 1, &x, .report = &r), PLEAT_ERR_ARGUMENT);
    cr_assert(strstr(r.text, "mine: earlier"), "%s", r.text);
    pleat_clear_error(ctx);
}

Test(own, gradcheck_options) {
    pleat_report r;
    pleat_op op = cube_with(wrong_vjp);
    pleat_tensor *xs[] = {pleat_uniform(ctx, PLEAT_F64, PLEAT_SHAPE(2), 1, 2),
                          pleat_uniform(ctx, PLEAT_F64, PLEAT_SHAPE(2), 1, 2)};
    cr_assert_eq(pleat_gradcheck(add_cube, 2, xs, .user = &op, .tolerance = 1e-4), PLEAT_OK);
    cr_assert_eq(pleat_gradcheck(add_cube, 2, xs, .user = &op, .tolerance = 1e-6), PLEAT_ERR_CHECK);
    op = cube_with(right_vjp);
    cr_assert_eq(pleat_gradcheck(add_cube, 2, xs, .user = &op, .step = 0.1, .report = &r), PLEAT_ERR_CHECK,
                 "h^2 is not small");
    double before = r.found;
    cr_assert_eq(pleat_gradcheck(add_cube, 2, xs, .user = &op, .step = 0.1, .seed = 1, .report = &r),
                 PLEAT_ERR_CHECK);
    cr_assert_neq(r.found, before, "another seed, other cotangents");
    cr_assert_eq(pleat_gradcheck(add_cube, 2, xs, .user = &op, .step = 0.1, .report = &r), PLEAT_ERR_CHECK);
    cr_assert_eq(r.found, before);
}

/* A report that passes says so: with the worst figure, its bound and its place, and without an accusation. */
static void expect_passed(const pleat_report *r, const char *begin, const char *bound, const char *place) {
    static const char *const accusations[] = {"not", "differ", "kink", "quotient", "must", "wrong"};
    cr_assert(r->ok && strncmp(r->text, begin, strlen(begin)) == 0, "%s", r->text);
    for (size_t i = 0; i < sizeof accusations / sizeof *accusations; i++)
        cr_assert_null(strstr(r->text, accusations[i]), "%s", r->text);
    if (r->error == 0)
        cr_assert(strstr(r->text, "exact"), "%s", r->text);
    else
        cr_assert(strstr(r->text, bound) && strstr(r->text, place), "%s", r->text);
}

Test(own, gradcheck_that_passes_says_so) {
    pleat_report r;
    pleat_op op = cube_with(right_vjp);
    for (uint64_t seed = 0; seed < 50; seed++) {
        pleat_tensor *xs[] = {pleat_uniform(ctx, PLEAT_F64, PLEAT_SHAPE(3), 1, 2),
                              pleat_uniform(ctx, PLEAT_F64, PLEAT_SHAPE(2, 3), 1, 2)};
        pleat_gradcheck(add_cube, 2, xs, .user = &op, .order = 2, .seed = seed, .report = &r);
        char place[64];
        snprintf(place, sizeof place, " of 1e-07: order %d, input %zu [%s3], element [%zu", r.order, r.input,
                 r.input ? "2," : "", r.index[0]);
        expect_passed(&r, "gradcheck: passed, orders 1 to 2; ", "worst ", place);
        pleat_gradcheck(add_cube, 2, xs, .user = &op, .seed = seed, .tolerance = 0.5, .report = &r);
        expect_passed(&r, "gradcheck: passed, order 1; ", " of 0.5: order 1", "element [");
    }
}

/* ---- adjointcheck ----------------------------------------------------------------------------------------- */

static pleat_tensor *doubled(pleat_tensor *x, void *user) { return (void)user, pleat_scale(x, 2); }
static pleat_tensor *minus_doubled(pleat_tensor *x, void *user) { return (void)user, pleat_scale(x, -2); }
static pleat_tensor *nearly_doubled(pleat_tensor *x, void *user) {
    return (void)user, pleat_scale(x, 2 * (1 + 1e-6));
}
static pleat_tensor *moved(pleat_tensor *x, void *user) {
    return (void)user, pleat_shift(pleat_scale(x, 2), 1);
}
static pleat_tensor *squared(pleat_tensor *x, void *user) { return (void)user, pleat_square(x); }
static pleat_tensor *cut(pleat_tensor *x, void *user) {
    return (void)user, pleat_slice(x, (size_t[]){0}, (size_t[]){2}, NULL);
}
static pleat_tensor *lost(pleat_tensor *x, void *user) { return (void)x, (void)user, NULL; }
static pleat_tensor *broken(pleat_tensor *x, void *user) {
    return (void)user, pleat_reshape(x, PLEAT_SHAPE(99));
}

/* Not linear, with an "adjoint" that makes the two products equal all the same. */
static pleat_tensor *remembered_square(pleat_tensor *x, void *user) {
    pleat_assign(user, x);
    return pleat_square(x);
}
static pleat_tensor *conspirator(pleat_tensor *y, void *user) {
    pleat_tensor *x = user, *products = pleat_sum(pleat_mul(pleat_square(x), y));
    return pleat_mul(x, pleat_div(products, pleat_sum(pleat_square(x))));
}

Test(own, adjointcheck_sees_what_is_not_linear) {
    pleat_report r;
    pleat_tensor *x = counted(PLEAT_F64, PLEAT_SHAPE(5)), *memory = pleat_zeros_like(x);
    cr_assert_eq(pleat_adjointcheck(remembered_square, conspirator, x, x, .user = memory, .report = &r),
                 PLEAT_ERR_CHECK);
    cr_assert(strstr(r.text, "A is not linear"), "%s", r.text);
}

static pleat_status adjoint(pleat_linear f, pleat_linear g, bool integers, pleat_report *r) {
    pleat_tensor *x = counted(PLEAT_F64, PLEAT_SHAPE(5));
    size_t tensors = pleat_memory(ctx).tensors;
    pleat_status status = pleat_adjointcheck(f, g, x, x, .integers = integers, .report = r);
    cr_assert_eq(pleat_memory(ctx).tensors, tensors);
    cr_assert_eq(pleat_error(ctx)->code, PLEAT_OK);
    cr_assert_eq(r->ok, status == PLEAT_OK, "%s", r->text);
    return status;
}

Test(own, adjointcheck_catches) {
    pleat_report r;
    for (int integers = 0; integers < 2; integers++) {
        cr_assert_eq(adjoint(doubled, doubled, integers, &r), PLEAT_OK, "%s", r.text);
        cr_assert_eq(adjoint(doubled, nearly_doubled, integers, &r), PLEAT_ERR_CHECK);
        cr_assert(strstr(r.text, "differ"), "%s", r.text);
        cr_assert_eq(adjoint(doubled, minus_doubled, integers, &r), PLEAT_ERR_CHECK);
        cr_assert_eq(adjoint(moved, doubled, integers, &r), PLEAT_ERR_CHECK);
        cr_assert_eq(adjoint(doubled, moved, integers, &r), PLEAT_ERR_CHECK);
        cr_assert_eq(adjoint(moved, moved, integers, &r), PLEAT_ERR_CHECK);
        cr_assert_eq(adjoint(squared, squared, integers, &r), PLEAT_ERR_CHECK);
    }
    expect_unchecked(adjoint(cut, doubled, true, &r), PLEAT_ERR_SHAPE, &r, "the function returned [2], [5]");
    expect_unchecked(adjoint(doubled, cut, true, &r), PLEAT_ERR_SHAPE, &r, "the adjoint returned [2], [5]");
    expect_unchecked(adjoint(lost, doubled, true, &r), PLEAT_ERR_ARGUMENT, &r,
                     "the function returned a null pointer");
    expect_unchecked(adjoint(doubled, broken, true, &r), PLEAT_ERR_SHAPE, &r, "reshape: [5]");
    expect_unchecked(adjoint(NULL, doubled, true, &r), PLEAT_ERR_ARGUMENT, &r, "two functions");
    expect_unchecked(pleat_adjointcheck(cut, cut, NULL, NULL, .report = &r), PLEAT_ERR_ARGUMENT, &r,
                     "two tensors");
    pleat_tensor *x = counted(PLEAT_F32, PLEAT_SHAPE(40));
    cr_assert_eq(pleat_adjointcheck(doubled, nearly_doubled, x, x), PLEAT_OK, "f32 is not as fussy");
    cr_assert_eq(pleat_adjointcheck(doubled, nearly_doubled, x, x, .tolerance = 1e-8), PLEAT_ERR_CHECK);
    pleat_fail(ctx, PLEAT_ERR_IO, "mine", "earlier");
    cr_assert_eq(pleat_adjointcheck(doubled, doubled, x, x, .report = &r), PLEAT_ERR_ARGUMENT);
    cr_assert(strstr(r.text, "mine: earlier"), "%s", r.text);
    pleat_clear_error(ctx);
}

static pleat_tensor *thirds(pleat_tensor *x, void *user) { return (void)user, pleat_scale(x, 1.0 / 3); }

Test(own, adjointcheck_that_passes_says_so) {
    pleat_report r;
    pleat_tensor *x = counted(PLEAT_F64, PLEAT_SHAPE(17)), *f32 = counted(PLEAT_F32, PLEAT_SHAPE(17));
    size_t rounded = 0;
    for (uint64_t seed = 0; seed < 100; seed++) {
        pleat_adjointcheck(thirds, thirds, x, x, .seed = seed, .report = &r);
        expect_passed(&r, "adjointcheck: passed, 3 tries; ", " of 1e-12: ", " in try ");
        rounded += r.error > 0;
        pleat_adjointcheck(thirds, thirds, f32, f32, .tries = 1, .seed = seed, .report = &r);
        expect_passed(&r, "adjointcheck: passed, 1 try; ", " of 0.0001: ", " in try 0");
        pleat_adjointcheck(doubled, doubled, x, x, .integers = true, .seed = seed, .report = &r);
        expect_passed(&r, "adjointcheck: passed, 3 tries; exact", "", "");
    }
    cr_assert_gt(rounded, 90, "%zu of 100 seeds had any rounding to report", rounded);
}

/* ---- what pleat_apply does for an op of one's own ------------------------------------------------------------ */

typedef struct window {
    long double factor; /* attrs may hold any type */
    size_t start, size;
} window;

/* A view of a window of a vector, and its rule. */
static bool window_shape(pleat_call *c) {
    const window *w = c->attrs;
    if (w->size == 0) return false; /* without a word */
    if (pleat_rank(c->in[0]) != 1 || w->start + w->size > pleat_size(c->in[0], 0)) {
        return pleat_call_fail(c, PLEAT_ERR_SHAPE, "%zu from %zu on is no window", w->size, w->start);
    }
    c->rank = w->size > 100 ? 99 : 1;
    c->shape[0] = w->size;
    c->stride[0] = 1;
    c->offset = (ptrdiff_t)w->start;
    return true;
}
static pleat_tensor *window_vjp(const pleat_call *c, size_t i, pleat_tensor *g) {
    const window *w = c->attrs;
    return pleat_scale(pleat_pad(g, pleat_shape(c->in[i]), &w->start, NULL), (double)w->factor);
}
static const pleat_op window_op = {"window", window_shape, NULL, window_vjp, NULL, NULL, NULL};

Test(own, a_view_and_attrs) {
    pleat_tensor *x = counted(PLEAT_F32, PLEAT_SHAPE(200)), *y, *g;
    window w = {.factor = 1, .start = 3, .size = 2};
    y = pleat_apply(&window_op, 1, &x, &w, sizeof w);
    w = (window){.start = 77}; /* the op has its own copy */
    EXPECT_HOLDS(y, PLEAT_SHAPE(2), VALUES(4, 5));
    EXPECT_OK(pleat_grads(pleat_sum(pleat_square(y)), NULL, 1, &x, &g, 0));
    cr_assert(pleat_at(g, (size_t[]){3}) == 8 && pleat_at(g, (size_t[]){4}) == 10);
    cr_assert_eq(pleat_item(pleat_sum(g)), 18);
    w = (window){.start = 199, .size = 2};
    EXPECT_REFUSED(pleat_apply(&window_op, 1, &x, &w, sizeof w), PLEAT_ERR_SHAPE, "window", "[200]",
                   "2 from 199 on");
    w = (window){.start = 1, .size = 0};
    EXPECT_REFUSED(pleat_apply(&window_op, 1, &x, &w, sizeof w), PLEAT_ERR_ARGUMENT, "window", "[200]",
                   "refused");
    w = (window){.start = 1, .size = 101};
    EXPECT_REFUSED(pleat_apply(&window_op, 1, &x, &w, sizeof w), PLEAT_ERR_SHAPE, "window", "rank 99");
}

static bool no_forward(const pleat_call *c) {
    if (pleat_at(c->in[0], (size_t[]){0}) > 0) return false;
    return pleat_call_fail(c, PLEAT_ERR_ARGUMENT, "element 0 is not positive");
}

Test(own, a_forward_that_fails) {
    pleat_op op = {"mine", cube_shape, no_forward, right_vjp, NULL, NULL, NULL};
    pleat_tensor *x = counted(PLEAT_F64, PLEAT_SHAPE(3)), *minus = pleat_neg(x);
    size_t tensors = pleat_memory(ctx).tensors;
    EXPECT_REFUSED(pleat_apply(&op, 1, &minus, NULL, 0), PLEAT_ERR_ARGUMENT, "mine", "[3]", "not positive");
    EXPECT_REFUSED(pleat_apply(&op, 1, &x, NULL, 0), PLEAT_ERR_ARGUMENT, "mine", "[3]", "failed");
    cr_assert_eq(pleat_memory(ctx).tensors, tensors);
    cr_assert(pleat_is_poison(pleat_apply(&op, 0, NULL, NULL, 0)));
}

Test(own, without_a_rule) {
    pleat_op op = cube_with(NULL);
    pleat_tensor *x = counted(PLEAT_F64, PLEAT_SHAPE(2)), *z = counted(PLEAT_F64, PLEAT_SHAPE(2)), *g;
    pleat_tensor *h = pleat_apply(&op, 1, &x, NULL, 0), *y = pleat_apply(&op, 1, &h, NULL, 0);
    pleat_tensor *loss = pleat_sum(pleat_mul(y, z));
    EXPECT_HOLDS(y, PLEAT_SHAPE(2), VALUES(1, 512));
    EXPECT_OK(pleat_grads(loss, NULL, 1, &z, &g, 0));
    EXPECT_SAME(g, y);
    EXPECT_FAILED(pleat_grads(loss, NULL, 1, &x, &g, 0), PLEAT_ERR_GRADIENT, "cube", "[2]",
                  "no gradient rule", "tensor 0");
    cr_assert(pleat_is_poison(g));
}

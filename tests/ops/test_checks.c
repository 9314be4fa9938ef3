/* Checks of functions on plain arrays: right ones, wrong ones, and those of which nothing can be told; what
 * functions must not do to memory; how many calls are needed; how often the verdict is false. */
#include <complex.h>
#include <criterion/criterion.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "pleat.h"
#include "pleat_check.h"

/* ---- a function, its gradient, and what can be wrong with it ------------------------------------------------ */

typedef enum fault {
    NONE,
    SIGN,
    FACTOR_2,
    MISSING_TERM,
    TRANSPOSED,
    ONE_ELEMENT,
    MILLIONTH,
    NOTHING_WRITTEN,
    ELEMENT_UNWRITTEN,
    ADDS,
    RESTLESS,
    BEYOND,
    BEFORE,
    CHANGES_X,
    NAN_THERE,
} fault;

typedef struct subject {
    fault in_f, in_gradient;
    size_t calls, at; /* of ONE_ELEMENT */
    double offset;
} subject;

/* x[0] = f + sum over i of x[i]^3 / 3 + x[i] x[i+1] */
static void cubes(void *user, size_t n, const double *x, double *y) {
    subject *s = user;
    s->calls++;
    double sum = s->offset;
    for (size_t i = 0; i < n; i++) sum += x[i] * x[i] * x[i] / 3 + (i + 1 < n ? x[i] * x[i + 1] : 0);
    if (s->in_f == NOTHING_WRITTEN) return;
    y[0] = s->in_f == ADDS ? y[0] + sum : s->in_f == NAN_THERE ? NAN : sum;
    if (s->in_f == RESTLESS) y[0] += 1e-13 * (double)s->calls;
    if (s->in_f == BEYOND) y[1] = 1;
    if (s->in_f == BEFORE) y[-1] = 1;
    if (s->in_f == CHANGES_X) memset((void *)(size_t)(x + n - 1), 1, 1);
}

static void cubes_gradient(void *user, size_t n, const double *x, double *g) {
    subject *s = user;
    fault e = s->in_gradient;
    for (size_t i = 0; e != NOTHING_WRITTEN && i < n; i++) {
        double next = i + 1 < n ? x[i + 1] : 0, before = i > 0 ? x[i - 1] : 0;
        double right = x[i] * x[i] + next + (e == MISSING_TERM ? 0 : before);
        double old = e == ADDS ? g[i] : 0;
        if (e == ELEMENT_UNWRITTEN && i == n / 2) continue;
        g[i] = old + (e == SIGN        ? -right
                      : e == FACTOR_2  ? 2 * right
                      : e == MILLIONTH ? right * (1 + 1e-6)
                                       : right);
    }
    if (e == ONE_ELEMENT) g[s->at] += 0.01;
    if (e == RESTLESS) g[0] += 1e-13 * (double)++s->calls;
    if (e == BEYOND) g[n] = 1;
    if (e == BEFORE) g[-1] = 1;
    if (e == CHANGES_X) memset((void *)(size_t)x, 1, 1);
    if (e == NAN_THERE) g[n - 1] = NAN;
}

static double *drawn(size_t n, uint64_t seed) {
    double *x = malloc((n + 1) * sizeof *x);
    pleat_rng r = pleat_rng_new(seed, 1);
    for (size_t i = 0; i < n; i++) x[i] = pleat_rng_uniform(&r) + 0.5;
    return x;
}

static void expect(pleat_verdict found, pleat_verdict expected, const pleat_check_report *r,
                   const char *part) {
    cr_expect_eq(found, expected, "%s", r->text);
    cr_expect_eq(r->verdict, found);
    cr_expect(strstr(r->text, part) && !strchr(r->text, '\n'), "\"%s\" does not say \"%s\"", r->text, part);
}

static void expect_cubes(subject s, pleat_verdict expected, const char *part) {
    static const size_t sizes[] = {2, 3, 10, 100};
    for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++) {
        pleat_check_report r;
        double *x = drawn(sizes[i], i), *same = drawn(sizes[i], i);
        expect(pleat_check_gradient_f64(cubes, cubes_gradient, sizes[i], x, &s, .seed = i, .report = &r),
               expected, &r, part);
        cr_expect_eq(memcmp(x, same, sizes[i] * sizeof *x), 0, "the caller's x is never written to");
        free(x);
        free(same);
    }
}

Test(checks, right_and_wrong_gradients) {
    expect_cubes((subject){.in_f = NONE}, PLEAT_CHECK_RIGHT, "gradient: right: off by ");
    expect_cubes((subject){.in_gradient = SIGN}, PLEAT_CHECK_WRONG, "difference quotient");
    expect_cubes((subject){.in_gradient = FACTOR_2}, PLEAT_CHECK_WRONG, "difference quotient");
    expect_cubes((subject){.in_gradient = MISSING_TERM}, PLEAT_CHECK_WRONG, "difference quotient");
    expect_cubes((subject){.in_gradient = MILLIONTH}, PLEAT_CHECK_WRONG, "difference quotient");
    expect_cubes((subject){.in_gradient = ONE_ELEMENT, .at = 1}, PLEAT_CHECK_WRONG, "wrong: element 1: ");
}

Test(checks, what_functions_do_to_memory) {
    expect_cubes((subject){.in_f = NOTHING_WRITTEN}, PLEAT_CHECK_WRONG,
                 "f does not write element 0 of its output y");
    expect_cubes((subject){.in_f = ADDS}, PLEAT_CHECK_WRONG, "f adds to its output y");
    expect_cubes((subject){.in_f = RESTLESS}, PLEAT_CHECK_WRONG, "for the same input");
    expect_cubes((subject){.in_f = BEYOND}, PLEAT_CHECK_WRONG, "f writes beyond the end of its array y [1]");
    expect_cubes((subject){.in_f = BEFORE}, PLEAT_CHECK_WRONG,
                 "f writes before the beginning of its array y [1]");
    expect_cubes((subject){.in_f = CHANGES_X}, PLEAT_CHECK_WRONG, "f changes its input x: element ");
    expect_cubes((subject){.in_gradient = NOTHING_WRITTEN}, PLEAT_CHECK_WRONG,
                 "the gradient does not write element 0");
    expect_cubes((subject){.in_gradient = ELEMENT_UNWRITTEN}, PLEAT_CHECK_WRONG,
                 "the gradient does not write element");
    expect_cubes((subject){.in_gradient = ADDS}, PLEAT_CHECK_WRONG, "the gradient adds to its output g");
    expect_cubes((subject){.in_gradient = RESTLESS}, PLEAT_CHECK_WRONG, "for the same input");
    expect_cubes((subject){.in_gradient = BEYOND}, PLEAT_CHECK_WRONG,
                 "the gradient writes beyond the end of its array g");
    expect_cubes((subject){.in_gradient = BEFORE}, PLEAT_CHECK_WRONG,
                 "the gradient writes before the beginning");
    expect_cubes((subject){.in_gradient = CHANGES_X}, PLEAT_CHECK_WRONG,
                 "the gradient changes its input x: element 0");
}

Test(checks, what_cannot_be_told) {
    expect_cubes((subject){.in_f = NAN_THERE}, PLEAT_CHECK_UNCLEAR, "it cannot be told: f gives nan");
    expect_cubes((subject){.in_gradient = NAN_THERE}, PLEAT_CHECK_WRONG, "the gradient gives nan: element ");
    expect_cubes((subject){.offset = 1e11}, PLEAT_CHECK_UNCLEAR, "rounding hides relative errors up to");
    expect_cubes((subject){.offset = 1e20}, PLEAT_CHECK_UNCLEAR, "it cannot be told");
    expect_cubes((subject){.offset = 1e11, .in_gradient = SIGN}, PLEAT_CHECK_WRONG, "wrong");
    expect_cubes((subject){.offset = 1e20, .in_gradient = SIGN}, PLEAT_CHECK_UNCLEAR, "it cannot be told");
}

/* ---- functions of one number --------------------------------------------------------------------------------- */

typedef double (*number_to_number)(double);
typedef struct one {
    number_to_number f, slope;
} one;

static void one_f(void *user, size_t n, const double *x, double *y) {
    const one *o = user;
    y[0] = 0;
    for (size_t i = 0; i < n; i++) y[0] += o->f(x[i]);
}
static void one_gradient(void *user, size_t n, const double *x, double *g) {
    const one *o = user;
    for (size_t i = 0; i < n; i++) g[i] = o->slope(x[i]);
}

static double zero(double x) { return 0 * x; }
static double unit(double x) { return 0 * x + 1; }
static double five(double x) { return 0 * x + 5; }
static double step(double x) { return x > 0; }
static double sign(double x) { return x > 0 ? 1 : -1; }
static double cosine(double x) { return cos(100 * x) * 100; }
static double sine(double x) { return sin(100 * x); }
static double narrow(double x) { return exp(-1e6 * x * x); }
static double narrow_slope(double x) { return -2e6 * x * exp(-1e6 * x * x); }
static double root_slope(double x) { return 0.5 / sqrt(x); }
static double huge(double x) { return 1e200 * x * x; }
static double huge_slope(double x) { return 2e200 * x; }
static double stairs(double x) { return floor(x * 1e6) / 1e6; }
static double swallowed(double x) { return log(1 + x * x); }
static double swallowed_slope(double x) { return 2 * x / (1 + x * x); }

static double reciprocal(double x) { return 1 / x; }

static void expect_one(number_to_number f, number_to_number slope, double x, pleat_verdict expected) {
    one o = {f, slope};
    for (size_t n = 1; n < 6; n += 4) {
        pleat_check_report r;
        double xs[5] = {x, 1.5 * x, 1.1 * x, 1.2 * x, x};
        for (uint64_t seed = 0; seed < 20; seed++) {
            pleat_verdict v =
                pleat_check_gradient_f64(one_f, one_gradient, n, xs, &o, .seed = seed, .report = &r);
            cr_expect_eq(v, expected, "x = %g, n = %zu, seed %d: %s", x, n, (int)seed, r.text);
        }
    }
}

Test(checks, functions_of_ill_repute) {
    expect_one(five, zero, 1, PLEAT_CHECK_RIGHT);
    expect_one(five, unit, 1, PLEAT_CHECK_WRONG);
    expect_one(zero, zero, 0, PLEAT_CHECK_RIGHT);
    expect_one(fabs, sign, 0, PLEAT_CHECK_UNCLEAR);
    expect_one(fabs, sign, 1, PLEAT_CHECK_RIGHT);
    expect_one(fabs, zero, 1, PLEAT_CHECK_WRONG);
    expect_one(step, zero, 1, PLEAT_CHECK_RIGHT);
    expect_one(step, zero, 0, PLEAT_CHECK_UNCLEAR);
    expect_one(sine, cosine, 1, PLEAT_CHECK_RIGHT);
    expect_one(sine, sine, 1, PLEAT_CHECK_WRONG);
    expect_one(sqrt, root_slope, 1e-8, PLEAT_CHECK_RIGHT);
    expect_one(sqrt, root_slope, 0, PLEAT_CHECK_UNCLEAR);
    expect_one(sqrt, root_slope, -1, PLEAT_CHECK_UNCLEAR);
    expect_one(huge, huge_slope, 1e50, PLEAT_CHECK_RIGHT);
    expect_one(huge, unit, 1e50, PLEAT_CHECK_WRONG);
    expect_one(huge, huge_slope, 1e-250, PLEAT_CHECK_RIGHT);
    expect_one(swallowed, swallowed_slope, 1, PLEAT_CHECK_RIGHT);
    expect_one(swallowed, swallowed_slope, 1e-12, PLEAT_CHECK_UNCLEAR);
}

/* Features that are much narrower than x: the steps must find them. */
Test(checks, narrow_functions) {
    one bell = {narrow, narrow_slope}, flat = {narrow, zero}, ladder = {stairs, zero};
    double x[] = {1, 0.0003, 2};
    pleat_check_report r;
    for (uint64_t seed = 0; seed < 20; seed++) {
        expect(pleat_check_gradient_f64(one_f, one_gradient, 3, x, &bell, .seed = seed, .report = &r),
               PLEAT_CHECK_RIGHT, &r, "right");
        expect(pleat_check_gradient_f64(one_f, one_gradient, 3, x, &flat, .seed = seed, .report = &r),
               PLEAT_CHECK_WRONG, &r, "element 1");
        cr_expect_neq(
            pleat_check_gradient_f64(one_f, one_gradient, 3, x, &ladder, .seed = seed, .report = &r),
            PLEAT_CHECK_RIGHT, "%s", r.text);
    }
    double mixed[] = {1e-10, 1e10},
           sizes[] = {1e-10, 1e10}; /* a step for one of them is none for the other */
    one logarithm = {log, reciprocal};
    expect(pleat_check_gradient_f64(one_f, one_gradient, 2, mixed, &logarithm, .report = &r),
           PLEAT_CHECK_UNCLEAR, &r, "cannot be told");
    expect(pleat_check_gradient_f64(one_f, one_gradient, 2, mixed, &logarithm, .sizes = sizes, .report = &r),
           PLEAT_CHECK_RIGHT, &r, "right");
}

/* f does not use x[2], and the gradient claims that it does. */
static void unused_f(void *user, size_t n, const double *x, double *y) {
    (void)user, (void)n;
    y[0] = exp(x[0]) * x[1] + sin(x[3]);
}
static void unused_gradient(void *user, size_t n, const double *x, double *g) {
    const double *claim = user;
    (void)n;
    g[0] = exp(x[0]) * x[1], g[1] = exp(x[0]), g[2] = *claim, g[3] = cos(x[3]);
}

Test(checks, an_unused_element) {
    double x[] = {0.3, 0.5, 0.7, 0.9};
    pleat_check_report r;
    for (uint64_t seed = 0; seed < 20; seed++) {
        double claim = 0;
        expect(pleat_check_gradient_f64(unused_f, unused_gradient, 4, x, &claim, .seed = seed, .report = &r),
               PLEAT_CHECK_RIGHT, &r, "right");
        claim = 0.01;
        expect(pleat_check_gradient_f64(unused_f, unused_gradient, 4, x, &claim, .seed = seed, .report = &r),
               PLEAT_CHECK_WRONG, &r, "element 2: difference quotient");
        cr_expect_lt(fabs(r.expected), 1e-9, "%s", r.text);
    }
}

/* ---- a function to many, and its vjp ------------------------------------------------------------------------- */

/* y = W sin(x), W [m][n] with W[j][i] = 1 + j + 2 i */
static double weight(size_t j, size_t i) { return 1 + (double)j + 2 * (double)i; }
static void layer(void *user, size_t n, const double *x, size_t m, double *y) {
    (void)user;
    for (size_t j = 0; j < m; j++) {
        y[j] = 0;
        for (size_t i = 0; i < n; i++) y[j] += weight(j, i) * sin(x[i]);
    }
}
static void layer_vjp(void *user, size_t n, const double *x, size_t m, const double *gy, double *gx) {
    const fault *e = user;
    for (size_t i = 0; i < n; i++) {
        gx[i] = 0;
        for (size_t j = 0; j < m; j++)
            gx[i] += (*e == TRANSPOSED ? weight(i, j) : weight(j, i)) * gy[j] * cos(x[i]);
    }
    if (*e == CHANGES_X) memset((void *)(size_t)gy, 1, 1);
    if (*e == ONE_ELEMENT) gx[n - 1] *= 1.001;
}

Test(checks, vjps) {
    pleat_check_report r;
    double *x = drawn(7, 3);
    for (uint64_t seed = 0; seed < 20; seed++) {
        fault e = NONE;
        expect(pleat_check_vjp_f64(layer, layer_vjp, 7, x, 4, &e, .seed = seed, .report = &r),
               PLEAT_CHECK_RIGHT, &r, "vjp: right");
        e = TRANSPOSED;
        expect(pleat_check_vjp_f64(layer, layer_vjp, 7, x, 4, &e, .seed = seed, .report = &r),
               PLEAT_CHECK_WRONG, &r, "the vjp ");
        e = ONE_ELEMENT;
        expect(pleat_check_vjp_f64(layer, layer_vjp, 7, x, 4, &e, .seed = seed, .report = &r),
               PLEAT_CHECK_WRONG, &r, "wrong: element 6: ");
        cr_expect_float_eq(r.found / r.expected, 1.001, 1e-7);
        cr_expect(r.first == 6 && r.last == 7);
        e = CHANGES_X;
        expect(pleat_check_vjp_f64(layer, layer_vjp, 7, x, 4, &e, .seed = seed, .report = &r),
               PLEAT_CHECK_WRONG, &r, "the vjp changes its input gy: element 0");
    }
    fault e = NONE;
    expect(pleat_check_vjp_f64(layer, layer_vjp, 0, NULL, 4, &e, .report = &r), PLEAT_CHECK_RIGHT, &r,
           "right");
    expect(pleat_check_vjp_f64(layer, layer_vjp, 7, x, 0, &e, .report = &r), PLEAT_CHECK_RIGHT, &r, "right");
    expect(pleat_check_vjp_f64(layer, layer_vjp, 1, x, 1, &e, .report = &r), PLEAT_CHECK_RIGHT, &r, "right");
    free(x);
}

/* ---- complex ------------------------------------------------------------------------------------------------- */

/* y[j] = (j + i) x[j]^2 + conj(x[j]) c: holomorphic for c = 0. vjp: conj(dy/dx) gy + c conj(gy) */
typedef struct turn {
    double c;
    bool forgotten; /* the conjugate */
} turn;
static double complex number(double re, double im) { return re + im * I; } /* clang has no CMPLX in C17 */
static void square(void *user, size_t n, const double *x, size_t m, double *y) {
    const turn *t = user;
    cr_assert_eq(n, m);
    for (size_t j = 0; j < n; j++) {
        double complex z = number(x[2 * j], x[2 * j + 1]), w = number((double)j, 1) * z * z + t->c * conj(z);
        y[2 * j] = creal(w), y[2 * j + 1] = cimag(w);
    }
}
static void square_vjp(void *user, size_t n, const double *x, size_t m, const double *gy, double *gx) {
    const turn *t = user;
    (void)m;
    for (size_t j = 0; j < n; j++) {
        double complex z = number(x[2 * j], x[2 * j + 1]), g = number(gy[2 * j], gy[2 * j + 1]);
        double complex slope = 2 * number((double)j, 1) * z,
                       w = (t->forgotten ? slope : conj(slope)) * g + t->c * conj(g);
        gx[2 * j] = creal(w), gx[2 * j + 1] = cimag(w);
    }
}

Test(checks, complex_numbers) {
    pleat_check_report r;
    double *x = drawn(10, 4);
    for (uint64_t seed = 0; seed < 20; seed++) {
        for (int c = 0; c < 2; c++) {
            turn t = {c, false};
            expect(pleat_check_vjp_f64(square, square_vjp, 5, x, 5, &t, .is_complex = true, .seed = seed,
                                       .report = &r),
                   PLEAT_CHECK_RIGHT, &r, "right");
            t.forgotten = true;
            expect(pleat_check_vjp_f64(square, square_vjp, 5, x, 5, &t, .is_complex = true, .seed = seed,
                                       .report = &r),
                   PLEAT_CHECK_WRONG, &r, "part of element ");
            cr_expect(r.last == r.first + 1 && r.first < 5);
        }
    }
    free(x);
}

/* ---- linear pairs -------------------------------------------------------------------------------------------- */

/* A[j][i] = weight(j, i), times i if complex */
typedef struct matrix {
    size_t n, m;
    bool is_complex;
    fault e;
    double shift;
} matrix;

static void product(void *user, size_t n, const double *x, size_t m, double *y) {
    const matrix *a = user;
    size_t w = a->is_complex ? 2 : 1;
    cr_assert(n == a->n && m == a->m);
    for (size_t j = 0; j < m * w; j++) y[j] = a->shift;
    for (size_t j = 0; j < m; j++) {
        for (size_t i = 0; i < n; i++) {
            y[w * j] += weight(j, i) * (a->is_complex ? -x[2 * i + 1] : x[i]);
            if (a->is_complex) y[w * j + 1] += weight(j, i) * x[2 * i];
        }
    }
}
static void adjoint(void *user, size_t m, const double *y, size_t n, double *x) {
    const matrix *a = user;
    size_t w = a->is_complex ? 2 : 1;
    cr_assert(n == a->n && m == a->m);
    for (size_t i = 0; i < n * w; i++) x[i] = 0;
    for (size_t j = 0; j < m; j++) {
        for (size_t i = 0; i < n; i++) {
            double v = a->e == TRANSPOSED ? weight(i, j) : weight(j, i);
            if (a->e == ONE_ELEMENT && j == 2 && i == 3) v *= 1 + 1e-9;
            double turned = a->e == SIGN ? -1 : 1; /* the conjugate is forgotten */
            x[w * i] += v * (a->is_complex ? turned * y[2 * j + 1] : y[j]);
            if (a->is_complex) x[w * i + 1] -= v * turned * y[2 * j];
        }
    }
    if (a->e == BEYOND) x[w * n] = 0;
}
static void rectified(void *user, size_t n, const double *x, size_t m, double *y) {
    (void)user, (void)n;
    for (size_t j = 0; j < m; j++) y[j] = fmax(x[j], 0);
}

/* A linear function of which rounding leaves little is not called something else. */
static void cancelling(void *user, size_t n, const double *x, size_t m, double *y) {
    const double *large = user;
    for (size_t j = 0; j < m; j++) y[j] = (x[j] + *large * x[(j + 1) % n]) - *large * x[(j + 1) % n];
}
static void identity(void *user, size_t n, const double *x, size_t m, double *y) {
    (void)user, (void)n;
    memcpy(y, x, m * sizeof *y);
}

Test(checks, linear_pairs_that_cancel) {
    pleat_check_report r;
    for (uint64_t seed = 0; seed < 40; seed++) {
        double large = 1e10;
        expect(pleat_check_adjoint_f64(cancelling, identity, 5, 5, &large, .seed = seed, .report = &r),
               PLEAT_CHECK_UNCLEAR, &r, "adjoint: it cannot be told: rounding hides");
    }
}

Test(checks, linear_pairs) {
    pleat_check_report r;
    for (uint64_t seed = 0; seed < 40; seed++) {
        matrix a = {7, 5, .is_complex = seed % 2};
        size_t n = a.n, m = a.m;
        bool is_complex = a.is_complex;
        expect(pleat_check_adjoint_f64(product, adjoint, n, m, &a, is_complex, .seed = seed, .report = &r),
               PLEAT_CHECK_RIGHT, &r, "adjoint: right");
        cr_expect_lt(r.visible, 1e-11, "%s", r.text);
        a.e = TRANSPOSED;
        expect(pleat_check_adjoint_f64(product, adjoint, n, m, &a, is_complex, .seed = seed, .report = &r),
               PLEAT_CHECK_WRONG, &r, "row ");
        cr_expect_eq(fabs(r.expected), weight(r.row, r.first), "%s", r.text);
        cr_expect_eq(fabs(r.found), weight(r.first, r.row), "%s", r.text);
        a.e = ONE_ELEMENT;
        expect(pleat_check_adjoint_f64(product, adjoint, n, m, &a, is_complex, .seed = seed, .report = &r),
               PLEAT_CHECK_WRONG, &r, "row 2 of A, column 3");
        a.e = BEYOND;
        expect(pleat_check_adjoint_f64(product, adjoint, n, m, &a, is_complex, .seed = seed, .report = &r),
               PLEAT_CHECK_WRONG, &r, "A^T writes beyond the end of its array x [7]");
        a.e = NONE;
        a.shift = 0.1;
        expect(pleat_check_adjoint_f64(product, adjoint, n, m, &a, is_complex, .seed = seed, .report = &r),
               PLEAT_CHECK_WRONG, &r, "A is not linear");
    }
    matrix a = {3, 3, .is_complex = true, .e = SIGN};
    expect(pleat_check_adjoint_f64(product, adjoint, 3, 3, &a, true, .report = &r), PLEAT_CHECK_WRONG, &r,
           "the conjugate of A is 0-");
    expect(pleat_check_adjoint_f64(rectified, rectified, 4, 4, .report = &r), PLEAT_CHECK_WRONG, &r,
           "A is not linear");
    a = (matrix){.n = 0, .m = 3};
    expect(pleat_check_adjoint_f64(product, adjoint, 0, 3, &a, .report = &r), PLEAT_CHECK_RIGHT, &r, "right");
}

/* ---- how many calls ------------------------------------------------------------------------------------------ */

static size_t calls_for(size_t n, fault e, size_t at, pleat_verdict expected) {
    pleat_check_report r;
    subject s = {.in_gradient = e, .at = at};
    double *x = drawn(n, n);
    expect(pleat_check_gradient_f64(cubes, cubes_gradient, n, x, &s, .report = &r), expected, &r, "");
    if (e == ONE_ELEMENT) cr_expect(r.first == at && r.last == at + 1, "not element %zu: %s", at, r.text);
    cr_expect_eq(r.calls, s.calls, "calls are counted");
    free(x);
    return r.calls;
}

Test(checks, calls_grow_with_the_logarithm) {
    for (size_t n = 1; n <= 100000; n *= 10) {
        cr_expect_leq(calls_for(n, NONE, 0, PLEAT_CHECK_RIGHT), 130);
        size_t found = calls_for(n, ONE_ELEMENT, n * 2 / 3, PLEAT_CHECK_WRONG),
               most = 60 + 24 * (size_t)(log2((double)n) + 1);
        cr_expect_leq(found, most, "n = %zu: %zu calls, more than %zu", n, found, most);
        calls_for(n, SIGN, 0, PLEAT_CHECK_WRONG);
    }
}

Test(checks, a_million) { calls_for(1000000, NONE, 0, PLEAT_CHECK_RIGHT); }

/* ---- refusals, and functions without structs ----------------------------------------------------------------- */

Test(checks, refusals) {
    pleat_check_report r;
    subject s = {0};
    double x[2] = {1, INFINITY}, sizes[2] = {1, 0}, fine[2] = {1, 2};
    expect(pleat_check_gradient_f64(NULL, cubes_gradient, 2, fine, &s, .report = &r), PLEAT_CHECK_REFUSED, &r,
           "two functions");
    expect(pleat_check_gradient_f64(cubes, cubes_gradient, 2, NULL, &s, .report = &r), PLEAT_CHECK_REFUSED,
           &r, "an x");
    expect(pleat_check_gradient_f64(cubes, cubes_gradient, 2, x, &s, .report = &r), PLEAT_CHECK_REFUSED, &r,
           "x is inf: element 1");
    expect(pleat_check_gradient_f64(cubes, cubes_gradient, 2, fine, &s, .sizes = sizes, .report = &r),
           PLEAT_CHECK_REFUSED, &r, "a size is 0: element 1");
    expect(pleat_check_gradient_f64(cubes, cubes_gradient, 2, fine, &s, .tolerance = -1, .report = &r),
           PLEAT_CHECK_REFUSED, &r, "the tolerance is -1");
    expect(pleat_check_gradient_f64(cubes, cubes_gradient, SIZE_MAX, fine, &s, .report = &r),
           PLEAT_CHECK_MEMORY, &r, "no memory");
    expect(pleat_check_vjp_f64(layer, NULL, 2, fine, 2, .report = &r), PLEAT_CHECK_REFUSED, &r,
           "two functions");
    expect(pleat_check_vjp_f64(layer, layer_vjp, 2, fine, SIZE_MAX / 9, .report = &r), PLEAT_CHECK_MEMORY, &r,
           "no memory");
    expect(pleat_check_adjoint_f64(product, NULL, 2, 2, .report = &r), PLEAT_CHECK_REFUSED, &r,
           "two functions");
    expect(pleat_check_adjoint_f64(product, adjoint, 1, SIZE_MAX - 1, .is_complex = true, .report = &r),
           PLEAT_CHECK_MEMORY, &r, "no memory");
    cr_expect_eq(pleat_check_gradient_f64(cubes, cubes_gradient, 2, fine, &s), PLEAT_CHECK_RIGHT,
                 "no report");
    cr_expect_eq(s.calls > 0, true);
}

/* A tolerance lets a known error pass, and what it asks for must be visible. */
Test(checks, tolerances) {
    pleat_check_report r;
    subject s = {.in_gradient = MILLIONTH};
    double *x = drawn(5, 1);
    expect(pleat_check_gradient_f64(cubes, cubes_gradient, 5, x, &s, .tolerance = 1e-5, .report = &r),
           PLEAT_CHECK_RIGHT, &r, "beyond 1e-05");
    expect(pleat_check_gradient_f64(cubes, cubes_gradient, 5, x, &s, .tolerance = 1e-8, .report = &r),
           PLEAT_CHECK_WRONG, &r, "wrong");
    s.in_gradient = NONE;
    expect(pleat_check_gradient_f64(cubes, cubes_gradient, 5, x, &s, .tolerance = 1e-15, .report = &r),
           PLEAT_CHECK_UNCLEAR, &r, "1e-15 must be visible");
    free(x);
}

typedef struct wave {
    float height, frequency, offset;
} wave;
static void wave_f(void *user, size_t n, const float *x, float *y) {
    const wave *w = user;
    y[0] = w->offset;
    for (size_t i = 0; i < n; i++) y[0] += w->height * sinf(w->frequency * x[i]);
}
static void wave_gradient(void *user, size_t n, const float *x, float *g) {
    const wave *w = user;
    for (size_t i = 0; i < n; i++) g[i] = w->height * w->frequency * cosf(w->frequency * x[i]);
}

static void expect_never_wrong(wave w, size_t n, float scale) {
    float x[8];
    for (uint64_t seed = 0; seed < 1000; seed++) {
        pleat_rng r = pleat_rng_new(seed, 9);
        pleat_check_report report;
        for (size_t i = 0; i < n; i++) x[i] = scale * (float)pleat_rng_normal(&r);
        cr_expect_neq(
            pleat_check_gradient_f32(wave_f, wave_gradient, n, x, &w, .seed = seed, .report = &report),
            PLEAT_CHECK_WRONG, "height %g, frequency %g, offset %g, seed %d: %s", (double)w.height,
            (double)w.frequency, (double)w.offset, (int)seed, report.text);
    }
}

/* From afar such waves look flat, or are below the rounding of the offset: then the steps must not be
 * believed. */
Test(checks, waves_in_float) {
    expect_never_wrong((wave){0.12F, 69, 0}, 1, 20);
    expect_never_wrong((wave){1, 5, 0}, 3, 30);
    expect_never_wrong((wave){0.5F, 34, 5.5e7F}, 8, 1);
    expect_never_wrong((wave){0.2F, 27, 5e7F}, 8, 70);
}

/* A gradient that rounds worse than its function is not wrong by that. */
static void half_square(void *user, size_t n, const double *x, double *y) {
    (void)user;
    y[0] = 0;
    for (size_t i = 0; i < n; i++) y[0] += x[i] * x[i] / 2;
}
static void coarse_gradient(void *user, size_t n, const double *x, double *g) {
    const double *large = user;
    for (size_t i = 0; i < n; i++) g[i] = (x[i] + *large) - *large;
}

Test(checks, a_gradient_that_rounds) {
    double x[] = {0.3, 0.5, 0.7, 0.9, 0.2, 0.4};
    for (uint64_t seed = 0; seed < 500; seed++) {
        double large = 3e4;
        pleat_check_report r;
        expect(
            pleat_check_gradient_f64(half_square, coarse_gradient, 6, x, &large, .seed = seed, .report = &r),
            PLEAT_CHECK_RIGHT, &r, "right");
    }
}

static void sines(void *user, size_t n, const float *x, float *y) {
    (void)user;
    y[0] = 0;
    for (size_t i = 0; i < n; i++) y[0] += sinf(x[i]);
}
static void cosines(void *user, size_t n, const float *x, float *g) {
    const double *factor = user;
    for (size_t i = 0; i < n; i++) g[i] = (float)(cosf(x[i]) * *factor);
}

/* A float function tells a hundredth, and not a millionth: and says so if that is asked. */
Test(checks, floats) {
    float x[4] = {0.1F, 0.9F, 1.3F, 0.5F};
    pleat_check_report r;
    for (uint64_t seed = 0; seed < 50; seed++) {
        double factor = 1, off = 1.05, little = 1 + 1e-6;
        expect(pleat_check_gradient_f32(sines, cosines, 4, x, &factor, .seed = seed, .report = &r),
               PLEAT_CHECK_RIGHT, &r, "right");
        expect(pleat_check_gradient_f32(sines, cosines, 4, x, &off, .seed = seed, .report = &r),
               PLEAT_CHECK_WRONG, &r, "wrong: element");
        expect(pleat_check_gradient_f32(sines, cosines, 4, x, &little, .tolerance = 1e-6, .seed = seed,
                                        .report = &r),
               PLEAT_CHECK_UNCLEAR, &r, "rounding hides");
    }
}

Test(checks, plain_functions) {
    char text[60];
    subject s = {.in_gradient = SIGN};
    double *x = drawn(8, 1);
    matrix a = {.n = 4, .m = 3, .is_complex = true};
    turn t = {.c = 1};
    float xf[2] = {1, 2};
    double factor = 1;
    memset(text, 'x', sizeof text);
    cr_expect_eq(pleat_check_gradient_plain_f64(cubes, cubes_gradient, &s, 8, x, 0, text, 20),
                 PLEAT_CHECK_WRONG);
    cr_expect(strncmp(text, "gradient: wrong: ", 17) == 0 && strlen(text) == 19 && text[20] == 'x', "%.60s",
              text);
    cr_expect_eq(pleat_check_gradient_plain_f64(cubes, cubes_gradient, &s, 8, x, 0, NULL, 0),
                 PLEAT_CHECK_WRONG);
    cr_expect_eq(pleat_check_vjp_plain_f64(square, square_vjp, &t, 4, x, 4, 1, text, sizeof text),
                 PLEAT_CHECK_RIGHT);
    cr_expect_eq(pleat_check_adjoint_plain_f64(product, adjoint, &a, 4, 3, 1, text, sizeof text),
                 PLEAT_CHECK_RIGHT);
    cr_expect_eq(pleat_check_gradient_plain_f32(sines, cosines, &factor, 2, xf, 0, text, sizeof text),
                 PLEAT_CHECK_RIGHT);
    free(x);
}

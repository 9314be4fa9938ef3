/* How far results in f32 are from those of the same operands in f64. A sum of K products, each rounded K times at most on its way,
 * in whatever order, is at most K u sum|a||b| off (to first order in u = 2^-24, half an ulp of 1); what is measured lies nearer to
 * sqrt(K) u sum|a||b|. With PLEAT_TABLE=1 in the environment the tests print what they measured. */
#include "conv_calls.h"
#include "numerics.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>

#include "tensors.h"

static const double u = 0x1p-24;

/* What was measured: error / (K u magnitude), where magnitude is sum|a||b|, and error / (sqrt(K) u magnitude). */
typedef struct measure {
    size_t results;
    double terms, by_terms, by_root; /* the largest of each */
    double long_by_terms;            /* the largest over sums of LONG terms and more */
} measure;

enum { LONG = 64 };

/* Whether the bound holds. */
static bool add(measure *m, double error, double terms, double magnitude) {
    if (magnitude == 0) return error == 0;
    double unit = u * magnitude, by_terms = error / (terms * unit), by_root = error / (sqrt(terms) * unit);
    m->results++;
    m->terms = fmax(m->terms, terms);
    m->by_terms = fmax(m->by_terms, by_terms);
    m->by_root = fmax(m->by_root, by_root);
    if (terms >= LONG) m->long_by_terms = fmax(m->long_by_terms, by_terms);
    return by_terms <= 1 + terms * u;
}

static void print(const char *what, const measure *m) {
    if (getenv("PLEAT_TABLE") == NULL) return;
    printf("| %-16s | %-18s | %8zu | %5.0f | %.2f | %.3f | %.2f |\n", what, path_text(forced_path()).text,
           m->results, m->terms, m->by_terms, m->long_by_terms, m->by_root);
}

/* ---- the convolution family ----------------------------------------------------------------------------- */

/* Real numbers in [-1, 1) that a float holds. */
static void fill_reals(double *a, size_t n, uint64_t seed) {
    for (size_t i = 0; i < n; i++)
        a[i] = (double)random_between(&seed, -(1 << 23), (1 << 23) - 1) / (1 << 23);
}

/* A problem in exact terms: the results, the sums of magnitudes, and how many terms there are. */
typedef struct exact_sums {
    problem p;
    double *result, *magnitude, *terms;
} exact_sums;

static double *defined_copy(problem *p, pleat_conv_op op) {
    int result = result_of(op);
    double *a = doubles(p->n[result]);
    define(p, op);
    for (size_t i = 0; i < p->n[result]; i++) a[i] = p->t[result][i];
    return a;
}

static exact_sums exact_new(const pleat_conv_shape *g, pleat_conv_op op, uint64_t seed) {
    exact_sums e = {.p = problem_new(g, seed)};
    problem magnitudes = problem_new(g, seed), ones = problem_new(g, seed);
    for (size_t k = 0; k < OPERANDS; k++) {
        fill_reals(e.p.t[k], e.p.n[k], 3 * seed + k);
        for (size_t i = 0; i < e.p.n[k]; i++) magnitudes.t[k][i] = fabs(e.p.t[k][i]), ones.t[k][i] = 1;
    }
    e.result = defined_copy(&e.p, op), e.magnitude = defined_copy(&magnitudes, op);
    e.terms = defined_copy(&ones, op);
    problem_free(magnitudes), problem_free(ones);
    return e;
}

static void exact_free(exact_sums e) {
    problem_free(e.p);
    free(e.result), free(e.magnitude), free(e.terms);
}

static void measure_call(const exact_sums *e, const calling *how, measure *m) {
    double *got = compute(&e->p, how);
    for (size_t i = 0; i < e->p.n[result_of(how->op)]; i++) {
        bool bounded = add(m, fabs(got[i] - e->result[i]), e->terms[i], e->magnitude[i]);
        cr_assert(bounded, "%s: element %zu of %.0f terms is %.9g, not %.9g\n%s", conv_names[how->op], i,
                  e->terms[i], got[i], e->result[i],
                  geometry_reproduce(&e->p.g, "test_numerics", "error/convolutions").text);
    }
    free(got);
}

/* Long sums beside the short ones of the random geometries. */
static const char *const deep[] = {
    "N1 C260 O5 G1 H9 W7 P9 Q7 R3 S3 s1,1 d1,1 p1,1",      "N1 C5 O260 G1 H9 W7 P9 Q7 R3 S3 s1,1 d1,1 p1,1",
    "N2 C70 O40 G1 H12 W10 P6 Q5 R4 S4 s2,2 d1,1 p1,1",    "N3 C2 O3 G1 H50 W41 P50 Q41 R3 S3 s1,1 d1,1 p1,1",
    "N2 C32 O32 G32 H40 W40 P40 Q40 R5 S5 s1,1 d1,1 p2,2", "N1 C900 O40 G1 H3 W5 P3 Q5 R1 S1 s1,1 d1,1 p0,0",
};

enum { RANDOM_CASES = 300, DEEP = sizeof deep / sizeof *deep };

static void measure_case(const pleat_conv_shape *g, pleat_conv_op op, uint64_t seed, measure *m) {
    exact_sums e = exact_new(g, op, seed);
    measure_call(&e, &(calling){.op = op, .element = sizeof(float), .threads = 1}, m);
    exact_free(e);
}

Test(error, convolutions) {
    for (int op = 0; op < 3; op++) {
        measure m = {0};
        pleat_conv_shape g;
        for (size_t i = 0; geometry_case(i, RANDOM_CASES, &g); i++) measure_case(&g, conv_ops[op], i, &m);
        for (size_t i = 0; i < DEEP && getenv("PLEAT_CASE") == NULL; i++) {
            cr_assert(geometry_parse(deep[i], &g));
            measure_case(&g, conv_ops[op], i, &m);
        }
        print(conv_names[op], &m);
        cr_assert_leq(m.by_root, 2, "%s: %.2f sqrt(K) u sum|a||b|", conv_names[op], m.by_root);
    }
}

/* ---- other ops ------------------------------------------------------------------------------------------ */

TestSuite(other_errors, .init = tensors_begin, .fini = tensors_end);

/* Values of the same op in both types; x is f32. */
typedef struct pair {
    size_t n;
    double *f32, *f64;
} pair;

static double *read(const pleat_tensor *t) {
    double *a = doubles(pleat_numel(t));
    pleat_read_f64(t, a);
    return a;
}

static pair pair_of(const pleat_tensor *f32, const pleat_tensor *f64) {
    cr_assert_eq(pleat_error(ctx)->code, PLEAT_OK, "%s", pleat_error(ctx)->text);
    return (pair){pleat_numel(f32), read(f32), read(f64)};
}

static void pair_free(pair p) { free(p.f32), free(p.f64); }

static pleat_tensor *f64(pleat_tensor *t) { return as_type(t, PLEAT_F64); }

/* The error in units of `bound`, at most 1. */
static void bounded(const char *what, double error, double bound, double *worst) {
    if (bound > 0) *worst = fmax(*worst, error / bound);
    cr_assert(error <= bound, "%s: off by %g, which must be at most %g", what, error, bound);
}

static void print_share(const char *what, double worst) {
    if (getenv("PLEAT_TABLE") != NULL) printf("| %-16s | %.2f of the bound |\n", what, worst);
}

Test(other_errors, matmul) {
    static const size_t sizes[][3] = {{1, 1, 1},    {3, 5, 7},     {1, 40, 300},   {40, 1, 300},
                                      {17, 33, 64}, {64, 65, 200}, {30, 20, 3000}, {200, 130, 150}};
    measure m = {0};
    for (size_t i = 0; i < 4 * sizeof sizes / sizeof *sizes; i++) {
        size_t M = sizes[i / 4][0], N = sizes[i / 4][1], K = sizes[i / 4][2];
        bool ta = i & 1, tb = i & 2;
        pleat_tensor *a = pleat_uniform(ctx, PLEAT_F32, PLEAT_SHAPE(ta ? K : M, ta ? M : K), -1, 1);
        pleat_tensor *b = pleat_uniform(ctx, PLEAT_F32, PLEAT_SHAPE(tb ? N : K, tb ? K : N), -1, 1);
        pleat_tensor *exact = pleat_matmul(f64(a), f64(b), .ta = ta, .tb = tb);
        pleat_tensor *magnitude = pleat_matmul(pleat_abs(f64(a)), pleat_abs(f64(b)), .ta = ta, .tb = tb);
        pair c = pair_of(pleat_matmul(a, b, .ta = ta, .tb = tb), exact);
        double *sums = read(magnitude);
        for (size_t k = 0; k < c.n; k++)
            cr_assert(add(&m, fabs(c.f32[k] - c.f64[k]), (double)K, sums[k]), "[%zu,%zu] by [%zu,%zu]", M, K,
                      K, N);
        free(sums);
        pair_free(c);
    }
    print("matmul", &m);
    cr_assert_leq(m.by_root, 2);
}

/* Accumulated in double, so rounded once: at the end. */
Test(other_errors, sums_and_means) {
    double worst = 0;
    for (size_t n = 1; n < 300000; n = n * 3 + 1)
        for (int mean = 0; mean < 2; mean++) {
            pleat_tensor *x = pleat_uniform(ctx, PLEAT_F32, PLEAT_SHAPE(n, 2), -1, 1);
            pleat_sum_args a = {.x = x, .axes = 1}, b = {.x = f64(x), .axes = 1}, c = b;
            c.x = pleat_abs(c.x);
            pair y = pair_of(mean ? pleat_mean_with(a) : pleat_sum_with(a),
                             mean ? pleat_mean_with(b) : pleat_sum_with(b));
            double *sums = read(mean ? pleat_mean_with(c) : pleat_sum_with(c));
            for (size_t k = 0; k < y.n; k++)
                bounded("a sum", fabs(y.f32[k] - y.f64[k]),
                        u * fabs(y.f64[k]) + 2 * (double)n * 0x1p-53 * sums[k], &worst);
            free(sums);
            pair_free(y);
        }
    print_share("sum, mean", worst);
}

/* Scores are rounded when the largest is taken away: the larger the distance, the larger the error. */
Test(other_errors, softmax_and_its_logarithm) {
    double worst[2] = {0, 0};
    for (size_t n = 1; n < 3000; n = n * 3 + 1)
        for (int log = 0; log < 2; log++) {
            pleat_tensor *x = pleat_scale(pleat_randn(ctx, PLEAT_F32, PLEAT_SHAPE(7, n)), n % 2 ? 1 : 30);
            pleat_tensor *(*op)(pleat_tensor *, size_t) = log ? pleat_log_softmax : pleat_softmax;
            pair y = pair_of(op(x, 1), op(f64(x), 1));
            double *below = read(pleat_sub(pleat_amax(f64(x), PLEAT_AXES(1), .keep = true), f64(x)));
            for (size_t k = 0; k < y.n; k++) {
                double unit = log ? below[k] + fabs(y.f64[k]) + 1 : (below[k] + 4) * y.f64[k];
                bounded(log ? "log_softmax" : "softmax", fabs(y.f32[k] - y.f64[k]), 2 * u * unit + 0x1p-149,
                        &worst[log]);
            }
            free(below);
            pair_free(y);
        }
    print_share("softmax", worst[0]);
    print_share("log_softmax", worst[1]);
}

/* Mean and deviation are taken in double, also where the mean is large; then weight and bias, each rounded. */
Test(other_errors, batch_norm) {
    double worst = 0;
    for (size_t i = 0; i < 6; i++) {
        size_t shape[] = {3, 4, 5 + i, 7};
        pleat_tensor *x = pleat_shift(pleat_randn(ctx, PLEAT_F32, 4, shape), i % 2 ? 1000 : 0);
        pleat_tensor *w = pleat_randn(ctx, PLEAT_F32, PLEAT_SHAPE(4)),
                     *b = pleat_randn(ctx, PLEAT_F32, 1, shape + 1);
        pair y = pair_of(pleat_batch_norm(x, .weight = w, .bias = b),
                         pleat_batch_norm(f64(x), .weight = f64(w), .bias = f64(b)));
        double *scaled = read(pleat_batch_norm(f64(x), .weight = f64(w)));
        for (size_t k = 0; k < y.n; k++)
            bounded("batch_norm", fabs(y.f32[k] - y.f64[k]),
                    u * (2 * fabs(scaled[k]) + fabs(y.f64[k])) + 1e-11, &worst);
        free(scaled);
        pair_free(y);
    }
    print_share("batch_norm", worst);
}

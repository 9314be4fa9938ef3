/* What is not finite, what is tiny and what is huge, in the convolution family on each path: against the definition, bit for bit.
 * The other parts: how large the errors are, and the other ops. */
#include "numerics.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>

enum { RANDOM_CASES = 300 };

/* The numbers of a case depend on the case alone, so that the printed line makes it again. */
static uint64_t seed_of(const pleat_conv_shape *g) {
    geometry_line line = geometry_print(g);
    uint64_t seed = 0xcbf29ce484222325u;
    for (const char *at = line.text; *at != 0; at++) seed = (seed ^ (unsigned char)*at) * 0x100000001b3u;
    return seed;
}

static geometry_line reproduce(const problem *p, const calling *how, const char *test) {
    geometry_line line, name;
    snprintf(name.text, sizeof name.text, "numerics/%s", test);
    snprintf(line.text, sizeof line.text, "%.20s, %zu bytes an element\n%.300s", conv_names[how->op],
             how->element, geometry_reproduce(&p->g, "test_numerics", name.text).text);
    return line;
}

/* The kernels' result is `want`, as numbers of the type. */
static void expect(const problem *p, const calling *how, const double *want, const char *test) {
    size_t n = p->n[result_of(how->op)];
    double *got = compute(p, how), *rounded = doubles(n);
    for (size_t i = 0; i < n; i++) rounded[i] = how->element == sizeof(float) ? (float)want[i] : want[i];
    size_t i = first_difference(got, rounded, n);
    cr_assert_eq(i, n, "element %zu is %g, not %g: %s", i, got[i], rounded[i], reproduce(p, how, test).text);
    free(got), free(rounded);
}

static double *copy(const double *a, size_t n) {
    double *c = doubles(n);
    for (size_t i = 0; i < n; i++) c[i] = a[i];
    return c;
}

/* The definition's result, with bias and relu. */
static double *defined(problem *p, const calling *how) {
    int result = result_of(how->op);
    size_t n = p->n[result], channels = how->op == PLEAT_CONV_FORWARD ? p->g.O : p->g.C;
    define(p, how->op);
    double *want = copy(p->t[result], n);
    for (size_t i = 0; how->bias && i < n; i++) want[i] += how->bias[i / (n / p->g.N / channels) % channels];
    for (size_t i = 0; how->relu && i < n; i++) want[i] = want[i] <= 0 ? 0 : want[i];
    return want;
}

/* ---- NaN and infinity ----------------------------------------------------------------------------------- */

/* A few elements, at least one, become NaN or infinite. */
static void spoil(double *a, size_t n, uint64_t *seed) {
    static const double values[] = {INFINITY, -INFINITY, INFINITY, NAN};
    size_t count = 1 + random_below(seed, 1 + n / 16);
    while (count-- > 0) a[random_below(seed, n)] = values[random_below(seed, 4)];
}

typedef struct tally {
    size_t all, nan, infinite;
} tally;

static void count(const double *a, size_t n, tally *t) {
    for (size_t i = 0; i < n; i++) t->all++, t->nan += isnan(a[i]) != 0, t->infinite += isinf(a[i]) != 0;
}

/* One operator; bit 0 of `spoiled` is the first operand, bit 1 the second, bit 2 the bias. */
static void check_special(const pleat_conv_shape *g, pleat_conv_op op, unsigned spoiled, tally *t) {
    uint64_t seed = seed_of(g) + spoiled;
    problem p = problem_new(g, seed);
    calling how = {.op = op, .threads = seed % 5 == 0 ? 3 : 1, .relu = op != PLEAT_CONV_WEIGHT && seed % 2};
    size_t channels = op == PLEAT_CONV_FORWARD ? g->O : g->C;
    double *bias = op != PLEAT_CONV_WEIGHT && seed % 3 ? doubles(channels) : NULL;
    if (bias) fill_integers(bias, channels, seed + 7);
    if (bias && spoiled & 4u) spoil(bias, channels, &seed);
    for (int k = 0, operand = 0; k < OPERANDS; k++) {
        if (k == result_of(op)) continue;
        if (spoiled >> operand++ & 1u) spoil(p.t[k], p.n[k], &seed);
    }
    how.bias = bias;
    double *want = defined(&p, &how);
    count(want, p.n[result_of(op)], t);
    for (how.element = sizeof(float); how.element <= sizeof(double); how.element += sizeof(float))
        expect(&p, &how, want, "special_values");
    free(want), free(bias);
    problem_free(p);
}

Test(numerics, special_values) {
    pleat_conv_shape g;
    tally t = {0};
    for (size_t i = 0; geometry_case(i, RANDOM_CASES, &g); i++)
        for (int op = 0; op < 3; op++)
            for (unsigned spoiled = 1; spoiled < 8; spoiled++) check_special(&g, conv_ops[op], spoiled, &t);
    bool telling = 20 * t.nan > t.all && 20 * t.infinite > t.all && 10 * (t.nan + t.infinite) < 9 * t.all;
    cr_assert(telling || getenv("PLEAT_CASE"), "of %zu results %zu are NaN, %zu infinite", t.all, t.nan,
              t.infinite);
}

/* Sizes that take several strips, blocks and partial sums. */
static const char *const large[] = {
    "N1 C3 O40 G1 H70 W90 P70 Q90 R3 S3 s1,1 d1,1 p1,1",
    "N2 C80 O3 G1 H19 W21 P19 Q21 R3 S3 s1,1 d1,1 p1,1",
    "N2 C20 O33 G1 H48 W45 P24 Q23 R4 S4 s2,2 d1,1 p1,1",
    "N1 C24 O24 G24 H60 W61 P60 Q61 R3 S3 s1,1 d1,1 p1,1",
    "N9 C3 O4 G1 H20 W20 P10 Q10 R3 S3 s2,2 d1,1 p1,1",
    "N1 C130 O70 G1 H7 W7 P7 Q7 R3 S3 s1,1 d1,1 p1,1",
    "N2 C4 O4 G2 H43 W60 P22 Q30 R3 S3 s2,2 d1,1 p1,1",
    "N2 C9 O9 G9 H14 W15 P14 Q15 R5 S5 s1,1 d1,2 p2,4",
};

Test(numerics, special_values_in_strips_and_blocks) {
    tally t = {0};
    for (size_t i = 0; i < sizeof large / sizeof *large; i++) {
        pleat_conv_shape g;
        cr_assert(geometry_parse(large[i], &g));
        for (int op = 0; op < 3; op++)
            for (unsigned spoiled = 1; spoiled < 4; spoiled++) check_special(&g, conv_ops[op], spoiled, &t);
    }
}

/* Weights that are all infinite: what meets no padding is as infinite as what meets some. */
Test(numerics, infinite_weights_leave_padding_alone) {
    pleat_conv_shape g;
    cr_assert(geometry_parse("N1 C1 O1 G1 H3 W4 P3 Q4 R3 S3 s1,1 d1,1 p1,1", &g));
    for (int op = 0; op < 2; op++) {
        problem p = problem_new(&g, 1);
        for (int k = 0; k < OPERANDS; k++)
            for (size_t i = 0; i < p.n[k]; i++) p.t[k][i] = k == W ? -INFINITY : 2;
        double *want = copy(p.t[X], p.n[X]);
        for (size_t i = 0; i < p.n[X]; i++) want[i] = -INFINITY;
        calling how = {.op = conv_ops[op], .element = sizeof(float), .threads = 1};
        expect(&p, &how, want, "infinite_weights_leave_padding_alone");
        for (size_t i = 0; i < p.n[X]; i++) want[i] = 0;
        how.relu = true;
        expect(&p, &how, want, "infinite_weights_leave_padding_alone");
        free(want);
        problem_free(p);
    }
}

/* ---- tiny and huge -------------------------------------------------------------------------------------- */

/* Whole numbers as small or large as these powers of two make them. */
static void check_scaled(const pleat_conv_shape *g, calling how, int first, int second, const char *test) {
    problem p = problem_new(g, seed_of(g));
    int result = result_of(how.op);
    double *want = defined(&p, &how);
    for (size_t i = 0; i < p.n[result]; i++) want[i] = ldexp(want[i], first + second);
    for (int k = 0, operand = 0; k < OPERANDS; k++) {
        if (k == result) continue;
        int power = operand++ == 0 ? first : second;
        for (size_t i = 0; i < p.n[k]; i++) p.t[k][i] = ldexp(p.t[k][i], power);
    }
    expect(&p, &how, want, test);
    free(want);
    problem_free(p);
}

/* Products that are denormal, of numbers that are not, and numbers that are. */
Test(numerics, denormals_are_not_flushed) {
    pleat_conv_shape g;
    for (size_t i = 0; geometry_case(i, RANDOM_CASES, &g); i++)
        for (int op = 0; op < 3; op++) {
            calling how = {.op = conv_ops[op], .element = sizeof(float), .threads = i % 5 == 0 ? 3 : 1};
            check_scaled(&g, how, -75, -74, "denormals_are_not_flushed");
            check_scaled(&g, how, -149, 0, "denormals_are_not_flushed");
            check_scaled(&g, how, 0, -149, "denormals_are_not_flushed");
            how.element = sizeof(double);
            check_scaled(&g, how, -537, -537, "denormals_are_not_flushed");
            check_scaled(&g, how, -1074, 0, "denormals_are_not_flushed");
        }
}

/* Terms in the sum of a result, at most. */
static size_t most_terms(const pleat_conv_shape *g, pleat_conv_op op) {
    if (op == PLEAT_CONV_WEIGHT) return g->N * g->P * g->Q;
    return (op == PLEAT_CONV_FORWARD ? g->C : g->O) / g->G * g->R * g->S;
}

/* Sums whose terms have magnitudes that just do not overflow together. */
Test(numerics, no_overflow_where_magnitudes_do_not) {
    pleat_conv_shape g;
    for (size_t i = 0; geometry_case(i, RANDOM_CASES, &g); i++)
        for (int op = 0; op < 3; op++) {
            calling how = {.op = conv_ops[op], .element = sizeof(float), .threads = 1};
            int bits = (int)ceil(log2(16 * (double)most_terms(&g, how.op)));
            check_scaled(&g, how, 100, 27 - bits, "no_overflow_where_magnitudes_do_not");
            how.element = sizeof(double);
            check_scaled(&g, how, 27 - bits, 996, "no_overflow_where_magnitudes_do_not");
        }
}

/* Terms of one sign: each product overflows, or four of them together do. */
static void check_overflow(const pleat_conv_shape *g, calling how, double a, double b) {
    problem p = problem_new(g, 1);
    for (int k = 0, operand = 0; k < OPERANDS; k++) {
        if (k == result_of(how.op)) continue;
        double value = operand++ == 0 ? a : b;
        for (size_t i = 0; i < p.n[k]; i++) p.t[k][i] = value;
    }
    double *want = defined(&p, &how);
    expect(&p, &how, want, "overflow_where_the_definition_does");
    free(want);
    problem_free(p);
}

Test(numerics, overflow_where_the_definition_does) {
    pleat_conv_shape g;
    for (size_t i = 0; geometry_case(i, RANDOM_CASES, &g); i++)
        for (int op = 0; op < 3; op++) {
            calling how = {.op = conv_ops[op], .element = sizeof(float), .threads = 1};
            check_overflow(&g, how, 1e30, -1e30);
            check_overflow(&g, how, 0x1p63, 0x1p63);
            how.element = sizeof(double), how.relu = op != PLEAT_CONV_WEIGHT && i % 2;
            check_overflow(&g, how, 1e300, -1e300);
            check_overflow(&g, how, 0x1p511, 0x1p511);
        }
}

/* The element-wise ops: values against formulas, broadcasting against loops, the edges of arithmetic, laws. */
#include <math.h>

#include "tensors.h"

TestSuite(elementwise, .init = tensors_begin, .fini = tensors_end);

static const unsigned ALL_AXES = ~0u;

/* x seen backwards along every axis: the same values from a view with negative strides. */
static pleat_tensor *turned(pleat_tensor *x) {
    unsigned axes = pleat_rank(x) == 0 ? 0 : ALL_AXES >> (32 - pleat_rank(x));
    return pleat_flip(pleat_contiguous(pleat_flip(x, axes)), axes);
}

/* ---- two operands ------------------------------------------------------------------------------------ */

static double add(double x, double y) { return x + y; }
static double sub(double x, double y) { return x - y; }
static double mul(double x, double y) { return x * y; }
static double quotient(double x, double y) { return x / y; }

static const struct binary {
    pleat_tensor *(*op)(pleat_tensor *, pleat_tensor *);
    double (*number)(double, double);
} binaries[] = {{pleat_add, add}, {pleat_sub, sub}, {pleat_mul, mul}, {pleat_div, quotient}};

/* Pairs of shapes, and what they are together. */
static const struct pair {
    size_t rank[3], x[PLEAT_MAX_RANK], y[PLEAT_MAX_RANK], z[PLEAT_MAX_RANK];
} pairs[] = {
    {{2, 2, 2}, {2, 3}, {2, 3}, {2, 3}},
    {{2, 1, 2}, {2, 3}, {3}, {2, 3}},
    {{1, 2, 2}, {3}, {2, 3}, {2, 3}},
    {{2, 1, 2}, {2, 3}, {1}, {2, 3}},
    {{2, 0, 2}, {2, 3}, {0}, {2, 3}},
    {{0, 3, 3}, {0}, {2, 1, 3}, {2, 1, 3}},
    {{0, 0, 0}, {0}, {0}, {0}},
    {{2, 2, 2}, {2, 1}, {1, 3}, {2, 3}},
    {{3, 2, 3}, {4, 1, 3}, {2, 1}, {4, 2, 3}},
    {{2, 1, 2}, {1, 1}, {5}, {1, 5}},
    {{4, 4, 4}, {2, 3, 4, 5}, {1, 3, 1, 1}, {2, 3, 4, 5}},
    {{4, 3, 4}, {2, 3, 1, 5}, {1, 4, 1}, {2, 3, 4, 5}},
    {{2, 2, 2}, {0, 3}, {1, 3}, {0, 3}},
    {{1, 1, 1}, {0}, {1}, {0}},
    {{3, 2, 3}, {2, 0, 3}, {1, 1}, {2, 0, 3}},
    {{8, 8, 8}, {1, 2, 1, 2, 1, 2, 1, 2}, {2, 1, 2, 1, 2, 1, 2, 1}, {2, 2, 2, 2, 2, 2, 2, 2}},
    {{8, 3, 8}, {2, 1, 3, 1, 2, 2, 1, 3}, {2, 1, 3}, {2, 1, 3, 1, 2, 2, 1, 3}},
};

static void expect_pair(const struct binary *b, pleat_tensor *x, pleat_tensor *y, const struct pair *p) {
    size_t rank = p->rank[2], index[PLEAT_MAX_RANK] = {0}, i = 0;
    double values[256];
    pleat_tensor *found = b->op(x, y);
    cr_assert(pleat_numel(found) <= 256);
    while (i < pleat_numel(found)) {
        values[i++] = b->number(broadcast_at(x, rank, index), broadcast_at(y, rank, index));
        next_index(rank, p->z, index);
    }
    EXPECT_SAME(found, pleat_from_f64(ctx, pleat_dtype_of(x), rank, p->z, values));
}

Test(elementwise, two_operands_broadcast) {
    for (pleat_dtype type = PLEAT_F32; type <= PLEAT_F64; type++) {
        for (size_t i = 0; i < sizeof pairs / sizeof *pairs; i++) {
            const struct pair *p = &pairs[i];
            pleat_tensor *x = whole(type, p->rank[0], p->x), *y = whole(type, p->rank[1], p->y);
            for (size_t k = 0; k < 4; k++) {
                expect_pair(&binaries[k], x, y, p);
                expect_pair(&binaries[k], turned(x), y, p);
                expect_pair(&binaries[k], x, turned(y), p);
                expect_pair(&binaries[k], turned(x), turned(y), p);
            }
        }
    }
}

Test(elementwise, an_operand_meets_itself) {
    pleat_tensor *x = counted(PLEAT_F32, PLEAT_SHAPE(2, 2));
    EXPECT_HOLDS(pleat_add(x, x), PLEAT_SHAPE(2, 2), VALUES(2, 4, 6, 8));
    EXPECT_HOLDS(pleat_mul(x, pleat_permute(x, (size_t[]){1, 0})), PLEAT_SHAPE(2, 2), VALUES(1, 6, 6, 16));
}

Test(elementwise, division_has_its_infinities) {
    for (pleat_dtype type = PLEAT_F32; type <= PLEAT_F64; type++) {
        pleat_tensor *x = pleat_from_f64(ctx, type, PLEAT_SHAPE(4), VALUES(1, -1, 0, 0));
        pleat_tensor *y = pleat_from_f64(ctx, type, PLEAT_SHAPE(4), VALUES(0, 0, 0, -2));
        EXPECT_HOLDS(pleat_div(x, y), PLEAT_SHAPE(4), VALUES(INFINITY, -INFINITY, NAN, -0.0));
    }
}

Test(elementwise, scale_shift_neg) {
    for (pleat_dtype type = PLEAT_F32; type <= PLEAT_F64; type++) {
        pleat_tensor *x = pleat_from_f64(ctx, type, PLEAT_SHAPE(2, 2), VALUES(1, -2, 0, INFINITY));
        EXPECT_HOLDS(pleat_scale(x, -3), PLEAT_SHAPE(2, 2), VALUES(-3, 6, -0.0, -INFINITY));
        EXPECT_HOLDS(pleat_scale(x, 0), PLEAT_SHAPE(2, 2), VALUES(0, -0.0, 0, NAN));
        EXPECT_HOLDS(pleat_shift(x, 0.5), PLEAT_SHAPE(2, 2), VALUES(1.5, -1.5, 0.5, INFINITY));
        EXPECT_HOLDS(pleat_neg(x), PLEAT_SHAPE(2, 2), VALUES(-1, 2, -0.0, -INFINITY));
        EXPECT_HOLDS(pleat_neg(turned(x)), PLEAT_SHAPE(2, 2), VALUES(-1, 2, -0.0, -INFINITY));
        EXPECT_HOLDS(pleat_neg(pleat_zeros(ctx, type, PLEAT_SHAPE(3, 0))), PLEAT_SHAPE(3, 0), NULL);
        EXPECT_HOLDS(pleat_shift(pleat_full(ctx, type, PLEAT_SCALAR, 2), 1), PLEAT_SCALAR, VALUES(3));
    }
}

/* ---- one operand ------------------------------------------------------------------------------------- */

static double square(double x) { return x * x; }
static double sigmoid(double x) { return 1 / (1 + exp(-x)); }
static double relu(double x) { return x > 0 ? x : 0; }
static double step(double x) { return x > 0; }
static double clamp(double x) { return fmin(fmax(x, -0.5), 0.75); }
static pleat_tensor *clamp_op(pleat_tensor *x) { return pleat_clamp(x, -0.5, 0.75); }

static const struct unary {
    const char *name;
    pleat_tensor *(*op)(pleat_tensor *);
    double (*number)(double);
    double low, high;
} unaries[] = {
    {"exp", pleat_exp, exp, -5, 5},    {"log", pleat_log, log, 1e-3, 9},
    {"sqrt", pleat_sqrt, sqrt, 0, 9},  {"square", pleat_square, square, -3, 3},
    {"tanh", pleat_tanh, tanh, -4, 4}, {"sigmoid", pleat_sigmoid, sigmoid, -9, 9},
    {"relu", pleat_relu, relu, -1, 1}, {"step", pleat_step, step, -1, 1},
    {"clamp", clamp_op, clamp, -1, 1},
};

static void expect_unary(const struct unary *u, pleat_tensor *x) {
    bool f32 = pleat_dtype_of(x) == PLEAT_F32;
    size_t index[PLEAT_MAX_RANK] = {0};
    pleat_tensor *y = u->op(x);
    cr_assert_eq(pleat_dtype_of(y), pleat_dtype_of(x));
    cr_assert_eq(pleat_rank(y), pleat_rank(x));
    if (pleat_numel(x) == 0) return;
    do {
        double expected = u->number(pleat_at(x, index)), found = pleat_at(y, index);
        cr_assert(fabs(found - expected) <= (f32 ? 5e-7 : 1e-15) * fmax(fabs(expected), 1e-30),
                  "%s(%.17g) is %.17g instead of %.17g", u->name, pleat_at(x, index), found, expected);
    } while (next_index(pleat_rank(x), pleat_shape(x), index));
}

Test(elementwise, one_operand) {
    for (pleat_dtype type = PLEAT_F32; type <= PLEAT_F64; type++) {
        for (size_t i = 0; i < sizeof unaries / sizeof *unaries; i++) {
            const struct unary *u = &unaries[i];
            pleat_tensor *x = pleat_uniform(ctx, type, PLEAT_SHAPE(3, 5, 7), u->low, u->high);
            expect_unary(u, x);
            expect_unary(u, pleat_permute(x, (size_t[]){2, 0, 1}));
            expect_unary(u, gappy(x));
            expect_unary(u, pleat_broadcast_to(pleat_slice(x, (size_t[]){1, 1, 1}, (size_t[]){1, 2, 1}, NULL),
                                               PLEAT_SHAPE(3, 2, 4)));
            expect_unary(u, pleat_uniform(ctx, type, PLEAT_SCALAR, u->low, u->high));
            expect_unary(u, pleat_uniform(ctx, type, PLEAT_SHAPE(1, 2, 1, 2, 1, 2, 1, 3), u->low, u->high));
            expect_unary(u, pleat_empty(ctx, type, PLEAT_SHAPE(2, 0)));
        }
    }
}

static void expect_edges(pleat_tensor *(*op)(pleat_tensor *), const double *x, const double *y) {
    for (pleat_dtype type = PLEAT_F32; type <= PLEAT_F64; type++) {
        pleat_tensor *t = pleat_from_f64(ctx, type, PLEAT_SHAPE(6), x);
        EXPECT_HOLDS(op(t), PLEAT_SHAPE(6), y);
        EXPECT_HOLDS(op(turned(t)), PLEAT_SHAPE(6), y);
    }
}

Test(elementwise, edges_of_arithmetic) {
    const double inf = INFINITY;
    expect_edges(pleat_exp, VALUES(NAN, inf, -inf, 1000, -1000, 0), VALUES(NAN, inf, 0, inf, 0, 1));
    expect_edges(pleat_log, VALUES(NAN, inf, -inf, 0, -1, 1), VALUES(NAN, inf, NAN, -inf, NAN, 0));
    expect_edges(pleat_sqrt, VALUES(NAN, inf, -inf, 0, -1, 16), VALUES(NAN, inf, NAN, 0, NAN, 4));
    expect_edges(pleat_square, VALUES(NAN, inf, -inf, 0, -3, 1e300), VALUES(NAN, inf, inf, 0, 9, inf));
    expect_edges(pleat_tanh, VALUES(NAN, inf, -inf, 1000, -1000, 0), VALUES(NAN, 1, -1, 1, -1, 0));
    expect_edges(pleat_sigmoid, VALUES(NAN, inf, -inf, 1000, -1000, 0), VALUES(NAN, 1, 0, 1, 0, 0.5));
    expect_edges(pleat_relu, VALUES(NAN, inf, -inf, -0.0, -2, 2), VALUES(NAN, inf, 0, 0, 0, 2));
    expect_edges(pleat_relu6, VALUES(NAN, inf, -inf, -0.0, 6, 7), VALUES(NAN, 6, 0, 0, 6, 6));
    expect_edges(pleat_step, VALUES(NAN, inf, -inf, -0.0, -2, 2), VALUES(0, 1, 0, 0, 0, 1));
    expect_edges(clamp_op, VALUES(NAN, inf, -inf, 0.75, -0.5, 0.25),
                 VALUES(NAN, 0.75, -0.5, 0.75, -0.5, 0.25));
}

Test(elementwise, clamp_at_odd_ranges) {
    pleat_tensor *x = pleat_from_f64(ctx, PLEAT_F64, PLEAT_SHAPE(4), VALUES(-INFINITY, -2, 2, INFINITY));
    EXPECT_HOLDS(pleat_clamp(x, 1, 1), PLEAT_SHAPE(4), VALUES(1, 1, 1, 1));
    EXPECT_HOLDS(pleat_clamp(x, -INFINITY, 0), PLEAT_SHAPE(4), VALUES(-INFINITY, -2, 0, 0));
    EXPECT_HOLDS(pleat_clamp(x, 0, INFINITY), PLEAT_SHAPE(4), VALUES(0, 0, 2, INFINITY));
}

/* ---- laws -------------------------------------------------------------------------------------------- */

Test(elementwise, arithmetic_is_a_ring_on_whole_numbers) {
    for (pleat_dtype type = PLEAT_F32; type <= PLEAT_F64; type++) {
        pleat_tensor *a = whole(type, PLEAT_SHAPE(3, 1, 4)), *b = whole(type, PLEAT_SHAPE(5, 1));
        pleat_tensor *c = whole(type, PLEAT_SHAPE(3, 5, 4));
        EXPECT_SAME(pleat_add(a, b), pleat_add(b, a));
        EXPECT_SAME(pleat_add(pleat_add(a, b), c), pleat_add(a, pleat_add(b, c)));
        EXPECT_SAME(pleat_sub(a, b), pleat_add(a, pleat_scale(b, -1)));
        pleat_tensor *left = pleat_mul(pleat_add(a, b), c);
        pleat_tensor *right = pleat_add(pleat_mul(a, c), pleat_mul(b, c));
        EXPECT_SAME(pleat_shift(left, 0), pleat_shift(right, 0)); /* adding 0 makes a zero positive */
        EXPECT_SAME(
            pleat_div(pleat_mul(c, c), pleat_shift(pleat_square(c), 1)),
            pleat_div(pleat_square(c), pleat_add(pleat_mul(c, c), pleat_full(ctx, type, PLEAT_SCALAR, 1))));
    }
}

Test(elementwise, laws_of_the_functions) {
    for (pleat_dtype type = PLEAT_F32; type <= PLEAT_F64; type++) {
        double tolerance = type == PLEAT_F32 ? 1e-6 : 1e-14;
        pleat_tensor *x = pleat_uniform(ctx, type, PLEAT_SHAPE(500), -4, 4);
        pleat_tensor *magnitude = pleat_add(pleat_relu(x), pleat_relu(pleat_neg(x)));
        EXPECT_NEAR(pleat_log(pleat_exp(x)), x, tolerance);
        EXPECT_NEAR(pleat_sqrt(pleat_square(x)), magnitude, tolerance);
        EXPECT_NEAR(pleat_tanh(x), pleat_shift(pleat_scale(pleat_sigmoid(pleat_scale(x, 2)), 2), -1),
                    tolerance);
        EXPECT_SAME(pleat_sub(pleat_relu(x), pleat_relu(pleat_neg(x))), x);
        EXPECT_SAME(pleat_shift(pleat_mul(x, pleat_step(x)), 0), pleat_relu(x));
        EXPECT_SAME(pleat_clamp(pleat_clamp(x, -1, 2), -1, 2), pleat_clamp(x, -1, 2));
    }
}

Test(elementwise, f32_is_f64_rounded) {
    pleat_tensor *x = pleat_uniform(ctx, PLEAT_F32, PLEAT_SHAPE(40, 3), 0.1, 2);
    pleat_tensor *wide = as_type(x, PLEAT_F64);
    for (size_t i = 0; i < sizeof unaries / sizeof *unaries; i++)
        EXPECT_NEAR(as_type(unaries[i].op(x), PLEAT_F64), unaries[i].op(wide), 4e-7);
    for (size_t k = 0; k < 4; k++) {
        pleat_tensor *narrow = binaries[k].op(x, turned(x));
        EXPECT_SAME(narrow, as_type(binaries[k].op(wide, turned(wide)), PLEAT_F32));
    }
    EXPECT_SAME(as_type(wide, PLEAT_F32), x);
}

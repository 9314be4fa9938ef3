/* Functions of numbers over the whole range of their type, both signs and all magnitudes from the smallest denormal number to the
 * largest, with first and second derivatives, against closed forms in long double. */
#include <float.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>

#include "geometry.h"
#include "tensors.h"

TestSuite(ranges, .init = tensors_begin, .fini = tensors_end);

/* ---- closed forms ---------------------------------------------------------------------------------------- */

typedef long double real;
typedef struct jet {
    real value, first, second;
} jet;

static const real root_half = 0.707106781186547524400844362104849L, pi = 3.14159265358979323846264338327950L;

static real rise(real x) { return x > 0 ? 1 / (1 + expl(-x)) : expl(x) / (1 + expl(x)); }

static jet sigmoid(real x) {
    real slope = rise(x) * rise(-x);
    return (jet){rise(x), slope, slope * (rise(-x) - rise(x))};
}
static jet silu(real x) {
    jet s = sigmoid(x);
    return (jet){x * s.value, s.value + x * s.first, 2 * s.first + x * s.second};
}
static jet softplus(real x) {
    jet s = sigmoid(x);
    return (jet){x > 0 ? x + log1pl(expl(-x)) : log1pl(expl(x)), s.value, s.first};
}
static jet hyperbolic(real x) {
    real slope = 1 / coshl(x) / coshl(x);
    return (jet){tanhl(x), slope, -2 * tanhl(x) * slope};
}
static jet error(real x) {
    real slope = 2 / sqrtl(pi) * expl(-x * x);
    return (jet){erfl(x), slope, -2 * x * slope};
}
static jet gelu(real x) {
    real integral = erfcl(-x * root_half) / 2, density = expl(-x * x / 2) / sqrtl(2 * pi);
    return (jet){x * integral, integral + x * density, (2 - x * x) * density};
}
static jet elu(real x) {
    if (x > 0) return (jet){x, 1, 0};
    return (jet){0.7L * expm1l(x), 0.7L * expl(x), 0.7L * expl(x)};
}
static jet leaky(real x) { return x > 0 ? (jet){x, 1, 0} : (jet){0.2L * x, 0.2L, 0}; }
static jet positive(real x) { return x > 0 ? (jet){x, 1, 0} : (jet){0, 0, 0}; }
static jet capped(real x) { return x < 6 ? positive(x) : (jet){6, 0, 0}; }
static jet exponential(real x) { return (jet){expl(x), expl(x), expl(x)}; }
static jet logarithm(real x) { return (jet){logl(x), 1 / x, -1 / (x * x)}; }
static jet root(real x) { return (jet){sqrtl(x), 1 / (2 * sqrtl(x)), -1 / (4 * x * sqrtl(x))}; }
static jet square(real x) { return (jet){x * x, 2 * x, 2}; }
static jet cube(real x) { return (jet){x * x * x, 3 * x * x, 6 * x}; }
static jet inverse(real x) { return (jet){1 / x, -1 / (x * x), 2 / (x * x * x)}; }
static jet inverse_root(real x) {
    return (jet){1 / sqrtl(x), -1 / (2 * x * sqrtl(x)), 3 / (4 * x * x * sqrtl(x))};
}

static pleat_tensor *elu_op(pleat_tensor *x) { return pleat_elu(x, 0.7); }
static pleat_tensor *leaky_op(pleat_tensor *x) { return pleat_leaky_relu(x, 0.2); }
static pleat_tensor *cube_op(pleat_tensor *x) { return pleat_pow(x, 3); }
static pleat_tensor *inverse_op(pleat_tensor *x) { return pleat_pow(x, -1); }
static pleat_tensor *inverse_root_op(pleat_tensor *x) { return pleat_pow(x, -0.5); }
static pleat_tensor *root_op(pleat_tensor *x) { return pleat_pow(x, 0.5); }

enum {
    BESIDE_ONE =
        1, /* derivatives with zeros, or differences where the function is flat: errors are measured beside 1 */
    BESIDE_X = 2,  /* so is the value, beside x */
    TAIL_ENDS = 4, /* the value is 0 where e^-x overflows */
    NO_NEGATIVES = 8,
};

static const struct {
    const char *name;
    pleat_tensor *(*f)(pleat_tensor *x);
    jet (*exact)(real x);
    int kind;
} functions[] = {
    {"sigmoid", pleat_sigmoid, sigmoid, BESIDE_ONE | TAIL_ENDS},
    {"silu", pleat_silu, silu, BESIDE_ONE | TAIL_ENDS},
    {"softplus", pleat_softplus, softplus, BESIDE_ONE},
    {"tanh", pleat_tanh, hyperbolic, BESIDE_ONE},
    {"erf", pleat_erf, error, BESIDE_ONE},
    {"gelu", pleat_gelu, gelu, BESIDE_ONE | BESIDE_X},
    {"elu", elu_op, elu, BESIDE_ONE},
    {"leaky_relu", leaky_op, leaky, 0},
    {"relu", pleat_relu, positive, 0},
    {"relu6", pleat_relu6, capped, 0},
    {"exp", pleat_exp, exponential, 0},
    {"log", pleat_log, logarithm, NO_NEGATIVES},
    {"sqrt", pleat_sqrt, root, NO_NEGATIVES},
    {"square", pleat_square, square, 0},
    {"pow 3", cube_op, cube, 0},
    {"pow -1", inverse_op, inverse, 0},
    {"pow 0.5", root_op, root, NO_NEGATIVES},
    {"pow -0.5", inverse_root_op, inverse_root, NO_NEGATIVES},
};

/* ---- the sweep ------------------------------------------------------------------------------------------- */

enum { NUMBERS = 4000 };

/* Evenly drawn exponents, and the ends of the type. */
static void draw(pleat_dtype type, double *x) {
    static const double ends[2][6] = {{0x1p-149, FLT_MIN, FLT_MAX, 0x1p24, 88.7, 103.9},
                                      {0x1p-1074, DBL_MIN, DBL_MAX, 0x1p53, 709.7, 745.1}};
    uint64_t seed = 1 + (uint64_t)type;
    for (size_t i = 0; i < NUMBERS; i++) {
        int power =
            (int)(type == PLEAT_F32 ? random_between(&seed, -149, 127) : random_between(&seed, -1074, 1023));
        if (i % 2) power = (int)random_between(&seed, -5, 11); /* where functions bend */
        double digits = 1 + (double)random_below(&seed, (size_t)1 << 30) / (1 << 30);
        x[i] = rounded(type, ldexp(digits, power));
        if (i < 12) x[i] = rounded(type, ends[type][i / 2]);
        if (i % 4 > 1) x[i] = -x[i];
    }
}

/* Half an ulp of 1, the smallest number, and the largest. */
static double unit_of(pleat_dtype type) { return type == PLEAT_F32 ? 0x1p-24 : 0x1p-53; }
static double least_of(pleat_dtype type) { return type == PLEAT_F32 ? 0x1p-149 : 0x1p-1074; }
static double most_of(pleat_dtype type) { return type == PLEAT_F32 ? FLT_MAX : DBL_MAX; }

/* Eight ulps, or for large arguments of an exponential what rounding the argument's square is worth. A factor may overflow a little
 * before the product. */
static bool close_to(pleat_dtype type, double x, double found, real exact, real beside) {
    real digits = 16 + fminl(2 * (real)x * x, 2000);
    real bound = digits * unit_of(type) * fmaxl(fabsl(exact), beside) + 8 * least_of(type);
    if (isinf(found)) return 4 * fabsl(exact) + bound >= most_of(type) && (found > 0) == (exact > 0);
    return fabsl(found - exact) <= bound;
}

/* What the error of a derivative, or of the value (order 0), is measured beside, if that is larger. */
static real beside(int kind, size_t order, pleat_dtype type, real x) {
    if (order > 0) return kind & BESIDE_ONE;
    if (kind & BESIDE_X) return fabsl(x);
    return kind & TAIL_ENDS ? (1 + fabsl(x)) / most_of(type) / unit_of(type) / 16 : 0;
}

static void sweep(size_t which, pleat_dtype type) {
    double x[NUMBERS], found[3][NUMBERS];
    draw(type, x);
    pleat_tensor *t = pleat_from_f64(ctx, type, PLEAT_SHAPE(NUMBERS), x), *one = pleat_full_like(t, 1);
    pleat_tensor *y = functions[which].f(t), *g, *gg;
    EXPECT_OK(pleat_grads(y, one, 1, &t, &g, PLEAT_GRADS_RECORD));
    EXPECT_OK(pleat_grads(g, one, 1, &t, &gg, 0));
    pleat_read_f64(y, found[0]), pleat_read_f64(g, found[1]), pleat_read_f64(gg, found[2]);
    for (size_t i = 0; i < NUMBERS; i++) {
        if (functions[which].kind & NO_NEGATIVES && x[i] < 0) continue;
        jet e = functions[which].exact(x[i]);
        real exact[3] = {e.value, e.first, e.second};
        for (size_t order = 0; order < 3; order++) {
            real least = beside(functions[which].kind, order, type, x[i]);
            cr_expect(close_to(type, x[i], found[order][i], exact[order], least),
                      "derivative %zu of %s at %.17g in %s is %.17g, not %.17Lg", order,
                      functions[which].name, x[i], type == PLEAT_F32 ? "f32" : "f64", found[order][i],
                      exact[order]);
        }
    }
}

Test(ranges, derivatives_over_the_whole_range) {
    for (size_t i = 0; i < sizeof functions / sizeof *functions; i++)
        for (pleat_dtype type = PLEAT_F32; type <= PLEAT_F64; type++) sweep(i, type);
}

/* ---- special values -------------------------------------------------------------------------------------- */

enum { SPECIALS = 11 };

static const char *const special_names[SPECIALS] = {"NaN", "-Inf",  "-max", "-1",  "-least", "-0",
                                                    "0",   "least", "1",    "max", "Inf"};

static pleat_tensor *specials(pleat_dtype type) {
    double least = least_of(type), most = most_of(type);
    return pleat_from_f64(ctx, type, PLEAT_SHAPE(SPECIALS),
                          VALUES(NAN, -INFINITY, -most, -1, -least, -0.0, 0, least, 1, most, INFINITY));
}

/* Equal as numbers of the type, zeros with their signs; a NaN equals a NaN. */
static void expect_specials(const char *name, pleat_tensor *y, const real *want) {
    double found[SPECIALS];
    pleat_dtype type = pleat_dtype_of(y);
    pleat_read_f64(y, found);
    for (size_t i = 0; i < SPECIALS; i++) {
        double value = rounded(type, (double)want[i]);
        bool equal =
            isnan(value) ? isnan(found[i]) : found[i] == value && !signbit(found[i]) == !signbit(value);
        bool near = isnormal(value) && fabs(found[i] - value) <= 8 * unit_of(type) * fabs(value);
        cr_expect(equal || near, "%s of %s in %s is %g, not %g", name, special_names[i],
                  type == PLEAT_F32 ? "f32" : "f64", found[i], value);
    }
}

/* x^a in words of pleat.h: no number where x < 0, unless a is whole; 1 for a = 0. */
static void check_pow(pleat_dtype type, double a) {
    char name[32];
    double x[SPECIALS];
    real want[SPECIALS];
    pleat_tensor *t = specials(type);
    pleat_read_f64(t, x);
    for (size_t i = 0; i < SPECIALS; i++) want[i] = x[i] < 0 && a != floor(a) ? NAN : powl(x[i], a);
    snprintf(name, sizeof name, "pow %.17g", a);
    expect_specials(name, pleat_pow(t, a), want);
}

Test(ranges, special_values_of_powers) {
    static const double powers[] = {0.5, -0.5, 1.5, -1.5, 1.0 / 3, -0.7, 0,         1,
                                    -1,  2,    -2,  3,    -3,      4,    1e6 + 0.5, 0x1p24 + 0.5};
    for (size_t i = 0; i < sizeof powers / sizeof *powers; i++)
        for (pleat_dtype type = PLEAT_F32; type <= PLEAT_F64; type++) check_pow(type, powers[i]);
}

Test(ranges, special_values) {
    for (pleat_dtype type = PLEAT_F32; type <= PLEAT_F64; type++) {
        const real I = INFINITY, N = NAN, least = least_of(type), most = most_of(type), e = expl(1);
        const real ln2 = logl(2), half = 0.5L, s = 1 / (1 + e), at1 = erfl(1);
        pleat_tensor *x = specials(type);
        expect_specials("log", pleat_log(x), (real[]){N, N, N, N, N, -I, -I, logl(least), 0, logl(most), I});
        expect_specials("sqrt", pleat_sqrt(x),
                        (real[]){N, N, N, N, N, -0.0L, 0, sqrtl(least), 1, sqrtl(most), I});
        expect_specials("square", pleat_square(x), (real[]){N, I, I, 1, 0, 0, 0, 0, 1, I, I});
        expect_specials("exp", pleat_exp(x), (real[]){N, 0, 0, 1 / e, 1, 1, 1, 1, e, I, I});
        expect_specials("tanh", pleat_tanh(x),
                        (real[]){N, -1, -1, -tanhl(1), -least, -0.0L, 0, least, tanhl(1), 1, 1});
        expect_specials("erf", pleat_erf(x), (real[]){N, -1, -1, -at1, -least, -0.0L, 0, least, at1, 1, 1});
        expect_specials("sigmoid", pleat_sigmoid(x),
                        (real[]){N, 0, 0, s, half, half, half, half, 1 - s, 1, 1});
        expect_specials("softplus", pleat_softplus(x),
                        (real[]){N, 0, 0, log1pl(1 / e), ln2, ln2, ln2, ln2, log1pl(e), most, I});
        expect_specials("abs", pleat_abs(x), (real[]){N, I, most, 1, least, 0, 0, least, 1, most, I});
        expect_specials("sign", pleat_sign(x), (real[]){N, -1, -1, -1, -1, 0, 0, 1, 1, 1, 1});
        expect_specials("elu", pleat_elu(x, 2),
                        (real[]){N, -2, -2, 2 * expm1l(-1), -2 * least, -0.0L, 0, least, 1, most, I});
        expect_specials("step", pleat_step(x), (real[]){0, 0, 0, 0, 0, 0, 0, 1, 1, 1, 1});
    }
}

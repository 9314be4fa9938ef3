#include "functions_table.h"

#include <math.h>

#include "core/functions.h"

static double near_sigmoid(double x) { return x < 0 ? exp(x) / (1 + exp(x)) : 1 / (1 + exp(-x)); }
static double near_softplus(double x) { return (x > 0 ? x : 0) + log1p(exp(-fabs(x))); }
static long double exact_sigmoid(long double x) {
    return x < 0 ? expl(x) / (1 + expl(x)) : 1 / (1 + expl(-x));
}
static long double exact_softplus(long double x) { return (x < 0 ? 0 : x) + log1pl(expl(-fabsl(x))); }

/* functions, so that they have an address */
#define FUNCTION(name)                                                \
    static double name##_f64(double x) { return pl_##name##_f64(x); } \
    static float name##_f32(float x) { return pl_##name##_f32(x); }
FUNCTION(exp)
FUNCTION(expm1)
FUNCTION(log)
FUNCTION(log1p)
FUNCTION(sigmoid)
FUNCTION(softplus)
FUNCTION(tanh)
FUNCTION(erf)
FUNCTION(sin)
FUNCTION(cos)

const function functions[FUNCTIONS] = {
    {"exp", exp_f64, exp_f32, exp, expl, -750, 712, 0, 0xa677769d2b768b63u},
    {"expm1", expm1_f64, expm1_f32, expm1, expm1l, -60, 712, 0, 0x31b4cd2c24cef9b3u},
    {"log", log_f64, log_f32, log, logl, 0, 10, 1, 0x7570a6d514d9eaa5u},
    {"log1p", log1p_f64, log1p_f32, log1p, log1pl, -1, 10, 0, 0x6a5dd5c3db3ff37cu},
    {"sigmoid", sigmoid_f64, sigmoid_f32, near_sigmoid, exact_sigmoid, -750, 50, 0, 0xa949f2276fd9b407u},
    {"softplus", softplus_f64, softplus_f32, near_softplus, exact_softplus, -750, 50, 0, 0xfdadba6b9dfa6cbcu},
    {"tanh", tanh_f64, tanh_f32, tanh, tanhl, -22, 22, 0, 0x0fb5965445337be7u},
    {"erf", erf_f64, erf_f32, erf, erfl, -6, 6, 0, 0x428ed19aef548fe8u},
    {"sin", sin_f64, sin_f32, sin, sinl, -0x1p31, 0x1p31, 0, 0x54fb33080376ad9au},
    {"cos", cos_f64, cos_f32, cos, cosl, -0x1p31, 0x1p31, 0, 0xa2d2406595e59122u},
};

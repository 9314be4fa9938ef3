/* Functions of one tensor, element by element. */
#include <math.h>

#include "onnx/onnx.h"

/* A rule that is an expression of x and the node. */
#define FUNCTION(name, expression)                                                        \
    static bool name(pln_onnx_run *run, const pln_onnx_node *n, const pln_onnx_value *in, \
                     pln_onnx_value *out) {                                               \
        pleat_tensor *x = in[0].t;                                                        \
        (void)run, (void)n;                                                               \
        out[0].t = expression;                                                            \
        return true;                                                                      \
    }

#define REAL(attribute, usual) pln_onnx_real(n, attribute, usual)

FUNCTION(absolute, pleat_abs(x))
FUNCTION(negative, pleat_neg(x))
FUNCTION(sign, pleat_sign(x))
FUNCTION(down, pleat_floor(x))
FUNCTION(up, pleat_neg(pleat_floor(pleat_neg(x))))
FUNCTION(nearest, pleat_round(x))
FUNCTION(reciprocal, pleat_pow(x, -1))
FUNCTION(root, pleat_sqrt(x))
FUNCTION(exponential, pleat_exp(x))
FUNCTION(logarithm, pleat_log(x))
FUNCTION(error_function, pleat_erf(x))
FUNCTION(sine, pleat_sin(x))
FUNCTION(cosine, pleat_cos(x))
FUNCTION(tangent, pleat_div(pleat_sin(x), pleat_cos(x)))
FUNCTION(cosinus_h, pleat_scale(pleat_add(pleat_exp(x), pleat_exp(pleat_neg(x))), 0.5))
FUNCTION(sinus_h,
         pleat_mul(pleat_tanh(x), pleat_scale(pleat_add(pleat_exp(x), pleat_exp(pleat_neg(x))), 0.5)))
FUNCTION(tanh_of, pleat_tanh(x))

/* Inverse functions as logarithms, in double, as their terms cancel. */
static pleat_tensor *acosh_by_log(pleat_tensor *x) {
    return pleat_log(pleat_add(x, pleat_sqrt(pleat_shift(pleat_square(x), -1))));
}
static pleat_tensor *asinh_by_log(pleat_tensor *x) {
    pleat_tensor *root_of = pleat_sqrt(pleat_shift(pleat_square(x), 1));
    pleat_tensor *above = pleat_log(pleat_add(root_of, x)),
                 *below = pleat_neg(pleat_log(pleat_sub(root_of, x)));
    return pleat_where(pleat_lt(x, pleat_zeros_like(x)), below, above);
}
static pleat_tensor *atanh_by_log(pleat_tensor *x) {
    return pleat_scale(pleat_sub(pleat_log(pleat_shift(x, 1)), pleat_log(pleat_shift(pleat_neg(x), 1))), 0.5);
}
static pleat_tensor *in_double(pleat_tensor *x, pleat_tensor *(*f)(pleat_tensor *)) {
    return pleat_cast(f(pleat_cast(x, PLEAT_F64)), pleat_dtype_of(x));
}
FUNCTION(asinh_of, in_double(x, asinh_by_log))
FUNCTION(acosh_of, in_double(x, acosh_by_log))
FUNCTION(atanh_of, in_double(x, atanh_by_log))
FUNCTION(sigmoid, pleat_sigmoid(x))
FUNCTION(relu, pleat_relu(x))
FUNCTION(softplus, pleat_softplus(x))
FUNCTION(softsign, pleat_div(x, pleat_shift(pleat_abs(x), 1)))
FUNCTION(leaky_relu, pleat_leaky_relu(x, REAL("alpha", 0.01)))
FUNCTION(elu, pleat_elu(x, REAL("alpha", 1)))
FUNCTION(selu, pleat_scale(pleat_elu(x, REAL("alpha", 1.67326319217681884765625)),
                           REAL("gamma", 1.05070102214813232421875)))
FUNCTION(hard_sigmoid, pleat_clamp(pleat_shift(pleat_scale(x, REAL("alpha", 0.2)), REAL("beta", 0.5)), 0, 1))
FUNCTION(hard_swish, pleat_mul(x, pleat_clamp(pleat_shift(pleat_scale(x, 1.0 / 6), 0.5), 0, 1)))
FUNCTION(thresholded, pleat_where(pleat_gt(x, pleat_full_like(x, REAL("alpha", 1))), x, pleat_zeros_like(x)))

/* max(0, x) + min(0, a (e^(x/a) - 1)) */
static bool celu(pln_onnx_run *run, const pln_onnx_node *n, const pln_onnx_value *in, pln_onnx_value *out) {
    double a = REAL("alpha", 1);
    if (!(a != 0 && isfinite(a))) return pln_onnx_refuse(run, n, "attribute alpha must be finite and not 0");
    out[0].t = pleat_scale(pleat_elu(pleat_scale(in[0].t, 1 / a), 1), a);
    return a > 0 || pln_onnx_refuse(run, n, "a negative attribute alpha is not supported");
}

/* x + bias below -lambd, x - bias above lambd, and else 0 */
static bool shrink(pln_onnx_run *run, const pln_onnx_node *n, const pln_onnx_value *in, pln_onnx_value *out) {
    pleat_tensor *x = in[0].t, *zero = pleat_zeros_like(x);
    double bias = REAL("bias", 0), limit = REAL("lambd", 0.5);
    (void)run;
    pleat_tensor *above = pleat_where(pleat_gt(x, pleat_full_like(x, limit)), pleat_shift(x, -bias), zero);
    out[0].t = pleat_where(pleat_lt(x, pleat_full_like(x, -limit)), pleat_shift(x, bias), above);
    return true;
}

static bool prelu(pln_onnx_run *run, const pln_onnx_node *n, const pln_onnx_value *in, pln_onnx_value *out) {
    pleat_tensor *x = in[0].t, *slope = in[1].t;
    (void)run, (void)n;
    size_t C = pleat_size(x, 1), numel = pleat_numel(slope);
    bool per_channel = pleat_rank(x) > 1 && pleat_rank(slope) + 1 == pleat_rank(x) &&
                       pleat_size(slope, 0) == C && numel == C;
    out[0].t = per_channel ? pleat_prelu(x, pleat_reshape(slope, PLEAT_SHAPE(C)))
                           : pleat_where(pleat_gt(x, pleat_zeros_like(x)), x, pleat_mul(x, slope));
    return true;
}

/* ---- Clip: bounds as attributes, and from opset 11 on as inputs ------------------------------------------- */

static bool clip_between(pln_onnx_value x, double low, double high, pln_onnx_value *out) {
    /* where both meet, the upper bound wins */
    out[0].t = low == 0 && high == 6 && pln_onnx_is_float(x.type) ? pleat_relu6(x.t)
               : low > high                                       ? pleat_full_like(x.t, high)
                                                                  : pleat_clamp(x.t, low, high);
    return true;
}

static bool clip6(pln_onnx_run *run, const pln_onnx_node *n, const pln_onnx_value *in, pln_onnx_value *out) {
    (void)run;
    return clip_between(in[0], REAL("min", -HUGE_VAL), REAL("max", HUGE_VAL), out);
}

static bool clip11(pln_onnx_run *run, const pln_onnx_node *n, const pln_onnx_value *in, pln_onnx_value *out) {
    double low = -HUGE_VAL, high = HUGE_VAL;
    if (in[1].t && !pln_onnx_number(run, n, "min", in[1], &low)) return false;
    if (in[2].t && !pln_onnx_number(run, n, "max", in[2], &high)) return false;
    return clip_between(in[0], low, high, out);
}

const pln_onnx_row pln_onnx_functions[] = {
    {"Abs", 6, 17, "n", 1, absolute, .attrs = "", .wraps = true},
    {"Neg", 6, 17, "n", 1, negative, .attrs = "", .wraps = true},
    {"Sign", 9, 17, "n", 1, sign, .attrs = "", .wraps = true},
    {"Floor", 6, 17, "f", 1, down, .attrs = ""},
    {"Ceil", 6, 17, "f", 1, up, .attrs = ""},
    {"Round", 11, 17, "f", 1, nearest, .attrs = ""},
    {"Reciprocal", 6, 17, "f", 1, reciprocal, .attrs = ""},
    {"Sqrt", 6, 17, "f", 1, root, .attrs = ""},
    {"Exp", 6, 17, "f", 1, exponential, .attrs = ""},
    {"Log", 6, 17, "f", 1, logarithm, .attrs = ""},
    {"Erf", 9, 17, "f", 1, error_function, .attrs = ""},
    {"Sin", 7, 17, "f", 1, sine, .attrs = ""},
    {"Cos", 7, 17, "f", 1, cosine, .attrs = ""},
    {"Tan", 7, 17, "f", 1, tangent, .attrs = ""},
    {"Sinh", 9, 17, "f", 1, sinus_h, .attrs = ""},
    {"Cosh", 9, 17, "f", 1, cosinus_h, .attrs = ""},
    {"Tanh", 6, 17, "f", 1, tanh_of, .attrs = ""},
    {"Asinh", 9, 17, "f", 1, asinh_of, .attrs = ""},
    {"Acosh", 9, 17, "f", 1, acosh_of, .attrs = ""},
    {"Atanh", 9, 17, "f", 1, atanh_of, .attrs = ""},
    {"Sigmoid", 6, 17, "f", 1, sigmoid, .attrs = ""},
    {"Relu", 6, 17, "n", 1, relu, .attrs = ""},
    {"Softplus", 1, 17, "f", 1, softplus, .attrs = ""},
    {"Softsign", 1, 17, "f", 1, softsign, .attrs = ""},
    {"LeakyRelu", 6, 17, "f", 1, leaky_relu, .attrs = "alpha:f"},
    {"Elu", 6, 17, "f", 1, elu, .attrs = "alpha:f"},
    {"Celu", 12, 17, "f", 1, celu, .attrs = "alpha:f"},
    {"Selu", 6, 17, "f", 1, selu, .attrs = "alpha:f gamma:f"},
    {"HardSigmoid", 6, 17, "f", 1, hard_sigmoid, .attrs = "alpha:f beta:f"},
    {"HardSwish", 14, 17, "f", 1, hard_swish, .attrs = ""},
    {"ThresholdedRelu", 10, 17, "f", 1, thresholded, .attrs = "alpha:f"},
    {"Shrink", 9, 17, "f", 1, shrink, .attrs = "bias:f lambd:f"},
    {"PRelu", 7, 17, "ff", 1, prelu, .attrs = "", .weights = 2},
    {"Clip", 6, 10, "f", 1, clip6, .attrs = "min:f max:f"},
    {"Clip", 11, 17, "nNN", 1, clip11, .attrs = ""},
    {0},
};

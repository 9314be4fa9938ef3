/* Arithmetic of two and more tensors, broadcast. Whole numbers are computed in doubles and wrapped to their type (values.c). */
#include <math.h>

#include "onnx/onnx.h"

typedef pleat_tensor *two(pleat_tensor *x, pleat_tensor *y);

/* Fold all inputs, which have one type, by f. */
static bool chain(const pln_onnx_run *run, const pln_onnx_node *n, const pln_onnx_value *in,
                  pln_onnx_value *out, two *f) {
    pleat_tensor *y = in[0].t;
    for (size_t i = 1; i < n->ins; i++) {
        if (in[i].type != in[0].type)
            return pln_onnx_refuse(run, n, "inputs of types %s and %s", pln_onnx_type_name(in[0].type),
                                   pln_onnx_type_name(in[i].type));
        y = f(y, in[i].t);
    }
    out[0].t = y;
    return true;
}

/* towards zero */
static pleat_tensor *truncated(pleat_tensor *x) {
    return pleat_mul(pleat_sign(x), pleat_floor(pleat_abs(x)));
}

static pleat_tensor *whole_div(pleat_tensor *x, pleat_tensor *y) { return truncated(pleat_div(x, y)); }

static bool add(pln_onnx_run *run, const pln_onnx_node *n, const pln_onnx_value *in, pln_onnx_value *out) {
    return chain(run, n, in, out, pleat_add);
}
static bool sub(pln_onnx_run *run, const pln_onnx_node *n, const pln_onnx_value *in, pln_onnx_value *out) {
    return chain(run, n, in, out, pleat_sub);
}
static bool mul(pln_onnx_run *run, const pln_onnx_node *n, const pln_onnx_value *in, pln_onnx_value *out) {
    return chain(run, n, in, out, pleat_mul);
}
static bool divide(pln_onnx_run *run, const pln_onnx_node *n, const pln_onnx_value *in, pln_onnx_value *out) {
    return chain(run, n, in, out, pln_onnx_is_whole(in[0].type) ? whole_div : pleat_div);
}
static bool least(pln_onnx_run *run, const pln_onnx_node *n, const pln_onnx_value *in, pln_onnx_value *out) {
    return chain(run, n, in, out, pleat_minimum);
}
static bool most(pln_onnx_run *run, const pln_onnx_node *n, const pln_onnx_value *in, pln_onnx_value *out) {
    return chain(run, n, in, out, pleat_maximum);
}
static bool mean(pln_onnx_run *run, const pln_onnx_node *n, const pln_onnx_value *in, pln_onnx_value *out) {
    if (!chain(run, n, in, out, pleat_add)) return false;
    out[0].t = pleat_scale(out[0].t, 1 / (double)n->ins);
    return true;
}

/* x - q y, with q = x / y rounded towards zero (fmod) or down */
static bool mod(pln_onnx_run *run, const pln_onnx_node *n, const pln_onnx_value *in, pln_onnx_value *out) {
    bool fmod = pln_onnx_int(n, "fmod", 0) != 0;
    if (in[0].type != in[1].type || (!fmod && pln_onnx_is_float(in[0].type)))
        return pln_onnx_refuse(run, n, "attribute fmod %d with inputs of types %s and %s is not supported",
                               fmod, pln_onnx_type_name(in[0].type), pln_onnx_type_name(in[1].type));
    pleat_tensor *x = pleat_cast(in[0].t, PLEAT_F64), *y = pleat_cast(in[1].t, PLEAT_F64),
                 *q = pleat_div(x, y);
    pleat_tensor *r = pleat_sub(x, pleat_mul(fmod ? truncated(q) : pleat_floor(q), y));
    out[0].t = pleat_cast(r, pln_onnx_dtype(in[0].type));
    return true;
}

/* |x|^y = e^(y ln|x|) in double, with the sign that a whole y gives it; NaN for a negative x and another y */
static pleat_tensor *power(pleat_tensor *x, pleat_tensor *y) {
    pleat_tensor *zero = pleat_zeros_like(x), *half = pleat_scale(y, 0.5);
    pleat_tensor *odd = pleat_ne(pleat_floor(half), half), *one = pleat_full_like(odd, 1);
    pleat_tensor *size = pleat_exp(pleat_mul(y, pleat_log(pleat_abs(x))));
    pleat_tensor *sign = pleat_where(odd, pleat_neg(one), one);
    sign = pleat_where(pleat_ne(pleat_floor(y), y), pleat_full_like(y, NAN), sign);
    pleat_tensor *z = pleat_where(pleat_lt(x, zero), pleat_mul(sign, size), size);
    return pleat_where(pleat_eq(y, pleat_zeros_like(y)), pleat_full_like(y, 1), z);
}

static bool pow_of(pln_onnx_run *run, const pln_onnx_node *n, const pln_onnx_value *in, pln_onnx_value *out) {
    double exponent;
    (void)run, (void)n;
    if (pleat_numel(in[1].t) == 1 && pleat_rank(in[1].t) <= pleat_rank(in[0].t) && !pleat_call_of(in[1].t)) {
        pleat_read_f64(in[1].t, &exponent);
        out[0].t = exponent == 2 ? pleat_square(in[0].t) : pleat_pow(in[0].t, exponent);
        return true;
    }
    pleat_tensor *y = power(pleat_cast(in[0].t, PLEAT_F64), pleat_cast(in[1].t, PLEAT_F64));
    out[0].t = pleat_cast(y, pln_onnx_dtype(in[0].type));
    return true;
}

const pln_onnx_row pln_onnx_arithmetic[] = {
    {"Add", 7, 17, "nn", 1, add, .attrs = "", .weights = 3, .wraps = true},
    {"Sub", 7, 17, "nn", 1, sub, .attrs = "", .weights = 3, .wraps = true},
    {"Mul", 7, 17, "nn", 1, mul, .attrs = "", .weights = 3, .wraps = true},
    {"Div", 7, 17, "nn", 1, divide, .attrs = "", .weights = 3, .wraps = true},
    {"Mod", 10, 17, "nn", 1, mod, .attrs = "fmod:i", .wraps = true},
    {"Pow", 7, 17, "nn", 1, pow_of, .attrs = "", .wraps = true},
    {"Min", 6, 17, "n+", 1, least, .attrs = "", .wraps = true},
    {"Max", 6, 17, "n+", 1, most, .attrs = "", .wraps = true},
    {"Sum", 6, 17, "f+", 1, add, .attrs = ""},
    {"Mean", 6, 17, "f+", 1, mean, .attrs = ""},
    {0},
};

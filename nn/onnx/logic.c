/* Comparisons, truths and the choice by them. Truths are tensors of f64 without a history: 0 or 1. */
#include <float.h>
#include <math.h>

#include "onnx/onnx.h"

#define COMPARISON(name, op)                                                                       \
    static bool name(pln_onnx_run *run, const pln_onnx_node *n, const pln_onnx_value *in,          \
                     pln_onnx_value *out) {                                                        \
        if (in[0].type != in[1].type) return pln_onnx_refuse(run, n, "its inputs have two types"); \
        out[0] = pln_onnx_truths(op(in[0].t, in[1].t));                                            \
        return true;                                                                               \
    }

COMPARISON(greater, pleat_gt)
COMPARISON(greater_equal, pleat_ge)
COMPARISON(less, pleat_lt)
COMPARISON(less_equal, pleat_le)
COMPARISON(equal, pleat_eq)
COMPARISON(both, pleat_mul)
COMPARISON(either, pleat_maximum)
COMPARISON(one_of, pleat_ne)

static bool not(pln_onnx_run * run, const pln_onnx_node *n, const pln_onnx_value *in, pln_onnx_value *out) {
    (void)run, (void)n;
    out[0] = pln_onnx_truths(pleat_eq(in[0].t, pleat_zeros_like(in[0].t)));
    return true;
}

static bool is_nan(pln_onnx_run *run, const pln_onnx_node *n, const pln_onnx_value *in, pln_onnx_value *out) {
    (void)run, (void)n;
    out[0] = pln_onnx_truths(pleat_ne(in[0].t, in[0].t));
    return true;
}

static bool is_inf(pln_onnx_run *run, const pln_onnx_node *n, const pln_onnx_value *in, pln_onnx_value *out) {
    bool positive = pln_onnx_int(n, "detect_positive", 1) != 0,
         negative = pln_onnx_int(n, "detect_negative", 1) != 0;
    pleat_tensor *x = pleat_cast(in[0].t, PLEAT_F64), *largest = pleat_full_like(x, DBL_MAX);
    (void)run;
    pleat_tensor *above = pleat_scale(pleat_gt(x, largest), positive),
                 *below = pleat_scale(pleat_lt(x, pleat_neg(largest)), negative);
    out[0] = pln_onnx_truths(pleat_maximum(above, below));
    return true;
}

static bool where(pln_onnx_run *run, const pln_onnx_node *n, const pln_onnx_value *in, pln_onnx_value *out) {
    if (in[1].type != in[2].type) return pln_onnx_refuse(run, n, "its inputs have two types");
    out[0] = (pln_onnx_value){pleat_where(pln_onnx_mask(in[0], pln_onnx_dtype(in[1].type)), in[1].t, in[2].t),
                              in[1].type};
    return true;
}

const pln_onnx_row pln_onnx_logic[] = {
    {"Greater", 7, 17, "nn", 1, greater, .attrs = ""},
    {"GreaterOrEqual", 12, 17, "nn", 1, greater_equal, .attrs = ""},
    {"Less", 7, 17, "nn", 1, less, .attrs = ""},
    {"LessOrEqual", 12, 17, "nn", 1, less_equal, .attrs = ""},
    {"Equal", 7, 17, "aa", 1, equal, .attrs = ""},
    {"And", 7, 17, "bb", 1, both, .attrs = ""},
    {"Or", 7, 17, "bb", 1, either, .attrs = ""},
    {"Xor", 7, 17, "bb", 1, one_of, .attrs = ""},
    {"Not", 1, 17, "b", 1, not, .attrs = ""},
    {"IsNaN", 9, 17, "f", 1, is_nan, .attrs = ""},
    {"IsInf", 10, 17, "f", 1, is_inf, .attrs = "detect_negative:i detect_positive:i"},
    {"Where", 9, 17, "baa", 1, where, .attrs = ""},
    {0},
};

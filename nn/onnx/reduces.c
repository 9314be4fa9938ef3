/* Reductions along axes, which are an attribute, and for ReduceSum from opset 13 on an input. */
#include "onnx/parts.h"

typedef pleat_tensor *reduction(pleat_sum_args a);

/* The product: halves are multiplied until one element is left. */
static pleat_tensor *product(pleat_sum_args a) {
    pleat_tensor *x = a.x;
    size_t shape[PLEAT_MAX_RANK], rank = 0;
    for (size_t k = 0; k < pleat_rank(x); k++) {
        bool summed = a.axes >> k & 1;
        if (!summed || a.keep) shape[rank++] = summed ? 1 : pleat_size(x, k);
        if (summed && pleat_size(x, k) == 0) return pleat_shift(pleat_sum_with(a), 1);
        for (size_t n; summed && (n = pleat_size(x, k)) > 1;) {
            size_t half = n / 2;
            pleat_tensor *y = pleat_mul(pln_onnx_cut(x, k, 0, half, 1), pln_onnx_cut(x, k, half, half, 1));
            x = n % 2 ? pleat_concat(2, (pleat_tensor *[]){y, pln_onnx_cut(x, k, n - 1, 1, 1)}, k) : y;
            if (pleat_is_poison(x)) return x;
        }
    }
    return pleat_reshape(x, rank, shape);
}

static bool reduce(const pln_onnx_run *run, const pln_onnx_node *n, const pln_onnx_value *in, pleat_tensor *x,
                   reduction *f, pln_onnx_value *out) {
    pln_onnx_list list;
    unsigned axes;
    if (!pln_onnx_list_of(run, n, "axes", in[1], &list) ||
        !pln_onnx_axes(run, n, &list, pleat_rank(x), &axes))
        return false;
    if (!axes && pln_onnx_int(n, "noop_with_empty_axes", 0)) return out[0].t = x, true;
    if (!axes) axes = (1u << pleat_rank(x)) - 1;
    out[0].t = f((pleat_sum_args){.x = x, .axes = axes, .keep = pln_onnx_int(n, "keepdims", 1) != 0});
    return true;
}

/* A rule: the reduction f of `before` of x, and `behind` of its result, which is y. */
#define REDUCE(name, f, before, behind)                                                   \
    static bool name(pln_onnx_run *run, const pln_onnx_node *n, const pln_onnx_value *in, \
                     pln_onnx_value *out) {                                               \
        pleat_tensor *x = in[0].t;                                                        \
        if (!reduce(run, n, in, before, f, out)) return false;                            \
        pleat_tensor *y = out[0].t;                                                       \
        out[0].t = behind;                                                                \
        return true;                                                                      \
    }

REDUCE(sum, pleat_sum_with, x, y)
REDUCE(mean, pleat_mean_with, x, y)
REDUCE(most, pleat_amax_with, x, y)
REDUCE(least, pleat_amin_with, x, y)
REDUCE(prod, product, x, y)
REDUCE(l1, pleat_sum_with, pleat_abs(x), y)
REDUCE(l2, pleat_sum_with, pleat_square(x), pleat_sqrt(y))
REDUCE(sum_square, pleat_sum_with, pleat_square(x), y)
REDUCE(log_sum, pleat_sum_with, x, pleat_log(y))
REDUCE(log_sum_exp, pleat_log_sum_exp_with, x, y)

#define ATTRS "axes:I keepdims:i"

const pln_onnx_row pln_onnx_reduces[] = {
    {"ReduceSum", 1, 12, "n", 1, sum, .attrs = ATTRS, .wraps = true},
    {"ReduceSum", 13, 17, "nW", 1, sum, .attrs = "keepdims:i noop_with_empty_axes:i", .wraps = true},
    {"ReduceMean", 1, 17, "f", 1, mean, .attrs = ATTRS},
    {"ReduceMax", 1, 17, "n", 1, most, .attrs = ATTRS},
    {"ReduceMin", 1, 17, "n", 1, least, .attrs = ATTRS},
    {"ReduceProd", 1, 17, "n", 1, prod, .attrs = ATTRS, .wraps = true},
    {"ReduceL1", 1, 17, "n", 1, l1, .attrs = ATTRS, .wraps = true},
    {"ReduceL2", 1, 17, "f", 1, l2, .attrs = ATTRS},
    {"ReduceSumSquare", 1, 17, "n", 1, sum_square, .attrs = ATTRS, .wraps = true},
    {"ReduceLogSum", 1, 17, "f", 1, log_sum, .attrs = ATTRS},
    {"ReduceLogSumExp", 1, 17, "f", 1, log_sum_exp, .attrs = ATTRS},
    {0},
};

/* Softmax and its kin. Before opset 13 the axes from `axis` on are one. */
#include "onnx/parts.h"

typedef pleat_tensor *along(pleat_tensor *x, size_t axis);

static bool by_axis(const pln_onnx_run *run, const pln_onnx_node *n, pleat_tensor *x, along *f,
                    pln_onnx_value *out) {
    size_t axis, rank = pleat_rank(x), rows = 1, columns = 1;
    bool flat = n->opset < 13;
    if (!pln_onnx_axis(run, n, pln_onnx_int(n, "axis", flat ? 1 : -1), rank, &axis)) return false;
    if (!flat) return out[0].t = f(x, axis), true;
    for (size_t k = 0; k < rank; k++) *(k < axis ? &rows : &columns) *= pleat_size(x, k);
    out[0].t = pleat_reshape(f(pleat_reshape(x, PLEAT_SHAPE(rows, columns)), 1), rank, pleat_shape(x));
    return true;
}

/* 1 at the first largest, 0 elsewhere: of all that are largest, the one whose running count is 1 */
static pleat_tensor *hardmax_of(pleat_tensor *x, size_t axis) {
    pleat_tensor *largest = pleat_eq(x, pleat_amax(x, .axes = 1u << axis, .keep = true));
    return pleat_mul(largest, pleat_eq(pleat_cumsum(largest, axis), pleat_full_like(largest, 1)));
}

static bool softmax(pln_onnx_run *run, const pln_onnx_node *n, const pln_onnx_value *in,
                    pln_onnx_value *out) {
    return by_axis(run, n, in[0].t, pleat_softmax, out);
}
static bool log_softmax(pln_onnx_run *run, const pln_onnx_node *n, const pln_onnx_value *in,
                        pln_onnx_value *out) {
    return by_axis(run, n, in[0].t, pleat_log_softmax, out);
}
static bool hardmax(pln_onnx_run *run, const pln_onnx_node *n, const pln_onnx_value *in,
                    pln_onnx_value *out) {
    return by_axis(run, n, in[0].t, hardmax_of, out);
}

const pln_onnx_row pln_onnx_softmaxes[] = {
    {"Softmax", 1, 17, "f", 1, softmax, .attrs = "axis:i"},
    {"LogSoftmax", 1, 17, "f", 1, log_softmax, .attrs = "axis:i"},
    {"Hardmax", 1, 17, "f", 1, hardmax, .attrs = "axis:i"},
    {0},
};

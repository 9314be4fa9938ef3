/* Matrix products. */
#include <string.h>

#include "onnx/onnx.h"

/* A vector is a matrix of one row, as the second factor of one column, and the axis goes again. */
static bool matmul(pln_onnx_run *run, const pln_onnx_node *n, const pln_onnx_value *in, pln_onnx_value *out) {
    pleat_tensor *a = in[0].t, *b = in[1].t;
    size_t ranks[2] = {pleat_rank(a), pleat_rank(b)}, shape[PLEAT_MAX_RANK], rank = 0;
    if (in[0].type != in[1].type || !ranks[0] || !ranks[1])
        return pln_onnx_refuse(run, n, "it takes two tensors of one type, and of rank 1 or more");
    if (ranks[0] == 1) a = pleat_reshape(a, PLEAT_SHAPE(1, pleat_size(a, 0)));
    if (ranks[1] == 1) b = pleat_reshape(b, PLEAT_SHAPE(pleat_size(b, 0), 1));
    pleat_tensor *y = pleat_matmul(a, b);
    for (size_t k = 0; k < pleat_rank(y); k++) {
        bool row = k + 2 == pleat_rank(y), column = k + 1 == pleat_rank(y);
        if (!(row && ranks[0] == 1) && !(column && ranks[1] == 1)) shape[rank++] = pleat_size(y, k);
    }
    out[0].t = rank == pleat_rank(y) ? y : pleat_reshape(y, rank, shape);
    return true;
}

static double matmul_macs(const pln_onnx_value *in, const pleat_tensor *y) {
    return (double)pleat_numel(y) * (double)pleat_size(in[0].t, pleat_rank(in[0].t) - 1);
}

/* alpha A B + beta C, with A and B transposed if need be */
static bool gemm(pln_onnx_run *run, const pln_onnx_node *n, const pln_onnx_value *in, pln_onnx_value *out) {
    if (pleat_rank(in[0].t) != 2 || pleat_rank(in[1].t) != 2)
        return pln_onnx_refuse(run, n, "inputs of rank %zu and %zu; they must be matrices",
                               pleat_rank(in[0].t), pleat_rank(in[1].t));
    double alpha = pln_onnx_real(n, "alpha", 1), beta = pln_onnx_real(n, "beta", 1);
    pleat_tensor *y = pleat_matmul(in[0].t, in[1].t, .ta = pln_onnx_int(n, "transA", 0) != 0,
                                   .tb = pln_onnx_int(n, "transB", 0) != 0);
    if (alpha != 1) y = pleat_scale(y, alpha);
    if (in[2].t && beta != 0) y = pleat_add(y, beta == 1 ? in[2].t : pleat_scale(in[2].t, beta));
    out[0].t = y;
    return true;
}

static double gemm_macs(const pln_onnx_value *in, const pleat_tensor *y) {
    return pleat_size(y, 0) ? (double)pleat_size(y, 1) * (double)pleat_numel(in[0].t) : 0;
}

const pln_onnx_row pln_onnx_products[] = {
    {"MatMul", 1, 17, "nn", 1, matmul, .attrs = "", .weights = 3, .wraps = true, .macs = matmul_macs},
    {"Gemm", 7, 17, "ffF", 1, gemm, .attrs = "alpha:f beta:f transA:i transB:i", .weights = 6,
     .macs = gemm_macs},
    {0},
};

/* Losses by classes: of logarithms of probabilities, and of scores. */
#include <math.h>
#include <string.h>

#include "onnx/onnx.h"

/* The weight of each target, 0 for one that is ignored, and its class; false after an error. */
static bool read_targets(const pln_onnx_run *run, const pln_onnx_node *n, size_t C, const pln_onnx_value *in,
                         double *weight, size_t *class) {
    size_t count = pleat_numel(in[1].t);
    double *numbers = pln_onnx_read(run, n, in[1].t),
           *table = in[2].t ? pln_onnx_read(run, n, in[2].t) : NULL;
    bool ignores = pln_onnx_has(n, "ignore_index"), good = numbers && (table || !in[2].t);
    int64_t ignored = pln_onnx_int(n, "ignore_index", 0);
    for (size_t i = 0; i < count && good; i++) {
        int64_t v = pln_onnx_whole(numbers[i]);
        bool skip = ignores && v == ignored;
        good = skip || (v >= 0 && (uint64_t)v < C);
        class[i] = skip || !good ? 0 : (size_t)v;
        weight[i] = skip ? 0 : table ? table[class[i]] : 1;
        if (!good) pln_onnx_refuse(run, n, "target %zu is %jd; there are %zu classes", i, (intmax_t)v, C);
    }
    return good;
}

/* - weight x[target], its sum, or its mean by the weights, of x [N,C,..] */
static bool pick(pln_onnx_run *run, const pln_onnx_node *n, pleat_tensor *x, const pln_onnx_value *in,
                 pln_onnx_value *out) {
    static const char *const words[] = {"mean", "none", "sum", NULL};
    size_t mode, C = pleat_size(x, 1), count = pleat_numel(in[1].t), shape[PLEAT_MAX_RANK],
                 rank = pleat_rank(x);
    bool fits = rank >= 2 && pleat_rank(in[1].t) + 1 == rank && (!in[2].t || pleat_numel(in[2].t) == C);
    for (size_t k = 0; fits && k + 1 < rank; k++) fits = pleat_size(in[1].t, k) == pleat_size(x, k + (k > 0));
    if (!fits) return pln_onnx_refuse(run, n, "it takes scores [N,C,..], targets [N,..] and weights [C]");
    if (!pln_onnx_word(run, n, "reduction", words, &mode)) return false;
    memcpy(shape, pleat_shape(x), rank * sizeof *shape);
    shape[1] = 1;
    double *weight = pln_onnx_room(run, n, count, sizeof *weight);
    size_t *class = pln_onnx_room(run, n, count, sizeof *class);
    bool good = weight && class && read_targets(run, n, C, in, weight, class);
    if (good) {
        pleat_tensor *w =
            pleat_from_f64(run->ctx, pleat_dtype_of(x), pleat_rank(in[1].t), pleat_shape(in[1].t), weight);
        pleat_tensor *picked = pleat_reshape(pleat_gather(x, 1, shape, class), pleat_rank(w), pleat_shape(w));
        pleat_tensor *y = pleat_neg(pleat_mul(picked, w));
        out[0].t = mode == 1 ? y : mode == 2 ? pleat_sum(y) : pleat_div(pleat_sum(y), pleat_sum(w));
    }
    return good;
}

static bool nll(pln_onnx_run *run, const pln_onnx_node *n, const pln_onnx_value *in, pln_onnx_value *out) {
    return pick(run, n, in[0].t, in, out);
}

static bool cross_entropy(pln_onnx_run *run, const pln_onnx_node *n, const pln_onnx_value *in,
                          pln_onnx_value *out) {
    pleat_tensor *x = pleat_rank(in[0].t) > 1 ? pleat_log_softmax(in[0].t, 1) : in[0].t;
    out[1].t = x;
    return pick(run, n, x, in, out);
}

const pln_onnx_row pln_onnx_losses[] = {
    {"NegativeLogLikelihoodLoss", 12, 17, "fwF", 1, nll, .attrs = "ignore_index:i reduction:s"},
    {"SoftmaxCrossEntropyLoss", 12, 17, "fwF", 2, cross_entropy, .attrs = "ignore_index:i reduction:s"},
    {0},
};

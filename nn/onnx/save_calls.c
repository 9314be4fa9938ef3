/* Calls as nodes of ONNX: a row for each op. */
#include <string.h>

#include "onnx/save.h"

/* ---- attributes ------------------------------------------------------------------------------------------------- */

static int64_t whole(const pleat_call *c, const char *name, size_t i) {
    pleat_attr a;
    if (!pleat_call_attribute(c, name, &a) || i >= a.count) return 0;
    return a.list ? (int64_t)a.list[i] : a.whole[i];
}

/* The only real option of c, or that of this name. */
static double real(const pleat_call *c, const char *name) {
    pleat_attr a;
    return pleat_call_attribute(c, name, &a) ? a.real[0] : 0;
}

static void put_pair(pleat_onnx *s, const char *as, const char *name) {
    int64_t pair[2] = {whole(s->call, name, 0), whole(s->call, name, 1)};
    pleat_onnx_put_ints(s, as, 2, pair);
}

static size_t size_in(const pleat_onnx *s, size_t k) { return pleat_size(s->call->in[0], k); }

/* ---- nodes of several rows ----------------------------------------------------------------------------------------- */

/* A node that reads all inputs of the call. */
static bool plain(pleat_onnx *s, const char *op) {
    pleat_onnx_begin(s, op);
    for (size_t i = 0; i < s->call->n; i++) pleat_onnx_input(s, i);
    pleat_onnx_end(s);
    return true;
}

/* A node that reads what the one before it made. */
static void then(pleat_onnx *s, const char *op) {
    pln_onnx_name x = s->at;
    pleat_onnx_begin(s, op);
    pln_onnx_input_at(s, x);
    pleat_onnx_end(s);
}

static void then_clip(pleat_onnx *s, double low, double high) {
    pln_onnx_name x = s->at;
    pleat_onnx_begin(s, "Clip");
    pln_onnx_input_at(s, x);
    pleat_onnx_input_real(s, low), pleat_onnx_input_real(s, high);
    pleat_onnx_end(s);
}

/* The relu or relu6 that ends c. */
static bool rectified(pleat_onnx *s) {
    if (whole(s->call, "relu", 0)) then(s, "Relu");
    if (whole(s->call, "relu6", 0)) then_clip(s, 0, 6);
    return true;
}

static bool with_number(pleat_onnx *s, const char *op, double v) {
    pleat_onnx_begin(s, op);
    pleat_onnx_input(s, 0);
    pleat_onnx_input_real(s, v);
    pleat_onnx_end(s);
    return true;
}

static bool reshaped(pleat_onnx *s, size_t n, const int64_t *shape) {
    pln_onnx_name x = s->at;
    pleat_onnx_begin(s, "Reshape");
    pln_onnx_input_at(s, x);
    pleat_onnx_input_ints(s, n, shape);
    pleat_onnx_end(s);
    return true;
}

/* ---- element by element ---------------------------------------------------------------------------------------------- */

static bool element(pleat_onnx *s) { return plain(s, s->row->node); }

static bool with_alpha(pleat_onnx *s) {
    pleat_onnx_begin(s, s->row->node);
    pleat_onnx_input(s, 0);
    pleat_onnx_put_real(s, "alpha", real(s->call, s->row->node[0] == 'E' ? "a" : "slope"));
    pleat_onnx_end(s);
    return true;
}

static bool scale(pleat_onnx *s) { return with_number(s, s->row->node, real(s->call, "a")); }

static bool square(pleat_onnx *s) {
    pleat_onnx_begin(s, "Mul");
    pleat_onnx_input(s, 0), pleat_onnx_input(s, 0);
    pleat_onnx_end(s);
    return true;
}

static bool clip(pleat_onnx *s) {
    bool six = s->row->op[0] == 'r';
    s->at = pln_onnx_source(s, 0);
    then_clip(s, six ? 0 : real(s->call, "low"), six ? 6 : real(s->call, "high"));
    return true;
}

static bool add_relu(pleat_onnx *s) {
    plain(s, "Add");
    then(s, "Relu");
    return true;
}

static bool silu(pleat_onnx *s) {
    pln_onnx_name y;
    plain(s, "Sigmoid"), y = s->at;
    pleat_onnx_begin(s, "Mul");
    pleat_onnx_input(s, 0), pln_onnx_input_at(s, y);
    pleat_onnx_end(s);
    return true;
}

/* (x/2) (1 + erf(x sqrt(1/2))) */
static bool gelu(pleat_onnx *s) {
    with_number(s, "Mul", 0.70710678118654752440);
    then(s, "Erf");
    pln_onnx_name erf = s->at, half;
    pleat_onnx_begin(s, "Add");
    pln_onnx_input_at(s, erf), pleat_onnx_input_real(s, 1);
    pleat_onnx_end(s);
    erf = s->at;
    with_number(s, "Mul", 0.5), half = s->at;
    pleat_onnx_begin(s, "Mul");
    pln_onnx_input_at(s, half), pln_onnx_input_at(s, erf);
    pleat_onnx_end(s);
    return true;
}

/* The slope of a channel stands along the axis of channels. */
static bool prelu(pleat_onnx *s) {
    size_t rank = pleat_rank(s->call->in[0]);
    pleat_onnx_begin(s, "PRelu");
    pleat_onnx_input(s, 0);
    pln_onnx_input_as(s, 1, pleat_numel(s->call->in[1]) > 1 && rank > 1 ? rank - 1 : 1);
    pleat_onnx_end(s);
    return true;
}

/* ---- products and convolutions ---------------------------------------------------------------------------------------- */

static bool matmul(pleat_onnx *s) {
    bool ta = whole(s->call, "ta", 0), tb = whole(s->call, "tb", 0),
         flat = pleat_rank(s->call->in[0]) == 2 && pleat_rank(s->call->in[1]) == 2;
    if (!ta && !tb) return plain(s, "MatMul");
    if (!flat) return pleat_onnx_refuse(s, "a product of transposed matrices of rank 3 and more");
    pleat_onnx_begin(s, "Gemm");
    pleat_onnx_input(s, 0), pleat_onnx_input(s, 1);
    pleat_onnx_put_int(s, "transA", ta), pleat_onnx_put_int(s, "transB", tb);
    pleat_onnx_end(s);
    return true;
}

/* A transpose has its size by pads at the end, which may be negative there: then by output_padding. */
static bool put_geometry(pleat_onnx *s, bool forward) {
    int64_t pads[4], more[2] = {0, 0};
    const size_t *kernel = pleat_shape(s->call->in[1]) + 2;
    for (size_t k = 0; k < 4; k++) pads[k] = whole(s->call, "pads", k);
    for (size_t k = 0; k < 2; k++) {
        int64_t stride = whole(s->call, "stride", k),
                reach = (int64_t)(kernel[k] - 1) * whole(s->call, "dilation", k);
        int64_t in = (int64_t)size_in(s, 2 + k), out = (int64_t)s->call->shape[2 + k];
        int64_t end = forward ? (out - 1) * stride + reach + 1 - in - pads[k]
                              : (in - 1) * stride + reach + 1 - out - pads[k];
        if (forward && end < pads[2 + k])
            end = pads[2 + k] > 0 ? pads[2 + k] : 0; /* pixels that no window reaches */
        if (forward && (in + pads[k] + end - reach - 1) / stride + 1 != out)
            return pleat_onnx_refuse(s, "a map that is smaller than its image gives");
        if (!forward && end < pads[2 + k]) more[k] = pads[2 + k] - end, end = pads[2 + k];
        pads[2 + k] = end;
        if (pads[k] < 0 || end < 0 || more[k] >= stride) return pleat_onnx_refuse(s, "a negative pad");
    }
    pleat_onnx_put_ints(s, "kernel_shape", 2, (int64_t[]){(int64_t)kernel[0], (int64_t)kernel[1]});
    put_pair(s, "strides", "stride"), put_pair(s, "dilations", "dilation");
    pleat_onnx_put_ints(s, "pads", 4, pads);
    pleat_onnx_put_int(s, "group", whole(s->call, "groups", 0));
    if (more[0] || more[1]) pleat_onnx_put_ints(s, "output_padding", 2, more);
    return true;
}

static void batch_norm(pleat_onnx *s, pln_onnx_name x, size_t from);

static bool conv(pleat_onnx *s) {
    size_t of_norm = (size_t)whole(s->call, "norm", 0), bias = s->call->n - of_norm > 2;
    pleat_onnx_begin(s, s->row->node);
    pleat_onnx_input(s, 0), pleat_onnx_input(s, 1);
    if (bias) pleat_onnx_input(s, 2);
    if (!put_geometry(s, s->row->node[4] == '\0')) return false;
    pleat_onnx_end(s);
    if (of_norm) batch_norm(s, s->at, 2 + bias);
    return rectified(s);
}

/* ---- norms -------------------------------------------------------------------------------------------------------------- */

/* The call that made t, of that op; NULL if it is another. */
static const pleat_call *made_by(const pleat_onnx *s, const pleat_tensor *t, const char *op) {
    const pleat_call *c;
    for (size_t i = 0; (c = pleat_prepared_call(s->p, i)) != NULL; i++)
        if (c->out == t) return !strcmp(c->op->name, op) ? c : NULL;
    return NULL;
}

static void equal(pleat_onnx *s, size_t n, double v) { pln_onnx_input_filled(s, n, v); }

/* By given statistics: mean, factor and perhaps bias from input `from` on. The factor is weight (var + eps)^-1/2, of which
 * the weight and the variance are found again; of any other factor it is the weight, with a variance of 1. */
static void batch_norm(pleat_onnx *s, pln_onnx_name x, size_t from) {
    const pleat_tensor *factor = s->call->in[from + 1];
    const pleat_call *mul = made_by(s, factor, "mul"), *pow = made_by(s, mul ? mul->in[0] : factor, "pow");
    const pleat_call *shift = pow ? made_by(s, pow->in[0], "shift") : NULL;
    size_t C = pleat_numel(factor);
    pleat_onnx_begin(s, "BatchNormalization");
    pln_onnx_input_at(s, x);
    if (!shift)
        pleat_onnx_input(s, from + 1);
    else if (mul)
        pln_onnx_input_of(s, mul->in[1], 0);
    else
        equal(s, C, 1);
    if (from + 2 < s->call->n)
        pleat_onnx_input(s, from + 2);
    else
        equal(s, C, 0);
    pleat_onnx_input(s, from);
    if (shift)
        pln_onnx_input_of(s, shift->in[0], 0);
    else
        equal(s, C, 1);
    pleat_onnx_put_real(s, "epsilon", shift ? real(shift, "a") : 0);
    pleat_onnx_end(s);
}

static bool rescale(pleat_onnx *s) {
    batch_norm(s, pln_onnx_source(s, 0), 1);
    return rectified(s);
}

static void affine(pleat_onnx *s, size_t rank) {
    bool weight = !whole(s->call, "no_weight", 0);
    for (size_t i = 1; i < s->call->n; i++) {
        pln_onnx_name x = s->at;
        pleat_onnx_begin(s, i == 1 && weight ? "Mul" : "Add");
        pln_onnx_input_at(s, x);
        pln_onnx_input_as(s, i, rank);
        pleat_onnx_end(s);
    }
}

/* The groups as channels of an InstanceNormalization, then weight and bias; with weight and bias alone if each channel is a group. */
static bool group_norm(pleat_onnx *s) {
    size_t G = (size_t)whole(s->call, "groups", 0), rank = s->call->rank;
    bool each = G == size_in(s, 1) && s->call->n == 3;
    int64_t shape[PLEAT_MAX_RANK] = {0};
    for (size_t k = 1; k < rank; k++) shape[k] = (int64_t)s->call->shape[k];
    s->at = pln_onnx_source(s, 0);
    if (!each) reshaped(s, 3, (int64_t[]){0, (int64_t)G, -1});
    pln_onnx_name x = s->at;
    pleat_onnx_begin(s, "InstanceNormalization");
    pln_onnx_input_at(s, x);
    if (each)
        pleat_onnx_input(s, 1), pleat_onnx_input(s, 2);
    else
        equal(s, G, 1), equal(s, G, 0);
    pleat_onnx_put_real(s, "epsilon", real(s->call, "eps"));
    pleat_onnx_end(s);
    if (!each) reshaped(s, rank, shape), affine(s, rank - 1);
    return rectified(s);
}

static bool layer_norm(pleat_onnx *s) {
    if (s->call->n < 2 || whole(s->call, "no_weight", 0))
        return pleat_onnx_refuse(s, "a layer norm without weight");
    pleat_onnx_begin(s, "LayerNormalization");
    for (size_t i = 0; i < s->call->n; i++) pleat_onnx_input(s, i);
    pleat_onnx_put_int(s, "axis", -whole(s->call, "axes", 0));
    pleat_onnx_put_real(s, "epsilon", real(s->call, "eps"));
    pleat_onnx_end(s);
    return rectified(s);
}

/* ---- pools and resizes ---------------------------------------------------------------------------------------------------- */

static bool pool(pleat_onnx *s) {
    bool max = s->row->op[0] == 'm';
    pleat_onnx_begin(s, s->row->node);
    pleat_onnx_input(s, 0);
    put_pair(s, "kernel_shape", "kernel"), put_pair(s, "strides", "stride");
    int64_t h = whole(s->call, "pad", 0), w = whole(s->call, "pad", 1);
    pleat_onnx_put_ints(s, "pads", 4, (int64_t[]){h, w, h, w});
    pleat_onnx_put_int(s, "ceil_mode", whole(s->call, "ceil_mode", 0));
    if (max)
        put_pair(s, "dilations", "dilation");
    else
        pleat_onnx_put_int(s, "count_include_pad", !whole(s->call, "exclude_pad", 0));
    pleat_onnx_end(s);
    return true;
}

/* Means over windows of one size, which ONNX has. */
static bool adaptive_pool(pleat_onnx *s) {
    int64_t size[2];
    for (size_t k = 0; k < 2; k++) {
        if (size_in(s, 2 + k) % s->call->shape[2 + k])
            return pleat_onnx_refuse(s, "an adaptive pool of uneven windows");
        size[k] = (int64_t)(size_in(s, 2 + k) / s->call->shape[2 + k]);
    }
    if (s->call->shape[2] == 1 && s->call->shape[3] == 1) return plain(s, "GlobalAveragePool");
    pleat_onnx_begin(s, "AveragePool");
    pleat_onnx_input(s, 0);
    pleat_onnx_put_ints(s, "kernel_shape", 2, size), pleat_onnx_put_ints(s, "strides", 2, size);
    pleat_onnx_end(s);
    return true;
}

/* By the sizes of H and W as factors. */
static bool resize(pleat_onnx *s) {
    bool align = whole(s->call, "align_corners", 0), near = s->row->node[0] == 'n';
    if (whole(s->call, "antialias", 0)) return pleat_onnx_refuse(s, "antialiasing");
    double factor[4] = {1, 1};
    for (size_t k = 2; k < 4; k++) factor[k] = (double)s->call->shape[k] / (double)size_in(s, k);
    pleat_onnx_begin(s, "Resize");
    pleat_onnx_input(s, 0);
    pln_onnx_input_at(s, (pln_onnx_name){""}); /* no roi */
    pln_onnx_input_floats(s, 4, factor);
    pleat_onnx_put_text(s, "mode", s->row->node);
    pleat_onnx_put_text(s, "coordinate_transformation_mode",
                        near    ? "asymmetric"
                        : align ? "align_corners"
                                : "half_pixel");
    if (near) pleat_onnx_put_text(s, "nearest_mode", "floor");
    pleat_onnx_end(s);
    return true;
}

/* ---- shapes --------------------------------------------------------------------------------------------------------------- */

/* The first axis is the batch's, and stays open. */
static bool reshape(pleat_onnx *s) {
    int64_t shape[PLEAT_MAX_RANK];
    size_t N = pleat_size(pleat_prepared_x(s->p), 0);
    if (!s->call->rank || size_in(s, 0) % N || s->call->shape[0] % N)
        return pleat_onnx_refuse(s, "a shape whose first axis is not the batch's");
    for (size_t k = 0; k < s->call->rank; k++) shape[k] = (int64_t)s->call->shape[k];
    shape[0] = s->call->shape[0] == size_in(s, 0) ? 0 : -1;
    s->at = pln_onnx_source(s, 0);
    return reshaped(s, s->call->rank, shape);
}

static bool permute(pleat_onnx *s) {
    int64_t order[PLEAT_MAX_RANK];
    for (size_t k = 0; k < s->call->rank; k++) order[k] = whole(s->call, "order", k);
    pleat_onnx_begin(s, "Transpose");
    pleat_onnx_input(s, 0);
    pleat_onnx_put_ints(s, "perm", s->call->rank, order);
    pleat_onnx_end(s);
    return true;
}

static bool with_axis(pleat_onnx *s) {
    pleat_onnx_begin(s, s->row->node);
    for (size_t i = 0; i < s->call->n; i++) pleat_onnx_input(s, i);
    pleat_onnx_put_int(s, "axis", whole(s->call, "axis", 0));
    pleat_onnx_end(s);
    return true;
}

static bool index_select(pleat_onnx *s) {
    pleat_attr a;
    if (!pleat_call_attribute(s->call, "index", &a) || !a.list || whole(s->call, "axis", 0) == 0)
        return pleat_onnx_refuse(s, "these indices");
    pleat_onnx_begin(s, "Gather");
    pleat_onnx_input(s, 0);
    pln_onnx_input_indices(s, a.count, a.list);
    pleat_onnx_put_int(s, "axis", whole(s->call, "axis", 0));
    pleat_onnx_end(s);
    return true;
}

static bool mean(pleat_onnx *s) {
    pleat_attr axes;
    if (!pleat_call_attribute(s->call, "axes", &axes)) return pleat_onnx_refuse(s, "unknown axes");
    pleat_onnx_begin(s, s->row->node);
    pleat_onnx_input(s, 0);
    if (s->row->op[0] == 's')
        pleat_onnx_input_ints(s, axes.count, axes.whole);
    else
        pleat_onnx_put_ints(s, "axes", axes.count, axes.whole);
    pleat_onnx_put_int(s, "keepdims", whole(s->call, "keep", 0));
    pleat_onnx_end(s);
    return true;
}

/* ---- the table ------------------------------------------------------------------------------------------------------------- */

static const pln_onnx_form rows[] = {
    {"conv2d", "Conv", conv},
    {"conv2d_transpose", "ConvTranspose", conv},
    {"matmul", "MatMul", matmul},
    {"rescale", "BatchNormalization", rescale},
    {"group_norm", "InstanceNormalization", group_norm},
    {"layer_norm", "LayerNormalization", layer_norm},
    {"max_pool2d", "MaxPool", pool},
    {"avg_pool2d", "AveragePool", pool},
    {"adaptive_avg_pool2d", "AveragePool", adaptive_pool},
    {"resize_nearest", "nearest", resize},
    {"resize_bilinear", "linear", resize},
    {"reshape", "Reshape", reshape},
    {"permute", "Transpose", permute},
    {"concat", "Concat", with_axis},
    {"softmax", "Softmax", with_axis},
    {"log_softmax", "LogSoftmax", with_axis},
    {"index_select", "Gather", index_select},
    {"mean", "ReduceMean", mean},
    {"sum", "ReduceSum", mean},
    {"contiguous", "Identity", element},
    {"detach", "Identity", element},
    {"add", "Add", element},
    {"sub", "Sub", element},
    {"mul", "Mul", element},
    {"div", "Div", element},
    {"maximum", "Max", element},
    {"minimum", "Min", element},
    {"add_relu", "Add", add_relu},
    {"relu", "Relu", element},
    {"relu6", "Clip", clip},
    {"clamp", "Clip", clip},
    {"sigmoid", "Sigmoid", element},
    {"tanh", "Tanh", element},
    {"softplus", "Softplus", element},
    {"exp", "Exp", element},
    {"log", "Log", element},
    {"sqrt", "Sqrt", element},
    {"abs", "Abs", element},
    {"erf", "Erf", element},
    {"silu", "Mul", silu},
    {"gelu", "Mul", gelu},
    {"elu", "Elu", with_alpha},
    {"leaky_relu", "LeakyRelu", with_alpha},
    {"prelu", "PRelu", prelu},
    {"scale", "Mul", scale},
    {"shift", "Add", scale},
    {"square", "Mul", square},
};

const pln_onnx_form *pln_onnx_form_of(const char *op) {
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++)
        if (!strcmp(rows[i].op, op)) return &rows[i];
    return NULL;
}

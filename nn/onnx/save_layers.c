/* Layers as nodes of ONNX. */
#include <string.h>

#include "onnx/save.h"

/* A node of one input and one output. */
static bool plain(pln_onnx_saving *s, const char *op) {
    pln_onnx_begin(s, op);
    pln_onnx_input_at(s, s->at);
    pln_onnx_end(s);
    return true;
}

static void with_real(pln_onnx_saving *s, const char *op, pln_onnx_name x, double v) {
    pln_onnx_begin(s, op);
    pln_onnx_input_at(s, x);
    pln_onnx_input_real(s, v);
    pln_onnx_end(s);
}

static void of_two(pln_onnx_saving *s, const char *op, pln_onnx_name x, pln_onnx_name y) {
    pln_onnx_begin(s, op);
    pln_onnx_input_at(s, x);
    pln_onnx_input_at(s, y);
    pln_onnx_end(s);
}

static void as_shape(pln_onnx_saving *s, size_t n, const int64_t *shape) {
    pln_onnx_begin(s, "Reshape");
    pln_onnx_input_at(s, s->at);
    pln_onnx_input_whole(s, n, shape);
    pln_onnx_end(s);
}

/* ---- activations ------------------------------------------------------------------------------------------------- */

static bool relu(pln_onnx_saving *s) { return plain(s, "Relu"); }
static bool sigmoid(pln_onnx_saving *s) { return plain(s, "Sigmoid"); }
static bool tanh_of(pln_onnx_saving *s) { return plain(s, "Tanh"); }
static bool softplus(pln_onnx_saving *s) { return plain(s, "Softplus"); }

static bool relu6(pln_onnx_saving *s) {
    pln_onnx_begin(s, "Clip");
    pln_onnx_input_at(s, s->at);
    pln_onnx_input_real(s, 0), pln_onnx_input_real(s, 6);
    pln_onnx_end(s);
    return true;
}

static bool silu(pln_onnx_saving *s) {
    pln_onnx_name x = s->at;
    plain(s, "Sigmoid");
    of_two(s, "Mul", x, s->at);
    return true;
}

/* x/2 (1 + erf(x / sqrt 2)) */
static bool gelu(pln_onnx_saving *s) {
    pln_onnx_name x = s->at;
    with_real(s, "Mul", x, 0.70710678118654752440);
    plain(s, "Erf");
    with_real(s, "Add", s->at, 1);
    of_two(s, "Mul", x, s->at);
    with_real(s, "Mul", s->at, 0.5);
    return true;
}

static bool with_alpha(pln_onnx_saving *s, const char *op) {
    pln_onnx_begin(s, op);
    pln_onnx_input_at(s, s->at);
    pln_onnx_put_real(s, "alpha", *(const double *)pleat_nn_attrs(s->m));
    pln_onnx_end(s);
    return true;
}
static bool elu(pln_onnx_saving *s) { return with_alpha(s, "Elu"); }
static bool leaky_relu(pln_onnx_saving *s) { return with_alpha(s, "LeakyRelu"); }

static bool with_axis(pln_onnx_saving *s, const char *op) {
    pln_onnx_begin(s, op);
    pln_onnx_input_at(s, s->at);
    pln_onnx_put_int(s, "axis", (int64_t) * (const size_t *)pleat_nn_attrs(s->m));
    pln_onnx_end(s);
    return true;
}
static bool softmax(pln_onnx_saving *s) { return with_axis(s, "Softmax"); }
static bool log_softmax(pln_onnx_saving *s) { return with_axis(s, "LogSoftmax"); }

/* The slope of a channel stands along the axis of channels. */
static bool prelu(pln_onnx_saving *s) {
    pln_onnx_begin(s, "PRelu");
    pln_onnx_input_at(s, s->at);
    pln_onnx_input_state(s, "weight", pleat_rank(s->x) > 1 ? pleat_rank(s->x) - 1 : 0);
    pln_onnx_end(s);
    return true;
}

/* ---- products and convolutions ------------------------------------------------------------------------------------- */

static bool linear(pln_onnx_saving *s) {
    const pleat_nn_linear_args *a = pleat_nn_attrs(s->m);
    int64_t shape[PLEAT_MAX_RANK] = {0};
    size_t rank = pleat_rank(s->y);
    if (rank != 2) as_shape(s, 2, (int64_t[]){-1, (int64_t)a->in});
    pln_onnx_begin(s, "Gemm");
    pln_onnx_input_at(s, s->at);
    pln_onnx_input_state(s, "weight", 0), pln_onnx_input_state(s, "bias", 0);
    pln_onnx_put_int(s, "transB", 1);
    pln_onnx_end(s);
    for (size_t k = 1; k < rank; k++) shape[k] = (int64_t)pleat_size(s->y, k);
    shape[0] = -1;
    if (rank != 2) as_shape(s, rank, shape);
    return true;
}

/* Pairs along H and W; a layer of one axis has the second alone. */
static void put_pair(pln_onnx_saving *s, const char *name, const size_t pair[2]) {
    size_t axes = pleat_rank(s->x) - 2;
    pln_onnx_put_ints(s, name, axes, (int64_t[]){(int64_t)pair[2 - axes], (int64_t)pair[1]});
}

static void put_pads(pln_onnx_saving *s, ptrdiff_t h, ptrdiff_t w) {
    if (pleat_rank(s->x) == 3)
        pln_onnx_put_ints(s, "pads", 2, (int64_t[]){w, w});
    else
        pln_onnx_put_ints(s, "pads", 4, (int64_t[]){h, w, h, w});
}

static bool convolution(pln_onnx_saving *s, const char *op) {
    const pleat_nn_conv_args *a = pleat_nn_attrs(s->m);
    if (a->pad[0] < 0 || a->pad[1] < 0) return false;
    pln_onnx_begin(s, op);
    pln_onnx_input_at(s, s->at);
    pln_onnx_input_state(s, "weight", 0), pln_onnx_input_state(s, "bias", 0);
    put_pair(s, "kernel_shape", a->kernel), put_pair(s, "strides", a->stride),
        put_pair(s, "dilations", a->dilation);
    put_pads(s, a->pad[0], a->pad[1]);
    pln_onnx_put_int(s, "group", (int64_t)a->groups);
    if (a->output_padding[0] || a->output_padding[1]) put_pair(s, "output_padding", a->output_padding);
    pln_onnx_end(s);
    return true;
}
static bool conv(pln_onnx_saving *s) { return convolution(s, "Conv"); }
static bool conv_transpose(pln_onnx_saving *s) { return convolution(s, "ConvTranspose"); }

/* ---- shapes ------------------------------------------------------------------------------------------------------------ */

static bool flatten(pln_onnx_saving *s) { return plain(s, "Flatten"); }

static bool unflatten(pln_onnx_saving *s) {
    int64_t shape[PLEAT_MAX_RANK] = {-1};
    for (size_t k = 1; k < pleat_rank(s->y); k++) shape[k] = (int64_t)pleat_size(s->y, k);
    as_shape(s, pleat_rank(s->y), shape);
    return true;
}

static bool edge_pad(pln_onnx_saving *s, const char *mode) {
    const ptrdiff_t *p = ((const pleat_nn_edge_pad_args *)pleat_nn_attrs(s->m))->pads;
    int64_t pads[2 * PLEAT_MAX_RANK] = {0};
    size_t rank = pleat_rank(s->x);
    pads[rank - 2] = p[0], pads[rank - 1] = p[1], pads[2 * rank - 2] = p[2], pads[2 * rank - 1] = p[3];
    pln_onnx_begin(s, "Pad");
    pln_onnx_input_at(s, s->at);
    pln_onnx_input_whole(s, 2 * rank, pads);
    pln_onnx_put_text(s, "mode", mode);
    pln_onnx_end(s);
    return true;
}
static bool reflection_pad(pln_onnx_saving *s) { return edge_pad(s, "reflect"); }
static bool replication_pad(pln_onnx_saving *s) { return edge_pad(s, "edge"); }

static bool pixel_shuffle(pln_onnx_saving *s) {
    pln_onnx_begin(s, "DepthToSpace");
    pln_onnx_input_at(s, s->at);
    pln_onnx_put_int(s, "blocksize", (int64_t) * (const size_t *)pleat_nn_attrs(s->m));
    pln_onnx_put_text(s, "mode", "CRD");
    pln_onnx_end(s);
    return true;
}

static bool upsample(pln_onnx_saving *s, const char *mode, const char *place) {
    const int64_t factor = (int64_t) * (const size_t *)pleat_nn_attrs(s->m);
    pleat_tensor *scales =
        pleat_from_f64(s->ctx, PLEAT_F32, PLEAT_SHAPE(4), (double[]){1, 1, (double)factor, (double)factor});
    if (pleat_is_poison(scales)) return true; /* which is an error already */
    pln_onnx_begin(s, "Resize");
    pln_onnx_input_at(s, s->at);
    pln_onnx_input_at(s, (pln_onnx_name){""}); /* no roi */
    pln_onnx_input_floats(s, 4, pleat_const_f32(scales));
    pln_onnx_put_text(s, "mode", mode);
    pln_onnx_put_text(s, "coordinate_transformation_mode", place);
    pln_onnx_put_text(s, "nearest_mode", "floor");
    pln_onnx_end(s);
    return true;
}
static bool nearest(pln_onnx_saving *s) { return upsample(s, "nearest", "asymmetric"); }
static bool bilinear(pln_onnx_saving *s) { return upsample(s, "linear", "half_pixel"); }

/* ---- pools -------------------------------------------------------------------------------------------------------------- */

static bool pool(pln_onnx_saving *s, const char *op, bool max) {
    const pleat_nn_pool_args *a = pleat_nn_attrs(s->m);
    pln_onnx_begin(s, op);
    pln_onnx_input_at(s, s->at);
    put_pair(s, "kernel_shape", a->kernel), put_pair(s, "strides", a->stride);
    put_pads(s, (ptrdiff_t)a->pad[0], (ptrdiff_t)a->pad[1]);
    pln_onnx_put_int(s, "ceil_mode", a->ceil_mode);
    if (max)
        put_pair(s, "dilations", a->dilation);
    else
        pln_onnx_put_int(s, "count_include_pad", !a->exclude_pad);
    pln_onnx_end(s);
    return true;
}
static bool max_pool(pln_onnx_saving *s) { return pool(s, "MaxPool", true); }
static bool avg_pool(pln_onnx_saving *s) { return pool(s, "AveragePool", false); }

/* Means over windows of one size, which ONNX has. */
static bool adaptive_pool(pln_onnx_saving *s) {
    size_t size[2];
    for (size_t k = 0; k < 2; k++) {
        size_t in = pleat_size(s->x, 2 + k), out = pleat_size(s->y, 2 + k);
        if (in % out) return false;
        size[k] = in / out;
    }
    if (pleat_size(s->y, 2) == 1 && pleat_size(s->y, 3) == 1) return plain(s, "GlobalAveragePool");
    pln_onnx_begin(s, "AveragePool");
    pln_onnx_input_at(s, s->at);
    put_pair(s, "kernel_shape", size), put_pair(s, "strides", size);
    pln_onnx_end(s);
    return true;
}

/* ---- norms --------------------------------------------------------------------------------------------------------------- */

/* A parameter of the layer, or as many equal numbers. */
static void state_or(pln_onnx_saving *s, const char *name, size_t n, double v) {
    if (!pln_onnx_input_state(s, name, 0)) pln_onnx_input_filled(s, n, v);
}

static bool batch_norm(pln_onnx_saving *s) {
    const pleat_nn_norm_args *a = pleat_nn_attrs(s->m);
    pln_onnx_begin(s, "BatchNormalization");
    pln_onnx_input_at(s, s->at);
    state_or(s, "weight", a->channels, 1), state_or(s, "bias", a->channels, 0);
    pln_onnx_input_state(s, "running_mean", 0), pln_onnx_input_state(s, "running_var", 0);
    pln_onnx_put_real(s, "epsilon", a->eps);
    pln_onnx_put_real(s, "momentum", 1 - a->momentum);
    pln_onnx_end(s);
    return true;
}

static bool instance_norm(pln_onnx_saving *s) {
    const pleat_nn_norm_args *a = pleat_nn_attrs(s->m);
    pln_onnx_begin(s, "InstanceNormalization");
    pln_onnx_input_at(s, s->at);
    state_or(s, "weight", a->channels, 1), state_or(s, "bias", a->channels, 0);
    pln_onnx_put_real(s, "epsilon", a->eps);
    pln_onnx_end(s);
    return true;
}

/* The groups as channels of an InstanceNormalization, then weight and bias. */
static bool group_norm(pln_onnx_saving *s) {
    const pleat_nn_norm_args *a = pleat_nn_attrs(s->m);
    int64_t shape[PLEAT_MAX_RANK] = {0};
    size_t rank = pleat_rank(s->x);
    for (size_t k = 1; k < rank; k++) shape[k] = (int64_t)pleat_size(s->x, k);
    as_shape(s, 3, (int64_t[]){0, (int64_t)a->groups, -1});
    pln_onnx_begin(s, "InstanceNormalization");
    pln_onnx_input_at(s, s->at);
    pln_onnx_input_filled(s, a->groups, 1), pln_onnx_input_filled(s, a->groups, 0);
    pln_onnx_put_real(s, "epsilon", a->eps);
    pln_onnx_end(s);
    as_shape(s, rank, shape);
    for (size_t i = 0; i < 2 && !a->no_affine; i++) {
        pln_onnx_begin(s, i ? "Add" : "Mul");
        pln_onnx_input_at(s, s->at);
        pln_onnx_input_state(s, i ? "bias" : "weight", rank - 1);
        pln_onnx_end(s);
    }
    return true;
}

static bool layer_norm(pln_onnx_saving *s) {
    const pln_layer_norm *a = pleat_nn_attrs(s->m);
    if (!pleat_nn_own_param(s->m, 0)) return false; /* its Scale is no option in ONNX */
    pln_onnx_begin(s, "LayerNormalization");
    pln_onnx_input_at(s, s->at);
    pln_onnx_input_state(s, "weight", 0), pln_onnx_input_state(s, "bias", 0);
    pln_onnx_put_int(s, "axis", -(int64_t)a->rank);
    pln_onnx_put_real(s, "epsilon", a->eps);
    pln_onnx_end(s);
    return true;
}

static bool dropout(pln_onnx_saving *s) {
    with_real(s, "Dropout", s->at, *(const double *)pleat_nn_attrs(s->m));
    return true;
}

/* ---- all -------------------------------------------------------------------------------------------------------------------- */

static const struct {
    const char *kind;
    bool (*save)(pln_onnx_saving *s);
} layers[] = {
    {"ReLU", relu},
    {"ReLU6", relu6},
    {"Sigmoid", sigmoid},
    {"Tanh", tanh_of},
    {"GELU", gelu},
    {"SiLU", silu},
    {"Softplus", softplus},
    {"ELU", elu},
    {"LeakyReLU", leaky_relu},
    {"Softmax", softmax},
    {"LogSoftmax", log_softmax},
    {"PReLU", prelu},
    {"Linear", linear},
    {"Conv2d", conv},
    {"ConvTranspose2d", conv_transpose},
    {"Conv1d", conv},
    {"ConvTranspose1d", conv_transpose},
    {"Flatten", flatten},
    {"Unflatten", unflatten},
    {"BatchNorm1d", batch_norm},
    {"BatchNorm2d", batch_norm},
    {"GroupNorm", group_norm},
    {"InstanceNorm", instance_norm},
    {"LayerNorm", layer_norm},
    {"Dropout", dropout},
    {"MaxPool2d", max_pool},
    {"AvgPool2d", avg_pool},
    {"MaxPool1d", max_pool},
    {"AvgPool1d", avg_pool},
    {"ReflectionPad2d", reflection_pad},
    {"ReplicationPad2d", replication_pad},
    {"AdaptiveAvgPool2d", adaptive_pool},
    {"UpsampleNearest", nearest},
    {"UpsampleBilinear", bilinear},
    {"PixelShuffle", pixel_shuffle},
};

static bool is_own(const pleat_nn_kind *kind) {
    const pleat_nn_kind *const *const lists[] = {pln_activations, pln_products, pln_norms, pln_pools};
    for (size_t i = 0; i < sizeof lists / sizeof *lists; i++)
        for (size_t k = 0; lists[i][k]; k++)
            if (lists[i][k] == kind) return true;
    return false;
}

bool pln_onnx_save_layer(pln_onnx_saving *s) {
    char path[300];
    for (size_t i = 0; is_own(s->m->kind) && i < sizeof layers / sizeof *layers; i++)
        if (!strcmp(layers[i].kind, s->m->kind->name) && layers[i].save(s)) return true;
    const char *where = pln_path(s->m, s->root, path, sizeof path);
    pleat_fail(s->ctx, PLEAT_ERR_ARGUMENT, "onnx_save",
               "%s: %s%s%s with these options cannot be written; layers of nn in Sequentials can", s->file,
               where, *where ? ": " : "", s->m->kind->name);
    return false;
}

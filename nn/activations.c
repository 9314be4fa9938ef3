/* Activations: modules of one op each, and PReLU, which learns its slope. */
#include "files/numbers.h"
#include "module.h"

/* ---- without options ----------------------------------------------------------------------------------- */

static pleat_tensor *relu_forward(pleat_nn_module *m, pleat_tensor *x) { return (void)m, pleat_relu(x); }
static pleat_tensor *relu6_forward(pleat_nn_module *m, pleat_tensor *x) { return (void)m, pleat_relu6(x); }
static pleat_tensor *sigmoid_forward(pleat_nn_module *m, pleat_tensor *x) {
    return (void)m, pleat_sigmoid(x);
}
static pleat_tensor *tanh_forward(pleat_nn_module *m, pleat_tensor *x) { return (void)m, pleat_tanh(x); }
static pleat_tensor *gelu_forward(pleat_nn_module *m, pleat_tensor *x) { return (void)m, pleat_gelu(x); }
static pleat_tensor *silu_forward(pleat_nn_module *m, pleat_tensor *x) { return (void)m, pleat_silu(x); }
static pleat_tensor *softplus_forward(pleat_nn_module *m, pleat_tensor *x) {
    return (void)m, pleat_softplus(x);
}

static const pleat_nn_kind relu_kind = {.name = "ReLU", .forward = relu_forward};
static const pleat_nn_kind relu6_kind = {.name = "ReLU6", .forward = relu6_forward};
static const pleat_nn_kind sigmoid_kind = {.name = "Sigmoid", .forward = sigmoid_forward};
static const pleat_nn_kind tanh_kind = {.name = "Tanh", .forward = tanh_forward};
static const pleat_nn_kind gelu_kind = {.name = "GELU", .forward = gelu_forward};
static const pleat_nn_kind silu_kind = {.name = "SiLU", .forward = silu_forward};
static const pleat_nn_kind softplus_kind = {.name = "Softplus", .forward = softplus_forward};

pleat_nn_module *pleat_nn_relu(pleat_ctx *ctx) { return pleat_nn_module_new(ctx, &relu_kind, NULL, 0); }
pleat_nn_module *pleat_nn_relu6(pleat_ctx *ctx) { return pleat_nn_module_new(ctx, &relu6_kind, NULL, 0); }
pleat_nn_module *pleat_nn_sigmoid(pleat_ctx *ctx) { return pleat_nn_module_new(ctx, &sigmoid_kind, NULL, 0); }
pleat_nn_module *pleat_nn_tanh(pleat_ctx *ctx) { return pleat_nn_module_new(ctx, &tanh_kind, NULL, 0); }
pleat_nn_module *pleat_nn_gelu(pleat_ctx *ctx) { return pleat_nn_module_new(ctx, &gelu_kind, NULL, 0); }
pleat_nn_module *pleat_nn_silu(pleat_ctx *ctx) { return pleat_nn_module_new(ctx, &silu_kind, NULL, 0); }
pleat_nn_module *pleat_nn_softplus(pleat_ctx *ctx) {
    return pleat_nn_module_new(ctx, &softplus_kind, NULL, 0);
}

bool pln_take_relu(const pleat_nn_module *next, pln_tail *tail) {
    tail->relu = next->kind == &relu_kind, tail->relu6 = next->kind == &relu6_kind;
    return tail->relu || tail->relu6;
}

/* ---- with a number ------------------------------------------------------------------------------------- */

static double number_of(const pleat_nn_module *m) { return *(const double *)pleat_nn_attrs(m); }

static void describe_number(const pleat_nn_module *m, char *buffer, size_t bytes) {
    snprintf(buffer, bytes, "%s", pln_rounded(number_of(m), 6).s);
}

static pleat_tensor *elu_forward(pleat_nn_module *m, pleat_tensor *x) { return pleat_elu(x, number_of(m)); }
static pleat_tensor *leaky_relu_forward(pleat_nn_module *m, pleat_tensor *x) {
    return pleat_leaky_relu(x, number_of(m));
}

static const pleat_nn_kind elu_kind = {.name = "ELU", .forward = elu_forward, .describe = describe_number};
static const pleat_nn_kind leaky_relu_kind = {
    .name = "LeakyReLU", .forward = leaky_relu_forward, .describe = describe_number};

pleat_nn_module *pleat_nn_elu(pleat_ctx *ctx, double a) {
    return pleat_nn_module_new(ctx, &elu_kind, &a, sizeof a);
}

pleat_nn_module *pleat_nn_leaky_relu(pleat_ctx *ctx, double slope) {
    return pleat_nn_module_new(ctx, &leaky_relu_kind, &slope, sizeof slope);
}

/* ---- along an axis ------------------------------------------------------------------------------------- */

static size_t axis_of(const pleat_nn_module *m) { return *(const size_t *)pleat_nn_attrs(m); }

static void describe_axis(const pleat_nn_module *m, char *buffer, size_t bytes) {
    snprintf(buffer, bytes, "axis %zu", axis_of(m));
}

static pleat_tensor *softmax_forward(pleat_nn_module *m, pleat_tensor *x) {
    return pleat_softmax(x, axis_of(m));
}
static pleat_tensor *log_softmax_forward(pleat_nn_module *m, pleat_tensor *x) {
    return pleat_log_softmax(x, axis_of(m));
}

static const pleat_nn_kind softmax_kind = {
    .name = "Softmax", .forward = softmax_forward, .describe = describe_axis};
static const pleat_nn_kind log_softmax_kind = {
    .name = "LogSoftmax", .forward = log_softmax_forward, .describe = describe_axis};

pleat_nn_module *pleat_nn_softmax(pleat_ctx *ctx, size_t axis) {
    return pleat_nn_module_new(ctx, &softmax_kind, &axis, sizeof axis);
}

pleat_nn_module *pleat_nn_log_softmax(pleat_ctx *ctx, size_t axis) {
    return pleat_nn_module_new(ctx, &log_softmax_kind, &axis, sizeof axis);
}

/* ---- PReLU --------------------------------------------------------------------------------------------- */

static pleat_tensor *prelu_forward(pleat_nn_module *m, pleat_tensor *x) {
    size_t channels = *(const size_t *)pleat_nn_attrs(m), rank = pleat_rank(x);
    if (channels > 1 && (rank < 2 || pleat_size(x, 1) != channels))
        return pln_misfit(m, x, "[N,", channels, ",..]");
    return pleat_prelu(x, pleat_nn_own_param(m, 0));
}

static void prelu_describe(const pleat_nn_module *m, char *buffer, size_t bytes) {
    snprintf(buffer, bytes, "%zu", *(const size_t *)pleat_nn_attrs(m));
}

static const pleat_nn_kind prelu_kind = {
    .name = "PReLU", .forward = prelu_forward, .describe = prelu_describe};

pleat_nn_module *pleat_nn_prelu(pleat_ctx *ctx, size_t channels, pleat_dtype dtype) {
    const char *wrong = channels ? pln_wrong_dtype(dtype) : "channels must be at least 1";
    if (wrong) return pln_refuse(ctx, prelu_kind.name, wrong);
    pleat_nn_module *m = pleat_nn_module_new(ctx, &prelu_kind, &channels, sizeof channels);
    if (!m) return NULL;
    pleat_scope scope = pleat_begin(ctx); /* frees temporary tensors, also after an error */
    m = pleat_nn_add_param(m, "weight", pleat_full(ctx, dtype, PLEAT_SHAPE(channels), 0.25));
    pleat_end(scope);
    return m;
}

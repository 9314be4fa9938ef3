/* Layers without parameters that work element by element. */
#include "pleat_nn.h"

static pleat_tensor *relu_forward(pleat_nn_module *m, pleat_tensor *x) {
    (void)m;
    return pleat_relu(x);
}

static pleat_tensor *sigmoid_forward(pleat_nn_module *m, pleat_tensor *x) {
    (void)m;
    return pleat_sigmoid(x);
}

static pleat_tensor *tanh_forward(pleat_nn_module *m, pleat_tensor *x) {
    (void)m;
    return pleat_tanh(x);
}

static const pleat_nn_kind relu_kind = {.name = "ReLU", .forward = relu_forward};
static const pleat_nn_kind sigmoid_kind = {.name = "Sigmoid", .forward = sigmoid_forward};
static const pleat_nn_kind tanh_kind = {.name = "Tanh", .forward = tanh_forward};

pleat_nn_module *pleat_nn_relu(pleat_ctx *ctx) { return pleat_nn_module_new(ctx, &relu_kind, NULL, 0); }

pleat_nn_module *pleat_nn_sigmoid(pleat_ctx *ctx) { return pleat_nn_module_new(ctx, &sigmoid_kind, NULL, 0); }

pleat_nn_module *pleat_nn_tanh(pleat_ctx *ctx) { return pleat_nn_module_new(ctx, &tanh_kind, NULL, 0); }

/* Modules of one's own, for the networks of nets.c: residual and skip connections. */
#include "nets.h"

/* ---- residual connections ---------------------------------------------------------------------------- */

static pleat_tensor *residual_forward(pleat_nn_module *m, pleat_tensor *x) {
    const bool *relu = pleat_nn_attrs(m);
    pleat_tensor *y = pleat_nn_forward(pleat_nn_child(m, 0), x);
    if (pleat_nn_child_count(m) > 1) x = pleat_nn_forward(pleat_nn_child(m, 1), x);
    return *relu ? pleat_add_relu(y, x) : pleat_add(y, x);
}

static const pleat_nn_kind residual_kind = {.name = "Residual", .forward = residual_forward};

pleat_nn_module *net_plain_residual(pleat_ctx *ctx, pleat_nn_module *body, bool relu) {
    return pleat_nn_add_child(pleat_nn_module_new(ctx, &residual_kind, &relu, sizeof relu), "body", body);
}

pleat_nn_module *net_residual(pleat_ctx *ctx, pleat_nn_module *body, pleat_nn_module *shortcut, bool relu) {
    return pleat_nn_add_child(net_plain_residual(ctx, body, relu), "shortcut", shortcut);
}

/* ---- skip connections -------------------------------------------------------------------------------- */

static pleat_tensor *skip_forward(pleat_nn_module *m, pleat_tensor *x) {
    return pleat_concat(2, (pleat_tensor *[]){x, pleat_nn_forward(pleat_nn_child(m, 0), x)}, 1);
}

static const pleat_nn_kind skip_kind = {.name = "Skip", .forward = skip_forward};

pleat_nn_module *net_skip(pleat_ctx *ctx, pleat_nn_module *inner) {
    return pleat_nn_add_child(pleat_nn_module_new(ctx, &skip_kind, NULL, 0), "inner", inner);
}

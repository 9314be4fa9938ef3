/* autoencoder.h: the network of examples/autoencoder.c, for tests and benchmarks. */
#ifndef AUTOENCODER_H
#define AUTOENCODER_H

#include "pleat_nn.h"

static inline pleat_nn_module *autoencoder(pleat_ctx *ctx) {
    return pleat_nn_sequential(
        ctx, pleat_nn_conv2d(ctx, 1, 16, .kernel = {3, 3}, .stride = {2, 2}, .pad = {1, 1}),
        pleat_nn_relu(ctx), pleat_nn_conv2d(ctx, 16, 32, .kernel = {3, 3}, .stride = {2, 2}, .pad = {1, 1}),
        pleat_nn_relu(ctx), pleat_nn_flatten(ctx), pleat_nn_linear(ctx, 32 * 7 * 7, 32),
        pleat_nn_linear(ctx, 32, 32 * 7 * 7), pleat_nn_relu(ctx),
        pleat_nn_unflatten(ctx, PLEAT_SHAPE(32, 7, 7)),
        pleat_nn_conv_transpose2d(ctx, 32, 16, .kernel = {3, 3}, .stride = {2, 2}, .pad = {1, 1},
                                  .output_padding = {1, 1}),
        pleat_nn_relu(ctx),
        pleat_nn_conv_transpose2d(ctx, 16, 1, .kernel = {3, 3}, .stride = {2, 2}, .pad = {1, 1},
                                  .output_padding = {1, 1}),
        pleat_nn_sigmoid(ctx));
}

#endif

/* What bits.sh compares: the parameters of an autoencoder that is trained on generated images, its reconstructions, gradients of a
 * gradient in doubles, and the state of a network with norms that is trained, too. Small, as some builds compute a fused
 * multiply-add in software, or on a processor that is emulated.
 *     bits FOLDER THREADS ENGINE ISA        writes into FOLDER a file for each, of nothing but numbers, little-endian */
#define _POSIX_C_SOURCE 200809L /* setenv: not every machine's programs see the environment */

#include <errno.h>
#include <pleat_nn.h>
#include <stdlib.h>
#include <string.h>

enum { COUNT = 64, BATCH = 16, SIDE = 20, CODE = 16, EPOCHS = 2 };

static const char *folder;

static void put(FILE *f, const pleat_tensor *t) {
    const bool single = pleat_dtype_of(t) == PLEAT_F32;
    pleat_tensor *dense = pleat_contiguous((pleat_tensor *)t);
    for (size_t i = 0; i < pleat_numel(dense); i++) {
        uint32_t half;
        uint64_t bits;
        if (single)
            memcpy(&half, pleat_const_f32(dense) + i, sizeof half), bits = half;
        else
            memcpy(&bits, pleat_const_f64(dense) + i, sizeof bits);
        for (int k = 0; k < (single ? 4 : 8); k++) putc((int)(bits >> 8 * k & 255), f);
    }
}

static pleat_status write_tensors(pleat_ctx *ctx, const char *name, size_t n, pleat_tensor *const *t) {
    char path[4096];
    snprintf(path, sizeof path, "%s/%s", folder, name);
    FILE *f = fopen(path, "wb");
    for (size_t i = 0; f && i < n; i++) put(f, t[i]);
    if (f && fclose(f) == 0) return PLEAT_OK;
    return pleat_fail(ctx, PLEAT_ERR_IO, "bits", "%s: %s", path, strerror(errno));
}

static pleat_status write_state(const char *name, const pleat_nn_module *net) {
    enum { MOST = 64 };
    pleat_tensor *t[MOST];
    size_t n = pleat_nn_state_count(net);
    for (size_t i = 0; i < n && i < MOST; i++) t[i] = pleat_nn_state(net, i);
    return write_tensors(pleat_nn_ctx(net), name, n, t);
}

/* ---- networks ------------------------------------------------------------------------------------------- */

static pleat_nn_module *autoencoder(pleat_ctx *ctx) {
    return pleat_nn_sequential(
        ctx, pleat_nn_conv2d(ctx, 1, 8, .kernel = {3, 3}, .stride = {2, 2}, .pad = {1, 1}),
        pleat_nn_relu(ctx), pleat_nn_conv2d(ctx, 8, 12, .kernel = {3, 3}, .stride = {2, 2}, .pad = {1, 1}),
        pleat_nn_relu(ctx), pleat_nn_flatten(ctx), pleat_nn_linear(ctx, 12 * 5 * 5, CODE),
        pleat_nn_linear(ctx, CODE, 12 * 5 * 5), pleat_nn_relu(ctx),
        pleat_nn_unflatten(ctx, PLEAT_SHAPE(12, 5, 5)),
        pleat_nn_conv_transpose2d(ctx, 12, 8, .kernel = {3, 3}, .stride = {2, 2}, .pad = {1, 1},
                                  .output_padding = {1, 1}),
        pleat_nn_relu(ctx),
        pleat_nn_conv_transpose2d(ctx, 8, 1, .kernel = {4, 4}, .stride = {2, 2}, .pad = {1, 1}),
        pleat_nn_sigmoid(ctx));
}

static pleat_nn_module *with_norms(pleat_ctx *ctx) {
    return pleat_nn_sequential(
        ctx, pleat_nn_conv2d(ctx, 1, 12, .kernel = {5, 3}, .stride = {2, 1}, .pad = {2, 1}),
        pleat_nn_batch_norm2d(ctx, 12), pleat_nn_relu6(ctx),
        pleat_nn_conv2d(ctx, 12, 12, .kernel = {3, 3}, .pad = {1, 1}, .groups = 12),
        pleat_nn_group_norm(ctx, 12, .groups = 3), pleat_nn_silu(ctx),
        pleat_nn_max_pool2d(ctx, .kernel = {2, 2}), pleat_nn_conv2d(ctx, 12, 20, .kernel = {1, 1}),
        pleat_nn_batch_norm2d(ctx, 20), pleat_nn_gelu(ctx), pleat_nn_adaptive_avg_pool2d(ctx, 2, 2),
        pleat_nn_flatten(ctx), pleat_nn_layer_norm(ctx, PLEAT_SHAPE(80)), pleat_nn_dropout(ctx, 0.2),
        pleat_nn_linear(ctx, 80, 5));
}

static pleat_tensor *loss_of_autoencoder(pleat_nn_module *net, const pleat_nn_batch *b) {
    return pleat_nn_mse_loss(pleat_nn_forward(net, b->x), b->clean);
}

static pleat_tensor *loss_of_classes(pleat_nn_module *net, const pleat_nn_batch *b) {
    return pleat_nn_cross_entropy_loss(pleat_nn_forward(net, b->x), .labels = b->labels,
                                       .label_smoothing = 0.1);
}

static void train(pleat_nn_module *net, pleat_nn_optimizer *opt, pleat_nn_loader *loader,
                  pleat_tensor *(*loss)(pleat_nn_module *, const pleat_nn_batch *)) {
    pleat_ctx *ctx = pleat_nn_ctx(net);
    pleat_nn_batch b;
    for (size_t epoch = 0; epoch < EPOCHS; epoch++) {
        pleat_nn_loader_start(loader, epoch, 0);
        for (bool more = true; more;) {
            pleat_scope scope = pleat_begin(ctx);
            more = pleat_nn_loader_next(loader, &b);
            if (more) pleat_nn_step(opt, loss(net, &b));
            pleat_end(scope);
        }
    }
    pleat_nn_optimizer_free(opt);
}

/* ---- what is compared ----------------------------------------------------------------------------------- */

static void of_training(pleat_ctx *ctx, const pleat_nn_images *images) {
    pleat_nn_loader *loader = pleat_nn_loader_new(ctx, images, .batch = BATCH, .shuffle = true, .seed = 1,
                                                  .transform = {.noise = 0.1, .flip = 0.5});
    pleat_nn_module *net = autoencoder(ctx), *norms = with_norms(ctx);
    train(net, pleat_nn_adam(net, .lr = 3e-3, .clip_norm = 1), loader, loss_of_autoencoder);
    write_state("autoencoder", net);
    pleat_nn_set_training(net, false);
    pleat_tensor *made = pleat_nn_forward(net, pleat_nn_image_batch(ctx, PLEAT_F32, images, NULL, 0, 7));
    write_tensors(ctx, "reconstruction", 1, &made);
    train(norms, pleat_nn_sgd(norms, .lr = 0.05, .momentum = 0.9, .weight_decay = 1e-3), loader,
          loss_of_classes);
    write_state("norms", norms);
    pleat_nn_free(norms);
    pleat_nn_free(net);
    pleat_nn_loader_free(loader);
}

/* The gradients of (|gradient for x| - 1)^2, for x and the weights: as of a critic's penalty. */
static void of_second_order(pleat_ctx *ctx, const pleat_nn_images *images) {
    pleat_tensor *x = pleat_nn_image_batch(ctx, PLEAT_F64, images, NULL, 0, 5), *slope, *g[4];
    pleat_tensor *xs[4] = {x, pleat_randn(ctx, PLEAT_F64, PLEAT_SHAPE(6, 1, 4, 4)),
                           pleat_randn(ctx, PLEAT_F64, PLEAT_SHAPE(6, 4, 3, 3)),
                           pleat_randn(ctx, PLEAT_F64, PLEAT_SHAPE(4 * 19 * 19, 3))};
    pleat_tensor *y = pleat_tanh(pleat_conv2d(x, xs[1], .stride = {2, 2}, .pad = {1, 1}));
    y = pleat_softplus(pleat_conv2d_transpose(y, xs[2], .stride = {2, 2}, .pad = {1, 1}));
    y = pleat_sum(pleat_square(pleat_matmul(pleat_reshape(y, PLEAT_SHAPE(5, 4 * 19 * 19)), xs[3])));
    pleat_grads(y, NULL, 1, &x, &slope, PLEAT_GRADS_RECORD);
    pleat_tensor *norm = pleat_sqrt(pleat_sum(pleat_square(slope), PLEAT_AXES(1, 2, 3)));
    pleat_grads(pleat_mean(pleat_square(pleat_shift(norm, -1))), NULL, 4, xs, g, 0);
    write_tensors(ctx, "second_order", 4, g);
}

int main(int argc, char **argv) {
    if (argc != 5 || setenv("PLEAT_ENGINE", argv[3], 1) || setenv("PLEAT_ISA", argv[4], 1))
        return fprintf(stderr, "usage: bits FOLDER THREADS ENGINE ISA\n"), 2;
    folder = argv[1];
    pleat_ctx *ctx = pleat_ctx_new(.threads = atoi(argv[2]), .seed = 1);
    pleat_nn_images images = {0};
    pleat_nn_shapes(ctx, COUNT, SIDE, SIDE, 7, &images);
    of_training(ctx, &images);
    of_second_order(ctx, &images);
    const bool failed = pleat_error(ctx)->code != PLEAT_OK;
    if (failed) fprintf(stderr, "%s\n", pleat_error(ctx)->text);
    pleat_nn_images_free(&images);
    pleat_ctx_free(ctx);
    return failed;
}

#include "train_nets.h"

#include "autoencoder.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { CLASSES = 10 };

/* ---- the networks ------------------------------------------------------------------------------------ */

/* Two convolutions with pools, and a dense layer: a common first classifier for such images. */
static pleat_nn_module *cnn(pleat_ctx *ctx) {
    return pleat_nn_sequential(ctx, pleat_nn_conv2d(ctx, 1, 8, .kernel = {3, 3}, .pad = {1, 1}),
                               pleat_nn_relu(ctx), pleat_nn_max_pool2d(ctx, .kernel = {2, 2}),
                               pleat_nn_conv2d(ctx, 8, 16, .kernel = {3, 3}, .pad = {1, 1}),
                               pleat_nn_relu(ctx), pleat_nn_max_pool2d(ctx, .kernel = {2, 2}),
                               pleat_nn_flatten(ctx), pleat_nn_linear(ctx, 16 * 7 * 7, CLASSES));
}

static bool classifies(const trainee *t) { return strcmp(t->net, "cnn") == 0; }

bool trainee_known(const char *net) { return strcmp(net, "autoencoder") == 0 || strcmp(net, "cnn") == 0; }

/* ---- a step ------------------------------------------------------------------------------------------ */

/* The class numbers of the images at index[0..n-1]. */
static const size_t *labels(trainee *t, const size_t *index, size_t n) {
    for (size_t i = 0; i < n; i++) t->label[i] = t->images.labels[index[i]];
    return t->label;
}

void trainee_step(void *arg) {
    trainee *t = arg;
    size_t n;
    const size_t *index = pleat_nn_next(&t->batches, &n);
    if (index == NULL) {
        pleat_nn_shuffle(&t->batches, pleat_ctx_rng(t->ctx));
        index = pleat_nn_next(&t->batches, &n);
    }
    pleat_scope scope = pleat_begin(t->ctx);
    pleat_tensor *x = pleat_nn_image_batch(t->ctx, PLEAT_F32, &t->images, index, 0, n);
    pleat_tensor *y = pleat_nn_forward(t->module, x);
    pleat_nn_step(t->adam, classifies(t) ? pleat_nn_cross_entropy_loss(y, .labels = labels(t, index, n))
                                         : pleat_nn_mse_loss(y, x));
    pleat_end(scope);
}

void trainee_infer(void *arg) {
    trainee *t = arg;
    pleat_scope scope = pleat_begin(t->ctx);
    bool recorded = pleat_set_recording(t->ctx, false);
    pleat_nn_set_training(t->module, false);
    pleat_nn_forward(t->module, t->x);
    pleat_nn_set_training(t->module, true);
    pleat_set_recording(t->ctx, recorded);
    pleat_end(scope);
}

/* ---- from start to stop ------------------------------------------------------------------------------ */

bool trainee_make_data(trainee *t) {
    size_t bytes = (size_t)TRAINEE_IMAGES * TRAINEE_SIDE * TRAINEE_SIDE;
    t->images = (pleat_nn_images){.count = TRAINEE_IMAGES,
                                  .C = 1,
                                  .H = TRAINEE_SIDE,
                                  .W = TRAINEE_SIDE,
                                  .pixels = malloc(bytes),
                                  .labels = malloc(TRAINEE_IMAGES),
                                  .classes = CLASSES};
    if (t->images.pixels == NULL || t->images.labels == NULL)
        return fprintf(stderr, "bench_train: no memory for images\n"), false;
    pleat_rng r = pleat_rng_new(1, 0);
    for (size_t i = 0; i < bytes; i++) t->images.pixels[i] = (uint8_t)pleat_rng_below(&r, 256);
    for (size_t i = 0; i < TRAINEE_IMAGES; i++) t->images.labels[i] = (uint8_t)pleat_rng_below(&r, CLASSES);
    return true;
}

bool trainee_start(trainee *t, int threads) {
    t->ctx = pleat_ctx_new(.threads = threads, .seed = 1);
    if (t->ctx == NULL) return fprintf(stderr, "bench_train: no memory\n"), false;
    pleat_nn_batches_new(t->ctx, TRAINEE_IMAGES, t->batch, &t->batches);
    t->module = classifies(t) ? cnn(t->ctx) : autoencoder(t->ctx);
    t->adam = pleat_nn_adam(t->module, .lr = 1e-3);
    t->x = pleat_hold(
        pleat_uniform(t->ctx, PLEAT_F32, PLEAT_SHAPE(t->batch, 1, TRAINEE_SIDE, TRAINEE_SIDE), 0, 1));
    if (pleat_error(t->ctx)->code == PLEAT_OK) return true;
    return fprintf(stderr, "bench_train: %s\n", pleat_error(t->ctx)->text), false;
}

void trainee_stop(trainee *t) {
    pleat_drop(t->x);
    pleat_nn_optimizer_free(t->adam);
    pleat_nn_free(t->module);
    pleat_nn_batches_free(&t->batches);
    pleat_nn_images_free(&t->images);
    pleat_ctx_free(t->ctx);
}

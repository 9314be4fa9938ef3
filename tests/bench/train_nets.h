/* The two networks that bench_train times, with images in memory to train them on. */
#ifndef PLEAT_BENCH_TRAIN_NETS_H
#define PLEAT_BENCH_TRAIN_NETS_H

#include <pleat_nn.h>

enum { TRAINEE_SIDE = 28, TRAINEE_IMAGES = 4096 };

/* One network in training. */
typedef struct trainee {
    const char *net; /* "autoencoder" or "cnn" */
    size_t batch;
    pleat_ctx *ctx;
    pleat_nn_images images; /* random bytes, with random labels */
    pleat_nn_batches batches;
    pleat_nn_module *module;
    pleat_nn_optimizer *adam;
    size_t label[TRAINEE_IMAGES]; /* of the batch */
    pleat_tensor *x;              /* a batch that stays, for inference */
} trainee;

bool trainee_known(const char *net);

/* First the images, so that what a caller measures afterwards is memory beside the data; then all the rest. False, with a line
 * on stderr, if that fails. */
bool trainee_make_data(trainee *t);
bool trainee_start(trainee *t, int threads);
void trainee_stop(trainee *t);

/* A training step: the next batch, forward, loss, gradients, Adam. And a forward pass in evaluation, without recording. Both take
 * a trainee, as bench_median_ms asks for. */
void trainee_step(void *t);
void trainee_infer(void *t);

#endif

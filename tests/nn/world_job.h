/* world_job.h: training runs that are the same on every rank. */
#ifndef WORLD_JOB_H
#define WORLD_JOB_H

#include "world.h"

typedef struct setup {
    size_t micro, batch; /* of 42 items; default 8 */
    bool drop_last;
    size_t epochs; /* default 2 */
    bool plain;    /* neither batch norm nor dropout */
    bool joint;    /* batch norms over all micro-batches */
    bool sure;     /* no dropout */
    bool sgd, ema, prefetch, by_hand;
    bool two;    /* a generator beside the network, with an optimizer of its own, and a .step */
    bool frozen; /* the first layer; by hand it is free in the steps 3 to 5 */
    double clip_norm, noise;
    pleat_dtype dtype;
    size_t width;       /* channels; default 4 */
    size_t first_label; /* of the data set's seed */
    const char *options;
    const char *folder; /* with it a run is resumed */
    size_t raise_at;    /* SIGINT comes in this call of the loss, on one rank */
} setup;

typedef struct job {
    const setup *s;
    pleat_ctx *ctx;
    pleat_nn_images images, test;
    pleat_nn_part part[PLEAT_NN_PARTS];
    pleat_nn_loader *train, *valid;
    pleat_nn_run run;
    size_t calls, raise_at; /* of the loss in training */
} job;

job *job_new(pleat_ctx *ctx, const setup *s);
void job_free(job *j);
/* The loss of the network: user is the job. */
pleat_tensor *job_loss(void *user, const pleat_nn_batch *b, double *metric);
/* Train; world NULL: none. */
pleat_status job_run(job *j, pleat_nn_world *world, results *r);
pleat_nn_share *job_share(job *j, pleat_nn_world *world);
/* Parameters, buffers, states. */
void job_take(job *j, results *r);

/* The results without a world. */
results job_alone(const setup *s);

#endif

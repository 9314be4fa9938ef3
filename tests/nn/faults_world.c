/* Rows of pleat_nn_world.h: shares of one rank. */
#include <stdlib.h>

#include "faults.h"
#include "hash.h"
#include "optimizer.h"

#include <criterion/criterion.h>

typedef struct job {
    pleat_nn_images images;
    pleat_nn_part part;
    pleat_nn_loader *train, *valid;
} job;

static pleat_tensor *loss_of(void *user, const pleat_nn_batch *b, double *metric) {
    job *j = user;
    pleat_tensor *y = pleat_nn_forward(j->part.net, b->x);
    *metric = pleat_nn_accuracy(y, b->labels);
    return pleat_nn_cross_entropy_loss(y, .labels = b->labels);
}

static bool start(world *w, job *j) {
    *j = (job){.train = NULL};
    if (pleat_nn_shapes(w->ctx, 7, 8, 8, 1, &j->images)) return take_pointer(w, NULL);
    pleat_nn_module *net = pleat_nn_sequential(
        w->ctx, pleat_nn_conv2d(w->ctx, 1, 2, .kernel = {3, 3}, .stride = {2, 2}),
        pleat_nn_batch_norm2d(w->ctx, 2), pleat_nn_relu(w->ctx), pleat_nn_dropout(w->ctx, 0.2),
        pleat_nn_flatten(w->ctx), pleat_nn_linear(w->ctx, 18, 5));
    j->part =
        (pleat_nn_part){"net", net, pleat_nn_adam(net, .lr = 0.01), net ? pleat_nn_ema_new(net, 0.9) : NULL};
    j->train = pleat_nn_loader_new(w->ctx, &j->images, .batch = 5, .shuffle = true, .keep_last = true,
                                   .no_prefetch = true, .transform = {.noise = 0.1});
    j->valid = pleat_nn_loader_new(w->ctx, &j->images, .batch = 4, .keep_last = true, .no_prefetch = true);
    return take_pointer(w, j->part.opt) && take_pointer(w, j->part.ema) && take_pointer(w, j->train) &&
           take_pointer(w, j->valid);
}

static void end(job *j) {
    pleat_nn_loader_free(j->train);
    pleat_nn_loader_free(j->valid);
    pleat_nn_ema_free(j->part.ema);
    pleat_nn_optimizer_free(j->part.opt);
    pleat_nn_free(j->part.net);
    pleat_nn_images_free(&j->images);
}

/* Parameters, buffers, and the optimizer's state. */
static uint64_t state_of(const pleat_nn_part *p) {
    static double x[400];
    uint64_t h = PLN_HASH_START;
    for (size_t i = 0; i < pleat_nn_state_count(p->net); i++) {
        pleat_read_f64(pleat_nn_state(p->net, i), x);
        h = pln_hash(h, x, pleat_numel(pleat_nn_state(p->net, i)) * sizeof *x);
    }
    for (size_t i = 0; i < pleat_nn_param_count(p->net); i++)
        for (size_t k = 0; k < pln_optimizer_states(p->opt); k++) {
            pleat_read_f64(pln_optimizer_state(p->opt, i, k), x);
            h = pln_hash(h, x, pleat_numel(pleat_nn_param(p->net, i)) * sizeof *x);
        }
    return h;
}

/* A step that fails has changed nothing. */
static bool step(world *w, job *j, const pleat_nn_batch *b) {
    uint64_t before = state_of(&j->part);
    double loss = 0, metric = 0;
    pleat_status status = pleat_nn_step_shared(j->part.opt, b, loss_of, j, &loss, &metric);
    bool changed = state_of(&j->part) != before;
    cr_assert(changed == !status, "%s, and the state has %schanged",
              status ? pleat_error(w->ctx)->text : "no error", changed ? "" : "not ");
    take_status(w, status);
    take_number(w, loss);
    take_number(w, metric);
    return !status;
}

/* Batches of five, in micro-batches of two, and of two. */
static void shared_steps_with(world *w, bool joint) {
    job j;
    pleat_nn_world *own = NULL;
    pleat_nn_share *share = NULL;
    if (start(w, &j) && take_pointer(w, own = pleat_nn_world_new(w->ctx)))
        share = pleat_nn_share_new(.world = own, .part = {j.part}, .train = j.train, .micro = 2,
                                   .sync_norms = joint);
    if (!w->failed && take_pointer(w, share)) {
        pleat_nn_batch b;
        pleat_nn_loader_start(j.train, 0, 0);
        while (pleat_nn_loader_next(j.train, &b) && step(w, &j, &b)) {}
        if (pleat_error(w->ctx)->code) w->failed = true;
        for (size_t i = 0; i < pleat_nn_state_count(j.part.net); i++) take(w, pleat_nn_state(j.part.net, i));
    }
    pleat_nn_share_free(share);
    pleat_nn_world_free(own);
    end(&j);
}

static void shared_steps(world *w, const row *r) {
    (void)r;
    shared_steps_with(w, false);
}

static void joint_steps(world *w, const row *r) {
    (void)r;
    shared_steps_with(w, true);
}

static void shared_run(world *w, const row *r) {
    (void)r;
    job j;
    pleat_nn_run run = {.epochs = 0};
    if (start(w, &j)) {
        take_status(w, pleat_nn_fit(&run, .part = {j.part}, .train = j.train, .valid = j.valid, .epochs = 2,
                                    .loss = loss_of, .user = &j, .micro = 2));
        for (size_t i = 0; i < run.epochs; i++) take_number(w, run.epoch[i].valid_loss);
        for (size_t i = 0; i < pleat_nn_state_count(j.part.net); i++) take(w, pleat_nn_state(j.part.net, i));
        if (!w->failed && pln_optimizer_share(j.part.opt)) w->failed = true;
    }
    pleat_nn_run_free(&run);
    end(&j);
}

const row faults_world[] = {
    {" pleat_nn_world_new_with pleat_nn_share_new_with pleat_nn_step_shared ", shared_steps, .module = NULL},
    {" joint_norms ", joint_steps, .module = NULL},
    {" a_shared_run ", shared_run, .module = NULL},
    {.covers = NULL},
};

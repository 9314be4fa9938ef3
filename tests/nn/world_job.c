/* Runs with all that has a state: a network with batch norm and dropout, a loader with noise, validation with noise. */
#define _POSIX_C_SOURCE 200809L

#include "world_job.h"

#include <signal.h>

static pleat_nn_module *network(pleat_ctx *c, const setup *s) {
    size_t width = s->width ? s->width : 4;
    pleat_nn_module *conv =
        pleat_nn_conv2d(c, 1, width, .kernel = {3, 3}, .stride = {2, 2}, .pad = {1, 1}, .dtype = s->dtype);
    pleat_nn_module *linear = pleat_nn_linear(c, width * 16, 5, .dtype = s->dtype);
    if (s->plain) return pleat_nn_sequential(c, conv, pleat_nn_tanh(c), pleat_nn_flatten(c), linear);
    return pleat_nn_sequential(c, conv, pleat_nn_batch_norm2d(c, width, .dtype = s->dtype), pleat_nn_relu(c),
                               pleat_nn_flatten(c), pleat_nn_dropout(c, s->sure ? 0 : 0.2), linear);
}

static pleat_nn_module *generator(pleat_ctx *c, const setup *s) {
    return pleat_nn_sequential(c, pleat_nn_linear(c, 3, 64, .dtype = s->dtype),
                               pleat_nn_unflatten(c, PLEAT_SHAPE(1, 8, 8)),
                               pleat_nn_batch_norm2d(c, 1, .dtype = s->dtype), pleat_nn_sigmoid(c));
}

static pleat_nn_optimizer *optimizer(pleat_nn_module *net, const setup *s) {
    return s->sgd ? pleat_nn_sgd(net, .lr = 0.05, .momentum = 0.9, .clip_norm = s->clip_norm)
                  : pleat_nn_adam(net, .lr = 0.01, .clip_norm = s->clip_norm);
}

static void add_part(job *j, size_t i, const char *name, pleat_nn_module *net) {
    j->part[i] =
        (pleat_nn_part){name, net, optimizer(net, j->s), j->s->ema ? pleat_nn_ema_new(net, 0.9) : NULL};
}

job *job_new(pleat_ctx *ctx, const setup *s) {
    job *j = calloc(1, sizeof *j);
    if (!j) abort();
    j->ctx = ctx, j->s = s, j->raise_at = s->raise_at;
    pleat_nn_shapes(ctx, 42, 8, 8, 1 + s->first_label, &j->images);
    pleat_nn_shapes(ctx, 20, 8, 8, 2, &j->test);
    add_part(j, 0, "net", network(ctx, s));
    if (s->two) add_part(j, 1, "generator", generator(ctx, s));
    if (s->frozen) pleat_nn_freeze(pleat_nn_child(j->part[0].net, 0), true);
    j->train = pleat_nn_loader_new(ctx, &j->images, .batch = s->batch ? s->batch : 8, .shuffle = true,
                                   .seed = 5, .keep_last = !s->drop_last, .no_prefetch = !s->prefetch,
                                   .dtype = s->dtype, .transform = {.flip = 0.5, .noise = s->noise});
    j->valid = pleat_nn_loader_new(ctx, &j->test, .batch = 3, .keep_last = true, .no_prefetch = !s->prefetch,
                                   .dtype = s->dtype, .transform = {.noise = 0.1});
    return j;
}

void job_free(job *j) {
    pleat_nn_run_free(&j->run);
    pleat_nn_loader_free(j->train);
    pleat_nn_loader_free(j->valid);
    for (size_t i = 0; i < PLEAT_NN_PARTS; i++) {
        pleat_nn_ema_free(j->part[i].ema);
        pleat_nn_optimizer_free(j->part[i].opt);
        pleat_nn_free(j->part[i].net);
    }
    pleat_nn_images_free(&j->images);
    pleat_nn_images_free(&j->test);
    free(j);
}

/* Random numbers in validation, too. */
static pleat_tensor *input(const job *j, const pleat_nn_batch *b) {
    if (pleat_nn_is_training(j->part[0].net)) return b->x;
    pleat_tensor *noise = pleat_randn(j->ctx, j->s->dtype, pleat_rank(b->x), pleat_shape(b->x));
    return pleat_add(b->x, pleat_scale(noise, 0.1));
}

pleat_tensor *job_loss(void *user, const pleat_nn_batch *b, double *metric) {
    job *j = user;
    if (pleat_nn_is_training(j->part[0].net) && ++j->calls == j->raise_at) raise(SIGINT);
    pleat_tensor *y = pleat_nn_forward(j->part[0].net, input(j, b));
    *metric = pleat_nn_accuracy(y, b->labels);
    return pleat_nn_cross_entropy_loss(y, .labels = b->labels);
}

/* ---- two networks ------------------------------------------------------------------------------------------ */

static pleat_tensor *fake(const job *j, const pleat_nn_batch *b) {
    return pleat_nn_forward(j->part[1].net, pleat_randn(j->ctx, j->s->dtype, PLEAT_SHAPE(b->n, 3)));
}

static pleat_tensor *critic_loss(void *user, const pleat_nn_batch *b, double *metric) {
    job *j = user;
    pleat_tensor *made = pleat_nn_forward(j->part[0].net, pleat_detach(fake(j, b)));
    pleat_tensor *loss = job_loss(user, b, metric);
    return pleat_add(loss, pleat_mean(pleat_square(made)));
}

static pleat_tensor *generator_loss(void *user, const pleat_nn_batch *b, double *metric) {
    const job *j = user;
    pleat_tensor *y = pleat_nn_forward(j->part[0].net, fake(j, b));
    *metric = pleat_item(pleat_mean(y));
    return pleat_mean(pleat_square(pleat_shift(y, -1)));
}

static pleat_status step_both(void *user, const pleat_nn_batch *b, double *loss, double *metric) {
    const job *j = user;
    double more[2];
    pleat_status status = pleat_nn_step_shared(j->part[0].opt, b, critic_loss, user, loss, metric);
    if (!status) status = pleat_nn_step_shared(j->part[1].opt, b, generator_loss, user, &more[0], &more[1]);
    *loss += more[0];
    *metric += more[1];
    return status;
}

/* ---- runs -------------------------------------------------------------------------------------------------- */

void job_take(job *j, results *r) {
    for (size_t i = 0; j->part[i].net; i++) take_part(r, &j->part[i]);
    take_rng(r, j->ctx);
}

static pleat_status fit(job *j, pleat_nn_world *world, results *r) {
    const setup *s = j->s;
    pleat_nn_fit_args args = {.run = &j->run,
                              .train = j->train,
                              .valid = j->valid,
                              .epochs = s->epochs ? s->epochs : 2,
                              .loss = job_loss,
                              .step = s->two ? step_both : NULL,
                              .user = j,
                              .world = world,
                              .micro = s->micro,
                              .sync_norms = s->joint,
                              .metric_name = "accuracy",
                              .options = s->options,
                              .folder = s->folder,
                              .resume = s->folder != NULL,
                              .schedule = {.warmup = 3, .cosine = 12}};
    memcpy(args.part, j->part, sizeof args.part);
    pleat_nn_run_free(&j->run);
    pleat_status status = pleat_nn_fit_with(args);
    take_number(r, "steps", (double)j->run.steps);
    take_number(r, "best", (double)j->run.best);
    for (size_t i = 0; i < j->run.epochs; i++) {
        const pleat_nn_epoch *e = &j->run.epoch[i];
        take_number(r, "loss", e->loss);
        take_number(r, "metric", e->metric);
        take_number(r, "validation loss", e->valid_loss);
        take_number(r, "validation metric", e->valid_metric);
        take_number(r, "rate", e->lr);
    }
    return status;
}

pleat_nn_share *job_share(job *j, pleat_nn_world *world) {
    pleat_nn_share_args args = {.world = world,
                                .micro = j->s->micro,
                                .train = j->train,
                                .options = j->s->options,
                                .sync_norms = j->s->joint};
    memcpy(args.part, j->part, sizeof args.part);
    return pleat_nn_share_new_with(args);
}

static pleat_status step_by_hand(job *j, const pleat_nn_batch *b, size_t t, results *r) {
    double loss = -1, metric = -1;
    if (j->s->frozen) pleat_nn_freeze(pleat_nn_child(j->part[0].net, 0), t < 3 || t > 5);
    pleat_status status = j->s->two ? step_both(j, b, &loss, &metric)
                                    : pleat_nn_step_shared(j->part[0].opt, b, job_loss, j, &loss, &metric);
    take_number(r, "loss of a step", loss);
    take_number(r, "metric of a step", metric);
    return status;
}

static pleat_status by_hand(job *j, pleat_nn_world *world, results *r) {
    pleat_nn_share *share = job_share(j, world);
    pleat_status status = share ? PLEAT_OK : pleat_error(j->ctx)->code;
    pleat_nn_batch b;
    for (size_t epoch = 0, t = 0; epoch < 2 && !status; epoch++) {
        pleat_nn_loader_start(j->train, epoch, 0);
        pleat_scope scope = pleat_begin(j->ctx);
        for (; !status && pleat_nn_loader_next(j->train, &b); pleat_end(scope), scope = pleat_begin(j->ctx))
            status = step_by_hand(j, &b, t++, r);
        pleat_end(scope);
        if (!status) status = pleat_error(j->ctx)->code;
    }
    pleat_nn_share_free(share);
    return status;
}

pleat_status job_run(job *j, pleat_nn_world *world, results *r) {
    pleat_status status = j->s->by_hand ? by_hand(j, world, r) : fit(j, world, r);
    job_take(j, r);
    return status;
}

results job_alone(const setup *s) {
    results r = {0};
    pleat_ctx *ctx = pleat_ctx_new(.threads = 3, .seed = 3);
    job *j = job_new(ctx, s);
    cr_assert_eq(job_run(j, NULL, &r), PLEAT_OK, "%s", pleat_error(ctx)->text);
    cr_assert(j->calls > 0);
    job_free(j);
    pleat_ctx_free(ctx);
    return r;
}

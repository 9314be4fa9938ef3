/* Rows of pleat_nn.h, and of what pleat_nn_data.h and pleat_nn_train.h do in memory. */
#define _POSIX_C_SOURCE 200809L

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "faults.h"

/* ---- modules ----------------------------------------------------------------------------------------------- */

static pleat_tensor *image(world *w) { return drawn(w, PLEAT_SHAPE(2, 4, 4, 4)); }

static pleat_tensor *line(world *w) { return drawn(w, PLEAT_SHAPE(2, 4, 6)); }

/* Values of a module, which is freed. */
static void take_module(world *w, pleat_nn_module *m, pleat_tensor *x) {
    if (take_pointer(w, m)) take(w, pleat_nn_forward(m, x));
    for (size_t i = 0; i < pleat_nn_state_count(m); i++) take(w, pleat_nn_state(m, i));
    pleat_nn_free(m);
}

static void module(world *w, const row *r) { take_module(w, r->module(w->ctx), image(w)); }
static void module_with_number(world *w, const row *r) {
    take_module(w, r->module_with_number(w->ctx, 0.5), image(w));
}
static void module_with_size(world *w, const row *r) {
    take_module(w, r->module_with_size(w->ctx, 2), image(w));
}

static void weighted(world *w, const row *r) {
    (void)r;
    take_module(w, pleat_nn_linear(w->ctx, 4, 3), image(w));
    take_module(w, pleat_nn_conv2d(w->ctx, 4, 2, .kernel = {3, 2}, .groups = 2), image(w));
    take_module(w, pleat_nn_conv_transpose2d(w->ctx, 4, 2, .kernel = {3, 2}, .stride = {2, 1}), image(w));
    take_module(w, pleat_nn_prelu(w->ctx, 4, PLEAT_F32), image(w));
    take_module(w, pleat_nn_conv1d(w->ctx, 4, 2, .kernel = 3), line(w));
    take_module(w, pleat_nn_conv_transpose1d(w->ctx, 4, 2, .kernel = 3, .stride = 2), line(w));
}

static void normalizing(world *w, const row *r) {
    (void)r;
    take_module(w, pleat_nn_batch_norm2d(w->ctx, 4), image(w));
    take_module(w, pleat_nn_batch_norm1d(w->ctx, 4), line(w));
    take_module(w, pleat_nn_instance_norm(w->ctx, 4, .affine = true), image(w));
    take_module(w, pleat_nn_group_norm(w->ctx, 4, 2), image(w));
    take_module(w, pleat_nn_layer_norm(w->ctx, PLEAT_SHAPE(4, 4)), image(w));
}

static void shaping(world *w, const row *r) {
    (void)r;
    take_module(w, pleat_nn_max_pool2d(w->ctx, .kernel = {2, 2}), image(w));
    take_module(w, pleat_nn_avg_pool2d(w->ctx, .kernel = {2, 2}), image(w));
    take_module(w, pleat_nn_max_pool1d(w->ctx, .kernel = 2), line(w));
    take_module(w, pleat_nn_avg_pool1d(w->ctx, .kernel = 2), line(w));
    take_module(w, pleat_nn_reflection_pad2d(w->ctx, .pad = {1, 2}), image(w));
    take_module(w, pleat_nn_replication_pad2d(w->ctx, .pad = {1, 2}), image(w));
    take_module(w, pleat_nn_adaptive_avg_pool2d(w->ctx, 1, 1), image(w));
    take_module(w, pleat_nn_unflatten(w->ctx, PLEAT_SHAPE(2, 3)), drawn(w, PLEAT_SHAPE(2, 6)));
}

static pleat_tensor *doubled(pleat_nn_module *m, pleat_tensor *x) {
    pleat_tensor *y = pleat_mul(x, pleat_nn_own_param(m, 0));
    return pleat_nn_forward(pleat_nn_child(m, 0), pleat_add(y, pleat_nn_own_buffer(m, 0)));
}

static void own(world *w, const row *r) {
    (void)r;
    static const pleat_nn_kind kind = {.name = "Own", .forward = doubled};
    pleat_nn_module *m = pleat_nn_module_new(w->ctx, &kind, "attrs", 6);
    m = pleat_nn_add_param(m, "weight", pleat_full(w->ctx, PLEAT_F32, PLEAT_SCALAR, 2));
    m = pleat_nn_add_buffer(m, "shift", pleat_full(w->ctx, PLEAT_F32, PLEAT_SCALAR, 1));
    m = pleat_nn_add_child(m, "next", pleat_nn_linear(w->ctx, 4, 2));
    take_module(w, m, image(w));
}

static void prepared(world *w, const row *r) {
    (void)r;
    pleat_nn_module *m = pleat_nn_sequential(w->ctx, pleat_nn_conv2d(w->ctx, 4, 2, .kernel = {3, 2}),
                                             pleat_nn_batch_norm2d(w->ctx, 2), pleat_nn_relu(w->ctx));
    pleat_nn_set_training(m, false);
    pleat_prepared *p = pleat_nn_prepare(m, PLEAT_SHAPE(2, 4, 4, 4));
    if (take_pointer(w, m) && take_pointer(w, p)) take(w, (pleat_tensor *)pleat_prepared_result(p));
    pleat_prepared_free(p);
    pleat_nn_free(m);
}

static pleat_nn_module *network(pleat_ctx *c) {
    return pleat_nn_sequential(c, pleat_nn_conv2d(c, 1, 3, .kernel = {3, 3}, .stride = {2, 2}),
                               pleat_nn_batch_norm2d(c, 3), pleat_nn_relu(c), pleat_nn_dropout(c, 0.2),
                               pleat_nn_flatten(c), pleat_nn_linear(c, 27, 5));
}

static void summary(world *w, const row *r) {
    (void)r;
    static char unread[4096];
    size_t count = 0;
    pleat_nn_module *m = network(w->ctx);
    FILE *out = m ? fmemopen(unread, sizeof unread, "w") : NULL;
    pleat_nn_layer_info rows[8];
    if (take_pointer(w, m)) take_status(w, pleat_nn_layers(m, PLEAT_SHAPE(1, 1, 8, 8), rows, 8, &count));
    if (out) take_status(w, pleat_nn_summary(m, PLEAT_SHAPE(1, 1, 8, 8), out));
    if (m && !out) pleat_fail(w->ctx, PLEAT_ERR_MEMORY, "fmemopen", "no memory");
    take_number(w, (double)count);
    if (out) fclose(out);
    pleat_nn_free(m);
}

/* ---- initialisers, losses ------------------------------------------------------------------------------------ */

static void init(world *w, const row *r) {
    pleat_tensor *t = drawn(w, PLEAT_SHAPE(3, 4));
    if (!pleat_is_poison(t)) take_status(w, r->init(t, 1));
    take(w, t);
}

static void init_uniform(world *w, const row *r) {
    (void)r;
    pleat_tensor *t = drawn(w, PLEAT_SHAPE(3, 4));
    if (!pleat_is_poison(t)) take_status(w, pleat_nn_init_uniform(t, 0, 1));
    take(w, t);
}

static void loss(world *w, const row *r) {
    pleat_tensor *xs[] = {drawn(w, PLEAT_SHAPE(2, 3)), drawn(w, PLEAT_SHAPE(2, 3))};
    take_with_gradients(w, r->loss((pleat_nn_loss_args){.x = xs[0], .target = xs[1]}), 2, xs);
}

static void losses_of_classes(world *w, const row *r) {
    (void)r;
    pleat_tensor *xs[] = {drawn(w, PLEAT_SHAPE(3, 4)), drawn(w, PLEAT_SHAPE(3, 4))};
    static const size_t labels[] = {2, 0, 3};
    take_with_gradients(w, pleat_nn_cross_entropy_loss(xs[0], .labels = labels, .label_smoothing = 0.1), 1,
                        xs);
    take_with_gradients(w, pleat_nn_cross_entropy_loss(xs[0], xs[1]), 1, xs);
    take_with_gradients(w, pleat_nn_kl_loss(xs[0], xs[1]), 2, xs);
    pleat_tensor *masks[] = {drawn(w, PLEAT_SHAPE(2, 1, 3)), drawn(w, PLEAT_SHAPE(2, 1, 3))};
    take_with_gradients(w, pleat_nn_dice_loss(masks[0], masks[1]), 2, masks);
    take(w, pleat_nn_one_hot(w->ctx, PLEAT_F32, 3, labels, 4));
    double share = pleat_nn_accuracy(xs[0], labels);
    w->failed = w->failed || isnan(share);
    take_number(w, isnan(share) ? 0 : share);
}

/* ---- optimizers ------------------------------------------------------------------------------------------------ */

static pleat_nn_optimizer *sgd(pleat_nn_module *m) {
    return pleat_nn_sgd(m, .lr = 0.1, .momentum = 0.9, .nesterov = true);
}
static pleat_nn_optimizer *adam(pleat_nn_module *m) { return pleat_nn_adam(m, .clip_norm = 1); }
static pleat_nn_optimizer *adamw(pleat_nn_module *m) {
    return pleat_nn_adamw(m, .clip_value = 0.1, .group = {{.max_rank = 1, .no_decay = true}});
}
static pleat_nn_optimizer *rmsprop(pleat_nn_module *m) {
    return pleat_nn_rmsprop(m, .momentum = 0.5, .centered = true);
}

static uint64_t state_of(pleat_nn_module *m) {
    world only = {.ctx = NULL};
    for (size_t i = 0; i < pleat_nn_state_count(m); i++) take(&only, pleat_nn_state(m, i));
    return only.digest;
}

/* Steps, by a loss and by gradients of one's own; a step that fails leaves the parameters as they were. */
static void steps(world *w, pleat_nn_module *m, pleat_nn_optimizer *o) {
    pleat_tensor *x = drawn(w, PLEAT_SHAPE(3, 4)), *grads[2];
    pleat_tensor *y = pleat_mean(pleat_square(pleat_nn_forward(m, x)));
    uint64_t before = state_of(m);
    pleat_status s = pleat_nn_step(o, y);
    if (s && state_of(m) != before) pleat_clear_error(w->ctx); /* which the driver will not take */
    take_status(w, s);
    for (size_t i = 0; i < 2; i++) grads[i] = pleat_full_like(pleat_nn_param(m, i), 0.5);
    if (pleat_is_poison(grads[0]) || pleat_is_poison(grads[1])) return;
    before = state_of(m);
    s = pleat_nn_update(o, grads);
    if (s && state_of(m) != before) pleat_clear_error(w->ctx);
    take_status(w, s);
}

/* A step over three micro-batches, the third of which makes room for a second node. */
static void accumulated(world *w, pleat_nn_module *m, pleat_nn_optimizer *o) {
    uint64_t before = state_of(m);
    pleat_status s = PLEAT_OK;
    for (size_t i = 0; i < 3 && !s; i++)
        s = pleat_nn_accumulate(o, pleat_mean(pleat_square(pleat_nn_forward(m, drawn(w, PLEAT_SHAPE(3, 4))))),
                                0.25);
    if (!s) s = pleat_nn_step_accumulated(o);
    if (s && state_of(m) != before) pleat_clear_error(w->ctx);
    take_status(w, s);
}

static void optimizers(world *w, const row *r) {
    (void)r;
    pleat_nn_optimizer *(*const makers[])(pleat_nn_module *) = {sgd, adam, adamw, rmsprop};
    for (size_t i = 0; i < 4; i++) {
        pleat_nn_module *m = pleat_nn_linear(w->ctx, 4, 2);
        pleat_nn_optimizer *o = m ? makers[i](m) : NULL;
        pleat_nn_ema *ema = m ? pleat_nn_ema_new(m, 0.5) : NULL;
        bool all = take_pointer(w, m) && take_pointer(w, o) && take_pointer(w, ema);
        if (all) {
            steps(w, m, o);
            accumulated(w, m, o);
            pleat_nn_ema_update(ema);
            pleat_nn_ema_swap(ema);
            take(w, pleat_nn_param(m, 0));
        }
        pleat_nn_ema_free(ema);
        pleat_nn_optimizer_free(o);
        pleat_nn_free(m);
    }
}

/* ---- images and loaders ------------------------------------------------------------------------------------------ */

static void batches(world *w, const row *r) {
    (void)r;
    pleat_nn_batches b;
    take_status(w, pleat_nn_batches_new(w->ctx, 5, 2, &b));
    take_pointer(w, b.order);
    pleat_nn_batches_free(&b);
}

static void images(world *w, const row *r) {
    (void)r;
    pleat_nn_images i;
    pleat_status s = pleat_nn_shapes(w->ctx, 3, 8, 8, 1, &i);
    take_status(w, s);
    if (!s) take(w, pleat_nn_image_batch(w->ctx, PLEAT_F32, &i, (size_t[]){2, 0}, 0, 2));
    pleat_nn_images_free(&i);
}

static void take_batches(world *w, pleat_nn_loader *l) {
    pleat_nn_batch b;
    pleat_nn_loader_start(l, 1, 0);
    while (pleat_nn_loader_next(l, &b)) take(w, b.x), take(w, b.clean), take_number(w, (double)b.labels[0]);
    if (pleat_error(w->ctx)->code) w->failed = true;
}

static void loader(world *w, const row *r) {
    (void)r;
    pleat_nn_images i;
    pleat_status s = pleat_nn_shapes(w->ctx, 5, 8, 8, 1, &i);
    take_status(w, s);
    for (int threaded = 0; threaded < 2 && !s; threaded++) {
        pleat_nn_loader *l =
            pleat_nn_loader_new(w->ctx, &i, .batch = 2, .shuffle = true, .no_prefetch = !threaded,
                                .keep_last = true, .transform = {.flip = 0.5, .noise = 0.1});
        if (take_pointer(w, l)) take_batches(w, l);
        pleat_nn_loader_free(l);
    }
    pleat_nn_images_free(&i);
}

/* Arrays as a data set, one half of it. */
static void sets(world *w, const row *r) {
    (void)r;
    pleat_nn_data all = {0}, half[2] = {{0}};
    pleat_tensor *x = drawn(w, PLEAT_SHAPE(6, 3)),
                 *labels = pleat_zeros(w->ctx, PLEAT_F32, PLEAT_SHAPE(2, 6));
    if (pleat_is_poison(x) || pleat_is_poison(labels)) return;
    take_status(w, pleat_nn_data_add(w->ctx, &all, "x", PLEAT_NN_F32, x));
    if (!w->failed)
        take_status(w, pleat_nn_data_add(w->ctx, &all, "y", PLEAT_NN_LABELS,
                                         pleat_permute(labels, (size_t[]){1, 0})));
    if (!w->failed) take_status(w, pleat_nn_split(w->ctx, &all, 0.5, 1, &half[0], &half[1]));
    pleat_nn_loader *l =
        w->failed ? NULL : pleat_nn_loader_new(w->ctx, .data = &half[0], .batch = 2, .no_prefetch = true);
    if (!w->failed && take_pointer(w, l)) take_batches(w, l);
    pleat_nn_loader_free(l);
    for (size_t i = 0; i < 2; i++) pleat_nn_data_free(&half[i]);
    pleat_nn_data_free(&all);
}

/* ---- runs ---------------------------------------------------------------------------------------------------------- */

typedef struct job {
    pleat_nn_images images;
    pleat_nn_module *net;
    pleat_nn_optimizer *opt;
    pleat_nn_ema *ema;
    pleat_nn_loader *train, *valid;
} job;

static pleat_tensor *loss_of(void *user, const pleat_nn_batch *b, double *metric) {
    job *j = user;
    pleat_tensor *y = pleat_nn_forward(j->net, b->x);
    *metric = pleat_nn_accuracy(y, b->labels);
    return pleat_nn_cross_entropy_loss(y, .labels = b->labels);
}

static bool start(world *w, job *j) {
    *j = (job){.net = NULL};
    if (pleat_nn_shapes(w->ctx, 6, 8, 8, 1, &j->images)) return take_pointer(w, NULL);
    j->net = network(w->ctx);
    j->opt = j->net ? pleat_nn_adam(j->net, .lr = 0.01) : NULL;
    j->ema = j->net ? pleat_nn_ema_new(j->net, 0.9) : NULL;
    j->train =
        pleat_nn_loader_new(w->ctx, &j->images, .batch = 3, .shuffle = true, .transform = {.flip = 0.5});
    j->valid = pleat_nn_loader_new(w->ctx, &j->images, .batch = 4, .keep_last = true, .no_prefetch = true);
    return take_pointer(w, j->opt) && take_pointer(w, j->ema) && take_pointer(w, j->train) &&
           take_pointer(w, j->valid);
}

static void end(job *j) {
    pleat_nn_loader_free(j->train);
    pleat_nn_loader_free(j->valid);
    pleat_nn_ema_free(j->ema);
    pleat_nn_optimizer_free(j->opt);
    pleat_nn_free(j->net);
    pleat_nn_images_free(&j->images);
}

/* A run in memory: its steps, validation, averages. */
static void fit(world *w, const row *r) {
    (void)r;
    job j;
    pleat_nn_run run = {.epochs = 0};
    if (start(w, &j)) {
        pleat_nn_fit_args a = {.run = &run,
                               .part = {{"net", j.net, j.opt, j.ema}},
                               .train = j.train,
                               .valid = j.valid,
                               .epochs = 2,
                               .loss = loss_of,
                               .user = &j,
                               .metric_name = "accuracy"};
        double value = 0, metric = 0;
        take_status(w, pleat_nn_fit_with(a));
        for (size_t i = 0; i < run.epochs; i++) take_number(w, run.epoch[i].valid_loss);
        if (!pleat_error(w->ctx)->code) take_status(w, pleat_nn_evaluate(&a, j.valid, &value, &metric));
        if (!w->failed) take_number(w, value), take_number(w, metric);
        take(w, pleat_nn_param(j.net, 0));
    }
    pleat_nn_run_free(&run);
    end(&j);
}

/* A step of a network, from batch to update. */
static void training_step(world *w, const row *r) {
    (void)r;
    job j;
    if (start(w, &j)) {
        pleat_nn_batch b;
        double metric = 0;
        pleat_nn_loader_start(j.train, 0, 0);
        if (pleat_nn_loader_next(j.train, &b)) {
            uint64_t before = state_of(j.net);
            pleat_tensor *l = loss_of(&j, &b, &metric);
            take_status(w, pleat_nn_step(j.opt, l));
            take(w, l);
            if (!w->failed && state_of(j.net) == before) w->failed = true;
            take(w, pleat_nn_param(j.net, 0));
        }
    }
    end(&j);
}

static void progress(world *w, const row *r) {
    (void)r;
    static char unread[4096];
    FILE *out = fmemopen(unread, sizeof unread, "w");
    if (!out) {
        pleat_fail(w->ctx, PLEAT_ERR_MEMORY, "fmemopen", "no memory");
        return;
    }
    pleat_nn_progress p = pleat_nn_progress_start(out, "title", 4);
    for (size_t i = 1; i <= 4; i++) pleat_nn_progress_show(&p, i, 2, 0.5);
    pleat_nn_progress_end(&p);
    fclose(out);
}

const row faults_nn[] = {
    {" pleat_nn_relu ", module, .module = pleat_nn_relu},
    {" pleat_nn_relu6 ", module, .module = pleat_nn_relu6},
    {" pleat_nn_sigmoid ", module, .module = pleat_nn_sigmoid},
    {" pleat_nn_tanh ", module, .module = pleat_nn_tanh},
    {" pleat_nn_gelu ", module, .module = pleat_nn_gelu},
    {" pleat_nn_silu ", module, .module = pleat_nn_silu},
    {" pleat_nn_softplus ", module, .module = pleat_nn_softplus},
    {" pleat_nn_flatten ", module, .module = pleat_nn_flatten},
    {" pleat_nn_elu ", module_with_number, .module_with_number = pleat_nn_elu},
    {" pleat_nn_leaky_relu ", module_with_number, .module_with_number = pleat_nn_leaky_relu},
    {" pleat_nn_dropout ", module_with_number, .module_with_number = pleat_nn_dropout},
    {" pleat_nn_softmax ", module_with_size, .module_with_size = pleat_nn_softmax},
    {" pleat_nn_log_softmax ", module_with_size, .module_with_size = pleat_nn_log_softmax},
    {" pleat_nn_upsample_nearest ", module_with_size, .module_with_size = pleat_nn_upsample_nearest},
    {" pleat_nn_upsample_bilinear ", module_with_size, .module_with_size = pleat_nn_upsample_bilinear},
    {" pleat_nn_pixel_shuffle ", module_with_size, .module_with_size = pleat_nn_pixel_shuffle},
    {" pleat_nn_linear_with pleat_nn_conv2d_with pleat_nn_conv_transpose2d_with pleat_nn_conv1d_with"
     " pleat_nn_conv_transpose1d_with pleat_nn_prelu ",
     weighted, .module = NULL},
    {" pleat_nn_batch_norm1d_with pleat_nn_batch_norm2d_with pleat_nn_group_norm_with pleat_nn_instance_norm_with"
     " pleat_nn_layer_norm_with ",
     normalizing, .module = NULL},
    {" pleat_nn_max_pool2d_with pleat_nn_avg_pool2d_with pleat_nn_max_pool1d_with pleat_nn_avg_pool1d_with"
     " pleat_nn_reflection_pad2d_with pleat_nn_replication_pad2d_with pleat_nn_adaptive_avg_pool2d pleat_nn_unflatten ",
     shaping, .module = NULL},
    {" pleat_nn_prepare_with ", prepared, .unary = NULL},
    {" pleat_nn_module_new pleat_nn_add_param pleat_nn_add_buffer pleat_nn_add_child pleat_nn_forward ", own,
     .module = NULL},
    {" pleat_nn_layers pleat_nn_summary pleat_nn_sequential_of ", summary, .module = NULL},
    {" pleat_nn_init_kaiming_uniform ", init, .init = pleat_nn_init_kaiming_uniform},
    {" pleat_nn_init_kaiming_normal ", init, .init = pleat_nn_init_kaiming_normal},
    {" pleat_nn_init_xavier_uniform ", init, .init = pleat_nn_init_xavier_uniform},
    {" pleat_nn_init_xavier_normal ", init, .init = pleat_nn_init_xavier_normal},
    {" pleat_nn_init_uniform ", init_uniform, .module = NULL},
    {" pleat_nn_mse_loss_with ", loss, .loss = pleat_nn_mse_loss_with},
    {" pleat_nn_l1_loss_with ", loss, .loss = pleat_nn_l1_loss_with},
    {" pleat_nn_huber_loss_with ", loss, .loss = pleat_nn_huber_loss_with},
    {" pleat_nn_bce_loss_with ", loss, .loss = pleat_nn_bce_loss_with},
    {" pleat_nn_bce_with_logits_loss_with ", loss, .loss = pleat_nn_bce_with_logits_loss_with},
    {" pleat_nn_cross_entropy_loss_with pleat_nn_kl_loss pleat_nn_dice_loss_with pleat_nn_one_hot pleat_nn_accuracy ",
     losses_of_classes, .module = NULL},
    {" pleat_nn_sgd_with pleat_nn_adam_with pleat_nn_adamw_with pleat_nn_rmsprop_with pleat_nn_step"
     " pleat_nn_update pleat_nn_accumulate pleat_nn_step_accumulated pleat_nn_ema_new ",
     optimizers, .module = NULL},
    {" pleat_nn_batches_new ", batches, .module = NULL},
    {" pleat_nn_shapes pleat_nn_image_batch ", images, .module = NULL},
    {" pleat_nn_loader_new_with pleat_nn_loader_start pleat_nn_loader_next ", loader, .module = NULL},
    {" pleat_nn_data_add pleat_nn_split ", sets, .module = NULL},
    {" a_training_step ", training_step, .module = NULL},
    {" pleat_nn_fit_with pleat_nn_evaluate ", fit, .module = NULL},
    {" pleat_nn_progress_start pleat_nn_progress_show pleat_nn_progress_end ", progress, .module = NULL},
    {.covers = NULL},
};

/* A generative adversarial network with gradient penalty (Gulrajani et al. 2017). The critic's loss contains
 * the norm of its own gradient with respect to an image, so its training takes the gradient of a gradient,
 * through convolutions; the generator is made of transposed ones. */
#include "example.h"

enum { SAMPLES = 96, COLUMNS = 16 };

typedef struct job {
    example e;
    size_t latent, ratio; /* critic steps for one of the generator */
    double penalty;
    pleat_nn_module *critic, *generator;
    pleat_nn_optimizer *critic_adam, *generator_adam;
    pleat_nn_ema *average;
} job;

/* ---- the networks ----------------------------------------------------------------------------------------- */

/* x [N,1,28,28] -> [N,1], without a normalisation over the batch: the penalty is a matter of single images */
static pleat_nn_module *make_critic(pleat_ctx *ctx) {
    return pleat_nn_sequential(
        ctx, pleat_nn_conv2d(ctx, 1, 32, .kernel = {4, 4}, .stride = {2, 2}, .pad = {1, 1}),
        pleat_nn_leaky_relu(ctx, 0.2),
        pleat_nn_conv2d(ctx, 32, 64, .kernel = {4, 4}, .stride = {2, 2}, .pad = {1, 1}),
        pleat_nn_leaky_relu(ctx, 0.2), pleat_nn_flatten(ctx), pleat_nn_linear(ctx, 64 * 7 * 7, 1));
}

/* z [N,latent] -> [N,1,28,28] */
static pleat_nn_module *make_generator(pleat_ctx *ctx, size_t latent) {
    return pleat_nn_sequential(
        ctx, pleat_nn_linear(ctx, latent, 64 * 7 * 7), pleat_nn_unflatten(ctx, PLEAT_SHAPE(64, 7, 7)),
        pleat_nn_batch_norm2d(ctx, 64), pleat_nn_relu(ctx),
        pleat_nn_conv_transpose2d(ctx, 64, 32, .kernel = {4, 4}, .stride = {2, 2}, .pad = {1, 1},
                                  .no_bias = true),
        pleat_nn_batch_norm2d(ctx, 32), pleat_nn_relu(ctx),
        pleat_nn_conv_transpose2d(ctx, 32, 1, .kernel = {4, 4}, .stride = {2, 2}, .pad = {1, 1}),
        pleat_nn_sigmoid(ctx));
}

static bool make_networks(job *j) {
    double lr = j->e.lr;
    j->critic = make_critic(j->e.ctx);
    j->generator = make_generator(j->e.ctx, j->latent);
    if (j->critic == NULL || !example_load(&j->e, j->generator)) return false;
    j->critic_adam = pleat_nn_adam(j->critic, .lr = lr, .betas = {0.5, 0.9});
    j->generator_adam = pleat_nn_adam(j->generator, .lr = lr, .betas = {0.5, 0.9});
    j->average = pleat_nn_ema_new(j->generator, 0.995);
    return j->average != NULL;
}

/* ---- training --------------------------------------------------------------------------------------------- */

static pleat_tensor *generate(job *j, size_t n) {
    return pleat_nn_forward(j->generator, pleat_randn(j->e.ctx, PLEAT_F32, PLEAT_SHAPE(n, j->latent)));
}

/* mean (|d critic / d x| - 1)^2 at random points between real and made images */
static pleat_tensor *gradient_penalty(job *j, pleat_tensor *real, pleat_tensor *made) {
    size_t n = pleat_size(real, 0);
    pleat_tensor *t = pleat_uniform(j->e.ctx, PLEAT_F32, PLEAT_SHAPE(n, 1, 1, 1), 0, 1), *slope;
    pleat_tensor *x = pleat_add(made, pleat_mul(t, pleat_sub(real, made)));
    pleat_tensor *score = pleat_sum(pleat_nn_forward(j->critic, x));
    if (pleat_grads(score, NULL, 1, &x, &slope, PLEAT_GRADS_RECORD) != PLEAT_OK) return slope;
    pleat_tensor *norm = pleat_sqrt(pleat_shift(pleat_sum(pleat_square(slope), PLEAT_AXES(1, 2, 3)), 1e-12));
    return pleat_mean(pleat_square(pleat_shift(norm, -1)));
}

static pleat_tensor *critic_loss(void *user, const pleat_nn_batch *b, double *metric) {
    job *j = user;
    pleat_tensor *made = pleat_detach(generate(j, b->n));
    pleat_tensor *distance = pleat_sub(pleat_mean(pleat_nn_forward(j->critic, b->x)),
                                       pleat_mean(pleat_nn_forward(j->critic, made)));
    pleat_tensor *penalty = gradient_penalty(j, b->x, made);
    *metric = pleat_item(penalty);
    return pleat_sub(pleat_scale(penalty, j->penalty), distance);
}

static pleat_tensor *generator_loss(void *user, const pleat_nn_batch *b, double *metric) {
    job *j = user;
    (void)metric;
    return pleat_neg(pleat_mean(pleat_nn_forward(j->critic, generate(j, b->n))));
}

/* The loss that is shown is the critic's estimate of how far made images are from real ones (Wasserstein's
 * distance); the metric is the penalty. */
static pleat_status step(void *user, const pleat_nn_batch *b, double *loss, double *metric) {
    job *j = user;
    double value;
    pleat_status s = pleat_nn_step_shared(j->critic_adam, b, critic_loss, j, &value, metric);
    *loss = j->penalty * *metric - value;
    if (s != PLEAT_OK || (b->number + 1) % j->ratio != 0) return s;
    return pleat_nn_step_shared(j->generator_adam, b, generator_loss, j, NULL, NULL);
}

/* ---- results ---------------------------------------------------------------------------------------------- */

static void write_results(job *j) {
    example *e = &j->e;
    pleat_scope scope = pleat_begin(e->ctx);
    pleat_set_recording(e->ctx, false);
    pleat_nn_ema_swap(j->average);
    pleat_nn_set_training(j->generator, false);
    const pleat_nn_epoch *last = &e->run.epoch[e->run.epochs - 1];
    printf("\ncritic's distance between real and made images  %.3f (first epoch: %.3f)\n\n", last->loss,
           e->run.epoch[0].loss);
    pleat_tensor *samples = generate(j, SAMPLES);
    example_picture(e, "samples.png", "images that never were", &(example_grid){samples, COLUMNS, 2});
    example_save(e, j->generator);
    example_export(e, j->generator, PLEAT_SHAPE(1, j->latent));
    pleat_nn_report *r =
        example_report(e, "A generative adversarial network",
                       "With gradient penalty: the critic's loss contains the norm of its own "
                       "gradient. Loss is its estimate of the distance between real and made "
                       "images, metric the penalty.");
    pleat_nn_report_run(r, &e->run, "penalty");
    pleat_nn_report_heading(r, "Pictures");
    pleat_nn_report_images(r, "Made from random numbers", samples, COLUMNS, 2);
    pleat_nn_report_images(
        r, "Real ones", pleat_nn_image_batch(e->ctx, PLEAT_F32, &e->test, NULL, 0, COLUMNS * 2), COLUMNS, 2);
    pleat_nn_report_heading(r, "The generator");
    pleat_nn_report_summary(r, j->generator, PLEAT_SHAPE(1, j->latent));
    pleat_nn_report_heading(r, "The critic");
    pleat_nn_report_summary(r, j->critic, PLEAT_SHAPE(1, 1, EXAMPLE_SIDE, EXAMPLE_SIDE));
    example_write_report(e, r);
    pleat_end(scope);
}

/* ---- the program ------------------------------------------------------------------------------------------ */

int main(int argc, char **argv) {
    job j = {.e = {.name = "wgan_gp", .epochs = 10, .batch = 64, .lr = 5e-4},
             .latent = 64,
             .ratio = 3,
             .penalty = 10};
    const option_row rows[] = {
        {"latent", "N", "random numbers that an image is made of", OPTION_COUNT, &j.latent, 1, 4096},
        {"ratio", "N", "steps of the critic for one of the generator", OPTION_COUNT, &j.ratio, 1, 100},
        {"penalty", "WEIGHT", "of the gradient penalty", OPTION_REAL, &j.penalty, 0, 0},
    };
    example_options(&j.e,
                    "Trains a generator and a critic with gradient penalty on 28x28 grey images.\n"
                    "Writes metrics.csv, report.html, samples.png and wgan_gp.safetensors (the generator).",
                    rows, sizeof rows / sizeof *rows, argc, argv);
    if (example_begin(&j.e) && make_networks(&j)) {
        pleat_nn_fit_args args = {.part = {{"generator", j.generator, j.generator_adam, j.average},
                                           {"critic", j.critic, j.critic_adam, NULL}},
                                  .step = step,
                                  .user = &j,
                                  .metric_name = "penalty"};
        if (example_fit(&j.e, args)) write_results(&j);
    }
    pleat_nn_ema_free(j.average);
    pleat_nn_optimizer_free(j.generator_adam);
    pleat_nn_optimizer_free(j.critic_adam);
    pleat_nn_free(j.generator);
    pleat_nn_free(j.critic);
    return example_end(&j.e);
}

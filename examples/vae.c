/* A variational autoencoder (Kingma and Welling 2014): an image becomes a normal distribution over codes, and
 * a code an image, so new images can be drawn. Its report has samples and walks from one image to another. */
#include "example.h"

#include <math.h>

enum { SAMPLES = 64, COLUMNS = 16, WALKS = 5 };

typedef struct job {
    example e;
    size_t latent;
    double beta;
    pleat_nn_module *encoder, *decoder, *net;
    pleat_nn_optimizer *adam;
} job;

/* ---- the network ------------------------------------------------------------------------------------------ */

/* x [N,1,28,28] -> [N,2 latent]: mean and logarithm of the variance */
static pleat_nn_module *make_encoder(pleat_ctx *ctx, size_t latent) {
    return pleat_nn_sequential(
        ctx, pleat_nn_conv2d(ctx, 1, 16, .kernel = {3, 3}, .stride = {2, 2}, .pad = {1, 1}),
        pleat_nn_silu(ctx), pleat_nn_conv2d(ctx, 16, 32, .kernel = {3, 3}, .stride = {2, 2}, .pad = {1, 1}),
        pleat_nn_silu(ctx), pleat_nn_flatten(ctx), pleat_nn_linear(ctx, 32 * 7 * 7, 128), pleat_nn_silu(ctx),
        pleat_nn_linear(ctx, 128, 2 * latent));
}

/* z [N,latent] -> [N,1,28,28], logits of the grey values */
static pleat_nn_module *make_decoder(pleat_ctx *ctx, size_t latent) {
    return pleat_nn_sequential(
        ctx, pleat_nn_linear(ctx, latent, 128), pleat_nn_silu(ctx), pleat_nn_linear(ctx, 128, 32 * 7 * 7),
        pleat_nn_silu(ctx), pleat_nn_unflatten(ctx, PLEAT_SHAPE(32, 7, 7)),
        pleat_nn_conv_transpose2d(ctx, 32, 16, .kernel = {4, 4}, .stride = {2, 2}, .pad = {1, 1}),
        pleat_nn_silu(ctx),
        pleat_nn_conv_transpose2d(ctx, 16, 1, .kernel = {4, 4}, .stride = {2, 2}, .pad = {1, 1}));
}

static bool make_network(job *j) {
    pleat_ctx *ctx = j->e.ctx;
    j->encoder = make_encoder(ctx, j->latent);
    j->decoder = make_decoder(ctx, j->latent);
    j->net = pleat_nn_sequential(ctx, j->encoder, j->decoder); /* owns both; its own forward is not used */
    if (example_load(&j->e, j->net)) j->adam = pleat_nn_adam(j->net, .lr = j->e.lr);
    return j->adam != NULL;
}

/* The half of the encoder's result: 0 the mean, 1 the logarithm of the variance. */
static pleat_tensor *half(const job *j, pleat_tensor *encoded, size_t which) {
    return pleat_slice(encoded, (size_t[]){0, which * j->latent},
                       (size_t[]){pleat_size(encoded, 0), j->latent}, NULL);
}

/* The negative evidence lower bound in nats an image; the metric is its second part, the divergence. */
static pleat_tensor *loss(void *user, const pleat_nn_batch *b, double *metric) {
    job *j = user;
    double images = (double)b->n;
    pleat_tensor *encoded = pleat_nn_forward(j->encoder, b->x);
    pleat_tensor *mean = half(j, encoded, 0), *log_var = half(j, encoded, 1);
    pleat_tensor *noise = pleat_randn(j->e.ctx, PLEAT_F32, PLEAT_SHAPE(b->n, j->latent));
    pleat_tensor *z = pleat_add(mean, pleat_mul(noise, pleat_exp(pleat_scale(log_var, 0.5))));
    pleat_tensor *logits = pleat_nn_forward(j->decoder, z);
    pleat_tensor *likelihood = pleat_nn_bce_with_logits_loss(logits, b->clean, .reduction = PLEAT_NN_SUM);
    pleat_tensor *divergence = pleat_mean(pleat_nn_kl_loss(mean, log_var));
    *metric = pleat_item(divergence);
    return pleat_add(pleat_scale(likelihood, 1 / images), pleat_scale(divergence, j->beta));
}

/* ---- results ---------------------------------------------------------------------------------------------- */

static pleat_tensor *decode(job *j, pleat_tensor *z) {
    return pleat_sigmoid(pleat_nn_forward(j->decoder, z));
}

static pleat_tensor *codes(job *j, pleat_tensor *x) { return half(j, pleat_nn_forward(j->encoder, x), 0); }

/* WALKS rows; each goes from the code of one test image to that of another in COLUMNS steps. */
static pleat_tensor *walks(job *j) {
    pleat_tensor *row[WALKS];
    for (size_t i = 0; i < WALKS; i++) {
        pleat_tensor *from = pleat_nn_image_batch(j->e.ctx, PLEAT_F32, &j->e.test, NULL, 2 * i, 1);
        pleat_tensor *to = pleat_nn_image_batch(j->e.ctx, PLEAT_F32, &j->e.test, NULL, 2 * i + 1, 1);
        double share[COLUMNS];
        for (size_t k = 0; k < COLUMNS; k++) share[k] = (double)k / (COLUMNS - 1);
        pleat_tensor *t = pleat_from_f64(j->e.ctx, PLEAT_F32, PLEAT_SHAPE(COLUMNS, 1), share);
        pleat_tensor *start = codes(j, from);
        row[i] = decode(j, pleat_add(start, pleat_mul(t, pleat_sub(codes(j, to), start))));
    }
    return pleat_concat(WALKS, row, 0);
}

static void write_results(job *j) {
    example *e = &j->e;
    pleat_scope scope = pleat_begin(e->ctx);
    pleat_set_recording(e->ctx, false);
    const pleat_nn_epoch *last = &e->run.epoch[e->run.epochs - 1];
    printf("\ntest loss (nats an image)  %.2f, of which divergence %.2f\n\n", last->valid_loss,
           last->valid_metric);
    pleat_tensor *samples = decode(j, pleat_randn(e->ctx, PLEAT_F32, PLEAT_SHAPE(SAMPLES, j->latent)));
    pleat_tensor *walk = walks(j), *x = pleat_nn_image_batch(e->ctx, PLEAT_F32, &e->test, NULL, 0, COLUMNS);
    pleat_tensor *both = pleat_concat(2, (pleat_tensor *[]){x, decode(j, codes(j, x))}, 0);
    example_picture(e, "samples.png", "images that never were", &(example_grid){samples, COLUMNS, 2});
    example_picture(e, "walk.png", "from one test image to another, through codes",
                    &(example_grid){walk, COLUMNS, 2});
    example_save(e, j->net);
    example_export(e, j->decoder, PLEAT_SHAPE(1, j->latent)); /* codes to images */
    pleat_nn_report *r =
        example_report(e, "A variational autoencoder",
                       "An image becomes a normal distribution over codes, and a code an image.");
    pleat_nn_report_run(r, &e->run, "divergence");
    pleat_nn_report_heading(r, "Pictures");
    pleat_nn_report_images(r, "Samples: decoded from random codes", samples, COLUMNS, 2);
    pleat_nn_report_images(r, "Walks: each row goes from one test image to another", walk, COLUMNS, 2);
    pleat_nn_report_images(r, "Test images above, their reconstructions below", both, COLUMNS, 2);
    pleat_nn_report_heading(r, "The encoder");
    pleat_nn_report_summary(r, j->encoder, PLEAT_SHAPE(1, 1, EXAMPLE_SIDE, EXAMPLE_SIDE));
    pleat_nn_report_heading(r, "The decoder");
    pleat_nn_report_summary(r, j->decoder, PLEAT_SHAPE(1, j->latent));
    example_write_report(e, r);
    pleat_end(scope);
}

/* ---- the program ------------------------------------------------------------------------------------------ */

int main(int argc, char **argv) {
    job j = {.e = {.name = "vae", .epochs = 10, .batch = 64, .lr = 1e-3}, .latent = 16, .beta = 1};
    const option_row rows[] = {
        {"latent", "N", "numbers in a code", OPTION_COUNT, &j.latent, 1, 4096},
        {"beta", "WEIGHT", "of the divergence in the loss (Higgins et al. 2017)", OPTION_REAL, &j.beta, 0, 0},
    };
    example_options(&j.e,
                    "Trains a variational autoencoder on 28x28 grey images, and draws new ones.\n"
                    "Writes metrics.csv, report.html, samples.png, walk.png and vae.safetensors.",
                    rows, sizeof rows / sizeof *rows, argc, argv);
    if (example_begin(&j.e) && make_network(&j)) {
        size_t steps = j.e.epochs * pleat_nn_loader_batches(j.e.train_loader);
        pleat_nn_fit_args args = {.part = {{"net", j.net, j.adam, NULL}},
                                  .loss = loss,
                                  .user = &j,
                                  .metric_name = "divergence",
                                  .schedule = {.cosine = steps, .least = 0.05 * j.e.lr}};
        if (example_fit(&j.e, args)) write_results(&j);
    }
    pleat_nn_optimizer_free(j.adam);
    pleat_nn_free(j.net);
    return example_end(&j.e);
}

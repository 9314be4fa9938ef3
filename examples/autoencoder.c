/* A convolutional autoencoder: 28x28 pixels to a few numbers and back. With --denoise it is given noisy
 * images and learns to return the clean ones; with --latent 2 its report has a map of the test set. */
#include "example.h"

enum { SHOWN = 16, MAPPED = 2000 };

typedef struct job {
    example e;
    size_t latent;
    bool denoise;
    pleat_nn_module *encoder, *decoder, *net;
    pleat_nn_optimizer *adam;
} job;

/* ---- the network ------------------------------------------------------------------------------------------ */

static pleat_nn_module *make_encoder(pleat_ctx *ctx, size_t latent) {
    return pleat_nn_sequential(
        ctx,                                                                            //
        pleat_nn_conv2d(ctx, 1, 16, .kernel = {3, 3}, .stride = {2, 2}, .pad = {1, 1}), // 14
        pleat_nn_relu(ctx),
        pleat_nn_conv2d(ctx, 16, 32, .kernel = {3, 3}, .stride = {2, 2}, .pad = {1, 1}), // 7
        pleat_nn_relu(ctx), pleat_nn_flatten(ctx), pleat_nn_linear(ctx, 32 * 7 * 7, latent));
}

static pleat_nn_module *make_decoder(pleat_ctx *ctx, size_t latent) {
    return pleat_nn_sequential(ctx, pleat_nn_linear(ctx, latent, 32 * 7 * 7), pleat_nn_relu(ctx),
                               pleat_nn_unflatten(ctx, PLEAT_SHAPE(32, 7, 7)),
                               pleat_nn_conv_transpose2d(ctx, 32, 16, .kernel = {3, 3}, .stride = {2, 2},
                                                         .pad = {1, 1}, .output_padding = {1, 1}), // 14
                               pleat_nn_relu(ctx),
                               pleat_nn_conv_transpose2d(ctx, 16, 1, .kernel = {3, 3}, .stride = {2, 2},
                                                         .pad = {1, 1}, .output_padding = {1, 1}), // 28
                               pleat_nn_sigmoid(ctx));
}

static bool make_network(job *j) {
    pleat_ctx *ctx = j->e.ctx;
    j->encoder = make_encoder(ctx, j->latent);
    j->decoder = make_decoder(ctx, j->latent);
    j->net = pleat_nn_sequential(ctx, j->encoder, j->decoder); /* owns both */
    if (example_load(&j->e, j->net)) j->adam = pleat_nn_adam(j->net, .lr = j->e.lr);
    return j->adam != NULL;
}

static pleat_tensor *loss(void *user, const pleat_nn_batch *b, double *metric) {
    job *j = user;
    (void)metric;
    return pleat_nn_mse_loss(pleat_nn_forward(j->net, b->x), b->clean);
}

/* ---- results ---------------------------------------------------------------------------------------------- */

/* A row of test images (below it what the network was given, if that is noisy), and below what it makes of
 * them. */
static pleat_tensor *pictures(job *j) {
    pleat_nn_batch b;
    pleat_nn_loader_start(j->e.test_loader, 0, 0);
    if (!pleat_nn_loader_next(j->e.test_loader, &b)) return pleat_poison(j->e.ctx);
    size_t n = b.n < SHOWN ? b.n : SHOWN, size[] = {n, 1, EXAMPLE_SIDE, EXAMPLE_SIDE};
    pleat_tensor *clean = pleat_slice(b.clean, (size_t[4]){0}, size, NULL);
    pleat_tensor *given = pleat_slice(b.x, (size_t[4]){0}, size, NULL);
    pleat_tensor *made = pleat_nn_forward(j->net, given);
    return j->denoise ? pleat_concat(3, (pleat_tensor *[]){clean, given, made}, 0)
                      : pleat_concat(2, (pleat_tensor *[]){clean, made}, 0);
}

/* Where the test images lie, in the first two numbers of their codes. */
static void report_map(job *j, pleat_nn_report *r) {
    size_t n = j->e.test.count < MAPPED ? j->e.test.count : MAPPED;
    pleat_tensor *x = pleat_nn_image_batch(j->e.ctx, PLEAT_F32, &j->e.test, NULL, 0, n);
    size_t labels[MAPPED];
    for (size_t i = 0; i < n; i++) labels[i] = j->e.test.labels[i];
    pleat_nn_report_heading(r, "Where the test images lie");
    pleat_nn_report_scatter(r, "The two numbers that each image is reduced to, coloured by its class",
                            pleat_nn_forward(j->encoder, x), labels, j->e.test.classes,
                            example_class_names(&j->e));
}

/* What the decoder makes of codes on a grid between the corners of the map, 11 by 11. */
static void report_grid(job *j, pleat_nn_report *r) {
    enum { SIDE = 11 };
    size_t n = j->e.test.count < MAPPED ? j->e.test.count : MAPPED;
    pleat_tensor *x = pleat_nn_image_batch(j->e.ctx, PLEAT_F32, &j->e.test, NULL, 0, n);
    pleat_tensor *code = pleat_nn_forward(j->encoder, x), *mean = pleat_mean(code, PLEAT_AXES(0));
    pleat_tensor *width = pleat_sqrt(pleat_var(code, PLEAT_AXES(0)));
    double grid[SIDE * SIDE * 2];
    for (size_t i = 0; i < SIDE * SIDE; i++) {
        grid[2 * i] = ((double)(i % SIDE) - SIDE / 2) * 0.4;
        grid[2 * i + 1] = (SIDE / 2 - (double)(i / SIDE)) * 0.4;
    }
    pleat_tensor *at = pleat_from_f64(j->e.ctx, PLEAT_F32, PLEAT_SHAPE(SIDE * SIDE, 2), grid);
    pleat_nn_report_images(
        r, "What the decoder makes of codes on a grid, two deviations to each side of the mean",
        pleat_nn_forward(j->decoder, pleat_add(pleat_mul(at, width), mean)), SIDE, 2);
}

static void write_results(job *j) {
    example *e = &j->e;
    pleat_scope scope = pleat_begin(e->ctx);
    pleat_set_recording(e->ctx, false);
    pleat_nn_set_training(j->net, false);
    const pleat_nn_epoch *last = &e->run.epoch[e->run.epochs - 1];
    printf("\ntest loss (mean squared error)  %.5f\n", last->valid_loss);
    printf("images per second               %.0f\n\n", last->images_per_second);
    const char *caption = j->denoise
                              ? "test images above, what the network was given, and what it made of that"
                              : "test images above, their reconstructions below";
    pleat_tensor *shown = pictures(j);
    size_t columns = j->e.test.count < SHOWN ? j->e.test.count : SHOWN;
    example_picture(e, "reconstructions.png", caption, &(example_grid){shown, columns, 2});
    example_save(e, j->net);
    example_export(e, j->net, PLEAT_SHAPE(1, 1, EXAMPLE_SIDE, EXAMPLE_SIDE));
    pleat_nn_report *r = example_report(e, j->denoise ? "A denoising autoencoder" : "An autoencoder",
                                        "28x28 pixels to a few numbers and back, with strided and transposed "
                                        "convolutions.");
    pleat_nn_report_run(r, &e->run, NULL);
    pleat_nn_report_heading(r, "Pictures");
    pleat_nn_report_images(r, caption, shown, columns, 2);
    if (j->latent == 2 && e->test.labels != NULL) report_map(j, r);
    if (j->latent == 2) report_grid(j, r);
    pleat_nn_report_heading(r, "The network");
    pleat_nn_report_summary(r, j->net, PLEAT_SHAPE(1, 1, EXAMPLE_SIDE, EXAMPLE_SIDE));
    pleat_nn_report_filters(r, "The filters of the first layer", pleat_nn_find_param(j->net, "0.0.weight"));
    example_write_report(e, r);
    pleat_end(scope);
}

/* ---- the program ------------------------------------------------------------------------------------------ */

int main(int argc, char **argv) {
    job j = {.e = {.name = "autoencoder", .epochs = 5, .batch = 64, .lr = 2e-3}, .latent = 32};
    double noise = 0.3;
    const option_row rows[] = {
        {"latent", "N", "numbers that an image is reduced to; 2 draws a map", OPTION_COUNT, &j.latent, 1,
         4096},
        {"denoise", "", "give the network noisy images, ask for clean ones", OPTION_SWITCH, &j.denoise, 0, 0},
        {"noise", "SIGMA", "standard deviation of the noise of --denoise", OPTION_REAL, &noise, 0, 0},
    };
    example_options(&j.e,
                    "Trains a convolutional autoencoder: 28x28 grey images through a few numbers and back.\n"
                    "Writes metrics.csv, report.html, reconstructions.png and autoencoder.safetensors.",
                    rows, sizeof rows / sizeof *rows, argc, argv);
    if (j.denoise) j.e.transform.noise = noise;
    if (example_begin(&j.e) && make_network(&j)) {
        size_t steps = j.e.epochs * pleat_nn_loader_batches(j.e.train_loader);
        pleat_nn_fit_args args = {.part = {{"net", j.net, j.adam, NULL}},
                                  .loss = loss,
                                  .user = &j,
                                  .schedule = {.cosine = steps, .least = 0.05 * j.e.lr}};
        if (example_fit(&j.e, args)) write_results(&j);
    }
    pleat_nn_optimizer_free(j.adam);
    pleat_nn_free(j.net);
    return example_end(&j.e);
}

/* A classifier of less than 100,000 parameters: five convolutions with batch normalisation, three of them in
 * residual connections; random flips and shifts, smoothed labels, a cosine schedule and averaged weights. Its
 * report has the confusion table and the images it got wrong. */
#include "example.h"

#include <stdlib.h>

enum { BATCH = 250, WRONG = 64 };

typedef struct job {
    example e;
    pleat_nn_module *net;
    pleat_nn_optimizer *adamw;
    pleat_nn_ema *ema;
    size_t *counts; /* [truth][prediction] */
    size_t wrong[WRONG], wrongs, right;
} job;

/* ---- the network ------------------------------------------------------------------------------------------ */

/* y = relu(x + body(x)) */
static pleat_tensor *residual_forward(pleat_nn_module *m, pleat_tensor *x) {
    return pleat_add_relu(x, pleat_nn_forward(pleat_nn_child(m, 0), x));
}

static const pleat_nn_kind residual_kind = {.name = "Residual", .forward = residual_forward};

static pleat_nn_module *conv(pleat_ctx *ctx, size_t in, size_t out, size_t stride) {
    return pleat_nn_conv2d(ctx, in, out, .kernel = {3, 3}, .pad = {1, 1}, .stride = {stride, stride},
                           .no_bias = true);
}

/* x [N,C,H,W] -> [N,C,H,W] */
static pleat_nn_module *residual(pleat_ctx *ctx, size_t C) {
    pleat_nn_module *body = pleat_nn_sequential(ctx, conv(ctx, C, C, 1), pleat_nn_batch_norm2d(ctx, C));
    return pleat_nn_add_child(pleat_nn_module_new(ctx, &residual_kind, NULL, 0), "body", body);
}

/* The pool stands before the norm, which has a quarter of the work then. */
static bool make_network(job *j) {
    pleat_ctx *ctx = j->e.ctx;
    j->net =
        pleat_nn_sequential(ctx, conv(ctx, 1, 24, 1), pleat_nn_max_pool2d(ctx, .kernel = {2, 2}), // 14x14
                            pleat_nn_batch_norm2d(ctx, 24), pleat_nn_relu(ctx),                   //
                            residual(ctx, 24),                                                    //
                            conv(ctx, 24, 64, 2), pleat_nn_batch_norm2d(ctx, 64),                 // 7x7
                            pleat_nn_relu(ctx), residual(ctx, 64), residual(ctx, 64),             //
                            pleat_nn_adaptive_avg_pool2d(ctx, 1, 1), pleat_nn_flatten(ctx),       //
                            pleat_nn_dropout(ctx, 0.1), pleat_nn_linear(ctx, 64, j->e.test.classes));
    if (example_load(&j->e, j->net)) j->adamw = pleat_nn_adamw(j->net, .lr = j->e.lr, .weight_decay = 0.1);
    if (j->adamw != NULL) j->ema = pleat_nn_ema_new(j->net, 0.99);
    return j->ema != NULL;
}

static pleat_tensor *loss(void *user, const pleat_nn_batch *b, double *metric) {
    job *j = user;
    pleat_tensor *y = pleat_nn_forward(j->net, b->x);
    *metric = pleat_nn_accuracy(y, b->labels);
    return pleat_nn_cross_entropy_loss(y, .labels = b->labels,
                                       .label_smoothing = pleat_nn_is_training(j->net) ? 0.1 : 0);
}

/* ---- results ---------------------------------------------------------------------------------------------- */

static void count_batch(job *j, const pleat_nn_batch *b) {
    size_t *guess = malloc(b->n * sizeof *guess);
    bool guessed = guess != NULL && pleat_argmax(pleat_nn_forward(j->net, b->x), 1, guess) == PLEAT_OK;
    if (guess == NULL) pleat_fail(j->e.ctx, PLEAT_ERR_MEMORY, "count", "no memory for a batch's guesses");
    for (size_t i = 0; guessed && i < b->n; i++) {
        size_t truth = j->e.test.labels[b->index[i]], found = guess[i];
        j->counts[truth * j->e.test.classes + found]++;
        j->right += truth == found;
        if (truth != found && j->wrongs < WRONG) j->wrong[j->wrongs++] = b->index[i];
    }
    free(guess);
}

static bool count(job *j) {
    j->counts = calloc(j->e.test.classes * j->e.test.classes, sizeof *j->counts);
    if (j->counts == NULL) {
        pleat_fail(j->e.ctx, PLEAT_ERR_MEMORY, "count", "no memory for the table of confusions");
        return false;
    }
    pleat_nn_batch b;
    pleat_nn_loader_start(j->e.test_loader, 0, 0);
    pleat_scope s = pleat_begin(j->e.ctx);
    while (pleat_nn_loader_next(j->e.test_loader, &b)) {
        count_batch(j, &b);
        pleat_end(s);
        s = pleat_begin(j->e.ctx);
    }
    pleat_end(s);
    return pleat_error(j->e.ctx)->code == PLEAT_OK;
}

static void write_report(job *j) {
    example *e = &j->e;
    pleat_nn_report *r = example_report(
        e, "A classifier", "Five convolutions with batch normalisation, three in residual connections.");
    pleat_nn_report_run(r, &e->run, "accuracy");
    pleat_nn_report_heading(r, "Predictions");
    pleat_nn_report_confusion(r, "Test images by class (rows) and prediction (columns)", e->test.classes,
                              j->counts, example_class_names(e));
    if (j->wrongs > 0)
        pleat_nn_report_images(r, "Test images that it got wrong",
                               pleat_nn_image_batch(e->ctx, PLEAT_F32, &e->test, j->wrong, 0, j->wrongs), 16,
                               2);
    pleat_nn_report_heading(r, "The network");
    pleat_nn_report_summary(r, j->net, PLEAT_SHAPE(1, 1, EXAMPLE_SIDE, EXAMPLE_SIDE));
    pleat_nn_report_filters(r, "The filters of the first layer", pleat_nn_find_param(j->net, "0.weight"));
    example_write_report(e, r);
}

static void write_results(job *j) {
    example *e = &j->e;
    pleat_scope scope = pleat_begin(e->ctx);
    pleat_set_recording(e->ctx, false);
    pleat_nn_ema_swap(j->ema);
    pleat_nn_set_training(j->net, false);
    if (count(j)) {
        printf("\ntest accuracy  %.4f  (%zu of %zu), averaged weights after the last epoch\n\n",
               (double)j->right / (double)e->test.count, j->right, e->test.count);
        if (j->wrongs > 0) {
            pleat_tensor *wrong = pleat_nn_image_batch(e->ctx, PLEAT_F32, &e->test, j->wrong, 0, j->wrongs);
            example_picture(e, "mistakes.png", "test images that it got wrong",
                            &(example_grid){wrong, 16, 2});
        }
        example_save(e, j->net);
        example_export(e, j->net, PLEAT_SHAPE(1, 1, EXAMPLE_SIDE, EXAMPLE_SIDE));
        write_report(j);
    }
    pleat_end(scope);
}

/* ---- the program ------------------------------------------------------------------------------------------ */

int main(int argc, char **argv) {
    job j = {.e = {.name = "classifier",
                   .epochs = 20,
                   .batch = 128,
                   .lr = 8e-3,
                   .transform = {.flip = 0.5, .crop_pad = 1}}};
    bool joint = false;
    const option_row row = {"sync-norms",
                            "",
                            "norms over the whole batch, not over each micro-batch",
                            OPTION_SWITCH,
                            &joint,
                            0,
                            0};
    example_options(&j.e,
                    "Trains a classifier of less than 100,000 parameters on 28x28 grey images with labels.\n"
                    "Writes metrics.csv, report.html, mistakes.png and classifier.safetensors.",
                    &row, 1, argc, argv);
    if (example_begin(&j.e) && make_network(&j)) {
        size_t batches = pleat_nn_loader_batches(j.e.train_loader);
        pleat_nn_fit_args args = {
            .part = {{"net", j.net, j.adamw, j.ema}},
            .loss = loss,
            .user = &j,
            .metric_name = "accuracy",
            .best_by_metric = true,
            .sync_norms = joint,
            .schedule = {.warmup = batches / 2, .cosine = j.e.epochs * batches - batches / 2}};
        if (example_fit(&j.e, args)) write_results(&j);
    }
    free(j.counts);
    pleat_nn_ema_free(j.ema);
    pleat_nn_optimizer_free(j.adamw);
    pleat_nn_free(j.net);
    return example_end(&j.e);
}

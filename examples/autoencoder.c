/* A convolutional autoencoder: 28x28 pixels to 32 numbers and back. Trains on Fashion-MNIST, or on generated shapes where
 * there is no data set, and leaves the loss history, a picture and the parameters. */
#include <errno.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "options.h"
#include "pleat_nn.h"

enum { SIDE = 28, TEST_BATCH = 500, SHOWN = 16 };
static const char fashion_mnist[] = "/usr/share/datasets/fashion-mnist"; /* Debian: dataset-fashion-mnist */

typedef struct config {
    const char *data, *out;
    size_t epochs, batch, seed, threads;
    double lr;
} config;

typedef struct epoch_result {
    double train_loss, test_loss, seconds, images_per_second;
} epoch_result;

typedef struct job {
    config cfg;
    pleat_ctx *ctx;
    pleat_nn_images train, test;
    pleat_nn_module *net;
    pleat_nn_optimizer *adam;
    pleat_nn_batches batches;
    epoch_result *history;
} job;

/* ---- the network ------------------------------------------------------------------------------------------ */

static pleat_nn_module *network(pleat_ctx *ctx) {
    return pleat_nn_sequential(
        ctx,                                                                                      //
        pleat_nn_conv2d(ctx, 1, 16, .kernel = {3, 3}, .stride = {2, 2}, .pad = {1, 1}),           // 14x14
        pleat_nn_relu(ctx),                                                                       //
        pleat_nn_conv2d(ctx, 16, 32, .kernel = {3, 3}, .stride = {2, 2}, .pad = {1, 1}),          // 7x7
        pleat_nn_relu(ctx),                                                                       //
        pleat_nn_flatten(ctx),                                                                    //
        pleat_nn_linear(ctx, 32 * 7 * 7, 32),                                                     // the code
        pleat_nn_linear(ctx, 32, 32 * 7 * 7),                                                     //
        pleat_nn_relu(ctx),                                                                       //
        pleat_nn_unflatten(ctx, PLEAT_SHAPE(32, 7, 7)),                                           //
        pleat_nn_conv_transpose2d(ctx, 32, 16, .kernel = {3, 3}, .stride = {2, 2}, .pad = {1, 1}, // 14x14
                                  .output_padding = {1, 1}),                                      //
        pleat_nn_relu(ctx),                                                                       //
        pleat_nn_conv_transpose2d(ctx, 16, 1, .kernel = {3, 3}, .stride = {2, 2}, .pad = {1, 1},  // 28x28
                                  .output_padding = {1, 1}),                                      //
        pleat_nn_sigmoid(ctx));
}

/* ---- data ------------------------------------------------------------------------------------------------- */

/* DIR/NAME.gz if there is one, else DIR/NAME. */
static const char *data_file(char *path, size_t bytes, const char *dir, const char *name) {
    snprintf(path, bytes, "%s/%s.gz", dir, name);
    if (access(path, F_OK) != 0) snprintf(path, bytes, "%s/%s", dir, name);
    return path;
}

static pleat_status load_folder(job *j, const char *dir) {
    char train[4096], test[4096];
    data_file(train, sizeof train, dir, "train-images-idx3-ubyte");
    data_file(test, sizeof test, dir, "t10k-images-idx3-ubyte");
    pleat_status s = pleat_nn_read_idx(j->ctx, train, NULL, &j->train);
    if (s == PLEAT_OK) s = pleat_nn_read_idx(j->ctx, test, NULL, &j->test);
    if (s != PLEAT_OK) return s;
    if (j->train.H == SIDE && j->train.W == SIDE && j->test.H == SIDE && j->test.W == SIDE) return PLEAT_OK;
    return pleat_fail(j->ctx, PLEAT_ERR_SHAPE, "data", "%s: the images are %zux%zu, this network takes %dx%d",
                      dir, j->train.H, j->train.W, SIDE, SIDE);
}

static pleat_status load_data(job *j) {
    const char *data = j->cfg.data;
    bool found = access(fashion_mnist, F_OK) == 0;
    if (data == NULL && !found) {
        printf("no data set in %s (Debian package dataset-fashion-mnist): taking generated shapes\n",
               fashion_mnist);
    }
    if (data == NULL) data = found ? "fashion-mnist" : "shapes";
    if (strcmp(data, "shapes") != 0)
        return load_folder(j, strcmp(data, "fashion-mnist") == 0 ? fashion_mnist : data);
    pleat_status s = pleat_nn_shapes(j->ctx, 20000, SIDE, SIDE, j->cfg.seed, &j->train);
    return s != PLEAT_OK ? s : pleat_nn_shapes(j->ctx, 2000, SIDE, SIDE, j->cfg.seed + 1, &j->test);
}

/* ---- training --------------------------------------------------------------------------------------------- */

static pleat_status train_epoch(job *j, size_t epoch, epoch_result *r) {
    char title[48];
    size_t n, steps = 0, total = j->train.count / j->cfg.batch;
    double sum = 0;
    snprintf(title, sizeof title, "epoch %zu/%zu", epoch, j->cfg.epochs);
    pleat_nn_progress bar = pleat_nn_progress_start(stdout, title, total);
    pleat_nn_shuffle(&j->batches, pleat_ctx_rng(j->ctx));
    for (const size_t *index; (index = pleat_nn_next(&j->batches, &n)) != NULL;) {
        pleat_scope scope = pleat_begin(j->ctx);
        pleat_tensor *x = pleat_nn_image_batch(j->ctx, PLEAT_F32, &j->train, index, 0, n);
        pleat_tensor *loss = pleat_nn_mse_loss(pleat_nn_forward(j->net, x), x);
        pleat_nn_step(j->adam, loss);
        sum += pleat_item(loss);
        pleat_end(scope);
        if (pleat_error(j->ctx)->code != PLEAT_OK) break;
        steps++;
        pleat_nn_progress_show(&bar, steps, n, sum / (double)steps);
    }
    r->seconds = pleat_nn_progress_end(&bar);
    r->train_loss = sum / (double)steps;
    r->images_per_second = (double)(steps * j->cfg.batch) / r->seconds;
    return pleat_error(j->ctx)->code;
}

/* Mean squared error over all test images. */
static double test(job *j) {
    bool was = pleat_set_recording(j->ctx, false);
    double sum = 0;
    for (size_t first = 0; first < j->test.count; first += TEST_BATCH) {
        size_t n = j->test.count - first < TEST_BATCH ? j->test.count - first : TEST_BATCH;
        pleat_scope scope = pleat_begin(j->ctx);
        pleat_tensor *x = pleat_nn_image_batch(j->ctx, PLEAT_F32, &j->test, NULL, first, n);
        sum += pleat_item(pleat_nn_mse_loss(pleat_nn_forward(j->net, x), x)) * (double)n;
        pleat_end(scope);
    }
    pleat_set_recording(j->ctx, was);
    return sum / (double)j->test.count;
}

static pleat_status train(job *j) {
    printf("%zu training and %zu test images, %zu parameters, batch %zu, %d thread%s\n", j->train.count,
           j->test.count, pleat_nn_param_numel(j->net), j->cfg.batch, pleat_threads(j->ctx),
           pleat_threads(j->ctx) == 1 ? "" : "s");
    for (size_t e = 1; e <= j->cfg.epochs; e++) {
        epoch_result *r = &j->history[e - 1];
        if (train_epoch(j, e, r) != PLEAT_OK) break;
        r->test_loss = test(j);
        printf("epoch %zu/%zu: train loss %.5f, test loss %.5f, %.2f s, %.0f images/s\n", e, j->cfg.epochs,
               r->train_loss, r->test_loss, r->seconds, r->images_per_second);
        fflush(stdout);
        if (isfinite(r->train_loss)) continue;
        pleat_fail(j->ctx, PLEAT_ERR_ARGUMENT, "train",
                   "the loss of epoch %zu is not finite; try a smaller --lr", e);
        break;
    }
    return pleat_error(j->ctx)->code;
}

/* ---- results ---------------------------------------------------------------------------------------------- */

static pleat_status make_folder(pleat_ctx *ctx, const char *path) {
    if (mkdir(path, 0777) != 0 && errno != EEXIST) {
        return pleat_fail(ctx, PLEAT_ERR_IO, "out", "%s: cannot make the folder: %s", path, strerror(errno));
    }
    struct stat st;
    if (stat(path, &st) == 0 && !S_ISDIR(st.st_mode)) {
        return pleat_fail(ctx, PLEAT_ERR_IO, "out", "%s: is a file, --out wants a folder", path);
    }
    if (access(path, W_OK | X_OK) == 0) return PLEAT_OK;
    return pleat_fail(ctx, PLEAT_ERR_IO, "out", "%s: cannot write there: %s", path, strerror(errno));
}

static pleat_status write_history(const job *j, const char *path) {
    pleat_nn_file file;
    pleat_status s = pleat_nn_file_create(j->ctx, path, &file);
    if (s != PLEAT_OK) return s;
    fprintf(file.f, "epoch,train_loss,test_loss,seconds,images_per_second\n");
    for (size_t e = 0; e < j->cfg.epochs; e++) {
        const epoch_result *r = &j->history[e];
        fprintf(file.f, "%zu,%.8g,%.8g,%.3f,%.1f\n", e + 1, r->train_loss, r->test_loss, r->seconds,
                r->images_per_second);
    }
    return pleat_nn_file_commit(j->ctx, &file);
}

/* A row of test images, and below it what the network makes of them. */
static pleat_status write_picture(job *j, const char *path) {
    size_t n = j->test.count < SHOWN ? j->test.count : SHOWN;
    pleat_scope scope = pleat_begin(j->ctx);
    pleat_tensor *x = pleat_nn_image_batch(j->ctx, PLEAT_F32, &j->test, NULL, 0, n);
    pleat_tensor *both = pleat_concat(2, (pleat_tensor *[]){x, pleat_nn_forward(j->net, x)}, 0);
    pleat_status s = pleat_nn_write_png_grid(path, both, n, 2);
    pleat_end(scope);
    return s;
}

static pleat_status write_results(job *j) {
    char history[4200], picture[4200], parameters[4200];
    snprintf(history, sizeof history, "%s/history.csv", j->cfg.out);
    snprintf(picture, sizeof picture, "%s/reconstructions.png", j->cfg.out);
    snprintf(parameters, sizeof parameters, "%s/autoencoder.safetensors", j->cfg.out);
    pleat_status s = write_history(j, history);
    if (s == PLEAT_OK) s = write_picture(j, picture);
    if (s == PLEAT_OK) s = pleat_nn_save(parameters, j->net);
    if (s != PLEAT_OK) return s;
    double seconds = 0;
    for (size_t e = 0; e < j->cfg.epochs; e++) seconds += j->history[e].seconds;
    const epoch_result *last = &j->history[j->cfg.epochs - 1];
    printf("\ntest loss (mean squared error)  %.5f\n", last->test_loss);
    printf("time per epoch                  %.2f s\n", seconds / (double)j->cfg.epochs);
    printf("images per second               %.0f\n",
           (double)(j->train.count / j->cfg.batch * j->cfg.batch) * (double)j->cfg.epochs / seconds);
    printf("written                         %s\n", history);
    printf("                                %s (originals above, reconstructions below)\n", picture);
    printf("                                %s (torch: safetensors.torch.load_file)\n", parameters);
    return PLEAT_OK;
}

/* ---- the program ------------------------------------------------------------------------------------------ */

static config options(int argc, char **argv) {
    config c = {.out = "out", .epochs = 2, .batch = 64, .lr = 1e-3};
    const option_row rows[] = {
        {"data", "WHAT", "fashion-mnist, shapes (generated), or a folder with MNIST's four files",
         OPTION_TEXT, &c.data, 0, 0},
        {"epochs", "N", "passes over the training images", OPTION_COUNT, &c.epochs, 1, 100000},
        {"batch", "N", "images a step", OPTION_COUNT, &c.batch, 1, 60000},
        {"lr", "RATE", "learning rate of Adam", OPTION_REAL, &c.lr, 0, 0},
        {"seed", "N", "of weights, order and shapes; the same seed gives the same bits", OPTION_COUNT,
         &c.seed, 0, SIZE_MAX},
        {"threads", "N", "0: all cores; the result does not depend on it", OPTION_COUNT, &c.threads, 0, 1024},
        {"out", "FOLDER", "where the results go", OPTION_TEXT, &c.out, 0, 0},
    };
    const option_table table = {
        "autoencoder",
        "Trains a convolutional autoencoder: 28x28 grey images through 32 numbers and back.\n"
        "Writes history.csv, reconstructions.png and autoencoder.safetensors.",
        rows, sizeof rows / sizeof *rows};
    read_options(&table, argc, argv);
    return c;
}

static pleat_status prepare(job *j) {
    pleat_status s = make_folder(j->ctx, j->cfg.out);
    if (s == PLEAT_OK) s = load_data(j);
    if (s != PLEAT_OK) return s;
    if (j->cfg.batch > j->train.count) {
        return pleat_fail(j->ctx, PLEAT_ERR_ARGUMENT, "batch", "%zu is more than the %zu training images",
                          j->cfg.batch, j->train.count);
    }
    s = pleat_nn_batches_new(j->ctx, j->train.count, j->cfg.batch, &j->batches);
    if (s != PLEAT_OK) return s;
    j->net = network(j->ctx);
    j->adam = j->net == NULL ? NULL : pleat_nn_adam(j->net, .lr = j->cfg.lr);
    j->history = calloc(j->cfg.epochs, sizeof *j->history);
    if (j->history == NULL) return pleat_fail(j->ctx, PLEAT_ERR_MEMORY, "history", "no memory");
    return pleat_error(j->ctx)->code;
}

static void clean_up(job *j) {
    free(j->history);
    pleat_nn_optimizer_free(j->adam);
    pleat_nn_free(j->net);
    pleat_nn_batches_free(&j->batches);
    pleat_nn_images_free(&j->train);
    pleat_nn_images_free(&j->test);
    pleat_ctx_free(j->ctx);
}

int main(int argc, char **argv) {
    job j = {.cfg = options(argc, argv)};
    j.ctx = pleat_ctx_new(.threads = (int)j.cfg.threads, .seed = j.cfg.seed);
    if (j.ctx == NULL) {
        fprintf(stderr, "autoencoder: no memory\n");
        return 1;
    }
    pleat_status s = prepare(&j);
    if (s == PLEAT_OK) s = train(&j);
    if (s == PLEAT_OK) s = write_results(&j);
    if (s != PLEAT_OK) fprintf(stderr, "autoencoder: %s\n", pleat_error(j.ctx)->text);
    clean_up(&j);
    return s == PLEAT_OK ? 0 : 1;
}

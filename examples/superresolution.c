/* Super-resolution by FSRCNN (Dong, Loy, Tang 2016): features, a narrow middle, and a transposed convolution
 * that enlarges. Small images are made of the data's by bicubic shrinking; the measure is PSNR against
 * bicubic enlarging. */
#include "example.h"

enum { FACTOR = 2, SMALL = EXAMPLE_SIDE / FACTOR, SHOWN = 12 };

typedef struct job {
    example e;
    const char *image;
    pleat_nn_module *net;
    pleat_nn_optimizer *adam;
} job;

/* ---- the network ------------------------------------------------------------------------------------------ */

static pleat_nn_module *conv(pleat_ctx *ctx, size_t in, size_t out, size_t kernel) {
    ptrdiff_t pad = (ptrdiff_t)(kernel / 2);
    return pleat_nn_conv2d(ctx, in, out, .kernel = {kernel, kernel}, .pad = {pad, pad});
}

/* x [N,1,H,W] -> [N,1,2H,2W] */
static bool make_network(job *j) {
    enum { WIDE = 32, NARROW = 12 };
    pleat_ctx *ctx = j->e.ctx;
    j->net = pleat_nn_sequential(
        ctx, conv(ctx, 1, WIDE, 5), pleat_nn_prelu(ctx, WIDE, PLEAT_F32),     // features
        conv(ctx, WIDE, NARROW, 1), pleat_nn_prelu(ctx, NARROW, PLEAT_F32),   // shrink
        conv(ctx, NARROW, NARROW, 3), pleat_nn_prelu(ctx, NARROW, PLEAT_F32), // map
        conv(ctx, NARROW, NARROW, 3), pleat_nn_prelu(ctx, NARROW, PLEAT_F32), //
        conv(ctx, NARROW, WIDE, 1), pleat_nn_prelu(ctx, WIDE, PLEAT_F32),     // expand
        pleat_nn_conv_transpose2d(ctx, WIDE, 1, .kernel = {9, 9}, .stride = {FACTOR, FACTOR}, .pad = {4, 4},
                                  .output_padding = {FACTOR - 1, FACTOR - 1})); // enlarge
    if (example_load(&j->e, j->net)) j->adam = pleat_nn_adam(j->net, .lr = j->e.lr, .clip_norm = 1);
    return j->adam != NULL;
}

static pleat_tensor *shrunk(pleat_tensor *x) {
    return pleat_resize_bicubic(x, .size = {SMALL, SMALL}, .antialias = true);
}

static pleat_tensor *bicubic(pleat_tensor *small) {
    return pleat_clamp(pleat_resize_bicubic(small, .factor = {FACTOR, FACTOR}), 0, 1);
}

/* The mean over images of 10 log10(1 / mean squared error), in decibels. */
static double psnr(pleat_tensor *x, pleat_tensor *truth) {
    pleat_tensor *error =
        pleat_mean(pleat_square(pleat_sub(pleat_clamp(x, 0, 1), truth)), PLEAT_AXES(1, 2, 3));
    const double decibels = -4.3429448190325183; /* -10 / ln 10 */
    return pleat_item(pleat_mean(pleat_scale(pleat_log(pleat_shift(error, 1e-10)), decibels)));
}

static pleat_tensor *loss(void *user, const pleat_nn_batch *b, double *metric) {
    job *j = user;
    pleat_tensor *y = pleat_nn_forward(j->net, shrunk(b->x));
    if (!pleat_nn_is_training(j->net)) *metric = psnr(y, b->x);
    return pleat_nn_mse_loss(y, b->x);
}

/* ---- results ---------------------------------------------------------------------------------------------- */

/* PSNR of bicubic enlarging over all test images. */
static double bicubic_psnr(job *j) {
    double sum = 0;
    pleat_nn_batch b;
    pleat_nn_loader_start(j->e.test_loader, 0, 0);
    pleat_scope s = pleat_begin(j->e.ctx);
    while (pleat_nn_loader_next(j->e.test_loader, &b)) {
        sum += psnr(bicubic(shrunk(b.x)), b.x) * (double)b.n;
        pleat_end(s);
        s = pleat_begin(j->e.ctx);
    }
    pleat_end(s);
    return sum / (double)j->e.test.count;
}

/* Rows: small (enlarged without smoothing), bicubic, the network, the truth. */
static pleat_tensor *pictures(job *j) {
    size_t n = j->e.test.count < SHOWN ? j->e.test.count : SHOWN;
    pleat_tensor *x = pleat_nn_image_batch(j->e.ctx, PLEAT_F32, &j->e.test, NULL, 0, n), *small = shrunk(x);
    return pleat_concat(4,
                        (pleat_tensor *[]){pleat_resize_nearest(small, .factor = {FACTOR, FACTOR}),
                                           bicubic(small), pleat_nn_forward(j->net, small), x},
                        0);
}

/* Enlarge the user's picture, each channel by itself. */
static void enlarge(job *j) {
    pleat_tensor *x = pleat_nn_read_png(j->e.ctx, j->image);
    if (pleat_is_poison(x)) return;
    size_t C = pleat_size(x, 1), H = pleat_size(x, 2), W = pleat_size(x, 3);
    pleat_tensor *y = pleat_nn_forward(j->net, pleat_reshape(x, PLEAT_SHAPE(C, 1, H, W)));
    y = pleat_reshape(y, PLEAT_SHAPE(1, C, FACTOR * H, FACTOR * W));
    example_picture(&j->e, "enlarged.png", "your picture at twice its size", &(example_grid){y, 1, 1});
}

static void write_results(job *j) {
    example *e = &j->e;
    char text[160];
    const char *caption = "rows: the small image, bicubic, the network, the truth";
    pleat_scope scope = pleat_begin(e->ctx);
    pleat_set_recording(e->ctx, false);
    double plain = bicubic_psnr(j), ours = e->run.epoch[e->run.epochs - 1].valid_metric;
    snprintf(text, sizeof text, "PSNR on %zu test images: bicubic %.2f dB, network %.2f dB (%+.2f dB)",
             e->test.count, plain, ours, ours - plain);
    printf("\n%s\n\n", text);
    pleat_tensor *shown = pictures(j);
    size_t columns = pleat_size(shown, 0) / 4;
    example_picture(e, "enlargements.png", caption, &(example_grid){shown, columns, 2});
    if (j->image != NULL) enlarge(j);
    example_save(e, j->net);
    example_export(e, j->net, PLEAT_SHAPE(1, 1, EXAMPLE_SIDE / 2, EXAMPLE_SIDE / 2));
    pleat_nn_report *r =
        example_report(e, "Super-resolution", "FSRCNN: twice the size by a transposed convolution.");
    pleat_nn_report_text(r, text);
    pleat_nn_report_run(r, &e->run, "PSNR in dB");
    pleat_nn_report_heading(r, "Pictures");
    pleat_nn_report_images(r, caption, shown, columns, 2);
    pleat_nn_report_heading(r, "The network");
    pleat_nn_report_summary(r, j->net, PLEAT_SHAPE(1, 1, SMALL, SMALL));
    pleat_nn_report_filters(r, "The filters of the first layer", pleat_nn_find_param(j->net, "0.weight"));
    pleat_nn_report_filters(r, "The filters of the transposed convolution",
                            pleat_nn_find_param(j->net, "10.weight"));
    example_write_report(e, r);
    pleat_end(scope);
}

/* ---- the program ------------------------------------------------------------------------------------------ */

int main(int argc, char **argv) {
    job j = {.e = {.name = "superresolution", .epochs = 6, .batch = 32, .lr = 2e-3}};
    const option_row rows[] = {{"image", "FILE.png", "enlarge this picture, too, when training is over",
                                OPTION_TEXT, &j.image, 0, 0}};
    example_options(&j.e,
                    "Trains FSRCNN to double the size of images, against bicubic enlarging.\n"
                    "Writes metrics.csv, report.html, enlargements.png and superresolution.safetensors.",
                    rows, sizeof rows / sizeof *rows, argc, argv);
    if (example_begin(&j.e) && make_network(&j)) {
        size_t steps = j.e.epochs * pleat_nn_loader_batches(j.e.train_loader);
        pleat_nn_fit_args args = {.part = {{"net", j.net, j.adam, NULL}},
                                  .loss = loss,
                                  .user = &j,
                                  .metric_name = "psnr",
                                  .schedule = {.cosine = steps, .least = 0.02 * j.e.lr}};
        if (example_fit(&j.e, args)) write_results(&j);
    }
    pleat_nn_optimizer_free(j.adam);
    pleat_nn_free(j.net);
    return example_end(&j.e);
}

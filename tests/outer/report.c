/* report PATH: writes a report with everything in it that a report can have, hard cases included. outer/report.sh opens it. */
#include <math.h>
#include <stdio.h>

#include "pleat_nn.h"

static const char *const fashion[10] = {"T-shirt", "trouser", "pullover", "dress", "coat",
                                        "sandal",  "shirt",   "sneaker",  "bag",   "boot"};

enum { LONG = 3000, POINTS = 2000 };

static double falling(pleat_rng *r, size_t i, double from, double to, double rate) {
    return to + (from - to) * exp(-(double)i / rate) * (1 + 0.06 * pleat_rng_normal(r));
}

static void add_run(pleat_nn_report *r, pleat_rng *rng, size_t epochs, bool valid, const char *metric) {
    static pleat_nn_epoch e[LONG];
    pleat_nn_run run = {.epochs = epochs, .steps = 937 * epochs, .epoch = e};
    for (size_t i = 0; i < epochs; i++) {
        double rate = (double)epochs / 5;
        e[i] = (pleat_nn_epoch){.loss = falling(rng, i, 0.82, 0.21, rate),
                                .metric = 1 - falling(rng, i, 0.42, 0.08, rate),
                                .valid_loss = valid ? falling(rng, i, 0.71, 0.26, rate) : NAN,
                                .valid_metric = valid ? 1 - falling(rng, i, 0.39, 0.095, rate) : NAN,
                                .lr = 1e-3 * (1 + cos(3.14159 * (double)i / (double)epochs)) / 2,
                                .seconds = 7 + pleat_rng_uniform(rng),
                                .images_per_second = 8000 + 900 * pleat_rng_uniform(rng)};
        if (valid ? e[i].valid_loss < e[run.best].valid_loss : e[i].loss < e[run.best].loss) run.best = i;
    }
    pleat_nn_report_run(r, &run, metric);
}

static void add_charts(pleat_nn_report *r, pleat_rng *rng) {
    static double y[9][LONG], gaps[] = {3, 2.2, NAN, 1.7, NAN, INFINITY, 1.1, 0.9, 0.8};
    char name[9][24];
    pleat_nn_series s[9];
    for (size_t k = 0; k < 9; k++) {
        snprintf(name[k], sizeof name[k], "rate %zu \u00b7 10\u207b\u2074", k + 1);
        for (size_t i = 0; i < LONG; i++) y[k][i] = falling(rng, i, 2.5, 1e-4, 60 + 70 * (double)k);
        s[k] = (pleat_nn_series){name[k], LONG, y[k]};
    }
    pleat_nn_chart many = {
        .title = "Loss at several rates", .x_name = "step", .y_name = "loss", .log_y = true};
    many.count = 5, many.series = s;
    pleat_nn_report_chart(r, &many);
    pleat_nn_series broken = {"with gaps", 9, gaps}, one = {"alone", 1, gaps}, none = {"nothing", 0, NULL};
    many =
        (pleat_nn_chart){.title = "Values that are not finite", .x_name = "step", .x_step = 100, .count = 1};
    many.series = &broken;
    pleat_nn_report_chart(r, &many);
    many.title = "One value", many.series = &one;
    pleat_nn_report_chart(r, &many);
    many.title = "No value", many.series = &none;
    pleat_nn_report_chart(r, &many);
    for (size_t k = 0; k < 9; k++) s[k].n = 12;
    many = (pleat_nn_chart){.title = "Nine series of twelve", .x_name = "step", .count = 9, .series = s};
    pleat_nn_report_chart(r, &many);
}

static void add_pictures(pleat_nn_report *r, pleat_ctx *ctx, pleat_rng *rng) {
    static double pixels[32 * 28 * 28];
    for (size_t i = 0; i < 32 * 28 * 28; i++) {
        double y = (double)(i / 28 % 28) - 13.5, x = (double)(i % 28) - 13.5, k = (double)(i / 784);
        pixels[i] = exp(-fabs(sqrt(x * x + y * y) - 2 - k / 4) / 2) + 0.04 * pleat_rng_normal(rng);
    }
    pleat_tensor *rings = pleat_from_f64(ctx, PLEAT_F32, PLEAT_SHAPE(32, 1, 28, 28), pixels);
    pleat_nn_report_images(r, "Test images above, what became of them below", rings, 16, 2);
    pleat_tensor *colours = pleat_uniform(ctx, PLEAT_F32, PLEAT_SHAPE(6, 3, 8, 8), 0, 1);
    pleat_nn_report_images(r, "In colours <&\"'>", colours, 4, 6);
    pleat_nn_report_filters(r, "Filters of the first layer",
                            pleat_randn(ctx, PLEAT_F32, PLEAT_SHAPE(16, 1, 3, 3)));
    pleat_nn_report_filters(r, "Filters of colours", pleat_randn(ctx, PLEAT_F32, PLEAT_SHAPE(8, 3, 5, 5)));
}

static void add_points(pleat_nn_report *r, pleat_ctx *ctx, pleat_rng *rng) {
    static double xy[2 * POINTS], label[POINTS];
    for (size_t i = 0; i < POINTS; i++) {
        double k = (double)(i % 10), at = k * 0.628;
        label[i] = k;
        xy[2 * i] = (2 + 0.3 * k) * cos(at) + 0.5 * pleat_rng_normal(rng);
        xy[2 * i + 1] = (2 + 0.3 * k) * sin(at) + 0.5 * pleat_rng_normal(rng);
    }
    pleat_tensor *points = pleat_from_f64(ctx, PLEAT_F64, PLEAT_SHAPE(POINTS, 2), xy);
    pleat_tensor *labels = pleat_from_f64(ctx, PLEAT_F64, PLEAT_SHAPE(POINTS), label);
    pleat_nn_report_scatter(r, "Where the test images lie", points, labels, 10, fashion);
    pleat_nn_report_scatter(r, "Points without classes", pleat_randn(ctx, PLEAT_F32, PLEAT_SHAPE(25, 2)),
                            NULL, 0, NULL);
}

static void add_confusion(pleat_nn_report *r, pleat_rng *rng) {
    size_t counts[100] = {0};
    for (size_t i = 0; i < 10000; i++) {
        size_t truth = i % 10, guess = truth;
        if (pleat_rng_uniform(rng) < 0.1) guess = (truth * 3 + pleat_rng_below(rng, 4) * 2) % 10;
        counts[truth * 10 + guess]++;
    }
    pleat_nn_report_confusion(r, "Test images by class (rows) and prediction (columns)", 10, counts, fashion);
}

static void add_network(pleat_nn_report *r, pleat_ctx *ctx) {
    pleat_nn_module *net = pleat_nn_sequential(
        ctx, pleat_nn_conv2d(ctx, 1, 16, .kernel = {3, 3}, .stride = {2, 2}, .pad = {1, 1}),
        pleat_nn_relu(ctx), pleat_nn_conv2d(ctx, 16, 32, .kernel = {3, 3}, .stride = {2, 2}, .pad = {1, 1}),
        pleat_nn_relu(ctx), pleat_nn_flatten(ctx), pleat_nn_linear(ctx, 32 * 7 * 7, 10));
    pleat_nn_report_summary(r, net, PLEAT_SHAPE(1, 1, 28, 28));
    pleat_nn_free(net);
}

static void add_all(pleat_nn_report *r, pleat_ctx *ctx, pleat_rng *rng) {
    static const char *const pairs[][2] = {
        {"program", "classifier"},
        {"options",
         "--data fashion-mnist --limit 0 --batch 128 --lr 0.004 --seed 0 --a-long-option /usr/share/"
         "datasets/fashion-mnist/with/a/path/that/has/no/place/to/break/a/line"},
        {"images", "60000 training, 10000 test"},
        {"hostile",
         "</td><script>document.title='gotcha'</script> \" onload=\"document.title='gotcha'\" \xff\x01"},
    };
    pleat_nn_report_table(r, sizeof pairs / sizeof *pairs, pairs);
    pleat_nn_report_heading(r, "The run");
    add_run(r, rng, 12, true, "accuracy");
    pleat_nn_report_heading(r, "Predictions");
    add_confusion(r, rng);
    add_points(r, ctx, rng);
    pleat_nn_report_heading(r, "Pictures");
    add_pictures(r, ctx, rng);
    pleat_nn_report_heading(r, "The network");
    add_network(r, ctx);
    pleat_nn_report_heading(r, "More curves");
    add_charts(r, rng);
    pleat_nn_report_heading(r, "A long run without validation");
    add_run(r, rng, LONG, false, NULL);
    pleat_nn_report_heading(r, "A short one");
    pleat_nn_report_text(r, "One epoch, and a text of two lines.\nThis is the second.");
    add_run(r, rng, 1, true, "a metric whose name is far longer than anybody would expect it to be");
}

int main(int argc, char **argv) {
    if (argc != 2) return 2;
    pleat_ctx *ctx = pleat_ctx_new(.threads = 1, .seed = 3);
    pleat_nn_report *r =
        pleat_nn_report_new(ctx, "A classifier of <small> images & more",
                            "Four convolutions with batch normalisation, random flips, a cosine "
                            "schedule and averaged weights.");
    if (r != NULL) add_all(r, ctx, pleat_ctx_rng(ctx));
    pleat_status status = pleat_nn_report_write(r, argv[1]);
    if (status != PLEAT_OK) fprintf(stderr, "report: %s\n", pleat_error(ctx)->text);
    pleat_nn_report_free(r);
    pleat_ctx_free(ctx);
    return status != PLEAT_OK;
}

/* A report with everything that reports can have, into the file that is named: for report.sh. */
#include <math.h>
#include <pleat_nn.h>

int main(int argc, char **argv) {
    pleat_ctx *ctx = pleat_ctx_new(.seed = 1);
    pleat_nn_epoch epochs[30];
    for (int i = 0; i < 30; i++)
        epochs[i] =
            (pleat_nn_epoch){1.0 / (i + 1), 0.5 + i / 90.0, 1.1 / (i + 1), 0.5 + i / 99.0, 1e-3, 2, 14000};
    pleat_nn_run run = {PLEAT_NN_FINISHED, 30, 3000, 28, epochs};
    pleat_nn_module *net = pleat_nn_sequential(
        ctx, pleat_nn_conv2d(ctx, 1, 8, .kernel = {5, 5}, .stride = {2, 2}, .pad = {2, 2}),
        pleat_nn_relu(ctx),
        pleat_nn_conv_transpose2d(ctx, 8, 8, .kernel = {3, 3}, .stride = {2, 2}, .pad = {1, 1},
                                  .output_padding = {1, 1}),
        pleat_nn_flatten(ctx), pleat_nn_linear(ctx, 8 * 28 * 28, 10));
    const char *const pairs[][2] = {
        {"options", "--lr 0.001 --seed 1 --a-very-long-option-without-a-place-to-break-the-line-at-all"},
        {"<b>", "&amp;"}};
    size_t counts[100] = {0};
    for (size_t i = 0; i < 100; i++) counts[i] = i % 11 == 0 ? 900 : i % 7;
    const char *const names[] = {"T-shirt/top", "trouser", "pullover", "dress", "coat",
                                 "sandal",      "shirt",   "sneaker",  "bag",   "ankle boot"};
    size_t labels[500];
    for (size_t i = 0; i < 500; i++) labels[i] = i % 10;

    pleat_nn_report *r =
        pleat_nn_report_new(ctx, "A report & its parts", "Everything that can stand in one.");
    pleat_nn_report_table(r, 2, pairs);
    pleat_nn_report_run(r, &run, "accuracy");
    pleat_nn_report_heading(r, "Pictures");
    pleat_nn_report_images(r, "noise", pleat_uniform(ctx, PLEAT_F32, PLEAT_SHAPE(32, 1, 28, 28), 0, 1), 16,
                           2);
    pleat_nn_report_filters(r, "filters", pleat_nn_param(net, 0));
    pleat_nn_report_scatter(r, "points", pleat_randn(ctx, PLEAT_F32, PLEAT_SHAPE(500, 2)), labels, 10, NULL);
    pleat_nn_report_confusion(r, "confusions", 10, counts, names);
    pleat_nn_report_heading(r, "The network");
    pleat_nn_report_summary(r, net, PLEAT_SHAPE(1, 1, 28, 28));
    pleat_status s = argc == 2 ? pleat_nn_report_write(r, argv[1]) : PLEAT_ERR_ARGUMENT;
    if (s != PLEAT_OK) fprintf(stderr, "%s\n", pleat_error(ctx)->text);
    pleat_nn_report_free(r);
    pleat_nn_free(net);
    pleat_ctx_free(ctx);
    return s != PLEAT_OK;
}

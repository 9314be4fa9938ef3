/* Own numbers: a network learns one column of a CSV file from the others.
 *
 *     cc table.c $(pkg-config --cflags --libs pleat) -lm && ./a.out    # writes houses.csv, learns its prices
 *     ./a.out FILE.csv COLUMN                                          # a table and a column of yours
 *
 * Numbers in memory need no file: {.count = n, .field = {{"x", PLEAT_NN_F32, 1, {D}, .data = xs}, {"y",
 * PLEAT_NN_F32, 1, {1}, .data = ys}}} is a data set of float xs[n][D], ys[n][1].
 */
#include <math.h>
#include <pleat_nn.h>

/* Houses, whose price is known but for a few percent. */
static bool write_houses(const char *path) {
    FILE *f = fopen(path, "w");
    if (f == NULL) return false;
    pleat_rng r = pleat_rng_new(1, 0);
    fprintf(f, "size,rooms,age,distance,price\n");
    for (int i = 0; i < 2000; i++) {
        double size = 40 + 160 * pleat_rng_uniform(&r), age = 100 * pleat_rng_uniform(&r),
               km = 30 * pleat_rng_uniform(&r);
        int rooms = 1 + (int)pleat_rng_below(&r, 6);
        double price = (3000 * size * (1 - 0.004 * age) + 9000 * rooms) * exp(-km / 20) *
                       (1 + 0.03 * pleat_rng_normal(&r));
        fprintf(f, "%.1f,%d,%.0f,%.1f,%.0f\n", size, rooms, age, km, price);
    }
    return fclose(f) == 0;
}

/* Each column brought to mean 0 and variance 1. */
static pleat_tensor *scaled(pleat_tensor *columns) { return pleat_normalize(columns, PLEAT_AXES(0), 1e-12); }

static pleat_tensor *loss(void *net, const pleat_nn_batch *b, double *metric) {
    return (void)metric, pleat_nn_mse_loss(pleat_nn_forward(net, b->x), b->target);
}

int main(int argc, char **argv) {
    const char *path = argc == 3 ? argv[1] : "houses.csv", *column = argc == 3 ? argv[2] : "price";
    if (argc != 3 && !write_houses(path)) return perror(path), 1;
    char others[256];
    snprintf(others, sizeof others, "!%s", column);

    pleat_ctx *ctx = pleat_ctx_new(.seed = 1);
    pleat_nn_data all = {0}, train = {0}, valid = {0};
    pleat_tensor *x = pleat_nn_read_csv(ctx, path, others),
                 *y = pleat_nn_read_csv(ctx, path, column); /* [rows,D], [rows,1] */
    double std = sqrt(pleat_item(pleat_var(y)));
    pleat_nn_data_add(ctx, &all, "x", PLEAT_NN_F32, scaled(x));
    pleat_nn_data_add(ctx, &all, column, PLEAT_NN_F32, scaled(y));
    pleat_nn_split(ctx, &all, 0.2, 1, &train, &valid); /* a fifth of the rows, by chance, is for validation */

    /* after an error these are NULL, and the first error stays */
    pleat_nn_loader *train_loader = pleat_nn_loader_new(ctx, .data = &train, .batch = 32, .shuffle = true);
    pleat_nn_loader *valid_loader = pleat_nn_loader_new(ctx, .data = &valid, .batch = 32, .keep_last = true);
    pleat_nn_module *net =
        pleat_nn_sequential(ctx, pleat_nn_linear(ctx, pleat_size(x, 1), 32), pleat_nn_silu(ctx),
                            pleat_nn_linear(ctx, 32, 32), pleat_nn_silu(ctx), pleat_nn_linear(ctx, 32, 1));
    pleat_nn_optimizer *adam = pleat_nn_adam(net, .lr = 3e-3);

    pleat_nn_run run;
    pleat_nn_fit(&run, .part = {{"net", net, .opt = adam}}, .train = train_loader, .valid = valid_loader,
                 .epochs = 12, .loss = loss, .user = net,
                 .schedule = {.cosine = 12 * pleat_nn_loader_batches(train_loader)}, .progress = stdout);
    double unexplained = run.epochs ? run.epoch[run.epochs - 1].valid_loss : NAN;
    if (run.epochs)
        printf("\n%s of %zu new rows: %.1f%% of the variance is explained; the typical error is %.3g\n",
               column, valid.count, 100 * (1 - unexplained), std * sqrt(unexplained));

    bool failed = pleat_error(ctx)->code != PLEAT_OK;
    if (failed) fprintf(stderr, "%s\n", pleat_error(ctx)->text);
    pleat_nn_run_free(&run);
    pleat_nn_optimizer_free(adam);
    pleat_nn_free(net);
    pleat_nn_loader_free(train_loader);
    pleat_nn_loader_free(valid_loader);
    pleat_nn_data_free(&train);
    pleat_nn_data_free(&valid);
    pleat_nn_data_free(&all);
    pleat_ctx_free(ctx);
    return failed || (argc != 3 && !(unexplained < 0.05));
}

/* A signal of one dimension: a network of conv1d layers takes the noise from a signal of steps, and keeps its
 * edges.
 *
 * A moving average, whose best width is looked for here, must blur the edges to average the noise. The
 * network sees the same 65 samples around each, and learns where to stop. Signals are made anew in each step,
 * so none is seen twice.
 *
 *     cc signal.c $(pkg-config --cflags --libs pleat) && ./a.out
 */
#include <pleat_nn.h>

enum { N = 32, L = 128 };

static const double noise = 0.3;

/* Signals [N,1,L] of about five levels in -1..1, and the same with noise. */
static void signals(pleat_ctx *ctx, pleat_tensor **clean, pleat_tensor **noisy) {
    float level = 0, s[N][L], t[N][L];
    pleat_rng *r = pleat_ctx_rng(ctx);
    for (size_t n = 0; n < N; n++)
        for (size_t i = 0; i < L; i++) {
            if (i == 0 || pleat_rng_below(r, 25) == 0) level = (float)(2 * pleat_rng_uniform(r) - 1);
            s[n][i] = level;
            t[n][i] = level + (float)(noise * pleat_rng_normal(r));
        }
    *clean = pleat_from(ctx, PLEAT_F32, PLEAT_SHAPE(N, 1, L), s);
    *noisy = pleat_from(ctx, PLEAT_F32, PLEAT_SHAPE(N, 1, L), t);
}

/* The mean over `width` samples, fewer at the ends: a mean pool over images of height 1. */
static pleat_tensor *moving_average(pleat_tensor *x, size_t width) {
    pleat_tensor *image = pleat_reshape(x, PLEAT_SHAPE(N, 1, 1, L));
    image = pleat_avg_pool2d(image, .kernel = {1, width}, .stride = {1, 1}, .pad = {0, width / 2},
                             .exclude_pad = true);
    return pleat_reshape(image, PLEAT_SHAPE(N, 1, L));
}

static double error_of(pleat_tensor *x, pleat_tensor *clean) {
    return pleat_item(pleat_nn_mse_loss(x, clean));
}

int main(void) {
    pleat_ctx *ctx = pleat_ctx_new(.seed = 1);
    /* 9 samples, then 9 at a distance of 2, then of 4, then 9: together 8 + 16 + 32 + 8 and the sample
     * itself */
    pleat_nn_module *net = pleat_nn_sequential(
        ctx, pleat_nn_conv1d(ctx, 1, 16, .kernel = 9, .pad = 4), pleat_nn_relu(ctx),
        pleat_nn_conv1d(ctx, 16, 16, .kernel = 9, .dilation = 2, .pad = 8), pleat_nn_relu(ctx),
        pleat_nn_conv1d(ctx, 16, 16, .kernel = 9, .dilation = 4, .pad = 16), pleat_nn_relu(ctx),
        pleat_nn_conv1d(ctx, 16, 1, .kernel = 9, .pad = 4));
    pleat_nn_optimizer *adam = pleat_nn_adam(net);
    pleat_nn_summary(net, PLEAT_SHAPE(1, 1, L), stdout);

    const size_t steps = 600;
    pleat_nn_schedule half_cosine = {.cosine = steps};
    pleat_tensor *clean, *noisy;
    for (size_t step = 0; step < steps && pleat_error(ctx)->code == PLEAT_OK; step++) {
        pleat_scope s = pleat_begin(ctx);
        signals(ctx, &clean, &noisy);
        pleat_tensor *loss = pleat_nn_mse_loss(pleat_nn_forward(net, noisy), clean);
        pleat_nn_set_lr(adam, pleat_nn_schedule_lr(&half_cosine, 3e-3, step));
        pleat_nn_step(adam, loss);
        if ((step + 1) % 100 == 0) printf("step %3zu: mean squared error %.4f\n", step + 1, pleat_item(loss));
        pleat_end(s);
    }

    signals(ctx, &clean, &noisy);
    pleat_set_recording(ctx, false);
    double best = error_of(noisy, clean);
    size_t width = 1;
    for (size_t w = 3; w < 32; w += 2) {
        double e = error_of(moving_average(noisy, w), clean);
        if (e < best) best = e, width = w;
    }
    double learned = error_of(pleat_nn_forward(net, noisy), clean);
    printf(
        "mean squared error of new signals: noisy %.4f, moving average of %zu samples %.4f, network %.4f\n",
        error_of(noisy, clean), width, best, learned);

    bool failed = pleat_error(ctx)->code != PLEAT_OK;
    if (failed) fprintf(stderr, "%s\n", pleat_error(ctx)->text);
    pleat_nn_optimizer_free(adam);
    pleat_nn_free(net);
    pleat_ctx_free(ctx);
    return failed || !(learned < 0.6 * best);
}

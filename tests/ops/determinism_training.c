/* Same seed, same bits: a training run with all that is random or threaded in it, the loader's own thread included. */
#include "determinism.h"

#include <criterion/criterion.h>
#include <stdlib.h>
#include <string.h>

#include "pleat_nn.h"

enum { IMAGES = 96, BATCH = 32, SIDE = 20, EPOCHS = 2 };

/* What a run leaves: losses, then parameters, buffers, and averages of both. */
typedef struct trace {
    size_t n;
    double values[1 << 15];
} trace;

typedef struct training {
    pleat_ctx *ctx;
    pleat_nn_images images;
    pleat_nn_loader *loader;
    pleat_nn_module *net;
    pleat_nn_optimizer *adamw;
    pleat_nn_ema *ema;
} training;

static pleat_nn_module *network(pleat_ctx *ctx) {
    return pleat_nn_sequential(
        ctx, pleat_nn_conv2d(ctx, 1, 12, .kernel = {3, 3}, .pad = {1, 1}), pleat_nn_batch_norm2d(ctx, 12),
        pleat_nn_relu(ctx), pleat_nn_max_pool2d(ctx, .kernel = {2, 2}),
        pleat_nn_conv2d(ctx, 12, 16, .kernel = {3, 3}, .stride = {2, 2}, .groups = 4), pleat_nn_gelu(ctx),
        pleat_nn_conv_transpose2d(ctx, 16, 8, .kernel = {3, 3}, .stride = {2, 2}), pleat_nn_relu(ctx),
        pleat_nn_dropout(ctx, 0.25), pleat_nn_flatten(ctx), pleat_nn_linear(ctx, 8 * 9 * 9, 6));
}

/* The loader keeps the address of the images, so *t stays where it is. */
static void start(training *t, int threads, bool prefetch) {
    *t = (training){.ctx = pleat_ctx_new(.threads = threads, .seed = 9)};
    cr_assert_not_null(t->ctx);
    cr_assert(!pleat_nn_shapes(t->ctx, IMAGES, SIDE, SIDE, 4, &t->images));
    t->loader =
        pleat_nn_loader_new(t->ctx, &t->images, BATCH, .shuffle = true, .seed = 2, .no_prefetch = !prefetch,
                            .transform = {.crop_pad = 2, .crop = {SIDE, SIDE}, .flip = 0.5, .noise = 0.1});
    t->net = network(t->ctx);
    t->adamw = pleat_nn_adamw(t->net, .lr = 3e-3, .clip_norm = 1);
    t->ema = pleat_nn_ema_new(t->net, 0.9);
    cr_assert(t->loader && t->adamw && t->ema, "%s", pleat_error(t->ctx)->text);
}

static void stop(training *t) {
    pleat_nn_ema_free(t->ema);
    pleat_nn_optimizer_free(t->adamw);
    pleat_nn_free(t->net);
    pleat_nn_loader_free(t->loader);
    pleat_nn_images_free(&t->images);
    pleat_ctx_free(t->ctx);
}

static void note(trace *out, double value) {
    cr_assert(out->n < sizeof out->values / sizeof *out->values);
    out->values[out->n++] = value;
}

static void note_state(trace *out, training *t) {
    for (size_t i = 0; i < pleat_nn_state_count(t->net); i++) {
        pleat_tensor *s = pleat_nn_state(t->net, i);
        size_t index[PLEAT_MAX_RANK] = {0}, rank = pleat_rank(s);
        for (size_t k = 0; k < pleat_numel(s); k++) {
            note(out, pleat_at(s, index));
            for (size_t axis = rank; axis-- > 0 && ++index[axis] == pleat_size(s, axis);) index[axis] = 0;
        }
    }
}

static void train(int threads, bool prefetch, trace *out) {
    training t;
    start(&t, threads, prefetch);
    out->n = 0;
    for (size_t epoch = 0; epoch < EPOCHS; epoch++) {
        pleat_nn_batch b;
        pleat_nn_loader_start(t.loader, epoch, 0);
        for (bool more = true; more;) {
            pleat_scope step = pleat_begin(t.ctx);
            more = pleat_nn_loader_next(t.loader, &b);
            if (more) {
                pleat_tensor *loss = pleat_nn_cross_entropy_loss(pleat_nn_forward(t.net, b.x),
                                                                 .labels = b.labels, .label_smoothing = 0.1);
                pleat_nn_step(t.adamw, loss);
                pleat_nn_ema_update(t.ema);
                note(out, pleat_item(loss));
            }
            pleat_end(step);
        }
    }
    cr_assert_eq(pleat_error(t.ctx)->code, PLEAT_OK, "%s", pleat_error(t.ctx)->text);
    cr_assert_eq(out->n, EPOCHS * IMAGES / BATCH);
    note_state(out, &t);
    pleat_nn_ema_swap(t.ema);
    note_state(out, &t);
    stop(&t);
}

Test(determinism, of_a_training_run_on_every_path, .timeout = 60) {
    static trace expected, found;
    for (size_t k = 0; every_path[k]; k++) {
        take_path(every_path[k]);
        for (size_t i = 0; every_number[i]; i++) {
            train(every_number[i], i % 2 == 0, i == 0 ? &expected : &found);
            if (i == 0) continue;
            size_t at = 0;
            while (at < expected.n && !memcmp(&found.values[at], &expected.values[at], sizeof(double))) at++;
            cr_assert(
                found.n == expected.n && at == expected.n,
                "path %s, %d threads: value %zu of %zu (losses, then the state) is %.17g instead of %.17g",
                every_path[k], every_number[i], at, expected.n, found.values[at], expected.values[at]);
        }
    }
}

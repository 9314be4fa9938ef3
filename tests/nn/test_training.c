/* Training as a whole: it learns, a warmed-up step allocates nothing, and the same seed gives the same bits on any number
 * of threads. */
#include <criterion/criterion.h>
#include <stdlib.h>
#include <string.h>

#include "autoencoder.h"
#include "mallocs.h"
#include "pleat_nn.h"

enum { IMAGES = 256, SIDE = 28, BATCH = 32 };

typedef struct training {
    pleat_ctx *ctx;
    pleat_nn_images images;
    pleat_nn_batches batches;
    pleat_nn_module *net;
    pleat_nn_optimizer *adam;
} training;

static training start(int threads) {
    training t = {.ctx = pleat_ctx_new(.threads = threads, .seed = 3)};
    cr_assert(t.ctx);
    cr_assert(!pleat_nn_shapes(t.ctx, IMAGES, SIDE, SIDE, 1, &t.images));
    cr_assert(!pleat_nn_batches_new(t.ctx, IMAGES, BATCH, &t.batches));
    t.net = autoencoder(t.ctx);
    t.adam = pleat_nn_adam(t.net, .lr = 2e-3);
    cr_assert(t.adam, "%s", pleat_error(t.ctx)->text);
    return t;
}

static void stop(training *t) {
    pleat_nn_optimizer_free(t->adam);
    pleat_nn_free(t->net);
    pleat_nn_batches_free(&t->batches);
    pleat_nn_images_free(&t->images);
    pleat_ctx_free(t->ctx);
}

/* One pass over the images; the mean loss. */
static double epoch(training *t) {
    double sum = 0;
    size_t n, steps = 0;
    pleat_nn_shuffle(&t->batches, pleat_ctx_rng(t->ctx));
    for (const size_t *index; (index = pleat_nn_next(&t->batches, &n)) != NULL; steps++) {
        pleat_scope step = pleat_begin(t->ctx);
        pleat_tensor *x = pleat_nn_image_batch(t->ctx, PLEAT_F32, &t->images, index, 0, n);
        pleat_tensor *loss = pleat_nn_mse_loss(pleat_nn_forward(t->net, x), x);
        pleat_nn_step(t->adam, loss);
        sum += pleat_item(loss);
        pleat_end(step);
    }
    return sum / (double)steps;
}

Test(training, learns, .timeout = 60) {
    training t = start(2);
    double first = epoch(&t), last = first;
    for (int i = 0; i < 10; i++) last = epoch(&t);
    cr_assert_eq(pleat_error(t.ctx)->code, PLEAT_OK, "%s", pleat_error(t.ctx)->text);
    cr_expect(last < 0.5 * first, "loss %g at first, %g after ten more passes", first, last);
    stop(&t);
}

Test(training, allocates_nothing_once_warm, .timeout = 60) {
    for (int threads = 1; threads <= 2; threads++) {
        training t = start(threads);
        for (int i = 0; i < 2; i++) epoch(&t);
        pleat_memory_info before = pleat_memory(t.ctx);
        mallocs_start();
        epoch(&t);
        size_t calls = mallocs_stop();
        pleat_memory_info after = pleat_memory(t.ctx);
        cr_expect_eq(after.allocations, before.allocations, "the context asked for memory");
        cr_expect_eq(after.in_use, before.in_use, "a step leaves memory in use");
        cr_expect_eq(calls, 0, "%d threads: %zu calls of malloc in %d warmed-up steps", threads, calls,
                     IMAGES / BATCH);
        stop(&t);
    }
}

/* The counter itself must count. */
/* The labels of a batch are numbers of the caller, which a call keeps a copy of. */
Test(training, labels_allocate_nothing_once_warm) {
    if (!mallocs_are_counted()) cr_skip_test("a sanitizer's malloc cannot be counted");
    pleat_ctx *ctx = pleat_ctx_new(.threads = 1);
    pleat_nn_module *net = pleat_nn_linear(ctx, 4, 3);
    pleat_nn_optimizer *adam = pleat_nn_adam(net);
    size_t labels[8] = {0, 1, 2, 0, 1, 2, 2, 1};
    for (int step = 0; step < 4; step++) {
        if (step == 2) mallocs_start();
        pleat_scope s = pleat_begin(ctx);
        pleat_tensor *x = pleat_randn(ctx, PLEAT_F32, PLEAT_SHAPE(8, 4));
        pleat_tensor *y = pleat_nn_forward(net, x);
        cr_expect(pleat_nn_accuracy(y, labels) <= 1);
        pleat_nn_step(adam, pleat_nn_cross_entropy_loss(y, .labels = labels));
        pleat_end(s);
    }
    cr_expect_eq(mallocs_stop(), 0);
    cr_expect_eq(pleat_error(ctx)->code, PLEAT_OK, "%s", pleat_error(ctx)->text);
    pleat_nn_optimizer_free(adam);
    pleat_nn_free(net);
    pleat_ctx_free(ctx);
}

Test(training, evaluation_allocates_nothing_once_warm) {
    if (!mallocs_are_counted()) cr_skip_test("a sanitizer's malloc cannot be counted");
    pleat_ctx *ctx = pleat_ctx_new(.threads = 1);
    pleat_nn_module *net = pleat_nn_sequential(ctx, pleat_nn_conv2d(ctx, 3, 8, .kernel = {3, 3}),
                                               pleat_nn_batch_norm2d(ctx, 8), pleat_nn_relu6(ctx));
    pleat_tensor *x = pleat_randn(ctx, PLEAT_F32, PLEAT_SHAPE(4, 3, 20, 20));
    pleat_nn_set_training(net, false);
    pleat_set_recording(ctx, false);
    for (int pass = 0; pass < 4; pass++) {
        if (pass == 2) mallocs_start();
        pleat_scope s = pleat_begin(ctx);
        pleat_nn_forward(net, x);
        pleat_end(s);
    }
    cr_expect_eq(mallocs_stop(), 0);
    cr_expect_eq(pleat_error(ctx)->code, PLEAT_OK, "%s", pleat_error(ctx)->text);
    pleat_nn_free(net);
    pleat_ctx_free(ctx);
}

Test(training, mallocs_are_seen) {
    if (!mallocs_are_counted()) cr_skip_test("a sanitizer's malloc cannot be counted");
    mallocs_start();
    void *volatile block = malloc(1);
    free(block);
    block = calloc(1, 1);
    free(block);
    cr_expect_eq(mallocs_stop(), 2);
}

Test(training, same_bits_on_any_number_of_threads, .timeout = 60) {
    static const int counts[] = {1, 2, 3, 5};
    training t[4];
    for (size_t i = 0; i < 4; i++) {
        t[i] = start(counts[i]);
        epoch(&t[i]);
        for (size_t p = 0; p < pleat_nn_param_count(t[i].net); p++) {
            pleat_tensor *one = pleat_nn_param(t[0].net, p), *other = pleat_nn_param(t[i].net, p);
            cr_expect_eq(memcmp(pleat_f32(one), pleat_f32(other), pleat_numel(one) * sizeof(float)), 0,
                         "parameter %zu differs between 1 and %d threads", p, counts[i]);
        }
    }
    for (size_t i = 0; i < 4; i++) stop(&t[i]);
}

/* A run with two networks whose optimizers have rates of their own: interrupted after an epoch and resumed, it ends with the same
 * bits. */
#define _POSIX_C_SOURCE 200809L

#include "pleat_config.h"
#include "scratch.h"

TestSuite(parts, .init = scratch_begin, .fini = scratch_end);

#ifdef PL_HAVE_CJSON
typedef struct pair {
    pleat_ctx *ctx;
    pleat_nn_images images;
    pleat_nn_module *net[2];
    pleat_nn_optimizer *opt[2];
    pleat_nn_loader *train;
    pleat_nn_run run;
} pair;

static pleat_status step(void *user, const pleat_nn_batch *b, double *loss, double *metric) {
    pair *p = user;
    *metric = 0;
    for (size_t i = 0; i < 2; i++) {
        pleat_tensor *l =
            pleat_nn_mse_loss(pleat_nn_forward(p->net[i], b->x), pleat_scale(b->x, (double)i + 0.5));
        *loss = pleat_item(l);
        pleat_status status = pleat_nn_step(p->opt[i], l);
        if (status) return status;
    }
    return PLEAT_OK;
}

static void run_until(pair *p, size_t epochs, bool resume) {
    pleat_nn_fit_args a = {.run = &p->run,
                           .part = {{"one", p->net[0], p->opt[0], NULL}, {"two", p->net[1], p->opt[1], NULL}},
                           .train = p->train,
                           .epochs = epochs,
                           .step = step,
                           .user = p,
                           .schedule = {.warmup = 2},
                           .folder = scratch_folder,
                           .resume = resume};
    cr_assert_eq(pleat_nn_fit_with(a), PLEAT_OK, "%s", pleat_error(p->ctx)->text);
    cr_assert_eq(p->run.epochs, epochs);
}

static pair *start(void) {
    static const double rates[] = {1e-2, 3e-3};
    pair *p = calloc(1, sizeof *p);
    cr_assert_not_null(p);
    p->ctx = pleat_ctx_new(.threads = 1, .seed = 3);
    cr_assert_eq(pleat_nn_shapes(p->ctx, 24, 8, 8, 1, &p->images), PLEAT_OK);
    p->train = pleat_nn_loader_new(p->ctx, &p->images, .batch = 8, .shuffle = true);
    for (size_t i = 0; i < 2; i++) {
        p->net[i] =
            pleat_nn_sequential(p->ctx, pleat_nn_conv2d(p->ctx, 1, 1, .kernel = {3, 3}, .pad = {1, 1}));
        p->opt[i] = pleat_nn_adam(p->net[i], .lr = rates[i]);
    }
    cr_assert(p->train && p->opt[0] && p->opt[1]);
    return p;
}

static void stop(pair *p) {
    pleat_nn_run_free(&p->run);
    pleat_nn_loader_free(p->train);
    for (size_t i = 0; i < 2; i++) pleat_nn_optimizer_free(p->opt[i]), pleat_nn_free(p->net[i]);
    pleat_nn_images_free(&p->images);
    pleat_ctx_free(p->ctx);
    free(p);
}

Test(parts, each_keeps_its_rate_when_a_run_is_resumed) {
    pair *whole = start(), *half = start(), *rest = start();
    run_until(whole, 3, false);
    run_until(half, 1, false);
    run_until(rest, 3, true);
    for (size_t i = 0; i < 2; i++) {
        cr_assert_eq(pleat_nn_lr(rest->opt[i]), pleat_nn_lr(whole->opt[i]), "rate %zu", i);
        for (size_t k = 0; k < pleat_nn_state_count(whole->net[i]); k++) {
            pleat_tensor *a = pleat_nn_state(whole->net[i], k), *b = pleat_nn_state(rest->net[i], k);
            cr_assert_eq(memcmp(pleat_f32(a), pleat_f32(b), pleat_numel(a) * sizeof(float)), 0, "net %zu", i);
        }
    }
    stop(whole), stop(half), stop(rest);
}
#endif

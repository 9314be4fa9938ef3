/* Learning rates over time against PyTorch, and averaged weights. */
#include <math.h>
#include <string.h>

#include "../nn/optimizer.h"
#include "mallocs.h"
#include "optim.h"

TestSuite(rates, .init = optim_begin, .fini = optim_end);

/* ---- schedules ------------------------------------------------------------------------------------------- */

static void expect_rates(const char *name, double base, pleat_nn_schedule s) {
    const oracle_array *a = need("rate", name);
    for (size_t t = 0; t < a->numel; t++) {
        double found = pleat_nn_schedule_lr(&s, base, t);
        cr_expect(fabs(found - a->values[t]) <= 1e-13 * base, "%s, %zu: %.17g instead of %.17g", name, t,
                  found, a->values[t]);
    }
}

Test(rates, schedules_agree_with_pytorch) {
    expect_rates("steps", 0.5, (pleat_nn_schedule){.step = 7, .gamma = 0.3});
    expect_rates("cosine", 0.5, (pleat_nn_schedule){.cosine = 30, .least = 0.02});
    expect_rates("warmup", 0.5, (pleat_nn_schedule){.warmup = 12});
    expect_rates("warm_cosine", 0.05,
                 (pleat_nn_schedule){.warmup = 20, .warmup_from = 0.1, .cosine = 80, .least = 0.001});
    expect_rates("warm_steps", 0.1, (pleat_nn_schedule){.warmup = 5, .warmup_from = 0.25, .step = 10});
}

Test(rates, schedules_at_their_ends) {
    cr_expect_eq(pleat_nn_schedule_lr(NULL, 0.3, 7), 0.3);
    cr_expect_eq(pleat_nn_schedule_lr(&(pleat_nn_schedule){.warmup = 0}, 0.3, SIZE_MAX), 0.3);
    pleat_nn_schedule s = {.warmup = 4, .warmup_from = 0.5, .cosine = 10, .least = 0.01};
    cr_expect_eq(pleat_nn_schedule_lr(&s, 0.3, 0), 0.15);
    cr_expect_eq(pleat_nn_schedule_lr(&s, 0.3, 4), 0.3);
    cr_expect_eq(pleat_nn_schedule_lr(&s, 0.3, 14), 0.01);
    cr_expect_eq(pleat_nn_schedule_lr(&s, 0.3, 15), 0.01, "it stays there, and does not rise again");
    cr_expect_eq(pleat_nn_schedule_lr(&s, 0.3, SIZE_MAX), 0.01);
    pleat_nn_schedule both = {.step = 3, .gamma = 0.5, .cosine = 8};
    cr_expect_float_eq(pleat_nn_schedule_lr(&both, 1, 4), 0.25, 1e-15);
    cr_expect_float_eq(pleat_nn_schedule_lr(&(pleat_nn_schedule){.step = 1}, 1, 2), 0.01, 1e-15);
}

/* ---- plateaus -------------------------------------------------------------------------------------------- */

static void expect_plateau(const char *name, pleat_nn_plateau p) {
    const oracle_array *metrics = oracle_find(torch, "plateau.%s.metrics", name);
    const oracle_array *rates = oracle_find(torch, "plateau.%s.rates", name);
    cr_assert(metrics && rates && metrics->numel == rates->numel);
    double lr = 0.5;
    for (size_t t = 0; t < rates->numel; t++) {
        lr = pleat_nn_plateau_lr(&p, lr, metrics->values[t]);
        cr_assert_eq(lr, rates->values[t], "%s, call %zu: %.17g instead of %.17g", name, t, lr,
                     rates->values[t]);
    }
}

Test(rates, plateaus_agree_with_pytorch) {
    expect_plateau("default", (pleat_nn_plateau){.patience = 0});
    expect_plateau("max", (pleat_nn_plateau){.higher_is_better = true, .factor = 0.5, .patience = 3});
    expect_plateau("min", (pleat_nn_plateau){.factor = 0.5, .patience = 2, .cooldown = 4, .least = 0.03});
    expect_plateau("threshold", (pleat_nn_plateau){.threshold = 0.05, .patience = 5, .factor = 0.3});
    expect_plateau("negative", (pleat_nn_plateau){.patience = 2, .factor = 0.7});
    expect_plateau("broken", (pleat_nn_plateau){.patience = 1});
    expect_plateau("tiny", (pleat_nn_plateau){.patience = 1, .factor = 0.05});
    cr_expect_eq(pleat_nn_plateau_lr(NULL, 0.5, 1), 0.5);
}

/* A quarter of the best one so far, and more. */
Test(rates, better_is_what_exceeds_the_threshold) {
    static const struct {
        bool higher, better;
        double best, metric;
    } cases[] = {{true, false, 8, 9},  {true, false, 8, 10}, {true, true, 8, 10.5}, {true, false, 8, 2},
                 {false, false, 8, 7}, {false, false, 8, 6}, {false, true, 8, 5.5}, {false, false, 8, 20}};
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        pleat_nn_plateau p = {.higher_is_better = cases[i].higher, .threshold = 0.25};
        pleat_nn_plateau_lr(&p, 0.5, cases[i].best);
        pleat_nn_plateau_lr(&p, 0.5, cases[i].metric);
        cr_expect_eq(p.best, cases[i].better ? cases[i].metric : cases[i].best, "%g behind %g, case %zu",
                     cases[i].metric, cases[i].best, i);
    }
}

/* ---- averages -------------------------------------------------------------------------------------------- */

/* A convolution and a norm in f32, with its buffers. */
static pleat_nn_module *normed(void) {
    return pleat_nn_sequential(ctx, pleat_nn_conv2d(ctx, 1, 2, .kernel = {3, 3}),
                               pleat_nn_batch_norm2d(ctx, 2), pleat_nn_flatten(ctx),
                               pleat_nn_linear(ctx, 8, 40));
}

static void set_all(pleat_nn_module *net, double value) {
    for (size_t i = 0; i < pleat_nn_state_count(net); i++) {
        pleat_tensor *t = pleat_nn_state(net, i), *v = pleat_full_like(t, value);
        EXPECT_OK(pleat_assign(t, v));
    }
}

static bool is_buffer(pleat_nn_module *net, size_t i) {
    char name[64];
    return strstr(pleat_nn_state_name(net, i, name, sizeof name), "running_") || strstr(name, "num_batches");
}

/* All parameters are p, all buffers b: of the net, or of the averages. */
static void expect_all(pleat_nn_ema *ema, bool averages, double p, double b) {
    pleat_nn_module *net = pln_ema_net(ema);
    for (size_t i = 0; i < pleat_nn_state_count(net); i++) {
        pleat_tensor *t = averages ? pln_ema_state(ema, i) : pleat_nn_state(net, i);
        EXPECT_SAME(t, pleat_full_like(t, is_buffer(net, i) ? b : p));
    }
}

Test(rates, averages_of_parameters_and_copies_of_buffers) {
    pleat_nn_module *net = normed();
    set_all(net, 4);
    pleat_nn_ema *ema = pleat_nn_ema_new(net, 0.75);
    cr_assert(ema, "%s", pleat_error(ctx)->text);
    expect_all(ema, true, 4, 4);
    set_all(net, 8);
    pleat_nn_ema_update(ema);
    expect_all(ema, true, 5, 8);
    expect_all(ema, false, 8, 8);
    set_all(net, -3);
    pleat_nn_ema_update(ema);
    expect_all(ema, true, 3, -3);
    pleat_nn_ema_free(ema);
    pleat_nn_free(net);
}

Test(rates, swapping_exchanges_all) {
    pleat_nn_module *net = normed();
    set_all(net, 1);
    pleat_nn_ema *ema = pleat_nn_ema_new(net, 0.5);
    set_all(net, 2);
    pleat_nn_ema_update(ema);
    set_all(net, 7);
    cr_expect_not(pln_ema_is_swapped(ema));
    pleat_nn_ema_swap(ema);
    cr_expect(pln_ema_is_swapped(ema));
    expect_all(ema, false, 1.5, 2);
    expect_all(ema, true, 7, 7);
    pleat_nn_ema_update(ema);
    EXPECT_FAILED(PLEAT_ERR_ARGUMENT, PLEAT_ERR_ARGUMENT, "ema", "swap again before an update");
    expect_all(ema, false, 1.5, 2);
    pleat_nn_ema_swap(ema);
    expect_all(ema, false, 7, 7);
    expect_all(ema, true, 1.5, 2);
    pleat_nn_ema_free(ema);
    pleat_nn_free(net);
}

/* A parameter that does not change is its own average, to the last bit. */
Test(rates, averages_of_what_stays_the_same) {
    for (pleat_dtype type = PLEAT_F32; type <= PLEAT_F64; type++) {
        pleat_nn_module *net = pleat_nn_linear(ctx, 40, 30, .dtype = type);
        pleat_nn_ema *ema = pleat_nn_ema_new(net, 0.997);
        for (int t = 0; t < 100; t++) pleat_nn_ema_update(ema);
        for (size_t i = 0; i < 2; i++) EXPECT_SAME(pln_ema_state(ema, i), pleat_nn_param(net, i));
        pleat_nn_ema_free(ema);
        pleat_nn_free(net);
    }
}

/* More elements than an exchange moves at once. */
Test(rates, swapping_large_tensors) {
    for (pleat_dtype type = PLEAT_F32; type <= PLEAT_F64; type++) {
        pleat_nn_module *net = pleat_nn_linear(ctx, 37, 29, .dtype = type);
        pleat_tensor *w = pleat_nn_param(net, 0), *first = pleat_scale(w, 1), *second = pleat_scale(w, 3);
        pleat_nn_ema *ema = pleat_nn_ema_new(net, 0);
        EXPECT_OK(pleat_assign(w, second));
        pleat_nn_ema_swap(ema);
        EXPECT_SAME(w, first);
        EXPECT_SAME(pln_ema_state(ema, 0), second);
        pleat_nn_ema_free(ema);
        pleat_nn_free(net);
    }
}

Test(rates, averages_of_nothing) {
    pleat_nn_module *bare = pleat_nn_relu(ctx);
    pleat_nn_ema *ema = pleat_nn_ema_new(bare, 0.5);
    cr_assert(ema);
    pleat_nn_ema_update(ema);
    pleat_nn_ema_swap(ema);
    pleat_nn_ema_free(ema);
    pleat_nn_free(bare);
    pleat_nn_ema_update(NULL);
    pleat_nn_ema_swap(NULL);
    pleat_nn_ema_free(NULL);
}

Test(rates, averages_refuse) {
    pleat_nn_module *net = small_net(PLEAT_F32);
    cr_assert_null(pleat_nn_ema_new(NULL, 0.5));
    for (size_t i = 0; i < 3; i++) {
        cr_assert_null(pleat_nn_ema_new(net, VALUES(1, -0.1, NAN)[i]));
        EXPECT_FAILED(PLEAT_ERR_ARGUMENT, PLEAT_ERR_ARGUMENT, "ema", "it must be at least 0 and less than 1");
    }
    pleat_nn_free(net);
}

Test(rates, averages_need_memory_once) {
    if (!mallocs_are_counted()) cr_skip_test("a sanitizer's malloc cannot be counted");
    pleat_nn_module *net = normed();
    pleat_nn_ema *ema = NULL;
    size_t n = 0, tensors = pleat_memory(ctx).tensors;
    while (!ema) {
        pleat_trim(ctx);
        mallocs_start_failing(++n);
        ema = pleat_nn_ema_new(net, 0.9);
        mallocs_stop();
        if (ema) break;
        cr_assert_eq(pleat_error(ctx)->code, PLEAT_ERR_MEMORY, "%s", pleat_error(ctx)->text);
        pleat_clear_error(ctx);
        cr_assert_eq(pleat_memory(ctx).tensors, tensors);
    }
    cr_expect_gt(n, 5, "only %zu calls were tried", n);
    mallocs_start();
    pleat_nn_ema_update(ema);
    pleat_nn_ema_swap(ema);
    cr_expect_eq(mallocs_stop(), 0);
    pleat_nn_ema_free(ema);
    pleat_nn_free(net);
}

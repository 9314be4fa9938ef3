/* What a run says on .progress: each turn that it takes, with place and file, and whose metric it shows. */
#define _POSIX_C_SOURCE 200809L

#include <signal.h>

#include "pleat_config.h"
#include "scratch.h"

TestSuite(fit_words, .init = scratch_begin, .fini = scratch_end);

static struct {
    size_t calls, raise_at;
    bool raise_in_validation;
    pleat_nn_module *net;
    pleat_nn_optimizer *sgd;
    pleat_nn_loader *train, *valid;
} run_of;

static float numbers[12];

static pleat_tensor *loss(void *user, const pleat_nn_batch *b, double *metric) {
    (void)user;
    *metric = pleat_nn_is_training(run_of.net) ? 0.25 : 0.75;
    if (pleat_nn_is_training(run_of.net) && ++run_of.calls == run_of.raise_at) kill(getpid(), SIGINT);
    if (!pleat_nn_is_training(run_of.net) && run_of.raise_in_validation) kill(getpid(), SIGINT);
    return pleat_nn_mse_loss(pleat_nn_forward(run_of.net, b->x), b->x);
}

static void start(void) {
    pleat_nn_data d = {.count = 12, .field = {{"x", PLEAT_NN_F32, 1, {1}, .data = numbers}}};
    for (size_t i = 0; i < 12; i++) numbers[i] = (float)i / 12;
    run_of.net = pleat_nn_linear(ctx, 1, 1);
    run_of.sgd = pleat_nn_sgd(run_of.net, .lr = 0.1);
    run_of.train = pleat_nn_loader_new(ctx, .data = &d, .batch = 4);
    run_of.valid = pleat_nn_loader_new(ctx, .data = &d, .batch = 4);
    run_of.calls = run_of.raise_at = 0;
    cr_assert(run_of.train && run_of.valid, "%s", pleat_error(ctx)->text);
}

static void stop(void) {
    pleat_nn_loader_free(run_of.train), pleat_nn_loader_free(run_of.valid);
    pleat_nn_optimizer_free(run_of.sgd);
    pleat_nn_free(run_of.net);
}

static pleat_nn_fit_args args(void) {
    return (pleat_nn_fit_args){
        .part = {{"net", run_of.net, .opt = run_of.sgd}}, .train = run_of.train, .epochs = 2, .loss = loss};
}

/* What a run says; SIGINT comes in step raise_at, if that is not 0. The text is valid until the next call. */
static const char *said(pleat_nn_fit_args a, size_t raise_at) {
    static char text[4096];
    memset(text, 0, sizeof text);
    a.progress = fmemopen(text, sizeof text, "w");
    run_of.calls = 0, run_of.raise_at = raise_at;
    cr_assert_eq(pleat_nn_fit_with(a), PLEAT_OK, "%s", pleat_error(ctx)->text);
    fclose(a.progress);
    return text;
}

static void expect_said(const char *text, const char *part) {
    cr_expect(strstr(text, part), "\"%s\" is not in:\n%s", part, text);
}

static void expect_last(const char *text, const char *end) {
    size_t n = strlen(text), m = strlen(end);
    cr_expect(n >= m && !strcmp(text + n - m, end), "it does not end in \"%s\":\n%s", end, text);
}

Test(fit_words, whose_metric) {
    start();
    pleat_nn_fit_args a = args();
    a.metric_name = "accuracy";
    const char *text = said(a, 0);
    expect_said(text, ", train accuracy 0.25,");
    cr_expect(!strstr(text, "valid"));
    a.valid = run_of.valid;
    text = said(a, 0);
    expect_said(text, ", valid accuracy 0.75,");
    expect_said(text, ", train accuracy 0.25,");
    expect_said(text, " items/s");
    stop();
}

Test(fit_words, ends) {
    start();
    pleat_nn_fit_args a = args();
    expect_last(said(a, 0), "finished 2 epochs; the best is epoch 2\n");
    expect_last(said(a, 2), "interrupted in epoch 1, after step 2 of 3; no folder, so nothing was written\n");
    expect_last(said(a, 3), "interrupted in epoch 1, after step 3 of 3; no folder, so nothing was written\n");
    a.accumulate = 2; /* steps of two batches and of one */
    expect_last(said(a, 1), "interrupted in epoch 1, after step 1 of 2; no folder, so nothing was written\n");
    a.accumulate = 0;
    a.valid = run_of.valid, a.epochs = 1, run_of.raise_in_validation = true;
    expect_last(said(a, 0), "interrupted after epoch 1 of 1; no folder, so nothing was written\n");
    a.valid = NULL, run_of.raise_in_validation = false;
    pleat_nn_set_lr(run_of.sgd, 1e-30);
    a.patience = 1, a.epochs = 9;
    expect_last(said(a, 0), "stopped after epoch 2: none was better than epoch 1\n");
    stop();
}

#ifdef PL_HAVE_CJSON
Test(fit_words, resumes) {
    char end[600];
    start();
    pleat_nn_fit_args a = args();
    a.folder = in_scratch("run"), a.resume = true;
    const char *text = said(a, 5);
    snprintf(end, sizeof end,
             "interrupted in epoch 2, after step 2 of 3; checkpoint written: %s/checkpoint.safetensors\n",
             a.folder);
    expect_said(text, "there is no checkpoint in ");
    expect_last(text, end);
    text = said(a, 0);
    expect_said(text, "resumed at epoch 2, step 3 of 3: ");
    snprintf(end, sizeof end, "finished 2 epochs; the best is epoch 2: %s/best.safetensors\n", a.folder);
    expect_last(text, end);
    text = said(a, 0);
    cr_expect_str_eq(text, "already finished, 2 of 2 epochs: nothing to do\n");
    a.epochs = 3;
    expect_said(said(a, 0), "resumed at epoch 3, step 1 of 3: ");
    a.resume = false;
    text = said(a, 0);
    cr_expect(!strstr(text, "checkpoint") && !strstr(text, "resumed"), "%s", text);
    static const char *const names[] = {"run/checkpoint.safetensors", "run/best.safetensors",
                                        "run/metrics.csv", "run/.lock", "run"};
    for (size_t i = 0; i < 5; i++) remove(in_scratch(names[i]));
    stop();
}
#endif

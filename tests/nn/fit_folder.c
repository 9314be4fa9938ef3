/* A run and its folder: one at a time; what it says of a schedule that is not the checkpoint's; and a run without an end. */
#define _POSIX_C_SOURCE 200809L

#include <errno.h>
#include <signal.h>
#include <sys/wait.h>

#include "pleat_config.h"
#include "scratch.h"

static void begin(void) {
    signal(SIGINT, SIG_DFL);
    scratch_begin();
}

TestSuite(folder, .init = begin, .fini = scratch_end, .timeout = 60);

typedef struct training {
    pleat_nn_images images;
    pleat_nn_loader *loader;
    pleat_nn_module *net;
    pleat_nn_optimizer *opt;
    pleat_nn_run run;
    void (*meanwhile)(void); /* called in each step */
} training;

static pleat_tensor *loss(void *user, const pleat_nn_batch *b, double *metric) {
    training *t = user;
    *metric = 0;
    if (t->meanwhile) t->meanwhile();
    return pleat_nn_mse_loss(pleat_nn_forward(t->net, b->x), b->x);
}

static training *start(void) {
    training *t = calloc(1, sizeof *t);
    cr_assert_eq(pleat_nn_shapes(ctx, 8, 8, 8, 1, &t->images), PLEAT_OK);
    t->loader = pleat_nn_loader_new(ctx, &t->images, .batch = 4, .no_prefetch = true);
    t->net = pleat_nn_sequential(ctx, pleat_nn_conv2d(ctx, 1, 1, .kernel = {3, 3}, .pad = {1, 1}));
    t->opt = pleat_nn_sgd(t->net, .lr = 0.1);
    cr_assert(t->loader && t->opt, "%s", pleat_error(ctx)->text);
    return t;
}

static void stop(training *t) {
    pleat_nn_run_free(&t->run);
    pleat_nn_optimizer_free(t->opt);
    pleat_nn_free(t->net);
    pleat_nn_loader_free(t->loader);
    pleat_nn_images_free(&t->images);
    free(t);
}

static pleat_nn_fit_args args_of(training *t, size_t epochs) {
    return (pleat_nn_fit_args){.run = &t->run,
                               .part = {{.name = "net", .net = t->net, .opt = t->opt}},
                               .train = t->loader,
                               .epochs = epochs,
                               .loss = loss,
                               .user = t,
                               .folder = in_scratch("run")};
}

#ifdef PL_HAVE_CJSON /* which saving needs */
/* The folder is empty behind it: a run leaves its files in it, and nothing else. */
static void expect_only_files(void) {
    static const char *const files[] = {"run/metrics.csv", "run/checkpoint.safetensors",
                                        "run/best.safetensors"};
    for (size_t i = 0; i < 3; i++) remove(in_scratch(files[i]));
    cr_expect_eq(rmdir(in_scratch("run")), 0, "something is left in the folder: %s", strerror(errno));
}

/* ---- one at a time -------------------------------------------------------------------------------------- */

static size_t refused;

static void begin_another(void) {
    training *t = start();
    pleat_status status = pleat_nn_fit_with(args_of(t, 1));
    refused += status == PLEAT_ERR_IO;
    expect_error(status, PLEAT_ERR_IO,
                 "run: another run writes into this folder; give this one a folder of its own");
    stop(t);
}

Test(folder, has_one_run_at_a_time) {
    training *t = start();
    t->meanwhile = begin_another;
    cr_assert_eq(pleat_nn_fit_with(args_of(t, 1)), PLEAT_OK, "%s", pleat_error(ctx)->text);
    cr_expect_eq(refused, 2);
    t->meanwhile = NULL;
    pleat_nn_run_free(&t->run);
    cr_assert_eq(pleat_nn_fit_with(args_of(t, 1)), PLEAT_OK, "the folder is free again: %s",
                 pleat_error(ctx)->text);
    stop(t);
    expect_only_files();
}

static void die(void) { kill(getpid(), SIGKILL); }

Test(folder, is_free_when_its_run_is_dead) {
    int status;
    training *t = start();
    pid_t child = fork();
    if (child == 0) {
        t->meanwhile = die;
        pleat_nn_fit_with(args_of(t, 1));
        _exit(1);
    }
    cr_assert(waitpid(child, &status, 0) == child && WIFSIGNALED(status));
    cr_expect_eq(pleat_nn_fit_with(args_of(t, 1)), PLEAT_OK, "%s", pleat_error(ctx)->text);
    stop(t);
    expect_only_files();
}

/* ---- a schedule that is not the checkpoint's --------------------------------------------------------------- */

/* What a run of so many epochs says, with a cosine over so many steps. */
static char *said(size_t epochs, size_t cosine, bool resume) {
    char *text = NULL;
    size_t bytes;
    training *t = start();
    pleat_nn_fit_args a = args_of(t, epochs);
    a.schedule.cosine = cosine, a.resume = resume;
    a.progress = open_memstream(&text, &bytes);
    cr_assert(a.progress && pleat_nn_fit_with(a) == PLEAT_OK, "%s", pleat_error(ctx)->text);
    fclose(a.progress);
    stop(t);
    return text;
}

static void expect_warning(char *text, bool want) {
    const char *line = strstr(text, "the schedule");
    cr_expect_eq(line != NULL, want, "%s", text);
    if (line) cr_expect(line == text && !strstr(line + 1, "the schedule"), "%s", text);
    free(text);
}

Test(folder, a_resume_says_that_the_schedule_is_another) {
    expect_warning(said(1, 2, false), false);
    expect_warning(said(1, 2, true), false); /* nothing left to do */
    expect_warning(said(3, 6, true), true);
    expect_warning(said(4, 6, true), false); /* as in the last checkpoint */
    expect_warning(said(4, 2, false), false);
    expect_only_files();
}
#endif

/* ---- a run without an end ------------------------------------------------------------------------------- */

static void interrupt(void) { kill(getpid(), SIGINT); }

/* A record of 2^40 epochs has more bytes than there is memory. */
Test(folder, a_run_of_any_length_begins) {
    training *t = start();
    t->meanwhile = interrupt;
    pleat_nn_fit_args a = args_of(t, (size_t)1 << (sizeof(size_t) == 8 ? 40 : 30));
    a.folder = NULL;
    cr_assert_eq(pleat_nn_fit_with(a), PLEAT_OK, "%s", pleat_error(ctx)->text);
    cr_expect_eq(t->run.outcome, PLEAT_NN_INTERRUPTED);
    stop(t);
}

Test(folder, a_record_grows) {
    training *t = start();
    pleat_nn_fit_args a = args_of(t, 100);
    a.folder = NULL;
    cr_assert_eq(pleat_nn_fit_with(a), PLEAT_OK, "%s", pleat_error(ctx)->text);
    cr_expect_eq(t->run.epochs, 100);
    for (size_t i = 1; i < 100; i++)
        cr_expect(t->run.epoch[i].loss > 0 && t->run.epoch[i].lr == 0.1, "epoch %zu", i);
    stop(t);
}

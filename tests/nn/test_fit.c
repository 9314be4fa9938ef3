/* Training runs: what they compute and leave, how they stop, and that a run which was interrupted and resumed
 * ends with the same bits as one that was not. */
#define _POSIX_C_SOURCE 200809L

#include <math.h>
#include <signal.h>
#include <sys/stat.h>
#include <sys/wait.h>

#include "pleat_config.h"
#include "scratch.h"

/* A run leaves a signal alone that it was told to ignore, as whatever a shell starts in the background is. */
static void begin(void) {
    signal(SIGINT, SIG_DFL);
    signal(SIGTERM, SIG_DFL);
    scratch_begin();
}

TestSuite(fit, .init = begin, .fini = scratch_end);

/* ---- a run with all that has a state ------------------------------------------------------------------------- */

typedef struct job {
    pleat_ctx *ctx;
    pleat_nn_images images, test;
    pleat_nn_module *net;
    pleat_nn_optimizer *opt;
    pleat_nn_ema *ema;
    pleat_nn_loader *train, *valid;
    pleat_nn_run run;
    size_t calls, raise_at; /* send SIGINT to ourselves in that call of the loss */
    size_t nan_at;
    int signal;
} job;

static pleat_nn_module *network(pleat_ctx *c, size_t width) {
    return pleat_nn_sequential(
        c, pleat_nn_conv2d(c, 1, width, .kernel = {3, 3}, .stride = {2, 2}, .pad = {1, 1}),
        pleat_nn_batch_norm2d(c, width), pleat_nn_relu(c), pleat_nn_flatten(c), pleat_nn_dropout(c, 0.2),
        pleat_nn_linear(c, width * 16, 5));
}

static pleat_tensor *loss(void *user, const pleat_nn_batch *b, double *metric) {
    job *j = user;
    bool training = pleat_nn_is_training(j->net);
    if (training && ++j->calls == j->raise_at) kill(getpid(), j->signal ? j->signal : SIGINT);
    pleat_tensor *y = pleat_nn_forward(j->net, b->x);
    *metric = pleat_nn_accuracy(y, b->labels);
    pleat_tensor *l = pleat_nn_cross_entropy_loss(y, .labels = b->labels);
    return training && j->calls == j->nan_at ? pleat_scale(l, NAN) : l;
}

static job *start_job(size_t width, int threads, bool prefetch) {
    job *j = calloc(1, sizeof *j);
    cr_assert(j);
    j->ctx = pleat_ctx_new(.threads = threads, .seed = 3);
    cr_assert_eq(pleat_nn_shapes(j->ctx, 42, 8, 8, 1, &j->images), PLEAT_OK);
    cr_assert_eq(pleat_nn_shapes(j->ctx, 20, 8, 8, 2, &j->test), PLEAT_OK);
    j->net = network(j->ctx, width);
    j->opt = pleat_nn_adam(j->net, .lr = 1e-2);
    j->ema = pleat_nn_ema_new(j->net, 0.9);
    j->train = pleat_nn_loader_new(j->ctx, &j->images, .batch = 8, .shuffle = true, .seed = 5,
                                   .no_prefetch = !prefetch, .transform = {.flip = 0.5, .noise = 0.1});
    j->valid = pleat_nn_loader_new(j->ctx, &j->test, .batch = 7, .keep_last = true, .no_prefetch = !prefetch);
    cr_assert(j->net && j->opt && j->ema && j->train && j->valid, "%s", pleat_error(j->ctx)->text);
    return j;
}

static void end_job(job *j) {
    pleat_nn_run_free(&j->run);
    pleat_nn_loader_free(j->train);
    pleat_nn_loader_free(j->valid);
    pleat_nn_ema_free(j->ema);
    pleat_nn_optimizer_free(j->opt);
    pleat_nn_free(j->net);
    pleat_nn_images_free(&j->images);
    pleat_nn_images_free(&j->test);
    pleat_ctx_free(j->ctx);
    free(j);
}

static pleat_nn_fit_args args_of(job *j, const char *folder) {
    return (pleat_nn_fit_args){.run = &j->run,
                               .part = {{"net", j->net, j->opt, j->ema}},
                               .train = j->train,
                               .valid = j->valid,
                               .epochs = 3,
                               .loss = loss,
                               .user = j,
                               .metric_name = "accuracy",
                               .schedule = {.warmup = 3, .cosine = 12},
                               .folder = folder,
                               .options = "--lr 0.01"};
}

/* The parameters, buffers, averages and random stream as bytes; the caller frees them. */
static size_t bits_of(job *j, char **out) {
    size_t n = pleat_nn_state_count(j->net), bytes = sizeof(pleat_rng);
    for (size_t i = 0; i < n; i++) bytes += 2 * pleat_numel(pleat_nn_state(j->net, i)) * sizeof(double);
    char *to = *out = calloc(1, bytes);
    memcpy(to, pleat_ctx_rng(j->ctx), sizeof(pleat_rng));
    to += sizeof(pleat_rng);
    for (int half = 0; half < 2; half++, pleat_nn_ema_swap(j->ema))
        for (size_t i = 0; i < n; i++) {
            pleat_read_f64(pleat_nn_state(j->net, i), (double *)(void *)to);
            to += pleat_numel(pleat_nn_state(j->net, i)) * sizeof(double);
        }
    return bytes;
}

static void expect_same(job *a, job *b, const char *what) {
    char *x, *y;
    size_t n = bits_of(a, &x), m = bits_of(b, &y);
    cr_assert(n == m && !memcmp(x, y, n), "%s: other bits", what);
    free(x);
    free(y);
    cr_assert_eq(a->run.epochs, b->run.epochs);
    cr_assert_eq(a->run.steps, b->run.steps);
    cr_assert_eq(a->run.best, b->run.best);
    for (size_t i = 0; i < a->run.epochs; i++) {
        const pleat_nn_epoch *e = &a->run.epoch[i], *f = &b->run.epoch[i];
        cr_assert(e->loss == f->loss && e->metric == f->metric && e->valid_loss == f->valid_loss &&
                      e->valid_metric == f->valid_metric && e->lr == f->lr,
                  "%s: epoch %zu: %.17g and %.17g", what, i, e->loss, f->loss);
    }
}

static void expect_ok(job *j, pleat_status s, pleat_nn_outcome outcome) {
    cr_assert_eq(s, PLEAT_OK, "%s", pleat_error(j->ctx)->text);
    cr_assert_eq(j->run.outcome, outcome, "outcome %d", j->run.outcome);
}

#ifdef PL_HAVE_CJSON
static char *in_folder(const char *name) {
    static char path[128];
    snprintf(path, sizeof path, "%s/%s", scratch_folder, name);
    return path;
}
#endif

/* ---- what a run computes ------------------------------------------------------------------------------------- */

Test(fit, equals_a_loop_by_hand) {
    job *a = start_job(4, 1, true), *b = start_job(4, 1, false);
    pleat_nn_fit_args args = args_of(a, NULL);
    expect_ok(a, pleat_nn_fit_with(args), PLEAT_NN_FINISHED);
    cr_assert_eq(a->run.steps, 15);
    size_t t = 0;
    for (size_t epoch = 0; epoch < 3; epoch++) {
        pleat_nn_batch batch;
        double metric;
        pleat_nn_loader_start(b->train, epoch, 0);
        for (pleat_scope s = pleat_begin(b->ctx); pleat_nn_loader_next(b->train, &batch);
             pleat_end(s), s = pleat_begin(b->ctx)) {
            pleat_nn_set_lr(b->opt, pleat_nn_schedule_lr(&args.schedule, 1e-2, t++));
            cr_assert_eq(pleat_nn_step(b->opt, loss(b, &batch, &metric)), PLEAT_OK);
            pleat_nn_ema_update(b->ema);
        }
    }
    char *x, *y;
    size_t n = bits_of(a, &x);
    bits_of(b, &y);
    cr_assert_eq(memcmp(x, y, n), 0);
    free(x);
    free(y);
    cr_assert(a->run.epoch[2].loss < a->run.epoch[0].loss);
    double valid, metric;
    pleat_nn_ema_swap(a->ema);
    cr_assert_eq(pleat_nn_evaluate(&args, a->valid, &valid, &metric), PLEAT_OK);
    pleat_nn_ema_swap(a->ema);
    cr_assert_eq(valid, a->run.epoch[2].valid_loss);
    cr_assert_eq(metric, a->run.epoch[2].valid_metric);
    cr_assert(pleat_nn_is_training(a->net));
    end_job(a);
    end_job(b);
}

Test(fit, threads_do_not_show) {
    job *one = start_job(4, 1, true);
    expect_ok(one, pleat_nn_fit_with(args_of(one, NULL)), PLEAT_NN_FINISHED);
    for (int threads = 2; threads <= 3; threads++) {
        job *more = start_job(4, threads, threads == 2);
        expect_ok(more, pleat_nn_fit_with(args_of(more, NULL)), PLEAT_NN_FINISHED);
        expect_same(one, more, "threads");
        end_job(more);
    }
    end_job(one);
}

/* ---- steps of several batches ---------------------------------------------------------------------------------- */

/* Batches of 8, 8, 8, 8, 8 and 2 images, `accumulate` of them in a step. */
static job *start_accumulating(size_t accumulate, int threads, pleat_nn_fit_args *args, const char *folder) {
    job *j = start_job(4, threads, threads == 2);
    pleat_nn_loader_free(j->train);
    j->train =
        pleat_nn_loader_new(j->ctx, &j->images, .batch = 8, .shuffle = true, .seed = 5, .keep_last = true,
                            .no_prefetch = threads != 2, .transform = {.flip = 0.5, .noise = 0.1});
    cr_assert(j->train);
    *args = args_of(j, folder);
    args->accumulate = accumulate;
    return j;
}

/* Steps of the images that items[] lists, for each epoch anew; the list ends with 0. */
static void by_hand(job *j, const pleat_nn_fit_args *a, const size_t *items) {
    size_t t = 0;
    for (size_t epoch = 0; epoch < a->epochs; epoch++) {
        pleat_nn_batch b;
        pleat_nn_loader_start(j->train, epoch, 0);
        for (size_t i = 0; items[i]; i++) {
            pleat_nn_set_lr(j->opt, pleat_nn_schedule_lr(&a->schedule, 1e-2, t++));
            for (size_t left = items[i]; left; left -= b.n) {
                double metric;
                pleat_scope s = pleat_begin(j->ctx);
                cr_assert(pleat_nn_loader_next(j->train, &b));
                double weight = (double)b.n / (double)items[i];
                cr_assert_eq(pleat_nn_accumulate(j->opt, loss(j, &b, &metric), weight), PLEAT_OK);
                pleat_end(s);
            }
            cr_assert_eq(pleat_nn_step_accumulated(j->opt), PLEAT_OK);
            pleat_nn_ema_update(j->ema);
        }
    }
}

Test(fit, accumulates_as_a_loop_by_hand) {
    static const struct {
        size_t accumulate, items[4];
    } cases[] = {{2, {16, 16, 10}}, {4, {32, 10}}, {5, {40, 2}}, {6, {42}}, {SIZE_MAX, {42}}};
    for (size_t i = 0; i < 5; i++) {
        pleat_nn_fit_args args;
        job *b = start_accumulating(1, 1, &args, NULL);
        by_hand(b, &args, cases[i].items);
        job *a = start_accumulating(cases[i].accumulate, 1, &args, NULL);
        expect_ok(a, pleat_nn_fit_with(args), PLEAT_NN_FINISHED);
        char *x, *y;
        size_t n = bits_of(a, &x), steps = 0;
        bits_of(b, &y);
        cr_assert_eq(memcmp(x, y, n), 0, "%zu batches a step: other bits", cases[i].accumulate);
        while (steps < 4 && cases[i].items[steps]) steps++;
        cr_assert_eq(a->run.steps, 3 * steps);
        free(x);
        free(y);
        end_job(a);
        end_job(b);
    }
}

/* One batch a step is no accumulation, whichever way it is written; and threads do not show. */
Test(fit, accumulates_to_the_same_bits) {
    for (size_t accumulate = 0; accumulate < 4; accumulate += 3) {
        pleat_nn_fit_args args;
        job *one = start_accumulating(accumulate, 1, &args, NULL);
        expect_ok(one, pleat_nn_fit_with(args), PLEAT_NN_FINISHED);
        for (int threads = 2; threads <= 3; threads++) {
            job *more = start_accumulating(accumulate ? accumulate : 1, threads, &args, NULL);
            expect_ok(more, pleat_nn_fit_with(args), PLEAT_NN_FINISHED);
            expect_same(one, more, "threads");
            end_job(more);
        }
        end_job(one);
    }
}

/* ---- losses to order ------------------------------------------------------------------------------------------ */

/* A net of one number, which the loss pulls to where the script says. */
typedef struct script {
    pleat_nn_module *net;
    const double *valid; /* of each epoch */
    size_t epoch, steps;
} script;

static pleat_tensor *scripted(void *user, const pleat_nn_batch *b, double *metric) {
    script *s = user;
    pleat_tensor *p = pleat_sum(pleat_square(pleat_nn_param(s->net, 0)));
    (void)b;
    if (pleat_nn_is_training(s->net)) {
        s->steps++;
        return p;
    }
    *metric = -s->valid[s->epoch];
    return pleat_shift(pleat_scale(p, 0), s->valid[s->epoch++]);
}

static pleat_nn_outcome run_script(const double *valid, size_t patience, bool by_metric,
                                   pleat_nn_plateau *plateau, pleat_nn_run *run) {
    pleat_nn_images images;
    cr_assert_eq(pleat_nn_shapes(ctx, 4, 8, 8, 1, &images), PLEAT_OK);
    script s = {.net = pleat_nn_linear(ctx, 1, 1, .no_bias = true), .valid = valid};
    pleat_nn_optimizer *sgd = pleat_nn_sgd(s.net, .lr = 0.5);
    pleat_nn_loader *l = pleat_nn_loader_new(ctx, &images, .batch = 4);
    cr_assert_eq(pleat_nn_fit(run, .part = {{"net", s.net, sgd, NULL}}, .train = l, .valid = l, .epochs = 6,
                              .loss = scripted, .user = &s, .patience = patience, .metric_name = "minus",
                              .best_by_metric = by_metric, .plateau = plateau),
                 PLEAT_OK, "%s", pleat_error(ctx)->text);
    pleat_nn_loader_free(l);
    pleat_nn_optimizer_free(sgd);
    pleat_nn_free(s.net);
    pleat_nn_images_free(&images);
    return run->outcome;
}

Test(fit, stops_when_nothing_improves) {
    static const double valid[] = {5, 4, 4.5, 3, 3, 6};
    pleat_nn_run run;
    for (int metric = 0; metric < 2; metric++) {
        cr_assert_eq(run_script(valid, 0, metric, NULL, &run), PLEAT_NN_FINISHED);
        cr_assert(run.epochs == 6 && run.best == 3);
        pleat_nn_run_free(&run);
        cr_assert_eq(run_script(valid, 1, metric, NULL, &run), PLEAT_NN_STOPPED);
        cr_assert(run.epochs == 3 && run.best == 1);
        pleat_nn_run_free(&run);
        cr_assert_eq(run_script(valid, 2, metric, NULL, &run), PLEAT_NN_FINISHED);
        cr_assert(run.epochs == 6 && run.best == 3);
        pleat_nn_run_free(&run);
    }
}

Test(fit, plateau_lowers_the_rate) {
    static const double valid[] = {5, 5, 5, 5, 5, 5};
    pleat_nn_plateau plateau = {.patience = 1, .factor = 0.5};
    pleat_nn_run run;
    run_script(valid, 0, false, &plateau, &run);
    const double rates[] = {0.5, 0.5, 0.5, 0.25, 0.25, 0.125};
    for (size_t i = 0; i < 6; i++)
        cr_assert_eq(run.epoch[i].lr, rates[i], "epoch %zu: %g", i, run.epoch[i].lr);
    pleat_nn_run_free(&run);
}

/* ---- what is wrong ------------------------------------------------------------------------------------------- */

static void expect_failure(job *j, pleat_status s, const char *part) {
    cr_assert(s != PLEAT_OK && j->run.outcome == PLEAT_NN_FAILED);
    cr_assert(strstr(pleat_error(j->ctx)->text, part), "\"%s\" does not say \"%s\"",
              pleat_error(j->ctx)->text, part);
    cr_assert_null(strchr(pleat_error(j->ctx)->text, '\n'));
    pleat_clear_error(j->ctx);
}

static pleat_status step_of_nothing(void *user, const pleat_nn_batch *b, double *l, double *metric) {
    (void)user, (void)b;
    *l = *metric = 0;
    return PLEAT_OK;
}

Test(fit, refuses) {
    job *j = start_job(2, 1, false);
    struct {
        pleat_nn_fit_args args;
        const char *part;
    } cases[9];
    for (size_t i = 0; i < 9; i++) cases[i].args = args_of(j, NULL);
    cases[0].args.train = NULL, cases[0].part = ".train must be given";
    cases[1].args.epochs = 0, cases[1].part = ".epochs must be given";
    cases[2].args.loss = NULL, cases[2].part = ".loss or .step";
    cases[3].args.part[0].opt = NULL, cases[3].part = "part[0].opt";
    cases[4].args.metric_name = NULL, cases[4].args.best_by_metric = true, cases[4].part = "metric_name";
    cases[5].args.resume = true, cases[5].part = "resume needs a folder";
    cases[6].args.folder = "/nowhere/at/all", cases[6].part = "cannot make the folder";
    cases[7].args.folder = "/dev/null", cases[7].part = "is a file";
    cases[8].args.part[0].ema = NULL, cases[8].args.part[0].net = NULL, cases[8].part = "";
    for (size_t i = 0; i < 8; i++) expect_failure(j, pleat_nn_fit_with(cases[i].args), cases[i].part);
    cr_assert_neq(pleat_nn_fit_with(cases[8].args), PLEAT_OK);
    end_job(j);
}

/* The second batch of a step: nothing has changed since the step before, and nothing is pending. */
Test(fit, accumulated_gradients_go_with_the_error) {
    pleat_nn_fit_args args;
    job *j = start_accumulating(2, 1, &args, NULL);
    j->nan_at = 4;
    expect_failure(j, pleat_nn_fit_with(args), "epoch 1, step 2 (batch 4): the loss is");
    cr_assert_eq(j->run.steps, 1);
    pleat_nn_run_free(&j->run);
    args.step = step_of_nothing;
    expect_failure(j, pleat_nn_fit_with(args), ".accumulate is for .loss; .step makes its own steps");
    args.step = NULL;
    pleat_nn_run_free(&j->run);
    j->nan_at = 0;
    expect_ok(j, pleat_nn_fit_with(args), PLEAT_NN_FINISHED);
    double metric;
    pleat_nn_batch b;
    pleat_nn_loader_start(j->train, 0, 0);
    cr_assert(pleat_nn_loader_next(j->train, &b));
    cr_assert_eq(pleat_nn_accumulate(j->opt, loss(j, &b, &metric), 1), PLEAT_OK);
    pleat_nn_run_free(&j->run);
    expect_failure(j, pleat_nn_fit_with(args), "part[0].opt has accumulated gradients");
    end_job(j);
}

Test(fit, names_the_step_of_a_loss_that_is_not_finite) {
    job *j = start_job(2, 1, true);
    j->nan_at = 8;
    expect_failure(j, pleat_nn_fit_with(args_of(j, NULL)), "epoch 2, step 8 (batch 3): the loss is");
    cr_assert_eq(j->run.steps, 7);
    for (size_t i = 0; i < pleat_nn_param_count(j->net); i++)
        cr_assert(isfinite(pleat_item(pleat_sum(pleat_nn_param(j->net, i)))));
    end_job(j);
}

/* The validation of the first epoch is no number, as where running statistics have not settled yet. */
static pleat_tensor *unsettled_loss(void *user, const pleat_nn_batch *b, double *metric) {
    job *j = user;
    pleat_tensor *t = loss(user, b, metric);
    return !pleat_nn_is_training(j->net) && j->run.epochs == 0 ? pleat_scale(t, NAN) : t;
}

Test(fit, an_epoch_whose_loss_is_no_number_is_not_the_best) {
    job *j = start_job(4, 1, true);
    pleat_nn_fit_args args = args_of(j, NULL);
    args.loss = unsettled_loss;
    args.patience = 2;
    expect_ok(j, pleat_nn_fit_with(args), PLEAT_NN_FINISHED);
    cr_assert(isnan(j->run.epoch[0].valid_loss));
    cr_assert_eq(j->run.best, 1 + (j->run.epoch[2].valid_loss < j->run.epoch[1].valid_loss));
    end_job(j);
}

#ifdef PL_HAVE_CJSON
/* ---- files and resuming -------------------------------------------------------------------------------------- */

Test(fit, leaves_metrics_and_the_best) {
    job *j = start_job(4, 1, true);
    expect_ok(j, pleat_nn_fit_with(args_of(j, scratch_folder)), PLEAT_NN_FINISHED);
    char line[256], expected[256];
    FILE *f = fopen(in_folder("metrics.csv"), "r");
    cr_assert(f && fgets(line, sizeof line, f));
    cr_assert_str_eq(line, "epoch,loss,accuracy,valid_loss,valid_accuracy,lr,seconds,images_per_second\n");
    for (size_t i = 0; i < 3; i++) {
        const pleat_nn_epoch *e = &j->run.epoch[i];
        cr_assert(fgets(line, sizeof line, f));
        snprintf(expected, sizeof expected, "%zu,%.8g,%.8g,%.8g,%.8g,%.8g,", i + 1, e->loss, e->metric,
                 e->valid_loss, e->valid_metric, e->lr);
        cr_assert_eq(strncmp(line, expected, strlen(expected)), 0, "%s", line);
    }
    cr_assert_null(fgets(line, sizeof line, f));
    fclose(f);
    cr_assert_eq(pleat_nn_load(in_folder("best.safetensors"), j->net), PLEAT_OK, "%s",
                 pleat_error(j->ctx)->text);
    pleat_nn_fit_args args = args_of(j, NULL);
    double valid;
    pleat_nn_evaluate(&args, j->valid, &valid, NULL);
    cr_assert_eq(valid, j->run.epoch[j->run.best].valid_loss);
    end_job(j);
}

Test(fit, resumes_to_the_same_bits, .timeout = 60) {
    job *whole = start_job(4, 1, true);
    expect_ok(whole, pleat_nn_fit_with(args_of(whole, NULL)), PLEAT_NN_FINISHED);
    for (size_t at = 1; at <= 15; at++) {
        job *a = start_job(4, 1, at % 2), *b = start_job(4, 2, at % 3);
        a->raise_at = at;
        expect_ok(a, pleat_nn_fit_with(args_of(a, scratch_folder)), PLEAT_NN_INTERRUPTED);
        cr_assert_eq(a->run.steps, at);
        end_job(a);
        pleat_nn_fit_args args = args_of(b, scratch_folder);
        args.resume = true;
        expect_ok(b, pleat_nn_fit_with(args), PLEAT_NN_FINISHED);
        expect_same(whole, b, "resumed");
        /* and once more, which has nothing left to do */
        pleat_nn_run_free(&b->run);
        expect_ok(b, pleat_nn_fit_with(args), PLEAT_NN_FINISHED);
        expect_same(whole, b, "resumed twice");
        end_job(b);
        remove(in_folder("checkpoint.safetensors"));
    }
    end_job(whole);
}

/* A signal in any of the batches of a step ends the run after the step. */
Test(fit, resumes_accumulating_to_the_same_bits, .timeout = 60) {
    pleat_nn_fit_args args;
    job *whole = start_accumulating(4, 1, &args, NULL);
    expect_ok(whole, pleat_nn_fit_with(args), PLEAT_NN_FINISHED);
    cr_assert_eq(whole->run.steps, 6);
    static const size_t step_of[] = {1, 1, 1, 1, 2, 2};
    for (size_t at = 1; at <= 18; at++) {
        job *a = start_accumulating(4, 1, &args, scratch_folder);
        a->raise_at = at;
        expect_ok(a, pleat_nn_fit_with(args), PLEAT_NN_INTERRUPTED);
        cr_assert_eq(a->run.steps, (at - 1) / 6 * 2 + step_of[(at - 1) % 6], "%zu steps until call %zu",
                     a->run.steps, at);
        end_job(a);
        job *b = start_accumulating(4, 2, &args, scratch_folder);
        args.resume = true;
        expect_ok(b, pleat_nn_fit_with(args), PLEAT_NN_FINISHED);
        expect_same(whole, b, "resumed");
        end_job(b);
        remove(in_folder("checkpoint.safetensors"));
    }
    end_job(whole);
}

/* A plateau that no loss leaves: it lowers the rate after the third epoch. */
static void fit_on_plateau(job *j, pleat_nn_plateau *p, const char *folder, bool resume,
                           pleat_nn_outcome outcome) {
    *p = (pleat_nn_plateau){.patience = 1, .factor = 0.5, .threshold = 0.9};
    pleat_nn_fit_args args = args_of(j, folder);
    args.epochs = 5, args.plateau = p, args.resume = resume;
    args.schedule = (pleat_nn_schedule){0};
    expect_ok(j, pleat_nn_fit_with(args), outcome);
}

Test(fit, resumes_on_a_plateau, .timeout = 60) {
    job *whole = start_job(4, 1, true);
    pleat_nn_plateau there, here;
    fit_on_plateau(whole, &there, NULL, false, PLEAT_NN_FINISHED);
    cr_assert_lt(whole->run.epoch[4].lr, whole->run.epoch[0].lr, "the rate was not lowered");
    for (size_t at = 3; at <= 23; at += 5) {
        job *a = start_job(4, 1, true), *b = start_job(4, 1, true);
        a->raise_at = at;
        fit_on_plateau(a, &here, scratch_folder, false, PLEAT_NN_INTERRUPTED);
        end_job(a);
        fit_on_plateau(b, &here, scratch_folder, true, PLEAT_NN_FINISHED);
        expect_same(whole, b, "resumed on a plateau");
        cr_assert(here.best == there.best && here.calls == there.calls && here.bad == there.bad);
        end_job(b);
        remove(in_folder("checkpoint.safetensors"));
    }
    end_job(whole);
}

Test(fit, resumes_only_what_it_is) {
    job *j = start_job(4, 1, true), *other = start_job(6, 1, true);
    pleat_nn_fit_args args = args_of(j, scratch_folder), wide = args_of(other, scratch_folder);
    args.epochs = 1;
    expect_ok(j, pleat_nn_fit_with(args), PLEAT_NN_FINISHED);
    char *before, *after;
    size_t n = bits_of(other, &before);
    wide.resume = true;
    expect_failure(other, pleat_nn_fit_with(wide),
                   "net.0.weight is [4,1,3,3] in the file and [6,1,3,3] in this run");
    bits_of(other, &after);
    cr_assert_eq(memcmp(before, after, n), 0, "a failed resume has changed the network");
    free(after);
    free(before);
    args.resume = true;
    args.options = "--lr 0.02";
    pleat_nn_run_free(&j->run);
    n = bits_of(j, &before);
    expect_failure(j, pleat_nn_fit_with(args),
                   "was made with options \"--lr 0.01\", and this run has \"--lr 0.02\"");
    bits_of(j, &after);
    cr_assert_eq(memcmp(before, after, n), 0, "other options have changed the network");
    free(after);
    free(before);
    end_job(j);
    end_job(other);
}

Test(fit, a_bad_loss_leaves_the_last_checkpoint) {
    job *j = start_job(4, 1, true), *again = start_job(4, 1, true), *whole = start_job(4, 1, true);
    expect_ok(whole, pleat_nn_fit_with(args_of(whole, NULL)), PLEAT_NN_FINISHED);
    j->nan_at = 8;
    expect_failure(j, pleat_nn_fit_with(args_of(j, scratch_folder)), "the last checkpoint is as it was");
    pleat_nn_fit_args args = args_of(again, scratch_folder);
    args.resume = true;
    expect_ok(again, pleat_nn_fit_with(args), PLEAT_NN_FINISHED);
    expect_same(whole, again, "after a bad loss");
    end_job(j);
    end_job(again);
    end_job(whole);
}

/* The child ignores nothing: the first signal saves, the second ends it at once. */
Test(fit, a_second_signal_ends_the_process) {
    pid_t child = fork();
    if (child == 0) {
        job *j = start_job(2, 1, true);
        j->raise_at = 3;
        j->signal = SIGTERM;
        pleat_nn_fit_with(args_of(j, scratch_folder));
        if (j->run.outcome == PLEAT_NN_INTERRUPTED) kill(getpid(), SIGTERM);
        _exit(7);
    }
    int status;
    cr_assert_eq(waitpid(child, &status, 0), child);
    cr_assert(WIFSIGNALED(status) && WTERMSIG(status) == SIGTERM, "ended with status %x", (unsigned)status);
    cr_assert_eq(access(in_folder("checkpoint.safetensors"), F_OK), 0);
}
#endif

Test(fit, an_ignored_signal_is_ignored) {
    job *j = start_job(2, 1, true);
    sigset_t mask;
    signal(SIGINT, SIG_IGN);
    j->raise_at = 2;
    expect_ok(j, pleat_nn_fit_with(args_of(j, NULL)), PLEAT_NN_FINISHED);
    sigprocmask(SIG_BLOCK, NULL, &mask);
    cr_assert_not(sigismember(&mask, SIGTERM), "the mask was not restored");
    signal(SIGINT, SIG_DFL);
    end_job(j);
}

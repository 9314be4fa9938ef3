/* Ctrl-C and SIGTERM while runs overlap, after the last step, and before an error: they stop something, and are never lost. */
#define _POSIX_C_SOURCE 200809L

#include <math.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdatomic.h>

#include "scratch.h"

static void begin(void) {
    signal(SIGINT, SIG_DFL);
    signal(SIGTERM, SIG_DFL);
    scratch_begin();
}

TestSuite(signals, .init = begin, .fini = scratch_end, .timeout = 30);

enum { STEPS = 4, VALIDATIONS = 2 }; /* batches an epoch */

typedef struct run {
    pleat_ctx *ctx;
    pleat_nn_images images;
    pleat_nn_module *net;
    pleat_nn_optimizer *opt;
    pleat_nn_loader *train, *valid;
    pleat_nn_run result;
    pleat_status status;
    size_t steps, validations, patience;
    size_t raise_in_validation, nan_at; /* which call; 0: none */
    void (*in_step)(struct run *);      /* or NULL */
} run;

static pleat_tensor *loss(void *user, const pleat_nn_batch *b, double *metric) {
    run *r = user;
    bool training = pleat_nn_is_training(r->net);
    (void)metric;
    if (training) r->steps++;
    if (training && r->in_step) r->in_step(r);
    if (!training && ++r->validations == r->raise_in_validation) kill(getpid(), SIGTERM);
    pleat_tensor *l = pleat_nn_mse_loss(pleat_nn_forward(r->net, b->x), b->x);
    return training && r->steps == r->nan_at ? pleat_scale(l, NAN) : l;
}

static void prepare(run *r) {
    r->ctx = pleat_ctx_new(.threads = 1);
    cr_assert_eq(pleat_nn_shapes(r->ctx, 8, 8, 8, 1, &r->images), PLEAT_OK);
    r->net = pleat_nn_sequential(r->ctx, pleat_nn_conv2d(r->ctx, 1, 1, .kernel = {1, 1}));
    r->opt = pleat_nn_sgd(r->net, .lr = 1e-3);
    r->train = pleat_nn_loader_new(r->ctx, &r->images, .batch = 8 / STEPS);
    r->valid = pleat_nn_loader_new(r->ctx, &r->images, .batch = 8 / VALIDATIONS);
    cr_assert(r->opt && r->train && r->valid, "%s", pleat_error(r->ctx)->text);
}

static void discard(run *r) {
    pleat_nn_run_free(&r->result);
    pleat_nn_loader_free(r->train);
    pleat_nn_loader_free(r->valid);
    pleat_nn_optimizer_free(r->opt);
    pleat_nn_free(r->net);
    pleat_nn_images_free(&r->images);
    pleat_ctx_free(r->ctx);
}

static void *fit(void *user) {
    run *r = user;
    r->status =
        pleat_nn_fit(&r->result, .part = {{"net", r->net, r->opt, NULL}}, .train = r->train,
                     .valid = r->valid, .epochs = 3, .patience = r->patience, .loss = loss, .user = r);
    return NULL;
}

static bool is_default(int number) {
    struct sigaction now;
    return sigaction(number, NULL, &now) == 0 && now.sa_handler == SIG_DFL;
}

/* ---- runs that overlap --------------------------------------------------------------------------------------- */

static atomic_int stage; /* 1: the first has begun; 2: so has the second; 3: the first has ended */
static bool raise_then;

static void reach(int s) {
    if (atomic_load(&stage) < s) atomic_store(&stage, s);
}

static void await(int s) {
    while (atomic_load(&stage) < s) sched_yield();
}

static void in_first(run *r) {
    (void)r;
    reach(1);
    await(2);
}

static void in_second(run *r) {
    reach(2);
    if (r->steps < 2) return;
    await(3);
    if (r->steps == 2 && raise_then) kill(getpid(), SIGINT);
}

static void *begin_first(void *r) {
    fit(r);
    reach(3);
    return NULL;
}

static void *begin_second(void *r) {
    await(1);
    return fit(r);
}

static void overlap(bool with_signal) {
    run one = {.in_step = in_first}, two = {.in_step = in_second};
    pthread_t a, b;
    prepare(&one), prepare(&two);
    atomic_store(&stage, 0);
    raise_then = with_signal;
    cr_assert(!pthread_create(&a, NULL, begin_first, &one) && !pthread_create(&b, NULL, begin_second, &two));
    pthread_join(a, NULL);
    pthread_join(b, NULL);
    cr_assert(!one.status && !two.status);
    cr_assert_eq(one.result.outcome, PLEAT_NN_FINISHED);
    cr_assert_eq(two.result.outcome, with_signal ? PLEAT_NN_INTERRUPTED : PLEAT_NN_FINISHED);
    cr_assert(is_default(SIGINT) && is_default(SIGTERM), "a handler of the library is left");
    discard(&one), discard(&two);
}

Test(signals, act_as_before_when_the_last_run_has_ended) { overlap(false); }
Test(signals, stop_a_run_that_outlives_another) { overlap(true); }

/* ---- signals that come late ----------------------------------------------------------------------------------- */

Test(signals, in_the_last_validation) {
    run r = {.raise_in_validation = 3 * VALIDATIONS};
    prepare(&r);
    fit(&r);
    cr_assert(!r.status && r.result.epochs == 3);
    cr_assert_eq(r.result.outcome, PLEAT_NN_INTERRUPTED, "outcome %d", (int)r.result.outcome);
    cr_assert(is_default(SIGINT) && is_default(SIGTERM));
    discard(&r);
}

Test(signals, where_patience_ends) {
    run r = {.raise_in_validation = 2 * VALIDATIONS, .patience = 1};
    prepare(&r);
    pleat_nn_set_lr(r.opt, 0); /* nothing improves: the second epoch uses up the patience */
    fit(&r);
    cr_assert(!r.status && r.result.epochs == 2);
    cr_assert_eq(r.result.outcome, PLEAT_NN_INTERRUPTED, "outcome %d", (int)r.result.outcome);
    discard(&r);
}

static atomic_int own_calls;
static void own_handler(int number) { atomic_fetch_add(&own_calls, number == SIGTERM ? 1 : 100); }

static void raise_before_nan(run *r) {
    if (r->steps == r->nan_at) kill(getpid(), SIGTERM);
}

/* An error is what fit reports then, so the program gets the signal as if it came now; and one that was reported does not come again. */
Test(signals, before_an_error) {
    run failing = {.nan_at = 3, .in_step = raise_before_nan}, late = {.raise_in_validation = 2};
    prepare(&failing), prepare(&late);
    cr_assert_neq(signal(SIGTERM, own_handler), SIG_ERR);
    fit(&failing);
    cr_assert(failing.status && failing.result.outcome == PLEAT_NN_FAILED);
    cr_assert_eq(atomic_load(&own_calls), 1, "the program's handler was called %d times", own_calls);
    fit(&late);
    cr_assert(!late.status && late.result.outcome == PLEAT_NN_INTERRUPTED);
    cr_assert_eq(atomic_load(&own_calls), 1, "a signal that was reported has come again");
    discard(&failing), discard(&late);
}

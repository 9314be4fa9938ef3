/* What goes wrong on one rank is known on all, and changes nothing. */
#define _POSIX_C_SOURCE 200809L

#include <math.h>
#include <stdlib.h>

#include "tensors.h"
#include "world_job.h"

TestSuite(mistakes, .init = tensors_begin, .fini = tensors_end, .timeout = 100);

enum { STEPS = 5 };

/* ---- losses ------------------------------------------------------------------------------------------------ */

typedef enum fault { NONE, NOT_FINITE, FAILING, NOTHING, VECTOR, INDEPENDENT, FAULTS } fault;

static const char *const says[FAULTS] = {[NOT_FINITE] = "adam: the loss is nan; it must be finite",
                                         [FAILING] = "loss: this rank does not like its items",
                                         [NOTHING] = "share: the loss is NULL",
                                         [VECTOR] = "it must have one element",
                                         [INDEPENDENT] = "does not depend on parameter \"0.weight\""};

typedef struct trial {
    job *j;
    member *m;
    fault fault; /* of the running step, here */
    size_t after, calls;
} trial;

static pleat_tensor *faulty_loss(void *user, const pleat_nn_batch *b, double *metric) {
    trial *t = user;
    pleat_tensor *loss = job_loss(t->j, b, metric);
    if (t->calls++ < t->after) return loss;
    switch (t->fault) {
    case NOT_FINITE:
        return pleat_scale(loss, NAN);
    case FAILING:
        pleat_fail(t->j->ctx, PLEAT_ERR_DTYPE, "loss", "this rank does not like its items");
        return loss;
    case NOTHING:
        return NULL;
    case VECTOR:
        return pleat_nn_forward(t->j->part[0].net, b->x);
    case INDEPENDENT:
        return pleat_sum(pleat_square(pleat_nn_param(t->j->part[0].net, 5)));
    default:
        return loss;
    }
}

typedef struct lesson {
    fault fault;
    size_t first, last; /* these ranks fail in step 2 */
    size_t after;       /* so many micro-batches */
    setup s;
} lesson;

/* Rank `first`'s error for all. */
static void expect_refusal(member *m, pleat_status status, const lesson *l) {
    char part[150];
    snprintf(part, sizeof part, "%s", says[l->fault]);
    EXPECT(m, status, "it went well");
    EXPECT(m, strstr(pleat_error(m->ctx)->text, part), "\"%s\" does not say \"%s\"",
           pleat_error(m->ctx)->text, part);
    snprintf(part, sizeof part, "rank %zu: ", l->first);
    if (m->ranks > 1)
        EXPECT(m, !strncmp(pleat_error(m->ctx)->text, part, strlen(part)), "\"%s\" does not say \"%s\"",
               pleat_error(m->ctx)->text, part);
    EXPECT(m, !strchr(pleat_error(m->ctx)->text, '\n') && strlen(pleat_error(m->ctx)->text) < 400, "%s",
           pleat_error(m->ctx)->text);
    EXPECT(m, pleat_nn_world_speaks(m->world) == (m->rank == 0), "it speaks");
    pleat_clear_error(m->ctx);
}

static void survive_a_fault(member *m) {
    const lesson *l = m->arg;
    job *j = job_new(m->ctx, &l->s);
    trial t = {.j = j, .m = m, .after = l->after};
    pleat_nn_share *share = job_share(j, m->world);
    EXPECT(m, share, "%s", pleat_error(m->ctx)->text);
    pleat_nn_loader_start(j->train, 0, 0);
    for (size_t step = 0; step < STEPS && share; step++) {
        results before = {0}, after = {0};
        pleat_nn_batch b;
        double loss = 7, metric = 7;
        take_part(&before, &j->part[0]);
        pleat_scope scope = pleat_begin(m->ctx);
        EXPECT(m, pleat_nn_loader_next(j->train, &b), "no batch");
        t.fault = step == 2 && m->rank >= l->first && m->rank <= l->last ? l->fault : NONE;
        t.calls = 0;
        pleat_status status = pleat_nn_step_shared(j->part[0].opt, &b, faulty_loss, &t, &loss, &metric);
        take_part(&after, &j->part[0]);
        if (step == 2) {
            expect_refusal(m, status, l);
            EXPECT(m, !differ(&before, &after), "%s", differ(&before, &after));
        } else {
            EXPECT_FINE(m, status);
            EXPECT(m, differ(&before, &after), "nothing has changed");
            take_number(&m->results, "loss", loss);
            take_number(&m->results, "metric", metric);
        }
        pleat_end(scope);
    }
    job_take(j, &m->results);
    pleat_nn_share_free(share);
    job_free(j);
}

static void expect_survival(lesson l) {
    results alone = {0};
    static const size_t sizes[] = {1, 2, 3, 5};
    for (size_t i = 0; i < 4; i++) {
        if (l.first >= sizes[i]) continue;
        ranks r = {.n = sizes[i],
                   .seed = i * 7,
                   .run = survive_a_fault,
                   .arg = &l,
                   .what = says[l.fault],
                   .world = {.check = 2, .bucket = i == 2 ? 100 : 0}};
        member *m = run_ranks(&r);
        if (!alone.n) alone = m[0].results;
        expect_results(&r, m, &alone);
        free(m);
    }
}

Test(mistakes, of_a_loss_are_those_of_all) {
    for (fault f = NOT_FINITE; f < FAULTS; f++)
        for (size_t after = 0; after < 2; after++) {
            expect_survival((lesson){f, 0, 9, after, {.micro = 1}});
            if (after) continue;
            expect_survival((lesson){f, 0, 0, 0, {.micro = 2}});
            expect_survival((lesson){f, 1, 1, 0, {.micro = 2, .prefetch = true}});
            expect_survival((lesson){f, 1, 2, 0, {.micro = 1}});
            expect_survival((lesson){f, 2, 2, 0, {.micro = 2}});
        }
}

Test(mistakes, where_norms_are_joint) {
    for (fault f = NOT_FINITE; f < FAULTS; f++) {
        if (f == VECTOR) continue; /* it calls another norm */
        expect_survival((lesson){f, 0, 9, 0, {.micro = 1, .joint = true}});
        expect_survival((lesson){f, 0, 0, 0, {.micro = 2, .joint = true}});
        expect_survival((lesson){f, 1, 1, 1, {.micro = 1, .joint = true}});
        expect_survival((lesson){f, 2, 2, 0, {.micro = 2, .joint = true}});
    }
}

/* A micro-batch that leaves a batch norm out, here or on another rank, or fails before it. */
static pleat_tensor *loss_that_leaves_out(void *user, const pleat_nn_batch *b, double *metric) {
    trial *t = user;
    if (t->m->rank != t->after || b->first % 2) return job_loss(t->j, b, metric);
    if (t->fault == FAILING) pleat_fail(t->j->ctx, PLEAT_ERR_SHAPE, "loss", "before the norm");
    pleat_tensor *y = pleat_nn_forward(pleat_nn_child(t->j->part[0].net, 0), b->x);
    return pleat_add(pleat_mean(pleat_square(y)),
                     pleat_sum(pleat_square(pleat_nn_param(t->j->part[0].net, 4))));
}

static void leave_out_a_norm(member *m) {
    const size_t *at = m->arg; /* rank, fault, items of a micro-batch */
    setup s = {.micro = at[2], .joint = true};
    job *j = job_new(m->ctx, &s);
    trial t = {.j = j, .m = m, .after = at[0], .fault = (fault)at[1]};
    pleat_nn_share *share = job_share(j, m->world);
    pleat_nn_batch b;
    pleat_nn_loader_start(j->train, 0, 0);
    EXPECT(m, pleat_nn_loader_next(j->train, &b), "no batch");
    pleat_status status = pleat_nn_step_shared(j->part[0].opt, &b, loss_that_leaves_out, &t, NULL, NULL);
    EXPECT(m, status, "it went well");
    if (t.fault == FAILING)
        EXPECT(m, strstr(pleat_error(m->ctx)->text, "loss: before the norm"), "%s",
               pleat_error(m->ctx)->text);
    pleat_clear_error(m->ctx);
    EXPECT(m, pleat_nn_loader_next(j->train, &b), "no batch");
    EXPECT_FINE(m, pleat_nn_step_shared(j->part[0].opt, &b, job_loss, j, NULL, NULL));
    job_take(j, &m->results);
    pleat_nn_share_free(share);
    job_free(j);
}

Test(mistakes, a_joint_norm_is_left_out) {
    static const size_t at[][3] = {
        {0, NONE, 1}, {1, NONE, 2}, {2, FAILING, 2}, {0, FAILING, 1}, {1, FAILING, 4}};
    for (size_t i = 0; i < sizeof at / sizeof *at; i++) {
        ranks r = {.n = 3, .seed = i, .run = leave_out_a_norm, .arg = at[i], .what = "left out"};
        member *m = run_ranks(&r);
        expect_results(&r, m, &m[0].results);
        free(m);
    }
}

/* The same within a run: it ends, on all ranks with one text. */
static pleat_tensor *loss_of_rank_1(void *user, const pleat_nn_batch *b, double *metric) {
    trial *t = user;
    pleat_tensor *loss = job_loss(t->j, b, metric);
    return t->m->rank == 1 && ++t->calls == t->after ? pleat_scale(loss, INFINITY) : loss;
}

static void fit_with_a_fault(member *m) {
    setup s = {.micro = 2};
    job *j = job_new(m->ctx, &s);
    trial t = {.j = j, .m = m, .after = *(const size_t *)m->arg};
    pleat_status status =
        pleat_nn_fit(&j->run, .part = {j->part[0]}, .train = j->train, .valid = j->valid, .epochs = 2,
                     .loss = loss_of_rank_1, .user = &t, .world = m->world, .micro = 2);
    EXPECT(m, j->run.outcome == PLEAT_NN_FAILED, "outcome %d", j->run.outcome);
    expect_error_of(m, status, PLEAT_ERR_ARGUMENT, "rank 1: adam: the loss is ");
    EXPECT(m, pleat_nn_step(j->part[0].opt, NULL) == PLEAT_ERR_ARGUMENT, "the share is gone");
    pleat_clear_error(m->ctx);
    job_take(j, &m->results);
    job_free(j);
}

Test(mistakes, within_a_run) {
    for (size_t after = 1; after < 5; after++) {
        ranks r = {.n = 3, .run = fit_with_a_fault, .arg = &after, .what = "fit"};
        member *m = run_ranks(&r);
        expect_results(&r, m, &m[0].results);
        free(m);
    }
}

/* A loss that fails in validation alone. */
static pleat_tensor *loss_that_does_not_validate(void *user, const pleat_nn_batch *b, double *metric) {
    const trial *t = user;
    if (t->m->rank == 2 && !pleat_nn_is_training(t->j->part[0].net))
        pleat_fail(t->j->ctx, PLEAT_ERR_SHAPE, "loss", "of validation");
    return job_loss(t->j, b, metric);
}

static void fail_in_validation(member *m) {
    setup s = {.micro = 2};
    job *j = job_new(m->ctx, &s);
    trial t = {.j = j, .m = m};
    pleat_status status =
        pleat_nn_fit(&j->run, .part = {j->part[0]}, .train = j->train, .valid = j->valid, .epochs = 2,
                     .loss = loss_that_does_not_validate, .user = &t, .world = m->world, .micro = 2);
    expect_error_of(m, status, PLEAT_ERR_SHAPE, "rank 2: loss: of validation");
    job_free(j);
}

Test(mistakes, within_a_validation) {
    free(run_ranks(&(ranks){.n = 3, .run = fail_in_validation, .what = "validation"}));
}

/* ---- whose error it is ------------------------------------------------------------------------------------------- */

/* Of a slope beyond all numbers. */
static pleat_tensor *steep_loss(void *user, const pleat_nn_batch *b, double *metric) {
    pleat_tensor *l = job_loss(user, b, metric), *zero = pleat_sub(l, pleat_detach(l));
    return pleat_scale(pleat_scale(zero, 1e30), 1e30);
}

static void speak(member *m) {
    setup s = {.micro = 2, .clip_norm = 1, .plain = true};
    job *j = job_new(m->ctx, &s);
    pleat_nn_share *share = job_share(j, m->world);
    results before = {0}, after = {0};
    pleat_nn_batch b;
    take_part(&before, &j->part[0]);
    pleat_nn_loader_start(j->train, 0, 0);
    EXPECT(m, pleat_nn_loader_next(j->train, &b), "no batch");
    /* the sum cannot be clipped: all see it by themselves */
    pleat_status status = pleat_nn_step_shared(j->part[0].opt, &b, steep_loss, j, NULL, NULL);
    EXPECT(m, pleat_nn_world_speaks(m->world) == (m->rank == 0), "of all");
    expect_error_of(m, status, PLEAT_ERR_ARGUMENT, "has no finite norm to clip");
    take_part(&after, &j->part[0]);
    EXPECT(m, !differ(&before, &after), "%s", differ(&before, &after));
    EXPECT_FINE(m, pleat_nn_step_shared(j->part[0].opt, &b, job_loss, j, NULL, NULL));
    /* an error of its own, of which no other rank knows */
    if (m->rank == 1) pleat_fail(m->ctx, PLEAT_ERR_SHAPE, "test", "its own");
    EXPECT(m, pleat_nn_world_speaks(m->world) == (m->rank < 2), "of one");
    pleat_clear_error(m->ctx);
    pleat_nn_share_free(share);
    job_free(j);
}

Test(mistakes, one_rank_speaks) { free(run_ranks(&(ranks){.n = 3, .run = speak, .what = "speaks"})); }

/* ---- before a step ----------------------------------------------------------------------------------------------- */

/* An error that is there before, also where a rank has no items. */
static void begin_with_an_error(member *m) {
    setup s = {.micro = 4, .plain = true};
    job *j = job_new(m->ctx, &s);
    pleat_nn_share *share = job_share(j, m->world);
    pleat_nn_batch b;
    pleat_nn_loader_start(j->train, 0, 0);
    for (size_t step = 0; step < m->ranks + 1; step++) {
        results before = {0}, after = {0};
        char part[60];
        take_part(&before, &j->part[0]);
        EXPECT(m, pleat_nn_loader_next(j->train, &b) && (b.n > 0) == (m->rank < 2), "%zu items", b.n);
        if (m->rank == step) pleat_fail(m->ctx, PLEAT_ERR_SHAPE, "test", "it was there");
        pleat_status status = pleat_nn_step_shared(j->part[0].opt, &b, job_loss, j, NULL, NULL);
        take_part(&after, &j->part[0]);
        EXPECT(m, (step < m->ranks) == !differ(&before, &after), "step %zu has changed parameters, or not",
               step);
        snprintf(part, sizeof part, "rank %zu: test: it was there", step);
        if (step < m->ranks)
            expect_error_of(m, status, PLEAT_ERR_SHAPE, part);
        else
            EXPECT_FINE(m, status);
    }
    pleat_nn_share_free(share);
    job_free(j);
}

Test(mistakes, before_a_step) {
    free(run_ranks(&(ranks){.n = 4, .run = begin_with_an_error, .what = "before"}));
}

/* Data that one rank cannot read. */
static bool fill(void *user, size_t item, pleat_rng *r, void *out) {
    const size_t *bad = user;
    (void)r;
    for (size_t i = 0; i < 4; i++) ((float *)out)[i] = (float)(item * 4 + i) / 64;
    return item != *bad;
}

static pleat_tensor *square_loss(void *user, const pleat_nn_batch *b, double *metric) {
    (void)metric;
    return pleat_mean(pleat_square(pleat_nn_forward(user, b->x)));
}

static void read_what_is_not_there(member *m) {
    size_t bad = m->rank == 1 ? *(const size_t *)m->arg : SIZE_MAX;
    pleat_nn_data data = {
        .count = 16, .field = {{.type = PLEAT_NN_F32, .rank = 1, .shape = {4}, .fill = fill, .user = &bad}}};
    pleat_nn_module *net = pleat_nn_linear(m->ctx, 4, 1);
    pleat_nn_optimizer *opt = pleat_nn_sgd(net, .lr = 0.01);
    pleat_nn_loader *train = pleat_nn_loader_new(m->ctx, .data = &data, .batch = 8);
    pleat_nn_run run;
    char part[100];
    pleat_status status = pleat_nn_fit(&run, .part = {{"net", net, opt, NULL}}, .train = train, .epochs = 1,
                                       .loss = square_loss, .user = net, .world = m->world, .micro = 2);
    snprintf(part, sizeof part, "rank 1: loader_next: field 0 (x): its fill returned false for item %zu",
             *(const size_t *)m->arg);
    expect_error_of(m, status, PLEAT_ERR_IO, part);
    pleat_nn_run_free(&run);
    pleat_nn_loader_free(train);
    pleat_nn_optimizer_free(opt);
    pleat_nn_free(net);
}

Test(mistakes, within_a_loader) {
    static const size_t bad[] = {5, 14}; /* rank 1 has items 4 to 7 of each eight */
    for (size_t i = 0; i < 2; i++)
        free(run_ranks(&(ranks){.n = 2,
                                .run = read_what_is_not_there,
                                .arg = &bad[i],
                                .what = "loader",
                                .world = {.timeout = 5}}));
}

/* ---- steps of other kinds ------------------------------------------------------------------------------------------ */

Test(mistakes, only_shared_steps) {
    setup s = {.micro = 2, .plain = true};
    job *j = job_new(ctx, &s);
    pleat_nn_share *share = job_share(j, NULL);
    pleat_nn_optimizer *opt = j->part[0].opt;
    pleat_tensor *grads[4];
    static const char own[] = "its batches are cut into micro-batches; pleat_nn_step_shared makes its steps";
    double metric;
    pleat_nn_batch b;
    cr_assert(share);
    for (size_t i = 0; i < 4; i++) grads[i] = pleat_full_like(pleat_nn_param(j->part[0].net, i), 1);
    results before = {0}, after = {0};
    job_take(j, &before);
    pleat_nn_loader_start(j->train, 0, 0);
    cr_assert(pleat_nn_loader_next(j->train, &b));
    EXPECT_FAILED(pleat_nn_step(opt, job_loss(j, &b, &metric)), PLEAT_ERR_ARGUMENT, "adam", own);
    EXPECT_FAILED(pleat_nn_accumulate(opt, job_loss(j, &b, &metric), 1), PLEAT_ERR_ARGUMENT, "adam", own);
    EXPECT_FAILED(pleat_nn_update(opt, grads), PLEAT_ERR_ARGUMENT, "adam", own);
    EXPECT_FAILED(pleat_nn_step_accumulated(opt), PLEAT_ERR_ARGUMENT, "adam", "nothing is accumulated");
    cr_assert_null(job_share(j, NULL));
    EXPECT_FAILED(pleat_error(ctx)->code, PLEAT_ERR_ARGUMENT, "share", "an optimizer is of another share");
    job_take(j, &after);
    cr_assert_null(differ(&before, &after), "%s", differ(&before, &after));
    EXPECT_FAILED(pleat_nn_step_shared(opt, &(pleat_nn_batch){.n = 2, .x = b.x, .labels = b.labels}, job_loss,
                                       j, NULL, NULL),
                  PLEAT_ERR_ARGUMENT, "step_shared", "the batch must be of the share's loader");
    EXPECT_OK(pleat_nn_step_shared(opt, &b, job_loss, j, NULL, NULL));
    pleat_nn_share_free(share);
    EXPECT_OK(pleat_nn_step(opt, job_loss(j, &b, &metric)));
    job_free(j);
}

static pleat_tensor *no_loss(void *user, const pleat_nn_batch *b, double *metric) {
    (void)user, (void)b, (void)metric;
    return NULL;
}

Test(mistakes, arguments) {
    setup s = {.micro = 2, .plain = true};
    job *j = job_new(ctx, &s);
    pleat_nn_batch b;
    pleat_nn_loader_start(j->train, 0, 0);
    cr_assert(pleat_nn_loader_next(j->train, &b));
    static const char all[] = "optimizer, batch and loss must be given";
    cr_assert_eq(pleat_nn_step_shared(NULL, &b, job_loss, j, NULL, NULL), PLEAT_ERR_ARGUMENT);
    EXPECT_FAILED(pleat_nn_step_shared(j->part[0].opt, NULL, job_loss, j, NULL, NULL), PLEAT_ERR_ARGUMENT,
                  "step_shared", all);
    EXPECT_FAILED(pleat_nn_step_shared(j->part[0].opt, &b, NULL, j, NULL, NULL), PLEAT_ERR_ARGUMENT,
                  "step_shared", all);
    EXPECT_FAILED(pleat_nn_step_shared(j->part[0].opt, &b, no_loss, j, NULL, NULL), PLEAT_ERR_ARGUMENT,
                  "step", "the loss is NULL");
    cr_assert_null(pleat_nn_share_new(.train = j->train));
    cr_assert_null(pleat_nn_share_new(.part = {j->part[0]}));
    EXPECT_FAILED(pleat_error(ctx)->code, PLEAT_ERR_ARGUMENT, "share", ".train must be given");
    pleat_nn_share_free(NULL);
    cr_assert_null(pleat_nn_world_new(NULL));
    cr_assert_null(pleat_nn_world_new(ctx, .timeout = -1));
    EXPECT_FAILED(pleat_error(ctx)->code, PLEAT_ERR_ARGUMENT, "world", "the timeout must be positive");
    job_free(j);
}

Test(mistakes, options_of_a_run) {
    setup s = {.micro = 2, .plain = true};
    job *j = job_new(ctx, &s);
    EXPECT_FAILED(pleat_nn_fit(&j->run, .part = {j->part[0]}, .train = j->train, .epochs = 1,
                               .loss = job_loss, .user = j, .micro = 2, .accumulate = 2),
                  PLEAT_ERR_ARGUMENT, "fit", ".accumulate is for batches that are not cut");
    EXPECT_FAILED(pleat_nn_fit(&j->run, .part = {j->part[0]}, .train = j->train, .valid = j->train,
                               .epochs = 1, .loss = job_loss, .user = j, .micro = 2),
                  PLEAT_ERR_ARGUMENT, "fit", ".valid must be another loader than .train");
    job_free(j);
}

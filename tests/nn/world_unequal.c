/* Ranks that are not the same, change by themselves, stop or are lost: all others say so. */
#define _POSIX_C_SOURCE 200809L

#include <sched.h>
#include <unistd.h>

#include "mpi/lifeline.h"
#include "share.h"
#include "tensors.h"
#include "world_job.h"

TestSuite(unequal, .init = tensors_begin, .fini = tensors_end, .timeout = 100);

/* ---- ranks that are not the same ------------------------------------------------------------------------------ */

typedef struct odd {
    size_t rank;
    setup usual, other;
    const char *says;
} odd;

static void meet_the_odd_one(member *m) {
    const odd *o = m->arg;
    job *j = job_new(m->ctx, m->rank == o->rank ? &o->other : &o->usual);
    results before = {0}, after = {0};
    char part[100];
    job_take(j, &before);
    snprintf(part, sizeof part, "share: rank %zu has %s", o->rank, o->says);
    pleat_nn_share *share = job_share(j, m->world);
    EXPECT(m, !share, "a share of unequal ranks");
    expect_error_of(m, PLEAT_ERR_ARGUMENT, PLEAT_ERR_ARGUMENT, part);
    job_take(j, &after);
    EXPECT(m, !differ(&before, &after), "%s", differ(&before, &after));
    /* the loader deals whole batches again */
    pleat_nn_batch b;
    pleat_nn_loader_start(j->train, 0, 0);
    EXPECT(m, pleat_nn_loader_next(j->train, &b) && b.n == b.whole, "%zu of %zu", b.n, b.whole);
    job_free(j);
}

Test(unequal, ranks_must_be_equal) {
    const setup usual = {.micro = 2, .options = "--lr 0.1"};
    const odd odds[] = {
        {1, usual, {.micro = 2, .options = "--lr 0.1", .width = 5}, "another network than rank 0"},
        {2,
         usual,
         {.micro = 2, .options = "--lr 0.2"},
         "other options than rank 0: \"--lr 0.2\" and \"--lr 0.1\""},
        {1, usual, {.micro = 2}, "other options than rank 0: \"\" and \"--lr 0.1\""},
        {2,
         usual,
         {.micro = 2, .options = "--lr 0.1", .first_label = 3},
         "other training data, or another loader, than rank 0"},
        {1,
         usual,
         {.micro = 2, .options = "--lr 0.1", .batch = 9},
         "other training data, or another loader, than rank 0"},
        {2,
         usual,
         {.micro = 2, .options = "--lr 0.1", .noise = 0.5},
         "other training data, or another loader, than rank 0"},
        {1, usual, {.micro = 3, .options = "--lr 0.1"}, "another .micro or .sync_norms than rank 0"},
        {1,
         usual,
         {.micro = 2, .options = "--lr 0.1", .sgd = true},
         "another optimizer, ema, or frozen part than rank 0"},
        {2,
         usual,
         {.micro = 2, .options = "--lr 0.1", .ema = true},
         "another optimizer, ema, or frozen part than rank 0"},
        {2,
         usual,
         {.micro = 2, .options = "--lr 0.1", .frozen = true},
         "another optimizer, ema, or frozen part than rank 0"},
    };
    for (size_t i = 0; i < sizeof odds / sizeof *odds; i++)
        free(run_ranks(&(ranks){.n = 3, .run = meet_the_odd_one, .arg = &odds[i], .what = odds[i].says}));
}

static void bring_another_world(member *m) {
    setup s = {.micro = 2};
    job *j = job_new(m->ctx, &s);
    if (m->rank == 1) m->world->bucket = 100;
    EXPECT(m, !job_share(j, m->world), "a share of unequal ranks");
    expect_error_of(m, PLEAT_ERR_ARGUMENT, PLEAT_ERR_ARGUMENT,
                    "share: rank 1 has another .bucket or .check of its world than rank 0");
    job_free(j);
}

Test(unequal, worlds_must_be_equal) {
    free(run_ranks(&(ranks){.n = 3, .run = bring_another_world, .what = "buckets"}));
}

/* What one rank sees by itself, all learn. */
static void refuse_on_one(member *m) {
    setup s = {.micro = 2, .plain = true};
    job *j = job_new(m->ctx, &s);
    double metric;
    pleat_nn_batch b;
    pleat_nn_loader_start(j->train, 0, 0);
    EXPECT(m, pleat_nn_loader_next(j->train, &b), "no batch");
    if (m->rank == 1) EXPECT_FINE(m, pleat_nn_accumulate(j->part[0].opt, job_loss(j, &b, &metric), 1));
    EXPECT(m, !job_share(j, m->world), "a share");
    expect_error_of(m, PLEAT_ERR_ARGUMENT, PLEAT_ERR_ARGUMENT,
                    "rank 1: share: an optimizer has accumulated gradients");
    if (m->rank == 1) EXPECT_FINE(m, pleat_nn_step_accumulated(j->part[0].opt));
    pleat_nn_share *share = job_share(j, m->world);
    EXPECT(m, share, "%s", pleat_error(m->ctx)->text);
    pleat_nn_share_free(share);
    job_free(j);
}

Test(unequal, one_rank_cannot_begin) {
    free(run_ranks(&(ranks){.n = 3, .run = refuse_on_one, .what = "pending"}));
}

/* ---- parameters that change by themselves ----------------------------------------------------------------------- */

static void change_a_parameter(member *m) {
    const size_t *at = m->arg; /* rank, step, number of the tensor */
    setup s = {.micro = 2};
    job *j = job_new(m->ctx, &s);
    pleat_nn_share *share = job_share(j, m->world);
    pleat_nn_batch b;
    char name[64], part[200];
    pleat_nn_state_name(j->part[0].net, at[2], name, sizeof name);
    pleat_nn_loader_start(j->train, 0, 0);
    for (size_t step = 1; step <= at[1]; step++) {
        EXPECT(m, pleat_nn_loader_next(j->train, &b), "no batch");
        pleat_tensor *t = pleat_nn_state(j->part[0].net, at[2]);
        if (step == at[1] && m->rank == at[0]) pleat_assign(t, pleat_shift(t, 1e-3));
        pleat_status status = pleat_nn_step_shared(j->part[0].opt, &b, job_loss, j, NULL, NULL);
        if (step < at[1]) EXPECT_FINE(m, status);
        if (step < at[1]) continue;
        snprintf(
            part, sizeof part,
            "share: rank %zu, step %zu: its parameters are no longer those of rank 0; the first that differs is \"%s\"",
            at[0], step, name);
        expect_error_of(m, status, PLEAT_ERR_CHECK, part);
        EXPECT(m, pleat_nn_world_speaks(m->world) == (m->rank == 0), "it speaks");
    }
    pleat_nn_share_free(share);
    job_free(j);
}

Test(unequal, parameters_drift_apart) {
    static const size_t at[][3] = {{1, 1, 0}, {2, 3, 4}, {1, 4, 2}, {2, 2, 8}};
    for (size_t i = 0; i < 4; i++)
        free(run_ranks(&(ranks){
            .n = 3, .run = change_a_parameter, .arg = at[i], .world = {.check = 1}, .what = "drift"}));
}

/* ---- a rank that is lost ------------------------------------------------------------------------------------------ */

typedef struct loss_of_a_rank {
    size_t rank, step; /* from this step on it does nothing more; 0: before the share */
} loss_of_a_rank;

static void lose_a_rank(member *m) {
    const loss_of_a_rank *l = m->arg;
    setup s = {.micro = 1};
    job *j = job_new(m->ctx, &s);
    pleat_nn_batch b;
    bool lost = m->rank == l->rank;
    char part[100];
    if (l->step == 0) m->world->timeout = 0.3;
    if (lost && l->step == 0) post_lose(m->post, m->rank);
    pleat_nn_share *share = lost && l->step == 0 ? NULL : job_share(j, m->world);
    pleat_status status = share || lost ? PLEAT_OK : pleat_error(m->ctx)->code;
    pleat_nn_loader_start(j->train, 0, 0);
    for (size_t step = 1; step <= 4 && share && !status; step++) {
        EXPECT(m, pleat_nn_loader_next(j->train, &b), "no batch");
        if (step == l->step) m->world->timeout = 0.3;
        if (lost && step == l->step) post_lose(m->post, m->rank);
        if (lost && step == l->step) break;
        status = pleat_nn_step_shared(j->part[0].opt, &b, job_loss, j, NULL, NULL);
    }
    snprintf(part, sizeof part, "world: rank %zu (process %ld on ", l->rank, (long)getpid());
    if (!lost) {
        EXPECT(m, strstr(pleat_error(m->ctx)->text, "has been silent for 0.3 s"), "\"%s\"",
               pleat_error(m->ctx)->text);
        expect_error_of(m, status, PLEAT_ERR_IO, part);
        EXPECT(m, !pleat_nn_world_speaks(m->world) || !m->world->messages || m->rank > 1, "it is said twice");
        if (share) status = pleat_nn_step_shared(j->part[0].opt, &b, job_loss, j, NULL, NULL);
        if (share)
            expect_error_of(m, status, PLEAT_ERR_IO, "world: a rank was lost; nothing is shared any more");
    }
    pleat_clear_error(m->ctx);
    pleat_nn_share_free(share);
    job_free(j);
}

static void expect_loss(size_t n, loss_of_a_rank l) {
    char *text = NULL, part[100];
    size_t bytes = 0;
    FILE *out = open_memstream(&text, &bytes);
    cr_assert(out);
    free(run_ranks(&(ranks){
        .n = n, .run = lose_a_rank, .arg = &l, .loses = true, .what = "loss", .world = {.messages = out}}));
    fclose(out);
    snprintf(part, sizeof part, "\nrank %zu (process %ld on ", l.rank, (long)getpid());
    cr_assert(!strncmp(text, part, strlen(part)), "\"%s\" does not begin with \"%s\"", text, part);
    cr_assert(strstr(text, "; the run has ended on all "), "%s", text);
    /* without an MPI_Abort each rank comes to say so, the one whose task it is before the others */
    snprintf(part, sizeof part, ": rank %d waits for ", l.rank == 0);
    char *first = strstr(text, part), *end = strchr(text + 1, '\n');
    cr_assert(first && end && first < end, "\"%s\"", text);
    free(text);
}

Test(unequal, a_rank_that_is_silent) {
    for (size_t rank = 0; rank < 3; rank++)
        for (size_t step = 0; step < 3; step++) expect_loss(3, (loss_of_a_rank){rank, step});
    for (size_t rank = 0; rank < 5; rank += 2) expect_loss(5, (loss_of_a_rank){rank, 2});
}

/* All but one wait: rank 0 for all, the others for that one alone. Their lifelines say so, and nobody who waits is blamed. */
typedef struct chain {
    size_t silent;
    atomic_size_t *ended;
} chain;

static pleat_status look_at_own(void *arg, size_t *open, size_t *peer) {
    member *m = arg;
    return pln_test(m->world, m->ranks, m->world->request, open, peer);
}

static void wait_in_a_chain(member *m) {
    const chain *c = m->arg;
    pleat_nn_world *w = m->world;
    char letter, part[64];
    w->line = pln_lifeline_new(w);
    EXPECT(m, w->line, "no lifeline");
    if (m->rank == c->silent) {
        while (atomic_load(c->ended) + 1 < m->ranks) sched_yield();
        return;
    }
    for (size_t r = 0; r < m->ranks; r++)
        if (r != m->rank && (m->rank == 0 || r == c->silent))
            EXPECT_FINE(m, pln_receive(w, &w->request[r], &letter, 1, r, PLN_TAG_GRADIENTS));
    pleat_status status = pln_wait_until(w, look_at_own, m, "a letter");
    snprintf(part, sizeof part, "world: rank %zu (process ", c->silent);
    if (m->rank == 0) expect_error_of(m, status, PLEAT_ERR_IO, part);
    EXPECT(m, status == PLEAT_ERR_IO, "a letter came");
    pleat_clear_error(m->ctx);
    atomic_fetch_add(c->ended, 1);
}

Test(unequal, who_waits_is_not_blamed) {
    for (size_t n = 3; n <= 4; n++)
        for (size_t silent = 1; silent < n; silent++) {
            atomic_size_t ended = 0;
            chain c = {silent, &ended};
            free(run_ranks(&(ranks){.n = n,
                                    .run = wait_in_a_chain,
                                    .arg = &c,
                                    .loses = true,
                                    .what = "chain",
                                    .world = {.timeout = 0.8}}));
        }
}

/* ---- a stop ------------------------------------------------------------------------------------------------------ */

/* Asked for by one rank behind step 2, known to all behind step 3. */
static void stop(member *m) {
    setup s = {.micro = 2};
    job *j = job_new(m->ctx, &s);
    pleat_nn_share *share = job_share(j, m->world);
    pleat_nn_batch b;
    pleat_nn_loader_start(j->train, 0, 0);
    for (size_t step = 1; step <= 4; step++) {
        EXPECT(m, pleat_nn_loader_next(j->train, &b), "no batch");
        EXPECT_FINE(m, pleat_nn_step_shared(j->part[0].opt, &b, job_loss, j, NULL, NULL));
        EXPECT(m, pln_share_stopped(share) == (step > 2), "behind step %zu", step);
        if (step == 2 && m->rank + 1 == m->ranks) pln_share_stop(share);
        EXPECT(m, pln_share_stopped(share) == (step > 2 || (step == 2 && m->ranks == 1)),
               "asked for behind %zu", step);
    }
    pleat_nn_share_free(share);
    job_free(j);
}

Test(unequal, a_stop_is_known_to_all) {
    for (size_t n = 1; n <= 3; n++) free(run_ranks(&(ranks){.n = n, .run = stop, .what = "stop"}));
}

/* One rank of two has no memory left in a step: both say so, and go on. */
#include "mallocs.h"
#include "tensors.h"
#include "world_job.h"

TestSuite(memory, .init = tensors_begin, .fini = tensors_end, .timeout = 100);

typedef struct shortage {
    size_t first, failed; /* calls of rank 1 */
    size_t lost;          /* runs that have ended by it */
    size_t step;
} shortage;

/* Rank 1 says it by a message; or it is lost, as far as the other can see. */
static void expect_shortage(member *m, pleat_status status, shortage *l) {
    const char *text = pleat_error(m->ctx)->text;
    bool lost = m->world->broken;
    EXPECT(m, status == PLEAT_ERR_MEMORY || (lost && status == PLEAT_ERR_IO), "%s", text);
    EXPECT(m,
           strstr(text, "memory") || strstr(text, "MPI refuses a message") ||
               (m->rank == 0 && strstr(text, "world: rank 1 (")),
           "%s", text);
    EXPECT(m, lost || strstr(text, "rank 1: "), "%s", text);
    if (m->rank == 1) l->lost += lost;
    pleat_clear_error(m->ctx);
}

static void run_short(member *m) {
    shortage *l = (shortage *)m->arg;
    setup s = {.micro = 2};
    job *j = job_new(m->ctx, &s);
    pleat_nn_share *share = job_share(j, m->world);
    pleat_nn_batch b;
    EXPECT(m, share, "%s", pleat_error(m->ctx)->text);
    pleat_nn_loader_start(j->train, 0, 0);
    m->world->timeout = 0.3;
    for (size_t step = 1; step <= 3; step++) {
        results before = {0}, after = {0};
        bool here = step == l->step && m->rank == 1;
        take_part(&before, &j->part[0]);
        EXPECT(m, pleat_nn_loader_next(j->train, &b), "no batch");
        if (here) pleat_trim(m->ctx);
        if (here) mallocs_start_failing_some(l->first, 1);
        pleat_status status = pleat_nn_step_shared(j->part[0].opt, &b, job_loss, j, NULL, NULL);
        if (here) mallocs_stop();
        if (here) l->failed = mallocs_failed();
        take_part(&after, &j->part[0]);
        EXPECT(m, !status || !differ(&before, &after), "%s", differ(&before, &after));
        if (status) expect_shortage(m, status, l);
        if (m->world->broken) break;
        take_number(&m->results, "status", (double)status);
    }
    if (!m->world->broken) job_take(j, &m->results);
    if (m->world->broken) m->results.n = 0;
    pleat_nn_share_free(share);
    job_free(j);
}

Test(memory, one_rank_is_short) {
    if (!mallocs_are_counted()) return;
    for (size_t step = 1; step <= 2; step++) {
        shortage l = {.first = 1, .failed = 1, .step = step};
        for (; l.failed; l.first += 2) {
            char what[60];
            snprintf(what, sizeof what, "call %zu, step %zu", l.first, l.step);
            ranks r = {.n = 2, .run = run_short, .arg = &l, .loses = true, .what = what};
            member *m = run_ranks(&r);
            cr_assert_null(differ(&m[0].results, &m[1].results), "%s: %s", what,
                           differ(&m[0].results, &m[1].results));
            free(m);
        }
        cr_expect(l.first > 50 && l.lost < l.first / 4, "%zu calls, %zu lost", l.first, l.lost);
    }
}

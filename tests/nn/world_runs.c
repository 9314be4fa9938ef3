/* Training ends in the same bits on any number of ranks. */
#define _POSIX_C_SOURCE 200809L

#include "world_job.h"

#include <signal.h>

#include "pleat_config.h"
#include "scratch.h"

TestSuite(runs, .init = scratch_begin, .fini = scratch_end, .timeout = 100);

static void train(member *m) {
    job *j = job_new(m->ctx, m->arg);
    if (m->rank + 1 < m->ranks) j->raise_at = 0; /* a second signal would end the process */
    EXPECT_FINE(m, job_run(j, m->world, &m->results));
    job_free(j);
}

static void expect_same_everywhere(const setup *s, const char *what) {
    static const size_t sizes[] = {1, 2, 3, 5, 8};
    results expected = job_alone(s);
    for (size_t i = 0; i < 5; i++) {
        ranks r = {.n = sizes[i], .seed = i, .run = train, .arg = s, .what = what};
        member *m = run_ranks(&r);
        expect_results(&r, m, &expected);
        free(m);
    }
}

#define SAME(name, ...) \
    Test(runs, name) { expect_same_everywhere(&(setup){__VA_ARGS__}, #name); }

/* 42 items in batches of 8, and one of 2. */
SAME(batches_of_three_and_two, .micro = 3, .ema = true, .noise = 0.1)
SAME(one_item_each, .micro = 1, .prefetch = true, .noise = 0.1, .ema = true)
SAME(micro_divides_the_batch, .micro = 4, .drop_last = true, .sgd = true)
SAME(micro_is_the_batch, .micro = 8)
SAME(micro_is_larger_than_the_batch, .micro = 100, .prefetch = true)
SAME(one_batch_of_all, .micro = 5, .batch = 42, .epochs = 4, .noise = 0.1)
SAME(clipped, .micro = 2, .clip_norm = 0.05, .ema = true)
SAME(without_norm_and_dropout, .micro = 2, .plain = true, .sgd = true)
SAME(doubles, .micro = 3, .dtype = PLEAT_F64, .ema = true)
SAME(frozen, .micro = 3, .frozen = true)
SAME(two_networks, .micro = 2, .two = true, .ema = true, .noise = 0.1)
SAME(by_hand, .micro = 3, .by_hand = true, .noise = 0.1)
SAME(two_networks_by_hand, .micro = 1, .by_hand = true, .two = true, .sgd = true)
SAME(frozen_between_steps, .micro = 3, .by_hand = true, .frozen = true)

SAME(joint_norms, .micro = 3, .joint = true, .noise = 0.1, .ema = true)
SAME(joint_norms_of_single_items, .micro = 1, .joint = true, .prefetch = true)
SAME(joint_norms_of_two_networks, .micro = 3, .joint = true, .two = true, .dtype = PLEAT_F64)
SAME(joint_norms_by_hand, .micro = 2, .joint = true, .by_hand = true, .frozen = true)

/* Without .micro a batch is one micro-batch. */
Test(runs, micro_by_default_is_the_batch) {
    results expected = job_alone(&(setup){.micro = 8});
    for (size_t n = 1; n <= 3; n++) {
        ranks r = {.n = n, .run = train, .arg = &(setup){.micro = 0}, .what = "micro 0"};
        member *m = run_ranks(&r);
        expect_results(&r, m, &expected);
        free(m);
    }
}

/* So the length of micro-batches is a part of the definition. */
Test(runs, micro_shows) {
    results a = job_alone(&(setup){.micro = 3}), b = job_alone(&(setup){.micro = 4}),
            c = job_alone(&(setup){.micro = 3});
    cr_assert(differ(&a, &b));
    cr_assert_null(differ(&a, &c), "%s", differ(&a, &c));
}

/* Fewer buckets, and comparisons at every step, change nothing. */
Test(runs, options_of_the_world_do_not_show) {
    setup s = {.micro = 2, .noise = 0.1, .ema = true};
    results expected = job_alone(&s);
    static const size_t buckets[] = {1, 100, 5000};
    for (size_t k = 0; k < 3; k++) {
        ranks r = {.n = 3,
                   .seed = 9 + k,
                   .run = train,
                   .arg = &s,
                   .world = {.bucket = buckets[k], .check = 1},
                   .what = "buckets"};
        member *m = run_ranks(&r);
        expect_results(&r, m, &expected);
        free(m);
    }
}

/* ---- resumes ----------------------------------------------------------------------------------------------- */

#ifdef PL_HAVE_CJSON
/* Its results on `size` ranks; 0: without a world. */
static results part_of_a_run(size_t size, const setup *s) {
    if (!size) return job_alone(s);
    ranks r = {.n = size, .seed = size, .run = train, .arg = s, .what = "resumed"};
    member *m = run_ranks(&r);
    results first = m[0].results;
    expect_results(&r, m, &first);
    free(m);
    return first;
}

/* Another number of ranks each time. */
Test(runs, resumed_on_other_ranks) {
    static const size_t sizes[] = {3, 5, 0, 1, 2};
    setup s = {.micro = 3, .ema = true, .noise = 0.1, .epochs = 5};
    results expected = job_alone(&s), found;
    s.folder = scratch_folder;
    for (size_t i = 0; i < 5; i++) {
        s.epochs = i + 1;
        found = part_of_a_run(sizes[i], &s);
    }
    cr_assert_null(differ(&expected, &found), "%s", differ(&expected, &found));
}

/* And between: a signal stops all ranks behind the same step. */
Test(runs, interrupted_and_resumed) {
    setup s = {.micro = 2, .ema = true, .noise = 0.1, .epochs = 2}, begun = s;
    results expected = job_alone(&s);
    signal(SIGINT, SIG_DFL);
    s.folder = begun.folder = scratch_folder;
    for (size_t size = 1; size <= 3; size++) {
        begun.raise_at = 2;
        results stopped = part_of_a_run(size, &begun);
        cr_assert(stopped.of[0].first >= 1 && stopped.of[0].first <= 4, "%g steps on %zu",
                  stopped.of[0].first, size);
        results found = part_of_a_run(4 - size, &s);
        cr_assert_null(differ(&expected, &found), "stopped on %zu: %s", size, differ(&expected, &found));
        cr_assert_eq(remove(in_scratch("checkpoint.safetensors")), 0);
    }
}
#endif

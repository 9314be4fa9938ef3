/* Computations that take turns and meet. */
#include "tensors.h"

#include <string.h>

TestSuite(lockstep, .init = tensors_begin, .fini = tensors_end, .timeout = 60);

enum { N = 4, MEETINGS = 3 };

typedef struct walk {
    char trace[200];
    double sum, arrived[N];
    size_t ends_early, meetings; /* N: none */
    bool met[N][MEETINGS];
    double random[N], slope[N];
} walk;

static void note(walk *w, const char *what, size_t i) {
    size_t used = strlen(w->trace);
    snprintf(w->trace + used, sizeof w->trace - used, "%s%zu ", what, i);
}

static void add_up(void *user) {
    walk *w = user;
    w->sum = 0;
    for (size_t i = 0; i < N; i++) w->sum += w->arrived[i];
    note(w, "all", w->meetings++);
}

/* Scopes, a random stream and a gradient of its own, before and behind each meeting. */
static void run(void *user, size_t i) {
    walk *w = user;
    cr_assert_eq(pleat_lockstep_index(ctx), i);
    *pleat_ctx_rng(ctx) = pleat_rng_new(i, 7);
    pleat_tensor *x = pleat_full(ctx, PLEAT_F64, PLEAT_SHAPE(2), (double)(i + 1)), *y = pleat_mul(x, x), *g;
    for (size_t k = 0; k < MEETINGS; k++) {
        if (w->ends_early == i && k == 1) return;
        pleat_scope s = pleat_begin(ctx);
        note(w, "", i);
        w->arrived[i] = pleat_item(pleat_sum(y));
        pleat_set_recording(ctx, i % 2);
        w->met[i][k] = pleat_meet(ctx, add_up, w);
        pleat_set_recording(ctx, true);
        y = pleat_hold(pleat_scale(y, 2));
        pleat_end(s);
    }
    w->random[i] = pleat_rng_uniform(pleat_ctx_rng(ctx));
    EXPECT_OK(pleat_grads(pleat_sum(y), NULL, 1, &x, &g, 0));
    w->slope[i] = pleat_const_f64(g)[0];
    pleat_begin(ctx); /* left open */
}

static void expect_alone(const walk *w, size_t i) {
    pleat_rng r = pleat_rng_new(i, 7);
    cr_assert(w->random[i] == pleat_rng_uniform(&r), "%zu", i);
    cr_assert(w->slope[i] == 16 * (double)(i + 1), "%zu: %g", i, w->slope[i]);
}

Test(lockstep, takes_turns) {
    walk w = {.ends_early = N};
    pleat_rng before = *pleat_ctx_rng(ctx);
    pleat_scope s = pleat_begin(ctx);
    EXPECT_OK(pleat_lockstep(ctx, N, run, &w));
    pleat_end(s);
    cr_assert_str_eq(w.trace, "0 1 2 3 all0 0 1 2 3 all1 0 1 2 3 all2 ");
    cr_assert(w.sum == 4 * (2 + 8 + 18 + 32), "%g", w.sum);
    for (size_t i = 0; i < N; i++) expect_alone(&w, i);
    cr_assert_eq(memcmp(&before, pleat_ctx_rng(ctx), sizeof before), 0);
    cr_assert_eq(pleat_lockstep_index(ctx), 0);
}

Test(lockstep, one_may_end_where_others_meet) {
    for (size_t early = 0; early < N; early++) {
        walk w = {.ends_early = early};
        EXPECT_OK(pleat_lockstep(ctx, N, run, &w));
        cr_assert_eq(w.meetings, 1);
        for (size_t i = 0; i < N; i++) {
            cr_assert(w.met[i][0] && !w.met[i][1] && !w.met[i][2], "%zu of %zu", i, early);
            if (i != early) expect_alone(&w, i);
        }
    }
}

static void nest(void *user, size_t i) { *(pleat_status *)user = pleat_lockstep(ctx, i + 1, run, NULL); }

static void fail(void *user, size_t i) {
    (void)user;
    if (i == 1) pleat_fail(ctx, PLEAT_ERR_SHAPE, "test", "this one fails");
}

Test(lockstep, refusals) {
    pleat_status inner = PLEAT_OK;
    walk w = {.ends_early = N};
    EXPECT_OK(pleat_lockstep(ctx, 0, run, &w));
    cr_assert(pleat_meet(ctx, add_up, &w) && w.meetings == 1);
    EXPECT_FAILED(pleat_lockstep(ctx, 2, NULL, &w), PLEAT_ERR_ARGUMENT, "lockstep", "run is NULL");
    EXPECT_FAILED(pleat_lockstep(ctx, 2, nest, &inner), PLEAT_ERR_ARGUMENT, "lockstep",
                  "one runs in this context");
    cr_assert_eq(inner, PLEAT_ERR_ARGUMENT);
    EXPECT_FAILED(pleat_lockstep(ctx, 3, fail, NULL), PLEAT_ERR_SHAPE, "test", "this one fails");
    cr_assert_eq(pleat_lockstep(NULL, 3, fail, NULL), PLEAT_ERR_ARGUMENT);
}

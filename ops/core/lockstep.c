/* Several computations in one context that take turns, and meet. Each has a thread, for its stack, and only one of them runs
 * at a time. What of the context belongs to a computation is exchanged when the turn passes: the scopes that it has opened,
 * its random stream, and what of a gradient walk is on the way. */
#define _POSIX_C_SOURCE 200809L

#include <pthread.h>
#include <signal.h>
#include <string.h>

#include "core/core.h"

static const char op[] = "lockstep";

typedef enum state { RUNNING, MEETING, FINISHED } state;

typedef struct strand {
    struct pl_lockstep *all;
    size_t index;
    state state;
    pthread_t thread;
    pl_scope *scopes;
    size_t open, capacity;
    pleat_rng rng;
    bool recording;
    const pleat_call *rule;
    pleat_tensor *shared;
    const void *caller;
} strand;

typedef struct pl_lockstep {
    pleat_ctx *ctx;
    size_t n, turn;
    size_t common; /* scopes that were open before */
    strand *strand;
    void (*run)(void *user, size_t i);
    void *user;
    bool apart; /* somebody has finished where others meet */
    pthread_mutex_t mutex;
    pthread_cond_t passed;
} pl_lockstep;

/* ---- turns ---------------------------------------------------------------------------------------------- */

static void save(strand *s) {
    const pleat_ctx *ctx = s->all->ctx;
    s->scopes = ctx->scopes, s->open = ctx->open, s->capacity = ctx->capacity;
    s->rng = ctx->rng, s->recording = ctx->recording;
    s->rule = ctx->rule, s->shared = ctx->shared, s->caller = ctx->caller;
}

/* The lists of the scopes that all have in common are where they were last. */
static void load(const strand *s) {
    pleat_ctx *ctx = s->all->ctx;
    if (s->scopes != ctx->scopes) memcpy(s->scopes, ctx->scopes, s->all->common * sizeof *s->scopes);
    ctx->scopes = s->scopes, ctx->open = s->open, ctx->capacity = s->capacity;
    ctx->rng = s->rng, ctx->recording = s->recording;
    ctx->rule = s->rule, ctx->shared = s->shared, ctx->caller = s->caller;
}

/* The first strand in that state, or n. */
static size_t first_in(const pl_lockstep *l, state wanted) {
    size_t i = 0;
    while (i < l->n && l->strand[i].state != wanted) i++;
    return i;
}

static void give_turn(pl_lockstep *l, size_t to) {
    l->turn = to;
    pthread_cond_broadcast(&l->passed);
}

static void wait_for_turn(pl_lockstep *l, size_t i) {
    while (l->turn != i) pthread_cond_wait(&l->passed, &l->mutex);
}

/* Let the first that can go on do so; where all meet, or nobody is left who could come, these. */
static void pass_on(pl_lockstep *l) {
    size_t next = first_in(l, RUNNING);
    if (next == l->n && first_in(l, MEETING) < l->n) {
        for (size_t i = 0; i < l->n; i++)
            if (l->strand[i].state == MEETING) l->strand[i].state = RUNNING;
        next = first_in(l, RUNNING);
    }
    give_turn(l, next); /* n: the caller's, as all have finished */
}

static void *run_strand(void *arg) {
    strand *s = arg;
    pl_lockstep *l = s->all;
    pthread_mutex_lock(&l->mutex);
    wait_for_turn(l, s->index);
    load(s);
    l->run(l->user, s->index);
    while (l->ctx->open > l->common) /* what it has left open */
        pleat_end((pleat_scope){l->ctx, l->ctx->open - 1, l->ctx->scopes[l->ctx->open - 1].serial});
    save(s);
    s->state = FINISHED;
    if (first_in(l, RUNNING) == l->n && first_in(l, MEETING) < l->n) l->apart = true;
    pass_on(l);
    pthread_mutex_unlock(&l->mutex);
    return NULL;
}

bool pleat_meet(pleat_ctx *ctx, void (*joint)(void *user), void *user) {
    pl_lockstep *l = ctx == NULL ? NULL : ctx->lockstep;
    if (l == NULL || l->apart) {
        if (l == NULL) joint(user);
        return l == NULL;
    }
    strand *s = &l->strand[l->turn];
    s->state = MEETING;
    if (first_in(l, RUNNING) == l->n && first_in(l, FINISHED) == l->n) joint(user);
    if (first_in(l, RUNNING) == l->n && first_in(l, FINISHED) < l->n) l->apart = true;
    save(s);
    pass_on(l);
    wait_for_turn(l, s->index);
    load(s);
    return !l->apart;
}

size_t pleat_lockstep_index(const pleat_ctx *ctx) {
    return ctx == NULL || ctx->lockstep == NULL ? 0 : ctx->lockstep->turn;
}

/* ---- the run -------------------------------------------------------------------------------------------- */

static bool begin(pl_lockstep *l, size_t i) {
    pleat_ctx *ctx = l->ctx;
    strand *s = &l->strand[i];
    save(s);
    s->scopes = pl_take(&ctx->memory, ctx->capacity * sizeof *s->scopes);
    if (s->scopes == NULL) return false;
    memcpy(s->scopes, ctx->scopes, ctx->open * sizeof *s->scopes);
    return true;
}

/* Start the threads, of which none runs before it has a turn; how many there are. */
static size_t start(pl_lockstep *l) {
    sigset_t all, before;
    pthread_attr_t attr;
    size_t i = 0;
    sigfillset(&all);
    pthread_attr_init(&attr);
    pthread_attr_setstacksize(&attr, (size_t)8 << 20);
    pthread_sigmask(SIG_SETMASK, &all, &before);
    while (i < l->n && pthread_create(&l->strand[i].thread, &attr, run_strand, &l->strand[i]) == 0) i++;
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    pthread_attr_destroy(&attr);
    return i;
}

static pleat_status run_all(pl_lockstep *l) {
    strand outside = {.all = l, .index = l->n};
    pthread_mutex_init(&l->mutex, NULL);
    pthread_cond_init(&l->passed, NULL);
    pthread_mutex_lock(&l->mutex);
    save(&outside);
    size_t n = l->n, started = start(l);
    for (size_t i = started; i < n; i++) l->strand[i].state = FINISHED;
    l->apart = started < n;
    l->ctx->lockstep = l;
    pass_on(l);
    wait_for_turn(l, n);
    l->ctx->lockstep = NULL;
    load(&outside);
    pthread_mutex_unlock(&l->mutex);
    for (size_t i = 0; i < started; i++) pthread_join(l->strand[i].thread, NULL);
    pthread_cond_destroy(&l->passed);
    pthread_mutex_destroy(&l->mutex);
    return started == n
               ? PLEAT_OK
               : pleat_fail(l->ctx, PLEAT_ERR_MEMORY, op, "no thread for part %zu of %zu", started, n);
}

pleat_status pleat_lockstep(pleat_ctx *ctx, size_t n, void (*run)(void *user, size_t i), void *user) {
    size_t bytes;
    if (ctx == NULL) return PLEAT_ERR_ARGUMENT;
    if (run == NULL || ctx->lockstep != NULL)
        return pleat_fail(ctx, PLEAT_ERR_ARGUMENT, op, "%s",
                          run == NULL ? "run is NULL" : "one runs in this context");
    pl_lockstep l = {.ctx = ctx, .n = n, .common = ctx->open, .run = run, .user = user};
    l.strand = pl_mul_ok(n + 1, sizeof *l.strand, &bytes) ? pl_take(&ctx->memory, bytes) : NULL;
    if (l.strand == NULL) return pleat_fail(ctx, PLEAT_ERR_MEMORY, op, "no memory for %zu computations", n);
    memset(l.strand, 0, bytes);
    bool ready = true;
    for (size_t i = 0; i < n && ready; i++) {
        l.strand[i].all = &l, l.strand[i].index = i;
        ready = begin(&l, i);
    }
    pleat_status status = !ready  ? pleat_fail(ctx, PLEAT_ERR_MEMORY, op, "no memory for %zu computations", n)
                          : n > 0 ? run_all(&l)
                                  : PLEAT_OK;
    for (size_t i = 0; i < n; i++) pl_give(&ctx->memory, l.strand[i].scopes);
    pl_give(&ctx->memory, l.strand);
    return status ? status : ctx->error.code;
}

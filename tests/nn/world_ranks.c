/* Ranks as threads, and what comes out of them. */
#define _POSIX_C_SOURCE 200809L

#include <pthread.h>
#include <stdarg.h>

#include "hash.h"
#include "optimizer.h"
#include "world.h"

/* ---- results ----------------------------------------------------------------------------------------------- */

static void take(results *r, const char *name, const void *bytes, size_t n, double first) {
    if (r->n == RESULTS) return;
    result *to = &r->of[r->n++];
    snprintf(to->name, sizeof to->name, "%s", name);
    to->hash = pln_hash(PLN_HASH_START, bytes, n);
    to->first = first;
}

void take_number(results *r, const char *name, double x) { take(r, name, &x, sizeof x, x); }

void take_tensor(results *r, const char *name, const pleat_tensor *t) {
    size_t n = pleat_numel(t);
    double *x = calloc(n + 1, sizeof *x);
    if (!x) abort();
    pleat_read_f64(t, x);
    take(r, name, x, n * sizeof *x, x[0]);
    free(x);
}

static void take_optimizer(results *r, const pleat_nn_part *p) {
    take_number(r, "rate", pleat_nn_lr(p->opt));
    for (size_t k = 0; k < pleat_nn_param_count(p->net); k++) {
        take_number(r, "steps of a parameter", pln_optimizer_steps(p->opt, k));
        for (size_t j = 0; j < pln_optimizer_states(p->opt); j++)
            take_tensor(r, pln_optimizer_state_name(p->opt, j), pln_optimizer_state(p->opt, k, j));
    }
}

void take_part(results *r, const pleat_nn_part *p) {
    char name[64];
    for (size_t k = 0; k < pleat_nn_state_count(p->net); k++) {
        pleat_nn_state_name(p->net, k, name, sizeof name);
        take_tensor(r, name, pleat_nn_state(p->net, k));
        if (p->ema) take_tensor(r, "average", pln_ema_state(p->ema, k));
    }
    if (p->opt) take_optimizer(r, p);
}

void take_rng(results *r, pleat_ctx *ctx) {
    take(r, "random stream", pleat_ctx_rng(ctx), sizeof(pleat_rng), 0);
}

const char *differ(const results *a, const results *b) {
    static _Thread_local char text[200];
    size_t k = 0;
    while (k < a->n && k < b->n && a->of[k].hash == b->of[k].hash && !strcmp(a->of[k].name, b->of[k].name))
        k++;
    if (k == a->n && k == b->n) return NULL;
    snprintf(text, sizeof text, "%zu of %zu and %zu: %s (%.17g) and %s (%.17g)", k, a->n, b->n, a->of[k].name,
             a->of[k].first, b->of[k].name, b->of[k].first);
    return text;
}

/* ---- threads ----------------------------------------------------------------------------------------------- */

void complain(member *m, const char *file, int line, const char *condition, const char *format, ...) {
    char why[200];
    va_list args;
    va_start(args, format);
    vsnprintf(why, sizeof why, format, args);
    va_end(args);
    if (!*m->wrong)
        snprintf(m->wrong, sizeof m->wrong, "%s:%d: %s: %s",
                 strrchr(file, '/') ? strrchr(file, '/') + 1 : file, line, condition, why);
}

void expect_error_of(member *m, pleat_status status, pleat_status code, const char *part) {
    const pleat_error_info *e = pleat_error(m->ctx);
    EXPECT(m, status == code, "status %s, not %s: %s", pleat_status_name(status), pleat_status_name(code),
           e->text);
    EXPECT(m, e->code == code && strstr(e->text, part) && !strchr(e->text, '\n'),
           "\"%s\" does not say \"%s\"", e->text, part);
    pleat_clear_error(m->ctx);
}

typedef struct thread {
    pthread_t id;
    const ranks *r;
    member *m;
} thread;

static void *begin(void *arg) {
    const thread *t = arg;
    member *m = t->m;
    pleat_nn_world_args args = t->r->world;
    m->ctx = args.ctx = pleat_ctx_new(.threads = 1 + (int)(m->rank % 2), .seed = 3 + m->rank);
    if (!m->ctx) abort();
    m->world = pln_world_over(args, post_transport(m->post, m->rank));
    EXPECT(m, m->world, "%s", pleat_error(m->ctx)->text);
    if (m->world) t->r->run(m);
    EXPECT_FINE(m, pleat_error(m->ctx)->code);
    return NULL;
}

member *run_ranks(const ranks *r) {
    member *m = calloc(r->n, sizeof *m);
    thread *t = calloc(r->n, sizeof *t);
    post *p = post_new(r->n, r->seed);
    cr_assert(m && t);
    for (size_t k = 0; k < r->n; k++) {
        m[k] = (member){.rank = k, .ranks = r->n, .post = p, .arg = r->arg};
        t[k] = (thread){.r = r, .m = &m[k]};
        cr_assert_eq(pthread_create(&t[k].id, NULL, begin, &t[k]), 0);
    }
    for (size_t k = 0; k < r->n; k++) pthread_join(t[k].id, NULL);
    for (size_t k = 0; k < r->n; k++) {
        pleat_nn_world_free(m[k].world);
        pleat_ctx_free(m[k].ctx);
    }
    for (size_t k = 0; k < r->n; k++)
        cr_assert(!*m[k].wrong, "%s, rank %zu of %zu, seed %llu: %s", r->what, k, r->n,
                  (unsigned long long)r->seed, m[k].wrong);
    cr_assert(!post_mismatched(p), "%s: a letter had another length", r->what);
    cr_assert(r->loses || post_left(p) == 0, "%s, %zu ranks: %zu letters are left", r->what, r->n,
              post_left(p));
    post_free(p);
    free(t);
    return m;
}

void expect_results(const ranks *r, const member *m, const results *expected) {
    for (size_t k = 0; k < r->n; k++) {
        const char *where = differ(expected, &m[k].results);
        cr_assert(!where, "%s, rank %zu of %zu: %s", r->what, k, r->n, where);
        cr_assert(expected->n > 0 && expected->n < RESULTS);
    }
}

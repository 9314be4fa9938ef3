/* Runs whose batches are cut into micro-batches: what is made for them, and freed. */
#include "share.h"

#include <stdlib.h>
#include <string.h>

#include "data/loader.h"
#include "module.h"
#include "optimizer.h"

static const char op[] = "share";

/* ---- batch norms ----------------------------------------------------------------------------------------- */

/* The batch norms below m, from s->norm[n] on if there is room; the number of all. */
static size_t find_norms(pleat_nn_share *s, pleat_nn_module *m, size_t n) {
    if (pln_is_batch_norm(m)) {
        if (s->norm) s->norm[n] = m;
        n++;
    }
    for (size_t i = 0; i < m->count; i++)
        if (m->entries[i].child) n = find_norms(s, m->entries[i].child, n);
    return n;
}

static size_t find_all_norms(pleat_nn_share *s) {
    size_t n = 0;
    for (size_t i = 0; i < s->parts; i++) n = find_norms(s, s->a.part[i].net, n);
    return n;
}

static pleat_tensor *held(pleat_tensor *t) { return pleat_is_poison(t) ? NULL : pleat_hold(t); }

static bool make_norms(pleat_nn_share *s) {
    s->norms = find_all_norms(s);
    s->norm = calloc(s->norms + 1, sizeof(pleat_nn_module *));
    s->statistics = calloc(s->norms + 1, sizeof(pleat_tensor *));
    s->calls = calloc(s->norms + 1, sizeof(pleat_tensor *));
    if (!s->norm || !s->statistics || !s->calls)
        return pleat_fail(s->ctx, PLEAT_ERR_MEMORY, op, "no memory for %zu batch norms", s->norms) ==
               PLEAT_OK;
    find_all_norms(s);
    for (size_t i = 0; i < s->norms; i++) {
        const pleat_tensor *mean = pleat_nn_own_buffer(s->norm[i], 0);
        size_t n = 1 + 2 * pleat_size(mean, 0);
        s->statistics[i] = held(pleat_zeros(s->ctx, pleat_dtype_of(mean), 1, &n));
        s->calls[i] = held(pleat_zeros(s->ctx, PLEAT_F64, PLEAT_SCALAR));
        if (!s->statistics[i] || !s->calls[i]) return false;
    }
    return true;
}

/* ---- making and freeing ------------------------------------------------------------------------------------ */

size_t pln_share_micro(const pleat_nn_share *s) {
    return s->a.micro ? s->a.micro : pleat_nn_loader_batch_size(s->a.train);
}

void pln_share_stop(pleat_nn_share *s) {
    s->stop = true;
    if (pln_share_ranks(s) == 1) s->stopped = true;
}
bool pln_share_stopped(const pleat_nn_share *s) { return s->stopped; }

static const char *broken(const pleat_nn_share_args *a) {
    if (!a->part[0].net) return "part[0].net must be given";
    if (!a->train) return ".train must be given";
    for (size_t i = 0; i < PLEAT_NN_PARTS && a->part[i].net; i++) {
        const pleat_nn_part *p = &a->part[i];
        if (p->opt && pln_optimizer_share(p->opt)) return "an optimizer is of another share";
        if (p->opt && pln_optimizer_pending(p->opt)) return "an optimizer has accumulated gradients";
        if (p->ema && pln_ema_is_swapped(p->ema)) return "a network holds the averages of its ema";
    }
    return NULL;
}

/* Of one rank; the others learn of an error by pln_agree. */
static pleat_status set_up(pleat_nn_share *s) {
    const char *wrong = broken(&s->a);
    if (wrong) return pleat_fail(s->ctx, PLEAT_ERR_ARGUMENT, op, "%s", wrong);
    while (s->parts < PLEAT_NN_PARTS && s->a.part[s->parts].net) s->parts++;
    if (!make_norms(s)) return pleat_error(s->ctx)->code;
    for (size_t i = 0; i < s->parts; i++)
        if (s->a.part[i].opt) pln_optimizer_set_share(s->a.part[i].opt, s);
    pln_loader_deal(s->a.train, (pln_dealing){pln_share_micro(s), pln_share_rank(s), pln_share_ranks(s)});
    return PLEAT_OK;
}

pleat_nn_share *pleat_nn_share_new_with(pleat_nn_share_args a) {
    pleat_ctx *ctx = a.part[0].net ? pleat_nn_ctx(a.part[0].net) : a.world ? a.world->ctx : NULL;
    pleat_nn_share *s = calloc(1, sizeof *s);
    pleat_status status = PLEAT_OK;
    if (s) {
        s->ctx = ctx, s->a = a;
        status = set_up(s);
    } else {
        status = pleat_fail(ctx, PLEAT_ERR_MEMORY, op, "no memory");
    }
    status = pln_agree(a.world, status);
    if (!status) status = pln_share_compare_ranks(s);
    if (!status) status = pln_share_send_state(s);
    if (!status) return s;
    pleat_nn_share_free(s);
    return NULL;
}

void pleat_nn_share_free(pleat_nn_share *s) {
    if (!s) return;
    for (size_t i = 0; i < s->parts; i++) {
        if (s->a.part[i].opt && pln_optimizer_share(s->a.part[i].opt) == s)
            pln_optimizer_set_share(s->a.part[i].opt, NULL);
        pln_share_free_steps(&s->step[i]);
    }
    if (s->parts) pln_loader_deal(s->a.train, (pln_dealing){0});
    for (size_t i = 0; s->statistics && s->calls && i < s->norms; i++) {
        pleat_drop(s->statistics[i]);
        pleat_drop(s->calls[i]);
    }
    pln_joint_free(&s->joint);
    free(s->norm);
    free(s->statistics);
    free(s->calls);
    free(s->means);
    free(s->mine);
    free(s->all);
    free(s);
}

/* A step of a shared run: each micro-batch has its gradient, its random stream and its statistics, and the tree of
 * accumulate.c adds them, in this process or across ranks. */
#include "share.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "data/loader.h"
#include "module.h"
#include "optimizer.h"

static const char op[] = "share";

/* Numbers of random streams, beside those of the loader. */
#define MICRO_STREAM ((uint64_t)3 << 62)

static pleat_status no_memory(const pleat_nn_share *s) {
    return pleat_fail(s->ctx, PLEAT_ERR_MEMORY, op, "no memory for what a step needs");
}

/* ---- batch norms ----------------------------------------------------------------------------------------- */

/* [1, 0, 0, ...] and no calls: what leaves running statistics as they are. */
static void reset_norms(const pleat_nn_share *s) {
    for (size_t i = 0; i < s->norms; i++) {
        size_t rest = pleat_numel(s->statistics[i]) - 1;
        pleat_dtype type = pleat_dtype_of(s->statistics[i]);
        pleat_tensor *parts[] = {pleat_full(s->ctx, type, 1, (const size_t[]){1}, 1),
                                 pleat_zeros(s->ctx, type, 1, &rest)};
        pleat_assign(s->statistics[i], pleat_concat(2, parts, 0));
        pleat_assign(s->calls[i], pleat_zeros_like(s->calls[i]));
    }
}

static void attach_norms(pleat_nn_share *s, bool on) {
    for (size_t i = 0; i < s->norms; i++) {
        s->norm[i]->statistics = on ? s->statistics[i] : NULL;
        s->norm[i]->calls = on ? s->calls[i] : NULL;
        s->norm[i]->joint = on && s->a.sync_norms ? &s->joint : NULL;
    }
}

/* ---- the tensors of a step -------------------------------------------------------------------------------- */

void pln_share_free_steps(pln_steps *t) {
    for (size_t i = 0; t->sum && i < t->tensors; i++) pleat_drop(t->sum[i]);
    free(t->sum);
    free(t->like);
    pln_pending_free(&t->pending);
    pln_exchange_free(t->exchange);
    *t = (pln_steps){0};
}

static bool is_like(const pleat_nn_share *s, const pln_steps *t, size_t moving, pleat_tensor *const *params) {
    return t->like && t->moving == moving && t->tensors == moving + 2 * s->norms &&
           !memcmp(t->like, params, moving * sizeof(pleat_tensor *));
}

/* Prepare for the parameters that move at this step. */
static pleat_status prepare(pleat_nn_share *s, pln_steps *t, size_t moving, pleat_tensor *const *params) {
    pln_share_free_steps(t);
    t->moving = moving;
    t->tensors = t->pending.width = moving + 2 * s->norms;
    t->like = calloc(t->tensors + 1, sizeof(pleat_tensor *));
    t->sum = calloc(t->tensors + 1, sizeof(pleat_tensor *));
    if (!t->like || !t->sum) return no_memory(s);
    for (size_t i = 0; i < moving; i++) t->like[i] = params[i];
    for (size_t i = 0; i < s->norms; i++) {
        t->like[moving + i] = s->statistics[i];
        t->like[moving + s->norms + i] = s->calls[i];
    }
    if (pln_share_ranks(s) == 1) return PLEAT_OK;
    for (size_t i = 0; i < t->tensors; i++) {
        t->sum[i] = pleat_hold(pleat_zeros_like(t->like[i]));
        if (pleat_is_poison(t->sum[i])) return pleat_error(s->ctx)->code;
    }
    t->exchange = pln_exchange_new(s->a.world, t->tensors, t->like);
    return t->exchange ? PLEAT_OK : PLEAT_ERR_MEMORY;
}

/* ---- a micro-batch ---------------------------------------------------------------------------------------- */

/* Tensor i of the next micro-batch. */
static bool put(void *user, size_t i, pleat_tensor *g) {
    pleat_nn_share *s = user;
    pln_steps *t = s->running;
    pleat_tensor *nodes[PLN_MOST_NODES];
    if (!pln_pending_put(&t->pending, i, g)) return false;
    if (!t->exchange || t->pending.count[i] < s->block.count) return true;
    return !pln_exchange_put(t->exchange, i, pln_pending_nodes(&t->pending, i, nodes), nodes);
}

/* Where norms are joint, all micro-batches have the same statistics, and micro-batch 0 alone tells them. */
static pleat_status put_norms(pleat_nn_share *s, size_t m, double weight) {
    bool recording = pleat_set_recording(s->ctx, false), done = true;
    size_t at = s->running->moving;
    if (s->a.sync_norms) weight = m == 0;
    for (size_t i = 0; i < s->norms && done; i++)
        done = put(s, at + i, pleat_scale(s->statistics[i], weight)) &&
               put(s, at + s->norms + i, pleat_scale(s->calls[i], weight));
    pleat_set_recording(s->ctx, recording);
    return done ? PLEAT_OK : pleat_error(s->ctx)->code ? pleat_error(s->ctx)->code : PLEAT_ERR_IO;
}

typedef struct lesson {
    pleat_nn_optimizer *opt;
    const pleat_nn_batch *b;
    pleat_nn_loss_fn *loss;
    void *user;
    size_t micro;
    uint64_t key;
} lesson;

static pleat_status learn(pleat_nn_share *s, const lesson *l, size_t m) {
    size_t at = m * l->micro, left = l->b->whole - at, n = left < l->micro ? left : l->micro;
    double weight = (double)n / (double)l->b->whole, metric = 0;
    pleat_nn_batch part = pln_loader_cut(s->a.train, l->b, at - l->b->first, n);
    *pleat_ctx_rng(s->ctx) = pln_share_stream(l->key, m);
    if (!s->a.sync_norms) reset_norms(s);
    pleat_tensor *loss = l->loss(l->user, &part, &metric);
    if (!loss) return pleat_fail(s->ctx, PLEAT_ERR_ARGUMENT, op, "the loss is NULL");
    double *means = s->means + 2 * m;
    means[0] = pleat_numel(loss) == 1 ? weight * pleat_item(loss) : NAN;
    means[1] = weight * metric;
    /* the statistics first: they are complete, and buckets of gradients leave behind them */
    pleat_status status = put_norms(s, m, weight);
    return status ? status : pln_optimizer_grads(l->opt, loss, weight, put, s);
}

typedef struct lessons {
    pleat_nn_share *s;
    const lesson *l;
    pleat_status status;
} lessons;

static void learn_one(void *user, size_t i) {
    lessons *all = user;
    pleat_scope scope = pleat_begin(all->s->ctx);
    pleat_status status = all->status ? all->status : learn(all->s, all->l, all->s->block.first + i);
    if (!all->status) all->status = status;
    pleat_end(scope);
}

/* All micro-batches of the block: one after the other, or in lockstep, where norms join them. */
static pleat_status learn_all(pleat_nn_share *s, const lesson *l) {
    pleat_rng *stream = pleat_ctx_rng(s->ctx), after = *stream;
    /* an error of before: the others must know, also if there is nothing to learn */
    lessons all = {.s = s, .l = l, .status = pleat_error(s->ctx)->code};
    s->echo = false;
    attach_norms(s, true);
    if (s->a.sync_norms) {
        s->joint.ctx = s->ctx, s->joint.w = s->a.world, s->joint.block = s->block, s->joint.all = s->batches;
        s->joint.arrived = 0, s->joint.failed = s->joint.over = false;
        reset_norms(s);
        pleat_status status = pleat_lockstep(s->ctx, s->block.count, learn_one, &all);
        if (!all.status) all.status = status;
        all.status = pln_joint_end(&s->joint, all.status, &s->echo);
    } else {
        for (size_t i = 0; i < s->block.count && !all.status; i++) learn_one(&all, i);
    }
    attach_norms(s, false);
    *stream = after;
    return all.status;
}

/* Update with the sums. What is wrong with them is so on all ranks, and each sees it by itself. */
static pleat_status update(const pleat_nn_share *s, const lesson *l) {
    pleat_status status = pln_optimizer_update(l->opt, s->running->sum);
    if (status && s->a.world) s->a.world->told = status != PLEAT_ERR_MEMORY;
    return status;
}

/* ---- a step ----------------------------------------------------------------------------------------------- */

/* The sums of all tensors of the step, here. */
static pleat_status add_all(pleat_nn_share *s, pleat_status status) {
    pln_steps *t = s->running;
    if (!t->exchange) {
        for (size_t i = 0; i < t->tensors && !status; i++) {
            t->sum[i] = pln_pending_sum(&t->pending, i);
            status = pleat_is_poison(t->sum[i]) ? PLEAT_ERR_MEMORY : PLEAT_OK;
        }
        return status;
    }
    if (s->a.world->broken) return pln_check_lost(s->a.world);
    bool check = (s->count + 1) % s->a.world->check == 0;
    pleat_status own = status;
    status = own ? pln_exchange_close(t->exchange) : PLEAT_OK;
    if (!status) status = pln_exchange_end(t->exchange, t->sum);
    return status ? status : pln_share_compare_notes(s, own, check);
}

static pleat_status take_norms(const pleat_nn_share *s) {
    pleat_tensor *const *sum = s->running->sum + s->running->moving;
    for (size_t i = 0; i < s->norms; i++) pln_take_statistics(s->norm[i], sum[i], sum[s->norms + i]);
    return pleat_error(s->ctx)->code;
}

/* Get memory for a step, unless the last one had as much. All ranks need it at the same steps, so they can agree on it. */
static pleat_status get_ready(pleat_nn_share *s, pln_steps *t, pleat_nn_optimizer *opt) {
    pleat_tensor **params;
    size_t moving = pln_optimizer_moving(opt, &params);
    if (s->batches <= s->means_room && is_like(s, t, moving, params)) return PLEAT_OK;
    pleat_status status = pln_share_make_room(s) ? prepare(s, t, moving, params) : no_memory(s);
    status = pln_agree(s->a.world, status);
    if (!status) return status;
    pln_share_free_steps(t);
    s->means_room = 0;
    return status;
}

static pleat_status make_step(pleat_nn_share *s, const lesson *l) {
    pln_steps *t = s->running;
    pleat_status status = get_ready(s, t, l->opt);
    t->pending.first = s->block.first;
    t->pending.all = s->batches;
    if (!status && t->exchange) status = pln_exchange_begin(t->exchange, s->batches);
    if (status) return status;
    status = add_all(s, learn_all(s, l));
    bool recording = pleat_set_recording(s->ctx, false);
    if (!status) status = update(s, l);
    if (!status) status = take_norms(s);
    pleat_set_recording(s->ctx, recording);
    for (size_t i = 0; !t->exchange && i < t->tensors; i++) t->sum[i] = NULL; /* the scope's */
    pln_pending_clear(&t->pending);
    if (!status) s->count++;
    return status;
}

uint64_t pln_share_draw(pleat_ctx *ctx) {
    uint64_t high = pleat_rng_u32(pleat_ctx_rng(ctx));
    return high << 32 | pleat_rng_u32(pleat_ctx_rng(ctx));
}

pleat_rng pln_share_stream(uint64_t key, size_t m) { return pleat_rng_new(key, MICRO_STREAM | m); }

static pln_steps *steps_of(pleat_nn_share *s, const pleat_nn_optimizer *opt) {
    size_t i = 0;
    while (i < s->parts && s->a.part[i].opt != opt) i++;
    return i < s->parts ? &s->step[i] : NULL;
}

/* Without a share: all of the batch at once. */
static pleat_status step_alone(pleat_nn_optimizer *opt, const lesson *l, double mean[2]) {
    pleat_ctx *ctx = pleat_nn_ctx(pln_optimizer_net(opt));
    pleat_scope scope = pleat_begin(ctx);
    pleat_tensor *loss = l->loss(l->user, l->b, &mean[1]);
    mean[0] = pleat_numel(loss) == 1 ? pleat_item(loss) : NAN;
    pleat_status status = pleat_nn_step(opt, loss);
    pleat_end(scope);
    return status;
}

static pleat_status step_with(pleat_nn_share *s, lesson *l, double mean[2]) {
    if (!l->b->whole)
        return pleat_fail(s->ctx, PLEAT_ERR_ARGUMENT, "step_shared",
                          "the batch must be of the share's loader");
    l->micro = pln_share_micro(s);
    l->key = pln_share_draw(s->ctx);
    s->running = steps_of(s, l->opt);
    s->batches = l->b->whole / l->micro + (l->b->whole % l->micro > 0);
    s->block = pln_block(pln_share_rank(s), pln_share_ranks(s), s->batches);
    pleat_scope scope = pleat_begin(s->ctx);
    pleat_status status = make_step(s, l);
    if (status) pln_pending_clear(&s->running->pending);
    pleat_end(scope);
    if (!status) pln_fold(NULL, s->batches, s->batches, 2, sizeof *s->means, s->means);
    for (size_t k = 0; k < 2 && !status; k++) mean[k] = s->means[k];
    return status;
}

pleat_status pleat_nn_step_shared(pleat_nn_optimizer *opt, const pleat_nn_batch *b, pleat_nn_loss_fn *loss,
                                  void *user, double *value, double *metric) {
    pleat_ctx *ctx = opt ? pleat_nn_ctx(pln_optimizer_net(opt)) : NULL;
    double mean[2] = {0};
    if (!opt || !b || !loss)
        return pleat_fail(ctx, PLEAT_ERR_ARGUMENT, "step_shared", "optimizer, batch and loss must be given");
    pleat_nn_share *s = pln_optimizer_share(opt);
    lesson l = {.opt = opt, .b = b, .loss = loss, .user = user};
    pleat_status status = s ? step_with(s, &l, mean) : step_alone(opt, &l, mean);
    if (value) *value = mean[0];
    if (metric) *metric = mean[1];
    return status;
}

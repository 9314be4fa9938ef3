/* Runs whose batches are cut into micro-batches: each has its gradient, its random stream and its statistics, and the tree
 * of accumulate.c adds them, in this process or across ranks. */
#include "share.h"

#include <inttypes.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "data/loader.h"
#include "elements.h"
#include "hash.h"
#include "module.h"
#include "mpi/joint.h"
#include "mpi/world.h"
#include "optimizer.h"

static const char op[] = "share";

/* Numbers of random streams, beside those of the loader. */
#define MICRO_STREAM ((uint64_t)3 << 62)

/* What a part's optimizer needs for its steps. The tensors of a step are the gradients of its moving parameters, then the
 * statistics of all norms, then their calls. */
typedef struct steps {
    size_t moving, tensors;
    pleat_tensor **like; /* [tensors]: parameters, statistics, calls; not owned */
    pleat_tensor **sum;  /* [tensors], held; with several ranks only */
    pln_pending pending;
    pln_exchange *exchange;
} steps;

/* A step's message to all ranks; then the losses and metrics of the sender's micro-batches, times their weights. */
typedef struct header {
    uint64_t hash; /* of all parameters and buffers before the step, if it is compared at this step */
    uint32_t stop; /* a signal has come */
    pleat_status status;
    char text[480];
} header;

struct pleat_nn_share {
    pleat_ctx *ctx;
    pleat_nn_share_args a;
    size_t parts, norms;
    pleat_nn_module **norm;
    pleat_tensor **statistics, **calls; /* of the norms, in the running micro-batch; held */
    steps step[PLEAT_NN_PARTS];
    size_t count;       /* steps so far, of all optimizers */
    bool stop, stopped; /* this rank is to stop, and since the last step all know that one is */
    double *means;      /* [micro-batches][2] of the step: loss and metric */
    char *mine, *all;   /* the messages */
    size_t means_room;  /* micro-batches */
    /* of the running step */
    steps *running;
    pln_node block; /* of its micro-batches */
    size_t batches;
    pln_joint joint;
    bool echo; /* this rank's error is only that another one has one */
};

static size_t ranks_of(const pleat_nn_share *s) { return pleat_nn_world_size(s->a.world); }
static size_t rank_of(const pleat_nn_share *s) { return pleat_nn_world_rank(s->a.world); }

static pleat_status no_memory(const pleat_nn_share *s) {
    return pleat_fail(s->ctx, PLEAT_ERR_MEMORY, op, "no memory for what a step needs");
}

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
    if (!s->norm || !s->statistics || !s->calls) return !no_memory(s);
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

static void free_steps(steps *t) {
    for (size_t i = 0; t->sum && i < t->tensors; i++) pleat_drop(t->sum[i]);
    free(t->sum);
    free(t->like);
    pln_pending_free(&t->pending);
    pln_exchange_free(t->exchange);
    *t = (steps){0};
}

static bool is_like(const pleat_nn_share *s, const steps *t, size_t moving, pleat_tensor *const *params) {
    return t->like && t->moving == moving && t->tensors == moving + 2 * s->norms &&
           !memcmp(t->like, params, moving * sizeof(pleat_tensor *));
}

/* Prepare for the parameters that move at this step. */
static pleat_status prepare(pleat_nn_share *s, steps *t, size_t moving, pleat_tensor *const *params) {
    free_steps(t);
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
    if (ranks_of(s) == 1) return PLEAT_OK;
    for (size_t i = 0; i < t->tensors; i++) {
        t->sum[i] = held(pleat_zeros_like(t->like[i]));
        if (!t->sum[i]) return pleat_error(s->ctx)->code;
    }
    t->exchange = pln_exchange_new(s->a.world, t->tensors, t->like);
    return t->exchange ? PLEAT_OK : PLEAT_ERR_MEMORY;
}

/* ---- a micro-batch ---------------------------------------------------------------------------------------- */

/* Tensor i of the next micro-batch. */
static bool put(void *user, size_t i, pleat_tensor *g) {
    pleat_nn_share *s = user;
    steps *t = s->running;
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
    pleat_status status = pln_optimizer_grads(l->opt, loss, weight, put, s);
    return status ? status : put_norms(s, m, weight);
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

/* ---- what ranks tell each other at each step ---------------------------------------------------------------- */

static uint64_t hash_tensor(uint64_t h, const pleat_tensor *t) {
    const void *elements = pln_const_elements(t);
    size_t bytes = pleat_numel(t) * (pleat_dtype_of(t) == PLEAT_F32 ? sizeof(float) : sizeof(double));
    return elements ? pln_hash(h, elements, bytes) : h;
}

static uint64_t hash_state(const pleat_nn_share *s) {
    uint64_t h = PLN_HASH_START;
    for (size_t i = 0; i < s->parts; i++)
        for (size_t k = 0; k < pleat_nn_state_count(s->a.part[i].net); k++)
            h = hash_tensor(h, pleat_nn_state(s->a.part[i].net, k));
    return h;
}

/* The first tensor of part i in which rank `other` differs from rank 0, or SIZE_MAX. */
static size_t first_difference(const pleat_nn_share *s, size_t i, size_t other, uint64_t *own,
                               uint64_t *all) {
    size_t n = pleat_nn_state_count(s->a.part[i].net);
    for (size_t k = 0; k < n; k++) own[k] = hash_tensor(PLN_HASH_START, pleat_nn_state(s->a.part[i].net, k));
    if (pln_gather_equal(s->a.world, own, all, n * sizeof *own)) return SIZE_MAX;
    for (size_t k = 0; k < n; k++)
        if (all[k] != all[other * n + k]) return k;
    return SIZE_MAX;
}

static pleat_status refuse_difference(const pleat_nn_share *s, size_t other) {
    char name[128] = "?";
    for (size_t i = 0, found = SIZE_MAX; i < s->parts && found == SIZE_MAX; i++) {
        size_t n = pleat_nn_state_count(s->a.part[i].net);
        uint64_t *own = calloc(n + 1, sizeof *own), *all = calloc(ranks_of(s) * n + 1, sizeof *all);
        if (own && all) found = first_difference(s, i, other, own, all);
        if (found != SIZE_MAX) pleat_nn_state_name(s->a.part[i].net, found, name, sizeof name);
        free(own);
        free(all);
    }
    s->a.world->told = true;
    return pleat_fail(
        s->ctx, PLEAT_ERR_CHECK, op,
        "rank %zu, step %zu: its parameters are no longer those of rank 0; the first that differs is \"%s\"",
        other, s->count + 1, name);
}

/* The lowest rank's error, with its rank. */
static pleat_status report(const pleat_nn_share *s, size_t rank, const header *h) {
    char whose[40];
    snprintf(whose, sizeof whose, "rank %zu", rank);
    pleat_clear_error(s->ctx);
    s->a.world->told = true;
    return pleat_fail(s->ctx, h->status, whose, "%s", h->text);
}

static size_t message_bytes(const pleat_nn_share *s, size_t rank) {
    return sizeof(header) + pln_block(rank, ranks_of(s), s->batches).count * 2 * sizeof(double);
}

/* Tell all ranks how this one has fared, and learn it of them. */
static pleat_status compare_notes(pleat_nn_share *s, pleat_status mine, uint64_t hash) {
    pleat_nn_world *w = s->a.world;
    header own = {.hash = hash, .stop = s->stop, .status = s->echo ? PLEAT_OK : mine};
    if (mine) snprintf(own.text, sizeof own.text, "%s", pleat_error(s->ctx)->text);
    memcpy(s->mine, &own, sizeof own);
    memcpy(s->mine + sizeof own, s->means + 2 * s->block.first, s->block.count * 2 * sizeof(double));
    for (size_t r = 0; r < ranks_of(s); r++) w->bytes[r] = message_bytes(s, r);
    w->told = false;
    pleat_status status = pln_gather(w, s->mine, s->all, w->bytes);
    const char *from = s->all;
    size_t other = 0;
    uint64_t first = 0;
    for (size_t r = 0; r < ranks_of(s) && !status; from += message_bytes(s, r++)) {
        header theirs;
        pln_node block = pln_block(r, ranks_of(s), s->batches);
        memcpy(&theirs, from, sizeof theirs);
        memcpy(s->means + 2 * block.first, from + sizeof theirs, block.count * 2 * sizeof(double));
        if (theirs.status) status = report(s, r, &theirs);
        s->stopped |= theirs.stop;
        if (r == 0) first = theirs.hash;
        if (theirs.hash != first && !other) other = r;
    }
    if (!status) status = mine; /* an echo, of what no rank has reported */
    return status || !other ? status : refuse_difference(s, other);
}

/* Update with the sums. What is wrong with them is so on all ranks, and each sees it by itself. */
static pleat_status update(const pleat_nn_share *s, const lesson *l) {
    pleat_status status = pln_optimizer_update(l->opt, s->running->sum);
    if (status && s->a.world) s->a.world->told = status != PLEAT_ERR_MEMORY;
    return status;
}

/* ---- a step ----------------------------------------------------------------------------------------------- */

static bool make_room(pleat_nn_share *s) {
    if (s->batches <= s->means_room) return true;
    size_t ranks = ranks_of(s), bytes;
    if (__builtin_mul_overflow(s->batches, 2 * sizeof(double), &bytes)) return false;
    double *means = realloc(s->means, bytes);
    if (means) s->means = means;
    char *mine = realloc(s->mine, sizeof(header) + bytes);
    if (mine) s->mine = mine;
    char *all = realloc(s->all, ranks * sizeof(header) + bytes);
    if (all) s->all = all;
    if (!means || !mine || !all) return false;
    s->means_room = s->batches;
    return true;
}

/* The sums of all tensors of the step, here. */
static pleat_status add_all(pleat_nn_share *s, pleat_status status) {
    steps *t = s->running;
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
    return status ? status : compare_notes(s, own, check ? hash_state(s) : 0);
}

static pleat_status take_norms(const pleat_nn_share *s) {
    pleat_tensor *const *sum = s->running->sum + s->running->moving;
    for (size_t i = 0; i < s->norms; i++) pln_take_statistics(s->norm[i], sum[i], sum[s->norms + i]);
    return pleat_error(s->ctx)->code;
}

/* Get memory for a step, unless the last one had as much. All ranks need it at the same steps, so they can agree on it. */
static pleat_status get_ready(pleat_nn_share *s, steps *t, pleat_nn_optimizer *opt) {
    pleat_tensor **params;
    size_t moving = pln_optimizer_moving(opt, &params);
    if (s->batches <= s->means_room && is_like(s, t, moving, params)) return PLEAT_OK;
    pleat_status status = make_room(s) ? prepare(s, t, moving, params) : no_memory(s);
    status = pln_agree(s->a.world, status);
    if (!status) return status;
    free_steps(t);
    s->means_room = 0;
    return status;
}

static pleat_status make_step(pleat_nn_share *s, const lesson *l) {
    steps *t = s->running;
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

static steps *steps_of(pleat_nn_share *s, const pleat_nn_optimizer *opt) {
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
    s->block = pln_block(rank_of(s), ranks_of(s), s->batches);
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

/* ---- making and freeing ------------------------------------------------------------------------------------ */

size_t pln_share_micro(const pleat_nn_share *s) {
    return s->a.micro ? s->a.micro : pleat_nn_loader_batch_size(s->a.train);
}

void pln_share_stop(pleat_nn_share *s) {
    s->stop = true;
    if (ranks_of(s) == 1) s->stopped = true;
}
bool pln_share_stopped(const pleat_nn_share *s) { return s->stopped; }

/* What must be the same on all ranks. */
typedef struct identity {
    char build[200], options[1024];
    uint64_t data, networks, optimizers, steps, world;
} identity;

/* Which state of each parameter there is to copy, and whether it moves. */
static uint64_t hash_optimizers(const pleat_nn_share *s) {
    char unused[1];
    uint64_t h = PLN_HASH_START;
    for (size_t i = 0; i < s->parts; i++) {
        const pleat_nn_part *p = &s->a.part[i];
        h = pln_hash(h, (const uint64_t[]){p->opt != NULL, p->ema != NULL}, 2 * sizeof(uint64_t));
        for (size_t k = 0; p->opt && k < pln_optimizer_states(p->opt); k++)
            h = pln_hash_text(h, pln_optimizer_state_name(p->opt, k));
        for (size_t k = 0; k < pleat_nn_param_count(p->net); k++) {
            pln_found found = pln_find(p->net, PLN_PARAMS, k, unused, sizeof unused);
            h = pln_hash_text(h, pleat_nn_is_frozen(found.owner) ? "frozen" : "");
        }
    }
    return h;
}

static uint64_t hash_networks(const pleat_nn_share *s) {
    char name[128];
    uint64_t h = PLN_HASH_START;
    for (size_t i = 0; i < s->parts; i++)
        for (size_t k = 0; k < pleat_nn_state_count(s->a.part[i].net); k++) {
            const pleat_tensor *t = pleat_nn_state(s->a.part[i].net, k);
            h = pln_hash_text(h, pleat_nn_state_name(s->a.part[i].net, k, name, sizeof name));
            h = pln_hash(h, pleat_shape(t), pleat_rank(t) * sizeof(size_t));
        }
    return h;
}

static pleat_status refuse_rank(const pleat_nn_share *s, size_t rank, const identity *zero,
                                const identity *other) {
    const char *what = zero->data != other->data               ? "other training data, or another loader,"
                       : zero->networks != other->networks     ? "another network"
                       : zero->optimizers != other->optimizers ? "another optimizer, ema, or frozen part"
                       : zero->world != other->world           ? "another .bucket or .check of its world"
                                                               : "another length of micro-batches";
    char detail[400] = "";
    if (strcmp(zero->build, other->build)) {
        what = "another build";
        snprintf(detail, sizeof detail, ": \"%s\" and \"%s\"", other->build, zero->build);
    } else if (strcmp(zero->options, other->options)) {
        what = "other options";
        snprintf(detail, sizeof detail, ": \"%.150s\" and \"%.150s\"", other->options, zero->options);
    }
    s->a.world->told = true;
    return pleat_fail(s->ctx, PLEAT_ERR_ARGUMENT, op, "rank %zu has %s than rank 0%s", rank, what, detail);
}

static pleat_status compare_ranks(const pleat_nn_share *s) {
    identity own = {
        .networks = hash_networks(s), .optimizers = hash_optimizers(s), .steps = pln_share_micro(s)};
    pleat_status status = PLEAT_OK;
    if (ranks_of(s) == 1) return status;
    identity *all = calloc(ranks_of(s), sizeof own);
    if (!all) return pln_lose(s->a.world, rank_of(s), "has no memory left");
    own.data = pln_loader_hash(s->a.train);
    own.world =
        pln_hash(PLN_HASH_START, (const size_t[]){s->a.world->bucket, s->a.world->check}, 2 * sizeof(size_t));
    snprintf(own.build, sizeof own.build, "%s", pleat_build_info());
    snprintf(own.options, sizeof own.options, "%s", s->a.options ? s->a.options : "");
    own.steps = own.steps << 1 | s->a.sync_norms;
    status = pln_gather_equal(s->a.world, &own, all, sizeof own);
    for (size_t r = 1; r < ranks_of(s) && !status; r++)
        if (memcmp(&all[r], &all[0], sizeof own)) status = refuse_rank(s, r, &all[0], &all[r]);
    free(all);
    return status;
}

static pleat_status send_tensor(const pleat_nn_share *s, pleat_tensor *t) {
    size_t bytes = pleat_numel(t) * (pleat_dtype_of(t) == PLEAT_F32 ? sizeof(float) : sizeof(double));
    void *elements = pleat_write_now(t, "a copy of rank 0's state");
    return elements ? pln_broadcast(s->a.world, elements, bytes) : pleat_error(s->ctx)->code;
}

static pleat_status send_optimizer(const pleat_nn_share *s, const pleat_nn_part *p) {
    double lr = pleat_nn_lr(p->opt);
    pleat_status status = pln_broadcast(s->a.world, &lr, sizeof lr);
    if (!status) pleat_nn_set_lr(p->opt, lr);
    for (size_t k = 0; k < pleat_nn_param_count(p->net) && !status; k++) {
        double done = pln_optimizer_steps(p->opt, k);
        status = pln_broadcast(s->a.world, &done, sizeof done);
        pln_optimizer_set_steps(p->opt, k, done);
        for (size_t j = 0; j < pln_optimizer_states(p->opt) && !status; j++)
            status = send_tensor(s, pln_optimizer_state(p->opt, k, j));
    }
    return status;
}

static pleat_status send_part(const pleat_nn_share *s, const pleat_nn_part *p) {
    pleat_status status = PLEAT_OK;
    for (size_t k = 0; k < pleat_nn_state_count(p->net) && !status; k++) {
        status = send_tensor(s, pleat_nn_state(p->net, k));
        if (p->ema && !status) status = send_tensor(s, pln_ema_state(p->ema, k));
    }
    return status || !p->opt ? status : send_optimizer(s, p);
}

static pleat_status send_state(const pleat_nn_share *s) {
    pleat_status status = PLEAT_OK;
    if (ranks_of(s) == 1) return status;
    for (size_t i = 0; i < s->parts && !status; i++) status = send_part(s, &s->a.part[i]);
    return status ? status : pln_broadcast(s->a.world, pleat_ctx_rng(s->ctx), sizeof(pleat_rng));
}

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
    pln_loader_deal(s->a.train, (pln_dealing){pln_share_micro(s), rank_of(s), ranks_of(s)});
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
    if (!status) status = compare_ranks(s);
    if (!status) status = send_state(s);
    if (!status) return s;
    pleat_nn_share_free(s);
    return NULL;
}

void pleat_nn_share_free(pleat_nn_share *s) {
    if (!s) return;
    for (size_t i = 0; i < s->parts; i++) {
        if (s->a.part[i].opt && pln_optimizer_share(s->a.part[i].opt) == s)
            pln_optimizer_set_share(s->a.part[i].opt, NULL);
        free_steps(&s->step[i]);
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

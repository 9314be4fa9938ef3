/* What ranks tell each other of a shared run: what it is made of, rank 0's state, and at each step how they have fared. */
#include "share.h"

#include <stdlib.h>
#include <string.h>

#include "data/loader.h"
#include "elements.h"
#include "hash.h"
#include "module.h"
#include "optimizer.h"

static const char op[] = "share";

/* A step's message to all ranks; then the losses and metrics of the sender's micro-batches, times their weights. */
typedef struct header {
    uint64_t hash; /* of all parameters and buffers before the step, if it is compared at this step */
    uint32_t stop; /* a signal has come */
    pleat_status status;
    char text[480];
} header;

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
        uint64_t *own = calloc(n + 1, sizeof *own), *all = calloc(pln_share_ranks(s) * n + 1, sizeof *all);
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
    return sizeof(header) + pln_block(rank, pln_share_ranks(s), s->batches).count * 2 * sizeof(double);
}

bool pln_share_make_room(pleat_nn_share *s) {
    if (s->batches <= s->means_room) return true;
    size_t ranks = pln_share_ranks(s), bytes;
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

/* Tell all ranks how this one has fared, and learn it of them. */
pleat_status pln_share_compare_notes(pleat_nn_share *s, pleat_status mine, bool check) {
    pleat_nn_world *w = s->a.world;
    header own = {.hash = check ? hash_state(s) : 0, .stop = s->stop, .status = s->echo ? PLEAT_OK : mine};
    if (mine) snprintf(own.text, sizeof own.text, "%s", pleat_error(s->ctx)->text);
    memcpy(s->mine, &own, sizeof own);
    memcpy(s->mine + sizeof own, s->means + 2 * s->block.first, s->block.count * 2 * sizeof(double));
    for (size_t r = 0; r < pln_share_ranks(s); r++) w->bytes[r] = message_bytes(s, r);
    w->told = false;
    pleat_status status = pln_gather(w, s->mine, s->all, w->bytes);
    const char *from = s->all;
    size_t other = 0;
    uint64_t first = 0;
    for (size_t r = 0; r < pln_share_ranks(s) && !status; from += message_bytes(s, r++)) {
        header theirs;
        pln_node block = pln_block(r, pln_share_ranks(s), s->batches);
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

/* ---- before the first step ------------------------------------------------------------------------------------ */

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
                                                               : "another .micro or .sync_norms";
    char detail[400] = "";
    if (strcmp(zero->build, other->build)) {
        what = "another build";
        snprintf(detail, sizeof detail, ": \"%.180s\" and \"%.180s\"", other->build, zero->build);
    } else if (strcmp(zero->options, other->options)) {
        what = "other options";
        snprintf(detail, sizeof detail, ": \"%.150s\" and \"%.150s\"", other->options, zero->options);
    }
    s->a.world->told = true;
    return pleat_fail(s->ctx, PLEAT_ERR_ARGUMENT, op, "rank %zu has %s than rank 0%s", rank, what, detail);
}

pleat_status pln_share_compare_ranks(const pleat_nn_share *s) {
    identity own = {
        .networks = hash_networks(s), .optimizers = hash_optimizers(s), .steps = pln_share_micro(s)};
    pleat_status status = PLEAT_OK;
    if (pln_share_ranks(s) == 1) return status;
    identity *all = calloc(pln_share_ranks(s), sizeof own);
    if (!all) return pln_lose(s->a.world, pln_share_rank(s), "has no memory left");
    own.data = pln_loader_hash(s->a.train);
    own.world =
        pln_hash(PLN_HASH_START, (const size_t[]){s->a.world->bucket, s->a.world->check}, 2 * sizeof(size_t));
    snprintf(own.build, sizeof own.build, "%s", pleat_build_info());
    snprintf(own.options, sizeof own.options, "%s", s->a.options ? s->a.options : "");
    own.steps = own.steps << 1 | s->a.sync_norms;
    status = pln_gather_equal(s->a.world, &own, all, sizeof own);
    for (size_t r = 1; r < pln_share_ranks(s) && !status; r++)
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

pleat_status pln_share_send_state(const pleat_nn_share *s) {
    pleat_status status = PLEAT_OK;
    if (pln_share_ranks(s) == 1) return status;
    for (size_t i = 0; i < s->parts && !status; i++) status = send_part(s, &s->a.part[i]);
    return status ? status : pln_broadcast(s->a.world, pleat_ctx_rng(s->ctx), sizeof(pleat_rng));
}

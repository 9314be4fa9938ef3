/* share.h: runs whose batches are cut into micro-batches: making (share.c), a step (share_step.c), what ranks tell each other
 * (share_ranks.c). */
#ifndef PLN_SHARE_H
#define PLN_SHARE_H

#include "accumulate.h"
#include "mpi/joint.h"
#include "mpi/world.h"
#include "pleat_nn.h"

/* What a part's optimizer needs for its steps. The tensors of a step are the gradients of its moving parameters, then the
 * statistics of all norms, then their calls. */
typedef struct pln_steps {
    size_t moving, tensors;
    pleat_tensor **like; /* [tensors]: parameters, statistics, calls; not owned */
    pleat_tensor **sum;  /* [tensors], held; with several ranks only */
    pln_pending pending;
    pln_exchange *exchange;
} pln_steps;

struct pleat_nn_share {
    pleat_ctx *ctx;
    pleat_nn_share_args a;
    size_t parts, norms;
    pleat_nn_module **norm;
    pleat_tensor **statistics, **calls; /* of the norms, in the running micro-batch; held */
    pln_steps step[PLEAT_NN_PARTS];
    size_t count;       /* steps so far, of all optimizers */
    bool stop, stopped; /* this rank is to stop, and since the last step all know that one is */
    double *means;      /* [micro-batches][2] of the step: loss and metric */
    char *mine, *all;   /* the messages */
    size_t means_room;  /* micro-batches */
    /* of the running step */
    pln_steps *running;
    pln_node block; /* of its micro-batches */
    size_t batches;
    pln_joint joint;
    bool echo; /* this rank's error is only that another one has one */
};

static inline size_t pln_share_ranks(const pleat_nn_share *s) { return pleat_nn_world_size(s->a.world); }
static inline size_t pln_share_rank(const pleat_nn_share *s) { return pleat_nn_world_rank(s->a.world); }

/* Items of a micro-batch. */
size_t pln_share_micro(const pleat_nn_share *s);
/* This rank is to stop, behind a step at which all ranks can: from then on pln_share_stopped is true on all of them. */
void pln_share_stop(pleat_nn_share *s);
bool pln_share_stopped(const pleat_nn_share *s);
/* The stream of random numbers of micro-batch, or batch, m of a step that has drawn `key` from the context's stream. */
pleat_rng pln_share_stream(uint64_t key, size_t m);
uint64_t pln_share_draw(pleat_ctx *ctx);

/* ---- between its files ---- */

void pln_share_free_steps(pln_steps *t);
/* Room for the losses and messages of a step of s->batches micro-batches. */
bool pln_share_make_room(pleat_nn_share *s);
/* Tell all ranks how this one has fared, `mine`, and its losses; learn theirs. The error of the lowest rank that has one, for all.
 * check: parameters must be equal. */
pleat_status pln_share_compare_notes(pleat_nn_share *s, pleat_status mine, bool check);
/* Are all ranks the same, in what a run is made of? */
pleat_status pln_share_compare_ranks(const pleat_nn_share *s);
/* Rank 0's parameters, buffers, optimizers' states, averages and random stream for all. */
pleat_status pln_share_send_state(const pleat_nn_share *s);

#endif

/* pleat_nn_world.h: training on several processes, on one machine or many, with the bits of one. Part of
 * pleat_nn.h.
 *
 *     pleat_nn_world *world = pleat_nn_world_new(ctx, .messages = stderr);
 *     pleat_nn_fit(&run, .part = {{"net", net, .opt = adam}}, .train = train, .epochs = 10, .loss = loss,
 *                  .user = net, .folder = "out", .world = world, .micro = 16);
 *     pleat_nn_world_free(world);
 *
 *     mpirun -n 4 ./program          four ranks; ./program is one
 *
 * The definition. The items of a batch are cut into micro-batches of `micro` items, the last of which may be
 * smaller. Micro-batch m of M has the gradient g[m] of n[m]/N times its loss, with n[m] of the batch's N items,
 * and these are added along a fixed binary tree over m: of five ((g[0] + g[1]) + (g[2] + g[3])) + g[4]. Losses,
 * metrics and the statistics of batch norms are averaged in the same way. Random numbers within a loss depend on
 * the run, the step and m. So `micro` is part of what a run is, as its batch is; the number of ranks is not: any
 * number of ranks and threads, one included, and any change of it at a resume, ends in the same bits. Rank k of
 * n owns a block of M/n micro-batches; where M < n, some ranks have none.
 *
 * Past that: a step has at most M ranks at work, and an optimizer needs small steps. More machines than
 * batch / micro have nothing to do.
 *
 * nn/mpi/README.md says how to start a run on two machines or a cluster, and what it costs. */
#ifndef PLEAT_NN_WORLD_H
#define PLEAT_NN_WORLD_H

#include "pleat_nn_train.h"

#ifdef __cplusplus
extern "C" {
#endif

/* ---- ranks ------------------------------------------------------------------------------------------- */

/* The processes of a run: ranks 0 to size-1. NULL counts as a world of one rank. */
typedef struct pleat_nn_world pleat_nn_world;

typedef struct pleat_nn_world_args {
    int unset_;
    pleat_ctx *ctx; /* errors go there */
    /* Seconds that a rank may keep the others waiting before the run ends; default 60. Reading data,
     * validation and writing a checkpoint count. */
    double timeout;
    /* One line if a rank dies or is silent, written by the lowest rank that is left; NULL: none */
    FILE *messages;
    /* Bytes of gradients that travel together, in whole tensors; default an eighth of all, from 64 KiB to 1 MiB. */
    size_t bucket;
    size_t check; /* steps between two comparisons of all parameters; default 100 */
} pleat_nn_world_args;

/* Join the processes that were started together by mpirun, mpiexec or srun. Without one of them, or without MPI
 * in the build, the world is this process alone, and MPI is not started. NULL after an error. MPI is started,
 * with MPI_THREAD_SERIALIZED, unless the program has done so. One world at a time. */
pleat_nn_world *pleat_nn_world_new_with(pleat_nn_world_args args);
#define pleat_nn_world_new(...) \
    pleat_nn_world_new_with(PLEAT_OPTIONS(pleat_nn_world_args, .ctx = __VA_ARGS__))
/* Leave, on all ranks. After the loss of a rank MPI_Abort ends the processes that are left, a silent one
 * included: this call does not return then, unless MPI was started by the program. */
void pleat_nn_world_free(pleat_nn_world *w);

size_t pleat_nn_world_rank(const pleat_nn_world *w);
size_t pleat_nn_world_size(const pleat_nn_world *w);
/* The number of ranks on this machine. */
size_t pleat_nn_world_neighbours(const pleat_nn_world *w);
/* Is it for this rank to print the context's error? True for rank 0, and for a rank whose error no other rank knows of;
 * not for what .messages has said. */
bool pleat_nn_world_speaks(const pleat_nn_world *w);

/* What communication has cost this rank. */
typedef struct pleat_nn_traffic {
    size_t steps;
    double sent;   /* bytes */
    double waited; /* seconds in which the rank did nothing but wait for gradients, */
    double busy;   /* of those between the first gradient's departure and the last one's arrival */
} pleat_nn_traffic;
pleat_nn_traffic pleat_nn_world_traffic(const pleat_nn_world *w);

/* ---- your own loops ---------------------------------------------------------------------------------- */

/* Networks and loaders whose batches are cut into micro-batches and shared among ranks. pleat_nn_fit makes one
 * for itself. */
typedef struct pleat_nn_share pleat_nn_share;

typedef struct pleat_nn_share_args {
    int unset_;
    pleat_nn_world *world; /* NULL: one rank */
    size_t micro;          /* items of a micro-batch; default: all of a batch */
    /* All networks whose parameters or batch norms change; of the optimizers that are given only
     * pleat_nn_step_shared makes steps, until the share is freed. */
    pleat_nn_part part[PLEAT_NN_PARTS];
    pleat_nn_loader *train; /* deals each rank its part of a batch: .n of .whole items, from .first on */
    /* Batch norms in training use mean and variance of the whole batch, and not of each micro-batch; gradients
     * flow through them. As torch.nn.SyncBatchNorm. All micro-batches of a rank are then in memory at once. */
    bool sync_norms;
    const char *options; /* the run's options in one line, compared; NULL: not compared */
} pleat_nn_share_args;

/* Compares build, data, options, networks and optimizers of all ranks, and copies rank 0's parameters, buffers,
 * optimizers' states, averages and random stream to the others. NULL after an error: a difference, with its rank and what
 * differs; a rank that was lost. The same for all ranks. */
pleat_nn_share *pleat_nn_share_new_with(pleat_nn_share_args args);
#define pleat_nn_share_new(...) pleat_nn_share_new_with(PLEAT_OPTIONS(pleat_nn_share_args, __VA_ARGS__))
/* Before its loader, optimizers and networks; NULL is allowed. */
void pleat_nn_share_free(pleat_nn_share *s);

/* The loss of a micro-batch, a mean over its items, and a metric of it, 0 before the call. */
typedef pleat_tensor *pleat_nn_loss_fn(void *user, const pleat_nn_batch *b, double *metric);

/* One step of opt with the loss of a batch: `loss` is called for each micro-batch that this rank owns. *value
 * and *metric, which may be NULL, are the means over the whole batch, the same on all ranks. Errors are those of
 * pleat_nn_step on any rank, which then all ranks report as that rank's, and no parameter has changed anywhere; a
 * rank that was lost; parameters that are no longer equal, with rank, step and name. Without a share the batch is
 * one micro-batch, and the step is pleat_nn_step's: so a loop can be written once for both. */
pleat_status pleat_nn_step_shared(pleat_nn_optimizer *opt, const pleat_nn_batch *b, pleat_nn_loss_fn *loss,
                                  void *user, double *value, double *metric);

#ifdef __cplusplus
}
#endif
#endif

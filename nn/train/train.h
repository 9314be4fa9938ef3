/* The struct of a training run, and its parts. */
#ifndef PLN_TRAIN_H
#define PLN_TRAIN_H

#include "pleat_nn.h"

/* A run in progress. "kept": stored in checkpoints. */
typedef struct pln_fit {
    const pleat_nn_fit_args *a;
    pleat_ctx *ctx;
    pleat_nn_run *run;           /* kept */
    double base[PLEAT_NN_PARTS]; /* kept: the optimizers' rates before the schedule */
    size_t batch;                /* kept: the next batch of this epoch */
    size_t step_end;             /* the batch behind the last of this step, */
    double step_items;           /* and the items of the step's batches */
    double sum_loss, sum_metric; /* kept: over the batches of this epoch so far */
    double best_value;           /* kept: the value of epoch run->best */
    size_t bad;                  /* kept: epochs since the best one */
    size_t room;                 /* allocated epochs of run->epoch */
    pleat_nn_share *share;       /* of a run that is cut into micro-batches, else NULL */
    char *path[4]; /* of metrics.csv, checkpoint.safetensors, best.safetensors and the lock; NULL: no files */
    int lock;      /* descriptor of the folder's lock; -1: not locked, or the file system has no locks */
} pln_fit;

enum { PLN_METRICS, PLN_CHECKPOINT, PLN_BEST, PLN_LOCK };

/* ---- signals ---- */

/* A run's hold on SIGINT and SIGTERM. */
typedef struct pln_signals {
    bool holding;
    unsigned seen; /* that had arrived before */
} pln_signals;

/* Count SIGINT and SIGTERM in place of what they do, unless they are ignored anyway, until the last run lets go. */
void pln_signals_hold(pln_signals *s);
/* Has one come? Then this run lets go, and its caller is to be told. */
bool pln_signals_came(pln_signals *s);
/* Let go. The last run to do so raises again what came and was told to nobody. */
void pln_signals_release(pln_signals *s);

/* ---- what stays on disk ---- */

/* Create and lock the folder, and set its paths. */
pleat_status pln_fit_folder(pln_fit *f);
void pln_fit_leave(pln_fit *f);
/* Write all epochs so far to metrics.csv. */
pleat_status pln_fit_write_metrics(const pln_fit *f);
/* Write the parameters of part[0], or their average if it has an ema. */
pleat_status pln_fit_write_best(const pln_fit *f);
pleat_status pln_fit_save(const pln_fit *f);
/* Load the folder's checkpoint; does nothing if there is none. */
pleat_status pln_fit_resume(pln_fit *f);
/* With several ranks: rank 0's place in the run, for all. */
pleat_status pln_fit_send(pln_fit *f);
/* Make room for n epochs. */
pleat_status pln_fit_make_room(pln_fit *f, size_t n);

/* ---- what is said on .progress ---- */

/* Where a resume begins. */
void pln_fit_say_begin(const pln_fit *f);
void pln_fit_say_epoch(const pln_fit *f, const pleat_nn_epoch *e);
/* How a run ended that began behind so many steps. */
void pln_fit_say_end(const pln_fit *f, size_t steps);

#endif

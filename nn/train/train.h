/* What the files of a training run share. */
#ifndef PLN_TRAIN_H
#define PLN_TRAIN_H

#include "pleat_nn.h"

/* A run under way. What a checkpoint keeps of it is marked. */
typedef struct pln_fit {
    const pleat_nn_fit_args *a;
    pleat_ctx *ctx;
    pleat_nn_run *run;           /* kept */
    double base[PLEAT_NN_PARTS]; /* kept: the optimizers' rates before the schedule */
    size_t batch;                /* kept: of this epoch, the next one */
    double sum_loss, sum_metric; /* kept: over this epoch's batches so far */
    double best_value;           /* kept: of run->best */
    size_t bad;                  /* kept: epochs since then */
    size_t room;                 /* epochs in run->epoch */
    char *path[4]; /* of metrics.csv, checkpoint.safetensors, best.safetensors and the lock; NULL: nowhere */
    int lock;      /* held while the run writes into its folder; -1: it is not, or cannot be */
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

/* The folder, which is this run's alone from then on, and its paths. */
pleat_status pln_fit_folder(pln_fit *f);
void pln_fit_leave(pln_fit *f);
/* All epochs so far as metrics.csv. */
pleat_status pln_fit_write_metrics(const pln_fit *f);
/* part[0]'s parameters, averaged if it has an ema. */
pleat_status pln_fit_write_best(const pln_fit *f);
pleat_status pln_fit_save(const pln_fit *f);
/* Take up the folder's checkpoint; does nothing if there is none. */
pleat_status pln_fit_resume(pln_fit *f);
/* Make room for n epochs. */
pleat_status pln_fit_make_room(pln_fit *f, size_t n);

#endif

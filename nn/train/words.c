/* What a run says on .progress: where it begins, each epoch, and how it ends. */

#include "files/numbers.h"
#include "train/train.h"

/* The steps that so many batches of an epoch make. */
static size_t steps_of(const pln_fit *f, size_t batches) {
    size_t each = f->a->accumulate ? f->a->accumulate : 1;
    return batches / each + (batches % each != 0);
}

void pln_fit_say_begin(const pln_fit *f) {
    const pleat_nn_run *run = f->run;
    FILE *out = f->a->progress;
    if (!out || !f->a->resume) return;
    if (!run->steps)
        fprintf(out, "there is no checkpoint in %s: a new run\n", f->a->folder);
    else if (run->epochs >= f->a->epochs)
        fprintf(out, "already finished, %zu of %zu epochs: nothing to do\n", run->epochs, f->a->epochs);
    else
        fprintf(out, "resumed at epoch %zu, step %zu of %zu: %s\n", run->epochs + 1,
                steps_of(f, f->batch) + 1, steps_of(f, pleat_nn_loader_batches(f->a->train)),
                f->path[PLN_CHECKPOINT]);
    fflush(out);
}

void pln_fit_say_epoch(const pln_fit *f, const pleat_nn_epoch *e) {
    FILE *out = f->a->progress;
    const char *metric = f->a->metric_name;
    if (!out) return;
    fprintf(out, "epoch %zu/%zu: train loss %s", f->run->epochs, f->a->epochs, pln_rounded(e->loss, 5).s);
    if (metric) fprintf(out, ", train %s %s", metric, pln_rounded(e->metric, 5).s);
    if (f->a->valid) fprintf(out, ", valid loss %s", pln_rounded(e->valid_loss, 5).s);
    if (f->a->valid && metric) fprintf(out, ", valid %s %s", metric, pln_rounded(e->valid_metric, 5).s);
    fprintf(out, ", lr %s, %s s, %s items/s%s\n", pln_rounded(e->lr, 3).s, pln_fixed(e->seconds, 1).s,
            pln_fixed(e->images_per_second, 0).s,
            f->run->best + 1 == f->run->epochs ? "" : " (not the best)");
    fflush(out);
}

static void say_interrupted(const pln_fit *f) {
    FILE *out = f->a->progress;
    if (f->batch)
        fprintf(out, "interrupted in epoch %zu, after step %zu of %zu; ", f->run->epochs + 1,
                steps_of(f, f->batch), steps_of(f, pleat_nn_loader_batches(f->a->train)));
    else
        fprintf(out, "interrupted after epoch %zu of %zu; ", f->run->epochs, f->a->epochs);
    if (f->path[PLN_CHECKPOINT])
        fprintf(out, "checkpoint written: %s\n", f->path[PLN_CHECKPOINT]);
    else
        fprintf(out, "no folder, so nothing was written\n");
}

void pln_fit_say_end(const pln_fit *f, size_t steps) {
    const pleat_nn_run *run = f->run;
    FILE *out = f->a->progress;
    if (!out) return;
    if (run->outcome == PLEAT_NN_INTERRUPTED)
        say_interrupted(f);
    else if (run->outcome == PLEAT_NN_STOPPED)
        fprintf(out, "stopped after epoch %zu: none was better than epoch %zu\n", run->epochs, run->best + 1);
    else if (run->steps > steps)
        fprintf(out, "finished %zu epochs; the best is epoch %zu%s%s\n", run->epochs, run->best + 1,
                f->path[PLN_BEST] ? ": " : "", f->path[PLN_BEST] ? f->path[PLN_BEST] : "");
    fflush(out);
}

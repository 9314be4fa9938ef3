/* The training loop: epochs of steps, validation, and what is written about them. */
#include "train/train.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "files/numbers.h"
#include "mpi/world.h"
#include "optimizer.h"
#include "share.h"

static const char op[] = "fit";

static size_t parts_of(const pleat_nn_fit_args *a) {
    size_t n = 0;
    while (n < PLEAT_NN_PARTS && a->part[n].net) n++;
    return n;
}

static void set_mode(const pleat_nn_fit_args *a, bool training) {
    for (size_t i = 0; i < parts_of(a); i++) pleat_nn_set_training(a->part[i].net, training);
}

/* ---- validation -------------------------------------------------------------------------------------------- */

/* Loss and metric of the batches of a block, times their items, and the items: row[3] for each. With `key` each batch has a
 * random stream of its own. */
static pleat_status evaluate_block(const pleat_nn_fit_args *a, pleat_ctx *ctx, pleat_nn_loader *loader,
                                   pln_node block, const uint64_t *key, double (*row)[3]) {
    pleat_nn_batch b;
    pleat_nn_loader_start(loader, 0, block.first);
    for (size_t i = 0; i < block.count; i++) {
        pleat_scope scope = pleat_begin(ctx);
        double metric = 0;
        if (key) *pleat_ctx_rng(ctx) = pln_share_stream(*key, block.first + i);
        if (pleat_nn_loader_next(loader, &b)) {
            double loss = pleat_item(a->loss(a->user, &b, &metric)), n = (double)b.n;
            row[i][0] = loss * n, row[i][1] = metric * n, row[i][2] = n;
        }
        pleat_end(scope);
        if (pleat_error(ctx)->code) return pleat_error(ctx)->code;
    }
    return PLEAT_OK;
}

/* Each rank has a block of the batches; the sums are over all, in their order. */
static pleat_status evaluate(const pleat_nn_fit_args *a, pleat_ctx *ctx, pleat_nn_loader *loader,
                             double sums[2]) {
    size_t ranks = pleat_nn_world_size(a->world), rank = pleat_nn_world_rank(a->world);
    size_t batches = pleat_nn_loader_batches(loader);
    pln_node block = pln_block(rank, ranks, batches);
    double images = 0, (*row)[3] = calloc(batches + 1, sizeof *row);
    bool keyed = a->world || a->micro;
    uint64_t key = keyed ? pln_share_draw(ctx) : 0;
    pleat_rng after = *pleat_ctx_rng(ctx);
    pleat_status status = row ? evaluate_block(a, ctx, loader, block, keyed ? &key : NULL, row + block.first)
                              : pleat_fail(ctx, PLEAT_ERR_MEMORY, "evaluate",
                                           "no memory for the losses of %zu batches", batches);
    if (keyed) *pleat_ctx_rng(ctx) = after;
    status = pln_agree(a->world, status);
    if (!status && ranks > 1) status = pln_gather_blocks(a->world, row, sizeof *row, batches);
    sums[0] = sums[1] = 0;
    for (size_t i = 0; i < batches && !status; i++) {
        sums[0] += row[i][0], sums[1] += row[i][1];
        images += row[i][2];
    }
    for (size_t i = 0; i < 2; i++) sums[i] /= images;
    free(row);
    return status;
}

pleat_status pleat_nn_evaluate(const pleat_nn_fit_args *a, pleat_nn_loader *loader, double *loss,
                               double *metric) {
    double sums[2] = {NAN, NAN};
    bool training[PLEAT_NN_PARTS];
    pleat_ctx *ctx = pleat_nn_ctx(a->part[0].net);
    if (!ctx || !loader || !a->loss)
        return pleat_fail(ctx, PLEAT_ERR_ARGUMENT, "evaluate", "part[0].net, loader and .loss must be given");
    for (size_t i = 0; i < parts_of(a); i++) training[i] = pleat_nn_is_training(a->part[i].net);
    bool recording = pleat_set_recording(ctx, false);
    set_mode(a, false);
    pleat_status status = evaluate(a, ctx, loader, sums);
    for (size_t i = 0; i < parts_of(a); i++) pleat_nn_set_training(a->part[i].net, training[i]);
    pleat_set_recording(ctx, recording);
    if (loss) *loss = sums[0];
    if (metric) *metric = sums[1];
    return status;
}

/* ---- a step ------------------------------------------------------------------------------------------------ */

static void set_rates(const pln_fit *f) {
    for (size_t i = 0; i < parts_of(f->a); i++)
        if (f->a->part[i].opt)
            pleat_nn_set_lr(f->a->part[i].opt,
                            pleat_nn_schedule_lr(&f->a->schedule, f->base[i], f->run->steps));
}

static pleat_status not_finite(const pln_fit *f, double loss) {
    return pleat_fail(
        f->ctx, PLEAT_ERR_ARGUMENT, op,
        "epoch %zu, step %zu (batch %zu): the loss is %s; try a smaller learning rate or clip_norm%s",
        f->run->epochs + 1, f->run->steps + 1, f->batch + 1, pln_rounded(loss, 6).s,
        f->path[PLN_CHECKPOINT] ? "; the last checkpoint is as it was" : "");
}

/* Decide which batches make the next step. */
static void begin_step(pln_fit *f) {
    const pleat_nn_loader *l = f->a->train;
    size_t left = pleat_nn_loader_batches(l) - f->batch, size = pleat_nn_loader_batch_size(l);
    size_t wanted = f->a->accumulate ? f->a->accumulate : 1, count = wanted < left ? wanted : left;
    size_t items = pleat_nn_loader_items(l) - f->batch * size;
    f->step_end = f->batch + count;
    f->step_items = (double)(count * size < items ? count * size : items);
}

/* Step with the loss of a batch of n items, or add its gradient to those of the step's other batches. */
static pleat_status use_loss(const pln_fit *f, pleat_tensor *loss, size_t n) {
    pleat_nn_optimizer *opt = f->a->part[0].opt;
    if (f->a->accumulate < 2) return pleat_nn_step(opt, loss);
    pleat_status status = pleat_nn_accumulate(opt, loss, (double)n / f->step_items);
    return status || f->batch + 1 < f->step_end ? status : pleat_nn_step_accumulated(opt);
}

static pleat_status make_step(const pln_fit *f, const pleat_nn_batch *b, double *loss, double *metric) {
    const pleat_nn_fit_args *a = f->a;
    if (f->share && !a->step) return pleat_nn_step_shared(a->part[0].opt, b, a->loss, a->user, loss, metric);
    if (a->step) {
        pleat_status status = a->step(a->user, b, loss, metric);
        if (!status) status = pleat_error(f->ctx)->code;
        return status || isfinite(*loss) ? status : not_finite(f, *loss);
    }
    pleat_tensor *t = a->loss(a->user, b, metric);
    if (pleat_numel(t) != 1) return use_loss(f, t, b->n); /* it says so */
    *loss = pleat_item(t);
    if (pleat_error(f->ctx)->code) return pleat_error(f->ctx)->code;
    return isfinite(*loss) ? use_loss(f, t, b->n) : not_finite(f, *loss);
}

static pleat_status one_batch(pln_fit *f, const pleat_nn_batch *b) {
    double loss = 0, metric = 0;
    if (f->batch == f->step_end) begin_step(f);
    set_rates(f);
    pleat_status status = make_step(f, b, &loss, &metric);
    if (status) return status;
    f->sum_loss += loss;
    f->sum_metric += metric;
    if (++f->batch < f->step_end) return pleat_error(f->ctx)->code;
    for (size_t i = 0; i < parts_of(f->a); i++) pleat_nn_ema_update(f->a->part[i].ema);
    f->run->steps++;
    return pleat_error(f->ctx)->code;
}

/* ---- an epoch ---------------------------------------------------------------------------------------------- */

/* Is the run to stop behind this step? On several ranks that is known a step later, to all. */
static bool is_stopped(const pln_fit *f, pln_signals *signals) {
    bool came = pln_signals_came(signals);
    if (!f->share) return came;
    if (came) pln_share_stop(f->share);
    return pln_share_stopped(f->share);
}

/* Train from f->batch to the end of the epoch, or until a signal arrives. */
static pleat_status run_batches(pln_fit *f, pln_signals *signals, pleat_nn_progress *bar) {
    pleat_nn_batch b;
    size_t first = f->step_end = f->batch;
    pleat_status status = PLEAT_OK;
    pleat_nn_loader_start(f->a->train, f->run->epochs, first);
    for (bool more = true; more && !status && f->run->outcome != PLEAT_NN_INTERRUPTED;) {
        pleat_scope scope = pleat_begin(f->ctx);
        more = pleat_nn_loader_next(f->a->train, &b);
        /* without its items a rank goes as far as the step, where the others learn of its error */
        bool lost = !more && pleat_nn_world_size(f->a->world) > 1 && pleat_error(f->ctx)->code;
        if (more || lost) status = one_batch(f, &b);
        pleat_end(scope);
        if (!more) return pleat_error(f->ctx)->code;
        if (bar && !status)
            pleat_nn_progress_show(bar, f->batch - first, b.whole, f->sum_loss / (double)f->batch);
        /* not within a step, as a checkpoint has no accumulated gradients */
        if (!status && f->batch == f->step_end && is_stopped(f, signals))
            f->run->outcome = PLEAT_NN_INTERRUPTED;
    }
    return status;
}

static pleat_status validate(pln_fit *f, pleat_nn_epoch *e) {
    pleat_nn_ema *ema = f->a->part[0].ema;
    e->valid_loss = e->valid_metric = NAN;
    if (!f->a->valid) return PLEAT_OK;
    pleat_nn_ema_swap(ema);
    pleat_status status = pleat_nn_evaluate(f->a, f->a->valid, &e->valid_loss, &e->valid_metric);
    pleat_nn_ema_swap(ema);
    return status;
}

/* The value that defines the best epoch. */
static double value_of(const pln_fit *f, const pleat_nn_epoch *e) {
    if (f->a->best_by_metric) return f->a->valid ? e->valid_metric : e->metric;
    return f->a->valid ? e->valid_loss : e->loss;
}

/* Store the epoch's value; true if it is the best so far. */
static bool is_best(pln_fit *f, double value) {
    bool first = f->run->epochs == 1;
    bool better = f->a->best_by_metric ? value > f->best_value : value < f->best_value;
    if (isnan(f->best_value)) better = !isnan(value);
    f->bad = first || better ? 0 : f->bad + 1;
    if (f->bad) return false;
    f->best_value = value;
    f->run->best = f->run->epochs - 1;
    return true;
}

/* Scale the rates of all optimizers as the plateau scales the first. */
static void lower_rates(pln_fit *f, double value) {
    double ratio = pleat_nn_plateau_lr(f->a->plateau, f->base[0], value) / f->base[0];
    for (size_t i = 0; i < parts_of(f->a); i++) f->base[i] *= ratio;
}

static pleat_status finish_epoch(pln_fit *f, double seconds, size_t images) {
    pleat_nn_epoch *e = &f->run->epoch[f->run->epochs];
    e->loss = f->sum_loss / (double)f->batch;
    e->metric = f->sum_metric / (double)f->batch;
    e->lr = f->a->part[0].opt ? pleat_nn_lr(f->a->part[0].opt) : 0;
    e->seconds = seconds;
    e->images_per_second = seconds > 0 ? (double)images / seconds : 0;
    pleat_status status = validate(f, e);
    if (status) return status;
    f->run->epochs++;
    f->batch = 0;
    f->sum_loss = f->sum_metric = 0;
    bool best = is_best(f, value_of(f, e));
    if (f->a->plateau) lower_rates(f, value_of(f, e));
    pln_fit_say_epoch(f, e);
    if (best) status = pln_fit_write_best(f);
    if (!status) status = pln_fit_write_metrics(f);
    if (!status) status = pln_fit_save(f);
    return pln_agree(f->a->world, status);
}

static pleat_status run_epoch(pln_fit *f, pln_signals *signals) {
    char title[48];
    size_t total = pleat_nn_loader_batches(f->a->train) - f->batch, first = f->batch;
    snprintf(title, sizeof title, "epoch %zu/%zu", f->run->epochs + 1, f->a->epochs);
    FILE *out = f->a->progress;
    pleat_nn_progress bar = pleat_nn_progress_start(out, title, total);
    pleat_status status = run_batches(f, signals, out ? &bar : NULL);
    double seconds = pleat_nn_progress_end(&bar);
    if (status) return status;
    if (f->run->outcome == PLEAT_NN_INTERRUPTED) return pln_agree(f->a->world, pln_fit_save(f));
    return finish_epoch(f, seconds, (f->batch - first) * pleat_nn_loader_batch_size(f->a->train));
}

/* ---- a run ------------------------------------------------------------------------------------------------- */

static pleat_status run_epochs(pln_fit *f, pln_signals *signals) {
    pleat_status status = PLEAT_OK;
    while (!status && f->run->outcome == PLEAT_NN_FINISHED && f->run->epochs < f->a->epochs) {
        if (f->a->patience && f->bad >= f->a->patience) {
            f->run->outcome = PLEAT_NN_STOPPED;
        } else {
            status = pln_fit_make_room(f, f->run->epochs + 1);
            if (!status) status = run_epoch(f, signals);
        }
    }
    return status;
}

/* The rule that the options break, or NULL. */
static const char *broken(const pleat_nn_fit_args *a) {
    if (!a->train) return ".train must be given";
    if (!a->epochs) return ".epochs must be given, at least 1";
    if (!a->loss && !a->step) return ".loss or .step must be given";
    if (!a->step && !a->part[0].opt) return "part[0].opt must be given, or .step, which updates by itself";
    if (a->part[0].opt && pln_optimizer_pending(a->part[0].opt))
        return "part[0].opt has accumulated gradients; pleat_nn_step_accumulated first";
    if (a->step && a->accumulate > 1) return ".accumulate is for .loss; .step makes its own steps";
    if ((a->world || a->micro) && a->accumulate > 1)
        return ".accumulate is for batches that are not cut; give .micro alone, and the loader a larger batch";
    if ((a->world || a->micro) && a->valid == a->train) return ".valid must be another loader than .train";
    if (a->valid && !a->loss) return "validation needs .loss";
    if (a->best_by_metric && !a->metric_name) return "best_by_metric needs a metric_name";
    if (a->resume && !a->folder) return "resume needs a folder";
    if (a->options && strlen(a->options) >= 1024) return "options must be shorter than 1024 characters";
    return NULL;
}

/* Share the batches among ranks, and rank 0's state with them. */
static pleat_status begin_share(pln_fit *f) {
    const pleat_nn_fit_args *a = f->a;
    pleat_nn_share_args args = {.world = a->world,
                                .micro = a->micro,
                                .train = a->train,
                                .sync_norms = a->sync_norms,
                                .options = a->options};
    if (!a->world && !a->micro) return PLEAT_OK;
    memcpy(args.part, a->part, sizeof args.part);
    f->share = pleat_nn_share_new_with(args);
    if (!f->share) return pleat_error(f->ctx)->code;
    return pln_fit_send(f);
}

static pleat_status fit(pln_fit *f) {
    pln_signals signals;
    for (size_t i = 0; i < parts_of(f->a); i++)
        f->base[i] = f->a->part[i].opt ? pleat_nn_lr(f->a->part[i].opt) : 0;
    pleat_status status = pln_fit_folder(f);
    if (!status) status = pln_fit_resume(f);
    status = pln_agree(f->a->world, status);
    if (!status) status = begin_share(f);
    if (status) return status;
    pln_fit_say_begin(f);
    size_t steps = f->run->steps;
    set_mode(f->a, true);
    pln_signals_hold(&signals);
    status = run_epochs(f, &signals);
    if (!status && pln_signals_came(&signals)) f->run->outcome = PLEAT_NN_INTERRUPTED;
    pln_signals_release(&signals);
    if (!status) pln_fit_say_end(f, steps);
    return status;
}

pleat_status pleat_nn_fit_with(pleat_nn_fit_args a) {
    pleat_nn_run unused;
    pln_fit f = {.a = &a, .ctx = pleat_nn_ctx(a.part[0].net), .run = a.run ? a.run : &unused, .lock = -1};
    bool training[PLEAT_NN_PARTS];
    *f.run = (pleat_nn_run){.outcome = PLEAT_NN_FINISHED};
    const char *wrong = f.ctx ? broken(&a) : "part[0].net must be given";
    for (size_t i = 0; i < parts_of(&a); i++) training[i] = pleat_nn_is_training(a.part[i].net);
    if (pleat_nn_world_rank(a.world) > 0) { /* rank 0 writes and speaks for all */
        a.folder = NULL;
        a.resume = false;
        a.progress = NULL;
    }
    pleat_status status = wrong ? pleat_fail(f.ctx, PLEAT_ERR_ARGUMENT, op, "%s", wrong) : fit(&f);
    pleat_nn_share_free(f.share);
    if (status) {
        f.run->outcome = PLEAT_NN_FAILED;
        pln_optimizer_discard(a.part[0].opt);
    }
    for (size_t i = 0; i < parts_of(&a); i++) pleat_nn_set_training(a.part[i].net, training[i]);
    pln_fit_leave(&f);
    if (f.run == &unused) pleat_nn_run_free(&unused);
    return status;
}

void pleat_nn_run_free(pleat_nn_run *run) {
    if (!run) return;
    free(run->epoch);
    *run = (pleat_nn_run){0};
}

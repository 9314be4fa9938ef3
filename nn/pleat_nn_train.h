/* pleat_nn_train.h: training runs: checkpoints, the training loop, its progress line, a report. Part of
 * pleat_nn.h.
 *
 *     static pleat_tensor *loss(void *user, const pleat_nn_batch *b, double *metric) {
 *         return pleat_nn_mse_loss(pleat_nn_forward(user, b->x), b->clean);
 *     }
 *     ...
 *     pleat_nn_run run;
 *     pleat_nn_fit(&run, .part = {{"net", net, .opt = adam}}, .train = train, .valid = test, .epochs = 10,
 *                  .loss = loss, .user = net, .folder = "out", .progress = stdout);
 *     pleat_nn_run_free(&run);
 */
#ifndef PLEAT_NN_TRAIN_H
#define PLEAT_NN_TRAIN_H

#include "pleat_nn.h"

#ifdef __cplusplus
extern "C" {
#endif

/* ---- parameters in a file ---------------------------------------------------------------------------- */

/* The state dict as a safetensors file (github.com/huggingface/safetensors), which PyTorch reads. */
pleat_status pleat_nn_save(const char *path, const pleat_nn_module *net);
/* Load the state dict of an existing network. The file must hold exactly its tensors, with equal names and
 * shapes; an error names the first that differs. Half precision is widened: a tensor of f32 takes F16, BF16
 * and F32, one of f64 these and F64, with the very same values. num_batches_tracked may be missing, as in
 * PyTorch. On an error nothing has changed. A file of torch.save is refused with the line of Python that
 * converts it. */
pleat_status pleat_nn_load(const char *path, pleat_nn_module *net);

/* The tensors that did not fit. */
typedef struct pleat_nn_misfits {
    size_t loaded;  /* tensors of the network that were loaded; the others keep their values */
    size_t missing; /* that the file lacks */
    size_t other;   /* that the file has with another shape, or a type that is not read */
    size_t left;    /* tensors of the file that the network lacks, of any type */
    /* A line for each of the last three, with the name in the file: "fc.bias is missing", "fc.weight is
     * [1000,64] in the file and [10,64] in the network", "the network has no head.bias". The last line says
     * how many had no room. */
    char text[2000];
} pleat_nn_misfits;

typedef struct pleat_nn_load_args {
    int unset_;
    const char *path;
    pleat_nn_module *net;
    /* Of the names in the file: with "model.encoder." the network's "0.weight" is the file's
     * "model.encoder.0.weight". Tensors with another prefix are neither read nor listed. Default: none. */
    const char *prefix;
    /* If given, tensors that do not fit are listed here and not an error (strict = False). Default: an error. */
    pleat_nn_misfits *misfits;
} pleat_nn_load_args;

/* Load a part of a file, or into a part of a network: the encoder of a larger file into one of two children,
 *
 *     pleat_nn_misfits m;
 *     pleat_nn_load_from("larger.safetensors", pleat_nn_child(net, 0), .prefix = "model.encoder.", .misfits = &m);
 *     fputs(m.text, stderr);
 *
 * Errors with .misfits: a damaged file, and one of which no tensor fits, which is mostly a wrong prefix. Then
 * nothing has changed, and .loaded is 0. */
pleat_status pleat_nn_load_from_with(pleat_nn_load_args args);
#define pleat_nn_load_from(...) pleat_nn_load_from_with(PLEAT_OPTIONS(pleat_nn_load_args, __VA_ARGS__))

/* ---- checkpoints ------------------------------------------------------------------------------------- */

#define PLEAT_NN_PARTS 4

/* A network with its optimizer and average, which may be NULL. A list of parts ends at the first without a
 * net. */
typedef struct pleat_nn_part {
    /* prefix of its tensors: "net.0.weight", "net.optimizer.0.weight.exp_avg", "net.ema.0.weight" */
    const char *name;
    pleat_nn_module *net;
    pleat_nn_optimizer *opt;
    pleat_nn_ema *ema;
} pleat_nn_part;

/* A number or a text that a checkpoint stores. */
typedef struct pleat_nn_note {
    const char *key;
    /* reading: the required text; if the file has another, nothing is loaded and the error shows both. NULL:
     * any text */
    const char *must;
    char text[1024]; /* writing: the value; reading: receives the value, or "" if the file has none */
} pleat_nn_note;

typedef struct pleat_nn_checkpoint {
    pleat_ctx *ctx; /* its random stream is stored */
    pleat_nn_part part[PLEAT_NN_PARTS];
    size_t notes;
    pleat_nn_note *note;
    /* [rows,columns] f64, or NULL. Reading: set to the history of the file, in the innermost scope */
    pleat_tensor *history;
} pleat_nn_checkpoint;

/* Write a safetensors file with the whole state of a run: state dicts, optimizer state and steps, averages,
 * the context's random stream, the notes and the history. A run that loads it continues with the same bits.
 * Python's safetensors reads the file. */
pleat_status pleat_nn_save_checkpoint(const char *path, const pleat_nn_checkpoint *c);
/* Load a checkpoint into existing networks and optimizers. All tensors must fit; if one does not, nothing has
 * changed, and the error names it. */
pleat_status pleat_nn_load_checkpoint(const char *path, pleat_nn_checkpoint *c);

/* ---- training ---------------------------------------------------------------------------------------- */

/* One epoch of a run. */
typedef struct pleat_nn_epoch {
    double loss, metric;             /* means over the training batches */
    double valid_loss, valid_metric; /* over the validation images; NaN without a validation loader */
    double lr, seconds, images_per_second;
} pleat_nn_epoch;

typedef enum pleat_nn_outcome {
    PLEAT_NN_FINISHED,    /* all epochs are done */
    PLEAT_NN_STOPPED,     /* no improvement for `patience` epochs */
    PLEAT_NN_INTERRUPTED, /* Ctrl-C or SIGTERM: the checkpoint is written, after the last epoch perhaps */
    PLEAT_NN_FAILED,
} pleat_nn_outcome;

/* The result of pleat_nn_fit. */
typedef struct pleat_nn_run {
    pleat_nn_outcome outcome;
    size_t epochs; /* finished, including those before a resume */
    size_t steps;  /* likewise */
    size_t best;   /* the number of the best epoch; 0 is the first */
    pleat_nn_epoch *epoch;
} pleat_nn_run;

void pleat_nn_run_free(pleat_nn_run *run);

typedef struct pleat_nn_world pleat_nn_world; /* pleat_nn_world.h */

typedef struct pleat_nn_fit_args {
    int unset_;
    pleat_nn_run *run; /* filled, also on an error; the caller frees it */
    pleat_nn_part part[PLEAT_NN_PARTS];
    pleat_nn_loader *train, *valid; /* valid may be NULL */
    size_t epochs;                  /* must be given */

    /* The loss of a batch, a scalar tensor; fit then steps part[0].opt. *metric (accuracy, ...) is 0 before
     * the call. Also called for validation, with all networks in evaluation mode and recording off. */
    pleat_tensor *(*loss)(void *user, const pleat_nn_batch *b, double *metric);
    /* In place of `loss`, for several networks: make the steps and set *loss. Validation then needs .loss as
     * well. */
    pleat_status (*step)(void *user, const pleat_nn_batch *b, double *loss, double *metric);
    void *user;
    /* Batches of the loader in a step; default 1. For batches that memory does not hold at once: the
     * gradients are added by pleat_nn_accumulate, each weighted with its share of the step's items, so `loss`
     * must be a mean over items. An epoch's last step may have fewer batches. Not with .step. */
    size_t accumulate;

    /* Train on several processes, with the same bits for any number of them (pleat_nn_world.h). Rank 0 alone
     * writes to the folder and to .progress. Default: this process. */
    pleat_nn_world *world;
    /* Items of a micro-batch: a batch is cut into micro-batches, which may be computed on different ranks. Part of
     * the run's definition, as the batch is. Default: with .world all of the batch, else batches are not cut. A
     * .step makes its steps by pleat_nn_step_shared then. Not with .accumulate. */
    size_t micro;
    bool sync_norms; /* see pleat_nn_share_args */

    const char *metric_name; /* NULL: there is no metric */
    /* The best epoch has the highest metric; default: the lowest loss. Of the validation, if there is one.
     * Where neither measures quality, as in a GAN, the networks after fit count, and not best.safetensors. */
    bool best_by_metric;
    size_t patience; /* stop after this number of epochs without a better one; default 0: never */
    /* Of the rates of all optimizers, each from its own base rate; t counts steps. */
    pleat_nn_schedule schedule;
    /* applied after each epoch to the value that defines the best epoch; or NULL */
    pleat_nn_plateau *plateau;

    /* The folder of metrics.csv, checkpoint.safetensors and best.safetensors (part[0], its average if it has
     * an ema), created if it is missing; NULL: no files. A folder has one run at a time: fit locks a file
     * .lock in it, and the lock of another live run is an error. */
    const char *folder;
    bool resume; /* continue from the folder's checkpoint, if there is one */
    /* The run's options in one line, stored in the checkpoint. A resume with other options is an error that
     * shows both. NULL: not compared. */
    const char *options;
    /* A bar, a line for each epoch, and one for each turn of the run: "resumed at epoch 2, step 1 of 8:
     * FILE", "already finished, 9 of 9 epochs: nothing to do", "interrupted in epoch 2, after step 3 of 8;
     * checkpoint written: FILE" (or "no folder, so nothing was written"), "stopped after epoch 7: ...",
     * "finished 9 epochs; ...". A metric is named "train accuracy" or "valid accuracy". NULL: no output */
    FILE *progress;
} pleat_nn_fit_args;

/* Train. A run that was interrupted and resumed ends with the same bits as one that was not. A resume may
 * have more epochs. It may have another schedule, as a schedule may depend on the number of epochs; then the
 * bits differ, and a line on .progress says so.
 *
 * After each epoch metrics.csv and checkpoint.safetensors are written, and best.safetensors if the epoch is
 * the best. A loss that is not finite ends the run with an error that names epoch and step; the last
 * checkpoint stays.
 *
 * While fit runs, its own handler counts SIGINT (Ctrl-C) and SIGTERM, in whichever thread they arrive, and
 * fit looks at the count after each step. The first signal saves the checkpoint, within the epoch, and fit
 * returns. From then on signals act as before fit, so a second one ends the program. The handlers of the
 * program are restored. Ignored signals stay ignored. A signal after the last step, during the last
 * validation or while files are written, makes the outcome PLEAT_NN_INTERRUPTED too, though nothing is left
 * to do. Before fit returns an error, it raises such a signal again. Of several runs at once each is
 * interrupted, and signals act as before when the last of them has ended. */
pleat_status pleat_nn_fit_with(pleat_nn_fit_args args);
#define pleat_nn_fit(...) pleat_nn_fit_with(PLEAT_OPTIONS(pleat_nn_fit_args, .run = __VA_ARGS__))

/* The means of loss and metric over a loader's images, in evaluation mode and without recording, as in fit's
 * validation. With .world every rank must call it, and has a part of the batches. */
pleat_status pleat_nn_evaluate(const pleat_nn_fit_args *args, pleat_nn_loader *loader, double *loss,
                               double *metric);

/* The fraction of the items of x [N,K,..] whose largest element along K has the index of the item's label;
 * N.. labels from 0 to K-1. NaN after an error. */
double pleat_nn_accuracy(pleat_tensor *x, const size_t *labels);

/* ---- progress ---------------------------------------------------------------------------------------- */

/* On a terminal one line that is rewritten in place; elsewhere plain lines, about ten per pass:
 *     epoch 2/5  [==========          ]  468/937  loss 0.01312  9120 items/s  ETA 3s */
typedef struct pleat_nn_progress {
    FILE *out;
    bool terminal;
    double started, drawn; /* seconds, monotonic */
    size_t total, lines;
    char title[48];
} pleat_nn_progress;

/* total: steps of the pass. `out` is tested for being a terminal. */
pleat_nn_progress pleat_nn_progress_start(FILE *out, const char *title, size_t total);
/* Show `done` finished steps of `items` items each, and the loss. Draws at most ten times a second. */
void pleat_nn_progress_show(pleat_nn_progress *p, size_t done, size_t items, double loss);
/* Clear the line on a terminal. Returns the seconds since the start. */
double pleat_nn_progress_end(pleat_nn_progress *p);

/* ---- report ------------------------------------------------------------------------------------------ */

/* A page about a run: one self-contained HTML file, which loads nothing from the network. It adapts to small
 * screens and to dark mode. Texts are escaped. Parts appear in the order of the calls. The context keeps the
 * first error, and pleat_nn_report_write returns it. */
typedef struct pleat_nn_report pleat_nn_report;

/* NULL if memory is short. The title is also the page's heading; `about`, if not NULL, is a paragraph below
 * it. */
pleat_nn_report *pleat_nn_report_new(pleat_ctx *ctx, const char *title, const char *about);
void pleat_nn_report_free(pleat_nn_report *r); /* NULL is allowed, here and below */

void pleat_nn_report_heading(pleat_nn_report *r, const char *text);
void pleat_nn_report_text(pleat_nn_report *r, const char *text);
/* A table of two columns: n pairs of a name and a value. */
void pleat_nn_report_table(pleat_nn_report *r, size_t n, const char *const (*pairs)[2]);

typedef struct pleat_nn_series {
    const char *name;
    size_t n;
    const double *y; /* points that are not finite leave a gap */
} pleat_nn_series;

typedef struct pleat_nn_chart {
    const char *title, *x_name, *y_name;
    double x_first, x_step; /* of the points; a step of 0 counts as 1 */
    bool log_y;             /* a logarithmic axis, if all values are positive */
    size_t count;
    const pleat_nn_series *series;
} pleat_nn_chart;

/* A line chart with a common x axis. */
void pleat_nn_report_chart(pleat_nn_report *r, const pleat_nn_chart *chart);
/* Loss and metric curves and a table of a run's epochs. */
void pleat_nn_report_run(pleat_nn_report *r, const pleat_nn_run *run, const char *metric_name);
/* x [n,C,H,W] with C 1 or 3, values 0..1, as a picture of `columns` images in a row (PNG, inline). */
void pleat_nn_report_images(pleat_nn_report *r, const char *caption, pleat_tensor *x, size_t columns,
                            size_t zoom);
/* The filters of a convolution's weight [O,C,R,S] as a picture, each scaled to its own range: the first input
 * channel, or three channels as colours. */
void pleat_nn_report_filters(pleat_nn_report *r, const char *caption, pleat_tensor *weight);
/* Points [N,2] in colours by label, with a legend. labels, N of them below `classes`, and names may be
 * NULL. */
void pleat_nn_report_scatter(pleat_nn_report *r, const char *caption, pleat_tensor *points,
                             const size_t *labels, size_t classes, const char *const *names);
/* The table of pleat_nn_summary. */
void pleat_nn_report_summary(pleat_nn_report *r, pleat_nn_module *net, size_t rank, const size_t *shape);
/* counts[truth * classes + prediction] as a table with shades. */
void pleat_nn_report_confusion(pleat_nn_report *r, const char *caption, size_t classes, const size_t *counts,
                               const char *const *names);

pleat_status pleat_nn_report_write(pleat_nn_report *r, const char *path);

#ifdef __cplusplus
}
#endif

#include "pleat_nn_world.h"

#endif

/* pleat_nn_train.h: runs. Checkpoints, the training loop, its progress line, and a report. Part of pleat_nn.h.
 *
 *     static pleat_tensor *loss(void *user, const pleat_nn_batch *b, double *metric) {
 *         return pleat_nn_mse_loss(pleat_nn_forward(user, b->x), b->clean);
 *     }
 *     ...
 *     pleat_nn_run run;
 *     pleat_nn_fit(&run, .part = {{"net", net, adam}}, .train = train, .valid = test, .epochs = 10,
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
/* Into an existing network: every tensor of its state dict must be there with its name, type and shape, and no other; the
 * first that differs is named. (num_batches_tracked may be missing, as in PyTorch.) On an error nothing has changed. */
pleat_status pleat_nn_load(const char *path, pleat_nn_module *net);

/* ---- checkpoints ------------------------------------------------------------------------------------- */

#define PLEAT_NN_PARTS 4

/* A network with what trains it; opt and ema may be NULL. A list of parts ends at the first without a net. */
typedef struct pleat_nn_part {
    const char *
        name; /* prefix of its tensors: "net.0.weight", "net.optimizer.0.weight.exp_avg", "net.ema.0.weight" */
    pleat_nn_module *net;
    pleat_nn_optimizer *opt;
    pleat_nn_ema *ema;
} pleat_nn_part;

/* A number or a text that a checkpoint keeps. */
typedef struct pleat_nn_note {
    const char *key;
    const char
        *must; /* reading: what the text must be, else nothing is loaded and an error says both; or NULL */
    char text[1024]; /* writing: the value; reading: where it goes. Empty if the file has none. */
} pleat_nn_note;

typedef struct pleat_nn_checkpoint {
    pleat_ctx *ctx; /* its random stream is kept */
    pleat_nn_part part[PLEAT_NN_PARTS];
    size_t notes;
    pleat_nn_note *note;
    pleat_tensor
        *history; /* [rows,columns] f64, or NULL. Reading: set to the file's, in the innermost scope */
} pleat_nn_checkpoint;

/* A safetensors file with everything that a run needs to go on as if it had never stopped: state dicts, optimizer state and
 * steps, averages, the context's random stream, the notes and the history. Python reads it like any other. */
pleat_status pleat_nn_save_checkpoint(const char *path, const pleat_nn_checkpoint *c);
/* Into existing networks and optimizers. All of it must fit, else nothing has changed and the first tensor that differs is
 * named. */
pleat_status pleat_nn_load_checkpoint(const char *path, pleat_nn_checkpoint *c);

/* ---- training ---------------------------------------------------------------------------------------- */

/* One epoch of a run. */
typedef struct pleat_nn_epoch {
    double loss, metric;             /* means over the training batches */
    double valid_loss, valid_metric; /* over the validation images; NaN without a validation loader */
    double lr, seconds, images_per_second;
} pleat_nn_epoch;

typedef enum pleat_nn_outcome {
    PLEAT_NN_FINISHED,    /* all epochs were made, now or before */
    PLEAT_NN_STOPPED,     /* no improvement for `patience` epochs */
    PLEAT_NN_INTERRUPTED, /* Ctrl-C or SIGTERM: the checkpoint is written, after the last epoch perhaps */
    PLEAT_NN_FAILED,
} pleat_nn_outcome;

/* What pleat_nn_fit did. */
typedef struct pleat_nn_run {
    pleat_nn_outcome outcome;
    size_t epochs; /* finished ones, those before a resume included */
    size_t steps;  /* likewise */
    size_t best;   /* the number of the best epoch; 0 is the first */
    pleat_nn_epoch *epoch;
} pleat_nn_run;

void pleat_nn_run_free(pleat_nn_run *run);

typedef struct pleat_nn_fit_args {
    int unset_;
    pleat_nn_run *run; /* filled, also on an error; the caller frees it */
    pleat_nn_part part[PLEAT_NN_PARTS];
    pleat_nn_loader *train, *valid; /* valid may be NULL */
    size_t epochs;                  /* must be given */

    /* The loss of a batch, a scalar tensor; fit then steps part[0].opt. *metric (accuracy, ...) is 0 before the call. It is also
     * called for validation, with all networks in evaluation mode and nothing recorded. */
    pleat_tensor *(*loss)(void *user, const pleat_nn_batch *b, double *metric);
    /* Or everything by yourself, for several networks: make the steps, set *loss. Validation then needs .loss, too. */
    pleat_status (*step)(void *user, const pleat_nn_batch *b, double *loss, double *metric);
    void *user;

    const char *metric_name; /* NULL: there is no metric */
    bool
        best_by_metric; /* the best epoch has the highest metric; default: the lowest loss. Of validation, where there is
                                one. */
    size_t patience; /* stop after so many epochs without a better one; default 0: never */
    pleat_nn_schedule
        schedule; /* of part[0].opt's rate, and of the others', each from its own; t counts steps */
    pleat_nn_plateau *plateau; /* after each epoch, on what `best` goes by; or NULL */

    const char *
        folder; /* where metrics.csv, checkpoint.safetensors and best.safetensors (part[0]'s, averaged if it has an
                            ema) go, made if it is missing; NULL: nowhere. A folder has one run at a time: fit holds a file
                            .lock in it, and another's is an error, unless that run is dead. */
    bool resume; /* go on from the folder's checkpoint, if there is one */
    const char *
        options; /* the run's options in a line, kept in the checkpoint; a resume with others is an error that says
                            both. NULL: not compared */
    FILE *progress; /* NULL: quiet */
} pleat_nn_fit_args;

/* Train. A run that was interrupted and resumed ends with the same bits as one that was not. It may be resumed with more epochs;
 * with another schedule, too, for that may depend on them, but then the bits are others, and a line on .progress says so.
 *
 * After each epoch metrics.csv and checkpoint.safetensors are written, and best.safetensors if it was the best. A loss that is
 * not finite ends the run with an error that names epoch and step, and leaves the last checkpoint alone.
 *
 * Ctrl-C (SIGINT, SIGTERM) is held back while fit runs, and looked for after each step: the first one saves the checkpoint, within
 * the epoch, and returns; from then on signals act as before, so a second one leaves at once. While fit runs, a handler of its own
 * counts them, in whatever thread they land; the handlers of the program are put back. Signals that are ignored stay ignored.
 * One that comes after the last step, during the last validation or while files are written, makes the outcome
 * PLEAT_NN_INTERRUPTED too, though nothing is left to do. Where fit returns an error, it raises the signal again before.
 * Of several runs at once each is interrupted, and signals act as before when the last of them has ended. */
pleat_status pleat_nn_fit_with(pleat_nn_fit_args args);
#define pleat_nn_fit(...) pleat_nn_fit_with((pleat_nn_fit_args){.unset_ = 0, .run = __VA_ARGS__})

/* Averages of loss and metric over a loader's images, in evaluation mode and without recording, as fit's validation. */
pleat_status pleat_nn_evaluate(const pleat_nn_fit_args *args, pleat_nn_loader *loader, double *loss,
                               double *metric);

/* The share of rows of x [N,K] whose largest element stands at labels [N]. */
double pleat_nn_accuracy(pleat_tensor *x, pleat_tensor *labels);

/* ---- progress ---------------------------------------------------------------------------------------- */

/* One line that is rewritten in place on a terminal, and plain lines, about ten for a pass, elsewhere:
 *     epoch 2/5  [==========          ]  468/937  loss 0.01312  9120 img/s  ETA 3s */
typedef struct pleat_nn_progress {
    FILE *out;
    bool terminal;
    double started, drawn; /* seconds, monotonic */
    size_t total, lines;
    char title[48];
} pleat_nn_progress;

/* total: steps of the pass. The kind of output is found by asking whether `out` is a terminal. */
pleat_nn_progress pleat_nn_progress_start(FILE *out, const char *title, size_t total);
/* done steps are finished, items of them a step; loss is shown. Draws at most ten times a second. */
void pleat_nn_progress_show(pleat_nn_progress *p, size_t done, size_t items, double loss);
/* Clear the line on a terminal. Returns the seconds since the start. */
double pleat_nn_progress_end(pleat_nn_progress *p);

/* ---- report ------------------------------------------------------------------------------------------ */

/* A page that shows what a run did: one HTML file with everything in it, which needs no network. It can be read on a phone and
 * in the dark. Texts are escaped. Add what you like in the order in which it shall stand; the first error stays in the context, and
 * pleat_nn_report_write returns it. */
typedef struct pleat_nn_report pleat_nn_report;

/* NULL without memory. The title is also the page's heading; `about`, if not NULL, a paragraph below it. */
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

/* Lines over a common axis, as a drawing. */
void pleat_nn_report_chart(pleat_nn_report *r, const pleat_nn_chart *chart);
/* Loss and metric curves and a table of a run's epochs. */
void pleat_nn_report_run(pleat_nn_report *r, const pleat_nn_run *run, const char *metric_name);
/* x [n,C,H,W] with C 1 or 3, values 0..1, as a picture of `columns` images in a row (PNG, inline). */
void pleat_nn_report_images(pleat_nn_report *r, const char *caption, pleat_tensor *x, size_t columns,
                            size_t zoom);
/* The filters of a convolution's weight [O,C,R,S], each scaled to its own range, as a picture; the first input channel, or all
 * three as colours. */
void pleat_nn_report_filters(pleat_nn_report *r, const char *caption, pleat_tensor *weight);
/* Points [N,2] in colours by label [N] (may be NULL), with a legend; names may be NULL. */
void pleat_nn_report_scatter(pleat_nn_report *r, const char *caption, pleat_tensor *points,
                             pleat_tensor *labels, size_t classes, const char *const *names);
/* The table of pleat_nn_summary. */
void pleat_nn_report_summary(pleat_nn_report *r, pleat_nn_module *net, size_t rank, const size_t *shape);
/* counts[truth * classes + prediction] as a table with shades. */
void pleat_nn_report_confusion(pleat_nn_report *r, const char *caption, size_t classes, const size_t *counts,
                               const char *const *names);

pleat_status pleat_nn_report_write(pleat_nn_report *r, const char *path);

#ifdef __cplusplus
}
#endif
#endif

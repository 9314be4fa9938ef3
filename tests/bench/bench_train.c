/* Time a training step and inference of two small networks, beside the least that they could take. */
#include "mallocs.h"
#include "timing.h"
#include "train_bound.h"
#include "train_nets.h"

#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

static const char usage[] =
    "usage: bench_train [--net autoencoder|cnn] [--batch N] [--threads N] [--seconds S] [--no-bound]\n"
    "\n"
    "  --net NAME      that network alone (default: both)\n"
    "  --batch N       that batch alone, 1 to 4096 (default: 1, 16, 64 and 500)\n"
    "  --threads N     threads an op may use (default 1)\n"
    "  --seconds S     time for each median (default 0.5)\n"
    "  --no-bound      without the last four columns, which take longest\n"
    "\n"
    "Trains on random 28x28 images in memory: batch, forward, loss, gradients, Adam. Prints CSV:\n"
    "  step_ms, infer_ms       medians of a training step, and of a forward pass without recording\n"
    "  mallocs                 calls of malloc and its kin in a warmed-up step, of the whole process\n"
    "  peak_mib                what the process's peak in memory grew by, beside program and images\n"
    "  gemm_ms                 its matrix products alone, by sgemm: forward and both gradients\n"
    "  move_ms                 a copy of as many bytes as must move: activations, gradients, parameters, Adam's state\n"
    "  bound_ms                the sum of these two; step_over_bound is step_ms by it\n";

typedef struct options {
    const char *net; /* NULL: both */
    size_t batch;    /* 0: all */
    int threads;
    double seconds;
    bool no_bound;
} options;

/* ---- one configuration ------------------------------------------------------------------------------- */

typedef struct result {
    double step_ms, infer_ms, peak_mib;
    size_t mallocs;
    train_bound bound;
} result;

static bool measure(trainee *t, const options *o, result *r) {
    if (!trainee_make_data(t)) return false;
    double before = bench_status_mib("VmRSS:");
    if (!trainee_start(t, o->threads)) return false;
    r->step_ms = bench_median_ms(trainee_step, t, o->seconds, 5);
    r->peak_mib = bench_status_mib("VmHWM:") - before;
    mallocs_start();
    trainee_step(t);
    r->mallocs = mallocs_stop();
    r->infer_ms = bench_median_ms(trainee_infer, t, o->seconds, 5);
    if (pleat_error(t->ctx)->code != PLEAT_OK)
        return fprintf(stderr, "bench_train: %s\n", pleat_error(t->ctx)->text), false;
    size_t shape[4] = {t->batch, 1, TRAINEE_SIDE, TRAINEE_SIDE};
    return o->no_bound || measure_train_bound(t->module, shape, o->threads, o->seconds / 16, &r->bound);
}

static void print(const trainee *t, const options *o, const result *r) {
    printf("%s,%zu,%d,%.4f,%.4f,%.1f,", t->net, t->batch, o->threads, r->step_ms, r->infer_ms,
           1e3 / r->step_ms);
    if (mallocs_are_counted()) printf("%zu", r->mallocs);
    printf(",%.1f", r->peak_mib);
    double bound = r->bound.gemm_ms + r->bound.move_ms;
    if (!o->no_bound)
        printf(",%.4f,%.4f,%.4f,%.2f", r->bound.gemm_ms, r->bound.move_ms, bound, r->step_ms / bound);
    printf("\n");
    fflush(stdout);
}

/* In a process of its own: a peak is never forgotten. */
static bool run(const char *net, size_t batch, const options *o) {
    fflush(stdout);
    pid_t child = fork();
    if (child < 0) return perror("bench_train: fork"), false;
    if (child == 0) {
        trainee t = {.net = net, .batch = batch};
        result r = {0};
        bool fine = measure(&t, o, &r);
        if (fine) print(&t, o, &r);
        trainee_stop(&t);
        exit(!fine);
    }
    int status;
    return waitpid(child, &status, 0) == child && status == 0;
}

/* ---- the command ------------------------------------------------------------------------------------- */

static bool read_options(int argc, char **argv, options *o) {
    for (int i = 1; i < argc; i++) {
        const char *value = i + 1 < argc ? argv[i + 1] : NULL;
        if (strcmp(argv[i], "--no-bound") == 0) {
            o->no_bound = true;
            continue;
        }
        if (value == NULL) return false;
        if (strcmp(argv[i], "--net") == 0)
            o->net = value;
        else if (strcmp(argv[i], "--batch") == 0 && atoi(value) > 0)
            o->batch = (size_t)atoi(value);
        else if (strcmp(argv[i], "--threads") == 0)
            o->threads = atoi(value);
        else if (strcmp(argv[i], "--seconds") == 0)
            o->seconds = atof(value);
        else
            return false;
        i++;
    }
    return (o->net == NULL || trainee_known(o->net)) && o->batch <= TRAINEE_IMAGES && o->threads > 0 &&
           o->seconds > 0;
}

int main(int argc, char **argv) {
    static const char *const nets[] = {"autoencoder", "cnn"};
    static const size_t batches[] = {1, 16, 64, 500};
    options o = {.threads = 1, .seconds = 0.5};
    if (argc == 2 && strcmp(argv[1], "--help") == 0) return fputs(usage, stdout) < 0;
    if (!read_options(argc, argv, &o)) return fputs(usage, stderr), 2;
    printf("net,batch,threads,step_ms,infer_ms,steps_per_s,mallocs,peak_mib%s\n",
           o.no_bound ? "" : ",gemm_ms,move_ms,bound_ms,step_over_bound");
    for (size_t n = 0; n < 2; n++) {
        if (o.net != NULL && strcmp(o.net, nets[n]) != 0) continue;
        for (size_t b = 0; b < (o.batch ? 1 : 4); b++)
            if (!run(nets[n], o.batch ? o.batch : batches[b], &o)) return 1;
    }
    return 0;
}

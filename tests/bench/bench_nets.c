/* Time a training step and inference of whole networks, beside the least that they could take. */
#include "mallocs.h"
#include "net_bound.h"
#include "nets.h"
#include "timing.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

static const char usage[] =
    "usage: bench_nets [--net NAME] [--batch N] [--threads N] [--seconds S] [--bound] [--cpu] [--prepared]\n"
    "       bench_nets --serve --net NAME --batch N [--threads N] [--cpu] [--prepared]\n"
    "       bench_nets --check | --write FOLDER | --list\n"
    "\n"
    "  --net NAME      that network alone (default: all)\n"
    "  --batch N       that batch alone (default: 1, 16, 64 and 256)\n"
    "  --threads N     threads an op may use (default 1)\n"
    "  --seconds S     time for each median (default 0.5)\n"
    "  --bound         the bounds of a step alone: milliseconds of its products and of what moves, their sum; 10^9\n"
    "                  multiply-adds, 10^6 bytes\n"
    "  --cpu           processor time, for one thread where others are at work\n"
    "  --prepared      inference by a prepared forward pass (pleat_prepare)\n"
    "  --serve         time whenever a line SECONDS WARM says so, and answer with step and inference in ms, peak in MiB, mallocs\n"
    "  --check         does each network have its number of parameters, and does its loss fall?\n"
    "  --write FOLDER  FOLDER/NAME.npz: inputs, parameters, loss and gradient's norm, for peers/torch_nets.py\n"
    "  --list          the names\n"
    "\n"
    "Prints CSV: step_ms and infer_ms are medians of a training step, and of a forward pass without recording; peak_mib is what\n"
    "the process's peak in memory grew by in training; mallocs are those of a warmed-up step.\n";

enum { CHECK_BATCH = 4, CHECK_STEPS = 3, TENSORS = 512, NAME = 96 };

typedef struct options {
    const bench_net *net; /* NULL: all */
    size_t batch;         /* 0: all */
    int threads;
    double seconds;
    const char *write;
    bool bound, cpu, serve, check, list, prepared;
} options;

static bool all_well(const subject *s) {
    if (pleat_error(s->ctx)->code == PLEAT_OK) return true;
    return fprintf(stderr, "bench_nets: %s: %s\n", s->net->name, pleat_error(s->ctx)->text), false;
}

/* ---- one configuration ------------------------------------------------------------------------------- */

typedef struct times {
    double step_ms, infer_ms, peak_mib;
    size_t mallocs;
} times;

/* `before`: the memory that the process began with. The peak is that of training alone. */
static bool measure(subject *s, double warm, double seconds, double before, times *r) {
    r->step_ms = bench_warm_median_ms(subject_step, s, warm, seconds);
    if (r->peak_mib == 0) r->peak_mib = bench_status_mib("VmHWM:") - before;
    mallocs_start();
    subject_step(s);
    r->mallocs = mallocs_stop();
    if (s->prepares && s->prepared == NULL && !subject_prepare(s)) return false;
    r->infer_ms =
        bench_warm_median_ms(s->prepared != NULL ? subject_run : subject_infer, s, warm / 4, seconds / 2);
    return all_well(s);
}

static bool serve(const options *o) {
    subject s = {.net = o->net, .batch = o->batch, .prepares = o->prepared};
    times r = {0};
    char line[256];
    double seconds, warm, before = bench_status_mib("VmRSS:");
    bool fine = subject_start(&s, o->threads);
    if (fine) printf("ready pleat\n");
    fflush(stdout);
    while (fine && fgets(line, sizeof line, stdin)) {
        fine = sscanf(line, "%lf %lf", &seconds, &warm) == 2 && measure(&s, warm, seconds, before, &r);
        if (fine) printf("%.5f %.5f %.1f %zu\n", r.step_ms, r.infer_ms, r.peak_mib, r.mallocs);
        fflush(stdout);
    }
    subject_stop(&s);
    return fine;
}

static bool print_times(const bench_net *net, size_t batch, const options *o) {
    subject s = {.net = net, .batch = batch, .prepares = o->prepared};
    times r = {0};
    double before = bench_status_mib("VmRSS:");
    bool fine = subject_start(&s, o->threads) && measure(&s, 0.35, o->seconds, before, &r);
    if (fine)
        printf("%s,%zu,%d,%.4f,%.4f,%.1f,%zu\n", net->name, batch, o->threads, r.step_ms, r.infer_ms,
               r.peak_mib, r.mallocs);
    subject_stop(&s);
    return fine;
}

static bool print_bound(const bench_net *net, size_t batch, const options *o) {
    net_bound b;
    if (!measure_net_bound(net, batch, o->threads, o->seconds / 16, &b)) return false;
    printf("%s,%zu,%d,%.4f,%.4f,%.4f,%.4f,%.3f\n", net->name, batch, o->threads, b.gemm_ms, b.move_ms,
           b.gemm_ms + b.move_ms, b.gmacs, b.mbytes);
    fflush(stdout);
    return true;
}

/* In a process of its own: a peak is never forgotten. */
static bool in_child(const bench_net *net, size_t batch, const options *o) {
    fflush(stdout);
    pid_t child = fork();
    if (child < 0) return perror("bench_nets: fork"), false;
    if (child == 0) exit(!print_times(net, batch, o));
    int status;
    return waitpid(child, &status, 0) == child && status == 0;
}

/* ---- is it the right network? ------------------------------------------------------------------------ */

static double loss_of(subject *s, size_t part) {
    pleat_scope scope = pleat_begin(s->ctx);
    double loss = pleat_item(s->net->loss(s, part));
    pleat_end(scope);
    return loss;
}

/* Of part 0: the generator of an adversarial network does not make the critic's loss fall. */
static bool check(const bench_net *net) {
    subject s = {.net = net, .batch = CHECK_BATCH, .repeatable = true};
    bool fine = subject_start(&s, 1);
    size_t params = fine ? subject_params(&s) : 0;
    double first = fine ? loss_of(&s, 0) : 0, last = first;
    for (int i = 0; i < CHECK_STEPS && fine; i++) subject_step(&s);
    fine = fine && all_well(&s);
    if (fine) last = loss_of(&s, 0);
    bool right = fine && params == net->params && last < first;
    printf("%-16s %9zu parameters (%zu expected), loss %.6f, after %d steps %.6f%s\n", net->name, params,
           net->params, first, CHECK_STEPS, last, right ? "" : "  WRONG");
    subject_stop(&s);
    return right;
}

/* ---- for PyTorch ------------------------------------------------------------------------------------- */

typedef struct archive {
    size_t n;
    char name[TENSORS][NAME];
    pleat_tensor *t[TENSORS];
} archive;

static void put(archive *a, const char *group, const char *name, pleat_tensor *t) {
    if (a->n == TENSORS) return;
    snprintf(a->name[a->n], NAME, "%s/%s", group, name);
    a->t[a->n++] = t;
}

static double gradient_norm(subject *s, pleat_nn_module *m, pleat_tensor *loss) {
    size_t n = pleat_nn_param_count(m);
    pleat_tensor *x[TENSORS], *g[TENSORS];
    double sum = 0;
    for (size_t i = 0; i < n; i++) x[i] = pleat_nn_param(m, i);
    pleat_grads(loss, NULL, n, x, g, 0);
    for (size_t i = 0; i < n && pleat_error(s->ctx)->code == PLEAT_OK; i++)
        for (size_t k = 0; k < pleat_numel(g[i]); k++)
            sum += (double)pleat_const_f32(g[i])[k] * (double)pleat_const_f32(g[i])[k];
    return sqrt(sum);
}

/* The state dict and the inputs, and what the first step finds. */
static void fill(archive *a, subject *s) {
    char group[8], name[NAME];
    for (size_t i = 0; i < NET_INPUTS && s->in[i] != NULL; i++) put(a, "in", s->net->input[i].name, s->in[i]);
    for (size_t p = 0; p < NET_PARTS && s->module[p] != NULL; p++) {
        pleat_nn_module *m = s->module[p];
        pleat_tensor *loss = s->net->loss(s, p);
        double norm = gradient_norm(s, m, loss);
        snprintf(group, sizeof group, "%zu", p);
        for (size_t i = 0; i < pleat_nn_state_count(m); i++)
            put(a, group, pleat_nn_state_name(m, i, name, sizeof name), pleat_nn_state(m, i));
        put(a, "loss", group, loss);
        put(a, "gradient", group, pleat_full(s->ctx, PLEAT_F64, PLEAT_SCALAR, norm));
    }
}

static bool write_archive(const bench_net *net, const char *folder) {
    subject s = {.net = net, .batch = CHECK_BATCH, .repeatable = true};
    archive *a = calloc(1, sizeof *a);
    const char *names[TENSORS];
    char path[4096];
    bool fine = a != NULL && subject_start(&s, 1);
    if (fine) {
        pleat_scope scope = pleat_begin(s.ctx);
        fill(a, &s);
        for (size_t i = 0; i < a->n; i++) names[i] = a->name[i];
        snprintf(path, sizeof path, "%s/%s.npz", folder, net->name);
        fine = a->n < TENSORS && pleat_nn_write_npz(path, a->n, names, a->t) == PLEAT_OK;
        fine = all_well(&s) && fine;
        pleat_end(scope);
    }
    subject_stop(&s);
    free(a);
    return fine;
}

/* ---- the command ------------------------------------------------------------------------------------- */

static bool read_flag(const char *word, options *o) {
    bool *flag = strcmp(word, "--bound") == 0      ? &o->bound
                 : strcmp(word, "--cpu") == 0      ? &o->cpu
                 : strcmp(word, "--serve") == 0    ? &o->serve
                 : strcmp(word, "--check") == 0    ? &o->check
                 : strcmp(word, "--prepared") == 0 ? &o->prepared
                 : strcmp(word, "--list") == 0     ? &o->list
                                                   : NULL;
    if (flag != NULL) *flag = true;
    return flag != NULL;
}

static bool read_options(int argc, char **argv, options *o) {
    for (int i = 1; i < argc; i++) {
        if (read_flag(argv[i], o)) continue;
        const char *word = argv[i], *value = argv[++i];
        if (value == NULL) return false;
        if (strcmp(word, "--net") == 0 && (o->net = find_bench_net(value)) != NULL) continue;
        if (strcmp(word, "--batch") == 0 && atoi(value) > 0)
            o->batch = (size_t)atoi(value);
        else if (strcmp(word, "--threads") == 0)
            o->threads = atoi(value);
        else if (strcmp(word, "--seconds") == 0)
            o->seconds = atof(value);
        else if (strcmp(word, "--write") == 0)
            o->write = value;
        else
            return false;
    }
    return o->threads > 0 && o->seconds > 0 && (!o->serve || (o->net != NULL && o->batch > 0));
}

static bool run(const bench_net *net, const options *o) {
    static const size_t batches[] = {1, 16, 64, 256};
    if (o->list) return printf("%s,%zu\n", net->name, net->params) > 0;
    if (o->check) return check(net);
    if (o->write != NULL) return write_archive(net, o->write);
    bool fine = true;
    for (size_t b = 0; b < (o->batch ? 1 : 4) && fine; b++) {
        size_t batch = o->batch ? o->batch : batches[b];
        fine = o->bound ? print_bound(net, batch, o) : in_child(net, batch, o);
    }
    return fine;
}

int main(int argc, char **argv) {
    options o = {.threads = 1, .seconds = 0.5};
    bool fine = true;
    if (argc == 2 && strcmp(argv[1], "--help") == 0) return fputs(usage, stdout) < 0;
    if (!read_options(argc, argv, &o)) return fputs(usage, stderr), 2;
    if (o.cpu) bench_count_cpu_time();
    if (o.serve) return !serve(&o);
    if (o.bound)
        printf("net,batch,threads,gemm_ms,move_ms,bound_ms,gmacs,mbytes\n");
    else if (!o.list && !o.check && o.write == NULL)
        printf("net,batch,threads,step_ms,infer_ms,peak_mib,mallocs\n");
    for (size_t i = 0; i < bench_net_count; i++)
        if (o.net == NULL || o.net == &bench_nets[i]) fine = run(&bench_nets[i], &o) && fine;
    return !fine;
}

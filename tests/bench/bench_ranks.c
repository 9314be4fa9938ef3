/* Time training steps whose batches are cut into micro-batches, on the ranks of mpirun, and say what they send and wait. */
#include "mpi/world.h"
#include "nets.h"
#include "timing.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "hash.h"

static const char usage[] =
    "usage: [mpirun -n RANKS] bench_ranks --net NAME --batch N [--micro M] [--threads N] [--bucket BYTES] [--seconds S] [--cpu]\n"
    "       [mpirun -n RANKS] bench_ranks --net NAME --batch N [--micro M] [--threads N] --hash STEPS\n"
    "\n"
    "  --net NAME      a network of bench_nets that has one part\n"
    "  --batch N       of all ranks together\n"
    "  --micro M       items of a micro-batch; 0, the default, with one rank: a plain step (pleat_nn_step)\n"
    "  --threads N     of each rank (default 1)\n"
    "  --bucket BYTES  of gradients that travel together (default: the library's)\n"
    "  --seconds S     time for the median (default 0.5)\n"
    "  --cpu           processor time, for one rank with one thread where others are at work\n"
    "  --hash STEPS    time nothing: that many steps, then a hash of all parameters, the same for any number of ranks\n"
    "\n"
    "Prints CSV. ms: the median of a step, loader and update included. The rest is the mean over the steps, of rank 0: MB sent, and\n"
    "the least that it could be, 2 G (n-1)/n for G bytes of gradients and n ranks; ms from the first gradient's departure to the last\n"
    "sum's arrival (busy), those in which the rank did nothing but wait (waited), and the share that was hidden, 1 - waited/busy.\n";

enum { BATCHES = 8, WARM_STEPS = 5 };

typedef struct options {
    const bench_net *net;
    size_t batch, micro, bucket, hash;
    int threads;
    double seconds;
    bool cpu;
} options;

/* A network with its data, on one of the ranks. */
typedef struct run {
    subject s; /* its inputs are the data set; in a loss they are the micro-batch */
    pleat_nn_world *world;
    pleat_nn_loader *loader;
    pleat_nn_share *share; /* NULL: plain steps */
    size_t epoch;
} run;

static pleat_nn_field field_of(const subject *s, size_t i) {
    const net_input *in = &s->net->input[i];
    pleat_nn_field f = {.name = in->name, .type = PLEAT_NN_F32, .rank = in->rank};
    memcpy(f.shape, in->shape, in->rank * sizeof *in->shape);
    if (in->values == NET_LABELS) f.type = PLEAT_NN_LABELS, f.data = s->labels;
    if (in->values != NET_LABELS) f.data = pleat_const_f32(s->in[i]);
    return f;
}

static bool start(run *r, const options *o) {
    subject *s = &r->s;
    *s = (subject){.net = o->net, .batch = BATCHES * o->batch};
    if (!subject_start(s, o->threads)) return false;
    pleat_nn_data data = {.count = s->batch};
    for (size_t i = 0; i < NET_INPUTS && s->in[i] != NULL; i++) data.field[i] = field_of(s, i);
    r->world = pleat_nn_world_new(s->ctx, .messages = stderr, .bucket = o->bucket);
    r->loader = pleat_nn_loader_new(s->ctx, .data = &data, .batch = o->batch, .shuffle = true);
    if (r->world == NULL || r->loader == NULL) return false;
    if (o->micro > 0 || pleat_nn_world_size(r->world) > 1) {
        r->share = pleat_nn_share_new(.world = r->world, .micro = o->micro, .train = r->loader,
                                      .part = {{"net", s->module[0], .opt = s->opt[0]}});
        if (r->share == NULL) return false;
    }
    pleat_nn_loader_start(r->loader, 0, 0);
    return true;
}

static bool stop(run *r) {
    bool fine = r->s.ctx != NULL && pleat_error(r->s.ctx)->code == PLEAT_OK;
    if (!fine && r->s.ctx != NULL && pleat_nn_world_speaks(r->world))
        fprintf(stderr, "bench_ranks: %s\n", pleat_error(r->s.ctx)->text);
    pleat_nn_share_free(r->share);
    pleat_nn_loader_free(r->loader);
    pleat_nn_world_free(r->world);
    subject_stop(&r->s);
    return fine;
}

/* ---- a step ------------------------------------------------------------------------------------------ */

static pleat_tensor *loss(void *user, const pleat_nn_batch *b, double *metric) {
    const run *r = user;
    subject part = r->s;
    (void)metric;
    part.batch = b->n;
    for (size_t i = 0; i < NET_INPUTS; i++) {
        part.in[i] = b->field[i];
        if (b->label[i] != NULL) part.labels = (size_t *)b->label[i];
    }
    return part.net->loss(&part, 0);
}

static void step(void *arg) {
    run *r = arg;
    pleat_nn_batch b;
    pleat_scope scope = pleat_begin(r->s.ctx);
    if (!pleat_nn_loader_next(r->loader, &b)) {
        pleat_nn_loader_start(r->loader, ++r->epoch, 0);
        pleat_nn_loader_next(r->loader, &b);
    }
    pleat_nn_step_shared(r->s.opt[0], &b, loss, r, NULL, NULL);
    pleat_end(scope);
}

/* ---- what is printed --------------------------------------------------------------------------------- */

static void print_hash(run *r, const options *o) {
    const pleat_nn_module *m = r->s.module[0];
    uint64_t h = PLN_HASH_START;
    for (size_t i = 0; i < o->hash; i++) step(r);
    for (size_t i = 0; i < pleat_nn_param_count(m); i++) {
        const pleat_tensor *p = pleat_nn_param(m, i);
        h = pln_hash(h, pleat_const_f32(p), pleat_numel(p) * sizeof(float));
    }
    if (pleat_nn_world_rank(r->world) > 0 || pleat_error(r->s.ctx)->code) return;
    printf("net,batch,micro,ranks,threads,steps,hash\n%s,%zu,%zu,%zu,%d,%zu,%016" PRIx64 "\n", o->net->name,
           o->batch, o->micro, pleat_nn_world_size(r->world), o->threads, o->hash, h);
}

static int by_value(const void *a, const void *b) {
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

/* As many steps as fit into the time; rank 0 says how many, since all must make the same. */
static uint64_t count_steps(run *r, double seconds) {
    for (size_t i = 0; i < WARM_STEPS; i++) step(r);
    double start = bench_now();
    for (size_t i = 0; i < WARM_STEPS; i++) step(r);
    double each = (bench_now() - start) / WARM_STEPS;
    uint64_t n = 1 + (uint64_t)(seconds / each);
    if (pln_broadcast(r->world, &n, sizeof n)) n = 0;
    return n;
}

static void print_times(run *r, const options *o) {
    size_t n = (size_t)count_steps(r, o->seconds), ranks = pleat_nn_world_size(r->world);
    double *ms = calloc(n + 1, sizeof *ms);
    if (ms == NULL) pleat_fail(r->s.ctx, PLEAT_ERR_MEMORY, "bench_ranks", "no memory for %zu times", n);
    pleat_nn_traffic before = pleat_nn_world_traffic(r->world);
    for (size_t i = 0; i < n && ms != NULL; i++) {
        double start = bench_now();
        step(r);
        ms[i] = 1e3 * (bench_now() - start);
    }
    pleat_nn_traffic after = pleat_nn_world_traffic(r->world);
    if (ms != NULL) qsort(ms, n, sizeof *ms, by_value);
    double gradients = (double)subject_params(&r->s) * sizeof(float), steps = (double)(n ? n : 1);
    double waited = 1e3 * (after.waited - before.waited) / steps,
           busy = 1e3 * (after.busy - before.busy) / steps;
    if (pleat_nn_world_rank(r->world) == 0 && !pleat_error(r->s.ctx)->code)
        printf("net,batch,micro,ranks,threads,steps,ms,sent_mb,least_mb,waited_ms,busy_ms,hidden\n"
               "%s,%zu,%zu,%zu,%d,%zu,%.4f,%.4f,%.4f,%.4f,%.4f,%.3f\n",
               o->net->name, o->batch, o->micro, ranks, o->threads, n, ms[n / 2],
               1e-6 * (after.sent - before.sent) / steps,
               2e-6 * gradients * (double)(ranks - 1) / (double)ranks, waited, busy,
               busy > 0 ? 1 - waited / busy : 0);
    free(ms);
}

/* ---- the command ------------------------------------------------------------------------------------- */

static bool read_size(const char *text, size_t *n) {
    char *end;
    unsigned long value = strtoul(text, &end, 10);
    *n = value;
    return *text >= '0' && *text <= '9' && *end == 0 && value <= 100000000;
}

static bool read_options(int argc, char **argv, options *o) {
    size_t threads = 1;
    bool fine = true;
    for (int i = 1; i < argc && fine; i++) {
        const char *word = argv[i];
        if (strcmp(word, "--cpu") == 0) {
            o->cpu = true;
            continue;
        }
        const char *value = argv[++i];
        if (value == NULL) return false;
        fine = strcmp(word, "--net") == 0       ? (o->net = find_bench_net(value)) != NULL
               : strcmp(word, "--batch") == 0   ? read_size(value, &o->batch)
               : strcmp(word, "--micro") == 0   ? read_size(value, &o->micro)
               : strcmp(word, "--bucket") == 0  ? read_size(value, &o->bucket)
               : strcmp(word, "--hash") == 0    ? read_size(value, &o->hash)
               : strcmp(word, "--threads") == 0 ? read_size(value, &threads)
               : strcmp(word, "--seconds") == 0 ? (o->seconds = atof(value)) > 0
                                                : false;
    }
    o->threads = (int)threads;
    return fine && o->net != NULL && o->batch > 0 && threads > 0;
}

int main(int argc, char **argv) {
    options o = {.seconds = 0.5};
    run r = {.epoch = 0};
    if (argc == 2 && strcmp(argv[1], "--help") == 0) return fputs(usage, stdout) < 0;
    if (!read_options(argc, argv, &o)) return fputs(usage, stderr), 2;
    if (o.cpu) bench_count_cpu_time();
    if (start(&r, &o)) {
        if (r.s.module[1] != NULL)
            pleat_fail(r.s.ctx, PLEAT_ERR_ARGUMENT, "net", "%s has two parts; give one with one",
                       o.net->name);
        else if (o.hash > 0)
            print_hash(&r, &o);
        else
            print_times(&r, &o);
    }
    return !stop(&r);
}

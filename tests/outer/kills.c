/* Training that is killed. `train` is a small run that saves after each epoch; `hunt` starts it again and again, kills it at random
 * moments, and looks at what it leaves: see kills.sh. */
#define _POSIX_C_SOURCE 200809L

#include <dirent.h>
#include <errno.h>
#include <signal.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "pleat_nn.h"

enum { EPOCHS = 60, STEPS = 3 * EPOCHS };

static void die(const char *format, ...) {
    va_list args;
    va_start(args, format);
    fprintf(stderr, "kills: ");
    vfprintf(stderr, format, args);
    fprintf(stderr, "\n");
    va_end(args);
    exit(1);
}

/* ---- the run -------------------------------------------------------------------------------------------------- */

typedef struct job {
    pleat_ctx *ctx;
    pleat_nn_images images;
    pleat_nn_module *net;
    pleat_nn_optimizer *opt;
    pleat_nn_ema *ema;
    pleat_nn_loader *loader;
} job;

static pleat_tensor *loss(void *user, const pleat_nn_batch *b, double *metric) {
    pleat_tensor *y = pleat_nn_forward(user, b->x);
    *metric = pleat_nn_accuracy(y, b->labels);
    return pleat_nn_cross_entropy_loss(y, .labels = b->labels);
}

static void start(job *j) {
    j->ctx = pleat_ctx_new(.threads = 1, .seed = 3);
    if (!j->ctx || pleat_nn_shapes(j->ctx, 24, 8, 8, 1, &j->images)) die("no memory");
    j->net = pleat_nn_sequential(
        j->ctx, pleat_nn_conv2d(j->ctx, 1, 4, .kernel = {3, 3}, .stride = {2, 2}, .pad = {1, 1}),
        pleat_nn_batch_norm2d(j->ctx, 4), pleat_nn_relu(j->ctx), pleat_nn_flatten(j->ctx),
        pleat_nn_dropout(j->ctx, 0.2), pleat_nn_linear(j->ctx, 64, 5));
    j->opt = pleat_nn_adam(j->net, .lr = 1e-2);
    j->ema = pleat_nn_ema_new(j->net, 0.9);
    j->loader = pleat_nn_loader_new(j->ctx, &j->images, .batch = 8, .shuffle = true, .seed = 5,
                                    .transform = {.flip = 0.5, .noise = 0.1});
    if (!j->opt || !j->ema || !j->loader) die("%s", pleat_error(j->ctx)->text);
}

static void end(job *j) {
    pleat_nn_loader_free(j->loader);
    pleat_nn_ema_free(j->ema);
    pleat_nn_optimizer_free(j->opt);
    pleat_nn_free(j->net);
    pleat_nn_images_free(&j->images);
    pleat_ctx_free(j->ctx);
}

/* Everything that a run comes to, but for its times: state, averages, random stream, losses. */
static void write_bits(job *j, const pleat_nn_run *run, const char *path) {
    static double values[1024];
    FILE *f = fopen(path, "wb");
    if (!f) die("cannot write %s: %s", path, strerror(errno));
    fwrite(pleat_ctx_rng(j->ctx), sizeof(pleat_rng), 1, f);
    for (int half = 0; half < 2; half++, pleat_nn_ema_swap(j->ema))
        for (size_t i = 0; i < pleat_nn_state_count(j->net); i++) {
            pleat_tensor *t = pleat_nn_state(j->net, i);
            pleat_read_f64(t, values);
            fwrite(values, sizeof *values, pleat_numel(t), f);
        }
    for (size_t i = 0; i < run->epochs; i++) fwrite(&run->epoch[i], 2 * sizeof(double), 1, f);
    fwrite(&run->steps, sizeof run->steps, 1, f);
    if (fclose(f)) die("cannot write %s: %s", path, strerror(errno));
}

/* In the folder, from its checkpoint on; at the end, the bits go to FOLDER/bits. */
static int train(const char *folder) {
    char path[512];
    job j;
    pleat_nn_run run;
    start(&j);
    if (pleat_nn_fit(&run, .part = {{"net", j.net, j.opt, j.ema}}, .train = j.loader, .epochs = EPOCHS,
                     .loss = loss, .user = j.net, .metric_name = "accuracy",
                     .schedule = {.warmup = 5, .cosine = STEPS}, .folder = folder, .resume = true))
        die("%s", pleat_error(j.ctx)->text);
    snprintf(path, sizeof path, "%s/bits", folder);
    if (run.outcome == PLEAT_NN_FINISHED) write_bits(&j, &run, path);
    pleat_nn_run_free(&run);
    end(&j);
    return 0;
}

/* ---- what a killed one leaves ------------------------------------------------------------------------------------ */

/* The steps in the checkpoint, which must load; 0 if there is none. */
static size_t steps_in(const char *folder) {
    char path[512];
    job j;
    size_t epoch, batch, steps;
    snprintf(path, sizeof path, "%s/checkpoint.safetensors", folder);
    if (access(path, F_OK)) return 0;
    start(&j);
    pleat_nn_note note = {.key = "place"};
    pleat_nn_checkpoint c = {.ctx = j.ctx, .part = {{"net", j.net, j.opt, j.ema}}, .notes = 1, .note = &note};
    if (pleat_nn_load_checkpoint(path, &c)) die("after a kill: %s", pleat_error(j.ctx)->text);
    if (sscanf(note.text, "%zu %zu %zu", &epoch, &batch, &steps) != 3) die("%s: \"%s\"", path, note.text);
    snprintf(path, sizeof path, "%s/best.safetensors", folder);
    if (!access(path, F_OK) && pleat_nn_load(path, j.net)) die("after a kill: %s", pleat_error(j.ctx)->text);
    end(&j);
    return steps;
}

/* The temporary files of the folder. Removes all others, if asked to. */
static size_t sweep(const char *folder, bool all) {
    char path[1024];
    size_t n = 0;
    DIR *d = opendir(folder);
    for (struct dirent *e; d && (e = readdir(d));) {
        bool temporary = !strncmp(e->d_name, ".pleat-", 7);
        n += temporary;
        snprintf(path, sizeof path, "%s/%s", folder, e->d_name);
        if (all && !temporary && strcmp(e->d_name, ".") && strcmp(e->d_name, "..")) remove(path);
    }
    if (d) closedir(d);
    return n;
}

static bool same_bits(const char *one, const char *other) {
    static char a[65536], b[65536];
    FILE *f = fopen(one, "rb"), *g = fopen(other, "rb");
    if (!f || !g) die("%s or %s is not there", one, other);
    size_t n = fread(a, 1, sizeof a, f), m = fread(b, 1, sizeof b, g);
    fclose(f);
    fclose(g);
    return n == m && n > 0 && n < sizeof a && !memcmp(a, b, n);
}

/* ---- hunting -------------------------------------------------------------------------------------------------------- */

typedef struct hunt {
    const char *program;
    char whole[300], killed[300]; /* folders: of the run that nobody disturbs, of the other */
    pleat_rng random;
    double seconds; /* of a run, about: the first may have met a slow disk */
    size_t kills, in_saves, after_signals, runs, steps;
} hunt;

static double now(void) {
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

static void wait_for(double seconds) {
    struct timespec t = {(time_t)seconds, (long)(1e9 * (seconds - (double)(time_t)seconds))};
    while (nanosleep(&t, &t) && errno == EINTR) {}
}

static pid_t start_run(const hunt *h, const char *folder) {
    pid_t child = fork();
    if (child < 0) die("cannot fork: %s", strerror(errno));
    if (child) return child;
    signal(SIGINT, SIG_DFL); /* ignored in what a shell starts in the background */
    execl(h->program, h->program, "train", folder, (char *)NULL);
    _exit(127);
}

/* True if it ended by itself, false if a signal ended it: *by. */
static bool ended(pid_t child, int *by) {
    int status;
    if (waitpid(child, &status, 0) != child) die("waitpid: %s", strerror(errno));
    *by = WIFSIGNALED(status) ? WTERMSIG(status) : 0;
    if (*by == SIGKILL || *by == SIGINT) return false; /* SIGINT: before the run counts it */
    if (!WIFEXITED(status) || WEXITSTATUS(status)) die("the run ended with status %x", (unsigned)status);
    return true;
}

static void expect_same(hunt *h) {
    char one[400], other[400];
    snprintf(one, sizeof one, "%s/bits", h->whole);
    snprintf(other, sizeof other, "%s/bits", h->killed);
    if (!same_bits(one, other)) die("the run that was killed and resumed ended with other bits");
    h->runs++;
    h->steps = 0;
    size_t left = sweep(h->killed, true);
    if (left) die("%zu temporary files of those that were killed are still there", left);
}

/* At a random moment, and every fourth time just after a Ctrl-C, when it saves within an epoch. */
static void kill_once(hunt *h) {
    char bits[400];
    int by;
    pid_t child = start_run(h, h->killed);
    bool signal = pleat_rng_below(&h->random, 4) == 0;
    wait_for(h->seconds / 3 * pleat_rng_uniform(&h->random));
    if (signal) {
        kill(child, SIGINT);
        wait_for(0.004 * pleat_rng_uniform(&h->random));
    }
    kill(child, SIGKILL);
    if (ended(child, &by)) {
        snprintf(bits, sizeof bits, "%s/bits", h->killed);
        if (!access(bits, F_OK)) expect_same(h);
        h->seconds *= 0.7;
        return;
    }
    h->seconds *= 1.05;
    h->kills += by == SIGKILL;
    h->after_signals += signal && by == SIGKILL;
    h->in_saves += sweep(h->killed, false) > 0;
    size_t steps = steps_in(h->killed);
    if (steps < h->steps) die("the checkpoint fell from step %zu back to %zu", h->steps, steps);
    h->steps = steps;
}

static int hunt_down(const char *program, const char *folder, size_t kills, uint64_t seed) {
    int by;
    hunt h = {.program = program, .random = pleat_rng_new(seed, 0)};
    double begin = now();
    snprintf(h.whole, sizeof h.whole, "%s/whole", folder);
    snprintf(h.killed, sizeof h.killed, "%s/killed", folder);
    if (!ended(start_run(&h, h.whole), &by)) die("somebody else has killed the run");
    h.seconds = now() - begin;
    while (h.kills < kills) kill_once(&h);
    if (!ended(start_run(&h, h.killed), &by)) die("somebody else has killed the run");
    expect_same(&h);
    printf(
        "%zu kills, %zu of them within a save and %zu just after Ctrl-C; %zu runs ended with the same bits; "
        "seed %ju, %.1f s\n",
        h.kills, h.in_saves, h.after_signals, h.runs, (uintmax_t)seed, now() - begin);
    return 0;
}

int main(int argc, char **argv) {
    if (argc == 3 && !strcmp(argv[1], "train")) return train(argv[2]);
    if (argc == 5 && !strcmp(argv[1], "hunt"))
        return hunt_down(argv[0], argv[2], strtoul(argv[3], NULL, 10), strtoul(argv[4], NULL, 10));
    die("usage: kills train FOLDER | kills hunt FOLDER KILLS SEED");
}

#define _POSIX_C_SOURCE 200809L /* gethostname */

#include "example.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "guess.h"

static const char fashion_mnist[] = "/usr/share/datasets/fashion-mnist"; /* Debian: dataset-fashion-mnist */
static const char *const fashion_names[10] = {"T-shirt", "trouser", "pullover", "dress", "coat",
                                              "sandal",  "shirt",   "sneaker",  "bag",   "boot"};

/* ---- options ------------------------------------------------------------------------------------------ */

enum { DECISIVE = 6, COMMON = 13, OWN = 16 }; /* options: those that decide the result come first */

/* "--lr 0.001 " behind what the line holds. */
static void append_option(char *line, size_t bytes, const option_row *r) {
    size_t used = strlen(line);
    char *to = line + used;
    if (r->kind == OPTION_COUNT) {
        snprintf(to, bytes - used, "--%s %zu ", r->name, *(size_t *)r->value);
    } else if (r->kind == OPTION_REAL) {
        snprintf(to, bytes - used, "--%s %.9g ", r->name, *(double *)r->value);
    } else if (r->kind == OPTION_SWITCH) {
        if (*(bool *)r->value) snprintf(to, bytes - used, "--%s ", r->name);
    } else {
        const char *text = *(const char **)r->value;
        if (text != NULL) snprintf(to, bytes - used, "--%s %.400s ", r->name, text);
    }
}

/* Append a word; in quotes if a shell would not take it as it is. A word that does not fit ends as "...". */
static void append_word(char *line, size_t bytes, const char *word) {
    static const char plain[] = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-_./=+,:@%";
    size_t used = strlen(line), plain_ones = strspn(word, plain);
    bool quoted = word[plain_ones] != 0 || *word == 0;
    char *to = line + used;
    if (used + 4 * strlen(word) + 8 > bytes) {
        snprintf(to, bytes - used, " ...");
        return;
    }
    if (used > 0) *to++ = ' ';
    if (quoted) *to++ = '\'';
    for (; *word != 0; word++) {
        if (*word == '\'') {
            memcpy(to, "'\\'", 3);
            to += 3;
        }
        *to++ = *word;
    }
    if (quoted) *to++ = '\'';
    *to = 0;
}

void example_options(example *e, const char *about, const option_row *own, size_t count, int argc,
                     char **argv) {
    if (e->out == NULL) e->out = "out";
    if (!(e->timeout > 0)) e->timeout = 60;
    option_row rows[COMMON + OWN] = {
        /* those that decide the result */
        {"data", "WHAT", "fashion-mnist, shapes (generated), or a folder with MNIST's four files",
         OPTION_TEXT, &e->data, 0, 0},
        {"limit", "N", "use at most so many training images; 0: all", OPTION_COUNT, &e->limit, 0, SIZE_MAX},
        {"batch", "N", "images a step", OPTION_COUNT, &e->batch, 1, 60000},
        {"lr", "RATE", "learning rate", OPTION_REAL, &e->lr, 0, 0},
        {"seed", "N", "of weights, order and noise; the same seed gives the same bits", OPTION_COUNT,
         &e->seed, 0, SIZE_MAX},
        {"load", "FILE", "start from these parameters (safetensors, onnx), and say first how good they are",
         OPTION_TEXT, &e->load, 0, 0},
        /* and those that do not, or only by how far it goes */
        {"micro", "N",
         "images that a rank computes at a time, part of the result; 0: 16 under mpirun, else the batch",
         OPTION_COUNT, &e->micro, 0, 60000},
        {"epochs", "N", "passes over the training images", OPTION_COUNT, &e->epochs, 1, 100000},
        {"threads", "N", "0: all cores; the result does not depend on it", OPTION_COUNT, &e->threads, 0,
         1024},
        {"timeout", "SECONDS", "under mpirun: the run ends if a rank is silent for so long", OPTION_REAL,
         &e->timeout, 0, 0},
        {"out", "FOLDER", "where the results go", OPTION_TEXT, &e->out, 0, 0},
        {"export", "FILE.onnx", "write the network as an ONNX model, too", OPTION_TEXT, &e->export, 0, 0},
        {"resume", "", "go on where the last run in that folder ended or was stopped", OPTION_SWITCH,
         &e->resume, 0, 0},
    };
    for (size_t i = 0; i < count && i < OWN; i++) rows[COMMON + i] = own[i];
    option_table table = {e->name, about, rows, COMMON + count};
    read_options(&table, argc, argv);
    for (int i = 0; i < argc; i++) append_word(e->command, sizeof e->command, argv[i]);
    for (size_t i = 0; i < COMMON + count; i++)
        if (i < DECISIVE || i >= COMMON) append_option(e->options, sizeof e->options, &rows[i]);
    e->options[strcspn(e->options, "\n")] = 0;
}

/* ---- data --------------------------------------------------------------------------------------------- */

/* DIR/NAME.gz if there is one, else DIR/NAME. */
static const char *data_file(char *path, const char *dir, const char *name) {
    snprintf(path, EXAMPLE_PATH, "%s/%s.gz", dir, name);
    if (access(path, F_OK) != 0) snprintf(path, EXAMPLE_PATH, "%s/%s", dir, name);
    return path;
}

static pleat_status read_pair(example *e, const char *dir, const char *prefix, pleat_nn_images *out) {
    char images[EXAMPLE_PATH], labels[EXAMPLE_PATH], name[64];
    snprintf(name, sizeof name, "%s-images-idx3-ubyte", prefix);
    data_file(images, dir, name);
    snprintf(name, sizeof name, "%s-labels-idx1-ubyte", prefix);
    pleat_status s = pleat_nn_read_idx(e->ctx, images, data_file(labels, dir, name), out);
    if (s != PLEAT_OK || (out->H == EXAMPLE_SIDE && out->W == EXAMPLE_SIDE)) return s;
    return pleat_fail(e->ctx, PLEAT_ERR_SHAPE, "data", "%s: the images are %zux%zu, this network takes %dx%d",
                      dir, out->H, out->W, EXAMPLE_SIDE, EXAMPLE_SIDE);
}

static pleat_status no_data(const example *e, const char *data) {
    guess meant = {.typed = data, .length = strlen(data)};
    char question[80];
    guess_consider_all(&meant, (const char *const[]){"fashion-mnist", "shapes", NULL});
    return pleat_fail(e->ctx, PLEAT_ERR_IO, "data", "%s: there is no such folder%s", data,
                      guess_question(&meant, question, sizeof question));
}

static pleat_status load_data(example *e) {
    const char *data = e->data;
    bool found = access(fashion_mnist, F_OK) == 0;
    if (data == NULL && !found)
        printf("no data set in %s (Debian package dataset-fashion-mnist): taking generated shapes\n",
               fashion_mnist);
    if (data == NULL) data = e->data = found ? "fashion-mnist" : "shapes";
    pleat_status s;
    struct stat st;
    if (strcmp(data, "shapes") == 0) {
        s = pleat_nn_shapes(e->ctx, 20000, EXAMPLE_SIDE, EXAMPLE_SIDE, e->seed, &e->train);
        if (s == PLEAT_OK)
            s = pleat_nn_shapes(e->ctx, 2000, EXAMPLE_SIDE, EXAMPLE_SIDE, e->seed + 1, &e->test);
    } else {
        if (strcmp(data, "fashion-mnist") == 0) {
            if (!found)
                return pleat_fail(e->ctx, PLEAT_ERR_IO, "data",
                                  "%s is not there; apt-get install dataset-fashion-mnist", fashion_mnist);
            data = fashion_mnist;
        } else if (stat(data, &st) != 0 || !S_ISDIR(st.st_mode)) {
            return no_data(e, data);
        }
        s = read_pair(e, data, "train", &e->train);
        if (s == PLEAT_OK) s = read_pair(e, data, "t10k", &e->test);
    }
    if (e->limit > 0 && e->limit < e->train.count) e->train.count = e->limit;
    return s;
}

const char *const *example_class_names(const example *e) {
    if (e->test.names != NULL) return (const char *const *)e->test.names;
    bool fashion = strcmp(e->data, "fashion-mnist") == 0;
    return fashion && e->test.classes == 10 ? fashion_names : NULL;
}

/* ---- the frame of a program --------------------------------------------------------------------------- */

static pleat_status make_folder(const example *e) {
    struct stat st;
    if (mkdir(e->out, 0777) != 0 && errno != EEXIST)
        return pleat_fail(e->ctx, PLEAT_ERR_IO, "out", "cannot make the folder %s: %s", e->out,
                          strerror(errno));
    if (stat(e->out, &st) == 0 && !S_ISDIR(st.st_mode))
        return pleat_fail(e->ctx, PLEAT_ERR_IO, "out", "%s: is a file, --out wants a folder", e->out);
    if (access(e->out, W_OK | X_OK) == 0) return PLEAT_OK;
    return pleat_fail(e->ctx, PLEAT_ERR_IO, "out", "%s: cannot write there: %s", e->out, strerror(errno));
}

/* Join the ranks of mpirun. Rank 0 speaks and writes for all; cores that several ranks share are dealt out. */
static bool join_world(example *e) {
    e->world = pleat_nn_world_new(e->ctx, .messages = stderr, .timeout = e->timeout);
    size_t ranks = pleat_nn_world_size(e->world), here = pleat_nn_world_neighbours(e->world);
    int cores = pleat_threads(e->ctx);
    if (ranks > 1 && e->micro == 0) e->micro = 16;
    if (e->micro > 0) {
        size_t used = strlen(e->options);
        snprintf(e->options + used, sizeof e->options - used, "--micro %zu ", e->micro);
    }
    if (here > 1 && e->threads == 0) pleat_set_threads(e->ctx, cores > (int)here ? cores / (int)here : 1);
    bool quiet = pleat_nn_world_rank(e->world) > 0;
    return e->world != NULL && (!quiet || freopen("/dev/null", "w", stdout) != NULL);
}

bool example_begin(example *e) {
    e->ctx = pleat_ctx_new(.threads = (int)e->threads, .seed = e->seed);
    if (e->ctx == NULL || !join_world(e) || make_folder(e) != PLEAT_OK || load_data(e) != PLEAT_OK)
        return false;
    if (e->batch > e->train.count) {
        pleat_fail(e->ctx, PLEAT_ERR_ARGUMENT, "batch",
                   "%zu is more than the %zu training images; give a smaller --batch", e->batch,
                   e->train.count);
        return false;
    }
    e->train_loader = pleat_nn_loader_new(e->ctx, &e->train, .batch = e->batch, .shuffle = true,
                                          .seed = e->seed, .transform = e->transform);
    pleat_nn_transform still = e->transform; /* the same pixels each time, but for the noise */
    still.flip = still.flip_rows = 0;
    still.crop_pad = 0;
    still.centre = true;
    e->test_loader = pleat_nn_loader_new(e->ctx, &e->test, .batch = 250, .keep_last = true, .seed = e->seed,
                                         .transform = still);
    return e->train_loader != NULL && e->test_loader != NULL;
}

/* The state of a model, by its names. ONNX has no place for some buffers, as the number of batches of a norm. */
static bool load_onnx(const example *e, pleat_nn_module *net) {
    char name[300];
    pleat_nn_module *from = pleat_nn_onnx_load(e->ctx, e->load);
    pleat_status status = from != NULL ? PLEAT_OK : PLEAT_ERR_IO;
    for (size_t i = 0; status == PLEAT_OK && i < pleat_nn_state_count(net); i++) {
        pleat_tensor *t = pleat_nn_find_state(from, pleat_nn_state_name(net, i, name, sizeof name));
        if (t != NULL)
            status = pleat_assign(pleat_nn_state(net, i), t);
        else if (pleat_nn_find_param(net, name) != NULL)
            status = pleat_fail(e->ctx, PLEAT_ERR_FORMAT, "load", "%s has no tensor %s", e->load, name);
    }
    pleat_nn_free(from);
    return status == PLEAT_OK;
}

bool example_load(const example *e, pleat_nn_module *net) {
    if (net == NULL || e->load == NULL) return net != NULL;
    size_t n = strlen(e->load);
    bool onnx = n > 5 && strcmp(e->load + n - 5, ".onnx") == 0;
    return onnx ? load_onnx(e, net) : pleat_nn_load(e->load, net) == PLEAT_OK;
}

static bool say_how_good(const example *e, const pleat_nn_fit_args *args) {
    double loss, metric;
    if (e->load == NULL || args->loss == NULL) return true;
    if (pleat_nn_evaluate(args, e->test_loader, &loss, &metric) != PLEAT_OK) return false;
    printf("%s: test loss %.6f", e->load, loss);
    if (args->metric_name != NULL) printf(", %s %.4f", args->metric_name, metric);
    printf("\n");
    return true;
}

/* Whether the library can write such a file; says so if not. */
static bool can_write(const example *e, const char *library, const char *option, const char *name) {
    if (strstr(pleat_build_info(), library) != NULL) return true;
    printf("not written  %s/%s  (pleat was built without %s; -D%s=enabled)\n", e->out, name, library, option);
    return false;
}

bool example_fit(example *e, pleat_nn_fit_args args) {
    size_t params = 0;
    for (size_t i = 0; i < PLEAT_NN_PARTS && args.part[i].net != NULL; i++)
        params += pleat_nn_param_numel(args.part[i].net);
    int threads = pleat_threads(e->ctx);
    printf("%zu training and %zu test images, %zu parameters, batch %zu, %d thread%s", e->train.count,
           e->test.count, params, e->batch, threads, threads == 1 ? "" : "s");
    if (pleat_nn_world_size(e->world) > 1)
        printf(" on each of %zu ranks, micro-batches of %zu", pleat_nn_world_size(e->world), e->micro);
    printf("\n");
    fflush(stdout);
    args.run = &e->run;
    args.train = e->train_loader;
    if (args.loss != NULL) args.valid = e->test_loader;
    args.epochs = e->epochs;
    args.folder = can_write(e, "libcjson", "safetensors", "metrics.csv and checkpoints") ? e->out : NULL;
    args.resume = e->resume;
    args.options = e->options;
    args.progress = stdout;
    args.world = pleat_nn_world_size(e->world) > 1 ? e->world : NULL;
    args.micro = e->micro;
    if (!say_how_good(e, &args) || pleat_nn_fit_with(args) != PLEAT_OK) return false;
    if (e->run.outcome == PLEAT_NN_INTERRUPTED) printf("the same command with --resume goes on from there\n");
    return e->run.outcome != PLEAT_NN_INTERRUPTED && pleat_nn_world_rank(e->world) == 0;
}

int example_end(example *e) {
    bool failed = e->ctx == NULL || pleat_error(e->ctx)->code != PLEAT_OK;
    if (failed && pleat_nn_world_speaks(e->world))
        fprintf(stderr, "%s: %s\n", e->name, e->ctx == NULL ? "no memory" : pleat_error(e->ctx)->text);
    bool interrupted = e->run.outcome == PLEAT_NN_INTERRUPTED;
    pleat_nn_run_free(&e->run);
    pleat_nn_loader_free(e->train_loader);
    pleat_nn_loader_free(e->test_loader);
    pleat_nn_images_free(&e->train);
    pleat_nn_images_free(&e->test);
    pleat_nn_world_free(e->world);
    pleat_ctx_free(e->ctx);
    return failed ? 1 : interrupted ? 130 : 0;
}

/* ---- results ------------------------------------------------------------------------------------------ */

char *example_path(const example *e, const char *name, char *buffer) {
    snprintf(buffer, EXAMPLE_PATH, "%s/%s", e->out, name);
    return buffer;
}

static void wrote(const example *e, const char *name, const char *what) {
    printf("written  %s/%s  (%s)\n", e->out, name, what);
}

void example_picture(const example *e, const char *name, const char *what, const example_grid *g) {
    char path[EXAMPLE_PATH];
    if (can_write(e, "libpng", "png", name) &&
        pleat_nn_write_png_grid(example_path(e, name, path), g->images, g->columns, g->scale) == PLEAT_OK)
        wrote(e, name, what);
}

void example_save(const example *e, const pleat_nn_module *net) {
    char name[64], path[EXAMPLE_PATH];
    snprintf(name, sizeof name, "%s.safetensors", e->name);
    if (!can_write(e, "libcjson", "safetensors", name)) return;
    if (pleat_nn_save(example_path(e, name, path), net) == PLEAT_OK)
        wrote(e, name, "parameters; in Python safetensors.torch.load_file reads them");
}

void example_export(const example *e, pleat_nn_module *net, size_t rank, const size_t *shape) {
    if (e->export == NULL) return;
    pleat_nn_set_training(net, false);
    if (pleat_nn_onnx_save(e->export, net, rank, shape) == PLEAT_OK)
        printf("written      %s  the network; pleat run, and ONNX Runtime, compute it\n", e->export);
}

pleat_nn_report *example_report(const example *e, const char *title, const char *about) {
    char images[400], epochs[64], threads[16], date[64] = "", host[256] = "";
    time_t now = time(NULL);
    strftime(date, sizeof date, "%Y-%m-%d %H:%M UTC", gmtime(&now)); /* numbers alone, in every locale */
    if (gethostname(host, sizeof host - 1) != 0) snprintf(host, sizeof host, "unknown");
    pleat_nn_report *r = pleat_nn_report_new(e->ctx, title, about);
    snprintf(images, sizeof images, "%zu training, %zu test, from %.300s", e->train.count, e->test.count,
             e->data);
    snprintf(epochs, sizeof epochs, "%zu (%zu steps)", e->run.epochs, e->run.steps);
    snprintf(threads, sizeof threads, "%d", pleat_threads(e->ctx));
    const char *const pairs[][2] = {
        {"command", e->command}, {"date", date},     {"host", host},      {"library", "pleat " PLEAT_VERSION},
        {"images", images},      {"epochs", epochs}, {"threads", threads}};
    pleat_nn_report_heading(r, "The run");
    pleat_nn_report_table(r, sizeof pairs / sizeof *pairs, pairs);
    return r;
}

void example_write_report(const example *e, pleat_nn_report *report) {
    char path[EXAMPLE_PATH];
    if (pleat_nn_report_write(report, example_path(e, "report.html", path)) == PLEAT_OK)
        wrote(e, "report.html", "curves and pictures, for a browser");
    pleat_nn_report_free(report);
}

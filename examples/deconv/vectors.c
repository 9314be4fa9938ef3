/* deconv vectors: golden vectors. Every value is computed by all four methods, which must agree, before
 * anything is written; the folder appears whole or not at all. */
#define _GNU_SOURCE /* syncfs */

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "cases.h"

static const char help[] =
    "usage: deconv vectors --output DIR [--framework FRAMEWORK] [--op OP] [--count N] [--seed S] [--integers] [--dtype T]\n"
    "\n"
    "Writes golden vectors for another implementation to be compared with: for each layer input, weight, bias, output, a\n"
    "gradient of the output, and the gradients of input, weight and bias that follow, as .npy files in the framework's\n"
    "layouts; and manifest.jsonl, a line of JSON for each layer with all its arguments. Edge cases come first, then random\n"
    "layers. The same options give the same bytes, and a larger --count the same vectors and more.\n"
    "\n"
    "  --output DIR            the folder, new or empty; it appears when it is whole\n"
    "  --framework FRAMEWORK   torch (default), tensorflow, onnx or keras: whose arguments and layouts\n"
    "  --op OP                 conv_transpose (default) or conv\n"
    "  --count N               number of layers (default 500)\n"
    "  --seed S                of the random layers and of all values (default 0)\n"
    "  --integers              small whole numbers, so that every correct implementation gives the same bits\n"
    "  --dtype T               float32 (default) or float64\n"
    "\n"
    "Every value is computed by four methods, which must agree. Exit status: 0; 1 for an I/O failure or if the methods\n"
    "disagree; 2 for wrong options.\n";

enum { ARRAYS = 8, MOST_CASES = 100000 };

static const char *const array_names[ARRAYS] = {"input",       "weight",     "bias",        "output",
                                                "grad_output", "grad_input", "grad_weight", "grad_bias"};

typedef struct job {
    pleat_framework framework;
    bool transpose, integers;
    pleat_dtype dtype;
    size_t count, seed;
    const char *output;
    char *target, *folder; /* the folder's place, and where it is until it is whole */
    FILE *manifest;
    pleat_ctx *ctx;
} job;

/* ---- values --------------------------------------------------------------------------------------------- */

static pleat_tensor *draw_values(const job *j, pleat_rng *r, size_t rank, const size_t *shape) {
    pleat_tensor *wide = pleat_zeros(j->ctx, PLEAT_F64, rank, shape);
    pleat_tensor *t = pleat_zeros(j->ctx, j->dtype, rank, shape);
    double *v = pleat_f64(wide);
    for (size_t i = 0; v && i < pleat_numel(wide); i++)
        v[i] = j->integers ? (double)pleat_rng_below(r, 9) - 4 : 2 * pleat_rng_uniform(r) - 1;
    pleat_assign(t, wide);
    return t;
}

static void image_shape(const pleat_layer *l, size_t N, size_t channels, const size_t size[2],
                        size_t shape[4]) {
    bool last = l->channels_last;
    shape[0] = N;
    shape[last ? 3 : 1] = channels;
    shape[last ? 1 : 2] = size[0], shape[last ? 2 : 3] = size[1];
}

static void weight_shape(const vector_case *c, size_t shape[4]) {
    const pleat_layer *l = &c->layer;
    bool kernel_first = l->framework == PLEAT_TENSORFLOW || l->framework == PLEAT_KERAS;
    size_t in = c->channels[0], out = c->channels[1], *front = shape + (kernel_first ? 2 : 0);
    if (l->transpose != kernel_first)
        front[0] = l->transpose ? in : in / l->groups, front[1] = l->transpose ? out / l->groups : out;
    else
        front[0] = out, front[1] = l->transpose ? in : in / l->groups;
    shape[kernel_first ? 0 : 2] = c->kernel[0], shape[kernel_first ? 1 : 3] = c->kernel[1];
}

/* Whole numbers must agree exactly, others to a few roundings of the largest. */
static bool agree(const job *j, const pleat_tensor *a, const pleat_tensor *b) {
    size_t n = pleat_numel(a);
    double *u = malloc((2 * n + 1) * sizeof *u), worst = 0, scale = 0;
    if (!u || pleat_is_poison(a) || pleat_is_poison(b) || n != pleat_numel(b)) {
        free(u);
        return false;
    }
    pleat_read_f64(a, u);
    pleat_read_f64(b, u + n);
    for (size_t i = 0; i < n; i++) {
        worst = fmax(worst, fabs(u[i] - u[n + i]));
        scale = fmax(scale, fabs(u[i]));
    }
    free(u);
    return worst <= (j->integers ? 0 : j->dtype == PLEAT_F32 ? 1e-5 : 1e-12) * scale;
}

/* The eight arrays; NULL where all is well, otherwise the reason. */
static const char *compute(const job *j, const vector_case *c, size_t index, pleat_tensor *arrays[ARRAYS]) {
    pleat_rng r = pleat_rng_new(j->seed, 2 * (uint64_t)index + 1);
    size_t image[4], weight[4], result[4];
    image_shape(&c->layer, c->N, c->channels[0], c->in, image);
    image_shape(&c->layer, c->N, c->channels[1], c->plan.out, result);
    weight_shape(c, weight);
    arrays[0] = draw_values(j, &r, 4, image);
    arrays[1] = draw_values(j, &r, 4, weight);
    arrays[2] = draw_values(j, &r, 1, &c->channels[1]);
    arrays[4] = draw_values(j, &r, 4, result);
    for (size_t m = 0; m < METHODS; m++) {
        layer_result y = run_layer(&c->layer, &methods[m], arrays[0], arrays[1], arrays[2], arrays[4]);
        pleat_tensor *found[4] = {y.output, y.grad_input, y.grad_weight, y.grad_bias};
        static const int place[4] = {3, 5, 6, 7};
        if (pleat_error(j->ctx)->code) return pleat_error(j->ctx)->text;
        for (int k = 0; k < 4; k++) {
            if (m == 0) arrays[place[k]] = found[k];
            if (!agree(j, arrays[place[k]], found[k])) return "the methods disagree; nothing was written";
        }
    }
    return NULL;
}

/* ---- the manifest --------------------------------------------------------------------------------------- */

static void put_sizes(FILE *f, const char *name, const size_t *sizes, size_t n) {
    fprintf(f, ", \"%s\": [", name);
    for (size_t i = 0; i < n; i++) fprintf(f, "%s%zu", i ? ", " : "", sizes[i]);
    fputc(']', f);
}

static void put_word(FILE *f, const char *name, const char *word) {
    fprintf(f, ", \"%s\": \"%s\"", name, word);
}

static void put_pads(FILE *f, const char *name, const pleat_layer *l, bool torch, bool tensorflow) {
    static const size_t orders[2][4] = {{0, 1, 2, 3}, {0, 2, 1, 3}};
    size_t pads[4];
    for (size_t k = 0; k < 4; k++) pads[k] = (size_t)l->pads[orders[tensorflow][k]];
    put_sizes(f, name, pads, torch ? 2 : 4);
}

static void put_padding(FILE *f, const pleat_layer *l) {
    static const char *const onnx[] = {"NOTSET", "VALID", NULL, "SAME_UPPER", "SAME_LOWER"};
    bool torch = l->framework == PLEAT_TORCH, tensorflow = l->framework == PLEAT_TENSORFLOW;
    bool same = l->padding == PLEAT_PADDING_SAME;
    if (l->framework == PLEAT_ONNX) {
        put_word(f, "auto_pad", onnx[l->padding]);
        if (l->padding == PLEAT_PADDING_EXPLICIT) put_pads(f, "pads", l, false, false);
    } else if (l->padding == PLEAT_PADDING_EXPLICIT) {
        put_pads(f, "padding", l, torch, tensorflow);
    } else {
        put_word(f, "padding", tensorflow ? (same ? "SAME" : "VALID") : (same ? "same" : "valid"));
    }
}

/* The arguments under the framework's own names; what the framework has no word for is left out. */
static void put_arguments(FILE *f, const pleat_layer *l) {
    static const char *const strides[] = {"stride", "strides", "strides", "strides"};
    static const char *const dilations[] = {"dilation", "dilations", "dilations", "dilation_rate"};
    fprintf(f, ", \"arguments\": {\"%s\": [%zu, %zu]", strides[l->framework], l->stride[0], l->stride[1]);
    put_padding(f, l);
    if (l->has_output_padding) put_sizes(f, "output_padding", l->output_padding, 2);
    if (l->has_output_size)
        put_sizes(f, l->framework == PLEAT_TORCH ? "output_size" : "output_shape", l->output_size, 2);
    put_sizes(f, dilations[l->framework], l->dilation, 2);
    if (l->framework == PLEAT_TORCH || l->framework == PLEAT_ONNX)
        fprintf(f, ", \"%s\": %zu", l->framework == PLEAT_TORCH ? "groups" : "group", l->groups);
    else if (l->groups > 1)
        fprintf(f, ", \"groups\": %zu", l->groups);
    if (l->framework == PLEAT_TENSORFLOW) put_word(f, "data_format", l->channels_last ? "NHWC" : "NCHW");
    if (l->framework == PLEAT_KERAS)
        put_word(f, "data_format", l->channels_last ? "channels_last" : "channels_first");
    fputc('}', f);
}

static void put_line(const job *j, const vector_case *c, size_t index, pleat_tensor *const arrays[ARRAYS]) {
    FILE *f = j->manifest;
    char text[240];
    fprintf(f, "{\"name\": \"%04zu\", \"note\": \"%s\"", index, c->note);
    put_word(f, "framework", pleat_framework_name(j->framework));
    put_word(f, "op", j->transpose ? "conv_transpose" : "conv");
    put_word(f, "dtype", j->dtype == PLEAT_F32 ? "float32" : "float64");
    fprintf(f, ", \"integers\": %s", j->integers ? "true" : "false");
    put_arguments(f, &c->layer);
    put_word(f, "options", layer_words(&c->layer, text, sizeof text));
    put_sizes(f, "kernel", c->kernel, 2);
    put_sizes(f, "input_size", c->in, 2);
    put_sizes(f, "output_size", c->plan.out, 2);
    fprintf(f, ", \"crop\": [%td, %td], \"shapes\": {", c->plan.crop[0], c->plan.crop[1]);
    for (size_t k = 0; k < ARRAYS; k++) {
        fprintf(f, "%s\"%s\": [", k ? ", " : "", array_names[k]);
        for (size_t i = 0; i < pleat_rank(arrays[k]); i++)
            fprintf(f, "%s%zu", i ? ", " : "", pleat_shape(arrays[k])[i]);
        fputc(']', f);
    }
    fputs("}, \"files\": {", f);
    for (size_t k = 0; k < ARRAYS; k++)
        fprintf(f, "%s\"%s\": \"%04zu_%s.npy\"", k ? ", " : "", array_names[k], index, array_names[k]);
    fputs("}}\n", f);
}

/* ---- files ---------------------------------------------------------------------------------------------- */

/* folder/name; NULL if memory is short. */
static char *path_of(const char *folder, const char *name) {
    size_t bytes = strlen(folder) + strlen(name) + 2;
    char *path = malloc(bytes);
    if (path) snprintf(path, bytes, "%s/%s", folder, name);
    return path;
}

static int cannot_write(const job *j) {
    return complain(EXIT_IO, "vectors", "cannot write %s: %s", j->output, strerror(errno));
}

static int write_array(const job *j, size_t index, size_t k, pleat_tensor *t) {
    char name[64];
    snprintf(name, sizeof name, "%04zu_%s.npy", index, array_names[k]);
    char *path = path_of(j->folder, name);
    FILE *f = path ? fopen(path, "wb") : NULL;
    free(path);
    /* + 0 makes -0 a 0: whether a sum of nothing but zeros has a sign depends on the order of the work */
    bool written = f && !pleat_nn_put_npy(f, pleat_shift(t, 0));
    written = f && !fclose(f) && written;
    return written ? EXIT_FINE : cannot_write(j);
}

static int write_case(const job *j, const vector_case *c, size_t index) {
    pleat_tensor *arrays[ARRAYS];
    const char *wrong = compute(j, c, index, arrays);
    if (wrong) return complain(EXIT_IO, "vectors", "layer %04zu: %s", index, wrong);
    for (size_t k = 0; k < ARRAYS; k++) {
        int status = write_array(j, index, k, arrays[k]);
        if (status) return status;
    }
    put_line(j, c, index, arrays);
    return EXIT_FINE;
}

static int write_cases(job *j, const case_list *list) {
    char *path = path_of(j->folder, "manifest.jsonl");
    j->manifest = path ? fopen(path, "w") : NULL;
    free(path);
    if (!j->manifest) return cannot_write(j);
    int status = EXIT_FINE;
    for (size_t i = 0; i < list->count && !status; i++) {
        pleat_scope s = pleat_begin(j->ctx);
        status = write_case(j, &list->at[i], i);
        pleat_end(s);
    }
    bool lost = ferror(j->manifest);
    lost = fclose(j->manifest) || lost;
    if (!status && lost) return complain(EXIT_IO, "vectors", "cannot write %s: is the disk full?", j->output);
    return status;
}

/* The folder must be new or empty. */
static int check_folder(const char *path) {
    struct stat s;
    if (stat(path, &s)) {
        if (errno == ENOENT) return EXIT_FINE;
        return complain(EXIT_IO, "vectors", "cannot write %s: %s", path, strerror(errno));
    }
    DIR *d = S_ISDIR(s.st_mode) ? opendir(path) : NULL;
    if (!d) return complain(EXIT_USAGE, "vectors", "--output %s: it must be a new or an empty folder", path);
    bool empty = true;
    for (struct dirent *e; (e = readdir(d));)
        if (strcmp(e->d_name, ".") && strcmp(e->d_name, "..")) empty = false;
    closedir(d);
    if (empty) return EXIT_FINE;
    return complain(EXIT_USAGE, "vectors", "--output %s: the folder is not empty; name a new one", path);
}

static int cannot_make(const job *j) {
    return complain(EXIT_IO, "vectors", "cannot make the folder %s: %s", j->output, strerror(errno));
}

static void remove_folder(const char *folder) {
    DIR *d = opendir(folder);
    for (struct dirent *e; d && (e = readdir(d));) {
        char *path = path_of(folder, e->d_name);
        if (path && strcmp(e->d_name, ".") && strcmp(e->d_name, "..")) unlink(path);
        free(path);
    }
    if (d) closedir(d);
    rmdir(folder);
}

/* A folder beside the target, which rename can put in the place of an empty one; it gets that one's
 * permissions. */
static int make_folder(job *j) {
    struct stat old;
    bool exists = stat(j->output, &old) == 0;
    j->target = exists ? realpath(j->output, NULL) : strdup(j->output);
    size_t length = j->target ? strlen(j->target) : 0;
    while (length > 1 && j->target[length - 1] == '/') j->target[--length] = 0;
    j->folder = j->target ? malloc(length + 48) : NULL;
    if (!j->folder) return complain(EXIT_IO, "vectors", "no memory");
    snprintf(j->folder, length + 48, "%s.%ld.tmp", j->target, (long)getpid());
    if (mkdir(j->folder, 0777)) return cannot_make(j);
    if (exists) chmod(j->folder, old.st_mode & 07777); /* where it fails, the umask's are left */
    return EXIT_FINE;
}

/* The files to the disk, all at once, and then the folder to its place. */
static int put_in_place(const job *j) {
    int fd = open(j->folder, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
#ifdef __linux__
    bool lost = fd < 0 || syncfs(fd);
#else
    bool lost = fd < 0 || fsync(fd);
#endif
    if (fd >= 0) close(fd);
    if (lost) return cannot_write(j);
    return rename(j->folder, j->target) ? cannot_make(j) : EXIT_FINE;
}

static int write_folder(job *j, const case_list *list) {
    int status = make_folder(j);
    if (status) return status;
    status = write_cases(j, list);
    if (!status) status = put_in_place(j);
    if (status)
        remove_folder(j->folder);
    else
        printf("%zu layers, %zu of them edge cases, in %s\n", list->count, list->edges, j->output);
    return status;
}

/* ---- the command ---------------------------------------------------------------------------------------- */

/* They would be without effect: the layers are chosen here. */
static const char *const layer_word[] = {
    "--stride",      "--strides",      "--padding",  "--pads",       "--auto-pad",      "--output-padding",
    "--output-size", "--output-shape", "--dilation", "--dilations",  "--dilation-rate", "--groups",
    "--group",       "--data-format",  "--kernel",   "--input-size", "--channels",
};

enum { OWN_WORDS = 5, LAYER_WORDS = sizeof layer_word / sizeof *layer_word };

static int read_options(int argc, char **argv, job *j) {
    const char *count = NULL, *seed = NULL, *integers = NULL, *dtype = NULL;
    layer_arguments a;
    text_option options[OWN_WORDS + LAYER_WORDS] = {{"--output", &j->output, false},
                                                    {"--count", &count, false},
                                                    {"--seed", &seed, false},
                                                    {"--integers", &integers, true},
                                                    {"--dtype", &dtype, false}};
    for (size_t i = 0; i < LAYER_WORDS; i++) options[OWN_WORDS + i].name = layer_word[i];
    int status = read_arguments("vectors", "--framework", argc, argv, &a, options, OWN_WORDS + LAYER_WORDS);
    if (status) return status;
    if (!count) count = "500";
    if (!seed) seed = "0";
    if (!dtype) dtype = "float32";
    if (!j->output || !*j->output) return complain(EXIT_USAGE, "vectors", "--output DIR is missing");
    if (!read_count(count, &j->count) || j->count < 1 || j->count > MOST_CASES)
        return complain(EXIT_USAGE, "vectors", "--count %s: it must be a whole number from 1 to %d", count,
                        MOST_CASES);
    if (!read_count(seed, &j->seed))
        return complain(EXIT_USAGE, "vectors", "--seed %s: it must be a whole number, 0 or more", seed);
    if (strcmp(dtype, "float32") && strcmp(dtype, "float64"))
        return refuse_word("vectors", "--dtype", dtype, "float32 or float64",
                           (const char *const[]){"float32", "float64", NULL});
    j->dtype = strcmp(dtype, "float64") ? PLEAT_F32 : PLEAT_F64;
    j->framework = a.layer.framework, j->transpose = a.layer.transpose, j->integers = integers;
    return check_folder(j->output);
}

static int run(int argc, char **argv) {
    job j = {0};
    int status = read_options(argc, argv, &j);
    if (status) return status;
    case_list list;
    bool made = make_cases(j.framework, j.transpose, j.count, j.seed, &list);
    j.ctx = pleat_ctx_new(.threads = 1);
    if (made && j.ctx)
        status = write_folder(&j, &list);
    else
        status = complain(EXIT_IO, "vectors", "no memory");
    free(list.at);
    free(j.folder), free(j.target);
    if (j.ctx) pleat_ctx_free(j.ctx);
    return status;
}

const command vectors_command = {"vectors", "golden vectors for other implementations to be compared with",
                                 help, run};

/* deconv run: a layer on arrays from .npy files. Nothing is written before everything is computed, and no file appears before
 * all of them are whole on the disk. */
#define _POSIX_C_SOURCE 200809L

#include "deconv.h"

#include <errno.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

static const char help[] =
    "usage: deconv run --input X.npy --weight W.npy [--bias B.npy] --output Y.npy [options]\n"
    "\n"
    "Compute a layer, and its gradients, as the framework does. Arrays are float32 or float64, all of one type, in the\n"
    "framework's own layout; the path - is standard input or standard output.\n"
    "\n"
    "  --op conv_transpose|conv                      default conv_transpose\n"
    "  --framework torch|tensorflow|onnx|keras       default torch\n"
    "  --grad-output GY.npy                          a gradient of the output; with it:\n"
    "  --grad-input GX.npy  --grad-weight GW.npy  --grad-bias GB.npy\n"
    "  --method gemm|phase|zero-insertion|scatter    default gemm; they share no inner loop\n"
    "\n"
    "The framework's own arguments; pairs are H,W or HxW, and one number serves both:\n"
    "  torch       --stride --padding --output-padding --dilation --groups --output-size\n"
    "  tensorflow  --strides --padding SAME|VALID|T,B,L,R --output-shape --dilations --data-format NHWC|NCHW\n"
    "  onnx        --strides --pads T,L,B,R --output-padding --output-shape\n"
    "              --auto-pad NOTSET|SAME_UPPER|SAME_LOWER|VALID --dilations --group\n"
    "  keras       --strides --padding same|valid --output-padding --dilation-rate\n"
    "              --data-format channels_last|channels_first; with --op conv also --groups\n"
    "Defaults are the framework's own; tensorflow has none for --strides (here 1) and --output-shape (what Keras takes).\n"
    "A convolution has no --output-... argument; in tensorflow its groups follow from the shapes.\n"
    "\n"
    "Layouts:      input              weight of conv_transpose     weight of conv\n"
    "  torch, onnx N,C,H,W            Cin,Cout/groups,kh,kw        Cout,Cin/groups,kh,kw\n"
    "  the others  N,H,W,C (default)  kh,kw,Cout,Cin               kh,kw,Cin/groups,Cout\n"
    "\n"
    "Exit status: 0; 1 after an I/O failure; 2 for wrong arguments, geometry or files. Then no output file is written.\n";

/* ---- reading ----------------------------------------------------------------------------------------- */

enum { INPUT, WEIGHT, BIAS, GRAD_OUTPUT, INPUTS, OUTPUT = INPUTS, GRAD_INPUT, GRAD_WEIGHT, GRAD_BIAS, FILES };

static const char *const names[FILES] = {"--input",  "--weight",     "--bias",        "--grad-output",
                                         "--output", "--grad-input", "--grad-weight", "--grad-bias"};

static int failed(const pleat_ctx *ctx) {
    pleat_status code = pleat_error(ctx)->code;
    bool system = code == PLEAT_ERR_IO || code == PLEAT_ERR_MEMORY;
    return complain(system ? EXIT_IO : EXIT_USAGE, "run", "%s", pleat_error(ctx)->text);
}

static int missing(int file) {
    return complain(EXIT_USAGE, "run", "%s FILE is missing; 'deconv run --help' lists the options",
                    names[file]);
}

/* Two files are one: as inputs that matters for the stream alone, as outputs always. */
static int find_clash(const char *const *paths) {
    for (int i = 0; i < FILES; i++)
        for (int j = i + 1; j < FILES; j++) {
            bool inputs = j < INPUTS, outputs = i >= INPUTS;
            if (!paths[i] || !paths[j] || (!inputs && !outputs) || strcmp(paths[i], paths[j]) != 0) continue;
            if (outputs || strcmp(paths[i], "-") == 0)
                return complain(EXIT_USAGE, "run", "%s and %s are both %.200s; they must differ", names[i],
                                names[j], paths[i]);
        }
    return 0;
}

static int check_paths(const char *const *paths) {
    static const int required[] = {INPUT, WEIGHT, OUTPUT};
    for (size_t i = 0; i < 3; i++)
        if (!paths[required[i]]) return missing(required[i]);
    for (int i = 0; i < FILES; i++)
        if (paths[i] && !*paths[i])
            return complain(EXIT_USAGE, "run", "%s: the path is empty; it must name a file", names[i]);
    for (int i = GRAD_INPUT; i < FILES && !paths[GRAD_OUTPUT]; i++)
        if (paths[i])
            return complain(EXIT_USAGE, "run", "%s needs --grad-output FILE, a gradient of the output",
                            names[i]);
    return find_clash(paths);
}

static int read_run_arguments(int argc, char **argv, layer_arguments *a, const char **paths,
                              const method **m) {
    const char *method_name = NULL;
    text_option options[FILES + 4] = {
        {"--method", &method_name, false},
        {"--kernel", NULL, false},
        {"--input-size", NULL, false},
        {"--channels", NULL, false},
    };
    for (int i = 0; i < FILES; i++) options[4 + i] = (text_option){names[i], &paths[i], false};
    int status = read_arguments("run", "--framework", argc, argv, a, options, FILES + 4);
    if (status) return status;
    *m = find_method(method_name ? method_name : "gemm");
    if (!*m)
        return refuse_word("run", "--method", method_name, "gemm, phase, zero-insertion or scatter",
                           (const char *const[]){"gemm", "phase", "zero-insertion", "scatter", NULL});
    return check_paths(paths);
}

/* ---- writing ----------------------------------------------------------------------------------------- */

typedef struct result {
    const char *path;
    pleat_tensor *tensor;
    pleat_nn_file file; /* beside its place until all are whole; of a stream, file.f is NULL */
} result;

/* What cannot be replaced is written directly: standard output, a device, a pipe. */
static bool is_stream(const char *path) {
    struct stat s;
    return strcmp(path, "-") == 0 || (stat(path, &s) == 0 && !S_ISREG(s.st_mode) && !S_ISDIR(s.st_mode));
}

static int cannot_write(const char *path, const char *why) {
    return complain(EXIT_IO, "run", "cannot write %s: %s", path, why);
}

/* The library's line ends with the system's reason; the name in front of it is that of a temporary file. */
static int write_failed(const result *r) {
    if (strcmp(r->path, "-") == 0 && reader_is_gone()) return EXIT_IO;
    const char *text = pleat_error(pleat_ctx_of(r->tensor))->text, *reason = strrchr(text, ':');
    return cannot_write(r->path, reason ? reason + 2 : text);
}

/* On the disk, but beside its place: the old file remains. */
static int stage(result *r) {
    struct stat s;
    if (stat(r->path, &s) == 0 && S_ISDIR(s.st_mode)) return cannot_write(r->path, "it is a folder");
    if (pleat_nn_file_create(pleat_ctx_of(r->tensor), r->path, &r->file)) return write_failed(r);
    if (pleat_nn_put_npy(r->file.f, r->tensor)) return write_failed(r);
    if (fflush(r->file.f) || fsync(r->file.fd)) return cannot_write(r->path, strerror(errno));
    return 0;
}

/* All files beside their places, then the streams, then the files to their places. */
static int write_results(result *results, size_t count) {
    int status = 0;
    for (size_t i = 0; i < count && !status; i++)
        if (!is_stream(results[i].path)) status = stage(&results[i]);
    for (size_t i = 0; i < count && !status; i++)
        if (!results[i].file.f && pleat_nn_write_npy(results[i].path, results[i].tensor))
            status = write_failed(&results[i]);
    for (size_t i = 0; i < count; i++) {
        result *r = &results[i];
        if (r->file.f && !status && pleat_nn_file_commit(pleat_ctx_of(r->tensor), &r->file))
            status = write_failed(r);
        if (r->file.f) pleat_nn_file_abort(&r->file);
    }
    return status;
}

static void tell(const result *results, size_t count) {
    char shape[120];
    for (size_t i = 0; i < count; i++)
        if (strcmp(results[i].path, "-") == 0) return;
    for (size_t i = 0; i < count; i++)
        printf("%s: %s %s\n", results[i].path,
               pleat_dtype_of(results[i].tensor) == PLEAT_F32 ? "float32" : "float64",
               pleat_shape_text(results[i].tensor, shape, sizeof shape));
}

/* ---- the command ------------------------------------------------------------------------------------- */

static int compute(pleat_ctx *ctx, pleat_layer *l, const method *m, const char *const *paths) {
    pleat_tensor *in[INPUTS] = {NULL};
    for (int i = 0; i < INPUTS; i++) {
        if (!paths[i]) continue;
        in[i] = pleat_nn_read_npy(ctx, paths[i]);
        if (pleat_is_poison(in[i])) return failed(ctx);
    }
    l->groups = pleat_layer_groups(l, in[INPUT], in[WEIGHT]);
    layer_result out = run_layer(l, m, in[INPUT], in[WEIGHT], in[BIAS], in[GRAD_OUTPUT]);
    pleat_tensor *tensors[] = {out.output, out.grad_input, out.grad_weight, out.grad_bias};
    result results[FILES - INPUTS];
    size_t count = 0;
    for (int i = INPUTS; i < FILES; i++)
        if (paths[i]) results[count++] = (result){.path = paths[i], .tensor = tensors[i - INPUTS]};
    if (pleat_error(ctx)->code) return failed(ctx);
    int status = write_results(results, count);
    if (!status) tell(results, count);
    return status;
}

static int run(int argc, char **argv) {
    layer_arguments a;
    const char *paths[FILES] = {NULL};
    const method *m;
    int status = read_run_arguments(argc, argv, &a, paths, &m);
    if (status) return status;
    pleat_ctx *ctx = pleat_ctx_new(.threads = 1);
    if (!ctx) return complain(EXIT_IO, "run", "no memory");
    pleat_set_recording(ctx, false);
    status = compute(ctx, &a.layer, m, paths);
    pleat_ctx_free(ctx);
    return status;
}

const command run_command = {"run", "compute a layer and its gradients from .npy files", help, run};

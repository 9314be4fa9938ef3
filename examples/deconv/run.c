/* deconv run: a layer on arrays from .npy files. Nothing is written before everything is computed, and no file appears before
 * all of them are whole on the disk. */
#define _POSIX_C_SOURCE 200809L

#include "integers.h"

#include <errno.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

static const char help[] =
    "usage: deconv run --input X.npy --weight W.npy [--bias B.npy] --output Y.npy [options]\n"
    "\n"
    "Compute a layer, and its gradients, as the framework does. Arrays are float32 or float64, all of one type, in the\n"
    "framework's own layout; the path - is standard input or standard output. Whole numbers are read, too: of 1 and 2\n"
    "bytes as float32, of 4 and 8 as float64.\n"
    "\n"
    "  --op conv_transpose|conv                      default conv_transpose\n"
    "  --framework torch|tensorflow|onnx|keras       default torch\n"
    "  --grad-output GY.npy                          a gradient of the output; with it:\n"
    "  --grad-input GX.npy  --grad-weight GW.npy  --grad-bias GB.npy\n"
    "  --method gemm|phase|zero-insertion|scatter    default gemm; they share no inner loop\n"
    "  --dtype float32|float64                       compute in this type, whatever the files have\n"
    "\n"
    "A layer as TensorFlow Lite quantises it, with sums and rounding as 'man deconv' has them; input and output have 8 or\n"
    "16 bits, weights 8, bias and sums 32 or 64:\n"
    "  --int8 | --int16 --input-scale S --weight-scale S.npy --output-scale S       S.npy: [1] or [Cout], float32\n"
    "  --input-zero-point Z --output-zero-point Z    default 0, and with --int16 always\n"
    "  --activation none|relu|relu6|relu_n1_to_1     default none\n"
    "  --sum SUM.npy                                 the sums, before they are rounded to the output\n"
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

enum {
    INPUT,
    WEIGHT,
    BIAS,
    GRAD_OUTPUT,
    SCALE,
    INPUTS,
    OUTPUT = INPUTS,
    GRAD_INPUT,
    GRAD_WEIGHT,
    GRAD_BIAS,
    SUM,
    FILES
};

static const char *const names[FILES] = {"--input",        "--weight", "--bias",       "--grad-output",
                                         "--weight-scale", "--output", "--grad-input", "--grad-weight",
                                         "--grad-bias",    "--sum"};

/* The command line, beside the layer. */
typedef struct run_arguments {
    layer_arguments layer;
    const char *paths[FILES];
    const method *m;
    const char *dtype; /* NULL: the files' */
    quantization q;    /* bits 0: not quantised */
} run_arguments;

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
    for (int i = GRAD_INPUT; i <= GRAD_BIAS && !paths[GRAD_OUTPUT]; i++)
        if (paths[i])
            return complain(EXIT_USAGE, "run", "%s needs --grad-output FILE, a gradient of the output",
                            names[i]);
    return find_clash(paths);
}

/* ---- quantisation ------------------------------------------------------------------------------------ */

/* Words that only a quantised layer has, as they are given. */
typedef struct quantised_words {
    const char *int8, *int16, *input_scale, *output_scale, *input_zero, *output_zero, *activation;
} quantised_words;

static int wrong_number(const char *name, const char *text, const char *right) {
    return complain(EXIT_USAGE, "run", "%s %.60s: it must be %s", name, text, right);
}

static int read_scale(const char *name, const char *text, float *out) {
    char *end;
    if (!text) return complain(EXIT_USAGE, "run", "%s S is missing, the scale of a quantised layer", name);
    *out = strtof(text, &end);
    bool number = (*text >= '0' && *text <= '9') || *text == '.';
    if (number && *end == 0 && isfinite(*out) && *out > 0) return 0;
    return wrong_number(name, text, "a positive number, such as 0.05");
}

static int read_zero_point(const char *name, const char *text, int bits, int32_t *out) {
    size_t n;
    if (!text) return 0;
    bool minus = *text == '-';
    if (!read_count(text + minus, &n) || n > (minus ? 128 : 127))
        return wrong_number(name, text, "a whole number from -128 to 127");
    *out = minus ? -(int32_t)n : (int32_t)n;
    return bits == 16 && *out ? wrong_number(name, text, "0 with --int16") : 0;
}

static int check_quantised_files(const run_arguments *a, const quantised_words *w) {
    bool quantised = w->int8 || w->int16;
    if (w->int8 && w->int16) return complain(EXIT_USAGE, "run", "--int8 beside --int16; give one of them");
    for (int i = 0; i < FILES; i++) {
        bool gradient = i == GRAD_OUTPUT || (i >= GRAD_INPUT && i <= GRAD_BIAS), own = i == SCALE || i == SUM;
        if (a->paths[i] && quantised && gradient)
            return complain(EXIT_USAGE, "run", "%s: a quantised layer has no gradients", names[i]);
        if (a->paths[i] && !quantised && own)
            return complain(EXIT_USAGE, "run", "%s goes with --int8 or --int16", names[i]);
    }
    if (quantised && a->dtype)
        return complain(EXIT_USAGE, "run", "--dtype beside %s; give one of them",
                        w->int8 ? w->int8 : w->int16);
    return quantised && !a->paths[SCALE] ? missing(SCALE) : 0;
}

static int read_quantisation(run_arguments *a, const quantised_words *w) {
    quantization *q = &a->q;
    const char *stray[][2] = {{"--input-scale", w->input_scale},
                              {"--output-scale", w->output_scale},
                              {"--input-zero-point", w->input_zero},
                              {"--output-zero-point", w->output_zero},
                              {"--activation", w->activation}};
    int status = check_quantised_files(a, w);
    for (size_t i = 0; i < 5 && !status && !w->int8 && !w->int16; i++)
        if (stray[i][1]) return complain(EXIT_USAGE, "run", "%s goes with --int8 or --int16", stray[i][0]);
    if (status || (!w->int8 && !w->int16)) return status;
    q->bits = w->int8 ? 8 : 16;
    const char *activation = w->activation ? w->activation : "none";
    if ((status = read_scale("--input-scale", w->input_scale, &q->input_scale)) ||
        (status = read_scale("--output-scale", w->output_scale, &q->output_scale)) ||
        (status = read_zero_point("--input-zero-point", w->input_zero, q->bits, &q->input_zero_point)) ||
        (status = read_zero_point("--output-zero-point", w->output_zero, q->bits, &q->output_zero_point)))
        return status;
    for (size_t i = 0; activation_words[i]; i++)
        if (strcmp(activation_words[i], activation) == 0)
            return set_activation(q, activation)
                       ? 0
                       : wrong_number("--output-scale", w->output_scale, "larger, for that activation");
    return refuse_word("run", "--activation", activation, "none, relu, relu6 or relu_n1_to_1",
                       activation_words);
}

static int read_run_arguments(int argc, char **argv, run_arguments *a) {
    const char *method_name = NULL;
    quantised_words w = {.int8 = NULL};
    text_option options[FILES + 12] = {
        {"--method", &method_name, false},
        {"--kernel", NULL, false},
        {"--input-size", NULL, false},
        {"--channels", NULL, false},
        {"--dtype", &a->dtype, false},
        {"--int8", &w.int8, true},
        {"--int16", &w.int16, true},
        {"--input-scale", &w.input_scale, false},
        {"--output-scale", &w.output_scale, false},
        {"--input-zero-point", &w.input_zero, false},
        {"--output-zero-point", &w.output_zero, false},
        {"--activation", &w.activation, false},
    };
    for (int i = 0; i < FILES; i++) options[12 + i] = (text_option){names[i], &a->paths[i], false};
    int status = read_arguments("run", "--framework", argc, argv, &a->layer, options, FILES + 12);
    if (status) return status;
    a->m = find_method(method_name ? method_name : "gemm");
    if (!a->m)
        return refuse_word("run", "--method", method_name, "gemm, phase, zero-insertion or scatter",
                           (const char *const[]){"gemm", "phase", "zero-insertion", "scatter", NULL});
    if (a->dtype && strcmp(a->dtype, "float32") != 0 && strcmp(a->dtype, "float64") != 0)
        return refuse_word("run", "--dtype", a->dtype, "float32 or float64",
                           (const char *const[]){"float32", "float64", NULL});
    status = check_paths(a->paths);
    return status ? status : read_quantisation(a, &w);
}

/* ---- writing ----------------------------------------------------------------------------------------- */

enum { FLOATS = -1 };

typedef struct result {
    const char *path;
    pleat_tensor *tensor;
    int element;        /* an element of integers.h, or FLOATS */
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

static bool put_result(FILE *f, const result *r) {
    if (r->element == FLOATS) return !pleat_nn_put_npy(f, r->tensor);
    if (put_npy(f, r->tensor, (element)r->element)) return true;
    pleat_fail(pleat_ctx_of(r->tensor), PLEAT_ERR_IO, "run", "cannot write: %s", strerror(errno));
    return false;
}

/* What is no regular file. */
static bool put_stream(const result *r) {
    if (r->element == FLOATS) return !pleat_nn_write_npy(r->path, r->tensor);
    bool standard = strcmp(r->path, "-") == 0;
    FILE *f = standard ? stdout : fopen(r->path, "wb");
    bool written = f && put_result(f, r) && !fflush(f);
    if (f && !standard && fclose(f)) written = false;
    if (!written)
        pleat_fail(pleat_ctx_of(r->tensor), PLEAT_ERR_IO, "run", "cannot write: %s", strerror(errno));
    return written;
}

/* On the disk, but beside its place: the old file remains. */
static int stage(result *r) {
    struct stat s;
    if (stat(r->path, &s) == 0 && S_ISDIR(s.st_mode)) return cannot_write(r->path, "it is a folder");
    if (pleat_nn_file_create(pleat_ctx_of(r->tensor), r->path, &r->file)) return write_failed(r);
    if (!put_result(r->file.f, r)) return write_failed(r);
    if (fflush(r->file.f) || fsync(r->file.fd)) return cannot_write(r->path, strerror(errno));
    return 0;
}

/* All files beside their places, then the streams, then the files to their places. */
static int write_results(result *results, size_t count) {
    int status = 0;
    for (size_t i = 0; i < count && !status; i++)
        if (!is_stream(results[i].path)) status = stage(&results[i]);
    for (size_t i = 0; i < count && !status; i++)
        if (!results[i].file.f && !put_stream(&results[i])) status = write_failed(&results[i]);
    for (size_t i = 0; i < count; i++) {
        result *r = &results[i];
        if (r->file.f && !status && pleat_nn_file_commit(pleat_ctx_of(r->tensor), &r->file))
            status = write_failed(r);
        if (r->file.f) pleat_nn_file_abort(&r->file);
    }
    return status;
}

static const char *element_name(const result *r) {
    static const char *const whole[] = {"int8", "int16", "int32", "int64"};
    if (r->element != FLOATS) return whole[r->element];
    return pleat_dtype_of(r->tensor) == PLEAT_F32 ? "float32" : "float64";
}

static void tell(const result *results, size_t count) {
    char shape[120];
    for (size_t i = 0; i < count; i++)
        if (strcmp(results[i].path, "-") == 0) return;
    for (size_t i = 0; i < count; i++)
        printf("%s: %s %s\n", results[i].path, element_name(&results[i]),
               pleat_shape_text(results[i].tensor, shape, sizeof shape));
}

/* ---- the command ------------------------------------------------------------------------------------- */

static void compute_floats(const run_arguments *a, pleat_tensor *const in[INPUTS], result made[FILES]) {
    layer_result out = run_layer(&a->layer.layer, a->m, in[INPUT], in[WEIGHT], in[BIAS], in[GRAD_OUTPUT]);
    pleat_tensor *tensors[] = {out.output, out.grad_input, out.grad_weight, out.grad_bias};
    for (int i = OUTPUT; i <= GRAD_BIAS; i++)
        made[i] = (result){.tensor = tensors[i - OUTPUT], .element = FLOATS};
}

static void compute_integers(const run_arguments *a, pleat_tensor *const in[INPUTS], result made[FILES]) {
    bool wide = a->q.bits == 16;
    integer_result out =
        run_integers(&a->layer.layer, &a->q, a->m, in[INPUT], in[WEIGHT], in[BIAS], in[SCALE]);
    made[OUTPUT] = (result){.tensor = out.output, .element = wide ? ELEMENT_I16 : ELEMENT_I8};
    made[SUM] = (result){.tensor = out.sum, .element = wide ? ELEMENT_I64 : ELEMENT_I32};
}

static int compute(pleat_ctx *ctx, run_arguments *a) {
    pleat_tensor *in[INPUTS] = {NULL};
    pleat_layer *l = &a->layer.layer;
    for (int i = 0; i < INPUTS; i++) {
        if (!a->paths[i]) continue;
        in[i] = pleat_nn_read_npy(ctx, a->paths[i]);
        if (a->dtype) in[i] = pleat_cast(in[i], strcmp(a->dtype, "float64") ? PLEAT_F32 : PLEAT_F64);
        if (pleat_is_poison(in[i])) return failed(ctx);
    }
    l->groups = pleat_layer_groups(l, in[INPUT], in[WEIGHT]);
    result made[FILES], results[FILES];
    size_t count = 0;
    if (a->q.bits)
        compute_integers(a, in, made);
    else
        compute_floats(a, in, made);
    if (pleat_error(ctx)->code) return failed(ctx);
    for (int i = OUTPUT; i < FILES; i++) {
        if (!a->paths[i]) continue;
        made[i].path = a->paths[i];
        results[count++] = made[i];
    }
    int status = write_results(results, count);
    if (!status) tell(results, count);
    return status;
}

static int run(int argc, char **argv) {
    run_arguments a = {.dtype = NULL};
    int status = read_run_arguments(argc, argv, &a);
    if (status) return status;
    pleat_ctx *ctx = pleat_ctx_new(.threads = 1);
    if (!ctx) return complain(EXIT_IO, "run", "no memory");
    pleat_set_recording(ctx, false);
    status = compute(ctx, &a);
    pleat_ctx_free(ctx);
    return status;
}

const command run_command = {"run", "compute a layer and its gradients from .npy files", help, run};

/* deconv vectors: golden vectors. Every value is computed by all four methods, which must agree, before
 * anything is written; the folder appears whole or not at all. */
#include "vectors.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

static const char help[] =
    "usage: deconv vectors --output DIR [--framework FRAMEWORK] [--op OP] [--count N] [--seed S]\n"
    "                      [--integers [--range R]] [--dtype T] [--int8 | --int16 | --onnx]\n"
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
    "  --range R               whole numbers from -R to R (default 4), as far as all sums are exact\n"
    "  --dtype T               float32 (default) or float64\n"
    "  --int8                  layers as TensorFlow Lite quantises them: input and output of 8 bits with scales and zero\n"
    "                          points, weights of 8 bits with a scale for each channel, bias and sums of 32 bits\n"
    "  --int16                 the same with input and output of 16 bits, bias and sums of 64\n"
    "                          (both: .npy, .hex, an element a line, and NNNN.h, C arrays; no gradients)\n"
    "  --onnx                  of --framework onnx: a folder for each layer as ONNX's node tests have it, with model.onnx\n"
    "                          and test_data_set_0/input_0.pb, input_1.pb, input_2.pb and output_0.pb\n"
    "\n"
    "Every value is computed by four methods, which must agree. Exit status: 0; 1 for an I/O failure or if the methods\n"
    "disagree; 2 for wrong options.\n";

enum { MOST_CASES = 100000, LARGEST_RANGE = 1000000 };

static const char *const array_names[FLOAT_ARRAYS] = {
    "input", "weight", "bias", "output", "grad_output", "grad_input", "grad_weight", "grad_bias"};

/* ---- values --------------------------------------------------------------------------------------------- */

static pleat_tensor *draw_values(const vector_job *j, pleat_rng *r, size_t rank, const size_t *shape) {
    pleat_tensor *wide = pleat_zeros(j->ctx, PLEAT_F64, rank, shape);
    pleat_tensor *t = pleat_zeros(j->ctx, j->dtype, rank, shape);
    double *v = pleat_f64(wide);
    for (size_t i = 0; v && i < pleat_numel(wide); i++)
        v[i] = j->integers ? (double)pleat_rng_below(r, 2 * j->range + 1) - (double)j->range
                           : 2 * pleat_rng_uniform(r) - 1;
    pleat_assign(t, wide);
    return t;
}

void image_shape(const pleat_layer *l, size_t N, size_t channels, const size_t size[2], size_t shape[4]) {
    bool last = l->channels_last;
    shape[0] = N;
    shape[last ? 3 : 1] = channels;
    shape[last ? 1 : 2] = size[0], shape[last ? 2 : 3] = size[1];
}

void weight_shape(const vector_case *c, size_t shape[4]) {
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
static bool agree(const vector_job *j, const pleat_tensor *a, const pleat_tensor *b) {
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

pleat_rng values_rng(const vector_job *j, size_t index) {
    return pleat_rng_new(j->seed, 2 * (uint64_t)index + 1);
}

/* The eight arrays; NULL where all is well, otherwise the reason. */
const char *compute_floats(const vector_job *j, const vector_case *c, size_t index,
                           pleat_tensor *arrays[FLOAT_ARRAYS]) {
    pleat_rng r = values_rng(j, index);
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

static bool write_array(const vector_job *j, size_t index, size_t k, pleat_tensor *t) {
    FILE *f = open_file(j, "%04zu_%s.npy", index, array_names[k]);
    /* + 0 makes -0 a 0: whether a sum of nothing but zeros has a sign depends on the order of the work */
    bool written = f && !pleat_nn_put_npy(f, pleat_shift(t, 0));
    return f && close_file(f) && written;
}

int write_floats(const vector_job *j, const vector_case *c, size_t index) {
    pleat_tensor *arrays[FLOAT_ARRAYS];
    const char *wrong = compute_floats(j, c, index, arrays);
    if (wrong) return complain(EXIT_IO, "vectors", "layer %04zu: %s", index, wrong);
    for (size_t k = 0; k < FLOAT_ARRAYS; k++)
        if (!write_array(j, index, k, arrays[k])) return cannot_write(j);
    begin_line(j, c, index, j->dtype == PLEAT_F32 ? "float32" : "float64", "");
    end_line(j, index, FLOAT_ARRAYS, array_names, arrays, true);
    return EXIT_FINE;
}

/* ---- the command ---------------------------------------------------------------------------------------- */

/* They would be without effect: the layers are chosen here. */
static const char *const layer_word[] = {
    "--stride",      "--strides",      "--padding",  "--pads",       "--auto-pad",      "--output-padding",
    "--output-size", "--output-shape", "--dilation", "--dilations",  "--dilation-rate", "--groups",
    "--group",       "--data-format",  "--kernel",   "--input-size", "--channels",
};

enum { OWN_WORDS = 9, LAYER_WORDS = sizeof layer_word / sizeof *layer_word };

typedef struct own_words {
    const char *count, *seed, *integers, *range, *dtype, *int8, *int16, *onnx;
} own_words;

/* The terms of the longest sum of a layer, gradients included, times the largest product. */
static double largest_sum(const vector_case *c, size_t range) {
    double taps = (double)(c->kernel[0] * c->kernel[1]), groups = (double)c->layer.groups, r = (double)range;
    double map = (double)c->N * (double)(c->layer.transpose ? c->in : c->plan.out)[0] *
                 (double)(c->layer.transpose ? c->in : c->plan.out)[1];
    double image = (double)c->N * (double)c->plan.out[0] * (double)c->plan.out[1];
    double channels = fmax((double)c->channels[0], (double)c->channels[1]) / groups;
    return fmax(fmax(taps * channels, map) * r * r + r, image * r);
}

static int check_range(const vector_job *j, const case_list *list) {
    double limit = j->dtype == PLEAT_F32 ? 0x1p24 : 0x1p53;
    for (size_t i = 0; j->integers && !j->bits && i < list->count; i++)
        if (largest_sum(&list->at[i], j->range) > limit)
            return complain(EXIT_USAGE, "vectors",
                            "--range %zu: sums of layer %04zu reach %.0f, and %s is exact up to %.0f%s",
                            j->range, i, largest_sum(&list->at[i], j->range),
                            j->dtype == PLEAT_F32 ? "float32" : "float64", limit,
                            j->dtype == PLEAT_F32 ? "; --dtype float64 has more" : "");
    return EXIT_FINE;
}

static int contradict(const char *a, const char *b) {
    return complain(EXIT_USAGE, "vectors", "%s beside %s; give one of them", a, b);
}

/* The kind of the vectors: floats, whole numbers in floats, or quantised. */
static int read_kind(const own_words *w, vector_job *j) {
    const char *quantised = w->int8 ? w->int8 : w->int16, *dtype = w->dtype ? w->dtype : "float32";
    if (w->int8 && w->int16) return contradict(w->int8, w->int16);
    if (quantised && w->onnx) return contradict(quantised, w->onnx);
    if (w->onnx && j->framework != PLEAT_ONNX)
        return complain(EXIT_USAGE, "vectors", "--onnx goes with --framework onnx, not %s",
                        pleat_framework_name(j->framework));
    if (quantised && (w->integers || w->dtype))
        return contradict(quantised, w->integers ? w->integers : "--dtype");
    if (w->range && !w->integers)
        return complain(EXIT_USAGE, "vectors", "--range %s goes with --integers", w->range);
    if (strcmp(dtype, "float32") && strcmp(dtype, "float64"))
        return refuse_word("vectors", "--dtype", dtype, "float32 or float64",
                           (const char *const[]){"float32", "float64", NULL});
    if (w->range && (!read_count(w->range, &j->range) || j->range < 1 || j->range > LARGEST_RANGE))
        return complain(EXIT_USAGE, "vectors", "--range %s: it must be a whole number from 1 to %d", w->range,
                        LARGEST_RANGE);
    j->dtype = strcmp(dtype, "float64") ? PLEAT_F32 : PLEAT_F64;
    j->integers = w->integers;
    if (w->onnx) j->write = write_onnx;
    if (!quantised) return EXIT_FINE;
    j->bits = w->int8 ? 8 : 16;
    j->integers = true;
    j->write = write_integers;
    return EXIT_FINE;
}

static int read_options(int argc, char **argv, vector_job *j) {
    own_words w = {.count = NULL};
    layer_arguments a;
    text_option options[OWN_WORDS + LAYER_WORDS] = {
        {"--output", &j->output, false},   {"--count", &w.count, false}, {"--seed", &w.seed, false},
        {"--integers", &w.integers, true}, {"--range", &w.range, false}, {"--dtype", &w.dtype, false},
        {"--int8", &w.int8, true},         {"--onnx", &w.onnx, true},    {"--int16", &w.int16, true}};
    for (size_t i = 0; i < LAYER_WORDS; i++) options[OWN_WORDS + i].name = layer_word[i];
    int status = read_arguments("vectors", "--framework", argc, argv, &a, options, OWN_WORDS + LAYER_WORDS);
    if (status) return status;
    if (!w.count) w.count = "500";
    if (!w.seed) w.seed = "0";
    if (!j->output || !*j->output) return complain(EXIT_USAGE, "vectors", "--output DIR is missing");
    if (!read_count(w.count, &j->count) || j->count < 1 || j->count > MOST_CASES)
        return complain(EXIT_USAGE, "vectors", "--count %s: it must be a whole number from 1 to %d", w.count,
                        MOST_CASES);
    if (!read_count(w.seed, &j->seed))
        return complain(EXIT_USAGE, "vectors", "--seed %s: it must be a whole number, 0 or more", w.seed);
    j->framework = a.layer.framework, j->transpose = a.layer.transpose;
    status = read_kind(&w, j);
    return status ? status : check_folder(j->output);
}

static int run(int argc, char **argv) {
    vector_job j = {.range = 4, .write = write_floats};
    int status = read_options(argc, argv, &j);
    if (status) return status;
    case_list list;
    bool made = make_cases(j.framework, j.transpose, j.count, j.seed, &list);
    j.ctx = pleat_ctx_new(.threads = 1);
    if (!made || !j.ctx)
        status = complain(EXIT_IO, "vectors", "no memory");
    else
        status = check_range(&j, &list);
    if (!status) status = write_folder(&j, &list);
    free(list.at);
    free(j.folder), free(j.target);
    if (j.ctx) pleat_ctx_free(j.ctx);
    return status;
}

const command vectors_command = {"vectors", "golden vectors for other implementations to be compared with",
                                 help, run};

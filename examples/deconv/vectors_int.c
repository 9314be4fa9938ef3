/* Golden vectors of layers as TensorFlow Lite quantises them. The numbers of a layer are drawn in one of several manners, by turns,
 * so that the edges of its arithmetic come with many geometries. */
#include <math.h>
#include <string.h>

#include "integers.h"
#include "vectors.h"

enum { INPUT, WEIGHT, BIAS, SCALE, MANTISSA, SHIFT, SUM, OUTPUT, OHWI, ARRAYS };

static const char *const names[ARRAYS] = {"input", "weight", "bias",   "weight_scale", "multiplier",
                                          "shift", "sum",    "output", "weight_ohwi"};

typedef enum manner { USUAL, ABOVE_ONE, TIES, SATURATED, LARGE_SUMS, ZERO, RELU, ENDS, MANNERS } manner;

static const struct {
    const char *note, *activation;
    double target; /* the size of an output, as a part of the largest */
} manners[MANNERS] = {
    [USUAL] = {"usual", "none", 0.5},
    [ABOVE_ONE] = {"small numbers, a multiplier above 1", "none", 0.5},
    [TIES] = {"multipliers are powers of two, so halves are rounded", "none", 0.5},
    [SATURATED] = {"most outputs are clamped, relu", "relu", 8},
    [LARGE_SUMS] = {"sums of almost all bits", "none", 0.9},
    [ZERO] = {"multipliers below 2^-32, which become 0", "none", 0},
    [RELU] = {"relu6", "relu6", 0.5},
    [ENDS] = {"zero points at the ends of the range", "none", 0.5},
};

/* A layer while its numbers are drawn. */
typedef struct drawing {
    const vector_job *j;
    const vector_case *c;
    manner m;
    pleat_rng r;
    quantization q;
    double largest; /* of input and output */
    double input_most, weight_most;
    double size; /* of a sum without its bias */
    pleat_tensor *arrays[ARRAYS];
} drawing;

static double between(drawing *d, double least, double most) {
    return floor(least + (most - least + 1) * pleat_rng_uniform(&d->r));
}

static pleat_tensor *draw_whole(drawing *d, size_t rank, const size_t *shape, double least, double most) {
    pleat_tensor *t = pleat_zeros(d->j->ctx, PLEAT_F64, rank, shape);
    double *v = pleat_f64(t);
    for (size_t i = 0; v && i < pleat_numel(t); i++) v[i] = between(d, least, most);
    return t;
}

static void draw_zero_points(drawing *d) {
    quantization *q = &d->q;
    if (q->bits == 16) return;
    bool ends = d->m == ENDS;
    q->input_zero_point = ends ? between(d, 0, 1) > 0 ? 127 : -128 : (int32_t)between(d, -40, 40);
    q->output_zero_point = ends ? between(d, 0, 1) > 0 ? 127 : -128 : (int32_t)between(d, -40, 40);
}

/* The size of sums decides about the scale of the output. */
static void draw_scales(drawing *d) {
    const vector_case *c = d->c;
    size_t channels = c->channels[1];
    double terms = (double)(c->channels[0] / c->layer.groups * c->kernel[0] * c->kernel[1]);
    d->size = sqrt(terms) * d->input_most * d->weight_most / 3;
    double sum = d->m == LARGE_SUMS ? (d->q.bits == 8 ? 0x1p31 : 0x1p47) : d->size;
    double M = d->m == ZERO ? 0x1p-34 : manners[d->m].target * d->largest / sum;
    if (d->m == TIES) M = exp2(floor(log2(M)));
    double weight = d->m == TIES ? 0x1p-7 : 0.001 + 0.01 * pleat_rng_uniform(&d->r);
    d->q.input_scale = d->m == TIES ? 0x1p-5f : (float)(0.002 + 0.05 * pleat_rng_uniform(&d->r));
    d->q.output_scale = (float)(d->q.input_scale * weight / M);
    pleat_tensor *scale = d->arrays[SCALE] = pleat_zeros(d->j->ctx, PLEAT_F64, 1, &channels);
    double *v = pleat_f64(scale);
    for (size_t i = 0; v && i < channels; i++) {
        double factor = d->m == TIES ? exp2(between(d, -1, 1)) : 0.4 + 0.6 * pleat_rng_uniform(&d->r);
        v[i] = (float)(weight * factor);
    }
}

static void draw_arrays(drawing *d) {
    size_t image[4], weight[4];
    image_shape(&d->c->layer, d->c->N, d->c->channels[0], d->c->in, image);
    weight_shape(d->c, weight);
    double zero = d->q.input_zero_point, least = fmax(zero - d->input_most, -d->largest - 1);
    d->arrays[INPUT] = draw_whole(d, 4, image, least, fmin(zero + d->input_most, d->largest));
    d->arrays[WEIGHT] = draw_whole(d, 4, weight, -d->weight_most, d->weight_most);
    double bias = floor(d->size);
    pleat_tensor *b = d->arrays[BIAS] = draw_whole(d, 1, &d->c->channels[1], -bias, bias);
    double *v = pleat_f64(b), room = (d->q.bits == 8 ? 0x1p31 : 0x1p47) - 0x1p24 * (d->q.bits == 8 ? 1 : 256);
    for (size_t i = 0; v && d->m == LARGE_SUMS && i < pleat_numel(b); i++) v[i] += i % 2 ? -room : room;
}

/* The layer by all methods, which must agree; NULL, or the reason. */
static const char *compute(drawing *d) {
    pleat_ctx *ctx = d->j->ctx;
    pleat_tensor **a = d->arrays;
    for (size_t m = 0; m < METHODS; m++) {
        integer_result r =
            run_integers(&d->c->layer, &d->q, &methods[m], a[INPUT], a[WEIGHT], a[BIAS], a[SCALE]);
        if (pleat_error(ctx)->code) return pleat_error(ctx)->text;
        if (m == 0) a[SUM] = r.sum, a[OUTPUT] = r.output, a[MANTISSA] = r.mantissa, a[SHIFT] = r.shift;
        size_t bytes = pleat_numel(r.sum) * sizeof(double);
        if (m && memcmp(pleat_const_f64(a[SUM]), pleat_const_f64(pleat_shift(r.sum, 0)), bytes) != 0)
            return "the methods disagree; nothing was written";
        if (m == 0) a[SUM] = pleat_shift(a[SUM], 0); /* -0 is 0 */
    }
    return NULL;
}

/* As TensorFlow Lite has its weights, if the framework is TensorFlow or Keras: [Cout, kh, kw, Cin]. */
static size_t add_ohwi(drawing *d) {
    const pleat_layer *l = &d->c->layer;
    if (l->framework != PLEAT_TENSORFLOW && l->framework != PLEAT_KERAS) return ARRAYS - 1;
    size_t order[4] = {l->transpose ? 2 : 3, 0, 1, l->transpose ? 3 : 2};
    d->arrays[OHWI] = pleat_contiguous(pleat_permute(d->arrays[WEIGHT], order));
    return ARRAYS;
}

/* ---- files ---------------------------------------------------------------------------------------------- */

static element element_of(const quantization *q, size_t k) {
    bool wide = q->bits == 16;
    switch (k) {
    case INPUT:
    case OUTPUT:
        return wide ? ELEMENT_I16 : ELEMENT_I8;
    case WEIGHT:
    case OHWI:
    case SHIFT:
        return ELEMENT_I8;
    case BIAS:
    case SUM:
        return wide ? ELEMENT_I64 : ELEMENT_I32;
    case SCALE:
        return ELEMENT_F32;
    default:
        return ELEMENT_I32;
    }
}

static bool write_array(const drawing *d, size_t index, size_t k) {
    element e = element_of(&d->q, k);
    FILE *npy = open_file(d->j, "%04zu_%s.npy", index, names[k]);
    FILE *hex = open_file(d->j, "%04zu_%s.hex", index, names[k]);
    bool fine = npy && hex && put_npy(npy, d->arrays[k], e) && put_hex(hex, d->arrays[k], e);
    if (npy) fine = close_file(npy) && fine;
    if (hex) fine = close_file(hex) && fine;
    return fine;
}

static bool write_header(const drawing *d, size_t index, size_t arrays) {
    const quantization *q = &d->q;
    char name[40];
    FILE *f = open_file(d->j, "%04zu.h", index);
    if (!f) return false;
    fprintf(f, "/* Layer %04zu: %s; %s. */\n#include <stdint.h>\n\n", index, d->c->note, manners[d->m].note);
    fprintf(f, "static const float v%04zu_input_scale = %af, v%04zu_output_scale = %af;\n", index,
            (double)q->input_scale, index, (double)q->output_scale);
    fprintf(f, "static const int32_t v%04zu_input_zero_point = %d, v%04zu_output_zero_point = %d;\n", index,
            q->input_zero_point, index, q->output_zero_point);
    fprintf(f, "static const int32_t v%04zu_least = %d, v%04zu_most = %d;\n", index, q->least, index,
            q->most);
    bool fine = true;
    for (size_t k = 0; k < arrays && fine; k++) {
        snprintf(name, sizeof name, "v%04zu_%s", index, names[k]);
        fine = put_c(f, name, d->arrays[k], element_of(q, k));
    }
    return close_file(f) && fine;
}

static void put_line(const drawing *d, size_t index, size_t arrays) {
    const quantization *q = &d->q;
    FILE *f = d->j->manifest;
    char options[240];
    const char *activation = manners[d->m].activation;
    snprintf(options, sizeof options,
             " --int%d --input-scale %.9g --input-zero-point %d --output-scale %.9g --output-zero-point %d "
             "--activation %s",
             q->bits, (double)q->input_scale, q->input_zero_point, (double)q->output_scale,
             q->output_zero_point, activation);
    begin_line(d->j, d->c, index, q->bits == 8 ? "int8" : "int16", options);
    fprintf(f,
            ", \"numbers\": \"%s\", \"quantization\": {\"input_scale\": %.9g, \"input_zero_point\": %d, "
            "\"output_scale\": %.9g, \"output_zero_point\": %d, \"activation\": \"%s\", \"least\": %d, "
            "\"most\": %d}",
            manners[d->m].note, (double)q->input_scale, q->input_zero_point, (double)q->output_scale,
            q->output_zero_point, activation, q->least, q->most);
    end_line(d->j, index, arrays, names, d->arrays, true);
}

int write_integers(const vector_job *j, const vector_case *c, size_t index) {
    drawing d = {
        .j = j, .c = c, .m = (manner)(index % MANNERS), .r = values_rng(j, index), .q = {.bits = j->bits}};
    d.largest = j->bits == 8 ? 127 : 32767;
    bool few = d.m == ABOVE_ONE;
    d.input_most = j->bits == 8 ? (few ? 3 : 255) : few ? 300 : 32768, d.weight_most = few ? 3 : 127;
    draw_zero_points(&d);
    draw_scales(&d);
    set_activation(&d.q, manners[d.m].activation);
    draw_arrays(&d);
    const char *wrong = pleat_error(j->ctx)->code ? pleat_error(j->ctx)->text : compute(&d);
    if (wrong) return complain(EXIT_IO, "vectors", "layer %04zu: %s", index, wrong);
    size_t arrays = add_ohwi(&d);
    for (size_t k = 0; k < arrays; k++)
        if (!write_array(&d, index, k)) return cannot_write(j);
    if (!write_header(&d, index, arrays)) return cannot_write(j);
    put_line(&d, index, arrays);
    return EXIT_FINE;
}

/* The sums of a quantised layer are those of the layer in f64, which are exact. */
#include "integers.h"

#include <inttypes.h>
#include <math.h>
#include <string.h>

/* ---- layers --------------------------------------------------------------------------------------------- */

static bool refuse(pleat_ctx *ctx, const char *format, const char *name, double value) {
    char text[160];
    snprintf(text, sizeof text, format, name, value);
    pleat_fail(ctx, PLEAT_ERR_ARGUMENT, "layer", "%s", text);
    return false;
}

/* t, which may be NULL, in f64: whole numbers from least to most. */
static bool is_whole(pleat_tensor *t, const char *name, double least, double most) {
    char format[80];
    if (!t) return true;
    const double *v = pleat_const_f64(t);
    snprintf(format, sizeof format, "%%s has the element %%g; it must be a whole number from %.0f to %.0f",
             least, most);
    for (size_t i = 0; v && i < pleat_numel(t); i++)
        if (!(v[i] >= least && v[i] <= most) || v[i] != floor(v[i]))
            return refuse(pleat_ctx_of(t), format, name, v[i]);
    return v != NULL;
}

static bool are_scales(pleat_tensor *t) {
    const double *v = pleat_const_f64(t);
    for (size_t i = 0; v && i < pleat_numel(t); i++)
        if (!((float)v[i] > 0) || !isfinite((float)v[i]))
            return refuse(pleat_ctx_of(t), "%s has the element %g; a scale must be a positive float",
                          "weight-scale", v[i]);
    return v != NULL;
}

static pleat_tensor *wide(pleat_tensor *t) { return t ? pleat_contiguous(pleat_cast(t, PLEAT_F64)) : NULL; }

/* Each channel's multiplier: 0, or a report. */
static bool find_multipliers(const quantization *q, pleat_tensor *scale, size_t channels, integer_result *r) {
    char shape[120];
    size_t n = pleat_numel(scale);
    if (pleat_rank(scale) != 1 || (n != 1 && n != channels)) {
        pleat_fail(pleat_ctx_of(scale), PLEAT_ERR_SHAPE, "layer",
                   "weight-scale %s: it must be [1] or [%zu], a scale for each channel out",
                   pleat_shape_text(scale, shape, sizeof shape), channels);
        return false;
    }
    r->mantissa = pleat_empty(pleat_ctx_of(scale), PLEAT_F64, 1, &channels);
    r->shift = pleat_empty(pleat_ctx_of(scale), PLEAT_F64, 1, &channels);
    double *mantissa = pleat_f64(r->mantissa), *shift = pleat_f64(r->shift);
    const double *v = pleat_const_f64(scale);
    if (!mantissa || !shift || !v) return false;
    for (size_t c = 0; c < channels; c++) {
        fixed_multiplier m = quantize_multiplier(q, (float)v[n == 1 ? 0 : c]);
        mantissa[c] = m.mantissa, shift[c] = m.shift;
    }
    return true;
}

static bool requantize_all(const quantization *q, size_t inner, integer_result *r) {
    const double *sum = pleat_const_f64(r->sum), *mantissa = pleat_const_f64(r->mantissa),
                 *shift = pleat_const_f64(r->shift);
    size_t channels = pleat_numel(r->mantissa);
    double *output = pleat_f64(r->output);
    if (!sum || !output) return false;
    for (size_t i = 0; i < pleat_numel(r->sum); i++) {
        size_t c = i / inner % channels;
        int32_t y = 0;
        if (!requantize(q, (fixed_multiplier){(int32_t)mantissa[c], (int)shift[c]}, (int64_t)sum[i], &y)) {
            pleat_fail(
                pleat_ctx_of(r->sum), PLEAT_ERR_ARGUMENT, "layer",
                "the sum %.0f in channel %zu, times 2^%d: TensorFlow Lite is not defined there, its numbers have too few bits",
                sum[i], c, (int)shift[c]);
            return false;
        }
        output[i] = y;
    }
    return true;
}

integer_result run_integers(const pleat_layer *l, const quantization *q, const method *m, pleat_tensor *input,
                            pleat_tensor *weight, pleat_tensor *bias, pleat_tensor *weight_scale) {
    pleat_ctx *ctx = pleat_ctx_of(input);
    pleat_tensor *poison = pleat_poison(ctx);
    integer_result r = {poison, poison, poison, poison};
    double most = q->bits == 8 ? INT8_MAX : INT16_MAX, largest = q->bits == 8 ? INT32_MAX : 0x1p47 - 1;
    pleat_tensor *x = wide(input), *w = wide(weight), *b = wide(bias), *scale = wide(weight_scale);
    if (!is_whole(x, "input", -most - 1, most) || !is_whole(w, "weight", INT8_MIN, INT8_MAX) ||
        !is_whole(b, "bias", -largest - 1, largest) || !are_scales(scale))
        return r;
    pleat_tensor *sum = run_layer(l, m, pleat_shift(x, -q->input_zero_point), w, b, NULL).output;
    if (pleat_is_poison(sum)) return r;
    size_t channels = pleat_size(sum, l->channels_last ? 3 : 1);
    r.sum = sum, r.output = pleat_zeros_like(sum);
    bool fine = find_multipliers(q, scale, channels, &r) &&
                requantize_all(q, l->channels_last ? 1 : pleat_size(sum, 2) * pleat_size(sum, 3), &r);
    return fine ? r : (integer_result){poison, poison, poison, poison};
}

/* ---- files ---------------------------------------------------------------------------------------------- */

static const struct {
    const char *npy, *c;
    size_t bytes;
} elements[] = {
    [ELEMENT_I8] = {"|i1", "int8_t", 1},   [ELEMENT_I16] = {"<i2", "int16_t", 2},
    [ELEMENT_I32] = {"<i4", "int32_t", 4}, [ELEMENT_I64] = {"<i8", "int64_t", 8},
    [ELEMENT_F32] = {"<f4", "float", 4},
};

/* The bits of a number in the file. */
static uint64_t bits_of(double v, element e) {
    size_t bits = 8 * elements[e].bytes;
    uint64_t whole = e == ELEMENT_F32 ? 0 : (uint64_t)(int64_t)v;
    float single = (float)v;
    uint32_t half;
    memcpy(&half, &single, 4);
    if (e == ELEMENT_F32) whole = half;
    return bits == 64 ? whole : whole & ((UINT64_C(1) << bits) - 1);
}

bool put_npy(FILE *f, pleat_tensor *t, element e) {
    char header[118], shape[48] = "";
    size_t used = 0, n = elements[e].bytes;
    for (size_t k = 0; k < pleat_rank(t); k++)
        used += (size_t)snprintf(shape + used, sizeof shape - used, "%zu, ", pleat_size(t, k));
    snprintf(header, sizeof header, "{'descr': '%s', 'fortran_order': False, 'shape': (%s), }",
             elements[e].npy, shape);
    fprintf(f, "\x93NUMPY\x01%c\x76%c%-117s\n", 0, 0, header); /* 118 bytes of header: 128 in all */
    const double *v = pleat_const_f64(t);
    for (size_t i = 0; v && i < pleat_numel(t); i++)
        for (size_t k = 0; k < n; k++) putc((int)(bits_of(v[i], e) >> 8 * k & 255), f);
    return v && !ferror(f);
}

bool put_hex(FILE *f, pleat_tensor *t, element e) {
    const double *v = pleat_const_f64(t);
    for (size_t i = 0; v && i < pleat_numel(t); i++)
        fprintf(f, "%0*" PRIx64 "\n", (int)(2 * elements[e].bytes), bits_of(v[i], e));
    return v && !ferror(f);
}

bool put_c(FILE *f, const char *name, pleat_tensor *t, element e) {
    const double *v = pleat_const_f64(t);
    fprintf(f, "static const int %s_shape[%zu] = {", name, pleat_rank(t));
    for (size_t k = 0; k < pleat_rank(t); k++) fprintf(f, "%s%zu", k ? ", " : "", pleat_size(t, k));
    fprintf(f, "};\nstatic const %s %s[%zu] = {", elements[e].c, name, pleat_numel(t));
    for (size_t i = 0; v && i < pleat_numel(t); i++)
        fprintf(f, e == ELEMENT_F32 ? "%s%af" : "%s%.0f", i % 16 ? ", " : i ? ",\n    " : "\n    ", v[i]);
    fputs("\n};\n", f);
    return v && !ferror(f);
}

/* A tensor of the file, in raw bytes, typed fields or a file of its own, as a tensor. */
#include <stdlib.h>
#include <string.h>

#include "onnx/messages.h"

/* ---- elements ------------------------------------------------------------------------------------------ */

static uint64_t little_endian(const unsigned char *p, size_t width) {
    uint64_t v = 0;
    for (size_t i = 0; i < width; i++) v |= (uint64_t)p[i] << 8 * i;
    return v;
}

static double float_of(uint32_t bits) {
    float f;
    memcpy(&f, &bits, sizeof f);
    return (double)f;
}

static double half_of(uint32_t h) {
    uint32_t exponent = h >> 10 & 31, digits = h & 1023, sign = h >> 15 << 31;
    if (exponent == 31) return float_of(sign | 0x7f800000u | digits << 13);
    /* 1.digits 2^(exponent - 15), or below it digits 2^-24 */
    double size = exponent ? float_of((exponent + 112) << 23 | digits << 13) : (double)digits * 0x1p-24;
    return sign ? -size : size;
}

static double double_of(uint64_t bits) {
    double d;
    memcpy(&d, &bits, sizeof d);
    return d;
}

/* How an element is stored. */
typedef enum code { SIGNED, UNSIGNED, FLOAT, HALF, BFLOAT, DOUBLE, TRUTH } code;
typedef struct format {
    code code;
    size_t width;
} format;

static const format formats[] = {
    [PLN_ONNX_FLOAT] = {FLOAT, 4},     [PLN_ONNX_UINT8] = {UNSIGNED, 1},  [PLN_ONNX_INT8] = {SIGNED, 1},
    [PLN_ONNX_UINT16] = {UNSIGNED, 2}, [PLN_ONNX_INT16] = {SIGNED, 2},    [PLN_ONNX_INT32] = {SIGNED, 4},
    [PLN_ONNX_INT64] = {SIGNED, 8},    [PLN_ONNX_BOOL] = {TRUTH, 1},      [PLN_ONNX_FLOAT16] = {HALF, 2},
    [PLN_ONNX_DOUBLE] = {DOUBLE, 8},   [PLN_ONNX_UINT32] = {UNSIGNED, 4}, [PLN_ONNX_UINT64] = {UNSIGNED, 8},
    [PLN_ONNX_BFLOAT16] = {BFLOAT, 2},
};

static double element(format f, uint64_t bits) {
    const size_t unused = 64 - 8 * f.width;
    const double readings[] = {
        [SIGNED] = (double)((int64_t)(bits << unused) >> unused),
        [UNSIGNED] = (double)bits,
        [FLOAT] = float_of((uint32_t)bits),
        [HALF] = half_of((uint32_t)(bits & 0xffff)),
        [BFLOAT] = float_of((uint32_t)(bits << 16)),
        [DOUBLE] = double_of(bits),
        [TRUTH] = bits != 0,
    };
    return readings[f.code];
}

/* ---- the typed fields ------------------------------------------------------------------------------------ */

static double from_float(const PlnOnnx__Tensor *p, size_t i, format f) {
    return (void)f, (double)p->float_data[i];
}
static double from_double(const PlnOnnx__Tensor *p, size_t i, format f) { return (void)f, p->double_data[i]; }
static double from_int64(const PlnOnnx__Tensor *p, size_t i, format f) {
    return element(f, (uint64_t)p->int64_data[i]);
}
static double from_uint64(const PlnOnnx__Tensor *p, size_t i, format f) {
    return element(f, p->uint64_data[i]);
}
static double from_int32(const PlnOnnx__Tensor *p, size_t i, format f) {
    uint64_t mask = f.width < 8 ? ((uint64_t)1 << 8 * f.width) - 1 : UINT64_MAX;
    return element(f, (uint64_t)(int64_t)p->int32_data[i] & mask);
}

typedef double reader(const PlnOnnx__Tensor *p, size_t i, format f);

/* The field of a type, and its number of elements. */
static reader *field_of(const PlnOnnx__Tensor *p, int type, size_t *n) {
    if (type == PLN_ONNX_FLOAT) return *n = p->n_float_data, from_float;
    if (type == PLN_ONNX_DOUBLE) return *n = p->n_double_data, from_double;
    if (type == PLN_ONNX_INT64) return *n = p->n_int64_data, from_int64;
    if (type == PLN_ONNX_UINT64 || type == PLN_ONNX_UINT32) return *n = p->n_uint64_data, from_uint64;
    return *n = p->n_int32_data, from_int32;
}

/* ---- a tensor ---------------------------------------------------------------------------------------------- */

/* The sizes and their product. */
static bool read_shape(pln_onnx_model *m, const PlnOnnx__Tensor *p, const char *what, size_t *shape,
                       size_t *numel) {
    *numel = 1;
    if (p->n_dims > PLEAT_MAX_RANK)
        return pln_onnx_wrong(m, PLEAT_ERR_FORMAT, "%s has rank %zu; at most %d is supported", what,
                              p->n_dims, PLEAT_MAX_RANK);
    for (size_t i = 0; i < p->n_dims; i++) {
        if (p->dims[i] < 0 || (uint64_t)p->dims[i] > PTRDIFF_MAX)
            return pln_onnx_wrong(m, PLEAT_ERR_FORMAT, "%s has size %jd on axis %zu", what,
                                  (intmax_t)p->dims[i], i);
        shape[i] = (size_t)p->dims[i];
        if (__builtin_mul_overflow(*numel, shape[i], numel) || *numel > PTRDIFF_MAX / 8)
            return pln_onnx_wrong(m, PLEAT_ERR_FORMAT, "%s has sizes whose product is too large", what);
    }
    return true;
}

/* Compare what the file has with what the shape needs. */
static bool fits(pln_onnx_model *m, const char *what, const char *unit, size_t has, size_t needs) {
    return has == needs ||
           pln_onnx_wrong(m, PLEAT_ERR_FORMAT, "%s has %zu %s; its shape needs %zu", what, has, unit, needs);
}

/* The elements from bytes, or, if bytes is NULL, from the field. */
static bool fill(pln_onnx_model *m, const PlnOnnx__Tensor *p, const char *what, const unsigned char *bytes,
                 pleat_tensor *t) {
    const format f = formats[p->data_type];
    size_t n = pleat_numel(t), has;
    reader *read = field_of(p, p->data_type, &has);
    if (!bytes && !fits(m, what, "elements", has, n)) return false;
    float *single = pleat_dtype_of(t) == PLEAT_F32 ? pleat_write_now(t, "onnx_load") : NULL;
    double *wide = single ? NULL : pleat_write_now(t, "onnx_load");
    for (size_t i = 0; i < n && (single || wide); i++) {
        double v = bytes ? element(f, little_endian(bytes + i * f.width, f.width)) : read(p, i, f);
        if (single)
            single[i] = (float)v;
        else
            wide[i] = v;
    }
    return n == 0 || single || wide;
}

bool pln_onnx_tensor(pln_onnx_model *m, const PlnOnnx__Tensor *p, const char *what, pln_onnx_value *out) {
    size_t shape[PLEAT_MAX_RANK], numel;
    unsigned char *external = NULL;
    if (!pln_onnx_is_known(p->data_type))
        return pln_onnx_wrong(m, PLEAT_ERR_FORMAT, "%s has type %d, %s, which is not supported", what,
                              (int)p->data_type, pln_onnx_type_name(p->data_type));
    if (!read_shape(m, p, what, shape, &numel)) return false;
    size_t bytes = numel * formats[p->data_type].width, has;
    bool raw = p->has_raw_data && p->raw_data.len > 0;
    if (p->data_location == 1) {
        external = pln_onnx_external(m, p, what, bytes);
        if (!external) return false;
    } else if (raw ? !fits(m, what, "bytes", p->raw_data.len, bytes)
                   : (field_of(p, p->data_type, &has), !fits(m, what, "elements", has, numel)))
        return false;
    pleat_dtype dtype = pln_onnx_dtype(p->data_type);
    if (!pln_onnx_may_take(m, numel * (dtype == PLEAT_F32 ? sizeof(float) : sizeof(double))))
        return free(external),
               pln_onnx_wrong(m, PLEAT_ERR_MEMORY, "%s: no memory for %zu elements", what, numel);
    pleat_tensor *t = pleat_empty(m->ctx, dtype, p->n_dims, shape);
    bool good = !pleat_is_poison(t) && fill(m, p, what,
                                            external ? external
                                            : raw    ? p->raw_data.data
                                                     : NULL,
                                            t);
    free(external);
    if (good)
        *out = (pln_onnx_value){pleat_hold(t), p->data_type};
    else
        pleat_drop(t);
    return good;
}

/* Types and values: numbers that are read on the host, and whole numbers as tensors of f64. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "onnx/onnx.h"

static const struct {
    const char *name;
    bool real;
    int bits; /* of a whole number; negative: signed */
} types[] = {
    [PLN_ONNX_FLOAT] = {"float", true, 0},     [PLN_ONNX_UINT8] = {"uint8", false, 8},
    [PLN_ONNX_INT8] = {"int8", false, -8},     [PLN_ONNX_UINT16] = {"uint16", false, 16},
    [PLN_ONNX_INT16] = {"int16", false, -16},  [PLN_ONNX_INT32] = {"int32", false, -32},
    [PLN_ONNX_INT64] = {"int64", false, -64},  [PLN_ONNX_STRING] = {"string", false, 0},
    [PLN_ONNX_BOOL] = {"bool", false, 0},      [PLN_ONNX_FLOAT16] = {"float16", true, 0},
    [PLN_ONNX_DOUBLE] = {"double", true, 0},   [PLN_ONNX_UINT32] = {"uint32", false, 32},
    [PLN_ONNX_UINT64] = {"uint64", false, 64}, [PLN_ONNX_BFLOAT16] = {"bfloat16", true, 0},
};

static bool in_table(int type) {
    return type > 0 && (size_t)type < sizeof types / sizeof *types && types[type].name;
}

const char *pln_onnx_type_name(int type) { return in_table(type) ? types[type].name : "an unknown type"; }
bool pln_onnx_is_float(int type) { return in_table(type) && types[type].real; }
bool pln_onnx_is_whole(int type) { return in_table(type) && types[type].bits != 0; }
bool pln_onnx_is_known(int type) {
    return pln_onnx_is_float(type) || pln_onnx_is_whole(type) || type == PLN_ONNX_BOOL;
}
pleat_dtype pln_onnx_dtype(int type) {
    return pln_onnx_is_float(type) && type != PLN_ONNX_DOUBLE ? PLEAT_F32 : PLEAT_F64;
}

#define EXACT 0x1p53 /* up to here every whole number is a double */

int64_t pln_onnx_whole(double v) { return v > EXACT ? INT64_MAX : v < -EXACT ? INT64_MIN : (int64_t)v; }

void *pln_onnx_room(const pln_onnx_run *run, const pln_onnx_node *n, size_t count, size_t bytes) {
    size_t all;
    if (__builtin_mul_overflow(count, bytes, &all) || all > PTRDIFF_MAX)
        return pln_onnx_refuse(run, n, "no memory for %zu numbers", count), NULL;
    size_t doubles = all / sizeof(double) + 1;
    return pleat_write_now(pleat_zeros(run->ctx, PLEAT_F64, 1, &doubles), "onnx");
}

double *pln_onnx_read(const pln_onnx_run *run, const pln_onnx_node *n, const pleat_tensor *t) {
    double *v = pln_onnx_room(run, n, pleat_numel(t), sizeof *v);
    if (v) pleat_read_f64(t, v);
    return v;
}

bool pln_onnx_number(const pln_onnx_run *run, const pln_onnx_node *n, const char *what, pln_onnx_value v,
                     double *out) {
    if (pleat_numel(v.t) != 1)
        return pln_onnx_refuse(run, n, "%s has %zu elements; it must have 1", what, pleat_numel(v.t));
    pleat_read_f64(v.t, out);
    return true;
}

bool pln_onnx_whole_input(const pln_onnx_run *run, const pln_onnx_node *n, const char *what, pln_onnx_value v,
                          pln_onnx_list *list) {
    double numbers[2 * PLEAT_MAX_RANK];
    *list = (pln_onnx_list){.given = v.t != NULL};
    if (!v.t) return true;
    list->n = pleat_numel(v.t);
    if (pleat_rank(v.t) > 1 || list->n > sizeof numbers / sizeof *numbers)
        return pln_onnx_refuse(run, n, "%s has rank %zu and %zu elements; it must be a list of at most %d",
                               what, pleat_rank(v.t), list->n, 2 * PLEAT_MAX_RANK);
    pleat_read_f64(v.t, numbers);
    for (size_t i = 0; i < list->n; i++) list->v[i] = pln_onnx_whole(numbers[i]);
    return true;
}

pln_onnx_value pln_onnx_of_doubles(pln_onnx_run *run, int type, size_t rank, const size_t *shape,
                                   const double *v) {
    return (pln_onnx_value){pleat_from_f64(run->ctx, pln_onnx_dtype(type), rank, shape, v), type};
}

pln_onnx_value pln_onnx_of_list(pln_onnx_run *run, size_t n, const int64_t *v) {
    double numbers[2 * PLEAT_MAX_RANK];
    for (size_t i = 0; i < n; i++) numbers[i] = (double)v[i];
    return pln_onnx_of_doubles(run, PLN_ONNX_INT64, 1, &n, numbers);
}

pleat_tensor *pln_onnx_mask(pln_onnx_value v, pleat_dtype dtype) { return pleat_cast(v.t, dtype); }

pln_onnx_value pln_onnx_truths(pleat_tensor *t) {
    return (pln_onnx_value){pleat_detach(pleat_cast(t, PLEAT_F64)), PLN_ONNX_BOOL};
}

/* v modulo 2^bits, in the range of the type */
static double wrapped(double v, int bits) {
    double modulus = ldexp(1, abs(bits)), low = bits < 0 ? -modulus / 2 : 0;
    return v - floor((v - low) / modulus) * modulus;
}

bool pln_onnx_wrap(const pln_onnx_run *run, const pln_onnx_node *n, pln_onnx_value *v) {
    int bits = types[v->type].bits;
    double *numbers = pln_onnx_read(run, n, v->t);
    if (!numbers) return false;
    size_t count = pleat_numel(v->t), wrong = count;
    for (size_t i = 0; i < count; i++) {
        if (!(fabs(numbers[i]) <= EXACT) && wrong == count) wrong = i;
        numbers[i] = nearbyint(numbers[i]);
        if (abs(bits) < 64) numbers[i] = wrapped(numbers[i], bits);
    }
    if (wrong == count)
        v->t = pleat_from_f64(run->ctx, PLEAT_F64, pleat_rank(v->t), pleat_shape(v->t), numbers);
    return wrong == count ||
           pln_onnx_refuse(run, n, "result %zu is no %s up to 2^53; whole numbers are computed in doubles",
                           wrong, pln_onnx_type_name(v->type));
}

pleat_tensor *pln_onnx_reshape(pleat_tensor *x, size_t rank, const size_t *shape) {
    return pleat_reshape(x, rank, shape);
}

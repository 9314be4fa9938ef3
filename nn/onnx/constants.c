/* Tensors that are made: constants, and tensors of a shape. */
#include <math.h>

#include "onnx/onnx.h"

static bool constant(pln_onnx_run *run, const pln_onnx_node *n, const pln_onnx_value *in,
                     pln_onnx_value *out) {
    (void)in;
    if (n->attrs != 1) return pln_onnx_refuse(run, n, "it must have one attribute");
    const pln_onnx_attr *a = &n->attr[0];
    double *numbers = pln_onnx_room(run, n, a->n, sizeof *numbers);
    if (!numbers) return false;
    for (size_t i = 0; i < a->n; i++) numbers[i] = a->type == 6 ? (double)a->floats[i] : (double)a->ints[i];
    const double number = a->type == 1 ? a->f : (double)a->i;
    if (a->type == 4)
        out[0] = a->t;
    else if (a->type == 6 || a->type == 7)
        out[0] = pln_onnx_of_doubles(run, a->type == 6 ? PLN_ONNX_FLOAT : PLN_ONNX_INT64, 1, &a->n, numbers);
    else
        out[0] = pln_onnx_of_doubles(run, a->type == 1 ? PLN_ONNX_FLOAT : PLN_ONNX_INT64, 0, NULL, &number);
    return true;
}

/* Sizes from a list of whole numbers. */
static bool shape_of(pln_onnx_run *run, const pln_onnx_node *n, pln_onnx_value v, size_t *rank,
                     size_t *shape) {
    pln_onnx_list list;
    if (!pln_onnx_whole_input(run, n, "the shape", v, &list)) return false;
    if (list.n > PLEAT_MAX_RANK)
        return pln_onnx_refuse(run, n, "a shape of rank %zu; at most %d is supported", list.n,
                               PLEAT_MAX_RANK);
    for (size_t i = 0; i < list.n; i++) {
        if (list.v[i] < 0 || (uint64_t)list.v[i] > PTRDIFF_MAX)
            return pln_onnx_refuse(run, n, "size %jd on axis %zu of the shape", (intmax_t)list.v[i], i);
        shape[i] = (size_t)list.v[i];
    }
    *rank = list.n;
    return true;
}

static bool constant_of_shape(pln_onnx_run *run, const pln_onnx_node *n, const pln_onnx_value *in,
                              pln_onnx_value *out) {
    size_t rank = 0, shape[PLEAT_MAX_RANK];
    double value = 0;
    const pln_onnx_attr *a = pln_onnx_attr_of(n, "value");
    if (!shape_of(run, n, in[0], &rank, shape) ||
        (a && !pln_onnx_number(run, n, "attribute value", a->t, &value)))
        return false;
    int type = a ? a->t.type : PLN_ONNX_FLOAT;
    out[0] = (pln_onnx_value){pleat_full(run->ctx, pln_onnx_dtype(type), rank, shape, value), type};
    return true;
}

static bool range(pln_onnx_run *run, const pln_onnx_node *n, const pln_onnx_value *in, pln_onnx_value *out) {
    double v[3];
    if (!pln_onnx_number(run, n, "start", in[0], &v[0]) || !pln_onnx_number(run, n, "limit", in[1], &v[1]) ||
        !pln_onnx_number(run, n, "delta", in[2], &v[2]))
        return false;
    double count = ceil((v[1] - v[0]) / v[2]);
    if (!(v[2] != 0 && isfinite(count))) return pln_onnx_refuse(run, n, "delta must be finite and not 0");
    pleat_dtype dtype = pln_onnx_dtype(in[0].type);
    out[0].t = count > 0 ? pleat_arange(run->ctx, dtype, v[0], v[1], v[2])
                         : pleat_zeros(run->ctx, dtype, PLEAT_SHAPE(0));
    return true;
}

static bool eye_like(pln_onnx_run *run, const pln_onnx_node *n, const pln_onnx_value *in,
                     pln_onnx_value *out) {
    int64_t type = pln_onnx_int(n, "dtype", in[0].type), k = pln_onnx_int(n, "k", 0);
    if (pleat_rank(in[0].t) != 2 || type < 0 || type > 16 || !pln_onnx_is_known((int)type))
        return pln_onnx_refuse(run, n,
                               "input of rank %zu, attribute dtype %jd; it takes a matrix and a known type",
                               pleat_rank(in[0].t), (intmax_t)type);
    size_t R = pleat_size(in[0].t, 0), C = pleat_size(in[0].t, 1);
    pleat_tensor *row = pleat_reshape(pleat_arange(run->ctx, PLEAT_F64, 0, (double)R, 1), PLEAT_SHAPE(R, 1));
    pleat_tensor *column = pleat_arange(run->ctx, PLEAT_F64, 0, (double)C, 1);
    pleat_tensor *eye = pleat_eq(pleat_shift(row, (double)k), column);
    out[0] = (pln_onnx_value){pleat_cast(eye, pln_onnx_dtype((int)type)), (int)type};
    return true;
}

/* 1 at the index along a new axis, 0 elsewhere; a negative index counts from the end */
static bool one_hot(pln_onnx_run *run, const pln_onnx_node *n, const pln_onnx_value *in,
                    pln_onnx_value *out) {
    double depth, pair[2];
    size_t rank = pleat_rank(in[0].t), axis, shape[PLEAT_MAX_RANK + 1], line[PLEAT_MAX_RANK + 1];
    if (!pln_onnx_number(run, n, "depth", in[1], &depth) ||
        !pln_onnx_axis(run, n, pln_onnx_int(n, "axis", -1), rank + 1, &axis))
        return false;
    if (pleat_numel(in[2].t) != 2 || !(depth >= 1 && depth <= 0x1p31) || rank == PLEAT_MAX_RANK)
        return pln_onnx_refuse(run, n, "%zu values; it takes 2, a depth from 1 to 2^31 and a rank below %d",
                               pleat_numel(in[2].t), PLEAT_MAX_RANK);
    pleat_read_f64(in[2].t, pair);
    for (size_t k = 0; k <= rank; k++) {
        shape[k] = k == axis ? 1 : pleat_size(in[0].t, k - (k > axis));
        line[k] = k == axis ? (size_t)depth : 1;
    }
    pleat_tensor *index = pleat_reshape(pleat_cast(in[0].t, PLEAT_F64), rank + 1, shape);
    index = pleat_where(pleat_lt(index, pleat_zeros_like(index)), pleat_shift(index, depth), index);
    pleat_tensor *hot =
        pleat_eq(index, pleat_reshape(pleat_arange(run->ctx, PLEAT_F64, 0, depth, 1), rank + 1, line));
    pleat_dtype dtype = pln_onnx_dtype(in[2].type);
    out[0] = (pln_onnx_value){
        pleat_cast(pleat_where(hot, pleat_full_like(hot, pair[1]), pleat_full_like(hot, pair[0])), dtype),
        in[2].type};
    return true;
}

const pln_onnx_row pln_onnx_constants[] = {
    {"Constant", 1, 11, "", 1, constant, .attrs = "value:t"},
    {"Constant", 12, 17, "", 1, constant,
     .attrs = "value:t value_float:f value_floats:F value_int:i value_ints:I"},
    {"ConstantOfShape", 9, 17, "w", 1, constant_of_shape, .attrs = "value:t"},
    {"Range", 11, 17, "nnn", 1, range, .attrs = ""},
    {"EyeLike", 9, 17, "a", 1, eye_like, .attrs = "dtype:i k:i"},
    {"OneHot", 9, 17, "nna", 1, one_hot, .attrs = "axis:i"},
    {0},
};

/* Elements by indices, and the places of the largest. */
#include <string.h>

#include "onnx/parts.h"

/* Indices from -size to size - 1 as places; NULL after an error. */
static size_t *places(const pln_onnx_run *run, const pln_onnx_node *n, const pleat_tensor *index,
                      size_t size) {
    size_t count = pleat_numel(index);
    double *numbers = pln_onnx_read(run, n, index);
    size_t *at = numbers ? pln_onnx_room(run, n, count, sizeof *at) : NULL;
    int64_t most = (int64_t)size;
    for (size_t i = 0; at && i < count; i++) {
        int64_t v = pln_onnx_whole(numbers[i]);
        if (v < -most || v >= most || (double)v != numbers[i]) {
            pln_onnx_refuse(run, n, "index %zu is %jd; it must be from -%zu to %zu", i, (intmax_t)v, size,
                            size ? size - 1 : 0);
            at = NULL;
        } else
            at[i] = (size_t)(v < 0 ? v + most : v);
    }
    return at;
}

/* y[.., i.., ..] = x[.., index[i..], ..] */
static bool gather(pln_onnx_run *run, const pln_onnx_node *n, const pln_onnx_value *in, pln_onnx_value *out) {
    pleat_tensor *x = in[0].t, *index = in[1].t;
    size_t axis, rank = pleat_rank(x), extra = pleat_rank(index), shape[2 * PLEAT_MAX_RANK], used = 0;
    if (!pln_onnx_axis(run, n, pln_onnx_int(n, "axis", 0), rank, &axis)) return false;
    if (rank - 1 + extra > PLEAT_MAX_RANK)
        return pln_onnx_refuse(run, n, "a result of rank %zu; at most %d is supported", rank - 1 + extra,
                               PLEAT_MAX_RANK);
    size_t *at = places(run, n, index, pleat_size(x, axis));
    if (!at) return false;
    for (size_t k = 0; k < rank; k++) {
        for (size_t i = 0; k == axis && i < extra; i++) shape[used++] = pleat_size(index, i);
        if (k != axis) shape[used++] = pleat_size(x, k);
    }
    out[0].t = pleat_reshape(pleat_index_select(x, axis, pleat_numel(index), at), used, shape);
    return true;
}

static bool gather_elements(pln_onnx_run *run, const pln_onnx_node *n, const pln_onnx_value *in,
                            pln_onnx_value *out) {
    size_t axis;
    if (pleat_rank(in[0].t) != pleat_rank(in[1].t))
        return pln_onnx_refuse(run, n, "inputs of rank %zu and %zu", pleat_rank(in[0].t),
                               pleat_rank(in[1].t));
    if (!pln_onnx_axis(run, n, pln_onnx_int(n, "axis", 0), pleat_rank(in[0].t), &axis)) return false;
    size_t *at = places(run, n, in[1].t, pleat_size(in[0].t, axis));
    if (!at) return false;
    out[0].t = pleat_gather(in[0].t, axis, pleat_shape(in[1].t), at);
    return true;
}

/* x with elements put at indices along the axis. Adding is scatter_add; else what was there goes before. */
static bool scatter_elements(pln_onnx_run *run, const pln_onnx_node *n, const pln_onnx_value *in,
                             pln_onnx_value *out) {
    static const char *const words[] = {"none", "add", NULL};
    size_t axis, mode;
    pleat_tensor *x = in[0].t, *updates = in[2].t;
    if (!pln_onnx_word(run, n, "reduction", words, &mode) ||
        !pln_onnx_axis(run, n, pln_onnx_int(n, "axis", 0), pleat_rank(x), &axis))
        return false;
    if (in[0].type != in[2].type || !pln_same_shape(in[1].t, updates) || pleat_rank(updates) != pleat_rank(x))
        return pln_onnx_refuse(run, n,
                               "indices and updates must have one shape, of the rank and type of the data");
    size_t *at = places(run, n, in[1].t, pleat_size(x, axis));
    if (!at) return false;
    pleat_tensor *sum = pleat_scatter_add(updates, axis, pleat_shape(x), at);
    pleat_tensor *hits = pleat_scatter_add(pleat_full_like(updates, 1), axis, pleat_shape(x), at);
    bool once = pleat_item(pleat_amax(pleat_reshape(hits, PLEAT_SHAPE(pleat_numel(hits))))) <= 1;
    if (mode == 0 && !once)
        return pln_onnx_refuse(run, n, "an index that is given twice is not supported without reduction add");
    out[0].t = mode ? pleat_add(x, sum) : pleat_where(hits, sum, x);
    return true;
}

/* ---- the ...ND forms: the last axis of the indices is a place in the first axes ------------------------------ */

/* Row numbers in data of which the first axes are one, [rows,rest]. */
static size_t *rows_of(const pln_onnx_run *run, const pln_onnx_node *n, const pleat_tensor *x,
                       const pleat_tensor *index, size_t batch, size_t *rows, size_t *rest, size_t *count) {
    size_t depth = pleat_rank(index) ? pleat_size(index, pleat_rank(index) - 1) : 0, rank = pleat_rank(x),
           blocks = 1;
    if (!depth || depth + batch > rank || batch >= pleat_rank(index))
        return pln_onnx_refuse(run, n, "indices of depth %zu for data of rank %zu", depth, rank), NULL;
    *rows = *rest = 1;
    for (size_t k = 0; k < rank; k++) *(k < batch + depth ? rows : rest) *= pleat_size(x, k);
    for (size_t k = 0; k < batch; k++) blocks *= pleat_size(x, k);
    *count = pleat_numel(index) / depth;
    double *numbers = pln_onnx_read(run, n, index);
    size_t *at = numbers ? pln_onnx_room(run, n, *count, sizeof *at) : NULL;
    for (size_t i = 0; at && i < *count; i++) {
        at[i] = i / (*count / blocks); /* its block */
        for (size_t k = 0; k < depth; k++) {
            int64_t v = pln_onnx_whole(numbers[i * depth + k]), most = (int64_t)pleat_size(x, batch + k);
            if (v < -most || v >= most) {
                pln_onnx_refuse(run, n, "index %zu is %jd; it must be from -%jd to %jd", i * depth + k,
                                (intmax_t)v, (intmax_t)most, (intmax_t)most - 1);
                return NULL;
            }
            at[i] = at[i] * (size_t)most + (size_t)(v < 0 ? v + most : v);
        }
    }
    return at;
}

static bool gather_nd(pln_onnx_run *run, const pln_onnx_node *n, const pln_onnx_value *in,
                      pln_onnx_value *out) {
    pleat_tensor *x = in[0].t, *index = in[1].t;
    int64_t batch = pln_onnx_int(n, "batch_dims", 0);
    size_t rows, rest, count, shape[2 * PLEAT_MAX_RANK], used = 0;
    if (batch < 0 || batch >= PLEAT_MAX_RANK)
        return pln_onnx_refuse(run, n, "attribute batch_dims is %jd", (intmax_t)batch);
    for (size_t k = 0; k < (size_t)batch; k++)
        if (pleat_size(x, k) != pleat_size(index, k))
            return pln_onnx_refuse(run, n, "the first %jd axes of both inputs must be equal",
                                   (intmax_t)batch);
    size_t *at = rows_of(run, n, x, index, (size_t)batch, &rows, &rest, &count);
    if (!at) return false;
    size_t depth = pleat_size(index, pleat_rank(index) - 1);
    for (size_t k = 0; k + 1 < pleat_rank(index); k++) shape[used++] = pleat_size(index, k);
    for (size_t k = (size_t)batch + depth; k < pleat_rank(x); k++) shape[used++] = pleat_size(x, k);
    bool fits = used <= PLEAT_MAX_RANK;
    if (fits)
        out[0].t = pleat_reshape(pleat_index_select(pleat_reshape(x, PLEAT_SHAPE(rows, rest)), 0, count, at),
                                 used, shape);
    return fits ||
           pln_onnx_refuse(run, n, "a result of rank %zu; at most %d is supported", used, PLEAT_MAX_RANK);
}

/* ---- the largest ----------------------------------------------------------------------------------------------- */

static bool arg_of(pln_onnx_run *run, const pln_onnx_node *n, pleat_tensor *x, pln_onnx_value *out) {
    size_t axis, shape[PLEAT_MAX_RANK], rank = 0;
    if (!pln_onnx_axis(run, n, pln_onnx_int(n, "axis", 0), pleat_rank(x), &axis)) return false;
    bool keep = pln_onnx_int(n, "keepdims", 1) != 0, last = pln_onnx_int(n, "select_last_index", 0) != 0;
    size_t size = pleat_size(x, axis), count = size ? pleat_numel(x) / size : 0;
    for (size_t k = 0; k < pleat_rank(x); k++)
        if (k != axis || keep) shape[rank++] = k == axis ? 1 : pleat_size(x, k);
    size_t *index = pln_onnx_room(run, n, count, sizeof *index);
    double *numbers = pln_onnx_room(run, n, count, sizeof *numbers);
    bool good = index && numbers &&
                !pleat_argmax(last ? pleat_contiguous(pleat_flip(x, 1u << axis)) : x, axis, index);
    for (size_t i = 0; i < count && good; i++) numbers[i] = (double)(last ? size - 1 - index[i] : index[i]);
    if (good) out[0] = pln_onnx_of_doubles(run, PLN_ONNX_INT64, rank, shape, numbers);
    return good;
}

static bool arg_max(pln_onnx_run *run, const pln_onnx_node *n, const pln_onnx_value *in,
                    pln_onnx_value *out) {
    return arg_of(run, n, in[0].t, out);
}
static bool arg_min(pln_onnx_run *run, const pln_onnx_node *n, const pln_onnx_value *in,
                    pln_onnx_value *out) {
    return arg_of(run, n, pleat_neg(in[0].t), out);
}

const pln_onnx_row pln_onnx_gathers[] = {
    {"Gather", 1, 17, "aw", 1, gather, .attrs = "axis:i", .weights = 1},
    {"GatherElements", 11, 17, "aw", 1, gather_elements, .attrs = "axis:i"},
    {"GatherND", 11, 11, "aw", 1, gather_nd, .attrs = ""},
    {"GatherND", 12, 17, "aw", 1, gather_nd, .attrs = "batch_dims:i"},
    {"Scatter", 9, 17, "awa", 1, scatter_elements, .attrs = "axis:i"},
    {"ScatterElements", 11, 15, "awa", 1, scatter_elements, .attrs = "axis:i"},
    {"ScatterElements", 16, 17, "awa", 1, scatter_elements, .attrs = "axis:i reduction:s"},
    {"ArgMax", 1, 11, "n", 1, arg_max, .attrs = "axis:i keepdims:i"},
    {"ArgMax", 12, 17, "n", 1, arg_max, .attrs = "axis:i keepdims:i select_last_index:i"},
    {"ArgMin", 1, 11, "n", 1, arg_min, .attrs = "axis:i keepdims:i"},
    {"ArgMin", 12, 17, "n", 1, arg_min, .attrs = "axis:i keepdims:i select_last_index:i"},
    {0},
};

/* Shapes: what they are, and other shapes for the same elements. */
#include <string.h>

#include "onnx/onnx.h"

/* The sizes from axis `start` to before `end`, both from the end if negative, within the rank. */
static bool shape(pln_onnx_run *run, const pln_onnx_node *n, const pln_onnx_value *in, pln_onnx_value *out) {
    int64_t rank = (int64_t)pleat_rank(in[0].t), v[PLEAT_MAX_RANK];
    int64_t start = pln_onnx_int(n, "start", 0), end = pln_onnx_int(n, "end", rank);
    start = start < -rank ? 0 : start < 0 ? start + rank : start;
    end = end < -rank ? 0 : end < 0 ? end + rank : end > rank ? rank : end;
    size_t count = 0;
    for (int64_t k = start; k < end; k++) v[count++] = (int64_t)pleat_size(in[0].t, (size_t)k);
    out[0] = pln_onnx_of_list(run, count, v);
    return true;
}

static bool size(pln_onnx_run *run, const pln_onnx_node *n, const pln_onnx_value *in, pln_onnx_value *out) {
    const double v = (double)pleat_numel(in[0].t);
    (void)n;
    out[0] = pln_onnx_of_doubles(run, PLN_ONNX_INT64, 0, NULL, &v);
    return true;
}

/* 0 is the size of x on that axis, unless allowzero is 1; -1 is what is left. */
static bool reshape(pln_onnx_run *run, const pln_onnx_node *n, const pln_onnx_value *in,
                    pln_onnx_value *out) {
    pln_onnx_list list;
    size_t sizes[PLEAT_MAX_RANK], rest = PLEAT_MAX_RANK, known = 1, numel = pleat_numel(in[0].t);
    bool zero = pln_onnx_int(n, "allowzero", 0) != 0;
    if (!pln_onnx_whole_input(run, n, "the shape", in[1], &list)) return false;
    if (list.n > PLEAT_MAX_RANK)
        return pln_onnx_refuse(run, n, "a shape of rank %zu; at most %d is supported", list.n,
                               PLEAT_MAX_RANK);
    for (size_t k = 0; k < list.n; k++) {
        bool copy = list.v[k] == 0 && !zero;
        if (list.v[k] < -1 || list.v[k] > (int64_t)(PTRDIFF_MAX / 8) || (copy && k >= pleat_rank(in[0].t)) ||
            (list.v[k] == -1 && rest < PLEAT_MAX_RANK))
            return pln_onnx_refuse(run, n, "size %jd on axis %zu of the shape", (intmax_t)list.v[k], k);
        sizes[k] = copy ? pleat_size(in[0].t, k) : (size_t)list.v[k];
        if (list.v[k] == -1)
            rest = k;
        else if (__builtin_mul_overflow(known, sizes[k], &known))
            return pln_onnx_refuse(run, n, "the product of the sizes is too large");
    }
    if (rest < PLEAT_MAX_RANK) sizes[rest] = known ? numel / known : 0;
    if (rest < PLEAT_MAX_RANK && known * sizes[rest] != numel)
        return pln_onnx_refuse(
            run, n, "%zu elements do not fit a shape whose known sizes have the product %zu", numel, known);
    out[0].t = pleat_reshape(in[0].t, list.n, sizes);
    return true;
}

static bool flatten(pln_onnx_run *run, const pln_onnx_node *n, const pln_onnx_value *in,
                    pln_onnx_value *out) {
    size_t rank = pleat_rank(in[0].t), sizes[2] = {1, 1};
    int64_t r = (int64_t)rank, axis = pln_onnx_int(n, "axis", 1);
    if (axis < -r || axis > r)
        return pln_onnx_refuse(run, n, "axis %jd of a tensor of rank %zu", (intmax_t)axis, rank);
    if (axis < 0) axis += r;
    for (size_t k = 0; k < rank; k++) sizes[(int64_t)k >= axis] *= pleat_size(in[0].t, k);
    out[0].t = pleat_reshape(in[0].t, 2, sizes);
    return true;
}

static bool squeeze(pln_onnx_run *run, const pln_onnx_node *n, const pln_onnx_value *in,
                    pln_onnx_value *out) {
    pln_onnx_list list;
    unsigned axes;
    size_t sizes[PLEAT_MAX_RANK], rank = 0;
    if (!pln_onnx_list_of(run, n, "axes", in[1], &list) ||
        !pln_onnx_axes(run, n, &list, pleat_rank(in[0].t), &axes))
        return false;
    for (size_t k = 0; k < pleat_rank(in[0].t); k++) {
        size_t has = pleat_size(in[0].t, k);
        bool goes = list.given ? axes >> k & 1 : has == 1;
        if (goes && has != 1) return pln_onnx_refuse(run, n, "axis %zu has size %zu; it must be 1", k, has);
        if (!goes) sizes[rank++] = has;
    }
    out[0].t = pleat_reshape(in[0].t, rank, sizes);
    return true;
}

static bool unsqueeze(pln_onnx_run *run, const pln_onnx_node *n, const pln_onnx_value *in,
                      pln_onnx_value *out) {
    pln_onnx_list list;
    unsigned axes;
    if (!pln_onnx_list_of(run, n, "axes", in[1], &list)) return false;
    size_t sizes[PLEAT_MAX_RANK], rank = pleat_rank(in[0].t) + list.n, next = 0;
    if (!list.given || rank > PLEAT_MAX_RANK)
        return pln_onnx_refuse(run, n, "%zu axes for a tensor of rank %zu; the rank may be %d", list.n,
                               pleat_rank(in[0].t), PLEAT_MAX_RANK);
    if (!pln_onnx_axes(run, n, &list, rank, &axes)) return false;
    for (size_t k = 0; k < rank; k++) sizes[k] = axes >> k & 1 ? 1 : pleat_size(in[0].t, next++);
    out[0].t = pleat_reshape(in[0].t, rank, sizes);
    return true;
}

/* Both shapes are broadcast: a size 1 of either is repeated. */
static bool expand(pln_onnx_run *run, const pln_onnx_node *n, const pln_onnx_value *in, pln_onnx_value *out) {
    pln_onnx_list list;
    if (!pln_onnx_whole_input(run, n, "the shape", in[1], &list)) return false;
    size_t has = pleat_rank(in[0].t), rank = list.n > has ? list.n : has, sizes[2 * PLEAT_MAX_RANK];
    if (rank > PLEAT_MAX_RANK)
        return pln_onnx_refuse(run, n, "a shape of rank %zu; at most %d is supported", rank, PLEAT_MAX_RANK);
    for (size_t k = 0; k < rank; k++) {
        int64_t a = k + has >= rank ? (int64_t)pleat_size(in[0].t, k + has - rank) : 1;
        int64_t b = k + list.n >= rank ? list.v[k + list.n - rank] : 1;
        if (b < 0 || b > (int64_t)(PTRDIFF_MAX / 8) || (a != b && a != 1 && b != 1))
            return pln_onnx_refuse(run, n, "sizes %jd and %jd on axis %zu", (intmax_t)a, (intmax_t)b, k);
        sizes[k] = (size_t)(a == 1 ? b : a);
    }
    out[0].t = pleat_broadcast_to(in[0].t, rank, sizes);
    return true;
}

const pln_onnx_row pln_onnx_shapes[] = {
    {"Shape", 1, 14, "a", 1, shape, .attrs = ""},
    {"Shape", 15, 17, "a", 1, shape, .attrs = "start:i end:i"},
    {"Size", 1, 17, "a", 1, size, .attrs = ""},
    {"Reshape", 5, 13, "aw", 1, reshape, .attrs = "", .passes = true},
    {"Reshape", 14, 17, "aw", 1, reshape, .attrs = "allowzero:i", .passes = true},
    {"Flatten", 1, 17, "a", 1, flatten, .attrs = "axis:i", .passes = true},
    {"Squeeze", 1, 12, "a", 1, squeeze, .attrs = "axes:I", .passes = true},
    {"Squeeze", 13, 17, "aW", 1, squeeze, .attrs = "", .passes = true},
    {"Unsqueeze", 1, 12, "a", 1, unsqueeze, .attrs = "axes:I", .passes = true},
    {"Unsqueeze", 13, 17, "aw", 1, unsqueeze, .attrs = "", .passes = true},
    {"Expand", 8, 17, "aw", 1, expand, .attrs = "", .passes = true},
    {0},
};

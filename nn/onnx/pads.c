/* Pad, with a constant, a mirror, or the edge; negative paddings cut. */

#include "onnx/parts.h"

/* The axis by the indices of a mirror or of the edge. */
static pleat_tensor *pad_by_index(const pln_onnx_run *run, const pln_onnx_node *n, pleat_tensor *x,
                                  size_t axis, int64_t before, int64_t after, bool mirror) {
    int64_t size = (int64_t)pleat_size(x, axis), total;
    if (__builtin_add_overflow(before, after, &total) || __builtin_add_overflow(total, size, &total) ||
        total < 0 || total > (int64_t)(PTRDIFF_MAX / 64) || (uint64_t)total > SIZE_MAX / 16 || size == 0 ||
        (mirror && (before >= size || after >= size)))
        return pln_onnx_refuse(run, n, "paddings %jd and %jd of an axis of %jd", (intmax_t)before,
                               (intmax_t)after, (intmax_t)size),
               NULL;
    size_t *at = pln_onnx_room(run, n, (size_t)total, sizeof *at);
    if (!at) return NULL;
    for (int64_t i = 0; i < total; i++) {
        int64_t from = i - before;
        if (mirror)
            from = from < 0 ? -from : from >= size ? 2 * (size - 1) - from : from;
        else
            from = from < 0 ? 0 : from >= size ? size - 1 : from;
        at[i] = (size_t)from;
    }
    pleat_tensor *y = pleat_index_select(x, axis, (size_t)total, at);
    return y;
}

static bool pad_constant(const pln_onnx_run *run, const pln_onnx_node *n, pleat_tensor *x,
                         const pln_onnx_list *pads, double value, pln_onnx_value *out) {
    size_t rank = pleat_rank(x);
    pleat_tensor *y = x, *inside = value != 0 ? pleat_full_like(x, 1) : NULL;
    for (size_t k = 0; k < rank; k++) {
        int64_t size = (int64_t)pleat_size(x, k), total;
        if (__builtin_add_overflow(pads->v[k], pads->v[rank + k], &total) ||
            __builtin_add_overflow(total, size, &total) || total < 0 || total > (int64_t)(PTRDIFF_MAX / 64) ||
            pads->v[k] > PTRDIFF_MAX / 2 || pads->v[k] < -(PTRDIFF_MAX / 2))
            return pln_onnx_refuse(run, n, "paddings %jd and %jd of axis %zu of size %jd",
                                   (intmax_t)pads->v[k], (intmax_t)pads->v[rank + k], k, (intmax_t)size);
        y = pln_onnx_window(y, k, -(ptrdiff_t)pads->v[k], (size_t)total);
        if (inside) inside = pln_onnx_window(inside, k, -(ptrdiff_t)pads->v[k], (size_t)total);
    }
    out[0].t = inside ? pleat_where(inside, y, pleat_full_like(y, value)) : y;
    return true;
}

static bool pad_by(pln_onnx_run *run, const pln_onnx_node *n, pleat_tensor *x, pln_onnx_value pads,
                   double value, pln_onnx_value *out) {
    static const char *const modes[] = {"constant", "reflect", "edge", NULL};
    pln_onnx_list list;
    size_t mode, rank = pleat_rank(x);
    if (!pln_onnx_list_of(run, n, "pads", pads, &list) || !pln_onnx_word(run, n, "mode", modes, &mode))
        return false;
    if (list.n != 2 * rank)
        return pln_onnx_refuse(run, n, "%zu paddings for a tensor of rank %zu; it needs %zu", list.n, rank,
                               2 * rank);
    if (mode == 0) return pad_constant(run, n, x, &list, value, out);
    for (size_t k = 0; k < rank && x; k++)
        if (list.v[k] || list.v[rank + k])
            x = pad_by_index(run, n, x, k, list.v[k], list.v[rank + k], mode == 1);
    out[0].t = x;
    return x != NULL;
}

static bool pad2(pln_onnx_run *run, const pln_onnx_node *n, const pln_onnx_value *in, pln_onnx_value *out) {
    return pad_by(run, n, in[0].t, (pln_onnx_value){0}, pln_onnx_real(n, "value", 0), out);
}

static bool pad11(pln_onnx_run *run, const pln_onnx_node *n, const pln_onnx_value *in, pln_onnx_value *out) {
    double value = 0;
    if (in[2].t && !pln_onnx_number(run, n, "constant_value", in[2], &value)) return false;
    return pad_by(run, n, in[0].t, in[1], value, out);
}

const pln_onnx_row pln_onnx_pads[] = {
    {"Pad", 2, 10, "f", 1, pad2, .attrs = "mode:s pads:I value:f"},
    {"Pad", 11, 17, "nwA", 1, pad11, .attrs = "mode:s"},
    {0},
};

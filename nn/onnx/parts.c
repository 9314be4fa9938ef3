/* Views along one axis, and windows that slide along several. */
#include "onnx/parts.h"

#include <string.h>

pleat_tensor *pln_onnx_cut(pleat_tensor *x, size_t axis, size_t start, size_t size, size_t step) {
    size_t starts[PLEAT_MAX_RANK] = {0}, sizes[PLEAT_MAX_RANK], steps[PLEAT_MAX_RANK], rank = pleat_rank(x);
    for (size_t k = 0; k < rank; k++) steps[k] = 1;
    memcpy(sizes, pleat_shape(x), rank * sizeof *sizes);
    if (axis < rank) starts[axis] = start, sizes[axis] = size, steps[axis] = step;
    return pleat_slice(x, starts, sizes, steps);
}

pleat_tensor *pln_onnx_put(pleat_tensor *x, size_t axis, size_t size, size_t start, size_t step) {
    size_t starts[PLEAT_MAX_RANK] = {0}, shape[PLEAT_MAX_RANK], steps[PLEAT_MAX_RANK], rank = pleat_rank(x);
    for (size_t k = 0; k < rank; k++) steps[k] = 1;
    memcpy(shape, pleat_shape(x), rank * sizeof *shape);
    if (axis < rank) starts[axis] = start, shape[axis] = size, steps[axis] = step;
    return pleat_pad(x, shape, starts, steps);
}

pleat_tensor *pln_onnx_window(pleat_tensor *x, size_t axis, ptrdiff_t from, size_t size) {
    ptrdiff_t has = (ptrdiff_t)pleat_size(x, axis), low = from < 0 ? 0 : from, high = from + (ptrdiff_t)size;
    if (from == 0 && (ptrdiff_t)size == has) return x;
    if (high > has) high = has;
    size_t inside = high > low ? (size_t)(high - low) : 0;
    if (low > has) low = has;
    pleat_tensor *part = pln_onnx_cut(x, axis, (size_t)low, inside, 1);
    size_t start = from < 0 ? (size_t)-from : 0;
    return inside == size ? part : pln_onnx_put(part, axis, size, inside ? start : 0, 1);
}

pleat_tensor *pln_onnx_move_axis(pleat_tensor *x, size_t from, size_t to) {
    size_t order[PLEAT_MAX_RANK], rank = pleat_rank(x), next = 0;
    if (from == to || from >= rank || to >= rank) return x;
    for (size_t k = 0; k < rank; k++) {
        next += next == from;
        order[k] = k == to ? from : next++;
    }
    return pleat_permute(x, order);
}

static bool read_pads(const pln_onnx_run *run, const pln_onnx_node *n, pln_onnx_window_args *a) {
    size_t pads[6] = {0}, skip = 3 - a->axes;
    if (!pln_onnx_sizes(run, n, "pads", 2 * a->axes, 0, 0, pads)) return false;
    for (size_t k = 0; k < a->axes; k++)
        a->before[skip + k] = pads[k], a->after[skip + k] = pads[a->axes + k];
    bool any = false;
    for (size_t k = 0; k < 6; k++) any = any || pads[k];
    return !any || !a->same ||
           pln_onnx_refuse(run, n, "attribute pads beside auto_pad %s: give one of them",
                           pln_onnx_text(n, "auto_pad", ""));
}

bool pln_onnx_window_of(const pln_onnx_run *run, const pln_onnx_node *n, const pleat_tensor *x,
                        const size_t *kernel, pln_onnx_window_args *a) {
    static const char *const words[] = {"NOTSET", "VALID", "SAME_UPPER", "SAME_LOWER", NULL};
    size_t axes = pleat_rank(x) - 2, skip = 3 - axes;
    if (pleat_rank(x) < 3 || pleat_rank(x) > 5)
        return pln_onnx_refuse(run, n, "input of rank %zu; 3, 4 and 5 are supported", pleat_rank(x));
    *a = (pln_onnx_window_args){
        .axes = axes, .in = {1, 1, 1}, .kernel = {1, 1, 1}, .stride = {1, 1, 1}, .dilation = {1, 1, 1}};
    memcpy(a->in + skip, pleat_shape(x) + 2, axes * sizeof *a->in);
    if (!kernel && !pln_onnx_has(n, "kernel_shape"))
        return pln_onnx_refuse(run, n, "attribute kernel_shape is missing");
    if (!pln_onnx_sizes(run, n, "kernel_shape", axes, 1, 0, a->kernel + skip) ||
        !pln_onnx_sizes(run, n, "strides", axes, 1, 1, a->stride + skip) ||
        !pln_onnx_sizes(run, n, "dilations", axes, 1, 1, a->dilation + skip) ||
        !pln_onnx_word(run, n, "auto_pad", words, &a->same) || !read_pads(run, n, a))
        return false;
    for (size_t k = 0; kernel && k < axes; k++) {
        if (pln_onnx_has(n, "kernel_shape") && a->kernel[skip + k] != kernel[k])
            return pln_onnx_refuse(run, n, "attribute kernel_shape has %zu on axis %zu; the weight has %zu",
                                   a->kernel[skip + k], k, kernel[k]);
        a->kernel[skip + k] = kernel[k];
    }
    return true;
}

/* parts.h: views along one axis, that several families use. */
#ifndef PLN_ONNX_PARTS_H
#define PLN_ONNX_PARTS_H

#include "onnx/onnx.h"

/* `size` elements of the axis from start on, each step-th. */
pleat_tensor *pln_onnx_cut(pleat_tensor *x, size_t axis, size_t start, size_t size, size_t step);
/* The adjoint: zeros with `size` on the axis, and x at start + i step. */
pleat_tensor *pln_onnx_put(pleat_tensor *x, size_t axis, size_t size, size_t start, size_t step);
/* y[i] = x[i + from] for 0 <= i < size along the axis, 0 beyond x. */
pleat_tensor *pln_onnx_window(pleat_tensor *x, size_t axis, ptrdiff_t from, size_t size);
/* The axis at another place, the others in order. */
pleat_tensor *pln_onnx_move_axis(pleat_tensor *x, size_t from, size_t to);

/* The attributes of convolutions and pools, of one to three axes, as those of three: axes that are missing are in front, of size 1. */
typedef struct pln_onnx_window_args {
    size_t axes;
    size_t in[3], kernel[3], stride[3], dilation[3];
    size_t before[3], after[3];
    size_t same; /* 0 explicit, 1 valid, 2 upper, 3 lower */
} pln_onnx_window_args;
/* kernel: that of a weight, or NULL: the attribute kernel_shape. */
bool pln_onnx_window_of(const pln_onnx_run *run, const pln_onnx_node *n, const pleat_tensor *x,
                        const size_t *kernel, pln_onnx_window_args *a);

#endif

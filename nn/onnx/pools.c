/* MaxPool and AveragePool, along one to three axes, and the global pools. */
#include <math.h>

#include "onnx/parts.h"

typedef struct pool {
    pln_onnx_window_args window;
    bool max, ceil, count_padding;
} pool;

/* The paddings of auto_pad. */
static void resolve_padding(pln_onnx_window_args *a) {
    for (size_t k = 0; k < 3 && a->same > 1; k++) {
        size_t out = (a->in[k] + a->stride[k] - 1) / a->stride[k],
               extent = (a->kernel[k] - 1) * a->dilation[k] + 1;
        size_t covered = out ? (out - 1) * a->stride[k] + extent : 0,
               total = covered > a->in[k] ? covered - a->in[k] : 0;
        a->before[k] = a->same == 2 ? total / 2 : total - total / 2;
        a->after[k] = total - a->before[k];
    }
}

/* Windows along axis k; 0: the kernel is larger. As in PyTorch, with ceil_mode the last begins before the padding at the end. */
static size_t windows(const pool *p, size_t k) {
    const pln_onnx_window_args *a = &p->window;
    size_t extent = (a->kernel[k] - 1) * a->dilation[k] + 1, padded = a->in[k] + a->before[k] + a->after[k],
           s = a->stride[k];
    if (padded < extent) return 0;
    size_t n = (padded - extent + (p->ceil ? s - 1 : 0)) / s + 1;
    return p->ceil && (n - 1) * s >= a->in[k] + a->before[k] ? n - 1 : n;
}

static bool is_even(const pln_onnx_window_args *a, size_t k) {
    return a->before[k] == a->after[k] && a->before[k] <= a->kernel[k] / 2;
}

/* t along the axes i and j of the window in a frame of zeros, just as long as the windows are. */
static pleat_tensor *framed(const pool *p, pleat_tensor *t, const size_t axis[2], const size_t *before) {
    const pln_onnx_window_args *a = &p->window;
    for (size_t k = 0; k < 2; k++) {
        size_t i = axis[k], extent = (a->kernel[i] - 1) * a->dilation[i] + 1;
        t = pln_onnx_window(t, 2 + k, -(ptrdiff_t)(before ? before[i] : 0),
                            (windows(p, i) - 1) * a->stride[i] + extent);
    }
    return t;
}

static pleat_tensor *pooled(const pool *p, pleat_tensor *x, const size_t axis[2], bool padded) {
    const pln_onnx_window_args *a = &p->window;
    size_t i = axis[0], j = axis[1], pad[2] = {padded ? a->before[i] : 0, padded ? a->before[j] : 0};
    pleat_pool_args args = {
        .x = x, .kernel = {a->kernel[i], a->kernel[j]}, .stride = {a->stride[i], a->stride[j]}};
    for (size_t k = 0; k < 2; k++) args.pad[k] = pad[0] + pad[1] && !pad[k] ? PLEAT_NONE : pad[k];
    args.ceil_mode = padded && p->ceil;
    args.exclude_pad = !p->count_padding && !p->max;
    if (p->max) args.dilation[0] = a->dilation[i], args.dilation[1] = a->dilation[j];
    return p->max ? pleat_max_pool2d_with(args) : pleat_avg_pool2d_with(args);
}

/* Pool the last two axes of x [N,C,H,W]. Paddings that the op does not have become part of the image: below all numbers, or zeros
 * whose share in the mean is taken out by a pool of ones. */
static pleat_tensor *pool_two(const pool *p, pleat_tensor *x, const size_t axis[2]) {
    const pln_onnx_window_args *a = &p->window;
    pleat_ctx *ctx = pleat_ctx_of(x);
    size_t i = axis[0], j = axis[1];
    bool dilated = !p->max && (a->dilation[i] > 1 || a->dilation[j] > 1);
    if (is_even(a, i) && is_even(a, j) && !dilated) return pooled(p, x, axis, true);
    size_t wide = p->max || !p->count_padding ? 0 : 1; /* is the padding counted? */
    size_t H = a->in[i] + wide * (a->before[i] + a->after[i]),
           W = a->in[j] + wide * (a->before[j] + a->after[j]);
    pleat_tensor *ones = pleat_full(ctx, pleat_dtype_of(x), PLEAT_SHAPE(1, 1, H, W), 1);
    pleat_tensor *inside = framed(p, ones, axis, wide ? NULL : a->before),
                 *image = framed(p, x, axis, a->before);
    if (!p->max) return pleat_div(pooled(p, image, axis, false), pooled(p, inside, axis, false));
    pleat_tensor *below = pleat_full_like(inside, -HUGE_VAL);
    return pooled(p, pleat_add(image, pleat_where(inside, pleat_zeros_like(inside), below)), axis, false);
}

static bool run_pool(const pln_onnx_run *run, const pln_onnx_node *n, pool p, pleat_tensor *x,
                     pln_onnx_value *out) {
    if (!pln_onnx_window_of(run, n, x, NULL, &p.window)) return false;
    p.ceil = pln_onnx_int(n, "ceil_mode", 0) != 0;
    resolve_padding(&p.window);
    for (size_t k = 0; k < 3; k++)
        if (!windows(&p, k) || !p.window.in[k])
            return pln_onnx_refuse(
                run, n, "the kernel (%zu, dilation %zu) exceeds the input (%zu) padded by %zu and %zu",
                p.window.kernel[k], p.window.dilation[k], p.window.in[k], p.window.before[k],
                p.window.after[k]);
    const size_t *s = pleat_shape(x), HW[2] = {1, 2}, D[2] = {0, 0};
    if (p.window.axes < 3) {
        pleat_tensor *y = pool_two(&p, p.window.axes == 1 ? pln_widen(x) : x, HW);
        out[0].t = p.window.axes == 1 && !pleat_is_poison(y) ? pln_narrow(y) : y;
        return true;
    }
    /* H and W, then D beside an axis of kernel 1; the window of a box is one of its sides after the other */
    pleat_tensor *y = pool_two(&p, pleat_reshape(x, PLEAT_SHAPE(s[0], s[1] * s[2], s[3], s[4])), HW);
    size_t P = pleat_size(y, 2), Q = pleat_size(y, 3), N = s[0], C = s[1], depth = s[2];
    (void)D;
    pool column = p;
    column.window.in[1] = P * Q,
    column.window.kernel[1] = column.window.stride[1] = column.window.dilation[1] = 1;
    column.window.before[1] = column.window.after[1] = 0;
    y = pool_two(&column, pleat_reshape(y, PLEAT_SHAPE(N, C, depth, P * Q)), (size_t[]){0, 1});
    out[0].t = pleat_reshape(y, PLEAT_SHAPE(N, C, pleat_size(y, 2), P, Q));
    return true;
}

static bool max_pool(pln_onnx_run *run, const pln_onnx_node *n, const pln_onnx_value *in,
                     pln_onnx_value *out) {
    return run_pool(run, n, (pool){.max = true}, in[0].t, out);
}

static bool average_pool(pln_onnx_run *run, const pln_onnx_node *n, const pln_onnx_value *in,
                         pln_onnx_value *out) {
    return run_pool(run, n, (pool){.count_padding = pln_onnx_int(n, "count_include_pad", 0) != 0}, in[0].t,
                    out);
}

/* The axes behind N and C. */
static bool pixels(const pln_onnx_run *run, const pln_onnx_node *n, const pleat_tensor *x, unsigned *axes) {
    *axes = ((1u << pleat_rank(x)) - 1) & ~3u;
    return *axes || pln_onnx_refuse(run, n, "input of rank %zu; it must be 3 or more", pleat_rank(x));
}

static bool global_average(pln_onnx_run *run, const pln_onnx_node *n, const pln_onnx_value *in,
                           pln_onnx_value *out) {
    unsigned axes;
    if (!pixels(run, n, in[0].t, &axes)) return false;
    out[0].t = pleat_mean(in[0].t, .axes = axes, .keep = true);
    return true;
}

static bool global_max(pln_onnx_run *run, const pln_onnx_node *n, const pln_onnx_value *in,
                       pln_onnx_value *out) {
    unsigned axes;
    if (!pixels(run, n, in[0].t, &axes)) return false;
    out[0].t = pleat_amax(in[0].t, .axes = axes, .keep = true);
    return true;
}

const pln_onnx_row pln_onnx_pools[] = {
    {"MaxPool", 1, 7, "f", 1, max_pool, .attrs = "auto_pad:s kernel_shape:I pads:I strides:I"},
    {"MaxPool", 8, 17, "n", 1, max_pool,
     .attrs = "auto_pad:s ceil_mode:i dilations:I kernel_shape:I pads:I storage_order:i strides:I"},
    {"AveragePool", 1, 17, "f", 1, average_pool,
     .attrs = "auto_pad:s ceil_mode:i count_include_pad:i kernel_shape:I pads:I strides:I"},
    {"GlobalAveragePool", 1, 17, "f", 1, global_average, .attrs = ""},
    {"GlobalMaxPool", 1, 17, "f", 1, global_max, .attrs = ""},
    {0},
};

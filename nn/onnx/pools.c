/* MaxPool and AveragePool, along one to three axes, and the global pools. */
#include <math.h>
#include <string.h>

#include "onnx/parts.h"
#include "pleat_op.h"

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

/* ---- the places of largest numbers ------------------------------------------------------------------------------------- */

typedef struct places {
    pool pool;
    bool columns; /* storage_order 1 */
} places;

static bool places_shape(pleat_call *c) {
    const pool *p = &((const places *)c->attrs)->pool;
    c->rank = pleat_rank(c->in[0]);
    memcpy(c->shape, pleat_shape(c->in[0]), 2 * sizeof *c->shape);
    for (size_t k = 3 - p->window.axes; k < 3; k++) c->shape[k + p->window.axes - 1] = windows(p, k);
    return true;
}

/* The place of the first largest pixel of x [D,H,W] in window `at`, in the order of storage. */
static size_t place_in(const places *p, const double *x, const size_t at[3]) {
    const pln_onnx_window_args *a = &p->pool.window;
    size_t best = SIZE_MAX, r[3], i[3], volume = a->kernel[0] * a->kernel[1] * a->kernel[2];
    for (size_t tap = 0; tap < volume; tap++) {
        r[0] = tap / (a->kernel[1] * a->kernel[2]), r[1] = tap / a->kernel[2] % a->kernel[1],
        r[2] = tap % a->kernel[2];
        bool inside = true;
        for (size_t k = 0; k < 3; k++) {
            i[k] =
                at[k] * a->stride[k] + r[k] * a->dilation[k] - a->before[k]; /* wraps in front of the image */
            inside = inside && i[k] < a->in[k];
        }
        size_t place = (i[0] * a->in[1] + i[1]) * a->in[2] + i[2];
        if (inside && (best == SIZE_MAX || x[place] > x[best] || (isnan(x[place]) && !isnan(x[best]))))
            best = place;
    }
    if (best == SIZE_MAX) return 0; /* padding alone */
    size_t w = best % a->in[2], h = best / a->in[2] % a->in[1], d = best / a->in[2] / a->in[1];
    return p->columns ? (w * a->in[1] + h) * a->in[0] + d : best;
}

static bool places_forward(const pleat_call *c) {
    const places *p = c->attrs;
    const double *x = pleat_const_f64(c->in[0]);
    double *y = pleat_f64(c->out);
    size_t out[3], pixels = 1, windows_of_plane = 1;
    for (size_t k = 0; k < 3; k++) {
        out[k] = windows(&p->pool, k);
        pixels *= p->pool.window.in[k], windows_of_plane *= out[k];
    }
    for (size_t i = 0; i < pleat_numel(c->out); i++) {
        size_t plane = i / windows_of_plane, w = i % windows_of_plane;
        size_t at[3] = {w / (out[1] * out[2]), w / out[2] % out[1], w % out[2]};
        y[i] = (double)(plane * pixels + place_in(p, x + plane * pixels, at));
    }
    return true;
}

static const pleat_op places_op = {
    .name = "max_pool_places", .shape = places_shape, .forward = places_forward};

/* ---- rules ------------------------------------------------------------------------------------------------------------------ */

static bool run_pool(const pln_onnx_run *run, const pln_onnx_node *n, pool *p, pleat_tensor *x,
                     pln_onnx_value *out) {
    if (!pln_onnx_window_of(run, n, x, NULL, &p->window)) return false;
    p->ceil = pln_onnx_int(n, "ceil_mode", 0) != 0;
    resolve_padding(&p->window);
    for (size_t k = 0; k < 3; k++)
        if (!windows(p, k) || !p->window.in[k])
            return pln_onnx_refuse(
                run, n, "the kernel (%zu, dilation %zu) exceeds the input (%zu) padded by %zu and %zu",
                p->window.kernel[k], p->window.dilation[k], p->window.in[k], p->window.before[k],
                p->window.after[k]);
    const size_t *s = pleat_shape(x), HW[2] = {1, 2};
    if (p->window.axes < 3) {
        pleat_tensor *y = pool_two(p, p->window.axes == 1 ? pln_widen(x) : x, HW);
        out[0].t = p->window.axes == 1 && !pleat_is_poison(y) ? pln_narrow(y) : y;
        return true;
    }
    /* H and W, then D beside an axis of kernel 1; the window of a box is one of its sides after the other */
    pleat_tensor *y = pool_two(p, pleat_reshape(x, PLEAT_SHAPE(s[0], s[1] * s[2], s[3], s[4])), HW);
    size_t P = pleat_size(y, 2), Q = pleat_size(y, 3), N = s[0], C = s[1], depth = s[2];
    pool column = *p;
    column.window.in[1] = P * Q,
    column.window.kernel[1] = column.window.stride[1] = column.window.dilation[1] = 1;
    column.window.before[1] = column.window.after[1] = 0;
    y = pool_two(&column, pleat_reshape(y, PLEAT_SHAPE(N, C, depth, P * Q)), (size_t[]){0, 1});
    out[0].t = pleat_reshape(y, PLEAT_SHAPE(N, C, pleat_size(y, 2), P, Q));
    return true;
}

static bool max_pool(pln_onnx_run *run, const pln_onnx_node *n, const pln_onnx_value *in,
                     pln_onnx_value *out) {
    pool p = {.max = true};
    if (!run_pool(run, n, &p, in[0].t, out)) return false;
    if (n->outs < 2 || n->out[1] == PLN_ONNX_NONE) return true;
    places found = {p, pln_onnx_int(n, "storage_order", 0) != 0};
    pleat_tensor *x = pleat_contiguous(pleat_cast(pleat_detach(in[0].t), PLEAT_F64));
    out[1] = (pln_onnx_value){pleat_apply(&places_op, 1, &x, &found, sizeof found), PLN_ONNX_INT64};
    return true;
}

static bool average_pool(pln_onnx_run *run, const pln_onnx_node *n, const pln_onnx_value *in,
                         pln_onnx_value *out) {
    pool p = {.count_padding = pln_onnx_int(n, "count_include_pad", 0) != 0};
    return run_pool(run, n, &p, in[0].t, out);
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
    {"MaxPool", 8, 17, "n", 2, max_pool,
     .attrs = "auto_pad:s ceil_mode:i dilations:I kernel_shape:I pads:I storage_order:i strides:I"},
    {"AveragePool", 1, 17, "f", 1, average_pool,
     .attrs = "auto_pad:s ceil_mode:i count_include_pad:i kernel_shape:I pads:I strides:I"},
    {"GlobalAveragePool", 1, 17, "f", 1, global_average, .attrs = ""},
    {"GlobalMaxPool", 1, 17, "f", 1, global_max, .attrs = ""},
    {0},
};

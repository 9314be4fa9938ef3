/* Conv and ConvTranspose. The geometry of two axes is that of ops/frameworks/onnx.c; a third axis is a sum over its kernel. */
#include <string.h>

#include "onnx/parts.h"
#include "pleat_frameworks.h"

/* A layer on [N,C,D,H,W]; D is 1 but for three axes. */
typedef struct conv {
    bool transpose;
    pln_onnx_window_args window;
    size_t groups, out[3];
    ptrdiff_t crop[3];
    pleat_tensor *x, *w, *bias;
} conv;

static pleat_layer layer_of(const conv *c, const size_t axis[2], const size_t *output_padding,
                            const size_t *output_shape) {
    static const pleat_padding paddings[] = {PLEAT_PADDING_EXPLICIT, PLEAT_PADDING_VALID,
                                             PLEAT_PADDING_SAME_UPPER, PLEAT_PADDING_SAME_LOWER};
    const pln_onnx_window_args *a = &c->window;
    pleat_layer l = {.framework = PLEAT_ONNX,
                     .transpose = c->transpose,
                     .groups = c->groups,
                     .padding = paddings[a->same],
                     .has_output_padding = output_padding != NULL,
                     .has_output_size = output_shape != NULL};
    for (size_t k = 0; k < 2; k++) {
        size_t i = axis[k];
        l.stride[k] = a->stride[i], l.dilation[k] = a->dilation[i];
        /* beside output_shape pads are ignored */
        l.pads[k] = output_shape ? 0 : (ptrdiff_t)a->before[i],
        l.pads[k + 2] = output_shape ? 0 : (ptrdiff_t)a->after[i];
        if (output_padding) l.output_padding[k] = output_padding[i];
        if (output_shape) l.output_size[k] = output_shape[i];
    }
    return l;
}

/* Sizes and crops of all axes: two at a time, of which the first pair is D and an axis of size 1. */
static bool plan(const pln_onnx_run *run, const pln_onnx_node *n, conv *c) {
    size_t padding[3] = {0}, shape[3] = {1, 1, 1}, skip = 3 - c->window.axes;
    bool has_padding = c->transpose && pln_onnx_has(n, "output_padding"),
         has_shape = c->transpose && pln_onnx_has(n, "output_shape");
    if (has_padding && !pln_onnx_sizes(run, n, "output_padding", c->window.axes, 0, 0, padding + skip))
        return false;
    if (has_shape && !pln_onnx_sizes(run, n, "output_shape", c->window.axes, 1, 1, shape + skip))
        return false;
    pln_onnx_window_args *a = &c->window;
    for (size_t pair = 0; pair < 2; pair++) {
        const size_t axis[2] = {pair ? 1 : 0, pair ? 2 : 0};
        pleat_layer l = layer_of(c, axis, has_padding ? padding : NULL, has_shape ? shape : NULL);
        pleat_layer_plan p;
        if (!pleat_layer_plan_for(&l, (size_t[]){a->in[axis[0]], a->in[axis[1]]},
                                  (size_t[]){a->kernel[axis[0]], a->kernel[axis[1]]}, &p))
            return pln_onnx_refuse(run, n, "%s", p.why);
        for (size_t k = 0; k < 2; k++) c->out[axis[k]] = p.out[k], c->crop[axis[k]] = p.crop[k];
    }
    return true;
}

/* The op of the two last axes. */
static pleat_tensor *plane(const conv *c, pleat_tensor *x, pleat_tensor *w, pleat_tensor *bias) {
    const pln_onnx_window_args *a = &c->window;
    pleat_conv_args args = {.a = x,
                            .b = w,
                            .bias = bias,
                            .stride = {a->stride[1], a->stride[2]},
                            .dilation = {a->dilation[1], a->dilation[2]},
                            .pads = {c->crop[1], c->crop[2], c->crop[1], c->crop[2]},
                            .groups = c->groups,
                            .size = {c->out[1], c->out[2]}};
    return c->transpose ? pleat_conv2d_transpose_with(args) : pleat_conv2d_with(args);
}

static pleat_tensor *flat(pleat_tensor *x) { /* [N,C,D,H,W] as [N D,C,H,W] */
    const size_t *s = pleat_shape(x);
    return pleat_reshape(pln_onnx_move_axis(x, 2, 1), PLEAT_SHAPE(s[0] * s[2], s[1], s[3], s[4]));
}

static pleat_tensor *deep(pleat_tensor *y, size_t N) { /* and back */
    const size_t *s = pleat_shape(y);
    return pln_onnx_move_axis(pleat_reshape(y, PLEAT_SHAPE(N, s[0] / N, s[1], s[2], s[3])), 1, 2);
}

/* The sum over D of the kernel, of planes that are read, or written, at its places. */
static pleat_tensor *solid(const conv *c) {
    const pln_onnx_window_args *a = &c->window;
    size_t N = pleat_size(c->x, 0), K = a->kernel[0], step = a->stride[0], far = (K - 1) * a->dilation[0];
    size_t count = c->transpose ? a->in[0] : c->out[0], natural = (count - 1) * step + far + 1;
    pleat_tensor *x = c->transpose ? c->x : pln_onnx_window(c->x, 2, -c->crop[0], natural), *sum = NULL;
    for (size_t k = 0; k < K; k++) {
        pleat_tensor *w = pln_onnx_cut(c->w, 2, k, 1, 1);
        w = pleat_reshape(
            w, PLEAT_SHAPE(pleat_size(w, 0), pleat_size(w, 1), pleat_size(w, 3), pleat_size(w, 4)));
        pleat_tensor *part = c->transpose ? x : pln_onnx_cut(x, 2, k * a->dilation[0], count, step);
        pleat_tensor *y = deep(plane(c, flat(part), w, NULL), N);
        if (c->transpose) y = pln_onnx_put(y, 2, natural, k * a->dilation[0], step);
        if (pleat_is_poison(y)) return y;
        sum = sum ? pleat_add(sum, y) : y;
    }
    if (c->transpose) sum = pln_onnx_window(sum, 2, c->crop[0], c->out[0]);
    return c->bias ? pleat_add(sum, pleat_reshape(c->bias, PLEAT_SHAPE(pleat_numel(c->bias), 1, 1, 1))) : sum;
}

static bool channels_fit(const pln_onnx_run *run, const pln_onnx_node *n, const conv *c) {
    size_t in = pleat_size(c->x, 1), out = pleat_size(c->w, c->transpose),
           of_weight = pleat_size(c->w, !c->transpose);
    bool fits = c->transpose ? pleat_size(c->w, 0) == in && in % c->groups == 0 &&
                                   !__builtin_mul_overflow(of_weight = pleat_size(c->w, 1), c->groups, &out)
                             : !__builtin_mul_overflow(of_weight, c->groups, &of_weight) && of_weight == in &&
                                   out % c->groups == 0;
    if (!fits)
        return pln_onnx_refuse(run, n,
                               "input of %zu channels, weight [%zu,%zu,..], attribute group %zu do not fit",
                               in, pleat_size(c->w, 0), pleat_size(c->w, 1), c->groups);
    return !c->bias || (pleat_rank(c->bias) == 1 && pleat_size(c->bias, 0) == out) ||
           pln_onnx_refuse(run, n, "the bias must have %zu elements", out);
}

static bool run_conv(const pln_onnx_run *run, const pln_onnx_node *n, const pln_onnx_value *in,
                     bool transpose, pln_onnx_value *out) {
    conv c = {.transpose = transpose, .x = in[0].t, .w = in[1].t, .bias = in[2].t};
    int64_t groups = pln_onnx_int(n, "group", 1);
    size_t rank = pleat_rank(c.x), shape[PLEAT_MAX_RANK];
    if (groups < 1 || groups > INT32_MAX)
        return pln_onnx_refuse(run, n, "attribute group is %jd; it must be 1 or more", (intmax_t)groups);
    c.groups = (size_t)groups;
    if (pleat_rank(c.w) != rank)
        return pln_onnx_refuse(run, n, "input of rank %zu, weight of rank %zu", rank, pleat_rank(c.w));
    if (!pln_onnx_window_of(run, n, c.x, pleat_shape(c.w) + 2, &c.window) || !channels_fit(run, n, &c) ||
        !plan(run, n, &c))
        return false;
    if (rank == 5) return out[0].t = solid(&c), true;
    if (rank == 3) c.x = pln_widen(c.x), c.w = pln_widen(c.w);
    pleat_tensor *y = plane(&c, c.x, c.w, c.bias);
    memcpy(shape, pleat_shape(y), pleat_rank(y) * sizeof *shape);
    out[0].t = rank == 3 && !pleat_is_poison(y) ? pln_narrow(y) : y;
    return true;
}

static bool convolve(pln_onnx_run *run, const pln_onnx_node *n, const pln_onnx_value *in,
                     pln_onnx_value *out) {
    return run_conv(run, n, in, false, out);
}
static bool transpose(pln_onnx_run *run, const pln_onnx_node *n, const pln_onnx_value *in,
                      pln_onnx_value *out) {
    return run_conv(run, n, in, true, out);
}

/* Each pixel of the map meets the weights of one output channel; for the transpose the map is the input. */
static double conv_macs(const pln_onnx_value *in, const pleat_tensor *y) {
    return (double)pleat_numel(y) * (double)(pleat_numel(in[1].t) / pleat_size(in[1].t, 0));
}
static double transpose_macs(const pln_onnx_value *in, const pleat_tensor *y) {
    (void)y;
    return (double)pleat_numel(in[0].t) * (double)(pleat_numel(in[1].t) / pleat_size(in[1].t, 0));
}

const pln_onnx_row pln_onnx_convs[] = {
    {"Conv", 1, 17, "ffF", 1, convolve,
     .attrs = "auto_pad:s dilations:I group:i kernel_shape:I pads:I strides:I", .weights = 6,
     .macs = conv_macs},
    {"ConvTranspose", 1, 17, "ffF", 1, transpose,
     .attrs =
         "auto_pad:s dilations:I group:i kernel_shape:I output_padding:I output_shape:I pads:I strides:I",
     .weights = 6, .macs = transpose_macs},
    {0},
};

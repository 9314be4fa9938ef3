/* Layers with parameters (linear, convolution and its transpose), and the two that change shape. */
#include "module.h"

#include "pleat_kernels.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

/* ---- what the layers with parameters share ----------------------------------------------------------- */

typedef struct weights {
    pleat_dtype dtype;
    size_t rank, shape[4]; /* of the weight */
    size_t bias;           /* its size; 0: no bias */
} weights;

/* PyTorch's default weight and bias: uniform in +-1/sqrt(fan_in) of the weight. */
static pleat_nn_module *add_weights(pleat_nn_module *m, weights a) {
    if (!m) return NULL;
    pleat_ctx *ctx = pleat_nn_ctx(m);
    pleat_scope scope = pleat_begin(ctx); /* frees temporary tensors, also after an error */
    pleat_tensor *w = pleat_empty(ctx, a.dtype, a.rank, a.shape);
    pleat_nn_init_kaiming_uniform(w, sqrt(5));
    m = pleat_nn_add_param(m, "weight", w);
    if (m && a.bias) {
        double bound = 1 / sqrt((double)(pleat_numel(w) / a.shape[0]));
        pleat_tensor *b = pleat_empty(ctx, a.dtype, 1, &a.bias);
        pleat_nn_init_uniform(b, -bound, bound);
        m = pleat_nn_add_param(m, "bias", b);
    }
    pleat_end(scope);
    return m;
}

/* ---- linear ------------------------------------------------------------------------------------------ */

static pleat_tensor *linear_forward(pleat_nn_module *m, pleat_tensor *x) {
    const pleat_nn_linear_args *a = pleat_nn_attrs(m);
    size_t rank = pleat_rank(x), shape[PLEAT_MAX_RANK];
    if (rank == 0 || pleat_size(x, rank - 1) != a->in) return pln_misfit(m, x, "[..,", a->in, "]");
    memcpy(shape, pleat_shape(x), rank * sizeof *shape);
    shape[rank - 1] = a->out;

    /* one matrix product for any leading axes */
    size_t rows = 1;
    for (size_t i = 0; i + 1 < rank; i++) rows *= shape[i];
    if (rank != 2) x = pleat_reshape(x, PLEAT_SHAPE(rows, a->in));
    pleat_tensor *y = pleat_matmul(x, pleat_nn_own_param(m, 0), .tb = true);
    if (!a->no_bias) y = pleat_add(y, pleat_nn_own_param(m, 1));
    return rank != 2 ? pleat_reshape(y, rank, shape) : y;
}

static void linear_describe(const pleat_nn_module *m, char *buffer, size_t bytes) {
    const pleat_nn_linear_args *a = pleat_nn_attrs(m);
    snprintf(buffer, bytes, "%zu, %zu%s", a->in, a->out, a->no_bias ? ", no bias" : "");
}

static double linear_macs(const pleat_nn_module *m, const pleat_tensor *x, const pleat_tensor *y) {
    const pleat_nn_linear_args *a = pleat_nn_attrs(m);
    (void)x;
    return (double)pleat_numel(y) * (double)a->in;
}

static const pleat_nn_kind linear_kind = {"Linear", linear_forward, linear_describe, linear_macs};

pleat_nn_module *pleat_nn_linear_with(pleat_nn_linear_args args) {
    const char *wrong = pln_wrong_dtype(args.dtype);
    if (!args.in || !args.out) wrong = "in and out must be at least 1";
    if (wrong) return pln_refuse(args.ctx, linear_kind.name, wrong);
    pleat_nn_module *m = pleat_nn_module_new(args.ctx, &linear_kind, &args, sizeof args);
    return add_weights(m, (weights){args.dtype, 2, {args.out, args.in}, args.no_bias ? 0 : args.out});
}

/* ---- convolution and its transpose ------------------------------------------------------------------- */

/* Is m a 1-D layer? Its options are those of the 2-D layer along W, with a kernel of height 1; its weight has
 * rank 3. */
static bool is_line(const pleat_nn_module *m) { return pleat_rank(pleat_nn_own_param(m, 0)) == 3; }

/* The options of both for their op. */
static pleat_conv_args conv_args(const pleat_nn_module *m, pleat_tensor *x, const pln_tail *tail) {
    const pleat_nn_conv_args *a = pleat_nn_attrs(m);
    pleat_tensor *weight = pleat_nn_own_param(m, 0);
    return (pleat_conv_args){.a = is_line(m) ? pln_widen(x) : x,
                             .b = is_line(m) ? pln_widen(weight) : weight,
                             .bias = a->no_bias ? NULL : pleat_nn_own_param(m, 1),
                             .norm = tail->norm,
                             .relu = tail->relu,
                             .relu6 = tail->relu6,
                             .stride = {a->stride[0], a->stride[1]},
                             .dilation = {a->dilation[0], a->dilation[1]},
                             .pads = {a->pad[0], a->pad[1], a->pad[0], a->pad[1]},
                             .groups = a->groups};
}

static pleat_tensor *as_output(const pleat_nn_module *m, pleat_tensor *y) {
    return is_line(m) ? pln_narrow(y) : y;
}

static bool fits(const pleat_nn_module *m, const pleat_tensor *x) {
    const pleat_nn_conv_args *a = pleat_nn_attrs(m);
    return pleat_rank(x) == (is_line(m) ? 3 : 4) && pleat_size(x, 1) == a->in;
}

static pleat_tensor *conv_run(pleat_nn_module *m, pleat_tensor *x, const pln_tail *tail) {
    const pleat_nn_conv_args *a = pleat_nn_attrs(m);
    if (!fits(m, x)) return pln_misfit(m, x, "[N,", a->in, is_line(m) ? ",L]" : ",H,W]");
    return as_output(m, pleat_conv2d_with(conv_args(m, x, tail)));
}

static pleat_tensor *conv_transpose_run(pleat_nn_module *m, pleat_tensor *x, const pln_tail *tail) {
    const pleat_nn_conv_args *a = pleat_nn_attrs(m);
    if (!fits(m, x)) return pln_misfit(m, x, "[N,", a->in, is_line(m) ? ",L]" : ",P,Q]");
    pleat_conv_args args = conv_args(m, x, tail);
    for (size_t k = 0; k < 2; k++) {
        /* output_padding reduces the padding at the end; added to the size of the result, it could not reach
         * negative sizes */
        ptrdiff_t after = a->pad[k] - (ptrdiff_t)a->output_padding[k];
        args.size[k] = pleat_conv_image_size(pleat_size(args.a, 2 + k), a->kernel[k], a->stride[k],
                                             a->dilation[k], a->pad[k], after);
        if (args.size[k] == 0)
            return pln_misfit(m, x,
                              "maps whose image, (P-1)*stride + (R-1)*dilation + output_padding + 1 - 2*pad, "
                              "has at least ",
                              1, " pixel along H and W");
    }
    return as_output(m, pleat_conv2d_transpose_with(args));
}

static pleat_tensor *conv_forward(pleat_nn_module *m, pleat_tensor *x) {
    return conv_run(m, x, &(pln_tail){0});
}
static pleat_tensor *conv_transpose_forward(pleat_nn_module *m, pleat_tensor *x) {
    return conv_transpose_run(m, x, &(pln_tail){0});
}

static void conv_describe(const pleat_nn_module *m, char *buffer, size_t bytes) {
    const pleat_nn_conv_args *a = pleat_nn_attrs(m);
    if (!bytes) return;
    snprintf(buffer, bytes, "%zu, %zu, kernel %zux%zu", a->in, a->out, a->kernel[0], a->kernel[1]);
    static const size_t ones[] = {1, 1}, zeros[] = {0, 0};
    pln_describe_pair(buffer, bytes, "stride", a->stride, ones);
    pln_describe_pair(buffer, bytes, "dilation", a->dilation, ones);
    size_t used = strlen(buffer);
    if (a->pad[0] || a->pad[1]) snprintf(buffer + used, bytes - used, ", pad %tdx%td", a->pad[0], a->pad[1]);
    pln_describe_pair(buffer, bytes, "output padding", a->output_padding, zeros);
    used = strlen(buffer);
    if (a->groups > 1) used += (size_t)snprintf(buffer + used, bytes - used, ", groups %zu", a->groups);
    if (a->no_bias && used < bytes) snprintf(buffer + used, bytes - used, ", no bias");
}

static void line_describe(const pleat_nn_module *m, char *buffer, size_t bytes) {
    const pleat_nn_conv_args *a = pleat_nn_attrs(m);
    const struct {
        const char *text;
        ptrdiff_t value, usual;
    } parts[] = {{"%td", (ptrdiff_t)a->in, 0},
                 {", %td", (ptrdiff_t)a->out, 0},
                 {", kernel %td", (ptrdiff_t)a->kernel[1], 0},
                 {", stride %td", (ptrdiff_t)a->stride[1], 1},
                 {", dilation %td", (ptrdiff_t)a->dilation[1], 1},
                 {", pad %td", a->pad[1], 0},
                 {", output padding %td", (ptrdiff_t)a->output_padding[1], 0},
                 {", groups %td", (ptrdiff_t)a->groups, 1},
                 {", no bias", a->no_bias, 0}};
    for (size_t i = 0, used = 0; i < sizeof parts / sizeof *parts && used < bytes; i++)
        if (parts[i].value != parts[i].usual)
            used += (size_t)snprintf(buffer + used, bytes - used, parts[i].text, parts[i].value);
}

/* Each pixel of the map meets R*S*C/G weights; for the transpose the map is the input. */
static double conv_macs(const pleat_nn_module *m, const pleat_tensor *x, const pleat_tensor *y) {
    const pleat_nn_conv_args *a = pleat_nn_attrs(m);
    (void)x;
    return (double)pleat_numel(y) * (double)(a->kernel[0] * a->kernel[1] * (a->in / a->groups));
}

static double conv_transpose_macs(const pleat_nn_module *m, const pleat_tensor *x, const pleat_tensor *y) {
    const pleat_nn_conv_args *a = pleat_nn_attrs(m);
    (void)y;
    return (double)pleat_numel(x) * (double)(a->kernel[0] * a->kernel[1] * (a->out / a->groups));
}

static const pleat_nn_kind conv2d_kind = {"Conv2d", conv_forward, conv_describe, conv_macs};
static const pleat_nn_kind conv_transpose2d_kind = {"ConvTranspose2d", conv_transpose_forward, conv_describe,
                                                    conv_transpose_macs};
static const pleat_nn_kind conv1d_kind = {"Conv1d", conv_forward, line_describe, conv_macs};
static const pleat_nn_kind conv_transpose1d_kind = {"ConvTranspose1d", conv_transpose_forward, line_describe,
                                                    conv_transpose_macs};

pln_forward *pln_forward_with(const pleat_nn_module *m) {
    if (m->kind->forward == conv_forward) return conv_run;
    return m->kind->forward == conv_transpose_forward ? conv_transpose_run : pln_norm_forward(m);
}

bool pln_take_norm(const pleat_nn_module *m, const pleat_nn_module *next, pln_tail *tail) {
    if (m->kind->forward != conv_forward && m->kind->forward != conv_transpose_forward) return false;
    const pleat_nn_conv_args *a = pleat_nn_attrs(m);
    return pln_take_batch_norm(next, is_line(m) ? 3 : 4, a->out, a->dtype, tail);
}

/* Set the defaults; false after an error of `layer`. */
static bool complete(const char *layer, pleat_nn_conv_args *a) {
    static const size_t ones[2] = {1, 1};
    if (!a->groups) a->groups = 1;
    return pleat_pair(a->ctx, layer, "kernel", a->kernel, NULL, false) &&
           pleat_pair(a->ctx, layer, "stride", a->stride, ones, false) &&
           pleat_pair(a->ctx, layer, "dilation", a->dilation, ones, false) &&
           pleat_pair(a->ctx, layer, "pad", (size_t *)a->pad, NULL, true) &&
           pleat_pair(a->ctx, layer, "output_padding", a->output_padding, NULL, true);
}

/* The rule that axis k breaks, or NULL. Sizes and positions in an image are computed in ptrdiff_t. */
static const char *wrong_axis(const pleat_nn_conv_args *a, size_t k, bool transposed) {
    size_t stride = a->stride[k], dilation = a->dilation[k], extent;
    ptrdiff_t after;
    if (!a->kernel[k]) return ".kernel = {R, S} must be given, both at least 1";
    if (__builtin_mul_overflow(a->kernel[k] - 1, dilation, &extent) || extent >= PTRDIFF_MAX ||
        stride > PTRDIFF_MAX)
        return "(kernel - 1) * dilation + 1 and stride must fit into ptrdiff_t";
    if (!transposed && a->output_padding[k])
        return "output_padding is for conv_transpose2d and conv_transpose1d only";
    if (a->output_padding[k] >= stride && a->output_padding[k] >= dilation)
        return "output_padding must be less than stride or dilation";
    if (a->output_padding[k] > PTRDIFF_MAX ||
        __builtin_sub_overflow(a->pad[k], (ptrdiff_t)a->output_padding[k], &after))
        return "pad - output_padding must fit into ptrdiff_t";
    return NULL;
}

static const char *wrong_conv(const pleat_nn_conv_args *a, bool transposed) {
    if (!a->in || !a->out) return "in and out must be at least 1";
    if (a->in % a->groups || a->out % a->groups) return "groups must divide both in and out";
    const char *wrong = wrong_axis(a, 0, transposed);
    if (!wrong) wrong = wrong_axis(a, 1, transposed);
    return wrong ? wrong : pln_wrong_dtype(a->dtype);
}

static pleat_nn_module *conv_new(const pleat_nn_kind *kind, pleat_nn_conv_args a, bool transposed) {
    if (!complete(kind->name, &a)) return NULL;
    const char *wrong = wrong_conv(&a, transposed);
    if (wrong) return pln_refuse(a.ctx, kind->name, wrong);
    size_t map = transposed ? a.in : a.out, image = transposed ? a.out : a.in;
    weights w = {a.dtype, 4, {map, image / a.groups, a.kernel[0], a.kernel[1]}, a.no_bias ? 0 : a.out};
    if (kind == &conv1d_kind || kind == &conv_transpose1d_kind) w.rank = 3, w.shape[2] = a.kernel[1];
    return add_weights(pleat_nn_module_new(a.ctx, kind, &a, sizeof a), w);
}

static pleat_nn_module *line_new(const pleat_nn_kind *kind, pleat_nn_conv1d_args l, bool transposed) {
    pleat_nn_conv_args a = {.ctx = l.ctx,
                            .in = l.in,
                            .out = l.out,
                            .kernel = {1, l.kernel},
                            .stride = {1, l.stride ? l.stride : 1},
                            .dilation = {1, l.dilation ? l.dilation : 1},
                            .pad = {0, l.pad},
                            .output_padding = {0, l.output_padding},
                            .groups = l.groups,
                            .no_bias = l.no_bias,
                            .dtype = l.dtype};
    return l.kernel ? conv_new(kind, a, transposed)
                    : pln_refuse(l.ctx, kind->name, ".kernel must be given, and at least 1");
}

pleat_nn_module *pleat_nn_conv1d_with(pleat_nn_conv1d_args args) {
    return line_new(&conv1d_kind, args, false);
}
pleat_nn_module *pleat_nn_conv_transpose1d_with(pleat_nn_conv1d_args args) {
    return line_new(&conv_transpose1d_kind, args, true);
}

pleat_nn_module *pleat_nn_conv2d_with(pleat_nn_conv_args args) { return conv_new(&conv2d_kind, args, false); }
pleat_nn_module *pleat_nn_conv_transpose2d_with(pleat_nn_conv_args args) {
    return conv_new(&conv_transpose2d_kind, args, true);
}

/* ---- flatten and unflatten --------------------------------------------------------------------------- */

static pleat_tensor *flatten_forward(pleat_nn_module *m, pleat_tensor *x) {
    if (pleat_rank(x) == 0) return pln_misfit(m, x, "rank ", 1, " or more");
    /* not PLEAT_REST, which is undefined for N = 0 */
    size_t features = 1;
    for (size_t i = 1; i < pleat_rank(x); i++) features *= pleat_size(x, i);
    return pleat_reshape(x, PLEAT_SHAPE(pleat_size(x, 0), features));
}

typedef struct unflatten_attrs {
    size_t rank, shape[PLEAT_MAX_RANK], features;
} unflatten_attrs;

static pleat_tensor *unflatten_forward(pleat_nn_module *m, pleat_tensor *x) {
    const unflatten_attrs *a = pleat_nn_attrs(m);
    if (pleat_rank(x) != 2 || pleat_size(x, 1) != a->features)
        return pln_misfit(m, x, "[N,", a->features, "]");
    size_t shape[PLEAT_MAX_RANK] = {pleat_size(x, 0)};
    memcpy(shape + 1, a->shape, a->rank * sizeof *shape);
    return pleat_reshape(x, 1 + a->rank, shape);
}

static void unflatten_describe(const pleat_nn_module *m, char *buffer, size_t bytes) {
    const unflatten_attrs *a = pleat_nn_attrs(m);
    for (size_t i = 0, used = 0; i < a->rank && used < bytes; i++)
        used += (size_t)snprintf(buffer + used, bytes - used, i ? "x%zu" : "%zu", a->shape[i]);
}

static const pleat_nn_kind flatten_kind = {.name = "Flatten", .forward = flatten_forward};
static const pleat_nn_kind unflatten_kind = {
    .name = "Unflatten", .forward = unflatten_forward, .describe = unflatten_describe};

pleat_nn_module *pleat_nn_flatten(pleat_ctx *ctx) { return pleat_nn_module_new(ctx, &flatten_kind, NULL, 0); }

pleat_nn_module *pleat_nn_unflatten(pleat_ctx *ctx, size_t rank, const size_t *shape) {
    unflatten_attrs a = {.rank = rank, .features = 1};
    if (!rank || rank >= PLEAT_MAX_RANK || !shape)
        return pln_refuse(ctx, unflatten_kind.name, "shape must have 1 to 7 sizes, N not among them");
    for (size_t i = 0; i < rank; i++) {
        a.shape[i] = shape[i];
        if (!shape[i] || __builtin_mul_overflow(a.features, shape[i], &a.features))
            return pln_refuse(ctx, unflatten_kind.name,
                              "the sizes must be at least 1, and their product fit size_t");
    }
    return pleat_nn_module_new(ctx, &unflatten_kind, &a, sizeof a);
}

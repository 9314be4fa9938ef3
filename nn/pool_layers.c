/* Layers that change the size of an image: pools, padding, upsampling, pixel_shuffle. */
#include "module.h"

/* ---- pools --------------------------------------------------------------------------------------------- */

static pleat_pool_args pool_of(const pleat_nn_module *m, pleat_tensor *x) {
    const pleat_nn_pool_args *a = pleat_nn_attrs(m);
    return (pleat_pool_args){.x = x,
                             .kernel = {a->kernel[0], a->kernel[1]},
                             .stride = {a->stride[0], a->stride[1]},
                             .pad = {a->pad[0], a->pad[1] ? a->pad[1] : PLEAT_NONE},
                             .dilation = {a->dilation[0], a->dilation[1]},
                             .ceil_mode = a->ceil_mode,
                             .exclude_pad = a->exclude_pad};
}

static pleat_tensor *max_pool2d_forward(pleat_nn_module *m, pleat_tensor *x) {
    return pleat_max_pool2d_with(pool_of(m, x));
}

static pleat_tensor *avg_pool2d_forward(pleat_nn_module *m, pleat_tensor *x) {
    return pleat_avg_pool2d_with(pool_of(m, x));
}

static void pool_describe(const pleat_nn_module *m, char *buffer, size_t bytes) {
    const pleat_nn_pool_args *a = pleat_nn_attrs(m);
    if (!bytes) return;
    snprintf(buffer, bytes, "kernel %zux%zu", a->kernel[0], a->kernel[1]);
    pln_describe_pair(buffer, bytes, "stride", a->stride, a->kernel);
    pln_describe_pair(buffer, bytes, "pad", a->pad, (size_t[]){0, 0});
    pln_describe_pair(buffer, bytes, "dilation", a->dilation, (size_t[]){1, 1});
}

static const pleat_nn_kind max_pool2d_kind = {
    .name = "MaxPool2d", .forward = max_pool2d_forward, .describe = pool_describe};
static const pleat_nn_kind avg_pool2d_kind = {
    .name = "AvgPool2d", .forward = avg_pool2d_forward, .describe = pool_describe};

/* The rule that the options break along axis k, or NULL. */
static const char *wrong_axis(const pleat_nn_pool_args *a, size_t k) {
    if (!a->kernel[k]) return ".kernel = {R, S} must be given, both at least 1";
    return a->pad[k] > a->kernel[k] / 2 ? "pad must be at most half the kernel" : NULL;
}

static pleat_nn_module *pool_new(const pleat_nn_kind *kind, pleat_nn_pool_args a, bool max) {
    static const size_t ones[2] = {1, 1};
    if (!pleat_pair(a.ctx, kind->name, "kernel", a.kernel, NULL, false) ||
        !pleat_pair(a.ctx, kind->name, "stride", a.stride, a.kernel, false) ||
        !pleat_pair(a.ctx, kind->name, "pad", a.pad, NULL, true) ||
        !pleat_pair(a.ctx, kind->name, "dilation", a.dilation, ones, false))
        return NULL;
    const char *wrong = wrong_axis(&a, 0);
    if (!wrong) wrong = wrong_axis(&a, 1);
    if (max && a.exclude_pad) wrong = "exclude_pad is for mean pools only";
    if (!max && (a.dilation[0] > 1 || a.dilation[1] > 1)) wrong = "dilation is for max pools only";
    return wrong ? pln_refuse(a.ctx, kind->name, wrong) : pleat_nn_module_new(a.ctx, kind, &a, sizeof a);
}

pleat_nn_module *pleat_nn_max_pool2d_with(pleat_nn_pool_args args) {
    return pool_new(&max_pool2d_kind, args, true);
}
pleat_nn_module *pleat_nn_avg_pool2d_with(pleat_nn_pool_args args) {
    return pool_new(&avg_pool2d_kind, args, false);
}

/* ---- pools of lines: of images of height 1 ------------------------------------------------------------- */

static pleat_tensor *max_pool1d_forward(pleat_nn_module *m, pleat_tensor *x) {
    if (pleat_rank(x) != 3) return pln_misfit(m, x, "[N,C,L], of rank ", 3, "");
    return pln_narrow(pleat_max_pool2d_with(pool_of(m, pln_widen(x))));
}

static pleat_tensor *avg_pool1d_forward(pleat_nn_module *m, pleat_tensor *x) {
    if (pleat_rank(x) != 3) return pln_misfit(m, x, "[N,C,L], of rank ", 3, "");
    return pln_narrow(pleat_avg_pool2d_with(pool_of(m, pln_widen(x))));
}

static void pool1d_describe(const pleat_nn_module *m, char *buffer, size_t bytes) {
    const pleat_nn_pool_args *a = pleat_nn_attrs(m);
    size_t values[][2] = {{a->stride[1], a->kernel[1]}, {a->pad[1], 0}, {a->dilation[1], 1}};
    static const char *const names[] = {", stride %zu", ", pad %zu", ", dilation %zu"};
    size_t used = (size_t)snprintf(buffer, bytes, "kernel %zu", a->kernel[1]);
    for (size_t i = 0; i < 3 && used < bytes; i++)
        if (values[i][0] != values[i][1])
            used += (size_t)snprintf(buffer + used, bytes - used, names[i], values[i][0]);
}

static const pleat_nn_kind max_pool1d_kind = {
    .name = "MaxPool1d", .forward = max_pool1d_forward, .describe = pool1d_describe};
static const pleat_nn_kind avg_pool1d_kind = {
    .name = "AvgPool1d", .forward = avg_pool1d_forward, .describe = pool1d_describe};

static pleat_nn_module *pool1d_new(const pleat_nn_kind *kind, pleat_nn_pool1d_args l) {
    pleat_nn_pool_args a = {.ctx = l.ctx,
                            .kernel = {1, l.kernel},
                            .stride = {1, l.stride ? l.stride : l.kernel},
                            .pad = {0, l.pad},
                            .dilation = {1, l.dilation ? l.dilation : 1},
                            .ceil_mode = l.ceil_mode,
                            .exclude_pad = l.exclude_pad};
    return l.kernel ? pool_new(kind, a, kind == &max_pool1d_kind)
                    : pln_refuse(l.ctx, kind->name, ".kernel must be given, and at least 1");
}

pleat_nn_module *pleat_nn_max_pool1d_with(pleat_nn_pool1d_args args) {
    return pool1d_new(&max_pool1d_kind, args);
}
pleat_nn_module *pleat_nn_avg_pool1d_with(pleat_nn_pool1d_args args) {
    return pool1d_new(&avg_pool1d_kind, args);
}

/* ---- padding ------------------------------------------------------------------------------------------- */

static pleat_edge_pad_args pads_of(const pleat_nn_module *m, pleat_tensor *x) {
    const pleat_nn_edge_pad_args *a = pleat_nn_attrs(m);
    return (pleat_edge_pad_args){.x = x, .pads = {a->pads[0], a->pads[1], a->pads[2], a->pads[3]}};
}

static pleat_tensor *reflection_forward(pleat_nn_module *m, pleat_tensor *x) {
    return pleat_reflection_pad2d_with(pads_of(m, x));
}

static pleat_tensor *replication_forward(pleat_nn_module *m, pleat_tensor *x) {
    return pleat_replication_pad2d_with(pads_of(m, x));
}

static void pads_describe(const pleat_nn_module *m, char *buffer, size_t bytes) {
    const ptrdiff_t *p = ((const pleat_nn_edge_pad_args *)pleat_nn_attrs(m))->pads;
    snprintf(buffer, bytes, "top %td, left %td, bottom %td, right %td", p[0], p[1], p[2], p[3]);
}

static const pleat_nn_kind reflection_kind = {
    .name = "ReflectionPad2d", .forward = reflection_forward, .describe = pads_describe};
static const pleat_nn_kind replication_kind = {
    .name = "ReplicationPad2d", .forward = replication_forward, .describe = pads_describe};

/* The module holds pads, whichever was given. */
static pleat_nn_module *edge_pad_new(const pleat_nn_kind *kind, pleat_nn_edge_pad_args a) {
    bool sides = a.pads[0] || a.pads[1] || a.pads[2] || a.pads[3];
    if (!pleat_pair(a.ctx, kind->name, "pad", (size_t *)a.pad, NULL, true)) return NULL;
    if (sides && (a.pad[0] || a.pad[1])) return pln_refuse(a.ctx, kind->name, "give pad or pads, not both");
    for (size_t k = 0; k < 4; k++) {
        if (!sides) a.pads[k] = a.pad[k % 2];
        if (a.pads[k] < 0) return pln_refuse(a.ctx, kind->name, "pads must be 0 or more");
    }
    return pleat_nn_module_new(a.ctx, kind, &a, sizeof a);
}

pleat_nn_module *pleat_nn_reflection_pad2d_with(pleat_nn_edge_pad_args args) {
    return edge_pad_new(&reflection_kind, args);
}
pleat_nn_module *pleat_nn_replication_pad2d_with(pleat_nn_edge_pad_args args) {
    return edge_pad_new(&replication_kind, args);
}

/* ---- by a number or two -------------------------------------------------------------------------------- */

static const size_t *sizes_of(const pleat_nn_module *m) { return pleat_nn_attrs(m); }

static void describe_sizes(const pleat_nn_module *m, char *buffer, size_t bytes) {
    snprintf(buffer, bytes, "%zux%zu", sizes_of(m)[0], sizes_of(m)[1]);
}

static void describe_size(const pleat_nn_module *m, char *buffer, size_t bytes) {
    snprintf(buffer, bytes, "%zu", sizes_of(m)[0]);
}

static pleat_tensor *adaptive_forward(pleat_nn_module *m, pleat_tensor *x) {
    return pleat_adaptive_avg_pool2d(x, sizes_of(m)[0], sizes_of(m)[1]);
}

static pleat_tensor *nearest_forward(pleat_nn_module *m, pleat_tensor *x) {
    return pleat_resize_nearest(x, .factor = {sizes_of(m)[0], sizes_of(m)[0]});
}

static pleat_tensor *bilinear_forward(pleat_nn_module *m, pleat_tensor *x) {
    return pleat_resize_bilinear(x, .factor = {sizes_of(m)[0], sizes_of(m)[0]});
}

static pleat_tensor *shuffle_forward(pleat_nn_module *m, pleat_tensor *x) {
    return pleat_pixel_shuffle(x, sizes_of(m)[0]);
}

static const pleat_nn_kind adaptive_kind = {
    .name = "AdaptiveAvgPool2d", .forward = adaptive_forward, .describe = describe_sizes};
static const pleat_nn_kind nearest_kind = {
    .name = "UpsampleNearest", .forward = nearest_forward, .describe = describe_size};
static const pleat_nn_kind bilinear_kind = {
    .name = "UpsampleBilinear", .forward = bilinear_forward, .describe = describe_size};
static const pleat_nn_kind shuffle_kind = {
    .name = "PixelShuffle", .forward = shuffle_forward, .describe = describe_size};

static pleat_nn_module *sized(pleat_ctx *ctx, const pleat_nn_kind *kind, size_t a, size_t b) {
    size_t sizes[2] = {a, b};
    if (!a || !b) return pln_refuse(ctx, kind->name, "sizes and factors must be at least 1");
    return pleat_nn_module_new(ctx, kind, sizes, sizeof sizes);
}

pleat_nn_module *pleat_nn_adaptive_avg_pool2d(pleat_ctx *ctx, size_t P, size_t Q) {
    return sized(ctx, &adaptive_kind, P, Q);
}
pleat_nn_module *pleat_nn_upsample_nearest(pleat_ctx *ctx, size_t factor) {
    return sized(ctx, &nearest_kind, factor, factor);
}
pleat_nn_module *pleat_nn_upsample_bilinear(pleat_ctx *ctx, size_t factor) {
    return sized(ctx, &bilinear_kind, factor, factor);
}
pleat_nn_module *pleat_nn_pixel_shuffle(pleat_ctx *ctx, size_t r) { return sized(ctx, &shuffle_kind, r, r); }

/* avg_pool2d, adaptive_avg_pool2d, resize_nearest, resize_bilinear, resize_bicubic: one family, y = A_h x
 * A_w^T with a sparse matrix for each axis. The rule of an axis computes a row of its matrix; the adjoint is
 * the same loop over the transposed matrices. Laws: <A_h x A_w^T, y> = <x, A_h^T y A_w>, and the rows of an
 * interpolating A sum to 1. */
#include "kernels/parallel.h"
#include "rules.h"

#include <math.h>
#include <string.h>

/* ---- rows of the matrices -------------------------------------------------------------------------------- */

typedef struct axis axis;

struct axis {
    size_t in, out;
    size_t most; /* the largest number of entries in a row */
    /* Write the first column of row i to *start and the weights of its entries to w; return their number. */
    size_t (*row)(const axis *a, size_t i, size_t *start, double *w);
    size_t kernel, stride, pad; /* of a pool */
    bool exclude_pad;
    double scale;   /* of a resize: input pixels per output pixel */
    bool align;     /* align the centres of the corner pixels */
    double support; /* antialias: half the width of the filter, */
    double sharp;   /* and the factor from pixels to its argument */
};

static size_t pool_row(const axis *a, size_t i, size_t *start, double *w) {
    size_t from = i * a->stride, to = from + a->kernel; /* in the padded image */
    if (to > a->in + 2 * a->pad) to = a->in + 2 * a->pad;
    size_t all = to - from, first = from > a->pad ? from - a->pad : 0, last = to - a->pad;
    if (last > a->in) last = a->in;
    *start = first;
    for (size_t k = first; k < last; k++) w[k - first] = 1 / (double)(a->exclude_pad ? last - first : all);
    return last - first;
}

static size_t adaptive_row(const axis *a, size_t i, size_t *start, double *w) {
    size_t first = i * a->in / a->out, last = ((i + 1) * a->in + a->out - 1) / a->out;
    *start = first;
    for (size_t k = first; k < last; k++) w[k - first] = 1 / (double)(last - first);
    return last - first;
}

/* In integers. PyTorch multiplies i by in/out in f32, and takes the previous pixel where the product rounds
 * down. */
static size_t nearest_row(const axis *a, size_t i, size_t *start, double *w) {
    *start = i * a->in / a->out;
    w[0] = 1;
    return 1;
}

static double position(const axis *a, size_t i) {
    return a->align ? (double)i * a->scale : ((double)i + 0.5) * a->scale - 0.5;
}

/* Write the weights of n columns from `first` on. The weights of columns outside go to the pixel at the
 * edge. */
static size_t clamped(const axis *a, ptrdiff_t first, size_t n, const double *from, size_t *start,
                      double *w) {
    ptrdiff_t end = (ptrdiff_t)a->in - 1, low = first < 0 ? 0 : first > end ? end : first, high = low;
    memset(w, 0, n * sizeof *w);
    for (size_t k = 0; k < n; k++) {
        ptrdiff_t at = first + (ptrdiff_t)k;
        high = at < 0 ? 0 : at > end ? end : at;
        w[high - low] += from[k];
    }
    *start = (size_t)low;
    return (size_t)(high - low) + 1;
}

static size_t bilinear_row(const axis *a, size_t i, size_t *start, double *w) {
    double at = fmax(position(a, i), 0), t = at - floor(at);
    return clamped(a, (ptrdiff_t)floor(at), 2, (double[]){1 - t, t}, start, w);
}

/* The cubic kernel with slope a at 1, at distance x >= 0. Keys 1981. */
static double cubic(double a, double x) {
    if (x < 1) return ((a + 2) * x - (a + 3)) * x * x + 1;
    return x < 2 ? ((a * x - 5 * a) * x + 8 * a) * x - 4 * a : 0;
}

static size_t bicubic_row(const axis *a, size_t i, size_t *start, double *w) {
    const double slope = -0.75;
    double at = position(a, i), t = at - floor(at);
    double from[] = {cubic(slope, 1 + t), cubic(slope, t), cubic(slope, 1 - t), cubic(slope, 2 - t)};
    return clamped(a, (ptrdiff_t)floor(at) - 1, 4, from, start, w);
}

static double triangle(double x) { return x < 1 ? 1 - x : 0; }

/* The filter, stretched over all input pixels of an output pixel, and normalised. */
static size_t antialias_row(const axis *a, size_t i, size_t *start, double *w) {
    double centre = a->scale * ((double)i + 0.5), sum = 0;
    size_t first = centre - a->support + 0.5 > 0 ? (size_t)(centre - a->support + 0.5) : 0;
    size_t last = (size_t)(centre + a->support + 0.5);
    if (last > a->in) last = a->in;
    for (size_t k = first; k < last; k++) {
        double x = fabs((double)k - centre + 0.5) * a->sharp;
        sum += w[k - first] = a->kernel == 4 ? cubic(-0.5, x) : triangle(x);
    }
    for (size_t k = first; k < last; k++) w[k - first] /= sum;
    *start = first;
    return last - first;
}

/* ---- the loops ------------------------------------------------------------------------------------------- */

/* A sparse matrix by rows: row i has the weights offset[i] .. offset[i + 1] - 1, for columns from start[i]
 * on. */
typedef struct taps {
    size_t *start, *offset;
    double *weight; /* the start of the block, which also holds the other two */
    bool single;    /* each row has one */
} taps;

/* Is row i the row before it? So are most rows of a pool's adjoint. */
static bool repeats(const taps *t, size_t i) {
    if (i == 0 || t->start[i] != t->start[i - 1]) return false;
    const size_t *at = t->offset + i - 1;
    size_t n = at[1] - at[0];
    return at[2] - at[1] == n && memcmp(t->weight + at[0], t->weight + at[1], n * sizeof *t->weight) == 0;
}

enum { GROUP = 4, SMALL = 4096 }; /* planes of a task, where they have fewer pixels */

typedef struct resample {
    const pleat_op *op; /* the forward direction */
    axis axis[2];
    bool ceil_mode, align_corners, antialias; /* the axes have them already */
} resample;

typedef struct planes {
    size_t in[2], out[2], count, group; /* group: planes of a task */
    taps taps[2];
    const void *from;
    void *to;
    double *rows; /* for each thread a row of the input's width for each plane of a task */
} planes;

#define T float
#define NAME(f) f##_f32
#include "resample.inc"
#undef T
#undef NAME
#define T double
#define NAME(f) f##_f64
#include "resample.inc"

static bool take_taps(const pleat_call *c, size_t rows, size_t weights, taps *t) {
    size_t bytes, indices;
    bool fits = pl_mul_ok(weights, sizeof(double), &bytes) &&
                pl_mul_ok(rows + 1, 2 * sizeof(size_t), &indices) &&
                !__builtin_add_overflow(bytes, indices, &bytes);
    t->weight = fits ? pl_take(&c->ctx->memory, bytes) : NULL;
    if (t->weight == NULL) return pleat_call_fail(c, PLEAT_ERR_MEMORY, "no memory for the weights");
    t->offset = (size_t *)(void *)(t->weight + weights);
    t->start = t->offset + rows + 1;
    return true;
}

static bool make_taps(const pleat_call *c, const axis *a, taps *t) {
    size_t weights;
    if (!pl_mul_ok(a->out, a->most, &weights)) weights = SIZE_MAX; /* take_taps refuses it */
    if (!take_taps(c, a->out, weights, t)) return false;
    t->offset[0] = 0;
    for (size_t i = 0; i < a->out; i++)
        t->offset[i + 1] = t->offset[i] + a->row(a, i, &t->start[i], t->weight + t->offset[i]);
    return true;
}

/* First and last entry of the rows never move to the left, so the rows with an entry in one column are
 * adjacent. */
static bool transpose_taps(const pleat_call *c, const axis *a, const taps *from, taps *t) {
    if (!take_taps(c, a->in, from->offset[a->out], t)) return false;
    memset(t->offset, 0, (a->in + 1) * sizeof *t->offset);
    memset(t->start, 0, a->in * sizeof *t->start); /* a pool's stride may leave a column without an entry */
    for (size_t i = a->out; i-- > 0;)
        for (size_t k = from->offset[i]; k < from->offset[i + 1]; k++) {
            size_t column = from->start[i] + k - from->offset[i];
            t->offset[column + 1]++;
            t->start[column] = i;
        }
    for (size_t h = 0; h < a->in; h++) t->offset[h + 1] += t->offset[h];
    for (size_t i = 0; i < a->out; i++)
        for (size_t k = from->offset[i]; k < from->offset[i + 1]; k++) {
            size_t column = from->start[i] + k - from->offset[i];
            t->weight[t->offset[column] + i - t->start[column]] = from->weight[k];
        }
    return true;
}

static bool axis_taps(const pleat_call *c, const axis *a, bool adjoint, taps *t) {
    taps rows = {.weight = NULL};
    bool ok = make_taps(c, a, adjoint ? &rows : t) && (!adjoint || transpose_taps(c, a, &rows, t));
    pl_give(&c->ctx->memory, rows.weight);
    t->single = ok;
    for (size_t i = 0; t->single && i <= (adjoint ? a->in : a->out); i++) t->single = t->offset[i] == i;
    return ok;
}

static bool run_planes(const pleat_call *c, const pleat_tensor *x, bool adjoint) {
    const resample *r = c->attrs;
    pl_memory *memory = &c->ctx->memory;
    planes p = {.in = {x->shape[2], x->shape[3]}, .out = {c->shape[2], c->shape[3]}, .from = x->data};
    double work = 4 * (double)(x->numel + c->out->numel);
    p.to = c->out->data, p.count = c->shape[0] * c->shape[1];
    p.group = (x->numel + c->out->numel) / p.count < SMALL ? GROUP : 1;
    size_t bytes = (size_t)pl_most_threads(c->ctx, work) * p.group * p.in[1] * sizeof(double);
    bool ok = true;
    for (size_t k = 0; ok && k < 2; k++) ok = axis_taps(c, &r->axis[k], adjoint, &p.taps[k]);
    if (ok) p.rows = pl_take(memory, bytes);
    if (ok && p.rows == NULL) ok = pleat_call_fail(c, PLEAT_ERR_MEMORY, "no memory for a row");
    if (ok)
        pl_parallel(pl_pool_for(c->ctx, work), (p.count - 1) / p.group + 1,
                    c->dtype == PLEAT_F64 ? apply_f64 : apply_f32, &p);
    pl_give(memory, p.rows);
    for (size_t k = 0; k < 2; k++) pl_give(memory, p.taps[k].weight);
    return ok;
}

static bool run(const pleat_call *c, bool adjoint) {
    pleat_tensor *x = pl_dense(c->in[0]);
    bool ok = !x->poison && (c->out->numel == 0 || run_planes(c, x, adjoint));
    pl_release(x);
    return ok;
}

static bool forward(const pleat_call *c) { return run(c, false); }
static bool adjoint_forward(const pleat_call *c) { return run(c, true); }

/* ---- the ops --------------------------------------------------------------------------------------------- */

static const pleat_op avg_pool2d_op, adaptive_op;

static size_t pool_attributes(const resample *r, pleat_attr *out) {
    const axis *h = &r->axis[0], *w = &r->axis[1];
    bool usual = h->stride == h->kernel && w->stride == w->kernel;
    out[0] = pl_attr_whole("kernel", 2, (size_t[]){h->kernel, w->kernel}, false);
    out[1] = pl_attr_whole("stride", 2, (size_t[]){h->stride, w->stride}, usual);
    out[2] = pl_attr_whole("pad", 2, (size_t[]){h->pad, w->pad}, h->pad == 0 && w->pad == 0);
    out[3] = pl_attr_flag("ceil_mode", r->ceil_mode);
    out[4] = pl_attr_flag("exclude_pad", h->exclude_pad);
    return 5;
}

static size_t attributes(const pleat_call *c, pleat_attr *out) {
    const resample *r = c->attrs;
    if (r->op == &avg_pool2d_op) return pool_attributes(r, out);
    out[0] = pl_attr_whole("size", 2, (size_t[]){r->axis[0].out, r->axis[1].out}, false);
    if (r->op == &adaptive_op) return 1;
    out[1] = pl_attr_flag("align_corners", r->align_corners);
    out[2] = pl_attr_flag("antialias", r->antialias);
    return 3;
}

static bool shape(pleat_call *c) {
    const resample *r = c->attrs;
    size_t sizes[4] = {c->in[0]->shape[0], c->in[0]->shape[1], r->axis[0].out, r->axis[1].out};
    pl_call_shape(c, 4, sizes);
    return true;
}

static bool adjoint_shape(pleat_call *c) {
    const resample *r = c->attrs;
    size_t sizes[4] = {c->in[0]->shape[0], c->in[0]->shape[1], r->axis[0].in, r->axis[1].in};
    pl_call_shape(c, 4, sizes);
    return true;
}

static pleat_tensor *adjoint_vjp(const pleat_call *c, size_t i, pleat_tensor *g) {
    (void)i;
    return pleat_apply(((const resample *)c->attrs)->op, 1, &g, c->attrs, sizeof(resample));
}

static const pleat_op adjoint_op = {"resize_adjoint", adjoint_shape, adjoint_forward, adjoint_vjp, attributes,
                                    &pl_own,          NULL};

static pleat_tensor *vjp(const pleat_call *c, size_t i, pleat_tensor *g) {
    (void)i;
    return pleat_apply(&adjoint_op, 1, &g, c->attrs, sizeof(resample));
}

static const pleat_op avg_pool2d_op = {"avg_pool2d", shape, forward, vjp, attributes, &pl_own, NULL};
static const pleat_op adaptive_op = {"adaptive_avg_pool2d", shape, forward, vjp, attributes, &pl_own, NULL};
static const pleat_op nearest_op = {"resize_nearest", shape, forward, vjp, attributes, &pl_own, NULL};
static const pleat_op bilinear_op = {"resize_bilinear", shape, forward, vjp, attributes, &pl_own, NULL};
static const pleat_op bicubic_op = {"resize_bicubic", shape, forward, vjp, attributes, &pl_own, NULL};

static pleat_tensor *apply(pleat_tensor *x, const resample *r) {
    return pleat_apply(r->op, 1, &x, r, sizeof *r);
}

/* ---- mean pools ------------------------------------------------------------------------------------------ */

pleat_tensor *pleat_avg_pool2d_with(pleat_pool_args args) {
    resample r = {.op = &avg_pool2d_op, .ceil_mode = args.ceil_mode};
    size_t image[2], map[2];
    if (args.x == NULL || args.x->poison) return apply(args.x, &r);
    if (args.dilation[0] > 1 || args.dilation[1] > 1)
        return pl_reject(args.x, r.op->name, PLEAT_ERR_ARGUMENT, "dilation is for max_pool2d only");
    args.dilation[0] = args.dilation[1] = 1;
    if (!pl_pool_geometry(r.op->name, &args, image, map)) return pleat_poison(args.x->ctx);
    for (size_t k = 0; k < 2; k++)
        r.axis[k] = (axis){.in = image[k],
                           .out = map[k],
                           .most = args.kernel[k] < image[k] ? args.kernel[k] : image[k],
                           .row = pool_row,
                           .kernel = args.kernel[k],
                           .stride = args.stride[k],
                           .pad = args.pad[k],
                           .exclude_pad = args.exclude_pad};
    return apply(args.x, &r);
}

/* Check that x [N,C,H,W] can be resized to `size` pixels; false after an error. */
static bool fits(const pleat_tensor *x, const char *op, const size_t size[2]) {
    const char *wrong = NULL;
    size_t end, product;
    if (x->rank != 4)
        wrong = "x must be [N,C,H,W], of rank 4";
    else if (x->shape[2] == 0 || x->shape[3] == 0)
        wrong = "an image must have at least 1x1 pixels";
    if (wrong != NULL) {
        pl_reject(x, op, PLEAT_ERR_SHAPE, "%s", wrong);
        return false;
    }
    if (size[0] == 0 || size[1] == 0) wrong = "it must have at least 1x1 pixels";
    for (size_t k = 0; k < 2; k++)
        if (__builtin_add_overflow(size[k], 2, &end) || !pl_mul_ok(x->shape[2 + k], end, &product))
            wrong = "the sizes of image and result overflow";
    if (wrong != NULL)
        pl_reject(x, op, PLEAT_ERR_SHAPE, "a result of %zux%zu pixels: %s", size[0], size[1], wrong);
    return wrong == NULL;
}

pleat_tensor *pleat_adaptive_avg_pool2d(pleat_tensor *x, size_t P, size_t Q) {
    resample r = {.op = &adaptive_op};
    size_t size[2] = {P, Q};
    if (x == NULL || x->poison) return apply(x, &r);
    if (!fits(x, r.op->name, size)) return pleat_poison(x->ctx);
    for (size_t k = 0; k < 2; k++) {
        size_t in = x->shape[2 + k];
        r.axis[k] = (axis){.in = in, .out = size[k], .most = in / size[k] + 2, .row = adaptive_row};
    }
    return apply(x, &r);
}

/* ---- resizes --------------------------------------------------------------------------------------------- */

static axis resize_axis(const pleat_resize_args *a, size_t in, size_t out, size_t width,
                        size_t (*row)(const axis *, size_t, size_t *, double *)) {
    axis x = {.in = in, .out = out, .most = width, .row = row, .kernel = width, .align = a->align_corners};
    if (in == out) { /* a copy: infinite neighbours of weight 0 would make NaN */
        x.row = nearest_row;
        return x;
    }
    x.scale = (double)in / (double)out;
    if (a->align_corners) x.scale = out > 1 ? (double)(in - 1) / (double)(out - 1) : 0;
    if (a->antialias && width > 1) {
        double ratio = x.scale > 1 ? x.scale : 1;
        x.support = (double)width / 2 * ratio;
        x.sharp = 1 / ratio;
        x.row = antialias_row;
        x.most = 2 * (size_t)ceil(x.support) + 1;
    }
    return x;
}

static pleat_tensor *resize(const pleat_op *op, pleat_resize_args a, size_t width,
                            size_t (*row)(const axis *, size_t, size_t *, double *)) {
    resample r = {.op = op, .align_corners = a.align_corners, .antialias = a.antialias};
    if (a.x == NULL || a.x->poison) return apply(a.x, &r);
    bool sized = a.size[0] != 0 || a.size[1] != 0, enlarged = a.factor[0] != 0 || a.factor[1] != 0;
    if (sized == enlarged)
        return pl_reject(a.x, op->name, PLEAT_ERR_ARGUMENT,
                         "give .size = {H, W} or .factor = {fh, fw}, and not both");
    if (!pleat_pair(a.x->ctx, op->name, "size", a.size, NULL, false) ||
        !pleat_pair(a.x->ctx, op->name, "factor", a.factor, NULL, false))
        return pleat_poison(a.x->ctx);
    for (size_t k = 0; enlarged && a.x->rank == 4 && k < 2; k++)
        if (!pl_mul_ok(a.x->shape[2 + k], a.factor[k], &a.size[k]))
            return pl_reject(a.x, op->name, PLEAT_ERR_SHAPE, "size times factor overflows");
    if ((a.align_corners || a.antialias) && width == 1)
        return pl_reject(a.x, op->name, PLEAT_ERR_ARGUMENT,
                         "align_corners and antialias are for bilinear and bicubic");
    if (!fits(a.x, op->name, a.size)) return pleat_poison(a.x->ctx);
    for (size_t k = 0; k < 2; k++) r.axis[k] = resize_axis(&a, a.x->shape[2 + k], a.size[k], width, row);
    return apply(a.x, &r);
}

pleat_tensor *pleat_resize_nearest_with(pleat_resize_args args) {
    return resize(&nearest_op, args, 1, nearest_row);
}
pleat_tensor *pleat_resize_bilinear_with(pleat_resize_args args) {
    return resize(&bilinear_op, args, 2, bilinear_row);
}
pleat_tensor *pleat_resize_bicubic_with(pleat_resize_args args) {
    return resize(&bicubic_op, args, 4, bicubic_row);
}

/* max_pool2d: the largest pixel of each window. A first op, without a gradient, finds the largest pixels and
 * their places in the windows; the result is a view of the pixels. gather and scatter move values by these
 * places. They are linear and adjoint to each other, so gradients exist to any order. Law: <gather(x,
 * places), y> = <x, scatter(y, places)>. */
#include "kernels/parallel.h"
#include "kernels/sizes.h"
#include "rules.h"

#include <math.h>
#include <string.h>

typedef struct windows {
    size_t kernel[2], stride[2], pad[2], dilation[2], image[2], map[2];
    bool ceil_mode; /* map has it already */
} windows;

/* ---- the loops ------------------------------------------------------------------------------------------- */

/* A range of rows or columns of a kernel, or of windows. */
typedef struct span {
    size_t first, last; /* last is one past the end */
} span;

enum { TABLE = 64 }; /* places of a kernel that have a table */

/* The planes of a call; `places` is the second half of the result of search_op. */
typedef struct planes {
    const windows *w;
    size_t count, per_task;
    const void *from, *places;
    void *to;
    bool values, blocked; /* a search for the pixels alone; of a blocked tensor */
    size_t offset[TABLE]; /* of a place in the plane, from that of the window */
} planes;

/* The rows or columns of window p that are on the image, not in its padding. */
static inline span inside(const windows *w, size_t axis, size_t p) {
    size_t at = p * w->stride[axis], d = w->dilation[axis], pad = w->pad[axis], end = pad + w->image[axis];
    if (at >= pad && at + (w->kernel[axis] - 1) * d < end)
        return (span){0, w->kernel[axis]}; /* the common case, without a division */
    size_t first = at < pad ? (pad - at + d - 1) / d : 0, last = at < end ? (end - at + d - 1) / d : 0;
    if (last > w->kernel[axis]) last = w->kernel[axis];
    return (span){first < last ? first : last, last};
}

/* Where window (p, q) begins in the plane. Behind the end of size_t if that is in the padding; the sum with the
 * offset of a place on the image is right nevertheless. */
static inline size_t corner(const windows *w, size_t p, size_t q) {
    return (p * w->stride[0] - w->pad[0]) * w->image[1] + q * w->stride[1] - w->pad[1];
}

static size_t offset_of(const windows *w, size_t place) {
    size_t r = place / w->kernel[1], s = place % w->kernel[1];
    return r * w->dilation[0] * w->image[1] + s * w->dilation[1];
}

/* The windows of a row whose columns are all on the image. */
static span whole_windows(const windows *w) {
    size_t s = w->stride[1], pad = w->pad[1], reach = (w->kernel[1] - 1) * w->dilation[1],
           end = pad + w->image[1];
    size_t first = (pad + s - 1) / s, last = end > reach ? (end - reach - 1) / s + 1 : 0;
    if (last > w->map[1]) last = w->map[1];
    return (span){first < last ? first : last, last};
}

/* Are the windows pairs of columns, in one row or two, side by side and not in padding? Most networks use these. */
static bool in_pairs(const windows *w) {
    for (size_t k = 0; k < 2; k++) {
        size_t size = w->kernel[k];
        bool plain = w->stride[k] == size && w->dilation[k] == 1 && w->pad[k] == 0;
        if (!plain || w->map[k] > w->image[k] / size) return false;
    }
    return w->kernel[1] == 2 && w->kernel[0] <= 2 && w->map[1] >= 4;
}

#define T float
#define BITS uint32_t
#define NAME(f) f##_f32
#include "max_pool.inc"
#undef T
#undef BITS
#undef NAME
#define T double
#define BITS uint64_t
#define NAME(f) f##_f64
#include "max_pool.inc"

static bool run(const pleat_call *c, pl_task f32, pl_task f64) {
    enum { PIECE = 16384 }; /* pixels per task */
    const windows *w = c->attrs;
    pleat_tensor *from = pl_dense(c->in[0]), *found = c->n > 1 ? pl_dense(c->in[1]) : NULL;
    bool usable = !from->poison && (found == NULL || !found->poison);
    if (usable && c->out->numel > 0) {
        size_t pixels = w->image[0] * w->image[1], maps = w->map[0] * w->map[1];
        planes p = {.w = w, .count = c->in[0]->shape[0] * c->in[0]->shape[1], .per_task = 1};
        for (size_t i = 0; i < TABLE; i++) p.offset[i] = offset_of(w, i);
        p.from = from->data;
        p.to = c->out->data, p.values = c->rank == 4;
        if (found != NULL) p.places = found->data + p.count * maps * pl_element(c->dtype);
        double work = (double)(p.count * maps) * (double)(w->kernel[0] * w->kernel[1]) / 4;
        p.blocked = c->out->storage->blocked;
        if (p.blocked) p.count /= LINE / pl_element(c->dtype), pixels *= LINE / pl_element(c->dtype);
        if (pixels < PIECE) p.per_task = PIECE / pixels;
        pl_parallel(pl_pool_for(c->ctx, work), (p.count - 1) / p.per_task + 1,
                    c->dtype == PLEAT_F64 ? f64 : f32, &p);
    }
    pl_release(from);
    if (found != NULL) pl_release(found);
    return usable;
}

static bool search_forward(const pleat_call *c) { return run(c, search_f32, search_f64); }
static bool gather_forward(const pleat_call *c) { return run(c, gather_f32, gather_f64); }
static bool scatter_forward(const pleat_call *c) { return run(c, scatter_f32, scatter_f64); }

/* ---- the ops --------------------------------------------------------------------------------------------- */

static size_t window_attributes(const pleat_call *c, pleat_attr *out) {
    const windows *w = c->attrs;
    out[0] = pl_attr_whole("kernel", 2, w->kernel, false);
    out[1] = pl_attr_whole("stride", 2, w->stride, memcmp(w->stride, w->kernel, sizeof w->stride) == 0);
    out[2] = pl_attr_whole("pad", 2, w->pad, w->pad[0] == 0 && w->pad[1] == 0);
    out[3] = pl_attr_whole("dilation", 2, w->dilation, w->dilation[0] == 1 && w->dilation[1] == 1);
    out[4] = pl_attr_flag("ceil_mode", w->ceil_mode);
    return 5;
}

static bool plane_shape(pleat_call *c, const pleat_tensor *like, size_t axis, const size_t plane[2]) {
    size_t shape[4] = {like->shape[axis], like->shape[axis + 1], plane[0], plane[1]};
    pl_call_shape(c, 4, shape);
    return true;
}

static bool map_shape(pleat_call *c) { return plane_shape(c, c->in[0], 0, ((const windows *)c->attrs)->map); }

static bool image_shape(pleat_call *c) {
    return plane_shape(c, c->in[0], 0, ((const windows *)c->attrs)->image);
}

/* The largest pixels, followed by their places. */
static bool found_shape(pleat_call *c) {
    const windows *w = c->attrs;
    size_t shape[5] = {2, c->in[0]->shape[0], c->in[0]->shape[1], w->map[0], w->map[1]};
    pl_call_shape(c, 5, shape);
    return true;
}

static bool first_half_shape(pleat_call *c) {
    plane_shape(c, c->in[0], 1, ((const windows *)c->attrs)->map);
    pl_row_major(4, c->shape, c->stride);
    return true;
}

static pleat_tensor *max_vjp(const pleat_call *c, size_t i, pleat_tensor *g);
static pleat_tensor *gather_vjp(const pleat_call *c, size_t i, pleat_tensor *g);
static pleat_tensor *scatter_vjp(const pleat_call *c, size_t i, pleat_tensor *g);

static const pleat_op search_op = {"max_pool2d", found_shape, search_forward, pl_zero_vjp, window_attributes,
                                   &pl_own,      NULL};
static bool values_take_blocked(const pleat_call *c) {
    return c->in[0]->storage->blocked && c->out->storage->blocked;
}

static const pl_traits values_traits = {values_take_blocked, NULL};
static const pleat_op values_op = {"max_pool2d",   map_shape, search_forward, NULL, window_attributes,
                                   &values_traits, NULL};
static const pleat_op max_op = {"max_pool2d",      first_half_shape, NULL, max_vjp,
                                window_attributes, &pl_own,          NULL}; /* of (found, x) */
static const pleat_op gather_op = {
    "max_pool2d_gather", map_shape, gather_forward, gather_vjp, window_attributes, &pl_own, NULL};
static const pleat_op scatter_op = {
    "max_pool2d_scatter", image_shape, scatter_forward, scatter_vjp, window_attributes, &pl_own, NULL};

static pleat_tensor *move(const pleat_op *op, pleat_tensor *g, pleat_tensor *found, const void *attrs) {
    return pleat_apply(op, 2, (pleat_tensor *[]){g, found}, attrs, sizeof(windows));
}

static pleat_tensor *max_vjp(const pleat_call *c, size_t i, pleat_tensor *g) {
    return i == 1 ? move(&scatter_op, g, c->in[0], c->attrs) : NULL;
}

static pleat_tensor *gather_vjp(const pleat_call *c, size_t i, pleat_tensor *g) {
    return i == 0 ? move(&scatter_op, g, c->in[1], c->attrs) : NULL;
}

static pleat_tensor *scatter_vjp(const pleat_call *c, size_t i, pleat_tensor *g) {
    return i == 0 ? move(&gather_op, g, c->in[1], c->attrs) : NULL;
}

/* A place is stored as a number of x's type, so a kernel must not have more places than the type has exact
 * integers. False after an error. */
static bool places_are_few(const pleat_pool_args *a) {
    size_t places, most = pl_counts(a->x->dtype);
    if (!pl_mul_ok(a->kernel[0], a->kernel[1], &places)) places = SIZE_MAX;
    if (places <= most && places < SIZE_MAX) return true;
    pleat_fail(a->x->ctx, PLEAT_ERR_ARGUMENT, search_op.name,
               "%s: a kernel of %zux%zu has %zu places; in this type it can have at most %zu",
               pl_shape_of(a->x).text, a->kernel[0], a->kernel[1], places, most);
    return false;
}

pleat_tensor *pleat_max_pool2d_with(pleat_pool_args args) {
    windows w = {.ceil_mode = args.ceil_mode};
    if (args.x == NULL || args.x->poison) return pleat_apply(&search_op, 1, &args.x, NULL, 0);
    if (args.exclude_pad)
        return pl_reject(args.x, search_op.name, PLEAT_ERR_ARGUMENT, "exclude_pad is for avg_pool2d only");
    if (!pl_pool_geometry(search_op.name, &args, w.image, w.map) || !places_are_few(&args))
        return pleat_poison(args.x->ctx);
    memcpy(w.kernel, args.kernel, sizeof w.kernel);
    memcpy(w.stride, args.stride, sizeof w.stride);
    memcpy(w.pad, args.pad, sizeof w.pad);
    memcpy(w.dilation, args.dilation, sizeof w.dilation);
    if (!args.x->ctx->recording) return pleat_apply(&values_op, 1, &args.x, &w, sizeof w);
    pleat_tensor *found = pleat_apply(&search_op, 1, &args.x, &w, sizeof w);
    return move(&max_op, found, args.x, &w);
}

/* max_pool2d: the largest pixel of each window. A first op, without a gradient, chooses the pixels; gather and scatter, which
 * are linear and each other's adjoint, move values by that choice, so gradients exist to any order. Law:
 * <gather(x, choice), y> = <x, scatter(y, choice)>. */
#include "core/core.h"
#include "kernels/parallel.h"

#include <float.h>
#include <math.h>
#include <string.h>

typedef struct windows {
    size_t kernel[2], stride[2], pad[2], dilation[2], image[2], map[2];
} windows;

/* ---- the loops ------------------------------------------------------------------------------------------- */

typedef struct planes {
    const windows *w;
    const void *from, *choice;
    void *to;
} planes;

/* Rows (columns) of a kernel. */
typedef struct span {
    size_t first, last; /* the last is not among them */
} span;

/* Those of window p that lie on the image and not in its padding. */
static span inside(const windows *w, size_t axis, size_t p) {
    size_t at = p * w->stride[axis], d = w->dilation[axis], pad = w->pad[axis], end = pad + w->image[axis];
    if (at >= pad && at + (w->kernel[axis] - 1) * d < end)
        return (span){0, w->kernel[axis]}; /* no division */
    size_t first = at < pad ? (pad - at + d - 1) / d : 0, last = at < end ? (end - at + d - 1) / d : 0;
    if (last > w->kernel[axis]) last = w->kernel[axis];
    return (span){first < last ? first : last, last};
}

/* The pixel of a plane under row r and column s of window (p, q), which lies on the image. */
static size_t place(const windows *w, size_t r, size_t s, size_t p, size_t q) {
    size_t h = p * w->stride[0] + r * w->dilation[0] - w->pad[0];
    return h * w->image[1] + q * w->stride[1] + s * w->dilation[1] - w->pad[1];
}

#define T float
#define NAME(f) f##_f32
#include "pool.inc"
#undef T
#undef NAME
#define T double
#define NAME(f) f##_f64
#include "pool.inc"

static bool run(const pleat_call *c, pl_task f32, pl_task f64) {
    pleat_tensor *from = pl_dense(c->in[0]), *choice = c->n > 1 ? pl_dense(c->in[1]) : NULL;
    bool usable = !from->poison && (choice == NULL || !choice->poison);
    if (usable && c->out->numel > 0) {
        const windows *w = c->attrs;
        planes p = {w, from->data, choice == NULL ? NULL : choice->data, c->out->data};
        double work = (double)c->out->numel * (double)(w->kernel[0] * w->kernel[1]);
        pl_parallel(pl_pool_for(c->ctx, work), c->shape[0] * c->shape[1], c->dtype == PLEAT_F64 ? f64 : f32,
                    &p);
    }
    pl_release(from);
    if (choice != NULL) pl_release(choice);
    return usable;
}

static bool choose_forward(const pleat_call *c) { return run(c, choose_f32, choose_f64); }
static bool gather_forward(const pleat_call *c) { return run(c, gather_f32, gather_f64); }
static bool scatter_forward(const pleat_call *c) { return run(c, scatter_f32, scatter_f64); }

/* ---- the ops --------------------------------------------------------------------------------------------- */

static bool map_shape(pleat_call *c) {
    const windows *w = c->attrs;
    size_t shape[4] = {c->in[0]->shape[0], c->in[0]->shape[1], w->map[0], w->map[1]};
    pl_call_shape(c, 4, shape);
    return true;
}

static bool image_shape(pleat_call *c) {
    const windows *w = c->attrs;
    size_t shape[4] = {c->in[0]->shape[0], c->in[0]->shape[1], w->image[0], w->image[1]};
    pl_call_shape(c, 4, shape);
    return true;
}

static pleat_tensor *choose_vjp(const pleat_call *c, size_t i, pleat_tensor *g) {
    (void)c, (void)i, (void)g;
    return NULL;
}

static pleat_tensor *gather_vjp(const pleat_call *c, size_t i, pleat_tensor *g);
static pleat_tensor *scatter_vjp(const pleat_call *c, size_t i, pleat_tensor *g);

static const pleat_op choose_op = {"max_pool2d", map_shape, choose_forward, choose_vjp};
static const pleat_op gather_op = {"max_pool2d", map_shape, gather_forward, gather_vjp};
static const pleat_op scatter_op = {"max_pool2d_scatter", image_shape, scatter_forward, scatter_vjp};

static pleat_tensor *gather_vjp(const pleat_call *c, size_t i, pleat_tensor *g) {
    return i == 1 ? NULL
                  : pleat_apply(&scatter_op, 2, (pleat_tensor *[]){g, c->in[1]}, c->attrs, sizeof(windows));
}

static pleat_tensor *scatter_vjp(const pleat_call *c, size_t i, pleat_tensor *g) {
    return i == 1 ? NULL
                  : pleat_apply(&gather_op, 2, (pleat_tensor *[]){g, c->in[1]}, c->attrs, sizeof(windows));
}

/* A choice is a number of x's type, so there must not be more of them than the type tells apart. False after an error. */
static bool places_are_few(const pleat_pool_args *a) {
    size_t places, most = (size_t)1 << (a->x->dtype == PLEAT_F64 ? DBL_MANT_DIG : FLT_MANT_DIG);
    if (!pl_mul_ok(a->kernel[0], a->kernel[1], &places)) places = SIZE_MAX;
    if (places <= most) return true;
    pleat_fail(a->x->ctx, PLEAT_ERR_ARGUMENT, choose_op.name,
               "%s: a kernel of %zux%zu has %zu places; in this type it can have at most %zu",
               pl_shape_of(a->x).text, a->kernel[0], a->kernel[1], places, most);
    return false;
}

pleat_tensor *pleat_max_pool2d_with(pleat_pool_args args) {
    windows w = {.dilation = {args.dilation[0], args.dilation[1]}};
    if (args.dilation[0] == 0 && args.dilation[1] == 0) w.dilation[0] = w.dilation[1] = 1;
    if (args.x == NULL || args.x->poison) return pleat_apply(&choose_op, 1, &args.x, NULL, 0);
    args.dilation[0] = w.dilation[0], args.dilation[1] = w.dilation[1];
    if (args.exclude_pad) {
        pleat_fail(args.x->ctx, PLEAT_ERR_ARGUMENT, choose_op.name, "%s: exclude_pad is for avg_pool2d only",
                   pl_shape_of(args.x).text);
        return pleat_poison(args.x->ctx);
    }
    if (!pl_pool_geometry(choose_op.name, &args, w.image, w.map) || !places_are_few(&args))
        return pleat_poison(args.x->ctx);
    memcpy(w.kernel, args.kernel, sizeof w.kernel);
    memcpy(w.stride, args.stride, sizeof w.stride);
    memcpy(w.pad, args.pad, sizeof w.pad);
    pleat_tensor *choice = pleat_apply(&choose_op, 1, &args.x, &w, sizeof w);
    return pleat_apply(&gather_op, 2, (pleat_tensor *[]){args.x, choice}, &w, sizeof w);
}

/* ---- what both pools share ------------------------------------------------------------------------------- */

/* The number of windows along an axis; 0 if not one fits. */
static size_t windows_along(const pleat_pool_args *a, size_t axis, size_t size) {
    size_t extent = (a->kernel[axis] - 1) * a->dilation[axis] + 1, s = a->stride[axis];
    size_t room = size + 2 * a->pad[axis] + (a->ceil_mode ? s - 1 : 0);
    if (room < extent) return 0;
    size_t n = (room - extent) / s + 1;
    return a->ceil_mode && (n - 1) * s >= size + a->pad[axis] ? n - 1 : n;
}

static const char *const axes[] = {"H", "W"};

/* The rule that the options break along an axis, or NULL. Sizes are kept small enough that none of the sums above overflow. */
static const char *broken(const pleat_pool_args *a, size_t axis) {
    const size_t most = SIZE_MAX / 8;
    size_t extent;
    if (a->kernel[axis] == 0) return ".kernel = {R, S} must be given, both at least 1";
    if (a->stride[axis] == 0) return "stride must be at least 1 along both axes";
    if (a->dilation[axis] == 0) return "dilation must be at least 1 along both axes";
    if (!pl_mul_ok(a->kernel[axis], a->dilation[axis], &extent) || extent > most || a->stride[axis] > most)
        return "the kernel's extent and the stride must fit size_t";
    return NULL;
}

/* Completes the options; false after an error. */
static bool options_are_fine(const char *op, pleat_pool_args *a) {
    const pleat_tensor *x = a->x;
    const char *wrong = x->rank != 4 ? "x must be [N,C,H,W], of rank 4" : NULL;
    if (a->stride[0] == 0 && a->stride[1] == 0) memcpy(a->stride, a->kernel, sizeof a->stride);
    for (size_t k = 0; k < 2 && wrong == NULL; k++) wrong = broken(a, k);
    if (wrong != NULL) {
        pleat_fail(x->ctx, x->rank != 4 ? PLEAT_ERR_SHAPE : PLEAT_ERR_ARGUMENT, op, "%s: %s",
                   pl_shape_of(x).text, wrong);
        return false;
    }
    for (size_t k = 0; k < 2; k++) {
        if (a->pad[k] <= a->kernel[k] / 2) continue;
        pleat_fail(x->ctx, PLEAT_ERR_ARGUMENT, op,
                   "%s: along axis %s pad is %zu; it must be at most half the kernel, %zu",
                   pl_shape_of(x).text, axes[k], a->pad[k], a->kernel[k] / 2);
        return false;
    }
    return true;
}

bool pl_pool_geometry(const char *op, pleat_pool_args *a, size_t image[2], size_t map[2]) {
    const pleat_tensor *x = a->x;
    if (!options_are_fine(op, a)) return false;
    for (size_t k = 0; k < 2; k++) {
        image[k] = x->shape[2 + k];
        map[k] = image[k] > 0 ? windows_along(a, k, image[k]) : 0;
        if (map[k] > 0) continue;
        pleat_fail(x->ctx, PLEAT_ERR_SHAPE, op,
                   "%s: along axis %s the kernel (%zu, dilation %zu) exceeds the image (%zu) padded by %zu",
                   pl_shape_of(x).text, axes[k], a->kernel[k], a->dilation[k], image[k], a->pad[k]);
        return false;
    }
    return true;
}

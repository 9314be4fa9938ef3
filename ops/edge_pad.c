/* reflection_pad2d and replication_pad2d: pixels around an image that repeat pixels of it, by index_select
 * along each of the last two axes; so the adjoint adds the border to the pixels that it repeats. Law: the
 * inside of the result is the image. */
#include "core/core.h"

/* The pixel of an axis of n that stands at i, counted from the first of the image. */
static size_t reflected(ptrdiff_t i, ptrdiff_t n) {
    return (size_t)(i < 0 ? -i : i < n ? i : 2 * (n - 1) - i);
}
static size_t replicated(ptrdiff_t i, ptrdiff_t n) { return (size_t)(i < 0 ? 0 : i < n ? i : n - 1); }

typedef struct mode {
    const char *op;
    size_t (*pixel)(ptrdiff_t i, ptrdiff_t n);
    bool mirror; /* the pads are smaller than the image */
} mode;

/* Check a pad of axis k of the last two; false after an error. */
static bool pad_fits(const mode *m, const pleat_tensor *x, size_t k, ptrdiff_t pad) {
    const size_t n = x->shape[x->rank - 2 + k], large = PTRDIFF_MAX / 4;
    const char *rule = NULL;
    if (pad < 0)
        rule = "0 or more; pleat_slice crops";
    else if (n == 0)
        rule = "0, as there is no pixel to repeat";
    else if (m->mirror && (size_t)pad >= n)
        rule = "less than the image, of which no pixel is reflected twice";
    else if ((size_t)pad > large || n > large)
        rule = "so small that a ptrdiff_t counts the pixels";
    if (rule != NULL && (pad != 0 || n > large))
        pl_reject(x, m->op, PLEAT_ERR_SHAPE, "the pad along %s is %td; it must be %s", k == 0 ? "H" : "W",
                  pad, rule);
    return rule == NULL || (pad == 0 && n <= large);
}

/* x padded along axis k of the last two. */
static pleat_tensor *pad_axis(const mode *m, pleat_tensor *x, size_t k, ptrdiff_t before, ptrdiff_t after) {
    if (pleat_is_poison(x) || (before == 0 && after == 0)) return x;
    size_t axis = x->rank - 2 + k, n = x->shape[axis], size = (size_t)before + n + (size_t)after, bytes;
    size_t *index = pl_mul_ok(size, sizeof *index, &bytes) ? pl_take(&x->ctx->memory, bytes) : NULL;
    if (index == NULL) return pl_reject(x, m->op, PLEAT_ERR_MEMORY, "no memory for %zu indices", size);
    for (size_t i = 0; i < size; i++) index[i] = m->pixel((ptrdiff_t)i - before, (ptrdiff_t)n);
    pleat_tensor *y = pleat_index_select(x, axis, size, index);
    pl_give(&x->ctx->memory, index);
    return y;
}

static pleat_tensor *pad(const mode *m, pleat_edge_pad_args a) {
    ptrdiff_t pads[4];
    if (a.x == NULL || a.x->poison) return pleat_poison(pleat_ctx_of(a.x));
    if (a.x->rank < 2) return pl_reject(a.x, m->op, PLEAT_ERR_SHAPE, "x must be [..,H,W], of rank 2 or more");
    if (!pl_pads(a.x->ctx, m->op, a.pad, a.pads, pads)) return pleat_poison(a.x->ctx);
    for (size_t k = 0; k < 4; k++)
        if (!pad_fits(m, a.x, k % 2, pads[k])) return pleat_poison(a.x->ctx);
    return pad_axis(m, pad_axis(m, a.x, 0, pads[0], pads[2]), 1, pads[1], pads[3]);
}

pleat_tensor *pleat_reflection_pad2d_with(pleat_edge_pad_args args) {
    static const mode m = {"reflection_pad2d", reflected, true};
    return pad(&m, args);
}

pleat_tensor *pleat_replication_pad2d_with(pleat_edge_pad_args args) {
    static const mode m = {"replication_pad2d", replicated, false};
    return pad(&m, args);
}

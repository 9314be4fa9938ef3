/* reshape, contiguous, detach: the same elements with another shape, with row-major strides, without history.
 * Law: reshape(reshape(x, s), shape of x) = x. */
#include <string.h>

#include "core/core.h"

/* ---- contiguous ------------------------------------------------------------------------------------------ */

static bool copy_forward(const pleat_call *c) {
    pl_copy(c->out, c->in[0]);
    return true;
}

static pleat_tensor *copy_vjp(const pleat_call *c, size_t i, pleat_tensor *g) {
    (void)c, (void)i;
    return g;
}

static const pleat_op contiguous_op = {"contiguous", pl_shape_same, copy_forward, copy_vjp,
                                       NULL,         &pl_own,       NULL};

pleat_tensor *pleat_contiguous(pleat_tensor *x) {
    return pleat_is_contiguous(x) ? x : pleat_apply(&contiguous_op, 1, &x, NULL, 0);
}

/* ---- reshape --------------------------------------------------------------------------------------------- */

typedef struct wish {
    size_t rank;
    size_t shape[PLEAT_MAX_RANK];
} wish;

/* The product of the sizes other than PLEAT_REST (SIZE_MAX on overflow), and the number of PLEAT_REST
 * axes. */
static size_t known_elements(const wish *w, size_t *rests) {
    size_t known = 1;
    *rests = 0;
    for (size_t i = 0; i < w->rank; i++) {
        if (w->shape[i] == PLEAT_REST) {
            ++*rests;
        } else if (!pl_mul_ok(known, w->shape[i], &known)) {
            return SIZE_MAX;
        }
    }
    return known;
}

static size_t reshape_attributes(const pleat_call *c, pleat_attr *out) {
    out[0] = pl_attr_whole("shape", c->rank, c->shape, false);
    return 1;
}

static bool reshape_shape(pleat_call *c) {
    const wish *w = c->attrs;
    size_t numel = c->in[0]->numel, rests;
    if (w->rank > PLEAT_MAX_RANK) {
        return pleat_call_fail(c, PLEAT_ERR_SHAPE, "rank %zu: a tensor has at most %d axes", w->rank,
                               PLEAT_MAX_RANK);
    }
    size_t known = known_elements(w, &rests);
    bool fits = rests == 0 ? known == numel : rests == 1 && known != 0 && numel % known == 0;
    if (!fits) {
        return pleat_call_fail(c, PLEAT_ERR_SHAPE, "%zu elements do not fill the wanted shape %s%s", numel,
                               pl_shape_phrase(w->rank, w->shape).text,
                               rests > 1 ? ", and only one size may be PLEAT_REST" : "");
    }
    pl_call_shape(c, w->rank, w->shape);
    for (size_t i = 0; i < w->rank; i++) {
        if (c->shape[i] == PLEAT_REST) c->shape[i] = numel / known;
    }
    pl_row_major(c->rank, c->shape, c->stride);
    return true;
}

static pleat_tensor *reshape_vjp(const pleat_call *c, size_t i, pleat_tensor *g) {
    return pleat_reshape(g, c->in[i]->rank, c->in[i]->shape);
}

static const pleat_op reshape_op = {"reshape",          reshape_shape, NULL, reshape_vjp,
                                    reshape_attributes, &pl_own,       NULL};

pleat_tensor *pleat_reshape(pleat_tensor *x, size_t rank, const size_t *shape) {
    if (rank > 0 && shape == NULL) return pl_null(x, "reshape", "the shape");
    pleat_tensor *dense = pleat_contiguous(x);
    wish w = {.rank = rank};
    for (size_t i = 0; i < rank && i < PLEAT_MAX_RANK; i++) w.shape[i] = shape[i];
    return pleat_apply(&reshape_op, 1, &dense, &w, sizeof w);
}

/* ---- detach ---------------------------------------------------------------------------------------------- */

static bool detach_shape(pleat_call *c) {
    pl_call_shape(c, c->in[0]->rank, c->in[0]->shape);
    memcpy(c->stride, c->in[0]->stride, c->rank * sizeof *c->stride);
    return true;
}

static const pleat_op detach_op = {"detach", detach_shape, NULL, pl_zero_vjp, NULL, &pl_own, NULL};

/* No call, which would be history; but a function that is prepared is the list of its calls. */
pleat_tensor *pleat_detach(pleat_tensor *x) {
    if (pleat_is_poison(x)) return pleat_poison(pleat_ctx_of(x));
    if (x->ctx->trace != NULL) return pleat_apply(&detach_op, 1, &x, NULL, 0);
    return pl_tensor_view(x, "detach", x->rank, x->shape, x->stride, 0);
}

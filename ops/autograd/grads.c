/* Reverse mode. The recorded calls between the xs and y are sorted topologically and visited backwards from
 * y. Cotangents are values that the rules return; each is released as soon as it has been passed on. A walk
 * that consumes releases each call then, too. */
#include <string.h>

#include "core/core.h"

/* One tensor of the walk from y to the xs. */
typedef struct stop {
    pleat_tensor *tensor;    /* retained; NULL if it was consumed */
    pleat_tensor *cotangent; /* the sum of the contributions so far, retained; NULL is zero */
    bool needed;             /* depends on an x, or is one */
    bool passed;             /* an input of its call is needed */
    bool wanted;             /* is one of the xs: its cotangent is a result */
} stop;

/* What is done with the results: they are stored, or each is shown when it is complete. */
typedef struct results {
    size_t n;
    pleat_tensor *const *xs;
    pleat_tensor **gxs; /* or: */
    bool (*each)(void *user, size_t i, pleat_tensor *g);
    void *user;
    size_t *slots; /* of the xs; SIZE_MAX: y does not depend on it */
} results;

typedef struct walk {
    pleat_ctx *ctx;
    stop *stops; /* inputs before results */
    size_t count, capacity;
    pleat_tensor **path; /* the stack of the depth-first search, */
    size_t *child;       /* and for each tensor on it the next input to visit */
    /* the stops of the inputs of each stop; not their slots, as a rule may start another walk */
    size_t *edges;
    size_t depth, path_capacity, edge_count;
    bool consume, strict;
    results to;
} walk;

/* ---- order ---------------------------------------------------------------------------------------------- */

static bool grow(walk *w, void **block, size_t *capacity, size_t element) {
    size_t more = *capacity == 0 ? 64 : 2 * *capacity;
    void *larger = pl_take(&w->ctx->memory, more * element);
    if (larger == NULL) return false;
    if (*block != NULL) memcpy(larger, *block, *capacity * element);
    pl_give(&w->ctx->memory, *block);
    *block = larger;
    *capacity = more;
    return true;
}

static bool enter(walk *w, pleat_tensor *t) {
    if (w->depth == w->path_capacity) {
        size_t same = w->path_capacity;
        if (!grow(w, (void **)&w->path, &same, sizeof *w->path)) return false;
        if (!grow(w, (void **)&w->child, &w->path_capacity, sizeof *w->child)) return false;
    }
    t->mark = w->ctx->walks;
    t->slot = SIZE_MAX;
    w->path[w->depth] = t;
    w->child[w->depth++] = 0;
    return true;
}

static bool leave(walk *w) {
    pleat_tensor *t = w->path[--w->depth];
    if (w->count == w->capacity && !grow(w, (void **)&w->stops, &w->capacity, sizeof *w->stops)) return false;
    t->slot = w->count;
    w->stops[w->count++] = (stop){.tensor = pl_retain(t)};
    return true;
}

/* Depth-first search from y: a tensor comes after all its inputs. */
static bool order_from(walk *w, pleat_tensor *y) {
    w->ctx->walks++;
    if (!enter(w, y)) return false;
    while (w->depth > 0) {
        pleat_tensor *t = w->path[w->depth - 1];
        size_t i = w->child[w->depth - 1]++;
        if (t->call == NULL || i >= t->call->n) {
            if (!leave(w)) return false;
        } else if (t->call->in[i]->mark != w->ctx->walks) {
            if (!enter(w, t->call->in[i])) return false;
        }
    }
    return true;
}

static bool note_edges(walk *w) {
    size_t total = 0;
    for (size_t k = 0; k < w->count; k++) total += w->stops[k].tensor->call ? w->stops[k].tensor->call->n : 0;
    w->edges = pl_take(&w->ctx->memory, (total + 1) * sizeof *w->edges);
    if (w->edges == NULL) return false;
    for (size_t k = 0; k < w->count; k++) {
        const pleat_call *c = w->stops[k].tensor->call;
        for (size_t i = 0; c != NULL && i < c->n; i++) {
            size_t below = c->in[i]->slot;
            w->edges[w->edge_count++] = below;
            if (w->stops[below].needed) w->stops[k].needed = w->stops[k].passed = true;
        }
    }
    return true;
}

/* Report it if a part of the history is gone: the gradient would be wrong in silence. */
static bool is_whole(const walk *w) {
    for (size_t k = w->count; k-- > 0;) {
        const pleat_tensor *t = w->stops[k].tensor;
        if (!t->consumed) continue;
        pleat_fail(w->ctx, PLEAT_ERR_GRADIENT, "grads",
                   "the history of a tensor %s behind y is gone: an earlier walk, such as that of "
                   "pleat_nn_step, has consumed it; compute y anew, or from pleat_detach of the tensor",
                   pl_shape_of(t).text);
        return false;
    }
    return true;
}

static void mark_wanted(walk *w) {
    for (size_t i = 0; i < w->to.n; i++) {
        pleat_tensor *x = w->to.xs[i];
        w->to.slots[i] = x->mark == w->ctx->walks ? x->slot : SIZE_MAX;
        if (w->to.slots[i] != SIZE_MAX) w->stops[x->slot].wanted = w->stops[x->slot].needed = true;
    }
}

/* ---- the walk ------------------------------------------------------------------------------------------- */

static bool no_memory(pleat_ctx *ctx) {
    pleat_fail(ctx, PLEAT_ERR_MEMORY, "grads", "no memory to walk the recorded calls");
    return false;
}

/* Add g to the cotangent of a stop. */
static void collect(stop *s, pleat_tensor *g) {
    pleat_tensor *sum = pl_retain(s->cotangent == NULL ? g : pleat_add(s->cotangent, g));
    if (s->cotangent != NULL) pl_release(s->cotangent);
    s->cotangent = sum;
}

/* Is g a valid cotangent of tensor i of c? */
static bool cotangent_fits(const pleat_call *c, size_t i, const pleat_tensor *g) {
    if (g->poison) {
        return pleat_call_fail(c, PLEAT_ERR_GRADIENT, "the rule's cotangent of tensor %zu is poison", i);
    }
    if (pl_is_stale(g)) return pl_fail_stale(g);
    if (g->ctx == c->ctx && g->dtype == c->in[i]->dtype && pl_same_shape(g, c->in[i])) return true;
    return pleat_call_fail(
        c, PLEAT_ERR_GRADIENT,
        "the rule's cotangent of tensor %zu is %s: it must have the tensor's shape and type", i,
        pl_shape_of(g).text);
}

/* Pass stop k's cotangent to the inputs of its call. */
static bool hand_to_inputs(walk *w, size_t k, const size_t *edges) {
    const pleat_call *c = w->stops[k].tensor->call;
    for (size_t i = 0; i < c->n; i++) {
        stop *below = &w->stops[edges[i]];
        if (!below->needed) continue;
        if (c->op->vjp == NULL) {
            return pleat_call_fail(c, PLEAT_ERR_GRADIENT, "the op has no gradient rule (vjp) for tensor %zu",
                                   i);
        }
        pleat_scope scratch = pleat_begin(w->ctx);
        pleat_tensor *g = c->op->vjp(c, i, w->stops[k].cotangent);
        if (g != NULL && cotangent_fits(c, i, g)) collect(below, g);
        pleat_end(scratch);
        if (w->ctx->error.code == PLEAT_OK) continue;
        /* the rule's ops, or a walk that it has started, count other inputs than the xs */
        w->ctx->error.input = PLEAT_NO_INPUT;
        return false;
    }
    return true;
}

/* The same, while the rule is known to pleat_apply. A tensor that was written since is an error if the rule
 * applies an op to it, and none if the rule needs its shape alone. */
static bool hand_down(walk *w, size_t k, const size_t *edges) {
    const pleat_call *outer = w->ctx->rule;
    pleat_tensor *shared = w->ctx->shared;
    w->ctx->rule = w->stops[k].tensor->call;
    w->ctx->shared = NULL;
    bool done = hand_to_inputs(w, k, edges);
    if (w->ctx->shared != NULL) pl_release(w->ctx->shared);
    w->ctx->rule = outer;
    w->ctx->shared = shared;
    return done;
}

/* The inputs of the call are stops that are still to come, or leaves. */
static void consume(stop *s) {
    if (s->passed) pl_consume(s->tensor);
    pl_release(s->tensor);
    s->tensor = NULL;
}

/* A result is a contiguous tensor of the innermost scope, a separate one for each x. */
static pleat_tensor *result_of(const walk *w, pleat_tensor *x, pleat_tensor *g) {
    if (g == NULL) return pleat_zeros_like(x);
    if (!pleat_is_contiguous(g)) return pleat_contiguous(g);
    if (g->refs != 1 || g->list != PL_NOWHERE) return pleat_reshape(g, g->rank, g->shape);
    pl_list(pl_retain(g), w->ctx->open - 1);
    return g;
}

/* Show the result for x i; g NULL: zeros. */
static bool show(walk *w, size_t i, pleat_tensor *g) {
    pleat_scope scratch = pleat_begin(w->ctx);
    pleat_tensor *whole = result_of(w, w->to.xs[i], g);
    bool done = !whole->poison && w->to.each(w->to.user, i, whole);
    pleat_end(scratch);
    if (!done && w->ctx->error.code == PLEAT_OK)
        pleat_fail(w->ctx, PLEAT_ERR_ARGUMENT, "grads_each", "the function for x %zu returned false", i);
    return w->ctx->error.code == PLEAT_OK;
}

/* Stop k has its last contribution: show it as the result of each x that it is. */
static bool show_stop(walk *w, size_t k) {
    stop *s = &w->stops[k];
    if (!s->wanted || s->cotangent == NULL) return true;
    for (size_t i = 0; i < w->to.n; i++)
        if (w->to.slots[i] == k && !show(w, i, s->cotangent)) return false;
    s->wanted = false;
    return true;
}

static bool walk_back(walk *w) {
    size_t edge = w->edge_count;
    for (size_t k = w->count; k-- > 0;) {
        stop *s = &w->stops[k];
        if (w->to.each != NULL && !show_stop(w, k)) return false;
        if (s->tensor->call != NULL) {
            edge -= s->tensor->call->n;
            if (s->needed && s->cotangent != NULL && !hand_down(w, k, w->edges + edge)) return false;
            if (w->consume) consume(s);
        }
        if (s->wanted || s->cotangent == NULL) continue;
        pl_release(s->cotangent);
        s->cotangent = NULL;
    }
    return true;
}

/* Report that y does not depend on x i, and what may be the reason; false. */
static bool independent(const walk *w, size_t i, const pleat_tensor *x) {
    const pleat_tensor *lost = NULL; /* the last one without a history that it could have */
    for (size_t k = w->count; k-- > 0 && lost == NULL;)
        if (w->stops[k].tensor != NULL && w->stops[k].tensor->unrecorded) lost = w->stops[k].tensor;
    pleat_fail(w->ctx, PLEAT_ERR_GRADIENT, "grads", "y does not depend on x %zu %s%s%s%s", i,
               pl_shape_of(x).text, lost == NULL ? "" : "; a tensor ",
               lost == NULL ? "" : pl_shape_of(lost).text,
               lost == NULL ? "" : " behind y was computed while recording was off");
    w->ctx->error.input = i;
    return false;
}

/* Known before the walk, so that a mistake consumes nothing. */
static bool all_reached(const walk *w) {
    for (size_t i = 0; i < w->to.n; i++)
        if (w->to.slots[i] == SIZE_MAX) return independent(w, i, w->to.xs[i]);
    return true;
}

/* Store all results, or show those that the walk has not. */
static bool hand_out(walk *w) {
    for (size_t i = 0; i < w->to.n; i++) {
        const stop *s = w->to.slots[i] == SIZE_MAX ? NULL : &w->stops[w->to.slots[i]];
        pleat_tensor *x = w->to.xs[i], *g = s == NULL ? NULL : s->cotangent;
        if (w->to.each != NULL && s != NULL && !s->wanted) continue;
        if (g == NULL && w->strict) return independent(w, i, x);
        if (w->to.each != NULL) {
            if (!show(w, i, g)) return false;
            continue;
        }
        w->to.gxs[i] = result_of(w, x, g);
        if (w->to.gxs[i]->poison) return false;
    }
    return true;
}

static void walk_free(walk *w) {
    for (size_t k = 0; k < w->count; k++) {
        if (w->stops[k].cotangent != NULL) pl_release(w->stops[k].cotangent);
        if (w->stops[k].tensor != NULL) pl_release(w->stops[k].tensor);
    }
    pl_memory *m = &w->ctx->memory;
    pl_give(m, w->stops);
    pl_give(m, w->path);
    pl_give(m, w->child);
    pl_give(m, w->edges);
    pl_give(m, w->to.slots);
}

/* ---- the verb ------------------------------------------------------------------------------------------- */

static bool fail(pleat_ctx *ctx, pleat_status code, const char *text) {
    pleat_fail(ctx, code, "grads", "%s", text);
    return false;
}

static bool arguments_are_fine(pleat_tensor *y, pleat_tensor *gy, size_t n, pleat_tensor *const *xs) {
    pleat_ctx *ctx = y->ctx;
    for (size_t i = 0; i < n; i++) {
        const char *wrong = NULL;
        if (xs[i] == NULL || xs[i]->ctx != ctx)
            wrong = "an x is a null pointer or belongs to another context";
        else if (pleat_is_poison(xs[i]))
            wrong = "an x is poison";
        if (wrong == NULL) continue;
        fail(ctx, PLEAT_ERR_ARGUMENT, wrong);
        ctx->error.input = i;
        return false;
    }
    if (gy == NULL && y->numel != 1) {
        pleat_fail(ctx, PLEAT_ERR_SHAPE, "grads",
                   "y is %s: without gy it must have one element, such as a loss", pl_shape_of(y).text);
        return false;
    }
    if (gy == NULL) return true;
    if (pleat_is_poison(gy) || gy->ctx != ctx)
        return fail(ctx, PLEAT_ERR_ARGUMENT, "gy is poison or of another context");
    if (!pl_same_shape(gy, y) || gy->dtype != y->dtype) {
        pleat_fail(ctx, PLEAT_ERR_SHAPE, "grads", "gy is %s: it must have y's shape %s and type",
                   pl_shape_of(gy).text, pl_shape_of(y).text);
        return false;
    }
    return true;
}

static bool flags_are_fine(pleat_ctx *ctx, unsigned flags) {
    if (!(flags & PLEAT_GRADS_CONSUME)) return true;
    if (flags & PLEAT_GRADS_RECORD)
        return fail(ctx, PLEAT_ERR_ARGUMENT, "a gradient that is recorded needs the calls that are consumed");
    return ctx->rule == NULL ||
           fail(ctx, PLEAT_ERR_ARGUMENT, "a gradient rule must not consume the calls that it runs for");
}

static bool run(walk *w, pleat_tensor *y, pleat_tensor *gy) {
    w->to.slots = pl_take(&w->ctx->memory, (w->to.n + 1) * sizeof *w->to.slots);
    if (w->to.slots == NULL || !order_from(w, y)) return no_memory(w->ctx);
    mark_wanted(w);
    if (!is_whole(w) || (w->strict && !all_reached(w))) return false;
    if (!note_edges(w)) return no_memory(w->ctx);
    pleat_tensor *ones = gy != NULL ? gy : pleat_full_like(y, 1);
    w->stops[w->count - 1].cotangent = pl_retain(ones);
    if (gy == NULL) pleat_drop(ones);
    return !ones->poison && walk_back(w) && hand_out(w);
}

static pleat_status find_grads(pleat_tensor *y, pleat_tensor *gy, unsigned flags, results to) {
    pleat_ctx *ctx = pleat_ctx_of(y);
    if (ctx == NULL) return PLEAT_ERR_ARGUMENT;
    if (ctx->error.code != PLEAT_OK) return ctx->error.code;
    if (pleat_is_poison(y)) return pleat_fail(ctx, PLEAT_ERR_ARGUMENT, "grads", "y is poison");
    if (!arguments_are_fine(y, gy, to.n, to.xs) || !flags_are_fine(ctx, flags)) return ctx->error.code;
    walk w = {.ctx = ctx,
              .consume = (flags & PLEAT_GRADS_CONSUME) != 0,
              .strict = (flags & PLEAT_GRADS_STRICT) != 0,
              .to = to};
    bool was = pleat_set_recording(ctx, (flags & PLEAT_GRADS_RECORD) != 0);
    bool done = run(&w, y, gy);
    walk_free(&w);
    pleat_set_recording(ctx, was);
    return done ? PLEAT_OK : ctx->error.code;
}

pleat_status pleat_grads(pleat_tensor *y, pleat_tensor *gy, size_t n, pleat_tensor *const *xs,
                         pleat_tensor **gxs, unsigned flags) {
    for (size_t i = 0; i < n; i++) gxs[i] = pleat_poison(pleat_ctx_of(y));
    pleat_status status = find_grads(y, gy, flags, (results){.n = n, .xs = xs, .gxs = gxs});
    for (size_t i = 0; status != PLEAT_OK && i < n; i++) gxs[i] = pleat_poison(pleat_ctx_of(y));
    return status;
}

pleat_status pleat_grads_each(pleat_tensor *y, pleat_tensor *gy, size_t n, pleat_tensor *const *xs,
                              bool (*each)(void *user, size_t i, pleat_tensor *g), void *user,
                              unsigned flags) {
    if (each == NULL) return pleat_fail(pleat_ctx_of(y), PLEAT_ERR_ARGUMENT, "grads_each", "each is NULL");
    return find_grads(y, gy, flags, (results){.n = n, .xs = xs, .each = each, .user = user});
}

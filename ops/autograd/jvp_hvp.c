/* Products with the Jacobian and the Hessian, by two walks backwards. The law: <u, J v> = <J^T u, v>. The
 * gradient J^T u is linear in u, and its gradient along v with respect to u is J v; no op needs a rule of
 * forward mode. */
#include "core/core.h"

/* ---- pair: a scalar that hands v to g ---------------------------------------------------------------------- */
/* <g_0, v_0> + <g_1, v_1> + ..., as far as its gradient with respect to the g goes. The v count as constants,
 * also where they depend on the same xs; a recorded gradient still depends on them. Nobody reads the
 * value. */

static bool pair_shape(pleat_call *c) {
    c->rank = 0;
    return true;
}

static bool pair_forward(const pleat_call *c) {
    if (c->dtype == PLEAT_F64)
        *(double *)c->out->data = 0;
    else
        *(float *)c->out->data = 0;
    return true;
}

static pleat_tensor *pair_vjp(const pleat_call *c, size_t i, pleat_tensor *g) {
    return i < c->n / 2 ? pleat_mul(g, c->in[i + c->n / 2]) : NULL;
}

static const pleat_op pair_op = {
    .name = "pair", .shape = pair_shape, .forward = pair_forward, .vjp = pair_vjp, .traits = &pl_own};

/* ---- both products ----------------------------------------------------------------------------------------- */

typedef struct product {
    const char *name;
    pleat_ctx *ctx;
    size_t n;
    pleat_tensor *const *xs, *const *vs;
    unsigned flags;
} product;

static bool vectors_fit(const product *p, const pleat_tensor *y) {
    if (p->ctx->error.code != PLEAT_OK) return false;
    if (pleat_is_poison(y)) return pleat_fail(p->ctx, PLEAT_ERR_ARGUMENT, p->name, "y is poison") == PLEAT_OK;
    for (size_t i = 0; i < p->n; i++) {
        const pleat_tensor *x = p->xs[i], *v = p->vs[i];
        if (pleat_is_poison(x) || pleat_is_poison(v) || x->ctx != p->ctx || v->ctx != p->ctx) {
            pleat_fail(p->ctx, PLEAT_ERR_ARGUMENT, p->name,
                       "x %zu or v %zu is a null pointer, poison, or of another context", i, i);
        } else if (!pl_same_shape(v, x) || v->dtype != x->dtype) {
            pleat_fail(p->ctx, PLEAT_ERR_SHAPE, p->name,
                       "v %zu is %s: it must have the shape %s and type of x %zu", i, pl_shape_of(v).text,
                       pl_shape_of(x).text, i);
        } else {
            continue;
        }
        p->ctx->error.input = i;
        return false;
    }
    return true;
}

/* The gradients of <gradient of <y, u>, v> with respect to `m` tensors; u NULL is 1. */
static bool differentiate(const product *p, pleat_tensor *y, pleat_tensor *u, size_t m,
                          pleat_tensor *const *to, pleat_tensor **results) {
    pleat_tensor **in = pl_take(&p->ctx->memory, (2 * p->n + 1) * sizeof(pleat_tensor *));
    if (in == NULL) {
        pleat_fail(p->ctx, PLEAT_ERR_MEMORY, p->name, "no memory for %zu gradients", p->n);
        return false;
    }
    bool done = pleat_grads(y, u, p->n, p->xs, in, p->flags | PLEAT_GRADS_RECORD) == PLEAT_OK;
    if (done) {
        for (size_t i = 0; i < p->n; i++) in[p->n + i] = p->vs[i];
        pleat_dtype widest = PLEAT_F32;
        for (size_t i = 0; i < p->n; i++) widest = in[i]->dtype == PLEAT_F64 ? PLEAT_F64 : widest;
        for (size_t i = 0; i < 2 * p->n; i++) in[i] = pleat_cast(in[i], widest);
        pleat_tensor *s = p->n == 0 ? pleat_zeros(p->ctx, y->dtype, PLEAT_SCALAR)
                                    : pleat_apply(&pair_op, 2 * p->n, in, NULL, 0);
        done = pleat_grads(s, NULL, m, to, results, p->flags & PLEAT_GRADS_RECORD) == PLEAT_OK;
    }
    pl_give(&p->ctx->memory, in);
    return done;
}

pleat_tensor *pleat_jvp(pleat_tensor *y, size_t n, pleat_tensor *const *xs, pleat_tensor *const *vs,
                        unsigned flags) {
    product p = {.name = "jvp", .ctx = pleat_ctx_of(y), .n = n, .xs = xs, .vs = vs, .flags = flags};
    if (p.ctx == NULL || !vectors_fit(&p, y)) return pleat_poison(p.ctx);
    bool was = pleat_set_recording(p.ctx, true);
    pleat_scope scope = pleat_begin(p.ctx);
    pleat_tensor *u = pleat_zeros_like(y), *jv;
    bool done = differentiate(&p, y, u, 1, &u, &jv);
    if (done) pleat_keep(jv);
    pleat_end(scope);
    pleat_set_recording(p.ctx, was);
    return done ? jv : pleat_poison(p.ctx);
}

pleat_status pleat_hvp(pleat_tensor *y, size_t n, pleat_tensor *const *xs, pleat_tensor *const *vs,
                       pleat_tensor **hvs, unsigned flags) {
    product p = {.name = "hvp", .ctx = pleat_ctx_of(y), .n = n, .xs = xs, .vs = vs, .flags = flags};
    for (size_t i = 0; i < n; i++) hvs[i] = pleat_poison(p.ctx);
    if (p.ctx == NULL) return PLEAT_ERR_ARGUMENT;
    if (!vectors_fit(&p, y)) return p.ctx->error.code;
    bool was = pleat_set_recording(p.ctx, true);
    pleat_scope scope = pleat_begin(p.ctx);
    bool done = differentiate(&p, y, NULL, n, xs, hvs);
    for (size_t i = 0; done && i < n; i++) pleat_keep(hvs[i]);
    pleat_end(scope);
    pleat_set_recording(p.ctx, was);
    for (size_t i = 0; !done && i < n; i++) hvs[i] = pleat_poison(p.ctx);
    return done ? PLEAT_OK : p.ctx->error.code;
}

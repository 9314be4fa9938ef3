/* pleat_apply, the entry of every op: check the inputs, run the shape rule, create the result, compute and
 * record it. */
#include <stdio.h>
#include <string.h>

#include "core/core.h"

const pl_traits pl_own = {NULL, NULL}, pl_element_wise = {pl_alike_blocked, NULL};

bool pleat_op_is_known(const pleat_op *op) { return op != NULL && op->traits != NULL; }

static pleat_ctx *context_of(size_t n, pleat_tensor *const *in) {
    for (size_t i = 0; i < n; i++) {
        if (in[i] != NULL && in[i]->ctx != NULL) return in[i]->ctx;
    }
    return NULL;
}

bool pl_is_stale(const pleat_tensor *t) {
    const pleat_call *rule = t->ctx->rule;
    for (size_t i = 0; rule != NULL && i <= rule->n; i++)
        if (t == (i < rule->n ? rule->in[i] : rule->out) && t->storage->version != pl_versions(rule)[i])
            return true;
    return false;
}

bool pl_fail_stale(const pleat_tensor *t) {
    const pleat_call *rule = t->ctx->rule;
    char call[160], what[32] = "its result";
    for (size_t i = rule->n; rule->out != t && i-- > 0;)
        if (rule->in[i] == t) snprintf(what, sizeof what, "its tensor %zu", i);
    pleat_fail(
        t->ctx, PLEAT_ERR_GRADIENT, "grads",
        "the gradient of %s needs %s, which was written in place after the call, by %s; compute the gradient "
        "before, or write to a copy; to read, take pleat_const_f32 or pleat_const_f64",
        pleat_call_text(rule, call, sizeof call), what, t->storage->writer);
    return false;
}

/* A dead tensor is reported; poison always has been. False. */
static bool known_poison(const pleat_call *c, size_t i) {
    char what[32];
    snprintf(what, sizeof what, "tensor %zu", i);
    if (c->in[i]->dead) pl_fail_dead(c->in[i], c->op->name, what);
    return false;
}

/* False if the result must be poison: after a new error, or because input i is poison. */
static bool input_is_fine(const pleat_call *c, size_t i) {
    const pleat_tensor *t = c->in[i];
    if (t == NULL) {
        pleat_fail(c->ctx, PLEAT_ERR_ARGUMENT, c->op->name, "tensor %zu is a null pointer", i);
        return false;
    }
    if (t->ctx != c->ctx) {
        return pleat_call_fail(c, PLEAT_ERR_ARGUMENT, "tensor %zu%s belongs to another context", i,
                               t->poison ? " is poison and" : "");
    }
    if (t->poison) return known_poison(c, i);
    if (pl_is_stale(t)) return pl_fail_stale(t);
    if (t->dtype == c->in[0]->dtype) return true;
    return pleat_call_fail(c, PLEAT_ERR_DTYPE, "tensor 0 is %s and tensor %zu is %s; pleat_cast converts",
                           c->in[0]->dtype == PLEAT_F32 ? "f32" : "f64", i,
                           t->dtype == PLEAT_F32 ? "f32" : "f64");
}

static bool inputs_are_fine(const pleat_call *c) {
    bool clean = c->ctx->error.code == PLEAT_OK;
    for (size_t i = 0; i < c->n; i++) {
        if (input_is_fine(c, i)) continue;
        if (clean && c->ctx->error.code != PLEAT_OK) c->ctx->error.input = i;
        return false;
    }
    return true;
}

/* Record the call in its result. The call, its inputs, their versions and attrs share one block. */
static bool record(const pleat_call *c, size_t attrs_bytes) {
    size_t head = pl_up_to_16(sizeof(pleat_call)), list = pl_up_to_16(c->n * sizeof *c->in);
    list += pl_up_to_16((c->n + 1) * sizeof(uint64_t));
    pleat_call *call = pl_take(&c->ctx->memory, head + list + attrs_bytes);
    if (call == NULL) {
        pleat_fail(c->ctx, PLEAT_ERR_MEMORY, c->op->name, "no memory to record the call");
        return false;
    }
    *call = *c;
    call->in = (pleat_tensor **)(void *)((char *)call + head);
    call->attrs = attrs_bytes > 0 ? (char *)call + head + list : NULL;
    uint64_t *versions = pl_versions(call);
    for (size_t i = 0; i < c->n; i++) {
        call->in[i] = pl_retain(c->in[i]);
        versions[i] = c->in[i]->storage->version;
    }
    versions[c->n] = c->out->storage->version;
    if (attrs_bytes > 0) memcpy((char *)call + head + list, c->attrs, attrs_bytes);
    c->out->call = call;
    return true;
}

static pleat_tensor *result(const pleat_call *c) {
    if (c->op->forward == NULL)
        return pl_tensor_view(c->in[0], c->op->name, c->rank, c->shape, c->stride, c->offset);
    return pl_tensor_new(c->ctx, c->op->name, c->dtype, c->rank, c->shape);
}

/* Poison always has an error. If the op has reported one, that one is kept. */
static pleat_tensor *unexplained(const pleat_call *c, const char *what) {
    pleat_call_fail(c, PLEAT_ERR_ARGUMENT, "%s without giving a reason", what);
    return pleat_poison(c->ctx);
}

/* What a forward function calls is no part of a function that is being prepared. */
static bool compute(const pleat_call *c) {
    pleat_prepared *trace = c->ctx->trace;
    c->ctx->trace = NULL;
    bool done = c->op->forward == NULL || c->op->forward(c);
    c->ctx->trace = trace;
    return done;
}

static bool take_down(const pleat_call *c, size_t attrs_bytes) {
    return (!c->ctx->recording || record(c, attrs_bytes)) &&
           (c->ctx->trace == NULL || pl_trace_call(c, attrs_bytes));
}

pleat_tensor *pleat_apply(const pleat_op *op, size_t n, pleat_tensor *const *in, const void *attrs,
                          size_t attrs_bytes) {
    pleat_ctx *ctx = context_of(n, in);
    pleat_call c = {.op = op, .ctx = ctx, .n = n, .in = (pleat_tensor **)in, .attrs = attrs};
    if (ctx == NULL || !inputs_are_fine(&c)) return pleat_poison(ctx);
    c.dtype = in[0]->dtype;
    if (!op->shape(&c)) return unexplained(&c, "the op refused");
    c.out = result(&c);
    if (c.out->poison) return c.out;
    c.out->unrecorded = !ctx->recording;
    if (ctx->debug) pleat_call_text(&c, c.out->story->made_by, sizeof c.out->story->made_by);
    if (compute(&c) && take_down(&c, attrs_bytes)) return c.out;
    pleat_drop(c.out);
    return unexplained(&c, "the op failed");
}

pleat_tensor *pl_apply_two(const pleat_op *op, pleat_tensor *x, pleat_tensor *y) {
    return pleat_apply(op, 2, (pleat_tensor *[]){x, y}, NULL, 0);
}

pleat_tensor *pl_null(const pleat_tensor *x, const char *op, const char *what) {
    if (!pleat_is_poison(x)) pleat_fail(x->ctx, PLEAT_ERR_ARGUMENT, op, "%s is a null pointer", what);
    return pleat_poison(pleat_ctx_of(x));
}

/* ---- rules that several ops share ---------------------------------------------------------------------- */

pleat_tensor *pl_zero_vjp(const pleat_call *c, size_t i, pleat_tensor *g) {
    (void)c, (void)i, (void)g;
    return NULL;
}

void pl_call_shape(pleat_call *c, size_t rank, const size_t *shape) {
    c->rank = rank;
    for (size_t i = 0; i < rank; i++) c->shape[i] = shape[i];
}

bool pl_shape_same(pleat_call *c) {
    pl_call_shape(c, c->in[0]->rank, c->in[0]->shape);
    return true;
}

bool pl_shape_broadcast(pleat_call *c) {
    const pleat_tensor *a = c->in[0], *b = c->in[1];
    c->rank = a->rank > b->rank ? a->rank : b->rank;
    for (size_t k = 0; k < c->rank; k++) {
        size_t m = pl_size_from_end(a, k), n = pl_size_from_end(b, k);
        if (m != n && m != 1 && n != 1) {
            return pleat_call_fail(c, PLEAT_ERR_SHAPE,
                                   "sizes %zu and %zu on axis %zu from the end: equal, or one of them 1", m,
                                   n, k + 1);
        }
        c->shape[c->rank - 1 - k] = m == 1 ? n : m;
    }
    return true;
}

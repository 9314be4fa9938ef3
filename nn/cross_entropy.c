/* Cross-entropy of a softmax, with class numbers or probabilities: pick takes from each row the element at
 * its label, spread is its adjoint. Law: the loss of labels is the loss of their one-hot tensor. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "elements.h"
#include "files/numbers.h"
#include "losses.h"

static const char loss_name[] = "cross_entropy_loss";

/* ---- pick and spread ----------------------------------------------------------------------------------- */

/* Their attributes. A call copies them, so the labels of a batch may be gone when a gradient is made. */
typedef struct classes {
    size_t K, n;
    size_t label[]; /* n of them, each less than K */
} classes;

static size_t bytes_of(size_t n) { return sizeof(classes) + n * sizeof(size_t); }

static pleat_tensor *apply(const pleat_op *op, pleat_tensor *x, const classes *attrs) {
    return pleat_apply(op, 1, (pleat_tensor *[]){pleat_contiguous(x)}, attrs, bytes_of(attrs->n));
}

static size_t attributes(const pleat_call *c, pleat_attr *out) {
    const classes *a = c->attrs;
    out[0] = (pleat_attr){.name = "classes", .count = 1, .whole = {(ptrdiff_t)a->K}};
    out[1] = (pleat_attr){.name = "labels", .count = a->n, .list = a->label};
    return 2;
}

static bool shape_without_classes(pleat_call *c) {
    c->rank = pleat_rank(c->in[0]) - 1;
    for (size_t i = 0; i < c->rank; i++) c->shape[i] = pleat_size(c->in[0], i);
    return true;
}

static bool shape_with_classes(pleat_call *c) {
    c->rank = pleat_rank(c->in[0]) + 1;
    for (size_t i = 0; i + 1 < c->rank; i++) c->shape[i] = pleat_size(c->in[0], i);
    c->shape[c->rank - 1] = ((const classes *)c->attrs)->K;
    return true;
}

static bool pick_forward(const pleat_call *c) {
    const classes *a = c->attrs;
    const char *in = pln_const_elements(c->in[0]);
    char *out = pleat_write_now(c->out, loss_name);
    size_t bytes = c->dtype == PLEAT_F32 ? sizeof(float) : sizeof(double);
    for (size_t i = 0; i < a->n; i++) memcpy(out + i * bytes, in + (i * a->K + a->label[i]) * bytes, bytes);
    return true;
}

static bool spread_forward(const pleat_call *c) {
    const classes *a = c->attrs;
    const char *in = pln_const_elements(c->in[0]);
    char *out = pleat_write_now(c->out, loss_name);
    size_t bytes = c->dtype == PLEAT_F32 ? sizeof(float) : sizeof(double);
    memset(out, 0, pleat_numel(c->out) * bytes);
    for (size_t i = 0; i < a->n; i++) memcpy(out + (i * a->K + a->label[i]) * bytes, in + i * bytes, bytes);
    return true;
}

static pleat_tensor *pick_vjp(const pleat_call *c, size_t i, pleat_tensor *g);
static pleat_tensor *spread_vjp(const pleat_call *c, size_t i, pleat_tensor *g);

/* x [..,K] -> y [..], and g [..] -> x [..,K] */
static const pleat_op pick_op = {loss_name, shape_without_classes, pick_forward, pick_vjp, attributes, NULL,
                                 NULL};
static const pleat_op spread_op = {
    loss_name, shape_with_classes, spread_forward, spread_vjp, attributes, NULL, NULL};

/* each is linear, and adjoint to the other */
static pleat_tensor *pick_vjp(const pleat_call *c, size_t i, pleat_tensor *g) {
    return (void)i, apply(&spread_op, g, c->attrs);
}

static pleat_tensor *spread_vjp(const pleat_call *c, size_t i, pleat_tensor *g) {
    return (void)i, apply(&pick_op, g, c->attrs);
}

static pleat_tensor *pick(pleat_tensor *x, const size_t *labels, size_t K) {
    pleat_ctx *ctx = pleat_ctx_of(x);
    size_t n = pleat_numel(x) / K;
    /* room that the context recycles, so that a step of training asks malloc for nothing */
    pleat_tensor *room = pleat_empty(ctx, PLEAT_F64, PLEAT_SHAPE(bytes_of(n) / sizeof(double) + 1));
    classes *attrs = pleat_write_now(room, loss_name);
    if (!attrs) return pleat_poison(ctx);
    *attrs = (classes){.K = K, .n = n};
    if (n) memcpy(attrs->label, labels, n * sizeof *labels);
    pleat_tensor *y = apply(&pick_op, x, attrs);
    pleat_drop(room);
    return y;
}

/* ---- the loss ------------------------------------------------------------------------------------------ */

/* Report an error about the operands. */
static bool fits(const pleat_nn_loss_args *a) {
    if (a->labels && a->target) {
        pln_refuse_loss(a->x ? a->x : a->target, loss_name, "give .labels or a target, not both");
        return false;
    }
    if (a->labels && a->x) return pln_labels_fit(loss_name, a->x, a->labels);
    if (!pln_comparable(loss_name, a->x, a->target)) return false;
    if (pleat_rank(a->x) >= 2 && pleat_size(a->x, 1) > 0 && pln_same_shape(a->x, a->target)) return true;
    char x[192], target[192];
    pleat_fail(
        pleat_ctx_of(a->x), PLEAT_ERR_SHAPE, loss_name,
        "x is %s and target is %s; both must be [N,K,..] with a K of 1 or more; class numbers are given "
        "as .labels",
        pleat_shape_text(a->x, x, sizeof x), pleat_shape_text(a->target, target, sizeof target));
    return false;
}

/* Move axis 1 to the end. */
static pleat_tensor *classes_last(pleat_tensor *x) {
    size_t order[PLEAT_MAX_RANK] = {0}, rank = pleat_rank(x);
    for (size_t k = 1; k + 1 < rank; k++) order[k] = k + 1;
    if (rank > 1) order[rank - 1] = 1;
    return pleat_permute(x, order);
}

/* log_p [..,K], labels [..] -> [..] */
static pleat_tensor *of_labels(pleat_tensor *log_p, const size_t *labels, double smoothing) {
    size_t last = pleat_rank(log_p) - 1;
    pleat_tensor *items = pleat_scale(pick(log_p, labels, pleat_size(log_p, last)), smoothing - 1);
    if (smoothing == 0) return items;
    return pleat_sub(items, pleat_scale(pleat_mean(log_p, 1u << last), smoothing));
}

/* log_p [..,K], p [..,K] -> [..] */
static pleat_tensor *of_probabilities(pleat_tensor *log_p, pleat_tensor *p, double smoothing) {
    if (pleat_is_poison(p)) return p; /* poison has no last axis */
    size_t last = pleat_rank(p) - 1;
    if (smoothing != 0)
        p = pleat_shift(pleat_scale(p, 1 - smoothing), smoothing / (double)pleat_size(p, last));
    return pleat_neg(pleat_sum(pleat_mul(p, log_p), 1u << last));
}

static bool weights_fit(const pleat_nn_loss_args *a) {
    for (size_t k = 0; a->weight && k < pleat_size(a->x, 1); k++) {
        if (a->weight[k] >= 0 && isfinite(a->weight[k])) continue;
        pleat_fail(pleat_ctx_of(a->x), PLEAT_ERR_ARGUMENT, loss_name,
                   "the weight of class %zu is %s; it must be finite and 0 or more", k,
                   pln_rounded(a->weight[k], 6).s);
        return false;
    }
    return true;
}

/* The sum of the items divided by the sum of the weights of their labels. */
static pleat_tensor *weighted_mean(pleat_tensor *items, const size_t *labels, const double *weight) {
    double total = 0;
    size_t n = pleat_numel(items);
    for (size_t i = 0; i < n; i++) total += weight[labels[i]];
    if (n > 0 && total == 0)
        return pln_refuse_loss(items, loss_name, "all items have weight 0, so there is no mean");
    if (n == 0) return pleat_mean(items);
    return pleat_div(pleat_sum(items),
                     pleat_full(pleat_ctx_of(items), pleat_dtype_of(items), PLEAT_SCALAR, total));
}

pleat_tensor *pleat_nn_cross_entropy_loss_with(pleat_nn_loss_args a) {
    if (!fits(&a) || !weights_fit(&a)) return pln_no_loss(a.x, a.target);
    if (!(a.label_smoothing >= 0 && a.label_smoothing <= 1))
        return pln_refuse_loss(a.x, loss_name, "label_smoothing must be from 0 to 1");
    pleat_tensor *log_p = pleat_log_softmax(classes_last(a.x), pleat_rank(a.x) - 1);
    if (pleat_is_poison(log_p)) return log_p;
    if (a.weight)
        log_p = pleat_mul(log_p, pleat_from_f64(pleat_ctx_of(log_p), pleat_dtype_of(log_p),
                                                PLEAT_SHAPE(pleat_size(a.x, 1)), a.weight));
    if (pleat_is_poison(log_p)) return log_p;
    pleat_tensor *items = a.labels ? of_labels(log_p, a.labels, a.label_smoothing)
                                   : of_probabilities(log_p, classes_last(a.target), a.label_smoothing);
    if (a.weight && a.labels && a.reduction == PLEAT_NN_MEAN && !pleat_is_poison(items))
        return weighted_mean(items, a.labels, a.weight);
    return pln_reduce(loss_name, items, a.reduction);
}

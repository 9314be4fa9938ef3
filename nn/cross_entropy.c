/* Cross-entropy of a softmax, and class numbers: pick takes from each row the element at its class, spread is
 * its adjoint, and a one-hot tensor is spread of ones. Law: the loss of class numbers is the loss of their
 * one-hot tensor. */
#include "losses.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

#include "files/numbers.h"

static const char loss_name[] = "cross_entropy_loss";

/* ---- class numbers ------------------------------------------------------------------------------------- */

/* The operands of pick and spread, which copy elements of either type as bytes. */
typedef struct table {
    const pleat_call *c;
    size_t items, classes, bytes; /* of an element */
    const void *labels;
    const char *in;
    char *out;
} table;

static char *bytes_of(pleat_tensor *t) {
    return pleat_dtype_of(t) == PLEAT_F32 ? (char *)pleat_f32(t) : (char *)pleat_f64(t);
}

static table table_of(const pleat_call *c, size_t classes) {
    return (table){
        .c = c,
        .items = pleat_numel(c->in[1]),
        .classes = classes,
        .bytes = c->dtype == PLEAT_F32 ? sizeof(float) : sizeof(double),
        .labels = bytes_of(c->in[1]),
        .in = bytes_of(c->in[0]),
        .out = bytes_of(c->out),
    };
}

/* Report that the class number of item i is out of range; false. */
static bool refuse_label(const table *t, size_t i, double value) {
    const pleat_tensor *labels = t->c->in[1];
    char text[PLEAT_MAX_RANK * 21 + 3];
    size_t index[PLEAT_MAX_RANK], rank = pleat_rank(labels), used = (size_t)snprintf(text, sizeof text, "[");
    for (size_t k = rank; k-- > 0; i /= pleat_size(labels, k)) index[k] = i % pleat_size(labels, k);
    for (size_t k = 0; k < rank; k++)
        used += (size_t)snprintf(text + used, sizeof text - used, k ? ",%zu" : "%zu", index[k]);
    pleat_fail(t->c->ctx, PLEAT_ERR_ARGUMENT, t->c->op->name,
               "the class number at %s] is %s; it must be whole, from 0 to %zu", text,
               pln_rounded(value, 9).s, t->classes - 1);
    return false;
}

/* Write the index of item i's element, among the elements of all classes, to *at. */
static bool find(const table *t, size_t i, size_t *at) {
    double value =
        t->bytes == sizeof(float) ? (double)((const float *)t->labels)[i] : ((const double *)t->labels)[i];
    if (!(value >= 0 && value < (double)t->classes && value == floor(value)))
        return refuse_label(t, i, value);
    *at = i * t->classes + (size_t)value;
    return true;
}

/* ---- pick and spread ----------------------------------------------------------------------------------- */

static pleat_tensor *apply(const pleat_op *op, pleat_tensor *x, pleat_tensor *labels, size_t classes) {
    pleat_tensor *in[] = {pleat_contiguous(x), pleat_contiguous(labels)};
    return pleat_apply(op, 2, in, &classes, sizeof classes);
}

static bool shape_of_labels(pleat_call *c) {
    c->rank = pleat_rank(c->in[1]);
    for (size_t i = 0; i < c->rank; i++) c->shape[i] = pleat_size(c->in[1], i);
    return true;
}

static bool labels_and_classes(pleat_call *c) {
    shape_of_labels(c);
    if (c->rank == PLEAT_MAX_RANK)
        return pleat_call_fail(c, PLEAT_ERR_SHAPE, "a tensor has at most %d axes, and one is added",
                               PLEAT_MAX_RANK);
    c->shape[c->rank++] = *(const size_t *)c->attrs;
    return true;
}

static bool pick_forward(const pleat_call *c) {
    table t = table_of(c, *(const size_t *)c->attrs);
    for (size_t i = 0, at = 0; i < t.items; i++) {
        if (!find(&t, i, &at)) return false;
        memcpy(t.out + i * t.bytes, t.in + at * t.bytes, t.bytes);
    }
    return true;
}

static bool spread_forward(const pleat_call *c) {
    table t = table_of(c, *(const size_t *)c->attrs);
    memset(t.out, 0, pleat_numel(c->out) * t.bytes);
    for (size_t i = 0, at = 0; i < t.items; i++) {
        if (!find(&t, i, &at)) return false;
        memcpy(t.out + at * t.bytes, t.in + i * t.bytes, t.bytes);
    }
    return true;
}

static pleat_tensor *pick_vjp(const pleat_call *c, size_t i, pleat_tensor *g);
static pleat_tensor *spread_vjp(const pleat_call *c, size_t i, pleat_tensor *g);

/* x [..,K], labels [..] -> y [..], and g [..], labels [..] -> x [..,K] */
static const pleat_op pick_op = {loss_name, shape_of_labels, pick_forward, pick_vjp};
static const pleat_op spread_op = {loss_name, labels_and_classes, spread_forward, spread_vjp};
static const pleat_op one_hot_op = {"one_hot", labels_and_classes, spread_forward, spread_vjp};

/* each is linear in its first operand and adjoint to the other; the gradient of class numbers is 0 */
static pleat_tensor *pick_vjp(const pleat_call *c, size_t i, pleat_tensor *g) {
    return i == 0 ? apply(&spread_op, g, c->in[1], *(const size_t *)c->attrs) : NULL;
}

static pleat_tensor *spread_vjp(const pleat_call *c, size_t i, pleat_tensor *g) {
    return i == 0 ? apply(&pick_op, g, c->in[1], *(const size_t *)c->attrs) : NULL;
}

pleat_tensor *pleat_nn_one_hot(pleat_tensor *labels, size_t classes) {
    if (pleat_is_poison(labels)) return pleat_poison(pleat_ctx_of(labels));
    if (!classes) return pln_refuse_loss(labels, one_hot_op.name, "there must be one class or more");
    return apply(&one_hot_op, pleat_full_like(labels, 1), labels, classes);
}

/* ---- the loss ------------------------------------------------------------------------------------------ */

/* Report an error about the operands. */
static bool fits(const pleat_tensor *x, const pleat_tensor *target, bool numbers) {
    if (!pln_comparable(loss_name, x, target)) return false;
    size_t rank = pleat_rank(x);
    bool right = rank >= 2 && pleat_size(x, 1) > 0 && pleat_rank(target) + numbers == rank;
    for (size_t k = 0; right && k < rank; k++)
        if (!numbers || k != 1) right = pleat_size(x, k) == pleat_size(target, k - (numbers && k > 1));
    if (right) return true;
    char a[192], b[192];
    pleat_fail(
        pleat_ctx_of(x), PLEAT_ERR_SHAPE, loss_name,
        "x is %s and target is %s; they must be [N,K,..] with a K of 1 or more, and [N,..] or [N,K,..]",
        pleat_shape_text(x, a, sizeof a), pleat_shape_text(target, b, sizeof b));
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
static pleat_tensor *of_numbers(pleat_tensor *log_p, pleat_tensor *labels, double smoothing) {
    size_t last = pleat_rank(labels), K = pleat_size(log_p, last);
    pleat_tensor *items = pleat_scale(apply(&pick_op, log_p, labels, K), smoothing - 1);
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

pleat_tensor *pleat_nn_cross_entropy_loss_with(pleat_nn_loss_args a) {
    bool numbers = pleat_rank(a.target) + 1 == pleat_rank(a.x);
    if (!fits(a.x, a.target, numbers)) return pln_no_loss(a.x, a.target);
    if (!(a.label_smoothing >= 0 && a.label_smoothing <= 1))
        return pln_refuse_loss(a.x, loss_name, "label_smoothing must be from 0 to 1");
    pleat_tensor *log_p = pleat_log_softmax(classes_last(a.x), pleat_rank(a.x) - 1);
    if (pleat_is_poison(log_p)) return log_p;
    pleat_tensor *items = numbers ? of_numbers(log_p, a.target, a.label_smoothing)
                                  : of_probabilities(log_p, classes_last(a.target), a.label_smoothing);
    return pln_reduce(loss_name, items, a.reduction);
}

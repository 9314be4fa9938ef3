/* Stochastic gradient descent, with momentum: b = momentum b + (1 - dampening) g, p = p - lr b; Nesterov's
 * looks ahead along the new b. */
#include "optimizer.h"

#include <math.h>

typedef struct sgd_options {
    double momentum, dampening;
    bool nesterov;
} sgd_options;

#define REAL float
#define NAME(f) f##_f32
#include "sgd.inc"
#define REAL double
#define NAME(f) f##_f64
#include "sgd.inc"

static const pln_method sgd_method = {"sgd", sgd_f32, sgd_f64};
static const pln_method plain_method = {"sgd", sgd_plain_f32, sgd_plain_f64};

static const char *broken_rule(const pleat_nn_sgd_args *a) {
    if (!pln_is_positive(a->lr)) return ".lr must be given, finite and greater than 0";
    if (!pln_is_fraction(a->momentum)) return "momentum must be at least 0 and less than 1";
    if (!isfinite(a->dampening)) return "dampening must be finite";
    if (a->nesterov && (a->momentum == 0 || a->dampening != 0))
        return "nesterov needs a momentum greater than 0, and a dampening of 0";
    return NULL;
}

pleat_nn_optimizer *pleat_nn_sgd_with(pleat_nn_sgd_args a) {
    sgd_options options = {a.momentum, a.dampening, a.nesterov};
    return pln_optimizer_new((pln_optimizer_args){
        .method = a.momentum != 0 ? &sgd_method : &plain_method,
        .net = a.net,
        .lr = a.lr,
        .clip_norm = a.clip_norm,
        .clip_value = a.clip_value,
        .weight_decay = a.weight_decay,
        .group = a.group,
        .state = {a.momentum != 0 ? "momentum_buffer" : NULL},
        .options = &options,
        .options_bytes = sizeof options,
        .wrong = broken_rule(&a),
    });
}

/* Adam: steps along the mean of the gradients divided by the root of their mean square, both with bias
 * correction. AdamW: weight decay shrinks the parameter and does not change the gradient. */
#include "optimizer.h"
#include "pleat_op.h"

#include <tgmath.h>

typedef struct adam_options {
    double b1, b2, eps;
    bool decoupled;
} adam_options;

#define REAL float
#define NAME(f) f##_f32
#include "adam.inc"
#define REAL double
#define NAME(f) f##_f64
#include "adam.inc"

static const pln_method adam_method = {"adam", adam_f32, adam_f64};
static const pln_method adamw_method = {"adamw", adam_f32, adam_f64};

static const char *broken_rule(const pleat_nn_adam_args *a) {
    if (!pln_is_positive(a->lr)) return "lr must be finite and greater than 0";
    if (!pln_is_positive(a->eps)) return "eps must be finite and greater than 0";
    if (!pln_is_fraction(a->betas[0]) || !pln_is_fraction(a->betas[1]))
        return "both betas must be at least 0 and less than 1";
    if (a->no_decay && a->weight_decay != 0) return "weight_decay and no_decay exclude each other";
    return NULL;
}

static pleat_nn_optimizer *adam_new(const pln_method *method, pleat_nn_adam_args a, bool decoupled) {
    if (a.lr == 0) a.lr = 1e-3;
    if (a.eps == 0) a.eps = 1e-8;
    static const double usual[2] = {0.9, 0.999};
    if (!pleat_pair_f64(pleat_nn_ctx(a.net), method->name, "betas", a.betas, usual, true)) return NULL;
    if (decoupled && a.weight_decay == 0 && !a.no_decay) a.weight_decay = 0.01;
    adam_options options = {a.betas[0], a.betas[1], a.eps, decoupled};
    return pln_optimizer_new((pln_optimizer_args){
        .method = method,
        .net = a.net,
        .lr = a.lr,
        .clip_norm = a.clip_norm,
        .clip_value = a.clip_value,
        .weight_decay = a.weight_decay,
        .group = a.group,
        .state = {"exp_avg", "exp_avg_sq"},
        .options = &options,
        .options_bytes = sizeof options,
        .wrong = broken_rule(&a),
    });
}

pleat_nn_optimizer *pleat_nn_adam_with(pleat_nn_adam_args args) {
    return adam_new(&adam_method, args, false);
}
pleat_nn_optimizer *pleat_nn_adamw_with(pleat_nn_adam_args args) {
    return adam_new(&adamw_method, args, true);
}

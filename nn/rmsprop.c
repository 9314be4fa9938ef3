/* RMSprop: steps along the gradient divided by the root of its mean square, or by its standard deviation. */
#include "optimizer.h"

#include <tgmath.h>

typedef struct rmsprop_options {
    double alpha, eps, momentum;
    bool centered;
} rmsprop_options;

#define REAL float
#define NAME(f) f##_f32
#include "rmsprop.inc"
#define REAL double
#define NAME(f) f##_f64
#include "rmsprop.inc"

static const pln_method rmsprop_method = {"rmsprop", rmsprop_f32, rmsprop_f64};

static const char *broken_rule(const pleat_nn_rmsprop_args *a) {
    if (!pln_is_positive(a->lr)) return "lr must be finite and greater than 0";
    if (!pln_is_fraction(a->alpha)) return "alpha must be at least 0 and less than 1";
    if (!pln_is_positive(a->eps)) return "eps must be finite and greater than 0";
    if (!pln_is_fraction(a->momentum)) return "momentum must be at least 0 and less than 1";
    return NULL;
}

pleat_nn_optimizer *pleat_nn_rmsprop_with(pleat_nn_rmsprop_args a) {
    if (a.lr == 0) a.lr = 0.01;
    if (a.alpha == 0) a.alpha = 0.99;
    if (a.eps == 0) a.eps = 1e-8;
    rmsprop_options options = {a.alpha, a.eps, a.momentum, a.centered};
    const char *buffer = a.momentum != 0 ? "momentum_buffer" : NULL;
    return pln_optimizer_new((pln_optimizer_args){
        .method = &rmsprop_method,
        .net = a.net,
        .lr = a.lr,
        .clip_norm = a.clip_norm,
        .clip_value = a.clip_value,
        .weight_decay = a.weight_decay,
        .group = a.group,
        .state = {"square_avg", a.centered ? "grad_avg" : buffer, a.centered ? buffer : NULL},
        .options = &options,
        .options_bytes = sizeof options,
        .wrong = broken_rule(&a),
    });
}

/* optimizer.h: the frame of optimizers, for the methods (sgd.c, adam.c, rmsprop.c), and the state of
 * optimizers and averages, for checkpoints. */
#ifndef PLN_OPTIMIZER_H
#define PLN_OPTIMIZER_H

#include "module.h"

#include <float.h>
#include <math.h>

#define PLN_STATES 3 /* the largest number of state tensors of a parameter */

/* One update of one parameter. The arrays have n elements of the parameter's type. */
typedef struct pln_pass {
    const void *options; /* of the method */
    double lr, decay;    /* of the parameter's groups */
    double step;         /* 1 at the parameter's first update */
    double scale, bound; /* a gradient element g is replaced by scale g, clamped to +-bound */
    size_t n;
    void *param, *state[PLN_STATES];
    const void *grad;
} pln_pass;

typedef struct pln_method {
    const char *name; /* in errors: "adam" */
    void (*f32)(const pln_pass *p), (*f64)(const pln_pass *p);
} pln_method;

/* g clamped to +-bound; NaN for NaN. Two separate comparisons, each of which is one vector instruction. */
static inline float pln_cut_f32(float g, float bound) {
    g = g > bound ? bound : g;
    return g < -bound ? -bound : g;
}
static inline double pln_cut_f64(double g, double bound) {
    g = g > bound ? bound : g;
    return g < -bound ? -bound : g;
}

/* x, or 0 if x is subnormal. The averages of a weight without gradient decay forever and would become
 * subnormal, and processors are many times slower with subnormal numbers. */
static inline float pln_flush_f32(float x) { return fabsf(x) < FLT_MIN ? 0 : x; }
static inline double pln_flush_f64(double x) { return fabs(x) < DBL_MIN ? 0 : x; }

/* eps, but at least the root of the smallest mean square that is not flushed, so that the divisor is never
 * close to 0. */
static inline float pln_eps_f32(double eps) { return eps < 0x1p-63 ? 0x1p-63F : (float)eps; }
static inline double pln_eps_f64(double eps) { return eps < 0x1p-511 ? 0x1p-511 : eps; }

/* The arguments of a method's constructor to the frame. */
typedef struct pln_optimizer_args {
    const pln_method *method;
    pleat_nn_module *net;
    double lr, clip_norm, clip_value, weight_decay;
    const pleat_nn_group *group; /* PLEAT_NN_GROUPS of them; read by the constructor only */
    /* PyTorch's names of the state tensors that these options need, then NULL */
    const char *state[PLN_STATES];
    const void *options; /* copied */
    size_t options_bytes;
    const char *wrong; /* the rule that the options break, or NULL */
} pln_optimizer_args;

/* The optimizer, or NULL after an error. */
pleat_nn_optimizer *pln_optimizer_new(pln_optimizer_args args);

/* ---- groups -------------------------------------------------------------------------------------------- */

/* PLEAT_OK, or the report of the rule that the groups break. */
pleat_status pln_check_groups(const pln_optimizer_args *a);
/* The options of parameter i after all groups that it matches. */
typedef struct pln_group_options {
    double lr_scale, decay;
} pln_group_options;
pln_group_options pln_group_options_of(const pln_optimizer_args *a, size_t i);

/* ---- rules that several methods share ------------------------------------------------------------------ */

static inline bool pln_is_fraction(double x) { return x >= 0 && x < 1; }
static inline bool pln_is_positive(double x) { return x > 0 && isfinite(x); }
static inline bool pln_is_not_negative(double x) { return x >= 0 && isfinite(x); }

/* ---- state -------------------------------------------------------------------------------------------- */

pleat_nn_module *pln_optimizer_net(const pleat_nn_optimizer *opt);
/* The number of state tensors of each parameter, and PyTorch's name of the k-th: "exp_avg". */
size_t pln_optimizer_states(const pleat_nn_optimizer *opt);
const char *pln_optimizer_state_name(const pleat_nn_optimizer *opt, size_t k);
/* The k-th state tensor of parameter i, with its shape and type, contiguous, zeros at first; owned by the
 * optimizer. */
pleat_tensor *pln_optimizer_state(const pleat_nn_optimizer *opt, size_t i, size_t k);
/* The number of updates of parameter i so far. */
double pln_optimizer_steps(const pleat_nn_optimizer *opt, size_t i);
void pln_optimizer_set_steps(pleat_nn_optimizer *opt, size_t i, double steps);

/* The number of micro-batches since the last step, whose gradients are no part of a checkpoint; and forget
 * them. */
size_t pln_optimizer_pending(const pleat_nn_optimizer *opt);
void pln_optimizer_discard(pleat_nn_optimizer *opt);

/* ---- shared runs ---- */

/* The share that makes the optimizer's steps, or NULL. */
pleat_nn_share *pln_optimizer_share(const pleat_nn_optimizer *opt);
void pln_optimizer_set_share(pleat_nn_optimizer *opt, pleat_nn_share *share);
/* The parameters that are not frozen, as the next two functions count them: how many, and which. */
size_t pln_optimizer_moving(pleat_nn_optimizer *opt, pleat_tensor ***params);
/* The gradients of weight * loss for all of them, each as soon as it is complete (pleat_grads_each); with `each` NULL for a
 * step to come. */
typedef bool pln_each(void *user, size_t i, pleat_tensor *g);
pleat_status pln_optimizer_grads(pleat_nn_optimizer *opt, pleat_tensor *loss, double weight, pln_each *each,
                                 void *user);
/* Update all of them. */
pleat_status pln_optimizer_update(pleat_nn_optimizer *opt, pleat_tensor *const *grads);

pleat_nn_module *pln_ema_net(const pleat_nn_ema *ema);
/* The average of pleat_nn_state(net, i), a parameter or a buffer, with its shape and type, contiguous; owned
 * by the ema. After an odd number of swaps it holds net's value, and net holds the average. */
pleat_tensor *pln_ema_state(const pleat_nn_ema *ema, size_t i);
bool pln_ema_is_swapped(const pleat_nn_ema *ema);

#endif

/* rules.h: functions of one op that the rules of another op use. */
#ifndef PL_RULES_H
#define PL_RULES_H

#include "core/core.h"

/* Sum g to the shape of `like` (sums.c): the cotangent of an operand that was broadcast. */
pleat_tensor *pl_sum_like(pleat_tensor *g, const pleat_tensor *like);

/* g where x > 0, else 0 (relu.c): the cotangent of relu's operand. */
pleat_tensor *pl_gate(pleat_tensor *g, pleat_tensor *x);

/* What an op may end with, and the cotangent of its operand, by the result y: for relu6 g where 0 < y < 6. */
typedef enum pl_rectifier { PL_LINEAR, PL_RELU, PL_RELU6 } pl_rectifier;
pleat_tensor *pl_passed(pleat_tensor *g, pleat_tensor *y, pl_rectifier by);
static inline pl_rectifier pl_rectifier_of(bool relu, bool relu6) {
    return relu6 ? PL_RELU6 : relu ? PL_RELU : PL_LINEAR;
}
static inline pleat_attr pl_attr_rectifier(pl_rectifier end) {
    return pl_attr_flag(end == PL_RELU6 ? "relu6" : "relu", end != PL_LINEAR);
}

/* Of x [A,K,B], over A and B (normalize.c): (x - mean) rate, then rate = 1 / sqrt(var + eps), [1,K,1], and
 * x - mean. */
pleat_tensor *pl_normal(pleat_tensor *x, double eps);
pleat_tensor *pl_rate(pleat_tensor *x, double eps);
pleat_tensor *pl_centre(pleat_tensor *x);

/* The norm of valid options, with its defaults set (norm_affine.c). */
typedef enum pl_norm_kind { PL_BATCH_NORM, PL_GROUP_NORM, PL_LAYER_NORM } pl_norm_kind;
pleat_tensor *pl_norm_affine(pl_norm_kind kind, const pleat_norm_args *a);

/* The checks of batch_norm's options but mean and var of the batch, for x [N,channels,..]; sets the default of eps.
 * False after an error of `op`. And weight / sqrt(var + eps) (norms.c). */
bool pl_norm_given(const char *op, pleat_norm_args *a, const size_t *channels);
pleat_tensor *pl_norm_factor(const pleat_norm_args *a);

/* factor x + (bias - factor mean), then the rectifier; x [N,C,..], the others [C], bias or NULL; in double, rounded once
 * (rescale.c). */
pleat_tensor *pl_rescale(pleat_tensor *x, pleat_tensor *mean, pleat_tensor *factor, pleat_tensor *bias,
                         pl_rectifier end);
/* The factors and shifts of the channels, [2,C], a block of the context; NULL without memory. */
double *pl_rescale_numbers(pleat_ctx *ctx, const pleat_tensor *mean, const pleat_tensor *factor,
                           const pleat_tensor *bias);

/* Complete the options of a pool of a->x, which is neither NULL nor poison, and compute the sizes {H, W} and
 * {P, Q}. Returns false after an error of `op` (pool_geometry.c). */
bool pl_pool_geometry(const char *op, pleat_pool_args *a, size_t image[2], size_t map[2]);

#endif

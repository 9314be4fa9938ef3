/* rules.h: functions of one op that the rules of another op use. */
#ifndef PL_RULES_H
#define PL_RULES_H

#include "core/core.h"

/* Sum g to the shape of `like` (sums.c): the cotangent of an operand that was broadcast. */
pleat_tensor *pl_sum_like(pleat_tensor *g, const pleat_tensor *like);

/* g where x > 0, else 0 (relu.c): the cotangent of relu's operand. */
pleat_tensor *pl_gate(pleat_tensor *g, pleat_tensor *x);

/* (x - mean) factor for x [N,C,..], mean and factor [C], with the difference in double (normalize.c). */
pleat_tensor *pl_rescale(pleat_tensor *x, pleat_tensor *mean, pleat_tensor *factor);

/* Complete the options of a pool of a->x, which is neither NULL nor poison, and compute the sizes {H, W} and
 * {P, Q}. Returns false after an error of `op` (pool_geometry.c). */
bool pl_pool_geometry(const char *op, pleat_pool_args *a, size_t image[2], size_t map[2]);

#endif

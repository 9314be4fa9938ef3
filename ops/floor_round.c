/* floor and round: piecewise constant. Laws: floor(x) <= x < floor(x) + 1, and |x - round(x)| <= 1/2. */
#include "core/core.h"

#define OP floor
#define EXPR floor(x)
#include "core/map1.inc"
/* the IEEE 754 default: half to even */
#define OP round
#define EXPR nearbyint(x)
#include "core/map1.inc"

static const pleat_op floor_op = {"floor", pl_shape_same,    floor_forward, pl_zero_vjp,
                                  NULL,    &pl_element_wise, NULL};
static const pleat_op round_op = {"round", pl_shape_same,    round_forward, pl_zero_vjp,
                                  NULL,    &pl_element_wise, NULL};

pleat_tensor *pleat_floor(pleat_tensor *x) { return pleat_apply(&floor_op, 1, &x, NULL, 0); }
pleat_tensor *pleat_round(pleat_tensor *x) { return pleat_apply(&round_op, 1, &x, NULL, 0); }

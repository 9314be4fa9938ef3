/* Comparisons as masks of 0 and 1, and where, which chooses by a mask. where is linear in x and y, so it has
 * gradients of any order; the gradient of a mask is 0. Laws: where(m, x, x) = x, and gt + le = 1 except for
 * NaN. */
#include "rules.h"

#define OP gt
#define EXPR x > z
#include "core/map2.inc"
#define OP ge
#define EXPR x >= z
#include "core/map2.inc"
#define OP eq
#define EXPR x == z
#include "core/map2.inc"
#define OP ne
#define EXPR x != z
#include "core/map2.inc"
#define OP select
#define EXPR z != 0 ? x : 0
#include "core/map2.inc"
#define OP reject
#define EXPR z != 0 ? 0 : x
#include "core/map2.inc"

/* ---- masks --------------------------------------------------------------------------------------------- */

static const pleat_op gt_op = {"gt", pl_shape_broadcast, gt_forward, pl_zero_vjp,
                               NULL, &pl_element_wise,   NULL};
static const pleat_op ge_op = {"ge", pl_shape_broadcast, ge_forward, pl_zero_vjp,
                               NULL, &pl_element_wise,   NULL};
static const pleat_op eq_op = {"eq", pl_shape_broadcast, eq_forward, pl_zero_vjp,
                               NULL, &pl_element_wise,   NULL};
static const pleat_op ne_op = {"ne", pl_shape_broadcast, ne_forward, pl_zero_vjp,
                               NULL, &pl_element_wise,   NULL};

pleat_tensor *pleat_gt(pleat_tensor *x, pleat_tensor *y) { return pl_apply_two(&gt_op, x, y); }
pleat_tensor *pleat_ge(pleat_tensor *x, pleat_tensor *y) { return pl_apply_two(&ge_op, x, y); }
pleat_tensor *pleat_lt(pleat_tensor *x, pleat_tensor *y) { return pl_apply_two(&gt_op, y, x); }
pleat_tensor *pleat_le(pleat_tensor *x, pleat_tensor *y) { return pl_apply_two(&ge_op, y, x); }
pleat_tensor *pleat_eq(pleat_tensor *x, pleat_tensor *y) { return pl_apply_two(&eq_op, x, y); }
pleat_tensor *pleat_ne(pleat_tensor *x, pleat_tensor *y) { return pl_apply_two(&ne_op, x, y); }

/* ---- where --------------------------------------------------------------------------------------------- */
/* select(x) + reject(y), each 0 at the elements that are not chosen. A product with the mask would keep a
 * NaN: 0 NaN is NaN. */

static pleat_tensor *choice_vjp(const pleat_call *c, size_t i, pleat_tensor *g) {
    if (i == 1) return NULL;
    return pl_sum_like(pl_apply_two(c->op, g, c->in[1]), c->in[0]);
}

static const pleat_op select_op = {
    "where", pl_shape_broadcast, select_forward, choice_vjp, NULL, &pl_element_wise, NULL};
static const pleat_op reject_op = {
    "where", pl_shape_broadcast, reject_forward, choice_vjp, NULL, &pl_element_wise, NULL};

pleat_tensor *pleat_where(pleat_tensor *m, pleat_tensor *x, pleat_tensor *y) {
    return pleat_add(pl_apply_two(&select_op, x, m), pl_apply_two(&reject_op, y, m));
}

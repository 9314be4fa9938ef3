/* batch_norm, group_norm, layer_norm: normalize over the axes of the name, then weight, bias and relu or relu6
 * (norm_affine.c). Law: group_norm with one group is layer_norm over all axes except N. */
#include "rules.h"

#include <math.h>
#include <string.h>

/* The context of the first tensor that is not NULL: it gets the error if x is missing, and has the poison. */
static pleat_ctx *context_of(const pleat_norm_args *a) {
    const pleat_tensor *all[] = {a->x, a->weight, a->bias, a->mean, a->var};
    size_t i = 0;
    while (i < 4 && all[i] == NULL) i++;
    return pleat_ctx_of(all[i]);
}

/* Check the shape of t, which may be NULL. False after an error. */
static bool has_shape(const char *op, const char *what, const pleat_tensor *t, size_t rank,
                      const size_t *shape) {
    if (t == NULL) return true;
    if (pleat_is_poison(t)) return false;
    if (t->rank == rank && memcmp(t->shape, shape, rank * sizeof *shape) == 0) return true;
    pleat_fail(t->ctx, PLEAT_ERR_SHAPE, op, "the %s is %s and must be %s", what, pl_shape_of(t).text,
               pl_shape_phrase(rank, shape).text);
    return false;
}

/* Has x an element to take the mean of? `axes` are those of the mean. False after an error. */
static bool has_mean(const char *op, const pleat_tensor *x, unsigned axes) {
    for (size_t k = 0; k < x->rank; k++) {
        if (!(axes >> k & 1u) || x->shape[k] > 0) continue;
        pl_reject(x, op, PLEAT_ERR_SHAPE, "axis %zu is empty, and nothing has no mean", k);
        return false;
    }
    return true;
}

/* The checks of all three; false after an error. Sets the default of eps. */
static bool usable(const char *op, pleat_norm_args *a, size_t least_rank) {
    if (a->x == NULL) pleat_fail(context_of(a), PLEAT_ERR_ARGUMENT, op, "x is a null pointer");
    if (pleat_is_poison(a->x)) return false;
    if (a->eps == 0) a->eps = 1e-5;
    if (a->x->rank < least_rank) {
        pl_reject(a->x, op, PLEAT_ERR_SHAPE, "x must be %s, of rank %zu or more",
                  least_rank == 1 ? "[..,D]" : "[N,C,..]", least_rank);
        return false;
    }
    if (a->eps > 0 && isfinite(a->eps)) return true;
    pl_reject(a->x, op, PLEAT_ERR_ARGUMENT, "eps must be finite and greater than 0");
    return false;
}

/* ---- batch_norm -------------------------------------------------------------------------------------- */

bool pl_norm_given(const char *op, pleat_norm_args *a, const size_t *channels) {
    if (!usable(op, a, 2)) return false;
    if ((a->mean == NULL) != (a->var == NULL)) {
        pl_reject(a->x, op, PLEAT_ERR_ARGUMENT, "give mean and var, or none of them");
        return false;
    }
    return has_shape(op, "weight", a->weight, 1, channels) && has_shape(op, "bias", a->bias, 1, channels) &&
           has_shape(op, "mean", a->mean, 1, channels) && has_shape(op, "var", a->var, 1, channels);
}

pleat_tensor *pl_norm_factor(const pleat_norm_args *a) {
    pleat_tensor *rate = pleat_pow(pleat_shift(a->var, a->eps), -0.5);
    return a->weight != NULL ? pleat_mul(rate, a->weight) : rate;
}

pleat_tensor *pleat_batch_norm_with(pleat_norm_args a) {
    static const char op[] = "batch_norm";
    pleat_tensor **const results[] = {a.batch_mean, a.batch_var};
    for (size_t i = 0; i < 2; i++)
        if (results[i] != NULL) *results[i] = pleat_poison(context_of(&a));
    if (!usable(op, &a, 2)) return pleat_poison(context_of(&a));
    if (a.groups != 0 || a.axes != 0)
        return pl_reject(a.x, op, PLEAT_ERR_ARGUMENT, "groups and axes are options of the other norms");
    if (!pl_norm_given(op, &a, &a.x->shape[1])) return pleat_poison(a.x->ctx);
    if (a.mean != NULL && (a.batch_mean != NULL || a.batch_var != NULL))
        return pl_reject(a.x, op, PLEAT_ERR_ARGUMENT,
                         "with mean and var given, the batch's own are not computed");
    pl_rectifier end = pl_rectifier_of(a.relu, a.relu6);
    if (a.mean != NULL) return pl_rescale(a.x, a.mean, pl_norm_factor(&a), a.bias, end);
    unsigned axes = ((1u << a.x->rank) - 1) & ~2u;
    return has_mean(op, a.x, axes) ? pl_norm_affine(PL_BATCH_NORM, &a) : pleat_poison(a.x->ctx);
}

/* ---- group_norm -------------------------------------------------------------------------------------- */

pleat_tensor *pleat_group_norm_with(pleat_norm_args a) {
    static const char op[] = "group_norm";
    if (!usable(op, &a, 2)) return pleat_poison(context_of(&a));
    if (a.mean != NULL || a.var != NULL || a.batch_mean != NULL || a.batch_var != NULL || a.axes != 0)
        return pl_reject(a.x, op, PLEAT_ERR_ARGUMENT, "mean, var and axes are options of the other norms");
    size_t *C = &a.x->shape[1];
    if (a.groups == 0)
        return pl_reject(a.x, op, PLEAT_ERR_ARGUMENT, ".groups must be given, and divide the channels");
    if (*C % a.groups != 0)
        return pl_reject(a.x, op, PLEAT_ERR_ARGUMENT, "%zu groups must divide the %zu channels", a.groups,
                         *C);
    if (!has_shape(op, "weight", a.weight, 1, C) || !has_shape(op, "bias", a.bias, 1, C))
        return pleat_poison(a.x->ctx);
    unsigned axes = ((1u << a.x->rank) - 1) & ~1u;
    return has_mean(op, a.x, axes) ? pl_norm_affine(PL_GROUP_NORM, &a) : pleat_poison(a.x->ctx);
}

/* ---- layer_norm -------------------------------------------------------------------------------------- */

pleat_tensor *pleat_layer_norm_with(pleat_norm_args a) {
    static const char op[] = "layer_norm";
    if (!usable(op, &a, 1)) return pleat_poison(context_of(&a));
    if (a.mean != NULL || a.var != NULL || a.batch_mean != NULL || a.batch_var != NULL || a.groups != 0)
        return pl_reject(a.x, op, PLEAT_ERR_ARGUMENT, "mean, var and groups are options of the other norms");
    size_t D = a.axes != 0 ? a.axes : 1, rank = a.x->rank;
    if (D > rank)
        return pl_reject(a.x, op, PLEAT_ERR_ARGUMENT, ".axes is %zu; it must be at most x's rank %zu", D,
                         rank);
    const size_t *shape = a.x->shape + rank - D;
    if (!has_shape(op, "weight", a.weight, D, shape) || !has_shape(op, "bias", a.bias, D, shape))
        return pleat_poison(a.x->ctx);
    unsigned axes = ((1u << rank) - 1) & ~((1u << (rank - D)) - 1);
    a.axes = D;
    return has_mean(op, a.x, axes) ? pl_norm_affine(PL_LAYER_NORM, &a) : pleat_poison(a.x->ctx);
}

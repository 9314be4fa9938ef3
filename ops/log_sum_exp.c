/* log_sum_exp, by sum, exp and log. Laws: log_sum_exp(x + a) = log_sum_exp(x) + a, and log_softmax(x) = x -
 * log_sum_exp(x). */
#include "core/core.h"

#include <math.h>

/* The largest elements, with the axes kept, as constants: 0 where the largest is infinite, as inf - inf is
 * NaN, and over no elements. */
static pleat_tensor *offset_of(pleat_tensor *x, unsigned axes) {
    size_t shape[PLEAT_MAX_RANK], count = 1;
    for (size_t k = 0; k < x->rank; k++) {
        shape[k] = axes >> k & 1u ? 1 : x->shape[k];
        if (axes >> k & 1u) count *= x->shape[k];
    }
    if (count == 0) return pleat_zeros(x->ctx, x->dtype, x->rank, shape);
    pleat_tensor *largest = pleat_amax(pleat_detach(x), axes, .keep = true);
    pleat_tensor *infinite = pleat_eq(pleat_abs(largest), pleat_full_like(largest, INFINITY));
    return pleat_where(infinite, pleat_zeros_like(largest), largest);
}

pleat_tensor *pleat_log_sum_exp_with(pleat_sum_args a) {
    if (a.x == NULL || a.x->poison) return pleat_sum_with(a);
    const pleat_tensor *x = a.x;
    unsigned axes = a.axes != 0 ? a.axes : (1u << x->rank) - 1;
    size_t rank = 0, shape[PLEAT_MAX_RANK];
    if (axes >> x->rank)
        return pl_reject(x, "log_sum_exp", PLEAT_ERR_ARGUMENT, "an axis is beyond the rank %zu", x->rank);
    for (size_t k = 0; k < x->rank; k++) {
        bool summed = (axes >> k & 1u) != 0;
        if (!summed || a.keep) shape[rank++] = summed ? 1 : x->shape[k];
    }
    pleat_tensor *offset = offset_of(a.x, axes);
    pleat_tensor *sum = pleat_sum(pleat_exp(pleat_sub(a.x, offset)), axes, .keep = true);
    return pleat_reshape(pleat_add(pleat_log(sum), offset), rank, shape);
}

/* arange and linspace: numbers at equal distances. Law: linspace(0, n - 1, n) = arange(0, n, 1). */
#include "core/core.h"

#include <math.h>

/* n numbers start, start + step, ..; those of the second half are counted back from `end`, if there is
 * one. */
static pleat_tensor *range(pleat_ctx *ctx, const char *op, pleat_dtype dtype, size_t n, double start,
                           double step, const double *end) {
    pleat_tensor *y = pl_tensor_new(ctx, op, dtype, 1, &n);
    for (size_t i = 0; !y->poison && i < n; i++) {
        double v = end == NULL || i < n / 2 ? start + (double)i * step : *end - (double)(n - 1 - i) * step;
        if (dtype == PLEAT_F64)
            ((double *)(void *)y->data)[i] = v;
        else
            ((float *)(void *)y->data)[i] = (float)v;
    }
    return y;
}

pleat_tensor *pleat_arange(pleat_ctx *ctx, pleat_dtype dtype, double start, double end, double step) {
    double n = ceil((end - start) / step);
    if (n >= 0 && n < 0x1p52 && n < (double)SIZE_MAX && isfinite(step))
        return range(ctx, "arange", dtype, (size_t)n, start, step, NULL);
    pleat_fail(ctx, PLEAT_ERR_ARGUMENT, "arange",
               "from %s to %s in steps of %s: all finite, and the step not 0 and towards the end",
               pl_number(start, 6).text, pl_number(end, 6).text, pl_number(step, 6).text);
    return pleat_poison(ctx);
}

pleat_tensor *pleat_linspace(pleat_ctx *ctx, pleat_dtype dtype, double start, double end, size_t n) {
    double step = n > 1 ? (end - start) / (double)(n - 1) : 0;
    if (isfinite(step) && isfinite(start))
        return range(ctx, "linspace", dtype, n, start, step, n > 1 ? &end : NULL);
    pleat_fail(ctx, PLEAT_ERR_ARGUMENT, "linspace",
               "from %s to %s: both must be finite, and their difference", pl_number(start, 6).text,
               pl_number(end, 6).text);
    return pleat_poison(ctx);
}

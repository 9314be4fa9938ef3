/* dropout: a product with a random mask. Law: its expectation is x. */
#include "core/core.h"

static void draw(pleat_tensor *mask, double p) {
    pleat_rng *r = pleat_ctx_rng(mask->ctx);
    double scale = p < 1 ? 1 / (1 - p) : 0;
    for (size_t i = 0; i < mask->numel; i++) {
        double v = pleat_rng_uniform(r) < p ? 0 : scale;
        if (mask->dtype == PLEAT_F64)
            ((double *)(void *)mask->data)[i] = v;
        else
            ((float *)(void *)mask->data)[i] = (float)v;
    }
}

pleat_tensor *pleat_dropout(pleat_tensor *x, double p) {
    if (x == NULL || x->poison) return pleat_scale(x, 1);
    if (!(p >= 0 && p <= 1))
        return pl_reject(x, "dropout", PLEAT_ERR_ARGUMENT, "p is %s; it must be from 0 to 1",
                         pl_number(p, 6).text);
    if (p == 0) return x;
    pleat_tensor *mask = pl_tensor_new(x->ctx, "dropout", x->dtype, x->rank, x->shape);
    if (!mask->poison) draw(mask, p);
    return pleat_mul(x, mask);
}

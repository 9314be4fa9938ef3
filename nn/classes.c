/* Class numbers: their range, their one-hot tensor, and the share of them that a network finds. */
#include <math.h>
#include <stdio.h>

#include "losses.h"

static bool refuse(const char *op, const pleat_tensor *x, const size_t *labels, size_t at) {
    char text[PLEAT_MAX_RANK * 21];
    size_t index[PLEAT_MAX_RANK] = {0}, used = 0, i = at;
    for (size_t k = pleat_rank(x); k-- > 0;) {
        if (k == 1) continue;
        index[k] = i % pleat_size(x, k);
        i /= pleat_size(x, k);
    }
    for (size_t k = 0; k < pleat_rank(x); k++)
        if (k != 1) used += (size_t)snprintf(text + used, sizeof text - used, k ? ",%zu" : "%zu", index[k]);
    pleat_fail(pleat_ctx_of(x), PLEAT_ERR_ARGUMENT, op, "the label at [%s] is %zu; labels are from 0 to %zu",
               text, labels[at], pleat_size(x, 1) - 1);
    return false;
}

bool pln_labels_fit(const char *op, const pleat_tensor *x, const size_t *labels) {
    if (pleat_is_poison(x)) return false;
    char shape[192];
    size_t K = pleat_size(x, 1);
    if (pleat_rank(x) < 2 || !K)
        return pleat_fail(pleat_ctx_of(x), PLEAT_ERR_SHAPE, op,
                          "x is %s; with labels it must be [N,K,..], with a K of 1 or more",
                          pleat_shape_text(x, shape, sizeof shape)) == PLEAT_OK;
    size_t n = pleat_numel(x) / K;
    if (n && !labels)
        return pleat_fail(pleat_ctx_of(x), PLEAT_ERR_ARGUMENT, op, "labels is a null pointer") == PLEAT_OK;
    for (size_t i = 0; i < n; i++)
        if (labels[i] >= K) return refuse(op, x, labels, i);
    return true;
}

pleat_tensor *pleat_nn_one_hot(pleat_ctx *ctx, pleat_dtype dtype, size_t n, const size_t *labels,
                               size_t classes) {
    pleat_tensor *y = pleat_zeros(ctx, dtype, PLEAT_SHAPE(n, classes));
    if (!pln_labels_fit("one_hot", y, labels)) return pleat_poison(ctx);
    void *to = pleat_write_now(y, "pleat_nn_one_hot");
    for (size_t i = 0; i < n; i++) {
        if (dtype == PLEAT_F32)
            ((float *)to)[i * classes + labels[i]] = 1;
        else
            ((double *)to)[i * classes + labels[i]] = 1;
    }
    return y;
}

double pleat_nn_accuracy(pleat_tensor *x, const size_t *labels) {
    if (!x || !pln_labels_fit("accuracy", x, labels)) return NAN;
    size_t n = pleat_numel(x) / pleat_size(x, 1), right = 0;
    /* room that the context recycles; x has no fewer bytes */
    pleat_tensor *room =
        pleat_empty(pleat_ctx_of(x), PLEAT_F64, PLEAT_SHAPE(n * sizeof(size_t) / sizeof(double) + 1));
    size_t *found = pleat_write_now(room, "pleat_nn_accuracy");
    bool known = found && n && pleat_argmax(x, 1, found) == PLEAT_OK;
    for (size_t i = 0; known && i < n; i++) right += found[i] == labels[i];
    pleat_drop(room);
    return known ? (double)right / (double)n : NAN;
}

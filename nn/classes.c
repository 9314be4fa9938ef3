/* Class numbers: their range, their one-hot tensor, and the share of them that a network finds. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>

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
    for (size_t i = 0; i < n; i++) {
        if (dtype == PLEAT_F32)
            pleat_f32(y)[i * classes + labels[i]] = 1;
        else
            pleat_f64(y)[i * classes + labels[i]] = 1;
    }
    return y;
}

/* x [N,K,..] -> the share of its items whose largest element has the label's index. */
static double share(pleat_tensor *x, const size_t *labels) {
    pleat_tensor *found = pleat_argmax(x, 1);
    size_t n = pleat_is_poison(found) ? 0 : pleat_numel(found), right = 0;
    double *at = malloc(n * sizeof *at + 1); /* x has more bytes */
    if (!at) pleat_fail(pleat_ctx_of(x), PLEAT_ERR_MEMORY, "accuracy", "no memory for %zu items", n);
    if (n && at) pleat_read_f64(found, at);
    for (size_t i = 0; at && i < n; i++) right += (size_t)at[i] == labels[i];
    bool known = n && at;
    free(at);
    return known ? (double)right / (double)n : NAN;
}

double pleat_nn_accuracy(pleat_tensor *x, const size_t *labels) {
    if (!x || !pln_labels_fit("accuracy", x, labels)) return NAN;
    pleat_ctx *ctx = pleat_ctx_of(x);
    bool recording = pleat_set_recording(ctx, false);
    pleat_scope scope = pleat_begin(ctx);
    double right = share(x, labels);
    pleat_end(scope);
    pleat_set_recording(ctx, recording);
    return right;
}

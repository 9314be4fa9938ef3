/* A pass over a data set in shuffled batches: every index once, in an order that only the generator
 * decides. */
#include <stdlib.h>

#include "pleat_nn.h"

static void restart(pleat_nn_batches *b) {
    for (size_t i = 0; i < b->count; i++) b->order[i] = i;
    b->next = 0;
}

pleat_status pleat_nn_batches_new(pleat_ctx *ctx, size_t count, size_t batch, pleat_nn_batches *out) {
    size_t bytes;
    *out = (pleat_nn_batches){0};
    if (!count || !batch)
        return pleat_fail(ctx, PLEAT_ERR_ARGUMENT, "batches_new",
                          "count is %zu and batch %zu; both must be at least 1", count, batch);
    out->order = __builtin_mul_overflow(count, sizeof *out->order, &bytes) ? NULL : malloc(bytes);
    if (!out->order)
        return pleat_fail(ctx, PLEAT_ERR_MEMORY, "batches_new", "no memory for the order of %zu items",
                          count);
    out->count = count, out->batch = batch;
    restart(out);
    return PLEAT_OK;
}

void pleat_nn_batches_free(pleat_nn_batches *b) {
    free(b->order);
    *b = (pleat_nn_batches){0};
}

/* Start from 0,1,2,... and not from the order of the last pass, so that a pass can be repeated from the
 * generator alone. */
void pleat_nn_shuffle(pleat_nn_batches *b, pleat_rng *r) {
    restart(b);
    if (!r) return;
    for (size_t i = b->count; i > 1; i--) {
        size_t j = (size_t)pleat_rng_below(r, i), swap = b->order[i - 1];
        b->order[i - 1] = b->order[j];
        b->order[j] = swap;
    }
}

const size_t *pleat_nn_next(pleat_nn_batches *b, size_t *n) {
    size_t left = b->count - b->next;
    *n = left < b->batch ? left : b->batch;
    if (*n == 0 || (*n < b->batch && !b->keep_last)) {
        *n = 0;
        return NULL;
    }
    const size_t *batch = b->order + b->next;
    b->next += *n;
    return batch;
}

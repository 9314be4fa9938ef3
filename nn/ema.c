/* An exponential moving average of a network's parameters, with a copy of its buffers. */
#include "optimizer.h"

#include <stdlib.h>
#include <string.h>

#include "files/numbers.h"

/* A tensor of the net's state dict, and its average, or its copy if it is a buffer. */
typedef struct pair {
    pleat_tensor *own, *average;
    bool buffer;
} pair;

struct pleat_nn_ema {
    pleat_nn_module *net;
    double decay;
    bool swapped;
    size_t count;
    pair *pairs;
};

void pleat_nn_ema_free(pleat_nn_ema *ema) {
    if (!ema) return;
    for (size_t i = 0; ema->pairs && i < ema->count; i++) pleat_drop(ema->pairs[i].average);
    free(ema->pairs);
    free(ema);
}

static bool add_pair(pleat_nn_ema *ema, size_t i) {
    char unused[1];
    pln_found found = pln_find(ema->net, PLN_STATE, i, unused, sizeof unused);
    pleat_tensor *copy = pleat_zeros_like(found.t);
    if (pleat_is_poison(copy)) return false;
    pleat_assign(copy, found.t);
    ema->pairs[i] = (pair){found.t, pleat_hold(copy), found.entry->buffer != NULL};
    return true;
}

static bool fill(pleat_nn_ema *ema) {
    ema->pairs = calloc(ema->count + 1, sizeof *ema->pairs);
    for (size_t i = 0; ema->pairs && i < ema->count; i++)
        if (!add_pair(ema, i)) return false;
    return ema->pairs != NULL;
}

pleat_nn_ema *pleat_nn_ema_new(pleat_nn_module *net, double decay) {
    if (!net) return NULL;
    pleat_ctx *ctx = pleat_nn_ctx(net);
    if (!pln_is_fraction(decay)) {
        pleat_fail(ctx, PLEAT_ERR_ARGUMENT, "ema", "decay is %s; it must be at least 0 and less than 1",
                   pln_rounded(decay, 6).s);
        return NULL;
    }
    pleat_nn_ema *ema = calloc(1, sizeof *ema);
    if (ema) {
        *ema = (pleat_nn_ema){.net = net, .decay = decay, .count = pleat_nn_state_count(net)};
        if (fill(ema)) return ema;
    }
    pleat_fail(ctx, PLEAT_ERR_MEMORY, "ema", "no memory for the averages");
    pleat_nn_ema_free(ema);
    return NULL;
}

/* a + rest (p - a) is decay a + rest p, and equals a exactly if p equals a. */
static void average_f32(float *a, const float *p, double decay, size_t n) {
    float rest = (float)(1 - decay);
    for (size_t i = 0; i < n; i++) a[i] += rest * (p[i] - a[i]);
}

static void average_f64(double *a, const double *p, double decay, size_t n) {
    for (size_t i = 0; i < n; i++) a[i] += (1 - decay) * (p[i] - a[i]);
}

void pleat_nn_ema_update(pleat_nn_ema *ema) {
    if (!ema) return;
    if (ema->swapped) {
        pleat_fail(pleat_nn_ctx(ema->net), PLEAT_ERR_ARGUMENT, "ema",
                   "the network holds the averages; swap again before an update");
        return;
    }
    for (size_t i = 0; i < ema->count; i++) {
        pleat_tensor *a = ema->pairs[i].average, *own = ema->pairs[i].own;
        void *to = ema->pairs[i].buffer ? NULL : pleat_write_now(a, "pleat_nn_ema_update");
        if (ema->pairs[i].buffer)
            pleat_assign(a, own);
        else if (pleat_dtype_of(a) == PLEAT_F32)
            average_f32(to, pleat_const_f32(own), ema->decay, pleat_numel(a));
        else
            average_f64(to, pleat_const_f64(own), ema->decay, pleat_numel(a));
    }
}

static void exchange(char *x, char *y, size_t bytes) {
    char kept[1024];
    for (size_t part; bytes; x += part, y += part, bytes -= part) {
        part = bytes < sizeof kept ? bytes : sizeof kept;
        memcpy(kept, x, part);
        memcpy(x, y, part);
        memcpy(y, kept, part);
    }
}

void pleat_nn_ema_swap(pleat_nn_ema *ema) {
    static const char swap[] = "pleat_nn_ema_swap";
    if (!ema) return;
    for (size_t i = 0; i < ema->count; i++) {
        pleat_tensor *a = ema->pairs[i].average, *own = ema->pairs[i].own;
        size_t element = pleat_dtype_of(a) == PLEAT_F32 ? sizeof(float) : sizeof(double);
        exchange(pleat_write_now(a, swap), pleat_write_now(own, swap), pleat_numel(a) * element);
    }
    ema->swapped = !ema->swapped;
}

pleat_nn_module *pln_ema_net(const pleat_nn_ema *ema) { return ema->net; }
pleat_tensor *pln_ema_state(const pleat_nn_ema *ema, size_t i) { return ema->pairs[i].average; }
bool pln_ema_is_swapped(const pleat_nn_ema *ema) { return ema->swapped; }

/* Sums of gradients over micro-batches along a fixed binary tree. Node (0, k) is the gradient of micro-batch
 * k; node (l + 1, k) is node (l, 2k) + node (l, 2k + 1), or the first alone if the second is empty. The
 * gradient of a step is the lowest node over all micro-batches: of five ((0 + 1) + (2 + 3)) + 4. So whoever
 * has a block of 2^l micro-batches that begins at a multiple of 2^l sums a whole node by itself.
 *
 * A binary counter holds the complete nodes that are not yet part of a larger one: node l is there if bit l
 * of the number of micro-batches is set. */
#include "accumulate.h"

#include <stdlib.h>

static bool has_node(const pln_pending *p, size_t l) { return l < p->levels && p->n >> l & 1; }

static pleat_tensor **node(const pln_pending *p, size_t l) { return p->nodes + l * p->width; }

void pln_pending_clear(pln_pending *p) {
    for (size_t i = 0; i < p->levels * p->width; i++) {
        pleat_drop(p->nodes[i]);
        p->nodes[i] = NULL;
    }
    p->n = 0;
}

void pln_pending_free(pln_pending *p) {
    pln_pending_clear(p);
    free(p->nodes);
    *p = (pln_pending){.width = p->width};
}

static bool make_level(pln_pending *p, size_t l) {
    size_t bytes;
    if (l < p->levels) return true;
    if (__builtin_mul_overflow((l + 1) * sizeof *p->nodes, p->width, &bytes)) return false;
    pleat_tensor **nodes = realloc(p->nodes, bytes);
    if (!nodes) return false;
    p->nodes = nodes;
    p->levels = l + 1;
    for (size_t i = 0; i < p->width; i++) node(p, l)[i] = NULL;
    return true;
}

/* The sum of gradient i of the nodes below level l, which are all there, and g; held. */
static pleat_tensor *carry(const pln_pending *p, size_t l, size_t i, pleat_tensor *g) {
    pleat_scope scope = pleat_begin(pleat_ctx_of(g));
    for (size_t k = 0; k < l; k++) g = pleat_add(node(p, k)[i], g);
    pleat_hold(g);
    pleat_end(scope);
    return g;
}

bool pln_pending_add(pln_pending *p, size_t count, pleat_tensor *const *grads) {
    size_t l = 0;
    while (has_node(p, l)) l++;
    if (!make_level(p, l)) return false;
    for (size_t i = 0; i < count; i++) {
        pleat_tensor *sum = carry(p, l, i, grads[i]);
        if (pleat_is_poison(sum)) return false;
        node(p, l)[i] = sum;
        for (size_t k = 0; k < l; k++) {
            pleat_drop(node(p, k)[i]);
            node(p, k)[i] = NULL;
        }
    }
    p->n++;
    return true;
}

void pln_pending_sum(const pln_pending *p, size_t count, pleat_tensor **grads) {
    for (size_t i = 0; i < count; i++) {
        grads[i] = NULL;
        for (size_t l = 0; l < p->levels; l++)
            if (has_node(p, l)) grads[i] = grads[i] ? pleat_add(node(p, l)[i], grads[i]) : node(p, l)[i];
    }
}

/* accumulate.h: sums of gradients over micro-batches, in a fixed order. */
#ifndef PLN_ACCUMULATE_H
#define PLN_ACCUMULATE_H

#include "pleat_nn.h"

typedef struct pln_pending {
    size_t width;         /* room for gradients in a node */
    size_t n;             /* micro-batches so far */
    size_t levels;        /* nodes with room; it grows, and is kept for the next step */
    pleat_tensor **nodes; /* [levels][width], held; NULL where there is none */
} pln_pending;

/* Add the `count` gradients of micro-batch p->n, which p takes over. False if memory is short; then clear
 * p. */
bool pln_pending_add(pln_pending *p, size_t count, pleat_tensor *const *grads);
/* The sums over all micro-batches, at least one, into grads; valid until p changes or the innermost scope
 * ends. */
void pln_pending_sum(const pln_pending *p, size_t count, pleat_tensor **grads);
void pln_pending_clear(pln_pending *p);
void pln_pending_free(pln_pending *p);

#endif

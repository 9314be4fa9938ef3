/* accumulate.h: sums over micro-batches, in a fixed order. */
#ifndef PLN_ACCUMULATE_H
#define PLN_ACCUMULATE_H

#include "pleat_nn.h"

/* ---- the tree ------------------------------------------------------------------------------------------ */

/* A node of the tree: the sum over micro-batches first..first+count-1. */
typedef struct pln_node {
    size_t first, count;
} pln_node;

enum { PLN_MOST_NODES = 2 * 8 * sizeof(size_t) }; /* that are not yet part of a larger one */

/* Are left and right, where the step has `all` micro-batches, the halves of a node? The right half of the last one may be
 * smaller. */
static inline bool pln_joins(pln_node left, pln_node right, size_t all) {
    bool equal = left.count == right.count || right.first + right.count == all;
    return equal && left.first % (2 * left.count) == 0;
}
/* The largest node that begins at micro-batch `at` and ends before `end`, the end of a block, where there are
 * `all` of them. */
pln_node pln_node_at(size_t at, size_t end, size_t all);
/* The block of part k of n: whole micro-batches, as evenly as they can be dealt. */
pln_node pln_block(size_t k, size_t n, size_t all);

/* rows[k] has n elements of `element` bytes, float or double, of node[k], or of micro-batch k where node is NULL; the nodes are all
 * micro-batches, in their order. Adds them up, into rows[0]. */
void pln_fold(const pln_node *node, size_t nodes, size_t all, size_t n, size_t element, void *rows);

/* ---- gradients ----------------------------------------------------------------------------------------- */

typedef struct pln_pending {
    size_t width;        /* room for gradients in a node */
    size_t first;        /* the number of the first micro-batch of the block */
    size_t all;          /* micro-batches of the step; 0: not known */
    size_t n;            /* micro-batches so far of which gradient 0 is there */
    size_t room;         /* nodes with room; it grows, and is kept for the next step */
    size_t *count;       /* [width] micro-batches so far of which gradient i is there */
    pleat_tensor **sums; /* [room][width], held; NULL where there is none */
} pln_pending;

/* Add gradient i of the next micro-batch. False after an error; then clear p. */
bool pln_pending_put(pln_pending *p, size_t i, pleat_tensor *g);
/* The nodes of gradient i: how many, and which, in the order of their micro-batches. */
size_t pln_pending_nodes(const pln_pending *p, size_t i, pleat_tensor *nodes[PLN_MOST_NODES]);
/* The sum i over all micro-batches, at least one; valid until p changes or the innermost scope ends. */
pleat_tensor *pln_pending_sum(const pln_pending *p, size_t i);
void pln_pending_clear(pln_pending *p);
void pln_pending_free(pln_pending *p);

#endif
